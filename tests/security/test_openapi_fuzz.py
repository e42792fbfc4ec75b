"""The published descriptions against a platform that serves every operation, over a socket.

Messages are made from the descriptions, right ones and wrong ones, and each is sent as nobody, as a newcomer
with a token A, as a partner and as a hub. A message is *accepted* where the answer is HTTP 2xx with OCPI
1xxx: HTTP 200 with OCPI 2001 is how OCPI refuses what it can read. What is wrong enough to be refused,
`forgiven` says: over-long texts, unknown enum values and numbers in quotes are taken, and nothing beyond.
Some messages carry a canary wherever something personal may stand: no refusal and no log may repeat it.

`OCPI_GIREVE_FUZZ_REQUESTS` is how many requests to make at random; `nox -s schemathesis` makes 100 000.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
import schemathesis
from attrs import define, frozen
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode, Response
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi import checks

from ocpi_gireve import Context, PartyId, Patch, Role, v221
from ocpi_gireve._codec import decode, decode_answer, encode
from ocpi_gireve._model import Model
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.interface import Operation
from ocpi_gireve.openapi import document
from ocpi_gireve.redaction import HIDDEN
from ocpi_gireve.testing.samples import sample
from tests.security.canary import Ear, Watch, forms
from tests.security.world import (
    BEHIND_THE_HUB,
    DIALECTS,
    HUB,
    NEWCOMER,
    NOBODY,
    OTHER,
    OURS,
    PARTNER,
    SPEAKS,
    Heard,
    World,
)

Json = dict[str, Any]
# Of its own classes, schemathesis leaves the parameters open.
AnyCase: TypeAlias = Any
AnyOperation: TypeAlias = Any
AnyPrinter: TypeAlias = Any

REQUESTS = int(os.environ.get("OCPI_GIREVE_FUZZ_REQUESTS", "0"))
"""How many requests to make at random; 0: some hundred, the same ones every time."""
BATCH = 25
"""How many messages of one operation are made in a row."""
PARTIES = (*OURS, PARTNER, OTHER, HUB, BEHIND_THE_HUB, PartyId("fr", "par"), PartyId("Fr", "oU1"))
HANDSHAKE = ("versions", "credentials")
ONLY_A_HUB = frozenset({Role.HUB})
CONFORMANCE = [
    getattr(checks, f"{part}_conformance")
    for part in ("status_code", "content_type", "response_headers", "response_schema")
]
"""Whether an answer is one that the description has."""
CANARY = "CANARY-0412"
"""What stands for a driver's token, contract and authorization in messages that carry canaries."""
INSIDE = re.compile(r"Traceback|ocpi_gireve|site-packages|\.py\b| object at 0x")
"""What tells of the program."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The platform and its partners."""
    with World() as running:
        yield running


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """What is logged. It goes nowhere else, for there is much of it."""
    heard = Watch()
    heard.plant(CANARY)
    ear, loggers = Ear(heard), [logging.getLogger(name) for name in ("ocpi_gireve", "aiohttp", "asyncio")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(ear)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    yield heard
    for logger, (level, propagates) in zip(loggers, before, strict=True):
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = propagates


# --- what is forgiven ---------------------------------------------------------------------------------------

_MOMENT = r"^\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}[Tt ][0-9]{1,2}:[0-9]{2}"
_NUMBER = r"^\s*[-+]?[0-9._]+([eE][-+]?[0-9]+)?\s*$"
_KINDS: Mapping[str, Json] = {
    "string": {"type": ["string", "number"]},
    "number": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": _NUMBER}]},
    "integer": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _NUMBER}]},
    "boolean": {
        "anyOf": [
            {"type": "boolean"},
            {"type": "string", "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"},
        ]
    },
}


