from __future__ import annotations

import pytest

from ocpi_gireve import Context, Patch, v221
from ocpi_gireve.errors import UnknownObject
from ocpi_gireve.receivers import LocationBook
from ocpi_gireve.simulator.memory import BookedLocations, KnownCdrs, KnownSessions
from ocpi_gireve.store import MemoryStore
from tests.simulator.scene import CONNECTOR, EVSE, LOCATION
from tests.support import NOW, a_cdr, a_connector, a_location, a_session, an_evse

CTX = Context(partner="iop", version="2.2.1", request_id="r", correlation_id="c")
SESSION = v221.SessionRef("FR", "CPO", "S1")


async def test_booked() -> None:
    """What is pushed, at each level, is in the book, and is read out of it."""
    book = LocationBook()
    booked = BookedLocations(book)
    await booked.put_location(CTX, LOCATION, a_location())
    await booked.put_evse(CTX, EVSE, an_evse(physical_reference="7"))
    await booked.put_connector(CTX, CONNECTOR, a_connector(max_amperage=8))
    await booked.patch_location(CTX, LOCATION, Patch(v221.Location, {"name": "Nord", "last_updated": NOW}))
    await booked.patch_evse(CTX, EVSE, Patch(v221.EVSE, {"floor_level": "1", "last_updated": NOW}))
    await booked.patch_connector(
        CTX, CONNECTOR, Patch(v221.Connector, {"tariff_ids": ["T9"], "last_updated": NOW})
    )
    plug = a_connector(max_amperage=8, tariff_ids=["T9"])
    evse = an_evse(physical_reference="7", floor_level="1", connectors=[plug])
    assert book.all() == [a_location(name="Nord", evses=[evse])]
    assert await booked.get_location(CTX, LOCATION) == book.all()[0]
    assert await booked.get_evse(CTX, EVSE) == evse
    assert await booked.get_connector(CTX, CONNECTOR) == plug


async def test_known() -> None:
    """Sessions and CDRs that are kept are known at once, by any spelling of their ids."""
    store = MemoryStore()
    await store.open()
    sessions, cdrs = KnownSessions(store), KnownCdrs(store)
    with pytest.raises(UnknownObject):
        sessions.recall(SESSION)
    await sessions.put_session(CTX, SESSION, a_session())
    await cdrs.post_cdr(CTX, a_cdr())
    assert sessions.recall(v221.SessionRef("fr", "cpo", "s1")) == a_session()
    assert (sessions.known(), cdrs.known()) == ([a_session()], [a_cdr()])
    assert await sessions.get_session(CTX, SESSION) == a_session()
