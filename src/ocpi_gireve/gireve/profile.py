"""GIREVE's hub, IOP, as a partner: ids and limits, and no behaviour."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from ..profile import Profile
from ..types import PartyId

PRODUCTION = Profile(
    name="gireve",
    hub=PartyId("FR", "007"),
    # 2.2.1 guide, registration: "Gireve has not implemented the "update Credentials"", and "has only
    # implemented the "Register - FromIOP" and "Unregister - FromIOP" use cases". Its page on use cases lists
    # the other direction, too; hence `force`.
    no_update=frozenset({"2.2.1"}),
    registers_itself=frozenset({"2.2.1"}),
    # "Shorter than one month" for tariffs (2.2.1 guide, eMSP), at most 31 days for all (certification).
    delta_range=timedelta(days=27),
    page_limits={
        # 2.2.1 guide, integration guidelines, Pulling Limits: "at the moment".
        ("2.2.1", "locations"): 100,
        ("2.2.1", "tokens"): 1000,
        ("2.2.1", "cdrs"): 20,
        ("2.2.1", "tariffs"): 100,
        # 2.1.1 guide, of what IOP serves; of what it asks for, it gives figures for preproduction only.
        ("2.1.1", "locations"): 20,
        ("2.1.1", "tokens"): 1000,
    },
)
"""IOP in production, FR*007. (2.2.1 guide, integration guidelines)"""

PREPRODUCTION = evolve(
    PRODUCTION,
    name="gireve-preproduction",
    hub=PartyId("FR", "107"),
    page_limits={**PRODUCTION.page_limits, ("2.1.1", "cdrs"): 20, ("2.1.1", "tariffs"): 100},
)
"""IOP in preproduction, FR*107. (2.2.1 guide, integration guidelines)"""

SIMULATOR = evolve(
    PREPRODUCTION,
    name="iop",
    no_update=frozenset(),
    registers_itself=frozenset(),
    allow_http_loopback=True,
)
"""The IOP double of `ocpi_gireve.simulator`, on the loopback interface."""
