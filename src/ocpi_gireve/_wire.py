"""Operation and arguments <-> path, query, headers and body; does no I/O and knows no connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast, get_args, get_type_hints
from urllib.parse import parse_qsl, quote, unquote, urlencode

import attrs
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
)
from ._model import Model, field_specs
from .errors import BadAnswer, DecodeError, Exchange, InvalidParameters, MalformedMessage, Problem, status_error
from .interface import Operation
from .pagination import Link, Page, Rejected, next_link
from .patch import Patch
from .transport import HttpResponse
from .types import OcpiEnum, PartyId, format_datetime

JSON_TYPE = "application/json"

# --- arguments -> request ------------------------------------------------------------------------------


def bind(operation: Operation, args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[object, object]:
    """Return target and body out of the arguments of a call; each is None where the operation has none.

    Raises:
        TypeError: the arguments do not fit the operation, as for any Python call.
    """
    bound = operation.signature.bind(None, None, *args, **kwargs)
    bound.apply_defaults()
    values = list(bound.args[2:])
    target = values.pop(0) if operation.target is not None else None
    body = values.pop(0) if operation.body is not None else None
    wanted = Patch if operation.is_patch else operation.body
    if operation.target is not None and not isinstance(target, operation.target):
        raise TypeError(f"{operation.id}: expected a {operation.target.__name__}, not {type(target).__name__}")
    if wanted is not None and not (isinstance(body, wanted) or (body is None and operation.body_optional)):
        raise TypeError(f"{operation.id}: expected a {wanted.__name__}, not {type(body).__name__}")
    if isinstance(body, Patch) and cast("Patch[Model]", body).model is not operation.body:
        raise TypeError(f"{operation.id}: expected a Patch of {cast('Any', operation.body).__name__}")
    return target, body


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return format_datetime(value)
    return value.value if isinstance(value, OcpiEnum) else str(value)


def path_and_query(operation: Operation, target: object) -> str:
    """Return what follows the module's endpoint URL: empty, or path and query, percent-encoded.

    Raises:
        ValueError: an id cannot stand in a path: it is empty, ``.`` or ``..``.
    """
    if operation.at_link or operation.target is None:
        return f"/{operation.path}" if operation.path and not operation.at_link else ""
    path = operation.path
    for name in operation.path_fields:
        segment = _text(getattr(target, name))
        if segment in ("", ".", ".."):
            raise ValueError(f"{operation.id}: {name} must not be {segment!r}")
        path = path.replace(f"{{{name}}}", quote(segment, safe=""))
    pairs = [
        (name, _text(value)) for name in operation.query_fields if (value := getattr(target, name)) not in (None, 0)
    ]
    query = urlencode(pairs, safe=":", quote_via=quote)
    return (f"/{path}" if path else "") + (f"?{query}" if query else "")


def subject(operation: Operation, target: object, body: object) -> str:
    """Name the object that a message is about, without personal data: ``FR*CPO/LOC1``."""
    place = body if operation.target in (None, Link) else target
    country, party = getattr(place, "country_code", None), getattr(place, "party_id", None)
    owner = [f"{country}*{party}"] if country and party else []
    if operation.module == "tokens":
        return "/".join(owner)
    names = [name for name in operation.path_fields if name not in ("country_code", "party_id")]
    ids = [_text(getattr(place, name)) for name in names]
    if not ids and isinstance(getattr(body, "id", None), str):
        ids = [cast("Any", body).id]
    return "/".join(owner + ids)


def encode_body(operation: Operation, body: object) -> bytes:
    """Return the body's bytes; empty where there is none."""
    if body is None:
        return b""
    if isinstance(body, Patch):
        changes = cast("Patch[Model]", body)
        return encode_fields(changes.model, {**changes.changes, **changes.extra})
    return encode(body)


# --- request -> arguments ------------------------------------------------------------------------------

Reader = Callable[[str], Any]
_readers: dict[type[Any], dict[str, tuple[Reader, bool]]] = {}


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError("expected a non-negative integer")
    return int(text)


