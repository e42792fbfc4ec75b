"""The credentials handshake in both directions, and who may come in with which token; knows no HTTP library.

Rule: the new never destroys the old until the new was seen working. Each side commits its whole step in one
transaction of the store.

| inbound token | opens | ends |
|---|---|---|
| A: given to the partner by people | the handshake | when the current one is first used, or after 24 h |
| PENDING: sent by us, not confirmed yet | everything, for call backs | when confirmed, or after 24 h |
| CURRENT | everything | when it is replaced |
| PREVIOUS: replaced | everything | when the current one is first used, or after 24 h |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

from attrs import evolve
from multidict import CIMultiDict

from ._model import Model
from ._wire import decode_result, encode_body
from .connection import Connection, Wiring, send, url_policy
from .dialect import Dialect, Presented
from .errors import (
    InvalidParameters,
    MethodNotAllowed,
    NoAnswer,
    NoMatchingEndpoints,
    NotSent,
    OcpiError,
    Problem,
    RegistrationFailed,
    ServerError,
    Unauthorized,
    UnsupportedVersion,
    UnusableClientApi,
    UrlRefused,
)
from .http.urls import UrlPolicy, origin_of
from .interface import Operation, operations
from .pagination import Link
from .server import HandshakeContext, Principal
from .store import Store
from .store.records import ConnectionRecord, ConnectionState, InboundToken, TokenKind
from .tokens import TokenEncoding, is_token, mint_token, token_digest
from .types import PartnerEndpoint, Party, PartyId, Secret, utc_now

log = logging.getLogger("ocpi_gireve.registration")

GRACE = timedelta(hours=24)
"""How long a token A, a pending or a replaced token stays valid."""

PIN_FIRST = "pin-first"
"""Instead of origins: accept the origin that comes with the right token A first, and no other afterwards."""

CALL_BACK_TIMEOUT = 10.0
"""Seconds for each question that we ask a partner while it waits for our answer."""

Tokens: TypeAlias = tuple[InboundToken, ...]
Next: TypeAlias = tuple[ConnectionRecord, Sequence[InboundToken]]
Change: TypeAlias = Callable[[ConnectionRecord, Tokens], Next]
"""Makes a connection's next record and tokens of those there are."""


