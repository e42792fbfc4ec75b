"""Messages that come twice, or too late, do their work once; opens no database and calls no partner.

Partners send again whatever they got no answer to. What that means depends on the message:

| message | known by | same content | other content | older `last_updated` |
|---|---|---|---|---|
| PUT of an object | its owner and ids | 1000, not applied | applied | 1000, not applied |
| PATCH of an object | the same | 1000, not applied | applied | 1000, not applied |
| POST of a CDR | its owner and id | the same answer | 2001, and an error in the log | |
| a command | its ``response_url`` | the same answer | a new command | |

Content is the same in whatever order and spelling, but for long PUTs, which are compared byte by byte: to
apply one again changes nothing.

Objects are known again for `REPEATED_WITHIN`, as long as they were not written otherwise in between; so are
commands. CDRs are known for ever. A real-time authorization is asked again each time: its answer may have
changed. What a handler failed at is not remembered.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine, Hashable
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, Protocol, TypeAlias, cast

import attrs
from attrs import define, field, frozen

from ._codec import canonical, decode, encode
from ._model import Model, field_specs
from ._wire import encode_body, path_and_query, subject
from .access import owner_of
from .context import Context
from .errors import InvalidParameters, Problem, StoreError, UnknownLocation, UnknownObject
from .interface import Operation
from .pagination import Link
from .store.records import Receipt
from .types import ci_key, utc_now

log = logging.getLogger("ocpi_gireve.idempotence")

REPEATED_WITHIN = timedelta(minutes=10)
"""How long an equal message counts as a repetition. Later it is a new one, such as a nightly repair."""

MAX_OBJECTS = 20_000
"""How many objects are remembered: those that were written last."""


class Receipts(Protocol):
    """Where it is kept what was answered to messages that must not be acted on twice; every store is one."""

    async def receipt(self, connection: str, key: str) -> Receipt | None:
        """Return what was answered to a message of the partner."""
        ...

    async def save_receipt(self, connection: str, key: str, receipt: Receipt) -> None:
        """Keep what was answered, in the place of an earlier answer to the same message."""
        ...


class MemoryReceipts:
    """Receipts that end with the process, and only the newest of them.

    Args:
        limit: How many are kept.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._receipts: OrderedDict[tuple[str, str], Receipt] = OrderedDict()

    async def receipt(self, connection: str, key: str) -> Receipt | None:
        """See `Receipts.receipt`."""
        return self._receipts.get((connection, key))

    async def save_receipt(self, connection: str, key: str, receipt: Receipt) -> None:
        """See `Receipts.save_receipt`."""
        self._receipts[connection, key] = receipt
        self._receipts.move_to_end((connection, key))
        while len(self._receipts) > self._limit:
            self._receipts.popitem(last=False)


# --- what is told --------------------------------------------------------------------------------------


class Reason(StrEnum):
    """Why a message was not acted on."""

    REPEATED = "repeated"
    """It came before, and is answered as then."""
    OLDER = "older"
    """Something newer was applied before: its `last_updated` says so. It is answered 1000."""
    CONFLICT = "conflict"
    """It should be the same as one before, and is not: a CDR never changes. It is answered 2001."""


@frozen(kw_only=True)
class NotApplied:
    """One message that was understood, and not acted on.

    Attributes:
        partner: The id of the connection.
        operation: The operation's id.
        subject: The object that it is about, such as ``FR*CPO/LOC1``, without personal data.
        reason: Why.
        request_id: ``X-Request-ID``.
        correlation_id: ``X-Correlation-ID``.
    """

    partner: str
    operation: str
    subject: str
    reason: Reason
    request_id: str
    correlation_id: str


OnNotApplied: TypeAlias = Callable[[NotApplied], None]
"""Called with every message that is not acted on. It must return at once; an error of its own is logged."""


def ignore(_: NotApplied) -> None:
    """Take note of nothing."""


# --- which operations ----------------------------------------------------------------------------------


class Manner(Enum):
    """How a repetition of an operation is known."""

    REPLACED = "replaced"
    """PUT of an object of the partner's: by owner and ids."""
    CHANGED = "changed"
    """PATCH of one: the same."""
    REMOVED = "removed"
    """DELETE of one: it is forgotten."""
    READ = "read"
    """GET of one: where it is not there, what was remembered of it is wrong."""
    POSTED = "posted"
    """POST of an object that never changes: by owner and id."""
    COMMANDED = "commanded"
    """What asks for a result at a ``response_url``: by that."""


