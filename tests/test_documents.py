from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpi_gireve import v221
from ocpi_gireve._codec import encode, parse_json
from ocpi_gireve._documents import LONGEST, Piece, pieces
from ocpi_gireve.errors import DecodeError
from ocpi_gireve.testing import samples

HEAD, TAIL = b'{"data":', b',"status_code":1000,"timestamp":"2025-06-29T20:39:09Z"}'
ITEMS = [b'{"id":"1","text":"a]}\\"[,\\\\"}', b'{"id":"2","parts":[{"data":[1]}]}', b'{"uid":"3"}']


def cut(data: bytes, size: int = 5, longest: int = LONGEST) -> list[Piece]:
    """The pieces of a stream that comes in chunks of that size."""
    return list(pieces(chunks(data, size), longest=longest))


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    """Cut bytes anywhere."""
    return (data[start : start + size] for start in range(0, len(data), size))


def raws(data: bytes, size: int = 5) -> list[bytes]:
    """The bytes of the pieces, none of which has a problem."""
    found = cut(data, size)
    assert [piece.problem for piece in found if piece.problem] == []
    assert all(data[piece.offset :].startswith(piece.raw) for piece in found)
    return [piece.raw for piece in found]


LIST = b"[" + b",".join(ITEMS) + b"]"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "document",
    [
        LIST,
        b" \n[\n " + b" ,\n".join(ITEMS) + b"\n]\n\n",
        b"\xef\xbb\xbf" + LIST,
        HEAD + LIST + TAIL,
        b'{ "status_code" : 1000 , "status_message":"ok, {" , "data" : ' + LIST + b" }",
        b"["
        + HEAD
        + b"["
        + ITEMS[0]
        + b"]"
        + TAIL
        + b","
        + HEAD
        + b"["
        + b",".join(ITEMS[1:])
        + b"]"
        + TAIL
        + b"]",
        b"[[" + ITEMS[0] + b"],[" + ITEMS[1] + b"," + ITEMS[2] + b"]]",
        b"\n".join(ITEMS),
        b"\r\n".join(ITEMS) + b"\r\n\r\n",
        b"\n".join(HEAD + item + TAIL for item in ITEMS),
        ITEMS[0] + b"\n[" + b",".join(ITEMS[1:]) + b"]",
        b"\n".join(item.replace(b":", b":\n") for item in ITEMS),
    ],
)
def test_forms(document: bytes, size: int) -> None:
    """A list, an answer, pages, lists of lists and JSON Lines hold the same objects, wherever cut."""
    assert [json.loads(raw) for raw in raws(document, size)] == [json.loads(item) for item in ITEMS]


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (b"[]", 0),
        (b" [ ] ", 0),
        (HEAD + b"[]" + TAIL, 0),
        (HEAD + b"null" + TAIL, 0),
        (HEAD + ITEMS[0] + TAIL, 1),
        (HEAD + b'"text"' + TAIL, 1),
        (b'{"status_code":2000}', 1),
        (b"{}", 1),
        (b"17", 1),
        (b'"text"', 1),
        (b"null", 1),
        (b"[1,2.5,true,null,{}]", 5),
    ],
)
def test_how_many(document: bytes, count: int) -> None:
    """An empty list holds nothing; what is no object is a piece, for the codec to refuse."""
    assert len(raws(document)) == count


JSON: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["}", "\\", '"', "\\\\", "]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(st.text(max_size=4).filter(lambda name: name != "data"), JSON, max_size=4), max_size=5
    ),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from([None, 2]),
)
def test_any_list(items: list[dict[str, Any]], size: int, ascii_only: bool, indent: int | None) -> None:
    """Whatever objects a list holds, and wherever its bytes are cut, the pieces are these objects."""
    text = json.dumps(items, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert [json.loads(raw) for raw in raws(text, size)] == items


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes(data: bytes, size: int) -> None:
    """Whatever the bytes, there are pieces or a DecodeError; and where it is JSON, there is no error."""
    try:
        cut(data, size)
    except DecodeError:
        with pytest.raises(DecodeError):
            parse_json(data.removeprefix(b"\xef\xbb\xbf"))


@given(
    st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b",", b":", b'"', b"a", b"\\", b"\n", b'"data"'])),
    st.integers(1, 9),
)
def test_any_brackets(parts: list[bytes], size: int) -> None:
    """Whatever the order of brackets, quotes and lines, there are pieces or a DecodeError."""
    data = b"".join(parts)
    try:
        found = cut(data, size)
    except DecodeError:
        return
    assert all(data[piece.offset :].startswith(piece.raw) for piece in found)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "expected JSON, and found nothing, at byte 0"),
        (b" \n ", "expected JSON, and found nothing, at byte 3"),
        (b'[{"id":1}', "expected a comma or the end of a list at byte 9"),
        (b'[{"id":1},', "expected a value at byte 10"),
        (b'[{"id":1} {"id":2}]', "expected a comma or the end of a list at byte 10"),
        (b'[{"id":1},]', "expected a value at byte 10"),
        (b'[{"id":1', "expected the end of an object or a list at byte 8"),
        (b'[{"id":"1', "expected the end of an object or a list at byte 7"),
        (b'[{"status":"1', "expected the end of an object or a list at byte 11"),
        (b'[{"id":1}] x', "expected the end at byte 11"),
        (b'{"data":[{"id":1}],"data":[]}', "expected data only once at byte 26"),
        (b'{"data":[{"id":1}] 5', "expected a comma or the end of an object at byte 19"),
        (b"\xff\xfe[\x00]\x00", "expected a value at byte 0"),
        (b"<html></html>", "expected a value at byte 0"),
        (b"Service Unavailable", "expected the end at byte 8"),
    ],
)
def test_no_json(document: bytes, message: str) -> None:
    """What is not JSON between its objects is refused, with the place."""
    with pytest.raises(DecodeError) as refused:
        cut(document)
    (problem,) = refused.value.problems
    assert (problem.code, problem.message) == ("json", message)
    assert refused.value.malformed


