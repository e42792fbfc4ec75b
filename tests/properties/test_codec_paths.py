"""The ways of reading agree: where a fast one does not refuse, it returns what the complete one returns."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpi_gireve._codec import decode, decode_items, decode_page, encode, from_json, parse_json
from ocpi_gireve._codec._fast import Reader, compiled_of
from ocpi_gireve._model import Extra, Model, field_specs
from ocpi_gireve.errors import DecodeError
from ocpi_gireve.pagination import Rejected
from tests.documents import MODELS, Maker, damaged

EXAMPLES = settings(max_examples=40, deadline=None)
each_model = pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
seeds = st.integers(0, 2**64 - 1)


def exact(value: object) -> object:
    """The value with the type of every part, so that 1, True and Decimal(1) differ."""
    if isinstance(value, Model):
        fields = [(spec.name, exact(getattr(value, spec.name))) for spec in field_specs(type(value))]
        assert type(value.extra) is Extra
        return type(value), fields, exact(dict(value.extra))
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {name: exact(item) for name, item in items}
    if isinstance(value, list):
        return [exact(item) for item in cast("list[object]", value)]
    if isinstance(value, datetime):
        return type(value), value.isoformat()
    if isinstance(value, Decimal):
        return type(value), str(value)
    return type(value).__name__, repr(value)


def read_completely(data: bytes, cls: type[Model]) -> Model | DecodeError:
    """What the complete way makes of a document."""
    try:
        return from_json(parse_json(data, cls.__name__), cls)
    except DecodeError as wrong:
        return wrong


def read(data: bytes, cls: type[Model]) -> Model | DecodeError:
    """What the public function makes of a document."""
    try:
        return decode(data, cls)
    except DecodeError as wrong:
        return wrong


def lexes(data: bytes) -> bool:
    """Whether a text is JSON but for its numbers and the characters of its texts."""
    try:
        json.loads(data, parse_int=str, strict=False)
    except ValueError:
        return False
    return True


def agree(data: bytes, cls: type[Model]) -> None:
    """Read a document in all ways and compare."""
    complete = read_completely(data, cls)
    reader = Reader(cls)
    if compiled_of(cls).fast:
        for fast in (reader.read_closed(data), reader.read_open(data)):
            if fast is not None:
                assert not isinstance(complete, DecodeError), complete
                assert exact(fast) == exact(complete)
    one = read(data, cls)
    if isinstance(one, DecodeError):
        assert isinstance(complete, DecodeError)
        assert one.problems
        assert (one.problems, one.malformed, str(one)) == (
            complete.problems,
            complete.malformed,
            str(complete),
        )
    else:
        assert exact(one) == exact(complete)


@each_model
@EXAMPLES
@given(seed=seeds)
def test_first_way_takes_what_is_specified(cls: type[Model], seed: int) -> None:
    """A document with nothing unknown is read by the first way, whatever its blanks, escapes and order."""
    data = Maker(Random(seed)).document(cls)
    if compiled_of(cls).fast:
        assert Reader(cls).read_closed(data) is not None
        assert Reader(cls).read_open(data) is not None
    agree(data, cls)


@each_model
@EXAMPLES
@given(seed=seeds)
def test_ways_agree_on_unknown_properties(cls: type[Model], seed: int) -> None:
    """Whatever else stands in its objects, all ways keep it alike, before and after it is learned."""
    agree(Maker(Random(seed), unknown=0.4).document(cls), cls)


@each_model
@EXAMPLES
@given(seed=seeds)
def test_ways_agree_on_odd_documents(cls: type[Model], seed: int) -> None:
    """Wrong types, huge numbers, strange dates, properties twice: the fast ways accept nothing wrong."""
    agree(Maker(Random(seed), odd=0.1, unknown=0.1).document(cls), cls)


@each_model
@EXAMPLES
@given(seed=seeds)
def test_ways_agree_on_damaged_documents(cls: type[Model], seed: int) -> None:
    """Bytes changed at random end in the same object, or in the same `DecodeError` and nothing else."""
    agree(damaged(Random(seed + 1), Maker(Random(seed), odd=0.01, unknown=0.1).document(cls)), cls)


@each_model
@EXAMPLES
@given(seed=seeds)
def test_what_is_written_is_read_again(cls: type[Model], seed: int) -> None:
    """Writing an object and reading it again gives an equal object, and the same bytes."""
    one = read_completely(Maker(Random(seed), odd=0.02, unknown=0.2).document(cls), cls)
    if isinstance(one, Model):
        written = encode(one)
        again = decode(written, cls)
        assert encode(again) == written
        assert exact(decode(encode(again), cls)) == exact(again)


@EXAMPLES
@given(seed=seeds, odd=st.sampled_from((0, 0, 0.03)), unknown=st.sampled_from((0, 0.3)))
def test_page_is_its_items(seed: int, odd: float, unknown: float) -> None:
    """A page is what its items are one by one; those that cannot be read are kept with their problems."""
    random = Random(seed)
    maker = Maker(random, odd=odd, unknown=unknown)
    cls = random.choice(MODELS)
    raws = [maker.document(cls) for _ in range(random.randrange(4))]
    alone = [read_completely(raw, cls) for raw in raws]
    comma = random.choice((b",", b", ", b" ,\n"))
    listed = b"[" + comma.join(raws) + b"]"
    head = random.choice((b'{"status_code":1000,"data":', b'{"data": ', b'{"x":[1,"a"],"data":'))
    tail = b',"timestamp":"2024-02-29T10:20:30Z"' + (
        b"}" if b"status" in head else b', "status_code" : 1000}'
    )
    try:
        page = decode_page(head + listed + tail, cls)
    except DecodeError:
        # Where an item ends can only be told while its text keeps to the grammar of JSON.
        assert not all(map(lexes, raws))
        return
    assert [exact(one) for one in page.items] == [exact(one) for one in alone if isinstance(one, Model)]
    assert [(one.index, one.raw, one.problems) for one in page.rejected] == [
        (index, raws[index], one.problems) for index, one in enumerate(alone) if isinstance(one, DecodeError)
    ]
    items = list(decode_items(listed, cls))
    assert [one for one in items if isinstance(one, Rejected)] == list(page.rejected)
    assert [exact(one) for one in items if isinstance(one, Model)] == [exact(one) for one in page.items]
