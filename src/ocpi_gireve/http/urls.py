"""Which URLs may be called, and which addresses may be connected to; opens nothing itself.

A partner hands out the URLs that we call with its token: in its credentials, versions and endpoints, in
`Link` and `Location`, as `response_url`. Each goes through `UrlPolicy.check()`, and the address behind its
name through `UrlPolicy.address_allowed()` at the moment of connecting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import unquote

from attrs import field, frozen
from yarl import URL

from ..errors import UrlRefused

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_DEFAULT_PORTS = {"https": 443, "http": 80}
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(\[[^\[\]@]*\]|[^\[\]:@]+)(?::([0-9]{0,5}))?", re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
# The last label of a name that the operating system's resolver may take for an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
# What may stand in a request line as it is (RFC 3986, 3.3 and 3.4).
_READY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)

# From the IANA special-purpose address registries. `ipaddress.is_global` is no substitute: it is true for
# multicast and NAT64, and its answers differ between releases of Python.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")


@frozen(kw_only=True)
class Origin:
    """Scheme, host and port, so written that two origins are the same exactly when they compare equal.

    Make it with `origin_of()`.
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (
            "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        )


def origin_of(url: str) -> Origin:
    """The origin of an absolute http or https URL: ``https://h:443`` and ``https://H.`` are ``https://h``.

    Raises:
        UrlRefused: there is none, or the URL is written in a way that hides it.
    """
    return _parse(url, "URL")[0]


def same_place(url: str, endpoint: str) -> bool:
    """Whether a URL lies at an endpoint or below it: same origin, same path up to a whole segment.

    It decides whether the next page of a list (``Link: <...>; rel="next"``) may be asked for with our token.
    """
    try:
        origin, rest = _parse(url, "URL")
        home, home_rest = _parse(endpoint, "URL")
    except UrlRefused:
        return False
    prefix = _segments(home_rest)
    while prefix and not prefix[-1]:
        prefix.pop()
    return origin == home and _segments(rest)[: len(prefix)] == prefix


def _origins(origins: Iterable[Origin | str] | None) -> frozenset[Origin] | None:
    if origins is None:
        return None
    return frozenset(origin_of(origin) if isinstance(origin, str) else origin for origin in origins)


def _networks(networks: Iterable[IpNetwork | str]) -> tuple[IpNetwork, ...]:
    return tuple(ip_network(network) for network in networks)


@frozen
class UrlPolicy:
    """Which URLs may be called on one connection. The default: https, public addresses, any host.

    Attributes:
        origins: The only origins that may be called, as `Origin` or as text; None for any.
        allow_http_loopback: Whether this machine may be called, and without TLS: for tests and simulators.
        allow_networks: Networks that may be called though they are not public, such as ``10.0.0.0/8``.
    """

    origins: frozenset[Origin] | None = field(default=None, converter=_origins)
    allow_http_loopback: bool = field(default=False, kw_only=True)
    allow_networks: tuple[IpNetwork, ...] = field(default=(), converter=_networks, kw_only=True)

    def check(self, url: str, source: str) -> URL:
        """Return the URL, its origin normalised and the rest as it was, if it may be called.

        Args:
            url: The URL as the partner wrote it. Its length is not looked at.
            source: Where it came from, for the error: ``credentials.url``, ``Link``, ``response_url``, ...

        Raises:
            UrlRefused: it may not be called.
        """
        origin, rest = _parse(url, source)
        address = _literal(origin.host)
        if origin.scheme == "http" and not (
            self.allow_http_loopback
            and (origin.host == "localhost" if address is None else _is_loopback(address))
        ):
            raise UrlRefused(source, f"{origin} is not https")
        if address is not None and not self._is_configured(address):
            raise UrlRefused(source, f"{origin} names an address instead of a host")
        if self.origins is not None and origin not in self.origins:
            raise UrlRefused(source, f"{origin} is not an origin of this connection")
        if not rest.startswith("/"):
            rest = f"/{rest}"
        if not _READY.fullmatch(rest):
            rest = URL(f"{origin}{rest}").raw_path_qs
        # Composed from the parts that were judged, so that no other reading of the text can matter.
        return URL(f"{origin}{rest}", encoded=True)

    def address_allowed(self, address: IpAddress) -> bool:
        """Whether this address may be connected to: public unicast, or what the policy adds to it.

        An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, Teredo) is judged, for that is where
        packets go.
        """
        return self._is_configured(address) or _is_public(address)

    def _is_configured(self, address: IpAddress) -> bool:
        address = _unmapped(address)
        return (self.allow_http_loopback and _is_loopback(address)) or any(
            address in network for network in self.allow_networks
        )


def _parse(url: str, source: str) -> tuple[Origin, str]:
    """Take an absolute URL apart, into origin and rest; refuse what two readers could read differently."""
    if "\\" in url or not url.isprintable():
        raise UrlRefused(source, "it holds a backslash, or a character that cannot be seen")
    found = _URL.fullmatch(url)
    if found is None:
        raise UrlRefused(source, "it is not an absolute https URL")
    scheme, authority, rest, fragment = found.groups()
    if "@" in authority:
        raise UrlRefused(source, "it holds a user name or password")
    if fragment is not None:
        raise UrlRefused(source, "it has a fragment")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise UrlRefused(source, "its host and port cannot be read")
    scheme = scheme.lower()
    port = int(parts[2]) if parts[2] else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise UrlRefused(source, "its port does not exist")
    return Origin(scheme=scheme, host=_host(parts[1], source), port=port), rest


def _host(host: str, source: str) -> str:
    """A host as it is compared and looked up: lower case, ASCII, without the root's dot."""
    if host.startswith("["):
        try:
            address = IPv6Address(host[1:-1])
        except ValueError:
            raise UrlRefused(source, "its host is not an IPv6 address") from None
        if address.scope_id is not None:
            raise UrlRefused(source, "its host is an address of one network interface")
        return str(address)
    if not host.isascii():
        try:
            host = URL.build(scheme="https", host=host).raw_host or ""
        except ValueError:
            raise UrlRefused(source, "its host is not an internationalised name") from None
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused(source, "its host is not a host name")
    if _NUMBER.fullmatch(labels[-1]):
        # `0x7f000001`, `017700000001`, `2130706433` and `127.1` all reach 127.0.0.1.
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise UrlRefused(source, "its host is an address in an unusual spelling") from None
    return host


def _literal(host: str) -> IpAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _segments(rest: str) -> list[str]:
    """The segments of a path, without those that only walk, however they are encoded."""
    segments: list[str] = []
    for segment in re.split(r"[/\\]", unquote(rest.partition("?")[0]))[1:]:
        # Some servers cut parameters off before they walk: `..;x=1`.
        step = segment.partition(";")[0]
        if step == "..":
            del segments[-1:]
        elif step != ".":
            segments.append(segment)
    return segments


def _unmapped(address: IpAddress) -> IpAddress:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_loopback(address: IpAddress) -> bool:
    return _unmapped(address).is_loopback


def _is_public(address: IpAddress) -> bool:
    address = _unmapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address in _NAT64:
        return _is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address.sixtofour is not None:
        return _is_public(address.sixtofour)
    if address.teredo is not None:
        return all(_is_public(inner) for inner in address.teredo)
    return address in _UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)
