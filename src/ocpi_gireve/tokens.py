"""Credentials tokens: minting, digests and the Authorization header; knows no store and no connection."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Sequence
from enum import StrEnum

from .errors import Unauthorized
from .types import Secret

TOKEN_LENGTH = 43
"""Characters of a minted token: 256 bits, within the 64 that OCPI allows. (credentials chapter)"""

# ASCII: else the Kelvin sign would be a "k", and letters from elsewhere would be parts of a token.
_PARAMETER = re.compile(r"token ([!-~]+)", re.IGNORECASE | re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,64}")


class TokenEncoding(StrEnum):
    """How a token stands in the Authorization header."""

    BASE64 = "base64"
    """2.2.1: the Base64 of the token."""
    RAW = "raw"
    """2.1.1: the token itself."""
    AUTO = "auto"
    """Both are tried: where the version is not known yet, or a partner does not keep to its version."""


def mint_token() -> Secret:
    """Make a new token of 256 random bits in URL-safe characters.

    None starts with a dash, as one in 64 would: on a command line it would be taken for an option.
    """
    while (text := secrets.token_urlsafe(32)).startswith("-"):
        pass
    return Secret(text)


def given_token(text: str | Secret) -> Secret:
    """Return a token A that people exchanged.

    Raises:
        ValueError: it cannot stand in a header: it is not 1 to 64 printable ASCII characters without blanks.
    """
    token = text if isinstance(text, Secret) else Secret(text)
    if not is_token(token):
        raise ValueError("a token has 1 to 64 printable ASCII characters, and no blanks")
    return token


def is_token(token: Secret) -> bool:
    """Tell whether a text can be a credentials token. (credentials chapter, Credentials object)"""
    return _TOKEN.fullmatch(token.reveal()) is not None


def token_digest(token: Secret) -> bytes:
    """Return the SHA-256 under which a token is stored and looked up; tokens are random: it needs no salt."""
    return hashlib.sha256(token.reveal().encode()).digest()


def authorization(token: Secret, encoding: TokenEncoding) -> str:
    """Return the value of the Authorization header that presents a token."""
    text = token.reveal()
    if encoding is TokenEncoding.BASE64:
        text = base64.b64encode(text.encode()).decode()
    return f"Token {text}"


def _decoded(parameter: str) -> str | None:
    """Decode canonical Base64; several spellings of one token would be several ways past a check."""
    try:
        raw = base64.b64decode(parameter, validate=True)
    except binascii.Error:
        return None
    if base64.b64encode(raw).decode() != parameter:
        return None
    # Both samples of the specification encode the token with a line feed after it.
    text = raw.removesuffix(b"\n")
    return text.decode() if text.isascii() and _TOKEN.fullmatch(text.decode()) else None


def presented_tokens(headers: Sequence[str]) -> dict[TokenEncoding, Secret]:
    """Read the Authorization header into the token that it stands for in each encoding, where there is one.

    Args:
        headers: Every Authorization header of the request.

    Raises:
        Unauthorized: there is not exactly one header, or it is not ``Token <value>``; the text does not say
            which.
    """
    if len(headers) == 1 and len(headers[0]) <= 512:
        found = _PARAMETER.fullmatch(headers[0])
        if found:
            parameter = found[1]
            tokens: dict[TokenEncoding, Secret] = {}
            decoded = _decoded(parameter)
            if decoded is not None:
                tokens[TokenEncoding.BASE64] = Secret(decoded)
            if _TOKEN.fullmatch(parameter):
                tokens[TokenEncoding.RAW] = Secret(parameter)
            if tokens:
                return tokens
    raise Unauthorized
