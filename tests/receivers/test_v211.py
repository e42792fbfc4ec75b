from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import (
    BILATERAL,
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
        """After the CDR of the same authorization, updates are ignored; without one, nobody can tell."""
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
