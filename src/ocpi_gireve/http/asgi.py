"""Serves HTTP behind any ASGI server, alone or mounted in a host's application; knows nothing of OCPI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Protocol, TypeAlias, cast
from urllib.parse import quote

from attrs import evolve
from multidict import CIMultiDict

from ..errors import ClientError, MalformedMessage, MessageTooLarge, StatusError
from ..transport import HttpRequest, HttpResponse
from ._packing import PACKINGS, CannotUnpackError, TooLongError, Unpacker
from .aiohttp_server import refuse_without_body
from .certificates import KeyFromProxy

AsgiMessage: TypeAlias = MutableMapping[str, object]
"""One event of ASGI."""
AsgiReceive: TypeAlias = Callable[[], Awaitable[AsgiMessage]]
AsgiSend: TypeAlias = Callable[[AsgiMessage], Awaitable[None]]

_MIB = 1024 * 1024


class AsgiApplication(Protocol):
    """What an ASGI server runs, and what Starlette, FastAPI or a dispatcher of one's own mounts."""

    async def __call__(self, scope: AsgiMessage, receive: AsgiReceive, send: AsgiSend) -> None:
        """Serve one connection."""
        ...


async def nothing() -> None:
    """Start, or stop, nothing."""


def asgi_app(
    serve: Callable[[HttpRequest], Awaitable[HttpResponse]],
    *,
    start: Callable[[], Awaitable[None]] = nothing,
    stop: Callable[[], Awaitable[None]] = nothing,
    refuse: Callable[[StatusError, HttpRequest], HttpResponse] = refuse_without_body,
    max_body_bytes: int = _MIB,
    body_timeout: float = 30.0,
    key_from_proxy: KeyFromProxy | None = None,
) -> AsgiApplication:
    """An ASGI application that hands every request to one function.

    `serve` sees path and query as they stand in the request line, whatever the application is mounted at.

    Args:
        serve: What answers, usually `Platform.handle`. It turns errors into answers itself.
        start: Called when the server starts, and before each request, because an application that mounts
            this one may keep the start to itself. It must do nothing where it has been done.
        stop: Called when the server stops.
        refuse: What answers a request that `serve` cannot get, because its body is too long (HTTP 413), too
            slow (408), broken (400) or packed in an unknown way (415). It is given the error and the request
            without the body.
        max_body_bytes: The longest body accepted, after unpacking.
        body_timeout: Seconds within which the whole body must arrive.
        key_from_proxy: Where a proxy ends TLS: what reads the client's key of the headers that it sets.
            ASGI itself does not pass a client's certificate on.
    """

    async def application(scope: AsgiMessage, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send, start, stop)
            return
        if scope["type"] != "http":
            # "websocket.close" before an accept is answered with HTTP 403.
            await send({"type": "websocket.close"})
            return
        request = _request(scope)
        try:
            body = await _read(request.headers, receive, max_body_bytes, body_timeout)
        except StatusError as error:
            await _answer(send, refuse(error, request), close=True)
            return
        except _GoneError:
            return
        await start()
        key = key_from_proxy(request.headers) if key_from_proxy else ""
        await _answer(send, await serve(evolve(request, body=body, client_key=key)))

    return application


class _GoneError(Exception):
    """The client went away: nobody reads an answer."""


async def _live(
    receive: AsgiReceive,
    send: AsgiSend,
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> None:
    await receive()
    try:
        await start()
    except Exception as error:
        # The server ends with this message; what failed is raised too, for its log.
        await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
        raise
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await stop()
    await send({"type": "lifespan.shutdown.complete"})


def _request(scope: AsgiMessage) -> HttpRequest:
    headers = CIMultiDict(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in cast("list[tuple[bytes, bytes]]", scope["headers"])
    )
    raw = scope.get("raw_path")
    # Without the raw path, what was percent-encoded and what was not cannot be told apart any more.
    path = raw.decode("latin-1") if isinstance(raw, bytes) and raw else quote(cast("str", scope["path"]))
    query = cast("bytes", scope.get("query_string", b"")).decode("latin-1")
    url = f"{path}?{query}" if query and "?" not in path else path
    return HttpRequest(method=cast("str", scope["method"]), url=url, headers=headers)


async def _read(headers: CIMultiDict[str], receive: AsgiReceive, limit: int, seconds: float) -> bytes:
    packing = headers.get("Content-Encoding", "").strip().lower()
    if packing in ("", "identity"):
        unpacker = None
    elif packing in PACKINGS:
        unpacker = Unpacker(packing, limit)
    else:
        raise ClientError(f"expected a body that is packed as {' or '.join(PACKINGS)}", http_status=415)
    too_large = MessageTooLarge(f"{MessageTooLarge.text}: at most {limit} bytes are accepted")
    length = headers.get("Content-Length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                chunk = cast("bytes", message.get("body", b""))
                more = bool(message.get("more_body", False))
                if unpacker is None:
                    body += chunk
                    if len(body) > limit:
                        raise too_large
                else:
                    for piece in unpacker.feed(chunk):
                        body += piece
                        await asyncio.sleep(0)
            if unpacker is not None:
                body += unpacker.end()
    except TimeoutError:
        raise ClientError("The body did not arrive in time", http_status=408) from None
    except TooLongError:
        raise too_large from None
    except CannotUnpackError:
        raise MalformedMessage("The body is cut off, or not packed as its headers say") from None
    return bytes(body)


async def _answer(send: AsgiSend, response: HttpResponse, *, close: bool = False) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
    ]
    headers.append((b"content-length", str(len(response.body)).encode()))
    if close:
        # What is left of the body would be read as the next request.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
