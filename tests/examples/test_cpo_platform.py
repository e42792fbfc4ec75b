"""The CPO example, run as a process, does what IOP may expect of a CPO, in both versions."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web

from ocpi_gireve import v211, v221, validate
from ocpi_gireve._model import Model
from tests.examples.iop import Iop, Json, an_iop, example, said
from tests.examples.programs import Program, refused, running

CPO = "cpo_platform.py"
SPEC: dict[str, ModuleType] = {"2.1.1": v211, "2.2.1": v221}
REFERENCE = {"2.1.1": "authorization_id", "2.2.1": "authorization_reference"}
CARD = "04A1B2C3D4E502"
WHERE = "LOC0001 0001-1"

in_both = pytest.mark.parametrize("version", list(SPEC))


@asynccontextmanager
async def roaming(version: str, *arguments: str) -> AsyncGenerator[tuple[Program, Iop]]:
    """Run the example, registered with IOP in one version; it speaks both."""
    async with running(CPO, *arguments) as program, an_iop(version, "CPO") as iop:
        await iop.register(program.versions_url, program.token_a)
        yield program, iop
        await program.stop()


def a_token(version: str, **changes: str | bool) -> dict[str, Any]:
    """A driver's token, as IOP sends it."""
    whose = {"auth_id": "FR-EMP-C00000002", "issuer": "FR*EMP"}
    if version == "2.2.1":
        whose = {
            "country_code": "FR",
            "party_id": "EMP",
            "contract_id": "FR-EMP-C00000002",
            "issuer": "Example",
        }
    fields = {"type": "RFID", "valid": True, "whitelist": "NEVER", "last_updated": "2026-01-01T00:00:00Z"}
    return {"uid": CARD, **fields, **whose, **changes}


def a_start(iop: Iop, number: int = 1, **changes: Json) -> dict[str, Any]:
    """A START_SESSION of IOP."""
    command = {
        "response_url": f"{iop.url}{iop.base}/commands/START_SESSION/{number}",
        "token": a_token(iop.version),
        "location_id": "LOC0001",
        "evse_uid": "0001-1",
        REFERENCE[iop.version]: f"AUTH-{number}",
        **changes,
    }
    return {name: value for name, value in command.items() if value is not None}


async def commanded(iop: Iop, what: str, body: dict[str, Any]) -> str:
    """Send a command, and return the immediate answer to it."""
    data = (await iop.ask("POST", iop.at("commands", "RECEIVER", f"/{what}"), body)).data
    if iop.version == "2.2.1":
        assert data["timeout"] >= 0
    result: str = data["result"]
    return result


async def started(iop: Iop, number: int = 1, **changes: Json) -> dict[str, Any]:
    """Start a session; hear its result, the EVSE's status and the session, all of one cause; return this."""
    assert await commanded(iop, "START_SESSION", a_start(iop, number, **changes)) == "ACCEPTED"
    result = await iop.next()
    assert (result.name, result.body) == (f"POST /commands/START_SESSION/{number}", {"result": "ACCEPTED"})
    news = await iop.several(2)
    assert {one.headers["X-Correlation-ID"] for one in (result, *news.values())} == {iop.correlation}
    assert news["PATCH locations"].body["status"] == "CHARGING"
    session: dict[str, Any] = news["PUT sessions"].body
    assert news["PUT sessions"].path == f"/sessions/FR/CPO/{session['id']}"
    return session


async def stopped(iop: Iop, session: str, number: int = 2) -> tuple[dict[str, Any], dict[str, Any]]:
    """Stop a session, hear its result, the session, its CDR and the EVSE's status, and return the two."""
    url = f"{iop.url}{iop.base}/commands/STOP_SESSION/{number}"
    assert await commanded(iop, "STOP_SESSION", {"response_url": url, "session_id": session}) == "ACCEPTED"
    result = await iop.next()
    assert (result.name, result.body) == (f"POST /commands/STOP_SESSION/{number}", {"result": "ACCEPTED"})
    return await ended(iop)


