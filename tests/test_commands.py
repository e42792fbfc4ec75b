from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import cast

import pytest
from attrs import define, evolve, field, frozen

from ocpi_gireve import (
    Connection,
    Context,
    Link,
    Party,
    PartyId,
    Platform,
    Profile,
    Role,
    gireve,
    v211,
    v221,
)
from ocpi_gireve import commands as commands_221
from ocpi_gireve.authorizations import Authorizations
from ocpi_gireve.commands import Deadlines, Outcome
from ocpi_gireve.commands import v211 as commands_211
from ocpi_gireve.errors import (
    InvalidObject,
    InvalidParameters,
    NoAnswer,
    NotSent,
    ServerError,
    UnknownLocation,
    UnknownObject,
)
from ocpi_gireve.http import HttpServer, aiohttp_app
from ocpi_gireve.interface import Interface
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.testing import sample
from ocpi_gireve.types import utc_now
from tests.support import CPO, EMSP, NOW, Pair, a_pair, a_token, changed

PATIENT = Deadlines(timeout=20, acknowledge=10, post=5, retry=0.001, close=5)
"""Long enough for every step, on whatever machine; only the retries come at once."""
HASTY = Deadlines(timeout=20, acknowledge=0.01, post=5, retry=0.001, close=5)
"""Answers without waiting for a check."""
IN_VAIN = Deadlines(timeout=5.02, acknowledge=0.01, post=5, retry=0.001, close=5)
"""Waits for no charger; there is time to post, though."""
SHUT = Deadlines(timeout=20, acknowledge=10, post=5, retry=10, close=5)
"""Tries to post once, before the platform closes."""


@define(eq=False)
class Charger:
    """What stands behind the commands in a test.

    Attributes:
        verdict: What the check says; what it raises, where it is an error.
        word: What becomes of the command, likewise.
        asked: Set when a check began.
        checking: The check waits for it.
        charging: The charger waits for it.
        addressed: The commands that reached the charger, by the last part of their ``response_url``.
        began: Set when one did.
        gave_up: Set when the host's code was cancelled.
        then: What follows.
        stubborn: Whether the host's code goes on when it is cancelled.
    """

    verdict: str | Exception = "ACCEPTED"
    word: str | Exception = "ACCEPTED"
    asked: asyncio.Event = field(factory=asyncio.Event)
    checking: asyncio.Event = field(factory=asyncio.Event)
    charging: asyncio.Event = field(factory=asyncio.Event)
    addressed: list[str] = field(factory=list[str])
    began: asyncio.Event = field(factory=asyncio.Event)
    gave_up: asyncio.Event = field(factory=asyncio.Event)
    then: Callable[[], Awaitable[None]] | None = None
    stubborn: bool = False

    def __attrs_post_init__(self) -> None:
        self.checking.set()
        self.charging.set()

    async def check(self) -> str:
        self.asked.set()
        await self.checking.wait()
        return said(self.verdict)

    async def execute(self, response_url: str) -> str:
        self.addressed.append(response_url.rpartition("/")[2])
        self.began.set()
        try:
            await self.charging.wait()
        except asyncio.CancelledError:
            self.gave_up.set()
            if not self.stubborn:
                raise
        return said(self.word)


def said(word: str | Exception) -> str:
    """Say a word, or raise the error in its place."""
    if isinstance(word, Exception):
        raise word
    return word


