from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, ip_address

import pytest
from multidict import CIMultiDict

from ocpi_gireve.errors import NoAnswer, NotSent, UrlRefused
from ocpi_gireve.http import AiohttpTransport, Origin, UrlPolicy, origin_of, same_place
from ocpi_gireve.transport import HttpRequest

Opened = Callable[[AiohttpTransport], AiohttpTransport]

HUB = "hub.example"
# Every way that these tests know to write an address that is not public, loopback above all.
ADDRESSES = (
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "0000177.0.0.01",
    "127.0.0.0x1",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.168.1.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::80ff:fffe]",
    "[::1%25lo]",
    "[fe80::1]",
    "[fc00::1]",
    "[v1.1]",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
)
# Every way to lead from a URL that looks right, or looks like nothing, to such an address.
SHAPES = (
    "https://{host}:{port}/ocpi",
    "https://{host}/ocpi",
    "http://{host}:{port}/ocpi",
    "HTTP://{host}:{port}/ocpi",
    "https://hub.example@{host}:{port}/",
    "https://hub.example:443@{host}:{port}/",
    "https://@{host}:{port}/",
    "https://{host}:{port}\\@hub.example/",
    "https://{host}:{port}#@hub.example/",
    "https://{host}:{port}\t/",
    "https://\t{host}:{port}/",
    "ht\ntps://{host}:{port}/",
    " https://{host}:{port}/",
    "https:\\\\{host}:{port}\\",
    "//{host}:{port}/",
    "https:{host}:{port}/",
    "https:/{host}:{port}/",
    "https:///{host}:{port}/",
    "{host}:{port}",
    "/{host}:{port}/",
    "ftp://{host}:{port}/",
    "file://{host}/etc/passwd",
    "gopher://{host}:{port}/",
    "ws://{host}:{port}/",
    "wss://{host}:{port}/",
    "unix://{host}/",
    "view-source:https://{host}:{port}/",
)
# Names that a look at the text may take for the hub's.
LOOKALIKES = (
    "https://hub.example.evil.example/",
    "https://hub.example:444/",
    "https://hub.example:80/",
    "https://evilhub.example/",
    "https://hub.example../",
    "https://hub..example/",
    "https://.hub.example/",
    "https://hub.example:443:443/",
    "https://hub.example:４４３/",
    "https://hub.example:+443/",
    "https://hub.example:0/",
    "https://hub.example:65979/",
    "https://hub.example%2eevil.example/",
    "https://hub%2eexample/",
    "https://hub.example%00.evil.example/",
    "https://hub.example,evil.example/",
    "https://hub.example evil.example/",
    "https://hub.example;evil.example/",
    "https://hub.ex\u00adample\u2060/",
    "https://hub.example／evil.example/",
    "https://hub.example？evil.example/",
    "https://hub.example＠evil.example/",
    "https://℀.hub.example/",
    "https://hüb.example/",
    "https://hub.еxample/",
    "http://hub.example/",
    "http://hub.example:443/",
    "https://user@hub.example/",
    "https://user:password@hub.example/",
    "https://hub.example/#fragment",
    "https://hub.example/\r\nX-Header: x",
    "https://hub.example/a\\b",
    "https://hub.example\\/",
    "https://",
    "https:",
    "https://:443/",
    "https://[hub.example]/",
    "",
)


def corpus(port: int) -> list[str]:
    """Every URL of the tables above."""
    return [shape.format(host=host, port=port) for host in ADDRESSES for shape in SHAPES] + list(LOOKALIKES)


@asynccontextmanager
async def canary() -> AsyncGenerator[tuple[int, list[str]]]:
    """A port of this machine, over IPv4 and IPv6 if it has both, and the connections that arrived there."""
    arrived: list[str] = []

    async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(str(writer.get_extra_info("peername")))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        try:
            second = await asyncio.start_server(note, "::1", port)
        except OSError:
            yield port, arrived
            return
        async with second:
            yield port, arrived


