"""Who may say what: each rule by itself, on values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from attrs import evolve
from multidict import CIMultiDict

from ocpi_gireve import BILATERAL, Patch, v211, v221
from ocpi_gireve.access import (
    Ours,
    Principal,
    Routing,
    Speaker,
    owner_of,
    require_once,
    require_opened,
    require_owner,
    require_role,
    routing_of,
    said_party,
)
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.errors import (
    Forbidden,
    InvalidParameters,
    MalformedMessage,
    ServerError,
    StatusError,
    Unauthorized,
    UnknownObject,
)
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.interface import Operation, operation_of
from ocpi_gireve.store.records import TokenKind
from ocpi_gireve.testing import sample
from ocpi_gireve.types import PartyId, Role
from ocpi_gireve.v211.dialect import DIALECT as V211
from tests.support import NOW, a_cdr, a_location, a_token, an_evse

CPO, CP2, EMP, EM2, XXX = (PartyId("FR", name) for name in ("CPO", "CP2", "EMP", "EM2", "XXX"))
HUB = PREPRODUCTION.hub
assert HUB is not None
OURS, TWO_OURS = Ours(parties=frozenset({EMP})), Ours(parties=frozenset({EMP, EM2}))
WE_ARE_HUB = Ours(parties=frozenset({HUB}), is_hub=True)
CPO_ROLES: Mapping[PartyId, frozenset[Role]] = {CPO: frozenset({Role.CPO})}

PARTNER = Principal(
    connection="cpo", kind=TokenKind.CURRENT, profile=BILATERAL, parties=CPO_ROLES, digest=b"t"
)
TWO = evolve(PARTNER, parties={CPO: frozenset({Role.CPO}), CP2: frozenset({Role.EMSP})})
IOP = evolve(
    PARTNER,
    profile=PREPRODUCTION,
    parties={HUB: frozenset({Role.HUB})},
    elsewhere=frozenset({PartyId("FR", "DIR")}),
)
UNFINISHED = evolve(PARTNER, parties={})

PUT_LOCATION = operation_of(v221.LocationsReceiver.put_location)
LIST_LOCATIONS = operation_of(v221.LocationsSender.list_locations)
LOC = v221.LocationRef("FR", "CPO", "LOC1")


def headers(sender: PartyId | None = None, receiver: PartyId | None = None) -> CIMultiDict[str]:
    """Routing headers."""
    found = CIMultiDict[str]()
    for direction, party in (("from", sender), ("to", receiver)):
        if party is not None:
            found[f"OCPI-{direction}-country-code"] = party.country_code
            found[f"OCPI-{direction}-party-id"] = party.party_id
    return found


def speaker(principal: Principal = PARTNER, sender: PartyId | None = CPO, ours: Ours = OURS) -> Speaker:
    """For whom a request speaks."""
    return Speaker(principal=principal, sender=sender, ours=ours)


# --- headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "authorization",
        "OCPI-from-country-code",
        "OCPI-FROM-PARTY-ID",
        "ocpi-to-country-code",
        "OCPI-to-party-id",
    ],
)
def test_headers_that_come_twice(name: str) -> None:
    """No header that decides who speaks comes twice, in whatever case, even with one value."""
    twice = CIMultiDict[str]([(name, "FR"), (name.upper(), "FR")])
    with pytest.raises(MalformedMessage, match="once") as refused:
        require_once(twice)
    assert refused.value.http_status == 400


def test_other_headers_may_come_twice() -> None:
    """Headers that decide nothing are the proxies' business."""
    require_once(CIMultiDict([("X-Request-ID", "1"), ("X-Request-ID", "2"), ("Via", "a"), ("Via", "b")]))


def test_said_party() -> None:
    """A side of the routing headers is two headers, in any case and with blanks around."""
    said = CIMultiDict({"ocpi-FROM-country-code": " fr ", "OCPI-from-PARTY-id": "cpo"})
    assert said_party(said, "from") == CPO
    assert said_party(said, "to") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("country-code", "FRA"),
        ("country-code", ""),
        ("country-code", "F\t"),
        ("party-id", "CP"),
        ("party-id", "C\x00O"),
        ("party-id", "CPÖ"),
        ("party-id", "FR*CPO"),
    ],
)
def test_unreadable_party(name: str, value: str) -> None:
    """Half a party, or one of other lengths than OCPI's, is HTTP 400."""
    said = headers(sender=CPO)
    said[f"OCPI-from-{name}"] = value
    with pytest.raises(MalformedMessage):
        said_party(said, "from")
    with pytest.raises(MalformedMessage, match="together"):
        said_party(CIMultiDict({f"OCPI-from-{name}": "FR" if name == "country-code" else "CPO"}), "from")


