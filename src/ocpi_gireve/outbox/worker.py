"""Takes uploads in, and sends those of each lane one after the other; knows neither URLs nor tokens.

A lane is a task while it has something to send, and nothing otherwise. It reads the oldest upload of its
lane, has it delivered, makes the outcome durable, and only then reads the next: so nothing overtakes, nothing
is lost, and what is in memory does not grow with the backlog.

What several lanes must know of each other is a suspension: of a connection, or of one party on it. While it
lasts, one lane at a time probes; a good answer lifts it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

from attrs import Factory, define, evolve, field, frozen

from ..errors import OcpiError, StoreError
from ..store.base import Store
from ..store.records import LaneDepth, NewUpload, Upload
from ..transport import HttpResponse
from ..types import PartyId, utc_now
from .policy import PARKING, SUSPENDING, Outcome, Rhythm, Verdict, judge_failure, judge_response

T = TypeVar("T")

MANY_PARTIES = 3
"""So many parties refused at once are no accident of one party: the whole connection waits."""

_logger = logging.getLogger("ocpi_gireve.outbox")


class LaneState(StrEnum):
    """What a lane is doing."""

    IDLE = "IDLE"
    """Nothing is queued, or the outbox is not running."""
    RUNNING = "RUNNING"
    """Uploads leave one after the other."""
    BACKOFF = "BACKOFF"
    """Waits to try its oldest upload again, or for the store to keep the outcome."""
    SUSPENDED = "SUSPENDED"
    """Its connection, or its party, is not accepted for now."""


@frozen(kw_only=True)
class LaneStatus:
    """How one lane stands.

    Attributes:
        connection: The id of the connection.
        lane: The lane's name.
        queued: Uploads that wait to be delivered.
        parked: Uploads that were refused and wait for the operator.
        age: Seconds since the oldest queued upload was accepted; None where none is queued.
        state: What the lane is doing.
        reason: Why it waits; empty while it does not.
        retry_in: Seconds until it tries again; None where no moment is set.
        last: What its last attempt in this process came to.
        last_at: When that was.
    """

    connection: str
    lane: str
    queued: int
    parked: int
    age: float | None
    state: LaneState
    reason: str
    retry_in: float | None
    last: Verdict | None
    last_at: datetime | None


class EventKind(StrEnum):
    """What the host is told of as it happens."""

    DELIVERED = "DELIVERED"
    """The partner took an upload. Told before the upload is forgotten: after a crash, possibly twice."""
    PARKED = "PARKED"
    """An upload was refused for good and was put aside."""
    SUSPENDED = "SUSPENDED"
    """A connection, or one party on it, waits."""
    RECOVERED = "RECOVERED"
    """It waits no longer."""


def _shown(upload: Upload | None) -> str:
    return "None" if upload is None else f"<{upload.seq}>"  # path and subject may name a token


@frozen(kw_only=True)
class OutboxEvent:
    """One thing that happened.

    Attributes:
        kind: What it is.
        connection: The id of the connection.
        party: Whom a suspension concerns; None: everybody on the connection.
        reason: Why, without anything the partner wrote.
        outcome: What the attempt came to that led to it; None where no attempt did.
        upload: What was sent, where the event is about an attempt.
        response: The answer as it came, such as for a CDR's ``Location``; None where none came.
    """

    kind: EventKind
    connection: str
    reason: str
    party: PartyId | None = None
    outcome: Outcome | None = None
    upload: Upload | None = field(default=None, repr=_shown)
    response: HttpResponse | None = None


@define(eq=False)
class _Suspension:
    """Why lanes wait, and whose turn it is to find out whether they still must.

    Attributes:
        party: Whose lanes wait; None: all of the connection.
        probe_at: When the next attempt may be made, on the outbox's clock.
        by_parties: Whether it stands for several parties that are refused.
        probing: Whether a lane is making that attempt now.
        waiting: The lanes that it holds up, in the order of their turns; none of them ends before it does.
    """

    party: PartyId | None
    reason: str
    probe_at: float
    by_parties: bool = False
    probing: bool = False
    waiting: dict[_Lane, None] = Factory(dict["_Lane", None])

    def may_probe(self, lane: _Lane, now: float) -> bool:
        return not self.probing and now >= self.probe_at and next(iter(self.waiting), lane) is lane


class _Stopped(Exception):
    """The outbox stops while the store fails."""


@frozen
class _Attempt:
    """One attempt, and what it came to.

    Attributes:
        probed: The suspension that it was to test; None: it went in the ordinary course.
        epoch: The connection's epoch when it began.
    """

    upload: Upload
    verdict: Verdict
    response: HttpResponse | None
    probed: _Suspension | None
    epoch: int


@define(eq=False)
class _Connection:
    """What the lanes of one connection share.

    Attributes:
        rhythm: How long to wait for this partner.
        epoch: Grows with every registration: what an attempt of an older one learnt holds no longer.
        parties: The suspensions of single parties, by their key.
    """

    id: str
    slots: asyncio.Semaphore
    rhythm: Rhythm
    epoch: int = 0
    suspension: _Suspension | None = None
    parties: dict[str, _Suspension] = Factory(dict[str, _Suspension])
    lanes: dict[str, _Lane] = Factory(dict[str, "_Lane"])

    def in_force(self, party: PartyId | None) -> _Suspension | None:
        if self.suspension is not None or party is None:
            return self.suspension
        return self.parties.get(party.key)


@define(eq=False)
class _Lane:
    """A lane with something to send.

    Attributes:
        wake: Ends a wait early.
        more: Whether something was added since its head was last looked for.
        failures: Transient failures in a row.
        party: Who speaks in it, as far as its uploads were read.
        wait_until: When its wait ends, on the outbox's clock; None: only when it is woken.
    """

    connection: _Connection
    name: str
    wake: asyncio.Event = Factory(asyncio.Event)
    task: asyncio.Task[None] | None = None
    more: bool = False
    failures: int = 0
    party: PartyId | None = None
    state: LaneState = LaneState.RUNNING
    reason: str = ""
    wait_until: float | None = None


class Outbox:
    """Keeps uploads until the partners took them.

    Each lane of a connection is strictly first in, first out, with one attempt at a time. An outbox works in
    the event loop that it was started in, and expects its store to be open from `start()` to `stop()`.

    Args:
        store: Where uploads are kept.
        deliver: Sends one upload, once, and returns the answer whatever its status; raises an `OcpiError`
            where there is none. It must come to an end by itself.
        rhythm: How long to wait; a function gives each connection its own, by its id.
        lanes_in_flight: How many lanes of one connection may be sending at a time.
        on_event: Told of everything that is parked, suspended, recovered or delivered. It must return at
            once; its errors are logged and change nothing.
        clock: Seconds on a clock that only moves forward.
        sleep: Waits for some seconds of that clock.
        now: The time of day, with a time zone.
        jitter: Gives numbers between 0 and 1.
    """

    def __init__(
        self,
        store: Store,
        deliver: Callable[[Upload], Awaitable[HttpResponse]],
        *,
        rhythm: Rhythm | Callable[[str], Rhythm] = Rhythm(),  # noqa: B008 - a value that never changes
        lanes_in_flight: int = 8,
        on_event: Callable[[OutboxEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._rhythm = rhythm
        self._lanes_in_flight = lanes_in_flight
        self._on_event = on_event
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._jitter = jitter
        self._running = False
        self._changing = asyncio.Lock()
        self._context: Context | None = None
        self._connections: dict[str, _Connection] = {}
        self._last: dict[tuple[str, str], tuple[Verdict, datetime]] = {}
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._watchers: set[asyncio.Event] = set()

    # --- for the host ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to send, with what the store holds already. Starting a started outbox does nothing.

        Raises:
            StoreError: the store could not say what it holds; nothing was started.
        """
        async with self._changing:
            if self._running:
                return
            self._running = True
            # A lane outlives the request that happened to fill it, and must not carry that one's context.
            self._context = copy_context()
            try:
                await self._wake_queued()
            except BaseException:
                await self._halt(0.0)
                raise

    async def stop(self, grace: float = 10.0) -> None:
        """Stop sending; what is not known to be delivered stays queued. Stopping twice does nothing.

        Args:
            grace: Seconds that attempts under way may take to come to their end; then they are cancelled.
        """
        async with self._changing:
            await self._halt(grace)

    async def enqueue(self, upload: NewUpload) -> int:
        """Take an upload in and return its number. It is durable when this returns, running or not.

        A caller that is cancelled meanwhile does not know; the upload may have been taken in.

        Raises:
            StoreError: it could not be kept, and will not be sent.
        """
        return await self._finishing(self._enqueue(upload))

    def resume(self, connection: str) -> None:
        """Let a connection's lanes try at once, with whatever changed: after a registration, or a repair."""
        found = self._connections.get(connection)
        if found is None:
            return
        found.epoch += 1
        for suspension in (found.suspension, *found.parties.values()):
            self._lift(found, suspension, "resumed", None)
        for lane in found.lanes.values():
            lane.failures = 0
            lane.wake.set()

    async def status(self) -> list[LaneStatus]:
        """Return how every lane stands that holds uploads.

        Raises:
            StoreError: the store could not say what it holds.
        """
        return [self._described(depth) for depth in await self._store.lanes()]

    async def parked(self, connection: str) -> list[Upload]:
        """Return the parked uploads of a connection, oldest first.

        Raises:
            StoreError: the store could not be read.
        """
        return await self._store.parked(connection)

    async def redrive(self, seq: int) -> bool:
        """Put a parked upload back to the end of its lane, under a new number; false where there is none.

        Raises:
            StoreError: the store could not do it.
        """
        return await self._finishing(self._redrive(seq))

    async def discard(self, seq: int, reason: str) -> bool:
        """Delete a parked upload for good; false where there is none.

        Args:
            seq: Its number.
            reason: Why, for the log: nothing personal, please.

        Raises:
            StoreError: the store could not do it.
        """
        found = await self._store.discard_upload(seq)
        if found:
            _logger.warning("upload %d discarded: %r", seq, reason, extra={"seq": seq, "reason": reason})
        return found

    async def drained(self, connection: str | None = None, timeout: float | None = None) -> None:
        """Wait until nothing is queued; what is parked does not count. Nothing drains while it is stopped.

        Args:
            connection: Look at this connection alone.
            timeout: Seconds to wait at most.

        Raises:
            StoreError: the store could not say what it holds.
            TimeoutError: something is still queued.
        """
        deadline = None if timeout is None else self._clock() + timeout
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                depths = await self._store.lanes()
                queued = sum(depth.queued for depth in depths if connection in (None, depth.connection))
                if not queued:
                    return
                left = None if deadline is None else deadline - self._clock()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{queued} uploads are still queued")
                await self._wait(changed, left)
        finally:
            self._watchers.discard(changed)

    # --- taking in ---------------------------------------------------------------------------------------

    async def _finishing(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end, even if the caller is cancelled: stored and never sent is half of it."""
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)

    async def _enqueue(self, upload: NewUpload) -> int:
        seq = await self._store.add_upload(upload)
        self._wake(upload.connection, upload.lane)
        return seq

    async def _redrive(self, seq: int) -> bool:
        found = await self._store.redrive_upload(seq)
        if found:
            await self._wake_queued()  # the store does not say which lane it was
        return found

    async def _wake_queued(self) -> None:
        for depth in await self._store.lanes():
            if depth.queued:
                self._wake(depth.connection, depth.lane)

    def _wake(self, connection_id: str, name: str) -> None:
        """Make sure that a lane's task will look at its head again."""
        if not self._running:
            return
        connection = self._connections.get(connection_id)
        if connection is None:
            rhythm = self._rhythm if isinstance(self._rhythm, Rhythm) else self._rhythm(connection_id)
            connection = _Connection(connection_id, asyncio.Semaphore(self._lanes_in_flight), rhythm)
            self._connections[connection_id] = connection
        lane = connection.lanes.get(name)
        if lane is not None:
            lane.more = True
            return
        lane = connection.lanes[name] = _Lane(connection, name)
        context = None if self._context is None else self._context.copy()
        lane.task = asyncio.create_task(
            self._run(lane), name=f"outbox {connection_id} {name}", context=context
        )

    def _lanes(self) -> list[_Lane]:
        return [lane for connection in self._connections.values() for lane in connection.lanes.values()]

    async def _halt(self, grace: float) -> None:
        self._running = False
        lanes = self._lanes()
        for lane in lanes:
            lane.wake.set()
        tasks = [lane.task for lane in lanes if lane.task is not None]
        ended = asyncio.gather(*tasks, return_exceptions=True)
        timer = asyncio.ensure_future(self._sleep(grace))
        try:
            if grace > 0:
                await asyncio.wait((ended, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for task in tasks:
                task.cancel()
        await ended
        while self._unfinished:
            await asyncio.wait(self._unfinished)
        self._connections.clear()

    # --- one lane ----------------------------------------------------------------------------------------

    async def _run(self, lane: _Lane) -> None:
        """Be the lane's task: send until nothing is queued."""
        try:
            while self._running and await self._guarded_step(lane):
                pass
        finally:
            # No await since the head was found missing: whoever adds the next upload makes a new lane.
            del lane.connection.lanes[lane.name]
            for watcher in self._watchers:
                watcher.set()

    async def _guarded_step(self, lane: _Lane) -> bool:
        # A store in memory never makes us wait, nor does a partner; the others want to run too.
        await asyncio.sleep(0)
        try:
            return await self._step(lane)
        except _Stopped:
            return False
        except Exception as error:  # noqa: BLE001 - a lane must not end while it holds uploads
            self._log_bug(lane, None, error)
        lane.failures += 1
        await self._back_off(lane, "an internal error", None)
        return True

    async def _step(self, lane: _Lane) -> bool:
        """Do the next thing for the lane's head; false where there is no head."""
        connection = lane.connection
        lane.more = False
        upload = await self._insist(
            lane, lambda: self._store.head(connection.id, lane.name), "the store could not be read"
        )
        if upload is None:
            return lane.more
        lane.party = upload.sender
        if not self._admitted(lane):
            await self._wait_suspended(lane)
            return True
        async with connection.slots:
            # Another lane may have learnt something while this one waited for its turn.
            if not self._running or not self._admitted(lane):
                return True
            attempt = await self._attempt(lane, upload)
        self._last[connection.id, lane.name] = (attempt.verdict, self._now())
        self._learn(lane, attempt)
        await self._conclude(lane, attempt)
        return True

    def _admitted(self, lane: _Lane) -> bool:
        suspension = lane.connection.in_force(lane.party)
        return suspension is None or suspension.may_probe(lane, self._clock())

    async def _attempt(self, lane: _Lane, upload: Upload) -> _Attempt:
        lane.state, lane.reason, lane.wait_until = LaneState.RUNNING, "", None
        probed, epoch = lane.connection.in_force(lane.party), lane.connection.epoch
        if probed is not None:
            probed.probing = True
            probed.waiting.pop(lane, None)  # its next turn comes after all the others
        try:
            verdict, response = await self._send(lane, upload)
            return _Attempt(upload, verdict, response, probed, epoch)
        finally:
            if probed is not None:
                probed.probing = False
                probed.probe_at = self._clock() + lane.connection.rhythm.probe_interval
                self._wake_waiting(probed)

    async def _send(self, lane: _Lane, upload: Upload) -> tuple[Verdict, HttpResponse | None]:
        """Send the upload once. No error but cancellation by `stop()` gets out of here."""
        try:
            response = await self._deliver(upload)
            verdict = judge_response(upload, response.status, response.headers, response.body, now=self._now)
            return verdict, response
        except OcpiError as error:
            return judge_failure(error), None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Verdict(Outcome.TRANSIENT, "the attempt was cancelled by something else"), None
        except Exception as error:  # noqa: BLE001 - a lane must not end while it holds uploads
            self._log_bug(lane, upload, error)
            return Verdict(Outcome.TRANSIENT, f"an internal error: {type(error).__name__}"), None

    async def _conclude(self, lane: _Lane, attempt: _Attempt) -> None:
        """Make the outcome durable, and wait if it says so."""
        seq, verdict = attempt.upload.seq, attempt.verdict
        if verdict.outcome is Outcome.DELIVERED:
            lane.failures = 0
            self._log(logging.DEBUG, "delivered", lane, attempt)
            self._tell(EventKind.DELIVERED, attempt)
            await self._insist(
                lane, lambda: self._store.finish_upload(seq), "delivered, but the store could not note it"
            )
            return
        try:
            await self._store.note_attempt(seq, verdict.reason)
        except Exception as error:  # noqa: BLE001 - no more than a hint is lost
            self._log_store(lane, "an attempt could not be counted", error)
        if verdict.outcome in PARKING:
            lane.failures = 0
            await self._insist(
                lane,
                lambda: self._store.park_upload(seq, verdict.reason),
                "the store could not park an upload",
            )
            self._log(logging.WARNING, "parked", lane, attempt)
            self._tell(EventKind.PARKED, attempt)
            return
        is_first = verdict.outcome is Outcome.TRANSIENT and not lane.failures
        self._log(logging.WARNING if is_first else logging.INFO, "not delivered", lane, attempt)
        if lane.connection.epoch == attempt.epoch and lane.connection.in_force(lane.party) is None:
            lane.failures += 1
            await self._back_off(lane, verdict.reason, verdict.retry_after)

    async def _insist(self, lane: _Lane, work: Callable[[], Awaitable[T]], trouble: str) -> T:
        """Have the store do something, however long it takes.

        Raises:
            _Stopped: the outbox stops, and the store has not done it.
        """
        failures = 0
        while True:
            try:
                return await work()
            except Exception as error:  # noqa: BLE001 - going on without the store could send something twice
                failures += 1
                if failures == 1:
                    self._log_store(lane, trouble, error)
            if not self._running:
                raise _Stopped
            rhythm = lane.connection.rhythm
            delay = min(rhythm.delay(failures, self._jitter()), rhythm.store_delay)
            await self._pause(lane, LaneState.BACKOFF, trouble, delay)

    # --- suspensions -------------------------------------------------------------------------------------

    def _learn(self, lane: _Lane, attempt: _Attempt) -> None:
        """Suspend or lift what the outcome of an attempt says something about."""
        connection, party, probed = lane.connection, attempt.upload.sender, attempt.probed
        outcome, reason = attempt.verdict.outcome, attempt.verdict.reason
        if probed is not None:
            if outcome is Outcome.TRANSIENT:
                # Whether the old trouble is over is not known; a partner's wish to be left alone is.
                probed.probe_at = max(probed.probe_at, self._clock() + (attempt.verdict.retry_after or 0.0))
            elif outcome is Outcome.DELIVERED or outcome in PARKING:
                self._lift(connection, probed, reason, outcome)
                self._lift(connection, connection.parties.get(party.key), reason, outcome)
            elif outcome is Outcome.PARTY and probed.party is None and not probed.by_parties:
                self._lift(connection, probed, reason, outcome)
        if connection.epoch != attempt.epoch:
            return  # the answer is about what was replaced meanwhile
        if outcome in SUSPENDING:
            self._suspend(lane, attempt, None)
        elif outcome is Outcome.PARTY:
            is_new = party.key not in connection.parties
            self._suspend(lane, attempt, party)
            if is_new and len(connection.parties) >= MANY_PARTIES and connection.suspension is None:
                reason = f"{len(connection.parties)} parties at once are refused; the last: {reason}"
                verdict = Verdict(Outcome.CONFIG, reason)
                self._suspend(lane, evolve(attempt, verdict=verdict), None, by_parties=True)

    def _suspend(
        self, lane: _Lane, attempt: _Attempt, party: PartyId | None, *, by_parties: bool = False
    ) -> None:
        """Let a connection wait, or one party on it."""
        connection, reason = lane.connection, attempt.verdict.reason
        known = connection.suspension if party is None else connection.parties.get(party.key)
        if known is not None:
            known.reason, known.by_parties = reason, by_parties
            return
        probe_at = self._clock() + connection.rhythm.probe_interval
        suspension = _Suspension(party, reason, probe_at, by_parties)
        if party is None:
            connection.suspension = suspension
        else:
            connection.parties[party.key] = suspension
        what = "connection" if party is None else str(party)
        self._log(logging.ERROR, f"not delivered, {what} suspended", lane, attempt)
        self._tell(EventKind.SUSPENDED, attempt, party)

    def _lift(
        self, connection: _Connection, suspension: _Suspension | None, reason: str, outcome: Outcome | None
    ) -> None:
        """End a suspension, unless it has ended already."""
        if suspension is None:
            return
        if suspension.party is None:
            if connection.suspension is not suspension:
                return
            connection.suspension = None
        elif connection.parties.get(suspension.party.key) is suspension:
            del connection.parties[suspension.party.key]
        else:
            return
        place = connection.id if suspension.party is None else f"{connection.id}, {suspension.party}"
        extra = {
            "connection": connection.id,
            "party": None if suspension.party is None else str(suspension.party),
        }
        _logger.info("%s: recovered: %s", place, reason, extra=extra)
        self._wake_waiting(suspension)
        suspension.waiting.clear()
        self._emit(
            OutboxEvent(
                kind=EventKind.RECOVERED,
                connection=connection.id,
                party=suspension.party,
                reason=reason,
                outcome=outcome,
            )
        )

    async def _wait_suspended(self, lane: _Lane) -> None:
        suspension = lane.connection.in_force(lane.party)
        if suspension is None:
            return
        now = self._clock()
        # Where it is not this lane's turn although the time has come, the lane whose turn it is wakes it.
        left = suspension.probe_at - now if now < suspension.probe_at and not suspension.probing else None
        suspension.waiting[lane] = None
        await self._pause(lane, LaneState.SUSPENDED, suspension.reason, left)

    @staticmethod
    def _wake_waiting(suspension: _Suspension) -> None:
        for lane in suspension.waiting:
            lane.wake.set()

    # --- waiting -----------------------------------------------------------------------------------------

    async def _back_off(self, lane: _Lane, reason: str, retry_after: float | None) -> None:
        delay = lane.connection.rhythm.delay(lane.failures, self._jitter())
        await self._pause(lane, LaneState.BACKOFF, reason, max(delay, retry_after or 0.0))

    async def _pause(self, lane: _Lane, state: LaneState, reason: str, seconds: float | None) -> None:
        """Wait until the time has passed or something wakes the lane."""
        lane.wake.clear()
        if not self._running:
            return
        lane.state, lane.reason = state, reason
        lane.wait_until = None if seconds is None else self._clock() + seconds
        await self._wait(lane.wake, seconds)
        lane.state, lane.reason, lane.wait_until = LaneState.RUNNING, "", None

    async def _wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Wait until the event is set, or set it when the time has passed."""
        if seconds is None:
            await event.wait()
            return
        timer = asyncio.ensure_future(self._sleep(seconds))
        timer.add_done_callback(partial(_ring, event))
        try:
            await event.wait()
        finally:
            timer.cancel()

    # --- telling -----------------------------------------------------------------------------------------

    def _described(self, depth: LaneDepth) -> LaneStatus:
        connection = self._connections.get(depth.connection)
        lane = None if connection is None else connection.lanes.get(depth.lane)
        state, reason, until = LaneState.IDLE, "", None
        if connection is not None and lane is not None and depth.queued:
            suspension = connection.in_force(lane.party)
            if suspension is not None:
                state, reason, until = LaneState.SUSPENDED, suspension.reason, suspension.probe_at
            else:
                state, reason, until = lane.state, lane.reason, lane.wait_until
        last, last_at = self._last.get((depth.connection, depth.lane), (None, None))
        return LaneStatus(
            connection=depth.connection,
            lane=depth.lane,
            queued=depth.queued,
            parked=depth.parked,
            age=None if depth.oldest is None else max(0.0, (self._now() - depth.oldest).total_seconds()),
            state=state,
            reason=reason,
            retry_in=None if until is None else max(0.0, until - self._clock()),
            last=last,
            last_at=last_at,
        )

    def _tell(self, kind: EventKind, attempt: _Attempt, party: PartyId | None = None) -> None:
        self._emit(
            OutboxEvent(
                kind=kind,
                connection=attempt.upload.connection,
                party=party,
                reason=attempt.verdict.reason,
                outcome=attempt.verdict.outcome,
                upload=attempt.upload,
                response=attempt.response,
            )
        )

    def _emit(self, event: OutboxEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - the host's mistake must not stop its uploads
            extra = {"connection": event.connection, "error": type(error).__name__, "frames": _frames(error)}
            _logger.error(  # noqa: TRY400 - the text of an unknown error may hold personal data
                "on_event failed with %s at %s", type(error).__name__, _frames(error), extra=extra
            )

    def _log(self, level: int, what: str, lane: _Lane, attempt: _Attempt) -> None:
        upload, verdict = attempt.upload, attempt.verdict
        _logger.log(
            level,
            "%s: upload %d %s: %s",
            f"{lane.connection.id}, {lane.name}",
            upload.seq,
            what,
            verdict.reason,
            extra={
                "connection": lane.connection.id,
                "lane": lane.name,
                "seq": upload.seq,
                "operation": upload.operation,
                "attempt": upload.attempts + 1,
                "outcome": str(verdict.outcome),
                "reason": verdict.reason,
            },
        )

    def _log_store(self, lane: _Lane, trouble: str, error: Exception) -> None:
        # A StoreError is ours and says nothing of a record; nobody knows what another error says.
        detail = str(error) if isinstance(error, StoreError) else type(error).__name__
        place = f"{lane.connection.id}, {lane.name}"
        extra = {"connection": lane.connection.id, "lane": lane.name, "reason": detail}
        _logger.error("%s: %s: %s", place, trouble, detail, extra=extra)

    def _log_bug(self, lane: _Lane, upload: Upload | None, error: Exception) -> None:
        """Log where an unexpected error came from; not its text, which may hold what the upload holds."""
        _logger.error(
            "%s: upload %s failed with %s at %s",
            f"{lane.connection.id}, {lane.name}",
            "?" if upload is None else upload.seq,
            type(error).__name__,
            _frames(error),
            extra={
                "connection": lane.connection.id,
                "lane": lane.name,
                "seq": None if upload is None else upload.seq,
                "error": type(error).__name__,
                "frames": _frames(error),
            },
        )


def _ring(event: asyncio.Event, timer: asyncio.Future[None]) -> None:
    """Set the event when its time has passed; not when the wait ended early, and another may have begun."""
    if timer.cancelled():
        return
    event.set()
    timer.exception()


def _frames(error: BaseException) -> str:
    """Return the last places of a traceback, innermost first: ``client.py:81 in send, ...``."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return ", ".join(
        f"{PurePath(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in reversed(frames)
    )
