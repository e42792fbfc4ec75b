"""What partners send is kept as the specification says, however often and in whatever order it comes."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import Context, Link, PartyId, Patch, v221
from ocpi_gireve.errors import InvalidParameters, Problem, UnknownLocation, UnknownObject
from ocpi_gireve.receivers import REPEATED_WITHIN, KeptCdrs, KeptLocations, KeptSessions, LocationBook
from tests.support import NOW, a_cdr, a_connector, a_location, an_evse

CTX = Context(partner="gireve", version="2.2.1", request_id="r", correlation_id="c")
OTHER = evolve(CTX, partner="other")
LOC = v221.LocationRef("FR", "CPO", "LOC1")
EVSE = v221.EvseRef("FR", "CPO", "LOC1", "E1")
PLUG = v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "1")
SESSION = v221.SessionRef("FR", "CPO", "S1")

EARLIER, LATER = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
MISSING = (Problem("/last_updated", "missing", "expected a DateTime"),)


def a_period(kwh: str) -> v221.ChargingPeriod:
    """A charging period that gave some energy."""
    volume = v221.CdrDimension(type=v221.CdrDimensionType.ENERGY, volume=Decimal(kwh))
    return v221.ChargingPeriod(start_date_time=NOW, dimensions=[volume])


SAMPLE = v221.Session(
    country_code="FR",
    party_id="CPO",
    id="S1",
    start_date_time=NOW,
    kwh=Decimal(0),
    cdr_token=a_cdr().cdr_token,
    auth_method=v221.AuthMethod.AUTH_REQUEST,
    location_id="LOC1",
    evse_uid="E1",
    connector_id="1",
    currency="EUR",
    status=v221.SessionStatus.ACTIVE,
    last_updated=NOW,
)


class TestLocationBook:
    def test_ids_are_compared_without_case(self) -> None:
        """A location, an EVSE and a connector are found under any spelling of their ids, in ASCII case."""
        book = LocationBook([a_location(evses=[an_evse(connectors=[a_connector(id="c1")])])])
        assert book.get(v221.LocationRef("fr", "cpo", "loc1")) == book.all()[0]
        assert book.evse(v221.EvseRef("fr", "cpo", "loc1", "e1")).uid == "E1"
        assert book.connector(v221.ConnectorRef("fr", "cpo", "loc1", "e1", "C1")).id == "c1"

    def test_other_spelling_replaces(self) -> None:
        """A location whose id is spelled otherwise is the same location."""
        book = LocationBook([a_location()])
        assert book.put(a_location(id="loc1", last_updated=LATER))
        assert [one.id for one in book.all()] == ["loc1"]

    @pytest.mark.parametrize("ref", [LOC, EVSE, PLUG])
    def test_unknown_location(self, ref: v221.LocationRef | v221.EvseRef | v221.ConnectorRef) -> None:
        """What is not there is an unknown location, to be read or to be removed."""
        book = LocationBook([a_location(id="LOC2"), a_location(party_id="ABC")])
        with pytest.raises(UnknownLocation):
            book.get(ref)
        with pytest.raises(UnknownLocation):
            book.remove(ref)

    def test_unknown_parts(self) -> None:
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

    def test_order_and_party(self) -> None:
        """Locations stay in the order in which they first came, those of one party too."""
        book = LocationBook([a_location(id="B"), a_location(id="A", party_id="ABC"), a_location(id="C")])
        book.put(a_location(id="b", last_updated=LATER))
        assert [one.id for one in book.all()] == ["b", "A", "C"]
        assert [one.id for one in book.of(PartyId("fr", "cpo"))] == ["b", "C"]
        book.remove(v221.LocationRef("FR", "CPO", "B"))
        assert [one.id for one in book.all()] == ["A", "C"]
        assert len(book) == 2

    def test_new_evse(self) -> None:
        """An EVSE that is new comes last, and the location's last_updated moves to its own."""
        book = LocationBook([a_location()])
        new = an_evse(uid="E2", last_updated=LATER)
        assert book.put_evse(v221.EvseRef("FR", "CPO", "LOC1", "E2"), new)
        assert book.get(LOC) == a_location(evses=[an_evse(), new], last_updated=LATER)

    def test_put_evse_replaces(self) -> None:
        """An EVSE takes the place of its predecessor."""
        first, second = an_evse(), an_evse(uid="E2")
        book = LocationBook([a_location(evses=[first, second])])
        new = an_evse(status=v221.Status.CHARGING, last_updated=LATER)
        assert book.put_evse(EVSE, new)
        assert book.get(LOC).evses == [new, second]

    def test_put_connector(self) -> None:
        """A connector takes its place, and last_updated of EVSE and location move with it."""
        book = LocationBook([a_location()])
        new = a_connector(max_amperage=16, last_updated=LATER)
        assert book.put_connector(PLUG, new)
        assert book.connector(PLUG) == new
        assert (book.evse(PLUG).last_updated, book.get(PLUG).last_updated) == (LATER, LATER)

    def test_parent_never_moves_back(self) -> None:
        """The location keeps its last_updated where it is newer than that of the EVSE."""
        book = LocationBook([a_location(last_updated=LATER)])
        assert book.put_evse(EVSE, an_evse(status=v221.Status.BLOCKED, last_updated=NOW))
        assert book.get(LOC).last_updated == LATER

    def test_patch_each_level(self) -> None:
        """A PATCH changes the fields it names, and last_updated up to the location."""
        book = LocationBook([a_location()])
        assert book.patch_location(LOC, Patch(v221.Location, {"name": "Nord", "last_updated": NOW}))
        status = {"status": v221.Status.CHARGING, "last_updated": LATER}
        assert book.patch_evse(EVSE, Patch(v221.EVSE, status))
        assert book.patch_connector(
            PLUG, Patch(v221.Connector, {"tariff_ids": ["T2"], "last_updated": LATER})
        )
        connector = a_connector(tariff_ids=["T2"], last_updated=LATER)
        evse = an_evse(status=v221.Status.CHARGING, connectors=[connector], last_updated=LATER)
        assert book.get(LOC) == a_location(name="Nord", evses=[evse], last_updated=LATER)

    def test_patch_needs_last_updated(self) -> None:
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

    def test_stale(self) -> None:
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

    def test_repeated(self) -> None:
        """What is kept already changes nothing, and is not late either."""
        book = LocationBook([a_location()])
        assert not book.put(a_location())
        assert not book.put_evse(EVSE, an_evse())
        assert not book.put_connector(PLUG, a_connector())
        assert not book.patch_location(LOC, Patch(v221.Location, {"last_updated": NOW}))
        assert not book.patch_evse(EVSE, Patch(v221.EVSE, {"last_updated": NOW}))
        assert not book.patch_connector(PLUG, Patch(v221.Connector, {"last_updated": NOW}))
        assert book.stale == 0

    def test_permissive(self) -> None:
        """A location that breaks a rule of length can still be changed: it is the partner's."""
        raw = v221.encode(a_location()).replace(b'"Lyon"', b'"' + b"L" * 60 + b'"')
        book = LocationBook([v221.decode(raw, v221.Location)])
        assert book.put_evse(EVSE, an_evse(status=v221.Status.BLOCKED, last_updated=LATER))
        assert book.get(LOC).city == "L" * 60


