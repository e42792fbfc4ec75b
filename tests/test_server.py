"""The server: one request in, one answer out, and nothing that should not get in or out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ocpi_gireve import (
    BILATERAL,
    Context,
    Link,
    Page,
    PageQuery,
    Party,
    PartyId,
    Patch,
    Profile,
    Role,
    v211,
    v221,
)
from ocpi_gireve._wire import encode_body
from ocpi_gireve.access import Principal
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.errors import (
    Exchange,
    Forbidden,
    InvalidParameters,
    MessageTooLarge,
    MethodNotAllowed,
    NotEnoughInformation,
    OcpiError,
    Problem,
    StatusError,
    Unauthorized,
    UnknownLocation,
    UnknownObject,
    UnknownReceiver,
    UnknownToken,
)
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.idempotence import Reason
from ocpi_gireve.interface import Interface
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.pagination import page_of
from ocpi_gireve.server import LateOutcome, Mount, Server
from ocpi_gireve.store.records import TokenKind
from ocpi_gireve.testing import sample
from ocpi_gireve.tokens import token_digest
from ocpi_gireve.transport import HttpRequest, HttpResponse
from ocpi_gireve.types import Secret
from ocpi_gireve.v211.dialect import DIALECT as V211
from tests.support import (
    NOW,
    CpoLocations,
    EmspCdrs,
    EmspLocations,
    EmspTokens,
    a_cdr,
    a_location,
    a_token,
    an_evse,
    basic,
    envelope,
)

LOCATIONS = "/2.2.1/receiver/locations"
CDRS = "/2.2.1/receiver/cdrs"
PUT_URL = f"{LOCATIONS}/FR/CPO/LOC1"
EMP = Party("FR", "EMP", Role.EMSP, name="Example eMSP")
CPO_ID, EMP_ID, EM2_ID, HUB_ID = (PartyId("FR", name) for name in ("CPO", "EMP", "EM2", "107"))


def _roles(*parties: PartyId) -> dict[PartyId, frozenset[Role]]:
    """These parties as CPO and as eMSP, so that none is refused for its role."""
    return dict.fromkeys(parties, frozenset({Role.CPO, Role.EMSP}))


PARTNERS: dict[str, tuple[TokenKind, Profile, Mapping[PartyId, frozenset[Role]]]] = {
    "cpo": (TokenKind.CURRENT, BILATERAL, _roles(CPO_ID)),
    "emp": (TokenKind.CURRENT, BILATERAL, {EM2_ID: frozenset({Role.EMSP})}),
    "two": (TokenKind.CURRENT, BILATERAL, _roles(PartyId("FR", "AAA"), PartyId("FR", "BBB"))),
    "hub": (TokenKind.CURRENT, PREPRODUCTION, _roles(HUB_ID)),
    "previous": (TokenKind.PREVIOUS, BILATERAL, _roles(CPO_ID)),
    "pending": (TokenKind.PENDING, BILATERAL, _roles()),
    "new": (TokenKind.A, BILATERAL, _roles()),
}


class Book:
    """The partners, each with its id as its token."""

    def __init__(self, elsewhere: frozenset[PartyId] = frozenset()) -> None:
        self.revision = 0
        self.admissions: list[str] = []
        self.principals = {
            digest: Principal(
                connection=name,
                kind=kind,
                profile=profile,
                parties=parties,
                role=Role.CPO if name == "emp" else Role.EMSP,
                elsewhere=elsewhere,
                digest=digest,
                is_settled=kind is TokenKind.CURRENT,
            )
            for name, (kind, profile, parties) in PARTNERS.items()
            for digest in (token_digest(Secret(name)),)
        }

    def find(self, digest: bytes) -> Principal | None:
        """Find a partner by its token."""
        return self.principals.get(digest)

    def change(self, name: str, principal: Principal | None) -> None:
        """Replace a partner, or forget it."""
        self.revision += 1
        self.principals.pop(token_digest(Secret(name)))
        if principal is not None:
            self.principals[principal.digest] = principal

    async def admitted(self, principal: Principal) -> None:
        """Note who came."""
        self.admissions.append(principal.connection)


class Handshaking:
    """Answers the handshake with next to nothing."""

    async def get_versions(self, ctx: Context, link: Link) -> list[v221.Version]:
        return [v221.Version(version=v221.VersionNumber.V2_2_1, url="https://emsp.example.com/ocpi/2.2.1")]

    async def get_version_details(self, ctx: Context, link: Link) -> v221.VersionDetails:
        endpoint = v221.Endpoint(
            identifier=v221.ModuleID.CREDENTIALS, role=v221.InterfaceRole.SENDER, url="https://x.example"
        )
        return v221.VersionDetails(version=v221.VersionNumber.V2_2_1, endpoints=[endpoint])

    async def delete_credentials(self, ctx: Context) -> None:
        raise MethodNotAllowed("not registered")


@frozen
class Served:
    """A server with what it tells and who it knows."""

    server: Server
    told: list[Exchanged]
    book: Book = field(factory=Book)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "cpo",
        body: object = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> HttpResponse:
        """Send one request; `path` follows the public URL's own."""
        sent = CIMultiDict[str](headers)
        if token is not None:
            sent.add("Authorization", f"Token {token}" if "/2.1.1" in path else basic(token))
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self.server.handle(
            HttpRequest(method=method, url=f"/ocpi{path}", headers=sent, body=data)
        )


def serve(
    *handlers: Interface,
    parties: Sequence[Party] = (EMP,),
    elsewhere: frozenset[PartyId] = frozenset(),
    timeout: float = 5.0,
    listener: Callable[[Exchanged], None] | None = None,
    command_ack: float = 5.0,
    on_late: Callable[[LateOutcome], None] | None = None,
    idempotent: bool = True,
) -> Served:
    """Make a server of handlers, in both versions."""
    mounts: list[Mount] = []
    for dialect in (v221.DIALECT, V211):
        found: dict[type[Interface], object] = {
            one: handler for one in dialect.interfaces for handler in handlers if isinstance(handler, one)
        }
        found[dialect.versions] = found[dialect.credentials] = Handshaking()
        mounts.append(Mount(dialect=dialect, handlers=found))
    told: list[Exchanged] = []
    book = Book(elsewhere)
    server = Server(
        public_url="https://emsp.example.com/ocpi/",
        parties=parties,
        mounts=mounts,
        principals=book,
        on_exchange=listener or told.append,
        handler_timeout=timeout,
        command_ack=command_ack,
        on_late=on_late,
        idempotent=idempotent,
    )
    return Served(server, told, book)


def plain(one: object) -> dict[str, Any]:
    """The JSON of an object."""
    found: dict[str, Any] = json.loads(encode_body(one))
    return found


def routed(sender: PartyId | None = None, receiver: PartyId | None = None) -> dict[str, str]:
    """Routing headers."""
    found: dict[str, str] = {}
    for direction, party in (("from", sender), ("to", receiver)):
        if party is not None:
            found[f"OCPI-{direction}-country-code"] = party.country_code
            found[f"OCPI-{direction}-party-id"] = party.party_id
    return found


