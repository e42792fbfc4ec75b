from __future__ import annotations

import json
import time
import traceback
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpi_gireve._codec import (
    _documents,
    canonical,
    decode,
    decode_answer,
    decode_items,
    decode_page,
    dump_json,
    encode,
    encode_answer,
    encode_fields,
    field_from_json,
    from_json,
    parse_datetime,
    parse_json,
    read_fields,
    to_json,
)
from ocpi_gireve._codec._fast import LEARN_AFTER, LEARN_AT_MOST, LEARN_FROM, Reader, compiled_of
from ocpi_gireve._codec._salvage import items_one_by_one
from ocpi_gireve._model import NO_EXTRA, Extra, Model, replaced, spec_of
from ocpi_gireve.errors import DecodeError, Problem
from ocpi_gireve.pagination import Rejected
from ocpi_gireve.types import Json
from ocpi_gireve.v221 import (
    EVSE,
    BusinessDetails,
    Connector,
    DisplayText,
    EnergyMix,
    EnergySource,
    Image,
    Location,
    Price,
    ResponseFormat,
    Session,
    Status,
    StatusSchedule,
    Token,
    VersionNumber,
)
from tests.documents import MODELS, Maker, Members, Node

TEXT = b'{"language":"en","text":"%s"}'
GOOD = b'{"language":"en","text":"Hello"}'
HELLO = DisplayText(language="en", text="Hello")


def problems(data: bytes, cls: type[object]) -> list[tuple[str, str, str]]:
    """What is wrong with a document."""
    with pytest.raises(DecodeError) as refusal:
        decode(data, cls)
    return [(one.pointer, one.code, one.message) for one in refusal.value.problems]


