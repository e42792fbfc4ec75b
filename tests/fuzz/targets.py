"""What is fuzzed: each parser of bytes that strangers send, with what must hold whatever they send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from types import GenericAlias
from typing import cast

from attrs import frozen
from multidict import CIMultiDict

from ocpi_gireve import v211, v221
from ocpi_gireve._codec import decode, decode_page, encode, from_json, parse_json
from ocpi_gireve._documents import pieces
from ocpi_gireve._model import Model
from ocpi_gireve.cli._mended import mended
from ocpi_gireve.errors import DecodeError, Unauthorized
from ocpi_gireve.outbox.policy import MAX_RETRY_AFTER, judge_response
from ocpi_gireve.pagination import next_link
from ocpi_gireve.store.records import NewUpload
from ocpi_gireve.testing import samples
from ocpi_gireve.tokens import TokenEncoding, authorization, mint_token, presented_tokens
from ocpi_gireve.types import PartyId
from ocpi_gireve.validation import validate

CLASSES: list[type[Model]] = [
    one
    for package in (v211, v221)
    for one in (getattr(package, name) for name in sorted(package.__all__))
    if isinstance(one, type) and issubclass(one, Model)
]
NOW = datetime(2025, 6, 29, 20, 39, 9, tzinfo=UTC)


@frozen
class Target:
    """One parser.

    Attributes:
        name: What it is called on the command line.
        check: Gives it some bytes; raises where something does not hold.
        seeds: Bytes to begin with.
        words: Parts of which such bytes are made.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...]


def check_json(data: bytes) -> None:
    """Read bytes as one of all classes, named by the first byte."""
    if data:
        read_as(CLASSES[data[0] % len(CLASSES)], data[1:])


def read_as(cls: type[Model], document: bytes) -> None:
    """Check that bytes are an object of a class or raise DecodeError, in all ways of reading alike."""
    with suppress(DecodeError):
        decode(document, cast("type[list[Model]]", GenericAlias(list, (cls,))))
    with suppress(DecodeError):
        decode_page(document, cls)
    one = read_or_refused(document, cls)
    if isinstance(one, DecodeError):
        assert one.problems
        assert all(problem.pointer == "" or problem.pointer.startswith("/") for problem in one.problems)
        with suppress(DecodeError):
            from_json(parse_json(document), cls)
            raise AssertionError("the complete way reads what the fast way refuses")
        return
    value = parse_json(document)
    assert from_json(value, cls) == one
    validate(one)
    mended(value, cls)
    # Moments lose what is finer than a millisecond, and nothing is lost twice.
    again = decode(encode(one), cls)
    assert decode(encode(again), cls) == again


def read_or_refused(document: bytes, cls: type[Model]) -> Model | DecodeError:
    """The object that bytes are, or why they are none."""
    try:
        return decode(document, cls)
    except DecodeError as refused:
        return refused


def json_seeds() -> Iterable[bytes]:
    """Objects of every class, pages of them, and what a partner may get wrong."""
    for index, cls in enumerate(CLASSES):
        first = bytes([index])
        whole, *others = (encode(one) for one in samples(cls, 3))
        yield first + whole
        yield first + b"[" + b",".join(others) + b"]"
        yield first + b'{"data":[' + whole + b'],"status_code":1000,"timestamp":"2025-06-29T20:39:09Z"}'
        yield first + whole[:-1] + b',"x":{"y":[1.50,null,"\\u00e9\\ud83d\\ude00"]}}'


def check_documents(data: bytes) -> None:
    """Check that a stream has pieces or raises DecodeError, wherever it is cut."""

    def cut(size: int) -> list[tuple[int, bytes]] | None:
        chunks = (data[start : start + size] for start in range(0, len(data), size))
        try:
            return [(piece.offset, piece.raw) for piece in pieces(chunks)]
        except DecodeError:
            return None

    whole = cut(2**20)
    assert whole == cut(7)
    if whole is not None:
        assert all(data[offset:].startswith(raw) for offset, raw in whole)
    else:
        with suppress(DecodeError):
            parse_json(data.removeprefix(b"\xef\xbb\xbf"))
            raise AssertionError("JSON that cannot be cut")


