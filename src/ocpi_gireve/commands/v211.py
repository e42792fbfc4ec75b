"""Commands of OCPI 2.1.1: its words, around what both versions share; knows no charger and no driver.

A result is a CommandResponse here, too, and no answer says how long to wait for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from ..connection import Connection
from ..context import Context
from ..pagination import Link
from ..v211 import (
    CommandResponse,
    CommandResponseType,
    CommandsCpo,
    CommandsEmsp,
    ReserveNow,
    StartSession,
    StopSession,
    Token,
    UnlockConnector,
)
from ._execution import Deadlines, Execution, Outcome, Words
from ._sending import Commanded as EitherCommanded
from ._sending import Sending

C = TypeVar("C", ReserveNow, StartSession, StopSession, UnlockConnector)

Result: TypeAlias = (
    CommandResponseType | CommandResponse | Outcome[CommandResponseType] | Outcome[CommandResponse]
)
"""What a host says became of a command."""
Commanded: TypeAlias = EitherCommanded[C, CommandResponse, CommandResponse]
"""What became of a command that we sent."""

__all__ = ["Commanded", "CpoCommands", "Deadlines", "EmspCommands", "Outcome", "Result"]

_WORDS = Words[CommandResponse, CommandResponse](
    answer=lambda word, _: CommandResponse(result=CommandResponseType(word)),
    result=lambda word: CommandResponse(result=CommandResponseType(word)),
    # There is no FAILED.
    failed=CommandResponseType.REJECTED,
    late={},
    post=CommandsEmsp.post_result,
)


class CpoCommands(
    Execution[
        StartSession,
        StopSession,
        ReserveNow,
        UnlockConnector,
        CommandResponse,
        CommandResponseType,
        CommandResponse,
        CommandResponseType,
    ],
    CommandsCpo,
):
    """Takes commands for a CPO's charge points, in 2.1.1; in all else the class of 2.2.1.

    What becomes of a command is a `CommandResponseType`; a failure is a REJECTED.
    """

    def _words(self) -> Words[CommandResponse, CommandResponse]:
        return _WORDS

    def _accept(self) -> CommandResponseType:
        return CommandResponseType.ACCEPTED

    def _word(self, word: str) -> CommandResponseType:
        return CommandResponseType(word)


class EmspCommands(Sending[CommandResponse, CommandResponse], CommandsEmsp):
    """Sends an eMSP's commands, in 2.1.1, and takes their results; in all else the class of 2.2.1.

    No answer says how long to wait, so it waits for `patience`.
    """

    async def send(
        self,
        connection: Connection,
        operation: Callable[[Any, Context, C], Coroutine[Any, Any, CommandResponse]],
        make: Callable[[str], C],
    ) -> Commanded[C]:
        """Send a command and wait for its result, even where the answer is lost on the way.

        Args:
            connection: Whom to send it to: the hub, which knows whose location it is, or the CPO's platform.
            operation: Which command, such as ``v211.CommandsCpo.start_session``.
            make: Makes the command, of the ``response_url`` that its result is posted to.

        Raises:
            InvalidObject: a hub would need the EVSE, or the command breaks the specification.
            OcpiError: the command could not be sent, or was answered with an error; as for `Connection.call`.
        """
        return await self._send(connection, operation, make)

    async def send_start(
        self,
        connection: Connection,
        token: Token,
        location_id: str,
        evse_uid: str | None = None,
        *,
        reference: str | None = None,
    ) -> Commanded[StartSession]:
        """Start a session for a driver whom you have authorized.

        Args:
            connection: Whom to command.
            token: The driver's token, one of yours.
            location_id: The location.
            evse_uid: The EVSE; a hub needs it. (GIREVE CMD-007)
            reference: The `authorization_id` under which the session and its CDR will come; a new one by
                default. (GIREVE AUT-004)

        Raises:
            OcpiError: as for `send`.
        """
        known = reference or str(uuid.uuid4())
        return await self.send(
            connection,
            CommandsCpo.start_session,
            lambda url: StartSession(
                response_url=url,
                token=token,
                location_id=location_id,
                evse_uid=evse_uid,
                authorization_id=known,
            ),
        )

    async def send_stop(self, connection: Connection, session_id: str) -> Commanded[StopSession]:
        """Stop a session, under the id that the partner gave it.

        Raises:
            OcpiError: as for `send`.
        """
        return await self.send(
            connection,
            CommandsCpo.stop_session,
            lambda url: StopSession(response_url=url, session_id=session_id),
        )

    async def post_result(self, ctx: Context, link: Link, result: CommandResponse) -> None:
        """Take the result of a command.

        Raises:
            UnknownObject: no command waits for one at this URL.
        """
        await self._take(ctx, link, result)

    def _callback(self, connection: Connection, path: str) -> str:
        return connection.callback(CommandsEmsp.post_result, path)

    def _announced(self, response: CommandResponse) -> int | None:
        return None
