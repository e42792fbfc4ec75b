"""How our own objects are listed, the same in every version of OCPI; declares no operation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from ..context import Context
from ..pagination import Page, PageQuery, page_of
from ..types import ci_equal
from ._book import Book
from ._judge import Dated
from ._levels import C, E, L, Levels, known
from ._refs import OwnConnectorNamed, OwnEvseNamed, OwnLocationNamed
from .host import Hosted

D = TypeVar("D", bound=Dated)
# What names an object, as the version's interface says it: a host overrides with the very same class.
RL = TypeVar("RL", bound=OwnLocationNamed)
RE = TypeVar("RE", bound=OwnEvseNamed)
RC = TypeVar("RC", bound=OwnConnectorNamed)


def listed(objects: Iterable[D], query: PageQuery) -> Page[D]:
    """Return the page that a query asks for, out of objects in the order of their creation."""
    return page_of([one for one in objects if query.covers(one.last_updated)], query)


class ShownToHubs(Hosted):
    """What a hub sees that asks for itself, and not for a party behind it."""

    _asked: tuple[Context, bool] | None = None

    def is_for_hub(self, ctx: Context) -> bool:
        """Tell whether a hub asks for itself."""
        asked = self._asked
        if asked is None or asked[0] is not ctx:
            # Once for all objects of a listing.
            asked = self._asked = ctx, self._is_hub_itself(ctx.partner, ctx.sender)
        return asked[1]


class OwnPlaces(Generic[L, E, C, RL, RE, RC]):
    """Serves the locations of a book: those of the party that is asked."""

    def __init__(self, book: Book[L, E, C], levels: Levels[L, E, C]) -> None:
        self._book, self._levels = book, levels

    def visible(self, ctx: Context, location: L) -> bool:
        """Override to show a partner only some locations."""
        return True

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[L]:
        """Return one page."""
        return listed(self._shown(ctx), query)

    async def get_location(self, ctx: Context, ref: RL) -> L:
        """Return one location."""
        return self._find(ctx, ref)

    async def get_evse(self, ctx: Context, ref: RE) -> E:
        """Return one EVSE."""
        return self._levels.evse(self._find(ctx, ref), ref)

    async def get_connector(self, ctx: Context, ref: RC) -> C:
        """Return one connector."""
        return self._levels.connector(self._find(ctx, ref), ref)

    def _find(self, ctx: Context, ref: OwnLocationNamed) -> L:
        found = (one for one in self._shown(ctx) if ci_equal(one.id, ref.location_id))
        return known(next(found, None))

    def _shown(self, ctx: Context) -> Iterable[L]:
        there = self._book.all() if ctx.receiver is None else self._book.of(ctx.receiver)
        return (one for one in there if self.visible(ctx, one))
