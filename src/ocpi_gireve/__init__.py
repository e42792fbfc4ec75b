"""Roam through GIREVE's hub, IOP, over OCPI, as a CPO or an eMSP."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from . import gireve, v211, v221
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

# Each name is imported when it is first used: whoever only reads objects needs no client, server or store.
_HOMES = {
    "BILATERAL": "profile",
    "Connection": "connection",
    "Context": "context",
    "Link": "pagination",
    "MemoryStore": "store",
    "Page": "pagination",
    "PageQuery": "pagination",
    "Party": "types",
    "PartyId": "types",
    "Patch": "patch",
    "Platform": "platform",
    "Profile": "profile",
    "Role": "types",
    "SqliteStore": "store",
    "gireve": "",
    "v211": "",
    "v221": "",
    "validate": "validation",
}

if not TYPE_CHECKING:  # a type checker would take it for a promise of every name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = _HOMES[name]
        found = (
            getattr(import_module(f".{home}", __name__), name)
            if home
            else import_module(f".{name}", __name__)
        )
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
