from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ocpi_gireve import Role, convert, v211, v221
from ocpi_gireve._codec import decode, encode, from_json, parse_json
from ocpi_gireve._model import Model
from ocpi_gireve.convert import Converted, NotConvertible
from ocpi_gireve.errors import DecodeError
from ocpi_gireve.types import Json
from tests.convert.samples import CPO, EMSP
from tests.support import a_token

TO_221: dict[str, Callable[[Any], Converted[Model]]] = {
    "AuthorizationInfo": lambda one: convert.authorization_info_to_221(one, a_token()),
    "CDR": lambda one: convert.cdr_to_221(one, CPO, token_owner=EMSP),
    "CommandResponse": convert.command_result_to_221,
    "Credentials": lambda one: convert.credentials_to_221(one, Role.CPO),
    "Location": lambda one: convert.location_to_221(one, CPO),
    "LocationReferences": convert.location_references_to_221,
    "Session": lambda one: convert.session_to_221(one, CPO, token_owner=EMSP),
    "StartSession": lambda one: convert.start_session_to_221(one, EMSP),
    "Tariff": lambda one: convert.tariff_to_221(one, CPO),
    "Token": lambda one: convert.token_to_221(one, EMSP),
}
TO_211: dict[str, Callable[[Any], Converted[Model]]] = {
    "CDR": convert.cdr_to_211,
    "Location": convert.location_to_211,
    "Tariff": convert.tariff_to_211,
    "Token": convert.token_to_211,
}


def examples(shared: Path, version: str) -> Iterator[tuple[str, str, Json]]:
    """The file and the class of each example, with each object that it holds."""
    folder = shared / "spec/examples"
    for entry in json.loads((folder / "manifest.json").read_text("utf-8"))["examples"]:
        outer, _, inner = entry["object"].partition("<")
        if entry["version"] != version or not entry["valid_json"] or (inner and outer != "envelope"):
            continue
        value = parse_json((folder / entry["file"]).read_bytes())
        if inner:
            assert isinstance(value, dict)
            value = value.get("data")
        name = (inner or outer).removeprefix("list<").rstrip(">")
        for one in value if isinstance(value, list) else [value]:
            yield Path(entry["file"]).stem, name, one


def converted(
    shared: Path, version: ModuleType, conversions: Mapping[str, Callable[[Any], Converted[Model]]]
) -> tuple[set[str], set[str]]:
    """Convert all examples; return the files of those that were refused, and of the others."""
    refused: set[str] = set()
    done: set[str] = set()
    for file, name, value in examples(shared, ".".join(version.__name__[-3:])):
        if name in conversions:
            cls: type[Model] = getattr(version, name)
            try:
                result = conversions[name](from_json(value, cls)).value
            except DecodeError:
                continue  # some examples lack mandatory fields
            except NotConvertible:
                refused.add(file)
            else:
                assert decode(encode(result), type(result)) == result
                done.add(file)
    return refused, done


def test_to_221(shared: Path) -> None:
    """Every 2.1.1 example of OCPI and of GIREVE has a 2.2.1 form."""
    refused, done = converted(shared, v211, TO_221)
    assert refused == set()
    assert len(done) > 20


def test_to_211(shared: Path) -> None:
    """Every 2.2.1 example of OCPI has a 2.1.1 form, but for those that would mislead."""
    refused, done = converted(shared, v221, TO_211)
    assert refused == {
        # Not to be shown.
        "location_example_uc3_destination_charger_not_published",
        "location_example_uc4_limited_visibility",
        "location_example_uc5_home_charge_point",
        # For some sessions only.
        "tariff_2_alt_text",
        "tariff_3_alt_url",
        "tariff_11_not_possible_alt_text",
    }
    assert len(done) > 20
