"""Client certificates in both directions, over real sockets: who shows none, or another, is turned away."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trustme
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDict

from ocpi_gireve import BILATERAL, Party, Platform, Role
from ocpi_gireve.errors import NoAnswer, NotSent, RegistrationFailed, Unauthorized
from ocpi_gireve.http import AiohttpTransport, HttpServer, UrlPolicy, aiohttp_app, key_pin
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.http.support import AUTHORITY, client_tls, load_certificate, load_trust, server_tls
from tests.support import TOKEN_A

HERE = UrlPolicy(allow_networks=("127.0.0.0/8",))
LEAF = AUTHORITY.issue_cert("partner.example.com")
OTHER = AUTHORITY.issue_cert("partner.example.com")
STRANGER = trustme.CA().issue_cert("partner.example.com")


def pin_of(leaf: trustme.LeafCert) -> str:
    """The pin of a certificate's key, worked out here."""
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def asking_tls(mode: ssl.VerifyMode) -> ssl.SSLContext:
    """The TLS of a server that asks its clients for a certificate."""
    context = server_tls("localhost")
    load_trust(context)
    context.verify_mode = mode
    return context


def showing_tls(leaf: trustme.LeafCert | None) -> ssl.SSLContext:
    """The TLS of a client that shows this certificate."""
    context = client_tls()
    if leaf is not None:
        load_certificate(context, leaf)
    return context


@asynccontextmanager
async def a_transport(leaf: trustme.LeafCert | None) -> AsyncGenerator[AiohttpTransport]:
    """A client with a certificate, or without one."""
    transport = AiohttpTransport(HERE, ssl=showing_tls(leaf))
    try:
        yield transport
    finally:
        await transport.close()


async def arrived(leaf: trustme.LeafCert | None, mode: ssl.VerifyMode) -> list[str]:
    """Send one request, and return the keys that the server saw."""
    keys: list[str] = []

    async def serve(request: HttpRequest) -> HttpResponse:
        keys.append(request.client_key)
        return HttpResponse(status=200)

    async with HttpServer(aiohttp_app(serve), ssl=asking_tls(mode)) as server, a_transport(leaf) as transport:
        url = f"https://localhost:{server.port}/"
        await transport.send(HttpRequest(method="GET", url=url), timeout=5.0)
    return keys


async def test_key_arrives() -> None:
    """A request names the key that its client proved to hold, and none where the client showed none."""
    assert await arrived(LEAF, ssl.CERT_REQUIRED) == [pin_of(LEAF)]
    assert await arrived(None, ssl.CERT_OPTIONAL) == [""]


@pytest.mark.parametrize("leaf", [None, STRANGER])
async def test_certificate_is_required(leaf: trustme.LeafCert | None) -> None:
    """A server that requires certificates answers nobody without one that it trusts."""
    with pytest.raises((NoAnswer, NotSent)):
        await arrived(leaf, ssl.CERT_REQUIRED)


def test_pin_outlives_a_certificate() -> None:
    """The pin is that of the key: two keys differ in it, and what is no certificate has none."""
    der = ssl.PEM_cert_to_DER_cert(LEAF.cert_chain_pems[0].bytes().decode())
    assert key_pin(der) == pin_of(LEAF) != pin_of(OTHER)
    with pytest.raises(ValueError, match="parsing"):
        key_pin(b"no certificate")


@asynccontextmanager
async def two_platforms(leaf: trustme.LeafCert | None) -> AsyncGenerator[tuple[Platform, Platform]]:
    """A CPO that asks for certificates, and an eMSP that shows this one."""

    async def to_cpo(request: HttpRequest) -> HttpResponse:
        return await cpo.handle(request)

    async def to_emsp(request: HttpRequest) -> HttpResponse:
        return await emsp.handle(request)

    async with (
        HttpServer(aiohttp_app(to_cpo), ssl=asking_tls(ssl.CERT_OPTIONAL)) as a,
        HttpServer(aiohttp_app(to_emsp), ssl=server_tls("localhost")) as b,
    ):
        cpo = Platform(
            public_url=f"https://localhost:{a.port}/ocpi",
            parties=[Party("FR", "CPO", Role.CPO, name="A CPO")],
            handlers=[],
            tls=lambda _: client_tls(),
        )
        emsp = Platform(
            public_url=f"https://localhost:{b.port}/ocpi",
            parties=[Party("FR", "EMP", Role.EMSP, name="An eMSP")],
            handlers=[],
            tls=lambda _: showing_tls(leaf),
        )
        async with cpo, emsp:
            yield cpo, emsp


async def register(leaf: trustme.LeafCert | None) -> None:
    """Let the eMSP register with a CPO that pins the key of `LEAF`."""
    here = evolve(BILATERAL, allow_networks=("127.0.0.0/8",))
    async with two_platforms(leaf) as (cpo, emsp):
        pinned = evolve(here, client_keys=frozenset({pin_of(LEAF)}))
        token = await cpo.invite(pinned, origins=emsp.public_url.removesuffix("/ocpi"), token_a=TOKEN_A)
        await emsp.register(here, cpo.versions_url, token)


async def test_pinned_partner_registers() -> None:
    """A partner that shows its pinned key is known by token and key together."""
    await register(LEAF)


@pytest.mark.parametrize("leaf", [None, OTHER])
async def test_token_without_its_key(leaf: trustme.LeafCert | None, caplog: pytest.LogCaptureFixture) -> None:
    """The right token with another key, or with none, opens nothing, and the log says whose it was."""
    with pytest.raises(RegistrationFailed) as failed:
        await register(leaf)
    assert isinstance(failed.value.__cause__, Unauthorized)
    assert "bilateral: its token came without its key in TLS; refused" in caplog.messages
    assert TOKEN_A not in caplog.text


async def test_key_from_a_proxy() -> None:
    """Where a proxy ends TLS, the key is what the host reads of the proxy's header."""
    keys: list[str] = []

    async def serve(request: HttpRequest) -> HttpResponse:
        keys.append(request.client_key)
        return HttpResponse(status=200)

    def key_from_proxy(headers: CIMultiDict[str]) -> str:
        return headers.get("X-Client-Key", "")

    local = UrlPolicy(allow_http_loopback=True)
    async with HttpServer(aiohttp_app(serve, key_from_proxy=key_from_proxy)) as server:
        transport = AiohttpTransport(local)
        headers = CIMultiDict({"X-Client-Key": "pin"})
        await transport.send(HttpRequest(method="GET", url=f"{server.url}/", headers=headers), timeout=5.0)
        await transport.close()
    assert keys == ["pin"]