# --- what is not acceptable JSON -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "json"),
        (b" ", "json"),
        (b"{", "json"),
        (GOOD + b"x", "json"),
        (GOOD[:-1] + b",}", "json"),
        (b"\xef\xbb\xbf" + GOOD, "json"),
        (GOOD.decode().encode("utf-16"), "encoding"),
        (TEXT % b"\xff", "encoding"),
        (TEXT % b"\xed\xa0\x80", "encoding"),
        (TEXT % b"\\ud800", "surrogate"),
        (TEXT % b"\\ude00\\ud83d", "surrogate"),
        (b'{"language":"en","text":"x","\\ud800":1}', "surrogate"),
        (TEXT % b"\n", "json"),
        (TEXT % b"\\x", "json"),
        (b'{"language":"en","text":"a","text":"b"}', "duplicate-key"),
        (b'{"language":"en","text" :"a","text":"b"}', "duplicate-key"),
        (b'{"language":"en","text"\n:"a","t\\u0065xt" :"b"}', "duplicate-key"),
        (b'{"language":"en","text":"\\":","text" :"b"}', "duplicate-key"),
        (b'{"language":"en","text":"a","x":{"y":1,"y":2}}', "duplicate-key"),
        (b'{"language":"en","text":"a","x:y":1,"x:y":2}', "duplicate-key"),
        (b'{"language":"en","text":"a","x,y":1,"x,y":2}', "duplicate-key"),
        (b'{"language":"en","text":"a","":1,"":2}', "duplicate-key"),
        (b'{"language":"en","text":"a","x":NaN}', "number"),
        (b'{"language":"en","text":"a","x":-Infinity}', "number"),
        (b'{"language":"en","text":"a","x":1e999999999}', "number"),
        (b'{"language":"en","text":"a","x":1e99999999999999999999}', "number"),
        (b'{"language":"en","text":"a","x":1e-31}', "number"),
        (b'{"language":"en","text":"a","x":' + b"9" * 65 + b"}", "number"),
        (b'{"language":"en","text":"a","x":' + b"9" * 5000 + b"}", "number"),
        (b'{"language":"en","text":"a","x":' + b"[" * 32 + b"]" * 32 + b"}", "depth"),
        (b'{"language":"en","text":"a","x":' + b"[" * 10**6 + b"]" * 10**6 + b"}", "depth"),
        (b"[" * 10**6, "depth"),
        (b'{"x":' * 10**5, "depth"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_malformed(data: bytes, code: str) -> None:
    """What is not JSON, or JSON that is not accepted, is refused as a whole, by every function, in time."""
    start = time.process_time()
    ways: list[Callable[[bytes], object]] = [
        lambda data: decode(data, DisplayText),
        lambda data: decode(data, ResponseFormat),
        lambda data: decode(data, Status),
        parse_json,
    ]
    for way in ways:
        with pytest.raises(DecodeError) as refusal:
            way(data)
        (problem,) = refusal.value.problems
        assert (problem.pointer, problem.code) == ("", code)
        assert refusal.value.malformed
    assert time.process_time() - start < 5


def test_limits_are_not_narrow() -> None:
    """31 levels, 64 digits, 30 zeros, an emoji in escapes, a thousand decimals: all that is accepted."""
    extra = b'{"a":%s,"b":%s,"c":1e30,"d":1E-30,"e":"\\ud83d\\ude00","f":-0.0,"g":[{}],"h":%s}'
    data = GOOD[:-1] + b',"x":' + extra % (b"[" * 30 + b"]" * 30, b"9" * 64, b"1." + b"0" * 1000) + b"}"
    one = decode(data, DisplayText)
    found = one.extra["x"]
    assert isinstance(found, dict)
    assert found["b"] == int("9" * 64)
    assert [found["c"], found["d"]] == [Decimal("1e30"), Decimal("1e-30")]
    assert found["e"] == "😀"
    assert decode(encode(one), DisplayText) == one


@pytest.mark.parametrize("data", ["{}", bytearray(GOOD), memoryview(GOOD), None])
def test_bytes_only(data: bytes) -> None:
    """Anything but bytes is the caller's mistake, and named."""
    ways: list[Callable[[bytes], object]] = [
        lambda data: decode(data, DisplayText),
        lambda data: decode(data, list[DisplayText]),
        lambda data: decode_page(data, DisplayText),
        lambda data: list(decode_items(data, DisplayText)),
        decode_answer,
        parse_json,
    ]
    for way in ways:
        with pytest.raises(TypeError, match=f"expected bytes, not {type(data).__name__}"):
            way(data)


def test_other_classes_are_refused() -> None:
    """Only models and enums of OCPI are decoded."""
    with pytest.raises(TypeError, match="expected a model or an enum of OCPI, not int"):
        decode(b"1", int)


# --- what is tolerated, and what is not ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29T10:20:30Z", datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC)),
        ("2024-02-29T10:20:30", datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC)),
        ("2024-02-29t10:20:30.5z", datetime(2024, 2, 29, 10, 20, 30, 500000, tzinfo=UTC)),
        ("2024-02-29 10:20:30", datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC)),
        ("2024-02-29T10:20:30.1234567Z", datetime(2024, 2, 29, 10, 20, 30, 123457, tzinfo=UTC)),
        ("2024-02-29T10:20:30,25Z", datetime(2024, 2, 29, 10, 20, 30, 250000, tzinfo=UTC)),
        ("2024-02-29T10:20:30+02:00", datetime(2024, 2, 29, 8, 20, 30, tzinfo=UTC)),
        ("2024-02-29T10:20:30-0530", datetime(2024, 2, 29, 15, 50, 30, tzinfo=UTC)),
        ("2024-02-29T10:20:30+02", datetime(2024, 2, 29, 8, 20, 30, tzinfo=UTC)),
        ("2024-02-29T10:20Z", datetime(2024, 2, 29, 10, 20, tzinfo=UTC)),
        (" 2024-2-9T1:20:30 Z ", datetime(2024, 2, 9, 1, 20, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_datetime(text: str, moment: datetime) -> None:
    """Dates are read as partners write them; without a designator they are UTC. (types, DateTime)"""
    assert parse_datetime(text) == moment
    assert parse_datetime(text).tzinfo is UTC
    one = decode(b'{"status":"AVAILABLE","period_begin":%s}' % json.dumps(text).encode(), StatusSchedule)
    assert one.period_begin == moment
    assert one.period_begin.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-02-29",
        "2024-02-30T10:20:30Z",
        "2024-02-29T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T23:59:59.9999999Z",
        "2024-02-29T10:20:30+24:00",
        "2024-02-29T10:20:30.Z",
        "٢٠٢٤-02-29T10:20:30Z",
        "29.02.2024",
    ],
)
def test_no_datetime(text: str) -> None:
    """What names no moment within the years 1 to 9999 is refused, without repeating it."""
    with pytest.raises(ValueError, match="expected a date and time") as refusal:
        parse_datetime(text)
    assert not text or text not in str(refusal.value)
    data = b'{"status":"AVAILABLE","period_begin":%s}' % json.dumps(text).encode()
    ((pointer, code, _),) = problems(data, StatusSchedule)
    assert (pointer, code) == ("/period_begin", "datetime")


def test_long_fraction_is_read_in_time() -> None:
    """A fraction of a million digits costs no more than its length."""
    start = time.process_time()
    assert parse_datetime("2024-02-29T10:20:30." + "1" * 10**6 + "Z").microsecond == 111111
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("token", "number"),
    [
        ("1.50", "1.50"),
        ("3", "3"),
        ("1e3", "1E+3"),
        ('"12.5"', "12.5"),
        ('" 12 "', "12"),
        ("0", "0"),
        ("0.10000000000000000001", "0.10000000000000000001"),
    ],
)
def test_number(token: str, number: str) -> None:
    """A number keeps its digits; one in quotes is read too."""
    assert str(decode(b'{"excl_vat":%s}' % token.encode(), Price).excl_vat) == number


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ('"NaN"', "type"),
        ('"-Infinity"', "type"),
        ('"1e31"', "type"),
        ('"twelve"', "type"),
        ('""', "type"),
        ("1" * 32, "number"),
        ("true", "type"),
        ("[]", "type"),
        ("{}", "type"),
    ],
)
def test_no_number(token: str, code: str) -> None:
    """What is no finite number of ordinary size is refused."""
    assert [one[:2] for one in problems(b'{"excl_vat":%s}' % token.encode(), Price)] == [("/excl_vat", code)]


def test_types_that_partners_mix_up() -> None:
    """Numbers in quotes, numbers for texts, integers with a point: read as what they mean."""
    image = decode(b'{"url":5,"category":"OTHER","type":"png","width":"640","height":480.0}', Image)
    assert (image.url, image.width, image.height) == ("5", 640, 480)
    assert decode(b'{"is_green_energy":"True"}', EnergyMix).is_green_energy is True


