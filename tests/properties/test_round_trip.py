"""Every declared operation, there and back: what is sent arrives, and what is answered comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

import pytest
from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpi_gireve import BILATERAL, Connection, Context, Link, Page, PageQuery, PartyId, Role, v221
from ocpi_gireve._model import Model, field_specs
from ocpi_gireve._wire import link_path
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.interface import Interface, Operation, operations
from ocpi_gireve.types import OcpiEnum
from tests.properties.strategies import IDS, enums, objects, patches, references
from tests.support import Network, a_platform

OPERATIONS = [one for one in v221.DIALECT.all_operations() if one.interface.functional]
OWNERS = st.builds(PartyId, st.sampled_from(["FR", "de", "Nl"]), st.sampled_from(["ABC", "x1Y", "000"]))
BASE = "https://serving.example.com/ocpi"
HUB = PartyId("FR", "107")
NUMBERS = count()
"""Every message is about another object: one that comes twice is not given to a handler again."""


@define
class Recorder:
    """What the serving side was asked first since it was prepared, and what it shall answer.

    Of a listing more may follow: the next page is asked for before it is wanted.
    """

    context: Context | None = None
    arguments: tuple[object, ...] = ()
    answer: object = None

    def prepare(self, answer: object) -> None:
        """Forget what was asked, and answer this next."""
        self.context, self.arguments, self.answer = None, (), answer


def implemented(interface: type[Interface], recorder: Recorder) -> Interface:
    """An object that implements an interface by taking note."""

    async def take(_: object, ctx: Context, *arguments: object) -> object:
        if recorder.context is None:
            recorder.context, recorder.arguments = ctx, arguments
        return recorder.answer

    members: dict[str, Any] = {operation.name: take for operation in operations(interface)}
    return cast("Interface", type(interface.__name__, (interface,), members)())


@define
class Joined:
    """A hub that asks, and a platform that serves everything."""

    runner: asyncio.Runner
    connection: Connection
    recorder: Recorder


@pytest.fixture(scope="module")
def joined() -> Iterator[Joined]:
    """Join a hub, which may speak for anybody, with a platform that serves every operation."""
    network, recorder = Network(), Recorder()
    handlers = [implemented(interface, recorder) for interface in v221.DIALECT.interfaces]
    serving = a_platform(network, "serving.example.com", Role.EMSP, "ZZZ", handlers)
    asking = a_platform(network, "hub.example.com", Role.HUB, "107", [])

    async def join() -> Connection:
        await serving.start()
        await asking.start()
        token = await serving.invite(PREPRODUCTION, origins="https://hub.example.com")
        return await asking.register(BILATERAL, serving.versions_url, token)

    with asyncio.Runner() as runner:
        yield Joined(runner, runner.run(join()), recorder)
        runner.run(asking.close())
        runner.run(serving.close())


def identity(
    operation: Operation, owner: PartyId, object_id: str
) -> tuple[dict[str, str], dict[str, object]]:
    """What target and body must say alike: whose object it is, and which. A party is newer each time."""
    parties = {"country_code": owner.country_code, "party_id": owner.party_id}
    target: dict[str, str] = {}
    if "party_id" in operation.path_fields:
        target = {operation.path_fields[-1]: object_id, **parties}
    body: dict[str, object] = {}
    if operation.body is not None:
        known = {spec.name for spec in field_specs(operation.body)}
        body = {name: value for name, value in parties.items() if name in known}
        if operation.path_fields[-1:] == ("party_id",):
            body["last_updated"] = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(NUMBERS))
        if target or operation.target is None:
            body |= {name: object_id for name in ("id", "uid") if name in known}
        if "response_url" in known:
            body["response_url"] = f"https://hub.example.com/{next(NUMBERS)}"
    return target, body


@st.composite
def exchanges(draw: st.DrawFn, operation: Operation) -> tuple[PartyId, object, object, object]:
    """Who asks, target, body and answer of one exchange."""
    owner, object_id = draw(OWNERS), f"{draw(IDS)}{next(NUMBERS)}"
    fixed, stated = identity(operation, owner, object_id)
    target = None if operation.target is None else draw(references(operation.target, fixed))
    if operation.requires and cast("PageQuery", target).date_from is None:
        target = evolve(cast("PageQuery", target), date_from=datetime(1999, 1, 1, tzinfo=UTC))
    if "response_url" in operation.query_fields:
        asking = cast("v221.ClearProfileRef", target)
        target = evolve(asking, response_url=f"{asking.response_url}{next(NUMBERS)}")
    body: object = None
    if operation.is_patch:
        body = draw(patches(model_of(operation.body), stated, v221.DIALECT.patch_requires))
    elif operation.body is not None and not (operation.body_optional and draw(st.booleans())):
        body = draw(objects(model_of(operation.body), stated))
    return owner, target, body, draw(answers(operation))


def answers(operation: Operation) -> st.SearchStrategy[object]:
    """What an operation may answer."""
    if operation.answer is None:
        return st.none()
    if operation.answer is Link:
        return references(Link)
    if issubclass(operation.answer, OcpiEnum):
        return enums(operation.answer)
    one = objects(model_of(operation.answer))
    return st.lists(one, max_size=3) if operation.lists or operation.paginated else one


def model_of(cls: type[Any] | None) -> type[Model]:
    """A class that is known to be a model."""
    return cast("type[Model]", cls)


async def exchange(
    joined: Joined, operation: Operation, owner: PartyId, target: object, body: object
) -> object:
    """Ask, and return what came back."""
    connection = joined.connection.routed(sender=owner)
    method: Callable[..., Coroutine[Any, Any, Any]] = getattr(operation.interface, operation.name)
    if operation.paginated:
        pages = cast("Any", connection).pages(method, target)
        page = await anext(pages)
        await pages.aclose()
        return page
    if operation.at_link:
        endpoint = v221.DIALECT.endpoint_path(operation.interface)
        target = Link(f"{BASE}/{endpoint}/{link_path(cast('Link', target))}")
    given = [one for one in (target, body) if one is not None]
    return await cast("Any", connection).call(method, *given)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_round_trip(joined: Joined, operation: Operation, data: st.DataObject) -> None:
    """The handler gets what the caller passed, for whom the caller spoke, and the caller what it returned."""
    owner, target, body, answer = data.draw(exchanges(operation))
    recorder = joined.recorder
    recorder.prepare(answer)
    if operation.paginated:
        items = cast("list[Model]", answer)
        query = cast("PageQuery", target)
        asked = query.limit or BILATERAL.page_limit(operation.module, "2.2.1")
        limit = min(asked, PREPRODUCTION.page_limit(operation.module, "2.2.1"))
        items = items[:limit]
        recorder.prepare(Page(items=items, total=query.offset + len(items) + 1))
        target = evolve(query, limit=limit)
        page = cast("Page[Model]", joined.runner.run(exchange(joined, operation, owner, query, body)))
        assert (list(page.items), page.rejected) == (items, ())
        assert page.total == query.offset + len(items) + 1
        assert (page.next is not None) == bool(items)
    else:
        came = joined.runner.run(exchange(joined, operation, owner, target, body))
        assert came == answer_at_caller(operation, answer)
    expected = [
        one for one, wanted in ((target, operation.target), (body, operation.body)) if wanted is not None
    ]
    assert list(recorder.arguments) == expected
    assert recorder.context is not None
    # Where messages name no parties, the partner itself asks.
    sender = owner if operation.interface.routed else HUB
    assert (recorder.context.sender, recorder.context.receiver) == (sender, PartyId("FR", "ZZZ"))


def answer_at_caller(operation: Operation, answer: object) -> object:
    """What the caller is to get: a place is absolute there."""
    if isinstance(answer, Link):
        return Link(f"{BASE}/{v221.DIALECT.endpoint_path(operation.interface)}/{link_path(answer)}")
    return answer


def test_every_interface_is_exercised() -> None:
    """The operations of every functional interface of the version make the round trip."""
    exercised = {operation.interface for operation in OPERATIONS}
    declared: Mapping[type[Interface], None] = dict.fromkeys(v221.DIALECT.interfaces)
    assert exercised == set(declared)
