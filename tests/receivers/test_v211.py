from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
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
    receivers,
    v211,
)
from ocpi_gireve.errors import InvalidParameters, UnknownLocation, UnknownObject
from ocpi_gireve.receivers.v211 import (
    KeptCdrs,
    KeptLocations,
    KeptSessions,
    KeptTariffs,
    KeptTokens,
)
from tests.receivers.objects import (
    CTX,
    EARLIER,
    IOP,
    LATER,
    OLD,
    YieldingStore,
    a_store,
    at,
    listed,
    old_cdr,
    old_location,
    old_session,
    old_tariff,
    old_token,
    pages,
)
from tests.support import CPO, EMSP, NOW, Network, a_cdr, a_platform, changed

ABC = PartyId("FR", "ABC")
LOC = v211.LocationRef("FR", "CPO", "LOC1")
EVSE = v211.EvseRef("FR", "CPO", "LOC1", "E1")
PLUG = v211.ConnectorRef("FR", "CPO", "LOC1", "E1", "1")
SESSION = v211.SessionRef("FR", "CPO", "S1")
TARIFF = v211.TariffRef("FR", "CPO", "T1")
TOKEN = v211.TokenRef("FR", "EMP", "01020304050607")


@pytest.fixture
async def store() -> AsyncGenerator[YieldingStore]:
    """An open store."""
    async with a_store() as opened:
        yield opened


class Places(KeptLocations):
    """Remembers what it was told."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.changes: list[tuple[PartyId, v211.Location]] = []
        self.gone: list[PartyId] = []

    async def location_changed(self, ctx: Context, owner: PartyId, location: v211.Location) -> None:
        self.changes.append((owner, location))

    async def location_removed(self, ctx: Context, owner: PartyId, location: v211.Location) -> None:
        self.gone.append(owner)


class TestKeptLocations:
    async def test_owner_of_the_url(self, store: YieldingStore) -> None:
        """A location belongs to the party in its URL, of which the hook is told."""
        kept = Places(store)
        await kept.put_location(OLD, LOC, old_location())
        await kept.put_location(OLD, v211.LocationRef("FR", "ABC", "LOC1"), old_location())
        assert [owner for owner, _ in kept.changes] == [CPO, ABC]
        assert [owner async for owner, _ in kept.locations.items(IOP)] == [CPO, ABC]
        with pytest.raises(UnknownLocation):
            await kept.get_location(OLD, v211.LocationRef("FR", "XYZ", "LOC1"))

    async def test_levels(self, store: YieldingStore) -> None:
        """Location, EVSE and connector are put, patched and read, and dates move up."""
        kept = KeptLocations(store)
        await kept.put_location(OLD, LOC, old_location())
        evse = changed(await kept.get_evse(OLD, EVSE), {"status": v211.Status.BLOCKED, "last_updated": at(1)})
        await kept.put_evse(OLD, EVSE, evse)
        plug = changed(await kept.get_connector(OLD, PLUG), {"amperage": 8, "last_updated": at(2)})
        await kept.put_connector(OLD, PLUG, plug)
        await kept.patch_connector(OLD, PLUG, Patch(v211.Connector, {"tariff_id": "T9"}))
        await kept.patch_location(OLD, LOC, Patch(v211.Location, {"name": "Nord", "last_updated": at(3)}))
        after = await kept.get_location(OLD, LOC)
        assert (after.name, after.last_updated) == ("Nord", at(3))
        assert (await kept.get_evse(OLD, EVSE)).status is v211.Status.BLOCKED
        assert await kept.get_connector(OLD, PLUG) == changed(plug, {"tariff_id": "T9"})

    async def test_status_with_and_without_date(self, store: YieldingStore) -> None:
        """A PATCH need not say when it happened; one that does is left out where it is late."""
        kept = KeptLocations(store)
        await kept.put_location(OLD, LOC, old_location())
        await kept.patch_evse(OLD, EVSE, Patch(v211.EVSE, {"status": v211.Status.CHARGING}))
        late = {"status": v211.Status.BLOCKED, "last_updated": EARLIER}
        await kept.patch_evse(OLD, EVSE, Patch(v211.EVSE, late))
        assert (await kept.get_evse(OLD, EVSE)).status is v211.Status.CHARGING
        assert (await kept.get_location(OLD, LOC)).last_updated == NOW
        assert kept.locations.stale == 1

    async def test_unknown(self, store: YieldingStore) -> None:
        """What is not there cannot be changed: the partner is to PUT the whole location."""
        with pytest.raises(UnknownLocation):
            await KeptLocations(store).patch_evse(OLD, EVSE, Patch(v211.EVSE, {"last_updated": NOW}))

    async def test_pulled_from_iop(self, store: YieldingStore) -> None:
        """What is pulled belongs to whom IOP names as operator, or else to whom an evse_id names."""
        kept = Places(store)
        brand = v211.BusinessDetails(name="A brand")
        evse = changed(old_location().evses[0], {"evse_id": "FRABCE1"})
        bare = changed(old_location().evses[0], {"evse_id": None, "uid": "E0"})
        found = [
            old_location(),
            old_location(id="LOC2", operator=brand, evses=[bare, evse]),
            old_location(id="LOC3", operator=None, evses=[bare]),
        ]
        done = await kept.locations.absorb(IOP, pages(found), full=True)
        assert [owner for owner, _ in kept.changes] == [CPO, ABC]
        assert (done.changed, done.rejected) == (2, 1)
        await kept.locations.absorb(IOP, pages([old_location()]), full=True)
        assert kept.gone == [ABC]

    async def test_pulled_from_one(self, store: YieldingStore) -> None:
        """What is pulled of one party belongs to it, whatever its brand's name looks like."""
        kept = Places(store)
        await kept.locations.absorb(IOP, pages([old_location()]), owner=ABC)
        assert [owner for owner, _ in kept.changes] == [ABC]


