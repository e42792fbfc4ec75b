from __future__ import annotations

import asyncio
import gzip
import json
import logging
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from multidict import CIMultiDict

from ocpi_gireve.errors import StatusError
from ocpi_gireve.http import (
    AiohttpTransport,
    HttpServer,
    UrlPolicy,
    aiohttp_app,
    aiohttp_handler,
    hide_bad_requests,
)
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.http.support import client_tls, server_tls

Opened = Callable[[AiohttpTransport], AiohttpTransport]

LOCAL = UrlPolicy(allow_http_loopback=True)
MIB = 1024 * 1024


class Recorder:
    """A server function that notes what arrives and gives one answer."""

    def __init__(self, response: HttpResponse | None = None) -> None:
        self.arrived: list[HttpRequest] = []
        self.refused: list[tuple[StatusError, HttpRequest]] = []
        self.response = response or HttpResponse(status=200)

    async def serve(self, request: HttpRequest) -> HttpResponse:
        self.arrived.append(request)
        return self.response

    def refuse(self, error: StatusError, request: HttpRequest) -> HttpResponse:
        self.refused.append((error, request))
        body = json.dumps({"status_code": error.status_code, "status_message": error.message}).encode()
        return HttpResponse(
            status=error.http_status, headers=CIMultiDict({"Content-Type": "application/json"}), body=body
        )


async def speak(server: HttpServer, *sent: bytes, pause: float = 0.0) -> bytes:
    """Send bytes on a new connection, and return all that comes back until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 5.0)
    finally:
        writer.close()
        await writer.wait_closed()


def head(*lines: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([*lines, "Host: test", "", ""]).encode()


LAST = "Connection: close"


async def test_request_arrives() -> None:
    """Method, headers and body arrive as they were sent, a repeated header each time."""
    recorder = Recorder()
    async with HttpServer(aiohttp_app(recorder.serve)) as server:
        lines = [
            "authorization: Token a",
            "Authorization: Token b",
            "OCPI-to-party-id: X",
            "OCPI-to-party-id: Y",
        ]
        await speak(server, head("PATCH /a HTTP/1.1", *lines, "Content-Length: 2", LAST), b"{}", pause=0.02)
    (arrived,) = recorder.arrived
    assert (arrived.method, arrived.body) == ("PATCH", b"{}")
    assert arrived.headers.getall("Authorization") == ["Token a", "Token b"]
    assert arrived.headers.getall("ocpi-to-party-id") == ["X", "Y"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_every_method_arrives(method: str) -> None:
    """What is allowed is decided by the one function that serves, so every method gets there."""
    recorder = Recorder()
    async with HttpServer(aiohttp_app(recorder.serve)) as server:
        await speak(server, head(f"{method} / HTTP/1.1", LAST))
    assert [arrived.method for arrived in recorder.arrived] == [method]


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/", "/"),
        ("/?a=b", "/?a=b"),
        ("/ocpi/a%2Fb/%C3%A9/?x=%20y&z=1+2", "/ocpi/a%2Fb/%C3%A9/?x=%20y&z=1+2"),
        ("/ocpi/../%2e%2e//c", "/ocpi/../%2e%2e//c"),
        ("/ocpi/a%0Ab%0D%00", "/ocpi/a%0Ab%0D%00"),
        ("http://elsewhere.example/ocpi/a%2Fb?x=1", "/ocpi/a%2Fb?x=1"),
    ],
)
async def test_url_as_in_the_request_line(target: str, url: str) -> None:
    """The URL is path and query as they were sent; a host in the request line does not count."""
    recorder = Recorder()
    async with HttpServer(aiohttp_app(recorder.serve)) as server:
        await speak(server, head(f"GET {target} HTTP/1.1", LAST))
    assert [arrived.url for arrived in recorder.arrived] == [url]


async def test_response_leaves() -> None:
    """Status, headers and body leave as given, with what HTTP needs and no software's version."""
    headers = CIMultiDict[str](
        [("Content-Type", "application/json"), ("Link", "<1>"), ("Link", "<2>"), ("x-a", "b")]
    )
    response = HttpResponse(status=202, headers=headers, body=b'{"a": 1}')
    async with HttpServer(aiohttp_app(Recorder(response).serve)) as server:
        said = (await speak(server, head("GET / HTTP/1.1", LAST))).decode()
    first, *lines = said.partition("\r\n\r\n")[0].split("\r\n")
    assert first == "HTTP/1.1 202 Accepted"
    assert sorted(line for line in lines if not line.startswith("Date: ")) == [
        *("Connection: close", "Content-Length: 8", "Content-Type: application/json"),
        *("Link: <1>", "Link: <2>", "Server: ocpi-gireve", "x-a: b"),
    ]
    assert said.endswith('\r\n\r\n{"a": 1}')
    # The response of the one who serves may be used again.
    assert len(headers) == 4


