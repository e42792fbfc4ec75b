"""Serves locations page by page, as a CPO does and a hub; knows not whose they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

from attrs import evolve

from .._codec import encode
from ..context import Context
from ..errors import UnknownLocation
from ..pagination import Page, PageQuery, page_of
from ..types import ci_equal
from ..v221 import (
    EVSE,
    Connector,
    Location,
    LocationsSender,
    OwnConnectorRef,
    OwnEvseRef,
    OwnLocationRef,
)

MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page of huge locations holds fewer of them: partners limit the length of an answer too."""


class ServedLocations(LocationsSender):
    """Serves those locations that a subclass says the partner may see."""

    @abstractmethod
    def visible(self, ctx: Context) -> Iterable[Location]:
        """Return what the partner may see, oldest first."""

    def shown(self, location: Location) -> Location:
        """Return a location as the partner sees it."""
        return location

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[Location]:
        """Return one page."""
        wanted = [location for location in self.visible(ctx) if query.covers(location.last_updated)]
        return page_within(wanted, query, self.shown)

    async def get_location(self, ctx: Context, ref: OwnLocationRef) -> Location:
        """Return one location."""
        for location in self.visible(ctx):
            if ci_equal(location.id, ref.location_id):
                return self.shown(location)
        raise UnknownLocation

    async def get_evse(self, ctx: Context, ref: OwnEvseRef) -> EVSE:
        """Return one EVSE."""
        for evse in (await self.get_location(ctx, OwnLocationRef(ref.location_id))).evses:
            if ci_equal(evse.uid, ref.evse_uid):
                return evse
        raise UnknownLocation("Unknown EVSE")

    async def get_connector(self, ctx: Context, ref: OwnConnectorRef) -> Connector:
        """Return one connector."""
        for connector in (await self.get_evse(ctx, OwnEvseRef(ref.location_id, ref.evse_uid))).connectors:
            if ci_equal(connector.id, ref.connector_id):
                return connector
        raise UnknownLocation("Unknown connector")


def page_within(
    wanted: Sequence[Location], query: PageQuery, shown: Callable[[Location], Location]
) -> Page[Location]:
    """Cut a page that is not too long out of all wanted locations, and return it as the partner sees it."""
    page = page_of(wanted, query)
    items = [shown(location) for location in page.items]
    while len(items) > 1 and len(encode(items)) > MAX_PAGE_BYTES:
        items = items[: len(items) // 2]
    return evolve(page, items=items)
