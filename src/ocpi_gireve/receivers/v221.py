"""Receivers of OCPI 2.2.1 that keep in a store what partners send; how they keep it, no version says."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from ..context import Context
from ..errors import InvalidParameters, Problem, UnknownObject
from ..pagination import Page, PageQuery
from ..store import Store
from ..types import PartyId
from ..v221 import (
    CDR,
    DIALECT,
    EVSE,
    CdrsReceiver,
    CdrsSender,
    ChargingPreferences,
    ChargingPreferencesResponse,
    ClientInfo,
    ClientInfoRef,
    Connector,
    ConnectorRef,
    EvseRef,
    HubClientInfoReceiver,
    Location,
    LocationRef,
    LocationsReceiver,
    LocationsSender,
    OwnConnectorRef,
    OwnEvseRef,
    OwnLocationRef,
    OwnSessionRef,
    Session,
    SessionRef,
    SessionsReceiver,
    SessionsSender,
    Tariff,
    TariffRef,
    TariffsReceiver,
    TariffsSender,
    Token,
    TokenRef,
    TokensReceiver,
    TokensSender,
    TokenType,
)
from ._book import Book
from ._judge import newest, unchanging
from ._kept import Cdrs, Keeper, Locations, Sessions, SessionShelf, Tariffs, Tokens, cdr_shelf, same_charge
from ._levels import Levels
from ._own import OwnPlaces, ShownToHubs, listed
from ._refs import OfParty, party_of
from .shelf import Kind, Shelf

N = TypeVar("N", Tariff, Session, CDR, Token)


def _evses(location: Location) -> list[EVSE]:
    return location.evses


def _connectors(evse: EVSE) -> list[Connector]:
    return evse.connectors


LEVELS: Levels[Location, EVSE, Connector] = Levels(
    evses=_evses, connectors=_connectors, patch_requires=DIALECT.patch_requires
)


def _owner(one: OfParty, asked: PartyId | None) -> PartyId | None:
    owner = party_of(one)
    return owner if asked in (None, owner) else None


def tariff_id(tariff: Tariff) -> str:
    """Return what tells a CPO's tariffs apart: the id, and the eMSP that it is aimed at. (GIREVE, TAR-016)"""
    country, party = tariff.target_operator_country_code, tariff.target_operator_party_id
    return tariff.id if country is None or party is None else f"{tariff.id}|{PartyId(country, party)}"


def token_id(type: TokenType, uid: str) -> str:
    """Return what tells an eMSP's tokens apart. (mod_tokens, receiver interface)"""
    return f"{type}/{uid}"


LOCATION = Kind(
    name="location",
    dialect=DIALECT,
    model=Location,
    id_of=lambda location: location.id,
    owner_of=_owner,
    pulled=LEVELS.pulled,
)
TARIFF = Kind(name="tariff", dialect=DIALECT, model=Tariff, id_of=tariff_id, owner_of=_owner)
SESSION = Kind(
    name="session",
    dialect=DIALECT,
    model=Session,
    id_of=lambda session: session.id,
    owner_of=_owner,
    lasting=True,
)
CDRS = Kind(
    name="cdr",
    dialect=DIALECT,
    model=CDR,
    id_of=lambda cdr: cdr.id,
    owner_of=_owner,
    pulled=lambda old, new, _: unchanging(old, new),
    lasting=True,
    is_same=same_charge,
)
TOKEN = Kind(
    name="token",
    dialect=DIALECT,
    model=Token,
    id_of=lambda token: token_id(token.type, token.uid),
    owner_of=_owner,
)
CLIENT_INFO = Kind(
    name="clientinfo",
    dialect=DIALECT,
    model=ClientInfo,
    id_of=lambda info: str(info.role),
    owner_of=_owner,
)


class LocationBook(Book[Location, EVSE, Connector]):
    """Locations in memory, in the order in which they first came, such as a CPO's own.

    A location is found by its party and id; ids are compared without ASCII case. (mod_locations)
    What changes the book returns whether there was a change: not for what is there already or comes too late.

    Attributes:
        stale: How many changes came too late: older than what is there.
    """

    def __init__(self, locations: Iterable[Location] = ()) -> None:
        super().__init__(LEVELS)
        for location in locations:
            self.put(location)

    def put(self, location: Location) -> bool:
        """Keep a location, in the place of the one there is."""
        return self._put(party_of(location), location)


