from __future__ import annotations

import pytest

from ocpi_gireve import v221
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.simulator.use_cases import direction_of, use_case_of


@pytest.mark.parametrize("operation", [operation.id for operation in v221.DIALECT.all_operations()])
def test_every_operation_has_a_use_case(operation: str) -> None:
    """Every operation of OCPI 2.2.1 that is declared belongs to a use case."""
    assert use_case_of(operation) != operation


def test_names() -> None:
    """The names are GIREVE's."""
    found = [
        use_case_of(f"{interface}.{name}")
        for interface, name in (
            ("LocationsReceiver", "patch_evse"),
            ("LocationsSender", "list_locations"),
            ("TokensSender", "authorize"),
            ("CredentialsInterface", "post_credentials"),
            ("VersionsInterface", "get_versions"),
            ("CredentialsInterface", "delete_credentials"),
        )
    ]
    assert found == [
        "Push EVSE status",
        "Pull EVCI",
        "Real-Time Authorization",
        "Register",
        "Register",
        "Unregister",
    ]


def test_unknown_operation() -> None:
    """What GIREVE has no name for keeps its own."""
    assert use_case_of("Other.thing") == "Other.thing"


def test_direction() -> None:
    """What is asked of IOP is ToIOP, what IOP asks is FromIOP."""

    def asked(partner: str) -> str:
        exchanged = Exchanged(
            direction="out",
            partner=partner,
            operation="",
            http_status=200,
            seconds=0.1,
            request_id="r",
            correlation_id="c",
        )
        return direction_of(exchanged)

    assert (asked("iop"), asked("cpo")) == ("ToIOP", "FromIOP")
