"""What happened between us and partners, exchange by exchange; what is kept of the content is redacted."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeAlias

from attrs import field, frozen

from ._codec import dump_json
from .redaction import Redactor
from .transport import HttpRequest, HttpResponse
from .types import Json, format_datetime, utc_now

log = logging.getLogger("ocpi_gireve.journal")


@frozen(kw_only=True)
class Exchanged:
    """One exchange that has ended.

    Attributes:
        direction: ``out`` where we asked, ``in`` where the partner asked.
        partner: The id of the connection; empty where the partner was not recognised.
        operation: The operation's id; empty where the request matched none.
        http_status: The HTTP status of the answer; None where there was none.
        seconds: How long it took, on this side.
        request_id: ``X-Request-ID``.
        correlation_id: ``X-Correlation-ID``.
        error: The name of the error it ended with; empty where it succeeded.
        module: The OCPI module; empty where the request matched none.
        request: The request itself, tokens included: for a `Journal`, and not to be kept as it is.
        response: The answer itself; None where there was none.
    """

    direction: Literal["in", "out"]
    partner: str
    operation: str
    http_status: int | None
    seconds: float
    request_id: str
    correlation_id: str
    error: str = ""
    module: str = ""
    request: HttpRequest | None = field(default=None, repr=False, eq=False)
    response: HttpResponse | None = field(default=None, repr=False, eq=False)


OnExchange: TypeAlias = Callable[[Exchanged], None]
"""Called with every exchange that has ended. It must return at once; an error of its own is logged."""


def ignore(exchanged: Exchanged) -> None:
    """Take note of nothing."""


def tell(on_exchange: OnExchange, exchanged: Exchanged) -> None:
    """Report an exchange; a mistake of the one who listens changes nothing for the partner."""
    try:
        on_exchange(exchanged)
    except Exception as error:  # noqa: BLE001 - an exchange that went well must not fail for its report
        # Without the text, which may hold what the exchange held.
        log.error("on_exchange failed with %s", type(error).__name__)  # noqa: TRY400 - a traceback may quote values


@frozen(kw_only=True)
class Entry:
    """One exchange as a journal keeps it: redacted, and ready to be shown to a partner's support.

    Attributes:
        at: When it ended.
        exchanged: What is known of it, without request and answer.
        method: The HTTP method; empty where the request was not kept.
        url: The URL, or path and query where the partner asked.
        request_headers: Names and values.
        request_body: JSON, or in angle brackets what was there instead.
        response_headers: As for the request.
        response_body: As for the request.
    """

    at: datetime
    exchanged: Exchanged
    method: str = ""
    url: str = ""
    request_headers: tuple[tuple[str, str], ...] = ()
    request_body: str = ""
    response_headers: tuple[tuple[str, str], ...] = ()
    response_body: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return it as plain values, for a log or a file."""
        about = self.exchanged
        return {
            "at": format_datetime(self.at),
            "direction": about.direction,
            "partner": about.partner,
            "operation": about.operation,
            "method": self.method,
            "url": self.url,
            "http_status": about.http_status,
            "milliseconds": round(about.seconds * 1000),
            "request_id": about.request_id,
            "correlation_id": about.correlation_id,
            "error": about.error,
            "request": {"headers": [list(one) for one in self.request_headers], "body": self.request_body},
            "response": {"headers": [list(one) for one in self.response_headers], "body": self.response_body},
        }


class Journal:
    """Keeps the last exchanges, redacted, and exports those that have one cause.

    ``Platform(on_exchange=journal)`` fills it. It is in memory and bounded; `on_entry` hands each entry on to
    whatever keeps them for longer.

    Args:
        capacity: How many exchanges are kept; the oldest go first.
        redactor: What hides secrets and personal data.
        max_body: The longest body, in bytes, whose content is kept.
        on_entry: Called with each entry; it must return at once.
    """

    def __init__(
        self,
        capacity: int = 1000,
        *,
        redactor: Redactor | None = None,
        max_body: int = 16_384,
        on_entry: Callable[[Entry], None] | None = None,
    ) -> None:
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._redactor = redactor or Redactor()
        self._max_body = max_body
        self._on_entry = on_entry

    def __call__(self, exchanged: Exchanged) -> None:
        """Keep an exchange."""
        entry = self._entry(exchanged)
        self._entries.append(entry)
        if self._on_entry is not None:
            self._on_entry(entry)

    def entries(self, correlation_id: str | None = None) -> list[Entry]:
        """Return what is kept, oldest first: everything, or what has one cause."""
        return [
            entry
            for entry in self._entries
            if correlation_id is None or entry.exchanged.correlation_id == correlation_id
        ]

    def export(self, correlation_id: str | None = None) -> bytes:
        """Return what is kept as JSON lines, to be sent to a partner's support."""
        return b"".join(dump_json(entry.to_json()) + b"\n" for entry in self.entries(correlation_id))

    def _entry(self, exchanged: Exchanged) -> Entry:
        request, response, hide = exchanged.request, exchanged.response, self._redactor
        module, limit = exchanged.module, self._max_body
        return Entry(
            at=utc_now(),
            exchanged=_bare(exchanged),
            method=request.method if request else "",
            url=hide.url(request.url, module=module) if request else "",
            request_headers=tuple(hide.headers(request.headers, module=module)) if request else (),
            request_body=hide.body(request.body, module=module, limit=limit) if request else "",
            response_headers=tuple(hide.headers(response.headers, module=module)) if response else (),
            response_body=hide.body(response.body, module=module, limit=limit) if response else "",
        )


def _bare(exchanged: Exchanged) -> Exchanged:
    return Exchanged(
        direction=exchanged.direction,
        partner=exchanged.partner,
        operation=exchanged.operation,
        http_status=exchanged.http_status,
        seconds=exchanged.seconds,
        request_id=exchanged.request_id,
        correlation_id=exchanged.correlation_id,
        error=exchanged.error,
        module=exchanged.module,
    )
