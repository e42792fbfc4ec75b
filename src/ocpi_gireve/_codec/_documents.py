"""Documents: an object, a list, an answer, a page; which bytes are read as what."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec
from attrs import frozen

from .._model import Model
from ..errors import DecodeError, Problem
from ..pagination import Page, Rejected
from ..types import Json, OcpiEnum
from ._complete import Unfit, enum_hook, kind_of, read_int
from ._fast import REFUSED, Reader, compiled_of, read_page
from ._salvage import around_a_list, items_one_by_one, split_list, split_object
from ._text import parse_json, require_bytes

T = TypeVar("T")
M = TypeVar("M", bound=Model)


LONG = 2**20
"""Bytes: an answer that is longer is cut into its items one by one, so that nobody waits for all of it."""
LONGEST_ITEM = 2**20
"""Bytes of an item of an answer that are looked at; a server takes no longer object from its partners."""
MAX_ITEMS = 10_000
"""How many items of an answer are looked at; pages have a tenth of it."""

_raw_list: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])


def decode(data: bytes, cls: type[T]) -> T:
    """Decode a JSON document into an object of a class, or into a list of them with ``list[cls]``.

    Reading is permissive: an over-long text, an unknown enum value, an empty mandatory list and unknown
    properties are kept as they came; `validate` tells them. A date without ``Z`` is UTC, null is absent.

    Raises:
        DecodeError: the document is not JSON, or not such an object; with every problem found.
        TypeError: the data is not `bytes`.
    """
    require_bytes(data)
    item: Any = cls
    if get_origin(item) is not list:
        return cast("T", _value_reader(item)(data))
    (item,) = get_args(item)
    expected = f"list of {item.__name__}"
    read = _value_reader(item)
    objects: list[Any] = []
    problems: list[Problem] = []
    for index, raw in enumerate(_raw_items(data, expected)):
        try:
            objects.append(read(raw))
        except DecodeError as wrong:
            problems += _moved(wrong.problems, f"/{index}")
    if problems:
        raise DecodeError(expected, problems)
    return cast("T", objects)


def _moved(problems: Iterable[Problem], prefix: str) -> list[Problem]:
    return [Problem(prefix + one.pointer, one.code, one.message, one.reference) for one in problems]


def _value_reader(cls: type[Any]) -> Callable[[bytes], Any]:
    if issubclass(cls, Model):
        return Reader(cls).read
    if issubclass(cls, OcpiEnum):
        return lambda data: _decode_enum(data, cls)
    raise TypeError(f"expected a model or an enum of OCPI, not {cls.__name__}")


def _decode_enum(data: bytes, cls: type[OcpiEnum]) -> OcpiEnum:
    value = parse_json(data, cls.__name__)
    try:
        return cast("OcpiEnum", enum_hook(cls)(value, cls))
    except Unfit as wrong:
        problem = Problem("", wrong.code, str(wrong))
    raise DecodeError(cls.__name__, [problem])


def _raw_items(data: bytes, expected: str) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _raw_list.decode(data)]
    except REFUSED:
        pass
    items = split_list(data)
    if items is not None:
        return items
    value = parse_json(data, expected)
    raise DecodeError(expected, [Problem("", "type", f"expected a list, found {kind_of(value)}")])


class _Payload(msgspec.Struct):
    """The payload of an envelope, not yet decoded."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Listing(msgspec.Struct):
    """The payload of an envelope where it is a list, its items not yet decoded."""

    data: list[msgspec.Raw]


_payload: msgspec.json.Decoder[_Payload] = msgspec.json.Decoder(_Payload)
_listing: msgspec.json.Decoder[_Listing] = msgspec.json.Decoder(_Listing)


@frozen
class Answer:
    """An OCPI answer whose payload has not been decoded yet. (transport and format, response format)

    Attributes:
        status_code: The OCPI status code.
        status_message: The partner's text.
        data: The payload's bytes; None where there is none.
    """

    status_code: int
    status_message: str
    data: bytes | None


def decode_answer(data: bytes) -> Answer:
    """Open the envelope of an answer.

    Raises:
        DecodeError: the bytes are not an OCPI envelope with a status code.
        TypeError: the data is not `bytes`.
    """
    require_bytes(data)
    try:
        raw = _payload.decode(data).data
    except REFUSED:
        envelope, payload = _salvaged(data)
    else:
        payload = None if isinstance(raw, msgspec.UnsetType) else bytes(raw)
        start = data.find(payload[:1000]) if payload else 0
        found = payload is not None and data.startswith(payload, start)
        envelope = _envelope(data, start, start + len(payload or b"") if found else start, b"null")
    code, message = _status(envelope)
    return Answer(code, message, None if payload == b"null" else payload)


def _salvaged(data: bytes) -> tuple[Json, bytes | None]:
    """Open an answer whose payload is not JSON throughout: its envelope and its payload."""
    if len(data) > LONG:
        return _salvaged_long(data)
    parts = split_object(data)
    if parts is None:
        return parse_json(data, "OCPI answer"), None
    values = dict(parts)
    if len(values) != len(parts):
        problem = Problem("", "duplicate-key", "expected each property once in an object")
        raise DecodeError("OCPI answer", [problem], malformed=True)
    payload = values.pop("data", None)
    return {name: parse_json(value, "OCPI answer") for name, value in values.items()}, payload


