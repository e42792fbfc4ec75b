"""Store and forward: uploads leave in order and are kept until the partner took them; builds no request."""

from __future__ import annotations

from .policy import Outcome, Rhythm, Verdict, judge_failure, judge_response
from .worker import EventKind, LaneState, LaneStatus, Outbox, OutboxEvent

__all__ = [
    "EventKind",
    "LaneState",
    "LaneStatus",
    "Outbox",
    "OutboxEvent",
    "Outcome",
    "Rhythm",
    "Verdict",
    "judge_failure",
    "judge_response",
]
