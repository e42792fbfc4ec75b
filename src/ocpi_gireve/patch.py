"""Some fields of an object, as PATCH carries them; knows neither operations nor HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from attrs import frozen

from ._model import NO_EXTRA, Extra, FieldSpec, Model, checked, field_specs, replaced, spec_of
from .errors import InvalidObject, Problem
from .types import Json, JsonObject

M = TypeVar("M", bound=Model)
N = TypeVar("N", bound=Model)


@frozen(init=False)
class Patch(Generic[M]):
    """Some fields of an `M`.

    ``Patch(EVSE, {"status": Status.CHARGING, "last_updated": now})``, or `Patch.between` two objects.

    Attributes:
        model: The class that is changed.
        changes: The fields that change, with their new values; None removes an optional field.
        extra: Properties of the message that OCPI does not define; they are merged into the object's, and
            None removes one.

    Raises:
        InvalidObject: a name is not a field of the class, a value breaks the field's rules, a mandatory field
            would be removed, or a field stands in `extra`.
    """

    model: type[M]
    changes: Mapping[str, object]
    extra: JsonObject

    def __init__(
        self, model: type[M], changes: Mapping[str, object], extra: JsonObject | None = None
    ) -> None:
        names = {spec.name for spec in field_specs(model)}
        problems: list[Problem] = []
        values: dict[str, object] = {}
        for name, value in changes.items():
            if name not in names:
                problems.append(Problem(f"/{name}", "unknown", f"expected a field of {model.__name__}"))
                continue
            try:
                values[name] = checked(model, spec_of(model, name), value)
            except InvalidObject as wrong:
                problems += wrong.problems
        for name in extra or {}:
            if name in names:
                problems.append(Problem(f"/{name}", "extra", "expected a field, not a part of extra"))
        if problems:
            raise InvalidObject(f"Patch[{model.__name__}]", problems)
        _fill(self, model, values, extra or {})

    @staticmethod
    def received(model: type[N], changes: Mapping[str, object], extra: JsonObject) -> Patch[N]:
        """Make a patch of values that a partner sent, read permissively as whole objects are."""
        patch = cast("Patch[N]", object.__new__(Patch))
        _fill(patch, model, changes, extra)
        return patch

    @staticmethod
    def between(old: N, new: N) -> Patch[N]:
        """Return what turns `old` into `new`: the fields that differ, and `last_updated` if there is one.

        PATCH requires ``last_updated`` where the object has it. (locations, sessions, tokens) A property of
        `extra` that is null in `new` alone cannot be carried: in a PATCH, null removes.

        Raises:
            InvalidObject: the charging periods of a session are others, not more: only a PUT replaces them.
            TypeError: they are objects of different classes.
        """
        if type(old) is not type(new):
            raise TypeError(
                f"expected two objects of one class, not {type(old).__name__}, {type(new).__name__}"
            )
        changes: dict[str, object] = {}
        for spec in field_specs(type(new)):
            value = getattr(new, spec.name)
            if value != getattr(old, spec.name) or spec.name == "last_updated":
                changes[spec.name] = (
                    _added(new, spec, getattr(old, spec.name), value) if spec.appended else value
                )
        extra: dict[str, Json] = {
            k: v for k, v in new.extra.items() if k not in old.extra or old.extra[k] != v
        }
        for name in old.extra:
            if name not in new.extra:
                extra[name] = None
        return Patch.received(type(new), changes, extra)

    def apply_to(self, old: M) -> M:
        """Return the object with these changes; a list, and an object within, replaces the whole one.

        The charging periods of a session in 2.2.1 are added to those there are. (mod_sessions, PATCH)

        Raises:
            InvalidObject: a mandatory field would be removed.
            TypeError: it is an object of another class.
        """
        if not isinstance(old, self.model):
            raise TypeError(f"expected a {self.model.__name__}, not {type(old).__name__}")
        values: dict[str, Any] = {}
        for spec in field_specs(self.model):
            if spec.name not in self.changes:
                continue
            value = self.changes[spec.name]
            if value is None and spec.required:
                problem = Problem(f"/{spec.name}", "missing", f"expected a {spec.type_name}, found null")
                raise InvalidObject(f"Patch[{self.model.__name__}]", [problem])
            if spec.appended:
                value = [*getattr(old, spec.name), *cast("list[object]", value or [])]
            values[spec.name] = [] if value is None and spec.many else value
        if self.extra:
            merged = {**old.extra, **self.extra}
            values["extra"] = Extra({name: item for name, item in merged.items() if item is not None})
        return replaced(old, values)

    @property
    def last_updated(self) -> datetime | None:
        """When the change happened; None where the message does not say."""
        return cast("datetime | None", self.changes.get("last_updated"))

    def __repr__(self) -> str:
        return f"Patch({self.model.__name__}: {', '.join(self.changes)})"


def _added(new: Model, spec: FieldSpec, before: list[object], after: list[object]) -> list[object]:
    """Return what a list that only grows has more than before."""
    if after[: len(before)] == before:
        return after[len(before) :]
    problem = Problem(
        f"/{spec.name}", "appended", "expected those of before and more: a PATCH only adds", new.reference
    )
    raise InvalidObject(f"Patch[{type(new).__name__}]", [problem])


def _fill(patch: Patch[N], model: type[N], changes: Mapping[str, object], extra: JsonObject) -> None:
    object.__setattr__(patch, "model", model)
    object.__setattr__(patch, "changes", dict(changes))
    object.__setattr__(patch, "extra", Extra(extra) if extra else NO_EXTRA)
