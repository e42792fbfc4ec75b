"""Operation and arguments <-> path, query, headers and body; does no I/O and knows no connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, cast, get_args, get_type_hints
from urllib.parse import parse_qsl, quote, unquote, urlencode

import attrs
from attrs import frozen
from multidict import CIMultiDict

from ._codec import (
    Answer,
    decode,
    decode_answer,
    decode_items,
    encode,
    encode_fields,
    field_from_json,
    parse_datetime,
    parse_json,
    read_fields,
)
from ._model import NO_EXTRA, Model, String, field_specs, spec_of, text_problem
from .errors import (
    BadAnswer,
    DecodeError,
    Exchange,
    InvalidObject,
    InvalidParameters,
    MalformedMessage,
    Problem,
    status_error,
)
from .interface import Operation, also_named
from .pagination import Link, Page, Rejected, next_link
from .patch import Patch
from .transport import HttpResponse
from .types import OcpiEnum, PartyId, format_datetime

JSON_TYPE = "application/json"

_MAX_PARAMETERS = 100

_PLAIN = re.compile(r"[A-Za-z0-9*_~-][A-Za-z0-9._*~-]*", re.ASCII)
"""A part of a path that stands for itself, as most ids do."""
_ANY = String()

# --- arguments -> request ------------------------------------------------------------------------------


def bind(
    operation: Operation, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> tuple[object, object]:
    """Return target and body out of the arguments of a call; each is None where the operation has none.

    Raises:
        TypeError: the arguments do not fit the operation, as for any Python call.
    """
    bound = operation.signature.bind(None, None, *args, **kwargs)
    bound.apply_defaults()
    values: list[object] = list(bound.args[2:])
    target: object = values.pop(0) if operation.target is not None else None
    body: object = values.pop(0) if operation.body is not None else None
    wanted: tuple[type[Any], ...] = (Patch,) if operation.is_patch else operation.bodies
    if operation.target is not None and not isinstance(target, operation.target):
        raise TypeError(
            f"{operation.id}: expected a {operation.target.__name__}, not {type(target).__name__}"
        )
    if wanted and not (isinstance(body, wanted) or (body is None and operation.body_optional)):
        names = " or ".join(kind.__name__ for kind in wanted)
        raise TypeError(f"{operation.id}: expected a {names}, not {type(body).__name__}")
    if operation.is_patch and cast("Patch[Model]", body).model is not operation.body:
        raise TypeError(f"{operation.id}: expected a Patch of {cast('Any', operation.body).__name__}")
    return target, body


def missing_in_patch(body: object, required: Collection[str]) -> list[Problem]:
    """Return a problem for each field that a PATCH must carry, its object has, and it leaves out.

    Args:
        body: What an operation takes; a problem is found in a `Patch` only.
        required: The names that the version requires.
    """
    if not isinstance(body, Patch):
        return []
    changes = cast("Patch[Model]", body)
    return [
        Problem(f"/{spec.name}", "missing", f"expected a {spec.type_name}, which every PATCH carries")
        for spec in field_specs(changes.model)
        if spec.name in required and spec.name not in changes.changes
    ]


def require_whole_patch(operation: Operation, body: object, required: Collection[str]) -> None:
    """Make sure that a `Patch` of ours carries what its version requires.

    Raises:
        InvalidObject: it leaves out a field that every PATCH must carry.
    """
    problems = missing_in_patch(body, required)
    if problems:
        raise InvalidObject(f"Patch[{cast('Any', operation.body).__name__}]", problems)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return format_datetime(value)
    return value.value if isinstance(value, OcpiEnum) else str(value)


def path_and_query(operation: Operation, target: object) -> str:
    """Return what follows the module's endpoint URL: empty, or path and query, percent-encoded.

    Raises:
        ValueError: an id cannot stand in a path: it is empty, ``.`` or ``..``, or holds control characters;
            or a part of the query is missing that the operation requires, or breaks its rule.
    """
    if operation.at_link or operation.target is None:
        return f"/{operation.path}" if operation.path and not operation.at_link else ""
    path = operation.path
    for name in operation.path_fields:
        segment = _text(getattr(target, name))
        problem = segment_problem(segment)
        if problem:
            raise ValueError(f"{operation.id}: {name}: {problem}")
        path = path.replace(f"{{{name}}}", quote(segment, safe=""))
    pairs: list[tuple[str, str]] = []
    readers = _readers_of(operation.target)
    for name in operation.query_fields:
        value = getattr(target, name)
        if value is None and name in operation.requires:
            raise ValueError(f"{operation.id}: {name}: expected a value")
        wrong = readers[name].problem(value)
        if wrong:
            raise ValueError(f"{operation.id}: {name}: {wrong[1]}")
        # Offset 0 goes without saying; an enum's default is said, for partners that have another.
        if value is not None and not (value == 0 and value == readers[name].default):
            pairs.append((name, _text(value)))
    query = urlencode(pairs, safe=":", quote_via=quote)
    return (f"/{path}" if path else "") + (f"?{query}" if query else "")


def segment_problem(segment: str) -> str | None:
    """Say why a text cannot be part of a path, if it cannot: clients and proxies would walk or cut there."""
    if segment in ("", ".", ".."):
        return "expected an id that can stand in a URL, not an empty one or dots"
    problem = text_problem(segment, _ANY)
    return problem[1] if problem else None


def link_path(link: Link) -> str:
    """Return the percent-encoded path below our endpoint of a place that a handler names.

    Raises:
        ValueError: nobody could call it: it is empty, or walks.
    """
    if any(segment_problem(segment) for segment in link.url.split("/")):
        raise ValueError("expected a Link such as START_SESSION/17, relative to the endpoint")
    return quote(link.url)


def subject(operation: Operation, target: object, body: object) -> str:
    """Name the object that a message is about, without personal data: ``FR*CPO/LOC1``.

    What a reference keeps out of its repr stays out of this, too.
    """
    place = body if operation.target in (None, Link) else target
    if place is None:
        return ""
    country, party = getattr(place, "country_code", None), getattr(place, "party_id", None)
    owner = [f"{country}*{party}"] if country and party else []
    unsaid = {field.name for field in attrs.fields(cast("Any", type(place))) if not field.repr}
    unsaid |= {"country_code", "party_id"}
    ids = [_text(getattr(place, name)) for name in operation.path_fields if name not in unsaid]
    if not operation.path_fields and isinstance(getattr(body, "id", None), str):
        ids = [cast("Any", body).id]
    return "/".join(owner + ids)


def encode_body(body: object) -> bytes:
    """Return the body's bytes; empty where there is none."""
    if body is None:
        return b""
    if isinstance(body, Patch):
        changes = cast("Patch[Model]", body)
        return encode_fields(changes.model, {**changes.changes, **changes.extra})
    return encode(body)


