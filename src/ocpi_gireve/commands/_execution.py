"""Carrying out commands behind their answers, in the words of either version; knows no charger."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import define, field, frozen, validators

from .. import v211, v221
from ..authorizations import Authorization, Authorizations
from ..connection import url_policy
from ..context import Context
from ..errors import ClientError, InvalidParameters, OcpiError, Problem, ServerError, UrlRefused
from ..outbox.policy import Outcome as Fate
from ..outbox.policy import judge_failure
from ..pagination import Link
from ..receivers.host import Host, Hosted
from ..types import OcpiEnum, PartyId, ci_key

log = logging.getLogger("ocpi_gireve.commands")


Command: TypeAlias = (
    v211.ReserveNow
    | v211.StartSession
    | v211.StopSession
    | v211.UnlockConnector
    | v221.CancelReservation
    | v221.ReserveNow
    | v221.StartSession
    | v221.StopSession
    | v221.UnlockConnector
)

A = TypeVar("A", bound="v211.CommandResponse | v221.CommandResponse")  # the immediate answer
AW = TypeVar("AW", bound="v211.CommandResponseType | v221.CommandResponseType")  # its word
R = TypeVar("R", bound="v211.CommandResponse | v221.CommandResult")  # the result
RW = TypeVar("RW", bound="v211.CommandResponseType | v221.CommandResultType")  # its word
Start = TypeVar("Start", bound="v211.StartSession | v221.StartSession")
Stop = TypeVar("Stop", bound="v211.StopSession | v221.StopSession")
Reserve = TypeVar("Reserve", bound="v211.ReserveNow | v221.ReserveNow")
Unlock = TypeVar("Unlock", bound="v211.UnlockConnector | v221.UnlockConnector")
C = TypeVar("C", bound=Command)
F = TypeVar("F", bound=Callable[..., Any])
T_co = TypeVar("T_co", covariant=True)

MAX_KNOWN = 10_000
"""How many commands are remembered for their repetitions; the oldest that were answered give way."""
LONGEST_WAIT = 8.0
"""Seconds: the longest wait between two attempts to post a result."""

ACCEPTED, REJECTED, NOT_SUPPORTED, TIMEOUT = "ACCEPTED", "REJECTED", "NOT_SUPPORTED", "TIMEOUT"
UNKNOWN_SESSION = "UNKNOWN_SESSION"
_NOT_OFFERED = "__ocpi_not_offered__"


@frozen(kw_only=True)
class Deadlines:
    """How long the steps of a command may take, in seconds.

    Attributes:
        timeout: The partner gets the result within so many seconds, or never; 2.2.1 announces it, rounded up.
        acknowledge: After this a command is answered ACCEPTED, however long the host's check still takes.
            GIREVE wants each answer within 2 seconds, the way there and back included.
        post: The end of `timeout` that is kept for posting: what has no outcome by then is a TIMEOUT.
        retry: Before the second attempt to post a result; doubles with each one, up to `LONGEST_WAIT`.
        close: For posting what is pending when the platform closes.
        remember: How long a command that is repeated is known again; at least `timeout`.

    Raises:
        ValueError: a time is not positive, a command would be over before it is acknowledged, or forgotten
            before it is over.
    """

    timeout: float = field(default=30.0, validator=validators.gt(0))
    acknowledge: float = field(default=1.0, validator=validators.gt(0))
    post: float = field(default=5.0, validator=validators.gt(0))
    retry: float = field(default=0.5, validator=validators.gt(0))
    close: float = field(default=2.0, validator=validators.gt(0))
    remember: float = field(default=600.0, validator=validators.gt(0))

    def __attrs_post_init__(self) -> None:
        if self.work <= self.acknowledge:
            raise ValueError("timeout: expected more seconds than acknowledge and post together")
        if self.remember < self.timeout:
            raise ValueError("remember: expected at least the seconds of timeout")

    @property
    def work(self) -> float:
        """How long check and charger have together."""
        return self.timeout - self.post


@frozen
class Outcome(Generic[T_co]):
    """What became of a command, and what follows from it.

    Attributes:
        result: What is posted: its word, or an object that carries a message besides.
        then: Called once the first attempt to post the result has ended, in whichever way: here the session
            and the EVSE's status are uploaded, so that the partner hears of the result first.
    """

    result: T_co
    then: Callable[[], Awaitable[None]] | None = None


@frozen(kw_only=True)
class Words(Generic[A, R]):
    """How a version words answers and results.

    Attributes:
        answer: Makes the immediate answer, of a word and the seconds to wait for the result.
        result: Makes a result of a word.
        failed: The word for a command that ended without an outcome.
        late: What the word of an answer becomes where it has to be said as a result.
        post: The operation that takes the result.
    """

    answer: Callable[[str, int], A]
    result: Callable[[str], R]
    failed: str
    late: Mapping[str, str]
    post: Callable[[Any, Context, Link, R], Coroutine[Any, Any, None]]


Result: TypeAlias = RW | R | Outcome[RW] | Outcome[R]
"""What a host says became of a command."""


def not_offered(method: F) -> F:
    """Mark a method that stands for a command nobody carries out."""
    setattr(method, _NOT_OFFERED, True)
    return method


_Key: TypeAlias = tuple[str, PartyId | None, PartyId | None, str, str]
"""By which a command is known when it is repeated: connection, sender, receiver, kind, ``response_url``."""


@define(eq=False)
class _Job(Generic[A, R]):
    """One command under way.

    Attributes:
        key: By which it is known when it is repeated.
        answer: What the partner is answered.
        deadline: When the partner stops waiting, in the loop's time.
        place: What the command keeps from others; None: nothing.
        authorization: What it carries, once it is remembered.
        accepted: Whether it was answered ACCEPTED, so that a result is owed.
        outcome: What is owed, once it is known; it never changes.
        settled: Whether the result has arrived, or never can.
        following: What does `Outcome.then`, once begun.
    """

    ctx: Context
    key: _Key
    command: Command
    answer: asyncio.Future[A]
    deadline: float
    place: Hashable | None = None
    authorization: Authorization | None = None
    accepted: bool = False
    outcome: Outcome[R] | None = None
    settled: bool = False
    following: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"{self.key[3]} of {self.ctx.partner} (request {self.ctx.request_id})"


class Execution(Hosted, Generic[Start, Stop, Reserve, Unlock, A, AW, R, RW]):
    """What `CpoCommands` is in either version; see there."""

    def __init__(
        self, *, deadlines: Deadlines | None = None, authorizations: Authorizations | None = None
    ) -> None:
        self.deadlines = deadlines or Deadlines()
        self.authorizations = authorizations
        self._places = Authorizations() if authorizations is None else authorizations
        self._jobs: dict[_Key, _Job[A, R]] = {}

    @abstractmethod
    def _words(self) -> Words[A, R]:
        """Return how this version words answers and results."""

    @abstractmethod
    def _accept(self) -> AW:
        """Return this version's ACCEPTED."""

    @abstractmethod
    def _word(self, word: str) -> AW:
        """Return this version's word, such as REJECTED."""

    # --- for the host to write -------------------------------------------------------------------------

    async def check_start(self, ctx: Context, command: Start) -> AW:
        """Say whether a START_SESSION can be passed on; its token is authorized, known here or not.

        Raise `UnknownLocation` for a location or EVSE that is not there. What takes longer than
        `Deadlines.acknowledge` is answered ACCEPTED, and a refusal is posted as the result.
        """
        return self._accept()

    @not_offered
    async def running_session(self, ctx: Context, session_id: str) -> v211.Session | v221.Session | None:
        """Return the session that a STOP_SESSION means; None where none of `ctx.partner`'s runs.

        Write it, and a session that is not there is answered UNKNOWN_SESSION, one that by its token is
        another eMSP's than the sender's REJECTED, and neither reaches a charger. A hub that commands for
        itself stops every eMSP's. In 2.1.1 no message names the eMSP: there the connection says whose the
        session is, and you by it. (2.2.1, mod_commands, CommandResponseType)
        """
        raise NotImplementedError

    async def check_stop(self, ctx: Context, command: Stop) -> AW:
        """Say whether a STOP_SESSION can be passed on, besides what `running_session` tells."""
        return self._accept()

    async def check_reserve(self, ctx: Context, command: Reserve) -> AW:
        """Say whether a RESERVE_NOW can be passed on."""
        return self._accept()

    async def check_unlock(self, ctx: Context, command: Unlock) -> AW:
        """Say whether an UNLOCK_CONNECTOR can be passed on."""
        return self._accept()

    @not_offered
    async def execute_start(self, ctx: Context, command: Start) -> Result[RW, R]:
        """Start a session at a charger, and say what became of it.

        It is cancelled when its time is over, and when the platform closes. What it raises is logged and
        posted as FAILED; an `UnknownLocation`, or another `ClientError` of its own, as REJECTED.
        """
        raise NotImplementedError

    @not_offered
    async def execute_stop(self, ctx: Context, command: Stop) -> Result[RW, R]:
        """Stop a session at a charger, and say what became of it, as for `execute_start`.

        The session may have begun with a card. (GIREVE CMD-006)
        """
        raise NotImplementedError

    @not_offered
    async def execute_reserve(self, ctx: Context, command: Reserve) -> Result[RW, R]:
        """Reserve at a charger, and say what became of it, as for `execute_start`.

        The eMSP chose the reservation's id: make it unique before a charger sees it.
        """
        raise NotImplementedError

    @not_offered
    async def execute_unlock(self, ctx: Context, command: Unlock) -> Result[RW, R]:
        """Unlock a connector, and say what became of it, as for `execute_start`."""
        raise NotImplementedError

    def place(self, ctx: Context, command: Start) -> Hashable:
        """Return what a START_SESSION keeps from every other one while it is pending: its EVSE.

        Where it names none, it keeps its token from starting twice at the location.
        """
        location = ci_key(command.location_id)
        if command.evse_uid is None:
            return (ctx.receiver, location, "token", ci_key(command.token.uid))
        return (ctx.receiver, location, "evse", ci_key(command.evse_uid))

    # --- the interface ---------------------------------------------------------------------------------

    async def start_session(self, ctx: Context, command: Start) -> A:
        """Answer, and start the session behind the answer.

        Raises:
            InvalidParameters: the token is another eMSP's.
        """
        self._require_own(ctx, command.token)
        return await self._take(
            ctx,
            "START_SESSION",
            command,
            self.check_start,
            self.execute_start,
            place=self.place(ctx, command),
        )

    async def stop_session(self, ctx: Context, command: Stop) -> A:
        """Answer, and stop the session behind the answer."""
        return await self._take(ctx, "STOP_SESSION", command, self._check_stop, self.execute_stop)

    async def reserve_now(self, ctx: Context, command: Reserve) -> A:
        """Answer, and reserve behind the answer.

        Raises:
            InvalidParameters: the token is another eMSP's.
        """
        self._require_own(ctx, command.token)
        return await self._take(ctx, "RESERVE_NOW", command, self.check_reserve, self.execute_reserve)

    async def unlock_connector(self, ctx: Context, command: Unlock) -> A:
        """Answer, and unlock the connector behind the answer."""
        return await self._take(ctx, "UNLOCK_CONNECTOR", command, self.check_unlock, self.execute_unlock)

    # --- whose tokens and sessions ---------------------------------------------------------------------

    def _require_own(self, ctx: Context, token: v211.Token | v221.Token) -> None:
        """Hold the sender to its own tokens: an eMSP "SHALL only use Tokens that are owned by this eMSP".

        The server does so for a direct partner; a hub it lets speak for everybody.
        """
        if not self._may_be_senders(ctx, token):
            problem = Problem("/token/party_id", "owner", "expected a token of the eMSP that commands")
            raise InvalidParameters(problems=[problem])

    async def _check_stop(self, ctx: Context, command: Stop) -> AW:
        if not getattr(self.running_session, _NOT_OFFERED, False):
            session = await self.running_session(ctx, command.session_id)
            token = session.cdr_token if isinstance(session, v221.Session) else None
            if session is None:
                return self._word(UNKNOWN_SESSION)
            if not self._may_be_senders(ctx, token):
                return self._word(REJECTED)
        return await self.check_stop(ctx, command)

    def _may_be_senders(self, ctx: Context, token: v211.Token | v221.Token | v221.CdrToken | None) -> bool:
        """Tell whether a token may be the eMSP's that commands: where both are known, they are the same."""
        if token is None or isinstance(token, v211.Token) or ctx.sender is None:
            return True
        emsp = PartyId(token.country_code, token.party_id)
        # A hub's own party stands for nobody in particular, on either side.
        return emsp == ctx.sender or any(
            self._is_hub_itself(ctx.partner, party) for party in (ctx.sender, emsp)
        )

    async def _take(
        self,
        ctx: Context,
        kind: str,
        command: C,
        check: Callable[[Context, C], Awaitable[AW]],
        execute: Callable[[Context, C], Awaitable[Result[RW, R]]],
        *,
        place: Hashable | None = None,
    ) -> A:
        """Answer a command, and see to it that it is carried out.

        Args:
            ctx: Who commands.
            kind: Which command.
            command: The command.
            check: Whether it can be passed on.
            execute: What carries it out.
            place: What nobody else may command meanwhile; None: it keeps nothing.

        Raises:
            InvalidParameters: the result could never be posted to its ``response_url``.
            ServerError: the platform closes.
            StatusError: what `check` raised in time.
        """
        if getattr(execute, _NOT_OFFERED, False):
            return self._words().answer(NOT_SUPPORTED, 0)
        self._forget_old()
        key = (ctx.partner, ctx.sender, ctx.receiver, kind, command.response_url)
        known = self._jobs.get(key)
        if known is not None and known.command == command:
            return await asyncio.shield(known.answer)
        self._require_callable(ctx, command.response_url)
        loop = asyncio.get_running_loop()
        job = _Job[A, R](
            ctx=ctx,
            key=key,
            command=command,
            answer=loop.create_future(),
            deadline=loop.time() + self.deadlines.timeout,
            place=place,
        )
        self._jobs.pop(key, None)  # so that the new one stands at the end
        self._jobs[key] = job
        if place is not None and not self._places.hold(place):
            self._answer(job, REJECTED)
            return await job.answer
        self._platform().spawn(self._carry_out(job, lambda: self._work(job, command, check, execute)))
        # Shielded: a partner that hangs up takes the answer from nobody who repeats the command.
        return await asyncio.shield(job.answer)

    def _platform(self) -> Host:
        if self._host is None:
            raise RuntimeError(f"{type(self).__name__}: expected it among the handlers of a Platform")
        return self._host

    def _require_callable(self, ctx: Context, response_url: str) -> None:
        """Find out now, and not when the car charges, that the result could never be posted."""
        connection = self._platform().connection(ctx.partner)
        policy = url_policy(connection.profile, connection.record.origins)
        try:
            policy.check(response_url, "response_url")
        except UrlRefused as refused:
            problem = Problem("/response_url", "refused", refused.reason)
            raise InvalidParameters(problems=[problem]) from None

    def _forget_old(self) -> None:
        born = asyncio.get_running_loop().time() - self.deadlines.remember + self.deadlines.timeout
        # They stand in the order in which they came, so that all behind the first young one are young.
        for key, job in list(self._jobs.items()):
            if not job.answer.done() or (job.deadline >= born and len(self._jobs) < MAX_KNOWN):
                break
            del self._jobs[key]

    def _answer(self, job: _Job[A, R], word: str) -> None:
        """Answer, unless that is done."""
        if job.answer.done():
            return
        seconds = math.ceil(self.deadlines.timeout) if word == ACCEPTED else 0
        job.answer.set_result(self._words().answer(word, seconds))
        job.accepted = word == ACCEPTED
        if (
            job.accepted
            and self.authorizations is not None
            and isinstance(job.command, v211.StartSession | v221.StartSession)
        ):
            # Now, and not with the outcome: the session may start before the charger's answer is here.
            ctx = job.ctx
            job.authorization = self.authorizations.commanded(ctx.partner, ctx.receiver, job.command)

    def _refuse(self, job: _Job[A, R], error: Exception) -> None:
        """Answer an error. Nothing was passed on, so that a repetition is a new command."""
        job.answer.set_exception(error)
        job.answer.exception()  # whoever asked may have hung up, and then nobody reads it
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]

    # --- behind the answer ---------------------------------------------------------------------------

    async def _work(
        self,
        job: _Job[A, R],
        command: C,
        check: Callable[[Context, C], Awaitable[AW]],
        execute: Callable[[Context, C], Awaitable[Result[RW, R]]],
    ) -> Outcome[R] | None:
        """Check and carry out a command; None where it was refused in time, so that no result is owed."""
        started: Authorization | None = None
        try:
            verdict = str(await check(job.ctx, command))
            self._answer(job, verdict)
            if not job.accepted:
                return None
            if verdict == ACCEPTED:
                outcome = self._owed(await execute(job.ctx, command))
            else:
                outcome = self._said(self._words().late.get(verdict, verdict))
            if outcome.result.result == ACCEPTED:
                started = job.authorization
            else:
                self._forget(job)
            return outcome
        finally:
            if job.place is not None:
                self._places.release(job.place, started)

    def _forget(self, job: _Job[A, R]) -> None:
        if self.authorizations is not None and job.authorization is not None:
            self.authorizations.forget(job.authorization)

    def _said(self, word: str) -> Outcome[R]:
        return Outcome(self._words().result(word))

    def _owed(self, spoken: Result[RW, R]) -> Outcome[R]:
        """Return what a host said, as the object to post."""
        result, then = (spoken.result, spoken.then) if isinstance(spoken, Outcome) else (spoken, None)
        if isinstance(result, OcpiEnum):
            return Outcome(self._words().result(result), then)
        wanted = type(self._words().result(ACCEPTED))
        if not isinstance(result, wanted):
            raise TypeError(f"expected a {wanted.__name__} or its type, not {type(result).__name__}")
        return Outcome(result, then)

    async def _carry_out(
        self, job: _Job[A, R], work: Callable[[], Coroutine[Any, Any, Outcome[R] | None]]
    ) -> None:
        """See a command through: answer it in time, wait for its outcome, post that."""
        loop = asyncio.get_running_loop()
        working = loop.create_task(work())
        in_time = loop.call_later(self.deadlines.acknowledge, self._answer, job, ACCEPTED)
        try:
            await asyncio.wait({working}, timeout=self.deadlines.work)
            in_time.cancel()
            self._conclude(job, working)
            await self._report(job)
            # One that is late may have to clean up.
            await asyncio.wait({working, *([job.following] if job.following else [])})
        except asyncio.CancelledError:
            in_time.cancel()
            await self._close(job, working)
            raise

    def _conclude(self, job: _Job[A, R], working: asyncio.Task[Outcome[R] | None]) -> None:
        """Note what is owed to the partner: an outcome, a TIMEOUT, or nothing."""
        if not working.done():
            log.warning("%s: no outcome in time; TIMEOUT is reported", job)
            job.outcome = self._said(TIMEOUT)
            _give_up(job, working)
            return
        error = asyncio.CancelledError() if working.cancelled() else working.exception()
        if error is None:
            job.outcome = working.result()
        elif not job.answer.done():
            self._refuse(job, error if isinstance(error, Exception) else ServerError())
        elif isinstance(error, ClientError) and error.exchange is None:
            # The host's own refusal, which came too late for the answer.
            log.warning("%s: refused with %s after it was acknowledged", job, type(error).__name__)
            job.outcome = self._said(REJECTED)
            self._forget(job)
        else:
            _log_failure(f"{job}: {self._words().failed} is reported", error)
            job.outcome = self._said(self._words().failed)

    async def _report(self, job: _Job[A, R]) -> None:
        """Post the result, again and again while the partner waits for it."""
        if job.outcome is None:
            return
        loop = asyncio.get_running_loop()
        wait = self.deadlines.retry
        while True:
            # Where the charger took all the time, there is still this much for one attempt.
            await self._attempt(job, job.outcome, max(job.deadline - loop.time(), self.deadlines.close))
            self._follow(job, job.outcome)
            if job.settled:
                return
            if loop.time() + wait >= job.deadline:
                log.error("%s: the result could not be posted in time", job)
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _attempt(self, job: _Job[A, R], outcome: Outcome[R], seconds: float) -> None:
        """Post the result once; note whether there is any use in doing it again."""
        ctx = job.ctx
        try:
            connection = self._platform().connection(ctx.partner)
            view = connection.routed(sender=ctx.receiver, receiver=ctx.sender, following=ctx)
            async with asyncio.timeout(seconds):
                await view.call(self._words().post, Link(job.command.response_url), outcome.result)
        except TimeoutError:
            log.warning("%s: the partner did not answer to the result in time", job)
        except OcpiError as error:
            verdict = judge_failure(error)
            job.settled = verdict.outcome is not Fate.TRANSIENT
            again = "given up" if job.settled else "tried again"
            log.warning("%s: the result is %s: %s", job, again, verdict.reason)
        else:
            job.settled = True

    def _follow(self, job: _Job[A, R], outcome: Outcome[R]) -> None:
        if outcome.then is not None and job.following is None:
            job.following = asyncio.get_running_loop().create_task(_followed(job, outcome.then))

    async def _close(self, job: _Job[A, R], working: asyncio.Task[Outcome[R] | None]) -> None:
        """Say the last word of a command, as far as there is time: the platform closes."""
        if not job.answer.done():
            self._refuse(job, ServerError("the platform closes"))
        elif job.accepted and job.outcome is None:
            # The charger may have finished just now; what else it does, nobody here will know.
            done = working.done() and not working.cancelled() and working.exception() is None
            job.outcome = (working.result() if done else None) or self._said(self._words().failed)
        _give_up(job, working)
        ending: set[asyncio.Task[Any]] = {working}
        if job.outcome is not None:
            self._follow(job, job.outcome)
            if not job.settled:
                last = self._attempt(job, job.outcome, self.deadlines.close)
                ending.add(asyncio.get_running_loop().create_task(last))
        if job.following is not None:
            ending.add(job.following)
        await asyncio.wait(ending, timeout=self.deadlines.close)
        for task in ending:
            task.cancel()


async def _followed(job: _Job[A, R], then: Callable[[], Awaitable[None]]) -> None:
    try:
        await then()
    except Exception as error:  # noqa: BLE001 - the host's own, and nobody is left to tell but the log
        _log_failure(f"{job}: what follows from it", error)


def _give_up(job: _Job[A, R], working: asyncio.Task[Outcome[R] | None]) -> None:
    """Cancel what may still be under way at the charger; what it says later is for the log."""

    def ended(_: object) -> None:
        if working.cancelled():
            return
        error = working.exception()
        if error is not None:
            _log_failure(f"{job}, when nobody waited for it any more,", error)
        elif (outcome := working.result()) is not None:
            log.error("%s: came to %s when nobody waited for it any more", job, outcome.result.result)

    if not working.done():
        working.add_done_callback(ended)
        working.cancel()


def _log_failure(what: str, error: BaseException) -> None:
    """Log what a host's code raised, and where: not its text, which may hold what the message held."""
    place = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("%s failed with %s\n%s", what, type(error).__name__, place)
