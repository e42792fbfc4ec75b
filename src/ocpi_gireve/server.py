"""HttpRequest in, one handler call, HttpResponse out; opens no socket and keeps no state of a partner."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Protocol, cast
from urllib.parse import urlencode, urlsplit

import attrs
from attrs import define, frozen
from multidict import CIMultiDict

from ._codec import encode_answer
from ._model import Model
from ._wire import JSON_TYPE, decode_body, decode_target, link_path, put_party, segment_problem
from .context import Context
from .dialect import Dialect
from .errors import (
    ClientError,
    InvalidParameters,
    MalformedMessage,
    MethodNotAllowed,
    Problem,
    ServerError,
    StatusError,
    Unauthorized,
    UnknownLocation,
    UnknownObject,
)
from .interface import Interface, Operation, operations
from .journal import Exchanged, OnExchange, ignore, tell
from .pagination import Link, Page, PageQuery
from .patch import Patch
from .profile import Profile
from .store.records import TokenKind
from .tokens import TokenEncoding, presented_tokens, token_digest
from .transport import HttpRequest, HttpResponse
from .types import Party, PartyId, Role, Secret, ci_equal, format_datetime, utc_now

log = logging.getLogger("ocpi_gireve.server")

MAX_NAMED = 100
"""How many problems of a message are named to its sender; one of a million bytes could have as many."""

_VERSIONS = "versions"
_ECHOABLE = re.compile(r"[\x21-\x7e]{1,128}")
_HANDSHAKE_ONLY = frozenset({TokenKind.A})


@frozen(kw_only=True)
class Principal:
    """Who a request's token belongs to.

    Attributes:
        connection: The id of the connection.
        kind: The kind of token that was presented.
        profile: What kind of partner it is.
        parties: The parties that the partner presented, and may speak for. A hub may speak for any but ours
            and those in `elsewhere`.
        elsewhere: The parties that are connected directly, so that no hub speaks for them.
        token: The token itself, as it was presented.
    """

    connection: str
    kind: TokenKind
    profile: Profile
    parties: frozenset[PartyId]
    elsewhere: Container[PartyId] = frozenset[PartyId]()
    token: Secret


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


@frozen(kw_only=True)
class Mount:
    """One version that is served: its dialect and, for each interface, who implements it."""

    dialect: Dialect
    handlers: Mapping[type[Interface], object]


@frozen(eq=False)
class _Route:
    """One operation of one endpoint."""

    operation: Operation
    handler: Any
    dialect: Dialect
    endpoint: str
    encoding: TokenEncoding
    pattern: tuple[str, ...] | None

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        if self.pattern is None:
            return {}
        found: dict[str, str] = {}
        for expected, segment in zip(self.pattern, segments, strict=True):
            if not segment:
                return None
            if expected[0] == "{":
                found[expected[1:-1]] = segment
            elif expected != segment:
                return None
        return found


class _Endpoint:
    """The operations below one URL, by method and number of path segments."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, int | None], list[_Route]] = {}

    def add(self, route: _Route) -> None:
        length = None if route.pattern is None else len(route.pattern)
        self.routes.setdefault((route.operation.http_method, length), []).append(route)

    def find(self, method: str, segments: Sequence[str]) -> tuple[_Route, dict[str, str]] | None:
        for length in (len(segments), None):
            if length is None and not segments:
                continue
            for route in self.routes.get((method, length), ()):
                found = route.match(segments)
                if found is not None:
                    return route, found
        return None

    def methods(self, segments: Sequence[str]) -> list[str]:
        """Return the methods that serve this path."""
        return sorted(
            method for method in {method for method, _ in self.routes} if self.find(method, segments)
        )


