"""Strategies for the models and references of OCPI, drawn from their own tables; know no operation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar, get_args, get_type_hints

import attrs
from hypothesis import strategies as st

from ocpi_gireve import Link, PageQuery, Patch
from ocpi_gireve._model import CiString, FieldSpec, Model, String, Url, field_specs
from ocpi_gireve.types import ExtensibleEnum, OcpiEnum

M = TypeVar("M", bound=Model)

PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
READABLE = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis adds the zone
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
NUMBERS = st.decimals(min_value=-(10**6), max_value=10**6, places=4)
IDS = st.text(PRINTABLE, min_size=1, max_size=12).filter(lambda text: text not in (".", ".."))
"""Identifiers that can stand in a URL: with blanks, slashes, percent signs and whatever else is printable."""
UNICODE_IDS = st.text(READABLE, min_size=1, max_size=12).filter(lambda text: text not in (".", ".."))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | NUMBERS.map(Decimal)
    | st.text(READABLE, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(READABLE, max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


def texts(rule: String) -> st.SearchStrategy[str]:
    """Texts that keep a rule."""
    longest = 12 if rule.max_length is None else min(rule.max_length, 12)
    if rule.regex is not None:
        limit = rule.max_length or 64
        return st.from_regex(rule.regex, fullmatch=True, alphabet=PRINTABLE).filter(lambda t: len(t) <= limit)
    if isinstance(rule, Url):
        return st.text(st.characters(categories=(), include_characters="abc019-_/"), max_size=12).map(
            lambda path: f"https://example.com/{path}"
        )
    return st.text(PRINTABLE if isinstance(rule, CiString) else READABLE, max_size=longest)


def enums(cls: type[OcpiEnum]) -> st.SearchStrategy[OcpiEnum]:
    """Members of an enum, and where partners may extend it, values of theirs."""
    known = st.sampled_from(list(cls))
    return (
        known | st.sampled_from(["x-ours", "FR*SPECIAL"]).map(cls)
        if issubclass(cls, ExtensibleEnum)
        else known
    )


def one_value(spec: FieldSpec) -> st.SearchStrategy[Any]:
    """Single values of a field."""
    if spec.cls is not None and issubclass(spec.cls, Model):
        return objects(spec.cls)
    if spec.cls is not None:
        return enums(spec.cls)
    if spec.text is not None:
        return texts(spec.text)
    largest = 10 ** (spec.max_digits or 9) - 1
    strategies: dict[str, st.SearchStrategy[Any]] = {
        "int": st.integers(-largest, largest),
        "number": NUMBERS,
        "boolean": st.booleans(),
        "datetime": MOMENTS,
    }
    return strategies.get(spec.kind, JSON)


def values(spec: FieldSpec) -> st.SearchStrategy[Any]:
    """Values of a field, absence included where it may be absent."""
    if spec.many:
        return st.lists(one_value(spec), min_size=1 if spec.required else 0, max_size=2)
    return one_value(spec) if spec.required else st.none() | one_value(spec)


def extras(cls: type[Model]) -> st.SearchStrategy[dict[str, Any]]:
    """Properties that a model does not have. None of them is null, which a PATCH could not carry."""
    known = {spec.name for spec in field_specs(cls)} | {"extra"}
    names = st.text(READABLE, min_size=1, max_size=6).filter(lambda name: name not in known)
    return st.dictionaries(names, JSON.filter(lambda item: item is not None), max_size=2)


@st.composite
def objects(draw: st.DrawFn, cls: type[M], fixed: Mapping[str, object] | None = None) -> M:
    """Objects of a model, with some fields given. Most of what may be absent is."""
    given: dict[str, Any] = dict(fixed or {})
    for spec in field_specs(cls):
        if spec.name in given:
            continue
        if spec.required or draw(st.integers(0, 3)) == 0:
            given[spec.name] = draw(values(spec))
    if draw(st.integers(0, 3)) == 0:
        given["extra"] = draw(extras(cls))
    return cls(**given)


@st.composite
def patches(
    draw: st.DrawFn, cls: type[M], fixed: Mapping[str, object] | None = None, always: Collection[str] = ()
) -> Patch[M]:
    """Patches of a model: some fields, of which some go; some of the given ones, and always those named."""
    changes: dict[str, object] = {}
    for spec in field_specs(cls):
        if spec.name in (fixed or {}):
            if draw(st.booleans()):
                changes[spec.name] = (fixed or {})[spec.name]
        elif spec.name in always or draw(st.integers(0, 3)) == 0:
            changes[spec.name] = draw(values(spec))
    return Patch(cls, changes, draw(extras(cls)) if draw(st.booleans()) else None)


@st.composite
def references(draw: st.DrawFn, cls: type[Any], fixed: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - what an operation's target may be
    """References, such as `LocationRef`, `PageQuery` or a handler's `Link`, with some fields given."""
    if cls is Link:
        return Link(
            "/".join(draw(st.lists(IDS.filter(lambda text: "/" not in text), min_size=1, max_size=3)))
        )
    if cls is PageQuery:
        moments = sorted(draw(st.lists(MOMENTS, min_size=2, max_size=2)))
        begin, end = (draw(st.none() | st.just(moment)) for moment in moments)
        limit = draw(st.none() | st.integers(1, 10**6))
        return PageQuery(offset=draw(st.integers(0, 10**9)), limit=limit, date_from=begin, date_to=end)
    given: dict[str, Any] = dict(fixed or {})
    hints = get_type_hints(cls)
    for attribute in attrs.fields(cls):
        if attribute.name not in given and (attribute.default is attrs.NOTHING or draw(st.booleans())):
            given[attribute.name] = draw(_parameter(hints[attribute.name]))
    return cls(**given)


def _parameter(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - an annotation
    (kind,) = (one for one in (get_args(hint) or (hint,)) if one is not type(None))
    if kind is str:
        return IDS | UNICODE_IDS
    if kind is int:
        return st.integers(0, 10**9)
    return MOMENTS if kind is datetime else enums(kind)
