from __future__ import annotations

import gzip
import zlib

import pytest

from ocpi_gireve.http._packing import STEP, CannotUnpackError, TooLongError, Unpacker

MIB = 1024 * 1024


def unpacked(packing: str, body: bytes, *, limit: int = 4 * MIB, chunk: int = 7) -> bytes:
    """What a body gives that arrives in small chunks."""
    unpacker = Unpacker(packing, limit)
    found = b""
    for start in range(0, len(body), chunk):
        found += b"".join(unpacker.feed(body[start : start + chunk]))
    return found + unpacker.end()


@pytest.mark.parametrize(
    ("packing", "body"),
    [
        ("gzip", gzip.compress(b'{"id": 1}')),
        ("x-gzip", gzip.compress(b'{"id": 1}')),
        ("deflate", zlib.compress(b'{"id": 1}')),
        ("gzip", gzip.compress(b'{"id"') + gzip.compress(b": 1}")),
    ],
)
def test_chunks_of_any_size(packing: str, body: bytes) -> None:
    """A body comes out whole however it was cut, several members of gzip included."""
    assert [unpacked(packing, body, chunk=size) for size in (1, 7, 1000)] == [b'{"id": 1}'] * 3


def test_nothing() -> None:
    """A body without a byte is empty, not cut off."""
    assert unpacked("gzip", b"") == b""


@pytest.mark.parametrize(
    "body", [b"{}", gzip.compress(b"{}") + b"junk", gzip.compress(b"{}")[:-8] + bytes(8)]
)
def test_broken(body: bytes) -> None:
    """Content that is not what its packing says is refused."""
    with pytest.raises(CannotUnpackError, match="not packed as its headers say"):
        unpacked("gzip", body)


def test_cut_off() -> None:
    """Content that ends too early is refused."""
    with pytest.raises(CannotUnpackError, match="cut off"):
        unpacked("gzip", gzip.compress(b"{}" * 100)[:-1])


def test_bomb_is_unpacked_in_steps() -> None:
    """No step unpacks more than `STEP`, and nothing is unpacked beyond the limit."""
    unpacker = Unpacker("gzip", 2 * MIB)
    sizes: list[int] = []
    with pytest.raises(TooLongError, match="longer than 2097152 bytes"):
        sizes.extend(len(piece) for piece in unpacker.feed(gzip.compress(bytes(64 * MIB))))
    assert max(sizes) <= STEP
    assert sum(sizes) <= 2 * MIB


def test_too_much_arrives() -> None:
    """What arrives is limited, too: content that unpacks to little may still be long."""
    with pytest.raises(TooLongError):
        unpacked("gzip", gzip.compress(b"") * 100, limit=500)
