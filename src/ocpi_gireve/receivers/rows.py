"""EVSEs as rows of a table, whatever the version of OCPI; knows no file format."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from attrs import frozen

from .. import v211, v221
from ..types import PartyId


@frozen(kw_only=True)
class EvseRow:
    """One EVSE beside what is to know of its location: `attrs.asdict` makes a flat dict of it.

    Attributes:
        country_code: Country of the CPO.
        party_id: Id of the CPO.
        latitude: Of the EVSE, or else of the location; decimal degrees, as text.
        longitude: As `latitude`.
        connectors: Id and standard of each, such as ``1 IEC_62196_T2, 2 DOMESTIC_E``.
        last_updated: Of the EVSE.
    """

    country_code: str
    party_id: str
    location_id: str
    name: str | None
    address: str
    postal_code: str | None
    city: str
    country: str
    evse_uid: str
    evse_id: str | None
    status: str
    physical_reference: str | None
    latitude: str
    longitude: str
    connectors: str
    last_updated: datetime


def rows_of(owner: PartyId, location: v211.Location | v221.Location) -> Iterator[EvseRow]:
    """Yield a row for each EVSE of a location."""
    for evse in location.evses:
        place = evse.coordinates or location.coordinates
        yield EvseRow(
            country_code=owner.country_code,
            party_id=owner.party_id,
            location_id=location.id,
            name=location.name,
            address=location.address,
            postal_code=location.postal_code,
            city=location.city,
            country=location.country,
            evse_uid=evse.uid,
            evse_id=evse.evse_id,
            status=evse.status.value,
            physical_reference=evse.physical_reference,
            latitude=place.latitude,
            longitude=place.longitude,
            connectors=", ".join(f"{one.id} {one.standard}" for one in evse.connectors),
            last_updated=evse.last_updated,
        )
