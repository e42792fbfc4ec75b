from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import convert, v211, v221
from ocpi_gireve._model import Extra
from ocpi_gireve.convert import NotConvertible
from tests.convert.samples import CDR, CONNECTOR, CPO, EVSE, LOCATION, TARIFF, lost, with_
from tests.support import NOW, a_cdr, a_location, a_token, an_evse

TOKEN = convert.cdr_token(a_token())


def test_to_221() -> None:
    """A CDR has the ids, the address and the connector of its place, a CdrToken and a Price."""
    there = convert.cdr_to_221(CDR, CPO, token=TOKEN)
    cdr = there.value
    expected = a_cdr()
    assert cdr.cdr_location == evolve(expected.cdr_location, name="Gare", postal_code="69003")
    assert cdr.cdr_token == expected.cdr_token
    assert cdr.total_cost == v221.Price(excl_vat=Decimal("4.00"))
    assert (cdr.end_date_time, cdr.authorization_reference) == (NOW, "AUTH1")
    assert cdr.tariffs == [convert.tariff_to_221(TARIFF, CPO).value]
    assert {code for _, code in lost(there)} == {"no-field"}
    assert ("/location/evses/0/connectors/0/voltage", "no-field") in lost(there)


def test_there_and_back() -> None:
    """With its Location, a CDR finds back to what it was."""
    there = convert.cdr_to_221(CDR, CPO, token=TOKEN).value
    assert convert.cdr_to_211(there, location=a_location()).value == CDR


def test_to_211() -> None:
    """Without its Location, what 2.1.1 requires beyond the CDR is assumed and reported."""
    back = convert.cdr_to_211(a_cdr())
    location = back.value.location
    assert location == v211.Location(
        id="LOC1",
        type=v211.LocationType.UNKNOWN,
        address="1 place de la Gare",
        city="Lyon",
        postal_code="",
        country="FRA",
        coordinates=LOCATION.coordinates,
        evses=[
            v211.EVSE(
                uid="E1",
                evse_id="FR*CPO*E1",
                status=v211.Status.UNKNOWN,
                connectors=[evolve(CONNECTOR, voltage=0, amperage=0, tariff_id=None)],
                last_updated=NOW,
            )
        ],
        last_updated=NOW,
    )
    assert [pointer for pointer, code in lost(back) if code == "assumed"] == [
        "/location/type",
        "/location/last_updated",
        "/location/evses/0/status",
        "/location/evses/0/last_updated",
        "/location/evses/0/connectors/0/voltage",
        "/location/evses/0/connectors/0/amperage",
        "/location/evses/0/connectors/0/last_updated",
        "/location/postal_code",
    ]
    assert ("/session_id", "no-field") in lost(back)
    assert ("/total_cost/incl_vat", "no-field") in lost(back)


def test_cdr_comes_first() -> None:
    """What the CDR says of its place comes before the Location as it is now."""
    location = a_location(name="Renamed", address="elsewhere", time_zone="Europe/Paris")
    cdr = a_cdr()
    place = evolve(cdr.cdr_location, name="Gare", connector_standard=v221.ConnectorType.CHADEMO)
    back = convert.cdr_to_211(evolve(cdr, cdr_location=place), location=location)
    assert (back.value.location.name, back.value.location.address) == ("Gare", "1 place de la Gare")
    assert back.value.location.time_zone == "Europe/Paris"
    connector = back.value.location.evses[0].connectors[0]
    assert (connector.standard, connector.voltage) == (v211.ConnectorType.CHADEMO, 230)


def test_removed_evse() -> None:
    """An EVSE that the Location no longer has does not hold back a CDR."""
    back = convert.cdr_to_211(a_cdr(), location=a_location(evses=[an_evse(uid="E2")]))
    assert back.value.location.time_zone == "Europe/Paris"
    assert back.value.location.evses[0].uid == "E1"
    assert ("/location/evses/0/status", "assumed") in lost(back)
    assert ("/location/type", "assumed") not in lost(back)


def test_other_location() -> None:
    """Another Location is refused."""
    with pytest.raises(NotConvertible, match="CDR not converted: /cdr_location/id"):
        convert.cdr_to_211(a_cdr(), location=a_location(id="LOC2"))


def test_credit() -> None:
    """A credit CDR has no 2.1.1 form: it would be billed once more."""
    with pytest.raises(NotConvertible, match="CDR not converted: /credit"):
        convert.cdr_to_211(a_cdr(credit=True, credit_reference_id="CDR0"))


def test_no_evse_id() -> None:
    """An EVSE without an evse_id has `#NA` in 2.2.1, and the other way round."""
    cdr = evolve(CDR, location=evolve(LOCATION, evses=[evolve(EVSE, evse_id=None)]))
    there = convert.cdr_to_221(cdr, CPO, token=TOKEN).value
    assert there.cdr_location.evse_id == "#NA"
    assert convert.cdr_to_211(there, location=a_location()).value == cdr


