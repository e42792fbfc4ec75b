"""The models of a version counted against the fact tables: nothing missing, nothing more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import pytest

from ocpi_gireve._model import FieldSpec, Model, field_specs, gireve_values_of
from ocpi_gireve.types import ExtensibleEnum, OcpiEnum

Tables = dict[str, Any]
T = TypeVar("T")


def exported(package: ModuleType, kind: type[T]) -> list[type[T]]:
    """The classes of a kind that a package exports."""
    names: list[str] = package.__all__
    found: list[object] = [getattr(package, name) for name in names]
    return [one for one in found if isinstance(one, type) and issubclass(one, kind)]


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
    kind = "any" if field.get("type_kind") == "any" else field["type"]
    names = ("name", "card", "max_length", "regex", "max_digits", "default")
    return {"type": kind, **{name: field.get(name) for name in names}}


class Census:
    """The tests of one version; a subclass says which.

    Attributes:
        package: Where the models are exported.
        version: The version of OCPI.
        more_fields: Fields of GIREVE's that its tables do not have, by class: a string without a limit each.
        more_values: Values of GIREVE's that its tables do not have, by enum.
        classes: How many classes the specification has.
        enums: How many enums.
    """

    package: ClassVar[ModuleType]
    version: ClassVar[str]
    more_fields: ClassVar[Mapping[str, frozenset[str]]] = {}
    more_values: ClassVar[Mapping[str, frozenset[str]]] = {}
    classes: ClassVar[int]
    enums: ClassVar[int]

    @pytest.fixture
    def spec(self, shared: Path) -> Tables:
        """The tables of the specification."""
        tables: Tables = json.loads((shared / "spec" / f"ocpi-{self.version}.json").read_bytes())
        return tables

    @pytest.fixture
    def gireve(self, shared: Path) -> Tables:
        """The tables of GIREVE's extensions, those of this version."""
        folder = shared / "spec"
        tables: Tables = json.loads((folder / "gireve.json").read_bytes())
        signed: Tables = json.loads((folder / "ocpi-2.2.1.json").read_bytes())["classes"]
        classes: Tables = {
            name: table
            for name, table in tables["extension_classes"].items()
            if self.version in table["versions"]
        }
        if "SignedData" in classes:  # "see" the later version, with the class that it holds
            classes |= {name: signed[name] for name in ("SignedData", "SignedValue")}
        return {
            "classes": classes,
            "fields": [one for one in tables["extension_fields"] if self.version in one["versions"]],
            "enums": {
                name: set(table.get("adds") or table["values"])
                for name, table in tables["extension_enums"].items()
                if self.version in table["versions"]
            },
            "whole_enums": {
                name: table["values"]
                for name, table in tables["extension_enums"].items()
                if self.version in table["versions"] and "values" in table
            },
        }

    def test_every_class(self, spec: Tables, gireve: Tables) -> None:
        """The package exports the classes of the specification, those GIREVE adds, and no other."""
        assert len(spec["classes"]) == self.classes
        ours = [cls.__name__ for cls in exported(self.package, Model)]
        assert sorted(ours) == sorted([*spec["classes"], *gireve["classes"]])

    def test_every_enum(self, spec: Tables, gireve: Tables) -> None:
        """The package exports the enums of the specification, those GIREVE adds, and no other."""
        assert len(spec["enums"]) == self.enums
        ours = [cls.__name__ for cls in exported(self.package, OcpiEnum)]
        assert sorted(ours) == sorted([*spec["enums"], *gireve["whole_enums"]])

    def test_every_field(self, spec: Tables, gireve: Tables) -> None:
        """Names, order, types, cardinalities, lengths, patterns and defaults are those of the tables."""
        tables = spec["classes"] | gireve["classes"]
        for cls in exported(self.package, Model):
            ours = [row(field) for field in field_specs(cls) if field.extension is None]
            theirs = [table_row(field) for field in tables[cls.__name__]["fields"]]
            assert (cls.__name__, ours) == (cls.__name__, theirs)

    def test_every_choice(self, spec: Tables) -> None:
        """Fields of which an object carries one are marked so, and may be left out."""
        theirs = {name: table["one_of"] for name, table in spec["classes"].items() if "one_of" in table}
        ours = {
            cls.__name__: [field.name for field in field_specs(cls) if field.choice is not None]
            for cls in exported(self.package, Model)
        }
        assert {name: fields for name, fields in ours.items() if fields} == theirs
        for cls in exported(self.package, Model):
            assert not [field for field in field_specs(cls) if field.choice is not None and field.required]

    def test_every_value(self, spec: Tables, gireve: Tables) -> None:
        """The enums hold the values of the tables, and only extensible ones take others."""
        for cls in exported(self.package, OcpiEnum):
            table = spec["enums"].get(cls.__name__, {"values": [], "open": False})
            ours = [member.value for member in cls if member.value not in gireve_values_of(cls)]
            assert (cls.__name__, ours) == (cls.__name__, table["values"])
            assert (cls.__name__, issubclass(cls, ExtensibleEnum)) == (cls.__name__, table["open"])
            if cls.__name__ in gireve["whole_enums"]:
                assert [member.value for member in cls] == gireve["whole_enums"][cls.__name__]

    def test_every_extension_field(self, gireve: Tables) -> None:
        """GIREVE's further fields are there, marked as such, optional, with the types of its tables."""
        theirs = {name: dict.fromkeys(fields, ("string", None)) for name, fields in self.more_fields.items()}
        for field in gireve["fields"]:
            theirs.setdefault(field["class"], {})[field["name"]] = (field["type"], field["max_length"])
        ours: dict[str, dict[str, tuple[str, int | None]]] = {}
        for cls in exported(self.package, Model):
            for found in field_specs(cls):
                if found.extension is not None:
                    assert (found.extension, found.cardinality) == ("GIREVE", "?")
                    longest = found.text.max_length if found.text else None
                    ours.setdefault(cls.__name__, {})[found.name] = (found.type_name, longest)
        assert ours == theirs

    def test_every_extension_value(self, gireve: Tables) -> None:
        """GIREVE's further values are there, marked as such."""
        theirs = {name: set(values) for name, values in self.more_values.items()}
        for name, values in gireve["enums"].items():
            theirs.setdefault(name, set()).update(values)
        enums = exported(self.package, OcpiEnum)
        assert {cls.__name__: gireve_values_of(cls) for cls in enums if gireve_values_of(cls)} == theirs

    def test_every_class_is_described(self) -> None:
        """Each model names its chapter, and neither models nor enums go without a docstring."""
        for cls in (*exported(self.package, Model), *exported(self.package, OcpiEnum)):
            assert (cls.__name__, (cls.__doc__ or "").strip()) != (cls.__name__, "")
        for cls in exported(self.package, Model):
            assert (cls.__name__, cls.reference[:6]) == (cls.__name__, f"{self.version} ")
