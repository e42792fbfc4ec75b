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
    """Of Authorization the scheme is shown, of places what may be; the rest of the headers stays as it is."""
    headers = CIMultiDict(
        {
            "authorization": "Token c2VjcmV0",
            "Cookie": "secret",
            "X-Request-ID": "r-1",
            "Location": "/tokens/0412",
            "Link": '<https://a.example/tokens?offset=5&key=secret>; rel="next"',
        }
    )
    shown = dict(Redactor(KEY).headers(headers))
    assert re.fullmatch(r"Token <hidden 8 \w{8}>", shown["authorization"])
    assert MARK.fullmatch(shown["Cookie"])
    assert shown["X-Request-ID"] == "r-1"
    assert "0412" not in shown["Location"]
    assert shown["Link"].startswith("<https://a.example/tokens?offset=5&key=")
    assert shown["Link"].endswith('>; rel="next"')
    assert "secret" not in shown["Link"]


@pytest.mark.parametrize(
    "name", ["X-API-Key", "Ocp-Apim-Subscription-Key", "x-amzn-oidc-accesstoken", "Set-Cookie"]
)
def test_secrets_of_gateways(name: str) -> None:
    """What a gateway is opened with is hidden as well; what says how to open one is not."""
    headers = CIMultiDict({name: "c2VjcmV0", "WWW-Authenticate": "Token", "X-Request-ID": "r-1"})
    shown = dict(Redactor(KEY).headers(headers))
    assert MARK.fullmatch(shown.pop(name))
    assert shown == {"WWW-Authenticate": "Token", "X-Request-ID": "r-1"}


@pytest.mark.parametrize("value", ["c2VjcmV0", "c2VjcmV0 x", "Token", "Tokenc2VjcmV0 x"])
def test_authorization_of_another_shape(value: str) -> None:
    """What stands in the place of the scheme may be the token, and is hidden."""
    ((_, shown),) = Redactor(KEY).headers(CIMultiDict({"Authorization": value}))
    assert MARK.fullmatch(shown)


@pytest.mark.parametrize(
    ("url", "secret", "kept"),
    [
        ("https://a.example/2.2.1/receiver/tokens/FR/EMP/04A2?type=RFID", "04A2", ["FR/EMP", "type=RFID"]),
        ("/emsp/2.1.1/tokens/04A2/authorize?type=RFID", "04A2", ["/authorize", "type=RFID"]),
        ("/2.2.1/receiver/Tokens/FR/EMP/04A2/0413", "04A2", ["FR/EMP"]),
        ("/2.2.1/receiver/tokens/FR/EMP/0412/04A2", "04A2", ["FR/EMP"]),
        ("/tokens/tokens/04A2", "04A2", ["/tokens/"]),
        ("/2.2.1/sender/cdrs?offset=0&token_uid=04A2", "04A2", ["offset=0", "token_uid="]),
        ("/2.2.1/sender/cdrs?04A2", "04A2", ["/cdrs?"]),
        (
            "/chargingprofiles/S1?duration=9&response_url=https://b.example/c%3Fkey=04A2",
            "04A2",
            ["b.example/c"],
        ),
        ("https://a.example/2.2.1/sender/tokens?offset=10&limit=5", "04A2", ["/tokens?offset=10&limit=5"]),
        ("/2.2.1/sender/tokens?date_from=2026-11-01T12:00:00Z", "04A2", ["date_from=2026-11-01T12:00:00Z"]),
    ],
)
def test_url(url: str, secret: str, kept: list[str]) -> None:
    """A URL is shown without the uid of a token and without what its query may carry."""
    shown = Redactor(KEY).url(url)
    assert all(part in shown for part in kept)
    assert secret not in shown


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://a.example/cards/FR/EMP/04A2", "https://a.example/cards/FR/EMP/"),
        ("https://a.example/cards/04A2/authorize?type=RFID", "/authorize?type=RFID"),
        ("https://a.example/cards/04A2/", "https://a.example/cards/"),
        ("04A2", ""),
    ],
)
def test_tokens_of_a_partner(url: str, kept: str) -> None:
    """A partner may have its tokens at any URL; the module says that a uid stands in it."""
    shown = Redactor(KEY).url(url, module="tokens")
    assert kept in shown
    assert "04A2" not in shown
    for name in ("Location", "Link"):
        assert "04A2" not in dict(Redactor(KEY).headers(CIMultiDict({name: url}), module="tokens"))[name]


def test_body_keeps_what_nobody_minds() -> None:
    """Numbers, ids of objects and everything else stay, exactly as sent."""
    body = b'{"id":"S1","kwh":0.1000,"cdr_token":{"uid":"04A2","contract_id":"C1"},"location_id":"L1"}'
    shown = Redactor(KEY).body(body)
    assert '"kwh":0.1000' in shown
    assert '"id":"S1"' in shown
    assert "04A2" not in shown
    assert "C1" not in shown


@pytest.mark.parametrize("value", ["4242", "42.42", '["4242"]', '{"a":"4242"}', '[{"a":[4242]}]'])
def test_personal_values_of_other_kinds(value: str) -> None:
    """A uid that comes as a number, which is read as a text, or wrapped in something, is hidden as well."""
    shown = Redactor(KEY).body(b'{"uid":%s,"valid":true}' % value.encode())
    assert "42" not in re.sub(MARK, "", shown)
    assert "hidden" in shown
    assert '"valid":true' in shown


def test_token_of_a_command() -> None:
    """In a command, `token` is an object: of it, what names the driver is hidden, and nothing else."""
    shown = Redactor(KEY).body(b'{"token":{"uid":"04A2","issuer":"An eMSP","valid":null},"location_id":"L1"}')
    assert "04A2" not in shown
    assert '"issuer":"An eMSP","valid":null' in shown


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


@given(st.text(), st.sampled_from(["", "tokens"]))
def test_whatever_is_asked_for_can_be_written(text: str, module: str) -> None:
    """Of any URL and any header, bytes that are no text included, something is left that a file takes."""
    raw = text.encode("utf-16", "surrogatepass")
    for value in (text, f"/tokens/{text}?{text}={text}", raw.decode("utf-8", "surrogateescape"), "\udcff"):
        Redactor(KEY).url(value, module=module).encode()
        headers = CIMultiDict({"Link": f"<{value}>", "Location": value, "X": value, "Authorization": value})
        for _, shown in Redactor(KEY).headers(headers, module=module):
            shown.encode()


@given(VALUES)
def test_no_nesting_shows_a_secret(value: object) -> None:
    """However deep in a body a secret stands, it is never shown."""
    body = json.dumps({"data": planted(value), "token": SECRET}).encode()
    assert SECRET not in Redactor(KEY).body(body)
