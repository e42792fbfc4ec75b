from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ocpi_gireve import errors
from ocpi_gireve.errors import (
    BadAnswer,
    DecodeError,
    InvalidObject,
    NoAnswer,
    NotRegistered,
    NotSent,
    NotServed,
    NotTrusted,
    OcpiError,
    RegistrationFailed,
    StatusError,
    StoreError,
    UrlRefused,
)
from ocpi_gireve.outbox import Outcome, Rhythm, Verdict, judge_failure, judge_response
from ocpi_gireve.outbox.policy import MAX_RETRY_AFTER

from .doubles import answer, new_upload

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
PUT, POST, PATCH, DELETE = (
    "LocationsReceiver.put_location",
    "CdrsReceiver.post_cdr",
    "LocationsReceiver.patch_evse",
    "TariffsReceiver.delete_tariff",
)
SESSION = "SessionsReceiver.put_session"
OPERATIONS = (PUT, POST, PATCH, DELETE, SESSION)
CODES = (
    0,
    999,
    1000,
    1999,
    2000,
    2001,
    2003,
    2999,
    3000,
    3999,
    4000,
    4001,
    4002,
    4003,
    4999,
    5000,
    -1,
    10**30,
)
NO_ENVELOPES = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"<html>We are back soon</html>",
    b'{"status_code":1000',
    b'{"status_code":1000}}',
    b'{"status_code":"fine"}',
    b'{"status_code":true}',
    b'{"status_code":null}',
    b'{"status_code":1000.5}',
    b'{"status":1000}',
    b"\xff\xfe",
    b"[" * 100_000,
    b"1000",
    b"\xef\xbb\xbf{}",
)
REJECTED, TRANSIENT, CONFIG, PARTY = Outcome.REJECTED, Outcome.TRANSIENT, Outcome.CONFIG, Outcome.PARTY
UNKNOWN, NOT_YET = Outcome.UNKNOWN_OBJECT, Outcome.NOT_YET_KNOWN


def judged(http: int, body: bytes, operation: str = PUT, **headers: str) -> Verdict:
    """What an answer to an operation means."""
    upload = new_upload("LOC1", operation=f"2.2.1/{operation}")
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return judge_response(upload, http, named, body, now=lambda: NOW)


def outcome(http: int, code: int | None, operation: str = PUT) -> Outcome:
    """What an answer to an operation comes to."""
    return judged(http, answer(code).body, operation).outcome


@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_success_twice_is_a_delivery(operation: str) -> None:
    """Of all HTTP and OCPI statuses, 2xx with 1xxx is delivered, and nothing else is."""
    for http in range(200, 600):
        for code in CODES:
            delivered = outcome(http, code, operation) is Outcome.DELIVERED
            assert delivered == (http < 300 and 1000 <= code <= 1999), (http, code)


@pytest.mark.parametrize("body", NO_ENVELOPES)
def test_no_envelope_is_no_delivery(body: bytes) -> None:
    """A 2xx whose body is not an OCPI answer is tried again: a page for people must not swallow a CDR."""
    for http in range(200, 300):
        for operation in OPERATIONS:
            assert judged(http, body, operation).outcome is TRANSIENT


@pytest.mark.parametrize(
    ("code", "operation", "expected"),
    [
        (1000, PUT, Outcome.DELIVERED),
        (1999, PATCH, Outcome.DELIVERED),
        (2000, PUT, REJECTED),
        (2001, POST, REJECTED),
        (2003, PUT, REJECTED),
        (2003, POST, NOT_YET),
        (2003, SESSION, NOT_YET),
        (2003, PATCH, UNKNOWN),
        (2003, DELETE, UNKNOWN),
        (2004, PATCH, REJECTED),
        (2999, PUT, REJECTED),
        (3000, PUT, TRANSIENT),
        (3003, POST, TRANSIENT),
        (4000, PUT, TRANSIENT),
        (4001, PUT, PARTY),
        (4002, POST, TRANSIENT),
        (4003, PATCH, TRANSIENT),
        (4004, PATCH, TRANSIENT),
        (999, PUT, TRANSIENT),
        (5000, PUT, TRANSIENT),
    ],
)
def test_ocpi_status_decides_in_a_good_response(code: int, operation: str, expected: Outcome) -> None:
    """In an HTTP 2xx, the OCPI status says what happened."""
    assert {outcome(http, code, operation) for http in (200, 201, 202, 206)} == {expected}