async def refusal(transport: AiohttpTransport, url: str) -> str:
    """Why the transport refuses to call this URL."""
    request = HttpRequest(method="GET", url=url, headers=CIMultiDict(Authorization="Token canary"))
    with pytest.raises(UrlRefused) as caught:
        await transport.send(request, timeout=1.0)
    return str(caught.value)


@pytest.mark.parametrize("policy", [UrlPolicy(), UrlPolicy([f"https://{HUB}"])], ids=["any", "pinned"])
async def test_canary_sees_no_connection(opened: Opened, policy: UrlPolicy) -> None:
    """No spelling of a URL makes the transport connect to an address that is not public."""
    transport = opened(AiohttpTransport(policy))
    async with canary() as (port, arrived):
        urls = [url for url in corpus(port) if url not in LOOKALIKES]
        assert len(urls) >= 200
        for url in urls:
            await refusal(transport, url)
        assert arrived == []


async def test_canary_can_be_reached(opened: Opened) -> None:
    """The canary hears a connection that is allowed, so its silence means something."""
    transport = opened(AiohttpTransport(UrlPolicy(allow_http_loopback=True)))
    async with canary() as (port, arrived):
        with pytest.raises(NoAnswer):
            await transport.send(HttpRequest(method="GET", url=f"http://127.0.0.1:{port}/"), timeout=1.0)
        assert len(arrived) == 1


def test_pinned_policy_refuses() -> None:
    """A policy with the hub's origin refuses every URL that leads elsewhere or is written strangely."""
    policy = UrlPolicy([f"https://{HUB}"])
    for url in corpus(443):
        with pytest.raises(UrlRefused) as caught:
            pytest.fail(f"allowed: {url!r} as {policy.check(url, 'Link')}")
        assert str(caught.value).startswith("Link: ")


def test_refusal_shows_no_secret() -> None:
    """The error names the origin at most: no user, password, path or query."""
    for url in (
        "https://user:canary@hub.example/",
        "https://evil.example/canary?canary#canary",
        "http://evil.example/canary?canary",
        "https://127.0.0.1/canary?canary",
        "canary",
        "https://canary\u0000.example/",
    ):
        with pytest.raises(UrlRefused) as caught:
            UrlPolicy([f"https://{HUB}"]).check(url, "response_url")
        assert "canary" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://hub.example", "https://hub.example/"),
        ("https://hub.example:443/ocpi", "https://hub.example/ocpi"),
        ("https://hub.example:/ocpi", "https://hub.example/ocpi"),
        ("HTTPS://HUB.Example./ocpi", "https://hub.example/ocpi"),
        ("https://hub.example?a=b", "https://hub.example/?a=b"),
        ("https://ⓗub.example/", "https://hub.example/"),
        (
            "https://hub.example/a%2Fb/%41/../c?x=%20+&y=a:b@c",
            "https://hub.example/a%2Fb/%41/../c?x=%20+&y=a:b@c",
        ),
        (
            "https://hub.example/Café?from=2020-01-01 00:00",
            "https://hub.example/Caf%C3%A9?from=2020-01-01+00:00",
        ),
        ("https://hub.example/100%", "https://hub.example/100%25"),
    ],
)
def test_url_is_called_as_written(url: str, called: str) -> None:
    """The origin is normalised; the rest stays as the partner wrote it, unless no request could hold it."""
    assert str(UrlPolicy([f"https://{HUB}"]).check(url, "Link")) == called


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://h:443", Origin(scheme="https", host="h", port=443)),
        ("https://H./path", Origin(scheme="https", host="h", port=443)),
        ("http://h", Origin(scheme="http", host="h", port=80)),
        ("https://h:8443/", Origin(scheme="https", host="h", port=8443)),
        ("https://bücher.example/", Origin(scheme="https", host="xn--bcher-kva.example", port=443)),
        ("https://XN--BCHER-KVA.example/", Origin(scheme="https", host="xn--bcher-kva.example", port=443)),
        ("https://[::0001]:443/", Origin(scheme="https", host="::1", port=443)),
    ],
)
def test_origin_is_normalised(url: str, origin: Origin) -> None:
    """Two spellings of one origin compare equal, and an origin read back from its text is the same."""
    assert origin_of(url) == origin
    assert origin_of(str(origin)) == origin