class Raising(EmspLocations):
    """Raises what it was given, from whatever is asked of it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
        raise self.error

    async def put_location(self, ctx: Context, ref: v221.LocationRef, location: v221.Location) -> None:
        raise self.error

    async def patch_location(
        self, ctx: Context, ref: v221.LocationRef, changes: Patch[v221.Location]
    ) -> None:
        raise self.error


# --- who comes in --------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "unknown", "CPO", "cpo "])
async def test_wrong_or_missing_token(token: str | None) -> None:
    """A missing or unknown token is HTTP 401 with an envelope that does not say which check failed."""
    served = serve(EmspLocations())
    for method, path in (("PUT", PUT_URL), ("GET", "/versions"), ("DELETE", "/2.2.1/credentials")):
        response = await served.ask(method, path, token=token)
        assert (response.status, envelope(response)["status_code"]) == (401, 2000)
        assert response.headers["WWW-Authenticate"] == "Token"
        assert response.headers["Content-Type"] == "application/json"
        assert envelope(response).get("data", {}) == {}
    assert served.book.admissions == []
    assert {one.partner for one in served.told} == {""}


async def test_one_authorization_header() -> None:
    """Two Authorization headers are HTTP 400, even if each is right: a proxy may have read the other one."""
    response = await serve(EmspLocations()).ask("GET", PUT_URL, headers=[("Authorization", basic("cpo"))])
    assert (response.status, envelope(response)["status_code"]) == (400, 2001)


@pytest.mark.parametrize(
    ("path", "opens"),
    [
        ("/versions", {"cpo", "hub", "two", "previous", "pending", "new"}),
        ("/2.2.1", {"cpo", "hub", "two", "previous", "pending", "new"}),
        (f"{LOCATIONS}/FR/CPO/versions", {"cpo", "hub", "previous"}),
        (f"{LOCATIONS}/FR/CPO/credentials?x=credentials", {"cpo", "hub", "previous"}),
    ],
)
async def test_what_a_token_opens(path: str, opens: set[str]) -> None:
    """A token A opens the handshake and nothing else: the route decides, not a word in the URL."""
    served = serve(Raising(UnknownObject()))
    for name in PARTNERS:
        response = await served.ask("GET", path, token=name)
        if name == "new" and name not in opens:
            assert response.status == 401
        else:
            assert response.status != 401


async def test_encoding_by_route() -> None:
    """Where the version is known, a token comes as it says; the versions list takes it either way."""
    served = serve(EmspLocations())
    raw = {"Authorization": "Token cpo"}
    assert (await served.ask("GET", "/versions", token=None, headers=raw)).status == 200
    for path in ("/2.2.1", PUT_URL):
        assert (await served.ask("GET", path, token=None, headers=raw)).status == 401


async def test_registration_under_way() -> None:
    """A partner that answers our POST has no party yet: its push must come again, not be refused for good."""
    response = await serve(EmspLocations()).ask("PUT", PUT_URL, token="pending", body=plain(a_location()))
    assert (response.status, envelope(response)["status_code"]) == (200, 3000)


# --- where it goes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "", 404),
        ("GET", "/nothing", 404),
        ("GET", "/2.2.1/receiver/tariffs/FR/CPO/T1", 404),
        ("GET", "/2.2.1/sender/locations", 404),
        ("GET", f"{LOCATIONS}/FR/CPO", 404),
        ("GET", f"{LOCATIONS}/FR/CPO/LOC1/E1/1/more", 404),
        ("GET", f"{LOCATIONS}//CPO/LOC1", 404),
        ("GET", f"{LOCATIONS}/FR/CPO//", 404),
        ("DELETE", PUT_URL, 405),
        ("HEAD", PUT_URL, 405),
        ("POST", "/versions", 405),
        ("PATCH", "/2.2.1/credentials", 405),
        ("DELETE", "/2.2.1/credentials", 405),
    ],
)
async def test_what_is_not_served(method: str, path: str, status: int) -> None:
    """An unknown URL is HTTP 404, a method that is not served there 405 with those that are."""
    response = await serve(EmspLocations()).ask(method, path)
    assert (response.status, envelope(response)["status_code"]) == (status, 2000)
    if status == 405:
        allowed = response.headers["Allow"].split(", ")
        assert method not in allowed
        assert "GET" in allowed


async def test_elsewhere_on_the_host() -> None:
    """What lies outside the public URL's path is not served, however it looks."""
    server = serve(EmspLocations()).server
    headers = CIMultiDict({"Authorization": basic("cpo")})
    for url in ("/versions", "/ocpi", "/ocpix/versions", "/ocpi/../versions", "//ocpi/versions", ""):
        assert (await server.handle(HttpRequest(method="GET", url=url, headers=headers))).status == 404


@pytest.mark.parametrize("token", [None, "stranger"])
async def test_strangers_are_told_nothing(token: str | None) -> None:
    """Without a token that is known it is 401 everywhere, where nothing is served and by no method, too."""
    served = serve(EmspLocations())
    missing = [("GET", "/nowhere"), ("DELETE", LOCATIONS), ("GET", "")]
    asked = [*missing, ("HEAD", "/versions"), ("POST", PUT_URL)]
    answers = [await served.ask(method, path, token=token) for method, path in asked]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.headers.get("Allow") for answer in answers}) == 1
    known = [(await served.ask(method, path, token="new")).status for method, path in asked]
    assert known == [404, 404, 404, 405, 405]


@pytest.mark.parametrize("path", ["/versions", "/versions/", "/2.2.1", "/2.2.1/"])
async def test_trailing_slash(path: str) -> None:
    """One slash at the end of a URL changes nothing."""
    assert (await serve().ask("GET", path)).status == 200


async def test_url_with_trailing_slash_and_query() -> None:
    """An object is found behind a slash and a query that nobody knows."""
    emsp = EmspLocations()
    served = serve(emsp)
    response = await served.ask("PUT", f"{PUT_URL}/?x=1", body=plain(a_location()))
    assert envelope(response)["status_code"] == 1000
    assert list(emsp.locations) == ["LOC1"]


# --- what it carries -----------------------------------------------------------------------------------


async def test_malformed_body() -> None:
    """A body that is not JSON is HTTP 400, whatever its Content-Type says."""
    served = serve(EmspLocations())
    for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
        response = await served.ask("PUT", PUT_URL, body=b"{", headers=headers)
        assert (response.status, envelope(response)["status_code"]) == (400, 2001)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", ""])
async def test_content_type_of_a_request(content_type: str) -> None:
    """A body that is JSON is taken, whatever its Content-Type says: partners do forget it."""
    response = await serve(EmspLocations()).ask(
        "PUT", PUT_URL, body=plain(a_location()), headers={"Content-Type": content_type}
    )
    assert (response.status, envelope(response)["status_code"]) == (200, 1000)


async def test_every_problem_is_named() -> None:
    """A well-formed but wrong body is OCPI 2001 with HTTP 200, and every pointer stands in the message."""
    body = plain(a_location())
    names = ["address", "city", "coordinates", "country", "last_updated", "publish", "time_zone"]
    for name in names:
        del body[name]
    response = await serve(EmspLocations()).ask("PUT", PUT_URL, body=body)
    assert (response.status, envelope(response)["status_code"]) == (200, 2001)
    for name in names:
        assert f"/{name}: " in envelope(response)["status_message"]


async def test_very_many_problems() -> None:
    """The answer to a message with thousands of mistakes names a hundred, and counts the others."""
    body = {**plain(a_location()), "evses": [None] * 1000}
    message = envelope(await serve(EmspLocations()).ask("PUT", PUT_URL, body=body))["status_message"]
    assert len(message) < 10_000
    assert message.endswith(" more")


