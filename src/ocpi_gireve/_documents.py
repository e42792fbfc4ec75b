"""Cuts a stream of JSON into the objects it holds, in bounded memory; decodes nothing and knows no model.

A stream holds a list, an OCPI answer (the envelope with ``data``), a list of them, one object, or any of
these on each line (JSON Lines). Only brackets and texts are looked at, so each piece is the bytes as they
came, and whoever decodes it applies the limits and the exactness of the codec.

An incremental parser such as ijson would build the objects itself: the last of two equal names would win in
silence, halves of surrogate pairs and exponents of any size would pass, and integers of thousands of digits
crash its C backend.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import field, frozen

from .errors import DecodeError, Problem

__all__ = ["CHUNK", "LONGEST", "Piece", "pieces"]

CHUNK: Final = 2**16
"""How many bytes to read at once."""
LONGEST: Final = 4 * 2**20
"""Longest object, in bytes, that is kept; the longest of real life have a tenth of it."""
_DEEPEST: Final = 32
"""Lists and answers within each other that are opened; what lies deeper is one piece."""

_BOM = b"\xef\xbb\xbf"
_QUOTE, _COMMA, _COLON, _NEWLINE, _BACKSLASH = b'",:\n\\'
_OPEN, _CLOSE = frozenset(b"{["), frozenset(b"}]")
_LIST, _LIST_END, _OBJECT, _OBJECT_END = b"[]{}"
_END = -1
_NAMES_OF_OBJECTS = frozenset({b'"id"', b'"uid"'})
"""Properties that an answer does not have."""

# Possessive: nothing is tried twice, whatever the text.
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]++")


@frozen
class _Grammar:
    """What may stand between brackets, and where a text ends."""

    blank: re.Pattern[bytes]
    text: re.Pattern[bytes]
    run: re.Pattern[bytes]


_ANYWHERE = _Grammar(
    blank=re.compile(rb"[ \t\n\r]*+"),
    text=re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL),
    run=re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL),
)
_ON_A_LINE = _Grammar(
    blank=re.compile(rb"[ \t\r]*+"),
    text=re.compile(rb'"(?:[^"\\\n]++|\\.)*+"'),
    run=re.compile(rb'(?:[^"{}\[\]\n]++|"(?:[^"\\\n]++|\\.)*+")*+'),
)


@frozen
class Piece:
    """One object of a stream, or what stands in its place.

    Attributes:
        offset: Where it begins, in bytes from the start of the stream.
        raw: Its bytes; empty where it could not be cut out.
        problem: Why it could not be cut out: it is too long, or its line is not JSON.
    """

    offset: int
    raw: bytes = field(repr=False)
    problem: Problem | None = None


def pieces(chunks: Iterable[bytes], *, longest: int = LONGEST, open_answers: bool = True) -> Iterator[Piece]:
    """Cut a stream into its objects, as it is read.

    An object is an envelope if it has ``data`` and no id before it. A list, or an answer, is opened whatever
    its length; of anything else at most `longest` bytes are kept. A byte order mark is passed over.

    Where lines hold a JSON text each, a line that is not JSON is one piece with a problem, and the next line
    is read. Elsewhere there is no telling where a broken text goes on.

    Args:
        chunks: The bytes, cut anywhere.
        longest: What is longer is not kept, and is one piece with a problem.
        open_answers: Whether the objects of an answer are meant, and not the answer itself.

    Raises:
        DecodeError: with `malformed` set: the stream is empty, ends too early, or is not JSON between its
            objects; raised after the pieces before.
    """
    cutter = _Cutter(iter(chunks), longest, _DEEPEST if open_answers else 0)
    try:
        yield from cutter.documents()
        return
    except _Unexpected as unexpected:
        problem = Problem("", "json", f"expected {unexpected} at byte {cutter.offset}")
    raise DecodeError("JSON document", [problem], malformed=True)


class _Unexpected(Exception):
    """The text does not go on as JSON; says what was expected."""


class _Cutter:
    """Where we are in a stream.

    ``_buffer[_pos]`` is the next byte; from ``_kept`` on, bytes are wanted again.
    """

    def __init__(self, chunks: Iterator[bytes], longest: int, deepest_answer: int) -> None:
        self._chunks = chunks
        self._deepest_answer = deepest_answer
        self._longest = longest
        self._grammar = _ANYWHERE
        self._buffer = bytearray()
        self._pos = 0
        self._before = 0
        self._lines = 0
        self._kept: int | None = None

    @property
    def offset(self) -> int:
        """Where we are, in bytes from the start of the stream."""
        return self._before + self._pos

    # --- reading ---

    def _fill(self) -> bool:
        """Read on, at least as much as is held, so that no byte is looked at often; false at the end."""
        if self._kept is not None and self._pos - self._kept > self._longest:
            self._kept = None  # too long
        done = self._pos if self._kept is None else self._kept
        if done:
            self._lines += self._buffer.count(b"\n", 0, done)
            del self._buffer[:done]
            self._before += done
            self._pos -= done
            self._kept = None if self._kept is None else 0
        wanted = max(1, len(self._buffer))
        held = len(self._buffer)
        for chunk in self._chunks:
            self._buffer += chunk
            if len(self._buffer) - held >= wanted:
                break
        return len(self._buffer) > held

    def _line(self) -> int:
        return self._lines + self._buffer.count(b"\n", 0, self._pos)

    def _peek(self) -> int:
        """Return the next byte that is not blank, or `_END`."""
        while True:
            found = self._grammar.blank.match(self._buffer, self._pos)
            if found is not None:
                self._pos = found.end()
            if self._pos < len(self._buffer):
                return self._buffer[self._pos]
            if not self._fill():
                return _END

    def _text(self) -> bytes:
        """Pass over a text, and return it with its quotes."""
        while True:
            found = self._grammar.text.match(self._buffer, self._pos)
            if found is not None:
                self._pos = found.end()
                return found[0]
            self._read_on("the end of a text")

    def _read_on(self, wanted: str) -> None:
        """Read on within something that has not ended, unless its line has."""
        on_a_line = self._grammar is _ON_A_LINE
        if (on_a_line and self._buffer.find(b"\n", self._pos) >= 0) or not self._fill():
            raise _Unexpected(wanted)

    def _close(self, depth: int) -> None:
        """Pass over everything up to the end of so many brackets."""
        while True:
            found = self._grammar.run.match(self._buffer, self._pos)
            if found is not None:
                self._pos = found.end()
            byte = self._buffer[self._pos] if self._pos < len(self._buffer) else _END
            if byte in _OPEN:
                depth += 1
            elif byte in _CLOSE:
                depth -= 1
            else:
                self._read_on("the end of an object or a list")
                continue
            self._pos += 1
            if not depth:
                return

    def _pass(self) -> None:
        """Pass over one value."""
        byte = self._peek()
        if byte in _OPEN:
            self._pos += 1
            self._close(1)
        elif byte == _QUOTE:
            self._text()
        else:
            begin = self.offset
            while found := _SCALAR.match(self._buffer, self._pos):
                self._pos = found.end()
                if self._pos < len(self._buffer) or not self._fill():
                    break
            if self.offset == begin:
                raise _Unexpected("a value")

    # --- what a stream is made of ---

    def documents(self) -> Iterator[Piece]:
        """Cut the texts of the stream, one or one on each line."""
        while len(self._buffer) < len(_BOM) and self._fill():
            pass
        if self._buffer.startswith(_BOM):
            self._pos = len(_BOM)
        if self._peek() == _END:
            raise _Unexpected("JSON, and found nothing,")
        first = self._line()
        yield from self._entry(0)
        last = self._line()
        if self._peek() == _END:
            return
        if self._line() == last:
            raise _Unexpected("the end")
        if first == last:
            yield from self._further_lines()
            return
        while self._peek() != _END:
            yield from self._entry(0)

    def _further_lines(self) -> Iterator[Piece]:
        while self._peek() != _END:
            begin = self.offset
            self._grammar = _ON_A_LINE
            try:
                yield from self._entry(0)
                if self._peek() not in (_NEWLINE, _END):
                    raise _Unexpected("the end of the line")
            except _Unexpected as unexpected:
                where = self.offset - begin
                self._kept = None
                problem = Problem("", "json", f"expected {unexpected} at byte {where} of its line")
                yield Piece(begin, b"", problem)
                self._pass_line()
            self._grammar = _ANYWHERE

    def _pass_line(self) -> None:
        while True:
            end = self._buffer.find(b"\n", self._pos)
            if end >= 0:
                self._pos = end
                return
            self._pos = len(self._buffer)
            if not self._fill():
                return

    def _entry(self, depth: int) -> Iterator[Piece]:
        """Cut what stands where an object is expected."""
        byte = self._peek()
        if byte == _LIST and depth < _DEEPEST:
            yield from self._list(depth + 1)
        elif byte == _OBJECT and depth < self._deepest_answer:
            yield from self._object(depth)
        else:
            yield self._whole()

    def _list(self, depth: int) -> Iterator[Piece]:
        self._pos += 1
        if self._peek() == _LIST_END:
            self._pos += 1
            return
        while True:
            yield from self._entry(depth)
            byte = self._peek()
            if byte not in (_COMMA, _LIST_END):
                raise _Unexpected("a comma or the end of a list")
            self._pos += 1
            if byte == _LIST_END:
                return

    def _rewind(self) -> bool:
        """Go back to where keeping began; false where it was too long to be kept."""
        if self._kept is None:
            return False
        self._pos = self._kept
        return True

    def _kept_piece(self, begin: int) -> Piece:
        """Return what was kept."""
        kept, self._kept = self._kept, None
        if kept is None or self._pos - kept > self._longest:
            problem = Problem(
                "", "too-long", f"expected at most {self._longest} bytes, found {self.offset - begin}"
            )
            return Piece(begin, b"", problem)
        return Piece(begin, bytes(self._buffer[kept : self._pos]))

    def _whole(self) -> Piece:
        begin = self.offset
        self._kept = self._pos
        self._pass()
        return self._kept_piece(begin)

    def _object(self, depth: int) -> Iterator[Piece]:
        begin = self.offset
        self._kept = self._pos
        try:
            is_envelope = self._finds_data()
        except _Unexpected:
            # No JSON, but its brackets may tell where it ends: then it is one bad object among others.
            if not self._rewind():
                raise
            self._pass()
            is_envelope = False
        if not is_envelope:
            yield self._kept_piece(begin)
            return
        self._kept = None
        if self._peek() in _OPEN:
            yield from self._entry(depth + 1)
        elif (nothing := self._whole()).raw != b"null":
            yield nothing
        self._rest_of_envelope()

    def _finds_data(self) -> bool:
        """Go to the value of ``data``, or else to the end of the object."""
        self._pos += 1
        if self._peek() == _OBJECT_END:
            self._pos += 1
            return False
        while True:
            name = self._name()
            if name == b'"data"':
                return True
            if name in _NAMES_OF_OBJECTS:
                self._close(1)
                return False
            self._pass()
            if self._ends():
                return False

    def _rest_of_envelope(self) -> None:
        while not self._ends():
            if self._name() == b'"data"':
                raise _Unexpected("data only once")
            self._pass()

    def _name(self) -> bytes:
        if self._peek() != _QUOTE:
            raise _Unexpected("the name of a property")
        name = self._text()
        if self._peek() != _COLON:
            raise _Unexpected("a colon")
        self._pos += 1
        return name

    def _ends(self) -> bool:
        """Pass over what follows a property, and tell whether the object ends."""
        byte = self._peek()
        if byte not in (_COMMA, _OBJECT_END):
            raise _Unexpected("a comma or the end of an object")
        self._pos += 1
        return byte == _OBJECT_END
