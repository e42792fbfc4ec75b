"""Crawls: which pages are asked for, in which order, and what a pull remembers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime, timedelta
from itertools import count, cycle
from urllib.parse import parse_qsl, urlsplit

import pytest
from attrs import evolve, frozen

from ocpi_gireve.crawl import (
    MAX_KEPT,
    MAX_NAMED,
    OVERLAP,
    Arrived,
    Clock,
    Heed,
    Listing,
    Pull,
    crawl,
    crawl_pages,
)
from ocpi_gireve.errors import BadAnswer, InvalidParameters, NoAnswer, Problem, Unauthorized, UnknownObject
from ocpi_gireve.pagination import Link, PageQuery, Rejected
from ocpi_gireve.store import MemoryStore
from ocpi_gireve.store.records import Watermark
from tests.listings import NOON, URL, Shelf, Thing, a_ledger, moment

SECOND = timedelta(seconds=1)
BAD = Rejected(index=0, raw=b"{}", problems=(Problem("/id", "missing", "expected a CiString"),))


def names(number: int) -> list[str]:
    """So many names."""
    return [f"T{one}" for one in range(number)]


def a_shelf(
    number: int, *, by_change: bool = False, says_total: bool = True, says_next: bool = True
) -> Shelf:
    """A partner with so many things, in pages of four, that were there two hours ago."""
    shelf = Shelf(
        largest=4,
        time=NOON - timedelta(hours=2),
        by_change=by_change,
        says_total=says_total,
        says_next=says_next,
    )
    shelf.put(*names(number))
    shelf.time = NOON
    return shelf


async def ids(things: AsyncIterator[Thing]) -> list[str]:
    """The names of things, in order."""
    return [one.id async for one in things]


async def crawled(shelf: Shelf, query: PageQuery | None = None) -> list[str]:
    """What a crawl brings."""
    return await ids(crawl(shelf.listing(), query or PageQuery()))


def at_request(shelf: Shelf, number: int, *, put: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> None:
    """Let things change just before the partner looks for the page that is asked for by this request."""

    def change() -> None:
        if len(shelf.queries) == number:
            shelf.put(*put)
            shelf.drop(*drop)

    shelf.before = change


# --- the way through the pages -----------------------------------------------------------------------------


async def test_links_are_followed_to_the_letter() -> None:
    """A crawl of everything begins at offset 0 without dates, and then asks for what each Link says."""
    shelf = a_shelf(10)
    assert await crawled(shelf) == names(10)
    assert shelf.queries == [
        {"offset": "0", "limit": "4"},
        {"offset": "4", "limit": "4"},
        {"offset": "8", "limit": "4"},
    ]


@pytest.mark.parametrize(("taken", "asked"), [(1, [0, 4]), (4, [0, 4]), (5, [0, 4, 8]), (9, [0, 4, 8, 12])])
async def test_next_page_is_on_its_way_while_one_is_read(taken: int, asked: list[int]) -> None:
    """One page is asked for ahead of the consumer, and not a second one."""
    shelf = a_shelf(20)
    things = crawl(shelf.listing(), PageQuery())
    for _ in range(taken):
        await anext(things)
    await turns()
    assert shelf.offsets == asked
    await things.aclose()
    await turns()
    assert shelf.offsets == asked


async def turns() -> None:
    """Let everything run that is ready to."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_next_page_is_asked_for_before_this_one_is_opened() -> None:
    """Where the consumer waits for a page, the one after it is asked for once its Link is there."""
    shelf = a_shelf(12)
    happened: list[str] = []

    async def ask(url: str, heed: Heed) -> Arrived[Thing]:
        offset = parse_qsl(urlsplit(url).query)[0][1]
        happened.append(f"asked {offset}")
        await turns()  # longer than it takes to read a page of four
        page = await shelf.ask(url, heed)
        happened.append(f"opened {offset}")
        return page

    await ids(crawl(evolve(shelf.listing(), ask=ask), PageQuery()))
    assert happened == ["asked 0", "opened 0", "asked 4", "asked 8", "opened 4", "opened 8"]


async def test_exchanges_of_a_crawl_are_apart() -> None:
    """A page that is asked for during the exchange that brought its Link is no part of that."""
    shelf = a_shelf(16)
    within: ContextVar[str] = ContextVar("within", default="")
    seen: list[str] = []

    async def ask(url: str, heed: Heed) -> Arrived[Thing]:
        seen.append(within.get())
        entered = within.set(url)
        await turns()
        try:
            return await shelf.ask(url, heed)
        finally:
            within.reset(entered)

    within.set("the consumer")
    await ids(crawl(evolve(shelf.listing(), ask=ask), PageQuery()))
    assert seen == ["the consumer"] * 4


async def test_page_that_cannot_be_opened() -> None:
    """What was asked for ahead is dropped where the page before it turns out to be an error."""
    shelf = a_shelf(12)
    dropped = asyncio.Event()

    async def ask(url: str, heed: Heed) -> Arrived[Thing]:
        if len(shelf.queries) == 2:
            try:
                await asyncio.Event().wait()
            finally:
                dropped.set()
        first = not shelf.queries
        await turns()
        page = await shelf.ask(url, heed)
        if not first:
            raise NoAnswer("cut off")
        return page

    things = crawl(evolve(shelf.listing(), ask=ask), PageQuery())
    assert [(await anext(things)).id for _ in range(4)] == names(4)
    with pytest.raises(NoAnswer):
        await anext(things)
    async with asyncio.timeout(5):
        await dropped.wait()


async def test_page_that_fails_costs_nothing_of_the_one_before() -> None:
    """Everything of a page arrives before the error of the next one does."""
    shelf = a_shelf(10)

    def fail() -> None:
        if len(shelf.queries) == 2:
            raise NoAnswer("cut off")

    shelf.before = fail
    things = crawl(shelf.listing(), PageQuery())
    assert [(await anext(things)).id for _ in range(4)] == names(4)
    with pytest.raises(NoAnswer):
        await anext(things)


