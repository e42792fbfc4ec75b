from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import ocpi_gireve
from ocpi_gireve import PageQuery, Patch, v211, v221, validate
from ocpi_gireve._codec import field_from_json, from_json, parse_json
from ocpi_gireve._model import Model, field_specs, replaced, spec_of
from ocpi_gireve._rules import rule
from ocpi_gireve.errors import DecodeError
from ocpi_gireve.types import Json

MOMENT = datetime(2024, 5, 1, 12, tzinfo=UTC)
Found = set[tuple[str, str]]


def found(one: Model, *, extensions: bool = True) -> list[tuple[str, str]]:
    """Where and what is wrong with an object."""
    return [(problem.pointer, problem.code) for problem in validate(one, extensions=extensions)]


def operator(**fields: Any) -> v221.BusinessDetails:  # noqa: ANN401 - whatever a partner may send
    """A company as a partner sent it, read without checks."""
    return v221.decode(json.dumps({"name": "Example", **fields}).encode(), v221.BusinessDetails)


# --- the types ---------------------------------------------------------------------------------------------


def test_sound_object_has_no_problem() -> None:
    """An object built by the library that keeps the rules has no problem."""
    assert validate(operator(website="https://example.com", name="Hôtel « Le Parc » 🔌")) == []


def test_exported_by_every_package() -> None:
    """One function serves both versions."""
    assert ocpi_gireve.validate is v211.validate is v221.validate


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("x" * 100, []),
        ("x" * 101, ["max-length"]),
        ("two\nlines", ["charset"]),
        ("tab\t" + "x" * 100, ["max-length", "charset"]),
    ],
)
def test_texts(name: str, codes: list[str]) -> None:
    """Length and characters of a string are checked, each by itself."""
    assert found(operator(name=name)) == [("/name", code) for code in codes]


def test_ci_string_is_ascii() -> None:
    """A CiString has ASCII alone."""
    evse = v221.decode(b'{"location_id":"L\\u00e9","evse_uids":["E1","\\u00c91"]}', v221.LocationReferences)
    assert found(evse) == [("/location_id", "charset"), ("/evse_uids/1", "charset")]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://user@example.com:8080/a%20b/?x=1&y=[2]#z",
        "https://[2001:db8::1]/ocpi",
        "HTTPS://EXAMPLE.COM/",
        "ftp://192.0.2.1/logo.png",
    ],
)
def test_urls(url: str) -> None:
    """An absolute URL with scheme and host is right."""
    assert found(operator(website=url)) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "#NA",
        "example.com",
        "/ocpi/versions",
        "//example.com/",
        "https:///path",
        "https://",
        "https:example.com",
        "mailto:someone@example.com",
        " https://example.com",
        "https:// example.com",
        "https://example.com/a b",
        "https://example.com/é",
        "https://example.com/<b>",
        "https://exa mple.com:port/",
        "https://example.com:port/",
    ],
)
def test_wrong_urls(url: str) -> None:
    """A relative URL, one without a host, and one with blanks or other characters is not."""
    assert found(operator(website=url)) == [("/website", "url")]


def test_digits_and_decimals() -> None:
    """Digits of an int(n) and decimals of a number are counted; zeros at the end are none."""
    logo = {"url": "https://example.com/", "category": "OPERATOR", "type": "png", "width": 99999}
    assert found(operator(logo=logo)) == []
    assert found(operator(logo=logo | {"width": 100000})) == [("/logo/width", "digits")]
    for number in ("0.00000", "1.20000", "1.2345", "100", "1E+2"):
        assert found(v221.Price(excl_vat=Decimal(number))) == []
    assert found(v221.Price(excl_vat=Decimal("1.23456"))) == [("/excl_vat", "decimals")]
    assert found(v221.Price(excl_vat=Decimal("0.00001"))) == [("/excl_vat", "decimals")]


def test_enums() -> None:
    """A value that no table lists is reported, unless partners may extend the list."""
    image = {"url": "https://example.com/", "category": "SELFIE", "type": "png"}
    problems = validate(operator(logo=image))
    assert [(one.pointer, one.code) for one in problems] == [("/logo/category", "enum")]
    assert problems[0].message.startswith("expected one of CHARGER, ")
    version = v221.decode(b'{"version":"3.0","url":"https://example.com/"}', v221.Version)
    assert found(version) == []


