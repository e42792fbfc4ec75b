from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import PartyId, convert, v211, v221
from ocpi_gireve.convert import NotConvertible
from tests.convert.samples import CPO, TARIFF, lost
from tests.support import NOW


def an_element(**restrictions: Decimal | v221.ReservationRestrictionType | None) -> v221.TariffElement:
    """An element of 2.2.1 that costs 0.25 per kWh, restricted by current or to reservations."""
    component = v221.PriceComponent(type=v221.TariffDimensionType.ENERGY, price=Decimal("0.25"), step_size=1)
    current, reservation = restrictions.get("min_current"), restrictions.get("reservation")
    assert current is None or isinstance(current, Decimal)
    assert reservation is None or isinstance(reservation, v221.ReservationRestrictionType)
    limits = v221.TariffRestrictions(min_current=current, reservation=reservation)
    return v221.TariffElement(price_components=[component], restrictions=limits if restrictions else None)


def a_tariff() -> v221.Tariff:
    """The Tariff of `samples` in 2.2.1."""
    return convert.tariff_to_221(TARIFF, CPO).value


def test_tariff() -> None:
    """A Tariff is that of its owner, with GIREVE's SESSION_TIME and every digit of its prices."""
    there = convert.tariff_to_221(TARIFF, CPO)
    component = there.value.elements[0].price_components[0]
    assert (there.value.country_code, there.value.party_id) == ("FR", "CPO")
    assert component.type is v221.TariffDimensionType.SESSION_TIME
    assert str(component.price) == "0.1234"
    assert there.losses == ()
    assert convert.tariff_to_211(there.value).value == TARIFF


def test_owner_from_iop() -> None:
    """A Tariff from IOP says its owner; as IOP does, the way back says it too."""
    tariff = evolve(TARIFF, country_code="BE", party_id="XYZ")
    there = convert.tariff_to_221(tariff, CPO)
    assert (there.value.country_code, there.value.party_id) == ("BE", "XYZ")
    assert convert.tariff_to_211(there.value, as_iop=True).value == tariff
    assert convert.tariff_to_211(there.value).value == TARIFF


def test_half_an_owner() -> None:
    """One half of an owner is none."""
    there = convert.tariff_to_221(evolve(TARIFF, country_code="BE"), CPO)
    assert (there.value.country_code, there.value.party_id) == ("FR", "CPO")
    assert lost(there) == [("/country_code", "no-field")]


def test_no_owner() -> None:
    """A Tariff that is nobody's has no 2.2.1 form."""
    with pytest.raises(NotConvertible, match=r"/country_code: 2\.2\.1 cannot do without it"):
        convert.tariff_to_221(TARIFF)


def test_restriction_of_the_whole() -> None:
    """A tariff for sessions that start at certain times has no 2.2.1 form."""
    tariff = evolve(TARIFF, restriction=v211.TariffRestriction(start_time="08:00", end_time="12:00"))
    with pytest.raises(NotConvertible, match="Tariff not converted: /restriction"):
        convert.tariff_to_221(tariff, CPO)


def test_rounding() -> None:
    """GIREVE's rounding of prices and steps has no field in 2.2.1."""
    rounding = v211.PriceRound(
        round_granularity=v211.RoundGranularity.THOUSANDTH, round_rule=v211.RoundRule.ROUND_NEAR
    )
    component = evolve(
        TARIFF.elements[0].price_components[0], price_round=rounding, exact_price_component=False
    )
    tariff = evolve(TARIFF, elements=[v211.TariffElement(price_components=[component])])
    there = convert.tariff_to_221(tariff, CPO)
    at = "/elements/0/price_components/0"
    assert lost(there) == [(f"{at}/price_round", "no-field"), (f"{at}/exact_price_component", "no-field")]


def test_no_field() -> None:
    """What 2.1.1 has no field for is left out, and each is named."""
    component = v221.PriceComponent(
        type=v221.TariffDimensionType.FLAT, price=Decimal(1), vat=Decimal(20), step_size=1
    )
    tariff = evolve(
        a_tariff(),
        type=v221.TariffType.REGULAR,
        min_price=v221.Price(excl_vat=Decimal(1)),
        start_date_time=NOW,
        gireve_id="G",
        elements=[v221.TariffElement(price_components=[component])],
    )
    assert lost(convert.tariff_to_211(tariff)) == [
        ("/type", "no-field"),
        ("/min_price", "no-field"),
        ("/elements/0/price_components/0/vat", "no-field"),
        ("/start_date_time", "no-field"),
        ("/gireve_id", "no-field"),
    ]


@pytest.mark.parametrize("kind", ["AD_HOC_PAYMENT", "PROFILE_CHEAP", "PROFILE_FAST", "PROFILE_GREEN"])
def test_not_regular(kind: str) -> None:
    """A tariff that is not for every session has no 2.1.1 form."""
    with pytest.raises(NotConvertible, match="Tariff not converted: /type"):
        convert.tariff_to_211(evolve(a_tariff(), type=v221.TariffType(kind)))


def test_target_operator() -> None:
    """A tariff made for one eMSP goes to that eMSP alone."""
    tariff = evolve(a_tariff(), target_operator_country_code="FR", target_operator_party_id="EMP")
    back = convert.tariff_to_211(tariff, receiver=PartyId("fr", "emp"))
    assert back.value == TARIFF
    assert [loss.code for loss in back.losses] == ["no-field", "no-field"]
    for other in (None, PartyId("FR", "XYZ")):
        with pytest.raises(NotConvertible, match="/target_operator_party_id"):
            convert.tariff_to_211(tariff, receiver=other)


def test_condition() -> None:
    """A price whose condition 2.1.1 cannot say is left out: without the condition it would be wrong."""
    reserved = an_element(reservation=v221.ReservationRestrictionType.RESERVATION)
    by_current = an_element(min_current=Decimal(16))
    back = convert.tariff_to_211(evolve(a_tariff(), elements=[reserved, an_element(), by_current]))
    assert len(back.value.elements) == 1
    assert lost(back) == [
        ("/elements/0/restrictions/reservation", "condition"),
        ("/elements/2/restrictions/min_current", "condition"),
    ]


def test_only_conditions() -> None:
    """A tariff of nothing but such prices has no 2.1.1 form."""
    reserved = an_element(reservation=v221.ReservationRestrictionType.RESERVATION)
    with pytest.raises(NotConvertible, match="Tariff not converted: /elements"):
        convert.tariff_to_211(evolve(a_tariff(), elements=[reserved]))
