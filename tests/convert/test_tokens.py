from __future__ import annotations

import pytest
from attrs import evolve

from ocpi_gireve import PartyId, Patch, convert, v211, v221
from ocpi_gireve.convert import NotConvertible
from tests.convert.samples import EMSP, TOKEN, lost, with_
from tests.support import NOW, a_token


def test_token() -> None:
    """A Token of one version is that of the other, and nothing is lost."""
    there = convert.token_to_221(TOKEN, EMSP)
    assert there.value == a_token()
    assert there.losses == ()
    back = convert.token_to_211(a_token())
    assert back.value == TOKEN
    assert back.losses == ()


def test_owner() -> None:
    """Without an owner, the one that the Token names is taken; a Token that names nobody is refused."""
    assert convert.token_to_221(TOKEN).value == a_token()
    assert convert.token_to_221(evolve(TOKEN, issuer="BE*XYZ")).value.party_id == "XYZ"
    with pytest.raises(NotConvertible, match="Token not converted: /country_code"):
        convert.token_to_221(evolve(TOKEN, auth_id="AZERTY"))


@pytest.mark.parametrize("kind", ["APP_USER", "AD_HOC_USER"])
def test_type(kind: str) -> None:
    """A kind of token that 2.1.1 does not know is `OTHER`."""
    back = convert.token_to_211(a_token(type=v221.TokenType(kind)))
    assert back.value.type is v211.TokenType.OTHER
    assert lost(back) == [("/type", "replaced")]


def test_no_field() -> None:
    """What a driver prefers has no field in 2.1.1."""
    token = a_token(
        group_id="G",
        default_profile_type=v221.ProfileType.GREEN,
        energy_contract=v221.EnergyContract(supplier_name="Sun"),
    )
    back = convert.token_to_211(token)
    assert back.value == TOKEN
    assert [pointer for pointer, _ in lost(back)] == [
        "/group_id",
        "/default_profile_type",
        "/energy_contract",
    ]


def test_iop_issuer() -> None:
    """As IOP does, the issuer is the owner's id; and it is read again."""
    back = convert.token_to_211(a_token(country_code="BE", party_id="XYZ"), as_iop=True)
    assert back.value.issuer == "BE*XYZ"
    assert lost(back) == [("/issuer", "replaced")]
    assert convert.emsp_of(back.value) == PartyId("BE", "XYZ")


def test_patch() -> None:
    """A change of a Token is converted both ways."""
    there = convert.token_patch_to_221(
        Patch(v211.Token, {"valid": False, "auth_id": "A", "last_updated": NOW})
    )
    assert there.value == Patch(v221.Token, {"valid": False, "contract_id": "A", "last_updated": NOW})
    back = convert.token_patch_to_211(
        Patch(v221.Token, {"valid": False, "contract_id": "A", "group_id": "G"})
    )
    assert back.value == Patch(v211.Token, {"valid": False, "auth_id": "A"})
    assert lost(back) == [("/group_id", "no-field")]


def test_location_references() -> None:
    """2.2.1 names no connectors in an authorization request."""
    references = v211.LocationReferences(location_id="LOC1", evse_uids=["E1"], connector_ids=["1"])
    there = convert.location_references_to_221(references)
    assert there.value == v221.LocationReferences(location_id="LOC1", evse_uids=["E1"])
    assert lost(there) == [("/connector_ids", "no-field")]
    back = convert.location_references_to_211(there.value)
    assert back.value == evolve(references, connector_ids=[])


def test_authorization_info() -> None:
    """GIREVE's `authorization_id` is `authorization_reference`; the Token is part of the answer in 2.2.1."""
    info = v211.AuthorizationInfo(
        allowed=v211.Allowed.NO_CREDIT,
        location=v211.LocationReferences(location_id="LOC1"),
        info=v211.DisplayText(language="fr", text="Solde insuffisant"),
        authorization_id="AUTH1",
    )
    there = convert.authorization_info_to_221(info, a_token())
    assert there.value.authorization_reference == "AUTH1"
    assert there.value.allowed is v221.AllowedType.NO_CREDIT
    assert there.value.token == a_token()
    assert there.losses == ()
    back = convert.authorization_info_to_211(there.value)
    assert back.value == info
    assert lost(back) == [("/token", "no-field")]


def test_long_authorization() -> None:
    """GIREVE sets no length for `authorization_id`: a longer one goes on and is reported."""
    info = v211.AuthorizationInfo(allowed=v211.Allowed.ALLOWED, authorization_id="a" * 40)
    there = convert.authorization_info_to_221(info, a_token())
    assert there.value.authorization_reference == "a" * 40
    assert lost(there) == [("/authorization_id", "max-length")]


def test_nothing_personal_in_a_loss() -> None:
    """A loss names the place, never the token's uid or contract id."""
    secret = "é" + "0123456789" * 5
    there = convert.token_to_221(
        with_(TOKEN, {"uid": secret, "auth_id": secret, "visual_number": secret * 2}), EMSP
    )
    assert [pointer for pointer, _ in lost(there)] == ["/uid", "/auth_id", "/visual_number"]
    assert "0123456789" not in repr(there)
