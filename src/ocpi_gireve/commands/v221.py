"""Commands of OCPI 2.2.1: its words, around what both versions share; knows no charger and no driver."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from ..connection import Connection
from ..context import Context
from ..pagination import Link
from ..types import PartyId, utc_now
from ..v221 import (
    CancelReservation,
    CommandResponse,
    CommandResponseType,
    CommandResult,
    CommandResultType,
    CommandsReceiver,
    CommandsSender,
    ReserveNow,
    StartSession,
    StopSession,
    Token,
    UnlockConnector,
)
from ._execution import Execution, Outcome, Words, not_offered
from ._sending import Commanded as EitherCommanded
from ._sending import Sending

C = TypeVar("C", CancelReservation, ReserveNow, StartSession, StopSession, UnlockConnector)

Result: TypeAlias = CommandResultType | CommandResult | Outcome[CommandResultType] | Outcome[CommandResult]
"""What a host says became of a command."""
Commanded: TypeAlias = EitherCommanded[C, CommandResponse, CommandResult]
"""What became of a command that we sent."""

_WORDS = Words[CommandResponse, CommandResult](
    answer=lambda word, seconds: CommandResponse(result=CommandResponseType(word), timeout=seconds),
    result=lambda word: CommandResult(result=CommandResultType(word)),
    failed=CommandResultType.FAILED,
    # A result knows no UNKNOWN_SESSION.
    late={CommandResponseType.UNKNOWN_SESSION: CommandResultType.REJECTED},
    post=CommandsSender.post_result,
)


class CpoCommands(
    Execution[
        StartSession,
        StopSession,
        ReserveNow,
        UnlockConnector,
        CommandResponse,
        CommandResponseType,
        CommandResult,
        CommandResultType,
    ],
    CommandsReceiver,
):
    """Takes commands for a CPO's charge points, in 2.2.1: you write what the chargers do.

    Write `execute_start`, `execute_stop` and so on for the commands that you support; the others are answered
    NOT_SUPPORTED. Each addresses the charger, waits for it, and returns what became of it: a
    `CommandResultType`, a `CommandResult`, or an `Outcome`. Where a command can be refused at once, write
    `check_start` and so on as well. Beside `execute_stop` write `running_session`, so that nobody stops the
    session of another eMSP.

    Around them: every command is answered in time, however long yours takes; its result is posted, TIMEOUT
    and FAILED included, and tried again while the partner waits; a repeated command gets the same answer
    and addresses the charger once; an EVSE takes one START_SESSION at a time.

    The platform that has it among its handlers names itself to it.

    Args:
        deadlines: How long the steps may take.
        authorizations: Where the authorization of each START_SESSION is remembered. With it, an EVSE that
            accepted one takes no other until the session has started, or can start no more. The commands of
            several versions share one.
    """

    def _words(self) -> Words[CommandResponse, CommandResult]:
        return _WORDS

    def _accept(self) -> CommandResponseType:
        return CommandResponseType.ACCEPTED

    def _word(self, word: str) -> CommandResponseType:
        return CommandResponseType(word)

    async def check_cancel(self, ctx: Context, command: CancelReservation) -> CommandResponseType:
        """Say whether a CANCEL_RESERVATION can be passed on."""
        return CommandResponseType.ACCEPTED

    @not_offered
    async def execute_cancel(self, ctx: Context, command: CancelReservation) -> Result:
        """Cancel a reservation, and say what became of it, as for `execute_start`."""
        raise NotImplementedError

    async def cancel_reservation(self, ctx: Context, command: CancelReservation) -> CommandResponse:
        """Answer, and cancel the reservation behind the answer."""
        return await self._take(ctx, "CANCEL_RESERVATION", command, self.check_cancel, self.execute_cancel)


class EmspCommands(Sending[CommandResponse, CommandResult], CommandsSender):
    """Sends an eMSP's commands, in 2.2.1, and takes their results.

    Each command gets a URL of its own for its result: nobody can guess it, one result is taken there, from
    the partner that the command went to, and it ends when the time is over that the partner announced. The
    same result may come again for a while; it changes nothing.

    Args:
        patience: Seconds to wait for a result where the partner announces none.
        longest: Seconds to wait at most, whatever the partner announces.
        remember: Seconds in which a result that was taken may come again.
    """

    async def reservation_canceled(self, ctx: Context, command: ReserveNow, result: CommandResult) -> None:
        """Override to learn that a CPO has canceled a reservation that it had made."""

    async def send(
        self,
        connection: Connection,
        operation: Callable[[Any, Context, C], Coroutine[Any, Any, CommandResponse]],
        make: Callable[[str], C],
        *,
        cpo: PartyId | None = None,
    ) -> Commanded[C]:
        """Send a command and wait for its result, as long as the partner says.

        Where the answer is lost on the way, the result is waited for all the same, for `patience`.

        Args:
            connection: Whom to send it to: the hub, or the CPO's platform.
            operation: Which command, such as ``v221.CommandsReceiver.start_session``.
            make: Makes the command, of the ``response_url`` that its result is posted to.
            cpo: The CPO that is commanded: the owner of the location. A hub has to be told. (2.2.1 guide for
                eMSPs: "`OCPI-to-*` must name the CPO")

        Raises:
            ValueError: the partner is a hub, and no CPO is named.
            InvalidObject: a hub would need the EVSE, or the command breaks the specification.
            OcpiError: the command could not be sent, or was answered with an error; as for `Connection.call`.
        """
        if cpo is None and connection.profile.is_hub:
            raise ValueError(f"{connection.id} is a hub: expected cpo, the party that owns the location")
        view = connection if cpo is None else connection.routed(receiver=cpo)
        return await self._send(view, operation, make)

    async def send_start(
        self,
        connection: Connection,
        token: Token,
        location_id: str,
        evse_uid: str | None = None,
        connector_id: str | None = None,
        *,
        cpo: PartyId | None = None,
        reference: str | None = None,
    ) -> Commanded[StartSession]:
        """Start a session for a driver whom you have authorized.

        Args:
            connection: Whom to command, as for `send`.
            token: The driver's token, one of yours.
            location_id: The location.
            evse_uid: The EVSE; a hub needs it. (GIREVE CMD-007)
            connector_id: The connector; some EVSEs need it.
            cpo: As for `send`.
            reference: Under which the session and its CDR will come; a new one by default.

        Raises:
            OcpiError: as for `send`.
            ValueError: as for `send`.
        """
        known = reference or str(uuid.uuid4())
        return await self.send(
            connection,
            CommandsReceiver.start_session,
            lambda url: StartSession(
                response_url=url,
                token=token,
                location_id=location_id,
                evse_uid=evse_uid,
                connector_id=connector_id,
                authorization_reference=known,
            ),
            cpo=cpo,
        )

    async def send_stop(
        self, connection: Connection, session_id: str, *, cpo: PartyId | None = None
    ) -> Commanded[StopSession]:
        """Stop a session, under the id that the partner gave it.

        Raises:
            OcpiError: as for `send`.
            ValueError: as for `send`.
        """
        return await self.send(
            connection,
            CommandsReceiver.stop_session,
            lambda url: StopSession(response_url=url, session_id=session_id),
            cpo=cpo,
        )

    async def post_result(self, ctx: Context, link: Link, result: CommandResult) -> None:
        """Take the result of a command.

        Raises:
            UnknownObject: no command waits for one at this URL.
        """
        await self._take(ctx, link, result)

    def _callback(self, connection: Connection, path: str) -> str:
        return connection.callback(CommandsSender.post_result, path)

    def _announced(self, response: CommandResponse) -> int | None:
        return response.timeout

    def _kept(self, command: object, result: CommandResult) -> float:
        """Of RESERVE_NOW: "To Cancel a reservation the CPO call the Senders interface with the same URL"."""
        if not isinstance(command, ReserveNow) or result.result is not CommandResultType.ACCEPTED:
            return 0.0
        return (command.expiry_date - utc_now()).total_seconds()

    async def _taken_back(self, ctx: Context, command: object, result: CommandResult) -> bool:
        if not isinstance(command, ReserveNow) or result.result is not CommandResultType.CANCELED_RESERVATION:
            return False
        await self.reservation_canceled(ctx, command, result)
        return True
