"""Credentials, OCPI 2.2.1 credentials: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

from .._model import SECRET, CiString, Model, NonEmpty, String, Url, model
from .._rules import COUNTRY, PARTY, Findings, forms, rule, unique
from ..context import Context
from ..interface import Interface, delete, get, post, put
from ..types import Role
from .locations import BusinessDetails
from .versions import ModuleID


@model
class CredentialsRole(Model):
    """One party and the role that a platform speaks for it in."""

    reference = "2.2.1 credentials, CredentialsRole"

    role: Role
    """Market role."""
    business_details: BusinessDetails
    """Who the party is."""
    party_id: Annotated[str, CiString(3)]
    """Party id (ISO 15118)."""
    country_code: Annotated[str, CiString(2)]
    """ISO 3166 alpha-2 country."""


@model
class Credentials(Model):
    """How the other side reaches us: the token it must present, and our versions endpoint."""

    reference = "2.2.1 credentials, Credentials"

    token: Annotated[str, String(64, regex=r"[\x21-\x7E]{1,64}"), SECRET]
    """Secret the other side must present; printable non-blank ASCII."""
    url: Annotated[str, Url()]
    """Our versions endpoint."""
    roles: NonEmpty[CredentialsRole]
    """Roles this platform provides."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(CredentialsRole, country_code=COUNTRY, party_id=PARTY)
# "Every role needs a unique combination" of these.
unique(Credentials, "roles", "role", "party_id", "country_code")


@rule(Credentials, "roles")
def hub_is_only_a_hub(credentials: Credentials) -> Findings:
    """The text: "A Hub SHALL only reports itself as role: Hub"."""
    hubs = [one.role is Role.HUB for one in credentials.roles]
    if any(hubs):
        for index, hub in enumerate(hubs):
            if not hub:
                yield f"/roles/{index}/role", "contradiction", "expected no other role of a hub"


class CredentialsInterface(Interface):
    """What every platform offers so that others can register. (credentials)"""

    module, role, functional, routed = ModuleID.CREDENTIALS, "", False, False

    @get("")
    @abstractmethod
    async def get_credentials(self, ctx: Context) -> Credentials:
        """Return the credentials that the caller uses towards this platform."""

    @post("")
    @abstractmethod
    async def post_credentials(self, ctx: Context, credentials: Credentials) -> Credentials:
        """Register: take the caller's credentials and return ours. HTTP 405 when already registered."""

    @put("")
    @abstractmethod
    async def put_credentials(self, ctx: Context, credentials: Credentials) -> Credentials:
        """Replace the caller's credentials and return new ones. HTTP 405 when not registered."""

    @delete("")
    @abstractmethod
    async def delete_credentials(self, ctx: Context) -> None:
        """Unregister. HTTP 405 when not registered."""
