"""Handlers that keep in memory what partners send, for hosts that only want the data; knows no partner.

A class of a host may inherit several of them. A partner sends again whatever it got no answer to, and
sometimes late. So what is kept already is accepted and changes nothing, and so is what is older than what is
kept: such late messages are counted as `stale`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

from attrs import define, field

from ._model import replaced
from .context import Context
from .errors import InvalidParameters, Problem, UnknownLocation, UnknownObject
from .pagination import Link
from .patch import Patch
from .types import PartyId, ci_equal, ci_key, utc_now
from .v221 import (
    CDR,
    EVSE,
    CdrsReceiver,
    Connector,
    ConnectorRef,
    EvseRef,
    Location,
    LocationRef,
    LocationsReceiver,
    Session,
    SessionRef,
    SessionsReceiver,
)

log = logging.getLogger("ocpi_gireve.receivers")

REPEATED_WITHIN = timedelta(minutes=10)
"""A PATCH of a session with the same content within this time is a repetition."""

T = TypeVar("T")
Dated = TypeVar("Dated", Location, EVSE, Connector, Session)

Key: TypeAlias = tuple[str, str]


def _key(country_code: str, party_id: str, id: str) -> Key:
    return PartyId(country_code, party_id).key, ci_key(id)


def _location_key(ref: LocationRef | EvseRef | ConnectorRef) -> Key:
    return _key(ref.country_code, ref.party_id, ref.location_id)


def _uid(evse: EVSE) -> str:
    return evse.uid


def _id(connector: Connector) -> str:
    return connector.id


def _find(items: Iterable[T], wanted: str, id_of: Callable[[T], str]) -> T | None:
    return next((item for item in items if ci_equal(id_of(item), wanted)), None)


def _with(items: Sequence[T], new: T, id_of: Callable[[T], str]) -> list[T]:
    """Return the items with a new one in the place of its predecessor, or at the end."""
    if _find(items, id_of(new), id_of) is None:
        return [*items, new]
    return [new if ci_equal(id_of(item), id_of(new)) else item for item in items]


def _moment(changes: Patch[Dated]) -> datetime:
    """Return when a change happened, which a PATCH has to say. (mod_locations and mod_sessions, PATCH)"""
    if changes.last_updated is None:
        raise InvalidParameters(problems=[Problem("/last_updated", "missing", "expected a DateTime")])
    return changes.last_updated


class LocationBook:
    """Locations, with their EVSEs and connectors, in the order in which they first came.

    A location is found by its party and id; ids are compared without ASCII case. (2.2.1, mod_locations)
    What changes the book returns whether there was a change: not for what is kept already or comes too late.

    Attributes:
        stale: How many changes came too late: older than what is kept.
    """

    def __init__(self, locations: Iterable[Location] = ()) -> None:
        self.stale = 0
        self._locations: dict[Key, Location] = {}
        for location in locations:
            self.put(location)

    def __len__(self) -> int:
        return len(self._locations)

    def all(self) -> list[Location]:
        """Return every location."""
        return list(self._locations.values())

    def of(self, party: PartyId) -> list[Location]:
        """Return the locations of one party."""
        return [location for (owner, _), location in self._locations.items() if owner == party.key]

    def get(self, ref: LocationRef | EvseRef | ConnectorRef) -> Location:
        """Return a location.

        Raises:
            UnknownLocation: there is none of that id.
        """
        found = self._locations.get(_location_key(ref))
        if found is None:
            raise UnknownLocation
        return found

    def evse(self, ref: EvseRef | ConnectorRef) -> EVSE:
        """Return an EVSE.

        Raises:
            UnknownLocation: there is no such location, or no such EVSE at it.
        """
        found = _find(self.get(ref).evses, ref.evse_uid, _uid)
        if found is None:
            raise UnknownLocation("Unknown EVSE")
        return found

    def connector(self, ref: ConnectorRef) -> Connector:
        """Return a connector.

        Raises:
            UnknownLocation: there is no such location, EVSE or connector.
        """
        found = _find(self.evse(ref).connectors, ref.connector_id, _id)
        if found is None:
            raise UnknownLocation("Unknown connector")
        return found

    def put(self, location: Location) -> bool:
        """Keep a location, in the place of the one there is."""
        key = _key(location.country_code, location.party_id, location.id)
        if not self._is_news(self._locations.get(key), location):
            return False
        self._locations[key] = location
        return True

    def put_evse(self, ref: EvseRef, evse: EVSE) -> bool:
        """Keep an EVSE, in the place of the one there is; the location's last_updated moves with it.

        Raises:
            UnknownLocation: the location is not known.
        """
        location = self.get(ref)
        if not self._is_news(_find(location.evses, ref.evse_uid, _uid), evse):
            return False
        self._keep_evse(ref, location, evse)
        return True

    def put_connector(self, ref: ConnectorRef, connector: Connector) -> bool:
        """Keep a connector, in the place of the one there is; last_updated of EVSE and location move with it.

        Raises:
            UnknownLocation: the location or the EVSE is not known.
        """
        location, evse = self.get(ref), self.evse(ref)
        if not self._is_news(_find(evse.connectors, ref.connector_id, _id), connector):
            return False
        self._keep_connector(ref, location, evse, connector)
        return True

    def patch_location(self, ref: LocationRef, changes: Patch[Location]) -> bool:
        """Change some fields of a location; a list of EVSEs replaces all EVSEs.

        Raises:
            UnknownLocation: the location is not known.
            InvalidParameters: the change says not when it happened.
        """
        old = self.get(ref)
        new = self._patched(old, changes)
        self._locations[_location_key(ref)] = new
        return new is not old

    def patch_evse(self, ref: EvseRef, changes: Patch[EVSE]) -> bool:
        """Change some fields of an EVSE; the location's last_updated moves with it.

        Raises:
            UnknownLocation: the location or the EVSE is not known.
            InvalidParameters: the change says not when it happened.
        """
        old = self.evse(ref)
        new = self._patched(old, changes)
        if new is old:
            return False
        self._keep_evse(ref, self.get(ref), new)
        return True

    def patch_connector(self, ref: ConnectorRef, changes: Patch[Connector]) -> bool:
        """Change some fields of a connector; last_updated of EVSE and location move with it.

        Raises:
            UnknownLocation: the location, the EVSE or the connector is not known.
            InvalidParameters: the change says not when it happened.
        """
        old = self.connector(ref)
        new = self._patched(old, changes)
        if new is old:
            return False
        self._keep_connector(ref, self.get(ref), self.evse(ref), new)
        return True

    def remove(self, ref: LocationRef | EvseRef | ConnectorRef) -> None:
        """Forget a location. OCPI has no message for it: partners set EVSEs to REMOVED.

        Raises:
            UnknownLocation: there is none of that id.
        """
        self.get(ref)
        del self._locations[_location_key(ref)]

    def _is_news(self, old: Dated | None, new: Dated) -> bool:
        if old is None:
            return True
        if new.last_updated < old.last_updated:
            self.stale += 1
            return False
        return new != old

    def _patched(self, old: Dated, changes: Patch[Dated]) -> Dated:
        """Return the changed object, or the old one itself where nothing changes."""
        if _moment(changes) < old.last_updated:
            self.stale += 1
            return old
        new = changes.apply_to(old)
        return old if new == old else new

    def _keep_evse(self, ref: EvseRef | ConnectorRef, location: Location, evse: EVSE) -> None:
        values = {
            "evses": _with(location.evses, evse, _uid),
            "last_updated": max(location.last_updated, evse.last_updated),
        }
        self._locations[_location_key(ref)] = replaced(location, values)

    def _keep_connector(
        self, ref: ConnectorRef, location: Location, evse: EVSE, connector: Connector
    ) -> None:
        values = {
            "connectors": _with(evse.connectors, connector, _id),
            "last_updated": max(evse.last_updated, connector.last_updated),
        }
        self._keep_evse(ref, location, replaced(evse, values))


class KeptLocations(LocationsReceiver):
    """Keeps the locations that partners push.

    Args:
        book: Where they are kept, besides those pulled; a new book by default.
    """

    def __init__(self, book: LocationBook | None = None) -> None:
        self.book = LocationBook() if book is None else book

    async def location_changed(self, ctx: Context, location: Location) -> None:
        """Override to learn of each change. What it raises is answered, though the change stays."""

    async def get_location(self, ctx: Context, ref: LocationRef) -> Location:
        """Return the location."""
        return self.book.get(ref)

    async def get_evse(self, ctx: Context, ref: EvseRef) -> EVSE:
        """Return the EVSE."""
        return self.book.evse(ref)

    async def get_connector(self, ctx: Context, ref: ConnectorRef) -> Connector:
        """Return the connector."""
        return self.book.connector(ref)

    async def put_location(self, ctx: Context, ref: LocationRef, location: Location) -> None:
        """Keep the location."""
        await self._told(ctx, ref, self.book.put(location))

    async def put_evse(self, ctx: Context, ref: EvseRef, evse: EVSE) -> None:
        """Keep the EVSE."""
        await self._told(ctx, ref, self.book.put_evse(ref, evse))

    async def put_connector(self, ctx: Context, ref: ConnectorRef, connector: Connector) -> None:
        """Keep the connector."""
        await self._told(ctx, ref, self.book.put_connector(ref, connector))

    async def patch_location(self, ctx: Context, ref: LocationRef, changes: Patch[Location]) -> None:
        """Change the location."""
        await self._told(ctx, ref, self.book.patch_location(ref, changes))

    async def patch_evse(self, ctx: Context, ref: EvseRef, changes: Patch[EVSE]) -> None:
        """Change the EVSE."""
        await self._told(ctx, ref, self.book.patch_evse(ref, changes))

    async def patch_connector(self, ctx: Context, ref: ConnectorRef, changes: Patch[Connector]) -> None:
        """Change the connector."""
        await self._told(ctx, ref, self.book.patch_connector(ref, changes))

    async def _told(self, ctx: Context, ref: LocationRef | EvseRef | ConnectorRef, changed: bool) -> None:
        if changed:
            await self.location_changed(ctx, self.book.get(ref))


@define
class _KeptSession:
    session: Session
    patches: list[tuple[datetime, Patch[Session]]] = field(factory=list[tuple[datetime, Patch[Session]]])


class KeptSessions(SessionsReceiver):
    """Keeps the sessions that partners push.

    Args:
        now: Tells the time, by which repetitions of a PATCH are known.

    Attributes:
        stale: How many messages came too late: older than what is kept.
    """

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self.stale = 0
        self._now = now
        self._sessions: dict[Key, _KeptSession] = {}

    async def session_changed(self, ctx: Context, session: Session) -> None:
        """Override to learn of each change. What it raises is answered, though the change stays."""

    def sessions(self) -> list[Session]:
        """Return every session, in the order in which they first came."""
        return [kept.session for kept in self._sessions.values()]

    def session(self, ref: SessionRef) -> Session:
        """Return a session.

        Raises:
            UnknownObject: there is none of that id.
        """
        return self._kept_session(ref).session

    async def get_session(self, ctx: Context, ref: SessionRef) -> Session:
        """Return the session."""
        return self.session(ref)

    async def put_session(self, ctx: Context, ref: SessionRef, session: Session) -> None:
        """Keep the session, in the place of the one there is, its charging periods included."""
        key = _key(ref.country_code, ref.party_id, ref.session_id)
        kept = self._sessions.get(key)
        if kept is None:
            self._sessions[key] = _KeptSession(session)
        elif session.last_updated < kept.session.last_updated:
            self.stale += 1
            return
        elif session == kept.session:
            return
        else:
            kept.session = session
        await self.session_changed(ctx, session)

    async def patch_session(self, ctx: Context, ref: SessionRef, changes: Patch[Session]) -> None:
        """Change some fields of the session; charging periods are added to those there are, once."""
        kept = self._kept_session(ref)
        now = self._now()
        kept.patches = [(when, patch) for when, patch in kept.patches if now - when < REPEATED_WITHIN]
        if _moment(changes) < kept.session.last_updated:
            self.stale += 1
            return
        if any(patch == changes for _, patch in kept.patches):
            return
        kept.session = changes.apply_to(kept.session)
        kept.patches.append((now, changes))
        await self.session_changed(ctx, kept.session)

    def _kept_session(self, ref: SessionRef) -> _KeptSession:
        kept = self._sessions.get(_key(ref.country_code, ref.party_id, ref.session_id))
        if kept is None:
            raise UnknownObject("Unknown session")
        return kept


@define
class _KeptCdr:
    cdr: CDR
    partners: set[str]


class KeptCdrs(CdrsReceiver):
    """Keeps the CDRs that partners post, each once.

    A CDR never changes, so one whose id is known comes again with the same content or is refused.
    """

    def __init__(self) -> None:
        self._cdrs: dict[Key, _KeptCdr] = {}

    async def cdr_received(self, ctx: Context, cdr: CDR) -> None:
        """Override to learn of each new CDR. What it raises is answered, though the CDR stays."""

    def cdrs(self) -> list[CDR]:
        """Return every CDR, in the order in which they came."""
        return [kept.cdr for kept in self._cdrs.values()]

    async def post_cdr(self, ctx: Context, cdr: CDR) -> Link:
        """Keep the CDR and return its place: ``{country_code}/{party_id}/{id}``.

        Raises:
            InvalidParameters: a CDR of that id is kept with other content; it stays as it is.
        """
        key = _key(cdr.country_code, cdr.party_id, cdr.id)
        kept = self._cdrs.get(key)
        if kept is None:
            self._cdrs[key] = _KeptCdr(cdr, {ctx.partner})
            await self.cdr_received(ctx, cdr)
            return _place(cdr)
        if kept.cdr != cdr:
            log.error("%s: CDR %s came again with other content; refused", ctx.partner, _place(kept.cdr).url)
            problem = Problem("/id", "conflict", "expected a new id: a CDR of this id has other content")
            raise InvalidParameters(problems=[problem])
        kept.partners.add(ctx.partner)
        return _place(kept.cdr)

    async def get_cdr(self, ctx: Context, link: Link) -> CDR:
        """Return the CDR at a place, to a partner that posted it.

        Raises:
            UnknownObject: there is none.
        """
        parts = link.url.split("/", 2)
        kept = self._cdrs.get(_key(*parts)) if len(parts) == 3 else None
        # The place names no owner that was checked, and a CDR is nobody else's business.
        if kept is None or ctx.partner not in kept.partners:
            raise UnknownObject("Unknown CDR")
        return kept.cdr


def _place(cdr: CDR) -> Link:
    return Link(f"{cdr.country_code}/{cdr.party_id}/{cdr.id}")
