"""One line for every exchange with a partner: what, with whom, how it ended; never the content."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias

from attrs import frozen

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
    """

    direction: Literal["in", "out"]
    partner: str
    operation: str
    http_status: int | None
    seconds: float
    request_id: str
    correlation_id: str
    error: str = ""


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
