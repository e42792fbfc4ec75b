"""One change of an object at a time, whoever makes it; knows no object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from ..store import Store
from ..store.records import Scope
from ..types import ci_key

Place: TypeAlias = tuple[str, str, str, str]
"""Which object: its connection, kind, owner and id, spelled so that they can be compared."""


def place_of(scope: Scope, kind: str, id: str) -> Place:
    """Return which object is meant, however its party and id are spelled."""
    return scope.connection, kind, scope.owner.key, ci_key(id)


class Desk:
    """Orders the changes of all objects of one store, within this process.

    A change reads, decides and writes, and the store may let another one in between.
    """

    def __init__(self) -> None:
        # A lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()
        self._watches: list[set[Place]] = []

    @asynccontextmanager
    async def hold(self, place: Place) -> AsyncGenerator[None]:
        """Wait for one's turn at an object; first come, first served."""
        lock = self._locks.get(place)
        if lock is None:
            lock = self._locks[place] = asyncio.Lock()
        async with lock:
            yield

    @contextmanager
    def watch(self) -> Generator[set[Place]]:
        """Collect the objects that are pushed meanwhile."""
        touched: set[Place] = set()
        self._watches.append(touched)
        try:
            yield touched
        finally:
            self._watches = [watch for watch in self._watches if watch is not touched]

    def pushed(self, place: Place) -> None:
        """Tell whoever watches that an object was pushed."""
        for touched in self._watches:
            touched.add(place)


_desks: WeakKeyDictionary[Store, Desk] = WeakKeyDictionary()


def desk_of(store: Store) -> Desk:
    """Return the desk of a store: one for all that keep objects in it."""
    return _desks.setdefault(store, Desk())
