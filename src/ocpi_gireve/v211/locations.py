"""Locations, OCPI 2.1.1 mod_locations: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field, frozen

from .._model import AsciiString, Choice, Default, Digits, Model, NonEmpty, Url, model
from .._rules import (
    COUNTRY_3,
    EVSE_ID,
    TIME_ZONE,
    Findings,
    degrees,
    energy_shares,
    forms,
    green_energy,
    in_order,
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
from .types import DisplayText
from .versions import InterfaceRole, ModuleID

_LATITUDE = r"-?[0-9]{1,2}\.[0-9]{6}"
_LONGITUDE = r"-?[0-9]{1,3}\.[0-9]{6}"
_TIME_OF_DAY = r"([0-1][0-9]|2[0-3]):[0-5][0-9]"


class Capability(OcpiEnum):
    """What an EVSE can do."""

    CHARGING_PROFILE_CAPABLE = "CHARGING_PROFILE_CAPABLE"
    CREDIT_CARD_PAYABLE = "CREDIT_CARD_PAYABLE"
    REMOTE_START_STOP_CAPABLE = "REMOTE_START_STOP_CAPABLE"
    RESERVABLE = "RESERVABLE"
    RFID_READER = "RFID_READER"
    UNLOCK_CAPABLE = "UNLOCK_CAPABLE"


class ConnectorFormat(OcpiEnum):
    """Whether the driver brings the cable."""

    SOCKET = "SOCKET"
    CABLE = "CABLE"


class ConnectorType(OcpiEnum):
    """The plug standard."""

    CHADEMO = "CHADEMO"
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
    BUS_STOP = "BUS_STOP"
    TAXI_STAND = "TAXI_STAND"
    TRAIN_STATION = "TRAIN_STATION"
    AIRPORT = "AIRPORT"
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


class LocationType(OcpiEnum):
    """Where a Location lies."""

    ON_STREET = "ON_STREET"
    PARKING_GARAGE = "PARKING_GARAGE"
    UNDERGROUND_GARAGE = "UNDERGROUND_GARAGE"
    PARKING_LOT = "PARKING_LOT"
    OTHER = "OTHER"
    UNKNOWN = "UNKNOWN"


class ParkingRestriction(OcpiEnum):
    """Who may park at an EVSE."""

    EV_ONLY = "EV_ONLY"
    PLUGGED = "PLUGGED"
    DISABLED = "DISABLED"
    CUSTOMERS = "CUSTOMERS"
    MOTORCYCLES = "MOTORCYCLES"


class PowerType(OcpiEnum):
    """Alternating current by phases, or direct current."""

    AC_1_PHASE = "AC_1_PHASE"
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
class GeoLocation(Model):
    """A position, WGS 84, as decimal degrees in text."""

    reference = "2.1.1 locations, GeoLocation"

    latitude: Annotated[str, AsciiString(10, regex=_LATITUDE)]
    """Decimal degrees WGS 84."""
    longitude: Annotated[str, AsciiString(11, regex=_LONGITUDE)]
    """Decimal degrees WGS 84."""


@model
class AdditionalGeoLocation(Model):
    """A further point of a Location, such as its entrance."""

    reference = "2.1.1 locations, AdditionalGeoLocation"

    latitude: Annotated[str, AsciiString(10, regex=_LATITUDE)]
    """Decimal degrees WGS 84."""
    longitude: Annotated[str, AsciiString(11, regex=_LONGITUDE)]
    """Decimal degrees WGS 84."""
    name: DisplayText | None = None
    """Name of the point."""


@model
class StatusSchedule(Model):
    """A planned status of an EVSE."""

    reference = "2.1.1 locations, StatusSchedule"

    period_begin: datetime
    """Start of the scheduled status."""
    period_end: datetime | None = None
    """End, when known."""
    status: Status
    """Status in that period."""


@model
class Connector(Model):
    """The socket or cable of an EVSE."""

    reference = "2.1.1 locations, Connector"

    id: Annotated[str, AsciiString(36)]
    """Connector id, unique within its EVSE only."""
    standard: ConnectorType
    """Plug standard."""
    format: ConnectorFormat
    """Socket or cable."""
    power_type: PowerType
    """AC phases or DC."""
    voltage: int
    """Volts (line to neutral for AC_3_PHASE)."""
    amperage: int
    """Maximum amperes."""
    tariff_id: Annotated[str, AsciiString(36)] | None = None
    """Current tariff, also for a free one."""
    terms_and_conditions: Annotated[str, Url()] | None = None
    """Operator's terms."""
    last_updated: datetime
    """Last change of the connector."""


