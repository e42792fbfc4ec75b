"""A small eMSP to roam with: knows its drivers' tokens, keeps what it is sent; knows nothing of the hub."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from attrs import field, frozen

from ..context import Context
from ..errors import NotEnoughInformation, UnknownToken
from ..journal import OnExchange, ignore
from ..pagination import Link, Page, PageQuery, page_of
from ..patch import Patch
from ..platform import Platform
from ..profile import Profile
from ..receivers import LocationBook
from ..store import MemoryStore
from ..transport import Transport
from ..types import Party, PartyId, ci_key
from ..v221 import (
    EVSE,
    AllowedType,
    AuthorizationInfo,
    CommandResponseType,
    CommandResult,
    CommandsReceiver,
    CommandsSender,
    EvseRef,
    LocationReferences,
    OwnTokenRef,
    StartSession,
    Status,
    StopSession,
    Token,
    TokensSender,
)
from .memory import BookedLocations, KnownCdrs, KnownSessions


class EmspLocations(BookedLocations):
    """Keeps locations, and remembers the order in which EVSE statuses changed.

    Attributes:
        statuses: Every status that came, oldest first; messages that came twice count once.
    """

    def __init__(self, book: LocationBook) -> None:
        super().__init__(book)
        self.statuses: list[Status] = []

    async def patch_evse(self, ctx: Context, ref: EvseRef, changes: Patch[EVSE]) -> None:
        """Change the EVSE."""
        before = self.book.evse(ref)
        await super().patch_evse(ctx, ref, changes)
        after = self.book.evse(ref)
        if after != before:
            self.statuses.append(after.status)


class EmspTokens(TokensSender):
    """Decides on the tokens it was given.

    Attributes:
        references: The authorization references that it gave, oldest first.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = list(tokens)
        self.references: list[str] = []

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[Token]:
        """Return one page."""
        return page_of([token for token in self._tokens if query.covers(token.last_updated)], query)

    async def authorize(
        self, ctx: Context, ref: OwnTokenRef, location: LocationReferences | None = None
    ) -> AuthorizationInfo:
        """Allow a valid token, at a location."""
        if location is None:
            raise NotEnoughInformation("expected LocationReferences")
        for token in self._tokens:
            if ci_key(token.uid) == ci_key(ref.token_uid) and token.type is ref.type:
                if not token.valid:
                    return AuthorizationInfo(allowed=AllowedType.BLOCKED, token=token)
                self.references.append(str(uuid.uuid4()))
                return AuthorizationInfo(
                    allowed=AllowedType.ALLOWED,
                    token=token,
                    location=location,
                    authorization_reference=self.references[-1],
                )
        raise UnknownToken


class EmspCommandResults(CommandsSender):
    """Keeps the results of commands by the end of their ``response_url``.

    Attributes:
        results: The results, by what follows our own endpoint in the URL.
    """

    def __init__(self) -> None:
        self.results: dict[str, CommandResult] = {}

    async def post_result(self, ctx: Context, link: Link, result: CommandResult) -> None:
        """Keep the result."""
        self.results[link.url] = result


@frozen
class Commanded:
    """A command that was answered.

    Attributes:
        answer: Whether the CPO carries it out.
        place: Where its result will be, among `EmspCommandResults.results`.
        reference: The authorization reference that the session has to repeat; empty where it has none.
    """

    answer: CommandResponseType
    place: str
    reference: str = field(default="", repr=False)


class Emsp:
    """An eMSP platform with one party.

    Args:
        public_url: Where partners reach it.
        party: The eMSP.
        tokens: Its drivers' tokens.
        hub: The profile of the hub it roams through.
        on_exchange: Called with every exchange that has ended.
        transport: Makes the transport for a partner; HTTP by default.
    """

    def __init__(
        self,
        *,
        public_url: str,
        party: Party,
        tokens: Sequence[Token],
        hub: Profile,
        on_exchange: OnExchange = ignore,
        transport: Callable[[Profile], Transport] | None = None,
    ) -> None:
        self.hub = hub
        self.party = party
        self.locations = LocationBook()
        self.pushed = EmspLocations(self.locations)
        self.tokens = EmspTokens(tokens)
        store = MemoryStore()
        self.sessions = KnownSessions(store)
        self.cdrs = KnownCdrs(store)
        self.commands = EmspCommandResults()
        self.platform = Platform(
            public_url=public_url,
            parties=[party],
            handlers=[self.pushed, self.tokens, self.sessions, self.cdrs, self.commands],
            store=store,
            on_exchange=on_exchange,
            transport=transport,
        )

    async def start_session(
        self, cpo: PartyId, token: Token, location_id: str, evse_uid: str, connector_id: str
    ) -> Commanded:
        """Command a CPO to start a session."""
        place, reference = f"START_SESSION/{uuid.uuid4()}", str(uuid.uuid4())
        connection = self.platform.connection(self.hub.name).routed(receiver=cpo)
        command = StartSession(
            response_url=connection.callback(CommandsSender.post_result, place),
            token=token,
            location_id=location_id,
            evse_uid=evse_uid,
            connector_id=connector_id,
            authorization_reference=reference,
        )
        response = await connection.call(CommandsReceiver.start_session, command)
        return Commanded(response.result, place, reference)

    async def stop_session(self, cpo: PartyId, session_id: str) -> Commanded:
        """Command a CPO to stop a session."""
        place = f"STOP_SESSION/{uuid.uuid4()}"
        connection = self.platform.connection(self.hub.name).routed(receiver=cpo)
        command = StopSession(
            response_url=connection.callback(CommandsSender.post_result, place), session_id=session_id
        )
        response = await connection.call(CommandsReceiver.stop_session, command)
        return Commanded(response.result, place)
