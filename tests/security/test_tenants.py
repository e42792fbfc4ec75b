"""Tenants are walls: what a partner can reach, for every route, token, header, URL and body."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from ocpi_gireve import BILATERAL, PartyId, Role
from ocpi_gireve.access import Principal
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.interface import Operation
from ocpi_gireve.store.records import TokenKind
from ocpi_gireve.tokens import TokenEncoding
from ocpi_gireve.v211.dialect import DIALECT as V211
from tests.security.spies import DIALECTS, V221, body_of, fortress, owner_said, partner, path_of

ONE, TWO, THREE = (PartyId("FR", name) for name in ("ONE", "TWO", "TRE"))
TENANTS = (ONE, TWO, THREE)
AAA, BBB, ZZZ = (PartyId("DE", name) for name in ("AAA", "BBB", "ZZZ"))
HUB = PREPRODUCTION.hub
assert HUB is not None
DIRECT = (AAA, BBB)

PARTNERS_221 = {
    "aaa": partner("aaa", BILATERAL, [AAA], elsewhere=DIRECT),
    "bbb": partner("bbb", BILATERAL, [BBB], elsewhere=DIRECT),
    "hub": partner("hub", PREPRODUCTION, [HUB], elsewhere=DIRECT),
}
PARTNERS_211 = {
    f"{name}-{tenant.party_id}-{side}": partner(
        f"{name}-{tenant.party_id}-{side}",
        profile,
        [who],
        elsewhere=DIRECT,
        party=tenant,
        role=side,
    )
    for (name, profile, who), tenant, side in itertools.product(
        (("aaa", BILATERAL, AAA), ("bbb", BILATERAL, BBB), ("hub", PREPRODUCTION, HUB)),
        TENANTS,
        (Role.CPO, Role.EMSP),
    )
}


def functional(dialect: Dialect) -> list[Operation]:
    """The operations behind a registration."""
    return [one for one in dialect.all_operations() if one.interface.functional]


def may_call(principal: Principal, operation: Operation) -> bool:
    """Whether a partner has the role; these have all but a hub's, which alone tells of its clients."""
    return principal.profile.is_hub or operation.interface.callers != frozenset({Role.HUB})


def mine(principal: Principal) -> set[PartyId]:
    """For whom a partner may speak, of all parties in these tests."""
    return {HUB or ZZZ, ZZZ} if principal.profile.is_hub else set(principal.parties)


def routing(sender: PartyId | None, receiver: PartyId | None) -> list[tuple[str, str]]:
    """Routing headers."""
    return [
        (f"OCPI-{direction}-{part}", text)
        for direction, party in (("from", sender), ("to", receiver))
        if party is not None
        for part, text in (("country-code", party.country_code), ("party-id", party.party_id))
    ]


@pytest.mark.parametrize("name", PARTNERS_221)
async def test_walls_of_221(name: str) -> None:
    """Of all senders, receivers, owners in the URL and in the body, a partner reaches what is its own.

    Each combination is sent to every route. What reaches a handler is exactly what is legal, and who the
    handler is told that it is from and for is true.
    """
    principal = PARTNERS_221[name]
    keep = fortress(list(PARTNERS_221.values()), TENANTS)
    senders = (None, AAA, BBB, HUB, ONE, ZZZ)
    receivers = (None, ONE, TWO, AAA, ZZZ)
    owners = (AAA, BBB, ONE, ZZZ)
    reached = Counter[str]()
    for operation in functional(V221):
        routed = operation.interface.routed
        in_url = "party_id" in operation.path_fields
        for sender, receiver, owner, other in itertools.product(
            senders, receivers, owners if in_url else owners[:1], owners
        ):
            body = body_of(operation, other)
            if body is None and other is not owners[0]:
                continue
            keep.reached.clear()
            await keep.ask(
                V221,
                operation.http_method,
                path_of(V221, operation, owner),
                token=f"{name}-{TokenKind.CURRENT}",
                body=body,
                headers=routing(sender, receiver),
            )
            speaking = sender or next(iter(principal.parties))
            says_owner = body is not None and ("party_id" in body or "party_id" in body.get("token", {}))
            legal = may_call(principal, operation)
            if routed:
                legal &= speaking in mine(principal) and receiver in TENANTS
                owns = mine(principal) if principal.profile.is_hub else {speaking}
                legal &= not in_url or owner in owns
                legal &= in_url or not says_owner or other in owns
            legal &= not in_url or not says_owner or other == owner
            where = f"{operation}: from {sender}, to {receiver}, {owner} in the URL, {other} in the body"
            assert bool(keep.reached) is legal, where
            for call in keep.reached:
                reached[operation.id] += 1
                assert call.ctx.partner == name, where
                assert call.ctx.sender == (speaking if routed else next(iter(principal.parties))), where
                assert call.ctx.receiver == (receiver if routed else None), where
                assert {owner_said(one) for one in call.arguments} <= {None, owner, other}, where
    assert set(reached) == {one.id for one in functional(V221) if may_call(principal, one)}