async def test_others_run_while_a_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long page does not keep the event loop to itself."""
    monkeypatch.setattr("ocpi_gireve.crawl._STEP", 0.0)
    shelf = Shelf(largest=500)
    shelf.put(*names(500))
    others = 0

    async def run() -> None:
        nonlocal others
        for _ in count():
            others += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(run())
    assert len(await crawled(shelf)) == 500
    other.cancel()
    assert others >= 500


async def test_partner_gives_less_than_was_asked_for() -> None:
    """Where the partner's own limit is smaller, the pages are its own, Link or not."""
    for says_next in (True, False):
        shelf = a_shelf(10, says_next=says_next)
        assert await ids(crawl(shelf.listing(limit=100), PageQuery())) == names(10)
        assert shelf.offsets == [0, 4, 8]
        assert [query["limit"] for query in shelf.queries] == ["100", "4", "4"]


async def test_query_is_kept() -> None:
    """A crawl of a part asks for that part on every page, from its own offset on."""
    shelf = a_shelf(10)
    query = PageQuery(offset=2, limit=3, date_to=NOON)
    assert await crawled(shelf, query) == names(10)[2:]
    assert {one["date_to"] for one in shelf.queries} == {"2026-11-01T12:00:00Z"}
    assert shelf.offsets == [2, 5, 8]


async def test_link_that_lost_the_dates() -> None:
    """Dates that a Link forgot are added to it, or the rest of a delta would be that of everything."""
    shelf = a_shelf(10)
    forget = shelf.ask

    async def ask(url: str, heed: Heed) -> Arrived[Thing]:
        page = await forget(url, heed)
        if page.next is not None:
            page.next = Link(page.next.url.partition("&date")[0])
        return page

    listing = evolve(shelf.listing(), ask=ask)
    query = PageQuery(date_from=NOON - timedelta(hours=3), date_to=NOON)
    assert await ids(crawl(listing, query)) == names(10)
    assert [query.keys() for query in shelf.queries] == [{"offset", "limit", "date_from", "date_to"}] * 3


async def test_links_that_hide_their_offset() -> None:
    """A Link that does not name an offset is followed as it is."""
    links = {f"{URL}?offset=0&limit=100": "?after=a", f"{URL}?after=a": "?after=b"}
    asked: list[str] = []

    async def ask(url: str, _heed: Heed) -> Arrived[Thing]:
        asked.append(url)
        found = [Thing(id=f"T{len(asked)}", last_updated=NOON)]
        return a_page(found, total=3, link=links.get(url))

    assert await ids(crawl(a_listing(ask), PageQuery())) == ["T1", "T2", "T3"]
    assert asked == [f"{URL}?offset=0&limit=100", f"{URL}?after=a", f"{URL}?after=b"]


def a_page(found: list[Thing], *, total: int | None = None, link: str | None = None) -> Arrived[Thing]:
    """A page as it came."""
    return Arrived(
        items=iter(found),
        total=total,
        limit=None,
        next=None if link is None else Link(URL + link),
        asked=NOON,
        seconds=1.0,
        date=None,
    )


def a_listing(
    ask: Callable[[str, Heed], Awaitable[Arrived[Thing]]],
    *,
    max_pages: int = 10_000,
    max_seconds: float = 1e9,
) -> Listing[Thing]:
    """A listing of which only the answers matter."""
    return evolve(Shelf().listing(), ask=ask, max_pages=max_pages, max_seconds=max_seconds)


@pytest.mark.parametrize("says_total", [True, False])
async def test_partner_that_sends_no_links(*, says_total: bool) -> None:
    """Where there is no Link, the total, or a page that is full, tells that there is more."""
    shelf = a_shelf(8, says_next=False, says_total=says_total)
    assert await crawled(shelf) == names(8)
    assert shelf.offsets == ([0, 4] if says_total else [0, 3, 6])


async def test_partner_that_does_not_page() -> None:
    """A partner that sends everything at once, and says nothing of pages, is asked once."""
    shelf = Shelf(says_next=False, says_total=False)
    shelf.put(*names(7))
    assert await crawled(shelf) == names(7)
    assert shelf.offsets == [0]


async def test_link_on_the_last_page() -> None:
    """A Link to an empty page, or to itself once all was counted, is not followed further."""
    pages = [("?offset=100", 1), ("?offset=100", 0)]

    async def ask(_: str, _heed: Heed) -> Arrived[Thing]:
        link, number = pages[len(asked)]
        asked.append(link)
        return a_page([Thing(id="T0", last_updated=NOON - SECOND)] * number, total=1, link=link)

    asked: list[str] = []
    assert await ids(crawl(a_listing(ask), PageQuery())) == ["T0"]
    assert len(asked) == 2


@pytest.mark.parametrize("total", [6, None])
@pytest.mark.parametrize("name", ["offset", "after"])
async def test_partner_that_always_sends_a_link(total: int | None, name: str) -> None:
    """An empty page is the last one where nothing says that there is more, whatever it links to."""
    asked: list[str] = []

    async def ask(url: str, _heed: Heed) -> Arrived[Thing]:
        asked.append(url)
        begin = int(url.partition(f"{name}=")[2].partition("&")[0] or 0)
        found = [Thing(id=one, last_updated=NOON - SECOND) for one in names(6)[begin : begin + 4]]
        return a_page(found, total=total, link=f"?{name}={begin + 4}")

    assert await ids(crawl(a_listing(ask), PageQuery())) == names(6)
    assert len(asked) <= 4


