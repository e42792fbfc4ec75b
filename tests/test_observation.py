"""What a host sees of exchanges: both sides of one, in journals, log records and telemetry."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import pytest

from ocpi_gireve import BILATERAL, Context, Party, Platform, Role, v221
from ocpi_gireve.errors import UnknownLocation
from ocpi_gireve.journal import Exchanged, Journal
from ocpi_gireve.logs import ExchangeFilter, current_exchange
from ocpi_gireve.pagination import Page, PageQuery, page_of
from ocpi_gireve.telemetry import Ended
from tests.support import Network

log = logging.getLogger("host")


class Places(v221.LocationsSender):
    """Locations of a CPO that has none, and logs who asks."""

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[v221.Location]:
        return page_of([], query)

    async def get_location(self, ctx: Context, ref: v221.OwnLocationRef) -> v221.Location:
        log.warning("asked")
        raise UnknownLocation

    async def get_evse(self, ctx: Context, ref: v221.OwnEvseRef) -> v221.EVSE:
        raise UnknownLocation

    async def get_connector(self, ctx: Context, ref: v221.OwnConnectorRef) -> v221.Connector:
        raise UnknownLocation


class Watch:
    """Telemetry that notes what it accompanies."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.open = 0

    @contextmanager
    def exchange(self, direction: Literal["in", "out"]) -> Generator[Ended]:
        self.open += 1

        def ended(exchanged: Exchanged) -> None:
            assert self.open
            self.seen.append((direction, exchanged.operation, exchanged.error))

        try:
            yield ended
        finally:
            self.open -= 1


async def test_one_exchange_seen_from_both_sides(caplog: pytest.LogCaptureFixture) -> None:
    """Journal, telemetry and log records of both sides name the same exchange, and hold no token."""
    caplog.handler.addFilter(ExchangeFilter())
    network, cpo_journal, emsp_journal, watch = Network(), Journal(), Journal(), Watch()
    cpo = Platform(
        public_url="https://cpo.example.com/ocpi",
        parties=[Party("FR", "CPO", Role.CPO, name="A CPO")],
        handlers=[Places()],
        on_exchange=cpo_journal,
        transport=network.transport,
    )
    emsp = Platform(
        public_url="https://emsp.example.com/ocpi",
        parties=[Party("FR", "EMP", Role.EMSP, name="An eMSP")],
        handlers=[],
        on_exchange=emsp_journal,
        telemetry=watch,
        transport=network.transport,
    )
    network.join(cpo)
    network.join(emsp)
    async with cpo, emsp:
        token = await cpo.invite(BILATERAL, origins="https://emsp.example.com")
        partner = await emsp.register(BILATERAL, cpo.versions_url, token)
        with pytest.raises(UnknownLocation):
            await partner.call(v221.LocationsSender.get_location, v221.OwnLocationRef("LOC1"))
    asked, answered = emsp_journal.entries()[-1], cpo_journal.entries()[-1]
    for entry in (asked, answered):
        assert entry.exchanged.operation == "LocationsSender.get_location"
        assert entry.exchanged.error == "UnknownLocation"
        assert '"status_code":2003' in entry.response_body
    assert (asked.exchanged.direction, answered.exchanged.direction) == ("out", "in")
    assert asked.exchanged.request_id == answered.exchanged.request_id
    (record,) = [one for one in caplog.records if one.name == "host"]
    assert getattr(record, "request_id", "") == asked.exchanged.request_id
    assert getattr(record, "operation", "") == "LocationsSender.get_location"
    assert watch.seen[-1] == ("out", "LocationsSender.get_location", "UnknownLocation")
    assert {direction for direction, _, _ in watch.seen} == {"in", "out"}
    assert watch.open == 0
    assert current_exchange().request_id == ""
    shown = cpo_journal.export() + emsp_journal.export()
    assert token.reveal().encode() not in shown
    assert b"<hidden" in shown
