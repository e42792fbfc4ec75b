"""Types, OCPI 2.1.1 types: the data types, and no behaviour."""

from __future__ import annotations

from typing import Annotated

from .._model import AsciiString, Model, model
from .._rules import LANGUAGE, PLAIN, forms


@model
class DisplayText(Model):
    """A text for a driver, in one language."""

    reference = "2.1.1 types, DisplayText"

    language: Annotated[str, AsciiString(2)]
    """ISO 639-1 language."""
    text: Annotated[str, AsciiString(512)]
    """Plain text for a user."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(DisplayText, language=LANGUAGE, text=PLAIN)
