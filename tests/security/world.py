"""A platform that serves every operation of both versions over a socket, and four who ask it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar, cast

from attrs import Factory, define, evolve, frozen

from ocpi_gireve import BILATERAL, Context, Link, PageQuery, Party, PartyId, Patch, Platform, Role, v211, v221
from ocpi_gireve._model import Model
from ocpi_gireve.errors import UnknownObject
from ocpi_gireve.http import HttpServer
from ocpi_gireve.interface import Interface, Operation, operations
from ocpi_gireve.pagination import page_of
from ocpi_gireve.profile import Profile
from ocpi_gireve.testing.samples import sample, samples
from ocpi_gireve.types import OcpiEnum
from tests.support import Network

T = TypeVar("T")

DIALECTS = {one.version: one for one in (v221.DIALECT, v211.DIALECT)}
OURS = (PartyId("FR", "OU1"), PartyId("FR", "OU2"))
PARTNER, OTHER, HUB = PartyId("FR", "PAR"), PartyId("DE", "OTH"), PartyId("FR", "HUB")
BEHIND_THE_HUB = PartyId("NL", "BEH")

NOBODY, NEWCOMER = "nobody", "newcomer"
SPEAKS = {NOBODY: PARTNER, NEWCOMER: PARTNER, "partner": PARTNER, "hub": BEHIND_THE_HUB}
"""Who asks: without a token, with a token A, as a partner, as a hub; and the party that each speaks for."""
SIDES = ("2.2.1", "cpo", "emsp")
"""The first part of a path: 2.1.1 has a connection for each side of ours."""


@frozen(kw_only=True)
class Heard:
    """What reached a handler."""

    operation: Operation
    ctx: Context
    target: object
    body: object

    def owners(self) -> Iterator[PartyId]:
        """Yield whose objects are read, written or used, as path and body say."""
        for one in (self.target, self.body, getattr(self.body, "token", None)):
            said = [stated(one, name) for name in ("country_code", "party_id")]
            if any(said):
                # A change may name half of it.
                whole = [stated(self.target, name) for name in ("country_code", "party_id")]
                yield PartyId(str(said[0] or whole[0]), str(said[1] or whole[1]))


def stated(one: object, name: str) -> object:
    """What an object, or a change of one, says in a field."""
    if isinstance(one, Patch):
        return cast("Patch[Model]", one).changes.get(name)
    return getattr(one, name, None)


def keeper(interface: type[Interface], heard: list[Heard]) -> Interface:
    """Make a handler that keeps what it gets, for each partner apart."""
    kept: dict[object, Model] = {}
    takes = {one.target for one in operations(interface) if one.http_method == "PUT"}

    def method(operation: Operation) -> Callable[..., Coroutine[Any, Any, object]]:
        answer = cast("Any", operation.answer)

        async def serve(_: Interface, ctx: Context, *given: object) -> object:
            target = given[0] if operation.target is not None else None
            body = given[-1] if operation.bodies else None
            heard.append(Heard(operation=operation, ctx=ctx, target=target, body=body))
            if operation.paginated:
                return page_of(samples(answer, 5, 7), cast("PageQuery", target))
            key = (ctx.partner, operation.target, target)
            if key not in kept and needs_one(operation, takes):
                raise UnknownObject
            if operation.is_patch:
                kept[key] = cast("Patch[Model]", body).apply_to(kept[key])
            elif operation.http_method == "PUT" and isinstance(body, Model):
                kept[key] = body
            elif operation.http_method == "DELETE":
                kept.pop(key, None)
            elif operation.http_method == "GET" and key in kept:
                return kept[key]
            return answer_of(operation, body)

        return serve

    members = {operation.name: method(operation) for operation in operations(interface)}
    made: Interface = type(f"Kept{interface.__name__}", (interface,), members)()
    return made


def needs_one(operation: Operation, takes: set[type[Any] | None]) -> bool:
    """Whether an operation is about an object that must have come before."""
    return operation.is_patch or (operation.http_method in ("GET", "DELETE") and operation.target in takes)


def answer_of(operation: Operation, body: object) -> object:
    """Something that an operation may answer."""
    answer = cast("Any", operation.answer)
    if answer is None:
        return None
    if answer is Link:
        return Link(str(getattr(body, "id", "1")))
    return next(iter(answer)) if issubclass(answer, OcpiEnum) else sample(answer, 7)


@define
class World:
    """The platform and its partners, in a thread of their own.

    Attributes:
        url: Where the platform listens.
        tokens: The token of each who asks, by side.
        heard: What reached a handler.
    """

    url: str = ""
    tokens: dict[str, dict[str, str]] = Factory(dict[str, dict[str, str]])
    heard: list[Heard] = Factory(list[Heard])
    _loop: asyncio.AbstractEventLoop = Factory(asyncio.new_event_loop)
    _thread: threading.Thread = Factory(threading.Thread)
    _stack: AsyncExitStack = Factory(AsyncExitStack)

    def __enter__(self) -> Self:
        """Start everything."""
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self._wait(self._open())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def renew(self) -> None:
        """Begin again, after somebody has unregistered."""
        self._wait(self._stack.aclose())
        self._wait(self._open())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _open(self) -> None:
        self.heard.clear()
        self.tokens = {who: {} for who in (*SPEAKS, "other")}
        network = Network()
        every = [interface for dialect in DIALECTS.values() for interface in dialect.interfaces]
        ours = Platform(
            public_url="https://our.example/ocpi",
            parties=[
                Party("FR", "OU1", Role.CPO, name="One"),
                Party("FR", "OU1", Role.EMSP, name="One"),
                Party("FR", "OU2", Role.CPO, name="Two"),
            ],
            handlers=[keeper(interface, self.heard) for interface in every],
            transport=network.transport,
        )
        network.join(ours)
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(ours)
        server = await self._stack.enter_async_context(HttpServer(ours.aiohttp_handler()))
        self.url = f"{server.url}/ocpi"
        for who, party, roles in (
            ("partner", PARTNER, (Role.CPO, Role.EMSP)),
            ("other", OTHER, (Role.CPO, Role.EMSP)),
            ("hub", HUB, (Role.HUB,)),
        ):
            theirs = Platform(
                public_url=f"https://{who}.example/ocpi",
                parties=[Party(party.country_code, party.party_id, role, name=who) for role in roles],
                handlers=[],
                transport=network.transport,
            )
            network.join(theirs)
            await self._stack.enter_async_context(theirs)
            for side in SIDES:
                await self._register(ours, theirs, who, side)
        for side in SIDES:
            self.tokens[NEWCOMER][side] = await self._invite(ours, NEWCOMER, side)

    async def _invite(self, ours: Platform, who: str, side: str) -> str:
        token = await ours.invite(
            profile_of(who, side),
            origins=f"https://{who}.example",
            id=f"{who}-{side}",
            party=None if side == "2.2.1" else OURS[0],
            role=side_role(side),
        )
        return token.reveal()

    async def _register(self, ours: Platform, theirs: Platform, who: str, side: str) -> None:
        role = side_role(side)
        connection = await theirs.register(
            profile_of("our", side),
            ours.versions_url,
            await self._invite(ours, who, side),
            id=side,
            party=None if role is None else theirs.parties[0].id,
            role=None if role is None else {Role.CPO: Role.EMSP, Role.EMSP: Role.CPO}[role],
        )
        token = connection.record.outbound_token
        assert token is not None
        self.tokens[who][side] = token.reveal()


def side_role(side: str) -> Role | None:
    """The role of ours that a connection is for, where it is for one."""
    return None if side == "2.2.1" else Role(side.upper())


def profile_of(who: str, side: str) -> Profile:
    """The profile of a partner on one side."""
    version = "2.2.1" if side == "2.2.1" else "2.1.1"
    hub = HUB if who == "hub" else None
    return evolve(BILATERAL, name=f"{who}-{side}", versions=frozenset({version}), hub=hub)
