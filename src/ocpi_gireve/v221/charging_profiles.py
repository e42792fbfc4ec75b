"""ChargingProfiles, OCPI 2.2.1 mod_charging_profiles: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field, frozen

from .._model import Decimals, Model, Url, model
from .._rules import Findings, ascending, not_negative, rule
from ..context import Context
from ..interface import AT_LINK, Interface, delete, get, post, put
from ..pagination import Link
from ..types import OcpiEnum, Role
from .versions import InterfaceRole, ModuleID


class ChargingRateUnit(OcpiEnum):
    """Watts or amperes."""

    W = "W"
    A = "A"


class ChargingProfileResponseType(OcpiEnum):
    """The CPO's immediate answers to a charging profile request."""

    ACCEPTED = "ACCEPTED"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    REJECTED = "REJECTED"
    TOO_OFTEN = "TOO_OFTEN"
    UNKNOWN_SESSION = "UNKNOWN_SESSION"


class ChargingProfileResultType(OcpiEnum):
    """Outcomes of a charging profile request."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


@model
class ChargingProfileResponse(Model):
    """The CPO's immediate answer to a charging profile request."""

    reference = "2.2.1 chargingprofiles, ChargingProfileResponse"

    result: ChargingProfileResponseType
    """Answer of the CPO to the request."""
    timeout: int
    """Seconds to wait for the result."""


@model
class ChargingProfilePeriod(Model):
    """A limit from one moment on."""

    reference = "2.2.1 chargingprofiles, ChargingProfilePeriod"

    start_period: int
    """Seconds from the start of the profile."""
    limit: Annotated[Decimal, Decimals(1)]
    """Limit in the profile's unit, one decimal at most."""


@model
class ChargingProfile(Model):
    """Limits over time."""

    reference = "2.2.1 chargingprofiles, ChargingProfile"

    start_date_time: datetime | None = None
    """Absolute start; else relative to charging."""
    duration: int | None = None
    """Seconds; else until the end."""
    charging_rate_unit: ChargingRateUnit
    """Watts or amperes."""
    min_charging_rate: Annotated[Decimal, Decimals(1)] | None = None
    """Lowest rate the EV supports, one decimal at most."""
    charging_profile_period: list[ChargingProfilePeriod] = field(factory=list[ChargingProfilePeriod])
    """Limits per period."""


@model
class ActiveChargingProfile(Model):
    """The profile that an EVSE follows, calculated at one moment."""

    reference = "2.2.1 chargingprofiles, ActiveChargingProfile"

    start_date_time: datetime
    """When it was calculated; times are relative to it."""
    charging_profile: ChargingProfile
    """The planned profile."""


@model
class ActiveChargingProfileResult(Model):
    """The profile that an EVSE follows, sent when it is known."""

    reference = "2.2.1 chargingprofiles, ActiveChargingProfileResult"

    result: ChargingProfileResultType
    """Outcome at the EVSE."""
    profile: ActiveChargingProfile | None = None
    """The profile asked for; when result is ACCEPTED."""


@model
class ChargingProfileResult(Model):
    """The outcome of setting a charging profile."""

    reference = "2.2.1 chargingprofiles, ChargingProfileResult"

    result: ChargingProfileResultType
    """Outcome at the EVSE."""


@model
class ClearProfileResult(Model):
    """The outcome of clearing a charging profile."""

    reference = "2.2.1 chargingprofiles, ClearProfileResult"

    result: ChargingProfileResultType
    """Outcome at the EVSE."""


@model
class SetChargingProfile(Model):
    """A charging profile to be set on a session."""

    reference = "2.2.1 chargingprofiles, SetChargingProfile"

    charging_profile: ChargingProfile
    """Limits over time."""
    response_url: Annotated[str, Url()]
    """Where the ChargingProfileResult is posted."""


# --- rules of the text that no table shows ----------------------------------------------------------

not_negative(ChargingProfileResponse, "timeout")
not_negative(ChargingProfile, "duration")