class Cpo221(commands_221.CpoCommands):
    def __init__(self, charger: Charger, deadlines: Deadlines, known: Authorizations | None) -> None:
        super().__init__(deadlines=deadlines, authorizations=known)
        self.charger = charger

    async def check_start(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponseType:
        return v221.CommandResponseType(await self.charger.check())

    async def execute_start(self, ctx: Context, command: v221.StartSession) -> commands_221.Result:
        word = v221.CommandResultType(await self.charger.execute(command.response_url))
        return Outcome(word, self.charger.then)

    async def check_stop(self, ctx: Context, command: v221.StopSession) -> v221.CommandResponseType:
        return v221.CommandResponseType(await self.charger.check())

    async def execute_stop(self, ctx: Context, command: v221.StopSession) -> commands_221.Result:
        return v221.CommandResultType(await self.charger.execute(command.response_url))


class Cpo211(commands_211.CpoCommands):
    def __init__(self, charger: Charger, deadlines: Deadlines, known: Authorizations | None) -> None:
        super().__init__(deadlines=deadlines, authorizations=known)
        self.charger = charger

    async def check_start(self, ctx: Context, command: v211.StartSession) -> v211.CommandResponseType:
        return v211.CommandResponseType(await self.charger.check())

    async def execute_start(self, ctx: Context, command: v211.StartSession) -> commands_211.Result:
        word = v211.CommandResponseType(await self.charger.execute(command.response_url))
        return Outcome(word, self.charger.then)

    async def check_stop(self, ctx: Context, command: v211.StopSession) -> v211.CommandResponseType:
        return v211.CommandResponseType(await self.charger.check())

    async def execute_stop(self, ctx: Context, command: v211.StopSession) -> commands_211.Result:
        return v211.CommandResponseType(await self.charger.execute(command.response_url))


@define(eq=False)
class Results:
    """What arrives at an eMSP.

    Attributes:
        refusals: What the next ones are refused with, first the last.
        posted: Every attempt, its path and word, refused ones included.
        open: Those that come wait for it.
        taken: Those that were not refused.
        contexts: Who said so, each time.
        came: Set when one was taken.
        tried: Set when one came at all.
    """

    refusals: list[Exception] = field(factory=list[Exception])
    posted: list[tuple[str, str]] = field(factory=list[tuple[str, str]])
    open: asyncio.Event = field(factory=asyncio.Event)
    taken: list[str] = field(factory=list[str])
    contexts: list[Context] = field(factory=list[Context])
    came: asyncio.Event = field(factory=asyncio.Event)
    tried: asyncio.Event = field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.open.set()

    async def post(self, ctx: Context, link: Link, word: str) -> None:
        """Take a result, or refuse it."""
        self.contexts.append(ctx)
        self.posted.append((link.url.rpartition("/")[2], word))
        self.tried.set()
        await self.open.wait()
        if self.refusals:
            raise self.refusals.pop()
        self.taken.append(word)
        self.came.set()


class Emsp221(v221.CommandsSender):
    """Takes whatever is posted."""

    def __init__(self, results: Results) -> None:
        self.results = results

    async def post_result(self, ctx: Context, link: Link, result: v221.CommandResult) -> None:
        await self.results.post(ctx, link, result.result)


class Emsp211(v211.CommandsEmsp):
    """Takes whatever is posted."""

    def __init__(self, results: Results) -> None:
        self.results = results

    async def post_result(self, ctx: Context, link: Link, result: v211.CommandResponse) -> None:
        await self.results.post(ctx, link, result.result)


OLD_TOKEN = v211.Token(
    uid="01020304050607",
    type=v211.TokenType.RFID,
    auth_id="FR-EMP-C00000001",
    issuer="Example EMP",
    valid=True,
    whitelist=v211.WhitelistType.NEVER,
    last_updated=NOW,
)


class Speech221:
    """What the tests say in 2.2.1."""

    version = "2.2.1"
    failed = "FAILED"
    unknown_session_as_result = "REJECTED"
    seconds = 20

    def cpo(self, charger: Charger, deadlines: Deadlines, known: Authorizations | None) -> Cpo221:
        return Cpo221(charger, deadlines, known)

    def taker(self, results: Results) -> Interface:
        return Emsp221(results)

    def url(self, connection: Connection, name: str) -> str:
        return connection.callback(v221.CommandsSender.post_result, f"START_SESSION/{name}")

    async def start(
        self, connection: Connection, url: str, evse_uid: str | None = "E1", uid: str = "01020304050607"
    ) -> tuple[str, int]:
        answer = await connection.call(v221.CommandsReceiver.start_session, self.command(url, evse_uid, uid))
        return answer.result, answer.timeout

    def command(self, url: str, evse_uid: str | None, uid: str) -> v221.StartSession:
        return v221.StartSession(
            response_url=url,
            token=a_token(uid=uid),
            location_id="LOC1",
            evse_uid=evse_uid,
            authorization_reference="ref-1",
        )

    async def handle(self, served: Cpo221 | Cpo211, ctx: Context, url: str, evse_uid: str = "E1") -> str:
        assert isinstance(served, Cpo221)
        return (await served.start_session(ctx, self.command(url, evse_uid, "0A0B0C0D"))).result

    async def stop(self, connection: Connection, url: str) -> str:
        command = v221.StopSession(response_url=url, session_id="S1")
        return (await connection.call(v221.CommandsReceiver.stop_session, command)).result

    async def others(self, connection: Connection, url: str) -> set[str]:
        reserve = v221.ReserveNow(
            response_url=url, token=a_token(), expiry_date=NOW, reservation_id="R1", location_id="LOC1"
        )
        cancel = v221.CancelReservation(response_url=url, reservation_id="R1")
        unlock = v221.UnlockConnector(response_url=url, location_id="LOC1", evse_uid="E1", connector_id="1")
        return {
            (await connection.call(v221.CommandsReceiver.reserve_now, reserve)).result,
            (await connection.call(v221.CommandsReceiver.cancel_reservation, cancel)).result,
            (await connection.call(v221.CommandsReceiver.unlock_connector, unlock)).result,
        }


class Speech211:
    """What the tests say in 2.1.1."""

    version = "2.1.1"
    failed = "REJECTED"
    unknown_session_as_result = "UNKNOWN_SESSION"
    seconds = 0

    def cpo(self, charger: Charger, deadlines: Deadlines, known: Authorizations | None) -> Cpo211:
        return Cpo211(charger, deadlines, known)

    def taker(self, results: Results) -> Interface:
        return Emsp211(results)

    def url(self, connection: Connection, name: str) -> str:
        return connection.callback(v211.CommandsEmsp.post_result, f"START_SESSION/{name}")

    async def start(
        self, connection: Connection, url: str, evse_uid: str | None = "E1", uid: str = "01020304050607"
    ) -> tuple[str, int]:
        command = self.command(url, evse_uid, uid)
        return (await connection.call(v211.CommandsCpo.start_session, command)).result, 0

    def command(self, url: str, evse_uid: str | None, uid: str) -> v211.StartSession:
        return v211.StartSession(
            response_url=url,
            token=changed(OLD_TOKEN, {"uid": uid}),
            location_id="LOC1",
            evse_uid=evse_uid,
            authorization_id="ref-1",
        )

    async def handle(self, served: Cpo221 | Cpo211, ctx: Context, url: str, evse_uid: str = "E1") -> str:
        assert isinstance(served, Cpo211)
        return (await served.start_session(ctx, self.command(url, evse_uid, "0A0B0C0D"))).result

    async def stop(self, connection: Connection, url: str) -> str:
        command = v211.StopSession(response_url=url, session_id="S1")
        return (await connection.call(v211.CommandsCpo.stop_session, command)).result

    async def others(self, connection: Connection, url: str) -> set[str]:
        reserve = v211.ReserveNow(
            response_url=url, token=OLD_TOKEN, expiry_date=NOW, reservation_id=1, location_id="LOC1"
        )
        unlock = v211.UnlockConnector(response_url=url, location_id="LOC1", evse_uid="E1", connector_id="1")
        return {
            (await connection.call(v211.CommandsCpo.reserve_now, reserve)).result,
            (await connection.call(v211.CommandsCpo.unlock_connector, unlock)).result,
        }


Speech = Speech221 | Speech211


@pytest.fixture(params=[Speech221, Speech211], ids=["2.2.1", "2.1.1"])
def speech(request: pytest.FixtureRequest) -> Speech:
    """One of the two versions."""
    made: Speech = request.param()
    return made


@frozen(kw_only=True)
class Scene:
    """A CPO and an eMSP that are registered with each other, over real sockets.

    Attributes:
        to_cpo: The eMSP's connection to the CPO.
        to_emsp: The CPO's connection to the eMSP.
        third: Another connection of the CPO's platform, whose partner is the same eMSP.
        served: The CPO's handler.
    """

    charger: Charger
    results: Results
    cpo: Platform
    emsp: Platform
    to_cpo: Connection
    to_emsp: Connection
    served: Cpo221 | Cpo211


@asynccontextmanager
async def a_scene(
    speech: Speech,
    deadlines: Deadlines = PATIENT,
    *,
    known: Authorizations | None = None,
    emsp: Interface | None = None,
    hub: PartyId | None = None,
) -> AsyncGenerator[Scene]:
    """Set the scene; without a handler of its own the eMSP takes whatever is posted."""
    profile = Profile(name="partner", hub=hub, versions=frozenset({speech.version}), allow_http_loopback=True)
    charger, results = Charger(), Results()
    served = speech.cpo(charger, deadlines, known)
    async with AsyncExitStack() as running:

        async def serve(party: PartyId, role: Role, handler: Interface) -> Platform:
            server = HttpServer(aiohttp_app(lambda request: platform.handle(request)))  # noqa: PLW0108 - made below
            await running.enter_async_context(server)
            platform = Platform(
                public_url=f"{server.url}/ocpi",
                parties=[Party(party.country_code, party.party_id, role, name=str(party))],
                handlers=[handler],
            )
            await running.enter_async_context(platform)
            return platform

        one = await serve(CPO, Role.CPO, served)
        other = await serve(EMSP, Role.EMSP, emsp or speech.taker(results))
        token = await one.invite(profile, origins=other.public_url.removesuffix("/ocpi"))
        to_cpo = await other.register(profile, one.versions_url, token)
        yield Scene(
            charger=charger,
            results=results,
            cpo=one,
            emsp=other,
            to_cpo=to_cpo,
            to_emsp=one.connection("partner"),
            served=served,
        )


async def ended(scene: Scene) -> None:
    """Wait until nothing of a command is under way at the CPO."""
    while tasks := set(scene.cpo._tasks):
        await asyncio.wait(tasks)


class TestAnswer:
    async def test_accepted(self, speech: Speech) -> None:
        """A command is answered ACCEPTED, with the time to wait, and its result posted afterwards, once."""
        async with a_scene(speech) as scene:
            scene.charger.charging.clear()
            url = speech.url(scene.to_cpo, "one")
            assert await speech.start(scene.to_cpo, url) == ("ACCEPTED", speech.seconds)
            assert scene.results.posted == []
            scene.charger.charging.set()
            await ended(scene)
            assert scene.results.posted == [("one", "ACCEPTED")]
            assert await speech.stop(scene.to_cpo, speech.url(scene.to_cpo, "two")) == "ACCEPTED"
            await ended(scene)
            assert scene.results.posted[1:] == [("two", "ACCEPTED")]

    async def test_refused(self, speech: Speech) -> None:
        """A refusal is the answer: nothing reaches the charger, and no result is owed."""
        async with a_scene(speech) as scene:
            scene.charger.verdict = "REJECTED"
            assert await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one")) == ("REJECTED", 0)
            scene.charger.verdict = "UNKNOWN_SESSION"
            assert await speech.stop(scene.to_cpo, speech.url(scene.to_cpo, "two")) == "UNKNOWN_SESSION"
            await ended(scene)
            assert (scene.charger.addressed, scene.results.posted) == ([], [])

    async def test_unknown_location(self, speech: Speech) -> None:
        """An unknown location is OCPI 2003; it may be known when the command is repeated."""
        async with a_scene(speech) as scene:
            url = speech.url(scene.to_cpo, "one")
            scene.charger.verdict = UnknownLocation()
            with pytest.raises(UnknownLocation):
                await speech.start(scene.to_cpo, url)
            scene.charger.verdict = "ACCEPTED"
            assert (await speech.start(scene.to_cpo, url))[0] == "ACCEPTED"
            await ended(scene)
            assert (scene.charger.addressed, scene.results.taken) == (["one"], ["ACCEPTED"])

    async def test_broken_check(self, speech: Speech) -> None:
        """A check that fails answers OCPI 3000, and nothing is commanded."""
        async with a_scene(speech) as scene:
            scene.charger.verdict = RuntimeError("secret")
            with pytest.raises(ServerError) as refused:
                await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            assert "secret" not in str(refused.value)
            await ended(scene)
            assert (scene.charger.addressed, scene.results.posted) == ([], [])

    async def test_slow_check(self, speech: Speech) -> None:
        """The answer does not wait for a slow check: what it says goes on behind the answer."""
        async with a_scene(speech, HASTY) as scene:
            scene.charger.checking.clear()
            url = speech.url(scene.to_cpo, "one")
            assert (await speech.start(scene.to_cpo, url))[0] == "ACCEPTED"
            assert scene.charger.addressed == []
            scene.charger.checking.set()
            await ended(scene)
            assert (scene.charger.addressed, scene.results.taken) == (["one"], ["ACCEPTED"])

    @pytest.mark.parametrize(
        "verdict", ["REJECTED", "NOT_SUPPORTED", "UNKNOWN_SESSION", UnknownLocation(), RuntimeError()]
    )
    async def test_late_refusal(self, speech: Speech, verdict: str | Exception) -> None:
        """What a slow check refuses is refused in the result, in a word that a result knows."""
        async with a_scene(speech, HASTY) as scene:
            scene.charger.checking.clear()
            scene.charger.verdict = verdict
            assert await speech.stop(scene.to_cpo, speech.url(scene.to_cpo, "one")) == "ACCEPTED"
            scene.charger.checking.set()
            await ended(scene)
            words = {
                "REJECTED": "REJECTED",
                "NOT_SUPPORTED": "NOT_SUPPORTED",
                "UNKNOWN_SESSION": speech.unknown_session_as_result,
            }
            expected = words[verdict] if isinstance(verdict, str) else "REJECTED"
            if isinstance(verdict, RuntimeError):
                expected = speech.failed
            assert (scene.charger.addressed, scene.results.taken) == ([], [expected])

    async def test_not_written(self, speech: Speech) -> None:
        """A command that the host does not write is answered NOT_SUPPORTED, and no result is owed."""
        async with a_scene(speech) as scene:
            assert await speech.others(scene.to_cpo, speech.url(scene.to_cpo, "one")) == {"NOT_SUPPORTED"}
            await ended(scene)
            assert scene.results.posted == []

    async def test_foreign_response_url(self, speech: Speech) -> None:
        """A result that could never be posted, for it leads to a stranger, is found out before the charge."""
        async with a_scene(speech) as scene:
            with pytest.raises(InvalidParameters, match="response_url"):
                await speech.start(scene.to_cpo, "https://stranger.example.com/here")
            await ended(scene)
            assert scene.charger.addressed == []


class TestOnce:
    def ctx(self, speech: Speech, partner: str = "partner") -> Context:
        """Who commands, where the handler is called by the tests and not by a server."""
        return Context(
            partner=partner,
            version=speech.version,
            sender=EMSP,
            receiver=CPO,
            request_id="request",
            correlation_id="cause",
        )

    async def test_repeated_to_the_platform(self, speech: Speech) -> None:
        """A command that is repeated to the platform gets the same answer; the charger hears it once."""
        async with a_scene(speech) as scene:
            url = speech.url(scene.to_cpo, "one")
            for _ in range(2):
                assert (await speech.start(scene.to_cpo, url))[0] == "ACCEPTED"
                await ended(scene)
            assert (scene.charger.addressed, scene.results.posted) == (["one"], [("one", "ACCEPTED")])

    async def test_repeated(self, speech: Speech) -> None:
        """So it is for the handler alone, also where the repetition comes before the answer."""
        async with a_scene(speech) as scene:
            scene.charger.checking.clear()
            ctx, url = self.ctx(speech), speech.url(scene.to_cpo, "one")
            asked = [asyncio.create_task(speech.handle(scene.served, ctx, url)) for _ in range(3)]
            await scene.charger.asked.wait()
            scene.charger.checking.set()
            assert [await one for one in asked] == ["ACCEPTED"] * 3
            await ended(scene)
            assert await speech.handle(scene.served, ctx, url) == "ACCEPTED"
            await ended(scene)
            assert (scene.charger.addressed, scene.results.posted) == (["one"], [("one", "ACCEPTED")])

    async def test_asker_leaves(self, speech: Speech) -> None:
        """Who hangs up takes the answer from nobody who repeats the command."""
        async with a_scene(speech) as scene:
            scene.charger.checking.clear()
            ctx, url = self.ctx(speech), speech.url(scene.to_cpo, "one")
            first = asyncio.create_task(speech.handle(scene.served, ctx, url))
            await scene.charger.asked.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            scene.charger.checking.set()
            assert await speech.handle(scene.served, ctx, url) == "ACCEPTED"
            await ended(scene)
            assert scene.charger.addressed == ["one"]

    async def test_asker_leaves_before_an_error(self, speech: Speech) -> None:
        """What was refused with an error is a new command also where nobody was left to read the error."""
        async with a_scene(speech) as scene:
            scene.charger.checking.clear()
            scene.charger.verdict = UnknownLocation()
            ctx, url = self.ctx(speech), speech.url(scene.to_cpo, "one")
            first = asyncio.create_task(speech.handle(scene.served, ctx, url))
            await scene.charger.asked.wait()
            first.cancel()
            scene.charger.checking.set()
            await ended(scene)
            scene.charger.verdict = "ACCEPTED"
            assert await speech.handle(scene.served, ctx, url) == "ACCEPTED"
            await ended(scene)

    async def test_refusal_repeated(self, speech: Speech) -> None:
        """A refusal is repeated too, whatever the check would say now; an error is not."""
        async with a_scene(speech) as scene:
            ctx, url = self.ctx(speech), speech.url(scene.to_cpo, "one")
            scene.charger.verdict = "REJECTED"
            assert await speech.handle(scene.served, ctx, url) == "REJECTED"
            scene.charger.verdict = UnknownLocation()
            assert await speech.handle(scene.served, ctx, url) == "REJECTED"
            another = speech.url(scene.to_cpo, "two")
            with pytest.raises(UnknownLocation):
                await speech.handle(scene.served, ctx, another)
            scene.charger.verdict = "ACCEPTED"
            assert await speech.handle(scene.served, ctx, another) == "ACCEPTED"
            await ended(scene)

    async def test_other_content(self, speech: Speech) -> None:
        """Another command under the same URL is a new one."""
        async with a_scene(speech) as scene:
            ctx, url = self.ctx(speech), speech.url(scene.to_cpo, "one")
            for evse_uid in ("E1", "E2"):
                assert await speech.handle(scene.served, ctx, url, evse_uid) == "ACCEPTED"
                await ended(scene)
            assert await speech.stop(scene.to_cpo, url) == "ACCEPTED"
            await ended(scene)
            assert scene.charger.addressed == ["one", "one", "one"]

    async def test_forgotten(self, speech: Speech) -> None:
        """After a while a command is forgotten, and would be a new one; others are not."""
        async with a_scene(speech) as scene:
            ctx = self.ctx(speech)
            urls = [speech.url(scene.to_cpo, name) for name in ("old", "young")]
            for url in urls:
                await speech.handle(scene.served, ctx, url)
                await ended(scene)
            for job in scene.served._jobs.values():
                job.deadline -= scene.served.deadlines.remember
                break
            for url in urls:
                await speech.handle(scene.served, ctx, url)
                await ended(scene)
            assert scene.charger.addressed == ["old", "young", "old"]

    async def test_one_start_at_a_time(self, speech: Speech) -> None:
        """While a start is pending at an EVSE, a second one there is REJECTED; elsewhere it is not."""
        async with a_scene(speech) as scene:
            scene.charger.charging.clear()
            starts = {
                name: (await speech.start(scene.to_cpo, speech.url(scene.to_cpo, name), evse))[0]
                for name, evse in (("one", "E1"), ("two", "e1"), ("three", "E2"))
            }
            assert starts == {"one": "ACCEPTED", "two": "REJECTED", "three": "ACCEPTED"}
            scene.charger.charging.set()
            await ended(scene)
            assert (await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "four")))[0] == "ACCEPTED"
            await ended(scene)
            assert scene.charger.addressed == ["one", "three", "four"]

    async def test_no_evse(self, speech: Speech) -> None:
        """A start that leaves the EVSE to the charge point is kept from the same token, and from no other."""
        async with a_scene(speech) as scene:
            scene.charger.charging.clear()
            starts = [
                (await speech.start(scene.to_cpo, speech.url(scene.to_cpo, name), None, uid))[0]
                for name, uid in (("one", "0A0B0C0D"), ("two", "0a0b0c0d"), ("three", "01020304"))
            ]
            assert starts == ["ACCEPTED", "REJECTED", "ACCEPTED"]
            scene.charger.charging.set()

    async def test_freed_after_a_failure(self, speech: Speech) -> None:
        """A start that was refused, or failed, keeps its EVSE no longer."""
        async with a_scene(speech) as scene:
            for number, trouble in enumerate(("verdict", "word")):
                setattr(scene.charger, trouble, UnknownLocation())
                with contextlib.suppress(UnknownLocation):
                    await speech.start(scene.to_cpo, speech.url(scene.to_cpo, f"bad-{number}"))
                await ended(scene)
                setattr(scene.charger, trouble, "ACCEPTED")
                url = speech.url(scene.to_cpo, f"good-{number}")
                assert (await speech.start(scene.to_cpo, url))[0] == "ACCEPTED"
                await ended(scene)


