"""JSON Schema of the models, for those who check messages without Python; validates nothing itself.

A schema says of an object what its table says: types, lengths, patterns, enums, which fields are required.
Rules between fields are not in it. Like the library, it is permissive: further properties are allowed, and
null is the same as absent where a field may be absent.

Keywords beyond JSON Schema 2020-12:

| keyword | meaning |
|---|---|
| ``x-ocpi-type`` | the type in the words of the specification, such as ``CiString(36)`` |
| ``x-extension`` | whose extension a property is: ``GIREVE`` |
| ``x-extension-values`` | the values that GIREVE adds to an enum |
| ``x-extensible-enum`` | the known values of an enum that partners may extend |
| ``x-confidential`` | ``secret`` or ``personal``: a value that must not reach a log |
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import TypeAlias

from ._model import CiString, FieldSpec, Model, field_specs, gireve_values_of
from .types import ExtensibleEnum, Json, JsonObject, OcpiEnum

__all__ = ["SCHEMA_DIALECT", "json_schema", "json_schemas"]

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""What `$schema` says."""

_Schema: TypeAlias = dict[str, Json]

_PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
_PRINTABLE_ASCII = "^[ -~]*$"
# `date-time` alone would ask for a designator; OCPI's DateTime is UTC without one, and has no offset.
_DATETIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z?$"


def json_schema(cls: type[Model]) -> JsonObject:
    """Return the schema of one class: a document of its own, with all that the class refers to in ``$defs``.

    ``format`` is an annotation, as JSON Schema 2020-12 has it by default. A validator that asserts formats
    refuses a DateTime without ``Z``, which OCPI allows; the pattern beside it says exactly what OCPI allows.
    Descriptions are taken from the source of the models, and left out where there is none to read.
    """
    defs: dict[str, Json] = {}
    body = _object(cls, cls, defs)
    document: _Schema = {"$schema": SCHEMA_DIALECT, "$id": _identifier(cls), **body}
    if defs:
        document["$defs"] = {name: defs[name] for name in sorted(defs)}
    return document


def json_schemas(package: ModuleType) -> Mapping[str, JsonObject]:
    """Return the schemas of all classes that `ocpi_gireve.v211` or `ocpi_gireve.v221` exports, by name."""
    names: list[str] = package.__all__
    exported: list[object] = [getattr(package, name) for name in names]
    models = [one for one in exported if isinstance(one, type) and issubclass(one, Model)]
    return {cls.__name__: json_schema(cls) for cls in sorted(models, key=lambda cls: cls.__name__)}


def _schema(**keywords: Json) -> _Schema:
    return keywords


def _identifier(cls: type[Model]) -> str:
    version = cls.reference.partition(" ")[0]
    return f"urn:ocpi-gireve:{version or 'model'}:{cls.__name__}"


def _object(cls: type[Model], root: type[Model], defs: dict[str, Json]) -> _Schema:
    """Describe a class, and add what it refers to to `defs`."""
    about = _descriptions(cls.__module__).get(cls.__name__, {})
    specs = field_specs(cls)
    properties: dict[str, Json] = {
        spec.name: _property(spec, about.get(spec.name), root, defs) for spec in specs
    }
    schema: _Schema = {"title": cls.__name__}
    if "" in about:
        schema["description"] = about[""]
    schema["type"] = "object"
    schema["properties"] = properties
    required: list[Json] = [spec.name for spec in specs if spec.required]
    if required:
        schema["required"] = required
    schema["additionalProperties"] = True
    return schema


def _property(spec: FieldSpec, about: str | None, root: type[Model], defs: dict[str, Json]) -> _Schema:
    value = _value(spec, root, defs)
    if spec.many:
        items = value
        value = _schema(type="array", items=items)
        if spec.required:
            value["minItems"] = 1
    if not spec.required and value:
        # Not set may be null as well as left out. (terminology, cardinality)
        if isinstance(value.get("type"), str):
            value["type"] = [value["type"], "null"]
        else:
            value = _schema(anyOf=[value, _schema(type="null")])
    if about is not None:
        value["description"] = about
    if spec.default is not None:
        value["default"] = spec.default
    if spec.extension is not None:
        value["x-extension"] = spec.extension
    if spec.confidential is not None:
        value["x-confidential"] = spec.confidential.kind
    return value


def _value(spec: FieldSpec, root: type[Model], defs: dict[str, Json]) -> _Schema:
    """Describe one value of a field."""
    if spec.cls is not None:
        return _reference(spec.cls, root, defs)
    if spec.text is not None:
        schema: _Schema = {"type": "string"}
        longest = spec.text.max_length
        if longest is not None:
            schema["maxLength"] = longest
        if spec.text.regex is not None:
            schema["pattern"] = f"^(?:{spec.text.regex})$"
        else:
            schema["pattern"] = _PRINTABLE_ASCII if isinstance(spec.text, CiString) else _PRINTABLE
        if spec.type_name == "URL":
            schema["format"] = "uri"
        bounded = longest is not None and spec.type_name != "URL"
        schema["x-ocpi-type"] = f"{spec.type_name}({longest})" if bounded else spec.type_name
        return schema
    if spec.kind == "int":
        schema = {"type": "integer"}
        if spec.max_digits is not None:
            bound = 10**spec.max_digits - 1
            schema["minimum"] = -bound
            schema["maximum"] = bound
        schema["x-ocpi-type"] = "int" if spec.max_digits is None else f"int({spec.max_digits})"
        return schema
    if spec.kind == "datetime":
        return {
            "type": "string",
            "maxLength": 25,
            "pattern": _DATETIME,
            "format": "date-time",
            "x-ocpi-type": "DateTime",
        }
    return {} if spec.kind == "any" else {"type": spec.kind, "x-ocpi-type": spec.type_name}


def _reference(cls: type[Model | OcpiEnum], root: type[Model], defs: dict[str, Json]) -> _Schema:
    if cls is root:
        return {"$ref": "#"}
    name = cls.__name__
    if name not in defs:
        defs[name] = {}  # so that a class that refers to itself is described once
        defs[name] = _enum(cls) if issubclass(cls, OcpiEnum) else _object(cls, root, defs)
    return {"$ref": f"#/$defs/{name}"}


def _enum(cls: type[OcpiEnum]) -> _Schema:
    schema: _Schema = {"title": cls.__name__}
    about = _descriptions(cls.__module__).get(cls.__name__, {})
    if "" in about:
        schema["description"] = about[""]
    known: list[Json] = [member.value for member in cls]
    schema["type"] = "string"
    if issubclass(cls, ExtensibleEnum):
        schema["minLength"] = 1
        schema["x-extensible-enum"] = known
    else:
        schema["enum"] = known
    added: list[Json] = [member.value for member in cls if member.value in gireve_values_of(cls)]
    if added:
        schema["x-extension-values"] = added
    return schema


@cache
def _descriptions(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return what the source of a module says of its classes, at "", and of their attributes.

    Python keeps no docstring of an attribute, so the source is read, once; where there is none, as in a
    frozen program, nothing is described.
    """
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return {}
    return {node.name: dict(_documented(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _documented(cls: ast.ClassDef) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    whole = ast.get_docstring(cls)
    if whole:
        found.append(("", _one_line(whole.partition("\n\n")[0])))
    for statement, after in zip(cls.body, cls.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found.append((statement.target.id, _one_line(text)))
                case _:
                    pass
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())
