"""Patches: what they refuse, and the laws they keep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpi_gireve import Patch, v221
from ocpi_gireve._model import Model, replaced
from ocpi_gireve.errors import InvalidObject
from ocpi_gireve.testing import sample
from tests.properties.strategies import objects, patches
from tests.support import NOW, a_location, a_token, an_evse

PATCHED: list[type[Model]] = [
    v221.Location,
    v221.EVSE,
    v221.Connector,
    v221.Session,
    v221.Token,
    v221.Tariff,
]
LAWS = settings(max_examples=25, deadline=None)
each_model = pytest.mark.parametrize("cls", PATCHED, ids=lambda cls: cls.__name__)


def replacing(cls: type[Model]) -> st.SearchStrategy[Patch[Any]]:
    """Patches without the one list that a PATCH adds to."""
    return patches(cls).filter(lambda patch: "charging_periods" not in patch.changes)


@each_model
@LAWS
@given(data=st.data())
def test_nothing_changes_nothing(cls: type[Model], data: st.DataObject) -> None:
    """Identity: an empty patch, and one between an object and itself, leave it as it is."""
    one = data.draw(objects(cls))
    assert Patch(cls, {}).apply_to(one) == one
    assert set(Patch.between(one, one).changes) <= {"last_updated"}
    assert Patch.between(one, one).apply_to(one) == one


@each_model
@LAWS
@given(data=st.data())
def test_between_leads_from_old_to_new(cls: type[Model], data: st.DataObject) -> None:
    """The patch between two objects turns the first into the second, `extra` included."""
    old, new = data.draw(objects(cls)), data.draw(objects(cls))
    if isinstance(old, v221.Session) and isinstance(new, v221.Session):
        new = replaced(new, {"charging_periods": [*old.charging_periods, *new.charging_periods]})
    assert Patch.between(old, new).apply_to(old) == new


@each_model
@LAWS
@given(data=st.data())
def test_patches_compose(cls: type[Model], data: st.DataObject) -> None:
    """Two patches one after the other do what their union does, in which the later one wins."""
    one = data.draw(objects(cls))
    first, second = data.draw(replacing(cls)), data.draw(replacing(cls))
    both = Patch(cls, {**first.changes, **second.changes}, {**first.extra, **second.extra})
    assert second.apply_to(first.apply_to(one)) == both.apply_to(one)


@each_model
@LAWS
@given(data=st.data())
def test_patch_twice_is_once(cls: type[Model], data: st.DataObject) -> None:
    """Idempotence: a patch that arrives twice does what it does once."""
    one, changes = data.draw(objects(cls)), data.draw(replacing(cls))
    assert changes.apply_to(changes.apply_to(one)) == changes.apply_to(one)


def test_between_names_what_differs() -> None:
    """Only what differs is carried, and `last_updated` always; None stands for a field that goes."""
    later = NOW + timedelta(seconds=1)
    changes = Patch.between(
        an_evse(physical_reference="A1"), an_evse(status=v221.Status.CHARGING, last_updated=later)
    )
    assert changes.changes == {
        "status": v221.Status.CHARGING,
        "physical_reference": None,
        "last_updated": later,
    }
    assert changes.last_updated == later
    assert Patch(v221.EVSE, {}).last_updated is None


def test_extra_is_merged() -> None:
    """Properties that OCPI does not define are changed, added and removed one by one."""
    old = evolve(an_evse(), extra={"a": 1, "b": 2})
    new = evolve(an_evse(), extra={"b": 3, "c": {"d": None}})
    changes = Patch.between(old, new)
    assert dict(changes.extra) == {"a": None, "b": 3, "c": {"d": None}}
    assert changes.apply_to(old).extra == new.extra


def test_list_replaces_the_list() -> None:
    """A list is not merged: the new one stands in the place of the old one, and None empties it."""
    location = a_location(evses=[an_evse(uid="E1"), an_evse(uid="E2")])
    alone = Patch(v221.Location, {"evses": [an_evse(uid="E3")]}).apply_to(location)
    assert [evse.uid for evse in alone.evses] == ["E3"]
    assert Patch(v221.Location, {"evses": None}).apply_to(location).evses == []
    assert Patch.received(v221.Location, {"evses": None}, {}).apply_to(location).evses == []


def test_what_a_partner_sent_is_copied_unchecked() -> None:
    """An over-long name that a partner sent does not keep a patch from being applied."""
    long = Patch.received(v221.Location, {"name": "x" * 300}, {}).apply_to(a_location())
    assert Patch(v221.Location, {"city": "Paris"}).apply_to(long).name == "x" * 300


@pytest.mark.parametrize(
    ("changes", "extra", "pointers"),
    [
        ({"state": "CHARGING"}, {}, ["/state"]),
        ({"status": "NAPPING", "evse_id": "x" * 49}, {}, ["/status", "/evse_id"]),
        ({"status": None}, {}, ["/status"]),
        ({"connectors": []}, {}, ["/connectors"]),
        ({"floor_level": 3}, {}, ["/floor_level"]),
        ({}, {"status": "CHARGING"}, ["/status"]),
    ],
)
def test_what_we_build_is_right(
    changes: Mapping[str, object], extra: Mapping[str, str], pointers: list[str]
) -> None:
    """A patch of ours names fields of its class, with values that keep their rules, each problem told."""
    with pytest.raises(InvalidObject) as refused:
        Patch(v221.EVSE, changes, dict(extra))
    assert [problem.pointer for problem in refused.value.problems] == pointers
    assert refused.value.model == "Patch[EVSE]"


def test_mandatory_field_cannot_go() -> None:
    """A patch that was put together elsewhere cannot take a mandatory field away."""
    with pytest.raises(InvalidObject, match="/status: expected a Status, found null"):
        Patch.received(v221.EVSE, {"status": None}, {}).apply_to(an_evse())


def test_other_class() -> None:
    """A patch is applied to, and made between, objects of its own class only."""
    with pytest.raises(TypeError, match="expected a EVSE, not Location"):
        Patch(v221.EVSE, {}).apply_to(cast("Any", a_location()))
    with pytest.raises(TypeError, match="expected two objects of one class, not EVSE, Location"):
        Patch.between(cast("Model", an_evse()), a_location())


def test_repr_hides_values() -> None:
    """The repr of a patch names its fields and none of its values, which may be personal."""
    changes = Patch.between(a_token(), a_token(contract_id="FR-EMP-C99999999"))
    assert repr(changes) == "Patch(Token: contract_id, last_updated)"


def test_charging_periods_are_added() -> None:
    """A PATCH of a 2.2.1 session adds its charging periods to those there are, however often it comes."""
    session = sample(v221.Session, seed=3)
    (period, *_) = sample(v221.CDR, seed=3).charging_periods
    started = replaced(session, {"charging_periods": [period]})
    later = replaced(started, {"charging_periods": [period, period]})
    changes = Patch.between(started, later)
    assert changes.changes["charging_periods"] == [period]
    assert changes.apply_to(started) == later
    assert changes.apply_to(later).charging_periods == [period] * 3


def test_charging_periods_are_not_replaced() -> None:
    """Charging periods that are others, or fewer, cannot be told by a PATCH: that takes a PUT."""
    session = sample(v221.Session, seed=3)
    (period, *_) = sample(v221.CDR, seed=3).charging_periods
    longer = replaced(session, {"charging_periods": [period, period]})
    with pytest.raises(InvalidObject, match="/charging_periods: expected those of before and more"):
        Patch.between(longer, replaced(session, {"charging_periods": [period]}))
