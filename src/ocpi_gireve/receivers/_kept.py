"""How receivers keep what partners send, the same in every version of OCPI; declares no operation.

A partner sends again whatever it got no answer to, and sometimes late. So what is kept already is accepted
and changes nothing, and so is what is older than what is kept: such late messages are counted as `stale`.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar
from urllib.parse import unquote

from .. import v211, v221
from .._codec import decode
from .._wire import segment_problem
from ..context import Context
from ..errors import InvalidParameters, Problem, UnknownObject
from ..pagination import Link
from ..patch import Patch
from ..store import Store
from ..store.records import Scope, StoredObject
from ..types import PartyId, ci_equal
from ._judge import Conflict, Judge, Late, newest, patched, unchanging
from ._levels import C, E, L, Levels, known
from ._refs import ConnectorNamed, EvseNamed, LocationNamed, OfParty, SessionNamed, TariffNamed, party_of
from .host import Hosted
from .rows import EvseRow, rows_of
from .shelf import Hook, Kind, Shelf, nobody, note

log = logging.getLogger("ocpi_gireve.receivers")

S = TypeVar("S", bound="v211.Session | v221.Session")
B = TypeVar("B", bound="v211.CDR | v221.CDR")
F = TypeVar("F", bound="v211.Tariff | v221.Tariff")
K = TypeVar("K", bound="v211.Token | v221.Token")
# What names an object, as the version's interface says it: a host overrides with the very same class.
RL = TypeVar("RL", bound=LocationNamed)
RE = TypeVar("RE", bound=EvseNamed)
RC = TypeVar("RC", bound=ConnectorNamed)
RF = TypeVar("RF", bound=TariffNamed)
RS = TypeVar("RS", bound=SessionNamed)
RK = TypeVar("RK", bound=OfParty)

FINAL = frozenset({"COMPLETED", "INVALID"})
"""How a session ends."""


class Keeper(Hosted):
    """Keeps something in a store; an object that inherits from several keeps all of it in one.

    Each `__init__` makes its shelf and calls the next one's, so that the host calls none or one.
    """

    def __init__(self, store: Store) -> None:
        """End the chain: what comes after it, such as a class of the host's, takes no store."""


# --- locations -----------------------------------------------------------------------------------------


class Locations(Keeper, Generic[L, E, C, RL, RE, RC]):
    """Keeps locations.

    Attributes:
        locations: What is kept, to read and to fill from a pull.
    """

    locations: Shelf[L]
    _levels: Levels[L, E, C]

    async def location(self, partner: str, ref: LocationNamed) -> L:
        """Return a location that came over a connection.

        Raises:
            UnknownLocation: there is none of that id.
        """
        return known(await self.locations.find(partner, party_of(ref), ref.location_id))

    async def evse(self, partner: str, ref: EvseNamed) -> E:
        """Return an EVSE.

        Raises:
            UnknownLocation: there is no such location, or no such EVSE at it.
        """
        return self._levels.evse(await self.location(partner, ref), ref)

    async def connector(self, partner: str, ref: ConnectorNamed) -> C:
        """Return a connector.

        Raises:
            UnknownLocation: there is no such location, EVSE or connector.
        """
        return self._levels.connector(await self.location(partner, ref), ref)

    async def rows(
        self, partner: str, owner: PartyId | None = None, *, changed_since: datetime | None = None
    ) -> AsyncIterator[EvseRow]:
        """Iterate over all EVSEs, flat, for a table: each beside what is to know of its location.

        Raises:
            StoreError: the store cannot be read.
        """
        async for whose, location in self.locations.items(partner, owner, changed_since=changed_since):
            for row in rows_of(whose, location):
                yield row

    async def get_location(self, ctx: Context, ref: RL) -> L:
        """Return the location."""
        return await self.location(ctx.partner, ref)

    async def get_evse(self, ctx: Context, ref: RE) -> E:
        """Return the EVSE."""
        return await self.evse(ctx.partner, ref)

    async def get_connector(self, ctx: Context, ref: RC) -> C:
        """Return the connector."""
        return await self.connector(ctx.partner, ref)

    async def put_location(self, ctx: Context, ref: RL, location: L) -> None:
        """Keep the location."""
        judge = self._levels.put(location)
        await self.locations.change(ctx, party_of(ref), ref.location_id, judge)

    async def put_evse(self, ctx: Context, ref: RE, evse: E) -> None:
        """Keep the EVSE."""
        judge = self._levels.put_evse(ref, evse)
        await self.locations.change(ctx, party_of(ref), ref.location_id, judge)

    async def put_connector(self, ctx: Context, ref: RC, connector: C) -> None:
        """Keep the connector."""
        judge = self._levels.put_connector(ref, connector)
        await self.locations.change(ctx, party_of(ref), ref.location_id, judge)

    async def patch_location(self, ctx: Context, ref: RL, changes: Patch[L]) -> None:
        """Change the location."""
        judge = self._levels.patch(changes)
        await self.locations.change(ctx, party_of(ref), ref.location_id, judge)

    async def patch_evse(self, ctx: Context, ref: RE, changes: Patch[E]) -> None:
        """Change the EVSE."""
        judge = self._levels.patch_evse(ref, changes)
        await self.locations.change(ctx, party_of(ref), ref.location_id, judge)

    async def patch_connector(self, ctx: Context, ref: RC, changes: Patch[C]) -> None:
        """Change the connector."""
        judge = self._levels.patch_connector(ref, changes)
        await self.locations.change(ctx, party_of(ref), ref.location_id, judge)


