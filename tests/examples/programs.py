"""Examples as their readers run them, as processes of their own, and a hub that talks to them over HTTP."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import evolve, frozen
from multidict import CIMultiDict

import ocpi_gireve
from ocpi_gireve import BILATERAL, Connection, Party, Platform, Role
from ocpi_gireve.http import AiohttpTransport, UrlPolicy, aiohttp_app
from ocpi_gireve.http.aiohttp_server import HttpServer
from ocpi_gireve.interface import Interface
from ocpi_gireve.tokens import TokenEncoding, authorization
from ocpi_gireve.transport import HttpRequest, HttpResponse
from ocpi_gireve.types import Secret

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIBRARY = str(Path(ocpi_gireve.__file__).parents[1])
PARTNER = evolve(BILATERAL, name="example", allow_http_loopback=True, retry_base=0.05)
TOKEN_A = "the-token-a-of-these-tests-0123456789"
SOON = 8.0
"""Seconds within which everything here has to happen."""


@frozen
class Program:
    """An example that runs.

    Attributes:
        versions_url: What its first line says.
        second_line: What it says next.
    """

    process: Process
    versions_url: str
    second_line: str

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return urlsplit(self.versions_url).port or 0

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), SOON)).decode().rstrip("\n")

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it, and see that it ends as it should: exit status 0, no complaint, its port free again."""
        self.process.send_signal(by)
        _, complaints = await asyncio.wait_for(self.process.communicate(), SOON)
        assert complaints.decode() == ""
        assert self.process.returncode == 0
        socket.create_server(("127.0.0.1", self.port)).close()


async def launch(name: str, *arguments: str) -> Process:
    """Run an example; a warning ends it."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(EXAMPLES / name),
        *arguments,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "PYTHONPATH": LIBRARY},
    )


@asynccontextmanager
async def running(name: str, *arguments: str) -> AsyncGenerator[Program, None]:
    """Run an example on a free port, and end it where the test has not."""
    process = await launch(name, "--port", "0", *arguments)
    try:
        first = await Program(process, "", "").line()
        start, _, url = first.partition(": ")
        assert start == "versions URL", first
        yield Program(process, url, await Program(process, "", "").line())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def refused(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run an example, here, with arguments that it must refuse, and return the last line that it prints."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"{name}: error:")
    return line


@asynccontextmanager
async def a_hub(handlers: Sequence[Interface], party: str = "107") -> AsyncGenerator[Platform, None]:
    """Run a platform of the hub FR*{party} on a free port."""
    platforms: list[Platform] = []

    async def serve(request: HttpRequest) -> HttpResponse:
        return await platforms[0].handle(request)

    async with HttpServer(aiohttp_app(serve)) as server:
        platforms.append(
            Platform(
                public_url=f"{server.url}/ocpi",
                parties=[Party("FR", party, Role.HUB, name="Hub of the tests")],
                handlers=handlers,
            )
        )
        async with platforms[0] as hub:
            yield hub


async def raw(
    connection: Connection,
    method: str,
    module: str,
    path: str,
    body: bytes = b"",
    *,
    token: str | None = None,
) -> HttpResponse:
    """Send a request to an example's module that no careful partner would send."""
    (endpoint,) = (one for one in connection.record.endpoints if f"{one.module}/{one.role}" == module)
    mine = connection.record.outbound_token
    assert mine is not None
    headers = CIMultiDict({"Content-Type": "application/json"})
    headers["Authorization"] = authorization(mine if token is None else Secret(token), TokenEncoding.BASE64)
    request = HttpRequest(method=method, url=f"{endpoint.url}{path}", headers=headers, body=body)
    transport = AiohttpTransport(UrlPolicy(allow_http_loopback=True))
    try:
        return await transport.send(request, timeout=SOON)
    finally:
        await transport.close()
