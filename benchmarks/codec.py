"""How fast the codec is beside other ways from bytes to objects and back: `python benchmarks/codec.py`.

Every round runs each variant once, in turn; a figure is the median, over the rounds, of the variant's time
divided by the yardstick's in the same round. The yardstick of reading is `orjson.loads` of the same bytes,
that of writing `json.dumps` of the same dicts. Ours keeps what it does not know and refuses properties that
stand twice in an object; none of the others does either.

It prints a table, and then the same figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Annotated, Any, cast

import msgspec
import orjson
import pydantic

from ocpi_gireve import v221
from ocpi_gireve._model import FieldSpec, Model, field_specs
from ocpi_gireve.types import OcpiEnum
from ocpi_gireve.v221 import decode_page, encode

Object = dict[str, Any]
Variants = dict[str, Callable[[], object]]
YARDSTICK = "yardstick"


# --- data ----------------------------------------------------------------------------------------------


class Data:
    """Draws objects as a CPO of some size has them.

    Args:
        unknown: What an object's further property is called, given a number; None: it has none.
    """

    def __init__(self, unknown: Callable[[int], str] | None = None) -> None:
        self._random = random.Random(221)
        self._unknown = unknown
        self._count = 0

    def with_unknown(self, one: Object) -> Object:
        """Add a property that OCPI does not define."""
        if self._unknown is not None:
            self._count += 1
            one[self._unknown(self._count)] = f"value {self._random.randrange(1000)}"
        return one

    def moment(self) -> str:
        """A moment, one in four with milliseconds."""
        day, second = self._random.randrange(1, 29), self._random.randrange(60)
        fraction = self._random.choice(("", "", "", ".250"))
        return f"2024-05-{day:02}T10:20:{second:02}{fraction}Z"

    def text(self, language: str, text: str) -> Object:
        """A DisplayText."""
        return self.with_unknown({"language": language, "text": text})

    def place(self) -> Object:
        """A GeoLocation."""
        north, east = self._random.randrange(10**6), self._random.randrange(10**6)
        return self.with_unknown({"latitude": f"48.{north:06}", "longitude": f"2.{east:06}"})

    def image(self, name: str, category: str) -> Object:
        """An Image."""
        url = f"https://images.example.com/{name}"
        return self.with_unknown(
            {
                "url": f"{url}.jpg",
                "thumbnail": f"{url}-small.jpg",
                "category": category,
                "type": "jpeg",
                "width": 640,
                "height": 480,
            }
        )

    def connector(self, number: int) -> Object:
        """A Connector."""
        return self.with_unknown(
            {
                "id": str(number),
                "standard": self._random.choice(("IEC_62196_T2", "IEC_62196_T2_COMBO", "CHADEMO")),
                "format": self._random.choice(("SOCKET", "CABLE")),
                "power_type": "AC_3_PHASE",
                "max_voltage": 230,
                "max_amperage": 32,
                "max_electric_power": 22000,
                "tariff_ids": [f"TARIFF-{self._random.randrange(100)}", "TARIFF-AD-HOC"],
                "terms_and_conditions": "https://www.example.com/terms-and-conditions",
                "last_updated": self.moment(),
            }
        )

    def evse(self, location: int, number: int) -> Object:
        """An EVSE with two connectors."""
        return self.with_unknown(
            {
                "uid": f"EVSE-{location}-{number}",
                "evse_id": f"FR*ABC*E{location:06}*{number}",
                "status": self._random.choice(("AVAILABLE", "CHARGING", "OUTOFORDER")),
                "capabilities": ["RFID_READER", "REMOTE_START_STOP_CAPABLE", "RESERVABLE"],
                "connectors": [self.connector(1), self.connector(2)],
                "floor_level": "-1",
                "coordinates": self.place(),
                "physical_reference": f"P{number}",
                "directions": [self.text("fr", "Au fond du parking, à gauche de l'entrée")],
                "parking_restrictions": ["EV_ONLY"],
                "images": [self.image(f"{location}/{number}", "CHARGER")],
                "last_updated": self.moment(),
            }
        )

    def location(self, number: int) -> Object:
        """A Location with four EVSEs."""
        hours = [
            self.with_unknown({"weekday": day, "period_begin": "08:00", "period_end": "20:00"})
            for day in range(1, 6)
        ]
        closing = {"period_begin": "2024-12-25T00:00:00Z", "period_end": "2024-12-26T00:00:00Z"}
        mix = {
            "is_green_energy": False,
            "energy_sources": [
                self.with_unknown({"source": "WIND", "percentage": 60.5}),
                self.with_unknown({"source": "NUCLEAR", "percentage": 39.5}),
            ],
            "environ_impact": [self.with_unknown({"category": "CARBON_DIOXIDE", "amount": 12.25})],
            "supplier_name": "Example Energy",
            "energy_product_name": "Green Wind",
        }
        opening = {
            "twentyfourseven": False,
            "regular_hours": hours,
            "exceptional_closings": [self.with_unknown(closing)],
        }
        operator = {
            "name": "ABC Charging",
            "website": "https://www.example.com",
            "logo": self.image("logo", "OPERATOR"),
        }
        return self.with_unknown(
            {
                "country_code": "FR",
                "party_id": "ABC",
                "id": f"LOC{number:05}",
                "publish": True,
                "name": f"Gare {number}",
                "address": f"{number} rue de Rivoli",
                "city": "Paris",
                "postal_code": "75001",
                "country": "FRA",
                "coordinates": self.place(),
                "related_locations": [
                    self.with_unknown({**self.place(), "name": self.text("en", "Entrance")})
                ],
                "parking_type": "PARKING_GARAGE",
                "evses": [self.evse(number, one) for one in range(1, 5)],
                "directions": [self.text("en", "Next to the station")],
                "operator": self.with_unknown(operator),
                "facilities": ["TRAIN_STATION", "WIFI"],
                "time_zone": "Europe/Paris",
                "opening_times": self.with_unknown(opening),
                "charging_when_closed": True,
                "images": [self.image(f"{number}", "LOCATION")],
                "energy_mix": self.with_unknown(mix),
                "last_updated": self.moment(),
            }
        )

    def token(self, number: int) -> Object:
        """A Token."""
        return self.with_unknown(
            {
                "country_code": "DE",
                "party_id": "XYZ",
                "uid": f"{number:014X}",
                "type": "RFID",
                "contract_id": f"DE-XYZ-C{number:08}-K",
                "visual_number": f"DF000-{number:05}",
                "issuer": "Example Mobility",
                "group_id": f"GROUP-{number // 10}",
                "valid": True,
                "whitelist": "ALLOWED",
                "language": "de",
                "last_updated": self.moment(),
            }
        )

    def cdr(self, periods: int) -> Object:
        """A CDR."""
        energy = [
            {
                "start_date_time": self.moment(),
                "dimensions": [
                    {"type": "ENERGY", "volume": 0.25 * number},
                    {"type": "MAX_CURRENT", "volume": 31.5},
                ],
                "tariff_id": "TARIFF-12",
            }
            for number in range(1, periods + 1)
        ]
        return {
            "country_code": "FR",
            "party_id": "ABC",
            "id": "CDR0001",
            "start_date_time": "2024-05-02T10:20:30Z",
            "end_date_time": "2024-05-02T12:50:30Z",
            "session_id": "SESSION-1",
            "cdr_token": {
                "country_code": "DE",
                "party_id": "XYZ",
                "uid": "012345678",
                "type": "RFID",
                "contract_id": "DE-XYZ-C12345678-K",
            },
            "auth_method": "WHITELIST",
            "cdr_location": {
                "id": "LOC1",
                "name": "Gare 1",
                "address": "1 rue de Rivoli",
                "city": "Paris",
                "postal_code": "75001",
                "country": "FRA",
                "coordinates": self.place(),
                "evse_uid": "3256",
                "evse_id": "FR*ABC*E000001*1",
                "connector_id": "1",
                "connector_standard": "IEC_62196_T2",
                "connector_format": "SOCKET",
                "connector_power_type": "AC_3_PHASE",
            },
            "currency": "EUR",
            "tariffs": [self.tariff(12)],
            "charging_periods": energy,
            "total_cost": {"excl_vat": 4.05, "incl_vat": 4.86},
            "total_energy": 15.342,
            "total_time": 2.5,
            "last_updated": "2024-05-02T12:51:00Z",
        }

    def tariff(self, number: int) -> Object:
        """A Tariff with an element for each of four parts of the day."""
        elements = [
            {
                "price_components": [
                    {"type": "ENERGY", "price": 0.25 + part / 100, "vat": 20.0, "step_size": 1},
                    {"type": "PARKING_TIME", "price": 5.0, "vat": 20.0, "step_size": 300},
                ],
                "restrictions": {
                    "start_time": f"{6 * part:02}:00",
                    "end_time": f"{6 * part + 5:02}:59",
                    "max_power": 22.5,
                    "day_of_week": ["MONDAY", "TUESDAY", "WEDNESDAY"],
                },
            }
            for part in range(4)
        ]
        return self.with_unknown(
            {
                "country_code": "FR",
                "party_id": "ABC",
                "id": f"TARIFF-{number}",
                "currency": "EUR",
                "type": "REGULAR",
                "tariff_alt_text": [self.text("en", "0.25 euro per kWh, more at noon")],
                "min_price": {"excl_vat": 0.5, "incl_vat": 0.6},
                "elements": elements,
                "start_date_time": "2024-01-01T00:00:00Z",
                "last_updated": self.moment(),
            }
        )


def page(items: list[Object]) -> bytes:
    """An answer with a list, as compact as JSON can be."""
    envelope = {"data": items, "status_code": 1000, "timestamp": "2024-05-02T12:51:00Z"}
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


# --- the same classes for others -----------------------------------------------------------------------

SCALARS: Mapping[str, Any] = {
    "string": str,
    "int": int,
    "number": Decimal,
    "boolean": bool,
    "datetime": datetime,
    "any": object,
}

EMPTY: Callable[[], list[Any]] = list


class Peers:
    """The classes of our models as msgspec Structs and as pydantic models."""

    def __init__(self) -> None:
        self._structs: dict[type[Model], Any] = {}
        self._pydantic: dict[type[Model], Any] = {}

    def struct(self, cls: type[Model]) -> Any:  # noqa: ANN401 - a class made while running
        """A Struct with the fields and the lengths of a model."""
        if cls not in self._structs:
            fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
            for spec in field_specs(cls):
                kind = self._kind(spec, self.struct, lambda length: msgspec.Meta(max_length=length))
                absent: Any = msgspec.field(default_factory=EMPTY) if spec.many else None
                fields.append((spec.name, kind) if spec.required else (spec.name, kind | None, absent))
            self._structs[cls] = msgspec.defstruct(cls.__name__, fields, kw_only=True, omit_defaults=True)
        return self._structs[cls]

    def pydantic(self, cls: type[Model]) -> Any:  # noqa: ANN401 - a class made while running
        """A pydantic model with the fields and the lengths of a model."""
        if cls not in self._pydantic:
            fields: dict[str, Any] = {}
            for spec in field_specs(cls):
                kind = self._kind(spec, self.pydantic, lambda length: pydantic.Field(max_length=length))
                fields[spec.name] = (kind, ...) if spec.required else (kind | None, None)
            self._pydantic[cls] = cast("Any", pydantic.create_model)(cls.__name__, **fields)
        return self._pydantic[cls]

    def _kind(
        self, spec: FieldSpec, model: Callable[[type[Model]], Any], length: Callable[[int], object]
    ) -> Any:  # noqa: ANN401 - a type made while running
        kind: Any = SCALARS.get(spec.kind) or spec.cls
        if spec.kind == "model":
            kind = model(cast("type[Model]", spec.cls))
        elif spec.text is not None and spec.text.max_length is not None:
            kind = Annotated[kind, length(spec.text.max_length)]
        return cast("Any", list)[kind] if spec.many else kind


# --- measuring -----------------------------------------------------------------------------------------


def compare(variants: Variants, rounds: int) -> dict[str, tuple[float, float]]:
    """Run variants in turn; return, by name, the median time in ms and the median ratio to the yardstick."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():  # whatever is made at first use is made here
        for _ in range(3):
            run()
    # A full collection of this program's own heap would hit variants at random.
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    gc.unfreeze()
    yardstick = times[YARDSTICK]
    return {
        name: (
            statistics.median(took) * 1000,
            statistics.median(one / other for one, other in zip(took, yardstick, strict=True)),
        )
        for name, took in times.items()
    }


