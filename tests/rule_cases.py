"""Tables of rules: for each, a document that keeps it and one that breaks exactly it.

A case names a class and says what to change in that class's sound document, in two ways. A change of None
takes a property away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from ocpi_gireve import v221, validate
from ocpi_gireve._model import Model, field_specs
from ocpi_gireve._rules import Rule, rules_of
from tests.census import exported

Document: TypeAlias = dict[str, Any]


class Case(NamedTuple):
    """What keeps and what breaks a rule of a class, and where and as what the break is reported."""

    cls: str
    keeps: Document
    breaks: Document
    pointer: str
    code: str

    @property
    def id(self) -> str:
        """A name for the test's report."""
        return f"{self.cls}:{self.code}:{self.pointer}"


class Rulebook:
    """The cases of one version."""

    def __init__(self, package: ModuleType, sound: Mapping[str, Document], cases: Sequence[Case]) -> None:
        self.package = package
        self.sound = sound
        self.cases = cases

    def make(self, cls: str, changes: Document) -> Model:
        """Read the sound document of a class with changes, as a partner would have sent it."""
        merged = {**self.sound.get(cls, {}), **changes}
        document = {name: value for name, value in merged.items() if value is not None}
        model: type[Model] = getattr(self.package, cls)
        return v221.decode(json.dumps(document).encode(), model)

    def check(self, case: Case) -> None:
        """Assert that the one document has no problem, and the other exactly this one."""
        assert validate(self.make(case.cls, case.keeps)) == []
        problems = validate(self.make(case.cls, case.breaks))
        assert [(one.pointer, one.code) for one in problems] == [(case.pointer, case.code)]
        assert problems[0].message.startswith("expected ")
        assert problems[0].reference

    def untried(self) -> list[str]:
        """The rules that no case breaks."""
        tried: set[int] = set()
        for case in self.cases:
            for one in _parts(self.make(case.cls, case.breaks)):
                tried.update(id(rule) for rule in rules_of(type(one)) if list(rule.check(one)))
        return [
            f"{cls.__name__}: {rule.check.__qualname__} {sorted(rule.reads)}"
            for cls in exported(self.package, Model)
            for rule in rules_of(cls)
            if id(rule) not in tried
        ]

    def overreaching(self) -> list[str]:
        """The rules that read more than they declare: of a PATCH, those fields are not there."""
        wrong: list[str] = []
        for case in self.cases:
            for one in _parts(self.make(case.cls, case.breaks)):
                wrong += [_name(one, rule) for rule in rules_of(type(one)) if _overreaches(one, rule)]
        return wrong


def _name(one: Model, rule: Rule) -> str:
    return f"{type(one).__name__}: {rule.check.__qualname__}"


def _overreaches(one: Model, rule: Rule) -> bool:
    part = type(one).__new__(type(one))
    for name in rule.reads:
        object.__setattr__(part, name, getattr(one, name))
    try:
        list(rule.check(part))
    except AttributeError:
        return True
    return False


def _parts(one: Model) -> Iterator[Model]:
    yield one
    for spec in field_specs(type(one)):
        value = getattr(one, spec.name)
        if spec.kind == "model" and value is not None:
            for item in value if spec.many else [value]:
                yield from _parts(item)


# --- what both versions word alike -----------------------------------------------------------------------

NOON = "2024-05-01T12:00:00Z"
ONE = "2024-05-01T13:00:00Z"
TWO = "2024-05-01T14:00:00Z"
THREE = "2024-05-01T15:00:00Z"
URL = "https://example.com/a"


def period(begin: str, end: str) -> Document:
    """An exceptional period."""
    return {"period_begin": begin, "period_end": end}


def energy_source(source: str, percentage: float) -> Document:
    """A share of an energy mix."""
    return {"source": source, "percentage": percentage}


def charging_period(start: str, kind: str = "ENERGY", volume: float = 1) -> Document:
    """A charging period with one dimension."""
    return {"start_date_time": start, "dimensions": [{"type": kind, "volume": volume}]}


