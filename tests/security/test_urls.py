"""Where a partner hands out a URL that we would call with its token, and what comes of hostile ones.

Every name leads to a canary, and so do the addresses of this machine, which the profile allows to be called:
nothing but the connection's origins stands between a URL and the canary.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import Factory, define, evolve, frozen
from multidict import CIMultiDict

from ocpi_gireve import BILATERAL, Connection, Context, Link, Party, Patch, Platform, Role, v221
from ocpi_gireve._codec import encode
from ocpi_gireve.commands.v221 import CpoCommands
from ocpi_gireve.errors import (
    InvalidParameters,
    NoAnswer,
    OcpiError,
    RegistrationFailed,
    StatusError,
    UnusableClientApi,
    UrlRefused,
    status_error,
)
from ocpi_gireve.http import AiohttpTransport, HttpServer, UrlPolicy, aiohttp_app, origin_of
from ocpi_gireve.pagination import next_link
from ocpi_gireve.server import LateOutcome
from ocpi_gireve.testing import sample
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.http.test_urls import ADDRESSES, LOOKALIKES, SHAPES, canary
from tests.support import ask

Json = dict[str, Any]

HUB = "https://hub.example"
TOKEN_A, TOKEN_B = "token-a-of-the-partner-000001", "token-b-of-the-partner-000001"
ASKER = "asker"
"""The connection over which the partner asks us."""
PROFILE = evolve(BILATERAL, name="hub", allow_http_loopback=True, timeout=5.0)
TIMEOUT = 2.0


def hostile(port: int) -> list[str]:
    """Every shape with some addresses, every address in some shapes, and every lookalike."""
    some = [(shape, host) for shape in SHAPES for host in ("127.0.0.1", "[::1]", "evil.example")]
    some += [(shape, host) for shape in (SHAPES[0], SHAPES[2], SHAPES[4]) for host in ADDRESSES]
    urls = [shape.format(host=host, port=port) for shape, host in some]
    return list(dict.fromkeys([*urls, *LOOKALIKES]))


# The right origin, in other words.
VARIANTS = (
    "https://hub.example:443{path}",
    "https://HUB.EXAMPLE{path}",
    "HTTPS://Hub.Example:443{path}",
    "https://hub.example.{path}",
    "https://hub.example:{path}",
    "https://ⓗub.example{path}",
)


# --- the partner -------------------------------------------------------------------------------------------


@define
class Partner:
    """A partner that speaks 2.2.1 by a script.

    Attributes:
        root: Below which it serves.
        version: The URL of its version details, as it lists them.
        module: The URL of an endpoint, as its details list it.
        next: The URL of the page after the first one.
        place: The URL of a CDR, as it hands it out.
        answers: What it answers instead, by method and end of the path.
        asked: Method and path of every request.
    """

    root: str = f"{HUB}/ocpi"
    version: str | None = None
    module: str | None = None
    next: str | None = None
    place: str = ""
    answers: dict[tuple[str, str], HttpResponse] = Factory(dict[tuple[str, str], HttpResponse])
    asked: list[tuple[str, str]] = Factory(list[tuple[str, str]])

    async def serve(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        _, _, rest = request.url.partition("://")
        path = ("/" + rest.partition("/")[2] if rest else request.url).partition("?")[0]
        self.asked.append((request.method, path))
        for (method, end), answer in self.answers.items():
            if request.method == method and path.endswith(end):
                return answer
        module = path.rsplit("/", 1)[-1]
        headers = CIMultiDict[str]()
        data: object = None
        if module == "versions":
            data = [
                {"version": "2.2.1", "url": f"{self.root}/2.2.1" if self.version is None else self.version}
            ]
        elif module == "2.2.1":
            data = {"version": "2.2.1", "endpoints": self.endpoints()}
        elif module == "credentials":
            data = None if request.method == "DELETE" else self.credentials()
        elif module == "locations":
            data = [json.loads(encode(sample(v221.Location, 1)))]
            if self.next is not None:
                headers["Link"] = f'<{self.next}>; rel="next"'
                self.next = None
            headers["X-Total-Count"], headers["X-Limit"] = "1", "100"
        elif module == "cdrs" and request.method == "POST":
            headers["Location"] = self.place
        elif "/cdrs/" in path:
            data = json.loads(encode(sample(v221.CDR, 1)))
        return HttpResponse(status=200, headers=headers, body=envelope(data))

    def endpoints(self) -> list[Json]:
        """What it serves; the locations where the script says."""
        found = [
            {"identifier": name, "role": role, "url": f"{self.root}/2.2.1/{place}"}
            for name, role, place in (
                ("locations", "SENDER", "locations"),
                ("locations", "RECEIVER", "received"),
                ("cdrs", "RECEIVER", "cdrs"),
                ("commands", "SENDER", "commands"),
                ("credentials", "SENDER", "credentials"),
            )
        ]
        if self.module is not None:
            found[0]["url"] = self.module
        return found

    def credentials(self, url: str | None = None) -> Json:
        """Its credentials."""
        role: Json = {
            "role": "EMSP",
            "country_code": "DE",
            "party_id": "HUB",
            "business_details": {"name": "Hub"},
        }
        hubs = [role, {**role, "role": "CPO"}]
        return {"token": TOKEN_B, "url": f"{self.root}/versions" if url is None else url, "roles": hubs}


def envelope(data: object) -> bytes:
    """An answer that says success."""
    whole: Json = {"status_code": 1000, "timestamp": "2026-11-01T12:00:00Z"}
    return json.dumps(whole if data is None else {**whole, "data": data}).encode()


@define
class Crossing:
    """A transport that takes requests for the partner to it, and all others to the network."""

    partner: Partner
    network: AiohttpTransport

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """Send a request to whom its URL names."""
        if str(origin_of(request.url)) == HUB:
            return await self.partner.serve(request)
        return await self.network.send(request, timeout=timeout)

    async def close(self) -> None:
        """Close what was opened."""
        await self.network.close()


class Chargers(CpoCommands):
    """Charge points that take every command."""

    async def execute_start(self, ctx: Context, command: v221.StartSession) -> v221.CommandResultType:
        """Start."""
        return v221.CommandResultType.ACCEPTED


@frozen(kw_only=True)
class Scene:
    """Our platform, its partner, and the canary.

    Attributes:
        arrived: The connections that the canary heard.
        connection: Ours to the partner, which is registered.
        token: What the partner presents on it.
    """

    platform: Platform
    partner: Partner
    port: int
    arrived: list[str]
    connection: Connection
    token: str

    async def fresh(self) -> str:
        """Invite one more partner, and return its token A."""
        id_ = f"new-{len(self.platform.connections())}"
        token = await self.platform.invite(PROFILE, origins=self.partner.root, id=id_)
        return token.reveal()


@asynccontextmanager
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Scene]:
    """Register our platform with its partner; every name leads to the canary."""
    partner = Partner()
    async with canary() as (port, arrived):
        lead_to(monkeypatch, port)
        platform = Platform(
            public_url="https://cpo.example.com/ocpi",
            parties=[Party("FR", "CPO", Role.CPO, name="Example CPO")],
            handlers=[Chargers()],
            transport=lambda _: Crossing(partner, network()),
        )
        async with platform:
            connection = await platform.register(PROFILE, f"{HUB}/ocpi/versions", TOKEN_A)
            token = await present(platform, partner, ASKER)
            arrived.clear()
            yield Scene(
                platform=platform,
                partner=partner,
                port=port,
                arrived=arrived,
                connection=connection,
                token=token,
            )


async def present(platform: Platform, partner: Partner, id: str) -> str:
    """Let the partner register with us, too, and return the token that it presents from then on."""
    token = await platform.invite(PROFILE, origins=HUB, id=id)
    answer = await ask(
        platform, "POST", "/2.2.1/credentials", token=token.reveal(), body=partner.credentials()
    )
    found: str = json.loads(answer.body)["data"]["token"]
    return found


def network() -> AiohttpTransport:
    """What carries requests that are not the partner's: the addresses of this machine are allowed."""
    return AiohttpTransport(UrlPolicy(allow_http_loopback=True), connect_timeout=TIMEOUT)


