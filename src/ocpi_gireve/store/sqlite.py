"""The store in one SQLite file, for one process; leaves threads, commits and locks to `_writer`."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError
from ..types import PartnerEndpoint, PartnerRole, PartyId, Role, Secret, utc_now
from ._rules import check_tokens, not_open, other_loop, token_taken
from ._writer import Schema, Writer
from .cipher import Cipher, PlaintextCipher
from .records import (
    ConnectionRecord,
    ConnectionState,
    InboundToken,
    LaneDepth,
    NewUpload,
    TokenKind,
    Upload,
    UploadState,
)

T = TypeVar("T")

# Written for SQLite 3.24 and later, so without STRICT tables and RETURNING.
# A migration, once released, is never edited.
_MIGRATIONS = (
    (
        """
        CREATE TABLE connection (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            profile TEXT NOT NULL,
            origins TEXT NOT NULL,
            state TEXT NOT NULL,
            versions_url TEXT,
            version TEXT,
            roles TEXT NOT NULL,
            endpoints TEXT NOT NULL,
            outbound_token BLOB,
            outbound_token_encrypted INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE token (
            number INTEGER PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
            connection TEXT NOT NULL REFERENCES connection (id),
            kind TEXT NOT NULL,
            used INTEGER NOT NULL,
            expires TEXT
        )
        """,
        "CREATE INDEX token_by_connection ON token (connection)",
        # The counts are kept by triggers: counting a million uploads for a status would take too long.
        """
        CREATE TABLE lane (
            id INTEGER PRIMARY KEY,
            connection TEXT NOT NULL,
            name TEXT NOT NULL,
            queued INTEGER NOT NULL DEFAULT 0,
            parked INTEGER NOT NULL DEFAULT 0,
            UNIQUE (connection, name)
        )
        """,
        # AUTOINCREMENT: the number of a deleted upload is not given to another one.
        """
        CREATE TABLE upload (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            lane INTEGER NOT NULL REFERENCES lane (id),
            state TEXT NOT NULL CHECK (state IN ('QUEUED', 'PARKED')),
            created TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            operation TEXT NOT NULL,
            path TEXT NOT NULL,
            sender_country TEXT NOT NULL,
            sender_party TEXT NOT NULL,
            receiver_country TEXT,
            receiver_party TEXT,
            correlation_id TEXT NOT NULL,
            subject TEXT NOT NULL,
            body BLOB NOT NULL
        )
        """,
        # Both end in seq, which is the rowid.
        "CREATE INDEX upload_queued ON upload (lane) WHERE state = 'QUEUED'",
        "CREATE INDEX upload_parked ON upload (lane) WHERE state = 'PARKED'",
        """
        CREATE TRIGGER upload_added AFTER INSERT ON upload BEGIN
            UPDATE lane SET queued = queued + (new.state = 'QUEUED'), parked = parked + (new.state = 'PARKED')
            WHERE id = new.lane;
        END
        """,
        """
        CREATE TRIGGER upload_moved AFTER UPDATE OF state ON upload BEGIN
            UPDATE lane SET queued = queued + (new.state = 'QUEUED') - (old.state = 'QUEUED'),
                            parked = parked + (new.state = 'PARKED') - (old.state = 'PARKED')
            WHERE id = new.lane;
        END
        """,
        """
        CREATE TRIGGER upload_deleted AFTER DELETE ON upload BEGIN
            UPDATE lane SET queued = queued - (old.state = 'QUEUED'), parked = parked - (old.state = 'PARKED')
            WHERE id = old.lane;
        END
        """,
    ),
)

SCHEMA = Schema(application_id=int.from_bytes(b"OCPI", "big"), migrations=_MIGRATIONS)

_SAVE_CONNECTION = """
INSERT INTO connection (id, profile, origins, state, versions_url, version, roles, endpoints,
                        outbound_token, outbound_token_encrypted)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    profile = excluded.profile, origins = excluded.origins, state = excluded.state,
    versions_url = excluded.versions_url, version = excluded.version, roles = excluded.roles,
    endpoints = excluded.endpoints, outbound_token = excluded.outbound_token,
    outbound_token_encrypted = excluded.outbound_token_encrypted
"""

_CONNECTIONS = """
SELECT id, profile, origins, state, versions_url, version, roles, endpoints,
       outbound_token, outbound_token_encrypted
FROM connection
"""

_SAVE_TOKEN = "INSERT INTO token (digest, connection, kind, used, expires) VALUES (?, ?, ?, ?, ?)"  # noqa: S105 - SQL

_TOKENS = "SELECT digest, connection, kind, used, expires FROM token"

_ADD_UPLOAD = """
INSERT INTO upload (lane, state, created, operation, path, sender_country, sender_party,
                    receiver_country, receiver_party, correlation_id, subject, body)
SELECT id, 'QUEUED', ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM lane WHERE connection = ? AND name = ?
"""

_REDRIVE = """
INSERT INTO upload (lane, state, created, attempts, reason, operation, path, sender_country, sender_party,
                    receiver_country, receiver_party, correlation_id, subject, body)
SELECT lane, 'QUEUED', created, attempts, reason, operation, path, sender_country, sender_party,
       receiver_country, receiver_party, correlation_id, subject, body
FROM upload WHERE seq = ? AND state = 'PARKED'
"""

_UPLOADS = """
SELECT upload.seq, upload.state, upload.created, upload.attempts, upload.reason,
       lane.connection, lane.name, upload.operation, upload.path,
       upload.sender_country, upload.sender_party, upload.receiver_country, upload.receiver_party,
       upload.correlation_id, upload.subject, upload.body
FROM lane JOIN upload ON upload.lane = lane.id
"""

_HEAD = "WHERE lane.connection = ? AND lane.name = ? AND upload.state = 'QUEUED' ORDER BY upload.seq LIMIT 1"

_PARKED = "WHERE lane.connection = ? AND upload.state = 'PARKED' ORDER BY upload.seq"

_LANES = """
SELECT connection, name, queued, parked,
       (SELECT created FROM upload WHERE lane = lane.id AND state = 'QUEUED' ORDER BY seq LIMIT 1)
FROM lane WHERE queued > 0 OR parked > 0 ORDER BY connection, name
"""


class SqliteStore:
    """A `Store` in one file, which one process uses from one event loop at a time.

    Beside the file stands its lock, ``<name>.lock``. Neither may lie on a network file system.

    Attributes:
        path: The database file; created where it is missing, and readable for its owner alone.
        cipher: Encrypts our outbound tokens. Without one they stand in the file as they are.
        now: Tells when an upload is accepted; with a time zone.

    Raises:
        ValueError: the path names no file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        cipher: Cipher | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if os.fspath(path) in {"", ":memory:"}:
            raise ValueError("expected the path of a file; MemoryStore is the store without one")
        self.path = Path(path)
        self.cipher: Cipher = PlaintextCipher() if cipher is None else cipher
        self.now = now
        self._writer: Writer | None = None

    async def open(self) -> None:
        """See `Store.open`."""
        if self._writer is not None and (self._writer.closing or self._writer.loop.is_closed()):
            await self.close()
        if self._writer is None:
            self._writer = Writer(self.path, SCHEMA, asyncio.get_running_loop())
        writer = self._writer
        if writer.loop is not asyncio.get_running_loop():
            raise other_loop()
        try:
            await writer.opened()
        except StoreError:
            await self._end(writer)
            raise

    async def close(self) -> None:
        """See `Store.close`."""
        if self._writer is not None:
            await self._end(self._writer)

    async def _end(self, writer: Writer) -> None:
        try:
            await writer.close()
        finally:
            # Unless this caller was cancelled before the end, or another one has opened the store again.
            if writer.ended and self._writer is writer:
                self._writer = None

    async def save_connection(self, record: ConnectionRecord, tokens: Sequence[InboundToken]) -> None:
        """See `Store.save_connection`."""
        check_tokens(record, tokens)
        await self._do(partial(_save_connection, record, tuple(tokens), self.cipher))

    async def connection(self, connection: str) -> ConnectionRecord | None:
        """See `Store.connection`."""
        found = await self._do(partial(_connections, "WHERE id = ?", (connection,), self.cipher))
        return found[0] if found else None

    async def connections(self) -> list[ConnectionRecord]:
        """See `Store.connections`."""
        return await self._do(partial(_connections, "ORDER BY number", (), self.cipher))

    async def tokens(self, connection: str) -> list[InboundToken]:
        """See `Store.tokens`."""
        return await self._do(partial(_tokens, "WHERE connection = ? ORDER BY number", connection))

    async def find_token(self, digest: bytes) -> InboundToken | None:
        """See `Store.find_token`."""
        found = await self._do(partial(_tokens, "WHERE digest = ?", digest))
        return found[0] if found else None

    async def add_upload(self, upload: NewUpload) -> int:
        """See `Store.add_upload`."""
        return await self._do(partial(_add_upload, upload, _moment(self.now())))

    async def head(self, connection: str, lane: str) -> Upload | None:
        """See `Store.head`."""
        found = await self._do(partial(_uploads, _HEAD, (connection, lane)))
        return found[0] if found else None

    async def note_attempt(self, seq: int, reason: str) -> None:
        """See `Store.note_attempt`."""
        await self._change("UPDATE upload SET attempts = attempts + 1, reason = ? WHERE seq = ?", reason, seq)

    async def finish_upload(self, seq: int) -> None:
        """See `Store.finish_upload`."""
        await self._change("DELETE FROM upload WHERE seq = ?", seq)

    async def park_upload(self, seq: int, reason: str) -> None:
        """See `Store.park_upload`."""
        await self._change("UPDATE upload SET state = 'PARKED', reason = ? WHERE seq = ?", reason, seq)

    async def redrive_upload(self, seq: int) -> bool:
        """See `Store.redrive_upload`."""
        return await self._do(partial(_redrive, seq))

    async def discard_upload(self, seq: int) -> bool:
        """See `Store.discard_upload`."""
        return await self._change("DELETE FROM upload WHERE seq = ? AND state = 'PARKED'", seq)

    async def parked(self, connection: str) -> list[Upload]:
        """See `Store.parked`."""
        return await self._do(partial(_uploads, _PARKED, (connection,)))

    async def lanes(self) -> list[LaneDepth]:
        """See `Store.lanes`."""
        return await self._do(_lanes)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise not_open()
        return await self._writer.do(work)

    async def _change(self, statement: str, *values: str | int) -> bool:
        """Run one statement; tell whether it found what it is about."""
        return await self._do(lambda connection: connection.execute(statement, values).rowcount > 0)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _unreadable(kind: str) -> StoreError:
    return StoreError(f"the database is damaged: it holds {kind} that cannot be read")


def _save_connection(
    record: ConnectionRecord, tokens: tuple[InboundToken, ...], cipher: Cipher, db: sqlite3.Connection
) -> None:
    for token in tokens:
        owner = db.execute("SELECT connection FROM token WHERE digest = ?", (token.digest,)).fetchone()
        if owner is not None and owner[0] != record.id:
            raise token_taken()
    secret = record.outbound_token
    db.execute(
        _SAVE_CONNECTION,
        (
            record.id,
            record.profile,
            json.dumps(record.origins),
            record.state.value,
            record.versions_url,
            record.version,
            json.dumps([(r.role, r.party.country_code, r.party.party_id, r.name) for r in record.roles]),
            json.dumps([(endpoint.module, endpoint.role, endpoint.url) for endpoint in record.endpoints]),
            None if secret is None else cipher.encrypt(secret.reveal().encode()),
            not isinstance(cipher, PlaintextCipher),
        ),
    )
    db.execute("DELETE FROM token WHERE connection = ?", (record.id,))
    db.executemany(
        _SAVE_TOKEN,
        [
            (
                token.digest,
                token.connection,
                token.kind.value,
                token.used,
                None if token.expires is None else _moment(token.expires),
            )
            for token in tokens
        ],
    )


def _connections(
    rest: str, values: tuple[str, ...], cipher: Cipher, db: sqlite3.Connection
) -> list[ConnectionRecord]:
    return [_connection(row, cipher) for row in db.execute(_CONNECTIONS + rest, values)]


def _connection(row: tuple[Any, ...], cipher: Cipher) -> ConnectionRecord:
    name, profile, origins, state, versions_url, version, roles, endpoints, token, encrypted = row
    try:
        return ConnectionRecord(
            id=name,
            profile=profile,
            origins=tuple(json.loads(origins)),
            state=ConnectionState(state),
            versions_url=versions_url,
            version=version,
            roles=tuple(
                PartnerRole(Role(role), PartyId(country, party), business)
                for role, country, party, business in json.loads(roles)
            ),
            endpoints=tuple(PartnerEndpoint(*endpoint) for endpoint in json.loads(endpoints)),
            outbound_token=None if token is None else _outbound_token(token, bool(encrypted), cipher),
        )
    except (ValueError, TypeError):
        raise _unreadable("a connection") from None  # the causes quote what they could not read


def _outbound_token(stored: bytes, encrypted: bool, cipher: Cipher) -> Secret:
    if not encrypted:
        return Secret(stored.decode())  # from before there was a cipher
    if isinstance(cipher, PlaintextCipher):
        raise StoreError("the outbound tokens are encrypted, and the store was opened without a cipher")
    try:
        plain = cipher.decrypt(stored)
    except Exception as error:
        raise StoreError("the outbound tokens cannot be decrypted; is it the cipher of then?") from error
    return Secret(plain.decode())


def _tokens(rest: str, value: str | bytes, db: sqlite3.Connection) -> list[InboundToken]:
    try:
        return [
            InboundToken(
                digest=digest,
                connection=connection,
                kind=TokenKind(kind),
                used=bool(used),
                expires=None if expires is None else datetime.fromisoformat(expires),
            )
            for digest, connection, kind, used, expires in db.execute(f"{_TOKENS} {rest}", (value,))
        ]
    except (ValueError, TypeError):
        raise _unreadable("a token") from None


def _add_upload(upload: NewUpload, created: str, db: sqlite3.Connection) -> int:
    sender, receiver = upload.sender, upload.receiver
    values = (
        created,
        upload.operation,
        upload.path,
        sender.country_code,
        sender.party_id,
        None if receiver is None else receiver.country_code,
        None if receiver is None else receiver.party_id,
        upload.correlation_id,
        upload.subject,
        upload.body,
        upload.connection,
        upload.lane,
    )
    added = db.execute(_ADD_UPLOAD, values)
    if not added.rowcount:
        db.execute("INSERT INTO lane (connection, name) VALUES (?, ?)", (upload.connection, upload.lane))
        added = db.execute(_ADD_UPLOAD, values)
    if added.lastrowid is None:
        raise StoreError("the database gave the upload no number")
    return added.lastrowid


def _redrive(seq: int, db: sqlite3.Connection) -> bool:
    if not db.execute(_REDRIVE, (seq,)).rowcount:
        return False
    db.execute("DELETE FROM upload WHERE seq = ?", (seq,))
    return True


def _uploads(rest: str, values: tuple[str, ...], db: sqlite3.Connection) -> list[Upload]:
    return [_upload(row) for row in db.execute(_UPLOADS + rest, values)]


def _upload(row: tuple[Any, ...]) -> Upload:
    seq, state, created, attempts, reason, connection, lane, operation, path, *rest = row
    sender_country, sender_party, receiver_country, receiver_party, correlation_id, subject, body = rest
    try:
        return Upload(
            seq=seq,
            connection=connection,
            lane=lane,
            state=UploadState(state),
            created=datetime.fromisoformat(created),
            attempts=attempts,
            reason=reason,
            operation=operation,
            path=path,
            sender=PartyId(sender_country, sender_party),
            receiver=None if receiver_country is None else PartyId(receiver_country, receiver_party),
            correlation_id=correlation_id,
            subject=subject,
            body=body,
        )
    except (ValueError, TypeError):
        raise _unreadable("an upload") from None


def _lanes(db: sqlite3.Connection) -> list[LaneDepth]:
    try:
        return [
            LaneDepth(
                connection=connection,
                lane=lane,
                queued=queued,
                parked=parked,
                oldest=None if oldest is None else datetime.fromisoformat(oldest),
            )
            for connection, lane, queued, parked, oldest in db.execute(_LANES)
        ]
    except (ValueError, TypeError):
        raise _unreadable("a lane") from None
