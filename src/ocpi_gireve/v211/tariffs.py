"""Tariffs, OCPI 2.1.1 mod_tariffs: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field, frozen

from .._model import (
    GIREVE_EXTENSION,
    AsciiString,
    Model,
    NonEmpty,
    Url,
    gireve_values,
    model,
)
from .._rules import CURRENCY, DAY, Findings, forms, in_order, not_negative, rule
from ..context import Context
from ..interface import Interface, delete, get, listing, patch, put
from ..pagination import Page, PageQuery
from ..patch import Patch
from ..types import OcpiEnum, Role
from .locations import EnergyMix
from .types import DisplayText
from .versions import InterfaceRole, ModuleID

_TIME_OF_DAY = r"([0-1][0-9]|2[0-3]):[0-5][0-9]"


class DayOfWeek(OcpiEnum):
    """The days of the week."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


@gireve_values("SESSION_TIME")
class TariffDimensionType(OcpiEnum):
    """What a price is for."""

    ENERGY = "ENERGY"
    FLAT = "FLAT"
    PARKING_TIME = "PARKING_TIME"
    TIME = "TIME"
    SESSION_TIME = "SESSION_TIME"


@gireve_values("UNIT", "TENTH", "HUNDRETH", "THOUSANDTH")
class RoundGranularity(OcpiEnum):
    """To which decimal IOP rounds; the spelling is the guide's."""

    UNIT = "UNIT"
    TENTH = "TENTH"
    HUNDRETH = "HUNDRETH"
    THOUSANDTH = "THOUSANDTH"


@gireve_values("ROUND_UP", "ROUND_DOWN", "ROUND_NEAR")
class RoundRule(OcpiEnum):
    """In which direction IOP rounds."""

    ROUND_UP = "ROUND_UP"
    ROUND_DOWN = "ROUND_DOWN"
    ROUND_NEAR = "ROUND_NEAR"


@model
class PriceRound(Model):
    """How IOP rounds a price."""

    reference = "2.1.1 tariffs, PriceRound"

    round_granularity: RoundGranularity
    """To which decimal it is rounded."""
    round_rule: RoundRule
    """In which direction it is rounded."""


@model
class StepRound(Model):
    """How IOP rounds the steps of a tariff."""

    reference = "2.1.1 tariffs, StepRound"

    round_granularity: RoundGranularity
    """To which decimal it is rounded."""
    round_rule: RoundRule
    """In which direction it is rounded."""


@model
class PriceComponent(Model):
    """The price of one dimension."""

    reference = "2.1.1 tariffs, PriceComponent"

    type: TariffDimensionType
    """Dimension priced."""
    price: Decimal
    """Price per unit excluding VAT."""
    step_size: int
    """Billing block (Wh or seconds by type)."""
    price_round: PriceRound | None = field(default=None, metadata=GIREVE_EXTENSION)
    """How the price is rounded, in what IOP gives to an eMSP. (GIREVE)"""
    step_round: StepRound | None = field(default=None, metadata=GIREVE_EXTENSION)
    """How the steps are rounded, in what IOP gives to an eMSP. (GIREVE)"""
    exact_price_component: bool | None = field(default=None, metadata=GIREVE_EXTENSION)
    """Whether the component repeats exactly what the CPO sent, in what IOP gives to an eMSP. (GIREVE)"""


@model
class TariffRestrictions(Model):
    """When a tariff element applies; all that are set must hold. Times and dates are local."""

    reference = "2.1.1 tariffs, TariffRestrictions"

    start_time: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)] | None = None
    """From this time of day."""
    end_time: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)] | None = None
    """Until this time of day."""
    start_date: Annotated[str, AsciiString(10)] | None = None
    """From this day, YYYY-MM-DD."""
    end_date: Annotated[str, AsciiString(10)] | None = None
    """Until this day, excluded."""
    min_kwh: Decimal | None = None
    """From this energy."""
    max_kwh: Decimal | None = None
    """Until this energy."""
    min_power: Decimal | None = None
    """From this power, kW."""
    max_power: Decimal | None = None
    """Up to this power, kW."""
    min_duration: int | None = None
    """From this duration, seconds."""
    max_duration: int | None = None
    """Up to this duration, seconds."""
    day_of_week: list[DayOfWeek] = field(factory=list[DayOfWeek])
    """Days the element applies."""


@model
class TariffElement(Model):
    """Price components that apply under the same restrictions."""

    reference = "2.1.1 tariffs, TariffElement"

    price_components: NonEmpty[PriceComponent]
    """Prices of the element."""
    restrictions: TariffRestrictions | None = None
    """When the element applies."""