def test_mandatory() -> None:
    """An empty list of cardinality + and a mandatory value that was taken away are reported."""
    period = v221.decode(b'{"start_date_time":"2024-05-01T12:00:00Z","dimensions":[]}', v221.ChargingPeriod)
    assert found(period) == [("/dimensions", "empty")]
    assert found(replaced(operator(), {"name": None})) == [("/name", "missing")]


def test_not_available() -> None:
    """#NA stands for a mandatory string that cannot be given: not for an optional one, nor for a URL."""
    place = v221.decode(b'{"latitude":"#NA","longitude":"9.19006"}', v221.GeoLocation)
    assert found(place) == []
    role = '{"role":"CPO","business_details":{"name":"#NA"},"party_id":"CPO","country_code":"#NA"}'
    assert found(v221.decode(role.encode(), v221.CredentialsRole)) == []
    restrictions = v221.decode(b'{"start_time":"#NA"}', v221.TariffRestrictions)
    assert found(restrictions) == [("/start_time", "regex")]
    version = v221.decode(b'{"version":"2.2.1","url":"#NA"}', v221.Version)
    assert found(version) == [("/url", "url")]


def test_what_gireve_adds() -> None:
    """GIREVE's values and fields are right, unless OCPI alone is asked for."""
    session_time = v221.TariffDimensionType.SESSION_TIME
    component = v221.PriceComponent(type=session_time, price=Decimal(1), step_size=1)
    assert found(component) == []
    assert found(component, extensions=False) == [("/type", "extension")]
    assert "SESSION_TIME" not in validate(component, extensions=False)[0].message
    information = v211.AuthorizationInfo(allowed=v211.Allowed.ALLOWED, authorization_id="A1")
    assert found(information) == []
    assert found(information, extensions=False) == [("/authorization_id", "extension")]


def test_unknown_properties_are_no_problem() -> None:
    """What OCPI does not define is not wrong: it is kept, and it is the partner's."""
    assert found(operator(x_vendor=[1])) == []


# --- pointers, messages, references ------------------------------------------------------------------------


def test_pointers_reach_every_level() -> None:
    """Each problem says where it is, in the object that was given, and by which chapter."""
    evse = {
        "uid": "E1",
        "evse_id": "FR*CPO*E1",
        "status": "AVAILABLE",
        "connectors": [
            {
                "id": "1",
                "standard": "PLUG",
                "format": "SOCKET",
                "power_type": "DC",
                "max_voltage": -1,
                "max_amperage": 1,
                "last_updated": "2024-05-01T12:00:00Z",
            }
        ],
        "last_updated": "2024-05-01T12:00:00Z",
    }
    problems = validate(v221.decode(json.dumps(evse).encode(), v221.EVSE))
    assert [(one.pointer, one.code, one.reference) for one in problems] == [
        ("/connectors/0/standard", "enum", "2.2.1 locations, Connector"),
        ("/connectors/0/max_voltage", "negative", "2.2.1 locations, Connector"),
    ]


def _marked(cls: type[Model], mark: str) -> Model:
    """An object whose texts and enums all hold a mark that no rule allows."""
    values: dict[str, object] = {"extra": {}}
    for spec in field_specs(cls):
        one: object
        if spec.cls is not None and spec.kind == "model":
            one = _marked(spec.cls, mark)
        elif spec.cls is not None:
            one = spec.cls(f"{mark}{'X' * 9}")
        else:
            one = {
                "string": f"<i>{mark}\n{'é' * 5001}",
                "int": -(10**40),
                "number": Decimal("-1234567.1234567"),
                "boolean": True,
                "datetime": MOMENT,
                "any": mark,
            }[spec.kind]
        values[spec.name] = [one, one] if spec.many else one
    blank = cls.__new__(cls)
    for name, value in values.items():
        object.__setattr__(blank, name, value)
    return blank


@pytest.mark.parametrize("package", [v211, v221])
def test_messages_hold_no_value(package: ModuleType) -> None:
    """No message repeats what it is about: a token or a contract may stand in it."""
    for name in package.__all__:
        cls: object = getattr(package, name)
        if isinstance(cls, type) and issubclass(cls, Model):
            for problem in validate(_marked(cls, "S3CR3T")):
                assert problem.message.startswith("expected ")
                assert not re.search("S3CR3T|1234567|0{9}|é|2024", str(problem) + problem.code)


