"""The CPO example, run as a process, does what a hub may expect of a CPO."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path

import pytest
from attrs import evolve

from ocpi_gireve import Connection, Context, Link, PageQuery, gireve, v221
from ocpi_gireve.errors import UnknownLocation
from ocpi_gireve.receivers import KeptCdrs, KeptLocations, KeptSessions
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.types import PartyId
from tests.examples.programs import PARTNER, SOON, TOKEN_A, a_hub, raw, refused, running
from tests.support import a_token

CPO = "cpo_platform.py"
AT = v221.EvseRef("FR", "CPO", "LOC0001", "0001-1")


class Hub(KeptLocations, KeptSessions, KeptCdrs, v221.CommandsSender):
    """A hub that hears everything in order."""

    def __init__(self) -> None:
        KeptLocations.__init__(self)
        KeptSessions.__init__(self)
        KeptCdrs.__init__(self)
        self.heard: asyncio.Queue[tuple[Context, object]] = asyncio.Queue()

    async def post_result(self, ctx: Context, link: Link, result: v221.CommandResult) -> None:
        await self.heard.put((ctx, (link.url, result.result)))

    async def location_changed(self, ctx: Context, location: v221.Location) -> None:
        await self.heard.put((ctx, location))

    async def session_changed(self, ctx: Context, session: v221.Session) -> None:
        await self.heard.put((ctx, session))

    async def cdr_received(self, ctx: Context, cdr: v221.CDR) -> None:
        await self.heard.put((ctx, cdr))

    async def hear(self, count: int) -> list[object]:
        """Return what comes next, in any order between lanes, and see that all of it has one cause."""
        found = [await asyncio.wait_for(self.heard.get(), SOON) for _ in range(count)]
        assert len({ctx.correlation_id for ctx, _ in found}) == 1
        assert {ctx.sender for ctx, _ in found} == {PartyId("FR", "CPO")}
        assert {ctx.receiver for ctx, _ in found} == {PartyId("FR", "107")}
        return [what for _, what in found]


def a_start(cpo: Connection, **changes: str | None) -> v221.StartSession:
    """A remote start; `changes` replace where."""
    place = {"location_id": "LOC0001", "evse_uid": "0001-1", "connector_id": None, **changes}
    return v221.StartSession(
        response_url=cpo.callback(v221.CommandsSender.post_result, "START_SESSION/17"),
        token=a_token(),
        location_id=place["location_id"] or "",
        evse_uid=place["evse_uid"],
        connector_id=place["connector_id"],
        authorization_reference="AUTH-1",
    )


def a_stop(cpo: Connection, session: str) -> v221.StopSession:
    """A remote stop."""
    url = cpo.callback(v221.CommandsSender.post_result, "STOP_SESSION/18")
    return v221.StopSession(response_url=url, session_id=session)


async def test_locations() -> None:
    """A hub that registers with the printed token pulls all locations page by page, and each part of one."""
    async with running(CPO, "--locations", "25") as program, a_hub([Hub()]) as hub:
        start, _, token = program.second_line.partition(": ")
        assert start == "token A"
        cpo = await hub.register(PARTNER, program.versions_url, token)
        query = PageQuery(limit=10)
        pages = [page async for page in cpo.pages(v221.LocationsSender.list_locations, query)]
        assert [(len(page.items), page.total, page.rejected) for page in pages] == [
            (10, 25, ()),
            (10, 25, ()),
            (5, 25, ()),
        ]
        locations = [location for page in pages for location in page.items]
        assert len({location.id for location in locations}) == 25
        for location in locations:
            assert 2 <= len(location.evses) <= 4
            assert location.operator is not None
            assert location.owner is not None
            for evse in location.evses:
                assert (evse.evse_id or "").startswith("FR*CPO*E")
                assert evse.capabilities
                assert 1 <= len(evse.connectors) <= 2
                assert all(connector.tariff_ids for connector in evse.connectors)
        first = locations[0]
        newest = PageQuery(date_from=locations[-1].last_updated)
        assert [one.id async for one in cpo.crawl(v221.LocationsSender.list_locations, newest)] == ["LOC0025"]
        assert await cpo.call(v221.LocationsSender.get_location, v221.OwnLocationRef(first.id)) == first
        evse_ref = v221.OwnEvseRef(first.id.lower(), first.evses[0].uid)
        assert await cpo.call(v221.LocationsSender.get_evse, evse_ref) == first.evses[0]
        plug = v221.OwnConnectorRef(first.id, first.evses[0].uid, "2")
        assert await cpo.call(v221.LocationsSender.get_connector, plug) == first.evses[0].connectors[1]
        with pytest.raises(UnknownLocation):
            await cpo.call(v221.LocationsSender.get_location, v221.OwnLocationRef("LOC9999"))
        await program.stop(signal.SIGINT)


async def test_remote_start_and_stop() -> None:
    """A remote start and stop bring results, EVSE statuses, the session and its CDR, each with its cause."""
    hearing = Hub()
    async with running(CPO, "--token-a", TOKEN_A) as program, a_hub([hearing]) as hub:
        assert program.second_line == "token A: as given"
        cpo = await hub.register(PARTNER, program.versions_url, TOKEN_A)
        async for location in cpo.crawl(v221.LocationsSender.list_locations):
            hearing.book.put(location)
        cpo = cpo.routed(receiver=PartyId("FR", "CPO"))

        contract = a_token().contract_id.encode()
        too_long = v221.encode(a_start(cpo)).replace(contract, contract * 3)
        assert (await raw(cpo, "POST", "commands/RECEIVER", "/START_SESSION", too_long)).status == 200
        assert await hearing.hear(1) == [("START_SESSION/17", v221.CommandResultType.REJECTED)]

        answer = await cpo.call(v221.CommandsReceiver.start_session, a_start(cpo))
        assert answer.result is v221.CommandResponseType.ACCEPTED
        assert answer.timeout > 0
        heard = await hearing.hear(3)
        assert heard[0] == ("START_SESSION/17", v221.CommandResultType.ACCEPTED)
        assert hearing.book.evse(AT).status is v221.Status.CHARGING
        (session,) = hearing.sessions()
        assert session.status is v221.SessionStatus.ACTIVE
        assert session.auth_method is v221.AuthMethod.COMMAND
        assert session.authorization_reference == "AUTH-1"
        assert session.cdr_token.uid == a_token().uid
        assert (session.location_id, session.evse_uid, session.connector_id) == ("LOC0001", "0001-1", "1")

        occupied = await cpo.call(v221.CommandsReceiver.start_session, a_start(cpo))
        assert occupied.result is v221.CommandResponseType.ACCEPTED
        assert await hearing.hear(1) == [("START_SESSION/17", v221.CommandResultType.EVSE_OCCUPIED)]

        answer = await cpo.call(v221.CommandsReceiver.stop_session, a_stop(cpo, session.id.upper()))
        assert answer.result is v221.CommandResponseType.ACCEPTED
        heard = await hearing.hear(4)
        assert heard[0] == ("STOP_SESSION/18", v221.CommandResultType.ACCEPTED)
        assert hearing.book.evse(AT).status is v221.Status.AVAILABLE
        # One lane: the CDR does not overtake its session.
        completed, cdr = [thing for thing in heard if isinstance(thing, v221.Session | v221.CDR)]
        assert isinstance(completed, v221.Session)
        assert isinstance(cdr, v221.CDR)
        assert hearing.sessions() == [completed]
        assert (completed.id, completed.status) == (session.id, v221.SessionStatus.COMPLETED)
        assert (cdr.session_id, cdr.authorization_reference) == (session.id, "AUTH-1")
        assert (cdr.total_energy, cdr.end_date_time) == (completed.kwh, completed.end_date_time)
        assert cdr.total_cost == completed.total_cost
        assert cdr.total_cost.excl_vat >= 1
        kinds = [dimension.type for dimension in cdr.charging_periods[0].dimensions]
        assert v221.CdrDimensionType.TIME in kinds

        answer = await cpo.call(v221.CommandsReceiver.stop_session, a_stop(cpo, session.id))
        assert answer.result is v221.CommandResponseType.UNKNOWN_SESSION
        for nowhere in (
            a_start(cpo, location_id="LOC9999"),
            a_start(cpo, evse_uid="0001-9"),
            a_start(cpo, connector_id="9"),
        ):
            with pytest.raises(UnknownLocation):
                await cpo.call(v221.CommandsReceiver.start_session, nowhere)
        anywhere = await cpo.call(v221.CommandsReceiver.start_session, a_start(cpo, evse_uid=None))
        assert anywhere.result is v221.CommandResponseType.ACCEPTED
        assert (await hearing.hear(3))[0] == ("START_SESSION/17", v221.CommandResultType.ACCEPTED)
        await program.stop()


async def test_wrong_requests() -> None:
    """A wrong token, a body that is not JSON and one that lacks fields each get their envelope."""
    async with running(CPO, "--token-a", TOKEN_A, "--locations", "1") as program, a_hub([Hub()]) as hub:
        cpo = await hub.register(PARTNER, program.versions_url, TOKEN_A)
        wrong = await raw(cpo, "GET", "locations/SENDER", "", token="no-token-of-anybody-at-all")
        assert (wrong.status, json.loads(wrong.body)["status_code"]) == (401, 2000)
        spent = await raw(cpo, "GET", "locations/SENDER", "", token=TOKEN_A)
        assert spent.status == 401
        broken = await raw(cpo, "POST", "commands/RECEIVER", "/START_SESSION", b'{"response_url": ')
        assert (broken.status, json.loads(broken.body)["status_code"]) == (400, 2001)
        lacking = await raw(
            cpo, "POST", "commands/RECEIVER", "/STOP_SESSION", b'{"session_id": 17.5, "x": {}}'
        )
        answer = json.loads(lacking.body)
        assert (lacking.status, answer["status_code"]) == (200, 2001)
        assert "/response_url" in answer["status_message"]
        await program.stop()


async def test_restart(tmp_path: Path) -> None:
    """With --database the registration outlives the process; the port has to stay the same for that."""
    database = str(tmp_path / "cpo.db")
    async with a_hub([Hub()]) as hub:
        async with running(CPO, "--token-a", TOKEN_A, "--database", database) as program:
            cpo = await hub.register(PARTNER, program.versions_url, TOKEN_A)
            await program.stop()
        async with running(CPO, "--database", database, "--port", str(program.port)) as program:
            assert program.second_line == "registered already"
            location = await cpo.call(v221.LocationsSender.get_location, v221.OwnLocationRef("LOC0007"))
            assert location.id == "LOC0007"
            await program.stop()


async def test_registers_itself() -> None:
    """With --register it registers with the partner."""
    hearing = Hub()
    async with a_hub([hearing]) as hub:
        profile = evolve(PARTNER, name="invited")
        token = (await hub.invite(profile, origins=PIN_FIRST)).reveal()
        async with running(CPO, "--register", hub.versions_url, "--register-token", token) as program:
            assert program.second_line == f"registered with {gireve.SIMULATOR.name}"
            cpo = hub.connection("invited")
            count = [location.id async for location in cpo.crawl(v221.LocationsSender.list_locations)]
            assert len(count) == 25
            await program.stop()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["extra"], "unrecognized arguments: extra"),
        (["--port", "70000"], "--port: expected 0 to 65535"),
        (["--port", "-1"], "--port: expected 0 to 65535"),
        (["--port", "http"], "--port: invalid int value"),
        (["--locations", "-1"], "--locations: expected 0 or more"),
        (["--version", "2.1.1"], "--version: invalid choice: '2.1.1'"),
        (["--register", "http://127.0.0.1:9/versions"], "--register and --register-token belong together"),
    ],
)
def test_refused_arguments(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be meant is refused with exit status 2 and one clear line."""
    assert words in refused(CPO, arguments, monkeypatch, capsys)


def test_port_taken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is refused with exit status 2 and one clear line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(CPO, ["--port", str(port)], monkeypatch, capsys)
    assert f"cannot listen on 127.0.0.1, port {port}" in line