async def ended(iop: Iop) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hear the end of a session, and its CDR after it: one lane, so that no CDR overtakes its session."""
    news = await iop.several(3)
    assert len({one.headers["X-Correlation-ID"] for one in news.values()}) == 1
    assert news["PATCH locations"].body["status"] == "AVAILABLE"
    lane = [name for name in news if "locations" not in name]
    assert lane == ["PUT sessions", "POST cdrs"]
    session, cdr = news["PUT sessions"].body, news["POST cdrs"].body
    assert session["status"] == "COMPLETED"
    assert is_right(iop.version, "Session", session)
    assert is_right(iop.version, "CDR", cdr)
    return session, cdr


def is_right(version: str, cls: str, one: object) -> bool:
    """Whether an object is what the specification says, and holds what GIREVE requires besides."""
    spec = SPEC[version]
    read: Model = spec.decode(json.dumps(one).encode(), getattr(spec, cls))
    assert validate(read) == []
    match read:
        case v211.Location() | v221.Location():
            assert read.owner is not None  # LOC-001
            assert read.operator is not None  # LOC-002
            for evse in read.evses:
                assert evse.capabilities  # LOC-003
                assert re.fullmatch(r"FR\*CPO\*E[A-Z0-9*]+", evse.evse_id or "")  # LOC-006, NAM-002
                for plug in evse.connectors:
                    assert (
                        plug.tariff_id if isinstance(plug, v211.Connector) else plug.tariff_ids
                    )  # LOC-004, 005
        case v221.Tariff():
            assert read.start_date_time is not None  # TAR-017
        case v211.CDR():
            assert len(read.id) <= 36
            for total in (read.total_cost, read.total_energy, read.total_time):
                assert total % Decimal("0.0001") == 0
        case v221.CDR():
            assert {"TIME"} <= {
                one.type.value for period in read.charging_periods for one in period.dimensions
            }
        case _:
            pass
    return True


# --- what IOP pulls ---


@in_both
async def test_everything_that_is_pulled(version: str) -> None:
    """More than a page of everything, each object valid and with what GIREVE requires."""
    async with roaming(version) as (_, iop):
        dates = {"date_from": "2024-01-01T00:00:00Z"}
        locations = await iop.pull("locations")
        tariffs, cdrs = await iop.pull("tariffs", limit=50), await iop.pull("cdrs")
        sessions = await iop.pull("sessions", query=dates)
        for cls, found, least in (
            ("Location", locations, 101),
            ("Tariff", tariffs, 101),
            ("CDR", cdrs, 21),
            ("Session", sessions, 21),
        ):
            assert len({one["id"] for one in found}) == len(found) >= least
            assert all(is_right(version, cls, one) for one in found)
        (running_one,) = [one for one in sessions if one["status"] == "ACTIVE"]
        assert all(one[REFERENCE[version]] for one in (*sessions, *cdrs))
        used = {
            name
            for location in locations
            for evse in location["evses"]
            for plug in evse["connectors"]
            for name in plug.get("tariff_ids", [plug.get("tariff_id")])
        }
        assert used <= {one["id"] for one in tariffs}
        evse = (await iop.ask("GET", iop.at("locations", "SENDER", "/LOC0001/0001-2"))).data
        assert (evse["status"], running_one["id"]) == ("CHARGING", "SESSION0000")


@in_both
async def test_pages_and_deltas(version: str) -> None:
    """Pages follow each other whatever their size; a delta has what has changed since, and nothing else."""
    async with roaming(version) as (program, iop):
        everything = await iop.pull("locations")
        assert await iop.pull("locations", limit=7) == everything
        assert await iop.pull("locations", limit=1000) == everything
        await program.do(f"status {WHERE} OUTOFORDER")
        pushed = await iop.next()
        assert pushed.name == "PATCH /locations/FR/CPO/LOC0001/0001-1"
        assert pushed.body == {"status": "OUTOFORDER", "last_updated": pushed.body["last_updated"]}
        (changed,) = await iop.pull("locations", query={"date_from": pushed.body["last_updated"]})
        assert (changed["id"], changed["evses"][0]["status"]) == ("LOC0001", "OUTOFORDER")
        assert await iop.pull("locations", query={"date_from": "2027-01-01T00:00:00Z"}) == []
        older = await iop.pull("locations", query={"date_to": pushed.body["last_updated"]}, limit=50)
        assert len(older) == len(everything) - 1
        program.say(f"status {WHERE} SLEEPING")
        assert await program.complaint() == f"status {WHERE} SLEEPING: not understood"
        program.say("status LOC9999 0001-1 AVAILABLE")
        assert "Unknown Location" in await program.complaint()


@in_both
async def test_single_objects(version: str) -> None:
    """A location, an EVSE and a connector are read one by one, however their ids are spelled."""
    async with roaming(version, "--locations", "3") as (_, iop):
        location = (await iop.pull("locations"))[0]
        evse = location["evses"][0]
        for path, there in (
            ("/LOC0001", location),
            ("/loc0001/0001-1", evse),
            ("/LOC0001/0001-1/2", evse["connectors"][1]),
        ):
            assert (await iop.ask("GET", iop.at("locations", "SENDER", path))).data == there
        for path in ("/LOC9999", "/LOC0001/9", "/LOC0001/0001-1/9"):
            assert (await iop.ask("GET", iop.at("locations", "SENDER", path))).codes == (404, 2003)


async def test_whose_cdrs() -> None:
    """The hub sees every CDR, an eMSP that it speaks for its own ones."""
    async with roaming("2.2.1") as (_, iop):
        url = iop.at("cdrs", "SENDER")
        for sender, count in (("107", "25"), ("EMP", "25"), ("ABC", "0")):
            assert (await iop.ask("GET", url, sender=sender)).headers["X-Total-Count"] == count


async def test_no_locations() -> None:
    """Without locations there are no charges either."""
    async with roaming("2.2.1", "--locations", "0") as (_, iop):
        assert await iop.pull("locations") == await iop.pull("cdrs") == []
        assert await commanded_code(iop, a_start(iop)) == 2003


async def commanded_code(iop: Iop, body: dict[str, Any], what: str = "START_SESSION") -> int:
    """Send a command that is refused with an error, and return its OCPI status."""
    answer = await iop.ask("POST", iop.at("commands", "RECEIVER", f"/{what}"), body)
    assert answer.http == 200
    return answer.codes[1]


# --- what IOP commands ---


@in_both
async def test_remote_start_and_stop(version: str) -> None:
    """A remote start and stop bring results, statuses, the session and its CDR, with its reference."""
    async with roaming(version, "--locations", "3") as (program, iop):
        session = await started(iop)
        assert is_right(version, "Session", session)
        assert session["status"] == "ACTIVE"
        assert session[REFERENCE[version]] == "AUTH-1"
        assert await program.line() == f"session {session['id']}: ACTIVE"
        completed, cdr = await stopped(iop, session["id"].upper())
        assert (completed["id"], completed[REFERENCE[version]]) == (session["id"], "AUTH-1")
        assert cdr[REFERENCE[version]] == "AUTH-1"
        assert cdr["total_energy"] == completed["kwh"] > 0
        assert cdr["total_time"] > 0
        listed = await iop.pull("cdrs", limit=5)
        assert listed[-1] == cdr
        sessions = await iop.pull("sessions", query={"date_from": "2024-01-01T00:00:00Z"})
        assert completed in sessions


async def test_what_a_session_of_2_2_1_holds() -> None:
    """A session says whose token it is, where it is and how it was authorized; a CDR refers to it."""
    async with roaming("2.2.1", "--locations", "3") as (_, iop):
        session = await started(iop, connector_id="2")
        assert session["cdr_token"] == {
            "country_code": "FR",
            "party_id": "EMP",
            "uid": CARD,
            "type": "RFID",
            "contract_id": "FR-EMP-C00000002",
        }
        place = session["location_id"], session["evse_uid"], session["connector_id"]
        assert (place, session["auth_method"]) == (("LOC0001", "0001-1", "2"), "COMMAND")
        _, cdr = await stopped(iop, session["id"])
        assert cdr["session_id"] == session["id"]
        assert cdr["cdr_location"]["connector_standard"] == "DOMESTIC_E"


async def test_what_a_session_of_2_1_1_holds() -> None:
    """A session and its CDR hold the contract and the place itself; the token of IOP's example is taken."""
    async with roaming("2.1.1", "--locations", "3") as (_, iop):
        token = a_token("2.1.1", uid="11111", auth_id="22222", issuer="issuer", type="OTHER")
        session = await started(iop, token=token)
        assert (session["auth_id"], session["auth_method"]) == ("22222", "AUTH_REQUEST")
        (evse,) = session["location"]["evses"]
        assert (session["location"]["id"], evse["uid"]) == ("LOC0001", "0001-1")
        _, cdr = await stopped(iop, session["id"])
        assert (cdr["auth_id"], cdr["location"]["id"]) == ("22222", "LOC0001")


