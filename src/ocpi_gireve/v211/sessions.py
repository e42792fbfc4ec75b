"""Sessions, OCPI 2.1.1 mod_sessions: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field, frozen

from .._model import GIREVE_EXTENSION, PERSONAL, AsciiString, Model, model
from .._rules import CURRENCY, Findings, charging_periods, forms, in_order, not_negative, rule
from ..context import Context
from ..interface import Interface, get, listing, patch, put
from ..pagination import Page, PageQuery
from ..patch import Patch
from ..types import OcpiEnum, Role
from .cdrs import AuthMethod, ChargingPeriod
from .locations import Location, relevant_evse
from .versions import InterfaceRole, ModuleID


class SessionStatus(OcpiEnum):
    """The state of a session."""

    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    INVALID = "INVALID"
    PENDING = "PENDING"


@model
class Session(Model):
    """A charging session: one per vehicle and visit; the eMSP sees its progress."""

    reference = "2.1.1 sessions, Session"

    id: Annotated[str, AsciiString(36)]
    """Session id in the CPO platform."""
    start_datetime: datetime
    """When the session became active."""
    end_datetime: datetime | None = None
    """When the session was completed."""
    kwh: Decimal
    """Energy charged, kWh."""
    auth_id: Annotated[str, AsciiString(36), PERSONAL]
    """Auth_id of the token used."""
    auth_method: AuthMethod
    """How the driver was authenticated."""
    location: Location
    """Location, only the relevant EVSE and connector."""
    meter_id: Annotated[str, AsciiString(255)] | None = None
    """KWh meter id."""
    currency: Annotated[str, AsciiString(3)]
    """ISO 4217 currency."""
    charging_periods: list[ChargingPeriod] = field(factory=list[ChargingPeriod])
    """Periods to compute or verify the cost."""
    total_cost: Decimal | None = None
    """Cost excluding VAT; 0 is free, absent is unknown."""
    status: SessionStatus
    """Session status."""
    last_updated: datetime
    """Last change."""
    authorization_id: Annotated[str, AsciiString(), PERSONAL] | None = field(
        default=None, metadata=GIREVE_EXTENSION
    )
    """Id of the authorization given by IOP, to be repeated in Session and CDR. (GIREVE)"""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Session, currency=CURRENCY)
in_order(Session, "start_datetime", "end_datetime", equal=True)
not_negative(Session, "kwh")


@rule(Session, "charging_periods", "start_datetime", "end_datetime")
def periods_of_the_session(session: Session) -> Findings:
    """A period "ends when a next period starts, the last period ends when the session ends"."""
    starts = [one.start_date_time for one in session.charging_periods]
    yield from charging_periods(starts, session.start_datetime, session.end_datetime)


@rule(Session, "status", "end_datetime")
def ended_when_completed(session: Session) -> Findings:
    """The end is "the time when the session is completed"."""
    if session.status is SessionStatus.COMPLETED and session.end_datetime is None:
        yield "/end_datetime", "missing", "expected the end of a completed session"
    if session.status in (SessionStatus.PENDING, SessionStatus.ACTIVE) and session.end_datetime is not None:
        yield "/end_datetime", "unexpected", "expected none, as the session is not completed"


@rule(Session, "location")
def where_it_took_place(session: Session) -> Findings:
    """The location is there "including only the relevant EVSE and connector"."""
    yield from relevant_evse(session.location)


@frozen
class SessionRef:
    """Names a Session of a party."""

    country_code: str
    party_id: str
    session_id: str


class SessionsCpo(Interface):
    """What a CPO, or a hub, offers so that an eMSP can pull sessions. (mod_sessions, CPO interface)"""

    module, role = ModuleID.SESSIONS, InterfaceRole.CPO
    callers = frozenset({Role.EMSP})

    @listing(requires=("date_from",))
    @abstractmethod
    async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[Session]:
        """Return one page of the sessions, oldest first; the query says `date_from`."""


class SessionsEmsp(Interface):
    """What an eMSP, or a hub, offers so that a CPO can push sessions. (mod_sessions, eMSP interface)"""

    module, role = ModuleID.SESSIONS, InterfaceRole.EMSP
    callers = frozenset({Role.CPO})

    @get("{country_code}/{party_id}/{session_id}")
    @abstractmethod
    async def get_session(self, ctx: Context, ref: SessionRef) -> Session:
        """Return the session as this party stores it."""

    @put("{country_code}/{party_id}/{session_id}")
    @abstractmethod
    async def put_session(self, ctx: Context, ref: SessionRef, session: Session) -> None:
        """Create the session, or replace it."""

    @patch("{country_code}/{party_id}/{session_id}")
    @abstractmethod
    async def patch_session(self, ctx: Context, ref: SessionRef, changes: Patch[Session]) -> None:
        """Change some fields of the session."""