def test_empty_texts() -> None:
    """An empty text is a text; for any other optional field it is as good as absent."""
    one = decode(
        b'{"url":"","category":"OTHER","type":"","width":"","thumbnail":""}',
        Image,
    )
    assert (one.url, one.type, one.width, one.thumbnail) == ("", "", None, "")
    details = decode(b'{"name":"A","logo":""}', BusinessDetails)
    assert details.logo is None
    place = json.loads(Maker(Random(0)).document(Location))
    place |= {"parking_type": "", "evses": "", "opening_times": ""}
    read = decode(json.dumps(place).encode(), Location)
    assert (read.parking_type, read.evses, read.opening_times) == (None, [], None)


def test_null_is_absent() -> None:
    """Null and absent are the same, for lists too; what is absent is left out again."""
    raw = b'{"excl_vat":1,"incl_vat":null}'
    assert decode(raw, Price) == Price(excl_vat=Decimal(1))
    assert encode(decode(raw, Price)) == b'{"excl_vat":1}'


def test_what_breaks_the_rules_is_read() -> None:
    """Over-long texts, unknown values and empty mandatory lists are kept as they came."""
    evse: dict[str, object] = {
        "uid": "é" * 99,
        "status": "NEW",
        "connectors": [],
        "last_updated": "2024-02-29T10:20:30",
    }
    one = decode(json.dumps(evse).encode(), EVSE)
    assert (one.uid, one.status, one.connectors) == ("é" * 99, "NEW", [])
    assert json.loads(encode(one)) == {**evse, "last_updated": "2024-02-29T10:20:30Z"}


def test_all_problems_have_pointers() -> None:
    """Every problem of a document is reported, at its place."""
    connector = {"id": "1", "standard": 5, "format": "", "power_type": None, "max_voltage": "x"}
    data = {
        "uid": ["1"],
        "status": {},
        "connectors": [connector, None, "x"],
        "coordinates": [],
        "images": {"a/b~c": 1},
        "last_updated": 1709202030,
    }
    assert problems(json.dumps(data).encode(), EVSE) == [
        ("/uid", "type", "expected a string, found a list"),
        ("/status", "type", "expected a string, found an object"),
        ("/connectors/0/format", "type", "expected a ConnectorFormat, found an empty string"),
        ("/connectors/0/power_type", "missing", "expected a PowerType"),
        ("/connectors/0/max_voltage", "type", "expected an integer, found a string"),
        ("/connectors/0/max_amperage", "missing", "expected an int"),
        ("/connectors/0/last_updated", "missing", "expected a DateTime"),
        ("/connectors/1", "type", "expected an object, found null"),
        ("/connectors/2", "type", "expected an object, found a string"),
        ("/coordinates", "type", "expected an object, found a list"),
        ("/images", "type", "expected a list, found an object"),
        ("/last_updated", "type", "expected a date and time, found a number"),
    ]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"null", "null"),
        (b"[]", "a list"),
        (b'""', "an empty string"),
        (b"1.5", "a number"),
        (b"true", "a boolean"),
    ],
)
def test_object_wanted(data: bytes, found: str) -> None:
    """Another JSON value is no object."""
    assert problems(data, Token) == [("", "type", f"expected an object, found {found}")]


def canaries(node: Node) -> Node:
    """Write a canary into every text of a document, and break it."""
    if isinstance(node, str):
        return '["canary"]' if node.startswith('"') else '{"canary":"canary"}'
    if isinstance(node, Members):
        return Members((name, canaries(value)) for name, value in node)
    return list(map(canaries, node))


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("end", ["", "canary", ',"canary":"canary","canary":1}'])
def test_errors_hold_no_values(cls: type[Model], end: str) -> None:
    """No error text, repr or traceback shows what a partner wrote, whatever is wrong with it."""
    maker = Maker(Random(3), unknown=0.3)
    data = (maker.written(canaries(maker.members(cls))).rstrip("}") + (end or "}")).encode()
    with pytest.raises(DecodeError) as refusal:
        decode(data, cls)
    error = refusal.value
    shown = f"{error} {error!r} {error.problems}" + "".join(traceback.format_exception(error))
    assert "canary" not in shown
    assert error.__cause__ is None
    assert error.__context__ is None


# --- what the specification does not define ------------------------------------------------------------

INTERNAL = (
    "extra",
    "__class__",
    "_x",
    "__init__",
    "__dict__",
    "__slots__",
    "learned_0",
    "self",
    "UNSET",
    "v",
    "",
)


@pytest.mark.parametrize("name", INTERNAL)
def test_names_of_ours_are_just_names(name: str) -> None:
    """A property named like something of ours lands in `extra`, however often, and goes out again."""
    data = json.dumps({"language": "en", "text": "Hello", name: {"language": 1}}).encode()
    for _ in range(2 * LEARN_AFTER):
        one = decode(data, DisplayText)
        assert type(one) is DisplayText
        assert one == attrs.evolve(HELLO, extra={name: {"language": 1}})
        assert json.loads(encode(one)) == json.loads(data)