@pytest.mark.parametrize("name", PARTNERS_211)
async def test_walls_of_211(name: str) -> None:
    """In 2.1.1 the token alone says who asks whom: no header changes it, no other owner's URL is reached."""
    principal = PARTNERS_211[name]
    keep = fortress(list(PARTNERS_211.values()), TENANTS)
    owners = (AAA, BBB, ONE, ZZZ)
    reached = Counter[str]()
    for operation in functional(V211):
        in_url = "party_id" in operation.path_fields
        right_side = operation.role == principal.role
        for sender, receiver, owner in itertools.product(
            (None, ZZZ), (None, TWO, ZZZ), owners if in_url else owners[:1]
        ):
            keep.reached.clear()
            await keep.ask(
                V211,
                operation.http_method,
                path_of(V211, operation, owner),
                token=f"{name}-{TokenKind.CURRENT}",
                body=body_of(operation, owner),
                headers=routing(sender, receiver),
            )
            legal = right_side and (not in_url or owner in mine(principal))
            where = f"{operation}: from {sender}, to {receiver}, {owner} in the URL"
            assert bool(keep.reached) is legal, where
            for call in keep.reached:
                reached[operation.id] += 1
                assert (call.ctx.partner, call.ctx.receiver) == (name, principal.party), where
                assert call.ctx.sender in principal.parties, where
    assert set(reached) == {one.id for one in functional(V211) if one.role == principal.role}


@pytest.mark.parametrize("version", DIALECTS)
@pytest.mark.parametrize("kind", [*TokenKind, "unknown", "none", "of the other version"])
async def test_every_route_with_every_token(version: str, kind: str) -> None:
    """Which token opens which route is an exact matrix, whatever ids and queries look like.

    A token A opens versions and credentials; an object whose id is `versions` or `credentials` is not one of
    them, and neither is a query that says so.
    """
    dialect = DIALECTS[version]
    side = None if version == "2.2.1" else Role.CPO
    names = ["aaa"] if side is None else [f"aaa-ONE-{one}" for one in (Role.CPO, Role.EMSP)]
    partners = PARTNERS_221 if side is None else PARTNERS_211
    keep = fortress(list(partners.values()), TENANTS)
    for operation, called, name in itertools.product(
        dialect.all_operations(), ("X1", "versions", "credentials", "2.2.1"), names
    ):
        role = partners[name].role
        handshake = not operation.interface.functional
        path = path_of(dialect, operation, AAA, id=called, side=role)
        path += ("&" if "?" in path else "?") + "x=credentials&path=/versions"
        token = {"none": None, "unknown": "aaa-unknown"}.get(kind, f"{name}-{kind}")
        encoding: TokenEncoding | None = None
        if kind == "of the other version":
            token = f"{name}-{TokenKind.CURRENT}"
            encoding = TokenEncoding.RAW if version == "2.2.1" else TokenEncoding.BASE64
        keep.reached.clear()
        keep.book.admitted_ones.clear()
        response = await keep.ask(
            dialect,
            operation.http_method,
            path,
            token=token,
            body=body_of(operation, AAA, id=called),
            headers=routing(AAA, ONE),
            encoding=encoding,
        )
        right_side = role is None or handshake or operation.role == role
        opens = {
            TokenKind.A: handshake,
            "unknown": False,
            "none": False,
            # The list of versions is read before a version is agreed on.
            "of the other version": operation.name == "get_versions",
        }.get(kind, right_side)
        where = f"{operation.http_method} {path} with {kind} of {name}"
        assert (response.status != 401) is opens, where
        assert bool(keep.reached) is (opens and may_call(partners[name], operation)), where
        # The use of a current token that is settled is told once.
        assert bool(keep.book.admitted_ones) is opens or kind is TokenKind.CURRENT, where


async def test_nothing_is_read_of_another_connection() -> None:
    """A token opens its own connection, whatever connection any header claims."""
    keep = fortress(list(PARTNERS_221.values()), TENANTS)
    operation = next(one for one in functional(V221) if one.name == "get_session")
    for claimed in ("bbb", "hub"):
        await keep.ask(
            V221,
            "GET",
            path_of(V221, operation, AAA),
            token=f"aaa-{TokenKind.CURRENT}",
            headers=[
                *routing(AAA, ONE),
                ("X-Connection", claimed),
                ("X-Partner", claimed),
                ("Cookie", claimed),
            ],
        )
    assert {call.ctx.partner for call in keep.reached} == {"aaa"}