# --- routing (A2, A3) ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("principal", "said", "sender"),
    [
        (PARTNER, None, CPO),
        (PARTNER, PartyId("fr", "cpo"), CPO),
        (TWO, None, None),
        (TWO, CP2, CP2),
        (IOP, None, HUB),
        (IOP, HUB, HUB),
        (IOP, XXX, XXX),
    ],
)
def test_sender(principal: Principal, said: PartyId | None, sender: PartyId | None) -> None:
    """Who asks is whom the header names; without it the only party, or the hub."""
    routing = routing_of(headers(said, EMP), PUT_LOCATION, principal, OURS, routed=True)
    assert routing == Routing(sender, EMP)


@pytest.mark.parametrize(
    ("principal", "said"),
    [(PARTNER, XXX), (PARTNER, EMP), (TWO, XXX), (IOP, EMP), (IOP, PartyId("fr", "emp"))],
)
def test_false_sender(principal: Principal, said: PartyId) -> None:
    """A partner speaks for what it presented; a hub neither for us nor for those connected directly."""
    with pytest.raises(InvalidParameters, match="OCPI-from"):
        routing_of(headers(said, EMP), PUT_LOCATION, principal, OURS, routed=True)


def test_hub_and_the_directly_connected() -> None:
    """For a party with a connection of its own no hub speaks, neither in the header nor in the URL."""
    direct = PartyId("FR", "DIR")
    with pytest.raises(InvalidParameters):
        routing_of(headers(direct), PUT_LOCATION, IOP, OURS, routed=True)
    assert not speaker(IOP, HUB).speaks_for(direct)
    assert speaker(IOP, HUB).speaks_for(XXX)


def test_registration_under_way() -> None:
    """A partner that has not said who it is has to come again later: nothing it says can be judged."""
    with pytest.raises(ServerError):
        routing_of(headers(), PUT_LOCATION, UNFINISHED, OURS, routed=True)


@pytest.mark.parametrize(
    ("ours", "principal", "said", "receiver"),
    [
        (OURS, PARTNER, None, EMP),
        (OURS, PARTNER, PartyId("fr", "Emp"), EMP),
        (TWO_OURS, PARTNER, EM2, EM2),
        (TWO_OURS, evolve(PARTNER, party=EM2), None, EM2),
        (TWO_OURS, evolve(PARTNER, party=EM2), EM2, EM2),
        (WE_ARE_HUB, PARTNER, None, HUB),
        (WE_ARE_HUB, PARTNER, XXX, XXX),
    ],
)
def test_receiver(ours: Ours, principal: Principal, said: PartyId | None, receiver: PartyId) -> None:
    """Who is asked is a party of ours that the connection is for; of a hub, any."""
    routing = routing_of(headers(CPO, said), PUT_LOCATION, principal, ours, routed=True)
    assert routing.receiver == receiver


@pytest.mark.parametrize(
    ("ours", "principal", "said"),
    [
        (OURS, PARTNER, XXX),
        (OURS, PARTNER, CPO),
        (TWO_OURS, PARTNER, None),
        (TWO_OURS, evolve(PARTNER, party=EM2), EMP),
    ],
)
def test_false_receiver(ours: Ours, principal: Principal, said: PartyId | None) -> None:
    """Nobody else's party is reached here, nor one of ours over another one's connection."""
    with pytest.raises(InvalidParameters, match="OCPI-to"):
        routing_of(headers(CPO, said), PUT_LOCATION, principal, ours, routed=True)


def test_hub_without_a_receiver() -> None:
    """A hub of several parties is asked for none in particular: it routes by what the message says."""
    ours = Ours(parties=frozenset({HUB or EMP, EMP}), is_hub=True)
    assert routing_of(headers(CPO), PUT_LOCATION, PARTNER, ours, routed=True).receiver is None


@pytest.mark.parametrize("said", [headers(XXX, XXX), headers(), CIMultiDict({"OCPI-to-party-id": "é"})])
def test_version_without_routing(said: CIMultiDict[str]) -> None:
    """Where a version has no routing headers, the connection says who asks and who is asked."""
    put = operation_of(v211.LocationsEmsp.put_location)
    principal = evolve(PARTNER, party=EM2, role=Role.EMSP)
    assert routing_of(said, put, principal, TWO_OURS, routed=False) == Routing(CPO, EM2)
    assert routing_of(said, put, PARTNER, TWO_OURS, routed=False) == Routing(CPO, None)