class TestKeptTariffs:
    async def test_put_patch_delete(self, store: YieldingStore) -> None:
        """A tariff is put, patched, read and deleted."""
        kept = KeptTariffs(store)
        with pytest.raises(UnknownObject):
            await kept.patch_tariff(OLD, TARIFF, Patch(v211.Tariff, {"currency": "CHF"}))
        await kept.put_tariff(OLD, TARIFF, old_tariff())
        await kept.patch_tariff(OLD, TARIFF, Patch(v211.Tariff, {"currency": "CHF"}))
        await kept.put_tariff(OLD, TARIFF, old_tariff(last_updated=EARLIER))
        assert await kept.get_tariff(OLD, TARIFF) == old_tariff(currency="CHF")
        for _ in range(2):
            await kept.delete_tariff(OLD, TARIFF)
        with pytest.raises(UnknownObject):
            await kept.get_tariff(OLD, TARIFF)

    async def test_pulled(self, store: YieldingStore) -> None:
        """What is pulled belongs to the party that IOP adds to the object."""
        kept = KeptTariffs(store)
        found = [old_tariff(country_code="FR", party_id="ABC"), old_tariff(id="T2")]
        done = await kept.tariffs.absorb(IOP, pages(found))
        assert (done.changed, done.rejected) == (1, 1)
        assert [owner async for owner, _ in kept.tariffs.items(IOP)] == [ABC]


