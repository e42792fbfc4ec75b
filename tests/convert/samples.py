"""Objects of 2.1.1 for the tests of conversion, whose 2.2.1 forms are those of `tests.support`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

from ocpi_gireve import PartyId, v211
from ocpi_gireve._model import Model, replaced
from ocpi_gireve.convert import Converted
from tests.support import NOW

M = TypeVar("M", bound=Model)

CPO, EMSP = PartyId("FR", "CPO"), PartyId("FR", "EMP")


def with_(one: M, changes: Mapping[str, object]) -> M:
    """A copy with some fields set as they are, as a partner may send them."""
    return replaced(one, changes)


def lost(converted: Converted[object]) -> list[tuple[str, str]]:
    """Where and what was lost."""
    return [(loss.pointer, loss.code) for loss in converted.losses]


CONNECTOR = v211.Connector(
    id="1",
    standard=v211.ConnectorType.IEC_62196_T2,
    format=v211.ConnectorFormat.SOCKET,
    power_type=v211.PowerType.AC_3_PHASE,
    voltage=230,
    amperage=32,
    tariff_id="T1",
    last_updated=NOW,
)
EVSE = v211.EVSE(
    uid="E1",
    evse_id="FR*CPO*E1",
    status=v211.Status.AVAILABLE,
    capabilities=[v211.Capability.RFID_READER],
    connectors=[CONNECTOR],
    last_updated=NOW,
)
LOCATION = v211.Location(
    id="LOC1",
    type=v211.LocationType.UNKNOWN,
    name="Gare",
    address="1 place de la Gare",
    city="Lyon",
    postal_code="69003",
    country="FRA",
    coordinates=v211.GeoLocation(latitude="45.760560", longitude="4.859437"),
    evses=[EVSE],
    time_zone="Europe/Paris",
    last_updated=NOW,
)
TOKEN = v211.Token(
    uid="01020304050607",
    type=v211.TokenType.RFID,
    auth_id="FR-EMP-C00000001",
    issuer="Example EMP",
    valid=True,
    whitelist=v211.WhitelistType.NEVER,
    last_updated=NOW,
)
TARIFF = v211.Tariff(
    id="T1",
    currency="EUR",
    elements=[
        v211.TariffElement(
            price_components=[
                v211.PriceComponent(
                    type=v211.TariffDimensionType.SESSION_TIME, price=Decimal("0.1234"), step_size=60
                )
            ]
        )
    ],
    last_updated=NOW,
)
PERIOD = v211.ChargingPeriod(
    start_date_time=NOW,
    dimensions=[v211.CdrDimension(type=v211.CdrDimensionType.ENERGY, volume=Decimal("12.5"))],
)
SESSION = v211.Session(
    id="S1",
    start_datetime=NOW,
    kwh=Decimal("12.50"),
    auth_id="FR-EMP-C00000001",
    auth_method=v211.AuthMethod.AUTH_REQUEST,
    location=LOCATION,
    currency="EUR",
    charging_periods=[PERIOD],
    total_cost=Decimal("4.00"),
    status=v211.SessionStatus.ACTIVE,
    last_updated=NOW,
    authorization_id="AUTH1",
)
CDR = v211.CDR(
    id="CDR1",
    start_date_time=NOW,
    stop_date_time=NOW,
    auth_id="FR-EMP-C00000001",
    auth_method=v211.AuthMethod.AUTH_REQUEST,
    location=LOCATION,
    currency="EUR",
    tariffs=[TARIFF],
    charging_periods=[PERIOD],
    total_cost=Decimal("4.00"),
    total_energy=Decimal("12.5"),
    total_time=Decimal("0.5"),
    last_updated=NOW,
    authorization_id="AUTH1",
)
