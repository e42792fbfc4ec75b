"""The handshake: both directions, lost answers, rotation, and what must never come of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from attrs import define, evolve

from ocpi_gireve import BILATERAL, Connection, MemoryStore, PartyId, Platform, Role, v211, v221
from ocpi_gireve.errors import (
    BadAnswer,
    MethodNotAllowed,
    NoAnswer,
    NoMatchingEndpoints,
    RegistrationFailed,
    StoreError,
    Unauthorized,
    UrlRefused,
)
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.registration import AS_PRESENTED, GRACE, PIN_FIRST
from ocpi_gireve.registration.inbound import new_token, renewed
from ocpi_gireve.store.records import Approval, ConnectionRecord, ConnectionState, InboundToken, TokenKind
from ocpi_gireve.tokens import TokenEncoding, authorization, token_digest
from ocpi_gireve.transport import HttpRequest, HttpResponse
from ocpi_gireve.types import Secret, utc_now
from tests.support import (
    NOW,
    CpoLocations,
    EmspLocations,
    Network,
    a_location,
    a_pair,
    a_platform,
    ask,
    envelope,
)

REF = v221.LocationRef("FR", "CPO", "LOC1")
EMSP_ORIGIN, CPO_ORIGIN = "https://emsp.example.com", "https://cpo.example.com"
VERSIONS = "https://cpo.example.com/ocpi/versions"


@define
class Clock:
    """A clock that a test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


@asynccontextmanager
async def two(clock: Clock | None = None) -> AsyncGenerator[tuple[Network, Platform, Platform]]:
    """A CPO and an eMSP that do not know each other."""
    network = Network()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [CpoLocations([])])
    emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [EmspLocations()])
    if clock is not None:
        for platform in (cpo, emsp):
            platform._directory._now = clock
            platform._registrar._now = clock
    async with cpo, emsp:
        yield network, cpo, emsp


def kinds(platform: Platform, connection: str) -> list[str]:
    """The kinds of inbound token that a connection has."""
    return sorted(token.kind.value for token in platform._directory.tokens(connection))


def state(platform: Platform, connection: str) -> ConnectionState:
    """Where a connection stands."""
    return platform.connection(connection).record.state


def credentials(
    token: str = "token-of-the-cpo", url: str = VERSIONS, parties: Iterable[str] = ("CPO",)
) -> dict[str, Any]:
    """A Credentials object in JSON."""
    roles = [
        {"role": "CPO", "country_code": "FR", "party_id": party, "business_details": {"name": party}}
        for party in parties
    ]
    return {"token": token, "url": url, "roles": roles}


async def works(cpo: Platform, emsp: Platform) -> bool:
    """Whether both can talk to each other."""
    await cpo.connection("emsp").call(v221.LocationsReceiver.put_location, REF, a_location())
    return [one async for one in emsp.connection("cpo").crawl(v221.LocationsSender.list_locations)] == []


# --- both directions -----------------------------------------------------------------------------------


async def test_register() -> None:
    """One handshake, and both sides can call each other; what each holds is what the other serves."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        connection = await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        steps = [(one.method, one.url.removeprefix("https://")) for one in network.requests]
        assert steps == [
            ("GET", "emsp.example.com/ocpi/versions"),
            ("GET", "emsp.example.com/ocpi/2.2.1"),
            ("POST", "emsp.example.com/ocpi/2.2.1/credentials"),
            ("GET", "cpo.example.com/ocpi/versions"),
            ("GET", "cpo.example.com/ocpi/2.2.1"),
        ]
        assert connection.record.origins == (EMSP_ORIGIN,)
        assert [(one.role, one.party) for one in connection.record.roles] == [
            (Role.EMSP, PartyId("FR", "EMP"))
        ]
        assert {(one.module, one.role) for one in emsp.connection("cpo").record.endpoints} == {
            ("credentials", ""),
            ("locations", "SENDER"),
        }
        assert await works(cpo, emsp)


async def test_no_routing_headers_in_the_handshake() -> None:
    """Routing headers are not for versions and credentials."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        for headers in [one.headers for one in network.requests] + [one.headers for one in network.responses]:
            assert not [name for name in headers if name.lower().startswith("ocpi-")]


