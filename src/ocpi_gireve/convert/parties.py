"""Whose a 2.1.1 object is, read from where IOP writes it; 2.1.1 objects have no field for their owner."""

from __future__ import annotations

import re

from .. import v211
from ..types import PartyId

_PARTY = re.compile(r"([A-Z]{2})([*-])([A-Z0-9]{3})", re.IGNORECASE | re.ASCII)
_CONTRACT = re.compile(
    # With separators, or compact: country, provider, the C of a contract, its instance, a check digit.
    r"([A-Z]{2})([*-])([A-Z0-9]{3})\2.+|([A-Z]{2})([A-Z0-9]{3})C[A-Z0-9]{8,9}",
    re.IGNORECASE | re.ASCII,
)


def _party(text: str) -> PartyId | None:
    found = _PARTY.fullmatch(text.strip())
    return PartyId(found[1], found[3]) if found else None


def cpo_of(location: v211.Location) -> PartyId | None:
    """Return the CPO that IOP writes into ``operator.name`` (``FR*CPO``) of a Location that an eMSP gets.

    None where it holds something else. (GIREVE 2.1.1, eMSP locations)
    """
    return _party(location.operator.name) if location.operator else None


def emsp_of(token: v211.Token) -> PartyId | None:
    """Return the eMSP that IOP writes into ``issuer`` (``FR*AAA``) of a Token that a CPO gets.

    Where it holds something else, the eMSP that the contract id names; None where that says nothing either.
    (GIREVE 2.1.1, CPO tokens, "Who is the eMSP?")
    """
    return _party(token.issuer) or emsp_of_contract(token.auth_id)


def emsp_of_contract(contract_id: str) -> PartyId | None:
    """Return the eMSP that a contract id written as an eMA id names; None where it is written otherwise.

    ``FR*EMP*1234``, ``FR-EMP-C12345678-X`` and ``FREMPC12345678X`` all name ``FR*EMP``.
    """
    found = _CONTRACT.fullmatch(contract_id.strip())
    if found is None:
        return None
    return PartyId(found[1] or found[4], found[3] or found[5])
