"""Messages that come twice, or too late: which of them reach their handler."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ocpi_gireve import Context, Link, PartyId, Patch, v211, v221
from ocpi_gireve._wire import encode_body
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.errors import (
    InvalidParameters,
    ServerError,
    StatusError,
    StoreError,
    UnknownLocation,
    UnknownObject,
)
from ocpi_gireve.idempotence import (
    REPEATED_WITHIN,
    Idempotence,
    Manner,
    MemoryReceipts,
    Message,
    NotApplied,
    Reason,
    Receipts,
    manner_of,
)
from ocpi_gireve.interface import operation_of
from ocpi_gireve.store import MemoryStore
from ocpi_gireve.store.records import Receipt
from ocpi_gireve.testing import sample
from ocpi_gireve.v211.dialect import DIALECT as V211
from tests.support import NOW, a_cdr, a_connector, a_location, a_session, a_token, an_evse

Method = Callable[..., Coroutine[Any, Any, Any]]
LATER, LATEST = NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)
EMP, CPO = PartyId("FR", "EMP"), PartyId("FR", "CPO")
LOC = v221.LocationRef("FR", "CPO", "LOC1")
E1 = v221.EvseRef("FR", "CPO", "LOC1", "E1")
SESSION = v221.SessionRef("FR", "CPO", "S1")
PUT_LOCATION, PATCH_LOCATION = v221.LocationsReceiver.put_location, v221.LocationsReceiver.patch_location
PUT_EVSE, PATCH_EVSE = v221.LocationsReceiver.put_evse, v221.LocationsReceiver.patch_evse
POST_CDR, START = v221.CdrsReceiver.post_cdr, v221.CommandsReceiver.start_session
ACCEPTED = v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=30)


class Desk:
    """Sends messages to a guard, and notes which of them reach the handler."""

    def __init__(self, receipts: Receipts | None = None, max_objects: int = 1000) -> None:
        self.reached: list[object] = []
        self.told: list[NotApplied] = []
        self.seconds = 0.0
        self.guard = Idempotence(
            receipts,
            on_not_applied=self.told.append,
            max_objects=max_objects,
            now=lambda: NOW + timedelta(seconds=self.seconds),
            clock=lambda: self.seconds,
        )

    async def send(
        self,
        method: Method,
        target: object,
        body: object = None,
        *,
        partner: str = "iop",
        receiver: PartyId | None = EMP,
        sender: PartyId | None = CPO,
        fails: Exception | None = None,
        answer: object = None,
        gate: asyncio.Event | None = None,
        raw: bytes = b"",
    ) -> object:
        """Send one message; the handler waits for `gate`, then raises `fails` or returns `answer`.

        It comes as the bytes `raw`, or as the library would write it.
        """
        ctx = Context(
            partner=partner,
            version="2.2.1",
            sender=sender,
            receiver=receiver,
            request_id="r1",
            correlation_id="c1",
        )

        async def act() -> object:
            self.reached.append(body)
            if gate is not None:
                await gate.wait()
            if fails is not None:
                raise fails
            return answer

        return await self.guard.once(Message(operation_of(method), ctx, target, body, raw), act)

    @property
    def reasons(self) -> list[Reason]:
        """Why messages did not reach it."""
        return [one.reason for one in self.told]


def status(value: v221.Status, when: datetime = LATER) -> Patch[v221.EVSE]:
    """A change of an EVSE's status."""
    return Patch(v221.EVSE, {"status": value, "last_updated": when})


def start(url: str = "https://emsp.example.com/r/1", location: str = "LOC1") -> v221.StartSession:
    """A command."""
    return v221.StartSession(response_url=url, token=a_token(), location_id=location)


async def settled() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


# --- objects -------------------------------------------------------------------------------------------