class Told(KeptLocations):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[v221.Location] = []

    async def location_changed(self, ctx: Context, location: v221.Location) -> None:
        self.changes.append(location)


class TestKeptLocations:
    async def test_told_of_changes(self) -> None:
        """The hook is given the whole location after each change, and only then."""
        kept = Told()
        await kept.put_location(CTX, LOC, a_location())
        await kept.put_location(CTX, LOC, a_location())
        await kept.put_evse(CTX, EVSE, an_evse(status=v221.Status.BLOCKED))
        await kept.put_connector(CTX, PLUG, a_connector(max_amperage=8))
        await kept.patch_location(CTX, LOC, Patch(v221.Location, {"name": "Nord", "last_updated": NOW}))
        change = Patch(v221.EVSE, {"status": v221.Status.CHARGING, "last_updated": LATER})
        await kept.patch_evse(CTX, EVSE, change)
        await kept.patch_evse(CTX, EVSE, change)
        await kept.patch_connector(CTX, PLUG, Patch(v221.Connector, {"max_amperage": 9, "last_updated": NOW}))
        assert len(kept.changes) == 6
        assert kept.changes[-1] == kept.book.get(LOC)

    async def test_reads(self) -> None:
        """What was put is what is returned, at each level, out of the book that was given."""
        book = LocationBook()
        kept = KeptLocations(book)
        await kept.put_location(CTX, LOC, a_location())
        assert await kept.get_location(CTX, LOC) == a_location()
        assert await kept.get_evse(CTX, EVSE) == an_evse()
        assert await kept.get_connector(CTX, PLUG) == a_connector()
        assert len(book) == 1