async def test_patch_needs_last_updated() -> None:
    """2.2.1 wants last_updated in every PATCH of an object that has it: without it 2001 names the place."""
    emsp = EmspLocations()
    response = await serve(emsp).ask("PATCH", f"{PUT_URL}/E1", body={"status": "CHARGING"})
    assert (response.status, envelope(response)["status_code"]) == (200, 2001)
    assert "/last_updated: " in envelope(response)["status_message"]
    assert emsp.patches == []


async def test_values_are_not_repeated() -> None:
    """What was wrong is told by its place and kind, never by its value, which may be personal."""
    body = plain(a_cdr())
    body["cdr_token"]["uid"] = ["0102-CANARY"]
    response = await serve(EmspCdrs()).ask("POST", "/2.2.1/receiver/cdrs", body=body)
    assert "/cdr_token/uid: " in envelope(response)["status_message"]
    assert b"CANARY" not in response.body


# --- ids and headers -----------------------------------------------------------------------------------


async def test_ids_are_echoed() -> None:
    """The answer has the request's ids, refused or not; where there are none, it has some of its own."""
    served = serve(EmspLocations())
    ids = {"X-Request-ID": "r-1", "X-Correlation-ID": "c-1"}
    for path, token in ((PUT_URL, "cpo"), ("/nothing", "cpo"), (PUT_URL, "unknown")):
        response = await served.ask("GET", path, token=token, headers=ids)
        assert {name: response.headers[name] for name in ids} == ids
    minted = await served.ask("GET", PUT_URL)
    assert len(minted.headers["X-Request-ID"]) == len(minted.headers["X-Correlation-ID"]) == 36


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, "é", "a\r\nSet-Cookie: b", "\x00"])
async def test_ids_that_are_not_safe(bad: str) -> None:
    """An id that could break a header or a log is not repeated; the request is served all the same."""
    response = await serve(EmspLocations()).ask("GET", "/versions", headers={"X-Request-ID": bad})
    assert response.status == 200
    assert len(response.headers["X-Request-ID"]) == 36


async def test_routing_headers_of_the_answer() -> None:
    """The answer names who asked and who was asked, refused or not; never in a handshake."""
    served = serve(EmspLocations())
    for path, status in ((PUT_URL, 404), (f"{LOCATIONS}/FR/XXX/L", 404)):
        response = await served.ask("GET", path, token="hub", headers=routed(CPO_ID, EMP_ID))
        assert response.status == status
        assert {k: v for k, v in response.headers.items() if k.startswith("OCPI-")} == routed(EMP_ID, CPO_ID)
    response = await served.ask("GET", "/versions", headers=routed(CPO_ID, EMP_ID))
    assert not [name for name in response.headers if name.startswith("OCPI-")]


@pytest.mark.parametrize(
    "headers",
    [
        [*routed(CPO_ID).items(), ("OCPI-from-party-id", "CPO")],
        [("OCPI-to-country-code", "FR")],
        [("OCPI-from-party-id", "CPO")],
        [("OCPI-from-country-code", "FRA"), ("OCPI-from-party-id", "CPO")],
        [("OCPI-to-country-code", "FR"), ("OCPI-to-party-id", "É\x01P")],
    ],
)
async def test_unreadable_routing_headers(headers: list[tuple[str, str]]) -> None:
    """A routing header twice, without its other half or of the wrong length is HTTP 400."""
    response = await serve(EmspLocations()).ask("GET", PUT_URL, headers=headers)
    assert (response.status, envelope(response)["status_code"]) == (400, 2001)


# --- whose objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "sender", "status", "code"),
    [
        ("cpo", None, 200, 1000),
        ("cpo", PartyId("fr", "cpo"), 200, 1000),
        ("cpo", PartyId("FR", "XXX"), 200, 2001),
        ("cpo", EMP_ID, 200, 2001),
        ("two", None, 404, 2000),
        ("two", PartyId("FR", "AAA"), 404, 2000),
        ("hub", None, 200, 1000),
        ("hub", HUB_ID, 200, 1000),
        ("hub", CPO_ID, 200, 1000),
        ("hub", PartyId("DE", "ABC"), 200, 1000),
        ("hub", EMP_ID, 200, 2001),
        ("hub", PartyId("fr", "emp"), 200, 2001),
    ],
)
async def test_who_speaks(token: str, sender: PartyId | None, status: int, code: int) -> None:
    """A partner speaks for the parties it presented; a hub for any but ours, in any case of letters."""
    emsp = EmspLocations()
    response = await serve(emsp).ask(
        "PUT", PUT_URL, token=token, body=plain(a_location()), headers=routed(sender)
    )
    assert (response.status, envelope(response)["status_code"]) == (status, code)
    assert bool(emsp.locations) == (code == 1000)


async def test_party_of_its_own() -> None:
    """A hub does not speak for a party that is connected directly."""
    served = serve(EmspLocations(), elsewhere=frozenset({CPO_ID}))
    body = plain(a_location())
    refused = await served.ask("PUT", PUT_URL, token="hub", body=body, headers=routed(CPO_ID))
    assert envelope(refused)["status_code"] == 2001
    assert (await served.ask("PUT", PUT_URL, token="hub", body=body)).status == 404
    assert envelope(await served.ask("PUT", PUT_URL, token="cpo", body=body))["status_code"] == 1000


async def test_who_is_spoken_to() -> None:
    """The receiver is a party of ours; it may go without saying only where there is just one."""
    several = [EMP, Party("FR", "EM2", Role.EMSP, name="Other")]
    body = plain(a_location())
    for parties, receiver, code in (
        ([EMP], None, 1000),
        ([EMP], PartyId("Fr", "eMp"), 1000),
        ([EMP], PartyId("FR", "XXX"), 2001),
        (several, None, 2001),
        (several, PartyId("FR", "EM2"), 1000),
    ):
        emsp = EmspLocations()
        served = serve(emsp, parties=parties)
        response = await served.ask("PUT", PUT_URL, body=body, headers=routed(receiver=receiver))
        assert (response.status, envelope(response)["status_code"]) == (200, code)
        if code == 1000:
            assert emsp.seen[0].receiver == (receiver or EMP_ID)


async def test_hub_is_asked_for_others() -> None:
    """A platform with the role HUB takes requests to any party, and without one: it routes them."""
    hub = Party("FR", "107", Role.HUB, name="Hub")
    for parties in ([hub], [hub, EMP]):
        served = serve(EmspLocations(), parties=parties)
        for receiver in (None, PartyId("DE", "XYZ")):
            response = await served.ask(
                "PUT", PUT_URL, body=plain(a_location()), headers=routed(CPO_ID, receiver)
            )
            assert envelope(response)["status_code"] == 1000


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
@pytest.mark.parametrize(("token", "party"), [("cpo", "XXX"), ("cpo", "EMP"), ("two", "CPO"), ("hub", "EMP")])
async def test_objects_of_others(method: str, token: str, party: str) -> None:
    """An object of a party that the partner does not speak for is not found."""
    emsp = EmspLocations()
    body = {"PUT": plain(a_location(party_id=party)), "PATCH": {"last_updated": "2026-11-01T12:00:00Z"}}
    response = await serve(emsp).ask(
        method, f"{LOCATIONS}/FR/{party}/LOC1", token=token, body=body.get(method)
    )
    assert (response.status, envelope(response)["status_code"]) == (404, 2000)
    assert emsp.locations == {}


