"""Tokens, OCPI 2.1.1 mod_tokens: the data types, and no behaviour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from attrs import field

from .._model import GIREVE_EXTENSION, PERSONAL, AsciiString, Model, model
from .._rules import LANGUAGE, Findings, forms, rule
from ..types import OcpiEnum
from .types import DisplayText


class Allowed(OcpiEnum):
    """Whether the driver may charge."""

    ALLOWED = "ALLOWED"
    BLOCKED = "BLOCKED"
    EXPIRED = "EXPIRED"
    NO_CREDIT = "NO_CREDIT"
    NOT_ALLOWED = "NOT_ALLOWED"


class TokenType(OcpiEnum):
    """Kinds of token."""

    OTHER = "OTHER"
    RFID = "RFID"


class WhitelistType(OcpiEnum):
    """Whether a CPO may decide on its own copy of the token."""

    ALWAYS = "ALWAYS"
    ALLOWED = "ALLOWED"
    ALLOWED_OFFLINE = "ALLOWED_OFFLINE"
    NEVER = "NEVER"


@model
class LocationReferences(Model):
    """A Location, and optionally some of its EVSEs."""

    reference = "2.1.1 tokens, LocationReferences"

    location_id: Annotated[str, AsciiString(39)]
    """Location id."""
    evse_uids: list[Annotated[str, AsciiString(39)]] = field(factory=list[str])
    """EVSE uids of that location."""
    connector_ids: list[Annotated[str, AsciiString(36)]] = field(factory=list[str])
    """Connector ids of those EVSEs."""


@model
class AuthorizationInfo(Model):
    """The answer to a real-time authorization."""

    reference = "2.1.1 tokens, AuthorizationInfo"

    allowed: Allowed
    """Whether charging is allowed."""
    location: LocationReferences | None = None
    """EVSEs/connectors the driver may use."""
    info: DisplayText | None = None
    """Text for the driver."""
    authorization_id: Annotated[str, AsciiString(), PERSONAL] | None = field(
        default=None, metadata=GIREVE_EXTENSION
    )
    """Id of the authorization given by IOP, to be repeated in Session and CDR. (GIREVE)"""


@model
class Token(Model):
    """What identifies a driver at a charger: a card, an app user."""

    reference = "2.1.1 tokens, Token"

    uid: Annotated[str, AsciiString(36), PERSONAL]
    """Token id as read by the CPO (RFID hidden id)."""
    type: TokenType
    """Kind of token."""
    auth_id: Annotated[str, AsciiString(36), PERSONAL]
    """Driver contract id (eMA id advised)."""
    visual_number: Annotated[str, AsciiString(64), PERSONAL] | None = None
    """Number printed on the card."""
    issuer: Annotated[str, AsciiString(64)]
    """Issuing company as printed."""
    valid: bool
    """Token is valid."""
    whitelist: WhitelistType
    """Which whitelisting is allowed."""
    language: Annotated[str, AsciiString(2)] | None = None
    """Driver's language, ISO 639-1."""
    last_updated: datetime
    """Last change."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Token, language=LANGUAGE)


@rule(AuthorizationInfo, "allowed", "location")
def location_where_allowed(info: AuthorizationInfo) -> Findings:
    """The location is returned "if the EV driver is allowed to charge at that location"."""
    if info.location is not None and info.allowed is not Allowed.ALLOWED:
        yield "/location", "unexpected", "expected none, as the driver is not allowed to charge"


@rule(LocationReferences, "evse_uids", "connector_ids")
def connectors_of_evses(place: LocationReferences) -> Findings:
    """The text: "Identifies the connectors within the given EVSEs"."""
    if place.connector_ids and not place.evse_uids:
        yield "/evse_uids", "missing", "expected the EVSEs of the connectors"
