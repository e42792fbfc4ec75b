"""Who roams with whom through the simulator, and the ids that it replaces; knows no message's content."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, field, frozen

from ..connection import Connection
from ..context import Context
from ..errors import Forbidden, InvalidParameters, UnknownObject
from ..interface import Interface
from ..store.records import ConnectionState
from ..types import PartyId, Role, ci_key
from ..v221 import CommandResult

KEPT_IDS = 100_000
"""How many replaced ids are remembered."""
KEPT_COMMANDS = 10_000
"""How many commands are remembered, to pass their results on."""


@define
class Aliases:
    """Ids of partners and the ids that IOP shows instead, in both directions.

    IOP replaces session ids and authorization references. (2.2.1 guide, Gireve management of Ids)

    Attributes:
        limit: How many are remembered; the oldest are forgotten first.
    """

    limit: int = KEPT_IDS
    _ours: dict[tuple[str, str], str] = field(init=False, factory=dict[tuple[str, str], str])
    _theirs: dict[str, tuple[PartyId, str]] = field(init=False, factory=dict[str, tuple[PartyId, str]])

    def shown(self, owner: PartyId, theirs: str) -> str:
        """Return the id that IOP shows for a partner's id, always the same one."""
        key = (owner.key, ci_key(theirs))
        ours = self._ours.get(key)
        if ours is None:
            ours = self._ours[key] = str(uuid.uuid4())
            self._theirs[ours] = (owner, theirs)
            if len(self._ours) > self.limit:
                del self._theirs[self._ours.pop(next(iter(self._ours)))]
        return ours

    def original(self, shown: str) -> tuple[PartyId, str] | None:
        """Return the partner and its own id behind an id that IOP shows."""
        return self._theirs.get(ci_key(shown))


@frozen(kw_only=True)
class Command:
    """A command that was passed on.

    Attributes:
        cpo: The CPO that carries it out.
        cpo_connection: The id of the CPO's connection: only it may post the result.
        emsp: The eMSP that commanded.
        emsp_connection: The id of the eMSP's connection.
        response_url: Where the eMSP wants the result.
        cause: The eMSP's request.
    """

    cpo: PartyId
    cpo_connection: str
    emsp: PartyId
    emsp_connection: str
    response_url: str
    cause: Context


class Commands:
    """Commands that were passed on, by the place where their result is to be posted.

    Args:
        limit: How many are remembered; the oldest are forgotten first.
    """

    def __init__(self, limit: int = KEPT_COMMANDS) -> None:
        self._limit = limit
        self._commands: dict[str, Command] = {}
        self._results: dict[str, CommandResult] = {}

    def __len__(self) -> int:
        return len(self._commands)

    def add(self, name: str, command: Command) -> str:
        """Remember a command and return its place, such as ``START_SESSION/4f6c...``."""
        place = f"{name}/{uuid.uuid4()}"
        self._commands[place] = command
        if len(self._commands) > self._limit:
            self.forget(next(iter(self._commands)))
        return place

    def at(self, place: str, partner: str) -> Command:
        """Return the command whose result a partner posts.

        Raises:
            UnknownObject: there is none, or it was passed on to another partner.
        """
        command = self._commands.get(place)
        if command is None or command.cpo_connection != partner:
            raise UnknownObject("no command waits for a result at this URL")
        return command

    def forget(self, place: str) -> None:
        """Forget a command that will have no result."""
        self._commands.pop(place, None)
        self._results.pop(place, None)

    def passed_on(self, place: str, result: CommandResult) -> None:
        """Take note that the eMSP has the result. The CPO, which may miss the answer, can post it again."""
        if place in self._commands:
            self._results[place] = result

    def is_passed_on(self, place: str, result: CommandResult) -> bool:
        """Tell whether the eMSP has this very result already."""
        return self._results.get(place) == result


class Roaming:
    """The parties behind the hub and the agreements between them.

    A party's roles are those that its platform presented. IOP itself has them configured by hand, and ignores
    what is presented. (2.2.1 guide, Connection And Register specifications)

    Args:
        hub: IOP's own party.
        connections: Returns IOP's connections.
        contracts: Pairs of CPO and eMSP; None: everybody with everybody.
    """

    def __init__(
        self,
        hub: PartyId,
        connections: Callable[[], Sequence[Connection]],
        contracts: Iterable[tuple[PartyId, PartyId]] | None,
    ) -> None:
        self.hub = hub
        self._connections = connections
        self._contracts = None if contracts is None else frozenset(contracts)

    def agreed(self, cpo: PartyId, emsp: PartyId) -> bool:
        """Tell whether a CPO and an eMSP have a roaming agreement."""
        return self._contracts is None or (cpo, emsp) in self._contracts

    def asking(self, ctx: Context, role: Role) -> PartyId:
        """Return the party that asks.

        Raises:
            InvalidParameters: it is not named, and its platform has several.
            Forbidden: it does not have the role. "Gireve configures on its own the roles of an operator and
                rejects forbidden requests."
        """
        if ctx.sender is None:
            raise InvalidParameters("expected OCPI-from-*: the platform has several parties")
        for party, connection in self._members(role):
            if connection.id == ctx.partner and party == ctx.sender:
                return party
        raise Forbidden(f"OCPI-from-*: this party is no {role.value}")

    def require_hub(self, ctx: Context) -> None:
        """Make sure that a request is addressed to IOP. "Every request shall be sent to IOP operator."

        Raises:
            InvalidParameters: it is addressed to another party.
        """
        if ctx.receiver not in (None, self.hub):
            raise InvalidParameters(f"OCPI-to-*: expected {self.hub}, which passes the message on")

    def emsps_of(self, cpo: PartyId, interface: type[Interface]) -> list[tuple[PartyId, Connection]]:
        """Return the eMSPs that a CPO has an agreement with and that serve an interface."""
        return [
            (emsp, connection)
            for emsp, connection in self._members(Role.EMSP)
            if self.agreed(cpo, emsp) and _serves(connection, interface)
        ]

    def cpo(self, party: PartyId) -> Connection | None:
        """Return the connection of a CPO."""
        return next((connection for cpo, connection in self._members(Role.CPO) if cpo == party), None)

    def connection(self, id: str) -> Connection | None:
        """Return a connection by its id."""
        return next((connection for connection in self._connections() if connection.id == id), None)

    def _members(self, role: Role) -> Iterator[tuple[PartyId, Connection]]:
        for connection in self._connections():
            if connection.record.state is ConnectionState.REGISTERED:
                for presented in connection.record.roles:
                    if presented.role is role:
                        yield presented.party, connection


def _serves(connection: Connection, interface: type[Interface]) -> bool:
    wanted = (str(interface.module), str(interface.role))
    return any((endpoint.module, endpoint.role) == wanted for endpoint in connection.record.endpoints)
