from __future__ import annotations

import asyncio
import gzip
import io
import os
import socket
import ssl
import struct
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from attrs import Factory, define, evolve
from multidict import CIMultiDict

from ocpi_gireve import __version__
from ocpi_gireve.errors import NoAnswer, NotSent, NotTrusted, OcpiError, UrlRefused
from ocpi_gireve.http import AiohttpTransport, HttpServer, UrlPolicy, aiohttp_app
from ocpi_gireve.transport import HttpRequest, HttpResponse, Transport
from tests.http.support import AUTHORITY, client_tls, load_certificate, load_trust, server_tls

Opened = Callable[[AiohttpTransport], AiohttpTransport]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LOCAL = UrlPolicy(allow_http_loopback=True)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CANARY = "canary-1f0e9a"
MIB = 1024 * 1024


def request(url: str, method: str = "GET", body: bytes = b"") -> HttpRequest:
    """A request with the canary for a token."""
    headers = CIMultiDict({"Authorization": f"Token {CANARY}"})
    return HttpRequest(method=method, url=url, headers=headers, body=body)


@define
class Peer:
    """A partner that talks TCP, and what it heard."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = Factory(list[bytes])
    rest: bytes = b""
    asked: asyncio.Event = Factory(asyncio.Event)

    @property
    def url(self) -> str:
        """Where the peer is."""
        return f"http://127.0.0.1:{self.port}/ocpi"


@asynccontextmanager
async def peer(
    talk: Talk, *, tls: ssl.SSLContext | None = None, greeting: bytes = b""
) -> AsyncGenerator[Peer]:
    """Serve each connection with `talk`, after reading the head of a request and noting it."""
    heard = Peer()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.connections += 1
        serving.add(asyncio.current_task())
        try:
            writer.write(greeting)
            while not writer.is_closing():
                heard.requests.append(await reader.readuntil(b"\r\n\r\n"))
                heard.asked.set()
                await talk(reader, writer)
        except asyncio.IncompleteReadError as error:
            heard.rest += error.partial
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except (OSError, asyncio.CancelledError):
                writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        heard.port = server.sockets[0].getsockname()[1]
        yield heard
        for task in filter(None, serving):
            task.cancel()
        await asyncio.gather(*filter(None, serving))


def says(answer: bytes, *, then: str = "stay") -> Talk:
    """Answer each request with these bytes; then stay, or close or reset the connection."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if then == "reset":
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # A reset may overtake what was written before.
            await asyncio.sleep(0.05)
        if then != "stay":
            writer.close()

    return talk


def answer(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP answer with a length."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


async def silence(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(60)


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer, a byte at a time, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def echo(arrived: HttpRequest) -> HttpResponse:
    """Answer with what arrived."""
    headers = CIMultiDict([("X-Method", arrived.method), ("X-Url", arrived.url), ("Set-Cookie", "a=b")])
    return HttpResponse(status=207, headers=headers, body=arrived.body)


# --- what goes out, what comes in ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
async def test_round_trip(opened: Opened, method: str) -> None:
    """Method, path, query and body arrive; status, headers and body come back."""
    transport: Transport = opened(AiohttpTransport(LOCAL))
    body = b"" if method in ("GET", "DELETE") else b'{"a": "\xc3\xa9"}'
    async with HttpServer(aiohttp_app(echo)) as server:
        got = await transport.send(request(f"{server.url}/a%2Fb/c?x=%20y", method, body), timeout=5.0)
        assert (got.status, got.body) == (207, body)
        assert got.headers["x-method"] == method
        assert got.headers["X-Url"] == "/a%2Fb/c?x=%20y"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", b"", None),
        ("DELETE", b"", "Content-Length: 0"),
        ("POST", b"", "Content-Length: 0"),
        ("POST", b"{}", "Content-Length: 2"),
        ("PATCH", b"{}", "Content-Length: 2"),
    ],
)
async def test_head_of_the_request(opened: Opened, method: str, body: bytes, length: str | None) -> None:
    """The headers given go out, each as often as given, with what HTTP needs and nothing else."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(says(answer(), then="close")) as partner:
        headers = CIMultiDict[str](
            [("authorization", "Token a"), ("X-Request-ID", "1"), ("X-Request-ID", "2")]
        )
        sent = HttpRequest(method=method, url=f"{partner.url}?a=b", headers=headers, body=body)
        await transport.send(sent, timeout=5.0)
        first, *fields = partner.requests[0].decode().rstrip("\r\n").split("\r\n")
        assert first == f"{method} /ocpi?a=b HTTP/1.1"
        assert sorted(fields) == sorted(
            [
                f"Host: 127.0.0.1:{partner.port}",
                "authorization: Token a",
                "X-Request-ID: 1",
                "X-Request-ID: 2",
                "Accept-Encoding: gzip",
                f"User-Agent: ocpi-gireve/{__version__}",
                *([length] if length else []),
            ]
        )


async def test_repeated_headers_come_back(opened: Opened) -> None:
    """A header that the partner repeats is kept each time."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(says(answer(b"", "Link: <1>", "Link: <2>"))) as partner:
        got = await transport.send(request(partner.url), timeout=5.0)
        assert got.headers.getall("link") == ["<1>", "<2>"]