async def test_empty_page_before_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A partner that says there are more objects than it lists is left, and that is logged."""
    pages = [("?offset=1&limit=1", 1), (None, 0)]

    async def ask(_: str, _heed: Heed) -> Arrived[Thing]:
        link, number = pages.pop(0)
        return a_page([Thing(id="T0", last_updated=NOON - SECOND)] * number, total=9, link=link)

    assert await ids(crawl(a_listing(ask), PageQuery())) == ["T0"]
    assert "Things.list_things: partner: ended after 1 of 9" in caplog.text


@pytest.mark.parametrize("says_limit", [True, False])
async def test_link_that_leaps(*, says_limit: bool) -> None:
    """A Link past objects that did not come is not followed where the page is as long as pages are there.

    Else they may be none of our business; but nobody takes what did not come to be gone.
    """

    async def ask(url: str, _heed: Heed) -> Arrived[Thing]:
        asked = dict(parse_qsl(urlsplit(url).query))
        begin, limit = int(asked["offset"]), int(asked["limit"])
        found = [Thing(id=one, last_updated=NOON - SECOND) for one in names(8)[begin : begin + 2]]
        page = a_page(found, total=8, link=f"?offset={begin + limit}&limit={limit}" if begin < 6 else None)
        page.limit = 2 if says_limit else None
        return page

    desk = await a_desk(Shelf())
    desk.listing = evolve(a_listing(ask), limit=3)
    pull = desk.pull()
    assert await ids(pull) == (names(8) if says_limit else ["T0", "T1", "T3", "T4", "T6", "T7"])
    assert (pull.done, pull.whole) == (True, says_limit)


@pytest.mark.parametrize("says_next", [True, False])
async def test_what_a_partner_leaves_out_is_not_gone(*, says_next: bool) -> None:
    """Where fewer objects come than a partner says there are, the others are not taken to be gone."""
    shelf = a_shelf(8, says_next=says_next)
    desk = await a_desk(shelf)
    answer = desk.listing.ask

    async def ask(url: str, heed: Heed) -> Arrived[Thing]:
        page = await answer(url, heed)
        if len(shelf.queries) > 1:
            page.items, page.next = iter(()), None
        return page

    desk.listing = evolve(desk.listing, ask=ask)
    pull = desk.pull()
    assert await ids(pull) == names(4)
    assert (pull.done, pull.whole) == (True, False)


@pytest.mark.parametrize("totals", [(4, 4), (4, 3)])
async def test_objects_left_behind_a_link_of_the_partners_own(totals: tuple[int, int]) -> None:
    """Where objects leave, and no offset tells how far to step back, others may have been passed over."""
    pages = [a_page([Thing(id=one, last_updated=NOON - SECOND)] * 2, total=4) for one in ("T0", "T1")]
    pages[0].next, pages[1].total = Link(f"{URL}?page=2"), totals[1]

    async def ask(_: str, _heed: Heed) -> Arrived[Thing]:
        return pages.pop(0)

    desk = await a_desk(Shelf())
    desk.listing = a_listing(ask)
    pull = desk.pull()
    await ids(pull)
    assert (pull.done, pull.whole) == (True, totals == (4, 4))


@pytest.mark.parametrize("links", [["?offset=0&limit=1"], ["?after=x"], ["?after=x", "?after=y"]])
async def test_pages_in_a_circle(links: list[str]) -> None:
    """A Link that leads back ends the crawl with an error."""
    following = cycle(links)

    async def ask(_: str, _heed: Heed) -> Arrived[Thing]:
        return a_page([Thing(id="T0", last_updated=NOON)], total=9, link=next(following))

    with pytest.raises(BadAnswer, match=r"Things\.list_things: partner: answered pages that run in a circle"):
        await ids(crawl(a_listing(ask), PageQuery()))


async def test_pages_without_end() -> None:
    """There is a most of pages, and of the time that they may take."""
    offsets = count()

    async def ask(_: str, _heed: Heed) -> Arrived[Thing]:
        offset = next(offsets)
        return a_page([Thing(id=f"T{offset}", last_updated=NOON)], link=f"?offset={offset + 1}", total=10**9)

    with pytest.raises(BadAnswer, match="answered more than 5 pages"):
        await ids(crawl(a_listing(ask, max_pages=5), PageQuery()))
    offsets = count()
    with pytest.raises(BadAnswer, match="took more than 7 s for its pages"):
        await ids(crawl(a_listing(ask, max_seconds=7), PageQuery()))
    assert next(offsets) == 8


async def test_total_that_goes_up_and_down() -> None:
    """Servers that do not agree on how much there is cannot keep a crawl going back for ever."""
    totals = count()

    async def ask(url: str, _heed: Heed) -> Arrived[Thing]:
        offset = int(url.partition("offset=")[2].partition("&")[0])
        things = [Thing(id=f"T{one}", last_updated=NOON - SECOND) for one in range(offset, offset + 2)]
        return a_page(things, total=1000 - 500 * (next(totals) % 2), link=f"?offset={offset + 2}&limit=2")

    with pytest.raises(BadAnswer, match="answered 200 pages on end with nothing new"):
        await ids(crawl(a_listing(ask), PageQuery()))


# --- what changes meanwhile --------------------------------------------------------------------------------


async def test_steps_back_by_all_that_is_gone() -> None:
    """Where objects left the listing, the next page begins earlier by as many, and nothing comes twice."""
    shelf = a_shelf(16)
    at_request(shelf, 3, put=("T0", "T5", "T9"))
    query = PageQuery(date_to=NOON)
    assert await crawled(shelf, query) == [one for one in names(16) if one != "T9"]
    assert shelf.offsets == [0, 4, 8, 5, 9]


async def test_steps_back_no_further_than_the_beginning() -> None:
    """However many objects left, no page lies before the first one."""
    shelf = a_shelf(16)
    at_request(shelf, 2, drop=tuple(names(12)))
    assert await crawled(shelf, PageQuery(offset=1, date_to=NOON)) == [*names(5)[1:], *names(16)[13:]]
    assert shelf.offsets == [1, 5, 1]


async def test_objects_that_move_unseen() -> None:
    """Where one object comes to the end as another leaves, no total tells; what is new at the end does."""
    shelf = a_shelf(12, by_change=True)
    at_request(shelf, 2, put=("T0",))
    found = await crawled(shelf)
    assert sorted(found, key=lambda name: int(name[1:])) == ["T0", *names(12)]
    assert shelf.offsets == [0, 4, 8, 0, 3, 6, 9]


async def test_objects_that_move_while_it_looks_again() -> None:
    """In the second round each page begins with the last object of the one before, or earlier."""
    shelf = a_shelf(12, by_change=True)

    def change() -> None:
        if len(shelf.queries) in (2, 5):
            shelf.put({2: "T0", 5: "T1"}[len(shelf.queries)])
            shelf.put({2: "T0", 5: "T2"}[len(shelf.queries)])

    shelf.before = change
    found = await crawled(shelf)
    assert set(found) == set(names(12))
    assert shelf.offsets == [0, 4, 8, 0, 3, 2, 0, 3, 6, 9]


async def test_single_page_cannot_have_moved() -> None:
    """What fits on one page is asked for once, however new it is."""
    shelf = Shelf()
    shelf.put(*names(3))
    shelf.time = NOON
    assert await crawled(shelf) == names(3)
    assert shelf.offsets == [0]


async def test_most_is_gone_while_it_looks_again() -> None:
    """Stepping back over what is gone does not take a request for each object."""
    shelf = a_shelf(64, by_change=True)

    def change() -> None:
        if len(shelf.queries) == 2:
            shelf.put("T0")
        if len(shelf.queries) == 30:
            shelf.drop(*names(60))

    shelf.before = change
    found = await crawled(shelf)
    assert set(found) >= {"T60", "T61", "T62", "T63"}
    assert len(shelf.offsets) < 36


async def test_growth_is_no_reason_to_look_again() -> None:
    """New objects at the end that the total has grown by have pushed nothing aside."""
    shelf = a_shelf(10)
    at_request(shelf, 2, put=("N1", "N2"))
    assert await crawled(shelf) == [*names(10), "N1", "N2"]
    assert shelf.offsets == [0, 4, 8]


async def test_dates_in_the_future() -> None:
    """What is dated days ahead is not new; a listing of such objects is read once."""
    shelf = a_shelf(10)
    shelf.time = NOON - timedelta(days=3)
    assert await crawled(shelf) == names(10)
    assert shelf.offsets == [0, 4, 8]


async def test_listing_that_grows_as_fast_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """After more pages of nothing but newer objects than of others, the rest is left to the next pull."""
    monkeypatch.setattr("ocpi_gireve.crawl._BEYOND", 2)
    shelf = a_shelf(6)
    made = count()

    def grow() -> None:
        shelf.put(*(f"N{next(made)}" for _ in range(4)))

    shelf.after = grow
    desk = await a_desk(shelf)
    desk.listing = evolve(desk.listing, max_pages=100)
    pull = desk.pull()
    assert await ids(pull) == [*names(6), *(f"N{one}" for one in range(22))]
    assert shelf.offsets == [0, 4, 8, 12, 16, 20, 24, 28]
    assert (pull.done, pull.whole) == (True, False)


async def test_total_that_counts_the_page() -> None:
    """A total that is only that of a page is not believed, and the pages overlap."""
    shelf = a_shelf(10)
    honest = shelf.ask

    async def ask(url: str, heed: Heed) -> Arrived[Thing]:
        page = await honest(url, heed)
        found = list(page.items)
        page.items, page.total = iter(found), len(found)
        return page

    assert await ids(crawl(evolve(shelf.listing(), ask=ask), PageQuery())) == names(10)
    assert shelf.offsets == [0, 4, 7]


async def test_no_total_no_doubt() -> None:
    """Without a total, what moves up is seen because the pages overlap."""
    shelf = a_shelf(10, says_total=False)
    at_request(shelf, 3, drop=("T0", "T1"))
    assert await crawled(shelf) == names(10)
    assert shelf.offsets == [0, 3, 6, 5, 3, 6]


async def test_objects_without_a_name() -> None:
    """What has no id is never taken for something that was there before."""

    @frozen
    class Nameless:
        last_updated: datetime

    pages = [4, 4, 1]

    async def ask(_: str, _heed: Heed) -> Arrived[Nameless]:
        number = pages.pop(0)
        found = [Nameless(NOON - SECOND)] * number
        link = Link(f"{URL}?offset=4") if pages else None
        return Arrived(items=iter(found), total=None, limit=4, next=link, asked=NOON, seconds=0.0, date=None)

    listing: Listing[Nameless] = Listing(
        name="x", partner="x", ask=ask, url=lambda query: URL + query, check=lambda url: url, limit=4
    )
    assert len([one async for one in crawl(listing, PageQuery())]) == 9


async def test_pages_with_what_cannot_be_read() -> None:
    """Pages hold their totals and what could not be read; a page that brings nothing new is left out."""
    shelf = a_shelf(8)
    shelf.things[2] = BAD
    at_request(shelf, 2, put=("N1",), drop=("T0",))
    pages = [page async for page in crawl_pages(shelf.listing(), PageQuery())]
    assert [[one.id for one in page.items] for page in pages] == [
        ["T0", "T1", "T3"],
        ["T5", "T6", "T7", "N1"],
        ["T4"],
    ]
    assert [page.rejected for page in pages] == [(BAD,), (), ()]
    assert {page.total for page in pages} == {8}


async def test_first_page_is_there_even_if_empty() -> None:
    """A listing without objects is one page without items."""
    (page,) = [page async for page in crawl_pages(Shelf().listing(), PageQuery())]
    assert (page.items, page.total) == ([], 0)


# --- the partner's clock -----------------------------------------------------------------------------------


def test_clock_of_the_partner() -> None:
    """The partner's time is ours, until its Date says something else; then it goes on from there."""
    now, seconds = [NOON], [100.0]
    clock = Clock(lambda: now[0], lambda: seconds[0])
    assert clock.theirs() == clock.ours() == NOON
    clock.hear(NOON - 2 * SECOND)
    assert clock.theirs() == NOON
    clock.hear(NOON - timedelta(minutes=5))
    now[0] += timedelta(seconds=10)
    seconds[0] += 10
    assert clock.theirs() == NOON - timedelta(minutes=5) + timedelta(seconds=10)
    assert clock.ours() == NOON + timedelta(seconds=10)


