"""Connections: calls, crawls and uploads, and what is never sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from attrs import evolve
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
    Platform,
    Role,
    SqliteStore,
    v211,
    v221,
)
from ocpi_gireve.connection import LONGEST_ANSWER, Connection
from ocpi_gireve.errors import (
    BadAnswer,
    ClientError,
    HubError,
    InvalidObject,
    NoAnswer,
    NotRegistered,
    NotSent,
    NotServed,
    NotTrusted,
    OcpiError,
    ServerError,
    StatusError,
    Unauthorized,
    UnknownLocation,
    UnknownObject,
    UrlRefused,
)
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.http import HttpServer, aiohttp_app
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.pagination import page_of
from ocpi_gireve.transport import HttpRequest, HttpResponse
from ocpi_gireve.types import utc_now
from tests.support import (
    CPO,
    EMSP,
    NOW,
    CpoLocations,
    EmspCdrs,
    EmspLocations,
    EmspTokens,
    Network,
    Pair,
    a_cdr,
    a_location,
    a_pair,
    a_platform,
    a_token,
    an_evse,
)

REF = v221.LocationRef("FR", "CPO", "LOC1")
ONCE = evolve(BILATERAL, repeats=0)
"""A partner whose every answer, or silence, is final."""
SOON = evolve(BILATERAL, repeat_base=0.001)
"""A partner that is asked again at once."""


# --- calls ---------------------------------------------------------------------------------------------


async def test_call_there_and_back() -> None:
    """What a caller sends is what the handler gets, and what it answers is what the caller gets."""
    emsp = EmspLocations()
    async with a_pair(emsp=[emsp, EmspCdrs(), EmspTokens()]) as pair:
        to_emsp = pair.to_emsp
        await to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        assert await to_emsp.call(v221.LocationsReceiver.get_location, REF) == a_location()
        link = await to_emsp.call(v221.CdrsReceiver.post_cdr, a_cdr())
        assert await to_emsp.call(v221.CdrsReceiver.get_cdr, link) == a_cdr()
        info = await to_emsp.call(v221.TokensSender.authorize, v221.OwnTokenRef(a_token().uid))
        assert info.token == a_token()


async def test_headers_of_a_request() -> None:
    """A request says who speaks to whom and why; it names a content type exactly where it has a body."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        await pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        put, got = (dict(request.headers) for request in pair.network.requests)
        assert put.pop("Content-Type") == "application/json"
        assert put.keys() == got.keys()
        assert (got["OCPI-from-party-id"], got["OCPI-to-party-id"]) == ("CPO", "EMP")
        assert put["X-Request-ID"] != got["X-Request-ID"]
        answers = [response.headers["X-Request-ID"] for response in pair.network.responses]
        assert answers == [put["X-Request-ID"], got["X-Request-ID"]]


async def test_only_objects_may_be_long() -> None:
    """What brings no objects, as in a handshake, is answered shortly; what brings some, at any length."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        await pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        await pair.cpo.update("emsp")
        longest = {(one.method, one.longest_answer) for one in pair.network.requests[:2]}
        assert longest == {("PUT", LONGEST_ANSWER), ("GET", None)}
        assert {one.longest_answer for one in pair.network.requests[2:]} == {LONGEST_ANSWER}


async def test_cause_is_handed_on() -> None:
    """Calls that follow from a request share its correlation id, and have request ids of their own."""
    ctx = Context(partner="x", version="2.2.1", request_id="r1", correlation_id="because")
    async with a_pair(emsp=[EmspLocations()]) as pair:
        view = pair.to_emsp.routed(following=ctx)
        for _ in range(2):
            await view.call(v221.LocationsReceiver.put_location, REF, a_location())
        assert {request.headers["X-Correlation-ID"] for request in pair.network.requests} == {"because"}
        assert len({request.headers["X-Request-ID"] for request in pair.network.requests}) == 2


async def test_cause_of_our_own() -> None:
    """Calls that follow from something at our side share the id that we give it, if it can be one."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        await pair.to_emsp.routed(correlation_id="card-17").call(
            v221.LocationsReceiver.put_location, REF, a_location()
        )
        assert pair.network.requests[0].headers["X-Correlation-ID"] == "card-17"
        for wrong in ("", "card 17", "x" * 129, "café"):
            with pytest.raises(ValueError, match="correlation_id: expected 1 to 128 printable"):
                pair.to_emsp.routed(correlation_id=wrong)


async def test_views_add_up() -> None:
    """A view of a view keeps what the first one said."""
    async with a_pair() as pair:
        ctx = Context(partner="x", version="2.2.1", request_id="r1", correlation_id="because")
        view = pair.to_emsp.routed(receiver=PartyId("FR", "XYZ")).routed(following=ctx).routed(sender=CPO)
        with pytest.raises(NotServed, match="emsp: the partner does not serve locations as RECEIVER"):
            await view.call(v221.LocationsReceiver.put_location, REF, a_location())
        with pytest.raises(ValueError, match=r"FR\*XXX is no party of this platform"):
            pair.to_emsp.routed(sender=PartyId("FR", "XXX"))


