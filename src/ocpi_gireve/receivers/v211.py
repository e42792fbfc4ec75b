"""Receivers of OCPI 2.1.1 that keep in a store what partners send; how they keep it, no version says.

A 2.1.1 object does not say whose it is. What is pushed belongs to the party in its URL. Of what is posted or
pulled, IOP writes the owner elsewhere into the object; what names nobody is kept under the hub's own party. A
direct partner's is its own, whatever it writes into it, or the party's that is named to `Shelf.absorb`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from ..context import Context
from ..convert.parties import cpo_of, emsp_of, emsp_of_contract
from ..pagination import Page, PageQuery
from ..patch import Patch
from ..store import Store
from ..types import PartyId, ci_key
from ..v211 import (
    CDR,
    DIALECT,
    EVSE,
    CdrsCpo,
    CdrsEmsp,
    Connector,
    ConnectorRef,
    EvseRef,
    Location,
    LocationRef,
    LocationsCpo,
    LocationsEmsp,
    OwnConnectorRef,
    OwnEvseRef,
    OwnLocationRef,
    Session,
    SessionRef,
    SessionsCpo,
    SessionsEmsp,
    Tariff,
    TariffRef,
    TariffsCpo,
    TariffsEmsp,
    Token,
    TokenRef,
    TokensCpo,
    TokensEmsp,
)
from ._book import Book
from ._judge import patched, unchanging
from ._kept import (
    Cdrs,
    Locations,
    Sessions,
    SessionShelf,
    Tariffs,
    Tokens,
    cdr_shelf,
    known_tariff,
    same_charge,
)
from ._levels import Levels
from ._own import OwnPlaces, ShownToHubs, listed
from ._refs import party_of
from .shelf import Kind, Shelf

N = TypeVar("N", Tariff, Session, CDR, Token)

_EVSE_ID = re.compile(r"([A-Z]{2})\*?([A-Z0-9]{3})\*?E", re.IGNORECASE | re.ASCII)


def _evses(location: Location) -> list[EVSE]:
    return location.evses


def _connectors(evse: EVSE) -> list[Connector]:
    return evse.connectors


LEVELS: Levels[Location, EVSE, Connector] = Levels(
    evses=_evses, connectors=_connectors, patch_requires=DIALECT.patch_requires
)


def _cpo(location: Location) -> PartyId | None:
    """Return whose a location is: IOP writes it into the operator's name, and it begins every evse_id."""
    found = cpo_of(location)
    for evse in location.evses:
        named = None if found else _EVSE_ID.match(evse.evse_id or "")
        found = PartyId(named[1], named[2]) if named else found
    return found


def _tariff_owner(tariff: Tariff, asked: PartyId | None) -> PartyId | None:
    if asked is not None or tariff.country_code is None or tariff.party_id is None:
        return asked
    return PartyId(tariff.country_code, tariff.party_id)


def _begun(session: Session) -> tuple[datetime, str]:
    return session.start_datetime.replace(microsecond=0), ci_key(session.auth_id)


def _charge(authorization_id: str | None, start: datetime, location: Location) -> str | None:
    """Return what a CDR has in common with its session alone, for it does not name it.

    "an eMSP giving 2 authorisations and receiving 3 CDRs": several charges may have one authorization.
    None where there is none. (GIREVE 2.1.1, integration guidelines)
    """
    if authorization_id is None:
        return None
    spots = sorted(ci_key(evse.uid) for evse in location.evses)
    return "|".join([authorization_id, start.replace(microsecond=0).isoformat(), *spots])


LOCATION = Kind(
    name="location",
    dialect=DIALECT,
    model=Location,
    id_of=lambda location: location.id,
    owner_of=lambda location, asked: asked or _cpo(location),
    pulled=LEVELS.pulled,
    is_one=lambda one, other: one.coordinates == other.coordinates,
)
TARIFF = Kind(
    name="tariff",
    dialect=DIALECT,
    model=Tariff,
    id_of=lambda tariff: tariff.id,
    owner_of=_tariff_owner,
    is_one=lambda one, other: (one.currency, one.elements) == (other.currency, other.elements),
)
SESSION = Kind(
    name="session",
    dialect=DIALECT,
    model=Session,
    id_of=lambda session: session.id,
    owner_of=lambda session, asked: asked or _cpo(session.location),
    lasting=True,
    is_one=lambda one, other: _begun(one) == _begun(other),
)
CDRS = Kind(
    name="cdr",
    dialect=DIALECT,
    model=CDR,
    id_of=lambda cdr: cdr.id,
    owner_of=lambda cdr, asked: asked or _cpo(cdr.location),
    pulled=lambda old, new, _: unchanging(old, new),
    lasting=True,
    is_same=same_charge,
)
TOKEN = Kind(
    name="token",
    dialect=DIALECT,
    model=Token,
    id_of=lambda token: token.uid,
    owner_of=lambda token, asked: asked or emsp_of(token),
    is_one=lambda one, other: one.auth_id == other.auth_id,
)