# --- request -> arguments ------------------------------------------------------------------------------


@frozen
class _Reader:
    """How the text of one field of a target is read, and what rule it keeps."""

    read: Callable[[str], Any]
    default: object
    rule: String
    also: tuple[str, ...]

    @property
    def required(self) -> bool:
        return self.default is attrs.NOTHING

    def problem(self, value: object) -> tuple[str, str] | None:
        """Return code and message of what is wrong with a value for a query, if anything is."""
        if self.read is str and isinstance(value, str):
            return text_problem(value, self.rule) if value else ("missing", "expected a value")
        if self.read is _whole and isinstance(value, int) and value < 0:
            return "range", "expected no negative number"
        return None


_readers: dict[type[Any], dict[str, _Reader]] = {}


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError("expected a non-negative integer of at most 18 digits")
    return int(text)


def _moment(text: str) -> datetime:
    # A plus sign that was not percent-encoded arrives as a blank.
    return parse_datetime(text.replace(" ", "+"))


_PARSERS: Mapping[object, Callable[[str], Any]] = {int: _whole, datetime: _moment}


def _readers_of(target: type[Any] | None) -> dict[str, _Reader]:
    """Return how each field of a target is read."""
    if target is None:
        return {}
    found = _readers.get(target)
    if found is None:
        hints, whole = get_type_hints(target), get_type_hints(target, include_extras=True)
        found = {}
        for attribute in attrs.fields(target):
            hint = hints[attribute.name]
            kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
            rules = [
                one for one in getattr(whole[attribute.name], "__metadata__", ()) if isinstance(one, String)
            ]
            found[attribute.name] = _Reader(
                _PARSERS.get(kinds[0], kinds[0]),
                attribute.default,
                (rules or [String()])[0],
                also_named(attribute),
            )
        _readers[target] = found
    return found


