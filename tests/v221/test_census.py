from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocpi_gireve._model import FieldSpec, field_specs, gireve_values_of
from ocpi_gireve.types import ExtensibleEnum
from tests.documents import ENUMS, MODELS

VERSION = "2.2.1"
# The 2.2.1 guide's eMSP pages (v1.2) add these to the tables of GIREVE's extensions.
MORE_FIELDS = {"EVSE": {"gireve_id"}, "Connector": {"gireve_id"}}
MORE_VALUES = {
    "Capability": {"ISO_15118_2_PLUG_AND_CHARGE", "ISO_15118_20_PLUG_AND_CHARGE"},
    "TariffDimensionType": {"SESSION_TIME"},
}
Tables = dict[str, Any]


@pytest.fixture(scope="module")
def spec(shared: Path) -> Tables:
    """The tables of the specification."""
    tables: Tables = json.loads((shared / "spec" / f"ocpi-{VERSION}.json").read_bytes())
    return tables


@pytest.fixture(scope="module")
def gireve(shared: Path) -> Tables:
    """The tables of GIREVE's extensions."""
    tables: Tables = json.loads((shared / "spec" / "gireve.json").read_bytes())
    return tables


def row(field: FieldSpec) -> Tables:
    """One of our rows, in the words of the tables."""
    return {
        "name": field.name,
        "type": field.type_name,
        "card": field.cardinality,
        "max_length": field.text.max_length if field.text else None,
        "regex": field.text.regex if field.text else None,
        "max_digits": field.max_digits,
        "default": field.default,
    }


def table_row(field: Tables) -> Tables:
    """One of their rows."""
    kind = "any" if field["type_kind"] == "any" else field["type"]
    names = ("name", "card", "max_length", "regex", "max_digits", "default")
    return {"type": kind, **{name: field.get(name) for name in names}}


def test_every_class(spec: Tables) -> None:
    """The package exports the classes of the specification and no other."""
    assert sorted(cls.__name__ for cls in MODELS) == sorted(spec["classes"])


def test_every_enum(spec: Tables) -> None:
    """The package exports the enums of the specification and no other."""
    assert sorted(cls.__name__ for cls in ENUMS) == sorted(spec["enums"])


def test_every_field(spec: Tables) -> None:
    """Names, order, types, cardinalities, lengths, patterns and defaults are those of the tables."""
    for cls in MODELS:
        ours = [row(field) for field in field_specs(cls) if field.extension is None]
        theirs = [table_row(field) for field in spec["classes"][cls.__name__]["fields"]]
        assert (cls.__name__, ours) == (cls.__name__, theirs)


def test_every_value(spec: Tables) -> None:
    """The enums hold the values of the tables, and only extensible ones take others."""
    for cls in ENUMS:
        table = spec["enums"][cls.__name__]
        ours = [member.value for member in cls if member.value not in gireve_values_of(cls)]
        assert (cls.__name__, ours) == (cls.__name__, table["values"])
        assert (cls.__name__, issubclass(cls, ExtensibleEnum)) == (cls.__name__, table["open"])


def test_every_extension_field(gireve: Tables) -> None:
    """GIREVE's further fields are there, marked as such, optional, with the types of its tables."""
    theirs = {name: dict.fromkeys(fields, ("string", None)) for name, fields in MORE_FIELDS.items()}
    for field in gireve["extension_fields"]:
        if VERSION in field["versions"]:
            rule = (field["type"], field["max_length"])
            theirs.setdefault(field["class"], {})[field["name"]] = rule
    ours: dict[str, dict[str, tuple[str, int | None]]] = {}
    for cls in MODELS:
        for found in field_specs(cls):
            if found.extension is not None:
                assert found.extension == "GIREVE"
                assert found.cardinality == "?"
                assert found.text is not None
                rule = (found.type_name, found.text.max_length)
                ours.setdefault(cls.__name__, {})[found.name] = rule
    assert ours == theirs


def test_every_extension_value(gireve: Tables) -> None:
    """GIREVE's further values are there, marked as such."""
    theirs = {name: set(values) for name, values in MORE_VALUES.items()}
    for name, table in gireve["extension_enums"].items():
        if VERSION in table["versions"]:
            theirs.setdefault(name, set()).update(table.get("adds") or table["values"])
    assert {cls.__name__: gireve_values_of(cls) for cls in ENUMS if gireve_values_of(cls)} == theirs


def test_every_field_is_described() -> None:
    """Each model names its chapter, and neither models nor enums go without a docstring."""
    for cls in (*MODELS, *ENUMS):
        assert (cls.__name__, (cls.__doc__ or "").strip()) != (cls.__name__, "")
    for cls in MODELS:
        assert (cls.__name__, cls.reference[:6]) == (cls.__name__, f"{VERSION} ")
