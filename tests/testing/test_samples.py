from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Annotated, TypeVar, cast

import pytest
from attrs import evolve

from ocpi_gireve import v211, v221
from ocpi_gireve._codec import decode, encode
from ocpi_gireve._model import Digits, Model, NonEmpty, String, Url, field_specs, model
from ocpi_gireve.errors import InvalidObject
from ocpi_gireve.testing import sample, samples
from ocpi_gireve.types import Json, OcpiEnum, PartyId
from ocpi_gireve.validation import validate

M = TypeVar("M", bound=Model)

SEEDS = 500
CLASSES: list[type[Model]] = [
    one
    for package in (v211, v221)
    for one in (getattr(package, name) for name in sorted(package.__all__))
    if isinstance(one, type) and issubclass(one, Model)
]
HOUR = timedelta(hours=1)


def name_of(cls: type[Model]) -> str:
    """Version and name of a class."""
    return cls.reference


def many(cls: type[M]) -> list[M]:
    """Enough samples of a class to see all kinds."""
    return samples(cls, SEEDS)


def volumes(periods: list[v221.ChargingPeriod], dimension: str) -> Decimal:
    """The sum of what was measured."""
    return sum(
        (one.volume for period in periods for one in period.dimensions if one.type == dimension), Decimal()
    )


def test_there_are_samples_of_every_class() -> None:
    """Both versions are covered whole: 41 classes of 2.1.1 with GIREVE's, 56 of 2.2.1."""
    assert Counter(cls.reference.partition(" ")[0] for cls in CLASSES) == {"2.1.1": 41, "2.2.1": 56}


@pytest.mark.parametrize("cls", CLASSES, ids=name_of)
def test_every_sample(cls: type[Model]) -> None:
    """Every sample of every class keeps to the specification, and survives encoding and decoding."""
    for one in many(cls):
        assert type(one) is cls
        assert validate(one) == []
        assert decode(encode(one), cls) == one


def test_every_field_is_seen() -> None:
    """Each field of each class is filled in some sample, but for those of reservations and credits."""
    unseen = {
        f"{cls.reference.partition(' ')[0]} {cls.__name__}.{spec.name}"
        for cls in CLASSES
        for spec in field_specs(cls)
        if not any(getattr(one, spec.name) not in (None, []) for one in samples(cls, 200))
    }
    assert unseen == {
        "2.2.1 CDR.credit",
        "2.2.1 CDR.credit_reference_id",
        "2.2.1 CDR.total_reservation_cost",
        "2.2.1 TariffRestrictions.reservation",
    }


def test_same_in_every_process() -> None:
    """A sample depends on its class and seed alone: not on the process, its hashes or its decimal context."""
    code = (
        "from ocpi_gireve import v221; from ocpi_gireve.testing import samples;"
        "print(v221.encode(samples(v221.CDR, 20, seed=3)).decode())"
    )
    command = (sys.executable, "-X", "utf8", "-c", code)
    done = subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    with localcontext() as context:
        context.prec = 3
        here = encode(samples(v221.CDR, 20, seed=3)).decode()
    assert done.stdout.strip() == here


def test_pinned() -> None:
    """The samples are those of the release before: tests of host applications may rely on them."""
    token = sample(v221.Token, 7)
    assert (token.uid, token.contract_id) == ("483f4952-671d-42ba-8aa2-1ffe20be3cd5", "FR-EMP-CX13V5TQV")
    cdr = sample(v221.CDR, 7)
    assert (cdr.id, cdr.total_energy, cdr.total_cost.excl_vat) == (
        "CDR-202503-000007",
        Decimal("67.1"),
        Decimal("36.905"),
    )


def test_samples_follow_on() -> None:
    """`samples` gives the samples of consecutive seeds."""
    assert samples(v221.Token, 3, seed=5) == [sample(v221.Token, seed) for seed in (5, 6, 7)]
    assert samples(v221.Token, 0) == []


@pytest.mark.parametrize(
    "cls",
    [v211.Location, v211.Tariff, v211.CDR, v211.Session, v221.Location, v221.Tariff, v221.CDR, v221.Session],
)
def test_ids_differ(cls: type[Model]) -> None:
    """No two seeds share an id."""
    assert len({cast("v221.Location", one).id for one in many(cls)}) == SEEDS


def test_no_shared_state() -> None:
    """Two samples share no list: what a test does to one is not seen in the other."""
    one, other = sample(v221.Location, 4), sample(v221.Location, 4)
    one.evses.clear()
    assert other.evses
    assert sample(v221.Location, 4) == other


@pytest.mark.parametrize("seed", [-1, 10**9])
def test_seed_out_of_range(seed: int) -> None:
    """A seed out of range is refused."""
    with pytest.raises(ValueError, match="expected a seed of 0 to 999999999"):
        sample(v221.Location, seed)


