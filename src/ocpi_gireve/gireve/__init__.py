"""What GIREVE adds to OCPI and requires of it; the engine itself knows nothing of GIREVE."""

from __future__ import annotations

from .profile import PREPRODUCTION, PRODUCTION, SIMULATOR

__all__ = ["PREPRODUCTION", "PRODUCTION", "SIMULATOR"]