async def test_unregister_and_register_again() -> None:
    """After an unregistration neither side can call the other, and the same token A opens the next one."""
    async with two() as (_, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        old = cpo.connection("emsp").record.outbound_token
        assert old is not None
        assert await works(cpo, emsp)
        assert (await ask(emsp, "GET", "/versions", token=token.reveal())).status == 401
        await cpo.unregister("emsp")
        assert (state(cpo, "emsp"), state(emsp, "cpo")) == (ConnectionState.UNREGISTERED,) * 2
        assert (await ask(emsp, "GET", "/versions", token=old.reveal())).status == 401
        assert cpo.connection("emsp").record.outbound_token is None
        with pytest.raises(RegistrationFailed, match="DELETE credentials: emsp is not registered"):
            await cpo.unregister("emsp")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert await works(cpo, emsp)


async def test_partner_has_unregistered_before() -> None:
    """Unregistering where the partner does not know us any more is done, not an error."""
    async with two() as (_, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        wiring = emsp._directory.get("cpo")
        assert wiring is not None
        await emsp._registrar._forget(wiring)
        await cpo.unregister("emsp")
        assert state(cpo, "emsp") is ConnectionState.UNREGISTERED


async def test_partner_that_cannot_be_told() -> None:
    """An unregistration that the partner does not hear of changes nothing."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        network.down.add("emsp.example.com")
        with pytest.raises(NoAnswer):
            await cpo.unregister("emsp")
        network.down.clear()
        assert await works(cpo, emsp)


async def test_update_from_our_side() -> None:
    """New credentials replace the old ones on both sides, and the partner reads our endpoints again."""
    async with a_pair(emsp=[EmspLocations()], cpo=[CpoLocations([])]) as pair:
        before = (pair.to_emsp.record.outbound_token, pair.to_cpo.record.outbound_token)
        await pair.cpo.update("emsp")
        after = (pair.to_emsp.record.outbound_token, pair.to_cpo.record.outbound_token)
        assert before[0] != after[0]
        assert before[1] != after[1]
        assert await works(pair.cpo, pair.emsp)
        assert kinds(pair.cpo, "emsp") == ["CURRENT"]
        assert before[1] is not None
        assert (await ask(pair.cpo, "GET", "/versions", token=before[1].reveal())).status == 401
        await pair.cpo.unregister("emsp")
        with pytest.raises(RegistrationFailed, match="PUT credentials: emsp is not registered"):
            await pair.cpo.update("emsp")


# --- a partner that registers with us ------------------------------------------------------------------


def endpoint(module: str, url: str = f"{CPO_ORIGIN}/ocpi/2.2.1/x") -> dict[str, str]:
    """An endpoint in JSON."""
    return {"identifier": module, "role": "SENDER", "url": url}


OFFERED: object = [{"version": "2.2.1", "url": f"{CPO_ORIGIN}/ocpi/2.2.1"}]
DETAILS: object = {"version": "2.2.1", "endpoints": [endpoint("credentials")]}


@asynccontextmanager
async def invited(
    origins: str = CPO_ORIGIN, versions: object = None, details: object = None
) -> AsyncGenerator[tuple[Network, Platform, str]]:
    """An eMSP that has invited a CPO, whose versions and details a test may replace."""
    async with two() as (network, cpo, emsp):
        # The CPO serves whoever asks: it is the eMSP that is looked at.
        for path, data in (
            ("/versions", OFFERED if versions is None else versions),
            ("/2.2.1", DETAILS if details is None else details),
        ):
            network.replaced["GET", f"cpo.example.com/ocpi{path}"] = answering(data)
        assert cpo.connections() == []
        token = await emsp.invite(BILATERAL, origins=origins, id="cpo")
        yield network, emsp, token.reveal()


def answering(data: object) -> Callable[[HttpRequest], HttpResponse]:
    """Something that answers with success."""
    envelope = {"status_code": 1000, "timestamp": "2026-11-01T12:00:00Z", "data": data}
    return lambda _: HttpResponse(status=200, body=json.dumps(envelope).encode())


async def present(
    emsp: Platform, method: str, token: str, body: Mapping[str, Any] | None = None
) -> tuple[int, int, str]:
    """Send credentials; return HTTP status, OCPI status and the token that came back."""
    response = await ask(emsp, method, "/2.2.1/credentials", token=token, body=body)
    found = envelope(response)
    data: dict[str, str] = found.get("data") or {}
    return response.status, found["status_code"], data.get("token", "")


async def test_credentials_life() -> None:
    """GET, POST, PUT and DELETE do what the chapter says, and what it forbids is HTTP 405."""
    async with invited() as (_, emsp, token):
        assert await present(emsp, "GET", token) == (200, 1000, token)
        for method in ("PUT", "DELETE"):
            body = credentials() if method == "PUT" else None
            assert (await present(emsp, method, token, body))[:2] == (405, 2000)
        http, ocpi, first = await present(emsp, "POST", token, credentials())
        assert (http, ocpi, len(first)) == (200, 1000, 43)
        assert emsp.connection("cpo").record.outbound_token == Secret("token-of-the-cpo")
        assert (await present(emsp, "POST", first, credentials()))[:2] == (405, 2000)
        assert await present(emsp, "GET", first) == (200, 1000, first)
        http, ocpi, second = await present(emsp, "PUT", first, credentials("another-token"))
        assert (http, ocpi) == (200, 1000)
        assert emsp.connection("cpo").record.outbound_token == Secret("another-token")
        assert (await present(emsp, "DELETE", second))[:2] == (200, 1000)
        assert (await present(emsp, "GET", second))[0] == 401
        assert state(emsp, "cpo") is ConnectionState.UNREGISTERED


async def test_405_names_the_other_methods() -> None:
    """The answer to a POST of a registered partner names what it can do instead."""
    async with invited() as (_, emsp, token):
        _, _, current = await present(emsp, "POST", token, credentials())
        response = await ask(emsp, "POST", "/2.2.1/credentials", token=current, body=credentials())
        assert response.headers["Allow"] == "DELETE, GET, PUT"


async def test_lost_answer_to_a_post() -> None:
    """A POST whose answer was lost is answered again, with a new token, until the token is used."""
    async with invited() as (_, emsp, token):
        _, _, lost = await present(emsp, "POST", token, credentials())
        http, _, current = await present(emsp, "POST", token, credentials("second"))
        assert http == 200
        assert emsp.connection("cpo").record.outbound_token == Secret("second")
        # It may have been late and not lost, and the second one may be lost.
        assert (await present(emsp, "GET", lost))[0] == 200
        assert (await present(emsp, "GET", current))[0] == 200
        assert (await present(emsp, "GET", lost))[0] == 401
        assert (await present(emsp, "POST", token, credentials()))[0] == 401


async def test_rotation_overlaps() -> None:
    """After a PUT the old token is good until the new one is used, and then at once no more."""
    async with invited() as (_, emsp, token):
        _, _, old = await present(emsp, "POST", token, credentials())
        _, _, new = await present(emsp, "PUT", old, credentials())
        assert kinds(emsp, "cpo") == ["A", "CURRENT", "PREVIOUS"]
        assert (await ask(emsp, "GET", "/versions", token=old)).status == 200
        assert (await ask(emsp, "GET", "/versions", token=new)).status == 200
        assert (await ask(emsp, "GET", "/versions", token=old)).status == 401


async def test_lost_answers_to_a_put() -> None:
    """However often the answer to a PUT is lost, the token that the partner holds keeps working."""
    async with invited() as (_, emsp, token):
        _, _, held = await present(emsp, "POST", token, credentials())
        lost: list[str] = []
        for attempt in range(4):
            http, _, late = await present(emsp, "PUT", held, credentials(f"attempt-{attempt}"))
            assert http == 200
            lost.append(late)
        assert kinds(emsp, "cpo") == ["A", "CURRENT", *["PREVIOUS"] * 4]
        assert (await present(emsp, "GET", lost[0]))[0] == 200
        assert (await present(emsp, "GET", lost[-1]))[0] == 200
        for ended in (held, *lost[:-1]):
            assert (await present(emsp, "GET", ended))[0] == 401


async def test_origin_that_was_not_agreed() -> None:
    """Credentials with a URL elsewhere are OCPI 3001, and nobody is called there with any token."""
    async with invited() as (network, emsp, token):
        for url in ("https://evil.example/versions", "http://cpo.example.com/ocpi/versions", "ftp://x", "x"):
            http, ocpi, _ = await present(emsp, "POST", token, credentials(url=url))
            assert (http, ocpi) == (200, 3001)
        assert network.tried == []
        assert state(emsp, "cpo") is ConnectionState.NEW
        assert (await present(emsp, "POST", token, credentials()))[1] == 1000


@pytest.mark.parametrize(
    ("versions", "details", "code"),
    [
        ([{"version": "2.1.1", "url": f"{CPO_ORIGIN}/2.1.1"}], None, 3002),
        ([], None, 3002),
        ({"not": "a list"}, None, 3001),
        ([{"version": "2.2.1", "url": "https://evil.example/2.2.1"}], None, 3001),
        ([{"version": "2.2.1", "url": f"{CPO_ORIGIN}/nothing"}], None, 3001),
        (None, {"version": "2.2.1", "endpoints": [endpoint("locations")]}, 3003),
        (
            None,
            {
                "version": "2.2.1",
                "endpoints": [endpoint("credentials"), endpoint("locations", "https://evil.example/x")],
            },
            3001,
        ),
        (None, {"version": "2.2.1"}, 3001),
    ],
)
async def test_versions_that_cannot_be_used(versions: object, details: object, code: int) -> None:
    """A version that is not offered is 3002, a missing endpoint 3003, anything else that fails 3001."""
    async with invited(versions=versions, details=details) as (_, emsp, token):
        http, ocpi, _ = await present(emsp, "POST", token, credentials())
        assert (http, ocpi) == (200, code)
        assert state(emsp, "cpo") is ConnectionState.NEW
        assert kinds(emsp, "cpo") == ["A"]


async def test_unreachable_versions() -> None:
    """A partner whose versions cannot be reached is told 3001; with PUT, what it had goes on working."""
    async with invited() as (network, emsp, token):
        network.down.add("cpo.example.com")
        assert (await present(emsp, "POST", token, credentials()))[:2] == (200, 3001)
        network.down.clear()
        _, _, current = await present(emsp, "POST", token, credentials())
        network.down.add("cpo.example.com")
        assert (await present(emsp, "PUT", current, credentials("new")))[:2] == (200, 3001)
        assert emsp.connection("cpo").record.outbound_token == Secret("token-of-the-cpo")
        assert kinds(emsp, "cpo") == ["A", "CURRENT"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (credentials(token=""), "/token"),
        (credentials(token="a b"), "/token"),
        (credentials(token="x" * 65), "/token"),
        (credentials(token="é"), "/token"),
        ({"url": VERSIONS, "roles": []}, "/token"),
        (credentials(parties=[]), "/roles"),
        (credentials(parties=["CPO", "EMP"]), "/roles/1/party_id"),
        (credentials(parties=["emp"]), "/roles/0/party_id"),
    ],
)
async def test_wrong_credentials(body: Mapping[str, Any], pointer: str) -> None:
    """Credentials with an impossible token, without a party or with one of ours are OCPI 2001."""
    async with invited() as (_, emsp, token):
        response = await ask(emsp, "POST", "/2.2.1/credentials", token=token, body=body)
        assert (response.status, envelope(response)["status_code"]) == (200, 2001)
        assert f"{pointer}: " in envelope(response)["status_message"]
        assert state(emsp, "cpo") is ConnectionState.NEW


async def test_party_of_another_partner() -> None:
    """Nobody takes over a party that another direct partner presents, unless it is at the same origin."""
    async with invited() as (network, emsp, token):
        await present(emsp, "POST", token, credentials())
        thief = await emsp.invite(BILATERAL, origins="https://thief.example", id="thief")
        twin = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="twin")
        body = credentials(url="https://thief.example/versions", parties=["THF", "cpo"])
        response = await ask(emsp, "POST", "/2.2.1/credentials", token=thief.reveal(), body=body)
        assert "/roles/1/party_id: " in envelope(response)["status_message"]
        assert not [one for one in network.requests if "thief" in one.url]
        assert (await present(emsp, "POST", twin.reveal(), credentials()))[1] == 1000


async def test_hub_and_party_with_a_connection_of_its_own() -> None:
    """A hub speaks for everybody but us and those who are connected directly."""
    async with invited() as (_, emsp, token):
        hub = await emsp.invite(PREPRODUCTION, origins=CPO_ORIGIN, id="iop")
        _, _, hubs = await present(emsp, "POST", hub.reveal(), credentials(parties=["107"]))
        path, headers = "/2.2.1/receiver/locations/FR/CPO/LOC1", {"OCPI-from-country-code": "FR"}
        headers["OCPI-from-party-id"] = "CPO"
        seen = await ask(emsp, "GET", path, token=hubs, headers=headers)
        assert envelope(seen)["status_code"] == 2003
        await present(emsp, "POST", token, credentials())
        seen = await ask(emsp, "GET", path, token=hubs, headers=headers)
        assert envelope(seen)["status_code"] == 2001


async def test_pin_first() -> None:
    """The origin that comes first with the right token is pinned, and no other is taken afterwards."""
    async with invited(origins=PIN_FIRST) as (network, emsp, token):
        assert (await present(emsp, "POST", token, credentials(url="http://x.example/v")))[1] == 3001
        assert emsp.connection("cpo").record.origins == ()
        _, _, current = await present(emsp, "POST", token, credentials())
        assert emsp.connection("cpo").record.origins == (CPO_ORIGIN,)
        elsewhere = credentials(url="https://emsp.example.com/ocpi/versions")
        assert (await present(emsp, "PUT", current, elsewhere))[1] == 3001
        await present(emsp, "DELETE", current)
        assert (await present(emsp, "POST", token, elsewhere))[1] == 3001
        assert (await present(emsp, "POST", token, credentials()))[1] == 1000
        assert all(url.startswith(f"{CPO_ORIGIN}/") for url in network.tried)


async def test_failed_first_registration_pins_nothing() -> None:
    """An origin is pinned by a registration that succeeded, not by an attempt."""
    async with invited(origins=PIN_FIRST, versions=[]) as (_, emsp, token):
        assert (await present(emsp, "POST", token, credentials()))[1] == 3002
        assert emsp.connection("cpo").record.origins == ()


# --- time ----------------------------------------------------------------------------------------------


async def test_tokens_expire() -> None:
    """A token A that nobody used ends after a day, and so does one that was replaced."""
    clock = Clock(utc_now())
    async with two(clock) as (network, _, emsp):
        network.replaced["GET", "/versions"] = answering(OFFERED)
        network.replaced["GET", "/2.2.1"] = answering(DETAILS)
        stale = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
        clock.now += GRACE + timedelta(minutes=1)
        assert (await present(emsp, "POST", stale, credentials()))[0] == 401
        clock.now = utc_now()
        token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
        assert (await present(emsp, "POST", stale, credentials()))[0] == 401
        _, _, old = await present(emsp, "POST", token, credentials())
        _, _, new = await present(emsp, "PUT", old, credentials())
        clock.now += GRACE
        assert (await present(emsp, "GET", old))[0] == 401
        assert (await present(emsp, "GET", new))[0] == 200


async def test_token_a_after_an_unregistration() -> None:
    """A token A that was spent long ago opens the next registration for a day after the unregistration."""
    clock = Clock(utc_now())
    async with two(clock) as (_, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert await works(cpo, emsp)
        clock.now += 30 * GRACE
        assert (await ask(emsp, "GET", "/versions", token=token.reveal())).status == 401
        await cpo.unregister("emsp")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert await works(cpo, emsp)
        await cpo.unregister("emsp")
        clock.now += GRACE
        with pytest.raises(RegistrationFailed, match=r"GET versions: .*HTTP 401"):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")


# --- we register with a partner ------------------------------------------------------------------------


async def test_lost_answer_to_our_post() -> None:
    """After a lost answer the error says what to do, the partner's calls go through, and a retry succeeds."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        network.lost.append(("POST", "/credentials"))
        with pytest.raises(RegistrationFailed) as failed:
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert failed.value.step == "POST credentials"
        assert "register again with the same token" in failed.value.advice
        assert state(cpo, "emsp") is ConnectionState.NEW
        # The partner holds us registered; its first calls may come now.
        held = emsp.connection("cpo").record.outbound_token
        assert held is not None
        assert (await ask(cpo, "GET", "/versions", token=held.reveal())).status == 200
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert await works(cpo, emsp)
        assert kinds(cpo, "emsp") == ["CURRENT"]


async def test_lost_answers_do_not_lock_anybody_out() -> None:
    """The token of the attempt that the partner took stays good while we try again and again."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        network.lost.append(("POST", "/credentials"))
        with pytest.raises(RegistrationFailed):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        held = emsp.connection("cpo").record.outbound_token
        assert held is not None
        network.replaced["POST", "/credentials"] = lambda _: HttpResponse(status=405, body=b"")
        for _ in range(3):
            with pytest.raises(RegistrationFailed, match="ask it to delete our registration"):
                await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert (await ask(cpo, "GET", "/versions", token=held.reveal())).status == 200


async def test_lost_answer_to_our_put() -> None:
    """After a lost answer to a PUT both directions still work, and the next one succeeds."""
    async with a_pair(emsp=[EmspLocations()], cpo=[CpoLocations([])]) as pair:
        for _ in range(3):
            pair.network.lost.append(("PUT", "/credentials"))
            with pytest.raises(RegistrationFailed, match="PUT credentials"):
                await pair.cpo.update("emsp")
            assert await works(pair.cpo, pair.emsp)
        await pair.cpo.update("emsp")
        assert await works(pair.cpo, pair.emsp)


@pytest.mark.parametrize(
    ("path", "answer", "step", "cause"),
    [
        ("/versions", HttpResponse(status=401), "GET versions", Unauthorized),
        ("/2.2.1", HttpResponse(status=200, body=b"<html>"), "GET version details", None),
        ("/credentials", HttpResponse(status=405), "POST credentials", MethodNotAllowed),
    ],
)
async def test_step_that_fails(
    path: str, answer: HttpResponse, step: str, cause: type[Exception] | None
) -> None:
    """A handshake that fails names its step and leaves the connection as it was."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        method = "POST" if path == "/credentials" else "GET"
        network.replaced[method, f"emsp.example.com/ocpi{path}"] = lambda _: answer
        network.replaced[method, f"2.2.1{path}"] = lambda _: answer
        with pytest.raises(RegistrationFailed) as failed:
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert failed.value.step == step
        assert cause is None or isinstance(failed.value.__cause__, cause)
        assert state(cpo, "emsp") is ConnectionState.NEW
        assert cpo.connection("emsp").record.version is None
        network.replaced.clear()
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            [{"version": "2.1.1", "url": f"{EMSP_ORIGIN}/2.1.1"}],
            "we speak 2.2.1 .* partner offers 2.1.1",
        ),
        ([], "the partner offers nothing"),
        ([{"version": "2.2.1", "url": "https://evil.example/2.2.1"}], "is not an origin of this connection"),
    ],
)
async def test_versions_of_the_partner(data: object, words: str) -> None:
    """A partner without our version, or with details elsewhere, is not registered with."""
    async with two() as (network, cpo, emsp):
        network.replaced["GET", "/versions"] = answering(data)
        with pytest.raises(RegistrationFailed, match=words):
            await cpo.register(BILATERAL, emsp.versions_url, "token-a-of-the-emsp-1234", id="emsp")


