"""Tokens, OCPI 2.2.1 mod_tokens: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Annotated

from attrs import field, frozen

from .._model import PERSONAL, CiString, Model, String, model
from .._rules import COUNTRY, LANGUAGE, PARTY, Findings, forms, needed_in_patch, rule
from ..context import Context
from ..interface import Interface, get, listing, patch, post, put
from ..pagination import Page, PageQuery
from ..patch import Patch
from ..types import OcpiEnum, Role
from .types import DisplayText, ProfileType
from .versions import InterfaceRole, ModuleID


class AllowedType(OcpiEnum):
    """Whether the driver may charge."""

    ALLOWED = "ALLOWED"
    BLOCKED = "BLOCKED"
    EXPIRED = "EXPIRED"
    NO_CREDIT = "NO_CREDIT"
    NOT_ALLOWED = "NOT_ALLOWED"


class TokenType(OcpiEnum):
    """Kinds of token."""

    AD_HOC_USER = "AD_HOC_USER"
    APP_USER = "APP_USER"
    OTHER = "OTHER"
    RFID = "RFID"


class WhitelistType(OcpiEnum):
    """Whether a CPO may decide on its own copy of the token."""

    ALWAYS = "ALWAYS"
    ALLOWED = "ALLOWED"
    ALLOWED_OFFLINE = "ALLOWED_OFFLINE"
    NEVER = "NEVER"


@model
class EnergyContract(Model):
    """The driver's own energy contract."""

    reference = "2.2.1 tokens, EnergyContract"

    supplier_name: Annotated[str, String(64)]
    """Energy supplier."""
    contract_id: Annotated[str, String(64), PERSONAL] | None = None
    """Contract id at the supplier."""


@model
class Token(Model):
    """What identifies a driver at a charger: a card, an app user."""

    reference = "2.2.1 tokens, Token"

    country_code: Annotated[str, CiString(2)]
    """Country of the owning eMSP."""
    party_id: Annotated[str, CiString(3)]
    """Id of the owning eMSP."""
    uid: Annotated[str, CiString(36), PERSONAL]
    """Token id as read by the CPO (RFID hidden id)."""
    type: TokenType
    """Kind of token."""
    contract_id: Annotated[str, CiString(36), PERSONAL]
    """Driver contract id (eMA id advised)."""
    visual_number: Annotated[str, String(64), PERSONAL] | None = None
    """Number printed on the card."""
    issuer: Annotated[str, String(64)]
    """Issuing company as printed."""
    group_id: Annotated[str, CiString(36), PERSONAL] | None = None
    """Group of tokens working as one (20 chars for OCPP 1.x)."""
    valid: bool
    """Token is valid."""
    whitelist: WhitelistType
    """Which whitelisting is allowed."""
    language: Annotated[str, String(2)] | None = None
    """Driver's language, ISO 639-1."""
    default_profile_type: ProfileType | None = None
    """Default smart charging profile."""
    energy_contract: EnergyContract | None = None
    """Driver's own energy contract."""
    last_updated: datetime
    """Last change."""


@model
class LocationReferences(Model):
    """A Location, and optionally some of its EVSEs."""

    reference = "2.2.1 tokens, LocationReferences"

    location_id: Annotated[str, CiString(36)]
    """Location id."""
    evse_uids: list[Annotated[str, CiString(36)]] = field(factory=list[str])
    """EVSE uids of that location."""


@model
class AuthorizationInfo(Model):
    """The answer to a real-time authorization."""

    reference = "2.2.1 tokens, AuthorizationInfo"

    allowed: AllowedType
    """Whether charging is allowed."""
    token: Token
    """The complete token."""
    location: LocationReferences | None = None
    """EVSEs the driver may use."""
    authorization_reference: Annotated[str, CiString(36), PERSONAL] | None = None
    """Reference to echo in Session and CDR."""
    info: DisplayText | None = None
    """Text for the driver."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Token, country_code=COUNTRY, party_id=PARTY, language=LANGUAGE)
# "Any request to the PATCH method SHALL contain the last_updated field."
needed_in_patch(Token, "last_updated")


@rule(AuthorizationInfo, "allowed", "location")
def location_where_allowed(info: AuthorizationInfo) -> Findings:
    """The location is returned "if the EV driver is allowed to charge at that location"."""
    if info.location is not None and info.allowed is not AllowedType.ALLOWED:
        yield "/location", "unexpected", "expected none, as the driver is not allowed to charge"


@frozen
class OwnTokenRef:
    """Names a Token of the party that is asked. Without a type it is an RFID token."""

    token_uid: str = field(repr=False)
    type: TokenType = TokenType.RFID


@frozen
class TokenRef:
    """Names a Token of a party. Without a type it is an RFID token."""

    country_code: str
    party_id: str
    token_uid: str = field(repr=False)
    type: TokenType = TokenType.RFID


class TokensReceiver(Interface):
    """What a CPO, or a hub, offers so that an eMSP can push tokens. (mod_tokens, receiver interface)

    There is no DELETE: a token ends with `valid` false.
    """

    module, role = ModuleID.TOKENS, InterfaceRole.RECEIVER
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


class TokensSender(Interface):
    """What an eMSP, or a hub, offers so that a CPO can authorize drivers. (mod_tokens, sender interface)"""

    module, role = ModuleID.TOKENS, InterfaceRole.SENDER
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

        Raise `UnknownToken` for an unknown token, `NotEnoughInformation` where a location is needed.
        """
