r"""How a model is declared: an attrs class whose annotations carry the specification's table; knows no JSON.

The annotation is the only place where a field's type, cardinality, length and pattern are written. The
constructor's checks, the codec, validation, schemas and samples are all derived from `field_specs`.

| table | annotation |
|---|---|
| ``CiString(36)``, cardinality 1 | ``Annotated[str, CiString(36)]`` |
| ``string(255)``, cardinality ? | ``Annotated[str, String(255)] \| None = None`` |
| ``EVSE``, cardinality * | ``list[EVSE] = field(factory=list["EVSE"])`` |
| ``Connector``, cardinality + | ``NonEmpty[Connector]`` |
| ``number``, ``DateTime``, ``int``, ``boolean`` | ``Decimal``, ``datetime``, ``int``, ``bool`` |
| ``boolean``, 1, one of a choice | ``Annotated[bool, Choice("1")] \| None = None`` |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs
from attrs import Attribute, field, frozen

from .errors import InvalidObject, Problem
from .types import ExtensibleEnum, Json, JsonObject, OcpiEnum

T = TypeVar("T")
M = TypeVar("M", bound="Model")


@frozen
class String:
    """``string(n)``: printable text of at most `max_length` characters."""

    max_length: int | None = None
    regex: str | None = field(default=None, kw_only=True)


@frozen
class AsciiString(String):
    """``string(n)`` of 2.1.1: printable ASCII, says the text. Only validation insists.

    Names and addresses have accents, and 2.2 corrected the text: what we build and read may have them too.
    """


@frozen
class CiString(String):
    """``CiString(n)``: printable ASCII, compared without case."""


@frozen
class Url(String):
    """``URL``: at most 255 characters."""

    max_length: int | None = 255


@frozen
class Digits:
    """``int(n)``: at most `max_digits` digits."""

    max_digits: int


@frozen
class Decimals:
    """``number`` with at most `at_most` decimals, where the text says other than four."""

    at_most: int


@frozen
class Choice:
    """One of a group of fields of which an object carries at least one.

    The table gives the field a `cardinality` of its own; it may be absent all the same.
    """

    cardinality: Literal["1", "?", "*", "+"]


@frozen
class Default:
    """The value that the specification gives an absent field. The attribute stays None: absent is absent."""

    value: bool | int | str


@frozen
class Confidential:
    """Marks a value that never shows in a repr or a log."""

    kind: Literal["secret", "personal"]


SECRET = Confidential("secret")
PERSONAL = Confidential("personal")


@frozen
class _AtLeastOne:
    """Cardinality ``+``."""


@frozen
class Appended:
    """A list that a PATCH adds to, where it replaces every other list."""


NonEmpty: TypeAlias = Annotated[list[T], _AtLeastOne()]
"""Cardinality ``+``: a list that is not empty."""

E = TypeVar("E", bound=OcpiEnum)
_gireve_values: dict[type[OcpiEnum], frozenset[str]] = {}


def gireve_values(*values: str) -> Callable[[type[E]], type[E]]:
    """Mark values of an enum as GIREVE's, not OCPI's."""

    def mark(cls: type[E]) -> type[E]:
        _gireve_values[cls] = frozenset(values)
        return cls

    return mark


def gireve_values_of(cls: type[OcpiEnum]) -> frozenset[str]:
    """Return the values that GIREVE adds to an enum."""
    return _gireve_values.get(cls, frozenset())


GIREVE_EXTENSION: Mapping[str, str] = {"extension": "GIREVE"}
"""Field metadata: the property is GIREVE's, not OCPI's."""


class Extra(dict[str, Json]):
    """The properties of a message that OCPI does not define; read-only."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[Extra], tuple[dict[str, Json]]]:
        return Extra, (dict(self),)


def _refuse(_: object, *__: object, **___: object) -> NoReturn:
    raise TypeError("extra is read-only; attrs.evolve(object, extra={...}) makes a changed copy")


for _mutator in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(Extra, _mutator, _refuse)

NO_EXTRA: JsonObject = Extra()


Kind = Literal["string", "int", "number", "boolean", "datetime", "enum", "model", "any"]


