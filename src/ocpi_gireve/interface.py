"""Declaring OCPI operations: the abstract method is the operation; knows neither JSON nor versions.

A host implements the method, a client names it to call it, the outbox stores it, the simulator exercises
it and the documentation lists it. The declaration is checked when its class is created; the decorator returns
the method unchanged, so overrides obey ordinary inheritance.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from functools import cached_property
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs
from attrs import frozen

from ._model import Model
from .context import Context
from .pagination import Link, Page, PageQuery
from .patch import Patch
from .types import OcpiEnum, Role

HttpMethod: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

Reads = TypeVar("Reads", bound=Callable[..., Coroutine[Any, Any, Any]])
Lists = TypeVar("Lists", bound=Callable[[Any, Context, PageQuery], Coroutine[Any, Any, Page[Any]]])
Writes = TypeVar("Writes", bound=Callable[..., Coroutine[Any, Any, Any]])
Patches = TypeVar("Patches", bound=Callable[[Any, Context, Any, Patch[Any]], Coroutine[Any, Any, None]])
Deletes = TypeVar("Deletes", bound=Callable[..., Coroutine[Any, Any, Any]])

AT_LINK = "@"
"""The path of an operation whose URL the partner hands out: its target is a `Link`."""

_DECLARED, _OPERATION = "__ocpi_http__", "__ocpi_operation__"
_ALSO = "ocpi_gireve.also"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SEGMENT = re.compile(r"\{\w+\}|[A-Za-z0-9._~-]+", re.ASCII)


@frozen(eq=False)
class Operation:
    """One OCPI operation, as its declaration says it.

    Attributes:
        interface: The interface that serves it.
        name: The method's name.
        http_method: The HTTP method.
        path: Below the module's endpoint, with ``{field}`` of the target; `AT_LINK` where the partner gives
            the URL.
        target: The class that names the object: a reference, `PageQuery`, `Link`; None where there is none.
        bodies: The classes that the body may have, or that of the objects that a `Patch` changes; empty where
            there is none. Of several, a body is the first whose fields hold every property given that any of
            them knows.
        is_patch: Whether the body is a `Patch` of that class.
        body_optional: Whether the body may be left out.
        answer: The class of the answer, or of the listed objects; None where there is none.
        lists: Whether the answer is a plain list of that class.
        paginated: Whether the answer is a page of a listing.
        requires: The fields of the query that must be said although the target has a default for them.
        summary: The first line of the method's docstring.
        signature: The method's own signature, ``self`` and ``ctx`` included.
    """

    interface: type[Interface]
    name: str
    http_method: HttpMethod
    path: str
    target: type[Any] | None
    bodies: tuple[type[Any], ...]
    is_patch: bool
    body_optional: bool
    answer: type[Any] | None
    lists: bool
    paginated: bool
    requires: tuple[str, ...]
    summary: str
    signature: inspect.Signature

    @property
    def id(self) -> str:
        """A name that is unique within a version: ``LocationsReceiver.put_location``."""
        return f"{self.interface.__name__}.{self.name}"

    @property
    def body(self) -> type[Any] | None:
        """The class of the body, the first where there are several; None where there is none."""
        return self.bodies[0] if self.bodies else None

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

    @cached_property
    def path_fields(self) -> tuple[str, ...]:
        """The fields of the target that stand in the path, in order."""
        return tuple(_PLACEHOLDER.findall(self.path))

    @cached_property
    def query_fields(self) -> tuple[str, ...]:
        """The fields of the target that go into the query."""
        if self.target is None or self.target is Link:
            return ()
        in_path = set(self.path_fields)
        return tuple(a.name for a in attrs.fields(self.target) if a.name not in in_path)

    @cached_property
    def path_only(self) -> bool:
        """Whether a path names a target whole: all it holds are texts, and no query is asked for."""
        if self.target is None or self.target is Link or self.requires:
            return False
        hints = get_type_hints(self.target)
        in_path = set(self.path_fields)
        return all(
            hints[field.name] is str if field.name in in_path else field.default is not attrs.NOTHING
            for field in attrs.fields(self.target)
        )

    @property
    def required_query(self) -> tuple[str, ...]:
        """The fields of the query that a request must have."""
        if not self.query_fields:
            return ()
        fields = attrs.fields_dict(cast("type[Any]", self.target))
        return tuple(
            name
            for name in self.query_fields
            if name in self.requires or fields[name].default is attrs.NOTHING
        )

    def __str__(self) -> str:
        return self.id


def operation_of(method: Callable[..., Any]) -> Operation:
    """Return the operation that a method of an interface declares.

    Raises:
        TypeError: the method declares none.
    """
    found = getattr(method, _OPERATION, None)
    if not isinstance(found, Operation):
        raise TypeError(f"{getattr(method, '__qualname__', method)!s} is not an OCPI operation")
    return found


def also(*names: str) -> dict[str, tuple[str, ...]]:
    """Return metadata of a target's field: further names that a partner may give it in a query.

    We write the field's own name.
    """
    return {_ALSO: names}


def also_named(field: attrs.Attribute[Any]) -> tuple[str, ...]:
    """Return the further names of a target's field in a query."""
    names: tuple[str, ...] = field.metadata.get(_ALSO, ())
    return names


