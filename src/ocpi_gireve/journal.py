"""One line for every exchange with a partner: what, with whom, how it ended, how long it took; never the content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from attrs import frozen


@frozen(kw_only=True)
class Exchanged:
    """One exchange that has ended.

    Attributes:
        direction: ``out`` where we asked, ``in`` where the partner asked.
        partner: The id of the connection; empty where the partner was not recognised.
        operation: The operation's id; empty where the request matched none.
        http_status: The HTTP status of the answer; None where none came.
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
"""Called with every exchange that has ended; it must return at once."""


def ignore(exchanged: Exchanged) -> None:
    """Take note of nothing."""
