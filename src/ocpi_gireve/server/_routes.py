"""Which operation a method and a path name; knows no partner and reads no body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import frozen

from ..dialect import Deferral, Dialect
from ..errors import UnknownObject
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

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        if self.pattern is None:
            return {}
        found: dict[str, str] = {}
        for expected, segment in zip(self.pattern, segments, strict=True):
            if not segment:
                return None
            if expected[0] == "{":
                found[expected[1:-1]] = segment
            elif expected != segment:
                return None
        return found


class Endpoint:
    """The operations below one URL, by method and number of path segments."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, int | None], list[Route]] = {}

    def add(self, route: Route) -> None:
        length = None if route.pattern is None else len(route.pattern)
        self.routes.setdefault((route.operation.http_method, length), []).append(route)

    def find(self, method: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]] | None:
        for length in (len(segments), None):
            if length is None and not segments:
                continue
            for route in self.routes.get((method, length), ()):
                found = route.match(segments)
                if found is not None:
                    return route, found
        return None

    def methods(self, segments: Sequence[str]) -> list[str]:
        """Return the methods that serve this path."""
        return sorted(
            method for method in {method for method, _ in self.routes} if self.find(method, segments)
        )


@frozen
class Place:
    """What a URL leads to, even where the method is not served there.

    Attributes:
        endpoint: What serves it.
        rest: The segments of the path below the endpoint.
    """

    endpoint: Endpoint
    rest: Sequence[str]

    def allowed(self, method: str) -> list[str]:
        """Return the other methods that are served here."""
        return [one for one in self.endpoint.methods(self.rest) if one != method]


class Routes:
    """Every endpoint that is served, below one path.

    Args:
        base: The path, without a slash at the end.
        mounts: The versions served.
    """

    def __init__(self, base: str, mounts: Iterable[Mount]) -> None:
        self._base = base
        self._endpoints: dict[str, Endpoint] = {}
        self._roots: dict[str, Dialect] = {}
        for mount in mounts:
            self._mount(mount)
        self._depth = max((endpoint.count("/") + 1 for endpoint in self._endpoints), default=0)

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
        below = path.removeprefix(f"{self._base}/")
        return next((one for root, one in self._roots.items() if f"{below}/".startswith(f"{root}/")), None)

    def place_of(self, method: str, path: str) -> tuple[Place, tuple[Route, dict[str, str]] | None]:
        """Return where a path leads, and the operation with the path's fields, if the method is served there.

        Raises:
            UnknownObject: HTTP 404: nothing is served there.
        """
        if not path.startswith(f"{self._base}/"):
            raise UnknownObject("there is nothing at this URL")
        segments = path[len(self._base) + 1 :].split("/")
        if segments[-1] == "":
            segments.pop()
        for length in range(min(self._depth, len(segments)), 0, -1):
            endpoint = self._endpoints.get("/".join(segments[:length]))
            if endpoint is None:
                continue
            rest = segments[length:]
            found = endpoint.find(method, rest)
            if found or endpoint.methods(rest):
                return Place(endpoint, rest), found
        raise UnknownObject("there is nothing at this URL")
