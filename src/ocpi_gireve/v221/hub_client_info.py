"""HubClientInfo, OCPI 2.2.1 mod_hub_client_info: the data types, and no behaviour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from .._model import CiString, Model, model
from .._rules import COUNTRY, PARTY, forms
from ..types import OcpiEnum, Role


class ConnectionStatus(OcpiEnum):
    """How a party is connected to the hub."""

    CONNECTED = "CONNECTED"
    OFFLINE = "OFFLINE"
    PLANNED = "PLANNED"
    SUSPENDED = "SUSPENDED"


@model
class ClientInfo(Model):
    """A party that is connected to the hub, and how."""

    reference = "2.2.1 hubclientinfo, ClientInfo"

    party_id: Annotated[str, CiString(3)]
    """Id of the connected party."""
    country_code: Annotated[str, CiString(2)]
    """Country of the connected party."""
    role: Role
    """Role of the connected party."""
    status: ConnectionStatus
    """Connection status."""
    last_updated: datetime
    """Last change."""


# --- rules of the text that no table shows ----------------------------------------------------------

forms(ClientInfo, country_code=COUNTRY, party_id=PARTY)
