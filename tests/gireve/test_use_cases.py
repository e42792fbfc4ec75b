"""GIREVE's use cases against the tables of its guides."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ocpi_gireve import Role, v211, v221
from ocpi_gireve.gireve.use_cases import NOT_IMPLEMENTED, USE_CASES, Direction, use_cases_of
from ocpi_gireve.interface import Operation, operation_of
from tests.operation_tables import Tables, declared, row_text, tabled, tables_of


@pytest.fixture
def gireve(shared: Path) -> Tables:
    """The tables of GIREVE's guides."""
    found: Tables = json.loads((shared / "spec" / "gireve.json").read_bytes())
    return found


def names_of_operations(shared: Path) -> dict[tuple[str, str, str, str], Operation]:
    """Our operations, by the names that the tables have for them."""
    named = {("2.1.1", "tokens", "emsp", "get_token_by_uid"): operation_of(v211.GireveTokens.get_token)}
    for dialect in (v211.DIALECT, v221.DIALECT):
        ours = {row_text(declared(one)): one for one in dialect.all_operations()}
        for row in tables_of(shared, dialect.version):
            named[dialect.version, row["module"], row["interface"], row["operation"]] = ours[
                row_text(tabled(row))
            ]
    return named


def test_use_cases_are_those_of_the_guides(gireve: Tables, shared: Path) -> None:
    """Version, role, direction, name, requirement and operations of each use case are the guides'."""
    names = names_of_operations(shared)

    def asked(case: Tables, side: str) -> list[str]:
        found: list[str] = []
        for one in case["operations"]:
            place = one["endpoint"] or {**one, "module": case["module"]}
            if one["side"] == side:
                key = (case["version"], place["module"], place["interface"], place["operation"])
                found.append(names[key].id)
        return sorted(found)

    theirs = [
        (
            case["version"],
            case["role"].upper(),
            case["direction"].replace("Any", ""),
            case["name"],
            case["required"],
            asked(case, "ToIOP"),
            asked(case, "FromIOP"),
        )
        for case in gireve["use_cases"]
    ]
    ours = [
        (
            case.version,
            case.role.value,
            case.direction.value if case.direction else "",
            case.name,
            case.required.value,
            sorted(one.id for one in case.to_iop),
            sorted(one.id for one in case.from_iop),
        )
        for case in USE_CASES
    ]
    assert Counter(map(repr, ours)) - Counter(map(repr, theirs)) == Counter()
    assert Counter(map(repr, theirs)) - Counter(map(repr, ours)) == Counter()


def test_modules_that_iop_does_not_have(gireve: Tables) -> None:
    """Of the modules that IOP implements some operations are left out, of the others every one is."""
    (rule,) = (one["data"]["modules"] for one in gireve["rules"] if one["id"] == "GEN-004")
    for operation in v221.DIALECT.all_operations():
        if operation.module not in rule and operation.module != "versions":
            assert operation in NOT_IMPLEMENTED, operation.id
    assert {one.module for one in NOT_IMPLEMENTED} == {
        "chargingprofiles",
        "commands",
        "credentials",
        "hubclientinfo",
        "sessions",
        "tokens",
    }


def test_commands_that_iop_does_not_have(gireve: Tables) -> None:
    """The commands left out are those that the guides name."""
    (rule,) = (one["data"]["unsupported"] for one in gireve["rules"] if one["id"] == "CMD-004")
    assert sorted(one.path for one in NOT_IMPLEMENTED if one.interface is v221.CommandsReceiver) == sorted(
        rule
    )
    assert sorted(one.path for one in NOT_IMPLEMENTED if one.interface is v211.CommandsCpo) == [
        "RESERVE_NOW",
        "UNLOCK_CONNECTOR",
    ]


def test_use_cases_of_an_operation() -> None:
    """An operation is found in the use cases of one direction."""
    patch_evse = operation_of(v211.LocationsEmsp.patch_evse)
    found = [(one.role, one.name) for one in use_cases_of(patch_evse, Direction.FROM_IOP)]
    assert found == [
        (Role.EMSP, "Push Locations Static data"),
        (Role.EMSP, "Push Locations Dynamic data (EVSE status)"),
    ]
    profile = operation_of(v221.ChargingProfilesReceiver.put_charging_profile)
    assert [use_cases_of(profile, direction) for direction in Direction] == [[], []]
