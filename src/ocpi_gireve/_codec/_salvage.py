"""Splits a list or an object whose parts are not all JSON, so that one bad part does not spoil the others.

A text cut through an emoji, a line break within a text, NaN: a strict parser stops at the first of these. It
knows no model, and what it returns is still to be parsed. A long text is split by its brackets alone, item by
item, so that nobody waits for all of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_BLANK = re.compile(r"[ \t\r\n]*")
_scan = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False).raw_decode


def split_list(data: bytes) -> list[bytes] | None:
    """Return the items of a list as they stand in the text; None where it is no list."""
    parts = _split(data, "[", "]")
    return None if parts is None else [text.encode() for _, text in parts]


def split_object(data: bytes) -> list[tuple[str, bytes]] | None:
    """Return the properties of an object, values as they stand in the text; None where it is no object."""
    parts = _split(data, "{", "}")
    return None if parts is None else [(name, text.encode()) for name, text in parts]


# Possessive: nothing is tried twice, whatever the text.
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_TO_A_SIGN = re.compile(rb'(?:[^"{}\[\],]++|' + _TEXT + rb")*+", re.DOTALL)
_TO_A_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _TEXT + rb")*+", re.DOTALL)
_TO_THE_PAYLOAD = re.compile(
    rb"\s*+\{\s*+(?:%b\s*+:\s*+(?:%b|[-+.\w]++)\s*+,\s*+)*?\"data\"\s*+:\s*+(?=\[)" % (_TEXT, _TEXT),
    re.DOTALL,
)
_LONGEST_REST = 4096
"""Bytes of an envelope after its payload."""


def items_one_by_one(data: bytes) -> Iterator[bytes]:
    """Cut the items out of a list, each when it is wanted. What stands between two commas is an item.

    Raises:
        ValueError: it is no list, or the list does not end where the text does; raised where that is seen.
    """
    begin = len(data) - len(data.lstrip())
    if not data.startswith(b"[", begin):
        raise ValueError
    begin = place = begin + 1
    depth = 0
    while True:
        found = (_TO_A_BRACKET if depth else _TO_A_SIGN).match(data, place)
        place = place if found is None else found.end()
        sign = data[place : place + 1]
        if sign in (b"{", b"["):
            depth += 1
        elif sign == b",":
            yield data[begin:place].strip()
            begin = place + 1
        elif depth and sign in (b"}", b"]"):
            depth -= 1
        elif sign == b"]":
            break
        else:
            raise ValueError
        place += 1
    if data[place + 1 :].strip():
        raise ValueError
    last = data[begin:place].strip()
    if last or begin > data.index(b"[") + 1:
        yield last


def around_a_list(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Guess where the list in an object's ``data`` is, without reading it; the likeliest place first.

    Yields:
        The object with null in the place of the list, and the list.
    """
    head = _TO_THE_PAYLOAD.match(data)
    if head is None:
        return
    begin, end = head.end(), len(data)
    while (end := data.rfind(b"]", max(begin, len(data) - _LONGEST_REST), end)) != -1:
        yield b"".join((data[:begin], b"null", data[end + 1 :])), data[begin : end + 1]


def _split(data: bytes, opening: str, closing: str) -> list[tuple[str, str]] | None:
    try:
        text = data.decode()
        return list(_parts(text, opening, closing))
    except (ValueError, RecursionError):
        return None


def _parts(text: str, opening: str, closing: str) -> Iterator[tuple[str, str]]:
    """Find the parts between brackets; where there are names, with them.

    Raises:
        ValueError: the text is not such a thing.
        RecursionError: a part is nested too deeply.
    """
    place = _expect(text, opening, 0)
    if text.startswith(closing, place):
        _require_end(text, _expect(text, closing, place))
        return
    while True:
        name = ""
        if opening == "{":
            if not text.startswith('"', place):
                raise ValueError
            name, place = _scan(text, place)
            place = _expect(text, ":", place)
        start = place
        _, place = _scan(text, start)
        yield name, text[start:place]
        if not text.startswith(",", _skipped(text, place)):
            break
        place = _expect(text, ",", place)
    _require_end(text, _expect(text, closing, place))


def _skipped(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return place if found is None else found.end()


def _expect(text: str, sign: str, place: int) -> int:
    """Return the place after a sign and the blanks around it."""
    place = _skipped(text, place)
    if not text.startswith(sign, place):
        raise ValueError
    return _skipped(text, place + 1)


def _require_end(text: str, place: int) -> None:
    if place != len(text):
        raise ValueError
