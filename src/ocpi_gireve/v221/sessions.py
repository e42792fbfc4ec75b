"""Sessions, OCPI 2.2.1 mod_sessions: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field, frozen

from .._model import PERSONAL, Appended, CiString, Default, Model, String, model
from .._rules import (
    COUNTRY,
    CURRENCY,
    PARTY,
    Findings,
    charging_periods,
    forms,
    in_order,
    needed_in_patch,
    not_negative,
    rule,
)
from ..context import Context
from ..interface import Interface, get, listing, patch, put
from ..pagination import Page, PageQuery
from ..patch import Patch
from ..types import OcpiEnum, Role
from .cdrs import AuthMethod, CdrToken, ChargingPeriod, fed_in
from .types import Price, ProfileType
from .versions import InterfaceRole, ModuleID


class ChargingPreferencesResponse(OcpiEnum):
    """What became of the driver's preferences."""

    ACCEPTED = "ACCEPTED"
    DEPARTURE_REQUIRED = "DEPARTURE_REQUIRED"
    ENERGY_NEED_REQUIRED = "ENERGY_NEED_REQUIRED"
    NOT_POSSIBLE = "NOT_POSSIBLE"
    PROFILE_TYPE_NOT_SUPPORTED = "PROFILE_TYPE_NOT_SUPPORTED"


class SessionStatus(OcpiEnum):
    """The state of a session."""

    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    INVALID = "INVALID"
    PENDING = "PENDING"
    RESERVATION = "RESERVATION"


@model
class Session(Model):
    """A charging session: one per vehicle and visit; the eMSP sees its progress."""

    reference = "2.2.1 sessions, Session"

    country_code: Annotated[str, CiString(2)]
    """Country of the owning CPO."""
    party_id: Annotated[str, CiString(3)]
    """Id of the owning CPO."""
    id: Annotated[str, CiString(36)]
    """Session id in the CPO platform."""
    start_date_time: datetime
    """When it became ACTIVE (creation time while PENDING)."""
    end_date_time: datetime | None = None
    """When the session was completed."""
    kwh: Decimal
    """Energy charged, kWh."""
    cdr_token: CdrToken
    """Token that started the session."""
    auth_method: AuthMethod
    """How the driver was authenticated; may change."""
    authorization_reference: Annotated[str, CiString(36), PERSONAL] | None = None
    """The eMSP's authorization reference, repeated wherever the eMSP gave one, with or before the session."""
    location_id: Annotated[str, CiString(36)]
    """Location of the session."""
    evse_uid: Annotated[str, CiString(36)]
    """EVSE of the session; #NA for an unassigned reservation."""
    connector_id: Annotated[str, CiString(36)]
    """Connector of the session; #NA for an unassigned reservation."""
    meter_id: Annotated[str, String(255)] | None = None
    """KWh meter id."""
    currency: Annotated[str, String(3)]
    """ISO 4217 currency."""
    charging_periods: Annotated[list[ChargingPeriod], Appended()] = field(factory=list[ChargingPeriod])
    """Periods to compute or verify the cost."""
    total_cost: Price | None = None
    """Cost so far; 0 is free, absent is unknown."""
    status: SessionStatus
    """Session status."""
    last_updated: datetime
    """Last change."""


@model
class ChargingPreferences(Model):
    """What the driver wants from smart charging."""

    reference = "2.2.1 sessions, ChargingPreferences"

    profile_type: ProfileType
    """Smart charging profile wanted."""
    departure_time: datetime | None = None
    """Expected departure."""
    energy_need: Decimal | None = None
    """Energy wanted, kWh."""
    discharge_allowed: Annotated[bool, Default(False)] | None = None
    """EV may be discharged."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Session, country_code=COUNTRY, party_id=PARTY, currency=CURRENCY)
# "Any request to the PATCH method SHALL contain the last_updated field."
needed_in_patch(Session, "last_updated")
in_order(Session, "start_date_time", "end_date_time", equal=True)
not_negative(ChargingPreferences, "energy_need")

UNDER_WAY = frozenset({SessionStatus.PENDING, SessionStatus.RESERVATION, SessionStatus.ACTIVE})


@rule(Session, "charging_periods", "start_date_time", "end_date_time")
def periods_of_the_session(session: Session) -> Findings:
    """The text: "A period ends when the next period starts. The last period ends when the session ends"."""
    starts = [one.start_date_time for one in session.charging_periods]
    yield from charging_periods(starts, session.start_date_time, session.end_date_time)


@rule(Session, "kwh", "charging_periods")
def energy_of_a_session(session: Session) -> Findings:
    """What was charged is negative only where "more energy was feed into the grid"."""
    if session.kwh < 0 and not fed_in(session.charging_periods):
        yield "/kwh", "negative", "expected no negative number"


@rule(Session, "status", "end_date_time")
def ended_when_completed(session: Session) -> Findings:
    """The end is "when the session was completed/finished"."""
    if session.status is SessionStatus.COMPLETED and session.end_date_time is None:
        yield "/end_date_time", "missing", "expected the end of a completed session"
    if session.status in UNDER_WAY and session.end_date_time is not None:
        yield "/end_date_time", "unexpected", "expected none, as the session is not completed"


@frozen
class SessionRef:
    """Names a Session of a party."""

    country_code: str
    party_id: str
    session_id: str


@frozen
class OwnSessionRef:
    """Names a Session of the party that is asked."""

    session_id: str


class SessionsSender(Interface):
    """What a CPO, or a hub, offers so that others can pull sessions. (mod_sessions, sender interface)"""

    module, role = ModuleID.SESSIONS, InterfaceRole.SENDER
    callers = frozenset({Role.EMSP, Role.SCSP})

    @listing(requires=("date_from",))
    @abstractmethod
    async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[Session]:
        """Return one page of the sessions, oldest first; the query says `date_from`."""

    @put("{session_id}/charging_preferences")
    @abstractmethod
    async def put_charging_preferences(
        self, ctx: Context, ref: OwnSessionRef, preferences: ChargingPreferences
    ) -> ChargingPreferencesResponse:
        """Set what the driver wants of a session, and say whether it is possible."""


class SessionsReceiver(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push sessions. (mod_sessions, receiver interface)"""

    module, role = ModuleID.SESSIONS, InterfaceRole.RECEIVER
    callers = frozenset({Role.CPO})

    @get("{country_code}/{party_id}/{session_id}")
    @abstractmethod
    async def get_session(self, ctx: Context, ref: SessionRef) -> Session:
        """Return the session as this party stores it."""

    @put("{country_code}/{party_id}/{session_id}")
    @abstractmethod
    async def put_session(self, ctx: Context, ref: SessionRef, session: Session) -> None:
        """Create the session, or replace it, its charging periods included."""

    @patch("{country_code}/{party_id}/{session_id}")
    @abstractmethod
    async def patch_session(self, ctx: Context, ref: SessionRef, changes: Patch[Session]) -> None:
        """Change some fields of the session; charging periods given are appended to those there are."""
