from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpi_gireve._codec import decode
from ocpi_gireve._model import (
    NO_EXTRA,
    PERSONAL,
    SECRET,
    CiString,
    Extra,
    Model,
    String,
    Url,
    checked,
    field_specs,
    replaced,
    spec_of,
    text_problem,
)
from ocpi_gireve.errors import InvalidObject
from ocpi_gireve.v221 import (
    CDR,
    EVSE,
    CdrDimension,
    CdrDimensionType,
    CdrToken,
    ChargingPeriod,
    Connector,
    ConnectorFormat,
    ConnectorType,
    Credentials,
    DisplayText,
    Endpoint,
    Image,
    InterfaceRole,
    ModuleID,
    PowerType,
    Price,
    PublishTokenType,
    ResponseFormat,
    Status,
    TokenType,
)
from tests.documents import MODELS, Maker

M = TypeVar("M", bound=Model)

NOW = datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC)
each_model = pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)


def built(cls: Callable[..., M], **fields: object) -> M:
    """Build an object of values of any type, as a caller without a type checker would."""
    return cls(**fields)


def connector(**changes: object) -> Connector:
    """A connector; the fields that a test is about are given by name."""
    fields: dict[str, object] = {
        "id": "1",
        "standard": ConnectorType.IEC_62196_T2,
        "format": ConnectorFormat.SOCKET,
        "power_type": PowerType.AC_3_PHASE,
        "max_voltage": 230,
        "max_amperage": 32,
        "last_updated": NOW,
    }
    return built(Connector, **{**fields, **changes})


def evse(**changes: object) -> EVSE:
    """An EVSE; the fields that a test is about are given by name."""
    fields = {"uid": "1", "status": Status.AVAILABLE, "connectors": [connector()], "last_updated": NOW}
    return built(EVSE, **{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"id": 5}, "/id", "type"),
        ({"id": None}, "/id", "type"),
        ({"id": b"1"}, "/id", "type"),
        ({"id": "x" * 37}, "/id", "max-length"),
        ({"id": "é"}, "/id", "charset"),
        ({"id": "a\nb"}, "/id", "charset"),
        ({"standard": "TYPE_9"}, "/standard", "enum"),
        ({"standard": ConnectorType("TYPE_9")}, "/standard", "enum"),
        ({"standard": ""}, "/standard", "enum"),
        ({"standard": 5}, "/standard", "type"),
        ({"max_voltage": True}, "/max_voltage", "type"),
        ({"max_voltage": 230.0}, "/max_voltage", "type"),
        ({"max_voltage": "230"}, "/max_voltage", "type"),
        ({"tariff_ids": "T1"}, "/tariff_ids", "type"),
        ({"tariff_ids": [None]}, "/tariff_ids/0", "type"),
        ({"tariff_ids": ["T1", "x" * 37]}, "/tariff_ids/1", "max-length"),
        ({"terms_and_conditions": "x" * 256}, "/terms_and_conditions", "max-length"),
        ({"last_updated": NOW.replace(tzinfo=None)}, "/last_updated", "datetime"),
        ({"last_updated": "2024-02-29T10:20:30Z"}, "/last_updated", "type"),
        (
            {"last_updated": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))},
            "/last_updated",
            "datetime",
        ),
        ({"extra": {"id": "2"}}, "/id", "extra"),
    ],
)
def test_wrong_value_is_refused(changes: dict[str, object], pointer: str, code: str) -> None:
    """Building an object with a wrong value raises at once and says where, not what was given."""
    with pytest.raises(InvalidObject) as refusal:
        connector(**changes)
    (problem,) = refusal.value.problems
    assert (problem.pointer, problem.code) == (pointer, code)
    assert refusal.value.model == "Connector"
    if code != "extra":
        assert problem.reference == "2.2.1 locations, Connector"


@pytest.mark.parametrize(
    ("cls", "fields", "pointer", "code"),
    [
        (evse, {"connectors": []}, "/connectors", "empty"),
        (evse, {"connectors": [{"id": "1"}]}, "/connectors/0", "type"),
        (evse, {"coordinates": "48.8"}, "/coordinates", "type"),
        (Price, {"excl_vat": Decimal("NaN")}, "/excl_vat", "number"),
        (Price, {"excl_vat": Decimal("1e31")}, "/excl_vat", "number"),
        (Price, {"excl_vat": True}, "/excl_vat", "type"),
        (Price, {"excl_vat": 1.5}, "/excl_vat", "type"),
    ],
)
def test_wrong_part_is_refused(
    cls: Callable[..., Model], fields: dict[str, object], pointer: str, code: str
) -> None:
    """The same holds for parts, empty mandatory lists, and numbers."""
    with pytest.raises(InvalidObject) as refusal:
        built(cls, **fields)
    assert [(one.pointer, one.code) for one in refusal.value.problems] == [(pointer, code)]


