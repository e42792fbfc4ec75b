"""OCPI 2.2.1 as the engine sees it; no behaviour besides the wording of the handshake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from .._model import Model
from ..dialect import Dialect, Presented
from ..tokens import TokenEncoding
from ..types import PartnerEndpoint, PartnerRole, Party, PartyId, Secret
from .cdrs import CdrsReceiver
from .commands import CommandsReceiver, CommandsSender
from .credentials import Credentials, CredentialsInterface, CredentialsRole
from .locations import BusinessDetails, LocationsReceiver, LocationsSender
from .sessions import SessionsReceiver
from .tokens import TokensSender
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

    def presented(self, credentials: Model) -> Presented:
        said = cast("Credentials", credentials)
        roles = tuple(
            PartnerRole(role.role, PartyId(role.country_code, role.party_id), role.business_details.name)
            for role in said.roles
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

    def endpoints(self, details: Model) -> tuple[PartnerEndpoint, ...]:
        said = cast("VersionDetails", details)
        return tuple(
            PartnerEndpoint(
                one.identifier.value,
                "" if one.identifier is ModuleID.CREDENTIALS else one.role.value,
                one.url,
            )
            for one in said.endpoints
        )


DIALECT = Dialect(
    version="2.2.1",
    interfaces=(
        LocationsSender,
        LocationsReceiver,
        SessionsReceiver,
        CdrsReceiver,
        TokensSender,
        CommandsReceiver,
        CommandsSender,
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
    details_path="2.2.1",
)