@in_both
async def test_references_of_any_length(version: str) -> None:
    """An authorization is repeated exactly as it was given, longer than a session's own field allows."""
    long = "x" * 60
    async with roaming(version, "--locations", "1") as (_, iop):
        given: dict[str, Json] = {REFERENCE[version]: long}
        session = await started(iop, **given)
        assert session[REFERENCE[version]] == long
        url = f"{iop.url}{iop.base}/commands/STOP_SESSION/2"
        await commanded(iop, "STOP_SESSION", {"response_url": url, "session_id": session["id"]})
        await iop.next()
        news = await iop.several(3)
        assert (
            news["PUT sessions"].body[REFERENCE[version]]
            == news["POST cdrs"].body[REFERENCE[version]]
            == long
        )


@in_both
async def test_refused_commands(version: str) -> None:
    """What cannot be commanded is refused at once, or with the result, as the texts say."""
    async with roaming(version, "--locations", "1") as (_, iop):
        for nowhere in (a_start(iop, location_id="LOC9999"), a_start(iop, evse_uid="0001-9")):
            assert await commanded_code(iop, nowhere) == 2003
        assert await commanded_code(iop, a_start(iop, response_url="http://169.254.169.254/x")) == 2001
        gone = {"response_url": f"{iop.url}{iop.base}/commands/STOP_SESSION/9", "session_id": "SESSION0001"}
        assert await commanded(iop, "STOP_SESSION", gone) == "UNKNOWN_SESSION"
        others = a_start(iop, expiry_date="2030-01-01T00:00:00Z", connector_id="1")
        others["reservation_id"] = 1 if version == "2.1.1" else "1"
        for what in ("RESERVE_NOW", "UNLOCK_CONNECTOR"):
            assert await commanded(iop, what, others) == "NOT_SUPPORTED"
        await started(iop)
        assert await commanded(iop, "START_SESSION", a_start(iop, 3)) == "ACCEPTED"
        occupied = await iop.next()
        assert occupied.path == "/commands/START_SESSION/3"
        assert occupied.body == {"result": "REJECTED" if version == "2.1.1" else "EVSE_OCCUPIED"}
        assert iop.seen.empty()


