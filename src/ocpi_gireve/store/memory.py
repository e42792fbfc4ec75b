"""A store for tests and simulations: everything is lost with the process; knows no file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from heapq import heappop, heappush
from itertools import islice

from attrs import evolve, fields

from ..types import PartyId, ci_key, utc_now
from ._rules import check_moments, check_page, check_tokens, not_open, token_taken
from .records import (
    ConnectionRecord,
    InboundToken,
    LaneDepth,
    NewUpload,
    Receipt,
    Scope,
    StoredObject,
    Upload,
    UploadState,
    Watermark,
)


class MemoryStore:
    """A `Store` in dictionaries. What it holds outlives `close()`, but not the object.

    Attributes:
        now: Tells when an upload is accepted; with a time zone.
    """

    def __init__(self, *, now: Callable[[], datetime] = utc_now) -> None:
        self.now = now
        self._is_open = False
        self._connections: dict[str, ConnectionRecord] = {}
        self._tokens: dict[str, tuple[InboundToken, ...]] = {}
        self._by_digest: dict[bytes, InboundToken] = {}
        self._last_seq = 0
        self._uploads: dict[int, Upload] = {}
        # Ordered: the head of a long queue is found at once, even after many were taken from its front.
        self._queues: dict[tuple[str, str], OrderedDict[int, None]] = {}
        self._parked: dict[int, None] = {}
        self._objects: dict[tuple[str, str], dict[tuple[str, str], StoredObject]] = {}
        self._watermarks: dict[tuple[str, str], Watermark] = {}
        self._receipts: dict[tuple[str, str], Receipt] = {}
        self._ending: list[tuple[datetime, tuple[str, str]]] = []  # a heap: the receipt that ends first

    async def open(self) -> None:
        """See `Store.open`."""
        self._is_open = True

    async def close(self) -> None:
        """See `Store.close`."""
        self._is_open = False

    async def save_connection(self, record: ConnectionRecord, tokens: Sequence[InboundToken]) -> None:
        """See `Store.save_connection`."""
        self._require_open()
        check_tokens(record, tokens)
        owners = (self._by_digest.get(token.digest) for token in tokens)
        if any(owner is not None and owner.connection != record.id for owner in owners):
            raise token_taken()
        for old in self._tokens.get(record.id, ()):
            del self._by_digest[old.digest]
        self._connections[record.id] = record
        self._tokens[record.id] = tuple(tokens)
        self._by_digest.update((token.digest, token) for token in tokens)

    async def connection(self, connection: str) -> ConnectionRecord | None:
        """See `Store.connection`."""
        self._require_open()
        return self._connections.get(connection)

    async def connections(self) -> list[ConnectionRecord]:
        """See `Store.connections`."""
        self._require_open()
        return list(self._connections.values())

    async def tokens(self, connection: str) -> list[InboundToken]:
        """See `Store.tokens`."""
        self._require_open()
        return list(self._tokens.get(connection, ()))

    async def find_token(self, digest: bytes) -> InboundToken | None:
        """See `Store.find_token`."""
        self._require_open()
        return self._by_digest.get(digest)

    async def add_upload(self, upload: NewUpload) -> int:
        """See `Store.add_upload`."""
        self._require_open()
        values = {attribute.name: getattr(upload, attribute.name) for attribute in fields(NewUpload)}
        return self._append(Upload(**values, seq=self._last_seq + 1, created=self.now()))

    async def head(self, connection: str, lane: str) -> Upload | None:
        """See `Store.head`."""
        self._require_open()
        queue = self._queues.get((connection, lane))
        return self._uploads[next(iter(queue))] if queue else None

    async def note_attempt(self, seq: int, reason: str) -> None:
        """See `Store.note_attempt`."""
        self._require_open()
        upload = self._uploads.get(seq)
        if upload is not None:
            self._uploads[seq] = evolve(upload, attempts=upload.attempts + 1, reason=reason)

    async def finish_upload(self, seq: int) -> None:
        """See `Store.finish_upload`."""
        self._require_open()
        self._forget(seq)

    async def park_upload(self, seq: int, reason: str) -> None:
        """See `Store.park_upload`."""
        self._require_open()
        upload = self._uploads.get(seq)
        if upload is not None:
            self._queues[upload.connection, upload.lane].pop(seq, None)
            self._parked[seq] = None
            self._uploads[seq] = evolve(upload, state=UploadState.PARKED, reason=reason)

    async def redrive_upload(self, seq: int) -> bool:
        """See `Store.redrive_upload`."""
        self._require_open()
        if seq not in self._parked:
            return False
        upload = self._uploads[seq]
        self._forget(seq)
        self._append(evolve(upload, seq=self._last_seq + 1, state=UploadState.QUEUED))
        return True

    async def discard_upload(self, seq: int) -> bool:
        """See `Store.discard_upload`."""
        self._require_open()
        if seq not in self._parked:
            return False
        self._forget(seq)
        return True

    async def parked(self, connection: str) -> list[Upload]:
        """See `Store.parked`."""
        self._require_open()
        uploads = (self._uploads[seq] for seq in sorted(self._parked))
        return [upload for upload in uploads if upload.connection == connection]

    async def lanes(self) -> list[LaneDepth]:
        """See `Store.lanes`."""
        self._require_open()
        parked = dict.fromkeys(self._queues, 0)
        for seq in self._parked:
            upload = self._uploads[seq]
            parked[upload.connection, upload.lane] += 1
        return [
            LaneDepth(
                connection=connection,
                lane=lane,
                queued=len(queue),
                parked=parked[connection, lane],
                oldest=self._uploads[next(iter(queue))].created if queue else None,
            )
            for (connection, lane), queue in sorted(self._queues.items())
            if queue or parked[connection, lane]
        ]

    async def put_object(self, obj: StoredObject) -> None:
        """See `Store.put_object`."""
        self._require_open()
        check_moments(obj.last_updated)
        kept = self._objects.setdefault((obj.scope.connection, obj.kind), {})
        kept[_key(obj.scope, obj.id)] = obj

    async def object(self, scope: Scope, kind: str, id: str) -> StoredObject | None:
        """See `Store.object`."""
        self._require_open()
        return self._objects.get((scope.connection, kind), {}).get(_key(scope, id))

    async def objects_named(self, connection: str, kind: str, id: str) -> list[StoredObject]:
        """See `Store.objects_named`."""
        self._require_open()
        named = ci_key(id)
        kept = self._objects.get((connection, kind), {})
        return [obj for (_, key), obj in kept.items() if key == named]

    async def remove_object(self, scope: Scope, kind: str, id: str) -> bool:
        """See `Store.remove_object`."""
        self._require_open()
        return self._objects.get((scope.connection, kind), {}).pop(_key(scope, id), None) is not None

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
        self._require_open()
        check_page(offset, limit)
        check_moments(changed_from, changed_to)
        return list(
            islice(self._found(connection, kind, owner, changed_from, changed_to), offset, offset + limit)
        )

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
        self._require_open()
        check_moments(changed_from, changed_to)
        return sum(1 for _ in self._found(connection, kind, owner, changed_from, changed_to))

    async def watermark(self, connection: str, stream: str) -> Watermark | None:
        """See `Store.watermark`."""
        self._require_open()
        return self._watermarks.get((connection, stream))

    async def save_watermark(self, connection: str, stream: str, watermark: Watermark) -> None:
        """See `Store.save_watermark`."""
        self._require_open()
        check_moments(watermark.since, watermark.full)
        self._watermarks[connection, stream] = watermark

    async def receipt(self, connection: str, key: str) -> Receipt | None:
        """See `Store.receipt`."""
        self._require_open()
        return self._receipts.get((connection, key))

    async def save_receipt(self, connection: str, key: str, receipt: Receipt) -> None:
        """See `Store.save_receipt`."""
        self._require_open()
        check_moments(receipt.at, receipt.until)
        self._receipts[connection, key] = receipt
        if receipt.until is not None:
            heappush(self._ending, (receipt.until, (connection, key)))
        while self._ending and self._ending[0][0] < receipt.at:
            until, place = heappop(self._ending)
            found = self._receipts.get(place)
            # Answered again meanwhile, it ends later, or never.
            if found is not None and found.until == until:
                del self._receipts[place]

    def _found(
        self,
        connection: str,
        kind: str,
        owner: PartyId | None,
        changed_from: datetime | None,
        changed_to: datetime | None,
    ) -> Iterator[StoredObject]:
        for obj in self._objects.get((connection, kind), {}).values():
            changed = obj.last_updated
            if owner is not None and obj.scope.owner != owner:
                continue
            if changed_from is not None and (changed is None or changed < changed_from):
                continue
            if changed_to is not None and (changed is None or changed >= changed_to):
                continue
            yield obj

    def _require_open(self) -> None:
        if not self._is_open:
            raise not_open()

    def _append(self, upload: Upload) -> int:
        self._last_seq = upload.seq
        self._uploads[upload.seq] = upload
        self._queues.setdefault((upload.connection, upload.lane), OrderedDict())[upload.seq] = None
        return upload.seq

    def _forget(self, seq: int) -> None:
        upload = self._uploads.pop(seq, None)
        if upload is not None:
            self._queues[upload.connection, upload.lane].pop(seq, None)
            self._parked.pop(seq, None)


def _key(scope: Scope, id: str) -> tuple[str, str]:
    return scope.owner.key, ci_key(id)
