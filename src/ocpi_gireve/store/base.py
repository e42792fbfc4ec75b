"""The contract that every store keeps; opens no database itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..types import PartyId
from .records import (
    ConnectionRecord,
    InboundToken,
    LaneDepth,
    NewUpload,
    Receipt,
    Scope,
    StoredObject,
    Upload,
    Watermark,
)


class Store(Protocol):
    """What a platform keeps across a restart.

    Each method is one transaction: when it returns, what it wrote survives the death of the process
    (as far as the store promises any durability), and when it raises, nothing was changed. Two cases leave
    open whether it was: a cancelled call, and a disk that fails while the transaction ends. Even then it was
    done whole or not at all.

    Every object belongs to a connection: there is no method that reads the objects of all. Parties and ids of
    objects are compared without ASCII case; connections, kinds, streams and keys are our own words, and
    compared as they are written.

    A `seq` that names no upload is no error for the methods without an answer: it may have been delivered or
    discarded meanwhile.

    A store serves one event loop at a time.

    Raises:
        StoreError: by every method, when the store is not open, or cannot reach its database: held by others,
            full, damaged, newer than this library.
    """

    async def open(self) -> None:
        """Make the store ready; creates what is missing. Opening an open store does nothing."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of the database. Closing a closed store does nothing."""
        ...

    async def save_connection(self, record: ConnectionRecord, tokens: Sequence[InboundToken]) -> None:
        """Create or replace a connection together with the complete list of its inbound tokens.

        A connection that is replaced keeps its place in `connections()`.

        Raises:
            StoreError: a token's digest already belongs to another connection.
            ValueError: a token names another connection, comes twice, has a digest that is not 32 bytes long,
                or an expiry without a time zone.
        """
        ...

    async def connection(self, connection: str) -> ConnectionRecord | None:
        """Return a connection by its id."""
        ...

    async def connections(self) -> list[ConnectionRecord]:
        """Return every connection, in the order of their creation."""
        ...

    async def tokens(self, connection: str) -> list[InboundToken]:
        """Return the inbound tokens of a connection, in the order in which they were saved."""
        ...

    async def find_token(self, digest: bytes) -> InboundToken | None:
        """Return the inbound token with this SHA-256 digest, expired ones included."""
        ...

    async def add_upload(self, upload: NewUpload) -> int:
        """Append an upload to its lane and return its sequence number."""
        ...

    async def head(self, connection: str, lane: str) -> Upload | None:
        """Return the oldest queued upload of a lane."""
        ...

    async def note_attempt(self, seq: int, reason: str) -> None:
        """Count one attempt that did not deliver, and keep what it brought as the upload's reason."""
        ...

    async def finish_upload(self, seq: int) -> None:
        """Forget a delivered upload, body and all."""
        ...

    async def park_upload(self, seq: int, reason: str) -> None:
        """Take an upload out of its lane and keep it for the operator. Counts no attempt."""
        ...

    async def redrive_upload(self, seq: int) -> bool:
        """Put a parked upload back to the end of its lane; false where there is none.

        It gets a new sequence number, and keeps everything else but its state.
        """
        ...

    async def discard_upload(self, seq: int) -> bool:
        """Delete a parked upload for good; false where there is none."""
        ...

    async def parked(self, connection: str) -> list[Upload]:
        """Return the parked uploads of a connection, oldest first."""
        ...

    async def lanes(self) -> list[LaneDepth]:
        """Return every lane that holds uploads, queued or parked, ordered by connection and lane."""
        ...

    async def put_object(self, obj: StoredObject) -> None:
        """Keep an object in the place of the one with its scope, kind and id, or as the newest.

        Raises:
            ValueError: its `last_updated` has no time zone.
        """
        ...

    async def object(self, scope: Scope, kind: str, id: str) -> StoredObject | None:
        """Return an object."""
        ...

    async def objects_named(self, connection: str, kind: str, id: str) -> list[StoredObject]:
        """Return the objects of one id, whoever owns them, in the order in which they first came."""
        ...

    async def remove_object(self, scope: Scope, kind: str, id: str) -> bool:
        """Forget an object, body and all; false where there is none."""
        ...

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
        """Return a page of the objects of one kind, in the order in which they first came.

        An object that is replaced keeps its place; one that is removed and comes again is the newest.

        Args:
            connection: The connection over which they came.
            kind: Which kind of them.
            owner: Only this party's; None: every party's.
            changed_from: Only those with a `last_updated`, and not before this moment.
            changed_to: Only those with a `last_updated`, and before this moment.
            offset: How many to skip.
            limit: How many to return at most.

        Raises:
            ValueError: a moment without a time zone, or a negative number.
        """
        ...

    async def count_objects(
        self,
        connection: str,
        kind: str,
        owner: PartyId | None = None,
        *,
        changed_from: datetime | None = None,
        changed_to: datetime | None = None,
    ) -> int:
        """Return how many objects `objects` would return without a limit.

        Raises:
            ValueError: a moment without a time zone.
        """
        ...

    async def watermark(self, connection: str, stream: str) -> Watermark | None:
        """Return how far the pulls of a stream have come; None before the first."""
        ...

    async def save_watermark(self, connection: str, stream: str, watermark: Watermark) -> None:
        """Keep how far the pulls of a stream have come.

        Raises:
            ValueError: a moment without a time zone.
        """
        ...

    async def receipt(self, connection: str, key: str) -> Receipt | None:
        """Return what was answered to a message of the partner."""
        ...

    async def save_receipt(self, connection: str, key: str, receipt: Receipt) -> None:
        """Keep what was answered to a message of the partner, in the place of an earlier answer to it.

        Receipts whose `until` lies before this one's `at` are forgotten, of all connections: nobody has to
        clean up.

        Raises:
            ValueError: a moment without a time zone.
        """
        ...
