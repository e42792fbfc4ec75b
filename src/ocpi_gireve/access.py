"""Who may say what: pure functions over a principal and its message; asks no store, logs nothing.

Rules, in the order in which the server applies them:

| | rule | refused with |
|---|---|---|
| T15 | Authorization and each ``OCPI-*`` header come once | HTTP 400 |
| T5 | a token A opens the handshake only; the matched route decides, no word in the URL | HTTP 401 |
| A2 | ``OCPI-from-*`` names a party of the partner; a hub's, any but ours and those in `elsewhere` | 2001 |
| A3 | ``OCPI-to-*`` names a party of ours that the connection is for | 2001 |
| A6 | the sender has a role that calls this interface; a hub always may | HTTP 403 |
| A4 | what the URL names belongs to the sender | HTTP 404 |
| A5 | the body says the same owner and the same id as the URL | 2001 |

The principal is whom the token belongs to, never what a header says (A1). Parties and ids are compared
without ASCII case (A8).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from typing import cast

from attrs import field, frozen
from multidict import CIMultiDict, istr

from ._model import Model
from ._wire import segment_problem
from .errors import (
    Forbidden,
    InvalidParameters,
    MalformedMessage,
    Problem,
    ServerError,
    Unauthorized,
    UnknownObject,
)
from .interface import Operation
from .patch import Patch
from .profile import Profile
from .store.records import TokenKind
from .types import PartyId, Role, ci_equal

_HANDSHAKE_ONLY = frozenset({TokenKind.A})
AUTHORIZATION = istr("Authorization")
FROM_COUNTRY, FROM_PARTY = istr("OCPI-from-country-code"), istr("OCPI-from-party-id")
TO_COUNTRY, TO_PARTY = istr("OCPI-to-country-code"), istr("OCPI-to-party-id")
ROUTING = (FROM_COUNTRY, FROM_PARTY, TO_COUNTRY, TO_PARTY)
"""The names of the routing headers. An `istr` is found faster than a text."""


@frozen(kw_only=True)
class Principal:
    """Who a request's token belongs to.

    Attributes:
        connection: The id of the connection.
        kind: The kind of token that was presented.
        profile: What kind of partner it is.
        parties: The parties that the partner presented, and may speak for, with their roles. A hub may speak
            for any but ours and those in `elsewhere`.
        elsewhere: The parties that are connected directly, so that no hub speaks for them.
        party: Our party that the connection is for; None: all of ours.
        role: The role of ours that it is for; None: all of ours.
        digest: The token's digest.
        is_settled: Whether this holds until somebody changes it: time does not end the token, and its use
            changes nothing.
    """

    connection: str
    kind: TokenKind
    profile: Profile
    parties: Mapping[PartyId, frozenset[Role]]
    elsewhere: Container[PartyId] = frozenset[PartyId]()
    party: PartyId | None = None
    role: Role | None = None
    digest: bytes = field(repr=False)
    is_settled: bool = False


@frozen(kw_only=True)
class Ours:
    """Whom this platform speaks for.

    Attributes:
        parties: Its parties.
        is_hub: Whether it passes on the messages of others, so that it is asked for any party.
    """

    parties: frozenset[PartyId]
    is_hub: bool = False

    def reached_by(self, principal: Principal) -> frozenset[PartyId]:
        """Return the parties of ours that a connection is for."""
        return self.parties if principal.party is None else frozenset({principal.party})


@frozen
class Routing:
    """Who asks, and who is asked; None: it was not said, and cannot be concluded."""

    sender: PartyId | None = None
    receiver: PartyId | None = None


@frozen(kw_only=True)
class Speaker:
    """For whom one request speaks.

    Attributes:
        principal: Whose token it came with.
        sender: The party that asks.
        ours: Whom it may not speak for.
    """

    principal: Principal = field(repr=False)
    sender: PartyId | None
    ours: Ours

    def speaks_for(self, owner: PartyId) -> bool:
        """Tell whether the request may speak for a party."""
        if self.principal.profile.is_hub:
            return hub_may_speak_for(owner, self.principal, self.ours)
        return owner == self.sender if self.sender is not None else owner in self.principal.parties


# --- headers -------------------------------------------------------------------------------------------


def require_once(headers: CIMultiDict[str]) -> None:
    """Make sure that no header that decides who speaks comes twice: a proxy may have read the other one.

    Raises:
        MalformedMessage: HTTP 400.
    """
    for name in (AUTHORIZATION, *ROUTING):
        if len(headers.getall(name, ())) > 1:
            raise MalformedMessage(f"expected the header {name} once")


@lru_cache(maxsize=4096)
def _party(country_code: str, party_id: str) -> PartyId:
    """Return a party; the same few ask and are asked all the time."""
    return PartyId(country_code, party_id)


_NAMES = {"from": (FROM_COUNTRY, FROM_PARTY), "to": (TO_COUNTRY, TO_PARTY)}


def said_party(headers: CIMultiDict[str], direction: str) -> PartyId | None:
    """Read one side of the routing headers; `direction` is ``from`` or ``to``.

    Raises:
        MalformedMessage: HTTP 400: one header without its other half, or of another length than OCPI's.
    """
    country, party = _NAMES[direction]
    said = headers.get(country), headers.get(party)
    if said[0] is None and said[1] is None:
        return None
    if said[0] is None or said[1] is None:
        raise MalformedMessage(f"expected {country} and {party} together")
    return _party(_fitting(said[0], country, 2), _fitting(said[1], party, 3))


def _fitting(text: str, name: str, length: int) -> str:
    text = text.strip()
    if not (len(text) == length and text.isascii() and text.isprintable()):
        raise MalformedMessage(f"expected {length} characters in {name}")
    return text


def routing_of(
    headers: CIMultiDict[str], operation: Operation, principal: Principal, ours: Ours, *, routed: bool
) -> Routing:
    """Return who asks and who is asked. (2.2.1, transport and format, message routing)

    Where a version, or a module, has no routing headers, the connection says it. GIREVE's 2.1.1 knows
    ``OCPI-to-*`` in the pulls of a single party and nowhere else, so there it chooses the party whose objects
    are listed, and is otherwise nobody's business. (2.1.1 guide, IOP HTTP headers)

    Args:
        headers: The request's.
        operation: What is asked.
        principal: Whose token it came with.
        ours: Whom it may reach.
        routed: Whether the version has routing headers.

    Raises:
        MalformedMessage: HTTP 400: a header cannot be read.
        InvalidParameters: 2001: a party that does not speak, or is not spoken to, on this connection.
        ServerError: 3000: the partner's registration is not finished.
    """
    if routed and operation.interface.routed:
        sender, receiver = said_party(headers, "from"), said_party(headers, "to")
        return Routing(_sender(sender, principal, ours), _receiver(receiver, principal, ours))
    chosen = _chosen(headers, principal, ours) if operation.paginated and not routed else None
    reached = ours.reached_by(principal)
    only = next(iter(reached)) if len(reached) == 1 else None
    return Routing(_sender(None, principal, ours), chosen or only)


def _sender(said: PartyId | None, principal: Principal, ours: Ours) -> PartyId | None:
    profile = principal.profile
    if not principal.parties and not profile.is_hub:
        # Its token came with our own request, whose answer will say who the partner is: it is under way.
        raise ServerError("the registration is not finished; try again")
    if said is None:
        return next(iter(principal.parties)) if len(principal.parties) == 1 else profile.hub
    if profile.is_hub:
        if not hub_may_speak_for(said, principal, ours):
            raise InvalidParameters("OCPI-from-*: a hub does not speak for this party here")
    elif said not in principal.parties:
        raise InvalidParameters("OCPI-from-*: this party was not presented in the credentials")
    return said


def _receiver(said: PartyId | None, principal: Principal, ours: Ours) -> PartyId | None:
    reached = ours.reached_by(principal)
    if said is None:
        if len(reached) == 1:
            return next(iter(reached))
        if not ours.is_hub:
            raise InvalidParameters("OCPI-to-*: expected one of the several parties that are served here")
        return None
    if said not in reached and not ours.is_hub:
        raise InvalidParameters("OCPI-to-*: this party is not served here")
    return said


def _chosen(headers: CIMultiDict[str], principal: Principal, ours: Ours) -> PartyId | None:
    try:
        said = said_party(headers, "to")
    except MalformedMessage:
        return None
    return said if said in ours.reached_by(principal) or ours.is_hub else None


def hub_may_speak_for(party: PartyId, principal: Principal, ours: Ours) -> bool:
    """Tell whether a hub may speak for a party: not for ours, nor for those that speak for themselves."""
    return party not in ours.parties and party not in principal.elsewhere


# --- what a principal may ask --------------------------------------------------------------------------


def require_opened(operation: Operation, principal: Principal) -> None:
    """Make sure that the kind of token opens what is asked.

    Raises:
        Unauthorized: HTTP 401: a token A at a functional module. (2.2.1, authorization header)
    """
    if principal.kind in _HANDSHAKE_ONLY and operation.interface.functional:
        raise Unauthorized


def require_role(operation: Operation, target: object, speaker: Speaker) -> None:
    """Make sure that who asks has a market role that calls this interface.

    Raises:
        Forbidden: HTTP 403.
    """
    principal = speaker.principal
    if principal.profile.is_hub:
        return
    party = speaker.sender or owner_of(target)
    roles = None if party is None else principal.parties.get(party)
    if roles is None:
        # Who asks is not said: it may be each of them.
        roles = frozenset[Role]().union(*principal.parties.values())
    if roles.isdisjoint(operation.interface.callers) and Role.HUB not in roles:
        raise Forbidden("a party of this role does not call this interface")


# --- whose objects -------------------------------------------------------------------------------------


def require_owner(operation: Operation, target: object, body: object, speaker: Speaker) -> None:
    """Hold a message to its owner: URL, body and sender name the same party and the same object.

    A hub's news of its clients is about parties that are anybody's; which hub tells it, the role decides.

    Raises:
        UnknownObject: HTTP 404: "it is allowed to respond with an HTTP 404 status code". (client owned object
            push, errors)
        InvalidParameters: 2001: the body says something else.
    """
    owner = owner_of(target)
    owned = operation.interface.routed
    if owner is not None and owned and not speaker.speaks_for(owner):
        raise UnknownObject("this object is not yours")
    problems: list[Problem] = []
    if owner is not None:
        problems += _contradictions(operation, target, _stated(body))
    elif owned and isinstance(body, Model):
        problems += _foreign(body, "", speaker)
        own_id = getattr(body, "id", None)
        wrong = segment_problem(own_id) if isinstance(own_id, str) else None
        if wrong:
            problems.append(Problem("/id", "charset", wrong))
        # Of commands the text says: an eMSP "SHALL only use Tokens that are owned by this eMSP".
        problems += _foreign(getattr(body, "token", None), "/token", speaker)
    if problems:
        raise InvalidParameters(problems=problems)


def owner_of(one: object) -> PartyId | None:
    """Return whose object this is, or this reference names; None where it does not say."""
    country, party = getattr(one, "country_code", None), getattr(one, "party_id", None)
    if not isinstance(country, str) or not isinstance(party, str):
        return None
    return _party(country, party) if len(country) == 2 and len(party) == 3 else PartyId(country, party)


def _foreign(one: object, pointer: str, speaker: Speaker) -> list[Problem]:
    owner = owner_of(one)
    if owner is None or speaker.speaks_for(owner):
        return []
    return [Problem(f"{pointer}/party_id", "owner", "expected a party that the sender speaks for")]


def _stated(body: object) -> Callable[[str], object]:
    """Return what reads a body's own identity; a PATCH may leave it out."""
    if isinstance(body, Patch):
        return cast("Patch[Model]", body).changes.get
    return lambda name: getattr(body, name, None)


def _contradictions(operation: Operation, target: object, stated: Callable[[str], object]) -> list[Problem]:
    problems: list[Problem] = []
    for name in ("country_code", "party_id"):
        problems += _differs(name, stated(name), getattr(target, name))
    last = operation.path_fields[-1]
    if last not in ("country_code", "party_id"):
        for name in ("id", "uid"):
            said = stated(name)
            if said is not None:
                problems += _differs(name, said, getattr(target, last))
                break
    return problems


def _differs(name: str, said: object, expected: str) -> list[Problem]:
    if isinstance(said, str) and not ci_equal(said, expected):
        return [Problem(f"/{name}", "url-mismatch", "expected the same value as in the URL")]
    return []
