"""Receivers whose contents can be looked at at once, for a simulation and its tests; knows no party."""

from __future__ import annotations

from ..context import Context
from ..errors import UnknownObject
from ..patch import Patch
from ..receivers import KeptCdrs, KeptSessions, LocationBook
from ..store import Store
from ..types import PartyId, ci_key
from ..v221 import (
    CDR,
    EVSE,
    Connector,
    ConnectorRef,
    EvseRef,
    Location,
    LocationRef,
    LocationsReceiver,
    Session,
    SessionRef,
)


class BookedLocations(LocationsReceiver):
    """Takes what is pushed into a book, besides what is pulled."""

    def __init__(self, book: LocationBook) -> None:
        self.book = book

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
        self.book.put(location)

    async def put_evse(self, ctx: Context, ref: EvseRef, evse: EVSE) -> None:
        """Keep the EVSE."""
        self.book.put_evse(ref, evse)

    async def put_connector(self, ctx: Context, ref: ConnectorRef, connector: Connector) -> None:
        """Keep the connector."""
        self.book.put_connector(ref, connector)

    async def patch_location(self, ctx: Context, ref: LocationRef, changes: Patch[Location]) -> None:
        """Change the location."""
        self.book.patch_location(ref, changes)

    async def patch_evse(self, ctx: Context, ref: EvseRef, changes: Patch[EVSE]) -> None:
        """Change the EVSE."""
        self.book.patch_evse(ref, changes)

    async def patch_connector(self, ctx: Context, ref: ConnectorRef, changes: Patch[Connector]) -> None:
        """Change the connector."""
        self.book.patch_connector(ref, changes)


class KnownSessions(KeptSessions):
    """Keeps sessions, and knows them by heart."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._known: dict[tuple[str, str], Session] = {}

    def known(self) -> list[Session]:
        """Return every session, in the order in which they first came."""
        return list(self._known.values())

    def recall(self, ref: SessionRef) -> Session:
        """Return a session.

        Raises:
            UnknownObject: there is none of that id.
        """
        found = self._known.get(_key(ref, ref.session_id))
        if found is None:
            raise UnknownObject("Unknown session")
        return found

    async def session_changed(self, ctx: Context, session: Session) -> None:
        """Learn the session."""
        self._known[_key(session, session.id)] = session


class KnownCdrs(KeptCdrs):
    """Keeps CDRs, and knows them by heart."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._known: dict[tuple[str, str], CDR] = {}

    def known(self) -> list[CDR]:
        """Return every CDR, in the order in which they came."""
        return list(self._known.values())

    async def cdr_received(self, ctx: Context, cdr: CDR) -> None:
        """Learn the CDR."""
        self._known[_key(cdr, cdr.id)] = cdr


def _key(one: SessionRef | Session | CDR, id: str) -> tuple[str, str]:
    return PartyId(one.country_code, one.party_id).key, ci_key(id)
