"""Connections: calls, crawls and uploads, and what is never sent."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from attrs import evolve
from multidict import CIMultiDict

from ocpi_gireve import BILATERAL, Context, Link, PageQuery, PartyId, Patch, Role, v221
from ocpi_gireve.connection import Connection
from ocpi_gireve.errors import (
    BadAnswer,
    InvalidObject,
    InvalidParameters,
    NoAnswer,
    NotRegistered,
    NotSent,
    NotServed,
    ServerError,
    StatusError,
    UnknownLocation,
    UnknownObject,
    UnknownToken,
    UrlRefused,
)
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.support import (
    CPO,
    EMSP,
    NOW,
    CpoLocations,
    EmspCdrs,
    EmspLocations,
    EmspTokens,
    Network,
    a_cdr,
    a_location,
    a_pair,
    a_platform,
    a_token,
    an_evse,
)

REF = v221.LocationRef("FR", "CPO", "LOC1")


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


async def test_cause_is_handed_on() -> None:
    """Calls that follow from a request share its correlation id, and have request ids of their own."""
    ctx = Context(partner="x", version="2.2.1", request_id="r1", correlation_id="because")
    async with a_pair(emsp=[EmspLocations()]) as pair:
        view = pair.to_emsp.routed(following=ctx)
        for _ in range(2):
            await view.call(v221.LocationsReceiver.put_location, REF, a_location())
        assert {request.headers["X-Correlation-ID"] for request in pair.network.requests} == {"because"}
        assert len({request.headers["X-Request-ID"] for request in pair.network.requests}) == 2


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
        iop = await cpo.register(PREPRODUCTION, hub.versions_url, token)
        network.requests.clear()
        for view in (iop, iop.routed(receiver=EMSP)):
            await view.call(v221.LocationsReceiver.put_location, REF, a_location())
        assert [request.headers["OCPI-to-party-id"] for request in network.requests] == ["107", "EMP"]


async def test_several_parties_must_say_who_speaks() -> None:
    """A platform of several parties has to name the one that speaks."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        pair.cpo.parties = (*pair.cpo.parties, evolve(pair.cpo.parties[0], party_id="CP2"))
        wiring = pair.cpo._directory.get("emsp")
        assert wiring is not None
        wiring.parties = pair.cpo.parties
        with pytest.raises(TypeError, match=r"name one with routed\(sender=...\)"):
            await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)


async def test_errors_of_the_handler() -> None:
    """What a handler raises is raised at the caller, as the same class."""

    class Refusing(EmspLocations):
        error: StatusError = UnknownLocation()

        async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
            raise self.error

    handler = Refusing()
    async with a_pair(emsp=[handler]) as pair:
        for error in (UnknownLocation("where?"), UnknownObject(), UnknownToken(), InvalidParameters("so")):
            handler.error = error
            with pytest.raises(type(error)) as refused:
                await pair.to_emsp.call(v221.LocationsReceiver.get_location, REF)
            assert type(refused.value) is type(error)
            assert refused.value.message == error.message
            sent = pair.network.requests[-1].headers["X-Request-ID"]
            assert f"get_location: emsp answered {error.status_code}" in str(refused.value)
            assert sent in str(refused.value)


async def test_mistake_of_the_handler() -> None:
    """A partner's mistake is a ServerError, without a word of what went wrong there."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        with pytest.raises(ServerError) as refused:
            await pair.to_cpo.call(v221.LocationsSender.get_connector, v221.OwnConnectorRef("L", "E", "C"))
        assert "fire" not in str(refused.value)


async def test_no_answer_says_what_was_asked() -> None:
    """An error of the transport names the operation, the partner and the request."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
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


def stations(count: int) -> list[v221.Location]:
    """So many locations, a minute apart."""
    return [a_location(id=f"L{n}", last_updated=NOW + timedelta(minutes=n)) for n in range(count)]


async def test_crawl_sees_every_object_once() -> None:
    """A crawl follows the pages to their end."""
    async with a_pair(cpo=[CpoLocations(stations(250))]) as pair:
        found = [one.id async for one in pair.to_cpo.crawl(v221.LocationsSender.list_locations)]
        assert found == [f"L{n}" for n in range(250)]
        assert len(pair.network.requests) == 3
        query = PageQuery(date_from=NOW + timedelta(minutes=240), limit=4)
        pages = [page async for page in pair.to_cpo.pages(v221.LocationsSender.list_locations, query)]
        assert [len(page.items) for page in pages] == [4, 4, 2]
        assert {page.total for page in pages} == {10}


def page(link: str | None, items: str = "[]") -> HttpResponse:
    """A page as a partner may send it."""
    body = f'{{"status_code":1000,"timestamp":"2026-11-01T12:00:00Z","data":{items}}}'.encode()
    headers = CIMultiDict[str]() if link is None else CIMultiDict({"Link": f'<{link}>; rel="next"'})
    return HttpResponse(status=200, headers=headers, body=body)


async def crawl(connection: Connection) -> list[v221.Location]:
    """All that a crawl brings."""
    return [one async for one in connection.crawl(v221.LocationsSender.list_locations)]


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
        pair.network.replaced["GET", "/locations"] = lambda _: page(link)
        with pytest.raises(UrlRefused):
            await crawl(pair.to_cpo)
        assert len(pair.network.requests) == 1


async def test_pages_in_a_circle() -> None:
    """Pages that lead back to an earlier one end the crawl with an error."""
    base = "https://cpo.example.com/ocpi/2.2.1/sender/locations"
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        pair.network.replaced["GET", "/locations"] = lambda _: page(f"{base}?offset=1")
        pair.network.replaced["GET", "?offset=1"] = lambda _: page(base)
        with pytest.raises(BadAnswer, match="pages that run in a circle"):
            await crawl(pair.to_cpo)
        assert len(pair.network.requests) == 2


async def test_pages_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner that always has one more page is left after so many."""
    monkeypatch.setattr("ocpi_gireve.connection.MAX_PAGES", 5)
    base = "https://cpo.example.com/ocpi/2.2.1/sender/locations"

    def more(request: HttpRequest) -> HttpResponse:
        return page(f"{base}?offset={int(request.url.rpartition('=')[2] or 0) + 1}")

    async with a_pair(cpo=[CpoLocations([])]) as pair:
        pair.network.replaced["GET", ""] = more
        with pytest.raises(BadAnswer, match="too many pages"):
            async for _ in pair.to_cpo.pages(v221.LocationsSender.list_locations, PageQuery(offset=1)):
                pass
        assert len(pair.network.requests) == 5


async def test_item_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """An item that cannot be read is logged by its place, and the others arrive."""
    async with a_pair(cpo=[CpoLocations([])]) as pair:
        good = json.dumps(
            {
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
        )
        pair.network.replaced["GET", "/locations"] = lambda _: page(None, f'[{{"id":"CANARY"}},{good}]')
        assert [one.id for one in await crawl(pair.to_cpo)] == ["L1"]
        assert "list_locations: cpo: item 0 cannot be read: /" in caplog.text
        assert "CANARY" not in caplog.text


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
    async with a_pair(emsp=[EmspLocations()], on_exchange=told.append) as pair:
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