class Directory:
    """The connections and their inbound tokens, in memory; every change is in the store before it counts."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._wirings: dict[str, Wiring] = {}
        self._tokens: dict[str, tuple[InboundToken, ...]] = {}
        self._digests: dict[bytes, InboundToken] = {}
        self._direct: dict[PartyId, set[str]] = {}
        self._changing: dict[str, asyncio.Lock] = {}
        self._unfinished: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Wiring]:
        return iter(list(self._wirings.values()))

    def get(self, connection: str) -> Wiring | None:
        """Return a connection by its id."""
        return self._wirings.get(connection)

    def tokens(self, connection: str) -> tuple[InboundToken, ...]:
        """Return the inbound tokens of a connection."""
        return self._tokens.get(connection, ())

    def load(self, wiring: Wiring, tokens: Sequence[InboundToken]) -> None:
        """Take over what the store holds."""
        record = wiring.record
        self._wirings[record.id] = wiring
        for old in self._tokens.get(record.id, ()):
            self._digests.pop(old.digest, None)
        self._tokens[record.id] = tuple(tokens)
        self._digests.update({token.digest: token for token in tokens})
        for connections in self._direct.values():
            connections.discard(record.id)
        if record.state is ConnectionState.REGISTERED and not wiring.profile.is_hub:
            for role in record.roles:
                self._direct.setdefault(role.party, set()).add(record.id)
        self._direct = {party: connections for party, connections in self._direct.items() if connections}

    async def change(self, wiring: Wiring, change: Change) -> None:
        """Change a connection and its tokens together, in the store first.

        It is done to its end even if the caller is cancelled: memory must not differ from the store.

        Raises:
            StoreError: nothing was changed.
        """
        task = asyncio.create_task(self._change(wiring, change))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        await asyncio.shield(task)

    async def _change(self, wiring: Wiring, change: Change) -> None:
        id = wiring.record.id  # noqa: A001 - its name in the record
        async with self._changing.setdefault(id, asyncio.Lock()):
            record, tokens = change(wiring.record, self.tokens(id))
            await self._store.save_connection(record, tokens)
            wiring.record = record
            self.load(wiring, tokens)

    async def finish(self) -> None:
        """Wait for the changes whose callers were cancelled."""
        while self._unfinished:
            await asyncio.wait(self._unfinished)

    def held_by_others(self, party: PartyId, record: ConnectionRecord) -> bool:
        """Tell whether a party is presented by another partner: one that has none of this one's origins.

        One partner may have several connections, such as one for each role.
        """
        others = self._direct.get(party, set()) - {record.id}
        return any(set(self._wirings[other].record.origins).isdisjoint(record.origins) for other in others)

    def find(self, digest: bytes, token: Secret) -> Principal | None:
        """Return who presents a token, if it is valid now. The digest is the key of an exact lookup."""
        found = self._digests.get(digest)
        if found is None or (found.expires is not None and found.expires <= self._now()):
            return None
        if found.kind is TokenKind.A and found.used:
            return None
        wiring = self._wirings[found.connection]
        return Principal(
            connection=found.connection,
            kind=found.kind,
            profile=wiring.profile,
            parties=frozenset(role.party for role in wiring.record.roles),
            elsewhere=self._direct,
            token=token,
        )

    async def admitted(self, principal: Principal) -> None:
        """Take note of a token's first use: with it, those that it replaces end."""
        if principal.kind is not TokenKind.CURRENT:
            return
        if any(token.used for token in _of_kind(self.tokens(principal.connection), TokenKind.CURRENT)):
            return
        await self.change(
            self._wirings[principal.connection], lambda record, tokens: (record, _settled(tokens))
        )


def _settled(tokens: Sequence[InboundToken]) -> list[InboundToken]:
    """Return the tokens after the current one was used: A is spent, the previous ones are gone."""
    kept: list[InboundToken] = []
    for token in tokens:
        if token.kind is TokenKind.PENDING:
            kept.append(token)
        elif token.kind is not TokenKind.PREVIOUS:
            # A spent token A opens nothing, but may be needed again: see `Registrar`.
            kept.append(evolve(token, used=True, expires=None))
    return kept


def _of_kind(tokens: Sequence[InboundToken], kind: TokenKind) -> list[InboundToken]:
    return [token for token in tokens if token.kind is kind]