async def test_details_of_the_partner() -> None:
    """A partner that lists no credentials, or endpoints elsewhere, is not sent a token of ours."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        for endpoints, words in (
            ([endpoint("locations", f"{EMSP_ORIGIN}/x")], "no credentials endpoint"),
            ([endpoint("credentials", "https://evil.example/x")], "is not an origin of this connection"),
        ):
            network.replaced["GET", "/2.2.1"] = answering({"version": "2.2.1", "endpoints": endpoints})
            with pytest.raises(RegistrationFailed, match=f"GET version details: .*{words}"):
                await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert not [one for one in network.requests if one.method == "POST"]


async def test_partner_that_presents_our_party() -> None:
    """A partner whose answer claims a party of ours is not taken."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        answer = credentials(url=f"{EMSP_ORIGIN}/versions", parties=["CPO"])
        network.replaced["POST", "/credentials"] = answering(answer)
        with pytest.raises(RegistrationFailed, match="/roles/0/party_id: expected a party of your platform"):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")


async def test_http_url_in_the_answer() -> None:
    """The URL in the answer's credentials is not looked at: we have it, and IOP's sample has one in http."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        answer = credentials(url="http://emsp.example.com/versions", parties=["EMP"])
        network.replaced["POST", "/credentials"] = answering(answer)
        connection = await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert connection.record.versions_url == emsp.versions_url


async def test_registered_already() -> None:
    """Registering twice is refused before anything is sent."""
    async with a_pair() as pair:
        with pytest.raises(RegistrationFailed, match="register: emsp is registered already"):
            await pair.cpo.register(BILATERAL, pair.emsp.versions_url, "x" * 30, id="emsp")
        assert pair.network.requests == []


async def test_url_that_may_not_be_called() -> None:
    """A versions URL without TLS is refused; nothing is sent there."""
    async with two() as (network, cpo, _):
        with pytest.raises(RegistrationFailed, match="is not https"):
            await cpo.register(BILATERAL, "http://emsp.example.com/ocpi/versions", "x" * 30, id="emsp")
        with pytest.raises(UrlRefused):
            await cpo.register(BILATERAL, "emsp.example.com", "x" * 30, id="emsp")
        assert network.requests == []


async def test_both_begin_at_once() -> None:
    """Two platforms that register with each other at the same time do not wait for each other for ever."""
    async with two() as (_, cpo, emsp):
        to_emsp = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        to_cpo = await cpo.invite(BILATERAL, origins=EMSP_ORIGIN, id="emsp")
        both = await asyncio.gather(
            cpo.register(BILATERAL, emsp.versions_url, to_emsp, id="emsp"),
            emsp.register(BILATERAL, cpo.versions_url, to_cpo, id="cpo"),
            return_exceptions=True,
        )
        assert {type(one) for one in both} <= {Connection, RegistrationFailed}
        if state(cpo, "emsp") is not ConnectionState.REGISTERED:
            await cpo.register(BILATERAL, emsp.versions_url, to_emsp, id="emsp")
        assert await works(cpo, emsp)


async def test_both_leave_at_once() -> None:
    """Two platforms that unregister at the same time do not wait for each other either."""
    async with a_pair(emsp=[EmspLocations()], cpo=[CpoLocations([])]) as pair:
        async with asyncio.timeout(5):
            await asyncio.gather(pair.cpo.unregister("emsp"), pair.emsp.unregister("cpo"))
        for platform, other in ((pair.cpo, "emsp"), (pair.emsp, "cpo")):
            assert state(platform, other) is ConnectionState.UNREGISTERED
            assert kinds(platform, other) in ([], ["A"])


async def test_partner_leaves_while_we_tell_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unregistration that the partner does not answer has succeeded if the partner leaves meanwhile."""
    async with a_pair(emsp=[EmspLocations()], cpo=[CpoLocations([])]) as pair:
        left = asyncio.Event()
        carry = pair.network.carry

        async def lose(request: HttpRequest, timeout: float) -> HttpResponse:
            if request.url.startswith("https://emsp."):
                left.set()
                await asyncio.shield(leaving)
                raise NoAnswer("cut off")
            return await carry(request, timeout)

        monkeypatch.setattr(pair.network, "carry", lose)
        telling = asyncio.create_task(pair.cpo.unregister("emsp"))

        async def leave() -> None:
            await left.wait()
            await pair.emsp.unregister("cpo")

        leaving = asyncio.create_task(leave())
        async with asyncio.timeout(5):
            await asyncio.gather(telling, leaving)
        assert state(pair.cpo, "emsp") is ConnectionState.UNREGISTERED


