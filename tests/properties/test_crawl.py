"""Crawls and pulls of a partner whose objects change between its pages: nothing stays missing.

The environment variable `OCPI_GIREVE_CRAWLS` says how many there are; a failure names its seed.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from random import Random

import pytest

from ocpi_gireve.crawl import TOLERANCE, Pull, crawl
from ocpi_gireve.pagination import PageQuery
from ocpi_gireve.store import MemoryStore
from tests.listings import Shelf, Thing, a_ledger

CRAWLS = int(os.environ.get("OCPI_GIREVE_CRAWLS", "400"))
BATCH = 100
SEEDS = [range(begin, min(begin + BATCH, CRAWLS)) for begin in range(0, CRAWLS, BATCH)]


class Partner:
    """A partner of some size and habits, whose objects change whenever it is asked for a page."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.made = 0
        says_time, says_total = random.random() < 0.8, random.random() < 0.9
        largest = random.randrange(2, 25)
        self.shelf = Shelf(
            by_change=random.random() < 0.5,
            says_time=says_time,
            says_total=says_total,
            says_next=random.random() < 0.9,
            largest=largest,
            # Whose clock nobody can see has to be right.
            skew=timedelta(seconds=random.choice((0, 0.4, -2, 2, 90, -90, 4000, -4000)) if says_time else 0),
        )
        if self.shelf.skew >= timedelta(0):
            # Of two clocks that are wrong, none is right.
            self.shelf.fast = timedelta(seconds=random.choice((0, 0, 0, 60, 4000)))
        for _ in range(random.randrange(120)):
            self.shelf.time += timedelta(seconds=random.randrange(20))
            self.create()
        self.shelf.time += timedelta(seconds=random.randrange(60))
        # Nobody comes to the end of what changes faster than it can be read.
        self.busy = min(random.choice((0, 1, 3, 10)), (largest if says_total else largest // 2) - 1)
        self.left = 0
        self.shelf.before, self.shelf.after = self.change_some, self.change_rest
        self.listing = self.shelf.listing(
            limit=random.choice((largest, 2 * largest)), longest=random.choice((None, timedelta(minutes=3)))
        )

    def things(self) -> dict[str, Thing]:
        return {one.id: one for one in self.shelf.things if isinstance(one, Thing)}

    def create(self) -> None:
        self.made += 1
        self.shelf.things.append(Thing(id=f"T{self.made}", last_updated=self.shelf.now))

    def change(self) -> None:
        """Create, update or delete something."""
        self.shelf.time += timedelta(milliseconds=self.random.randrange(1, 400))
        what = self.random.choice(("create", "update", "update", "delete"))
        if what == "create" or not self.shelf.things:
            self.create()
            return
        place = self.random.randrange(len(self.shelf.things))
        if what == "delete":
            del self.shelf.things[place]
        else:
            one = self.shelf.things[place]
            assert isinstance(one, Thing)
            self.shelf.things[place] = Thing(id=one.id, last_updated=self.shelf.now)

    def change_some(self) -> None:
        """Change a few things, some of them once it has looked for the page."""
        changes = self.random.randrange(self.busy + 1)
        self.left = self.random.randrange(changes + 1)
        self.change_rest(changes - self.left)

    def change_rest(self, changes: int | None = None) -> None:
        """Let some time pass, and what happens in it."""
        self.shelf.time += timedelta(milliseconds=self.random.randrange(1, 400))
        for _ in range(self.left if changes is None else changes):
            self.change()


class Ours:
    """What a consumer holds of what it was given."""

    def __init__(self, partner: Partner) -> None:
        self.partner = partner
        self.held: dict[str, Thing] = {}
        self.ledger = a_ledger(MemoryStore())

    async def take_all(self, interruptions: int) -> None:
        """Pull to the end, by object or page, leaving it half-way so often, as a process does that ends."""
        for left in range(interruptions, -1, -1):
            stop = self.partner.random.randrange(1, 40) if left else None
            pull: Pull[Thing] = Pull(
                self.partner.listing, self.ledger, full=False, since=None, resume=True, overlap=timedelta(0)
            )
            if self.partner.random.random() < 0.3:
                async for page in pull.pages():
                    if stop is not None and pull.taken >= stop:
                        break  # nothing of this page was written
                    for one in page.items:
                        self.hold(one)
            else:
                async for one in pull:
                    self.hold(one)
                    if pull.taken == stop:
                        break
            await pull.aclose()

    def hold(self, one: Thing) -> None:
        """Keep a thing, unless a later state of it is there."""
        held = self.held.get(one.id)
        if held is None or held.last_updated <= one.last_updated:
            self.held[one.id] = one

    def missing(self, before: datetime) -> list[Thing]:
        """What the partner has, unchanged since a moment, and we have not, or not in this state."""
        return [
            one
            for one in self.partner.things().values()
            if one.last_updated < before and self.held.get(one.id) != one
        ]


@pytest.mark.parametrize("batch", SEEDS, ids=str)
async def test_nothing_stays_missing(batch: range) -> None:
    """After a full pull and some deltas, interrupted or not, nothing that was there before is missing."""
    for seed in batch:
        random = Random(seed)
        partner = Partner(random)
        ours = Ours(partner)
        await ours.ledger.store.open()
        for _ in range(random.randrange(2, 5)):
            begun = partner.shelf.now
            await ours.take_all(interruptions=random.choice((0, 0, 0, 1, 2)))
            # What is nearer to the present than two clocks agree is left to the next delta.
            assert ours.missing(begun - TOLERANCE - timedelta(seconds=1)) == [], f"seed {seed}"
            for _ in range(random.randrange(20)):
                partner.change()
            partner.shelf.time += timedelta(seconds=random.randrange(600))
        await ours.take_all(interruptions=0)
        partner.busy = 0
        partner.shelf.time += timedelta(seconds=10)
        still = partner.shelf.now - timedelta(seconds=5)
        await ours.take_all(interruptions=0)
        assert ours.missing(still) == [], f"seed {seed}"


@pytest.mark.parametrize("batch", SEEDS, ids=str)
async def test_crawl_brings_all_that_is_there(batch: range) -> None:
    """A crawl of everything brings every object that is there all the time, as it is if nobody touched it.

    So what it does not bring is gone.
    """
    for seed in batch:
        partner = Partner(Random(seed))
        before = partner.things()
        found = {one.id: one async for one in crawl(partner.listing, PageQuery())}
        there = {name: one for name, one in partner.things().items() if name in before}
        assert there.keys() <= found.keys(), f"seed {seed}"
        still = {name: one for name, one in there.items() if before[name] == one}
        assert still.items() <= found.items(), f"seed {seed}"
