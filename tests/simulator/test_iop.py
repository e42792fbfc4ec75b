from __future__ import annotations

import socket
from urllib.parse import parse_qs, urlsplit

import pytest
from multidict import CIMultiDict

from ocpi_gireve import PartyId, Role, gireve, v221
from ocpi_gireve._model import replaced
from ocpi_gireve.errors import NoAnswer, NotRegistered, RegistrationFailed
from ocpi_gireve.http import AiohttpTransport, HttpServer, UrlPolicy
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.receivers import LocationBook
from ocpi_gireve.simulator import Pulled, Simulator
from ocpi_gireve.simulator.samples import locations
from ocpi_gireve.store.records import ConnectionState
from ocpi_gireve.tokens import TokenEncoding, authorization
from ocpi_gireve.transport import HttpRequest
from tests.simulator.scene import CARD, CPO, a_cpo, a_scene, register
from tests.support import Network, a_location


class TestRegistration:
    async def test_to_iop(self) -> None:
        """A partner registers with the token A and versions URL that IOP gives out; IOP is the HUB FR*107."""
        network = Network()
        iop = Simulator(public_url="https://iop/ocpi", transport=network.transport)
        network.join(iop.platform)
        cpo = a_cpo(network, [])
        async with iop, cpo.platform:
            connection = await cpo.platform.register(
                gireve.SIMULATOR, iop.versions_url, await iop.invite("cpo")
            )
            assert [(role.role, role.party) for role in connection.record.roles] == [
                (Role.HUB, PartyId("FR", "107"))
            ]
            theirs = iop.platform.connection("cpo").record
            assert (theirs.state, theirs.roles[0].party) == (ConnectionState.REGISTERED, CPO)

    async def test_from_iop(self) -> None:
        """IOP registers with a partner, unregisters, and registers again."""
        async with a_scene() as scene:
            assert scene.emsp.platform.connection("iop").record.state is ConnectionState.REGISTERED
            await scene.iop.unregister("emsp")
            assert scene.emsp.platform.connection("iop").record.state is ConnectionState.UNREGISTERED
            await register(scene.iop, scene.emsp.platform, "emsp")
            assert scene.emsp.platform.connection("iop").record.state is ConnectionState.REGISTERED

    async def test_failures(self) -> None:
        """What cannot be is said: a second registration, and a partner that is not there."""
        async with a_scene() as scene:
            with pytest.raises(RegistrationFailed):
                await scene.iop.register("cpo", scene.cpo.platform.versions_url, "x" * 30)
            with pytest.raises(NotRegistered):
                await scene.iop.unregister("nobody")


class TestPull:
    async def test_pages(self) -> None:
        """IOP pulls a hundred locations at a time, and addresses the CPO."""
        async with a_scene(locations=locations(250)) as scene:
            assert len(scene.iop.locations()) == 250
            assert await scene.iop.pull_locations("cpo") == Pulled(locations=250, pages=3)
            pulls = scene.sent("cpo", "/locations")
            queries = [parse_qs(urlsplit(one.url).query) for one in pulls]
            assert [query["limit"] for query in queries] == [["100"]] * 3
            assert {one.headers["OCPI-to-party-id"] for one in pulls} == {"CPO"}
            assert {one.headers["OCPI-from-party-id"] for one in pulls} == {"107"}

    async def test_rejected(self) -> None:
        """What cannot be read is not taken, and told with its place; the others are taken."""
        wrong = replaced(a_location(id="LOC2"), {"city": {"name": "Lyon"}})
        async with a_scene(locations=[a_location(), wrong, a_location(id="LOC3")]) as scene:
            pulled = await scene.iop.pull_locations("cpo")
            assert [location.id for location in scene.iop.locations()] == ["LOC1", "LOC3"]
            assert pulled.locations == 2
            assert len(pulled.rejected) == 1
            assert pulled.rejected[0].startswith("FR*CPO, page 1, item 1: /city")

    async def test_somebody_elses(self) -> None:
        """A CPO cannot put locations in another one's name."""

        class Careless(LocationBook):
            def of(self, party: PartyId) -> list[v221.Location]:
                return self.all()

        there = Careless([a_location(), a_location(party_id="XXX", id="LOC2")])
        async with a_scene(locations=there) as scene:
            pulled = await scene.iop.pull_locations("cpo")
            assert pulled.rejected == ("FR*CPO, page 1: FR*XXX is no CPO of this platform",)
            assert [location.id for location in scene.iop.locations()] == ["LOC1"]

    async def test_several_parties(self) -> None:
        """Each CPO of a platform is asked for its own locations."""
        network = Network()
        iop = Simulator(public_url="https://iop/ocpi", transport=network.transport)
        network.join(iop.platform)
        second = PartyId("DE", "ABC")
        there = [*locations(3), *locations(2, "DE", "ABC")]
        cpo = a_cpo(network, there, [CPO, second])
        async with iop, cpo.platform:
            await register(iop, cpo.platform, "cpo")
            assert await iop.pull_locations("cpo") == Pulled(locations=5, pages=2)
            assert len(iop.locations()) == 5

    async def test_down(self) -> None:
        """A CPO that cannot be reached is an error, not an empty pull."""
        async with a_scene() as scene:
            scene.network.down.add("cpo")
            with pytest.raises(NoAnswer):
                await scene.iop.pull_locations("cpo")


async def test_what_it_holds() -> None:
    """Locations, sessions and CDRs that CPOs sent can be looked at, under the CPOs' own ids."""
    async with a_scene() as scene:
        spot = scene.cpo.spot(CPO, "LOC1", "E1", "1")
        session = await scene.cpo.begin(spot, CARD, v221.AuthMethod.AUTH_REQUEST, None)
        cdr = await scene.cpo.finish(session.id)
        await scene.settled()
        assert [one.id for one in scene.iop.locations()] == ["LOC1"]
        assert [one.id for one in scene.iop.sessions()] == [session.id]
        assert scene.iop.cdrs() == [cdr]


async def test_as_documented() -> None:
    """IOP runs behind an HTTP server of its own, as its documentation shows, and reports every exchange."""
    exchanged: list[Exchanged] = []
    port = free_port()
    iop = Simulator(public_url=f"http://127.0.0.1:{port}/ocpi", on_exchange=exchanged.append)
    async with HttpServer(iop.platform.aiohttp_app(), port=port):
        token_a = await iop.invite("my-cpo")
        request = HttpRequest(
            method="GET",
            url=iop.versions_url,
            headers=CIMultiDict(Authorization=authorization(token_a, TokenEncoding.BASE64)),
        )
        transport = AiohttpTransport(UrlPolicy(allow_http_loopback=True))
        response = await transport.send(request, timeout=5)
        await transport.close()
    assert response.status == 200
    assert [(one.direction, one.partner, one.operation) for one in exchanged] == [
        ("in", "my-cpo", "VersionsInterface.get_versions")
    ]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
