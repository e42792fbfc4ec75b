from __future__ import annotations

import csv
import io

from attrs import asdict, fields

from ocpi_gireve import PartyId, v211, v221
from ocpi_gireve.receivers import EvseRow, KeptLocations
from ocpi_gireve.receivers import v211 as old
from ocpi_gireve.receivers.rows import rows_of
from tests.receivers.objects import CTX, IOP, LATER, OLD, a_store, old_location
from tests.support import CPO, NOW, a_connector, a_location, an_evse


def test_row() -> None:
    """An EVSE is one flat row, with its location's name and place and its connectors in words."""
    plugs = [a_connector(), a_connector(id="2", standard=v221.ConnectorType.DOMESTIC_E)]
    (row,) = rows_of(CPO, a_location(evses=[an_evse(connectors=plugs, physical_reference="7")]))
    assert row == EvseRow(
        country_code="FR",
        party_id="CPO",
        location_id="LOC1",
        name="Gare",
        address="1 place de la Gare",
        postal_code="69003",
        city="Lyon",
        country="FRA",
        evse_uid="E1",
        evse_id="FR*CPO*E1",
        status="AVAILABLE",
        physical_reference="7",
        latitude="45.760560",
        longitude="4.859437",
        connectors="1 IEC_62196_T2, 2 DOMESTIC_E",
        last_updated=NOW,
    )


def test_own_place() -> None:
    """An EVSE with a position of its own is there, and not where its location is."""
    there = v221.GeoLocation(latitude="45.000001", longitude="4.000001")
    (row,) = rows_of(CPO, a_location(evses=[an_evse(coordinates=there)]))
    assert (row.latitude, row.longitude) == ("45.000001", "4.000001")


async def test_table() -> None:
    """The rows of all EVSEs, in both versions, fit into one table, an unknown status included."""
    async with a_store() as store:
        new, before = KeptLocations(store), old.KeptLocations(store)
        raw = v221.encode(a_location(evses=[an_evse(), an_evse(uid="E2")]))
        location = v221.decode(raw.replace(b"AVAILABLE", b"DREAMING", 1), v221.Location)
        await new.put_location(CTX, v221.LocationRef("FR", "CPO", "LOC1"), location)
        await before.put_location(OLD, v211.LocationRef("FR", "CPO", "LOC2"), old_location(id="LOC2"))
        written = io.StringIO()
        table = csv.DictWriter(written, [field.name for field in fields(EvseRow)])
        for kept in (new, before):
            async for row in kept.rows(IOP):
                table.writerow(asdict(row))
        lines = written.getvalue().splitlines()
        assert [line.split(",")[:3] for line in lines] == [
            ["FR", "CPO", "LOC1"],
            ["FR", "CPO", "LOC1"],
            ["FR", "CPO", "LOC2"],
        ]
        assert "DREAMING" in lines[0]


async def test_changed_since() -> None:
    """Those rows can be had whose location changed since a moment, of one owner."""
    async with a_store() as store:
        kept = KeptLocations(store)
        for number, moment in enumerate((NOW, LATER)):
            location = a_location(id=f"LOC{number}", last_updated=moment)
            await kept.put_location(CTX, v221.LocationRef("FR", "CPO", location.id), location)
        assert [row.location_id async for row in kept.rows(IOP, CPO, changed_since=LATER)] == ["LOC1"]
        assert [row async for row in kept.rows(IOP, PartyId("FR", "ABC"))] == []
