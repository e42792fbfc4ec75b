"""One roaming story over real HTTP: a CPO and an eMSP register with IOP and charge a car; prints nothing.

Each step verifies what it did at the party that it was done for, and fails with a sentence otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path, PurePath
from traceback import extract_tb
from types import TracebackType
from typing import Self, TypeAlias, cast

from attrs import fields, frozen

from .._codec import to_json
from .._model import Model, replaced
from ..errors import InvalidObject, OcpiError, UnknownToken
from ..gireve import SIMULATOR
from ..http import HttpServer, aiohttp_app
from ..journal import Exchanged
from ..pagination import PageQuery
from ..platform import Platform
from ..receivers import LocationBook
from ..registration import PIN_FIRST
from ..store import SqliteStore
from ..transport import HttpRequest, HttpResponse
from ..types import Json, Party, PartyId, Role
from ..v221 import (
    AllowedType,
    AuthMethod,
    CommandResponseType,
    CommandResultType,
    Location,
    LocationReferences,
    LocationsSender,
    OwnTokenRef,
    Session,
    SessionStatus,
    Status,
    TokensSender,
)
from .cpo import Cpo, Spot, cdr_location, spots
from .emsp import Commanded, Emsp
from .handlers import is_removed, without_removed
from .iop import Simulator
from .samples import drivers

HOST = "127.0.0.1"
PATIENCE = 10.0
"""Seconds that a step waits for what it caused to arrive."""
LONGEST_STEP = 60.0
"""Seconds after which a step has failed, whatever it waits for."""

EMSPS = ("EMP", *(f"E{number:02d}" for number in range(100)))
"""Party ids in FR: the eMSP is the first of them that owns no location."""

Do: TypeAlias = Callable[[], Awaitable[str]]


class StepFailed(Exception):
    """What a step verified was not so."""


@frozen
class Step:
    """One step of the story, when it has ended.

    Attributes:
        name: What was done.
        detail: What was seen, or why it failed.
        ok: Whether everything it verified was so.
        milliseconds: How long it took.
        exchanges: The exchanges that it caused, each counted once, at the side that asked.
    """

    name: str
    detail: str
    ok: bool
    milliseconds: float
    exchanges: tuple[Exchanged, ...]


class Story:
    """The story, step by step; within its context, what it started runs.

    Args:
        locations: What the CPOs operate; one location at least must have an EVSE with a connector. Each must
            belong to a party, which is not IOP.
        folder: Where the CPO's database is kept.

    Attributes:
        uploads_lost: Uploads that had been accepted and never arrived; None until the uploads were counted.

    Raises:
        ValueError: no location has a place where a car can charge.
    """

    # What the first step starts.
    _iop_server: _Serving
    _cpo_server: _Serving
    _iop: Simulator
    _cpo: Cpo
    _emsp: Emsp

    def __init__(self, locations: Sequence[Location], folder: Path) -> None:
        self.uploads_lost: int | None = None
        self._folder = folder
        self._exchanges: list[Exchanged] = []
        self._stack = AsyncExitStack()
        self._book = LocationBook(locations)
        self._offered = self._book.all()
        self._owners = list(dict.fromkeys(PartyId(one.country_code, one.party_id) for one in self._offered))
        self._spot = _usable_spot(self._offered)
        emsp = next(party_id for party_id in EMSPS if PartyId("FR", party_id) not in self._owners)
        self._driver, self._blocked_driver = drivers("FR", emsp)
        self._reference = ""
        self._billed = ""
        self._remote = ""
        self._waiting: list[Status] = []
        self._seen_before = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that the steps have started."""
        await self._stack.aclose()

    def steps(self) -> list[tuple[str, Do]]:
        """Return the steps in their order, each with what carries it out and returns what was seen."""
        return [
            ("IOP, a CPO and an eMSP start", self._start),
            ("The CPO registers with IOP", self._register_cpo),
            ("IOP registers with the eMSP", self._register_emsp),
            ("IOP pulls the CPO's locations", self._pull_from_cpo),
            ("The eMSP pulls the locations from IOP", self._pull_by_emsp),
            ("An EVSE status reaches the eMSP", self._evse_status),
            ("A driver's RFID card is authorized", self._authorize),
            ("A session runs from start to COMPLETED", self._session),
            ("The CDR reaches the eMSP", self._cdr),
            ("The eMSP starts a session remotely", self._remote_start),
            ("The eMSP stops it remotely", self._remote_stop),
            ("IOP goes down; three uploads wait on disk", self._outage),
            ("The CPO restarts from its store", self._restart),
            ("IOP returns; the uploads arrive in order", self._recovery),
        ]

    async def carry_out(self, name: str, do: Do) -> Step:
        """Carry out one step. It does not raise: a step that fails says so."""
        before = len(self._exchanges)
        began = time.perf_counter()
        ok = False
        try:
            async with asyncio.timeout(LONGEST_STEP):
                detail, ok = await do(), True
        except (StepFailed, OcpiError) as failed:
            detail = str(failed)
        except TimeoutError as late:
            detail = str(late) or f"not done within {LONGEST_STEP:g} s"
        except Exception as error:  # noqa: BLE001 - the story ends, and says where
            # Not its text, which may quote what was sent.
            detail = f"{type(error).__name__} at {_place(error)}"
        milliseconds = (time.perf_counter() - began) * 1000
        return Step(name, detail, ok, milliseconds, tuple(self._exchanges[before:]))

    # --- the steps ---------------------------------------------------------------------------------

    async def _start(self) -> str:
        """Serve the three platforms on free ports of the loopback interface."""
        self._iop_server = await self._stack.enter_async_context(_Serving.start())
        self._cpo_server = await self._stack.enter_async_context(_Serving.start())
        emsp_server = await self._stack.enter_async_context(_Serving.start())
        self._emsp = Emsp(
            public_url=emsp_server.public_url,
            party=Party(self._driver.country_code, self._driver.party_id, Role.EMSP, name="Example eMSP"),
            tokens=[self._driver, self._blocked_driver],
            hub=SIMULATOR,
            on_exchange=self._note,
        )
        await self._run(self._emsp.platform, emsp_server)
        self._iop = Simulator(public_url=self._iop_server.public_url, on_exchange=self._note)
        await self._run(self._iop.platform, self._iop_server)
        await self._start_cpo()
        parties = (f"FR*107 on port {self._iop_server.port}", f"the CPO on {self._cpo_server.port}")
        return f"{', '.join(parties)}, {self._emsp.party.id} on {emsp_server.port}"

    async def _register_cpo(self) -> str:
        token_a = await self._iop.invite("cpo")
        connection = await self._cpo.platform.register(SIMULATOR, self._iop.versions_url, token_a)
        return f"ToIOP, OCPI {connection.record.version}, {len(connection.record.endpoints)} endpoints"

    async def _register_emsp(self) -> str:
        token_a = await self._emsp.platform.invite(SIMULATOR, origins=PIN_FIRST)
        await self._iop.register("emsp", self._emsp.platform.versions_url, token_a)
        record = self._emsp.platform.connection(SIMULATOR.name).record
        return f"FromIOP, OCPI {record.version}, {len(record.endpoints)} endpoints"

    async def _pull_from_cpo(self) -> str:
        pulled = await self._iop.pull_locations("cpo")
        if pulled.rejected:
            raise StepFailed(f"{len(pulled.rejected)} items were not taken; {pulled.rejected[0]}")
        there = len(self._offered)
        _expect(pulled.locations == there, f"IOP got {pulled.locations} of {there} locations")
        return f"{pulled.locations} locations in {pulled.pages} pages"

    async def _pull_by_emsp(self) -> str:
        """Pull everything and compare it with what the CPO serves: nothing may be dropped on the way.

        What is REMOVED comes with a delta pull alone.
        """
        there = [without_removed(location) for location in self._offered if not is_removed(location)]
        oldest = min(location.last_updated for location in self._offered)
        full = await self._pulled(PageQuery())
        _expect_same(full, there)
        seen = f"{len(full)} locations, equal to the CPO's"
        if there != self._offered:
            delta = await self._pulled(PageQuery(date_from=oldest))
            _expect_same(delta, self._offered)
            seen = f"{seen} (and {len(delta)} with what is REMOVED)"
        for location in full:
            self._emsp.locations.put(location)
        return f"{seen}, {sum(map(_unknown, full))} unknown properties kept"

    async def _evse_status(self) -> str:
        """Report a status, twice: "IOP takes into account and forwards the first"."""
        reported = [Status.BLOCKED, Status.BLOCKED, Status.AVAILABLE]
        expected = [Status.BLOCKED, Status.AVAILABLE]
        if self._spot.evse.status is not Status.AVAILABLE:
            reported.insert(0, Status.AVAILABLE)
            expected.insert(0, Status.AVAILABLE)
        for status in reported:
            await self._cpo.set_status(self._spot, status)
        await self._statuses_at_emsp(0, expected)
        return f"{self._spot.evse.evse_id or self._spot.evse.uid} {_listed(expected)}; no repetition"

    async def _authorize(self) -> str:
        allowed, self._reference = await self._ask(self._driver.uid)
        _expect(allowed is AllowedType.ALLOWED, f"the card was answered {allowed}")
        _expect(bool(self._reference), "the authorization has no reference")
        ours = self._emsp.tokens.references
        _expect(self._reference not in ours, "IOP did not replace the reference")
        allowed, _ = await self._ask(self._blocked_driver.uid)
        _expect(allowed is AllowedType.BLOCKED, f"a blocked card was answered {allowed}")
        try:
            await self._ask("FFFFFFFFFFFFFF")
        except UnknownToken as unknown:
            return f"ALLOWED; a blocked card BLOCKED, an unknown one {unknown.status_code}"
        raise StepFailed("an unknown card was not refused")

    async def _session(self) -> str:
        """Charge with the reference that IOP gave; the eMSP must get the one that it gave itself."""
        spot = self._spot
        started = await self._cpo.begin(spot, self._driver, AuthMethod.AUTH_REQUEST, self._reference)
        ours = self._emsp.tokens.references[-1]
        shown = await self._session_at_emsp(ours, SessionStatus.ACTIVE)
        _expect(shown.id != started.id, "IOP did not replace the session's id")
        self._billed = (await self._cpo.finish(started.id)).id
        shown = await self._session_at_emsp(ours, SessionStatus.COMPLETED)
        _expect(shown.end_date_time is not None, "the completed session has no end")
        return f"ACTIVE, COMPLETED with {shown.kwh} kWh and the eMSP's authorization_reference"

    async def _cdr(self) -> str:
        cdrs = self._emsp.cdrs.known
        await _until(lambda: any(cdr.id == self._billed for cdr in cdrs()), "the CDR did not arrive")
        cdr = next(cdr for cdr in cdrs() if cdr.id == self._billed)
        sent = next(cdr for cdr in self._iop.cdrs() if cdr.id == self._billed)
        session = await self._session_at_emsp(self._emsp.tokens.references[-1], SessionStatus.COMPLETED)
        _expect(cdr.session_id == session.id, "the CDR does not name the session")
        _expect(
            cdr.authorization_reference == session.authorization_reference,
            "the CDR does not repeat the eMSP's authorization_reference",
        )
        _expect(cdr.total_cost == sent.total_cost, "the CDR's cost changed on the way")
        _expect(cdr.cdr_location == sent.cdr_location, "the CDR's location changed on the way")
        return f"{cdr.total_energy} kWh, {cdr.total_cost.excl_vat} {cdr.currency} without VAT"

    async def _remote_start(self) -> str:
        spot = self._spot
        commanded = await self._emsp.start_session(
            spot.cpo, self._driver, spot.location.id, spot.evse.uid, spot.connector.id
        )
        await self._command_result(commanded)
        self._remote = commanded.reference
        await self._session_at_emsp(self._remote, SessionStatus.ACTIVE)
        return "ACCEPTED at once, ACCEPTED as result, session ACTIVE with the command's reference"

    async def _remote_stop(self) -> str:
        session = await self._session_at_emsp(self._remote, SessionStatus.ACTIVE)
        await self._command_result(await self._emsp.stop_session(self._spot.cpo, session.id))
        await self._session_at_emsp(self._remote, SessionStatus.COMPLETED)
        cdrs = self._emsp.cdrs.known
        await _until(lambda: any(cdr.session_id == session.id for cdr in cdrs()), "the CDR did not arrive")
        return "ACCEPTED at once, ACCEPTED as result, session COMPLETED, CDR received"

    async def _outage(self) -> str:
        for platform in (self._cpo.platform, self._iop.platform):
            await platform.outbox.drained(timeout=PATIENCE)
        await self._iop_server.stop()
        self._seen_before = len(self._emsp.pushed.statuses)
        self._waiting = [Status.CHARGING, Status.BLOCKED, Status.AVAILABLE]
        for status in self._waiting:
            await self._cpo.set_status(self._spot, status)
        there = await _undelivered(self._cpo.platform)
        _expect(there == len(self._waiting), f"{there} uploads are in the store")
        return f"{_listed(self._waiting)} of one EVSE"

    async def _restart(self) -> str:
        await self._cpo.platform.close()
        await self._start_cpo()
        there = await _undelivered(self._cpo.platform)
        _expect(there == len(self._waiting), "the uploads did not survive")
        state = self._cpo.platform.connection(SIMULATOR.name).record.state
        return f"connection {state.value}, {there} uploads waiting"

    async def _recovery(self) -> str:
        await self._iop_server.restart()
        try:
            await self._cpo.platform.outbox.drained(timeout=PATIENCE)
            await self._iop.platform.outbox.drained(timeout=PATIENCE)
        finally:
            left = [await _undelivered(one) for one in (self._cpo.platform, self._iop.platform)]
            self.uploads_lost = sum(left)
        await self._statuses_at_emsp(self._seen_before, self._waiting)
        _expect(self.uploads_lost == 0, f"{self.uploads_lost} uploads were refused")
        return _listed(self._waiting)

    # --- what the steps share ----------------------------------------------------------------------

    def _note(self, exchanged: Exchanged) -> None:
        if exchanged.direction == "out":
            self._exchanges.append(exchanged)

    async def _run(self, platform: Platform, server: _Serving) -> None:
        self._stack.push_async_callback(platform.store.close)
        self._stack.push_async_callback(platform.close)
        await platform.start()
        server.platform = platform

    async def _start_cpo(self) -> None:
        self._cpo = Cpo(
            public_url=self._cpo_server.public_url,
            parties=[
                Party(one.country_code, one.party_id, Role.CPO, name=f"CPO {one}") for one in self._owners
            ],
            locations=self._book,
            store=SqliteStore(self._folder / "cpo.db"),
            hub=SIMULATOR,
            on_exchange=self._note,
        )
        await self._run(self._cpo.platform, self._cpo_server)

    async def _pulled(self, query: PageQuery) -> list[Location]:
        iop = self._emsp.platform.connection(SIMULATOR.name)
        return [location async for location in iop.crawl(LocationsSender.list_locations, query)]

    async def _ask(self, uid: str) -> tuple[AllowedType, str]:
        location = LocationReferences(location_id=self._spot.location.id, evse_uids=[self._spot.evse.uid])
        connection = self._cpo.towards_hub(self._spot.cpo)
        answer = await connection.call(TokensSender.authorize, OwnTokenRef(uid), location)
        return answer.allowed, answer.authorization_reference or ""

    async def _session_at_emsp(self, reference: str, status: SessionStatus) -> Session:
        """Wait for a session, which is known by the eMSP's own authorization reference."""
        found: list[Session] = []

        def arrived() -> bool:
            found[:] = [
                one
                for one in self._emsp.sessions.known()
                if one.authorization_reference == reference and one.status is status
            ]
            return bool(found)

        await _until(arrived, f"no session {status.value} with the authorization_reference arrived")
        return found[0]

    async def _statuses_at_emsp(self, before: int, expected: list[Status]) -> None:
        statuses = self._emsp.pushed.statuses
        await _until(lambda: len(statuses) - before >= len(expected), "a status did not arrive")
        seen = statuses[before:]
        _expect(seen == expected, f"the statuses came as {_listed(seen)}")

    async def _command_result(self, commanded: Commanded) -> None:
        accepted = commanded.answer is CommandResponseType.ACCEPTED
        _expect(accepted, f"the command was answered {commanded.answer}")
        results = self._emsp.commands.results
        await _until(lambda: commanded.place in results, "the command's result did not arrive")
        result = results[commanded.place].result
        _expect(result is CommandResultType.ACCEPTED, f"the command ended with {result}")


