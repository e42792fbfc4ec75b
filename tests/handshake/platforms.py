"""Two whole platforms whose wire and stores fail where a test says, and whose processes die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast
from urllib.parse import urlsplit

from attrs import define, evolve, field, frozen

from ocpi_gireve import (
    BILATERAL,
    Connection,
    Context,
    MemoryStore,
    Page,
    PageQuery,
    Party,
    Platform,
    Profile,
    Role,
    v211,
    v221,
)
from ocpi_gireve.errors import NoAnswer, NotSent, OcpiError, StoreError
from ocpi_gireve.interface import Interface
from ocpi_gireve.pagination import page_of
from ocpi_gireve.store import Store
from ocpi_gireve.store.records import ConnectionRecord, InboundToken, TokenKind
from ocpi_gireve.tokens import TokenEncoding, authorization
from ocpi_gireve.transport import HttpRequest, HttpResponse, Loopback
from ocpi_gireve.types import Secret

CPO, EMSP = "cpo", "emsp"
PARTIES = {
    CPO: Party("FR", "CPO", Role.CPO, name="Example CPO"),
    EMSP: Party("FR", "EMP", Role.EMSP, name="Example eMSP"),
}
TOKEN_A = Secret("token-a-of-the-handshakes-1234")
V211, V221 = "2.1.1", "2.2.1"
SINCE = PageQuery(date_from=datetime(2026, 1, 1, tzinfo=UTC))


class Tariffs221(v221.TariffsSender):
    """A CPO's tariffs, of which there are none."""

    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[v221.Tariff]:
        return page_of([], query)


class Tariffs211(v211.TariffsCpo):
    """The same in 2.1.1."""

    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[v211.Tariff]:
        return page_of([], query)


class Tokens221(v221.TokensSender):
    """An eMSP's tokens, of which there are none."""

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v221.Token]:
        return page_of([], query)

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        raise NotImplementedError


class Tokens211(v211.TokensEmsp):
    """The same in 2.1.1."""

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v211.Token]:
        return page_of([], query)

    async def authorize(
        self, ctx: Context, ref: v211.OwnTokenRef, location: v211.LocationReferences | None = None
    ) -> v211.AuthorizationInfo:
        raise NotImplementedError


HANDLERS: dict[str, Callable[[], list[Interface]]] = {
    CPO: lambda: [Tariffs221(), Tariffs211()],
    EMSP: lambda: [Tokens221(), Tokens211()],
}
LISTINGS: dict[tuple[str, str], Callable[..., Any]] = {
    (CPO, V221): v221.TariffsSender.list_tariffs,
    (CPO, V211): v211.TariffsCpo.list_tariffs,
    (EMSP, V221): v221.TokensSender.list_tokens,
    (EMSP, V211): v211.TokensEmsp.list_tokens,
}
"""What each of them lists, by version."""


class Flaw(StrEnum):
    """What goes wrong at one event: a message between the platforms, or a write to a store."""

    NOT_SENT = "not sent"
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    BAD_GATEWAY = "a gateway's page instead of the answer"
    SENDER_DIES_BEFORE = "sender dies before"
    SENDER_DIES_AFTER = "sender dies after"
    RECEIVER_DIES_BEFORE = "receiver dies before"
    RECEIVER_DIES_AFTER = "receiver dies after"
    STORE_FAILS = "store fails"
    STORE_IN_DOUBT = "store fails after it wrote"
    WRITER_DIES_BEFORE = "writer dies before"
    WRITER_DIES_AFTER = "writer dies after"

    @property
    def of(self) -> str:
        """The kind of event that it happens to."""
        return "write" if self.startswith(("store", "writer")) else "message"


class Died(BaseException):
    """The process is no more: nothing that it was about to do happens."""


@frozen
class Event:
    """One thing that a handshake consists of.

    Attributes:
        kind: A ``message`` to the other, or a ``write`` to the store.
        who: Who sends, or writes.
        what: The method and path, or the state that is written.
    """

    kind: str
    who: str
    what: str


@define
class Process:
    """One life of a platform.

    Attributes:
        name: Whose.
        alive: Whether it still acts.
    """

    name: str
    platform: Platform = field(init=False)
    alive: bool = True

    def require_alive(self) -> None:
        """Do nothing more once dead."""
        if not self.alive:
            raise Died


