"""Objects as others write them: the examples of the specification, and a real feed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from ocpi_gireve import v221
from ocpi_gireve._codec import (
    decode,
    decode_answer,
    decode_items,
    encode,
    encode_fields,
    field_from_json,
    parse_json,
)
from ocpi_gireve._model import Model, spec_of
from ocpi_gireve.errors import DecodeError
from ocpi_gireve.pagination import Rejected

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")
OBJECT = re.compile(r"(?:(\w+)<)?(?:list<)?(\w+)>*")
"""How the manifest names what an example is: ``Token``, ``list<Version>``, ``envelope<list<Token>>``."""


@pytest.fixture(scope="module")
def examples(shared: Path) -> list[dict[str, Any]]:
    """The entries of version 2.2.1 in the manifest of the examples."""
    manifest = json.loads((shared / "spec" / "examples" / "manifest.json").read_bytes())
    return [entry for entry in manifest["examples"] if entry["version"] == "2.2.1"]


def canonical(data: bytes) -> object:
    """What a document says: null, [] and absent are the same, dates are instants, numbers exact."""
    return _canonical(json.loads(data, parse_float=Decimal, parse_int=Decimal))


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        items = {name: _canonical(item) for name, item in cast("dict[str, object]", value).items()}
        return {name: item for name, item in items.items() if item is not None and item != []}
    if isinstance(value, list):
        return [_canonical(item) for item in cast("list[object]", value)]
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return datetime.fromisoformat(value.removesuffix("Z")).replace(tzinfo=UTC)
    return value


def pointers(entry: dict[str, Any]) -> set[str]:
    """Where the manifest says that something mandatory is missing."""
    found: set[str] = set()
    for one in entry["discrepancies"]:
        place, _, what = one["discrepancy"].partition(": ")
        if what.startswith("required field of"):
            found.add("/" + re.sub(r"\[(\d+)\]", r"/\1", place).replace(".", "/"))
        else:  # a reader minds neither: the one is kept in `extra`, the other read as text
            assert what.startswith(("unknown field of", "string expected, got")), one
    return found


def round_trip(data: bytes, kind: str) -> bytes:
    """Decode an example as what the manifest says it is, and encode it again."""
    match = OBJECT.fullmatch(kind)
    assert match is not None, kind
    wrapper, name = match.groups()
    if wrapper == "envelope":
        answer = decode_answer(data)
        assert answer.status_code > 0
        if name == "null":
            assert answer.data is None
            return data
        assert answer.data is not None
        envelope = json.loads(data)
        inner = round_trip(answer.data, kind.removeprefix("envelope<").removesuffix(">"))
        return json.dumps({**envelope, "data": json.loads(inner)}).encode()
    cls: type[Model] = getattr(v221, name)
    if wrapper in ("patch", "fragment"):
        values = parse_json(data)
        assert isinstance(values, dict)
        changes = {key: field_from_json(cls, spec_of(cls, key), value) for key, value in values.items()}
        return encode_fields(cls, changes)
    wanted: Any = cast("Any", list)[cls] if wrapper == "list" else cls
    return encode(decode(data, wanted))


def test_examples_are_read_and_written_alike(shared: Path, examples: list[dict[str, Any]]) -> None:
    """Every example that agrees with the tables is an object, and comes back with nothing lost or added."""
    count = 0
    for entry in examples:
        if entry["conforms"]:
            data = (shared / "spec" / "examples" / entry["file"]).read_bytes()
            written = round_trip(data, entry["object"])
            assert (entry["file"], canonical(written)) == (entry["file"], canonical(data))
            count += 1
    assert count > 50


def test_examples_fail_where_the_manifest_says(shared: Path, examples: list[dict[str, Any]]) -> None:
    """Every example with a mistake is refused, at the places of its mistakes and at no other."""
    wrong = [entry for entry in examples if not entry["conforms"]]
    assert wrong
    for entry in wrong:
        data = (shared / "spec" / "examples" / entry["file"]).read_bytes()
        with pytest.raises(DecodeError) as refusal:
            round_trip(data, entry["object"])
        problems = refusal.value.problems
        assert refusal.value.malformed is not entry["valid_json"]
        if entry["valid_json"]:
            assert {one.pointer for one in problems} == pointers(entry)
            assert {one.code for one in problems} == {"missing"}


def test_real_feed_is_read_completely(shared: Path) -> None:
    """All Locations of a real feed are read, and written with nothing lost, its own properties included."""
    raw = (shared / "data" / "ludwigsburg-locations-2.2.1.json").read_bytes()
    for _ in range(3):  # what it adds to the tables is learned meanwhile
        items = list(decode_items(raw, v221.Location))
        assert len(items) == 130
        assert not [item for item in items if isinstance(item, Rejected)]
        assert canonical(encode(items)) == canonical(raw)
