"""Serves HTTP with aiohttp, inside a host's application or alone; knows nothing of OCPI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from ssl import SSLContext, SSLObject
from types import TracebackType
from typing import Self, TypeAlias

from aiohttp import web
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict, istr

from ..errors import ClientError, MalformedMessage, MessageTooLarge, StatusError
from ..transport import HttpRequest, HttpResponse
from .certificates import KeyFromProxy, key_pin

Application = web.Application
"""What `aiohttp_app` makes, for those that pass it on without knowing aiohttp."""
Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""What `aiohttp_handler` makes."""

_MIB = 1024 * 1024
_SERVER, _ENCODING = istr("Server"), istr("Content-Encoding")
_PACKINGS = frozenset({"", "identity", "gzip", "deflate"})


def hide_bad_requests(record: logging.LogRecord) -> bool:
    """A log filter that takes the sender's text out of aiohttp's errors about requests that are not HTTP.

    aiohttp quotes the line that it could not read, which may be the one with the token. `HttpServer` uses
    this filter, and `aiohttp_handler` puts it on aiohttp's own logger.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg = f"{record.msg}: {type(error).__name__}"
        record.exc_info = None
    return True


_log = logging.getLogger(__name__)
_log.addFilter(hide_bad_requests)


def refuse_without_body(error: StatusError, _request: HttpRequest) -> HttpResponse:
    """Answer with the HTTP status alone."""
    return HttpResponse(status=error.http_status)


def aiohttp_handler(
    serve: Callable[[HttpRequest], Awaitable[HttpResponse]],
    *,
    refuse: Callable[[StatusError, HttpRequest], HttpResponse] = refuse_without_body,
    max_body_bytes: int = _MIB,
    body_timeout: float = 30.0,
    key_from_proxy: KeyFromProxy | None = None,
) -> Handler:
    """An aiohttp handler that hands every request to one function.

    It is a route of an application, or all of a low-level `aiohttp.web.Server`, which spends a tenth less on
    a request than an application does. `serve` sees the path of the request line either way. Headers arrive
    and leave as they are, several of one name included.

    Args:
        serve: What answers, usually `Platform.handle`. It turns errors into answers itself.
        refuse: What answers a request that `serve` cannot get, because its body is too long (HTTP 413), too
            slow (408), broken (400) or packed in an unknown way (415). It is given the error and the request
            without the body. What is not HTTP at all gets no further than aiohttp, which answers 400 in plain
            text.
        max_body_bytes: The longest body accepted, after unpacking. It replaces `client_max_size`.
        body_timeout: Seconds within which the whole body must arrive. For the headers aiohttp has no such
            limit; a server on the internet needs a reverse proxy that has.
        key_from_proxy: Where a proxy ends TLS: what reads the client's key of the headers that it sets.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        method, url, headers = request.method, _target(request), CIMultiDict(request.headers)
        try:
            body = await _read(request, max_body_bytes, body_timeout) if request.body_exists else b""
        except StatusError as error:
            arrived = HttpRequest(method=method, url=url, headers=headers)
            return await _send_refusal(request, error, _response(refuse(error, arrived)))
        except ConnectionError:
            # The client went away: nobody reads this, and nothing went wrong here.
            return web.Response(status=400)
        key = key_from_proxy(headers) if key_from_proxy else _client_key(request)
        arrived = HttpRequest(method=method, url=url, headers=headers, body=body, client_key=key)
        return _response(await serve(arrived))

    # Whoever serves logs there; adding a filter again does nothing.
    logging.getLogger("aiohttp.server").addFilter(hide_bad_requests)
    return handle


def aiohttp_app(
    serve: Callable[[HttpRequest], Awaitable[HttpResponse]],
    *,
    refuse: Callable[[StatusError, HttpRequest], HttpResponse] = refuse_without_body,
    max_body_bytes: int = _MIB,
    body_timeout: float = 30.0,
    key_from_proxy: KeyFromProxy | None = None,
) -> web.Application:
    """An aiohttp application with an `aiohttp_handler` for everything, and the arguments of that.

    It can be served as it is, or mounted with `add_subapp()`.
    """
    app = web.Application()
    handler = aiohttp_handler(
        serve,
        refuse=refuse,
        max_body_bytes=max_body_bytes,
        body_timeout=body_timeout,
        key_from_proxy=key_from_proxy,
    )
    # A dot would leave out a line feed, and %0A in a path is the server's to answer.
    app.router.add_route("*", r"/{path:[\s\S]*}", handler)
    return app


