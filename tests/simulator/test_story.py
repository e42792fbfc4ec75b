from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from ocpi_gireve import Context, Patch, v221
from ocpi_gireve._model import replaced
from ocpi_gireve.errors import InvalidParameters
from ocpi_gireve.simulator import Pulled, Simulator, handlers, story
from ocpi_gireve.simulator.cpo import Cpo
from ocpi_gireve.simulator.emsp import Emsp, EmspLocations
from ocpi_gireve.simulator.samples import locations
from ocpi_gireve.simulator.story import Step, Story
from ocpi_gireve.v221 import Status
from tests.support import a_connector, a_location, an_evse

OUTAGE = 11
"""The number of the step in which IOP goes down, which takes longer than all before."""


async def tell(there: Sequence[v221.Location], folder: Path, steps: int | None = None) -> list[Step]:
    """Tell the story, or its first steps, up to one that fails."""
    told: list[Step] = []
    async with Story(there, folder) as one:
        for name, do in one.steps()[:steps]:
            told.append(await one.carry_out(name, do))
            if not told[-1].ok:
                break
    return told


def ports(started: Step) -> list[int]:
    """The ports that the first step names."""
    return [int(word) for word in started.detail.replace(",", " ").split() if word.isdigit()]


async def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_whole_story(tmp_path: Path) -> None:
    """Every step is verified, every exchange of it succeeds as it should, and nothing is left running."""
    one = Story(locations(120), tmp_path)
    async with one:
        steps = [await one.carry_out(name, do) for name, do in one.steps()]
        assert not any([await is_free(port) for port in ports(steps[0])])
    assert [(step.name, step.detail) for step in steps if not step.ok] == []
    assert one.uploads_lost == 0
    details = {step.name: step.detail for step in steps}
    assert details["IOP pulls the CPO's locations"] == "120 locations in 2 pages"
    assert details["IOP returns; the uploads arrive in order"] == "CHARGING, BLOCKED, AVAILABLE"
    assert len(ports(steps[0])) == 3
    assert all([await is_free(port) for port in ports(steps[0])])
    failed = [exchanged for step in steps for exchanged in step.exchanges if exchanged.http_status != 200]
    # The unknown card, and the attempts while IOP is down.
    assert {one.operation for one in failed} == {"TokensSender.authorize", "LocationsReceiver.patch_evse"}


def over_long() -> list[v221.Location]:
    """A location that breaks most limits on texts."""
    evse = replaced(an_evse(), {"physical_reference": "p" * 99, "floor_level": "f" * 99})
    texts = {"name": "n" * 999, "address": "a" * 999, "city": "c" * 99, "postal_code": "1" * 99}
    return [replaced(a_location(evses=[evse]), {**texts, "country": "FRANCE"})]


def strange_ids() -> list[v221.Location]:
    """Locations whose ids are hard to put into a URL; the first is where the car charges."""
    connector = a_connector(id="a%2Fb c?")
    evse = an_evse(uid="1/2%;#&", connectors=[connector])
    others = [a_location(id=name) for name in (".", "..", "", "%", "a/../b", "x?y=z#w")]
    unicode = replaced(a_location(), {"id": "Lyon-Perrache-é"})
    return [a_location(id="L/%2E%00 +é"[:-1], evses=[evse]), *others, unicode]


FEEDS: dict[str, Callable[[], list[v221.Location]]] = {
    "one location": lambda: locations(1),
    "several parties, same ids": lambda: [
        *locations(3),
        *locations(3, "DE", "ABC"),
        *locations(2, "de", "xyz"),
    ],
    "the eMSP's own party": lambda: [*locations(2, "FR", "EMP"), *locations(2, "FR", "E00")],
    "all charging": lambda: [a_location(evses=[an_evse(status=Status.CHARGING)])],
    "unknown values": lambda: [
        a_location(
            evses=[
                replaced(
                    an_evse(),
                    {"status": Status("SLEEPING"), "capabilities": [v221.Capability("FLYING")]},
                )
            ]
        )
    ],
    "removed": lambda: [
        a_location(evses=[an_evse(status=Status.REMOVED), an_evse(uid="E2")]),
        a_location(id="LOC2", evses=[an_evse(status=Status.REMOVED)]),
        a_location(id="LOC3", evses=[]),
    ],
    "over-long": over_long,
    "no evse_id": lambda: [a_location(evses=[an_evse(evse_id=None)])],
    "from the future": lambda: [
        a_location(
            evses=[an_evse(last_updated=datetime(2099, 1, 1, tzinfo=UTC))],
            last_updated=datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
        )
    ],
    "strange ids": strange_ids,
    "the same EVSE twice": lambda: [a_location(evses=[an_evse(), an_evse(physical_reference="2")])],
    "from IOP itself": lambda: [
        handlers.shown_location(a_location(extra={"help_phone": "112", "more": [{"deep": None}]}))
    ],
}


@pytest.mark.parametrize("feed", FEEDS)
async def test_strange_feed(feed: str, tmp_path: Path) -> None:
    """The story is told with any feed that names one place to charge, and nothing is dropped on the way."""
    steps = await tell(FEEDS[feed](), tmp_path, OUTAGE)
    assert [(step.name, step.detail) for step in steps if not step.ok] == []


async def test_strange_ids_wait_on_disk(tmp_path: Path) -> None:
    """Ids that are hard to put into a URL survive the store too."""
    steps = await tell(strange_ids(), tmp_path)
    assert [step.ok for step in steps] == [True] * 14