Dated = (
    v221.Location
    | v221.EVSE
    | v221.Connector
    | v221.Tariff
    | v221.Token
    | v221.Session
    | v221.ClientInfo
    | v211.Location
    | v211.EVSE
    | v211.Tariff
    | v211.Token
    | v211.Session
)
OBJECTS: dict[str, tuple[Method, object, Dated]] = {
    "2.2.1 location": (PUT_LOCATION, LOC, a_location()),
    "2.2.1 EVSE": (PUT_EVSE, E1, an_evse()),
    "2.2.1 connector": (
        v221.LocationsReceiver.put_connector,
        v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "1"),
        a_connector(),
    ),
    "2.2.1 tariff": (
        v221.TariffsReceiver.put_tariff,
        v221.TariffRef("FR", "CPO", "T1"),
        sample(v221.Tariff),
    ),
    "2.2.1 token": (v221.TokensReceiver.put_token, v221.TokenRef("FR", "EMP", "0102"), a_token()),
    "2.2.1 session": (v221.SessionsReceiver.put_session, SESSION, a_session()),
    "2.2.1 client": (
        v221.HubClientInfoReceiver.put_client_info,
        v221.ClientInfoRef("FR", "CPO"),
        sample(v221.ClientInfo),
    ),
    "2.1.1 location": (
        v211.LocationsEmsp.put_location,
        v211.LocationRef("FR", "CPO", "LOC1"),
        sample(v211.Location),
    ),
    "2.1.1 EVSE": (
        v211.LocationsEmsp.put_evse,
        v211.EvseRef("FR", "CPO", "LOC1", "E1"),
        sample(v211.EVSE),
    ),
    "2.1.1 tariff": (v211.TariffsEmsp.put_tariff, v211.TariffRef("FR", "CPO", "T1"), sample(v211.Tariff)),
    "2.1.1 token": (v211.TokensCpo.put_token, v211.TokenRef("FR", "EMP", "0102"), sample(v211.Token)),
    "2.1.1 session": (
        v211.SessionsEmsp.put_session,
        v211.SessionRef("FR", "CPO", "S1"),
        sample(v211.Session),
    ),
}


@pytest.mark.parametrize(("method", "ref", "one"), OBJECTS.values(), ids=OBJECTS)
async def test_put_again(method: Method, ref: object, one: Dated) -> None:
    """An object that is put again reaches the handler once; newer content does, and older does not."""
    desk = Desk()
    newer = evolve(one, last_updated=one.last_updated + timedelta(minutes=1))
    older = evolve(one, last_updated=one.last_updated - timedelta(minutes=1))
    for body in (one, one, newer, newer, older, one):
        assert await desk.send(method, ref, body) is None
    assert desk.reached == [one, newer]
    assert desk.reasons == [Reason.REPEATED, Reason.REPEATED, Reason.OLDER, Reason.OLDER]


async def test_same_moment() -> None:
    """Other content of the same moment is applied: dates may be whole seconds."""
    desk = Desk()
    for name in ("Gare", "Port", "Gare"):
        await desk.send(PUT_LOCATION, LOC, a_location(name=name))
    assert len(desk.reached) == 3


async def test_content_is_compared_not_its_spelling() -> None:
    """Numbers with other digits but equal value, and ids in another case, are the same content."""
    desk = Desk()
    for volume in ("12.5", "12.500", "1.25E+1"):
        session = a_session(kwh=Decimal(volume))
        await desk.send(v221.SessionsReceiver.put_session, v221.SessionRef("fr", "Cpo", "s1"), session)
    assert len(desk.reached) == 1


async def test_long_put_in_other_words() -> None:
    """A long PUT is known by its bytes: in other words it is applied once more, and then known so."""
    desk = Desk()
    location = a_location(name="x" * 200, address="x" * 45, directions=[sample(v221.DisplayText)] * 5)
    raw = encode_body(location)
    assert len(raw) > 512
    again = json.dumps(json.loads(raw), indent=1).encode()
    for text in (raw, raw, again, again):
        await desk.send(PUT_LOCATION, LOC, location, raw=text)
    assert desk.reasons == [Reason.REPEATED] * 2
    assert len(desk.reached) == 2


async def test_long_patch_in_other_words() -> None:
    """A PATCH may add charging periods: however long it is, and in any spelling, it is not applied twice."""
    desk = Desk()
    periods = [sample(v221.ChargingPeriod, seed=seed) for seed in range(8)]
    patch = Patch(v221.Session, {"charging_periods": periods, "last_updated": LATER})
    raw = encode_body(patch)
    assert len(raw) > 512
    again = json.dumps(json.loads(raw), indent=1, sort_keys=True).encode()
    for text in (raw, again):
        ref = v221.SessionRef("FR", "CPO", "S1")
        await desk.send(v221.SessionsReceiver.patch_session, ref, patch, raw=text)
    assert desk.reasons == [Reason.REPEATED]


