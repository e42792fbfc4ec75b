"""OCPI 2.1.1: a handshake and tokens for each party and role of ours, told apart by the token."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from attrs import evolve, field, frozen
from multidict import CIMultiDict

from ocpi_gireve import (
    BILATERAL,
    Connection,
    Context,
    MemoryStore,
    Page,
    PageQuery,
    Party,
    PartyId,
    Patch,
    Platform,
    Role,
    v211,
    v221,
)
from ocpi_gireve.errors import InvalidParameters, RegistrationFailed, UnknownObject
from ocpi_gireve.gireve import SIMULATOR
from ocpi_gireve.pagination import page_of
from ocpi_gireve.store.records import ConnectionState
from ocpi_gireve.testing import sample
from ocpi_gireve.tokens import TokenEncoding, authorization
from ocpi_gireve.transport import HttpRequest, HttpResponse
from ocpi_gireve.types import Secret
from tests.handshake.platforms import CPO as CPO_NAME
from tests.handshake.platforms import EMSP as EMSP_NAME
from tests.handshake.platforms import (
    HANDLERS,
    PARTIES,
    V211,
    V221,
    Tariffs211,
    Tokens211,
    Tokens221,
    a_world,
    origin,
    pinned,
)
from tests.support import Network, envelope

BASE64, RAW = TokenEncoding.BASE64, TokenEncoding.RAW
HUB = PartyId("FR", "107")
OURS = "https://ours.example.com"
THEIRS = "https://hub.example.com"
ROLES = [("AAA", Role.CPO), ("AAA", Role.EMSP), ("BBB", Role.CPO)]
"""The parties of one platform, each in its role."""


@frozen
class Tariffs(Tariffs211):
    """A CPO's tariffs; notes who asked whom."""

    seen: list[Context] = field(factory=list[Context])

    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[v211.Tariff]:
        self.seen.append(ctx)
        return page_of([], query)


@frozen
class Sessions(v211.SessionsEmsp):
    """Notes whose session came for whom."""

    seen: list[tuple[PartyId | None, str]] = field(factory=list[tuple[PartyId | None, str]])

    async def get_session(self, ctx: Context, ref: v211.SessionRef) -> v211.Session:
        raise UnknownObject

    async def put_session(self, ctx: Context, ref: v211.SessionRef, session: v211.Session) -> None:
        self.seen.append((ctx.sender, f"{ref.country_code}*{ref.party_id}"))

    async def patch_session(self, ctx: Context, ref: v211.SessionRef, changes: Patch[v211.Session]) -> None:
        raise UnknownObject


@frozen(kw_only=True)
class Several:
    """A platform of two CPOs and an eMSP, and a hub that it registered each of them with."""

    network: Network
    ours: Platform
    hub: Platform
    tariffs: Tariffs
    sessions: Sessions
    tokens: dict[str, Secret] = field(factory=dict[str, Secret])

    def to_hub(self, name: str, role: Role) -> Connection:
        """The connection of one of ours to the hub."""
        return self.ours.connection(f"{name}-{role}")

    def to_us(self, name: str, role: Role) -> Connection:
        """The hub's connection to one of ours."""
        return self.hub.connection(f"{name}-{role}")


@asynccontextmanager
async def several() -> AsyncGenerator[Several]:
    """Register each party of a platform, in each of its roles, with a hub."""
    network, tariffs, sessions = Network(), Tariffs(), Sessions()
    ours = Platform(
        public_url=f"{OURS}/ocpi",
        parties=[Party("FR", name, role, name=name) for name, role in ROLES],
        handlers=[tariffs, Tokens211()],
        transport=network.transport,
    )
    hub = Platform(
        public_url=f"{THEIRS}/ocpi",
        parties=[Party(HUB.country_code, HUB.party_id, Role.HUB, name="Hub")],
        handlers=[Tariffs(), Tokens211(), sessions],
        transport=network.transport,
    )
    network.join(ours)
    network.join(hub)
    async with ours, hub:
        made = Several(network=network, ours=ours, hub=hub, tariffs=tariffs, sessions=sessions)
        for name, role in ROLES:
            face = Role.EMSP if role is Role.CPO else Role.CPO
            id = f"{name}-{role}"  # noqa: A001 - its name in the library
            made.tokens[id] = await hub.invite(BILATERAL, origins=OURS, id=id, role=face)
            url = f"{THEIRS}/ocpi/{face.lower()}/versions"
            party = PartyId("FR", name)
            await ours.register(SIMULATOR, url, made.tokens[id], id=id, party=party, role=role)
        yield made