class TestResult:
    @pytest.mark.parametrize("word", ["REJECTED", "NOT_SUPPORTED", "TIMEOUT"])
    async def test_outcome(self, speech: Speech, word: str) -> None:
        """What the host returns is posted."""
        async with a_scene(speech) as scene:
            scene.charger.word = word
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.posted == [("one", word)]

    async def test_host_fails(self, speech: Speech, caplog: pytest.LogCaptureFixture) -> None:
        """Where the host's code raises, FAILED is posted; the log says where, and repeats no text."""
        async with a_scene(speech) as scene:
            scene.charger.word = RuntimeError("secret")
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.posted == [("one", speech.failed)]
        assert "START_SESSION of partner" in caplog.text
        assert "RuntimeError" in caplog.text
        assert "in execute" in caplog.text
        assert "secret" not in caplog.text

    async def test_host_refuses(self, speech: Speech) -> None:
        """A host that finds out late that there is no such place has its command REJECTED."""
        async with a_scene(speech) as scene:
            scene.charger.word = UnknownLocation()
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.posted == [("one", "REJECTED")]

    async def test_timeout(self, speech: Speech) -> None:
        """When the charger's time is over, TIMEOUT is posted, and the host's code is cancelled."""
        async with a_scene(speech, IN_VAIN) as scene:
            scene.charger.charging.clear()
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.posted == [("one", "TIMEOUT")]
            assert scene.charger.gave_up.is_set()

    @pytest.mark.parametrize("word", ["ACCEPTED", RuntimeError("secret")])
    async def test_after_the_timeout(
        self, speech: Speech, word: str | Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A charger that speaks after its TIMEOUT is heard by the log, and by nobody else."""
        async with a_scene(speech, IN_VAIN) as scene:
            scene.charger.charging.clear()
            scene.charger.stubborn, scene.charger.word = True, word
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.posted == [("one", "TIMEOUT")]
        came = "came to ACCEPTED when nobody waited" if word == "ACCEPTED" else "failed with RuntimeError"
        assert came in caplog.text
        assert "secret" not in caplog.text

    async def test_partner_is_silent(self, speech: Speech, caplog: pytest.LogCaptureFixture) -> None:
        """A partner that does not answer to the result is not waited for longer than it waits."""
        soon = Deadlines(timeout=0.3, acknowledge=0.1, post=0.1, close=0.001)
        async with a_scene(speech, soon) as scene:
            scene.results.open.clear()
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            scene.results.open.set()
        assert "did not answer to the result in time" in caplog.text

    async def test_retried(self, speech: Speech) -> None:
        """A result is posted until it is taken, and then no more."""
        async with a_scene(speech) as scene:
            scene.results.refusals = [ServerError(), ServerError()]
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.posted == [("one", "ACCEPTED")] * 3
            assert scene.results.taken == ["ACCEPTED"]

    async def test_refused_for_good(self, speech: Speech, caplog: pytest.LogCaptureFixture) -> None:
        """A result for which nobody waits is posted once, and the log says so."""
        async with a_scene(speech) as scene:
            scene.results.refusals = [UnknownObject(), UnknownObject()]
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.posted == [("one", "ACCEPTED")]
        assert "the result is given up" in caplog.text

    async def test_never_taken(self, speech: Speech, caplog: pytest.LogCaptureFixture) -> None:
        """After the time that was announced a result is posted no more."""
        soon = Deadlines(timeout=0.3, acknowledge=0.1, post=0.1, retry=0.001, close=0.001)
        async with a_scene(speech, soon) as scene:
            scene.results.refusals = [ServerError() for _ in range(10_000)]
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert scene.results.taken == []
        assert "could not be posted in time" in caplog.text

    async def test_what_follows(self, speech: Speech) -> None:
        """What follows from a command comes after its result, whether or not that was taken."""
        async with a_scene(speech) as scene:

            async def follow() -> None:
                scene.results.posted.append(("then", "uploads"))

            scene.charger.then = follow
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            scene.results.refusals = [UnknownObject()]
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "two"))
            await ended(scene)
            assert scene.results.posted == [
                ("one", "ACCEPTED"),
                ("then", "uploads"),
                ("two", "ACCEPTED"),
                ("then", "uploads"),
            ]

    async def test_what_follows_fails(self, speech: Speech, caplog: pytest.LogCaptureFixture) -> None:
        """Where what follows fails, the log says where, and repeats no text."""
        async with a_scene(speech) as scene:

            async def follow() -> None:
                raise RuntimeError(scene.charger.addressed[0])

            scene.charger.then = follow
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "secret"))
            await ended(scene)
            assert scene.results.taken == ["ACCEPTED"]
        assert "what follows from it failed with RuntimeError" in caplog.text
        assert "secret" not in caplog.text

    async def test_to_whom(self, speech: Speech) -> None:
        """A result goes from who was commanded to who commanded, as a consequence of the command."""
        async with a_scene(speech) as scene:
            cause = Context(partner="x", version=speech.version, request_id="r", correlation_id="cause")
            await speech.start(scene.to_cpo.routed(following=cause), speech.url(scene.to_cpo, "one"))
            await ended(scene)
            (ctx,) = scene.results.contexts
            assert (ctx.sender, ctx.receiver, ctx.correlation_id) == (CPO, EMSP, "cause")


class TestClose:
    async def test_at_the_charger(self, speech: Speech) -> None:
        """A platform that closes while a charger is addressed says FAILED, for it will not know better."""
        async with a_scene(speech) as scene:
            scene.charger.charging.clear()
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await scene.charger.began.wait()
            await scene.cpo.close()
            assert scene.results.taken == [speech.failed]
            assert scene.charger.gave_up.is_set()

    async def test_not_taken_yet(self, speech: Speech) -> None:
        """A result that was not taken yet is posted once more, and it is the same."""
        async with a_scene(speech, SHUT) as scene:
            scene.results.refusals = [ServerError()]
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await scene.results.tried.wait()
            await scene.cpo.close()
            assert scene.results.posted == [("one", "ACCEPTED"), ("one", "ACCEPTED")]

    async def test_in_the_check(self, speech: Speech) -> None:
        """A command that was not answered yet is refused with OCPI 3000, and no result is owed."""
        async with a_scene(speech) as scene:
            scene.charger.checking.clear()
            asked = asyncio.create_task(speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one")))
            await scene.charger.asked.wait()
            await scene.cpo.close()
            with pytest.raises(ServerError):
                await asked
            assert scene.results.posted == []

    async def test_what_follows(self, speech: Speech) -> None:
        """What follows from a command is still done: the charger has acted."""
        followed = asyncio.Event()
        going = asyncio.Event()
        async with a_scene(speech) as scene:

            async def follow() -> None:
                going.set()
                await asyncio.sleep(0)
                followed.set()

            scene.charger.then = follow
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await going.wait()
            await scene.cpo.close()
            assert followed.is_set()


class TestDeadlines:
    def test_acknowledged_in_time(self) -> None:
        """By default a command is acknowledged well before GIREVE's 2 seconds are over."""
        assert Deadlines().acknowledge < 2

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda: Deadlines(timeout=0),
            lambda: Deadlines(acknowledge=-1),
            lambda: Deadlines(timeout=6, acknowledge=1, post=5),
            lambda: Deadlines(timeout=60, remember=59),
        ],
    )
    def test_impossible(self, wrong: Callable[[], Deadlines]) -> None:
        """Times that leave nothing for the charger are refused."""
        with pytest.raises(ValueError, match=r"timeout|acknowledge|remember"):
            wrong()


