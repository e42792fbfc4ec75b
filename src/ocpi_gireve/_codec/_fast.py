"""JSON bytes -> models, fast: generated code that refuses whatever is unusual; it reports no problem."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from threading import RLock
from typing import Annotated, Any, Generic, NoReturn, TypedDict, TypeVar, cast

import msgspec

from .._model import NO_EXTRA, Extra, FieldSpec, Model, field_specs
from ..types import Json
from ._complete import from_json, in_utc
from ._text import MAX_DEPTH, MAX_EXPONENT, fraction, ordinary, parse_json

M = TypeVar("M", bound=Model)

REFUSED = (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, RecursionError)
"""What is raised for bytes that the fast ways do not take; UnicodeDecodeError is a ValueError."""


_LARGEST = 2**63 - 1
_FAST_TYPES: Mapping[str, Any] = {
    "string": str,
    "int": Annotated[int, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)],
    "number": Decimal,
    "boolean": bool,
    "datetime": datetime,
}
_plain_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=fraction)


class _Compiled:
    """What is generated for one model, each part at its first use.

    Partners send the same further properties again and again. A name seen often is learned: the closed
    Struct gets a field for it, and documents that hold it take the first way.

    Attributes:
        whole_pages: Whether the last page could be read in one go, as the next one then will be.
    """

    def __init__(self, cls: type[Model]) -> None:
        self.cls = cls
        self.specs = field_specs(cls)
        self.known = frozenset(spec.name for spec in self.specs)
        self.fast = all(spec.kind != "any" for spec in self.specs)
        self.twin = _twin(cls)
        self.whole_pages = True
        self.learned: list[str] = []
        self._seen: dict[str, int] = {}
        self._structs: dict[tuple[bool, int], Any] = {}
        self._closed: _Closed | None = None
        self._open: tuple[Any, _BuildOpen] | None = None

    def saw(self, name: str) -> None:
        """Count an unknown property, and learn it in time; bounded, whatever a partner sends.

        Only so many names are counted, and one for which there is no room takes one from each count: what is
        learned stands out among all that is sent, and names that are ever new hold one another down.
        """
        if len(self.learned) == LEARN_AT_MOST or name in self.learned:
            return
        seen = self._seen
        times = seen.get(name, 0) + 1
        if times == 1 and len(seen) >= LEARN_AT_MOST:
            self._seen = {other: count - 1 for other, count in list(seen.items()) if count > 1}
        elif times < LEARN_AFTER:
            seen[name] = times
        else:
            seen.pop(name, None)
            with _learning:
                if (
                    name not in self.learned
                    and len(self.learned) < LEARN_AT_MOST
                    and _LEARNABLE.fullmatch(name)
                ):
                    self.learned.append(name)
                    _generation[0] += 1

    def struct(self, *, closed: bool) -> Any:
        """Return the Struct with the model's fields; a closed one refuses unknown properties."""
        key = closed, _generation[0] if closed else 0
        found = self._structs.get(key)
        if found is not None:
            return found
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for spec in self.specs:
            kind: Any = _FAST_TYPES.get(spec.kind, spec.cls)
            if spec.kind == "model":
                kind = compiled_of(cast("type[Model]", spec.cls)).struct(closed=closed)
            if spec.many:
                kind = list[kind]
            if spec.required:
                fields.append((spec.name, kind))
            else:
                fields.append((spec.name, kind | None | msgspec.UnsetType, msgspec.UNSET))
        learned = {f"learned_{index}": name for index, name in enumerate(self.learned)} if closed else {}
        fields += [(name, Any, msgspec.UNSET) for name in learned]
        # Garbage collection need not look at these: they live for one document and hold no cycle.
        made = msgspec.defstruct(
            f"_{self.cls.__name__}",
            fields,
            forbid_unknown_fields=closed,
            rename=learned,
            kw_only=True,
            gc=False,
        )
        if closed:
            self._structs = {k: v for k, v in self._structs.items() if not k[0]}
        self._structs[key] = made
        return made

    @cached_property
    def decode_fields(self) -> Callable[[bytes], dict[str, Any]]:
        """Decodes those fields of a text that hold no objects, and drops what else it has."""
        fields: dict[str, Any] = {}
        for spec in self.specs:
            if spec.kind not in ("model", "any"):
                kind: Any = _FAST_TYPES.get(spec.kind, spec.cls)
                kind = list[kind] if spec.many else kind
                fields[spec.name] = kind if spec.required else kind | None
        some = cast("Any", TypedDict)(f"_Some{self.cls.__name__}", fields, total=False)
        decode: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(some, float_hook=fraction).decode
        return decode

    @cached_property
    def converted(self) -> Mapping[str, Callable[[Any], Any]]:
        """What makes of the value of each such field the model's, where they differ."""
        return {
            spec.name: _EACH[spec.kind] if spec.many else _ONE[spec.kind]
            for spec in self.specs
            if spec.kind in _ONE
        }

    @property
    def closed(self) -> _Closed:
        """The decoders and the builder of the first way."""
        if self._closed is None or self._closed.generation != _generation[0]:
            with _learning:
                self._closed = _Closed(self)
        return self._closed

    @property
    def open(self) -> tuple[Any, _BuildOpen]:
        """The Struct and the builder of the second way."""
        if self._open is None:
            self._open = self.struct(closed=False), _builder(self, closed=False)
        return self._open


