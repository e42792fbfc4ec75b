from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import PartyId, Patch, convert, v211, v221
from ocpi_gireve._model import Extra
from ocpi_gireve.convert import NotConvertible
from tests.convert.samples import CPO, EMSP, SESSION, lost, with_
from tests.support import NOW, a_connector, a_location, a_token, an_evse

TOKEN = convert.cdr_token(a_token())


def a_session() -> v221.Session:
    """The Session of `samples` in 2.2.1."""
    return convert.session_to_221(SESSION, CPO, token=TOKEN).value


def test_to_221() -> None:
    """A Session refers to its place by ids, has a CdrToken and a Price, and its new names."""
    there = convert.session_to_221(SESSION, CPO, token=TOKEN)
    session = there.value
    assert (session.country_code, session.party_id) == ("FR", "CPO")
    assert (session.location_id, session.evse_uid, session.connector_id) == ("LOC1", "E1", "1")
    assert session.cdr_token == TOKEN
    assert session.start_date_time == NOW
    assert session.total_cost == v221.Price(excl_vat=Decimal("4.00"))
    assert (str(session.kwh), session.authorization_reference) == ("12.50", "AUTH1")
    assert lost(there) == [("/location", "no-field")]


def test_there_and_back() -> None:
    """With its Location, a Session finds back to what it was."""
    back = convert.session_to_211(a_session(), a_location())
    assert back.value == SESSION
    assert lost(back) == [("/cdr_token/uid", "no-field"), ("/cdr_token/type", "no-field")]


def test_token_owner() -> None:
    """Without a token, the contract id names the eMSP, or the caller does; the uid is not available."""
    there = convert.session_to_221(SESSION, CPO)
    token = there.value.cdr_token
    assert (token.country_code, token.party_id, token.uid) == ("FR", "EMP", "#NA")
    assert token.type is v221.TokenType.OTHER
    assert lost(there)[:2] == [("/cdr_token/uid", "assumed"), ("/cdr_token/type", "assumed")]
    session = evolve(SESSION, auth_id="AZERTY")
    other = convert.session_to_221(session, CPO, token_owner=PartyId("BE", "XYZ"))
    assert other.value.cdr_token.party_id == "XYZ"
    with pytest.raises(NotConvertible, match="Session not converted: /auth_id") as refused:
        convert.session_to_221(session, CPO)
    assert "AZERTY" not in str(refused.value)


def test_other_token() -> None:
    """A token of another contract is refused; case makes no difference."""
    same = evolve(TOKEN, contract_id=TOKEN.contract_id.lower())
    assert convert.session_to_221(SESSION, CPO, token=same).value.cdr_token == TOKEN
    with pytest.raises(NotConvertible, match="the token given has another contract id"):
        convert.session_to_221(SESSION, CPO, token=evolve(TOKEN, contract_id="FR-EMP-C00000002"))


def test_no_evse() -> None:
    """A Session without an EVSE has `#NA` in 2.2.1, and the other way round."""
    session = evolve(SESSION, location=evolve(SESSION.location, evses=[]))
    there = convert.session_to_221(session, CPO, token=TOKEN)
    assert (there.value.evse_uid, there.value.connector_id) == ("#NA", "#NA")
    assert convert.session_to_211(there.value, a_location()).value == session


def test_one_place() -> None:
    """Of the Location given, a 2.1.1 Session has the one EVSE and the one connector."""
    connectors = [a_connector(id="0"), a_connector(), a_connector(id="2")]
    location = a_location(evses=[an_evse(uid="E0"), an_evse(uid="e1", connectors=connectors)])
    back = convert.session_to_211(a_session(), location)
    assert [evse.uid for evse in back.value.location.evses] == ["e1"]
    assert [one.id for one in back.value.location.evses[0].connectors] == ["1"]


def test_any_connector() -> None:
    """A Session without a connector has all those of its EVSE."""
    location = a_location(evses=[an_evse(connectors=[a_connector(), a_connector(id="2")])])
    back = convert.session_to_211(evolve(a_session(), connector_id="#NA"), location)
    assert len(back.value.location.evses[0].connectors) == 2
    assert lost(back)[0] == ("/connector_id", "replaced")


@pytest.mark.parametrize(
    ("location", "pointer"),
    [
        (a_location(id="LOC2"), "/location_id"),
        (a_location(evses=[an_evse(uid="E2")]), "/evse_uid"),
        (a_location(evses=[an_evse(connectors=[a_connector(id="2")])]), "/evse_uid"),
    ],
)
def test_other_location(location: v221.Location, pointer: str) -> None:
    """A Location that is not the session's is refused."""
    with pytest.raises(NotConvertible) as refused:
        convert.session_to_211(a_session(), location)
    assert refused.value.pointer == pointer