# --- tariffs -------------------------------------------------------------------------------------------


def known_tariff(tariff: F | None) -> F:
    """Return the tariff there is.

    Raises:
        UnknownObject: there is none.
    """
    if tariff is None:
        raise UnknownObject("Unknown tariff")
    return tariff


class Tariffs(Keeper, Generic[F, RF]):
    """Keeps tariffs. Through GIREVE one id may stand for several: one for each eMSP that it is aimed at.

    Attributes:
        tariffs: What is kept, to read and to fill from a pull.
    """

    tariffs: Shelf[F]

    async def tariffs_of(self, partner: str, ref: TariffNamed) -> list[F]:
        """Return the tariffs of an id, in the order in which they first came."""
        return [
            tariff
            async for tariff in self.tariffs.all(partner, party_of(ref))
            if ci_equal(tariff.id, ref.tariff_id)
        ]

    async def get_tariff(self, ctx: Context, ref: RF) -> F:
        """Return the tariff: of several the one for everybody, or else the oldest."""
        found = await self.tariffs.find(ctx.partner, party_of(ref), ref.tariff_id)
        if found is None:
            found = next(iter(await self.tariffs_of(ctx.partner, ref)), None)
        return known_tariff(found)

    async def put_tariff(self, ctx: Context, ref: RF, tariff: F) -> None:
        """Keep the tariff."""
        await self.tariffs.change(
            ctx, party_of(ref), self.tariffs.kind.id_of(tariff), lambda old: newest(old, tariff)
        )

    async def delete_tariff(self, ctx: Context, ref: RF) -> None:
        """Forget the tariff, whomever it is for: a DELETE cannot say.

        A tariff that is not there is what the partner wants: it may have had no answer the first time.
        """
        for tariff in await self.tariffs_of(ctx.partner, ref):
            await self.tariffs.remove(ctx, party_of(ref), self.tariffs.kind.id_of(tariff))


# --- sessions and CDRs ---------------------------------------------------------------------------------


BILLED = "billed"
"""The kind of the notes that a session has its CDR; their id is what both have in common."""
UNBILLED = "unbilled"
"""The kind of the notes that a session came after a CDR that it seems to have; their id is the session's."""


def progressed(old: S | None, new: S, says: object, billed: bool = False) -> S:
    """Return the session that is to be kept.

    Its end counts whatever its date, and what follows it is late, unless it corrects the end; after the CDR
    even that is late.

    Args:
        old: What is kept.
        new: What the message makes of it.
        says: The status that the message says.
        billed: Whether there is a CDR.

    Raises:
        Late: the message is.
    """
    if old is None or new == old:
        return new
    over, ends = old.status in FINAL, says in FINAL
    if ends and not over:
        return new
    if billed or (over and not ends):
        raise Late
    return newest(old, new)