class _Serving:
    """An HTTP server on a port of its own, which can go down and return."""

    def __init__(self) -> None:
        self.platform: Platform | None = None
        self.port = 0
        self._server: HttpServer | None = None

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncGenerator[_Serving]:
        serving = cls()
        try:
            await serving.restart()
            yield serving
        finally:
            await serving.stop()

    @property
    def public_url(self) -> str:
        return f"http://{HOST}:{self.port}/ocpi"

    async def restart(self) -> None:
        self._server = HttpServer(aiohttp_app(self._serve), host=HOST, port=self.port)
        await self._server.__aenter__()
        self.port = self._server.port

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.__aexit__(None, None, None)
            self._server = None

    async def _serve(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=503) if self.platform is None else await self.platform.handle(request)


def _expect(so: bool, otherwise: str) -> None:
    if not so:
        raise StepFailed(otherwise)


async def _until(so: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so; it is caused by exchanges that go on meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while not so():
        if time.monotonic() > deadline:
            raise StepFailed(otherwise)
        await asyncio.sleep(0.005)


async def _undelivered(platform: Platform) -> int:
    """Return how many uploads wait, or were refused and wait for the operator."""
    return sum(lane.queued + lane.parked for lane in await platform.outbox.status())


def _expect_same(got: Sequence[Location], offered: Sequence[Location]) -> None:
    """Make sure that nothing was dropped on the way, and nothing added but IOP's own ids."""
    _expect(all(location.gireve_id for location in got), "a location came without gireve_id")
    there = {_key(location): _plain(location) for location in got}
    expected = {_key(location): _plain(location) for location in offered}
    for key, plain in expected.items():
        if key not in there:
            raise StepFailed(f"location {key} did not arrive")
        _expect(there[key] == plain, f"location {key} is not what the CPO serves")
    _expect(len(there) == len(expected), f"{len(there)} locations arrived instead of {len(expected)}")


def _plain(location: Location) -> Json:
    """Return a location without the ids that IOP gives."""
    evses = [
        replaced(
            evse,
            {
                "gireve_id": None,
                "connectors": [replaced(connector, {"gireve_id": None}) for connector in evse.connectors],
            },
        )
        for evse in location.evses
    ]
    return to_json(replaced(location, {"gireve_id": None, "evses": evses}))


def _key(location: Location) -> str:
    return f"{location.country_code}*{location.party_id}/{location.id}"


def _unknown(one: Model) -> int:
    """Count the properties that OCPI does not define, at every level."""
    values = (getattr(one, attribute.name) for attribute in fields(type(one)) if attribute.name != "extra")
    return len(one.extra) + sum(_unknown(part) for value in values for part in _parts(value))


def _parts(value: object) -> Iterable[Model]:
    if isinstance(value, Model):
        return (value,)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return (item for item in items if isinstance(item, Model))


def _usable_spot(locations: Sequence[Location]) -> Spot:
    """Return a place that URLs and a CDR can name: a free one with an evse_id, if there is one."""
    found = [spot for spot in spots(locations) if _is_usable(spot)]
    if not found:
        raise ValueError("no location has an EVSE with a connector that a CDR could name")
    return min(found, key=lambda spot: (spot.evse.status is not Status.AVAILABLE, not spot.evse.evse_id))


def _is_usable(spot: Spot) -> bool:
    ids = (spot.location.id, spot.evse.uid, spot.connector.id)
    # There is no later date than the last.
    if spot.evse.last_updated.year == 9999 or any(one in ("", ".", "..") for one in ids):
        return False
    try:
        cdr_location(spot)
    except InvalidObject:
        return False
    return True


def _listed(statuses: Iterable[Status]) -> str:
    return ", ".join(status.value for status in statuses)


def _place(error: Exception) -> str:
    frame = extract_tb(error.__traceback__)[-1]
    return f"{PurePath(frame.filename).name}:{frame.lineno} in {frame.name}"