def test_losses_of_the_location() -> None:
    """What the Location given cannot say in 2.1.1 is reported below `/location`."""
    back = convert.session_to_211(a_session(), a_location(state="ARA", publish=False))
    assert ("/location/publish", "no-field") in lost(back)
    assert ("/location/state", "no-field") in lost(back)


def test_iop_ids() -> None:
    """As IOP does, the Location in a 2.1.1 Session has IOP's ids."""
    location = a_location(gireve_id="G1", evses=[an_evse(gireve_id="GE1")])
    back = convert.session_to_211(a_session(), location, as_iop=True)
    assert (back.value.location.id, back.value.location.evses[0].uid) == ("G1", "GE1")
    assert ("/location/id", "replaced") in lost(back)


def test_values_of_221() -> None:
    """A reservation is pending in 2.1.1, a command was an authorization, and VAT has no field."""
    session = evolve(
        a_session(),
        status=v221.SessionStatus.RESERVATION,
        auth_method=v221.AuthMethod.COMMAND,
        total_cost=with_(
            v221.Price(excl_vat=Decimal(4), incl_vat=Decimal("4.8")), {"extra": Extra({"a/b": 1})}
        ),
        cdr_token=evolve(TOKEN, uid="#NA", type=v221.TokenType.OTHER),
    )
    back = convert.session_to_211(session, a_location())
    assert back.value.status is v211.SessionStatus.PENDING
    assert back.value.auth_method is v211.AuthMethod.AUTH_REQUEST
    assert back.value.total_cost == Decimal(4)
    assert lost(back) == [
        ("/auth_method", "replaced"),
        ("/total_cost/incl_vat", "no-field"),
        ("/total_cost/a~1b", "no-field"),
        ("/status", "replaced"),
    ]


def test_party_of_a_foreign_token() -> None:
    """Where the contract id does not say the token's party, the party is lost."""
    session = evolve(a_session(), cdr_token=evolve(TOKEN, party_id="XYZ"))
    back = convert.session_to_211(session, a_location())
    assert lost(back)[:2] == [("/cdr_token/country_code", "no-field"), ("/cdr_token/party_id", "no-field")]


def test_patch() -> None:
    """A change of a Session is converted both ways; a cost that is removed stays so."""
    there = convert.session_patch_to_221(
        Patch(v211.Session, {"kwh": Decimal("1.5"), "total_cost": None, "authorization_id": "A"})
    )
    assert there.value == Patch(
        v221.Session, {"kwh": Decimal("1.5"), "total_cost": None, "authorization_reference": "A"}
    )
    changes = {"end_date_time": NOW, "total_cost": v221.Price(excl_vat=Decimal(2)), "evse_uid": "E2"}
    back = convert.session_patch_to_211(Patch(v221.Session, changes))
    assert back.value == Patch(v211.Session, {"end_datetime": NOW, "total_cost": Decimal(2)})
    assert lost(back) == [("/evse_uid", "no-field")]


def test_patch_of_the_token() -> None:
    """A change of the token needs to know whose it is; a change of the Location gives its ids."""
    changes = Patch(v211.Session, {"auth_id": "AZERTY", "location": SESSION.location})
    there = convert.session_patch_to_221(changes, token_owner=EMSP)
    assert there.value.changes["location_id"] == "LOC1"
    assert there.value.changes["cdr_token"] == v221.CdrToken(
        country_code="FR", party_id="EMP", uid="#NA", type=v221.TokenType.OTHER, contract_id="AZERTY"
    )
    with pytest.raises(NotConvertible, match=r"Patch\[Session\] not converted: /auth_id"):
        convert.session_patch_to_221(changes)
    back = convert.session_patch_to_211(there.value)
    assert back.value.changes == {"auth_id": "AZERTY"}


def test_removed_fields() -> None:
    """A patch that removes what cannot be removed changes nothing, and removed costs are removed."""
    changes: dict[str, object] = {"auth_id": None, "location": None, "total_cost": None}
    there = convert.session_patch_to_221(Patch[v211.Session].received(v211.Session, changes, {}))
    assert there.value == Patch(v221.Session, {"total_cost": None})
    back = convert.session_patch_to_211(
        Patch[v221.Session].received(v221.Session, {"cdr_token": None, "total_cost": None}, {"x": None})
    )
    assert back.value == Patch(v211.Session, {"total_cost": None}, {"x": None})


def test_patch_of_charging_periods() -> None:
    """What a PATCH adds in 2.2.1 it would replace in 2.1.1, so it is refused either way."""
    with pytest.raises(NotConvertible, match="/charging_periods"):
        convert.session_patch_to_211(Patch(v221.Session, {"charging_periods": []}))
    with pytest.raises(NotConvertible, match="/charging_periods"):
        convert.session_patch_to_221(Patch(v211.Session, {"charging_periods": []}))
