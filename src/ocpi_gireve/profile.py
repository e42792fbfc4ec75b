"""What there is to know about a partner before the first message: values; knows no connection."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen, validators

from .types import PartyId

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
        page_limits: The largest page, in objects, that is served to and asked of this partner, by module.
        default_page_limit: The same for the modules that `page_limits` does not name.
        timeout: Seconds that one exchange may take.
        retry_base: Seconds before the first retry of an upload; each further one waits twice as long.
        retry_cap: The longest wait between two attempts, in seconds; unless the partner asks for more.
        allow_http_loopback: Whether plain http is accepted from and to the loopback interface, to develop.
        allow_networks: Private networks whose addresses may be called, such as ``10.0.0.0/8``.

    Raises:
        ValueError: a limit or a time is not positive.
    """

    name: str
    hub: PartyId | None = None
    page_limits: Mapping[str, int] = field(
        factory=dict[str, int],
        validator=validators.deep_mapping(validators.instance_of(str), validators.gt(0)),
    )
    default_page_limit: int = field(default=100, validator=validators.gt(0))
    timeout: float = field(default=60.0, validator=validators.gt(0))
    retry_base: float = field(default=1.0, validator=validators.gt(0))
    retry_cap: float = field(default=300.0, validator=validators.gt(0))
    allow_http_loopback: bool = False
    allow_networks: tuple[str, ...] = ()

    def page_limit(self, module: str) -> int:
        """Return the largest page of a module, in objects."""
        return self.page_limits.get(module, self.default_page_limit)

    @property
    def is_hub(self) -> bool:
        """Whether the partner passes on the messages of other parties."""
        return self.hub is not None


BILATERAL = Profile(name="bilateral")
"""A partner connected directly, without a hub."""