async def test_what_is_told() -> None:
    """Who listens learns what was not applied, without personal data, and it is counted."""
    desk = Desk()
    for _ in range(3):
        await desk.send(v221.TokensReceiver.put_token, v221.TokenRef("FR", "EMP", "SECRET"), a_token())
    assert desk.told[0] == NotApplied(
        partner="iop",
        operation="TokensReceiver.put_token",
        subject="FR*EMP",
        reason=Reason.REPEATED,
        request_id="r1",
        correlation_id="c1",
    )
    assert desk.guard.counts == Counter({Reason.REPEATED: 2})


async def test_listener_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged by its kind alone, and the message is answered all the same."""

    def fail(_: NotApplied) -> None:
        raise OSError("CANARY")

    desk = Desk()
    desk.guard._on_not_applied = fail
    for _ in range(2):
        await desk.send(PUT_LOCATION, LOC, a_location())
    assert "on_not_applied failed with OSError" in caplog.text
    assert "CANARY" not in caplog.text


async def test_put_as_a_repair() -> None:
    """What is put again after ten minutes reaches the handler: its first copy may have been lost since."""
    desk = Desk()
    await desk.send(PUT_LOCATION, LOC, a_location())
    desk.seconds = REPEATED_WITHIN.total_seconds()
    await desk.send(PUT_LOCATION, LOC, a_location())
    assert len(desk.reached) == 1
    desk.seconds += 1
    await desk.send(PUT_LOCATION, LOC, a_location())
    assert len(desk.reached) == 2


async def test_patch_again() -> None:
    """A PATCH that comes again within ten minutes is applied once: charging periods would be added twice."""
    desk = Desk()
    period = sample(v221.ChargingPeriod)
    changes = Patch(v221.Session, {"charging_periods": [period], "last_updated": LATER})
    for seconds in (0, 600, 601):
        desk.seconds = seconds
        await desk.send(v221.SessionsReceiver.patch_session, SESSION, changes)
    assert len(desk.reached) == 2
    assert desk.reasons == [Reason.REPEATED]


async def test_patches_of_one_moment() -> None:
    """Each of several PATCHes of one moment is known again, whatever came in between."""
    desk = Desk()
    first, second = status(v221.Status.CHARGING), status(v221.Status.AVAILABLE)
    for changes in (first, second, first, second):
        await desk.send(PATCH_EVSE, E1, changes)
    assert desk.reached == [first, second]


async def test_patches_of_one_moment_are_bounded() -> None:
    """Ever more PATCHes of one moment are not all remembered."""
    desk = Desk()
    for number in range(1000):
        changes = Patch(v221.EVSE, {"physical_reference": str(number), "last_updated": NOW})
        await desk.send(PATCH_EVSE, E1, changes)
    assert len(desk.reached) == 1000
    (root,) = desk.guard._memory._roots
    assert all(len(one.patched) <= 100 for one in desk.guard._memory.line(root, ("e1",)))


async def test_patch_that_comes_too_late() -> None:
    """A PATCH older than what was applied changes nothing."""
    desk = Desk()
    await desk.send(PATCH_EVSE, E1, status(v221.Status.AVAILABLE, LATEST))
    await desk.send(PATCH_EVSE, E1, status(v221.Status.CHARGING, LATER))
    assert len(desk.reached) == 1
    assert desk.reasons == [Reason.OLDER]


async def test_patches_without_a_date() -> None:
    """2.1.1 asks for no date in a PATCH: only the last one can be a repetition, and back and forth is not."""
    desk = Desk()
    ref = v211.EvseRef("FR", "CPO", "LOC1", "E1")
    charging = Patch(v211.EVSE, {"status": v211.Status.CHARGING})
    available = Patch(v211.EVSE, {"status": v211.Status.AVAILABLE})
    for changes in (charging, charging, available, charging, charging):
        await desk.send(v211.LocationsEmsp.patch_evse, ref, changes)
    assert desk.reached == [charging, available, charging]


async def test_put_after_a_patch() -> None:
    """A PUT whose object was patched since is no repetition, and one that is older than the PATCH is late."""
    desk = Desk()
    location = a_location(last_updated=NOW)
    await desk.send(PUT_LOCATION, LOC, location)
    await desk.send(PATCH_LOCATION, LOC, Patch(v221.Location, {"name": "X", "last_updated": NOW}))
    await desk.send(PUT_LOCATION, LOC, location)
    assert len(desk.reached) == 3
    await desk.send(PATCH_LOCATION, LOC, Patch(v221.Location, {"name": "Y", "last_updated": LATER}))
    await desk.send(PUT_LOCATION, LOC, location)
    assert desk.reasons == [Reason.OLDER]


async def test_a_part_changes_its_whole() -> None:
    """After an EVSE was written, its location may be put again, and the other way round."""
    desk = Desk()
    connector = v221.ConnectorRef("FR", "CPO", "LOC1", "E1", "1")
    sent: list[tuple[Method, object, object]] = [
        (PUT_LOCATION, LOC, a_location()),
        (PUT_EVSE, E1, an_evse()),
        (PUT_LOCATION, LOC, a_location()),
        (PUT_EVSE, E1, an_evse()),
        (v221.LocationsReceiver.put_connector, connector, a_connector()),
        (PUT_EVSE, E1, an_evse()),
        (v221.LocationsReceiver.put_connector, connector, a_connector()),
        (PUT_LOCATION, LOC, a_location()),
        (v221.LocationsReceiver.put_connector, connector, a_connector()),
        (PATCH_EVSE, E1, status(v221.Status.CHARGING)),
        (PUT_LOCATION, LOC, a_location()),
        (PATCH_EVSE, E1, status(v221.Status.CHARGING)),
    ]
    for method, ref, body in sent:
        await desk.send(method, ref, body)
    assert desk.reached == [body for _, _, body in sent]


async def test_a_part_leaves_its_neighbours() -> None:
    """What was written of one EVSE says nothing of the next."""
    desk = Desk()
    e2 = v221.EvseRef("FR", "CPO", "LOC1", "E2")
    for ref in (E1, e2, E1, e2):
        await desk.send(PUT_EVSE, ref, an_evse())
    assert len(desk.reached) == 2


@pytest.mark.parametrize(
    ("method", "ref", "body", "changes"),
    [
        (PUT_LOCATION, LOC, a_location(), {"partner": "other"}),
        (PUT_LOCATION, LOC, a_location(), {"receiver": PartyId("FR", "EM2")}),
        (PUT_LOCATION, LOC, a_location(), {"target": v221.LocationRef("FR", "CPO", "LOC2")}),
        (PUT_LOCATION, LOC, a_location(), {"target": v221.LocationRef("FR", "XXX", "LOC1")}),
        (PUT_LOCATION, LOC, a_location(), {"target": v221.LocationRef("DE", "CPO", "LOC1")}),
        (
            v221.TokensReceiver.put_token,
            v221.TokenRef("FR", "EMP", "0102"),
            a_token(),
            {"target": v221.TokenRef("FR", "EMP", "0102", v221.TokenType.APP_USER)},
        ),
        (
            v221.TariffsReceiver.put_tariff,
            v221.TariffRef("FR", "CPO", "T1"),
            sample(v221.Tariff),
            {"body": evolve(sample(v221.Tariff), last_updated=NOW - timedelta(days=9000))},
        ),
    ],
    ids=["connection", "receiver", "id", "party", "country", "token type", "older tariff"],
)
async def test_what_makes_an_object(
    method: Method, ref: object, body: object, changes: dict[str, Any]
) -> None:
    """Connection, our party, owner, ids and a token's type make an object; a newer tariff hides an older."""
    desk = Desk()
    await desk.send(method, ref, body)
    changed = dict(changes)
    await desk.send(method, changed.pop("target", ref), changed.pop("body", body), **changed)
    assert len(desk.reached) == (1 if "body" in changes else 2)


