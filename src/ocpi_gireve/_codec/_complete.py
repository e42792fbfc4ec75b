"""Plain values -> models, completely: tolerant of what partners send, with every problem at its JSON pointer.

It knows no bytes. What it accepts and returns is the measure for the faster ways.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)

from .._model import NO_EXTRA, Extra, FieldSpec, Model, field_specs, with_article
from ..errors import DecodeError, Problem
from ..types import Json, OcpiEnum
from ._text import MAX_EXPONENT, decimal, ordinary

M = TypeVar("M", bound=Model)

new = object.__new__
_set = object.__setattr__


class Unfit(ValueError):
    """A value that does not fit its field; the message never holds the value."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


_KINDS: Mapping[type[Any], str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    Decimal: "a number",
    type(None): "null",
}


def kind_of(value: Json) -> str:
    return "an empty string" if value == "" else _KINDS[type(value)]


def _string(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)  # such as a postal code or a coordinate sent as a number
    raise Unfit("type", f"expected a string, found {kind_of(value)}")


def _number(value: Json) -> Decimal:
    number: Decimal | None = None
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, str | int) and not isinstance(value, bool):
        number = decimal(value) if isinstance(value, str) else Decimal(value)
    if number is None:
        raise Unfit("type", f"expected a number, found {kind_of(value)}")
    if not ordinary(number):
        raise Unfit("number", f"expected a number between 1e-{MAX_EXPONENT} and 1e{MAX_EXPONENT}")
    return number


def read_int(value: Json) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        number = _number(value)
    except Unfit as unfit:
        code = unfit.code
    else:
        if number == number.to_integral_value():
            return int(number)
        raise Unfit("type", "expected an integer, found a fraction")
    raise Unfit(code, f"expected an integer, found {kind_of(value)}")


def _boolean(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Unfit("type", f"expected a boolean, found {kind_of(value)}")


_DATETIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[Tt ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?"
    r"\s*(?:([Zz])|([+-]\d{2}):?(\d{2})?)?",
    re.ASCII,
)


_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z", re.ASCII)


def read_datetime(value: Json) -> datetime:
    """Read a DateTime. Without a designator it is UTC (types chapter); an offset is converted."""
    if not isinstance(value, str):
        raise Unfit("type", f"expected a date and time, found {kind_of(value)}")
    if _USUAL.fullmatch(value):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    found = _DATETIME.fullmatch(value.strip())
    if found is None:
        raise Unfit("datetime", "expected a date and time such as 2015-06-29T20:39:09Z")
    year, month, day, hour, minute, second, fraction, _, offset, minutes = found.groups()
    fraction = f".{fraction}" if fraction else ""
    zone = f"{offset}:{minutes or '00'}" if offset else "Z"
    text = f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute}:{second or '00'}{fraction}{zone}"
    try:
        return in_utc(msgspec.convert(text, datetime))
    except (msgspec.ValidationError, OverflowError):
        pass
    raise Unfit("datetime", "expected a date and time that exists")


def parse_datetime(text: str) -> datetime:
    """Read a DateTime as leniently as in a body.

    Raises:
        ValueError: it is not one; the text is not repeated.
    """
    return read_datetime(text)


def in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; one without a zone is UTC already.

    Raises:
        OverflowError: the moment lies outside the years 1 to 9999 once converted.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_converter = Converter(detailed_validation=True)
"""Dispatches by type; the hooks below take plain JSON values and raise `Unfit` or cattrs' groups."""

Hook = Callable[[Any, Any], Any]
_WRONG = (Unfit, BaseValidationError)
_hooks: dict[type[Model], dict[str, Hook]] = {}


def _hooks_of(cls: type[Model]) -> dict[str, Hook]:
    """Return, by field, what reads the value of a field."""
    found = _hooks.get(cls)
    if found is None:
        found = _hooks[cls] = {spec.name: _value_hook(spec) for spec in field_specs(cls)}
    return found


