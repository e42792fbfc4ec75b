from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import (
    BILATERAL,
    Connection,
    Context,
    Link,
    MemoryStore,
    PartyId,
    Patch,
    Role,
    convert,
    gireve,
    v221,
)
from ocpi_gireve.commands import CpoCommands, EmspCommands, Result
from ocpi_gireve.errors import InvalidParameters, Problem, UnknownLocation, UnknownObject
from ocpi_gireve.interface import Interface
from ocpi_gireve.profile import Profile
from ocpi_gireve.receivers import (
    KeptCdrs,
    KeptClientInfos,
    KeptLocations,
    KeptSessions,
    KeptTariffs,
    KeptTokens,
    LocationBook,
    OwnCdrs,
    OwnLocations,
)
from ocpi_gireve.receivers import v211 as old
from tests.receivers.objects import (
    CTX,
    EARLIER,
    IOP,
    LATER,
    OLD,
    OTHER,
    YieldingStore,
    a_client,
    a_period,
    a_store,
    a_tariff,
    at,
    credits_of,
    ended,
    listed,
    pages,
)
from tests.support import (
    CPO,
    EMSP,
    NOW,
    Network,
    a_cdr,
    a_connector,
    a_location,
    a_platform,
    a_session,
    a_token,
    an_evse,
)

LOC = v221.LocationRef("FR", "CPO", "LOC1")
EVSE = v221.EvseRef("FR", "CPO", "LOC1", "E1")
PLUG = v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "1")
SESSION = v221.SessionRef("FR", "CPO", "S1")
TARIFF = v221.TariffRef("FR", "CPO", "T1")
TOKEN = v221.TokenRef("FR", "EMP", a_token().uid)
CLIENT = v221.ClientInfoRef("FR", "EMP")
MISSING = (Problem("/last_updated", "missing", "expected a DateTime"),)


@pytest.fixture
async def store() -> AsyncGenerator[YieldingStore]:
    """An open store."""
    async with a_store() as opened:
        yield opened


class All(KeptLocations, KeptTariffs, KeptSessions, KeptCdrs):
    """One object for all that an eMSP is sent."""


class Places(KeptLocations):
    """Remembers what it was told."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.changes: list[v221.Location] = []

    async def location_changed(self, ctx: Context, location: v221.Location) -> None:
        self.changes.append(location)


class TestKeptLocations:
    async def test_told_of_changes(self, store: YieldingStore) -> None:
        """The hook is given the whole location at each change, and only then."""
        kept = Places(store)
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
        assert kept.changes[-1] == await kept.get_location(CTX, LOC)

    async def test_reads(self, store: YieldingStore) -> None:
        """What was put is what is returned, at each level, to the partner that put it."""
        kept = KeptLocations(store)
        await kept.put_location(CTX, LOC, a_location())
        assert await kept.get_location(CTX, LOC) == a_location()
        assert await kept.get_evse(CTX, EVSE) == an_evse()
        assert await kept.get_connector(CTX, PLUG) == a_connector()
        for read in (kept.get_location(OTHER, LOC), kept.get_evse(OTHER, EVSE)):
            with pytest.raises(UnknownLocation):
                await read

    async def test_parents_move(self, store: YieldingStore) -> None:
        """A change of an EVSE or a connector moves last_updated of what it is part of."""
        kept = KeptLocations(store)
        await kept.put_location(CTX, LOC, a_location())
        await kept.patch_evse(
            CTX, EVSE, Patch(v221.EVSE, {"status": v221.Status.BLOCKED, "last_updated": at(1)})
        )
        assert (await kept.get_location(CTX, LOC)).last_updated == at(1)
        await kept.put_connector(CTX, PLUG, a_connector(last_updated=at(2)))
        assert (await kept.get_evse(CTX, EVSE)).last_updated == at(2)
        assert (await kept.get_location(CTX, LOC)).last_updated == at(2)

    async def test_unknown(self, store: YieldingStore) -> None:
        """What is not there cannot be changed: the partner is to PUT the whole location."""
        kept = KeptLocations(store)
        name = Patch(v221.Location, {"name": "Nord", "last_updated": NOW})
        status = Patch(v221.EVSE, {"status": v221.Status.BLOCKED, "last_updated": NOW})
        amperage = Patch(v221.Connector, {"max_amperage": 9, "last_updated": NOW})
        for change in (
            kept.patch_location(CTX, LOC, name),
            kept.patch_evse(CTX, EVSE, status),
            kept.patch_connector(CTX, PLUG, amperage),
            kept.put_evse(CTX, EVSE, an_evse()),
            kept.put_connector(CTX, PLUG, a_connector()),
        ):
            with pytest.raises(UnknownLocation):
                await change

    async def test_late(self, store: YieldingStore) -> None:
        """What is older than what is kept is accepted, not applied, and counted."""
        kept = KeptLocations(store)
        await kept.put_location(CTX, LOC, a_location())
        await kept.put_location(CTX, LOC, a_location(name="Old", last_updated=EARLIER))
        await kept.put_evse(CTX, EVSE, an_evse(status=v221.Status.BLOCKED, last_updated=EARLIER))
        assert await kept.get_location(CTX, LOC) == a_location()
        assert kept.locations.stale == 2

    async def test_patch_needs_last_updated(self, store: YieldingStore) -> None:
        """A PATCH that says not when the change happened is refused with the pointer."""
        kept = KeptLocations(store)
        await kept.put_location(CTX, LOC, a_location())
        with pytest.raises(InvalidParameters) as refused:
            await kept.patch_location(CTX, LOC, Patch(v221.Location, {"name": "Nord"}))
        assert refused.value.problems == MISSING

    async def test_what_breaks_a_rule(self, store: YieldingStore) -> None:
        """A location that breaks a rule of length, or has more than OCPI knows, is kept as it came."""
        raw = v221.encode(a_location()).replace(b'"Lyon"', b'"' + b"L" * 60 + b'","x_new":{"a":[1.50]}')
        kept, came = KeptLocations(store), v221.decode(raw, v221.Location)
        await kept.put_location(CTX, LOC, came)
        await kept.put_evse(CTX, EVSE, an_evse(status=v221.Status.BLOCKED))
        after = await kept.get_location(CTX, LOC)
        assert (after.city, after.extra) == ("L" * 60, came.extra)


class Tariffs(KeptTariffs):
    """Remembers what it was told."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.changes: list[v221.Tariff] = []
        self.gone: list[v221.Tariff] = []

    async def tariff_changed(self, ctx: Context, tariff: v221.Tariff) -> None:
        self.changes.append(tariff)

    async def tariff_removed(self, ctx: Context, tariff: v221.Tariff) -> None:
        self.gone.append(tariff)


