"""Tokens, OCPI 2.1.1 mod_tokens: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Annotated

from attrs import field, frozen

from .._model import GIREVE_EXTENSION, PERSONAL, AsciiString, Model, model
from .._rules import LANGUAGE, Findings, forms, rule
from ..context import Context
from ..interface import Interface, also, get, listing, patch, post, put
from ..pagination import Page, PageQuery
from ..patch import Patch
from ..types import OcpiEnum, Role
from .types import DisplayText
from .versions import InterfaceRole, ModuleID


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


@frozen
class TokenRef:
    """Names a Token of a party."""

    country_code: str
    party_id: str
    token_uid: str = field(repr=False)


@frozen
class OwnTokenRef:
    """Names a Token of the party that is asked. Without a type it is an RFID token."""

    token_uid: str = field(repr=False)
    # ``type`` in the text's URL and ``token_type`` in its table; ``tokenType`` in an example of IOP's guide.
    type: TokenType = field(default=TokenType.RFID, metadata=also("token_type", "tokenType"))


class TokensCpo(Interface):
    """What a CPO, or a hub, offers so that an eMSP can push tokens. (mod_tokens, CPO interface)

    There is no DELETE: a token ends with `valid` false.
    """

    module, role = ModuleID.TOKENS, InterfaceRole.CPO
    callers = frozenset({Role.EMSP})

    @get("{country_code}/{party_id}/{token_uid}")
    @abstractmethod
    async def get_token(self, ctx: Context, ref: TokenRef) -> Token:
        """Return the token as this party stores it."""

    @put("{country_code}/{party_id}/{token_uid}")
    @abstractmethod
    async def put_token(self, ctx: Context, ref: TokenRef, token: Token) -> None:
        """Create the token, or replace it."""

    @patch("{country_code}/{party_id}/{token_uid}")
    @abstractmethod
    async def patch_token(self, ctx: Context, ref: TokenRef, changes: Patch[Token]) -> None:
        """Change some fields of the token."""


class TokensEmsp(Interface):
    """What an eMSP, or a hub, offers so that a CPO can authorize drivers. (mod_tokens, eMSP interface)"""

    module, role = ModuleID.TOKENS, InterfaceRole.EMSP
    callers = frozenset({Role.CPO})

    @listing()
    @abstractmethod
    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[Token]:
        """Return one page of the tokens, oldest first."""

    @post("{token_uid}/authorize")
    @abstractmethod
    async def authorize(
        self, ctx: Context, ref: OwnTokenRef, location: LocationReferences | None = None
    ) -> AuthorizationInfo:
        """Decide in real time whether a driver may charge, at a location where one is named.

        Raise `NotEnoughInformation` where a location is needed.
        """


class GireveTokens(Interface):
    """What IOP adds to the tokens of an eMSP: one of them, by its uid. (2.1.1 guide, PULL Tokens by uid)"""

    module, role = ModuleID.TOKENS, InterfaceRole.EMSP
    callers = frozenset({Role.CPO})

    @get("{token_uid}")
    @abstractmethod
    async def get_token(self, ctx: Context, ref: OwnTokenRef) -> Token:
        """Return one token of an eMSP that the CPO has a contract with; OCPI 2000 where there is none."""
