"""The names of GIREVE's use cases for the operations that they consist of; knows no exchange in detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..gireve import SIMULATOR
from ..gireve.use_cases import USE_CASES
from ..interface import operation_of
from ..journal import Exchanged
from ..v221 import DIALECT, CommandsSender, LocationsReceiver, LocationsSender, SessionsReceiver

# What the guide's list leaves out, or has under several names. The certification gives the PATCH of an EVSE a
# name of its own.
_OTHERWISE: dict[str, tuple[Callable[..., Any], ...]] = {
    "Push EVSE status": (LocationsReceiver.patch_evse,),
    "Pull EVCI": (LocationsSender.get_location, LocationsSender.get_evse, LocationsSender.get_connector),
    "Push Sessions": (SessionsReceiver.patch_session,),
    "Remote start and stop: result": (CommandsSender.post_result,),
}
_NAMES = {
    **{
        operation.id: case.name
        for case in USE_CASES
        if case.version == DIALECT.version
        for operation in (*case.to_iop, *case.from_iop)
    },
    **{operation_of(method).id: name for name, methods in _OTHERWISE.items() for method in methods},
}
_CREDENTIALS = {"POST": "Register", "PUT": "Update Credentials", "DELETE": "Unregister", "GET": "Register"}


def use_case_of(operation: str) -> str:
    """Return the use case that an operation belongs to, by its id; the id itself where GIREVE names none."""
    declared = DIALECT.operation(operation)
    if declared is not None and not declared.interface.functional:
        return _CREDENTIALS[declared.http_method]
    return _NAMES.get(operation, operation)


def direction_of(exchanged: Exchanged) -> Literal["ToIOP", "FromIOP"]:
    """Return the direction of an exchange, as noted by the side that asked: of a partner, or IOP itself."""
    return "ToIOP" if exchanged.partner == SIMULATOR.name else "FromIOP"
