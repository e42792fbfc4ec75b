"""GIREVE's use cases, and of which operations they consist: facts of its guides; drives none of them.

Of an operation that is in no use case the guides do not say that anybody asks it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from attrs import frozen

from .. import v211, v221
from ..interface import Operation, operation_of
from ..types import Role

_Methods = tuple[Callable[..., Any], ...]


class Direction(StrEnum):
    """Who asks whom."""

    TO_IOP = "ToIOP"
    """The partner asks IOP."""
    FROM_IOP = "FromIOP"
    """IOP asks the partner."""


class Required(StrEnum):
    """When a partner must have a use case. (Use cases required by Gireve)"""

    ALWAYS = "always"
    ROAMING = "roaming"
    """Where it roams."""
    TARIFFS_NOT_IN_AGREEMENT = "tariffs-not-in-agreement"
    """Where the tariffs of a CPO are not part of a roaming agreement."""
    IF_LOCATIONS_STATIC = "if-locations-static"
    IF_LOCATIONS_DYNAMIC = "if-locations-dynamic"
    IF_SESSIONS = "if-sessions"
    IF_REMOTE_AUTHORISATION = "if-remote-authorisation"
    OPTIONAL = "optional"


@frozen
class UseCase:
    """A use case that IOP covers.

    Attributes:
        version: The version of OCPI.
        role: What the partner is.
        direction: Who begins; None where the guide does not say.
        name: The guide's name.
        required: When a partner must have it. Of "Register" one direction is enough, as it is of an eMSP's
            sessions and CDRs.
        to_iop: What the partner asks of IOP in it.
        from_iop: What IOP asks of the partner in it.
    """

    version: str
    role: Role
    direction: Direction | None
    name: str
    required: Required
    to_iop: tuple[Operation, ...]
    from_iop: tuple[Operation, ...]

    def operations(self, direction: Direction) -> tuple[Operation, ...]:
        """Return what is asked in one direction."""
        return self.to_iop if direction is Direction.TO_IOP else self.from_iop


TO, FROM = Direction.TO_IOP, Direction.FROM_IOP
ALWAYS, ROAMING, OPTIONAL = Required.ALWAYS, Required.ROAMING, Required.OPTIONAL


def _cases(
    version: str,
    role: Role,
    rows: tuple[tuple[Direction | None, str, Required, _Methods, _Methods], ...],
) -> tuple[UseCase, ...]:
    return tuple(
        UseCase(
            version,
            role,
            direction,
            name,
            required,
            tuple(map(operation_of, to_iop)),
            tuple(map(operation_of, from_iop)),
        )
        for direction, name, required, to_iop, from_iop in rows
    )


_V221 = (v221.VersionsInterface.get_versions, v221.VersionsInterface.get_version_details)
_V211 = (v211.VersionsInterface.get_versions, v211.VersionsInterface.get_version_details)
_ALL_OF_LOCATIONS_211 = (
    v211.LocationsEmsp.put_location,
    v211.LocationsEmsp.put_evse,
    v211.LocationsEmsp.put_connector,
    v211.LocationsEmsp.patch_location,
    v211.LocationsEmsp.patch_evse,
    v211.LocationsEmsp.patch_connector,
)
_STATUS_211 = (v211.LocationsEmsp.patch_evse, v211.LocationsEmsp.put_evse)

# Use cases covered by IOP, and Use cases required by Gireve: 2.2.1 guide; and each module's page of the 2.1.1
# guide, whose operations follow from the names of its web services. The 2.2.1 guide has no page for eMSPs.
USE_CASES: tuple[UseCase, ...] = (
    *_cases(
        "2.2.1",
        Role.CPO,
        (
            (FROM, "Register", ALWAYS, _V221, (*_V221, v221.CredentialsInterface.post_credentials)),
            (TO, "Register", ALWAYS, (*_V221, v221.CredentialsInterface.post_credentials), _V221),
            (TO, "Update Credentials", OPTIONAL, (v221.CredentialsInterface.put_credentials,), ()),
            (FROM, "Update Credentials", OPTIONAL, (), (v221.CredentialsInterface.put_credentials,)),
            (FROM, "Unregister", OPTIONAL, (), (v221.CredentialsInterface.delete_credentials,)),
            (TO, "Unregister", OPTIONAL, (v221.CredentialsInterface.delete_credentials,), ()),
            (
                TO,
                "Push EVCI",
                ALWAYS,
                (
                    v221.LocationsReceiver.put_location,
                    v221.LocationsReceiver.put_evse,
                    v221.LocationsReceiver.put_connector,
                ),
                (),
            ),
            (
                TO,
                "Update EVCI",
                OPTIONAL,
                (
                    v221.LocationsReceiver.patch_location,
                    v221.LocationsReceiver.patch_evse,
                    v221.LocationsReceiver.patch_connector,
                ),
                (),
            ),
            (FROM, "Pull EVCI", ALWAYS, (), (v221.LocationsSender.list_locations,)),
            (
                TO,
                "Check EVCI",
                OPTIONAL,
                (
                    v221.LocationsReceiver.get_location,
                    v221.LocationsReceiver.get_evse,
                    v221.LocationsReceiver.get_connector,
                ),
                (),
            ),
            (TO, "Pull Tokens", OPTIONAL, (v221.TokensSender.list_tokens,), ()),
            (
                FROM,
                "Push Tokens",
                OPTIONAL,
                (),
                (v221.TokensReceiver.put_token, v221.TokensReceiver.patch_token),
            ),
            (TO, "Real-Time Authorization", ROAMING, (v221.TokensSender.authorize,), ()),
            (
                FROM,
                "Remote start",
                ROAMING,
                (v221.CommandsSender.post_result,),
                (v221.CommandsReceiver.start_session,),
            ),
            (
                FROM,
                "Remote stop",
                ROAMING,
                (v221.CommandsSender.post_result,),
                (v221.CommandsReceiver.stop_session,),
            ),
            (TO, "Push Sessions", ROAMING, (v221.SessionsReceiver.put_session,), ()),
            (FROM, "Pull Sessions", OPTIONAL, (), (v221.SessionsSender.list_sessions,)),
            (TO, "Check Sessions", OPTIONAL, (v221.SessionsReceiver.get_session,), ()),
            # Smart charging, under this name.
            (FROM, "Push Sessions", OPTIONAL, (), (v221.SessionsSender.put_charging_preferences,)),
            (TO, "Push CDRs", ROAMING, (v221.CdrsReceiver.post_cdr,), ()),
            (FROM, "Pull CDRs", OPTIONAL, (), (v221.CdrsSender.list_cdrs,)),
            (TO, "Check CDRs", OPTIONAL, (v221.CdrsReceiver.get_cdr,), ()),
            (None, "CreditCDRs", OPTIONAL, (), ()),
            (TO, "Push Tariffs", Required.TARIFFS_NOT_IN_AGREEMENT, (v221.TariffsReceiver.put_tariff,), ()),
            (FROM, "Pull Tariffs", OPTIONAL, (), (v221.TariffsSender.list_tariffs,)),
            (TO, "Delete Tariffs", OPTIONAL, (v221.TariffsReceiver.delete_tariff,), ()),
            (TO, "Check Tariffs", OPTIONAL, (v221.TariffsReceiver.get_tariff,), ()),
            (FROM, "PUSH Hub Client Info", OPTIONAL, (), (v221.HubClientInfoReceiver.put_client_info,)),
            # Its title says FromIOP, its operation ToIOP.
            (FROM, "PULL Hub Client Info", OPTIONAL, (v221.HubClientInfoSender.list_client_infos,), ()),
            (
                FROM,
                "Reserve now",
                OPTIONAL,
                (v221.CommandsSender.post_result,),
                (v221.CommandsReceiver.reserve_now,),
            ),
            (
                FROM,
                "Cancel reservation",
                OPTIONAL,
                (v221.CommandsSender.post_result,),
                (v221.CommandsReceiver.cancel_reservation,),
            ),
            (
                FROM,
                "Unlock Connector",
                OPTIONAL,
                (v221.CommandsSender.post_result,),
                (v221.CommandsReceiver.unlock_connector,),
            ),
        ),
    ),
    *_cases(
        "2.1.1",
        Role.CPO,
        (
            (FROM, "Register", ALWAYS, _V211, (*_V211, v211.CredentialsInterface.post_credentials)),
            (TO, "Register", ALWAYS, (*_V211, v211.CredentialsInterface.post_credentials), _V211),
            (TO, "Update credentials", OPTIONAL, (v211.CredentialsInterface.put_credentials,), ()),
            (FROM, "Unregister", OPTIONAL, (), (v211.CredentialsInterface.delete_credentials,)),
            (TO, "Unregister", OPTIONAL, (v211.CredentialsInterface.delete_credentials,), ()),
            (TO, "Push Locations Static data", OPTIONAL, _ALL_OF_LOCATIONS_211, ()),
            (TO, "Push Locations Dynamic data (EVSE status)", ALWAYS, _STATUS_211, ()),
            (FROM, "Pull Locations (Static data)", ALWAYS, (), (v211.LocationsCpo.list_locations,)),
            (
                TO,
                "Check Locations",
                OPTIONAL,
                (
                    v211.LocationsEmsp.get_location,
                    v211.LocationsEmsp.get_evse,
                    v211.LocationsEmsp.get_connector,
                ),
                (),
            ),
            (TO, "Pull Tokens", ROAMING, (v211.TokensEmsp.list_tokens,), ()),
            (TO, "Pull Tokens (of a single eMSP)", ROAMING, (v211.TokensEmsp.list_tokens,), ()),
            (TO, "Pull Tokens by uid", OPTIONAL, (v211.GireveTokens.get_token,), ()),
            (TO, "Realtime Authorisation", ROAMING, (v211.TokensEmsp.authorize,), ()),
            (
                FROM,
                "Start Session",
                ROAMING,
                (v211.CommandsEmsp.post_result,),
                (v211.CommandsCpo.start_session,),
            ),
            (
                FROM,
                "Stop Session",
                ROAMING,
                (v211.CommandsEmsp.post_result,),
                (v211.CommandsCpo.stop_session,),
            ),
            (
                TO,
                "Push Session",
                ROAMING,
                (v211.SessionsEmsp.put_session, v211.SessionsEmsp.patch_session),
                (),
            ),
            (TO, "Check Session", OPTIONAL, (v211.SessionsEmsp.get_session,), ()),
            (TO, "Push CDR", ROAMING, (v211.CdrsEmsp.post_cdr,), ()),
            (FROM, "Pull CDR", ROAMING, (), (v211.CdrsCpo.list_cdrs,)),
            (TO, "Check CDR", OPTIONAL, (v211.CdrsEmsp.get_cdr,), ()),
            (TO, "Push Tariffs", Required.TARIFFS_NOT_IN_AGREEMENT, (v211.TariffsEmsp.put_tariff,), ()),
            (FROM, "Pull Tariffs", Required.TARIFFS_NOT_IN_AGREEMENT, (), (v211.TariffsCpo.list_tariffs,)),
        ),
    ),
    *_cases(
        "2.1.1",
        Role.EMSP,
        (
            (FROM, "Register", ALWAYS, _V211, (*_V211, v211.CredentialsInterface.post_credentials)),
            (TO, "Register", ALWAYS, (*_V211, v211.CredentialsInterface.post_credentials), _V211),
            (TO, "Update credentials", OPTIONAL, (v211.CredentialsInterface.put_credentials,), ()),
            (FROM, "Unregister", OPTIONAL, (), (v211.CredentialsInterface.delete_credentials,)),
            (TO, "Unregister", OPTIONAL, (v211.CredentialsInterface.delete_credentials,), ()),
            (FROM, "Push Locations Static data", OPTIONAL, (), _ALL_OF_LOCATIONS_211),
            (
                FROM,
                "Push Locations Dynamic data (EVSE status)",
                Required.IF_LOCATIONS_DYNAMIC,
                (),
                _STATUS_211,
            ),
            (
                TO,
                "Pull Locations (Static data)",
                Required.IF_LOCATIONS_STATIC,
                (v211.LocationsCpo.list_locations,),
                (),
            ),
            # The locations of one CPO, named in OCPI-to-*.
            (TO, "Check Locations", OPTIONAL, (v211.LocationsCpo.list_locations,), ()),
            (
                TO,
                "Get one Location, EVSE or Connector",
                OPTIONAL,
                (
                    v211.LocationsCpo.get_location,
                    v211.LocationsCpo.get_evse,
                    v211.LocationsCpo.get_connector,
                ),
                (),
            ),
            (TO, "Push Tokens", OPTIONAL, (v211.TokensCpo.put_token, v211.TokensCpo.patch_token), ()),
            (FROM, "Pull Tokens", ROAMING, (), (v211.TokensEmsp.list_tokens,)),
            (TO, "Check Tokens", OPTIONAL, (v211.TokensCpo.get_token,), ()),
            (FROM, "Realtime Authorisation", OPTIONAL, (), (v211.TokensEmsp.authorize,)),
            (
                TO,
                "Start Session",
                Required.IF_REMOTE_AUTHORISATION,
                (v211.CommandsCpo.start_session,),
                (v211.CommandsEmsp.post_result,),
            ),
            (
                TO,
                "Stop Session",
                Required.IF_REMOTE_AUTHORISATION,
                (v211.CommandsCpo.stop_session,),
                (v211.CommandsEmsp.post_result,),
            ),
            (
                FROM,
                "Push Sessions",
                Required.IF_SESSIONS,
                (),
                (v211.SessionsEmsp.put_session, v211.SessionsEmsp.patch_session),
            ),
            (TO, "Pull Sessions", Required.IF_SESSIONS, (v211.SessionsCpo.list_sessions,), ()),
            (FROM, "Push CDR", ROAMING, (), (v211.CdrsEmsp.post_cdr,)),
            (TO, "Pull CDR", ROAMING, (v211.CdrsCpo.list_cdrs,), ()),
            (TO, "Pull Tariffs", OPTIONAL, (v211.TariffsCpo.list_tariffs,), ()),
        ),
    ),
)
"""Every use case of both guides, in their order."""

_DENIED: _Methods = (
    # 2.2.1 guide: registration; tokens; commands; sessions; modules implemented by IOP.
    v221.CredentialsInterface.put_credentials,
    v221.TokensSender.list_tokens,
    v221.CommandsReceiver.cancel_reservation,
    v221.CommandsReceiver.reserve_now,
    v221.CommandsReceiver.unlock_connector,
    v221.SessionsReceiver.patch_session,
    v221.SessionsSender.put_charging_preferences,
    v221.ChargingProfilesReceiver.get_active_charging_profile,
    v221.ChargingProfilesReceiver.put_charging_profile,
    v221.ChargingProfilesReceiver.delete_charging_profile,
    v221.ChargingProfilesSender.post_profile_result,
    v221.ChargingProfilesSender.put_active_charging_profile,
    v221.HubClientInfoReceiver.get_client_info,
    v221.HubClientInfoReceiver.put_client_info,
    v221.HubClientInfoSender.list_client_infos,
    # 2.1.1 guide: commands.
    v211.CommandsCpo.reserve_now,
    v211.CommandsCpo.unlock_connector,
)
NOT_IMPLEMENTED: frozenset[Operation] = frozenset(operation_of(method) for method in _DENIED)
"""What a guide says IOP does not implement. Some of it is in a use case all the same: do not count on it."""


def use_cases_of(operation: Operation, direction: Direction) -> list[UseCase]:
    """Return the use cases in which an operation is asked in one direction."""
    return [one for one in USE_CASES if operation in one.operations(direction)]
