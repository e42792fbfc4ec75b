"""Sending commands and awaiting their results, in the words of either version; knows no driver."""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import define, frozen

from .. import v211, v221
from ..connection import Connection
from ..context import Context
from ..errors import InvalidObject, NoAnswer, NotSent, Problem, UnknownObject
from ..interface import operation_of
from ..pagination import Link
from ._execution import ACCEPTED, MAX_KNOWN

A = TypeVar("A", bound="v211.CommandResponse | v221.CommandResponse")
C = TypeVar("C")
R = TypeVar("R", bound="v211.CommandResponse | v221.CommandResult")
C_co = TypeVar("C_co", covariant=True)
A_co = TypeVar("A_co", bound="v211.CommandResponse | v221.CommandResponse", covariant=True)
R_co = TypeVar("R_co", bound="v211.CommandResponse | v221.CommandResult", covariant=True)


@frozen(kw_only=True)
class Commanded(Generic[C_co, A_co, R_co]):
    """What became of a command that we sent.

    Attributes:
        command: The command as it was sent; its authorization reference is what Session and CDR repeat.
        response: The immediate answer; None where it was lost and the result came all the same.
        result: The result; None where the command was refused at once, or no result came in time.
    """

    command: C_co
    response: A_co | None
    result: R_co | None

    @property
    def accepted(self) -> bool:
        """Whether the command was passed on to the charge point."""
        return self.response is None or self.response.result == ACCEPTED

    @property
    def succeeded(self) -> bool:
        """Whether the charge point accepted it."""
        return self.result is not None and self.result.result == ACCEPTED

    @property
    def timed_out(self) -> bool:
        """Whether it was passed on and no result came: the charge point may have carried it out, or not."""
        return self.accepted and self.result is None


AnyCommanded: TypeAlias = Commanded[
    object, v211.CommandResponse | v221.CommandResponse, v211.CommandResponse | v221.CommandResult
]
"""What became of a command that we sent, whichever it was and in whichever version."""


@define(eq=False)
class _Sent(Generic[R]):
    """A command whose result may be posted.

    Attributes:
        partner: The connection that it went over, and the only one that may post its result.
        command: The command.
        result: Its result, the last one where a second was taken.
        first: The one before that.
        until: After this moment, in the loop's time, its URL leads nowhere; None: somebody waits there.
    """

    partner: str
    command: object
    result: asyncio.Future[R]
    first: R | None = None
    until: float | None = None


class Sending(Generic[A, R]):
    """What `EmspCommands` is in either version; see there."""

    def __init__(self, *, patience: float = 60.0, longest: float = 600.0, remember: float = 600.0) -> None:
        self.patience = patience
        self.longest = longest
        self.remember = remember
        self._sent: dict[str, _Sent[R]] = {}

    @abstractmethod
    def _callback(self, connection: Connection, path: str) -> str:
        """Return the URL of ours at which a result is taken."""

    @abstractmethod
    def _announced(self, response: A) -> int | None:
        """Return how many seconds an answer says to wait."""

    def _kept(self, command: object, result: R) -> float:
        """Return for how many seconds the partner may still take a result back."""
        return 0.0

    async def _taken_back(self, ctx: Context, command: object, result: R) -> bool:
        """Take a second, other result; false where there is no such thing."""
        return False

    async def _send(
        self,
        connection: Connection,
        operation: Callable[[Any, Context, C], Coroutine[Any, Any, A]],
        make: Callable[[str], C],
    ) -> Commanded[C, A, R]:
        loop = asyncio.get_running_loop()
        self._forget_old()
        path = f"{operation_of(operation).path}/{secrets.token_hex(16)}"
        command = make(self._callback(connection, path))
        _require_evse(connection, command)
        sent = _Sent[R](connection.id, command, loop.create_future())
        # Before it leaves: a quick partner posts the result before its answer is here.
        self._sent[path] = sent
        response: A | None = None
        lost: NoAnswer | None = None
        try:
            try:
                response = await connection.call(operation, command)
            except NotSent:
                raise
            except NoAnswer as failed:
                # The car may charge by now: then the result, which is still to come, says so.
                lost = failed
            if response is None or response.result == ACCEPTED:
                announced = None if response is None else self._announced(response)
                await asyncio.wait({sent.result}, timeout=min(announced or self.patience, self.longest))
            if lost is not None and not sent.result.done():
                raise lost
        finally:
            if sent.result.done():
                kept = max(self.remember, self._kept(command, sent.result.result()))
                sent.until = loop.time() + kept
            else:
                del self._sent[path]
        result = sent.result.result() if sent.result.done() else None
        refused = response is not None and response.result != ACCEPTED
        return Commanded(command=command, response=response, result=None if refused else result)

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        ended = [(path, sent.until) for path, sent in self._sent.items() if sent.until is not None]
        for left, (path, until) in zip(range(len(ended), 0, -1), ended, strict=True):
            if until < now or left > MAX_KNOWN:
                del self._sent[path]

    async def _take(self, ctx: Context, link: Link, result: R) -> None:
        """Take a result; one that was taken may come again, where our answer to it was lost.

        Raises:
            UnknownObject: no command waits for one at this URL.
        """
        self._forget_old()
        sent = self._sent.get(link.url)
        if sent is None or sent.partner != ctx.partner:
            raise UnknownObject("no command waits for a result at this URL")
        if not sent.result.done():
            sent.result.set_result(result)
        elif result not in (sent.first, sent.result.result()):
            if not await self._taken_back(ctx, sent.command, result):
                raise UnknownObject("the command at this URL has its result")
            sent.first = sent.result.result()
            sent.result = asyncio.get_running_loop().create_future()
            sent.result.set_result(result)


def _require_evse(connection: Connection, command: object) -> None:
    """Refuse a START_SESSION that a hub cannot pass on. (GIREVE CMD-007, and the 2.2.1 guide for eMSPs)"""
    if not isinstance(command, v211.StartSession | v221.StartSession):
        return
    if connection.profile.is_hub and command.evse_uid is None:
        problem = Problem("/evse_uid", "missing", "expected an EVSE: the hub needs one", "GIREVE CMD-007")
        raise InvalidObject("StartSession", [problem])
