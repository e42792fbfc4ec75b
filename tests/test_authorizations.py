from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from attrs import define, evolve, field, frozen

from ocpi_gireve import (
    BILATERAL,
    Connection,
    Context,
    Page,
    PageQuery,
    PartyId,
    Profile,
    Role,
    v211,
    v221,
)
from ocpi_gireve._model import replaced
from ocpi_gireve.authorizations import (
    MAX_KEPT,
    NO_REFERENCE,
    OTHER_EVSE,
    UNKNOWN_TOKEN,
    Authorization,
    Authorizations,
    authorize,
    with_reference,
)
from ocpi_gireve.errors import InvalidObject, NoAnswer, NotRegistered, UnknownObject, UnknownToken
from ocpi_gireve.interface import Interface
from ocpi_gireve.testing import sample
from ocpi_gireve.transport import HttpResponse
from tests.support import CPO, EMSP, NOW, Network, a_pair, a_platform, a_token

UID = "01020304050607"


@define(eq=False)
class Answers:
    """What an eMSP answers, in either version.

    Attributes:
        word: Whether the driver may charge; what is raised, where it is an error.
        reference: Of its authorization.
        evse_uids: Where the driver may charge; None: the answer names no location.
        asked: What it was asked: token, type, location and EVSEs.
    """

    word: str | Exception = "ALLOWED"
    reference: str | None = "ref-1"
    evse_uids: list[str] | None = None
    asked: list[tuple[str, str, str, list[str]]] = field(factory=list[tuple[str, str, str, list[str]]])

    def ask(self, uid: str, kind: str, location: v211.LocationReferences | v221.LocationReferences) -> str:
        """Answer, or raise."""
        self.asked.append((uid, kind, location.location_id, list(location.evse_uids)))
        if isinstance(self.word, Exception):
            raise self.word
        return self.word


class Tokens221(v221.TokensSender):
    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v221.Token]:
        raise UnknownObject

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        assert location is not None
        word, evses = self.answers.ask(ref.token_uid, ref.type, location), self.answers.evse_uids
        there = v221.LocationReferences(location_id=location.location_id, evse_uids=evses or [])
        return v221.AuthorizationInfo(
            allowed=v221.AllowedType(word),
            token=a_token(),
            location=None if evses is None else there,
            authorization_reference=self.answers.reference,
            info=v221.DisplayText(language="en", text="Hello"),
        )


class Tokens211(v211.TokensEmsp):
    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v211.Token]:
        raise UnknownObject

    async def authorize(
        self, ctx: Context, ref: v211.OwnTokenRef, location: v211.LocationReferences | None = None
    ) -> v211.AuthorizationInfo:
        assert location is not None
        word, evses = self.answers.ask(ref.token_uid, ref.type, location), self.answers.evse_uids
        there = v211.LocationReferences(location_id=location.location_id, evse_uids=evses or [])
        return v211.AuthorizationInfo(
            allowed=v211.Allowed(word),
            location=None if evses is None else there,
            authorization_id=self.answers.reference,
            info=v211.DisplayText(language="en", text="Hello"),
        )


@frozen(kw_only=True)
class Scene:
    """A CPO that is registered with an eMSP, in one version."""

    version: str
    answers: Answers
    to_emsp: Connection
    network: Network


@pytest.fixture(params=["2.2.1", "2.1.1"])
def version(request: pytest.FixtureRequest) -> str:
    """One of the two versions."""
    named: str = request.param
    return named


@asynccontextmanager
async def a_scene(version: str, *, hub: bool = False) -> AsyncGenerator[Scene]:
    """Set the scene."""
    answers = Answers()
    handlers: dict[str, Interface] = {"2.2.1": Tokens221(answers), "2.1.1": Tokens211(answers)}
    profile = Profile(name="partner", hub=EMSP if hub else None, versions=frozenset({version}))
    async with a_pair(emsp=[handlers[version]], profile=profile) as pair:
        yield Scene(version=version, answers=answers, to_emsp=pair.to_emsp, network=pair.network)


