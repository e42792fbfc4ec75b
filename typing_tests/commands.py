"""What sending and carrying out commands looks like to both type checkers, mistakes included."""

from __future__ import annotations

from functools import partial
from typing import assert_type

from ocpi_gireve import Connection, Context, commands, v211, v221
from ocpi_gireve.authorizations import Authorization, Authorizations, with_reference
from ocpi_gireve.commands import Outcome
from ocpi_gireve.commands import v211 as commands_211


async def sent(iop: Connection, emsp: commands.EmspCommands, token: v221.Token) -> None:
    done = await emsp.send_start(iop, token, "LOC1", "E1")
    assert_type(done.command, v221.StartSession)
    assert_type(done.response, v221.CommandResponse | None)
    assert_type(done.result, v221.CommandResult | None)
    stopped = await emsp.send(iop, v221.CommandsReceiver.stop_session, stop)
    assert_type(stopped.command, v221.StopSession)
    await emsp.send(iop, v221.CommandsReceiver.start_session, stop)  # type: ignore[misc]  # another command


def stop(url: str) -> v221.StopSession:
    return v221.StopSession(response_url=url, session_id="S1")


def succeeded(done: commands.AnyCommanded) -> bool:
    """Take whichever command it was."""
    return done.succeeded


async def of_either_version(
    old: commands_211.Commanded[v211.StopSession], new: commands.Commanded[v221.StartSession]
) -> None:
    """A command of either version is an `AnyCommanded`."""
    succeeded(old)
    succeeded(new)
    succeeded("ACCEPTED")  # type: ignore[arg-type]  # no command


async def sent_211(iop: Connection, emsp: commands_211.EmspCommands, token: v211.Token) -> None:
    done = await emsp.send_start(iop, token, "LOC1", "E1")
    assert_type(done.result, v211.CommandResponse | None)


class Chargers(commands.CpoCommands):
    async def check_start(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponseType:
        return v221.CommandResponseType.REJECTED

    async def execute_start(self, ctx: Context, command: v221.StartSession) -> commands.Result:
        return Outcome(v221.CommandResultType.ACCEPTED, then=partial(self.begin, command))

    async def execute_stop(self, ctx: Context, command: v221.StopSession) -> commands.Result:
        return v221.CommandResultType.ACCEPTED

    async def execute_reserve(self, ctx: Context, command: v221.ReserveNow) -> v221.CommandResult:
        return v221.CommandResult(result=v221.CommandResultType.REJECTED)

    async def execute_unlock(self, ctx: Context, command: v221.UnlockConnector) -> str:  # type: ignore[override]
        return "ACCEPTED"

    async def begin(self, command: v221.StartSession) -> None: ...


def references(known: Authorizations, session: v221.Session, cdr: v211.CDR) -> None:
    authorization = known.use("0A0B0C0D", "LOC1", "E1")
    assert_type(authorization, Authorization | None)
    if authorization is not None:
        assert_type(with_reference(session, authorization), v221.Session)
        assert_type(with_reference(cdr, authorization), v211.CDR)