class TestKeptSessions:
    async def test_patch_replaces_periods(self, store: YieldingStore) -> None:
        """The charging periods of a PATCH replace those there are."""
        kept = KeptSessions(store)
        periods = [
            v211.ChargingPeriod(
                start_date_time=NOW,
                dimensions=[v211.CdrDimension(type=v211.CdrDimensionType.ENERGY, volume=Decimal(kwh))],
            )
            for kwh in (1, 2)
        ]
        await kept.put_session(OLD, SESSION, old_session(charging_periods=periods[:1]))
        await kept.patch_session(OLD, SESSION, Patch(v211.Session, {"charging_periods": periods[1:]}))
        assert (await kept.get_session(OLD, SESSION)).charging_periods == periods[1:]

    async def test_after_the_end(self, store: YieldingStore) -> None:
        """After COMPLETED, updates are ignored, those without a date too."""
        kept = KeptSessions(store)
        end = old_session(status=v211.SessionStatus.COMPLETED, end_datetime=NOW, last_updated=LATER)
        await kept.put_session(OLD, SESSION, old_session())
        await kept.put_session(OLD, SESSION, end)
        await kept.patch_session(OLD, SESSION, Patch(v211.Session, {"kwh": Decimal(99)}))
        await kept.put_session(OLD, SESSION, old_session(last_updated=at(9)))
        assert await kept.session(IOP, SESSION) == end
        assert kept.sessions.stale == 2

    async def test_after_the_cdr(self, store: YieldingStore) -> None:
        """After the CDR of its charge, updates are ignored; without an authorization, nobody can tell."""
        sessions, cdrs = KeptSessions(store), KeptCdrs(store)
        other = v211.SessionRef("FR", "CPO", "S2")
        await sessions.put_session(OLD, SESSION, old_session())
        await sessions.put_session(OLD, other, old_session(id="S2", authorization_id=None))
        await cdrs.post_cdr(OLD, old_cdr())
        await cdrs.post_cdr(OLD, old_cdr(id="CDR2", authorization_id=None))
        for ref in (SESSION, other):
            await sessions.patch_session(OLD, ref, Patch(v211.Session, {"kwh": Decimal(99)}))
        assert (await sessions.get_session(OLD, SESSION)).kwh == old_session().kwh
        assert (await sessions.get_session(OLD, other)).kwh == Decimal(99)
        await sessions.put_session(OLD, SESSION, old_session(kwh=Decimal(99), last_updated=LATER))
        assert (await sessions.get_session(OLD, SESSION)).kwh == old_session().kwh

    @pytest.mark.parametrize("differs", ["start", "EVSE", "nothing"])
    @pytest.mark.parametrize("patch", [False, True], ids=["PUT", "PATCH"])
    async def test_another_under_the_same_authorization(
        self, store: YieldingStore, differs: str, *, patch: bool
    ) -> None:
        """A CDR ends no session of its authorization that began at another time or EVSE, or came after it."""
        sessions, cdrs = KeptSessions(store), KeptCdrs(store)
        ref = v211.SessionRef("FR", "CPO", "S2")
        later = old_session().start_datetime + timedelta(minutes=5)
        elsewhere = old_location(evses=[changed(old_location().evses[0], {"uid": "E2"})])
        changes: dict[str, object] = {"start": later, "EVSE": elsewhere}
        names = {"start": "start_datetime", "EVSE": "location"}
        second = old_session(id="S2", kwh=Decimal(0))
        if differs == "nothing":
            await cdrs.post_cdr(OLD, old_cdr())
            await sessions.put_session(OLD, ref, second)
        else:
            second = changed(second, {names[differs]: changes[differs]})
            await sessions.put_session(OLD, ref, second)
            await cdrs.post_cdr(OLD, old_cdr())
        for kwh in (6, 7):
            progress = {"kwh": Decimal(kwh), "last_updated": NOW}
            if patch:
                await sessions.patch_session(OLD, ref, Patch(v211.Session, progress))
            else:
                await sessions.put_session(OLD, ref, changed(second, progress))
            assert (await sessions.get_session(OLD, ref)).kwh == Decimal(kwh)
        assert sessions.sessions.stale == 0

    async def test_unknown(self, store: YieldingStore) -> None:
        """A session that is not there cannot be patched: the partner is to PUT it."""
        with pytest.raises(UnknownObject):
            await KeptSessions(store).patch_session(OLD, SESSION, Patch(v211.Session, {"kwh": Decimal(1)}))


