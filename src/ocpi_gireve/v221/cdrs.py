"""CDRs, OCPI 2.2.1 mod_cdrs: the data types, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field

from .._model import PERSONAL, CiString, Model, NonEmpty, String, model
from ..context import Context
from ..interface import AT_LINK, Interface, get, post
from ..pagination import Link
from ..types import OcpiEnum
from .locations import ConnectorFormat, ConnectorType, GeoLocation, PowerType
from .tariffs import Tariff
from .tokens import TokenType
from .types import Price
from .versions import InterfaceRole, ModuleID


class AuthMethod(OcpiEnum):
    """How the driver was authorized."""

    AUTH_REQUEST = "AUTH_REQUEST"
    COMMAND = "COMMAND"
    WHITELIST = "WHITELIST"


class CdrDimensionType(OcpiEnum):
    """What a volume measures."""

    CURRENT = "CURRENT"
    ENERGY = "ENERGY"
    ENERGY_EXPORT = "ENERGY_EXPORT"
    ENERGY_IMPORT = "ENERGY_IMPORT"
    MAX_CURRENT = "MAX_CURRENT"
    MIN_CURRENT = "MIN_CURRENT"
    MAX_POWER = "MAX_POWER"
    MIN_POWER = "MIN_POWER"
    PARKING_TIME = "PARKING_TIME"
    POWER = "POWER"
    RESERVATION_TIME = "RESERVATION_TIME"
    STATE_OF_CHARGE = "STATE_OF_CHARGE"
    TIME = "TIME"


@model
class CdrToken(Model):
    """The token of a session, as it was."""

    reference = "2.2.1 cdrs, CdrToken"

    country_code: Annotated[str, CiString(2)]
    """Country of the owning eMSP."""
    party_id: Annotated[str, CiString(3)]
    """Id of the owning eMSP."""
    uid: Annotated[str, CiString(36), PERSONAL]
    """Token id."""
    type: TokenType
    """Kind of token."""
    contract_id: Annotated[str, CiString(36), PERSONAL]
    """Driver contract id (eMA id advised)."""


@model
class CdrLocation(Model):
    """The Location, EVSE and Connector of a CDR, as they were."""

    reference = "2.2.1 cdrs, CdrLocation"

    id: Annotated[str, CiString(36)]
    """Location id."""
    name: Annotated[str, String(255)] | None = None
    """Display name."""
    address: Annotated[str, String(45)]
    """Street and house number."""
    city: Annotated[str, String(45)]
    """City or town."""
    postal_code: Annotated[str, String(10)] | None = None
    """Postal code; may be omitted only where the place has no postal code."""
    state: Annotated[str, String(20)] | None = None
    """State, when relevant."""
    country: Annotated[str, String(3)]
    """ISO 3166-1 alpha-3 country."""
    coordinates: GeoLocation
    """Position."""
    evse_uid: Annotated[str, CiString(36)]
    """Technical EVSE id; #NA for an unused reservation."""
    evse_id: Annotated[str, CiString(48)]
    """EMI3 EVSE id; #NA for an unused reservation."""
    connector_id: Annotated[str, CiString(36)]
    """Connector id; #NA for an unused reservation."""
    connector_standard: ConnectorType
    """Plug standard."""
    connector_format: ConnectorFormat
    """Socket or cable."""
    connector_power_type: PowerType
    """AC phases or DC."""


@model
class CdrDimension(Model):
    """A volume measured in a charging period: kWh, hours, A, W or %, by its type."""

    reference = "2.2.1 cdrs, CdrDimension"

    type: CdrDimensionType
    """Dimension measured."""
    volume: Decimal
    """Volume, in the unit of the dimension."""


@model
class ChargingPeriod(Model):
    """A part of a session in which nothing that matters for the price changed."""

    reference = "2.2.1 cdrs, ChargingPeriod"

    start_date_time: datetime
    """Start; ends at the next period."""
    dimensions: NonEmpty[CdrDimension]
    """Values of the period."""
    tariff_id: Annotated[str, CiString(36)] | None = None
    """Tariff relevant in the period."""


@model
class SignedValue(Model):
    """One signed meter value."""

    reference = "2.2.1 cdrs, SignedValue"

    nature: Annotated[str, CiString(32)]
    """Event of the value (open list: Start, End, Intermediate)."""
    plain_data: Annotated[str, String(5000)]
    """The data in clear."""
    signed_data: Annotated[str, String(5000)]
    """The signed data, Base64."""


@model
class SignedData(Model):
    """Signed meter values."""

    reference = "2.2.1 cdrs, SignedData"

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

    reference = "2.2.1 cdrs, CDR"

    country_code: Annotated[str, CiString(2)]
    """Country of the owning CPO."""
    party_id: Annotated[str, CiString(3)]
    """Id of the owning CPO."""
    id: Annotated[str, CiString(39)]
    """CDR id; at most 36 unless a credit CDR."""
    start_date_time: datetime
    """Start of session or reservation."""
    end_date_time: datetime
    """End of the session."""
    session_id: Annotated[str, CiString(36)] | None = None
    """Session this CDR is for; may be omitted only without the Sessions module, or for a mere reservation."""
    cdr_token: CdrToken
    """Token that started the session."""
    auth_method: AuthMethod
    """Last authentication method used."""
    authorization_reference: Annotated[str, CiString(36), PERSONAL] | None = None
    """The eMSP's authorization reference, repeated wherever the eMSP gave one, with or before the session."""
    cdr_location: CdrLocation
    """Where the session took place."""
    meter_id: Annotated[str, String(255)] | None = None
    """Meter id in the charge point."""
    currency: Annotated[str, String(3)]
    """ISO 4217 currency."""
    tariffs: list[Tariff] = field(factory=list[Tariff])
    """Tariffs that applied."""
    charging_periods: NonEmpty[ChargingPeriod]
    """Periods of the session."""
    signed_data: SignedData | None = None
    """Signed meter data."""
    total_cost: Price
    """Sum of all costs."""
    total_fixed_cost: Price | None = None
    """Fixed costs (parking and reservation apart)."""
    total_energy: Decimal
    """Energy, kWh."""
    total_energy_cost: Price | None = None
    """Cost of energy."""
    total_time: Decimal
    """Duration, charging or not, hours."""
    total_time_cost: Price | None = None
    """Cost of charging time."""
    total_parking_time: Decimal | None = None
    """Duration not charging, hours."""
    total_parking_cost: Price | None = None
    """Cost of parking."""
    total_reservation_cost: Price | None = None
    """Cost of reservation."""
    remark: Annotated[str, String(255)] | None = None
    """Free human-readable remark."""
    invoice_reference_id: Annotated[str, CiString(39)] | None = None
    """Invoice to come."""
    credit: bool | None = None
    """This is a credit CDR."""
    credit_reference_id: Annotated[str, CiString(39)] | None = None
    """Id of the CDR credited; required when credit is true."""
    home_charging_compensation: bool | None = None
    """Energy to be reimbursed to the driver."""
    last_updated: datetime
    """Last change."""


class CdrsReceiver(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push CDRs. (mod_cdrs, receiver interface)"""

    module, role = ModuleID.CDRS, InterfaceRole.RECEIVER

    @post("")
    @abstractmethod
    async def post_cdr(self, ctx: Context, cdr: CDR) -> Link:
        """Take a CDR and say where it can be read again; the answer carries it as the Location header."""

    @get(AT_LINK)
    @abstractmethod
    async def get_cdr(self, ctx: Context, link: Link) -> CDR:
        """Return the CDR that `post_cdr` gave this place."""
