from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from attrs import field
from jsonschema import Draft202012Validator, FormatChecker

from ocpi_gireve import schema as schema_module
from ocpi_gireve import v211, v221
from ocpi_gireve._codec import encode
from ocpi_gireve._model import Model, field_specs, model
from ocpi_gireve.schema import json_schema, json_schemas
from ocpi_gireve.testing import samples

Shown = tuple[Mapping[str, Any], object]
"""A schema, and what it is about."""
PACKAGES = {"2.1.1": v211, "2.2.1": v221}
# A DateTime may lack its Z, so `date-time` stays the annotation that it is in JSON Schema 2020-12.
FORMATS = FormatChecker(["uri"])

UNSEEN = {
    # Milliseconds, which 2.2.1 allows, are allowed in 2.1.1 too.
    "gireve-2.1.1/cpo_sessions_toiop_put_emsp_sessions_request.json",
    # The country BE has at most three letters.
    "ocpi-2.1.1/sessions_simple_session_example_of_a_just_starting_session.json",
    "ocpi-2.1.1/sessions_simple_session_example_of_a_short_finished_session.json",
    # VersionNumber is an open list.
    "ocpi-2.1.1/transport_and_format_example_version_information_response.json",
}
"""Examples that depart from the specification in a way that a schema of types does not see."""


@model
class Branch(Model):
    """What may hold more of its kind."""

    branches: list[Branch] = field(factory=list["Branch"])


@model
class Tree(Model):
    """What holds one."""

    root: Branch


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A schema as other programs get it: through JSON."""
    return cast("dict[str, Any]", json.loads(json.dumps(document)))


def errors(
    schema: Mapping[str, Any],
    value: Any,  # noqa: ANN401 - any JSON
    formats: FormatChecker = FORMATS,
) -> list[str]:
    """What a validator says of a value."""
    validator = Draft202012Validator(plain(schema), format_checker=formats)
    # The stubs of jsonschema leave the type of an overload open.
    found = validator.iter_errors(value)  # pyright: ignore[reportUnknownMemberType]
    return [f"{error.json_path}: {error.message}" for error in found]


def objects(package: ModuleType, kind: str, value: object) -> Iterator[Shown]:
    """Yield, with its schema, each object that an example shows; `kind` is the manifest's word for it."""
    wrapper = re.fullmatch(r"(\w+)<(.*)>", kind)
    if wrapper is None:
        yield json_schema(getattr(package, kind)), value
        return
    inner = wrapper[2]
    match wrapper[1]:
        case "envelope":
            yield json_schema(package.ResponseFormat), value
            if inner != "null":
                yield from objects(package, inner, cast("dict[str, object]", value)["data"])
        case "list":
            for item in cast("list[object]", value):
                yield from objects(package, inner, item)
        case _:  # some fields of an object
            ((schema, _),) = objects(package, inner, value)
            yield {name: part for name, part in schema.items() if name != "required"}, value


def manifest(shared: Path) -> list[dict[str, Any]]:
    """The examples of the specification that are JSON."""
    listed = json.loads((shared / "spec/examples/manifest.json").read_text("utf-8"))
    return [one for one in listed["examples"] if one["valid_json"]]


@pytest.mark.parametrize("version", PACKAGES)
def test_every_schema_is_a_schema(version: str) -> None:
    """Every class of a version has a schema with an id of its own, which the metaschema accepts."""
    package = PACKAGES[version]
    schemas = json_schemas(package)
    exported = [getattr(package, name) for name in package.__all__]
    models = {one.__name__ for one in exported if isinstance(one, type) and issubclass(one, Model)}
    assert set(schemas) == models
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(plain(schema))
        assert schema["$id"] == f"urn:ocpi-gireve:{version}:{name}"


@pytest.mark.parametrize("version", PACKAGES)
def test_every_field_is_described(version: str) -> None:
    """Each property has the words of its attribute's docstring, and the required ones are named."""
    package = PACKAGES[version]
    for name, schema in json_schemas(package).items():
        described = plain(schema)
        specs = field_specs(getattr(package, name))
        assert list(described["properties"]) == [spec.name for spec in specs]
        assert described.get("required", []) == [spec.name for spec in specs if spec.required]
        assert [key for key, value in described["properties"].items() if not value.get("description")] == []
        assert described["description"]


def test_conforming_examples(shared: Path) -> None:
    """Every example that keeps to the specification's tables validates."""
    found: dict[str, list[str]] = {}
    for example in manifest(shared):
        if example["conforms"]:
            value = json.loads((shared / "spec/examples" / example["file"]).read_text("utf-8"))
            for schema, one in objects(PACKAGES[example["version"]], example["object"], value):
                found.setdefault(example["file"], []).extend(errors(schema, one))
    assert len(found) > 90
    assert {file: wrong for file, wrong in found.items() if wrong} == {}


def test_departing_examples(shared: Path) -> None:
    """Every example that departs from the tables is refused, those apart whose fault is not one of type."""
    unseen: set[str] = set()
    for example in manifest(shared):
        if not example["conforms"]:
            value = json.loads((shared / "spec/examples" / example["file"]).read_text("utf-8"))
            shown = objects(PACKAGES[example["version"]], example["object"], value)
            if not any(errors(schema, one) for schema, one in shown):
                unseen.add(example["file"])
    assert unseen == UNSEEN


CONNECTOR: dict[str, Any] = {
    "id": "1",
    "standard": "IEC_62196_T2",
    "format": "SOCKET",
    "power_type": "AC_3_PHASE",
    "max_voltage": 230,
    "max_amperage": 32,
    "last_updated": "2025-06-29T20:39:09Z",
}


