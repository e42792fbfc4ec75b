"""A location with its EVSEs and connectors, changed at any level: pure functions; keeps nothing.

A change of an EVSE or a connector moves ``last_updated`` of what it is part of, in both versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from attrs import frozen

from .. import v211, v221
from .._model import replaced
from ..errors import UnknownLocation
from ..patch import Patch
from ..types import ci_equal, ci_key
from ._judge import Judge, Late, newest, patched
from ._refs import OwnConnectorNamed, OwnEvseNamed

L = TypeVar("L", bound="v211.Location | v221.Location")
E = TypeVar("E", bound="v211.EVSE | v221.EVSE")
C = TypeVar("C", bound="v211.Connector | v221.Connector")
T = TypeVar("T")


def _uid(evse: v211.EVSE | v221.EVSE) -> str:
    return evse.uid


def _id(connector: v211.Connector | v221.Connector) -> str:
    return connector.id


def _find(items: Iterable[T], wanted: str, id_of: Callable[[T], str]) -> T | None:
    return next((item for item in items if ci_equal(id_of(item), wanted)), None)


def _with(items: Sequence[T], new: T, id_of: Callable[[T], str]) -> list[T]:
    """Return the items with a new one in the place of its predecessor, or at the end."""
    if _find(items, id_of(new), id_of) is None:
        return [*items, new]
    return [new if ci_equal(id_of(item), id_of(new)) else item for item in items]


def known(location: L | None) -> L:
    """Return the location there is.

    Raises:
        UnknownLocation: there is none.
    """
    if location is None:
        raise UnknownLocation
    return location


@frozen(kw_only=True, eq=False)
class Levels(Generic[L, E, C]):
    """What locations are made of in one version of OCPI.

    Attributes:
        evses: The EVSEs of a location.
        connectors: The connectors of an EVSE.
        patch_requires: The fields that every PATCH must carry.
    """

    evses: Callable[[L], list[E]]
    connectors: Callable[[E], list[C]]
    patch_requires: frozenset[str]

    def evse(self, location: L | None, ref: OwnEvseNamed) -> E:
        """Return an EVSE.

        Raises:
            UnknownLocation: there is no such location, or no such EVSE at it.
        """
        found = _find(self.evses(known(location)), ref.evse_uid, _uid)
        if found is None:
            raise UnknownLocation("Unknown EVSE")
        return found

    def connector(self, location: L | None, ref: OwnConnectorNamed) -> C:
        """Return a connector.

        Raises:
            UnknownLocation: there is no such location, EVSE or connector.
        """
        found = _find(self.connectors(self.evse(location, ref)), ref.connector_id, _id)
        if found is None:
            raise UnknownLocation("Unknown connector")
        return found

    # --- what a message makes of a location ------------------------------------------------------------

    def put(self, new: L) -> Judge[L]:
        """Put a location in the place of the one there is."""
        return lambda old: newest(old, new)

    def put_evse(self, ref: OwnEvseNamed, evse: E) -> Judge[L]:
        """Put an EVSE into a location."""

        def judge(old: L | None) -> L:
            location = known(old)
            there = _find(self.evses(location), ref.evse_uid, _uid)
            return self._with_evse(location, newest(there, evse))

        return judge

    def put_connector(self, ref: OwnConnectorNamed, connector: C) -> Judge[L]:
        """Put a connector into an EVSE."""

        def judge(old: L | None) -> L:
            evse = self.evse(old, ref)
            there = _find(self.connectors(evse), ref.connector_id, _id)
            return self._with_connector(known(old), evse, newest(there, connector))

        return judge

    def patch(self, changes: Patch[L]) -> Judge[L]:
        """Change fields of a location; a list of EVSEs replaces all EVSEs."""
        return lambda old: patched(known(old), changes, self.patch_requires)

    def patch_evse(self, ref: OwnEvseNamed, changes: Patch[E]) -> Judge[L]:
        """Change fields of an EVSE."""
        return lambda old: self._with_evse(
            known(old), patched(self.evse(old, ref), changes, self.patch_requires)
        )

    def patch_connector(self, ref: OwnConnectorNamed, changes: Patch[C]) -> Judge[L]:
        """Change fields of a connector."""
        return lambda old: self._with_connector(
            known(old),
            self.evse(old, ref),
            patched(self.connector(old, ref), changes, self.patch_requires),
        )

    def _with_evse(self, location: L, evse: E) -> L:
        values = {
            "evses": _with(self.evses(location), evse, _uid),
            "last_updated": max(location.last_updated, evse.last_updated),
        }
        return replaced(location, values)

    def _with_connector(self, location: L, evse: E, connector: C) -> L:
        values = {
            "connectors": _with(self.connectors(evse), connector, _id),
            "last_updated": max(evse.last_updated, connector.last_updated),
        }
        return self._with_evse(location, replaced(evse, values))

    # --- what a pull makes of a location ---------------------------------------------------------------

    def pulled(self, old: L | None, new: L, pushed: bool) -> L:
        """Return what to keep of a location that a pull brought: of each EVSE the newer state.

        IOP pushes statuses at once and pulls show the rest hours later, under its older date. So the date of
        a location that only its EVSEs moved does not make the pull late, unless it was pushed meanwhile.

        Raises:
            Late: what is kept is newer.
        """
        if old is None:
            return new
        if new.last_updated < old.last_updated and (pushed or self._changed_itself(old)):
            raise Late
        there = {ci_key(evse.uid): evse for evse in self.evses(old)}
        evses = [
            kept if (kept := there.get(ci_key(evse.uid), evse)).last_updated > evse.last_updated else evse
            for evse in self.evses(new)
        ]
        dates = [new.last_updated, *(evse.last_updated for evse in evses)]
        return replaced(new, {"evses": evses, "last_updated": max(dates)})

    def _changed_itself(self, location: L) -> bool:
        return all(moment < location.last_updated for moment in self._dates(location))

    def _dates(self, location: L) -> Iterable[datetime]:
        for evse in self.evses(location):
            yield evse.last_updated
            yield from (connector.last_updated for connector in self.connectors(evse))
