"""Our side: parties, handlers, store and partners; what a host application creates. Knows no version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from ssl import SSLContext
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from attrs import evolve

from .connection import Connection, Wiring, url_policy
from .dialect import Dialect
from .errors import InvalidObject, NotRegistered, OcpiError, StatusError, UrlRefused
from .http import (
    AiohttpTransport,
    Application,
    AsgiApplication,
    Handler,
    KeyFromProxy,
    aiohttp_app,
    aiohttp_handler,
    asgi_app,
    origin_of,
)
from .idempotence import OnNotApplied, Reason
from .idempotence import ignore as ignore_message
from .interface import Interface, operations
from .journal import OnExchange, ignore
from .outbox import Outbox, OutboxEvent, Rhythm
from .profile import Profile
from .registration import (
    GRACE,
    PIN_FIRST,
    AsPresented,
    Directory,
    Next,
    Registrar,
    Tokens,
    approvals,
    requirements,
)
from .server import COMMAND_ACK, LateOutcome, Mount, Server
from .store import MemoryStore, Store
from .store.records import ConnectionRecord, ConnectionState, InboundToken, TokenKind, Upload
from .telemetry import Telemetry
from .tokens import given_token, mint_token, token_digest
from .transport import HttpRequest, HttpResponse, Transport
from .types import PartnerEndpoint, Party, PartyId, Role, Secret, utc_now
from .v211.dialect import DIALECT as V211
from .v221 import DIALECT as V221

log = logging.getLogger("ocpi_gireve.platform")

DIALECTS: tuple[Dialect, ...] = (V221, V211)
"""The versions this library speaks, the one to prefer first."""


def _no_client_certificate(_: Profile) -> SSLContext | None:
    return None


@runtime_checkable
class Attached(Protocol):
    """A handler that talks to partners by itself, such as `CpoCommands`; its platform names itself to it."""

    def attach(self, platform: Platform) -> None:
        """Take note of the platform."""
        ...


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
        profiles: The profiles of connections that are in the store already, besides those passed to
            `register` and `invite`.
        on_exchange: Called with every exchange that has ended, in both directions; a `Journal` keeps them.
        telemetry: Accompanies every exchange, such as `OpenTelemetry`.
        on_upload: Told of every upload that is delivered or parked, and of every stop and recovery of a lane;
            it must return at once.
        on_not_applied: Told of every message that no handler sees, because it came before or too late; it
            must return at once.
        idempotent: Whether such messages are kept from the handlers. Leave it on, unless yours know them.
        command_ack: Seconds after which a command is answered, however long its handler still takes. GIREVE
            waits for two. In 2.2.1 the outcome is then posted for the handler, unless it accepts.
        tls: Makes the TLS context of our calls to a partner, such as one with a client certificate; None, as
            by default: the system's certificate authorities are trusted, and we show none.
        transport: Makes the transport for a partner; the default speaks HTTP with aiohttp.

    Raises:
        ValueError: two handlers implement the same interface, `public_url` is no absolute URL, or what we
            would present in the credentials breaks the specification.
        TypeError: a handler implements no interface, or two whose operations have one name.
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
        telemetry: Telemetry | None = None,
        on_upload: Callable[[OutboxEvent], None] | None = None,
        on_not_applied: OnNotApplied = ignore_message,
        idempotent: bool = True,
        command_ack: float = COMMAND_ACK,
        tls: Callable[[Profile], SSLContext | None] = _no_client_certificate,
        transport: Callable[[Profile], Transport] | None = None,
    ) -> None:
        self.public_url = _checked_url(public_url)
        self.parties = tuple(parties)
        self.store: Store = store or MemoryStore()
        self._profiles = {profile.name: profile for profile in profiles}
        self._on_exchange = on_exchange
        self._telemetry = telemetry

        def over_http(profile: Profile) -> Transport:
            return _aiohttp_transport(profile, tls(profile))

        self._transport = transport or over_http
        self._handled = {dialect: _handled(dialect, handlers) for dialect in DIALECTS}
        _require_all_used(handlers, self._handled.values())
        self._dialects = {one.version: one for one in DIALECTS if self._handled[one] or not handlers}
        self.outbox = Outbox(self.store, self._deliver, rhythm=self._rhythm, on_event=on_upload)
        self._directory = Directory(self.store)
        self._begun: dict[str, Wiring] = {}
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
            telemetry=telemetry,
            command_ack=command_ack,
            on_late=self._post_late,
            idempotent=idempotent,
            receipts=self.store,
            on_not_applied=on_not_applied,
        )
        _require_presentable(self._dialects.values(), self.versions_url, self.parties)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._running = False
        for handler in handlers:
            if isinstance(handler, Attached):
                handler.attach(self)

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
        async with self._changing:
            if self._running:
                return
            await self.store.open()
            self._directory.clear()
            try:
                for record in await self.store.connections():
                    self._directory.load(self._wiring(record), await self.store.tokens(record.id))
                await self.outbox.start()
            except BaseException:
                await self._end()
                raise
            self._running = True

    async def close(self) -> None:
        """Stop: background work first, then the outbox, the partners' connections and the store.

        Whoever is cancelled while closing leaves nothing open.
        """
        async with self._changing:
            if not self._running:
                return
            self._running = False
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._end)
                stack.push_async_callback(self._end_work)
                stack.push_async_callback(self._server.close)

    async def _end_work(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> None:
        # In this order, and whatever fails: the store last, for all the others write to it.
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.store.close)
            for wiring in self._directory:
                stack.push_async_callback(wiring.transport.close)
            stack.push_async_callback(self._directory.finish)
            stack.push_async_callback(self.outbox.stop)

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
            # Without the text: it may be the partner's, or hold what the work held.
            exchange = error.exchange if isinstance(error, OcpiError) else None
            place = f": {exchange.operation}, {exchange.partner}, {exchange}" if exchange else ""
            log.error("background work failed with %s%s", type(error).__name__, place)

    # --- serving -----------------------------------------------------------------------------------

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Serve one request, from whatever HTTP server carries it."""
        return await self._server.handle(request)

    def aiohttp_app(self, *, key_from_proxy: KeyFromProxy | None = None) -> Application:
        """Return an aiohttp application that serves this platform, alone or as a sub-application.

        It starts and closes the platform with the server that runs it.

        Args:
            key_from_proxy: Where a proxy ends TLS and `Profile.client_keys` are asked for: what reads the
                client's key of the headers that the proxy sets.
        """
        app = aiohttp_app(self.handle, refuse=self._refuse, key_from_proxy=key_from_proxy)

        async def started(_: Application) -> None:
            await self.start()

        async def stopped(_: Application) -> None:
            await self.close()

        app.on_startup.append(started)
        app.on_cleanup.append(stopped)
        return app

    def aiohttp_handler(self, *, key_from_proxy: KeyFromProxy | None = None) -> Handler:
        """Return an aiohttp handler that serves this platform: a route of the host's own, or all of a server.

        Nothing starts or closes the platform with it: serve within ``async with platform:``.

        Args:
            key_from_proxy: As for `aiohttp_app`.
        """
        return aiohttp_handler(self.handle, refuse=self._refuse, key_from_proxy=key_from_proxy)

    def asgi_app(self, *, key_from_proxy: KeyFromProxy | None = None) -> AsgiApplication:
        """Return an ASGI application that serves this platform, alone or mounted in a host's application.

        It starts and closes the platform with the server that runs it. Frameworks keep the server's start and
        stop from what they mount: there, wrap the host's own lifespan in ``async with platform:``. A platform
        that nobody started starts with the first request.

        Args:
            key_from_proxy: As for `aiohttp_app`.
        """
        return asgi_app(
            self.handle,
            start=self.start,
            stop=self.close,
            refuse=self._refuse,
            key_from_proxy=key_from_proxy,
        )

    @property
    def not_applied(self) -> Mapping[Reason, int]:
        """How many messages no handler saw, because they came before or too late."""
        known = self._server.idempotence
        return {} if known is None else dict(known.counts)

    def _post_late(self, late: LateOutcome) -> None:
        """Post the outcome of a command that was answered before its handler did."""
        partner = self.connection(late.context.partner).routed(following=late.context)
        self.spawn(partner.call(late.post, late.place, late.outcome))

    def _refuse(self, error: StatusError, request: HttpRequest) -> HttpResponse:
        return self._server.refuse_request(error, request)

    def _mount(self, dialect: Dialect) -> Mount:
        handlers: dict[type[Interface], object] = dict(self._handled[dialect])
        handlers[dialect.versions] = handlers[dialect.credentials] = self._registrar
        return Mount(dialect=dialect, handlers=handlers)

    def _served(self, dialect: Dialect, role: Role | None) -> Sequence[PartnerEndpoint]:
        handled = self._handled[dialect]
        sided = [one for one in handled if not dialect.per_role or str(one.role) == role]
        endpoints = [
            PartnerEndpoint(
                str(interface.module),
                str(interface.role),
                f"{self.public_url}/{dialect.endpoint_path(interface, role)}",
            )
            for interface in (dialect.credentials, *sided)
        ]
        # Two interfaces may share one endpoint.
        return list(dict.fromkeys(endpoints))

    # --- partners ----------------------------------------------------------------------------------

    def connection(self, connection: str) -> Connection:
        """Return a connection by its id, such as ``gireve`` or a context's `partner`.

        Raises:
            NotRegistered: there is none of that id.
        """
        return Connection(self._found(connection))

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
        party: PartyId | None = None,
        role: Role | None = None,
        parties: Iterable[PartyId] | AsPresented | None = None,
        requires: Iterable[type[Interface]] = (),
        force: bool = False,
    ) -> Connection:
        """Register with a partner and return the connection to it.

        Args:
            profile: What kind of partner it is: `gireve.PREPRODUCTION`, `gireve.PRODUCTION`, `BILATERAL`.
            versions_url: The partner's versions URL, exchanged out of band. Its origin is pinned.
            token_a: The partner's token A, exchanged out of band.
            id: Our name for the partner; the profile's name by default.
            origins: Further origins (``https://host``) at which the partner serves.
            party: The party of ours that the connection is for; all of them by default. In 2.1.1 each party
                registers apart for each of its roles, so name both unless there is only one.
            role: The role of that party; all of them by default. A hub names in 2.1.1 the side that it takes.
            parties: The parties that the partner may present, and then speak for, in whichever role. By
                default those that it presents first, in those roles. `AS_PRESENTED` leaves it to the partner.
            requires: The interfaces that the partner must serve, of each version that may be agreed on.
            force: Try it even where the profile says that the partner does not take it.

        Raises:
            RegistrationFailed: a step failed, or it is registered already. The connection is as it was,
                and may be tried again with the same token.
            UrlRefused: the URL, or an origin, is not one that may be called.
            StoreError: the store could not keep it.
            ValueError: the token cannot be one, the profile contradicts another of its name, no party of ours
                has this role, or what is required is no interface that is served here.
        """
        token = given_token(token_a)
        pinned = [str(origin_of(one)) for one in (versions_url, *origins)]
        wiring = self._known(profile, id or profile.name)
        terms = self._terms(wiring, party, role, parties, requires)
        if wiring.record.state is not ConnectionState.REGISTERED:
            await self._directory.change(
                wiring, lambda record, tokens: (_repinned(terms(record), pinned), tokens)
            )
        return await self._registrar.register(wiring, versions_url, token, force=force)

    async def update(self, connection: str, *, version: str | None = None, force: bool = False) -> None:
        """Exchange new credentials with a registered partner, and read its endpoints again.

        To renew the tokens, to let the partner see that our handlers, parties or URL changed, and to go over
        to another version. The old tokens stay valid until the new ones are used. Where the partner takes no
        new credentials, as GIREVE in 2.2.1, unregister and register again instead.

        Args:
            connection: Its id.
            version: The version to go over to; the present one by default. Uploads that wait were written
                for the present one, and are parked.
            force: Try it even where the profile says that the partner does not take it.

        Raises:
            NotRegistered: there is no connection of that id.
            RegistrationFailed: a step failed, or it is not registered. The old credentials still work.
            StoreError: the store could not keep it.
        """
        await self._registrar.update(self._found(connection), version, force=force)

    async def approve(self, connection: str, parties: Iterable[PartyId] | AsPresented) -> None:
        """Say which parties a partner may present from now on, in whichever role.

        What it has presented already stays until it presents others.

        Raises:
            NotRegistered: there is no connection of that id.
            StoreError: the store could not keep it.
            ValueError: there is no party.
        """
        approved = approvals(parties)
        await self._directory.change(
            self._found(connection), lambda record, tokens: (evolve(record, approved=approved), tokens)
        )

    async def invite(
        self,
        profile: Profile,
        *,
        origins: Iterable[str] | str,
        token_a: str | Secret | None = None,
        id: str | None = None,
        party: PartyId | None = None,
        role: Role | None = None,
        parties: Iterable[PartyId] | AsPresented | None = None,
        requires: Iterable[type[Interface]] = (),
    ) -> Secret:
        """Let a partner register with this platform, and return the token A to give to it.

        The token opens versions and credentials only. It ends with the first request after a registration,
        opens the next one after an unregistration, and an unused one ends after 24 hours.

        Args:
            profile: What kind of partner it is.
            origins: The origins (``https://host``) that the partner's URLs may have, or `PIN_FIRST`.
            token_a: The token; a new one by default. Choose at least 22 random characters.
            id: Our name for the partner; the profile's name by default.
            party: The party of ours that the connection is for, as in `register`.
            role: The role of ours that the connection is for, as in `register`.
            parties: The parties that the partner may present, as in `register`.
            requires: The interfaces that the partner must serve, as in `register`.

        Raises:
            UrlRefused: an origin is none.
            StoreError: the store could not keep it.
            ValueError: there is no origin, the token cannot be one, the profile contradicts another of its
                name, no party of ours has this role, what is required is no interface that is served here,
                or the connection is registered for another party of ours.
        """
        token = mint_token() if token_a is None else given_token(token_a)
        pinned = None if origins == PIN_FIRST else [str(origin_of(one)) for one in _listed(origins)]
        if pinned == []:
            raise ValueError("expected an origin, such as https://host, or PIN_FIRST")
        wiring = self._known(profile, id or profile.name)
        terms = self._terms(wiring, party, role, parties, requires)
        if len(token.reveal()) < 22:
            log.warning("%s: token A is short; use at least 22 random characters", wiring.record.id)
        mine = InboundToken(
            digest=token_digest(token),
            connection=wiring.record.id,
            kind=TokenKind.A,
            expires=utc_now() + GRACE,
        )

        def invited(record: ConnectionRecord, tokens: Tokens) -> Next:
            others = [one for one in tokens if one.kind is not TokenKind.A]
            return _repinned(terms(record), pinned), [*others, mine]

        await self._directory.change(wiring, invited)
        return token

    async def unregister(self, connection: str, *, force: bool = False) -> None:
        """Delete our credentials at a partner. Uploads are kept for the next registration.

        Args:
            connection: Its id.
            force: Try it even where the profile says that the partner does not take it.

        Raises:
            NotRegistered: there is no connection of that id.
            RegistrationFailed: it is not registered, or the profile says that the partner does not take it.
            OcpiError: the partner could not be told; the connection is as it was before.
        """
        await self._registrar.unregister(self._found(connection), force=force)

    def _found(self, connection: str) -> Wiring:
        wiring = self._directory.get(connection)
        if wiring is None:
            raise NotRegistered(f"there is no connection {connection!r}")
        return wiring

    def _known(self, profile: Profile, connection: str) -> Wiring:
        """Return a connection, or the beginnings of a new one."""
        if self._profiles.setdefault(profile.name, profile) != profile:
            raise ValueError(
                f"two profiles are named {profile.name!r}; attrs.evolve(profile, name=...) renames one"
            )
        wiring = self._directory.get(connection) or self._begun.get(connection)
        if wiring is None:
            # Two who begin at once must not make two of it.
            wiring = self._begun[connection] = self._wiring(
                ConnectionRecord(id=connection, profile=profile.name)
            )
        if wiring.profile.name != profile.name:
            raise ValueError(
                f"connection {connection!r} has the profile {wiring.profile.name!r}; "
                "id= gives the new partner a name of its own"
            )
        return wiring

    def _terms(
        self,
        wiring: Wiring,
        party: PartyId | None,
        role: Role | None,
        parties: Iterable[PartyId] | AsPresented | None,
        requires: Iterable[type[Interface]],
    ) -> Callable[[ConnectionRecord], ConnectionRecord]:
        """Return what notes on whose behalf, and with whom, a registration may come about.

        What a living registration is about stays. What was approved stays, too, until it is said anew.
        """
        required = requirements(self._dialects.values(), requires)
        approved = None if parties is None else approvals(parties)
        record = wiring.record
        if record.state is ConnectionState.REGISTERED:
            if party not in (None, record.party) or role not in (None, record.role):
                raise ValueError(
                    f"{record.id} is registered for another party or role of ours; "
                    "id= gives this one a name of its own"
                )
            party, role = record.party, record.role

        def noted(record: ConnectionRecord) -> ConnectionRecord:
            return evolve(
                record,
                party=party,
                role=role,
                approved=record.approved if approved is None else approved,
                requires=required,
            )

        planned = evolve(wiring, record=noted(record))
        if not planned.parties:
            raise ValueError("no party of this platform is the one, or has the role, that was named")
        if role is not None and len(planned.parties) > 1:
            raise ValueError(f"several parties of this platform have the role {role}: name one with party=")
        if not planned.spoken:
            raise ValueError(
                f"{record.id}: no version can be agreed on; OCPI 2.1.1 registers one party in one role, "
                "so name both with party= and role="
            )
        return noted

    def _wiring(self, record: ConnectionRecord) -> Wiring:
        profile = self._profiles.get(record.profile)
        if profile is None:
            raise ValueError(
                f"connection {record.id!r} has the profile {record.profile!r}; pass it as profiles=[...]"
            )
        return Wiring(
            record=record,
            profile=profile,
            dialects=self._dialects,
            transport=self._transport(profile),
            hosted=self.parties,
            public_url=self.public_url,
            outbox=self.outbox,
            on_exchange=self._on_exchange,
            telemetry=self._telemetry,
            store=self.store,
        )

    async def _deliver(self, upload: Upload) -> HttpResponse:
        return await self.connection(upload.connection).deliver(upload)

    def _rhythm(self, connection: str) -> Rhythm:
        wiring = self._directory.get(connection)
        if wiring is None:
            return Rhythm()
        cap = wiring.profile.retry_cap
        return Rhythm(first_delay=wiring.profile.retry_base, longest_delay=cap, probe_interval=cap)