async def get(platform: Platform, path: str, token: Secret | None, encoding: TokenEncoding) -> HttpResponse:
    """Ask for something with a token."""
    assert token is not None
    headers = CIMultiDict({"Authorization": authorization(token, encoding)})
    return await platform.handle(HttpRequest(method="GET", url=f"/ocpi/{path}", headers=headers))


async def test_register_in_211() -> None:
    """Raw tokens, no routing headers, the other role's endpoints, and credentials of one party."""
    network = Network()
    platforms = [
        Platform(
            public_url=f"{origin(name)}/ocpi",
            parties=[PARTIES[name]],
            handlers=HANDLERS[name](),
            transport=network.transport,
        )
        for name in (CPO_NAME, EMSP_NAME)
    ]
    for platform in platforms:
        network.join(platform)
    cpo, emsp = platforms
    async with cpo, emsp:
        profile = pinned(V211)
        token_a = await emsp.invite(profile, origins=origin(CPO_NAME), id="cpo")
        to_emsp = await cpo.register(profile, f"{emsp.public_url}/emsp/versions/", token_a, id="emsp")
        asked = [(one.method, one.url.partition("/ocpi/")[2]) for one in network.requests]
        assert asked == [
            ("GET", "emsp/versions/"),
            ("GET", "emsp/2.1.1"),
            ("POST", "emsp/2.1.1/credentials"),
            ("GET", "versions"),
            ("GET", "cpo/2.1.1"),
        ]
        sent = json.loads(network.requests[2].body)
        assert (sent.pop("token") != token_a.reveal(), sent) == (
            True,
            {
                "url": "https://cpo.example.com/ocpi/versions",
                "business_details": {"name": "Example CPO"},
                "party_id": "CPO",
                "country_code": "FR",
            },
        )
        assert network.requests[0].headers["Authorization"] == authorization(token_a, RAW)
        names = [name.lower() for one in network.requests for name in one.headers]
        assert not [name for name in names if name.startswith("ocpi-")]
        assert [(one.module, one.role) for one in to_emsp.record.endpoints] == [
            ("credentials", ""),
            ("tokens", "EMSP"),
        ]
        assert [(one.role, one.party) for one in to_emsp.record.roles] == [(Role.EMSP, PartyId("FR", "EMP"))]
        to_cpo = emsp.connection("cpo")
        assert [(one.role, one.party) for one in to_cpo.record.roles] == [(Role.CPO, PartyId("FR", "CPO"))]
        assert (to_cpo.record.party, to_cpo.record.role) == (PartyId("FR", "EMP"), Role.EMSP)


async def test_each_connection_is_for_one_of_ours() -> None:
    """Who asks over a connection asks the party that it is for; a hub is a hub whichever side it takes."""
    async with several() as made:
        for name in ("AAA", "BBB"):
            assert [one async for one in made.to_us(name, Role.CPO).crawl(v211.TariffsCpo.list_tariffs)] == []
        assert [(ctx.sender, ctx.receiver) for ctx in made.tariffs.seen] == [
            (HUB, PartyId("FR", "AAA")),
            (HUB, PartyId("FR", "BBB")),
        ]
        for name, role in ROLES:
            record = made.to_hub(name, role).record
            assert (record.version, record.party, record.role) == (V211, PartyId("FR", name), role)
            assert [(one.role, one.party) for one in record.roles] == [(Role.HUB, HUB)]
            (theirs,) = made.to_us(name, role).record.roles
            assert (theirs.role, theirs.party) == (role, PartyId("FR", name))


async def test_uploads_speak_for_the_party_of_the_connection() -> None:
    """With several parties nobody has to say who speaks: the connection does."""
    async with several() as made:
        for name in ("BBB", "AAA"):
            session = sample(v211.Session)
            ref = v211.SessionRef("FR", name, session.id)
            await made.to_hub(name, Role.CPO).upload(v211.SessionsEmsp.put_session, ref, session)
        await made.ours.outbox.drained(timeout=5)
        assert sorted(made.sessions.seen, key=str) == [
            (PartyId("FR", "AAA"), "FR*AAA"),
            (PartyId("FR", "BBB"), "FR*BBB"),
        ]


async def test_token_opens_its_own_side_alone() -> None:
    """A token of one role is unknown on the other side: at its modules, its handshake and its versions."""
    async with several() as made:
        token = made.to_us("AAA", Role.CPO).record.outbound_token
        for path, status in (
            ("cpo/versions", 200),
            ("cpo/2.1.1", 200),
            ("cpo/2.1.1/credentials", 200),
            ("cpo/2.1.1/tariffs", 200),
            ("emsp/versions", 401),
            ("emsp/2.1.1", 401),
            ("emsp/2.1.1/credentials", 401),
            ("emsp/2.1.1/tokens", 401),
            ("versions", 200),
        ):
            assert (path, (await get(made.ours, path, token, RAW)).status) == (path, status)
        emsps = made.to_us("AAA", Role.EMSP).record.outbound_token
        assert (await get(made.ours, "emsp/2.1.1/tokens", emsps, RAW)).status == 200


