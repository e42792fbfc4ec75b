"""Who calls whom, for whom, as a consequence of what; carried beside every message and never inside it."""

from __future__ import annotations

from attrs import frozen

from .types import PartyId


@frozen(kw_only=True)
class Context:
    """What a handler may know about a request besides its content.

    Attributes:
        partner: The id of the connection that the request came over.
        version: The OCPI version that is spoken.
        sender: The party that asks: from ``OCPI-from-*``, or the partner's only party.
        receiver: The party of ours that is asked: from ``OCPI-to-*``, or our only party.
        request_id: Names this one exchange (``X-Request-ID``).
        correlation_id: Shared by all exchanges that have one cause (``X-Correlation-ID``). Hand it on to
            calls and uploads that follow from this request.
    """

    partner: str
    version: str
    sender: PartyId | None = None
    receiver: PartyId | None = None
    request_id: str
    correlation_id: str