def aimed(party: str, **changes: object) -> v221.Tariff:
    """A tariff for one eMSP."""
    target = {"target_operator_country_code": "FR", "target_operator_party_id": party}
    return a_tariff(**target, **changes)


class TestKeptTariffs:
    async def test_one_for_each_target(self, store: YieldingStore) -> None:
        """One id may be several tariffs, for everybody and for single eMSPs; each is replaced by itself."""
        kept = Tariffs(store)
        for tariff in (aimed("AAA"), a_tariff(), aimed("BBB"), aimed("aaa", last_updated=LATER)):
            await kept.put_tariff(CTX, TARIFF, tariff)
        there = await kept.tariffs_of(IOP, v221.TariffRef("fr", "cpo", "t1"))
        assert there == [aimed("aaa", last_updated=LATER), a_tariff(), aimed("BBB")]
        assert len(kept.changes) == 4

    async def test_get(self, store: YieldingStore) -> None:
        """A GET, which cannot say for whom, is answered the tariff for everybody, or else the oldest."""
        kept = KeptTariffs(store)
        with pytest.raises(UnknownObject):
            await kept.get_tariff(CTX, TARIFF)
        await kept.put_tariff(CTX, TARIFF, aimed("AAA"))
        await kept.put_tariff(CTX, TARIFF, aimed("BBB"))
        assert await kept.get_tariff(CTX, TARIFF) == aimed("AAA")
        await kept.put_tariff(CTX, TARIFF, a_tariff())
        assert await kept.get_tariff(CTX, TARIFF) == a_tariff()
        with pytest.raises(UnknownObject):
            await kept.get_tariff(OTHER, TARIFF)

    async def test_delete(self, store: YieldingStore) -> None:
        """A DELETE removes all tariffs of the id, tells of each, and may come twice."""
        kept = Tariffs(store)
        for tariff in (aimed("AAA"), a_tariff(), a_tariff(id="T2")):
            await kept.put_tariff(CTX, v221.TariffRef("FR", "CPO", tariff.id), tariff)
        for _ in range(2):
            await kept.delete_tariff(CTX, v221.TariffRef("FR", "CPO", "t1"))
        assert await listed(kept.tariffs.all(IOP)) == [a_tariff(id="T2")]
        assert kept.gone == [aimed("AAA"), a_tariff()]
        with pytest.raises(UnknownObject):
            await kept.get_tariff(CTX, TARIFF)

    async def test_of_another_partner(self, store: YieldingStore) -> None:
        """A partner deletes only what came from itself."""
        kept = KeptTariffs(store)
        await kept.put_tariff(CTX, TARIFF, a_tariff())
        await kept.delete_tariff(OTHER, TARIFF)
        assert await kept.tariffs.count(IOP) == 1

    async def test_late(self, store: YieldingStore) -> None:
        """An older tariff is accepted, not applied, and counted."""
        kept = KeptTariffs(store)
        await kept.put_tariff(CTX, TARIFF, a_tariff())
        await kept.put_tariff(CTX, TARIFF, a_tariff(currency="CHF", last_updated=EARLIER))
        assert await kept.get_tariff(CTX, TARIFF) == a_tariff()
        assert kept.tariffs.stale == 1


