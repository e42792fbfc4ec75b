"""Unpacks bodies in small steps and up to a limit; opens no socket and knows no HTTP library.

300 kB of gzip can be 300 MB of text, and a step that unpacks all of it holds up the event loop.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

STEP = 256 * 1024
"""Bytes that one step unpacks, at most."""

PACKINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""The values of ``Content-Encoding`` that are understood, and what zlib calls them."""


class CannotUnpackError(Exception):
    """The content is broken, cut off, or longer than allowed."""


class TooLongError(CannotUnpackError):
    """The content is longer than allowed, packed or unpacked."""


class Unpacker:
    """Unpacks one body that arrives in chunks.

    Args:
        packing: A key of `PACKINGS`.
        limit: The most bytes that may arrive, and that may come out.
    """

    def __init__(self, packing: str, limit: int) -> None:
        self._window = PACKINGS[packing]
        self._limit = limit
        self._member = zlib.decompressobj(self._window)
        self._arrived = self._unpacked = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk unpacks to, one step after the other.

        gzip may come in several members, one after the other.

        Raises:
            CannotUnpackError: the content is broken; `TooLongError` where it is longer than allowed.
        """
        self._arrived += len(chunk)
        self._require_room(self._arrived)
        packed = chunk
        while packed:
            if self._member.eof:
                self._member = zlib.decompressobj(self._window)
            try:
                piece = self._member.decompress(packed, STEP)
            except zlib.error:
                raise CannotUnpackError("it is not packed as its headers say") from None
            packed = self._member.unconsumed_tail or self._member.unused_data
            yield self._counted(piece)

    def end(self) -> bytes:
        """Return what is left once everything has arrived.

        Raises:
            CannotUnpackError: the content is cut off; `TooLongError` where it is longer than allowed.
        """
        piece = self._counted(self._member.flush())
        if self._arrived and not self._member.eof:
            raise CannotUnpackError("it is cut off")
        return piece

    def _counted(self, piece: bytes) -> bytes:
        self._unpacked += len(piece)
        self._require_room(self._unpacked)
        return piece

    def _require_room(self, size: int) -> None:
        if size > self._limit:
            raise TooLongError(f"longer than {self._limit} bytes")
