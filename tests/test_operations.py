"""Every operation of both versions: against the tables of the specification, and over sockets."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from attrs import evolve, frozen

from ocpi_gireve import (
    BILATERAL,
    Connection,
    Context,
    Link,
    Page,
    PageQuery,
    Party,
    PartyId,
    Patch,
    Platform,
    Role,
    v211,
    v221,
)
from ocpi_gireve._model import Model, field_specs
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.http import aiohttp_app
from ocpi_gireve.http.aiohttp_server import HttpServer
from ocpi_gireve.interface import Interface, Operation, also_named, operation_of, operations
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.testing.samples import CPO, EMSP, sample, samples
from ocpi_gireve.transport import HttpRequest, HttpResponse
from ocpi_gireve.types import OcpiEnum
from tests.operation_tables import Tables, declared, parameter, row_text, side_of, tabled, tables_of

DIALECTS = (v211.DIALECT, v221.DIALECT)
COUNTS = {"2.1.1": 41, "2.2.1": 50}
GIREVES = {operation.id for operation in operations(v211.GireveTokens)}
FUNCTIONAL = [
    pytest.param(dialect, operation, id=f"{dialect.version} {operation}")
    for dialect in DIALECTS
    for operation in dialect.all_operations()
    if operation.interface.functional
]


# --- against the tables --------------------------------------------------------------------------------


def in_words(rows: list[Tables]) -> Counter[str]:
    """Rows as texts."""
    return Counter(map(row_text, rows))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.version)
def test_declarations_are_those_of_the_specification(dialect: Dialect, shared: Path) -> None:
    """Each operation of the specification is declared as it says, once, and no other but GIREVE's own."""
    ours = [declared(one) for one in dialect.all_operations() if one.id not in GIREVES]
    theirs = [tabled(row) for row in tables_of(shared, dialect.version)]
    assert len(ours) == len(theirs) == COUNTS[dialect.version]
    assert sorted((in_words(ours) - in_words(theirs)).elements()) == []
    assert sorted((in_words(theirs) - in_words(ours)).elements()) == []


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.version)
def test_callers_are_who_serves_the_other_side(dialect: Dialect, shared: Path) -> None:
    """An interface is called by the roles that serve the other side of its module."""
    rows = tables_of(shared, dialect.version)
    for interface in dialect.interfaces:
        other = {
            role
            for row in rows
            if row["module"] == interface.module and row["interface"] != side_of(interface)
            for role in row["implemented_by"]
        }
        assert (interface.__name__, interface.callers) == (interface.__name__, frozenset(map(Role, other)))


def test_messages_without_parties() -> None:
    """Messages of versions, credentials and a hub's own module name no parties; all others do."""
    routed = {
        operation.interface.__name__: operation.interface.routed
        for dialect in DIALECTS
        for operation in dialect.all_operations()
    }
    without = {
        "VersionsInterface",
        "CredentialsInterface",
        "HubClientInfoSender",
        "HubClientInfoReceiver",
    }
    assert {name for name, one in routed.items() if not one} == without


def test_gireves_own_operation(shared: Path) -> None:
    """IOP's token by its uid is declared as the guide says, with the name that its example has for `type`."""
    rules: list[Tables] = json.loads((shared / "spec" / "gireve.json").read_bytes())["rules"]
    (rule,) = (one["data"] for one in rules if one["id"] == "TOK-005")
    operation = operation_of(v211.GireveTokens.get_token)
    assert {operation.id} == GIREVES
    assert (operation.http_method, operation.path.replace("token_uid", "uid")) == (
        rule["method"],
        rule["path"].removeprefix("/"),
    )
    assert cast("type[Any]", operation.answer).__name__ == rule["response_data"]
    assert (operation.bodies, operation.paginated, operation.lists) == ((), False, False)
    (said,) = rule["query"]
    (ours,) = (parameter(operation, name) for name in operation.query_fields)
    assert (ours["name"], ours["required"], ours["default"]) == (
        said["name"],
        said["required"],
        said["default"],
    )
    field = attrs.fields_dict(cast("Any", operation.target))[said["name"]]
    assert said["also_written"] in also_named(field)
    assert (operation.module, operation.role) == ("tokens", v211.InterfaceRole.EMSP)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.version)
def test_operations_at_one_endpoint_are_told_apart(dialect: Dialect) -> None:
    """No two operations at one endpoint have the same method and path, of one interface or of two."""
    places = Counter(
        (dialect.endpoint_path(one.interface), one.http_method, re.sub(r"{\w+}", "{}", one.path))
        for one in dialect.all_operations()
        if one.interface.functional
    )
    assert [place for place, count in places.items() if count > 1] == []


def test_tokens_of_iop_lie_where_those_of_an_emsp_do() -> None:
    """GIREVE's operation is at the endpoint of an eMSP's tokens."""
    place = v211.DIALECT.endpoint_path
    assert place(v211.GireveTokens) == place(v211.TokensEmsp)


