from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import PartyId, Patch, convert, v211, v221
from ocpi_gireve._model import Extra
from ocpi_gireve.convert import NotConvertible
from ocpi_gireve.types import Json
from tests.convert.samples import CONNECTOR, CPO, EVSE, LOCATION, lost, with_
from tests.support import NOW, a_connector, a_location, an_evse


def test_location() -> None:
    """A Location of one version is that of the other, and nothing is lost."""
    there = convert.location_to_221(LOCATION, CPO)
    assert there.value == a_location()
    assert there.losses == ()
    back = convert.location_to_211(a_location())
    assert back.value == LOCATION
    assert back.losses == ()


def test_evse_and_connector() -> None:
    """An EVSE and a Connector are converted by themselves, too."""
    assert convert.evse_to_221(EVSE).value == an_evse()
    assert convert.evse_to_211(an_evse()).value == EVSE
    assert convert.connector_to_221(CONNECTOR).value == a_connector()
    assert convert.connector_to_211(a_connector()).value == CONNECTOR


def test_time_zone() -> None:
    """2.2.1 requires a time zone: without one, the caller's is used and reported."""
    location = evolve(LOCATION, time_zone=None)
    there = convert.location_to_221(location, CPO, time_zone="Europe/Brussels")
    assert there.value.time_zone == "Europe/Brussels"
    assert lost(there) == [("/time_zone", "assumed")]
    assert convert.location_to_221(location, CPO).value.time_zone == "UTC"


@pytest.mark.parametrize(
    ("kind", "parking", "losses"),
    [
        ("UNKNOWN", None, []),
        ("OTHER", None, [("/type", "no-value")]),
        ("ON_STREET", "ON_STREET", []),
        ("UNDERGROUND_GARAGE", "UNDERGROUND_GARAGE", []),
    ],
)
def test_parking_type(kind: str, parking: str | None, losses: list[tuple[str, str]]) -> None:
    """`UNKNOWN` is an absent parking type; `OTHER` has no counterpart."""
    there = convert.location_to_221(evolve(LOCATION, type=v211.LocationType(kind)), CPO)
    assert there.value.parking_type == parking
    assert lost(there) == losses


@pytest.mark.parametrize("parking", ["ALONG_MOTORWAY", "ON_DRIVEWAY"])
def test_location_type(parking: str) -> None:
    """A parking type that 2.1.1 does not know is `OTHER`."""
    back = convert.location_to_211(a_location(parking_type=v221.ParkingType(parking)))
    assert back.value.type is v211.LocationType.OTHER
    assert lost(back) == [("/parking_type", "replaced")]


def test_not_published() -> None:
    """A Location that must not be shown has no 2.1.1 form, and neither has the change that hides it."""
    with pytest.raises(NotConvertible, match=r"^Location not converted: /publish: 2\.1\.1 cannot"):
        convert.location_to_211(a_location(publish=False))
    with pytest.raises(NotConvertible, match=r"Patch\[Location\]"):
        convert.location_patch_to_211(Patch(v221.Location, {"publish": False}))


def test_no_field() -> None:
    """What 2.1.1 has no field for is left out, and each is named."""
    connector = a_connector(max_electric_power=11000, tariff_ids=["T1", "T2", "T3"])
    location = a_location(
        state="ARA",
        evses=[an_evse(connectors=[connector])],
        publish_allowed_to=[v221.PublishTokenType(group_id="G")],
    )
    back = convert.location_to_211(location)
    assert back.value == LOCATION
    assert lost(back) == [
        ("/publish_allowed_to", "no-field"),
        ("/state", "no-field"),
        ("/evses/0/connectors/0/max_electric_power", "no-field"),
        ("/evses/0/connectors/0/tariff_ids/1", "no-field"),
        ("/evses/0/connectors/0/tariff_ids/2", "no-field"),
    ]


def test_enum_values() -> None:
    """A value that 2.1.1 lacks is left out of a list, replaced by its nearest, or carried as it is."""
    connector = a_connector(standard=v221.ConnectorType.GBT_DC, power_type=v221.PowerType.AC_2_PHASE)
    capabilities = [v221.Capability.CHIP_CARD_SUPPORT, v221.Capability.RFID_READER]
    back = convert.evse_to_211(an_evse(capabilities=capabilities, connectors=[connector]))
    assert back.value.capabilities == [v211.Capability.RFID_READER]
    assert back.value.connectors[0].standard == "GBT_DC"
    assert back.value.connectors[0].power_type is v211.PowerType.AC_1_PHASE
    assert lost(back) == [
        ("/capabilities/0", "no-value"),
        ("/connectors/0/standard", "enum"),
        ("/connectors/0/power_type", "replaced"),
    ]


def test_newer_value() -> None:
    """A value that neither version knows stays as text, and is known where the other version knows it."""
    capabilities = [v211.Capability("TELEPATHY"), v211.Capability("CHIP_CARD_SUPPORT")]
    there = convert.evse_to_221(with_(EVSE, {"capabilities": capabilities}))
    assert there.value.capabilities == ["TELEPATHY", v221.Capability.CHIP_CARD_SUPPORT]
    assert lost(there) == [("/capabilities/0", "enum")]


