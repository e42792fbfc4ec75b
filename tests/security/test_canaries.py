"""Secrets and personal data, planted wherever they occur, come out nowhere: no log, no error, no object.

Not meant are the words of a partner: what it says in ``status_message`` stands in the error that its caller
gets, as the only place that says why. They must not come into a log by themselves.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve
from multidict import CIMultiDict

from ocpi_gireve import (
    BILATERAL,
    Connection,
    Context,
    Link,
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
from ocpi_gireve.errors import (
    InvalidObject,
    InvalidParameters,
    OcpiError,
    StoreError,
    UnknownToken,
    UrlRefused,
)
from ocpi_gireve.http import AiohttpTransport, HttpServer, UrlPolicy
from ocpi_gireve.journal import Exchanged, Journal
from ocpi_gireve.pagination import page_of
from ocpi_gireve.store import PlaintextCipher, SqliteStore
from ocpi_gireve.store.base import Store
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.security.canary import Watch, forms, objects_of_ours, watching
from tests.support import NOW, Network, a_cdr, a_session, a_token, ask

UID, CONTRACT, VISUAL = "CANARY-UID-0123", "FR-EMP-CCANARY01", "CANARY-VISUAL-7"
GROUP, AUTHORIZATION, TOKEN_A = "CANARY-GROUP-5", "CANARY-AUTH-0001", "canary-token-a-0123456789-abcdef"
PERSONAL = (UID, CONTRACT, VISUAL, GROUP, AUTHORIZATION)
ECHO = "CANARY-WORDS-OF-A-PARTNER"

TOKEN = a_token(uid=UID, contract_id=CONTRACT, visual_number=VISUAL, group_id=GROUP)
CDR_TOKEN = evolve(a_cdr().cdr_token, uid=UID, contract_id=CONTRACT)
REF = v221.TokenRef("FR", "EMP", UID)
OWN_REF = v221.OwnTokenRef(UID)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Everything that is said and raised."""
    heard = Watch()
    heard.plant(*PERSONAL, TOKEN_A)
    with watching(heard):
        yield heard


# --- the platforms -----------------------------------------------------------------------------------------


def content(_: object) -> None:
    """Do as is asked."""


class Moody:
    """Handlers that fail as they are told, with all that they know in the error."""

    def __init__(self) -> None:
        self.mood: Callable[[object], None] = content


class Chargers(Moody, v221.TokensReceiver, v221.CommandsReceiver):
    """A CPO's."""

    async def get_token(self, ctx: Context, ref: v221.TokenRef) -> v221.Token:
        self.mood((ctx, ref.token_uid))
        return TOKEN

    async def put_token(self, ctx: Context, ref: v221.TokenRef, token: v221.Token) -> None:
        self.mood((ctx, ref.token_uid, token.contract_id))

    async def patch_token(self, ctx: Context, ref: v221.TokenRef, changes: Patch[v221.Token]) -> None:
        self.mood((ctx, ref.token_uid, changes.changes))

    async def start_session(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponse:
        self.mood((ctx, command.token.uid, command.authorization_reference))
        return v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=30)

    async def cancel_reservation(self, ctx: Context, command: v221.CancelReservation) -> v221.CommandResponse:
        raise NotImplementedError

    async def reserve_now(self, ctx: Context, command: v221.ReserveNow) -> v221.CommandResponse:
        raise NotImplementedError

    async def stop_session(self, ctx: Context, command: v221.StopSession) -> v221.CommandResponse:
        raise NotImplementedError

    async def unlock_connector(self, ctx: Context, command: v221.UnlockConnector) -> v221.CommandResponse:
        raise NotImplementedError


class Drivers(Moody, v221.TokensSender, v221.CdrsReceiver):
    """An eMSP's."""

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v221.Token]:
        self.mood((ctx, TOKEN.uid))
        return page_of([TOKEN], query)

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        self.mood((ctx, ref.token_uid))
        return v221.AuthorizationInfo(
            allowed=v221.AllowedType.ALLOWED, token=TOKEN, authorization_reference=AUTHORIZATION
        )

    async def post_cdr(self, ctx: Context, cdr: v221.CDR) -> Link:
        self.mood((ctx, cdr.cdr_token.uid, cdr.authorization_reference))
        return Link(cdr.id)

    async def get_cdr(self, ctx: Context, link: Link) -> v221.CDR:
        return a_cdr(cdr_token=CDR_TOKEN, authorization_reference=AUTHORIZATION)