def test_rule_of_an_unknown_field() -> None:
    """A rule about a field that the class does not have is refused when it is declared."""
    with pytest.raises(TypeError, match="Hours has no field always"):
        rule(v221.Hours, "always")


# --- page queries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (PageQuery(), []),
        (PageQuery(date_from=MOMENT), []),
        (PageQuery(date_from=MOMENT, date_to=MOMENT.replace(second=1), limit=1), []),
        (PageQuery(date_from=MOMENT, date_to=MOMENT), [("/date_to", "order")]),
        (PageQuery(offset=-1), [("/offset", "negative")]),
        (PageQuery(limit=0), [("/limit", "range")]),
    ],
)
def test_page_query(query: PageQuery, expected: list[tuple[str, str]]) -> None:
    """A listing is asked for from a moment to a later one, from an object on, with room for one."""
    problems = validate(query)
    assert [(one.pointer, one.code) for one in problems] == expected
    assert {one.reference for one in problems} <= {"transport and format, pagination"}


# --- the examples of the specification and of GIREVE -------------------------------------------------------

# What the manifest reports and an object cannot show, with the reason.
STRICTER: Mapping[str, str] = {
    r"DateTime form of": "a moment with a fraction is read; the object no longer knows how it was written",
    r"(string|number) expected, got": "read as what the table asks for: the object is right",
    r"unknown field of": "no mistake: OCPI does not forbid it, and it is kept in `extra`",
    r"'1\.9' is not a VersionNumber": "the list of versions is open",
}
# What the manifest does report, as a code of ours.
ALIKE: Mapping[str, str] = {
    r"required field of": "missing",
    r"URL form of": "url",
    r"'BE' is not an alpha-3 country": "country",
}
# What the manifest lets pass, with the reason.
LANGUAGE = "ISO 639-1 codes are small letters, as the manifest's own note says"
EMI3 = "the text wants an EVSE id of eMI3, whose separator is the star and not the hyphen"
OLDER = "the text wants last_updated of an object to cover its parts; the connector's is the latest"
LAXER: Mapping[str, Mapping[tuple[str, str], str]] = {
    "gireve-2.1.1/cpo_cdrs_toiop_post_emsp_cdrs_request.json": {
        ("/location/evses/0/last_updated", "last-updated"): OLDER,
        ("/location/last_updated", "last-updated"): OLDER,
    },
    "gireve-2.1.1/cpo_tokens_toiop_get_emsp_tokens_response.json": {
        ("/data/0/language", "language"): LANGUAGE
    },
    "gireve-2.1.1/cpo_tokens_toiop_get_emsp_tokens_unitary_response.json": {
        ("/data/language", "language"): LANGUAGE
    },
    "gireve-2.1.1/emsp_tokens_toiop_put_cpo_tokens_request.json": {("/language", "language"): LANGUAGE},
    "ocpi-2.1.1/cdrs_example_of_a_cdr.json": {("/location/evses/0/evse_id", "evse-id"): EMI3},
    "ocpi-2.1.1/locations_location_example.json": {
        ("/evses/0/evse_id", "evse-id"): EMI3,
        ("/evses/1/evse_id", "evse-id"): EMI3,
    },
    "ocpi-2.1.1/sessions_simple_session_example_of_a_just_starting_session.json": {
        ("/location/evses/0/evse_id", "evse-id"): EMI3
    },
    "ocpi-2.1.1/sessions_simple_session_example_of_a_short_finished_session.json": {
        ("/location/evses/0/evse_id", "evse-id"): EMI3
    },
}


def said(entry: dict[str, Any]) -> Found:
    """What the manifest reports of an example, as far as an object can show it."""
    wrong: Found = set()
    for one in entry["discrepancies"]:
        text: str = one["discrepancy"]
        if text == "not valid JSON":
            wrong.add(("", "json"))
            continue
        if text.startswith("mended: "):  # of what the document would be if it were JSON
            continue
        place, _, what = text.partition(": ")
        code = next((code for words, code in ALIKE.items() if re.match(words, what)), None)
        if code is None:
            assert any(re.match(words, what) for words in STRICTER), text
            continue
        wrong.add(("/" + re.sub(r"\[(\d+)\]", r"/\1", place).replace(".", "/"), code))
    return wrong