def test_extra_is_kept_at_every_level() -> None:
    """What a partner adds stays where it stood, null and exact numbers included."""
    data = b'{"name":"A","x":null,"logo":{"url":"u","category":"OTHER","type":"png","y":[1.10,{"z":{}}]}}'
    one = decode(data, BusinessDetails)
    assert one.logo is not None
    assert one.extra == {"x": None}
    assert one.logo.extra == {"y": [Decimal("1.10"), {"z": {}}]}
    assert type(one.extra) is Extra
    assert json.loads(encode(one)) == json.loads(data)
    assert b"1.10" in encode(one)
    assert decode(b'{"name":"A"}', BusinessDetails).extra is NO_EXTRA


def test_a_field_wins_over_extra() -> None:
    """A name in `extra` that is a field's own is not written twice."""
    assert encode(replaced(HELLO, {"extra": Extra({"text": "canary", "x": 1})})) == (
        b'{"language":"en","text":"Hello","x":1}'
    )


def test_learning_is_bounded() -> None:
    """However many names partners invent, few are learned, and reading stays right."""
    for index in range(2000):
        name = f"n{index // 2}"
        data = json.dumps({"name": "A", name: index}).encode()
        assert decode(data, BusinessDetails).extra == {name: index}
    for index in range(LEARN_AFTER * (LEARN_AT_MOST + 5)):
        name = f"often_{index // LEARN_AFTER}"
        data = json.dumps({"name": "A", name: index}).encode()
        assert decode(data, BusinessDetails).extra == {name: index}
    assert len(compiled_of(BusinessDetails).learned) == LEARN_AT_MOST
    data = json.dumps({"name": "A", "often_1": 1, "often_0": [0], "rare": 2}).encode()
    assert decode(data, BusinessDetails).extra == {"often_1": 1, "often_0": [0], "rare": 2}


def test_learned_names_take_the_first_way() -> None:
    """A property that a partner sends again and again costs a second look only at first."""
    data = b'{"status":"AVAILABLE","period_begin":"2024-02-29T10:20:30Z","x_learned":{"a":[1,2]}}'
    assert Reader(StatusSchedule).read_closed(data) is None
    for _ in range(LEARN_AFTER):
        decode(data, StatusSchedule)
    one = Reader(StatusSchedule).read_closed(data)
    assert one is not None
    assert one.extra == {"x_learned": {"a": [1, 2]}}
    assert Reader(StatusSchedule).read_closed(data.replace(b"[1,2]", b"[" * 40 + b"]" * 40)) is None


def test_names_that_are_ever_new_are_not_learned() -> None:
    """A page whose every item has a name of its own teaches nothing, however often it is read."""
    items: list[Json] = [
        {"source": "WIND", "percentage": 1, f"own_{index}": index} for index in range(2 * LEARN_FROM)
    ]
    page = dump_json({"data": items, "status_code": 1000})
    for _ in range(2 * LEARN_AFTER):
        read = decode_page(page, EnergySource).items
        assert [dict(one.extra) for one in read] == [{f"own_{index}": index} for index in range(len(items))]
    assert not [name for name in compiled_of(EnergySource).learned if name.startswith("own_")]


def test_names_that_recur_are_learned_among_others() -> None:
    """A name that every other object has is learned, although all others are new each time."""
    new_to_all = type(compiled_of(EnergySource))(EnergySource)
    for index in range(4 * LEARN_AFTER):
        new_to_all.saw("x_common")
        new_to_all.saw(f"own_{index}")
    assert new_to_all.learned == ["x_common"]


@pytest.mark.parametrize("more", [b"", b',"x_again":1'])
def test_text_of_neighbours_is_held_once(more: bytes) -> None:
    """A text that repeats from item to item takes memory once; one that differs is the item's own."""
    texts = b",".join(b'{"language":"fr","text":"Gare %d"%s}' % (one, more) for one in (1, 2, 2))
    data = (
        b'{"uid":"1","status":"AVAILABLE","connectors":[],"directions":[%s],'
        b'"last_updated":"2024-02-29T10:20:30Z"}' % texts
    )
    first, second, third = decode(data, EVSE).directions
    assert [one.text for one in (first, second, third)] == ["Gare 1", "Gare 2", "Gare 2"]
    assert second.text is third.text
    assert first.language is second.language is third.language
    assert first.language == "fr"


def test_threads_may_read_while_names_are_learned() -> None:
    """What is learned in one thread disturbs no other."""
    names = [f"thread_{index % 40}" for index in range(2000)]

    def read(name: str) -> Json:
        data = b'{"name":"A","logo":{"url":"u","category":"OTHER","type":"png","%s":1}}' % name.encode()
        logo = decode(data, BusinessDetails).logo
        return None if logo is None else dict(logo.extra)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, names)) == [{name: 1} for name in names]


# --- documents -----------------------------------------------------------------------------------------


def test_list() -> None:
    """A list of objects is read; its problems are told for all items, with their places."""
    assert decode(b"[%s,\n%s ]" % (GOOD, GOOD), list[DisplayText]) == [HELLO, HELLO]
    assert decode(b"[]", list[DisplayText]) == []
    assert problems(b'[{"text":"a"},%s,5]' % GOOD, list[DisplayText]) == [
        ("/0/language", "missing", "expected a string"),
        ("/2", "type", "expected an object, found a number"),
    ]
    assert problems(b"{}", list[DisplayText]) == [("", "type", "expected a list, found an object")]
    assert problems(b"[%s" % GOOD, list[DisplayText])[0][1] == "json"


