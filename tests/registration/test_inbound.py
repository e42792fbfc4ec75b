"""What becomes of inbound tokens: each rule of the table, on values."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from ocpi_gireve.registration.inbound import (
    GRACE,
    KEPT_UNUSED,
    expiring,
    new_token,
    of_kind,
    renewed,
    settled,
    unregistered,
    valid,
)
from ocpi_gireve.store.records import InboundToken, TokenKind
from ocpi_gireve.types import Secret
from tests.support import NOW

A, PENDING, CURRENT, PREVIOUS = TokenKind
UNTIL = NOW + GRACE


def token(kind: TokenKind, text: str = "", *, used: bool = False) -> InboundToken:
    """A token of the connection ``x``."""
    return evolve(new_token(Secret(text or kind), "x", kind), used=used)


def test_renewed() -> None:
    """A handshake replaces every token but A, and the replaced ones end a day later."""
    before = (token(A), token(PENDING), token(CURRENT, used=True))
    new = token(CURRENT, "new")
    after = renewed(before, new, UNTIL)
    assert after == (
        token(A),
        evolve(token(PENDING), kind=PREVIOUS, expires=UNTIL),
        evolve(token(CURRENT, used=True), kind=PREVIOUS, expires=UNTIL),
        new,
    )
    assert renewed(after, token(CURRENT, "newer"), UNTIL + GRACE)[2] == after[2]


def test_renewed_with_the_pending_one() -> None:
    """The token that the partner took is the current one, and stands there once."""
    sent = token(PENDING)
    new = evolve(sent, kind=CURRENT)
    assert renewed((token(CURRENT, "old"), sent), new, UNTIL) == (
        evolve(token(PREVIOUS, "old"), expires=UNTIL),
        new,
    )


def test_unused_tokens_do_not_pile_up() -> None:
    """Of replaced tokens that nobody used the last ones are kept; what was used or shown always is."""
    tokens = [token(CURRENT, "used", used=True), token(CURRENT, "shown")]
    tokens += [token(CURRENT, str(number)) for number in range(20)]
    shown = tokens[1].digest
    kept = renewed(tokens, token(CURRENT, "new"), UNTIL, shown)
    expected = [*tokens[:2], *tokens[-KEPT_UNUSED:], token(CURRENT, "new")]
    assert [one.digest for one in kept] == [one.digest for one in expected]


def test_settled() -> None:
    """The first use of the current token spends A and ends the previous ones; what was sent stays."""
    tokens = (token(A), token(PENDING), token(PREVIOUS), token(CURRENT))
    assert settled(tokens) == (token(A, used=True), token(PENDING), token(CURRENT, used=True))


def test_unregistered() -> None:
    """After an unregistration nothing opens anything but A, which does so for another day."""
    tokens = (token(A, used=True), token(PENDING), token(PREVIOUS), token(CURRENT))
    assert unregistered(tokens, UNTIL) == (evolve(token(A), expires=UNTIL),)


def test_ends() -> None:
    """A token ends when it is said to, or never."""
    tokens = expiring((token(A), token(CURRENT)), token(A).digest, UNTIL)
    assert [one.expires for one in tokens] == [UNTIL, None]
    assert valid(tokens, UNTIL - timedelta(seconds=1)) == tokens
    assert valid(tokens, UNTIL) == tokens[1:]
    assert of_kind(tokens, CURRENT, PENDING) == tokens[1:]
