from __future__ import annotations

import pytest

from ocpi_gireve import BILATERAL, PartyId, Profile, Role, gireve
from ocpi_gireve.receivers.host import Hosted
from tests.support import CPO, Network, a_platform


@pytest.mark.parametrize(
    ("profile", "role", "theirs"),
    [
        (BILATERAL, Role.CPO, frozenset({CPO})),
        (BILATERAL, Role.HUB, frozenset({CPO})),
        (gireve.SIMULATOR, Role.CPO, None),
    ],
    ids=["direct", "direct, and calls itself a hub", "hub"],
)
async def test_parties(profile: Profile, role: Role, theirs: frozenset[PartyId] | None) -> None:
    """A direct partner lists its own parties' objects, a hub anybody's; only the profile says which it is."""
    network, handler = Network(), Hosted()
    partner = a_platform(network, "cpo.example.com", role, "CPO", [])
    ours = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [])
    async with partner, ours:
        token = await ours.invite(profile, origins="https://cpo.example.com", id="cpo")
        assert handler._parties_of("cpo") is None
        handler.attach(ours)
        assert handler._parties_of("nobody") is None
        await partner.register(BILATERAL, ours.versions_url, token)
        assert handler._parties_of("cpo") == theirs