class TestKeptCdrs:
    async def test_two_cpos_of_one_hub(self, store: YieldingStore) -> None:
        """CDRs of two CPOs with one id, which IOP keeps, are two CDRs."""
        kept = KeptCdrs(store)
        theirs = old_cdr(location=old_location(operator=v211.BusinessDetails(name="FR*ABC")))
        links = [await kept.post_cdr(OLD, one) for one in (old_cdr(), theirs)]
        assert links == [Link("FR/CPO/CDR1"), Link("FR/ABC/CDR1")]
        assert [await kept.get_cdr(OLD, link) for link in links] == [old_cdr(), theirs]

    async def test_of_who_sends(self, store: YieldingStore) -> None:
        """Where a CDR names no CPO, it is the sender's; where nobody knows who sends, it is refused."""
        kept = KeptCdrs(store)
        evse = changed(old_location().evses[0], {"evse_id": None})
        nobodys = old_cdr(location=old_location(operator=None, evses=[evse]))
        ctx = Context(partner=IOP, version="2.1.1", sender=ABC, request_id="r", correlation_id="c")
        assert await kept.post_cdr(ctx, nobodys) == Link("FR/ABC/CDR1")
        unknown = Context(partner=IOP, version="2.1.1", request_id="r", correlation_id="c")
        with pytest.raises(InvalidParameters, match="whose"):
            await kept.post_cdr(unknown, nobodys)

    async def test_of_a_direct_partner(self) -> None:
        """A direct partner's CDR is its own, posted or pulled, whomever EVSE id and operator's name mean."""
        store, network = MemoryStore(), Network()
        kept = KeptCdrs(store)
        direct = evolve(BILATERAL, versions=frozenset(["2.1.1"]))
        cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [])
        emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [kept], store=store)
        async with cpo, emsp:
            token = await emsp.invite(direct, origins="https://cpo.example.com", id="cpo")
            to_emsp = await cpo.register(direct, emsp.versions_url, token)
            evse = changed(old_location().evses[0], {"evse_id": "DE*XYZ*E1"})
            names = v211.BusinessDetails(name="FR*ABC")
            bill = old_cdr(location=old_location(operator=names, evses=[evse]))
            place = await to_emsp.call(v211.CdrsEmsp.post_cdr, bill)
            assert place.url.endswith("/cdrs/FR/CPO/CDR1")
            # Pulled, too, so that it is not there twice; unless the host knows better.
            done = await kept.cdrs.absorb("cpo", pages([bill]))
            assert (done.changed, done.rejected) == (0, 0)
            assert [owner async for owner, _ in kept.cdrs.items("cpo")] == [CPO]
            await kept.cdrs.absorb("cpo", pages([bill]), owner=ABC)
            await kept.cdrs.absorb("an import", pages([bill]))
            assert [owner async for owner, _ in kept.cdrs.items("cpo")] == [CPO, ABC]
            assert [owner async for owner, _ in kept.cdrs.items("an import")] == [ABC]

    async def test_known_in_2_2_1(self, store: YieldingStore) -> None:
        """A CDR that came in 2.2.1 is no news in 2.1.1."""

        class Told(KeptCdrs):
            async def cdr_received(self, ctx: Context, owner: PartyId, cdr: v211.CDR) -> None:
                raise AssertionError

        cdr = convert.cdr_to_211(a_cdr()).value
        await receivers.KeptCdrs(store).post_cdr(CTX, a_cdr())
        kept = Told(store)
        assert await kept.get_cdr(OLD, await kept.post_cdr(OLD, cdr)) == cdr

    async def test_once(self, store: YieldingStore, caplog: pytest.LogCaptureFixture) -> None:
        """The same CDR again is answered alike; with other content it is refused."""
        kept = KeptCdrs(store)
        assert await kept.post_cdr(OLD, old_cdr()) == await kept.post_cdr(OLD, old_cdr())
        with caplog.at_level(logging.ERROR, "ocpi_gireve.receivers"), pytest.raises(InvalidParameters):
            await kept.post_cdr(OLD, old_cdr(total_energy=Decimal(99)))
        assert len(caplog.messages) == 1
        assert await listed(kept.cdrs.all(IOP)) == [old_cdr()]


