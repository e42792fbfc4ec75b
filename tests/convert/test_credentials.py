from __future__ import annotations

import pytest
from attrs import evolve

from ocpi_gireve import PartyId, Role, convert, v211, v221
from ocpi_gireve._model import Extra
from ocpi_gireve.convert import NotConvertible
from tests.convert.samples import CPO, EMSP, lost, with_

CREDENTIALS = v211.Credentials(
    token="a-token-of-the-tests",
    url="https://cpo.example.com/ocpi/versions",
    business_details=v211.BusinessDetails(name="Example CPO"),
    party_id="CPO",
    country_code="FR",
)


def test_credentials() -> None:
    """One party of 2.1.1 is one role of 2.2.1, and the way back gives it again."""
    there = convert.credentials_to_221(CREDENTIALS, Role.CPO)
    assert there.value.roles == [
        v221.CredentialsRole(
            role=Role.CPO,
            business_details=v221.BusinessDetails(name="Example CPO"),
            party_id="CPO",
            country_code="FR",
        )
    ]
    assert there.losses == ()
    assert convert.credentials_to_211(there.value, CPO, Role.CPO).value == CREDENTIALS


def test_other_roles() -> None:
    """The other parties and roles of a platform are not in its 2.1.1 credentials."""
    platform = convert.credentials_to_221(CREDENTIALS, Role.CPO).value
    ours = with_(platform.roles[0], {"extra": Extra({"x": 1})})
    other = evolve(ours, role=Role.EMSP)
    back = convert.credentials_to_211(evolve(platform, roles=[other, ours]), PartyId("fr", "cpo"), Role.CPO)
    assert back.value == CREDENTIALS
    assert lost(back) == [("/roles/0", "no-field"), ("/roles/1/x", "no-field")]


def test_party_that_is_not_there() -> None:
    """A party that the platform does not present is refused."""
    platform = convert.credentials_to_221(CREDENTIALS, Role.CPO).value
    for party, role in ((EMSP, Role.CPO), (CPO, Role.EMSP)):
        with pytest.raises(NotConvertible, match="Credentials not converted: /roles"):
            convert.credentials_to_211(platform, party, role)


def test_token_is_secret() -> None:
    """The token is never shown, not even where it breaks 2.2.1's rule."""
    there = convert.credentials_to_221(evolve(CREDENTIALS, token="with a blank"), Role.CPO)
    assert there.value.token == "with a blank"
    assert lost(there) == [("/token", "regex")]
    assert "with a blank" not in repr(there)
    assert "with a blank" not in str(there.losses[0])