@frozen
class _Declared:
    """What a decorator says."""

    http_method: HttpMethod
    path: str
    requires: tuple[str, ...] = ()


def _mark(method: object, http_method: HttpMethod, path: str, requires: tuple[str, ...] = ()) -> None:
    setattr(method, _DECLARED, _Declared(http_method, path, requires))


def get(path: str) -> Callable[[Reads], Reads]:
    """Declare a GET of one object: ``(ctx, target) -> object``."""

    def declare(method: Reads) -> Reads:
        _mark(method, "GET", path)
        return method

    return declare


def listing(path: str = "", *, requires: tuple[str, ...] = ()) -> Callable[[Lists], Lists]:
    """Declare a paginated GET: ``(ctx, PageQuery) -> Page[object]``.

    Args:
        path: Below the module's endpoint.
        requires: The fields of the query that the specification requires here: a page is neither asked for
            nor served without them.
    """

    def declare(method: Lists) -> Lists:
        _mark(method, "GET", path, requires)
        return method

    return declare


def put(path: str) -> Callable[[Writes], Writes]:
    """Declare a PUT: ``(ctx, target, object) -> None`` or an answer."""

    def declare(method: Writes) -> Writes:
        _mark(method, "PUT", path)
        return method

    return declare


def post(path: str) -> Callable[[Writes], Writes]:
    """Declare a POST: ``(ctx, object)`` or ``(ctx, target, object)``; a `Link` answer is the new place."""

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
    """Declare a DELETE: ``(ctx, target) -> None`` or an answer; ``(ctx)`` where the path names no object."""

    def declare(method: Deletes) -> Deletes:
        _mark(method, "DELETE", path)
        return method

    return declare


class Interface(ABC):
    """One side of one OCPI module. Subclass it to implement it; name its methods to call them.

    Attributes:
        module: The module's identifier.
        role: The side: ``SENDER`` and ``RECEIVER`` in 2.2.1, ``CPO`` and ``EMSP`` in 2.1.1.
        functional: Whether it is a functional module, with routing headers and behind a registration; false
            for versions and credentials.
        routed: Whether its messages name parties in ``OCPI-to-*`` and ``OCPI-from-*``, in versions that have
            these headers; false for what a hub tells of itself.
        callers: The market roles that call it, as the specification sees the other side; a hub always may.

    Raises:
        TypeError: when a subclass declares an operation that contradicts itself; the text names the place.
    """

    module: ClassVar[str]
    role: ClassVar[str]
    functional: ClassVar[bool] = True
    routed: ClassVar[bool] = True
    callers: ClassVar[frozenset[Role]] = frozenset(Role)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found: dict[tuple[str, str], Operation] = {}
        for name, method in list(vars(cls).items()):
            declared = getattr(method, _DECLARED, None)
            if not isinstance(declared, _Declared):
                continue
            for attribute in ("module", "role"):
                if not isinstance(getattr(cls, attribute, None), str):
                    raise TypeError(f"{cls.__name__}.{name}: expected the interface to have a {attribute}")
            operation = _describe(cls, name, method, declared)
            setattr(method, _OPERATION, operation)
            # Versions and their details share the method and the lack of a path; a dialect tells them apart.
            place = operation.http_method, _PLACEHOLDER.sub("{}", operation.path)
            if place in found and not operation.at_link:
                raise TypeError(f"{operation.id}: {found[place].name} has the same method and path")
            found[place] = operation


