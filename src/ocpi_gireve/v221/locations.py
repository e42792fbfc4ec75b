"""Locations, OCPI 2.2.1 mod_locations: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field, frozen

from .._model import (
    GIREVE_EXTENSION,
    PERSONAL,
    CiString,
    Default,
    Digits,
    Model,
    NonEmpty,
    String,
    Url,
    gireve_values,
    model,
)
from .._rules import (
    COUNTRY,
    COUNTRY_3,
    EVSE_ID,
    PARTY,
    TIME_ZONE,
    Findings,
    degrees,
    energy_shares,
    forms,
    green_energy,
    in_order,
    needed_in_patch,
    not_negative,
    not_older,
    overlapping,
    rule,
    unique,
    within,
)
from ..context import Context
from ..interface import Interface, get, listing, patch, put
from ..pagination import Page, PageQuery
from ..patch import Patch
from ..types import OcpiEnum, Role
from .tokens import TokenType
from .types import DisplayText
from .versions import InterfaceRole, ModuleID

_LATITUDE = r"-?[0-9]{1,2}\.[0-9]{5,7}"
_LONGITUDE = r"-?[0-9]{1,3}\.[0-9]{5,7}"
_TIME_OF_DAY = r"([0-1][0-9]|2[0-3]):[0-5][0-9]"


@gireve_values("ISO_15118_2_PLUG_AND_CHARGE", "ISO_15118_20_PLUG_AND_CHARGE")
class Capability(OcpiEnum):
    """What an EVSE can do."""

    CHARGING_PROFILE_CAPABLE = "CHARGING_PROFILE_CAPABLE"
    CHARGING_PREFERENCES_CAPABLE = "CHARGING_PREFERENCES_CAPABLE"
    CHIP_CARD_SUPPORT = "CHIP_CARD_SUPPORT"
    CONTACTLESS_CARD_SUPPORT = "CONTACTLESS_CARD_SUPPORT"
    CREDIT_CARD_PAYABLE = "CREDIT_CARD_PAYABLE"
    DEBIT_CARD_PAYABLE = "DEBIT_CARD_PAYABLE"
    PED_TERMINAL = "PED_TERMINAL"
    REMOTE_START_STOP_CAPABLE = "REMOTE_START_STOP_CAPABLE"
    RESERVABLE = "RESERVABLE"
    RFID_READER = "RFID_READER"
    START_SESSION_CONNECTOR_REQUIRED = "START_SESSION_CONNECTOR_REQUIRED"
    TOKEN_GROUP_CAPABLE = "TOKEN_GROUP_CAPABLE"  # noqa: S105 - a capability, no password
    UNLOCK_CAPABLE = "UNLOCK_CAPABLE"
    ISO_15118_2_PLUG_AND_CHARGE = "ISO_15118_2_PLUG_AND_CHARGE"
    ISO_15118_20_PLUG_AND_CHARGE = "ISO_15118_20_PLUG_AND_CHARGE"


class ConnectorFormat(OcpiEnum):
    """Whether the driver brings the cable."""

    SOCKET = "SOCKET"
    CABLE = "CABLE"


class ConnectorType(OcpiEnum):
    """The plug standard."""

    CHADEMO = "CHADEMO"
    CHAOJI = "CHAOJI"
    DOMESTIC_A = "DOMESTIC_A"
    DOMESTIC_B = "DOMESTIC_B"
    DOMESTIC_C = "DOMESTIC_C"
    DOMESTIC_D = "DOMESTIC_D"
    DOMESTIC_E = "DOMESTIC_E"
    DOMESTIC_F = "DOMESTIC_F"
    DOMESTIC_G = "DOMESTIC_G"
    DOMESTIC_H = "DOMESTIC_H"
    DOMESTIC_I = "DOMESTIC_I"
    DOMESTIC_J = "DOMESTIC_J"
    DOMESTIC_K = "DOMESTIC_K"
    DOMESTIC_L = "DOMESTIC_L"
    DOMESTIC_M = "DOMESTIC_M"
    DOMESTIC_N = "DOMESTIC_N"
    DOMESTIC_O = "DOMESTIC_O"
    GBT_AC = "GBT_AC"
    GBT_DC = "GBT_DC"
    IEC_60309_2_single_16 = "IEC_60309_2_single_16"
    IEC_60309_2_three_16 = "IEC_60309_2_three_16"
    IEC_60309_2_three_32 = "IEC_60309_2_three_32"
    IEC_60309_2_three_64 = "IEC_60309_2_three_64"
    IEC_62196_T1 = "IEC_62196_T1"
    IEC_62196_T1_COMBO = "IEC_62196_T1_COMBO"
    IEC_62196_T2 = "IEC_62196_T2"
    IEC_62196_T2_COMBO = "IEC_62196_T2_COMBO"
    IEC_62196_T3A = "IEC_62196_T3A"
    IEC_62196_T3C = "IEC_62196_T3C"
    NEMA_5_20 = "NEMA_5_20"
    NEMA_6_30 = "NEMA_6_30"
    NEMA_6_50 = "NEMA_6_50"
    NEMA_10_30 = "NEMA_10_30"
    NEMA_10_50 = "NEMA_10_50"
    NEMA_14_30 = "NEMA_14_30"
    NEMA_14_50 = "NEMA_14_50"
    PANTOGRAPH_BOTTOM_UP = "PANTOGRAPH_BOTTOM_UP"
    PANTOGRAPH_TOP_DOWN = "PANTOGRAPH_TOP_DOWN"
    TESLA_R = "TESLA_R"
    TESLA_S = "TESLA_S"


class EnergySourceCategory(OcpiEnum):
    """Kinds of energy source."""

    NUCLEAR = "NUCLEAR"
    GENERAL_FOSSIL = "GENERAL_FOSSIL"
    COAL = "COAL"
    GAS = "GAS"
    GENERAL_GREEN = "GENERAL_GREEN"
    SOLAR = "SOLAR"
    WIND = "WIND"
    WATER = "WATER"


class EnvironmentalImpactCategory(OcpiEnum):
    """Kinds of impact on the environment."""

    NUCLEAR_WASTE = "NUCLEAR_WASTE"
    CARBON_DIOXIDE = "CARBON_DIOXIDE"


class Facility(OcpiEnum):
    """What a Location belongs to, or lies close to."""

    HOTEL = "HOTEL"
    RESTAURANT = "RESTAURANT"
    CAFE = "CAFE"
    MALL = "MALL"
    SUPERMARKET = "SUPERMARKET"
    SPORT = "SPORT"
    RECREATION_AREA = "RECREATION_AREA"
    NATURE = "NATURE"
    MUSEUM = "MUSEUM"
    BIKE_SHARING = "BIKE_SHARING"
    BUS_STOP = "BUS_STOP"
    TAXI_STAND = "TAXI_STAND"
    TRAM_STOP = "TRAM_STOP"
    METRO_STATION = "METRO_STATION"
    TRAIN_STATION = "TRAIN_STATION"
    AIRPORT = "AIRPORT"
    PARKING_LOT = "PARKING_LOT"
    CARPOOL_PARKING = "CARPOOL_PARKING"
    FUEL_STATION = "FUEL_STATION"
    WIFI = "WIFI"


class ImageCategory(OcpiEnum):
    """What a picture shows."""

    CHARGER = "CHARGER"
    ENTRANCE = "ENTRANCE"
    LOCATION = "LOCATION"
    NETWORK = "NETWORK"
    OPERATOR = "OPERATOR"
    OTHER = "OTHER"
    OWNER = "OWNER"


class ParkingRestriction(OcpiEnum):
    """Who may park at an EVSE."""

    EV_ONLY = "EV_ONLY"
    PLUGGED = "PLUGGED"
    DISABLED = "DISABLED"
    CUSTOMERS = "CUSTOMERS"
    MOTORCYCLES = "MOTORCYCLES"


class ParkingType(OcpiEnum):
    """Where a Location lies."""

    ALONG_MOTORWAY = "ALONG_MOTORWAY"
    PARKING_GARAGE = "PARKING_GARAGE"
    PARKING_LOT = "PARKING_LOT"
    ON_DRIVEWAY = "ON_DRIVEWAY"
    ON_STREET = "ON_STREET"
    UNDERGROUND_GARAGE = "UNDERGROUND_GARAGE"


class PowerType(OcpiEnum):
    """Alternating current by phases, or direct current."""

    AC_1_PHASE = "AC_1_PHASE"
    AC_2_PHASE = "AC_2_PHASE"
    AC_2_PHASE_SPLIT = "AC_2_PHASE_SPLIT"
    AC_3_PHASE = "AC_3_PHASE"
    DC = "DC"


class Status(OcpiEnum):
    """The status of an EVSE."""

    AVAILABLE = "AVAILABLE"
    BLOCKED = "BLOCKED"
    CHARGING = "CHARGING"
    INOPERATIVE = "INOPERATIVE"
    OUTOFORDER = "OUTOFORDER"
    PLANNED = "PLANNED"
    REMOVED = "REMOVED"
    RESERVED = "RESERVED"
    UNKNOWN = "UNKNOWN"


@model
class PublishTokenType(Model):
    """The tokens that may see an unpublished Location."""

    reference = "2.2.1 locations, PublishTokenType"

    uid: Annotated[str, CiString(36), PERSONAL] | None = None
    """Token id."""
    type: TokenType | None = None
    """Kind of token; required when uid is set."""
    visual_number: Annotated[str, String(64), PERSONAL] | None = None
    """Number printed on the card."""
    issuer: Annotated[str, String(64)] | None = None
    """Issuing company as printed; required when visual_number is set."""
    group_id: Annotated[str, CiString(36), PERSONAL] | None = None
    """Group of tokens."""


@model
class GeoLocation(Model):
    """A position, WGS 84, as decimal degrees in text."""

    reference = "2.2.1 locations, GeoLocation"

    latitude: Annotated[str, String(10, regex=_LATITUDE)]
    """Decimal degrees WGS 84."""
    longitude: Annotated[str, String(11, regex=_LONGITUDE)]
    """Decimal degrees WGS 84."""


@model
class AdditionalGeoLocation(Model):
    """A further point of a Location, such as its entrance."""

    reference = "2.2.1 locations, AdditionalGeoLocation"

    latitude: Annotated[str, String(10, regex=_LATITUDE)]
    """Decimal degrees WGS 84."""
    longitude: Annotated[str, String(11, regex=_LONGITUDE)]
    """Decimal degrees WGS 84."""
    name: DisplayText | None = None
    """Name of the point."""


@model
class StatusSchedule(Model):
    """A planned status of an EVSE."""

    reference = "2.2.1 locations, StatusSchedule"

    period_begin: datetime
    """Start of the scheduled status."""
    period_end: datetime | None = None
    """End, when known."""
    status: Status
    """Status in that period."""


@model
class Connector(Model):
    """The socket or cable of an EVSE."""

    reference = "2.2.1 locations, Connector"

    id: Annotated[str, CiString(36)]
    """Connector id, unique within its EVSE only."""
    standard: ConnectorType
    """Plug standard."""
    format: ConnectorFormat
    """Socket or cable."""
    power_type: PowerType
    """AC phases or DC."""
    max_voltage: int
    """Maximum volts (line to neutral for AC_3_PHASE)."""
    max_amperage: int
    """Maximum amperes."""
    max_electric_power: int | None = None
    """Maximum watts, when below volts x amperes."""
    tariff_ids: list[Annotated[str, CiString(36)]] = field(factory=list[str])
    """Currently valid tariffs, one active per type."""
    terms_and_conditions: Annotated[str, Url()] | None = None
    """Operator's terms."""
    last_updated: datetime
    """Last change of the connector."""
    gireve_id: Annotated[str, String()] | None = field(default=None, metadata=GIREVE_EXTENSION)
    """IOP's internal id of the object, sent by IOP to a receiver. (GIREVE)"""


