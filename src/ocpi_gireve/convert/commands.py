"""Commands and their answers in the other version; knows no connection.

CANCEL_RESERVATION has no 2.1.1 form. `response_url` is carried as it is: who passes a command on sets one of
his own.
"""

from __future__ import annotations

import re

from .. import v211, v221
from ..types import PartyId
from ._engine import Facts, Values, Work, differ, instead
from .result import Converted, NotConvertible

# --- 2.1.1 -> 2.2.1 ------------------------------------------------------------------------------------


def _text(work: Work, value: int, at: str) -> Values:
    return work.put(v221.ReserveNow, "reservation_id", str(value), at)


differ(v211.ReserveNow, v221.ReserveNow, {"reservation_id": _text})
differ(v211.StartSession, v221.StartSession, {"authorization_id": "authorization_reference"})
# An immediate answer of 2.2.1 has no TIMEOUT, a result no UNKNOWN_SESSION: either way, nothing was done.
instead(
    v211.CommandResponseType,
    {"TIMEOUT": v221.CommandResponseType.REJECTED, "UNKNOWN_SESSION": v221.CommandResultType.REJECTED},
)


def _timeout(work: Work, _: v211.CommandResponse, result: Values, at: str) -> None:
    result["timeout"] = work.facts.timeout
    work.lose(f"{at}/timeout", "assumed", "2.1.1 does not say how long to wait")


differ(v211.CommandResponse, v221.CommandResponse, complete=_timeout)


def start_session_to_221(
    command: v211.StartSession, token_owner: PartyId | None = None
) -> Converted[v221.StartSession]:
    """Convert START_SESSION to 2.2.1.

    Args:
        command: The command. 2.1.1 cannot name a connector. (GIREVE 2.2.1, CPO commands)
        token_owner: The eMSP that the token belongs to; without it, the one that `emsp_of` reads.

    Raises:
        NotConvertible: nobody says whose the token is.
    """
    work = Work(Facts(token_owner=token_owner))
    return work.done(work.whole(command, v221.StartSession))


def reserve_now_to_221(
    command: v211.ReserveNow, token_owner: PartyId | None = None
) -> Converted[v221.ReserveNow]:
    """Convert RESERVE_NOW to 2.2.1; `token_owner` as in `start_session_to_221`.

    Raises:
        NotConvertible: nobody says whose the token is.
    """
    work = Work(Facts(token_owner=token_owner))
    return work.done(work.whole(command, v221.ReserveNow))


def stop_session_to_221(command: v211.StopSession) -> Converted[v221.StopSession]:
    """Convert STOP_SESSION to 2.2.1."""
    work = Work()
    return work.done(work.whole(command, v221.StopSession))


def unlock_connector_to_221(command: v211.UnlockConnector) -> Converted[v221.UnlockConnector]:
    """Convert UNLOCK_CONNECTOR to 2.2.1."""
    work = Work()
    return work.done(work.whole(command, v221.UnlockConnector))


def command_response_to_221(response: v211.CommandResponse, timeout: int) -> Converted[v221.CommandResponse]:
    """Convert the immediate answer to a command to 2.2.1.

    Args:
        response: The answer.
        timeout: Seconds to wait for the result, which 2.1.1 does not say.
    """
    work = Work(Facts(timeout=timeout))
    return work.done(work.whole(response, v221.CommandResponse))


def command_result_to_221(response: v211.CommandResponse) -> Converted[v221.CommandResult]:
    """Convert the asynchronous outcome of a command, in 2.1.1 a CommandResponse too, to a CommandResult."""
    work = Work()
    return work.done(work.whole(response, v221.CommandResult))


# --- 2.2.1 -> 2.1.1 ------------------------------------------------------------------------------------


_INTEGER = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)


def _number(_: Work, value: str, at: str) -> Values:
    if not _INTEGER.fullmatch(value):
        raise NotConvertible("ReserveNow", at, "2.1.1 identifies a reservation by a number")
    return {"reservation_id": int(value)}


differ(v221.ReserveNow, v211.ReserveNow, {"reservation_id": _number})
differ(v221.StartSession, v211.StartSession, {"authorization_reference": "authorization_id"})
instead(
    v221.CommandResultType,
    {
        "CANCELED_RESERVATION": v211.CommandResponseType.REJECTED,
        "EVSE_OCCUPIED": v211.CommandResponseType.REJECTED,
        "EVSE_INOPERATIVE": v211.CommandResponseType.REJECTED,
        "FAILED": v211.CommandResponseType.REJECTED,
        "UNKNOWN_RESERVATION": v211.CommandResponseType.REJECTED,
    },
)


def start_session_to_211(command: v221.StartSession) -> Converted[v211.StartSession]:
    """Convert START_SESSION to 2.1.1, which cannot name the connector."""
    work = Work()
    return work.done(work.whole(command, v211.StartSession))


def reserve_now_to_211(command: v221.ReserveNow) -> Converted[v211.ReserveNow]:
    """Convert RESERVE_NOW to 2.1.1.

    Raises:
        NotConvertible: the reservation id is not a number.
    """
    work = Work()
    return work.done(work.whole(command, v211.ReserveNow))


def stop_session_to_211(command: v221.StopSession) -> Converted[v211.StopSession]:
    """Convert STOP_SESSION to 2.1.1."""
    work = Work()
    return work.done(work.whole(command, v211.StopSession))


def unlock_connector_to_211(command: v221.UnlockConnector) -> Converted[v211.UnlockConnector]:
    """Convert UNLOCK_CONNECTOR to 2.1.1."""
    work = Work()
    return work.done(work.whole(command, v211.UnlockConnector))


def command_response_to_211(response: v221.CommandResponse) -> Converted[v211.CommandResponse]:
    """Convert the immediate answer to a command to 2.1.1."""
    work = Work()
    return work.done(work.whole(response, v211.CommandResponse))


def command_result_to_211(result: v221.CommandResult) -> Converted[v211.CommandResponse]:
    """Convert the asynchronous outcome of a command to a CommandResponse, which 2.1.1 posts for it too."""
    work = Work()
    return work.done(work.whole(result, v211.CommandResponse))
