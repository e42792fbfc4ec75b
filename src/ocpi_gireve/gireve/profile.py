"""GIREVE's hub, IOP, as a partner: ids and limits, and no behaviour."""

from __future__ import annotations

from attrs import evolve

from ..profile import Profile
from ..types import PartyId

PRODUCTION = Profile(
    name="gireve",
    hub=PartyId("FR", "007"),
    # 2.2.1 guide, integration guidelines, Pulling Limits: "at the moment".
    page_limits={"locations": 100, "tokens": 1000, "cdrs": 20, "tariffs": 100},
)
"""IOP in production, FR*007. (2.2.1 guide, integration guidelines)"""

PREPRODUCTION = evolve(PRODUCTION, name="gireve-preproduction", hub=PartyId("FR", "107"))
"""IOP in preproduction, FR*107. (2.2.1 guide, integration guidelines)"""

SIMULATOR = evolve(PREPRODUCTION, name="iop", allow_http_loopback=True)
"""The IOP double of `ocpi_gireve.simulator`, on the loopback interface."""
