"""A examiner such as IOP's: requests and answers as bytes; knows no model and no client of ours."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from attrs import define, field, frozen
from multidict import CIMultiDict

Json: TypeAlias = Any

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")
NOW = "2026-11-01T12:00:00Z"


@frozen
class Said:
    """One request or answer: its first line, its headers and its body."""

    first: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def status(self) -> int:
        """Of an answer: the HTTP status."""
        return int(self.first.split()[1])

    @property
    def method(self) -> str:
        """Of a request."""
        return self.first.split()[0]

    @property
    def path(self) -> str:
        """Of a request, with its query."""
        return self.first.split()[1]

    @property
    def json(self) -> Json:
        """The body."""
        return json.loads(self.body)

    @property
    def data(self) -> Json:
        """Of an answer that succeeds: what it brings. Every check that holds for each answer is made here."""
        envelope = self.json
        assert self.status == 200, (self.first, envelope)
        assert self.headers["Content-Type"].partition(";")[0] == "application/json"
        assert envelope["status_code"] == 1000, envelope
        assert MOMENT.fullmatch(envelope["timestamp"])
        return envelope.get("data")


async def _read(reader: asyncio.StreamReader) -> Said:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = CIMultiDict[str]()
    for line in lines:
        name, _, value = line.partition(": ")
        headers.add(name, value)
    return Said(first, headers, await reader.readexactly(int(headers.get("Content-Length", "0"))))


def envelope(data: Json, status_code: int = 1000) -> bytes:
    """An answer of the examiner's."""
    return json.dumps({"data": data, "status_code": status_code, "timestamp": NOW}).encode()


@define
class Examiner:
    """Plays the hub.

    Attributes:
        version: Which version it speaks.
        arrived: What it was sent, in order.
        answers: What it answers, by method and path without query; an empty object elsewhere.
        token: The token that it presents; set by a registration.
        endpoints: The other side's endpoints, by module and role.
    """

    version: str
    port: int = 0
    arrived: list[Said] = field(factory=list[Said])
    answers: dict[tuple[str, str], list[tuple[bytes, dict[str, str]]]] = field(
        factory=dict[tuple[str, str], list[tuple[bytes, dict[str, str]]]]
    )
    token: str = ""
    endpoints: dict[tuple[str, str], str] = field(factory=dict[tuple[str, str], str])
    came: asyncio.Condition = field(factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, data: Json, **headers: str) -> None:
        """Answer a request; several answers to one are given one after the other, the last one for ever."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault((method, path), []).append((envelope(data), named))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                request = await _read(reader)
                answers = self.answers.get((request.method, request.path.partition("?")[0]))
                body, headers = envelope({}), dict[str, str]()
                if answers:
                    body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                lines = [
                    "HTTP/1.1 200 OK",
                    "Content-Type: application/json",
                    f"Content-Length: {len(body)}",
                    *(f"{name}: {value}" for name, value in headers.items()),
                ]
                writer.write("\r\n".join([*lines, "", ""]).encode() + body)
                await writer.drain()
                async with self.came:
                    self.arrived.append(request)
                    self.came.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def was_sent(self, method: str, path: str) -> Said:
        """Wait for a request, and return the first one of its kind."""

        def found() -> Said | None:
            return next((one for one in self.arrived if (one.method, one.path) == (method, path)), None)

        async with asyncio.timeout(10.0), self.came:
            await self.came.wait_for(found)
        request = found()
        assert request is not None
        return request

    def authorization(self, token: str | None = None) -> str:
        """The value of the Authorization header, as the version writes it."""
        text = self.token if token is None else token
        return f"Token {base64.b64encode(text.encode()).decode() if self.version == '2.2.1' else text}"

    async def ask(
        self,
        method: str,
        url: str,
        body: Json = None,
        *,
        token: str | None = None,
        headers: Sequence[str] = (),
    ) -> Said:
        """Send a request as the examples of GIREVE's guides look, and check what every answer must have."""
        place = urlsplit(url)
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"{method} {place.path}{f'?{place.query}' if place.query else ''} HTTP/1.1",
            f"Host: {place.netloc}",
            f"Authorization: {self.authorization(token)}",
            "Connection: close",
            "Accept: application/json",
            *headers,
        ]
        if self.version == "2.2.1" and not any("OCPI-" in line for line in headers):
            lines += ["OCPI-from-country-code: FR", "OCPI-from-party-id: 107"]
        ids = ["X-Request-ID: 5f3c-1", "X-Correlation-ID: 5f3c-2"] if self.version == "2.2.1" else []
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            writer.write("\r\n".join([*lines, *ids, "", ""]).encode() + content)
            async with asyncio.timeout(10.0):
                answer = await _read(reader)
        finally:
            writer.close()
            await writer.wait_closed()
        for line in ids:
            name, _, value = line.partition(": ")
            assert answer.headers[name] == value
        if self.version == "2.1.1":
            # "Data is an object even where there is nothing to say."
            assert isinstance(answer.json["data"], dict | list), answer
        return answer

    # --- the handshake ---------------------------------------------------------------------------------

    def offer(self, modules: Sequence[tuple[str, str]], party: str) -> Json:
        """Offer endpoints, and return the credentials that lead to them."""
        details = f"{self.url}/{self.version}"
        self.answer("GET", "/versions", [{"version": self.version, "url": details}])
        endpoints = [
            {"identifier": module, "role": role, "url": f"{details}/{role.lower()}/{module}"}
            for module, role in [("credentials", "SENDER"), *modules]
        ]
        if self.version == "2.1.1":
            for one in endpoints:
                del one["role"]
        self.answer("GET", f"/{self.version}", {"version": self.version, "endpoints": endpoints})
        details_of = {"name": "GIREVE"}
        credentials = {"token": f"token-b-{self.version}", "url": f"{self.url}/versions"}
        if self.version == "2.1.1":
            return {**credentials, "business_details": details_of, "country_code": "FR", "party_id": party}
        role = {"role": "HUB", "business_details": details_of, "country_code": "FR", "party_id": party}
        return {**credentials, "roles": [role]}

    async def register(self, versions_url: str, token_a: str, credentials: Json) -> Json:
        """Register FromIOP, checking each answer, and return the other side's credentials."""
        listed = (await self.ask("GET", versions_url, token=token_a)).data
        assert all(MOMENT.search(str(one)) is None and set(one) == {"version", "url"} for one in listed)
        (details_url,) = [one["url"] for one in listed if one["version"] == self.version]
        details = (await self.ask("GET", details_url, token=token_a)).data
        assert details["version"] == self.version
        assert len(details["endpoints"]) > 1
        for one in details["endpoints"]:
            assert one["url"].startswith(versions_url.removesuffix("versions"))
            self.endpoints[one["identifier"], one.get("role", "")] = one["url"]
        (url,) = [url for (module, _), url in self.endpoints.items() if module == "credentials"]
        theirs = (await self.ask("POST", url, credentials, token=token_a)).data
        self.token = theirs["token"]
        return theirs

    def place(self, module: str, role: str) -> str:
        """An endpoint of the other side."""
        return self.endpoints[module, role if self.version == "2.2.1" else ""]


@asynccontextmanager
async def an_examiner(version: str) -> AsyncGenerator[Examiner]:
    """A examiner that listens on a port of its own."""
    examiner = Examiner(version)
    server = await asyncio.start_server(examiner.serve, "127.0.0.1", 0)
    examiner.port = server.sockets[0].getsockname()[1]
    async with server:
        yield examiner
        server.close()
