"""Locations in memory, with their EVSEs and connectors; knows neither partners nor a store."""

from __future__ import annotations

from typing import Generic

from ..patch import Patch
from ..types import PartyId, ci_key
from ._judge import Judge, Late
from ._levels import C, E, L, Levels, known
from ._refs import ConnectorNamed, EvseNamed, LocationNamed, party_of


class Book(Generic[L, E, C]):
    """Locations in the order in which they first came, by their party and id.

    Ids are compared without ASCII case. What changes the book returns whether there was a change: not for
    what is there already or comes too late.

    Attributes:
        stale: How many changes came too late: older than what is there.
    """

    def __init__(self, levels: Levels[L, E, C]) -> None:
        self.stale = 0
        self._levels = levels
        self._locations: dict[tuple[str, str], L] = {}

    def __len__(self) -> int:
        return len(self._locations)

    def all(self) -> list[L]:
        """Return every location."""
        return list(self._locations.values())

    def of(self, party: PartyId) -> list[L]:
        """Return the locations of one party."""
        return [location for (owner, _), location in self._locations.items() if owner == party.key]

    def get(self, ref: LocationNamed) -> L:
        """Return a location.

        Raises:
            UnknownLocation: there is none of that id.
        """
        return known(self._locations.get(_key(ref)))

    def evse(self, ref: EvseNamed) -> E:
        """Return an EVSE.

        Raises:
            UnknownLocation: there is no such location, or no such EVSE at it.
        """
        return self._levels.evse(self.get(ref), ref)

    def connector(self, ref: ConnectorNamed) -> C:
        """Return a connector.

        Raises:
            UnknownLocation: there is no such location, EVSE or connector.
        """
        return self._levels.connector(self.get(ref), ref)

    def put_evse(self, ref: EvseNamed, evse: E) -> bool:
        """Keep an EVSE, in the place of the one there is; the location's last_updated moves with it.

        Raises:
            UnknownLocation: the location is not known.
        """
        return self._apply(_key(ref), self._levels.put_evse(ref, evse))

    def put_connector(self, ref: ConnectorNamed, connector: C) -> bool:
        """Keep a connector, in the place of the one there is; last_updated of EVSE and location move with it.

        Raises:
            UnknownLocation: the location or the EVSE is not known.
        """
        return self._apply(_key(ref), self._levels.put_connector(ref, connector))

    def patch_location(self, ref: LocationNamed, changes: Patch[L]) -> bool:
        """Change some fields of a location; a list of EVSEs replaces all EVSEs.

        Raises:
            UnknownLocation: the location is not known.
            InvalidParameters: the change says not when it happened, and has to.
        """
        return self._apply(_key(ref), self._levels.patch(changes))

    def patch_evse(self, ref: EvseNamed, changes: Patch[E]) -> bool:
        """Change some fields of an EVSE; the location's last_updated moves with it.

        Raises:
            UnknownLocation: the location or the EVSE is not known.
            InvalidParameters: the change says not when it happened, and has to.
        """
        return self._apply(_key(ref), self._levels.patch_evse(ref, changes))

    def patch_connector(self, ref: ConnectorNamed, changes: Patch[C]) -> bool:
        """Change some fields of a connector; last_updated of EVSE and location move with it.

        Raises:
            UnknownLocation: the location, the EVSE or the connector is not known.
            InvalidParameters: the change says not when it happened, and has to.
        """
        return self._apply(_key(ref), self._levels.patch_connector(ref, changes))

    def remove(self, ref: LocationNamed) -> None:
        """Forget a location. OCPI has no message for it: partners set EVSEs to REMOVED.

        Raises:
            UnknownLocation: there is none of that id.
        """
        self.get(ref)
        del self._locations[_key(ref)]

    def _put(self, owner: PartyId, location: L) -> bool:
        return self._apply((owner.key, ci_key(location.id)), self._levels.put(location))

    def _apply(self, key: tuple[str, str], judge: Judge[L]) -> bool:
        old = self._locations.get(key)
        try:
            new = judge(old)
        except Late:
            self.stale += 1
            return False
        if new == old:
            return False
        self._locations[key] = new
        return True


def _key(ref: LocationNamed) -> tuple[str, str]:
    return party_of(ref).key, ci_key(ref.location_id)