# --- restarts and races --------------------------------------------------------------------------------


def restarted(network: Network, store: MemoryStore) -> Platform:
    """An eMSP that starts with what the store holds."""
    return a_platform(
        network, "emsp.example.com", Role.EMSP, "EMP", [EmspLocations()], store=store, profiles=[BILATERAL]
    )


async def test_restart_in_every_state() -> None:
    """Whatever state a connection is in, a restart goes on where it was, with the same tokens."""
    network, store = Network(), LastingStore()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [CpoLocations([])])
    async with cpo:
        async with restarted(network, store) as emsp:
            token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        async with restarted(network, store) as emsp:  # NEW, with a token A
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        async with restarted(network, store) as emsp:  # REGISTERED, never used
            assert kinds(emsp, "cpo") == ["A", "CURRENT"]
            assert await works(cpo, emsp)
        async with restarted(network, store) as emsp:  # REGISTERED, used: A is spent
            assert (await ask(emsp, "GET", "/versions", token=token.reveal())).status == 401
            assert await works(cpo, emsp)
            old = cpo.connection("emsp").record.outbound_token
            await cpo.update("emsp")
        async with restarted(network, store) as emsp:  # a token replaced, the new one not used
            assert old is not None
            assert (await ask(emsp, "GET", "/versions", token=old.reveal())).status == 200
            assert await works(cpo, emsp)
            await cpo.unregister("emsp")
        async with restarted(network, store) as emsp:  # UNREGISTERED
            assert state(emsp, "cpo") is ConnectionState.UNREGISTERED
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
            assert await works(cpo, emsp)


