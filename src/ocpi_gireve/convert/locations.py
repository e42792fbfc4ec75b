"""Locations in the other version: Location, EVSE, Connector and their parts; knows no connection."""

from __future__ import annotations

import re
from decimal import Decimal

import attrs

from .. import v211, v221
from .._model import Model, replaced, spec_of
from ..patch import Patch
from ..types import PartyId
from ._engine import Facts, Rule, Values, Work, differ, elsewhere, instead
from .result import Converted, NotConvertible

# --- 2.1.1 -> 2.2.1 ------------------------------------------------------------------------------------


def _parking_type(work: Work, value: v211.LocationType | None, at: str) -> Values:
    # "Removed the values OTHER and UNKNOWN, no longer needed as this is now optional." (2.2 changelog)
    known = None if value == v211.LocationType.UNKNOWN else value
    return work.put(v221.Location, "parking_type", known, at)


def _tariff_ids(work: Work, value: str | None, at: str) -> Values:
    if value is None:
        return {"tariff_ids": []}
    item = attrs.evolve(spec_of(v221.Connector, "tariff_ids"), many=False)
    return {"tariff_ids": [work.value(item, value, at, v221.Connector)]}


def _own(work: Work, _: v211.Location, result: Values, at: str) -> None:
    work.own(v221.Location, work.facts.owner, result, at)
    if result["time_zone"] is None:
        result |= work.put(v221.Location, "time_zone", work.facts.time_zone, f"{at}/time_zone")
        work.lose(f"{at}/time_zone", "assumed", "2.2.1 requires a time zone")


differ(
    v211.Location,
    v221.Location,
    {"type": _parking_type},
    complete=_own,
    # "Locations having publish set to false are not transferred to parties in 2.1.1." (GIREVE 2.2.1)
    defaults={"publish": True},
)
differ(
    v211.Connector,
    v221.Connector,
    {
        "voltage": "max_voltage",
        "amperage": "max_amperage",
        "tariff_id": _tariff_ids,
    },
)
differ(v211.EnvironmentalImpact, v221.EnvironmentalImpact, {"source": "category"})


def _not_always_open(work: Work, _: v211.Hours, result: Values, at: str) -> None:
    # In 2.1.1 regular hours and twentyfourseven were alternatives. (2.2 changelog)
    if result["twentyfourseven"] is None:
        result["twentyfourseven"] = False
        work.lose(f"{at}/twentyfourseven", "assumed", "2.2.1 requires it beside regular hours too")


differ(v211.Hours, v221.Hours, complete=_not_always_open)


def location_to_221(
    location: v211.Location, owner: PartyId, *, time_zone: str = "UTC", as_iop: bool = False
) -> Converted[v221.Location]:
    """Convert a Location to 2.2.1.

    Args:
        location: The Location.
        owner: The CPO it belongs to: 2.1.1 says it in the URL. See `cpo_of` for what IOP sends.
        time_zone: IANA name of its time zone, used and reported where the Location has none.
        as_iop: The ids are IOP's own, as IOP sends them to an eMSP in 2.1.1: they become ``gireve_id`` too.
            (GIREVE 2.2.1, Gireve management of Ids)
    """
    work = Work(Facts(owner=owner, time_zone=time_zone))
    value = work.whole(location, v221.Location)
    if as_iop:
        evses = [_marked_evse(evse) for evse in value.evses]
        value = replaced(value, {"gireve_id": value.id, "evses": evses})
    return work.done(value)


def evse_to_221(evse: v211.EVSE, *, as_iop: bool = False) -> Converted[v221.EVSE]:
    """Convert an EVSE to 2.2.1; `as_iop` as in `location_to_221`."""
    work = Work()
    value = work.whole(evse, v221.EVSE)
    return work.done(_marked_evse(value) if as_iop else value)


def connector_to_221(connector: v211.Connector, *, as_iop: bool = False) -> Converted[v221.Connector]:
    """Convert a Connector to 2.2.1; `as_iop` as in `location_to_221`."""
    work = Work()
    value = work.whole(connector, v221.Connector)
    return work.done(_marked_connector(value) if as_iop else value)


def _marked_evse(evse: v221.EVSE) -> v221.EVSE:
    connectors = [_marked_connector(connector) for connector in evse.connectors]
    return replaced(evse, {"gireve_id": evse.uid, "connectors": connectors})


def _marked_connector(connector: v221.Connector) -> v221.Connector:
    return replaced(connector, {"gireve_id": connector.id})


def location_patch_to_221(changes: Patch[v211.Location]) -> Converted[Patch[v221.Location]]:
    """Convert some fields of a Location to 2.2.1; EVSEs among them are whole, as in the message."""
    work = Work()
    return work.done(work.patch(changes, v221.Location))


