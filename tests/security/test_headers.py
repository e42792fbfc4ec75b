"""Headers that strangers write: Authorization, routing, ids, and those that proxies add."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ocpi_gireve import BILATERAL, PartyId, Role
from ocpi_gireve.http import HttpServer, aiohttp_app
from ocpi_gireve.store.records import TokenKind
from ocpi_gireve.transport import HttpRequest
from tests.security.spies import PUBLIC_URL, V221, Fortress, body_of, fortress, partner

ONE, AAA = PartyId("FR", "ONE"), PartyId("DE", "AAA")
TOKEN = f"aaa-{TokenKind.CURRENT}"
STRANGER = f"bbb-{TokenKind.CURRENT}"
LF, CRLF, NUL, BOM = "\n", "\r\n", "\0", "\ufeff"


def b64(text: str) -> str:
    """Base64, as 2.2.1 writes a token."""
    return base64.b64encode(text.encode()).decode()


RAW, B64, WITH_LF = TOKEN, b64(TOKEN), b64(TOKEN + LF)

DETAILS = {"2.2.1": "2.2.1", "2.1.1": "cpo/2.1.1"}
ROUTE_221 = "2.2.1/receiver/tokens/DE/AAA/X1"


@cache
def built(total: int) -> Fortress:
    """The server itself, which remembers nothing of a request but who was reached."""
    return fortress([partner("aaa", BILATERAL, [AAA], party=ONE, role=Role.CPO)], [ONE], total=total)


def keep(total: int = 0) -> Fortress:
    """A server that knows one partner, and that nobody has asked yet."""
    whole = built(total)
    whole.reached.clear()
    return whole


# --- Authorization -------------------------------------------------------------------------------------

# Each value with who it is in 2.2.1 (Base64), in 2.1.1 (as it is), and at the versions, which take both.
AUTHORIZATION: list[tuple[str, bool, bool, bool]] = [
    (f"Token {B64}", True, False, True),
    (f"Token {RAW}", False, True, True),
    # Both samples of the 2.2.1 text encode the token with a line feed after it.
    (f"Token {WITH_LF}", True, False, True),
    (f"token {B64}", True, False, True),
    (f"TOKEN {RAW}", False, True, True),
    (f"ToKeN {B64}", True, False, True),
]
NOBODY = [
    "",
    " ",
    "Token",
    "Token ",
    "Token  ",
    "Token\t",
    B64,
    RAW,
    f"Token{B64}",
    f"Token{RAW}",
    f"Token  {B64}",
    f"Token  {RAW}",
    f"Token\t{B64}",
    f"Token\t{RAW}",
    f"Token {B64} ",
    f"Token {RAW} ",
    f" Token {B64}",
    f"Token {B64},",
    f"Token {B64};",
    f'Token "{B64}"',
    f'Token token="{B64}"',
    f"Token token={RAW}",
    f"Token {B64} {B64}",
    f"Token {B64},Token {B64}",
    f"Token {RAW}, Token {RAW}",
    f"Token {B64}\x00",
    f"Token {B64}\x0b",
    f"Token {RAW}\x7f",
    f"Token {RAW}\u00a0",
    f"Token\u00a0{RAW}",
    f"\u212aoken {RAW}",
    f"To\u212aen {RAW}",
    f"Tok\u0435n {RAW}",
    f"Bearer {B64}",
    f"Bearer {RAW}",
    f"Basic {B64}",
    f"Basic {b64(RAW + ':')}",
    f"Digest {B64}",
    f"Negotiate {B64}",
    f"Tokens {B64}",
    f"Token: {B64}",
    f"Token={B64}",
    f"Token {B64.rstrip('=')}",
    f"Token {B64}=",
    f"Token {B64}====",
    f"Token ={B64}",
    f"Token {B64[:-4]}",
    f"Token {B64[:8]}\n{B64[8:]}",
    f"Token {B64[:8]} {B64[8:]}",
    f"Token {B64[:8]}-{B64[8:]}",
    f"Token {B64.lower()}",
    f"Token {B64.swapcase()}",
    f"Token {RAW.upper()}",
    f"Token {RAW.lower()}",
    f"Token {RAW[:-1]}",
    f"Token {RAW}x",
    f"Token x{RAW}",
    f"Token {RAW}%20",
    f"Token {RAW.replace('-', '%2D')}",
    f"Token {RAW}/../{RAW}",
    f"Token {b64(TOKEN.upper())}",
    f"Token {b64(' ' + TOKEN)}",
    f"Token {b64(TOKEN + ' ')}",
    f"Token {b64(TOKEN + CRLF)}",
    f"Token {b64(TOKEN + LF + LF)}",
    f"Token {b64(LF + TOKEN)}",
    f"Token {b64(TOKEN + NUL)}",
    f"Token {b64(BOM + TOKEN)}",
    f"Token {base64.b64encode(TOKEN.encode('utf-16')).decode()}",
    f"Token {b64(B64)}",
    f"Token {base64.b32encode(TOKEN.encode()).decode()}",
    f"Token {base64.b85encode(TOKEN.encode()).decode()}",
    f"Token {TOKEN.encode().hex()}",
    f"Token {b64(TOKEN * 10)}",
    f"Token {b64('x' * 64)}",
    f"Token {b64('x' * 65)}",
    f"Token {'x' * 64}",
    f"Token {'x' * 65}",
    f"Token {'x' * 506}",
    f"Token {'x' * 507}",
    f"Token {'x' * 100_000}",
    f"Token {'A' * 64}",
    "Token ====",
    "Token AAAA",
    f"Token {B64}#{B64}",
    f"Token {B64}?{B64}",
    f"Token <{B64}>",
    f"Token {RAW};version=2.1.1",
    "Token null",
    "Token undefined",
    "Token None",
    "Token 0",
    "Token *",
    "Token %",
    "Token ' OR '1'='1",
    "Token {$ne:null}",
    "Token ../../etc/passwd",
    f"Token {TokenKind.CURRENT}",
    "Token aaa",
    "Token aaa-",
    f"Token aaa-{TokenKind.CURRENT}-{TokenKind.CURRENT}",
    f"Token {STRANGER}",
    f"Token {b64(STRANGER)}",
    "Token ZXhhbXBsZS10b2tlbgo=",
    "Token ZWJmM2IzOTktNzc5Zi00NDk3LTliOWQtYWM2YWQzY2M0NGQyCg==",
    "Token IpbJOXxkxOAuKR92z0nEcmVF3Qw09VG7I7d/WCg0koM=",
    "None",
    "null",
    "\x00",
    "\u00e9",
    "Token \u00e9",
    f"Token {RAW}\u00e9",
    f"Token {RAW}\ud800",
    "Token " + "\u4e2d" * 20,
    f"Token {RAW}\r\nX-Other: 1",
    f"Token {RAW}\nToken {RAW}",
    f"Token {RAW}\r",
    "token",
    "TOKEN",
    "Token Token",
    f"Token Token {B64}",
    f"Token Token {RAW}",
    f"Token,{B64}",
]
TABLE = AUTHORIZATION + [(value, False, False, False) for value in NOBODY]


def test_size_of_the_table() -> None:
    """The table has no row twice, and enough of them."""
    assert len({value for value, *_ in TABLE}) == len(TABLE) >= 128


@pytest.mark.parametrize("row", range(len(TABLE)))
async def test_authorization(row: int) -> None:
    """One header, exactly `Token <the token as its version writes it>`, opens; nothing that looks like it.

    Every refusal is alike, byte for byte but for the moment: it does not tell what was wrong.
    """
    value, *known = TABLE[row]
    closed = keep()
    for path, opens in zip((DETAILS["2.2.1"], DETAILS["2.1.1"], "versions"), known, strict=True):
        headers = CIMultiDict({"Authorization": value})
        request = HttpRequest(method="GET", url=f"/ocpi/{path}", headers=headers)
        response = await closed.server.handle(request)
        if opens:
            assert response.status == 200, path
            continue
        assert response.status == 401, path
        said = json.loads(response.body)
        assert (said["status_code"], said["status_message"]) == (
            2000,
            "expected one header Authorization: Token <a valid credentials token>",
        )
        assert response.headers["WWW-Authenticate"] == "Token"
    assert bool(closed.reached) is any(known)


@pytest.mark.parametrize("first", ["", "Token x", f"Token {B64}"])
@pytest.mark.parametrize("second", ["", "Token x", f"Token {B64}"])
async def test_two_authorizations(first: str, second: str) -> None:
    """Two Authorization headers are HTTP 400, in whatever order and case: a proxy may have read the other."""
    closed = keep()
    for name in ("Authorization", "authorization", "AUTHORIZATION"):
        headers = CIMultiDict([("Authorization", first), (name, second)])
        request = HttpRequest(method="GET", url="/ocpi/2.2.1", headers=headers)
        assert (await closed.server.handle(request)).status == 400
    assert closed.reached == []


# --- routing and ids over real sockets -----------------------------------------------------------------


async def speak(server: HttpServer, head: bytes, body: bytes = b"") -> tuple[int, CIMultiDict[str], Any]:
    """Send a request as it stands; return status, headers and JSON of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(head + b"\r\n\r\n" + body)
        said = await asyncio.wait_for(reader.read(), 10.0)
    finally:
        writer.close()
        await writer.wait_closed()
    top, _, rest = said.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = CIMultiDict[str]()
    for line in lines:
        name, _, value = line.partition(": ")
        headers.add(name, value)
    return int(first.split()[1]), headers, json.loads(rest) if rest.startswith(b"{") else rest