class LocationBook(Book[Location, EVSE, Connector]):
    """Locations in memory, in the order in which they first came, such as a CPO's own.

    A location is found by its party and id; ids are compared without ASCII case.
    What changes the book returns whether there was a change: not for what is there already or comes too late.

    Args:
        owner: Whose the locations are where nobody else is named.
        locations: What to begin with.

    Attributes:
        stale: How many changes came too late: older than what is there.
    """

    def __init__(self, owner: PartyId, locations: Iterable[Location] = ()) -> None:
        super().__init__(LEVELS)
        self.owner = owner
        for location in locations:
            self.put(location)

    def put(self, location: Location, owner: PartyId | None = None) -> bool:
        """Keep a location, in the place of the one there is."""
        return self._put(owner or self.owner, location)


class KeptLocations(Locations[Location, EVSE, Connector, LocationRef, EvseRef, ConnectorRef], LocationsEmsp):
    """Keeps in a store the locations that partners push, and those pulled.

    Args:
        store: Where they are kept: the platform's, or another one that is open.

    Attributes:
        locations: What is kept, to read and to fill from a pull.
    """

    _levels = LEVELS

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.locations = Shelf(
            store,
            LOCATION,
            changed=self.location_changed,
            removed=self.location_removed,
            parties_of=self._parties_of,
            speaker_of=self._speaker_of,
        )

    async def location_changed(self, ctx: Context, owner: PartyId, location: Location) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """

    async def location_removed(self, ctx: Context, owner: PartyId, location: Location) -> None:
        """Override to learn of each location that a full pull shows to be gone, before it is forgotten."""


class KeptTariffs(Tariffs[Tariff, TariffRef], TariffsEmsp):
    """Keeps in a store the tariffs that partners push, and those pulled.

    Args:
        store: Where they are kept: the platform's, or another one that is open.

    Attributes:
        tariffs: What is kept, to read and to fill from a pull.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.tariffs = Shelf(
            store,
            TARIFF,
            changed=self.tariff_changed,
            removed=self.tariff_removed,
            parties_of=self._parties_of,
            speaker_of=self._speaker_of,
        )

    async def patch_tariff(self, ctx: Context, ref: TariffRef, changes: Patch[Tariff]) -> None:
        """Change some fields of the tariff."""
        await self.tariffs.change(
            ctx,
            party_of(ref),
            ref.tariff_id,
            lambda old: patched(known_tariff(old), changes, DIALECT.patch_requires),
        )

    async def tariff_changed(self, ctx: Context, owner: PartyId, tariff: Tariff) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """

    async def tariff_removed(self, ctx: Context, owner: PartyId, tariff: Tariff) -> None:
        """Override to learn of each tariff that is deleted or gone in a full pull, before it is forgotten."""


class KeptSessions(Sessions[Session, SessionRef], SessionsEmsp):
    """Keeps in a store the sessions that partners push, and those pulled.

    What comes after the end of a session, or after its CDR, is accepted and changes nothing. A CDR does not
    name its session: it is that of a session that was there, where authorization, start and EVSE agree.

    Args:
        store: Where they are kept: the platform's, or another one that is open.

    Attributes:
        sessions: What is kept, to read and to fill from a pull.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.sessions = SessionShelf(
            store,
            SESSION,
            changed=self.session_changed,
            billed_as=lambda one: _charge(one.authorization_id, one.start_datetime, one.location),
            is_named=False,
            parties_of=self._parties_of,
            speaker_of=self._speaker_of,
        )

    async def session_changed(self, ctx: Context, owner: PartyId, session: Session) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """


class KeptCdrs(Cdrs[CDR], CdrsEmsp):
    """Keeps in a store the CDRs that partners post, and those pulled, each once.

    Args:
        store: Where they are kept: the platform's, or another one that is open.

    Attributes:
        cdrs: What is kept, to read and to fill from a pull.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.cdrs = cdr_shelf(
            store,
            CDRS,
            received=self.cdr_received,
            session_of=lambda cdr: _charge(cdr.authorization_id, cdr.start_date_time, cdr.location),
            parties_of=self._parties_of,
            speaker_of=self._speaker_of,
        )

    async def cdr_received(self, ctx: Context, owner: PartyId, cdr: CDR) -> None:
        """Override to learn of each new CDR, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner posts it again.
        """

    def _owner_of(self, ctx: Context, cdr: CDR) -> PartyId | None:
        theirs = self._parties_of(ctx.partner)
        return (_cpo(cdr.location) if theirs is None else None) or ctx.sender