async def test_tariff_for_one_operator() -> None:
    """A tariff that GIREVE aims at one operator is not the tariff of that id for another."""
    desk = Desk()
    ref = v221.TariffRef("FR", "CPO", "T1")
    tariff = sample(v221.Tariff)
    aimed = [
        evolve(tariff, target_operator_country_code="FR", target_operator_party_id=party, last_updated=when)
        for party, when in (("AAA", LATER), ("BBB", NOW), ("AAA", LATER), ("BBB", NOW))
    ]
    for one in aimed:
        await desk.send(v221.TariffsReceiver.put_tariff, ref, one)
    assert desk.reached == aimed[:2]


async def test_delete_forgets() -> None:
    """After a DELETE the same object may come again, even with an older date."""
    desk = Desk()
    ref, tariff = v221.TariffRef("FR", "CPO", "T1"), sample(v221.Tariff)
    older = evolve(tariff, last_updated=tariff.last_updated - timedelta(days=1))
    await desk.send(v221.TariffsReceiver.put_tariff, ref, tariff)
    await desk.send(v221.TariffsReceiver.delete_tariff, ref)
    await desk.send(v221.TariffsReceiver.put_tariff, ref, older)
    assert len(desk.reached) == 3
    assert len(desk.guard) == 1


@pytest.mark.parametrize("error", [ServerError(), OSError(), InvalidParameters(), UnknownObject()])
async def test_failure_is_not_remembered(error: Exception) -> None:
    """What a handler failed at is tried again, and what was there before is no longer certain."""
    desk = Desk()
    first, second = a_location(), a_location(name="Port")
    await desk.send(PUT_LOCATION, LOC, first)
    for _ in range(2):
        with pytest.raises(type(error)):
            await desk.send(PUT_LOCATION, LOC, second, fails=error)
    await desk.send(PUT_LOCATION, LOC, first)
    assert desk.reached == [first, second, second, first]
    assert desk.told == []