@model
class Image(Model):
    """A picture that a driver can be shown."""

    reference = "2.2.1 locations, Image"

    url: Annotated[str, Url()]
    """Where the picture is."""
    thumbnail: Annotated[str, Url()] | None = None
    """Where the thumbnail is."""
    category: ImageCategory
    """What the picture is for."""
    type: Annotated[str, CiString(4)]
    """File type: gif, jpeg, png, svg."""
    width: Annotated[int, Digits(5)] | None = None
    """Width of the full picture."""
    height: Annotated[int, Digits(5)] | None = None
    """Height of the full picture."""


@model
class EVSE(Model):
    """The part that controls the power to a single vehicle, whatever the number of its connectors."""

    reference = "2.2.1 locations, EVSE"

    uid: Annotated[str, CiString(36)]
    """Technical EVSE id, unique in the CPO platform, immutable."""
    evse_id: Annotated[str, CiString(48)] | None = None
    """EMI3 EVSE id; may be dropped when REMOVED."""
    status: Status
    """Current status."""
    status_schedule: list[StatusSchedule] = field(factory=list[StatusSchedule])
    """Planned statuses."""
    capabilities: list[Capability] = field(factory=list[Capability])
    """What the EVSE can do."""
    connectors: NonEmpty[Connector]
    """Connectors, one usable at a time."""
    floor_level: Annotated[str, String(4)] | None = None
    """Floor in local numbering."""
    coordinates: GeoLocation | None = None
    """Position of the EVSE."""
    physical_reference: Annotated[str, String(16)] | None = None
    """Marking printed on the EVSE."""
    directions: list[DisplayText] = field(factory=list[DisplayText])
    """Way from the location to the EVSE."""
    parking_restrictions: list[ParkingRestriction] = field(factory=list[ParkingRestriction])
    """Restrictions of the parking spot."""
    images: list[Image] = field(factory=list[Image])
    """Photos or logos."""
    last_updated: datetime
    """Last change of EVSE or connector."""
    gireve_id: Annotated[str, String()] | None = field(default=None, metadata=GIREVE_EXTENSION)
    """IOP's internal id of the object, sent by IOP to a receiver. (GIREVE)"""