def _model_hook(cls: type[Model]) -> Hook:
    """Make the hook of a model: known properties to fields, the rest to `extra`, all problems at once."""
    specs = field_specs(cls)
    hooks = _hooks_of(cls)

    def structure(value: Json, _: Any) -> Model:
        if not isinstance(value, dict):
            raise Unfit("type", f"expected an object, found {kind_of(value)}")
        one = new(cls)
        wrong: list[Exception] = []
        for spec in specs:
            name = spec.name
            item = value.get(name)
            if item is None or (item == "" and not spec.required and spec.kind != "string"):
                if spec.required:
                    wrong.append(_noted(Unfit("missing", f"expected {_wanted(spec)}"), name))
                else:
                    _set(one, name, [] if spec.many else None)
                continue
            try:
                _set(one, name, hooks[name](item, None))
            except _WRONG as unfit:
                wrong.append(_noted(unfit, name))
        if wrong:
            raise _class_error(f"not {cls.__name__}", wrong, cls)
        unknown = {name: item for name, item in value.items() if name not in hooks}
        _set(one, "extra", Extra(unknown) if unknown else NO_EXTRA)
        return one

    return structure


def _wanted(spec: FieldSpec) -> str:
    return f"a list of {spec.type_name}" if spec.many else with_article(spec.type_name)


# A checker may see only the two arguments of the exception group from which these are made.
_class_error = cast("Callable[[str, list[Exception], Any], Exception]", ClassValidationError)
_list_error = cast("Callable[[str, list[Exception], Any], Exception]", IterableValidationError)


def _noted(error: Exception, name: str) -> Exception:
    error.add_note(AttributeValidationNote("", name, None))
    return error


def _noted_item(error: Exception, index: int) -> Exception:
    error.add_note(IterableValidationNote("", index, None))
    return error


def _value_hook(spec: FieldSpec) -> Hook:
    one = _one_hook(spec)
    if not spec.many:
        return one

    def structure(value: Json, _: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Unfit("type", f"expected a list, found {kind_of(value)}")
        items: list[Any] = []
        wrong: list[Exception] = []
        for index, item in enumerate(value):
            try:
                items.append(one(item, None))
            except _WRONG as unfit:
                wrong.append(_noted_item(unfit, index))
        if wrong:
            raise _list_error("not a list", wrong, list)
        return items

    return structure


def enum_hook(cls: type[OcpiEnum]) -> Hook:
    def structure(value: Json, _: Any) -> OcpiEnum:
        text = _string(value)
        if not text:
            raise Unfit("type", f"expected {with_article(cls.__name__)}, found an empty string")
        return cls(text)

    return structure


def _identity(value: Json, _: Any) -> Json:
    return value


_SCALAR_HOOKS: Mapping[str, Hook] = {
    "string": lambda value, _: _string(value),
    "int": lambda value, _: read_int(value),
    "number": lambda value, _: _number(value),
    "boolean": lambda value, _: _boolean(value),
    "datetime": lambda value, _: read_datetime(value),
    "any": _identity,
}


def _one_hook(spec: FieldSpec) -> Hook:
    if spec.cls is None:
        return _SCALAR_HOOKS[spec.kind]
    if spec.kind == "enum":  # cattrs would take its own hook for str, the base class of these enums
        return enum_hook(spec.cls)
    return _converter.get_structure_hook(spec.cls)


_converter.register_structure_hook_factory(
    lambda cls: isinstance(cls, type) and issubclass(cls, Model), _model_hook
)


def _problems(error: BaseException, pointer: str) -> Iterator[Problem]:
    """Flatten cattrs' groups into problems with JSON pointers."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            pointer = f"{pointer}/{note.name}"  # a field's name holds neither ~ nor /
        elif isinstance(note, IterableValidationNote):
            pointer = f"{pointer}/{note.index}"
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _problems(inner, pointer)
    elif isinstance(error, Unfit):
        yield Problem(pointer, error.code, str(error))


def from_json(value: Json, cls: type[M]) -> M:
    """Make an object of plain JSON values, as `parse_json` returns them.

    Raises:
        DecodeError: with every problem.
    """
    try:
        return cast("M", _converter.get_structure_hook(cls)(value, cls))
    except _WRONG as wrong:
        problems = list(_problems(wrong, ""))
    raise DecodeError(cls.__name__, problems)


def field_from_json(cls: type[Model], spec: FieldSpec, value: Json) -> Any:
    """Read one field of a model, as a PATCH carries it; None where it is null.

    Raises:
        DecodeError: with every problem, pointers starting at the field.
    """
    if value is None:
        return None
    try:
        return _hooks_of(cls)[spec.name](value, None)
    except _WRONG as wrong:
        problems = list(_problems(wrong, f"/{spec.name}"))
    raise DecodeError(cls.__name__, problems)
