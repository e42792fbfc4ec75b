"""OCPI 2.1.1 as the engine sees it; no behaviour besides the wording of the handshake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from .._model import Model
from ..dialect import Deferral, Dialect, Presented
from ..tokens import TokenEncoding
from ..types import PartnerEndpoint, PartnerRole, Party, PartyId, Role, Secret
from .cdrs import CdrsCpo, CdrsEmsp
from .commands import CommandResponse, CommandResponseType, CommandsCpo, CommandsEmsp
from .credentials import Credentials, CredentialsInterface
from .locations import BusinessDetails, LocationsCpo, LocationsEmsp
from .sessions import SessionsCpo, SessionsEmsp
from .tariffs import TariffsCpo, TariffsEmsp
from .tokens import GireveTokens, TokensCpo, TokensEmsp
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
    """The handshake in the objects of 2.1.1: one connection for one party in one role, which goes unsaid."""

    def credentials(self, token: Secret, url: str, parties: Sequence[Party]) -> Model:
        """Make our Credentials object.

        Raises:
            ValueError: the parties are not exactly one.
        """
        (party,) = parties
        return Credentials(
            token=token.reveal(),
            url=url,
            business_details=BusinessDetails(name=party.name, website=party.website),
            party_id=party.party_id,
            country_code=party.country_code,
        )

    def presented(self, credentials: Model, role: Role) -> Presented:
        said = cast("Credentials", credentials)
        party = PartyId(said.country_code, said.party_id)
        roles = (PartnerRole(role, party, said.business_details.name),)
        return Presented(token=Secret(said.token), url=said.url, roles=roles)

    def version(self, number: str, url: str) -> Model:
        return Version(version=VersionNumber(number), url=url)

    def offered(self, version: Model) -> tuple[str, str]:
        said = cast("Version", version)
        return said.version.value, said.url

    def details(self, endpoints: Sequence[PartnerEndpoint]) -> Model:
        return VersionDetails(
            version=VersionNumber.V2_1_1,
            endpoints=[Endpoint(identifier=ModuleID(one.module), url=one.url) for one in endpoints],
        )

    def endpoints(self, details: Model, side: str) -> tuple[PartnerEndpoint, ...]:
        said = cast("VersionDetails", details)
        return tuple(
            PartnerEndpoint(
                one.identifier.value, "" if one.identifier is ModuleID.CREDENTIALS else side, one.url
            )
            for one in said.endpoints
        )


DIALECT = Dialect(
    version="2.1.1",
    interfaces=(
        LocationsCpo,
        LocationsEmsp,
        SessionsCpo,
        SessionsEmsp,
        CdrsCpo,
        CdrsEmsp,
        TariffsCpo,
        TariffsEmsp,
        TokensCpo,
        TokensEmsp,
        GireveTokens,
        CommandsCpo,
        CommandsEmsp,
    ),
    versions=VersionsInterface,
    credentials=CredentialsInterface,
    token_encoding=TokenEncoding.RAW,
    patch_requires=frozenset(),
    routing=False,
    # IOP answers an empty object where there is nothing to say.
    empty_data=b"{}",
    handshake=_Handshake(),
    roots={InterfaceRole.CPO: "cpo/2.1.1", InterfaceRole.EMSP: "emsp/2.1.1"},
    details_paths={Role.CPO: "cpo/2.1.1", Role.EMSP: "emsp/2.1.1"},
    status_codes=frozenset({1000, *range(2000, 2004), *range(3000, 3004)}),
    own_codes=False,
    # "No response received from the Charge Point in an reasonable time": a result is owed to ACCEPTED alone.
    deferrals={
        CommandResponse: Deferral(
            answer=CommandResponse(result=CommandResponseType.TIMEOUT),
            post=CommandsEmsp.post_result,
            outcome=lambda _: None,
            timed_out=None,
            failed=None,
        )
    },
)
