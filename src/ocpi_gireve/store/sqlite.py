"""The store in one SQLite file, for one process; leaves threads, commits and locks to `_writer`."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError
from ..types import PartnerEndpoint, PartnerRole, PartyId, Role, Secret, utc_now
from . import _kept
from ._rows import to_moment, to_text, to_text_or_null, unreadable
from ._rules import check_moments, check_page, check_tokens, not_open, other_loop, token_taken
from ._schema import SCHEMA
from ._writer import Writer
from .cipher import Cipher, FernetCipher, KeyFile, PlaintextCipher
from .records import (
    Approval,
    ConnectionRecord,
    ConnectionState,
    InboundToken,
    LaneDepth,
    NewUpload,
    Receipt,
    Scope,
    StoredObject,
    TokenKind,
    Upload,
    UploadState,
    Watermark,
)

T = TypeVar("T")

_SAVE_CONNECTION = """
INSERT INTO connection (id, profile, party_country, party_id, role, origins, approved, requires, state,
                        versions_url, version, roles, endpoints, outbound_token, outbound_token_encrypted)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    profile = excluded.profile, party_country = excluded.party_country, party_id = excluded.party_id,
    role = excluded.role, origins = excluded.origins, approved = excluded.approved,
    requires = excluded.requires, state = excluded.state,
    versions_url = excluded.versions_url, version = excluded.version, roles = excluded.roles,
    endpoints = excluded.endpoints, outbound_token = excluded.outbound_token,
    outbound_token_encrypted = excluded.outbound_token_encrypted
"""

_CONNECTIONS = """
SELECT id, profile, party_country, party_id, role, origins, approved, requires, state,
       versions_url, version, roles, endpoints, outbound_token, outbound_token_encrypted
FROM connection
"""

_OUTBOUND_TOKENS = """
SELECT id, outbound_token, outbound_token_encrypted FROM connection
WHERE outbound_token IS NOT NULL ORDER BY number
"""

_ENCRYPT = "UPDATE connection SET outbound_token = ?, outbound_token_encrypted = 1 WHERE id = ?"

_FORGET = """
UPDATE connection SET outbound_token = NULL, outbound_token_encrypted = 0,
    state = CASE state WHEN 'REGISTERED' THEN 'UNREGISTERED' ELSE state END