def lead_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Let every name, and every port, be the canary's."""

    async def resolve(*_: object, **__: object) -> list[object]:
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)


# --- the sources -------------------------------------------------------------------------------------------

Try = Callable[[Scene, str], Awaitable[None]]


async def asked(at: Scene, method: str, path: str, token: str, body: object) -> None:
    """Ask our platform as the partner does.

    Raises:
        StatusError: it refused.
    """
    headers = {
        "OCPI-from-country-code": "DE",
        "OCPI-from-party-id": "HUB",
        "OCPI-to-country-code": "FR",
        "OCPI-to-party-id": "CPO",
    }
    answer = await ask(at.platform, method, path, token=token, body=body, headers=headers)
    said = json.loads(answer.body)
    if not 1000 <= said["status_code"] < 2000:
        raise status_error(said["status_code"], answer.status, said["status_message"])


async def credentials_posted(at: Scene, url: str) -> None:
    """The partner registers with this versions URL."""
    await asked(at, "POST", "/2.2.1/credentials", await at.fresh(), at.partner.credentials(url))


async def credentials_put(at: Scene, url: str) -> None:
    """The partner changes its credentials to this versions URL."""
    await asked(at, "PUT", "/2.2.1/credentials", at.token, at.partner.credentials(url))


async def version_listed(at: Scene, url: str) -> None:
    """We register, and the partner lists its version at this URL."""
    at.partner.version = url
    await registered(at)


