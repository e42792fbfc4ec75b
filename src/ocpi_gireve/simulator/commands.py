"""Commands of which only START_SESSION and STOP_SESSION are carried out; knows neither of these two."""

from __future__ import annotations

from ..context import Context
from ..v221 import (
    CancelReservation,
    CommandResponse,
    CommandResponseType,
    CommandsReceiver,
    ReserveNow,
    UnlockConnector,
)

NOT_SUPPORTED = CommandResponse(result=CommandResponseType.NOT_SUPPORTED, timeout=0)


class StartAndStopOnly(CommandsReceiver):
    """Refuses the commands that IOP does not have, as it does. (2.2.1 guide, List of available Commands)"""

    async def cancel_reservation(self, ctx: Context, command: CancelReservation) -> CommandResponse:
        """Refuse: there are no reservations."""
        return NOT_SUPPORTED

    async def reserve_now(self, ctx: Context, command: ReserveNow) -> CommandResponse:
        """Refuse: there are no reservations."""
        return NOT_SUPPORTED

    async def unlock_connector(self, ctx: Context, command: UnlockConnector) -> CommandResponse:
        """Refuse: no connector is unlocked from afar."""
        return NOT_SUPPORTED
