"""One roaming story over real HTTP: a CPO and an eMSP register with IOP and charge a car; prints nothing.

Each step verifies what it did at the party that it was done for, and fails with a sentence otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from attrs import define, field, frozen

from .._codec import to_json
from .._model import replaced
from ..errors import InvalidObject, OcpiError, StatusError
from ..gireve import SIMULATOR
from ..http import HttpServer, aiohttp_app
from ..journal import Exchanged
from ..platform import Platform
from ..registration import PIN_FIRST
from ..receivers import LocationBook
from ..store import SqliteStore
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
from .emsp import Emsp
from .iop import Simulator
from .samples import drivers

HOST = "127.0.0.1"
PATIENCE = 10.0
"""Seconds that a step waits for what it caused to arrive."""


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


@define
class _Log:
    exchanges: list[Exchanged] = field(factory=list[Exchanged])

    def note(self, exchanged: Exchanged) -> None:
        if exchanged.direction == "out":
            self.exchanges.append(exchanged)


class Story:
    """The story, step by step.

    Args:
        locations: What the CPO operates; at least one location must have an EVSE with a connector.
        folder: Where the CPO's database is kept.

    Attributes:
        uploads_lost: Uploads that had been accepted and never arrived; None until the last step.

    Raises:
        ValueError: no location has a place to charge, or one belongs to what is no party.
    """

    def __init__(self, locations: Sequence[Location], folder: Path) -> None:
        self._folder = folder
        self._log = _Log()
        self._book = LocationBook()
        for location in locations:
            self._book.put(location)
        self._offered = {_key(location): to_json(location) for location in self._book.all()}
        self._owners = _owners(locations)
        self._spot = _usable_spot(self._book.all())
        self._tokens = drivers()
        self._received: list[str] = []
        self.uploads_lost: int | None = None

    def steps(self) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
        """Return the steps in their order, each with what carries it out and returns what was seen."""
        return [
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

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Start the three servers on free ports of the loopback interface, and stop them at the end."""
        async with AsyncExitStack() as stack:
            self._iop_server = await stack.enter_async_context(_Serving.start())
            self._cpo_server = await stack.enter_async_context(_Serving.start())
            self._emsp_server = await stack.enter_async_context(_Serving.start())
            self._iop = Simulator(public_url=self._iop_server.public_url, on_exchange=self._log.note)
            self._cpo = self._new_cpo()
            emsp = PartyId(self._tokens[0].country_code, self._tokens[0].party_id)
            self._emsp = Emsp(
                public_url=self._emsp_server.public_url,
                party=Party(emsp.country_code, emsp.party_id, Role.EMSP, name="Example eMSP"),
                tokens=self._tokens,
                hub=SIMULATOR,
                on_exchange=self._log.note,
            )
            stack.push_async_callback(self._close)
            for server, platform in (
                (self._iop_server, self._iop.platform),
                (self._cpo_server, self._cpo.platform),
                (self._emsp_server, self._emsp.platform),
            ):
                await platform.start()
                server.platform = platform
            yield

    async def _close(self) -> None:
        for platform in (self._cpo.platform, self._iop.platform, self._emsp.platform):
            await platform.close()

    async def run(self) -> AsyncIterator[Step]:
        """Carry out the steps, and yield each when it has ended; the first that fails is the last."""
        for name, do in self.steps():
            before = len(self._log.exchanges)
            began = time.perf_counter()
            try:
                detail, ok = await do(), True
            except (StepFailed, OcpiError) as failed:
                detail, ok = str(failed), False
            milliseconds = (time.perf_counter() - began) * 1000
            yield Step(name, detail, ok, milliseconds, tuple(self._log.exchanges[before:]))
            if not ok:
                return

    # --- the steps ---------------------------------------------------------------------------------

    async def _register_cpo(self) -> str:
        token_a = await self._iop.invite("cpo")
        connection = await self._cpo.platform.register(SIMULATOR, self._iop.versions_url, token_a)
        return f"ToIOP, OCPI {connection.record.version}, {len(connection.record.endpoints)} endpoints"

    async def _register_emsp(self) -> str:
        token_a = await self._emsp.platform.invite(SIMULATOR, origins=PIN_FIRST)
        await self._iop.register("emsp", self._emsp.platform.versions_url, token_a)
        endpoints = self._emsp.platform.connection(SIMULATOR.name).record.endpoints
        return f"FromIOP, {len(endpoints)} endpoints"

    async def _pull_from_cpo(self) -> str:
        locations, pages = await self._iop.pull_locations("cpo")
        _expect(locations == len(self._offered), f"IOP got {locations} of {len(self._offered)} locations")
        return f"{locations} locations in {pages} pages"

    async def _pull_by_emsp(self) -> str:
        """Pull everything and compare it with what the CPO serves: nothing may have been dropped on the way."""
        got: dict[str, Json] = {}
        async for location in self._emsp.platform.connection(SIMULATOR.name).crawl(LocationsSender.list_locations):
            self._emsp.locations.put(location)
            _expect(location.gireve_id is not None, "a location came without gireve_id")
            got[_key(location)] = to_json(replaced(location, {"gireve_id": None}))
        _expect(got == self._offered, "the locations are not what the CPO serves")
        unknown = sum(_unknown(location) for location in self._book.all())
        return f"{len(got)} locations, equal to the CPO's, {unknown} unknown properties kept"

    async def _evse_status(self) -> str:
        if self._spot.evse.status is not Status.AVAILABLE:
            await self._cpo.set_status(self._spot, Status.AVAILABLE)
        status = Status.BLOCKED
        await self._cpo.set_status(self._spot, status)
        await _until(lambda: self._emsp.locations.evse(self._spot.ref).status is status, "the status did not arrive")
        await self._cpo.set_status(self._spot, Status.AVAILABLE)
        return f"{self._spot.evse.evse_id or self._spot.evse.uid} {status.value}, and AVAILABLE again"

    async def _authorize(self) -> str:
        self._reference = await self._authorized(self._tokens[0].uid)
        blocked = await self._ask(self._tokens[1].uid)
        _expect(blocked[0] is AllowedType.BLOCKED, "a blocked card was not refused")
        try:
            await self._ask("FFFFFFFFFFFFFF")
        except StatusError as unknown:
            _expect(unknown.status_code == 2004, f"an unknown card was answered {unknown.status_code}")
            return "ALLOWED; a blocked card BLOCKED, an unknown one 2004"
        raise StepFailed("an unknown card was not refused")

    async def _session(self) -> str:
        self._started = await self._cpo.begin(
            self._spot, self._tokens[0], AuthMethod.AUTH_REQUEST, self._reference
        )
        shown = await self._session_at_emsp(self._started, SessionStatus.ACTIVE)
        ours = self._emsp.tokens.references[0]
        _expect(shown.authorization_reference == ours, "the eMSP's authorization reference was not repeated")
        self._billed = await self._cpo.finish(self._started.id)
        shown = await self._session_at_emsp(self._started, SessionStatus.COMPLETED)
        _expect(shown.end_date_time is not None, "the completed session has no end")
        return f"ACTIVE, COMPLETED with {shown.kwh} kWh and the eMSP's authorization_reference"

    async def _cdr(self) -> str:
        await _until(
            lambda: any(cdr.id == self._billed.id for cdr in self._emsp.cdrs.all()), "the CDR did not arrive"
        )
        cdr = next(cdr for cdr in self._emsp.cdrs.all() if cdr.id == self._billed.id)
        _expect(cdr.total_cost == self._billed.total_cost, "the CDR's cost changed on the way")
        _expect(cdr.cdr_location == self._billed.cdr_location, "the CDR's location changed on the way")
        return f"{cdr.total_energy} kWh, {cdr.total_cost.excl_vat} {cdr.currency} without VAT"

    async def _remote_start(self) -> str:
        spot = self._spot
        answer, place, reference = await self._emsp.start_session(
            spot.cpo, self._tokens[0], spot.location.id, spot.evse.uid, spot.connector.id
        )
        _expect(answer.result is CommandResponseType.ACCEPTED, f"the command was answered {answer.result}")
        await self._command_result(place)
        await _until(lambda: self._remote_session(reference) is not None, "the session did not arrive")
        self._remote = self._remote_session(reference)
        return "ACCEPTED at once, ACCEPTED as result, session ACTIVE with the command's reference"

    async def _remote_stop(self) -> str:
        remote = self._remote
        if remote is None:
            raise StepFailed("no session was started")
        answer, place = await self._emsp.stop_session(self._spot.cpo, remote.id)
        _expect(answer.result is CommandResponseType.ACCEPTED, f"the command was answered {answer.result}")
        await self._command_result(place)
        await _until(
            lambda: any(cdr.session_id == remote.id for cdr in self._emsp.cdrs.all()), "the CDR did not arrive"
        )
        return "ACCEPTED at once, ACCEPTED as result, session COMPLETED, CDR received"

    async def _outage(self) -> str:
        await self._cpo.platform.outbox.drained(timeout=PATIENCE)
        await self._iop_server.stop()
        self._waiting = [Status.CHARGING, Status.BLOCKED, Status.AVAILABLE]
        for status in self._waiting:
            await self._cpo.set_status(self._spot, status)
        _expect(await self._queued() == 3, "the uploads are not in the store")
        return "CHARGING, BLOCKED, AVAILABLE of one EVSE"

    async def _restart(self) -> str:
        await self._cpo.platform.close()
        self._cpo = self._new_cpo()
        await self._cpo.platform.start()
        self._cpo_server.platform = self._cpo.platform
        _expect(await self._queued() == 3, "the uploads did not survive")
        state = self._cpo.platform.connection(SIMULATOR.name).record.state
        return f"connection {state.value}, 3 uploads waiting"

    async def _recovery(self) -> str:
        statuses = self._emsp.pushed.statuses
        before = len(statuses)
        await self._iop_server.restart()
        try:
            await self._cpo.platform.outbox.drained(timeout=PATIENCE)
        finally:
            self.uploads_lost = await self._queued()
        await _until(
            lambda: len(statuses) - before >= len(self._waiting), "an upload did not reach the eMSP"
        )
        seen = statuses[before:]
        self.uploads_lost = len(self._waiting) - len(seen)
        _expect(seen == self._waiting, "the uploads came out of order")
        return ", ".join(status.value for status in seen)

    # --- what the steps share ----------------------------------------------------------------------

    def _new_cpo(self) -> Cpo:
        return Cpo(
            public_url=self._cpo_server.public_url,
            parties=[Party(one.country_code, one.party_id, Role.CPO, name=f"CPO {one}") for one in self._owners],
            locations=self._book,
            store=SqliteStore(self._folder / "cpo.db"),
            hub=SIMULATOR,
            on_exchange=self._log.note,
        )

    async def _ask(self, uid: str) -> tuple[AllowedType, str | None]:
        location = LocationReferences(location_id=self._spot.location.id, evse_uids=[self._spot.evse.uid])
        connection = self._cpo.towards_hub(self._spot.cpo)
        answer = await connection.call(TokensSender.authorize, OwnTokenRef(uid), location)
        return answer.allowed, answer.authorization_reference

    async def _authorized(self, uid: str) -> str:
        allowed, reference = await self._ask(uid)
        _expect(allowed is AllowedType.ALLOWED, f"the card was answered {allowed}")
        if reference is None:
            raise StepFailed("the authorization has no reference")
        return reference

    async def _session_at_emsp(self, session: Session, status: SessionStatus) -> Session:
        def found() -> Session | None:
            for shown in self._emsp.sessions.all():
                if shown.start_date_time == session.start_date_time and shown.status is status:
                    return shown
            return None

        await _until(lambda: found() is not None, f"the session did not arrive as {status.value}")
        shown = found()
        if shown is None:
            raise StepFailed("the session went away")
        return shown

    def _remote_session(self, reference: str) -> Session | None:
        sessions = self._emsp.sessions.all()
        return next((one for one in sessions if one.authorization_reference == reference), None)

    async def _command_result(self, place: str) -> None:
        results = self._emsp.commands.results
        await _until(lambda: place in results, "the command's result did not arrive")
        result = results[place].result
        _expect(result is CommandResultType.ACCEPTED, f"the command ended with {result}")

    async def _queued(self) -> int:
        return sum(lane.queued for lane in await self._cpo.platform.outbox.status())