@pytest.mark.parametrize(
    ("ours", "said", "receiver"),
    [
        (TWO_OURS, EM2, EM2),
        (TWO_OURS, XXX, None),
        (WE_ARE_HUB, XXX, XXX),
        (WE_ARE_HUB, None, HUB),
        (OURS, XXX, EMP),
    ],
)
def test_single_party_pull(ours: Ours, said: PartyId | None, receiver: PartyId | None) -> None:
    """GIREVE's 2.1.1: `OCPI-to-*` chooses whose objects are listed, where it names a party reached here."""
    listing = operation_of(v211.TokensEmsp.list_tokens)
    assert routing_of(headers(XXX, said), listing, PARTNER, ours, routed=False) == Routing(CPO, receiver)


def test_module_without_routing() -> None:
    """Where a module has no routing headers they are not looked at: it is from the hub, to the platform."""
    put = operation_of(v221.HubClientInfoReceiver.put_client_info)
    assert routing_of(headers(XXX, XXX), put, IOP, OURS, routed=True) == Routing(HUB, EMP)
    assert routing_of(headers(), put, IOP, TWO_OURS, routed=True) == Routing(HUB, None)
    listing = operation_of(v221.HubClientInfoSender.list_client_infos)
    assert routing_of(headers(XXX, EM2), listing, IOP, TWO_OURS, routed=True) == Routing(HUB, None)


# --- tokens and roles (T5, A6) -------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [V211, v221.DIALECT], ids=["2.1.1", "2.2.1"])
@pytest.mark.parametrize("kind", TokenKind)
def test_what_a_token_opens(dialect: Dialect, kind: TokenKind) -> None:
    """A token A opens versions and credentials; every other kind opens everything."""
    for operation in dialect.all_operations():
        opens = kind is not TokenKind.A or operation.module in ("versions", "credentials")
        assert refused(require_opened, operation, evolve(PARTNER, kind=kind)) == (
            None if opens else Unauthorized
        ), operation


def refused(check: Callable[..., object], *arguments: object) -> type[StatusError] | None:
    """The error that a check raises."""
    try:
        check(*arguments)
    except StatusError as error:
        return type(error)
    return None


@pytest.mark.parametrize("dialect", [V211, v221.DIALECT], ids=["2.1.1", "2.2.1"])
@pytest.mark.parametrize("role", Role)
def test_roles(dialect: Dialect, role: Role) -> None:
    """A party calls the interfaces that its role calls; a hub calls all of them. (A6)"""
    principal = evolve(PARTNER, parties={CPO: frozenset({role})})
    calls: set[str] = set()
    for operation in dialect.all_operations():
        if not operation.interface.functional:
            continue
        allowed = role is Role.HUB or role in operation.interface.callers
        error = refused(require_role, operation, None, speaker(principal))
        assert error == (None if allowed else Forbidden), operation
        assert refused(require_role, operation, None, speaker(IOP, HUB)) is None
        if allowed:
            calls.add(operation.id)
    # The rule has a point: no role of the two calls all, or nothing.
    if role in (Role.CPO, Role.EMSP):
        assert 0 < len(calls) < sum(one.interface.functional for one in dialect.all_operations())


def test_role_of_the_party_that_asks() -> None:
    """Of a partner with several parties it is the role of the one that asks, or that owns the object."""
    put_token = operation_of(v221.TokensReceiver.put_token)
    require_role(PUT_LOCATION, LOC, speaker(TWO, CPO))
    with pytest.raises(Forbidden):
        require_role(PUT_LOCATION, LOC, speaker(TWO, CP2))
    with pytest.raises(Forbidden):
        require_role(put_token, v221.TokenRef("FR", "CPO", "01"), speaker(TWO, None))
    require_role(put_token, v221.TokenRef("FR", "CP2", "01"), speaker(TWO, None))
    require_role(LIST_LOCATIONS, None, speaker(TWO, None))


# --- whose objects (A4, A5, A8) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("principal", "sender", "owner", "speaks"),
    [
        (PARTNER, CPO, CPO, True),
        (PARTNER, CPO, PartyId("fr", "cpo"), True),
        (PARTNER, CPO, XXX, False),
        (PARTNER, CPO, EMP, False),
        (TWO, CPO, CP2, False),
        (TWO, None, CP2, True),
        (TWO, None, XXX, False),
        (IOP, HUB, CPO, True),
        (IOP, CPO, XXX, True),
        (IOP, HUB, EMP, False),
    ],
)
def test_who_speaks_for_whom(
    principal: Principal, sender: PartyId | None, owner: PartyId, speaks: bool
) -> None:
    """A partner writes what its sender owns; a hub what anybody owns but us and the directly connected."""
    assert speaker(principal, sender).speaks_for(owner) is speaks
    ref = v221.LocationRef(owner.country_code, owner.party_id, "LOC1")
    check = speaker(principal, sender)
    for operation, body in (
        (PUT_LOCATION, a_location(country_code=owner.country_code, party_id=owner.party_id)),
        (operation_of(v221.LocationsReceiver.get_location), None),
        (operation_of(v221.LocationsReceiver.patch_location), Patch(v221.Location, {"last_updated": NOW})),
    ):
        error = refused(require_owner, operation, ref, body, check)
        assert error == (None if speaks else UnknownObject)


