"""Full and delta pulls that miss nothing while the partner's data changes; sends no request itself.

A listing is cut into pages by counting, and what is counted changes meanwhile: an object that leaves the
listing, or moves to its end, lets all behind it move up, and the next page begins too late. So a crawl steps
back by as many objects as the listing has lost, and where what came does not prove that it saw everything, it
looks a second time, with pages that overlap.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import aclosing, suppress
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, Self, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

from attrs import asdict, define, evolve, field, frozen

from .errors import BadAnswer, ClientError, Exchange, OcpiError
from .pagination import Link, Page, PageQuery, Rejected
from .store import Store
from .store.records import Watermark
from .types import PartyId, format_datetime, utc_now

log = logging.getLogger("ocpi_gireve.crawl")

T = TypeVar("T")

OVERLAP = timedelta(seconds=5)
"""How far before the start of the last pull a delta begins: a partner lists an object some time after the
moment that it writes into it."""
TOLERANCE = timedelta(seconds=3)
"""How far apart two clocks may be and still count as one: a ``Date`` header has whole seconds and a way to
go."""
MAX_NAMED = 100
"""How many items that could not be read a pull keeps, and a crawl names in the log."""
MAX_KEPT = 1024 * 1024
"""How many bytes of them."""

_STEP = 0.001
"""Seconds of decoding after which others get the event loop."""
_TURNS = 8
"""The items of a page before each of which they get it: so the request for the next page leaves soon."""
_IDLE = 200
"""So many pages on end may bring nothing new, after many objects were deleted at once."""
_BEYOND = 50
"""So many more pages of nothing but objects that are newer than the crawl are read than others."""
_FUTURE = timedelta(days=1)
"""What is dated further ahead than this is not new but wrong."""
_REMEMBERED = 20_000
"""How many objects of a crawl are remembered, so as not to hand them out twice."""
_NAMING = (
    "country_code",
    "party_id",
    "id",
    "uid",
    "auth_id",
    "role",
    "target_operator_country_code",
    "target_operator_party_id",
)
"""The fields that tell the objects of a listing apart, in one class or another."""


# --- what a crawl is given ---------------------------------------------------------------------------------


@define(kw_only=True, eq=False)
class Arrived(Generic[T]):
    """One page as it came: its headers are read, its items one after the other as they are wanted.

    Attributes:
        items: The items, which are read on the way.
        total: ``X-Total-Count``.
        limit: ``X-Limit``.
        next: The ``Link`` to the next page.
        asked: Our clock when the page was asked for.
        seconds: How long it took to come.
        date: The partner's clock when it answered, cut to the second; None where it does not say.
        exchange: Where it came from.
    """

    items: Iterator[T | Rejected]
    total: int | None
    limit: int | None
    next: Link | None
    asked: datetime
    seconds: float
    date: datetime | None
    exchange: Exchange | None = None

    @property
    def looked(self) -> datetime:
        """What the partner's clock showed, at the latest that is certain, before it looked at its objects."""
        return self.asked if self.date is None else self.date - timedelta(seconds=self.seconds)

    @property
    def began(self) -> datetime:
        """The same by whichever clock is behind, the partner's or ours.

        A ``Date`` may come from a machine whose clock is ahead of those that date the objects, such as one of
        several servers. Whoever trusts it asks too late for what was changed meanwhile.
        """
        return min(self.asked, self.looked)

    def peek(self) -> T | Rejected | None:
        """Return the first item and leave it where it is; None where there is none."""
        for first in self.items:
            self.items = chain((first,), self.items)
            return first
        return None


Heed: TypeAlias = Callable[[Link | None], Awaitable[None]]
"""Is told the `Link` of a page whose content is still to be opened."""


@define(eq=False)
class Clock:
    """What time it is at the partner, as far as its ``Date`` headers tell; before the first one, our time."""

    _now: Callable[[], datetime] = utc_now
    _seconds: Callable[[], float] = time.monotonic
    _heard: tuple[datetime, float] | None = field(default=None, init=False)

    def hear(self, date: datetime) -> None:
        """Take note of a ``Date`` that has just come."""
        self._heard = date, self._seconds()

    def ours(self) -> datetime:
        """Return our own time."""
        return self._now()

    def theirs(self) -> datetime:
        """Return the partner's time: ours, unless the two are known to differ."""
        ours = self._now()
        if self._heard is None:
            return ours
        date, at = self._heard
        theirs = date + timedelta(seconds=self._seconds() - at)
        return theirs if abs(theirs - ours) > TOLERANCE else ours


