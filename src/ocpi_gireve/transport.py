"""HTTP as values, and the seam behind which an HTTP library works; opens no socket itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import field, frozen
from multidict import CIMultiDict

from .errors import NoAnswer

_TOKEN_UID = re.compile(r"(/tokens/).+")


def _shown(url: str) -> str:
    """Return a URL for a repr, without its query and without a token uid."""
    return repr(_TOKEN_UID.sub(r"\1***", url.partition("?")[0]))


@frozen(kw_only=True)
class HttpRequest:
    """One HTTP request.

    Headers and body stay out of the repr: they hold tokens.

    Attributes:
        method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
        url: On its way out: absolute. On its way in: path and query as they stand in the request line.
        headers: Names are compared without case; one name may occur several times.
        body: Empty where there is none.
        client_key: On its way in: the pin of the public key with which the client proved itself in TLS, see
            `ocpi_gireve.http.key_pin`; empty where it did not.
        longest_answer: On its way out: the most bytes that its answer may have, unpacked; None: as many as
            the transport takes.
    """

    method: str
    url: str = field(repr=_shown)
    headers: CIMultiDict[str] = field(factory=CIMultiDict[str], repr=False)
    body: bytes = field(default=b"", repr=False)
    client_key: str = field(default="", repr=False)
    longest_answer: int | None = field(default=None, repr=False)


@frozen(kw_only=True)
class HttpResponse:
    """One HTTP response, read to its end."""

    status: int
    headers: CIMultiDict[str] = field(factory=CIMultiDict[str], repr=False)
    body: bytes = field(default=b"", repr=False)


class Transport(Protocol):
    """What carries a request to a partner."""

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """Carry one request and return the complete answer, whatever its status. Redirects are not followed.

        Args:
            request: What to send; its URL is absolute.
            timeout: Seconds for the whole exchange.

        Raises:
            NotSent: no connection could be made.
            NoAnswer: the request may have arrived, but no complete answer came, or one that is too long.
            UrlRefused: the URL's scheme, host or address is not allowed.
        """
        ...

    async def close(self) -> None:
        """Give back every connection."""
        ...


class Loopback:
    """A transport without sockets: hands each request to a server in the same process.

    Args:
        serve: The server, usually `Platform.handle`.
    """

    def __init__(self, serve: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self._serve = serve

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """Serve the request as if it had arrived over HTTP."""
        _, _, rest = request.url.partition("://")
        _, slash, path = rest.partition("/")
        arrived = HttpRequest(
            method=request.method, url=slash + path, headers=request.headers.copy(), body=request.body
        )
        try:
            async with asyncio.timeout(timeout):
                return await self._serve(arrived)
        except TimeoutError:
            raise NoAnswer("no complete answer in time") from None

    async def close(self) -> None:
        """Nothing is open."""