async def test_hub_is_addressed() -> None:
    """Towards a hub a message is addressed to the hub, unless another party is named."""
    network = Network()
    hub = a_platform(network, "hub.example.com", Role.HUB, "107", [EmspLocations()])
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [])
    async with hub, cpo:
        token = await hub.invite(BILATERAL, origins="https://cpo.example.com")
        iop = await cpo.register(PREPRODUCTION, hub.versions_url, token, force=True)
        network.requests.clear()
        for view in (iop, iop.routed(receiver=EMSP)):
            await view.call(v221.LocationsReceiver.put_location, REF, a_location())
        assert [request.headers["OCPI-to-party-id"] for request in network.requests] == ["107", "EMP"]


class Stations(v211.LocationsCpo):
    """A CPO's side of locations in 2.1.1; it has none."""

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[v211.Location]:
        return page_of([], query)

    async def get_location(self, ctx: Context, ref: v211.OwnLocationRef) -> v211.Location:
        raise UnknownLocation

    async def get_evse(self, ctx: Context, ref: v211.OwnEvseRef) -> v211.EVSE:
        raise UnknownLocation

    async def get_connector(self, ctx: Context, ref: v211.OwnConnectorRef) -> v211.Connector:
        raise UnknownLocation


class Sessions(v211.SessionsEmsp):
    """An eMSP's side of sessions in 2.1.1, which takes any."""

    async def get_session(self, ctx: Context, ref: v211.SessionRef) -> v211.Session:
        raise UnknownObject

    async def put_session(self, ctx: Context, ref: v211.SessionRef, session: v211.Session) -> None:
        return

    async def patch_session(self, ctx: Context, ref: v211.SessionRef, changes: Patch[v211.Session]) -> None:
        return


async def test_one_party_of_a_hub_in_2_1_1() -> None:
    """In 2.1.1 no message names parties, except a GET of a view that addresses one. (rule TRA-011)"""
    profile = evolve(BILATERAL, versions=frozenset({"2.1.1"}))
    async with a_pair(cpo=[Stations()], emsp=[Sessions()], profile=profile) as pair:
        for view in (pair.to_cpo, pair.to_cpo.routed(receiver=CPO)):
            assert [one async for one in view.pull(v211.LocationsCpo.list_locations)] == []
        to_one = pair.to_emsp.routed(receiver=EMSP)
        ref = v211.SessionRef("FR", "CPO", "S1")
        patch = Patch(v211.Session, {"kwh": Decimal(1)})
        await to_one.call(v211.SessionsEmsp.patch_session, ref, patch)
        named = [
            {name: text for name, text in request.headers.items() if name.startswith("OCPI-")}
            for request in pair.network.requests
        ]
        assert named == [{}, {"OCPI-to-country-code": "FR", "OCPI-to-party-id": "CPO"}, {}]


class Clients(v221.HubClientInfoSender):
    """A hub's list of its clients; it has none."""

    async def list_client_infos(self, ctx: Context, query: PageQuery) -> Page[v221.ClientInfo]:
        return page_of([], query)


async def test_what_a_hub_tells_of_itself() -> None:
    """The list of a hub's clients names no parties, whoever pulls it. (hub client info chapter)"""
    network = Network()
    hub = a_platform(network, "hub.example.com", Role.HUB, "107", [Clients()])
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [])
    async with hub, cpo:
        token = await hub.invite(BILATERAL, origins="https://cpo.example.com")
        iop = await cpo.register(PREPRODUCTION, hub.versions_url, token, force=True)
        network.requests.clear()
        assert [one async for one in iop.pull(v221.HubClientInfoSender.list_client_infos)] == []
        (request,) = network.requests
        assert not any(name.startswith("OCPI-") for name in request.headers)
        assert request.url.endswith("/hubclientinfo?offset=0&limit=100")


async def test_several_parties_must_say_who_speaks() -> None:
    """A platform of several parties has to name the one that speaks."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        pair.cpo.parties = (*pair.cpo.parties, evolve(pair.cpo.parties[0], party_id="CP2"))
        wiring = pair.cpo._directory.get("emsp")
        assert wiring is not None
        wiring.hosted = pair.cpo.parties
        with pytest.raises(TypeError, match=r"name one with routed\(sender=...\)"):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)


STATUSES = [
    one
    for one in (*ClientError.__subclasses__(), *ServerError.__subclasses__(), *HubError.__subclasses__())
    # The one is about our token and not about what was asked, and others are no errors of the tree.
    if one is not Unauthorized and one.__module__ == StatusError.__module__
]


@pytest.mark.parametrize("error", STATUSES, ids=lambda error: error.__name__)
@pytest.mark.parametrize("writes", [False, True], ids=["GET", "PUT"])
async def test_errors_of_the_handler(error: type[StatusError], *, writes: bool) -> None:
    """What a handler raises is raised at the caller: the same class, code and words."""

    class Refusing(EmspLocations):
        async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
            raise error("so and so")

        async def put_location(self, ctx: Context, ref: v221.LocationRef, location: v221.Location) -> None:
            raise error("so and so")

    async with a_pair(emsp=[Refusing()], profile=ONCE) as pair:
        get = pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        put = pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        asking, other = (put, get) if writes else (get, put)
        other.close()
        with pytest.raises(error) as refused:
            await asking
        assert type(refused.value) is error
        assert (refused.value.message, refused.value.status_code) == ("so and so", error.code)
        sent = pair.network.requests[-1].headers["X-Request-ID"]
        assert f"_location: emsp answered {error.code} 'so and so'" in str(refused.value)
        assert sent in str(refused.value)


async def test_mistake_of_the_handler() -> None:
    """A partner's mistake is a ServerError, without a word of what went wrong there."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        with pytest.raises(ServerError) as refused:
            await pair.to_cpo.call(v221.LocationsSender.get_connector, v221.OwnConnectorRef("L", "E", "C"))
        assert "fire" not in str(refused.value)