class TestAuthorizations:
    async def test_remembered(self, speech: Speech) -> None:
        """The authorization of a start is there when the session begins: for this place, and once."""
        known = Authorizations()
        async with a_scene(speech, known=known) as scene:
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert known.use("01020304050607", "LOC1", "E2") is None
            found = known.use("01020304050607", "loc1", "e1")
            assert found is not None
            assert (found.reference, found.partner, found.cpo) == ("ref-1", "partner", CPO)
            assert (found.contract_id, found.commanded) == ("FR-EMP-C00000001", True)
            assert known.use("01020304050607", "LOC1", "E1") is None

    async def test_before_the_outcome(self, speech: Speech) -> None:
        """It is there as soon as the command is accepted: a charger may report the session first."""
        known = Authorizations()
        async with a_scene(speech, known=known) as scene:
            scene.charger.charging.clear()
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            assert known.use("01020304050607", "LOC1", "E1") is not None

    async def test_not_started(self, speech: Speech) -> None:
        """Where the charger refused, the authorization is void; where nobody knows, it holds."""
        known = Authorizations()
        async with a_scene(speech, known=known) as scene:
            for word in ("REJECTED", UnknownLocation()):
                scene.charger.word = word
                await speech.start(scene.to_cpo, speech.url(scene.to_cpo, str(word)[:3]))
                await ended(scene)
                assert known.use("01020304050607", "LOC1", "E1") is None
            scene.charger.word = RuntimeError()
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            await ended(scene)
            assert known.use("01020304050607", "LOC1", "E1") is not None

    async def test_refused(self, speech: Speech) -> None:
        """A start that is not accepted authorizes nothing, and neither does a stop."""
        known = Authorizations()
        async with a_scene(speech, known=known) as scene:
            await speech.stop(scene.to_cpo, speech.url(scene.to_cpo, "one"))
            scene.charger.verdict = "REJECTED"
            await speech.start(scene.to_cpo, speech.url(scene.to_cpo, "two"))
            assert known.use("01020304050607", "LOC1", "E1") is None

    async def test_pending_until_the_session_starts(self, speech: Speech) -> None:
        """An EVSE that accepted a start takes no other until its session has started, or can no more."""
        moment = [NOW]
        known = Authorizations(now=lambda: moment[0])
        async with a_scene(speech, known=known) as scene:

            async def start(name: str) -> str:
                word, _ = await speech.start(scene.to_cpo, speech.url(scene.to_cpo, name))
                await ended(scene)
                return word

            assert [await start("one"), await start("two")] == ["ACCEPTED", "REJECTED"]
            assert known.use("01020304050607", "LOC1", "E1") is not None
            assert [await start("three"), await start("four")] == ["ACCEPTED", "REJECTED"]
            moment[0] += timedelta(minutes=2)
            assert await start("five") == "ACCEPTED"

    async def test_both_versions(self) -> None:
        """The commands of both versions, which share their authorizations, see each other's starts."""
        known = Authorizations()
        async with a_scene(Speech221(), known=known) as new, a_scene(Speech211(), known=known) as old:
            new.charger.charging.clear()
            await Speech221().start(new.to_cpo, Speech221().url(new.to_cpo, "one"))
            word, _ = await Speech211().start(old.to_cpo, Speech211().url(old.to_cpo, "two"))
            assert word == "REJECTED"