def test_largest_seed() -> None:
    """The largest seed fits every class."""
    for cls in CLASSES:
        assert decode(encode(sample(cls, 10**9 - 1)), cls) == sample(cls, 10**9 - 1)


def test_parties() -> None:
    """The objects are those of the parties asked for, in their own spelling."""
    cpo, emsp = PartyId("be", "abc"), PartyId("DE", "XYZ")
    location = sample(v221.Location, 1, cpo=cpo)
    assert (location.country_code, location.party_id) == ("be", "abc")
    assert all(evse.evse_id and evse.evse_id.startswith("be*abc*E") for evse in location.evses)
    token = sample(v221.CDR, 1, cpo=cpo, emsp=emsp).cdr_token
    assert (token.country_code, token.party_id) == ("DE", "XYZ")
    assert token.contract_id.startswith("DE-XYZ-C")
    with pytest.raises(InvalidObject, match="party_id"):
        sample(v221.Location, 1, cpo=PartyId("FR", "TOOLONG"))


# --- objects of one seed belong together -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100))
def test_story_of_2_2_1(seed: int) -> None:
    """Location, tariff, token, session and CDR of one seed are those of one charge."""
    location, tariff = sample(v221.Location, seed), sample(v221.Tariff, seed)
    token, session, cdr = sample(v221.Token, seed), sample(v221.Session, seed), sample(v221.CDR, seed)
    assert (cdr.session_id, cdr.start_date_time) == (session.id, session.start_date_time)
    assert cdr.tariffs == [tariff]
    assert {period.tariff_id for period in cdr.charging_periods} == {tariff.id}
    assert (cdr.cdr_location.id, cdr.cdr_location.address) == (location.id, location.address)
    assert (session.location_id, session.evse_uid) == (location.id, cdr.cdr_location.evse_uid)
    (evse,) = (one for one in location.evses if one.uid == session.evse_uid)
    (connector,) = (one for one in evse.connectors if one.id == session.connector_id)
    assert connector.standard == cdr.cdr_location.connector_standard
    assert connector.tariff_ids == [tariff.id]
    assert (session.cdr_token, cdr.cdr_token.uid) == (cdr.cdr_token, token.uid)
    assert session.authorization_reference == cdr.authorization_reference
    assert (cdr.authorization_reference is None) == (cdr.auth_method is v221.AuthMethod.WHITELIST)
    assert token.last_updated <= cdr.start_date_time
    assert location.last_updated <= cdr.start_date_time <= cdr.end_date_time <= cdr.last_updated
    assert session.start_date_time <= session.last_updated


@pytest.mark.parametrize("seed", range(100))
def test_story_of_2_1_1(seed: int) -> None:
    """Both versions tell the same charge: the same ids, moments, energy and cost."""
    older, newer = sample(v211.CDR, seed), sample(v221.CDR, seed)
    assert (older.id, older.auth_id) == (newer.id, newer.cdr_token.contract_id)
    assert (older.start_date_time, older.stop_date_time) == (newer.start_date_time, newer.end_date_time)
    assert (older.total_cost, older.total_energy) == (newer.total_cost.excl_vat, newer.total_energy)
    (evse,) = older.location.evses
    (connector,) = evse.connectors
    assert (evse.uid, connector.id) == (newer.cdr_location.evse_uid, newer.cdr_location.connector_id)
    whole = sample(v211.Location, seed)
    assert whole.id == older.location.id
    assert connector in next(one.connectors for one in whole.evses if one.uid == evse.uid)
    session = sample(v211.Session, seed)
    assert (session.id, session.location) == (newer.session_id, older.location)
    assert session.authorization_id == older.authorization_id == newer.authorization_reference


def test_cdrs_add_up() -> None:
    """Energy and times of a CDR are the sums of its periods, and its cost is the sum of its costs."""
    for cdr in many(v221.CDR):
        periods = cdr.charging_periods
        assert cdr.total_energy == volumes(periods, "ENERGY")
        assert cdr.total_parking_time == volumes(periods, "PARKING_TIME")
        assert cdr.total_time == volumes(periods, "TIME") + volumes(periods, "PARKING_TIME")
        assert cdr.total_time * 3600 == Decimal((cdr.end_date_time - cdr.start_date_time).total_seconds())
        parts = (cdr.total_fixed_cost, cdr.total_energy_cost, cdr.total_time_cost, cdr.total_parking_cost)
        costs = [part for part in parts if part is not None]
        assert cdr.total_cost.excl_vat == sum((cost.excl_vat for cost in costs), Decimal())
        assert cdr.total_cost.incl_vat == sum((cost.incl_vat or Decimal() for cost in costs), Decimal())
        assert cdr.total_cost.incl_vat == cdr.total_cost.excl_vat * Decimal("1.2")
        starts = [period.start_date_time for period in periods]
        assert starts[0] == cdr.start_date_time
        assert all(one < other for one, other in pairwise([*starts, cdr.end_date_time]))


