from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from types import GenericAlias
from typing import ParamSpec, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpi_gireve import v211, v221
from ocpi_gireve._codec import decode, decode_page, encode, parse_json
from ocpi_gireve._model import Model
from ocpi_gireve.errors import DecodeError
from ocpi_gireve.testing import sample

from .targets import CLASSES, TARGETS, check_json, read_as

P = ParamSpec("P")
SEEDS = {name: list(target.seeds()) for name, target in TARGETS.items()}
SECONDS = 5.0
"""What no document of ours may take, on a slow machine that does other things too."""

NO_JSON = {
    "nothing": b"",
    "blank": b" \n",
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "a million lists": b"[" * 1_000_000,
    "a million lists, closed": b"[" * 1_000_000 + b"]" * 1_000_000,
    "a million objects": b'{"a":' * 1_000_000,
    "a name twice": b'{"a":1,"a":1}',
    "half of a pair": b'"\\ud800"',
    "half of a pair, as a name": b'{"\\udfff":1}',
    "half of a pair, as bytes": b'"\xed\xa0\x80"',
    "5000 digits": b"9" * 5000,
    "5000 digits, negative": b"-" + b"9" * 5000,
    "a huge exponent": b"1e999999999",
    "a huge exponent, negative": b"-1e-999999999",
    "an exponent of 30 digits": b"1e" + b"9" * 30,
    "a byte order mark": b"\xef\xbb\xbf1",
    "no UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "UTF-16": '"a"'.encode("utf-16"),
    "a control character": b'"\x00"',
    "a line break": b'"\n"',
    "text after the end": b"1 2",
    "a comma too many": b"[1,]",
    "single quotes": b"{'a':1}",
    "a comment": b"/* */ 1",
    "a leading zero": b"007",
}
"""What no JSON is that is accepted, as a value."""


def bounded(read: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> None:
    """Read what must be refused, within bounds of time."""
    begin = time.perf_counter()
    with pytest.raises(DecodeError) as refused:
        read(*arguments, **named)
    assert time.perf_counter() - begin < SECONDS
    assert refused.value.problems
    assert str(refused.value)


def name_of(cls: type[Model]) -> str:
    """Version and name of a class."""
    return cls.reference


@pytest.mark.parametrize("bad", NO_JSON.values(), ids=NO_JSON)
def test_no_json(bad: bytes) -> None:
    """What is not JSON within the limits is refused as malformed, wherever in a document it stands."""
    for document in (bad, b'{"a":' + bad + b"}", b"[1," + bad + b"]"):
        with pytest.raises(DecodeError) as refused:
            parse_json(document)
        assert refused.value.malformed


@pytest.mark.parametrize("bad", NO_JSON.values(), ids=NO_JSON)
def test_no_json_in_an_object(bad: bytes) -> None:
    """The same within objects of every class: on its own, as a further property, in a list and in a page."""
    for cls in CLASSES:
        whole = encode(sample(cls, 1))
        inside = whole[:-1] + (b',"x":' if whole != b"{}" else b'"x":') + bad + b"}"
        bounded(decode, bad, cls)
        bounded(decode, inside, cls)
        if len(bad) > 100_000:
            continue  # the same code reads lists, and a million levels take their time
        many = cast("type[list[Model]]", GenericAlias(list, (cls,)))
        bounded(decode, b"[" + whole + b"," + inside + b"]", many)


@pytest.mark.parametrize("cls", CLASSES, ids=name_of)
def test_truncated(cls: type[Model]) -> None:
    """An object that ends too early is refused, wherever it ends."""
    whole = encode(sample(cls, 1))
    step = max(1, len(whole) // 100)
    for end in range(0, len(whole), step):
        bounded(decode, whole[:end], cls)
    page = b'{"data":[' + whole + b'],"status_code":1000}'
    for end in range(0, len(page), step):
        bounded(decode_page, page[:end], cls)


@pytest.mark.parametrize("cls", CLASSES, ids=name_of)
@pytest.mark.parametrize("other", [b"[]", b"17", b"1.5", b'"text"', b"true", b"null", b"[{}]"])
def test_wrong_type(cls: type[Model], other: bytes) -> None:
    """What is no object at all is refused, and told at the place of the document."""
    with pytest.raises(DecodeError) as refused:
        decode(other, cls)
    (problem,) = refused.value.problems
    assert (problem.pointer, problem.code) == ("", "type")
    assert not refused.value.malformed


@pytest.mark.parametrize(
    "bad", [b"[" * 1_000_000, b'{"a":' * 1_000_000, b"9" * 1_000_000, b'"' + b"x" * 1_000_000]
)
def test_memory(bad: bytes) -> None:
    """Refusing a hostile document takes memory in proportion to it, and gives it back."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for cls in (v211.CDR, v221.Location):
            bounded(decode, bad, cls)
        after, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - before < 20 * len(bad)
    assert after - before < 1_000_000


@pytest.mark.parametrize("cls", CLASSES, ids=name_of)
def test_seeds_of_a_class(cls: type[Model]) -> None:
    """What the fuzzers begin with holds, for every class."""
    index = CLASSES.index(cls)
    for seed in SEEDS["json"]:
        if seed[0] == index:
            check_json(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    """Every target holds for what it begins with, and for nothing at all."""
    for seed in (b"", *SEEDS[name][:40]):
        TARGETS[name].check(seed)


@st.composite
def near(draw: st.DrawFn, name: str) -> bytes:
    """Draw a seed of a target with a few changes."""
    data = bytearray(draw(st.sampled_from(SEEDS[name])))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.integers(begin, min(len(data), begin + 20)))
        data[begin:end] = draw(st.sampled_from(TARGETS[name].words) | st.binary(max_size=4))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_near(name: str) -> None:
    """Every target holds for what is nearly right."""

    @settings(max_examples=400, deadline=None)
    @given(near(name))
    def check(data: bytes) -> None:
        TARGETS[name].check(data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    """Every target holds for any bytes."""

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=100))
    def check(data: bytes) -> None:
        TARGETS[name].check(data)

    check()


VALUES = (
    b'null [] {} "" 0 -1 1.5 true "x" 1e30 1e-30 "NaN" [null] [[[["x"]]]] "2025-06-29T20:39:09+05:30"'.split()
    + b'"9999-12-31T23:59:59-05:00" "0001-01-01T00:00:00+05:00" "2025-06-29T20:39:09.1234567Z"'.split()
    + [b"9" * 64]
)
"""What may stand where another value is expected."""


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CLASSES), st.data())
def test_other_values(cls: type[Model], data: st.DataObject) -> None:
    """An object with other values in some of its properties is read by all ways alike, or by none."""
    properties = cast("dict[str, object]", parse_json(encode(sample(cls, data.draw(st.integers(0, 30))))))
    written = {name: encode(value) for name, value in properties.items()}
    for name in (
        data.draw(st.lists(st.sampled_from(sorted(written)), min_size=1, max_size=3)) if written else ()
    ):
        written[name] = data.draw(st.sampled_from(VALUES))
    read_as(
        cls, b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in written.items()) + b"}"
    )