class Registrar:
    """Both sides of the handshake, for every version.

    As the server's handler of versions and credentials it answers partners; `register`, `update` and
    `unregister` start the handshake from our side.

    After an unregistration the token A that opened the registration opens the next one, for 24 hours: GIREVE
    unregisters and registers again where OCPI would update.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        dialects: Mapping[str, Dialect],
        parties: Sequence[Party],
        public_url: str,
        served: Callable[[Dialect], Sequence[PartnerEndpoint]],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._directory = directory
        self._dialects = dialects
        self._parties = parties
        self._public_url = public_url
        self._served = served
        self._now = now
        self._locks: dict[str, asyncio.Lock] = {}
        self._presenting: set[str] = set()

    @property
    def versions_url(self) -> str:
        """Where partners find our versions."""
        return f"{self._public_url}/versions"

    def _lock(self, connection: str) -> asyncio.Lock:
        return self._locks.setdefault(connection, asyncio.Lock())

    # --- as the server's handler -------------------------------------------------------------------

    async def get_versions(self, ctx: HandshakeContext, link: Link) -> list[Model]:
        """List the versions that we serve."""
        return [
            dialect.handshake.version(dialect.version, f"{self._public_url}/{dialect.details_path}")
            for dialect in self._dialects.values()
        ]

    async def get_version_details(self, ctx: HandshakeContext, link: Link) -> Model:
        """List the endpoints that we serve in the version asked for."""
        dialect = self._dialects[ctx.version]
        return dialect.handshake.details(self._served(dialect))

    async def get_credentials(self, ctx: HandshakeContext) -> Model:
        """Return our credentials with the token that was presented: no other one is known in clear."""
        return self._ours(self._dialects[ctx.version], ctx.presented)

    async def post_credentials(self, ctx: HandshakeContext, credentials: Model) -> Model:
        """Register a partner.

        A repeated POST whose answer was lost gets a new token as long as the one before was never used.
        """
        async with self._turn(ctx):
            wiring = self._wiring(ctx)
            if ctx.kind is not TokenKind.A:
                raise MethodNotAllowed("already registered; use PUT to change the credentials")
            return await self._accept(ctx, wiring, credentials, previous=False)

    async def put_credentials(self, ctx: HandshakeContext, credentials: Model) -> Model:
        """Replace a partner's credentials; the token before stays valid until the new one is used."""
        async with self._turn(ctx):
            wiring = self._wiring(ctx)
            self._require_registered(ctx, wiring)
            return await self._accept(ctx, wiring, credentials, previous=True)

    async def delete_credentials(self, ctx: HandshakeContext) -> None:
        """Unregister a partner. Its uploads are kept, and its token A opens the next registration."""
        async with self._turn(ctx):
            wiring = self._wiring(ctx)
            self._require_registered(ctx, wiring)
            await self._forget(wiring)
            log.info("%s: unregistered by the partner", ctx.partner)

    def _wiring(self, ctx: HandshakeContext) -> Wiring:
        wiring = self._directory.get(ctx.partner)
        if wiring is None:
            raise Unauthorized
        return wiring

    def _turn(self, ctx: HandshakeContext) -> asyncio.Lock:
        """Return what keeps the handshakes with one partner apart.

        Raises:
            ServerError: we have begun one ourselves. To wait for its end could be to wait for each other.
        """
        if ctx.partner in self._presenting:
            raise ServerError("a handshake from our side is under way; try again")
        return self._lock(ctx.partner)

    def _require_registered(self, ctx: HandshakeContext, wiring: Wiring) -> None:
        if ctx.kind is TokenKind.A or wiring.record.state is not ConnectionState.REGISTERED:
            raise MethodNotAllowed("not registered")

    async def _accept(
        self, ctx: HandshakeContext, wiring: Wiring, credentials: Model, *, previous: bool
    ) -> Model:
        """Look at the partner's interfaces with its token, then commit everything at once."""
        dialect = self._dialects[ctx.version]
        presented = _presented(dialect, credentials)
        origins = wiring.record.origins or self._first_origin(wiring, presented)
        record = evolve(wiring.record, origins=origins)
        self._require_own_parties(record, presented)
        try:
            endpoints = await self._endpoints_of(wiring, record, dialect, presented)
        except OcpiError as error:
            log.warning("%s: its registration failed: %s", ctx.partner, type(error).__name__)
            if isinstance(error, UnsupportedVersion | NoMatchingEndpoints) and error.exchange is None:
                raise
            raise UnusableClientApi(f"your versions cannot be used: {error}") from error
        token = mint_token()
        shown = token_digest(ctx.presented)
        current = InboundToken(digest=token_digest(token), connection=ctx.partner, kind=TokenKind.CURRENT)

        def registered(_: ConnectionRecord, tokens: Tokens) -> Next:
            kept = [*_of_kind(tokens, TokenKind.A), *_of_kind(tokens, TokenKind.PENDING)]
            if previous:
                # What the partner is known to hold. It may ask again because this answer got lost.
                kept += [one for one in self._replaced(tokens) if one.used or one.digest == shown]
            changes = evolve(
                record,
                state=ConnectionState.REGISTERED,
                version=dialect.version,
                versions_url=presented.url,
                roles=presented.roles,
                endpoints=endpoints,
                outbound_token=presented.token,
            )
            return changes, [*kept, current]

        await self._directory.change(wiring, registered)
        wiring.outbox.resume(ctx.partner)
        log.info("%s: registered by the partner in OCPI %s", ctx.partner, dialect.version)
        return self._ours(dialect, token)

    def _replaced(self, tokens: Sequence[InboundToken]) -> list[InboundToken]:
        """Return the tokens that open everything now, as what they are once there is a newer one."""
        until = self._now() + GRACE
        current = _of_kind(tokens, TokenKind.CURRENT)
        replaced = [evolve(token, kind=TokenKind.PREVIOUS, expires=until) for token in current]
        return [*_of_kind(tokens, TokenKind.PREVIOUS), *replaced]

    def _require_own_parties(self, record: ConnectionRecord, presented: Presented) -> None:
        """Make sure that a partner presents nobody else's parties: it may write what they own.

        Raises:
            InvalidParameters: it presents a party of ours, or one of another partner, or none.
        """
        ours = {party.id for party in self._parties}
        problems = [
            Problem(f"/roles/{index}/party_id", "owner", "expected a party of your platform")
            for index, role in enumerate(presented.roles)
            if role.party in ours or self._directory.held_by_others(role.party, record)
        ]
        if not presented.roles:
            problems.append(Problem("/roles", "empty", "expected at least one"))
        if problems:
            raise InvalidParameters(problems=problems)

    def _first_origin(self, wiring: Wiring, presented: Presented) -> tuple[str, ...]:
        """Return the origin to pin where the operator left it to the first registration."""
        try:
            url_policy(wiring.profile).check(presented.url, "credentials.url")
            return (str(origin_of(presented.url)),)
        except UrlRefused as refused:
            raise UnusableClientApi(str(refused)) from None

    async def _endpoints_of(
        self, wiring: Wiring, record: ConnectionRecord, dialect: Dialect, presented: Presented
    ) -> tuple[PartnerEndpoint, ...]:
        policy = url_policy(wiring.profile, record.origins)
        listed, detailed = _versions_operations(dialect)
        url = str(policy.check(presented.url, "credentials.url"))
        timeout = min(wiring.profile.timeout, CALL_BACK_TIMEOUT)
        encoding = dialect.token_encoding
        versions = await self._ask(
            wiring, listed, url, None, token=presented.token, encoding=encoding, timeout=timeout
        )
        offered = dict(dialect.handshake.offered(one) for one in cast("list[Model]", versions))
        if dialect.version not in offered:
            raise UnsupportedVersion(f"your versions do not list {dialect.version}")
        url = str(policy.check(offered[dialect.version], "versions[].url"))
        details = await self._ask(
            wiring, detailed, url, None, token=presented.token, encoding=encoding, timeout=timeout
        )
        return _checked_endpoints(policy, dialect.handshake.endpoints(cast("Model", details)))

    def _ours(self, dialect: Dialect, token: Secret) -> Model:
        return dialect.handshake.credentials(token, self.versions_url, self._parties)

    # --- from our side -----------------------------------------------------------------------------

    async def register(self, wiring: Wiring, versions_url: str, token_a: Secret) -> Connection:
        """Register with a partner.

        Raises:
            RegistrationFailed: a step failed; the connection is as it was before.
        """
        async with self._lock(wiring.record.id):
            if wiring.record.state is ConnectionState.REGISTERED:
                raise RegistrationFailed(
                    "register", f"{wiring.record.id} is registered already; update() changes its credentials."
                )
            await self._present(wiring, versions_url, token_a, "POST")
        return Connection(wiring)

    async def update(self, wiring: Wiring) -> None:
        """Exchange new credentials with a registered partner, and read its endpoints again.

        Raises:
            RegistrationFailed: a step failed, or it is not registered; the connection is as it was before.
        """
        async with self._lock(wiring.record.id):
            record = wiring.record
            token, url = record.outbound_token, record.versions_url
            if record.state is not ConnectionState.REGISTERED or token is None or url is None:
                raise RegistrationFailed("PUT credentials", f"{record.id} is not registered.")
            await self._present(wiring, url, token, "PUT")

    async def _present(self, wiring: Wiring, versions_url: str, token: Secret, method: str) -> None:
        """Take the steps of the handshake, and keep what came of them."""
        self._presenting.add(wiring.record.id)
        step = "GET versions"
        try:
            policy = wiring.policy
            url = str(policy.check(versions_url, "versions URL"))
            offered, encoding = await self._offered(wiring, url, token)
            dialect = self._best(offered)
            step = "GET version details"
            url = str(policy.check(offered[dialect.version], "versions[].url"))
            _, detailed = _versions_operations(dialect)
            details = await self._ask(wiring, detailed, url, None, token=token, encoding=encoding)
            endpoints = _checked_endpoints(policy, dialect.handshake.endpoints(cast("Model", details)))
            step = f"{method} credentials"
            ours = mint_token()
            presented = await self._send_ours(
                wiring, dialect, endpoints, token=token, method=method, ours=ours
            )
            # Its URL is not looked at, for we have it; GIREVE's own example of an answer has one in http.
            self._require_own_parties(wiring.record, presented)
        except OcpiError as error:
            raise RegistrationFailed(step, str(error), _advice(step, error)) from error
        finally:
            self._presenting.discard(wiring.record.id)

        def registered(record: ConnectionRecord, tokens: Tokens) -> Next:
            changes = evolve(
                record,
                state=ConnectionState.REGISTERED,
                version=dialect.version,
                versions_url=versions_url,
                roles=presented.roles,
                endpoints=endpoints,
                outbound_token=presented.token,
            )
            current = InboundToken(digest=token_digest(ours), connection=record.id, kind=TokenKind.CURRENT)
            return changes, [*_of_kind(tokens, TokenKind.A), *self._replaced(tokens), current]

        await self._directory.change(wiring, registered)
        wiring.outbox.resume(wiring.record.id)
        log.info("%s: registered in OCPI %s", wiring.record.id, dialect.version)

    async def _offered(
        self, wiring: Wiring, url: str, token_a: Secret
    ) -> tuple[dict[str, str], TokenEncoding]:
        """Read the partner's versions, in the token encoding that it takes: its version is not known."""
        refused: Unauthorized | None = None
        for dialect in self._dialects.values():
            listed, _ = _versions_operations(dialect)
            try:
                versions = await self._ask(
                    wiring, listed, url, None, token=token_a, encoding=dialect.token_encoding
                )
            except Unauthorized as error:
                refused = error
                continue
            offered = dict(dialect.handshake.offered(one) for one in cast("list[Model]", versions))
            return offered, dialect.token_encoding
        raise refused or UnsupportedVersion("no version is served here")

    def _best(self, offered: Mapping[str, str]) -> Dialect:
        for version, dialect in self._dialects.items():
            if version in offered:
                return dialect
        raise UnsupportedVersion(
            f"we speak {', '.join(self._dialects)}; the partner offers {', '.join(offered) or 'nothing'}"
        )

    async def _send_ours(
        self,
        wiring: Wiring,
        dialect: Dialect,
        endpoints: Sequence[PartnerEndpoint],
        *,
        token: Secret,
        method: str,
        ours: Secret,
    ) -> Presented:
        """Send our credentials. Their token is valid before they leave: the partner calls back meanwhile.

        Earlier ones stay valid, too: if an answer was lost, the partner holds the token that we sent then.
        """
        pending = InboundToken(
            digest=token_digest(ours),
            connection=wiring.record.id,
            kind=TokenKind.PENDING,
            expires=self._now() + GRACE,
        )
        await self._directory.change(wiring, lambda record, tokens: (record, [*self._valid(tokens), pending]))
        operation = _operation(dialect.credentials, method)
        url = next(one.url for one in endpoints if one.module == operation.module)
        body = self._ours(dialect, ours)
        answer = await self._ask(wiring, operation, url, body, token=token, encoding=dialect.token_encoding)
        return _presented(dialect, cast("Model", answer))

    def _valid(self, tokens: Sequence[InboundToken]) -> list[InboundToken]:
        now = self._now()
        return [token for token in tokens if token.expires is None or token.expires > now]

    async def unregister(self, wiring: Wiring) -> None:
        """Delete our credentials at a partner and forget its own; uploads are kept.

        Raises:
            OcpiError: the partner could not be told; the connection is as it was before.
        """
        async with self._lock(wiring.record.id):
            record = wiring.record
            if record.state is not ConnectionState.REGISTERED or record.outbound_token is None:
                raise RegistrationFailed("DELETE credentials", f"{record.id} is not registered.")
            delete = _operation(wiring.dialect.credentials, "DELETE")
            try:
                url = wiring.endpoint(delete)
                await self._ask(
                    wiring,
                    delete,
                    url,
                    None,
                    token=record.outbound_token,
                    encoding=wiring.dialect.token_encoding,
                )
            except (Unauthorized, MethodNotAllowed):
                log.info("%s: the partner has unregistered before", record.id)
            await self._forget(wiring)

    async def _forget(self, wiring: Wiring) -> None:
        until = self._now() + GRACE

        def forgotten(record: ConnectionRecord, tokens: Tokens) -> Next:
            # The version stays: uploads are written for it, and wait.
            changes = evolve(
                record, state=ConnectionState.UNREGISTERED, roles=(), endpoints=(), outbound_token=None
            )
            return changes, [evolve(one, used=False, expires=until) for one in _of_kind(tokens, TokenKind.A)]

        await self._directory.change(wiring, forgotten)

    async def _ask(
        self,
        wiring: Wiring,
        operation: Operation,
        url: str,
        body: Model | None,
        *,
        token: Secret,
        encoding: TokenEncoding,
        timeout: float | None = None,
    ) -> object:
        return await send(
            wiring,
            operation,
            url,
            encode_body(body),
            token=token,
            encoding=encoding,
            headers=CIMultiDict[str](),
            correlation_id=None,
            read=lambda response, exchange: decode_result(operation, response, exchange),
            timeout=timeout,
        )