def test_enum() -> None:
    """A document may be one value of an enum."""
    assert decode(b'"2.2.1"', VersionNumber) is VersionNumber.V2_2_1
    assert decode(b'"NEW"', Status) == "NEW"
    assert decode(b'["AVAILABLE"]', list[Status]) == [Status.AVAILABLE]
    assert problems(b'""', Status) == [("", "type", "expected a Status, found an empty string")]
    assert problems(b"[]", Status) == [("", "type", "expected a string, found a list")]


def test_items_come_one_by_one() -> None:
    """A list is read lazily, and what cannot be read comes as it was, in its place."""
    items = decode_items(b"[%s,{},%s]" % (GOOD, GOOD), DisplayText)
    assert next(iter(items)) == HELLO
    _, rejected, last = decode_items(b"[%s,{},%s]" % (GOOD, GOOD), DisplayText)
    assert isinstance(rejected, Rejected)
    assert (rejected.index, rejected.raw) == (1, b"{}")
    assert [one.pointer for one in rejected.problems] == ["/language", "/text"]
    assert last == HELLO
    with pytest.raises(DecodeError):
        list(decode_items(b"{}", DisplayText))


ENVELOPES = [
    b'{"data":[%s],"status_code":1000,"timestamp":"2024-02-29T10:20:30Z"}',
    b'{"data": [%s], "status_code": 1000, "status_message": null, "x": {"data": 1}}',
    b'{ "status_code" : "1000" , "status_message" : "OK" , "data" : [ %s ] }',
    b'{"x":[%s],"status_code":1000,"data":[]}',
]


@pytest.mark.parametrize("envelope", ENVELOPES[:3])
@pytest.mark.parametrize("separator", [b",", b", ", b" ,\n"])
@pytest.mark.parametrize("text", [b"Hello", b"x" * 2000, b'a\\", b: [{'])
@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b'{"text":"\\ud800"}',
        b'{"text":NaN}',
        b'{"text":"a\nb"}',
        b'{"x":1e999}',
        b"[" * 40 + b"]" * 40,
    ],
)
def test_page(envelope: bytes, separator: bytes, text: bytes, bad: bytes) -> None:
    """A page is read item by item: whatever one item holds, the others arrive."""
    items = [TEXT % text] * 3 + ([bad] if bad else [])
    page = decode_page(envelope % separator.join(items), DisplayText)
    assert (
        page.items == [DisplayText(language="en", text=json.loads(b'"%s"' % text))] * 3
        if len(text) < 512
        else True
    )
    assert len(page.items) == 3
    assert [(one.index, one.raw) for one in page.rejected] == ([(3, bad)] if bad else [])
    assert all(one.problems for one in page.rejected)
    assert page.total is None


def test_page_after_a_bad_one() -> None:
    """Reading a page in one go is given up when an item was bad, and taken up again; nobody notices."""
    good = ENVELOPES[0] % b",".join([GOOD] * 3)
    bad = ENVELOPES[0] % b",".join([GOOD, b"{}", GOOD])
    for data, rejected in ((good, 0), (bad, 1), (bad, 1), (good, 0), (good, 0)):
        page = decode_page(data, DisplayText)
        assert len(page.items) == 3 - rejected
        assert len(page.rejected) == rejected
        assert compiled_of(DisplayText).whole_pages is not bool(rejected)


def test_empty_page() -> None:
    """A page may be empty, whatever else reads like its items."""
    for envelope in ENVELOPES[:3]:
        assert decode_page(envelope % b"", DisplayText).items == []
    page = decode_page(ENVELOPES[3] % b",".join([TEXT % (b"x" * 2000)] * 3), DisplayText)
    assert (page.items, page.rejected) == ([], ())


@pytest.mark.parametrize(
    ("data", "pointer", "code"),
    [
        (b"[]", "", "type"),
        (b"<html>", "", "json"),
        (b'{"data":[]}', "/status_code", "type"),
        (b'{"data":[],"status_code":"x"}', "/status_code", "type"),
        (b'{"status_code":2001}', "/data", "missing"),
        (b'{"status_code":2001,"data":null}', "/data", "missing"),
        (b'{"status_code":1000,"data":{}}', "", "type"),
        (b'{"status_code":1000,"data":[],"data":[]}', "", "duplicate-key"),
        (b'{"status_code":1000,"data":[%s],"data":[%s]}' % (GOOD, GOOD), "", "duplicate-key"),
        (
            b'{"status_code":1000,"status_code":2000,"data":[%s]}' % (TEXT % (b"x" * 2000)),
            "",
            "duplicate-key",
        ),
        (b'{"status_code":1000,"data":[NaN],"data":[NaN]}', "", "duplicate-key"),
        (b'{"status_code":1000,"data":[%s' % GOOD, "", "json"),
        (b'{"status_code":1000,"data":NaN}', "", "number"),
        (b'{"data":NaN,1:2}', "", "number"),
        (b'{1:2,"data":NaN}', "", "json"),
        (b'{"data":[NaN,"\xff"]}', "", "encoding"),
        (b"{}", "/status_code", "type"),
        (b"", "", "json"),
    ],
)
def test_no_page(data: bytes, pointer: str, code: str) -> None:
    """What is no envelope with a list is refused."""
    with pytest.raises(DecodeError) as refusal:
        decode_page(data, DisplayText)
    assert [(one.pointer, one.code) for one in refusal.value.problems] == [(pointer, code)]