def forgiven(schema: Json) -> Json:
    """The schema of what is accepted, made of the one of what is right.

    Lengths, characters, patterns, ranges and lists of values are forgiven, and so are numbers and booleans
    in quotes, texts without, other ways to write a date, and an empty text for what may be absent.
    """
    if "type" not in schema:
        kept: Json = {}
        if "$ref" in schema:
            kept["$ref"] = schema["$ref"]
        if "anyOf" in schema:
            kept["anyOf"] = [forgiven(one) for one in schema["anyOf"]]
        return kept
    kinds: list[str] = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    ways = [way for kind in kinds for way in _ways(kind, schema)]
    return ways[0] if len(ways) == 1 else {"anyOf": ways}


def _ways(kind: str, schema: Json) -> list[Json]:
    if kind == "object":
        properties = {name: forgiven(one) for name, one in schema.get("properties", {}).items()}
        return [{"type": "object", "properties": properties, "required": schema.get("required", [])}]
    if kind == "array":
        return [{"type": "array", "items": forgiven(schema["items"])}]
    if kind == "null":
        return [{"type": "null"}, {"const": ""}]
    if schema.get("format") == "date-time":
        return [{"type": "string", "pattern": _MOMENT}]
    if "enum" in schema or "x-extensible-enum" in schema:
        return [{"type": ["string", "number"], "minLength": 1}]
    return [_KINDS[kind]]


# --- the descriptions --------------------------------------------------------------------------------------


@frozen(eq=False)
class Described:
    """An operation, as the description has it.

    Attributes:
        side: The first part of its path, which decides which token opens it.
        made: It, as what messages are made from.
        accepts: What its body may be at most; None where it has none.
    """

    operation: Operation
    side: str
    made: AnyOperation
    raw: Json
    accepts: Draft202012Validator | None

    def __str__(self) -> str:
        return f"{self.operation} {self.made.label}"

    def _repr_pretty_(self, printer: AnyPrinter, _cycle: bool) -> None:
        """Keep hypothesis from printing a whole description."""
        printer.text(str(self))


def descriptions(dialect: Dialect) -> list[Described]:
    """Every operation of a version. How a token is presented is ours to do."""
    whole = cast("Json", json.loads(json.dumps(document(dialect))))
    del whole["components"]["securitySchemes"]
    for item in whole["paths"].values():
        for raw in item.values():
            del raw["security"]
    schemas = {name: forgiven(schema) for name, schema in whole["components"]["schemas"].items()}
    found: list[Described] = []
    schema = cast("Any", schemathesis.openapi.from_dict(whole))
    for one in schema.get_all_operations():
        made = one.ok()
        raw = whole["paths"][made.path][made.method]
        operation = dialect.operation(".".join(raw["operationId"].split(".")[:2]))
        assert operation is not None
        accepts = None
        if operation.bodies:
            body = forgiven(raw["requestBody"]["content"]["application/json"]["schema"])
            accepts = Draft202012Validator({"components": {"schemas": schemas}, **body})
        side = made.path.split("/")[1]
        found.append(Described(operation, "2.2.1" if side == "versions" else side, made, raw, accepts))
    return found


DESCRIBED = {version: descriptions(dialect) for version, dialect in DIALECTS.items()}
FUNCTIONAL = [
    pytest.param(one, id=str(one))
    for each in DESCRIBED.values()
    for one in each
    if one.operation.interface.functional
]


# --- what is wrong enough to be refused --------------------------------------------------------------------


def _unlike_json(name: str) -> object:
    raise ValueError(name)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a property twice")
    return dict(pairs)


def wrong_in_body(one: Described, body: bytes) -> list[str]:
    """Why a body has to be refused."""
    if one.accepts is None or (one.operation.body_optional and body.strip() in (b"", b"null")):
        return []
    try:
        value = json.loads(body, parse_constant=_unlike_json, object_pairs_hook=_once)
    except ValueError as wrong:
        return [f"no JSON: {wrong}"]
    # The stubs of jsonschema leave the type of an overload open.
    found = one.accepts.iter_errors(value)  # pyright: ignore[reportUnknownMemberType]
    return [f"{error.json_path}: {error.message}" for error in found]