@pytest.mark.parametrize(
    ("path", "changes", "pointers"),
    [
        (PUT_URL, {"id": "LOC2"}, ["/id"]),
        (PUT_URL, {"country_code": "DE"}, ["/country_code"]),
        (PUT_URL, {"party_id": "XXX", "id": "LOC2"}, ["/party_id", "/id"]),
        (PUT_URL, {"id": "loc1", "party_id": "cpo"}, []),
        (f"{LOCATIONS}/fr/cpo/loc1", {}, []),
    ],
)
async def test_body_and_url_name_one_object(
    path: str, changes: Mapping[str, str], pointers: list[str]
) -> None:
    """What the body says of its owner and its id is what the URL says, or 2001 names it."""
    response = await serve(EmspLocations()).ask("PUT", path, body={**plain(a_location()), **changes})
    assert envelope(response)["status_code"] == (2001 if pointers else 1000)
    for pointer in pointers:
        assert f"{pointer}: expected the same value as in the URL" in envelope(response)["status_message"]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        (f"{PUT_URL}/E1", {"uid": "E2"}, "/uid"),
        (f"{PUT_URL}/E1/1", {"id": "2"}, "/id"),
        (PUT_URL, {"id": "LOC2"}, "/id"),
        (PUT_URL, {"party_id": "XXX"}, "/party_id"),
    ],
)
async def test_patch_may_leave_its_id_out(path: str, body: dict[str, str], pointer: str) -> None:
    """A PATCH need not say which object it changes; if it does, it must say what the URL says."""
    emsp = EmspLocations()
    emsp.locations["LOC1"] = a_location()
    served = serve(emsp)
    when = {"last_updated": "2026-11-01T12:00:00Z"}
    assert (
        f"{pointer}: " in envelope(await served.ask("PATCH", path, body={**body, **when}))["status_message"]
    )
    assert envelope(await served.ask("PATCH", path, body=when))["status_code"] in (1000, 2003)


@pytest.mark.parametrize(
    ("token", "changes", "code"),
    [
        ("cpo", {}, 1000),
        ("cpo", {"party_id": "XXX"}, 2001),
        ("hub", {"party_id": "XXX"}, 1000),
        ("hub", {"party_id": "EMP"}, 2001),
        ("cpo", {"id": ".."}, 2001),
        ("cpo", {"id": "a\nb"}, 2001),
    ],
)
async def test_posted_objects(token: str, changes: dict[str, str], code: int) -> None:
    """An object without a URL of its own is held to its sender too, and its id must fit into a URL."""
    body = {**plain(a_cdr()), **changes}
    response = await serve(EmspCdrs()).ask("POST", "/2.2.1/receiver/cdrs", token=token, body=body)
    assert (response.status, envelope(response)["status_code"]) == (200, code)


async def test_role_that_does_not_call() -> None:
    """Who asks what its role does not ask is HTTP 403; a hub may ask anything. (A6)"""
    cpo, emsp = CpoLocations([]), EmspLocations()
    served = serve(cpo, emsp)
    for path, token, status in (
        (PUT_URL, "emp", 403),
        ("/2.2.1/sender/locations", "emp", 200),
        ("/2.2.1/sender/locations", "hub", 200),
    ):
        response = await served.ask("GET", path, token=token)
        code = 2000 if status == 403 else 1000
        assert (response.status, envelope(response)["status_code"]) == (status, code)
    assert len(cpo.seen) == 2


async def test_role_of_a_connection() -> None:
    """In 2.1.1 a token opens the side of ours that it was exchanged for."""
    served = serve(EmspLocations211())
    assert (await served.ask("GET", f"{LOCATIONS_211}/FR/CPO/LOC1", token="cpo")).status == 404
    assert (await served.ask("GET", f"{LOCATIONS_211}/FR/EM2/LOC1", token="emp")).status == 401


# --- what comes back -----------------------------------------------------------------------------------


LOCATIONS_211 = "/emsp/2.1.1/locations"
PUT_211 = f"{LOCATIONS_211}/FR/CPO/LOC1"


class EmspLocations211(v211.LocationsEmsp):
    """Takes everything, and knows nothing."""

    async def get_location(self, ctx: Context, ref: v211.LocationRef) -> v211.Location:
        raise UnknownLocation

    async def get_evse(self, ctx: Context, ref: v211.EvseRef) -> v211.EVSE:
        raise UnknownToken

    async def get_connector(self, ctx: Context, ref: v211.ConnectorRef) -> v211.Connector:
        raise UnknownReceiver

    async def put_location(self, ctx: Context, ref: v211.LocationRef, location: v211.Location) -> None:
        """Take it."""

    async def put_evse(self, ctx: Context, ref: v211.EvseRef, evse: v211.EVSE) -> None:
        """Take it."""

    async def put_connector(self, ctx: Context, ref: v211.ConnectorRef, connector: v211.Connector) -> None:
        """Take it."""

    async def patch_location(
        self, ctx: Context, ref: v211.LocationRef, changes: Patch[v211.Location]
    ) -> None:
        raise StatusError("custom", status_code=2942)

    async def patch_evse(self, ctx: Context, ref: v211.EvseRef, changes: Patch[v211.EVSE]) -> None:
        """Take it."""

    async def patch_connector(
        self, ctx: Context, ref: v211.ConnectorRef, changes: Patch[v211.Connector]
    ) -> None:
        """Take it."""


async def test_nothing_to_say_in_211() -> None:
    """In 2.1.1 `data` is an empty object where there is nothing to say, in errors of every kind, too."""
    served = serve(EmspLocations211())
    location = plain(evolve(sample(v211.Location), id="LOC1"))
    for method, path, status, code in (
        ("PUT", PUT_211, 200, 1000),
        ("PATCH", f"{PUT_211}/E1", 200, 2001),
        ("GET", PUT_211, 404, 2003),
        ("GET", f"{LOCATIONS_211}/FR/XXX/LOC1", 404, 2000),
        ("DELETE", PUT_211, 405, 2000),
        ("GET", "/emsp/2.1.1/nothing", 404, 2000),
        ("GET", "/cpo/2.1.1/locations", 404, 2000),
    ):
        body = {"PUT": location, "PATCH": {"connectors": 1}}.get(method)
        response = await served.ask(method, path, body=body)
        assert (response.status, envelope(response)["status_code"]) == (status, code), path
        assert envelope(response)["data"] == {}, path
    refused = served.server.refuse_request(
        MessageTooLarge(), HttpRequest(method="PUT", url=f"/ocpi{PUT_211}")
    )
    assert envelope(refused)["data"] == {}


async def test_nothing_to_say_where_the_version_is_unknown() -> None:
    """An error at a URL that tells no version is fit for both; one at 2.2.1's leaves `data` out."""
    served = serve(EmspLocations())
    for path, has_data in (("/versions", True), ("/nothing", True), ("/2.2.1", False), (PUT_URL, False)):
        response = await served.ask("GET", path, token="unknown")
        assert ("data" in envelope(response)) is has_data, path


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{PUT_211}/E1", 404, 2000),
        ("GET", f"{PUT_211}/E1/1", 200, 3000),
        ("PATCH", PUT_211, 200, 2000),
    ],
)
async def test_codes_of_211(method: str, path: str, status: int, code: int) -> None:
    """A status code that a version does not define goes out as the generic one of its kind."""
    response = await serve(EmspLocations211()).ask(method, path, body={} if method == "PATCH" else None)
    assert (response.status, envelope(response)["status_code"]) == (status, code)