def _moment(text: str) -> datetime:
    # A plus sign that was not percent-encoded arrives as a blank.
    return parse_datetime(text.replace(" ", "+"))


def _readers_of(target: type[Any]) -> dict[str, tuple[Reader, bool]]:
    """Return, for each field of a target, how its text is read and whether it must be there."""
    found = _readers.get(target)
    if found is None:
        hints = get_type_hints(target)
        found = {}
        for attribute in attrs.fields(target):
            hint = hints[attribute.name]
            kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
            reader: Reader = {int: _whole, datetime: _moment}.get(kinds[0], kinds[0])
            found[attribute.name] = (reader, attribute.default is attrs.NOTHING)
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
        InvalidParameters: with HTTP 400: a parameter cannot be read; its value is not repeated.
    """
    if operation.target is None:
        return None
    if operation.target is Link:
        return Link(unquote(rest))
    given = dict(parse_qsl(query, keep_blank_values=False, max_num_fields=32)) if query else {}
    given.update({name: unquote(text) for name, text in segments.items()})
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, (reader, required) in _readers_of(operation.target).items():
        text = given.get(name)
        if text is None:
            if required:
                problems.append(Problem(f"?{name}", "missing", "expected a value"))
            continue
        try:
            values[name] = reader(text)
        except ValueError as wrong:
            problems.append(Problem(f"?{name}", "type", str(wrong)))
    if operation.paginated and values.get("limit") == 0:
        problems.append(Problem("?limit", "type", "expected a positive integer"))
    if problems:
        raise InvalidParameters(problems=problems, http_status=400)
    return operation.target(**values)


def decode_body(operation: Operation, body: bytes) -> object:
    """Read a request's body.

    Raises:
        MalformedMessage: HTTP 400: it is not acceptable JSON.
        InvalidParameters: OCPI 2001, naming every pointer: it is JSON, but not what the operation takes.
    """
    if operation.body is None or (not body and operation.body_optional):
        return None
    try:
        if operation.is_patch:
            return _decode_patch(operation, body)
        return decode(body, operation.body)
    except DecodeError as wrong:
        if wrong.malformed:
            raise MalformedMessage(problems=wrong.problems) from None
        raise InvalidParameters(problems=wrong.problems) from None


def _decode_patch(operation: Operation, body: bytes) -> Patch[Model]:
    model = cast("type[Model]", operation.body)
    value = parse_json(body, f"Patch[{model.__name__}]")
    if not isinstance(value, dict):
        raise DecodeError(model.__name__, [Problem("", "type", "expected an object")])
    specs = {spec.name: spec for spec in field_specs(model)}
    changes: dict[str, object] = {}
    problems: list[Problem] = []
    for name, item in value.items():
        spec = specs.get(name)
        if spec is None:
            continue
        if item is None and spec.required:
            problems.append(Problem(f"/{name}", "missing", f"expected a {spec.type_name}, found null"))
            continue
        try:
            changes[name] = field_from_json(model, spec, item)
        except DecodeError as wrong:
            problems += wrong.problems
    if problems:
        raise DecodeError(model.__name__, problems)
    return Patch.received(model, changes, {name: item for name, item in value.items() if name not in specs})


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
            reason = f"answered HTTP {response.status} without an OCPI envelope"
            known = status_error(2000 if response.status < 500 else 3000, response.status, reason, exchange)
            if known.http == response.status:
                raise known from None
        raise BadAnswer(reason, http_status=response.status, exchange=exchange) from None
    if not 1000 <= answer.status_code <= 1999:
        raise status_error(answer.status_code, response.status, answer.status_message, exchange)
    if not 200 <= response.status < 300:
        raise BadAnswer("answered success in a failed response", http_status=response.status, exchange=exchange)
    return answer


def decode_result(operation: Operation, response: HttpResponse, exchange: Exchange) -> object:
    """Read what an operation answered.

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
