"""OCPI 2.2.1 as the engine sees it; no behaviour besides the wording of the handshake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from .._model import Model
from ..dialect import Deferral, Dialect, Presented
from ..tokens import TokenEncoding
from ..types import PartnerEndpoint, PartnerRole, Party, PartyId, Role, Secret
from .cdrs import CdrsReceiver, CdrsSender
from .charging_profiles import (
    ChargingProfileResponse,
    ChargingProfileResponseType,
    ChargingProfileResult,
    ChargingProfileResultType,
    ChargingProfilesReceiver,
    ChargingProfilesSender,
)
from .commands import (
    CommandResponse,
    CommandResponseType,
    CommandResult,
    CommandResultType,
    CommandsReceiver,
    CommandsSender,
)
from .credentials import Credentials, CredentialsInterface, CredentialsRole
from .hub_client_info import HubClientInfoReceiver, HubClientInfoSender
from .locations import BusinessDetails, LocationsReceiver, LocationsSender
from .sessions import SessionsReceiver, SessionsSender
from .tariffs import TariffsReceiver, TariffsSender
from .tokens import TokensReceiver, TokensSender
from .versions import (
    Endpoint,
    InterfaceRole,
    ModuleID,
    Version,
    VersionDetails,
    VersionNumber,
    VersionsInterface,
)


class _Handshake:
    """The handshake in the objects of 2.2.1: one connection, many parties, every role."""

    def credentials(self, token: Secret, url: str, parties: Sequence[Party]) -> Model:
        roles = [
            CredentialsRole(
                role=party.role,
                party_id=party.party_id,
                country_code=party.country_code,
                business_details=BusinessDetails(name=party.name, website=party.website),
            )
            for party in parties
        ]
        return Credentials(token=token.reveal(), url=url, roles=roles)

    def presented(self, credentials: Model, role: Role) -> Presented:
        said = cast("Credentials", credentials)
        roles = tuple(
            PartnerRole(one.role, PartyId(one.country_code, one.party_id), one.business_details.name)
            for one in said.roles
        )
        return Presented(token=Secret(said.token), url=said.url, roles=roles)

    def version(self, number: str, url: str) -> Model:
        return Version(version=VersionNumber(number), url=url)

    def offered(self, version: Model) -> tuple[str, str]:
        said = cast("Version", version)
        return said.version.value, said.url

    def details(self, endpoints: Sequence[PartnerEndpoint]) -> Model:
        return VersionDetails(
            version=VersionNumber.V2_2_1,
            endpoints=[
                # "the role of the credentials endpoint has no meaning": SENDER is what the text says to send.
                Endpoint(
                    identifier=ModuleID(one.module), role=InterfaceRole(one.role or "SENDER"), url=one.url
                )
                for one in endpoints
            ],
        )

    def endpoints(self, details: Model, side: str) -> tuple[PartnerEndpoint, ...]:
        said = cast("VersionDetails", details)
        return tuple(
            PartnerEndpoint(
                one.identifier.value,
                "" if one.identifier is ModuleID.CREDENTIALS else one.role.value,
                one.url,
            )
            for one in said.endpoints
        )


WAITING = 60
"""Seconds that a partner is asked to wait for the outcome where the handler of its request is late."""


def _command_result(answer: Model) -> CommandResult | None:
    said = cast("CommandResponse", answer).result
    if said is CommandResponseType.ACCEPTED:
        return None
    if said is CommandResponseType.NOT_SUPPORTED:
        return CommandResult(result=CommandResultType.NOT_SUPPORTED)
    # A result has no word for an unknown session.
    return CommandResult(result=CommandResultType.REJECTED)


def _profile_result(answer: Model) -> ChargingProfileResult | None:
    said = cast("ChargingProfileResponse", answer).result
    if said is ChargingProfileResponseType.ACCEPTED:
        return None
    return _NO_PROFILE


# UNKNOWN says that the EVSE found no such profile.
_NO_PROFILE = ChargingProfileResult(result=ChargingProfileResultType.REJECTED)

# No answer of 2.2.1 says "late": its TIMEOUT is a result. ACCEPTED says that the request was taken and that
# an outcome follows, within a time; REJECTED would be untrue once the charger starts.
_DEFERRALS: dict[type[Model], Deferral] = {
    CommandResponse: Deferral(
        answer=CommandResponse(result=CommandResponseType.ACCEPTED, timeout=WAITING),
        post=CommandsSender.post_result,
        outcome=_command_result,
        timed_out=CommandResult(result=CommandResultType.TIMEOUT),
        failed=CommandResult(result=CommandResultType.FAILED),
    ),
    ChargingProfileResponse: Deferral(
        answer=ChargingProfileResponse(result=ChargingProfileResponseType.ACCEPTED, timeout=WAITING),
        post=ChargingProfilesSender.post_profile_result,
        outcome=_profile_result,
        timed_out=_NO_PROFILE,
        failed=_NO_PROFILE,
    ),
}

DIALECT = Dialect(
    version="2.2.1",
    interfaces=(
        LocationsSender,
        LocationsReceiver,
        SessionsSender,
        SessionsReceiver,
        CdrsSender,
        CdrsReceiver,
        TariffsSender,
        TariffsReceiver,
        TokensReceiver,
        TokensSender,
        CommandsReceiver,
        CommandsSender,
        ChargingProfilesReceiver,
        ChargingProfilesSender,
        HubClientInfoReceiver,
        HubClientInfoSender,
    ),
    versions=VersionsInterface,
    credentials=CredentialsInterface,
    token_encoding=TokenEncoding.BASE64,
    # Locations, sessions and tokens: "Any request to the PATCH method SHALL contain the last_updated field."
    patch_requires=frozenset({"last_updated"}),
    routing=True,
    empty_data=None,
    handshake=_Handshake(),
    roots={InterfaceRole.SENDER: "2.2.1/sender", InterfaceRole.RECEIVER: "2.2.1/receiver"},
    details_paths={None: "2.2.1"},
    status_codes=frozenset({1000, *range(2000, 2005), *range(3000, 3004), *range(4000, 4004)}),
    own_codes=True,
    deferrals=_DEFERRALS,
)
