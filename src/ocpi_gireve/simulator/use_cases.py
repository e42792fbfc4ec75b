"""The names of GIREVE's use cases for the operations that they consist of; knows no exchange in detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..gireve import SIMULATOR
from ..interface import operation_of
from ..journal import Exchanged
from ..v221 import (
    DIALECT,
    CdrsReceiver,
    CommandsReceiver,
    CommandsSender,
    LocationsReceiver,
    LocationsSender,
    SessionsReceiver,
    TokensSender,
)

# 2.2.1 guide, Use cases covered by IOP. The certification gives the PATCH of an EVSE a name of its own.
_USE_CASES: dict[str, tuple[Callable[..., Any], ...]] = {
    "Push EVCI": (
        LocationsReceiver.put_location,
        LocationsReceiver.put_evse,
        LocationsReceiver.put_connector,
    ),
    "Update EVCI": (LocationsReceiver.patch_location, LocationsReceiver.patch_connector),
    "Push EVSE status": (LocationsReceiver.patch_evse,),
    "Pull EVCI": (
        LocationsSender.list_locations,
        LocationsSender.get_location,
        LocationsSender.get_evse,
        LocationsSender.get_connector,
    ),
    "Check EVCI": (
        LocationsReceiver.get_location,
        LocationsReceiver.get_evse,
        LocationsReceiver.get_connector,
    ),
    "Pull Tokens": (TokensSender.list_tokens,),
    "Real-Time Authorization": (TokensSender.authorize,),
    "Remote start": (CommandsReceiver.start_session,),
    "Remote stop": (CommandsReceiver.stop_session,),
    "Remote start and stop: result": (CommandsSender.post_result,),
    "Push Sessions": (SessionsReceiver.put_session, SessionsReceiver.patch_session),
    "Check Sessions": (SessionsReceiver.get_session,),
    "Push CDRs": (CdrsReceiver.post_cdr,),
    "Check CDRs": (CdrsReceiver.get_cdr,),
}
_NAMES = {operation_of(method).id: name for name, methods in _USE_CASES.items() for method in methods}
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
