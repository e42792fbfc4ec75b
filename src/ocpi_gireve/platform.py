"""Our side: the parties we speak for, the handlers, the store and the partners; what a host application creates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from attrs import evolve

from .connection import Connection, Wiring
from .dialect import Dialect
from .errors import NotRegistered, OcpiError, StatusError
from .http import AiohttpTransport, Application, UrlPolicy, aiohttp_app, origin_of
from .interface import Interface
from .journal import OnExchange, ignore
from .outbox import Outbox
from .profile import Profile
from .registration import GRACE, PIN_FIRST, Directory, Registrar
from .server import Mount, Server
from .store import MemoryStore, Store
from .store.records import ConnectionRecord, ConnectionState, InboundToken, TokenKind, Upload
from .tokens import mint_token, token_digest
from .transport import HttpRequest, HttpResponse, Transport
from .types import PartnerEndpoint, Party, Secret, utc_now
from .v221 import DIALECT as V221

log = logging.getLogger("ocpi_gireve.platform")

DIALECTS: tuple[Dialect, ...] = (V221,)
"""The versions this library speaks, the one to prefer first."""


class Platform:
    """One OCPI platform: a CPO's, an eMSP's, or both.

    It serves the operations that its handlers implement, keeps its connections in the store, and delivers
    uploads. The endpoints in its version details are computed from the handlers.

    Args:
        public_url: The absolute URL below which partners reach it, such as ``https://cpo.example.com/ocpi``.
            Every URL that it hands out starts with it; the versions URL is ``{public_url}/versions``.
        parties: The parties that it speaks for.
        handlers: Objects of classes that implement interfaces of `v221`; one object may implement several.
        store: Where connections, tokens and uploads are kept; `MemoryStore` forgets them at the end.
        profiles: The profiles of connections that are in the store already, besides those passed to `register`
            and `invite`.
        on_exchange: Called with every exchange that has ended, in both directions.
        transport: Makes the transport for a partner; the default speaks HTTP with aiohttp.

    Raises:
        ValueError: two handlers implement the same interface, or `public_url` is no absolute URL.
        TypeError: a handler implements no interface.
    """

    def __init__(
        self,
        *,
        public_url: str,
        parties: Sequence[Party],
        handlers: Sequence[Interface],
        store: Store | None = None,
        profiles: Sequence[Profile] = (),
        on_exchange: OnExchange = ignore,
        transport: Callable[[Profile], Transport] | None = None,
    ) -> None:
        origin_of(public_url)
        self.public_url = public_url.rstrip("/")
        self.parties = tuple(parties)
        self.store: Store = store or MemoryStore()
        self._profiles = {profile.name: profile for profile in profiles}
        self._on_exchange = on_exchange
        self._transport = transport or _aiohttp_transport
        self._handled = {dialect: _handled(dialect, handlers) for dialect in DIALECTS}
        _require_all_used(handlers, self._handled.values())
        self._dialects = {one.version: one for one in DIALECTS if self._handled[one] or not handlers}
        self.outbox = Outbox(self.store, self._deliver)
        self._directory = Directory(self.store)
        self._registrar = Registrar(
            directory=self._directory,
            dialects=self._dialects,
            parties=self.parties,
            public_url=self.public_url,
            served=self._served,
        )
        self._server = Server(
            public_url=self.public_url,
            parties=self.parties,
            mounts=[self._mount(dialect) for dialect in self._dialects.values()],
            principals=self._directory,
            on_exchange=on_exchange,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False

    @property
    def versions_url(self) -> str:
        """What a partner needs, together with a token A, to register with this platform."""
        return self._registrar.versions_url

    # --- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, take up the connections in it, and go on delivering uploads.

        Raises:
            StoreError: the store cannot be used.
            ValueError: a connection in the store has a profile that was not passed.
        """
        if self._running:
            return
        await self.store.open()
        for record in await self.store.connections():
            self._directory.load(self._wiring(record), await self.store.tokens(record.id))
        await self.outbox.start()
        self._running = True

    async def close(self) -> None:
        """Stop: background work first, then the outbox, the partners' connections and the store."""
        if not self._running:
            return
        self._running = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.outbox.stop()
        for wiring in self._directory:
            await wiring.transport.close()
        await self.store.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something after the answer has left, such as a command's asynchronous result.

        An error is logged; `close` cancels what still runs.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed: %s", error if isinstance(error, OcpiError) else type(error).__name__)

    # --- serving -----------------------------------------------------------------------------------

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Serve one request, from whatever HTTP server carries it."""
        return await self._server.handle(request)

    def aiohttp_app(self) -> Application:
        """Return an aiohttp application that serves this platform, alone or as a sub-application.

        It starts and closes the platform with the server that runs it.
        """
        app = aiohttp_app(self.handle, refuse=self._refuse)

        async def started(_: Application) -> None:
            await self.start()

        async def stopped(_: Application) -> None:
            await self.close()

        app.on_startup.append(started)
        app.on_cleanup.append(stopped)
        return app

    def _refuse(self, error: StatusError, request: HttpRequest) -> HttpResponse:
        return self._server.refuse_request(error, request)

    def _mount(self, dialect: Dialect) -> Mount:
        handlers: dict[type[Interface], object] = dict(self._handled[dialect])
        handlers[dialect.versions] = handlers[dialect.credentials] = self._registrar
        return Mount(dialect=dialect, handlers=handlers)

    def _served(self, dialect: Dialect) -> Sequence[PartnerEndpoint]:
        interfaces = [dialect.credentials, *self._handled[dialect]]
        return [
            PartnerEndpoint(
                str(interface.module),
                str(interface.role),
                f"{self.public_url}/{dialect.endpoint_path(interface)}",
            )
            for interface in interfaces
        ]

    # --- partners ----------------------------------------------------------------------------------

    def connection(self, connection: str) -> Connection:
        """Return a connection by its id, such as ``gireve`` or a context's `partner`.

        Raises:
            NotRegistered: there is none of that id.
        """
        wiring = self._directory.get(connection)
        if wiring is None:
            raise NotRegistered(f"there is no connection {connection!r}")
        return Connection(wiring)

    def connections(self) -> list[Connection]:
        """Return every connection."""
        return [Connection(wiring) for wiring in self._directory]

    async def register(
        self,
        profile: Profile,
        versions_url: str,
        token_a: str | Secret,
        *,
        id: str | None = None,
        origins: Iterable[str] = (),
    ) -> Connection:
        """Register with a partner and return the connection to it.

        Args:
            profile: What kind of partner it is: `gireve.PREPRODUCTION`, `gireve.PRODUCTION`, `BILATERAL`.
            versions_url: The partner's versions URL, exchanged out of band. Its origin is pinned.
            token_a: The partner's token A, exchanged out of band.
            id: Our name for the partner; the profile's name by default.
            origins: Further origins (``https://host``) at which the partner serves.

        Raises:
            RegistrationFailed: a step failed, or the connection is registered already.
            UrlRefused: the URL is not one that may be called.
        """
        wiring = self._known(profile, id or profile.name, [str(origin_of(versions_url)), *origins])
        await self._directory.save(wiring, wiring.record, self._directory.tokens(wiring.record.id))
        token = token_a if isinstance(token_a, Secret) else Secret(token_a)
        return await self._registrar.register(wiring, versions_url, token)

    async def invite(
        self,
        profile: Profile,
        *,
        origins: Iterable[str] | str,
        token_a: str | Secret | None = None,
        id: str | None = None,
    ) -> Secret:
        """Let a partner register with this platform, and return the token A to give to it.

        The token opens versions and credentials only. It ends with the first request after a registration,
        opens the next one after an unregistration, and an unused one ends after 24 hours.

        Args:
            profile: What kind of partner it is.
            origins: The origins (``https://host``) that the partner's URLs may have, or `PIN_FIRST`.
            token_a: The token; a new one by default. Choose at least 22 random characters.
            id: Our name for the partner; the profile's name by default.
        """
        pinned = [] if origins == PIN_FIRST else [str(origin_of(one)) for one in _listed(origins)]
        wiring = self._known(profile, id or profile.name, pinned)
        token = mint_token() if token_a is None else token_a if isinstance(token_a, Secret) else Secret(token_a)
        if len(token.reveal()) < 22:
            log.warning("%s: token A is short; use at least 22 random characters", wiring.record.id)
        mine = InboundToken(
            digest=token_digest(token),
            connection=wiring.record.id,
            kind=TokenKind.A,
            expires=utc_now() + GRACE,
        )
        others = [one for one in self._directory.tokens(wiring.record.id) if one.kind is not TokenKind.A]
        await self._directory.save(wiring, wiring.record, [*others, mine])
        return token

    async def unregister(self, connection: str) -> None:
        """Delete our credentials at a partner. Uploads are kept for the next registration.

        Raises:
            RegistrationFailed: it is not registered.
            OcpiError: the partner could not be told.
        """
        wiring = self._directory.get(connection)
        if wiring is None:
            raise NotRegistered(f"there is no connection {connection!r}")
        await self._registrar.unregister(wiring)

    def _known(self, profile: Profile, id: str, origins: Sequence[str]) -> Wiring:
        self._profiles.setdefault(profile.name, profile)
        wiring = self._directory.get(id)
        if wiring is None:
            return self._wiring(ConnectionRecord(id=id, profile=profile.name, origins=tuple(dict.fromkeys(origins))))
        if origins and wiring.record.state is not ConnectionState.REGISTERED:
            # What the operator says now counts: a URL that was mistyped at the first attempt must not stay pinned.
            wiring.record = evolve(wiring.record, origins=tuple(dict.fromkeys(origins)))
        return wiring

    def _wiring(self, record: ConnectionRecord) -> Wiring:
        profile = self._profiles.get(record.profile)
        if profile is None:
            raise ValueError(f"connection {record.id!r} has the profile {record.profile!r}; pass it as profiles=[...]")
        return Wiring(
            record=record,
            profile=profile,
            dialects=self._dialects,
            transport=self._transport(profile),
            parties=self.parties,
            public_url=self.public_url,
            outbox=self.outbox,
            on_exchange=self._on_exchange,
        )

    async def _deliver(self, upload: Upload) -> HttpResponse:
        return await self.connection(upload.connection).deliver(upload)


def _aiohttp_transport(profile: Profile) -> Transport:
    # Origins are checked by the connection, which knows them; here it is the address that counts.
    policy = UrlPolicy(
        allow_http_loopback=profile.allow_http_loopback, allow_networks=profile.allow_networks
    )
    return AiohttpTransport(policy)


def _listed(origins: Iterable[str] | str) -> Iterable[str]:
    return [origins] if isinstance(origins, str) else origins


def _handled(dialect: Dialect, handlers: Sequence[Interface]) -> dict[type[Interface], Interface]:
    found: dict[type[Interface], Interface] = {}
    for interface in dialect.interfaces:
        implementing = [handler for handler in handlers if isinstance(handler, interface)]
        if len(implementing) > 1:
            names = " and ".join(type(handler).__name__ for handler in implementing)
            raise ValueError(f"{interface.__name__} {dialect.version} is implemented by {names}; expected one")
        if implementing:
            found[interface] = implementing[0]
    return found


def _require_all_used(handlers: Sequence[Interface], handled: Iterable[dict[type[Interface], Interface]]) -> None:
    used = [id(handler) for one in handled for handler in one.values()]
    for handler in handlers:
        if id(handler) not in used:
            raise TypeError(f"{type(handler).__name__} implements no interface of OCPI")


