"""The connections and their inbound tokens, in memory; every change is in the store before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from attrs import evolve, frozen

from ..access import Principal
from ..connection import Wiring
from ..store import Store
from ..store.records import ConnectionRecord, ConnectionState, InboundToken, TokenKind
from ..types import PartnerRole, PartyId, Role, utc_now
from .inbound import GRACE, Tokens, expiring, of_kind, settled

Next: TypeAlias = tuple[ConnectionRecord, Sequence[InboundToken]]
Change: TypeAlias = Callable[[ConnectionRecord, Tokens], Next]
"""Makes a connection's next record and tokens of those there are."""


@frozen(kw_only=True)
class _View:
    """What every request of a connection asks of it: the partner's parties, and ours that it is for."""

    parties: Mapping[PartyId, frozenset[Role]]
    party: PartyId | None
    role: Role | None


class Directory:
    """Who the partners are, and by which tokens they are known.

    Attributes:
        revision: Changes whenever what is known of a partner or a token does.
    """

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self.revision = 0
        self._store = store
        self._now = now
        self._wirings: dict[str, Wiring] = {}
        self._tokens: dict[str, Tokens] = {}
        self._digests: dict[bytes, InboundToken] = {}
        self._views: dict[str, _View] = {}
        self._principals: dict[bytes, Principal] = {}
        self._direct: dict[PartyId, set[str]] = {}
        self._changing: dict[str, asyncio.Lock] = {}
        self._unfinished: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Wiring]:
        return iter(list(self._wirings.values()))

    def get(self, connection: str) -> Wiring | None:
        """Return a connection by its id."""
        return self._wirings.get(connection)

    def tokens(self, connection: str) -> Tokens:
        """Return the inbound tokens of a connection."""
        return self._tokens.get(connection, ())

    def clear(self) -> None:
        """Forget everybody, before another time of service."""
        self.revision += 1
        for known in (self._wirings, self._tokens, self._digests):
            known.clear()
        for seen in (self._views, self._principals, self._direct):
            seen.clear()

    def load(self, wiring: Wiring, tokens: Sequence[InboundToken]) -> None:
        """Take over what the store holds."""
        record = wiring.record
        self.revision += 1
        self._principals.clear()
        self._wirings[record.id] = wiring
        parties = wiring.parties
        self._views[record.id] = _View(
            parties=_roles_by_party(record.roles),
            # A party that is no more ours keeps its connection to itself.
            party=record.party or (parties[0].id if len(parties) == 1 else None),
            role=wiring.role,
        )
        for old in self._tokens.get(record.id, ()):
            self._digests.pop(old.digest, None)
        self._tokens[record.id] = tuple(tokens)
        self._digests.update({token.digest: token for token in tokens})
        for connections in self._direct.values():
            connections.discard(record.id)
        if record.state is ConnectionState.REGISTERED and not wiring.profile.is_hub:
            for role in record.roles:
                self._direct.setdefault(role.party, set()).add(record.id)
        self._direct = {party: connections for party, connections in self._direct.items() if connections}

    async def change(self, wiring: Wiring, change: Change) -> None:
        """Change a connection and its tokens together, in the store first.

        It is done to its end even if the caller is cancelled: memory must not differ from the store.

        Raises:
            StoreError: nothing was changed.
        """
        task = asyncio.create_task(self._change(wiring, change))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        await asyncio.shield(task)

    async def _change(self, wiring: Wiring, change: Change) -> None:
        id = wiring.record.id  # noqa: A001 - its name in the record
        async with self._changing.setdefault(id, asyncio.Lock()):
            record, tokens = change(wiring.record, self.tokens(id))
            await self._store.save_connection(record, tokens)
            wiring.record = record
            self.load(wiring, tokens)

    async def finish(self) -> None:
        """Wait for the changes whose callers were cancelled."""
        while self._unfinished:
            await asyncio.wait(self._unfinished)

    def held_by_others(self, party: PartyId, record: ConnectionRecord) -> bool:
        """Tell whether a party is presented by another partner: one that has none of this one's origins.

        One partner may have several connections, such as one for each role.
        """
        others = self._direct.get(party, set()) - {record.id}
        return any(set(self._wirings[other].record.origins).isdisjoint(record.origins) for other in others)

    def find(self, digest: bytes) -> Principal | None:
        """Return who presents a token, if it is valid now. The digest is the key of an exact lookup."""
        found = self._digests.get(digest)
        if found is None or (found.expires is not None and found.expires <= self._now()):
            return None
        if found.kind is TokenKind.A and found.used:
            return None
        principal = self._principals.get(digest)
        if principal is None:
            principal = self._principals[digest] = self._principal(found)
        return principal

    def _principal(self, token: InboundToken) -> Principal:
        view = self._views[token.connection]
        return Principal(
            connection=token.connection,
            kind=token.kind,
            profile=self._wirings[token.connection].profile,
            parties=view.parties,
            elsewhere=self._direct,
            party=view.party,
            role=view.role,
            digest=token.digest,
            is_settled=token.kind is TokenKind.CURRENT and token.expires is None and self._is_used(token),
        )

    def _is_used(self, current: InboundToken | Principal) -> bool:
        return all(one.used for one in of_kind(self.tokens(current.connection), TokenKind.CURRENT))

    async def admitted(self, principal: Principal) -> None:
        """Take note of a token's use: the first of the current one ends those that it replaces.

        A replaced token that is still used lives on: who comes with it never got the current one, and must be
        able to ask for another.
        """
        if principal.kind is TokenKind.CURRENT:
            if self._is_used(principal):
                return
        elif principal.kind is not TokenKind.PREVIOUS:
            return
        digest = principal.digest
        until = self._now() + GRACE

        def used(record: ConnectionRecord, tokens: Tokens) -> Next:
            token = next((one for one in tokens if one.digest == digest), None)
            # It may have been replaced since it was looked up.
            if token is not None and token.kind is TokenKind.CURRENT:
                return evolve(record, previous_token=None), settled(tokens)
            return record, expiring(tokens, digest, until)

        found = self._digests.get(digest)
        if found is not None and (found.expires is None or found.expires < until - GRACE / 2):
            await self.change(self._wirings[principal.connection], used)


def _roles_by_party(roles: Iterable[PartnerRole]) -> dict[PartyId, frozenset[Role]]:
    found: dict[PartyId, frozenset[Role]] = {}
    for one in roles:
        found[one.party] = found.get(one.party, frozenset()) | {one.role}
    return found
