"""ChargingProfiles, OCPI 2.2.1 mod_charging_profiles: the data types, and no behaviour."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from attrs import field

from .._model import Model, Url, model
from ..types import OcpiEnum


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
    limit: Decimal
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
    min_charging_rate: Decimal | None = None
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
