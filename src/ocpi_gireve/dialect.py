"""One version of OCPI as the engine sees it: values and a few functions; no behaviour of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from attrs import Factory, field, frozen

from ._model import Model
from .interface import Interface, Operation, operations
from .tokens import TokenEncoding
from .types import PartnerEndpoint, PartnerRole, Party, Role, Secret


@frozen(kw_only=True)
class Presented:
    """What a Credentials object says, whatever its version."""

    token: Secret
    url: str
    roles: tuple[PartnerRole, ...]


class Handshake(Protocol):
    """How a version words the objects of the handshake."""

    def credentials(self, token: Secret, url: str, parties: Sequence[Party]) -> Model:
        """Make our Credentials object.

        Raises:
            InvalidObject: it cannot say this.
        """
        ...

    def presented(self, credentials: Model, role: Role) -> Presented:
        """Read a partner's Credentials object.

        Args:
            credentials: What it sent.
            role: The partner's role, for versions whose object does not name it.
        """
        ...

    def version(self, number: str, url: str) -> Model:
        """Make an entry of the versions list."""
        ...

    def offered(self, version: Model) -> tuple[str, str]:
        """Read an entry of the versions list: number and URL."""
        ...

    def details(self, endpoints: Sequence[PartnerEndpoint]) -> Model:
        """Make our version details."""
        ...

    def endpoints(self, details: Model, side: str) -> tuple[PartnerEndpoint, ...]:
        """Read a partner's version details.

        Args:
            details: What it sent.
            side: The role of the partner's interfaces, for versions whose endpoints do not name it.
        """
        ...


@frozen(kw_only=True, eq=False)
class Deferral:
    """How a version answers a request in time whose handler does not: its outcome is posted later.

    Attributes:
        answer: What is answered. It has to be true whatever the handler says afterwards.
        post: The operation that takes the outcome, at the request's ``response_url``.
        outcome: Makes the outcome of what the handler answered too late; None where none is owed.
        timed_out: The outcome where the handler never answered; None where none is owed.
        failed: The same where the handler failed.
    """

    answer: Model
    post: Callable[..., Coroutine[Any, Any, None]]
    outcome: Callable[[Model], Model | None]
    timed_out: Model | None
    failed: Model | None


def _all_operations(dialect: Dialect) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for interface in (*dialect.interfaces, dialect.versions, dialect.credentials):
        for operation in operations(interface):
            if found.setdefault(operation.id, operation) is not operation:
                raise ValueError(f"OCPI {dialect.version} has two operations {operation.id}")
    return found


@frozen(kw_only=True, eq=False)
class Dialect:
    """One version of OCPI.

    Attributes:
        version: Its number, as in the versions list.
        interfaces: Every interface of the version.
        versions: The interface of the versions module.
        credentials: The interface of the credentials module.
        token_encoding: How a token stands in the Authorization header.
        patch_requires: The fields that every PATCH of an object that has them must carry.
        routing: Whether messages carry ``OCPI-to-*`` and ``OCPI-from-*``.
        empty_data: What stands for ``data`` in an answer that has nothing to say; None leaves it out.
        handshake: How the version words the handshake.
        roots: Where the endpoints of each interface role lie, below the public URL.
        details_paths: Where the version details lie, below the public URL, for each role of ours that has a
            handshake and tokens of its own; under None where one connection carries every party and role.
        status_codes: The OCPI status codes that the version defines, without the ranges for everybody's own.
        own_codes: Whether the version has such ranges.
        deferrals: How requests are answered whose handler is late, by the class of the answer.

    Raises:
        ValueError: two operations have the same id, or the role of an interface has no root.
    """

    version: str
    interfaces: tuple[type[Interface], ...]
    versions: type[Interface]
    credentials: type[Interface]
    token_encoding: TokenEncoding
    patch_requires: frozenset[str]
    routing: bool
    empty_data: bytes | None
    handshake: Handshake
    roots: Mapping[str, str]
    details_paths: Mapping[Role | None, str]
    status_codes: frozenset[int]
    own_codes: bool
    deferrals: Mapping[type[Model], Deferral]
    _operations: dict[str, Operation] = field(
        init=False, repr=False, default=Factory(_all_operations, takes_self=True)
    )

    def __attrs_post_init__(self) -> None:
        for interface in self.interfaces:
            if str(interface.role) not in self.roots:
                raise ValueError(
                    f"{interface.__name__}: OCPI {self.version} has no root for {interface.role!s}"
                )

    def operation(self, operation_id: str) -> Operation | None:
        """Return an operation of this version by its id."""
        return self._operations.get(operation_id)

    def offers(self, operation: Operation) -> bool:
        """Tell whether an operation belongs to this version."""
        return self._operations.get(operation.id) is operation

    def all_operations(self) -> Sequence[Operation]:
        """Return every operation of this version, in the order of the specification."""
        return list(self._operations.values())

    @property
    def per_role(self) -> bool:
        """Whether each party of ours registers apart for each of its roles, with tokens of its own."""
        return None not in self.details_paths

    def details_path(self, role: Role | None = None) -> str:
        """Return where our version details lie, below the public URL.

        Args:
            role: The role of ours that a connection is for; it does not matter unless `per_role`.
        """
        return self.details_paths[role if self.per_role else None]

    def versions_path(self, role: Role | None = None) -> str:
        """Return where our list of versions lies beside the version details, below the public URL."""
        return "/".join([*self.details_path(role).split("/")[:-1], "versions"])

    def endpoint_path(self, interface: type[Interface], role: Role | None = None) -> str:
        """Return where we serve an interface, below the public URL.

        Args:
            interface: An interface of this version.
            role: As for `details_path`; it matters for credentials, which every role has.
        """
        if interface is self.credentials:
            return f"{self.details_path(role)}/{interface.module}"
        return f"{self.roots[str(interface.role)]}/{interface.module}"
