"""Client certificates that were good once: expired, and revoked by a list that the host trusts."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ocpi_gireve.errors import NoAnswer, NotSent
from ocpi_gireve.http import AiohttpTransport, HttpServer, UrlPolicy, aiohttp_app
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.http.support import AUTHORITY, client_tls, load_certificate, load_trust, server_tls

NAME = "partner.example.com"
GOOD, REVOKED = AUTHORITY.issue_cert(NAME), AUTHORITY.issue_cert(NAME)
EXPIRED = AUTHORITY.issue_cert(NAME, not_after=datetime(2001, 1, 1, tzinfo=UTC))


def revocations(*leaves: trustme.LeafCert) -> bytes:
    """The authority's list of what it revoked."""
    now = datetime.now(UTC)
    issuer = x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes())
    made = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    made = made.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=1))
    for leaf in leaves:
        number = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number
        one = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now).build()
        made = made.add_revoked_certificate(one)
    key = load_pem_private_key(AUTHORITY.private_key_pem.bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


def asking(crl: Path) -> ssl.SSLContext:
    """The TLS of a server that requires a certificate which is not on this list."""
    context = server_tls("localhost")
    load_trust(context)
    context.load_verify_locations(crl)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize(("leaf", "taken"), [(GOOD, True), (REVOKED, False), (EXPIRED, False)])
async def test_certificate(tmp_path: Path, leaf: trustme.LeafCert, taken: bool) -> None:
    """A request whose client shows a certificate that has ended, or was revoked, reaches nobody."""
    reached: list[str] = []

    async def serve(request: HttpRequest) -> HttpResponse:
        reached.append(request.client_key)
        return HttpResponse(status=200)

    crl = tmp_path / "revoked.pem"
    crl.write_bytes(revocations(REVOKED))
    context = client_tls()
    load_certificate(context, leaf)
    transport = AiohttpTransport(UrlPolicy(allow_networks=("127.0.0.0/8",)), ssl=context)
    async with HttpServer(aiohttp_app(serve), ssl=asking(crl)) as server:
        request = HttpRequest(method="GET", url=f"https://localhost:{server.port}/ocpi/versions")
        try:
            assert (await transport.send(request, timeout=5.0)).status == 200
        except (NoAnswer, NotSent):
            assert not taken
        finally:
            await transport.close()
    assert len(reached) == taken
