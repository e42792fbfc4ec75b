"""What goes out: status, envelope and the headers of a page; knows no request and calls no handler."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlencode

from multidict import CIMultiDict

from .._codec import encode_answer
from .._model import Model
from .._wire import link_path
from ..dialect import Dialect
from ..errors import ClientError, StatusError, UnknownLocation
from ..interface import Operation
from ..pagination import Link, Page, PageQuery
from ..types import format_datetime
from ._routes import Route

MAX_NAMED = 100
"""How many problems of a message are named to its sender; one of a million bytes could have as many."""


class Clock:
    """Writes when answers are made, to the second; what is equal for a whole second is written once."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""
        self._nothing: dict[bytes | None, bytes] = {}

    def now(self) -> str:
        """Return the DateTime of an answer."""
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, format_datetime(datetime.fromtimestamp(second, UTC))
            self._nothing.clear()
        return self._text

    def success(self, data: object, empty: bytes | None) -> bytes:
        """Return the envelope of an answer that succeeds; `empty` is what stands for no data."""
        now = self.now()
        if data is not None:
            return encode_answer(data, 1000, "Success", now, empty=empty)
        if empty not in self._nothing:
            self._nothing[empty] = encode_answer(None, 1000, "Success", now, empty=empty)
        return self._nothing[empty]


def message_of(error: StatusError) -> str:
    """Return what goes out as ``status_message``: where an error is its problems, every one of them."""
    problems = error.problems
    if not problems or error.message != ClientError(problems=problems).message:
        return error.message
    more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    return "; ".join(str(problem) for problem in problems[:MAX_NAMED]) + more


def checked(operation: Operation, result: object) -> object:
    """Return what a handler answered, if it is what the operation answers.

    Raises:
        TypeError: it is something else.
        ValueError: it names a place that nobody could call.
    """
    if operation.answer is None:
        return None
    if operation.lists:
        return require_items(operation, result)
    if not operation.paginated and not isinstance(result, operation.answer):
        raise TypeError(f"{operation.id}: the handler returned {type(result).__name__}")
    if operation.answer is Link:
        link_path(cast("Link", result))
    return result


def require_items(operation: Operation, result: object) -> list[Model]:
    if not isinstance(result, list):
        raise TypeError(f"{operation.id}: the handler returned {type(result).__name__}")
    for item in cast("list[object]", result):
        if not isinstance(item, cast("type[Model]", operation.answer)):
            raise TypeError(f"{operation.id}: the handler returned {type(item).__name__} in its list")
    return cast("list[Model]", result)


def http_status(error: StatusError, route: Route | None) -> int:
    if error.http_status == 200 and isinstance(error, UnknownLocation) and route is not None:
        # Of a GET the chapter on status codes says "when the resource does NOT exist, the server SHOULD
        # return a HTTP 404"; a START_SESSION with an unknown location has reached the OCPI layer.
        return 404 if route.operation.http_method in ("GET", "PATCH") else 200
    return error.http_status


def status_code(error: StatusError, dialect: Dialect | None) -> int:
    """Return the code that goes out: one that a version does not know becomes its generic one."""
    code = error.status_code
    if dialect is None or code in dialect.status_codes or (dialect.own_codes and code % 1000 >= 900):
        return code
    return 2000 if code < 3000 else 3000


def page_of_answer(
    operation: Operation, url: str, query: PageQuery, largest: int, result: object
) -> tuple[list[Model], CIMultiDict[str]]:
    """Return the objects of a page, and the headers that go with it.

    The total is at least what was served: the handler may have counted before it looked. A page that is
    empty has no successor, or its reader would never come to an end.

    Args:
        operation: The listing.
        url: Its absolute URL.
        query: What was asked for, with a limit.
        largest: The most objects that this partner gets at once.
        result: What the handler returned.

    Raises:
        TypeError: the handler returned no page of this listing's objects, or more than was asked for.
    """
    if not isinstance(result, Page) or cast("Page[Model]", result).total is None:
        raise TypeError(f"{operation.id}: the handler returned no Page with a total")
    page = cast("Page[Model]", result)
    items = require_items(operation, list(page.items))
    if len(items) > cast("int", query.limit):
        raise TypeError(f"{operation.id}: the handler returned {len(items)} objects, not {query.limit}")
    following = query.offset + len(items)
    total = max(cast("int", page.total), following if items else 0)
    headers = CIMultiDict({"X-Total-Count": str(total), "X-Limit": str(largest)})
    if items and following < total:
        moments = {"date_from": query.date_from, "date_to": query.date_to}
        pairs = [(name, format_datetime(moment)) for name, moment in moments.items() if moment is not None]
        pairs += [("offset", str(following)), ("limit", str(query.limit))]
        headers["Link"] = f'<{url}?{urlencode(pairs, safe=":")}>; rel="next"'
    return items, headers