async def test_commands_of_another_emsp() -> None:
    """Through the hub an eMSP stops its own sessions only, and starts with its own tokens only."""
    async with roaming("2.2.1", "--locations", "1") as (_, iop):
        session = (await started(iop))["id"]
        stop = {"response_url": f"{iop.url}{iop.base}/commands/STOP_SESSION/2", "session_id": session}
        url = iop.at("commands", "RECEIVER")
        refused = await iop.ask("POST", f"{url}/STOP_SESSION", stop, sender="XYZ")
        assert refused.data["result"] == "REJECTED"
        start = a_start(iop, 3, evse_uid="0001-2")
        foreign = await iop.ask("POST", f"{url}/START_SESSION", start, sender="XYZ")
        assert foreign.codes == (200, 2001)
        assert iop.seen.empty()
        own = await iop.ask("POST", f"{url}/STOP_SESSION", stop, sender="EMP")
        assert own.data["result"] == "ACCEPTED"
        assert (await iop.next()).body == {"result": "ACCEPTED"}


@in_both
async def test_stop_over_another_connection(version: str) -> None:
    """What was started over one connection is unknown to another one, whoever that is."""
    async with running(CPO, "--token-a", "a" * 32, "--token-a", "b" * 32) as program:
        async with an_iop(version, "CPO") as iop, an_iop("2.2.1", "CPO") as other:
            await iop.register(program.versions_url, "a" * 32)
            await other.register(program.versions_url, "b" * 32)
            session = (await started(iop))["id"]
            stop = {"response_url": f"{other.url}{other.base}/commands/STOP_SESSION/2", "session_id": session}
            assert await commanded(other, "STOP_SESSION", stop) == "UNKNOWN_SESSION"
            await stopped(iop, session)
        await program.stop()


