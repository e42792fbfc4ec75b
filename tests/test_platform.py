"""The platform: what it is made of, its life, its partners, and what never leaves it."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve

from ocpi_gireve import (
    BILATERAL,
    Context,
    Link,
    MemoryStore,
    Party,
    Patch,
    Platform,
    Role,
    SqliteStore,
    v221,
)
from ocpi_gireve.errors import (
    InvalidParameters,
    NoAnswer,
    NotRegistered,
    OcpiError,
    RegistrationFailed,
    StoreError,
    UnknownLocation,
    UrlRefused,
)
from ocpi_gireve.http import HttpServer, aiohttp_app
from ocpi_gireve.interface import Interface, operations
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.outbox import LaneState
from ocpi_gireve.profile import Profile
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.store.records import ConnectionState
from ocpi_gireve.transport import HttpRequest, HttpResponse, Loopback
from ocpi_gireve.types import Secret
from tests.support import (
    CpoLocations,
    EmspCdrs,
    EmspLocations,
    EmspTokens,
    Network,
    a_cdr,
    a_location,
    a_pair,
    a_platform,
    a_session,
    a_token,
    ask,
    changed,
    envelope,
)

CPO = Party("FR", "CPO", Role.CPO, name="Example CPO")
REF = v221.LocationRef("FR", "CPO", "LOC1")


def platform(
    public_url: str = "https://cpo.example.com/ocpi",
    parties: Sequence[Party] = (CPO,),
    handlers: Sequence[Interface] = (),
    profiles: Sequence[Profile] = (),
    store: MemoryStore | None = None,
) -> Platform:
    """A platform that calls itself."""
    made = Platform(
        public_url=public_url,
        parties=parties,
        handlers=handlers,
        profiles=profiles,
        store=store,
        transport=lambda _: Loopback(made.handle),
    )
    return made


# --- what it is made of --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public_url", "words"),
    [
        ("cpo.example.com", "public_url: "),
        ("ftp://cpo.example.com", "public_url: "),
        ("https://user:pass@cpo.example.com", "public_url: "),
        ("https://cpo.example.com/ocpi?x=1", "public_url: expected no query and no fragment"),
        ("https://cpo.example.com/ocpi#x", "public_url: "),
        ("https://cpo.example.com/" + "x" * 250, "public_url and parties: .*/url: "),
    ],
)
def test_public_url(public_url: str, words: str) -> None:
    """A public URL that partners could not use is refused at once."""
    with pytest.raises(ValueError, match=words):
        platform(public_url=public_url)


@pytest.mark.parametrize(
    ("parties", "words"),
    [
        ([], "public_url and parties: .*/roles"),
        ([Party("FRA", "CPO", Role.CPO, name="x")], "/country_code"),
        ([Party("FR", "CPOS", Role.CPO, name="x")], "/party_id"),
        ([CPO, Party("fr", "cpo", Role.CPO, name="again")], "expected each once in a role"),
    ],
)
def test_parties(parties: Sequence[Party], words: str) -> None:
    """Parties that could not be presented in a handshake are refused at once."""
    with pytest.raises(ValueError, match=words):
        platform(parties=parties)


def test_one_party_in_two_roles() -> None:
    """A party may be a CPO and an eMSP."""
    platform(parties=[CPO, evolve(CPO, role=Role.EMSP)])


def two_sides() -> Interface:
    """An object that implements two interfaces whose operations have the same names, as no checker allows."""

    async def anything(*_: object) -> None:
        """Do nothing."""

    bases = (v221.LocationsSender, v221.LocationsReceiver)
    members = {operation.name: anything for base in bases for operation in operations(base)}
    return cast("Interface", type("TwoSides", bases, cast("dict[str, Any]", members))())


class NoInterface(Interface):
    """Implements nothing."""


@pytest.mark.parametrize(
    ("handlers", "error", "words"),
    [
        ([EmspLocations(), EmspLocations()], ValueError, "LocationsReceiver 2.2.1 is implemented by EmspLo"),
        ([NoInterface()], TypeError, "NoInterface is no object that implements an interface of OCPI"),
        ([cast("Interface", EmspLocations)], TypeError, "EmspLocations is no object that implements"),
        (
            [two_sides()],
            TypeError,
            "TwoSides: LocationsSender and LocationsReceiver have a get_location each; use two objects",
        ),
    ],
)
def test_handlers(handlers: Sequence[Interface], error: type[Exception], words: str) -> None:
    """Handlers that could not be told apart, or do nothing, are refused at once."""
    with pytest.raises(error, match=words):
        platform(handlers=handlers)


async def test_version_details_are_computed() -> None:
    """Version details list what the handlers implement, with URLs below the public one, and credentials."""
    cpo = platform(handlers=[CpoLocations([]), EmspCdrs()])
    async with cpo:
        token = (await cpo.invite(BILATERAL, origins=PIN_FIRST)).reveal()
        details = envelope(await ask(cpo, "GET", "/2.2.1", token=token))["data"]
        base = "https://cpo.example.com/ocpi/2.2.1"
        assert details == {
            "version": "2.2.1",
            "endpoints": [
                {"identifier": "credentials", "role": "SENDER", "url": f"{base}/credentials"},
                {"identifier": "locations", "role": "SENDER", "url": f"{base}/sender/locations"},
                {"identifier": "cdrs", "role": "RECEIVER", "url": f"{base}/receiver/cdrs"},
            ],
        }
        versions = envelope(await ask(cpo, "GET", "/versions", token=token))["data"]
        assert versions == [{"version": "2.2.1", "url": base}]


# --- its life ------------------------------------------------------------------------------------------


async def test_start_and_close_twice() -> None:
    """Starting what is started and closing what is closed does nothing."""
    cpo = platform()
    await asyncio.gather(cpo.start(), cpo.start())
    await cpo.start()
    await asyncio.gather(cpo.close(), cpo.close())
    await cpo.close()
    with pytest.raises(StoreError):
        await cpo.invite(BILATERAL, origins=PIN_FIRST)


async def test_started_again_with_a_store_that_forgot() -> None:
    """Who is not in the store any more when a platform starts again is unknown to it."""
    cpo = platform()
    async with cpo:
        await cpo.invite(BILATERAL, origins=PIN_FIRST)
        assert len(cpo.connections()) == 1
    assert isinstance(cpo.store, MemoryStore)
    cpo.store._connections.clear()
    async with cpo:
        assert cpo.connections() == []


async def test_cancelled_while_closing() -> None:
    """Whoever is cancelled while closing leaves nothing open."""

    class Closing(MemoryStore):
        closed = False

        async def close(self) -> None:
            self.closed = True

    store = Closing()
    cpo = platform(store=store)
    await cpo.start()
    stubborn, finish = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stubborn.set()
            await finish.wait()

    cpo.spawn(work())
    await asyncio.sleep(0)
    closing = asyncio.create_task(cpo.close())
    await stubborn.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert store.closed


async def test_profile_that_was_not_passed() -> None:
    """A connection whose profile is not known keeps the platform from starting, and nothing is left open."""

    class Lasting(MemoryStore):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    store = Lasting()
    async with platform(store=store) as cpo:
        await cpo.invite(evolve(BILATERAL, name="special"), origins=PIN_FIRST)
    again = platform(store=store)
    with pytest.raises(ValueError, match="connection 'special' has the profile 'special'; pass it"):
        await again.start()
    assert store.closed == 2
    await again.close()
    async with platform(store=store, profiles=[evolve(BILATERAL, name="special")]) as cpo:
        assert cpo.connection("special").id == "special"


async def test_background_work(caplog: pytest.LogCaptureFixture) -> None:
    """Work that was spawned goes on after the answer, is cancelled at the end, and its errors are logged."""
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    async def fail(error: Exception) -> None:
        raise error

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            done.clear()

    async with platform() as cpo:
        cpo.spawn(work())
        cpo.spawn(fail(KeyError("CANARY")))
        cpo.spawn(fail(OcpiError("CANARY")))
        await done.wait()
        await asyncio.sleep(0)
        cpo.spawn(wait())
        await asyncio.sleep(0)
    assert not done.is_set()
    assert "background work failed with KeyError" in caplog.text
    assert "background work failed with OcpiError" in caplog.text
    assert "CANARY" not in caplog.text


# --- partners ------------------------------------------------------------------------------------------


async def test_unknown_connection() -> None:
    """A connection that does not exist is NotRegistered, whatever is asked of it."""
    async with platform() as cpo:
        assert cpo.connections() == []
        for attempt in (cpo.update("nobody"), cpo.unregister("nobody")):
            with pytest.raises(NotRegistered, match="there is no connection 'nobody'"):
                await attempt
        with pytest.raises(NotRegistered):
            cpo.connection("nobody")


async def test_invitation() -> None:
    """An invitation makes a connection, gives out a token, and says what is wrong with its arguments."""
    async with platform() as cpo:
        with pytest.raises(ValueError, match="expected an origin"):
            await cpo.invite(BILATERAL, origins=[])
        with pytest.raises(UrlRefused):
            await cpo.invite(BILATERAL, origins="cpo")
        with pytest.raises(ValueError, match="a token has 1 to 64"):
            await cpo.invite(BILATERAL, origins=PIN_FIRST, token_a="two words")
        assert cpo.connections() == []
        token = await cpo.invite(BILATERAL, origins=["https://A.example/x", "https://a.example:443"])
        record = cpo.connection("bilateral").record
        assert (record.state, record.origins) == (ConnectionState.NEW, ("https://a.example",))
        assert len(token.reveal()) == 43


async def test_second_invitation() -> None:
    """A second invitation replaces the first one's token and, where there is no registration, its origins."""
    async with platform() as cpo:
        first = await cpo.invite(BILATERAL, origins="https://wrong.example")
        second = await cpo.invite(BILATERAL, origins="https://right.example")
        assert cpo.connection("bilateral").record.origins == ("https://right.example",)
        assert (await ask(cpo, "GET", "/versions", token=first.reveal())).status == 401
        assert (await ask(cpo, "GET", "/versions", token=second.reveal())).status == 200


