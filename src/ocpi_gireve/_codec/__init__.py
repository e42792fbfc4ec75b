"""JSON bytes <-> models: the only package that configures msgspec and cattrs; knows no HTTP, no operation.

Reading takes one of three ways, with equal results wherever an earlier one does not refuse:

1. nothing new: msgspec decodes into Structs generated from the models' annotations, which refuse properties
   that they do not know, and generated code moves their fields into the models (`_fast`);
2. something unknown: Structs that ignore it, and the same bytes as plain values, which fill `extra`
   (`_fast`);
3. whatever these refuse is read completely: tolerant of what partners really send, and with every problem
   reported at its JSON pointer (`_complete`).

The fast ways compare the number of properties in the text with the number they read: msgspec would take the
last of two equal names in silence.
"""

from __future__ import annotations

from ._canonical import canonical
from ._complete import field_from_json, from_json, parse_datetime
from ._documents import Answer, decode, decode_answer, decode_items, decode_page
from ._fast import read_fields
from ._text import MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT, dump_json, parse_json
from ._write import encode, encode_answer, encode_fields, to_json

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_EXPONENT",
    "Answer",
    "canonical",
    "decode",
    "decode_answer",
    "decode_items",
    "decode_page",
    "dump_json",
    "encode",
    "encode_answer",
    "encode_fields",
    "field_from_json",
    "from_json",
    "parse_datetime",
    "parse_json",
    "read_fields",
    "to_json",
]