# --- pulls -----------------------------------------------------------------------------------------------


class Desk:
    """One partner's shelf, and what we know of the pulls from it."""

    def __init__(self, shelf: Shelf, *, longest: timedelta | None, needs_dates: bool) -> None:
        self.shelf = shelf
        self.store = MemoryStore()
        self.turns: dict[str, object] = {}
        self.ledger = a_ledger(self.store, self.turns)
        self.listing = shelf.listing(longest=longest, needs_dates=needs_dates)

    def pull(
        self,
        *,
        full: bool = False,
        since: datetime | None = None,
        resume: bool = True,
        overlap: timedelta = timedelta(0),
    ) -> Pull[Thing]:
        """Begin a pull, and forget what was asked before."""
        self.shelf.queries.clear()
        return Pull(self.listing, self.ledger, full=full, since=since, resume=resume, overlap=overlap)

    async def take(self, number: int) -> list[str]:
        """Begin a pull, and leave it after so many things."""
        pull = self.pull()
        found = [(await anext(pull)).id for _ in range(number)]
        await pull.aclose()
        assert not pull.done
        return found


async def a_desk(shelf: Shelf, *, longest: timedelta | None = None, needs_dates: bool = False) -> Desk:
    """A shelf, and an open store."""
    desk = Desk(shelf, longest=longest, needs_dates=needs_dates)
    await desk.store.open()
    return desk