@pytest.mark.parametrize("dialect", [V211, v221.DIALECT], ids=["2.1.1", "2.2.1"])
def test_codes_of_the_specification(dialect: Dialect, shared: Path) -> None:
    """Each version defines the codes of its chapter on status codes, and 2.2.1 ranges for everybody's own."""
    table = json.loads((shared / "spec" / f"ocpi-{dialect.version}.json").read_bytes())["status_codes"]
    assert {str(code) for code in dialect.status_codes} == set(table["codes"])
    assert dialect.own_codes == ("29xx" in table["ranges"])


async def test_date_from_that_is_required() -> None:
    """A list of sessions without `date_from` is 2001: the text requires it there, and nowhere else."""

    class Sessions(v221.SessionsSender):
        async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[v221.Session]:
            return page_of([], query)

        async def put_charging_preferences(
            self, ctx: Context, ref: v221.OwnSessionRef, preferences: v221.ChargingPreferences
        ) -> v221.ChargingPreferencesResponse:
            raise UnknownObject

    served = serve(Sessions())
    response = await served.ask("GET", "/2.2.1/sender/sessions", token="emp")
    assert (response.status, envelope(response)["status_code"]) == (200, 2001)
    assert "?date_from: " in envelope(response)["status_message"]
    response = await served.ask("GET", "/2.2.1/sender/sessions?date_from=2026-01-01T00:00:00Z", token="emp")
    assert envelope(response)["status_code"] == 1000


async def test_answer_without_data() -> None:
    """An answer with nothing to say leaves ``data`` out, as 2.2.1 advises, and says when it was made."""
    found = envelope(await serve(EmspLocations()).ask("PUT", PUT_URL, body=plain(a_location())))
    assert set(found) == {"status_code", "status_message", "timestamp"}
    assert found["timestamp"].endswith("Z")


async def test_place_of_a_new_object() -> None:
    """The place that a handler names comes as an absolute URL below the public one, escaped, and works."""
    served = serve(EmspCdrs())
    cdr = plain(a_cdr(id="a/b 100%"))
    response = await served.ask(
        "POST", "/2.2.1/receiver/cdrs", body=cdr, headers={"Host": "evil.example", "X-Forwarded-Host": "evil"}
    )
    place = response.headers["Location"]
    assert place == "https://emsp.example.com/ocpi/2.2.1/receiver/cdrs/a/b%20100%25"
    again = await served.ask("GET", place.removeprefix("https://emsp.example.com/ocpi"))
    assert envelope(again)["data"]["id"] == "a/b 100%"


@pytest.mark.parametrize(
    ("error", "method", "status", "code"),
    [
        (UnknownLocation(), "GET", 404, 2003),
        (UnknownLocation(), "PATCH", 404, 2003),
        (UnknownLocation(), "PUT", 200, 2003),
        (UnknownObject(), "GET", 404, 2000),
        (UnknownObject(), "PUT", 404, 2000),
        (NotEnoughInformation(), "PUT", 200, 2002),
        (Forbidden(), "PUT", 403, 2000),
        (StatusError("custom", status_code=2942, http_status=200), "PUT", 200, 2942),
    ],
)
async def test_status_of_a_handler(error: StatusError, method: str, status: int, code: int) -> None:
    """A handler's status goes out as it is; what is not there is HTTP 404 where it is looked for."""
    bodies = {"PUT": plain(a_location()), "PATCH": {"last_updated": "2026-11-01T12:00:00Z"}}
    response = await serve(Raising(error)).ask(method, PUT_URL, body=bodies.get(method))
    assert (response.status, envelope(response)["status_code"]) == (status, code)
    assert envelope(response)["status_message"] == error.message


async def test_problems_of_a_handler() -> None:
    """A handler that names problems has all of them told."""
    error = InvalidParameters(problems=[Problem(f"/evses/{n}", "x", "expected more") for n in range(20)])
    message = envelope(await serve(Raising(error)).ask("GET", PUT_URL))["status_message"]
    assert all(f"/evses/{n}: " in message for n in range(20))


async def test_status_of_somebody_else(caplog: pytest.LogCaptureFixture) -> None:
    """That another partner did not accept our token must not tell this one that its own is wrong."""
    ours = Unauthorized(exchange=Exchange("authorize", "emsp", "r9", 401))
    response = await serve(Raising(ours)).ask("GET", PUT_URL)
    assert (response.status, envelope(response)["status_code"]) == (200, 3000)
    assert "emsp answered Unauthorized to authorize" in caplog.text
    theirs = UnknownLocation(exchange=Exchange("get_location", "cpo", "r9", 200))
    assert envelope(await serve(Raising(theirs)).ask("GET", PUT_URL))["status_code"] == 2003


