"""Who sends a request: looked up once for equal headers, and never out of date."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from attrs import define, evolve, field
from multidict import CIMultiDict

from ocpi_gireve import BILATERAL, PartyId, Profile, Role, v221
from ocpi_gireve.access import Ours, Principal
from ocpi_gireve.errors import InvalidParameters, MalformedMessage, Unauthorized
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.interface import Interface
from ocpi_gireve.server._admission import MAX_REMEMBERED, Admission, Gate
from ocpi_gireve.server._routes import Mount, Route, Routes
from ocpi_gireve.store.records import TokenKind
from ocpi_gireve.tokens import token_digest
from ocpi_gireve.transport import HttpRequest
from ocpi_gireve.types import Secret
from tests.support import EmspLocations, basic

CPO, CP2, EMP, EM2 = (PartyId("FR", name) for name in ("CPO", "CP2", "EMP", "EM2"))
PUT = "/ocpi/2.2.1/receiver/locations/FR/CPO/LOC1"
ROUTES = Routes(
    "/ocpi",
    [Mount(dialect=v221.DIALECT, handlers={v221.LocationsReceiver: EmspLocations()})],
)


@define
class Book:
    """Whom tokens belong to, and how often that was asked."""

    revision: int = 0
    principals: dict[bytes, Principal] = field(factory=dict[bytes, Principal])
    asked: Counter[str] = field(factory=Counter[str])

    def find(self, digest: bytes) -> Principal | None:
        """Find a principal."""
        self.asked["find"] += 1
        return self.principals.get(digest)

    async def admitted(self, principal: Principal) -> None:
        """Note who came."""
        self.asked[principal.connection] += 1

    def put(self, principal: Principal) -> None:
        """Add a principal, or take the place of the one with its token."""
        self.revision += 1
        self.principals[principal.digest] = principal


def a_principal(token: str = "cpo", profile: Profile = BILATERAL, *parties: PartyId) -> Principal:
    """A partner with its current token: by default a CPO that is connected directly."""
    return Principal(
        connection=token,
        kind=TokenKind.CURRENT,
        profile=profile,
        parties=dict.fromkeys(parties or (CPO,), frozenset({Role.CPO, Role.EMSP})),
        digest=token_digest(Secret(token)),
        is_settled=True,
    )


@define
class Door:
    """A gate with its book."""

    book: Book = field(factory=Book)
    gate: Gate = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.book.put(a_principal())
        self.gate = Gate(self.book, Ours(parties=frozenset({EMP, EM2})))

    async def come(self, request: HttpRequest) -> Admission:
        """Let a request in as the server does."""
        route = the_route(request)
        admission = self.gate.remembered(request, route)
        if admission is None:
            principal, _ = self.gate.authenticate(request, route)
            await self.book.admitted(principal)
            admission = self.gate.admit(request, route, principal)
        return admission


def the_route(request: HttpRequest) -> Route:
    """The operation that a request is for."""
    return ROUTES.find(request.method, request.url).route


def a_request(token: str = "cpo", sender: str = "CPO", receiver: str = "EMP", key: str = "") -> HttpRequest:
    """A PUT of a location."""
    headers = CIMultiDict(
        {
            "Authorization": basic(token),
            "OCPI-from-country-code": "FR",
            "OCPI-from-party-id": sender,
            "OCPI-to-country-code": "FR",
            "OCPI-to-party-id": receiver,
        }
    )
    return HttpRequest(method="PUT", url=PUT, headers=headers, client_key=key)


async def test_equal_headers_are_looked_up_once() -> None:
    """Of a settled token it is asked once who shows it; the rest is remembered."""
    door = Door()
    first = await door.come(a_request())
    asked = door.book.asked.copy()
    assert await door.come(a_request()) is first
    assert door.book.asked == asked
    assert (first.speaker.sender, first.receiver) == (CPO, EMP)
    assert first.headers["OCPI-to-party-id"] == "CPO"


async def test_each_header_counts() -> None:
    """Another receiver is another admission, and what was let in opens nothing for another sender."""
    door = Door()
    await door.come(a_request())
    assert (await door.come(a_request(receiver="EM2"))).receiver == EM2
    with pytest.raises(InvalidParameters):
        await door.come(a_request(sender="XXX"))
    with pytest.raises(Unauthorized):
        await door.come(a_request(token="cpp"))


async def test_header_twice_after_it_came_once() -> None:
    """A header that comes twice is refused, however often it was let in alone."""
    door = Door()
    await door.come(a_request())
    for name in ("Authorization", "OCPI-from-party-id", "OCPI-to-country-code"):
        request = a_request()
        request.headers.add(name, request.headers[name])
        with pytest.raises(MalformedMessage):
            await door.come(request)


async def test_empty_header_after_none() -> None:
    """Empty routing headers are refused, though the same request without them was let in."""
    door = Door()
    bare = a_request()
    for name in ("OCPI-from-country-code", "OCPI-from-party-id"):
        del bare.headers[name]
    assert (await door.come(bare)).speaker.sender == CPO
    empty = a_request(sender="")
    empty.headers["OCPI-from-country-code"] = ""
    with pytest.raises(MalformedMessage):
        await door.come(empty)


async def test_stranger_without_the_key() -> None:
    """A token without its key in TLS is not told what is served, either."""
    door = Door()
    door.book.put(a_principal("cpo", evolve(BILATERAL, client_keys=frozenset({"its-key"}))))
    door.gate.require_known(a_request(key="its-key"))
    with pytest.raises(Unauthorized):
        door.gate.require_known(a_request())


async def test_revoked_at_once() -> None:
    """A token that was taken back opens nothing from then on."""
    door = Door()
    await door.come(a_request())
    door.book.principals.clear()
    door.book.revision += 1
    with pytest.raises(Unauthorized):
        await door.come(a_request())


async def test_changed_at_once() -> None:
    """A partner that presents other parties speaks for those, and for no other."""
    door = Door()
    await door.come(a_request())
    door.book.put(a_principal("cpo", BILATERAL, PartyId("FR", "NEW")))
    with pytest.raises(InvalidParameters):
        await door.come(a_request())


async def test_key_of_the_client() -> None:
    """Where a partner's key in TLS is known, what was let in with it is not let in without it."""
    door = Door()
    door.book.put(a_principal("cpo", evolve(BILATERAL, client_keys=frozenset({"its-key"}))))
    await door.come(a_request(key="its-key"))
    for key in ("", "another"):
        with pytest.raises(Unauthorized):
            await door.come(a_request(key=key))


