"""Reads a file of locations in whatever form a feed is published; knows nothing of where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from .._codec import from_json, parse_json
from ..errors import DecodeError
from ..gireve import SIMULATOR
from ..receivers import LocationBook
from ..types import Json, PartyId
from ..v221 import Location


class FeedError(Exception):
    """The file cannot be used; the text is one line for the user."""


@frozen
class Feed:
    """What a file holds.

    Attributes:
        locations: The locations that can be used, each once.
        left_out: One line for each item that cannot, with its place and the first reason.
    """

    locations: list[Location]
    left_out: list[str]


def read_locations(path: Path) -> Feed:
    """Read a JSON list of Locations, an OCPI answer, a list of answers (pages), or one of these per line.

    Of items with the same party and id the newest counts, as for whoever gets them one after the other.

    Raises:
        FeedError: the file cannot be read, is not JSON, or holds no Location.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FeedError(error.strerror or type(error).__name__) from None
    book = LocationBook()
    left_out: list[str] = []
    items = (item for document in _documents(data) for item in _items(document))
    for number, item in enumerate(items):
        try:
            location = from_json(item, Location)
        except DecodeError as wrong:
            left_out.append(f"item {number}: {wrong.problems[0]}")
            continue
        reason = _unusable(location)
        if reason is None:
            known = len(book)
            book.put(location)
            reason = "another item has its party and id" if len(book) == known else None
        if reason is not None:
            left_out.append(f"item {number}: {reason}")
    if not len(book):
        raise FeedError("no OCPI 2.2.1 Location in it" + (f" ({left_out[0]})" if left_out else ""))
    return Feed(book.all(), left_out)


def _unusable(location: Location) -> str | None:
    """Say why no CPO could offer a location, where that is so."""
    owner = PartyId(location.country_code, location.party_id)
    text = owner.country_code + owner.party_id
    lengths = len(owner.country_code), len(owner.party_id)
    if lengths != (2, 3) or not text.isascii() or not text.isprintable():
        return "/party_id: expected the owner to be a party such as FR*CPO"
    if owner == SIMULATOR.hub:
        return f"/party_id: {owner} is the hub itself"
    return None


def _documents(data: bytes) -> list[Json]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise FeedError("the file is empty")
    try:
        return [parse_json(data)]
    except DecodeError as whole:
        lines = [line for line in data.splitlines() if line.strip()]
        try:
            return [parse_json(line) for line in lines]
        except DecodeError:
            raise FeedError(f"not JSON: {whole.problems[0].message}") from None


def _items(document: Json) -> Iterator[Json]:
    """Yield what may be a Location: lists and answers are opened, however they are nested."""
    if isinstance(document, list):
        for item in document:
            yield from _items(item)
    elif isinstance(document, dict) and "data" in document and "id" not in document:
        yield from _items(document["data"])
    else:
        yield document
