"""What a message makes of what is kept already: pure functions; keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol, TypeAlias, TypeVar, cast

from .._codec import decode, encode
from .._model import Model, field_specs
from ..errors import InvalidParameters, Problem
from ..patch import Patch


class Dated(Protocol):
    """Whatever says when it last changed."""

    @property
    def last_updated(self) -> datetime:
        """When it last changed, by its owner's clock."""
        ...


D = TypeVar("D", bound=Dated)
M = TypeVar("M", bound=Model)

Judge: TypeAlias = Callable[[M | None], M]
"""Takes what is kept, None where there is nothing, and returns what is to be kept."""


class Late(Exception):
    """A message that is older than what is kept, or comes after the end."""


class Conflict(Exception):
    """An object that never changes came with other content."""


def newest(old: D | None, new: D) -> D:
    """Return the new object, unless the old one is newer.

    Raises:
        Late: it is.
    """
    if old is not None and new.last_updated < old.last_updated:
        raise Late
    return new


def as_kept(one: M) -> M:
    """Return an object as it is read again: of its dates, milliseconds are kept."""
    return decode(encode(one), type(one))


def by_date(old: D | None, new: D, pushed: bool) -> D:  # noqa: ARG001 - the date tells it
    """Return what to keep of what a pull brought: the newer one.

    Raises:
        Late: what is kept is newer.
    """
    return newest(old, new)


def unchanging(old: M | None, new: M) -> M:
    """Return the object, which is the same for ever.

    Raises:
        Conflict: it came with other content.
    """
    if old is None:
        return new
    if new != old and as_kept(new) != old:
        raise Conflict
    return old


def patched(old: M, changes: Patch[M], requires: Collection[str]) -> M:
    """Return the changed object. What a PATCH adds to a list is added once, however often it comes.

    Raises:
        Late: the change is older than the object.
        InvalidParameters: the change says not when it happened, and has to.
    """
    moment = changes.last_updated
    if moment is None:
        if "last_updated" in requires:
            raise InvalidParameters(problems=[Problem("/last_updated", "missing", "expected a DateTime")])
    elif moment < cast("Dated", old).last_updated:
        raise Late
    return _not_there(old, changes).apply_to(old)


def _not_there(old: M, changes: Patch[M]) -> Patch[M]:
    """Return a change without the items that a list which only grows has already."""
    left = dict(changes.changes)
    for spec in field_specs(changes.model):
        given = cast("list[Model] | None", left.get(spec.name))
        if spec.appended and given:
            there = cast("list[Model]", getattr(old, spec.name))
            left[spec.name] = [item for item in given if item not in there and as_kept(item) not in there]
    return Patch[M].received(changes.model, left, changes.extra)
