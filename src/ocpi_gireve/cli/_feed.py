"""Reads a file of locations in whatever form a feed is published; knows nothing of where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from .._codec import from_json, parse_json
from ..errors import DecodeError
from ..types import Json
from ..v221 import Location


class FeedError(Exception):
    """The file cannot be used; the text is one line for the user."""


@frozen
class Feed:
    """What a file holds.

    Attributes:
        locations: The locations that can be read.
        unreadable: One line for each item that cannot, with the place and the first problem.
    """

    locations: list[Location]
    unreadable: list[str]


def read_locations(path: Path) -> Feed:
    """Read a JSON list of Locations, an OCPI envelope, a list of envelopes (pages), or one of these per line.

    Raises:
        FeedError: the file cannot be opened, is not JSON, or holds no Location.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FeedError(f"{path}: {error.strerror}") from None
    locations: list[Location] = []
    unreadable: list[str] = []
    for number, item in enumerate(item for document in _documents(path, data) for item in _items(document)):
        try:
            locations.append(from_json(item, Location))
        except DecodeError as wrong:
            unreadable.append(f"item {number}: {wrong.problems[0]}")
    if not locations:
        found = f" ({unreadable[0]})" if unreadable else ""
        raise FeedError(f"{path}: holds no OCPI 2.2.1 Location{found}")
    return Feed(locations, unreadable)


def _documents(path: Path, data: bytes) -> list[Json]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return [parse_json(data)]
    except DecodeError as whole:
        try:
            lines = [parse_json(line) for line in data.splitlines() if line.strip()]
        except DecodeError:
            raise FeedError(f"{path}: not JSON: {whole.problems[0].message}") from None
        if not lines:
            raise FeedError(f"{path}: the file is empty") from None
        return lines


def _items(document: Json) -> Iterator[Json]:
    """Yield what may be a Location: list and envelope are opened, whatever their nesting."""
    if isinstance(document, list):
        for item in document:
            yield from _items(item)
    elif isinstance(document, dict) and "data" in document and "id" not in document:
        yield from _items(document["data"])
    else:
        yield document
