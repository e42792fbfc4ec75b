"""Carries the fields of one version's object over to the other's; the rules of each class are its chapter's.

A field of the same name is carried by itself: objects and lists of them recursively, enum values by name,
everything else as it is. A `Pair` states only what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar, cast

import attrs
from attrs import field, frozen

from .. import v221
from .._codec import field_from_json
from .._model import NO_EXTRA, Extra, FieldSpec, Model, checked, field_specs, spec_of
from ..errors import DecodeError, InvalidObject
from ..patch import Patch
from ..types import JsonObject, OcpiEnum, PartyId, Role
from .result import Converted, Loss, NotConvertible

S = TypeVar("S", bound=Model)
T = TypeVar("T", bound=Model)
R = TypeVar("R")


@frozen(kw_only=True)
class Facts:
    """What the caller knows and the source does not say.

    Attributes:
        owner: The CPO it belongs to; on the way to 2.1.1, the one that is said beside the object.
        time_zone: The IANA name of a Location's time zone, where the Location has none.
        token: The Token that an authorization is about.
        cdr_token: The token of a Session or a CDR.
        token_owner: The eMSP whose token it is.
        location: The Location of a Session or a CDR, with the EVSE and the connector that it is about.
        moment: When it was last updated.
        timeout: Seconds to wait for the result of a command.
        role: What a platform presents itself as.
    """

    owner: PartyId | None = None
    time_zone: str = "UTC"
    token: v221.Token | None = None
    cdr_token: v221.CdrToken | None = None
    token_owner: PartyId | None = None
    location: v221.Location | None = None
    moment: datetime | None = None
    timeout: int | None = None
    role: Role | None = None


NOTHING = Facts()

Values: TypeAlias = dict[str, Any]
"""Fields of the result, by name."""

Rule: TypeAlias = "Callable[[Work, Any, str], Values]"
"""Takes the value of one field of the source, with its pointer, and returns fields of the result, carried."""


@frozen(kw_only=True)
class Pair(Generic[S, T]):
    """How an object of class S becomes one of class T, as far as they differ.

    Attributes:
        source: The class of one version.
        target: The class of the other.
        rules: By field of the source: the field's name in the target, or a rule.
        complete: Sets fields of a whole object that no field of the source gives; not called for a patch.
        defaults: What a field of the target is when nothing gave it a value.
    """

    source: type[S]
    target: type[T]
    rules: Mapping[str, str | Rule] = field(factory=dict[str, "str | Rule"])
    complete: Callable[[Work, S, Values, str], None] | None = None
    defaults: Mapping[str, object] = field(factory=dict[str, object])


_pairs: dict[tuple[type[Model], type[Model]], Pair[Any, Any]] = {}
_counterparts: dict[type[OcpiEnum], Mapping[str, OcpiEnum]] = {}


def differ(
    source: type[S],
    target: type[T],
    rules: Mapping[str, str | Rule] | None = None,
    *,
    complete: Callable[[Work, S, Values, str], None] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> None:
    """State how two classes differ."""
    pair = Pair(source=source, target=target, rules=rules or {}, complete=complete, defaults=defaults or {})
    _pairs[source, target] = pair


def instead(source: type[OcpiEnum], counterparts: Mapping[str, OcpiEnum]) -> None:
    """State what stands for the values of an enum that the other version's lacks."""
    _counterparts[source] = counterparts


def pair_of(source: type[S], target: type[T]) -> Pair[S, T]:
    """Return how one class becomes the other."""
    found = _pairs.get((source, target))
    if found is None:
        found = _pairs[source, target] = Pair(source=source, target=target)
    return cast("Pair[S, T]", found)


def elsewhere(_: Work, __: object, ___: str) -> Values:
    """The rule of a field that the other version says outside the object, or beside another field."""
    return {}


def by_owner(target: type[Model]) -> Callable[[Work, Model, Values, str], None]:
    """Make the completion of a class that lacks nothing but its owner."""

    def complete(work: Work, _: Model, result: Values, at: str) -> None:
        work.own(target, work.facts.owner, result, at)

    return complete