@frozen(kw_only=True)
class FieldSpec:
    """One row of a specification table, read from an annotation.

    Attributes:
        name: The attribute, and the JSON property.
        kind: What one value is.
        text: The rules of a string.
        cls: The enum or model class.
        many: Cardinality ``*`` or ``+``.
        required: Cardinality ``1`` or ``+``.
        max_digits: Of an ``int(n)``.
        decimals: Most decimals of a ``number``.
        choice: The table's cardinality of a field that is one of a choice, whatever `required` says.
        default: The value that the specification gives an absent field.
        appended: Whether a PATCH adds to the list instead of replacing it.
        confidential: Whether the value is a secret or personal.
        extension: Whose extension the property is; None where OCPI defines it.
    """

    name: str
    kind: Kind
    text: String | None = None
    cls: type[Any] | None = None
    many: bool = False
    required: bool = True
    max_digits: int | None = None
    decimals: int = 4
    choice: str | None = None
    default: bool | int | str | None = None
    appended: bool = False
    confidential: Confidential | None = None
    extension: str | None = None

    @property
    def cardinality(self) -> str:
        """The sign that the specification's tables use: ``1``, ``?``, ``*`` or ``+``."""
        if self.choice is not None:
            return self.choice
        if self.many:
            return "+" if self.required else "*"
        return "1" if self.required else "?"

    @property
    def type_name(self) -> str:
        """The type in the words of the specification."""
        if self.cls is not None:
            return self.cls.__name__
        if self.text is not None:
            if isinstance(self.text, CiString):
                return "CiString"
            return "URL" if isinstance(self.text, Url) else "string"
        return {"datetime": "DateTime", "any": "any"}.get(self.kind, self.kind)


_SCALARS: dict[Any, Kind] = {
    str: "string",
    int: "int",
    bool: "boolean",
    Decimal: "number",
    datetime: "datetime",
}


def _spec(attribute: Attribute[Any], hint: Any) -> FieldSpec:
    marks: list[Any] = []
    required = attribute.default is attrs.NOTHING
    many = False
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *more = get_args(hint)
            marks.extend(more)
        elif origin in (Union, UnionType) and NoneType in get_args(hint):
            (hint,) = (arg for arg in get_args(hint) if arg is not NoneType)
        elif origin is list:
            (hint,) = get_args(hint)
            many = True
        else:
            break
    if isinstance(hint, type) and issubclass(hint, Enum):
        kind: Kind = "enum"
    elif isinstance(hint, type) and issubclass(hint, Model):
        kind = "model"
    else:
        kind = _SCALARS.get(hint, "any")

    def mark(cls: type[T]) -> T | None:
        return next((found for found in marks if isinstance(found, cls)), None)

    digits, decimals, choice, default = mark(Digits), mark(Decimals), mark(Choice), mark(Default)
    return FieldSpec(
        name=attribute.name,
        kind=kind,
        text=mark(String) or (String() if kind == "string" else None),
        cls=cast("type[Any]", hint) if kind in ("enum", "model") else None,
        many=many,
        required=required,
        max_digits=digits.max_digits if digits else None,
        decimals=decimals.at_most if decimals else 4,
        choice=choice.cardinality if choice else None,
        default=default.value if default else None,
        appended=mark(Appended) is not None,
        confidential=mark(Confidential),
        extension=attribute.metadata.get("extension"),
    )


_tables: dict[type[Model], dict[str, FieldSpec]] = {}


def _table(cls: type[Model]) -> dict[str, FieldSpec]:
    found = _tables.get(cls)
    if found is None:
        hints = get_type_hints(cls, localns={"Json": object, "JsonObject": object}, include_extras=True)
        found = _tables[cls] = {
            attribute.name: _spec(attribute, hints[attribute.name])
            for attribute in attrs.fields(cls)
            if attribute.name != "extra"
        }
    return found


def field_specs(cls: type[Model]) -> tuple[FieldSpec, ...]:
    """Return the table of a model class, in the order of its declaration, without `extra`."""
    return tuple(_table(cls).values())