async def test_one_is_unregistered_without_the_others() -> None:
    """The end of one role's registration is that of no other."""
    async with several() as made:
        await made.ours.unregister("AAA-CPO")
        states = {name: made.to_us(*name).record.state for name in ROLES}
        assert states.pop(("AAA", Role.CPO)) is ConnectionState.UNREGISTERED
        assert set(states.values()) == {ConnectionState.REGISTERED}
        answer = made.network.responses[-1]
        assert envelope(answer)["data"] == {}


async def test_versions_for_whom_they_are() -> None:
    """The list of versions is read in both encodings, and names the details of the connection's own side."""
    async with a_world() as world:
        cpo = world.platform(CPO_NAME)
        token = await cpo.invite(BILATERAL, origins=origin(EMSP_NAME), id="emsp")
        expected = [
            {"version": "2.2.1", "url": "https://cpo.example.com/ocpi/2.2.1"},
            {"version": "2.1.1", "url": "https://cpo.example.com/ocpi/cpo/2.1.1"},
        ]
        for path in ("versions", "cpo/versions"):
            for encoding in (BASE64, RAW):
                assert envelope(await get(cpo, path, token, encoding))["data"] == expected
        for path, encoding in (("2.2.1", BASE64), ("cpo/2.1.1", RAW)):
            wrong = RAW if encoding is BASE64 else BASE64
            assert (await get(cpo, path, token, encoding)).status == 200
            assert (await get(cpo, path, token, wrong)).status == 401
        token = await cpo.invite(pinned(V211), origins=origin(EMSP_NAME), id="other")
        assert envelope(await get(cpo, "versions", token, RAW))["data"] == expected[1:]


@pytest.mark.parametrize("offered", [(V211, V221), (V211,), (V221,)])
async def test_best_version(offered: tuple[str, ...]) -> None:
    """Of the versions that both speak, 2.2.1 is agreed on; a profile may say another."""
    best = V221 if V221 in offered else V211
    async with a_world() as world:
        cpo, emsp = world.platform(CPO_NAME), world.platform(EMSP_NAME)
        token = await emsp.invite(pinned(*offered), origins=origin(CPO_NAME), id="cpo")
        connection = await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert connection.record.version == best


async def test_encodings_that_are_tried() -> None:
    """A partner is asked in each encoding until its version is known, and then in that one."""
    async with a_world() as world:
        cpo, emsp = world.platform(CPO_NAME), world.platform(EMSP_NAME)
        with pytest.raises(RegistrationFailed, match="Has the token been used up"):
            await cpo.register(BILATERAL, emsp.versions_url, "x" * 30, id="emsp")
        assert world.seen == {authorization(Secret("x" * 30), one) for one in (BASE64, RAW)}
        world.events.clear()
        profile = evolve(BILATERAL, name="raw", token_encoding=RAW)
        with pytest.raises(RegistrationFailed, match="Has the token been used up"):
            await cpo.register(profile, emsp.versions_url, "x" * 30, id="raw")
        assert [event.kind for event in world.events] == ["write", "message"]
        token = await emsp.invite(BILATERAL, origins=origin(CPO_NAME), id="cpo")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        await cpo.update("emsp", version=V211)
        held = world.connection(CPO_NAME).record.outbound_token
        assert held is not None
        world.seen.clear()
        await cpo.update("emsp")
        assert authorization(held, RAW) in world.seen
        assert authorization(held, BASE64) not in world.seen


async def test_no_version_in_common() -> None:
    """Without a common version nothing is registered: neither from our side nor from the partner's."""
    async with a_world() as world:
        cpo, emsp = world.platform(CPO_NAME), world.platform(EMSP_NAME)
        token = await emsp.invite(pinned(V221), origins=origin(CPO_NAME), id="cpo")
        with pytest.raises(
            RegistrationFailed, match=r"we speak 2\.1\.1 on this connection; .* offers 2\.2\.1"
        ):
            await cpo.register(pinned(V211), emsp.versions_url, token, id="emsp")
        # A partner that does not look at the list.
        body = {
            "token": "x" * 30,
            "url": "https://cpo.example.com/ocpi/versions",
            "business_details": {"name": "Example CPO"},
            "party_id": "CPO",
            "country_code": "FR",
        }
        asked = HttpRequest(
            method="POST",
            url="/ocpi/emsp/2.1.1/credentials",
            headers=CIMultiDict({"Authorization": authorization(token, RAW)}),
            body=json.dumps(body).encode(),
        )
        answer = await emsp.handle(asked)
        assert (answer.status, envelope(answer)["status_code"], envelope(answer)["data"]) == (200, 3002, {})


