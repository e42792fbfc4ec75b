from __future__ import annotations

import asyncio
import gc

from ocpi_gireve import MemoryStore, PartyId
from ocpi_gireve.receivers._desk import Desk, desk_of, place_of
from ocpi_gireve.store.records import Scope
from tests.support import CPO

LOC = place_of(Scope("iop", CPO), "location", "LOC1")
ELSE = place_of(Scope("iop", CPO), "location", "LOC2")


def test_spelling() -> None:
    """Two spellings are one place; another connection, kind, party or id is another."""
    assert place_of(Scope("iop", PartyId("fr", "cpo")), "location", "loc1") == LOC
    others = {
        place_of(Scope("IOP", CPO), "location", "LOC1"),
        place_of(Scope("iop", PartyId("FR", "ABC")), "location", "LOC1"),
        place_of(Scope("iop", CPO), "tariff", "LOC1"),
        ELSE,
    }
    assert len(others | {LOC}) == 5


def test_one_desk() -> None:
    """All that keep objects in a store share its desk, and no other store's."""
    store = MemoryStore()
    assert desk_of(store) is desk_of(store)
    assert desk_of(store) is not desk_of(MemoryStore())


async def test_first_come() -> None:
    """Turns at one place are taken one after the other in the order of asking; other places do not wait."""
    desk, log = Desk(), list[str]()
    free = asyncio.Event()

    async def take(name: str, place: tuple[str, str, str, str]) -> None:
        async with desk.hold(place):
            log.append(f"{name} in")
            if name == "first":
                await free.wait()
            log.append(f"{name} out")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(take("first", LOC))
        tasks.create_task(take("second", LOC))
        tasks.create_task(take("third", LOC))
        elsewhere = tasks.create_task(take("elsewhere", ELSE))
        await elsewhere
        free.set()
    assert log == [
        "first in",
        "elsewhere in",
        "elsewhere out",
        "first out",
        "second in",
        "second out",
        "third in",
        "third out",
    ]


async def test_nothing_remains() -> None:
    """A place that nobody holds takes no memory."""
    desk = Desk()
    async with desk.hold(LOC):
        assert len(desk._locks) == 1
    gc.collect()
    assert len(desk._locks) == 0


async def test_failure_frees() -> None:
    """Whoever fails, or is cancelled, gives the place free."""
    desk = Desk()

    async def fail() -> None:
        async with desk.hold(LOC):
            raise OSError

    async def stay() -> None:
        async with desk.hold(LOC):
            await asyncio.Event().wait()

    task = asyncio.create_task(stay())
    await asyncio.sleep(0)
    task.cancel()
    results = await asyncio.gather(task, fail(), return_exceptions=True)
    assert [type(one) for one in results] == [asyncio.CancelledError, OSError]
    async with asyncio.timeout(1), desk.hold(LOC):
        pass


def test_watch() -> None:
    """A watch collects what is pushed while it lasts, beside others."""
    desk = Desk()
    desk.pushed(ELSE)
    with desk.watch() as outer:
        desk.pushed(LOC)
        with desk.watch() as inner:
            desk.pushed(ELSE)
    desk.pushed(place_of(Scope("iop", CPO), "location", "LOC3"))
    assert (outer, inner) == ({LOC, ELSE}, {ELSE})