class _Closed:
    """The first way, with the names learned so far."""

    __slots__ = ("build", "decode", "decode_page", "generation")

    def __init__(self, compiled: _Compiled) -> None:
        struct = compiled.struct(closed=True)
        items: Any = cast("Any", list)[struct]
        page = msgspec.defstruct("_Page", [("data", items), *_ENVELOPE], forbid_unknown_fields=True)
        self.generation = _generation[0]
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct, float_hook=fraction).decode
        self.decode_page: Callable[[bytes], Any] = msgspec.json.Decoder(page, float_hook=fraction).decode
        self.build: _Build = _builder(compiled, closed=True)


LEARN_AFTER = 8
"""How often an unknown property of a class is seen before it is learned."""
LEARN_AT_MOST = 16
"""How many properties of a class are learned, by the whole process."""
LEARN_FROM = LEARN_AT_MOST + 4
"""From how many items of a document properties are learned: to count those of all would take too long."""
_LEARNABLE = re.compile(r"[\w.@$-]{1,64}", re.ASCII)
_learning = RLock()
_generation = [0]
"""Changes when a name is learned."""
_ENVELOPE: list[tuple[str, Any] | tuple[str, Any, Any]] = [
    ("status_code", int),
    ("status_message", str | None | msgspec.UnsetType, msgspec.UNSET),
    ("timestamp", str | None | msgspec.UnsetType, msgspec.UNSET),
]
_Build = Callable[[list[Any]], tuple[list[Any], int]]
_BuildOpen = Callable[[list[Any], list[Any], bool], tuple[list[Any], int]]
_cache: dict[type[Model], _Compiled] = {}


def compiled_of(cls: type[Model]) -> _Compiled:
    """Return what is generated for a model."""
    found = _cache.get(cls)
    if found is None:
        found = _cache[cls] = _Compiled(cls)
    return found


def _twin(cls: type[Model]) -> type[Any]:
    """Make a class laid out like a model whose attributes can be set at the speed of a plain class.

    An object is filled as a twin and then given its real class, with which it is immutable. It is several
    times faster than going past a frozen class's `__setattr__` for each attribute.
    """
    slots: Any = vars(cls)["__slots__"]
    plain = {name: getattr(object, name) for name in ("__init__", "__setattr__", "__delattr__")}
    return type(f"_{cls.__name__}", cls.__bases__, {"__slots__": slots, **plain})