@in_both
async def test_start_anywhere(version: str) -> None:
    """Where no EVSE is named, a free one is taken."""
    async with roaming(version, "--locations", "1") as (_, iop):
        session = await started(iop, evse_uid=None)
        place = session["location"]["evses"][0]["uid"] if version == "2.1.1" else session["evse_uid"]
        assert place == "0001-1"  # 0001-2 is not free
        second = await started(iop, 2, evse_uid=None, token=a_token(version, uid="04A1B2C3D4E506"))
        assert second["id"] != session["id"]


@in_both
async def test_stop_what_a_card_started(version: str) -> None:
    """A session that a card began before is stopped at IOP's command. (CMD-006)"""
    async with roaming(version, "--locations", "1") as (_, iop):
        completed, cdr = await stopped(iop, "SESSION0000")
        assert cdr[REFERENCE[version]] == completed[REFERENCE[version]] == "AUTH-0000"
        assert completed["kwh"] >= 11


# --- what the example asks of IOP ---


def allowed(version: str, **changes: Json) -> dict[str, Any]:
    """What IOP answers to an authorization request."""
    place = {"location_id": "LOC0001", "evse_uids": ["0001-1"]}
    token = {} if version == "2.1.1" else {"token": a_token(version)}
    return {"allowed": "ALLOWED", "location": place, REFERENCE[version]: "AUTH-7", **token, **changes}


@in_both
async def test_a_card(version: str) -> None:
    """A card is asked about at one EVSE; who is allowed charges, and session and CDR repeat the reference.

    What follows from the card, and what follows from its driver's unplugging, shares one correlation id each.
    """
    asks, reads = f"POST /tokens/{CARD}/authorize", f"GET /tokens/{CARD}"
    async with roaming(version, "--locations", "1") as (program, iop):
        iop.answers |= {asks: allowed(version), reads: a_token(version)}
        await program.do(f"card {CARD} {WHERE}")
        question = await iop.next()
        assert (question.name, question.query.get("type", "RFID")) == (asks, "RFID")
        assert question.body == {"location_id": "LOC0001", "evse_uids": ["0001-1"]}
        chain = [question]
        if version == "2.1.1":
            chain.append(await iop.next())
            assert chain[-1].name == reads  # for the contract (TOK-016)
        news = await iop.several(2)
        assert len({one.headers["X-Correlation-ID"] for one in (*chain, *news.values())}) == 1
        session = news["PUT sessions"].body
        assert session[REFERENCE[version]] == "AUTH-7"
        assert session.get("auth_id", session.get("cdr_token", {}).get("contract_id")) == "FR-EMP-C00000002"
        assert session["auth_method"] == "AUTH_REQUEST"
        program.say(f"card {CARD} {WHERE}")
        assert await program.complaint() == f"card {CARD} {WHERE}: the EVSE is not available"
        await program.do(f"stop {session['id']}")
        _, cdr = await ended(iop)
        assert cdr[REFERENCE[version]] == "AUTH-7"
        program.say(f"stop {session['id']}")
        assert await program.complaint() == f"stop {session['id']}: not understood"