async def version_listed_to_a_partner(at: Scene, url: str) -> None:
    """The partner registers, and lists its version at this URL."""
    at.partner.version = url
    await asked(at, "POST", "/2.2.1/credentials", await at.fresh(), at.partner.credentials())


async def endpoint_listed(at: Scene, url: str) -> None:
    """We register, and the partner serves its locations at this URL."""
    at.partner.module = url
    await registered(at)


async def endpoint_listed_to_a_partner(at: Scene, url: str) -> None:
    """The partner registers, and serves its locations at this URL."""
    at.partner.module = url
    await asked(at, "POST", "/2.2.1/credentials", await at.fresh(), at.partner.credentials())


async def registered(at: Scene) -> None:
    """We register once more, under another name."""
    id_ = f"again-{len(at.platform.connections())}"
    await at.platform.register(PROFILE, f"{at.partner.root}/versions", TOKEN_A, id=id_)


async def next_page(at: Scene, url: str) -> None:
    """The next page of a listing is at this URL."""
    at.partner.next = url
    if next_link(f'<{url}>; rel="next"') != Link(url.strip()):
        raise UrlRefused("Link", "it cannot stand in the header")
    async for _ in at.connection.crawl(v221.LocationsSender.list_locations):
        pass


async def cdr(at: Scene, url: str) -> None:
    """A CDR that was posted is found at this URL."""
    at.partner.place = url
    link = await at.connection.call(v221.CdrsReceiver.post_cdr, sample(v221.CDR, 1))
    await at.connection.call(v221.CdrsReceiver.get_cdr, link)


async def result(at: Scene, url: str) -> None:
    """A command wants its result at this URL."""
    result_ = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
    await at.connection.call(v221.CommandsSender.post_result, Link(url), result_)


async def result_of_a_late_command(at: Scene, url: str) -> None:
    """A command that was answered before its handler came to an end wants its result at this URL."""
    ctx = Context(partner=ASKER, version="2.2.1", request_id="1", correlation_id="2")
    outcome = v221.CommandResult(result=v221.CommandResultType.FAILED)
    at.platform._post_late(LateOutcome(ctx, Link(url), v221.CommandsSender.post_result, outcome))
    (ended,) = await asyncio.gather(*at.platform._tasks, return_exceptions=True)
    if isinstance(ended, BaseException):
        raise ended


