"""A server of every interface of both versions whose handlers only note who reached them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from attrs import define, evolve, field, frozen
from multidict import CIMultiDict

from ocpi_gireve import Context, Link, Page, PageQuery, Party, PartyId, Profile, Role, v221
from ocpi_gireve._model import Model, field_specs
from ocpi_gireve._wire import encode_body
from ocpi_gireve.access import Principal
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.interface import Interface, Operation, operations
from ocpi_gireve.server import Mount, Server
from ocpi_gireve.store.records import TokenKind
from ocpi_gireve.testing import sample, samples
from ocpi_gireve.tokens import TokenEncoding, authorization, token_digest
from ocpi_gireve.transport import HttpRequest, HttpResponse
from ocpi_gireve.types import OcpiEnum, Secret
from ocpi_gireve.v211.dialect import DIALECT as V211

V221 = v221.DIALECT
DIALECTS: Mapping[str, Dialect] = {"2.1.1": V211, "2.2.1": V221}
PUBLIC_URL = "https://ours.example.com/ocpi"


@frozen
class Reached:
    """One call of a handler."""

    operation: Operation
    ctx: Context
    arguments: tuple[object, ...]


@define
class Spy:
    """Implements one interface: notes each call and answers something.

    Attributes:
        total: How many objects each of its listings has.
    """

    interface: type[Interface]
    reached: list[Reached]
    total: int

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        operation = next(one for one in operations(self.interface) if one.name == name)

        async def method(ctx: Context, *arguments: object) -> object:
            self.reached.append(Reached(operation, ctx, arguments))
            return _answer(operation, arguments, self.total)

        return method


def _answer(operation: Operation, arguments: tuple[object, ...], total: int) -> object:
    if operation.paginated:
        (query,) = cast("tuple[PageQuery]", arguments)
        count = min(cast("int", query.limit), max(total - query.offset, 0))
        return Page(items=samples(cast("type[Model]", operation.answer), count), total=total)
    if operation.lists or operation.answer is None:
        return [] if operation.lists else None
    if operation.answer is Link:
        return Link("1")
    if issubclass(operation.answer, OcpiEnum):
        return next(iter(operation.answer))
    return sample(cast("type[Model]", operation.answer))


@define
class Book:
    """The tokens: each connection has one of each kind, ``{connection}-{kind}``."""

    partners: Mapping[str, Principal]
    admitted_ones: list[str] = field(factory=list[str])
    revision: int = 0
    _found: dict[bytes, Principal] = field(factory=dict[bytes, Principal])

    def __attrs_post_init__(self) -> None:
        for partner in self.partners.values():
            for kind in TokenKind:
                digest = token_digest(Secret(f"{partner.connection}-{kind}"))
                is_settled = kind is TokenKind.CURRENT
                self._found[digest] = evolve(partner, kind=kind, digest=digest, is_settled=is_settled)

    def find(self, digest: bytes) -> Principal | None:
        """Find a partner by its token."""
        return self._found.get(digest)

    async def admitted(self, principal: Principal) -> None:
        """Note who came."""
        self.admitted_ones.append(principal.connection)


def partner(
    connection: str,
    profile: Profile,
    parties: Sequence[PartyId],
    *,
    elsewhere: Sequence[PartyId] = (),
    party: PartyId | None = None,
    role: Role | None = None,
) -> Principal:
    """A partner whose parties have every role but HUB, so that none is refused for its role."""
    roles = frozenset(Role) - {Role.HUB}
    return Principal(
        connection=connection,
        kind=TokenKind.CURRENT,
        profile=profile,
        parties=dict.fromkeys(parties, roles),
        elsewhere=frozenset(elsewhere),
        party=party,
        role=role,
        digest=b"",
    )


@frozen
class Fortress:
    """The server, and what reached its handlers."""

    server: Server
    book: Book
    reached: list[Reached]

    async def ask(
        self,
        dialect: Dialect,
        method: str,
        path: str,
        *,
        token: str | None,
        body: object = None,
        headers: Sequence[tuple[str, str]] = (),
        encoding: TokenEncoding | None = None,
    ) -> HttpResponse:
        """Send one request; `path` follows the public URL."""
        sent = CIMultiDict[str](headers)
        if token is not None:
            sent.add("Authorization", authorization(Secret(token), encoding or dialect.token_encoding))
        data = b"" if body is None else json.dumps(body).encode()
        return await self.server.handle(
            HttpRequest(method=method, url=f"/ocpi/{path}", headers=sent, body=data)
        )


def fortress(partners: Sequence[Principal], tenants: Sequence[PartyId], *, total: int = 0) -> Fortress:
    """A server for these parties of ours that knows these partners; it remembers no repetitions.

    Args:
        partners: Who is registered.
        tenants: Our parties.
        total: How many objects each listing has.
    """
    reached: list[Reached] = []
    book = Book({one.connection: one for one in partners})
    mounts = [
        Mount(
            dialect=dialect,
            handlers={
                interface: Spy(interface, reached, total)
                for interface in (*dialect.interfaces, dialect.versions, dialect.credentials)
            },
        )
        for dialect in (V221, V211)
    ]
    parties = [
        Party(one.country_code, one.party_id, role, name="Tenant")
        for one in tenants
        for role in (Role.CPO, Role.EMSP)
    ]
    server = Server(public_url=PUBLIC_URL, parties=parties, mounts=mounts, principals=book, idempotent=False)
    return Fortress(server, book, reached)


# --- requests ------------------------------------------------------------------------------------------


def endpoint_of(dialect: Dialect, operation: Operation, side: Role | None = None) -> str:
    """Where an operation's endpoint lies below the public URL."""
    if operation.interface is dialect.versions:
        return "versions" if operation.name == "get_versions" else dialect.details_path(side)
    return dialect.endpoint_path(operation.interface, side)


