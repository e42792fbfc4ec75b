"""Credentials tokens: minted, written into the Authorization header and read out of it."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpi_gireve.errors import Unauthorized
from ocpi_gireve.tokens import (
    TOKEN_LENGTH,
    TokenEncoding,
    authorization,
    given_token,
    is_token,
    mint_token,
    presented_tokens,
    token_digest,
)
from ocpi_gireve.types import Secret

BASE64, RAW, AUTO = TokenEncoding.BASE64, TokenEncoding.RAW, TokenEncoding.AUTO
tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)


def read(header: str, encoding: TokenEncoding) -> list[str]:
    """The tokens that one header may stand for; none where it is refused."""
    try:
        found = presented_tokens([header])
    except Unauthorized:
        return []
    return [found[one].reveal() for one in (BASE64, RAW) if one in found and encoding in (one, AUTO)]


def test_minted_token() -> None:
    """A minted token is 43 printable characters, within OCPI's 64, and never the same twice."""
    minted = {mint_token().reveal() for _ in range(1000)}
    assert len(minted) == 1000
    assert all(len(token) == TOKEN_LENGTH and is_token(Secret(token)) for token in minted)


def test_no_token_looks_like_an_option() -> None:
    """A minted token can be given on a command line: none starts with a dash."""
    assert not any(mint_token().reveal().startswith("-") for _ in range(2000))


@given(tokens)
def test_what_is_written_is_read(token: str) -> None:
    """Every token that OCPI allows is read as it was written, in both encodings."""
    for encoding in (BASE64, RAW):
        assert read(authorization(Secret(token), encoding), encoding) == [token]
        assert token in read(authorization(Secret(token), encoding), AUTO)


def test_digest() -> None:
    """A token is looked up by the SHA-256 of its bytes."""
    assert token_digest(Secret("example-token")) == hashlib.sha256(b"example-token").digest()


@pytest.mark.parametrize(
    "sample", ["ZWJmM2IzOTktNzc5Zi00NDk3LTliOWQtYWM2YWQzY2M0NGQyCg==", "ZXhhbXBsZS10b2tlbgo="]
)
def test_samples_of_the_specification(sample: str) -> None:
    """The samples in the text encode a line feed after the token; it is not a part of it. (transport)"""
    assert read(f"Token {sample}", BASE64) == [base64.b64decode(sample).decode().removesuffix("\n")]


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN"])
def test_scheme_ignores_case(scheme: str) -> None:
    """The scheme is compared without case, as HTTP says."""
    assert read(f"{scheme} ZXhhbXBsZS10b2tlbg==", BASE64) == ["example-token"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Token",
        "Token ",
        "Token  ZXhhbXBsZS10b2tlbg==",
        " Token ZXhhbXBsZS10b2tlbg==",
        "Token ZXhhbXBsZS10b2tlbg== ",
        "Token ZXhhbXBsZS10b2tlbg==\n",
        "Token\tZXhhbXBsZS10b2tlbg==",
        "Bearer ZXhhbXBsZS10b2tlbg==",
        "Token ZXhhbXBsZS10b2tlbg",  # no padding
        "Token ZXhhbXBsZS10b2tlbh==",  # bits that say nothing are set
        "Token ZXhh-bXBsZS10b2tlbg==",
        "Token ZXhhbXBs,ZS10b2tlbg==",
        "Token ZXhhbXBsZSB0b2tlbg==",  # a blank in the token
        "Token CgoK",  # nothing but line feeds
        "Token w6nDqcOp",  # not ASCII
        "Token " + "QUFB" * 22,  # 66 characters
        "Token " + "A" * 600,
        "To\u212aen ZXhhbXBsZS10b2tlbg==",  # the Kelvin sign, which is a k without case
        "Token \u017fZXhhbXBsZS10b2tlbg",  # the long s, which is an s without case
        "Token \udc80ZXhhbXBsZS10b2tlbg==",
    ],
)
def test_strict_base64(header: str) -> None:
    """One token has one spelling: whatever else a lenient decoder would take is refused."""
    assert read(header, BASE64) == []


@pytest.mark.parametrize("token", ["example-token", "ZXhhbXBsZS10b2tlbg==", "~!#$%"])
def test_raw(token: str) -> None:
    """In 2.1.1 the parameter is the token itself."""
    assert read(f"Token {token}", RAW) == [token]


def test_auto() -> None:
    """Where the version is not known, the header may stand for the decoded text and for itself."""
    assert read("Token ZXhhbXBsZS10b2tlbg==", AUTO) == ["example-token", "ZXhhbXBsZS10b2tlbg=="]
    assert read("Token example-token", AUTO) == ["example-token"]


@pytest.mark.parametrize("headers", [[], ["Token ZQ==", "Token ZQ=="]])
def test_exactly_one_header(headers: list[str]) -> None:
    """No header, and several, are refused: a proxy might have read another one than we."""
    with pytest.raises(Unauthorized, match="expected one header"):
        presented_tokens(headers)


@pytest.mark.parametrize("text", ["", "a b", "abc\n", "é", "x" * 65])
def test_given_token(text: str) -> None:
    """A token A that could never be presented is refused at once, and not shown."""
    with pytest.raises(ValueError, match="a token has 1 to 64 printable ASCII characters") as refused:
        given_token(text)
    assert text not in str(refused.value) or len(text) < 2
    assert given_token("abc") == given_token(Secret("abc")) == Secret("abc")


@given(st.text(max_size=600), st.sampled_from(TokenEncoding))
def test_any_header(header: str, encoding: TokenEncoding) -> None:
    """Whatever stands in the header, the answer is tokens that OCPI allows, or 401."""
    for prefix in ("", "Token "):
        assert all(is_token(Secret(token)) for token in read(prefix + header, encoding))