async def command(at: Scene, url: str) -> None:
    """A command to ready-made handlers wants its result at this URL."""
    token = sample(v221.Token, 1)
    start = v221.StartSession(
        response_url="https://hub.example/result",
        token=evolve(token, country_code="DE", party_id="HUB"),
        location_id="LOC1",
        evse_uid=str(len(at.partner.asked)),
    )
    body = json.loads(encode(start)) | {"response_url": url}
    await asked(at, "POST", "/2.2.1/receiver/commands/START_SESSION", at.token, body)
    await asyncio.gather(*at.platform._tasks)


SOURCES: Mapping[Try, type[OcpiError]] = {
    credentials_posted: UnusableClientApi,
    credentials_put: UnusableClientApi,
    version_listed: RegistrationFailed,
    version_listed_to_a_partner: UnusableClientApi,
    endpoint_listed: RegistrationFailed,
    endpoint_listed_to_a_partner: UnusableClientApi,
    next_page: UrlRefused,
    cdr: UrlRefused,
    result: UrlRefused,
    result_of_a_late_command: UrlRefused,
    command: InvalidParameters,
}
"""How each source of URLs says that it refuses one."""


@pytest.mark.parametrize("source", SOURCES)
async def test_hostile_urls(monkeypatch: pytest.MonkeyPatch, source: Try) -> None:
    """No hostile URL, wherever a partner hands it out, leads to the canary; each is refused as such."""
    async with scene(monkeypatch) as at:
        urls = hostile(at.port)
        assert len(urls) >= 200
        for url in urls:
            error = await refused(source, at, url)
            assert type(error) is SOURCES[source], f"{url!r}: {error!r}"
            assert isinstance(error, StatusError | UrlRefused) or isinstance(error.__cause__, UrlRefused)
        assert at.arrived == []