@pytest.mark.parametrize("evses", [[], [with_(EVSE, {"connectors": []})]])
def test_no_connector(evses: list[v211.EVSE]) -> None:
    """A CDR without a connector has no 2.2.1 form."""
    with pytest.raises(NotConvertible, match="CDR not converted: /location/evses"):
        convert.cdr_to_221(with_(CDR, {"location": with_(LOCATION, {"evses": evses})}), CPO, token=TOKEN)


def test_other_places() -> None:
    """Only the first EVSE and its first connector are the CDR's; unknown properties of them are named."""
    connector = with_(CONNECTOR, {"extra": Extra({"c": 1})})
    evse = evolve(EVSE, connectors=[connector, evolve(CONNECTOR, id="2")], coordinates=LOCATION.coordinates)
    evses = [with_(evse, {"extra": Extra({"e": 1})}), evolve(EVSE, uid="E2")]
    cdr = evolve(CDR, location=with_(LOCATION, {"evses": evses, "extra": Extra({"l": 1})}))
    there = convert.cdr_to_221(cdr, CPO, token=TOKEN)
    assert there.value.cdr_location.extra == {"l": 1}
    assert {
        "/location/evses/0/e",
        "/location/evses/0/coordinates",
        "/location/evses/0/connectors/0/c",
        "/location/evses/0/connectors/1",
        "/location/evses/1",
    } <= {pointer for pointer, _ in lost(there)}


def test_flat() -> None:
    """`FLAT` is left out of a CDR of 2.2.1, unless a period has nothing else."""
    flat = v211.CdrDimension(type=v211.CdrDimensionType.FLAT, volume=Decimal(1))
    energy = CDR.charging_periods[0].dimensions[0]
    periods = [
        v211.ChargingPeriod(start_date_time=NOW, dimensions=[flat, energy]),
        v211.ChargingPeriod(start_date_time=NOW, dimensions=[flat]),
    ]
    there = convert.cdr_to_221(evolve(CDR, charging_periods=periods), CPO, token=TOKEN)
    assert [[one.type for one in period.dimensions] for period in there.value.charging_periods] == [
        ["ENERGY"],
        ["FLAT"],
    ]
    assert ("/charging_periods/0/dimensions/0/type", "no-value") in lost(there)
    assert ("/charging_periods/1/dimensions/0/type", "enum") in lost(there)


def test_dimensions_of_221() -> None:
    """The dimensions that 2.2.1 added are left out, and so is the tariff of a period."""
    power = v221.CdrDimension(type=v221.CdrDimensionType.MAX_POWER, volume=Decimal(11))
    energy = a_cdr().charging_periods[0].dimensions[0]
    period = v221.ChargingPeriod(start_date_time=NOW, dimensions=[energy, power], tariff_id="T1")
    back = convert.cdr_to_211(a_cdr(charging_periods=[period]))
    assert [one.type for one in back.value.charging_periods[0].dimensions] == ["ENERGY"]
    assert ("/charging_periods/0/dimensions/1/type", "no-value") in lost(back)
    assert ("/charging_periods/0/tariff_id", "no-field") in lost(back)


def test_tariffs() -> None:
    """The tariffs of a CDR are a record: their owner is the CDR's, or said, and none is refused."""
    own = evolve(convert.tariff_to_221(TARIFF, CPO).value, type=v221.TariffType.AD_HOC_PAYMENT)
    foreign = evolve(own, party_id="XYZ")
    component = own.elements[0].price_components
    limits = v221.TariffRestrictions(reservation=v221.ReservationRestrictionType.RESERVATION)
    reserved = evolve(own, elements=[v221.TariffElement(price_components=component, restrictions=limits)])
    cdr = a_cdr(tariffs=[own, foreign, reserved])
    back = convert.cdr_to_211(cdr)
    assert back.value.tariffs == [TARIFF, evolve(TARIFF, country_code="FR", party_id="XYZ")]
    assert ("/tariffs/2", "condition") in lost(back)
    said = convert.cdr_to_211(cdr, as_iop=True)
    assert [tariff.party_id for tariff in said.value.tariffs] == ["CPO", "XYZ"]


def test_tariffs_with_a_restriction() -> None:
    """A tariff in a CDR is not refused for GIREVE's restriction, which is reported."""
    tariff = evolve(TARIFF, restriction=v211.TariffRestriction(start_time="08:00"))
    there = convert.cdr_to_221(evolve(CDR, tariffs=[tariff]), CPO, token=TOKEN)
    assert ("/tariffs/0/restriction", "no-field") in lost(there)


def test_signed_data() -> None:
    """Signed meter values, GIREVE's in 2.1.1, are carried byte for byte."""
    value = v211.SignedValue(nature="Start", plain_data="{ }", signed_data="AAAA==")
    cdr = evolve(CDR, signed_data=v211.SignedData(encoding_method="OCMF", signed_values=[value]))
    there = convert.cdr_to_221(cdr, CPO, token=TOKEN).value
    assert there.signed_data is not None
    assert there.signed_data.signed_values[0].plain_data == "{ }"
    assert convert.cdr_to_211(there, location=a_location()).value == cdr


def test_cdr_token() -> None:
    """The CdrToken of a Token is its first part."""
    assert a_cdr().cdr_token == TOKEN
