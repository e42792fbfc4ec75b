"""Which operation a method and a path name; knows no partner and reads no body."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import evolve, frozen

from ..dialect import Deferral, Dialect
from ..errors import MethodNotAllowed, UnknownObject
from ..interface import Interface, Operation, operations
from ..tokens import TokenEncoding
from ..types import Role

_VERSIONS = "versions"


@frozen(kw_only=True)
class Mount:
    """One version that is served: its dialect and, for each interface, who implements it."""

    dialect: Dialect
    handlers: Mapping[type[Interface], object]


@frozen(eq=False)
class Route:
    """One operation of one endpoint.

    Attributes:
        side: The role of ours that a connection must be for; None: any.
    """

    operation: Operation
    handler: Any
    dialect: Dialect
    endpoint: str
    encoding: TokenEncoding
    pattern: tuple[str, ...] | None
    side: Role | None = None

    @cached_property
    def deferral(self) -> Deferral | None:
        """How it is answered in time where its handler is late; None where it may take its time."""
        answer = self.operation.answer
        return None if answer is None else self.dialect.deferrals.get(answer)

    @cached_property
    def is_routed(self) -> bool:
        """Whether its messages carry routing headers."""
        interface = self.operation.interface
        return self.dialect.routing and interface.functional and interface.routed

    @cached_property
    def _words(self) -> Sequence[tuple[int, str]]:
        """The segments that are what they are, by their place."""
        return [(at, part) for at, part in enumerate(self.pattern or ()) if part[0] != "{"]

    @cached_property
    def _fields(self) -> Sequence[tuple[int, str]]:
        """The segments that are fields of the target, by their place."""
        return [(at, part[1:-1]) for at, part in enumerate(self.pattern or ()) if part[0] == "{"]

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """Return the fields that the segments below the endpoint stand for; None where they do not fit."""
        if self.pattern is None:
            return {}
        for at, word in self._words:
            if segments[at] != word:
                return None
        return {name: segments[at] for at, name in self._fields} if all(segments) else None


class Endpoint:
    """The operations below one URL, by method and number of path segments."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, int | None], list[Route]] = {}

    def add(self, route: Route) -> None:
        length = None if route.pattern is None else len(route.pattern)
        self.routes.setdefault((route.operation.http_method, length), []).append(route)

    def find(self, method: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]] | None:
        """Return the operation that a method and the segments below this URL name, with its path's fields."""
        for length in (len(segments), None) if segments else (0,):
            for route in self.routes.get((method, length), ()):
                fields = route.match(segments)
                if fields is not None:
                    return route, fields
        return None

    def methods(self, segments: Sequence[str]) -> list[str]:
        """Return the methods that serve this path."""
        return sorted(
            method for method in {method for method, _ in self.routes} if self.find(method, segments)
        )


@frozen(eq=False)
class Named:
    """What a method and a path name.

    Attributes:
        route: The operation.
        fields: The fields of its target that stand in the path, as they stand there.
        rest: The segments that follow the endpoint.
        target: The target that it was read as before; None: it is to be read.
    """

    route: Route
    fields: Mapping[str, str]
    rest: Sequence[str]
    target: object = None


_LONGEST = 256
"""Characters of a path that is remembered: ids have 36 at most, but a partner may send any."""
MAX_REMEMBERED = 10_000
"""Of how many paths it is remembered what they name: partners write to the same objects again and again."""


class Routes:
    """Every endpoint that is served, below one path.

    Args:
        base: The path, without a slash at the end.
        mounts: The versions served.
    """

    def __init__(self, base: str, mounts: Iterable[Mount]) -> None:
        self._base = f"{base}/"
        self._endpoints: dict[str, Endpoint] = {}
        self._roots: dict[str, Dialect] = {}
        for mount in mounts:
            self._mount(mount)
        self._depth = max((endpoint.count("/") + 1 for endpoint in self._endpoints), default=0)
        self._known: dict[tuple[str, str], Named] = {}

    def _mount(self, mount: Mount) -> None:
        dialect = mount.dialect
        for root in (*dialect.roots.values(), *dialect.details_paths.values()):
            self._roots[root] = dialect
        for interface, handler in mount.handlers.items():
            if interface is dialect.versions:
                self._mount_versions(dialect, handler)
                continue
            for side in dialect.details_paths:
                if side is None or not interface.functional or str(interface.role) == side:
                    self._mount_interface(dialect, side, interface, handler)

    def _mount_interface(
        self, dialect: Dialect, side: Role | None, interface: type[Interface], handler: object
    ) -> None:
        endpoint = dialect.endpoint_path(interface, side)
        for operation in operations(interface):
            pattern = None if operation.at_link else tuple(part for part in operation.path.split("/") if part)
            self._add(Route(operation, handler, dialect, endpoint, dialect.token_encoding, pattern, side))

    def _mount_versions(self, dialect: Dialect, handler: object) -> None:
        listed, detailed = operations(dialect.versions)
        places = {_VERSIONS: None, **{dialect.versions_path(side): side for side in dialect.details_paths}}
        for place, side in places.items():
            if place not in self._endpoints:
                # Which version the partner speaks, and so how it writes a token, is not known here.
                self._add(Route(listed, handler, dialect, place, TokenEncoding.AUTO, (), side))
        for side, place in dialect.details_paths.items():
            self._add(Route(detailed, handler, dialect, place, dialect.token_encoding, (), side))

    def _add(self, route: Route) -> None:
        self._endpoints.setdefault(route.endpoint, Endpoint()).add(route)

    def dialect_at(self, path: str) -> Dialect | None:
        """Return the version that a path is about; None where it tells none."""
        below = path.removeprefix(self._base)
        return next((one for root, one in self._roots.items() if f"{below}/".startswith(f"{root}/")), None)

    def find(self, method: str, path: str) -> Named:
        """Return what a method and a path name.

        Raises:
            UnknownObject: HTTP 404: nothing is served there.
            MethodNotAllowed: HTTP 405: something is, but not by this method.
        """
        known = self._known.get((method, path))
        if known is not None:
            return known
        for endpoint, rest in self._places(path):
            found = endpoint.find(method, rest)
            if found is not None:
                route, fields = found
                return Named(route, fields, rest)
            if endpoint.methods(rest):
                raise MethodNotAllowed(f"expected {' or '.join(self.allowed(method, path))} at this URL")
        raise UnknownObject("there is nothing at this URL")

    def remember(self, method: str, path: str, named: Named, target: object) -> None:
        """Keep the target that a path alone names, for somebody who may ask it: a stranger takes no room."""
        if len(path) > _LONGEST:
            return
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[method, path] = evolve(named, target=target)

    def allowed(self, method: str, path: str) -> list[str]:
        """Return the other methods that are served at a path."""
        served = next(
            (found for place, rest in self._places(path) if (found := place.methods(rest))), list[str]()
        )
        return [one for one in served if one != method]

    def _places(self, path: str) -> Iterator[tuple[Endpoint, Sequence[str]]]:
        """Find the endpoints at or above a path, the nearest first, with the segments that follow each."""
        if not path.startswith(self._base):
            return
        segments = path[len(self._base) :].split("/")
        if segments[-1] == "":
            segments.pop()
        for length in range(min(self._depth, len(segments)), 0, -1):
            endpoint = self._endpoints.get("/".join(segments[:length]))
            if endpoint is not None:
                yield endpoint, segments[length:]
