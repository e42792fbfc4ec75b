"""Commands, OCPI 2.1.1 mod_commands: the data types, and no behaviour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from attrs import field

from .._model import GIREVE_EXTENSION, PERSONAL, AsciiString, Model, Url, model
from ..types import OcpiEnum
from .tokens import Token


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
