"""Where connections, tokens and uploads are kept; knows nothing of HTTP or of OCPI's objects."""

from __future__ import annotations

from .base import Store
from .memory import MemoryStore
from .sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "Store"]
