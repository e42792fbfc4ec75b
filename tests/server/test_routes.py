"""What a method and a path name, once and again."""

from __future__ import annotations

import pytest

from ocpi_gireve import v221
from ocpi_gireve.errors import MethodNotAllowed, UnknownObject
from ocpi_gireve.server._routes import MAX_REMEMBERED, Mount, Routes
from tests.support import EmspLocations
from tests.test_server import PUT_URL, serve

LOCATIONS = "/ocpi/2.2.1/receiver/locations"


def the_routes() -> Routes:
    """The routes of an eMSP that takes locations."""
    mount = Mount(dialect=v221.DIALECT, handlers={v221.LocationsReceiver: EmspLocations()})
    return Routes("/ocpi", [mount])


REF = v221.LocationRef("FR", "CPO", "LOC1")


def test_remembered_by_method() -> None:
    """What is remembered of a path for one method says nothing of another."""
    routes = the_routes()
    path = f"{LOCATIONS}/FR/CPO/LOC1"
    assert routes.find("PUT", path).target is None
    routes.remember("PUT", path, routes.find("PUT", path), REF)
    assert routes.find("PUT", path).target is REF
    assert routes.find("PATCH", path).target is None
    assert routes.find("PATCH", path).route.operation.http_method == "PATCH"
    with pytest.raises(MethodNotAllowed):
        routes.find("POST", path)
    with pytest.raises(UnknownObject):
        routes.find("PUT", f"{path}/E1/1/more")


def test_only_so_many_are_remembered() -> None:
    """However many objects there are, memory holds the paths of so many."""
    routes = the_routes()
    for number in range(MAX_REMEMBERED + 10):
        path = f"{LOCATIONS}/FR/CPO/L{number}"
        routes.remember("PUT", path, routes.find("PUT", path), REF)
    assert 0 < len(routes._known) <= MAX_REMEMBERED


def test_long_path_is_not_remembered() -> None:
    """A path of thousands of characters takes no room."""
    routes = the_routes()
    path = f"{LOCATIONS}/FR/CPO/{'L' * 5000}"
    routes.remember("PUT", path, routes.find("PUT", path), REF)
    assert not routes._known


async def test_strangers_take_no_room() -> None:
    """What is refused for its token, its owner or its content leaves no path behind; what is taken does."""
    served = serve(EmspLocations())
    for token in (None, "stranger", "emp"):
        await served.ask("PUT", PUT_URL, token=token, body={})
    await served.ask("PUT", PUT_URL, body=b"{")
    await served.ask("PUT", PUT_URL.replace("CPO", "XXX"), body={})
    assert not served.server._routes._known
    for path in (PUT_URL, PUT_URL, f"{PUT_URL}?x=1", PUT_URL.replace("LOC1", "LOC%201")):
        await served.ask("GET", path)
    known = served.server._routes._known
    assert [one.target for one in known.values()] == [REF, v221.LocationRef("FR", "CPO", "LOC 1")]
