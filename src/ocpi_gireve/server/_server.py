"""HttpRequest in, one handler call, HttpResponse out; opens no socket and calls no partner."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
import traceback
import uuid
from collections.abc import Sequence
from typing import Protocol, cast
from urllib.parse import urlsplit

import attrs
from attrs import define, frozen
from multidict import CIMultiDict

from .._codec import encode_answer
from .._wire import JSON_TYPE, decode_body, decode_target, link_path, put_party
from ..access import (
    Ours,
    Principal,
    Speaker,
    require_once,
    require_opened,
    require_owner,
    require_role,
    routing_of,
)
from ..context import Context
from ..dialect import Dialect
from ..errors import (
    MethodNotAllowed,
    ServerError,
    StatusError,
    Unauthorized,
)
from ..idempotence import Act, Idempotence, Message, OnNotApplied, Receipts
from ..idempotence import ignore as ignore_message
from ..interface import Operation
from ..journal import Exchanged, OnExchange, ignore, tell
from ..logs import enter_exchange, leave_exchange
from ..pagination import Link, PageQuery
from ..store.records import TokenKind
from ..telemetry import Ended, Telemetry
from ..tokens import TokenEncoding, presented_tokens, token_digest
from ..transport import HttpRequest, HttpResponse
from ..types import Party, Role, Secret
from ._answers import Clock, checked, http_status, message_of, page_of_answer, status_code
from ._late import COMMAND_ACK, Acknowledging, OnLate, TooSlow
from ._routes import Mount, Place, Route, Routes

log = logging.getLogger("ocpi_gireve.server")

MAX_SHOWN = 1000
"""How many Authorization headers are remembered with what they stand for."""

_ECHOABLE = re.compile(r"[\x21-\x7e]{1,128}")


class Principals(Protocol):
    """Where the server learns whose token it was shown."""

    def find(self, digest: bytes, token: Secret) -> Principal | None:
        """Return who presents the token with this digest, if it is valid now."""
        ...

    async def admitted(self, principal: Principal) -> None:
        """Take note that a request with this token was admitted."""
        ...


@frozen(kw_only=True)
class HandshakeContext(Context):
    """What the handshake's own handlers know besides: which token was presented."""

    presented: Secret
    kind: TokenKind


@define
class _Exchange:
    """What is known of one request so far.

    Attributes:
        place: Where its URL leads, even where its method is not served there.
    """

    method: str
    path: str
    query: str
    request_id: str
    correlation_id: str
    began: float
    place: Place | None = None
    route: Route | None = None
    partner: str = ""
    context: Context | None = None
    error: str = ""
    request: HttpRequest | None = None
    told: Ended | None = None

    @property
    def operation_id(self) -> str:
        """The operation's id, for log records."""
        return self.route.operation.id if self.route else ""

    @property
    def name(self) -> str:
        return self.route.operation.id if self.route else "routing"

    @property
    def allowed(self) -> list[str]:
        """The other methods that are served at its URL."""
        return self.place.allowed(self.method) if self.place else []

    def ended(self, response: HttpResponse | None) -> Exchanged:
        return Exchanged(
            direction="in",
            partner=self.partner,
            operation=self.operation_id,
            module=self.route.operation.module if self.route else "",
            http_status=response.status if response else None,
            request=self.request,
            response=response,
            seconds=time.perf_counter() - self.began,
            request_id=self.request_id,
            correlation_id=self.correlation_id,
            error=self.error,
        )


