"""IOP, a CPO and two eMSPs in one process, joined without sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from attrs import define, evolve

from ocpi_gireve import Connection, Party, PartyId, Patch, Platform, Role, gireve, v221
from ocpi_gireve.receivers import LocationBook
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.simulator import Simulator
from ocpi_gireve.simulator.cpo import Cpo
from ocpi_gireve.simulator.emsp import Emsp
from ocpi_gireve.simulator.samples import drivers
from ocpi_gireve.store import MemoryStore
from ocpi_gireve.transport import HttpRequest
from tests.support import NOW, Network, a_location

CPO, EMP, OTH = PartyId("FR", "CPO"), PartyId("FR", "EMP"), PartyId("DE", "OTH")
LOCATION = v221.LocationRef("FR", "CPO", "LOC1")
EVSE = v221.EvseRef("FR", "CPO", "LOC1", "E1")
CONNECTOR = v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "1")
HERE = v221.LocationReferences(location_id="LOC1", evse_uids=["E1"])

CARD = drivers()[0]
"""A valid card of FR*EMP."""
OTHER_CARD = evolve(drivers("DE", "OTH")[0], uid="0A0B0C0D")
"""A valid card of DE*OTH."""


@define
class Scene:
    """IOP, the CPO FR*CPO, and the eMSPs FR*EMP and DE*OTH, all registered; IOP has pulled the locations."""

    network: Network
    iop: Simulator
    cpo: Cpo
    emsp: Emsp
    other: Emsp

    @property
    def from_cpo(self) -> Connection:
        """The CPO's connection to IOP."""
        return self.cpo.platform.connection("iop").routed(sender=CPO)

    @property
    def from_emsp(self) -> Connection:
        """The first eMSP's connection to IOP."""
        return self.emsp.platform.connection("iop")

    async def settled(self) -> None:
        """Wait until every upload has arrived."""
        for platform in (self.cpo.platform, self.iop.platform):
            await platform.outbox.drained(timeout=5)

    async def status(self, status: v221.Status, seconds: float) -> None:
        """Send an EVSE status to IOP, dated that long after NOW."""
        await self.from_cpo.call(v221.LocationsReceiver.patch_evse, EVSE, status_at(status, seconds))

    def sent(self, host: str, part: str = "") -> list[HttpRequest]:
        """What was sent to a host, to URLs with that part."""
        return [one for one in self.network.requests if f"//{host}/" in one.url and part in one.url]


def status_at(status: v221.Status, seconds: float) -> Patch[v221.EVSE]:
    """An EVSE's change of status, dated that long after NOW."""
    return Patch(v221.EVSE, {"status": status, "last_updated": NOW + timedelta(seconds=seconds)})


def a_cpo(
    network: Network,
    locations: Sequence[v221.Location] | LocationBook,
    parties: Sequence[PartyId] = (CPO,),
) -> Cpo:
    """A CPO platform on the network."""
    cpo = Cpo(
        public_url="https://cpo/ocpi",
        parties=[Party(one.country_code, one.party_id, Role.CPO, name=f"CPO {one}") for one in parties],
        locations=locations if isinstance(locations, LocationBook) else LocationBook(locations),
        store=MemoryStore(),
        hub=gireve.SIMULATOR,
        transport=network.transport,
    )
    network.join(cpo.platform)
    return cpo


def an_emsp(network: Network, party: PartyId, host: str, cards: Sequence[v221.Token]) -> Emsp:
    """An eMSP platform on the network."""
    emsp = Emsp(
        public_url=f"https://{host}/ocpi",
        party=Party(party.country_code, party.party_id, Role.EMSP, name=f"eMSP {party}"),
        tokens=cards,
        hub=gireve.SIMULATOR,
        transport=network.transport,
    )
    network.join(emsp.platform)
    return emsp


async def register(iop: Simulator, platform: Platform, partner: str) -> None:
    """Register a platform with IOP (FromIOP)."""
    token_a = await platform.invite(gireve.SIMULATOR, origins=PIN_FIRST)
    await iop.register(partner, platform.versions_url, token_a)


@asynccontextmanager
async def a_scene(
    *,
    contracts: Iterable[tuple[PartyId, PartyId]] | None = None,
    locations: Sequence[v221.Location] | LocationBook | None = None,
) -> AsyncGenerator[Scene]:
    """Set the scene."""
    network = Network()
    iop = Simulator(public_url="https://iop/ocpi", contracts=contracts, transport=network.transport)
    network.join(iop.platform)
    cpo = a_cpo(network, [a_location()] if locations is None else locations)
    emsp = an_emsp(network, EMP, "emsp", [CARD, drivers()[1]])
    other = an_emsp(network, OTH, "other", [OTHER_CARD])
    async with AsyncExitStack() as stack:
        for platform in (iop.platform, cpo.platform, emsp.platform, other.platform):
            await stack.enter_async_context(platform)
        for platform, partner in ((cpo.platform, "cpo"), (emsp.platform, "emsp"), (other.platform, "other")):
            await register(iop, platform, partner)
        await iop.pull_locations("cpo")
        for one in (emsp, other):
            for location in iop.locations():
                one.locations.put(location)
        network.requests.clear()
        network.responses.clear()
        yield Scene(network, iop, cpo, emsp, other)


async def until(so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 5
    while not so():
        assert time.monotonic() < deadline, "not so within 5 s"
        await asyncio.sleep(0.001)
