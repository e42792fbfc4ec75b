from __future__ import annotations

import pytest

from ocpi_gireve import BILATERAL, PartyId, Profile, Role, gireve
from ocpi_gireve.receivers.host import Hosted
from tests.support import CPO, EMSP, Network, a_platform

HUB = PartyId("FR", "107")


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


@pytest.mark.parametrize(("profile", "own"), [(BILATERAL, set[PartyId]()), (gireve.SIMULATOR, {CPO, HUB})])
async def test_hub_itself(profile: Profile, own: set[PartyId]) -> None:
    """A hub speaks for itself as what it registered as, and as its profile says; a direct partner is none."""
    network, handler = Network(), Hosted()
    partner = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [])
    ours = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [])
    async with partner, ours:
        token = await ours.invite(profile, origins="https://cpo.example.com", id="cpo")
        assert (handler._speaker_of("cpo"), handler._is_hub_itself("cpo", CPO)) == (None, False)
        handler.attach(ours)
        assert handler._speaker_of("nobody") is None
        # Before it has registered.
        assert handler._speaker_of("cpo") == profile.hub
        await partner.register(BILATERAL, ours.versions_url, token)
        assert handler._speaker_of("cpo") == CPO
        assert {party for party in (CPO, EMSP, HUB) if handler._is_hub_itself("cpo", party)} == own
        assert not handler._is_hub_itself("nobody", CPO)