def spec_of(cls: type[Model], name: str) -> FieldSpec:
    """Return one row of a model's table.

    Raises:
        KeyError: the class has no such field.
    """
    return _table(cls)[name]


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Not printable. `str.isprintable` refuses more: the blanks of French typography, the joiners of emoji."""


def text_problems(text: str, rule: String) -> Iterable[tuple[str, str]]:
    """Yield code and message of the rules that a text breaks."""
    if rule.max_length is not None and len(text) > rule.max_length:
        yield "max-length", f"expected at most {rule.max_length} characters, found {len(text)}"
    if isinstance(rule, CiString):
        if not (text.isascii() and text.isprintable()):
            yield "charset", "expected printable ASCII only"
    elif not text.isprintable() and _CONTROL.search(text):
        yield "charset", "expected printable characters only, no line breaks or tabs"
    if rule.regex is not None and not re.fullmatch(rule.regex, text, re.ASCII):
        yield "regex", f"expected a text that matches {rule.regex}"


def text_problem(text: str, rule: String) -> tuple[str, str] | None:
    """Return code and message of the first rule that a text breaks; None where it keeps them all."""
    return next(iter(text_problems(text, rule)), None)


_EXPECTED: dict[Kind, tuple[type[Any], str]] = {
    "string": (str, "a string"),
    "int": (int, "an integer"),
    "number": (Decimal, "a Decimal"),
    "boolean": (bool, "a bool"),
    "datetime": (datetime, "a datetime with a time zone"),
}


class _Broken(Exception):
    """A value broke a rule: the message travels to the place that knows the pointer."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def _checked_value(spec: FieldSpec, value: Any) -> Any:
    """Return one value of a field as it is stored, or raise `_Broken`."""
    found = f"not {type(value).__name__}"
    if spec.kind == "any":
        return value
    if spec.kind == "model":
        cls = cast("type[Model]", spec.cls)
        if not isinstance(value, cls):
            raise _Broken("type", f"expected {with_article(cls.__name__)}, {found}")
        return value
    if spec.kind == "enum":
        enum = cast("type[Enum]", spec.cls)
        if not isinstance(value, str):
            raise _Broken("type", f"expected {with_article(enum.__name__)}, {found}")
        member = enum(value) if value else None
        if not isinstance(member, OcpiEnum) or not (member.is_known or isinstance(member, ExtensibleEnum)):
            raise _Broken("enum", f"expected one of {', '.join(known.value for known in enum)}")
        return member
    if spec.kind == "number" and isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    expected, words = _EXPECTED[spec.kind]
    if not isinstance(value, expected) or (isinstance(value, bool) and spec.kind == "int"):
        raise _Broken("type", f"expected {words}, {found}")
    if isinstance(value, str) and spec.text is not None:
        problem = text_problem(value, spec.text)
        if problem:
            raise _Broken(*problem)
    elif isinstance(value, datetime):
        if value.utcoffset() is None:
            raise _Broken("datetime", "expected a datetime with a time zone")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise _Broken("datetime", "expected a datetime within the years 1 to 9999 of UTC") from None
    elif isinstance(value, Decimal):
        if not value.is_finite() or not -30 <= value.adjusted() <= 30:
            raise _Broken("number", "expected a finite number of ordinary size")
    elif spec.max_digits is not None and isinstance(value, int) and len(str(abs(value))) > spec.max_digits:
        raise _Broken("digits", f"expected at most {spec.max_digits} digits")
    return value


def with_article(noun: str) -> str:
    """Put ``a`` or ``an`` before the name of a type."""
    return f"{'an' if noun[0] in 'AEIOUaeiou' and not noun.startswith('U') else 'a'} {noun}"


def checked(cls: type[Model], spec: FieldSpec, value: Any) -> Any:
    """Return a field's value as it is stored.

    Raises:
        InvalidObject: it breaks the field's own rules: type, length, characters, pattern, cardinality.
    """
    pointer = f"/{spec.name}"
    try:
        if value is None and not spec.required:
            return [] if spec.many else None
        if not spec.many:
            return _checked_value(spec, value)
        if not isinstance(value, list | tuple):
            raise _Broken("type", f"expected a list, not {type(value).__name__}")
        if spec.required and not value:
            raise _Broken("empty", "expected at least one")
        checked_items: list[Any] = []
        for index, item in enumerate(cast("Iterable[Any]", value)):
            pointer = f"/{spec.name}/{index}"
            checked_items.append(_checked_value(spec, item))
        return checked_items
    except _Broken as broken:
        problem = Problem(pointer, broken.code, str(broken), cls.reference)
    raise InvalidObject(cls.__name__, [problem])


_checks: dict[type[Model], Callable[[Any], None]] = {}


def _check(one: Model) -> None:
    """Replace each attribute of a new object by what is stored.

    Raises:
        InvalidObject: values break the rules of their fields; with every problem.
    """
    cls = type(one)
    check = _checks.get(cls)
    if check is None:
        check = _checks[cls] = _make_check(cls)
    check(one)


def _make_check(cls: type[Model]) -> Callable[[Any], None]:
    """Generate the function that checks a new object, fast for values that are stored as they are."""
    names: dict[str, Any] = {"UTC": UTC, "Decimal": Decimal, "datetime": datetime, "NO_EXTRA": NO_EXTRA}
    lines = ["def check(o):", " wrong = []"]
    for index, spec in enumerate(field_specs(cls)):
        plain = _plain(spec, names, index)
        lines.append(f" v = o.{spec.name}")
        if spec.many:
            enough = "" if spec.required else "not v or "
            every = f"({enough}all([{plain.format('x')} for x in v]))" if plain else "True"
            some = "v and " if spec.required else ""
            lines.append(f" if v.__class__ is list and {some}{every}: set{index}(o, v.copy())")
            lines.append(f" else: fix(o, spec{index}, v, wrong)")
        elif plain:
            absent = "" if spec.required else "v is None or "
            lines.append(f" if not ({absent}{plain.format('v')}): fix(o, spec{index}, v, wrong)")
        names |= {f"set{index}": getattr(cls, spec.name).__set__, f"spec{index}": spec}
    names |= {"fix": _fix, "fix_extra": _fix_extra, "refuse": _refuse_object}
    lines += [" if o.extra is not NO_EXTRA: fix_extra(o, wrong)", " if wrong: refuse(o, wrong)"]
    exec("\n".join(lines), names)  # noqa: S102 - our own text: field names of our own classes
    return cast("Callable[[Any], None]", names["check"])


