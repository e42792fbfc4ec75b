"""IOP as its guides draw it, in plain HTTP and JSON; it knows nothing of the library that it tries."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import ClientSession, ClientTimeout, web
from attrs import define, field, frozen

from tests.examples.programs import SOON

Json: TypeAlias = Any
MODULES = ("credentials", "locations", "tokens", "commands", "sessions", "cdrs", "tariffs")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")
TOKEN_OF_IOP = "the-token-that-iop-gives-0123456789"
SIDE = {"CPO": "emsp", "EMP": "cpo"}
"""The interfaces of 2.1.1 that IOP offers to a party of the examples."""
PARTY = {"2.2.1": "107", "2.1.1": "GIR"}
"""Under which id IOP registers: in 2.1.1 no text says it."""


@frozen
class Seen:
    """A request that the example sent; its path is below IOP's version."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    @property
    def name(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


@frozen
class Answer:
    """What the example answered."""

    http: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def data(self) -> Json:
        """What was asked for."""
        assert self.codes == (200, 1000), self.body
        return self.body.get("data")

    @property
    def codes(self) -> tuple[int, int]:
        """HTTP and OCPI status."""
        return self.http, self.body["status_code"]


@define
class Iop:
    """One connection of IOP, in one version.

    Attributes:
        version: The version of OCPI.
        party: The party of the example: ``CPO`` or ``EMP``.
        client: What it asks with.
        url: Below which it serves.
        answers: What it answers to some requests, by their `Seen.name`; to all others, that it is done.
        seen: The requests that the example sent, but for those of the handshake.
        wrong: What the guides would not have.
        theirs: The token to show to the example.
        ours: The token that the example is to show.
        endpoints: Where the example serves what: by module, in 2.2.1 by module and role.
        credentials: What the example presented last.
        correlation: The correlation id of what was asked last.
    """

    version: str
    party: str
    client: ClientSession
    url: str = ""
    answers: dict[str, Any] = field(factory=dict[str, Any])
    seen: asyncio.Queue[Seen] = field(factory=asyncio.Queue[Seen])
    wrong: list[str] = field(factory=list[str])
    theirs: str = ""
    ours: str = TOKEN_OF_IOP
    endpoints: dict[str, str] = field(factory=dict[str, str])
    credentials: dict[str, Any] = field(factory=dict[str, Any])
    correlation: str = ""

    @property
    def base(self) -> str:
        """The path of its version."""
        side = f"/{SIDE[self.party]}" if self.version == "2.1.1" else ""
        return f"/ocpi{side}/{self.version}"

    @property
    def versions_url(self) -> str:
        """Where the example may register."""
        return f"{self.url}/ocpi/versions"

    def written(self, token: str) -> str:
        """Return the value of an Authorization header. (TRA-004, TRA-005)"""
        return f"Token {token if self.version == '2.1.1' else base64.b64encode(token.encode()).decode()}"

    # --- what the example asks ---

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request of the example."""
        raw = await request.read()
        path = unquote(request.path)
        if request.headers.get("Authorization") != self.written(self.ours):
            # Before a version is agreed on, the example cannot know how it writes a token.
            if path != "/ocpi/versions":
                self.wrong.append(f"{request.method} {path}: Authorization")
            return said({}, http=401, code=2000)
        self._inspect(request, path)
        if path == "/ocpi/versions":
            return said([{"version": self.version, "url": f"{self.url}{self.base}"}])
        if path == self.base:
            return said({"version": self.version, "endpoints": list(self._endpoints())})
        body: Any = json.loads(raw) if raw else None
        seen = Seen(request.method, path.removeprefix(self.base), dict(request.query), request.headers, body)
        if seen.path == "/credentials":
            return said({}) if seen.method == "DELETE" else await self._registered(seen.body)
        await self.seen.put(seen)
        answer: Any = self.answers.get(seen.name, {})
        if isinstance(answer, web.StreamResponse):
            return answer
        headers = (
            {"Location": f"{self.url}{self.base}/cdrs/1"} if seen.name == "POST /cdrs" else _counted(answer)
        )
        return said(answer, headers)

    async def _registered(self, credentials: dict[str, Any]) -> web.Response:
        self.credentials, self.theirs = credentials, credentials["token"]
        await self.discover(credentials["url"])
        self.ours = f"the-next-token-{uuid.uuid4()}"
        return said(self.presented())

    def _inspect(self, request: web.Request, path: str) -> None:
        headers = request.headers

        def expect(what: str, *, true: bool) -> None:
            if not true:
                self.wrong.append(f"{request.method} {path}: {what}")

        if request.method == "GET":
            expect("no Content-Type", true="Content-Type" not in headers)
        elif request.method != "DELETE":
            expect("Content-Type", true=headers.get("Content-Type", "").startswith("application/json"))
        for name in ("date_from", "date_to"):
            expect(name, true=name not in request.query or INSTANT.fullmatch(request.query[name]) is not None)
        routed = {name.lower() for name in headers if name.lower().startswith("ocpi-")}
        if self.version == "2.1.1" or path in ("/ocpi/versions", self.base, f"{self.base}/credentials"):
            expect("no OCPI-*", true=not routed)
        else:
            sender = headers.get("OCPI-from-country-code"), headers.get("OCPI-from-party-id")
            expect("OCPI-from-*", true=sender == ("FR", self.party))
            expect("OCPI-to-*", true=headers.get("OCPI-to-country-code") == "FR")
        if self.version != "2.1.1":
            expect("X-*-ID", true="X-Request-ID" in headers and "X-Correlation-ID" in headers)

    def _endpoints(self) -> Iterator[dict[str, str]]:
        for module in MODULES:
            url = f"{self.url}{self.base}/{module}"
            if self.version == "2.1.1":
                yield {"identifier": module, "url": url}
            else:
                yield {"identifier": module, "role": "SENDER", "url": url}
                yield {"identifier": module, "role": "RECEIVER", "url": url}

    def presented(self) -> dict[str, Any]:
        """Return the credentials that IOP presents."""
        shown = {"token": self.ours, "url": self.versions_url}
        party = {
            "country_code": "FR",
            "party_id": PARTY[self.version],
            "business_details": {"name": "GIREVE"},
        }
        return shown | (party if self.version == "2.1.1" else {"roles": [party | {"role": "HUB"}]})

    async def next(self) -> Seen:
        """Return what the example sends next."""
        return await asyncio.wait_for(self.seen.get(), SOON)

    async def several(self, count: int) -> dict[str, Seen]:
        """Return what the example sends next, by module, whatever the order between lanes."""
        found = [await self.next() for _ in range(count)]
        return {f"{one.method} {one.path.split('/')[1]}": one for one in found}

    # --- what is asked of the example ---

    async def ask(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        token: str | None = None,
        sender: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask the example something, and see that its answer is one."""
        headers = {"Authorization": self.written(self.theirs if token is None else token)}
        if self.version != "2.1.1":
            headers |= {"X-Request-ID": str(uuid.uuid4()), "X-Correlation-ID": str(uuid.uuid4())}
            if not url.endswith(("/versions", "/credentials", self.version)):
                headers |= {
                    "OCPI-from-country-code": "FR",
                    "OCPI-from-party-id": sender or PARTY[self.version],
                }
                headers |= {"OCPI-to-country-code": "FR", "OCPI-to-party-id": self.party}
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if raw is not None:
            headers["Content-Type"] = "application/json"
        async with self.client.request(method, url, data=raw, headers=headers, params=query) as response:
            assert response.content_type == "application/json"
            answer = Answer(response.status, response.headers, await response.json())
        for name in ("X-Request-ID", "X-Correlation-ID"):
            assert answer.headers[name] == headers.get(name, answer.headers[name])
        self.correlation = answer.headers["X-Correlation-ID"]
        assert INSTANT.fullmatch(answer.body["timestamp"])
        if self.version == "2.1.1":
            assert answer.body["data"] is not None  # (certification checks, A6)
        return answer

    def at(self, module: str, role: str, path: str = "") -> str:
        """Return where the example serves something; the role counts in 2.2.1."""
        return self.endpoints[module if self.version == "2.1.1" else f"{module}/{role}"] + path

    @property
    def credentials_url(self) -> str:
        """Where the example takes credentials."""
        return next(url for name, url in self.endpoints.items() if name.startswith("credentials"))

    async def offered(self, versions_url: str) -> dict[str, str]:
        """Return the versions that the example offers, with their URLs."""
        return {one["version"]: one["url"] for one in (await self.ask("GET", versions_url)).data}

    async def discover(self, versions_url: str) -> None:
        """Read where the example serves what."""
        details = (await self.ask("GET", (await self.offered(versions_url))[self.version])).data
        assert details["version"] == self.version
        self.endpoints = {
            one["identifier"] + (f"/{one['role']}" if "role" in one else ""): one["url"]
            for one in details["endpoints"]
        }

    async def register(self, versions_url: str, token_a: str) -> None:
        """Register with the example. (FromIOP)"""
        self.theirs = token_a
        await self.discover(versions_url)
        self.credentials = (await self.ask("POST", self.credentials_url, self.presented())).data
        self.theirs = self.credentials["token"]

    async def pull(
        self, module: str, limit: int | None = None, query: Mapping[str, str] | None = None
    ) -> list[Any]:
        """Pull a listing page by page, and see that its headers are honest. (certification checks, A3)"""
        items: list[Any] = []
        asked = dict(query or {}) | ({} if limit is None else {"limit": str(limit), "offset": "0"})
        url = self.at(module, "SENDER")
        while True:
            answer = await self.ask("GET", url, query=asked)
            page, total, largest = answer.data, answer.headers["X-Total-Count"], answer.headers["X-Limit"]
            items += page
            if len(items) >= int(total):
                assert ("Link" in answer.headers, len(items)) == (False, int(total))
                return items
            assert len(page) == min(limit or int(largest), int(largest))
            found = re.fullmatch(r'<([^<>]+)>; ?rel="next"', answer.headers["Link"])
            assert found is not None
            link = urlsplit(found[1])
            url, asked = link._replace(query="").geturl(), dict(parse_qsl(link.query))
            assert int(asked["offset"]) == len(items)


def example(shared: Path, name: str) -> dict[str, Any]:
    """Return a message of GIREVE's own 2.1.1 guide."""
    found: dict[str, Any] = json.loads(
        (shared / f"spec/examples/gireve-2.1.1/{name}_request.json").read_text()
    )
    return found


def _counted(answer: object) -> dict[str, str]:
    """Return the headers of a page that is all there is."""
    if not isinstance(answer, list):
        return {}
    return {"X-Total-Count": str(len(cast("list[object]", answer))), "X-Limit": "1000"}


def said(
    data: object, headers: Mapping[str, str] | None = None, *, http: int = 200, code: int = 1000
) -> web.Response:
    """Make an answer of IOP."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"data": data, "status_code": code, "status_message": "", "timestamp": moment}
    return web.json_response(body, status=http, headers=headers)


@asynccontextmanager
async def an_iop(version: str, party: str) -> AsyncGenerator[Iop]:
    """Run IOP on a free port; at the end, see that the example did nothing that its guides would not have."""
    async with ClientSession(timeout=ClientTimeout(SOON)) as client:
        iop = Iop(version, party, client)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", iop.serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            iop.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield iop
        finally:
            await runner.cleanup()
    assert iop.wrong == []
