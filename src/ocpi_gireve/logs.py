"""Log records that say which exchange they belong to; configures no logging.

The library logs under ``ocpi_gireve`` with the standard library's `logging`. While it serves or makes a
request, the request's ids are known to `ExchangeFilter`, in the host's own handlers and in what they spawn,
too.
"""

from __future__ import annotations

import json
import logging
import traceback
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Protocol

from attrs import frozen

from .types import format_datetime


class ExchangeIds(Protocol):
    """What names an exchange; fields are empty as long as they are not known."""

    @property
    def request_id(self) -> str:
        """``X-Request-ID``."""
        ...

    @property
    def correlation_id(self) -> str:
        """``X-Correlation-ID``."""
        ...

    @property
    def partner(self) -> str:
        """The id of the connection."""
        ...

    @property
    def operation_id(self) -> str:
        """The operation's id."""
        ...


@frozen
class Ids:
    """The ids of an exchange, as plain values."""

    request_id: str = ""
    correlation_id: str = ""
    partner: str = ""
    operation_id: str = ""


_FIELDS = {
    "request_id": "request_id",
    "correlation_id": "correlation_id",
    "partner": "partner",
    "operation": "operation_id",
}

_NO_EXCHANGE = Ids()
_current: ContextVar[ExchangeIds] = ContextVar("ocpi_gireve_exchange", default=_NO_EXCHANGE)


def current_exchange() -> ExchangeIds:
    """Return the ids of the exchange under way here; they are empty where there is none."""
    return _current.get()


def enter_exchange(ids: ExchangeIds) -> Token[ExchangeIds]:
    """Let records carry these ids from now on, until `leave_exchange`."""
    return _current.set(ids)


def leave_exchange(entered: Token[ExchangeIds]) -> None:
    """Let records carry what they carried before."""
    _current.reset(entered)


class ExchangeFilter(logging.Filter):
    """Gives each record ``request_id``, ``correlation_id``, ``partner`` and ``operation``; drops none.

    Put it on a handler, so that it sees the records of every logger.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields that the record lacks."""
        ids = _current.get()
        for name, source in _FIELDS.items():
            if not hasattr(record, name):
                setattr(record, name, getattr(ids, source))
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the ids of the exchange, and a traceback.

    A traceback names lines and the exception's type, not its text, which may quote what a partner sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        ids = _current.get()
        line: dict[str, str] = {
            "time": format_datetime(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, source in _FIELDS.items():
            value = getattr(record, name, None) or getattr(ids, source)
            if value:
                line[name] = str(value)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["error"] = type(error).__name__
            line["traceback"] = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        # Half of a surrogate pair, which no file takes, becomes the escape that JSON has for it.
        return json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace").decode()
