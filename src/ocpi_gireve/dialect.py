"""One version of OCPI as the engine sees it: values and a few functions; no behaviour of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import Factory, field, frozen

from ._model import Model
from .interface import Interface, Operation, operations
from .tokens import TokenEncoding
from .types import PartnerEndpoint, PartnerRole, Party, Secret


@frozen(kw_only=True)
class Presented:
    """What a Credentials object says, whatever its version."""

    token: Secret
    url: str
    roles: tuple[PartnerRole, ...]


class Handshake(Protocol):
    """How a version words the objects of the handshake."""

    def credentials(self, token: Secret, url: str, parties: Sequence[Party]) -> Model:
        """Make our Credentials object."""
        ...

    def presented(self, credentials: Model) -> Presented:
        """Read a partner's Credentials object."""
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

    def endpoints(self, details: Model) -> tuple[PartnerEndpoint, ...]:
        """Read a partner's version details."""
        ...


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
        details_path: Where the version details lie, below the public URL.

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
    roots: dict[str, str]
    details_path: str
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

    def endpoint_path(self, interface: type[Interface]) -> str:
        """Return where we serve an interface, below the public URL."""
        if interface is self.credentials:
            return f"{self.details_path}/{interface.module}"
        return f"{self.roots[str(interface.role)]}/{interface.module}"
