"""The eMSP example, run as a process, does what a hub may expect of an eMSP."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve

from ocpi_gireve import Connection, Link, PageQuery, Patch, gireve, v221
from ocpi_gireve.errors import InvalidParameters, NotEnoughInformation, UnknownToken
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.types import PartyId
from tests.examples.programs import PARTNER, TOKEN_A, a_hub, raw, refused, running
from tests.support import NOW, a_cdr, a_location

EMSP = "emsp_platform.py"
SOMEWHERE = v221.LocationReferences(location_id="LOC1", evse_uids=["E1"])
LOC = v221.LocationRef("FR", "CPO", "LOC1")
EVSE = v221.EvseRef("FR", "CPO", "LOC1", "E1")


async def tokens_of(emsp: Connection) -> list[v221.Token]:
    """Pull all tokens, in pages of 15."""
    return [token async for token in emsp.crawl(v221.TokensSender.list_tokens, PageQuery(limit=15))]


async def asked(
    emsp: Connection, token: v221.Token, location: v221.LocationReferences | None = SOMEWHERE
) -> v221.AuthorizationInfo:
    """Ask whether a token may charge."""
    ref = v221.OwnTokenRef(token.uid.lower(), token.type)
    return await emsp.call(v221.TokensSender.authorize, ref, location)


async def test_tokens_and_authorization() -> None:
    """Tokens of every kind are listed, and each authorization is answered as the token stands."""
    async with running(EMSP) as program, a_hub([]) as hub:
        start, _, token = program.second_line.partition(": ")
        assert start == "token A"
        emsp = (await hub.register(PARTNER, program.versions_url, token)).routed(
            receiver=PartyId("FR", "EMP")
        )
        tokens = await tokens_of(emsp)
        assert len({token.uid for token in tokens}) == len(tokens) >= 30
        cards = [one for one in tokens if one.type is v221.TokenType.RFID]
        assert {len(card.uid) for card in cards} == {8, 14}
        assert all(re.fullmatch("[0-9A-F]+", card.uid) for card in cards)
        app = next(one for one in tokens if one.type is v221.TokenType.APP_USER and one.valid)
        for valid in (next(card for card in cards if card.valid), app):
            info = await asked(emsp, valid)
            assert info.allowed is v221.AllowedType.ALLOWED
            assert info.token == valid
            assert info.location == SOMEWHERE
            assert info.authorization_reference
        blocked = await asked(emsp, next(card for card in cards if not card.valid))
        assert blocked.allowed is v221.AllowedType.BLOCKED
        assert blocked.authorization_reference is None
        with pytest.raises(NotEnoughInformation):
            await asked(emsp, cards[0], None)
        for unknown in (evolve(cards[0], uid="00000000"), evolve(app, type=v221.TokenType.RFID)):
            with pytest.raises(UnknownToken) as answer:
                await asked(emsp, unknown)
            assert answer.value.http_status == 404
        await program.stop()


async def test_what_the_hub_sends() -> None:
    """Locations, statuses, sessions, CDRs and results are kept, printed, and read again."""
    async with running(EMSP, "--token-a", TOKEN_A) as program, a_hub([]) as hub:
        emsp = await hub.register(PARTNER, program.versions_url, TOKEN_A)
        # The hub speaks for the CPO that the objects belong to.
        emsp = emsp.routed(sender=PartyId("FR", "CPO"), receiver=PartyId("FR", "EMP"))
        await emsp.call(v221.LocationsReceiver.put_location, LOC, a_location())
        assert await program.line() == "location LOC1: E1 AVAILABLE"
        later = NOW + timedelta(minutes=1)
        status = Patch(v221.EVSE, {"status": v221.Status.CHARGING, "last_updated": later})
        await emsp.call(v221.LocationsReceiver.patch_evse, EVSE, status)
        assert await program.line() == "location LOC1: E1 CHARGING"
        kept = await emsp.call(v221.LocationsReceiver.get_location, LOC)
        assert kept.last_updated == later

        cdr = a_cdr()
        session = v221.Session(
            country_code="FR",
            party_id="CPO",
            id="S1",
            start_date_time=NOW,
            kwh=Decimal("1.5"),
            cdr_token=cdr.cdr_token,
            auth_method=v221.AuthMethod.COMMAND,
            location_id="LOC1",
            evse_uid="E1",
            connector_id="1",
            currency="EUR",
            status=v221.SessionStatus.ACTIVE,
            last_updated=NOW,
        )
        ref = v221.SessionRef("FR", "CPO", "S1")
        await emsp.call(v221.SessionsReceiver.put_session, ref, session)
        assert await program.line() == "session S1: ACTIVE, 1.5 kWh"
        assert await emsp.call(v221.SessionsReceiver.get_session, ref) == session

        place = await emsp.call(v221.CdrsReceiver.post_cdr, cdr)
        assert await program.line() == "CDR CDR1: 12.5 kWh, 4.00 EUR without VAT"
        assert await emsp.call(v221.CdrsReceiver.get_cdr, place) == cdr
        assert await emsp.call(v221.CdrsReceiver.post_cdr, cdr) == place
        with pytest.raises(InvalidParameters):
            await emsp.call(v221.CdrsReceiver.post_cdr, evolve(cdr, total_energy=Decimal(99)))

        (commands,) = (one.url for one in emsp.record.endpoints if one.module == "commands")
        done = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
        await emsp.call(v221.CommandsSender.post_result, Link(f"{commands}/START_SESSION/17"), done)
        assert await program.line() == "command START_SESSION/17: ACCEPTED"
        await program.stop()


async def test_wrong_requests() -> None:
    """A wrong token, a body that is not JSON and one that lacks fields each get their envelope."""
    async with running(EMSP, "--token-a", TOKEN_A) as program, a_hub([]) as hub:
        emsp = await hub.register(PARTNER, program.versions_url, TOKEN_A)
        wrong = await raw(emsp, "GET", "tokens/SENDER", "", token="no-token-of-anybody-at-all")
        assert (wrong.status, json.loads(wrong.body)["status_code"]) == (401, 2000)
        broken = await raw(emsp, "POST", "cdrs/RECEIVER", "", b"{]")
        assert (broken.status, json.loads(broken.body)["status_code"]) == (400, 2001)
        lacking = await raw(emsp, "PATCH", "locations/RECEIVER", "/FR/CPO/LOC1", b'{"evses": 7, "name": []}')
        answer = json.loads(lacking.body)
        assert (lacking.status, answer["status_code"]) == (200, 2001)
        assert "/evses" in answer["status_message"]
        assert "/name" in answer["status_message"]
        await raw(emsp, "PUT", "locations/RECEIVER", "/FR/ABC/LOC1", v221.encode(a_location(party_id="ABC")))
        undated = await raw(emsp, "PATCH", "locations/RECEIVER", "/FR/ABC/LOC1", b'{"name": "Nord"}')
        answer = json.loads(undated.body)
        assert (undated.status, answer["status_code"]) == (200, 2001)
        assert "/last_updated" in answer["status_message"]
        await program.stop()


async def test_restart(tmp_path: Path) -> None:
    """With --database the registration outlives the process; the port has to stay the same for that."""
    database = str(tmp_path / "emsp.db")
    async with a_hub([]) as hub:
        async with running(EMSP, "--token-a", TOKEN_A, "--database", database) as program:
            emsp = await hub.register(PARTNER, program.versions_url, TOKEN_A)
            await program.stop()
        async with running(EMSP, "--database", database, "--port", str(program.port)) as program:
            assert program.second_line == "registered already"
            assert len(await tokens_of(emsp)) >= 30
            await program.stop()


async def test_registers_itself() -> None:
    """With --register it registers with the partner."""
    async with a_hub([]) as hub:
        profile = evolve(PARTNER, name="invited")
        token = (await hub.invite(profile, origins=PIN_FIRST)).reveal()
        async with running(EMSP, "--register", hub.versions_url, "--register-token", token) as program:
            assert program.second_line == f"registered with {gireve.SIMULATOR.name}"
            assert len(await tokens_of(hub.connection("invited"))) >= 30
            await program.stop()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["extra"], "unrecognized arguments: extra"),
        (["--locations", "5"], "unrecognized arguments: --locations"),
        (["--port", "70000"], "--port: expected 0 to 65535"),
        (["--version", "2.1.1"], "--version: invalid choice: '2.1.1'"),
        (["--register-token", "x"], "--register and --register-token belong together"),
    ],
)
def test_refused_arguments(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be meant is refused with exit status 2 and one clear line."""
    assert words in refused(EMSP, arguments, monkeypatch, capsys)
