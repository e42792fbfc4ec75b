from __future__ import annotations

from types import ModuleType
from typing import ClassVar

from ocpi_gireve import v211
from tests.census import Census


class TestCensus(Census):
    package: ClassVar[ModuleType] = v211
    version = "2.1.1"
    classes = 36
    enums = 23
