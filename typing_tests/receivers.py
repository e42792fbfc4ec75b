"""What the type checkers must accept of ready receivers, and the mistakes that both must report."""

from __future__ import annotations

from typing import assert_type

from ocpi_gireve import Connection, Context, PageQuery, PartyId, Patch, v211, v221
from ocpi_gireve.receivers import (
    Absorbed,
    EvseRow,
    KeptCdrs,
    KeptLocations,
    KeptSessions,
    KeptTariffs,
    KeptTokens,
    OwnTariffs,
)
from ocpi_gireve.receivers import v211 as receivers_211
from ocpi_gireve.store import Store


class Places(KeptLocations):
    """Overrides hooks and operations alike, with the classes that the interface names."""

    async def location_changed(self, ctx: Context, location: v221.Location) -> None:
        assert_type(await self.evse(ctx.partner, v221.EvseRef("FR", "CPO", "L1", "E1")), v221.EVSE)

    async def patch_evse(self, ctx: Context, ref: v221.EvseRef, changes: Patch[v221.EVSE]) -> None:
        await super().patch_evse(ctx, ref, changes)


class Places211(receivers_211.KeptLocations):
    """In 2.1.1 the hooks are told whose the object is."""

    async def location_changed(self, ctx: Context, owner: PartyId, location: v211.Location) -> None:
        assert_type(await self.location(ctx.partner, v211.LocationRef("FR", "CPO", "L1")), v211.Location)


class Everything(KeptLocations, KeptTariffs, KeptSessions, KeptCdrs):
    """Whatever an eMSP is sent, over one store."""


class Mistaken(KeptSessions):
    """Takes the hook of 2.1.1 for that of 2.2.1."""

    async def session_changed(self, ctx: Context, session: v211.Session) -> None: ...  # type: ignore[override]  # of the other version


async def uses(store: Store, iop: Connection, tariffs: dict[str, v221.Tariff]) -> None:
    """Know what is read, and which pull fills which shelf."""
    places, cdrs = Places(store), KeptCdrs(store)
    assert_type((await Everything(store).cdr("iop", PartyId("FR", "CPO"), "C1")), v221.CDR)
    assert_type(await KeptTokens(store).tokens_with("iop", "04A1B201"), list[tuple[PartyId, v221.Token]])
    async for location in places.locations.all("iop"):
        assert_type(location, v221.Location)
    async for owner, one in Places211(store).locations.items("iop"):
        assert_type(owner, PartyId)
        assert_type(one, v211.Location)
    async for row in places.rows("iop"):
        assert_type(row, EvseRow)
    assert_type((await cdrs.cdrs.page("iop", PageQuery())).items[0], v221.CDR)
    assert_type(await cdrs.cdrs.find("iop", PartyId("FR", "CPO"), "C1"), v221.CDR | None)
    pull = iop.pull(v221.LocationsSender.list_locations)
    assert_type(await places.locations.absorb("iop", pull), Absorbed)
    await places.locations.absorb("iop", iop.pages(v221.LocationsSender.list_locations), full=True)
    await cdrs.cdrs.absorb("iop", pull)  # type: ignore[arg-type]  # a pull of another kind
    OwnTariffs(tariffs.values())
    OwnTariffs(one for one in tariffs.values())  # type: ignore[arg-type]  # it ends with the first page
