from __future__ import annotations

import pytest

from ocpi_gireve import PartyId, Patch, v211, v221
from ocpi_gireve.errors import InvalidParameters, Problem, UnknownLocation
from ocpi_gireve.receivers import LocationBook
from ocpi_gireve.receivers import v211 as old
from tests.receivers.objects import EARLIER, LATER, ids, old_location
from tests.support import CPO, NOW, a_connector, a_location, an_evse

LOC = v221.LocationRef("FR", "CPO", "LOC1")
EVSE = v221.EvseRef("FR", "CPO", "LOC1", "E1")
PLUG = v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "1")
MISSING = (Problem("/last_updated", "missing", "expected a DateTime"),)


def test_ids_are_compared_without_case() -> None:
    """A location, an EVSE and a connector are found under any spelling of their ids, in ASCII case."""
    book = LocationBook([a_location(evses=[an_evse(connectors=[a_connector(id="c1")])])])
    assert book.get(v221.LocationRef("fr", "cpo", "loc1")) == book.all()[0]
    assert book.evse(v221.EvseRef("fr", "cpo", "loc1", "e1")).uid == "E1"
    assert book.connector(v221.ConnectorRef("fr", "cpo", "loc1", "e1", "C1")).id == "c1"


def test_other_spelling_replaces() -> None:
    """A location whose id is spelled otherwise is the same location."""
    book = LocationBook([a_location()])
    assert book.put(a_location(id="loc1", last_updated=LATER))
    assert [one.id for one in book.all()] == ["loc1"]


@pytest.mark.parametrize("ref", [LOC, EVSE, PLUG])
def test_unknown_location(ref: v221.LocationRef | v221.EvseRef | v221.ConnectorRef) -> None:
    """What is not there is an unknown location, to be read or to be removed."""
    book = LocationBook([a_location(id="LOC2"), a_location(party_id="ABC")])
    with pytest.raises(UnknownLocation):
        book.get(ref)
    with pytest.raises(UnknownLocation):
        book.remove(ref)


def test_unknown_parts() -> None:
    """An EVSE or connector that is not there is an unknown location, to be read or to be put into."""
    book = LocationBook([a_location()])
    elsewhere = v221.ConnectorRef("FR", "CPO", "LOC1", "E9", "1")
    with pytest.raises(UnknownLocation, match="EVSE"):
        book.evse(elsewhere)
    with pytest.raises(UnknownLocation, match="connector"):
        book.connector(v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "9"))
    with pytest.raises(UnknownLocation, match="EVSE"):
        book.put_connector(elsewhere, a_connector())
    with pytest.raises(UnknownLocation):
        LocationBook().put_evse(EVSE, an_evse())


def test_order_and_party() -> None:
    """Locations stay in the order in which they first came, those of one party too."""
    book = LocationBook([a_location(id="B"), a_location(id="A", party_id="ABC"), a_location(id="C")])
    book.put(a_location(id="b", last_updated=LATER))
    assert [one.id for one in book.all()] == ["b", "A", "C"]
    assert [one.id for one in book.of(PartyId("fr", "cpo"))] == ["b", "C"]
    book.remove(v221.LocationRef("FR", "CPO", "B"))
    assert [one.id for one in book.all()] == ["A", "C"]
    assert len(book) == 2


def test_new_evse() -> None:
    """An EVSE that is new comes last, and the location's last_updated moves to its own."""
    book = LocationBook([a_location()])
    new = an_evse(uid="E2", last_updated=LATER)
    assert book.put_evse(v221.EvseRef("FR", "CPO", "LOC1", "E2"), new)
    assert book.get(LOC) == a_location(evses=[an_evse(), new], last_updated=LATER)


def test_put_evse_replaces() -> None:
    """An EVSE takes the place of its predecessor."""
    first, second = an_evse(), an_evse(uid="E2")
    book = LocationBook([a_location(evses=[first, second])])
    new = an_evse(status=v221.Status.CHARGING, last_updated=LATER)
    assert book.put_evse(EVSE, new)
    assert book.get(LOC).evses == [new, second]


def test_put_connector() -> None:
    """A connector takes its place, and last_updated of EVSE and location move with it."""
    book = LocationBook([a_location()])
    new = a_connector(max_amperage=16, last_updated=LATER)
    assert book.put_connector(PLUG, new)
    assert book.connector(PLUG) == new
    assert (book.evse(PLUG).last_updated, book.get(PLUG).last_updated) == (LATER, LATER)


def test_parent_never_moves_back() -> None:
    """The location keeps its last_updated where it is newer than that of the EVSE."""
    book = LocationBook([a_location(last_updated=LATER)])
    assert book.put_evse(EVSE, an_evse(status=v221.Status.BLOCKED, last_updated=NOW))
    assert book.get(LOC).last_updated == LATER


