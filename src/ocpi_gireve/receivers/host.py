"""The platform that has a handler among its own, as far as the handler needs it; carries no message."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from ..connection import Connection
from ..errors import NotRegistered
from ..types import PartyId, Role


class Host(Protocol):
    """What a handler may ask of its platform."""

    def connection(self, connection: str) -> Connection:
        """Return a connection by its id."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something after the answer has left; end it when the platform closes."""
        ...


class Hosted:
    """A handler that is told whose it is: of whatever classes an object is made, it is told once."""

    _host: Host | None = None

    def attach(self, platform: Host) -> None:
        """Take note of the platform; it calls this itself."""
        self._host = platform

    def _parties_of(self, partner: str) -> frozenset[PartyId] | None:
        """Return the parties whose objects a partner lists; None: anybody's, as a hub's, or not known."""
        connection = self._connection(partner)
        if connection is None:
            return None
        presented = frozenset(one.party for one in connection.record.roles)
        # That it is a hub our operator says, by the profile: what a partner calls itself is a claim.
        return None if connection.profile.is_hub or not presented else presented

    def _speaker_of(self, partner: str) -> PartyId | None:
        """Return the party that a partner speaks for where it names none, as `Context.sender` does."""
        connection = self._connection(partner)
        if connection is None:
            return None
        presented = {one.party for one in connection.record.roles}
        return next(iter(presented)) if len(presented) == 1 else connection.profile.hub

    def _is_hub_itself(self, partner: str, party: PartyId | None) -> bool:
        """Tell whether a party is a hub's own, and not one behind it.

        No text says under which party a hub registers: it presented it as a HUB's, or as its only one.
        """
        connection = self._connection(partner)
        if connection is None or not connection.profile.is_hub:
            return False
        roles = connection.record.roles
        own = [one.party for one in roles if one.role is Role.HUB or len(roles) == 1]
        return party in (connection.profile.hub, *own)

    def _connection(self, partner: str) -> Connection | None:
        if self._host is None:
            return None
        try:
            return self._host.connection(partner)
        except NotRegistered:
            return None