def operations(interface: type[Interface]) -> Iterator[Operation]:
    """Yield the operations of an interface, or of a class that implements one or several, as declared."""
    for cls in interface.__mro__:
        for method in vars(cls).values():
            found = getattr(method, _OPERATION, None)
            if isinstance(found, Operation):
                yield found


# --- reading a declaration -----------------------------------------------------------------------------


def _describe(
    interface: type[Interface], name: str, method: Callable[..., Any], declared: _Declared
) -> Operation:
    """Read and check one declaration.

    Raises:
        TypeError: the declaration contradicts itself; the text says how.
    """
    where = f"{interface.__name__}.{name}"
    http_method, path = declared.http_method, declared.path
    if not inspect.iscoroutinefunction(method):
        raise TypeError(f"{where}: expected an async method")
    if not getattr(method, "__isabstractmethod__", False):
        raise TypeError(f"{where}: expected @abstractmethod below the decorator; a host implements it")
    signature = inspect.signature(method)
    arguments, answer_hint = _annotations(where, method, signature)
    _check_path(where, path)
    target, bodies, optional = _target_and_bodies(where, http_method, path, arguments)
    is_patch = any(get_origin(body) is Patch for body in bodies)
    if (http_method == "PATCH") != is_patch:
        raise TypeError(f"{where}: expected a Patch[...] as the body of a PATCH, and nowhere else")
    answer, lists, paginated = _answer(where, http_method, answer_hint)
    if paginated != (target is PageQuery):
        raise TypeError(f"{where}: a listing takes a PageQuery and returns a Page[...]")
    if (target is Link) != (path == AT_LINK):
        raise TypeError(
            f"{where}: a Link target stands for the whole URL; expected both it and the path {AT_LINK!r}"
        )
    if target not in (None, Link):
        _check_target(where, path, target)
    _check_requires(where, declared.requires)
    doc = inspect.getdoc(method) or ""
    return Operation(
        interface=interface,
        name=name,
        http_method=http_method,
        path=path,
        target=target,
        bodies=tuple(get_args(body)[0] for body in bodies) if is_patch else bodies,
        is_patch=is_patch,
        body_optional=optional,
        answer=answer,
        lists=lists,
        paginated=paginated,
        requires=declared.requires,
        summary=doc.partition("\n")[0],
        signature=signature,
    )


def _annotations(
    where: str, method: Callable[..., Any], signature: inspect.Signature
) -> tuple[list[Any], Any]:
    """Return the annotations of the arguments after ``ctx``, and of the answer."""
    try:
        hints = get_type_hints(method)
    except NameError as unknown:
        raise TypeError(f"{where}: its annotations name {unknown.name!r}, which is not defined") from None
    parameters = list(signature.parameters.values())[1:]
    for parameter in parameters:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise TypeError(f"{where}: expected plain arguments, not {parameter}")
    if not parameters or hints.get(parameters[0].name) is not Context:
        raise TypeError(f"{where}: expected ctx: Context as the first argument")
    for name in [parameter.name for parameter in parameters] + ["return"]:
        if name not in hints:
            raise TypeError(f"{where}: expected an annotation of {name}")
    return [hints[parameter.name] for parameter in parameters[1:]], hints["return"]


def _check_path(where: str, path: str) -> None:
    if path in ("", AT_LINK):
        return
    names = _PLACEHOLDER.findall(path)
    if not all(_SEGMENT.fullmatch(part) for part in path.split("/")) or len(set(names)) != len(names):
        raise TypeError(
            f"{where}: path {path!r}: expected segments such as {{field}} or START_SESSION, each once"
        )