class TestPlace:
    def test_best(self, tmp_path: Path) -> None:
        """The car charges at a free EVSE that has an evse_id, where there is one."""
        evses = [
            an_evse(uid="E1", status=Status.CHARGING),
            an_evse(uid="E2", evse_id=None),
            an_evse(uid="E3"),
        ]
        assert Story([a_location(evses=evses)], tmp_path)._spot.evse.uid == "E3"

    @pytest.mark.parametrize(
        "evses",
        [
            [],
            [an_evse(status=Status.REMOVED)],
            [an_evse(uid=".")],
            [an_evse(uid="..")],
            [an_evse(connectors=[a_connector(id="")])],
            [replaced(an_evse(), {"connectors": []})],
            [replaced(an_evse(), {"uid": "u" * 99})],
            [replaced(an_evse(), {"uid": "é"})],
            [an_evse(last_updated=datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC))],
        ],
    )
    def test_none(self, evses: list[v221.EVSE], tmp_path: Path) -> None:
        """Where no car can charge there is no story."""
        with pytest.raises(ValueError, match="no location has an EVSE"):
            Story([a_location(evses=evses)], tmp_path)


class TestFailure:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(story, "PATIENCE", 0.3)

    async def last(self, folder: Path) -> Step:
        return (await tell(locations(3), folder))[-1]

    async def test_nothing_arrives(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A step whose effect does not arrive fails with what did not arrive."""

        async def set_status(*_: object) -> None:
            pass

        monkeypatch.setattr(Cpo, "set_status", set_status)
        step = await self.last(tmp_path)
        assert (step.name, step.ok) == ("An EVSE status reaches the eMSP", False)
        assert step.detail == "a status did not arrive"

    async def test_unexpected(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error that nobody expected is told by its type and place, and its text is not repeated."""

        async def pull_locations(*_: object) -> None:
            raise RuntimeError("card 04A1B2C3D4E5F6")

        monkeypatch.setattr(Simulator, "pull_locations", pull_locations)
        step = await self.last(tmp_path)
        assert (step.name, step.ok) == ("IOP pulls the CPO's locations", False)
        assert step.detail.startswith("RuntimeError at test_story.py:")
        assert "04A1" not in step.detail

    async def test_hangs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A step that takes forever fails."""

        async def start_session(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(Emsp, "start_session", start_session)
        monkeypatch.setattr(story, "LONGEST_STEP", 0.5)
        step = await self.last(tmp_path)
        assert (step.name, step.detail) == ("The eMSP starts a session remotely", "not done within 0.5 s")

    async def test_rejected(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Locations that IOP did not take are told."""

        async def pull_locations(*_: object) -> Pulled:
            return Pulled(locations=2, pages=1, rejected=("item 1: no",))

        monkeypatch.setattr(Simulator, "pull_locations", pull_locations)
        assert (await self.last(tmp_path)).detail == "1 items were not taken; item 1: no"

    async def test_dropped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A property that is lost on the way is seen."""
        whole = handlers.shown_location

        def shown(location: v221.Location) -> v221.Location:
            return replaced(whole(location), {"name": None} if location.id == "LOC0002" else {})

        monkeypatch.setattr(handlers, "shown_location", shown)
        assert (await self.last(tmp_path)).detail == "location FR*CPO/LOC0002 is not what the CPO serves"

    async def test_lost(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Uploads that the eMSP refuses are counted as lost."""
        take = EmspLocations.patch_evse

        async def patch_evse(
            self: EmspLocations, ctx: Context, ref: v221.EvseRef, changes: Patch[v221.EVSE]
        ) -> None:
            if len(self.statuses) >= 6:
                raise InvalidParameters
            await take(self, ctx, ref, changes)

        monkeypatch.setattr(EmspLocations, "patch_evse", patch_evse)
        monkeypatch.setattr(story, "PATIENCE", 1.2)
        one = Story(locations(3), tmp_path)
        async with one:
            steps = [await one.carry_out(name, do) for name, do in one.steps()]
        assert [step.name for step in steps if not step.ok] == ["IOP returns; the uploads arrive in order"]
        assert one.uploads_lost == 3

    async def test_no_disk(self, tmp_path: Path) -> None:
        """A database that cannot be opened is a failed step."""
        step = await self.last(tmp_path / "absent" / "folder")
        assert (step.name, step.ok) == ("IOP, a CPO and an eMSP start", False)
        assert "04" not in step.detail


@pytest.mark.parametrize("moments", range(0, 60, 10))
async def test_cancelled(moments: int, tmp_path: Path) -> None:
    """Cancelled at any moment, the story leaves no port open and no task behind."""
    told: list[Step] = []

    async def telling() -> None:
        async with Story(locations(3), tmp_path) as one:
            for name, do in one.steps():
                told.append(await one.carry_out(name, do))

    before = asyncio.all_tasks()
    task = asyncio.create_task(telling())
    for _ in range(moments):
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    if told:
        assert all([await is_free(port) for port in ports(told[0])])


def test_same_story(tmp_path: Path) -> None:
    """The newest of several items with one id is offered, as for whoever gets them one after the other."""
    newer = a_location(name="new", last_updated=datetime(2027, 1, 1, tzinfo=UTC))
    one = Story([newer, a_location(), evolve(newer, id="LOC2")], tmp_path)
    assert [location.name for location in one._offered] == ["new", "new"]