# --- the eMSP's side -----------------------------------------------------------------------------------


class Asking221:
    """What the tests of sending do in 2.2.1."""

    speech = Speech221()

    def __init__(self) -> None:
        self.emsp = commands_221.EmspCommands(patience=30)

    async def start(
        self, connection: Connection, evse_uid: str | None = "E1", *, hub: bool = False
    ) -> commands_221.Commanded[v221.StartSession]:
        cpo = CPO if hub else None
        return await self.emsp.send_start(connection, a_token(), "LOC1", evse_uid, cpo=cpo)

    async def stop(self, connection: Connection) -> commands_221.Commanded[v221.StopSession]:
        return await self.emsp.send_stop(connection, "S1")

    async def post(self, connection: Connection, url: str, word: str) -> None:
        result = v221.CommandResult(result=v221.CommandResultType(word))
        await connection.call(v221.CommandsSender.post_result, Link(url), result)

    async def take(self, ctx: Context, path: str) -> None:
        result = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
        await self.emsp.post_result(ctx, Link(path), result)


class Asking211:
    """What the tests of sending do in 2.1.1."""

    speech = Speech211()

    def __init__(self) -> None:
        self.emsp = commands_211.EmspCommands(patience=30)

    async def start(
        self, connection: Connection, evse_uid: str | None = "E1", *, hub: bool = False
    ) -> commands_211.Commanded[v211.StartSession]:
        return await self.emsp.send_start(connection, OLD_TOKEN, "LOC1", evse_uid)

    async def stop(self, connection: Connection) -> commands_211.Commanded[v211.StopSession]:
        return await self.emsp.send_stop(connection, "S1")

    async def post(self, connection: Connection, url: str, word: str) -> None:
        result = v211.CommandResponse(result=v211.CommandResponseType(word))
        await connection.call(v211.CommandsEmsp.post_result, Link(url), result)

    async def take(self, ctx: Context, path: str) -> None:
        result = v211.CommandResponse(result=v211.CommandResponseType.ACCEPTED)
        await self.emsp.post_result(ctx, Link(path), result)