@frozen(kw_only=True, eq=False)
class Listing(Generic[T]):
    """One listing of one partner.

    Attributes:
        name: The operation that lists.
        partner: The connection's id.
        ask: Asks for the page at a URL; told its `Link` as soon as it is known, and waited for then.
        url: Makes the URL of a query, such as ``?offset=0``.
        check: Returns the URL of a `Link` that may be followed, or raises `UrlRefused`.
        rebase: Whether the query of a `Link` is asked at `url` instead.
        limit: How many objects to ask for at once.
        longest: The longest span of dates to ask for at once.
        needs_dates: Whether it may not be asked for everything.
        max_pages: The most pages of one crawl.
        max_seconds: The longest that one crawl waits for the partner.
        clock: The partner's time.
    """

    name: str
    partner: str
    ask: Callable[[str, Heed], Awaitable[Arrived[T]]]
    url: Callable[[str], str]
    check: Callable[[str], str]
    rebase: bool = False
    limit: int = 100
    longest: timedelta | None = None
    needs_dates: bool = False
    max_pages: int = 10_000
    max_seconds: float = 7200.0
    clock: Clock = field(factory=Clock)


# --- one crawl ---------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Step:
    """Where a page is.

    Attributes:
        url: Its URL.
        offset: How many objects stand before it; None where its URL does not tell.
    """

    url: str
    offset: int | None


@frozen(kw_only=True)
class Progress:
    """How far a crawl has come: enough to go on from there.

    Attributes:
        offset: Where the next page begins.
        total: ``X-Total-Count`` of the last page.
        first: That of the first page.
        fresh: How many of the last objects are newer than the crawl, in a row.
        second: Whether it is looking a second time.
    """

    offset: int = 0
    total: int | None = None
    first: int | None = None
    fresh: int = 0
    second: bool = False


class _Recent:
    """The last so many keys."""

    def __init__(self, most: int) -> None:
        self._keys: dict[int, None] = {}
        self._most = most

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def add(self, key: int) -> None:
        self._keys[key] = None
        if len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]

    def clear(self) -> None:
        self._keys.clear()


def _key(item: object) -> int | None:
    """Return what an object in this state is known by again; None where it has no name."""
    if isinstance(item, Rejected):
        return hash(item.raw)
    cls = type(item)
    if cls not in _readers:
        names = [name for name in (*_NAMING, "last_updated") if hasattr(cls, name)]
        _readers[cls] = attrgetter(*names) if len(names) > 1 and names[-1] == "last_updated" else None
    read = _readers[cls]
    return None if read is None else hash(read(item))


_readers: dict[type, Callable[[object], object] | None] = {}
"""What reads the fields that tell the objects of a class apart, and their states."""


