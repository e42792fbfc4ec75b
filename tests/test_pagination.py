from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpi_gireve.errors import Problem
from ocpi_gireve.pagination import Link, Page, PageQuery, Rejected, next_link, page_of

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('<https://x/?offset=5>; rel="next"', "https://x/?offset=5"),
        ("<https://x>;rel=next", "https://x"),
        ('<https://x> ; REL = "NEXT"', "https://x"),
        ('<https://a>; rel="prev", <https://b>; rel="next"', "https://b"),
        ('<https://a,b;c>; title="x, <y>; rel=next"; rel="last next"', "https://a,b;c"),
        ('<https://a>; rel="prev"; rel="next", <https://b>; rel=next', "https://b"),
        ('<https://x>; title="a \\" b"; rel=next', "https://x"),
        (', <https://x>; ; rel="next"', "https://x"),
        ("< https://x >; rel=next", "https://x"),
    ],
)
def test_next_link(header: str, url: str) -> None:
    """The target of the link whose relation is next is found, however the header is written. (RFC 8288)"""
    assert next_link(header) == Link(url)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "https://x",
        '<https://x>; rel="prev"',
        '<https://x>; title="; rel=next"',
        "<https://x",
        "<https://x>; rel",
    ],
)
def test_no_next_link(header: str) -> None:
    """A header without such a link has none, also one that is no list of links."""
    assert next_link(header) is None


@given(st.text(alphabet='<>;=," \trelnxt\\'))
def test_any_header_is_read(header: str) -> None:
    """Whatever a header holds, reading it ends without an error."""
    next_link(header)


@pytest.mark.parametrize("part", [" ", "<x>;a ", ";a=", ', <x>; rel="next', '\\"', '<x>; a="\\'])
def test_long_header_is_read_in_time(part: str) -> None:
    """A long header costs no more than its length."""
    start = time.process_time()
    next_link("<x>" + part * 20_000)
    assert time.process_time() - start < 1


def test_query_covers_half_open_range() -> None:
    """`date_from` is within, `date_to` without. (transport and format, pagination)"""
    query = PageQuery(date_from=NOON, date_to=NOON + SECOND)
    assert query.covers(NOON)
    assert not query.covers(NOON + SECOND)
    assert not query.covers(NOON - SECOND)
    assert PageQuery().covers(NOON)


@pytest.mark.parametrize(
    ("query", "items"),
    [
        (PageQuery(), [0, 1, 2, 3]),
        (PageQuery(limit=2), [0, 1]),
        (PageQuery(offset=3, limit=2), [3]),
        (PageQuery(offset=9), []),
        (PageQuery(limit=0), []),
    ],
)
def test_page_of_objects(query: PageQuery, items: list[int]) -> None:
    """A page is cut by offset and limit, and knows how many objects there are in all."""
    assert page_of([0, 1, 2, 3], query) == Page(items=items, total=4)


def test_rejected_shows_no_bytes() -> None:
    """What a partner sent does not show in the repr of what could not be read."""
    one = Rejected(index=3, raw=b"canary", problems=(Problem("/id", "missing", "expected a CiString"),))
    assert "canary" not in repr(one)
    assert "/id" in repr(one)
