"""HttpRequest in, one handler call, HttpResponse out; opens no socket and keeps no state of a partner."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast
from urllib.parse import quote, urlencode, urlsplit

import attrs
from attrs import define, frozen
from multidict import CIMultiDict

from ._codec import encode_answer
from ._model import Model
from ._wire import JSON_TYPE, decode_body, decode_target, put_party
from .context import Context
from .dialect import Dialect
from .errors import (
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
from .journal import Exchanged, OnExchange, ignore
from .pagination import Link, Page, PageQuery
from .patch import Patch
from .profile import Profile
from .store.records import TokenKind
from .tokens import TokenEncoding, presented_tokens, token_digest
from .transport import HttpRequest, HttpResponse
from .types import Party, PartyId, Role, Secret, ci_equal, format_datetime, utc_now

log = logging.getLogger("ocpi_gireve.server")

_ECHOABLE = re.compile(r"[\x21-\x7e]{1,128}")
_HANDSHAKE_ONLY = frozenset({TokenKind.A})


@frozen(kw_only=True)
class Principal:
    """Who a request's token belongs to.

    Attributes:
        connection: The id of the connection.
        kind: The kind of token that was presented.
        profile: What kind of partner it is.
        parties: The parties that the partner may speak for; a hub may speak for any but ours.
        token: The token itself, as it was presented.
    """

    connection: str
    kind: TokenKind
    profile: Profile
    parties: frozenset[PartyId]
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
    pattern: tuple[str, ...] | None

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        if self.pattern is None:
            return {}
        found: dict[str, str] = {}
        for expected, segment in zip(self.pattern, segments, strict=True):
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

    def serves(self, segments: Sequence[str]) -> bool:
        """Whether any method serves this path."""
        return any(self.find(method, segments) for method in {method for method, _ in self.routes})


@frozen(kw_only=True)
class _Ids:
    """The ids of one request, validated, and whether the partner gave them."""

    request: str
    correlation: str


@define
class _Exchange:
    """What is known of one request so far."""

    ids: _Ids
    route: _Route | None = None
    partner: str = ""
    error: str = ""

    def ended(self, status: int, seconds: float) -> Exchanged:
        return Exchanged(
            direction="in",
            partner=self.partner,
            operation=self.route.operation.id if self.route else "",
            http_status=status,
            seconds=seconds,
            request_id=self.ids.request,
            correlation_id=self.ids.correlation,
            error=self.error,
        )


class Server:
    """Serves the operations that a platform's handlers implement.

    Args:
        public_url: The absolute URL below which everything is served; every URL in an answer starts with it.
        parties: The parties that this platform speaks for. With a HUB among them, requests may address others.
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

    def _mount(self, mount: Mount) -> None:
        dialect = mount.dialect
        for interface, handler in mount.handlers.items():
            if interface is dialect.versions:
                self._mount_versions(dialect, handler)
                continue
            endpoint = dialect.endpoint_path(interface)
            for operation in operations(interface):
                pattern = None if operation.at_link else tuple(part for part in operation.path.split("/") if part)
                self._add(_Route(operation, handler, dialect, endpoint, pattern))

    def _mount_versions(self, dialect: Dialect, handler: object) -> None:
        listed, detailed = operations(dialect.versions)
        if "versions" not in self._endpoints:
            self._add(_Route(listed, handler, dialect, "versions", ()))
        self._add(_Route(detailed, handler, dialect, dialect.details_path, ()))

    def _add(self, route: _Route) -> None:
        self._endpoints.setdefault(route.endpoint, _Endpoint()).add(route)

    def url(self, path: str) -> str:
        """Return the absolute URL of a path below the public URL."""
        return f"{self.public_url}/{path}"

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Serve one request. Whatever happens, the answer is an OCPI envelope; cancellation passes through."""
        ids = _Ids(
            request=_echoed(request.headers, "X-Request-ID"),
            correlation=_echoed(request.headers, "X-Correlation-ID"),
        )
        began = time.perf_counter()
        exchange = _Exchange(ids)
        try:
            response = await self._serve(request, exchange)
        except StatusError as error:
            exchange.error = type(error).__name__
            response = self.refuse(error, ids, exchange.route)
        except Exception as error:  # noqa: BLE001 - the partner gets an envelope whatever a handler raises
            exchange.error = type(error).__name__
            where = exchange.route.operation.id if exchange.route else "routing"
            log.error(
                "%s failed with %s; answered 3000 (request %s)",
                where,
                exchange.error,
                ids.request,
                exc_info=error,
            )
            response = self.refuse(ServerError("Internal error"), ids, exchange.route)
        self._on_exchange(exchange.ended(response.status, time.perf_counter() - began))
        return response

    def refuse(self, error: StatusError, ids: _Ids | None = None, route: _Route | None = None) -> HttpResponse:
        """Put an error into an envelope."""
        empty = route.dialect.empty_data if route else None
        body = encode_answer(None, error.status_code, error.message, format_datetime(utc_now()), empty=empty)
        headers = self._headers(ids)
        if error.http_status == 401:
            headers["WWW-Authenticate"] = "Token"
        return HttpResponse(status=_http_status(error, route), headers=headers, body=body)

    def refuse_request(self, error: StatusError, request: HttpRequest) -> HttpResponse:
        """Answer a request that was refused before it was complete: too long, or too slow."""
        ids = _Ids(
            request=_echoed(request.headers, "X-Request-ID"),
            correlation=_echoed(request.headers, "X-Correlation-ID"),
        )
        return self.refuse(error, ids)

    def _headers(self, ids: _Ids | None) -> CIMultiDict[str]:
        headers = CIMultiDict({"Content-Type": JSON_TYPE})
        if ids is not None:
            headers["X-Request-ID"] = ids.request
            headers["X-Correlation-ID"] = ids.correlation
        return headers

    def _route(self, request: HttpRequest) -> tuple[_Route, dict[str, str], str]:
        path = request.url.partition("?")[0]
        if not path.startswith(f"{self._base}/"):
            raise UnknownObject("there is nothing at this URL")
        segments = path[len(self._base) + 1 :].split("/")
        if segments[-1] == "":
            segments.pop()
        for length in range(min(3, len(segments)), 0, -1):
            endpoint = self._endpoints.get("/".join(segments[:length]))
            if endpoint is None:
                continue
            rest = segments[length:]
            found = endpoint.find(request.method, rest)
            if found:
                return found[0], found[1], "/".join(rest)
            if endpoint.serves(rest):
                raise MethodNotAllowed(f"{request.method} is not served at this URL")
        raise UnknownObject("there is nothing at this URL")

    def _authenticate(self, request: HttpRequest, route: _Route) -> Principal:
        encoding = route.dialect.token_encoding if route.operation.interface.functional else TokenEncoding.AUTO
        found: list[Principal] = []
        for token in presented_tokens(request.headers.getall("Authorization", []), encoding):
            principal = self._principals.find(token_digest(token), token)
            if principal is not None:
                found.append(principal)
        if len(found) != 1:
            if found:
                log.error("one Authorization header names %d connections; refused", len(found))
            raise Unauthorized
        if found[0].kind in _HANDSHAKE_ONLY and route.operation.interface.functional:
            raise Unauthorized
        return found[0]

    async def _serve(self, request: HttpRequest, exchange: _Exchange) -> HttpResponse:
        ids = exchange.ids
        route, segments, rest = self._route(request)
        exchange.route = route
        operation = route.operation
        principal = self._authenticate(request, route)
        exchange.partner = principal.connection
        await self._principals.admitted(principal)
        ctx = self._context(request, ids, route, principal)
        target = decode_target(operation, segments, request.url.partition("?")[2], rest)
        if operation.paginated:
            target = self._capped(cast("PageQuery", target), operation, principal)
        body = decode_body(operation, request.body)
        self._check_owner(operation, target, body, ctx, principal)
        arguments = ([] if operation.target is None else [target]) + ([] if operation.body is None else [body])
        method = getattr(route.handler, operation.name)
        try:
            async with asyncio.timeout(self._handler_timeout):
                result = await method(ctx, *arguments)
        except TimeoutError:
            raise ServerError(f"no answer within {self._handler_timeout:g} s") from None
        return self._answer(route, ctx, ids, target, result)

    def _context(self, request: HttpRequest, ids: _Ids, route: _Route, principal: Principal) -> Context:
        dialect = route.dialect
        if not route.operation.interface.functional:
            return HandshakeContext(
                partner=principal.connection,
                version=dialect.version,
                request_id=ids.request,
                correlation_id=ids.correlation,
                presented=principal.token,
                kind=principal.kind,
            )
        sender = _party(request.headers, "from") if dialect.routing else None
        receiver = _party(request.headers, "to") if dialect.routing else None
        return Context(
            partner=principal.connection,
            version=dialect.version,
            sender=self._checked_sender(sender, principal),
            receiver=self._checked_receiver(receiver),
            request_id=ids.request,
            correlation_id=ids.correlation,
        )

    def _checked_sender(self, sender: PartyId | None, principal: Principal) -> PartyId | None:
        if sender is None:
            if len(principal.parties) == 1:
                return next(iter(principal.parties))
            return principal.profile.hub
        if principal.profile.is_hub:
            if sender in self._parties:
                raise InvalidParameters("OCPI-from-*: this party is ours")
        elif sender not in principal.parties:
            raise InvalidParameters("OCPI-from-*: this party was not presented in the credentials")
        return sender

    def _checked_receiver(self, receiver: PartyId | None) -> PartyId | None:
        if receiver is None:
            return next(iter(self._parties)) if len(self._parties) == 1 else None
        if receiver not in self._parties and not self._is_hub:
            raise InvalidParameters("OCPI-to-*: this party is not served here")
        return receiver

    def _check_owner(
        self, operation: Operation, target: object, body: object, ctx: Context, principal: Principal
    ) -> None:
        """Hold a message to its owner: URL, body and sender name the same party and the same object."""
        if not operation.interface.functional:
            return
        owner = _owner(target)
        if owner is not None:
            self._check_speaks_for(owner, ctx, principal, UnknownObject("this object is not yours"))
        stated = {} if body is None else _stated(body)
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
            own = _owner(body)
            if own is not None:
                wrong = InvalidParameters(
                    problems=[Problem("/party_id", "owner", "expected a party that the sender speaks for")]
                )
                self._check_speaks_for(own, ctx, principal, wrong)
        if problems:
            raise InvalidParameters(problems=problems)

    def _check_speaks_for(
        self, owner: PartyId, ctx: Context, principal: Principal, refusal: StatusError
    ) -> None:
        if principal.profile.is_hub:
            allowed = owner not in self._parties
        else:
            allowed = owner == ctx.sender if ctx.sender is not None else owner in principal.parties
        if not allowed:
            raise refusal

    def _capped(self, query: PageQuery, operation: Operation, principal: Principal) -> PageQuery:
        largest = principal.profile.page_limit(operation.module)
        return attrs.evolve(query, limit=min(query.limit or largest, largest))

    def _answer(
        self, route: _Route, ctx: Context, ids: _Ids, target: object, result: object
    ) -> HttpResponse:
        operation = route.operation
        headers = self._headers(ids)
        if route.dialect.routing and operation.interface.functional:
            put_party(headers, "from", ctx.receiver)
            put_party(headers, "to", ctx.sender)
        data = result
        if operation.paginated:
            data = self._page(route, headers, cast("PageQuery", target), result)
        elif operation.answer is Link:
            headers["Location"] = self._location(route, result)
            data = None
        elif operation.answer is None:
            data = None
        elif not isinstance(result, list if operation.lists else operation.answer):
            raise TypeError(f"{operation.id}: the handler returned {type(result).__name__}")
        empty = route.dialect.empty_data
        body = encode_answer(data, 1000, "Success", format_datetime(utc_now()), empty=empty)
        return HttpResponse(status=200, headers=headers, body=body)

    def _location(self, route: _Route, result: object) -> str:
        if not isinstance(result, Link) or not result.url:
            raise TypeError(f"{route.operation.id}: the handler returned no Link")
        return self.url(f"{route.endpoint}/{quote(result.url)}")

    def _page(self, route: _Route, headers: CIMultiDict[str], query: PageQuery, result: object) -> list[Model]:
        if not isinstance(result, Page) or cast("Page[Model]", result).total is None:
            raise TypeError(f"{route.operation.id}: the handler returned no Page with a total")
        page = cast("Page[Model]", result)
        total = cast("int", page.total)
        headers["X-Total-Count"] = str(total)
        headers["X-Limit"] = str(query.limit)
        following = query.offset + len(page.items)
        if page.items and following < total:
            moments = {"date_from": query.date_from, "date_to": query.date_to}
            pairs = [(name, format_datetime(moment)) for name, moment in moments.items() if moment is not None]
            pairs += [("offset", str(following)), ("limit", str(query.limit))]
            url = f"{self.url(route.endpoint)}?{urlencode(pairs, safe=':')}"
            headers["Link"] = f'<{url}>; rel="next"'
        return list(page.items)


def _http_status(error: StatusError, route: _Route | None) -> int:
    if error.http_status == 200 and isinstance(error, UnknownLocation) and route is not None:
        # "GET of a resource that does not exist" SHOULD be 404, while START_SESSION at an unknown location is a
        # successful exchange with status 2003. (status codes chapter)
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
        raise MalformedMessage(f"expected OCPI-{direction}-country-code and OCPI-{direction}-party-id together")
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
