"""The IOP double as a whole: its platform, what it holds, and what it starts itself (FromIOP)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from attrs import frozen

from ..connection import Connection
from ..gireve import SIMULATOR
from ..journal import OnExchange, ignore
from ..pagination import PageQuery
from ..platform import Platform
from ..profile import Profile
from ..receivers import LocationBook
from ..registration import AS_PRESENTED, PIN_FIRST
from ..store import MemoryStore
from ..transport import Transport
from ..types import Party, PartyId, Role, Secret, ci_key
from ..v221 import CDR, Location, LocationsSender, Session
from .handlers import (
    IopCdrs,
    IopCommandResults,
    IopCommands,
    IopLocations,
    IopLocationsForEmsps,
    IopSessions,
    IopTokens,
)
from .roaming import Aliases, Commands, Roaming

PARTNER = Profile(
    name="partner",
    page_limits=SIMULATOR.page_limits,
    timeout=10.0,
    retry_base=0.2,
    retry_cap=5.0,
    allow_http_loopback=True,
)
"""How IOP sees a partner: a direct one, paged at IOP's limits."""


@frozen(kw_only=True)
class Pulled:
    """What came of a pull.

    Attributes:
        locations: How many locations came, each counted once.
        pages: In how many pages.
        rejected: One line for each item that was not taken, with its place and the reason.
    """

    locations: int
    pages: int
    rejected: tuple[str, ...] = ()


class Simulator:
    """An IOP in one process: role HUB, FR*107, OCPI 2.2.1.

    It registers partners in both directions, keeps what CPOs push, passes it on to the eMSPs under contract,
    and routes authorizations and commands::

        iop = Simulator(public_url="http://127.0.0.1:8100/ocpi")
        async with HttpServer(iop.platform.aiohttp_app(), port=8100):
            token_a = await iop.invite("my-cpo")  # the CPO registers with it at iop.versions_url
            ...
            pulled = await iop.pull_locations("my-cpo")

    `Simulator` is an asynchronous context manager too, for those who serve `platform.handle` themselves.

    It differs from IOP in two ways: locations are passed on at once and whole, while IOP examines all but
    statuses and tariff ids for hours, and leaves out some fields.

    Args:
        public_url: Where partners reach it, such as ``http://127.0.0.1:8100/ocpi``.
        contracts: The roaming agreements, as pairs of CPO and eMSP; None: everybody with everybody.
        on_exchange: Called with every exchange that has ended.
        transport: Makes the transport for a partner; HTTP by default.

    Attributes:
        platform: What serves its requests, and its outbox.
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
        self._book = LocationBook()
        roaming = Roaming(hub, self._connections, contracts)
        aliases, references, commands = Aliases(), Aliases(), Commands()
        store = MemoryStore()
        self._sessions = IopSessions(store, roaming, aliases, references)
        self._cdrs = IopCdrs(store, roaming, aliases, references)
        self.platform = Platform(
            public_url=public_url,
            parties=[Party(hub.country_code, hub.party_id, Role.HUB, name="IOP simulator")],
            handlers=[
                IopLocations(self._book, roaming),
                IopLocationsForEmsps(self._book, roaming),
                IopTokens(self._book, roaming, references),
                self._sessions,
                self._cdrs,
                IopCommands(self._book, roaming, self._sessions, references, commands),
                IopCommandResults(roaming, commands),
            ],
            store=store,
            on_exchange=on_exchange,
            transport=transport,
        )

    def _connections(self) -> Sequence[Connection]:
        return self.platform.connections()

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
        return await self.platform.invite(PARTNER, origins=PIN_FIRST, parties=AS_PRESENTED, id=partner)

    async def register(self, partner: str, versions_url: str, token_a: str | Secret) -> None:
        """Register with a partner (FromIOP).

        Raises:
            RegistrationFailed: a step failed, or it is registered already.
            UrlRefused: the URL is not one that may be called.
        """
        await self.platform.register(PARTNER, versions_url, token_a, parties=AS_PRESENTED, id=partner)

    async def unregister(self, partner: str) -> None:
        """Unregister from a partner (FromIOP).

        Raises:
            NotRegistered: there is no such partner.
            RegistrationFailed: it is not registered.
            OcpiError: it could not be told.
        """
        await self.platform.unregister(partner)

    async def pull_locations(self, partner: str) -> Pulled:
        """Pull the locations of each CPO of a platform (FromIOP), page by page at IOP's limit.

        What cannot be read, and what belongs to a CPO of another platform, is not taken.

        Raises:
            OcpiError: the partner could not be asked, or did not answer with locations.
        """
        connection = self.platform.connection(partner)
        cpos = [role.party for role in connection.record.roles if role.role is Role.CPO]
        query = PageQuery(limit=connection.profile.page_limit("locations", "2.2.1"))
        taken: set[tuple[str, str]] = set()
        rejected: list[str] = []
        pages = 0
        for cpo in cpos:
            listed = connection.routed(receiver=cpo).pages(LocationsSender.list_locations, query)
            async for page in listed:
                pages += 1
                place = f"{cpo}, page {pages}"
                rejected += [f"{place}, item {one.index}: {one.problems[0]}" for one in page.rejected]
                for location in page.items:
                    owner = PartyId(location.country_code, location.party_id)
                    if owner not in cpos:
                        rejected.append(f"{place}: {owner} is no CPO of this platform")
                        continue
                    self._book.put(location)
                    taken.add((owner.key, ci_key(location.id)))
        return Pulled(locations=len(taken), pages=pages, rejected=tuple(rejected))

    def locations(self) -> list[Location]:
        """Return every location that IOP holds."""
        return self._book.all()

    def sessions(self) -> list[Session]:
        """Return every session that CPOs sent, under the CPOs' ids."""
        return self._sessions.known()

    def cdrs(self) -> list[CDR]:
        """Return every CDR that CPOs sent."""
        return self._cdrs.known()