class _Serving:
    """One HTTP server on a port of its own, whose platform can be changed and which can go down and return."""

    def __init__(self) -> None:
        self.platform: Platform | None = None
        self.public_url = ""
        self._server: HttpServer | None = None
        self._port = 0

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[_Serving]:
        serving = cls()
        await serving.restart()
        try:
            yield serving
        finally:
            await serving.stop()

    async def restart(self) -> None:
        app = aiohttp_app(lambda request: self._served().handle(request))
        self._server = HttpServer(app, host=HOST, port=self._port)
        await self._server.__aenter__()
        self._port = self._server.port
        self.public_url = f"http://{HOST}:{self._port}/ocpi"

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.__aexit__(None, None, None)
            self._server = None

    def _served(self) -> Platform:
        if self.platform is None:
            raise StepFailed("nothing is served here yet")
        return self.platform


def _expect(so: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence: expect(this, or else that)
    if not so:
        raise StepFailed(otherwise)


async def _until(so: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so; it is caused by exchanges that go on meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while not so():
        if time.monotonic() > deadline:
            raise StepFailed(otherwise)
        await asyncio.sleep(0.005)


def _key(location: Location) -> str:
    return f"{location.country_code}*{location.party_id}/{location.id}"


def _unknown(location: Location) -> int:
    return len(location.extra) + sum(
        len(evse.extra) + sum(len(connector.extra) for connector in evse.connectors) for evse in location.evses
    )


def _usable_spot(locations: Sequence[Location]) -> Spot:
    """Return a place that a CDR can name, a free one where there is one."""
    for spot in sorted(spots(locations), key=lambda spot: spot.evse.status is not Status.AVAILABLE):
        try:
            cdr_location(spot)
        except InvalidObject:
            continue
        return spot
    raise ValueError("no location has an EVSE with a connector that a CDR could name")


def _owners(locations: Sequence[Location]) -> list[PartyId]:
    owners = dict.fromkeys(PartyId(location.country_code, location.party_id) for location in locations)
    for owner in owners:
        if len(owner.country_code) != 2 or len(owner.party_id) != 3 or not str(owner).isascii():
            raise ValueError(f"a location belongs to {owner}, which is not a party such as FR*CPO")
    return list(owners)