# --- there and back ------------------------------------------------------------------------------------

PROFILE = evolve(BILATERAL, allow_http_loopback=True)
PARTIES = {
    Role.CPO: Party(CPO.country_code, CPO.party_id, Role.CPO, name="Example CPO"),
    Role.EMSP: Party(EMSP.country_code, EMSP.party_id, Role.EMSP, name="Example eMSP"),
    Role.HUB: Party("FR", "HUB", Role.HUB, name="Example hub"),
}
PLACE = "START_SESSION/17 %"
WINDOW = PageQuery(
    offset=4,
    limit=3,
    date_from=datetime(2026, 10, 1, tzinfo=UTC),
    date_to=datetime(2026, 11, 1, 12, 0, 0, 5000, tzinfo=UTC),
)


@frozen(kw_only=True)
class Sides:
    """Two platforms that are registered with each other over HTTP.

    Attributes:
        platform: Who asks, and has registered.
        caller: Its connection.
        server: The connection of who is asked.
        requests: Every operation that either was asked, by its id, and the HTTP status of the answer.
    """

    platform: Platform
    caller: Connection
    server: Connection
    requests: list[tuple[str, int | None]]


@asynccontextmanager
async def sides(caller: Role, server: Role, handlers: Sequence[Interface]) -> AsyncGenerator[Sides]:
    """Serve the handlers over HTTP, and let the other side register."""
    requests: list[tuple[str, int | None]] = []

    def note(exchanged: Exchanged) -> None:
        if exchanged.direction == "in":
            requests.append((exchanged.operation, exchanged.http_status))

    async def at_caller(request: HttpRequest) -> HttpResponse:
        return await calling.handle(request)

    async def at_server(request: HttpRequest) -> HttpResponse:
        return await serving.handle(request)

    async with HttpServer(aiohttp_app(at_caller)) as here, HttpServer(aiohttp_app(at_server)) as there:
        calling = Platform(
            public_url=f"{here.url}/ocpi", parties=[PARTIES[caller]], handlers=[], on_exchange=note
        )
        serving = Platform(
            public_url=f"{there.url}/ocpi", parties=[PARTIES[server]], handlers=handlers, on_exchange=note
        )
        async with calling, serving:
            partner = evolve(PROFILE, hub=PARTIES[caller].id) if caller is Role.HUB else PROFILE
            token = await serving.invite(partner, origins=PIN_FIRST, id="caller")
            connection = await calling.register(PROFILE, serving.versions_url, token, id="server")
            yield Sides(
                platform=calling, caller=connection, server=serving.connection("caller"), requests=requests
            )


def an_echo(interface: type[Interface], heard: list[object], answer: object) -> Interface:
    """Make a handler of which every operation notes what it is asked, and answers the same."""

    def method(operation: Operation) -> Callable[..., Coroutine[Any, Any, object]]:
        async def echo(_: Interface, ctx: Context, *arguments: object) -> object:
            heard.append((operation.id, ctx, arguments))
            return answer

        return echo

    members = {operation.name: method(operation) for operation in operations(interface)}
    made: Interface = type(f"Echo{interface.__name__}", (interface,), members)()
    return made


def a_reference(operation: Operation, body: Model | None, owner: PartyId, number: int) -> object:
    """Name an object of a party: that of the body where the body has an id, and another each time."""
    target = cast("Any", operation.target)
    parts: dict[str, object] = {
        "country_code": getattr(body, "country_code", None) or owner.country_code,
        "party_id": getattr(body, "party_id", None) or owner.party_id,
        "duration": 3600,
        "response_url": "https://www.example.com/results?of=a b&c",
    }
    fields = attrs.fields_dict(target)
    parts |= {name: f"{name}/{number} %" for name in fields if name not in parts}
    identity = getattr(body, "id", getattr(body, "uid", None))
    if identity is not None:
        parts[operation.path_fields[-1]] = identity
    if "type" in fields:
        other = next(one for one in type(cast("OcpiEnum", fields["type"].default)) if one != "RFID")
        parts["type"] = getattr(body, "type", other)
    return target(**{name: parts[name] for name in fields})


def a_patch(body: Model) -> Patch[Any]:
    """Change every field of an object: what it lacks goes."""
    return Patch(type(body), {spec.name: getattr(body, spec.name) for spec in field_specs(type(body))})


def an_answer(operation: Operation) -> tuple[object, object]:
    """What a handler returns, and what the caller gets of it as far as the handler decides it."""
    answer = cast("Any", operation.answer)
    if answer is None:
        return None, None
    if answer is Link:
        return Link(PLACE), None
    if operation.paginated:
        page = Page(items=samples(answer, 3, 7), total=20)
        return page, page
    one: object = list(answer)[-1] if issubclass(answer, OcpiEnum) else sample(answer, 7)
    return one, one