class Sessions(Moody, v221.SessionsReceiver):
    """An eMSP's, again."""

    async def get_session(self, ctx: Context, ref: v221.SessionRef) -> v221.Session:
        raise NotImplementedError

    async def put_session(self, ctx: Context, ref: v221.SessionRef, session: v221.Session) -> None:
        self.mood((ctx, session.cdr_token.uid, session.authorization_reference))

    async def patch_session(self, ctx: Context, ref: v221.SessionRef, changes: Patch[v221.Session]) -> None:
        raise NotImplementedError


class Scene:
    """A CPO and an eMSP, joined without sockets, and what was told to their hosts and their journal."""

    def __init__(self, watch: Watch, store: Store, *, orderly: bool = False) -> None:
        self.watch = watch
        self.orderly = orderly
        self.network = Network()
        self.chargers, self.drivers, self.sessions = Chargers(), Drivers(), Sessions()
        self.told: list[object] = []
        self.journal = Journal()
        self.cpo = self._platform("cpo", Role.CPO, "CPO", [self.chargers], None)
        self.emsp = self._platform("emsp", Role.EMSP, "EMP", [self.drivers, self.sessions], store)

    def _platform(
        self, host: str, role: Role, party: str, handlers: list[Any], store: Store | None
    ) -> Platform:
        platform = Platform(
            public_url=f"https://{host}.example.com/ocpi",
            parties=[Party("FR", party, role, name=f"Example {party}")],
            handlers=handlers,
            store=store,
            transport=self.network.transport,
            on_exchange=self._note,
            on_upload=self.told.append,
            on_not_applied=self.told.append,
        )
        self.network.join(platform)
        return platform

    def _note(self, exchanged: Exchanged) -> None:
        self.told.append(exchanged)
        if self.orderly:
            self.journal(exchanged)

    def hosts(self, mood: Callable[[object], None]) -> None:
        """Let every handler fail, or not, in the same way."""
        self.chargers.mood = self.drivers.mood = self.sessions.mood = mood

    async def registered(self) -> tuple[Connection, Connection]:
        """Register the CPO with the eMSP."""
        await self.emsp.invite(BILATERAL, origins="https://cpo.example.com", id="cpo", token_a=TOKEN_A)
        to_emsp = await self.cpo.register(BILATERAL, self.emsp.versions_url, TOKEN_A, id="emsp")
        self.plant_tokens()
        return to_emsp, self.emsp.connection("cpo")

    def plant_tokens(self) -> None:
        """Look for every credentials token that went over the wire."""
        for request in self.network.requests:
            self.watch.plant(request.headers["Authorization"].partition(" ")[2])
        bodies = [one.body for one in self.network.requests] + [one.body for one in self.network.responses]
        for body in filter(None, bodies):
            said: Any = json.loads(body)
            for part in (said, said.get("data")):
                if isinstance(part, dict) and "roles" in part:
                    self.watch.plant(cast("dict[str, str]", part)["token"])


@asynccontextmanager
async def scene(watch: Watch, store: Store, *, orderly: bool = True) -> AsyncGenerator[Scene]:
    """Both platforms, started; in the end, nothing was shown.

    A journal knows what is personal by its name, so there is one where messages are `orderly`.
    """
    asyncio.get_running_loop().set_debug(enabled=True)
    at = Scene(watch, store, orderly=orderly)
    async with at.cpo, at.emsp:
        yield at
        at.plant_tokens()
        assert list(watch.among(map(repr, at.told))) == []
        assert list(watch.among(at.journal.export().decode().splitlines())) == []
        gc.collect()
        assert list(watch.among(objects_of_ours())) == []
    assert watch.shown() == []


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store on a disk."""
    return SqliteStore(tmp_path / "ocpi.db", cipher=PlaintextCipher())


async def failing(*attempts: Any) -> None:  # noqa: ANN401 - coroutines of any answer
    """Carry out what is expected to fail; the watch has the errors."""
    for attempt in attempts:
        with pytest.raises(OcpiError):
            await attempt


async def pulled(connection: Connection) -> list[Page[v221.Token]]:
    """All pages of a listing of tokens."""
    return [page async for page in connection.pages(v221.TokensSender.list_tokens)]


def bug(known: object) -> None:
    """Fail as a mistake of the host's does."""
    raise RuntimeError(f"cannot: {known!r}")


