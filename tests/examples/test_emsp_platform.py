"""The eMSP example, run as a process, does what IOP may expect of an eMSP, in both versions."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ocpi_gireve import v211, v221, validate
from ocpi_gireve.testing import sample
from tests.examples.iop import Iop, Json, an_iop, example, said
from tests.examples.programs import Program, running

EMSP = "emsp_platform.py"
SPEC: dict[str, ModuleType] = {"2.1.1": v211, "2.2.1": v221}
REFERENCE = {"2.1.1": "authorization_id", "2.2.1": "authorization_reference"}
PLACE = {"location_id": "LOC000007", "evse_uids": ["000007-1"]}
LATER = "2030-01-01T00:00:00Z"

in_both = pytest.mark.parametrize("version", list(SPEC))


@asynccontextmanager
async def roaming(version: str, *arguments: str) -> AsyncGenerator[tuple[Program, Iop]]:
    """Run the example, registered with IOP in one version; it speaks both."""
    async with running(EMSP, *arguments) as program, an_iop(version, "EMP") as iop:
        await iop.register(program.versions_url, program.token_a)
        yield program, iop
        await program.stop()


def an_object(version: str, cls: str) -> dict[str, Any]:
    """An object of the CPO FR*CPO, as IOP passes it on; those of one version belong together."""
    spec = SPEC[version]
    found: dict[str, Any] = json.loads(spec.encode(sample(getattr(spec, cls), 7)))
    if cls in ("Session", "CDR"):
        found[REFERENCE[version]] = "AUTH-7"
    return found


async def asked(iop: Iop, token: Json, place: Json = PLACE) -> Any:  # noqa: ANN401 - JSON
    """Ask whether a token may charge."""
    url = iop.at("tokens", "SENDER", f"/{token['uid'].lower()}/authorize")
    return await iop.ask("POST", url, place, query={"type": token["type"]})


# --- tokens ---


@in_both
async def test_everything_that_is_pulled(version: str) -> None:
    """More than a page of tokens, of every kind, each valid; a delta has what has changed since."""
    async with roaming(version) as (program, iop):
        tokens = await iop.pull("tokens")
        assert len({token["uid"] for token in tokens}) == len(tokens) > 1000
        assert await iop.pull("tokens", limit=300) == tokens
        spec = SPEC[version]
        for token in tokens:
            assert validate(spec.decode(json.dumps(token).encode(), spec.Token)) == []
        cards = [token for token in tokens if token["type"] == "RFID"]
        assert {len(card["uid"]) for card in cards} == {8, 14}  # TOK-018
        assert all(re.fullmatch("[0-9A-F]+", card["uid"]) for card in cards)
        assert {token["type"] for token in tokens} == {"RFID", "OTHER" if version == "2.1.1" else "APP_USER"}
        assert {token["valid"] for token in cards} == {True, False}
        newest = max(token["last_updated"] for token in tokens)
        assert await iop.pull("tokens", query={"date_from": newest}) == [tokens[-1]]
        await program.do(f"block {cards[0]['uid']}")
        sent = await iop.next()
        assert sent.name == f"PUT /tokens/FR/EMP/{cards[0]['uid']}"
        assert sent.query.get("type", "RFID") == "RFID"
        assert (sent.body["uid"], sent.body["valid"]) == (cards[0]["uid"], False)
        assert await iop.pull("tokens", query={"date_from": sent.body["last_updated"]}) == [sent.body]


@in_both
async def test_authorization(version: str) -> None:
    """Each question is answered as the token stands, with a reference of its own where it is yes."""
    async with roaming(version) as (program, iop):
        tokens = await iop.pull("tokens", limit=100)
        cards = [token for token in tokens if token["type"] == "RFID"]
        card = next(one for one in cards if one["valid"])
        references: set[str] = set()
        for token in (card, next(one for one in tokens if one["type"] != "RFID" and one["valid"]), card):
            info = (await asked(iop, token)).data
            assert (info["allowed"], info["location"]) == ("ALLOWED", PLACE)
            assert ("token" in info) == (version == "2.2.1")
            assert info.get("token", token) == token
            references.add(info[REFERENCE[version]])
        assert len(references) == 3
        info = (await asked(iop, next(one for one in cards if not one["valid"]))).data
        assert info["allowed"] == "BLOCKED"
        assert REFERENCE[version] not in info
        assert (await asked(iop, card, None)).codes == (200, 2002)
        unknown = 2000 if version == "2.1.1" else 2004
        for stranger in ({**card, "uid": "00000000"}, {**card, "type": "OTHER"}):
            assert (await asked(iop, stranger)).codes == (404, unknown)
        url = iop.at("tokens", "SENDER", f"/{card['uid']}/authorize")
        assert (await iop.ask("POST", url, PLACE)).data["allowed"] == "ALLOWED"  # RFID goes without saying
        await program.do(f"block {card['uid']}")
        assert (await asked(iop, card)).data["allowed"] == "BLOCKED"
        await program.do(f"allow {card['uid']}")
        assert (await asked(iop, card)).data["allowed"] == "ALLOWED"


@in_both
async def test_push(version: str) -> None:
    """The tokens are sent to IOP, in order."""
    async with roaming(version) as (program, iop):
        tokens = (await iop.ask("GET", iop.at("tokens", "SENDER"), query={"limit": "100"})).data
        program.say("push")
        seen = [await iop.next() for _ in tokens]
        assert [one.body for one in seen] == tokens
        assert {one.method for one in seen} == {"PUT"}


# --- what IOP sends ---


@in_both
async def test_locations(version: str) -> None:
    """Locations, EVSEs and connectors are put, changed and read back; what is not there is not changed."""
    async with roaming(version) as (program, iop):
        location = an_object(version, "Location")
        evse, url = location["evses"][0], iop.at("locations", "RECEIVER", f"/FR/CPO/{location['id']}")
        assert (await iop.ask("GET", url)).http == 404
        assert not (await iop.ask("PUT", url, location)).data
        assert (await program.line()).startswith(f"location {location['id']}: {evse['uid']} {evse['status']}")
        assert (await iop.ask("GET", url)).data == location
        change = {"status": "OUTOFORDER", "last_updated": LATER}
        assert not (await iop.ask("PATCH", f"{url}/{evse['uid']}", change)).data
        assert f"{evse['uid']} OUTOFORDER" in await program.line()
        assert (await iop.ask("GET", f"{url}/{evse['uid']}")).data == {**evse, **change}
        assert (await iop.ask("GET", url)).data["last_updated"] == LATER
        assert (await iop.ask("PATCH", f"{url}/NOPE", change)).http == 404
        assert (await iop.ask("PATCH", f"{url}-2", {"name": "x", "last_updated": LATER})).http == 404
        new = {**evse, "uid": "000007-99", "last_updated": LATER}
        assert not (await iop.ask("PUT", f"{url}/000007-99", new)).data
        assert "000007-99" in await program.line()
        plug = {**evse["connectors"][0], "id": "9", "last_updated": LATER}
        assert not (await iop.ask("PUT", f"{url}/{evse['uid']}/9", plug)).data
        assert (await iop.ask("GET", f"{url}/{evse['uid']}/9")).data == plug
        elsewhere = await iop.ask("PUT", f"{url}-2", location)
        assert elsewhere.codes == (200, 2001)
        wrong = await iop.ask("PATCH", url, {"evses": 7, "name": [], "last_updated": LATER})
        assert wrong.codes == (200, 2001)
        assert {"/evses", "/name"} <= set(re.findall(r"/\w+", wrong.body["status_message"]))


@in_both
async def test_late_statuses(version: str) -> None:
    """A status that comes again, or late, is accepted and changes nothing."""
    async with roaming(version) as (_, iop):
        location = an_object(version, "Location")
        url = iop.at("locations", "RECEIVER", f"/FR/CPO/{location['id']}")
        at = f"{url}/{location['evses'][0]['uid']}"
        await iop.ask("PUT", url, location)
        for status, moment in (("CHARGING", LATER), ("CHARGING", LATER), ("BLOCKED", "2029-01-01T00:00:00Z")):
            assert not (await iop.ask("PATCH", at, {"status": status, "last_updated": moment})).data
            assert (await iop.ask("GET", at)).data["status"] == "CHARGING"


@in_both
async def test_sessions(version: str) -> None:
    """A session that begins, goes on and ends is kept; what comes after its end changes nothing."""
    async with roaming(version) as (program, iop):
        session = an_object(version, "Session") | {"status": "PENDING", "kwh": 0}
        for name in ("end_date_time", "end_datetime", "charging_periods", "total_cost"):
            session.pop(name, None)
        url = iop.at("sessions", "RECEIVER", f"/FR/CPO/{session['id']}")
        for status, kwh in (("PENDING", 0), ("ACTIVE", 1.5), ("COMPLETED", 2.5)):
            end = "end_datetime" if version == "2.1.1" else "end_date_time"
            now = {"status": status, "kwh": kwh, "last_updated": f"2030-01-01T00:00:0{int(kwh)}Z"}
            session |= now | ({end: LATER} if status == "COMPLETED" else {})
            assert not (await iop.ask("PUT", url, session)).data
            assert await program.line() == f"session {session['id']}: {status}, {kwh} kWh"
            assert (await iop.ask("GET", url)).data == session
        late = {"status": "ACTIVE", "last_updated": "2030-01-01T00:00:05Z"}
        assert not (await iop.ask("PATCH", url, late)).data
        assert (await iop.ask("GET", url)).data == session
        assert (await iop.ask("PATCH", f"{url}x", late)).http == 404


@in_both
async def test_cdrs(version: str) -> None:
    """A CDR is kept once, at a place where it is read again; another one of its id is refused."""
    async with roaming(version) as (program, iop):
        cdr = an_object(version, "CDR")
        first = await iop.ask("POST", iop.at("cdrs", "RECEIVER"), cdr)
        assert not first.data
        assert (await program.line()).startswith(f"CDR {cdr['id']}: ")
        place = first.headers["Location"]
        assert place.startswith(iop.at("cdrs", "RECEIVER"))
        assert (await iop.ask("GET", place)).data == cdr
        again = await iop.ask("POST", iop.at("cdrs", "RECEIVER"), cdr)
        assert (again.codes, again.headers["Location"]) == ((200, 1000), place)
        other = await iop.ask("POST", iop.at("cdrs", "RECEIVER"), {**cdr, "total_energy": 99})
        assert other.codes == (200, 2001)
        assert "with other content" in await program.complaint()
        assert (await iop.ask("GET", f"{place}x")).http == 404


@in_both
async def test_tariffs(version: str) -> None:
    """A tariff is put, read back and deleted."""
    async with roaming(version) as (_, iop):
        tariff = an_object(version, "Tariff")
        url = iop.at("tariffs", "RECEIVER", f"/FR/CPO/{tariff['id']}")
        assert not (await iop.ask("PUT", url, tariff)).data
        assert (await iop.ask("GET", url)).data == tariff
        assert not (await iop.ask("DELETE", url)).data
        assert (await iop.ask("GET", url)).http == 404


async def test_messages_of_the_guide(shared: Path) -> None:
    """What GIREVE's 2.1.1 guide shows is taken as it stands, dates without a zone and nulls included."""
    messages = {
        "cpo_locations_toiop_put_emsp": ("PUT", "locations", "/FR/CPO/eeee"),
        "cpo_locations_toiop_patch_emsp": ("PATCH", "locations", "/FR/CPO/eeee/aaaaaa"),
        "cpo_cdrs_toiop_post_emsp": ("POST", "cdrs", ""),
        "cpo_tariffs_toiop_put_emsp": ("PUT", "tariffs", "/FR/CPO/Tariff-1"),
        "cpo_tokens_toiop_post_emsp": ("POST", "tokens", "/04A1B201/authorize"),
    }
    async with roaming("2.1.1") as (_, iop):
        for name, (method, module, path) in messages.items():
            answer = await iop.ask(method, iop.at(module, "", path), example(shared, f"{name}_{module}"))
            assert answer.codes == (200, 1000)
        session = example(shared, "cpo_sessions_toiop_put_emsp_sessions")
        url = iop.at("sessions", "", f"/FR/CPO/{session['id']}")
        assert not (await iop.ask("PUT", url, session)).data
        assert not (
            await iop.ask("PATCH", url, example(shared, "cpo_sessions_toiop_patch_emsp_sessions"))
        ).data