@model
class BusinessDetails(Model):
    """A company."""

    reference = "2.2.1 locations, BusinessDetails"

    name: Annotated[str, String(100)]
    """Company name."""
    website: Annotated[str, Url()] | None = None
    """Company web site."""
    logo: Image | None = None
    """Company logo."""


@model
class RegularHours(Model):
    """Opening hours on one weekday, in the Location's local time."""

    reference = "2.2.1 locations, RegularHours"

    weekday: Annotated[int, Digits(1)]
    """1 (Monday) to 7 (Sunday)."""
    period_begin: Annotated[str, String(5, regex=_TIME_OF_DAY)]
    """HH:MM start, local time."""
    period_end: Annotated[str, String(5, regex=_TIME_OF_DAY)]
    """HH:MM end, later than period_begin."""


@model
class ExceptionalPeriod(Model):
    """A period in which a Location is exceptionally open or closed."""

    reference = "2.2.1 locations, ExceptionalPeriod"

    period_begin: datetime
    """Start of the exception, UTC."""
    period_end: datetime
    """End of the exception, UTC."""


@model
class Hours(Model):
    """When a Location is accessible. Weekly hours are local time, exceptions are UTC."""

    reference = "2.2.1 locations, Hours"

    twentyfourseven: bool
    """Open all the time, exceptions apart."""
    regular_hours: list[RegularHours] = field(factory=list[RegularHours])
    """Weekly schedule; only when twentyfourseven is false, then at least one entry."""
    exceptional_openings: list[ExceptionalPeriod] = field(factory=list[ExceptionalPeriod])
    """Extra opening periods."""
    exceptional_closings: list[ExceptionalPeriod] = field(factory=list[ExceptionalPeriod])
    """Closing periods, overrule all others."""