def chained_bug(known: object) -> None:
    """Fail as a mistake of the host's does that has a cause."""
    try:
        bug(known)
    except RuntimeError as error:
        raise KeyError(str(known)) from error


# --- stories -----------------------------------------------------------------------------------------------


async def test_registration(watch: Watch, store: Store) -> None:
    """Tokens A, B and C, of handshakes that fail, succeed, are renewed and end."""
    async with scene(watch, store) as at:
        url = at.emsp.versions_url
        await failing(at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp"))
        await at.emsp.invite(BILATERAL, origins="https://cpo.example.com", id="cpo", token_a=TOKEN_A)
        at.network.down.add("emsp.example.com")
        await failing(at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp"))
        at.network.down.clear()
        at.network.down.add("cpo.example.com")
        await failing(at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp"))
        at.network.down.clear()
        at.network.lost.append(("POST", "/credentials"))
        await failing(at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp"))
        at.network.replaced["POST", "/credentials"] = lambda request: HttpResponse(
            status=500, body=request.body
        )
        await failing(at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp"))
        at.network.replaced["POST", "/credentials"] = lambda request: HttpResponse(
            status=200, body=request.body
        )
        await failing(at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp"))
        at.network.replaced.clear()
        await at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp")
        await failing(at.cpo.register(BILATERAL, url, TOKEN_A, id="emsp"))
        await at.cpo.update("emsp")
        await at.cpo.unregister("emsp")
        await failing(at.cpo.update("emsp"), at.cpo.unregister("emsp"))
        assert len(watch.raised) > 10


@pytest.mark.parametrize("mood", [bug, chained_bug])
async def test_failing_handlers(watch: Watch, store: Store, mood: Callable[[object], None]) -> None:
    """Tokens, commands, authorizations and CDRs that a host's handlers choke on, in calls."""
    async with scene(watch, store) as at:
        to_emsp, to_cpo = await at.registered()
        at.hosts(mood)
        before = len(watch.said)
        start = v221.StartSession(
            response_url=to_cpo.record.versions_url or "",
            token=TOKEN,
            location_id="LOC1",
            authorization_reference=AUTHORIZATION,
        )
        await failing(
            to_cpo.call(v221.TokensReceiver.get_token, REF),
            to_cpo.call(v221.TokensReceiver.put_token, REF, TOKEN),
            to_cpo.call(
                v221.TokensReceiver.patch_token,
                REF,
                Patch(v221.Token, {"contract_id": CONTRACT, "last_updated": NOW}),
            ),
            to_cpo.call(v221.CommandsReceiver.start_session, start),
            to_emsp.call(v221.TokensSender.authorize, OWN_REF),
            to_emsp.call(v221.CdrsReceiver.post_cdr, a_cdr(cdr_token=CDR_TOKEN)),
            pulled(to_emsp),
        )
        logged = [one for one in watch.said[before:] if "answered 3000" in one]
        assert len(logged) == 7


async def test_uploads(watch: Watch, store: Store) -> None:
    """Tokens and sessions that wait, fail, are parked, are discarded and are delivered."""
    async with scene(watch, store) as at:
        to_emsp, to_cpo = await at.registered()
        at.hosts(refuse)
        await to_cpo.upload(v221.TokensReceiver.put_token, REF, TOKEN)
        session = a_session(cdr_token=CDR_TOKEN, authorization_reference=AUTHORIZATION)
        ref = v221.SessionRef("FR", "CPO", session.id)
        await to_emsp.upload(v221.SessionsReceiver.put_session, ref, session)
        await at.emsp.outbox.drained()
        await at.cpo.outbox.drained()
        at.told += [await at.emsp.outbox.status(), await at.emsp.outbox.parked("cpo")]
        at.hosts(bug)
        await to_cpo.upload(v221.TokensReceiver.put_token, REF, evolve(TOKEN, valid=False))
        await until(lambda: any("3000" in one for one in watch.said))
        at.told += await at.emsp.outbox.status()
        at.network.down.add("cpo.example.com")
        await to_cpo.upload(v221.TokensReceiver.put_token, REF, TOKEN)
        at.told += await at.emsp.outbox.status()
        (parked,) = await at.cpo.outbox.parked("emsp")
        at.told.append(parked)
        await at.cpo.outbox.discard(parked.seq, "wrong")


def refuse(_: object) -> None:
    """Refuse a message."""
    raise InvalidParameters("no")


async def until(holds: Callable[[], bool]) -> None:
    """Let the others run until something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is awaited is a line in a log
            await asyncio.sleep(0)


async def test_answers(watch: Watch, store: Store) -> None:
    """Authorizations and pages that come whole, in part, broken and from somebody else."""
    async with scene(watch, store, orderly=False) as at:
        to_emsp, to_cpo = await at.registered()
        info = await to_emsp.call(v221.TokensSender.authorize, OWN_REF)
        at.told += [info, info.token, await pulled(to_emsp)]
        token = json.loads(v221.encode(TOKEN))
        cdr = json.loads(v221.encode(a_cdr(cdr_token=CDR_TOKEN, authorization_reference=AUTHORIZATION)))
        for data in (
            [token | {"valid": CONTRACT}, token | {"type": [UID]}, UID, [CONTRACT], token],
            [token | {"energy_contract": UID, "last_updated": VISUAL}],
            {UID: CONTRACT},
            UID,
            [cdr],
        ):
            at.network.replaced["GET", ""] = answering(data)
            at.network.replaced["POST", ""] = answering(data)
            with suppress(OcpiError):
                at.told += await pulled(to_emsp)
            with suppress(OcpiError):
                at.told += [one async for one in to_emsp.crawl(v221.TokensSender.list_tokens)]
            await failing(
                to_emsp.call(v221.TokensSender.authorize, OWN_REF),
                to_cpo.call(v221.TokensReceiver.get_token, REF),
            )
        for body in (UID.encode(), b'{"data": ' + UID.encode(), b"\xff" + UID.encode()):
            for status in (200, 302, 404, 500):
                answer = HttpResponse(status=status, headers=CIMultiDict({"Location": f"/{UID}"}), body=body)
                at.network.replaced["GET", ""] = always(answer)
                await failing(to_cpo.call(v221.TokensReceiver.get_token, REF))
        assert any("Rejected" in repr(one) for one in at.told)
        assert any("cannot be read" in one for one in watch.said)


def answering(data: object) -> Callable[[HttpRequest], HttpResponse]:
    """Answer with this, as a success."""
    whole = {"data": data, "status_code": 1000, "timestamp": "2026-11-01T12:00:00Z"}
    return always(HttpResponse(status=200, body=json.dumps(whole).encode()))


def always(answer: HttpResponse) -> Callable[[HttpRequest], HttpResponse]:
    """Answer everything alike."""
    return lambda _: answer


async def test_words_of_a_partner(watch: Watch, store: Store) -> None:
    """What a partner says of an error is for the caller: no log repeats it, of calls, uploads or handlers."""
    async with scene(watch, store) as at:
        _, to_cpo = await at.registered()
        refusal = {"status_code": 2001, "status_message": ECHO, "timestamp": "2026-11-01T12:00:00Z"}
        answer = HttpResponse(status=200, body=json.dumps(refusal).encode())
        at.network.replaced["PUT", ""] = always(answer)
        with pytest.raises(OcpiError, match=ECHO):
            await to_cpo.call(v221.TokensReceiver.put_token, REF, TOKEN)
        await to_cpo.upload(v221.TokensReceiver.put_token, REF, TOKEN)
        await at.emsp.outbox.drained()

        at.emsp.spawn(to_cpo.call(v221.TokensReceiver.put_token, REF, TOKEN))
        await until(lambda: any("background work failed" in one for one in watch.said))
        assert [one for one in watch.said if ECHO in one] == []
        assert [one for one in at.told if ECHO in repr(one)] == []


@pytest.mark.parametrize(
    "body",
    [
        UID.encode(),
        b'{"uid":"' + UID.encode(),
        json.dumps({"uid": UID, "contract_id": [CONTRACT], "type": {UID: GROUP}, "valid": VISUAL}).encode(),
        json.dumps([UID, CONTRACT]).encode(),
        json.dumps({UID: 1, CONTRACT: [GROUP]}).encode(),
        b'{"%s":1,"%s":1}' % (UID.encode(), UID.encode()),
    ],
)
async def test_messages_that_cannot_be_read(watch: Watch, store: Store, body: bytes) -> None:
    """Bodies that are no JSON, or another object, full of personal data: no answer repeats a value either."""
    async with scene(watch, store, orderly=False) as at:
        await at.registered()
        token = at.cpo.connection("emsp").record.outbound_token
        assert token is not None
        for method, path in (
            ("PUT", f"/2.2.1/receiver/tokens/FR/EMP/{UID}"),
            ("PATCH", f"/2.2.1/receiver/tokens/FR/EMP/{UID}"),
            ("POST", "/2.2.1/receiver/commands/START_SESSION"),
            ("POST", "/2.2.1/credentials"),
            ("PUT", "/2.2.1/credentials"),
        ):
            for presented in (at.network.requests[-1].headers["Authorization"], f"Token {TOKEN_A}", UID):
                headers = {"Authorization": presented, "Content-Type": UID}
                answer = await ask(at.cpo, method, path, body=body, headers=headers)
                assert list(watch.among([answer.body.decode(), repr(answer)])) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/2.2.1/receiver/tokens/FR/EMP/{UID}/{CONTRACT}/{VISUAL}/{GROUP}"),
        ("BREW", f"/2.2.1/receiver/tokens/FR/EMP/{UID}"),
        ("GET", f"/2.2.1/receiver/tokens/{UID}/EMP/{UID}"),
        ("GET", f"/2.2.1/receiver/tokens/FR/EMP/{UID}?type={UID}&type={CONTRACT}"),
        ("GET", f"/2.2.1/sender/cdrs?date_from={UID}&limit={CONTRACT}"),
        ("GET", f"/tokens/{UID}/../{CONTRACT}"),
    ],
)
async def test_requests_that_lead_nowhere(watch: Watch, store: Store, method: str, path: str) -> None:
    """Paths, queries and headers full of personal data and tokens that are none."""
    async with scene(watch, store, orderly=False) as at:
        await at.registered()
        for headers in (
            {},
            {"Authorization": f"Token {TOKEN_A}", "OCPI-from-country-code": UID, "OCPI-from-party-id": UID},
            {"Authorization": TOKEN_A, "X-Correlation-ID": "\r\n" + UID},
        ):
            answer = await ask(at.cpo, method, path, headers=headers)
            assert list(watch.among([answer.body.decode()])) == []


async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what is no HTTP, and say what was meant."""
    writer.write(f"{UID} {CONTRACT}\r\n\r\n".encode())
    writer.close()


async def test_sockets(watch: Watch, store: Store) -> None:
    """Requests that do not reach a partner, and bytes that are not HTTP."""
    asyncio.get_running_loop().set_debug(enabled=True)
    at = Scene(watch, store)
    transport = AiohttpTransport(UrlPolicy(allow_http_loopback=True), connect_timeout=1.0)
    async with HttpServer(at.cpo.aiohttp_app()) as server:
        headers = CIMultiDict({"Authorization": f"Token {TOKEN_A}", "X-Uid": UID})
        for url in (
            f"http://127.0.0.1:1/tokens/{UID}?{CONTRACT}",
            f"https://127.0.0.1:{server.port}/tokens/{UID}",
            f"http://hub.invalid/tokens/{UID}",
            f"ftp://127.0.0.1/tokens/{UID}",
        ):
            request = HttpRequest(method="GET", url=url, headers=headers, body=UID.encode())
            at.told += [request]
            await failing(transport.send(request, timeout=1.0))
        async with await asyncio.start_server(babble, "127.0.0.1", 0) as babbler:
            url = f"http://127.0.0.1:{babbler.sockets[0].getsockname()[1]}/tokens/{UID}"
            await failing(transport.send(HttpRequest(method="GET", url=url, headers=headers), timeout=1.0))
        strict = AiohttpTransport(UrlPolicy(), connect_timeout=1.0)
        for place in (f"localhost:{server.port}", f"127.0.0.1:{server.port}", f"{UID}@hub.example"):
            request = HttpRequest(
                method="GET", url=f"https://{place}/tokens/{UID}?{CONTRACT}", headers=headers
            )
            with pytest.raises(UrlRefused):
                await strict.send(request, timeout=1.0)
        await strict.close()
        line = CIMultiDict({"Authorization": f"Token {TOKEN_A}\n"})
        await failing(transport.send(HttpRequest(method="GET", url=server.url, headers=line), timeout=1.0))
        for said in (
            f"GET /ocpi/tokens/{UID} HTTP/9.9\r\nAuthorization: Token {TOKEN_A}\r\n\r\n",
            f"{UID} {CONTRACT}\r\n\r\n",
            f"GET /ocpi/{UID} HTTP/1.1\r\nHost: a\r\nAuthorization: Token {TOKEN_A}\x01\r\n\r\n",
            f"PUT /ocpi/{UID} HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTRACT}\r\n\r\n",
            f"PUT /ocpi/{UID} HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n{UID}",  # noqa: E501
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said.encode("latin-1"))
            writer.write_eof()
            answer = (await reader.read()).decode("latin-1")
            writer.close()
            await writer.wait_closed()
            assert not any(text in answer for text in (TOKEN_A, UID, CONTRACT))
    await transport.close()
    assert list(watch.among(map(repr, at.told))) == []
    assert watch.shown() == []


async def test_store_that_fails(watch: Watch, tmp_path: Path) -> None:
    """Uploads and tokens that a store cannot keep."""
    store = SqliteStore(tmp_path / "ocpi.db", cipher=PlaintextCipher())
    async with scene(watch, store) as at:
        _, to_cpo = await at.registered()
        await store.close()
        with pytest.raises((StoreError, OcpiError)):
            await to_cpo.upload(v221.TokensReceiver.put_token, REF, TOKEN)
        with suppress(OcpiError):
            await at.emsp.invite(BILATERAL, origins="https://x.example.com", id="x", token_a=TOKEN_A)
        await store.open()


# --- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", [v211, v221], ids=["2.1.1", "2.2.1"])
def test_objects(watch: Watch, package: Any) -> None:  # noqa: ANN401 - either version's package
    """Objects, changes of objects and references show nothing of themselves, nor do errors about them."""
    personal = {
        "uid": UID,
        "auth_id": CONTRACT,
        "contract_id": CONTRACT,
        "visual_number": VISUAL,
        "group_id": GROUP,
    }
    whole = json.loads(v221.encode(TOKEN)) | personal | {"type": "RFID", "whitelist": "NEVER"}
    token = package.decode(json.dumps(whole).encode(), package.Token)
    shown = [token, str(token), [token], package.OwnTokenRef(UID), package.TokenRef("FR", "EMP", UID)]
    shown += [
        Patch(package.Token, {"visual_number": VISUAL}),
        Patch.between(token, evolve(token, valid=False)),
    ]
    shown += package.validate(evolve(token, extra={UID: CONTRACT}))
    for name, value in personal.items():
        for wrong in ([value], {value: value}, value * 100, f"{value}\n"):
            try:
                shown.append(
                    package.validate(
                        package.decode(json.dumps(whole | {name: wrong}).encode(), package.Token)
                    )
                )
            except OcpiError as error:
                shown.append(error)
    with pytest.raises(InvalidObject):
        evolve(token, uid=UID * 100)
    with pytest.raises(InvalidObject):
        Patch(package.Token, {"uid": UID * 100})
    with pytest.raises(InvalidObject):
        Patch(package.Token, {"valid": UID})
    assert list(watch.among(map(repr, shown))) == []
    assert list(watch.among(objects_of_ours())) == []
    assert watch.shown() == []


# --- the watch itself --------------------------------------------------------------------------------------


def test_watch_hears_logs(watch: Watch) -> None:
    """A canary in a message, in an argument or in a traceback of any logger is heard, at any level."""
    log = logging.getLogger("ocpi_gireve.anything")
    log.debug("%s", UID)
    log.debug("%r and %s", {"uid": UID}, 1)
    log.debug("plain", extra={"uid": UID})
    try:
        bug(UID)
    except RuntimeError:
        log.debug("failed", exc_info=True)
    log.debug("nothing")
    assert len(watch.shown()) == 4
    watch.clear()
    assert watch.shown() == []


def test_watch_sees_errors_and_objects(watch: Watch) -> None:
    """A canary in an error of the library, or in what it was raised from, is seen, and one in an object."""
    for text in sorted(forms(UID)):
        UnknownToken(text)
    with suppress(OcpiError):
        try:
            bug(UID)
        except RuntimeError as error:
            raise UnknownToken from error
    # The text stands in what each error says, or what it came from, and in its traceback.
    assert len(watch.shown()) == 2 * len(forms(UID)) + 2
    one = PartyId(UID, "1")
    assert any(UID in text for text in watch.among(objects_of_ours()))
    del one