_WRITTEN = {
    "PUT": Manner.REPLACED,
    "PATCH": Manner.CHANGED,
    "DELETE": Manner.REMOVED,
    "GET": Manner.READ,
}


def manner_of(operation: Operation) -> Manner | None:
    """Return how repetitions of an operation are known; None where each message counts."""
    if not operation.interface.functional or operation.at_link:
        return None
    fields = set[str]()
    if operation.target is not None:
        fields.update(one.name for one in attrs.fields(operation.target))
    if isinstance(operation.answer, type) and issubclass(operation.answer, Model):
        bodies = (one for body in operation.bodies for one in field_specs(body))
        if "response_url" in fields or any(one.name == "response_url" for one in bodies):
            return Manner.COMMANDED
    if operation.answer is Link:
        return Manner.POSTED
    if {"country_code", "party_id"}.issubset(operation.path_fields):
        manner = _WRITTEN.get(operation.http_method)
        return manner if manner is Manner.READ or operation.answer is None else None
    return None


# --- what is remembered of objects ---------------------------------------------------------------------


_PATCHED_AT_ONCE = 100
"""How many PATCHes of one object and one moment are remembered."""

_SHORT = 512
"""Bytes: a body that is no longer is remembered as it came, and its digest made when it is asked for."""


@define(eq=False)
class _Write:
    """What a message said, to know it again: short enough to be kept, or by its digest.

    Attributes:
        at: When it was applied, in seconds of a clock of no date.
    """

    text: bytes | None
    at: float = 0.0
    _digest: bytes | None = None

    @staticmethod
    def of(text: bytes, *, is_patch: bool) -> _Write:
        """Return what is kept of a message's body.

        A PUT that comes again in another spelling is applied again, and changes nothing. So a long one, which
        takes time to read, is known by its bytes.
        """
        if len(text) <= _SHORT:
            return _Write(text)
        return _Write(None, 0.0, _digest(text) if is_patch else hashlib.sha256(text).digest())

    def is_same(self, other: _Write) -> bool:
        if self.text is not None and self.text == other.text:
            return True
        return self.digest == other.digest

    @property
    def digest(self) -> bytes:
        if self._digest is None:
            self._digest = _digest(self.text or b"")
        return self._digest


@define(eq=False)
class _Kept:
    """What is remembered of an object, and of those within it: of a location's EVSEs and their connectors.

    Attributes:
        moment: The newest `last_updated` that was applied.
        last: The PUT that wrote it last; None after any other write.
        patched: The PATCHes since, of equal `moment`.
        parts: The objects within it.
    """

    moment: datetime | None = None
    last: _Write | None = None
    patched: list[_Write] = field(factory=list[_Write])
    parts: dict[Hashable, _Kept] = field(factory=dict[Hashable, "_Kept"])

    def forget_own(self) -> None:
        """Forget what was written; when it was, stays."""
        self.last = None
        self.patched = []

    def forget(self) -> None:
        """Forget what was written here, and within."""
        self.forget_own()
        for part in self.parts.values():
            part.forget()

    def overtaken(self, *, by: datetime | None) -> None:
        """Forget what was written before another write.

        PATCHes of one moment stay, each a repetition when it comes again: dates may be whole seconds. One
        without a date says nothing of its place among others, so only the last can be known again.
        """
        patched = self.patched if by is not None and by == self.moment else []
        self.forget()
        self.patched = patched

    def written_since(self, write: _Write, since: float, *, is_patch: bool) -> bool:
        """Tell whether this was written, and nothing else after it, since then."""
        if is_patch:
            return any(one.at >= since and one.is_same(write) for one in self.patched)
        return self.last is not None and self.last.at >= since and self.last.is_same(write)

    def put(self, write: _Write, moment: datetime | None) -> None:
        self.last = write
        self.moment = moment or self.moment

    def patch(self, write: _Write, moment: datetime | None) -> None:
        if len(self.patched) >= _PATCHED_AT_ONCE:
            self.patched = []
        self.patched.append(write)
        self.moment = moment or self.moment