@pytest.mark.parametrize("error", [UnknownObject(), UnknownLocation()])
@pytest.mark.parametrize("method", [PATCH_LOCATION, v221.LocationsReceiver.get_location])
async def test_object_that_is_gone(method: Method, error: StatusError) -> None:
    """Where the handler does not know an object, nothing that was remembered keeps it from coming back."""
    desk = Desk()
    await desk.send(PUT_LOCATION, LOC, a_location(last_updated=LATER))
    changes = Patch(v221.Location, {"name": "X", "last_updated": LATER}) if method is PATCH_LOCATION else None
    with pytest.raises(type(error)):
        await desk.send(method, LOC, changes, fails=error)
    await desk.send(PUT_LOCATION, LOC, a_location(last_updated=NOW))
    assert len(desk.reached) == 3


async def test_memory_is_bounded() -> None:
    """No more than so many objects are remembered, parts counted: those that were written last."""
    desk = Desk(max_objects=10)
    for number in range(100):
        await desk.send(PUT_LOCATION, v221.LocationRef("FR", "CPO", f"L{number}"), a_location())
        for evse in range(3):
            await desk.send(PUT_EVSE, v221.EvseRef("FR", "CPO", f"L{number}", f"E{evse}"), an_evse())
        assert len(desk.guard) <= 10
    desk.reached.clear()
    await desk.send(PUT_EVSE, v221.EvseRef("FR", "CPO", "L99", "E2"), an_evse())
    assert desk.reached == []
    await desk.send(PUT_LOCATION, v221.LocationRef("FR", "CPO", "L0"), a_location())
    assert len(desk.reached) == 1


# --- at the same time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "body", "answer"),
    [
        (PUT_LOCATION, LOC, a_location(), None),
        (PATCH_EVSE, E1, status(v221.Status.CHARGING), None),
        (POST_CDR, None, a_cdr(), Link("CDR1")),
        (START, None, start(), ACCEPTED),
    ],
    ids=["PUT", "PATCH", "CDR", "command"],
)
async def test_duplicates_at_the_same_time(
    method: Method, target: object, body: object, answer: object
) -> None:
    """Of five equal messages at once one reaches the handler, and all are answered alike."""
    desk, gate = Desk(), asyncio.Event()
    sending = [
        asyncio.create_task(desk.send(method, target, body, answer=answer, gate=gate)) for _ in range(5)
    ]
    await settled()
    assert len(desk.reached) == 1
    assert not any(one.done() for one in sending)
    gate.set()
    assert await asyncio.gather(*sending) == [answer] * 5
    assert desk.reached == [body]