class Sessions(KeptSessions):
    """Remembers what it was told."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.changes: list[v221.Session] = []

    async def session_changed(self, ctx: Context, session: v221.Session) -> None:
        self.changes.append(session)


def change(minutes: float, **changes: object) -> Patch[v221.Session]:
    """A PATCH of a session, dated that long after NOW."""
    return Patch(v221.Session, {**changes, "last_updated": at(minutes)})


class TestKeptSessions:
    async def test_put(self, store: YieldingStore) -> None:
        """A PUT replaces the whole session, its charging periods included; without any, there are none."""
        kept = Sessions(store)
        await kept.put_session(CTX, SESSION, a_session(charging_periods=[a_period("1")]))
        new = a_session(charging_periods=[a_period("2")], last_updated=at(1))
        await kept.put_session(CTX, SESSION, new)
        assert await kept.get_session(CTX, v221.SessionRef("fr", "cpo", "s1")) == new
        await kept.put_session(CTX, SESSION, a_session(last_updated=at(2)))
        assert (await kept.get_session(CTX, SESSION)).charging_periods == []
        assert len(kept.changes) == 3

    async def test_repeated_or_late(self, store: YieldingStore) -> None:
        """A PUT with the same content changes nothing; an older one neither, and is counted."""
        kept = Sessions(store)
        await kept.put_session(CTX, SESSION, a_session())
        await kept.put_session(CTX, SESSION, a_session())
        await kept.put_session(CTX, SESSION, a_session(kwh=Decimal(9), last_updated=EARLIER))
        await kept.patch_session(CTX, SESSION, change(-1, kwh=Decimal(9)))
        assert kept.changes == [a_session()]
        assert kept.sessions.stale == 2

    async def test_patch_adds_periods(self, store: YieldingStore) -> None:
        """Charging periods of a PATCH come besides those there are, once, however often it comes."""
        kept = Sessions(store)
        await kept.put_session(CTX, SESSION, a_session(charging_periods=[a_period("1")]))
        for _ in range(2):
            await kept.patch_session(
                CTX, SESSION, change(1, charging_periods=[a_period("2")], kwh=Decimal(3))
            )
        nothing: dict[str, object] = {"charging_periods": [], "kwh": Decimal(4)}
        await kept.patch_session(CTX, SESSION, change(2, **nothing))
        periods = [a_period("1"), a_period("2")]
        after = a_session(kwh=Decimal(4), charging_periods=periods, last_updated=at(2))
        assert await kept.get_session(CTX, SESSION) == after
        assert len(kept.changes) == 3

    async def test_unknown(self, store: YieldingStore) -> None:
        """A session that is not there cannot be read or patched: the partner is to PUT it."""
        kept = KeptSessions(store)
        with pytest.raises(UnknownObject):
            await kept.get_session(CTX, SESSION)
        with pytest.raises(UnknownObject):
            await kept.patch_session(CTX, SESSION, change(0))
        await kept.put_session(CTX, SESSION, a_session())
        with pytest.raises(UnknownObject):
            await kept.get_session(OTHER, SESSION)

    async def test_patch_needs_last_updated(self, store: YieldingStore) -> None:
        """A PATCH that says not when the change happened is refused with the pointer."""
        kept = KeptSessions(store)
        await kept.put_session(CTX, SESSION, a_session())
        with pytest.raises(InvalidParameters) as refused:
            await kept.patch_session(CTX, SESSION, Patch(v221.Session, {"kwh": Decimal(9)}))
        assert refused.value.problems == MISSING

    async def test_after_the_end(self, store: YieldingStore) -> None:
        """After COMPLETED, updates are ignored and counted, however new they say they are."""
        kept = Sessions(store)
        await kept.put_session(CTX, SESSION, a_session())
        await kept.put_session(CTX, SESSION, ended())
        await kept.put_session(CTX, SESSION, a_session(kwh=Decimal(99), last_updated=at(5)))
        await kept.patch_session(CTX, SESSION, change(6, kwh=Decimal(99)))
        await kept.patch_session(CTX, SESSION, change(7, status=v221.SessionStatus.ACTIVE))
        assert await kept.get_session(CTX, SESSION) == ended()
        assert (len(kept.changes), kept.sessions.stale) == (2, 3)

    async def test_corrected_end(self, store: YieldingStore) -> None:
        """An end may be corrected by a newer one, and by no older one."""
        kept = KeptSessions(store)
        await kept.put_session(CTX, SESSION, ended())
        await kept.put_session(CTX, SESSION, ended(kwh=Decimal(8), last_updated=at(2)))
        await kept.put_session(CTX, SESSION, ended(kwh=Decimal(7), last_updated=at(1.5)))
        await kept.patch_session(CTX, SESSION, change(3, status=v221.SessionStatus.INVALID))
        after = await kept.get_session(CTX, SESSION)
        assert (after.status, after.kwh) == (v221.SessionStatus.INVALID, Decimal(8))

    async def test_end_that_comes_late(self, store: YieldingStore) -> None:
        """The end counts whatever its date: nothing comes after it."""
        kept = KeptSessions(store)
        await kept.put_session(CTX, SESSION, a_session(last_updated=at(5)))
        await kept.put_session(CTX, SESSION, ended())
        assert await kept.get_session(CTX, SESSION) == ended()

    async def test_after_the_cdr(self, store: YieldingStore) -> None:
        """After its CDR a session still ends, and changes no more; sessions of others do."""
        sessions, cdrs = KeptSessions(store), KeptCdrs(store)
        await sessions.put_session(CTX, SESSION, a_session())
        await cdrs.post_cdr(CTX, a_cdr(session_id="s1"))
        await sessions.put_session(CTX, SESSION, a_session(kwh=Decimal(99), last_updated=at(5)))
        assert await sessions.get_session(CTX, SESSION) == a_session()
        await sessions.put_session(CTX, SESSION, ended())
        await sessions.put_session(CTX, SESSION, ended())
        await sessions.put_session(CTX, SESSION, ended(kwh=Decimal(99), last_updated=at(6)))
        await sessions.patch_session(
            CTX, SESSION, change(7, status=v221.SessionStatus.COMPLETED, kwh=Decimal(99))
        )
        assert await sessions.get_session(CTX, SESSION) == ended()
        assert sessions.sessions.stale == 3
        await sessions.put_session(OTHER, SESSION, a_session())
        await sessions.put_session(OTHER, SESSION, a_session(last_updated=at(5)))
        assert (await sessions.get_session(OTHER, SESSION)).last_updated == at(5)

    async def test_pulled(self, store: YieldingStore) -> None:
        """A pulled session is kept as a pushed one: its end counts, and what follows does not."""
        kept = KeptSessions(store)
        await kept.put_session(CTX, SESSION, a_session(last_updated=at(5)))
        late = a_session(kwh=Decimal(99), last_updated=at(9))
        done = await kept.sessions.absorb(IOP, pages([ended()], [late]))
        assert (done.changed, kept.sessions.stale) == (1, 1)
        assert await kept.session(IOP, SESSION) == ended()

    async def test_pulled_after_the_cdr(self, store: YieldingStore) -> None:
        """After its CDR a pulled session still ends, and changes no more, as a pushed one."""
        kept = All(store)
        await kept.put_session(CTX, SESSION, a_session())
        await kept.post_cdr(CTX, a_cdr(session_id="S1"))
        late = a_session(kwh=Decimal(99), last_updated=at(5))
        done = await kept.sessions.absorb(IOP, pages([late], [ended()], [ended(kwh=Decimal(99))]))
        assert (done.changed, kept.sessions.stale) == (1, 2)
        assert await kept.session(IOP, SESSION) == ended()


class Cdrs(KeptCdrs):
    """Remembers what it was told."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.received: list[v221.CDR] = []

    async def cdr_received(self, ctx: Context, cdr: v221.CDR) -> None:
        self.received.append(cdr)