class _Memory:
    """The objects that were written last, whole ones with their parts; bounded by their number."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._roots: OrderedDict[Hashable, tuple[_Kept, list[int]]] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def line(self, root: Hashable, parts: tuple[Hashable, ...]) -> list[_Kept]:
        """Return an object with all that it lies within, the outermost first; new where there is none."""
        found = self._roots.get(root)
        if found is None:
            found = self._roots[root] = (_Kept(), [1])
            self._size += 1
        else:
            self._roots.move_to_end(root)
        line = [found[0]]
        for part in parts:
            inner = line[-1].parts.get(part)
            if inner is None:
                inner = line[-1].parts[part] = _Kept()
                found[1][0] += 1
                self._size += 1
            line.append(inner)
        while self._size > self._limit and len(self._roots) > 1:
            _, (_, (size,)) = self._roots.popitem(last=False)
            self._size -= size
        return line

    def drop(self, root: Hashable) -> None:
        found = self._roots.pop(root, None)
        if found is not None:
            self._size -= found[1][0]


class _Turns:
    """One at a time for each key, in the order of arrival."""

    def __init__(self) -> None:
        self._held: dict[Hashable, deque[asyncio.Future[None]] | None] = {}

    def take_free(self, key: Hashable) -> bool:
        """Take one's turn if nobody else has it."""
        if key in self._held:
            return False
        self._held[key] = None
        return True

    async def take(self, key: Hashable) -> None:
        """Wait for one's turn."""
        if self.take_free(key):
            return
        waiting = self._held[key]
        if waiting is None:
            waiting = self._held[key] = deque()
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(key)
            raise

    def leave(self, key: Hashable) -> None:
        """Hand the turn on."""
        waiting = self._held[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._held[key]


# --- the guard -----------------------------------------------------------------------------------------


@define(eq=False)
class Message:
    """One message, read and found to be the sender's own business.

    Attributes:
        raw: The body as it came; empty where it is not known.
    """

    operation: Operation
    ctx: Context
    target: object
    body: object
    raw: bytes = field(default=b"", repr=False)


Act: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
"""Calls the handler, and returns what is answered."""


@frozen(eq=False)
class _Plan:
    """How one operation's messages are known.

    Attributes:
        ids: The fields of the target that name an object, besides its owner; the first names the whole one.
        words: The fields of the query that belong to its name, such as a token's type.
        aims: The fields of the body that do.
    """

    manner: Manner
    ids: tuple[str, ...]
    words: tuple[str, ...]
    aims: tuple[str, ...]


_TARGETED = ("target_operator_country_code", "target_operator_party_id")
"""GIREVE: one tariff id may exist once for each operator that it is aimed at."""

_GONE = (UnknownObject, UnknownLocation)


class Idempotence:
    """Decides for each message whether its handler is called.

    Objects are remembered in memory, and only the last `max_objects` of them: after a restart a repetition is
    applied once more, which a PUT and a dated PATCH bear. CDRs and commands are remembered by `receipts`.

    Args:
        receipts: Where answers to CDRs and commands are kept; in memory by default.
        on_not_applied: Called with every message that is not acted on.
        max_objects: How many objects are remembered.
        now: Tells the time.
        clock: Tells how much time passes, in seconds.

    Attributes:
        counts: How many messages were not acted on, by reason.
    """

    def __init__(
        self,
        receipts: Receipts | None = None,
        *,
        on_not_applied: OnNotApplied = ignore,
        max_objects: int = MAX_OBJECTS,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[Reason] = Counter()
        self._receipts: Receipts = MemoryReceipts() if receipts is None else receipts
        self._on_not_applied = on_not_applied
        self._now = now
        self._clock = clock
        self._window = REPEATED_WITHIN.total_seconds()
        self._memory = _Memory(max_objects)
        self._turns = _Turns()
        self._plans: dict[Operation, _Plan | None] = {}

    def __len__(self) -> int:
        """How many objects are remembered."""
        return len(self._memory)

    def once(self, message: Message, act: Act) -> Coroutine[Any, Any, object]:
        """Answer a message: with what `act` returns, or without it.

        Messages about one object are acted on one after the other, in the order in which they arrived.

        Raises:
            InvalidParameters: 2001: a CDR of a known id has other content.
            StoreError: it cannot be told whether it came before; nothing was done.
        """
        plan = self._plan(message.operation)
        if plan is None:
            return act()
        if plan.manner is Manner.READ:
            return self._read(plan, message, act)
        if plan.manner is Manner.POSTED:
            return self._posted(message, act)
        if plan.manner is Manner.COMMANDED:
            return self._commanded(message, act)
        return self._written(plan, message, act)

    def _plan(self, operation: Operation) -> _Plan | None:
        try:
            return self._plans[operation]
        except KeyError:
            manner = manner_of(operation)
            plan = None
            if manner is not None:
                ids = tuple(one for one in operation.path_fields if one not in ("country_code", "party_id"))
                replaced = operation.bodies if manner is Manner.REPLACED else ()
                known = {spec.name for body in replaced for spec in field_specs(body)}
                aims = tuple(name for name in _TARGETED if name in known)
                plan = _Plan(manner, ids, operation.query_fields, aims)
            self._plans[operation] = plan
            return plan

    # --- objects -----------------------------------------------------------------------------------

    async def _read(self, plan: _Plan, message: Message, act: Act) -> object:
        try:
            return await act()
        except _GONE:
            # It is not there: what was remembered of it must not keep it from coming again.
            self._memory.drop(_names(plan, message)[0])
            raise

    async def _written(self, plan: _Plan, message: Message, act: Act) -> object:
        root, parts = _names(plan, message)
        if not self._turns.take_free(root):
            await self._turns.take(root)
        try:
            if plan.manner is Manner.REMOVED:
                self._memory.drop(root)
                return await act()
            line = self._memory.line(root, parts)
            moment = cast("datetime | None", getattr(message.body, "last_updated", None))
            is_patch = plan.manner is Manner.CHANGED
            write = _Write.of(message.raw or encode_body(message.body), is_patch=is_patch)
            reason = self._known(line[-1], write, moment, is_patch=is_patch)
            if reason is not None:
                self._tell(message, reason)
                return None
            # While it is under way, and if it fails, nobody knows what the object is.
            for around in line[:-1]:
                around.forget_own()
            line[-1].overtaken(by=moment)
            try:
                result = await act()
            except _GONE:
                self._memory.drop(root)
                raise
            write.at = self._clock()
            (line[-1].patch if is_patch else line[-1].put)(write, moment)
            return result
        finally:
            self._turns.leave(root)

    def _known(self, kept: _Kept, write: _Write, moment: datetime | None, *, is_patch: bool) -> Reason | None:
        if moment is not None and kept.moment is not None and moment < kept.moment:
            return Reason.OLDER
        if (
            (kept.patched if is_patch else kept.last)
            and (moment is None or moment == kept.moment)
            and kept.written_since(write, self._clock() - self._window, is_patch=is_patch)
        ):
            return Reason.REPEATED
        return None

    # --- CDRs and commands -------------------------------------------------------------------------

    async def _posted(self, message: Message, act: Act) -> object:
        key = _key(message, *_posted_names(message))
        digest = _digest(encode_body(message.body))
        partner = message.ctx.partner
        await self._turns.take((partner, key))
        try:
            receipt = await self._receipts.receipt(partner, key)
            if receipt is None:
                link = cast("Link", await act())
                await self._save(message, key, digest, link.url.encode())
                return link
            if receipt.digest == digest:
                self._tell(message, Reason.REPEATED)
                return Link(receipt.answer.decode())
            self._tell(message, Reason.CONFLICT)
            problem = Problem("/id", "conflict", "expected a new id: what has this id has other content")
            raise InvalidParameters(problems=[problem])
        finally:
            self._turns.leave((partner, key))

    async def _commanded(self, message: Message, act: Act) -> object:
        operation, target, body = message.operation, message.target, message.body
        key = _key(message, response_url(message))
        digest = _digest(encode_body(body), path_and_query(operation, target))
        partner = message.ctx.partner
        await self._turns.take((partner, key))
        try:
            receipt = await self._receipts.receipt(partner, key)
            if receipt is not None and receipt.digest == digest and self._is_recent(receipt):
                self._tell(message, Reason.REPEATED)
                return decode(receipt.answer, cast("type[Model]", operation.answer))
            answer = await act()
            await self._save(message, key, digest, encode(answer), within=REPEATED_WITHIN)
            return answer
        finally:
            self._turns.leave((partner, key))

    def _is_recent(self, receipt: Receipt) -> bool:
        return self._now() - receipt.at <= REPEATED_WITHIN

    async def _save(
        self, message: Message, key: str, digest: bytes, answer: bytes, *, within: timedelta | None = None
    ) -> None:
        """Remember what was answered, for a while or for ever.

        Where that fails it is answered all the same: the work is done.
        """
        at = self._now()
        until = None if within is None else at + within
        receipt = Receipt(digest=digest, answer=answer, at=at, until=until)
        try:
            await self._receipts.save_receipt(message.ctx.partner, key, receipt)
        except StoreError:
            log.exception(
                "%s: the answer to %s could not be kept, so a repetition will be acted on (request %s)",
                message.ctx.partner,
                message.operation,
                message.ctx.request_id,
            )

    def _tell(self, message: Message, reason: Reason) -> None:
        self.counts[reason] += 1
        event = NotApplied(
            partner=message.ctx.partner,
            operation=message.operation.id,
            subject=subject(message.operation, message.target, message.body),
            reason=reason,
            request_id=message.ctx.request_id,
            correlation_id=message.ctx.correlation_id,
        )
        log.log(
            logging.ERROR if reason is Reason.CONFLICT else logging.DEBUG,
            "%s: %s %s not applied: %s (request %s)",
            event.partner,
            event.operation,
            event.subject,
            _SAID[reason],
            event.request_id,
        )
        try:
            self._on_not_applied(event)
        except Exception as error:  # noqa: BLE001 - a message that went well must not fail for its report
            # Without the text, which may hold what the message held.
            log.error("on_not_applied failed with %s", type(error).__name__)  # noqa: TRY400 - as above


def response_url(message: Message) -> str:
    """Return where the outcome of a command is posted; empty where it does not say."""
    return str(getattr(message.body, "response_url", None) or getattr(message.target, "response_url", ""))


_SAID = {
    Reason.REPEATED: "a repetition",
    Reason.OLDER: "older than what is known",
    Reason.CONFLICT: "known, with other content",
}


def _names(plan: _Plan, message: Message) -> tuple[Hashable, tuple[Hashable, ...]]:
    """Return the key of a whole object, and the parts of it that the message is about.

    A copy for each of our parties is an object of its own: a hub sends it to each of them.
    """
    target: Any = message.target
    ids = [ci_key(getattr(target, name)) for name in plan.ids]
    words = [str(getattr(target, name)) for name in plan.words]
    owner = ci_key(f"{target.country_code}*{target.party_id}")
    ctx = message.ctx
    ours = "" if ctx.receiver is None else ctx.receiver.key
    root = (ctx.partner, message.operation.interface, ours, owner, *ids[:1], *words)
    aimed = tuple([getattr(message.body, name) for name in plan.aims])
    return root, (*ids[1:], aimed) if any(aimed) else tuple(ids[1:])


def _posted_names(message: Message) -> tuple[str, ...]:
    """Return what names an object that is posted.

    A CDR of 2.1.1 does not name its owner, and IOP passes on the ids of all CPOs as they are. The place where
    it was charged keeps those of two CPOs apart.
    """
    body = message.body
    owner = owner_of(body)
    place = "" if owner is not None else getattr(getattr(body, "location", None), "id", "")
    names = (str(owner or message.ctx.sender or ""), place, getattr(body, "id", ""))
    return tuple(ci_key(name) for name in names)


def _key(message: Message, *names: str) -> str:
    """Return a receipt's key. It is hashed, for a ``response_url`` may hold what is nobody's business."""
    ctx = message.ctx
    parties = (one.key if one is not None else "" for one in (ctx.sender, ctx.receiver))
    text = "\n".join((*parties, *names))
    return f"{message.operation.id} {hashlib.sha256(text.encode()).hexdigest()}"


def _digest(text: bytes, *more: str) -> bytes:
    """Return the SHA-256 of what a JSON text says, in whatever order and spelling, and of more texts."""
    written = b"\n".join([canonical(text) if text else b"", *(one.encode() for one in more)])
    return hashlib.sha256(written).digest()
