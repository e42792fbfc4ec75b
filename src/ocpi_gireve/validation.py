"""Every departure of an object from the specification, with its place; decides nothing and changes nothing.

What a partner sends is read permissively, so an object may hold an over-long name, a status that no version
knows, a session that ends before it starts. `validate` says so::

    for problem in validate(location):
        print(problem.pointer, problem.code, problem.message)

Each problem has one of these codes:

| code | departure |
|---|---|
| ``max-length``, ``charset``, ``regex``, ``digits``, ``decimals`` | from the field's type |
| ``ascii`` | 2.1.1: a text with other than ASCII, which 2.2 allowed |
| ``url`` | not an absolute URL with a host |
| ``empty``, ``missing``, ``unexpected`` | a field that must be there, or must not, given the others |
| ``enum`` | a value that no table lists |
| ``extension`` | GIREVE's value or field, where OCPI alone was asked for |
| ``country``, ``currency``, ``date``, ``evse-id``, ``language``, ``markup``, ``party-id``, ``time-zone`` | not the code, or the form of text, that the text asks for |
| ``negative``, ``range``, ``order``, ``sum``, ``overlap`` | numbers and moments that do not fit each other |
| ``last-updated`` | older than a part of the object |
| ``duplicate``, ``reference`` | an id that is there twice, or that names nothing |
| ``contradiction`` | two fields that cannot both be true |
| ``dimension``, ``session-only`` | a dimension where it is not allowed |

What one object cannot show is not checked: that an id is unique within a platform, that an authorization
reference repeats the eMSP's, that a place has no postal code. Whether a code is assigned (a country, a
currency, a language) is not checked either, only its form.
"""  # noqa: E501 - a row of a table is one line

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Protocol, cast

from attrs import frozen

from ._model import AsciiString, FieldSpec, Model, Url, field_specs, gireve_values_of, text_problems
from ._rules import Findings, may_be_not_available, patch_needs, rule, rules_of
from .errors import Problem
from .pagination import PageQuery
from .types import ExtensibleEnum, OcpiEnum

__all__ = ["validate"]

PAGINATION = "transport and format, pagination"


class SomeFields(Protocol):
    """What is read of a `Patch`, whatever class it is for."""

    @property
    def model(self) -> type[Model]:
        """The class that is changed."""
        ...

    @property
    def changes(self) -> Mapping[str, object]:
        """The fields that change, with their new values."""
        ...


def validate(one: Model | SomeFields | PageQuery, *, extensions: bool = True) -> list[Problem]:
    """Return every departure of an object from its version of OCPI, at every level.

    Lengths, character sets, patterns, digits, mandatory lists, closed enums, the form of URLs and codes, and
    the rules between fields that tables and texts state. Of a `Patch`, only what it carries is checked, and
    that it carries what the text asks of a PATCH. Messages never repeat a value.

    Args:
        one: An object of either version, a `Patch`, or a `PageQuery`.
        extensions: Whether what GIREVE adds to OCPI, fields and values of enums, is right.
    """
    return list(_Walk(extensions).problems(one))


