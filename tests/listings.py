"""A partner's listing in memory, for tests of crawls; knows neither OCPI's objects nor requests."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

from attrs import Factory, define, field, frozen

from ocpi_gireve.crawl import Arrived, Clock, Heed, Ledger, Listing
from ocpi_gireve.pagination import Link, PageQuery, Rejected
from ocpi_gireve.store import Store

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
URL = "https://partner.example/things"


@frozen(kw_only=True)
class Thing:
    """An object, as far as a crawl looks at it."""

    id: str
    last_updated: datetime


def nothing() -> None:
    """Let everything stay as it is."""


@define(kw_only=True, eq=False)
class Shelf:
    """What a partner lists, how, and what it was asked.

    Attributes:
        things: What there is, in the order of creation; a `Rejected` cannot be read.
        largest: Its largest page.
        by_change: Whether it lists by `last_updated`, and not by creation.
        says_total: Whether it sends ``X-Total-Count``.
        says_next: Whether it sends ``Link``.
        says_time: Whether it sends ``Date``.
        time: Our clock.
        skew: How far its clock is ahead of ours.
        fast: How far the ``Date`` of every other answer is ahead of that: it has two servers.
        before: What happens before it looks at its things.
        after: What happens before its answer arrives.
        queries: What it was asked, as texts by name.
    """

    things: list[Thing | Rejected] = field(factory=list[Thing | Rejected])
    largest: int = 100
    by_change: bool = False
    says_total: bool = True
    says_next: bool = True
    says_time: bool = False
    time: datetime = NOON
    skew: timedelta = timedelta(0)
    fast: timedelta = timedelta(0)
    before: Callable[[], None] = nothing
    after: Callable[[], None] = nothing
    queries: list[dict[str, str]] = field(factory=list[dict[str, str]])
    clock: Clock = field(
        init=False, default=Factory(lambda self: Clock(self.our_time, self.our_seconds), takes_self=True)
    )

    @property
    def now(self) -> datetime:
        """The partner's clock."""
        return self.time + self.skew

    def put(self, *names: str) -> None:
        """Create things, or change them where they are; each a second later than the one before."""
        for name in names:
            self.time += timedelta(seconds=1)
            thing = Thing(id=name, last_updated=self.now)
            places = [place for place, one in enumerate(self.things) if is_called(one, name)]
            for place in places:
                self.things[place] = thing
            if not places:
                self.things.append(thing)

    def drop(self, *names: str) -> None:
        """Delete things."""
        self.things = [one for one in self.things if not any(is_called(one, name) for name in names)]

    def listed(self, query: PageQuery) -> list[Thing | Rejected]:
        """Everything that a query is about."""
        wanted = [one for one in self.things if isinstance(one, Rejected) or query.covers(one.last_updated)]
        if not self.by_change:
            return wanted
        return sorted(wanted, key=lambda one: NOON if isinstance(one, Rejected) else one.last_updated)

    async def ask(self, url: str, heed: Heed) -> Arrived[Thing]:
        """Answer for a page."""
        asked = self.time
        given = dict(parse_qsl(urlsplit(url).query))
        self.queries.append(given)
        self.before()
        limit = min(int(given["limit"]), self.largest)
        query = PageQuery(
            offset=int(given["offset"]),
            limit=limit,
            date_from=moment(given.get("date_from")),
            date_to=moment(given.get("date_to")),
        )
        found = self.listed(query)
        end = query.offset + limit
        link = f"{URL}?offset={end}&limit={limit}"
        link += "".join(f"&{name}={given[name]}" for name in ("date_from", "date_to") if name in given)
        self.after()
        shown = self.now + self.fast * (len(self.queries) % 2)
        date = shown.replace(microsecond=0) if self.says_time else None
        if date is not None:
            self.clock.hear(date)
        following = Link(link) if self.says_next and end < len(found) else None
        await heed(following)
        return Arrived(
            items=iter(found[query.offset : end]),
            total=len(found) if self.says_total else None,
            limit=self.largest,
            next=following,
            asked=asked,
            seconds=(self.time - asked).total_seconds(),
            date=date,
        )

    def listing(
        self,
        *,
        limit: int | None = None,
        longest: timedelta | None = None,
        needs_dates: bool = False,
        max_pages: int = 10_000,
        max_seconds: float = 1e9,
    ) -> Listing[Thing]:
        """This listing as a crawl sees it."""
        return Listing(
            name="Things.list_things",
            partner="partner",
            ask=self.ask,
            url=lambda query: URL + query,
            check=lambda url: url,
            limit=limit or self.largest,
            longest=longest,
            needs_dates=needs_dates,
            max_pages=max_pages,
            max_seconds=max_seconds,
            clock=self.clock,
        )

    def our_time(self) -> datetime:
        """Our clock."""
        return self.time

    def our_seconds(self) -> float:
        """Our clock, as a number."""
        return self.time.timestamp()

    @property
    def offsets(self) -> list[int]:
        """The offsets that were asked for, in order."""
        return [int(query["offset"]) for query in self.queries]


def is_called(one: Thing | Rejected, name: str) -> bool:
    """Tell whether something can be read and has this id."""
    return isinstance(one, Thing) and one.id == name


def moment(text: str | None) -> datetime | None:
    """Read a moment of a query, where there is one."""
    return None if text is None else datetime.fromisoformat(text)


def a_ledger(store: Store, turns: MutableMapping[str, object] | None = None) -> Ledger:
    """Where the pulls of things keep how far they have come."""
    return Ledger(
        store=store,
        connection="partner",
        stream="things",
        turns={} if turns is None else turns,
    )