def _builder(compiled: _Compiled, *, closed: bool) -> Any:
    """Generate the function that makes models of a list of Structs, and counts the properties at all levels.

    The open one is given the same objects as plain values too, takes from them what the Structs left out, and
    uses them up. Nested objects are built in place, in one function: calls would cost as much as the work.
    """
    source = _Source(closed=closed)
    source.add_list(compiled, "0", 1)
    head = "def build(l0):" if closed else "def build(l0, q0, count):"
    lines = [head, " unset = UNSET", " inner = [0]", " n = 0"]
    lines += [f" {text} = ''" for text in source.texts]
    lines += [*source.lines, " return m0, n + inner[0]"]
    exec("\n".join(lines), source.names)  # noqa: S102 - our own text: field names of our own classes
    return source.names["build"]


class _Source:
    """The text of a builder.

    Of object ``i``, ``si`` is the Struct, ``di`` the plain values, ``oi`` the model; ``n`` counts properties.
    Of a list of them, ``li`` are the Structs, ``qi`` the plain values, ``mi`` the models.

    Neighbours in a list often have the same texts: the language, a link to the terms, opening hours. A text
    equal to the one before it is held once; to look further back would cost more than it saves.
    """

    def __init__(self, *, closed: bool) -> None:
        self.closed = closed
        self.lines: list[str] = []
        self.texts: list[str] = []
        self.names: dict[str, Any] = {
            "UNSET": msgspec.UNSET,
            "UTC": UTC,
            "utc": in_utc,
            "odd": _refuse,
            "NO_EXTRA": NO_EXTRA,
            "Extra": Extra,
            "inspect": _inspect,
            "unknown": _unknown,
        }
        self._made = 0

    def add_list(self, compiled: _Compiled, i: str, depth: int) -> None:
        """Add the lines that leave in ``mi`` a finished model for each Struct in ``li``."""
        pad = " " * depth
        loop = f"for s{i} in l{i}:" if self.closed else f"for s{i}, d{i} in zip(l{i}, q{i}):"
        self.lines += [f"{pad}m{i} = []", pad + loop]
        self.add_object(compiled, i, depth + 1)
        self.lines.append(f"{pad} m{i}.append(o{i})")

    def add_object(self, compiled: _Compiled, i: str, depth: int) -> None:
        """Add the lines that leave a finished model in ``oi``."""
        pad = " " * depth
        self.names |= {f"cls{i}": compiled.cls, f"twin{i}": compiled.twin, f"compiled{i}": compiled}
        required = sum(spec.required for spec in compiled.specs)
        count = "n" if self.closed else f"k{i}"
        self.lines.append(f"{pad}o{i} = twin{i}()")
        self.lines.append(f"{pad}n += {required}" if self.closed else f"{pad}k{i} = {required}")
        for spec in compiled.specs:
            target, source = f"o{i}.{spec.name}", f"s{i}.{spec.name}"
            if spec.required:
                self._add_value(spec, source, target, i, depth)
                continue
            empty = "[]" if spec.many else "None"
            self.lines += [
                f"{pad}v = {source}",
                f"{pad}if v is unset: {target} = {empty}",
                f"{pad}else:",
                f"{pad} {count} += 1",
            ]
            if spec.kind in _MOVED and not spec.many:
                self._add_value(spec, "v", target, i, depth + 1)
            else:
                self.lines += [f"{pad} if v is None: {target} = {empty}", f"{pad} else:"]
                self._add_value(spec, "v", target, i, depth + 2)
        if self.closed:
            self._add_learned(compiled, i, pad)
        else:
            self.lines += [
                f"{pad}z = len(d{i})",
                f"{pad}n += z",
                f"{pad}if z == k{i}: o{i}.extra = NO_EXTRA",
                f"{pad}else: o{i}.extra = unknown(d{i}, compiled{i}, z - k{i}, inner, count)",
            ]
        self.lines.append(f"{pad}o{i}.__class__ = cls{i}")

    def _add_learned(self, compiled: _Compiled, i: str, pad: str) -> None:
        if not compiled.learned:
            self.lines.append(f"{pad}o{i}.extra = NO_EXTRA")
            return
        self.lines.append(f"{pad}e = None")
        for index, name in enumerate(compiled.learned):
            self.lines += [
                f"{pad}v = s{i}.learned_{index}",
                f"{pad}if v is not unset:",
                f"{pad} n += 1",
                f"{pad} if v.__class__ is not str: inspect(v, inner)",
                f"{pad} if e is None: e = {{{name!r}: v}}",
                f"{pad} else: e[{name!r}] = v",
            ]
        self.lines.append(f"{pad}o{i}.extra = NO_EXTRA if e is None else Extra(e)")

    def _add_value(self, spec: FieldSpec, source: str, target: str, i: str, depth: int) -> None:
        pad = " " * depth
        if spec.kind == "model":
            self._add_models(spec, source, target, i, depth)
            return
        if spec.kind == "string" and not spec.many and i != "0":
            text = f"t{len(self.texts)}"
            self.texts.append(text)
            if source != "v":
                self.lines.append(f"{pad}v = {source}")
            self.lines += [f"{pad}if v == {text}: v = {text}", f"{pad}else: {text} = v"]
            value = "v"
        elif spec.kind in _MOVED:
            value = source
        elif spec.many:
            value = f"[{_CONVERTED[spec.kind].format('x')} for x in {source}]"
        else:
            value = _CONVERTED[spec.kind].format("v")
            if source != "v":
                self.lines.append(f"{pad}v = {source}")
        self.lines.append(f"{pad}{target} = {value}")

    def _add_models(self, spec: FieldSpec, source: str, target: str, i: str, depth: int) -> None:
        pad = " " * depth
        self._made += 1
        j = str(self._made)
        compiled = compiled_of(cast("type[Model]", spec.cls))
        plain = f"d{i}[{spec.name!r}]"
        if not spec.many:
            self.lines.append(
                f"{pad}s{j} = {source}" if self.closed else f"{pad}s{j} = {source}; d{j} = {plain}"
            )
            self.add_object(compiled, j, depth)
            self.lines.append(f"{pad}{target} = o{j}")
            return
        self.lines.append(f"{pad}l{j} = {source}" if self.closed else f"{pad}l{j} = {source}; q{j} = {plain}")
        self.add_list(compiled, j, depth)
        self.lines.append(f"{pad}{target} = m{j}")