def priced(cdr: v221.CDR) -> Decimal:
    """What a CDR costs by its tariff, computed from the tariff's own words."""
    elements = cdr.tariffs[0].elements

    def price(dimension: str, period: v221.ChargingPeriod) -> Decimal:
        summer = "2025-03-30T01" <= period.start_date_time.isoformat() < "2025-10-26T01"
        local = period.start_date_time + (2 if summer else 1) * HOUR
        for element in elements:
            only = element.restrictions
            if only is not None:
                if (
                    only.start_time
                    and only.end_time
                    and not only.start_time <= f"{local:%H:%M}" < only.end_time
                ):
                    continue
                if only.day_of_week and f"{local:%A}".upper() not in only.day_of_week:
                    continue
            for component in element.price_components:
                if component.type == dimension:
                    return component.price
        return Decimal()

    total = price("FLAT", cdr.charging_periods[0])
    for period in cdr.charging_periods:
        for one in period.dimensions:
            total += one.volume * price(one.type, period)
    return total


def test_costs_follow_the_tariff() -> None:
    """What a CDR costs is what its tariff says of its periods, by the hours and days of France."""
    cdrs = many(v221.CDR)
    for cdr in cdrs:
        assert cdr.total_cost.excl_vat == priced(cdr), cdr.id
    assert any(cdr.total_cost.excl_vat == 0 for cdr in cdrs)
    assert any(cdr.tariffs[0].elements[0].restrictions for cdr in cdrs)


def test_sessions_are_moments_of_the_charge() -> None:
    """A session has ended, goes on, or has not begun; its numbers are those of the periods so far."""
    for session in many(v221.Session):
        assert session.kwh == volumes(session.charging_periods, "ENERGY")
        if session.status is v221.SessionStatus.PENDING:
            assert (session.charging_periods, session.total_cost, session.end_date_time) == ([], None, None)
        else:
            assert session.total_cost is not None
            assert (session.end_date_time is None) == (session.status is v221.SessionStatus.ACTIVE)
    assert {session.status for session in many(v221.Session)} == {"ACTIVE", "COMPLETED", "PENDING"}


def test_power_is_plausible() -> None:
    """No charge takes more power than its connector gives, or more energy than a car holds."""
    for seed in range(SEEDS):
        cdr, location = sample(v221.CDR, seed), sample(v221.Location, seed)
        assert Decimal(1) <= cdr.total_energy <= 100
        (evse,) = (one for one in location.evses if one.uid == cdr.cdr_location.evse_uid)
        (connector,) = (one for one in evse.connectors if one.id == cdr.cdr_location.connector_id)
        phases = 3 if connector.power_type is v221.PowerType.AC_3_PHASE else 1
        most = connector.max_voltage * connector.max_amperage * phases
        assert (connector.max_electric_power or most) <= most
        peaks = [
            one.volume
            for period in cdr.charging_periods
            for one in period.dimensions
            if one.type == "MAX_POWER"
        ]
        assert max(peaks) * 1000 <= (connector.max_electric_power or most)
        assert (connector.power_type is v221.PowerType.DC) == (connector.max_voltage > 400)


# --- forms -----------------------------------------------------------------------------------------------


def test_positions() -> None:
    """Locations lie in metropolitan France, their position written with six decimals."""
    locations: list[v211.Location | v221.Location] = [*many(v221.Location), *many(v211.Location)]
    for location in locations:
        place = location.coordinates
        assert re.fullmatch(r"4[2-9]\.\d{6}|5[01]\.\d{6}", place.latitude)
        assert re.fullmatch(r"-?[0-9]\.\d{6}", place.longitude)
        assert -5 < float(place.longitude) < 8.5
        assert location.country == "FRA"
        assert re.fullmatch(r"\d{5}", location.postal_code or "")


def test_evse_ids() -> None:
    """An EVSE id is that of eMI3 and names its operator; ids are unique within a location."""
    for location in many(v221.Location):
        ids = [evse.evse_id or "" for evse in location.evses]
        assert all(re.fullmatch(r"FR\*CPO\*E[0-9]{6}\*[1-9]", one) for one in ids)
        assert len(set(ids)) == len(ids) == len({evse.uid for evse in location.evses})