async def test_invitation_of_a_registered_partner() -> None:
    """A partner that lost its token can be let in again; what it has goes on working meanwhile."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        token = await pair.emsp.invite(BILATERAL, origins="https://new.example", id="cpo")
        assert pair.to_cpo.record.origins == ("https://cpo.example.com", "https://new.example")
        await pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())
        assert (await ask(pair.emsp, "GET", "/2.2.1", token=token.reveal())).status == 401
        other = await pair.emsp.invite(BILATERAL, origins="https://new.example", id="cpo")
        assert (await ask(pair.emsp, "GET", "/2.2.1", token=other.reveal())).status == 200


async def test_short_token_a(caplog: pytest.LogCaptureFixture) -> None:
    """A short token A is taken with a warning, which does not show it."""
    async with platform() as cpo:
        await cpo.invite(BILATERAL, origins=PIN_FIRST, token_a=Secret("short-CANARY"))
    assert "bilateral: token A is short" in caplog.text
    assert "CANARY" not in caplog.text


async def test_profiles_of_one_name() -> None:
    """Two profiles of one name, and another profile for a connection that exists, are refused."""
    async with platform(profiles=[BILATERAL]) as cpo:
        with pytest.raises(ValueError, match="two profiles are named 'bilateral'"):
            await cpo.invite(evolve(BILATERAL, timeout=5), origins=PIN_FIRST)
        await cpo.invite(BILATERAL, origins=PIN_FIRST)
        with pytest.raises(ValueError, match="connection 'bilateral' has the profile 'bilateral'"):
            await cpo.invite(evolve(BILATERAL, name="other"), origins=PIN_FIRST, id="bilateral")


async def test_rhythm_of_a_profile() -> None:
    """Each connection's uploads are tried again at its own profile's pace."""
    network = Network()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [])
    emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [EmspLocations()])
    async with cpo, emsp:
        for name, base in (("quick", 0.001), ("slow", 200.0)):
            profile = evolve(BILATERAL, name=name, retry_base=base, retry_cap=10 * base)
            token = await emsp.invite(BILATERAL, origins="https://cpo.example.com", id=name)
            await cpo.register(profile, emsp.versions_url, token)
        network.down.add("emsp.example.com")
        for name in ("quick", "slow"):
            await cpo.connection(name).upload(v221.LocationsReceiver.put_location, REF, a_location())
        attempts = 0
        async with asyncio.timeout(5):
            while attempts < 3:
                await asyncio.sleep(0.005)
                kept = await cpo.store.head("quick", "fr*cpo/locations")
                attempts = kept.attempts if kept is not None else 0
        _, slow = await cpo.outbox.status()
        assert (slow.state, slow.connection) == (LaneState.BACKOFF, "slow")
        assert slow.retry_in is not None
        assert 50 < slow.retry_in <= 200


async def test_restart_keeps_uploads(tmp_path: Path) -> None:
    """What was uploaded before a restart is delivered after it, to the same partner."""
    network = Network()
    handler = EmspLocations()
    emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [handler])

    def make() -> Platform:
        store = SqliteStore(tmp_path / "ocpi.db")
        return a_platform(network, "cpo.example.com", Role.CPO, "CPO", [], store=store, profiles=[BILATERAL])

    async with emsp:
        async with make() as cpo:
            token = await emsp.invite(BILATERAL, origins="https://cpo.example.com", id="cpo")
            connection = await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
            network.down.add("emsp.example.com")
            await connection.upload(v221.LocationsReceiver.put_location, REF, a_location())
        network.down.clear()
        async with make() as cpo:
            await cpo.outbox.drained(timeout=5)
        assert list(handler.locations) == ["LOC1"]


async def test_over_sockets() -> None:
    """Over real HTTP too, ids with slashes, percent signs and any alphabet arrive as they were."""
    profile = evolve(BILATERAL, allow_http_loopback=True)
    handler = EmspLocations()

    async def at_emsp(request: HttpRequest) -> HttpResponse:
        return await emsp.handle(request)

    async def at_cpo(request: HttpRequest) -> HttpResponse:
        return await cpo.handle(request)

    async with (
        HttpServer(aiohttp_app(at_emsp)) as emsp_server,
        HttpServer(aiohttp_app(at_cpo)) as cpo_server,
    ):
        emp = Party("FR", "EMP", Role.EMSP, name="Example eMSP")
        url = f"{emsp_server.url}/a%20path/ocpi"
        emsp = Platform(public_url=url, parties=[emp], handlers=[handler, EmspCdrs()])
        cpo = Platform(public_url=f"{cpo_server.url}/ocpi", parties=[CPO], handlers=[])
        async with emsp, cpo:
            token = await emsp.invite(profile, origins=PIN_FIRST, id="cpo")
            connection = await cpo.register(profile, emsp.versions_url, token, id="emsp")
            for odd in (
                "a/b",
                "50%",
                "é",
                "%2F",
                "?x=1",
                "a b",
                "#",
                "a+b",
                "..a",
                "日本",
                "a;b=c,d",
                "'\"<>",
            ):
                ref = v221.LocationRef("FR", "CPO", odd)
                if odd.isascii():  # a body of ours has no other ids
                    await connection.call(v221.LocationsReceiver.put_location, ref, a_location(id=odd))
                    assert handler.locations.pop(odd) == a_location(id=odd)
                with pytest.raises(UnknownLocation):
                    await connection.call(v221.LocationsReceiver.get_location, ref)
            link = await connection.call(v221.CdrsReceiver.post_cdr, a_cdr(id="a/b 100%"))
            assert (await connection.call(v221.CdrsReceiver.get_cdr, link)).id == "a/b 100%"


# --- what is never shown -------------------------------------------------------------------------------

UID, CONTRACT, REFERENCE = "CANARYUID01020304", "CANARY-CONTRACT-77", "CANARY-AUTHREF-88"
TOKEN = "CANARY-TOKEN-A-0123456789012345"


class Leaky(EmspTokens, EmspCdrs, v221.SessionsReceiver):
    """Fails with what it was given in its errors, as handlers do."""

    def __init__(self) -> None:
        super().__init__()

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        raise KeyError(ref.token_uid)

    async def get_session(self, ctx: Context, ref: v221.SessionRef) -> v221.Session:
        raise ValueError(CONTRACT)

    async def put_session(self, ctx: Context, ref: v221.SessionRef, session: v221.Session) -> None:
        raise OSError(session.cdr_token.contract_id)

    async def patch_session(self, ctx: Context, ref: v221.SessionRef, changes: Patch[v221.Session]) -> None:
        raise RuntimeError(f"{changes.changes}") from KeyError(REFERENCE)

    async def post_cdr(self, ctx: Context, cdr: v221.CDR) -> Link:
        raise LookupError(cdr.cdr_token.uid)


def told(errors: Iterable[BaseException]) -> str:
    """Everything that errors and their causes say of themselves."""
    texts: list[str] = []
    for error in errors:
        one: BaseException | None = error
        while one is not None:
            texts += [str(one), repr(one), repr(vars(one))]
            one = one.__cause__ or one.__context__
    return "\n".join(texts)


async def test_canaries(caplog: pytest.LogCaptureFixture) -> None:
    """No token, uid, contract id or reference shows in a log at DEBUG, a repr, an error or the journal."""
    journal: list[Exchanged] = []
    errors: list[BaseException] = []
    network = Network()
    cpo = a_platform(
        network, "cpo.example.com", Role.CPO, "CPO", [CpoLocations([])], on_exchange=journal.append
    )
    emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [Leaky()], on_exchange=journal.append)
    token = changed(a_cdr().cdr_token, {"uid": UID, "contract_id": CONTRACT})
    session = a_session(cdr_token=token, authorization_reference=REFERENCE)
    cdr = a_cdr(cdr_token=token, authorization_reference=REFERENCE)
    ref = v221.SessionRef("FR", "CPO", "S1")
    later = changed(session, {"authorization_reference": f"{REFERENCE}2"})
    shown: list[object] = [session, cdr, a_token(uid=UID, contract_id=CONTRACT), ref]
    with caplog.at_level(logging.DEBUG):
        async with cpo, emsp:
            given = await emsp.invite(BILATERAL, origins="https://cpo.example.com", id="cpo", token_a=TOKEN)
            with pytest.raises(RegistrationFailed) as failed:
                await cpo.register(BILATERAL, emsp.versions_url, f"{TOKEN}-wrong", id="emsp")
            errors.append(failed.value)
            network.lost.append(("POST", "/credentials"))
            with pytest.raises(RegistrationFailed) as failed:
                await cpo.register(BILATERAL, emsp.versions_url, given, id="emsp")
            errors.append(failed.value)
            to_emsp = await cpo.register(BILATERAL, emsp.versions_url, given, id="emsp")
            patch = Patch.between(session, later)
            shown += [to_emsp, to_emsp.record, to_emsp.profile, patch, given]
            for attempt in (
                to_emsp.call(v221.TokensSender.authorize, v221.OwnTokenRef(UID)),
                to_emsp.call(v221.SessionsReceiver.get_session, ref),
                to_emsp.call(v221.SessionsReceiver.put_session, ref, session),
                to_emsp.call(v221.SessionsReceiver.patch_session, ref, patch),
                to_emsp.call(v221.CdrsReceiver.post_cdr, cdr),
            ):
                with pytest.raises(OcpiError) as refused:
                    await attempt
                errors.append(refused.value)
            for body in ({"cdr_token": {"uid": UID, "contract_id": [CONTRACT]}, "id": "S1"}, [UID], UID):
                headers = {"X-Request-ID": "r1"}
                held = to_emsp.record.outbound_token
                assert held is not None
                path = "/2.2.1/receiver/sessions/FR/CPO/S1"
                answer = await ask(emsp, "PUT", path, token=held.reveal(), body=body, headers=headers)
                assert b"CANARY" not in answer.body
            await to_emsp.upload(v221.SessionsReceiver.put_session, ref, session)
            await to_emsp.upload(v221.CdrsReceiver.post_cdr, cdr)
            await asyncio.sleep(0.05)
            shown += [await cpo.outbox.status(), await cpo.store.head("emsp", "fr*cpo/charging")]
            await ask(emsp, "GET", "/versions", token=f"{TOKEN}-unknown")
            secrets = [held.reveal() for held in held_tokens(cpo, emsp)]
            await cpo.unregister("emsp")
            shown += [cpo, emsp, cpo._directory.get("emsp"), emsp._directory.tokens("cpo"), *journal]
    everything = "\n".join([caplog.text, *map(repr, caplog.records), told(errors), *map(repr, shown)])
    details = "\n".join(str(vars(record)) for record in caplog.records)
    for secret in [UID, CONTRACT, REFERENCE, TOKEN, *secrets]:
        for form in (secret, base64.b64encode(secret.encode()).decode()):
            assert form not in everything
            assert form not in details
    assert re.search("LocationsSender|TokensSender", repr(journal))


def held_tokens(*platforms: Platform) -> list[Secret]:
    """The tokens that platforms present."""
    found = [one.record.outbound_token for platform in platforms for one in platform.connections()]
    return [token for token in found if token is not None]


async def test_requests_hide_what_they_carry() -> None:
    """The repr of a request shows neither headers nor body."""
    request = HttpRequest(method="PUT", url="https://x/ocpi?token=CANARY", body=b"CANARY")
    assert "CANARY" not in repr(request)


async def test_canary_in_a_status_message(caplog: pytest.LogCaptureFixture) -> None:
    """What a partner wrote into its answer is raised to the caller, and logged by nobody."""

    class Talkative(EmspLocations):
        async def put_location(self, ctx: Context, ref: v221.LocationRef, location: v221.Location) -> None:
            raise InvalidParameters("CANARY")

    with caplog.at_level(logging.DEBUG):
        async with a_pair(emsp=[Talkative()]) as pair:
            await pair.to_emsp.upload(v221.LocationsReceiver.put_location, REF, a_location())
            await pair.cpo.outbox.drained(timeout=5)
            (parked,) = await pair.cpo.outbox.parked("emsp")

            async def work() -> None:
                await pair.to_emsp.call(v221.LocationsReceiver.put_location, REF, a_location())

            pair.cpo.spawn(work())
            await asyncio.sleep(0.01)
            pair.network.down.add("emsp.example.com")
            with pytest.raises(NoAnswer):
                await work()
    assert "background work failed with InvalidParameters: put_location, emsp" in caplog.text
    assert "CANARY" not in caplog.text + repr(parked)