@pytest.mark.parametrize(
    "error", [OSError("CANARY"), KeyError("CANARY"), TimeoutError("CANARY"), OcpiError("CANARY"), TypeError()]
)
async def test_unexpected_exception(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A handler's mistake is OCPI 3000; its text is told nobody, its place and the request are logged."""
    served = serve(Raising(error))
    with caplog.at_level(logging.DEBUG):
        response = await served.ask("GET", PUT_URL, headers={"X-Request-ID": "r-77"})
    assert (response.status, envelope(response)["status_code"]) == (200, 3000)
    assert envelope(response)["status_message"] == "Internal error"
    assert "CANARY" not in caplog.text
    assert f"LocationsReceiver.get_location failed with {type(error).__name__}" in caplog.text
    assert "r-77" in caplog.text
    assert "raise self.error" in caplog.text
    assert served.told[-1].error == type(error).__name__


async def test_slow_handler(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that takes too long is cancelled and answered with 3000."""
    cancelled = asyncio.Event()

    class Slow(EmspLocations):
        async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()
            raise UnknownLocation

    response = await serve(Slow(), timeout=0.01).ask("GET", PUT_URL)
    assert (response.status, envelope(response)["status_code"]) == (200, 3000)
    assert cancelled.is_set()
    assert "took longer than 0.01 s" in caplog.text


async def test_handler_that_waits_and_cleans_up() -> None:
    """A handler may wait as often as it likes, and after its time still for what it cleans up with."""
    steps: list[str] = []

    class Careful(EmspLocations):
        async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
            for number in range(3):
                await asyncio.sleep(0)
                steps.append(f"waited {number}")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                steps.append("cleaned up")
                raise
            raise UnknownLocation

    response = await serve(Careful(), timeout=0.05).ask("GET", PUT_URL)
    assert envelope(response)["status_code"] == 3000
    assert steps == ["waited 0", "waited 1", "waited 2", "cleaned up"]


async def test_request_that_is_abandoned() -> None:
    """Where the event loop ends in the middle of a request, its handler is ended too."""
    ended = False

    class Waiting(EmspLocations):
        async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
            nonlocal ended
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended = True
            raise UnknownLocation

    asked = serve(Waiting()).ask("GET", PUT_URL)
    asked.send(None)
    asked.close()
    assert ended


async def test_cancelled_request() -> None:
    """Who cancels the request gets the cancellation through, and the journal knows of it."""
    entered = asyncio.Event()

    class Waiting(EmspLocations):
        async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
            entered.set()
            await asyncio.sleep(60)
            raise UnknownLocation

    served = serve(Waiting())
    task = asyncio.create_task(served.ask("GET", PUT_URL))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(one.http_status, one.error) for one in served.told] == [(None, "CancelledError")]


async def test_cancellation_inside_a_handler() -> None:
    """A task of the handler's own that was cancelled is the handler's mistake, not the end of the request."""
    response = await serve(Raising(asyncio.CancelledError())).ask("GET", PUT_URL)
    assert envelope(response)["status_code"] == 3000


async def test_text_that_cannot_be_written() -> None:
    """Half a surrogate pair in a handler's message does not keep the answer from leaving."""
    response = await serve(Raising(UnknownLocation("\ud800"))).ask("GET", PUT_URL)
    assert envelope(response)["status_message"] == "?"


@pytest.mark.parametrize("wrong", [None, an_evse(), [a_location()], "LOC1"])
async def test_handler_returns_something_else(wrong: object, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that returns another thing than it declares is answered 3000, and the log says what."""

    class Wrong(EmspLocations):
        async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
            return cast("v221.Location", wrong)

    response = await serve(Wrong()).ask("GET", PUT_URL)
    assert envelope(response)["status_code"] == 3000
    assert "failed with TypeError" in caplog.text


@pytest.mark.parametrize("link", [Link(""), Link("../cdrs"), cast("Link", "CDR1"), cast("Link", None)])
async def test_handler_names_no_place(link: Link) -> None:
    """A place that nobody could call is a mistake of the handler."""

    class Wrong(EmspCdrs):
        async def post_cdr(self, ctx: Context, cdr: v221.CDR) -> Link:
            return link

    response = await serve(Wrong()).ask("POST", "/2.2.1/receiver/cdrs", body=plain(a_cdr()))
    assert envelope(response)["status_code"] == 3000
    assert "Location" not in response.headers


# --- pages ---------------------------------------------------------------------------------------------

LIST = "/2.2.1/sender/locations"


def a_cpo(count: int = 250) -> tuple[CpoLocations, Served]:
    """A server of many locations, for partners with pages of at most 100."""
    cpo = CpoLocations(
        [a_location(id=f"L{n}", evses=[], last_updated=NOW + timedelta(minutes=n)) for n in range(count)]
    )
    return cpo, serve(cpo)


@pytest.mark.parametrize(
    ("query", "items", "following"),
    [
        ("", 100, "offset=100&limit=100"),
        ("?limit=10", 10, "offset=10&limit=10"),
        ("?limit=999999", 100, "offset=100&limit=100"),
        ("?offset=200", 50, None),
        ("?offset=150", 100, None),
        ("?offset=149", 100, "offset=249&limit=100"),
        ("?offset=250", 0, None),
        ("?offset=1000000000000", 0, None),
        ("?offset=240&limit=10", 10, None),
    ],
)
async def test_page_headers(query: str, items: int, following: str | None) -> None:
    """A page says the total, the server's own limit, and where the next page is, while there is one."""
    _, served = a_cpo()
    response = await served.ask("GET", LIST + query, headers={"Host": "evil.example"})
    assert len(envelope(response)["data"]) == items
    assert (response.headers["X-Total-Count"], response.headers["X-Limit"]) == ("250", "100")
    link = None if following is None else f'<https://emsp.example.com/ocpi{LIST}?{following}>; rel="next"'
    assert response.headers.get("Link") == link


async def test_filters_stay_in_the_link() -> None:
    """The next page's link repeats the filters, and following it to the end gives every object once."""
    _, served = a_cpo()
    path: str | None = f"{LIST}?date_from=2026-11-01T12:10:00Z&date_to=2026-11-01T14:30:00Z&limit=60"
    seen: list[str] = []
    while path:
        response = await served.ask("GET", path)
        assert response.headers["X-Total-Count"] == "140"
        seen += [one["id"] for one in envelope(response)["data"]]
        link = response.headers.get("Link", "").partition(">")[0]
        path = link.removeprefix("<https://emsp.example.com/ocpi")
    assert seen == [f"L{n}" for n in range(10, 150)]


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "offset=x", "date_from=x", "offset=1&offset=2"])
async def test_wrong_page_query(query: str) -> None:
    """A page's query that cannot be read is OCPI 2001, and HTTP 200 as for every message that arrived."""
    cpo, served = a_cpo(1)
    response = await served.ask("GET", f"{LIST}?{query}")
    assert (response.status, envelope(response)["status_code"]) == (200, 2001)
    assert cpo.seen == []


async def test_dates_that_run_backwards() -> None:
    """An interval that ends before it begins is refused; one that ends where it begins is empty."""
    _, served = a_cpo(1)
    wrong = await served.ask("GET", f"{LIST}?date_from=2026-11-02T00:00:00Z&date_to=2026-11-01T00:00:00Z")
    assert "?date_to: " in envelope(wrong)["status_message"]
    empty = await served.ask("GET", f"{LIST}?date_from=2026-11-01T00:00:00Z&date_to=2026-11-01T00:00:00Z")
    assert envelope(empty)["data"] == []
    assert empty.headers["X-Total-Count"] == "0"


class Pages(CpoLocations):
    """Returns what it was given."""

    def __init__(self, page: object) -> None:
        super().__init__([])
        self.page = page

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[v221.Location]:
        return cast("Page[v221.Location]", self.page)


@pytest.mark.parametrize(
    "page",
    [
        None,
        [a_location()],
        Page[object](items=[], total=None),
        Page(items=[a_location()] * 101, total=101),
        Page(items=[an_evse()], total=1),
        Page(items=["LOC1"], total=1),
    ],
    ids=["nothing", "list", "no total", "too many", "another class", "text"],
)
async def test_handler_returns_no_honest_page(page: object) -> None:
    """A page without a total, with more than was asked for or with other things is a handler's mistake."""
    assert envelope(await serve(Pages(page)).ask("GET", LIST))["status_code"] == 3000


async def test_total_that_was_counted_too_early() -> None:
    """The total is at least what was served, and an empty page has no successor."""
    served = serve(Pages(Page(items=[a_location()] * 3, total=2)))
    response = await served.ask("GET", f"{LIST}?offset=5")
    assert response.headers["X-Total-Count"] == "8"
    assert "Link" not in response.headers
    served = serve(Pages(Page[object](items=[], total=7)))
    response = await served.ask("GET", f"{LIST}?offset=5")
    assert (response.headers["X-Total-Count"], "Link" in response.headers) == ("7", False)


Step = tuple[bool, int]


@given(
    st.integers(0, 30),
    st.integers(1, 7),
    st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=10), max_size=30),
)
async def test_pages_while_objects_change(count: int, limit: int, steps: list[list[Step]]) -> None:
    """Objects that are created and updated between two pages cost no other its place: each is served once."""
    kept = {f"L{n}": a_location(id=f"L{n}", evses=[]) for n in range(count)}
    there_throughout = set(kept)

    class Changing(CpoLocations):
        async def list_locations(self, ctx: Context, query: PageQuery) -> Page[v221.Location]:
            return page_of(list(kept.values()), query)

    served = serve(Changing([]))
    changes = iter(steps)
    path: str | None = f"{LIST}?limit={limit}"
    seen: list[str] = []
    while path:
        response = await served.ask("GET", path)
        seen += [one["id"] for one in envelope(response)["data"]]
        assert int(response.headers["X-Total-Count"]) == len(kept)
        for is_update, number in next(changes, list[Step]()):
            name = f"L{number}" if is_update else f"NEW{number}"
            if is_update is (name in kept):
                kept[name] = a_location(id=name, evses=[], last_updated=NOW + timedelta(hours=number))
        link = response.headers.get("Link", "").partition(">")[0]
        path = link.removeprefix("<https://emsp.example.com/ocpi") or None
    assert len(seen) == len(set(seen))
    assert there_throughout <= set(seen)