async def test_no_answer_says_what_was_asked() -> None:
    """An error of the transport names the operation, the partner and the request."""
    async with a_pair(emsp=[EmspLocations()], profile=ONCE) as pair:
        pair.network.down.add("emsp.example.com")
        with pytest.raises(
            NotSent, match=r"^get_location: emsp could not connect \(request [0-9a-f-]{36}\)$"
        ):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        pair.network.down.clear()
        pair.network.lost.append(("PUT", "/LOC1"))
        with pytest.raises(NoAnswer, match=r"^put_location: emsp its answer was cut off") as lost:
            await pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        assert type(lost.value) is NoAnswer
        assert lost.value.reason == "its answer was cut off"


async def test_ids_that_cannot_be_sent() -> None:
    """An id that cannot stand in a URL is refused before anything is sent or kept."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        bad = v221.LocationRef("FR", "CPO", "..")
        with pytest.raises(ValueError, match="location_id: expected an id that can stand in a URL"):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, bad)
        with pytest.raises(ValueError, match="location_id"):
            await pair.to_emsp.upload(v221.LocationsReceiver.put_location, bad, a_location())
        assert pair.network.requests == []


async def test_patch_of_ours_is_whole() -> None:
    """A patch without last_updated would be refused by the partner, so it is refused here."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        ref, bare = (
            v221.EvseRef("FR", "CPO", "LOC1", "E1"),
            Patch(v221.EVSE, {"status": v221.Status.CHARGING}),
        )
        with pytest.raises(InvalidObject, match="/last_updated: expected a DateTime"):
            await pair.to_emsp.call(v221.LocationsReceiver.patch_evse, ref, bare)
        with pytest.raises(InvalidObject, match="/last_updated"):
            await pair.to_emsp.upload(v221.LocationsReceiver.patch_evse, ref, bare)
        assert pair.network.requests == []
        assert await pair.cpo.outbox.status() == []


@pytest.mark.parametrize(
    "url",
    ["", "CDR1", "http://emsp.example.com/x", "https://evil.example/x", "https://emsp.example.com@evil/x"],
)
async def test_link_that_leads_elsewhere(url: str) -> None:
    """A link is followed to the partner's own origins only: it is called with our token."""
    async with a_pair(emsp=[EmspCdrs()]) as pair:
        with pytest.raises(UrlRefused):
            await pair.to_emsp.call(v221.CdrsReceiver.get_cdr, Link(url))
        assert pair.network.requests == []


async def test_callback() -> None:
    """A URL of ours for the partner to call is absolute, escaped, and comes back as the handler's link."""
    async with a_pair(emsp=[EmspCdrs()]) as pair:
        url = pair.to_emsp.callback(v221.CommandsSender.post_result, "START_SESSION/a b")
        assert url == "https://cpo.example.com/ocpi/2.2.1/sender/commands/START_SESSION/a%20b"
        with pytest.raises(TypeError, match="its URL is fixed by the specification"):
            pair.to_emsp.callback(v221.CdrsReceiver.post_cdr, "x")
        with pytest.raises(ValueError, match="expected a Link such as"):
            pair.to_emsp.callback(v221.CommandsSender.post_result, "../x")


async def test_never_registered() -> None:
    """Before the first registration nothing can be called or uploaded, and the error says what to do."""
    network = Network()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [])
    async with cpo:
        await cpo.invite(BILATERAL, origins="https://emsp.example.com", id="emsp")
        to_emsp = cpo.connection("emsp")
        for attempt in (
            to_emsp.call(v221.LocationsReceiver.get_location, REF),
            to_emsp.upload(v221.LocationsReceiver.put_location, REF, a_location()),
        ):
            with pytest.raises(NotRegistered, match=r"emsp: never registered, .* register first"):
                await attempt
        assert await cpo.outbox.status() == []


# --- crawls --------------------------------------------------------------------------------------------


LIST = v221.LocationsSender.list_locations
LOCATIONS = "https://cpo.example.com/ocpi/2.2.1/sender/locations"
STATION = {
    "country_code": "FR",
    "party_id": "CPO",
    "id": "L1",
    "publish": True,
    "address": "A",
    "city": "C",
    "country": "FRA",
    "coordinates": {"latitude": "45.7", "longitude": "4.8"},
    "time_zone": "Europe/Paris",
    "last_updated": "2026-11-01T12:00:00Z",
}


def stations(count: int) -> list[v221.Location]:
    """So many locations, a minute apart."""
    return [a_location(id=f"L{n}", last_updated=NOW + timedelta(minutes=n)) for n in range(count)]


