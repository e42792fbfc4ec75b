"""Declaring OCPI operations: the abstract method is the operation; knows no JSON, no HTTP library, no version.

A host implements the method, a client names it to call it, the outbox stores it, the simulator exercises
it and the documentation lists it. The decorator checks the declaration when the class is created and returns
the method unchanged, so overrides obey ordinary inheritance.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from ._model import Model
from .context import Context
from .pagination import Link, Page, PageQuery
from .patch import Patch
from .types import OcpiEnum

HttpMethod: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

Answer: TypeAlias = "Model | OcpiEnum | Link | Sequence[Model] | None"
"""What an operation can answer with: an object, a bare enum value, a place, a short list, or nothing."""

Reads = TypeVar("Reads", bound=Callable[..., Coroutine[Any, Any, Any]])
Lists = TypeVar("Lists", bound=Callable[[Any, Context, PageQuery], Coroutine[Any, Any, Page[Any]]])
Writes = TypeVar("Writes", bound=Callable[..., Coroutine[Any, Any, Any]])
Patches = TypeVar("Patches", bound=Callable[[Any, Context, Any, Patch[Any]], Coroutine[Any, Any, None]])
Deletes = TypeVar("Deletes", bound=Callable[..., Coroutine[Any, Any, None]])

AT_LINK = "@"
"""The path of an operation whose URL the partner hands out: its target is a `Link`."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@frozen(eq=False)
class Operation:
    """One OCPI operation, as its declaration says it.

    Attributes:
        interface: The interface that serves it.
        name: The method's name.
        http_method: The HTTP method.
        path: Below the module's endpoint, with ``{field}`` of the target; `AT_LINK` where the partner gives the URL.
        target: The class that names the object: a reference, `PageQuery`, `Link`; None where there is none.
        body: The class of the body, or of the objects that a `Patch` changes; None where there is none.
        is_patch: Whether the body is a `Patch` of that class.
        body_optional: Whether the body may be left out.
        answer: The class of the answer, or of the listed objects; None where there is none.
        lists: Whether the answer is a plain list of that class.
        paginated: Whether the answer is a page of a listing.
        summary: The first line of the method's docstring.
    """

    interface: type[Interface]
    name: str
    http_method: HttpMethod
    path: str
    target: type[Any] | None
    body: type[Any] | None
    is_patch: bool
    body_optional: bool
    answer: type[Any] | None
    lists: bool
    paginated: bool
    summary: str
    signature: inspect.Signature

    @property
    def id(self) -> str:
        """A name that is unique within a version: ``LocationsReceiver.put_location``."""
        return f"{self.interface.__name__}.{self.name}"

    @property
    def module(self) -> str:
        """The module's identifier, as in version details."""
        return str(self.interface.module)

    @property
    def role(self) -> str:
        """The interface's role, as its version words it."""
        return str(self.interface.role)

    @property
    def at_link(self) -> bool:
        """Whether the partner hands out the URL."""
        return self.path == AT_LINK

    @property
    def path_fields(self) -> tuple[str, ...]:
        """The fields of the target that stand in the path, in order."""
        return tuple(_PLACEHOLDER.findall(self.path))

    @property
    def query_fields(self) -> tuple[str, ...]:
        """The fields of the target that go into the query."""
        if self.target is None or self.target is Link:
            return ()
        in_path = set(self.path_fields)
        return tuple(a.name for a in attrs.fields(self.target) if a.name not in in_path)

    def __str__(self) -> str:
        return self.id


def operation_of(method: Callable[..., Any]) -> Operation:
    """Return the operation that a method of an interface declares.

    Raises:
        TypeError: the method declares none.
    """
    found = getattr(method, "__ocpi_operation__", None)
    if not isinstance(found, Operation):
        raise TypeError(f"{getattr(method, '__qualname__', method)!s} is not an OCPI operation")
    return found


def _mark(method: Any, http_method: HttpMethod, path: str) -> None:
    method.__ocpi_http__ = (http_method, path)


def get(path: str) -> Callable[[Reads], Reads]:
    """Declare a GET of one object: ``(ctx, target) -> object``."""

    def declare(method: Reads) -> Reads:
        _mark(method, "GET", path)
        return method

    return declare


def listing(path: str = "") -> Callable[[Lists], Lists]:
    """Declare a paginated GET: ``(ctx, PageQuery) -> Page[object]``."""

    def declare(method: Lists) -> Lists:
        _mark(method, "GET", path)
        return method

    return declare


def put(path: str) -> Callable[[Writes], Writes]:
    """Declare a PUT: ``(ctx, target, object) -> None`` or an answer."""

    def declare(method: Writes) -> Writes:
        _mark(method, "PUT", path)
        return method

    return declare


def post(path: str) -> Callable[[Writes], Writes]:
    """Declare a POST: ``(ctx, object)`` or ``(ctx, target, object)``; a `Link` answer is a Location header."""

    def declare(method: Writes) -> Writes:
        _mark(method, "POST", path)
        return method

    return declare


