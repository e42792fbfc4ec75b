"""Versions, OCPI 2.1.1 version_information_endpoint: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from typing import Annotated

from .._model import Model, NonEmpty, Url, model
from .._rules import Findings, credentials_offered, rule, unique
from ..context import Context
from ..interface import AT_LINK, Interface, get
from ..pagination import Link
from ..types import ExtensibleEnum


class InterfaceRole(StrEnum):
    """The two sides of a module, by who serves them; 2.1.1 has no word for them in its messages."""

    CPO = "CPO"
    EMSP = "EMSP"


class ModuleID(ExtensibleEnum):
    """The modules; parties may agree on more."""

    CDRS = "cdrs"
    COMMANDS = "commands"
    CREDENTIALS = "credentials"
    LOCATIONS = "locations"
    SESSIONS = "sessions"
    TARIFFS = "tariffs"
    TOKENS = "tokens"


class VersionNumber(ExtensibleEnum):
    """The known versions; later ones do appear in real lists."""

    V2_0 = "2.0"
    V2_1 = "2.1"
    V2_1_1 = "2.1.1"


@model
class Version(Model):
    """One version that a platform offers, and where its details are."""

    reference = "2.1.1 versions, Version"

    version: VersionNumber
    """Version number offered."""
    url: Annotated[str, Url()]
    """Where the details of that version are fetched."""


@model
class Endpoint(Model):
    """Where one module is served."""

    reference = "2.1.1 versions, Endpoint"

    identifier: ModuleID
    """Module the endpoint belongs to."""
    url: Annotated[str, Url()]
    """Endpoint address."""


@model
class VersionDetails(Model):
    """What a platform offers in one version."""

    reference = "2.1.1 versions, VersionDetails"

    version: VersionNumber
    """Version being described."""
    endpoints: NonEmpty[Endpoint]
    """Module endpoints available in this version."""


# --- rules of the text that no table shows ----------------------------------------------------------

unique(VersionDetails, "endpoints", "identifier")


@rule(VersionDetails, "endpoints")
def credentials_are_offered(details: VersionDetails) -> Findings:
    """The credentials module is "Required for all implementations". (ModuleID)"""
    yield from credentials_offered(one.identifier.value for one in details.endpoints)


class VersionsInterface(Interface):
    """What every platform offers: its versions, and what it serves in each. (version information endpoint)"""

    module, role, functional, routed = "versions", "", False, False

    @get(AT_LINK)
    @abstractmethod
    async def get_versions(self, ctx: Context, link: Link) -> list[Version]:
        """Return the versions offered. The URL is exchanged out of band."""

    @get(AT_LINK)
    @abstractmethod
    async def get_version_details(self, ctx: Context, link: Link) -> VersionDetails:
        """Return what is served in one version. The URL stands in the list of versions."""