@model
class TariffRestriction(Model):
    """When a whole tariff applies, in what IOP gives to an eMSP."""

    reference = "2.1.1 tariffs, TariffRestriction"

    start_time: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)] | None = None
    """Start of the first daily slot, HH:MM."""
    end_time: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)] | None = None
    """End of the first daily slot, HH:MM."""
    start_time_2: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)] | None = None
    """Start of the second daily slot, HH:MM."""
    end_time_2: Annotated[str, AsciiString(5, regex=_TIME_OF_DAY)] | None = None
    """End of the second daily slot, HH:MM."""
    day_of_week: list[DayOfWeek] = field(factory=list[DayOfWeek])
    """Days on which the tariff applies."""


@model
class Tariff(Model):
    """A price list: the first element whose restrictions match gives the price of each dimension."""

    reference = "2.1.1 tariffs, Tariff"

    id: Annotated[str, AsciiString(36)]
    """Tariff id in the CPO platform."""
    currency: Annotated[str, AsciiString(3)]
    """ISO 4217 currency."""
    tariff_alt_text: list[DisplayText] = field(factory=list[DisplayText])
    """Human-readable alternative text."""
    tariff_alt_url: Annotated[str, Url()] | None = None
    """Web page about the tariff."""
    elements: NonEmpty[TariffElement]
    """Tariff elements."""
    energy_mix: EnergyMix | None = None
    """Energy supplied with the tariff."""
    last_updated: datetime
    """Last change."""
    country_code: Annotated[str, AsciiString(2)] | None = field(default=None, metadata=GIREVE_EXTENSION)
    """Country of the tariff's CPO, in what IOP gives to an eMSP. (GIREVE)"""
    party_id: Annotated[str, AsciiString(3)] | None = field(default=None, metadata=GIREVE_EXTENSION)
    """Id of the tariff's CPO, in what IOP gives to an eMSP. (GIREVE)"""
    restriction: TariffRestriction | None = field(default=None, metadata=GIREVE_EXTENSION)
    """When the whole tariff applies, in what IOP gives to an eMSP. (GIREVE)"""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Tariff, currency=CURRENCY)
forms(TariffRestrictions, start_date=DAY, end_date=DAY)
in_order(TariffRestrictions, "start_date", "end_date")
in_order(TariffRestrictions, "min_kwh", "max_kwh", equal=True)
in_order(TariffRestrictions, "min_power", "max_power", equal=True)
in_order(TariffRestrictions, "min_duration", "max_duration", equal=True)
not_negative(TariffRestrictions, "min_kwh", "max_kwh", "min_power", "max_power")
not_negative(TariffRestrictions, "min_duration", "max_duration")


@rule(PriceComponent, "type", "step_size")
def billed_in_steps(component: PriceComponent) -> Findings:
    """The text: "This unit will be billed in this step_size blocks"; a flat fee has no unit, so no step."""
    least = 0 if component.type is TariffDimensionType.FLAT else 1
    if component.step_size < least:
        yield "/step_size", "range", f"expected a number from {least}"


@frozen
class TariffRef:
    """Names a Tariff of a party."""

    country_code: str
    party_id: str
    tariff_id: str


class TariffsCpo(Interface):
    """What a CPO, or a hub, offers so that an eMSP can pull tariffs. (mod_tariffs, CPO interface)"""

    module, role = ModuleID.TARIFFS, InterfaceRole.CPO
    callers = frozenset({Role.EMSP})

    @listing()
    @abstractmethod
    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[Tariff]:
        """Return one page of the tariffs, oldest first."""


class TariffsEmsp(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push tariffs. (mod_tariffs, eMSP interface)"""

    module, role = ModuleID.TARIFFS, InterfaceRole.EMSP
    callers = frozenset({Role.CPO})

    @get("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def get_tariff(self, ctx: Context, ref: TariffRef) -> Tariff:
        """Return the tariff as this party stores it."""

    @put("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def put_tariff(self, ctx: Context, ref: TariffRef, tariff: Tariff) -> None:
        """Create the tariff, or replace it."""

    @patch("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def patch_tariff(self, ctx: Context, ref: TariffRef, changes: Patch[Tariff]) -> None:
        """Change some fields of the tariff."""

    @delete("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def delete_tariff(self, ctx: Context, ref: TariffRef) -> None:
        """Remove a tariff that is no longer used."""