def test_origin_of_nothing() -> None:
    """What is not an absolute URL has no origin."""
    with pytest.raises(UrlRefused, match="URL: it is not an absolute https URL"):
        origin_of("hub.example")


def test_loopback_policy() -> None:
    """A policy for tests allows http to this machine, by address or as localhost, and no other http."""
    policy = UrlPolicy(allow_http_loopback=True)
    for url in ("http://127.0.0.1:8080/", "http://localhost/", "http://[::1]:8080/", "https://127.0.0.1/"):
        assert str(policy.check(url, "test")) == url
    for url in ("http://hub.example/", "http://10.0.0.1/", "http://127.1/", "https://10.0.0.1/"):
        with pytest.raises(UrlRefused):
            policy.check(url, "test")


def test_network_policy() -> None:
    """A configured network may be called by address over https, and not over http."""
    policy = UrlPolicy(allow_networks=["10.0.0.0/8", "fd00::/8"])
    assert policy.allow_networks[0] == IPv4Network("10.0.0.0/8")
    for url in ("https://10.1.2.3/", "https://[fd00::1]/"):
        assert str(policy.check(url, "test")) == url
    assert policy.check("https://[::ffff:10.0.0.1]/", "test").port == 443
    for url in ("http://10.1.2.3/", "https://11.1.2.3/", "https://127.0.0.1/", "https://012.0.0.1/"):
        with pytest.raises(UrlRefused):
            policy.check(url, "test")


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "185.60.216.35", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::"],
)
def test_public_address(address: str) -> None:
    """A public unicast address may be connected to, also where it is wrapped in another."""
    assert UrlPolicy().address_allowed(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
        ),
        *(
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
        ),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *(
            "::",
            "::1",
            "::7f00:1",
            "fe80::1",
            "fe80::1%eth0",
            "fec0::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "100::1",
        ),
        *("2001:db8::1", "2001:10::1", "3fff::1", "64:ff9b:1::1", "4000::1", "5f00::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        *("2002:c0a8:1::1", "2001:0:7f00:1::fefe:fefe", "2001:0:101:101::80ff:fffe"),
    ],
)
def test_address_that_is_not_public(address: str) -> None:
    """Private, reserved, multicast and documentation addresses are refused, also where they are wrapped."""
    assert not UrlPolicy().address_allowed(ip_address(address))