class KeptLocations(
    Locations[Location, EVSE, Connector, LocationRef, EvseRef, ConnectorRef], LocationsReceiver
):
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
            changed=lambda ctx, _, location: self.location_changed(ctx, location),
            removed=lambda ctx, _, location: self.location_removed(ctx, location),
            parties_of=self._parties_of,
        )

    async def location_changed(self, ctx: Context, location: Location) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """

    async def location_removed(self, ctx: Context, location: Location) -> None:
        """Override to learn of each location that a full pull shows to be gone, before it is forgotten."""


class KeptTariffs(Tariffs[Tariff, TariffRef], TariffsReceiver):
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
            changed=lambda ctx, _, tariff: self.tariff_changed(ctx, tariff),
            removed=lambda ctx, _, tariff: self.tariff_removed(ctx, tariff),
            parties_of=self._parties_of,
        )

    async def tariff_changed(self, ctx: Context, tariff: Tariff) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """

    async def tariff_removed(self, ctx: Context, tariff: Tariff) -> None:
        """Override to learn of each tariff that is deleted or gone in a full pull, before it is forgotten."""


class KeptSessions(Sessions[Session, SessionRef], SessionsReceiver):
    """Keeps in a store the sessions that partners push, and those pulled.

    What comes after the end of a session, or after its CDR, is accepted and changes nothing.

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
            changed=lambda ctx, _, session: self.session_changed(ctx, session),
            billed_as=lambda session: session.id,
            parties_of=self._parties_of,
        )

    async def session_changed(self, ctx: Context, session: Session) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """


class KeptCdrs(Cdrs[CDR], CdrsReceiver):
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
            received=lambda ctx, _, cdr: self.cdr_received(ctx, cdr),
            session_of=lambda cdr: cdr.session_id,
            parties_of=self._parties_of,
        )

    async def cdr_received(self, ctx: Context, cdr: CDR) -> None:
        """Override to learn of each new CDR, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner posts it again.
        """

    def _owner_of(self, ctx: Context, cdr: CDR) -> PartyId:
        return party_of(cdr)


class KeptTokens(Tokens[Token, TokenRef], TokensReceiver):
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
            changed=lambda ctx, _, token: self.token_changed(ctx, token),
            removed=lambda ctx, _, token: self.token_removed(ctx, token),
            parties_of=self._parties_of,
        )

    async def tokens_with(
        self, partner: str, uid: str, type: TokenType = TokenType.RFID
    ) -> list[tuple[PartyId, Token]]:
        """Return the tokens of a uid, each with its owner: of a card at a charger nobody knows whose it is.

        Two eMSPs may have given out one uid; the one whose token came first comes first.

        Args:
            partner: The id of the connection over which they came.
            uid: The token as the charger read it.
            type: Its type.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self.tokens.named(partner, token_id(type, uid))

    async def put_token(self, ctx: Context, ref: TokenRef, token: Token) -> None:
        """Keep the token.

        Raises:
            InvalidParameters: the URL says another type. Where it says RFID, it may say nothing.
        """
        if ref.type not in (TokenType.RFID, token.type):
            problem = Problem("/type", "url-mismatch", "expected the same value as in the URL")
            raise InvalidParameters(problems=[problem])
        await super().put_token(ctx, ref, token)

    async def token_changed(self, ctx: Context, token: Token) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the partner sends it again.
        """

    async def token_removed(self, ctx: Context, token: Token) -> None:
        """Override to learn of each token that a full pull shows to be gone, before it is forgotten."""

    def _id_of(self, ref: TokenRef) -> str:
        return token_id(ref.type, ref.token_uid)


