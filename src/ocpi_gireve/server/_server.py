"""HttpRequest in, one handler call, HttpResponse out; opens no socket and calls no partner."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
import traceback
import types
import uuid
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
from attrs import define, frozen
from multidict import CIMultiDict, istr

from .._codec import encode_answer
from .._wire import JSON_TYPE, decode_body, decode_target, link_path
from ..access import Ours, Principal, require_owner, require_role
from ..context import Context
from ..dialect import Dialect
from ..errors import MethodNotAllowed, ServerError, StatusError, UnknownObject
from ..idempotence import Act, Idempotence, Message, OnNotApplied, Receipts
from ..idempotence import ignore as ignore_message
from ..journal import Exchanged, OnExchange, ignore, tell
from ..logs import enter_exchange, leave_exchange
from ..pagination import Link, PageQuery
from ..store.records import TokenKind
from ..telemetry import Ended, Telemetry
from ..tokens import TokenEncoding
from ..transport import HttpRequest, HttpResponse
from ..types import Party, Role, Secret
from ._admission import Admission, Gate, Principals
from ._answers import Clock, checked, http_status, message_of, page_of_answer, status_code
from ._late import COMMAND_ACK, Acknowledging, OnLate, TooSlow
from ._routes import Mount, Route, Routes

log = logging.getLogger("ocpi_gireve.server")

_REQUEST_ID, _CORRELATION_ID = istr("X-Request-ID"), istr("X-Correlation-ID")
_JSON = CIMultiDict({istr("Content-Type"): JSON_TYPE})
_ECHOABLE = re.compile(r"[\x21-\x7e]{1,128}")


@frozen(kw_only=True)
class HandshakeContext(Context):
    """What the handshake's own handlers know besides: which token was presented."""

    presented: Secret
    kind: TokenKind


@define
class _Exchange:
    """What is known of one request so far."""

    method: str
    path: str
    query: str
    request_id: str
    correlation_id: str
    began: float
    route: Route | None = None
    partner: str = ""
    admission: Admission | None = None
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
        self._gate = Gate(principals, self._ours)
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
            headers["Allow"] = ", ".join(self._routes.allowed(exchange.method, exchange.path))
        return HttpResponse(status=status, headers=headers, body=body)

    def _dialect_of(self, exchange: _Exchange) -> Dialect | None:
        """Return the version that was spoken; None where the URL does not tell it."""
        if exchange.route is not None:
            return None if exchange.route.encoding is TokenEncoding.AUTO else exchange.route.dialect
        return self._routes.dialect_at(exchange.path)

    def _headers(self, exchange: _Exchange) -> CIMultiDict[str]:
        admission = exchange.admission
        headers = (_JSON if admission is None else admission.headers).copy()
        headers[_REQUEST_ID] = exchange.request_id
        headers[_CORRELATION_ID] = exchange.correlation_id
        return headers

    async def _serve(self, request: HttpRequest, exchange: _Exchange) -> HttpResponse:
        try:
            named = self._routes.find(request.method, exchange.path)
        except (UnknownObject, MethodNotAllowed):
            # What is served where is told to those who have a token.
            self._gate.require_known(request)
            raise
        route = exchange.route = named.route
        admission = self._gate.remembered(request, route)
        if admission is None:
            admission, ctx = await self._admit(request, exchange, route)
        else:
            exchange.partner = admission.speaker.principal.connection
            ctx = _context(exchange, route, admission)
        exchange.admission = admission
        operation, speaker = route.operation, admission.speaker
        target = named.target
        if target is None or exchange.query:
            rest = "/".join(named.rest) if operation.target is Link else ""
            target = decode_target(operation, named.fields, exchange.query, rest)
        if operation.paginated:
            target = _capped(cast("PageQuery", target), route, speaker.principal)
        body = decode_body(operation, request.body, route.dialect.patch_requires)
        if operation.interface.functional:
            require_role(operation, target, speaker)
            require_owner(operation, target, body, speaker)
            if named.target is None and operation.path_only and not exchange.query:
                self._routes.remember(request.method, exchange.path, named, target)
        message = Message(operation, ctx, target, body, request.body)
        call = functools.partial(_call, route, message)
        if route.deferral is None:
            result = await self._once(message, call)
        else:
            result = await self._commands.answer(route.deferral, message, call)
        return self._answer(route, exchange, speaker.principal, target, result)

    async def _admit(
        self, request: HttpRequest, exchange: _Exchange, route: Route
    ) -> tuple[Admission, Context]:
        """Find out who sends a request, and for whom; a handler of the handshake is told the token itself."""
        principal, token = self._gate.authenticate(request, route)
        exchange.partner = principal.connection
        await self._principals.admitted(principal)
        admission = self._gate.admit(request, route, principal)
        if route.operation.interface.functional:
            return admission, _context(exchange, route, admission)
        return admission, HandshakeContext(
            partner=principal.connection,
            version=route.dialect.version,
            request_id=exchange.request_id,
            correlation_id=exchange.correlation_id,
            presented=token,
            kind=principal.kind,
        )

    async def _once(self, message: Message, act: Act) -> object:
        """Act on a message unless it was acted on before, within the time that there is for it.

        Raises:
            ServerError: 3000: the handler, or one before it at the same object, takes too long.
        """
        work = act() if self.idempotence is None else self.idempotence.once(message, act)
        try:
            waits_for = work.send(None)
        except StopIteration as done:
            # Many a handler waits for nothing, and then there is no time to limit.
            return cast("object", done.value)
        limit = asyncio.timeout(self._handler_timeout)
        try:
            async with limit:
                return await _rest(work, waits_for)
        except TimeoutError:
            if not limit.expired():
                raise  # the handler's own
        seconds, request_id = self._handler_timeout, message.ctx.request_id
        log.error(
            "%s took longer than %g s, and was cancelled (request %s)", message.operation, seconds, request_id
        )
        raise TooSlow(f"no answer within {seconds:g} s")

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


@types.coroutine
def _rest(work: Coroutine[Any, Any, object], waits_for: object) -> Generator[Any, Any, object]:
    """Go on with a coroutine whose first step was made."""
    while True:
        try:
            yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the coroutine's
            step = functools.partial(work.throw, error)
        else:
            step = functools.partial(work.send, None)
        try:
            waits_for = step()
        except StopIteration as done:
            return done.value


async def _call(route: Route, message: Message) -> object:
    """Call the handler, and make sure that it answers what it should."""
    operation = message.operation
    arguments: list[object] = [message.ctx]
    if operation.target is not None:
        arguments.append(message.target)
    if operation.bodies:
        arguments.append(message.body)
    return checked(operation, await getattr(route.handler, operation.name)(*arguments))


def _context(exchange: _Exchange, route: Route, admission: Admission) -> Context:
    return Context(
        partner=exchange.partner,
        version=route.dialect.version,
        sender=admission.speaker.sender,
        receiver=admission.receiver,
        request_id=exchange.request_id,
        correlation_id=exchange.correlation_id,
    )


def _capped(query: PageQuery, route: Route, principal: Principal) -> PageQuery:
    largest = principal.profile.page_limit(route.operation.module, route.dialect.version)
    return attrs.evolve(query, limit=min(query.limit or largest, largest))


def _begun(request: HttpRequest) -> _Exchange:
    path, _, query = request.url.partition("?")
    return _Exchange(
        method=request.method,
        path=path,
        query=query,
        request_id=_echoed(request.headers, _REQUEST_ID),
        correlation_id=_echoed(request.headers, _CORRELATION_ID),
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
