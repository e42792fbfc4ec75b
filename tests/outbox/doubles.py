"""A partner, a clock and a failing store for the tests of the outbox; know no HTTP and no database."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from multidict import CIMultiDict

from ocpi_gireve.errors import StoreError
from ocpi_gireve.outbox import EventKind, LaneStatus, Outbox, OutboxEvent, Rhythm
from ocpi_gireve.store import MemoryStore
from ocpi_gireve.store.records import NewUpload, Upload
from ocpi_gireve.transport import HttpResponse
from ocpi_gireve.types import PartyId

CPO = PartyId("FR", "CPO")
MORNING = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SETTLED = 60
"""Rounds of the event loop: more than anything here needs between two waits."""


def new_upload(
    subject: str,
    *,
    connection: str = "gireve",
    lane: str = "fr*cpo/charging",
    operation: str = "2.2.1/CdrsReceiver.post_cdr",
    sender: PartyId = CPO,
) -> NewUpload:
    """An upload that says no more than which one it is."""
    return NewUpload(
        connection=connection,
        lane=lane,
        operation=operation,
        path="",
        sender=sender,
        receiver=None,
        correlation_id=f"because-of-{subject}",
        subject=subject,
        body=b'{"id":"SECRET-BODY"}',
    )


def answer(code: int | None = 1000, http: int = 200, **headers: str) -> HttpResponse:
    """What a partner answers; without an OCPI status, a page for people."""
    body = b"<html>SECRET-PAGE</html>" if code is None else json.dumps({"status_code": code}).encode()
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return HttpResponse(status=http, headers=named, body=body)


async def settle() -> None:
    """Let every task go on until it waits for something outside the event loop."""
    for _ in range(SETTLED):
        await asyncio.sleep(0)


class Time:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def clock(self) -> float:
        """Seconds on a clock that only moves forward."""
        return self.seconds

    def now(self) -> datetime:
        """The time of day."""
        return MORNING + timedelta(seconds=self.seconds - 1000.0)

    async def sleep(self, seconds: float) -> None:
        """Return when a test has moved the clock so far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds + seconds, next(self._count), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move the clock, letting everybody act at the moment they waited for."""
        await settle()
        end = self.seconds + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.seconds, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
                await settle()
        self.seconds = end
        await settle()


Reply = HttpResponse | BaseException


class Partner:
    """Answers uploads: first what `replies` holds, then what `reply_to` says.

    Attributes:
        got: The subject of every attempt, in the order in which they began.
        most: The largest number of attempts under way at a time, for each lane and each connection.
        open: While it is not set, nobody is answered.
        gate: The same for one subject.
    """

    def __init__(self) -> None:
        self.got: list[str] = []
        self.attempts: list[tuple[float, str]] = []
        self.most = Counter[str]()
        self.replies: deque[Reply] = deque()
        self.reply_to: Callable[[Upload], Reply] = lambda _: answer()
        self.open = asyncio.Event()
        self.open.set()
        self.gate: Callable[[str], asyncio.Event | None] = lambda _: None
        self.clock: Callable[[], float] = lambda: 0.0
        self._under_way = Counter[str]()

    async def deliver(self, upload: Upload) -> HttpResponse:
        """Make one attempt."""
        self.got.append(upload.subject)
        self.attempts.append((self.clock(), upload.subject))
        for place in (upload.connection, f"{upload.connection}/{upload.lane}"):
            self._under_way[place] += 1
            self.most[place] = max(self.most[place], self._under_way[place])
        try:
            await (self.gate(upload.subject) or self.open).wait()
            await asyncio.sleep(0)
            reply = self.replies.popleft() if self.replies else self.reply_to(upload)
        finally:
            for place in (upload.connection, f"{upload.connection}/{upload.lane}"):
                self._under_way[place] -= 1
        if isinstance(reply, BaseException):
            raise reply
        return reply


class FailingStore(MemoryStore):
    """A store whose methods fail as often as a test asks, and take as long.

    Attributes:
        failing: How often each method still fails, by its name.
        pace: Rounds of the event loop that each method takes after it did its work, by its name.
        calls: Every call of a method that can fail.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now=now)
        self.failing = Counter[str]()
        self.calls: list[str] = []
        self.pace = Counter[str]()
        self.error: Exception = StoreError("the disk is full")

    def _check(self, name: str) -> None:
        self.calls.append(name)
        if self.failing[name]:
            self.failing[name] -= 1
            raise self.error

    async def _take_time(self, name: str) -> None:
        for _ in range(self.pace[name]):
            await asyncio.sleep(0)

    async def add_upload(self, upload: NewUpload) -> int:
        self._check("add_upload")
        seq = await super().add_upload(upload)
        await self._take_time("add_upload")
        return seq

    async def head(self, connection: str, lane: str) -> Upload | None:
        self._check("head")
        upload = await super().head(connection, lane)
        await self._take_time("head")
        return upload

    async def note_attempt(self, seq: int, reason: str) -> None:
        self._check("note_attempt")
        await super().note_attempt(seq, reason)

    async def finish_upload(self, seq: int) -> None:
        self._check("finish_upload")
        await super().finish_upload(seq)

    async def park_upload(self, seq: int, reason: str) -> None:
        self._check("park_upload")
        await super().park_upload(seq, reason)


class World:
    """An outbox and everything around it. The jitter is at its most: delays are 1, 2, 4, ... seconds."""

    def __init__(self) -> None:
        self.time = Time()
        self.store = FailingStore(self.time.now)
        self.partner = Partner()
        self.partner.clock = self.time.clock
        self.events: list[OutboxEvent] = []
        self.outbox = self.new_outbox()

    def new_outbox(self) -> Outbox:
        """Another outbox on the same store, as after a restart."""
        return Outbox(
            self.store,
            self.partner.deliver,
            rhythm=Rhythm(),
            on_event=self.events.append,
            clock=self.time.clock,
            sleep=self.time.sleep,
            now=self.time.now,
            jitter=lambda: 1.0,
        )

    async def started(self) -> World:
        """Open the store and start the outbox."""
        await self.store.open()
        await self.outbox.start()
        return self

    async def enqueue(self, *subjects: str, lane: str = "fr*cpo/charging", sender: PartyId = CPO) -> None:
        """Take in one upload after the other."""
        for subject in subjects:
            await self.outbox.enqueue(new_upload(subject, lane=lane, sender=sender))

    async def lane(self, name: str = "fr*cpo/charging") -> LaneStatus:
        """How one lane stands."""
        (found,) = [status for status in await self.outbox.status() if status.lane == name]
        return found

    def happened(self) -> list[EventKind]:
        """The kinds of the events so far, deliveries left out."""
        return [event.kind for event in self.events if event.kind is not EventKind.DELIVERED]

    def delivered(self) -> list[str]:
        """The subjects of what the host was told to be delivered."""
        uploads = [event.upload for event in self.events if event.kind is EventKind.DELIVERED]
        return [upload.subject for upload in uploads if upload is not None]