_MOVED = frozenset({"string", "int", "boolean", "enum"})
"""Kinds whose value msgspec leaves as the model holds it."""
_CONVERTED: Mapping[str, str] = {
    "datetime": "{0} if {0}.tzinfo is UTC else utc({0})",
    "number": (
        f"{{0}} if {-MAX_EXPONENT} <= {{0}}.adjusted() <= {MAX_EXPONENT} and {{0}}.is_finite() else odd()"
    ),
}


def _refuse() -> NoReturn:
    raise ValueError


def _moment(value: datetime) -> datetime:
    return value if value.tzinfo is UTC else in_utc(value)


def _number(value: Decimal) -> Decimal:
    return value if ordinary(value) else _refuse()


_ONE: Mapping[str, Callable[[Any], Any]] = {"datetime": _moment, "number": _number}
_EACH: Mapping[str, Callable[[Any], Any]] = {
    "datetime": lambda values: [_moment(one) for one in values],
    "number": lambda values: [_number(one) for one in values],
}


def _unknown(found: dict[str, Json], compiled: _Compiled, left: int, inner: list[int], count: bool) -> Extra:
    """Take the unknown properties out of an object's plain values, and count what is nested in them.

    From the end, where most partners add theirs.
    """
    unknown: dict[str, Json] = {}
    known = compiled.known
    while True:
        name, value = found.popitem()
        if name in known:
            continue
        if value.__class__ is not str:
            _inspect(value, inner)
        if not name.isidentifier():
            _require_countable(name)
        if count:
            compiled.saw(name)
        if left == 1 and not unknown:
            return Extra({name: value})
        unknown[name] = value
        left -= 1
        if not left:
            return Extra(reversed(unknown.items()))