@model
class Image(Model):
    """A picture that a driver can be shown."""

    reference = "2.1.1 locations, Image"

    url: Annotated[str, Url()]
    """Where the picture is."""
    thumbnail: Annotated[str, Url()] | None = None
    """Where the thumbnail is."""
    category: ImageCategory
    """What the picture is for."""
    type: Annotated[str, AsciiString(4)]
    """File type: gif, jpeg, png, svg."""
    width: Annotated[int, Digits(5)] | None = None
    """Width of the full picture."""
    height: Annotated[int, Digits(5)] | None = None
    """Height of the full picture."""


@model
class EVSE(Model):
    """The part that controls the power to a single vehicle, whatever the number of its connectors."""

    reference = "2.1.1 locations, EVSE"

    uid: Annotated[str, AsciiString(39)]
    """Technical EVSE id, unique in the CPO platform, immutable."""
    evse_id: Annotated[str, AsciiString(48)] | None = None
    """EMI3 EVSE id; may be dropped when REMOVED."""
    status: Status
    """Current status."""
    status_schedule: list[StatusSchedule] = field(factory=list[StatusSchedule])
    """Planned statuses."""
    capabilities: list[Capability] = field(factory=list[Capability])
    """What the EVSE can do."""
    connectors: NonEmpty[Connector]
    """Connectors, one usable at a time."""
    floor_level: Annotated[str, AsciiString(4)] | None = None
    """Floor in local numbering."""
    coordinates: GeoLocation | None = None
    """Position of the EVSE."""
    physical_reference: Annotated[str, AsciiString(16)] | None = None
    """Marking printed on the EVSE."""
    directions: list[DisplayText] = field(factory=list[DisplayText])
    """Way from the location to the EVSE."""
    parking_restrictions: list[ParkingRestriction] = field(factory=list[ParkingRestriction])
    """Restrictions of the parking spot."""
    images: list[Image] = field(factory=list[Image])
    """Photos or logos."""
    last_updated: datetime
    """Last change of EVSE or connector."""


@model
class BusinessDetails(Model):
    """A company."""

    reference = "2.1.1 locations, BusinessDetails"

    name: Annotated[str, AsciiString(100)]
    """Company name."""
    website: Annotated[str, Url()] | None = None
    """Company web site."""
    logo: Image | None = None
    """Company logo."""


@model
class RegularHours(Model):
    """Opening hours on one weekday, in the Location's local time."""

    reference = "2.1.1 locations, RegularHours"

    weekday: Annotated[int, Digits(1)]
    """1 (Monday) to 7 (Sunday)."""
    period_begin: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)]
    """HH:MM start."""
    period_end: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)]
    """HH:MM end, later than period_begin."""


@model
class ExceptionalPeriod(Model):
    """A period in which a Location is exceptionally open or closed."""

    reference = "2.1.1 locations, ExceptionalPeriod"

    period_begin: datetime
    """Start of the exception."""
    period_end: datetime
    """End of the exception."""


@model
class Hours(Model):
    """When a Location is accessible. Weekly hours are local time, exceptions are UTC.

    It carries ``regular_hours`` or ``twentyfourseven``; the text's own example has both.
    """

    reference = "2.1.1 locations, Hours"

    regular_hours: Annotated[list[RegularHours], Choice("*")] = field(factory=list[RegularHours])
    """Weekly schedule; not for 24/7."""
    twentyfourseven: Annotated[bool, Choice("1")] | None = None
    """Open all the time, exceptions apart."""
    exceptional_openings: list[ExceptionalPeriod] = field(factory=list[ExceptionalPeriod])
    """Extra opening periods."""
    exceptional_closings: list[ExceptionalPeriod] = field(factory=list[ExceptionalPeriod])
    """Closing periods, overrule all others."""


@model
class EnergySource(Model):
    """The share of one source in the energy mix."""

    reference = "2.1.1 locations, EnergySource"

    source: EnergySourceCategory
    """Kind of source."""
    percentage: Decimal
    """Share of the mix, 0 to 100."""


@model
class EnvironmentalImpact(Model):
    """One impact of the energy mix."""

    reference = "2.1.1 locations, EnvironmentalImpact"

    source: EnvironmentalImpactCategory
    """Kind of impact."""
    amount: Decimal
    """Grams per kWh."""