@pytest.mark.parametrize(
    "change",
    [
        {"tariff_ids": None},
        {"tariff_ids": []},
        {"max_electric_power": None},
        {"terms_and_conditions": "https://example.com/terms"},
        {"last_updated": "2025-06-29T20:39:09"},
        {"last_updated": "2025-06-29T20:39:09.123Z"},
        {"something_new": {"of": ["theirs"]}},
    ],
)
def test_accepted(change: dict[str, Any]) -> None:
    """Null for what may be absent, a DateTime without Z, and properties that nobody knows are accepted."""
    assert errors(json_schema(v221.Connector), CONNECTOR | change) == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": "1" * 37},
        {"id": "é"},
        {"id": 1},
        {"standard": "SCHUKO"},
        {"max_voltage": "230"},
        {"max_voltage": 230.5},
        {"tariff_ids": [None]},
        {"terms_and_conditions": "https:// example.com"},
        {"last_updated": "2025-06-29T20:39:09+02:00"},
        {"last_updated": "2025-06-29 20:39:09"},
    ],
)
def test_refused(change: dict[str, Any]) -> None:
    """Lengths, characters, types, enums and the forms of a URL and of a DateTime are checked."""
    assert errors(json_schema(v221.Connector), CONNECTOR | change) != []


def test_empty_mandatory_list() -> None:
    """A list of cardinality + is not empty."""
    assert errors(json_schema(v221.TariffElement), {"price_components": []}) != []
    assert plain(json_schema(v221.TariffElement))["properties"]["price_components"]["minItems"] == 1


def test_digits() -> None:
    """An int(5) has at most five digits."""
    image = {"url": "https://example.com/a.png", "category": "CHARGER", "type": "png", "width": 99999}
    assert errors(json_schema(v211.Image), image) == []
    assert errors(json_schema(v211.Image), image | {"width": 100000}) != []


def test_extensible_enum() -> None:
    """A value that an extensible enum does not list is accepted, and the values known are told."""
    endpoint = {"identifier": "custom-module", "role": "SENDER", "url": "https://example.com/x"}
    assert errors(json_schema(v221.Endpoint), endpoint) == []
    module = plain(json_schema(v221.Endpoint))["$defs"]["ModuleID"]
    assert "tokens" in module["x-extensible-enum"]
    assert "enum" not in module


def test_extensions_are_marked() -> None:
    """GIREVE's properties and enum values are marked as such, and OCPI's are not."""
    cdr = plain(json_schema(v211.CDR))
    marked = {name for name, one in cdr["properties"].items() if "x-extension" in one}
    assert marked == {"authorization_id", "signed_data"}
    assert cdr["properties"]["authorization_id"]["x-extension"] == "GIREVE"
    dimension = cdr["$defs"]["TariffDimensionType"]
    assert dimension["x-extension-values"] == ["SESSION_TIME"]
    assert "SESSION_TIME" in dimension["enum"]


def test_confidential_values_are_marked() -> None:
    """A schema says which values must not reach a log."""
    assert plain(json_schema(v221.Credentials))["properties"]["token"]["x-confidential"] == "secret"
    assert plain(json_schema(v221.Token))["properties"]["uid"]["x-confidential"] == "personal"


def test_default() -> None:
    """The value that the specification gives an absent field is told."""
    assert plain(json_schema(v221.Location))["properties"]["charging_when_closed"]["default"] is True


def test_class_that_refers_to_itself() -> None:
    """A class within itself is referred to, and not described without end."""
    described = plain(json_schema(Branch))
    assert described["properties"]["branches"]["items"] == {"$ref": "#"}
    assert described["$id"] == "urn:ocpi-gireve:model:Branch"
    leaf: dict[str, object] = {"branches": None}
    assert errors(json_schema(Branch), {"branches": [{"branches": [{"branches": "none"}]}]}) != []
    assert errors(json_schema(Tree), {"root": {"branches": [{"branches": [leaf]}]}}) == []


def test_without_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the source of the models is not there, the schema is the same without descriptions."""

    def no_source(_: object) -> str:
        raise OSError

    schema_module._descriptions.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr("inspect.getsource", no_source)
        bare = json.dumps(json_schema(v221.Connector))
    schema_module._descriptions.cache_clear()
    assert "description" not in bare
    assert plain(json_schema(v221.Connector))["required"] == json.loads(bare)["required"]


def test_optimized_python() -> None:
    """Python without docstrings (-OO) describes the fields all the same."""
    code = (
        "from ocpi_gireve import v221; from ocpi_gireve.schema import json_schema;"
        "print(json_schema(v221.Token)['properties']['uid']['description'])"
    )
    done = subprocess.run((sys.executable, "-OO", "-c", code), check=True, capture_output=True, text=True)
    assert done.stdout == "Token id as read by the CPO (RFID hidden id).\n"


SAMPLED = [
    one
    for package in PACKAGES.values()
    for one in (getattr(package, name) for name in sorted(package.__all__))
    if isinstance(one, type) and issubclass(one, Model)
]


@pytest.mark.parametrize("cls", SAMPLED, ids=lambda cls: cls.reference)
def test_samples(cls: type[Model]) -> None:
    """What we make validates, with the formats asserted as well: a DateTime of ours has its Z."""
    formats, schema = FormatChecker(["uri", "date-time"]), json_schema(cls)
    found = [errors(schema, json.loads(encode(one)), formats) for one in samples(cls, 20)]
    assert [one for one in found if one] == []
