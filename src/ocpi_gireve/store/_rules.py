"""What every store asks of its arguments; keeps nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..errors import StoreError
from .records import ConnectionRecord, InboundToken

DIGEST_BYTES = 32
"""SHA-256."""


def check_tokens(record: ConnectionRecord, tokens: Sequence[InboundToken]) -> None:
    """Refuse a list of tokens that no connection can have.

    Raises:
        ValueError: a token of another connection, a digest that is not SHA-256 or comes twice, an expiry
            without a time zone.
    """
    if any(token.connection != record.id for token in tokens):
        raise ValueError("expected tokens of the connection that is saved")
    if any(len(token.digest) != DIGEST_BYTES for token in tokens):
        raise ValueError(f"expected digests of {DIGEST_BYTES} bytes")
    if len({token.digest for token in tokens}) != len(tokens):
        raise ValueError("expected each token once")
    if any(token.expires is not None and token.expires.tzinfo is None for token in tokens):
        raise ValueError("expected an expiry with a time zone")


def check_moments(*moments: datetime | None) -> None:
    """Refuse a moment that names no instant.

    Raises:
        ValueError: a moment without a time zone.
    """
    if any(moment is not None and moment.utcoffset() is None for moment in moments):
        raise ValueError("expected a moment with a time zone")


def check_page(offset: int, limit: int) -> None:
    """Refuse a page that cannot be.

    Raises:
        ValueError: a negative number.
    """
    if offset < 0 or limit < 0:
        raise ValueError("expected an offset and a limit that are not negative")


def not_open() -> StoreError:
    """Make the error of a store that is used before `open()` or after `close()`."""
    return StoreError("the store is not open")


def other_loop() -> StoreError:
    """Make the error of a store that is used from another event loop than the one that opened it."""
    return StoreError("the store is open in another event loop")


def token_taken() -> StoreError:
    """Make the error of a token that already opens another connection."""
    return StoreError("one of these tokens already belongs to another connection")
