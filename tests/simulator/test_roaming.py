from __future__ import annotations

import pytest
from attrs import evolve

from ocpi_gireve import Context, PartyId, v221
from ocpi_gireve.errors import Forbidden, InvalidParameters, UnknownObject
from ocpi_gireve.simulator.roaming import Aliases, Command, Commands, Roaming
from ocpi_gireve.types import Role
from tests.simulator.scene import CPO, EMP, OTH

CTX = Context(partner="emsp", version="2.2.1", request_id="r", correlation_id="c")
COMMAND = Command(
    cpo=CPO,
    cpo_connection="cpo",
    emsp=EMP,
    emsp_connection="emsp",
    response_url="https://emsp/x",
    cause=CTX,
)
ACCEPTED = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)


class TestAliases:
    def test_there_and_back(self) -> None:
        """An id gets one alias, whatever its spelling, and the alias leads back to it."""
        aliases = Aliases()
        shown = aliases.shown(CPO, "Session-1")
        assert shown == aliases.shown(PartyId("fr", "cpo"), "SESSION-1")
        assert aliases.original(shown.upper()) == (CPO, "Session-1")

    def test_owners_apart(self) -> None:
        """The same id of two partners gets two aliases."""
        aliases = Aliases()
        assert aliases.shown(EMP, "1") != aliases.shown(OTH, "1")

    def test_bounded(self) -> None:
        """Only so many ids are remembered; the oldest is forgotten in both directions."""
        aliases = Aliases(limit=2)
        shown = [aliases.shown(CPO, name) for name in ("a", "b", "c")]
        assert [aliases.original(one) is None for one in shown] == [True, False, False]
        assert aliases.shown(CPO, "a") != shown[0]


class TestCommands:
    def test_only_the_commanded_cpo_answers(self) -> None:
        """A command is found at its place, by the partner that carries it out and by nobody else."""
        commands = Commands()
        place = commands.add("START_SESSION", COMMAND)
        assert place.startswith("START_SESSION/")
        assert commands.at(place, "cpo") is COMMAND
        for wrong in ((place, "emsp"), ("START_SESSION/guessed", "cpo")):
            with pytest.raises(UnknownObject):
                commands.at(*wrong)

    def test_bounded(self) -> None:
        """Only so many commands wait for their result; the oldest is forgotten."""
        commands = Commands(limit=3)
        places = [commands.add("STOP_SESSION", COMMAND) for _ in range(5)]
        for place in places:
            commands.passed_on(place, ACCEPTED)
        assert len(commands) == 3
        assert not commands.is_passed_on(places[0], ACCEPTED)
        assert commands.is_passed_on(places[4], ACCEPTED)

    def test_another_result(self) -> None:
        """Another result than the one that was passed on is news."""
        commands = Commands()
        place = commands.add("START_SESSION", COMMAND)
        commands.passed_on(place, ACCEPTED)
        failed = evolve(ACCEPTED, result=v221.CommandResultType.FAILED)
        assert not commands.is_passed_on(place, failed)


class TestRoaming:
    def test_contracts(self) -> None:
        """Without contracts everybody roams with everybody; with them, who agreed."""
        open_to_all = Roaming(PartyId("FR", "107"), list, None)
        closed = Roaming(PartyId("FR", "107"), list, [(CPO, EMP)])
        assert open_to_all.agreed(CPO, OTH)
        assert closed.agreed(PartyId("fr", "cpo"), EMP)
        assert not closed.agreed(CPO, OTH)

    def test_nobody_asks(self) -> None:
        """A party that is not named, or not known, asks for nothing."""
        roaming = Roaming(PartyId("FR", "107"), list, None)
        with pytest.raises(InvalidParameters, match="OCPI-from"):
            roaming.asking(CTX, Role.CPO)
        with pytest.raises(Forbidden):
            roaming.asking(evolve(CTX, sender=CPO), Role.CPO)

    def test_addressed_to_iop(self) -> None:
        """Every request from a CPO is addressed to IOP itself."""
        roaming = Roaming(PartyId("FR", "107"), list, None)
        roaming.require_hub(CTX)
        roaming.require_hub(evolve(CTX, receiver=PartyId("fr", "107")))
        with pytest.raises(InvalidParameters, match=r"FR\*107"):
            roaming.require_hub(evolve(CTX, receiver=EMP))
