"""Commands, OCPI 2.1.1 mod_commands: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Annotated

from attrs import field

from .._model import GIREVE_EXTENSION, PERSONAL, AsciiString, Model, Url, model
from ..context import Context
from ..interface import AT_LINK, Interface, post
from ..pagination import Link
from ..types import OcpiEnum, Role
from .tokens import Token
from .versions import InterfaceRole, ModuleID


class CommandResponseType(OcpiEnum):
    """The CPO's immediate answers to a command."""

    NOT_SUPPORTED = "NOT_SUPPORTED"
    REJECTED = "REJECTED"
    ACCEPTED = "ACCEPTED"
    TIMEOUT = "TIMEOUT"
    UNKNOWN_SESSION = "UNKNOWN_SESSION"


class CommandType(OcpiEnum):
    """The commands."""

    RESERVE_NOW = "RESERVE_NOW"
    START_SESSION = "START_SESSION"
    STOP_SESSION = "STOP_SESSION"
    UNLOCK_CONNECTOR = "UNLOCK_CONNECTOR"


@model
class CommandResponse(Model):
    """The CPO's answer to a command, and also the body of the asynchronous result."""

    reference = "2.1.1 commands, CommandResponse"

    result: CommandResponseType
    """Outcome of the command request."""


@model
class ReserveNow(Model):
    """The command RESERVE_NOW."""

    reference = "2.1.1 commands, ReserveNow"

    response_url: Annotated[str, Url()]
    """Where the asynchronous result is posted."""
    token: Token
    """Token to reserve for."""
    expiry_date: datetime
    """End of the reservation."""
    reservation_id: int
    """Reservation number; same number replaces."""
    location_id: Annotated[str, AsciiString(39)]
    """Location to reserve at."""
    evse_uid: Annotated[str, AsciiString(39)] | None = None
    """Specific EVSE."""


@model
class StartSession(Model):
    """The command START_SESSION."""

    reference = "2.1.1 commands, StartSession"

    response_url: Annotated[str, Url()]
    """Where the asynchronous result is posted."""
    token: Token
    """Token to start with."""
    location_id: Annotated[str, AsciiString(39)]
    """Location to start at."""
    evse_uid: Annotated[str, AsciiString(39)] | None = None
    """Specific EVSE."""
    authorization_id: Annotated[str, AsciiString(), PERSONAL] | None = field(
        default=None, metadata=GIREVE_EXTENSION
    )
    """Id of the authorization given by IOP, to be repeated in Session and CDR. (GIREVE)"""


@model
class StopSession(Model):
    """The command STOP_SESSION."""

    reference = "2.1.1 commands, StopSession"

    response_url: Annotated[str, Url()]
    """Where the asynchronous result is posted."""
    session_id: Annotated[str, AsciiString(36)]
    """Session to stop."""


@model
class UnlockConnector(Model):
    """The command UNLOCK_CONNECTOR."""

    reference = "2.1.1 commands, UnlockConnector"

    response_url: Annotated[str, Url()]
    """Where the asynchronous result is posted."""
    location_id: Annotated[str, AsciiString(39)]
    """Location of the connector."""
    evse_uid: Annotated[str, AsciiString(39)]
    """EVSE of the connector."""
    connector_id: Annotated[str, AsciiString(36)]
    """Connector to unlock."""


class CommandsCpo(Interface):
    """What a CPO, or a hub, offers so that an eMSP can command a charge point. (mod_commands, CPO interface)

    The answer says only whether the command is passed on; the outcome is posted to its ``response_url``.
    """

    module, role = ModuleID.COMMANDS, InterfaceRole.CPO
    callers = frozenset({Role.EMSP})

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


class CommandsEmsp(Interface):
    """What an eMSP, or a hub, offers to learn what became of its commands. (mod_commands, eMSP interface)"""

    module, role = ModuleID.COMMANDS, InterfaceRole.EMSP
    callers = frozenset({Role.CPO})

    @post(AT_LINK)
    @abstractmethod
    async def post_result(self, ctx: Context, link: Link, result: CommandResponse) -> None:
        """Take the outcome of the command whose ``response_url`` this is."""