class TestKeptCdrs:
    async def test_place(self, store: YieldingStore) -> None:
        """A CDR is read again at the place that its post was answered with."""
        kept = KeptCdrs(store)
        link = await kept.post_cdr(CTX, a_cdr())
        assert link == Link("FR/CPO/CDR1")
        assert await kept.get_cdr(CTX, link) == a_cdr()
        assert await kept.get_cdr(CTX, Link("fr/cpo/cdr1")) == a_cdr()
        assert await kept.cdr(IOP, CPO, "CDR1") == a_cdr()

    async def test_same_again(self, store: YieldingStore) -> None:
        """A CDR that is posted again gets the same place, and the hook is not called again."""
        kept = Cdrs(store)
        links = {(await kept.post_cdr(CTX, a_cdr())).url for _ in range(3)}
        assert links == {"FR/CPO/CDR1"}
        assert kept.received == await listed(kept.cdrs.all(IOP)) == [a_cdr()]

    async def test_known_in_2_1_1(self, store: YieldingStore) -> None:
        """A CDR that came in 2.1.1 is no news in 2.2.1, pushed or pulled; another of its id is refused."""
        kept, before = Cdrs(store), old.KeptCdrs(store)
        for name in ("CDR1", "CDR2"):
            await before.post_cdr(OLD, convert.cdr_to_211(a_cdr(id=name)).value)
        link = await kept.post_cdr(CTX, a_cdr())
        other = a_cdr(id="CDR2", total_energy=Decimal(99))
        done = await kept.cdrs.absorb(IOP, pages([other, a_cdr(id="CDR3")]))
        assert (done.changed, done.rejected) == (1, 1)
        assert kept.received == [a_cdr(id="CDR3")]
        assert await kept.get_cdr(CTX, link) == a_cdr()
        with pytest.raises(InvalidParameters):
            await kept.post_cdr(CTX, other)

    async def test_with_microseconds(self, store: YieldingStore) -> None:
        """A CDR with dates finer than a DateTime is the same when it comes again, posted or pulled."""
        kept, end = Cdrs(store), NOW + timedelta(microseconds=1234)
        cdr = a_cdr(end_date_time=end, last_updated=end)
        for _ in range(2):
            assert await kept.post_cdr(CTX, cdr) == Link("FR/CPO/CDR1")
        done = await kept.cdrs.absorb(IOP, pages([cdr]))
        assert (done.changed, done.rejected, len(kept.received)) == (0, 0, 1)
        with pytest.raises(InvalidParameters):
            await kept.post_cdr(CTX, a_cdr(end_date_time=end, last_updated=NOW))

    async def test_other_content(self, store: YieldingStore, caplog: pytest.LogCaptureFixture) -> None:
        """A CDR of a known id with other content is refused and logged, and the first one stays."""
        kept = Cdrs(store)
        link = await kept.post_cdr(CTX, a_cdr())
        with (
            caplog.at_level(logging.ERROR, "ocpi_gireve.receivers"),
            pytest.raises(InvalidParameters) as refused,
        ):
            await kept.post_cdr(CTX, a_cdr(id="cdr1", total_energy=Decimal(99)))
        assert (refused.value.status_code, refused.value.http_status) == (2001, 200)
        assert [problem.pointer for problem in refused.value.problems] == ["/id"]
        assert await kept.get_cdr(CTX, link) == a_cdr()
        assert caplog.messages == ["iop: CDR FR/CPO/cdr1 came again with other content; refused"]
        assert kept.received == [a_cdr()]

    async def test_credit(self, store: YieldingStore) -> None:
        """A credit CDR, and the corrected one after it, are kept besides the first."""
        kept = Cdrs(store)
        for cdr in (a_cdr(), credits_of(a_cdr()), a_cdr(id="CDR2", total_energy=Decimal(11))):
            await kept.post_cdr(CTX, cdr)
        assert [cdr.id for cdr in kept.received] == ["CDR1", "CDR1-C", "CDR2"]
        assert await kept.cdrs.count(IOP) == 3

    @pytest.mark.parametrize("place", ["", "CDR1", "FR/CPO", "FR/CPO/CDR2", "FR/ABC/CDR1", "FR/CPO/CDR1/x"])
    async def test_unknown(self, store: YieldingStore, place: str) -> None:
        """There is nothing at any other place."""
        kept = KeptCdrs(store)
        await kept.post_cdr(CTX, a_cdr())
        with pytest.raises(UnknownObject):
            await kept.get_cdr(CTX, Link(place))

    async def test_of_another_partner(self, store: YieldingStore) -> None:
        """A partner reads only what it posted itself."""
        kept = KeptCdrs(store)
        link = await kept.post_cdr(CTX, a_cdr())
        with pytest.raises(UnknownObject):
            await kept.get_cdr(OTHER, link)
        await kept.post_cdr(OTHER, a_cdr(total_energy=Decimal(99)))
        assert await kept.get_cdr(CTX, link) == a_cdr()

    async def test_id_with_a_slash(self, store: YieldingStore) -> None:
        """An id may hold a slash."""
        kept = KeptCdrs(store)
        link = await kept.post_cdr(CTX, a_cdr(id="2026/11"))
        assert (await kept.get_cdr(CTX, link)).id == "2026/11"

    @pytest.mark.parametrize(("country", "party"), [("", ""), ("..", "CPO")])
    async def test_owner_that_is_none(self, store: YieldingStore, country: str, party: str) -> None:
        """A CDR whose owner cannot stand in a URL is refused before it is kept; a slash can stand there."""
        kept = KeptCdrs(store)
        said = f'"country_code":"{country}","party_id":"{party}"'.encode()
        raw = v221.encode(a_cdr()).replace(b'"country_code":"FR","party_id":"CPO"', said, 1)
        with pytest.raises(InvalidParameters) as refused:
            await kept.post_cdr(CTX, v221.decode(raw, v221.CDR))
        assert refused.value.problems[0].pointer == "/country_code"
        assert await kept.cdrs.count(IOP) == 0
        raw = raw.replace(said, b'"country_code":"F/","party_id":"C/O"', 1)
        link = await kept.post_cdr(CTX, v221.decode(raw, v221.CDR))
        assert (await kept.get_cdr(CTX, link)).party_id == "C/O"

    async def test_hook_fails(self, store: YieldingStore) -> None:
        """Where the hook fails the CDR is not kept, and its session is not billed."""

        class Failing(KeptCdrs):
            async def cdr_received(self, ctx: Context, cdr: v221.CDR) -> None:
                raise OSError("down")

        cdrs, sessions = Failing(store), KeptSessions(store)
        await sessions.put_session(CTX, SESSION, a_session())
        with pytest.raises(OSError, match="down"):
            await cdrs.post_cdr(CTX, a_cdr(session_id="S1"))
        await sessions.put_session(CTX, SESSION, a_session(last_updated=LATER))
        assert (await sessions.get_session(CTX, SESSION)).last_updated == LATER
        assert await cdrs.cdrs.count(IOP) == 0


