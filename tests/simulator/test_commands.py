from __future__ import annotations

import pytest

from ocpi_gireve import Context, v221
from ocpi_gireve.interface import Operation, operations
from ocpi_gireve.simulator.commands import StartAndStopOnly
from ocpi_gireve.testing import sample


class Charging(StartAndStopOnly):
    """Starts and stops whatever it is asked to."""

    async def start_session(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponse:
        return v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=30)

    async def stop_session(self, ctx: Context, command: v221.StopSession) -> v221.CommandResponse:
        return v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=30)


@pytest.mark.parametrize("operation", list(operations(v221.CommandsReceiver)), ids=str)
async def test_commands_that_iop_does_not_have(operation: Operation) -> None:
    """Of the commands only those that start and stop a session are carried out; others get NOT_SUPPORTED."""
    assert operation.body is not None
    ctx = Context(partner="iop", version="2.2.1", request_id="r", correlation_id="c")
    response = await getattr(Charging(), operation.name)(ctx, sample(operation.body))
    carried_out = operation.name in ("start_session", "stop_session")
    assert response.result.value == ("ACCEPTED" if carried_out else "NOT_SUPPORTED")
