from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import ClassVar

from ocpi_gireve import v221
from tests.census import Census


class TestCensus(Census):
    package: ClassVar[ModuleType] = v221
    version = "2.2.1"
    classes = 56
    enums = 34
    # The 2.2.1 guide's eMSP pages (v1.2) add these to the tables of GIREVE's extensions.
    more_fields: ClassVar[Mapping[str, frozenset[str]]] = {
        "EVSE": frozenset({"gireve_id"}),
        "Connector": frozenset({"gireve_id"}),
    }
    more_values: ClassVar[Mapping[str, frozenset[str]]] = {
        "Capability": frozenset({"ISO_15118_2_PLUG_AND_CHARGE", "ISO_15118_20_PLUG_AND_CHARGE"}),
        "TariffDimensionType": frozenset({"SESSION_TIME"}),
    }