class Everything(Places, KeptTariffs, KeptSessions, KeptCdrs):
    """What an eMSP keeps."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.bills: list[PartyId] = []

    async def cdr_received(self, ctx: Context, owner: PartyId, cdr: v211.CDR) -> None:
        self.bills.append(owner)


HUB = PartyId("FR", "107")


@asynccontextmanager
async def behind_a_hub() -> AsyncGenerator[tuple[Everything, Connection]]:
    """What an eMSP keeps of a hub's, and the hub's connection to it; the hub's party is FR*107."""
    store, network = MemoryStore(), Network()
    kept = Everything(store)
    profile = evolve(BILATERAL, hub=HUB, versions=frozenset(["2.1.1"]))
    hub = a_platform(network, "iop.example.com", Role.CPO, "107", [])
    emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [kept], store=store)
    async with hub, emsp:
        token = await emsp.invite(profile, origins="https://iop.example.com", id=IOP)
        yield kept, await hub.register(evolve(profile, hub=None), emsp.versions_url, token)


def nobodys_location(
    evse_id: str | None = None, operator: str | None = None, **changes: object
) -> v211.Location:
    """A location in which no CPO can be found."""
    evse = changed(old_location().evses[0], {"evse_id": evse_id})
    named = None if operator is None else v211.BusinessDetails(name=operator)
    return old_location(operator=named, evses=[evse], **changes)


async def owners(objects: AsyncIterator[tuple[PartyId, object]]) -> list[PartyId]:
    """Whose they are."""
    return [owner async for owner, _ in objects]