class Tokens(KeptTokens):
    """Remembers what it was told."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.changes: list[v221.Token] = []
        self.gone: list[v221.Token] = []

    async def token_changed(self, ctx: Context, token: v221.Token) -> None:
        self.changes.append(token)

    async def token_removed(self, ctx: Context, token: v221.Token) -> None:
        self.gone.append(token)


def of_type(type: v221.TokenType) -> v221.TokenRef:
    """Names the token of a type."""
    return v221.TokenRef("FR", "EMP", TOKEN.token_uid, type)


APP, RFID = v221.TokenType.APP_USER, v221.TokenType.RFID


class TestKeptTokens:
    async def test_by_type(self, store: YieldingStore) -> None:
        """Tokens of one uid and two types are two tokens; without a type in the URL, it is an RFID token."""
        kept = Tokens(store)
        await kept.put_token(CTX, TOKEN, a_token())
        await kept.put_token(CTX, of_type(APP), a_token(type=APP))
        assert await kept.get_token(CTX, v221.TokenRef("fr", "emp", TOKEN.token_uid.lower())) == a_token()
        assert await kept.get_token(CTX, of_type(APP)) == a_token(type=APP)
        assert await kept.tokens.count(IOP, EMSP) == 2
        with pytest.raises(UnknownObject):
            await kept.get_token(CTX, of_type(v221.TokenType.OTHER))

    async def test_other_type_than_the_url(self, store: YieldingStore) -> None:
        """A type in the URL has to be that of the token; a URL without one says nothing."""
        kept = KeptTokens(store)
        with pytest.raises(InvalidParameters) as refused:
            await kept.put_token(CTX, of_type(APP), a_token())
        assert [problem.pointer for problem in refused.value.problems] == ["/type"]
        await kept.put_token(CTX, TOKEN, a_token(type=APP))
        assert await kept.token(IOP, of_type(APP)) == a_token(type=APP)

    async def test_patch(self, store: YieldingStore) -> None:
        """A PATCH changes its fields, once; an unknown token has to be PUT; its type stays."""
        kept = Tokens(store)
        ends = Patch(v221.Token, {"valid": False, "last_updated": LATER})
        with pytest.raises(UnknownObject):
            await kept.patch_token(CTX, TOKEN, ends)
        await kept.put_token(CTX, TOKEN, a_token())
        await kept.patch_token(CTX, TOKEN, ends)
        await kept.patch_token(CTX, TOKEN, ends)
        await kept.patch_token(CTX, TOKEN, Patch(v221.Token, {"valid": True, "last_updated": NOW}))
        assert await kept.get_token(CTX, TOKEN) == a_token(valid=False, last_updated=LATER)
        assert (len(kept.changes), kept.tokens.stale) == (2, 1)
        with pytest.raises(InvalidParameters):
            await kept.patch_token(CTX, TOKEN, Patch(v221.Token, {"type": APP, "last_updated": LATER}))

    async def test_card_at_a_charger(self, store: YieldingStore) -> None:
        """A card is found by what the charger reads, whosever it is; its type tells it from an app's user."""
        kept, uid = KeptTokens(store), TOKEN.token_uid
        theirs = a_token(party_id="ABC", contract_id="FR-ABC-C1")
        await kept.put_token(CTX, TOKEN, a_token())
        await kept.put_token(CTX, of_type(APP), a_token(type=APP))
        await kept.put_token(CTX, v221.TokenRef("FR", "ABC", uid), theirs)
        assert await kept.tokens_with(IOP, uid.lower()) == [(EMSP, a_token()), (PartyId("FR", "ABC"), theirs)]
        assert await kept.tokens_with(IOP, uid, APP) == [(EMSP, a_token(type=APP))]
        assert await kept.tokens_with(IOP, "00") == []
        assert await kept.tokens_with(OTHER.partner, uid) == []

    async def test_full_pull(self, store: YieldingStore) -> None:
        """A full pull of tokens tells which are gone."""
        kept = Tokens(store)
        await kept.put_token(CTX, TOKEN, a_token())
        await kept.tokens.absorb(IOP, pages([a_token(type=APP)]), full=True)
        assert (kept.gone, await listed(kept.tokens.all(IOP))) == ([a_token()], [a_token(type=APP)])