def patch(path: str) -> Callable[[Patches], Patches]:
    """Declare a PATCH: ``(ctx, target, Patch[object]) -> None``."""

    def declare(method: Patches) -> Patches:
        _mark(method, "PATCH", path)
        return method

    return declare


def delete(path: str) -> Callable[[Deletes], Deletes]:
    """Declare a DELETE: ``(ctx, target) -> None``, or ``(ctx) -> None`` where the path names no object."""

    def declare(method: Deletes) -> Deletes:
        _mark(method, "DELETE", path)
        return method

    return declare


class Interface(ABC):
    """One side of one OCPI module. Subclass it to implement it; name its methods to call them.

    Attributes:
        module: The module's identifier.
        role: The side: ``SENDER`` and ``RECEIVER`` in 2.2.1, ``CPO`` and ``EMSP`` in 2.1.1.
        functional: Whether it is a functional module, with routing headers and behind a registration; false for
            versions and credentials.
    """

    module: ClassVar[str]
    role: ClassVar[str]
    functional: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            http = getattr(method, "__ocpi_http__", None)
            if http is not None:
                method.__ocpi_operation__ = _describe(cls, name, method, *http)


def operations(interface: type[Interface]) -> Iterator[Operation]:
    """Yield the operations of an interface, or of a class that implements one or several, as declared."""
    for cls in interface.__mro__:
        for method in vars(cls).values():
            found = getattr(method, "__ocpi_operation__", None)
            if isinstance(found, Operation):
                yield found


def _describe(
    interface: type[Interface], name: str, method: Callable[..., Any], http_method: HttpMethod, path: str
) -> Operation:
    """Read and check one declaration.

    Raises:
        TypeError: the declaration contradicts itself; the text says how.
    """
    where = f"{interface.__name__}.{name}"
    signature = inspect.signature(method)
    hints = get_type_hints(method)
    parameters = list(signature.parameters)[1:]
    if not parameters or hints.get(parameters[0]) is not Context:
        raise TypeError(f"{where}: expected ctx: Context as the first argument")
    arguments = [hints[parameter] for parameter in parameters[1:]]
    target, body, optional = _target_and_body(where, http_method, path, arguments)
    is_patch = get_origin(body) is Patch
    if (http_method == "PATCH") != is_patch:
        raise TypeError(f"{where}: expected a Patch[...] as the body of a PATCH, and nowhere else")
    answer, lists, paginated = _answer(where, hints["return"])
    if paginated != (target is PageQuery):
        raise TypeError(f"{where}: a listing takes a PageQuery and returns a Page[...]")
    if target is Link and path != AT_LINK:
        raise TypeError(f"{where}: a Link target stands for the whole URL; expected the path {AT_LINK!r}")
    fields = set() if target in (None, Link) else {a.name for a in attrs.fields(cast("Any", target))}
    unknown = set(_PLACEHOLDER.findall(path)) - fields
    if unknown:
        owner = target.__name__ if target else "nothing"
        raise TypeError(f"{where}: path {path!r} names {sorted(unknown)}, not a field of {owner}")
    doc = inspect.getdoc(method) or ""
    return Operation(
        interface=interface,
        name=name,
        http_method=http_method,
        path=path,
        target=target,
        body=get_args(body)[0] if is_patch else body,
        is_patch=is_patch,
        body_optional=optional,
        answer=answer,
        lists=lists,
        paginated=paginated,
        summary=doc.partition("\n")[0],
        signature=signature,
    )


def _target_and_body(
    where: str, http_method: HttpMethod, path: str, arguments: list[Any]
) -> tuple[type[Any] | None, Any, bool]:
    takes_body = http_method in ("POST", "PUT", "PATCH")
    takes_target = path == AT_LINK or "{" in path or (http_method == "GET" and bool(arguments))
    if len(arguments) != takes_body + takes_target:
        raise TypeError(f"{where}: expected {takes_body + takes_target} arguments besides ctx, found {len(arguments)}")
    target = arguments[0] if takes_target else None
    body = arguments[-1] if takes_body else None
    optional = get_origin(body) in (Union, UnionType)
    if optional:
        (body,) = (argument for argument in get_args(body) if argument is not NoneType)
    if body is not None and get_origin(body) is not Patch and not _is_model(body):
        raise TypeError(f"{where}: expected a model as the body")
    return target, body, optional


def _answer(where: str, hint: Any) -> tuple[type[Any] | None, bool, bool]:
    if hint is NoneType:
        return None, False, False
    origin = get_origin(hint)
    if origin in (Page, list):
        (item,) = get_args(hint)
        return item, origin is list, origin is Page
    if not (isinstance(hint, type) and issubclass(hint, Model | OcpiEnum | Link)):
        raise TypeError(f"{where}: expected a model, an enum, a Link, a list, a Page or None as the answer")
    return hint, False, False


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Model)
