"""Handshakes in any order with any faults, and both can talk to each other in the end."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum

from attrs import frozen
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from ocpi_gireve import BILATERAL, Profile
from ocpi_gireve.errors import OcpiError, RegistrationFailed, Unauthorized
from ocpi_gireve.store.records import ConnectionState
from tests.handshake.platforms import CPO, EMSP, LISTINGS, V211, V221, Flaw, World, a_world, other, pinned
from tests.handshake.test_faults import invite, register

RUNS = int(os.environ.get("OCPI_GIREVE_HANDSHAKES", "300"))
"""How many runs; a release takes 20 000."""

REGISTERED = ConnectionState.REGISTERED


class Act(StrEnum):
    """What somebody does, or what befalls them."""

    REGISTER = "register"
    ROTATE = "exchange credentials"
    GO_TO_211 = "go over to 2.1.1"
    GO_TO_221 = "go over to 2.2.1"
    UNREGISTER = "unregister"
    INVITE = "invite again"
    DIE = "die"
    ASK = "ask"


@frozen
class Step:
    """One thing that happens, with its flaws.

    Attributes:
        live: The events at which both ask each other.
    """

    who: str
    act: Act
    flaws: dict[int, Flaw]
    live: frozenset[int]


EVENTS = st.integers(min_value=0, max_value=9)
STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from([CPO, EMSP]),
        st.sampled_from(Act),
        st.dictionaries(EVENTS, st.sampled_from(Flaw), max_size=2),
        st.frozensets(EVENTS, max_size=4),
    ),
    max_size=8,
)


async def act(world: World, step: Step) -> None:
    """Do one thing. The CPO registers with the eMSP, and each may do everything else."""
    platform, partner = world.platform(step.who), other(step.who)
    if step.act is Act.REGISTER:
        await register(world, CPO)
    elif step.act is Act.INVITE:
        await invite(world, CPO)
    elif step.act is Act.DIE:
        world.kill(world.process(step.who))
    elif step.act is Act.ASK:
        await world.works()
    elif step.act is Act.UNREGISTER:
        await platform.unregister(partner)
    else:
        version = {Act.GO_TO_211: V211, Act.GO_TO_221: V221}.get(step.act)
        await platform.update(partner, version=version)


async def can_talk(world: World) -> bool:
    """Whether both can ask each other."""
    try:
        await world.works()
    except OcpiError:
        return False
    return True


async def heal(world: World) -> None:
    """Do what a program does that is told to keep the connection up, on each side; nobody tells it more."""
    for name in (EMSP, CPO):
        connection = world.connection(name)
        if connection.record.state is REGISTERED:
            listing = LISTINGS[other(name), connection.record.version or ""]
            try:
                async for _ in connection.crawl(listing):
                    pass
            except Unauthorized:
                await world.platform(name).unregister(other(name))
            except OcpiError:
                pass
    try:
        await register(world, CPO)
    except RegistrationFailed:
        if world.connection(EMSP).record.state is not REGISTERED:
            raise


async def play(steps: list[Step], world: World) -> None:
    """Let everything happen, then let them mend it."""
    await invite(world, CPO)
    # The CPO knows the eMSP from the first attempt on.
    await world.take(register(world, CPO), {0: Flaw.NOT_SENT})
    for step in steps:
        talking = await can_talk(world)
        rotates = step.act in (Act.ROTATE, Act.GO_TO_211, Act.GO_TO_221)
        _, broken = await world.take(act(world, step), step.flaws, step.live)
        if talking and rotates:
            assert broken == []
            assert await can_talk(world)
    for _ in range(4):
        if await can_talk(world):
            break
        await heal(world)
    await world.works()
    # What was sent and never heard of is good until there is something newer.
    await world.platform(CPO).update(EMSP)
    await world.works()
    await world.settled()


@settings(max_examples=RUNS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.sampled_from([BILATERAL, pinned(V211), pinned(V221)]))
def test_any_course(steps: list[Step], profile: Profile) -> None:
    """Whatever happens in whichever order, two programs that keep at it come to talk to each other again."""

    async def run() -> None:
        async with a_world(profile) as world:
            await play(steps, world)

    try:
        asyncio.run(run())
    except BaseException:
        note("\n".join(str(step) for step in steps))
        raise