class HttpServer:
    """Serves an aiohttp application, or a handler alone, on a port of its own while its context lasts.

    For simulators, examples and tests; an application in service is better run by `aiohttp.web.run_app()`.

    Args:
        app: What to serve: an application, or an `aiohttp_handler` for everything.
        host: The address to listen on.
        port: The port; 0 lets the operating system choose a free one.
        ssl: The TLS context; without one the server speaks http.
        shutdown_timeout: Seconds that requests under way are given at the end.
    """

    def __init__(
        self,
        app: web.Application | Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        ssl: SSLContext | None = None,
        shutdown_timeout: float = 2.0,
    ) -> None:
        self._host = host
        self._ssl = ssl
        self._port = port
        self._shutdown_timeout = shutdown_timeout
        self._app = app
        self._runner: web.BaseRunner | None = None

    @property
    def port(self) -> int:
        """The port: before the server listens, the one that was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where the server is, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._ssl else 'http'}://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        runner = self._runner = self._new_runner()
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port, ssl_context=self._ssl)
        try:
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        self._port = site.port
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening, let requests under way finish for a moment, and close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _new_runner(self) -> web.BaseRunner:
        # aiohttp's access log would write ids of drivers' tokens, which stand in paths.
        seconds = self._shutdown_timeout
        if isinstance(self._app, web.Application):
            return web.AppRunner(
                self._app, logger=_log, access_log=None, keepalive_timeout=75.0, shutdown_timeout=seconds
            )
        server = web.Server(self._app, logger=_log, access_log=None, keepalive_timeout=75.0)
        return web.ServerRunner(server, shutdown_timeout=seconds)


def _client_key(request: web.BaseRequest) -> str:
    tls = request.transport.get_extra_info("ssl_object") if request.transport else None
    certificate = tls.getpeercert(binary_form=True) if isinstance(tls, SSLObject) else None
    return key_pin(certificate) if certificate else ""


def _target(request: web.BaseRequest) -> str:
    """Path and query as they stand in the request line, which may also hold an absolute URL."""
    raw = request.raw_path
    return raw if raw.startswith("/") else request.rel_url.raw_path_qs


async def _read(request: web.BaseRequest, limit: int, seconds: float) -> bytes:
    if _ENCODING in request.headers:
        packings = [one.strip().lower() for one in request.headers.getall(_ENCODING)]
        if len(packings) > 1 or packings[0] not in _PACKINGS:
            # Some that aiohttp knows depend on what else is installed; packed twice is a bomb within a bomb.
            message = "expected a body that is packed as gzip or deflate, or not at all"
            raise ClientError(message, http_status=415)
    content = request.content
    try:
        if content.is_eof():
            # A short body usually comes with its headers.
            body: bytes | bytearray = content.read_nowait()
        else:
            if (request.content_length or 0) > limit:
                raise _too_large(limit)
            body = bytearray()
            async with asyncio.timeout(seconds):
                async for chunk in content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        break
    except TimeoutError:
        raise ClientError("The body did not arrive in time", http_status=408) from None
    except web.RequestPayloadError:
        raise MalformedMessage("The body is cut off, or not packed as its headers say") from None
    if len(body) > limit:
        raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> MessageTooLarge:
    return MessageTooLarge(f"{MessageTooLarge.text}: at most {limit} bytes are accepted")


def _response(response: HttpResponse) -> web.Response:
    answer = web.Response(status=response.status, headers=response.headers, body=response.body)
    # Instead of aiohttp's, which tells everybody the versions in use.
    answer.headers.setdefault(_SERVER, "ocpi-gireve")
    return answer


async def _send_refusal(
    request: web.BaseRequest, error: StatusError, response: web.Response
) -> web.StreamResponse:
    """Send the answer to a request whose body was not read to its end.

    After an answer aiohttp goes on reading for some seconds, since closing at once can destroy the answer
    on its way. That suits an honest client whose message is too long. It does not suit one that takes
    forever, or one whose few bytes unpack to many: those are cut off.
    """
    response.force_close()
    if error.http_status == 408 or _ENCODING in request.headers:
        await response.prepare(request)
        await response.write_eof()
        request.protocol.force_close()
    return response