def test_all_problems_are_told() -> None:
    """Building an object with several wrong values tells them all."""
    with pytest.raises(InvalidObject) as refusal:
        connector(id="x" * 37, max_voltage="230", tariff_ids=[1, "T1"], extra={"format": 1})
    assert [(one.pointer, one.code) for one in refusal.value.problems] == [
        ("/id", "max-length"),
        ("/max_voltage", "type"),
        ("/tariff_ids/0", "type"),
        ("/format", "extra"),
    ]


def test_digits_are_counted() -> None:
    """An `int(5)` has at most five digits."""
    fields = {"url": "https://x", "category": "OTHER", "type": "png"}
    assert built(Image, **fields, width=99999).width == 99999
    with pytest.raises(InvalidObject, match="at most 5 digits"):
        built(Image, **fields, width=100000)


def test_values_are_stored_as_the_wire_has_them() -> None:
    """Moments are converted to UTC, numbers to Decimal, texts to enum members, tuples to lists."""
    summer = timezone(timedelta(hours=2))
    one = connector(
        last_updated=datetime(2024, 6, 1, 12, tzinfo=summer), standard="CHADEMO", tariff_ids=("T1",)
    )
    assert one.last_updated == datetime(2024, 6, 1, 10, tzinfo=UTC)
    assert one.last_updated.tzinfo is UTC
    assert one.standard is ConnectorType.CHADEMO
    assert one.tariff_ids == ["T1"]
    assert type(CdrDimension(type=CdrDimensionType.ENERGY, volume=Decimal(3)).volume) is Decimal
    assert type(built(Price, excl_vat=3).excl_vat) is Decimal


def test_extensible_enum_takes_other_values() -> None:
    """A value that partners agreed upon is correct where the specification leaves the list open."""
    endpoint = Endpoint(identifier=ModuleID("tolls"), role=InterfaceRole.SENDER, url="https://x")
    assert endpoint.identifier == "tolls"


def test_list_is_copied() -> None:
    """Changing a list after it was given changes no object."""
    ids = ["T1"]
    one = connector(tariff_ids=ids)
    ids.append("T2")
    assert one.tariff_ids == ["T1"]
    assert connector().tariff_ids is not connector().tariff_ids


@pytest.mark.parametrize("text", ["Gare de l\u2019Est\u00a0: 24\u202fh", "👩\u200d🔧", "été", ""])
def test_printable_text(text: str) -> None:
    """Blanks of French typography and joined emoji are printable."""
    assert text_problem(text, String(100)) is None


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "\x00", "\x7f", "\u2028", "\ud800", "\x85"])
def test_unprintable_text(text: str) -> None:
    """Line breaks, tabs and other control characters are not printable. (types, string)"""
    assert text_problem(text, String(100)) == (
        "charset",
        "expected printable characters only, no line breaks or tabs",
    )


@given(st.text())
def test_text_rules_do_not_depend_on_speed(text: str) -> None:
    """What the constructor takes without a closer look is what the rules allow."""
    broken = text_problem(text, String(512))
    if broken is None:
        assert DisplayText(language="en", text=text).text == text
        return
    with pytest.raises(InvalidObject) as refusal:
        DisplayText(language="en", text=text)
    assert [(one.code, one.message) for one in refusal.value.problems] == [broken]


def test_url_is_at_most_255() -> None:
    """A URL has 255 characters at most. (types, URL)"""
    assert text_problem("x" * 255, Url()) is None
    assert text_problem("x" * 256, Url()) == ("max-length", "expected at most 255 characters, found 256")


def test_pattern_is_of_the_whole_text() -> None:
    """A pattern has to match all of a text, and ASCII digits are meant by digits."""
    rule = String(10, regex=r"-?[0-9]{1,2}\.[0-9]{5,7}")
    assert text_problem("48.12345", rule) is None
    assert text_problem("48.12345x", rule) == ("regex", f"expected a text that matches {rule.regex}")


@each_model
def test_built_object_is_immutable(cls: type[Model]) -> None:
    """No attribute of an object can be set or deleted, whether it was built or decoded."""
    one = decode(Maker(Random(1)).document(cls), cls)
    for attribute in attrs.fields(cls):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(one, attribute.name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(one, attribute.name)
    with pytest.raises(AttributeError):
        object.__setattr__(one, "unheard_of", 1)


@each_model
def test_decoded_object_is_an_object(cls: type[Model]) -> None:
    """A decoded object is of its very class, and copying, pickling and evolving keep it equal."""
    one = decode(Maker(Random(2)).document(cls), cls)
    assert type(one) is cls
    for same in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), replaced(one, {})):
        assert same == one
        assert type(same) is cls


