"""What happened in one made-up charge, drawn from a seed; knows no class of any version of OCPI.

A driver of an eMSP charges at a CPO's station somewhere in France. Every number is drawn on a grid on which
all that follows from it is exact: three minutes, 200 W, 5 cents. Nothing needs rounding, so sums are sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import TypeVar

from attrs import frozen

T = TypeVar("T")

TICK = timedelta(minutes=3)
"""A twentieth of an hour: the grid of all durations."""
VAT = 20
"""Per cent."""
LARGEST_SEED = 10**9 - 1

_DAY = timedelta(days=1)
_SUMMER = datetime(2025, 3, 30, 1, tzinfo=UTC), datetime(2025, 10, 26, 1, tzinfo=UTC)
"""Daylight saving time of the year in which everything happens."""


class Dice:
    """Random choices that every Python makes alike: of `random`, only seeding and `random()` are promised."""

    def __init__(self, seed: int, topic: str) -> None:
        source = Random()  # noqa: S311 - made-up data, no secret
        source.seed(f"{topic} {seed}", version=2)
        self._random = source.random

    def below(self, end: int) -> int:
        """Draw one of 0, 1, ... up to and without `end`."""
        return int(self._random() * end)

    def between(self, first: int, last: int) -> int:
        """Draw a number, both ends included."""
        return first + self.below(last - first + 1)

    def happens(self, percent: int) -> bool:
        """Draw whether something happens that happens so often."""
        return self.below(100) < percent

    def choice(self, among: Sequence[T]) -> T:
        """Draw one of several."""
        return among[self.below(len(among))]

    def some(self, among: Sequence[T], percent: int = 50) -> list[T]:
        """Draw some of several, in their order."""
        return [one for one in among if self.happens(percent)]

    def hexadecimal(self, digits: int) -> str:
        """Draw digits in lower case."""
        return "".join("0123456789abcdef"[self.below(16)] for _ in range(digits))

    def uuid(self) -> str:
        """Draw a UUID of version 4."""
        text = self.hexadecimal(30)
        variant = "89ab"[self.below(4)]
        return f"{text[:8]}-{text[8:12]}-4{text[12:15]}-{variant}{text[15:18]}-{text[18:]}"


def fixed(units: int, places: int) -> Decimal:
    """Return a count of tenths, hundredths, ... as a number; exact whatever the decimal context."""
    while places and units % 10 == 0:
        units, places = units // 10, places - 1
    return Decimal((int(units < 0), tuple(int(digit) for digit in str(abs(units))), -places))


def code(seed: int, salt: int, digits: int, base: str) -> str:
    """Return a text that looks random and is another one for every seed."""
    size = len(base) ** digits
    number = (
        (seed + 1) * 0x9E3779B97F4A7C15 + salt
    ) % size  # the factor has no divisor in common with the size
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, len(base))
        text = base[digit] + text
    return text


_HEX = "0123456789ABCDEF"
_ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


# --- the place -------------------------------------------------------------------------------------------


@frozen
class Town:
    """A town; its middle in millionths of a degree, WGS 84."""

    name: str
    postal_code: str
    region: str
    latitude: int
    longitude: int


_TOWNS = (
    Town("Lyon", "69003", "Auvergne-Rhône-Alpes", 45_757_814, 4_854_011),
    Town("Nantes", "44000", "Pays de la Loire", 47_218_371, -1_553_621),
    Town("Toulouse", "31000", "Occitanie", 43_604_652, 1_444_209),
    Town("Lille", "59000", "Hauts-de-France", 50_629_250, 3_057_256),
    Town("Rennes", "35000", "Bretagne", 48_117_266, -1_677_793),
    Town("Dijon", "21000", "Bourgogne-Franche-Comté", 47_322_047, 5_041_480),
    Town("Strasbourg", "67000", "Grand Est", 48_573_405, 7_732_111),
    Town("Bordeaux", "33000", "Nouvelle-Aquitaine", 44_847_789, -579_180),
    Town("Clermont-Ferrand", "63000", "Auvergne-Rhône-Alpes", 45_777_222, 3_087_025),
    Town("Tours", "37000", "Centre-Val de Loire", 47_394_144, 684_840),
    Town("Rouen", "76000", "Normandie", 49_443_232, 1_109_971),
    Town("Grenoble", "38000", "Auvergne-Rhône-Alpes", 45_188_529, 5_734_524),
    Town("Montpellier", "34000", "Occitanie", 43_610_769, 3_906_716),
    Town("Orléans", "45000", "Centre-Val de Loire", 47_892_964, 1_919_251),
    Town("Saint-Étienne", "42000", "Auvergne-Rhône-Alpes", 45_449_695, 4_387_178),
    Town("Besançon", "25000", "Bourgogne-Franche-Comté", 47_227_829, 6_014_020),
    Town("Limoges", "87000", "Nouvelle-Aquitaine", 45_843_619, 1_269_371),
    Town("Angers", "49000", "Pays de la Loire", 47_468_420, -553_148),
    Town("Reims", "51100", "Grand Est", 49_248_329, 4_021_699),
    Town("Aurillac", "15000", "Auvergne-Rhône-Alpes", 44_920_898, 2_448_379),
)
_STREETS = (
    "rue de la République",
    "avenue Jean Jaurès",
    "place de la Gare",
    "boulevard Victor Hugo",
    "rue du Général de Gaulle",
    "avenue de l'Europe",
    "rue Pasteur",
    "cours Gambetta",
    "allée des Tilleuls",
    "rue de l'Église",
    "quai Voltaire",
    "route de Paris",
)


@frozen
class Kind:
    """A kind of site.

    Attributes:
        title: What its name begins with.
        type: OCPI 2.1.1's word for it.
        parking: OCPI 2.2.1's word for it.
        facilities: What it belongs to.
        power: The plugs that are found there: "AC" or "DC".
        hours: By weekday from Monday, when it is open; none: always.
    """

    title: str
    type: str
    parking: str
    facilities: tuple[str, ...]
    power: str
    hours: tuple[tuple[str, str] | None, ...] = ()


_SHOP = (("08:30", "20:30"),) * 6
KINDS = (
    Kind("Station", "ON_STREET", "ON_STREET", (), "AC"),
    Kind("Station", "ON_STREET", "ON_STREET", ("BUS_STOP", "TRAM_STOP"), "AC"),
    Kind("Parking de la Gare", "PARKING_LOT", "PARKING_LOT", ("TRAIN_STATION", "TAXI_STAND"), "AC"),
    Kind("Parking du Centre", "UNDERGROUND_GARAGE", "UNDERGROUND_GARAGE", ("MALL", "CAFE"), "AC"),
    Kind("Parking des Halles", "PARKING_GARAGE", "PARKING_GARAGE", (), "AC", (("06:00", "23:00"),) * 7),
    Kind(
        "Hypermarché",
        "PARKING_LOT",
        "PARKING_LOT",
        ("SUPERMARKET", "MALL"),
        "DC",
        (*_SHOP, ("09:00", "12:30")),
    ),
    Kind("Magasin", "PARKING_LOT", "PARKING_LOT", ("SUPERMARKET",), "DC", (*_SHOP, None)),
    Kind("Hôtel", "PARKING_LOT", "PARKING_LOT", ("HOTEL", "RESTAURANT", "WIFI"), "AC"),
    Kind("Aire de services", "OTHER", "ALONG_MOTORWAY", ("FUEL_STATION", "RESTAURANT", "WIFI"), "DC"),
)


@frozen
class Plug:
    """A socket or a cable, in volts, amperes and watts.

    Attributes:
        voltage: Line to neutral where there are three phases.
        limit: What the charger gives where it is less than voltage, phases and amperage make.
        power: What it gives.
    """

    standard: str
    format: str
    power_type: str
    voltage: int
    amperage: int
    limit: int | None
    power: int


_TYPE_E = Plug("DOMESTIC_E", "SOCKET", "AC_1_PHASE", 230, 16, None, 3_680)
_AC = (
    (Plug("IEC_62196_T2", "SOCKET", "AC_3_PHASE", 230, 32, None, 22_080), _TYPE_E),
    (Plug("IEC_62196_T2", "SOCKET", "AC_3_PHASE", 230, 32, None, 22_080),),
    (Plug("IEC_62196_T2", "SOCKET", "AC_1_PHASE", 230, 32, None, 7_360), _TYPE_E),
    (Plug("IEC_62196_T2", "CABLE", "AC_3_PHASE", 230, 16, None, 11_040),),
)
_DC = (
    (
        Plug("IEC_62196_T2_COMBO", "CABLE", "DC", 500, 125, 50_000, 50_000),
        Plug("CHADEMO", "CABLE", "DC", 500, 125, 50_000, 50_000),
    ),
    (Plug("IEC_62196_T2_COMBO", "CABLE", "DC", 920, 200, 150_000, 150_000),),
    (Plug("IEC_62196_T2_COMBO", "CABLE", "DC", 1000, 500, 350_000, 350_000),),
)
_STATUSES = (
    *("AVAILABLE",) * 24,
    *("CHARGING",) * 8,
    *("OUTOFORDER", "INOPERATIVE", "RESERVED", "BLOCKED", "UNKNOWN", "PLANNED"),
)


@frozen(kw_only=True)
class Station:
    """What charges one vehicle: an EVSE."""

    number: int
    uid: str
    evse_id: str
    status: str
    plugs: tuple[Plug, ...]
    installed: datetime
    changed: datetime


@frozen(kw_only=True)
class Site:
    """A place with some stations; its position in millionths of a degree."""

    id: str
    name: str
    kind: Kind
    address: str
    town: Town
    latitude: int
    longitude: int
    stations: tuple[Station, ...]
    changed: datetime


# --- the price -------------------------------------------------------------------------------------------


@frozen
class Element:
    """Prices in cents by dimension, and when they apply in local time; without hours and days, always.

    ENERGY is per kWh, TIME and PARKING_TIME are per hour. Hours are minutes of the day.
    """

    prices: tuple[tuple[str, int], ...]
    hours: tuple[int, int] | None = None
    days: tuple[int, ...] = ()

    def applies(self, local: datetime) -> bool:
        """Tell whether the prices hold from that moment on."""
        minute = local.hour * 60 + local.minute
        return (self.hours is None or self.hours[0] <= minute < self.hours[1]) and (
            not self.days or local.weekday() in self.days
        )


@frozen(kw_only=True)
class PriceList:
    """A tariff: of each dimension the price of the first element that applies."""

    id: str
    elements: tuple[Element, ...]
    words: tuple[str, str]
    changed: datetime

    def price(self, dimension: str, local: datetime) -> int:
        """Return what a unit costs in cents at that moment; 0 where it is not charged for."""
        return next(
            (
                cents
                for element in self.elements
                if element.applies(local)
                for name, cents in element.prices
                if name == dimension
            ),
            0,
        )

    def ends(self, local: datetime) -> bool:
        """Tell whether another element may apply from that moment on."""
        minute = local.hour * 60 + local.minute
        edges = {edge for element in self.elements for edge in element.hours or ()}
        return minute in edges or (minute == 0 and any(element.days for element in self.elements))


# --- the charge ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Badge:
    """How the driver is known."""

    uid: str
    type: str
    contract_id: str
    printed: str | None
    changed: datetime


@frozen(kw_only=True)
class Stretch:
    """A part of a charge in which neither power nor prices change.

    Attributes:
        ticks: How long it lasts.
        hectowatts: Its power, in tenths of a kW; 0 once the vehicle only stands there.
    """

    begin: datetime
    ticks: int
    hectowatts: int

    @property
    def end(self) -> datetime:
        """When it is over."""
        return self.begin + self.ticks * TICK

    @property
    def energy(self) -> int:
        """Hundredths of a kWh."""
        return self.hectowatts * self.ticks // 2


@frozen
class Costs:
    """What a charge costs without VAT, in hundredths of a cent."""

    fixed: int
    energy: int
    time: int
    parking: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.fixed + self.energy + self.time + self.parking


@frozen(kw_only=True)
class Story:
    """One charge, with all that belongs to it.

    Attributes:
        passed_on: Whether the objects are seen as IOP passes them on, with what GIREVE adds.
        authorized: Whether the eMSP was asked: "AUTH_REQUEST", "COMMAND" or "WHITELIST".
    """

    seed: int
    site: Site
    station: Station
    plug: Plug
    tariff: PriceList
    badge: Badge
    stretches: tuple[Stretch, ...]
    session_id: str
    cdr_id: str
    authorized: str
    authorization: str
    passed_on: bool

    def dice(self, topic: str) -> Dice:
        """Return the choices of one topic: those of other topics do not move them."""
        return Dice(self.seed, topic)

    @property
    def begin(self) -> datetime:
        """When the charge begins."""
        return self.stretches[0].begin

    @property
    def end(self) -> datetime:
        """When the vehicle leaves."""
        return self.stretches[-1].end

    def costs(self, stretches: Sequence[Stretch]) -> Costs:
        """Compute what the first stretches cost."""
        flat = self.tariff.price("FLAT", local_time(self.begin)) * 100 if stretches else 0
        energy = time = parking = 0
        for one in stretches:
            local = local_time(one.begin)
            energy += one.energy * self.tariff.price("ENERGY", local)
            if one.hectowatts:
                time += one.ticks * 5 * self.tariff.price("TIME", local)
            else:
                parking += one.ticks * 5 * self.tariff.price("PARKING_TIME", local)
        return Costs(flat, energy, time, parking)


def local_time(moment: datetime) -> datetime:
    """Return the time in France, without time zone data: of the year in which everything happens."""
    summer = _SUMMER[0] <= moment < _SUMMER[1]
    return (moment + timedelta(hours=2 if summer else 1)).replace(tzinfo=None)


@lru_cache(maxsize=1024)
def tell(seed: int, cpo: tuple[str, str], emsp: tuple[str, str]) -> Story:
    """Draw the story of a seed."""
    dice = Dice(seed, "charge")
    begin = datetime(2025, 1, 2, tzinfo=UTC) + dice.below(350) * _DAY + dice.below(480) * TICK
    site = _site(seed, cpo, begin)
    station = dice.choice(site.stations)
    plug = dice.choice(station.plugs)
    tariff = _price_list(seed, fast=plug.power > 43_000)
    return Story(
        seed=seed,
        site=site,
        station=station,
        plug=plug,
        tariff=tariff,
        badge=_badge(seed, emsp, begin),
        stretches=tuple(_stretches(dice, begin, plug, tariff)),
        session_id=dice.uuid(),
        cdr_id=f"CDR-{begin:%Y%m}-{seed:06d}",
        authorized=dice.choice(("AUTH_REQUEST", "AUTH_REQUEST", "COMMAND", "WHITELIST")),
        authorization=dice.uuid(),
        passed_on=dice.happens(25),
    )


def _site(seed: int, cpo: tuple[str, str], before: datetime) -> Site:
    dice = Dice(seed, "site")
    town, kind = dice.choice(_TOWNS), dice.choice(KINDS)
    street = dice.choice(_STREETS)
    number = f"{seed:06d}"
    groups = _AC if kind.power == "AC" else _DC
    installed = datetime(2024, 3, 4, 8, 30, tzinfo=UTC) + dice.below(250) * _DAY
    stations = [
        Station(
            number=place,
            uid=f"{number}-{place}",
            evse_id=f"{cpo[0]}*{cpo[1]}*E{number}*{place}",
            status=dice.choice(_STATUSES),
            plugs=dice.choice(groups),
            installed=installed,
            changed=before - dice.between(600, 20 * 86_400) * timedelta(seconds=1),
        )
        for place in range(1, dice.choice((1, 2, 2, 2, 3, 4)) + 1)
    ]
    return Site(
        id=f"LOC{number}",
        name=f"{kind.title} {town.name} – {street.split(' ', 1)[1]}",
        kind=kind,
        address=f"{dice.between(1, 148)} {street}",
        town=town,
        latitude=town.latitude + dice.between(-15_000, 15_000),
        longitude=town.longitude + dice.between(-20_000, 20_000),
        stations=tuple(stations),
        changed=max(station.changed for station in stations),
    )


def _euros(cents: int) -> tuple[str, str]:
    """Write an amount in French and in English."""
    euros = f"{cents // 100}.{cents % 100:02d}"
    return f"{euros.replace('.', ',')} €", f"€{euros}"


def _price_list(seed: int, *, fast: bool) -> PriceList:
    dice = Dice(seed, "tariff")
    energy = 5 * (dice.between(8, 13) if fast else dice.between(4, 9))
    cheaper = energy - 5 * dice.between(1, 2)
    extra = 50 * dice.between(1, 6)
    kwh = f"{_euros(energy)[0]}/kWh", f"{_euros(energy)[1]} per kWh"
    less = f"{_euros(cheaper)[0]}/kWh", f"{_euros(cheaper)[1]} per kWh"
    more, hour = _euros(extra), _euros(100 + extra)
    elements, words = dice.choice(
        (
            ((Element((("ENERGY", energy),)),), kwh),
            (
                (Element((("ENERGY", energy), ("PARKING_TIME", extra))),),
                (
                    f"{kwh[0]}, puis {more[0]}/h de stationnement",
                    f"{kwh[1]}, then {more[1]} per hour of parking",
                ),
            ),
            (
                (Element((("FLAT", extra), ("ENERGY", energy))),),
                (f"{more[0]} + {kwh[0]}", f"{more[1]} + {kwh[1]}"),
            ),
            (
                (Element((("TIME", 100 + extra), ("PARKING_TIME", 100 + extra))),),
                (f"{hour[0]} par heure", f"{hour[1]} per hour"),
            ),
            (
                (Element((("ENERGY", energy),), hours=(480, 1200)), Element((("ENERGY", cheaper),))),
                (f"{kwh[0]} de 8 h à 20 h, sinon {less[0]}", f"{kwh[1]} from 8 to 20, else {less[1]}"),
            ),
            (
                (Element((("ENERGY", cheaper),), days=(5, 6)), Element((("ENERGY", energy),))),
                (f"{kwh[0]}, le week-end {less[0]}", f"{kwh[1]}, at weekends {less[1]}"),
            ),
            ((Element((("FLAT", 0),)),), ("Gratuit", "Free of charge")),
        )
    )
    return PriceList(
        id=f"TARIFF-{seed:06d}",
        elements=elements,
        words=words,
        changed=datetime(2024, 2, 1, 9, tzinfo=UTC) + dice.below(30) * _DAY,
    )


def _badge(seed: int, emsp: tuple[str, str], before: datetime) -> Badge:
    dice = Dice(seed, "badge")
    type_ = dice.choice(("RFID", "RFID", "RFID", "RFID", "APP_USER", "AD_HOC_USER", "OTHER"))
    if type_ == "RFID":
        # 7 bytes begin with the maker of the chip; 4 bytes are what older cards have.
        uid = "04" + code(seed, 0x51, 12, _HEX) if dice.happens(75) else code(seed, 0x77, 8, _HEX)
    else:
        uid = dice.uuid()
    instance = code(seed, 0x2F, 8, _ALPHANUMERIC)
    return Badge(
        uid=uid,
        type=type_,
        contract_id=f"{emsp[0]}-{emsp[1]}-C{instance}",
        printed=f"{emsp[0]} {emsp[1]} {instance[:4]} {instance[4:]}" if type_ == "RFID" else None,
        changed=before - dice.between(1, 200 * 1440) * timedelta(minutes=1),
    )


def _stretches(dice: Dice, begin: datetime, plug: Plug, tariff: PriceList) -> list[Stretch]:
    """Draw how the charge goes, cut where the price may change."""
    fast = plug.power > 43_000
    # Most vehicles take less than the plug gives.
    best = min(
        plug.power // 100, dice.choice((500, 1000, 1500, 2200)) if fast else dice.choice((36, 72, 110, 220))
    )
    parts: list[tuple[int, int]] = []
    for part in range(dice.between(1, 3)):
        hectowatts = max(20, best * (10 - 3 * part) // 10) // 2 * 2
        ticks = dice.between(2, 7) if fast else dice.between(8, 50)
        parts.append((min(ticks, 5000 // hectowatts), hectowatts))  # at most 25 kWh
    if dice.happens(50):
        parts.append((dice.between(1, 4 if fast else 40), 0))
    found: list[Stretch] = []
    for ticks, hectowatts in parts:
        left = ticks
        while left:
            now = 1
            while now < left and not tariff.ends(local_time(begin + now * TICK)):
                now += 1
            found.append(Stretch(begin=begin, ticks=now, hectowatts=hectowatts))
            begin, left = found[-1].end, left - now
    return found
