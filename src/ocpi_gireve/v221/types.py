"""Types, OCPI 2.2.1 types: the data types, and no behaviour."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from .._model import Model, String, model
from .._rules import LANGUAGE, PLAIN, forms
from ..types import OcpiEnum


class ProfileType(OcpiEnum):
    """Smart charging profiles a driver can choose."""

    CHEAP = "CHEAP"
    FAST = "FAST"
    GREEN = "GREEN"
    REGULAR = "REGULAR"


@model
class DisplayText(Model):
    """A text for a driver, in one language."""

    reference = "2.2.1 types, DisplayText"

    language: Annotated[str, String(2)]
    """ISO 639-1 language."""
    text: Annotated[str, String(512)]
    """Plain text for a user."""


@model
class Price(Model):
    """An amount without and with VAT, in the currency of the object that holds it."""

    reference = "2.2.1 types, Price"

    excl_vat: Decimal
    """Amount without VAT."""
    incl_vat: Decimal | None = None
    """Amount with VAT."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(DisplayText, language=LANGUAGE, text=PLAIN)
