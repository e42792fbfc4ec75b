from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import evolve

from ocpi_gireve import Context, PageQuery, v221
from ocpi_gireve.errors import UnknownLocation
from ocpi_gireve.simulator import locations as module
from ocpi_gireve.simulator.locations import ServedLocations, page_within
from ocpi_gireve.simulator.samples import locations
from tests.support import a_location

CTX = Context(partner="iop", version="2.2.1", request_id="r", correlation_id="c")


class Three(ServedLocations):
    """Serves three locations, each under a name of its own."""

    def visible(self, ctx: Context) -> Iterable[v221.Location]:
        return locations(3)

    def shown(self, location: v221.Location) -> v221.Location:
        return evolve(location, name=f"shown {location.id}")


class TestOne:
    async def test_found(self) -> None:
        """A location, EVSE or connector is found by its ids, whatever their case, and shown as told."""
        three = Three()
        location = await three.get_location(CTX, v221.OwnLocationRef("loc0002"))
        assert location.name == "shown LOC0002"
        evse = await three.get_evse(CTX, v221.OwnEvseRef("LOC0002", "0002-1"))
        assert evse == location.evses[0]
        connector = await three.get_connector(CTX, v221.OwnConnectorRef("LOC0002", "0002-1", "1"))
        assert connector == evse.connectors[0]

    async def test_not_found(self) -> None:
        """What is not there is an unknown location."""
        three = Three()
        with pytest.raises(UnknownLocation):
            await three.get_location(CTX, v221.OwnLocationRef("LOC9"))
        with pytest.raises(UnknownLocation):
            await three.get_evse(CTX, v221.OwnEvseRef("LOC0002", "9"))
        with pytest.raises(UnknownLocation):
            await three.get_connector(CTX, v221.OwnConnectorRef("LOC0002", "0002-1", "9"))


class TestPages:
    async def test_dates(self) -> None:
        """A pull with dates gets what changed between them."""
        day = locations(1)[0].last_updated
        assert len((await Three().list_locations(CTX, PageQuery(date_from=day))).items) == 3
        assert (await Three().list_locations(CTX, PageQuery(date_to=day))).total == 0

    def test_huge_locations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page of huge locations holds fewer, so that its answer is not too long; one always goes."""
        monkeypatch.setattr(module, "MAX_PAGE_BYTES", 2500)
        made = locations(100)
        page = page_within(made, PageQuery(limit=100), lambda one: one)
        assert 1 <= len(page.items) < 10
        assert page.total == 100
        monkeypatch.setattr(module, "MAX_PAGE_BYTES", 1)
        assert page_within(made, PageQuery(offset=99, limit=10), lambda one: one).items == made[99:]
        assert page_within(made, PageQuery(limit=10), lambda one: one).items == made[:1]

    def test_empty(self) -> None:
        """There may be nothing."""
        page = page_within([], PageQuery(limit=10), lambda _: a_location())
        assert (list(page.items), page.total) == ([], 0)
