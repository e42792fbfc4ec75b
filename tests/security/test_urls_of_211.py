"""Hostile URLs in 2.1.1, where a partner hands them out in other shapes and at other places."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
from attrs import define, evolve
from multidict import CIMultiDict

from ocpi_gireve import Context, Link, Party, Platform, Role, v211
from ocpi_gireve._codec import encode
from ocpi_gireve.commands.v211 import CpoCommands
from ocpi_gireve.errors import (
    InvalidParameters,
    OcpiError,
    RegistrationFailed,
    StatusError,
    UnusableClientApi,
    UrlRefused,
    status_error,
)
from ocpi_gireve.pagination import next_link
from ocpi_gireve.server import LateOutcome
from ocpi_gireve.testing import sample
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.http.test_urls import canary
from tests.security import test_urls as of_221
from tests.security.test_urls import (
    ASKER,
    HUB,
    TOKEN_A,
    TOKEN_B,
    Crossing,
    Json,
    Partner,
    Scene,
    Try,
    envelope,
    hostile,
    lead_to,
    network,
)
from tests.support import ask

PROFILE = evolve(of_221.PROFILE, versions=frozenset({"2.1.1"}))
MODULES = ("tokens", "cdrs", "commands", "credentials")


@define
class Partner211(Partner):
    """An eMSP that speaks 2.1.1 by a script."""

    async def serve(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        path = ("/" + request.url.partition("://")[2].partition("/")[2]).partition("?")[0]
        self.asked.append((request.method, path))
        module = path.rsplit("/", 1)[-1]
        headers = CIMultiDict[str]()
        data: object = {}
        if module == "versions":
            url = f"{self.root}/2.1.1" if self.version is None else self.version
            data = [{"version": "2.1.1", "url": url}]
        elif module == "2.1.1":
            data = {"version": "2.1.1", "endpoints": self.endpoints()}
        elif module == "credentials":
            data = self.credentials()
        elif module == "tokens":
            data = [json.loads(encode(sample(v211.Token, 1)))]
            if self.next is not None:
                headers["Link"] = f'<{self.next}>; rel="next"'
                self.next = None
            headers["X-Total-Count"], headers["X-Limit"] = "1", "100"
        elif module == "cdrs":
            headers["Location"] = self.place
        elif "/cdrs/" in path:
            data = json.loads(encode(sample(v211.CDR, 1)))
        return HttpResponse(status=200, headers=headers, body=envelope(data))

    def endpoints(self) -> list[Json]:
        """What it serves; the tokens where the script says."""
        found = [{"identifier": name, "url": f"{self.root}/2.1.1/{name}"} for name in MODULES]
        if self.module is not None:
            found[0]["url"] = self.module
        return found

    def credentials(self, url: str | None = None) -> Json:
        """Its credentials."""
        return {
            "token": TOKEN_B,
            "url": f"{self.root}/versions" if url is None else url,
            "business_details": {"name": "Hub"},
            "party_id": "HUB",
            "country_code": "DE",
        }


class Chargers(CpoCommands):
    """Charge points that take every command."""

    async def execute_start(self, ctx: Context, command: v211.StartSession) -> v211.CommandResponseType:
        """Start."""
        return v211.CommandResponseType.ACCEPTED


@asynccontextmanager
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Scene]:
    """Register our platform with its partner, and the partner with ours; every name leads to the canary."""
    partner = Partner211()
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
            invited = await platform.invite(PROFILE, origins=HUB, id=ASKER)
            body = partner.credentials()
            answer = await ask(
                platform, "POST", "/cpo/2.1.1/credentials", body=body, headers=raw(invited.reveal())
            )
            token: str = json.loads(answer.body)["data"]["token"]
            arrived.clear()
            yield Scene(
                platform=platform,
                partner=partner,
                port=port,
                arrived=arrived,
                connection=connection,
                token=token,
            )


def raw(token: str) -> dict[str, str]:
    """A token as 2.1.1 presents it."""
    return {"Authorization": f"Token {token}"}


async def asked(at: Scene, method: str, path: str, token: str, body: object) -> None:
    """Ask our platform as the partner does.

    Raises:
        StatusError: it refused.
    """
    answer = await ask(at.platform, method, f"/cpo/2.1.1/{path}", body=body, headers=raw(token))
    said = json.loads(answer.body)
    if not 1000 <= said["status_code"] < 2000:
        raise status_error(said["status_code"], answer.status, said["status_message"])


async def fresh(at: Scene) -> str:
    """Invite one more partner, and return its token A."""
    id_ = f"new-{len(at.platform.connections())}"
    return (await at.platform.invite(PROFILE, origins=at.partner.root, id=id_)).reveal()


async def registered(at: Scene) -> None:
    """We register once more, under another name."""
    id_ = f"again-{len(at.platform.connections())}"
    await at.platform.register(PROFILE, f"{at.partner.root}/versions", TOKEN_A, id=id_)


# --- the sources -------------------------------------------------------------------------------------------


async def credentials_posted(at: Scene, url: str) -> None:
    """The partner registers with this versions URL."""
    await asked(at, "POST", "credentials", await fresh(at), at.partner.credentials(url))


async def credentials_put(at: Scene, url: str) -> None:
    """The partner changes its credentials to this versions URL."""
    await asked(at, "PUT", "credentials", at.token, at.partner.credentials(url))


async def version_listed(at: Scene, url: str) -> None:
    """We register, and the partner lists its version at this URL."""
    at.partner.version = url
    await registered(at)


async def version_listed_to_a_partner(at: Scene, url: str) -> None:
    """The partner registers, and lists its version at this URL."""
    at.partner.version = url
    await asked(at, "POST", "credentials", await fresh(at), at.partner.credentials())


async def endpoint_listed(at: Scene, url: str) -> None:
    """We register, and the partner serves its tokens at this URL."""
    at.partner.module = url
    await registered(at)


async def endpoint_listed_to_a_partner(at: Scene, url: str) -> None:
    """The partner registers, and serves its tokens at this URL."""
    at.partner.module = url
    await asked(at, "POST", "credentials", await fresh(at), at.partner.credentials())


async def next_page(at: Scene, url: str) -> None:
    """The next page of a listing is at this URL."""
    at.partner.next = url
    if next_link(f'<{url}>; rel="next"') != Link(url.strip()):
        raise UrlRefused("Link", "it cannot stand in the header")
    async for _ in at.connection.crawl(v211.TokensEmsp.list_tokens):
        pass


async def cdr(at: Scene, url: str) -> None:
    """A CDR that was posted is found at this URL."""
    at.partner.place = url
    link = await at.connection.call(v211.CdrsEmsp.post_cdr, sample(v211.CDR, 1))
    await at.connection.call(v211.CdrsEmsp.get_cdr, link)


async def result(at: Scene, url: str) -> None:
    """A command wants its result at this URL."""
    result_ = v211.CommandResponse(result=v211.CommandResponseType.ACCEPTED)
    await at.connection.call(v211.CommandsEmsp.post_result, Link(url), result_)


async def result_of_a_late_command(at: Scene, url: str) -> None:
    """A command that was answered before its handler came to an end wants its result at this URL."""
    ctx = Context(partner=ASKER, version="2.1.1", request_id="1", correlation_id="2")
    outcome = v211.CommandResponse(result=v211.CommandResponseType.REJECTED)
    at.platform._post_late(LateOutcome(ctx, Link(url), v211.CommandsEmsp.post_result, outcome))
    (ended,) = await asyncio.gather(*at.platform._tasks, return_exceptions=True)
    if isinstance(ended, BaseException):
        raise ended


async def command(at: Scene, url: str) -> None:
    """A command to ready-made handlers wants its result at this URL."""
    start = v211.StartSession(
        response_url="https://hub.example/result",
        token=sample(v211.Token, 1),
        location_id="LOC1",
        evse_uid=str(len(at.partner.asked)),
    )
    body = json.loads(encode(start)) | {"response_url": url}
    await asked(at, "POST", "commands/START_SESSION", at.token, body)
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
            error = await of_221.refused(source, at, url)
            assert type(error) is SOURCES[source], f"{url!r}: {error!r}"
            assert isinstance(error, StatusError | UrlRefused) or isinstance(error.__cause__, UrlRefused)
        assert at.arrived == []


@pytest.mark.parametrize("source", SOURCES)
async def test_right_urls(monkeypatch: pytest.MonkeyPatch, source: Try) -> None:
    """The partner's own URLs are called, wherever it hands them out."""
    paths = {"credentials": "/versions", "version": "/2.1.1", "endpoint": "/2.1.1/tokens"}
    paths |= {"next": "/2.1.1/tokens", "cdr": "/2.1.1/cdrs/1"}
    path = paths.get(source.__name__.split("_")[0], "/2.1.1/commands/1")
    async with scene(monkeypatch) as at:
        at.partner.asked.clear()
        await source(at, f"{HUB}/ocpi{path}")
        # A module is asked for its endpoint when there is something to ask.
        assert "endpoint" in source.__name__ or f"/ocpi{path}" in [asked_ for _, asked_ in at.partner.asked]
        assert at.arrived == []