def decode_target(operation: Operation, segments: Mapping[str, str], query: str, rest: str) -> object:
    """Read the object that a request names.

    Args:
        operation: The operation that was routed to.
        segments: The path's fields, still percent-encoded.
        query: The query string.
        rest: The path below the endpoint, for operations whose target is a `Link`.

    Raises:
        InvalidParameters: OCPI 2001: a parameter cannot be read; its value is not repeated. "To such a
            request", one that reached the OCPI layer, "an HTTP error status code MUST NOT be
            returned." (status codes chapter)
    """
    if operation.target is None:
        return None
    if operation.target is Link:
        return Link("/".join(_unquoted(segment, "the URL") for segment in rest.split("/")) if rest else "")
    if not query and operation.path_only and all(map(_PLAIN.fullmatch, segments.values())):
        return operation.target(**segments)
    readers = _readers_of(operation.target)
    given, problems = _parameters(query, operation.query_fields, readers)
    for name, segment in segments.items():
        given[name] = segment if _PLAIN.fullmatch(segment) else _unquoted(segment, f"{{{name}}}")
    values: dict[str, Any] = {}
    for name, reader in readers.items():
        text = given.get(name)
        if text is not None:
            try:
                values[name] = reader.read(text)
            except ValueError as wrong:
                # What an enum says repeats the value.
                words = str(wrong) if reader.read in (_whole, _moment) else "expected a value"
                problems.append(Problem(_place(name, segments), "type", words))
            else:
                broken = None if name in segments else reader.problem(values[name])
                problems += [Problem(f"?{name}", *broken)] if broken else []
        elif reader.required or name in operation.requires:
            problems.append(Problem(_place(name, segments), "missing", "expected a value"))
    if operation.paginated:
        problems += _query_problems(values)
    if problems:
        raise InvalidParameters(problems=problems)
    return operation.target(**values)


def _place(name: str, segments: Mapping[str, str]) -> str:
    return f"{{{name}}}" if name in segments else f"?{name}"


