from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ocpi_gireve.errors import StoreError
from ocpi_gireve.store._writer import store_error, wal_is_safe


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 44, 9), True),
        ((3, 45, 0), False),
        ((3, 50, 4), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_is_safe(version: tuple[int, int, int], safe: bool) -> None:
    """WAL is used only where SQLite is free of the WAL-reset bug."""
    assert wal_is_safe(version) is safe


def with_code(error: sqlite3.Error, code: int) -> sqlite3.Error:
    """An error as SQLite raises it."""
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (with_code(sqlite3.OperationalError("x"), sqlite3.SQLITE_FULL), "the disk is full"),
        (
            with_code(sqlite3.OperationalError("x"), sqlite3.SQLITE_IOERR_FSYNC),
            "the disk could not be read or written",
        ),
        (
            with_code(sqlite3.IntegrityError("x"), sqlite3.SQLITE_CONSTRAINT_UNIQUE),
            "the database refuses such a record",
        ),
        (sqlite3.ProgrammingError("x"), "the database could not do it"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (OSError("without a number"), "OSError"),
        (KeyError("x"), "the operation failed with KeyError"),
    ],
)
def test_errors(error: Exception, sentence: str) -> None:
    """Every failure becomes a StoreError that says which file and what, and is chained to its cause."""
    mapped = store_error(Path("ocpi.db"), error)
    assert str(mapped) == f"ocpi.db: {sentence}"
    assert mapped.__cause__ is error


def test_store_errors_stay() -> None:
    """What is a StoreError already stays as it is."""
    error = StoreError("the store is not open")
    assert store_error(Path("ocpi.db"), error) is error