def test_patch_each_level() -> None:
    """A PATCH changes the fields it names, and last_updated up to the location."""
    book = LocationBook([a_location()])
    assert book.patch_location(LOC, Patch(v221.Location, {"name": "Nord", "last_updated": NOW}))
    status = {"status": v221.Status.CHARGING, "last_updated": LATER}
    assert book.patch_evse(EVSE, Patch(v221.EVSE, status))
    assert book.patch_connector(PLUG, Patch(v221.Connector, {"tariff_ids": ["T2"], "last_updated": LATER}))
    connector = a_connector(tariff_ids=["T2"], last_updated=LATER)
    evse = an_evse(status=v221.Status.CHARGING, connectors=[connector], last_updated=LATER)
    assert book.get(LOC) == a_location(name="Nord", evses=[evse], last_updated=LATER)


def test_patch_needs_last_updated() -> None:
    """A PATCH that says not when the change happened is refused with the pointer, at each level."""
    book = LocationBook([a_location()])
    with pytest.raises(InvalidParameters) as location:
        book.patch_location(LOC, Patch(v221.Location, {"name": "Nord"}))
    with pytest.raises(InvalidParameters) as evse:
        book.patch_evse(EVSE, Patch(v221.EVSE, {"status": v221.Status.BLOCKED}))
    with pytest.raises(InvalidParameters) as connector:
        book.patch_connector(PLUG, Patch(v221.Connector, {"max_amperage": 8}))
    assert location.value.problems == evse.value.problems == connector.value.problems == MISSING
    assert book.all() == [a_location()]


def test_stale() -> None:
    """What is older than what is kept is accepted, not applied, and counted."""
    book = LocationBook([a_location()])
    old = {"last_updated": EARLIER}
    assert not book.put(a_location(name="Old", last_updated=EARLIER))
    assert not book.put_evse(EVSE, an_evse(status=v221.Status.BLOCKED, last_updated=EARLIER))
    assert not book.put_connector(PLUG, a_connector(max_amperage=8, last_updated=EARLIER))
    assert not book.patch_location(LOC, Patch(v221.Location, {"name": "Old", **old}))
    assert not book.patch_evse(EVSE, Patch(v221.EVSE, {"status": v221.Status.BLOCKED, **old}))
    assert not book.patch_connector(PLUG, Patch(v221.Connector, {"max_amperage": 8, **old}))
    assert book.all() == [a_location()]
    assert book.stale == 6


def test_repeated() -> None:
    """What is kept already changes nothing, and is not late either."""
    book = LocationBook([a_location()])
    assert not book.put(a_location())
    assert not book.put_evse(EVSE, an_evse())
    assert not book.put_connector(PLUG, a_connector())
    assert not book.patch_location(LOC, Patch(v221.Location, {"last_updated": NOW}))
    assert not book.patch_evse(EVSE, Patch(v221.EVSE, {"last_updated": NOW}))
    assert not book.patch_connector(PLUG, Patch(v221.Connector, {"last_updated": NOW}))
    assert book.stale == 0


def test_permissive() -> None:
    """A location that breaks a rule of length can still be changed: it is the partner's."""
    raw = v221.encode(a_location()).replace(b'"Lyon"', b'"' + b"L" * 60 + b'"')
    book = LocationBook([v221.decode(raw, v221.Location)])
    assert book.put_evse(EVSE, an_evse(status=v221.Status.BLOCKED, last_updated=LATER))
    assert book.get(LOC).city == "L" * 60


def test_of_2_1_1() -> None:
    """In 2.1.1 a location belongs to the book's owner, or to the party that is named with it."""
    abc = PartyId("FR", "ABC")
    book = old.LocationBook(CPO, [old_location()])
    assert book.put(old_location(), owner=abc)
    assert not book.put(old_location())
    assert (len(book), ids(book.of(CPO)), ids(book.of(abc))) == (2, ["LOC1"], ["LOC1"])
    assert book.get(v211.LocationRef("fr", "abc", "loc1")) == old_location()


def test_change_without_date() -> None:
    """In 2.1.1 a PATCH need not say when it happened, and then it moves no date."""
    book = old.LocationBook(CPO, [old_location()])
    ref = v211.EvseRef("FR", "CPO", "LOC1", "E1")
    assert book.patch_evse(ref, Patch(v211.EVSE, {"status": v211.Status.CHARGING}))
    assert (book.evse(ref).status, book.get(ref).last_updated) == (v211.Status.CHARGING, NOW)
    late = {"status": v211.Status.BLOCKED, "last_updated": EARLIER}
    assert not book.patch_evse(ref, Patch(v211.EVSE, late))
    assert book.stale == 1
