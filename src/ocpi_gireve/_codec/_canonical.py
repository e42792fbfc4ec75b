"""JSON text -> the one spelling of what it says, to compare contents by their digest; knows no model."""

from __future__ import annotations

from decimal import Context, Decimal

import msgspec

_EXACT = Context(prec=10_000_000)
"""More digits than a message has bytes: no number is rounded."""


def _number(digits: str) -> int | Decimal:
    number = Decimal(digits)
    whole = int(number)
    return whole if whole == number else number.normalize(_EXACT)


_reader = msgspec.json.Decoder(float_hook=_number)
_writer = msgspec.json.Encoder(order="sorted", decimal_format="number")


def canonical(data: bytes) -> bytes:
    """Return the spelling of a JSON text in which equal contents have equal bytes.

    Names are sorted at every level, a number has no more digits than it needs, and no space is left.

    Args:
        data: What `encode` or `encode_fields` has written: it is JSON, and its numbers are of ordinary size.
    """
    return _writer.encode(_reader.decode(data))