# --- what the example asks of IOP ---


@in_both
async def test_remote_start_and_stop(version: str) -> None:
    """A start names token, location and EVSE, and where to post the result; the console says what it was."""
    async with roaming(version) as (program, iop):
        token = next(one for one in await iop.pull("tokens", limit=20) if one["valid"])
        accepted = {"result": "ACCEPTED"} | ({} if version == "2.1.1" else {"timeout": 30})
        starts, stops = "POST /commands/START_SESSION", "POST /commands/STOP_SESSION"
        iop.answers |= {starts: accepted, stops: accepted}
        line = f"start {token['uid']} FR*CPO LOC1 E1"
        program.say(line)
        command = await iop.next()
        assert (command.name, command.body["token"]) == (starts, token)
        assert (command.body["location_id"], command.body["evse_uid"]) == ("LOC1", "E1")
        assert command.body[REFERENCE[version]]
        if version == "2.2.1":
            assert command.headers["OCPI-to-party-id"] == "CPO"
        assert not (await iop.ask("POST", command.body["response_url"], {"result": "ACCEPTED"})).data
        assert [await program.line() for _ in range(2)] == ["StartSession: ACCEPTED", f"done: {line}"]
        # The answer may have been lost, so that the same comes again.
        assert not (await iop.ask("POST", command.body["response_url"], {"result": "ACCEPTED"})).data
        again = await iop.ask("POST", command.body["response_url"], {"result": "REJECTED"})
        assert again.http == 404
        program.say("stop FR*CPO SESSION17")
        command = await iop.next()
        assert (command.name, command.body["session_id"]) == (stops, "SESSION17")
        assert not (await iop.ask("POST", command.body["response_url"], {"result": "REJECTED"})).data
        assert await program.line() == "StopSession: REJECTED"