async def test_without_an_application(opened: Opened) -> None:
    """A handler alone serves every method and path, and ends with its server."""
    recorder = Recorder()
    transport = opened(AiohttpTransport(LOCAL))
    async with HttpServer(aiohttp_handler(recorder.serve)) as server:
        for path in ("/", "/ocpi/versions?a=b"):
            request = HttpRequest(method="PUT", url=server.url + path, body=b"{}")
            assert (await transport.send(request, timeout=5.0)).status == 200
            assert (recorder.arrived[-1].url, recorder.arrived[-1].body) == (path, b"{}")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_mounted(opened: Opened) -> None:
    """Mounted in a host's application, it sees the whole path, and the host keeps its own routes."""
    recorder = Recorder()

    async def own(_request: web.Request) -> web.Response:
        return web.Response(text="own")

    app = web.Application(client_max_size=10)
    app.router.add_get("/health", own)
    app.add_subapp("/roaming/ocpi", aiohttp_app(recorder.serve))
    transport = opened(AiohttpTransport(LOCAL))
    async with HttpServer(app) as server:

        async def get(path: str, body: bytes = b"") -> HttpResponse:
            request = HttpRequest(method="PUT" if body else "GET", url=server.url + path, body=body)
            return await transport.send(request, timeout=5.0)

        assert (await get("/health")).body == b"own"
        assert (await get("/ocpi/versions")).status == 404
        assert (await get("/roaming/ocpi/versions?a=b")).status == 200
        # The limit of the host's own application is not ours.
        assert (await get("/roaming/ocpi/locations/1", bytes(1000))).status == 200
    assert [arrived.url for arrived in recorder.arrived] == [
        "/roaming/ocpi/versions?a=b",
        "/roaming/ocpi/locations/1",
    ]


