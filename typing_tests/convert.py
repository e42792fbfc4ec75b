"""What a conversion returns, as both type checkers see it."""

from __future__ import annotations

from typing import assert_type

from ocpi_gireve import Patch, convert, v211, v221
from ocpi_gireve.convert import Converted
from ocpi_gireve.types import PartyId


def values(location: v211.Location, cdr: v221.CDR, changes: Patch[v221.EVSE], owner: PartyId) -> None:
    assert_type(convert.location_to_221(location, owner), Converted[v221.Location])
    assert_type(convert.location_to_221(location, owner).value, v221.Location)
    assert_type(convert.cdr_to_211(cdr).value, v211.CDR)
    assert_type(convert.evse_patch_to_211(changes).value, Patch[v211.EVSE])
    assert_type(convert.emsp_of_contract("FR*EMP*1"), PartyId | None)


def any_result(converted: Converted[v221.Location]) -> Converted[object]:
    return converted