@define
class _Exchange:
    """What is known of one request so far.

    Attributes:
        endpoint: What serves its URL, and `rest` what follows there, even where its method is not served.
    """

    method: str
    request_id: str
    correlation_id: str
    began: float
    endpoint: _Endpoint | None = None
    rest: Sequence[str] = ()
    route: _Route | None = None
    partner: str = ""
    context: Context | None = None
    error: str = ""

    @property
    def name(self) -> str:
        return self.route.operation.id if self.route else "routing"

    @property
    def allowed(self) -> list[str]:
        """The other methods that are served at its URL."""
        methods = self.endpoint.methods(self.rest) if self.endpoint else []
        return [method for method in methods if method != self.method]

    def ended(self, status: int | None) -> Exchanged:
        return Exchanged(
            direction="in",
            partner=self.partner,
            operation=self.route.operation.id if self.route else "",
            http_status=status,
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
    ) -> None:
        self.public_url = public_url.rstrip("/")
        self._base = urlsplit(self.public_url).path.rstrip("/")
        self._parties = {party.id for party in parties}
        self._is_hub = any(party.role is Role.HUB for party in parties)
        self._principals = principals
        self._on_exchange = on_exchange
        self._handler_timeout = handler_timeout
        self._endpoints: dict[str, _Endpoint] = {}
        for mount in mounts:
            self._mount(mount)
        self._depth = max((endpoint.count("/") + 1 for endpoint in self._endpoints), default=0)

    def _mount(self, mount: Mount) -> None:
        dialect = mount.dialect
        for interface, handler in mount.handlers.items():
            if interface is dialect.versions:
                self._mount_versions(dialect, handler)
                continue
            endpoint = dialect.endpoint_path(interface)
            for operation in operations(interface):
                pattern = (
                    None if operation.at_link else tuple(part for part in operation.path.split("/") if part)
                )
                self._add(_Route(operation, handler, dialect, endpoint, dialect.token_encoding, pattern))

    def _mount_versions(self, dialect: Dialect, handler: object) -> None:
        listed, detailed = operations(dialect.versions)
        if _VERSIONS not in self._endpoints:
            # Which version the partner speaks, and so how it writes a token, is not known here.
            self._add(_Route(listed, handler, dialect, _VERSIONS, TokenEncoding.AUTO, ()))
        self._add(_Route(detailed, handler, dialect, dialect.details_path, dialect.token_encoding, ()))

    def _add(self, route: _Route) -> None:
        self._endpoints.setdefault(route.endpoint, _Endpoint()).add(route)

    def url(self, path: str) -> str:
        """Return the absolute URL of a path below the public URL."""
        return f"{self.public_url}/{path}"

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Serve one request. The answer is always an OCPI envelope; cancellation passes through."""
        exchange = _begun(request)
        try:
            response = await self._serve(request, exchange)
        except StatusError as error:
            exchange.error = type(error).__name__
            response = self._refusal(_ours(error, exchange), exchange)
        except (Exception, asyncio.CancelledError) as error:
            exchange.error = type(error).__name__
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                tell(self._on_exchange, exchange.ended(None))
                raise
            _log_failure(error, exchange)
            response = self._refusal(ServerError("Internal error"), exchange)
        tell(self._on_exchange, exchange.ended(response.status))
        return response

    def refuse_request(self, error: StatusError, request: HttpRequest) -> HttpResponse:
        """Answer a request that was refused before it was complete: too long, too slow, or cut off."""
        exchange = _begun(request)
        exchange.error = type(error).__name__
        response = self._refusal(error, exchange)
        tell(self._on_exchange, exchange.ended(response.status))
        return response

    def _refusal(self, error: StatusError, exchange: _Exchange) -> HttpResponse:
        """Put an error into an envelope."""
        empty = exchange.route.dialect.empty_data if exchange.route else None
        # Half a surrogate pair cannot be written, wherever a handler may have it from.
        message = _message(error).encode(errors="replace").decode()
        body = encode_answer(None, error.status_code, message, format_datetime(utc_now()), empty=empty)
        headers = self._headers(exchange)
        status = _http_status(error, exchange.route)
        if status == 401:
            headers["WWW-Authenticate"] = "Token"
        elif status == 405:
            headers["Allow"] = ", ".join(exchange.allowed)
        return HttpResponse(status=status, headers=headers, body=body)

    def _headers(self, exchange: _Exchange) -> CIMultiDict[str]:
        headers = CIMultiDict({"Content-Type": JSON_TYPE})
        headers["X-Request-ID"] = exchange.request_id
        headers["X-Correlation-ID"] = exchange.correlation_id
        route, ctx = exchange.route, exchange.context
        if (
            ctx is not None
            and route is not None
            and route.dialect.routing
            and route.operation.interface.functional
        ):
            put_party(headers, "from", ctx.receiver)
            put_party(headers, "to", ctx.sender)
        return headers

    def _route(self, request: HttpRequest, exchange: _Exchange) -> tuple[_Route, dict[str, str], str]:
        path = request.url.partition("?")[0]
        if not path.startswith(f"{self._base}/"):
            raise UnknownObject("there is nothing at this URL")
        segments = path[len(self._base) + 1 :].split("/")
        if segments[-1] == "":
            segments.pop()
        for length in range(min(self._depth, len(segments)), 0, -1):
            endpoint = self._endpoints.get("/".join(segments[:length]))
            if endpoint is None:
                continue
            rest = segments[length:]
            found = endpoint.find(request.method, rest)
            if found:
                exchange.endpoint, exchange.rest = endpoint, rest
                return found[0], found[1], "/".join(rest)
            if endpoint.methods(rest):
                exchange.endpoint, exchange.rest = endpoint, rest
                raise MethodNotAllowed(f"expected {' or '.join(exchange.allowed)} at this URL")
        raise UnknownObject("there is nothing at this URL")

    def _authenticate(self, request: HttpRequest, route: _Route) -> Principal:
        found: dict[str, Principal] = {}
        for token in presented_tokens(request.headers.getall("Authorization", []), route.encoding):
            principal = self._principals.find(token_digest(token), token)
            if principal is not None:
                found.setdefault(principal.connection, principal)
        if len(found) > 1:
            # Never a choice between two partners.
            log.error("one Authorization header names %d connections; refused", len(found))
        if len(found) != 1:
            raise Unauthorized
        (principal,) = found.values()
        if principal.kind in _HANDSHAKE_ONLY and route.operation.interface.functional:
            raise Unauthorized
        return principal

    async def _serve(self, request: HttpRequest, exchange: _Exchange) -> HttpResponse:
        route, segments, rest = self._route(request, exchange)
        exchange.route = route
        operation = route.operation
        principal = self._authenticate(request, route)
        exchange.partner = principal.connection
        await self._principals.admitted(principal)
        ctx = exchange.context = self._context(request, exchange, route, principal)
        target = decode_target(operation, segments, request.url.partition("?")[2], rest)
        if operation.paginated:
            target = self._capped(cast("PageQuery", target), operation, principal)
        body = decode_body(operation, request.body, route.dialect.patch_requires)
        self._check_owner(operation, target, body, ctx, principal)
        arguments = ([] if operation.target is None else [target]) + (
            [] if operation.body is None else [body]
        )
        method = getattr(route.handler, operation.name)
        limit = asyncio.timeout(self._handler_timeout)
        try:
            async with limit:
                result = await method(ctx, *arguments)
        except TimeoutError:
            if not limit.expired():
                raise  # the handler's own
        else:
            return self._answer(route, exchange, principal, target, result)
        seconds = self._handler_timeout
        log.error("%s took longer than %g s; answered 3000 (request %s)", operation, seconds, ctx.request_id)
        raise ServerError(f"no answer within {seconds:g} s")

    def _context(
        self, request: HttpRequest, exchange: _Exchange, route: _Route, principal: Principal
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
        sender = _party(request.headers, "from") if dialect.routing else None
        receiver = _party(request.headers, "to") if dialect.routing else None
        return Context(
            partner=principal.connection,
            version=dialect.version,
            sender=self._checked_sender(sender, principal),
            receiver=self._checked_receiver(receiver, dialect),
            request_id=exchange.request_id,
            correlation_id=exchange.correlation_id,
        )

    def _checked_sender(self, sender: PartyId | None, principal: Principal) -> PartyId | None:
        profile = principal.profile
        if not principal.parties and not profile.is_hub:
            # Its token came with our own request, whose answer will say who the partner is: it is under way.
            raise ServerError("the registration is not finished; try again")
        if sender is None:
            if len(principal.parties) == 1:
                return next(iter(principal.parties))
            return profile.hub
        if profile.is_hub:
            if not self._hub_may_speak_for(sender, principal):
                raise InvalidParameters("OCPI-from-*: a hub does not speak for this party here")
        elif sender not in principal.parties:
            raise InvalidParameters("OCPI-from-*: this party was not presented in the credentials")
        return sender

    def _checked_receiver(self, receiver: PartyId | None, dialect: Dialect) -> PartyId | None:
        if receiver is None:
            if len(self._parties) == 1:
                return next(iter(self._parties))
            if dialect.routing and not self._is_hub:
                raise InvalidParameters("OCPI-to-*: expected one of the several parties that are served here")
            return None
        if receiver not in self._parties and not self._is_hub:
            raise InvalidParameters("OCPI-to-*: this party is not served here")
        return receiver

    def _hub_may_speak_for(self, party: PartyId, principal: Principal) -> bool:
        return party not in self._parties and party not in principal.elsewhere

    def _check_owner(
        self, operation: Operation, target: object, body: object, ctx: Context, principal: Principal
    ) -> None:
        """Hold a message to its owner: URL, body and sender name the same party and the same object."""
        if not operation.interface.functional:
            return
        owner = _owner(target)
        if owner is not None and not self._speaks_for(owner, ctx, principal):
            # "It is allowed to respond with an HTTP 404 status code." (client owned object push, errors)
            raise UnknownObject("this object is not yours")
        stated = _stated(body)
        problems: list[Problem] = []
        if owner is not None:
            for name in ("country_code", "party_id"):
                problems += _differs(f"/{name}", stated.get(name), getattr(target, name))
            last = operation.path_fields[-1]
            for name in ("id", "uid"):
                if name in stated:
                    problems += _differs(f"/{name}", stated[name], getattr(target, last))
                    break
        elif isinstance(body, Model):
            own, own_id = _owner(body), stated.get("id")
            if own is not None and not self._speaks_for(own, ctx, principal):
                problems.append(Problem("/party_id", "owner", "expected a party that the sender speaks for"))
            wrong = segment_problem(own_id) if isinstance(own_id, str) else None
            if wrong:
                problems.append(Problem("/id", "charset", wrong))
        if problems:
            raise InvalidParameters(problems=problems)

    def _speaks_for(self, owner: PartyId, ctx: Context, principal: Principal) -> bool:
        if principal.profile.is_hub:
            return self._hub_may_speak_for(owner, principal)
        return owner == ctx.sender if ctx.sender is not None else owner in principal.parties

    def _capped(self, query: PageQuery, operation: Operation, principal: Principal) -> PageQuery:
        largest = principal.profile.page_limit(operation.module)
        return attrs.evolve(query, limit=min(query.limit or largest, largest))

    def _answer(
        self, route: _Route, exchange: _Exchange, principal: Principal, target: object, result: object
    ) -> HttpResponse:
        operation = route.operation
        headers = self._headers(exchange)
        data = result
        if operation.paginated:
            largest = principal.profile.page_limit(operation.module)
            data = self._page(route, headers, cast("PageQuery", target), largest, result)
        elif operation.answer is Link:
            headers["Location"] = self._location(route, result)
            data = None
        elif operation.answer is None:
            data = None
        elif operation.lists:
            _require_items(operation, result)
        elif not isinstance(result, operation.answer):
            raise TypeError(f"{operation.id}: the handler returned {type(result).__name__}")
        empty = route.dialect.empty_data
        body = encode_answer(data, 1000, "Success", format_datetime(utc_now()), empty=empty)
        return HttpResponse(status=200, headers=headers, body=body)

    def _location(self, route: _Route, result: object) -> str:
        if not isinstance(result, Link):
            raise TypeError(f"{route.operation.id}: the handler returned no Link")
        return self.url(f"{route.endpoint}/{link_path(result)}")

    def _page(
        self, route: _Route, headers: CIMultiDict[str], query: PageQuery, largest: int, result: object
    ) -> list[Model]:
        """Write the headers of a page, and return its objects.

        The total is at least what was served: the handler may have counted before it looked. A page that is
        empty has no successor, or its reader would never come to an end.
        """
        operation = route.operation
        if not isinstance(result, Page) or cast("Page[Model]", result).total is None:
            raise TypeError(f"{operation.id}: the handler returned no Page with a total")
        page = cast("Page[Model]", result)
        items = _require_items(operation, list(page.items))
        if len(items) > cast("int", query.limit):
            raise TypeError(f"{operation.id}: the handler returned {len(items)} objects, not {query.limit}")
        following = query.offset + len(items)
        total = max(cast("int", page.total), following if items else 0)
        headers["X-Total-Count"] = str(total)
        headers["X-Limit"] = str(largest)
        if items and following < total:
            moments = {"date_from": query.date_from, "date_to": query.date_to}
            pairs = [
                (name, format_datetime(moment)) for name, moment in moments.items() if moment is not None
            ]
            pairs += [("offset", str(following)), ("limit", str(query.limit))]
            url = f"{self.url(route.endpoint)}?{urlencode(pairs, safe=':')}"
            headers["Link"] = f'<{url}>; rel="next"'
        return items


def _begun(request: HttpRequest) -> _Exchange:
    return _Exchange(
        method=request.method,
        request_id=_echoed(request.headers, "X-Request-ID"),
        correlation_id=_echoed(request.headers, "X-Correlation-ID"),
        began=time.perf_counter(),
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


def _message(error: StatusError) -> str:
    """Return what goes out as ``status_message``: where an error is its problems, every one of them."""
    problems = error.problems
    if not problems or error.message != ClientError(problems=problems).message:
        return error.message
    more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    return "; ".join(str(problem) for problem in problems[:MAX_NAMED]) + more


def _require_items(operation: Operation, result: object) -> list[Model]:
    if not isinstance(result, list):
        raise TypeError(f"{operation.id}: the handler returned {type(result).__name__}")
    for item in cast("list[object]", result):
        if not isinstance(item, cast("type[Model]", operation.answer)):
            raise TypeError(f"{operation.id}: the handler returned {type(item).__name__} in its list")
    return cast("list[Model]", result)


def _http_status(error: StatusError, route: _Route | None) -> int:
    if error.http_status == 200 and isinstance(error, UnknownLocation) and route is not None:
        # Of a GET the chapter on status codes says "when the resource does NOT exist, the server SHOULD
        # return a HTTP 404"; a START_SESSION with an unknown location has reached the OCPI layer.
        return 404 if route.operation.http_method in ("GET", "PATCH") else 200
    return error.http_status


def _echoed(headers: CIMultiDict[str], name: str) -> str:
    """Return the partner's id if it can be repeated safely, else one of ours."""
    given = headers.get(name, "")
    return given if _ECHOABLE.fullmatch(given) else str(uuid.uuid4())


