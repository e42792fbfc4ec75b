"""Who sends a request, and for whom, by its headers; reads no body and calls no handler."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Hashable
from typing import Protocol

from attrs import frozen
from multidict import CIMultiDict, istr

from .._wire import JSON_TYPE, put_party
from ..access import (
    AUTHORIZATION,
    ROUTING,
    Ours,
    Principal,
    Speaker,
    require_once,
    require_opened,
    routing_of,
)
from ..errors import Unauthorized
from ..tokens import TokenEncoding, presented_tokens, token_digest
from ..transport import HttpRequest
from ..types import PartyId, Secret
from ._routes import Route

log = logging.getLogger("ocpi_gireve.server")

MAX_REMEMBERED = 10_000
"""Of how many requests with other headers, or to other operations, it is remembered who sent them."""

_CONTENT_TYPE = istr("Content-Type")


class Principals(Protocol):
    """Where the server learns whose token it was shown."""

    @property
    def revision(self) -> int:
        """Changes whenever `find` may answer something else, but for tokens that time ends."""
        ...

    def find(self, digest: bytes) -> Principal | None:
        """Return who presents the token with this digest, if it is valid now."""
        ...

    async def admitted(self, principal: Principal) -> None:
        """Take note that a request with this token was admitted."""
        ...


@frozen(eq=False)
class Admission:
    """What the headers of a request say.

    Attributes:
        speaker: Who sends it.
        receiver: The party that is asked.
        headers: What every answer to it carries.
    """

    speaker: Speaker
    receiver: PartyId | None
    headers: CIMultiDict[str]


class Gate:
    """Lets requests in, and remembers what equal headers stood for: a partner's are the same all day.

    What is remembered was admitted before and is settled, so nobody else's requests take any room.

    Args:
        principals: Where tokens are looked up.
        ours: Whom requests may address.
    """

    def __init__(self, principals: Principals, ours: Ours) -> None:
        self._principals = principals
        self._ours = ours
        self._revision = principals.revision
        self._known: dict[Hashable, Admission] = {}

    def remembered(self, request: HttpRequest, route: Route) -> Admission | None:
        """Return what the same headers stood for before, as long as it cannot be anything else by now."""
        if self._revision != self._principals.revision:
            self._revision = self._principals.revision
            self._known.clear()
        return self._known.get(_deciding(request, route))

    def require_known(self, request: HttpRequest) -> None:
        """Make sure that a request comes with somebody's token, and with its key, whatever it asks.

        Raises:
            MalformedMessage: HTTP 400: a header that decides it comes twice.
            Unauthorized: HTTP 401.
        """
        require_once(request.headers)
        shown = presented_tokens([request.headers.get(AUTHORIZATION, "")])
        found = [self._principals.find(token_digest(token)) for token in shown.values()]
        if not any(one is not None and _has_key(request, one) for one in found):
            raise Unauthorized

    def authenticate(self, request: HttpRequest, route: Route) -> tuple[Principal, Secret]:
        """Return who sends a request to an operation, and the token that it came with.

        Raises:
            MalformedMessage: HTTP 400: a header that decides it comes twice.
            Unauthorized: HTTP 401: the token is not known, or opens something else.
        """
        require_once(request.headers)
        found: dict[str, tuple[Principal, Secret]] = {}
        for encoding, token in presented_tokens([request.headers.get(AUTHORIZATION, "")]).items():
            principal = self._principals.find(token_digest(token))
            if principal is None:
                continue
            # Where the version is not known yet, it is anybody's.
            taken = TokenEncoding.AUTO if route.encoding is TokenEncoding.AUTO else None
            if (taken or principal.profile.token_encoding or route.encoding) in (
                encoding,
                TokenEncoding.AUTO,
            ):
                found.setdefault(principal.connection, (principal, token))
        if len(found) > 1:
            # Never a choice between two partners.
            log.error("one Authorization header names %d connections; refused", len(found))
        if len(found) != 1:
            raise Unauthorized
        ((principal, token),) = found.values()
        if not _has_key(request, principal):
            log.error("%s: its token came without its key in TLS; refused", principal.connection)
            raise Unauthorized
        require_opened(route.operation, principal)
        if route.side is not None and principal.role is not route.side:
            raise Unauthorized
        return principal, token

    def admit(self, request: HttpRequest, route: Route, principal: Principal) -> Admission:
        """Return for whom a principal speaks, and whom it asks.

        Raises:
            MalformedMessage: HTTP 400: a header cannot be read.
            InvalidParameters: 2001: a party that does not speak, or is not spoken to, on this connection.
            ServerError: 3000: the partner's registration is not finished.
        """
        headers = CIMultiDict({_CONTENT_TYPE: JSON_TYPE})
        if not route.operation.interface.functional:
            speaker = Speaker(principal=principal, sender=None, ours=self._ours)
            return Admission(speaker, None, headers)
        routing = routing_of(
            request.headers, route.operation, principal, self._ours, routed=route.dialect.routing
        )
        if route.is_routed:
            put_party(headers, "from", routing.receiver)
            put_party(headers, "to", routing.sender)
        speaker = Speaker(principal=principal, sender=routing.sender, ours=self._ours)
        admission = Admission(speaker, routing.receiver, headers)
        # It may have been replaced while its admission was noted.
        if principal.is_settled and self._principals.find(principal.digest) is principal:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[_deciding(request, route)] = admission
        return admission


def _has_key(request: HttpRequest, principal: Principal) -> bool:
    keys = principal.profile.client_keys
    return not keys or request.client_key in keys


def _deciding(request: HttpRequest, route: Route) -> Hashable:
    """Return what decides about an admission. The token is hashed: none is kept in clear."""
    values = request.headers.getall
    shown = "\n".join(values(AUTHORIZATION, ())).encode(errors="surrogatepass")
    return (
        route,
        request.client_key,
        hashlib.sha256(shown).digest(),
        # A header that is empty is not one that is missing.
        *[tuple(values(name, ())) for name in ROUTING],
    )