def wrong_in_query(one: Described, query: str) -> list[str]:
    """Why a query has to be refused."""
    if not one.operation.query_fields:
        return []
    given_ = parse_qsl(query)
    said = {name for name, _ in given_}
    wrong = [f"no {name}" for name in one.operation.required_query if name not in said]
    for raw in one.raw["parameters"]:
        if raw.get("in") != "query":
            continue
        name, form = raw["name"], form_of(raw["schema"])
        values = {text for said_name, text in given_ if said_name == name}
        # A plus sign that was not percent-encoded arrives as a blank.
        wrong += [f"{name}: {text!r}" for text in values if not form.fullmatch(text.replace(" ", "+"))]
        wrong += [f"{name} twice"] if len(values) > 1 else []
    return wrong


def form_of(schema: Json) -> re.Pattern[str]:
    """The form that a part of a query must have at least."""
    if schema["type"] == "integer":
        return re.compile(r"(?!0+$)[0-9]{1,18}" if schema["minimum"] else "[0-9]{1,18}")
    return re.compile(_MOMENT + ".*" if schema.get("format") == "date-time" else ".*", re.DOTALL)


def wrong_in_headers(headers: Mapping[str, Any]) -> list[str]:
    """Why the parties in the headers have to be refused."""
    wrong: list[str] = []
    for direction in ("from", "to"):
        parts = [headers.get(f"OCPI-{direction}-{part}") for part in ("country-code", "party-id")]
        if (parts[0] is None) != (parts[1] is None):
            wrong.append(f"half of OCPI-{direction}-*")
        elif parts[0] is not None and [len(as_text(part).strip()) for part in parts] != [2, 3]:
            wrong.append(f"OCPI-{direction}-* of another length")
    return wrong