async def test_duplicate_of_what_fails() -> None:
    """If the first of two equal messages fails, the second reaches the handler."""
    desk, gate = Desk(), asyncio.Event()
    first = asyncio.create_task(desk.send(PUT_LOCATION, LOC, a_location(), gate=gate, fails=ServerError()))
    await settled()
    second = asyncio.create_task(desk.send(PUT_LOCATION, LOC, a_location()))
    await settled()
    gate.set()
    with pytest.raises(ServerError):
        await first
    assert await second is None
    assert len(desk.reached) == 2


async def test_turns_in_the_order_of_arrival() -> None:
    """Messages about one location are handled one after the other as they came; others do not wait."""
    desk, gate = Desk(), asyncio.Event()
    bodies = [status(v221.Status.CHARGING, NOW + timedelta(seconds=n)) for n in range(5)]
    sending = [asyncio.create_task(desk.send(PATCH_EVSE, E1, body, gate=gate)) for body in bodies]
    await settled()
    await desk.send(PUT_LOCATION, v221.LocationRef("FR", "CPO", "LOC2"), a_location())
    assert desk.reached == [bodies[0], a_location()]
    gate.set()
    await asyncio.gather(*sending)
    assert desk.reached[2:] == bodies[1:]


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_while_waiting(late: bool) -> None:
    """Who is cancelled while it waits, or as its turn comes, does not keep the others from theirs."""
    desk, gate = Desk(), asyncio.Event()
    bodies = [status(v221.Status.CHARGING, NOW + timedelta(seconds=n)) for n in range(3)]
    first, second, third = (
        asyncio.create_task(desk.send(PATCH_EVSE, E1, body, gate=gate)) for body in bodies
    )
    await settled()
    if late:
        gate.set()
        # After the step in which the first one hands its turn on, and before the second one takes it.
        asyncio.get_running_loop().call_soon(second.cancel)
    else:
        second.cancel()
        await settled()
        gate.set()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert second.cancelled()
    assert desk.reached == [bodies[0], bodies[2]]
    assert desk.guard._turns._held == {}


# --- CDRs and commands ---------------------------------------------------------------------------------


