"""CDRs in the other version, and what they share with Sessions; knows no connection, computes no price."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from .. import v211, v221
from .._model import NO_EXTRA, Model, replaced
from ..types import PartyId, ci_equal
from ._engine import (
    Facts,
    Pair,
    Values,
    Work,
    built,
    by_owner,
    differ,
    elsewhere,
    fields_of,
    instead,
    version_of,
)
from .locations import fill_postal_code
from .parties import emsp_of_contract
from .result import Converted, NotConvertible

S = TypeVar("S", bound=Model)
T = TypeVar("T", bound=Model)

NOT_AVAILABLE = "#NA"
"""What a text holds that is required and cannot be filled. (2.2.1, transport and format)"""


def cdr_token(token: v221.Token) -> v221.CdrToken:
    """Return the part of a Token that Sessions and CDRs of 2.2.1 hold."""
    names = ("country_code", "party_id", "uid", "type", "contract_id")
    return built(v221.CdrToken, {name: getattr(token, name) for name in names})


# --- shared with Sessions ------------------------------------------------------------------------------


def to_price(_: Work, value: Decimal | None, __: str) -> Values:
    """``total_cost`` of 2.1.1 is a number: the amount without VAT."""
    return {"total_cost": None if value is None else built(v221.Price, {"excl_vat": value})}


def to_number(work: Work, value: v221.Price | None, at: str) -> Values:
    """``total_cost`` of 2.2.1 is a Price."""
    if value is None:
        return {"total_cost": None}
    if value.incl_vat is not None:
        work.lose(f"{at}/incl_vat", "no-field", "2.1.1 gives costs without VAT only")
    work.lose_extra(value.extra, at)
    return {"total_cost": value.excl_vat}


def to_cdr_token(work: Work, auth_id: str | None, at: str) -> Values:
    """``auth_id`` of 2.1.1 is the contract id of a token that it does not name."""
    if auth_id is None:
        return {}
    token = work.facts.cdr_token
    if token is not None:
        if not ci_equal(token.contract_id, auth_id):
            work.refuse(at, "the token given has another contract id")
        known = {name: getattr(token, name) for name in ("country_code", "party_id", "uid", "type")}
        extra = token.extra
    else:
        owner = work.facts.token_owner or emsp_of_contract(auth_id)
        if owner is None:
            work.refuse(at, "it does not name its eMSP, and neither does token_owner")
        known = {
            "country_code": owner.country_code,
            "party_id": owner.party_id,
            "uid": NOT_AVAILABLE,
            "type": v221.TokenType.OTHER,
        }
        extra = NO_EXTRA
        place = at.replace("auth_id", "cdr_token")
        work.lose(f"{place}/uid", "assumed", "2.1.1 gives the contract id only")
        work.lose(f"{place}/type", "assumed", "2.1.1 gives the contract id only")
    values: Values = {}
    for name, value in {**known, "contract_id": auth_id}.items():
        values |= work.put(v221.CdrToken, name, value, at)
    return {"cdr_token": built(v221.CdrToken, values, extra)}


def to_auth_id(work: Work, token: v221.CdrToken | None, at: str) -> Values:
    """``cdr_token`` of 2.2.1 names a token; 2.1.1 keeps its contract id."""
    if token is None:
        return {}
    unsaid: list[str] = []
    owner = emsp_of_contract(token.contract_id)
    if owner is None or (owner.country_code, owner.party_id) != (token.country_code, token.party_id):
        unsaid += ["country_code", "party_id"]
    if (token.uid, token.type) != (NOT_AVAILABLE, v221.TokenType.OTHER):
        unsaid += ["uid", "type"]
    for name in unsaid:
        work.lose(f"{at}/{name}", "no-field", "2.1.1 gives the contract id only")
    work.lose_extra(token.extra, at)
    return work.put(v211.CDR, "auth_id", token.contract_id, f"{at}/contract_id")


def only_place(location: v221.Location, evse_uid: str, connector_id: str) -> v221.Location:
    """Return the Location with the EVSE and the connector alone; with no EVSE where it lacks one of them.

    ``#NA`` as the connector stands for all of them.
    """
    evses: list[v221.EVSE] = []
    for evse in location.evses:
        if ci_equal(evse.uid, evse_uid):
            connectors = [
                one
                for one in evse.connectors
                if connector_id == NOT_AVAILABLE or ci_equal(one.id, connector_id)
            ]
            evses = [replaced(evse, {"connectors": connectors})] if connectors else []
            break
    return replaced(location, {"evses": evses})


def _dimensions_211(work: Work, dimensions: list[v211.CdrDimension], at: str) -> Values:
    # "Removed FLAT value, that is of no use on a CDR." (2.2 changelog)
    known = [v221.CdrDimensionType(one.type.value).is_known or not one.type.is_known for one in dimensions]
    return {"dimensions": _said(work, dimensions, known, at, v221.CdrDimension)}


def _dimensions_221(work: Work, dimensions: list[v221.CdrDimension], at: str) -> Values:
    known = [v211.CdrDimensionType(one.type.value).is_known or not one.type.is_known for one in dimensions]
    return {"dimensions": _said(work, dimensions, known, at, v211.CdrDimension)}


def _said(work: Work, dimensions: list[S], known: list[bool], at: str, target: type[T]) -> list[T]:
    """Leave out the dimensions that the other version lacks, unless the period would be left without any."""
    kept: list[T] = []
    for index, dimension in enumerate(dimensions):
        if known[index] or not any(known):
            kept.append(work.whole(dimension, target, f"{at}/{index}"))
        else:
            message = f"{version_of(target)} has no such dimension: left out"
            work.lose(f"{at}/{index}/type", "no-value", message)
    return kept


differ(v211.ChargingPeriod, v221.ChargingPeriod, {"dimensions": _dimensions_211})
differ(v221.ChargingPeriod, v211.ChargingPeriod, {"dimensions": _dimensions_221})
# Both mean that the eMSP was asked about this driver.
instead(v221.AuthMethod, {"COMMAND": v211.AuthMethod.AUTH_REQUEST})

# --- 2.1.1 -> 2.2.1 ------------------------------------------------------------------------------------


def _first_evse(work: Work, evses: list[v211.EVSE], at: str) -> Values:
    if not evses or not evses[0].connectors:
        work.refuse(at, "2.2.1 requires the EVSE and the connector")
    _lose_others(work, len(evses), at)
    evse, connectors = evses[0], f"{at}/0/connectors"
    result = work.fields(_EVSE_OF_CDR, fields_of(evse), f"{at}/0")
    if result["evse_id"] is None:
        result["evse_id"] = NOT_AVAILABLE
    work.lose_extra(evse.extra, f"{at}/0")
    _lose_others(work, len(evse.connectors), connectors)
    connector = evse.connectors[0]
    result |= work.fields(_CONNECTOR_OF_CDR, fields_of(connector), f"{connectors}/0")
    work.lose_extra(connector.extra, f"{connectors}/0")
    return result


def _lose_others(work: Work, count: int, at: str) -> None:
    for index in range(1, count):
        work.lose(f"{at}/{index}", "no-field", "2.2.1 has one EVSE and one connector per CDR: the first")


def _unsaid(work: Work, value: object, at: str) -> Values:
    if value is not None:
        work.lose(at, "no-field", "2.2.1 has no field for it")
    return {}


_EVSE_OF_CDR = Pair(
    source=v211.EVSE,
    target=v221.CdrLocation,
    rules={"uid": "evse_uid", "connectors": elsewhere, "coordinates": _unsaid},
)
_CONNECTOR_OF_CDR = Pair(
    source=v211.Connector,
    target=v221.CdrLocation,
    rules={
        "id": "connector_id",
        "standard": "connector_standard",
        "format": "connector_format",
        "power_type": "connector_power_type",
    },
)

differ(v211.Location, v221.CdrLocation, {"evses": _first_evse})
differ(
    v211.CDR,
    v221.CDR,
    {
        "stop_date_time": "end_date_time",
        "auth_id": to_cdr_token,
        "location": "cdr_location",
        "total_cost": to_price,
        "authorization_id": "authorization_reference",
    },
    complete=by_owner(v221.CDR),
)


def cdr_to_221(
    cdr: v211.CDR,
    owner: PartyId,
    *,
    token: v221.CdrToken | None = None,
    token_owner: PartyId | None = None,
) -> Converted[v221.CDR]:
    """Convert a CDR to 2.2.1.

    Args:
        cdr: The CDR.
        owner: The CPO it belongs to.
        token: The token of the session, where it is known; see `cdr_token`.
        token_owner: Otherwise, the eMSP of the token; without it, the one that the contract id names. The
            uid is then ``#NA``.

    Raises:
        NotConvertible: nobody says whose the token is, `token` has another contract id, or the CDR's location
            has no EVSE with a connector.
    """
    work = Work(Facts(owner=owner, cdr_token=token, token_owner=token_owner))
    return work.done(work.whole(cdr, v221.CDR))


# --- 2.2.1 -> 2.1.1 ------------------------------------------------------------------------------------


def _tariffs(work: Work, tariffs: list[v221.Tariff], at: str) -> Values:
    kept: list[v211.Tariff] = []
    for index, tariff in enumerate(tariffs):
        pointer = f"{at}/{index}"
        converted = work.whole(tariff, v211.Tariff, pointer)
        if converted.elements or not tariff.elements:
            kept.append(converted)
        else:
            work.lose(pointer, "condition", "2.1.1 cannot say the conditions of any element: left out")
    return {"tariffs": kept}


def _evse(work: Work, place: v221.CdrLocation, result: Values, at: str) -> None:
    """Put the EVSE and its connector into the Location, and around them what the CDR does not say."""
    facts = work.facts
    connector: Values = {"voltage": 0, "amperage": 0, "last_updated": facts.moment}
    evse: Values = {"status": v211.Status.UNKNOWN, "last_updated": facts.moment}
    location: Values = {"type": v211.LocationType.UNKNOWN, "last_updated": facts.moment}
    evse_extra = connector_extra = NO_EXTRA
    found: list[v211.EVSE] = []
    if facts.location is None:
        _lose_assumed(work, "/location", location)
    else:
        around = work.whole(facts.location, v211.Location, "/location")
        location, found = fields_of(around), around.evses
    if found:
        evse, evse_extra = fields_of(found[0]), found[0].extra
        first = found[0].connectors[0]
        connector, connector_extra = fields_of(first), first.extra
    else:
        _lose_assumed(work, "/location/evses/0", evse)
        _lose_assumed(work, "/location/evses/0/connectors/0", connector)
    values = fields_of(place)
    connector |= work.fields(_PLACE_TO_CONNECTOR, _named(values, "connector_"), at)
    evse |= work.fields(_PLACE_TO_EVSE, _named(values, "evse_"), at)
    if place.evse_id == NOT_AVAILABLE:
        evse["evse_id"] = None
    evse["connectors"] = [built(v211.Connector, connector, connector_extra)]
    result["evses"] = [built(v211.EVSE, evse, evse_extra)]
    for name, value in location.items():
        result.setdefault(name, value)
    fill_postal_code(work, place, result, "/location")


def _lose_assumed(work: Work, at: str, values: Values) -> None:
    for name in values:
        work.lose(f"{at}/{name}", "assumed", "2.1.1 requires it, and a CDR of 2.2.1 does not say it")


def _named(values: Values, prefix: str) -> Values:
    return {name: value for name, value in values.items() if name.startswith(prefix)}


_PLACE_TO_EVSE = Pair(
    source=v221.CdrLocation,
    target=v211.EVSE,
    rules={"evse_uid": "uid"},
)
_PLACE_TO_CONNECTOR = Pair(
    source=v221.CdrLocation,
    target=v211.Connector,
    rules={
        "connector_id": "id",
        "connector_standard": "standard",
        "connector_format": "format",
        "connector_power_type": "power_type",
    },
)

differ(
    v221.CdrLocation,
    v211.Location,
    dict.fromkeys(
        (
            "evse_uid",
            "evse_id",
            "connector_id",
            "connector_standard",
            "connector_format",
            "connector_power_type",
        ),
        elsewhere,
    ),
    complete=_evse,
)
differ(
    v221.CDR,
    v211.CDR,
    {
        "country_code": elsewhere,
        "party_id": elsewhere,
        "end_date_time": "stop_date_time",
        "cdr_token": to_auth_id,
        "authorization_reference": "authorization_id",
        "cdr_location": "location",
        "tariffs": _tariffs,
        "total_cost": to_number,
    },
)


def cdr_to_211(
    cdr: v221.CDR, *, location: v221.Location | None = None, as_iop: bool = False
) -> Converted[v211.CDR]:
    """Convert a CDR to 2.1.1, whose URL, not the object, says the owner.

    Args:
        cdr: The CDR.
        location: The Location of the CDR as it is now, where it is known: 2.1.1 has a whole Location in its
            CDRs. What the CDR itself says comes first. Without it, or without the EVSE in it, what 2.1.1
            requires beyond the CDR is assumed: type and status ``UNKNOWN``, 0 V, 0 A.
        as_iop: Convert as IOP does for an eMSP in 2.1.1: the tariffs say their owner.

    Raises:
        NotConvertible: it is a credit CDR, which 2.1.1 would bill once more, or `location` is another one.
    """
    if cdr.credit:
        raise NotConvertible("CDR", "/credit", "2.1.1 has no credit CDRs: it would be billed once more")
    place = cdr.cdr_location
    if location is not None:
        if not ci_equal(location.id, place.id):
            raise NotConvertible("CDR", "/cdr_location/id", "the Location given has another id")
        location = only_place(location, place.evse_uid, place.connector_id)
    owner = None if as_iop else PartyId(cdr.country_code, cdr.party_id)
    work = Work(Facts(owner=owner, location=location, moment=cdr.last_updated))
    return work.done(work.whole(cdr, v211.CDR))
