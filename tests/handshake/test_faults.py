"""One fault at each event of each handshake, and nobody is locked out by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from attrs import frozen

from ocpi_gireve import BILATERAL, Profile
from ocpi_gireve.store.records import ConnectionState, TokenKind
from tests.handshake.platforms import (
    CPO,
    EMSP,
    TOKEN_A,
    V211,
    V221,
    Event,
    Flaw,
    World,
    a_world,
    origin,
    other,
    pinned,
)

REGISTERED, UNREGISTERED = ConnectionState.REGISTERED, ConnectionState.UNREGISTERED


@frozen(kw_only=True, eq=False)
class Course:
    """A handshake that one of two platforms begins.

    Attributes:
        prepare: Brings the platforms to where it begins.
        act: Takes it; taken again, it brings about the same.
        done: The state in which it leaves the one who begins.
        live: Whether both can ask each other before, and so must be able to all the time.
        version: What is spoken afterwards.
        profile: What kind of partner each is for the other.
    """

    prepare: Callable[[World, str], Awaitable[None]]
    act: Callable[[World, str], Awaitable[None]]
    done: ConnectionState = REGISTERED
    live: bool
    version: str
    profile: Profile


async def invite(world: World, sender: str) -> None:
    """Let one come."""
    await world.platform(other(sender)).invite(
        world.profile, origins=origin(sender), id=sender, token_a=TOKEN_A
    )


async def register(world: World, sender: str) -> None:
    """Register, unless it came to that already."""
    platform = world.platform(sender)
    known = {connection.id: connection.record.state for connection in platform.connections()}
    if known.get(other(sender)) is not REGISTERED:
        url = f"{origin(other(sender))}/ocpi/versions"
        await platform.register(world.profile, url, TOKEN_A, id=other(sender))


async def registered(world: World, sender: str) -> None:
    """Bring both to where they talk to each other."""
    await invite(world, sender)
    await register(world, sender)
    await world.works()


async def just_registered(world: World, sender: str) -> None:
    """Bring both to where they could talk to each other, and have not done it yet."""
    await invite(world, sender)
    await register(world, sender)


async def rotate(world: World, sender: str) -> None:
    """Exchange new credentials."""
    await world.platform(sender).update(other(sender))


async def unregister(world: World, sender: str) -> None:
    """Unregister, unless it came to that already."""
    if world.connection(sender).record.state is REGISTERED:
        await world.platform(sender).unregister(other(sender))


def go_to(version: str) -> Callable[[World, str], Awaitable[None]]:
    """Return what goes over to a version."""

    async def go(world: World, sender: str) -> None:
        await world.platform(sender).update(other(sender), version=version)

    return go


def registered_in(version: str) -> Callable[[World, str], Awaitable[None]]:
    """Return what brings both to where they talk to each other in a version."""

    async def prepare(world: World, sender: str) -> None:
        await registered(world, sender)
        await go_to(version)(world, sender)
        await world.works()

    return prepare


COURSES = {
    f"{name} {version}": course
    for version in (V211, V221)
    for name, course in {
        "registration": Course(
            prepare=invite, act=register, live=False, version=version, profile=pinned(version)
        ),
        "rotation": Course(
            prepare=registered, act=rotate, live=True, version=version, profile=pinned(version)
        ),
        "rotation of what was never used": Course(
            prepare=just_registered, act=rotate, live=True, version=version, profile=pinned(version)
        ),
        "unregistration": Course(
            prepare=registered,
            act=unregister,
            done=UNREGISTERED,
            live=False,
            version=version,
            profile=pinned(version),
        ),
        "change to": Course(
            prepare=registered_in(V221 if version == V211 else V211),
            act=go_to(version),
            live=True,
            version=version,
            profile=BILATERAL,
        ),
    }.items()
}


STEPS: dict[Course, list[Event]] = {}
"""The events of each course, once they are known."""


async def run(course: Course, sender: str, flaws: dict[int, Flaw]) -> list[Event]:
    """Take a course with flaws, then once more without; return the events that it had."""
    async with a_world(course.profile) as world:
        await course.prepare(world, sender)
        events, broken = await world.take(course.act(world, sender), flaws, range(100) if course.live else ())
        assert (world.flaws, broken) == ({}, [])
        if course.live:
            await world.works()
        for _ in range(2):
            # The second time, everything stands as after a first one without flaws.
            await course.act(world, sender)
        if course.done is UNREGISTERED:
            await _settled_apart(world)
            await register(world, sender)
        await world.works()
        await world.settled()
        assert world.connection(sender).record.version == course.version
        return events


async def _settled_apart(world: World) -> None:
    for name in (CPO, EMSP):
        assert world.connection(name).record.state is UNREGISTERED
        tokens = world.platform(name)._directory.tokens(other(name))
        assert {token.kind for token in tokens} <= {TokenKind.A}


@pytest.mark.parametrize("sender", [CPO, EMSP])
@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
async def test_without_fault(course: Course, sender: str) -> None:
    """A handshake has its eight steps, and leaves both sides with one token each."""
    count = len(await run(course, sender, {}))
    assert count == {REGISTERED: 8, UNREGISTERED: 3}[course.done] + (course.act is register)


@pytest.mark.parametrize("flaw", Flaw)
@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
async def test_fault_at_each_event(course: Course, flaw: Flaw) -> None:
    """Whatever fails at whichever step, no request of the living fails, and one more attempt is enough."""
    sender = CPO if course.version == V221 else EMSP
    if course not in STEPS:
        STEPS[course] = await run(course, sender, {})
    for number, event in enumerate(STEPS[course]):
        if event.kind == flaw.of:
            await run(course, sender, {number: flaw})
