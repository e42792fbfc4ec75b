"""What a partner can make us hold and wait for: answers without end, bombs, drips, and JSON that is a trap.

Each attack is made over a socket against what a host does: a call, a listing, an upload, a registration from
either side. Each ends in an error of the library, in time, and with little memory.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from attrs import Factory, define, evolve
from multidict import CIMultiDict

from ocpi_gireve import BILATERAL, Connection, Party, Platform, Role, v221
from ocpi_gireve.errors import BadAnswer, NoAnswer, OcpiError, RegistrationFailed
from ocpi_gireve.http import AiohttpTransport, UrlPolicy
from ocpi_gireve.profile import Profile
from ocpi_gireve.testing import sample
from ocpi_gireve.transport import HttpRequest
from tests.security.test_urls import TOKEN_A, Partner
from tests.support import ask

KIB, MIB = 1024, 1024 * 1024
CAP = 256 * KIB
"""The longest answer that these platforms read."""
SLACK = 8 * MIB
"""What both ends, which are in this process, load and keep at their first use."""
PATIENCE = 0.2
"""Seconds for one exchange with a partner that is too slow."""
PROFILE = evolve(BILATERAL, name="hub", allow_http_loopback=True, timeout=10.0, repeats=0, retry_base=60.0)

Attack = Callable[[], AsyncIterator[bytes]]


# --- attacks -----------------------------------------------------------------------------------------------


def head(*headers: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, "", ""]).encode()


async def for_ever(first: bytes, again: bytes) -> AsyncIterator[bytes]:
    """Something, and then the same without end."""
    yield first
    while True:
        yield again


async def once(whole: bytes) -> AsyncIterator[bytes]:
    """Something, and then nothing."""
    yield whole


async def dripping(first: bytes, again: bytes) -> AsyncIterator[bytes]:
    """Something, and then a byte now and then without end."""
    yield first
    while True:
        await asyncio.sleep(PATIENCE / 20)
        yield again


def packed(body: bytes, packing: str = "gzip") -> bytes:
    """An answer that is packed."""
    return head(f"Content-Encoding: {packing}", f"Content-Length: {len(body)}") + body


def plain(body: bytes) -> bytes:
    """An answer with a length."""
    return head(f"Content-Length: {len(body)}") + body


def data(value: bytes) -> bytes:
    """An envelope around this."""
    return b'{"data":%s,"status_code":1000,"timestamp":"2026-11-01T12:00:00Z"}' % value


CHUNKED = head("Transfer-Encoding: chunked")
BOMB = gzip.compress(bytes(64 * MIB), 9)
TWICE, DEFLATED = gzip.compress(BOMB, 9), zlib.compress(bytes(64 * MIB), 9)

TOO_LONG: dict[str, Attack] = {
    "a gzip bomb": lambda: once(packed(BOMB)),
    "a gzip bomb of many members": lambda: for_ever(head("Content-Encoding: gzip"), BOMB),
    "empty members without end": lambda: for_ever(head("Content-Encoding: gzip"), gzip.compress(b"") * 1000),
    "a body without end": lambda: for_ever(head("Connection: close"), b" " * 64 * KIB),
    "a body of an enormous length": lambda: for_ever(
        head("Content-Length: 1000000000000000000"), b" " * 64 * KIB
    ),
    "chunks without end": lambda: for_ever(CHUNKED, b"10000\r\n" + b" " * 64 * KIB + b"\r\n"),
    "small chunks without end": lambda: for_ever(CHUNKED, b"1\r\n \r\n" * 1000),
}
NOT_ASKED_FOR: dict[str, Attack] = {
    "deflate": lambda: once(packed(DEFLATED, "deflate")),
    "gzip in gzip": lambda: once(packed(TWICE, "gzip, gzip")),
    "zstd": lambda: once(packed(b"\x28\xb5\x2f\xfd" + bytes(100), "zstd")),
    "brotli": lambda: once(packed(bytes(100), "br")),
}
NOT_HTTP: dict[str, Attack] = {
    "a header without end": lambda: for_ever(b"HTTP/1.1 200 OK\r\nA: ", b"a" * 64 * KIB),
    "headers without end": lambda: for_ever(b"HTTP/1.1 200 OK\r\n", b"A: a\r\n" * 10_000),
    "a status line without end": lambda: for_ever(b"HTTP/1.1 200 ", b"O" * 64 * KIB),
}
TOO_SLOW: dict[str, Attack] = {
    # What stands beside the body is not counted, and not kept: here the time ends it.
    "an extension of a chunk without end": lambda: for_ever(CHUNKED + b"1;", b"a" * 64 * KIB),
    "nothing": lambda: dripping(b"", b""),
    "a head in drips": lambda: dripping(b"HTTP/1.1 200 OK\r\n", b"A"),
    "a body in drips": lambda: dripping(head("Content-Length: 1000000"), b" "),
    "chunks in drips": lambda: dripping(CHUNKED, b"1\r\n \r\n"),
    "a packed body in drips": lambda: dripping(head("Content-Encoding: gzip"), BOMB[:10]),
    "answers before the answer": lambda: dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "trailers in drips": lambda: dripping(CHUNKED + b"0\r\n", b"A: a\r\n"),
}
NOT_OCPI: dict[str, Attack] = {
    "lists in lists": lambda: once(plain(b"[" * (CAP - KIB))),
    "lists in lists, packed": lambda: once(packed(gzip.compress(b"[" * (CAP - KIB)))),
    "lists in lists in an envelope": lambda: once(plain(data(b"[" * 100_000 + b"]" * 100_000))),
    "objects in objects": lambda: once(plain(data(b'{"a":' * 40_000 + b"1" + b"}" * 40_000))),
    "nothing at all": lambda: once(plain(b"")),
    "a page of a web site": lambda: once(plain(b"<html>" * 10_000)),
}
NO_OBJECT: dict[str, Attack] = {
    "a quarter of a million digits": lambda: once(plain(data(b"9" * (CAP - KIB)))),
    "a property twice": lambda: once(plain(data(b'{"a":1,"a":1}'))),
    "half a pair": lambda: once(plain(data(b'{"a":"\\ud800"}'))),
    "an infinite number": lambda: once(plain(data(b'{"a":1e999}'))),
}
"""Envelopes that say success around something that is not read where nothing is asked."""
NO_ANSWER = TOO_LONG | NOT_ASKED_FOR | NOT_HTTP | TOO_SLOW
ATTACKS = NO_ANSWER | NOT_OCPI


# --- the platform and its partner --------------------------------------------------------------------------


@define
class Hostile:
    """A partner that behaves until it is told to attack.

    Attributes:
        attack: What it answers with; None: as it should.
        sent: How many bytes of attacks it got rid of.
    """

    script: Partner = Factory(Partner)
    attack: Attack | None = None
    sent: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while not writer.is_closing():
                asked = await reader.readuntil(b"\r\n\r\n")
                line, *fields = asked.decode("latin-1").rstrip("\r\n").split("\r\n")
                headers = CIMultiDict[str]()
                for field in fields:
                    name, _, value = field.partition(": ")
                    headers.add(name, value)
                body = await reader.readexactly(int(headers.get("Content-Length", "0")))
                if self.attack is not None:
                    await self._attack(self.attack, writer)
                    continue
                method, url, _ = line.split(" ")
                answer = await self.script.serve(
                    HttpRequest(method=method, url=url, headers=headers, body=body)
                )
                told = [f"{name}: {value}" for name, value in answer.headers.items()]
                writer.write(head(*told, f"Content-Length: {len(answer.body)}") + answer.body)
        except (OSError, asyncio.IncompleteReadError):
            pass  # we went away, which is what the tests are about
        finally:
            writer.close()

    async def _attack(self, attack: Attack, writer: asyncio.StreamWriter) -> None:
        async for piece in attack():
            if writer.is_closing():
                return
            writer.write(piece)
            self.sent += len(piece)
            await writer.drain()


@define
class Scene:
    """Our platform, registered with a partner that will attack.

    Attributes:
        ended: Set when an exchange has ended.
    """

    platform: Platform
    connection: Connection
    partner: Hostile
    ended: asyncio.Event
    profile: Profile = PROFILE

    def under(self, attack: Attack) -> None:
        """Let the partner attack from now on."""
        self.partner.attack = attack
        if attack in TOO_SLOW.values():
            self.profile = evolve(PROFILE, name="impatient", timeout=PATIENCE)
            self.connection._wiring.profile = self.profile
        self.ended.clear()


@asynccontextmanager
async def scene() -> AsyncGenerator[Scene]:
    """Register with the partner."""
    partner, ended = Hostile(), asyncio.Event()
    async with await asyncio.start_server(partner.serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        partner.script.root = f"http://127.0.0.1:{port}/ocpi"
        platform = Platform(
            public_url="https://cpo.example.com/ocpi",
            parties=[Party("FR", "CPO", Role.CPO, name="Example CPO")],
            handlers=[],
            on_exchange=lambda _: ended.set(),
            transport=lambda _: AiohttpTransport(UrlPolicy(allow_http_loopback=True), max_answer_bytes=CAP),
        )
        async with platform:
            connection = await platform.register(PROFILE, f"{partner.script.root}/versions", TOKEN_A)
            yield Scene(platform, connection, partner, ended)
        server.close()


LOCATION = sample(v221.Location, 1)
REF = v221.LocationRef(LOCATION.country_code, LOCATION.party_id, LOCATION.id)


async def call(at: Scene) -> OcpiError:
    """Ask for a location."""
    with pytest.raises(OcpiError) as caught:
        await at.connection.call(v221.LocationsReceiver.get_location, REF)
    return caught.value


async def pull(at: Scene) -> OcpiError:
    """Ask for a listing."""
    with pytest.raises(OcpiError) as caught:
        async for _ in at.connection.crawl(v221.LocationsSender.list_locations):
            pass
    return caught.value


async def register(at: Scene) -> OcpiError:
    """Register once more."""
    with pytest.raises(RegistrationFailed) as caught:
        await at.platform.register(at.profile, f"{at.partner.script.root}/versions", TOKEN_A, id="again")
    cause = caught.value.__cause__
    assert isinstance(cause, OcpiError)
    return cause


@pytest.mark.parametrize("act", [call, pull, register])
@pytest.mark.parametrize("attack", (ATTACKS | NO_OBJECT).values(), ids=ATTACKS | NO_OBJECT)
async def test_attack(act: Callable[[Scene], Awaitable[OcpiError]], attack: Attack) -> None:
    """Whatever a partner answers with, what was asked fails as it should, and little is held or read."""
    async with scene() as at:
        at.under(attack)
        tracemalloc.start()
        try:
            error = await act(at)
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert type(error) is (NoAnswer if attack in NO_ANSWER.values() else BadAnswer)
        assert held < 4 * CAP + SLACK
        # What the sockets between them hold comes on top of what was read.
        assert at.partner.sent < CAP + 16 * MIB or attack in TOO_SLOW.values()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_upload_survives(attack: Attack) -> None:
    """An upload that is answered with an attack is neither lost nor taken for delivered; it waits."""
    async with scene() as at:
        at.under(attack)
        await at.connection.upload(v221.LocationsReceiver.put_location, REF, LOCATION)
        await at.ended.wait()
        # What came of the exchange is noted right behind it.
        while (lane := (await at.platform.outbox.status())[0]).last is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert (lane.queued, lane.parked) == (1, 0)


async def test_call_back_to_an_attacker() -> None:
    """A partner that registers, and attacks when it is called back, is answered that it cannot be used."""
    async with scene() as at:
        token = await at.platform.invite(PROFILE, origins=at.partner.script.root, id="newcomer")
        at.partner.attack = TOO_LONG["a gzip bomb"]
        body = at.partner.script.credentials()
        answer = await ask(at.platform, "POST", "/2.2.1/credentials", token=token.reveal(), body=body)
        assert json.loads(answer.body)["status_code"] == 3001


async def test_many_at_once() -> None:
    """Many attacks at a time hold no more than each of them could, and leave the connection usable."""
    async with scene() as at:
        at.partner.attack = TOO_LONG["a body without end"]
        tracemalloc.start()
        try:
            errors = await asyncio.gather(*(call(at) for _ in range(16)))
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert {type(error) for error in errors} == {NoAnswer}
        assert held < 16 * 2 * CAP + SLACK
        at.partner.attack = None
        await at.connection.call(v221.LocationsReceiver.put_location, REF, LOCATION)
