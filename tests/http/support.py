"""TLS for the tests of HTTP: an authority of their own, and the contexts of both sides."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import trustme

AUTHORITY = trustme.CA()


def load_certificate(context: ssl.SSLContext, leaf: trustme.LeafCert) -> None:
    """Let the context show this certificate."""
    with leaf.private_key_and_cert_chain_pem.tempfile() as file:
        context.load_cert_chain(file)


def load_trust(context: ssl.SSLContext) -> None:
    """Let the context trust the authority."""
    context.load_verify_locations(cadata=AUTHORITY.cert_pem.bytes().decode("ascii"))


def server_tls(*names: str, authority: trustme.CA = AUTHORITY, expired: bool = False) -> ssl.SSLContext:
    """The TLS of a server that says it has these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = datetime(2001, 1, 1, tzinfo=UTC) if expired else None
    load_certificate(context, authority.issue_cert(*names, not_after=end))
    return context


def client_tls() -> ssl.SSLContext:
    """The TLS of a client that trusts the authority."""
    context = ssl.create_default_context()
    load_trust(context)
    return context
