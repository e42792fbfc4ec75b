from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import PartyId, v221
from ocpi_gireve._model import replaced
from ocpi_gireve.errors import InvalidObject, UnknownLocation
from ocpi_gireve.simulator.cpo import cdr_location, spots
from tests.simulator.scene import CARD, CPO, a_cpo, a_scene
from tests.support import Network, a_connector, a_location, an_evse

TWO = a_location(evses=[an_evse(), an_evse(uid="E2", connectors=[a_connector(), a_connector(id="2")])])


class TestSpots:
    def test_removed(self) -> None:
        """At an EVSE that is REMOVED nobody charges."""
        gone = a_location(evses=[an_evse(status=v221.Status.REMOVED), an_evse(uid="E2")])
        assert [spot.evse.uid for spot in spots([gone])] == ["E2"]

    def test_found(self) -> None:
        """A command names location, EVSE and connector, or leaves the choice to the CPO."""
        cpo = a_cpo(Network(), [TWO])
        assert cpo.spot(CPO, "loc1", "e2", "2").connector.id == "2"
        assert cpo.spot(None, "LOC1", "E2", None).connector.id == "1"
        assert cpo.spot(CPO, "LOC1", None, None).evse.uid == "E1"

    @pytest.mark.parametrize(
        ("party", "location", "evse"),
        [(CPO, "LOC2", None), (CPO, "LOC1", "E9"), (PartyId("FR", "XXX"), "LOC1", "E1")],
    )
    def test_not_found(self, party: PartyId, location: str, evse: str | None) -> None:
        """A place that is not there, or belongs to another CPO, is an unknown location."""
        with pytest.raises(UnknownLocation):
            a_cpo(Network(), [TWO]).spot(party, location, evse, None)


class TestCdrLocation:
    def test_long_texts(self) -> None:
        """Texts are cut to what a CDR holds, and what cannot be printed is left out."""
        spot = spots([a_location()])[0]
        wild = replaced(spot.location, {"name": "n" * 300, "address": "1\n" + "a" * 99, "city": "c" * 99})
        made = cdr_location(evolve(spot, location=wild))
        assert made.name == "n" * 255
        assert (made.address, made.city) == ("1 " + "a" * 43, "c" * 45)

    def test_no_evse_id(self) -> None:
        """Where the feed has no evse_id, the CDR says so."""
        spot = spots([a_location(evses=[an_evse(evse_id=None)])])[0]
        assert cdr_location(spot).evse_id == "#NA"

    def test_wrong_id(self) -> None:
        """An id is not cut: a CDR that names another place would be wrong."""
        spot = spots([a_location()])[0]
        with pytest.raises(InvalidObject):
            cdr_location(evolve(spot, location=replaced(spot.location, {"id": "x" * 40})))


class TestCharging:
    async def test_session_and_cdr(self) -> None:
        """A charge is one session, one CDR, and an EVSE that is free again; nothing lies in the future."""
        async with a_scene() as scene:
            spot = scene.cpo.spot(CPO, "LOC1", "E1", "1")
            session = await scene.cpo.begin(spot, CARD, v221.AuthMethod.AUTH_REQUEST, "ref")
            assert scene.cpo.locations.evse(spot.ref).status is v221.Status.CHARGING
            cdr = await scene.cpo.finish(session.id)
            await scene.settled()
            assert scene.cpo.locations.evse(spot.ref).status is v221.Status.AVAILABLE
            assert (cdr.total_energy, cdr.total_cost.excl_vat) == (Decimal("12.500"), Decimal("5.0000"))
            assert cdr.end_date_time <= cdr.last_updated
            dimensions = {one.type for period in cdr.charging_periods for one in period.dimensions}
            assert v221.CdrDimensionType.TIME in dimensions
            assert scene.emsp.cdrs.known()[0].id == cdr.id
            assert scene.cpo.active == {}

    async def test_reserved(self) -> None:
        """An EVSE is reserved once, and is taken until its session has ended."""
        async with a_scene() as scene:
            spot = scene.cpo.spot(CPO, "LOC1", "E1", "1")
            assert scene.cpo.reserve(spot)
            assert not scene.cpo.reserve(spot)
            session = await scene.cpo.begin(spot, CARD, v221.AuthMethod.COMMAND, None)
            assert not scene.cpo.reserve(spot)
            await scene.cpo.finish(session.id)
            assert scene.cpo.reserve(spot)