def chunked(body: bytes) -> bytes:
    """A body in one chunk."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


TOO_LONG = {
    "by its length": (head("POST / HTTP/1.1", "Content-Length: 1001", LAST), bytes(1001)),
    "by its length alone": (head("POST / HTTP/1.1", "Content-Length: 999999999999", LAST), b""),
    "in chunks": (head("POST / HTTP/1.1", "Transfer-Encoding: chunked", LAST), chunked(bytes(1001))),
    "unpacked": (
        head("POST / HTTP/1.1", "Content-Encoding: gzip", "Transfer-Encoding: chunked", LAST),
        chunked(gzip.compress(bytes(1001))),
    ),
}


@pytest.mark.parametrize(("top", "body"), TOO_LONG.values(), ids=TOO_LONG)
async def test_body_too_long(top: bytes, body: bytes) -> None:
    """A body that is too long, as sent or unpacked, is answered by `refuse` with HTTP 413, and not served."""
    recorder = Recorder()
    app = aiohttp_app(recorder.serve, refuse=recorder.refuse, max_body_bytes=1000)
    async with HttpServer(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(top + body)
        said = await asyncio.wait_for(reader.readuntil(b"}"), 5.0)
        writer.close()
        await writer.wait_closed()
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"Content-Type: application/json" in said
    assert said.endswith(
        b'{"status_code": 2000, "status_message": "Message too large: at most 1000 bytes are accepted"}'
    )
    ((error, request),) = recorder.refused
    assert (error.http_status, request.method, request.url, request.body) == (413, "POST", "/", b"")
    assert request.headers["Host"] == "test"
    assert recorder.arrived == []


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
async def test_longest_body(encoding: str | None) -> None:
    """A body as long as the limit is served, unpacked."""
    recorder = Recorder()
    body = bytes(300_000)
    sent = {None: body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[encoding]
    lines = [f"Content-Length: {len(sent)}", *([f"Content-Encoding: {encoding}"] if encoding else [])]
    async with HttpServer(aiohttp_app(recorder.serve, max_body_bytes=300_000)) as server:
        await speak(server, head("POST / HTTP/1.1", *lines, LAST) + sent)
    assert [arrived.body for arrived in recorder.arrived] == [body]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_bomb(pack: Callable[[bytes], bytes]) -> None:
    """A few bytes that unpack to many are refused with little memory, and unpacked no further."""
    recorder = Recorder()
    sent = pack(bytes(64 * MIB))
    encoding = "gzip" if pack is gzip.compress else "deflate"
    top = head("POST / HTTP/1.1", f"Content-Length: {len(sent)}", f"Content-Encoding: {encoding}")
    async with HttpServer(aiohttp_app(recorder.serve, max_body_bytes=MIB)) as server:
        tracemalloc.start()
        try:
            said = await speak(server, top, sent)
            assert tracemalloc.get_traced_memory()[1] < 4 * MIB
        finally:
            tracemalloc.stop()
    assert said.startswith(b"HTTP/1.1 413 ")
    assert recorder.arrived == []


@pytest.mark.parametrize(
    "encoding",
    ["br", "zstd", "x-gzip", "gzip, gzip", "deflate, gzip", "gzip\r\nContent-Encoding: gzip", "foo"],
)
async def test_unknown_packing(encoding: str) -> None:
    """A body that is packed in another way than gzip and deflate, or twice, is HTTP 415 and not looked at."""
    recorder = Recorder()
    body = gzip.compress(gzip.compress(bytes(MIB)))
    top = head("POST / HTTP/1.1", f"Content-Length: {len(body)}", f"Content-Encoding: {encoding}")
    async with HttpServer(aiohttp_app(recorder.serve, refuse=recorder.refuse)) as server:
        said = await speak(server, top, body)
    # The first two are refused by aiohttp itself where it cannot unpack them.
    assert said[9:12] == b"415" or (encoding in ("br", "zstd") and said[9:12] == b"400")
    assert recorder.arrived == []


async def test_bomb_within_a_bomb() -> None:
    """What is packed twice and says so once is unpacked once."""
    recorder = Recorder()
    inner = gzip.compress(bytes(64 * MIB))
    sent = gzip.compress(inner)
    top = head("POST / HTTP/1.1", f"Content-Length: {len(sent)}", "Content-Encoding: gzip", LAST)
    async with HttpServer(aiohttp_app(recorder.serve)) as server:
        tracemalloc.start()
        try:
            await speak(server, top, sent)
            assert tracemalloc.get_traced_memory()[1] < 4 * MIB
        finally:
            tracemalloc.stop()
    assert [arrived.body for arrived in recorder.arrived] == [inner]


async def test_flood_of_chunks() -> None:
    """A body in a hundred thousand chunks of one byte takes little more memory than one in one piece."""
    recorder = Recorder()
    chunks = b"1\r\nx\r\n" * 100_000
    top = head("POST / HTTP/1.1", "Transfer-Encoding: chunked", LAST)
    async with HttpServer(aiohttp_app(recorder.serve)) as server:
        tracemalloc.start()
        try:
            await speak(server, top, chunks, b"0\r\n\r\n")
            assert tracemalloc.get_traced_memory()[1] < 16 * MIB
        finally:
            tracemalloc.stop()
    assert [arrived.body for arrived in recorder.arrived] == [b"x" * 100_000]


async def test_body_too_slow() -> None:
    """A body that does not arrive in time is answered with HTTP 408, and the connection is closed at once."""
    recorder = Recorder()
    app = aiohttp_app(recorder.serve, refuse=recorder.refuse, body_timeout=0.1)
    async with HttpServer(app) as server, asyncio.timeout(1.0):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head("PUT /a HTTP/1.1", "Content-Length: 1000"))

        async def drip() -> None:
            while True:
                writer.write(b" ")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        said = await reader.readuntil(b"}")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        dripping.cancel()
        writer.close()
    assert said.startswith(b"HTTP/1.1 408 ")
    assert said.endswith(b'{"status_code": 2000, "status_message": "The body did not arrive in time"}')
    assert recorder.arrived == []


@pytest.mark.parametrize(
    ("line", "body", "status"),
    [
        ("Content-Encoding: gzip", b"{}", 400),
        ("Content-Encoding: deflate", b"\x78junk", 400),
        # In these two aiohttp lets the reader wait, so they count as too slow.
        ("Content-Encoding: deflate", b"{}", 408),
        ("Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n", 408),
    ],
)
async def test_broken_body(line: str, body: bytes, status: int) -> None:
    """A body that cannot be unpacked or put together is refused, and the connection is closed."""
    recorder = Recorder()
    app = aiohttp_app(recorder.serve, refuse=recorder.refuse, body_timeout=0.2)
    lines = [line] if "chunked" in line else [line, f"Content-Length: {len(body)}"]
    async with HttpServer(app) as server:
        said = await speak(server, head("POST / HTTP/1.1", *lines), body, pause=0.02)
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert [error.http_status for error, _ in recorder.refused] == [status]
    assert recorder.arrived == []


async def test_client_that_goes_away(caplog: pytest.LogCaptureFixture) -> None:
    """A client that goes away in the middle of its body is nobody's error."""
    recorder = Recorder()
    caplog.set_level(logging.INFO)
    async with HttpServer(aiohttp_app(recorder.serve, refuse=recorder.refuse)) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head("POST / HTTP/1.1", "Content-Length: 1000") + b"{")
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await asyncio.sleep(0.05)
    assert (recorder.arrived, recorder.refused, caplog.records) == ([], [], [])