@model
class EnergyMix(Model):
    """Where the energy comes from, and its impact on the environment."""

    reference = "2.1.1 locations, EnergyMix"

    is_green_energy: bool
    """Fully regenerative energy."""
    energy_sources: list[EnergySource] = field(factory=list[EnergySource])
    """Share per energy source."""
    environ_impact: list[EnvironmentalImpact] = field(factory=list[EnvironmentalImpact])
    """Waste and CO2 per kWh."""
    supplier_name: Annotated[str, AsciiString(64)] | None = None
    """Energy supplier."""
    energy_product_name: Annotated[str, AsciiString(64)] | None = None
    """Supplier's product."""


@model
class Location(Model):
    """A group of EVSEs at one place. Charging happens at an EVSE of a Location."""

    reference = "2.1.1 locations, Location"

    id: Annotated[str, AsciiString(39)]
    """Location id, unique in the CPO platform, immutable."""
    type: LocationType
    """General type of the site."""
    name: Annotated[str, AsciiString(255)] | None = None
    """Display name."""
    address: Annotated[str, AsciiString(45)]
    """Street and house number."""
    city: Annotated[str, AsciiString(45)]
    """City or town."""
    postal_code: Annotated[str, AsciiString(10)]
    """Postal code."""
    country: Annotated[str, AsciiString(3)]
    """ISO 3166-1 alpha-3 country."""
    coordinates: GeoLocation
    """Position of the location."""
    related_locations: list[AdditionalGeoLocation] = field(factory=list[AdditionalGeoLocation])
    """Other useful points (e.g. entrance)."""
    evses: list[EVSE] = field(factory=list[EVSE])
    """EVSEs of the location."""
    directions: list[DisplayText] = field(factory=list[DisplayText])
    """How to reach the location."""
    operator: BusinessDetails | None = None
    """Operator; else the connected party."""
    suboperator: BusinessDetails | None = None
    """Suboperator, when there is one."""
    owner: BusinessDetails | None = None
    """Owner, when known."""
    facilities: list[Facility] = field(factory=list[Facility])
    """Facilities the location belongs to."""
    time_zone: Annotated[str, AsciiString(255)] | None = None
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


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Location, country=COUNTRY_3, time_zone=TIME_ZONE)
forms(EVSE, evse_id=EVSE_ID)
not_negative(Connector, "voltage", "amperage")
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


@rule(Hours, "regular_hours", "twentyfourseven")
def hours_or_always(hours: Hours) -> Findings:
    """The text: "Choice: one of two"; weekly hours "should not be set for representing 24/7"."""
    if hours.twentyfourseven is None and not hours.regular_hours:
        yield "", "missing", "expected regular_hours or twentyfourseven"
    if hours.twentyfourseven and hours.regular_hours:
        yield "/regular_hours", "unexpected", "expected none, as the location is open all the time"


def relevant_evse(location: Location) -> Findings:
    """Check that the location of a session has one EVSE with one connector."""
    if len(location.evses) != 1:
        yield "/location/evses", "range", "expected the one EVSE of the session"
    elif len(location.evses[0].connectors) != 1:
        yield "/location/evses/0/connectors", "range", "expected the one connector of the session"


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


class LocationsCpo(Interface):
    """What a CPO, or a hub, offers so that an eMSP can pull locations. (mod_locations, CPO interface)"""

    module, role = ModuleID.LOCATIONS, InterfaceRole.CPO
    callers = frozenset({Role.EMSP})

    @listing()
    @abstractmethod
    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[Location]:
        """Return one page of the locations, oldest first."""

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


class LocationsEmsp(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push locations. (mod_locations, eMSP interface)

    There is no DELETE: an EVSE is removed with status REMOVED.
    """

    module, role = ModuleID.LOCATIONS, InterfaceRole.EMSP
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
        """Create the EVSE, or replace it."""

    @put("{country_code}/{party_id}/{location_id}/{evse_uid}/{connector_id}")
    @abstractmethod
    async def put_connector(self, ctx: Context, ref: ConnectorRef, connector: Connector) -> None:
        """Create the connector, or replace it."""

    @patch("{country_code}/{party_id}/{location_id}")
    @abstractmethod
    async def patch_location(self, ctx: Context, ref: LocationRef, changes: Patch[Location]) -> None:
        """Change some fields of the location."""

    @patch("{country_code}/{party_id}/{location_id}/{evse_uid}")
    @abstractmethod
    async def patch_evse(self, ctx: Context, ref: EvseRef, changes: Patch[EVSE]) -> None:
        """Change some fields of one EVSE."""

    @patch("{country_code}/{party_id}/{location_id}/{evse_uid}/{connector_id}")
    @abstractmethod
    async def patch_connector(self, ctx: Context, ref: ConnectorRef, changes: Patch[Connector]) -> None:
        """Change some fields of one connector."""