async def test_long_body(opened: Opened) -> None:
    """A body of several megabytes goes out whole, and without a warning."""
    transport = opened(AiohttpTransport(LOCAL))
    body = os.urandom(3 * MIB)
    async with HttpServer(aiohttp_app(echo, max_body_bytes=4 * MIB)) as server:
        got = await transport.send(request(server.url, "POST", body), timeout=5.0)
        assert got.body == body


async def test_connection_is_reused(opened: Opened) -> None:
    """Requests that follow one another share a connection."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(says(answer(b"{}"))) as partner:
        for _ in range(5):
            assert (await transport.send(request(partner.url), timeout=5.0)).body == b"{}"
        assert (partner.connections, len(partner.requests)) == (1, 5)


@pytest.mark.parametrize("status", [*range(300, 309), 399])
@pytest.mark.parametrize("method", METHODS)
async def test_redirect_is_an_answer(opened: Opened, method: str, status: int) -> None:
    """No redirect is followed: neither token nor body goes anywhere else."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(says(answer())) as elsewhere:
        moved = answer(b"", f"Location: {elsewhere.url}", f"URI: {elsewhere.url}", status=f"{status} Moved")
        async with peer(says(moved)) as partner:
            body = b"" if method in ("GET", "DELETE") else b"{}"
            got = await transport.send(request(partner.url, method, body), timeout=5.0)
            assert (got.status, got.headers["Location"]) == (status, elsewhere.url)
            assert (len(partner.requests), elsewhere.connections) == (1, 0)