@model
class EnergySource(Model):
    """The share of one source in the energy mix."""

    reference = "2.2.1 locations, EnergySource"

    source: EnergySourceCategory
    """Kind of source."""
    percentage: Decimal
    """Share of the mix, 0 to 100."""


@model
class EnvironmentalImpact(Model):
    """One impact of the energy mix."""

    reference = "2.2.1 locations, EnvironmentalImpact"

    category: EnvironmentalImpactCategory
    """Kind of impact."""
    amount: Decimal
    """Grams per kWh."""


@model
class EnergyMix(Model):
    """Where the energy comes from, and its impact on the environment."""

    reference = "2.2.1 locations, EnergyMix"

    is_green_energy: bool
    """Fully regenerative energy."""
    energy_sources: list[EnergySource] = field(factory=list[EnergySource])
    """Share per energy source."""
    environ_impact: list[EnvironmentalImpact] = field(factory=list[EnvironmentalImpact])
    """Waste and CO2 per kWh."""
    supplier_name: Annotated[str, String(64)] | None = None
    """Energy supplier."""
    energy_product_name: Annotated[str, String(64)] | None = None
    """Supplier's product."""


@model
class Location(Model):
    """A group of EVSEs at one place. Charging happens at an EVSE of a Location."""

    reference = "2.2.1 locations, Location"

    country_code: Annotated[str, CiString(2)]
    """Country of the owning CPO."""
    party_id: Annotated[str, CiString(3)]
    """Id of the owning CPO."""
    id: Annotated[str, CiString(36)]
    """Location id, unique in the CPO platform, immutable."""
    publish: bool
    """May be shown on maps and apps."""
    publish_allowed_to: list[PublishTokenType] = field(factory=list[PublishTokenType])
    """Tokens that may see an unpublished location; only when publish is false."""
    name: Annotated[str, String(255)] | None = None
    """Display name."""
    address: Annotated[str, String(255)]
    """Street and house number."""
    city: Annotated[str, String(45)]
    """City or town."""
    postal_code: Annotated[str, String(10)] | None = None
    """Postal code; may be omitted only where the place has no postal code."""
    state: Annotated[str, String(45)] | None = None
    """State or province, when relevant."""
    country: Annotated[str, String(3)]
    """ISO 3166-1 alpha-3 country."""
    coordinates: GeoLocation
    """Position of the location."""
    related_locations: list[AdditionalGeoLocation] = field(factory=list[AdditionalGeoLocation])
    """Other useful points (e.g. entrance)."""
    parking_type: ParkingType | None = None
    """General type of parking."""
    evses: list[EVSE] = field(factory=list[EVSE])
    """EVSEs of the location."""
    directions: list[DisplayText] = field(factory=list[DisplayText])
    """How to reach the location."""
    operator: BusinessDetails | None = None
    """Operator; else the owning party's credentials role."""
    suboperator: BusinessDetails | None = None
    """Suboperator, when there is one."""
    owner: BusinessDetails | None = None
    """Owner, when known."""
    facilities: list[Facility] = field(factory=list[Facility])
    """Facilities the location belongs to."""
    time_zone: Annotated[str, String(255)]
    """IANA time zone name."""
    opening_times: Hours | None = None
    """When EVSEs can be accessed."""
    charging_when_closed: Annotated[bool, Default(True)] | None = None
    """Charging continues outside opening hours."""
    images: list[Image] = field(factory=list[Image])
    """Photos or logos."""
    energy_mix: EnergyMix | None = None
    """Energy supplied here."""
    last_updated: datetime
    """Last change of location, EVSE or connector."""
    gireve_id: Annotated[str, String()] | None = field(default=None, metadata=GIREVE_EXTENSION)
    """IOP's internal id of the object, sent by IOP to a receiver. (GIREVE)"""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Location, country_code=COUNTRY, party_id=PARTY, country=COUNTRY_3, time_zone=TIME_ZONE)