async def test_refusal_without_body() -> None:
    """Without `refuse`, the HTTP status says it all."""
    async with HttpServer(aiohttp_app(Recorder().serve, max_body_bytes=1)) as server:
        said = await speak(server, head("POST / HTTP/1.1", "Content-Length: 2", LAST) + b"{}")
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b"\r\n\r\n")


async def test_access_log_is_off(caplog: pytest.LogCaptureFixture) -> None:
    """Serving writes no log, for paths hold the ids of drivers' tokens."""
    caplog.set_level(logging.DEBUG)
    async with HttpServer(aiohttp_app(Recorder().serve)) as server:
        await speak(server, head("GET /ocpi/tokens/canary HTTP/1.1", LAST))
    assert "canary" not in caplog.text


@pytest.mark.parametrize("value", [b"Token canary\x01", b"Token canary" + b"a" * 10_000])
async def test_unreadable_request_is_not_quoted(caplog: pytest.LogCaptureFixture, value: bytes) -> None:
    """A request that is not HTTP is answered with 400, and the log says so without the sender's words."""
    caplog.set_level(logging.DEBUG)
    async with HttpServer(aiohttp_app(Recorder().serve)) as server:
        said = await speak(server, b"GET / HTTP/1.1\r\nAuthorization: " + value + b"\r\n\r\n")
    assert b" 400 Bad Request\r\n" in said
    assert "Error handling request from 127.0.0.1: " in caplog.text
    assert "canary" not in caplog.text


def test_other_errors_stay_in_the_log() -> None:
    """The log filter leaves every other error as it is."""
    record = logging.makeLogRecord({"msg": "m", "exc_info": (ValueError, ValueError("x"), None)})
    assert hide_bad_requests(record)
    assert record.getMessage() == "m"
    assert record.exc_info is not None
    assert hide_bad_requests(logging.makeLogRecord({"msg": "m"}))


async def test_server_tls(opened: Opened) -> None:
    """With a TLS context the server speaks https, and its URL says so."""
    transport = opened(AiohttpTransport(LOCAL, ssl=client_tls()))
    async with HttpServer(aiohttp_app(Recorder().serve), ssl=server_tls("127.0.0.1")) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        assert (await transport.send(HttpRequest(method="GET", url=server.url), timeout=5.0)).status == 200


async def test_server_leaves_no_port_open(opened: Opened) -> None:
    """After its context a server listens no more, and the port can be taken again."""
    transport = opened(AiohttpTransport(LOCAL))
    async with HttpServer(aiohttp_app(Recorder().serve)) as server:
        url, port = server.url, server.port
        assert port != 0
        await transport.send(HttpRequest(method="GET", url=url), timeout=5.0)
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)
    async with HttpServer(aiohttp_app(Recorder().serve), port=port) as server:
        assert server.url == url
        await transport.send(HttpRequest(method="GET", url=url), timeout=5.0)


async def test_port_is_taken() -> None:
    """A server that cannot listen says so, and leaves nothing behind."""
    async with HttpServer(aiohttp_app(Recorder().serve)) as first:
        with pytest.raises(OSError, match="address already in use"):
            await HttpServer(aiohttp_app(Recorder().serve), port=first.port).__aenter__()


@pytest.mark.parametrize(("work", "finished"), [(0.05, True), (60.0, False)])
async def test_shutdown(opened: Opened, work: float, finished: bool) -> None:
    """At its end a server lets requests finish for a moment, then cancels them."""
    began = asyncio.Event()
    outcome: list[str] = []

    async def serve(_request: HttpRequest) -> HttpResponse:
        began.set()
        try:
            await asyncio.sleep(work)
        except asyncio.CancelledError:
            outcome.append("cancelled")
            raise
        outcome.append("finished")
        return HttpResponse(status=200)

    transport = opened(AiohttpTransport(LOCAL))
    async with asyncio.timeout(2.0):
        async with HttpServer(aiohttp_app(serve), shutdown_timeout=0.2) as server:
            sending = asyncio.create_task(
                ended(transport.send(HttpRequest(method="GET", url=server.url), timeout=5.0))
            )
            await began.wait()
        await sending
    assert outcome == ["finished" if finished else "cancelled"]


async def ended(sending: Awaitable[HttpResponse]) -> None:
    """Wait for an exchange, however it ends."""
    await asyncio.gather(sending, return_exceptions=True)
