"""Both sides of the credentials handshake, for every version; keeps what came of it in the directory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import product
from typing import Any, cast

from attrs import evolve
from multidict import CIMultiDict

from .._model import Model
from .._wire import encode_body
from ..connection import Connection, Wiring, result_of, send, url_policy
from ..dialect import Dialect, Presented
from ..errors import (
    ClientError,
    InvalidParameters,
    MethodNotAllowed,
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
from ..http.urls import origin_of
from ..interface import Operation, operations
from ..pagination import Link
from ..profile import Profile
from ..server import HandshakeContext
from ..store.records import ConnectionRecord, ConnectionState, TokenKind
from ..tokens import TokenEncoding, is_token, mint_token, token_digest
from ..types import PartnerEndpoint, Party, Role, Secret, utc_now
from .directory import Change, Directory, Next
from .inbound import GRACE, Tokens, expiring, new_token, renewed, unregistered, valid
from .terms import check_endpoints, first_presented, role_problems

log = logging.getLogger("ocpi_gireve.registration")

CALL_BACK_TIMEOUT = 10.0
"""Seconds for each question that we ask a partner while it waits for our answer."""

_COUNTERPART = {Role.CPO: Role.EMSP, Role.EMSP: Role.CPO}


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
        served: Callable[[Dialect, Role | None], Sequence[PartnerEndpoint]],
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
        self._leaving: set[str] = set()

    @property
    def versions_url(self) -> str:
        """Where partners find our versions."""
        return f"{self._public_url}/versions"

    def _lock(self, connection: str) -> asyncio.Lock:
        return self._locks.setdefault(connection, asyncio.Lock())

    # --- as the server's handler -------------------------------------------------------------------

    async def get_versions(self, ctx: HandshakeContext, link: Link) -> list[Model]:
        """List the versions that the partner can register in."""
        wiring = self._wiring(ctx)
        words = self._dialects[ctx.version].handshake
        return [
            words.version(one.version, f"{self._public_url}/{one.details_path(wiring.role)}")
            for one in wiring.spoken
        ]

    async def get_version_details(self, ctx: HandshakeContext, link: Link) -> Model:
        """List the endpoints that we serve in the version asked for."""
        wiring, dialect = self._wiring(ctx), self._dialects[ctx.version]
        _require_spoken(wiring, dialect)
        return dialect.handshake.details(self._served(dialect, wiring.role))

    async def get_credentials(self, ctx: HandshakeContext) -> Model:
        """Return our credentials with the token that was presented: no other one is known in clear."""
        return self._ours(self._wiring(ctx), self._dialects[ctx.version], ctx.presented)

    async def post_credentials(self, ctx: HandshakeContext, credentials: Model) -> Model:
        """Register a partner.

        A repeated POST whose answer was lost gets a new token as long as the one before was never used.
        """
        async with self._turn(ctx):
            wiring = self._wiring(ctx)
            self._require_good(ctx)
            if ctx.kind is not TokenKind.A:
                raise MethodNotAllowed("already registered; use PUT to change the credentials")
            return await self._accept(ctx, wiring, credentials)

    async def put_credentials(self, ctx: HandshakeContext, credentials: Model) -> Model:
        """Replace a partner's credentials; the token before stays valid until the new one is used.

        The version becomes that of the endpoint. (credentials chapter, PUT method)
        """
        async with self._turn(ctx):
            wiring = self._wiring(ctx)
            self._require_good(ctx)
            self._require_registered(ctx, wiring)
            return await self._accept(ctx, wiring, credentials)

    async def delete_credentials(self, ctx: HandshakeContext) -> None:
        """Unregister a partner. Its uploads are kept, and its token A opens the next registration."""
        # Where we are telling it the same, to wait for our end would be to wait for each other.
        async with nullcontext() if ctx.partner in self._leaving else self._turn(ctx):
            wiring = self._wiring(ctx)
            self._require_good(ctx)
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

    def _require_good(self, ctx: HandshakeContext) -> None:
        """Make sure that the token still opens the handshake: another one may have ended it meanwhile."""
        if self._directory.find(token_digest(ctx.presented)) is None:
            raise Unauthorized

    def _require_registered(self, ctx: HandshakeContext, wiring: Wiring) -> None:
        if ctx.kind is TokenKind.A or wiring.record.state is not ConnectionState.REGISTERED:
            raise MethodNotAllowed("not registered")

    async def _accept(self, ctx: HandshakeContext, wiring: Wiring, credentials: Model) -> Model:
        """Look at the partner's interfaces with its token, then commit everything at once."""
        dialect = self._dialects[ctx.version]
        _require_spoken(wiring, dialect)
        presented = _presented(wiring, dialect, credentials)
        origins = wiring.record.origins or self._first_origin(wiring, presented)
        record = evolve(wiring.record, origins=origins)
        self._require_parties(record, dialect, presented)
        try:
            endpoints = await self._endpoints_of(wiring, record, dialect, presented)
        except OcpiError as error:
            why = str(error) if isinstance(error, UrlRefused) else type(error).__name__
            log.warning("%s: its registration failed: %s", ctx.partner, why)
            if isinstance(error, UnsupportedVersion | NoMatchingEndpoints) and error.exchange is None:
                raise
            raise UnusableClientApi(f"your versions cannot be used: {error}") from error
        token = mint_token()
        shown = token_digest(ctx.presented)

        def registered(now: ConnectionRecord, tokens: Tokens) -> Next:
            if now.origins and not set(origins) <= set(now.origins):
                raise ServerError("the origins for this connection were changed meanwhile; try again")
            current = new_token(token, now.id, TokenKind.CURRENT)
            changes = evolve(
                _agreed(wiring, dialect, presented, now),
                origins=now.origins or origins,
                versions_url=presented.url,
                endpoints=endpoints,
            )
            return changes, renewed(tokens, current, self._now() + GRACE, shown)

        await self._conclude(wiring, registered)
        log.info("%s: registered by the partner in OCPI %s", ctx.partner, dialect.version)
        return self._ours(wiring, dialect, token)

    async def _conclude(self, wiring: Wiring, registered: Change) -> None:
        """Keep what came of a handshake, and let the uploads go on, even if the caller is cancelled."""

        def kept(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and done.exception() is None:
                wiring.outbox.resume(wiring.record.id)

        task = asyncio.create_task(self._directory.change(wiring, registered))
        task.add_done_callback(kept)
        await asyncio.shield(task)

    def _require_parties(self, record: ConnectionRecord, dialect: Dialect, presented: Presented) -> None:
        """Make sure that a partner presents its own parties, and those that were approved.

        Raises:
            InvalidParameters: it presents others, or none.
        """
        ours = {party.id for party in self._parties}
        problems = role_problems(
            presented.roles,
            record.approved,
            lambda party: party in ours or self._directory.held_by_others(party, record),
            per_role=dialect.per_role,
        )
        if problems:
            log.warning("%s: it presents parties that it may not speak for", record.id)
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
        timeout = min(wiring.profile.timeout, CALL_BACK_TIMEOUT)

        async def ask(operation: Operation, url: str) -> object:
            encoding = wiring.token_encoding(dialect)
            token = presented.token
            return await self._ask(wiring, operation, url, token=token, encoding=encoding, timeout=timeout)

        versions = await ask(listed, str(policy.check(presented.url, "credentials.url")))
        offered = _offered(dialect, versions)
        if dialect.version not in offered:
            raise UnsupportedVersion(f"your versions do not list {dialect.version}")
        details = await ask(detailed, str(policy.check(offered[dialect.version], "versions[].url")))
        return check_endpoints(_endpoints(wiring, dialect, details), policy, dialect, record.requires)

    def _ours(self, wiring: Wiring, dialect: Dialect, token: Secret) -> Model:
        return dialect.handshake.credentials(token, self.versions_url, wiring.parties)

    # --- from our side -----------------------------------------------------------------------------

    async def register(
        self, wiring: Wiring, versions_url: str, token_a: Secret, *, force: bool = False
    ) -> Connection:
        """Register with a partner.

        Raises:
            RegistrationFailed: a step failed; the connection is as it was before.
            StoreError: the store could not keep what came of it.
        """
        async with self._lock(wiring.record.id):
            if wiring.record.state is ConnectionState.REGISTERED:
                raise RegistrationFailed(
                    "register", f"{wiring.record.id} is registered already; update() changes its credentials."
                )
            await self._present(wiring, versions_url, [token_a], "POST", None, force=force)
        return Connection(wiring)

    async def update(self, wiring: Wiring, version: str | None = None, *, force: bool = False) -> None:
        """Exchange new credentials with a registered partner, and read its endpoints again.

        Raises:
            RegistrationFailed: a step failed, or it is not registered; the connection is as it was before.
            StoreError: the store could not keep what came of it.
        """
        async with self._lock(wiring.record.id):
            record = wiring.record
            tokens, url = _outbound(record), record.versions_url
            if record.state is not ConnectionState.REGISTERED or not tokens or url is None:
                raise RegistrationFailed("PUT credentials", f"{record.id} is not registered.")
            await self._present(wiring, url, tokens, "PUT", version or record.version, force=force)

    async def _present(
        self,
        wiring: Wiring,
        versions_url: str,
        tokens: Sequence[Secret],
        method: str,
        version: str | None,
        *,
        force: bool,
    ) -> None:
        """Take the steps of the handshake, and keep what came of them.

        Of the tokens, the first that the partner knows is presented.
        """
        self._presenting.add(wiring.record.id)
        origins = wiring.record.origins
        step = "GET versions"
        try:
            policy = wiring.policy
            url = str(policy.check(versions_url, "versions URL"))
            offered, token = await self._offered_to(wiring, url, tokens)
            dialect = _chosen(wiring, offered, version)
            if not force:
                _require_taken(wiring.profile, dialect, method)
            step = "GET version details"
            url = str(policy.check(offered[dialect.version], "versions[].url"))
            _, detailed = _versions_operations(dialect)
            encoding = wiring.token_encoding(dialect)
            details = await self._ask(wiring, detailed, url, token=token, encoding=encoding)
            endpoints = check_endpoints(
                _endpoints(wiring, dialect, details), policy, dialect, wiring.record.requires
            )
            step = f"{method} credentials"
            ours = mint_token()
            presented = await self._send_ours(
                wiring, dialect, endpoints, token=token, method=method, ours=ours
            )
            # Its URL is not looked at, for we have it; GIREVE's own example of an answer has one in http.
            self._require_parties(wiring.record, dialect, presented)
        except RegistrationFailed:
            raise
        except OcpiError as error:
            raise RegistrationFailed(step, str(error), _advice(step, error)) from error
        finally:
            self._presenting.discard(wiring.record.id)

        def registered(record: ConnectionRecord, tokens: Tokens) -> Next:
            if not set(origins) <= set(record.origins):
                raise RegistrationFailed(step, "its origins were changed meanwhile.", "Register again.")
            current = new_token(ours, record.id, TokenKind.CURRENT)
            changes = evolve(
                _agreed(wiring, dialect, presented, record), versions_url=versions_url, endpoints=endpoints
            )
            return changes, renewed(tokens, current, self._now() + GRACE)

        await self._conclude(wiring, registered)
        log.info("%s: registered in OCPI %s", wiring.record.id, dialect.version)

    async def _offered_to(
        self, wiring: Wiring, url: str, tokens: Sequence[Secret]
    ) -> tuple[dict[str, str], Secret]:
        """Read the partner's versions, and say with which token.

        It is written in the encoding that the partner takes: its version may not be known.
        """
        refused: Unauthorized | None = None
        dialects: dict[TokenEncoding, Dialect] = {}
        for dialect in sorted(wiring.spoken, key=lambda one: one.version != wiring.record.version):
            dialects.setdefault(wiring.token_encoding(dialect), dialect)
        for token, (encoding, dialect) in product(tokens, dialects.items()):
            listed, _ = _versions_operations(dialect)
            try:
                versions = await self._ask(wiring, listed, url, token=token, encoding=encoding)
            except Unauthorized as error:
                refused = error
            else:
                return _offered(dialect, versions), token
        raise refused or UnsupportedVersion("no version is spoken on this connection")

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

        It stays valid until it is known that the partner did not take it, and so do earlier ones: where an
        answer was lost, the partner may hold the token that we sent then.
        """
        pending = new_token(ours, wiring.record.id, TokenKind.PENDING)

        def sent(record: ConnectionRecord, tokens: Tokens) -> Next:
            return record, [*valid(tokens, self._now()), pending]

        def refused(record: ConnectionRecord, tokens: Tokens) -> Next:
            return record, expiring(tokens, pending.digest, self._now() + GRACE)

        await self._directory.change(wiring, sent)
        operation = _operation(dialect.credentials, method)
        url = next(one.url for one in endpoints if one.module == operation.module)
        encoding = wiring.token_encoding(dialect)
        body = self._ours(wiring, dialect, ours)
        try:
            answer = await self._ask(wiring, operation, url, body, token=token, encoding=encoding)
        except OcpiError as error:
            if isinstance(error, _REFUSALS):
                await self._directory.change(wiring, refused)
            raise
        return _presented(wiring, dialect, cast("Model", answer))

    async def unregister(self, wiring: Wiring, *, force: bool = False) -> None:
        """Delete our credentials at a partner and forget its own; uploads are kept.

        Raises:
            RegistrationFailed: it is not registered, or takes no DELETE.
            OcpiError: the partner could not be told; the connection is as it was before.
        """
        async with self._lock(wiring.record.id):
            record = wiring.record
            if record.state is not ConnectionState.REGISTERED or not _outbound(record):
                raise RegistrationFailed("DELETE credentials", f"{record.id} is not registered.")
            dialect = wiring.dialect
            if not force:
                _require_taken(wiring.profile, dialect, "DELETE")
            self._leaving.add(record.id)
            try:
                await self._delete_ours(wiring, dialect)
            except OcpiError:
                if wiring.record.state is ConnectionState.REGISTERED:
                    raise  # else the partner has left meanwhile
            finally:
                self._leaving.discard(record.id)
            await self._forget(wiring)

    async def _delete_ours(self, wiring: Wiring, dialect: Dialect) -> None:
        """Tell a partner that we leave, with the token that it knows."""
        record = wiring.record
        delete = _operation(dialect.credentials, "DELETE")
        url, encoding = wiring.endpoint(delete), wiring.token_encoding(dialect)
        for token in _outbound(record):
            try:
                await self._ask(wiring, delete, url, token=token, encoding=encoding)
            except MethodNotAllowed:
                log.info("%s: the partner has unregistered before", record.id)
            except Unauthorized:
                log.info("%s: the partner does not know our token any more", record.id)
                continue
            return

    async def _forget(self, wiring: Wiring) -> None:
        until = self._now() + GRACE

        def forgotten(record: ConnectionRecord, tokens: Tokens) -> Next:
            # The version stays: uploads are written for it, and wait.
            changes = evolve(
                record,
                state=ConnectionState.UNREGISTERED,
                roles=(),
                endpoints=(),
                outbound_token=None,
                previous_token=None,
            )
            return changes, unregistered(tokens, until)

        await self._directory.change(wiring, forgotten)

    async def _ask(
        self,
        wiring: Wiring,
        operation: Operation,
        url: str,
        body: Model | None = None,
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
            read=result_of(operation),
            timeout=timeout,
        )


def _outbound(record: ConnectionRecord) -> list[Secret]:
    """Return the tokens that a partner may know us by, the present one first."""
    return [token for token in (record.outbound_token, record.previous_token) if token is not None]


# --- what the partner is, in our words -----------------------------------------------------------------


def _their_side(wiring: Wiring) -> Role:
    """Return the side of a partner's interfaces that faces ours, where a version has sides."""
    return _COUNTERPART.get(wiring.role or Role.OTHER, Role.OTHER)


def _endpoints(wiring: Wiring, dialect: Dialect, details: object) -> tuple[PartnerEndpoint, ...]:
    endpoints = dialect.handshake.endpoints(cast("Model", details), str(_their_side(wiring)))
    # GIREVE's examples have URLs with a blank before or after.
    return tuple(evolve(one, url=one.url.strip()) for one in endpoints)


def _presented(wiring: Wiring, dialect: Dialect, credentials: Model) -> Presented:
    role = Role.HUB if wiring.profile.is_hub else _their_side(wiring)
    presented = dialect.handshake.presented(credentials, role)
    if not is_token(presented.token):
        problem = Problem("/token", "regex", "expected 1 to 64 printable ASCII characters without blanks")
        raise InvalidParameters(problems=[problem])
    return evolve(presented, url=presented.url.strip())


def _offered(dialect: Dialect, versions: object) -> dict[str, str]:
    offered = dict(dialect.handshake.offered(one) for one in cast("list[Model]", versions))
    return {version: url.strip() for version, url in offered.items()}


def _require_spoken(wiring: Wiring, dialect: Dialect) -> None:
    if dialect not in wiring.spoken:
        raise UnsupportedVersion(f"OCPI {dialect.version} is not spoken on this connection")


def _agreed(
    wiring: Wiring, dialect: Dialect, presented: Presented, record: ConnectionRecord
) -> ConnectionRecord:
    """Return the record of a partner that both sides have agreed with."""
    if dialect.per_role:
        # From now on it is for this one of ours, so that a party added later changes nothing.
        record = evolve(record, party=wiring.parties[0].id, role=wiring.role)
    return evolve(
        record,
        state=ConnectionState.REGISTERED,
        version=dialect.version,
        roles=presented.roles,
        approved=first_presented(presented.roles) if record.approved is None else record.approved,
        outbound_token=presented.token,
        previous_token=record.outbound_token,
    )


# --- what it takes -------------------------------------------------------------------------------------


def _chosen(wiring: Wiring, offered: Mapping[str, str], version: str | None) -> Dialect:
    """Return the version to agree on: the best, or the one that was asked for."""
    ours = [one for one in wiring.spoken if version in (None, one.version)]
    for dialect in ours:
        if dialect.version in offered:
            return dialect
    spoken = ", ".join(one.version for one in ours) or f"no OCPI {version}"
    theirs = ", ".join(offered) or "nothing"
    raise UnsupportedVersion(f"we speak {spoken} on this connection; the partner offers {theirs}")


def _require_taken(profile: Profile, dialect: Dialect, method: str) -> None:
    """Make sure that this kind of partner takes the step, before it is asked.

    Raises:
        RegistrationFailed: it does not, or not in this version.
    """
    version, step = dialect.version, f"{method} credentials"
    if version in profile.registers_itself and method in ("POST", "DELETE"):
        what = "registers" if method == "POST" else "unregisters"
        way = "Call invite() and hand it the token A" if method == "POST" else "Ask it to unregister"
        raise RegistrationFailed(
            step,
            f"in OCPI {version} {profile.name} {what} with us, and does not take it from us.",
            f"{way}; force=True tries it nevertheless.",
        )
    if version in profile.no_update and method == "PUT":
        raise RegistrationFailed(
            step,
            f"in OCPI {version} {profile.name} takes no new credentials.",
            "Let it unregister, and register again; force=True tries it nevertheless.",
        )


_REFUSALS = (NotSent, ClientError, UnusableClientApi, UnsupportedVersion, NoMatchingEndpoints)
"""After these the partner did not take our credentials; after any other error it may have."""


def _advice(step: str, error: OcpiError) -> str:
    """Say what to do about a failure that the partner may see differently."""
    if isinstance(error, Unauthorized) and step == "GET versions":
        return "Has the token been used up? Ask the partner for a new one."
    if isinstance(error, Unauthorized) and step == "GET version details":
        return "If the partner writes tokens in another way than OCPI, say it with Profile.token_encoding."
    if step.startswith("GET"):
        return ""
    if isinstance(error, MethodNotAllowed):
        return {
            "POST credentials": (
                "The partner holds us registered: ask it to delete our registration, then register again."
            ),
            "PUT credentials": ("The partner does not hold us registered: unregister, then register again."),
        }[step]
    if isinstance(error, _REFUSALS):
        return ""
    if step == "PUT credentials":
        return "The partner may have taken the new credentials; the old ones still work: update again."
    return (
        "The partner may have registered us: register again with the same token; "
        "if that is refused, ask the partner to delete our registration."
    )


def _operation(interface: type[Any], http_method: str) -> Operation:
    return next(one for one in operations(interface) if one.http_method == http_method)


def _versions_operations(dialect: Dialect) -> tuple[Operation, Operation]:
    listed, detailed = operations(dialect.versions)
    return listed, detailed
