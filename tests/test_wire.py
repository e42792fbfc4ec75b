"""Operations and arguments on the wire: paths, queries, bodies and answers."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import attrs
import pytest
from multidict import CIMultiDict

from ocpi_gireve import Link, Page, PageQuery, Patch, v211, v221
from ocpi_gireve._model import Model
from ocpi_gireve._wire import (
    bind,
    decode_body,
    decode_result,
    decode_target,
    encode_body,
    link_path,
    missing_in_patch,
    path_and_query,
    require_whole_patch,
    subject,
)
from ocpi_gireve.errors import (
    BadAnswer,
    Exchange,
    InvalidObject,
    InvalidParameters,
    MalformedMessage,
    ServerError,
    StatusError,
    Unauthorized,
    UnknownLocation,
    UnknownObject,
    UnknownToken,
)
from ocpi_gireve.interface import Operation, operation_of
from ocpi_gireve.transport import HttpResponse
from tests.support import NOW, a_cdr, a_location, a_token, an_evse

PUT_LOCATION = operation_of(v221.LocationsReceiver.put_location)
PATCH_EVSE = operation_of(v221.LocationsReceiver.patch_evse)
GET_LOCATION = operation_of(v221.LocationsReceiver.get_location)
LIST_LOCATIONS = operation_of(v221.LocationsSender.list_locations)
AUTHORIZE = operation_of(v221.TokensSender.authorize)
POST_CDR = operation_of(v221.CdrsReceiver.post_cdr)
GET_CDR = operation_of(v221.CdrsReceiver.get_cdr)
POST_RESULT = operation_of(v221.CommandsSender.post_result)
START_SESSION = operation_of(v221.CommandsReceiver.start_session)
LIST_SESSIONS = operation_of(v221.SessionsSender.list_sessions)
ACTIVE_PROFILE = operation_of(v221.ChargingProfilesReceiver.get_active_charging_profile)
CLEAR_PROFILE = operation_of(v221.ChargingProfilesReceiver.delete_charging_profile)
POST_PROFILE_RESULT = operation_of(v221.ChargingProfilesSender.post_profile_result)
PREFERENCES = operation_of(v221.SessionsSender.put_charging_preferences)
GIREVE_TOKEN = operation_of(v211.GireveTokens.get_token)
LIST_VERSIONS = operation_of(v221.VersionsInterface.get_versions)
REF = v221.LocationRef("FR", "CPO", "LOC1")
EXCHANGE = Exchange("put_location", "gireve", "r1", 200)


# --- arguments -----------------------------------------------------------------------------------------


def test_bind_as_python_does() -> None:
    """Arguments are bound by position or by name, as those of any function."""
    location = a_location()
    assert bind(PUT_LOCATION, (REF, location), {}) == (REF, location)
    assert bind(PUT_LOCATION, (REF,), {"location": location}) == (REF, location)
    assert bind(AUTHORIZE, (v221.OwnTokenRef("T"),), {}) == (v221.OwnTokenRef("T"), None)


@pytest.mark.parametrize(
    ("operation", "args", "words"),
    [
        (PUT_LOCATION, (REF,), "missing a required argument: 'location'"),
        (PUT_LOCATION, (REF, a_location(), 3), "too many positional arguments"),
        (PUT_LOCATION, ("LOC1", a_location()), "expected a LocationRef, not str"),
        (PUT_LOCATION, (REF, an_evse()), "expected a Location, not EVSE"),
        (PUT_LOCATION, (REF, None), "expected a Location, not NoneType"),
        (PATCH_EVSE, (v221.EvseRef("FR", "CPO", "L", "E"), an_evse()), "expected a Patch, not EVSE"),
        (
            POST_PROFILE_RESULT,
            (Link("https://example.com/x"), an_evse()),
            "expected a ChargingProfileResult or ClearProfileResult or ActiveChargingProfileResult, not EVSE",
        ),
        (
            PATCH_EVSE,
            (v221.EvseRef("FR", "CPO", "L", "E"), Patch(v221.Location, {})),
            "expected a Patch of EVSE",
        ),
    ],
)
def test_bind_refuses(operation: Operation, args: tuple[object, ...], words: str) -> None:
    """Arguments that do not fit are a TypeError that says what was expected."""
    with pytest.raises(TypeError, match=words):
        bind(operation, args, {})


def test_bind_refuses_context() -> None:
    """The context is the server's to give."""
    with pytest.raises(TypeError, match="multiple values for argument 'ctx'"):
        bind(PUT_LOCATION, (REF, a_location()), {"ctx": None})


