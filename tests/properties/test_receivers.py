"""Partners send again what got no answer, and sometimes late: what is kept in the end is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ocpi_gireve import Patch, v211, v221
from ocpi_gireve.receivers import (
    KeptCdrs,
    KeptClientInfos,
    KeptLocations,
    KeptSessions,
    KeptTariffs,
    KeptTokens,
)
from ocpi_gireve.receivers import v211 as old
from ocpi_gireve.store import Store
from ocpi_gireve.store.records import StoredObject
from tests.receivers.objects import (
    CTX,
    IOP,
    OLD,
    YieldingStore,
    a_client,
    a_period,
    a_tariff,
    old_cdr,
    old_location,
    old_session,
    old_tariff,
    old_token,
)
from tests.support import NOW, a_cdr, a_location, a_session, a_token, an_evse

Message: TypeAlias = Callable[[Store], Awaitable[object]]
"""Sends one message to the receivers over a store."""

KINDS = ("location", "tariff", "session", "cdr", "token", "clientinfo", "billed")
ENDED = v221.SessionStatus.COMPLETED
ENDED_OLD = v211.SessionStatus.COMPLETED


def at(minutes: float) -> datetime:
    """That long after NOW, finer than what is kept of a date."""
    return NOW + timedelta(minutes=minutes, microseconds=1234)


def end(number: int, count: int) -> bool:
    """Whether a session ends with its message of that number."""
    return number == count - 1


# --- streams of whole objects: of each kind, the states of one object in the order of their dates ------


def locations(id: str, count: int) -> list[Message]:
    """The states of a location."""
    ref = v221.LocationRef("FR", "CPO", id)

    def state(number: int) -> Message:
        one = a_location(id=id, name=f"Name {number}", last_updated=at(number))
        return lambda store: KeptLocations(store).put_location(CTX, ref, one)

    return [state(number) for number in range(count)]


def tariffs(id: str, count: int) -> list[Message]:
    """The states of a tariff, and of one with its id for another eMSP."""
    ref = v221.TariffRef("FR", "CPO", id)

    def state(number: int) -> Message:
        target = "AAA" if number % 2 else None
        aim = {
            "target_operator_country_code": target and "FR",
            "target_operator_party_id": target,
        }
        one = a_tariff(id=id, currency="EUR" if number % 3 else "CHF", last_updated=at(number), **aim)
        return lambda store: KeptTariffs(store).put_tariff(CTX, ref, one)

    return [state(number) for number in range(count)]


def sessions(id: str, count: int) -> list[Message]:
    """The states of a session, which ends, and its CDR."""
    ref = v221.SessionRef("FR", "CPO", id)

    def state(number: int) -> Message:
        changes: dict[str, object] = {"status": ENDED} if end(number, count) else {}
        one = a_session(id=id, kwh=Decimal(number), last_updated=at(number), **changes)
        return lambda store: KeptSessions(store).put_session(CTX, ref, one)

    bill = a_cdr(id=f"CDR of {id}", session_id=id, last_updated=at(0))
    return [*(state(number) for number in range(count)), lambda store: KeptCdrs(store).post_cdr(CTX, bill)]


def tokens(id: str, count: int) -> list[Message]:
    """The states of a token."""
    ref = v221.TokenRef("FR", "EMP", id)

    def state(number: int) -> Message:
        one = a_token(uid=id, valid=number % 2 == 0, last_updated=at(number))
        return lambda store: KeptTokens(store).put_token(CTX, ref, one)

    return [state(number) for number in range(count)]


def clients(id: str, count: int) -> list[Message]:
    """The states of a hub's client."""
    ref = v221.ClientInfoRef("FR", id)
    statuses = list(v221.ConnectionStatus)

    def state(number: int) -> Message:
        one = a_client(party_id=id, status=statuses[number % 4], last_updated=at(number))
        return lambda store: KeptClientInfos(store).put_client_info(CTX, ref, one)

    return [state(number) for number in range(count)]


