"""Clients that are slow, or come to no end, many at a time: others are served, and little is held.

Heads have no deadline of ours (`aiohttp_app` says why), so of slow heads it is shown that they cost nobody
else anything; bodies have one, and are ended by it.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ocpi_gireve.http import HttpServer, aiohttp_app
from tests.security.test_headers import B64, PARTIES, ROUTE_221, head, keep, speak

CLIENTS = 200
KIB, MIB = 1024, 1024 * 1024
BODY_TIMEOUT = 0.5
"""Seconds within which a body has to arrive."""


def request(*lines: str, line: str = f"PUT /ocpi/{ROUTE_221} HTTP/1.1") -> bytes:
    """A head of a partner, without the empty line at its end."""
    own = [line, "Host: ours.example.com", f"Authorization: Token {B64}", *PARTIES, *lines, ""]
    return "\r\n".join(own).encode()


CHUNKED = request("Transfer-Encoding: chunked") + b"\r\n"
HEADS = {
    "nothing": b"",
    "half a line": b"PUT /ocpi/2.2.1",
    "half a head": request(),
    "half an empty line": request() + b"\r",
}
BODIES = {
    "no body": request("Content-Length: 1000") + b"\r\n",
    "half a body": request("Content-Length: 1000") + b'\r\n{"uid":',
    "half a chunk": CHUNKED + b"8\r\n{",
    "no last chunk": CHUNKED + b"1\r\n{\r\n",
    "half a packed body": request("Content-Encoding: gzip", "Content-Length: 100") + b"\r\n\x1f\x8b\x08\x00",
}
ENDLESS = {
    "a line": (b"GET /ocpi/", b"a"),
    "a header": (request() + b"X-A: ", b"a"),
    "headers": (request(), b"X-A: a\r\n"),
    "empty lines": (b"", b"\r\n"),
    "a body": (request("Content-Length: 1000000000000") + b"\r\n", b" "),
    "chunks": (CHUNKED, b"10\r\n" + b" " * 16 + b"\r\n"),
    "the size of a chunk": (CHUNKED, b"0"),
    "an extension of a chunk": (CHUNKED + b"1;", b"a"),
    "trailers": (CHUNKED + b"0\r\n", b"A: a\r\n"),
}


@asynccontextmanager
async def served() -> AsyncGenerator[HttpServer]:
    """A platform's server over a socket."""
    app = aiohttp_app(keep(total=1000).server.handle, body_timeout=BODY_TIMEOUT)
    async with HttpServer(app) as server:
        yield server


async def others_are_served(server: HttpServer) -> None:
    """Make sure that a partner gets its answer."""
    status, _, _ = await speak(server, head(*PARTIES))
    assert status == 200


@pytest.mark.parametrize("sent", (HEADS | BODIES).values(), ids=HEADS | BODIES)
async def test_many_that_stop(sent: bytes) -> None:
    """However many clients stop in the middle, others are served; who stops in a body is answered 408."""
    async with served() as server, asyncio.timeout(60):
        clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CLIENTS)]
        for _, writer in clients:
            writer.write(sent)
        await others_are_served(server)
        if sent in BODIES.values():
            for reader, _ in clients:
                assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        for _, writer in clients:
            writer.close()
        await others_are_served(server)


async def test_many_that_do_not_read() -> None:
    """Clients that ask for page after page and read none hold up nobody else."""
    page = request(line="GET /ocpi/2.2.1/sender/tariffs?limit=10 HTTP/1.1") + b"\r\n"
    async with served() as server, asyncio.timeout(60):
        clients = [await asyncio.open_connection("127.0.0.1", server.port, limit=KIB) for _ in range(10)]
        for _, writer in clients:
            writer.write(page * 1000)
        await others_are_served(server)
        for _, writer in clients:
            writer.transport.abort()
        await others_are_served(server)


@pytest.mark.parametrize(("first", "again"), ENDLESS.values(), ids=ENDLESS)
async def test_without_end(first: bytes, again: bytes) -> None:
    """What comes to no end is refused or cut off, and little of it is held; empty lines are passed over."""
    piece, sent = again * (64 * KIB // len(again)), 0
    async with served() as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        answer = asyncio.create_task(reader.read(10))
        tracemalloc.start()
        try:
            writer.write(first)
            while not answer.done() and (sent < 16 * MIB or first):
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
            assert not first or await answer in (b"HTTP/1.1 4", b"")
        except ConnectionError:
            pass  # we were cut off, which is what this is about
        finally:
            held = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            writer.transport.abort()
        assert held < 8 * MIB
        await others_are_served(server)
        await asyncio.wait([answer])