# --- paths and queries ---------------------------------------------------------------------------------

ODD_IDS = ["a/b", "50%", "é", "a b", "?x=1", "#1", "a;b", "%2F", "..a", "LOC*1", "日本", "a&b=c", "a+b", "~"]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_odd_ids_travel(odd: str) -> None:
    """An id with slashes, percent signs or letters of any alphabet arrives as it was."""
    path = path_and_query(GET_LOCATION, v221.LocationRef("FR", "CPO", odd))
    country, party, location_id = path.removeprefix("/").split("/")
    segments = {"country_code": country, "party_id": party, "location_id": location_id}
    assert path.isascii()
    assert decode_target(GET_LOCATION, segments, "", "") == v221.LocationRef("FR", "CPO", odd)


@pytest.mark.parametrize("bad", ["", ".", "..", "a\nb", "\x7f", "\u2028"])
def test_ids_that_cannot_stand_in_a_path(bad: str) -> None:
    """An id that clients would walk along or cut at is neither sent nor taken."""
    with pytest.raises(ValueError, match=r"LocationsReceiver\.get_location: location_id: expected"):
        path_and_query(GET_LOCATION, v221.LocationRef("FR", "CPO", bad))
    with pytest.raises(InvalidParameters, match=r"\{location_id\}: expected"):
        decode_target(GET_LOCATION, {"location_id": bad, "country_code": "FR", "party_id": "CPO"}, "", "")


@pytest.mark.parametrize("encoded", ["%2E%2E", "%2e", "%0A", "%00", "%FF", "%C3"])
def test_encoding_hides_nothing(encoded: str) -> None:
    """What may not stand in a path may not stand there percent-encoded either, nor what is no UTF-8."""
    with pytest.raises(InvalidParameters) as refused:
        decode_target(GET_LOCATION, {"location_id": encoded, "country_code": "FR", "party_id": "C"}, "", "")
    assert (refused.value.status_code, refused.value.http_status) == (2001, 200)


def test_query_of_a_page() -> None:
    """A page's query says what differs from asking for everything, its dates with ``Z``."""
    assert path_and_query(LIST_LOCATIONS, PageQuery()) == ""
    query = PageQuery(offset=50, limit=100, date_from=NOW, date_to=NOW.replace(microsecond=5000))
    path = "?offset=50&limit=100&date_from=2026-11-01T12:00:00Z&date_to=2026-11-01T12:00:00.005Z"
    assert path_and_query(LIST_LOCATIONS, query) == path
    assert decode_target(LIST_LOCATIONS, {}, path[1:], "") == query


def test_query_beside_a_path() -> None:
    """Fields of a reference that do not stand in the path stand in the query."""
    ref = v221.OwnTokenRef("a/b", v221.TokenType.APP_USER)
    assert path_and_query(AUTHORIZE, ref) == "/a%2Fb/authorize?type=APP_USER"
    assert decode_target(AUTHORIZE, {"token_uid": "a%2Fb"}, "type=APP_USER", "") == ref
    assert decode_target(AUTHORIZE, {"token_uid": "T"}, "", "") == v221.OwnTokenRef("T")
    assert decode_target(AUTHORIZE, {"token_uid": "T"}, "type=X_NEW", "") == v221.OwnTokenRef(
        "T", v221.TokenType("X_NEW")
    )


@pytest.mark.parametrize("name", ["type", "token_type", "tokenType"])
def test_other_names_in_a_query(name: str) -> None:
    """A parameter is read under each name that it has in the texts, and written under its own."""
    ref = v211.OwnTokenRef("01020304", v211.TokenType.OTHER)
    assert decode_target(GIREVE_TOKEN, {"token_uid": "01020304"}, f"{name}=OTHER", "") == ref
    assert path_and_query(GIREVE_TOKEN, ref) == "/01020304?type=OTHER"
    with pytest.raises(InvalidParameters, match=r"\?type: expected it once"):
        decode_target(GIREVE_TOKEN, {"token_uid": "01020304"}, f"type=RFID&{name}=OTHER", "")
    with pytest.raises(InvalidParameters, match=r"\?type: expected it once"):
        decode_target(GIREVE_TOKEN, {"token_uid": "01020304"}, f"{name}=OTHER&tokenType=RFID", "")


