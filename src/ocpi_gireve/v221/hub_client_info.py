"""HubClientInfo, OCPI 2.2.1 mod_hub_client_info: the data types and operations, and no behaviour."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Annotated

from attrs import frozen

from .._model import CiString, Model, model
from .._rules import COUNTRY, PARTY, forms
from ..context import Context
from ..interface import Interface, get, listing, put
from ..pagination import Page, PageQuery
from ..types import OcpiEnum, Role
from .versions import InterfaceRole, ModuleID


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


@frozen
class ClientInfoRef:
    """Names a party that is connected to the hub."""

    country_code: str
    party_id: str


class HubClientInfoSender(Interface):
    """What a hub offers so that its partners know one another. (mod_hub_client_info, sender interface)"""

    module, role, routed = ModuleID.HUBCLIENTINFO, InterfaceRole.SENDER, False
    callers = frozenset(Role) - {Role.HUB}

    @listing()
    @abstractmethod
    async def list_client_infos(self, ctx: Context, query: PageQuery) -> Page[ClientInfo]:
        """Return one page of the parties that are connected to the hub, oldest first."""


class HubClientInfoReceiver(Interface):
    """What a hub's partner offers so that it learns of others. (mod_hub_client_info, receiver interface)"""

    module, role, routed = ModuleID.HUBCLIENTINFO, InterfaceRole.RECEIVER, False
    callers = frozenset({Role.HUB})

    @get("{country_code}/{party_id}")
    @abstractmethod
    async def get_client_info(self, ctx: Context, ref: ClientInfoRef) -> ClientInfo:
        """Return what this party knows of another one."""

    @put("{country_code}/{party_id}")
    @abstractmethod
    async def put_client_info(self, ctx: Context, ref: ClientInfoRef, info: ClientInfo) -> None:
        """Take what is new of a party."""