def test_envelope_is_not_taken_apart_wrongly() -> None:
    """Parts of an answer that read like its payload are not mistaken for it."""
    item = TEXT % (b"x" * 1500)
    listed = b"[%s,%s]" % (item, item)
    first_twice = b'{"data":%s,"status_code":1000,"data":%s}' % (listed, listed)
    with pytest.raises(DecodeError, match="each property once"):
        decode_page(first_twice, DisplayText)
    with pytest.raises(DecodeError, match="each property once"):
        decode_answer(first_twice)
    for before in (
        b'"x":%s' % listed,
        b'"x":[1,%s,%s]' % (item, item),
        b'"x":%s' % json.dumps(listed.decode()).encode(),
    ):
        data = b'{%s,"status_code":1000,"data":%s}' % (before, listed)
        assert len(decode_page(data, DisplayText).items) == 2
        answer = decode_answer(data)
        assert (answer.status_code, answer.data) == (1000, listed)


@pytest.mark.parametrize(
    ("data", "code", "message", "payload"),
    [
        (b'{"status_code":1000,"data":{"a":1}}', 1000, "", b'{"a":1}'),
        (b'{"status_code":1000,"status_message":"OK","data":"x"}', 1000, "OK", b'"x"'),
        (b'{"status_code":2001.0,"status_message":5}', 2001, "", None),
        (b'{"status_code":1000,"data":null}', 1000, "", None),
        (b'{"status_code":1000,"status_message":"[]","data":[]}', 1000, "[]", b"[]"),
        (b'{"status_code":"3000","data":{"a":NaN}}', 3000, "", b'{"a":NaN}'),
    ],
)
def test_answer(data: bytes, code: int, message: str, payload: bytes | None) -> None:
    """An answer is opened without looking into its payload."""
    answer = decode_answer(data)
    assert (answer.status_code, answer.status_message, answer.data) == (code, message, payload)


# --- parts, and writing --------------------------------------------------------------------------------


def test_one_field() -> None:
    """A field alone is read like in its object, with pointers that start at it."""
    spec = spec_of(EVSE, "connectors")
    assert field_from_json(EVSE, spec, None) is None
    assert field_from_json(EVSE, spec_of(EVSE, "status"), "NEW") == Status("NEW")
    with pytest.raises(DecodeError) as refusal:
        field_from_json(EVSE, spec, [5])
    assert refusal.value.problems == (Problem("/connectors/0", "type", "expected an object, found a number"),)


def test_plain_values() -> None:
    """An object is made of plain values, and plain values of an object; moments are text there."""
    values: Json = {"status": "AVAILABLE", "period_begin": "2024-02-29T10:20:30.500Z", "x": Decimal("1.10")}
    one = from_json(values, StatusSchedule)
    assert to_json(one) == {
        "period_begin": "2024-02-29T10:20:30.500Z",
        "status": "AVAILABLE",
        "x": Decimal("1.10"),
    }
    assert to_json([HELLO, None]) == [{"language": "en", "text": "Hello"}, None]
    assert dump_json(values).endswith(b'"x":1.10}')
    with pytest.raises(DecodeError):
        from_json({}, StatusSchedule)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC), b"2024-02-29T10:20:30Z"),
        (datetime(2024, 2, 29, 10, 20, 30, 123999, tzinfo=UTC), b"2024-02-29T10:20:30.123Z"),
        (datetime(2024, 2, 29, 10, 20, 30, 1, tzinfo=UTC), b"2024-02-29T10:20:30Z"),
        (datetime(1, 1, 1, 0, 0, 0, 5000, tzinfo=UTC), b"0001-01-01T00:00:00.005Z"),
    ],
)
def test_moments_fit_the_wire(moment: datetime, text: bytes) -> None:
    """Moments are written in UTC with at most milliseconds: OCPI has room for 25 characters."""
    one = StatusSchedule(period_begin=moment, status=Status.AVAILABLE)
    assert encode(one) == b'{"period_begin":"%s","status":"AVAILABLE"}' % text
    assert encode(moment) == b'"%s"' % text
    assert encode(attrs.evolve(one, extra={"x": 1})).startswith(b'{"period_begin":"%s"' % text)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 21, 105])
def test_list_of_any_length_is_written(count: int) -> None:
    """A list is written as one list of all its items in order, however long; a tuple likewise."""
    items = [DisplayText(language="en", text=f"[{index}],") for index in range(count)]
    written = b"[" + b",".join(map(encode, items)) + b"]"
    assert encode(items) == encode(tuple(items)) == written
    assert decode(written, list[DisplayText]) == items


def test_order_is_the_specifications() -> None:
    """Fields are written in the order of the tables, and what stands beside them after, by name."""
    data = b'{"zz":1,"type":"png","aa":{},"url":"u","category":"OTHER"}'
    written = b'{"url":"u","category":"OTHER","type":"png","aa":{},"zz":1}'
    for _ in range(2 * LEARN_AFTER):
        assert encode(decode(data, Image)) == written