def test_other_names_are_of_their_operation_alone() -> None:
    """Where an operation knows a parameter under one name only, another is nobody's business."""
    assert decode_target(AUTHORIZE, {"token_uid": "T"}, "tokenType=OTHER", "") == v221.OwnTokenRef("T")


def test_query_of_texts_and_numbers() -> None:
    """Texts and numbers of a query travel beside the path, whatever characters the texts have."""
    ref = v221.ActiveProfileRef("S/1", 3600, "https://emsp.example.com/r?a=1&b=2#é")
    path = "/S%2F1?duration=3600&response_url=https:%2F%2Femsp.example.com%2Fr%3Fa%3D1%26b%3D2%23%C3%A9"
    assert path_and_query(ACTIVE_PROFILE, ref) == path
    assert decode_target(ACTIVE_PROFILE, {"session_id": "S%2F1"}, path.partition("?")[2], "") == ref


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("response_url=https://example.com/r", "?duration: expected a value"),
        ("duration=60", "?response_url: expected a value"),
        ("duration=60&response_url=", "?response_url: expected a value"),
        ("duration=60&response_url=https://e.com/%0D%0AX:1", "?response_url: expected printable characters"),
        (f"duration=60&response_url=https://e.com/{'x' * 250}", "?response_url: expected at most 255 char"),
        ("duration=-60&response_url=https://example.com/r", "?duration: expected a non-negative integer"),
    ],
)
def test_query_that_breaks_its_rule(query: str, problem: str) -> None:
    """What a query must have is asked for, and a text in it keeps the rule of its type."""
    with pytest.raises(InvalidParameters, match=re.escape(problem)) as refused:
        decode_target(ACTIVE_PROFILE, {"session_id": "S1"}, query, "")
    assert [found.pointer for found in refused.value.problems] == [problem.partition(":")[0]]


@pytest.mark.parametrize(
    ("operation", "target", "words"),
    [
        (CLEAR_PROFILE, v221.ClearProfileRef("S1", ""), "response_url: expected a value"),
        (CLEAR_PROFILE, v221.ClearProfileRef("S1", "x" * 256), "response_url: expected at most 255"),
        (CLEAR_PROFILE, v221.ClearProfileRef("S1", "a\nb"), "response_url: expected printable"),
        (ACTIVE_PROFILE, v221.ActiveProfileRef("S1", -1, "https://e.com"), "duration: expected no negative"),
        (LIST_LOCATIONS, PageQuery(offset=-1), "offset: expected no negative"),
        (LIST_SESSIONS, PageQuery(), "date_from: expected a value"),
    ],
)
def test_query_that_is_not_sent(operation: Operation, target: object, words: str) -> None:
    """A query of ours that breaks a rule, or lacks what it must have, does not leave."""
    with pytest.raises(ValueError, match=rf"{re.escape(operation.id)}: {words}"):
        path_and_query(operation, target)


def test_query_that_a_listing_requires() -> None:
    """Sessions are not listed from the beginning of time: the query says from when on."""
    with pytest.raises(InvalidParameters, match=r"\?date_from: expected a value") as refused:
        decode_target(LIST_SESSIONS, {}, "offset=50", "")
    assert refused.value.http_status == 200
    assert decode_target(LIST_SESSIONS, {}, "date_from=2026-11-01T12:00:00Z", "") == PageQuery(date_from=NOW)


@pytest.mark.parametrize("plus", ["+", "%2B", " ", "%20"])
def test_dates_in_queries_are_read_leniently(plus: str) -> None:
    """A date may have an offset, whose plus sign may have become a blank on its way, or no zone at all."""
    expected = PageQuery(date_from=datetime(2026, 11, 1, 10, tzinfo=UTC))
    assert decode_target(LIST_LOCATIONS, {}, f"date_from=2026-11-01T12:00:00{plus}02:00", "") == expected
    assert decode_target(LIST_LOCATIONS, {}, "date_from=2026-11-01T10:00:00&x=1&date_to=", "") == expected


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "?limit"),
        ("limit=-1", "?limit"),
        ("limit=ten", "?limit"),
        ("limit=%D9%A1", "?limit"),  # a digit of another alphabet
        ("limit=" + "9" * 19, "?limit"),
        ("offset=-1", "?offset"),
        ("offset=1.5", "?offset"),
        ("offset=1&offset=2", "?offset"),
        ("date_from=yesterday", "?date_from"),
        ("date_from=2026-11-02T00:00:00Z&date_to=2026-11-01T00:00:00Z", "?date_to"),
        ("date_from=%FF", "?"),
        ("&".join(f"x{n}=1" for n in range(200)), "?"),
    ],
)
def test_wrong_queries(query: str, pointer: str) -> None:
    """A parameter that cannot be read is OCPI 2001 with HTTP 200, naming it and not its value."""
    with pytest.raises(InvalidParameters) as refused:
        decode_target(LIST_LOCATIONS, {}, query, "")
    assert [problem.pointer for problem in refused.value.problems] == [pointer]
    assert (refused.value.status_code, refused.value.http_status) == (2001, 200)
    assert "yesterday" not in refused.value.message
    assert "ten" not in refused.value.message.replace("integer", "")


