"""The IOP double as a whole: its platform, what it holds, and what it starts itself (the FromIOP use cases)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from ..gireve import SIMULATOR
from ..journal import OnExchange, ignore
from ..pagination import PageQuery
from ..platform import Platform
from ..profile import Profile
from ..receivers import LocationBook
from ..registration import PIN_FIRST
from ..store import MemoryStore
from ..transport import Transport
from ..types import Party, PartyId, Role, Secret
from ..v221 import CDR, Location, LocationsSender, Session
from .handlers import (
    IopCdrs,
    IopCommandResults,
    IopCommands,
    IopLocations,
    IopLocationsForEmsps,
    IopSessions,
    IopTokens,
    Pending,
)
from .roaming import Aliases, Roaming

PARTNER = Profile(
    name="partner",
    page_limits=SIMULATOR.page_limits,
    retry_base=0.2,
    retry_cap=5.0,
    allow_http_loopback=True,
)
"""How IOP sees a partner: a direct one, paged at IOP's limits."""


class Simulator:
    """An IOP in one process: role HUB, FR*107, OCPI 2.2.1.

    Args:
        public_url: Where partners reach it, such as ``http://127.0.0.1:8100/ocpi``.
        contracts: The roaming agreements, as pairs of CPO and eMSP; None: everybody with everybody.
        on_exchange: Called with every exchange that has ended.
        transport: Makes the transport for a partner; HTTP by default.
    """

    def __init__(
        self,
        *,
        public_url: str,
        contracts: Iterable[tuple[PartyId, PartyId]] | None = None,
        on_exchange: OnExchange = ignore,
        transport: Callable[[Profile], Transport] | None = None,
    ) -> None:
        hub = SIMULATOR.hub or PartyId("FR", "107")
        self._locations = LocationBook()
        sessions, references = Aliases(), Aliases()
        pending: dict[str, Pending] = {}
        roaming = Roaming(
            lambda: self.platform.connections(), None if contracts is None else frozenset(contracts)
        )
        self._sessions = IopSessions(roaming, sessions, references)
        self._cdrs = IopCdrs(roaming, sessions, references)
        self.platform = Platform(
            public_url=public_url,
            parties=[Party(hub.country_code, hub.party_id, Role.HUB, name="IOP simulator")],
            handlers=[
                IopLocations(self._locations, roaming),
                IopLocationsForEmsps(self._locations, roaming, hub),
                IopTokens(self._locations, roaming, references),
                self._sessions,
                self._cdrs,
                IopCommands(self._locations, roaming, sessions, references, pending),
                IopCommandResults(roaming, pending),
            ],
            store=MemoryStore(),
            on_exchange=on_exchange,
            transport=transport,
        )

    @property
    def versions_url(self) -> str:
        """What a partner needs, with a token A from `invite`, to register (ToIOP)."""
        return self.platform.versions_url

    async def __aenter__(self) -> Self:
        await self.platform.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.platform.close()

    async def invite(self, partner: str) -> Secret:
        """Let a partner register (ToIOP), and return the token A for it."""
        return await self.platform.invite(PARTNER, origins=PIN_FIRST, id=partner)

    async def register(self, partner: str, versions_url: str, token_a: str | Secret) -> None:
        """Register with a partner (FromIOP).

        Raises:
            RegistrationFailed: a step failed.
        """
        await self.platform.register(PARTNER, versions_url, token_a, id=partner)

    async def unregister(self, partner: str) -> None:
        """Unregister from a partner (FromIOP)."""
        await self.platform.unregister(partner)

    async def pull_locations(self, partner: str) -> tuple[int, int]:
        """Pull a CPO's locations (FromIOP), page by page at IOP's limit; return how many locations and pages."""
        connection = self.platform.connection(partner)
        query = PageQuery(limit=connection.profile.page_limit("locations"))
        locations = pages = 0
        async for page in connection.pages(LocationsSender.list_locations, query):
            pages += 1
            for location in page.items:
                self._locations.put(location)
                locations += 1
        return locations, pages

    def locations(self) -> list[Location]:
        """Return every location that IOP holds."""
        return self._locations.all()

    def sessions(self) -> list[Session]:
        """Return every session that CPOs sent, under the CPOs' ids."""
        return self._sessions.all()

    def cdrs(self) -> list[CDR]:
        """Return every CDR that CPOs sent."""
        return self._cdrs.all()