class Walk(Generic[T]):
    """One crawl over the pages of a listing.

    First it follows each `Link` to the letter, and asks for the next page while this one is read. It steps
    back by the whole decrease of ``X-Total-Count``. That is all there is to do for a query whose end,
    `date_to`, has passed: objects can only leave its answer.

    From any other query's answer one object can leave in the same moment in which another comes to its end:
    created, or changed where the partner sorts by change. The total does not show that, but what came to the
    end is newer than the crawl. So where the end holds more such objects than the total has grown by, it goes
    through the pages again, and now lets each overlap the one before by an object: if that has moved, it
    steps back until it meets one that it knows. This is also how it walks from the beginning where there is
    no total.

    Args:
        listing: What to crawl.
        query: Which part of it.
        closed: Whether `date_to` has passed at the partner; None: to be seen from the first page.
        progress: Where to go on.
        began: Before the crawl that goes on began, by the partner's clock and by ours.
    """

    def __init__(
        self,
        listing: Listing[T],
        query: PageQuery,
        *,
        closed: bool | None = None,
        progress: Progress | None = None,
        began: datetime | None = None,
    ) -> None:
        progress = progress or Progress(offset=query.offset)
        self._listing = listing
        self._query = query
        self._limit = query.limit or listing.limit
        self._floor = query.offset
        self._closed = closed
        self.began = began
        self._looked = began
        # Where it is, and how it goes on.
        self._overlapping = self._second = self._repeats = progress.second
        self._step = self._own(progress.offset)
        self._stepped_back = False
        self._following: tuple[Step | None] | None = None
        self._links: set[int] = set()
        # Pages that are not read yet: the first one, and the one that is on its way.
        self._opened: Arrived[T] | None = None
        self._ahead: tuple[Step, asyncio.Task[Arrived[T]]] | None = None
        self._awaited: Step | None = None
        # Where the consumer is: the page ahead is no part of the exchange that brought its Link.
        self._context = copy_context()
        # What was handed out, and what was passed in this round.
        self._seen, self._passed = _Recent(_REMEMBERED), _Recent(_REMEMBERED // 5)
        # Of the present page: how many items, how many of them new, how many newer than the crawl.
        self._count = self._new = self._newer = 0
        # Of all pages.
        self.total = progress.total
        self._first = progress.first
        self._fresh = progress.fresh
        self._taken = self._rejected = 0
        self._within = self._beyond = 0
        self._cut = self._missed = self._short = False
        self._asked, self._waited, self._idle = 0, 0.0, 0

    async def open(self) -> Arrived[T]:
        """Ask for the first page, and return it unread.

        Raises:
            OcpiError: it could not be had.
        """
        page = await self._arrive(self._step)
        self.began, self._looked = self.began or page.began, page.looked
        if self._first is None:
            self._first = page.total
        if self._closed is None:
            end = self._query.date_to
            self._closed = end is not None and end <= min(page.asked, page.date or page.asked)
        self._opened = page
        return page

    @property
    def is_whole(self) -> bool:
        """Whether nothing says that there is more than what came, once it has come to its end."""
        return not (self._cut or self._missed or self._short)

    @property
    def has_more(self) -> bool:
        """Whether there seem to be further pages after the first, which is not read yet."""
        page = self._opened
        if page is None:
            return True
        return page.next is not None or (page.total or 0) > self._floor + self._limit

    async def pages(self) -> AsyncGenerator[Arrived[T], None]:
        """Yield the pages; each has to be read with `items`, to its end, before the next one.

        Raises:
            UrlRefused: a `Link` leads elsewhere.
            BadAnswer: the pages run in a circle or have no end.
            OcpiError: a page could not be had.
        """
        page = self._opened or await self.open()
        try:
            while True:
                self._following = None
                self._count = self._new = self._newer = 0
                self._look_ahead(self._step, page.next)
                yield page
                self._require_progress(page)
                self._awaited = step = self.following(page)
                if step is None:
                    return
                self._context = copy_context()
                page = await self._arrive(step)
                self._awaited = None
        finally:
            self._drop_ahead()
            if self._rejected > MAX_NAMED:
                listing = self._listing
                log.warning(
                    "%s: %s: %d items in all cannot be read", listing.name, listing.partner, self._rejected
                )

    async def items(self, page: Arrived[T]) -> AsyncGenerator[T | Rejected, None]:
        """Yield the items of a page that were not handed out yet, and let others run meanwhile."""
        since = 0.0
        while True:
            if self._count < _TURNS or time.perf_counter() - since > _STEP:
                await asyncio.sleep(0)
                since = time.perf_counter()
            item = next(page.items, None)
            if item is None:
                return
            self._count += 1
            self._taken += 1
            key = _key(item)
            known = self._repeats and key is not None and key in self._seen
            if not (self._repeats and key is not None and key in self._passed):
                self._new += 1
                self._note_age(item)
            if key is not None:
                self._passed.add(key)
                self._seen.add(key)
            if known:
                continue
            if isinstance(item, Rejected):
                self._note_rejected(item)
            yield item

    async def read(self, page: Arrived[T]) -> Page[T]:
        """Read a page whole; what was handed out before is left out."""
        found: list[T] = []
        rejected: list[Rejected] = []
        async for item in self.items(page):
            if isinstance(item, Rejected):
                rejected.append(item)
            else:
                found.append(item)
        return Page(items=found, total=page.total, limit=page.limit, next=page.next, rejected=tuple(rejected))

    def following(self, page: Arrived[T]) -> Step | None:
        """Return where the next page is, once this one is read; None: there is none.

        Raises:
            UrlRefused: its `Link` leads elsewhere.
            BadAnswer: it leads back.
        """
        if self._following is None:
            step = self._overlapped(page) if self._overlapping else self._next(page)
            if step is not None and self._is_beyond():
                step, self._cut = None, True
            if step is None and self._in_doubt():
                log.info(
                    "%s: %s: objects moved meanwhile; listed again", self._listing.name, self._listing.partner
                )
                self._overlapping = self._second = self._repeats = True
                self._passed.clear()
                self._within = self._beyond = 0
                self._cut = self._missed = self._short = False
                step = self._own(self._floor)
            self._following = (step,)
        return self._following[0]

    def progress(self, step: Step) -> Progress | None:
        """Return what it takes to go on at a step; None where it cannot be told from its URL alone."""
        if step.offset is None or (self._overlapping and step.offset > self._floor):
            return None
        return Progress(
            offset=step.offset,
            total=self.total,
            first=self._first,
            fresh=self._fresh,
            second=self._second,
        )

    # --- where to go ---

    def _own(self, offset: int) -> Step:
        """Return the step to an offset, in our own words."""
        query = self._query
        dates = {"date_from": query.date_from, "date_to": query.date_to}
        pairs = [(name, format_datetime(moment)) for name, moment in dates.items() if moment is not None]
        pairs += [("offset", str(offset)), ("limit", str(self._limit))]
        return Step(url=self._listing.url(f"?{urlencode(pairs, safe=':')}"), offset=offset)

    def _linked(self, link: Link) -> Step:
        """Return the step that a `Link` names, with the dates that it must not lose.

        Raises:
            UrlRefused: it leads elsewhere.
        """
        query = link.url.partition("#")[0].partition("?")[2]
        url = self._listing.url(f"?{query}") if self._listing.rebase else self._listing.check(link.url)
        given = dict(parse_qsl(query, keep_blank_values=True))
        text = given.get("offset", "")
        offset = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
        if offset is not None:
            # "The Link should also contain any filters present in the original request."
            dates = {"date_from": self._query.date_from, "date_to": self._query.date_to}
            lost = [
                (name, format_datetime(moment))
                for name, moment in dates.items()
                if moment is not None and name not in given
            ]
            url += f"&{urlencode(lost, safe=':')}" if lost else ""
        return Step(url=url, offset=offset)

    def _is_full(self, page: Arrived[T]) -> bool:
        return self._count > 0 and self._count >= min(self._limit, page.limit or self._limit)

    def _next(self, page: Arrived[T]) -> Step | None:
        """Return the next step to the letter of the `Link`, where there is one."""
        here, count, total = self._step, self._count, page.total
        end = None if here.offset is None else here.offset + count
        reached = total is not None and (self._taken if end is None else end) >= total
        if page.next is None:
            # A partner that leaves out the Link although its own total says that there is more.
            if end is None or not count or reached or (total is None and not self._is_full(page)):
                if not reached:
                    self._end_short(page)
                return None
            return self._own(end)
        if not count and (reached or total is None):
            return None  # an empty page is the last one, whatever it links to
        step = self._linked(page.next)
        if end is not None and step.offset is not None and step.offset > end:
            if self._is_full(page):
                # It counts in pages as long as we asked for, and makes shorter ones.
                return self._own(end)
            # What stands between was left out, if anything did: we may not be meant to see it.
            self._missed = True
        back = here.offset is not None and step.offset is not None and step.offset <= here.offset
        if back or step.url == here.url or hash(step.url) in self._links:
            if reached:
                return None
            raise self._bad("answered pages that run in a circle", page)
        self._links.add(hash(step.url))
        return step

    def _overlapped(self, page: Arrived[T]) -> Step | None:
        """Return the next step so that its page begins with the last object of this one."""
        here, count = self._step, self._count
        if here.offset is None:
            return self._next(page)
        end = here.offset + count
        if page.total is not None:
            more = end < page.total and count > 0
            if not count:
                self._end_short(page)
        else:
            more = (page.next is not None or self._is_full(page)) and (self._new > 0 or self._stepped_back)
            if more and page.next is not None and self._linked(page.next).offset is None:
                return self._next(page)  # only the Link knows the way
        if not more:
            return None
        # A page of one object leaves no room to overlap.
        return self._own(end - 1 if count > 1 else end)

    def _end_short(self, page: Arrived[T]) -> None:
        """Take note of an end before the total."""
        end = self._taken if self._step.offset is None else self._step.offset + self._count
        if page.total is not None and end < page.total:
            self._short = True
            log.warning(
                "%s: %s: ended after %d of %d", self._listing.name, self._listing.partner, end, page.total
            )

    def _in_doubt(self) -> bool:
        """Whether objects may have moved unseen, once the last page is read."""
        if self._closed or self._overlapping or self.total is None or self._first is None:
            return False
        if self._step.offset is None or (self._asked == 1 and self._step.offset == self._floor):
            return False
        end = self._step.offset + self._count
        return self._fresh > (end if self._cut else self.total) - self._first

    def _is_beyond(self) -> bool:
        """Whether the listing grows as fast as it is read, and nothing but newer objects follows."""
        if self._new and self._newer < self._new:
            self._within += self._beyond + 1
            self._beyond = 0
        elif self._new:
            self._beyond += 1
        return self._beyond > self._within + _BEYOND

    def _note_rejected(self, item: Rejected) -> None:
        """Log the first items that cannot be read by their places, without their content."""
        self._rejected += 1
        if self._rejected <= MAX_NAMED:
            listing, problems = self._listing, "; ".join(str(problem) for problem in item.problems[:3])
            log.warning(
                "%s: %s: item %d cannot be read: %s", listing.name, listing.partner, item.index, problems
            )

    def _note_age(self, item: T | Rejected) -> None:
        if isinstance(item, Rejected) or self.began is None or self._looked is None:
            return
        changed = getattr(item, "last_updated", None)
        if isinstance(changed, datetime) and changed < self._looked + _FUTURE:
            self._fresh = self._fresh + 1 if changed >= self.began else 0
            self._newer += changed >= self._looked
        else:
            self._fresh = 0

    # --- getting there ---

    async def _arrive(self, step: Step) -> Arrived[T]:
        """Get a page, or one before it where objects have moved up."""
        page = await self._take(step)
        expected = step.offset
        self._stepped_back = False
        if self._overlapping:
            step, page = await self._anchored(step, page)
        else:
            while (lost := self._lost(page)) and step.offset is not None and step.offset > self._floor:
                step = self._own(max(self._floor, step.offset - lost))
                page = await self._fetch(step)
            # Only its Link knows where it is. Does that count, or go by an object? Nobody can tell.
            self._missed |= lost > 0 and step.offset is None
        if page.total is None:
            self._overlapping = True
        if page.limit:
            self._limit = min(self._limit, page.limit)
        self._stepped_back = step.offset != expected
        if self._stepped_back:
            self._links.clear()
        self._repeats = self._second or self._overlapping or self._stepped_back
        if page.total is not None:
            self.total = page.total
        self._step = step
        return page

    def _lost(self, page: Arrived[T]) -> int:
        """Return how many objects fewer there are than on the page before."""
        if page.total is None or self.total is None:
            return 0
        lost, self.total = self.total - page.total, page.total
        return max(0, lost)

    async def _anchored(self, step: Step, page: Arrived[T]) -> tuple[Step, Arrived[T]]:
        """Step back until a page begins with an object that was passed and has not changed."""
        back = 1
        while step.offset is not None and step.offset > self._floor:
            first = page.peek()
            key = None if first is None else _key(first)
            if first is not None and (key is None or key in self._passed):
                break
            before = step.offset - back
            if page.total is not None:
                before = min(before, page.total - 1)
            step = self._own(max(self._floor, before))
            page = await self._fetch(step)
            back *= 2
        return step, page

    def _look_ahead(self, here: Step, link: Link | None) -> None:
        """Ask for the next page already, where it is known before this one is read."""
        step: Step | None = None
        if not self._overlapping and link is not None:
            with suppress(OcpiError):  # said when the consumer has taken this page
                step = self._linked(link)
        if step is not None and self._ahead is not None and self._ahead[0] == step:
            return
        self._drop_ahead()
        if step is not None and step.url != here.url and hash(step.url) not in self._links:
            task = asyncio.create_task(self._fetch(step), context=self._context.copy())
            self._ahead = step, task

    async def _heed(self, here: Step, link: Link | None) -> None:
        """Ask for the next page as soon as the `Link` of one is there that the consumer waits for.

        To open its content takes longer than to send the next request, and longer than others should wait.
        """
        if here == self._awaited:
            self._look_ahead(here, link)
        await asyncio.sleep(0)

    async def _take(self, step: Step) -> Arrived[T]:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return await self._fetch(step)
        asked, task = ahead
        if asked.url == step.url:
            try:
                return await task
            finally:
                _forget(task)
        _forget(task)
        return await self._fetch(step)

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            _forget(self._ahead[1])
            self._ahead = None

    async def _fetch(self, step: Step) -> Arrived[T]:
        if self._asked >= self._listing.max_pages:
            raise self._bad(f"answered more than {self._listing.max_pages} pages", self._opened)
        self._asked += 1
        page = await self._listing.ask(step.url, partial(self._heed, step))
        self._waited += page.seconds
        if self._waited > self._listing.max_seconds:
            raise self._bad(f"took more than {self._listing.max_seconds:g} s for its pages", page)
        if page.total is not None and page.total <= (step.offset or 0) and page.peek() is not None:
            page.total = None  # there is an object beyond it: it counts something else
        return page

    def _require_progress(self, page: Arrived[T]) -> None:
        """Give up where one page after the other brings nothing new: its totals go up and down, say."""
        self._idle = self._idle + 1 if not self._new else 0
        if self._idle > _IDLE:
            raise self._bad(f"answered {_IDLE} pages on end with nothing new", page)

    def _bad(self, reason: str, page: Arrived[T] | None) -> BadAnswer:
        exchange = page.exchange if page else None
        if exchange is None:
            reason = f"{self._listing.name}: {self._listing.partner}: {reason}"
        return BadAnswer(reason, http_status=200, exchange=exchange)


def _forget(task: asyncio.Task[Any]) -> None:
    """Stop a task that nobody waits for, and whose error nobody wants."""
    task.cancel()
    task.add_done_callback(lambda done: None if done.cancelled() else done.exception())


async def crawl(listing: Listing[T], query: PageQuery) -> AsyncGenerator[T, None]:
    """Yield the objects of a listing; those that cannot be read are logged and left out."""
    walk = Walk(listing, query)
    async with aclosing(walk.pages()) as pages:
        async for page in pages:
            async with aclosing(walk.items(page)) as items:
                async for item in items:
                    if not isinstance(item, Rejected):
                        yield item


async def crawl_pages(listing: Listing[T], query: PageQuery) -> AsyncGenerator[Page[T], None]:
    """Yield the pages of a listing, and no object twice."""
    walk = Walk(listing, query)
    begun = False
    async with aclosing(walk.pages()) as pages:
        async for page in pages:
            read = await walk.read(page)
            if read.items or read.rejected or not begun:
                begun = True
                yield read


# --- pulls, which remember ---------------------------------------------------------------------------------


@frozen(kw_only=True)
class Run:
    """One pull that has begun, as it survives a restart.

    Attributes:
        full: Whether it is of everything.
        start: From when on it asks for changes.
        since: From when on the present span of it does.
        until: Up to when.
        began: Before it began, by the partner's clock and by ours.
        at: Our clock at its start.
        progress: How far it has come from `since`.
    """

    full: bool
    start: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    began: datetime | None = None
    at: datetime
    progress: Progress = field(factory=Progress)

    def to_text(self) -> bytes:
        """Write it down."""
        return json.dumps(asdict(self), default=datetime.isoformat).encode()

    @classmethod
    def from_text(cls, text: bytes) -> Self:
        """Read what `to_text` wrote.

        Raises:
            ValueError: it is something else.
        """
        found = json.loads(text)
        try:
            moments = {
                name: None if found[name] is None else datetime.fromisoformat(found[name])
                for name in ("start", "since", "until", "began", "at")
            }
            return cls(full=found["full"], progress=Progress(**found["progress"]), **cast("Any", moments))
        except (KeyError, TypeError) as wrong:
            raise ValueError("not a pull") from wrong


@frozen(kw_only=True)
class Ledger:
    """Where one stream of pulls keeps how far it has come.

    Attributes:
        store: Keeps it.
        connection: The connection's id.
        stream: What is pulled, by whom and from whom.
        owner: The only party whose objects are asked for; None: everybody's behind the partner.
        turns: Which pull of each stream is the present one, in this process.
    """

    store: Store
    connection: str
    stream: str
    owner: PartyId | None = None
    turns: MutableMapping[str, object]

    async def read(self) -> Watermark:
        """Return how far the last pull came."""
        return await self.store.watermark(self.connection, self.stream) or Watermark()

    async def keep(self, watermark: Watermark) -> None:
        """Keep how far a pull has come."""
        await self.store.save_watermark(self.connection, self.stream, watermark)


class Pull(Generic[T]):
    """The objects of one pull, one after the other, and what there is to know about it meanwhile.

    Iterate over it to its end: only when everything was taken does the next pull begin where this one began.
    What is left half-way, by a `break`, an exception or the end of the process, goes on at the page that was
    not taken whole; some of its objects come again then. ``await aclose()`` leaves it at once. `pages` gives
    whole pages instead.

    Of one stream, one pull is the present one: beginning another ends this one.

    Attributes:
        full: Whether it is of everything, and not of changes only.
        resumed: Whether it goes on with one that was left half-way.
        since: The partner's moment from which on changes are asked for; None in a full pull.
        until: Up to which moment; None in a full pull.
        total: How many objects the partner has for it, as it said last; None where it does not say.
        taken: How many objects were handed out.
        rejected: The first items that could not be read, up to `MAX_NAMED` of them and `MAX_KEPT` bytes. They
            do not hold the pull up.
        rejected_count: How many there were.
        done: Whether everything was taken, so that the next pull begins where this one began.
        whole: Whether it has handed out everything that there is, so that what did not come is gone: it was
            full, not resumed, came to the end of the listing, and nothing said that there is more.
    """

    def __init__(
        self,
        listing: Listing[T],
        ledger: Ledger,
        *,
        full: bool,
        since: datetime | None,
        resume: bool,
        overlap: timedelta,
    ) -> None:
        if since is not None and since.utcoffset() is None:
            raise ValueError(f"{listing.name}: expected since= with a time zone")
        self._listing = listing
        self._ledger = ledger
        self._wanted = full, since, resume, overlap
        self._turn = object()
        self._begun = False
        self._watermark = Watermark()
        self._objects, self._pages = self._by_object(), self._by_page()
        self.full = full
        self.resumed = False
        self.since: datetime | None = since
        self.until: datetime | None = None
        self.total: int | None = None
        self.taken = 0
        self.rejected: list[Rejected] = []
        self.rejected_count = 0
        self.done = self.whole = False

    @property
    def partner(self) -> str:
        """The id of the connection that is pulled over."""
        return self._ledger.connection

    @property
    def owner(self) -> PartyId | None:
        """The only party whose objects are asked for; None: everybody's behind the partner."""
        return self._ledger.owner

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await self._objects.__anext__()

    def pages(self) -> AsyncGenerator[Page[T], None]:
        """Iterate over whole pages, to take each in one transaction; one that brings nothing new is left out.

        A page is taken when the next one is asked for. Iterate over either objects or pages.
        """
        return self._pages

    async def aclose(self) -> None:
        """Leave it; the next pull goes on where this one is."""
        await self._objects.aclose()
        await self._pages.aclose()

    # --- handing out ---

    async def _by_object(self) -> AsyncGenerator[T, None]:
        async with aclosing(self._visits()) as visits:
            async for walk, page in visits:
                async with aclosing(walk.items(page)) as items:
                    async for item in items:
                        if isinstance(item, Rejected):
                            self._reject(item)
                        else:
                            self.taken += 1
                            yield item

    async def _by_page(self) -> AsyncGenerator[Page[T], None]:
        async with aclosing(self._visits()) as visits:
            async for walk, page in visits:
                read = await walk.read(page)
                for item in read.rejected:
                    self._reject(item)
                self.taken += len(read.items)
                if read.items or read.rejected:
                    yield read

    def _reject(self, item: Rejected) -> None:
        self.rejected_count += 1
        if len(self.rejected) < MAX_NAMED:
            kept = sum(len(one.raw) for one in self.rejected)
            if kept + len(item.raw) <= MAX_KEPT:
                self.rejected.append(item)

    # --- going on ---

    async def _visits(self) -> AsyncGenerator[tuple[Walk[T], Arrived[T]], None]:
        """Yield each page to be read, and note it as taken when the next one is asked for."""
        if self._begun:
            raise RuntimeError(
                f"{self._listing.name}: expected its objects or its pages to be taken, not both"
            )
        self._begun = True
        self._ledger.turns[self._ledger.stream] = self._turn
        self._watermark = await self._ledger.read()
        run = self._left_half_way()
        self.resumed = run is not None
        run, walk = await self._opened(run or self._beginning())
        while True:
            async with aclosing(walk.pages()) as pages:
                async for page in pages:
                    self.total = walk.total
                    yield walk, page
                    self._require_turn()
                    step = walk.following(page)
                    progress = None if step is None else walk.progress(step)
                    if progress is not None:
                        await self._note(evolve(run, progress=progress))
            end = self._end(run)
            if run.until is None or end is None or end >= run.until:
                break
            run = evolve(run, since=end, progress=Progress())
            await self._note(run)
            run, walk = await self._opened(run)
        self._require_turn()
        await self._ledger.keep(self._finished(run))
        self.done = True
        self.whole = run.full and not self.resumed and walk.is_whole

    def _left_half_way(self) -> Run | None:
        """Return the pull that was left half-way, where it is what is wanted now."""
        full, since, resume, _ = self._wanted
        text = self._watermark.unfinished
        if text is None or not resume or since is not None:
            return None
        try:
            run = Run.from_text(text)
        except ValueError:
            name = self._ledger.connection, self._ledger.stream
            log.warning("%s: %s: where the last pull stopped cannot be read", *name)
            return None
        return run if run.full or not full else None

    def _beginning(self, refused: Run | None = None) -> Run:
        """Return a new pull: of what has changed, where there was one before.

        Args:
            refused: One that was left half-way, and with which the partner refuses to go on: its place may be
                gone with what was there, but not what it was begun for.
        """
        full, since, _, overlap = self._wanted
        if refused is not None:
            full, since = refused.full, refused.start
        elif since is None and self._watermark.since is not None and not full:
            since = self._watermark.since - overlap
        clock = self._listing.clock
        at, until = clock.ours(), clock.theirs()
        if since is not None:
            return Run(full=False, start=since, since=since, until=max(until, since), at=at)
        if self._listing.needs_dates:
            raise ValueError(f"{self._listing.name}: expected since=, for it is listed by dates only")
        return Run(full=True, at=at)

    async def _opened(self, run: Run) -> tuple[Run, Walk[T]]:
        """Ask for the first page of a span, with dates and at a place that the partner takes."""
        # What the next pull would not do by itself.
        named = self._wanted[0] or self._wanted[1] is not None
        while True:
            walk = self._walk(run)
            try:
                first = await walk.open()
            except ClientError as refused:
                if not self.resumed or refused.http_status == 401:
                    raise
                log.warning("%s: %s: begins anew", self._ledger.connection, self._ledger.stream)
                self.resumed, named = False, True
                await self._ledger.keep(evolve(self._watermark, unfinished=None))
                run = self._beginning(run)
                continue
            if run.began is not None:
                return run, walk
            run = evolve(run, began=walk.began)
            moved = self._moved(run, walk, first)
            if moved is not None:
                run, walk = moved, self._walk(moved)
                await walk.open()
            if named:
                await self._note(run)
            return run, walk

    def _walk(self, run: Run) -> Walk[T]:
        self.full, self.since, self.until = run.full, run.since, run.until
        end = self._end(run)
        return Walk(
            self._listing,
            PageQuery(date_from=run.since, date_to=end, limit=self._listing.limit),
            # A `Date` that is ahead of our clock may be ahead of the partner's other clocks, too.
            closed=end is not None and end <= self._listing.clock.ours() + TOLERANCE,
            progress=run.progress,
            began=run.began,
        )

    def _end(self, run: Run) -> datetime | None:
        """Return where the present span of dates ends."""
        if run.since is None or run.until is None or self._listing.longest is None:
            return run.until
        return min(run.until, run.since + self._listing.longest)

    def _moved(self, run: Run, walk: Walk[T], first: Arrived[T]) -> Run | None:
        """Return the run with another end, where it turns out to lie ahead of the partner's clock, or behind.

        Of a single page it may lie ahead a little: then nothing can move from one page to another.
        """
        theirs = first.date
        if run.until is None or run.start is None or theirs is None:
            return None
        ahead = run.until > theirs and walk.has_more and self._end(run) == run.until
        if not ahead and abs(run.until - theirs) <= TOLERANCE:
            return None
        _, since, _, overlap = self._wanted
        begin = run.start
        if since is None and begin > theirs - overlap:
            # Its clock was set back: what changed since then is dated from as long ago as that was.
            begin = theirs - max(run.at - run.start, overlap)
        return evolve(run, start=begin, since=begin, until=max(theirs, begin))

    # --- remembering ---

    async def _note(self, run: Run) -> None:
        """Keep how far it has come."""
        await self._ledger.keep(evolve(self._watermark, unfinished=run.to_text()))

    def _finished(self, run: Run) -> Watermark:
        """Return where the next delta begins after a complete run."""
        mark, began = self._watermark, run.began or run.at
        if run.start is None or run.until is None:
            return Watermark(since=began, full=run.at)
        # Does it leave out what changed before it, and no other pull has brought?
        gap = not self._listing.needs_dates if mark.since is None else run.start > mark.since
        return Watermark(since=mark.since if gap else min(began, run.until), full=mark.full)

    def _require_turn(self) -> None:
        if self._ledger.turns.get(self._ledger.stream) is not self._turn:
            raise RuntimeError(f"{self._listing.name}: another pull of it has begun")
