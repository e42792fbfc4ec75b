"""Carries requests to partners with aiohttp; knows nothing of OCPI.

What aiohttp would do on its own and must not do here:

- *Send a request twice.* When a reused connection turns out to be dead, aiohttp sends a GET, PUT or DELETE
  again without saying so. The partner may have acted on the first one, which may still arrive, even after a
  later change. So such a request ends in `NoAnswer`, whatever its method, and the caller decides.
- *Follow redirects.* It would post the body, which may hold a token, to wherever the partner says. A 3xx is
  an answer like any other.
- *Read without bound.* 300 kB of gzip can be 300 MB of text. `max_answer_bytes` counts what comes out.
- *Show headers.* Its exceptions hold the request's headers, so none of them is chained to ours.
"""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from functools import cache
from io import BytesIO
from ipaddress import ip_address
from socket import socket
from ssl import CERT_REQUIRED, SSLCertVerificationError, SSLContext, TLSVersion, create_default_context
from types import SimpleNamespace

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    SocketTimeoutError,
    TCPConnector,
    TraceConfig,
)
from attrs import define
from multidict import CIMultiDict

from .._version import __version__
from ..errors import NoAnswer, NotSent, NotTrusted, UrlRefused
from ..transport import HttpRequest, HttpResponse
from ._packing import CannotUnpackError, TooLongError, Unpacker
from .urls import UrlPolicy

_USER_AGENT = f"ocpi-gireve/{__version__}"
_MIB = 1024 * 1024
# As `socket.getaddrinfo()` gives it; the address itself is the first of the last.
_AddressInfo = tuple[int, int, int, str, tuple[str | int, ...]]
_LINE_BREAK = re.compile(r"[\x00\r\n]")

# What went wrong, in words. Whether the request may have left is a fact of its own: see `_Attempt.connected`.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ClientConnectorDNSError, "its host name was not found"),
    (ClientConnectorCertificateError, "its certificate is not trusted"),
    (ClientConnectorSSLError, "no TLS connection"),
    (ClientConnectorError, "no connection"),
    (ServerDisconnectedError, "it closed the connection before it answered"),
    (SocketTimeoutError, "it sent nothing for too long"),
    (ClientPayloadError, "its answer was cut off"),
    (ClientResponseError, "its answer is not HTTP"),
    (TimeoutError, "no complete answer in time"),
    (OSError, "the connection broke"),
)


@define
class _Attempt:
    """What happened to one request so far.

    Attributes:
        plain: It goes without TLS, so it may not leave this machine.
        connected: A connection was given to the request; from then on, bytes may have left.
        dialled: An address that is allowed was tried.
        refused: An address that is not allowed was left out.
        untrusted: TLS did not vouch for the partner.
    """

    plain: bool
    connected: bool = False
    dialled: bool = False
    refused: bool = False
    untrusted: bool = False


class _Failed(Exception):
    """The exchange failed; the text says why, and is the reason that the caller reads."""


# aiohttp hands our hooks no more than an address or a session: this tells them whose request it is.
_attempt: ContextVar[_Attempt] = ContextVar("attempt")