def _single(headers: CIMultiDict[str], name: str) -> str | None:
    values = headers.getall(name, [])
    if len(values) > 1:
        raise MalformedMessage(f"expected the header {name} once")
    return values[0].strip() if values else None


_PARTY_HEADER: dict[str, Callable[[str], bool]] = {
    "country-code": lambda text: len(text) == 2 and text.isascii() and text.isprintable(),
    "party-id": lambda text: len(text) == 3 and text.isascii() and text.isprintable(),
}


def _party(headers: CIMultiDict[str], direction: str) -> PartyId | None:
    parts: list[str] = []
    for part, fits in _PARTY_HEADER.items():
        name = f"OCPI-{direction}-{part}"
        text = _single(headers, name)
        if text is not None and not fits(text):
            raise MalformedMessage(f"expected {2 if part == 'country-code' else 3} characters in {name}")
        if text is not None:
            parts.append(text)
    if len(parts) == 1:
        raise MalformedMessage(
            f"expected OCPI-{direction}-country-code and OCPI-{direction}-party-id together"
        )
    return PartyId(*parts) if parts else None


def _owner(one: object) -> PartyId | None:
    country, party = getattr(one, "country_code", None), getattr(one, "party_id", None)
    return PartyId(country, party) if isinstance(country, str) and isinstance(party, str) else None


def _stated(body: object) -> Mapping[str, object]:
    """Return what a body says of its own identity; a PATCH may leave it out."""
    if isinstance(body, Patch):
        return cast("Patch[Model]", body).changes
    names = ("country_code", "party_id", "id", "uid")
    return {name: getattr(body, name) for name in names if hasattr(body, name)}


def _differs(pointer: str, stated: object, expected: str) -> list[Problem]:
    if isinstance(stated, str) and not ci_equal(stated, expected):
        return [Problem(pointer, "url-mismatch", "expected the same value as in the URL")]
    return []
