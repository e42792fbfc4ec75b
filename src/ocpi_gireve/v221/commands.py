"""Commands, OCPI 2.2.1 mod_commands: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Annotated

from attrs import field

from .._model import PERSONAL, CiString, Model, Url, model
from .._rules import Findings, not_negative, rule
from ..context import Context
from ..interface import AT_LINK, Interface, post
from ..pagination import Link
from ..types import OcpiEnum, Role
from .tokens import Token
from .types import DisplayText
from .versions import InterfaceRole, ModuleID


class CommandResponseType(OcpiEnum):
    """The CPO's immediate answers to a command."""

    NOT_SUPPORTED = "NOT_SUPPORTED"
    REJECTED = "REJECTED"
    ACCEPTED = "ACCEPTED"
    UNKNOWN_SESSION = "UNKNOWN_SESSION"


class CommandResultType(OcpiEnum):
    """Outcomes of a command."""

    ACCEPTED = "ACCEPTED"
    CANCELED_RESERVATION = "CANCELED_RESERVATION"
    EVSE_OCCUPIED = "EVSE_OCCUPIED"
    EVSE_INOPERATIVE = "EVSE_INOPERATIVE"
    FAILED = "FAILED"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    REJECTED = "REJECTED"
    TIMEOUT = "TIMEOUT"
    UNKNOWN_RESERVATION = "UNKNOWN_RESERVATION"


class CommandType(OcpiEnum):
    """The commands."""

    CANCEL_RESERVATION = "CANCEL_RESERVATION"
    RESERVE_NOW = "RESERVE_NOW"
    START_SESSION = "START_SESSION"
    STOP_SESSION = "STOP_SESSION"
    UNLOCK_CONNECTOR = "UNLOCK_CONNECTOR"


@model
class CancelReservation(Model):
    """The command CANCEL_RESERVATION."""

    reference = "2.2.1 commands, CancelReservation"

    response_url: Annotated[str, Url()]
    """Where the CommandResult is posted."""
    reservation_id: Annotated[str, CiString(36)]
    """Reservation to cancel."""


@model
class CommandResponse(Model):
    """The CPO's immediate answer to a command: whether it is passed on, not whether it worked."""

    reference = "2.2.1 commands, CommandResponse"

    result: CommandResponseType
    """Answer of the CPO to the request."""
    timeout: int
    """Seconds to wait for the CommandResult."""
    message: list[DisplayText] = field(factory=list[DisplayText])
    """Human-readable explanation."""


@model
class CommandResult(Model):
    """The outcome of a command at the charge point, sent when it is known."""

    reference = "2.2.1 commands, CommandResult"

    result: CommandResultType
    """Outcome at the charge point."""
    message: list[DisplayText] = field(factory=list[DisplayText])
    """Human-readable reason."""


@model
class ReserveNow(Model):
    """The command RESERVE_NOW."""

    reference = "2.2.1 commands, ReserveNow"

    response_url: Annotated[str, Url()]
    """Where the CommandResult is posted."""
    token: Token
    """Token to reserve for."""
    expiry_date: datetime
    """End of the reservation, UTC."""
    reservation_id: Annotated[str, CiString(36)]
    """Reservation id; same id replaces."""
    location_id: Annotated[str, CiString(36)]
    """Location to reserve at."""
    evse_uid: Annotated[str, CiString(36)] | None = None
    """Specific EVSE."""
    authorization_reference: Annotated[str, CiString(36), PERSONAL] | None = None
    """Reference to echo in Session and CDR."""


@model
class StartSession(Model):
    """The command START_SESSION."""

    reference = "2.2.1 commands, StartSession"

    response_url: Annotated[str, Url()]
    """Where the CommandResult is posted."""
    token: Token
    """Token to start with, authorized by the eMSP."""
    location_id: Annotated[str, CiString(36)]
    """Location to start at."""
    evse_uid: Annotated[str, CiString(36)] | None = None
    """Specific EVSE; required when connector_id is set."""
    connector_id: Annotated[str, CiString(36)] | None = None
    """Specific connector; required when the EVSE has the START_SESSION_CONNECTOR_REQUIRED capability."""
    authorization_reference: Annotated[str, CiString(36), PERSONAL] | None = None
    """Reference to echo in Session and CDR."""


@model
class StopSession(Model):
    """The command STOP_SESSION."""

    reference = "2.2.1 commands, StopSession"

    response_url: Annotated[str, Url()]
    """Where the CommandResult is posted."""
    session_id: Annotated[str, CiString(36)]
    """Session to stop."""


@model
class UnlockConnector(Model):
    """The command UNLOCK_CONNECTOR."""

    reference = "2.2.1 commands, UnlockConnector"

    response_url: Annotated[str, Url()]
    """Where the CommandResult is posted."""
    location_id: Annotated[str, CiString(36)]
    """Location of the connector."""
    evse_uid: Annotated[str, CiString(36)]
    """EVSE of the connector."""
    connector_id: Annotated[str, CiString(36)]
    """Connector to unlock."""


# --- rules of the text that no table shows ----------------------------------------------------------

not_negative(CommandResponse, "timeout")


@rule(StartSession, "evse_uid", "connector_id")
def connector_of_an_evse(command: StartSession) -> Findings:
    """evse_uid: "Required when connector_id is set"."""
    if command.connector_id is not None and command.evse_uid is None:
        yield "/evse_uid", "missing", "expected the EVSE of the connector"


class CommandsReceiver(Interface):
    """What a CPO, or a hub, offers so that an eMSP can command a charge point. (mod_commands, receiver)

    The answer says only whether the command is passed on; the outcome is posted to its ``response_url``.
    """

    module, role = ModuleID.COMMANDS, InterfaceRole.RECEIVER
    callers = frozenset({Role.EMSP})

    @post("CANCEL_RESERVATION")
    @abstractmethod
    async def cancel_reservation(self, ctx: Context, command: CancelReservation) -> CommandResponse:
        """Cancel a reservation."""

    @post("RESERVE_NOW")
    @abstractmethod
    async def reserve_now(self, ctx: Context, command: ReserveNow) -> CommandResponse:
        """Reserve a location, or one EVSE, for a token; a known reservation is replaced."""

    @post("START_SESSION")
    @abstractmethod
    async def start_session(self, ctx: Context, command: StartSession) -> CommandResponse:
        """Start a session for a token that its eMSP has authorized."""

    @post("STOP_SESSION")
    @abstractmethod
    async def stop_session(self, ctx: Context, command: StopSession) -> CommandResponse:
        """Stop a session."""

    @post("UNLOCK_CONNECTOR")
    @abstractmethod
    async def unlock_connector(self, ctx: Context, command: UnlockConnector) -> CommandResponse:
        """Unlock a connector for a driver who cannot unplug."""


class CommandsSender(Interface):
    """What an eMSP, or a hub, offers to learn what became of its commands. (mod_commands, sender)"""

    module, role = ModuleID.COMMANDS, InterfaceRole.SENDER
    callers = frozenset({Role.CPO})

    @post(AT_LINK)
    @abstractmethod
    async def post_result(self, ctx: Context, link: Link, result: CommandResult) -> None:
        """Take the outcome of the command whose ``response_url`` this is."""