def test_harmless_queries() -> None:
    """A huge limit is a wish, an empty interval is empty, a repetition says nothing, others nothing to us."""
    wish = "limit=999999999999&offset=999999999999999999&limit=999999999999"
    assert decode_target(LIST_LOCATIONS, {}, wish, "") == PageQuery(
        limit=999999999999, offset=999999999999999999
    )
    decode_target(LIST_LOCATIONS, {}, "date_from=2026-11-01T00:00:00Z&date_to=2026-11-01T00:00:00Z", "")
    assert decode_target(LIST_LOCATIONS, {}, "x=1&y=2&x=3&offset=1", "") == PageQuery(offset=1)


def test_links() -> None:
    """A place that a handler names is escaped in the URL and comes back as it was."""
    assert link_path(Link("START_SESSION/a b%")) == "START_SESSION/a%20b%25"
    assert decode_target(POST_RESULT, {}, "", "START_SESSION/a%20b%25") == Link("START_SESSION/a b%")
    assert path_and_query(POST_RESULT, Link("https://example.com/x")) == ""
    for walking in ("", "a//b", "../x", "/x", "x/", "a/."):
        with pytest.raises(ValueError, match="expected a Link such as"):
            link_path(Link(walking))
    with pytest.raises(InvalidParameters):
        decode_target(POST_RESULT, {}, "", "a/%2E%2E/b")


# --- bodies --------------------------------------------------------------------------------------------


def test_body_that_is_not_json() -> None:
    """What is not JSON at all is HTTP 400."""
    for body in (b"", b"{", b'{"a":1,"a":2}', b"\xff", b'{"x":NaN}', b"[" * 100):
        with pytest.raises(MalformedMessage) as refused:
            decode_body(PUT_LOCATION, body)
        assert refused.value.http_status == 400


def test_body_that_is_not_the_object() -> None:
    """JSON that is not the object is OCPI 2001 with HTTP 200, and a pointer for every problem."""
    body = json.loads(encode_body(a_location()))
    del body["city"]
    body["publish"] = "perhaps"
    body["evses"][0]["connectors"][0]["max_voltage"] = None
    with pytest.raises(InvalidParameters) as refused:
        decode_body(PUT_LOCATION, json.dumps(body).encode())
    assert refused.value.http_status == 200
    assert sorted(problem.pointer for problem in refused.value.problems) == [
        "/city",
        "/evses/0/connectors/0/max_voltage",
        "/publish",
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"result": "ACCEPTED"}, v221.ChargingProfileResult),
        ({"result": "UNKNOWN", "session": 1}, v221.ChargingProfileResult),
        ({"result": "ACCEPTED", "profile": None}, v221.ActiveChargingProfileResult),
        ({}, None),
        ([], None),
        ({"result": "ACCEPTED", "profile": 5}, None),
        ("ACCEPTED", None),
    ],
)
def test_one_body_of_several(body: object, kind: type[Model] | None) -> None:
    """Of several classes a body is the first that has all it holds; what nobody knows decides nothing."""
    data = json.dumps(body).encode()
    if kind is None:
        with pytest.raises(InvalidParameters):
            decode_body(POST_PROFILE_RESULT, data)
    else:
        assert type(decode_body(POST_PROFILE_RESULT, data)) is kind
    with pytest.raises(MalformedMessage):
        decode_body(POST_PROFILE_RESULT, data + b"}")


@pytest.mark.parametrize("body", [b"", b"  ", b"null", b"\n"])
def test_optional_body(body: bytes) -> None:
    """A body that may be left out may be empty, blank or null."""
    assert decode_body(AUTHORIZE, body) is None