def as_text(value: object) -> str:
    """A header's value as text."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def trespasses(who: str, one: Heard) -> list[str]:
    """Whose objects, or in whose name, a request reached a handler although it must not."""
    if who in (NOBODY, NEWCOMER):
        return ["a stranger"]
    interface, ctx = one.operation.interface, one.ctx
    found: list[str] = []
    if not ctx.partner.startswith(f"{who}-"):
        found.append(f"taken for {ctx.partner}")
    if not interface.routed:
        return [*found, *(["not a hub"] if who != "hub" and interface.callers == ONLY_A_HUB else [])]
    if ctx.receiver not in OURS or (ctx.version == "2.1.1" and ctx.receiver != OURS[0]):
        found.append(f"to {ctx.receiver}")
    foreign = (*OURS, PARTNER, OTHER)
    for role, party in [("from", ctx.sender), *(("about", owner) for owner in one.owners())]:
        if party is None or (party in foreign if who == "hub" else party != PARTNER):
            found.append(f"{role} {party}")
    return found


def leaks(watch: Watch, world: World, one: Described, answered: Answered) -> list[str]:
    """What an answer, or the log, tells although it must not.

    A credentials token is told by nothing but the handshake, and a driver's by nothing that refuses it.
    """
    tokens = {token for each in world.tokens.values() for token in each.values()}
    watch.plant(*(tokens - watch.canaries))
    found = [f"logged: {text}" for text in watch.among(watch.said)]
    watch.clear()
    head = "\n".join(f"{name}: {text}" for name, text in answered.response.headers.items())
    told = f"{head}\n{answered.response.content.decode()}"
    if one.operation.module != "credentials":
        found += [f"told: {token}" for token in tokens if any(form in told for form in forms(token))]
    if not answered.accepted and CANARY in told:
        found.append(f"told in a refusal: {told}")
    return [*found, *(f"told: {inside}" for inside in INSIDE.findall(told))]


# --- sending -----------------------------------------------------------------------------------------------


@define
class Answered:
    """An answer, opened."""

    response: Response
    status_code: int
    message: str

    @property
    def accepted(self) -> bool:
        """Whether the message was taken."""
        return 200 <= self.response.status_code < 300 and 1000 <= self.status_code < 2000


def send(world: World, one: Described, case: AnyCase, who: str) -> tuple[Answered, list[Heard]]:
    """Send a message as one of the four, and return the answer and what reached a handler."""
    before = len(world.heard)
    token = world.tokens[who].get(one.side)
    headers = {} if token is None else {"Authorization": presented(token, one.side)}
    response = case.call(base_url=world.url, headers=headers)
    answered = opened(response)
    heard = world.heard[before:]
    if one.operation.name == "delete_credentials" and answered.accepted:
        world.renew()
    return answered, heard


def opened(response: Response) -> Answered:
    """Open the envelope that every answer is."""
    envelope = cast("Json", json.loads(response.content))
    return Answered(response, envelope["status_code"], str(envelope.get("status_message")))


def presented(token: str, side: str) -> str:
    """A token as its version writes it."""
    return f"Token {base64.b64encode(token.encode()).decode() if side == '2.2.1' else token}"


def check(one: Described, case: AnyCase, who: str, answered: Answered, heard: Sequence[Heard]) -> None:
    """Hold an exchange to what the platform promises."""
    response, request = answered.response, answered.response.request
    assert response.status_code < 500
    handshake = one.operation.module == "credentials" and one.operation.bodies
    assert answered.status_code < 3000 or handshake, answered.message
    assert [trespass for each in heard for trespass in trespasses(who, each)] == []
    if who == NOBODY:
        assert not answered.accepted
    elif who == NEWCOMER and one.operation.module not in HANDSHAKE:
        assert response.status_code in (400, 401, 404, 405)
    url = urlsplit(str(request.url))
    if answered.accepted:
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        assert wrong_in_body(one, body) == []
        assert wrong_in_query(one, url.query) == []
        if who != NEWCOMER and one.operation.module not in HANDSHAKE and one.operation.interface.routed:
            assert one.side != "2.2.1" or wrong_in_headers(request.headers) == []
    path = url.path.removeprefix("/ocpi").split("/")
    if len(path) == len(one.made.path.split("/")) and all(path[1:]):
        case.validate_response(response, checks=CONFORMANCE)


# --- right messages ----------------------------------------------------------------------------------------


def right_case(one: Described, who: str) -> AnyCase:
    """A message that keeps to the description, about an object of who asks."""
    party, operation = SPEAKS[who], one.operation
    cls = operation.body
    body = cast("Json", json.loads(encode(sample(cls, 7)))) if cls is not None else None
    parts: Json = {"country_code": party.country_code, "party_id": party.party_id}
    if body is not None:
        body |= {name: value for name, value in parts.items() if name in body}
        if "token" in body and isinstance(body["token"], dict) and "party_id" in body["token"]:
            body["token"] |= parts
        body |= {"response_url": f"https://{who}.example/ocpi/result"} if "response_url" in body else {}
    identity = (body or {}).get("id", (body or {}).get("uid", "1"))
    named = re.findall(r"{(\w+)}", one.made.path)
    path = {
        name: parts.get(name, quote(str(identity), safe="") if name == named[-1] else "1") for name in named
    }
    query: Json = {"duration": 3600, "response_url": f"https://{who}.example/ocpi/result"}
    query["date_from"] = "2026-11-01T12:00:00Z"
    query = {name: value for name, value in query.items() if name in operation.required_query}
    headers = {"X-Request-ID": "1", "X-Correlation-ID": "2"}
    if one.side == "2.2.1" and operation.interface.functional and operation.interface.routed:
        for direction, said in (("from", party), ("to", OURS[0])):
            headers[f"OCPI-{direction}-country-code"] = said.country_code
            headers[f"OCPI-{direction}-party-id"] = said.party_id
    return one.made.Case(
        path_parameters=path,
        query=query,
        headers=headers,
        body=body if body is not None else NOT_SET,
        media_type="application/json" if body is not None else None,
    )


def put_of(one: Described) -> Described | None:
    """The PUT at the same path, for what is about an object that must have come before."""
    version = next(version for version, each in DESCRIBED.items() if one in each)
    here = [other for other in DESCRIBED[version] if other.made.path == one.made.path and other is not one]
    return next((other for other in here if other.operation.http_method == "PUT"), None)


@pytest.mark.parametrize("who", SPEAKS)
@pytest.mark.parametrize("one", FUNCTIONAL)
def test_right_message(world: World, one: Described, who: str) -> None:
    """A message that keeps to the description is taken from those who may send it, and from nobody else."""
    put = put_of(one)
    case = right_case(one, who)
    if put is not None and one.operation.http_method in ("GET", "PATCH", "DELETE"):
        before = right_case(put, who)
        send(world, put, before, who)
        case.path_parameters = dict(before.path_parameters)
    answered, heard = send(world, one, case, who)
    check(one, case, who, answered, heard)
    if who in (NOBODY, NEWCOMER):
        assert answered.response.status_code == 401
    elif who == "partner" and one.operation.interface.callers == ONLY_A_HUB:
        assert answered.response.status_code == 403
    else:
        got = (answered.response.status_code, answered.message, answered.status_code)
        assert got == (200, "Success", 1000)


# --- messages at random ------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Plan:
    """Which parties a message names in its path, body and headers; None: those that were made for it.

    Attributes:
        same_id: Whether the body is about the object in the path.
        canary: Whether canaries stand wherever something personal may.
    """

    path: PartyId | None
    body: PartyId | None
    sender: PartyId | None
    receiver: PartyId | None
    same_id: bool = True
    canary: bool = False


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a plan: half of them speak for one party throughout."""
    canary = draw(st.booleans())
    if draw(st.booleans()):
        party = draw(st.sampled_from(PARTIES))
        receiver = draw(st.sampled_from(OURS))
        return Plan(path=party, body=party, sender=party, receiver=receiver, canary=canary)
    some = st.none() | st.sampled_from(PARTIES)
    return Plan(
        path=draw(some),
        body=draw(some),
        sender=draw(some),
        receiver=draw(some),
        same_id=draw(st.booleans()),
        canary=canary,
    )


