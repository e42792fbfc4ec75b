"""An IOP to run locally, built from the library's own interfaces; it behaves as GIREVE's 2.2.1 guide says."""

from __future__ import annotations

from .iop import Pulled, Simulator

__all__ = ["Pulled", "Simulator"]
