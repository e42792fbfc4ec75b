"""Locations and drivers made up for a rehearsal; the same ones every time."""

from __future__ import annotations

from datetime import UTC, datetime

from ..v221 import (
    EVSE,
    BusinessDetails,
    Capability,
    Connector,
    ConnectorFormat,
    ConnectorType,
    GeoLocation,
    Location,
    PowerType,
    Status,
    Token,
    TokenType,
    WhitelistType,
)

_DAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
_STREETS = (
    "rue de la République",
    "place de la Gare",
    "avenue Jean Jaurès",
    "quai des Célestins",
    "cours Lafayette",
)
_CITIES = (("Lyon", "69002", "45.757814", "4.832011"), ("Nantes", "44000", "47.218371", "-1.553621"))


def locations(count: int, country_code: str = "FR", party_id: str = "CPO") -> list[Location]:
    """Make that many locations of a CPO, with one to three EVSEs each."""
    return [_location(number, country_code, party_id) for number in range(1, count + 1)]


def _location(number: int, country_code: str, party_id: str) -> Location:
    city, postal_code, latitude, longitude = _CITIES[number % len(_CITIES)]
    operator = BusinessDetails(name="Example CPO")
    return Location(
        country_code=country_code,
        party_id=party_id,
        id=f"LOC{number:04d}",
        publish=True,
        name=f"{city} {number}",
        address=f"{number} {_STREETS[number % len(_STREETS)]}",
        city=city,
        postal_code=postal_code,
        country="FRA",
        coordinates=GeoLocation(latitude=latitude, longitude=longitude),
        operator=operator,
        owner=operator,
        evses=[_evse(number, evse, f"{country_code}*{party_id}") for evse in range(1, number % 3 + 2)],
        time_zone="Europe/Paris",
        last_updated=_DAY,
    )


def _evse(location: int, number: int, operator: str) -> EVSE:
    return EVSE(
        uid=f"{location:04d}-{number}",
        evse_id=f"{operator}*E{location:04d}*{number}",
        status=Status.AVAILABLE,
        capabilities=[Capability.RFID_READER, Capability.REMOTE_START_STOP_CAPABLE],
        connectors=[
            Connector(
                id="1",
                standard=ConnectorType.IEC_62196_T2,
                format=ConnectorFormat.SOCKET,
                power_type=PowerType.AC_3_PHASE,
                max_voltage=230,
                max_amperage=32,
                tariff_ids=["STANDARD"],
                last_updated=_DAY,
            )
        ],
        last_updated=_DAY,
    )


def drivers(country_code: str = "FR", party_id: str = "EMP") -> list[Token]:
    """Make a valid and a blocked RFID token of an eMSP."""
    return [
        Token(
            country_code=country_code,
            party_id=party_id,
            uid=uid,
            type=TokenType.RFID,
            contract_id=f"{country_code}-{party_id}-C0000000{number}",
            issuer="Example eMSP",
            valid=valid,
            whitelist=WhitelistType.NEVER,
            last_updated=_DAY,
        )
        for number, (uid, valid) in enumerate((("04A1B2C3D4E5F6", True), ("04FFEE00", False)), start=1)
    ]