forms(EVSE, evse_id=EVSE_ID)
# "Any request to the PATCH method SHALL contain the last_updated field."
needed_in_patch(Location, "last_updated")
needed_in_patch(EVSE, "last_updated")
needed_in_patch(Connector, "last_updated")
not_negative(Connector, "max_voltage", "max_amperage", "max_electric_power")
unique(EVSE, "connectors", "id")
unique(Location, "evses", "uid")
not_older(EVSE, "connectors")
not_older(Location, "evses", "connectors")
in_order(StatusSchedule, "period_begin", "period_end")
in_order(ExceptionalPeriod, "period_begin", "period_end")
in_order(RegularHours, "period_begin", "period_end")
within(RegularHours, "weekday", 1, 7)
within(EnergySource, "percentage", 0, 100)
not_negative(EnvironmentalImpact, "amount")
not_negative(Image, "width", "height")
degrees(GeoLocation)
degrees(AdditionalGeoLocation)


@rule(EVSE, "evse_id", "status")
def named_unless_removed(evse: EVSE) -> Findings:
    """It "can be removed from an EVSE object if the status is set to REMOVED"."""
    if evse.evse_id is None and evse.status is not Status.REMOVED:
        yield "/evse_id", "missing", "expected an evse_id, unless the EVSE is removed"