@pytest.mark.parametrize(("dialect", "operation"), FUNCTIONAL)
async def test_there_and_back(dialect: Dialect, operation: Operation) -> None:
    """Each operation arrives at its handler over HTTP as it was called, and its answer at the caller."""
    interface = operation.interface
    roles = {one for one in PARTIES if one in interface.callers}
    caller = min(roles, key=list(PARTIES).index)
    server = next(one for one in PARTIES if one is not caller and (one is Role.HUB) is is_of_a_hub(interface))
    heard: list[object] = []
    answer, expected = an_answer(operation)
    async with sides(caller, server, [an_echo(interface, heard, answer)]) as pair:
        assert pair.caller.record.version == dialect.version
        place = pair.server.callback(getattr(interface, operation.name), PLACE) if operation.at_link else ""
        for number, body in enumerate(bodies_of(operation)):
            sent: list[object] = []
            arrives: list[object] = []
            if operation.at_link:
                sent, arrives = [Link(place)], [Link(PLACE)]
            elif operation.paginated:
                sent, arrives = [WINDOW], [WINDOW]
            elif operation.target is not None:
                ref = a_reference(operation, body, PARTIES[caller].id, number)
                sent, arrives = [ref], [ref]
            if operation.is_patch:
                changes = a_patch(cast("Model", body))
                sent, arrives = [*sent, changes], [*arrives, changes]
            elif operation.bodies:
                sent, arrives = [*sent, body], [*arrives, as_it_arrives(operation, body)]
            result = await called(pair.caller, operation, sent)
            # Of a listing the next page may have been asked for, too.
            ((name, ctx, arguments),) = cast("list[Any]", heard[:1] if operation.paginated else heard)
            heard.clear()
            assert (name, list(arguments)) == (operation.id, arrives)
            assert (ctx.partner, ctx.version) == ("caller", dialect.version)
            assert (ctx.sender, ctx.receiver) == (PARTIES[caller].id, PARTIES[server].id)
            if operation.answer is Link:
                assert result == Link(pair.server.callback(gets_what_was_posted(interface), PLACE))
            elif operation.paginated:
                page, whole = cast("Page[Model]", result), cast("Page[Model]", expected)
                assert (page.items, page.total, page.rejected) == (whole.items, whole.total, ())
                assert page.next is not None
            else:
                assert result == expected


def is_of_a_hub(interface: type[Interface]) -> bool:
    """Whether only a hub serves an interface."""
    return interface is v221.HubClientInfoSender


def bodies_of(operation: Operation) -> list[Model | None]:
    """Some bodies of each class that it may have, and none where it may be left out."""
    given: list[Model | None] = [
        sample(cls, seed, cpo=PartyId("FR", f"P{seed:02}")) if cls is v221.ClientInfo else sample(cls, seed)
        for cls in operation.bodies
        for seed in (7, 8, 9)
    ]
    return given if given and not operation.body_optional else [*given, None]


def as_it_arrives(operation: Operation, body: Model | None) -> Model | None:
    """Three results are told apart by a profile alone."""
    if len(operation.bodies) == 1 or isinstance(body, v221.ActiveChargingProfileResult):
        return body
    return v221.ChargingProfileResult(result=cast("Any", body).result)


def gets_what_was_posted(interface: type[Interface]) -> Callable[..., Any]:
    """The operation whose place a POST answers."""
    (found,) = (one for one in operations(interface) if one.http_method == "GET" and one.at_link)
    method: Callable[..., Any] = getattr(interface, found.name)
    return method


async def called(connection: Connection, operation: Operation, arguments: list[object]) -> object:
    """Call an operation; of a listing, ask for one page."""
    method: Any = getattr(operation.interface, operation.name)
    if not operation.paginated:
        return await connection.call(method, *arguments)
    async with aclosing(
        cast("AsyncGenerator[object]", connection.pages(method, *cast("Any", arguments)))
    ) as pages:
        return await anext(pages)


@pytest.mark.parametrize(
    ("dialect", "interface"),
    [(v211.DIALECT, v211.TokensEmsp), (v221.DIALECT, v221.TokensSender)],
    ids=["2.1.1", "2.2.1"],
)
async def test_handshake_there_and_back(dialect: Dialect, interface: type[Interface]) -> None:
    """Versions, details and credentials go over HTTP, by a registration, its update and its end."""
    async with sides(Role.CPO, Role.EMSP, [an_echo(interface, [], None)]) as pair:
        credentials = await pair.caller.call(cast("Any", dialect.credentials).get_credentials)
        presented = dialect.handshake.presented(credentials, Role.EMSP)
        assert presented.token == pair.caller.record.outbound_token
        assert [one.party for one in presented.roles] == [EMSP]
        await pair.platform.update("server")
        await pair.platform.unregister("server")
    asked = {operation for operation, status in pair.requests if status == 200}
    wanted = {one.id for cls in (dialect.versions, dialect.credentials) for one in operations(cls)}
    assert wanted - asked == set()