class Clients(KeptClientInfos):
    """Remembers what it was told."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.changes: list[v221.ClientInfo] = []

    async def client_info_changed(self, ctx: Context, info: v221.ClientInfo) -> None:
        self.changes.append(info)


class TestKeptClientInfos:
    async def test_by_role(self, store: YieldingStore) -> None:
        """A party has a status in each role; a GET is answered the one that changed last."""
        kept = Clients(store)
        with pytest.raises(UnknownObject):
            await kept.get_client_info(CTX, CLIENT)
        cpo = a_client(role=Role.CPO, status=v221.ConnectionStatus.PLANNED)
        gone = a_client(status=v221.ConnectionStatus.SUSPENDED, last_updated=LATER)
        for info in (a_client(), cpo, cpo, gone, a_client()):
            await kept.put_client_info(CTX, CLIENT, info)
        assert await listed(kept.client_infos.all(IOP)) == [gone, cpo]
        assert await kept.get_client_info(CTX, v221.ClientInfoRef("fr", "emp")) == gone
        assert (len(kept.changes), kept.client_infos.stale) == (3, 1)

    async def test_pulled(self, store: YieldingStore) -> None:
        """A full pull from the hub is the new truth."""
        kept = KeptClientInfos(store)
        await kept.put_client_info(CTX, CLIENT, a_client())
        other = a_client(party_id="XYZ")
        await kept.client_infos.absorb(IOP, pages([other]), full=True)
        assert await listed(kept.client_infos.all(IOP)) == [other]


@asynccontextmanager
async def joined(
    cpo: Sequence[Interface], emsp: Sequence[Interface], store: MemoryStore, profile: Profile = BILATERAL
) -> AsyncGenerator[tuple[Connection, Connection]]:
    """A CPO that has registered with an eMSP: its connection to the eMSP, and the eMSP's to it."""
    network = Network()
    one = a_platform(network, "cpo.example.com", Role.CPO, "CPO", cpo)
    other = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", emsp, store=store)
    async with one, other:
        token = await other.invite(profile, origins="https://cpo.example.com", id="cpo")
        to_emsp = await one.register(profile, other.versions_url, token, id="emsp")
        yield to_emsp, other.connection("cpo")