class TestNobodys:
    """What is pulled of a hub and says not whose it is."""

    @pytest.mark.parametrize("operator", [None, "op"])
    @pytest.mark.parametrize("evse_id", [None, "weird", "123456", "FR*X*E1"])
    async def test_kept(self, evse_id: str | None, operator: str | None) -> None:
        """It is kept under the hub's party, as a CDR that is posted, and nothing of it is left out."""
        async with behind_a_hub() as (kept, to_emsp):
            place = nobodys_location(evse_id, operator)
            bill = old_cdr(location=place)
            done = [
                await kept.cdrs.absorb(IOP, pages([bill])),
                await kept.sessions.absorb(IOP, pages([old_session(location=place)])),
                await kept.locations.absorb(IOP, pages([place]), full=True),
                await kept.tariffs.absorb(IOP, pages([old_tariff()]), full=True),
            ]
            assert [(one.changed, one.rejected) for one in done] == [(1, 0)] * 4
            for shelf in (kept.cdrs, kept.sessions, kept.locations, kept.tariffs):
                assert await owners(shelf.items(IOP)) == [HUB]
            # Posted, too: it is the same one, so that it is billed once.
            assert (await to_emsp.call(v211.CdrsEmsp.post_cdr, bill)).url.endswith("/cdrs/FR/107/CDR1")
            assert kept.bills == [HUB]

    async def test_pulled_again(self) -> None:
        """It is no news when it comes again, and goes when a full pull does not bring it any more."""
        async with behind_a_hub() as (kept, _):
            one, other = nobodys_location(), nobodys_location(id="LOC2")
            await kept.locations.absorb(IOP, pages([one, other]), full=True)
            done = await kept.locations.absorb(IOP, pages([one]), full=True)
            assert (done.changed, done.removed, kept.gone) == (0, 1, [HUB])
            assert await listed(kept.locations.all(IOP)) == [one]

    async def test_patched(self) -> None:
        """A PATCH finds it, whether its URL names the hub or the CPO, whose it is from then on."""
        async with behind_a_hub() as (kept, to_emsp):
            place = nobodys_location()
            await kept.locations.absorb(IOP, pages([place]), full=True)
            await kept.tariffs.absorb(IOP, pages([old_tariff()]))
            await kept.sessions.absorb(IOP, pages([old_session(location=place)]))
            for party in ("107", "CPO"):
                spot = v211.EvseRef("FR", party, "LOC1", "E1")
                status = v211.Status.CHARGING if party == "107" else v211.Status.BLOCKED
                await to_emsp.call(v211.LocationsEmsp.patch_evse, spot, Patch(v211.EVSE, {"status": status}))
                assert (await kept.evse(IOP, spot)).status is status
            await to_emsp.call(v211.TariffsEmsp.patch_tariff, TARIFF, Patch(v211.Tariff, {"currency": "CHF"}))
            await to_emsp.call(
                v211.SessionsEmsp.patch_session, SESSION, Patch(v211.Session, {"kwh": Decimal(7)})
            )
            for shelf in (kept.sessions, kept.locations, kept.tariffs):
                assert await owners(shelf.items(IOP)) == [CPO]
            assert kept.gone == [HUB]
            # The pull still names nobody, and is known again.
            done = await kept.locations.absorb(IOP, pages([place]), full=True)
            assert (done.removed, await owners(kept.locations.items(IOP))) == (0, [CPO])

    async def test_put(self) -> None:
        """A PUT says whose it is, unless it is another one of the same id."""
        async with behind_a_hub() as (kept, to_emsp):
            place = nobodys_location()
            elsewhere = changed(place.coordinates, {"latitude": "45.000000"})
            await kept.locations.absorb(IOP, pages([place]))
            other = nobodys_location(coordinates=elsewhere)
            await to_emsp.call(v211.LocationsEmsp.put_location, v211.LocationRef("FR", "ABC", "LOC1"), other)
            assert await owners(kept.locations.items(IOP)) == [HUB, ABC]
            named = nobodys_location(name="Nord", last_updated=LATER)
            await to_emsp.call(v211.LocationsEmsp.put_location, LOC, named)
            assert await owners(kept.locations.items(IOP)) == [ABC, CPO]
            assert await kept.location(IOP, LOC) == named
            await kept.locations.absorb(IOP, pages([place]))
            assert await owners(kept.locations.items(IOP)) == [ABC, CPO]

    async def test_pushed(self) -> None:
        """What the hub pushed as its own stays its own, whoever else has one of the same id."""
        async with behind_a_hub() as (kept, to_emsp):
            place, hubs = nobodys_location(), v211.LocationRef("FR", "107", "LOC1")
            await to_emsp.call(v211.LocationsEmsp.put_location, hubs, place)
            await to_emsp.call(v211.TariffsEmsp.put_tariff, v211.TariffRef("FR", "107", "T1"), old_tariff())
            # That a pull brings it, too, says nothing else.
            await kept.locations.absorb(IOP, pages([place]))
            with pytest.raises(UnknownLocation):
                await to_emsp.call(
                    v211.LocationsEmsp.patch_evse, EVSE, Patch(v211.EVSE, {"status": v211.Status.BLOCKED})
                )
            await to_emsp.call(v211.LocationsEmsp.put_location, LOC, place)
            await to_emsp.call(v211.TariffsEmsp.put_tariff, TARIFF, old_tariff())
            for shelf in (kept.locations, kept.tariffs):
                assert await owners(shelf.items(IOP)) == [HUB, CPO]

    async def test_pulled_after_a_push(self) -> None:
        """What a push said whose it is stays where it is, though a pull that names nobody brings it again."""
        async with behind_a_hub() as (kept, to_emsp):
            place = nobodys_location()
            charge = old_session(location=place)
            await to_emsp.call(v211.SessionsEmsp.put_session, SESSION, charge)
            await to_emsp.call(v211.TariffsEmsp.put_tariff, TARIFF, old_tariff())
            await kept.sessions.absorb(
                IOP, pages([changed(charge, {"kwh": Decimal(9), "last_updated": LATER})])
            )
            await kept.tariffs.absorb(IOP, pages([old_tariff(last_updated=LATER)]), full=True)
            for shelf in (kept.sessions, kept.tariffs):
                assert await owners(shelf.items(IOP)) == [CPO]
            assert (await kept.session(IOP, SESSION)).kwh == Decimal(9)
            # One of the same id that is another one, or may be.
            later = charge.start_datetime + timedelta(minutes=5)
            await kept.sessions.absorb(IOP, pages([changed(charge, {"start_datetime": later})]))
            await kept.tariffs.absorb(IOP, pages([old_tariff(currency="CHF")]))
            for shelf in (kept.sessions, kept.tariffs):
                assert await owners(shelf.items(IOP)) == [CPO, HUB]

    async def test_tokens(self) -> None:
        """A CPO keeps tokens likewise: by the uid they are found at once, and a push says whose they are."""
        async with behind_a_hub() as (kept, _):
            cards = KeptTokens(kept.locations.store)
            assert kept._host is not None
            cards.attach(kept._host)
            nobodys = old_token(issuer="A brand", auth_id="12345")
            assert (await cards.tokens.absorb(IOP, pages([nobodys]))).rejected == 0
            assert await cards.tokens_with(IOP, nobodys.uid) == [(HUB, nobodys)]
            await cards.put_token(OLD, TOKEN, nobodys)
            assert await cards.tokens_with(IOP, nobodys.uid) == [(EMSP, nobodys)]
            await cards.tokens.absorb(IOP, pages([nobodys]))
            assert await cards.tokens_with(IOP, nobodys.uid) == [(EMSP, nobodys)]

    async def test_gone_and_pushed(self) -> None:
        """What was gone in a full pull and is pushed by the hub as its own is its own."""
        async with behind_a_hub() as (kept, to_emsp):
            await kept.tariffs.absorb(IOP, pages([old_tariff()]), full=True)
            await kept.tariffs.absorb(IOP, pages([]), full=True)
            await to_emsp.call(v211.TariffsEmsp.put_tariff, v211.TariffRef("FR", "107", "T1"), old_tariff())
            await to_emsp.call(v211.TariffsEmsp.put_tariff, TARIFF, old_tariff())
            assert await owners(kept.tariffs.items(IOP)) == [HUB, CPO]

    async def test_older_put(self) -> None:
        """A PUT that is older than what was pulled changes nothing."""
        async with behind_a_hub() as (kept, to_emsp):
            await kept.locations.absorb(IOP, pages([nobodys_location()]))
            await to_emsp.call(v211.LocationsEmsp.put_location, LOC, nobodys_location(last_updated=EARLIER))
            assert await listed(kept.locations.all(IOP)) == [nobodys_location()]
            assert kept.locations.stale == 1


