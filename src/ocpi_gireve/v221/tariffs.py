"""Tariffs, OCPI 2.2.1 mod_tariffs: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field, frozen

from .._model import GIREVE_EXTENSION, CiString, Model, NonEmpty, String, Url, gireve_values, model
from .._rules import COUNTRY, CURRENCY, DAY, PARTY, Findings, forms, in_order, not_negative, rule, unique
from ..context import Context
from ..interface import Interface, delete, get, listing, put
from ..pagination import Page, PageQuery
from ..types import OcpiEnum, Role
from .locations import EnergyMix
from .types import DisplayText, Price
from .versions import InterfaceRole, ModuleID

_TIME_OF_DAY = r"([0-1][0-9]|2[0-3]):[0-5][0-9]"
_DATE = r"([12][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"


class DayOfWeek(OcpiEnum):
    """The days of the week."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


class ReservationRestrictionType(OcpiEnum):
    """When a tariff element is about a reservation."""

    RESERVATION = "RESERVATION"
    RESERVATION_EXPIRES = "RESERVATION_EXPIRES"


@gireve_values("SESSION_TIME")
class TariffDimensionType(OcpiEnum):
    """What a price is for."""

    ENERGY = "ENERGY"
    FLAT = "FLAT"
    PARKING_TIME = "PARKING_TIME"
    TIME = "TIME"
    SESSION_TIME = "SESSION_TIME"


class TariffType(OcpiEnum):
    """Whom a tariff is for."""

    AD_HOC_PAYMENT = "AD_HOC_PAYMENT"
    PROFILE_CHEAP = "PROFILE_CHEAP"
    PROFILE_FAST = "PROFILE_FAST"
    PROFILE_GREEN = "PROFILE_GREEN"
    REGULAR = "REGULAR"


@model
class PriceComponent(Model):
    """The price of one dimension."""

    reference = "2.2.1 tariffs, PriceComponent"

    type: TariffDimensionType
    """Dimension priced."""
    price: Decimal
    """Price per unit excluding VAT."""
    vat: Decimal | None = None
    """VAT percentage; absent is not 0."""
    step_size: int
    """Billing block (Wh or seconds by type)."""


@model
class TariffRestrictions(Model):
    """When a tariff element applies; all that are set must hold. Times and dates are local."""

    reference = "2.2.1 tariffs, TariffRestrictions"

    start_time: Annotated[str, String(5, regex=_TIME_OF_DAY)] | None = None
    """From this local time of day."""
    end_time: Annotated[str, String(5, regex=_TIME_OF_DAY)] | None = None
    """Until this local time; wraps past midnight."""
    start_date: Annotated[str, String(10, regex=_DATE)] | None = None
    """From this local day, included."""
    end_date: Annotated[str, String(10, regex=_DATE)] | None = None
    """Until this local day, excluded."""
    min_kwh: Decimal | None = None
    """From this energy, included."""
    max_kwh: Decimal | None = None
    """Until this energy, excluded."""
    min_current: Decimal | None = None
    """From this current, sum of phases, A."""
    max_current: Decimal | None = None
    """Below this current, sum of phases, A."""
    min_power: Decimal | None = None
    """From this power, kW."""
    max_power: Decimal | None = None
    """Below this power, kW."""
    min_duration: int | None = None
    """From this duration, seconds."""
    max_duration: int | None = None
    """Below this duration, seconds."""
    day_of_week: list[DayOfWeek] = field(factory=list[DayOfWeek])
    """Days the element applies."""
    reservation: ReservationRestrictionType | None = None
    """Element prices a reservation (FLAT and TIME only)."""


@model
class TariffElement(Model):
    """Price components that apply under the same restrictions."""

    reference = "2.2.1 tariffs, TariffElement"

    price_components: NonEmpty[PriceComponent]
    """Prices of the element."""
    restrictions: TariffRestrictions | None = None
    """When the element applies."""