async def test_crawl_sees_every_object_once() -> None:
    """A crawl begins at offset 0, asks for as much as the partner gives, and follows the pages."""
    async with a_pair(cpo=[CpoLocations(stations(250))]) as pair:
        found = [one.id async for one in pair.to_cpo.crawl(LIST)]
        assert found == [f"L{n}" for n in range(250)]
        assert [request.url.partition("?")[2] for request in pair.network.requests] == [
            "offset=0&limit=100",
            "offset=100&limit=100",
            "offset=200&limit=100",
        ]
        query = PageQuery(date_from=NOW + timedelta(minutes=240), limit=4)
        pages = [page async for page in pair.to_cpo.pages(LIST, query)]
        assert [len(page.items) for page in pages] == [4, 4, 2]
        assert {page.total for page in pages} == {10}


async def test_what_is_no_listing() -> None:
    """What brings one object is called, and not crawled."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        for begin in (pair.to_emsp.crawl, pair.to_emsp.pages, pair.to_emsp.pull):
            with pytest.raises(TypeError, match=r"LocationsReceiver\.get_location is not a listing; call it"):
                begin(v221.LocationsReceiver.get_location)  # type: ignore[arg-type]  # the mistake itself


class CpoSessions(v221.SessionsSender):
    """A CPO's sessions; there are none."""

    async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[v221.Session]:
        return page_of([], query)

    async def put_charging_preferences(
        self, ctx: Context, ref: v221.OwnSessionRef, preferences: v221.ChargingPreferences
    ) -> v221.ChargingPreferencesResponse:
        raise UnknownObject


async def test_listing_that_requires_a_date() -> None:
    """Sessions are not asked for without a date, which the specification requires."""
    async with a_pair(cpo=[CpoSessions()]) as pair:
        with pytest.raises(ValueError, match=r"list_sessions: date_from: expected a value"):
            pair.to_cpo.crawl(v221.SessionsSender.list_sessions)
        with pytest.raises(ValueError, match=r"list_sessions: expected since="):
            await anext(pair.to_cpo.pull(v221.SessionsSender.list_sessions))
        query = PageQuery(date_from=NOW)
        assert [one async for one in pair.to_cpo.crawl(v221.SessionsSender.list_sessions, query)] == []
        (query_sent,) = asked(pair)
        assert query_sent["date_from"] == "2026-11-01T12:00:00Z"


def page(link: str | None, items: str = "[]", **headers: str) -> HttpResponse:
    """A page as a partner may send it."""
    body = f'{{"status_code":1000,"timestamp":"2026-11-01T12:00:00Z","data":{items}}}'.encode()
    sent = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    if link is not None:
        sent["Link"] = f'<{link}>; rel="next"'
    return HttpResponse(status=200, headers=sent, body=body)


async def crawl(connection: Connection) -> list[v221.Location]:
    """All that a crawl brings."""
    return [one async for one in connection.crawl(LIST)]


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/ocpi/2.2.1/sender/locations?offset=1",
        "http://cpo.example.com/ocpi/2.2.1/sender/locations?offset=1",
        "https://cpo.example.com/ocpi/2.2.1/sender/tokens?offset=1",
        "https://cpo.example.com/ocpi/2.2.1/sender/locations/../tokens",
        "https://cpo.example.com/ocpi/2.2.1/sender/locationsX",
        "/ocpi/2.2.1/sender/locations?offset=1",
        "https://user@cpo.example.com/ocpi/2.2.1/sender/locations",
    ],
)
async def test_next_page_elsewhere(link: str) -> None:
    """A next page is asked for at the endpoint it belongs to, and nowhere else."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        pair.network.replaced["GET", ""] = lambda _: page(link, json.dumps([STATION]))
        with pytest.raises(UrlRefused):
            await crawl(pair.to_cpo)
        assert len(pair.network.requests) == 1


@pytest.mark.parametrize("link", ["https://evil.example/x?offset=1&limit=7", "?offset=1&limit=7"])
async def test_next_page_at_our_own_idea_of_the_endpoint(link: str) -> None:
    """Of a partner whose links name another place, only their query is used, if its profile says so."""
    async with a_pair(cpo=[CpoLocations([])], profile=evolve(BILATERAL, next_link="rebase")) as pair:
        pair.network.replaced["GET", "offset=1&limit=7"] = lambda _: page(None, X_Total_Count="2")
        pair.network.replaced["GET", ""] = lambda _: page(link, json.dumps([STATION]), X_Total_Count="2")
        assert [one.id for one in await crawl(pair.to_cpo)] == ["L1"]
        assert pair.network.requests[-1].url == f"{LOCATIONS}?offset=1&limit=7"


async def test_pull_says_whose_objects_it_brings() -> None:
    """A pull names its partner, and the one party that it was narrowed to."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        cpo = PartyId("FR", "CPO")
        everybody, narrowed = pair.to_cpo.pull(LIST), pair.to_cpo.routed(receiver=cpo).pull(LIST)
        assert (everybody.partner, everybody.owner) == ("cpo", None)
        assert (narrowed.partner, narrowed.owner) == ("cpo", cpo)