async def test_pages_at_a_hubs_limits() -> None:
    """A partner is served at most the pages of its own profile."""

    class ManyTokens(EmspTokens):
        async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v221.Token]:
            return page_of([a_token()] * 3000, query)

    served = serve(ManyTokens())
    for token, size in (("hub", 1000), ("cpo", 100)):
        response = await served.ask("GET", "/2.2.1/sender/tokens", token=token)
        assert len(envelope(response)["data"]) == size


# --- messages that come again ---------------------------------------------------------------------------


async def test_put_again() -> None:
    """An object put twice reaches its handler once."""
    emsp = EmspLocations()
    served = serve(emsp)
    body = plain(a_location())
    for sent in (body, body, {**body, "name": "Port"}):
        assert envelope(await served.ask("PUT", PUT_URL, body=sent))["status_code"] == 1000
    assert len(emsp.seen) == 2
    assert served.server.idempotence is not None
    assert dict(served.server.idempotence.counts) == {Reason.REPEATED: 1}


async def test_waiting_for_a_turn_ends(caplog: pytest.LogCaptureFixture) -> None:
    """A message that waits for another one at its object waits no longer than a handler may take."""
    let = asyncio.Event()

    class Stuck(EmspLocations):
        async def put_location(self, ctx: Context, ref: v221.LocationRef, location: v221.Location) -> None:
            await super().put_location(ctx, ref, location)
            await let.wait()

    emsp = Stuck()
    served = serve(emsp, timeout=0.05)
    bodies = [plain(a_location(name=name)) for name in ("A", "B", "C")]
    asking = [asyncio.create_task(served.ask("PUT", PUT_URL, body=body)) for body in bodies]
    codes = [envelope(await one)["status_code"] for one in asking]
    assert codes == [3000, 3000, 3000]
    assert "took longer than 0.05 s" in caplog.text
    let.set()
    assert envelope(await served.ask("PUT", PUT_URL, body=bodies[0]))["status_code"] == 1000


async def test_idempotence_is_an_option() -> None:
    """Who knows repetitions itself may have its handlers see every message."""
    emsp = EmspLocations()
    served = serve(emsp, idempotent=False)
    for _ in range(2):
        await served.ask("PUT", PUT_URL, body=plain(a_location()))
    assert len(emsp.seen) == 2
    assert served.server.idempotence is None


async def test_cdr_again() -> None:
    """A CDR that comes again is answered with the same place; other content of its id is 2001."""
    cdrs = EmspCdrs()
    served = serve(cdrs)
    first, second = [await served.ask("POST", CDRS, body=plain(a_cdr())) for _ in range(2)]
    assert second.headers["Location"] == first.headers["Location"]
    other = await served.ask("POST", CDRS, body={**plain(a_cdr()), "total_energy": 99})
    assert (other.status, envelope(other)["status_code"]) == (200, 2001)
    assert "Location" not in other.headers
    assert cdrs.cdrs == {"CDR1": a_cdr()}


async def test_place_that_nobody_could_call_is_not_remembered() -> None:
    """A handler's mistake in naming a place is not kept: the repetition gets the place that works."""

    class Learning(EmspCdrs):
        async def post_cdr(self, ctx: Context, cdr: v221.CDR) -> Link:
            place = await super().post_cdr(ctx, cdr)
            self.tries = getattr(self, "tries", 0) + 1
            return Link("..") if self.tries == 1 else place

    served = serve(Learning())
    codes = [envelope(await served.ask("POST", CDRS, body=plain(a_cdr())))["status_code"] for _ in range(3)]
    assert codes == [3000, 1000, 1000]


# --- commands in time -----------------------------------------------------------------------------------

START_221, STOP_211 = "/2.2.1/receiver/commands/START_SESSION", "/cpo/2.1.1/commands/STOP_SESSION"
RESULT_URL = "https://emsp.example.com/START_SESSION/17"


class Charger:
    """What a charger does with a command: nothing, until it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.addressed = 0
        self.error: BaseException | None = None
        self.ended = asyncio.Event()

    async def carry_out(self) -> None:
        """Wait to be let, then fail as told."""
        self.addressed += 1
        try:
            await self.let.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.ended.set()


class Commands221(v221.CommandsReceiver):
    def __init__(self, charger: Charger, says: v221.CommandResponseType) -> None:
        self.charger, self.says = charger, says

    async def start_session(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponse:
        await self.charger.carry_out()
        return v221.CommandResponse(result=self.says, timeout=30)

    async def stop_session(self, ctx: Context, command: v221.StopSession) -> v221.CommandResponse:
        raise UnknownObject

    async def reserve_now(self, ctx: Context, command: v221.ReserveNow) -> v221.CommandResponse:
        raise UnknownObject

    async def cancel_reservation(self, ctx: Context, command: v221.CancelReservation) -> v221.CommandResponse:
        raise UnknownObject

    async def unlock_connector(self, ctx: Context, command: v221.UnlockConnector) -> v221.CommandResponse:
        raise UnknownObject


class Commands211(v211.CommandsCpo):
    def __init__(self, charger: Charger) -> None:
        self.charger = charger

    async def start_session(self, ctx: Context, command: v211.StartSession) -> v211.CommandResponse:
        raise UnknownObject

    async def stop_session(self, ctx: Context, command: v211.StopSession) -> v211.CommandResponse:
        await self.charger.carry_out()
        return v211.CommandResponse(result=v211.CommandResponseType.ACCEPTED)

    async def reserve_now(self, ctx: Context, command: v211.ReserveNow) -> v211.CommandResponse:
        raise UnknownObject

    async def unlock_connector(self, ctx: Context, command: v211.UnlockConnector) -> v211.CommandResponse:
        raise UnknownObject


def start_body() -> dict[str, Any]:
    """A command for a token of FR*EM2."""
    token = a_token(party_id="EM2")
    return plain(v221.StartSession(response_url=RESULT_URL, token=token, location_id="LOC1"))


CPO_PARTY = Party("FR", "CPO", Role.CPO, name="Example CPO")


def commanded(
    charger: Charger,
    says: v221.CommandResponseType = v221.CommandResponseType.ACCEPTED,
    *,
    command_ack: float = 0.0,
    timeout: float = 5.0,
) -> tuple[Served, list[LateOutcome]]:
    """A CPO whose charger takes its time."""
    late: list[LateOutcome] = []
    served = serve(
        Commands221(charger, says),
        Commands211(charger),
        parties=[CPO_PARTY],
        command_ack=command_ack,
        timeout=timeout,
        on_late=late.append,
    )
    return served, late


async def test_command_in_time() -> None:
    """A command that is answered in time is answered by its handler."""
    charger = Charger()
    charger.let.set()
    served, late = commanded(charger, v221.CommandResponseType.UNKNOWN_SESSION, command_ack=5.0)
    response = await served.ask("POST", START_221, token="emp", body=start_body())
    assert envelope(response)["data"] == {"result": "UNKNOWN_SESSION", "timeout": 30}
    assert late == []


async def test_command_that_is_late(caplog: pytest.LogCaptureFixture) -> None:
    """A late handler goes on: its command is answered ACCEPTED, as its repetitions are, and it is logged."""
    charger = Charger()
    served, late = commanded(charger)
    for _ in range(3):
        response = await served.ask("POST", START_221, token="emp", body=start_body())
        assert (response.status, envelope(response)["status_code"]) == (200, 1000)
        assert envelope(response)["data"] == {"result": "ACCEPTED", "timeout": 60}
    assert "took longer than 0 s; answered ACCEPTED, and goes on" in caplog.text
    charger.let.set()
    await charger.ended.wait()
    await settled()
    assert "CommandsReceiver.start_session, answered before, ended with an answer" in caplog.text
    again = await served.ask("POST", START_221, token="emp", body=start_body())
    assert envelope(again)["data"] == {"result": "ACCEPTED", "timeout": 60}
    assert (charger.addressed, late) == (1, [])


async def settled() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_late_in_211() -> None:
    """In 2.1.1 a late handler's command is answered TIMEOUT, which the text has for it; nothing is posted."""
    charger = Charger()
    served, late = commanded(charger)
    body = {"response_url": RESULT_URL, "session_id": "S1"}
    for _ in range(2):
        response = await served.ask("POST", STOP_211, token="emp", body=body)
        assert envelope(response)["data"] == {"result": "TIMEOUT"}
    charger.let.set()
    await charger.ended.wait()
    await settled()
    again = await served.ask("POST", STOP_211, token="emp", body=body)
    assert envelope(again)["data"] == {"result": "TIMEOUT"}
    assert (charger.addressed, late) == (1, [])


