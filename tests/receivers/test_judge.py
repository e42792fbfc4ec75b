from __future__ import annotations

from datetime import timedelta

import pytest

from ocpi_gireve import Patch, v221
from ocpi_gireve.errors import InvalidParameters, Problem
from ocpi_gireve.receivers._judge import Conflict, Late, as_kept, by_date, newest, patched, unchanging
from tests.receivers.objects import EARLIER, LATER, a_period
from tests.support import NOW, a_cdr, a_session, an_evse

DATED = frozenset({"last_updated"})


def test_newest() -> None:
    """What is newer, or of the same moment, replaces; what is older is late."""
    assert newest(None, an_evse()) == an_evse()
    for moment in (NOW, LATER):
        new = an_evse(status=v221.Status.BLOCKED, last_updated=moment)
        assert newest(an_evse(), new) is new
    with pytest.raises(Late):
        newest(an_evse(), an_evse(last_updated=EARLIER))
    for pushed in (True, False):
        assert by_date(an_evse(), an_evse(last_updated=LATER), pushed) == an_evse(last_updated=LATER)


def test_patched() -> None:
    """The fields that a change names are changed, unless the object is newer."""
    blocked = {"status": v221.Status.BLOCKED}
    for moment in (NOW, LATER):
        changes = Patch(v221.EVSE, {**blocked, "last_updated": moment})
        assert patched(an_evse(), changes, DATED) == an_evse(**blocked, last_updated=moment)
    with pytest.raises(Late):
        patched(an_evse(), Patch(v221.EVSE, {**blocked, "last_updated": EARLIER}), DATED)


def test_date_of_a_patch() -> None:
    """A change without a date is refused where it has to say one, and is made where it has not."""
    changes = Patch(v221.EVSE, {"status": v221.Status.BLOCKED})
    with pytest.raises(InvalidParameters) as refused:
        patched(an_evse(), changes, DATED)
    assert refused.value.problems == (Problem("/last_updated", "missing", "expected a DateTime"),)
    assert patched(an_evse(), changes, frozenset()) == an_evse(status=v221.Status.BLOCKED)


def test_added_once() -> None:
    """What a list that only grows has already is not added again, in other digits either."""
    old = a_session(charging_periods=[a_period("2.5")])
    added = {"charging_periods": [a_period("2.50"), a_period("1", LATER)], "last_updated": LATER}
    new = patched(old, Patch(v221.Session, added), DATED)
    assert new.charging_periods == [a_period("2.5"), a_period("1", LATER)]
    assert patched(new, Patch(v221.Session, added), DATED) == new


def test_added_once_with_microseconds() -> None:
    """What is finer than milliseconds, and kept without it, is not added again."""
    fine = a_period("1", NOW + timedelta(microseconds=1234))
    added = Patch(v221.Session, {"charging_periods": [fine], "last_updated": LATER})
    kept = as_kept(patched(a_session(charging_periods=[]), added, DATED))
    assert kept.charging_periods == [a_period("1", NOW + timedelta(milliseconds=1))]
    assert patched(kept, added, DATED) == kept


def test_unchanging() -> None:
    """What never changes stays, whether it comes again as it was, or with finer dates than are kept."""
    fine = a_cdr(last_updated=NOW + timedelta(microseconds=1234))
    assert unchanging(None, fine) is fine
    kept = as_kept(fine)
    assert kept != fine
    assert unchanging(kept, fine) is kept
    assert unchanging(kept, as_kept(kept)) is kept
    with pytest.raises(Conflict):
        unchanging(kept, a_cdr(last_updated=LATER))


def test_other_lists_replace() -> None:
    """Every other list replaces the one there is."""
    changes = Patch(v221.EVSE, {"capabilities": [v221.Capability.RESERVABLE], "last_updated": NOW})
    assert patched(an_evse(), changes, DATED).capabilities == [v221.Capability.RESERVABLE]


def test_nothing_to_add() -> None:
    """An empty list of charging periods, or null, leaves those there are."""
    old = a_session(charging_periods=[a_period("1")])
    nothing: list[dict[str, object]] = [{"charging_periods": []}, {"charging_periods": None}]
    for given in nothing:
        assert patched(old, Patch(v221.Session, {**given, "last_updated": NOW}), DATED) == old