class World:
    """A CPO and an eMSP, each with a store that outlives its process, and the wire between them.

    Attributes:
        events: What happened since they were last counted.
        flaws: What goes wrong at which of the following events, by their number.
        seen: Every Authorization header that was ever sent.
        live: The events of a handshake at which both ask each other, by their numbers, as long as both live.
    """

    def __init__(self, profile: Profile = BILATERAL) -> None:
        self.profile = profile
        self.events: list[Event] = []
        self.flaws: dict[int, Flaw] = {}
        self.seen: set[str] = set()
        self.live: Container[int] = ()
        self._broken: list[str] = []
        self._stores = {name: MemoryStore() for name in (CPO, EMSP)}
        self._processes: dict[str, Process] = {}
        self._dead: list[Process] = []
        self._calling: ContextVar[bool] = ContextVar("calling", default=False)
        self._asking: set[asyncio.Task[None]] = set()

    def platform(self, name: str) -> Platform:
        """Return the platform as it is now."""
        return self._processes[name].platform

    def process(self, name: str) -> Process:
        """Return the life that a platform leads now."""
        return self._processes[name]

    def connection(self, name: str) -> Connection:
        """Return the connection of one to the other."""
        return self.platform(name).connection(other(name))

    async def start(self, name: str) -> None:
        """Let a platform come to life with what its store holds."""
        process = Process(name)
        process.platform = Platform(
            public_url=f"https://{name}.example.com/ocpi",
            parties=[PARTIES[name]],
            handlers=HANDLERS[name](),
            store=cast("Store", _Store(self, process, self._stores[name])),
            profiles=[self.profile],
            transport=lambda _: _Wire(self, process),
        )
        self._processes[name] = process
        await process.platform.start()

    def kill(self, process: Process) -> None:
        """Let a process do nothing more."""
        process.alive = False

    async def revive(self) -> None:
        """Start again whoever died."""
        for name, process in list(self._processes.items()):
            if not process.alive:
                self._dead.append(process)
                await self.start(name)

    async def close(self) -> None:
        """End them all, the dead as well."""
        for process in [*self._dead, *self._processes.values()]:
            process.alive = False
            await process.platform.close()

    async def works(self) -> None:
        """Make sure that each can ask the other, in the version that it believes in.

        Raises:
            OcpiError: one cannot.
        """
        calling = self._calling.set(True)
        try:
            for name in (CPO, EMSP):
                connection = self.connection(name)
                listing = LISTINGS[other(name), connection.record.version or ""]
                assert [one async for one in connection.crawl(listing)] == []
        finally:
            self._calling.reset(calling)

    async def _count(self, event: Event) -> Flaw | None:
        """Count an event of a handshake, and say what goes wrong at it."""
        if self._calling.get():
            return None
        self.events.append(event)
        number = len(self.events) - 1
        if number in self.live and all(process.alive for process in self._processes.values()):
            asking = asyncio.create_task(self._ask(event))
            self._asking.add(asking)
            if event.kind == "message":
                await asking
        return self.flaws.pop(number, None)

    async def _ask(self, event: Event) -> None:
        """Let both ask each other, and note where they cannot although both live."""
        try:
            async with asyncio.timeout(5):
                await self.works()
        except (OcpiError, TimeoutError, Died) as error:
            if all(process.alive for process in self._processes.values()):
                self._broken.append(f"{event}: {type(error).__name__}: {error}")

    async def asked(self) -> list[str]:
        """Wait until both have asked each other for the last time, and return what failed since then."""
        await asyncio.gather(*self._asking)
        self._asking.clear()
        broken, self._broken = self._broken, []
        return broken

    async def take(
        self, act: Awaitable[None], flaws: Mapping[int, Flaw], live: Container[int] = ()
    ) -> tuple[list[Event], list[str]]:
        """Let something happen with flaws; return its events, and what both asked meanwhile in vain."""
        self.events.clear()
        self.flaws = dict(flaws)
        self.live = live
        with suppress(OcpiError, Died):
            await act
        self.live = ()
        self.flaws.clear()
        broken = await self.asked()
        events = list(self.events)
        await self.revive()
        return events, broken

    async def settled(self) -> None:
        """Make sure that both hold the same, and that of all tokens shown only the present ones are good.

        Both have asked each other since the last handshake. A token A that was not used since it was given is
        a present one, too.
        """
        records = {name: self.connection(name).record for name in (CPO, EMSP)}
        assert len({record.version for record in records.values()}) == 1
        for name in (CPO, EMSP):
            platform, present = self.platform(name), records[other(name)].outbound_token
            assert present is not None
            assert records[name].previous_token is None
            tokens = platform._directory.tokens(other(name))
            assert [one.kind for one in tokens if one.kind is not TokenKind.A] == [TokenKind.CURRENT]
            opening: set[str] = set()
            for header in self.seen:
                asked = HttpRequest(method="GET", url="/ocpi/versions")
                asked.headers["Authorization"] = header
                if (await platform.handle(asked)).status == 200:
                    opening.add(header)
            good = {present, *(TOKEN_A for one in tokens if one.kind is TokenKind.A and not one.used)}
            written = {authorization(one, encoding) for one in good for encoding in TokenEncoding}
            assert opening
            assert opening <= written

    async def carry(self, sender: Process, request: HttpRequest, timeout: float) -> HttpResponse:
        """Bring a request to the other platform, or not."""
        sender.require_alive()
        self.seen.add(request.headers["Authorization"])
        path = urlsplit(request.url).path
        flaw = await self._count(Event("message", sender.name, f"{request.method} {path}"))
        if flaw is Flaw.SENDER_DIES_BEFORE:
            self.kill(sender)
        sender.require_alive()
        receiver = self._processes[urlsplit(request.url).netloc.partition(".")[0]]
        if flaw is Flaw.RECEIVER_DIES_BEFORE:
            self.kill(receiver)
        if flaw is Flaw.NOT_SENT or not receiver.alive:
            raise NotSent("could not connect")
        if flaw is Flaw.REQUEST_LOST:
            raise NoAnswer("the connection was cut")
        try:
            response = await Loopback(receiver.platform.handle).send(request, timeout=timeout)
        except Died:
            sender.require_alive()
            raise NoAnswer("the connection was cut") from None
        if flaw is Flaw.RECEIVER_DIES_AFTER:
            self.kill(receiver)
        if flaw is Flaw.SENDER_DIES_AFTER:
            self.kill(sender)
        sender.require_alive()
        if flaw in (Flaw.ANSWER_LOST, Flaw.RECEIVER_DIES_AFTER) or not receiver.alive:
            raise NoAnswer("its answer was cut off")
        if flaw is Flaw.BAD_GATEWAY:
            return HttpResponse(status=502, body=b"<html>Bad Gateway</html>")
        return response

    async def write(
        self, writer: Process, store: Store, record: ConnectionRecord, tokens: Sequence[InboundToken]
    ) -> None:
        """Write to a store, or not."""
        writer.require_alive()
        flaw = await self._count(Event("write", writer.name, record.state.value))
        if flaw is Flaw.WRITER_DIES_BEFORE:
            self.kill(writer)
        writer.require_alive()
        if flaw is Flaw.STORE_FAILS:
            raise StoreError("the disk is full")
        await store.save_connection(record, tokens)
        if flaw is Flaw.WRITER_DIES_AFTER:
            self.kill(writer)
        writer.require_alive()
        if flaw is Flaw.STORE_IN_DOUBT:
            raise StoreError("the disk failed while the transaction ended")