def _target_and_bodies(
    where: str, http_method: HttpMethod, path: str, arguments: list[Any]
) -> tuple[Any, tuple[Any, ...], bool]:
    """Return the target, the alternatives of the body, and whether it may be left out."""
    takes_body = http_method in ("POST", "PUT", "PATCH")
    takes_target = path == AT_LINK or "{" in path or (http_method == "GET" and bool(arguments))
    if len(arguments) != takes_body + takes_target:
        raise TypeError(
            f"{where}: expected {takes_body + takes_target} arguments besides ctx, found {len(arguments)}"
        )
    target = arguments[0] if takes_target else None
    if not takes_body:
        return target, (), False
    hint = arguments[-1]
    given = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    bodies = tuple(kind for kind in given if kind is not NoneType)
    optional = len(bodies) < len(given)
    if http_method == "PATCH":
        if optional:
            raise TypeError(
                f"{where}: expected a body that is always there; a PATCH without one changes nothing"
            )
        if len(bodies) > 1:
            raise TypeError(f"{where}: expected a Patch[...] of one model as the body of a PATCH")
    for body in bodies:
        held = get_args(body) if get_origin(body) is Patch else (body,)
        if len(held) != 1 or not _is_model(held[0]):
            raise TypeError(f"{where}: expected a model as the body, or a union of models")
    return target, bodies, optional


def _check_target(where: str, path: str, target: object) -> None:
    if not (isinstance(target, type) and attrs.has(target)):
        raise TypeError(f"{where}: expected an attrs class as the target, such as LocationRef")
    fields = {field.name: field for field in attrs.fields(target)}
    in_path = _PLACEHOLDER.findall(path)
    unknown = sorted(set(in_path) - set(fields))
    if unknown:
        raise TypeError(f"{where}: path {path!r} names {unknown}, not a field of {target.__name__}")
    hints = get_type_hints(target)
    for name, field in fields.items():
        kinds = [kind for kind in (get_args(hints[name]) or (hints[name],)) if kind is not NoneType]
        # A bool is left out on purpose: every text but the empty one would be true.
        if len(kinds) != 1 or not (
            kinds[0] in (str, int, datetime)
            or (isinstance(kinds[0], type) and issubclass(kinds[0], OcpiEnum))
        ):
            raise TypeError(
                f"{where}: {target.__name__}.{name}: expected str, int, datetime or an enum of OCPI"
            )
        if name in in_path and field.default is not attrs.NOTHING:
            raise TypeError(f"{where}: {target.__name__}.{name}: expected no default for a part of the path")
        taken = sorted(set(also_named(field)) & set(fields))
        if taken or (name in in_path and also_named(field)):
            raise TypeError(
                f"{where}: {target.__name__}.{name}: expected other names of the query's own, not {taken}"
            )


def _check_requires(where: str, requires: tuple[str, ...]) -> None:
    unknown = sorted(set(requires) - {field.name for field in attrs.fields(PageQuery)})
    if unknown:
        raise TypeError(f"{where}: requires {unknown}, not a field of the query")


def _answer(where: str, http_method: HttpMethod, hint: object) -> tuple[type[Any] | None, bool, bool]:
    """Return the class of the answer, whether it is a list, and whether it is a page."""
    if hint is NoneType:
        if http_method == "GET":
            raise TypeError(f"{where}: expected a GET to answer something")
        return None, False, False
    origin = get_origin(hint)
    if origin in (Page, list):
        (item,) = get_args(hint)
        if not _is_model(item):
            raise TypeError(f"{where}: expected a {origin.__name__} of models as the answer")
        return item, origin is list, origin is Page
    if not (isinstance(hint, type) and issubclass(hint, Model | OcpiEnum | Link)):
        raise TypeError(f"{where}: expected a model, an enum, a Link, a list, a Page or None as the answer")
    if hint is Link and http_method != "POST":
        raise TypeError(
            f"{where}: expected a Link as the answer of a POST only: it says where the new object is"
        )
    return hint, False, False


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Model)