class Server:
    """Serves the operations that a platform's handlers implement.

    The ``Content-Type`` of a request is not looked at: its body is JSON in UTF-8, or refused with HTTP 400.

    Args:
        public_url: The absolute URL below which everything is served; every URL in an answer starts with it.
        parties: The parties that this platform speaks for. With a HUB among them, requests may address any.
        mounts: The versions served.
        principals: Where tokens are looked up.
        on_exchange: Called with every exchange that has ended.
        handler_timeout: Seconds that a handler may take.
        command_ack: Seconds after which a command is answered, however long its handler still takes.
        on_late: Called with each outcome that is owed to a partner since its command was answered so.
        idempotent: Whether messages that come twice, or too late, are kept from the handlers.
        receipts: Where answers to CDRs and commands are kept; in memory by default.
        on_not_applied: Called with every message that is kept from its handler.
        telemetry: Accompanies every exchange.

    Attributes:
        idempotence: What keeps them; None where handlers see every message.
    """

    def __init__(
        self,
        *,
        public_url: str,
        parties: Sequence[Party],
        mounts: Sequence[Mount],
        principals: Principals,
        on_exchange: OnExchange = ignore,
        handler_timeout: float = 30.0,
        command_ack: float = COMMAND_ACK,
        on_late: OnLate | None = None,
        idempotent: bool = True,
        receipts: Receipts | None = None,
        on_not_applied: OnNotApplied = ignore_message,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._telemetry = telemetry
        self.public_url = public_url.rstrip("/")
        self._ours = Ours(
            parties=frozenset(party.id for party in parties),
            is_hub=any(party.role is Role.HUB for party in parties),
        )
        self._principals = principals
        self._on_exchange = on_exchange
        self._handler_timeout = handler_timeout
        self.idempotence = Idempotence(receipts, on_not_applied=on_not_applied) if idempotent else None
        self._commands = Acknowledging(self._once, command_ack, on_late)
        # Where the version is not known, what one of them needs does not hurt the others.
        empties = (mount.dialect.empty_data for mount in mounts)
        self._empty_data = next((empty for empty in empties if empty is not None), None)
        # What headers stand for that opened something: nobody else's take any room.
        self._shown: dict[str, list[tuple[TokenEncoding, Secret, bytes]]] = {}
        self._clock = Clock()
        self._routes = Routes(urlsplit(self.public_url).path.rstrip("/"), mounts)

    def url(self, path: str) -> str:
        """Return the absolute URL of a path below the public URL."""
        return f"{self.public_url}/{path}"

    async def close(self) -> None:
        """End the handlers that go on after their command was answered."""
        await self._commands.close()

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Serve one request. The answer is always an OCPI envelope; cancellation passes through."""
        exchange = _begun(request)
        entered = enter_exchange(exchange)
        try:
            if self._telemetry is None:
                return await self._handle(request, exchange)
            with self._telemetry.exchange("in") as exchange.told:
                return await self._handle(request, exchange)
        finally:
            leave_exchange(entered)

    async def _handle(self, request: HttpRequest, exchange: _Exchange) -> HttpResponse:
        try:
            response = await self._serve(request, exchange)
        except StatusError as error:
            exchange.error = type(error).__name__
            response = self._refusal(_ours(error, exchange), exchange)
        except (Exception, asyncio.CancelledError) as error:
            exchange.error = type(error).__name__
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                self._tell(exchange, None)
                raise
            _log_failure(error, exchange)
            response = self._refusal(ServerError("Internal error"), exchange)
        self._tell(exchange, response)
        return response

    def _tell(self, exchange: _Exchange, response: HttpResponse | None) -> None:
        if self._on_exchange is ignore and exchange.told is None:
            return
        exchanged = exchange.ended(response)
        if exchange.told is not None:
            exchange.told(exchanged)
        tell(self._on_exchange, exchanged)

    def refuse_request(self, error: StatusError, request: HttpRequest) -> HttpResponse:
        """Answer a request that was refused before it was complete: too long, too slow, or cut off."""
        exchange = _begun(request)
        exchange.error = type(error).__name__
        response = self._refusal(error, exchange)
        self._tell(exchange, response)
        return response

    def _refusal(self, error: StatusError, exchange: _Exchange) -> HttpResponse:
        """Put an error into an envelope."""
        dialect = self._dialect_of(exchange)
        empty = dialect.empty_data if dialect else self._empty_data
        # Half a surrogate pair cannot be written, wherever a handler may have it from.
        message = message_of(error).encode(errors="replace").decode()
        code = status_code(error, dialect)
        body = encode_answer(None, code, message, self._clock.now(), empty=empty)
        headers = self._headers(exchange)
        status = http_status(error, exchange.route)
        if status == 401:
            headers["WWW-Authenticate"] = "Token"
        elif status == 405:
            headers["Allow"] = ", ".join(exchange.allowed)
        return HttpResponse(status=status, headers=headers, body=body)

    def _dialect_of(self, exchange: _Exchange) -> Dialect | None:
        """Return the version that was spoken; None where the URL does not tell it."""
        if exchange.route is not None:
            return None if exchange.route.encoding is TokenEncoding.AUTO else exchange.route.dialect
        return self._routes.dialect_at(exchange.path)

    def _headers(self, exchange: _Exchange) -> CIMultiDict[str]:
        headers = CIMultiDict(
            {
                "Content-Type": JSON_TYPE,
                "X-Request-ID": exchange.request_id,
                "X-Correlation-ID": exchange.correlation_id,
            }
        )
        route, ctx = exchange.route, exchange.context
        if ctx is not None and route is not None and route.is_routed:
            put_party(headers, "from", ctx.receiver)
            put_party(headers, "to", ctx.sender)
        return headers

    def _authenticate(self, request: HttpRequest, route: Route) -> Principal:
        require_once(request.headers)
        found: dict[str, Principal] = {}
        value = request.headers.get("Authorization", "")
        shown = self._shown.get(value) or [
            (encoding, token, token_digest(token)) for encoding, token in presented_tokens([value]).items()
        ]
        for encoding, token, digest in shown:
            principal = self._principals.find(digest, token)
            if principal is None:
                continue
            # Where the version is not known yet, it is anybody's.
            taken = TokenEncoding.AUTO if route.encoding is TokenEncoding.AUTO else None
            if (taken or principal.profile.token_encoding or route.encoding) in (
                encoding,
                TokenEncoding.AUTO,
            ):
                found.setdefault(principal.connection, principal)
        if len(found) > 1:
            # Never a choice between two partners.
            log.error("one Authorization header names %d connections; refused", len(found))
        if len(found) != 1:
            raise Unauthorized
        (principal,) = found.values()
        keys = principal.profile.client_keys
        if keys and request.client_key not in keys:
            log.error("%s: its token came without its key in TLS; refused", principal.connection)
            raise Unauthorized
        require_opened(route.operation, principal)
        if route.side is not None and principal.role is not route.side:
            raise Unauthorized
        if len(self._shown) >= MAX_SHOWN:
            self._shown.clear()
        self._shown[value] = shown
        return principal

    async def _serve(self, request: HttpRequest, exchange: _Exchange) -> HttpResponse:
        exchange.place, found = self._routes.place_of(request.method, exchange.path)
        if found is None:
            raise MethodNotAllowed(f"expected {' or '.join(exchange.allowed)} at this URL")
        route, segments = found
        exchange.route = route
        operation = route.operation
        principal = self._authenticate(request, route)
        exchange.partner = principal.connection
        await self._principals.admitted(principal)
        ctx = exchange.context = self._context(request, exchange, route, principal)
        rest = "/".join(exchange.place.rest) if operation.target is Link else ""
        target = decode_target(operation, segments, exchange.query, rest)
        if operation.paginated:
            target = self._capped(cast("PageQuery", target), operation, route.dialect, principal)
        body = decode_body(operation, request.body, route.dialect.patch_requires)
        if operation.interface.functional:
            speaker = Speaker(principal=principal, sender=ctx.sender, ours=self._ours)
            require_role(operation, target, speaker)
            require_owner(operation, target, body, speaker)
        message = Message(operation, ctx, target, body, request.body)
        result = await self._acted_on(route, message)
        return self._answer(route, exchange, principal, target, result)

    async def _acted_on(self, route: Route, message: Message) -> object:
        """Return what a message is answered, by its handler or from memory."""
        call = functools.partial(self._call, route, message)
        if route.deferral is not None:
            return await self._commands.answer(route.deferral, message, call)
        return await self._once(message, call)

    async def _once(self, message: Message, act: Act) -> object:
        """Act on a message unless it was acted on before, within the time that there is for it.

        Raises:
            ServerError: 3000: the handler, or one before it at the same object, takes too long.
        """
        limit = asyncio.timeout(self._handler_timeout)
        try:
            async with limit:
                return await (act() if self.idempotence is None else self.idempotence.once(message, act))
        except TimeoutError:
            if not limit.expired():
                raise  # the handler's own
        seconds, request_id = self._handler_timeout, message.ctx.request_id
        log.error(
            "%s took longer than %g s, and was cancelled (request %s)", message.operation, seconds, request_id
        )
        raise TooSlow(f"no answer within {seconds:g} s")

    async def _call(self, route: Route, message: Message) -> object:
        """Call the handler, and make sure that it answers what it should."""
        operation = message.operation
        arguments = ([] if operation.target is None else [message.target]) + (
            [] if not operation.bodies else [message.body]
        )
        result = await getattr(route.handler, operation.name)(message.ctx, *arguments)
        return checked(operation, result)

    def _context(
        self, request: HttpRequest, exchange: _Exchange, route: Route, principal: Principal
    ) -> Context:
        dialect = route.dialect
        if not route.operation.interface.functional:
            return HandshakeContext(
                partner=principal.connection,
                version=dialect.version,
                request_id=exchange.request_id,
                correlation_id=exchange.correlation_id,
                presented=principal.token,
                kind=principal.kind,
            )
        routing = routing_of(request.headers, route.operation, principal, self._ours, routed=dialect.routing)
        return Context(
            partner=principal.connection,
            version=dialect.version,
            sender=routing.sender,
            receiver=routing.receiver,
            request_id=exchange.request_id,
            correlation_id=exchange.correlation_id,
        )

    def _capped(
        self, query: PageQuery, operation: Operation, dialect: Dialect, principal: Principal
    ) -> PageQuery:
        largest = principal.profile.page_limit(operation.module, dialect.version)
        return attrs.evolve(query, limit=min(query.limit or largest, largest))

    def _answer(
        self, route: Route, exchange: _Exchange, principal: Principal, target: object, result: object
    ) -> HttpResponse:
        operation = route.operation
        headers = self._headers(exchange)
        data = result
        if operation.paginated:
            largest = principal.profile.page_limit(operation.module, route.dialect.version)
            url, query = self.url(route.endpoint), cast("PageQuery", target)
            data, more = page_of_answer(operation, url, query, largest, result)
            headers.update(more)
        elif operation.answer is Link:
            headers["Location"] = self.url(f"{route.endpoint}/{link_path(cast('Link', result))}")
            data = None
        body = self._clock.success(data, route.dialect.empty_data)
        return HttpResponse(status=200, headers=headers, body=body)


def _begun(request: HttpRequest) -> _Exchange:
    path, _, query = request.url.partition("?")
    return _Exchange(
        method=request.method,
        path=path,
        query=query,
        request_id=_echoed(request.headers, "X-Request-ID"),
        correlation_id=_echoed(request.headers, "X-Correlation-ID"),
        began=time.perf_counter(),
        request=request,
    )


def _ours(error: StatusError, exchange: _Exchange) -> StatusError:
    """Return the error to answer, where a handler let one escape that another partner gave to us.

    That our request to somebody else was not authorized, say, must not tell this partner that its own is not.
    """
    if error.exchange is None or error.http_status in (200, 404):
        return error
    log.error(
        "%s failed, for %s answered %s to %s; answered 3000 (request %s)",
        exchange.name,
        error.exchange.partner,
        type(error).__name__,
        error.exchange.operation,
        exchange.request_id,
    )
    return ServerError("Internal error")


def _log_failure(error: BaseException, exchange: _Exchange) -> None:
    """Log what a handler raised and where: not its text, which may hold what the message held."""
    kinds: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(kinds) < 5:
        kinds.append(type(cause).__name__)
        cause = cause.__cause__
    log.error(
        "%s failed with %s; answered 3000 (request %s)\n%s",
        exchange.name,
        ", caused by ".join(kinds),
        exchange.request_id,
        "".join(traceback.format_tb(error.__traceback__)).rstrip(),
    )


def _echoed(headers: CIMultiDict[str], name: str) -> str:
    """Return the partner's id if it can be repeated safely, else one of ours."""
    given = headers.get(name, "")
    return given if _ECHOABLE.fullmatch(given) else str(uuid.uuid4())