def test_configured_addresses() -> None:
    """Loopback and configured networks are allowed, in every wrapping that leads there directly."""
    loopback, network = UrlPolicy(allow_http_loopback=True), UrlPolicy(allow_networks=["10.0.0.0/8"])
    assert [loopback.address_allowed(ip_address(ip)) for ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == [
        True
    ] * 3
    assert [network.address_allowed(ip_address(ip)) for ip in ("10.9.9.9", "::ffff:10.9.9.9")] == [True] * 2
    for ip in ("10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "192.168.0.1"):
        assert not loopback.address_allowed(ip_address(ip))
    for ip in ("127.0.0.1", "11.0.0.1", "192.168.0.1"):
        assert network.address_allowed(ip_address(ip)) == (ip == "11.0.0.1")


ENDPOINT = "https://hub.example/ocpi/cpo/2.2.1/locations"


@pytest.mark.parametrize(
    "url",
    [
        ENDPOINT,
        f"{ENDPOINT}?offset=50&limit=50",
        f"{ENDPOINT}/?offset=50",
        f"{ENDPOINT}/page/2",
        "https://HUB.example:443/ocpi/cpo/2.2.1/locations?offset=50",
        "https://hub.example/ocpi/cpo/2%2e2.1/locations?offset=50",
        "https://hub.example/ocpi/./cpo/x/../2.2.1/locations?next=/../..",
    ],
)
@pytest.mark.parametrize("endpoint", [ENDPOINT, f"{ENDPOINT}/", f"{ENDPOINT}?a=b"])
def test_same_place(url: str, endpoint: str) -> None:
    """A next page lies at the endpoint or below it."""
    assert same_place(url, endpoint)


@pytest.mark.parametrize(
    "url",
    [
        "https://hub.example/ocpi/cpo/2.2.1/locationsX?offset=50",
        "https://hub.example/ocpi/cpo/2.2.1?offset=50",
        "https://hub.example/ocpi/cpo/2.2.1/tokens",
        "https://hub.example/ocpi/cpo/2.2.1/Locations",
        f"{ENDPOINT}/../tokens",
        f"{ENDPOINT}/%2e%2e/tokens",
        f"{ENDPOINT}/.%2E/tokens",
        f"{ENDPOINT}/..%2ftokens",
        f"{ENDPOINT}/..%5ctokens",
        f"{ENDPOINT}/..;a=b/tokens",
        "https://hub.example/?/ocpi/cpo/2.2.1/locations",
        "https://hub.example:444/ocpi/cpo/2.2.1/locations",
        "http://hub.example/ocpi/cpo/2.2.1/locations",
        "https://evil.example/ocpi/cpo/2.2.1/locations",
        "https://a@hub.example/ocpi/cpo/2.2.1/locations",
        "//hub.example/ocpi/cpo/2.2.1/locations",
        "/ocpi/cpo/2.2.1/locations?offset=50",
        "?offset=50",
        "",
    ],
)
def test_another_place(url: str) -> None:
    """A next page elsewhere is not followed, even where it is elsewhere only as some servers read paths."""
    assert not same_place(url, ENDPOINT)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::1"], ["169.254.169.254", "10.0.0.1"], ["::ffff:127.0.0.1", "127.0.0.1"]]
)
async def test_name_that_leads_inside(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """A host name is judged by the addresses it has at the moment of connecting."""
    transport = opened(AiohttpTransport(UrlPolicy([f"https://{HUB}"])))
    async with canary() as (port, arrived):
        resolve_to(monkeypatch, port, addresses)
        assert await refusal(transport, f"https://{HUB}/") == f"request: no address of {HUB} may be called"
        assert arrived == []


async def test_one_address_of_several(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only some addresses of a name are allowed, those alone are tried."""
    policy = UrlPolicy(allow_networks=["127.0.0.2/32"])
    transport = opened(AiohttpTransport(policy))
    async with canary() as (port, arrived):
        resolve_to(monkeypatch, port, ["127.0.0.1", "127.0.0.2"])
        with pytest.raises(NotSent):
            await transport.send(HttpRequest(method="GET", url=f"https://{HUB}/"), timeout=1.0)
        assert arrived == []


async def test_plain_localhost_elsewhere(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A localhost that is not this machine gets no plain request, whatever the policy allows besides."""
    policy = UrlPolicy(allow_http_loopback=True, allow_networks=["10.0.0.0/8"])
    transport = opened(AiohttpTransport(policy))
    resolve_to(monkeypatch, 80, ["10.0.0.1", "1.1.1.1"])
    assert await refusal(transport, "http://localhost/") == "request: no address of localhost may be called"


def resolve_to(monkeypatch: pytest.MonkeyPatch, port: int, addresses: list[str]) -> None:
    """Let every host name have these addresses, and every connection go to this port."""

    async def resolve(*_: object, **__: object) -> list[object]:
        await asyncio.sleep(0)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (ip, port, 0, 0))
            if ":" in ip
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in addresses
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
