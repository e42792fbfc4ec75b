"""JSON documents for a model: as the specification wants them, as partners send them, and hostile ones.

They are drawn from the model's own table; how a document is drawn depends on a `random.Random` alone.
"""

from __future__ import annotations

import json
from random import Random
from typing import TypeAlias, TypeVar, cast

from ocpi_gireve import v221
from ocpi_gireve._model import FieldSpec, Model, field_specs
from ocpi_gireve.types import OcpiEnum

Node: TypeAlias = "str | list[Node] | Members"
"""A piece of a document: a finished token, a list, or an object."""


class Members(list[tuple[str, Node]]):
    """An object as its properties in order; the same name may stand in it twice."""


T = TypeVar("T")


def exported(kind: type[T]) -> list[type[T]]:
    """The classes of a kind that the package of version 2.2.1 exports."""
    found: list[object] = [getattr(v221, name) for name in v221.__all__]
    return [one for one in found if isinstance(one, type) and issubclass(one, kind)]


MODELS = exported(Model)
ENUMS = exported(OcpiEnum)

TEXTS = (
    "abc",
    "",
    "a, b",
    'say "x": y',
    "back\\slash",
    "\\",
    '"',
    ":",
    "é\u2028\u00a0",
    "null",
    '{"a":1,"b":[2]}',
    "\x00",
    "🔌",
    "12",
)
UNKNOWN_NAMES = (
    "x_vendor",
    "extra",
    "__class__",
    "_x",
    "",
    "help:phone",
    "a,b",
    "é",
    'x"y',
    "back\\",
    '\\"',
    "id ",
    "ID",
    "__init__",
    "learned_0",
)
MOMENTS = (
    "2024-02-29T10:20:30Z",
    "2024-02-29T10:20:30",
    "2024-02-29T10:20:30.123Z",
    "2024-02-29T10:20:30.1234567Z",
    "2024-02-29t10:20:30z",
    "2024-02-29 10:20:30Z",
    "2024-02-29T10:20:30+02:00",
    "2024-02-29T10:20:30-0530",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
)
ODD_MOMENTS = (
    "2024-02-29T24:00:00Z",
    "2016-12-31T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59.9999999Z",
    "2024-02-30T00:00:00Z",
    "2024-02-29",
    "2024-02-29T10:20Z",
    "2024-2-9T1:20:30Z",
    "2024-02-29T10:20:30+02",
    "2024-02-29T10:20:30 Z",
    " 2024-02-29T10:20:30Z",
    "2024-02-29T10:20:30,5Z",
    "2024-02-29T10:20:30.Z",
    "2024-02-29T10:20:30+24:00",
    "2024-02-29T10:20:30." + "1" * 40 + "Z",
    "٢٠٢٤-02-29T10:20:30Z",
    "",
)
NUMBERS = ("0", "1.50", "-3.25", "12", "0.0", "1e3", "-0", "123456789.123456789")
ODD_NUMBERS = (
    "1e31",
    "1e-31",
    "1e999999999",
    "-1e9999999999999999999",
    "1" * 40,
    "9" * 70,
    "1" * 5000,
    "1." + "0" * 1000,
    '"12.5"',
    '"NaN"',
    '"Infinity"',
    '"1_0"',
    '" 12 "',
    '"\\u0661"',
    '""',
    "true",
    "0e99",
    "0e-99",
)
INTEGERS = ("0", "5", "-7", "9007199254740993", "9223372036854775807")
ODD_INTEGERS = (
    "5.0",
    "5.5",
    "1e2",
    "-9223372036854775808",
    "18446744073709551616",
    "1" + "0" * 63,
    "1" * 65,
    "1" * 5000,
    '"7"',
    "true",
    "null",
    '""',
    "-0",
)
ODD_TOKENS = (
    "null",
    "true",
    "0",
    '""',
    "{}",
    "[]",
    "[null]",
    '{"a":1,"a":2}',
    "NaN",
    "-Infinity",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83d\\ude00"',
    "[" * 40 + "]" * 40,
    "01",
    "1.",
    "+1",
    "'a'",
    '"\t"',
    '"\\x"',
    "nul",
    "\ufeff1",
)


