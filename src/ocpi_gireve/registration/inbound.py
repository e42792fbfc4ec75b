"""What becomes of the tokens that a partner presents, step by step; pure functions over values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from attrs import evolve

from ..store.records import InboundToken, TokenKind
from ..tokens import token_digest
from ..types import Secret

GRACE = timedelta(hours=24)
"""How long an unused token A, a refused or a replaced token stays valid."""

KEPT_UNUSED = 8
"""How many replaced tokens that nobody has used are kept: the partner may hold one that came late."""

Tokens: TypeAlias = tuple[InboundToken, ...]


def new_token(
    token: Secret, connection: str, kind: TokenKind, expires: datetime | None = None
) -> InboundToken:
    """Return what is kept of a token."""
    return InboundToken(digest=token_digest(token), connection=connection, kind=kind, expires=expires)


def of_kind(tokens: Iterable[InboundToken], *kinds: TokenKind) -> Tokens:
    """Return the tokens of these kinds."""
    return tuple(token for token in tokens if token.kind in kinds)


def renewed(
    tokens: Sequence[InboundToken], current: InboundToken, until: datetime, shown: bytes = b""
) -> Tokens:
    """Return the tokens after a handshake that made one of them the current one.

    Every other one but A is replaced, and stays good until the current one is used. The partner may not have
    got our answer, or have taken a token of ours whose answer got lost; and what overtook each other on the
    way comes in another order than it was sent. Of those that were never used, only the last ones are kept.

    Args:
        tokens: Those before.
        current: The one that the partner was given, or took.
        until: When the replaced ones end.
        shown: The digest of the token that the partner showed: it holds that one.
    """
    others = [token for token in tokens if token.kind is not TokenKind.A and token.digest != current.digest]
    unused = [token for token in others if not token.used and token.digest != shown]
    dropped = {token.digest for token in unused[:-KEPT_UNUSED]}
    previous = [
        token if token.kind is TokenKind.PREVIOUS else evolve(token, kind=TokenKind.PREVIOUS, expires=until)
        for token in others
        if token.digest not in dropped
    ]
    return (*of_kind(tokens, TokenKind.A), *previous, current)


def settled(tokens: Sequence[InboundToken]) -> Tokens:
    """Return the tokens after the current one was used: A is spent, and the previous ones are gone."""
    kept: list[InboundToken] = []
    for token in tokens:
        if token.kind is TokenKind.PENDING:
            kept.append(token)
        elif token.kind is not TokenKind.PREVIOUS:
            # A spent token A opens nothing, but opens the next registration after an unregistration.
            kept.append(evolve(token, used=True, expires=None))
    return tuple(kept)


def expiring(tokens: Sequence[InboundToken], digest: bytes, until: datetime) -> Tokens:
    """Return the tokens with another end of one of them."""
    return tuple(evolve(token, expires=until) if token.digest == digest else token for token in tokens)


def unregistered(tokens: Sequence[InboundToken], until: datetime) -> Tokens:
    """Return the tokens after an unregistration: none but A, which opens the next registration."""
    return tuple(evolve(token, used=False, expires=until) for token in of_kind(tokens, TokenKind.A))


def valid(tokens: Sequence[InboundToken], now: datetime) -> Tokens:
    """Return the tokens that have not expired."""
    return tuple(token for token in tokens if token.expires is None or token.expires > now)