def test_encode_other_values() -> None:
    """Lists, tuples and plain values are written too."""
    assert encode([HELLO, HELLO]) == b"[%s,%s]" % (GOOD, GOOD)
    assert encode((HELLO,)) == b"[%s]" % GOOD
    assert encode(None) == b"null"
    assert encode(Status.AVAILABLE) == b'"AVAILABLE"'
    assert encode(Decimal("1.10")) == b"1.10"


def test_some_fields() -> None:
    """Some fields of an object are written in the order of its table, null for what is removed."""
    values: dict[str, object] = {
        "x": 1,
        "tariff_ids": [],
        "last_updated": datetime(2024, 2, 29, tzinfo=UTC),
        "id": None,
    }
    assert encode_fields(Connector, values) == (
        b'{"id":null,"tariff_ids":[],"last_updated":"2024-02-29T00:00:00Z","x":1}'
    )


@pytest.mark.parametrize(
    ("data", "message", "empty", "written"),
    [
        (HELLO, "", None, b'{"data":%s,"status_code":1000,"timestamp":"T"}' % GOOD),
        (
            [HELLO],
            "OK",
            None,
            b'{"data":[%s],"status_code":1000,"status_message":"OK","timestamp":"T"}' % GOOD,
        ),
        (None, "", None, b'{"status_code":1000,"timestamp":"T"}'),
        (None, "", b"{}", b'{"data":{},"status_code":1000,"timestamp":"T"}'),
        ([], "", b"{}", b'{"data":[],"status_code":1000,"timestamp":"T"}'),
    ],
)
def test_answer_is_written(data: object, message: str, empty: bytes | None, written: bytes) -> None:
    """The envelope holds the payload, or what stands for none, and the status."""
    assert encode_answer(data, 1000, message, "T", empty=empty) == written


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a":1,"b":{"d":2,"c":3}}', b' {"b": {"c": 3, "d": 2}, "a": 1} ', True),
        (b"12.5", b"12.500", True),
        (b"12", b"12.0", True),
        (b"100", b"1e2", True),
        (b"0", b"-0.0", True),
        (b"0.1", b"0.1000000000000000055511151231257827", False),
        (b"123456789012345678901234567890", b"123456789012345678901234567891", False),
        (b"[1,2]", b"[2,1]", False),
        (b'"1"', b"1", False),
        (b"true", b"1", False),
        (b'{"a":null}', b"{}", False),
        (b'"\\u00e9"', '"é"'.encode(), True),
    ],
)
def test_canonical(one: bytes, other: bytes, same: bool) -> None:
    """Texts that say the same have one spelling: names sorted, numbers by their value."""
    assert (canonical(one) == canonical(other)) is same
    assert canonical(canonical(one)) == canonical(one)


