"""Tariffs in the other version; knows no connection, and computes no price.

A price is never given without its condition: an element whose restriction the other version cannot say is
left out, and a tariff that would then hold for more than it was made for is not converted.
"""

from __future__ import annotations

from .. import v211, v221
from ..types import PartyId
from ._engine import NOTHING, Facts, Values, Work, differ
from .result import Converted, NotConvertible

# --- 2.1.1 -> 2.2.1 ------------------------------------------------------------------------------------


def _own(work: Work, tariff: v211.Tariff, result: Values, at: str) -> None:
    if tariff.country_code is not None and tariff.party_id is not None:
        return
    for name in ("country_code", "party_id"):
        if result[name] is not None:
            work.lose(f"{at}/{name}", "no-field", "one half of an owner: not carried")
        result[name] = None
    work.own(v221.Tariff, work.facts.owner, result, at)


differ(v211.Tariff, v221.Tariff, complete=_own)


def tariff_to_221(tariff: v211.Tariff, owner: PartyId | None = None) -> Converted[v221.Tariff]:
    """Convert a Tariff to 2.2.1.

    Args:
        tariff: The Tariff.
        owner: The CPO it belongs to, where the Tariff does not say it, as those from IOP do. (GIREVE 2.1.1,
            eMSP tariffs, A)

    Raises:
        NotConvertible: nobody says the owner, or GIREVE's ``restriction`` limits the whole tariff to sessions
            that start at certain times, which 2.2.1 cannot say.
    """
    if tariff.restriction is not None:
        reason = "2.2.1 cannot limit a tariff to sessions that start at certain times"
        raise NotConvertible("Tariff", "/restriction", reason)
    work = Work(Facts(owner=owner))
    return work.done(work.whole(tariff, v221.Tariff))


# --- 2.2.1 -> 2.1.1 ------------------------------------------------------------------------------------

_UNKNOWN_TO_211 = ("min_current", "max_current", "reservation")


def _elements(work: Work, elements: list[v221.TariffElement], at: str) -> Values:
    kept: list[v211.TariffElement] = []
    for index, element in enumerate(elements):
        pointer = f"{at}/{index}"
        unsaid = [
            name
            for name in _UNKNOWN_TO_211
            if element.restrictions is not None and getattr(element.restrictions, name) is not None
        ]
        for name in unsaid:
            message = "2.1.1 cannot say this condition: the element is left out"
            work.lose(f"{pointer}/restrictions/{name}", "condition", message)
        if not unsaid:
            kept.append(work.whole(element, v211.TariffElement, pointer))
    return {"elements": kept}


def _said_elsewhere(work: Work, _: v221.Tariff, result: Values, __: str) -> None:
    """Drop an owner that the URL, or the CDR around the tariff, says already."""
    owner = work.facts.owner
    if owner and (owner.country_code, owner.party_id) == (result["country_code"], result["party_id"]):
        result["country_code"] = result["party_id"] = None


differ(v221.Tariff, v211.Tariff, {"elements": _elements}, complete=_said_elsewhere)


def tariff_to_211(
    tariff: v221.Tariff, *, receiver: PartyId | None = None, as_iop: bool = False
) -> Converted[v211.Tariff]:
    """Convert a Tariff to 2.1.1, where it holds for every eMSP and every session.

    Args:
        tariff: The Tariff.
        receiver: The eMSP that gets it.
        as_iop: Convert as IOP does for an eMSP in 2.1.1: the Tariff says its owner. (GIREVE 2.1.1, eMSP
            tariffs, A)

    Raises:
        NotConvertible: it is not a ``REGULAR`` one, which IOP keeps from eMSPs too; it is made for an eMSP
            other than `receiver`; or no element is left whose conditions 2.1.1 can say.
    """
    if tariff.type is not None and tariff.type != v221.TariffType.REGULAR:
        raise NotConvertible("Tariff", "/type", "2.1.1 cannot say which sessions a tariff is for")
    country, party = tariff.target_operator_country_code, tariff.target_operator_party_id
    aimed = country is not None or party is not None
    if aimed and (receiver is None or PartyId(country or "", party or "") != receiver):
        reason = "2.1.1 cannot say which eMSP a tariff is for, and the receiver is not that eMSP"
        raise NotConvertible("Tariff", "/target_operator_party_id", reason)
    work = Work(NOTHING if as_iop else Facts(owner=PartyId(tariff.country_code, tariff.party_id)))
    value = work.whole(tariff, v211.Tariff)
    if tariff.elements and not value.elements:
        raise NotConvertible("Tariff", "/elements", "2.1.1 cannot say the conditions of any element")
    return work.done(value)
