"""What there is to know about a partner before the first message: values; knows no connection."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

from attrs import field, frozen, validators

from .tokens import TokenEncoding
from .types import PartyId

NextLink: TypeAlias = Literal["follow", "rebase"]

STREAMS: Mapping[str, str] = {
    "locations": "locations",
    "tariffs": "tariffs",
    "tokens": "tokens",
    "sessions": "charging",
    "cdrs": "charging",
}
"""Which uploads share a lane: a CDR never overtakes the last PUT of its session."""


@frozen(kw_only=True)
class Profile:
    """A kind of partner.

    Attributes:
        name: Its name; it is also the default id of a connection.
        hub: The party that messages are addressed to where no other is named; None for a direct partner.
        versions: The versions to speak with it, such as ``2.1.1``; None: the best that both speak.
        token_encoding: How tokens stand in its Authorization headers and in ours to it; None: as the version
            says. With ``AUTO`` it may write them either way, and we write them as the version says.
        no_update: The versions in which it takes no new credentials (PUT).
        registers_itself: The versions in which it begins and ends a registration, and takes neither from us
            (POST, DELETE).
        page_limits: The largest page, in objects, that is served to and asked of this partner, by version
            and module.
        default_page_limit: The same for the modules that `page_limits` does not name.
        timeout: Seconds that one exchange may take.
        retry_base: Seconds before the first retry of an upload; each further one waits twice as long.
        retry_cap: The longest wait between two attempts, in seconds; unless the partner asks for more.
        allow_http_loopback: Whether plain http is accepted from and to the loopback interface, to develop.
        allow_networks: Private networks whose addresses may be called, such as ``10.0.0.0/8``.
        client_keys: The pins of the keys one of which the partner must show in TLS, see
            `ocpi_gireve.http.key_pin`; empty: none is asked for.
        repeats: How often a GET is sent again that got no answer, or one that says "later" (HTTP 408, 425,
            429, 500, 502, 503, 504). Nothing but a GET ever is.
        repeat_base: Seconds before the first repetition; each further one waits twice as long.
        repeat_cap: The longest wait before a repetition, in seconds; a partner that asks for more gets none.
        next_link: Where the next page of a listing is asked for: ``follow`` its ``Link``, which must lie at
            the partner's endpoint, or ``rebase``: its query, at the endpoint that the partner registered. For
            partners whose links name another host.
        delta_range: The longest span of dates that a delta pull asks for at once; None: any.
        crawl_pages: The most pages of one crawl.
        crawl_seconds: The longest that one crawl waits for the partner, in seconds.

    Raises:
        ValueError: a limit or a time is not positive.
    """

    name: str
    hub: PartyId | None = None
    versions: frozenset[str] | None = None
    token_encoding: TokenEncoding | None = None
    no_update: frozenset[str] = frozenset[str]()
    registers_itself: frozenset[str] = frozenset[str]()
    page_limits: Mapping[tuple[str, str], int] = field(
        factory=dict[tuple[str, str], int],
        validator=validators.deep_mapping(validators.instance_of(tuple), validators.gt(0)),
    )
    default_page_limit: int = field(default=100, validator=validators.gt(0))
    timeout: float = field(default=60.0, validator=validators.gt(0))
    retry_base: float = field(default=1.0, validator=validators.gt(0))
    retry_cap: float = field(default=300.0, validator=validators.gt(0))
    allow_http_loopback: bool = False
    allow_networks: tuple[str, ...] = ()
    client_keys: frozenset[str] = frozenset[str]()
    repeats: int = field(default=2, validator=validators.ge(0))
    repeat_base: float = field(default=0.25, validator=validators.gt(0))
    repeat_cap: float = field(default=30.0, validator=validators.gt(0))
    next_link: NextLink = field(default="follow", validator=validators.in_(("follow", "rebase")))
    delta_range: timedelta | None = field(
        default=None, validator=validators.optional(validators.gt(timedelta(0)))
    )
    crawl_pages: int = field(default=10_000, validator=validators.gt(0))
    crawl_seconds: float = field(default=7200.0, validator=validators.gt(0))

    def page_limit(self, module: str, version: str) -> int:
        """Return the largest page of a module in a version, in objects."""
        return self.page_limits.get((version, module), self.default_page_limit)

    @property
    def is_hub(self) -> bool:
        """Whether the partner passes on the messages of other parties."""
        return self.hub is not None


BILATERAL = Profile(name="bilateral")
"""A partner connected directly, without a hub."""