def version_of(cls: type[Model]) -> str:
    """The version of OCPI that a class belongs to."""
    return cls.reference.split(maxsplit=1)[0]


@cache
def _item_spec(spec: FieldSpec) -> FieldSpec:
    return attrs.evolve(spec, many=False, required=True)


def fields_of(one: Model) -> Values:
    """The fields of an object, by name."""
    return {spec.name: getattr(one, spec.name) for spec in field_specs(type(one))}


def is_nothing(value: object) -> bool:
    """Whether a field is absent."""
    return value is None or value == []


def built(cls: type[T], values: Mapping[str, Any], extra: JsonObject = NO_EXTRA) -> T:
    """Make an object of values as they are, unchecked: what a partner sent may break rules."""
    one = cls.__new__(cls)
    for spec in field_specs(cls):
        value = values.get(spec.name)
        object.__setattr__(one, spec.name, [] if value is None and spec.many else value)
    object.__setattr__(one, "extra", extra)
    return one


class Work:
    """One conversion under way.

    Attributes:
        facts: What the caller knows.
        losses: What could not be carried so far.
    """

    def __init__(self, facts: Facts = NOTHING) -> None:
        self.facts = facts
        self.losses: list[Loss] = []
        self._root = ""

    def lose(self, pointer: str, code: str, message: str) -> None:
        """Report something that is not carried as it was."""
        self.losses.append(Loss(pointer, code, message))

    def refuse(self, pointer: str, reason: str) -> NoReturn:
        """Give up.

        Raises:
            NotConvertible: always.
        """
        raise NotConvertible(self._root, pointer, reason)

    def done(self, value: R) -> Converted[R]:
        """Return the result with all that was reported."""
        return Converted(value, tuple(self.losses))

    def whole(self, source: Model, target: type[T], at: str = "") -> T:
        """Convert an object, with all that it holds.

        Raises:
            NotConvertible: the result must have a field that nothing gives.
        """
        self._root = self._root or type(source).__name__
        pair = pair_of(type(source), target)
        result = self.fields(pair, fields_of(source), at)
        if pair.complete is not None:
            pair.complete(self, source, result, at)
        extra = self._extra(target, source.extra, result, at)
        for name, value in pair.defaults.items():
            if is_nothing(result.get(name)):
                result[name] = value
        for spec in field_specs(target):
            if spec.required and result.get(spec.name) is None:
                self.refuse(f"{at}/{spec.name}", f"{version_of(target)} cannot do without it")
        return built(target, result, extra)

    def patch(self, source: Patch[S], target: type[T]) -> Patch[T]:
        """Convert some fields of an object.

        Raises:
            NotConvertible: a list that one version adds to is replaced in the other.
        """
        self._root = f"Patch[{source.model.__name__}]"
        growing = {spec.name for cls in (source.model, target) for spec in field_specs(cls) if spec.appended}
        for name in growing.intersection(source.changes):
            self.refuse(
                f"/{name}", "a PATCH adds to it in 2.2.1 and replaces it in 2.1.1: convert the whole object"
            )
        pair = pair_of(source.model, target)
        changes: Values = dict(source.changes)
        for name, value in source.changes.items():
            other = pair.rules.get(name, name)
            required = isinstance(other, str) and any(
                spec.name == other and spec.required for spec in field_specs(target)
            )
            if value is None and required:
                del changes[name]
                self.lose(f"/{name}", "no-value", f"{version_of(target)} cannot do without it: not removed")
        result = self.fields(pair, changes, "")
        extra = self._extra(target, source.extra, result, "")
        return Patch[T].received(target, result, extra)

    def fields(self, pair: Pair[Any, Any], values: Mapping[str, Any], at: str) -> Values:
        """Carry fields of the source; report those that the target has no place for."""
        target: type[Model] = pair.target
        specs = {spec.name: spec for spec in field_specs(target)}
        result: Values = {}
        for name, value in values.items():
            pointer = f"{at}/{name}"
            rule = pair.rules.get(name, name)
            if not isinstance(rule, str):
                result |= rule(self, value, pointer)
            elif rule in specs:
                result[rule] = self.value(specs[rule], value, pointer, target)
            elif not is_nothing(value):
                self.lose(pointer, "no-field", f"{version_of(target)} has no field for it")
        return result

    def put(self, target: type[Model], name: str, value: object, at: str) -> Values:
        """Carry a value to the field of that name."""
        return {name: self.value(spec_of(target, name), value, at, target)}

    def own(self, target: type[Model], owner: PartyId | None, result: Values, at: str) -> None:
        """Set the owner, where it is known: 2.1.1 says it outside the object."""
        if owner is not None:
            result |= self.put(target, "country_code", owner.country_code, f"{at}/country_code")
            result |= self.put(target, "party_id", owner.party_id, f"{at}/party_id")

    def value(self, spec: FieldSpec, value: Any, at: str, target: type[Model]) -> Any:  # noqa: ANN401 - any field of any class
        """Carry the value of one field of `target`, whatever its kind and cardinality."""
        if value is None:
            return None
        if not spec.many:
            return self._one(spec, value, at, target)
        item_spec = _item_spec(spec)
        items: list[Any] = []
        for index, item in enumerate(value):
            pointer = f"{at}/{index}"
            if spec.kind == "enum" and self._has_no_counterpart(spec, item):
                self.lose(pointer, "no-value", f"{version_of(target)} has no such value: left out")
            else:
                items.append(self._one(item_spec, item, pointer, target))
        if spec.required and not items:
            self.lose(at, "empty", f"{version_of(target)} expects at least one")
        return items

    def _one(self, spec: FieldSpec, value: Any, at: str, target: type[Model]) -> Any:  # noqa: ANN401 - any field of any class
        if spec.kind == "model":
            cls = cast("type[Model]", spec.cls)
            return value if isinstance(value, cls) else self.whole(value, cls, at)
        if spec.kind == "enum":
            if not spec.required and self._has_no_counterpart(spec, value):
                self.lose(at, "no-value", f"{version_of(target)} has no such value: left out")
                return None
            value = self._member(spec, value, at, target)
        try:
            return checked(target, spec, value)
        except InvalidObject as wrong:
            for problem in wrong.problems:
                message = f"{version_of(target)}: {problem.message}; carried as it is"
                self.lose(at, problem.code, message)
            return value

    def _has_no_counterpart(self, spec: FieldSpec, value: OcpiEnum) -> bool:
        """Whether only the source's version has this value. What neither has is carried as text."""
        member = cast("type[OcpiEnum]", spec.cls)(value.value)
        if member.is_known or not value.is_known:
            return False
        return value.value not in _counterparts.get(type(value), {})

    def _member(self, spec: FieldSpec, value: OcpiEnum, at: str, target: type[Model]) -> OcpiEnum:
        member = cast("type[OcpiEnum]", spec.cls)(value.value)
        other = None if member.is_known else _counterparts.get(type(value), {}).get(value.value)
        if other is None:
            return member
        self.lose(at, "replaced", f"{version_of(target)} has no {value.value}: {other.value} stands for it")
        return other

    def _extra(self, target: type[Model], extra: JsonObject, result: Values, at: str) -> JsonObject:
        """Carry the unknown properties; one that the target's version knows becomes its field."""
        known = {spec.name for spec in field_specs(target)}
        clashes = [name for name in extra if name in known]
        if not clashes:
            return extra
        version = version_of(target)
        for name in clashes:
            pointer = f"{at}/{name}"
            spec = spec_of(target, name)
            message = f"not carried: the field that {version} has of that name is something else"
            if is_nothing(result.get(name)):
                try:
                    read = field_from_json(target, spec, extra[name])
                except DecodeError:
                    message = f"not carried: not what {version} has of that name"
                else:
                    result[name] = self.value(spec, read, pointer, target)
                    message = f"read as the field that {version} has of that name"
            self.lose(pointer, "extra", message)
        return Extra({name: value for name, value in extra.items() if name not in known}) or NO_EXTRA

    def lose_extra(self, extra: JsonObject, at: str) -> None:
        """Report the unknown properties of an object that has no counterpart of its own."""
        for name in extra:
            escaped = name.replace("~", "~0").replace("/", "~1")
            self.lose(f"{at}/{escaped}", "no-field", "the object it belongs to has no counterpart")