def evse_patch_to_221(changes: Patch[v211.EVSE]) -> Converted[Patch[v221.EVSE]]:
    """Convert some fields of an EVSE to 2.2.1: its status, most of the time."""
    work = Work()
    return work.done(work.patch(changes, v221.EVSE))


def connector_patch_to_221(changes: Patch[v211.Connector]) -> Converted[Patch[v221.Connector]]:
    """Convert some fields of a Connector to 2.2.1."""
    work = Work()
    return work.done(work.patch(changes, v221.Connector))


def business_details_to_221(details: v211.BusinessDetails) -> Converted[v221.BusinessDetails]:
    """Convert a company's details to 2.2.1."""
    work = Work()
    return work.done(work.whole(details, v221.BusinessDetails))


# --- 2.2.1 -> 2.1.1 ------------------------------------------------------------------------------------

_DECIMAL_DEGREES = re.compile(r"-?[0-9]{1,3}\.[0-9]+", re.ASCII)
_SIXTH_DECIMAL = Decimal("0.000001")


def _six_decimals(name: str) -> Rule:
    """Make the rule of a coordinate: 2.2.1 writes 5 to 7 decimals, 2.1.1 exactly 6."""

    def rule(work: Work, value: str, at: str) -> Values:
        if not _DECIMAL_DEGREES.fullmatch(value) or len(value.rpartition(".")[2]) == 6:
            return work.put(v211.GeoLocation, name, value, at)
        exact = Decimal(value)
        rounded = exact.quantize(_SIXTH_DECIMAL)
        what = "written with" if rounded == exact else "rounded to"
        work.lose(at, "precision", f"{what} the six decimals of 2.1.1")
        return work.put(v211.GeoLocation, name, f"{rounded:f}", at)

    return rule


def _location_type(work: Work, value: v221.ParkingType | None, at: str) -> Values:
    return work.put(v211.Location, "type", v211.LocationType.UNKNOWN if value is None else value, at)


def _published(work: Work, value: bool | None, at: str) -> Values:
    if value is False:
        work.lose(at, "no-field", "2.1.1 has no field for it")
    return {}


def _first_tariff(work: Work, value: list[str] | None, at: str) -> Values:
    tariffs = value or []
    for index in range(1, len(tariffs)):
        work.lose(f"{at}/{index}", "no-field", "2.1.1 has one tariff per connector: the first")
    return work.put(v211.Connector, "tariff_id", tariffs[0] if tariffs else None, f"{at}/0")


def fill_postal_code(work: Work, _: Model, result: Values, at: str) -> None:
    """Fill the postal code, which 2.1.1 requires."""
    if result.get("postal_code") is None:
        result["postal_code"] = ""
        work.lose(f"{at}/postal_code", "assumed", "2.1.1 requires a postal code: an empty one")


_COORDINATES = {"latitude": _six_decimals("latitude"), "longitude": _six_decimals("longitude")}

differ(v221.GeoLocation, v211.GeoLocation, _COORDINATES)
differ(v221.AdditionalGeoLocation, v211.AdditionalGeoLocation, _COORDINATES)
differ(
    v221.Location,
    v211.Location,
    {
        "country_code": elsewhere,
        "party_id": elsewhere,
        "publish": _published,
        "parking_type": _location_type,
    },
    complete=fill_postal_code,
)
differ(
    v221.Connector,
    v211.Connector,
    {"max_voltage": "voltage", "max_amperage": "amperage", "tariff_ids": _first_tariff},
)
differ(v221.EnvironmentalImpact, v211.EnvironmentalImpact, {"category": "source"})
instead(
    v221.ParkingType,
    {"ALONG_MOTORWAY": v211.LocationType.OTHER, "ON_DRIVEWAY": v211.LocationType.OTHER},
)
# Half of the truth, and never more power than there is.
instead(
    v221.PowerType,
    {"AC_2_PHASE": v211.PowerType.AC_1_PHASE, "AC_2_PHASE_SPLIT": v211.PowerType.AC_1_PHASE},
)


def location_to_211(location: v221.Location, *, as_iop: bool = False) -> Converted[v211.Location]:
    """Convert a Location to 2.1.1, whose URL, not the object, says the owner.

    Args:
        location: The Location.
        as_iop: Convert as IOP does for an eMSP in 2.1.1: ``gireve_id`` becomes the id of Location, EVSE and
            Connector where there is one, ``operator.name`` the owner (``FR*CPO``), and the tariffs of an
            EVSE's first connector those of all. (GIREVE 2.2.1, Gireve management of Ids; 2.1.1, eMSP
            locations)

    Raises:
        NotConvertible: ``publish`` is false: 2.1.1 cannot say that a Location must not be shown, and IOP
            keeps it from parties in 2.1.1.
    """
    if not location.publish:
        reason = "2.1.1 cannot say that a Location must not be shown"
        raise NotConvertible("Location", "/publish", reason)
    work = Work()
    return work.done(work.whole(iop_location(work, location) if as_iop else location, v211.Location))