async def test_nothing_ambient(opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cookie comes back to the partner, and neither proxy settings nor netrc of the environment count."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login user password canary\n", "ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    transport = opened(AiohttpTransport(LOCAL))
    async with (
        peer(says(answer())) as proxy,
        peer(says(answer(b"", "Set-Cookie: a=b; Path=/"))) as partner,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for _ in range(2):
            # A name, for aiohttp keeps no cookie of an address anyway.
            url = partner.url.replace("127.0.0.1", "localhost")
            await transport.send(HttpRequest(method="GET", url=url), timeout=5.0)
        assert (len(partner.requests), proxy.connections) == (2, 0)
        assert b"cookie" not in b"".join(partner.requests).lower()
        assert b"authorization" not in b"".join(partner.requests).lower()


# --- packed and oversized answers ---------------------------------------------------------------------------


def packed(body: bytes, encoding: str = "gzip") -> bytes:
    """An answer whose body is packed as its header says."""
    return answer(body, f"Content-Encoding: {encoding}")


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_gzip_is_unpacked(opened: Opened, encoding: str) -> None:
    """A gzip answer arrives unpacked, in one member or several, without the headers of its packing."""
    transport = opened(AiohttpTransport(LOCAL))
    text = os.urandom(400_000).hex().encode()
    for body in (gzip.compress(text), gzip.compress(text[:7]) + gzip.compress(b"") + gzip.compress(text[7:])):
        async with peer(says(packed(body, encoding))) as partner:
            got = await transport.send(request(partner.url), timeout=5.0)
            assert got.body == text
            assert not {"Content-Encoding", "Content-Length"} & set(got.headers)


@pytest.mark.parametrize("encoding", ["gzip", "identity", ""])
async def test_empty_answer(opened: Opened, encoding: str) -> None:
    """An answer without a body has no packing to be complete."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(says(packed(b"", encoding))) as partner:
        assert (await transport.send(request(partner.url), timeout=5.0)).body == b""


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (zlib.compress(b"{}"), "deflate", "packed its answer in a way that was not asked for"),
        (b"{}", "br", "packed its answer in a way that was not asked for"),
        (
            gzip.compress(gzip.compress(b"{}")),
            "gzip, gzip",
            "packed its answer in a way that was not asked for",
        ),
        (b"{}", "gzip", "cannot be unpacked"),
        (gzip.compress(b"{}") + b"junk", "gzip", "cannot be unpacked"),
        (gzip.compress(b"{}")[:-1], "gzip", "cut off"),
        (gzip.compress(b"{}")[:5], "gzip", "cut off"),
        (gzip.compress(b"{}")[:-8] + bytes(8), "gzip", "cannot be unpacked"),
    ],
)
async def test_bad_packing(opened: Opened, body: bytes, encoding: str, reason: str) -> None:
    """An answer that cannot be unpacked to its end is no answer."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(says(packed(body, encoding))) as partner:
        with pytest.raises(NoAnswer, match=reason) as caught:
            await transport.send(request(partner.url), timeout=5.0)
        assert not isinstance(caught.value, NotSent)


ZEROS = gzip.compress(bytes(10 * MIB), 9)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(bytes(64 * MIB), 9), ZEROS * 30, gzip.compress(b"") * 100_000],
    ids=["one member", "many members", "nothing, often"],
)
async def test_gzip_bomb(opened: Opened, body: bytes) -> None:
    """Reading stops at the cap, however much an answer would unpack to."""
    transport = opened(AiohttpTransport(LOCAL, max_answer_bytes=MIB // 4))
    async with peer(says(packed(body))) as partner:
        tracemalloc.start()
        try:
            with pytest.raises(NoAnswer, match="longer than 262144 bytes"):
                await transport.send(request(partner.url), timeout=10.0)
            # Both sides run in this process.
            assert tracemalloc.get_traced_memory()[1] < 4 * MIB
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("pack", [False, True])
async def test_cap_is_exact(opened: Opened, pack: bool) -> None:
    """An answer as long as the cap is read, one byte more is not."""
    transport = opened(AiohttpTransport(LOCAL, max_answer_bytes=100_000))
    for size in (100_000, 100_001):
        body = bytes(size)
        async with peer(says(packed(gzip.compress(body)) if pack else answer(body))) as partner:
            if size == 100_000:
                assert (await transport.send(request(partner.url), timeout=5.0)).body == body
            else:
                with pytest.raises(NoAnswer, match="longer than 100000 bytes"):
                    await transport.send(request(partner.url), timeout=5.0)


@pytest.mark.parametrize("longest", [1000, 100_000])
async def test_cap_of_one_request(opened: Opened, longest: int) -> None:
    """A request may take less than its transport does, and not more."""
    transport = opened(AiohttpTransport(LOCAL, max_answer_bytes=2000))
    async with peer(says(answer(bytes(2001)))) as partner:
        asked = evolve(request(partner.url), longest_answer=longest)
        with pytest.raises(NoAnswer, match=f"longer than {min(longest, 2000)} bytes"):
            await transport.send(asked, timeout=5.0)


async def test_unpacking_lets_others_run(opened: Opened) -> None:
    """A long answer is unpacked in steps, between which the event loop does other things."""
    transport = opened(AiohttpTransport(LOCAL))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with peer(says(packed(ZEROS))) as partner:
        counting = asyncio.create_task(count())
        await transport.send(request(partner.url), timeout=5.0)
        counting.cancel()
    assert turns >= 10 * MIB // (256 * 1024)


# --- no answer ----------------------------------------------------------------------------------------------

CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
CUT_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"
BAD_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"
FAULTS: dict[str, Talk] = {
    "closed at once": says(b"", then="close"),
    "reset at once": says(b"", then="reset"),
    "closed in the headers": says(CUT_OFF[:20], then="close"),
    "closed in the body": says(CUT_OFF, then="close"),
    "reset in the headers": says(CUT_OFF[:20], then="reset"),
    "reset in the body": says(CUT_OFF, then="reset"),
    "closed in a chunk": says(CUT_CHUNK, then="close"),
    "reset in a chunk": says(CUT_CHUNK, then="reset"),
    "a chunk without a size": says(BAD_CHUNK),
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
    "not HTTP": says(b"220 mail.example ESMTP\r\n\r\n"),
    "no text at all": says(bytes(range(256)) * 4 + b"\r\n\r\n"),
    "an endless header": says(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000),
    "stopped in the body": says(CUT_OFF),
    "silent": silence,
    "dripping": drip,
}


@pytest.mark.parametrize("talk", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_no_answer(opened: Opened, talk: Talk, method: str) -> None:
    """What goes wrong once bytes may have left is `NoAnswer`, in time, after one request."""
    transport = opened(AiohttpTransport(LOCAL))
    body = b"{}" if method == "PUT" else b""
    async with peer(talk) as partner:
        started = time.monotonic()
        failed = await failure(transport, request(partner.url, method, body), timeout=0.3)
        assert time.monotonic() - started < 1.5
        assert type(failed) is NoAnswer
        assert len(partner.requests) == 1
        assert_no_canary(failed)


async def test_read_timeout(opened: Opened) -> None:
    """An answer that pauses for longer than `read_timeout` is given up before the whole time is over."""
    transport = opened(AiohttpTransport(LOCAL, read_timeout=0.1))
    for talk in (silence, says(CUT_OFF)):
        async with peer(talk) as partner:
            failed = await failure(transport, request(partner.url), timeout=5.0)
            assert (type(failed), str(failed)) == (NoAnswer, "it sent nothing for too long")


async def test_partner_that_does_not_read(opened: Opened) -> None:
    """A request that the partner does not take in ends in time."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(silence) as partner:
        failed = await failure(transport, request(partner.url, "POST", bytes(32 * MIB)), timeout=0.3)
        assert type(failed) is NoAnswer


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_dead_connection_is_not_retried(opened: Opened, method: str, then: str) -> None:
    """A request on a reused connection that breaks is sent once, and its fate is unknown."""
    transport = opened(AiohttpTransport(LOCAL))
    turn = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        await (says(answer()) if turn == 1 else says(b"", then=then))(reader, writer)

    async with peer(talk) as partner:
        await transport.send(request(partner.url), timeout=5.0)
        failed = await failure(transport, request(partner.url, method), timeout=5.0)
        assert type(failed) is NoAnswer
        assert (partner.connections, len(partner.requests)) == (1, 2)
        assert_no_canary(failed)


async def test_cancelled(opened: Opened) -> None:
    """A caller that is cancelled gets its cancellation, and the connection is closed."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(silence) as partner:
        sending = asyncio.create_task(transport.send(request(partner.url), timeout=5.0))
        await partner.asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


# --- not sent -----------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def test_connection_refused(opened: Opened) -> None:
    """Where nobody listens, nothing was sent."""
    transport = opened(AiohttpTransport(LOCAL))
    failed = await failure(transport, request(f"http://127.0.0.1:{free_port()}/", "POST", b"{}"), timeout=5.0)
    assert type(failed) is NotSent
    assert str(failed).startswith("no connection: ")
    assert_no_canary(failed)


async def test_unknown_name(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the name of the host is unknown, nothing was sent."""

    async def resolve(*_: object, **__: object) -> list[object]:
        await asyncio.sleep(0)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    transport = opened(AiohttpTransport())
    failed = await failure(transport, request("https://hub.example/"), timeout=5.0)
    assert (type(failed), str(failed)) == (
        NotSent,
        "its host name was not found: Name or service not known",
    )
    assert_no_canary(failed)


@pytest.mark.parametrize(("connect", "total"), [(0.2, 5.0), (5.0, 0.2)])
async def test_connection_takes_too_long(opened: Opened, connect: float, total: float) -> None:
    """Where no connection stands in time, be it the connection's or the whole, nothing was sent."""
    transport = opened(AiohttpTransport(LOCAL, connect_timeout=connect))
    async with peer(silence) as partner:
        # It accepts, and lets the TLS handshake wait.
        url = partner.url.replace("http:", "https:")
        failed = await failure(transport, request(url), timeout=total)
        assert (type(failed), str(failed)) == (NotSent, "no connection in time")
        assert_no_canary(failed)


async def test_no_connection_is_free(opened: Opened) -> None:
    """A request that waits in vain for one of the pool's connections was not sent."""
    transport = opened(AiohttpTransport(LOCAL, connections=1, connect_timeout=0.1))
    async with peer(silence) as partner:
        first = asyncio.create_task(failure(transport, request(partner.url), timeout=0.5))
        await asyncio.sleep(0.05)
        assert type(await failure(transport, request(partner.url), timeout=5.0)) is NotSent
        assert type(await first) is NoAnswer
        assert len(partner.requests) == 1


@pytest.mark.parametrize(("name", "value"), [("X-Request-ID", "a\r\nHost: b"), ("X\n", "a"), ("X", "\0")])
async def test_line_break_in_a_header(opened: Opened, name: str, value: str) -> None:
    """A header that would be two is not sent, and not shown."""
    transport = opened(AiohttpTransport(LOCAL))
    async with peer(says(answer())) as partner:
        headers = CIMultiDict({name: value})
        with pytest.raises(NotSent, match="a header of the request holds a line break"):
            await transport.send(HttpRequest(method="GET", url=partner.url, headers=headers), timeout=5.0)
        assert partner.connections == 0


async def test_refused_url(opened: Opened) -> None:
    """A URL outside the policy is refused, which without a policy is all that is not public https."""
    transport = opened(AiohttpTransport())
    async with peer(says(answer())) as partner:
        for url in (partner.url, f"https://127.0.0.1:{partner.port}/", f"https://localhost:{partner.port}/"):
            failed = await failure(transport, request(f"{url}?{CANARY}"), timeout=5.0)
            assert type(failed) is UrlRefused
            assert_no_canary(failed)
        assert partner.connections == 0


# --- TLS ----------------------------------------------------------------------------------------------------


async def test_tls(opened: Opened) -> None:
    """A partner whose certificate is trusted is called over TLS."""
    transport = opened(AiohttpTransport(LOCAL, ssl=client_tls()))
    async with HttpServer(aiohttp_app(echo), ssl=server_tls("127.0.0.1")) as server:
        got = await transport.send(request(f"{server.url}/ocpi", "POST", b"{}"), timeout=5.0)
        assert (got.status, got.body) == (207, b"{}")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (server_tls("127.0.0.1"), None),
        (server_tls("127.0.0.1", authority=trustme.CA()), client_tls()),
        (server_tls("hub.example"), client_tls()),
        (server_tls("127.0.0.1", expired=True), client_tls()),
    ],
    ids=["default trust", "another authority", "another name", "expired"],
)
async def test_untrusted_certificate(
    opened: Opened, theirs: ssl.SSLContext, ours: ssl.SSLContext | None
) -> None:
    """A partner that TLS does not vouch for gets not one byte of the request."""
    transport = opened(AiohttpTransport(LOCAL, ssl=ours))
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with peer(says(answer()), tls=theirs) as partner:
        url = partner.url.replace("http:", "https:")
        failed = await failure(transport, request(url, "POST", b"{}"), timeout=5.0)
        assert type(failed) is NotTrusted
        assert str(failed).startswith("its certificate is not trusted: ")
        assert_no_canary(failed)
    assert (partner.requests, partner.rest) == ([], b"")


async def test_partner_without_tls(opened: Opened) -> None:
    """A partner that answers https without TLS gets nothing."""
    transport = opened(AiohttpTransport(LOCAL, ssl=client_tls()))
    async with peer(silence, greeting=answer()) as partner:
        failed = await failure(transport, request(partner.url.replace("http:", "https:")), timeout=5.0)
        assert type(failed) is NotSent
        assert str(failed).startswith("no TLS connection")
    assert partner.requests == []
    assert b"HTTP" not in partner.rest
    assert CANARY.encode() not in partner.rest


async def test_client_certificate(opened: Opened) -> None:
    """A partner that asks for a client certificate gets the one of the TLS context."""
    tls = server_tls("127.0.0.1")
    tls.verify_mode = ssl.CERT_REQUIRED
    load_trust(tls)
    context = client_tls()
    load_certificate(context, AUTHORITY.issue_cert("cpo.example"))
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with HttpServer(aiohttp_app(echo), ssl=tls) as server:
        known = opened(AiohttpTransport(LOCAL, ssl=context))
        assert (await known.send(request(server.url), timeout=5.0)).status == 207
        # TLS 1.3 refuses a client after the client has begun to send.
        unknown = opened(AiohttpTransport(LOCAL, ssl=client_tls()))
        assert isinstance(await failure(unknown, request(server.url), timeout=5.0), NoAnswer)


def test_context_that_does_not_verify() -> None:
    """A TLS context that does not verify certificate and name, or allows old TLS, is refused at once."""
    no_name = client_tls()
    no_name.check_hostname = False
    nothing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nothing.check_hostname = False
    nothing.verify_mode = ssl.CERT_NONE
    optional = client_tls()
    optional.verify_mode = ssl.CERT_OPTIONAL
    old = client_tls()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    for context in (no_name, nothing, optional, old, server_tls("hub.example")):
        with pytest.raises(ValueError, match="the TLS context"):
            AiohttpTransport(ssl=context)


# --- the end ------------------------------------------------------------------------------------------------


async def test_close(opened: Opened) -> None:
    """Closing ends what is under way, gives back every connection, and lets nothing be sent afterwards."""
    transport = opened(AiohttpTransport(LOCAL))
    gone = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    async with peer(watch) as partner:
        waiting = asyncio.create_task(failure(transport, request(partner.url), timeout=5.0))
        await partner.asked.wait()
        await transport.close()
        assert type(await waiting) is NoAnswer
        await asyncio.wait_for(gone.wait(), 1.0)
        with pytest.raises(NotSent, match="closed"):
            await transport.send(request(partner.url), timeout=5.0)
        await transport.close()
        assert partner.connections == 1


async def test_close_unused() -> None:
    """A transport that was never used has nothing to close."""
    await AiohttpTransport().close()


async def failure(transport: AiohttpTransport, sent: HttpRequest, *, timeout: float) -> OcpiError:
    """The error that sending ends in."""
    with pytest.raises(OcpiError) as caught:
        await transport.send(sent, timeout=timeout)
    return caught.value


def assert_no_canary(error: OcpiError) -> None:
    """Neither the error, nor anything chained to it, nor the traceback in a log, shows the token."""
    assert error.__cause__ is None
    assert error.__context__ is None
    printed = io.StringIO()
    traceback.print_exception(error, file=printed, chain=True)
    assert CANARY not in repr(error) + str(error) + repr(vars(error)) + printed.getvalue()