async def test_another_uid_in_the_answer() -> None:
    """The session repeats the reference, though the answer named another uid than the card's."""
    async with roaming("2.2.1", "--locations", "1") as (program, iop):
        other = a_token("2.2.1", uid="OTHER")
        iop.answers[f"POST /tokens/{CARD}/authorize"] = allowed("2.2.1", token=other)
        await program.do(f"card {CARD} {WHERE}")
        await iop.next()
        session = (await iop.several(2))["PUT sessions"].body
        assert session["cdr_token"]["uid"] == "OTHER"
        assert session["authorization_reference"] == "AUTH-7"


async def test_two_cards_at_once() -> None:
    """Of two cards at one EVSE, both of which are allowed, one charges."""
    other = "04A1B2C3D4E506"
    async with roaming("2.2.1", "--locations", "1") as (program, iop):
        for uid in (CARD, other):
            iop.answers[f"POST /tokens/{uid}/authorize"] = allowed("2.2.1", token=a_token("2.2.1", uid=uid))
            program.say(f"card {uid} {WHERE}")
        assert re.search("the EVSE (was taken meanwhile|is not available)", await program.complaint())
        sessions = await iop.pull("sessions", query={"date_from": "2024-01-01T00:00:00Z"})
        assert sum(one["status"] == "ACTIVE" for one in sessions) == 2  # one ran before


@in_both
async def test_refused_cards(version: str) -> None:
    """Nobody charges who is blocked, unknown, or allowed without a reference that somebody pays for."""
    asks = f"POST /tokens/{CARD}/authorize"
    async with roaming(version, "--locations", "1") as (program, iop):
        blocked = {"allowed": "BLOCKED"} | ({} if version == "2.1.1" else {"token": a_token(version)})
        answers: dict[str, dict[str, Any] | web.Response] = {
            "BLOCKED": blocked,
            "UNKNOWN_TOKEN": said({}, http=404, code=2000 if version == "2.1.1" else 2004),
            "NO_REFERENCE": {
                name: one for name, one in allowed(version).items() if name != REFERENCE[version]
            },
        }
        for decision, answer in answers.items():
            iop.answers[asks] = answer
            program.say(f"card {CARD} {WHERE}")
            assert await program.line() == f"card: {decision}"
            assert await program.line() == f"done: card {CARD} {WHERE}"
            assert (await iop.next()).name == asks
        iop.answers[asks] = said({}, http=500, code=3000)
        program.say(f"card {CARD} {WHERE}")
        assert "500" in await program.complaint()
        assert (await iop.next()).name == asks
        assert iop.seen.empty()


@in_both
async def test_push(version: str) -> None:
    """Every tariff and every location is sent to IOP, each lane in its order."""
    async with roaming(version, "--locations", "3") as (program, iop):
        locations, tariffs = await iop.pull("locations"), await iop.pull("tariffs")
        await program.do("push")
        seen = [await iop.next() for _ in range(len(locations) + len(tariffs))]
        assert [one.body for one in seen if one.path.startswith("/locations/FR/CPO/")] == locations
        assert [one.body for one in seen if one.path.startswith("/tariffs/FR/CPO/")] == tariffs
        assert {one.method for one in seen} == {"PUT"}


@in_both
async def test_store_and_forward(version: str) -> None:
    """What IOP did not take is sent again, what happened since after it; so it is after a registration."""
    at = "PATCH /locations/FR/CPO/LOC0001/0001-1"
    async with roaming(version, "--locations", "1") as (program, iop):
        iop.answers[at] = said({}, http=503, code=3000)
        await program.do(f"status {WHERE} OUTOFORDER")
        assert (await iop.next()).body["status"] == "OUTOFORDER"
        assert "not delivered" in await program.complaint()
        await program.do(f"status {WHERE} AVAILABLE")
        del iop.answers[at]
        assert [(await iop.next()).body["status"] for _ in range(2)] == ["OUTOFORDER", "AVAILABLE"]
        assert (await iop.ask("DELETE", iop.credentials_url)).codes == (200, 1000)
        await program.do(f"status {WHERE} BLOCKED")
        assert "not registered" in await program.complaint()
        await iop.register(program.versions_url, program.token_a)
        assert (await iop.next()).body["status"] == "BLOCKED"


