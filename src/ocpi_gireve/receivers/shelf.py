"""The objects of one kind that partners sent, over a store: read them here; knows no kind and no version."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Generic, TypeAlias, TypeVar, cast

from attrs import define, field, frozen

from .. import v211, v221
from .._codec import decode, encode
from ..context import Context
from ..crawl import Pull
from ..dialect import Dialect
from ..errors import InvalidParameters, Problem, UnknownLocation, UnknownObject
from ..pagination import Page, PageQuery
from ..store import Store
from ..store.records import Scope, StoredObject
from ..types import PartyId, ci_equal
from ._desk import Place, desk_of, place_of
from ._judge import Conflict, Judge, Late, by_date

log = logging.getLogger("ocpi_gireve.receivers")

PAGE = 100
"""How many objects are read from the store at once."""
NOBODYS = "nobodys"
"""With the kind, the kind of the notes that an object came in a pull that did not say whose it is."""

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


def nobody(partner: str) -> PartyId | None:  # noqa: ARG001 - stands for what may know
    """Tell of no partner for whom it speaks."""
    return None


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
        is_same: Whether an object is the one that was kept in another version, of what is news only once.
        is_one: Whether two of one id are one object, though only one of them says whose it is; None: they
            never are.
    """

    name: str
    dialect: Dialect
    model: type[M]
    id_of: Callable[[M], str]
    owner_of: Callable[[M, PartyId | None], PartyId | None]
    pulled: Callable[[M | None, M, bool], M] = by_date
    lasting: bool = False
    is_same: Callable[[StoredObject, M], bool] | None = None
    is_one: Callable[[M, M], bool] | None = None


def note(scope: Scope, name: str, id: str, kind: Kind[M], one: M) -> StoredObject:
    """Return what notes something of an object, such as that a CDR has come."""
    return StoredObject(
        scope=scope,
        kind=name,
        id=id,
        version=kind.dialect.version,
        last_updated=one.last_updated,
        body=b"",
        digest=b"",
    )


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
    """What is known of one pull so far.

    Attributes:
        theirs: The parties whose objects it may bring; None: anybody's.
    """

    ctx: Context
    theirs: frozenset[PartyId] | None
    pushed: set[Place]
    came: set[Place] = field(factory=set[Place])
    received: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0

    @property
    def owner(self) -> PartyId | None:
        """The only party whose objects it brings; None: there may be several."""
        return next(iter(self.theirs)) if self.theirs is not None and len(self.theirs) == 1 else None


