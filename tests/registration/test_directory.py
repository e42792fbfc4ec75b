"""Who a token belongs to, and what becomes of it with its use."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from attrs import define, evolve

from ocpi_gireve import BILATERAL, PartyId, Role
from ocpi_gireve.connection import Wiring
from ocpi_gireve.registration import GRACE, Directory
from ocpi_gireve.registration.inbound import new_token
from ocpi_gireve.store.records import ConnectionState, InboundToken, TokenKind
from ocpi_gireve.tokens import token_digest
from ocpi_gireve.types import PartnerRole, Secret
from tests.support import NOW, EmspLocations, Network, a_platform

A, PENDING, CURRENT, PREVIOUS = TokenKind
TOKEN = Secret("token-of-the-partner")
CPO = PartyId("FR", "CPO")


@define
class Book:
    """A directory with one registered partner, and the time that it believes in."""

    directory: Directory
    wiring: Wiring
    now: datetime = NOW

    async def put(self, *tokens: InboundToken) -> None:
        """Give the partner these tokens."""
        await self.directory.change(self.wiring, lambda record, _: (record, tokens))

    def kinds(self) -> list[TokenKind]:
        """The kinds of the partner's tokens."""
        return [token.kind for token in self.directory.tokens("cpo")]


@asynccontextmanager
async def a_book() -> AsyncGenerator[Book]:
    """An eMSP that a CPO is registered with, in the roles of a CPO and an eMSP."""
    emsp = a_platform(Network(), "emsp.example.com", Role.EMSP, "EMP", [EmspLocations()])
    async with emsp:
        await emsp.invite(BILATERAL, origins="https://cpo.example.com", id="cpo")
        wiring = emsp._directory.get("cpo")
        assert wiring is not None
        book = Book(emsp._directory, wiring)
        emsp._directory._now = lambda: book.now
        roles = [PartnerRole(role, CPO, "x") for role in (Role.CPO, Role.EMSP)]
        changes = evolve(wiring.record, state=ConnectionState.REGISTERED, roles=tuple(roles))
        await emsp._directory.change(wiring, lambda _, tokens: (changes, tokens))
        yield book


def token(kind: TokenKind, secret: Secret = TOKEN, expires: datetime | None = None) -> InboundToken:
    """A token of the partner."""
    return new_token(secret, "cpo", kind, expires)


async def test_who_it_is() -> None:
    """A token names its connection, the partner's parties with their roles, and ours that it is for."""
    async with a_book() as book:
        await book.put(token(CURRENT))
        found = book.directory.find(token_digest(TOKEN))
        assert found is not None
        assert (found.connection, found.kind, found.party, found.role) == (
            "cpo",
            CURRENT,
            PartyId("FR", "EMP"),
            Role.EMSP,
        )
        assert found.parties == {CPO: frozenset({Role.CPO, Role.EMSP})}
        assert CPO in found.elsewhere
        assert book.directory.find(token_digest(Secret("other"))) is None


@pytest.mark.parametrize(
    ("held", "good"),
    [
        (token(A, expires=NOW + GRACE), True),
        (token(A, expires=NOW), False),
        (evolve(token(A), used=True), False),
        (token(PENDING), True),
        (token(CURRENT), True),
        (token(PREVIOUS, expires=NOW + timedelta(seconds=1)), True),
        (token(PREVIOUS, expires=NOW), False),
    ],
)
async def test_what_is_good(held: InboundToken, good: bool) -> None:
    """A token is good until it ends, and a token A until it is spent."""
    async with a_book() as book:
        await book.put(held)
        assert (book.directory.find(held.digest) is not None) == good


async def test_first_use() -> None:
    """The first use of the current token ends the others, in both directions; the next ones do nothing."""
    async with a_book() as book:
        others = [token(kind, Secret(kind), NOW + GRACE) for kind in (A, PREVIOUS, PENDING)]
        await book.put(*others, token(CURRENT))
        book.wiring.record = evolve(
            book.wiring.record, outbound_token=Secret("new"), previous_token=Secret("old")
        )
        principal = book.directory.find(token_digest(TOKEN))
        assert principal is not None
        await book.directory.admitted(principal)
        assert book.kinds() == [A, PENDING, CURRENT]
        assert [one.used for one in book.directory.tokens("cpo")] == [True, False, True]
        assert book.wiring.record.previous_token is None
        settled = book.directory.tokens("cpo")
        await book.directory.admitted(principal)
        assert book.directory.tokens("cpo") is settled


async def test_use_of_a_replaced_token() -> None:
    """A replaced token lives for a day after its last use; that is written down no more than twice a day."""
    async with a_book() as book:
        await book.put(token(PREVIOUS, expires=NOW + GRACE))
        principal = book.directory.find(token_digest(TOKEN))
        assert principal is not None
        for hours, end in ((1, 24), (11, 24), (13, 37), (14, 37), (26, 50)):
            book.now = NOW + timedelta(hours=hours)
            await book.directory.admitted(principal)
            (held,) = book.directory.tokens("cpo")
            assert held.expires == NOW + timedelta(hours=end)