def test_tokens() -> None:
    """An RFID uid is the upper-case hexadecimal form of 4 or 7 bytes; a contract id has the form of eMI3."""
    tokens = many(v221.Token)
    cards = [token.uid for token in tokens if token.type is v221.TokenType.RFID]
    assert Counter(len(uid) for uid in cards).keys() == {8, 14}
    assert all(re.fullmatch(r"[0-9A-F]{8}|04[0-9A-F]{12}", uid) for uid in cards)
    assert all(re.fullmatch(r"FR-EMP-C[0-9A-Z]{8}", token.contract_id) for token in tokens)
    assert len({token.uid for token in tokens}) == len({token.contract_id for token in tokens}) == SEEDS
    assert {token.type for token in many(v211.Token)} == {v211.TokenType.RFID, v211.TokenType.OTHER}


def test_opening_hours() -> None:
    """A location is open always, or by weekdays in order, each opening before it closes."""
    for location in many(v221.Location):
        hours = location.opening_times
        assert hours is not None
        assert hours.twentyfourseven == (not hours.regular_hours)
        weekdays = [one.weekday for one in hours.regular_hours]
        assert weekdays == sorted(set(weekdays))
        assert all(one.period_begin < one.period_end for one in hours.regular_hours)
        for period in (*hours.exceptional_openings, *hours.exceptional_closings):
            assert period.period_begin < period.period_end


def test_dates_of_a_location() -> None:
    """A location was updated when the last of its EVSEs was, and an EVSE no earlier than its connectors."""
    locations: list[v211.Location | v221.Location] = [*many(v221.Location), *many(v211.Location)]
    for location in locations:
        assert location.last_updated == max(evse.last_updated for evse in location.evses)
        for evse in location.evses:
            assert all(connector.last_updated <= evse.last_updated for connector in evse.connectors)


def test_values_are_those_of_the_version() -> None:
    """No sample holds an enum value that its version does not list."""

    def unknown(one: Model) -> list[str]:
        found: list[str] = []
        for spec in field_specs(type(one)):
            value: object = getattr(one, spec.name)
            values = cast("list[object]", value) if isinstance(value, list) else [value]
            found += [str(item) for item in values if isinstance(item, OcpiEnum) and not item.is_known]
            for item in values:
                if isinstance(item, Model):
                    found += unknown(item)
        return found

    assert [one for cls in CLASSES for seed in range(40) for one in unknown(sample(cls, seed))] == []


def test_texts_of_2_1_1_are_ascii() -> None:
    """In 2.1.1 names and addresses are ASCII, as its text asks; in 2.2.1 they have their accents."""
    assert all((one.name or "").isascii() and one.city.isascii() for one in many(v211.Location))
    assert any(not one.city.isascii() for one in many(v221.Location))


def test_gireve() -> None:
    """Some objects are as IOP passes them on, with what GIREVE adds; most are as their owner sends them."""
    passed_on = [one for one in many(v221.Location) if one.gireve_id]
    assert 50 < len(passed_on) < 250
    assert all(evse.gireve_id for one in passed_on for evse in one.evses)
    tariffs = [one for one in many(v211.Tariff) if one.party_id]
    assert 50 < len(tariffs) < 250
    for tariff in tariffs:
        for component in (one for element in tariff.elements for one in element.price_components):
            assert component.step_round is not None
            assert component.step_round.round_granularity is v211.RoundGranularity.UNIT


def test_evolve() -> None:
    """A sample is changed with `attrs.evolve`, which checks what it is given."""
    assert evolve(sample(v221.Location), name="Ailleurs").name == "Ailleurs"
    with pytest.raises(InvalidObject, match="at most 255"):
        evolve(sample(v221.Location), name="x" * 256)


# --- classes that nobody knows ---------------------------------------------------------------------------


@model
class Depot(Model):
    """A class of a host application, of which nobody knows but its fields."""

    code: Annotated[str, String(4)]
    page: Annotated[str, Url()] | None = None
    floors: Annotated[int, Digits(1)]
    area: Decimal
    place: v221.GeoLocation
    sources: NonEmpty[v221.EnergySource]
    opened: datetime
    roofed: bool
    parking: v221.ParkingType
    note: Json = None


@model
class Barrier(Model):
    """A class with a field of a form that nobody knows."""

    plate: Annotated[str, String(7, regex="[A-Z]{2}[0-9]{3}[A-Z]{2}")]


def test_class_of_a_host() -> None:
    """A class of which only the fields are known gets values that keep to their rules."""
    for depot in many(Depot):
        assert depot.place.latitude.startswith(("4", "5"))
        assert depot.parking.is_known
        assert decode(encode(depot), Depot) == depot
    assert any(depot.page for depot in many(Depot))


def test_form_that_nobody_knows() -> None:
    """A text of a form that cannot be made up is an error that names the field, and never a wrong text."""
    with pytest.raises(ValueError, match="plate: a text that matches"):
        sample(Barrier)