@pytest.mark.parametrize(
    ("written", "carried", "losses"),
    [
        ("45.760560", "45.760560", []),
        ("45.76056", "45.760560", ["precision"]),
        ("-5.7605614", "-5.760561", ["precision"]),
        ("somewhere", "somewhere", ["regex"]),
    ],
)
def test_coordinates(written: str, carried: str, losses: list[str]) -> None:
    """2.1.1 writes six decimals: others are rewritten, and what is no position is carried as it is."""
    place = with_(v221.GeoLocation(latitude="1.123456", longitude="1.123456"), {"latitude": written})
    back = convert.evse_to_211(an_evse(coordinates=place))
    assert back.value.coordinates is not None
    assert back.value.coordinates.latitude == carried
    assert [loss.code for loss in back.losses] == losses


def test_postal_code() -> None:
    """2.1.1 requires a postal code: an empty one says that there is none."""
    back = convert.location_to_211(a_location(postal_code=None))
    assert back.value.postal_code == ""
    assert lost(back) == [("/postal_code", "assumed")]


def test_too_long() -> None:
    """A text that is too long, or no CiString, goes on as it is, and is reported."""
    there = convert.location_to_221(evolve(LOCATION, id="é" + "x" * 38), CPO)
    assert there.value.id == "é" + "x" * 38
    assert lost(there) == [("/id", "max-length")]
    back = convert.location_to_211(a_location(address="x" * 60))
    assert back.value.address == "x" * 60
    assert str(back.losses[0]) == (
        "/address: 2.1.1: expected at most 45 characters, found 60; carried as it is"
    )


def test_owner_that_does_not_fit() -> None:
    """An owner that breaks 2.2.1 is reported like any other value."""
    assert lost(convert.location_to_221(LOCATION, PartyId("FRA", "CPO"))) == [("/country_code", "max-length")]


def test_no_connectors() -> None:
    """A partner's EVSE without connectors is converted, and reported."""
    there = convert.evse_to_221(with_(EVSE, {"connectors": []}))
    assert there.value.connectors == []
    assert lost(there) == [("/connectors", "empty")]


def test_energy_mix() -> None:
    """The kind of an impact is `source` in 2.1.1 and `category` in 2.2.1."""
    impact = v211.EnvironmentalImpact(
        source=v211.EnvironmentalImpactCategory.CARBON_DIOXIDE, amount=Decimal("1.50")
    )
    mix = v211.EnergyMix(is_green_energy=False, environ_impact=[impact])
    there = convert.location_to_221(evolve(LOCATION, energy_mix=mix), CPO)
    assert there.value.energy_mix == v221.EnergyMix(
        is_green_energy=False,
        environ_impact=[
            v221.EnvironmentalImpact(
                category=v221.EnvironmentalImpactCategory.CARBON_DIOXIDE, amount=Decimal("1.50")
            )
        ],
    )
    assert convert.location_to_211(there.value).value.energy_mix == mix


def test_hours() -> None:
    """2.1.1 may leave out `twentyfourseven`; 2.2.1 must say that it is not so."""
    hours = v211.Hours(regular_hours=[v211.RegularHours(weekday=1, period_begin="08:00", period_end="20:00")])
    there = convert.location_to_221(evolve(LOCATION, opening_times=hours), CPO)
    assert there.value.opening_times is not None
    assert there.value.opening_times.twentyfourseven is False
    assert lost(there) == [("/opening_times/twentyfourseven", "assumed")]


def test_iop_ids_to_211() -> None:
    """As IOP does, its ids and the owner's name go to a 2.1.1 eMSP, and the first connector's tariffs."""
    connectors = [
        a_connector(gireve_id="GC1"),
        a_connector(id="2", tariff_ids=["T9"]),
    ]
    location = a_location(gireve_id="G1", evses=[an_evse(gireve_id="GE1", connectors=connectors)])
    back = convert.location_to_211(location, as_iop=True)
    evse = back.value.evses[0]
    assert (back.value.id, evse.uid, [one.id for one in evse.connectors]) == ("G1", "GE1", ["GC1", "2"])
    assert [one.tariff_id for one in evse.connectors] == ["T1", "T1"]
    assert back.value.operator == v211.BusinessDetails(name="FR*CPO")
    assert convert.cpo_of(back.value) == CPO
    assert lost(back) == [
        ("/operator/name", "assumed"),
        ("/evses/0/uid", "replaced"),
        ("/evses/0/connectors/0/id", "replaced"),
        ("/evses/0/connectors/1/tariff_ids", "replaced"),
        ("/id", "replaced"),
    ]
    assert convert.evse_to_211(location.evses[0], as_iop=True).value == evse
    assert convert.connector_to_211(connectors[0], as_iop=True).value.id == "GC1"