def dates(shelf: Shelf) -> list[tuple[str, str]]:
    """The dates of what was asked for."""
    return [(query.get("date_from", ""), query.get("date_to", "")) for query in shelf.queries]


async def test_full_pull_and_deltas() -> None:
    """Everything first; then what changed since the start of the pull before, up to now."""
    desk = await a_desk(a_shelf(6))
    shelf = desk.shelf
    full = desk.pull()
    assert await ids(full) == names(6)
    assert (full.full, full.since, full.until, full.total, full.taken) == (True, None, None, 6, 6)
    assert (full.done, full.whole) == (True, True)
    assert dates(shelf) == [("", "")] * 2
    shelf.time += timedelta(minutes=5)
    shelf.put("T3", "N1")
    delta = desk.pull()
    shelf.time += SECOND
    assert await ids(delta) == ["T3", "N1"]
    assert dates(shelf) == [("2026-11-01T12:00:00Z", "2026-11-01T12:05:03Z")]
    assert (delta.full, delta.since, delta.until) == (False, NOON, NOON + timedelta(minutes=5, seconds=3))
    assert (delta.done, delta.whole) == (True, False)
    assert await ids(desk.pull()) == []
    assert dates(shelf) == [("2026-11-01T12:05:03Z", "2026-11-01T12:05:03Z")]


async def test_overlap_of_deltas() -> None:
    """A delta begins a little before the pull before it, for what the partner listed late."""
    desk = await a_desk(a_shelf(1))
    await ids(desk.pull())
    desk.shelf.time += timedelta(minutes=5)
    await ids(desk.pull(overlap=OVERLAP))
    assert dates(desk.shelf) == [("2026-11-01T11:59:55Z", "2026-11-01T12:05:00Z")]


@pytest.mark.parametrize("ahead", [timedelta(minutes=-7), timedelta(minutes=7)])
async def test_clock_of_the_partner_differs(ahead: timedelta) -> None:
    """The next delta begins before the partner looked at its objects, by whichever clock is behind."""
    shelf = a_shelf(6)
    shelf.says_time, shelf.skew = True, ahead

    def slowly() -> None:
        shelf.time += 3 * SECOND

    shelf.after = slowly
    desk = await a_desk(shelf)
    await ids(desk.pull())
    watermark = await desk.ledger.read()
    assert (watermark.since, watermark.full) == (min(NOON, NOON + ahead), NOON)


async def test_first_delta_meets_an_unknown_clock() -> None:
    """Where the partner's clock turns out to differ, a delta is asked for again, up to the partner's now."""
    shelf = a_shelf(6)
    shelf.says_time, shelf.skew = True, timedelta(minutes=-7)
    desk = await a_desk(shelf, needs_dates=True)
    pull = desk.pull(since=NOON - timedelta(hours=1))
    assert await ids(pull) == []
    assert [end for _, end in dates(shelf)] == ["2026-11-01T12:00:00Z", "2026-11-01T11:53:00Z"]
    watermark = await desk.ledger.read()
    assert watermark.since == NOON - timedelta(minutes=7)
    await ids(desk.pull())
    assert dates(shelf) == [("2026-11-01T11:53:00Z", "2026-11-01T11:53:00Z")]


@pytest.mark.parametrize(("number", "asked"), [(3, [0]), (6, [0, 0, 4])])
async def test_end_ahead_of_the_partner(number: int, asked: list[int]) -> None:
    """With more than one page to come, a delta ends where the partner's clock has been for certain."""
    shelf = a_shelf(number)
    shelf.says_time, shelf.skew = True, timedelta(seconds=-0.5)
    desk = await a_desk(shelf)
    await ids(desk.pull(since=NOON - timedelta(hours=3)))
    assert shelf.offsets == asked
    assert shelf.queries[-1]["date_to"] == f"2026-11-01T{'12:00:00' if number == 3 else '11:59:59'}Z"