def planted(value: Any, hidden: Collection[str]) -> Any:  # noqa: ANN401 - JSON, or no body
    """The same with a canary for each text that must be hidden."""
    if isinstance(value, list):
        return [planted(item, hidden) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    return {
        name: CANARY if name in hidden and isinstance(item, str) else planted(item, hidden)
        for name, item in cast("Json", value).items()
    }


def arrange(one: Described, case: AnyCase, plan: Plan) -> None:
    """Let a message name the parties of a plan, and the object of its path, and carry canaries or not."""
    if plan.canary:
        # In locations, `uid` names an EVSE.
        case.body = planted(case.body, HIDDEN - {"uid"} if one.operation.module == "locations" else HIDDEN)
    whole: object = case.body
    body = cast("Json", whole) if isinstance(whole, dict) else {}
    for name in ("country_code", "party_id"):
        if plan.path is not None and name in case.path_parameters:
            case.path_parameters[name] = getattr(plan.path, name)
        if plan.body is not None and name in body:
            body[name] = getattr(plan.body, name)
        for direction, party in (("from", plan.sender), ("to", plan.receiver)):
            header = f"OCPI-{direction}-{name.replace('_', '-')}"
            if party is not None and header in case.headers:
                case.headers[header] = getattr(party, name)
    if plan.canary and "token_uid" in case.path_parameters:
        case.path_parameters["token_uid"] = CANARY
    last = case.path.rpartition("/")[2].strip("{}")
    for name in ("id", "uid"):
        if plan.same_id and last in case.path_parameters and isinstance(body.get(name), str):
            body[name] = unquote(str(case.path_parameters[last]))


def chosen(examples: int) -> settings:
    """So many examples: at random where many requests are wanted, else the same ones every time."""
    return settings(
        max_examples=examples,
        derandomize=not REQUESTS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


@cache
def messages(one: Described, mode: GenerationMode = GenerationMode.POSITIVE) -> st.SearchStrategy[AnyCase]:
    """Messages of an operation, right ones or wrong ones; to work out how they are made takes its time."""
    return cast("st.SearchStrategy[AnyCase]", one.made.as_strategy(generation_mode=mode))


def many(
    one: Described,
    mode: GenerationMode,
    number: int,
    exchange: Callable[[Described, AnyCase, Plan], None],
) -> None:
    """Make some messages of an operation; the number decides which."""

    @chosen(BATCH)
    @seed(number)
    @given(case=messages(one, mode), plan=plans())
    def each(case: AnyCase, plan: Plan) -> None:
        exchange(one, case, plan)

    each()


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("version", DESCRIBED)
def test_messages_at_random(world: World, watch: Watch, version: str, mode: GenerationMode) -> None:
    """Whatever arrives from whomever: no failure, no leak, nothing wrong taken, nothing of another's met."""
    every = DESCRIBED[version]
    wanted = REQUESTS // (len(DESCRIBED) * len(GenerationMode))
    outcomes: Counter[tuple[str, bool]] = Counter()

    def exchange(one: Described, case: AnyCase, plan: Plan) -> None:
        arrange(one, case, plan)
        for who in SPEAKS:
            note(f"{who}: {one}, {plan}, {case.path_parameters}, {case.query}, {case.headers}, {case.body!r}")
            answered, heard = send(world, one, case, who)
            check(one, case, who, answered, heard)
            assert leaks(watch, world, one, answered) == []
            outcomes[who, answered.accepted] += 1

    if not wanted:

        @chosen(40)
        @given(data=st.data(), plan=plans())
        def some(data: st.DataObject, plan: Plan) -> None:
            one = data.draw(st.sampled_from(every))
            exchange(one, data.draw(messages(one, mode)), plan)

        some()
    rounds = ((round_, number, one) for round_ in count() for number, one in enumerate(every))
    for round_, number, one in rounds:
        if outcomes.total() >= wanted:
            break
        many(one, mode, round_ * 1000 + number, exchange)
    for who in ("partner", "hub"):
        assert outcomes[who, True] > 0
        assert outcomes[who, False] > 0


@pytest.mark.parametrize("version", DESCRIBED)
def test_chains(world: World, watch: Watch, version: str) -> None:
    """What was put is found by whoever put it, whatever else is asked meanwhile, until it is deleted."""
    linked = {
        put: [one for one in DESCRIBED[version] if one.made.path == put.made.path]
        for put in DESCRIBED[version]
        if put.operation.http_method == "PUT" and put.operation.target is not v221.ProfileRef
    }
    linked = {
        put: here
        for put, here in linked.items()
        if len(here) > 1 and not {*put.operation.path_fields} <= {"country_code", "party_id"}
    }
    found, numbers = Counter[bool](), count()

    def chain(data: st.DataObject, who: str) -> None:
        put, party = data.draw(st.sampled_from(list(linked))), SPEAKS[who]
        plan = Plan(path=party, body=party, sender=party, receiver=OURS[0])
        number, kept = str(next(numbers)), cast("Model | None", None)
        for one in [put, *data.draw(st.lists(st.sampled_from(linked[put]), min_size=1, max_size=5))]:
            case = data.draw(messages(one))
            case.path_parameters = dict.fromkeys(one.operation.path_fields, number)
            case.query.pop("type", None)  # it names a token beside its uid
            arrange(one, case, plan)
            answered, heard = send(world, one, case, who)
            check(one, case, who, answered, heard)
            assert leaks(watch, world, one, answered) == []
            if one.operation.http_method == "GET":
                got = decode_answer(answered.response.content).data
                assert (got in (None, b"{}")) == (kept is None)
                # Times are written to the millisecond.
                assert kept is None or encode(decode(got or b"", type(kept))) == encode(kept)
                found[kept is not None] += 1
            elif answered.accepted:
                kept = after(one.operation, heard, kept)

    # Many small runs: a single one would remember all that it ever drew.
    for round_ in range(max(1, REQUESTS // 100 // BATCH)):
        each = given(data=st.data(), who=st.sampled_from(("partner", "hub")))(chain)
        chosen(BATCH if REQUESTS else 8)(seed(round_)(each))()
    assert found[True] > 0


def after(operation: Operation, heard: Sequence[Heard], kept: Model | None) -> Model | None:
    """What is kept of an object after a message that was accepted; a repeated one reaches nobody."""
    if operation.http_method == "DELETE":
        return None
    if not heard:
        return kept
    body = heard[-1].body
    if isinstance(body, Patch):
        return cast("Patch[Model]", body).apply_to(cast("Model", kept))
    return cast("Model", body)


# --- the judgement itself ----------------------------------------------------------------------------------


def described(operation_id: str) -> Described:
    """An operation of 2.2.1."""
    return next(one for one in DESCRIBED["2.2.1"] if one.operation.id == operation_id)


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"name": "x" * 1000, "country": "Freedonia", "type": "ANYTHING"}, True),
        ({"publish": "true", "postal_code": 69003, "name": None, "opening_times": ""}, True),
        ({"last_updated": "2026-11-01 12:00:00+01:00"}, True),
        ({"publish": "yes"}, False),
        ({"city": None}, False),
        ({"city": ["Lyon"]}, False),
        ({"coordinates": "45.76,4.86"}, False),
        ({"evses": {}}, False),
        ({"last_updated": "yesterday"}, False),
    ],
)
def test_judgement_of_bodies(change: Json, taken: bool) -> None:
    """The judgement forgives what the library forgives, and nothing else."""
    body = cast("Json", json.loads(encode(sample(v221.Location, 7)))) | change
    wrong = wrong_in_body(described("LocationsReceiver.put_location"), json.dumps(body).encode())
    assert (wrong == []) is taken


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1,"a":1}', b"NaN", b"\xff"])
def test_judgement_of_what_is_no_json(body: bytes) -> None:
    """What is not JSON is wrong; an optional body may be missing all the same."""
    assert wrong_in_body(described("LocationsReceiver.put_location"), body) != []
    assert (wrong_in_body(described("TokensSender.authorize"), body) == []) is (body == b"")


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        ("", True),
        ("offset=0&limit=5&date_from=2026-11-01T00:00:00Z&other=x", True),
        ("offset=-1", False),
        ("limit=0", False),
        ("limit=many", False),
        ("date_to=now", False),
        ("offset=1&offset=2", False),
    ],
)
def test_judgement_of_queries(query: str, taken: bool) -> None:
    """A query is wrong where a parameter cannot be read or contradicts itself."""
    assert (wrong_in_query(described("CdrsSender.list_cdrs"), query) == []) is taken


