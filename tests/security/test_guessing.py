"""Tokens that are guessed: there are too many of them, and no answer says how near a guess came.

`OCPI_GIREVE_TOKENS` is how many are minted.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter

import pytest

from ocpi_gireve import BILATERAL, PartyId, tokens
from ocpi_gireve.access import Principal
from ocpi_gireve.store.records import TokenKind
from ocpi_gireve.tokens import TOKEN_LENGTH, mint_token, token_digest
from ocpi_gireve.types import Secret
from tests.security.spies import V221, Book, fortress, partner
from tests.security.test_headers import b64

TOKENS = int(os.environ.get("OCPI_GIREVE_TOKENS", "100000"))
URL_SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
KNOWN = f"aaa-{TokenKind.CURRENT}"


def test_minted_tokens_differ_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token is minted twice, and at every place of it but the first and last stands any character."""
    # Where a run is watched for canaries, tokens are marked.
    monkeypatch.setattr(tokens, "secrets", secrets)
    minted = [mint_token().reveal() for _ in range(TOKENS)]
    assert len(set(minted)) == TOKENS
    for place in range(TOKEN_LENGTH):
        counted = Counter(token[place] for token in minted)
        if 0 < place < TOKEN_LENGTH - 1:
            assert set(counted) == URL_SAFE
            # Far beyond any chance: a character has a 64th of all tokens.
            assert max(counted.values()) < TOKENS / 32
        assert set(counted) <= URL_SAFE


@pytest.mark.parametrize("token", [KNOWN, KNOWN[:-1], f"{KNOWN}x", "x" * len(KNOWN), "x" * 43, "a"])
async def test_guesses_are_looked_up_alike(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """A token, one that begins like it, and any other take one way: what is looked up is their digest."""
    asked: list[bytes] = []
    find = Book.find

    def noted(book: Book, digest: bytes) -> Principal | None:
        asked.append(digest)
        return find(book, digest)

    monkeypatch.setattr(Book, "find", noted)
    closed = fortress([partner("aaa", BILATERAL, [PartyId("DE", "AAA")])], [PartyId("FR", "ONE")])
    response = await closed.ask(V221, "GET", "2.2.1", token=token)
    assert response.status == (200 if token == KNOWN else 401)
    # As it is, and as the Base64 that stands in the header.
    assert sorted(asked) == sorted(token_digest(Secret(text)) for text in (token, b64(token)))
