"""Ready-made commands: what a CPO takes and an eMSP sends; knows no charger and no driver.

The classes here speak OCPI 2.2.1; those of `commands.v211` are named alike and speak 2.1.1.
"""

from __future__ import annotations

from ._execution import Deadlines, Outcome
from ._sending import AnyCommanded
from .v221 import Commanded, CpoCommands, EmspCommands, Result

__all__ = ["AnyCommanded", "Commanded", "CpoCommands", "Deadlines", "EmspCommands", "Outcome", "Result"]
