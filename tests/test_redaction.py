from __future__ import annotations

import json
import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ocpi_gireve.redaction import HIDDEN, Redactor

KEY = b"the key of these tests"
MARK = re.compile(r"<hidden \d+ [0-9a-f]{8}>")


def test_same_value_same_mark() -> None:
    """A value can be followed by its mark, which another key makes anew."""
    one, again, other = Redactor(KEY), Redactor(KEY), Redactor()
    assert one.mark("04A2B3") == again.mark("04A2B3")
    assert one.mark("04A2B3") != one.mark("04A2B4")
    assert one.mark("04A2B3") != other.mark("04A2B3")
    assert MARK.fullmatch(one.mark("04A2B3"))


def test_short_key() -> None:
    """A key that could be guessed, and every card number after it, is refused."""
    with pytest.raises(ValueError, match="16 bytes"):
        Redactor(b"short")


def test_headers() -> None:
    """Of Authorization the scheme is shown; the rest of the headers stays as it is."""
    headers = CIMultiDict(
        {
            "authorization": "Token c2VjcmV0",
            "Cookie": "secret",
            "X-Request-ID": "r-1",
            "Location": "/tokens/0412",
        }
    )
    shown = dict(Redactor(KEY).headers(headers))
    assert re.fullmatch(r"Token <hidden 8 \w{8}>", shown["authorization"])
    assert MARK.fullmatch(shown["Cookie"])
    assert shown["X-Request-ID"] == "r-1"
    assert "0412" not in shown["Location"]


@pytest.mark.parametrize(
    ("url", "secret", "kept"),
    [
        ("https://a.example/2.2.1/receiver/tokens/FR/EMP/04A2?type=RFID", "04A2", ["FR/EMP", "type=RFID"]),
        ("/emsp/2.1.1/tokens/04A2/authorize?type=RFID", "04A2", ["/authorize", "type=RFID"]),
        (
            "/chargingprofiles/S1?duration=9&response_url=https://b.example/c%3Fkey=04A2",
            "04A2",
            ["b.example/c"],
        ),
        ("https://a.example/2.2.1/sender/tokens?offset=10&limit=5", "", ["offset=10&limit=5"]),
    ],
)
def test_url(url: str, secret: str, kept: list[str]) -> None:
    """A URL is shown without the uid of a token and without what a callback carries in its query."""
    shown = Redactor(KEY).url(url)
    assert all(part in shown for part in kept)
    assert not secret or secret not in shown


def test_body_keeps_what_nobody_minds() -> None:
    """Numbers, ids of objects and everything else stay, exactly as sent."""
    body = b'{"id":"S1","kwh":0.1000,"cdr_token":{"uid":"04A2","contract_id":"C1"},"location_id":"L1"}'
    shown = Redactor(KEY).body(body)
    assert '"kwh":0.1000' in shown
    assert '"id":"S1"' in shown
    assert "04A2" not in shown
    assert "C1" not in shown


def test_uid_of_an_evse() -> None:
    """In locations, uid names an EVSE and stays; anywhere else it names a driver's card."""
    redactor = Redactor(KEY)
    assert redactor.body(b'{"evses":[{"uid":"E1"}]}') == '{"evses":[{"uid":"E1"}]}'
    assert redactor.body(b'{"uid":"E1"}', module="locations") == '{"uid":"E1"}'
    assert "E1" not in redactor.body(b'{"uid":"E1"}', module="tokens")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", ""),
        (b"<html>secret</html>", "<19 bytes that are no JSON>"),
        (b'{"id": "' + b"1" * 100 + b'"}', "<110 bytes>"),
    ],
)
def test_body_that_is_not_shown(body: bytes, shown: str) -> None:
    """What is no JSON, or too long to be looked through, is shown by its length."""
    assert Redactor(KEY).body(body, limit=100) == shown


def test_query_of_a_response_url() -> None:
    """Where a result goes is shown, what its URL carries is not."""
    shown = Redactor(KEY).body(b'{"response_url":"https://a.example/b?key=secret"}')
    assert json.loads(shown) == {"response_url": "https://a.example/b?..."}


SECRET = "5ecr3t-0412"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*sorted(HIDDEN), "id", "data", "evse", "sub"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def planted(value: object) -> object:
    """Put the secret at every place whose text has to be hidden."""
    if isinstance(value, list):
        return [planted(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {
            name: SECRET if name in HIDDEN and isinstance(item, str) else planted(item)
            for name, item in cast("dict[str, object]", value).items()
        }
    return value


@given(VALUES)
def test_no_nesting_shows_a_secret(value: object) -> None:
    """However deep in a body a secret stands, it is never shown."""
    body = json.dumps({"data": planted(value), "token": SECRET}).encode()
    assert SECRET not in Redactor(KEY).body(body)