def document_seeds() -> Iterable[bytes]:
    """A list, an answer, pages and lines of some tokens."""
    one, other = (encode(token) for token in samples(v221.Token, 2))
    answer = b'{"status_code":1000,"data":[' + one + b',{"x":"\\"]}"}],"timestamp":"2025-06-29T20:39:09Z"}'
    yield from (one, b"[" + one + b"," + other + b"]", answer, b"[" + answer + b"]", answer + b"\n" + other)
    yield one + b"\n" + other[:20] + b"\n" + one
    yield json.dumps([json.loads(one)], indent=1).encode()


def check_authorization(data: bytes) -> None:
    """Check that headers present tokens that can be presented again, or raise Unauthorized."""
    headers = data.decode("latin-1").split("\n")
    try:
        tokens = presented_tokens(headers)
    except Unauthorized:
        return
    assert set(tokens) <= {TokenEncoding.BASE64, TokenEncoding.RAW}
    for encoding, token in tokens.items():
        assert 1 <= len(token.reveal()) <= 64
        assert presented_tokens([authorization(token, encoding)])[encoding] == token


def authorization_seeds() -> Iterable[bytes]:
    """Both encodings, and what comes near them."""
    for encoding in (TokenEncoding.RAW, TokenEncoding.BASE64):
        yield authorization(mint_token(), encoding).encode()
    yield from (
        b"",
        b"Token ",
        b"token dG9rZW4K",
        b"Bearer abc",
        b"Token a\nToken b",
        b"Token \xff",
        b"Token YQ==",
    )


def check_link(data: bytes) -> None:
    """Check that a Link header names a target without brackets around it, or none."""
    for text in (data.decode("latin-1"), data.decode(errors="replace")):
        found = next_link(text)
        if found is not None:
            assert found.url in text
            assert "<" not in found.url
            assert ">" not in found.url


def link_seeds() -> Iterable[bytes]:
    """Links as RFC 8288 has them."""
    yield b'<https://example.com/ocpi/2.2.1/locations?offset=100&limit=100>; rel="next"'
    yield b'<a>; rel=prev, <b>; title="a \\" b, c"; rel="first next"; rel=last , <c>;rel=next'


def check_retry_after(data: bytes) -> None:
    """Check that an answer that says when to come back is judged, with a wait within bounds."""
    retry_after, _, date = data.decode("latin-1").partition("\n")
    headers = CIMultiDict({"Retry-After": retry_after, "Date": date})
    verdict = judge_response(UPLOAD, 503, headers, data, now=lambda: NOW)
    assert verdict.retry_after is None or 0 <= verdict.retry_after <= MAX_RETRY_AFTER


UPLOAD = NewUpload(
    connection="gireve",
    lane="locations",
    operation="2.2.1/LocationsReceiver.put_location",
    path="FR/CPO/LOC1",
    sender=PartyId("FR", "CPO"),
    receiver=None,
    correlation_id="5f3c",
    subject="FR*CPO/LOC1",
    body=b"{}",
)


def retry_after_seeds() -> Iterable[bytes]:
    """Seconds, and dates of every form that HTTP has had."""
    date = b"Sun, 29 Jun 2025 20:40:09 GMT"
    yield from (b"120", b"-1", b"9" * 30, date, date + b"\n" + date, b"Sunday, 29-Jun-25 20:40:09 GMT\nx")
    yield from (
        b"Sun Jun 29 20:40:09 2025",
        b"Sun, 29 Jun 9999 20:40:09 -2359",
        b"Sun, 31 Feb 2025 24:60:60 GMT",
    )


JSON_WORDS = rb"""
    " { } [ ] : , \u \ud800 null true NaN 1e999 -0.0 2025-06-29T20:39:09Z "last_updated" "extra" "data" "id"
""".split()
BOM, SURROGATE = b"\xef\xbb\xbf", b"\xed\xa0\x80"

TARGETS = {
    target.name: target
    for target in (
        Target("json", check_json, json_seeds, (*JSON_WORDS, BOM, SURROGATE)),
        Target("documents", check_documents, document_seeds, (*JSON_WORDS, BOM, b"\\", b"\n")),
        Target(
            "authorization", check_authorization, authorization_seeds, (b"Token ", b"token ", b"Cg==", b"\n")
        ),
        Target("link", check_link, link_seeds, (*b"< > ; , = rel= next".split(), b'"', b"\\")),
        Target("retry-after", check_retry_after, retry_after_seeds, (*b"Jun GMT : , +0000".split(), b"\n")),
    )
}