class Watched(KeptSessions):
    """Remembers what it was told, and when it is."""

    def __init__(self) -> None:
        super().__init__(now=lambda: self.moment)
        self.moment: datetime = NOW
        self.changes: list[v221.Session] = []

    async def session_changed(self, ctx: Context, session: v221.Session) -> None:
        self.changes.append(session)


class TestKeptSessions:
    async def test_put(self) -> None:
        """A PUT replaces the whole session, its charging periods included."""
        kept = Watched()
        await kept.put_session(CTX, SESSION, evolve(SAMPLE, charging_periods=[a_period("1")]))
        new = evolve(SAMPLE, charging_periods=[a_period("2")], last_updated=LATER)
        await kept.put_session(CTX, SESSION, new)
        assert await kept.get_session(CTX, v221.SessionRef("fr", "cpo", "s1")) == new
        assert kept.sessions() == [new]
        assert len(kept.changes) == 2

    async def test_put_repeated_or_late(self) -> None:
        """A PUT with the same content changes nothing; an older one neither, and is counted."""
        kept = Watched()
        await kept.put_session(CTX, SESSION, SAMPLE)
        await kept.put_session(CTX, SESSION, SAMPLE)
        await kept.put_session(CTX, SESSION, evolve(SAMPLE, kwh=Decimal(9), last_updated=EARLIER))
        assert kept.changes == [SAMPLE]
        assert kept.stale == 1

    async def test_patch_adds_periods(self) -> None:
        """Charging periods of a PATCH come besides those there are; without any, nothing happens to them."""
        kept = Watched()
        await kept.put_session(CTX, SESSION, evolve(SAMPLE, charging_periods=[a_period("1")]))
        added = {"charging_periods": [a_period("2")], "kwh": Decimal(3), "last_updated": LATER}
        await kept.patch_session(CTX, SESSION, Patch(v221.Session, added))
        nothing: dict[str, object] = {"charging_periods": [], "kwh": Decimal(4), "last_updated": LATER}
        await kept.patch_session(CTX, SESSION, Patch(v221.Session, nothing))
        await kept.patch_session(
            CTX, SESSION, Patch(v221.Session, {"kwh": Decimal(5), "last_updated": LATER})
        )
        periods = [a_period("1"), a_period("2")]
        assert kept.session(SESSION) == evolve(
            SAMPLE, kwh=Decimal(5), charging_periods=periods, last_updated=LATER
        )
        assert len(kept.changes) == 4

    async def test_patch_once(self) -> None:
        """The same PATCH within ten minutes adds its charging periods once, in other digits too."""
        kept = Watched()
        await kept.put_session(CTX, SESSION, SAMPLE)
        once, again = (
            Patch(v221.Session, {"charging_periods": [a_period(kwh)], "last_updated": LATER})
            for kwh in ("2.5", "2.50")
        )
        await kept.patch_session(CTX, SESSION, once)
        await kept.patch_session(CTX, SESSION, again)
        assert kept.session(SESSION).charging_periods == [a_period("2.5")]
        assert len(kept.changes) == 2
        kept.moment += REPEATED_WITHIN
        await kept.patch_session(CTX, SESSION, again)
        assert len(kept.session(SESSION).charging_periods) == 2

    async def test_patch_late(self) -> None:
        """A PATCH that is older than the session is accepted, not applied, and counted."""
        kept = Watched()
        await kept.put_session(CTX, SESSION, SAMPLE)
        await kept.patch_session(
            CTX, SESSION, Patch(v221.Session, {"kwh": Decimal(9), "last_updated": EARLIER})
        )
        assert kept.session(SESSION) == SAMPLE
        assert kept.stale == 1

    async def test_patch_needs_last_updated(self) -> None:
        """A PATCH that says not when the change happened is refused with the pointer."""
        kept = Watched()
        await kept.put_session(CTX, SESSION, SAMPLE)
        with pytest.raises(InvalidParameters) as refused:
            await kept.patch_session(CTX, SESSION, Patch(v221.Session, {"kwh": Decimal(9)}))
        assert refused.value.problems == MISSING
        assert kept.session(SESSION) == SAMPLE

    async def test_unknown(self) -> None:
        """A session that is not there cannot be read or patched: the partner is to PUT it."""
        kept = Watched()
        with pytest.raises(UnknownObject):
            await kept.get_session(CTX, SESSION)
        with pytest.raises(UnknownObject):
            await kept.patch_session(CTX, SESSION, Patch(v221.Session, {"last_updated": NOW}))


