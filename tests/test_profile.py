"""Profiles: kinds of partner as values."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocpi_gireve import BILATERAL, Profile, gireve
from ocpi_gireve.types import PartyId


def test_page_limit_by_module() -> None:
    """A module's largest page is its own, or the profile's default."""
    profile = Profile(name="x", page_limits={("2.1.1", "cdrs"): 20}, default_page_limit=50)
    limits = [profile.page_limit(*one) for one in (("cdrs", "2.1.1"), ("cdrs", "2.2.1"), ("tokens", "2.1.1"))]
    assert limits == [20, 50, 50]


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
        {"repeat_base": 0},
        {"repeat_cap": 0},
        {"delta_range": timedelta(0)},
        {"crawl_pages": 0},
        {"crawl_seconds": 0},
        {"page_limits": {("2.2.1", "cdrs"): 0}},
    ],
)
def test_numbers_are_positive(changes: dict[str, Any]) -> None:
    """A limit or a time that is not positive is refused when the profile is made."""
    with pytest.raises(ValueError, match="must be > 0"):
        evolve(BILATERAL, **changes)


def test_gireve(shared: Path) -> None:
    """IOP's ids, its page limits and what it does not take are those of GIREVE's guides."""
    for profile in (gireve.PRODUCTION, gireve.PREPRODUCTION):
        assert profile.no_update == profile.registers_itself == {"2.2.1"}
    assert gireve.PRODUCTION.hub == PartyId("FR", "007")
    assert gireve.PREPRODUCTION.hub == gireve.SIMULATOR.hub == PartyId("FR", "107")
    facts = json.loads((shared / "spec" / "gireve.json").read_text())
    limits = {
        environment: {
            (one["version"], one["module"]): one["limit"]
            for one in facts["page_limits"]
            if one["environment"] in (environment, None)
        }
        for environment in ("production", "preproduction")
    }
    assert gireve.PRODUCTION.page_limits == limits["production"]
    assert gireve.PREPRODUCTION.page_limits == gireve.SIMULATOR.page_limits == limits["preproduction"]
