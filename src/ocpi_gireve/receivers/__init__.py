"""Ready handlers: they keep in a store what partners send, and serve our own objects out of collections.

Those of OCPI 2.2.1 are here, those of 2.1.1 in `receivers.v211`; both keep alike. A class of a host may
inherit several of them.
"""

from __future__ import annotations

from .rows import EvseRow
from .shelf import Absorbed, Shelf
from .v221 import (
    KeptCdrs,
    KeptClientInfos,
    KeptLocations,
    KeptSessions,
    KeptTariffs,
    KeptTokens,
    LocationBook,
    OwnCdrs,
    OwnLocations,
    OwnSessions,
    OwnTariffs,
    OwnTokens,
)

__all__ = [
    "Absorbed",
    "EvseRow",
    "KeptCdrs",
    "KeptClientInfos",
    "KeptLocations",
    "KeptSessions",
    "KeptTariffs",
    "KeptTokens",
    "LocationBook",
    "OwnCdrs",
    "OwnLocations",
    "OwnSessions",
    "OwnTariffs",
    "OwnTokens",
    "Shelf",
]
