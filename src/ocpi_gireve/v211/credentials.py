"""Credentials, OCPI 2.1.1 credentials: the data types, and no behaviour."""

from __future__ import annotations

from typing import Annotated

from .._model import SECRET, AsciiString, Model, Url, model
from .._rules import COUNTRY, PARTY, forms
from .locations import BusinessDetails


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
