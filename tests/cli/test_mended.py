from __future__ import annotations

import json
from typing import Any

import pytest

from ocpi_gireve import v221
from ocpi_gireve._codec import encode, from_json, parse_json
from ocpi_gireve._model import Model
from ocpi_gireve.cli._mended import mended
from ocpi_gireve.testing import samples

IN_UTC = "expected a date and time in UTC such as 2015-06-29T20:39:09Z"
LAST_UPDATED = "/last_updated"


def found(pointer: str, value: object) -> list[tuple[str, str, str]]:
    """What is mended in a location once the value at a pointer is another one."""
    document: Any = json.loads(encode(samples(v221.Location, 1)[0]))
    place: Any = document
    *parents, last = pointer[1:].split("/")
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    read = parse_json(json.dumps(document).encode())
    from_json(read, v221.Location)
    return [(one.pointer, one.code, one.message) for one in mended(read, v221.Location)]


@pytest.mark.parametrize(
    ("pointer", "value", "code", "message"),
    [
        ("/coordinates/latitude", 44.837531, "type", "expected a string, found a number"),
        ("/evses/0/connectors/0/max_voltage", "230", "type", "expected an integer, found a string"),
        ("/evses/0/coordinates", "", "type", "expected GeoLocation, found an empty string"),
        ("/publish", "true", "type", "expected a boolean, found a string"),
        ("/energy_mix", "", "type", "expected EnergyMix, found an empty string"),
        (LAST_UPDATED, "2025-06-29T22:39:09+02:00", "datetime", IN_UTC),
        (LAST_UPDATED, "2025-06-29 20:39:09", "datetime", IN_UTC),
        (
            LAST_UPDATED,
            "2025-06-29T20:39:09.123456Z",
            "max-length",
            "expected at most 25 characters, found 27",
        ),
    ],
)
def test_mended(pointer: str, value: object, code: str, message: str) -> None:
    """What decoding reads although it is of another type, or form, is told with its place."""
    assert found(pointer, value) == [(pointer, code, message)]


def test_mended_within_lists() -> None:
    """Objects in lists are looked at too."""
    sources = [{"source": "WIND", "percentage": 60}, {"source": "WATER", "percentage": "40"}]
    ((pointer, code, message),) = found("/energy_mix", {"is_green_energy": True, "energy_sources": sources})
    assert pointer == "/energy_mix/energy_sources/1/percentage"
    assert (code, message) == ("type", "expected a number, found a string")


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (LAST_UPDATED, "2025-06-29T20:39:09"),
        (LAST_UPDATED, "2025-06-29T20:39:09.12Z"),
        ("/name", None),
        ("/name", ""),
        ("/evses", None),
        ("/theirs", {"last_updated": "tomorrow", "publish": "true"}),
    ],
)
def test_nothing_mended(pointer: str, value: object) -> None:
    """A DateTime without Z, null for what is absent and properties that nobody knows need no mending."""
    assert found(pointer, value) == []


@pytest.mark.parametrize(
    "cls", [v221.Location, v221.CDR, v221.Tariff, v221.Token, v221.Session, v221.ResponseFormat]
)
def test_samples(cls: type[Model]) -> None:
    """In what we write nothing is mended."""
    assert [problem for one in samples(cls, 30) for problem in mended(parse_json(encode(one)), cls)] == []


def test_no_object() -> None:
    """Of what is no object nothing can be said."""
    assert mended([], v221.Location) == []