def _salvaged_long(data: bytes) -> tuple[Json, bytes | None]:
    """The same, for an answer that takes long to read."""
    for around, payload in around_a_list(data):
        with contextlib.suppress(DecodeError):
            envelope = parse_json(around, "OCPI answer")
            if isinstance(envelope, dict):
                return envelope, payload
    problem = Problem("", "json", "expected an object with a list in its data")
    raise DecodeError("OCPI answer", [problem], malformed=True)


def _status(envelope: Json) -> tuple[int, str]:
    if not isinstance(envelope, dict):
        problem = Problem("", "type", f"expected an object, found {kind_of(envelope)}")
        raise DecodeError("OCPI answer", [problem])
    try:
        code = read_int(envelope.get("status_code"))
    except Unfit as unfit:
        problem = Problem("/status_code", unfit.code, str(unfit))
    else:
        message = envelope.get("status_message")
        return code, message if isinstance(message, str) else ""
    raise DecodeError("OCPI answer", [problem])


def _envelope(data: bytes, start: int, end: int, instead: bytes) -> Json:
    """Read an answer completely, but for a long payload: that is read item by item, and only once.

    Args:
        data: The answer.
        start: Where the payload begins: whole values in list or object brackets, or the inside of a list.
        end: Where it ends.
        instead: What stands for the payload while the rest is read: ``null``, or nothing.
    """
    if data.startswith((b"[", b"{"), start, end) and (end - start > 1000 or data.count(data[start:end]) == 1):
        with contextlib.suppress(DecodeError):  # it is about another part that reads the same
            envelope = parse_json(b"".join((data[:start], instead, data[end:])), "OCPI answer")
            if isinstance(envelope, dict) and not envelope.get("data"):
                return envelope
    return parse_json(data, "OCPI answer")


def _listed_items(data: bytes) -> tuple[Json, list[bytes]] | None:
    """Open an answer with a long list in one go: its envelope and its items; None where it is another."""
    try:
        items = [bytes(raw) for raw in _listing.decode(data).data]
    except REFUSED:
        return None
    if len(items) < 2:
        return None
    # What separates the first two items separates all: then the list's text need not be read again.
    start = data.find(items[0][:1000])
    end = start + len(items[0])
    between = data[end : data.find(items[1][:1000], end)]
    for item in items[1:]:
        following = end + len(between)
        if not (data.startswith(between, end) and data.startswith(item, following)):
            return parse_json(data, "OCPI answer"), items
        end = following + len(item)
    return _envelope(data, start, end, b""), items


def decode_items(data: bytes, cls: type[M]) -> Iterable[M | Rejected]:
    """Decode the list of an answer item by item, lazily: an item that cannot be read comes as `Rejected`.

    Raises:
        DecodeError: the bytes are not a list, or one with more than `MAX_ITEMS`; raised by the first step of
            the iteration, or where a `LONG` list is seen to be none.
    """
    require_bytes(data)
    expected = f"list of {cls.__name__}"
    items = _long_items(data, expected) if len(data) > LONG else _raw_items(data, expected)
    for index, item in enumerate(_read_items(items, cls, LONGEST_ITEM)):
        if index == MAX_ITEMS:
            problem = Problem("", "max-items", f"expected a list of at most {MAX_ITEMS} items")
            raise DecodeError(expected, [problem])
        yield item


def _long_items(data: bytes, expected: str) -> Iterator[bytes]:
    try:
        yield from items_one_by_one(data)
    except ValueError:
        problem = Problem("", "json", "expected a list that ends where the text does")
    else:
        return
    raise DecodeError(expected, [problem], malformed=True)


def _read_items(items: Iterable[bytes], cls: type[M], longest: int | None = None) -> Iterator[M | Rejected]:
    read = Reader(cls).read
    for index, raw in enumerate(items):
        if longest is not None and len(raw) > longest:
            problem = Problem("", "max-length", f"expected an object of at most {longest} bytes")
            yield Rejected(index=index, raw=raw, problems=(problem,))
            continue
        try:
            yield read(raw)
        except DecodeError as wrong:
            yield Rejected(index=index, raw=raw, problems=wrong.problems)


def decode_page(data: bytes, cls: type[M]) -> Page[M]:
    """Decode a whole answer whose payload is a list of objects.

    An item that cannot be read is kept raw in `Page.rejected`, with its problems, and the others arrive.

    Raises:
        DecodeError: the bytes are not an OCPI envelope with a list.
        TypeError: the data is not `bytes`.
    """
    require_bytes(data)
    whole = read_page(data, cls)
    if whole is not None:
        return Page(items=whole, total=None)
    listed = _listed_items(data)
    if listed is None:
        answer = decode_answer(data)
        if answer.data is None:
            raise DecodeError(f"page of {cls.__name__}", [Problem("/data", "missing", "expected a list")])
        raws = _raw_items(answer.data, f"page of {cls.__name__}")
    else:
        envelope, raws = listed
        _status(envelope)
    items: list[M] = []
    rejected: list[Rejected] = []
    for item in _read_items(raws, cls):
        if isinstance(item, Rejected):
            rejected.append(item)
        else:
            items.append(item)
    compiled_of(cls).whole_pages = not rejected
    return Page(items=items, total=None, rejected=tuple(rejected))