async def test_long_time_in_spans() -> None:
    """Where the partner takes a span of dates only, a delta asks for one after the other."""
    shelf = a_shelf(0)
    desk = await a_desk(shelf, longest=timedelta(minutes=2))
    pull = desk.pull(since=NOON - timedelta(minutes=5))
    assert await ids(pull) == []
    assert dates(shelf) == [
        ("2026-11-01T11:55:00Z", "2026-11-01T11:57:00Z"),
        ("2026-11-01T11:57:00Z", "2026-11-01T11:59:00Z"),
        ("2026-11-01T11:59:00Z", "2026-11-01T12:00:00Z"),
    ]


async def test_left_half_way() -> None:
    """A pull that was left goes on at the page that was not taken whole, and asks for the same."""
    desk = await a_desk(a_shelf(10))
    assert await desk.take(6) == names(6)
    assert (await desk.ledger.read()).since is None
    desk.shelf.time += timedelta(hours=1)
    pull = desk.pull()
    assert await ids(pull) == names(10)[4:]
    assert (pull.resumed, pull.full, pull.done, pull.whole) == (True, True, True, False)
    assert desk.shelf.offsets == [4, 8]
    watermark = await desk.ledger.read()
    assert (watermark.since, watermark.full) == (NOON, NOON)
    assert (await desk.ledger.read()).unfinished is None


@pytest.mark.parametrize(("taken", "again"), [(5, 4), (11, 10), (15, 14)])
async def test_delta_left_half_way(taken: int, again: int) -> None:
    """A delta that was left keeps its dates, the span that it was in, and its place within that."""
    shelf = a_shelf(10)
    shelf.time -= timedelta(minutes=5)
    shelf.put(*(f"N{one}" for one in range(8)))
    shelf.time = NOON
    whole = [*names(10), *(f"N{one}" for one in range(8))]
    desk = await a_desk(shelf, longest=timedelta(hours=2))
    pull = desk.pull(since=NOON - timedelta(hours=3))
    assert [(await anext(pull)).id for _ in range(taken)] == whole[:taken]
    await pull.aclose()
    shelf.time += timedelta(hours=1)
    assert await ids(desk.pull()) == whole[again:]
    spans = ("2026-11-01T09:00:00Z", "2026-11-01T11:00:00Z"), ("2026-11-01T11:00:00Z", "2026-11-01T12:00:00Z")
    assert list(dict.fromkeys(dates(shelf))) == list(spans[taken > 10 :])


async def test_last_page_is_not_taken_until_more_is_asked_for() -> None:
    """Whoever has not come back for more has not taken the last object."""
    desk = await a_desk(a_shelf(4))
    assert await desk.take(4) == names(4)
    assert (await desk.ledger.read()).since is None
    assert await ids(desk.pull()) == names(4)


async def test_objects_left_while_it_stood_still() -> None:
    """What happened between leaving and going on is seen by the total of the page before."""
    desk = await a_desk(a_shelf(12))
    assert await desk.take(9) == names(9)
    desk.shelf.drop("T0", "T1", "T2")
    assert set(await ids(desk.pull())) >= set(names(12)[8:])


async def test_moves_before_and_after_it_stood_still() -> None:
    """What is new at the end counts, on whichever side of the interruption it was read."""
    shelf = a_shelf(12, by_change=True)
    desk = await a_desk(shelf)
    at_request(shelf, 2, put=("T0", "T1", "N1", "N2", "N3", "N4"))
    found = await desk.take(13)
    assert {"T4", "T5"} & set(found) == set()
    shelf.before = shelf.after
    found += await ids(desk.pull())
    assert set(found) == {*names(12), "N1", "N2", "N3", "N4"}


async def test_growth_before_and_after_it_stood_still() -> None:
    """How much the listing has grown is known on the other side of the interruption, too."""
    desk = await a_desk(a_shelf(8))
    at_request(desk.shelf, 2, put=("N1", "N2", "N3"))
    assert await desk.take(9) == [*names(8), "N1"]
    assert await ids(desk.pull()) == ["N1", "N2", "N3"]
    assert desk.shelf.offsets == [8]


async def test_second_look_left_half_way() -> None:
    """A pull that was left while it looked again looks again from the beginning."""
    shelf = a_shelf(8, by_change=True)
    desk = await a_desk(shelf)
    at_request(shelf, 2, put=("T0",))
    pull = desk.pull()
    found = [(await anext(pull)).id for _ in range(9)]
    assert len(set(found)) == 8
    await pull.aclose()
    pull = desk.pull()
    await ids(pull)
    assert (pull.resumed, pull.done) == (True, True)
    assert desk.shelf.offsets == [0, 3, 6]


async def test_everything_again() -> None:
    """A full pull can be asked for at any time; it goes on with a full one that was left, and no other."""
    desk = await a_desk(a_shelf(10))
    await ids(desk.pull())
    desk.shelf.time += timedelta(days=1)
    desk.shelf.put(*names(6))
    assert await desk.take(5) == names(5)
    pull = desk.pull(full=True)
    assert await ids(pull) == names(10)
    assert (pull.resumed, pull.full) == (False, True)
    watermark = await desk.ledger.read()
    assert watermark.full == watermark.since == NOON + timedelta(days=1, seconds=6)


@pytest.mark.parametrize("since", [None, NOON - timedelta(days=1)])
async def test_what_was_asked_for_by_name_is_not_forgotten(since: datetime | None) -> None:
    """A full pull, or one from a certain moment, that was left on its first page does not become a delta."""
    desk = await a_desk(a_shelf(6))
    await ids(desk.pull())
    pull = desk.pull(full=since is None, since=since)
    assert (await anext(pull)).id == "T0"
    await pull.aclose()
    pull = desk.pull()
    assert await ids(pull) == names(6)
    assert (pull.resumed, pull.full, pull.since) == (True, since is None, since)


async def test_from_the_beginning() -> None:
    """Without `resume`, what was left half-way is begun anew."""
    desk = await a_desk(a_shelf(10))
    await desk.take(6)
    pull = desk.pull(resume=False)
    assert await ids(pull) == names(10)
    assert not pull.resumed


