"""JSON text -> plain values, with the limits that keep hostile input cheap; knows no model."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import cast

import msgspec

from ..errors import DecodeError, Problem
from ..types import Json, JsonObject

MAX_DEPTH = 32
"""Deepest nesting of a JSON document that is accepted; the deepest object of OCPI needs eight."""
MAX_DIGITS = 64
"""Longest integer, in digits, that is accepted."""
MAX_EXPONENT = 30
"""Numbers must lie between 10**-30 and 10**30, or be zero."""


class Malformed(ValueError):
    """The text is not JSON that is accepted: not one pointer but the document is wrong."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("duplicate-key", "expected each property once in an object")
    return found


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise Malformed("number", f"expected integers of at most {MAX_DIGITS} digits")
    return int(digits)


def fraction(digits: str) -> Decimal:
    number = decimal(digits)
    if number is None:
        raise Malformed("number", f"expected numbers between 1e-{MAX_EXPONENT} and 1e{MAX_EXPONENT}")
    return number


def decimal(digits: str) -> Decimal | None:
    """Read a number of ordinary size; None where it is not one."""
    try:
        number = Decimal(digits)
    except InvalidOperation:  # an exponent of twenty digits
        return None
    return number if ordinary(number) else None


def ordinary(number: Decimal) -> bool:
    return number.is_finite() and -MAX_EXPONENT <= number.adjusted() <= MAX_EXPONENT


def _constant(name: str) -> Json:
    raise Malformed("number", f"expected a number, found {name}")


_parser = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=fraction, parse_constant=_constant
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
json_encoder = msgspec.json.Encoder(decimal_format="number")


def _depth_within(value: Json, limit: int) -> bool:
    level: list[Json] = [value]
    for _ in range(limit):
        parts = [part for part in level if isinstance(part, dict | list)]
        if not parts:
            return True
        level = [one for part in parts for one in (part.values() if isinstance(part, dict) else part)]
    return not any(isinstance(part, dict | list) for part in level)


def _has_lone_surrogate(data: bytes, value: Json) -> bool:
    """Tell whether half of a surrogate pair stands alone: it could be read but never be written."""
    if not _SURROGATE.search(data):
        return False
    try:
        json_encoder.encode(value)
    except UnicodeEncodeError:
        return True
    return False


def parse_json(data: bytes, expected: str = "JSON document") -> Json:
    """Read JSON text into plain values; numbers with a fraction become `Decimal`, exactly as written.

    Raises:
        DecodeError: with `malformed` set: not UTF-8, not JSON, a byte order mark, nesting deeper than
            `MAX_DEPTH`, a property twice in one object, NaN, infinite or huge numbers, lone surrogates.
        TypeError: the data is not `bytes`.
    """
    require_bytes(data)
    try:
        value = cast("Json", _parser.decode(data.decode()))
        if not _depth_within(value, MAX_DEPTH):
            raise Malformed("depth", f"expected at most {MAX_DEPTH} levels of nesting")
        if _has_lone_surrogate(data, value):
            raise Malformed("surrogate", "expected no half of a surrogate pair in a text")
        return value
    except Malformed as wrong:
        problem = Problem("", wrong.code, str(wrong))
    except UnicodeDecodeError as wrong:
        problem = Problem("", "encoding", f"expected UTF-8; byte {wrong.start} is not")
    except json.JSONDecodeError as wrong:
        problem = Problem("", "json", f"expected JSON; what stands at character {wrong.pos} is not")
    except RecursionError:
        problem = Problem("", "depth", f"expected at most {MAX_DEPTH} levels of nesting")
    raise DecodeError(expected, [problem], malformed=True)


def dump_json(value: Json | JsonObject) -> bytes:
    """Encode plain JSON values."""
    return json_encoder.encode(value)


def require_bytes(data: object) -> None:
    if not isinstance(data, bytes):
        raise TypeError(f"expected bytes, not {type(data).__name__}")