def test_patch_travels() -> None:
    """A patch arrives as it was: fields, those that go, and what OCPI does not define."""
    changes = Patch(
        v221.EVSE,
        {"status": v221.Status.CHARGING, "floor_level": None, "directions": [], "last_updated": NOW},
        {"x": {"y": [1, None]}, "z": None},
    )
    assert decode_body(PATCH_EVSE, encode_body(changes), {"last_updated"}) == changes


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (cast("object", {}), ["/last_updated"]),
        ({"status": "CHARGING"}, ["/last_updated"]),
        ({"last_updated": None}, ["/last_updated"]),
        ({"last_updated": "soon"}, ["/last_updated"]),
        ({"status": None, "connectors": [cast("object", {})]}, None),
        (cast("object", []), [""]),
    ],
)
def test_wrong_patches(body: object, pointers: list[str] | None) -> None:
    """A PATCH without what every PATCH carries is OCPI 2001, like any wrong field; each is named once."""
    with pytest.raises(InvalidParameters) as refused:
        decode_body(PATCH_EVSE, json.dumps(body).encode(), {"last_updated"})
    found = [problem.pointer for problem in refused.value.problems]
    if pointers is None:
        assert {"/status", "/connectors/0/id", "/last_updated"} <= set(found)
        assert len(found) == len(set(found))
    else:
        assert found == pointers


def test_what_a_patch_requires_is_the_versions_to_say() -> None:
    """Only what the version requires, and only where the object has it, must be in a PATCH."""
    bare = Patch(v221.EVSE, {"status": v221.Status.CHARGING})
    assert decode_body(PATCH_EVSE, encode_body(bare)) == bare
    assert missing_in_patch(bare, {"nothing_of_an_evse"}) == []
    assert missing_in_patch(an_evse(), {"last_updated"}) == []
    assert [one.pointer for one in missing_in_patch(bare, {"last_updated"})] == ["/last_updated"]
    with pytest.raises(InvalidObject, match=r"not a valid Patch\[EVSE\]: /last_updated: expected a DateTime"):
        require_whole_patch(PATCH_EVSE, bare, {"last_updated"})


# --- answers -------------------------------------------------------------------------------------------


def answer(data: object = None, code: object = 1000, http: int = 200, **headers: str) -> HttpResponse:
    """An answer of a partner."""
    envelope = {"status_code": code, "status_message": "so", "timestamp": "2026-11-01T12:00:00Z"}
    if data is not None:
        envelope["data"] = data
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return HttpResponse(status=http, headers=named, body=json.dumps(envelope, default=str).encode())


def plain(one: Model) -> Any:  # noqa: ANN401 - JSON
    """The JSON of an object."""
    return json.loads(encode_body(one))


def test_results() -> None:
    """An object, a list, a page and a place are read out of the answer."""
    location = a_location()
    assert decode_result(GET_LOCATION, answer(plain(location)), EXCHANGE) == location
    versions = decode_result(LIST_VERSIONS, answer([{"version": "2.2.1", "url": "https://x"}]), EXCHANGE)
    assert versions == [v221.Version(version=v221.VersionNumber.V2_2_1, url="https://x")]
    assert decode_result(PUT_LOCATION, answer({"anything": 1}), EXCHANGE) is None
    assert decode_result(POST_CDR, answer(Location="https://x/1"), EXCHANGE) == Link("https://x/1")
    response = v221.ChargingProfileResponse(result=v221.ChargingProfileResponseType.TOO_OFTEN, timeout=0)
    assert decode_result(CLEAR_PROFILE, answer(plain(response)), EXCHANGE) == response


def test_value_alone_as_the_answer() -> None:
    """An answer may be a bare value of an enum, one that is not known yet included."""
    for text in ("DEPARTURE_REQUIRED", "X_NEW"):
        value = decode_result(PREFERENCES, answer(text), EXCHANGE)
        assert value == v221.ChargingPreferencesResponse(text)
        assert type(value) is v221.ChargingPreferencesResponse
    wrongs: list[object] = [{}, "", None, ["ACCEPTED"]]
    for wrong in wrongs:
        with pytest.raises(BadAnswer, match="answered something else than expected"):
            decode_result(PREFERENCES, answer(wrong), EXCHANGE)