def test_judgement_of_missing_parts() -> None:
    """A part of a query that the operation cannot do without is missed."""
    one = described("ChargingProfilesReceiver.get_active_charging_profile")
    assert wrong_in_query(one, "duration=3600") == ["no response_url"]


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, True),
        ({"OCPI-from-country-code": "FR", "OCPI-from-party-id": "PAR"}, True),
        ({"OCPI-from-country-code": "FR"}, False),
        ({"OCPI-to-country-code": "FRA", "OCPI-to-party-id": "OU1"}, False),
    ],
)
def test_judgement_of_headers(headers: Mapping[str, str], taken: bool) -> None:
    """A party in the headers is wrong where it is half of one, or too long."""
    assert (wrong_in_headers(headers) == []) is taken


@pytest.mark.parametrize(
    ("who", "partner", "sender", "owner", "receiver", "right"),
    [
        ("partner", "partner-2.2.1", PARTNER, PARTNER, OURS[1], True),
        ("hub", "hub-2.2.1", HUB, BEHIND_THE_HUB, OURS[0], True),
        (NOBODY, "partner-2.2.1", PARTNER, PARTNER, OURS[0], False),
        (NEWCOMER, "newcomer-2.2.1", PARTNER, PARTNER, OURS[0], False),
        ("partner", "other-2.2.1", PARTNER, PARTNER, OURS[0], False),
        ("partner", "partner-2.2.1", OTHER, PARTNER, OURS[0], False),
        ("partner", "partner-2.2.1", PARTNER, OTHER, OURS[0], False),
        ("partner", "partner-2.2.1", PARTNER, PARTNER, OTHER, False),
        ("hub", "hub-2.2.1", OURS[0], BEHIND_THE_HUB, OURS[0], False),
        ("hub", "hub-2.2.1", HUB, PARTNER, OURS[0], False),
    ],
)
def test_judgement_of_who_reached_what(  # noqa: PLR0917 - a row of the table
    who: str, partner: str, sender: PartyId, owner: PartyId, receiver: PartyId, right: bool
) -> None:
    """A request that reached a handler is a trespass where it speaks for another, or about another's."""
    ctx = Context(
        partner=partner, version="2.2.1", sender=sender, receiver=receiver, request_id="1", correlation_id="2"
    )
    operation = described("TariffsReceiver.get_tariff").operation
    ref = v221.TariffRef(owner.country_code, owner.party_id, "1")
    one = Heard(operation=operation, ctx=ctx, target=ref, body=None)
    assert (trespasses(who, one) == []) is right