class KeptClientInfos(Keeper, HubClientInfoReceiver):
    """Keeps in a store what hubs say of their clients: of each party, in each of its roles.

    Args:
        store: Where it is kept: the platform's, or another one that is open.

    Attributes:
        client_infos: What is kept, to read and to fill from a pull.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.client_infos = Shelf(
            store,
            CLIENT_INFO,
            changed=lambda ctx, _, info: self.client_info_changed(ctx, info),
            removed=lambda ctx, _, info: self.client_info_removed(ctx, info),
        )

    async def client_info_changed(self, ctx: Context, info: ClientInfo) -> None:
        """Override to learn of each change, before it is kept.

        What it raises is answered, and nothing is kept, so that the hub sends it again.
        """

    async def client_info_removed(self, ctx: Context, info: ClientInfo) -> None:
        """Override to learn of each client that a full pull shows to be gone, before it is forgotten."""

    async def get_client_info(self, ctx: Context, ref: ClientInfoRef) -> ClientInfo:
        """Return what is known of a party; of its roles, the one that changed last: a URL names none.

        Raises:
            UnknownObject: nothing is.
        """
        infos = [info async for info in self.client_infos.all(ctx.partner, party_of(ref))]
        if not infos:
            raise UnknownObject("Unknown party")
        return max(infos, key=lambda info: info.last_updated)

    async def put_client_info(self, ctx: Context, ref: ClientInfoRef, info: ClientInfo) -> None:
        """Keep what is new of a party."""
        await self.client_infos.change(ctx, party_of(ref), str(info.role), lambda old: newest(old, info))


# --- our own objects -----------------------------------------------------------------------------------


def _asked(objects: Iterable[N], ctx: Context) -> Iterable[N]:
    """Yield those of the party that is asked."""
    return (one for one in objects if ctx.receiver in (None, party_of(one)))


class OwnLocations(
    OwnPlaces[Location, EVSE, Connector, OwnLocationRef, OwnEvseRef, OwnConnectorRef], LocationsSender
):
    """Serves the locations of a book: those of the party that is asked.

    Args:
        book: Our locations, as they stand now.
    """

    def __init__(self, book: LocationBook) -> None:
        super().__init__(book, LEVELS)


class OwnTariffs(TariffsSender):
    """Serves the tariffs of a collection: those of the party that is asked.

    Args:
        tariffs: A collection of ours, as it stands now, in the order of creation: a list, or the values of a
            dict.
    """

    def __init__(self, tariffs: Collection[Tariff]) -> None:
        self._tariffs = tariffs

    def visible(self, ctx: Context, tariff: Tariff) -> bool:
        """Override to show a partner only some tariffs."""
        return True

    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[Tariff]:
        """Return one page."""
        return listed((one for one in _asked(self._tariffs, ctx) if self.visible(ctx, one)), query)


class OwnSessions(ShownToHubs, SessionsSender):
    """Serves the sessions of a collection: of the party that is asked, with tokens of the one that asks.

    A hub that asks for itself sees all, for it passes them on.

    Args:
        sessions: A collection of ours, as it stands now, in the order of creation.
    """

    def __init__(self, sessions: Collection[Session]) -> None:
        self._sessions = sessions

    def visible(self, ctx: Context, session: Session) -> bool:
        """Override to show a partner other sessions."""
        return self.is_for_hub(ctx) or ctx.sender == party_of(session.cdr_token)

    async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[Session]:
        """Return one page."""
        return listed((one for one in _asked(self._sessions, ctx) if self.visible(ctx, one)), query)

    async def put_charging_preferences(
        self, ctx: Context, ref: OwnSessionRef, preferences: ChargingPreferences
    ) -> ChargingPreferencesResponse:
        """Refuse, as for an EVSE without the capability. (mod_sessions, charging preferences)"""
        raise UnknownObject("no EVSE here takes charging preferences", status_code=2001)


class OwnCdrs(ShownToHubs, CdrsSender):
    """Serves the CDRs of a collection: of the party that is asked, with tokens of the one that asks.

    A hub that asks for itself sees all, for it passes them on.

    Args:
        cdrs: A collection of ours, as it stands now, in the order of creation.
    """

    def __init__(self, cdrs: Collection[CDR]) -> None:
        self._cdrs = cdrs

    def visible(self, ctx: Context, cdr: CDR) -> bool:
        """Override to show a partner other CDRs."""
        return self.is_for_hub(ctx) or ctx.sender == party_of(cdr.cdr_token)

    async def list_cdrs(self, ctx: Context, query: PageQuery) -> Page[CDR]:
        """Return one page."""
        return listed((one for one in _asked(self._cdrs, ctx) if self.visible(ctx, one)), query)


class OwnTokens(TokensSender):
    """Serves the tokens of a collection: those of the party that is asked. Who may charge, a subclass says.

    Args:
        tokens: A collection of ours, as it stands now, in the order of creation: a list, or the values of a
            dict.
    """

    def __init__(self, tokens: Collection[Token]) -> None:
        self._tokens = tokens

    def visible(self, ctx: Context, token: Token) -> bool:
        """Override to show a partner only some tokens."""
        return True

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[Token]:
        """Return one page."""
        return listed((one for one in _asked(self._tokens, ctx) if self.visible(ctx, one)), query)
