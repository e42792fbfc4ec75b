"""One partner platform: call its operations, crawl its listings, upload to it; knows no HTTP library."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from attrs import define, evolve, frozen
from multidict import CIMultiDict

from ._model import Model
from ._wire import (
    JSON_TYPE,
    bind,
    decode_result,
    encode_body,
    link_path,
    open_answer,
    path_and_query,
    put_party,
    require_whole_patch,
    subject,
)
from .context import Context
from .dialect import Dialect
from .errors import (
    BadAnswer,
    Exchange,
    NoAnswer,
    NotRegistered,
    NotSent,
    NotServed,
    OcpiError,
    StatusError,
    UrlRefused,
)
from .http.urls import UrlPolicy, same_place
from .interface import Operation, operation_of
from .journal import Exchanged, OnExchange, tell
from .outbox import Outbox
from .pagination import Link, Page, PageQuery
from .profile import STREAMS, Profile
from .store.records import ConnectionRecord, ConnectionState, NewUpload, Upload
from .tokens import TokenEncoding, authorization
from .transport import HttpRequest, HttpResponse, Transport
from .types import OcpiEnum, Party, PartyId, Role, Secret

log = logging.getLogger("ocpi_gireve.connection")

P = ParamSpec("P")
D = TypeVar("D", bound="Model | OcpiEnum | Link | Sequence[Model] | None")
T = TypeVar("T", bound=Model)
R = TypeVar("R")

MAX_PAGES = 10_000
"""The longest crawl, in pages."""


@frozen(kw_only=True)
class Routing:
    """Who speaks to whom, and as a consequence of what.

    Attributes:
        sender: Our party; None: our only one.
        receiver: The party addressed; None: the hub, or the partner's only party.
        correlation_id: None: a new one for each call.
    """

    sender: PartyId | None = None
    receiver: PartyId | None = None
    correlation_id: str | None = None


def url_policy(profile: Profile, origins: Iterable[str] | None = None) -> UrlPolicy:
    """Return which URLs a kind of partner may make us call; without origins, only the addresses count."""
    return UrlPolicy(
        origins=origins,
        allow_http_loopback=profile.allow_http_loopback,
        allow_networks=profile.allow_networks,
    )


@define(kw_only=True, eq=False)
class Wiring:
    """What a connection is made of; shared by all its views, and changed by the handshake alone."""

    record: ConnectionRecord
    profile: Profile
    dialects: Mapping[str, Dialect]
    transport: Transport
    parties: Sequence[Party]
    public_url: str
    outbox: Outbox
    on_exchange: OnExchange

    @property
    def dialect(self) -> Dialect:
        """The version agreed on.

        Raises:
            NotRegistered: none is, before the first registration.
        """
        found = self.dialects.get(self.record.version or "")
        if found is None:
            raise NotRegistered(
                f"{self.record.id}: never registered, so no version is agreed on; register first"
            )
        return found

    @property
    def policy(self) -> UrlPolicy:
        """Which URLs this partner may make us call."""
        return url_policy(self.profile, self.record.origins)

    def endpoint(self, operation: Operation) -> str:
        """Return the partner's URL for an operation's module.

        Raises:
            NotRegistered: there are no credentials.
            NotServed: the partner does not serve it.
        """
        if self.record.state is not ConnectionState.REGISTERED:
            raise NotRegistered(
                f"{self.record.id}: not registered; its uploads wait for the next registration"
            )
        for endpoint in self.record.endpoints:
            if endpoint.module == operation.module and endpoint.role == operation.role:
                return endpoint.url
        role = f" as {operation.role}" if operation.role else ""
        raise NotServed(f"{self.record.id}: the partner does not serve {operation.module}{role}")


class Connection:
    """One partner platform that we exchange messages with.

    Name an operation of one of its interfaces and pass its arguments; `platform.connection()` and
    `platform.register()` return connections.
    """

    def __init__(self, wiring: Wiring, routing: Routing | None = None) -> None:
        self._wiring = wiring
        self._routing = routing or Routing()

    @property
    def id(self) -> str:
        """Our name for the partner."""
        return self._wiring.record.id

    @property
    def record(self) -> ConnectionRecord:
        """Where the connection stands: state, version, the partner's endpoints and roles."""
        return self._wiring.record

    @property
    def profile(self) -> Profile:
        """What kind of partner it is."""
        return self._wiring.profile

    def routed(
        self,
        *,
        sender: PartyId | None = None,
        receiver: PartyId | None = None,
        following: Context | None = None,
    ) -> Connection:
        """Return a view of this connection that speaks for another of our parties, or to another of theirs.

        Args:
            sender: The party of ours that speaks (``OCPI-from-*``).
            receiver: The party that is addressed (``OCPI-to-*``).
            following: The request that the calls are a consequence of: they share its correlation id.

        Raises:
            ValueError: the sender is no party of ours. A hub speaks for others, too.
        """
        ours = self._wiring.parties
        if sender is not None and not any(one.id == sender or one.role is Role.HUB for one in ours):
            raise ValueError(f"{self.id}: {sender} is no party of this platform")
        was = self._routing
        routing = Routing(
            sender=sender or was.sender,
            receiver=receiver or was.receiver,
            correlation_id=was.correlation_id if following is None else following.correlation_id,
        )
        return Connection(self._wiring, routing)

    def callback(self, operation: Callable[..., Any], path: str) -> str:
        """Return an absolute URL of ours for a partner to call, such as a command's ``response_url``.

        Args:
            operation: The operation that will be called there; its target is a `Link`.
            path: What tells the calls apart, such as ``START_SESSION/17``; the handler gets it as its `Link`.

        Raises:
            NotRegistered: no version is agreed on.
            TypeError: the operation's URL is not ours to choose.
            ValueError: nobody could call it: a part of the path is empty or dots.
        """
        declared = self._declared(operation)
        if not declared.at_link:
            raise TypeError(f"{declared.id}: its URL is fixed by the specification")
        endpoint = self._wiring.dialect.endpoint_path(declared.interface)
        return f"{self._wiring.public_url}/{endpoint}/{link_path(Link(path))}"

    async def call(
        self,
        operation: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, D]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> D:
        """Ask the partner to carry out an operation, now, and return what it answers.

        ``await iop.call(v221.LocationsReceiver.put_location, ref, location)``

        Raises:
            StatusError: the partner answered an OCPI status other than success; a subclass names it.
            BadAnswer: the answer is not OCPI.
            NoAnswer: no complete answer came; `NotSent` where the request did not even leave.
            NotRegistered: there are no credentials; `NotServed` where the partner lacks the module.
            UrlRefused: a `Link` leads where this partner's tokens must not go.
            InvalidObject: a `Patch` lacks what every PATCH must carry: ``last_updated``.
            TypeError: the operation belongs to another version, or its arguments do not fit.
            ValueError: an id cannot stand in a URL.
        """
        declared = self._declared(operation)
        target, body = self._bound(declared, args, kwargs)
        result = await self._ask(declared, self._url(declared, target), body)
        return cast("D", result)

    def crawl(
        self,
        operation: Callable[[Any, Context, PageQuery], Coroutine[Any, Any, Page[T]]],
        query: PageQuery | None = None,
    ) -> AsyncIterator[T]:
        """Iterate over all objects of a listing, page by page.

        Items that cannot be read are logged and left out; `pages` gives them too.

        Raises:
            UrlRefused: a page's ``Link`` leads elsewhere than to the partner's own endpoint.
            BadAnswer: the pages run in a circle, or there are more than `MAX_PAGES`.
            OcpiError: as for `call`.
        """
        return self._crawl(self._declared(operation), query or PageQuery())

    def pages(
        self,
        operation: Callable[[Any, Context, PageQuery], Coroutine[Any, Any, Page[T]]],
        query: PageQuery | None = None,
    ) -> AsyncIterator[Page[T]]:
        """Iterate over the pages of a listing, with their totals and the items that could not be read.

        Raises:
            OcpiError: as for `crawl`.
        """
        return cast("AsyncIterator[Page[T]]", self._pages(self._declared(operation), query or PageQuery()))

    async def upload(
        self,
        operation: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, Link | None]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> int:
        """Keep a message and deliver it, first in first out, however long the partner is down.

        When it returns, the message is in the store: a crash does not lose it. Messages of one lane (our
        party, and locations, tariffs, tokens, or sessions and CDRs together) leave in the order in which they
        were uploaded. While the connection is unregistered they wait for the next registration. Before the
        first one nothing is kept, for the bytes depend on the version.

        Returns:
            The upload's number in the store.

        Raises:
            NotRegistered: the connection was never registered; nothing is kept.
            StoreError: the store could not keep it; nothing is uploaded.
            InvalidObject: a `Patch` lacks what every PATCH must carry: ``last_updated``.
            TypeError: the operation asks something, its URL is the partner's, its module has no lane, or its
                arguments do not fit.
            ValueError: an id cannot stand in a URL.
        """
        declared = self._declared(operation)
        asks = declared.http_method == "GET" or declared.answer not in (None, Link)
        if asks or declared.at_link or declared.module not in STREAMS:
            raise TypeError(
                f"{declared.id}: not an upload: expected objects sent to a fixed place, not a question"
            )
        target, body = self._bound(declared, args, kwargs)
        sender = self._sender()
        upload = NewUpload(
            connection=self.id,
            lane=f"{sender.key}/{STREAMS[declared.module]}",
            operation=f"{self._wiring.dialect.version}/{declared.id}",
            path=path_and_query(declared, target),
            sender=sender,
            receiver=self._receiver(),
            correlation_id=self._routing.correlation_id or str(uuid.uuid4()),
            subject=subject(declared, target, body),
            body=encode_body(body),
        )
        return await self._wiring.outbox.enqueue(upload)

    async def deliver(self, upload: Upload) -> HttpResponse:
        """Make one attempt at an upload, to where the partner serves its module now.

        Raises:
            NotRegistered: there are no credentials.
            NotServed: the partner does not serve the module, or speaks another version than the upload was
                written for.
            OcpiError: as for `call`, except that any answer at all is returned.
        """
        version, _, name = upload.operation.partition("/")
        dialect = self._wiring.dialect
        declared = dialect.operation(name)
        if version != dialect.version or declared is None:
            raise NotServed(f"{self.id}: the upload is OCPI {version}, the connection {dialect.version}")
        # An upload that was accepted between two registrations names no receiver; the partner is known now.
        routing = Routing(
            sender=upload.sender, receiver=upload.receiver, correlation_id=upload.correlation_id
        )
        if routing != self._routing:
            return await Connection(self._wiring, routing).deliver(upload)
        url = _joined(self._wiring.endpoint(declared), upload.path)
        arrived: list[HttpResponse] = []

        def keep(response: HttpResponse, exchange: Exchange) -> None:
            arrived.append(response)
            open_answer(response, exchange)

        try:
            await self._send(declared, url, upload.body, keep)
        except (StatusError, BadAnswer):
            # Noted in the journal; what it means for the upload is the outbox's to say.
            if not arrived:
                raise
        return arrived[0]

    def _declared(self, operation: Callable[..., Any]) -> Operation:
        declared = operation_of(operation)
        dialect = self._wiring.dialect
        if not dialect.offers(declared):
            raise TypeError(
                f"{declared.id} is not an operation of OCPI {dialect.version}, which {self.id} speaks"
            )
        return declared

    def _bound(
        self, operation: Operation, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[object, object]:
        target, body = bind(operation, args, kwargs)
        require_whole_patch(operation, body, self._wiring.dialect.patch_requires)
        return target, body

    def _url(self, operation: Operation, target: object) -> str:
        if isinstance(target, Link):
            return str(self._wiring.policy.check(target.url, operation.id))
        return _joined(self._wiring.endpoint(operation), path_and_query(operation, target))

    def _sender(self) -> PartyId:
        if self._routing.sender is not None:
            return self._routing.sender
        ours = {party.id for party in self._wiring.parties}
        if len(ours) != 1:
            raise TypeError(f"{self.id}: we speak for several parties; name one with routed(sender=...)")
        return ours.pop()

    def _receiver(self) -> PartyId | None:
        if self._routing.receiver is not None:
            return self._routing.receiver
        if self._wiring.profile.hub is not None:
            return self._wiring.profile.hub
        theirs = {role.party for role in self._wiring.record.roles}
        return theirs.pop() if len(theirs) == 1 else None

    async def _ask(self, operation: Operation, url: str, body: object) -> object:
        return await self._send(
            operation,
            url,
            encode_body(body),
            lambda response, exchange: decode_result(operation, response, exchange),
        )

    async def _send(
        self, operation: Operation, url: str, body: bytes, read: Callable[[HttpResponse, Exchange], R]
    ) -> R:
        wiring = self._wiring
        token = wiring.record.outbound_token
        if token is None:
            raise NotRegistered(f"{self.id}: not registered, so there is no token to present; register first")
        headers = CIMultiDict[str]()
        if wiring.dialect.routing and operation.interface.functional:
            put_party(headers, "from", self._sender())
            put_party(headers, "to", self._receiver())
        return await send(
            wiring,
            operation,
            url,
            body,
            token=token,
            encoding=wiring.dialect.token_encoding,
            headers=headers,
            correlation_id=self._routing.correlation_id,
            read=read,
        )

    async def _crawl(self, operation: Operation, query: PageQuery) -> AsyncIterator[Any]:
        async for page in self._pages(operation, query):
            for item in page.rejected:
                problems = "; ".join(str(problem) for problem in item.problems[:3])
                log.warning("%s: %s: item %d cannot be read: %s", operation.id, self.id, item.index, problems)
            for item in page.items:
                yield item

    async def _pages(self, operation: Operation, query: PageQuery) -> AsyncIterator[Page[Any]]:
        endpoint = self._wiring.endpoint(operation)
        url = _joined(endpoint, path_and_query(operation, query))
        seen: set[str] = set()
        while True:
            seen.add(url)
            page = cast("Page[Any]", await self._ask(operation, url, None))
            yield page
            if page.next is None:
                return
            url = str(self._wiring.policy.check(page.next.url, "Link"))
            if not same_place(url, endpoint):
                raise UrlRefused(
                    "Link", f"expected the next page of {operation.module} at the partner's endpoint"
                )
            if url in seen or len(seen) >= MAX_PAGES:
                reason = "answered pages that run in a circle" if url in seen else "answered too many pages"
                raise BadAnswer(f"{self.id}: {operation.id}: {reason}", http_status=200)


async def send(
    wiring: Wiring,
    operation: Operation,
    url: str,
    body: bytes,
    *,
    token: Secret,
    encoding: TokenEncoding,
    headers: CIMultiDict[str],
    correlation_id: str | None,
    read: Callable[[HttpResponse, Exchange], R],
    timeout: float | None = None,
) -> R:
    """Carry out one exchange with a partner and report it, whatever its end.

    Args:
        wiring: The partner.
        operation: What is asked.
        url: Where; it may be called.
        body: The body's bytes.
        token: The token to present.
        encoding: How the token is written.
        headers: Further headers; they are completed.
        correlation_id: None: a new one.
        read: Makes the result of the response, or raises what it says.
        timeout: Seconds; None: the profile's.
    """
    request_id = str(uuid.uuid4())
    correlation_id = correlation_id or str(uuid.uuid4())
    headers["Authorization"] = authorization(token, encoding)
    headers["X-Request-ID"] = request_id
    headers["X-Correlation-ID"] = correlation_id
    if body:
        headers["Content-Type"] = JSON_TYPE
    request = HttpRequest(method=operation.http_method, url=url, headers=headers, body=body)
    exchange = Exchange(operation.name, wiring.record.id, request_id)
    began = time.perf_counter()
    status, error = None, ""
    try:
        response = await wiring.transport.send(request, timeout=timeout or wiring.profile.timeout)
        status = response.status
        return read(response, evolve(exchange, http_status=status))
    except NoAnswer as failed:
        error = type(failed).__name__
        # Made anew, so that its text says what was asked of whom.
        raise (NotSent if isinstance(failed, NotSent) else NoAnswer)(
            failed.reason, exchange=exchange
        ) from None
    except BaseException as failed:
        error = type(failed).__name__
        if isinstance(failed, OcpiError) and failed.exchange is None:
            failed.exchange = exchange
        raise
    finally:
        exchanged = Exchanged(
            direction="out",
            partner=wiring.record.id,
            operation=operation.id,
            http_status=status,
            seconds=time.perf_counter() - began,
            request_id=request_id,
            correlation_id=correlation_id,
            error=error,
        )
        tell(wiring.on_exchange, exchanged)


def _joined(endpoint: str, path: str) -> str:
    """Join an endpoint and what follows with exactly one slash, keeping a query that the endpoint has."""
    base, mark, fixed = endpoint.partition("?")
    path, _, query = path.partition("?")
    url = base.rstrip("/") + path if path else base
    queries = "&".join(part for part in (fixed if mark else "", query) if part)
    return f"{url}?{queries}" if queries else url
