"""Pages of a listing: what is asked for, what comes, and the link between them; knows no HTTP library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Generic, TypeVar

from attrs import field, frozen

from .errors import Problem

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@frozen
class Link:
    """A place that a partner hands out: the ``Location`` of a CDR, the ``response_url`` of a command.

    In a handler it is relative to our own endpoint (``c0ffee`` or ``START_SESSION/17``); towards a partner it
    is the absolute URL the partner gave.
    """

    url: str


@frozen(kw_only=True)
class PageQuery:
    """Which part of a listing is asked for. (transport and format, pagination)

    Attributes:
        offset: How many objects to leave out, from the oldest.
        limit: The largest number of objects wanted; None: as many as the server likes.
        date_from: Only objects with ``last_updated`` at or after this moment.
        date_to: Only objects with ``last_updated`` before this moment.
    """

    offset: int = 0
    limit: int | None = None
    date_from: datetime | None = None
    date_to: datetime | None = None

    def covers(self, last_updated: datetime) -> bool:
        """Tell whether an object of that date is asked for."""
        return (self.date_from is None or last_updated >= self.date_from) and (
            self.date_to is None or last_updated < self.date_to
        )


@frozen(kw_only=True)
class Rejected:
    """An item of a page that could not be read, kept as it came.

    Attributes:
        index: Its place in the page, from 0.
        raw: Its bytes.
        problems: What is wrong with it.
    """

    index: int
    raw: bytes = field(repr=False)
    problems: tuple[Problem, ...]


@frozen(kw_only=True)
class Page(Generic[T_co]):
    """One page of a listing.

    A handler returns it with `items` and `total`; the other attributes are filled in on the way.

    Attributes:
        items: The objects of this page, oldest first.
        total: How many objects match the query on the server, without offset and limit; None: unknown.
        limit: The largest page that the server returns.
        next: Where the next page is; None on the last one.
        rejected: The items that could not be read.
    """

    items: Sequence[T_co]
    total: int | None
    limit: int | None = None
    next: Link | None = None
    rejected: tuple[Rejected, ...] = ()


def page_of(objects: Sequence[T], query: PageQuery) -> Page[T]:
    """Cut the page that a query asks for out of all matching objects, for a handler that holds them all.

    Their order is kept, and has to be that of their creation: "it is important that the sequence of objects
    does not change". An object that is updated keeps its place, as in a dict; one that moved to the end would
    push others onto pages that were read before. (transport and format, paginated response)

    Args:
        objects: All that the query's dates cover, the one created first in front.
        query: What is asked for.
    """
    limit = len(objects) if query.limit is None else query.limit
    return Page(items=objects[query.offset : query.offset + limit], total=len(objects))


_TARGET = re.compile(r"[\s,]*<([^<>]*)>")
_PARAMETER = re.compile(r'\s*;\s*([^\s=;,"]*)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')


def next_link(header: str) -> Link | None:
    """Return the target of the first link in a ``Link`` header whose relation is ``next``. (RFC 8288)"""
    position = 0
    while target := _TARGET.match(header, position):
        position = target.end()
        relation: str | None = None
        while parameter := _PARAMETER.match(header, position):
            position = parameter.end()
            # Of several `rel`, the first counts. (RFC 8288, 3.3)
            if relation is None and parameter[1].lower() == "rel":
                relation = parameter[2] or parameter[3] or ""
        if relation and "next" in relation.lower().split():
            return Link(target[1].strip())
    return None