async def move(pair: Pair, running: AsyncExitStack) -> None:
    """Let the CPO leave, and register from another host."""
    await pair.cpo.unregister("emsp")
    other = a_platform(pair.network, "new.example.com", Role.CPO, "CPO", [CpoLocations(stations(2))])
    await running.enter_async_context(other)
    token = await pair.emsp.invite(pair.to_cpo.profile, origins="https://new.example.com", id="cpo")
    await other.register(pair.to_cpo.profile, pair.emsp.versions_url, token, id="emsp")
    pair.network.tried.clear()


async def test_partner_moves_in_the_middle_of_a_crawl() -> None:
    """The rest of a listing is asked for where the partner is now: the token is for that place."""
    async with a_pair(cpo=[CpoLocations([])]) as pair, AsyncExitStack() as running:
        first = page(None, json.dumps([STATION]), X_Total_Count="2")
        pair.network.replaced["GET", "cpo.example.com/ocpi/2.2.1/sender/locations?offset=0&limit=100"] = (
            lambda _: first
        )
        locations = pair.to_cpo.crawl(LIST)
        await anext(locations)
        await move(pair, running)
        assert [one.id async for one in locations] == ["L1"]
        assert pair.network.tried == [f"{LOCATIONS.replace('cpo.', 'new.')}?offset=1&limit=100"]


async def test_partner_moves_before_a_get_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GET that came at a bad moment is not sent again to where the partner is no more."""
    async with a_pair(cpo=[CpoLocations([])], profile=SOON) as pair, AsyncExitStack() as running:
        faults(pair, "GET", busy(503), at="offset=0&limit=100")

        async def sleep(_: float) -> None:
            await move(pair, running)

        monkeypatch.setattr("ocpi_gireve.connection.asyncio.sleep", sleep)
        with pytest.raises(UrlRefused, match="not an origin of this connection"):
            await crawl(pair.to_cpo)
        assert pair.network.tried == []


async def test_partner_moves_while_a_request_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that the old place refuses is not sent there once more with the token for the new one."""
    async with a_pair(cpo=[CpoLocations([])]) as pair, AsyncExitStack() as running:
        carry = pair.network.carry

        async def late(request: HttpRequest, timeout: float) -> HttpResponse:
            monkeypatch.setattr(pair.network, "carry", carry)
            await move(pair, running)
            return await carry(request, timeout)

        monkeypatch.setattr(pair.network, "carry", late)
        with pytest.raises(UrlRefused, match="not an origin of this connection"):
            await crawl(pair.to_cpo)
        assert len(pair.network.tried) == 1


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"])
async def test_partner_whose_clock_shows_nothing(date: str) -> None:
    """A `Date` that no clock shows is none, and upsets neither this pull nor the next."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        pair.network.replaced["GET", ""] = lambda _: page(None, json.dumps([STATION]), Date=date)
        for _ in range(2):
            assert [one.id async for one in pair.to_cpo.pull(LIST)] == ["L1"]


async def test_pages_in_a_circle() -> None:
    """Pages that lead back to an earlier one end the crawl with an error that names the exchange."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        pair.network.replaced["GET", ""] = lambda _: page(f"{LOCATIONS}?cursor=x", json.dumps([STATION]))
        with pytest.raises(
            BadAnswer, match=r"list_locations: cpo answered pages that run in a circle \(HTTP"
        ):
            await crawl(pair.to_cpo)
        assert len(pair.network.requests) == 2


async def test_pages_without_end() -> None:
    """A partner that always has one more page is left after so many."""

    def more(request: HttpRequest) -> HttpResponse:
        offset = parse_qs(urlsplit(request.url).query)["offset"][0]
        return page(f"{LOCATIONS}?offset={int(offset) + 1}", json.dumps([{**STATION, "id": f"L{offset}"}]))

    async with a_pair(cpo=[CpoLocations([])], profile=evolve(BILATERAL, crawl_pages=5)) as pair:
        pair.network.replaced["GET", ""] = more
        with pytest.raises(BadAnswer, match="more than 5 pages"):
            await crawl(pair.to_cpo)
        assert len(pair.network.requests) == 5


async def test_item_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """An item that cannot be read is logged by its place, and the others arrive."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        items = json.dumps([{"id": "CANARY"}, STATION])
        pair.network.replaced["GET", ""] = lambda _: page(None, items)
        assert [one.id for one in await crawl(pair.to_cpo)] == ["L1"]
        assert "list_locations: cpo: item 0 cannot be read: /" in caplog.text
        assert "CANARY" not in caplog.text
        (whole,) = [one async for one in pair.to_cpo.pages(LIST)]
        assert [one.index for one in whole.rejected] == [0]


@pytest.mark.parametrize("data", ["null", "{}", "[]"])
async def test_nothing_to_say_is_an_empty_page(data: str) -> None:
    """An answer without data is a page without items, unless its total says otherwise."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        pair.network.replaced["GET", ""] = lambda _: page(None, data)
        assert await crawl(pair.to_cpo) == []
        pair.network.replaced["GET", ""] = lambda _: page(None, data, X_Total_Count="3")
        if data != "[]":
            with pytest.raises(BadAnswer, match="answered no list"):
                await crawl(pair.to_cpo)