@in_both
async def test_refused_commands(version: str) -> None:
    """What IOP refuses at once, or with an error, has no result to wait for."""
    async with roaming(version) as (program, iop):
        refusal = {"result": "REJECTED"} | ({} if version == "2.1.1" else {"timeout": 0})
        iop.answers["POST /commands/START_SESSION"] = refusal
        program.say("start 04A1B201 FR*CPO LOC1 E1")
        assert await program.line() == "StartSession: REJECTED"
        iop.answers["POST /commands/START_SESSION"] = said({}, code=2003)
        program.say("start 04A1B201 FR*CPO LOC9 E1")
        assert "2003" in await program.complaint()
        commands = [await iop.next() for _ in range(2)]
        assert {one.name for one in commands} == {"POST /commands/START_SESSION"}
        await program.do("block 04A1B201")
        assert (await iop.next()).name == "PUT /tokens/FR/EMP/04A1B201"
        program.say("start 04A1B201 FR*CPO LOC1 E1")
        assert await program.complaint() == "start 04A1B201 FR*CPO LOC1 E1: the token is blocked"
        assert iop.seen.empty()
        program.say("start 00000000 FR*CPO LOC1 E1")
        assert "not understood" in await program.complaint()
        url = iop.at("commands", "SENDER", "/START_SESSION/1")
        assert (await iop.ask("POST", url, {"result": "ACCEPTED"})).http == 404


