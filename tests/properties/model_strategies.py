"""Hypothesis strategies for OCPI objects, made from the tables of the models; knows no module's rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from enum import Enum
from types import ModuleType
from typing import Any, TypeVar, cast

from attrs import field, frozen
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ocpi_gireve._model import CiString, Extra, FieldSpec, Model, field_specs
from ocpi_gireve.convert._engine import built
from ocpi_gireve.types import Json, OcpiEnum

M = TypeVar("M", bound=Model)

ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
PRINTABLE = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
JSON: SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(ASCII, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(ASCII, max_size=3), inner, max_size=2)
    ),
    max_leaves=3,
)
# No field of OCPI is called so.
NO_EXTRA: SearchStrategy[dict[str, Json]] = st.builds(dict[str, Json])
EXTRA = NO_EXTRA | st.dictionaries(
    st.text("xyz/~", min_size=1, max_size=3).map("x_{}".format), JSON, max_size=2
)
# Each is a field somewhere, so it is outside the version of an object that has it as an unknown property.
STRANGE: SearchStrategy[dict[str, Json]] = st.sampled_from(
    [
        {"publish": False, "state": "ARA"},
        {"country_code": "BE", "party_id": "XYZ", "gireve_id": 7},
        {"authorization_id": "A1", "authorization_reference": "A1", "total_cost": "free"},
        {"connector_ids": ["1"], "tariff_id": None, "tariff_ids": ["T"], "type": "ON_STREET"},
    ]
)
NUMBERS = st.decimals(-(10**6), 10**6, places=4)
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))


@frozen(kw_only=True)
class Objects:
    """Which objects to make.

    Attributes:
        omit: Optional fields to leave out, by class.
        given: Strategies of single fields, by class.
        plain: Classes whose objects have no unknown properties.
        shared_with: Take only enum values that this version has too, and texts that any field could hold.
        wild: Make objects as a partner may send them: over-long and non-ASCII texts, unknown enum values,
            empty lists where one item is required.
    """

    omit: Mapping[type[Model], frozenset[str]] = field(factory=dict[type[Model], frozenset[str]])
    given: Mapping[type[Model], Mapping[str, SearchStrategy[Any]]] = field(
        factory=dict[type[Model], Mapping[str, SearchStrategy[Any]]]
    )
    plain: frozenset[type[Model]] = frozenset()
    shared_with: ModuleType | None = None
    wild: bool = False

    def of(self, cls: type[M]) -> SearchStrategy[M]:
        """Objects of a class."""
        fields: dict[str, SearchStrategy[Any]] = {}
        for spec in field_specs(cls):
            if spec.name in self.omit.get(cls, ()):
                fields[spec.name] = st.just([]) if spec.many else st.none()
            else:
                own = self.given.get(cls, {}).get(spec.name)
                fields[spec.name] = self._field(spec) if own is None else own
        if self.wild:
            extra = EXTRA | STRANGE.filter(lambda strange: not strange.keys() & fields.keys())

            def build(values: dict[str, Any], extra: dict[str, Json]) -> M:
                return built(cls, values, Extra(extra))

            return st.builds(build, st.fixed_dictionaries(fields), extra)
        return st.builds(cls, **fields, extra=NO_EXTRA if cls in self.plain else EXTRA)

    def _field(self, spec: FieldSpec) -> SearchStrategy[Any]:
        one = self._one(spec)
        if spec.many:
            least = 1 if spec.required and not self.wild else 0
            return st.lists(one, min_size=least, max_size=2)
        return one if spec.required else st.none() | one

    def _one(self, spec: FieldSpec) -> SearchStrategy[Any]:
        if spec.kind == "model":
            return self.of(cast("type[Model]", spec.cls))
        if spec.kind == "enum":
            return self._member(cast("type[OcpiEnum]", spec.cls))
        if spec.kind == "string":
            return self._text(spec)
        if spec.kind == "int":
            most = 10 ** (spec.max_digits or 6) - 1
            return st.integers(0, most)
        plain: dict[str, SearchStrategy[Any]] = {
            "number": NUMBERS,
            "boolean": st.booleans(),
            "datetime": MOMENTS,
        }
        return plain[spec.kind]

    def _member(self, cls: type[OcpiEnum]) -> SearchStrategy[OcpiEnum]:
        members = list(cls)
        if self.shared_with is not None:
            other = cast("type[Enum] | None", getattr(self.shared_with, cls.__name__, None))
            values = {member.value for member in other or cls}
            members = [member for member in members if member.value in values]
        known = st.sampled_from(members)
        return known | st.just(cls("A_NEWER_VALUE")) if self.wild else known

    def _text(self, spec: FieldSpec) -> SearchStrategy[str]:
        rule = spec.text
        assert rule is not None
        if self.wild:
            return st.text(PRINTABLE, max_size=5) | st.just("x" * 600)
        if rule.regex is not None:
            short = rule.max_length or 100
            return st.from_regex(rule.regex, fullmatch=True, alphabet=ASCII).filter(
                lambda text: len(text) <= short
            )
        longest = rule.max_length or 60
        narrow = self.shared_with is not None or isinstance(rule, CiString)
        alphabet = ASCII if narrow else PRINTABLE
        texts = st.text(alphabet, min_size=0, max_size=min(longest, 12))
        # Some as long as the rule allows: that is where the two versions differ.
        return texts if self.shared_with is not None else texts | st.just("x" * longest)


def strictly(one: M) -> M:
    """Build the object once more with its constructors, which raise where it breaks its specification."""
    values: dict[str, Any] = {}
    for spec in field_specs(type(one)):
        value = getattr(one, spec.name)
        if spec.kind == "model" and spec.many:
            value = [strictly(item) for item in value]
        elif spec.kind == "model" and value is not None:
            value = strictly(value)
        values[spec.name] = value
    return type(one)(**values, extra=one.extra)