async def test_page_that_is_no_list() -> None:
    """An answer that holds something else than a list is a bad answer, and named by its request."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        pair.network.replaced["GET", ""] = lambda _: page(None, '{"id":"L1"}')
        with pytest.raises(
            BadAnswer, match=r"list_locations: cpo answered no list: .* found an object"
        ) as bad:
            await crawl(pair.to_cpo)
        assert pair.network.requests[0].headers["X-Request-ID"] in str(bad.value)


# --- pulls ---------------------------------------------------------------------------------------------


def asked(pair: Pair) -> list[dict[str, str]]:
    """What the queries of the requests so far said; forgets them."""
    queries = [dict(parse_qsl(urlsplit(request.url).query)) for request in pair.network.requests]
    pair.network.requests.clear()
    return queries


async def test_pull_is_full_and_then_of_changes() -> None:
    """The first pull has no dates; the next one asks from its start on, up to now."""
    cpo = CpoLocations(stations(150))
    async with a_pair(cpo=[cpo]) as pair:
        before = utc_now()
        assert len([one async for one in pair.to_cpo.pull(LIST)]) == 150
        assert [query.keys() for query in asked(pair)] == [{"offset", "limit"}] * 2
        cpo.locations[3] = a_location(id="L3", name="New", last_updated=utc_now())
        await asyncio.sleep(0.002)  # date_to is not included
        pull = pair.to_cpo.pull(LIST, overlap=timedelta(0))
        assert [one.name async for one in pull] == ["New"]
        (query,) = asked(pair)
        begin, end = (datetime.fromisoformat(query[name]) for name in ("date_from", "date_to"))
        assert before <= begin < end <= utc_now()
        assert (pull.full, pull.since, pull.until, pull.total, pull.done) == (False, begin, end, 1, True)


async def test_pull_of_one_party_has_its_own_watermark() -> None:
    """What one view has pulled, another that addresses somebody else has not."""
    async with a_pair(cpo=[CpoLocations(stations(3))]) as pair:
        for view in (pair.to_cpo, pair.to_cpo.routed(receiver=CPO)):
            pull = view.pull(LIST)
            assert len([one async for one in pull]) == 3
            assert pull.full
        again = pair.to_cpo.routed(sender=EMSP).pull(LIST)
        assert [one async for one in again] == []
        assert not again.full


async def test_pull_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A platform that stopped in the middle of a pull goes on at the page that was not taken whole."""
    network = Network()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [CpoLocations(stations(250))])

    def ours() -> Platform:
        store = SqliteStore(tmp_path / "ocpi.db")
        return a_platform(
            network, "emsp.example.com", Role.EMSP, "EMP", [], store=store, profiles=[BILATERAL]
        )

    found: list[str] = []
    async with cpo:
        async with ours() as emsp:
            token = await cpo.invite(BILATERAL, origins="https://emsp.example.com", id="emsp")
            to_cpo = await emsp.register(BILATERAL, cpo.versions_url, token, id="cpo")
            async for one in to_cpo.pull(LIST):
                found.append(one.id)
                if len(found) == 120:
                    break
        network.requests.clear()
        async with ours() as emsp:
            pull = emsp.connection("cpo").pull(LIST)
            found += [one.id async for one in pull]
            assert (pull.resumed, pull.full, pull.done) == (True, True, True)
            assert "offset=100&limit=100" in network.requests[0].url
            assert list(dict.fromkeys(found)) == [f"L{n}" for n in range(250)]
            assert [one async for one in emsp.connection("cpo").pull(LIST)] == []
            assert "date_from=" in network.requests[-1].url


async def test_pull_over_http() -> None:
    """Over real sockets, a delta begins where the partner's clock stood when the full pull was asked for."""
    cpo = CpoLocations(stations(150))
    async with AsyncExitStack() as running:

        async def serve(platform: Callable[[], Platform]) -> str:
            server = HttpServer(aiohttp_app(lambda request: platform().handle(request)))
            await running.enter_async_context(server)
            return f"{server.url}/ocpi"

        profile = evolve(BILATERAL, allow_http_loopback=True)
        theirs = Platform(
            public_url=await serve(lambda: theirs),
            parties=[Party("FR", "CPO", Role.CPO, name="Example CPO")],
            handlers=[cpo],
        )
        ours = Platform(
            public_url=await serve(lambda: ours),
            parties=[Party("FR", "EMP", Role.EMSP, name="Example eMSP")],
            handlers=[],
        )
        await running.enter_async_context(theirs)
        await running.enter_async_context(ours)
        origin = ours.public_url.removesuffix("/ocpi")
        token = await theirs.invite(profile, origins=origin, id="emsp")
        to_cpo = await ours.register(profile, theirs.versions_url, token, id="cpo")
        full = to_cpo.pull(LIST)
        assert len([one async for one in full]) == 150
        cpo.locations[3] = a_location(id="L3", name="New", last_updated=utc_now())
        await asyncio.sleep(0.002)  # date_to is not included
        delta = to_cpo.pull(LIST)
        assert "New" in [one.name async for one in delta]
        assert delta.since is not None
        assert delta.since < cpo.locations[3].last_updated


# --- GETs that are repeated ------------------------------------------------------------------------------


def busy(status: int, **headers: str) -> HttpResponse:
    """What a partner, or a proxy of its, says that has no time."""
    sent = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return HttpResponse(status=status, headers=sent, body=b"<h1>Later</h1>")