# --- tokens of the eMSPs ---


@in_both
async def test_tokens_are_pushed(version: str) -> None:
    """What IOP pushes is kept, changed and read back; a message with the wrong token's id is refused."""
    kind = "?type=RFID" if version == "2.2.1" else ""
    async with roaming(version, "--locations", "1") as (_, iop):
        url = iop.at("tokens", "RECEIVER", f"/FR/EMP/{CARD}{kind}")
        assert (await iop.ask("GET", url)).http == 404
        token = a_token(version)
        assert not (await iop.ask("PUT", url, token)).data
        assert (await iop.ask("GET", url)).data == token
        change = {"valid": False, "last_updated": "2026-02-01T00:00:00Z"}
        assert not (await iop.ask("PATCH", url, change)).data
        assert (await iop.ask("GET", url)).data == {**token, **change}
        other = iop.at("tokens", "RECEIVER", f"/FR/EMP/04FFFFFFFFFFFF{kind}")
        assert (await iop.ask("PUT", other, token)).codes == (200, 2001)
        assert (await iop.ask("PATCH", other, change)).http == 404


async def test_a_card_without_a_contract() -> None:
    """Where nobody tells the contract, the driver charges all the same, by the reference."""
    async with roaming("2.1.1", "--locations", "1") as (program, iop):
        iop.answers[f"POST /tokens/{CARD}/authorize"] = allowed("2.1.1")
        iop.answers[f"GET /tokens/{CARD}"] = said({}, code=2000)
        await program.do(f"card {CARD} {WHERE}")
        session = (await iop.several(4))["PUT sessions"].body
        assert (session["auth_id"], session["authorization_id"]) == (CARD, "AUTH-7")


async def test_messages_of_the_guide(shared: Path) -> None:
    """What GIREVE's 2.1.1 guide shows is taken as it stands."""
    async with roaming("2.1.1", "--locations", "1") as (_, iop):
        url = iop.at("tokens", "", "/FR/EMP/AAAAAAAA")
        for method in ("PUT", "PATCH"):
            token = example(shared, f"emsp_tokens_toiop_{method.lower()}_cpo_tokens")
            assert not (await iop.ask(method, url, token)).data
        assert (await iop.ask("GET", url)).data["uid"] == "AAAAAAAA"
        command = example(shared, "emsp_commands_toiop_post_cpo_commands")
        place = {name: a_start(iop)[name] for name in ("response_url", "location_id", "evse_uid")}
        assert await commanded(iop, "START_SESSION", command | place) == "ACCEPTED"


async def test_pulled_tokens() -> None:
    """The tokens that it pulls name the contract, so that 2.1.1 need not be asked for it."""
    async with roaming("2.1.1", "--locations", "1") as (program, iop):
        tokens = [a_token("2.1.1"), a_token("2.1.1", uid="04A1B201", auth_id="FR-EMP-C00000001")]
        iop.answers |= {"GET /tokens": tokens, f"POST /tokens/{CARD}/authorize": allowed("2.1.1")}
        await program.do("pull")
        first = await iop.next()
        assert (first.name, "date_from" in first.query) == ("GET /tokens", False)
        await program.do(f"card {CARD} {WHERE}")
        assert (await iop.next()).name == f"POST /tokens/{CARD}/authorize"
        assert (await iop.several(2))["PUT sessions"].body["auth_id"] == "FR-EMP-C00000002"
        await program.do("pull")
        assert "date_from" in (await iop.next()).query


def test_refused_arguments(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer than no locations cannot be meant."""
    assert "--locations: expected 0 or more" in refused(CPO, ["--locations", "-1"], monkeypatch, capsys)