def _require_countable(name: str) -> None:
    if ":" in name or "," in name:
        raise ValueError


def _inspect(value: Json, inner: list[int], left: int = MAX_DEPTH - 8) -> None:
    """Add the number of properties within a value to `inner`, if the value keeps to the limits."""
    if isinstance(value, dict | list):
        if not left:
            raise ValueError
        if isinstance(value, dict):
            inner[0] += len(value)
            for name in value:
                _require_countable(name)
            value = list(value.values())
        for item in value:
            _inspect(item, inner, left - 1)
    elif isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        raise ValueError


_BETWEEN_NAMES = bytes(byte for byte in range(256) if byte not in b'":,')


def _names_in(data: bytes) -> int:
    """Count the properties in valid JSON text, at all levels, those with ``:`` or ``,`` in their name apart.

    With every other character gone, ``"":`` is a name: what opens and closes a text are neighbours, and what
    closes one text and opens the next has ``:`` or ``,`` between. More of them than were read: some name
    stands twice in an object.
    """
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return data.translate(None, _BETWEEN_NAMES).count(b'"":')


class Reader(Generic[M]):
    """Reads the objects of one document, and remembers whether the partner sends more than we know."""

    def __init__(self, cls: type[M]) -> None:
        self._cls = cls
        self._compiled = compiled_of(cls)
        self._more = False
        self._opened = 0

    def read(self, data: bytes) -> M:
        """Read one object.

        Raises:
            DecodeError: with every problem.
        """
        one: M | None = None
        if self._compiled.fast:
            if not self._more:
                one = self.read_closed(data)
            if self._more:
                one = self.read_open(data)
        return from_json(parse_json(data, self._cls.__name__), self._cls) if one is None else one

    def read_closed(self, data: bytes) -> M | None:
        """Read an object of which every property is known or learned; None for any other."""
        closed = self._compiled.closed
        try:
            (one,), names = closed.build([closed.decode(data)])
        except REFUSED as refusal:
            self._more = str(refusal).startswith("Object contains unknown field")
            return None
        return cast("M", one) if _names_in(data) == names else None

    def read_open(self, data: bytes) -> M | None:
        """Read an object whatever further properties it has; None where anything else is unusual."""
        struct, build = self._compiled.open
        try:
            values = _plain_decoder.decode(data)
            (one,), names = build([msgspec.convert(values, struct)], [values], self._opened < LEARN_FROM)
        except REFUSED:
            return None
        self._opened += 1
        return cast("M", one) if _names_in(data) == names else None


def read_fields(data: bytes, cls: type[Model]) -> dict[str, Any] | None:
    """Read some fields of an object, as a PATCH carries them; None where anything is unusual.

    Unusual are a property that is unknown or comes twice, an object within, and null for a mandatory field.
    """
    compiled = compiled_of(cls)
    try:
        found = compiled.decode_fields(data)
        for name, convert in compiled.converted.items():
            value = found.get(name)
            if value is not None:
                found[name] = convert(value)
    except REFUSED:
        return None
    return found if _names_in(data) == len(found) else None


def read_page(data: bytes, cls: type[M]) -> list[M] | None:
    """Read an answer with a list in one go; None where anything in it is unusual."""
    compiled = compiled_of(cls)
    if not (compiled.fast and compiled.whole_pages):
        return None
    closed = compiled.closed
    try:
        page = closed.decode_page(data)
        items, names = closed.build(page.data)
        names += 2 + (page.status_message is not msgspec.UNSET) + (page.timestamp is not msgspec.UNSET)
    except REFUSED:
        compiled.whole_pages = False
        return None
    return items if _names_in(data) == names else None
