"""What an answer to an upload means, and how long to wait after it; sends nothing and keeps nothing.

The HTTP status decides first. The OCPI status decides where the HTTP status leaves it open: in a 2xx, and in
a 4xx with a hub's 4xxx, because a hub that could not pass a message on says nothing about the message.
Only HTTP 2xx with OCPI 1xxx is a delivery: a maintenance page with status 200 must not swallow a CDR.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from attrs import field, frozen, validators
from multidict import CIMultiDict

from .._codec import decode_answer
from ..errors import (
    BadAnswer,
    DecodeError,
    InvalidObject,
    NoAnswer,
    NotRegistered,
    NotSent,
    NotServed,
    NotTrusted,
    OcpiError,
    RegistrationFailed,
    StatusError,
    StoreError,
    UrlRefused,
)
from ..store.records import NewUpload
from ..types import utc_now

MAX_RETRY_AFTER = 3600.0
"""Seconds: the longest wish of a partner that is granted."""

_MAX_DATE = 64
"""Characters: more than any HTTP date has."""


class Outcome(StrEnum):
    """What one attempt came to."""

    DELIVERED = "DELIVERED"
    """The partner has it."""
    REJECTED = "REJECTED"
    """The same bytes can never pass. Parked; the lane goes on."""
    UNKNOWN_OBJECT = "UNKNOWN_OBJECT"
    """It changes or deletes an object that the partner does not hold. Parked; the lane goes on."""
    NOT_YET_KNOWN = "NOT_YET_KNOWN"
    """A session or CDR at a location that the partner has not taken over yet. Parked; the lane goes on."""
    TRANSIENT = "TRANSIENT"
    """It may pass later. The lane waits and tries again, for ever."""
    AUTH = "AUTH"
    """The partner does not accept our token. The whole connection waits."""
    CONFIG = "CONFIG"
    """The address or its protection is not what it was. The whole connection waits."""
    PARTY = "PARTY"
    """The partner does not accept this party of ours. The party's lanes wait."""
    UNREGISTERED = "UNREGISTERED"
    """There are no credentials. The whole connection waits for a registration."""


PARKING = frozenset({Outcome.REJECTED, Outcome.UNKNOWN_OBJECT, Outcome.NOT_YET_KNOWN})
"""What takes an upload out of its lane."""
SUSPENDING = frozenset({Outcome.AUTH, Outcome.CONFIG, Outcome.UNREGISTERED})
"""What stops every lane of the connection."""


@frozen
class Verdict:
    """What one attempt came to, and why.

    Attributes:
        outcome: What follows from it.
        reason: For the operator, in our words: statuses, but nothing that the partner wrote.
        retry_after: Seconds that the partner asked to wait, at most `MAX_RETRY_AFTER`; None: none.
    """

    outcome: Outcome
    reason: str
    retry_after: float | None = None


@frozen(kw_only=True)
class Rhythm:
    """How long the outbox waits, in seconds.

    Attributes:
        first_delay: Before the second attempt; doubles with every further one.
        longest_delay: What the doubling ends at.
        probe_interval: Between two attempts of what is suspended.
        store_delay: The longest wait for a store that fails.
    """

    first_delay: float = field(default=1.0, validator=validators.gt(0))
    longest_delay: float = field(default=300.0, validator=validators.gt(0))
    probe_interval: float = field(default=300.0, validator=validators.gt(0))
    store_delay: float = field(default=10.0, validator=validators.gt(0))

    def delay(self, failures: int, jitter: float) -> float:
        """Return the seconds to wait after so many failures in a row.

        Args:
            failures: At least one.
            jitter: From 0 to 1, by chance: lanes that failed together must not come back together.
        """
        doubled = self.first_delay * 2.0 ** min(failures - 1, 64)
        return min(doubled, self.longest_delay) * (0.5 + jitter / 2)


# --- answers ---------------------------------------------------------------------------------------------

# 4xx are about the message, and so REJECTED, except for these. 404 has rules of its own.
_BY_HTTP: dict[int, tuple[Outcome, str]] = {
    401: (Outcome.AUTH, "the partner does not accept our token"),
    402: (Outcome.CONFIG, "the partner wants to be paid"),
    403: (Outcome.PARTY, "the partner does not allow this to our party"),
    407: (Outcome.CONFIG, "a proxy wants credentials"),
    408: (Outcome.TRANSIENT, "the partner gave up waiting"),
    421: (Outcome.CONFIG, "the partner's server is not meant for this address"),
    423: (Outcome.TRANSIENT, "the partner is busy with this object"),
    424: (Outcome.TRANSIENT, "something that the partner depends on failed"),
    425: (Outcome.TRANSIENT, "too early for the partner"),
    426: (Outcome.CONFIG, "the partner wants another protocol"),
    429: (Outcome.TRANSIENT, "too many requests for the partner"),
    451: (Outcome.CONFIG, "the partner is not allowed to answer us"),
    405: (Outcome.REJECTED, "the partner does not offer this operation"),
    501: (Outcome.REJECTED, "the partner does not offer this operation"),
}

# How the names of operations begin that change or delete what the partner should hold, ...
_NEEDS_OBJECT = ("patch_", "delete_")
# ... and of those whose content names a location, which may still be on its way into the hub.
_NEEDS_LOCATION = ("put_session", "post_cdr")

_NO_STATUS = (Outcome.TRANSIENT, "the answer is not OCPI")
_NOT_ACCEPTED = (Outcome.REJECTED, "the partner does not accept the message")