def test_iop_operator() -> None:
    """As IOP does, the operator's name is replaced, and the rest of it stays."""
    operator = v221.BusinessDetails(name="Volt & Co", website="https://volt.example.com")
    back = convert.location_to_211(a_location(operator=operator), as_iop=True)
    assert back.value.operator == v211.BusinessDetails(name="FR*CPO", website="https://volt.example.com")
    assert lost(back) == [("/operator/name", "replaced")]


def test_iop_ids_to_221() -> None:
    """The ids of a Location from IOP are its `gireve_id`s, and the way back finds them again."""
    there = convert.location_to_221(LOCATION, CPO, as_iop=True)
    evse = there.value.evses[0]
    assert (there.value.gireve_id, evse.gireve_id, evse.connectors[0].gireve_id) == ("LOC1", "E1", "1")
    back = convert.location_to_211(there.value, as_iop=True)
    assert evolve(back.value, operator=None) == LOCATION
    assert convert.evse_to_221(EVSE, as_iop=True).value == evse
    assert convert.connector_to_221(CONNECTOR, as_iop=True).value == evse.connectors[0]


def test_extra() -> None:
    """Unknown properties go on at their level, the same mapping."""
    location = with_(
        LOCATION, {"extra": Extra({"x": 1}), "evses": [with_(EVSE, {"extra": Extra({"y": [None]})})]}
    )
    there = convert.location_to_221(location, CPO)
    assert there.value.extra is location.extra
    assert there.value.evses[0].extra == {"y": [None]}
    assert there.losses == ()


def test_extra_of_the_other_version() -> None:
    """An unknown property that the other version knows becomes its field, where it fits and is free."""
    strange: dict[str, Json] = {"publish": False, "parking_type": 5, "party_id": "XYZ", "x": 1}
    location = with_(LOCATION, {"type": v211.LocationType.ON_STREET, "extra": Extra(strange)})
    there = convert.location_to_221(location, CPO)
    assert there.value.publish is False
    assert there.value.parking_type is v221.ParkingType.ON_STREET
    assert there.value.party_id == "CPO"
    assert there.value.extra == {"x": 1}
    assert lost(there) == [("/publish", "extra"), ("/parking_type", "extra"), ("/party_id", "extra")]


def test_unreadable_extra() -> None:
    """An unknown property that is not what the other version means by its name is not carried."""
    there = convert.evse_to_221(with_(EVSE, {"extra": Extra({"gireve_id": {"id": 5}})}))
    assert there.value.gireve_id is None
    assert [loss.message for loss in there.losses] == ["not carried: not what 2.2.1 has of that name"]


def test_status_patch() -> None:
    """A change of status is converted both ways."""
    changes = {"status": "CHARGING", "last_updated": NOW}
    there = convert.evse_patch_to_221(Patch(v211.EVSE, changes))
    assert there.value == Patch(v221.EVSE, changes)
    assert convert.evse_patch_to_211(there.value).value == Patch(v211.EVSE, changes)


def test_connector_patch() -> None:
    """A change of tariffs is converted both ways, with what cannot be carried; no tariff is none."""
    there = convert.connector_patch_to_221(Patch(v211.Connector, {"tariff_id": "T1", "voltage": 400}))
    assert there.value == Patch(v221.Connector, {"tariff_ids": ["T1"], "max_voltage": 400})
    back = convert.connector_patch_to_211(Patch(v221.Connector, {"tariff_ids": ["T1", "T2"]}))
    assert back.value == Patch(v211.Connector, {"tariff_id": "T1"})
    assert lost(back) == [("/tariff_ids/1", "no-field")]
    removed = convert.connector_patch_to_221(Patch(v211.Connector, {"tariff_id": None}))
    assert removed.value == Patch(v221.Connector, {"tariff_ids": []})
    none = convert.connector_patch_to_211(Patch(v221.Connector, {"tariff_ids": []}))
    assert none.value == Patch(v211.Connector, {"tariff_id": None})


def test_location_patch() -> None:
    """A change of some fields assumes nothing about the others."""
    there = convert.location_patch_to_221(
        Patch(v211.Location, {"type": "UNKNOWN", "evses": [EVSE]}, {"x": 1})
    )
    assert there.value == Patch(v221.Location, {"parking_type": None, "evses": [an_evse()]}, {"x": 1})
    assert there.losses == ()
    back = convert.location_patch_to_211(Patch(v221.Location, {"postal_code": None, "publish": True}))
    assert back.value == Patch(v211.Location, {})
    assert lost(back) == [("/postal_code", "no-value")]


def test_business_details() -> None:
    """A company's details are the same in both versions."""
    logo = v211.Image(
        url="https://x.example/l.png", category=v211.ImageCategory.OPERATOR, type="png", width=9
    )
    details = v211.BusinessDetails(name="Volt & Co", logo=logo)
    there = convert.business_details_to_221(details)
    assert there.value.logo is not None
    assert there.value.logo.width == 9
    assert convert.business_details_to_211(there.value).value == details
