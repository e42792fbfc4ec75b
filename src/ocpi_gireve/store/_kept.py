"""Statements about kept objects, watermarks and receipts; leaves transactions to `_writer`."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from attrs import frozen

from ..types import PartyId, ci_key
from ._rows import to_moment, to_text, to_text_or_null, unreadable
from .records import Receipt, Scope, StoredObject, Watermark

_PUT = """
INSERT INTO object (connection, kind, owner, key, country_code, party_id, id, version, last_updated,
                    digest, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (connection, kind, key, owner) DO UPDATE SET
    country_code = excluded.country_code, party_id = excluded.party_id, id = excluded.id,
    version = excluded.version, last_updated = excluded.last_updated,
    digest = excluded.digest, body = excluded.body
"""

_OBJECTS = """
SELECT connection, kind, country_code, party_id, id, version, last_updated, digest, body FROM object
"""

_NAMED = "WHERE connection = ? AND kind = ? AND key = ? AND owner = ?"

_OF_ANYBODY = "INDEXED BY object_by_id WHERE connection = ? AND kind = ? AND key = ? ORDER BY number"

_REMOVE = "DELETE FROM object WHERE connection = ? AND kind = ? AND key = ? AND owner = ?"

_SAVE_WATERMARK = """
INSERT INTO watermark (connection, stream, since, whole, unfinished) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (connection, stream) DO UPDATE SET
    since = excluded.since, whole = excluded.whole, unfinished = excluded.unfinished
"""

_SAVE_RECEIPT = """
INSERT INTO receipt (connection, key, digest, answer, at, until) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (connection, key) DO UPDATE SET
    digest = excluded.digest, answer = excluded.answer, at = excluded.at, until = excluded.until
"""

_FORGET_RECEIPTS = "DELETE FROM receipt WHERE until < ?"


@frozen
class Wanted:
    """Which objects, as the rest of a statement and its values."""

    rest: str
    values: tuple[str, ...]

    @property
    def count(self) -> str:
        """The statement that counts them."""
        return f"SELECT count(*) {self.rest}"

    @property
    def page(self) -> str:
        """The statement that reads some of them; takes limit and offset after the values."""
        numbers = f"SELECT number {self.rest} ORDER BY number LIMIT ? OFFSET ?"
        return f"{_OBJECTS} WHERE number IN ({numbers}) ORDER BY number"


def wanted(
    connection: str,
    kind: str,
    owner: PartyId | None,
    changed_from: datetime | None,
    changed_to: datetime | None,
) -> Wanted:
    """Say which objects, and by which index they are found: SQLite would have to guess."""
    conditions = ["connection = ?", "kind = ?"]
    values = [connection, kind]
    index = "object_by_number"
    if owner is not None:
        index = "object_by_owner"
        conditions.append("owner = ?")
        values.append(owner.key)
    for comparison, moment in ((">=", changed_from), ("<", changed_to)):
        if moment is not None:
            index = "object_by_change"
            conditions.append(f"last_updated {comparison} ?")
            values.append(to_text(moment))
    return Wanted(f"FROM object INDEXED BY {index} WHERE {' AND '.join(conditions)}", tuple(values))


def put_object(obj: StoredObject, db: sqlite3.Connection) -> None:
    """Insert an object, or update the row that it has."""
    owner = obj.scope.owner
    db.execute(
        _PUT,
        (
            obj.scope.connection,
            obj.kind,
            owner.key,
            ci_key(obj.id),
            owner.country_code,
            owner.party_id,
            obj.id,
            obj.version,
            to_text_or_null(obj.last_updated),
            obj.digest,
            obj.body,
        ),
    )


def find_object(scope: Scope, kind: str, id: str, db: sqlite3.Connection) -> StoredObject | None:
    """Return the object of that name."""
    row = db.execute(_OBJECTS + _NAMED, _name(scope, kind, id)).fetchone()
    return None if row is None else _object(row)


def find_named(connection: str, kind: str, id: str, db: sqlite3.Connection) -> list[StoredObject]:
    """Return the objects of that id, whoever owns them."""
    return [_object(row) for row in db.execute(_OBJECTS + _OF_ANYBODY, (connection, kind, ci_key(id)))]


def remove_object(scope: Scope, kind: str, id: str, db: sqlite3.Connection) -> bool:
    """Delete the object of that name; tell whether there was one."""
    return db.execute(_REMOVE, _name(scope, kind, id)).rowcount > 0


def list_objects(wanted: Wanted, offset: int, limit: int, db: sqlite3.Connection) -> list[StoredObject]:
    """Return a page of objects, in the order of their numbers."""
    return [_object(row) for row in db.execute(wanted.page, (*wanted.values, limit, offset))]


def count_objects(wanted: Wanted, db: sqlite3.Connection) -> int:
    """Return how many objects there are."""
    (count,) = db.execute(wanted.count, wanted.values).fetchone()
    return int(count)


def find_watermark(connection: str, stream: str, db: sqlite3.Connection) -> Watermark | None:
    """Return the watermark of a stream."""
    statement = "SELECT since, whole, unfinished FROM watermark WHERE connection = ? AND stream = ?"
    row = db.execute(statement, (connection, stream)).fetchone()
    if row is None:
        return None
    since, whole, unfinished = row
    try:
        return Watermark(since=to_moment(since), full=to_moment(whole), unfinished=unfinished)
    except (ValueError, TypeError):
        raise unreadable("a watermark") from None


def save_watermark(connection: str, stream: str, watermark: Watermark, db: sqlite3.Connection) -> None:
    """Insert or replace the watermark of a stream."""
    since, whole = to_text_or_null(watermark.since), to_text_or_null(watermark.full)
    db.execute(_SAVE_WATERMARK, (connection, stream, since, whole, watermark.unfinished))


def find_receipt(connection: str, key: str, db: sqlite3.Connection) -> Receipt | None:
    """Return the receipt of a message."""
    statement = "SELECT digest, answer, at, until FROM receipt WHERE connection = ? AND key = ?"
    row = db.execute(statement, (connection, key)).fetchone()
    if row is None:
        return None
    digest, answer, at, until = row
    try:
        return Receipt(digest=digest, answer=answer, at=datetime.fromisoformat(at), until=to_moment(until))
    except (ValueError, TypeError):
        raise unreadable("a receipt") from None


def save_receipt(connection: str, key: str, receipt: Receipt, db: sqlite3.Connection) -> None:
    """Insert or replace the receipt of a message, and delete those that have ended."""
    at = to_text(receipt.at)
    until = to_text_or_null(receipt.until)
    db.execute(_SAVE_RECEIPT, (connection, key, receipt.digest, receipt.answer, at, until))
    db.execute(_FORGET_RECEIPTS, (at,))


def _name(scope: Scope, kind: str, id: str) -> tuple[str, str, str, str]:
    return scope.connection, kind, ci_key(id), scope.owner.key


def _object(row: tuple[Any, ...]) -> StoredObject:
    connection, kind, country_code, party_id, own_id, version, last_updated, digest, body = row
    try:
        return StoredObject(
            scope=Scope(connection, PartyId(country_code, party_id)),
            kind=kind,
            id=own_id,
            version=version,
            last_updated=to_moment(last_updated),
            digest=digest,
            body=body,
        )
    except (ValueError, TypeError):
        raise unreadable("an object") from None