@pytest.mark.parametrize("url", ["https://evil.example/ocpi?offset=1", "http://127.0.0.1:{port}/?offset=1"])
async def test_rebased_links(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Where the profile has links rebased, a hostile one gives its query alone, to the right endpoint."""
    async with scene(monkeypatch) as at:
        rebasing = evolve(PROFILE, name="rebasing", next_link="rebase")
        connection = await at.platform.register(rebasing, f"{HUB}/ocpi/versions", TOKEN_A)
        at.partner.asked.clear()
        at.partner.next = url.format(port=at.port)
        async for _ in connection.crawl(v221.LocationsSender.list_locations):
            pass
        assert at.partner.asked == [("GET", "/ocpi/2.2.1/locations")] * 2
        assert at.arrived == []


async def refused(source: Try, at: Scene, url: str) -> OcpiError:
    """The error that a URL ends in."""
    try:
        await source(at, url)
    except OcpiError as error:
        return error
    pytest.fail(f"{source.__name__} took {url!r}")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("variant", VARIANTS)
async def test_other_spellings(monkeypatch: pytest.MonkeyPatch, source: Try, variant: str) -> None:
    """The right origin in another spelling is called, at its one name."""
    paths = {"credentials": "/ocpi/versions", "version": "/ocpi/2.2.1", "endpoint": "/ocpi/2.2.1/locations"}
    paths |= {"next": "/ocpi/2.2.1/locations", "cdr": "/ocpi/2.2.1/cdrs/1"}
    path = paths.get(source.__name__.split("_")[0], "/ocpi/2.2.1/commands/1")
    async with scene(monkeypatch) as at:
        at.partner.asked.clear()
        await source(at, variant.format(path=path))
        # A module is asked for its endpoint when there is something to ask.
        assert "endpoint" in source.__name__ or path in [asked for _, asked in at.partner.asked]
        assert at.arrived == []


async def test_canary_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of origins, the canary hears a call by address and by name."""
    async with scene(monkeypatch) as at:
        transport = Crossing(at.partner, network())
        for url in (f"http://127.0.0.1:{at.port}/", "https://evil.example/"):
            with pytest.raises(NoAnswer):
                await transport.send(HttpRequest(method="GET", url=url), timeout=TIMEOUT)
        await transport.close()
        assert len(at.arrived) == 2


# --- redirects ---------------------------------------------------------------------------------------------


async def pulled(at: Scene, _url: str) -> None:
    """We ask for a listing."""
    async for _ in at.connection.crawl(v221.LocationsSender.list_locations):
        pass


async def turned(at: Scene, _: str) -> None:
    """We ask for a second page."""
    await next_page(at, f"{at.partner.root}/2.2.1/locations/page2")


async def found_again(at: Scene, _: str) -> None:
    """We ask for a CDR at the place where the partner has put it."""
    await cdr(at, f"{at.partner.root}/2.2.1/cdrs/1")


async def reported(at: Scene, _: str) -> None:
    """We post the result of a command."""
    await result(at, f"{at.partner.root}/2.2.1/commands/1")


async def put(at: Scene, _: str) -> None:
    """We put a location."""
    location = sample(v221.Location, 1)
    ref = v221.LocationRef(location.country_code, location.party_id, location.id)
    await at.connection.call(v221.LocationsReceiver.put_location, ref, location)


async def patched(at: Scene, _: str) -> None:
    """We change a location."""
    location = sample(v221.Location, 1)
    ref = v221.LocationRef(location.country_code, location.party_id, location.id)
    changes = Patch(v221.Location, {"name": "Gare", "last_updated": location.last_updated})
    await at.connection.call(v221.LocationsReceiver.patch_location, ref, changes)


async def updated(at: Scene, _: str) -> None:
    """We change our credentials."""
    await at.platform.update(at.connection.id)


async def unregistered(at: Scene, _: str) -> None:
    """We delete our credentials."""
    await at.platform.unregister(at.connection.id)


async def registered_anew(at: Scene, _: str) -> None:
    """We register."""
    await registered(at)


async def presented(at: Scene, _: str) -> None:
    """The partner registers, and we ask it for what it serves."""
    await asked(at, "POST", "/2.2.1/credentials", await at.fresh(), at.partner.credentials())


REDIRECTED = [
    (registered_anew, "GET", "/versions"),
    (registered_anew, "GET", "/2.2.1"),
    (registered_anew, "POST", "/credentials"),
    (presented, "GET", "/versions"),
    (presented, "GET", "/2.2.1"),
    (updated, "PUT", "/credentials"),
    (unregistered, "DELETE", "/credentials"),
    (pulled, "GET", "/locations"),
    (turned, "GET", "/page2"),
    (put, "PUT", ""),
    (patched, "PATCH", ""),
    (cdr, "POST", "/cdrs"),
    (found_again, "GET", "/cdrs/1"),
    (reported, "POST", "/commands/1"),
]


@pytest.mark.parametrize(("source", "method", "end"), REDIRECTED)
async def test_redirects(source: Try, method: str, end: str) -> None:
    """No redirect is followed, whichever it is and whatever asks: neither token nor body goes elsewhere."""
    async with canary() as (port, arrived), redirecting() as at:
        for status in range(300, 309):
            headers = CIMultiDict({"Location": f"http://127.0.0.1:{port}/ocpi", "Refresh": "0"})
            at.partner.answers = {(method, end): HttpResponse(status=status, headers=headers)}
            at.partner.asked.clear()
            error = await refused(source, at, "")
            assert str(status) in str(error)
            redirected = [one for one in at.partner.asked if one[0] == method and one[1].endswith(end)]
            assert len(redirected) == 1
        assert arrived == []


@asynccontextmanager
async def redirecting() -> AsyncGenerator[Scene]:
    """Our platform and its partner over sockets, with our own transport."""
    partner = Partner()
    async with HttpServer(aiohttp_app(partner.serve)) as server:
        partner.root = f"{server.url}/ocpi"
        platform = Platform(
            public_url="https://cpo.example.com/ocpi",
            parties=[Party("FR", "CPO", Role.CPO, name="Example CPO")],
            handlers=[Chargers()],
        )
        async with platform:
            connection = await platform.register(PROFILE, f"{partner.root}/versions", TOKEN_A)
            yield Scene(
                platform=platform,
                partner=partner,
                port=server.port,
                arrived=[],
                connection=connection,
                token="",
            )