def faults(pair: Pair, method: str, *answers: HttpResponse | OcpiError, at: str = "/LOC1") -> None:
    """Let the partner answer so, once each, before it answers as it would."""
    left = list(answers)

    def answer(_: HttpRequest) -> HttpResponse:
        one = left.pop(0)
        if not left:
            del pair.network.replaced[method, at]
        if isinstance(one, OcpiError):
            raise one
        return one

    pair.network.replaced[method, at] = answer


@pytest.mark.parametrize(
    "fault", [busy(429), busy(502), busy(503, Retry_After="0"), NoAnswer("cut off"), NotSent("no connection")]
)
async def test_get_is_repeated(fault: HttpResponse | OcpiError) -> None:
    """A GET that came at a bad moment is sent again, under a new request id and the same correlation id."""
    emsp = EmspLocations()
    emsp.locations["LOC1"] = a_location()
    async with a_pair(emsp=[emsp], profile=SOON) as pair:
        faults(pair, "GET", fault, fault)
        assert await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF) == a_location()
        sent = [request.headers for request in pair.network.requests]
        assert len({headers["X-Request-ID"] for headers in sent}) == 3
        assert len({headers["X-Correlation-ID"] for headers in sent}) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (busy(503), BadAnswer),
        (NoAnswer("cut off"), NoAnswer),
    ],
)
async def test_get_is_not_repeated_for_ever(fault: HttpResponse | OcpiError, error: type[OcpiError]) -> None:
    """After as many repetitions as the profile says, the error is the caller's."""
    async with a_pair(emsp=[EmspLocations()], profile=SOON) as pair:
        faults(pair, "GET", *[fault] * 3)
        with pytest.raises(error):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        assert len(pair.network.requests) == 3


@pytest.mark.parametrize(
    "fault",
    [
        busy(400),
        busy(404),
        busy(200),
        NotTrusted("self-signed"),
        busy(429, Retry_After="31"),
        busy(503, Retry_After="Sun, 01 Nov 2099 12:00:00 GMT"),
    ],
)
async def test_get_that_cannot_do_better(fault: HttpResponse | OcpiError) -> None:
    """A definite answer stands, and a partner that wants more patience than there is is not asked again."""
    async with a_pair(emsp=[EmspLocations()], profile=SOON) as pair:
        faults(pair, "GET", fault)
        with pytest.raises(OcpiError):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        assert len(pair.network.requests) == 1


