"""Credentials, OCPI 2.1.1 credentials: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

from .._model import SECRET, AsciiString, Model, Url, model
from .._rules import COUNTRY, PARTY, forms
from ..context import Context
from ..interface import Interface, delete, get, post, put
from .locations import BusinessDetails
from .versions import ModuleID


@model
class Credentials(Model):
    """How the other side reaches us: the token it must present, and our versions endpoint."""

    reference = "2.1.1 credentials, Credentials"

    token: Annotated[str, AsciiString(64), SECRET]
    """Secret the other side must present to call us."""
    url: Annotated[str, Url()]
    """Our versions endpoint."""
    business_details: BusinessDetails
    """Who we are."""
    party_id: Annotated[str, AsciiString(3)]
    """Our CPO or eMSP id (ISO 15118)."""
    country_code: Annotated[str, AsciiString(2)]
    """Country we operate in."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(Credentials, country_code=COUNTRY, party_id=PARTY)


class CredentialsInterface(Interface):
    """What every platform offers so that others can register. (credentials endpoint)"""

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
