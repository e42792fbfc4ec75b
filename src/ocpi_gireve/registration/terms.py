"""What a partner must bring to be registered with: its parties and its endpoints; asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, TypeAlias

from ..dialect import Dialect
from ..errors import NoMatchingEndpoints, Problem
from ..http.urls import UrlPolicy
from ..interface import Interface
from ..store.records import Approval
from ..types import PartnerEndpoint, PartnerRole, PartyId

PIN_FIRST: Final = "pin-first"
"""Instead of origins: accept the origin that comes with the right token A first, and no other afterwards."""

AsPresented: TypeAlias = Literal["as_presented"]

AS_PRESENTED: Final = "as_presented"
"""Instead of parties: let the partner speak for whichever parties it presents, now and later."""


def approvals(parties: Iterable[PartyId] | str) -> tuple[Approval, ...]:
    """Return what an operator approves.

    Raises:
        ValueError: it is neither parties nor `AS_PRESENTED`.
    """
    if parties == AS_PRESENTED:
        return (Approval(None, None),)
    if isinstance(parties, str) or not (approved := tuple(Approval(party, None) for party in parties)):
        raise ValueError("expected parties, such as [PartyId('FR', 'CPO')], or AS_PRESENTED")
    return approved


def first_presented(roles: Iterable[PartnerRole]) -> tuple[Approval, ...]:
    """Return what the first registration approves, where the operator left it to that."""
    return tuple(Approval(one.party, one.role) for one in roles)


def role_problems(
    roles: Sequence[PartnerRole],
    approved: Sequence[Approval] | None,
    is_taken: Callable[[PartyId], bool],
    *,
    per_role: bool,
) -> list[Problem]:
    """Say what is wrong with the parties that a partner presents, for which it then speaks and writes.

    Args:
        roles: What it presents: a claim.
        approved: What it may present; None: anything that is not taken.
        is_taken: Whether a party is ours, or another partner's.
        per_role: Whether its version presents one party, beside the token.
    """
    if not roles:
        return [Problem("/roles", "empty", "expected at least one")]
    problems: list[Problem] = []
    for index, one in enumerate(roles):
        place = "" if per_role else f"/roles/{index}"
        pointer = f"{place}/party_id"
        # What is pinned now decides later who may say what, so it is not taken as leniently as other texts.
        wrong = [
            Problem(f"{place}/{name}", "length", f"expected {length} characters")
            for name, length in (("country_code", 2), ("party_id", 3))
            if len(getattr(one.party, name)) != length
        ]
        if wrong:
            problems += wrong
        elif is_taken(one.party):
            problems.append(Problem(pointer, "owner", "expected a party of your platform"))
        elif approved is not None and not any(_covers(known, one) for known in approved):
            problems.append(
                Problem(
                    pointer, "owner", "expected a party, in a role, that was approved for this connection"
                )
            )
    return problems


def _covers(known: Approval, role: PartnerRole) -> bool:
    return known.party in (None, role.party) and known.role in (None, role.role)


def requirements(dialects: Iterable[Dialect], interfaces: Iterable[type[Interface]]) -> tuple[str, ...]:
    """Return the interfaces that a partner must serve, as they are kept.

    Raises:
        ValueError: one belongs to no version that is served here.
    """
    known = {
        interface: f"{dialect.version}/{interface.module}/{interface.role}"
        for dialect in dialects
        for interface in dialect.interfaces
    }
    kept: list[str] = []
    for interface in interfaces:
        if interface not in known:
            raise ValueError(f"{interface.__name__}: expected an interface of a version that is served here")
        kept.append(known[interface])
    return tuple(dict.fromkeys(kept))


def check_endpoints(
    endpoints: tuple[PartnerEndpoint, ...], policy: UrlPolicy, dialect: Dialect, requires: Sequence[str]
) -> tuple[PartnerEndpoint, ...]:
    """Return the endpoints of a partner, if they may be called and nothing is missing.

    Of the interfaces required, those of the version agreed on count.

    Raises:
        UrlRefused: one may not be called.
        NoMatchingEndpoints: the credentials module is missing, or what the operator requires.
    """
    for endpoint in endpoints:
        policy.check(endpoint.url, f"endpoint of {endpoint.module}")
    if not any(endpoint.module == dialect.credentials.module for endpoint in endpoints):
        raise NoMatchingEndpoints("the version details have no credentials endpoint")
    served = {f"{dialect.version}/{endpoint.module}/{endpoint.role}" for endpoint in endpoints}
    missing = [one for one in requires if one.startswith(f"{dialect.version}/") and one not in served]
    if missing:
        raise NoMatchingEndpoints(f"the version details lack what is required here: {', '.join(missing)}")
    return endpoints