SOUND_IN_BOTH: Mapping[str, Document] = {
    "AdditionalGeoLocation": {"latitude": "48.891840", "longitude": "9.190060"},
    "DisplayText": {"language": "en", "text": "On the left"},
    "EnergyMix": {"is_green_energy": False},
    "EnergySource": energy_source("SOLAR", 50),
    "ExceptionalPeriod": period(NOON, ONE),
    "GeoLocation": {"latitude": "48.891840", "longitude": "9.190060"},
    "Image": {"url": URL, "category": "CHARGER", "type": "png"},
    "PriceComponent": {"type": "TIME", "price": 2, "step_size": 300},
    "RegularHours": {"weekday": 1, "period_begin": "08:00", "period_end": "20:00"},
    "ResponseFormat": {"status_code": 1000, "timestamp": NOON},
    "StatusSchedule": {"period_begin": NOON, "status": "PLANNED"},
}

MIXED = [energy_source("WATER", 60), energy_source("GAS", 40)]

CASES_IN_BOTH: Sequence[Case] = (
    Case("DisplayText", {"language": "fr"}, {"language": "FR"}, "/language", "language"),
    Case("DisplayText", {"text": "a < b, c > d"}, {"text": "<b>here</b>"}, "/text", "markup"),
    Case("GeoLocation", {"latitude": "-90.000000"}, {"latitude": "-90.000001"}, "/latitude", "range"),
    Case("GeoLocation", {"longitude": "180.000000"}, {"longitude": "180.000001"}, "/longitude", "range"),
    Case("AdditionalGeoLocation", {"latitude": "90.000000"}, {"latitude": "91.000000"}, "/latitude", "range"),
    Case(
        "AdditionalGeoLocation", {"longitude": "0.000000"}, {"longitude": "999.000000"}, "/longitude", "range"
    ),
    Case("Image", {"width": 0}, {"width": -1}, "/width", "negative"),
    Case("Image", {"height": 600}, {"height": -600}, "/height", "negative"),
    Case("RegularHours", {"weekday": 7}, {"weekday": 8}, "/weekday", "range"),
    Case("RegularHours", {"weekday": 1}, {"weekday": 0}, "/weekday", "range"),
    Case("RegularHours", {"period_end": "08:01"}, {"period_end": "08:00"}, "/period_end", "order"),
    Case("ExceptionalPeriod", period(NOON, ONE), period(ONE, NOON), "/period_end", "order"),
    Case("StatusSchedule", {"period_end": ONE}, {"period_end": NOON}, "/period_end", "order"),
    Case("EnergySource", {"percentage": 100}, {"percentage": 100.5}, "/percentage", "range"),
    Case("EnergySource", {"percentage": 0}, {"percentage": -1}, "/percentage", "range"),
    Case("EnvironmentalImpact", {"amount": 0}, {"amount": -0.5}, "/amount", "negative"),
    Case(
        "EnergyMix",
        {"energy_sources": [energy_source(one, 33.3) for one in ("GAS", "COAL", "WIND")]},
        {"energy_sources": [energy_source(one, 33.2) for one in ("GAS", "COAL", "WIND")]},
        "/energy_sources",
        "sum",
    ),
    Case(
        "EnergyMix",
        {"is_green_energy": False, "energy_sources": MIXED},
        {"is_green_energy": True, "energy_sources": MIXED},
        "/is_green_energy",
        "contradiction",
    ),
    Case("PriceComponent", {"step_size": 1}, {"step_size": 0}, "/step_size", "range"),
    Case(
        "PriceComponent",
        {"type": "FLAT", "step_size": 0},
        {"type": "FLAT", "step_size": -1},
        "/step_size",
        "range",
    ),
    Case(
        "TariffRestrictions",
        {"start_date": "2024-02-29"},
        {"start_date": "2023-02-29"},
        "/start_date",
        "date",
    ),
    Case("TariffRestrictions", {"end_date": "2024-12-31"}, {"end_date": "2024-11-31"}, "/end_date", "date"),
    Case(
        "TariffRestrictions",
        {"start_date": "2024-01-01", "end_date": "2024-01-02"},
        {"start_date": "2024-01-02", "end_date": "2024-01-02"},
        "/end_date",
        "order",
    ),
    *(
        Case(
            "TariffRestrictions",
            {f"min_{name}": 5, f"max_{name}": 5},
            {f"min_{name}": 5, f"max_{name}": 4},
            f"/max_{name}",
            "order",
        )
        for name in ("kwh", "power", "duration")
    ),
    *(
        Case("TariffRestrictions", {name: 0}, {name: -1}, f"/{name}", "negative")
        for name in ("min_kwh", "max_kwh", "min_duration", "max_duration")
    ),
    Case("ResponseFormat", {"status_code": 2999}, {"status_code": 200}, "/status_code", "range"),
    Case("Tariff", {"currency": "SEK"}, {"currency": "eur"}, "/currency", "currency"),
    Case("Location", {"country": "DEU"}, {"country": "DE"}, "/country", "country"),
    Case(
        "Location", {"time_zone": "Europe/Paris"}, {"time_zone": "CEST (summer)"}, "/time_zone", "time-zone"
    ),
    Case("EVSE", {"evse_id": "frcpoe123*4"}, {"evse_id": "FR-CPO-E1234"}, "/evse_id", "evse-id"),
    Case("EVSE", {"evse_id": None, "status": "REMOVED"}, {"evse_id": None}, "/evse_id", "missing"),
    Case(
        "Hours",
        {"exceptional_openings": [period(NOON, ONE)], "exceptional_closings": [period(ONE, TWO)]},
        {"exceptional_openings": [period(NOON, TWO)], "exceptional_closings": [period(ONE, THREE)]},
        "/exceptional_closings/0",
        "overlap",
    ),
    Case(
        "Hours",
        {"twentyfourseven": True},
        {"twentyfourseven": True, "regular_hours": [SOUND_IN_BOTH["RegularHours"]]},
        "/regular_hours",
        "unexpected",
    ),
    Case("CDR", {"currency": "SEK"}, {"currency": "978"}, "/currency", "currency"),
    Case("CDR", {"total_parking_time": 1}, {"total_parking_time": 1.5}, "/total_time", "order"),
    Case("CDR", {"total_energy": 0}, {"total_energy": -1}, "/total_energy", "negative"),
    Case("CDR", {"total_parking_time": 0}, {"total_parking_time": -1}, "/total_parking_time", "negative"),
    Case(
        "CDR",
        {"charging_periods": [charging_period(NOON), charging_period(NOON), charging_period(ONE)]},
        {"charging_periods": [charging_period(ONE), charging_period(NOON)]},
        "/charging_periods/1/start_date_time",
        "order",
    ),
    Case(
        "CDR",
        {"charging_periods": [charging_period(NOON)]},
        {"charging_periods": [charging_period("2024-05-01T11:59:59Z")]},
        "/charging_periods/0/start_date_time",
        "order",
    ),
    Case(
        "CDR",
        {"charging_periods": [charging_period(ONE)]},
        {"charging_periods": [charging_period("2024-05-01T13:00:01Z")]},
        "/charging_periods/0/start_date_time",
        "order",
    ),
    Case(
        "CdrDimension", {"type": "TIME", "volume": 0}, {"type": "TIME", "volume": -1}, "/volume", "negative"
    ),
    Case("Session", {"currency": "SEK"}, {"currency": "EU"}, "/currency", "currency"),
    Case("Session", {"kwh": 0}, {"kwh": -1}, "/kwh", "negative"),
    Case(
        "Session",
        {"charging_periods": [charging_period(NOON), charging_period(ONE)]},
        {"charging_periods": [charging_period(TWO), charging_period(ONE)]},
        "/charging_periods/1/start_date_time",
        "order",
    ),
    Case("Token", {"language": None}, {"language": "EN"}, "/language", "language"),
    Case(
        "AuthorizationInfo",
        {"allowed": "ALLOWED", "location": {"location_id": "L1"}},
        {"allowed": "BLOCKED", "location": {"location_id": "L1"}},
        "/location",
        "unexpected",
    ),
)