def judge_response(
    upload: NewUpload,
    http_status: int,
    headers: CIMultiDict[str],
    body: bytes,
    *,
    now: Callable[[], datetime] = utc_now,
) -> Verdict:
    """Say what a partner's answer to an upload means. Never raises, whatever came.

    Args:
        upload: What was sent.
        http_status: The HTTP status of the answer.
        headers: Its headers, for ``Retry-After``.
        body: Its body.
        now: Tells the time, with a zone; for a ``Retry-After`` with a date in an answer without ``Date``.
    """
    code = _status_code(body)
    outcome, words = _judge(_operation_name(upload.operation), http_status, code)
    wait = retry_after(headers, now) if outcome is Outcome.TRANSIENT else None
    return Verdict(outcome, f"{words} ({_statuses(http_status, code)})", wait)


def judge_failure(error: OcpiError) -> Verdict:
    """Say what it means that no answer could be had. Never raises."""
    match error:
        case NotServed():
            # The same message cannot pass, and what waits behind it can: it is not the connection that fails.
            return Verdict(Outcome.REJECTED, "the partner does not serve this module in this version")
        case NotRegistered() | RegistrationFailed():
            return Verdict(Outcome.UNREGISTERED, "the connection is not registered")
        case UrlRefused():
            return Verdict(Outcome.CONFIG, f"the address must not be called: {error.reason}")
        case NotTrusted():
            return Verdict(Outcome.CONFIG, f"not sent: {error.reason}")
        case NotSent():
            return Verdict(Outcome.TRANSIENT, f"not sent: {error.reason}")
        case NoAnswer():
            return Verdict(Outcome.TRANSIENT, f"no complete answer: {error.reason}")
        case StatusError():
            outcome, words = _judge("", error.http_status, error.status_code)
            return Verdict(outcome, f"{words} ({_statuses(error.http_status, error.status_code)})")
        case BadAnswer():
            outcome, words = _judge("", error.http_status, None)
            return Verdict(outcome, f"{words} ({_statuses(error.http_status, None)})")
        case DecodeError() | InvalidObject():
            return Verdict(Outcome.REJECTED, "no request can be made of it any more")
        case StoreError():
            return Verdict(Outcome.TRANSIENT, "not sent: the store could not be read")
        case _:
            return Verdict(Outcome.TRANSIENT, f"the attempt failed with {type(error).__name__}")


def _operation_name(operation: str) -> str:
    """Return ``put_location`` of ``2.2.1/LocationsReceiver.put_location``."""
    return operation.rpartition(".")[2]


def _status_code(body: bytes) -> int | None:
    """Return the OCPI status code; None where there is none that OCPI knows a range for."""
    try:
        code = decode_answer(body).status_code
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ):  # DecodeError is the first; no bytes may break us
        return None
    return code if 1000 <= code <= 4999 else None


def _statuses(http_status: int, code: int | None) -> str:
    return f"HTTP {http_status}" + (f", OCPI {code}" if code is not None else "")


def _judge(operation: str, http_status: int, code: int | None) -> tuple[Outcome, str]:
    if 200 <= http_status <= 299:
        return _judge_code(operation, code)
    if 300 <= http_status <= 399:
        return Outcome.CONFIG, "the partner points to another address"
    if http_status in _BY_HTTP:
        return _BY_HTTP[http_status]
    if not 400 <= http_status <= 499:
        return Outcome.TRANSIENT, "the partner's server failed"
    if code is not None and (code >= 4000 or (code == 2003 and operation.startswith(_NEEDS_LOCATION))):
        return _judge_code(operation, code)
    if http_status != 404:
        return _NOT_ACCEPTED
    if operation.startswith(_NEEDS_OBJECT):
        return Outcome.UNKNOWN_OBJECT, "the partner does not hold the object"
    # The specification's answer to a country or party that the partner does not expect from us.
    return Outcome.PARTY, "the partner does not know the place"


def _judge_code(operation: str, code: int | None) -> tuple[Outcome, str]:
    """Say what an OCPI status means. (status codes chapter)"""
    if code is None:
        return _NO_STATUS
    if code <= 1999:
        return Outcome.DELIVERED, "delivered"
    if code == 2003 and operation.startswith(_NEEDS_OBJECT):
        return Outcome.UNKNOWN_OBJECT, "the partner does not hold the object"
    if code == 2003 and operation.startswith(_NEEDS_LOCATION):
        return Outcome.NOT_YET_KNOWN, "the partner does not know the location yet"
    if code <= 2999:
        return _NOT_ACCEPTED
    if code <= 3999:
        return Outcome.TRANSIENT, "the partner could not do its part"
    if code == 4001:
        return Outcome.PARTY, "the hub does not know the receiver"
    return Outcome.TRANSIENT, "the hub could not pass it on"


# --- Retry-After -----------------------------------------------------------------------------------------


def retry_after(headers: CIMultiDict[str], now: Callable[[], datetime]) -> float | None:
    """Return the seconds that the partner asks to wait; the longest, where it says several things."""
    date = headers.get("Date", "")
    waits = [_seconds(text.strip(), date, now) for text in headers.getall("Retry-After", [])]
    longest = max((wait for wait in waits if wait is not None), default=None)
    return None if longest is None else min(longest, MAX_RETRY_AFTER)


def _seconds(text: str, date: str, now: Callable[[], datetime]) -> float | None:
    if text.isascii() and text.isdigit():
        # Python refuses to read thousands of digits.
        return float(text) if len(text) <= 9 else MAX_RETRY_AFTER
    until = http_date(text)
    if until is None:
        return None
    # Measured on the partner's own clock where it shows it: ours may differ.
    start = http_date(date) or now()
    return max(0.0, (until - start).total_seconds())


def http_date(text: str) -> datetime | None:
    """Read a date of HTTP, such as that of the ``Date`` header; None where it is none."""
    if len(text) > _MAX_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
