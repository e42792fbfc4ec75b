"""The objects of one kind that partners sent, over a store: read them here; knows no kind and no version."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Generic, TypeAlias, TypeVar, cast

from attrs import define, field, frozen

from .. import v211, v221
from .._codec import decode, encode
from ..context import Context
from ..crawl import Pull
from ..dialect import Dialect
from ..errors import InvalidParameters, Problem
from ..pagination import Page, PageQuery
from ..store import Store
from ..store.records import Scope, StoredObject
from ..types import PartyId, ci_equal
from ._desk import Place, desk_of, place_of
from ._judge import Conflict, Judge, Late

log = logging.getLogger("ocpi_gireve.receivers")

PAGE = 100
"""How many objects are read from the store at once."""

M = TypeVar(
    "M",
    bound=v211.CDR
    | v211.Location
    | v211.Session
    | v211.Tariff
    | v211.Token
    | v221.CDR
    | v221.ClientInfo
    | v221.Location
    | v221.Session
    | v221.Tariff
    | v221.Token,
)

Hook: TypeAlias = Callable[[Context, PartyId, M], Awaitable[None]]


@frozen(kw_only=True, eq=False)
class Kind(Generic[M]):
    """A kind of object in one version of OCPI.

    Attributes:
        name: Under which its objects are in the store.
        dialect: The version.
        model: Their class.
        id_of: What tells those of one owner apart.
        owner_of: Whose an object is that a pull brought, given the party that the pull was narrowed to; None
            where nobody can say, or it is another party's.
        pulled: What the store keeps of what it has and what a pull brought; told whether the object was
            pushed meanwhile, so that the pull may be behind.
        lasting: Whether its objects stay for good, so that no pull shows any of them to be gone.
    """

    name: str
    dialect: Dialect
    model: type[M]
    id_of: Callable[[M], str]
    owner_of: Callable[[M, PartyId | None], PartyId | None]
    pulled: Callable[[M | None, M, bool], M]
    lasting: bool = False


@frozen(kw_only=True)
class Absorbed:
    """What became of a pull.

    Attributes:
        received: How many objects it brought.
        changed: How many of them were news.
        removed: How many were kept and are gone.
        rejected: How many could not be taken: not readable, nobody's, or in conflict. While there are any,
            nothing is removed, for one of them may be what seems to be gone.
    """

    received: int
    changed: int
    removed: int
    rejected: int


@define(eq=False)
class _Visit:
    """What is known of one pull so far."""

    ctx: Context
    owner: PartyId | None
    pushed: set[Place]
    came: set[Place] = field(factory=set[Place])
    received: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0


class Shelf(Generic[M]):
    """The objects of one kind, each below the connection over which it came and the party that owns it.

    Changes of one object are made one after the other, within this process.

    Attributes:
        stale: How many messages came too late: older than what is kept, or after the end.
    """

    def __init__(self, store: Store, kind: Kind[M], *, changed: Hook[M], removed: Hook[M]) -> None:
        self.stale = 0
        self.store = store
        self.kind = kind
        self._changed, self._removed = changed, removed
        self._desk = desk_of(store)

    # --- reading ---------------------------------------------------------------------------------------

    async def find(self, partner: str, owner: PartyId, id: str) -> M | None:
        """Return an object.

        Args:
            partner: The id of the connection over which it came.
            owner: Whose it is.
            id: As the kind composes it; the methods of the receiver are handier.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._opened(await self.store.object(Scope(partner, owner), self.kind.name, id))

    async def all(
        self, partner: str, owner: PartyId | None = None, *, changed_since: datetime | None = None
    ) -> AsyncIterator[M]:
        """Iterate over the objects, in the order in which they first came.

        What comes while it runs may be left out; nothing that is there comes twice.

        Args:
            partner: The id of the connection over which they came.
            owner: Only this party's.
            changed_since: Only those with a `last_updated` at or after this moment.

        Raises:
            StoreError: the store cannot be read.
        """
        async for _, one in self.items(partner, owner, changed_since=changed_since):
            yield one

    async def items(
        self, partner: str, owner: PartyId | None = None, *, changed_since: datetime | None = None
    ) -> AsyncIterator[tuple[PartyId, M]]:
        """Iterate as `all` does, over pairs of owner and object: in 2.1.1 an object does not say whose it is.

        Raises:
            StoreError: the store cannot be read.
        """
        async for stored in self._stored(partner, owner, changed_since):
            one = self._opened(stored)
            if one is not None:
                yield stored.scope.owner, one

    async def page(self, partner: str, query: PageQuery, owner: PartyId | None = None) -> Page[M]:
        """Return one page: at most `PAGE` objects where the query does not say how many.

        Raises:
            StoreError: the store cannot be read.
        """
        dates = {"changed_from": query.date_from, "changed_to": query.date_to}
        limit = PAGE if query.limit is None else query.limit
        total = await self.store.count_objects(partner, self.kind.name, owner, **dates)
        found = await self.store.objects(
            partner, self.kind.name, owner, offset=query.offset, limit=limit, **dates
        )
        opened = [self._opened(stored) for stored in found]
        return Page(items=[one for one in opened if one is not None], total=total)

    async def count(
        self, partner: str, owner: PartyId | None = None, *, changed_since: datetime | None = None
    ) -> int:
        """Return how many objects there are.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self.store.count_objects(partner, self.kind.name, owner, changed_from=changed_since)

    # --- keeping ---------------------------------------------------------------------------------------

    async def change(self, ctx: Context, owner: PartyId, id: str, judge: Judge[M]) -> None:
        """Keep what a judge makes of what is kept, once the hook was told of it.

        Where the hook fails nothing is kept: the partner sends it again, and the hook is told again.

        Raises:
            StoreError: it could not be kept.
            Exception: whatever the judge or the hook raises.
        """
        place = self._place(ctx.partner, owner, id)
        async with self._desk.hold(place):
            self._desk.pushed(place)
            await self._keep(ctx, owner, id, judge)

    async def remove(self, ctx: Context, owner: PartyId, id: str) -> bool:
        """Forget an object, once the hook was told of it; false where there is none.

        Raises:
            StoreError: the store failed.
            Exception: whatever the hook raises.
        """
        place = self._place(ctx.partner, owner, id)
        async with self._desk.hold(place):
            self._desk.pushed(place)
            return await self._drop(ctx, Scope(ctx.partner, owner), id)

    async def forget(self, partner: str, owner: PartyId, one: M) -> bool:
        """Delete an object for good, such as a session that is no longer needed; false where it is not there.

        No hook is told. A partner that sends it again brings it back.

        Raises:
            StoreError: the store failed.
        """
        named = self.kind.id_of(one)
        async with self._desk.hold(self._place(partner, owner, named)):
            return await self.store.remove_object(Scope(partner, owner), self.kind.name, named)

    async def absorb(
        self,
        partner: str,
        pull: Pull[M] | AsyncIterable[Page[M]],
        *,
        full: bool = False,
        owner: PartyId | None = None,
    ) -> Absorbed:
        """Keep what a pull brings: ``await places.locations.absorb("iop", iop.pull(...))``.

        Each object is kept as it comes. So a pull that is cut off loses nothing, and the next one brings the
        rest. What is kept and did not come is removed at the end of a full pull. Nothing that is pushed
        meanwhile is undone.

        Args:
            partner: The id of the connection that is pulled over.
            pull: The pull, or the pages of a listing.
            full: Whether pages are all there is; a pull knows it.
            owner: The only party whose objects were asked for. In 2.1.1 it also says whose they are, which
                is otherwise read from where IOP writes it.

        Raises:
            StoreError: the store failed.
            OcpiError: the pull failed; nothing is removed.
            ValueError: pages of sessions or CDRs as all there is: they stay for good.
            Exception: whatever the hook raises.
        """
        if full and self.kind.lasting:
            raise ValueError(f"expected full=False: what is kept as {self.kind.name} stays")
        with self._desk.watch() as pushed:
            visit = _Visit(self._pull_context(partner), owner, pushed)
            if isinstance(pull, Pull):
                full = await self._take_pull(visit, cast("Pull[M]", pull))
            else:
                async for page in pull:
                    visit.rejected += len(page.rejected)
                    await self._take_page(visit, page)
            if full and visit.rejected:
                log.warning(
                    "%s: %d items not taken, so no %s is removed", partner, visit.rejected, self.kind.name
                )
            elif full:
                await self._remove_others(visit)
        return Absorbed(
            received=visit.received, changed=visit.changed, removed=visit.removed, rejected=visit.rejected
        )

    async def _take_pull(self, visit: _Visit, pull: Pull[M]) -> bool:
        """Take every object of a pull; tell whether they are all there is."""
        # One by one: asked for the next one, the pull notes that the page before was taken whole.
        async for one in pull:
            await self._take(visit, one)
        visit.rejected += pull.rejected_count
        # One that was resumed does not know what came before.
        return pull.full and not pull.resumed and not self.kind.lasting

    async def _take_page(self, visit: _Visit, page: Page[M]) -> None:
        """Take the objects of a page at once: a store on disk keeps many as fast as one."""
        ended = await asyncio.gather(*(self._take(visit, one) for one in page.items), return_exceptions=True)
        failed = next((one for one in ended if one is not None), None)
        if failed is not None:
            raise failed

    async def _take(self, visit: _Visit, one: M) -> None:
        visit.received += 1
        partner, named = visit.ctx.partner, self.kind.id_of(one)
        owner = self.kind.owner_of(one, visit.owner)
        if owner is None:
            visit.rejected += 1
            log.warning("%s: a pulled %s is left out: nobody knows whose it is", partner, self.kind.name)
            return
        place = self._place(partner, owner, named)
        visit.came.add(place)
        try:
            async with self._desk.hold(place):
                judge, pushed = self.kind.pulled, place in visit.pushed
                news = await self._keep(visit.ctx, owner, named, lambda old: judge(old, one, pushed))
                visit.changed += news
        except Conflict:
            visit.rejected += 1
            self._alarm(partner)

    def _alarm(self, partner: str) -> None:
        log.error("%s: a pulled %s is kept with other content; left out", partner, self.kind.name)

    async def _remove_others(self, visit: _Visit) -> None:
        gone = [
            (stored.scope, stored.id)
            async for stored in self._stored(visit.ctx.partner, visit.owner)
            if self._place_of(stored) not in visit.came
        ]
        for scope, named in gone:
            place = place_of(scope, self.kind.name, named)
            async with self._desk.hold(place):
                # Pushed after the pull had passed its place: it is there, and the pull could not know.
                if place not in visit.pushed:
                    visit.removed += await self._drop(visit.ctx, scope, named)

    # --- the store -------------------------------------------------------------------------------------

    async def _keep(self, ctx: Context, owner: PartyId, id: str, judge: Judge[M]) -> bool:
        old = await self.find(ctx.partner, owner, id)
        try:
            new = judge(old)
        except Late:
            self.stale += 1
            return False
        if new == old:
            return False
        if not ci_equal(self.kind.id_of(new), id):
            raise InvalidParameters(problems=[Problem("", "url-mismatch", "expected the object of the URL")])
        await self._changed(ctx, owner, new)
        body = encode(new)
        await self.store.put_object(
            StoredObject(
                scope=Scope(ctx.partner, owner),
                kind=self.kind.name,
                id=id,
                version=self.kind.dialect.version,
                last_updated=new.last_updated,
                body=body,
                digest=hashlib.sha256(body).digest(),
            )
        )
        return True

    async def _drop(self, ctx: Context, scope: Scope, id: str) -> bool:
        stored = await self.store.object(scope, self.kind.name, id)
        if stored is None:
            return False
        one = self._opened(stored)
        if one is not None:
            await self._removed(ctx, scope.owner, one)
        return await self.store.remove_object(scope, self.kind.name, id)

    async def _stored(
        self, partner: str, owner: PartyId | None, changed_since: datetime | None = None
    ) -> AsyncIterator[StoredObject]:
        seen: set[Place] = set()
        offset, last = 0, None
        while True:
            # The last one again: where it has moved, something before it has come or gone.
            overlap = 1 if offset else 0
            found = await self.store.objects(
                partner,
                self.kind.name,
                owner,
                changed_from=changed_since,
                offset=offset - overlap,
                limit=PAGE + overlap,
            )
            places = [self._place_of(stored) for stored in found]
            if overlap and places[:1] != [last]:
                offset = 0
                continue
            for place, stored in zip(places, found, strict=True):
                if place not in seen:
                    seen.add(place)
                    yield stored
            if len(found) < PAGE + overlap:
                return
            offset, last = offset + PAGE, places[-1]

    def _opened(self, stored: StoredObject | None) -> M | None:
        """Read what is kept. What was kept in another version of OCPI is replaced when it comes again."""
        if stored is None or stored.version != self.kind.dialect.version:
            return None
        return decode(stored.body, self.kind.model)

    def _place(self, partner: str, owner: PartyId, id: str) -> Place:
        return place_of(Scope(partner, owner), self.kind.name, id)

    def _place_of(self, stored: StoredObject) -> Place:
        return place_of(stored.scope, stored.kind, stored.id)

    def _pull_context(self, partner: str) -> Context:
        return Context(
            partner=partner,
            version=self.kind.dialect.version,
            request_id=str(uuid.uuid4()),
            correlation_id=str(uuid.uuid4()),
        )
