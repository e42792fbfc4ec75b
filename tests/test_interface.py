"""Declarations: what is read from them, and what a wrong one says."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from datetime import datetime
from inspect import Parameter, Signature
from typing import Any, TypeAlias, cast

import pytest
from attrs import field, frozen

from ocpi_gireve import Context, Link, Page, PageQuery, Patch, Role, v221
from ocpi_gireve.interface import (
    AT_LINK,
    Interface,
    also,
    delete,
    get,
    listing,
    operation_of,
    operations,
    patch,
    post,
    put,
)
from tests.support import EmspLocations


@frozen
class TariffRef:
    """Names a tariff, and which state of it."""

    country_code: str
    party_id: str
    tariff_id: str
    at: datetime | None = None
    revision: int = 0


@frozen
class Flagged:
    tariff_id: str
    certain: bool


@frozen
class Measured:
    tariff_id: str
    size: float = 0.0


@frozen
class Defaulted:
    tariff_id: str = "T1"


@frozen
class TwiceNamed:
    tariff_id: str
    kind: str = "a"
    type: str = field(default="b", metadata=also("kind"))


@frozen
class NamedInPath:
    tariff_id: str = field(metadata=also("id"))


class Plain:
    tariff_id: str


class Tariffs(Interface):
    """One operation of each kind."""

    module, role = "tariffs", "RECEIVER"

    @listing(requires=("date_from",))
    @abstractmethod
    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[v221.Tariff]:
        """Return one page of the tariffs.

        Oldest first.
        """

    @get("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def get_tariff(self, ctx: Context, ref: TariffRef) -> v221.Tariff:
        """Return one tariff."""

    @put("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def put_tariff(self, ctx: Context, ref: TariffRef, tariff: v221.Tariff) -> None:
        """Create the tariff."""

    @patch("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def patch_tariff(self, ctx: Context, ref: TariffRef, changes: Patch[v221.Tariff]) -> None:
        """Change the tariff."""

    @delete("{country_code}/{party_id}/{tariff_id}")
    @abstractmethod
    async def delete_tariff(self, ctx: Context, ref: TariffRef) -> v221.DisplayText:
        """Delete the tariff, and say what that means."""

    @post("")
    @abstractmethod
    async def post_tariff(self, ctx: Context, tariff: v221.Tariff | v221.Price | None = None) -> Link:
        """Take a tariff."""

    @get(AT_LINK)
    @abstractmethod
    async def get_posted(self, ctx: Context, link: Link) -> v221.Tariff:
        """Return what was posted."""


def test_operation_says_what_its_declaration_says() -> None:
    """Method, path, target, body, answer and summary of an operation are read from its declaration alone."""
    put_tariff = operation_of(Tariffs.put_tariff)
    assert put_tariff.id == str(put_tariff) == "Tariffs.put_tariff"
    assert (put_tariff.http_method, put_tariff.module, put_tariff.role) == ("PUT", "tariffs", "RECEIVER")
    assert put_tariff.path_fields == ("country_code", "party_id", "tariff_id")
    assert put_tariff.query_fields == ("at", "revision")
    assert (put_tariff.target, put_tariff.body, put_tariff.answer) == (TariffRef, v221.Tariff, None)
    assert put_tariff.summary == "Create the tariff."
    assert operation_of(Tariffs.list_tariffs).paginated
    assert operation_of(Tariffs.list_tariffs).summary == "Return one page of the tariffs."
    assert operation_of(Tariffs.patch_tariff).is_patch
    post_tariff = operation_of(Tariffs.post_tariff)
    assert post_tariff.body_optional
    assert (post_tariff.bodies, post_tariff.body) == ((v221.Tariff, v221.Price), v221.Tariff)
    delete_tariff = operation_of(Tariffs.delete_tariff)
    assert (delete_tariff.bodies, delete_tariff.body) == ((), None)
    assert delete_tariff.answer is v221.DisplayText
    assert operation_of(Tariffs.get_posted).at_link
    assert operation_of(Tariffs.get_posted).query_fields == ()


def test_required_part_of_a_query() -> None:
    """What has no default in a query is required, and what the declaration of a listing says."""
    active = v221.ChargingProfilesReceiver.get_active_charging_profile
    assert operation_of(active).required_query == ("duration", "response_url")
    assert operation_of(Tariffs.list_tariffs).required_query == ("date_from",)
    assert operation_of(Tariffs.put_tariff).required_query == ()
    assert operation_of(Tariffs.get_posted).required_query == ()


def test_interface_is_for_everybody_unless_it_says_otherwise() -> None:
    """An interface that does not name its callers may be called by any role, with routing headers."""
    assert (Tariffs.callers, Tariffs.routed, Tariffs.functional) == (frozenset(Role), True, True)
    assert v221.TariffsReceiver.callers == {Role.CPO}
    assert not v221.HubClientInfoReceiver.routed
    assert not v221.CredentialsInterface.routed


def test_operations_come_in_the_order_of_their_declaration() -> None:
    """Operations are listed as declared, whatever class implements them."""
    names = [operation.name for operation in operations(v221.LocationsReceiver)]
    assert names[:2] == ["get_location", "get_evse"]
    assert list(operations(EmspLocations)) == list(operations(v221.LocationsReceiver))


def test_decorator_returns_the_method_itself() -> None:
    """An override is an ordinary method: it hides the declaration, and is no operation of its own."""
    with pytest.raises(TypeError, match=r"EmspLocations\.put_location is not an OCPI operation"):
        operation_of(EmspLocations.put_location)
    with pytest.raises(TypeError, match="not an OCPI operation"):
        operation_of(print)


def test_all_operations_must_be_implemented() -> None:
    """A host class that leaves out an operation cannot be made into an object."""

    class Half(v221.CdrsReceiver):
        async def post_cdr(self, ctx: Context, cdr: v221.CDR) -> Link:
            return Link(cdr.id)

    with pytest.raises(TypeError, match="get_cdr"):
        Half()  # type: ignore[abstract]  # the mistake itself


# --- misdeclared ---------------------------------------------------------------------------------------

Method: TypeAlias = Callable[..., Any]
WHOLE = "{country_code}/{party_id}/{tariff_id}"


def method(returns: object = v221.Tariff, **arguments: object) -> Method:
    """Make an abstract async method of annotations that no type checker has seen; None leaves one out."""

    async def wrong(*_: object) -> None:
        """Do wrong."""

    annotations = {"ctx": Context, **arguments, "return": returns}
    names = dict.fromkeys(["self", "ctx", *arguments])
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    as_any = cast("Any", wrong)
    as_any.__annotations__ = {name: hint for name, hint in annotations.items() if hint is not None}
    as_any.__signature__ = Signature(parameters)
    return abstractmethod(wrong)


def declare(decorator: object, *methods: Method, **attributes: object) -> type[Interface]:
    """Make an interface of methods that are declared alike."""
    members: dict[str, object] = {"module": "tariffs", "role": "RECEIVER", **attributes}
    for number, one in enumerate(methods):
        members["wrong" if number == 0 else f"wrong{number}"] = cast("Method", decorator)(one)
    return type("Wrong", (Interface,), members)


@pytest.mark.parametrize(
    ("decorator", "wrong", "words"),
    [
        (get("{country_code}/{id}"), method(ref=TariffRef), "names ['id'], not a field of TariffRef"),
        (patch(WHOLE), method(None, ref=TariffRef, changes=v221.Tariff), "expected an annotation of return"),
        (patch(WHOLE), method(type(None), ref=TariffRef, changes=v221.Tariff), "expected a Patch[...]"),
        (put(WHOLE), method(type(None), ref=TariffRef, body=Patch[v221.Tariff]), "and nowhere else"),
        (patch(WHOLE), method(type(None), ref=TariffRef, body=Patch[Any]), "expected a model as the body"),
        (patch(WHOLE), method(type(None), ref=TariffRef, body=Patch), "expected a model as the body"),
        (
            patch(WHOLE),
            method(type(None), ref=TariffRef, changes=Patch[v221.Tariff] | None),
            "expected a body that is always there",
        ),
        (
            get(WHOLE),
            method(Page[v221.Tariff], ref=TariffRef),
            "a listing takes a PageQuery and returns a Page",
        ),
        (listing(), method(v221.Tariff, query=PageQuery), "a listing takes a PageQuery and returns a Page"),
        (listing(), method(Page[str], query=PageQuery), "expected a Page of models as the answer"),
        (get(WHOLE), method(list[str], ref=TariffRef), "expected a list of models as the answer"),
        (post(""), method(body=str), "expected a model as the body"),
        (post(""), method(body=v221.Tariff | str), "expected a model as the body, or a union of models"),
        (post(""), method(body=v221.Tariff | Patch[v221.Tariff]), "and nowhere else"),
        (
            patch(WHOLE),
            method(type(None), ref=TariffRef, changes=Patch[v221.Tariff] | Patch[v221.CDR]),
            "expected a Patch[...] of one model",
        ),
        (get("{tariff_id}"), method(ref=TwiceNamed), "TwiceNamed.type: expected other names of the query"),
        (get("{tariff_id}"), method(ref=NamedInPath), "NamedInPath.tariff_id: expected other names"),
        (
            listing(requires=("since",)),
            method(Page[v221.Tariff], query=PageQuery),
            "requires ['since'], not a field of the query",
        ),
        (post(""), method(), "expected 1 arguments besides ctx, found 0"),
        (get(WHOLE), method(ref=TariffRef, body=v221.Tariff), "expected 1 arguments besides ctx, found 2"),
        (get(WHOLE), method(ctx=TariffRef), "expected ctx: Context as the first argument"),
        (get(WHOLE), method(ref=None), "expected an annotation of ref"),
        (get(WHOLE), method(ref="Nowhere"), "its annotations name 'Nowhere', which is not defined"),
        (get(WHOLE), method(str, ref=TariffRef), "expected a model, an enum, a Link, a list, a Page or None"),
        (get(WHOLE), method(v221.Tariff | None, ref=TariffRef), "expected a model, an enum, a Link"),
        (get(WHOLE), method(type(None), ref=TariffRef), "expected a GET to answer something"),
        (
            put(WHOLE),
            method(Link, ref=TariffRef, tariff=v221.Tariff),
            "expected a Link as the answer of a POST",
        ),
        (get("{url}"), method(link=Link), "a Link target stands for the whole URL"),
        (get(AT_LINK), method(ref=TariffRef), "a Link target stands for the whole URL"),
        (get("{tariff_id}"), method(ref=Plain), "expected an attrs class as the target"),
        (get("{tariff_id}"), method(ref=str), "expected an attrs class as the target"),
        (get("{tariff_id}"), method(ref=Flagged), "Flagged.certain: expected str, int, datetime or an enum"),
        (get("{tariff_id}"), method(ref=Measured), "Measured.size: expected str, int, datetime or an enum"),
        (get("{tariff_id}"), method(ref=Defaulted), "Defaulted.tariff_id: expected no default"),
        (get("/{tariff_id}"), method(ref=TariffRef), "expected segments such as {field} or START_SESSION"),
        (get("{tariff_id}/"), method(ref=TariffRef), "expected segments such as {field} or START_SESSION"),
        (get("a b/{tariff_id}"), method(ref=TariffRef), "expected segments such as {field} or START_SESSION"),
        (get("{tariff_id}/{tariff_id}"), method(ref=TariffRef), "each once"),
    ],
)
def test_misdeclaration(decorator: object, wrong: Method, words: str) -> None:
    """A declaration that contradicts itself is a TypeError when its class is made, naming the place."""
    with pytest.raises(TypeError, match=rf"^Wrong\.wrong: .*{re.escape(words)}"):
        declare(decorator, wrong)


def test_operation_must_be_abstract() -> None:
    """A declaration without @abstractmethod would answer None where a host forgot to implement it."""

    async def wrong(self: object, ctx: Context, ref: TariffRef) -> v221.Tariff:
        raise NotImplementedError

    with pytest.raises(TypeError, match=r"Wrong\.wrong: expected @abstractmethod"):
        declare(get(WHOLE), wrong)


def test_operation_must_be_async() -> None:
    """A method that is not async cannot be awaited by the server."""

    def wrong(self: object, ctx: Context, ref: TariffRef) -> v221.Tariff:
        raise NotImplementedError

    with pytest.raises(TypeError, match=r"Wrong\.wrong: expected an async method"):
        declare(get(WHOLE), abstractmethod(wrong))


def test_operation_takes_plain_arguments() -> None:
    """Keyword-only arguments have no place in a request."""

    async def wrong(self: object, ctx: Context, *, ref: TariffRef) -> v221.Tariff:
        raise NotImplementedError

    with pytest.raises(TypeError, match=r"Wrong\.wrong: expected plain arguments"):
        declare(get(WHOLE), abstractmethod(wrong))


@pytest.mark.parametrize("name", ["module", "role"])
def test_interface_must_say_module_and_role(name: str) -> None:
    """An interface without module or role is refused as soon as it declares an operation."""
    with pytest.raises(TypeError, match=rf"Wrong\.wrong: expected the interface to have a {name}"):
        declare(get(WHOLE), method(ref=TariffRef), **{name: None})


def test_two_operations_at_one_place() -> None:
    """Two operations of one interface with the same method and path could not be told apart."""
    with pytest.raises(TypeError, match=r"Wrong\.wrong1: wrong has the same method and path"):
        declare(get(WHOLE), method(ref=TariffRef), method(ref=TariffRef))