class _Wire:
    """The transport of one life of a platform."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        return await self._world.carry(self._process, request, timeout)

    async def close(self) -> None:
        """Nothing is open."""


class _Store:
    """The store of one life of a platform: what is kept outlives it."""

    def __init__(self, world: World, process: Process, kept: MemoryStore) -> None:
        self._world = world
        self._process = process
        self._kept = kept

    def __getattr__(self, name: str) -> object:
        return getattr(self._kept, name)

    async def close(self) -> None:
        """Stay open for the next life."""

    async def save_connection(self, record: ConnectionRecord, tokens: Sequence[InboundToken]) -> None:
        await self._world.write(self._process, self._kept, record, tokens)


def other(name: str) -> str:
    """The other one."""
    return EMSP if name == CPO else CPO


def origin(name: str) -> str:
    """Where a platform is."""
    return f"https://{name}.example.com"


@asynccontextmanager
async def a_world(profile: Profile = BILATERAL) -> AsyncGenerator[World]:
    """Two platforms that do not know each other."""
    world = World(profile)
    try:
        for name in (CPO, EMSP):
            await world.start(name)
        yield world
    finally:
        await world.close()


def pinned(*versions: str) -> Profile:
    """A direct partner with whom only these versions are spoken."""
    name = "-".join(["bilateral", *sorted(versions)])
    return evolve(BILATERAL, name=name, versions=frozenset(versions))