def start_session(
    version: str, *, evse_uid: str | None = "E1", reference: str | None = "ref-1"
) -> v211.StartSession | v221.StartSession:
    """A START_SESSION of a token that nobody has heard of."""
    url = "https://emsp.example.com/ocpi/commands/1"
    if version == "2.1.1":
        return evolve(
            sample(v211.StartSession),
            response_url=url,
            token=evolve(sample(v211.Token), uid=UID, auth_id="FR-EMP-C1"),
            location_id="LOC1",
            evse_uid=evse_uid,
            authorization_id=reference,
        )
    return v221.StartSession(
        response_url=url,
        token=a_token(uid=UID, contract_id="FR-EMP-C1"),
        location_id="LOC1",
        evse_uid=evse_uid,
        authorization_reference=reference,
    )


class TestAuthorize:
    async def test_allowed(self, version: str) -> None:
        """One call asks in the version that is spoken, about exactly one EVSE, and answers in one form."""
        async with a_scene(version) as scene:
            answer = await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1", now=lambda: NOW)
            assert scene.answers.asked == [(UID, "RFID", "LOC1", ["E1"])]
            assert (answer.allowed, answer.decision, answer.reference) == (True, "ALLOWED", "ref-1")
            assert (answer.partner, answer.location_id, answer.evse_uid) == ("emsp", "LOC1", "E1")
            assert (answer.message, answer.commanded) == ("Hello", False)
            assert (answer.since, answer.expires) == (NOW, NOW + timedelta(minutes=2))
            # 2.1.1 answers no token: the CPO has it, or asks IOP for it.
            contract = "FR-EMP-C00000001" if version == "2.2.1" else None
            assert answer.contract_id == contract

    @pytest.mark.parametrize("word", ["BLOCKED", "EXPIRED", "NO_CREDIT", "NOT_ALLOWED", "LATER"])
    async def test_refused(self, version: str, word: str) -> None:
        """A refusal is the eMSP's own word, also one that nobody knows, and holds for no time."""
        async with a_scene(version) as scene:
            if word == "LATER":  # ours are built strictly, so that another has to be sent
                scene.network.replaced["POST", "authorize?type=RFID"] = lambda _: saying(word)
            scene.answers.word = word
            answer = await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            assert (answer.allowed, answer.decision) == (False, word)
            assert answer.since == answer.expires

    @pytest.mark.parametrize("error", [UnknownToken(), UnknownObject()])
    async def test_unknown_token(self, version: str, error: Exception) -> None:
        """That nobody knows the token is a refusal, whichever 404 says so."""
        async with a_scene(version) as scene:
            scene.answers.word = error
            answer = await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            assert (answer.allowed, answer.decision, answer.reference) == (False, UNKNOWN_TOKEN, None)

    async def test_no_reference(self, version: str) -> None:
        """A hub that allows without a reference refuses, unless we say otherwise; nobody would pay."""
        async with a_scene(version, hub=True) as scene:
            for reference in (None, ""):
                scene.answers.reference = reference
                answer = await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
                assert (answer.allowed, answer.decision) == (False, NO_REFERENCE)
                lenient = await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1", require_reference=False)
                assert (lenient.allowed, lenient.reference) == (True, None)

    async def test_no_reference_between_two(self, version: str) -> None:
        """A direct partner needs no reference, unless we say otherwise: OCPI makes it optional."""
        async with a_scene(version) as scene:
            scene.answers.reference = None
            assert (await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")).allowed
            strict = await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1", require_reference=True)
            assert strict.decision == NO_REFERENCE

    @pytest.mark.parametrize(("evse_uids", "allowed"), [(["E9", "e1"], True), ([], True), (["E9"], False)])
    async def test_evses(self, version: str, evse_uids: list[str], allowed: bool) -> None:
        """The answer names the EVSEs where the driver may charge; ours may not be among them."""
        async with a_scene(version) as scene:
            scene.answers.evse_uids = evse_uids
            answer = await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            assert (answer.allowed, answer.decision) == (allowed, "ALLOWED" if allowed else OTHER_EVSE)

    async def test_type(self, version: str) -> None:
        """A type that 2.1.1 does not have is asked about there as OTHER."""
        async with a_scene(version) as scene:
            await authorize(scene.to_emsp, UID, "APP_USER", "LOC1", "E1")
            assert scene.answers.asked[0][1] == ("APP_USER" if version == "2.2.1" else "OTHER")

    async def test_nobody_answers(self, version: str) -> None:
        """Whether to charge while nobody answers is not ours to say: the error is raised."""
        async with a_scene(version) as scene:
            scene.network.down.add("emsp.example.com")
            with pytest.raises(NoAnswer):
                await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")

    async def test_impossible(self, version: str) -> None:
        """An id that cannot be asked about is refused here."""
        async with a_scene(version) as scene:
            with pytest.raises(InvalidObject, match="/location_id"):
                await authorize(scene.to_emsp, UID, "RFID", "L" * 40, "E1")
            with pytest.raises(ValueError, match="token_uid"):
                await authorize(scene.to_emsp, "..", "RFID", "LOC1", "E1")
            assert scene.answers.asked == []

    async def test_never_registered(self) -> None:
        """Without a version nobody can be asked."""
        network = Network()
        async with a_platform(network, "cpo.example.com", Role.CPO, "CPO", []) as platform:
            await platform.invite(BILATERAL, origins="https://emsp.example.com", id="emsp")
            with pytest.raises(NotRegistered, match="emsp: never registered"):
                await authorize(platform.connection("emsp"), UID, "RFID", "LOC1", "E1")

    async def test_repr(self, version: str) -> None:
        """Nothing personal shows in a repr."""
        async with a_scene(version) as scene:
            shown = repr(await authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1"))
            assert UID not in shown
            assert "ref-1" not in shown
            assert "FR-EMP" not in shown


def saying(word: str) -> HttpResponse:
    """An answer to an authorization request."""
    token = v221.encode(a_token()).decode()
    data = f'{{"allowed":"{word}","token":{token}}}'
    body = f'{{"data":{data},"status_code":1000,"timestamp":"2026-11-01T12:00:00Z"}}'
    return HttpResponse(status=200, body=body.encode())


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        return self.moment

    def wait(self, **time: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**time)


class TestUse:
    def known(self, clock: Clock, *authorizations: Authorization) -> Authorizations:
        """Authorizations that are remembered."""
        known = Authorizations(now=clock)
        for one in authorizations:
            known.remember(one)
        return known

    def given(self, reference: str = "ref-1", **changes: object) -> Authorization:
        """An authorization that was given at NOW."""
        one = Authorization(
            allowed=True,
            decision="ALLOWED",
            reference=reference,
            token_uid="0A0B0C0D",
            partner="emsp",
            location_id="LOC1",
            evse_uid="E1",
            since=NOW,
            expires=NOW + timedelta(minutes=2),
        )
        return cast("Authorization", evolve(cast("Any", one), **changes))

    def test_once(self) -> None:
        """An authorization is used once; ids are compared without case."""
        one = self.given()
        known = self.known(Clock(), one)
        assert known.waits(one)
        assert known.use("0a0b0c0d", "loc1", "e1") is one
        assert not known.waits(one)
        assert known.use("0A0B0C0D", "LOC1", "E1") is None

    @pytest.mark.parametrize(
        ("uid", "location", "evse"),
        [("FFFFFFFF", "LOC1", "E1"), ("0A0B0C0D", "LOC2", "E1"), ("0A0B0C0D", "LOC1", "E2")],
    )
    def test_elsewhere(self, uid: str, location: str, evse: str) -> None:
        """It is for one token at one place."""
        known = self.known(Clock(), self.given())
        assert known.use(uid, location, evse) is None
        assert known.use("0A0B0C0D", "LOC1", "E1") is not None

    @pytest.mark.parametrize("uid", ["0A0B0C0D", "0a0b0c0d", "OTHER", "other"])
    def test_other_uid(self, uid: str) -> None:
        """Where the eMSP's answer names another uid than the card's, the session may start under either."""
        known = self.known(Clock(), self.given(token=a_token(uid="OTHER")))
        assert known.use("FFFFFFFF", "LOC1", "E1") is None
        used = known.use(uid, "LOC1", "E1")
        assert used is not None
        assert used.reference == "ref-1"
        assert {known.use(each, "LOC1", "E1") for each in ("0A0B0C0D", "OTHER")} == {None}

    def test_any_evse(self) -> None:
        """One that names no EVSE holds at every EVSE of its location."""
        assert self.known(Clock(), self.given(evse_uid=None)).use("0A0B0C0D", "LOC1", "E7") is not None

    def test_expired(self) -> None:
        """After about two minutes nothing starts by it."""
        clock, one = Clock(), self.given()
        known = self.known(clock, one)
        clock.wait(seconds=119)
        assert known.waits(one)
        clock.wait(seconds=1)
        assert not known.waits(one)
        assert known.use("0A0B0C0D", "LOC1", "E1") is None

    def test_other_cpo(self) -> None:
        """CPOs on one platform may have locations of one id: each has its own authorizations."""
        known = self.known(Clock(), self.given(cpo=CPO))
        assert known.use("0A0B0C0D", "LOC1", "E1", cpo=EMSP) is None
        assert known.use("0A0B0C0D", "LOC1", "E1", cpo=PartyId("fr", "cpo")) is not None

    def test_newest(self) -> None:
        """Of several, the newest is used, and the others are void: a second session has none of them."""
        known = self.known(Clock(), self.given("ref-1"), self.given("ref-2"))
        used = known.use("0A0B0C0D", "LOC1", "E1")
        assert used is not None
        assert used.reference == "ref-2"
        assert known.use("0A0B0C0D", "LOC1", "E1") is None

    def test_bounded(self) -> None:
        """However many come, the memory has an end, and the oldest give way."""
        known = self.known(Clock(), *(self.given(evse_uid=f"E{number}") for number in range(MAX_KEPT + 1)))
        assert known.use("0A0B0C0D", "LOC1", "E0") is None
        assert known.use("0A0B0C0D", "LOC1", "E1") is not None

    def test_expired_ones_go(self) -> None:
        """What has expired is not kept."""
        clock = Clock()
        known = self.known(clock, self.given())
        clock.wait(minutes=3)
        known.remember(self.given(expires=clock.moment))
        assert len(known._known) == 1


class TestAuthorizations:
    async def test_asks_and_remembers(self, version: str) -> None:
        """What a partner allows is remembered until the session starts; what it refuses is not."""
        known = Authorizations()
        async with a_scene(version) as scene:
            answer = await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1", cpo=CPO)
            assert (answer.allowed, answer.cpo) == (True, CPO)
            assert known.use(UID, "LOC1", "E1") == answer
            scene.answers.word = "BLOCKED"
            assert not (await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")).allowed
            assert known.use(UID, "LOC1", "E1") is None

    async def test_asks_each_time(self, version: str) -> None:
        """A card that is shown twice is asked about twice: the answer may have changed."""
        known = Authorizations()
        async with a_scene(version) as scene:
            for _ in range(2):
                await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            assert len(scene.answers.asked) == 2

    async def test_after_a_command(self, version: str) -> None:
        """After a START_SESSION its token is not asked about there for 15 minutes, known or not."""
        clock = Clock()
        known = Authorizations(now=clock)
        async with a_scene(version) as scene:
            known.commanded("emsp", None, start_session(version))
            clock.wait(minutes=14, seconds=59)
            answer = await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            assert scene.answers.asked == []
            assert (answer.allowed, answer.reference, answer.contract_id) == (True, "ref-1", "FR-EMP-C1")
            clock.wait(seconds=119)
            assert known.use(UID, "LOC1", "E1") is answer

    async def test_place_of_a_command(self, version: str) -> None:
        """A card shown after a START_SESSION keeps the EVSE for its session as long as that may start."""
        clock = Clock()
        known = Authorizations(now=clock)
        async with a_scene(version) as scene:
            assert known.hold("E1")
            known.release("E1", known.commanded("emsp", None, start_session(version)))
            clock.wait(seconds=90)
            await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            clock.wait(seconds=90)
            assert not known.hold("E1")
            assert known.use(UID, "LOC1", "E1") is not None
            assert known.hold("E1")

    async def test_long_after_a_command(self, version: str) -> None:
        """15 minutes after a START_SESSION its token is asked about again."""
        clock = Clock()
        known = Authorizations(now=clock)
        async with a_scene(version) as scene:
            known.commanded("emsp", None, start_session(version))
            clock.wait(minutes=15)
            await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            assert len(scene.answers.asked) == 1

    async def test_command_used(self, version: str) -> None:
        """Once its session has started, a card is asked about again: it would be another session."""
        known = Authorizations()
        async with a_scene(version) as scene:
            known.commanded("emsp", None, start_session(version))
            assert known.use(UID, "LOC1", "E1") is not None
            await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E1")
            assert len(scene.answers.asked) == 1

    async def test_command_elsewhere(self, version: str) -> None:
        """A START_SESSION authorizes at its place, and from its partner."""
        known = Authorizations()
        async with a_scene(version) as scene:
            known.commanded("emsp", None, start_session(version))
            known.commanded("another", None, start_session(version, evse_uid="E2"))
            await known.authorize(scene.to_emsp, UID, "RFID", "LOC1", "E2")
            assert len(scene.answers.asked) == 1

    def test_command_without_reference(self, version: str) -> None:
        """A START_SESSION need not carry a reference."""
        known = Authorizations()
        one = known.commanded("emsp", CPO, start_session(version, evse_uid=None, reference=None))
        assert (one.reference, one.evse_uid, one.allowed) == (None, None, True)
        assert known.use(UID, "LOC1", "E1", cpo=CPO) is one


class TestWithReference:
    @pytest.mark.parametrize("reference", ["ref-1", "r" * 99])
    def test_copied(self, version: str, reference: str) -> None:
        """Session and CDR repeat the reference exactly as it was given, whatever its length."""
        one = Authorizations().commanded("emsp", None, started(version, reference))
        if version == "2.2.1":
            session = with_reference(sample(v221.Session), one)
            assert session.authorization_reference == reference
            assert with_reference(sample(v221.CDR), session).authorization_reference == reference
        else:
            old = with_reference(sample(v211.Session), one)
            assert old.authorization_id == reference
            assert with_reference(sample(v211.CDR), old).authorization_id == reference

    def test_nothing_to_copy(self, version: str) -> None:
        """Where there is no reference, nothing changes."""
        one = Authorizations().commanded("emsp", None, start_session(version, reference=None))
        session, old = sample(v221.Session), sample(v211.Session)
        assert with_reference(session, one) is session
        assert with_reference(old, one) is old

    def test_across_versions(self) -> None:
        """The reference of one version is that of the other under another name. (GIREVE AUT-006)"""
        one = Authorizations().commanded("emsp", None, start_session("2.1.1"))
        assert with_reference(sample(v221.Session), one).authorization_reference == "ref-1"


def started(version: str, reference: str) -> v211.StartSession | v221.StartSession:
    """A START_SESSION as it was read, with whatever reference."""
    name = "authorization_id" if version == "2.1.1" else "authorization_reference"
    return replaced(start_session(version), {name: reference})
