"""CDRs, OCPI 2.1.1 mod_cdrs: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field

from .._model import (
    GIREVE_EXTENSION,
    PERSONAL,
    AsciiString,
    CiString,
    Model,
    NonEmpty,
    String,
    model,
)
from .._rules import CURRENCY, Findings, charging_periods, forms, in_order, not_negative, rule
from ..context import Context
from ..interface import AT_LINK, Interface, get, listing, post
from ..pagination import Link, Page, PageQuery
from ..types import OcpiEnum, Role
from .locations import Location, relevant_evse
from .tariffs import Tariff
from .versions import InterfaceRole, ModuleID


class AuthMethod(OcpiEnum):
    """How the driver was authorized."""

    AUTH_REQUEST = "AUTH_REQUEST"
    WHITELIST = "WHITELIST"


class CdrDimensionType(OcpiEnum):
    """What a volume measures."""

    ENERGY = "ENERGY"
    FLAT = "FLAT"
    MAX_CURRENT = "MAX_CURRENT"
    MIN_CURRENT = "MIN_CURRENT"
    PARKING_TIME = "PARKING_TIME"
    TIME = "TIME"


@model
class CdrDimension(Model):
    """A volume measured in a charging period: kWh, hours, A, W or %, by its type."""

    reference = "2.1.1 cdrs, CdrDimension"

    type: CdrDimensionType
    """Dimension measured."""
    volume: Decimal
    """Volume, in the unit of the dimension."""


@model
class ChargingPeriod(Model):
    """A part of a session in which nothing that matters for the price changed."""

    reference = "2.1.1 cdrs, ChargingPeriod"

    start_date_time: datetime
    """Start; ends at the next period."""
    dimensions: NonEmpty[CdrDimension]
    """Values of the period."""


@model
class SignedValue(Model):
    """One signed meter value."""

    reference = "2.1.1 cdrs, SignedValue"

    nature: Annotated[str, CiString(32)]
    """Event of the value (open list: Start, End, Intermediate)."""
    plain_data: Annotated[str, String(5000)]
    """The data in clear."""
    signed_data: Annotated[str, String(5000)]
    """The signed data, Base64."""


@model
class SignedData(Model):
    """Signed meter values."""

    reference = "2.1.1 cdrs, SignedData"

    encoding_method: Annotated[str, CiString(36)]
    """Name of the encoding (open list, e.g. OCMF)."""
    encoding_method_version: int | None = None
    """Version of the encoding."""
    public_key: Annotated[str, String(512)] | None = None
    """Public key, Base64."""
    signed_values: NonEmpty[SignedValue]
    """Signed values."""
    url: Annotated[str, String(512)] | None = None
    """Page where the driver can check the data."""


@model
class CDR(Model):
    """The charge detail record: the only object that is relevant for billing, immutable once sent."""

    reference = "2.1.1 cdrs, CDR"

    id: Annotated[str, CiString(36)]
    """CDR id in the CPO platform."""
    start_date_time: datetime
    """Start of the charging session."""
    stop_date_time: datetime
    """End of the charging session."""
    auth_id: Annotated[str, AsciiString(36), PERSONAL]
    """Auth_id of the token used."""
    auth_method: AuthMethod
    """How the driver was authenticated."""
    location: Location
    """Location, only the relevant EVSE and connector."""
    meter_id: Annotated[str, AsciiString(255)] | None = None
    """Meter id in the charge point."""
    currency: Annotated[str, AsciiString(3)]
    """ISO 4217 currency."""
    tariffs: list[Tariff] = field(factory=list[Tariff])
    """Tariffs that applied."""
    charging_periods: NonEmpty[ChargingPeriod]
    """Periods of the session."""
    total_cost: Decimal
    """Cost excluding VAT."""
    total_energy: Decimal
    """Energy, kWh."""
    total_time: Decimal
    """Duration, charging or not, hours."""
    total_parking_time: Decimal | None = None
    """Duration not charging, hours."""
    remark: Annotated[str, AsciiString(255)] | None = None
    """Free human-readable remark."""
    last_updated: datetime
    """Last change."""
    authorization_id: Annotated[str, AsciiString(), PERSONAL] | None = field(
        default=None, metadata=GIREVE_EXTENSION
    )
    """Id of the authorization given by IOP, to be repeated in Session and CDR. (GIREVE)"""
    signed_data: SignedData | None = field(default=None, metadata=GIREVE_EXTENSION)
    """Signed meter values, as in OCPI 2.2. (GIREVE)"""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(CDR, currency=CURRENCY)
in_order(CDR, "start_date_time", "stop_date_time", equal=True)
in_order(CDR, "total_parking_time", "total_time", equal=True)
not_negative(CDR, "total_energy", "total_time", "total_parking_time")
not_negative(CdrDimension, "volume")


@rule(CDR, "charging_periods", "start_date_time", "stop_date_time")
def periods_of_the_session(cdr: CDR) -> Findings:
    """The text: "This period ends when a next period starts, the last period ends when the session ends"."""
    starts = [one.start_date_time for one in cdr.charging_periods]
    yield from charging_periods(starts, cdr.start_date_time, cdr.stop_date_time)


@rule(CDR, "location")
def where_it_took_place(cdr: CDR) -> Findings:
    """The location is there "including only the relevant EVSE and Connector"."""
    yield from relevant_evse(cdr.location)


class CdrsCpo(Interface):
    """What a CPO, or a hub, offers so that an eMSP can pull CDRs. (mod_cdrs, CPO interface)"""

    module, role = ModuleID.CDRS, InterfaceRole.CPO
    callers = frozenset({Role.EMSP})

    @listing()
    @abstractmethod
    async def list_cdrs(self, ctx: Context, query: PageQuery) -> Page[CDR]:
        """Return one page of the CDRs that concern the eMSP that asks, oldest first."""


class CdrsEmsp(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push CDRs. (mod_cdrs, eMSP interface)"""

    module, role = ModuleID.CDRS, InterfaceRole.EMSP
    callers = frozenset({Role.CPO})

    @get(AT_LINK)
    @abstractmethod
    async def get_cdr(self, ctx: Context, link: Link) -> CDR:
        """Return the CDR that `post_cdr` gave this place."""

    @post("")
    @abstractmethod
    async def post_cdr(self, ctx: Context, cdr: CDR) -> Link:
        """Take a CDR and say where it can be read again; the answer carries it as the Location header."""