class Maker:
    """Draws documents.

    Attributes:
        odd: The chance, for each value, that it is not what the specification wants.
        unknown: The chance that an object has a property that the model does not know.
    """

    def __init__(self, random: Random, *, odd: float = 0, unknown: float = 0) -> None:
        self.random = random
        self.odd = odd
        self.unknown = unknown

    def document(self, cls: type[Model]) -> bytes:
        """Draw a document for a class."""
        return self.written(self.members(cls)).encode("utf-8", "surrogatepass")

    def members(self, cls: type[Model]) -> Members:
        """Draw an object."""
        members = Members()
        for spec in field_specs(cls):
            if spec.required or self.random.random() < 0.5:
                members.append((spec.name, self.value(spec)))
                if self.chance(self.odd / 10):
                    members.append((spec.name, self.value(spec)))
            elif self.chance(0.1):
                members.append((spec.name, "null"))
        while self.chance(self.unknown):
            members.append((self.random.choice(UNKNOWN_NAMES), self.anything(3)))
        if self.unknown and not self.chance(self.odd):
            members = Members(dict(members).items())
        if self.chance(0.2):
            self.random.shuffle(members)
        return members

    def value(self, spec: FieldSpec) -> Node:
        """Draw the value of a field."""
        if self.chance(self.odd / 3):
            return self.random.choice(ODD_TOKENS)
        if spec.many:
            return [self.one(spec) for _ in range(self.random.choice((0, 1, 1, 2)))]
        return self.one(spec)

    def one(self, spec: FieldSpec) -> Node:
        """Draw one value."""
        odd = self.chance(self.odd)
        choice = self.random.choice
        if spec.kind == "model":
            assert spec.cls is not None
            return self.members(spec.cls)
        if spec.kind == "enum":
            known = [member.value for member in cast("type[OcpiEnum]", spec.cls)]
            return json.dumps(choice(["NEW_VALUE", "", known[0].lower()]) if odd else choice(known))
        if spec.kind == "datetime":
            return json.dumps(choice(ODD_MOMENTS if odd else MOMENTS))
        if spec.kind == "number":
            return choice(ODD_NUMBERS if odd else NUMBERS)
        if spec.kind == "int":
            return choice(ODD_INTEGERS if odd else INTEGERS)
        if spec.kind == "boolean":
            return choice(('"true"', '"FALSE"', "0", "1", '""') if odd else ("true", "false"))
        if spec.kind == "any":
            return self.anything(3)
        if odd:
            return choice((*NUMBERS, *ODD_NUMBERS[:4], "true", '"\\u0061"'))
        return json.dumps(choice(TEXTS), ensure_ascii=self.chance(0.5))

    def anything(self, depth: int) -> Node:
        """Draw any value."""
        if self.chance(self.odd / 3):
            return self.random.choice(ODD_TOKENS)
        kind = self.random.randrange(6 if depth else 4)
        if kind == 4:
            return [self.anything(depth - 1) for _ in range(self.random.randrange(3))]
        if kind == 5:
            names = self.random.sample(UNKNOWN_NAMES, self.random.randrange(3))
            return Members((name, self.anything(depth - 1)) for name in names)
        return self.random.choice((json.dumps(self.random.choice(TEXTS)), *NUMBERS, "null", "true"))

    def chance(self, probability: float) -> bool:
        """Say yes with that probability."""
        return self.random.random() < probability

    def written(self, node: Node) -> str:
        """Write a piece of a document, in one of the ways that JSON allows."""
        if isinstance(node, str):
            return node
        blank = self.random.choice(("", "", "", " ", "\n", "\t \r\n"))
        after = self.random.choice(("", "", " "))
        if isinstance(node, Members):
            parts = [f"{self.name(name)}{blank}:{after}{self.written(value)}" for name, value in node]
            return "{" + f",{after}".join(parts) + after + "}"
        return "[" + f"{blank},{after}".join(map(self.written, node)) + "]"

    def name(self, name: str) -> str:
        """Write a property's name; rarely with an escape that changes nothing."""
        if name and self.chance(0.03):
            return f'"\\u{ord(name[0]):04x}{json.dumps(name[1:])[1:]}'
        return json.dumps(name, ensure_ascii=self.chance(0.5))


def damaged(random: Random, document: bytes) -> bytes:
    """Change, drop or repeat some bytes."""
    data = bytearray(document)
    for _ in range(random.choice((1, 1, 2, 5))):
        if not data:
            break
        place = random.randrange(len(data))
        action = random.randrange(4)
        if action == 0:
            data[place] = random.randrange(256)
        elif action == 1:
            del data[place : place + random.choice((1, 1, 4))]
        elif action == 2:
            data[place:place] = random.choice(
                (b'"', b",", b":", b"{", b"}", b"[", b"]", b"\\", b" ", b"\xff", b"0")
            )
        else:
            end = min(len(data), place + random.randrange(1, 40))
            data[end:end] = data[place:end]
    return bytes(data)