@model
class Tariff(Model):
    """A price list: the first element whose restrictions match gives the price of each dimension."""

    reference = "2.2.1 tariffs, Tariff"

    country_code: Annotated[str, CiString(2)]
    """Country of the owning CPO."""
    party_id: Annotated[str, CiString(3)]
    """Id of the owning CPO."""
    id: Annotated[str, CiString(36)]
    """Tariff id in the CPO platform."""
    currency: Annotated[str, String(3)]
    """ISO 4217 currency."""
    type: TariffType | None = None
    """For which sessions; all when omitted."""
    tariff_alt_text: list[DisplayText] = field(factory=list[DisplayText])
    """Human-readable alternative text."""
    tariff_alt_url: Annotated[str, Url()] | None = None
    """Web page about the tariff."""
    min_price: Price | None = None
    """A session costs at least this."""
    max_price: Price | None = None
    """A session costs at most this."""
    elements: NonEmpty[TariffElement]
    """Tariff elements."""
    start_date_time: datetime | None = None
    """When the tariff becomes active."""
    end_date_time: datetime | None = None
    """When the tariff stops being valid."""
    energy_mix: EnergyMix | None = None
    """Energy supplied with the tariff."""
    last_updated: datetime
    """Last change."""
    gireve_id: Annotated[str, String()] | None = field(default=None, metadata=GIREVE_EXTENSION)
    """IOP's internal id of the object, sent by IOP to a receiver. (GIREVE)"""
    target_operator_country_code: Annotated[str, CiString(2)] | None = field(
        default=None, metadata=GIREVE_EXTENSION
    )
    """Country of the only eMSP that it is for; set together with target_operator_party_id. (GIREVE)"""
    target_operator_party_id: Annotated[str, CiString(3)] | None = field(
        default=None, metadata=GIREVE_EXTENSION
    )
    """Id of the only eMSP that it is for; set together with target_operator_country_code. (GIREVE)"""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Tariff, country_code=COUNTRY, party_id=PARTY, currency=CURRENCY)
forms(TariffRestrictions, start_date=DAY, end_date=DAY)
in_order(Tariff, "start_date_time", "end_date_time")
in_order(TariffRestrictions, "start_date", "end_date")
in_order(TariffRestrictions, "min_kwh", "max_kwh", equal=True)
in_order(TariffRestrictions, "min_current", "max_current", equal=True)
in_order(TariffRestrictions, "min_power", "max_power", equal=True)
in_order(TariffRestrictions, "min_duration", "max_duration", equal=True)
not_negative(TariffRestrictions, "min_kwh", "max_kwh", "min_duration", "max_duration")
not_negative(PriceComponent, "vat")
# "Only one Price Component per dimension can be active at any point in time."
unique(TariffElement, "price_components", "type")


@rule(Tariff, "min_price", "max_price")
def prices_in_order(tariff: Tariff) -> Findings:
    """A session costs at least the one and at most the other, excluding and including VAT."""
    low, high = tariff.min_price, tariff.max_price
    if low is None or high is None:
        return
    if low.excl_vat > high.excl_vat:
        yield "/max_price/excl_vat", "order", "expected no less than min_price"
    if low.incl_vat is not None and high.incl_vat is not None and low.incl_vat > high.incl_vat:
        yield "/max_price/incl_vat", "order", "expected no less than min_price"


@rule(PriceComponent, "type", "step_size")
def billed_in_steps(component: PriceComponent) -> Findings:
    """The text: "The dimension will be billed in this step_size blocks"; a flat fee has no unit for it."""
    least = 0 if component.type is TariffDimensionType.FLAT else 1
    if component.step_size < least:
        yield "/step_size", "range", f"expected a number from {least}"


@rule(TariffElement, "price_components", "restrictions")
def prices_of_a_reservation(element: TariffElement) -> Findings:
    """The text: "A reservation can only have: FLAT and TIME TariffDimensions." (TariffRestrictions)"""
    if element.restrictions is None or element.restrictions.reservation is None:
        return
    for index, component in enumerate(element.price_components):
        if component.type not in (TariffDimensionType.FLAT, TariffDimensionType.TIME):
            yield f"/price_components/{index}/type", "dimension", "expected FLAT or TIME for a reservation"


@frozen
class TariffRef:
    """Names a Tariff of a party."""

    country_code: str
    party_id: str
    tariff_id: str


class TariffsSender(Interface):
    """What a CPO, or a hub, offers so that others can pull tariffs. (mod_tariffs, sender interface)"""

    module, role = ModuleID.TARIFFS, InterfaceRole.SENDER
    callers = frozenset({Role.EMSP, Role.NSP})

    @listing()
    @abstractmethod
    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[Tariff]:
        """Return one page of the tariffs, oldest first."""


class TariffsReceiver(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push tariffs. (mod_tariffs, receiver interface)

    There is no PATCH: a changed tariff is put as a whole.
    """

    module, role = ModuleID.TARIFFS, InterfaceRole.RECEIVER
    callers = frozenset({Role.CPO})

    @get("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def get_tariff(self, ctx: Context, ref: TariffRef) -> Tariff:
        """Return the tariff as this party stores it."""

    @put("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def put_tariff(self, ctx: Context, ref: TariffRef, tariff: Tariff) -> None:
        """Create the tariff, or replace it."""

    @delete("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def delete_tariff(self, ctx: Context, ref: TariffRef) -> None:
        """Remove a tariff that no connector names any more."""