Asking = Asking221 | Asking211


@pytest.fixture(params=[Asking221, Asking211], ids=["2.2.1", "2.1.1"])
def asking(request: pytest.FixtureRequest) -> Asking:
    """One of the two versions."""
    made: Asking = request.param()
    return made


class TestSend:
    async def test_done(self, asking: Asking) -> None:
        """One call sends a command and returns its answer and its result."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            done = await asking.start(scene.to_cpo)
            assert done.response is not None
            assert done.result is not None
            assert (done.response.result, done.result.result) == ("ACCEPTED", "ACCEPTED")
            assert (done.accepted, done.succeeded, done.timed_out) == (True, True, False)
            assert (await asking.stop(scene.to_cpo)).succeeded

    async def test_charger_refuses(self, asking: Asking) -> None:
        """What was accepted may still fail at the charger."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            scene.charger.word = "REJECTED"
            done = await asking.start(scene.to_cpo)
            assert done.result is not None
            assert done.result.result == "REJECTED"
            assert (done.accepted, done.succeeded, done.timed_out) == (True, False, False)

    async def test_cpo_refuses(self, asking: Asking) -> None:
        """What is refused at once has no result, and nobody waits for one."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            scene.charger.verdict = "REJECTED"
            done = await asking.start(scene.to_cpo)
            assert done.result is None
            assert (done.accepted, done.succeeded, done.timed_out) == (False, False, False)
            with pytest.raises(UnknownObject):
                await asking.post(scene.to_emsp, done.command.response_url, "ACCEPTED")

    async def test_error(self, asking: Asking) -> None:
        """What the CPO answers with an error raises that error, and nobody waits for a result."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            scene.charger.verdict = UnknownLocation()
            with pytest.raises(UnknownLocation):
                await asking.start(scene.to_cpo)
            assert asking.emsp._sent == {}

    async def test_cancelled(self, asking: Asking) -> None:
        """Who waits no longer leaves no URL behind."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            scene.charger.charging.clear()
            sending = asyncio.create_task(asking.start(scene.to_cpo))
            await scene.charger.began.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert asking.emsp._sent == {}

    async def test_own_reference(self, asking: Asking) -> None:
        """Each start carries a new reference, under which session and CDR will come, and a URL of its own."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            commands = [(await asking.start(scene.to_cpo)).command for _ in range(2)]
            references = {
                one.authorization_id if isinstance(one, v211.StartSession) else one.authorization_reference
                for one in commands
            }
            assert len(references - {None}) == 2
            paths = [one.response_url.rpartition("/") for one in commands]
            assert {path for path, _, _ in paths} == {
                asking.speech.url(scene.to_cpo, "x").removesuffix("/x"),
            }
            assert len({name for _, _, name in paths}) == 2
            assert all(len(name) >= 32 for _, _, name in paths)

    async def test_evse_for_a_hub(self, asking: Asking) -> None:
        """Before a hub gets a start without the EVSE that it needs, it is refused here."""
        async with a_scene(asking.speech, emsp=asking.emsp, hub=CPO) as scene:
            with pytest.raises(InvalidObject, match="/evse_uid"):
                await asking.start(scene.to_cpo, None, hub=True)
            assert scene.charger.addressed == []

    async def test_evse_between_two(self, asking: Asking) -> None:
        """A CPO that is connected directly may choose the EVSE."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            assert (await asking.start(scene.to_cpo, None)).succeeded


class TestTakingResults:
    async def test_late(self, asking: Asking) -> None:
        """When the announced time is over the result is unknown, and its URL leads nowhere."""
        brief = Deadlines(timeout=0.9, acknowledge=0.1, post=0.1)
        asking.emsp.patience = asking.emsp.longest = 0.1
        async with a_scene(asking.speech, brief, emsp=asking.emsp) as scene:
            scene.charger.charging.clear()
            done = await asking.start(scene.to_cpo)
            assert (done.accepted, done.succeeded, done.timed_out) == (True, False, True)
            with pytest.raises(UnknownObject):
                await asking.post(scene.to_emsp, done.command.response_url, "ACCEPTED")

    async def test_unknown(self, asking: Asking) -> None:
        """At a URL that was never given out there is nothing."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            with pytest.raises(UnknownObject):
                await asking.post(scene.to_emsp, asking.speech.url(scene.to_cpo, "x"), "ACCEPTED")

    async def test_once(self, asking: Asking) -> None:
        """One result is taken; the same one may come again, for its answer may have been lost."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            done = await asking.start(scene.to_cpo)
            await asking.post(scene.to_emsp, done.command.response_url, "ACCEPTED")
            with pytest.raises(UnknownObject, match="has its result"):
                await asking.post(scene.to_emsp, done.command.response_url, "REJECTED")

    async def test_again(self, asking: Asking) -> None:
        """The same result may come again for minutes, though nobody would have waited for it so long."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            done = await asking.start(scene.to_cpo)
            (sent,) = asking.emsp._sent.values()
            assert sent.until is not None
            assert sent.until > asyncio.get_running_loop().time() + 2 * asking.emsp.patience
            for _ in range(2):
                await asking.post(scene.to_emsp, done.command.response_url, "ACCEPTED")

    async def test_many(self, asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
        """So many are remembered, and the oldest give way."""
        monkeypatch.setattr("ocpi_gireve.commands._sending.MAX_KNOWN", 2)
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            urls = [(await asking.start(scene.to_cpo)).command.response_url for _ in range(3)]
            with pytest.raises(UnknownObject, match="no command waits"):
                await asking.post(scene.to_emsp, urls[0], "ACCEPTED")
            for url in urls[1:]:
                await asking.post(scene.to_emsp, url, "ACCEPTED")

    async def test_forgotten(self, asking: Asking) -> None:
        """After a while its URL leads nowhere."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            asking.emsp.remember = -1.0
            done = await asking.start(scene.to_cpo)
            with pytest.raises(UnknownObject, match="no command waits"):
                await asking.post(scene.to_emsp, done.command.response_url, "ACCEPTED")

    async def test_from_another(self, asking: Asking) -> None:
        """Only the partner that the command went to may post its result."""
        async with a_scene(asking.speech, emsp=asking.emsp) as scene:
            scene.charger.charging.clear()
            sending = asyncio.create_task(asking.start(scene.to_cpo))
            await scene.charger.began.wait()
            (path,) = asking.emsp._sent
            stranger = Context(
                partner="another", version=asking.speech.version, request_id="r", correlation_id="c"
            )
            with pytest.raises(UnknownObject, match="no command waits"):
                await asking.take(stranger, path)
            scene.charger.charging.set()
            await sending
            await asking.take(evolve(stranger, partner="partner"), path)


HOUR = timedelta(hours=1)


class Unchecked221(commands_221.CpoCommands):
    """Checks nothing."""

    async def execute_start(self, ctx: Context, command: v221.StartSession) -> commands_221.Result:
        return v221.CommandResultType.ACCEPTED

    async def execute_stop(self, ctx: Context, command: v221.StopSession) -> commands_221.Result:
        return v221.CommandResultType.EVSE_INOPERATIVE


class Unchecked211(commands_211.CpoCommands):
    """Checks nothing."""

    async def execute_start(self, ctx: Context, command: v211.StartSession) -> commands_211.Result:
        return v211.CommandResponse(result=v211.CommandResponseType.ACCEPTED)

    async def execute_stop(self, ctx: Context, command: v211.StopSession) -> commands_211.Result:
        return Outcome(v211.CommandResponseType.TIMEOUT)


class Reserving(commands_221.CpoCommands):
    """Reserves, and says so in words."""

    async def execute_reserve(self, ctx: Context, command: v221.ReserveNow) -> commands_221.Result:
        text = v221.DisplayText(language="en", text="See you")
        return v221.CommandResult(result=v221.CommandResultType.ACCEPTED, message=[text])

    async def execute_cancel(self, ctx: Context, command: v221.CancelReservation) -> commands_221.Result:
        return Outcome(v221.CommandResult(result=v221.CommandResultType.UNKNOWN_RESERVATION))

    async def execute_unlock(self, ctx: Context, command: v221.UnlockConnector) -> commands_221.Result:
        return cast("v221.CommandResultType", "ACCEPTED")


class Driver(commands_221.EmspCommands):
    """Hears of reservations that are canceled."""

    def __init__(self) -> None:
        super().__init__()
        self.canceled: list[str] = []

    async def reservation_canceled(
        self, ctx: Context, command: v221.ReserveNow, result: v221.CommandResult
    ) -> None:
        self.canceled.append(command.reservation_id)


class Hasty(commands_221.CpoCommands):
    """Posts the result before it answers."""

    platform: Platform

    async def start_session(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponse:
        result = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
        connection = self.platform.connection(ctx.partner)
        await connection.call(v221.CommandsSender.post_result, Link(command.response_url), result)
        return v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=30)


class TestUnchecked:
    async def test_221(self) -> None:
        """Without a check every command is passed on."""
        cpo, emsp = Unchecked221(), commands_221.EmspCommands()
        async with a_pair(cpo=[cpo], emsp=[emsp]) as pair:
            cpo.attach(pair.cpo)
            assert (await emsp.send_start(pair.to_cpo, a_token(), "LOC1", "E1")).succeeded
            done = await emsp.send_stop(pair.to_cpo, "S1")
            assert done.result is not None
            assert done.result.result is v221.CommandResultType.EVSE_INOPERATIVE

    async def test_211(self) -> None:
        """So it is in 2.1.1."""
        cpo, emsp = Unchecked211(), commands_211.EmspCommands()
        async with a_pair(cpo=[cpo], emsp=[emsp]) as pair:
            cpo.attach(pair.cpo)
            assert (await emsp.send_start(pair.to_cpo, OLD_TOKEN, "LOC1", "E1")).succeeded
            done = await emsp.send_stop(pair.to_cpo, "S1")
            assert done.result is not None
            assert done.result.result is v211.CommandResponseType.TIMEOUT


HUB = PartyId("FR", "107")
ABC, XYZ = PartyId("DE", "ABC"), PartyId("NL", "XYZ")


class Owning221(Cpo221):
    """Has one session that runs, of DE*ABC, and one whose token names the hub."""

    async def running_session(self, ctx: Context, session_id: str) -> v221.Session | None:
        owner = {"S1": ABC, "S2": HUB}.get(session_id)
        return None if owner is None else sample(v221.Session, cpo=CPO, emsp=owner)


class Owning211(Cpo211):
    """Has one session that runs."""

    async def running_session(self, ctx: Context, session_id: str) -> v211.Session | None:
        return sample(v211.Session, cpo=CPO, emsp=ABC) if session_id == "S1" else None


def through(hub: Connection, sender: PartyId | None, version: str = "2.2.1") -> Context:
    """What comes of a party through a hub."""
    return Context(partner=hub.id, version=version, sender=sender, request_id="r", correlation_id="c")


class TestWhose:
    """An eMSP behind a hub commands for its own tokens and sessions alone."""

    @pytest.mark.parametrize(
        ("session", "sender", "word"),
        [
            ("S1", ABC, "ACCEPTED"),
            ("S1", PartyId("de", "abc"), "ACCEPTED"),
            ("S1", XYZ, "REJECTED"),
            ("S1", HUB, "ACCEPTED"),
            ("S1", EMSP, "ACCEPTED"),  # as which the hub has registered
            ("S1", None, "ACCEPTED"),
            ("S2", XYZ, "ACCEPTED"),
            ("S3", ABC, "UNKNOWN_SESSION"),
            ("S3", HUB, "UNKNOWN_SESSION"),
        ],
    )
    async def test_stop(self, session: str, sender: PartyId | None, word: str) -> None:
        """Nobody stops another eMSP's session, or one that is not there; the hub itself stops each."""
        async with a_scene(Speech221(), hub=HUB) as scene:
            served = Owning221(scene.charger, PATIENT, None)
            served.attach(scene.cpo)
            url = scene.to_cpo.callback(v221.CommandsSender.post_result, "STOP_SESSION/one")
            command = v221.StopSession(response_url=url, session_id=session)
            answer = await served.stop_session(through(scene.to_emsp, sender), command)
            await ended(scene)
            assert answer.result == word
            assert scene.charger.addressed == (["one"] if word == "ACCEPTED" else [])

    @pytest.mark.parametrize(("session", "word"), [("S1", "ACCEPTED"), ("S3", "UNKNOWN_SESSION")])
    async def test_stop_in_211(self, session: str, word: str) -> None:
        """In 2.1.1 the host says it by the connection alone."""
        async with a_scene(Speech211(), hub=HUB) as scene:
            served = Owning211(scene.charger, PATIENT, None)
            served.attach(scene.cpo)
            url = scene.to_cpo.callback(v211.CommandsEmsp.post_result, "STOP_SESSION/one")
            command = v211.StopSession(response_url=url, session_id=session)
            answer = await served.stop_session(through(scene.to_emsp, XYZ, "2.1.1"), command)
            await ended(scene)
            assert answer.result == word
            assert scene.charger.addressed == (["one"] if word == "ACCEPTED" else [])

    async def test_refused_to_another(self) -> None:
        """What another eMSP was refused is no repetition, where the session's own eMSP stops it."""
        async with a_scene(Speech221(), hub=HUB) as scene:
            served = Owning221(scene.charger, PATIENT, None)
            served.attach(scene.cpo)
            url = scene.to_cpo.callback(v221.CommandsSender.post_result, "STOP_SESSION/one")
            command = v221.StopSession(response_url=url, session_id="S1")
            words = [
                (await served.stop_session(through(scene.to_emsp, sender), command)).result
                for sender in (XYZ, ABC)
            ]
            assert words == ["REJECTED", "ACCEPTED"]
            await ended(scene)

    @pytest.mark.parametrize(
        ("sender", "taken"), [(ABC, True), (HUB, True), (EMSP, True), (None, True), (XYZ, False)]
    )
    async def test_token(self, sender: PartyId | None, *, taken: bool) -> None:
        """Who starts or reserves with another eMSP's token is refused; the hub itself may use every one."""
        async with a_scene(Speech221(), hub=HUB) as scene:
            served, charger = Reserving(), Owning221(scene.charger, PATIENT, None)
            for one in (served, charger):
                one.attach(scene.cpo)
            ctx, token = through(scene.to_emsp, sender), a_token(country_code="DE", party_id="ABC")
            url = scene.to_cpo.callback(v221.CommandsSender.post_result, "START_SESSION/one")
            start = v221.StartSession(response_url=url, token=token, location_id="LOC1", evse_uid="E1")
            reserve = v221.ReserveNow(
                response_url=url,
                token=token,
                expiry_date=utc_now() + HOUR,
                reservation_id="R1",
                location_id="LOC1",
            )
            if taken:
                assert (await charger.start_session(ctx, start)).result == "ACCEPTED"
                assert (await served.reserve_now(ctx, reserve)).result == "ACCEPTED"
            else:
                for refused in (charger.start_session(ctx, start), served.reserve_now(ctx, reserve)):
                    with pytest.raises(InvalidParameters) as error:
                        await refused
                    assert [problem.pointer for problem in error.value.problems] == ["/token/party_id"]
            await ended(scene)
            assert scene.charger.addressed == (["one"] if taken else [])


class TestOnly221:
    """What 2.1.1 does not have, or shares the code of."""

    async def reserve(
        self, pair: Pair, driver: Driver, reservation_id: str = "R1", lasts: timedelta = HOUR
    ) -> commands_221.Commanded[v221.ReserveNow]:
        return await driver.send(
            pair.to_cpo,
            v221.CommandsReceiver.reserve_now,
            lambda url: v221.ReserveNow(
                response_url=url,
                token=a_token(),
                expiry_date=utc_now() + lasts,
                reservation_id=reservation_id,
                location_id="LOC1",
            ),
        )

    async def cancel(self, pair: Pair, url: str) -> None:
        result = v221.CommandResult(result=v221.CommandResultType.CANCELED_RESERVATION)
        await pair.to_emsp.call(v221.CommandsSender.post_result, Link(url), result)

    async def test_reservation_canceled(self) -> None:
        """A CPO may cancel a reservation it made, at the same URL; the eMSP is told once."""
        cpo, driver = Reserving(), Driver()
        async with a_pair(cpo=[cpo], emsp=[driver]) as pair:
            cpo.attach(pair.cpo)
            done = await self.reserve(pair, driver)
            assert done.result is not None
            assert done.result.message[0].text == "See you"
            for _ in range(2):
                await self.cancel(pair, done.command.response_url)
            # A late repetition of what was taken first.
            await pair.to_emsp.call(
                v221.CommandsSender.post_result, Link(done.command.response_url), done.result
            )
            assert driver.canceled == ["R1"]

    async def test_nothing_to_cancel(self) -> None:
        """A reservation that is over is not canceled, and neither is another command."""
        cpo, driver = Reserving(), Driver()
        async with a_pair(cpo=[cpo], emsp=[driver]) as pair:
            cpo.attach(pair.cpo)
            driver.remember = -HOUR.total_seconds()
            over = await self.reserve(pair, driver, lasts=-HOUR)
            driver.remember = 60.0
            other = await driver.send(
                pair.to_cpo,
                v221.CommandsReceiver.cancel_reservation,
                lambda url: v221.CancelReservation(response_url=url, reservation_id="R1"),
            )
            assert other.result is not None
            assert other.result.result is v221.CommandResultType.UNKNOWN_RESERVATION
            for done in (over.command, other.command):
                with pytest.raises(UnknownObject):
                    await self.cancel(pair, done.response_url)
            assert driver.canceled == []

    async def test_wrong_kind(self, caplog: pytest.LogCaptureFixture) -> None:
        """A host that returns something else is told in the log, and the partner FAILED."""
        cpo, driver = Reserving(), Driver()
        async with a_pair(cpo=[cpo], emsp=[driver]) as pair:
            cpo.attach(pair.cpo)
            done = await driver.send(
                pair.to_cpo,
                v221.CommandsReceiver.unlock_connector,
                lambda url: v221.UnlockConnector(
                    response_url=url, location_id="LOC1", evse_uid="E1", connector_id="1"
                ),
            )
            assert done.result is not None
            assert done.result.result is v221.CommandResultType.FAILED
        assert "TypeError" in caplog.text

    async def test_result_before_answer(self) -> None:
        """A result that comes before the answer is not missed."""
        cpo, driver = Hasty(), Driver()
        async with a_pair(cpo=[cpo], emsp=[driver]) as pair:
            cpo.platform = pair.cpo
            assert (await driver.send_start(pair.to_cpo, a_token(), "LOC1", "E1")).succeeded

    async def test_lost_answer(self) -> None:
        """Where the answer is lost and the result came, the result counts; without one, nobody knows."""
        cpo, driver = Hasty(), Driver()
        async with a_pair(cpo=[cpo], emsp=[driver]) as pair:
            cpo.platform = pair.cpo
            pair.network.lost.append(("POST", "START_SESSION"))
            done = await driver.send_start(pair.to_cpo, a_token(), "LOC1", "E1")
            assert (done.response, done.accepted, done.succeeded) == (None, True, True)
            pair.network.lost.append(("POST", "STOP_SESSION"))
            driver.patience = 0.01
            with pytest.raises(NoAnswer):
                await driver.send_stop(pair.to_cpo, "S1")
            assert len(driver._sent) == 1  # of the start, whose result may come again

    async def test_result_after_a_lost_answer(self) -> None:
        """Where the answer is lost, the result that comes later counts; what was not sent has none."""
        charger, driver = Charger(), Driver()
        charger.charging.clear()
        cpo, answered = Cpo221(charger, PATIENT, None), asyncio.Event()

        def told(exchange: Exchanged) -> None:
            if exchange.operation.endswith("start_session"):
                answered.set()

        pairing = a_pair(cpo=[cpo], emsp=[driver], on_exchange=told)
        async with pairing as pair, asyncio.timeout(30):
            pair.network.lost.append(("POST", "START_SESSION"))
            sending = asyncio.create_task(driver.send_start(pair.to_cpo, a_token(), "LOC1", "E1"))
            await answered.wait()
            charger.charging.set()
            done = await sending
            assert (done.response, done.accepted, done.succeeded) == (None, True, True)
            pair.network.down.add("cpo.example.com")
            with pytest.raises(NotSent):
                await driver.send_stop(pair.to_cpo, "S1")

    async def test_hub(self) -> None:
        """A hub has to be told which CPO is commanded; it is then, and in no other way."""
        hub = gireve.SIMULATOR
        cpo, driver = Reserving(), Driver()
        async with a_pair(cpo=[cpo], emsp=[driver], profile=hub) as pair:
            cpo.attach(pair.cpo)
            with pytest.raises(ValueError, match="cpo is a hub: expected cpo"):
                await driver.send_stop(pair.to_cpo, "S1")
            done = await driver.send_stop(pair.to_cpo, "S1", cpo=CPO)
            assert done.response is not None
            assert done.response.result is v221.CommandResponseType.NOT_SUPPORTED
            sent = [one for one in pair.network.requests if one.url.endswith("STOP_SESSION")]
            assert [one.headers["OCPI-to-party-id"] for one in sent] == ["CPO"]

    def test_how_long_to_wait(self) -> None:
        """An answer of 2.2.1 says how long to wait, one of 2.1.1 does not."""
        new = v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=17)
        assert Driver()._announced(new) == 17
        old = v211.CommandResponse(result=v211.CommandResponseType.ACCEPTED)
        assert commands_211.EmspCommands()._announced(old) is None