class TestOverTheWire:
    async def test_one_object_for_all(self) -> None:
        """One object may keep several kinds, each of which comes through the platform and back."""
        store = MemoryStore()
        async with joined([], [All(store)], store) as (cpo, _):
            await cpo.call(v221.LocationsReceiver.put_location, LOC, a_location())
            await cpo.call(v221.TariffsReceiver.put_tariff, TARIFF, a_tariff())
            await cpo.call(v221.SessionsReceiver.put_session, SESSION, a_session())
            place = await cpo.call(v221.CdrsReceiver.post_cdr, a_cdr())
            assert await cpo.call(v221.LocationsReceiver.get_evse, EVSE) == an_evse()
            assert await cpo.call(v221.TariffsReceiver.get_tariff, TARIFF) == a_tariff()
            assert await cpo.call(v221.SessionsReceiver.get_session, SESSION) == a_session()
            assert place.url.endswith("/cdrs/FR/CPO/CDR1")
            assert await cpo.call(v221.CdrsReceiver.get_cdr, place) == a_cdr()
            await cpo.call(v221.TariffsReceiver.delete_tariff, TARIFF)
            with pytest.raises(UnknownObject):
                await cpo.call(v221.TariffsReceiver.get_tariff, TARIFF)
            unknown = v221.SessionRef("FR", "CPO", "S9")
            with pytest.raises(UnknownObject):
                await cpo.call(v221.SessionsReceiver.patch_session, unknown, change(0))

    @pytest.mark.parametrize("id", ["a//b", "/", "a/../b", "a/", "100%", "%2F", "a b?c#d"])
    async def test_ids_of_cdrs(self, id: str) -> None:
        """Whatever id a CDR has, it is answered a place where it is read again."""
        async with joined([], [KeptCdrs(store := MemoryStore())], store) as (cpo, _):
            place = await cpo.call(v221.CdrsReceiver.post_cdr, a_cdr(id=id))
            assert (await cpo.call(v221.CdrsReceiver.get_cdr, place)).id == id

    async def test_pull(self) -> None:
        """The first pull fills the store, and another full one shows what is new and what is gone."""
        store, book = MemoryStore(), LocationBook([a_location(), a_location(id="LOC2")])
        kept = KeptLocations(store)
        async with joined([OwnLocations(book)], [kept], store) as (_, cpo):
            listing = v221.LocationsSender.list_locations
            done = await kept.locations.absorb("cpo", cpo.pull(listing))
            assert (done.received, done.changed) == (2, 2)
            book.remove(v221.LocationRef("FR", "CPO", "LOC2"))
            book.put(a_location(id="LOC3", last_updated=at(60 * 24 * 365)))
            done = await kept.locations.absorb("cpo", cpo.pull(listing, full=True))
            assert (done.received, done.changed, done.removed) == (2, 1, 1)
            there = [one.id async for one in kept.locations.all("cpo")]
            assert there == ["LOC1", "LOC3"]

    async def test_pull_of_anothers(self, caplog: pytest.LogCaptureFixture) -> None:
        """Of what a direct partner lists, no other party's is kept, unless the host says so; a hub's is."""
        theirs = a_location(party_id="ABC", id="LOC2")
        for profile, rejected in ((BILATERAL, 1), (gireve.SIMULATOR, 0)):
            kept = KeptLocations(store := MemoryStore())
            async with joined([], [kept], store, profile):
                done = await kept.locations.absorb("cpo", pages([a_location(), theirs]))
                assert (done.changed, done.rejected) == (2 - rejected, rejected)
                done = await kept.locations.absorb("cpo", pages([theirs]), owner=PartyId("FR", "ABC"))
                assert (done.changed, done.rejected) == (rejected, 0)
        assert len(caplog.messages) == 1

    async def test_narrow_pull(self) -> None:
        """A full pull that was narrowed to one CPO behind a hub shows nothing of another CPO's to be gone."""
        store, book = MemoryStore(), LocationBook([a_location()])
        kept = KeptLocations(store)
        listing = v221.LocationsSender.list_locations
        async with joined([OwnLocations(book)], [kept], store, gireve.SIMULATOR) as (_, hub):
            theirs = a_location(party_id="ABC", id="LOC2")
            await kept.locations.absorb("cpo", pages([theirs, a_location(id="GONE")]))
            done = await kept.locations.absorb("cpo", hub.routed(receiver=CPO).pull(listing, full=True))
            assert (done.changed, done.removed) == (1, 1)
            assert await listed(kept.locations.all("cpo")) == [theirs, a_location()]

    async def test_pull_of_another(self) -> None:
        """A pull over one connection is not kept under another one's name, nor as another party's."""
        store = MemoryStore()
        kept = KeptLocations(store)
        async with joined([OwnLocations(LocationBook([a_location()]))], [kept], store) as (_, cpo):
            pull = cpo.pull(v221.LocationsSender.list_locations, full=True)
            with pytest.raises(ValueError, match="expected a pull of iop, not of cpo"):
                await kept.locations.absorb(IOP, pull)
            narrow = cpo.routed(receiver=CPO).pull(v221.LocationsSender.list_locations)
            with pytest.raises(ValueError, match=r"expected a pull of FR\*EMP, not of FR\*CPO"):
                await kept.locations.absorb("cpo", narrow, owner=EMSP)
            assert (await kept.locations.absorb("cpo", narrow, owner=CPO)).changed == 1

    async def test_pull_that_does_not_know_all(self) -> None:
        """A pull that goes on where another broke off shows nothing to be gone; the next one does."""
        store, book = MemoryStore(), LocationBook([a_location(id=f"LOC{number}") for number in range(4)])
        listing = v221.LocationsSender.list_locations

        class Failing(KeptLocations):
            async def location_changed(self, ctx: Context, location: v221.Location) -> None:
                if location.id == "LOC2":
                    raise OSError("down")

        failing, kept = Failing(store), KeptLocations(store)
        small = evolve(BILATERAL, default_page_limit=1)
        async with joined([OwnLocations(book)], [kept], store, small) as (emsp, cpo):
            gone = v221.LocationRef("FR", "CPO", "GONE")
            await emsp.call(v221.LocationsReceiver.put_location, gone, a_location(id="GONE"))
            with pytest.raises(OSError, match="down"):
                await failing.locations.absorb("cpo", cpo.pull(listing, full=True))
            assert await kept.locations.count("cpo") == 3
            done = await kept.locations.absorb("cpo", resumed := cpo.pull(listing, full=True))
            assert (resumed.resumed, done.received, done.removed) == (True, 2, 0)
            done = await kept.locations.absorb("cpo", cpo.pull(listing, full=True))
            assert (done.received, done.changed, done.removed) == (4, 0, 1)

    async def test_pull_of_cdrs(self) -> None:
        """CDRs stay, though the CPO lists them no more."""
        store = MemoryStore()
        kept = KeptCdrs(store)
        async with joined([OwnCdrs([a_cdr()])], [kept], store) as (emsp, cpo):
            await emsp.call(v221.CdrsReceiver.post_cdr, a_cdr(id="CDR0"))
            done = await kept.cdrs.absorb("cpo", cpo.pull(v221.CdrsSender.list_cdrs, full=True))
            assert (done.received, done.removed, await kept.cdrs.count("cpo")) == (1, 0, 2)

    async def test_one_object_for_both_sides(self) -> None:
        """One object may keep a CPO's tokens, serve its CDRs and take its commands: all know the platform."""

        class Everything(KeptTokens, OwnCdrs, CpoCommands):
            def __init__(self, store: MemoryStore) -> None:
                KeptTokens.__init__(self, store)
                OwnCdrs.__init__(self, [a_cdr()])
                CpoCommands.__init__(self)

            async def execute_stop(self, ctx: Context, command: v221.StopSession) -> Result:
                return v221.CommandResultType.ACCEPTED

        store = MemoryStore()
        async with joined([Everything(store)], [commands := EmspCommands()], store) as (_, cpo):
            assert len(await listed(cpo.crawl(v221.CdrsSender.list_cdrs))) == 1
            assert (await commands.send_stop(cpo, "S1")).succeeded