def _parameters(
    query: str, wanted: Sequence[str], readers: Mapping[str, _Reader]
) -> tuple[dict[str, str], list[Problem]]:
    """Return the parameters that a query gives and an operation knows; others are nobody's business."""
    if not query:
        return {}, []
    known = {also: name for name in wanted for also in (name, *readers[name].also)}
    try:
        pairs = parse_qsl(query, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:  # too many, or no UTF-8
        return {}, [Problem("?", "type", "expected a query of a few parameters in UTF-8")]
    given: dict[str, str] = {}
    problems: list[Problem] = []
    for said, text in pairs:
        name = known.get(said)
        if name is not None and given.setdefault(name, text) != text:
            problems.append(Problem(f"?{name}", "duplicate", "expected it once"))
    return given, problems


def _query_problems(values: Mapping[str, Any]) -> list[Problem]:
    """Say what is wrong with a page's query. An interval that ends where it begins is empty, not wrong."""
    problems: list[Problem] = []
    if values.get("limit") == 0:
        problems.append(Problem("?limit", "type", "expected a positive integer"))
    begin, end = values.get("date_from"), values.get("date_to")
    if begin is not None and end is not None and end < begin:
        problems.append(Problem("?date_to", "order", "expected a moment after date_from"))
    return problems


def _unquoted(segment: str, place: str) -> str:
    """Decode one segment of a path.

    Raises:
        InvalidParameters: it cannot be part of an id.
    """
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidParameters(problems=[Problem(place, "charset", "expected UTF-8")]) from None
    problem = segment_problem(text)
    if problem:
        raise InvalidParameters(problems=[Problem(place, "charset", problem)])
    return text


def decode_body(
    operation: Operation, body: bytes, patch_requires: AbstractSet[str] = frozenset[str]()
) -> object:
    """Read a request's body.

    Args:
        operation: The operation that was routed to.
        body: The bytes. What ``Content-Type`` says of them does not matter: they are JSON, or refused.
        patch_requires: The fields that every PATCH must carry, where the object has them.

    Raises:
        MalformedMessage: HTTP 400: it is not acceptable JSON.
        InvalidParameters: OCPI 2001, naming every pointer: it is JSON, but not what the operation takes.
    """
    if operation.body is None or (operation.body_optional and body.strip() in (b"", b"null")):
        return None
    try:
        if operation.is_patch:
            return _decode_patch(operation, body, patch_requires)
        return decode(body, _alternative(operation, body))
    except DecodeError as wrong:
        if wrong.malformed:
            raise MalformedMessage(problems=wrong.problems) from None
        raise InvalidParameters(problems=wrong.problems) from None


def _alternative(operation: Operation, body: bytes) -> type[Model]:
    """Return the class of a body: of several the first that has every property given that any of them has.

    Raises:
        DecodeError: there are several, and it is not acceptable JSON.
    """
    first: type[Model] = operation.bodies[0]
    if len(operation.bodies) == 1:
        return first
    value = parse_json(body, first.__name__)
    if not isinstance(value, dict):
        return first
    known = {kind: {spec.name for spec in field_specs(kind)} for kind in operation.bodies}
    given = set[str]().union(*known.values()) & value.keys()
    return next((kind for kind, names in known.items() if given <= names), first)


def _decode_patch(operation: Operation, body: bytes, patch_requires: AbstractSet[str]) -> Patch[Model]:
    model = cast("type[Model]", operation.body)
    fields = read_fields(body, model)
    if fields is not None and fields.keys() >= patch_requires:
        return Patch.received(model, fields, NO_EXTRA)
    value = parse_json(body, f"Patch[{model.__name__}]")
    if not isinstance(value, dict):
        raise DecodeError(model.__name__, [Problem("", "type", "expected an object")])
    known = _names_of(model)
    changes: dict[str, object] = {}
    problems: list[Problem] = []
    for name, item in value.items():
        if name not in known:
            continue
        spec = spec_of(model, name)
        if item is None and spec.required:
            problems.append(Problem(f"/{name}", "missing", f"expected a {spec.type_name}, found null"))
            continue
        try:
            changes[name] = field_from_json(model, spec, item)
        except DecodeError as wrong:
            problems += wrong.problems
    received = Patch.received(
        model, changes, {name: item for name, item in value.items() if name not in known}
    )
    if not problems and changes.keys() >= patch_requires:
        return received
    named = {problem.pointer for problem in problems}
    problems += [one for one in missing_in_patch(received, patch_requires) if one.pointer not in named]
    if problems:
        raise DecodeError(model.__name__, problems)
    return received


_names: dict[type[Model], frozenset[str]] = {}


def _names_of(model: type[Model]) -> frozenset[str]:
    found = _names.get(model)
    if found is None:
        found = _names[model] = frozenset(spec.name for spec in field_specs(model))
    return found


# --- response -> result --------------------------------------------------------------------------------


def open_answer(response: HttpResponse, exchange: Exchange) -> Answer:
    """Open the envelope of a response and make sure that it says success.

    Raises:
        StatusError: the partner answered another OCPI status.
        BadAnswer: the response is not an OCPI answer.
    """
    try:
        answer = decode_answer(response.body)
    except DecodeError as wrong:
        reason = f"answered no OCPI envelope: {wrong.problems[0]}"
        if not 200 <= response.status < 300:
            reason = f"HTTP {response.status} without an OCPI envelope"
            known = status_error(2000 if response.status < 500 else 3000, response.status, reason, exchange)
            if known.http == response.status:
                raise known from None
            reason = f"answered {reason}"
        raise BadAnswer(reason, http_status=response.status, exchange=exchange) from None
    if not 1000 <= answer.status_code <= 1999:
        raise status_error(answer.status_code, response.status, answer.status_message, exchange)
    if not 200 <= response.status < 300:
        raise BadAnswer(
            "answered success in a failed response", http_status=response.status, exchange=exchange
        )
    return answer


def decode_result(operation: Operation, response: HttpResponse, exchange: Exchange) -> object:
    """Read what an operation answered.

    A `Link` is empty where the partner names no place: IOP's own example of an answer to a CDR does not.

    Raises:
        StatusError: the partner answered another OCPI status.
        BadAnswer: the response is not OCPI, or its payload is not what the operation answers.
    """
    answer = open_answer(response, exchange)
    if operation.answer is None:
        return None
    if operation.answer is Link:
        return Link(response.headers.get("Location", ""))
    try:
        if answer.data is None:
            problem = Problem("/data", "missing", f"expected a {operation.answer.__name__}")
            raise DecodeError(operation.answer.__name__, [problem])
        if operation.paginated:
            return _page(operation, answer.data, response)
        if operation.lists:
            return decode(answer.data, cast("Any", list)[operation.answer])
        return decode(answer.data, operation.answer)
    except DecodeError as wrong:
        reason = f"answered something else than expected: {wrong}"
        raise BadAnswer(reason, http_status=response.status, exchange=exchange) from None


def _count(response: HttpResponse, name: str) -> int | None:
    text = response.headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def _page(operation: Operation, data: bytes, response: HttpResponse) -> Page[Model]:
    items: list[Model] = []
    rejected: list[Rejected] = []
    for item in decode_items(data, cast("type[Model]", operation.answer)):
        if isinstance(item, Rejected):
            rejected.append(item)
        else:
            items.append(item)
    return page_headers(response, items, tuple(rejected))


def page_headers(response: HttpResponse, items: list[Model], rejected: tuple[Rejected, ...]) -> Page[Model]:
    """Put a page's items together with what its headers say."""
    return Page(
        items=items,
        total=_count(response, "X-Total-Count"),
        limit=_count(response, "X-Limit"),
        next=next_link(", ".join(response.headers.getall("Link", []))),
        rejected=rejected,
    )


def put_party(headers: CIMultiDict[str], direction: str, party: PartyId | None) -> None:
    """Write one side of the routing headers; `direction` is ``from`` or ``to``."""
    if party is not None:
        headers[f"OCPI-{direction}-country-code"] = party.country_code
        headers[f"OCPI-{direction}-party-id"] = party.party_id