def test_page_with_headers() -> None:
    """A page has its total, its limit and its successor; an item that cannot be read is set aside."""
    response = answer(
        [plain(a_location()), {"id": "LOC2"}],
        X_Total_Count="7",
        X_Limit="2",
        Link='<https://x/a>; rel="prev", <https://x/b?offset=2>; rel=next',
    )
    page = cast("Page[v221.Location]", decode_result(LIST_LOCATIONS, response, EXCHANGE))
    assert (page.total, page.limit, page.next) == (7, 2, Link("https://x/b?offset=2"))
    assert (list(page.items), [item.index for item in page.rejected]) == ([a_location()], [1])
    odd = answer([], X_Total_Count="many", X_Limit="-1")
    page = cast("Page[v221.Location]", decode_result(LIST_LOCATIONS, odd, EXCHANGE))
    assert (page.total, page.limit, page.next) == (None, None, None)


def test_cdr_without_a_place() -> None:
    """IOP's own example of an answer to a CDR has no Location header: it is a success, with an empty Link."""
    assert decode_result(POST_CDR, answer({}), EXCHANGE) == Link("")


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (answer(code=2003), UnknownLocation),
        (answer(code=2004, http=404), UnknownToken),
        (answer(code=2000, http=404), UnknownObject),
        (answer(code=2001), InvalidParameters),
        (answer(code=3000), ServerError),
        (answer(code=3042), ServerError),
        (HttpResponse(status=401, body=b""), Unauthorized),
        (HttpResponse(status=404, body=b"<html>"), UnknownObject),
    ],
)
def test_errors_of_partners(response: HttpResponse, error: type[StatusError]) -> None:
    """An answer that refuses is raised as the class that names its reason."""
    with pytest.raises(error) as refused:
        decode_result(GET_LOCATION, response, EXCHANGE)
    assert type(refused.value) is error
    assert refused.value.exchange == EXCHANGE


@pytest.mark.parametrize(
    ("operation", "response", "words"),
    [
        (GET_LOCATION, HttpResponse(status=200, body=b"<html>ok</html>"), "answered no OCPI envelope"),
        (GET_LOCATION, HttpResponse(status=502, body=b""), "answered HTTP 502 without an OCPI envelope"),
        (GET_LOCATION, answer(code="fine"), "answered no OCPI envelope"),
        (GET_LOCATION, answer(plain(a_location()), http=500), "answered success in a failed response"),
        (GET_LOCATION, answer(), "/data: expected a Location"),
        (GET_LOCATION, answer([]), "answered something else than expected"),
        (LIST_LOCATIONS, answer({}), "answered something else than expected"),
        (GET_CDR, answer(plain(a_location())), "answered something else than expected"),
    ],
)
def test_answers_that_are_not_ocpi(operation: Operation, response: HttpResponse, words: str) -> None:
    """What is no OCPI answer, or another object than asked for, is a BadAnswer, whatever its HTTP status."""
    with pytest.raises(BadAnswer, match=words):
        decode_result(operation, response, EXCHANGE)


# --- subjects ------------------------------------------------------------------------------------------


def test_subject_names_the_object() -> None:
    """A message is named by its owner and ids."""
    assert subject(PUT_LOCATION, REF, a_location()) == "FR*CPO/LOC1"
    assert subject(PATCH_EVSE, v221.EvseRef("FR", "CPO", "L1", "E1"), None) == "FR*CPO/L1/E1"
    assert subject(POST_CDR, None, a_cdr()) == "FR*CPO/CDR1"
    assert subject(LIST_LOCATIONS, PageQuery(), None) == ""
    assert subject(operation_of(v221.CredentialsInterface.get_credentials), None, None) == ""


@pytest.mark.parametrize(
    "operation", [*v211.DIALECT.all_operations(), *v221.DIALECT.all_operations()], ids=str
)
def test_references_hide_what_is_personal(operation: Operation) -> None:
    """A reference keeps a token's uid out of its repr, and so out of subjects and logs."""
    if operation.target in (None, Link):
        return
    for field in attrs.fields(cast("Any", operation.target)):
        assert not (field.repr and "token" in field.name), f"{operation.target}.{field.name}"
    assert subject(AUTHORIZE, v221.OwnTokenRef(a_token().uid), None) == ""


def test_numbers_of_bodies_are_exact() -> None:
    """A price is written as it is, digit for digit."""
    cdr = a_cdr(total_energy=Decimal("12.3400"))
    assert b'"total_energy":12.3400' in encode_body(cdr)
    assert decode_body(POST_CDR, encode_body(cdr)) == cdr
