"""Pins of TLS client certificates; decides nothing about them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from multidict import CIMultiDict

KeyFromProxy: TypeAlias = Callable[[CIMultiDict[str]], str]
"""Returns the pin of the key that a client showed to the proxy in front, or an empty text.

The proxy must verify the certificate, and remove the header it uses from what clients send.
"""


@lru_cache(maxsize=256)
def key_pin(certificate: bytes) -> str:
    """Return the pin of a certificate's public key: the SHA-256 of its SubjectPublicKeyInfo, in Base64.

    A renewed certificate with the same key has the same pin. ``openssl x509 -in client.pem -pubkey -noout |
    openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`` prints it. (RFC 7469, 2.4)

    Args:
        certificate: The certificate in DER, as `ssl.SSLSocket.getpeercert` gives it.

    Raises:
        ValueError: it is no certificate.
    """
    from cryptography import x509  # noqa: PLC0415 - loaded by those that ask for client certificates
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - too

    key = x509.load_der_x509_certificate(certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()