async def test_cdr_again(caplog: pytest.LogCaptureFixture) -> None:
    """A CDR that comes again gets the same place; one of its id with other content is 2001 and an alarm."""
    desk = Desk()
    for _ in range(2):
        assert await desk.send(POST_CDR, None, a_cdr(), answer=Link("place/1")) == Link("place/1")
    dearer = a_cdr(total_cost=v221.Price(excl_vat=Decimal("400.00")))
    with pytest.raises(InvalidParameters) as refused:
        await desk.send(POST_CDR, None, dearer, answer=Link("place/2"))
    assert refused.value.status_code == 2001
    assert [one.pointer for one in refused.value.problems] == ["/id"]
    assert desk.reached == [a_cdr()]
    assert desk.reasons == [Reason.REPEATED, Reason.CONFLICT]
    (alarm,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert alarm.getMessage() == (
        "iop: CdrsReceiver.post_cdr FR*CPO/CDR1 not applied: known, with other content (request r1)"
    )
    desk.seconds = 1e9
    assert await desk.send(POST_CDR, None, a_cdr(), answer=Link("place/3")) == Link("place/1")


async def test_cdr_of_another_party() -> None:
    """Two parties may have CDRs of one id; in 2.1.1, which does not say whose, the place tells them apart."""
    desk = Desk()
    await desk.send(POST_CDR, None, a_cdr(), answer=Link("1"))
    await desk.send(POST_CDR, None, a_cdr(party_id="XXX"), answer=Link("2"))
    one = sample(v211.CDR)
    other = evolve(one, location=evolve(one.location, id="ELSEWHERE"))
    for cdr in (one, other, one, other):
        await desk.send(v211.CdrsEmsp.post_cdr, None, cdr, answer=Link("3"))
    assert len(desk.reached) == 4
    dearer = evolve(one, total_cost=one.total_cost + 1)
    with pytest.raises(InvalidParameters):
        await desk.send(v211.CdrsEmsp.post_cdr, None, dearer)


async def test_cdr_after_a_restart() -> None:
    """What was answered to a CDR is in the store: a new process answers the same."""
    store = MemoryStore()
    await store.open()
    assert await Desk(store).send(POST_CDR, None, a_cdr(), answer=Link("é/1")) == Link("é/1")
    after = Desk(store)
    assert await after.send(POST_CDR, None, a_cdr()) == Link("é/1")
    assert after.reached == []
    await store.close()


async def test_cdr_that_failed() -> None:
    """A CDR that the handler could not keep is handled again."""
    desk = Desk()
    with pytest.raises(ServerError):
        await desk.send(POST_CDR, None, a_cdr(), fails=ServerError())
    assert await desk.send(POST_CDR, None, a_cdr(), answer=Link("1")) == Link("1")


COMMANDS: dict[str, tuple[Method, object, object, object]] = {
    "2.2.1": (START, None, start(), ACCEPTED),
    "2.1.1": (
        v211.CommandsCpo.stop_session,
        None,
        v211.StopSession(response_url="https://x.example/1", session_id="S1"),
        v211.CommandResponse(result=v211.CommandResponseType.REJECTED),
    ),
    "charging profile": (
        v221.ChargingProfilesReceiver.delete_charging_profile,
        v221.ClearProfileRef("S1", "https://x.example/1"),
        None,
        v221.ChargingProfileResponse(result=v221.ChargingProfileResponseType.ACCEPTED, timeout=5),
    ),
}


@pytest.mark.parametrize(("method", "target", "body", "answer"), COMMANDS.values(), ids=COMMANDS)
async def test_command_again(method: Method, target: object, body: object, answer: object) -> None:
    """A command that comes again is answered as before, and its charger is not addressed twice."""
    desk = Desk()
    for _ in range(3):
        assert await desk.send(method, target, body, answer=answer) == answer
    assert len(desk.reached) == 1
    assert desk.reasons == [Reason.REPEATED] * 2
    desk.seconds = REPEATED_WITHIN.total_seconds() + 1
    await desk.send(method, target, body, answer=answer)
    assert len(desk.reached) == 2


async def test_another_command() -> None:
    """Another URL, other content, another command, connection or sender make a new command."""
    desk = Desk()
    for command in (start(), start("https://emsp.example.com/R/1"), start(location="LOC2")):
        await desk.send(START, None, command, answer=ACCEPTED)
    await desk.send(START, None, start(location="LOC2"), answer=ACCEPTED, partner="other")
    await desk.send(START, None, start(location="LOC2"), answer=ACCEPTED, sender=EMP)
    stop = v221.StopSession(response_url=start().response_url, session_id="S1")
    await desk.send(v221.CommandsReceiver.stop_session, None, stop, answer=ACCEPTED)
    assert len(desk.reached) == 6


def test_message_does_not_show_its_body() -> None:
    """The bytes of a message stay out of what a log could show."""
    ctx = Context(partner="iop", version="2.2.1", request_id="r1", correlation_id="c1")
    assert "CANARY" not in repr(Message(operation_of(PUT_LOCATION), ctx, LOC, None, b"CANARY"))


async def test_receipts_that_end() -> None:
    """What was answered to a command is forgotten when it is of no more use; to a CDR, never."""
    store = MemoryStore()
    await store.open()
    desk = Desk(store)
    await desk.send(POST_CDR, None, a_cdr(), answer=Link("1"))
    for url in ("https://x.example/1", "https://x.example/2"):
        await desk.send(START, None, start(url), answer=ACCEPTED)
    assert len(store._receipts) == 3
    desk.seconds = REPEATED_WITHIN.total_seconds() + 1
    await desk.send(START, None, start("https://x.example/3"), answer=ACCEPTED)
    assert len(store._receipts) == 2
    assert await desk.send(POST_CDR, None, a_cdr()) == Link("1")
    await store.close()


async def test_command_that_failed() -> None:
    """A command whose handler failed is carried out when it comes again."""
    desk = Desk()
    with pytest.raises(UnknownLocation):
        await desk.send(START, None, start(), fails=UnknownLocation())
    assert await desk.send(START, None, start(), answer=ACCEPTED) == ACCEPTED


class Broken(MemoryReceipts):
    """Fails at what it was told to."""

    reads = writes = True

    async def receipt(self, connection: str, key: str) -> Receipt | None:
        if not self.reads:
            raise StoreError("CANARY")
        return await super().receipt(connection, key)

    async def save_receipt(self, connection: str, key: str, receipt: Receipt) -> None:
        if not self.writes:
            raise StoreError("the disk is full")
        await super().save_receipt(connection, key, receipt)


async def test_receipt_that_cannot_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Where the receipt cannot be kept the partner is answered all the same, and the log says it."""
    receipts = Broken()
    receipts.writes = False
    assert await Desk(receipts).send(POST_CDR, None, a_cdr(), answer=Link("1")) == Link("1")
    assert "a repetition will be acted on" in caplog.text


async def test_receipts_that_cannot_be_read() -> None:
    """Where it cannot be told whether a message came before, nothing is done: the partner sends it again."""
    receipts = Broken()
    receipts.reads = False
    desk = Desk(receipts)
    with pytest.raises(StoreError):
        await desk.send(START, None, start(), answer=ACCEPTED)
    assert desk.reached == []


async def test_receipts_say_nothing() -> None:
    """A receipt's key does not hold the URL that it was made of, which may be nobody's business."""
    receipts = MemoryReceipts()
    await Desk(receipts).send(START, None, start("https://x.example/?key=CANARY"), answer=ACCEPTED)
    assert "CANARY" not in repr(receipts._receipts)


async def test_memory_receipts_are_bounded() -> None:
    """Receipts in memory are as many as their limit: the newest."""
    receipts = MemoryReceipts(limit=3)
    for number in range(5):
        await receipts.save_receipt("iop", str(number), Receipt(digest=b"", answer=b"", at=NOW))
    found = [await receipts.receipt("iop", str(number)) is not None for number in range(5)]
    assert found == [False, False, True, True, True]


# --- which operations ----------------------------------------------------------------------------------


async def test_what_is_asked_each_time() -> None:
    """An authorization and the outcome of a command reach the handler every time."""
    desk = Desk()
    info = sample(v221.AuthorizationInfo)
    for _ in range(2):
        await desk.send(v221.TokensSender.authorize, v221.OwnTokenRef("0102"), None, answer=info)
        result = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
        await desk.send(v221.CommandsSender.post_result, Link("START_SESSION/1"), result)
    assert len(desk.reached) == 4


@pytest.mark.parametrize("dialect", [V211, v221.DIALECT], ids=["2.1.1", "2.2.1"])
def test_every_write_is_known_again(dialect: Dialect) -> None:
    """Each PUT, PATCH and DELETE of a partner's object, each CDR and each command has its way."""
    once = {"TokensSender.authorize", "TokensEmsp.authorize"}
    for operation in dialect.all_operations():
        manner = manner_of(operation)
        if operation.module in ("versions", "credentials") or operation.at_link or operation.id in once:
            assert manner is None, operation
        elif operation.module in ("commands", "chargingprofiles") and operation.answer is not None:
            assert manner is Manner.COMMANDED, operation
        elif operation.http_method == "POST":
            assert manner is Manner.POSTED, operation
        elif "party_id" in operation.path_fields:
            wanted = {
                "GET": Manner.READ,
                "PUT": Manner.REPLACED,
                "PATCH": Manner.CHANGED,
                "DELETE": Manner.REMOVED,
            }
            assert manner is wanted[operation.http_method], operation
        else:
            assert manner is None, operation


# --- streams -------------------------------------------------------------------------------------------

Sent = tuple[int, int]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=12, unique=True),
    st.data(),
)
async def test_any_order_and_any_repetition(stream: list[Sent], data: st.DataObject) -> None:
    """Duplicated and shuffled, a stream of PUTs ends with its newest, and handles each at most once."""
    sent = data.draw(st.lists(st.sampled_from(stream), max_size=40) if stream else st.just([]))
    sent = data.draw(st.permutations([*stream, *sent]))
    state: dict[int, int] = {}
    handled: list[Sent] = []

    desk = Desk()
    for number, version in sent:
        before = len(desk.reached)
        when = NOW + timedelta(seconds=version)
        ref = v221.LocationRef("FR", "CPO", f"L{number}")
        await desk.send(PUT_LOCATION, ref, a_location(id=f"L{number}", last_updated=when))
        if len(desk.reached) > before:
            state[number] = version
            handled.append((number, version))
    newest: dict[int, int] = {}
    for number, version in stream:
        newest[number] = max(version, newest.get(number, 0))
    assert state == newest
    assert len(handled) == len(set(handled))
