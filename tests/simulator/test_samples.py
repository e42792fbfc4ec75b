from __future__ import annotations

from ocpi_gireve.receivers import LocationBook
from ocpi_gireve.simulator.cpo import spots
from ocpi_gireve.simulator.samples import drivers, locations


def test_locations() -> None:
    """There are as many as asked for, all different, all with a place to charge, and the same every time."""
    made = locations(120, "DE", "ABC")
    assert len(LocationBook(made)) == 120
    assert {spot.location.id for spot in spots(made)} == {location.id for location in made}
    assert all((evse.evse_id or "").startswith("DE*ABC*E") for location in made for evse in location.evses)
    assert made == locations(120, "DE", "ABC")


def test_drivers() -> None:
    """One driver may charge and one may not."""
    assert [token.valid for token in drivers("DE", "EMP")] == [True, False]