# --- long answers --------------------------------------------------------------------------------------

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(st.sampled_from('a[]{},:"\\é'), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", ']"']), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(st.lists(VALUE, max_size=5), st.sampled_from([",", " , ", "\n,"]), st.sampled_from(["", " "]))
def test_items_of_a_long_list(values: list[Json], comma: str, blank: str) -> None:
    """A list that is cut by its brackets has the items that it has when it is read."""
    texts = [json.dumps(value).encode() for value in values]
    data = f"{blank}[{blank}{comma.join(text.decode() for text in texts)}{blank}]{blank}".encode()
    assert list(items_one_by_one(data)) == texts


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[", b"[1", b'["a', b'[["a]', b"[1]]", b"[1] 2", b"[}", b"[{]}", b"[[1]", b"1,2"]
)
def test_long_text_that_is_no_list(data: bytes) -> None:
    """What does not begin and end as a list is none."""
    with pytest.raises(ValueError, match=r"^$"):
        list(items_one_by_one(data))


ODD_ITEMS = [GOOD, b"NaN", TEXT % b"\xf0\x9f", b"7", b"", TEXT % b"a]b", b'{"language":"en","text":"a\nb"}']
TAILS = [
    b'],"status_code":1000}',
    b'] , "status_message":"a]b\\"]", "status_code":1000 }',
    b'],"more":{"a":1},"status_code":1000}',
]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("head", [b'{"data":[', b'{"timestamp":"[","x":1, "data" : ['])
@pytest.mark.parametrize("odd", ODD_ITEMS)
def test_long_answers(head: bytes, tail: bytes, odd: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long answer is read as a short one is, odd items included; what spoils a short one may cost less."""
    data = head + b", ".join([GOOD, odd, GOOD]) + tail
    short = _read(data)
    monkeypatch.setattr(_documents, "LONG", 0)
    long = _read(data)
    assert long == short or short is None
    if odd is not ODD_ITEMS[2]:  # halves of characters are in no text that is read
        assert long is not None
        assert long[0] == long[2] == HELLO


def test_list_beside_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An envelope with another list after a long payload that is not JSON is refused, and not misread."""
    monkeypatch.setattr(_documents, "LONG", 0)
    answer = decode_answer(b'{"data":[%s,NaN],"x":[%s],"status_code":1000}' % (GOOD, GOOD))
    assert answer.data is not None
    items = iter(decode_items(answer.data, DisplayText))
    assert next(items) == HELLO
    with pytest.raises(DecodeError, match="ends where the text does"):
        list(items)


def _read(data: bytes) -> list[object] | None:
    """The items of an answer, odd ones as they came; None where it is not read at all."""
    try:
        answer = decode_answer(data)
        assert answer.data is not None
        items = list(decode_items(answer.data, DisplayText))
    except DecodeError:
        return None
    return [(one.index, one.raw) if isinstance(one, Rejected) else one for one in items]


@pytest.mark.parametrize(
    "data",
    [b"NaN", b'{"data":NaN}', b'{"data":[NaN]', b'{"data":[NaN],"data":[]}', b'{"x":[NaN],"data":[]}'],
)
def test_long_answer_that_is_none(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text that is no answer is refused."""
    monkeypatch.setattr(_documents, "LONG", 0)
    with pytest.raises(DecodeError):
        decode_answer(data)


def test_list_that_stops_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The items before the end of a long list that is cut off arrive; then it is said."""
    monkeypatch.setattr(_documents, "LONG", 0)
    items = iter(decode_items(b"[%s,%s" % (GOOD, GOOD), DisplayText))
    assert next(items) == HELLO
    with pytest.raises(DecodeError, match="ends where the text does"):
        next(items)


def test_too_many_items() -> None:
    """Of the items of an answer, so many are read as no page has; then it is refused."""
    data = b"[" + b",".join([b"1"] * (_documents.MAX_ITEMS + 1)) + b"]"
    with pytest.raises(DecodeError) as caught:
        list(decode_items(data, DisplayText))
    assert caught.value.problems[0].code == "max-items"


def test_item_that_is_too_long() -> None:
    """An item that is longer than what a server takes is rejected unread, and the others arrive."""
    data = b"[%s,%s]" % (TEXT % (b"x" * _documents.LONGEST_ITEM), GOOD)
    rejected, good = decode_items(data, DisplayText)
    assert isinstance(rejected, Rejected)
    assert rejected.problems[0].code == "max-length"
    assert good == HELLO


def test_long_list_takes_no_room() -> None:
    """To read the first of millions of tiny items takes no more memory than a part of their text."""
    data = b"[" + b",".join([b"1"] * 3_000_000) + b"]"
    items = iter(decode_items(data, DisplayText))
    next(items)  # what is loaded at first use
    tracemalloc.start()
    try:
        for _ in range(1000):
            next(items)
        assert tracemalloc.get_traced_memory()[1] < len(data) / 4
    finally:
        tracemalloc.stop()


NAMES = st.sampled_from(
    ["uid", "status", "status_\\u0061", "last_updated", "capabilities", "images", "floor_level", "x"]
)
COLONS = st.sampled_from([":", ": ", " :"])
TEXTS = ['"x"', '"CHARGING"', '"NEWER"', '" x"', '"a\\":1"', '"\\u00e9"', '["RFID_READER","OTHER"]', "[]"]
DATES = ['"2026-11-01T12:00:00Z"', '"2026-11-01T12:00:00"', '"2026-11-01T12:00:00.123+02:00"', '"2026-11-01"']
VALUES = st.sampled_from([*TEXTS, *DATES, "1", "-0", "1.5", "1e5", "null", "true", "[1]", '{"a":1}', "NaN"])
MEMBERS = st.tuples(NAMES, COLONS, VALUES).map(lambda parts: f'"{parts[0]}"{parts[1]}{parts[2]}')


@given(st.lists(MEMBERS, max_size=4), st.sampled_from([",", ", ", " ,", ",,"]))
def test_fields_read_at_once(members: list[str], comma: str) -> None:
    """Fields that are read in one go are what they are one by one, or they are not read so."""
    data = f"{{{comma.join(members)}}}".encode()
    found = read_fields(data, EVSE)
    if found is not None:
        value = parse_json(data)
        assert isinstance(value, dict)
        one_by_one = {name: field_from_json(EVSE, spec_of(EVSE, name), item) for name, item in value.items()}
        assert found == one_by_one


@pytest.mark.parametrize(
    ("data", "cls", "is_read"),
    [
        (b'{"status":"CHARGING","last_updated":"2026-11-01T12:00:00Z"}', EVSE, True),
        (b'{"status": "NEWER", "floor_level": null}', EVSE, True),
        (b'{"capabilities":["RFID_READER","OTHER"]}', EVSE, True),
        (b'{"kwh":12.50,"status":"ACTIVE"}', Session, True),
        (b'{"kwh":1e99}', Session, False),
        (b'{"last_updated":"2026-11-01T12:00:00"}', EVSE, True),
        (b'{"status":null}', EVSE, False),
        (b'{"status":"CHARGING","status":"AVAILABLE"}', EVSE, False),
        (b'{"status":"CHARGING","status" :"AVAILABLE"}', EVSE, False),
        (b'{"status":"CHARGING","x":1}', EVSE, False),
        (b'{"coordinates":{"latitude":"1.0","longitude":"1.0"}}', EVSE, False),
        (b'{"status":1}', EVSE, False),
        (b"[1]", EVSE, False),
        (b"{", EVSE, False),
        (b'{"status":"\xff"}', EVSE, False),
    ],
)
def test_which_fields_are_read_at_once(data: bytes, cls: type[Model], is_read: bool) -> None:
    """Known fields without objects, each once, are read in one go; all else is looked at closely."""
    assert (read_fields(data, cls) is not None) is is_read