WHERE outbound_token IS NOT NULL
"""

_REMEDY = (
    "Restore its key from where you keep it. If it is lost, forget_outbound_tokens() keeps everything else, "
    "and the partners have to be registered again."
)

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

    Beside the file stand its lock, ``<name>.lock``, and, unless another cipher is given, its key,
    ``<name>.key``. None of them may lie on a network file system.

    Attributes:
        path: The database file; created where it is missing, and readable for its owner alone.
        cipher: Encrypts our outbound tokens: by default with the key in the file beside the database, which
            is created with it. What stands there in plain text, or was encrypted with an older key of a
            `FernetCipher` or `KeyFile`, is encrypted anew when the store is opened.
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
        # Beside the file itself: whatever name it is opened by, it has one key.
        self.cipher: Cipher = KeyFile(f"{os.path.realpath(self.path)}.key") if cipher is None else cipher
        self.now = now
        self._writer: Writer | None = None

    async def open(self) -> None:
        """See `Store.open`."""
        if self._writer is not None and (self._writer.closing or self._writer.loop.is_closed()):
            await self.close()
        if self._writer is None:
            prepare = partial(_prepare_tokens, self.cipher)
            self._writer = Writer(self.path, SCHEMA, asyncio.get_running_loop(), prepare)
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

    async def forget_outbound_tokens(self) -> list[str]:
        """Forget the tokens that we present, because their key is lost; the store must be closed.

        Their connections become UNREGISTERED: each needs a new registration. Everything else stays, uploads
        included.

        Returns:
            The ids of these connections.

        Raises:
            StoreError: the store is open, or its database cannot be opened.
        """
        if self._writer is not None:
            raise StoreError("the store is open; close it first")
        writer = Writer(self.path, SCHEMA, asyncio.get_running_loop())
        try:
            await writer.opened()
            return await writer.do(_forget_outbound_tokens)
        finally:
            await writer.close()

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
        return await self._do(partial(_add_upload, upload, to_text(self.now())))

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

    async def put_object(self, obj: StoredObject) -> None:
        """See `Store.put_object`."""
        check_moments(obj.last_updated)
        await self._do(partial(_kept.put_object, obj))

    async def object(self, scope: Scope, kind: str, id: str) -> StoredObject | None:
        """See `Store.object`."""
        return await self._do(partial(_kept.find_object, scope, kind, id))

    async def objects_named(self, connection: str, kind: str, id: str) -> list[StoredObject]:
        """See `Store.objects_named`."""
        return await self._do(partial(_kept.find_named, connection, kind, id))

    async def remove_object(self, scope: Scope, kind: str, id: str) -> bool:
        """See `Store.remove_object`."""
        return await self._do(partial(_kept.remove_object, scope, kind, id))

    async def objects(
        self,
        connection: str,
        kind: str,
        owner: PartyId | None = None,
        *,
        changed_from: datetime | None = None,
        changed_to: datetime | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[StoredObject]:
        """See `Store.objects`."""
        check_page(offset, limit)
        check_moments(changed_from, changed_to)
        wanted = _kept.wanted(connection, kind, owner, changed_from, changed_to)
        return await self._do(partial(_kept.list_objects, wanted, offset, limit))

    async def count_objects(
        self,
        connection: str,
        kind: str,
        owner: PartyId | None = None,
        *,
        changed_from: datetime | None = None,
        changed_to: datetime | None = None,
    ) -> int:
        """See `Store.count_objects`."""
        check_moments(changed_from, changed_to)
        wanted = _kept.wanted(connection, kind, owner, changed_from, changed_to)
        return await self._do(partial(_kept.count_objects, wanted))

    async def watermark(self, connection: str, stream: str) -> Watermark | None:
        """See `Store.watermark`."""
        return await self._do(partial(_kept.find_watermark, connection, stream))

    async def save_watermark(self, connection: str, stream: str, watermark: Watermark) -> None:
        """See `Store.save_watermark`."""
        check_moments(watermark.since, watermark.full)
        await self._do(partial(_kept.save_watermark, connection, stream, watermark))

    async def receipt(self, connection: str, key: str) -> Receipt | None:
        """See `Store.receipt`."""
        return await self._do(partial(_kept.find_receipt, connection, key))

    async def save_receipt(self, connection: str, key: str, receipt: Receipt) -> None:
        """See `Store.save_receipt`."""
        check_moments(receipt.at, receipt.until)
        await self._do(partial(_kept.save_receipt, connection, key, receipt))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise not_open()
        return await self._writer.do(work)

    async def _change(self, statement: str, *values: str | int) -> bool:
        """Run one statement; tell whether it found what it is about."""
        return await self._do(lambda connection: connection.execute(statement, values).rowcount > 0)


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
            None if record.party is None else record.party.country_code,
            None if record.party is None else record.party.party_id,
            record.role,
            json.dumps(record.origins),
            None if record.approved is None else json.dumps([_approval(one) for one in record.approved]),
            json.dumps(record.requires),
            record.state.value,
            record.versions_url,
            record.version,
            json.dumps([(r.role, r.party.country_code, r.party.party_id, r.name) for r in record.roles]),
            json.dumps([(endpoint.module, endpoint.role, endpoint.url) for endpoint in record.endpoints]),
            None if secret is None else cipher.encrypt(_together(secret, record.previous_token).encode()),
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
                to_text_or_null(token.expires),
            )
            for token in tokens
        ],
    )


def _connections(
    rest: str, values: tuple[str, ...], cipher: Cipher, db: sqlite3.Connection
) -> list[ConnectionRecord]:
    return [_connection(row, cipher) for row in db.execute(_CONNECTIONS + rest, values)]


def _connection(row: tuple[Any, ...], cipher: Cipher) -> ConnectionRecord:
    name, profile, country, party_id, role, origins, approved, requires, state, *rest = row
    versions_url, version, roles, endpoints, token, encrypted = rest
    try:
        outbound = None if token is None else _outbound_token(name, token, bool(encrypted), cipher)
        present, previous = (None, None) if outbound is None else json.loads(outbound.reveal())
        return ConnectionRecord(
            id=name,
            profile=profile,
            party=None if country is None else PartyId(country, party_id),
            role=None if role is None else Role(role),
            origins=tuple(json.loads(origins)),
            approved=None if approved is None else tuple(_approved(*one) for one in json.loads(approved)),
            requires=tuple(json.loads(requires)),
            state=ConnectionState(state),
            versions_url=versions_url,
            version=version,
            roles=tuple(
                PartnerRole(Role(market), PartyId(*party), business)
                for market, *party, business in json.loads(roles)
            ),
            endpoints=tuple(PartnerEndpoint(*endpoint) for endpoint in json.loads(endpoints)),
            outbound_token=None if present is None else Secret(present),
            previous_token=None if previous is None else Secret(previous),
        )
    except (ValueError, TypeError):
        raise unreadable("a connection") from None  # the causes quote what they could not read


def _approval(one: Approval) -> tuple[str | None, str | None, str | None]:
    party = one.party
    return (None, None, one.role) if party is None else (party.country_code, party.party_id, one.role)


def _approved(country: str | None, party: str | None, role: str | None) -> Approval:
    known = None if country is None or party is None else PartyId(country, party)
    return Approval(known, None if role is None else Role(role))


def _together(token: Secret, previous: Secret | None) -> str:
    """Write both outbound tokens as one text, so that they are encrypted, and forgotten, together."""
    return json.dumps([token.reveal(), None if previous is None else previous.reveal()])


def _outbound_token(name: str, stored: bytes, encrypted: bool, cipher: Cipher) -> Secret:
    if not encrypted:
        return Secret(stored.decode())
    if isinstance(cipher, PlaintextCipher):
        raise StoreError("the outbound tokens are encrypted: PlaintextCipher() cannot read them")
    try:
        plain = cipher.decrypt(stored)
    except Exception as error:
        raise StoreError(
            f"{name}: its outbound token cannot be decrypted by this cipher. {_REMEDY}"
        ) from error
    return Secret(plain.decode())


def _prepare_tokens(cipher: Cipher, db: sqlite3.Connection) -> None:
    """Make sure that every outbound token can be read, and stands there as it would be written today."""
    rows = db.execute(_OUTBOUND_TOKENS).fetchall()
    if isinstance(cipher, KeyFile):
        needed = any(encrypted for *_, encrypted in rows)
        if needed and not cipher.path.exists():
            raise StoreError(
                f"{cipher.path}: the key is missing with which outbound tokens are encrypted. {_REMEDY}"
            )
        cipher.load(create=not needed)
    for name, stored, encrypted in rows:
        try:
            token = _outbound_token(name, stored, bool(encrypted), cipher)
        except (ValueError, TypeError, AttributeError):
            raise unreadable("an outbound token") from None
        outdated = isinstance(cipher, FernetCipher | KeyFile) and encrypted and not cipher.is_current(stored)
        if outdated or (not encrypted and not isinstance(cipher, PlaintextCipher)):
            db.execute(_ENCRYPT, (cipher.encrypt(token.reveal().encode()), name))


def _forget_outbound_tokens(db: sqlite3.Connection) -> list[str]:
    names: list[str] = [name for name, *_ in db.execute(_OUTBOUND_TOKENS)]
    db.execute(_FORGET)
    return names


def _tokens(rest: str, value: str | bytes, db: sqlite3.Connection) -> list[InboundToken]:
    try:
        return [
            InboundToken(
                digest=digest,
                connection=connection,
                kind=TokenKind(kind),
                used=bool(used),
                expires=to_moment(expires),
            )
            for digest, connection, kind, used, expires in db.execute(f"{_TOKENS} {rest}", (value,))
        ]
    except (ValueError, TypeError):
        raise unreadable("a token") from None


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
        raise unreadable("an upload") from None


def _lanes(db: sqlite3.Connection) -> list[LaneDepth]:
    try:
        return [
            LaneDepth(
                connection=connection,
                lane=lane,
                queued=queued,
                parked=parked,
                oldest=to_moment(oldest),
            )
            for connection, lane, queued, parked, oldest in db.execute(_LANES)
        ]
    except (ValueError, TypeError):
        raise unreadable("a lane") from None