def evse_to_211(evse: v221.EVSE, *, as_iop: bool = False) -> Converted[v211.EVSE]:
    """Convert an EVSE to 2.1.1; `as_iop` as in `location_to_211`."""
    work = Work()
    return work.done(work.whole(_evse_as_iop(work, evse, "") if as_iop else evse, v211.EVSE))


def connector_to_211(connector: v221.Connector, *, as_iop: bool = False) -> Converted[v211.Connector]:
    """Convert a Connector to 2.1.1; `as_iop` as in `location_to_211`."""
    work = Work()
    return work.done(
        work.whole(_connector_as_iop(work, connector, "") if as_iop else connector, v211.Connector)
    )


def iop_location(work: Work, location: v221.Location, at: str = "") -> v221.Location:
    """Return the Location as IOP passes it on in 2.1.1: with its own ids, the owner in ``operator.name``."""
    name = str(PartyId(location.country_code, location.party_id))
    if location.operator is None:
        operator = v221.BusinessDetails(name=name)
        work.lose(f"{at}/operator/name", "assumed", "IOP writes the owner here")
    else:
        operator = replaced(location.operator, {"name": name})
        if location.operator.name != name:
            work.lose(f"{at}/operator/name", "replaced", "IOP writes the owner here")
    evses = [_evse_as_iop(work, evse, f"{at}/evses/{index}") for index, evse in enumerate(location.evses)]
    id_ = _iop_id(work, location.id, location.gireve_id, f"{at}/id")
    return replaced(location, {"id": id_, "gireve_id": None, "operator": operator, "evses": evses})


def _evse_as_iop(work: Work, evse: v221.EVSE, at: str) -> v221.EVSE:
    uid = _iop_id(work, evse.uid, evse.gireve_id, f"{at}/uid")
    connectors: list[v221.Connector] = []
    for index, connector in enumerate(evse.connectors):
        pointer = f"{at}/connectors/{index}"
        # IOP attaches tariffs to the EVSE, and takes them from its first connector. (2.2.1, CPO locations)
        tariffs = evse.connectors[0].tariff_ids
        if tariffs != connector.tariff_ids:
            work.lose(f"{pointer}/tariff_ids", "replaced", "IOP applies those of the first connector")
        changed = replaced(connector, {"tariff_ids": tariffs})
        connectors.append(_connector_as_iop(work, changed, pointer))
    return replaced(evse, {"uid": uid, "gireve_id": None, "connectors": connectors})


def _connector_as_iop(work: Work, connector: v221.Connector, at: str) -> v221.Connector:
    id_ = _iop_id(work, connector.id, connector.gireve_id, f"{at}/id")
    return replaced(connector, {"id": id_, "gireve_id": None})


def _iop_id(work: Work, id_: str, gireve_id: str | None, at: str) -> str:
    if gireve_id is None or gireve_id == id_:
        return id_
    work.lose(at, "replaced", "the id is IOP's, not the owner's")
    return gireve_id


def location_patch_to_211(changes: Patch[v221.Location]) -> Converted[Patch[v211.Location]]:
    """Convert some fields of a Location to 2.1.1; EVSEs among them are whole, as in the message.

    Raises:
        NotConvertible: it sets ``publish`` to false; see `location_to_211`.
    """
    if changes.changes.get("publish") is False:
        reason = "2.1.1 cannot say that a Location must not be shown"
        raise NotConvertible("Patch[Location]", "/publish", reason)
    work = Work()
    return work.done(work.patch(changes, v211.Location))


def evse_patch_to_211(changes: Patch[v221.EVSE]) -> Converted[Patch[v211.EVSE]]:
    """Convert some fields of an EVSE to 2.1.1: its status, most of the time."""
    work = Work()
    return work.done(work.patch(changes, v211.EVSE))


def connector_patch_to_211(changes: Patch[v221.Connector]) -> Converted[Patch[v211.Connector]]:
    """Convert some fields of a Connector to 2.1.1: its tariffs, most of the time."""
    work = Work()
    return work.done(work.patch(changes, v211.Connector))


def business_details_to_211(details: v221.BusinessDetails) -> Converted[v211.BusinessDetails]:
    """Convert a company's details to 2.1.1."""
    work = Work()
    return work.done(work.whole(details, v211.BusinessDetails))