class KeptTokens(Tokens[Token, TokenRef], TokensCpo):
    """Keeps in a store the tokens that partners push, and those pulled.

    Args:
        store: Where they are kept: the platform's, or another one that is open.

    Attributes:
        tokens: What is kept, to read and to fill from a pull.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.tokens = Shelf(
            store,
            TOKEN,
            changed=self.token_changed,
            removed=self.token_removed,
            parties_of=self._parties_of,
            speaker_of=self._speaker_of,
        )

    async def tokens_with(self, partner: str, uid: str) -> list[tuple[PartyId, Token]]:
        """Return the tokens of a uid, each with its owner: of a card at a charger nobody knows whose it is.

        Two eMSPs may have given out one uid; the one whose token came first comes first.

        Args:
            partner: The id of the connection over which they came.
            uid: The token as the charger read it.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self.tokens.named(partner, uid)

    async def token_changed(self, ctx: Context, owner: PartyId, token: Token) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """

    async def token_removed(self, ctx: Context, owner: PartyId, token: Token) -> None:
        """Override to learn of each token that a full pull shows to be gone, before it is forgotten."""

    def _id_of(self, ref: TokenRef) -> str:
        return ref.token_uid


# --- our own objects -----------------------------------------------------------------------------------


def _asked(objects: Mapping[PartyId, Collection[N]], ctx: Context) -> Iterable[N]:
    """Yield those of the party that is asked."""
    for owner, theirs in objects.items():
        if ctx.receiver in (None, owner):
            yield from theirs


class OwnLocations(
    OwnPlaces[Location, EVSE, Connector, OwnLocationRef, OwnEvseRef, OwnConnectorRef], LocationsCpo
):
    """Serves the locations of a book: those of the party that is asked.

    Args:
        book: Our locations, as they stand now.
    """

    def __init__(self, book: LocationBook) -> None:
        super().__init__(book, LEVELS)


class OwnTariffs(TariffsCpo):
    """Serves our tariffs: those of the party that is asked.

    Args:
        tariffs: A collection for each party of ours, as it stands now, in the order of creation.
    """

    def __init__(self, tariffs: Mapping[PartyId, Collection[Tariff]]) -> None:
        self._tariffs = tariffs

    def visible(self, ctx: Context, tariff: Tariff) -> bool:
        """Override to show a partner only some tariffs."""
        return True

    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[Tariff]:
        """Return one page."""
        return listed((one for one in _asked(self._tariffs, ctx) if self.visible(ctx, one)), query)


class OwnSessions(ShownToHubs, SessionsCpo):
    """Serves our sessions: of the party that is asked, with contracts of the one that asks.

    A hub sees all, for it passes them on.

    Args:
        sessions: A collection for each party of ours, as it stands now, in the order of creation.
    """

    def __init__(self, sessions: Mapping[PartyId, Collection[Session]]) -> None:
        self._sessions = sessions

    def visible(self, ctx: Context, session: Session) -> bool:
        """Override to show a partner other sessions, such as those with contract ids that name no eMSP."""
        return self.is_for_hub(ctx) or _concerns(ctx, session.auth_id)

    async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[Session]:
        """Return one page."""
        return listed((one for one in _asked(self._sessions, ctx) if self.visible(ctx, one)), query)


class OwnCdrs(ShownToHubs, CdrsCpo):
    """Serves our CDRs: of the party that is asked, with contracts of the one that asks.

    A hub sees all, for it passes them on.

    Args:
        cdrs: A collection for each party of ours, as it stands now, in the order of creation.
    """

    def __init__(self, cdrs: Mapping[PartyId, Collection[CDR]]) -> None:
        self._cdrs = cdrs

    def visible(self, ctx: Context, cdr: CDR) -> bool:
        """Override to show a partner other CDRs, such as those with contract ids that name no eMSP."""
        return self.is_for_hub(ctx) or _concerns(ctx, cdr.auth_id)

    async def list_cdrs(self, ctx: Context, query: PageQuery) -> Page[CDR]:
        """Return one page."""
        return listed((one for one in _asked(self._cdrs, ctx) if self.visible(ctx, one)), query)


def _concerns(ctx: Context, auth_id: str) -> bool:
    return ctx.sender is not None and ctx.sender == emsp_of_contract(auth_id)


class OwnTokens(TokensEmsp):
    """Serves our tokens: those of the party that is asked. Who may charge, a subclass says.

    Args:
        tokens: A collection for each party of ours, as it stands now, in the order of creation.
    """

    def __init__(self, tokens: Mapping[PartyId, Collection[Token]]) -> None:
        self._tokens = tokens

    def visible(self, ctx: Context, token: Token) -> bool:
        """Override to show a partner only some tokens."""
        return True

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[Token]:
        """Return one page."""
        return listed((one for one in _asked(self._tokens, ctx) if self.visible(ctx, one)), query)