def reading(items: list[Object], cls: type[Model], peers: Peers) -> Variants:
    """The ways of reading a page of objects."""
    data = page(items)
    model: Any = peers.pydantic(cls)
    many: Any = cast("Any", list)
    envelope = cast("Any", pydantic.create_model)(
        "Envelope", data=(many[model], ...), status_code=(int, ...), timestamp=(datetime, ...)
    )
    fields = [("data", many[peers.struct(cls)]), ("status_code", int), ("timestamp", datetime)]
    struct = msgspec.json.Decoder(msgspec.defstruct("Envelope", fields))
    read = decode_page(data, cls)
    assert (len(read.items), read.rejected) == (len(items), ())
    assert json.loads(encode(read.items)) == json.loads(encode(decode_page(data, cls).items))
    return {
        YARDSTICK: lambda: orjson.loads(data),
        "ours": lambda: decode_page(data, cls),
        "pydantic": lambda: envelope.model_validate_json(data),
        "json": lambda: json.loads(data),
        "msgspec Struct": lambda: struct.decode(data),
    }


def salvaging(items: list[Object], bad: int) -> Variants:
    """Reading a page of Locations of which some cannot be read."""
    broken = [dict(one) for one in items]
    apart = len(broken) // bad
    for one in broken[apart // 2 :: apart]:
        one["publish"] = "perhaps"
    data = page(broken)
    assert len(decode_page(data, v221.Location).rejected) == bad
    return {YARDSTICK: lambda: orjson.loads(data), "ours": lambda: decode_page(data, v221.Location)}


def writing(items: list[Object], cls: type[Model], peers: Peers) -> Variants:
    """The ways of writing a list of objects."""
    data = page(items)
    ours = decode_page(data, cls).items
    plain = json.loads(data)["data"]
    raw = orjson.dumps(plain)
    many: Any = cast("Any", list)
    adapter: Any = pydantic.TypeAdapter(many[peers.pydantic(cls)])
    theirs = adapter.validate_json(raw)
    structs = msgspec.json.decode(raw, type=many[peers.struct(cls)])
    encoder = msgspec.json.Encoder(decimal_format="number")
    return {
        YARDSTICK: lambda: json.dumps(plain),
        "ours": lambda: encode(ours),
        "pydantic": lambda: adapter.dump_json(theirs, exclude_none=True),
        "orjson, dicts": lambda: orjson.dumps(plain),
        "msgspec Struct": lambda: encoder.encode(structs),
    }


def building(peers: Peers) -> Variants:
    """The ways of building a Connector of Python values, 1000 times."""
    enums: dict[str, type[OcpiEnum]] = {
        "standard": v221.ConnectorType,
        "format": v221.ConnectorFormat,
        "power_type": v221.PowerType,
    }
    fields: dict[str, Any] = Data().connector(1)
    fields |= {name: cls(fields[name]) for name, cls in enums.items()}
    fields["last_updated"] = datetime(2024, 5, 2, tzinfo=UTC)
    model, struct = peers.pydantic(v221.Connector), peers.struct(v221.Connector)

    def times(cls: Any) -> Callable[[], object]:  # noqa: ANN401 - whatever class it is
        return lambda: [cls(**fields) for _ in range(1000)]

    return {YARDSTICK: times(struct), "ours": times(v221.Connector), "pydantic": times(model)}


# --- memory, each figure in a process of its own -------------------------------------------------------

HELD = 10_000


def hold(what: str) -> float:
    """Hold 10 000 Locations in memory and return what one takes, in kB."""
    pages = [
        page([Data().location(one) for one in range(first, first + 100)]) for first in range(0, HELD, 100)
    ]
    model = Peers().pydantic(v221.Location)
    read: dict[str, Callable[[bytes], list[object]]] = {
        "ours": lambda data: list(decode_page(data, v221.Location).items),
        "dicts": lambda data: list(orjson.loads(data)["data"]),
        "pydantic": lambda data: [model.model_validate(one) for one in orjson.loads(data)["data"]],
    }
    read[what](pages[0])
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = [read[what](data) for data in pages]
    took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert sum(map(len, held)) == HELD
    return took / HELD / (1 if sys.platform == "linux" else 1024)


def memory() -> dict[str, float]:
    """Measure what a Location takes, for each way of holding it."""
    figures: dict[str, float] = {}
    for what in ("ours", "dicts", "pydantic"):
        command = (sys.executable, __file__, "--hold", what)
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this file
        figures[what] = float(done.stdout)
    return figures


# --- the report ----------------------------------------------------------------------------------------


def measure(rounds: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Run all comparisons."""
    peers = Peers()
    plain, same, ever_new = Data(), Data(lambda _: "x_vendor"), Data("x_vendor_{}".format)
    locations = [plain.location(one) for one in range(100)]
    unknown = [same.location(one) for one in range(100)]
    other = [ever_new.location(one) for one in range(100)]
    tokens = [plain.token(one) for one in range(1000)]
    tariffs = [plain.tariff(one) for one in range(100)]
    cdr = [plain.cdr(50)]
    comparisons: dict[str, Callable[[], Variants]] = {
        "read 100 Locations": lambda: reading(locations, v221.Location, peers),
        "read, something unknown in every object": lambda: reading(unknown, v221.Location, peers),
        "read, a new unknown name in every object": lambda: reading(other, v221.Location, peers),
        "read, 1 of 100 cannot be read": lambda: salvaging(locations, 1),
        "read, 100 of 100 cannot be read": lambda: salvaging(locations, 100),
        "read 1000 Tokens": lambda: reading(tokens, v221.Token, peers),
        "read a CDR of 50 periods": lambda: reading(cdr, v221.CDR, peers),
        "read 100 Tariffs": lambda: reading(tariffs, v221.Tariff, peers),
        "write 100 Locations": lambda: writing(locations, v221.Location, peers),
        "write, something unknown in every object": lambda: writing(unknown, v221.Location, peers),
        "write 1000 Tokens": lambda: writing(tokens, v221.Token, peers),
        "write a CDR of 50 periods": lambda: writing(cdr, v221.CDR, peers),
        "write 100 Tariffs": lambda: writing(tariffs, v221.Tariff, peers),
        "build 1000 Connectors": lambda: building(peers),
    }
    return {name: compare(variants(), rounds) for name, variants in comparisons.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the codec.")
    parser.add_argument("--rounds", type=int, default=31, help="how often each variant runs")
    parser.add_argument("--hold", choices=("ours", "dicts", "pydantic"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hold:
        print(hold(arguments.hold))
        return
    figures = measure(arguments.rounds)
    kilobytes = memory()
    names = list(dict.fromkeys(name for row in figures.values() for name in row if name != YARDSTICK))
    print(f"{'x yardstick (its ms)':42}{'yardstick':>10}", *(f"{name:>15}" for name in names))
    for title, row in figures.items():
        cells = [f"{row[name][1]:15.2f}" if name in row else " " * 15 for name in names]
        print(f"{title:42}{row[YARDSTICK][0]:10.3f}", *cells)
    print(
        f"{'kB for each of 10 000 Locations held':52}",
        *(f"{what} {kb:.1f}  " for what, kb in kilobytes.items()),
    )
    packages = ("ocpi-gireve", "msgspec", "attrs", "orjson", "pydantic")
    report = {
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in packages},
        "rounds": arguments.rounds,
        "ratios": {
            title: {name: round(cell[1], 3) for name, cell in row.items()} for title, row in figures.items()
        },
        "kb_per_location": {what: round(kb, 1) for what, kb in kilobytes.items()},
    }
    print(json.dumps(report))


def installed(package: str) -> str:
    """The version of a package, or that it is not installed but imported from its source."""
    try:
        return version(package)
    except ModuleNotFoundError:
        return "source"


if __name__ == "__main__":
    main()