@pytest.mark.parametrize(
    ("party", "role", "words"),
    [
        (None, None, "name both with party= and role="),
        (PartyId("FR", "AAA"), None, "name both with party= and role="),
        (None, Role.CPO, "several parties of this platform have the role CPO: name one with party="),
        (PartyId("FR", "BBB"), Role.EMSP, "no party of this platform"),
        (PartyId("FR", "ZZZ"), None, "no party of this platform"),
        (None, Role.HUB, "no party of this platform"),
    ],
)
async def test_who_is_meant(party: PartyId | None, role: Role | None, words: str) -> None:
    """Where it could be several of ours, or none, that is said before anything is sent."""
    async with several() as made:
        with pytest.raises(ValueError, match=words):
            await made.ours.invite(pinned(V211), origins=THEIRS, id="new", party=party, role=role)
        await made.ours.invite(pinned(V211), origins=THEIRS, id="new", party=PartyId("fr", "bbb"))


async def test_hub_names_its_side() -> None:
    """A hub has both sides of 2.1.1, so an invitation that names none offers no 2.1.1."""
    async with several() as made:
        with pytest.raises(ValueError, match="name both"):
            await made.hub.invite(BILATERAL, origins=OURS, id="new")


async def test_registered_for_another() -> None:
    """A living registration is not turned over to another party of ours."""
    async with several() as made:
        with pytest.raises(ValueError, match="AAA-CPO is registered for another party or role of ours; id="):
            await made.ours.invite(SIMULATOR, origins=THEIRS, id="AAA-CPO", party=PartyId("FR", "BBB"))
        await made.ours.invite(SIMULATOR, origins=THEIRS, id="AAA-CPO", party=PartyId("FR", "AAA"))
        assert made.to_hub("AAA", Role.CPO).record.role is Role.CPO


async def test_party_that_is_added_later() -> None:
    """A connection of 2.1.1 stays with the party that it was made for when the platform gets another."""
    network, store = Network(), MemoryStore()

    def a_cpo(*names: str) -> Platform:
        made = Platform(
            public_url=f"{OURS}/ocpi",
            parties=[Party("FR", name, Role.CPO, name=name) for name in names],
            handlers=[Tariffs()],
            store=store,
            profiles=[BILATERAL],
            transport=network.transport,
        )
        network.join(made)
        return made

    emsp = Platform(
        public_url=f"{THEIRS}/ocpi",
        parties=[Party("FR", "EMP", Role.EMSP, name="Example eMSP")],
        handlers=[Tokens211()],
        transport=network.transport,
    )
    network.join(emsp)
    async with emsp:
        token = await emsp.invite(BILATERAL, origins=OURS, id="cpo")
        async with a_cpo("AAA") as cpo:
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        async with a_cpo("AAA", "BBB") as cpo:
            connection = cpo.connection("emsp")
            assert [one async for one in connection.crawl(v211.TokensEmsp.list_tokens)] == []
            assert [one async for one in emsp.connection("cpo").crawl(v211.TariffsCpo.list_tariffs)] == []
            await cpo.update("emsp")
            assert connection.record.party == PartyId("FR", "AAA")


async def test_party_that_is_no_more_ours() -> None:
    """A connection of a party that the platform gave up reaches none of the others."""
    network, store = Network(), MemoryStore()

    def emsps(*names: str) -> Platform:
        made = Platform(
            public_url=f"{OURS}/ocpi",
            parties=[Party("FR", name, Role.EMSP, name=name) for name in names],
            handlers=[Tokens221(), Tokens211()],
            store=store,
            profiles=[BILATERAL],
            transport=network.transport,
        )
        network.join(made)
        return made

    cpo = Platform(
        public_url=f"{THEIRS}/ocpi",
        parties=[PARTIES[CPO_NAME]],
        handlers=HANDLERS[CPO_NAME](),
        transport=network.transport,
    )
    network.join(cpo)
    async with cpo:
        async with emsps("AAA", "BBB") as ours:
            token = await ours.invite(BILATERAL, origins=THEIRS, id="cpo", party=PartyId("FR", "AAA"))
            to_ours = await cpo.register(BILATERAL, ours.versions_url, token, id="ours")
            assert [str(one.party) for one in to_ours.record.roles] == ["FR*AAA"]
            assert [one async for one in to_ours.crawl(v221.TokensSender.list_tokens)] == []
        async with emsps("BBB", "CCC"):
            view = to_ours.routed(receiver=PartyId("FR", "BBB"))
            with pytest.raises(InvalidParameters, match="is not served here"):
                assert [one async for one in view.crawl(v221.TokensSender.list_tokens)] == []