@frozen
class _Walk:
    extensions: bool

    def problems(self, one: Model | SomeFields | PageQuery) -> Iterator[Problem]:
        if isinstance(one, Model):
            yield from self._model(one, "")
        elif isinstance(one, PageQuery):
            yield from _broken_rules(one, "", None)
        else:
            yield from self._patch(one)

    def _patch(self, patch: SomeFields) -> Iterator[Problem]:
        cls = patch.model
        for name in sorted(patch_needs(cls) - patch.changes.keys()):
            yield Problem(f"/{name}", "missing", f"expected {name} in every PATCH", cls.reference)
        part = cls.__new__(cls)
        for spec in field_specs(cls):
            if spec.name in patch.changes:
                value = patch.changes[spec.name]
                if value is None and spec.many:
                    value = cast("list[object]", [])
                object.__setattr__(part, spec.name, value)
                yield from self._field(cls, spec, value, "")
        yield from _broken_rules(part, "", patch.changes.keys())

    def _model(self, one: Model, place: str) -> Iterator[Problem]:
        cls = type(one)
        for spec in field_specs(cls):
            yield from self._field(cls, spec, getattr(one, spec.name), place)
        yield from _broken_rules(one, place, None)

    def _field(self, cls: type[Model], spec: FieldSpec, value: object, place: str) -> Iterator[Problem]:
        at = f"{place}/{spec.name}"
        if value is None or value == []:
            if spec.required:
                code, what = ("empty", "at least one") if spec.many else ("missing", f"a {spec.type_name}")
                yield Problem(at, code, f"expected {what}", cls.reference)
            return
        if spec.extension is not None and not self.extensions:
            yield Problem(at, "extension", f"expected no field that {spec.extension} adds", cls.reference)
            return
        if not spec.many:
            yield from self._value(cls, spec, value, at)
            return
        for index, item in enumerate(cast("list[object]", value)):
            yield from self._value(cls, spec, item, f"{at}/{index}")

    def _value(self, cls: type[Model], spec: FieldSpec, value: object, at: str) -> Iterator[Problem]:
        if isinstance(value, Model):
            yield from self._model(value, at)
            return
        for code, message in self._departures(spec, value):
            yield Problem(at, code, message, cls.reference)

    def _departures(self, spec: FieldSpec, value: object) -> Iterator[tuple[str, str]]:
        if isinstance(value, OcpiEnum):
            yield from self._enum(value)
        elif isinstance(value, str) and spec.text is not None:
            if not may_be_not_available(spec, value):
                yield from _text(spec, value)
        elif isinstance(value, Decimal):
            if _decimals(value) > spec.decimals:
                yield "decimals", f"expected at most {spec.decimals} decimals, found {_decimals(value)}"
        elif isinstance(value, int) and spec.max_digits is not None and abs(value) >= 10**spec.max_digits:
            yield "digits", f"expected at most {spec.max_digits} digits"

    def _enum(self, value: OcpiEnum) -> Iterator[tuple[str, str]]:
        cls = type(value)
        added = gireve_values_of(cls)
        if not value.is_known:
            if not isinstance(value, ExtensibleEnum):
                yield "enum", f"expected one of {', '.join(known.value for known in cls)}"
        elif value.value in added and not self.extensions:
            known = ", ".join(known.value for known in cls if known.value not in added)
            yield "extension", f"expected one of {known}"


_URL = re.compile(
    r"""
    [A-Za-z][A-Za-z0-9+.-]* ://
    (?: [A-Za-z0-9._~!$&'()*+,;=:%-]* @ )?
    (?: \[ [0-9A-Fa-f:.]+ \] | [A-Za-z0-9._~!$&'()*+,;=%-]+ )
    (?: : [0-9]* )?
    (?: [/?\#] [A-Za-z0-9._~!$&'()*+,;=:@/?%\#\[\]-]* )?
    """,
    re.VERBOSE | re.ASCII,
)


def _text(spec: FieldSpec, value: str) -> Iterator[tuple[str, str]]:
    rules = spec.text
    if rules is None:
        return
    yield from text_problems(value, rules)
    if isinstance(rules, AsciiString) and not value.isascii():
        yield "ascii", "expected ASCII only, as 2.1.1 asks"
    if isinstance(rules, Url) and not _URL.fullmatch(value):
        yield "url", "expected an absolute URL, with scheme and host"


def _decimals(value: Decimal) -> int:
    """Count the decimals of a number, without zeros at its end."""
    _, digits, exponent = value.as_tuple()
    if not value or not isinstance(exponent, int):
        return 0
    zeros = 0
    while digits[-1 - zeros] == 0:
        zeros += 1
    return max(0, -exponent - zeros)


def _broken_rules(one: Model | PageQuery, place: str, carried: Collection[str] | None) -> Iterator[Problem]:
    """Yield what the rules say of an object, or of the fields of it that a PATCH carries."""
    for known in rules_of(type(one)):
        if carried is None or known.reads <= set(carried):
            for pointer, code, message in known.check(one):
                yield Problem(place + pointer, code, message, known.reference)


# --- which part of a listing is asked for ---------------------------------------------------------------


@rule(PageQuery, "date_from", "date_to", reference=PAGINATION)
def _dates(query: PageQuery) -> Findings:
    """`date_from` is inclusive, `date_to` exclusive."""
    if query.date_from is not None and query.date_to is not None and query.date_to <= query.date_from:
        yield "/date_to", "order", "expected a moment after date_from"


@rule(PageQuery, "offset", "limit", reference=PAGINATION)
def _page(query: PageQuery) -> Findings:
    """The first object is number 0, and a page has room for one."""
    if query.offset < 0:
        yield "/offset", "negative", "expected no negative number"
    if query.limit is not None and query.limit < 1:
        yield "/limit", "range", "expected a number from 1"