@pytest.mark.parametrize(
    ("operation", "target", "body", "pointers"),
    [
        (PUT_LOCATION, LOC, a_location(id="loc1", party_id="cpo"), []),
        (PUT_LOCATION, LOC, a_location(id="LOC2"), ["/id"]),
        (PUT_LOCATION, LOC, a_location(country_code="DE", party_id="XXX"), ["/country_code", "/party_id"]),
        (
            operation_of(v221.LocationsReceiver.put_evse),
            v221.EvseRef("FR", "CPO", "LOC1", "E1"),
            an_evse(uid="E2"),
            ["/uid"],
        ),
        (
            operation_of(v221.LocationsReceiver.patch_evse),
            v221.EvseRef("FR", "CPO", "LOC1", "E1"),
            Patch(v221.EVSE, {"uid": "E2", "last_updated": NOW}),
            ["/uid"],
        ),
        (
            operation_of(v211.TariffsEmsp.put_tariff),
            v211.TariffRef("FR", "CPO", "T1"),
            sample(v211.Tariff),
            ["/id"],
        ),
    ],
)
def test_body_and_url(operation: Operation, target: object, body: object, pointers: list[str]) -> None:
    """What a body says of its owner and id is what the URL says, in any case of letters. (A5, A8)"""
    if not pointers:
        require_owner(operation, target, body, speaker())
        return
    with pytest.raises(InvalidParameters) as wrong:
        require_owner(operation, target, body, speaker())
    assert [one.pointer for one in wrong.value.problems] == pointers


@pytest.mark.parametrize(
    ("principal", "body", "pointers"),
    [
        (PARTNER, a_cdr(), []),
        (PARTNER, a_cdr(party_id="XXX"), ["/party_id"]),
        (IOP, a_cdr(party_id="XXX"), []),
        (IOP, a_cdr(party_id="EMP"), ["/party_id"]),
        (PARTNER, evolve(a_cdr(), id="a"), []),
    ],
)
def test_posted_objects(principal: Principal, body: object, pointers: list[str]) -> None:
    """What has no owner in its URL is held to the one in its body."""
    post = operation_of(v221.CdrsReceiver.post_cdr)
    check = speaker(principal, next(iter(principal.parties)))
    if not pointers:
        require_owner(post, None, body, check)
        return
    with pytest.raises(InvalidParameters) as wrong:
        require_owner(post, None, body, check)
    assert [one.pointer for one in wrong.value.problems] == pointers


def test_token_of_a_command() -> None:
    """A charge is started for a token of the one who asks, not for another eMSP's. (mod_commands)"""
    start = operation_of(v221.CommandsReceiver.start_session)
    emsp = evolve(PARTNER, parties={EMP: frozenset({Role.EMSP})})
    cpo = Ours(parties=frozenset({CPO}))
    command = v221.StartSession(response_url="https://e.example/1", token=a_token(), location_id="L")
    require_owner(start, None, command, speaker(emsp, EMP, cpo))
    require_owner(start, None, command, speaker(IOP, HUB, cpo))
    foreign = evolve(command, token=a_token(party_id="EM2"))
    with pytest.raises(InvalidParameters) as wrong:
        require_owner(start, None, foreign, speaker(emsp, EMP, cpo))
    assert [one.pointer for one in wrong.value.problems] == ["/token/party_id"]


def test_news_of_clients() -> None:
    """A hub tells of any client, us included; the body still has to be about the one in the URL."""
    put = operation_of(v221.HubClientInfoReceiver.put_client_info)
    info = sample(v221.ClientInfo)
    ref = v221.ClientInfoRef(info.country_code, info.party_id)
    require_owner(put, ref, info, speaker(IOP, HUB))
    require_owner(put, v221.ClientInfoRef("FR", "EMP"), evolve(info, party_id="EMP"), speaker(IOP, HUB))
    with pytest.raises(InvalidParameters):
        require_owner(put, v221.ClientInfoRef("FR", "XXX"), info, speaker(IOP, HUB))


def test_owner_of() -> None:
    """An owner is who the object names; half a name is none."""
    assert owner_of(LOC) == CPO
    assert owner_of(v221.OwnLocationRef("LOC1")) is None
    assert owner_of(None) is None