def _advice(step: str, error: OcpiError) -> str:
    """Say what to do about a failure that the partner may see differently."""
    if not step.startswith("POST"):
        return ""
    if isinstance(error, NoAnswer) and not isinstance(error, NotSent):
        return (
            "The partner may have registered us: register again with the same token; "
            "if that is refused, ask the partner to delete our registration."
        )
    if isinstance(error, MethodNotAllowed):
        return "The partner holds us registered: ask it to delete our registration, then register again."
    return ""


def _presented(dialect: Dialect, credentials: Model) -> Presented:
    presented = dialect.handshake.presented(credentials)
    if not is_token(presented.token):
        problem = Problem("/token", "regex", "expected 1 to 64 printable ASCII characters without blanks")
        raise InvalidParameters(problems=[problem])
    return presented


def _operation(interface: type[Any], http_method: str) -> Operation:
    return next(one for one in operations(interface) if one.http_method == http_method)


def _versions_operations(dialect: Dialect) -> tuple[Operation, Operation]:
    listed, detailed = operations(dialect.versions)
    return listed, detailed


def _checked_endpoints(
    policy: UrlPolicy, endpoints: tuple[PartnerEndpoint, ...]
) -> tuple[PartnerEndpoint, ...]:
    for endpoint in endpoints:
        policy.check(endpoint.url, f"endpoint of {endpoint.module}")
    if not any(endpoint.module == "credentials" for endpoint in endpoints):
        raise NoMatchingEndpoints("the version details have no credentials endpoint")
    return endpoints