class Said:
    """An answer that was made up."""

    def __init__(self, content: str, headers: Mapping[str, list[str]]) -> None:
        self.content = content.encode()
        self.headers = headers
        self.status_code = 200


@pytest.mark.parametrize(
    ("operation_id", "status_code", "told", "logged", "right"),
    [
        ("TokensReceiver.get_token", 1000, CANARY, "a token of FR*PAR", True),
        ("CredentialsInterface.get_credentials", 1000, "{token}", "", True),
        ("TokensReceiver.get_token", 2004, CANARY, "", False),
        ("TokensReceiver.get_token", 1000, "", CANARY, False),
        ("TokensReceiver.get_token", 1000, "", "{token}", False),
        ("TokensReceiver.get_token", 1000, "{token}", "", False),
        ("CredentialsInterface.get_credentials", 2001, 'File "ocpi_gireve/server.py"', "", False),
    ],
)
def test_judgement_of_leaks(  # noqa: PLR0917 - a row of the table
    world: World, watch: Watch, operation_id: str, status_code: int, told: str, logged: str, right: bool
) -> None:
    """A token leaks in the log and where it is not asked for, a driver's data in the log and in refusals."""
    token = world.tokens["other"]["2.2.1"]
    leaks(watch, world, described(operation_id), answered_with("", {}, 1000))
    logging.getLogger("ocpi_gireve.anything").debug("%s", logged.format(token=token))
    for content, headers in ((told, ""), ("", told)):
        said = answered_with(content.format(token=token), {"X-A": [headers.format(token=token)]}, status_code)
        logged_before = list(watch.said)
        assert (leaks(watch, world, described(operation_id), said) == []) is right
        watch.said.extend(logged_before)
    watch.clear()


def answered_with(content: str, headers: Mapping[str, list[str]], status_code: int) -> Answered:
    """An answer with this content."""
    return Answered(cast("Response", Said(content, headers)), status_code, "")