def objects(
    kind: str, value: Json, package: ModuleType, place: str = ""
) -> Iterator[tuple[str, Model | Patch[Any]]]:
    """The objects of an example with their places, by what the manifest says that it is."""
    match = re.fullmatch(r"(\w+)(?:<(.*)>)?", kind)
    assert match is not None, kind
    outer, inner = match.groups()
    if outer == "list":
        assert isinstance(value, list)
        for index, item in enumerate(value):
            yield from objects(inner, item, package, f"{place}/{index}")
        return
    assert isinstance(value, dict)
    if outer == "envelope":
        yield place, from_json(value, package.ResponseFormat)
        if inner != "null":
            yield from objects(inner, value["data"], package, f"{place}/data")
    elif outer in ("patch", "fragment"):
        cls: type[Model] = getattr(package, inner)
        changes = {name: field_from_json(cls, spec_of(cls, name), item) for name, item in value.items()}
        if outer == "fragment":  # part of an object, and no message
            changes["last_updated"] = MOMENT
        yield place, Patch[Model].received(cls, changes, {})
    else:
        whole: type[Model] = getattr(package, outer)
        yield place, from_json(value, whole)


def shown(entry: dict[str, Any], data: bytes) -> Found:
    """What we report of an example."""
    package = {"2.1.1": v211, "2.2.1": v221}[entry["version"]]
    wrong: Found = set()
    try:
        for place, one in objects(entry["object"], parse_json(data), package):
            wrong |= {(place + problem.pointer, problem.code) for problem in validate(one)}
    except DecodeError as refused:
        wrong |= {(problem.pointer, problem.code) for problem in refused.problems}
    return wrong


def test_every_example(shared: Path) -> None:
    """Every example has the problems that the manifest reports, save for the differences explained here."""
    folder = shared / "spec" / "examples"
    entries = json.loads((folder / "manifest.json").read_bytes())["examples"]
    assert len(entries) == 132
    for entry in entries:
        ours = shown(entry, (folder / entry["file"]).read_bytes())
        more = set(LAXER.get(entry["file"], {}))
        assert (entry["file"], ours) == (entry["file"], said(entry) | more)
        assert not said(entry) & more
    assert set(LAXER) <= {entry["file"] for entry in entries}


# --- a real feed -------------------------------------------------------------------------------------------

# What is wrong with the 130 Locations of Ludwigsburg's public feed.
FEED: Mapping[tuple[str, str], tuple[int, str]] = {
    ("/directions/*/text", "charset"): (9, "line breaks in a text"),
    ("/directions/*/language", "language"): (23, "languages in capitals: DE"),
    ("/evses/*/last_updated", "last-updated"): (31, "EVSEs older than their connectors"),
    ("/last_updated", "last-updated"): (16, "Locations older than their EVSEs or connectors"),
    ("/coordinates/latitude", "regex"): (7, "fewer than five decimals"),
    ("/coordinates/longitude", "regex"): (3, "fewer than five decimals"),
    ("/operator/website", "url"): (33, "empty texts instead of no web site"),
}


def test_real_feed(shared: Path) -> None:
    """The Ludwigsburg feed departs from the specification in 122 places, of seven kinds."""
    raw = (shared / "data" / "ludwigsburg-locations-2.2.1.json").read_bytes()
    locations = v221.decode(raw, list[v221.Location])
    problems = [problem for location in locations for problem in validate(location)]
    counted = Counter((re.sub(r"/\d+", "/*", one.pointer), one.code) for one in problems)
    assert counted == {kind: count for kind, (count, _) in FEED.items()}
    assert len(problems) == sum(count for count, _ in FEED.values()) == 122


def test_validation_changes_nothing(shared: Path) -> None:
    """An object is the same after validation, and the same object has the same problems again."""
    raw = (shared / "data" / "ludwigsburg-locations-2.2.1.json").read_bytes()
    location = v221.decode(raw, list[v221.Location])[0]
    before = attrs.asdict(location)
    assert validate(location) == validate(location)
    assert attrs.asdict(location) == before