def path_of(
    dialect: Dialect,
    operation: Operation,
    owner: PartyId,
    *,
    id: str = "X1",
    side: Role | None = None,
) -> str:
    """A request's path and query; every id in it is `id`."""
    place = operation.path if not operation.at_link else "START_SESSION/1"
    if operation.interface is dialect.versions:
        place = ""
    for name in operation.path_fields:
        value = {"country_code": owner.country_code, "party_id": owner.party_id}.get(name, id)
        place = place.replace(f"{{{name}}}", value)
    query = {
        "date_from": "date_from=2026-01-01T00:00:00Z",
        "duration": "duration=60",
        "response_url": "response_url=https://partner.example.com/r",
    }
    wanted = {*operation.required_query} if operation.target not in (None, Link) else set[str]()
    asked = "&".join(query[name] for name in query if name in wanted and name not in operation.path_fields)
    return "/".join(part for part in (endpoint_of(dialect, operation, side), place) if part) + (
        f"?{asked}" if asked else ""
    )


def body_of(operation: Operation, owner: PartyId, *, id: str = "X1") -> dict[str, Any] | None:
    """A request's body, which says that it is `owner`'s and that its id is `id`."""
    if not operation.bodies:
        return None
    kind = operation.bodies[0]
    names = {spec.name for spec in field_specs(kind)}
    if operation.is_patch:
        said: dict[str, Any] = {}
        if "last_updated" in names:
            said["last_updated"] = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    else:
        said = json.loads(encode_body(sample(kind)))
    mine = {"country_code": owner.country_code, "party_id": owner.party_id, "id": id, "uid": id}
    said |= {name: value for name, value in mine.items() if name in names}
    if "token" in said and "party_id" in said["token"]:
        said["token"] |= {"country_code": owner.country_code, "party_id": owner.party_id}
    return said


def owner_said(argument: object) -> PartyId | None:
    """Whose an object is that reached a handler, or whose a reference names."""
    if isinstance(argument, PageQuery | Link) or argument is None:
        return None
    country, party = getattr(argument, "country_code", None), getattr(argument, "party_id", None)
    return PartyId(country, party) if isinstance(country, str) and isinstance(party, str) else None
