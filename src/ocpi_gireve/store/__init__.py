"""Where what must survive is kept; knows nothing of HTTP or of OCPI's objects."""

from __future__ import annotations

from .base import Store
from .cipher import Cipher, FernetCipher, KeyFile, PlaintextCipher
from .memory import MemoryStore
from .sqlite import SqliteStore

__all__ = ["Cipher", "FernetCipher", "KeyFile", "MemoryStore", "PlaintextCipher", "SqliteStore", "Store"]
