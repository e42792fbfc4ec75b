from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

from ocpi_gireve import Context, MemoryStore, PageQuery, PartyId, Patch, v211, v221
from ocpi_gireve.errors import BadAnswer, InvalidParameters, StoreError
from ocpi_gireve.pagination import Page
from ocpi_gireve.receivers import Absorbed, KeptCdrs, KeptLocations, KeptSessions, KeptTariffs
from ocpi_gireve.receivers import v211 as old
from ocpi_gireve.receivers.shelf import PAGE
from ocpi_gireve.store import SqliteStore, Store
from ocpi_gireve.store.records import Scope
from tests.receivers.objects import (
    CTX,
    EARLIER,
    IOP,
    LATER,
    OLD,
    OTHER,
    YieldingStore,
    a_period,
    a_store,
    a_tariff,
    at,
    ids,
    listed,
    old_location,
    old_token,
    pages,
)
from tests.support import CPO, NOW, a_cdr, a_connector, a_location, a_session, an_evse

ABC = PartyId("FR", "ABC")


def ref(id: str, party: PartyId = CPO) -> v221.LocationRef:
    """Names a location."""
    return v221.LocationRef(party.country_code, party.party_id, id)


class Told(KeptLocations):
    """Remembers what it was told, and fails when it is asked to.

    Attributes:
        fails: What it raises.
    """

    def __init__(self, store: YieldingStore) -> None:
        super().__init__(store)
        self.changes: list[v221.Location] = []
        self.gone: list[v221.Location] = []
        self.contexts: list[Context] = []
        self.fails: Exception | None = None

    async def location_changed(self, ctx: Context, location: v221.Location) -> None:
        await asyncio.sleep(0)
        self.contexts.append(ctx)
        if self.fails is not None:
            raise self.fails
        self.changes.append(location)

    async def location_removed(self, ctx: Context, location: v221.Location) -> None:
        if self.fails is not None:
            raise self.fails
        self.gone.append(location)


@pytest.fixture
async def told() -> AsyncGenerator[Told]:
    """A receiver over an open store."""
    async with a_store() as store:
        yield Told(store)


def store_of(kept: KeptLocations) -> YieldingStore:
    """The store of a receiver."""
    assert isinstance(kept.locations.store, YieldingStore)
    return kept.locations.store


async def put(kept: KeptLocations, *locations: v221.Location, ctx: Context = CTX) -> None:
    """Push locations."""
    for one in locations:
        await kept.put_location(ctx, v221.LocationRef(one.country_code, one.party_id, one.id), one)