async def test_unsettled_is_noted_each_time() -> None:
    """A token whose use still means something, or that time ends, is looked up for each request."""
    door = Door()
    door.book.put(evolve(a_principal(), kind=TokenKind.PREVIOUS, is_settled=False))
    for _ in range(3):
        await door.come(a_request())
    assert door.book.asked["cpo"] == 3


async def test_replaced_while_it_is_noted() -> None:
    """A principal that is replaced between its lookup and its admission is not remembered."""
    door = Door()
    request = a_request()
    principal, _ = door.gate.authenticate(request, the_route(request))
    door.book.put(a_principal("cpo", PREPRODUCTION))
    assert door.gate.remembered(request, the_route(request)) is None
    door.gate.admit(request, the_route(request), principal)
    assert door.gate.remembered(request, the_route(request)) is None


async def test_no_room_for_strangers() -> None:
    """Requests that are refused leave nothing behind; those of partners only so much."""
    door = Door()
    for number in range(20):
        with pytest.raises(Unauthorized):
            await door.come(a_request(token=f"stranger-{number}"))
    assert not door.gate._known
    door.book.put(a_principal("cpo", PREPRODUCTION))
    for number in range(MAX_REMEMBERED + 10):
        text = f"{number:05}"
        request = a_request(sender=f"{chr(65 + int(text[0]))}{text[1:3]}")
        request.headers["OCPI-from-country-code"] = f"{chr(65 + int(text[3]))}{chr(65 + int(text[4]))}"
        await door.come(request)
    assert 0 < len(door.gate._known) <= MAX_REMEMBERED


async def test_no_token_in_memory() -> None:
    """What is remembered holds no token, neither as it is nor as it stands in the header."""
    door = Door()
    await door.come(a_request())
    kept = repr(door.gate._known)
    assert basic("cpo").split()[1] not in kept


async def test_many_at_once() -> None:
    """Requests at the same time are each admitted as they would be alone."""
    door = Door()
    door.book.put(a_principal("two", BILATERAL, CP2))
    tokens = [("cpo", "CPO"), ("two", "CP2")] * 20
    found = await asyncio.gather(*(door.come(a_request(token, sender)) for token, sender in tokens))
    assert [one.speaker.principal.connection for one in found] == [token for token, _ in tokens]


def test_handshake_is_not_remembered() -> None:
    """Handlers of the handshake need the token itself, so each of their requests is looked at."""
    handlers: dict[type[Interface], object] = {v221.CredentialsInterface: None}
    routes = Routes("/ocpi", [Mount(dialect=v221.DIALECT, handlers=handlers)])
    route = routes.find("GET", "/ocpi/2.2.1/credentials").route
    door = Door()
    request = HttpRequest(
        method="GET", url="/ocpi/2.2.1/credentials", headers=CIMultiDict({"Authorization": basic("cpo")})
    )
    principal, token = door.gate.authenticate(request, route)
    assert token == Secret("cpo")
    door.gate.admit(request, route, principal)
    assert door.gate.remembered(request, route) is None
