"""Profiles: kinds of partner as values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocpi_gireve import BILATERAL, Profile, gireve
from ocpi_gireve.types import PartyId


def test_page_limit_by_module() -> None:
    """A module's largest page is its own, or the profile's default."""
    profile = Profile(name="x", page_limits={"cdrs": 20}, default_page_limit=50)
    assert (profile.page_limit("cdrs"), profile.page_limit("locations")) == (20, 50)


def test_hub_is_a_partner_with_a_party_of_its_own() -> None:
    """A profile with a hub's party stands for a hub."""
    assert gireve.PRODUCTION.is_hub
    assert not BILATERAL.is_hub


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout": 0},
        {"retry_base": -1},
        {"retry_cap": 0},
        {"default_page_limit": 0},
        {"page_limits": {"cdrs": 0}},
    ],
)
def test_numbers_are_positive(changes: dict[str, Any]) -> None:
    """A limit or a time that is not positive is refused when the profile is made."""
    with pytest.raises(ValueError, match="must be > 0"):
        evolve(BILATERAL, **changes)


def test_gireve(shared: Path) -> None:
    """IOP's ids and page limits are those of GIREVE's guide for 2.2.1."""
    assert gireve.PRODUCTION.hub == PartyId("FR", "007")
    assert gireve.PREPRODUCTION.hub == gireve.SIMULATOR.hub == PartyId("FR", "107")
    facts = json.loads((shared / "spec" / "gireve.json").read_text())
    limits = {one["module"]: one["limit"] for one in facts["page_limits"] if one["version"] == "2.2.1"}
    assert gireve.PRODUCTION.page_limits == gireve.PREPRODUCTION.page_limits == limits