def _aiohttp_transport(profile: Profile, ssl: SSLContext | None) -> Transport:
    # Origins are checked by the connection, which knows them; here it is the address that counts.
    policy = url_policy(profile)
    return AiohttpTransport(policy, ssl=ssl)


def _listed(origins: Iterable[str] | str) -> Iterable[str]:
    return [origins] if isinstance(origins, str) else origins


def _repinned(record: ConnectionRecord, origins: Sequence[str] | None) -> ConnectionRecord:
    """Pin the origins that the operator says now, or those that will come first where it is None.

    What was mistyped at the first attempt must not stay; what a living registration uses must.
    """
    if record.state is ConnectionState.REGISTERED:
        return evolve(record, origins=tuple(dict.fromkeys([*record.origins, *(origins or ())])))
    return evolve(record, origins=tuple(dict.fromkeys(origins or ())))


def _checked_url(public_url: str) -> str:
    try:
        origin_of(public_url)
    except UrlRefused as refused:
        raise ValueError(f"public_url: {refused.reason}") from None
    if "?" in public_url or "#" in public_url:
        raise ValueError("public_url: expected no query and no fragment")
    return public_url.rstrip("/")


def _require_presentable(dialects: Iterable[Dialect], versions_url: str, parties: Sequence[Party]) -> None:
    """Find out now, and not in the middle of a handshake, that our credentials would be refused."""
    presented = [(party.role, party.id) for party in parties]
    if len(set(presented)) != len(presented):
        raise ValueError("parties: expected each once in a role")
    for dialect in dialects:
        for presenting in [[party] for party in parties] if dialect.per_role else [parties]:
            try:
                dialect.handshake.credentials(mint_token(), versions_url, presenting)
            except InvalidObject as wrong:
                raise ValueError(f"public_url and parties: {wrong}") from None