class TestReading:
    async def test_scoped(self, told: Told) -> None:
        """What came over one connection is not there for another, and each owner has its own."""
        await put(told, a_location(), a_location(party_id="ABC", name="Theirs"))
        await put(told, a_location(name="Elsewhere"), ctx=OTHER)
        shelf = told.locations
        assert await shelf.find(IOP, CPO, "loc1") == a_location()
        assert await shelf.find(IOP, PartyId("fr", "abc"), "LOC1") == a_location(
            party_id="ABC", name="Theirs"
        )
        assert await shelf.find("nobody", CPO, "LOC1") is None
        assert [one.name for one in await listed(shelf.all(OTHER.partner))] == ["Elsewhere"]
        assert [one.name for one in await listed(shelf.all(IOP, ABC))] == ["Theirs"]
        assert [owner async for owner, _ in shelf.items(IOP)] == [CPO, ABC]
        assert (await shelf.count(IOP), await shelf.count(IOP, ABC), await shelf.count("nobody")) == (2, 1, 0)

    async def test_order_and_dates(self, told: Told) -> None:
        """Objects come in the order in which they first came, or those changed since a moment."""
        await put(told, a_location(id="B"), a_location(id="A"), a_location(id="C"))
        await put(told, a_location(id="b", last_updated=LATER))
        assert ids(await listed(told.locations.all(IOP))) == ["b", "A", "C"]
        assert ids(await listed(told.locations.all(IOP, changed_since=LATER))) == ["b"]
        assert await told.locations.count(IOP, changed_since=at(0.5)) == 1

    async def test_pages(self, told: Told) -> None:
        """A page has the part that is asked for, and the total of what matches."""
        await put(told, *(a_location(id=f"L{number}", last_updated=at(number)) for number in range(5)))
        page = await told.locations.page(IOP, PageQuery(offset=1, limit=2, date_from=at(1)))
        assert (ids(page.items), page.total) == (["L2", "L3"], 4)
        page = await told.locations.page(IOP, PageQuery(date_to=at(1)), CPO)
        assert (ids(page.items), page.total) == (["L0"], 1)
        assert (await told.locations.page(IOP, PageQuery(), ABC)).total == 0

    async def test_more_than_a_page(self, told: Told) -> None:
        """All objects come, each once, however many."""
        names = [f"L{number:03}" for number in range(2 * PAGE + 1)]
        await put(told, *(a_location(id=name) for name in names))
        assert ids(await listed(told.locations.all(IOP))) == names

    @pytest.mark.parametrize("gone", [(0, 1), (PAGE - 2, PAGE - 1), (PAGE - 1, PAGE), (PAGE, 2 * PAGE)])
    async def test_removal_while_reading(self, told: Told, gone: tuple[int, int]) -> None:
        """What is removed while others are read takes none of them along."""
        names = [f"L{number:03}" for number in range(2 * PAGE + 1)]
        await put(told, *(a_location(id=name) for name in names))
        seen: list[str] = []
        async for one in told.locations.all(IOP):
            seen.append(one.id)
            if len(seen) == PAGE:
                for index in gone:
                    await told.locations.remove(CTX, CPO, names[index])
        assert seen == [name for index, name in enumerate(names) if index not in gone or index < PAGE]

    async def test_reading_what_changes(self, told: Told) -> None:
        """What enters a window of changes before the place that is read makes nobody read it all again."""
        names = [f"L{number:03}" for number in range(5 * PAGE)]
        await put(told, *(a_location(id=name, last_updated=EARLIER) for name in names[:PAGE]))
        await put(told, *(a_location(id=name) for name in names[PAGE:]))
        seen: list[str] = []
        async for one in told.locations.all(IOP, changed_since=NOW):
            seen.append(one.id)
            if len(seen) % PAGE == 0:
                await put(told, a_location(id=names[len(seen) // PAGE], last_updated=LATER))
        assert seen == names[PAGE:]
        assert store_of(told).reads == 5

    async def test_of_another_version(self, told: Told) -> None:
        """What was kept in 2.1.1 is not there in 2.2.1 until it comes again."""
        before = old.KeptLocations(told.locations.store)
        await before.put_location(OLD, v211.LocationRef("FR", "CPO", "LOC1"), old_location())
        assert await told.locations.find(IOP, CPO, "LOC1") is None
        assert await listed(told.locations.all(IOP)) == []
        await put(told, a_location())
        assert await told.locations.find(IOP, CPO, "LOC1") == a_location()
        assert await listed(before.locations.all(IOP)) == []

    async def test_survives_restart(self, told: Told) -> None:
        """What was answered is in the store: another receiver over it has it."""
        await put(told, a_location())
        assert await KeptLocations(told.locations.store).location(IOP, ref("LOC1")) == a_location()

    async def test_unopened(self) -> None:
        """A store that is not open is told, not taken for an empty one."""
        with pytest.raises(StoreError):
            await KeptLocations(MemoryStore()).locations.count(IOP)


class TestChange:
    async def test_not_kept_where_the_hook_fails(self, told: Told) -> None:
        """Where the hook fails nothing is kept, and the repetition comes to the hook again."""
        told.fails = OSError("down")
        with pytest.raises(OSError, match="down"):
            await put(told, a_location())
        assert await told.locations.count(IOP) == 0
        told.fails = None
        await put(told, a_location())
        await put(told, a_location())
        assert told.changes == [a_location()]

    async def test_what_was_there(self, told: Told) -> None:
        """In the hook, what was kept before can still be read."""
        seen: list[str | None] = []

        class Comparing(KeptLocations):
            async def location_changed(self, ctx: Context, location: v221.Location) -> None:
                before = await self.locations.find(ctx.partner, CPO, location.id)
                seen.append(None if before is None else before.name)

        kept = Comparing(told.locations.store)
        await put(kept, a_location(name="One"))
        await put(kept, a_location(name="Two"))
        assert seen == [None, "One"]

    async def test_store_fails(self, told: Told) -> None:
        """A store that cannot keep it is an error, and the repetition is kept."""
        store_of(told).fails = True
        with pytest.raises(OSError, match="full"):
            await put(told, a_location())
        store_of(told).fails = False
        await put(told, a_location())
        assert await told.locations.count(IOP) == 1

    async def test_at_once(self, told: Told) -> None:
        """Two changes of one location at once are both made, whoever makes them."""
        evses = [an_evse(uid=f"E{number}") for number in range(10)]
        await put(told, a_location(evses=evses))
        both = [told, KeptLocations(told.locations.store)]
        async with asyncio.TaskGroup() as tasks:
            for number in range(10):
                changes = {"status": v221.Status.BLOCKED, "last_updated": at(number)}
                evse = v221.EvseRef("FR", "CPO", "LOC1", f"E{number}")
                tasks.create_task(both[number % 2].patch_evse(CTX, evse, Patch(v221.EVSE, changes)))
        after = await told.location(IOP, ref("LOC1"))
        assert {evse.status for evse in after.evses} == {v221.Status.BLOCKED}
        assert after.last_updated == at(9)

    @pytest.mark.parametrize("kind", ["memory", "yielding", "sqlite"])
    async def test_session_at_once(self, kind: str, tmp_path: Path) -> None:
        """Of many PATCHes of one session at once, and pulls beside them, none undoes another."""
        store: Store = {"memory": MemoryStore, "yielding": YieldingStore}.get(
            kind, lambda: SqliteStore(tmp_path / "ocpi.db")
        )()
        await store.open()
        session, both = v221.SessionRef("FR", "CPO", "S1"), [KeptSessions(store), KeptSessions(store)]
        await both[0].put_session(CTX, session, a_session(charging_periods=[]))

        async def patch(number: int) -> None:
            changes = {"charging_periods": [a_period(str(number))], "last_updated": LATER}
            await both[number % 2].patch_session(CTX, session, Patch(v221.Session, changes))

        async with asyncio.TaskGroup() as tasks:
            for number in range(40):
                tasks.create_task(patch(number))
                if number % 10 == 0:
                    tasks.create_task(both[1].sessions.absorb(IOP, pages([a_session()])))
        after = await both[0].session(IOP, session)
        await store.close()
        kwh = sorted(int(period.dimensions[0].volume) for period in after.charging_periods)
        assert kwh == list(range(40))

    async def test_remove(self, told: Told) -> None:
        """What is removed is told to the hook first; what is not there is not."""
        await put(told, a_location())
        told.fails = OSError("down")
        with pytest.raises(OSError, match="down"):
            await told.locations.remove(CTX, CPO, "LOC1")
        told.fails = None
        assert await told.locations.remove(CTX, CPO, "loc1")
        assert not await told.locations.remove(CTX, CPO, "LOC1")
        assert told.gone == [a_location()]

    async def test_other_id(self, told: Told) -> None:
        """An object is kept under its own id and no other."""
        with pytest.raises(InvalidParameters):
            await told.put_location(CTX, ref("LOC2"), a_location())
        assert await told.locations.count(IOP) == 0


class TestForget:
    async def test_forget(self, told: Told) -> None:
        """What the host forgets is gone, without a word to the hook, until it comes again."""
        await put(told, a_location(), a_location(party_id="ABC"))
        async for owner, one in told.locations.items(IOP, CPO):
            assert await told.locations.forget(IOP, owner, one)
            assert not await told.locations.forget(IOP, owner, one)
        assert [owner async for owner, _ in told.locations.items(IOP)] == [ABC]
        assert told.gone == []
        await put(told, a_location())
        assert await told.locations.count(IOP) == 2


class TestAbsorb:
    async def test_full(self, told: Told) -> None:
        """A full pull is the new truth: what is new comes, what is known stays, what is absent goes."""
        await put(told, a_location(), a_location(id="LOC2"), a_location(id="LOC3"))
        await put(told, a_location(id="LOC9"), ctx=OTHER)
        told.changes.clear()
        new = a_location(id="LOC4")
        changed = a_location(id="loc2", name="Nord", last_updated=LATER)
        done = await told.locations.absorb(IOP, pages([a_location()], [changed, new]), full=True)
        assert done == Absorbed(received=3, changed=2, removed=1, rejected=0)
        assert await listed(told.locations.all(IOP)) == [a_location(), changed, new]
        assert (told.changes, told.gone) == ([changed, new], [a_location(id="LOC3")])
        assert await told.locations.count(OTHER.partner) == 1

    async def test_delta(self, told: Told) -> None:
        """In a delta what does not come stays."""
        await put(told, a_location(), a_location(id="LOC2"))
        done = await told.locations.absorb(IOP, pages([a_location(id="LOC3")]))
        assert done == Absorbed(received=1, changed=1, removed=0, rejected=0)
        assert ids(await listed(told.locations.all(IOP))) == ["LOC1", "LOC2", "LOC3"]

    async def test_of_one_party(self, told: Told) -> None:
        """A pull that was narrowed to one party says nothing of others, and brings none of theirs."""
        await put(told, a_location(), a_location(party_id="ABC"), a_location(party_id="ABC", id="LOC2"))
        theirs = [a_location(party_id="abc")]
        done = await told.locations.absorb(IOP, pages(theirs), full=True, owner=ABC)
        assert (done.removed, done.rejected) == (1, 0)
        assert ids(await listed(told.locations.all(IOP))) == ["LOC1", "LOC1"]
        done = await told.locations.absorb(IOP, pages([a_location(id="LOC5")]), owner=ABC)
        assert (done.changed, done.rejected) == (0, 1)

    async def test_context(self, told: Told) -> None:
        """The hook is told which partner was pulled, and all changes of one pull share their cause."""
        await told.locations.absorb(IOP, pages([a_location(), a_location(id="LOC2")]))
        first, second = told.contexts
        assert (first.partner, first.version, first.sender) == (IOP, "2.2.1", None)
        assert first.correlation_id == second.correlation_id
        assert first.correlation_id not in ("", CTX.correlation_id)

    async def test_unreadable(self, told: Told, caplog: pytest.LogCaptureFixture) -> None:
        """While an item of a full pull cannot be read, nothing is taken for gone."""
        await put(told, a_location())
        with caplog.at_level(logging.WARNING, "ocpi_gireve.receivers"):
            done = await told.locations.absorb(IOP, pages([a_location(id="LOC2")], rejected=1), full=True)
        assert done == Absorbed(received=1, changed=1, removed=0, rejected=1)
        assert await told.locations.count(IOP) == 2
        assert caplog.messages == ["iop: 1 items not taken, so no location is removed"]

    async def test_cut_off(self, told: Told) -> None:
        """A pull that breaks off has kept what came, and removed nothing."""
        await put(told, a_location())

        async def broken() -> AsyncGenerator[Page[v221.Location]]:
            yield Page(items=[a_location(id="LOC2")], total=9)
            raise BadAnswer("cut off", http_status=502)

        with pytest.raises(BadAnswer):
            await told.locations.absorb(IOP, broken(), full=True)
        assert ids(await listed(told.locations.all(IOP))) == ["LOC1", "LOC2"]

    async def test_hook_fails(self, told: Told) -> None:
        """What the hook raises ends the pull, and the next one brings the object again."""
        told.fails = OSError("down")
        with pytest.raises(OSError, match="down"):
            await told.locations.absorb(IOP, pages([a_location()]))
        told.fails = None
        assert (await told.locations.absorb(IOP, pages([a_location()]))).changed == 1
        told.fails = OSError("down")
        with pytest.raises(OSError, match="down"):
            await told.locations.absorb(IOP, pages([]), full=True)
        assert await told.locations.count(IOP) == 1

    async def test_one_of_a_page(self, told: Told) -> None:
        """What fails of a page ends the pull, once the others of the page are kept."""

        class Picky(KeptLocations):
            async def location_changed(self, ctx: Context, location: v221.Location) -> None:
                if location.id == "LOC1":
                    raise OSError("down")

        kept = Picky(told.locations.store)
        found = pages([a_location(), a_location(id="LOC2")], [a_location(id="LOC3")])
        with pytest.raises(OSError, match="down"):
            await kept.locations.absorb(IOP, found)
        assert ids(await listed(kept.locations.all(IOP))) == ["LOC2"]

    async def test_twice_in_a_page(self, told: Told) -> None:
        """An object that comes twice is kept in its newest state, in the order of the listing."""
        newer = a_location(name="Nord", last_updated=LATER)
        await told.locations.absorb(IOP, pages([newer, a_location(), a_location(id="LOC2")]))
        assert await listed(told.locations.all(IOP)) == [newer, a_location(id="LOC2")]

    async def test_pushed_meanwhile(self, told: Told) -> None:
        """What is pushed while a full pull runs is neither undone by it nor taken for gone."""
        before = a_location(evses=[an_evse(), an_evse(uid="E2")])
        await put(told, before)

        async def slow() -> AsyncGenerator[Page[v221.Location]]:
            yield Page(items=[], total=1)
            pushed = a_location(name="Pushed", last_updated=LATER, evses=[an_evse(last_updated=LATER)])
            await put(told, pushed, a_location(id="NEW"), a_location(id="NEWER"))
            yield Page(items=[before], total=1)

        done = await told.locations.absorb(IOP, slow(), full=True)
        assert (done.changed, done.removed) == (0, 0)
        after = await listed(told.locations.all(IOP))
        names = [("LOC1", "Pushed"), ("NEW", "Gare"), ("NEWER", "Gare")]
        assert [(one.id, one.name) for one in after] == names
        assert told.locations.stale == 1

    async def test_tariff_pulled_late(self) -> None:
        """A pull does not put an older object in the place of a newer one."""
        async with a_store() as store:
            kept = KeptTariffs(store)
            await kept.put_tariff(CTX, v221.TariffRef("FR", "CPO", "T1"), a_tariff(last_updated=LATER))
            done = await kept.tariffs.absorb(IOP, pages([a_tariff()]), full=True)
            assert (done.changed, done.removed, kept.tariffs.stale) == (0, 0, 1)

    async def test_what_stays(self) -> None:
        """No pull of sessions or CDRs can show any of them to be gone."""
        async with a_store() as store:
            sessions, cdrs = KeptSessions(store), KeptCdrs(store)
            with pytest.raises(ValueError, match="session stays"):
                await sessions.sessions.absorb(IOP, pages([a_session()]), full=True)
            with pytest.raises(ValueError, match="cdr stays"):
                await cdrs.cdrs.absorb(IOP, pages([a_cdr()]), full=True)
            assert (await cdrs.cdrs.absorb(IOP, pages([a_cdr()]))).changed == 1

    async def test_cdr_with_other_content(self, caplog: pytest.LogCaptureFixture) -> None:
        """A pulled CDR of a known id with other content is left out and logged; the others are kept."""
        async with a_store() as store:
            kept = KeptCdrs(store)
            await kept.post_cdr(CTX, a_cdr())
            other = a_cdr(total_time=a_cdr().total_time + 1)
            with caplog.at_level(logging.ERROR, "ocpi_gireve.receivers"):
                done = await kept.cdrs.absorb(IOP, pages([other, a_cdr(id="CDR2")]))
            assert (done.changed, done.rejected) == (1, 1)
            assert await kept.cdrs.find(IOP, CPO, "CDR1") == a_cdr()
            assert caplog.messages == ["iop: the pulled cdr FR*CPO/CDR1 is kept with other content; left out"]

    async def test_nobodys(self, caplog: pytest.LogCaptureFixture) -> None:
        """A 2.1.1 object that says not whose it is is left out, unless the pull was of one party."""
        async with a_store() as store:
            kept = old.KeptTokens(store)
            nobodys = old_token(issuer="A brand", auth_id="12345")
            with caplog.at_level(logging.WARNING, "ocpi_gireve.receivers"):
                done = await kept.tokens.absorb(IOP, pages([nobodys]))
            assert (done.changed, done.rejected) == (0, 1)
            assert caplog.messages == [
                "iop: a pulled token is left out: nobody knows whose it is, or it is another party's"
            ]
            assert (await kept.tokens.absorb(IOP, pages([nobodys]), owner=ABC)).changed == 1
            assert await kept.tokens.count(IOP, ABC) == 1

    async def test_left_from_another_version(self, told: Told) -> None:
        """A full pull clears what was kept in another version away, and no hook is told of it."""
        before = old.KeptLocations(told.locations.store)
        await before.put_location(OLD, v211.LocationRef("FR", "CPO", "77"), old_location(id="77"))
        done = await told.locations.absorb(IOP, pages([a_location()]), full=True)
        assert (done.removed, told.gone) == (1, [])
        assert await told.locations.store.object(Scope(IOP, CPO), "location", "77") is None


class TestPulledLocation:
    """A pull and the pushes of EVSE statuses meet in one location."""

    @pytest.fixture
    async def busy(self, told: Told) -> Told:
        """A receiver that was told that E1 charges, later than all else."""
        await put(told, a_location(evses=[an_evse(), an_evse(uid="E2")], last_updated=EARLIER))
        changes = {"status": v221.Status.CHARGING, "last_updated": LATER}
        await told.patch_evse(CTX, v221.EvseRef("FR", "CPO", "LOC1", "E1"), Patch(v221.EVSE, changes))
        return told

    async def test_older_status(self, busy: Told) -> None:
        """The rest of a location is taken under its older date, and the newer status of an EVSE stays."""
        pulled = a_location(
            name="Nord", evses=[an_evse(), an_evse(uid="E2", physical_reference="2")], last_updated=NOW
        )
        await busy.locations.absorb(IOP, pages([pulled]), full=True)
        after = await busy.location(IOP, ref("LOC1"))
        assert (after.name, after.last_updated) == ("Nord", LATER)
        assert [evse.status for evse in after.evses] == [v221.Status.CHARGING, v221.Status.AVAILABLE]
        assert after.evses[1].physical_reference == "2"

    async def test_newer_status(self, busy: Told) -> None:
        """A newer status of the pull replaces the one that was pushed."""
        newer = an_evse(status=v221.Status.BLOCKED, last_updated=LATER + timedelta(seconds=1))
        await busy.locations.absorb(IOP, pages([a_location(evses=[newer], last_updated=EARLIER)]))
        after = await busy.location(IOP, ref("LOC1"))
        assert after.evses == [newer]
        assert after.last_updated == newer.last_updated

    async def test_changed_itself(self, told: Told) -> None:
        """A location whose own date is newer than the pull's stays as it is."""
        await put(told, a_location(name="Nord", last_updated=LATER))
        await put(told, a_location(id="LOC2", name="Bare", evses=[], last_updated=LATER))
        both = [a_location(name="Sud"), a_location(id="LOC2", name="Bold", evses=[])]
        done = await told.locations.absorb(IOP, pages(both), full=True)
        assert (done.changed, done.removed, told.locations.stale) == (0, 0, 2)

    async def test_newer_connector(self, told: Told) -> None:
        """A connector that was pushed moves its EVSE's date, so it stays too."""
        await put(told, a_location())
        plug = v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "1")
        await told.put_connector(CTX, plug, a_connector(max_amperage=8, last_updated=LATER))
        await told.locations.absorb(IOP, pages([a_location(name="Nord", last_updated=NOW)]))
        after = await told.location(IOP, ref("LOC1"))
        assert (after.name, after.evses[0].connectors[0].max_amperage) == ("Nord", 8)

    async def test_same_again(self, told: Told) -> None:
        """A pull that brings what is kept changes nothing."""
        await put(told, a_location())
        again = evolve(a_location())
        assert (await told.locations.absorb(IOP, pages([again]), full=True)).changed == 0
        assert len(told.changes) == 1
        assert (await told.location(IOP, ref("LOC1"))).last_updated == NOW