@pytest.mark.parametrize(
    ("https", "expected"),
    [
        (range(300, 400), CONFIG),
        ([400, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 422, 428, 431], REJECTED),
        ([405, 501], REJECTED),
        ([401], Outcome.AUTH),
        ([402, 407, 421, 426, 451], CONFIG),
        ([403, 404], PARTY),
        ([408, 423, 424, 425, 429], TRANSIENT),
        ([500, *range(502, 600)], TRANSIENT),
    ],
)
def test_http_status_decides_in_a_bad_response(https: list[int], expected: Outcome) -> None:
    """With any other HTTP status, the OCPI status changes nothing, unless it is a hub's."""
    for http in https:
        for code in (None, 1000, 2000, 2001, 3000, 5000):
            assert (http, code, outcome(http, code)) == (http, code, expected)


@pytest.mark.parametrize(
    ("http", "code", "operation", "expected"),
    [
        (404, None, PATCH, UNKNOWN),
        (404, 2003, PATCH, UNKNOWN),
        (404, None, DELETE, UNKNOWN),
        (404, None, POST, PARTY),
        (404, 2003, PUT, PARTY),
        (404, 2003, POST, NOT_YET),
        (400, 2003, SESSION, NOT_YET),
        (404, 4001, PATCH, PARTY),
        (400, 4002, PUT, TRANSIENT),
        (404, 4003, PUT, TRANSIENT),
        (401, 4003, PUT, Outcome.AUTH),
        (405, 4003, PUT, REJECTED),
        (500, 2001, PUT, TRANSIENT),
    ],
)
def test_both_statuses(http: int, code: int | None, operation: str, expected: Outcome) -> None:
    """A bad response that names a missing object, or that a hub wrote, is judged by that."""
    assert outcome(http, code, operation) is expected


@given(
    st.integers() | st.integers(0, 700),
    st.binary(max_size=200)
    | st.builds(
        b'{"status_code":%b,"data":%b}'.__mod__,
        st.tuples(st.sampled_from([b"1000", b'"1000"', b"2e3", b"1e999", b"NaN"]), st.binary(max_size=40)),
    ),
    st.lists(st.tuples(st.sampled_from(["Retry-After", "Date", "retry-after"]), st.text(max_size=80))),
    st.sampled_from(OPERATIONS) | st.text(max_size=40),
)
@example(200, b'{"status_code":"1000","data":' + b"9" * 60 + b"}", [], PUT)
@example(503, b"", [("Retry-After", "9" * 5000)], "")
@example(503, b"", [("Retry-After", "Thu, 99999999999999999999 Jan 2026 00:00:00 GMT")], "")
@example(503, b"", [("Retry-After", "Thu, 01 Jan 2026 00:00:00 +99999999999999999999")], "")
def test_every_answer_has_one_meaning(
    http: int, body: bytes, headers: list[tuple[str, str]], operation: str
) -> None:
    """Any status, headers and bytes get a verdict, with a reason and a wait of at most an hour."""
    verdict = judge_response(new_upload("LOC1", operation=operation), http, CIMultiDict(headers), body)
    assert verdict.outcome in Outcome
    assert (verdict.outcome is Outcome.DELIVERED) <= (200 <= http < 300)
    assert verdict.reason
    assert verdict.retry_after is None or 0 <= verdict.retry_after <= MAX_RETRY_AFTER


def test_reason_names_the_statuses() -> None:
    """The reason says both statuses, and nothing that the partner wrote."""
    body = b'{"status_code":2001,"status_message":"unknown uid 012345"}'
    assert judged(200, body).reason == "the partner does not accept the message (HTTP 200, OCPI 2001)"
    assert judged(503, b"012345").reason == "the partner's server failed (HTTP 503)"
    assert judged(401, body).reason == "the partner does not accept our token (HTTP 401, OCPI 2001)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("1000000000", 3600.0),
        ("9" * 5000, 3600.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Sun, 01 Mar 2026 08:02:00 GMT", 120.0),
        ("Sunday, 01-Mar-26 08:02:00 GMT", 120.0),
        ("Sun Mar  1 08:02:00 2026", 120.0),
        ("Sun, 01 Mar 2026 09:02:00 +0100", 120.0),
        ("Sun, 01 Mar 2026 07:00:00 GMT", 0.0),
        ("Mon, 01 Mar 2027 08:02:00 GMT", 3600.0),
        ("Sun, 99 Mar 2026 08:02:00 GMT", None),
        ("Sun, 01 Mar 2026 08:02:00 GMT" + " " * 100 + "x", None),
    ],
)
def test_retry_after(text: str, expected: float | None) -> None:
    """`Retry-After` is read as seconds or as a date in each of HTTP's forms; junk is no wish."""
    assert judged(503, b"", Retry_After=text).retry_after == expected