async def test_restart_between_our_post_and_its_answer() -> None:
    """A platform that died before the answer came still lets the partner in, and registers again."""
    network, store = Network(), LastingStore()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", [CpoLocations([])])
    async with cpo:
        token = await cpo.invite(BILATERAL, origins=EMSP_ORIGIN, id="emsp")
        async with restarted(network, store) as emsp:
            network.lost.append(("POST", "/credentials"))
            with pytest.raises(RegistrationFailed):
                await emsp.register(BILATERAL, cpo.versions_url, token, id="cpo")
        async with restarted(network, store) as emsp:
            assert kinds(emsp, "cpo") == ["PENDING"]
            held = cpo.connection("emsp").record.outbound_token
            assert held is not None
            assert (await ask(emsp, "GET", "/versions", token=held.reveal())).status == 200
            await emsp.register(BILATERAL, cpo.versions_url, token, id="cpo")
            assert await works(cpo, emsp)


class LastingStore(MemoryStore):
    """A store in memory that survives being closed."""

    async def close(self) -> None:
        """Keep everything."""


class FailingStore(MemoryStore):
    """A store that fails while it is told to, or waits."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.waiting = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def save_connection(self, record: ConnectionRecord, tokens: Iterable[InboundToken]) -> None:
        """Keep a connection, or not."""
        if not self.gate.is_set():
            self.waiting.set()
        await self.gate.wait()
        if self.fails:
            raise StoreError("the disk is full")
        await super().save_connection(record, list(tokens))


async def test_store_that_fails() -> None:
    """What the store did not keep did not happen: the partner is told 3000, and can try again."""
    store = FailingStore()
    async with invited() as (network, _, _):
        emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [EmspLocations()], store=store)
        async with emsp:
            token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
            store.fails = True
            assert (await present(emsp, "POST", token, credentials()))[:2] == (200, 3000)
            assert state(emsp, "cpo") is ConnectionState.NEW
            assert kinds(emsp, "cpo") == ["A"]
            store.fails = False
            assert (await present(emsp, "POST", token, credentials()))[1] == 1000


async def test_cancelled_while_the_store_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake whose request ends while the store writes is whole, in memory and for uploads, too."""
    store = FailingStore()
    async with invited() as (network, _, _):
        emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [EmspLocations()], store=store)
        async with emsp:
            token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
            store.gate.clear()
            task = asyncio.create_task(present(emsp, "POST", token, credentials()))
            await store.waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            resumed: asyncio.Queue[str] = asyncio.Queue()
            monkeypatch.setattr(emsp.outbox, "resume", resumed.put_nowait)
            store.gate.set()
            await emsp._directory.finish()
            assert state(emsp, "cpo") is ConnectionState.REGISTERED
            assert await asyncio.wait_for(resumed.get(), 5) == "cpo"
            kept = await store.connection("cpo")
            assert kept == emsp.connection("cpo").record
            assert [one.kind for one in await store.tokens("cpo")] == [TokenKind.A, TokenKind.CURRENT]


async def test_first_use_and_rotation_at_once() -> None:
    """Requests that come while a token is first used and replaced lose none of the tokens."""
    async with invited() as (_, emsp, token):
        _, _, current = await present(emsp, "POST", token, credentials())
        answers = await asyncio.gather(
            *(ask(emsp, "GET", "/versions", token=current) for _ in range(5)),
            ask(emsp, "PUT", "/2.2.1/credentials", token=current, body=credentials()),
            *(ask(emsp, "GET", "/versions", token=current) for _ in range(5)),
        )
        assert {answer.status for answer in answers} == {200}
        new = envelope(answers[5])["data"]["token"]
        assert (await ask(emsp, "GET", "/versions", token=current)).status == 200
        assert (await ask(emsp, "GET", "/versions", token=new)).status == 200
        assert kinds(emsp, "cpo") == ["A", "CURRENT"]


async def test_outbox_goes_on_after_a_registration() -> None:
    """What waited for a registration leaves as soon as there is one, whoever began it."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        await pair.cpo.unregister("emsp")
        await pair.to_emsp.upload(v221.LocationsReceiver.put_location, REF, a_location())
        await asyncio.sleep(0.01)
        (waiting,) = await pair.cpo.outbox.status()
        assert waiting.reason == "the connection is not registered"
        token = await pair.cpo.invite(BILATERAL, origins=EMSP_ORIGIN, id="emsp")
        await pair.emsp.register(BILATERAL, pair.cpo.versions_url, token, id="cpo")
        await pair.cpo.outbox.drained(timeout=5)


# --- who a partner may be ------------------------------------------------------------------------------


async def test_parties_are_pinned_by_the_first_registration() -> None:
    """A partner cannot add a party or a role later, in whichever way, nor after a restart."""
    store = MemoryStore()
    async with invited() as (network, _, _):
        async with restarted(network, store) as emsp:
            token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
            _, _, current = await present(emsp, "POST", token, credentials(parties=["CPO", "CP2"]))
        async with restarted(network, store) as emsp:
            more = credentials(parties=["CPO", "CP2", "CP3"])
            assert (await present(emsp, "PUT", current, more))[1] == 2001
            other = credentials()
            other["roles"][0]["role"] = "EMSP"
            assert (await present(emsp, "PUT", current, other))[1] == 2001
            assert (await present(emsp, "PUT", current, credentials()))[1] == 1000
            assert [str(one.party) for one in emsp.connection("cpo").record.roles] == ["FR*CPO"]
            _, _, current = await present(emsp, "PUT", current, credentials(parties=["CP2", "CPO"]))
            await present(emsp, "DELETE", current)
            assert (await present(emsp, "POST", token, more))[1] == 2001
            await emsp.approve("cpo", [PartyId("FR", "CP3")])
            assert (await present(emsp, "POST", token, more))[1] == 2001
            await emsp.approve("cpo", [PartyId("FR", name) for name in ("CPO", "CP2", "CP3")])
            assert (await present(emsp, "POST", token, more))[1] == 1000


async def test_parties_that_an_operator_names() -> None:
    """Who is named at the invitation may register, in whichever role, and nobody else."""
    async with invited() as (_, emsp, _):
        parties = [PartyId("FR", "CP2"), PartyId("fr", "cpo")]
        token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo", parties=parties)).reveal()
        assert (await present(emsp, "POST", token, credentials(parties=["CP3"])))[1] == 2001
        _, ocpi, current = await present(emsp, "POST", token, credentials())
        assert ocpi == 1000
        assert (await present(emsp, "PUT", current, credentials(parties=["CP2", "CPO"])))[1] == 1000
        with pytest.raises(ValueError, match="expected parties"):
            await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo", parties=[])


async def test_parties_as_presented() -> None:
    """A partner that is trusted with it presents whom it likes, except those of others."""
    async with invited() as (_, emsp, _):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo", parties=AS_PRESENTED)
        _, _, current = await present(emsp, "POST", token.reveal(), credentials())
        _, ocpi, current = await present(emsp, "PUT", current, credentials(parties=["CP8", "CP9"]))
        assert ocpi == 1000
        assert (await present(emsp, "PUT", current, credentials(parties=["EMP"])))[1] == 2001


async def test_partner_that_answers_for_others() -> None:
    """A partner whose answer presents a party that was not approved is not taken; approving it is enough."""
    async with two() as (_, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        with pytest.raises(RegistrationFailed, match=r"POST credentials: /roles/0/party_id: .* approved for"):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp", parties=[PartyId("FR", "ELS")])
        assert state(cpo, "emsp") is ConnectionState.NEW
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp", parties=[PartyId("FR", "EMP")])
        assert await works(cpo, emsp)


async def test_approvals_stay_until_said_anew() -> None:
    """Inviting a partner again leaves its approved parties as they are, unless others are named."""
    async with invited() as (_, emsp, token):
        await present(emsp, "POST", token, credentials())
        await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        assert emsp.connection("cpo").record.approved == (Approval(PartyId("FR", "CPO"), Role.CPO),)
        await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo", parties=[PartyId("FR", "CP2")])
        assert emsp.connection("cpo").record.approved == (Approval(PartyId("FR", "CP2"), None),)


# --- what it must serve --------------------------------------------------------------------------------


async def test_required_interfaces_as_sender() -> None:
    """A partner that lacks a required interface is sent no credentials of ours."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        needs = [v221.LocationsReceiver, v221.CdrsReceiver]
        with pytest.raises(RegistrationFailed, match=r"GET version details: .*: 2\.2\.1/cdrs/RECEIVER") as no:
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp", requires=needs)
        assert isinstance(no.value.__cause__, NoMatchingEndpoints)
        assert not [one for one in network.requests if one.method == "POST"]
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp", requires=needs[:1])
        assert cpo.connection("emsp").record.requires == ("2.2.1/locations/RECEIVER",)