class AiohttpTransport:
    """A pool of connections to one partner, verified by TLS.

    Args:
        policy: Which URLs and addresses may be called; by default every public https URL.
        ssl: The TLS context, such as one with a client certificate; by default one that trusts the system's
            certificate authorities. `load_cert_chain()` on it takes effect with the next connection.
        connect_timeout: Seconds until a connection must stand, the wait for a free one included.
        read_timeout: Seconds that an answer may pause.
        max_answer_bytes: The longest body accepted, after unpacking.
        connections: How many connections may be open at a time.

    Raises:
        ValueError: the TLS context does not verify the partner, or allows less than TLS 1.2.
    """

    def __init__(
        self,
        policy: UrlPolicy | None = None,
        *,
        ssl: SSLContext | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 30.0,
        max_answer_bytes: int = 16 * _MIB,
        connections: int = 32,
    ) -> None:
        if ssl is not None:
            _require_verification(ssl)
        self._policy = policy or UrlPolicy()
        self._ssl = ssl
        self._timeout = ClientTimeout(connect=connect_timeout, sock_read=read_timeout)
        self._max_answer_bytes = max_answer_bytes
        self._connections = connections
        self._session: ClientSession | None = None
        self._closed = False

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """Carry one request, at most once, and return the complete answer; see `Transport.send`.

        The answer's body comes unpacked, and without the headers of its packing.
        """
        url = self._policy.check(request.url, "request")
        if self._closed:
            raise NotSent("the transport is closed")
        for name, value in request.headers.items():
            if _LINE_BREAK.search(name) or _LINE_BREAK.search(value):
                raise NotSent("a header of the request holds a line break")
        headers = CIMultiDict(request.headers)
        headers["Accept-Encoding"] = "gzip"
        headers.setdefault("User-Agent", _USER_AGENT)
        # aiohttp warns about longer bytes, which it writes in one go.
        body = BytesIO(request.body) if len(request.body) > _MIB else request.body or None

        attempt = _Attempt(plain=url.scheme == "http")
        token = _attempt.set(attempt)
        try:
            async with asyncio.timeout(timeout):
                response = await self._opened().request(
                    request.method, url, headers=headers, data=body, allow_redirects=False
                )
                try:
                    return await _read(response, self._longest(request))
                finally:
                    # Gives the connection back if the answer was read to its end, and ends it otherwise.
                    response.release()
        except (ClientError, OSError, _Failed) as error:
            reason = _reason(error)
            if isinstance(error, TimeoutError) and not attempt.connected:
                reason = "no connection in time"
        finally:
            _attempt.reset(token)
        # Raised here, not above: an error raised while another is handled keeps that one as its context.
        if attempt.connected:
            raise NoAnswer(reason)
        if attempt.refused and not attempt.dialled:
            raise UrlRefused("request", f"no address of {url.raw_host} may be called")
        raise NotTrusted(reason) if attempt.untrusted else NotSent(reason)

    async def close(self) -> None:
        """Give back every connection. Requests under way end in `NoAnswer`, later ones in `NotSent`."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> ClientSession:
        if self._session is None:
            trace = TraceConfig()
            trace.on_connection_create_end.append(_note_connected)
            trace.on_connection_reuseconn.append(_note_connected)
            self._session = ClientSession(
                connector=TCPConnector(
                    ssl=self._ssl or _default_context(),
                    limit=self._connections,
                    socket_factory=self._make_socket,
                ),
                timeout=self._timeout,
                cookie_jar=DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("Accept", "Content-Type"),
                middlewares=(_send_once,),
                trace_configs=[trace],
            )
        return self._session

    def _make_socket(self, address: _AddressInfo) -> socket:
        """Make the socket for one address of a host, if the address may be connected to.

        This is the one place that no name, spelling or change of the DNS gets around.
        """
        family, kind, protocol, _, place = address
        attempt = _attempt.get()
        ip = ip_address(str(place[0]))
        if not self._policy.address_allowed(ip) or (attempt.plain and not ip.is_loopback):
            attempt.refused = True
            raise OSError("this address may not be called")
        attempt.dialled = True
        return socket(family, kind, protocol)

    def _longest(self, request: HttpRequest) -> int:
        asked = request.longest_answer
        return self._max_answer_bytes if asked is None else min(asked, self._max_answer_bytes)


async def _read(response: ClientResponse, longest: int) -> HttpResponse:
    headers = CIMultiDict(response.headers)
    packing = headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", "", "gzip", "x-gzip"):
        raise _Failed("it packed its answer in a way that was not asked for")
    if packing in ("identity", ""):
        body = await _as_it_is(response, longest)
    else:
        body = await _unpacked(response, longest, packing)
        headers.popall("Content-Encoding", None)
        headers.popall("Content-Length", None)
    return HttpResponse(status=response.status, headers=headers, body=body)


async def _as_it_is(response: ClientResponse, longest: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > longest:
            raise _Failed(f"its answer is longer than {longest} bytes")
    return b"".join(parts)


async def _unpacked(response: ClientResponse, longest: int, packing: str) -> bytes:
    unpacker = Unpacker(packing, longest)
    parts: list[bytes] = []
    try:
        async for chunk in response.content.iter_any():
            for piece in unpacker.feed(chunk):
                parts.append(piece)
                await asyncio.sleep(0)
        parts.append(unpacker.end())
    except TooLongError as wrong:
        raise _Failed(f"its answer is {wrong}") from None
    except CannotUnpackError as wrong:
        raise _Failed(f"its answer cannot be unpacked: {wrong}") from None
    return b"".join(parts)


async def _send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from repeating a request on a new connection, by an error that it does not know."""
    try:
        return await handler(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        _attempt.get().untrusted = isinstance(error, ClientConnectorCertificateError)
        failed = _Failed(_reason(error))
    raise failed


async def _note_connected(_session: ClientSession, _context: SimpleNamespace, _params: object) -> None:
    _attempt.get().connected = True


def _reason(error: Exception) -> str:
    """Say what went wrong, with the detail that the operating system or OpenSSL gives, and nothing else."""
    if isinstance(error, _Failed):
        return str(error)
    words = next((words for kind, words in _REASONS if isinstance(error, kind)), "the exchange failed")
    detail: str | None = None
    if isinstance(error, ClientConnectorCertificateError):
        cause = error.certificate_error
        detail = cause.verify_message if isinstance(cause, SSLCertVerificationError) else None
    elif isinstance(error, ClientConnectorError):
        detail = error.os_error.strerror
    return f"{words}: {detail}" if detail else words


def _require_verification(context: SSLContext) -> None:
    if context.verify_mode != CERT_REQUIRED or not context.check_hostname:
        raise ValueError("the TLS context does not verify the partner's certificate and host name")
    if context.minimum_version < TLSVersion.TLSv1_2:
        raise ValueError("the TLS context allows less than TLS 1.2")


@cache
def _default_context() -> SSLContext:
    context = create_default_context()
    context.minimum_version = TLSVersion.TLSv1_2
    return context