def test_evolve_checks_again() -> None:
    """A changed copy is checked like a new object; `replaced` copies what a partner sent as it is."""
    assert attrs.evolve(connector(), id="2").id == "2"
    with pytest.raises(InvalidObject):
        attrs.evolve(connector(), id="x" * 37)
    assert replaced(connector(), {"id": "x" * 37}).id == "x" * 37


def test_extra_is_read_only() -> None:
    """What a partner sent beside the specification cannot be changed in place."""
    one = connector(extra={"x_vendor": [1]})
    extra: Any = one.extra
    for change in (
        lambda: extra.__setitem__("a", 1),
        lambda: extra.__delitem__("x_vendor"),
        lambda: extra.update(a=1),
        lambda: extra.pop("x_vendor"),
        lambda: extra.setdefault("a", 1),
        lambda: extra.__ior__({"a": 1}),
        extra.clear,
        extra.popitem,
    ):
        with pytest.raises(TypeError, match="extra is read-only"):
            change()
    assert one.extra == {"x_vendor": [1]}
    assert type(copy.deepcopy(one.extra)) is Extra
    assert type(pickle.loads(pickle.dumps(one.extra))) is Extra


def test_extra_is_part_of_equality() -> None:
    """Objects that differ in what stands beside the specification differ; nothing there is one mapping."""
    assert connector(extra={"a": 1}) != connector()
    assert connector(extra={"a": 1}) == connector(extra={"a": 1})
    assert connector().extra is NO_EXTRA
    assert connector(extra={}).extra is NO_EXTRA
    with pytest.raises(TypeError, match="expected a mapping, not list"):
        connector(extra=[1])


def test_repr_hides_secrets_and_personal_data() -> None:
    """Neither a token, nor a contract, nor what stands in extra shows in a repr, also of the whole."""
    token = CdrToken(
        country_code="FR",
        party_id="ABC",
        uid="canary-uid",
        type=TokenType.RFID,
        contract_id="canary-contract",
        extra={"canary": "canary"},
    )
    assert "canary" not in repr(token)
    assert "canary" not in repr([PublishTokenType(visual_number="canary")])
    assert "'ABC'" in repr(token)
    one = decode(Maker(Random(1)).document(Credentials), Credentials)
    assert one.token not in repr(replaced(one, {"token": "canary"}))
    assert "canary" not in repr(replaced(one, {"token": "canary"}))


def test_confidential_fields_are_marked() -> None:
    """What must not be logged is marked in the table of the class."""
    marked = {
        (cls.__name__, spec.name): spec.confidential
        for cls in MODELS
        for spec in field_specs(cls)
        if spec.confidential
    }
    assert marked["Credentials", "token"] == SECRET
    assert marked["Token", "uid"] == marked["Token", "contract_id"] == PERSONAL
    assert marked["CdrToken", "uid"] == marked["CdrToken", "contract_id"] == PERSONAL
    assert {kind for (_, name), kind in marked.items() if name == "uid"} == {PERSONAL}


def test_table_of_a_class() -> None:
    """A class's table is read from its annotations, in order, each row once."""
    specs = field_specs(Connector)
    assert [spec.name for spec in specs][:3] == ["id", "standard", "format"]
    assert specs is not field_specs(EVSE)
    assert spec_of(Connector, "id").text == CiString(36)
    assert spec_of(Connector, "tariff_ids").cardinality == "*"
    assert spec_of(EVSE, "connectors").cardinality == "+"
    assert spec_of(EVSE, "connectors").type_name == "Connector"
    assert spec_of(CDR, "total_cost").cardinality == "1"
    assert spec_of(ResponseFormat, "data").kind == "any"
    assert spec_of(ChargingPeriod, "start_date_time").type_name == "DateTime"
    with pytest.raises(KeyError):
        spec_of(Connector, "extra")


def test_checked_field() -> None:
    """One field can be checked without its object, as a PATCH needs."""
    spec = spec_of(Connector, "tariff_ids")
    assert checked(Connector, spec, None) == []
    assert checked(Connector, spec, ("T1",)) == ["T1"]
    assert checked(Connector, spec_of(Connector, "terms_and_conditions"), None) is None
    with pytest.raises(InvalidObject, match="/id: expected a string, not NoneType"):
        checked(Connector, spec_of(Connector, "id"), None)


@each_model
def test_correct_values_are_accepted(cls: type[Model]) -> None:
    """An object built of the values of a correct one is equal to it."""
    for seed in range(20):
        one = decode(Maker(Random(seed)).document(cls), cls)
        broken = False
        for spec in field_specs(cls):
            # The texts drawn know nothing of lengths and patterns.
            with contextlib.suppress(InvalidObject):
                checked(cls, spec, getattr(one, spec.name))
                continue
            broken = True
        if not broken:
            assert attrs.evolve(one) == one