@pytest.mark.parametrize(
    ("says", "error", "posted"),
    [
        (v221.CommandResponseType.REJECTED, None, "REJECTED"),
        (v221.CommandResponseType.NOT_SUPPORTED, None, "NOT_SUPPORTED"),
        (v221.CommandResponseType.UNKNOWN_SESSION, None, "REJECTED"),
        (v221.CommandResponseType.ACCEPTED, OSError(), "FAILED"),
        (v221.CommandResponseType.ACCEPTED, UnknownLocation(), "FAILED"),
    ],
)
async def test_outcome_that_is_owed(
    says: v221.CommandResponseType,
    error: Exception | None,
    posted: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After ACCEPTED an outcome is owed: what the handler refused or failed at is posted."""
    charger = Charger()
    charger.error = error
    served, late = commanded(charger, says)
    await served.ask("POST", START_221, token="emp", body=start_body(), headers={"X-Correlation-ID": "c7"})
    charger.let.set()
    await charger.ended.wait()
    await settled()
    (owed,) = late
    assert owed.outcome == v221.CommandResult(result=v221.CommandResultType(posted))
    assert (owed.place, owed.context.partner, owed.context.correlation_id) == (Link(RESULT_URL), "emp", "c7")
    assert owed.post == v221.CommandsSender.post_result
    if error is not None:
        assert f"answered before, ended with {type(error).__name__}" in caplog.text
        # A failure is not remembered: the repetition reaches the charger.
        charger.error = None
        await served.ask("POST", START_221, token="emp", body=start_body())
        await settled()
        assert charger.addressed == 2


async def test_handler_that_never_ends() -> None:
    """A handler that was late is cancelled at its own deadline, and the outcome is a TIMEOUT."""
    charger = Charger()
    served, late = commanded(charger, timeout=0.01)
    await served.ask("POST", START_221, token="emp", body=start_body())
    await charger.ended.wait()
    await settled()
    assert [one.outcome for one in late] == [v221.CommandResult(result=v221.CommandResultType.TIMEOUT)]


async def test_late_handlers_end_with_the_server() -> None:
    """When the server closes, handlers that went on after their answer are cancelled."""
    charger = Charger()
    served, late = commanded(charger)
    await served.ask("POST", START_221, token="emp", body=start_body())
    await served.server.close()
    assert charger.ended.is_set()
    assert late == []


async def test_command_whose_request_is_cancelled() -> None:
    """Who cancels a command's request before its answer cancels its handler."""
    charger = Charger()
    served, _ = commanded(charger, command_ack=60.0)
    asking = asyncio.create_task(served.ask("POST", START_221, token="emp", body=start_body()))
    await settled()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await charger.ended.wait()


async def test_token_of_another_emsp() -> None:
    """A command with another eMSP's token reaches no charger."""
    charger = Charger()
    served, _ = commanded(charger)
    response = await served.ask(
        "POST", START_221, token="emp", body={**start_body(), "token": plain(a_token())}
    )
    assert (response.status, envelope(response)["status_code"]) == (200, 2001)
    assert "/token/party_id: " in envelope(response)["status_message"]
    assert charger.addressed == 0


# --- the journal ---------------------------------------------------------------------------------------


async def test_every_request_is_told_once() -> None:
    """The journal has one entry for each request, however it ended."""
    served = serve(Raising(OSError()))
    await served.ask("GET", PUT_URL, headers={"X-Request-ID": "r1", "X-Correlation-ID": "c1"})
    await served.ask("GET", "/nothing")
    await served.ask("GET", PUT_URL, token=None)
    served.server.refuse_request(MessageTooLarge(), HttpRequest(method="PUT", url=f"/ocpi{PUT_URL}"))
    assert [(one.partner, one.operation, one.http_status, one.error) for one in served.told] == [
        ("cpo", "LocationsReceiver.get_location", 200, "OSError"),
        ("", "", 404, "UnknownObject"),
        ("", "LocationsReceiver.get_location", 401, "Unauthorized"),
        ("", "", 413, "MessageTooLarge"),
    ]
    assert {one.direction for one in served.told} == {"in"}
    assert (served.told[0].request_id, served.told[0].correlation_id) == ("r1", "c1")
    assert served.told[0].seconds >= 0


async def test_listener_that_fails() -> None:
    """A host's listener that raises does not cost the partner its answer."""

    def fail(_: Exchanged) -> None:
        raise OSError

    response = await serve(EmspLocations(), listener=fail).ask("GET", "/versions")
    assert response.status == 200


async def test_request_refused_before_it_was_complete() -> None:
    """A request that the HTTP server could not take gets an envelope and its own ids, too."""
    headers = CIMultiDict({"X-Request-ID": "r1"})
    request = HttpRequest(method="PUT", url=f"/ocpi{PUT_URL}", headers=headers)
    response = serve(EmspLocations()).server.refuse_request(MessageTooLarge(), request)
    assert (response.status, envelope(response)["status_code"]) == (413, 2000)
    assert response.headers["X-Request-ID"] == "r1"


async def test_one_header_for_two_partners(caplog: pytest.LogCaptureFixture) -> None:
    """A header that stands for two partners, decoded and as it is, is nobody's: never a choice."""

    class Ambiguous(Book):
        def find(self, digest: bytes) -> Principal | None:
            known = super().find(token_digest(Secret("cpo")))
            return None if known is None else evolve(known, connection=digest.hex())

    served = serve(EmspLocations())
    server = Server(
        public_url="https://emsp.example.com/ocpi",
        parties=[EMP],
        mounts=[
            Mount(dialect=v221.DIALECT, handlers={v221.VersionsInterface: Handshaking()}),
        ],
        principals=Ambiguous(),
    )
    request = HttpRequest(
        method="GET", url="/ocpi/versions", headers=CIMultiDict({"Authorization": basic("cpo")})
    )
    assert (await server.handle(request)).status == 401
    assert "names 2 connections" in caplog.text
    assert (await served.server.handle(request)).status == 200