class TestKeptTokens:
    async def test_put_patch_get(self, store: YieldingStore) -> None:
        """A token is put, patched and read by its uid, whatever its type."""
        kept = KeptTokens(store)
        with pytest.raises(UnknownObject):
            await kept.patch_token(OLD, TOKEN, Patch(v211.Token, {"valid": False}))
        other = old_token(type=v211.TokenType.OTHER)
        await kept.put_token(OLD, TOKEN, other)
        await kept.patch_token(OLD, TOKEN, Patch(v211.Token, {"valid": False}))
        assert await kept.get_token(OLD, TOKEN) == changed(other, {"valid": False})

    async def test_card_at_a_charger(self, store: YieldingStore) -> None:
        """A card is found by what the charger reads, whosever it is."""
        kept = KeptTokens(store)
        await kept.put_token(OLD, TOKEN, old_token())
        await kept.put_token(OLD, v211.TokenRef("FR", "ABC", TOKEN.token_uid), old_token(valid=False))
        found = await kept.tokens_with(IOP, TOKEN.token_uid)
        assert [(owner, token.valid) for owner, token in found] == [(EMSP, True), (ABC, False)]
        assert await kept.tokens_with(IOP, "00") == []

    async def test_pulled(self, store: YieldingStore) -> None:
        """What is pulled belongs to whom IOP names as issuer, or else to whom the contract names."""
        kept = KeptTokens(store)
        found = [old_token(), old_token(uid="A0", issuer="A brand", auth_id="FR-ABC-C00000002")]
        done = await kept.tokens.absorb(IOP, pages(found), full=True)
        assert done.changed == 2
        assert [owner async for owner, _ in kept.tokens.items(IOP)] == [EMSP, ABC]
