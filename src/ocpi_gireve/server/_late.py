"""Commands are answered in time, whatever their handlers do; posts nothing itself."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, cast

from attrs import frozen

from .._model import Model
from ..context import Context
from ..dialect import Deferral
from ..errors import ServerError
from ..idempotence import Act, Message, response_url
from ..pagination import Link

log = logging.getLogger("ocpi_gireve.server")

COMMAND_ACK = 1.8
"""Seconds within which a command is answered: GIREVE waits for 2, the way there and back included."""


class TooSlow(ServerError):
    """A handler that took too long."""


@frozen
class LateOutcome:
    """What is owed to a partner whose command was answered before its handler did.

    Attributes:
        context: The command's own.
        place: Its ``response_url``.
        post: The operation that takes the outcome there.
        outcome: What is posted.
    """

    context: Context
    place: Link
    post: Callable[..., Coroutine[Any, Any, None]]
    outcome: Model


OnLate: TypeAlias = Callable[[LateOutcome], None]
Once: TypeAlias = Callable[[Message, Act], Coroutine[Any, Any, object]]
"""Acts on a message unless it was acted on before."""


class Acknowledging:
    """Answers commands in time.

    A handler that is late is not cancelled: the charger may have been told already, and nobody would know
    what it does. It goes on, and what it says is posted where an outcome is owed.

    Args:
        once: Acts on a message.
        seconds: After which a command is answered.
        on_late: Called with each outcome that is owed.
    """

    def __init__(self, once: Once, seconds: float, on_late: OnLate | None) -> None:
        self._once = once
        self._seconds = seconds
        self._on_late = on_late
        self._working: set[asyncio.Task[object]] = set()

    async def close(self) -> None:
        """End the handlers that go on after their command was answered."""
        working = list(self._working)
        for work in working:
            work.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def answer(self, deferral: Deferral, message: Message, call: Act) -> object:
        """Return what the handler answers, or in its place what the version says where it is late."""
        is_late = has_begun = False

        async def act() -> object:
            nonlocal has_begun
            has_begun = True
            answer = cast("Model", await call())
            if not is_late:
                return answer
            self._owe(deferral, message, deferral.outcome(answer))
            # Its repetition is answered alike.
            return deferral.answer

        async def work() -> object:
            try:
                return await self._once(message, act)
            except Exception as error:
                # What waited for its own repetition to end owes nothing: that one does.
                if is_late and has_begun:
                    outcome = deferral.timed_out if isinstance(error, TooSlow) else deferral.failed
                    self._owe(deferral, message, outcome)
                raise

        task = asyncio.create_task(work())
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        try:
            await asyncio.wait([task], timeout=self._seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return task.result()
        is_late = True
        log.error(
            "%s took longer than %g s; answered %s, and goes on (request %s)",
            message.operation,
            self._seconds,
            getattr(deferral.answer, "result", ""),
            message.ctx.request_id,
        )
        task.add_done_callback(functools.partial(_log_late, message))
        return deferral.answer

    def _owe(self, deferral: Deferral, message: Message, outcome: Model | None) -> None:
        if outcome is None or self._on_late is None:
            return
        self._on_late(LateOutcome(message.ctx, Link(response_url(message)), deferral.post, outcome))


def _log_late(message: Message, work: asyncio.Task[object]) -> None:
    """Log how a handler ended whose command was answered without it."""
    if work.cancelled():
        return
    error = work.exception()
    log.log(
        logging.WARNING if error is None else logging.ERROR,
        "%s, answered before, ended with %s (request %s)",
        message.operation,
        "an answer" if error is None else type(error).__name__,
        message.ctx.request_id,
    )