def head(*lines: str, path: str = ROUTE_221) -> bytes:
    """The head of a GET with a valid token."""
    own = [f"GET /ocpi/{path} HTTP/1.1", "Host: ours.example.com", f"Authorization: Token {B64}"]
    return "\r\n".join([*own, *lines, "Connection: close"]).encode("latin-1")


PARTIES = [
    "OCPI-from-country-code: DE",
    "OCPI-from-party-id: AAA",
    "OCPI-to-country-code: FR",
    "OCPI-to-party-id: ONE",
]


@pytest.mark.parametrize("repeated", PARTIES)
async def test_routing_header_twice(repeated: str) -> None:
    """A routing header that comes twice is HTTP 400, even with one value, and in another case of letters."""
    closed = keep()
    async with HttpServer(aiohttp_app(closed.server.handle)) as server:
        assert (await speak(server, head(*PARTIES)))[0] == 200
        closed.reached.clear()
        for line in (repeated, repeated.lower(), repeated.replace(": ", ":   ")):
            status, _, said = await speak(server, head(*PARTIES, line))
            assert (status, said["status_code"]) == (400, 2001)
    assert closed.reached == []


@pytest.mark.parametrize(
    "line",
    [
        "OCPI-from-party-id: AAA, AAA",
        "OCPI-from-party-id: ",
        "OCPI-from-party-id: A A",
        "OCPI-from-party-id: ../",
        "OCPI-from-party-id: *",
        "OCPI-from-party-id: %41AA",
        "OCPI-from-party-id: \xc0\xc1\xc2",
        "OCPI-to-country-code: FR\x00",
        "OCPI-to-country-code: F\x0bR",
        "OCPI_from_party_id: ZZZ",
        "OCPI-from-party-id : ZZZ",
    ],
)
async def test_routing_header_that_is_none(line: str) -> None:
    """No other spelling of a routing header speaks for somebody else."""
    closed = keep()
    others = [one for one in PARTIES if not one.lower().startswith(line.lower().partition(":")[0].strip())]
    async with HttpServer(aiohttp_app(closed.server.handle)) as server:
        await speak(server, head(*others, line))
    for call in closed.reached:
        assert (call.ctx.sender, call.ctx.receiver) == (AAA, ONE)


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("r-1", True),
        ("2f1d3a54-0000-4000-8000-000000000001", True),
        ("~" * 128, True),
        ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}", True),
        ("~" * 129, False),
        ("a b", False),
        ("a\tb", False),
        ("\xe9", False),
        ("a\xa0", False),
        ("a\x85b", False),
        ("", False),
    ],
)
async def test_ids(sent: str, echoed: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Ids are repeated where they can break neither header nor log, and replaced by our own elsewhere."""
    caplog.set_level(logging.DEBUG)
    closed = keep()
    async with HttpServer(aiohttp_app(closed.server.handle)) as server:
        lines = [f"X-Request-ID: {sent}", f"X-Correlation-ID: {sent}"]
        for path in (ROUTE_221, "nothing", "versions"):
            _, headers, _ = await speak(server, head(*PARTIES, *lines, path=path))
            for name in ("X-Request-ID", "X-Correlation-ID"):
                (said,) = headers.getall(name)
                assert said == sent if echoed else len(said) == 36
    if not echoed and sent:
        assert sent not in caplog.text


@pytest.mark.parametrize(
    "sent", ["a\r\nSet-Cookie: x=1", "a\nX-Evil: 1", "a\x00", "a\r\n\r\n{}", "\u2028", "a\ud800"]
)
async def test_ids_of_another_server(sent: str) -> None:
    """Whatever an HTTP server lets through, no line break gets into an answer's headers."""
    headers = CIMultiDict({"X-Request-ID": sent, "X-Correlation-ID": sent, "Authorization": f"Token {B64}"})
    response = await keep().server.handle(HttpRequest(method="GET", url="/ocpi/versions", headers=headers))
    assert response.status == 200
    for name in ("X-Request-ID", "X-Correlation-ID"):
        assert len(response.headers[name]) == 36


# --- any head ------------------------------------------------------------------------------------------


NAMES = (
    *("Authorization", "authorization", "X-Request-ID", "x-request-id", "X-Correlation-ID"),
    *("OCPI-from-country-code", "OCPI-from-party-id", "OCPI-to-country-code", "OCPI-to-party-id"),
    *(
        "OCPI-From-Party-Id",
        "ocpi-to-country-code",
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
        "Host",
    ),
)
VALUES = (
    *("", " ", "*", "..", "FR", "ONE", "DE", "AAA", "de", "aaa", "ZZZ"),
    *(f"Token {B64}", f"Token {RAW}", "Token "),
)
PLACES = (
    *(ROUTE_221, "2.2.1/receiver/tokens/DE/AAA/", "2.2.1/receiver/tokens/FR/ONE/X1", "2.2.1/sender/tariffs"),
    *(
        "cpo/2.1.1/tokens/DE/AAA/X1",
        "cpo/2.1.1/tariffs",
        "2.1.1",
        "2.2.1",
        "2.2.1/credentials",
        "versions",
        "",
    ),
)
QUERIES = (
    "",
    "?",
    "?limit=5",
    "?limit=",
    "?offset=-1&limit=1e9",
    "?date_from=x",
    "?type=RFID&type=OTHER",
    "?%00=%",
)
texts = st.text(max_size=20) | st.text(st.characters(max_codepoint=255), max_size=600)
heads = st.tuples(
    st.sampled_from(["GET", "PUT", "PATCH", "POST", "DELETE", "HEAD", "OPTIONS", "get", "CONNECT", ""])
    | texts,
    st.builds("".join, st.tuples(st.sampled_from(PLACES), st.sampled_from(QUERIES) | texts)),
    st.lists(
        st.tuples(st.sampled_from(NAMES) | st.text(min_size=1, max_size=20), st.sampled_from(VALUES) | texts),
        max_size=8,
    ),
)
ROUTING = [(name, value) for name, _, value in (line.partition(": ") for line in PARTIES)]


@given(heads, st.booleans(), st.sampled_from([b"", b"{}", b"null", b"[", b"\xff"]))
def test_any_head(head: tuple[str, str, list[tuple[str, str]]], known: bool, body: bytes) -> None:
    """Whatever stands in a head, the answer is none of a mistake of ours, and no header of it is broken.

    Whoever reached a handler is who the token says, and speaks for itself to the party that it named.
    """
    method, path, more = head
    own = [("Authorization", f"Token {B64}"), *ROUTING] if known else []
    request = HttpRequest(
        method=method, url=f"/ocpi/{path}", headers=CIMultiDict[str]([*own, *more]), body=body
    )
    closed = keep(total=7)
    response = asyncio.run(closed.server.handle(request))
    assert 200 <= response.status < 500
    for name in ("X-Request-ID", "X-Correlation-ID"):
        (said,) = response.headers.getall(name)
        assert re.fullmatch(r"[\x21-\x7e]{1,128}", said)
    assert all(value.isprintable() and value.isascii() for value in response.headers.values())
    envelope: dict[str, Any] = json.loads(response.body)
    assert 1000 <= envelope["status_code"] < 3000
    for call in closed.reached:
        assert call.ctx.partner == "aaa"
        # Versions and credentials are nobody's in particular.
        whom = [(AAA, ONE)] if call.operation.interface.functional else [(None, None), (AAA, None)]
        assert (call.ctx.sender, call.ctx.receiver) in whom


# --- hosts ---------------------------------------------------------------------------------------------


FORGED = [
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: http",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Prefix: /evil",
    "X-Original-URL: /ocpi/evil",
    "X-Rewrite-URL: /ocpi/evil",
    "X-Host: evil.example",
    "X-HTTP-Method-Override: DELETE",
    "X-HTTP-Method: DELETE",
    "Forwarded: host=evil.example;proto=http;by=evil",
    "Origin: https://evil.example",
    "Referer: https://evil.example/",
    "Base-URL: https://evil.example/",
]


POST_CDR = next(one for one in V221.all_operations() if one.name == "post_cdr")


@pytest.mark.parametrize("host", ["evil.example", "ours.example.com:1", "127.0.0.1", "", "a@evil.example"])
async def test_forged_hosts(host: str) -> None:
    """Every URL in an answer is below the public one, whatever the request says of hosts and proxies."""
    closed = keep(total=1000)
    body = json.dumps(body_of(POST_CDR, AAA)).encode()
    own = [f"Host: {host}", f"Authorization: Token {B64}", *PARTIES, *FORGED, "Connection: close"]
    async with HttpServer(aiohttp_app(closed.server.handle)) as server:
        cdr = ["POST /ocpi/2.2.1/receiver/cdrs HTTP/1.1", f"Content-Length: {len(body)}", *own]
        status, headers, said = await speak(server, "\r\n".join(cdr).encode(), body)
        assert (status, said["status_code"]) == (200, 1000)
        assert headers["Location"] == f"{PUBLIC_URL}/2.2.1/receiver/cdrs/1"
        assert "evil" not in f"{headers}{said}"
        page = ["GET http://evil.example/ocpi/2.2.1/sender/tariffs?limit=2 HTTP/1.1", *own]
        status, headers, said = await speak(server, "\r\n".join(page).encode())
        assert (status, len(said["data"])) == (200, 2)
        assert headers["Link"] == f'<{PUBLIC_URL}/2.2.1/sender/tariffs?offset=2&limit=2>; rel="next"'
    assert [call.operation.name for call in closed.reached] == ["post_cdr", "list_tariffs"]
