"""Transport and format, OCPI 2.1.1 transport_and_format: the data types, and no behaviour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from .._model import AsciiString, Model, model
from .._rules import within
from ..types import Json


@model
class ResponseFormat(Model):
    """The envelope of every answer."""

    reference = "2.1.1 transport, ResponseFormat"

    data: Json = None
    """Payload; list or single object by operation."""
    status_code: int
    """OCPI status code, four digits."""
    status_message: Annotated[str, AsciiString()] | None = None
    """Debug text."""
    timestamp: datetime
    """When the message was generated."""


# --- rules of the text that no table shows ----------------------------------------------------------

# "OCPI status codes consist of four digits."
within(ResponseFormat, "status_code", 1000, 9999)