async def test_moment_of_ones_own_is_not_everything() -> None:
    """A pull from a moment on, before any of everything, does not make the next one a delta."""
    desk = await a_desk(a_shelf(10))
    assert await desk.take(6) == names(6)
    await ids(desk.pull(since=NOON))
    pull = desk.pull()
    assert await ids(pull) == names(10)
    assert pull.full


@pytest.mark.parametrize(("minutes", "next_begins"), [(-90, 60), (30, 0)])
async def test_moment_of_ones_own(minutes: int, next_begins: int) -> None:
    """A pull from a moment of one's own moves the next delta only if it leaves nothing out before it."""
    shelf = a_shelf(3)
    desk = await a_desk(shelf)
    await ids(desk.pull())
    shelf.time += timedelta(hours=1)
    await ids(desk.pull(since=NOON + timedelta(minutes=minutes)))
    watermark = await desk.ledger.read()
    assert (watermark.since, watermark.full) == (NOON + timedelta(minutes=next_begins), NOON)


async def test_delta_keeps_the_date_of_the_full_pull() -> None:
    """When everything was pulled last is remembered through the deltas."""
    desk = await a_desk(a_shelf(1))
    await ids(desk.pull())
    desk.shelf.time += timedelta(hours=1)
    await ids(desk.pull())
    watermark = await desk.ledger.read()
    assert (watermark.since, watermark.full) == (NOON + timedelta(hours=1), NOON)


async def test_listing_that_needs_dates() -> None:
    """What is listed by dates only cannot be pulled whole; from a first moment on it can."""
    desk = await a_desk(a_shelf(3), needs_dates=True)
    with pytest.raises(ValueError, match=r"Things\.list_things: expected since="):
        await anext(desk.pull())
    with pytest.raises(ValueError, match="expected since="):
        await anext(desk.pull(full=True))
    assert await ids(desk.pull(since=NOON - timedelta(days=1))) == names(3)
    assert await ids(desk.pull()) == []


async def test_moment_without_a_zone() -> None:
    """A moment that names no instant is refused before anything is asked."""
    desk = await a_desk(a_shelf(1))
    with pytest.raises(ValueError, match=r"Things\.list_things: expected since= with a time zone"):
        desk.pull(since=NOON.replace(tzinfo=None))


async def test_partner_set_its_clock_back() -> None:
    """A partner whose clock was set back is asked for what changed since, however long ago that was."""
    shelf = a_shelf(2)
    shelf.says_time = True
    desk = await a_desk(shelf)
    await ids(desk.pull())
    shelf.skew = timedelta(hours=-1)
    shelf.put("T0")
    shelf.time += timedelta(minutes=10)
    shelf.put("T1")
    shelf.time += SECOND
    assert await ids(desk.pull(overlap=OVERLAP)) == ["T0", "T1"]


async def test_server_whose_clock_is_fast() -> None:
    """Where one server of a partner shows a time that is to come, nothing that changes until then is lost."""
    shelf = a_shelf(2)
    shelf.says_time, shelf.fast = True, timedelta(hours=1)
    desk = await a_desk(shelf)
    await ids(desk.pull())
    shelf.fast = timedelta(0)
    shelf.time += timedelta(minutes=5)
    shelf.put("T1")
    shelf.time += timedelta(minutes=5)
    assert await ids(desk.pull(overlap=OVERLAP)) == ["T1"]


async def test_delta_whose_end_is_to_come() -> None:
    """A delta whose end may lie ahead of the objects' clock is checked at its end as a full one is."""
    shelf = a_shelf(0)
    shelf.put(*names(8))
    shelf.says_time, shelf.by_change, shelf.fast = True, True, timedelta(hours=1)
    desk = await a_desk(shelf, needs_dates=True)
    pull = desk.pull(since=NOON)
    shelf.before = lambda: shelf.put("T0") if shelf.offsets[-1] == 4 else None
    assert set(await ids(pull)) == set(names(8))


async def test_what_cannot_be_read_does_not_hold_it_up(caplog: pytest.LogCaptureFixture) -> None:
    """Items that cannot be read are counted, kept up to a number, logged without content, and passed."""
    shelf = Shelf(things=[BAD] * (MAX_NAMED + 20))
    shelf.put("T0")
    desk = await a_desk(shelf)
    pull = desk.pull()
    assert await ids(pull) == ["T0"]
    assert (len(pull.rejected), pull.rejected_count, pull.taken, pull.done) == (
        MAX_NAMED,
        MAX_NAMED + 20,
        1,
        True,
    )
    named = "Things.list_things: partner: item 0 cannot be read: /id: expected a CiString"
    assert caplog.messages == [
        *[named] * MAX_NAMED,
        f"Things.list_things: partner: {MAX_NAMED + 20} items in all cannot be read",
    ]


