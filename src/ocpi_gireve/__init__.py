"""Roam through GIREVE's hub, IOP, over OCPI, as a CPO or an eMSP."""

from __future__ import annotations

import logging

from . import gireve, v211, v221
from ._version import __version__
from .connection import Connection
from .context import Context
from .pagination import Link, Page, PageQuery
from .patch import Patch
from .platform import Platform
from .profile import BILATERAL, Profile
from .store import MemoryStore, SqliteStore
from .types import Party, PartyId, Role
from .validation import validate

__all__ = [
    "BILATERAL",
    "Connection",
    "Context",
    "Link",
    "MemoryStore",
    "Page",
    "PageQuery",
    "Party",
    "PartyId",
    "Patch",
    "Platform",
    "Profile",
    "Role",
    "SqliteStore",
    "__version__",
    "gireve",
    "v211",
    "v221",
    "validate",
]

# A library does not decide where its log goes; without this, warnings would go to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())