async def test_required_interfaces_as_receiver() -> None:
    """A partner that lacks a required interface is told 3003; when it comes to lack it later, as well."""
    async with invited() as (network, emsp, _):
        needs = [v221.LocationsSender]
        token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo", requires=needs)).reveal()
        response = await ask(emsp, "POST", "/2.2.1/credentials", token=token, body=credentials())
        assert envelope(response)["status_code"] == 3003
        assert "2.2.1/locations/SENDER" in envelope(response)["status_message"]
        place = ("GET", "cpo.example.com/ocpi/2.2.1")
        lacking = network.replaced[place]
        details = {"version": "2.2.1", "endpoints": [endpoint("credentials"), endpoint("locations")]}
        network.replaced[place] = answering(details)
        _, ocpi, current = await present(emsp, "POST", token, credentials())
        assert ocpi == 1000
        network.replaced[place] = lacking
        assert (await present(emsp, "PUT", current, credentials("new")))[1] == 3003
        assert emsp.connection("cpo").record.outbound_token == Secret("token-of-the-cpo")


async def test_required_interface_of_no_version() -> None:
    """What no version of ours has cannot be required."""
    async with two() as (_, cpo, _):
        with pytest.raises(ValueError, match="CdrsEmsp: expected an interface of a version that is served"):
            await cpo.invite(BILATERAL, origins=EMSP_ORIGIN, requires=[v211.CdrsEmsp])


# --- what a partner does not take ----------------------------------------------------------------------


async def test_partner_that_registers_itself() -> None:
    """Where the hub begins every registration, ours is refused before its POST, unless it is forced."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        with pytest.raises(RegistrationFailed) as no:
            await cpo.register(PREPRODUCTION, emsp.versions_url, token, id="emsp")
        assert str(no.value) == (
            "POST credentials: in OCPI 2.2.1 gireve-preproduction registers with us, and does not take it "
            "from us. Call invite() and hand it the token A; force=True tries it nevertheless."
        )
        assert {one.method for one in network.requests} == {"GET"}
        await cpo.register(PREPRODUCTION, emsp.versions_url, token, id="emsp", force=True)
        network.requests.clear()
        with pytest.raises(RegistrationFailed, match=r"unregisters with us.* Ask it to unregister"):
            await cpo.unregister("emsp")
        assert network.requests == []
        await cpo.unregister("emsp", force=True)
        assert state(emsp, "cpo") is ConnectionState.UNREGISTERED


async def test_partner_that_takes_no_new_credentials() -> None:
    """A partner that takes no PUT is sent none, unless it is forced."""
    async with two() as (network, cpo, emsp):
        profile = evolve(BILATERAL, name="fixed", no_update=frozenset({"2.2.1"}))
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        await cpo.register(profile, emsp.versions_url, token, id="emsp")
        network.requests.clear()
        with pytest.raises(RegistrationFailed, match=r"takes no new credentials.* unregister, and register"):
            await cpo.update("emsp")
        assert "PUT" not in {one.method for one in network.requests}
        await cpo.update("emsp", force=True)
        assert await works(cpo, emsp)


async def test_version_that_is_not_offered() -> None:
    """To go over to a version that is not spoken, or not offered, changes nothing."""
    async with a_pair(emsp=[EmspLocations()], cpo=[CpoLocations([])]) as pair:
        for version in ("2.1.1", "3.0"):
            with pytest.raises(RegistrationFailed, match=f"we speak no OCPI {version} on this connection"):
                await pair.cpo.update("emsp", version=version)
        assert await works(pair.cpo, pair.emsp)


# --- how tokens are written ----------------------------------------------------------------------------


async def test_partner_that_does_not_encode() -> None:
    """A partner of 2.2.1 that writes its tokens as they are is refused, unless its profile says so."""
    for encoding, expected in (
        (None, {TokenEncoding.BASE64}),
        (TokenEncoding.RAW, {TokenEncoding.RAW}),
        (TokenEncoding.AUTO, {TokenEncoding.BASE64, TokenEncoding.RAW}),
    ):
        async with two() as (network, cpo, emsp):
            profile = evolve(BILATERAL, name=f"encoding-{encoding}", token_encoding=encoding)
            token = await emsp.invite(profile, origins=CPO_ORIGIN, id="cpo")
            await cpo.register(profile, emsp.versions_url, token, id="emsp")
            assert await works(cpo, emsp)
            held = cpo.connection("emsp").record.outbound_token
            assert held is not None
            ours = TokenEncoding.RAW if encoding is TokenEncoding.RAW else TokenEncoding.BASE64
            assert network.requests[-1].headers["Authorization"] == authorization(
                emsp.connection("cpo").record.outbound_token or held, ours
            )
            taken: set[TokenEncoding] = set()
            for one in (TokenEncoding.BASE64, TokenEncoding.RAW):
                headers = {"Authorization": authorization(held, one)}
                if (await ask(emsp, "GET", "/2.2.1/credentials", headers=headers)).status == 200:
                    taken.add(one)
            assert taken == expected


async def test_encodings_that_are_tried() -> None:
    """A partner's versions are asked for in each encoding once, in that of the version spoken first."""
    async with two() as (network, cpo, emsp):
        for profile, encodings in (
            (BILATERAL, [TokenEncoding.BASE64]),
            (evolve(BILATERAL, name="raw", token_encoding=TokenEncoding.RAW), [TokenEncoding.RAW]),
        ):
            network.requests.clear()
            with pytest.raises(RegistrationFailed, match="Has the token been used up"):
                await cpo.register(profile, emsp.versions_url, "x" * 30, id=profile.name)
            shown = [one.headers["Authorization"] for one in network.requests]
            assert shown == [authorization(Secret("x" * 30), one) for one in encodings]


