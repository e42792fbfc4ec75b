"""Sessions in the other version; knows no connection."""

from __future__ import annotations

from .. import v211, v221
from ..patch import Patch
from ..types import PartyId, ci_equal
from ._engine import Facts, Values, Work, by_owner, differ, elsewhere, instead
from .cdrs import NOT_AVAILABLE, only_place, to_auth_id, to_cdr_token, to_number, to_price
from .locations import iop_location
from .result import Converted, NotConvertible

# --- 2.1.1 -> 2.2.1 ------------------------------------------------------------------------------------


def _ids(work: Work, location: v211.Location | None, at: str) -> Values:
    if location is None:
        return {}
    work.lose(at, "no-field", "2.2.1 refers to the Location, its EVSE and its connector by their ids only")
    result = work.put(v221.Session, "location_id", location.id, f"{at}/id")
    evse = location.evses[0] if location.evses else None
    connector = evse.connectors[0] if evse and evse.connectors else None
    evse_uid, connector_id = evse.uid if evse else NOT_AVAILABLE, connector.id if connector else NOT_AVAILABLE
    result |= work.put(v221.Session, "evse_uid", evse_uid, f"{at}/evses/0/uid")
    return result | work.put(v221.Session, "connector_id", connector_id, f"{at}/evses/0/connectors/0/id")


differ(
    v211.Session,
    v221.Session,
    {
        "start_datetime": "start_date_time",
        "end_datetime": "end_date_time",
        "auth_id": to_cdr_token,
        "location": _ids,
        "total_cost": to_price,
        "authorization_id": "authorization_reference",
    },
    complete=by_owner(v221.Session),
)


def session_to_221(
    session: v211.Session,
    owner: PartyId,
    *,
    token: v221.CdrToken | None = None,
    token_owner: PartyId | None = None,
) -> Converted[v221.Session]:
    """Convert a Session to 2.2.1.

    2.2.1 refers to the Location by its ids: `location_to_221` of ``session.location`` keeps what it says.

    Args:
        session: The Session.
        owner: The CPO it belongs to.
        token: The token of the session, where it is known; see `cdr_token`.
        token_owner: Otherwise, the eMSP of the token; without it, the one that the contract id names. The
            uid is then ``#NA``.

    Raises:
        NotConvertible: nobody says whose the token is, or `token` has another contract id.
    """
    work = Work(Facts(owner=owner, cdr_token=token, token_owner=token_owner))
    return work.done(work.whole(session, v221.Session))


def session_patch_to_221(
    changes: Patch[v211.Session], *, token: v221.CdrToken | None = None, token_owner: PartyId | None = None
) -> Converted[Patch[v221.Session]]:
    """Convert some fields of a Session to 2.2.1; `token` and `token_owner` as in `session_to_221`.

    Raises:
        NotConvertible: it changes ``auth_id``, and nobody says whose the token is, or it changes
            ``charging_periods``, which a PATCH replaces in 2.1.1 and adds to in 2.2.1.
    """
    work = Work(Facts(cdr_token=token, token_owner=token_owner))
    return work.done(work.patch(changes, v221.Session))


# --- 2.2.1 -> 2.1.1 ------------------------------------------------------------------------------------


def _place(work: Work, value: str | None, at: str) -> Values:
    if work.facts.location is None and value is not None:
        work.lose(at, "no-field", "2.1.1 has a whole Location instead, which is not known here")
    return {}


def _location(work: Work, _: v221.Session, result: Values, __: str) -> None:
    if work.facts.location is not None:
        result["location"] = work.whole(work.facts.location, v211.Location, "/location")


differ(
    v221.Session,
    v211.Session,
    {
        "country_code": elsewhere,
        "party_id": elsewhere,
        "start_date_time": "start_datetime",
        "end_date_time": "end_datetime",
        "cdr_token": to_auth_id,
        "authorization_reference": "authorization_id",
        "location_id": _place,
        "evse_uid": _place,
        "connector_id": _place,
        "total_cost": to_number,
    },
    complete=_location,
)
# "This session might never become an active session": neither does a reservation. (2.1.1, sessions)
instead(v221.SessionStatus, {"RESERVATION": v211.SessionStatus.PENDING})


def session_to_211(
    session: v221.Session, location: v221.Location, *, as_iop: bool = False
) -> Converted[v211.Session]:
    """Convert a Session to 2.1.1, whose URL, not the object, says the owner.

    Args:
        session: The Session.
        location: Its Location, which 2.1.1 has in the Session with the one EVSE and the one connector; all
            connectors, or no EVSE, where the Session has ``#NA``. A loss in it has a pointer that starts with
            ``/location``.
        as_iop: Give the Location IOP's ids, as in `location_to_211`. The Session's id is not known here.

    Raises:
        NotConvertible: the Location given is not the session's, or lacks its EVSE or its connector.
    """
    if not ci_equal(location.id, session.location_id):
        raise NotConvertible("Session", "/location_id", "the Location given has another id")
    place = only_place(location, session.evse_uid, session.connector_id)
    if not place.evses and session.evse_uid != NOT_AVAILABLE:
        raise NotConvertible("Session", "/evse_uid", "the Location given lacks the EVSE or its connector")
    work = Work()
    work.facts = Facts(location=iop_location(work, place, "/location") if as_iop else place)
    if session.connector_id == NOT_AVAILABLE != session.evse_uid:
        work.lose("/connector_id", "replaced", "2.1.1 has no EVSE without a connector: all are there")
    return work.done(work.whole(session, v211.Session))


def session_patch_to_211(changes: Patch[v221.Session]) -> Converted[Patch[v211.Session]]:
    """Convert some fields of a Session to 2.1.1; ids of another Location are left out and reported.

    Raises:
        NotConvertible: it changes ``charging_periods``, which a PATCH replaces in 2.1.1 and adds to in 2.2.1.
    """
    work = Work()
    return work.done(work.patch(changes, v211.Session))
