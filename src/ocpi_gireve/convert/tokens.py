"""Tokens and authorizations in the other version; knows no connection."""

from __future__ import annotations

from .. import v211, v221
from .._model import replaced
from ..patch import Patch
from ..types import PartyId
from ._engine import Facts, Values, Work, differ, elsewhere, instead
from .parties import emsp_of
from .result import Converted

# --- 2.1.1 -> 2.2.1 ------------------------------------------------------------------------------------


def _own(work: Work, token: v211.Token, result: Values, at: str) -> None:
    work.own(v221.Token, work.facts.token_owner or emsp_of(token), result, at)


def _token(work: Work, _: v211.AuthorizationInfo, result: Values, __: str) -> None:
    result["token"] = work.facts.token


differ(v211.Token, v221.Token, {"auth_id": "contract_id"}, complete=_own)
differ(
    v211.AuthorizationInfo,
    v221.AuthorizationInfo,
    {"authorization_id": "authorization_reference"},
    complete=_token,
)


def token_to_221(token: v211.Token, owner: PartyId | None = None) -> Converted[v221.Token]:
    """Convert a Token to 2.2.1.

    Args:
        token: The Token.
        owner: The eMSP it belongs to: 2.1.1 says it in the URL. Without it, the one that `emsp_of` reads.

    Raises:
        NotConvertible: nobody says the owner.
    """
    work = Work(Facts(token_owner=owner))
    return work.done(work.whole(token, v221.Token))


def token_patch_to_221(changes: Patch[v211.Token]) -> Converted[Patch[v221.Token]]:
    """Convert some fields of a Token to 2.2.1."""
    work = Work()
    return work.done(work.patch(changes, v221.Token))


def location_references_to_221(references: v211.LocationReferences) -> Converted[v221.LocationReferences]:
    """Convert the place of an authorization request to 2.2.1, which names no connectors."""
    work = Work()
    return work.done(work.whole(references, v221.LocationReferences))


def authorization_info_to_221(
    info: v211.AuthorizationInfo, token: v221.Token
) -> Converted[v221.AuthorizationInfo]:
    """Convert the answer to an authorization request to 2.2.1.

    Args:
        info: The answer.
        token: The Token that was asked about: in 2.2.1 it is part of the answer.
    """
    work = Work(Facts(token=token))
    return work.done(work.whole(info, v221.AuthorizationInfo))


# --- 2.2.1 -> 2.1.1 ------------------------------------------------------------------------------------

differ(
    v221.Token,
    v211.Token,
    {"country_code": elsewhere, "party_id": elsewhere, "contract_id": "auth_id"},
)
differ(
    v221.AuthorizationInfo,
    v211.AuthorizationInfo,
    {"authorization_reference": "authorization_id"},
)
instead(
    v221.TokenType,
    {"AD_HOC_USER": v211.TokenType.OTHER, "APP_USER": v211.TokenType.OTHER},
)


def token_to_211(token: v221.Token, *, as_iop: bool = False) -> Converted[v211.Token]:
    """Convert a Token to 2.1.1, whose URL, not the object, says the owner.

    Args:
        token: The Token.
        as_iop: Convert as IOP does for a CPO in 2.1.1: ``issuer`` becomes the owner (``FR*AAA``). (GIREVE
            2.1.1, CPO tokens)
    """
    work = Work()
    value = work.whole(token, v211.Token)
    name = str(PartyId(token.country_code, token.party_id))
    if as_iop and value.issuer != name:
        value = replaced(value, {"issuer": name})
        work.lose("/issuer", "replaced", "IOP writes the owner here")
    return work.done(value)


def token_patch_to_211(changes: Patch[v221.Token]) -> Converted[Patch[v211.Token]]:
    """Convert some fields of a Token to 2.1.1."""
    work = Work()
    return work.done(work.patch(changes, v211.Token))


def location_references_to_211(references: v221.LocationReferences) -> Converted[v211.LocationReferences]:
    """Convert the place of an authorization request to 2.1.1."""
    work = Work()
    return work.done(work.whole(references, v211.LocationReferences))


def authorization_info_to_211(info: v221.AuthorizationInfo) -> Converted[v211.AuthorizationInfo]:
    """Convert the answer to an authorization request to 2.1.1, where the Token is no part of it."""
    work = Work()
    return work.done(work.whole(info, v211.AuthorizationInfo))
