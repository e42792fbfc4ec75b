"""The credentials handshake in both directions, and who may come in with which token; knows no HTTP library.

Rule: the new never destroys the old until the new was seen working. Each side commits its whole step in one
transaction of the store. `docs/explanation/registration.md` draws the states.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from attrs import evolve
from multidict import CIMultiDict

from ._model import Model
from ._wire import decode_result, encode_body
from .connection import Connection, Wiring, send
from .dialect import Dialect, Presented
from .errors import (
    InvalidParameters,
    MethodNotAllowed,
    NoMatchingEndpoints,
    OcpiError,
    Problem,
    RegistrationFailed,
    StatusError,
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
from .tokens import TokenEncoding, mint_token, token_digest
from .types import Party, PartnerEndpoint, Secret, utc_now

log = logging.getLogger("ocpi_gireve.registration")

GRACE = timedelta(hours=24)
"""How long a token A, a pending or a replaced token stays valid."""

PIN_FIRST = "pin-first"
"""Instead of origins: accept the origin that comes with the right token A first, and no other afterwards."""


class Directory:
    """The connections and their inbound tokens, in memory; every change is in the store before it counts."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._wirings: dict[str, Wiring] = {}
        self._tokens: dict[str, tuple[InboundToken, ...]] = {}
        self._digests: dict[bytes, InboundToken] = {}

    def __iter__(self) -> Iterator[Wiring]:
        return iter(self._wirings.values())

    def get(self, connection: str) -> Wiring | None:
        """Return a connection by its id."""
        return self._wirings.get(connection)

    def tokens(self, connection: str) -> tuple[InboundToken, ...]:
        """Return the inbound tokens of a connection."""
        return self._tokens.get(connection, ())

    def load(self, wiring: Wiring, tokens: Sequence[InboundToken]) -> None:
        """Take over what the store holds."""
        self._wirings[wiring.record.id] = wiring
        self._index(wiring.record.id, tokens)

    async def save(self, wiring: Wiring, record: ConnectionRecord, tokens: Sequence[InboundToken]) -> None:
        """Change a connection and its tokens, in the store first."""
        await self._store.save_connection(record, tokens)
        wiring.record = record
        self.load(wiring, tokens)

    def _index(self, connection: str, tokens: Sequence[InboundToken]) -> None:
        for old in self._tokens.get(connection, ()):
            self._digests.pop(old.digest, None)
        self._tokens[connection] = tuple(tokens)
        self._digests.update({token.digest: token for token in tokens})

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
            token=token,
        )

    async def admitted(self, principal: Principal) -> None:
        """Take note of a token's first use: with it, those that it replaces end."""
        if principal.kind is not TokenKind.CURRENT:
            return
        tokens = self._tokens[principal.connection]
        current = next((token for token in tokens if token.kind is TokenKind.CURRENT), None)
        if current is None or current.used:
            return
        wiring = self._wirings[principal.connection]
        await self.save(wiring, wiring.record, _settled(tokens))


def _settled(tokens: Sequence[InboundToken]) -> list[InboundToken]:
    """Return the tokens after the current one was used: A is spent, the previous one is gone."""
    kept = [token for token in tokens if token.kind in (TokenKind.A, TokenKind.CURRENT)]
    return [evolve(token, used=True) for token in kept]


def _of_kind(tokens: Sequence[InboundToken], kind: TokenKind) -> list[InboundToken]:
    return [token for token in tokens if token.kind is kind]


