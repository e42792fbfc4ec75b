"""CDRs, OCPI 2.2.1 mod_cdrs: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from attrs import field

from .._model import PERSONAL, CiString, Model, NonEmpty, String, model
from .._rules import (
    COUNTRY,
    COUNTRY_3,
    CURRENCY,
    EVSE_ID,
    PARTY,
    Findings,
    charging_periods,
    forms,
    in_order,
    not_negative,
    rule,
)
from ..context import Context
from ..interface import AT_LINK, Interface, get, listing, post
from ..pagination import Link, Page, PageQuery
from ..types import OcpiEnum, Role, ci_equal, ci_key
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


# --- rules of the text that no table shows ----------------------------------------------------------

forms(CDR, country_code=COUNTRY, party_id=PARTY, currency=CURRENCY)
forms(CdrToken, country_code=COUNTRY, party_id=PARTY)
forms(CdrLocation, country=COUNTRY_3, evse_id=EVSE_ID)
in_order(CDR, "total_parking_time", "total_time", equal=True)
not_negative(CDR, "total_time", "total_parking_time")


SESSION_ONLY = frozenset(
    {
        CdrDimensionType.CURRENT,
        CdrDimensionType.ENERGY_EXPORT,
        CdrDimensionType.ENERGY_IMPORT,
        CdrDimensionType.POWER,
        CdrDimensionType.STATE_OF_CHARGE,
    }
)
"""What is "not useful for CDRs, and SHALL therefor only be used in Sessions"."""

NEVER_NEGATIVE = frozenset(
    {
        CdrDimensionType.ENERGY_EXPORT,
        CdrDimensionType.ENERGY_IMPORT,
        CdrDimensionType.PARKING_TIME,
        CdrDimensionType.RESERVATION_TIME,
        CdrDimensionType.TIME,
    }
)
"""Of the others the text says what a negative volume means, or nothing."""

MOMENT_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""What a CDR has where parties agreed to accept one without a start or an end."""


def fed_in(periods: Sequence[ChargingPeriod]) -> bool:
    """Tell whether a vehicle gave energy to the grid, so that the energy of a session may be negative."""
    return any(
        dimension.type is CdrDimensionType.ENERGY and dimension.volume < 0
        for period in periods
        for dimension in period.dimensions
    )


@rule(CdrDimension, "type", "volume")
def volume_of_its_type(dimension: CdrDimension) -> Findings:
    """Times and one-way energies are amounts; a state of charge is a percentage, "0 to 100"."""
    if dimension.type in NEVER_NEGATIVE and dimension.volume < 0:
        yield "/volume", "negative", "expected no negative number"
    if dimension.type is CdrDimensionType.STATE_OF_CHARGE and not 0 <= dimension.volume <= 100:
        yield "/volume", "range", "expected a number from 0 to 100"


@rule(CDR, "start_date_time", "end_date_time", "charging_periods")
def session_in_order(cdr: CDR) -> Findings:
    """The session ends after it starts, with its periods between, as far as its ends are known."""
    begin, end = cdr.start_date_time, cdr.end_date_time
    if MOMENT_UNKNOWN in (begin, end):
        return
    if end < begin:
        yield "/end_date_time", "order", "expected no less than start_date_time"
    yield from charging_periods([one.start_date_time for one in cdr.charging_periods], begin, end)


@rule(CDR, "charging_periods")
def dimensions_of_a_cdr(cdr: CDR) -> Findings:
    """Some dimensions are for Sessions only. (CdrDimensionType)"""
    for index, period in enumerate(cdr.charging_periods):
        for place, dimension in enumerate(period.dimensions):
            if dimension.type in SESSION_ONLY:
                pointer = f"/charging_periods/{index}/dimensions/{place}/type"
                yield pointer, "session-only", "expected a dimension that a CDR may have"


@rule(CDR, "total_energy", "charging_periods")
def energy_of_a_cdr(cdr: CDR) -> Findings:
    """What was charged is negative only where "more energy was feed into the grid"."""
    if cdr.total_energy < 0 and not fed_in(cdr.charging_periods):
        yield "/total_energy", "negative", "expected no negative number"


@rule(CDR, "tariffs", "charging_periods")
def tariffs_of_the_periods(cdr: CDR) -> Findings:
    """The relevant tariffs of a CDR are those that its periods name."""
    known = {ci_key(tariff.id) for tariff in cdr.tariffs}
    for index, period in enumerate(cdr.charging_periods):
        if known and period.tariff_id is not None and ci_key(period.tariff_id) not in known:
            yield f"/charging_periods/{index}/tariff_id", "reference", "expected the id of one of the tariffs"


@rule(CDR, "credit", "credit_reference_id")
def credit_names_what_it_credits(cdr: CDR) -> Findings:
    """A credit CDR needs `credit_reference_id`; others leave both out."""
    if cdr.credit and cdr.credit_reference_id is None:
        yield "/credit_reference_id", "missing", "expected the id of the CDR that is credited"
    if not cdr.credit and cdr.credit_reference_id is not None:
        yield "/credit_reference_id", "unexpected", "expected none, as this is no credit CDR"


@rule(CDR, "id", "credit", "credit_reference_id")
def credit_has_its_own_id(cdr: CDR) -> Findings:
    """A credit CDR "SHALL have a different CDR.id"; it alone may have more than 36 characters."""
    if cdr.credit and cdr.credit_reference_id is not None and ci_equal(cdr.id, cdr.credit_reference_id):
        yield "/id", "duplicate", "expected another id than the CDR that is credited has"
    if not cdr.credit and 36 < len(cdr.id) <= 39:
        yield "/id", "max-length", f"expected at most 36 characters in no credit CDR, found {len(cdr.id)}"


@rule(CDR, "credit", "total_cost")
def credit_gives_back(cdr: CDR) -> Findings:
    """The values of `total_cost` "SHALL contain the negative amounts of the original CDR"."""
    if cdr.credit and cdr.total_cost.excl_vat > 0:
        yield "/total_cost/excl_vat", "range", "expected what is given back, so no positive number"
    if cdr.credit and cdr.total_cost.incl_vat is not None and cdr.total_cost.incl_vat > 0:
        yield "/total_cost/incl_vat", "range", "expected what is given back, so no positive number"


class CdrsSender(Interface):
    """What a CPO, or a hub, offers so that an eMSP can pull CDRs. (mod_cdrs, sender interface)"""

    module, role = ModuleID.CDRS, InterfaceRole.SENDER
    callers = frozenset({Role.EMSP})

    @listing()
    @abstractmethod
    async def list_cdrs(self, ctx: Context, query: PageQuery) -> Page[CDR]:
        """Return one page of the CDRs that concern the party that asks, oldest first."""


class CdrsReceiver(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push CDRs. (mod_cdrs, receiver interface)"""

    module, role = ModuleID.CDRS, InterfaceRole.RECEIVER
    callers = frozenset({Role.CPO})

    @post("")
    @abstractmethod
    async def post_cdr(self, ctx: Context, cdr: CDR) -> Link:
        """Take a CDR and say where it can be read again; the answer carries it as the Location header."""

    @get(AT_LINK)
    @abstractmethod
    async def get_cdr(self, ctx: Context, link: Link) -> CDR:
        """Return the CDR that `post_cdr` gave this place."""