@rule(ChargingProfile, "charging_profile_period")
def periods_in_order(profile: ChargingProfile) -> Findings:
    """The start of a period "also defines the stop time of the previous period". (ChargingProfilePeriod)"""
    starts = [one.start_period for one in profile.charging_profile_period]
    yield from ascending("charging_profile_period", "start_period", starts)


@rule(ChargingProfile, "duration", "charging_profile_period")
def periods_within_the_duration(profile: ChargingProfile) -> Findings:
    """No period starts when the profile is over."""
    if profile.duration is None or profile.duration < 0:
        return
    for index, period in enumerate(profile.charging_profile_period):
        if period.start_period > profile.duration:
            pointer = f"/charging_profile_period/{index}/start_period"
            yield pointer, "order", "expected no more than the duration of the profile"


@rule(ActiveChargingProfileResult, "result", "profile")
def profile_when_accepted(result: ActiveChargingProfileResult) -> Findings:
    """The text: "The requested ActiveChargingProfile, if the result field is set to: ACCEPTED"."""
    accepted = result.result is ChargingProfileResultType.ACCEPTED
    if accepted and result.profile is None:
        yield "/profile", "missing", "expected the profile that was asked for"
    if not accepted and result.profile is not None:
        yield "/profile", "unexpected", "expected none, as the request was not accepted"


@frozen
class ActiveProfileRef:
    """Asks for the charging profile of a Session.

    Attributes:
        session_id: The session.
        duration: How much of the profile is wanted, in seconds.
        response_url: Where the `ActiveChargingProfileResult` is posted.
    """

    session_id: str
    duration: int
    response_url: Annotated[str, Url()]


@frozen
class ProfileRef:
    """Names the charging profile of a Session."""

    session_id: str


@frozen
class ClearProfileRef:
    """Asks to clear the charging profile of a Session.

    Attributes:
        session_id: The session.
        response_url: Where the `ClearProfileResult` is posted.
    """

    session_id: str
    response_url: Annotated[str, Url()]


class ChargingProfilesReceiver(Interface):
    """What a CPO, or a hub, offers so that others can charge smartly. (mod_charging_profiles, receiver)

    The answer says only whether the request is passed on; the outcome is posted to its ``response_url``.
    """

    module, role = ModuleID.CHARGINGPROFILES, InterfaceRole.RECEIVER
    callers = frozenset({Role.SCSP, Role.EMSP})

    @get("{session_id}")
    @abstractmethod
    async def get_active_charging_profile(
        self, ctx: Context, ref: ActiveProfileRef
    ) -> ChargingProfileResponse:
        """Ask the charge point for the profile that it follows."""

    @put("{session_id}")
    @abstractmethod
    async def put_charging_profile(
        self, ctx: Context, ref: ProfileRef, profile: SetChargingProfile
    ) -> ChargingProfileResponse:
        """Set the profile of a session, or replace it."""

    @delete("{session_id}")
    @abstractmethod
    async def delete_charging_profile(self, ctx: Context, ref: ClearProfileRef) -> ChargingProfileResponse:
        """Clear the profile of a session."""


class ChargingProfilesSender(Interface):
    """What who charges smartly, or a hub, offers to learn of outcomes. (mod_charging_profiles, sender)"""

    module, role = ModuleID.CHARGINGPROFILES, InterfaceRole.SENDER
    callers = frozenset({Role.CPO})

    @post(AT_LINK)
    @abstractmethod
    async def post_profile_result(
        self,
        ctx: Context,
        link: Link,
        result: ChargingProfileResult | ClearProfileResult | ActiveChargingProfileResult,
    ) -> None:
        """Take the outcome of the request whose ``response_url`` this is.

        The link tells what was asked, and only the link: the three look alike. What arrives with a profile
        is an `ActiveChargingProfileResult`, all else a `ChargingProfileResult`, whatever was sent.
        """

    @put("{session_id}")
    @abstractmethod
    async def put_active_charging_profile(
        self, ctx: Context, ref: ProfileRef, profile: ActiveChargingProfile
    ) -> None:
        """Take the profile of a session that changed without a request."""