@in_both
async def test_pull(version: str) -> None:
    """A first pull fetches everything, the next one what is new, and a full one what is gone, too."""
    async with roaming(version) as (program, iop):
        for module, cls in (("locations", "Location"), ("tariffs", "Tariff")):
            # TAR-003, TAR-004: in 2.1.1 a tariff from IOP says whose it is.
            owner = {"country_code": "FR", "party_id": "CPO"} if cls == "Tariff" else {}
            iop.answers[f"GET /{module}"] = [an_object(version, cls) | owner]
            program.say(f"pull {module}")
            first = await iop.next()
            assert (first.name, "date_from" in first.query) == (f"GET /{module}", False)
            if module == "locations":
                assert (await program.line()).startswith("location LOC000007: ")
            assert await program.line() == f"{module}: 1, of them new 1, gone 0"
            assert await program.line() == f"done: pull {module}"
            await program.do(f"pull {module}")
            assert "date_from" in (await iop.next()).query
            iop.answers[f"GET /{module}"] = []
            program.say(f"pull {module} full")
            assert "date_from" not in (await iop.next()).query
            assert await program.line() == f"{module}: 0, of them new 0, gone 1"
            assert await program.line() == f"done: pull {module} full"
        program.say("pull tokens")
        assert "not understood" in await program.complaint()


async def test_pull_of_sessions_and_cdrs() -> None:
    """In 2.1.1 IOP gives sessions and CDRs, too."""
    async with roaming("2.1.1") as (program, iop):
        iop.answers |= {
            "GET /sessions": [an_object("2.1.1", "Session")],
            "GET /cdrs": [an_object("2.1.1", "CDR")],
        }
        await program.do("pull sessions")
        assert "date_from" in (await iop.next()).query
        await program.do("pull cdrs")
        assert (await iop.next()).name == "GET /cdrs"


async def test_pull_of_a_cdr_that_names_nobody() -> None:
    """A CDR in which no CPO can be found is billed all the same, and once, whether pulled or posted."""
    async with roaming("2.1.1") as (program, iop):
        cdr = an_object("2.1.1", "CDR")
        cdr["location"].pop("operator", None)
        cdr["location"]["evses"][0]["evse_id"] = "weird"
        iop.answers["GET /cdrs"] = [cdr]
        program.say("pull cdrs")
        assert (await program.line()).startswith(f"CDR {cdr['id']}: ")
        assert await program.line() == "cdrs: 1, of them new 1, gone 0"
        assert await program.line() == "done: pull cdrs"
        answer = await iop.ask("POST", iop.at("cdrs", "RECEIVER"), cdr)
        assert answer.codes == (200, 1000)
        assert answer.headers["Location"].endswith(f"/cdrs/FR/GIR/{cdr['id']}")
        assert (await iop.ask("GET", answer.headers["Location"])).data["id"] == cdr["id"]