async def test_partner_whose_details_want_another_encoding() -> None:
    """Where a token is refused after the versions were given for it, the advice is how it is written."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        network.replaced["GET", "emsp.example.com/ocpi/2.2.1"] = lambda _: HttpResponse(status=401)
        with pytest.raises(RegistrationFailed, match=r"say it with Profile\.token_encoding"):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")


# --- tokens that live on, and those that end ------------------------------------------------------------


async def test_partner_that_forgets_our_new_token() -> None:
    """A partner that lost our answer, and the token it had sent us with it, is asked with the one before."""
    async with invited() as (network, emsp, token):
        details = {"version": "2.2.1", "endpoints": [endpoint("credentials"), endpoint("locations")]}
        network.replaced["GET", "cpo.example.com/ocpi/2.2.1"] = answering(details)
        _, _, held = await present(emsp, "POST", token, credentials("first"))
        assert (await present(emsp, "GET", held))[0] == 200
        _, _, lost = await present(emsp, "PUT", held, credentials("second"))
        shown: list[str] = []

        def knows_the_first(request: HttpRequest) -> HttpResponse:
            shown.append(request.headers["Authorization"])
            known = shown[-1] == authorization(Secret("first"), TokenEncoding.BASE64)
            return answering([])(request) if known else HttpResponse(status=401)

        network.replaced["GET", "/ocpi/2.2.1/x?offset=0&limit=100"] = knows_the_first
        to_cpo = emsp.connection("cpo")
        assert [one async for one in to_cpo.crawl(v221.LocationsSender.list_locations)] == []
        assert len(shown) == 2
        # It got our answer after all.
        assert (await present(emsp, "GET", lost))[0] == 200
        assert emsp.connection("cpo").record.previous_token is None
        with pytest.raises(Unauthorized):
            assert [one async for one in to_cpo.crawl(v221.LocationsSender.list_locations)] == []


async def test_replaced_token_that_is_still_used() -> None:
    """A replaced token lives as long as it is used, for its holder never got the new one; else for a day."""
    clock = Clock(utc_now())
    async with two(clock) as (network, _, emsp):
        network.replaced["GET", "/versions"] = answering(OFFERED)
        network.replaced["GET", "/2.2.1"] = answering(DETAILS)
        token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
        _, _, held = await present(emsp, "POST", token, credentials())
        await present(emsp, "PUT", held, credentials())
        for _ in range(5):
            clock.now += GRACE - timedelta(minutes=1)
            assert (await present(emsp, "GET", held))[0] == 200
        clock.now += GRACE
        assert (await present(emsp, "GET", held))[0] == 401


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (HttpResponse(status=405), True),
        (HttpResponse(status=401), True),
        (HttpResponse(status=200, body=b'{"status_code":3001,"timestamp":"2026-11-01T12:00:00Z"}'), True),
        (HttpResponse(status=200, body=b'{"status_code":3000,"timestamp":"2026-11-01T12:00:00Z"}'), False),
        (HttpResponse(status=502, body=b"<html>"), False),
        (HttpResponse(status=200, body=b"<html>"), False),
    ],
)
async def test_token_that_was_sent(answer: HttpResponse, ends: bool) -> None:
    """A token that the partner refused ends after a day; one that it may have taken does not."""
    clock = Clock(utc_now())
    async with two(clock) as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        sent: list[str] = []

        def refuse(request: HttpRequest) -> HttpResponse:
            sent.append(json.loads(request.body)["token"])
            return answer

        network.replaced["POST", "/credentials"] = refuse
        with pytest.raises(RegistrationFailed):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert (await ask(cpo, "GET", "/versions", token=sent[0])).status == 200
        clock.now += 10 * GRACE
        assert (await ask(cpo, "GET", "/versions", token=sent[0])).status == (401 if ends else 200)


async def test_posts_that_overtake_each_other() -> None:
    """A first POST that arrives after the second breaks neither direction."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        late: list[HttpRequest] = []

        def delay(request: HttpRequest) -> HttpResponse:
            late.append(request)
            return HttpResponse(status=504)

        network.replaced["POST", "/credentials"] = delay
        with pytest.raises(RegistrationFailed):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        network.replaced.clear()
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        await network.carry(late[0], 5)
        assert await works(cpo, emsp)
        await cpo.update("emsp")
        assert await works(cpo, emsp)
        assert (kinds(cpo, "emsp"), kinds(emsp, "cpo")) == (["CURRENT"], ["A", "CURRENT"])


async def test_first_use_that_a_rotation_overtakes() -> None:
    """A first use that is written down after the token was replaced does not end the token."""
    store = FailingStore()
    async with invited() as (network, _, _):
        emsp = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", [EmspLocations()], store=store)
        async with emsp:
            token = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
            _, _, held = await present(emsp, "POST", token, credentials())
            wiring = emsp._directory.get("cpo")
            assert wiring is not None
            principal = emsp._directory.find(token_digest(Secret(held)))
            assert principal is not None
            new = new_token(Secret("new"), "cpo", TokenKind.CURRENT)
            store.gate.clear()
            replacing = asyncio.create_task(
                emsp._directory.change(
                    wiring, lambda record, tokens: (record, renewed(tokens, new, utc_now() + GRACE))
                )
            )
            await store.waiting.wait()
            using = asyncio.create_task(emsp._directory.admitted(principal))
            await asyncio.sleep(0)
            store.gate.set()
            await asyncio.gather(replacing, using)
            assert kinds(emsp, "cpo") == ["A", "CURRENT", "PREVIOUS"]
            assert (await present(emsp, "GET", held))[0] == 200


class WatchedLock(asyncio.Lock):
    """A lock that tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = asyncio.Event()

    async def acquire(self) -> Literal[True]:
        """Take it, or wait."""
        if self.locked():
            self.wanted.set()
        return await super().acquire()


async def test_token_that_ends_while_it_waits() -> None:
    """A POST that waits for another one's end is refused if the token was spent meanwhile."""
    async with invited() as (_, emsp, token):
        _, _, current = await present(emsp, "POST", token, credentials())
        lock = emsp._registrar._locks["cpo"] = WatchedLock()
        async with lock:
            waiting = asyncio.create_task(present(emsp, "POST", token, credentials("late")))
            await lock.wanted.wait()
            assert (await ask(emsp, "GET", "/versions", token=current)).status == 200
        assert (await waiting)[0] == 401
        assert emsp.connection("cpo").record.outbound_token == Secret("token-of-the-cpo")