class Registrar:
    """Both sides of the handshake, for every version.

    As the server's handler of versions and credentials it answers partners; `register` and `unregister`
    start the handshake from our side.
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
        async with self._lock(ctx.partner):
            wiring = self._wiring(ctx)
            if ctx.kind is not TokenKind.A:
                raise MethodNotAllowed("already registered; use PUT to change the credentials")
            return await self._accept(ctx, wiring, credentials, previous=False)

    async def put_credentials(self, ctx: HandshakeContext, credentials: Model) -> Model:
        """Replace a registered partner's credentials; the token before stays valid until the new one is used."""
        async with self._lock(ctx.partner):
            wiring = self._wiring(ctx)
            self._require_registered(ctx, wiring)
            return await self._accept(ctx, wiring, credentials, previous=True)

    async def delete_credentials(self, ctx: HandshakeContext) -> None:
        """Unregister a partner. Its uploads are kept, and its token A opens the next registration."""
        async with self._lock(ctx.partner):
            wiring = self._wiring(ctx)
            self._require_registered(ctx, wiring)
            await self._forget(wiring)
            log.info("%s: unregistered by the partner", ctx.partner)

    def _wiring(self, ctx: HandshakeContext) -> Wiring:
        wiring = self._directory.get(ctx.partner)
        if wiring is None:
            raise Unauthorized
        return wiring

    def _require_registered(self, ctx: HandshakeContext, wiring: Wiring) -> None:
        if ctx.kind is TokenKind.A or wiring.record.state is not ConnectionState.REGISTERED:
            raise MethodNotAllowed("not registered")

    async def _accept(
        self, ctx: HandshakeContext, wiring: Wiring, credentials: Model, *, previous: bool
    ) -> Model:
        """Look at the partner's interfaces with its token, then commit everything at once."""
        dialect = self._dialects[ctx.version]
        presented = _presented(dialect, credentials)
        record = evolve(wiring.record, origins=wiring.record.origins or self._first_origin(wiring, presented))
        try:
            endpoints = await self._endpoints_of(wiring, record, dialect, presented)
        except StatusError as error:
            if isinstance(error, UnsupportedVersion | NoMatchingEndpoints) and error.exchange is None:
                raise
            raise UnusableClientApi(f"your versions cannot be used: {error}") from error
        except OcpiError as error:
            raise UnusableClientApi(f"your versions cannot be used: {error}") from error
        token = mint_token()
        tokens = self._directory.tokens(ctx.partner)
        kept = _of_kind(tokens, TokenKind.A)
        if previous:
            kept += [
                evolve(old, kind=TokenKind.PREVIOUS, expires=self._now() + GRACE)
                for old in _of_kind(tokens, TokenKind.CURRENT)
            ]
        current = InboundToken(digest=token_digest(token), connection=ctx.partner, kind=TokenKind.CURRENT)
        await self._directory.save(
            wiring,
            evolve(
                record,
                state=ConnectionState.REGISTERED,
                version=dialect.version,
                versions_url=presented.url,
                roles=presented.roles,
                endpoints=endpoints,
                outbound_token=presented.token,
            ),
            [*kept, current],
        )
        wiring.outbox.resume(ctx.partner)
        log.info("%s: registered by the partner in OCPI %s", ctx.partner, dialect.version)
        return self._ours(dialect, token)

    def _first_origin(self, wiring: Wiring, presented: Presented) -> tuple[str, ...]:
        """Return the origin to pin where the operator left it to the first registration."""
        policy = UrlPolicy(
            allow_http_loopback=wiring.profile.allow_http_loopback,
            allow_networks=wiring.profile.allow_networks,
        )
        try:
            policy.check(presented.url, "credentials.url")
            return (str(origin_of(presented.url)),)
        except UrlRefused as refused:
            raise UnusableClientApi(str(refused)) from None

    async def _endpoints_of(
        self, wiring: Wiring, record: ConnectionRecord, dialect: Dialect, presented: Presented
    ) -> tuple[PartnerEndpoint, ...]:
        policy = _policy(wiring, record)
        listed, detailed = _versions_operations(dialect)
        url = str(policy.check(presented.url, "credentials.url"))
        versions = await self._ask(wiring, listed, url, None, presented.token, dialect.token_encoding)
        offered = dict(dialect.handshake.offered(one) for one in cast("list[Model]", versions))
        if dialect.version not in offered:
            raise UnsupportedVersion(f"your versions do not list {dialect.version}")
        url = str(policy.check(offered[dialect.version], "versions[].url"))
        details = await self._ask(wiring, detailed, url, None, presented.token, dialect.token_encoding)
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
                raise RegistrationFailed("register", f"{wiring.record.id} is registered already.")
            step = "GET versions"
            try:
                policy = wiring.policy
                url = str(policy.check(versions_url, "versions URL"))
                offered, encoding = await self._offered(wiring, url, token_a)
                dialect = self._best(offered)
                step = "GET version details"
                url = str(policy.check(offered[dialect.version], "versions[].url"))
                _, detailed = _versions_operations(dialect)
                details = await self._ask(wiring, detailed, url, None, token_a, encoding)
                endpoints = _checked_endpoints(policy, dialect.handshake.endpoints(cast("Model", details)))
                step = "POST credentials"
                presented = await self._post(wiring, dialect, endpoints, token_a)
            except OcpiError as error:
                raise RegistrationFailed(step, str(error)) from error
            await self._registered(wiring, dialect, versions_url, endpoints, presented)
            return Connection(wiring)

    async def _offered(
        self, wiring: Wiring, url: str, token_a: Secret
    ) -> tuple[dict[str, str], TokenEncoding]:
        """Read the partner's versions, in the token encoding that it understands: its version is not known yet."""
        refused: Unauthorized | None = None
        for dialect in self._dialects.values():
            listed, _ = _versions_operations(dialect)
            try:
                versions = await self._ask(wiring, listed, url, None, token_a, dialect.token_encoding)
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

    async def _post(
        self, wiring: Wiring, dialect: Dialect, endpoints: Sequence[PartnerEndpoint], token_a: Secret
    ) -> Presented:
        """Send our credentials. Their token is valid before they leave: the partner calls back meanwhile."""
        ours = mint_token()
        record = wiring.record
        pending = InboundToken(
            digest=token_digest(ours),
            connection=record.id,
            kind=TokenKind.PENDING,
            expires=self._now() + GRACE,
        )
        others = [t for t in self._directory.tokens(record.id) if t.kind is not TokenKind.PENDING]
        await self._directory.save(wiring, record, [*others, pending])
        post = _operation(dialect.credentials, "POST")
        url = next(one.url for one in endpoints if one.module == post.module)
        body = self._ours(dialect, ours)
        answer = await self._ask(wiring, post, url, body, token_a, dialect.token_encoding)
        presented = _presented(dialect, cast("Model", answer))
        wiring.policy.check(presented.url, "credentials.url")
        return presented

    async def _registered(
        self,
        wiring: Wiring,
        dialect: Dialect,
        versions_url: str,
        endpoints: tuple[PartnerEndpoint, ...],
        presented: Presented,
    ) -> None:
        record = evolve(
            wiring.record,
            state=ConnectionState.REGISTERED,
            version=dialect.version,
            versions_url=versions_url,
            roles=presented.roles,
            endpoints=endpoints,
            outbound_token=presented.token,
        )
        tokens = self._directory.tokens(record.id)
        current = [
            evolve(token, kind=TokenKind.CURRENT, expires=None) for token in _of_kind(tokens, TokenKind.PENDING)
        ]
        await self._directory.save(wiring, record, [*_of_kind(tokens, TokenKind.A), *current])
        wiring.outbox.resume(record.id)
        log.info("%s: registered in OCPI %s", record.id, dialect.version)

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
                await self._ask(wiring, delete, url, None, record.outbound_token, wiring.dialect.token_encoding)
            except (Unauthorized, MethodNotAllowed):
                log.info("%s: the partner has unregistered before", record.id)
            await self._forget(wiring)

    async def _forget(self, wiring: Wiring) -> None:
        record = evolve(
            wiring.record,
            state=ConnectionState.UNREGISTERED,
            roles=(),
            endpoints=(),
            outbound_token=None,
        )
        # GIREVE unregisters and registers again where OCPI would update, so the token A has to open that.
        again = [evolve(token, used=False) for token in _of_kind(self._directory.tokens(record.id), TokenKind.A)]
        await self._directory.save(wiring, record, again)

    async def _ask(
        self,
        wiring: Wiring,
        operation: Operation,
        url: str,
        body: Model | None,
        token: Secret,
        encoding: TokenEncoding,
    ) -> object:
        response, exchange = await send(
            wiring,
            operation,
            url,
            encode_body(operation, body),
            token=token,
            encoding=encoding,
            headers=CIMultiDict[str](),
            correlation_id=None,
        )
        return decode_result(operation, response, exchange)


def _policy(wiring: Wiring, record: ConnectionRecord) -> UrlPolicy:
    return UrlPolicy(
        origins=record.origins,
        allow_http_loopback=wiring.profile.allow_http_loopback,
        allow_networks=wiring.profile.allow_networks,
    )


def _presented(dialect: Dialect, credentials: Model) -> Presented:
    presented = dialect.handshake.presented(credentials)
    token = presented.token.reveal()
    if not (1 <= len(token) <= 64 and all("!" <= letter <= "~" for letter in token)):
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
