from __future__ import annotations

import pytest

from ocpi_gireve import convert, v211, v221
from ocpi_gireve._model import Model, field_specs
from ocpi_gireve.convert import Converted, Loss, _engine
from ocpi_gireve.convert._engine import pair_of
from ocpi_gireve.types import OcpiEnum

SHARED = [
    name
    for name in v211.__all__
    if isinstance(getattr(v211, name), type) and isinstance(getattr(v221, name, None), type)
]
MODELS = [name for name in SHARED if issubclass(getattr(v211, name), Model)]
ENUMS = [name for name in SHARED if issubclass(getattr(v211, name), OcpiEnum)]


def test_public_names() -> None:
    """Every function that is exported exists, and each conversion has its way back."""
    names = set(convert.__all__)
    assert len(names) == len(convert.__all__)
    assert {name for name in names if not hasattr(convert, name)} == set()
    there = {name.removesuffix("_to_221") for name in names if name.endswith("_to_221")}
    back = {name.removesuffix("_to_211") for name in names if name.endswith("_to_211")}
    assert there == back


def test_rules_name_fields() -> None:
    """Every rule is about a field of the source, and every new name is a field of the target."""
    for pair in list(_engine._pairs.values()):
        source = {spec.name for spec in field_specs(pair.source)}
        target = {spec.name for spec in field_specs(pair.target)}
        assert set(pair.rules) <= source
        assert {rule for rule in pair.rules.values() if isinstance(rule, str)} <= target
        assert set(pair.defaults) <= target


def test_counterparts() -> None:
    """What stands for a value is a value of the other version, for one that it lacks."""
    for source, counterparts in _engine._counterparts.items():
        known = {member.value for member in source}
        for value, other in counterparts.items():
            assert value in known
            assert other.is_known
            assert value not in {member.value for member in type(other)}


def test_loss() -> None:
    """A loss says where and what."""
    assert str(Loss("/a", "no-field", "2.1.1 has no field for it")) == "/a: 2.1.1 has no field for it"
    assert Converted(1).losses == ()


@pytest.mark.parametrize("name", MODELS)
def test_same_name_same_kind(name: str) -> None:
    """A field of the same name has the same kind in both versions, unless a rule converts it."""
    one, other = getattr(v211, name), getattr(v221, name)
    others = {spec.name: spec for spec in field_specs(other)}
    ruled = pair_of(one, other).rules.keys() | pair_of(other, one).rules.keys()
    for spec in field_specs(one):
        if spec.name in others and spec.name not in ruled:
            assert (spec.kind, spec.many) == (others[spec.name].kind, others[spec.name].many)