def old_kinds(id: str, count: int) -> list[Message]:
    """The states of a location, a tariff, a session with its CDR, and a token, in 2.1.1."""
    place, price = v211.LocationRef("FR", "CPO", id), v211.TariffRef("FR", "CPO", id)
    charge, card = v211.SessionRef("FR", "CPO", id), v211.TokenRef("FR", "EMP", id)

    def states(number: int) -> list[Message]:
        moment, over = at(number), end(number, count)
        location = old_location(id=id, name=f"Name {number}", last_updated=moment)
        tariff = old_tariff(id=id, currency="EUR" if number % 3 else "CHF", last_updated=moment)
        status = ENDED_OLD if over else v211.SessionStatus.ACTIVE
        session = old_session(
            id=id, authorization_id=id, kwh=Decimal(number), status=status, last_updated=moment
        )
        token = old_token(uid=id, valid=number % 2 == 0, last_updated=moment)
        return [
            lambda store: old.KeptLocations(store).put_location(OLD, place, location),
            lambda store: old.KeptTariffs(store).put_tariff(OLD, price, tariff),
            lambda store: old.KeptSessions(store).put_session(OLD, charge, session),
            lambda store: old.KeptTokens(store).put_token(OLD, card, token),
        ]

    bill = old_cdr(id=f"CDR of {id}", authorization_id=id, last_updated=at(0))
    messages = [message for number in range(count) for message in states(number)]
    return [*messages, lambda store: old.KeptCdrs(store).post_cdr(OLD, bill)]


STREAMS = {
    "locations": locations,
    "tariffs": tariffs,
    "sessions and CDRs": sessions,
    "tokens": tokens,
    "clients of a hub": clients,
    "2.1.1": old_kinds,
}


# --- what is kept in the end ---------------------------------------------------------------------------


async def kept_in(store: Store) -> dict[tuple[str, str, str], StoredObject]:
    """Everything that is kept, by kind, owner and id."""
    found: dict[tuple[str, str, str], StoredObject] = {}
    for kind in KINDS:
        for one in await store.objects(IOP, kind, limit=1000):
            found[kind, one.scope.owner.key, one.id] = one
    return found


def after(messages: Sequence[Message], *, at_once: bool = False) -> dict[tuple[str, str, str], StoredObject]:
    """What is kept after messages that come one after the other, or all at once."""

    async def send(store: Store, message: Message) -> None:
        await message(store)

    async def run() -> dict[tuple[str, str, str], StoredObject]:
        store = YieldingStore()
        await store.open()
        if at_once:
            async with asyncio.TaskGroup() as tasks:
                for message in messages:
                    tasks.create_task(send(store, message))
        else:
            for message in messages:
                await message(store)
        return await kept_in(store)

    return asyncio.run(run())


@st.composite
def repeated(draw: st.DrawFn, stream: Sequence[Message]) -> list[Message]:
    """Every message of a stream at least once, in any order, some again."""
    again = draw(st.lists(st.sampled_from(stream), max_size=4))
    order: SearchStrategy[list[Message]] = st.permutations([*stream, *again])
    return draw(order)


@pytest.mark.parametrize("kind", STREAMS)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(1, 4), at_once=st.booleans())
def test_any_order(kind: str, data: st.DataObject, count: int, at_once: bool) -> None:
    """Whole objects, repeated and in any order, leave what the ordered stream leaves."""
    stream = [*STREAMS[kind]("AAA", count), *STREAMS[kind]("BBB", 2)]
    assert after(data.draw(repeated(stream)), at_once=at_once) == after(stream)


EVSES = [v221.EvseRef("FR", "CPO", "LOC1", f"E{number}") for number in range(3)]
CHARGE = v221.SessionRef("FR", "CPO", "S1")


def changes(number: int, evse: int) -> list[Message]:
    """A PATCH of an EVSE and one of a session, each dated later than those before."""
    moment = at(number / 60)
    status = Patch(
        v221.EVSE,
        {"status": list(v221.Status)[number % 4], "floor_level": str(number), "last_updated": moment},
    )
    energy = Patch(
        v221.Session,
        {
            "kwh": Decimal(number),
            "charging_periods": [a_period(str(number), moment)],
            "last_updated": moment,
        },
    )
    return [
        lambda store: KeptLocations(store).patch_evse(CTX, EVSES[evse], status),
        lambda store: KeptSessions(store).patch_session(CTX, CHARGE, energy),
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), evses=st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_repeated_changes(data: st.DataObject, evses: list[int]) -> None:
    """PATCHes in their order, each repeated at any time after, leave what they leave without repetition."""
    there = a_location(evses=[an_evse(uid=ref.evse_uid) for ref in EVSES])
    begun: list[Message] = [
        lambda store: KeptLocations(store).put_location(CTX, v221.LocationRef("FR", "CPO", "LOC1"), there),
        lambda store: KeptSessions(store).put_session(CTX, CHARGE, a_session()),
    ]
    ordered = [message for number, evse in enumerate(evses, 1) for message in changes(number, evse)]
    sent = list(begun)
    for message in ordered:
        sent.append(message)
        sent += data.draw(st.lists(st.sampled_from(sent[len(begun) :]), max_size=2))
    assert after(sent) == after([*begun, *ordered])
