"""What may be called, read by other parsers of URLs: no two readings of one text lead apart.

URLs are made at random of the pieces that hostile ones consist of. `OCPI_GIREVE_URLS` is how many.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from urllib.parse import urlsplit

import pytest
from urllib3.util import parse_url

from ocpi_gireve.errors import UrlRefused
from ocpi_gireve.http import UrlPolicy
from ocpi_gireve.pagination import next_link
from tests.http.test_urls import ADDRESSES, LOOKALIKES, SHAPES

URLS = int(os.environ.get("OCPI_GIREVE_URLS", "20000"))
HUB = "https://hub.example"
PIECES = (
    *(shape.partition("{host}")[0] for shape in SHAPES),
    *(shape.partition("{port}")[2] for shape in SHAPES),
    *ADDRESSES,
    *LOOKALIKES,
    *"/\\@:#?&%=.,;[]{}<>|^`~!$'\"()*+- \t\r\n\0\x0b\x7f\x85\xa0\xad",
    *("//", "/..", "%2e", "%2f", "%40", "%00", "%5c", "%", "::", ":443", ":0443", ":444", "//evil.example"),
    *(
        "evil.example",
        "hub.example",
        "HUB.EXAMPLE",
        "hub.example.",
        "xn--",
        "ⓗ",
        "。",
        "．",
        "\u200b",
        "\u212a",
    ),
    *("https:", "HTTPS:", "http:", "https", "javascript:", "user", "user:password@", "\ud800", "\U0001f600"),
)


def made(chance: Random) -> str:
    """Make a URL: the hub's, or a hostile one, with pieces put in, at times in the place of others."""
    url = chance.choice((f"{HUB}/ocpi/2.2.1/locations?offset=1", f"{HUB}/", HUB, chance.choice(LOOKALIKES)))
    for _ in range(chance.randrange(4)):
        begin = chance.randrange(len(url) + 1)
        end = begin + chance.choice((0, 0, 0, 1, 2))
        url = url[:begin] + chance.choice(PIECES) + url[end:]
    return url


def standard(url: str) -> tuple[str, str, str]:
    """Scheme, host and user, as the standard library reads them."""
    parts = urlsplit(url)
    return parts.scheme, f"{parts.hostname}:{parts.port or 443}", parts.username or ""


def of_requests(url: str) -> tuple[str, str, str]:
    """The same, as the most used HTTP client reads them."""
    parts = parse_url(url)
    return parts.scheme or "", f"{parts.host}:{parts.port or 443}", parts.auth or ""


def of_browsers(url: str) -> tuple[str, str, str]:
    """The same, as browsers and node read them."""
    ada_url = pytest.importorskip("ada_url", reason="browsers' reading of URLs is not installed: ada-url")
    parts = ada_url.URL(url)
    return parts.protocol.rstrip(":"), f"{parts.hostname}:{parts.port or 443}", parts.username


@pytest.mark.parametrize("reading", [standard, of_requests, of_browsers])
def test_no_reading_leads_elsewhere(reading: Callable[[str], tuple[str, str, str]]) -> None:
    """Whatever the URL, what is called instead of it is the hub's for every parser."""
    policy, chance, called = UrlPolicy([HUB]), Random(7), 0
    for _ in range(URLS):
        url = made(chance)
        try:
            asked = str(policy.check(url, "Link"))
        except UrlRefused:
            continue
        called += 1
        assert asked.isascii()
        assert asked.isprintable()
        assert reading(asked) == ("https", "hub.example:443", ""), url
    assert URLS // 50 < called < URLS


def test_browsers_would_go_there_too() -> None:
    """What may be called is, as the partner wrote it, the hub's for browsers, too."""
    policy, chance, called = UrlPolicy([HUB]), Random(9), 0
    for _ in range(URLS):
        url = made(chance)
        try:
            policy.check(url, "Link")
        except UrlRefused:
            continue
        called += 1
        scheme, host, user = of_browsers(url)
        assert (scheme, host.replace(".:", ":"), user) == ("https", "hub.example:443", ""), url
    assert called > URLS // 50


def test_no_link_reads_otherwise() -> None:
    """A next page leads where the target of its Link says, and nothing else in the header counts."""
    policy, chance, called = UrlPolicy([HUB]), Random(8), 0
    for _ in range(URLS):
        url = made(chance)
        link = next_link(f'<{url}>; rel="next"; title="<https://evil.example>"')
        if link is None:
            continue
        assert link.url in url
        try:
            asked = str(policy.check(link.url, "Link"))
        except UrlRefused:
            continue
        called += 1
        assert standard(asked)[1] == "hub.example:443"
    assert called > URLS // 50