class Billing(KeptCdrs):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[v221.CDR] = []

    async def cdr_received(self, ctx: Context, cdr: v221.CDR) -> None:
        self.received.append(cdr)


class TestKeptCdrs:
    async def test_place(self) -> None:
        """A CDR is read again at the place that its post was answered with."""
        kept = Billing()
        link = await kept.post_cdr(CTX, a_cdr())
        assert link == Link("FR/CPO/CDR1")
        assert await kept.get_cdr(CTX, link) == a_cdr()
        assert await kept.get_cdr(CTX, Link("fr/cpo/cdr1")) == a_cdr()

    async def test_same_again(self) -> None:
        """A CDR that is posted again gets the same place, and the hook is not called again."""
        kept = Billing()
        links = {(await kept.post_cdr(CTX, a_cdr())).url for _ in range(3)}
        assert links == {"FR/CPO/CDR1"}
        assert kept.received == kept.cdrs() == [a_cdr()]

    async def test_other_content(self, caplog: pytest.LogCaptureFixture) -> None:
        """A CDR of a known id with other content is refused and logged, and the first one stays."""
        kept = Billing()
        link = await kept.post_cdr(CTX, a_cdr())
        with (
            caplog.at_level(logging.ERROR, "ocpi_gireve.receivers"),
            pytest.raises(InvalidParameters) as refused,
        ):
            await kept.post_cdr(CTX, a_cdr(id="cdr1", total_energy=Decimal(99)))
        assert [problem.pointer for problem in refused.value.problems] == ["/id"]
        assert await kept.get_cdr(CTX, link) == a_cdr()
        assert caplog.messages == ["gireve: CDR FR/CPO/CDR1 came again with other content; refused"]

    @pytest.mark.parametrize("place", ["", "CDR1", "FR/CPO", "FR/CPO/CDR2", "FR/ABC/CDR1", "FR/CPO/CDR1/x"])
    async def test_unknown(self, place: str) -> None:
        """There is nothing at any other place."""
        kept = Billing()
        await kept.post_cdr(CTX, a_cdr())
        with pytest.raises(UnknownObject):
            await kept.get_cdr(CTX, Link(place))

    async def test_of_another_partner(self) -> None:
        """A partner reads only what it posted itself."""
        kept = Billing()
        link = await kept.post_cdr(CTX, a_cdr())
        with pytest.raises(UnknownObject):
            await kept.get_cdr(OTHER, link)
        await kept.post_cdr(OTHER, a_cdr())
        assert await kept.get_cdr(OTHER, link) == a_cdr()
        assert len(kept.received) == 1

    async def test_id_with_a_slash(self) -> None:
        """An id may hold a slash."""
        kept = Billing()
        link = await kept.post_cdr(CTX, a_cdr(id="2026/11"))
        assert (await kept.get_cdr(CTX, link)).id == "2026/11"
