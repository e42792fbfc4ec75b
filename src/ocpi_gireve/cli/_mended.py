"""What a decoder mends in silence: JSON types and dates other than the specification's. It refuses nothing.

Decoding reads a number in quotes, a date with an offset or an empty text for what is absent; the object that
it makes shows none of it. A partner that reads strictly will not take such a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from .._model import FieldSpec, Model, field_specs
from ..errors import Problem
from ..types import Json

__all__ = ["mended"]

_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z?", re.ASCII)
_LONGEST_DATETIME = 25
_WORDS = {
    "string": "a string",
    "enum": "a string",
    "int": "an integer",
    "number": "a number",
    "boolean": "a boolean",
}


def mended(value: Json, cls: type[Model]) -> list[Problem]:
    """Return what decoding mends in a document that it can read as that class."""
    return list(_object(value, cls, ""))


def _object(value: Json, cls: type[Model], place: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        return
    for spec in field_specs(cls):
        item = value.get(spec.name)
        at = f"{place}/{spec.name}"
        if spec.many and isinstance(item, list):
            for index, one in enumerate(item):
                yield from _value(one, cls, spec, f"{at}/{index}")
        elif item is not None:
            yield from _value(item, cls, spec, at)


def _value(value: Json, cls: type[Model], spec: FieldSpec, at: str) -> Iterator[Problem]:
    if spec.kind == "model" and isinstance(value, dict):
        yield from _object(value, cast("type[Model]", spec.cls), at)
        return
    found = _departure(value, spec)
    if found is not None:
        yield Problem(at, *found, cls.reference)


def _departure(value: Json, spec: FieldSpec) -> tuple[str, str] | None:
    if value == "" and spec.kind not in ("string", "any"):
        return "type", f"expected {spec.type_name}, found an empty string"
    if spec.kind == "datetime" and isinstance(value, str):
        if not _DATETIME.fullmatch(value):
            return "datetime", "expected a date and time in UTC such as 2015-06-29T20:39:09Z"
        if len(value) > _LONGEST_DATETIME:
            return "max-length", f"expected at most {_LONGEST_DATETIME} characters, found {len(value)}"
    if spec.kind in ("string", "enum") and not isinstance(value, str):
        return "type", f"expected {_WORDS[spec.kind]}, found a number"
    if spec.kind in ("int", "number", "boolean") and isinstance(value, str):
        return "type", f"expected {_WORDS[spec.kind]}, found a string"
    return None