class SessionShelf(Shelf[S]):
    """Sessions, which change no more after their end, nor after their CDR, whoever brings the change."""

    def __init__(
        self,
        store: Store,
        kind: Kind[S],
        *,
        changed: Hook[S],
        billed_as: Callable[[S], str | None],
        is_named: bool = True,
        parties_of: Callable[[str], frozenset[PartyId] | None] | None = None,
        speaker_of: Callable[[str], PartyId | None] = nobody,
    ) -> None:
        super().__init__(
            store, kind, changed=changed, removed=ignored, parties_of=parties_of, speaker_of=speaker_of
        )
        self._billed_as, self._is_named = billed_as, is_named

    async def put(self, ctx: Context, owner: PartyId, session: S, id: str) -> None:
        """Keep a whole session."""
        judge = await self._judge(Scope(ctx.partner, owner), session, pushed=True)
        await self.change(ctx, owner, id, judge)

    async def is_billed(self, scope: Scope, session: S) -> bool:
        """Tell whether a session has its CDR.

        Where the CDR did not name it, a session that was not there before the CDR may be another one: it is
        not billed, however much the two agree.
        """
        billed_as = self._billed_as(session)
        if billed_as is None or await self.store.object(scope, BILLED, billed_as) is None:
            return False
        if self._is_named:
            return True
        if await self.find(scope.connection, scope.owner, session.id) is None:
            await self.store.put_object(note(scope, UNBILLED, session.id, self.kind, session))
            return False
        return await self.store.object(scope, UNBILLED, session.id) is None

    async def _judge(self, scope: Scope, one: S, *, pushed: bool) -> Judge[S]:
        billed = await self.is_billed(scope, one)
        return lambda old: progressed(old, one, one.status, billed)


class Sessions(Keeper, Generic[S, RS]):
    """Keeps sessions.

    Attributes:
        sessions: What is kept, to read and to fill from a pull.
    """

    sessions: SessionShelf[S]

    async def session(self, partner: str, ref: SessionNamed) -> S:
        """Return a session that came over a connection.

        Raises:
            UnknownObject: there is none of that id.
        """
        return _session(await self.sessions.find(partner, party_of(ref), ref.session_id))

    async def get_session(self, ctx: Context, ref: RS) -> S:
        """Return the session."""
        return await self.session(ctx.partner, ref)

    async def put_session(self, ctx: Context, ref: RS, session: S) -> None:
        """Keep the session, in the place of the one there is, its charging periods included."""
        await self.sessions.put(ctx, party_of(ref), session, ref.session_id)

    async def patch_session(self, ctx: Context, ref: RS, changes: Patch[S]) -> None:
        """Change some fields of the session."""
        scope = Scope(ctx.partner, party_of(ref))
        kept = await self.sessions.find(ctx.partner, scope.owner, ref.session_id)
        billed = kept is not None and await self.sessions.is_billed(scope, kept)
        requires = self.sessions.kind.dialect.patch_requires

        def judge(old: S | None) -> S:
            new = patched(_session(old), changes, requires)
            return progressed(old, new, changes.changes.get("status"), billed)

        await self.sessions.change(ctx, party_of(ref), ref.session_id, judge)


def _session(session: S | None) -> S:
    if session is None:
        raise UnknownObject("Unknown session")
    return session


def same_charge(stored: StoredObject, cdr: v211.CDR | v221.CDR) -> bool:
    """Tell whether a CDR is the one that was kept in the other version: it bills the same charge."""
    if stored.version == v211.DIALECT.version:
        return _charge(decode(stored.body, v211.CDR)) == _charge(cdr)
    return _charge(decode(stored.body, v221.CDR)) == _charge(cdr)


def _charge(cdr: v211.CDR | v221.CDR) -> tuple[datetime, Decimal, str]:
    return cdr.start_date_time.replace(microsecond=0), cdr.total_energy, cdr.currency


def cdr_shelf(
    store: Store,
    kind: Kind[B],
    *,
    received: Hook[B],
    session_of: Callable[[B], str | None],
    parties_of: Callable[[str], frozenset[PartyId] | None] | None = None,
    speaker_of: Callable[[str], PartyId | None] = nobody,
) -> Shelf[B]:
    """Make the shelf of CDRs, which notes the session that each of them bills."""

    async def changed(ctx: Context, owner: PartyId, cdr: B) -> None:
        await received(ctx, owner, cdr)
        session = session_of(cdr)
        if session is None:
            return
        await store.put_object(note(Scope(ctx.partner, owner), BILLED, session, kind, cdr))

    return Shelf(store, kind, changed=changed, removed=ignored, parties_of=parties_of, speaker_of=speaker_of)