class Shelf(Generic[M]):
    """The objects of one kind, each below the connection over which it came and the party that owns it.

    Changes of one object are made one after the other, within this process.

    Attributes:
        stale: How many messages came too late: older than what is kept, or after the end.
    """

    def __init__(
        self,
        store: Store,
        kind: Kind[M],
        *,
        changed: Hook[M],
        removed: Hook[M],
        parties_of: Callable[[str], frozenset[PartyId] | None] | None = None,
        speaker_of: Callable[[str], PartyId | None] = nobody,
    ) -> None:
        self.stale = 0
        self.store = store
        self.kind = kind
        self._changed, self._removed = changed, removed
        self._parties_of = parties_of
        self._speaker_of = speaker_of
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

    async def named(self, partner: str, id: str) -> list[tuple[PartyId, M]]:
        """Return the objects of an id, each with its owner, in the order in which they first came.

        Raises:
            StoreError: the store cannot be read.
        """
        found = await self.store.objects_named(partner, self.kind.name, id)
        opened = [(stored.scope.owner, self._opened(stored)) for stored in found]
        return [(owner, one) for owner, one in opened if one is not None]

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

        The objects of a page are kept together, before the next page is asked for. So a pull that is cut off
        loses nothing, and the next one brings the rest. What is kept and did not come is removed after a full
        pull. Nothing that is pushed meanwhile is undone.

        Args:
            partner: The id of the connection that is pulled over.
            pull: The pull, or the pages of a listing.
            full: Whether pages are all there is; a pull knows it.
            owner: The only party whose objects were asked for, which a pull knows that was narrowed to it;
                None: every party's that the partner presented, and anybody's where it is a hub. In 2.1.1 it
                also says whose they are; else a direct partner's are its own, and IOP writes into an object
                whose it is.

        Raises:
            StoreError: the store failed.
            OcpiError: the pull failed; nothing is removed.
            ValueError: a pull of another partner, or of another party; pages of sessions or CDRs as all there
                is: they stay for good.
            Exception: whatever the hook raises.
        """
        if full and self.kind.lasting:
            raise ValueError(f"expected full=False: what is kept as {self.kind.name} stays")
        known = cast("Pull[M]", pull) if isinstance(pull, Pull) else None
        if known is not None:
            owner = _owner_of_pull(known, partner, owner)
        with self._desk.watch() as pushed:
            visit = _Visit(self._pull_context(partner), self._listed_by(partner, owner), pushed)
            if known is not None:
                # Whatever ends it, the next one goes on at the page that was not taken whole.
                async with aclosing(known):
                    await self._take_pages(visit, known.pages())
                full = known.whole and not self.kind.lasting
            else:
                await self._take_pages(visit, cast("AsyncIterable[Page[M]]", pull))
            if full and visit.rejected:
                log.warning(
                    "%s: %d items not taken, so no %s is removed", partner, visit.rejected, self.kind.name
                )
            elif full:
                await self._remove_others(visit)
        return Absorbed(
            received=visit.received, changed=visit.changed, removed=visit.removed, rejected=visit.rejected
        )

    def _listed_by(self, partner: str, owner: PartyId | None) -> frozenset[PartyId] | None:
        """Return whose objects a partner may list: its own parties', unless the host names another."""
        if owner is not None:
            return frozenset({owner})
        return None if self._parties_of is None else self._parties_of(partner)

    async def _take_pages(self, visit: _Visit, pages: AsyncIterable[Page[M]]) -> None:
        """Take the objects of each page at once: a store on disk keeps many as fast as one."""
        async for page in pages:
            visit.rejected += len(page.rejected)
            taken = (self._take(visit, one) for one in page.items)
            ended = await asyncio.gather(*taken, return_exceptions=True)
            failed = next((one for one in ended if one is not None), None)
            if failed is not None:
                raise failed

    async def _take(self, visit: _Visit, one: M) -> None:
        visit.received += 1
        partner, named = visit.ctx.partner, self.kind.id_of(one)
        owner = self.kind.owner_of(one, visit.owner)
        nobodys = owner is None and visit.owner is None
        if nobodys:
            owner = await self._home_of(partner, one)
        if owner is None or (visit.theirs is not None and owner not in visit.theirs):
            visit.rejected += 1
            what = "nobody knows whose it is, or it is another party's"
            log.warning("%s: a pulled %s is left out: %s", partner, self.kind.name, what)
            return
        place = self._place(partner, owner, named)
        visit.came.add(place)
        try:
            async with self._desk.hold(place):
                judge = await self._judge(Scope(partner, owner), one, pushed=place in visit.pushed)
                if nobodys:
                    await self._note_nobodys(Scope(partner, owner), one)
                news = await self._keep(visit.ctx, owner, named, judge)
                visit.changed += news
        except Conflict:
            visit.rejected += 1
            self._alarm(partner, f"{self.kind.name} {owner}/{named}")

    async def _home_of(self, partner: str, one: M) -> PartyId | None:
        """Return under whom to keep a pulled object that says not whose it is.

        Under the party that the partner speaks for, like a pushed one, unless a push has said whose it is.
        None where that is not known either.
        """
        speaker, is_one = self._speaker_of(partner), self.kind.is_one
        if speaker is None or is_one is None:
            return speaker
        found = await self.named(partner, self.kind.id_of(one))
        same = [owner for owner, kept in found if owner != speaker and is_one(kept, one)]
        return same[0] if len(same) == 1 else speaker

    async def _note_nobodys(self, scope: Scope, one: M) -> None:
        """Note of an object that is new here that a push may still say whose it is."""
        named, is_speakers = self.kind.id_of(one), self._speaker_of(scope.connection) == scope.owner
        if self.kind.is_one is None or not is_speakers:
            return
        if await self.store.object(scope, self.kind.name, named) is None:
            await self.store.put_object(note(scope, self._nobodys, named, self.kind, one))

    @property
    def _nobodys(self) -> str:
        return f"{NOBODYS} {self.kind.name}"

    def _alarm(self, partner: str, what: str) -> None:
        """Tell of what never changes and did: of CDRs, whose ids are nobody's secret."""
        log.error("%s: the pulled %s is kept with other content; left out", partner, what)

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

    async def _judge(self, scope: Scope, one: M, *, pushed: bool) -> Judge[M]:
        """Return what makes of what is kept, and what a pull brought, what is to be kept."""
        return lambda old: self.kind.pulled(old, one, pushed)

    # --- the store -------------------------------------------------------------------------------------

    async def _keep(self, ctx: Context, owner: PartyId, id: str, judge: Judge[M]) -> bool:
        stored = await self.store.object(Scope(ctx.partner, owner), self.kind.name, id)
        speaker = self._speaker_of(ctx.partner)
        if stored is None and self.kind.is_one and speaker is not None and speaker != owner:
            return await self._adopt(ctx, Scope(ctx.partner, speaker), owner, id, judge)
        return await self._write(ctx, owner, id, judge, stored)

    async def _adopt(self, ctx: Context, nobodys: Scope, owner: PartyId, id: str, judge: Judge[M]) -> bool:
        """Keep an object; what a pull that named nobody kept of it moves to the owner that is named now."""
        async with self._desk.hold(place_of(nobodys, self.kind.name, id)):
            old = None
            if await self.store.object(nobodys, self._nobodys, id) is not None:
                old = self._opened(await self.store.object(nobodys, self.kind.name, id))
            if old is None or not self._is_meant(old, judge):
                return await self._write(ctx, owner, id, judge, None)
            news = await self._write(ctx, owner, id, lambda _: judge(old), None)
            if news:
                await self._drop(ctx, nobodys, id)
            return news

    def _is_meant(self, kept: M, judge: Judge[M]) -> bool:
        try:
            whole = judge(None)
        except (UnknownObject, UnknownLocation):
            return True  # it changes a part, and the partner knows that we have the rest
        return self.kind.is_one is not None and self.kind.is_one(kept, whole)

    async def _write(
        self, ctx: Context, owner: PartyId, id: str, judge: Judge[M], stored: StoredObject | None
    ) -> bool:
        scope = Scope(ctx.partner, owner)
        old = self._opened(stored)
        try:
            new = judge(old)
        except Late:
            self.stale += 1
            return False
        if new == old:
            return False
        if not ci_equal(self.kind.id_of(new), id):
            raise InvalidParameters(problems=[Problem("", "url-mismatch", "expected the object of the URL")])
        body = encode(new)
        if stored is not None and old is not None and stored.body == body:
            return False  # the difference is not kept: of a date, milliseconds are
        news = stored is None or old is not None or self._is_news(stored, new)
        if news:
            await self._changed(ctx, owner, new)
        await self.store.put_object(
            StoredObject(
                scope=scope,
                kind=self.kind.name,
                id=id,
                version=self.kind.dialect.version,
                last_updated=new.last_updated,
                body=body,
                digest=hashlib.sha256(body).digest(),
            )
        )
        return news

    def _is_news(self, stored: StoredObject, new: M) -> bool:
        """Tell whether the hook is to learn of what came in another version before: a CDR is billed once.

        Raises:
            Conflict: it is another one.
        """
        if self.kind.is_same is None:
            return True
        if not self.kind.is_same(stored, new):
            raise Conflict
        return False

    async def _drop(self, ctx: Context, scope: Scope, id: str) -> bool:
        stored = await self.store.object(scope, self.kind.name, id)
        if stored is None:
            return False
        one = self._opened(stored)
        if one is not None:
            await self._removed(ctx, scope.owner, one)
        if self.kind.is_one is not None:
            await self.store.remove_object(scope, self._nobodys, id)
        return await self.store.remove_object(scope, self.kind.name, id)

    async def _stored(
        self, partner: str, owner: PartyId | None, changed_since: datetime | None = None
    ) -> AsyncIterator[StoredObject]:
        seen: set[Place] = set()
        offset = 0
        while True:
            # One that was seen again: before it nothing was passed over, whatever has come or gone meanwhile.
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
            if overlap and seen.isdisjoint(places[:1]):
                offset = max(0, offset - PAGE)
                continue
            for place, stored in zip(places, found, strict=True):
                if place not in seen:
                    seen.add(place)
                    yield stored
            if len(found) < PAGE + overlap:
                return
            offset += PAGE

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


def _owner_of_pull(pull: Pull[M], partner: str, owner: PartyId | None) -> PartyId | None:
    """Return the only party whose objects a pull brings: what others have must not seem to be gone.

    Raises:
        ValueError: it is not what the caller takes it for.
    """
    if pull.partner != partner:
        raise ValueError(f"expected a pull of {partner}, not of {pull.partner}")
    if owner is not None and pull.owner not in (None, owner):
        raise ValueError(f"expected a pull of {owner}, not of {pull.owner}")
    return owner or pull.owner
