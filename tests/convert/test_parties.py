from __future__ import annotations

import pytest
from attrs import evolve

from ocpi_gireve import PartyId, convert, v211
from tests.convert.samples import EMSP, LOCATION, TOKEN


@pytest.mark.parametrize("name", ["FR*CPO", " fr*cpo ", "FR-CPO"])
def test_cpo_of(name: str) -> None:
    """IOP writes the CPO into `operator.name`, sometimes with blanks."""
    location = evolve(LOCATION, operator=v211.BusinessDetails(name=name))
    assert convert.cpo_of(location) == PartyId("FR", "CPO")


@pytest.mark.parametrize("name", ["Volt & Co", "Shell", "FR*CPO*E1"])
def test_cpo_of_a_name(name: str) -> None:
    """A name is not taken for a party."""
    assert convert.cpo_of(evolve(LOCATION, operator=v211.BusinessDetails(name=name))) is None


def test_cpo_of_no_operator() -> None:
    """Without an operator nobody says the CPO."""
    assert convert.cpo_of(LOCATION) is None


def test_emsp_of() -> None:
    """IOP writes the eMSP into `issuer`; otherwise the contract id may name it."""
    assert convert.emsp_of(evolve(TOKEN, issuer=" FR*AAA ")) == PartyId("FR", "AAA")
    assert convert.emsp_of(TOKEN) == EMSP
    assert convert.emsp_of(evolve(TOKEN, auth_id="AZERTY")) is None


@pytest.mark.parametrize(
    "contract", ["FR*EMP*1234", "FR-EMP-C12345678-X", "FREMPC12345678X", "fr-emp-c12345678"]
)
def test_contract(contract: str) -> None:
    """A contract id that is an eMA id names the eMSP, however it is separated."""
    assert convert.emsp_of_contract(contract) == EMSP


@pytest.mark.parametrize(
    "contract",
    ["", "12345", "AZERTY", "FR*EMP", "FR*EMP-1", "4a2f71ab-33", "Gireve2Advenir", "DEADBEEF123456"],
)
def test_other_contract(contract: str) -> None:
    """Any other contract id names nobody."""
    assert convert.emsp_of_contract(contract) is None
