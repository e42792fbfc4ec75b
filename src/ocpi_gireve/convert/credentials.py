"""Credentials in the other version: one party in 2.1.1, a platform's roles in 2.2.1; registers nobody."""

from __future__ import annotations

from .. import v211, v221
from ..types import PartyId, Role
from ._engine import Facts, Values, Work, built, differ, elsewhere
from .result import Converted, NotConvertible


def _roles(work: Work, credentials: v211.Credentials, result: Values, at: str) -> None:
    role: Values = {"role": work.facts.role}
    for name in ("business_details", "party_id", "country_code"):
        role |= work.put(v221.CredentialsRole, name, getattr(credentials, name), f"{at}/{name}")
    result["roles"] = [built(v221.CredentialsRole, role)]


differ(
    v211.Credentials,
    v221.Credentials,
    dict.fromkeys(("business_details", "party_id", "country_code"), elsewhere),
    complete=_roles,
)


def credentials_to_221(credentials: v211.Credentials, role: Role) -> Converted[v221.Credentials]:
    """Convert the credentials of one party to 2.2.1.

    Args:
        credentials: The credentials. Their token goes on unchanged, and is shown nowhere.
        role: What the party is: 2.1.1 says it by the endpoint.
    """
    work = Work(Facts(role=role))
    return work.done(work.whole(credentials, v221.Credentials))


def _one_role(work: Work, roles: list[v221.CredentialsRole], at: str) -> Values:
    result: Values = {}
    for index, one in enumerate(roles):
        pointer = f"{at}/{index}"
        party = PartyId(one.country_code, one.party_id)
        if result or (party, one.role) != (work.facts.owner, work.facts.role):
            work.lose(pointer, "no-field", "2.1.1 has one party in one role")
            continue
        for name in ("business_details", "party_id", "country_code"):
            result |= work.put(v211.Credentials, name, getattr(one, name), f"{pointer}/{name}")
        work.lose_extra(one.extra, pointer)
    if not result:
        raise NotConvertible("Credentials", at, "the party is not among them in this role")
    return result


differ(v221.Credentials, v211.Credentials, {"roles": _one_role})


def credentials_to_211(
    credentials: v221.Credentials, party: PartyId, role: Role
) -> Converted[v211.Credentials]:
    """Convert the credentials of a platform to those of one of its parties, in one role.

    Raises:
        NotConvertible: the platform does not present the party in this role.
    """
    work = Work(Facts(owner=party, role=role))
    return work.done(work.whole(credentials, v211.Credentials))