def test_retry_after_on_the_partners_clock() -> None:
    """A date is compared with the answer's own `Date`: the partner's clock may differ from ours."""
    verdict = judged(
        429, b"", Retry_After="Sun, 01 Mar 2026 20:00:30 GMT", Date="Sun, 01 Mar 2026 20:00:00 GMT"
    )
    assert verdict.retry_after == 30.0


def test_several_retry_after() -> None:
    """Of several wishes the longest counts: never earlier than asked."""
    headers = CIMultiDict[str]([("Retry-After", "5"), ("retry-after", "junk"), ("Retry-After", "60")])
    assert judge_response(new_upload("LOC1"), 503, headers, b"").retry_after == 60.0


def test_retry_after_only_where_it_is_tried_again() -> None:
    """What is not simply tried again carries no wait."""
    assert judged(401, b"", Retry_After="5").retry_after is None
    assert judged(400, b"", Retry_After="5").retry_after is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotSent("no connection: Connection refused"), TRANSIENT),
        (NotTrusted("its certificate is not trusted: certificate has expired"), CONFIG),
        (NoAnswer("no complete answer in time"), TRANSIENT),
        (UrlRefused("request", "no address of the host may be called"), CONFIG),
        (NotRegistered("gireve: no token"), Outcome.UNREGISTERED),
        (NotServed("gireve: no tariffs"), Outcome.REJECTED),
        (RegistrationFailed("POST credentials", "HTTP 500"), Outcome.UNREGISTERED),
        (StoreError("the disk could not be read"), TRANSIENT),
        (BadAnswer("a page", http_status=200), TRANSIENT),
        (BadAnswer("a page", http_status=502), TRANSIENT),
        (BadAnswer("a page", http_status=401), Outcome.AUTH),
        (errors.Unauthorized(), Outcome.AUTH),
        (errors.Forbidden(), PARTY),
        (errors.MethodNotAllowed(), REJECTED),
        (errors.InvalidParameters(), REJECTED),
        (errors.ServerError(), TRANSIENT),
        (errors.UnknownReceiver(), PARTY),
        (DecodeError("Location", []), REJECTED),
        (InvalidObject("Location", []), REJECTED),
        (OcpiError("anything"), TRANSIENT),
    ],
)
def test_failures(error: OcpiError, expected: Outcome) -> None:
    """Each error says what an answer would have said, if there had been one."""
    assert judge_failure(error).outcome is expected


def subclasses(cls: type[StatusError]) -> list[type[StatusError]]:
    """Every class below one."""
    return [one for sub in cls.__subclasses__() for one in (sub, *subclasses(sub))]


def test_no_failure_is_a_delivery() -> None:
    """No error of the tree delivers, and the text of a partner in it stays out of the reason."""
    for cls in subclasses(StatusError):
        verdict = judge_failure(cls("uid 012345"))
        assert verdict.outcome is not Outcome.DELIVERED
        assert "012345" not in verdict.reason


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_delays(failures: int, jitter: float) -> None:
    """Delays double from one second to five minutes, and chance takes off at most half."""
    most = min(300.0, 2.0 ** min(failures - 1, 20))
    assert most / 2 <= Rhythm().delay(failures, jitter) <= most


@pytest.mark.parametrize("name", ["first_delay", "longest_delay", "probe_interval", "store_delay"])
def test_rhythm_needs_time(name: str) -> None:
    """A rhythm without waits, which would never let the partner rest, is refused."""
    with pytest.raises(ValueError, match=name):
        Rhythm(**{name: 0.0})


def test_retry_after_cap_is_an_hour() -> None:
    """No partner can silence a lane for longer than an hour."""
    assert timedelta(seconds=MAX_RETRY_AFTER) == timedelta(hours=1)