async def test_waits_as_long_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Retry-After` is granted where it asks for more than we would wait."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with a_pair(emsp=[EmspLocations()], profile=SOON) as pair:
        faults(pair, "GET", busy(429, Retry_After="7"), busy(503))
        monkeypatch.setattr("ocpi_gireve.connection.asyncio.sleep", sleep)
        with pytest.raises(UnknownLocation):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        assert waits[0] == 7
        assert 0.001 <= waits[1] <= 0.002


@pytest.mark.parametrize("fault", [busy(503), NoAnswer("cut off"), NotSent("no connection")])
async def test_nothing_but_a_get_is_repeated(fault: HttpResponse | OcpiError) -> None:
    """A message that changes something is sent once, whatever came of it."""
    async with a_pair(emsp=[EmspLocations(), EmspCdrs()], profile=SOON) as pair:
        faults(pair, "PUT", fault)
        with pytest.raises(OcpiError):
            await pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        pair.network.replaced["POST", ""] = lambda _: busy(503)
        with pytest.raises(OcpiError):
            await pair.to_emsp.call(v221.CdrsReceiver.post_cdr, a_cdr())
        assert [request.method for request in pair.network.requests] == ["PUT", "POST"]


async def test_page_is_repeated() -> None:
    """A page that came at a bad moment costs a crawl nothing but time."""
    async with a_pair(cpo=[CpoLocations(stations(150))], profile=SOON) as pair:
        faults(pair, "GET", busy(503), NoAnswer("cut off"), at="offset=100&limit=100")
        assert len(await crawl(pair.to_cpo)) == 150
        assert len(pair.network.requests) == 4


# --- uploads -------------------------------------------------------------------------------------------


async def test_upload_is_delivered_in_order() -> None:
    """Uploads leave in the order in which they were made."""
    emsp = EmspLocations()
    async with a_pair(emsp=[emsp]) as pair:
        pair.network.down.add("emsp.example.com")
        for n in range(5):
            ref = v221.EvseRef("FR", "CPO", "LOC1", f"E{n}")
            await pair.to_emsp.upload(
                v221.LocationsReceiver.patch_evse,
                ref,
                Patch.between(an_evse(), an_evse(status=v221.Status.CHARGING)),
            )
        pair.network.down.clear()
        pair.cpo.outbox.resume("emsp")
        await pair.cpo.outbox.drained(timeout=5)
        assert [ref.evse_uid for ref, _ in emsp.patches] == [f"E{n}" for n in range(5)]


async def test_upload_names_its_lane_and_object() -> None:
    """An upload waits in the lane of our party and its stream, and is named without personal data."""
    async with a_pair(emsp=[EmspCdrs()]) as pair:
        pair.network.down.add("emsp.example.com")
        seq = await pair.to_emsp.upload(v221.CdrsReceiver.post_cdr, a_cdr())
        (status,) = await pair.cpo.outbox.status()
        assert (status.connection, status.lane, status.queued) == ("emsp", "fr*cpo/charging", 1)
        kept = await pair.cpo.store.head("emsp", "fr*cpo/charging")
        assert kept is not None
        assert (kept.seq, kept.subject, kept.path) == (seq, "FR*CPO/CDR1", "")
        assert (kept.operation, kept.receiver) == ("2.2.1/CdrsReceiver.post_cdr", EMSP)


async def test_what_is_no_upload() -> None:
    """A question, a listing and a message to the partner's own URL are no uploads."""
    async with a_pair(emsp=[EmspCdrs(), EmspTokens()]) as pair:
        to_emsp = pair.to_emsp
        for attempt in (
            to_emsp.upload(v221.CdrsReceiver.get_cdr, Link("https://emsp.example.com/x")),  # type: ignore[arg-type]  # the mistake itself
            to_emsp.upload(v221.TokensSender.authorize, v221.OwnTokenRef("T")),  # type: ignore[arg-type]  # the mistake itself
            to_emsp.upload(
                v221.CommandsSender.post_result,
                Link("https://emsp.example.com/x"),
                v221.CommandResult(result=v221.CommandResultType.ACCEPTED),
            ),
        ):
            with pytest.raises(TypeError, match="not an upload"):
                await attempt
        assert await pair.cpo.outbox.status() == []


async def test_upload_between_two_registrations() -> None:
    """What is uploaded while the connection is unregistered waits, and leaves with the next registration."""
    emsp = EmspLocations()
    async with a_pair(emsp=[emsp]) as pair:
        await pair.cpo.unregister("emsp")
        assert await pair.to_emsp.upload(v221.LocationsReceiver.put_location, REF, a_location())
        await asyncio.sleep(0.01)
        (status,) = await pair.cpo.outbox.status()
        assert (status.queued, status.reason) == (1, "the connection is not registered")
        token = await pair.emsp.invite(BILATERAL, origins="https://cpo.example.com", id="cpo")
        await pair.cpo.register(BILATERAL, pair.emsp.versions_url, token, id="emsp")
        await pair.cpo.outbox.drained(timeout=5)
        assert list(emsp.locations) == ["LOC1"]
        assert emsp.seen[0].receiver == EMSP
        assert pair.network.requests[-1].headers["OCPI-to-party-id"] == "EMP"


async def test_upload_of_another_version() -> None:
    """An upload that was written for another version is not sent in this one."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        pair.network.down.add("emsp.example.com")
        await pair.to_emsp.upload(v221.LocationsReceiver.put_location, REF, a_location())
        kept = await pair.cpo.store.head("emsp", "fr*cpo/locations")
        assert kept is not None
        pair.network.down.clear()
        other = evolve(kept, operation="2.1.1/LocationsEmsp.put_location")
        with pytest.raises(NotServed, match=r"the upload is OCPI 2\.1\.1, the connection 2\.2\.1"):
            await pair.to_emsp.deliver(other)


# --- the journal ---------------------------------------------------------------------------------------


async def test_journal_of_what_we_ask() -> None:
    """Each exchange is told with how it ended: refused, unanswered, cancelled, uploaded."""
    told: list[Exchanged] = []
    async with a_pair(emsp=[EmspLocations()], profile=ONCE, on_exchange=told.append) as pair:
        told.clear()
        await pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        with pytest.raises(UnknownLocation):
            await pair.to_emsp.call(v221.LocationsReceiver.get_evse, v221.EvseRef("FR", "CPO", "LOC1", "E1"))
        await pair.to_emsp.upload(v221.LocationsReceiver.put_location, REF, a_location(id="LOC2"))
        await pair.cpo.outbox.drained(timeout=5)
        pair.network.down.add("emsp.example.com")
        with pytest.raises(NotSent):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
        assert [(one.operation.partition(".")[2], one.http_status, one.error) for one in told] == [
            ("put_location", 200, ""),
            ("get_evse", 404, "UnknownLocation"),
            ("put_location", 200, "InvalidParameters"),
            ("get_location", None, "NotSent"),
        ]
        assert {(one.direction, one.partner) for one in told} == {("out", "emsp")}
        (parked,) = await pair.cpo.outbox.parked("emsp")
        assert parked.subject == "FR*CPO/LOC1"


async def test_a_module_that_the_partner_lacks_holds_back_nothing_else() -> None:
    """An upload for a module that the partner does not serve is parked, and the others are delivered."""
    network = Network()
    known = EmspLocations()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [])
    emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [known])
    async with cpo, emsp:
        token = await emsp.invite(BILATERAL, origins="https://cpo.example.com", id="cpo")
        to_emsp = await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        await to_emsp.upload(v221.CdrsReceiver.post_cdr, a_cdr())
        ref = v221.LocationRef("FR", "CPO", "LOC1")
        await to_emsp.upload(v221.LocationsReceiver.put_location, ref, a_location())
        await cpo.outbox.drained(timeout=5)
        assert list(known.locations) == ["LOC1"]
        (parked,) = await cpo.outbox.parked("emsp")
        assert (parked.subject, "does not serve" in parked.reason) == ("FR*CPO/CDR1", True)
