"""Rules between fields, declared in the chapter of the class they are about; it walks no object.

A rule is a function that yields what is wrong with one object: where, relative to the object, a code for
programs, and what was expected. It names the fields it reads, so that a PATCH that carries them all obeys it
too::

    @rule(EVSE, "evse_id", "status")
    def named_unless_removed(evse: EVSE) -> Findings:
        if evse.evse_id is None and evse.status is not Status.REMOVED:
            yield "/evse_id", "missing", "expected an evse_id, unless the EVSE is removed"

Rules of one kind are declared by one line each: `forms`, `in_order`, `within`, `not_negative`, `unique`,
`not_older`, `needed_in_patch`. A rule meets whatever a partner sent, so it takes nothing for granted that
the types do not say; a message never holds a value.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar, cast

from attrs import frozen

from ._model import AsciiString, CiString, FieldSpec, Model, Url, spec_of, text_problem
from .types import ci_key

T = TypeVar("T")
M = TypeVar("M", bound=Model)

Finding: TypeAlias = tuple[str, str, str]
"""Pointer relative to the object, code, message."""
Findings: TypeAlias = Iterator[Finding]


@frozen
class Rule:
    """One rule: what it checks, which fields it reads, and where it is written."""

    check: Callable[[Any], Iterable[Finding]]
    reads: frozenset[str]
    reference: str


_rules: dict[type[Any], list[Rule]] = {}
_needed: dict[type[Any], frozenset[str]] = {}


def rules_of(cls: type[object]) -> Sequence[Rule]:
    """Return the rules of a class, in the order of their declaration."""
    return _rules.get(cls, ())


def needed_in_patch(cls: type[Model], *names: str) -> None:
    """Declare fields without which a PATCH of the class is incomplete."""
    _known(cls, names)
    _needed[cls] = frozenset(names)


def patch_needs(cls: type[Model]) -> frozenset[str]:
    """Return the fields without which a PATCH of the class is incomplete."""
    return _needed.get(cls, frozenset())


def rule(
    cls: type[T], *reads: str, reference: str = ""
) -> Callable[[Callable[[T], Findings]], Callable[[T], Findings]]:
    """Declare that a function checks objects of a class.

    Args:
        cls: The class.
        reads: All fields that the function reads.
        reference: The chapter that says so, where it is not the chapter of the class.

    Raises:
        TypeError: the class has no such field.
    """
    _known(cls, reads)
    place = reference or str(getattr(cls, "reference", ""))

    def register(check: Callable[[T], Findings]) -> Callable[[T], Findings]:
        _rules.setdefault(cls, []).append(Rule(check, frozenset(reads), place))
        return check

    return register


def _known(cls: type[object], names: Iterable[str]) -> None:
    for name in names:
        if not hasattr(cls, name):
            raise TypeError(f"{cls.__name__} has no field {name}")


# --- texts of a certain form ---------------------------------------------------------------------------

NOT_AVAILABLE = "#NA"


def may_be_not_available(spec: FieldSpec, text: str) -> bool:
    """Tell whether a text says that a mandatory text cannot be given.

    "a certain field, that is required, cannot be filled": a string, and not in 2.1.1. (2.2.1, transport and
    format, no data available)
    """
    rule = spec.text
    return text == NOT_AVAILABLE and spec.required and not isinstance(rule, AsciiString | Url)


@frozen
class Form:
    """A form that a text has beyond its table: the code of a departure, what is expected, and the test."""

    code: str
    expected: str
    test: Callable[[str], object]


def _day(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _zone(text: str) -> bool:
    """Tell whether a time zone is known; where the machine knows none, whether it could be one."""
    if _zones():
        return text in _zones()
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", text) is not None


def _pattern(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.ASCII).fullmatch


COUNTRY = Form("country", "two letters, an ISO 3166-1 alpha-2 code", _pattern("[A-Za-z]{2}"))
COUNTRY_3 = Form("country", "three capitals, an ISO 3166-1 alpha-3 code", _pattern("[A-Z]{3}"))
CURRENCY = Form("currency", "three capitals, an ISO 4217 code", _pattern("[A-Z]{3}"))
DAY = Form("date", "a day that exists, as YYYY-MM-DD", _day)
EVSE_ID = Form(
    "evse-id",
    "an EVSE id of eMI3: country, operator, E, outlet",
    # Identifiers of eMI3 are compared without case, and their separators may be left out.
    _pattern(r"(?i:[A-Z]{2}\*?[A-Z0-9]{3}\*?E[A-Z0-9][A-Z0-9*]*)"),
)
LANGUAGE = Form("language", "two small letters, an ISO 639-1 code", _pattern("[a-z]{2}"))
PARTY = Form("party-id", "three letters or digits, an ISO 15118 party id", _pattern("[A-Za-z0-9]{3}"))
PLAIN = Form("markup", "plain text, without markup", _pattern(r"(?s:(?!.*<[A-Za-z!/][^<>]*>).*)"))
TIME_ZONE = Form("time-zone", "a time zone of the IANA database", _zone)


def forms(cls: type[Model], **expected: Form) -> None:
    """Declare the forms of texts, by field."""
    for name, form in expected.items():
        _form(cls, name, form)


def _form(cls: type[Model], name: str, form: Form) -> None:
    @rule(cls, name)
    def has_its_form(one: Model) -> Findings:
        text: str | None = getattr(one, name)
        if text is None or may_be_not_available(spec_of(cls, name), text) or form.test(text):
            return
        yield f"/{name}", form.code, f"expected {form.expected}"


# --- values that bound each other ----------------------------------------------------------------------


def in_order(cls: type[Model], earlier: str, later: str, *, equal: bool = False) -> None:
    """Declare that one field lies after another, or with `equal` not before it."""

    @rule(cls, earlier, later)
    def is_in_order(one: Model) -> Findings:
        low, high = _comparable(one, earlier), _comparable(one, later)
        if low is None or high is None or low < high or (equal and low == high):
            return
        wanted = f"expected no less than {earlier}" if equal else f"expected a value after {earlier}"
        yield f"/{later}", "order", wanted


def _comparable(one: Model, name: str) -> Any:  # noqa: ANN401 - of one type for both fields of a rule
    value: object = getattr(one, name)
    if isinstance(value, str):
        text = spec_of(type(one), name).text
        return None if text is None or text_problem(value, text) else value
    return value


def within(cls: type[Model], name: str, low: int, high: int) -> None:
    """Declare the bounds of a number, both included."""

    @rule(cls, name)
    def is_within(one: Model) -> Findings:
        value: Decimal | int | None = getattr(one, name)
        if value is not None and not low <= value <= high:
            yield f"/{name}", "range", f"expected a number from {low} to {high}"


def not_negative(cls: type[Model], *names: str) -> None:
    """Declare numbers that are never negative."""
    for name in names:
        _not_negative(cls, name)


def _not_negative(cls: type[Model], name: str) -> None:
    @rule(cls, name)
    def is_not_negative(one: Model) -> Findings:
        value: Decimal | int | None = getattr(one, name)
        if value is not None and value < 0:
            yield f"/{name}", "negative", "expected no negative number"


def degrees(cls: type[Model]) -> None:
    """Declare the bounds of a latitude and a longitude, in decimal degrees."""
    for name, most in (("latitude", 90), ("longitude", 180)):
        _degrees(cls, name, most)


def _degrees(cls: type[Model], name: str, most: int) -> None:
    @rule(cls, name)
    def is_on_earth(one: Model) -> Findings:
        text: str = getattr(one, name)
        if re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII) and abs(Decimal(text)) > most:
            yield f"/{name}", "range", f"expected degrees from -{most} to {most}"


# --- lists ---------------------------------------------------------------------------------------------


def unique(cls: type[Model], items: str, *keys: str) -> None:
    """Declare that no two objects of a list are equal in all of some fields."""

    @rule(cls, items)
    def are_unique(one: Model) -> Findings:
        seen: set[tuple[object, ...]] = set()
        listed: list[Model] = getattr(one, items)
        for index, item in enumerate(listed):
            key = tuple(_key(item, name) for name in keys)
            if key in seen:
                place = f"/{items}/{index}/{keys[0]}" if len(keys) == 1 else f"/{items}/{index}"
                yield place, "duplicate", f"expected another {' and '.join(keys)} than the ones before"
            seen.add(key)


def _key(item: Model, name: str) -> object:
    value: object = getattr(item, name)
    return ci_key(value) if isinstance(value, str) and _ignores_case(type(item), name) else value


def _ignores_case(cls: type[Model], name: str) -> bool:
    return isinstance(spec_of(cls, name).text, CiString)


def not_older(cls: type[Model], *path: str) -> None:
    """Declare that ``last_updated`` of an object covers that of its parts, and of their parts."""

    @rule(cls, "last_updated", path[0])
    def covers_its_parts(one: Model) -> Findings:
        moment: datetime = getattr(one, "last_updated")  # noqa: B009 - no field of every model
        parts = [one]
        for name in path:
            parts = [inner for part in parts for inner in cast("list[Model]", getattr(part, name))]
            if any(cast("datetime", getattr(part, "last_updated")) > moment for part in parts):  # noqa: B009 - as above
                yield "/last_updated", "last-updated", f"expected no earlier than last_updated of its {name}"
                return


# --- what both versions say of objects that each words in its own fields -------------------------------


def energy_shares(percentages: Sequence[Decimal]) -> Findings:
    """Check that the shares of an energy mix are whole, as far as the digits sent can tell."""
    if not percentages:
        return
    # Each share may have been rounded, by half of its last digit.
    rounding = sum(map(_half_of_the_last_digit, percentages), Decimal(0))
    if abs(sum(percentages, Decimal(0)) - 100) > rounding:
        yield "/energy_sources", "sum", "expected percentages that add up to 100"


def _half_of_the_last_digit(number: Decimal) -> Decimal:
    exponent = number.as_tuple().exponent
    return Decimal(5).scaleb(min(exponent, 0) - 1) if isinstance(exponent, int) else Decimal(0)


FOSSIL_OR_NUCLEAR = frozenset({"NUCLEAR", "GENERAL_FOSSIL", "COAL", "GAS"})


def green_energy(sources: Iterable[tuple[str, Decimal]], impacts: Iterable[Decimal]) -> Findings:
    """Check what is called green: all from regenerative sources, "CO2 and nuclear waste is zero"."""
    if any(source in FOSSIL_OR_NUCLEAR and share > 0 for source, share in sources):
        yield "/is_green_energy", "contradiction", "expected false, as not all sources are regenerative"
    elif any(amount > 0 for amount in impacts):
        yield "/is_green_energy", "contradiction", "expected false, as there is waste or carbon dioxide"


def charging_periods(starts: Sequence[datetime], begin: datetime, end: datetime | None) -> Findings:
    """Check that charging periods follow each other within a session."""
    if end is not None and end < begin:
        end = None  # an end that is wrong itself bounds nothing
    previous = begin
    for index, start in enumerate(starts):
        place = f"/charging_periods/{index}/start_date_time"
        if start < begin:
            yield place, "order", "expected no earlier than the start of the session"
        elif start < previous:
            yield place, "order", "expected no earlier than the period before"
        elif end is not None and start > end:
            yield place, "order", "expected no later than the end of the session"
        previous = max(previous, start)


_Period: TypeAlias = tuple[datetime, datetime]


def overlapping(name: str, periods: Sequence[_Period], others: Sequence[_Period]) -> Findings:
    """Check that the periods of a list share no moment with those of another."""
    for index, (begin, end) in enumerate(periods):
        if any(begin < other_end and other_begin < end for other_begin, other_end in others):
            yield f"/{name}/{index}", "overlap", "expected no moment that another list has too"


def ascending(name: str, field: str, values: Sequence[int]) -> Findings:
    """Check that offsets start at 0 and grow."""
    if values and values[0] != 0:
        yield f"/{name}/0/{field}", "order", "expected 0 for the first period"
    for index, (one, other) in enumerate(pairwise(values), start=1):
        if other <= one:
            yield f"/{name}/{index}/{field}", "order", "expected more than in the period before"


def credentials_offered(identifiers: Iterable[str]) -> Findings:
    """Check that version details name the one module that is required of everybody."""
    if "credentials" not in identifiers:
        yield "/endpoints", "missing", "expected an endpoint of the credentials module"