def _plain(spec: FieldSpec, names: dict[str, Any], index: int) -> str:
    """Return the condition under which a value ``{0}`` is stored as it is; `checked` judges others."""
    text = spec.text
    if text is not None:
        conditions = ["{0}.__class__ is str", "{0}.isprintable()"]
        if isinstance(text, CiString):
            conditions.append("{0}.isascii()")
        if text.max_length is not None:
            conditions.append(f"len({{0}}) <= {text.max_length}")
        if text.regex is not None:
            names[f"match{index}"] = re.compile(text.regex, re.ASCII).fullmatch
            conditions.append(f"match{index}({{0}})")
        return " and ".join(conditions)
    names[f"cls{index}"] = spec.cls
    if spec.kind == "enum":
        names[f"known{index}"] = frozenset(cast("type[Enum]", spec.cls))
        return f"{{0}}.__class__ is cls{index} and {{0}} in known{index}"
    bound = 10 ** (spec.max_digits or 64)
    return {
        "model": f"{{0}}.__class__ is cls{index}",
        "datetime": "{0}.__class__ is datetime and {0}.tzinfo is UTC",
        "number": "{0}.__class__ is Decimal and -30 <= {0}.adjusted() <= 30 and {0}.is_finite()",
        "boolean": "({0} is True or {0} is False)",
        "int": f"{{0}}.__class__ is int and {-bound} < {{0}} < {bound}",
    }.get(spec.kind, "")


def _fix(one: Model, spec: FieldSpec, value: Any, wrong: list[Problem]) -> None:
    try:
        _set(one, spec.name, checked(type(one), spec, value))
    except InvalidObject as refusal:
        wrong += refusal.problems


def _fix_extra(one: Model, wrong: list[Problem]) -> None:
    extra = one.extra
    if extra.__class__ is not Extra:
        if not isinstance(extra, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"extra: expected a mapping, not {type(extra).__name__}")
        _set(one, "extra", Extra(extra) if extra else NO_EXTRA)
    known = [name for name in _table(type(one)) if name in extra]
    wrong += [Problem(f"/{name}", "extra", "expected a field, not a part of extra") for name in known]


def _refuse_object(one: Model, wrong: list[Problem]) -> NoReturn:
    raise InvalidObject(type(one).__name__, wrong)


def _masked(value: object) -> str:
    return "None" if value is None else "***"


def _arranged(_: type, attributes: list[Attribute[Any]]) -> list[Attribute[Any]]:
    """Mask what is confidential, and let `extra` stand last."""
    marks = ("SECRET", "PERSONAL")
    masked = [
        attribute.evolve(repr=_masked) if any(mark in str(attribute.type) for mark in marks) else attribute
        for attribute in attributes
    ]
    return sorted(masked, key=lambda attribute: attribute.name == "extra")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def model(cls: type[T]) -> type[T]:
    """Make an OCPI object out of a class: keyword-only, immutable, slotted, checked at construction."""
    make: Callable[[type[T]], type[T]] = attrs.frozen(
        kw_only=True, weakref_slot=False, field_transformer=_arranged
    )
    return make(cls)


@frozen(weakref_slot=False)
class _AttrsClass:
    """What mypy has to see below a model, so that it lets `attrs.evolve` copy it."""


@model
class Model(_AttrsClass):
    """What every OCPI object has in common.

    Attributes:
        extra: The properties a partner sent that neither OCPI nor GIREVE defines, kept at the level where
            they stood and written back unchanged. Read-only and part of equality.
    """

    reference: ClassVar[str] = ""

    extra: JsonObject = field(default=NO_EXTRA, repr=lambda extra: f"<{len(extra)}>")

    def __attrs_post_init__(self) -> None:
        # What we build is checked. What a partner sends is made without the constructor: read permissively.
        _check(self)


_set = object.__setattr__


def replaced(one: M, changes: Mapping[str, Any]) -> M:
    """Copy an object with some attributes set as they are, unchecked: for what a partner sent.

    `attrs.evolve` checks every field again and so refuses to copy a partner's over-long name.
    """
    cls = type(one)
    copy = cls.__new__(cls)
    for attribute in attrs.fields(cls):
        name = attribute.name
        _set(copy, name, changes[name] if name in changes else getattr(one, name))
    return copy
