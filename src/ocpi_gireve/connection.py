"""One partner platform: call its operations, crawl its listings, upload to it; knows no HTTP library."""

from __future__ import annotations

import asyncio
import random
import re
import time
import uuid
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

from attrs import define, evolve, field, frozen
from multidict import CIMultiDict

from ._codec import decode_items
from ._model import Model
from ._wire import (
    JSON_TYPE,
    bind,
    decode_result,
    encode_body,
    link_path,
    open_answer,
    page_headers,
    path_and_query,
    put_party,
    require_whole_patch,
    subject,
)
from .context import Context
from .crawl import OVERLAP, Arrived, Clock, Heed, Ledger, Listing, Pull, crawl, crawl_pages
from .dialect import Dialect
from .errors import (
    BadAnswer,
    DecodeError,
    Exchange,
    NoAnswer,
    NotRegistered,
    NotServed,
    NotTrusted,
    OcpiError,
    StatusError,
    Unauthorized,
    UrlRefused,
)
from .http.urls import UrlPolicy, same_place
from .interface import Operation, operation_of
from .journal import Exchanged, OnExchange, tell
from .logs import Ids, enter_exchange, leave_exchange
from .outbox import Outbox
from .outbox.policy import http_date, retry_after
from .pagination import Link, Page, PageQuery
from .profile import STREAMS, Profile
from .store import Store
from .store.records import ConnectionRecord, ConnectionState, NewUpload, Upload
from .telemetry import Ended, NoTelemetry, Telemetry
from .tokens import TokenEncoding, authorization
from .transport import HttpRequest, HttpResponse, Transport
from .types import OcpiEnum, Party, PartyId, Role, Secret, utc_now

P = ParamSpec("P")
D = TypeVar("D", bound="Model | OcpiEnum | Link | Sequence[Model] | None")
T = TypeVar("T", bound=Model)
R = TypeVar("R")

Reader: TypeAlias = Callable[[HttpResponse, Exchange], Awaitable[R]]
"""Makes the result of a response, or raises what it says."""

LONGEST_ANSWER = 1024 * 1024
"""Bytes of an answer that brings no objects: in a handshake, or to what we send."""

_MESSAGE_ID = re.compile(r"[!-~]{1,128}")

LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that say nothing of the request but that it came at a bad moment."""


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
    return _policy(
        None if origins is None else tuple(origins), profile.allow_http_loopback, profile.allow_networks
    )


@lru_cache(maxsize=1024)
def _policy(origins: tuple[str, ...] | None, loopback: bool, networks: tuple[str, ...]) -> UrlPolicy:
    return UrlPolicy(origins=origins, allow_http_loopback=loopback, allow_networks=networks)


@define(kw_only=True, eq=False)
class Wiring:
    """What a connection is made of; shared by all its views, and changed by the handshake alone.

    Attributes:
        record: The partner as it is kept.
        profile: What kind of partner it is.
        dialects: The versions of our platform, the one to prefer first.
        transport: What carries requests to it.
        hosted: Every party of our platform.
        public_url: Below which our platform serves.
        outbox: What keeps and delivers uploads.
        on_exchange: Told of every exchange.
        store: Where pulls keep how far they have come.
        clock: What time it is at the partner.
        pulls: Which pull of each stream is the present one.
        telemetry: Accompanies every exchange.
    """

    record: ConnectionRecord
    profile: Profile
    dialects: Mapping[str, Dialect]
    transport: Transport
    hosted: Sequence[Party]
    public_url: str
    outbox: Outbox
    on_exchange: OnExchange
    store: Store
    clock: Clock = field(factory=Clock)
    pulls: MutableMapping[str, object] = field(factory=dict[str, object])
    telemetry: Telemetry | None = None

    @property
    def parties(self) -> tuple[Party, ...]:
        """The parties of ours that the connection is for, in the roles that it is for."""
        party, role = self.record.party, self.record.role
        return tuple(
            one
            for one in self.hosted
            if party in (None, one.id) and (role is None or one.role in (role, Role.HUB))
        )

    @property
    def role(self) -> Role | None:
        """The one role of one party of ours that the connection is for; None where it is for more."""
        if len(self.parties) != 1:
            return None
        # A hub has both sides of 2.1.1: its operator says which one a connection is about.
        role = self.record.role or self.parties[0].role
        return None if role is Role.HUB else role

    @property
    def spoken(self) -> tuple[Dialect, ...]:
        """The versions that can be agreed on, the one to prefer first."""
        pinned = self.profile.versions
        return tuple(
            one
            for one in self.dialects.values()
            if (pinned is None or one.version in pinned)
            and (not one.per_role or self.role in one.details_paths)
        )

    def token_encoding(self, dialect: Dialect) -> TokenEncoding:
        """Return how the partner takes a token in a version."""
        own = self.profile.token_encoding
        return dialect.token_encoding if own in (None, TokenEncoding.AUTO) else own

    def token(self, refused: Sequence[Secret] = ()) -> Secret | None:
        """Return the token to present, or the next one after some were refused; None: there is none left.

        A request that was under way while new credentials were exchanged has presented the token before. And
        a partner that did not hear our answer may know no other than that.
        """
        tokens = (self.record.outbound_token, self.record.previous_token)
        return next((token for token in tokens if token is not None and token not in refused), None)

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
        correlation_id: str | None = None,
    ) -> Connection:
        """Return a view of this connection that speaks for another of our parties, or to another of theirs.

        Args:
            sender: The party of ours that speaks (``OCPI-from-*``).
            receiver: The party that is addressed (``OCPI-to-*``).
            following: The request that the calls are a consequence of: they share its correlation id.
            correlation_id: The id that the calls share, where their cause is at our side, such as a card that
                was held to a charger.

        Raises:
            ValueError: the sender is no party of ours (a hub speaks for others), or the correlation id is
                not 1 to 128 printable ASCII characters without blanks.
        """
        ours = self._wiring.parties
        if sender is not None and not any(one.id == sender or one.role is Role.HUB for one in ours):
            raise ValueError(f"{self.id}: {sender} is no party of this platform")
        if correlation_id is not None and not _MESSAGE_ID.fullmatch(correlation_id):
            raise ValueError("correlation_id: expected 1 to 128 printable ASCII characters without blanks")
        if following is not None:
            correlation_id = following.correlation_id
        was = self._routing
        routing = Routing(
            sender=sender or was.sender,
            receiver=receiver or was.receiver,
            correlation_id=correlation_id or was.correlation_id,
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
        """Iterate over all objects of a listing, page by page, while the next page is on its way.

        Items that cannot be read are logged and left out; `pages` gives them too. What changes at the partner
        meanwhile makes no object get lost, but one may come twice. `pull` remembers how far it came, too.

        Args:
            operation: The listing.
            query: Which part of it; None: all. Its `limit` is the profile's page limit unless it says one.

        Raises:
            UrlRefused: a page's ``Link`` leads elsewhere than to the partner's own endpoint.
            BadAnswer: the pages run in a circle, or there are more than the profile's `crawl_pages`.
            ValueError: the query lacks a date that the listing requires.
            OcpiError: as for `call`.
        """
        return crawl(*self._listed(operation, query))

    def pages(
        self,
        operation: Callable[[Any, Context, PageQuery], Coroutine[Any, Any, Page[T]]],
        query: PageQuery | None = None,
    ) -> AsyncIterator[Page[T]]:
        """Iterate over the pages of a listing, with their totals and the items that could not be read.

        Raises:
            OcpiError: as for `crawl`.
        """
        return crawl_pages(*self._listed(operation, query))

    def pull(
        self,
        operation: Callable[[Any, Context, PageQuery], Coroutine[Any, Any, Page[T]]],
        *,
        full: bool = False,
        since: datetime | None = None,
        resume: bool = True,
        overlap: timedelta = OVERLAP,
    ) -> Pull[T]:
        """Iterate over everything the first time, and over what has changed since every other time.

        ``async for location in iop.pull(v221.LocationsSender.list_locations): ...``

        A *full* pull asks without dates. A *delta* asks for what changed from the start of the last complete
        pull (by the partner's clock or ours, whichever is behind) up to now, in several spans where the
        profile's `delta_range` says so. `Pull.pages` gives whole pages. How far it came is in the store: a
        pull that was left half-way goes on at the page that was not taken whole, after a restart too. The
        views of `routed` that speak for another party, or to one other than the hub, pull apart and remember
        apart.

        Args:
            operation: The listing.
            full: Ask for everything, whatever was pulled before.
            since: Ask for what changed from this moment on, whatever was pulled before; a later moment than
                the next delta's own does not change where that begins, nor does any before the first pull of
                everything. A listing that the partner gives by dates only, such as sessions, needs it the
                first time.
            resume: Whether to go on with a pull that was left half-way.
            overlap: How far before the start of the last pull a delta begins. More helps where objects reach
                the partner long after the moment written into them, as they may through a hub.

        Raises:
            ValueError: `since` has no time zone; while iterating: the first pull of a listing that needs
                dates has no `since`.
            RuntimeError: while iterating: another pull of the same stream has begun.
            StoreError: while iterating: how far it came cannot be kept.
            OcpiError: while iterating: as for `crawl`.
        """
        declared = self._declared(operation)
        sender, receiver = self._puller(declared)
        version = self._wiring.dialect.version
        to = f"/{receiver.key}" if receiver else ""
        ledger = Ledger(
            store=self._wiring.store,
            connection=self.id,
            stream=f"{version}/{declared.id}/{sender.key}{to}",
            owner=receiver,
            turns=self._wiring.pulls,
        )
        return Pull(self._listing(declared), ledger, full=full, since=since, resume=resume, overlap=overlap)

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

        async def keep(response: HttpResponse, exchange: Exchange) -> None:
            arrived.append(response)
            open_answer(response, exchange)

        try:
            await self._send(declared, url, upload.body, keep)
        except (StatusError, BadAnswer):
            # Noted in the journal; what it means for the upload is the outbox's to say.
            if not arrived:
                raise
        return arrived[-1]

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
            return target.url
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
        return await self._send(operation, url, encode_body(body), result_of(operation))

    async def _send(self, operation: Operation, url: str, body: bytes, read: Reader[R]) -> R:
        """Carry out one exchange; a GET again, where the first came at a bad moment."""
        profile = self._wiring.profile
        repeats = profile.repeats if operation.http_method == "GET" else 0
        # No attempt begins later than one attempt may take.
        last_start = time.monotonic() + profile.timeout
        correlation_id = self._routing.correlation_id or str(uuid.uuid4())
        delay = profile.repeat_base
        while True:
            arrived: list[HttpResponse] = []

            async def keep(
                response: HttpResponse, exchange: Exchange, into: list[HttpResponse] = arrived
            ) -> R:
                into.append(response)
                return await read(response, exchange)

            try:
                return await self._send_once(operation, url, body, correlation_id, keep)
            except (NoAnswer, StatusError, BadAnswer) as failed:
                wait = _wait(failed, arrived, delay)
                if not repeats or wait > profile.repeat_cap or time.monotonic() + wait > last_start:
                    raise
            await asyncio.sleep(wait)
            repeats -= 1
            delay *= 2

    async def _send_once(
        self,
        operation: Operation,
        url: str,
        body: bytes,
        correlation_id: str,
        read: Reader[R],
    ) -> R:
        wiring = self._wiring
        token = wiring.token()
        if token is None:
            raise NotRegistered(f"{self.id}: not registered, so there is no token to present; register first")
        headers = CIMultiDict[str]()
        interface = operation.interface
        if interface.functional and interface.routed:
            if wiring.dialect.routing:
                put_party(headers, "from", self._sender())
                put_party(headers, "to", self._receiver())
            elif operation.http_method == "GET":
                # "Should not be considered yet in OCPI 2.1.1, except" to pull of one party. (rule TRA-011)
                put_party(headers, "to", self._routing.receiver)
        refused: list[Secret] = []
        while True:
            # Whoever gave the URL, and however long ago: this token is for where the partner is now.
            allowed = str(wiring.policy.check(url, operation.id))
            try:
                return await send(
                    wiring,
                    operation,
                    allowed,
                    body,
                    token=token,
                    encoding=wiring.token_encoding(wiring.dialect),
                    headers=headers,
                    correlation_id=correlation_id,
                    read=read,
                )
            except Unauthorized:
                refused.append(token)
                following = wiring.token(refused)
                if following is None:
                    raise
                token = following

    def _listed(
        self, operation: Callable[..., Any], query: PageQuery | None
    ) -> tuple[Listing[Any], PageQuery]:
        declared, query = self._declared(operation), query or PageQuery()
        listing = self._listing(declared)
        path_and_query(declared, query)  # says what is wrong with it
        return listing, query

    def _puller(self, operation: Operation) -> tuple[PartyId, PartyId | None]:
        """Return who pulls, and from whom where that is not everybody behind the partner."""
        if not operation.interface.routed:
            return self._routing.sender or self._wiring.parties[0].id, None
        receiver = self._routing.receiver
        return self._sender(), None if receiver == self._wiring.profile.hub else receiver

    def _listing(self, operation: Operation) -> Listing[Any]:
        """Return a listing of the partner as a crawl sees it.

        Raises:
            NotRegistered: there are no credentials.
            NotServed: the partner does not serve it.
            TypeError: it is none.
        """
        if not operation.paginated:
            raise TypeError(f"{operation.id} is not a listing; call it")
        wiring = self._wiring
        profile = wiring.profile
        wiring.endpoint(operation)  # says at once what is missing
        path = f"/{operation.path}" if operation.path else ""

        async def ask(url: str, heed: Heed) -> Arrived[Any]:
            asked, began = wiring.clock.ours(), time.monotonic()

            async def read(response: HttpResponse, exchange: Exchange) -> Arrived[Any]:
                seconds = time.monotonic() - began
                head = page_headers(response, [], ())
                if response.status == 200:
                    await heed(head.next)
                return Arrived(
                    items=_items(operation, _listing_in(response, exchange, head.total), exchange),
                    total=head.total,
                    limit=head.limit,
                    next=head.next,
                    asked=asked,
                    seconds=seconds,
                    date=_date(response),
                    exchange=exchange,
                )

            return await self._send(operation, url, b"", read)

        def check(url: str) -> str:
            url = str(wiring.policy.check(url, "Link"))
            if not same_place(url, wiring.endpoint(operation)):
                raise UrlRefused(
                    "Link", f"expected the next page of {operation.module} at the partner's endpoint"
                )
            return url

        return Listing(
            name=operation.id,
            partner=self.id,
            ask=ask,
            # Where the partner serves it now: it may register elsewhere in the middle of a crawl.
            url=lambda query: _joined(wiring.endpoint(operation), path + query),
            check=check,
            rebase=profile.next_link == "rebase",
            limit=profile.page_limit(operation.module, wiring.dialect.version),
            longest=profile.delta_range,
            needs_dates="date_from" in operation.requires,
            max_pages=profile.crawl_pages,
            max_seconds=profile.crawl_seconds,
            clock=wiring.clock,
        )


def result_of(operation: Operation) -> Reader[object]:
    """Return what makes the result that an operation answers."""

    async def read(response: HttpResponse, exchange: Exchange) -> object:
        return decode_result(operation, response, exchange)

    return read


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
    read: Reader[R],
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
    request = HttpRequest(
        method=operation.http_method,
        url=url,
        headers=headers,
        body=body,
        longest_answer=_longest_answer(operation),
    )
    exchange = Exchange(operation.name, wiring.record.id, request_id)
    under_way = _UnderWay(wiring, operation, request, request_id, correlation_id)
    entered = enter_exchange(under_way.ids)
    try:
        with (wiring.telemetry or _UNSEEN).exchange("out") as under_way.told:
            return await _sent(under_way, exchange, read, timeout or wiring.profile.timeout)
    finally:
        leave_exchange(entered)


def _longest_answer(operation: Operation) -> int | None:
    """Return the most bytes that an answer may have: many only where it brings objects.

    A byte of JSON costs many times as much to read, and who has a token A may not be a partner yet.
    """
    return None if operation.http_method == "GET" and operation.interface.functional else LONGEST_ANSWER


_UNSEEN = NoTelemetry()


@define
class _UnderWay:
    """One request that we make, and what came of it so far."""

    wiring: Wiring
    operation: Operation
    request: HttpRequest
    request_id: str
    correlation_id: str
    response: HttpResponse | None = None
    error: str = ""
    told: Ended | None = None
    began: float = field(factory=time.perf_counter)

    @property
    def ids(self) -> Ids:
        return Ids(self.request_id, self.correlation_id, self.wiring.record.id, self.operation.id)

    def ended(self) -> None:
        exchanged = Exchanged(
            direction="out",
            partner=self.wiring.record.id,
            operation=self.operation.id,
            module=self.operation.module,
            http_status=self.response.status if self.response else None,
            seconds=time.perf_counter() - self.began,
            request_id=self.request_id,
            correlation_id=self.correlation_id,
            error=self.error,
            request=self.request,
            response=self.response,
        )
        if self.told is not None:
            self.told(exchanged)
        tell(self.wiring.on_exchange, exchanged)


async def _sent(
    under_way: _UnderWay,
    exchange: Exchange,
    read: Reader[R],
    timeout: float,
) -> R:
    try:
        wiring = under_way.wiring
        response = under_way.response = await wiring.transport.send(under_way.request, timeout=timeout)
        date = _date(response)
        if date is not None:
            wiring.clock.hear(date)
        return await read(response, evolve(exchange, http_status=response.status))
    except NoAnswer as failed:
        under_way.error = type(failed).__name__
        # Made anew, so that its text says what was asked of whom.
        raise type(failed)(failed.reason, exchange=exchange) from None
    except BaseException as failed:
        under_way.error = type(failed).__name__
        if isinstance(failed, OcpiError) and failed.exchange is None:
            failed.exchange = exchange
        raise
    finally:
        under_way.ended()


def _joined(endpoint: str, path: str) -> str:
    """Join an endpoint and what follows with exactly one slash, keeping a query that the endpoint has."""
    base, mark, fixed = endpoint.partition("?")
    path, _, query = path.partition("?")
    url = base.rstrip("/") + path if path else base
    queries = "&".join(part for part in (fixed if mark else "", query) if part)
    return f"{url}?{queries}" if queries else url


def _wait(failed: NoAnswer | StatusError | BadAnswer, arrived: Sequence[HttpResponse], delay: float) -> float:
    """Return the seconds after which the same request may do better; infinity: never."""
    never = float("inf")
    if isinstance(failed, NoAnswer):
        asked = never if isinstance(failed, NotTrusted) else 0.0
    elif failed.http_status in LATER and arrived:
        asked = retry_after(arrived[-1].headers, utc_now) or 0.0
    else:
        asked = never
    # Those that failed together must not come back together.
    return max(asked, delay * random.uniform(0.5, 1.0))  # noqa: S311 - nothing depends on who guesses it


def _date(response: HttpResponse) -> datetime | None:
    """Return what the partner's clock shows; None where it does not say, or says what no clock shows."""
    date = http_date(response.headers.get("Date", ""))
    return date if date is not None and 1970 <= date.year < 9999 else None


def _listing_in(response: HttpResponse, exchange: Exchange, total: int | None) -> bytes:
    """Return the list that a page holds, still to be read.

    Raises:
        StatusError: the partner answered another OCPI status.
        BadAnswer: the response is not OCPI, or holds nothing.
    """
    data = open_answer(response, exchange).data
    if data in (None, b"{}") and not total:
        return b"[]"  # nothing to say
    if data is None:
        raise BadAnswer("answered no list", http_status=response.status, exchange=exchange)
    return data


def _items(operation: Operation, data: bytes, exchange: Exchange) -> Iterator[Any]:
    """Read the items of a page, each when it is wanted.

    Raises:
        BadAnswer: it is no list; raised by the first step.
    """
    try:
        yield from decode_items(data, cast("type[Model]", operation.answer))
    except DecodeError as wrong:
        raise BadAnswer(f"answered no list: {wrong}", http_status=200, exchange=exchange) from None