def test_answers_themselves() -> None:
    """Where answers are meant, each is a piece, in a list or on its own."""
    answer = HEAD + LIST + TAIL
    for document, count in ((answer, 1), (b"[" + answer + b"," + answer + b"]", 2)):
        found = list(pieces([document], open_answers=False))
        assert [piece.raw for piece in found] == [answer] * count


def test_pieces_come_before_the_error() -> None:
    """A truncated stream gives what was whole before it fails."""
    found: list[bytes] = []
    with pytest.raises(DecodeError):
        found.extend(piece.raw for piece in pieces([b'[{"id":1},{"id":2},{"i']))
    assert found == [b'{"id":1}', b'{"id":2}']


@pytest.mark.parametrize("bad", [b'{"id" 1}', b'{"a":1 "b":2}', b"{,}", b'{"a":}', b'{"status":[}}'])
def test_bad_object_in_a_list(bad: bytes) -> None:
    """An object that is not JSON is one piece, as long as its brackets balance, and the others are found."""
    good = b'{"id":1}'
    assert raws(b"[" + good + b"," + bad + b"," + good + b"]") == [good, bad, good]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"id":2', "expected the end of an object or a list at byte 7 of its line"),
        (b'{"id":"2', "expected the end of an object or a list at byte 6 of its line"),
        (b'{"status":"2', "expected the end of an object or a list at byte 10 of its line"),
        (b'{"id":2}}', "expected the end of the line at byte 8 of its line"),
        (b'[{"id":2}', "expected a comma or the end of a list at byte 9 of its line"),
        (b"]", "expected a value at byte 0 of its line"),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_bad_line(bad: bytes, message: str, size: int) -> None:
    """A line that is not JSON is one bad piece, and the lines after it are read."""
    data = b'{"id":1}\n' + bad + b'\n{"id":3}\n' + bad
    found = cut(data, size)
    assert {b'{"id":1}', b'{"id":3}'} <= {piece.raw for piece in found}
    problems = [piece.problem for piece in found if piece.problem]
    assert [(one.code, one.message) for one in problems] == [("json", message)] * 2


def test_too_long() -> None:
    """An object longer than allowed is not kept: it is one piece with a problem, and the others are found."""
    long = b'{"id":"2","name":"' + b"x" * 300 + b'"}'
    for late in (
        b'{"name":"' + b"x" * 300 + b'","id":"2"}',
        b'{"a":1,"name":"' + b"x" * 300 + b'"}',
        b'"' + b"x" * 400 + b'"',
    ):
        for size in (1, 16, 10_000):
            for item in (long, late):
                first, second, third = cut(b'[{"id":"1"},' + item + b',{"id":"3"}]', size, longest=100)
                assert (first.raw, third.raw) == (b'{"id":"1"}', b'{"id":"3"}')
                assert (second.raw, second.offset) == (b"", 12)
                assert second.problem is not None
                assert second.problem.code == "too-long"
                assert second.problem.message == f"expected at most 100 bytes, found {len(item)}"


def test_bounded_memory() -> None:
    """A list is never held: of 10 MB in small objects a fraction is, of one such object the limit."""
    item = encode(samples(v221.Location, 1)[0])
    many = [item + b","] * (10_000_000 // len(item))
    assert peak(iter([b"[", *many, b"{}]"])) < 1_000_000
    one = (b'{"id":"1","x":[', *many, b"{}]}")
    assert peak(iter(one)) < 4 * 1_000_000


def peak(stream: Iterator[bytes]) -> int:
    """The most memory in use while a stream is cut."""
    tracemalloc.start()
    try:
        for _ in pieces(stream, longest=1_000_000):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 1_000_000,
        b'{"data":' * 200_000,
        b'[{"id":' * 200_000,
        b'"' + b"\\" * 3_000_000,
        b'["' + b"x" * 5_000_000,
        b"[" + b"9" * 5_000_000,
        b"[" + b"{" * 1_000_000 + b"}" * 1_000_000 + b"]",
        b"\n" * 3_000_000,
        b"1\n" + b'{"a":\n' * 100_000,
    ],
)
def test_hostile(hostile: bytes) -> None:
    """Nesting without end, texts without end and the like are refused, or cut, in proportionate time."""
    begin = time.perf_counter()
    with suppress(DecodeError):
        cut(hostile, 65_536)
    assert time.perf_counter() - begin < 10