@rule(Hours, "exceptional_openings", "exceptional_closings")
def exceptions_apart(hours: Hours) -> Findings:
    """Closings "should not overlap" openings."""
    closings = [(one.period_begin, one.period_end) for one in hours.exceptional_closings]
    openings = [(one.period_begin, one.period_end) for one in hours.exceptional_openings]
    yield from overlapping("exceptional_closings", closings, openings)


@rule(EnergyMix, "energy_sources")
def whole_mix(mix: EnergyMix) -> Findings:
    """All values "should add up to 100 percent". (EnergySource)"""
    yield from energy_shares([one.percentage for one in mix.energy_sources])


@rule(EnergyMix, "is_green_energy", "energy_sources", "environ_impact")
def green_is_green(mix: EnergyMix) -> Findings:
    """The text: "True if 100% from regenerative sources. (CO2 and nuclear waste is zero)"."""
    if mix.is_green_energy:
        sources = [(one.source.value, one.percentage) for one in mix.energy_sources]
        yield from green_energy(sources, [one.amount for one in mix.environ_impact])


@rule(Hours, "twentyfourseven", "regular_hours")
def hours_or_always(hours: Hours) -> Findings:
    """Weekly hours: "only to be used if twentyfourseven=false, then this field needs [...] at least one"."""
    if hours.twentyfourseven and hours.regular_hours:
        yield "/regular_hours", "unexpected", "expected none, as the location is open all the time"
    if not hours.twentyfourseven and not hours.regular_hours:
        yield "/regular_hours", "missing", "expected at least one, as the location is not open all the time"


@rule(Location, "publish", "publish_allowed_to")
def shown_to_some(location: Location) -> Findings:
    """The text: "This field may only be used when the publish field is set to false"."""
    if location.publish and location.publish_allowed_to:
        yield "/publish_allowed_to", "unexpected", "expected none, as the location is published"


@rule(PublishTokenType, "uid", "visual_number", "group_id")
def names_a_token(token: PublishTokenType) -> Findings:
    """The text: "At least one of the following fields SHALL be set: uid, visual_number, or group_id"."""
    if token.uid is None and token.visual_number is None and token.group_id is None:
        yield "", "missing", "expected uid, visual_number or group_id"


@rule(PublishTokenType, "uid", "type")
def uid_with_type(token: PublishTokenType) -> Findings:
    """The text: "When uid is set, type SHALL also be set"."""
    if token.uid is not None and token.type is None:
        yield "/type", "missing", "expected a type beside the uid"


@rule(PublishTokenType, "visual_number", "issuer")
def number_with_issuer(token: PublishTokenType) -> Findings:
    """The text: "When visual_number is set, issuer SHALL also be set"."""
    if token.visual_number is not None and token.issuer is None:
        yield "/issuer", "missing", "expected an issuer beside the visual_number"


@frozen
class LocationRef:
    """Names a Location of a party."""

    country_code: str
    party_id: str
    location_id: str


@frozen
class EvseRef:
    """Names an EVSE of a party's Location."""

    country_code: str
    party_id: str
    location_id: str
    evse_uid: str