async def test_invited_again_while_registered() -> None:
    """A partner that lost everything registers with a new token A; its old one is good until then."""
    async with invited() as (_, emsp, token):
        _, _, old = await present(emsp, "POST", token, credentials())
        assert (await present(emsp, "GET", old))[0] == 200
        assert (await present(emsp, "POST", token, credentials()))[0] == 401
        again = (await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")).reveal()
        _, ocpi, new = await present(emsp, "POST", again, credentials("second"))
        assert ocpi == 1000
        assert (await present(emsp, "GET", old))[0] == 200
        assert (await present(emsp, "GET", new))[0] == 200
        assert (await present(emsp, "GET", old))[0] == 401


async def test_unregister_with_the_token_before() -> None:
    """A partner that knows only our token from before is told with that one."""
    async with a_pair(emsp=[EmspLocations()], cpo=[CpoLocations([])]) as pair:
        await pair.emsp.update("cpo")
        cpo = pair.cpo._directory.get("emsp")
        assert cpo is not None
        held = cpo.record
        assert held.previous_token is not None
        cpo.record = evolve(held, outbound_token=Secret("never-heard-of"))
        await pair.cpo.unregister("emsp")
        assert state(pair.emsp, "cpo") is ConnectionState.UNREGISTERED


async def test_update_with_the_token_before() -> None:
    """A partner that knows only our token from before takes new credentials with that one."""
    async with a_pair(emsp=[EmspLocations()], cpo=[CpoLocations([])]) as pair:
        await pair.emsp.update("cpo")
        cpo = pair.cpo._directory.get("emsp")
        assert cpo is not None
        assert cpo.record.previous_token is not None
        cpo.record = evolve(cpo.record, outbound_token=Secret("never-heard-of"))
        await pair.cpo.update("emsp")
        assert await works(pair.cpo, pair.emsp)


async def test_both_begin_one_connection() -> None:
    """Two who begin the same new connection at once make one of it; the second is told that it is there."""
    async with two() as (_, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        first, second = await asyncio.gather(
            cpo.register(BILATERAL, emsp.versions_url, token, id="emsp"),
            cpo.register(BILATERAL, emsp.versions_url, token, id="emsp"),
            return_exceptions=True,
        )
        assert isinstance(first, Connection)
        assert isinstance(second, RegistrationFailed)
        assert len(cpo.connections()) == 1
        assert await works(cpo, emsp)


@pytest.mark.parametrize("ours", [True, False])
async def test_origins_change_in_the_middle(monkeypatch: pytest.MonkeyPatch, *, ours: bool) -> None:
    """A handshake during which the operator names other origins fails; the next one knows them."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        sender, receiver, other = (cpo, "emsp", EMSP_ORIGIN) if ours else (emsp, "cpo", CPO_ORIGIN)
        carry = network.carry

        async def change(request: HttpRequest, timeout: float) -> HttpResponse:
            if request.method == "GET" and request.url.startswith(CPO_ORIGIN):
                monkeypatch.setattr(network, "carry", carry)
                await sender.invite(
                    BILATERAL, origins="https://elsewhere.example.com", id=receiver, token_a="a" * 30
                )
            return await carry(request, timeout)

        monkeypatch.setattr(network, "carry", change)
        with pytest.raises(RegistrationFailed, match="were changed meanwhile"):
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert state(sender, receiver) is ConnectionState.NEW
        if not ours:
            token = await emsp.invite(BILATERAL, origins=other, id="cpo")
        await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert await works(cpo, emsp)


async def test_known_id_with_another_profile() -> None:
    """A connection keeps the profile that it was made with: another one is another partner."""
    async with two() as (_, cpo, emsp):
        await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        other = evolve(BILATERAL, name="other")
        with pytest.raises(ValueError, match="connection 'cpo' has the profile 'bilateral'; id= gives"):
            await emsp.invite(other, origins=CPO_ORIGIN, id="cpo")
        with pytest.raises(ValueError, match="connection 'cpo' has the profile 'bilateral'; id= gives"):
            await emsp.register(other, cpo.versions_url, "x" * 30, id="cpo")


# --- URLs that a partner hands out ----------------------------------------------------------------------

HOSTILE = [
    "https://evil.example/x",
    "http://cpo.example.com/x",
    "https://cpo.example.com:8443/x",
    "https://cpo.example.com@evil.example/x",
    "https://cpo.example.com.evil.example/x",
    "https://evil.example\\@cpo.example.com/x",
    "https://cpo.example.com\t.evil.example/x",
    "//evil.example/x",
    "/x",
    "x",
    "ftp://cpo.example.com/x",
    "file:///etc/passwd",
    "https://127.0.0.1/x",
    "https://2130706433/x",
    "https://0x7f000001/x",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://169.254.169.254/latest",
    "https://cpo.example.com/x#https://evil.example",
    "https://ćpo.example.com/x",
]


@pytest.mark.parametrize("place", ["credentials.url", "versions[].url", "endpoints[].url"])
@pytest.mark.parametrize("url", HOSTILE)
async def test_hostile_url_of_a_partner_that_comes(place: str, url: str) -> None:
    """Wherever it stands, a URL that leads elsewhere is 3001, and nobody is asked there."""
    versions = [{"version": "2.2.1", "url": url}] if place == "versions[].url" else None
    bad = {"version": "2.2.1", "endpoints": [endpoint("credentials"), endpoint("locations", url)]}
    details = bad if place == "endpoints[].url" else None
    async with invited(versions=versions, details=details) as (network, emsp, token):
        body = credentials(url=url if place == "credentials.url" else VERSIONS)
        assert (await present(emsp, "POST", token, body))[1] == 3001
        expected = {"credentials.url": 0, "versions[].url": 1, "endpoints[].url": 2}[place]
        assert len(network.tried) == expected
        assert all(one.startswith(f"{CPO_ORIGIN}/") for one in network.tried)
        assert state(emsp, "cpo") is ConnectionState.NEW


@pytest.mark.parametrize("place", ["versions[].url", "endpoints[].url"])
@pytest.mark.parametrize("url", [one.replace("cpo.", "emsp.") for one in HOSTILE])
async def test_hostile_url_of_a_partner_that_we_come_to(place: str, url: str) -> None:
    """Wherever it stands, a URL that leads elsewhere ends our handshake, and nobody is asked there."""
    async with two() as (network, cpo, emsp):
        token = await emsp.invite(BILATERAL, origins=CPO_ORIGIN, id="cpo")
        if place == "versions[].url":
            network.replaced["GET", "/versions"] = answering([{"version": "2.2.1", "url": url}])
        else:
            bad = [endpoint("credentials", f"{EMSP_ORIGIN}/c"), endpoint("locations", url)]
            network.replaced["GET", "/2.2.1"] = answering({"version": "2.2.1", "endpoints": bad})
        with pytest.raises(RegistrationFailed) as no:
            await cpo.register(BILATERAL, emsp.versions_url, token, id="emsp")
        assert isinstance(no.value.__cause__, UrlRefused | BadAnswer)
        assert all(one.startswith(f"{EMSP_ORIGIN}/") for one in network.tried)
        assert "POST" not in {one.method for one in network.requests}


async def test_urls_with_blanks_around() -> None:
    """A blank before or after a URL, as in GIREVE's examples, is not part of it."""
    versions = [{"version": "2.2.1", "url": f" {CPO_ORIGIN}/ocpi/2.2.1"}]
    details = {"version": "2.2.1", "endpoints": [endpoint("credentials", f"{CPO_ORIGIN}/c ")]}
    async with invited(versions=versions, details=details) as (_, emsp, token):
        assert (await present(emsp, "POST", token, credentials(url=f" {VERSIONS} ")))[1] == 1000
        record = emsp.connection("cpo").record
        assert (record.versions_url, record.endpoints[0].url) == (VERSIONS, f"{CPO_ORIGIN}/c")