async def test_what_cannot_be_read_is_not_kept_without_bound() -> None:
    """However long the items are that cannot be read, a pull keeps so many bytes of them."""
    long = evolve(BAD, raw=b"x" * (MAX_KEPT // 2))
    desk = await a_desk(Shelf(things=[long, long, BAD]))
    pull = desk.pull()
    await ids(pull)
    assert pull.rejected == [long, long]
    assert pull.rejected_count == 3


# --- whole pages -------------------------------------------------------------------------------------------


async def test_pull_by_pages() -> None:
    """A pull gives whole pages, counts what is in them, and comes to the same end."""
    shelf = a_shelf(6)
    shelf.things.append(BAD)
    desk = await a_desk(shelf)
    pull = desk.pull()
    pages = [page async for page in pull.pages()]
    assert [[one.id for one in page.items] for page in pages] == [names(4), ["T4", "T5"]]
    assert [(page.total, page.rejected) for page in pages] == [(7, ()), (7, (BAD,))]
    assert (pull.taken, pull.rejected, pull.done, pull.whole) == (6, [BAD], True, True)
    shelf.things.pop()
    assert [page async for page in desk.pull(since=shelf.now).pages()] == []


async def test_page_is_taken_when_the_next_is_asked_for() -> None:
    """A page during which its consumer fails comes again; one after which it came back does not."""
    desk = await a_desk(a_shelf(12))
    pull = desk.pull()
    async for page in pull.pages():
        if page.items[0].id == "T4":
            break
    await pull.aclose()
    pull = desk.pull()
    assert [page.items[0].id async for page in pull.pages()] == ["T4", "T8"]
    assert (pull.resumed, pull.done) == (True, True)
    assert desk.shelf.offsets == [4, 8]


async def test_page_with_nothing_new_is_left_out() -> None:
    """Where it looks a second time, pages that bring nothing new are not handed out."""
    shelf = a_shelf(8, by_change=True)
    desk = await a_desk(shelf)
    at_request(shelf, 2, put=("T0",))
    found = [[one.id for one in page.items] async for page in desk.pull().pages()]
    assert found == [names(4), ["T5", "T6", "T7", "T0"], ["T4"]]


async def test_either_objects_or_pages() -> None:
    """Whoever takes objects of a pull cannot take its pages, too."""
    desk = await a_desk(a_shelf(6))
    pull = desk.pull()
    await anext(pull)
    with pytest.raises(RuntimeError, match=r"Things\.list_things: expected its objects .* not both"):
        await anext(pull.pages())
    assert (await anext(pull)).id == "T1"


async def test_one_pull_of_a_stream_at_a_time() -> None:
    """A pull ends where another of the same stream begins, and undoes nothing of what that one notes."""
    desk = await a_desk(a_shelf(10))
    first = desk.pull()
    for _ in range(5):
        await anext(first)
    second = desk.pull()
    assert await ids(second) == names(10)[4:]
    with pytest.raises(RuntimeError, match=r"Things\.list_things: another pull of it has begun"):
        await ids(first)
    assert (second.done, first.done) == (True, False)
    assert (await desk.ledger.read()).unfinished is None


async def test_place_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Where the partner refuses to go on in the middle, the pull begins anew."""
    shelf = a_shelf(10)
    desk = await a_desk(shelf)
    await desk.take(6)

    def refuse() -> None:
        if shelf.offsets == [4]:
            raise UnknownObject

    shelf.before = refuse
    pull = desk.pull()
    assert await ids(pull) == names(10)
    assert not pull.resumed
    assert "partner: things: begins anew" in caplog.text


@pytest.mark.parametrize("since", [None, NOON - timedelta(days=1)])
async def test_place_that_is_gone_is_not_what_was_asked_for(since: datetime | None) -> None:
    """What was asked for by name is still asked for where the partner refuses to go on in the middle."""
    shelf = a_shelf(10)
    desk = await a_desk(shelf)
    await ids(desk.pull())
    shelf.time += timedelta(hours=1)
    pull = desk.pull(full=since is None, since=since)
    for _ in range(6):
        await anext(pull)
    await pull.aclose()

    def refuse() -> None:
        if shelf.offsets == [4]:
            raise UnknownObject

    shelf.before = refuse
    pull = desk.pull()
    assert (await anext(pull)).id == "T0"
    await pull.aclose()
    pull = desk.pull()
    assert await ids(pull) == names(10)
    assert (pull.full, pull.since, pull.resumed) == (since is None, since, True)


async def test_what_is_refused_for_good_is_given_up() -> None:
    """A pull that is refused at its place, and then from its beginning on, does not stop all later ones."""
    shelf = a_shelf(10)
    desk = await a_desk(shelf)
    await ids(desk.pull())
    early = NOON - timedelta(days=900)
    pull = desk.pull(since=early)
    for _ in range(6):
        await anext(pull)
    await pull.aclose()

    def refuse() -> None:
        if "date_from" in shelf.queries[-1] and moment(shelf.queries[-1]["date_from"]) == early:
            raise InvalidParameters

    shelf.before = refuse
    with pytest.raises(InvalidParameters):
        await anext(desk.pull())
    shelf.put("T3")
    shelf.time += SECOND
    assert await ids(desk.pull()) == ["T3"]


async def test_refused_altogether() -> None:
    """An error that has nothing to do with the place leaves the place as it is."""
    shelf = a_shelf(10)
    desk = await a_desk(shelf)
    await desk.take(6)

    def refuse() -> None:
        raise Unauthorized

    shelf.before = refuse
    with pytest.raises(Unauthorized):
        await anext(desk.pull())
    assert shelf.offsets == [4]
    shelf.before = shelf.after
    pull = desk.pull()
    await ids(pull)
    assert pull.resumed


async def test_error_in_the_middle() -> None:
    """A pull that fails goes on where it failed."""
    shelf = a_shelf(12)
    desk = await a_desk(shelf)

    def fail() -> None:
        if shelf.offsets == [0, 4, 8]:
            raise NoAnswer("cut off")

    shelf.before = fail
    pull = desk.pull()
    assert [(await anext(pull)).id for _ in range(8)] == names(8)
    with pytest.raises(NoAnswer):
        await anext(pull)
    assert await ids(desk.pull()) == names(12)[8:]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"full":true}', b"\xff"])
async def test_place_that_cannot_be_read(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A place that another release wrote is not understood, and the pull begins anew."""
    desk = await a_desk(a_shelf(10))
    await desk.take(6)
    await desk.ledger.keep(Watermark(unfinished=body))
    assert await ids(desk.pull()) == names(10)
    assert "where the last pull stopped cannot be read" in caplog.text


async def test_little_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A pull without trouble says nothing; a second look is told once."""
    caplog.set_level(logging.DEBUG, logger="ocpi_gireve.crawl")
    shelf = a_shelf(8, by_change=True)
    await crawled(shelf)
    assert caplog.messages == []
    shelf.queries.clear()
    at_request(shelf, 2, put=("T0",))
    await crawled(shelf)
    assert caplog.messages == ["Things.list_things: partner: objects moved meanwhile; listed again"]