def _handled(dialect: Dialect, handlers: Sequence[Interface]) -> dict[type[Interface], Interface]:
    found: dict[type[Interface], Interface] = {}
    named: dict[tuple[int, str], type[Interface]] = {}
    for interface in dialect.interfaces:
        implementing = [handler for handler in handlers if isinstance(handler, interface)]
        if len(implementing) > 1:
            names = " and ".join(type(handler).__name__ for handler in implementing)
            raise ValueError(
                f"{interface.__name__} {dialect.version} is implemented by {names}; expected one"
            )
        for handler in implementing:
            found[interface] = handler
            for operation in operations(interface):
                other = named.setdefault((id(handler), operation.name), interface)
                if other is not interface:
                    both = f"{other.__name__} and {interface.__name__}"
                    raise TypeError(
                        f"{type(handler).__name__}: {both} have a {operation.name} each; use two objects"
                    )
    return found


def _require_all_used(
    handlers: Sequence[Interface], handled: Iterable[dict[type[Interface], Interface]]
) -> None:
    used = [id(handler) for one in handled for handler in one.values()]
    for handler in handlers:
        if id(handler) not in used:
            # A class that was passed in the place of its object has a name of its own.
            name = getattr(handler, "__name__", type(handler).__name__)
            raise TypeError(f"{name} is no object that implements an interface of OCPI")