@frozen
class ConnectorRef:
    """Names a Connector of a party's EVSE."""

    country_code: str
    party_id: str
    location_id: str
    evse_uid: str
    connector_id: str


@frozen
class OwnLocationRef:
    """Names a Location of the party that is asked."""

    location_id: str


@frozen
class OwnEvseRef:
    """Names an EVSE of the party that is asked."""

    location_id: str
    evse_uid: str


@frozen
class OwnConnectorRef:
    """Names a Connector of the party that is asked."""

    location_id: str
    evse_uid: str
    connector_id: str


class LocationsSender(Interface):
    """What a CPO, or a hub, offers so that others can pull locations. (mod_locations, sender interface)"""

    module, role = ModuleID.LOCATIONS, InterfaceRole.SENDER
    callers = frozenset({Role.EMSP, Role.NSP})

    @listing()
    @abstractmethod
    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[Location]:
        """Return one page of the locations, oldest first; together the pages are the new truth."""

    @get("{location_id}")
    @abstractmethod
    async def get_location(self, ctx: Context, ref: OwnLocationRef) -> Location:
        """Return one location."""

    @get("{location_id}/{evse_uid}")
    @abstractmethod
    async def get_evse(self, ctx: Context, ref: OwnEvseRef) -> EVSE:
        """Return one EVSE."""

    @get("{location_id}/{evse_uid}/{connector_id}")
    @abstractmethod
    async def get_connector(self, ctx: Context, ref: OwnConnectorRef) -> Connector:
        """Return one connector."""


class LocationsReceiver(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push locations. (mod_locations, receiver interface)

    There is no DELETE: an EVSE is removed with status REMOVED.
    """

    module, role = ModuleID.LOCATIONS, InterfaceRole.RECEIVER
    callers = frozenset({Role.CPO})

    @get("{country_code}/{party_id}/{location_id}")
    @abstractmethod
    async def get_location(self, ctx: Context, ref: LocationRef) -> Location:
        """Return the location as this party stores it."""

    @get("{country_code}/{party_id}/{location_id}/{evse_uid}")
    @abstractmethod
    async def get_evse(self, ctx: Context, ref: EvseRef) -> EVSE:
        """Return the EVSE as this party stores it."""

    @get("{country_code}/{party_id}/{location_id}/{evse_uid}/{connector_id}")
    @abstractmethod
    async def get_connector(self, ctx: Context, ref: ConnectorRef) -> Connector:
        """Return the connector as this party stores it."""

    @put("{country_code}/{party_id}/{location_id}")
    @abstractmethod
    async def put_location(self, ctx: Context, ref: LocationRef, location: Location) -> None:
        """Create the location, or replace it."""

    @put("{country_code}/{party_id}/{location_id}/{evse_uid}")
    @abstractmethod
    async def put_evse(self, ctx: Context, ref: EvseRef, evse: EVSE) -> None:
        """Create the EVSE, or replace it; last_updated of the location moves too."""

    @put("{country_code}/{party_id}/{location_id}/{evse_uid}/{connector_id}")
    @abstractmethod
    async def put_connector(self, ctx: Context, ref: ConnectorRef, connector: Connector) -> None:
        """Create the connector, or replace it; last_updated of EVSE and location move too."""

    @patch("{country_code}/{party_id}/{location_id}")
    @abstractmethod
    async def patch_location(self, ctx: Context, ref: LocationRef, changes: Patch[Location]) -> None:
        """Change some fields of the location."""

    @patch("{country_code}/{party_id}/{location_id}/{evse_uid}")
    @abstractmethod
    async def patch_evse(self, ctx: Context, ref: EvseRef, changes: Patch[EVSE]) -> None:
        """Change some fields of one EVSE; last_updated of the location moves too."""

    @patch("{country_code}/{party_id}/{location_id}/{evse_uid}/{connector_id}")
    @abstractmethod
    async def patch_connector(self, ctx: Context, ref: ConnectorRef, changes: Patch[Connector]) -> None:
        """Change some fields of one connector; last_updated of EVSE and location move too."""
