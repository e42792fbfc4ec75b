from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from multidict import CIMultiDict
from starlette.applications import Starlette
from starlette.routing import Mount

from ocpi_gireve.errors import StatusError
from ocpi_gireve.http import AsgiApplication, AsgiMessage, asgi_app
from ocpi_gireve.transport import HttpRequest, HttpResponse

MIB = 1024 * 1024


class Recorder:
    """A server function that notes what arrives, what is refused, and each start and stop."""

    def __init__(self) -> None:
        self.arrived: list[HttpRequest] = []
        self.refused: list[StatusError] = []
        self.started = self.stopped = 0

    async def serve(self, request: HttpRequest) -> HttpResponse:
        self.arrived.append(request)
        headers = CIMultiDict[str]([("Content-Type", "application/json"), ("X-Two", "1"), ("X-Two", "2")])
        return HttpResponse(status=200, headers=headers, body=b'{"a":1}')

    def refuse(self, error: StatusError, request: HttpRequest) -> HttpResponse:
        assert request.body == b""
        self.refused.append(error)
        return HttpResponse(status=error.http_status, body=error.message.encode())

    async def start(self) -> None:
        self.started += 1

    async def stop(self) -> None:
        self.stopped += 1

    def app(self, *, max_body_bytes: int = MIB, body_timeout: float = 30.0) -> AsgiApplication:
        return asgi_app(
            self.serve,
            start=self.start,
            stop=self.stop,
            refuse=self.refuse,
            max_body_bytes=max_body_bytes,
            body_timeout=body_timeout,
        )


class Server(uvicorn.Server):
    """A uvicorn that says when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def served(app: object) -> AsyncGenerator[int]:
    """Serve an application by uvicorn on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="on", log_level=logging.CRITICAL)  # type: ignore[arg-type]  # any ASGI
    server = Server(config)
    with listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.up.wait()
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


async def speak(port: int, *sent: bytes) -> bytes:
    """Send bytes on a new connection, and return all that comes back until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 5.0)
    finally:
        writer.close()
        await writer.wait_closed()


def head(*lines: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([*lines, "Host: test", "Connection: close", "", ""]).encode()


async def test_request_and_answer_pass_as_they_are() -> None:
    """Method, raw path, query, repeated headers and body arrive as sent, and so does the answer."""
    recorder = Recorder()
    async with served(recorder.app()) as port:
        answer = await speak(
            port,
            head(
                "PATCH /a%2Fb/c?d=%20e HTTP/1.1",
                "OCPI-to-party-id: X",
                "OCPI-to-party-id: Y",
                "Content-Length: 2",
            ),
            b"{}",
        )
    (arrived,) = recorder.arrived
    assert (arrived.method, arrived.url, arrived.body) == ("PATCH", "/a%2Fb/c?d=%20e", b"{}")
    assert arrived.headers.getall("OCPI-to-party-id") == ["X", "Y"]
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 200")
    assert top.lower().count(b"x-two:") == 2
    assert body == b'{"a":1}'


async def test_mounted_application_sees_the_whole_path() -> None:
    """Below a mount, the path is still the one of the request line."""
    recorder = Recorder()
    async with served(Starlette(routes=[Mount("/ocpi", recorder.app())])) as port:
        await speak(port, head("GET /ocpi/versions HTTP/1.1"))
    assert [request.url for request in recorder.arrived] == ["/ocpi/versions"]


async def test_starts_and_stops_with_the_server() -> None:
    """The server's start and stop reach the one who serves, even without a request."""
    recorder = Recorder()
    async with served(recorder.app()):
        assert recorder.started == 1
    assert recorder.stopped == 1


async def test_starts_with_the_first_request_otherwise() -> None:
    """Mounted where the start does not come through, the first request starts it."""
    recorder = Recorder()
    async with served(Starlette(routes=[Mount("/", recorder.app())])) as port:
        assert recorder.started == 0
        await speak(port, head("GET /versions HTTP/1.1"))
    assert recorder.started >= 1


async def test_failed_start_ends_the_server() -> None:
    """A start that fails is told to the server, without its text, and raised for its log."""

    async def fail() -> None:
        raise RuntimeError("disk of token-of-a-partner is full")

    sent: list[AsgiMessage] = []

    async def receive() -> AsgiMessage:
        return {"type": "lifespan.startup"}

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    app = asgi_app(Recorder().serve, start=fail)
    with pytest.raises(RuntimeError):
        await app({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "RuntimeError"}]


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        (["Content-Length: 2000"], b"", b"413"),
        (["Transfer-Encoding: chunked"], b"7d0\r\n" + bytes(2000) + b"\r\n0\r\n\r\n", b"413"),
        (["Content-Encoding: gzip"], gzip.compress(bytes(MIB)), b"413"),
        (["Content-Encoding: gzip"], gzip.compress(b"{}")[:-3], b"400"),
        (["Content-Encoding: deflate"], b"{}", b"400"),
        (["Content-Encoding: br"], b"{}", b"415"),
        (["Content-Encoding: gzip, gzip"], b"{}", b"415"),
    ],
)
async def test_body_that_cannot_be_used(lines: list[str], body: bytes, status: bytes) -> None:
    """A body too long, broken, or packed in an unknown way is refused before anybody serves it."""
    recorder = Recorder()
    if not any("Length" in line or "chunked" in line for line in lines):
        lines = [*lines, f"Content-Length: {len(body)}"]
    async with served(recorder.app(max_body_bytes=1000)) as port:
        answer = await speak(port, head("POST /a HTTP/1.1", *lines), body)
    assert answer.split(b" ", 2)[1] == status
    assert recorder.arrived == []
    assert len(recorder.refused) == 1


async def test_packed_body_is_unpacked() -> None:
    """A body in gzip is served unpacked."""
    recorder = Recorder()
    packed = gzip.compress(b'{"id": 1}')
    async with served(recorder.app()) as port:
        await speak(
            port, head("POST /a HTTP/1.1", "Content-Encoding: gzip", f"Content-Length: {len(packed)}"), packed
        )
    assert [request.body for request in recorder.arrived] == [b'{"id": 1}']


async def test_slow_body_is_cut_off() -> None:
    """A body that does not arrive in time is answered 408."""
    recorder = Recorder()
    async with served(recorder.app(body_timeout=0.05)) as port:
        answer = await speak(port, head("POST /a HTTP/1.1", "Content-Length: 10"), b"{")
    assert answer.startswith(b"HTTP/1.1 408")
    assert recorder.arrived == []


async def test_client_that_goes_away() -> None:
    """A client that leaves in the middle of its body is no error, and nothing is served."""
    recorder, sent = Recorder(), list[AsgiMessage]()
    events: list[AsgiMessage] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> AsgiMessage:
        return events.pop(0)

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    scope: AsgiMessage = {"type": "http", "method": "POST", "path": "/a b", "headers": []}
    await recorder.app()(scope, receive, send)
    assert (sent, recorder.arrived) == ([], [])


async def test_websocket_is_refused() -> None:
    """OCPI knows no websockets: the opening is turned down."""
    sent: list[AsgiMessage] = []

    async def receive() -> AsgiMessage:
        return {"type": "websocket.connect"}

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    await Recorder().app()({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close"}]
