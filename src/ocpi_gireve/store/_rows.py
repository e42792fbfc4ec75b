"""How values stand in the rows of a database; runs no statement."""

from __future__ import annotations

from datetime import UTC, datetime

from ..errors import StoreError


def to_text(moment: datetime) -> str:
    """Write a moment so that texts sort as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def to_text_or_null(moment: datetime | None) -> str | None:
    """Write a moment, where there is one."""
    return None if moment is None else to_text(moment)


def to_moment(text: str | None) -> datetime | None:
    """Read a moment."""
    return None if text is None else datetime.fromisoformat(text)


def unreadable(kind: str) -> StoreError:
    """Make the error of a row that this library did not write."""
    return StoreError(f"the database is damaged: it holds {kind} that cannot be read")