async def ignored(ctx: Context, owner: PartyId, one: object) -> None:
    """Do nothing, where there is no hook."""


class Cdrs(Keeper, Generic[B]):
    """Keeps CDRs, each once: a CDR never changes, so one of a known id is the same again, or refused.

    Attributes:
        cdrs: What is kept, to read and to fill from a pull.
    """

    cdrs: Shelf[B]

    @abstractmethod
    def _owner_of(self, ctx: Context, cdr: B) -> PartyId | None:
        """Return whose a CDR is that was posted; None where nobody can say."""

    async def cdr(self, partner: str, owner: PartyId, id: str) -> B:
        """Return a CDR that came over a connection.

        Raises:
            UnknownObject: there is none of that id.
        """
        found = await self.cdrs.find(partner, owner, id)
        if found is None:
            raise UnknownObject("Unknown CDR")
        return found

    async def post_cdr(self, ctx: Context, cdr: B) -> Link:
        """Keep the CDR and return its place: ``{country_code}/{party_id}/{id}``, where a slash is ``%2F``.

        Raises:
            InvalidParameters: a CDR of that id is kept with other content, and stays as it is; or nobody can
                say whose it is.
        """
        owner = self._owner_of(ctx, cdr)
        if owner is None:
            raise InvalidParameters("it does not say whose CDR it is")
        place = _place(owner, cdr.id)
        try:
            await self.cdrs.change(ctx, owner, cdr.id, lambda old: unchanging(old, cdr))
        except Conflict:
            refused = Problem("/id", "conflict", "expected a new id: a CDR of this id has other content")
        else:
            return Link(place)
        log.error("%s: CDR %s came again with other content; refused", ctx.partner, place)
        raise InvalidParameters(problems=[refused])

    async def get_cdr(self, ctx: Context, link: Link) -> B:
        """Return the CDR at a place, to the partner that posted it.

        Raises:
            UnknownObject: there is none.
        """
        country_code, party_id, cdr_id = map(unquote, (*link.url.split("/", 2), "", "")[:3])
        return await self.cdr(ctx.partner, PartyId(country_code, party_id), cdr_id)


def _place(owner: PartyId, id: str) -> str:
    """Return the place of a CDR, in which no slash is of an id's own: two at once make no path.

    Raises:
        InvalidParameters: nobody could ask for it.
    """
    parts = {"country_code": owner.country_code, "party_id": owner.party_id, "id": id}
    wrong = {name: segment_problem(part) for name, part in parts.items()}
    problems = [Problem(f"/{name}", "charset", said) for name, said in wrong.items() if said]
    if problems:
        raise InvalidParameters(problems=problems)
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts.values())


# --- tokens --------------------------------------------------------------------------------------------


class Tokens(Keeper, Generic[K, RK]):
    """Keeps tokens.

    Attributes:
        tokens: What is kept, to read and to fill from a pull.
    """

    tokens: Shelf[K]

    @abstractmethod
    def _id_of(self, ref: RK) -> str:
        """Return what tells a token apart from the others of its owner."""

    async def token(self, partner: str, ref: RK) -> K:
        """Return a token that came over a connection.

        Raises:
            UnknownObject: there is none of that uid, and type.
        """
        return _token(await self.tokens.find(partner, party_of(ref), self._id_of(ref)))

    async def get_token(self, ctx: Context, ref: RK) -> K:
        """Return the token."""
        return await self.token(ctx.partner, ref)

    async def put_token(self, ctx: Context, ref: RK, token: K) -> None:
        """Keep the token."""
        await self.tokens.change(
            ctx, party_of(ref), self.tokens.kind.id_of(token), lambda old: newest(old, token)
        )

    async def patch_token(self, ctx: Context, ref: RK, changes: Patch[K]) -> None:
        """Change some fields of the token."""
        requires = self.tokens.kind.dialect.patch_requires
        await self.tokens.change(
            ctx, party_of(ref), self._id_of(ref), lambda old: patched(_token(old), changes, requires)
        )


def _token(token: K | None) -> K:
    if token is None:
        raise UnknownObject("Unknown token")
    return token
