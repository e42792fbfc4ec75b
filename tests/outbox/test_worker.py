from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpi_gireve.errors import NoAnswer, NotRegistered, NotSent, StoreError, UrlRefused
from ocpi_gireve.outbox import EventKind, LaneState, Outbox, OutboxEvent, Outcome, Rhythm
from ocpi_gireve.store import MemoryStore, SqliteStore
from ocpi_gireve.store.records import Upload
from ocpi_gireve.transport import HttpResponse
from ocpi_gireve.types import PartyId

from .doubles import CPO, MORNING, FailingStore, Partner, Reply, World, answer, new_upload, settle

OTHER = PartyId("FR", "OTH")
MINUTES = 60.0
SUSPENDED, RECOVERED, PARKED = EventKind.SUSPENDED, EventKind.RECOVERED, EventKind.PARKED


# --- order -----------------------------------------------------------------------------------------------


async def test_delivers_in_order() -> None:
    """What is taken in is delivered in that order, told once each, and then forgotten."""
    world = await World().started()
    await world.enqueue("1", "2", "3")
    await world.outbox.drained()
    assert world.partner.got == world.delivered() == ["1", "2", "3"]
    assert await world.outbox.status() == []
    await world.outbox.stop()


async def test_order_under_concurrent_producers() -> None:
    """With many producers at once, each lane leaves in the order of its numbers, one attempt at a time."""
    world = await World().started()
    numbers: dict[str, int] = {}

    async def produce(producer: int) -> None:
        for count in range(20):
            subject = f"{producer}.{count}"
            numbers[subject] = await world.outbox.enqueue(new_upload(subject, lane=f"lane{count % 3}"))

    await asyncio.gather(*(produce(producer) for producer in range(10)))
    await world.outbox.drained()
    for lane in range(3):
        got = [subject for subject in world.partner.got if int(subject.split(".")[1]) % 3 == lane]
        assert got == sorted(got, key=numbers.__getitem__)
        assert world.partner.most[f"gireve/lane{lane}"] == 1
    assert len(world.partner.got) == 200
    await world.outbox.stop()


async def test_lanes_in_flight() -> None:
    """At most eight lanes of one connection send at a time; another connection is not held up."""
    world = await World().started()
    world.partner.open.clear()
    for lane in range(20):
        await world.enqueue(f"1 of {lane}", f"2 of {lane}", lane=f"lane{lane}")
    await world.outbox.enqueue(new_upload("elsewhere", connection="bilateral"))
    await settle()
    assert (world.partner.most["gireve"], world.partner.most["bilateral"]) == (8, 1)
    world.partner.open.set()
    await world.outbox.drained()
    assert world.partner.most["gireve"] == 8
    assert len(world.partner.got) == 41
    await world.outbox.stop()


async def test_idle_lanes_have_no_task() -> None:
    """A lane with nothing to send costs no task, and comes back with the next upload."""
    world = await World().started()
    before = len(asyncio.all_tasks())
    for count in range(3):
        await world.enqueue(str(count))
        await world.outbox.drained()
        await settle()
        assert len(asyncio.all_tasks()) == before
    assert world.partner.got == ["0", "1", "2"]
    await world.outbox.stop()


async def test_enqueue_while_the_lane_ends() -> None:
    """An upload that arrives while its lane is finding nothing more is sent all the same."""
    world = await World().started()
    world.store.pace["head"] = 6
    for rounds in range(40):
        await world.enqueue(f"first {rounds}")
        for _ in range(rounds):
            await asyncio.sleep(0)
        await world.enqueue(f"second {rounds}")
        await settle()
        assert world.partner.got[-2:] == [f"first {rounds}", f"second {rounds}"]
    await world.outbox.stop()


async def test_backlog_is_not_loaded() -> None:
    """A lane reads its uploads one at a time, and each of them once."""
    world = World()
    await world.store.open()
    await world.enqueue(*(str(count) for count in range(50)))
    await world.outbox.start()
    await world.outbox.drained()
    assert Counter(world.store.calls)["head"] == 51
    await world.outbox.stop()


# --- what stays and what is parked -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        answer(http=503),
        answer(3000),
        answer(None),
        NoAnswer("nothing came"),
        NotSent("no connection"),
        ValueError(),
    ],
)
async def test_failure_keeps_the_head(failure: Reply) -> None:
    """What may pass later stays at the head of its lane: nothing overtakes it."""
    world = await World().started()
    world.partner.replies.extend([failure, failure])
    await world.enqueue("1", "2")
    await world.time.advance(0.9)
    assert world.partner.got == ["1"]
    await world.time.advance(0.1)
    assert world.partner.got == ["1", "1"]
    await world.time.advance(2.0)
    assert world.partner.got == ["1", "1", "1", "2"]
    assert world.delivered() == ["1", "2"]
    assert world.happened() == []
    await world.outbox.stop()


async def test_backoff_doubles_without_end() -> None:
    """Attempts go on for ever, after 1, 2, 4 and so on seconds, at last every five minutes."""
    world = await World().started()
    world.partner.reply_to = lambda _: answer(http=500)
    await world.enqueue("1")
    await world.time.advance(4000.0)
    moments = [moment for moment, _ in world.partner.attempts]
    delays = [later - earlier for earlier, later in pairwise(moments)]
    assert delays[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(delays[9:]) == {300}
    status = await world.lane()
    assert (status.state, status.reason) == (
        LaneState.BACKOFF,
        "the partner's server failed (HTTP 500, OCPI 1000)",
    )
    assert status.retry_in is not None
    assert 0 < status.retry_in <= 300
    assert status.age == 4000.0
    await world.outbox.stop()


async def test_backoff_starts_again() -> None:
    """After a delivery the next failure waits one second again."""
    world = await World().started()
    world.partner.replies.extend([answer(http=500)] * 5 + [answer(), answer(http=500)])
    await world.enqueue("1", "2")
    await world.time.advance(31.0)
    assert world.partner.got == ["1"] * 6 + ["2"]
    await world.time.advance(1.0)
    assert world.partner.got[-2:] == ["2", "2"]
    await world.outbox.stop()


async def test_retry_after_is_honoured() -> None:
    """No attempt is made earlier than the partner asked, though it asked for longer than our own delay."""
    world = await World().started()
    world.partner.replies.append(answer(http=429, Retry_After="90"))
    await world.enqueue("1")
    await world.time.advance(89.9)
    assert world.partner.got == ["1"]
    await world.time.advance(0.1)
    assert world.partner.got == ["1", "1"]
    await world.outbox.stop()


async def test_wait_after_an_interrupted_wait() -> None:
    """A wait that a registration ended early does not shorten the next one."""
    world = await World().started()
    world.partner.replies.extend([answer(http=500), answer(http=429, Retry_After="90")])
    await world.enqueue("1")
    await settle()
    world.outbox.resume("gireve")
    await world.time.advance(89.9)
    assert world.partner.got == ["1", "1"]
    await world.time.advance(0.1)
    assert world.delivered() == ["1"]
    await world.outbox.stop()


async def test_retry_after_is_capped() -> None:
    """A partner that asks for years is asked again after an hour."""
    world = await World().started()
    world.partner.replies.append(answer(http=503, Retry_After="1000000000"))
    await world.enqueue("1")
    await world.time.advance(3600.0)
    assert world.partner.got == ["1", "1"]
    await world.outbox.stop()


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (answer(2001), Outcome.REJECTED),
        (answer(http=422), Outcome.REJECTED),
        (answer(2003), Outcome.NOT_YET_KNOWN),
    ],
)
async def test_parked_does_not_block(reply: Reply, outcome: Outcome) -> None:
    """A refused upload is put aside with one event, and the next one leaves at once."""
    world = await World().started()
    world.partner.replies.append(reply)
    await world.enqueue("1", "2")
    await world.outbox.drained()
    assert world.partner.got == ["1", "2"]
    assert world.delivered() == ["2"]
    (event,) = [event for event in world.events if event.kind is PARKED]
    assert (event.outcome, event.response) == (outcome, reply)
    (parked,) = await world.outbox.parked("gireve")
    assert (parked.subject, parked.attempts, parked.reason) == ("1", 1, event.reason)
    status = await world.lane()
    assert (status.queued, status.parked, status.state) == (0, 1, LaneState.IDLE)
    await world.outbox.stop()


async def test_redrive() -> None:
    """A parked upload goes back to the end of its lane, and is delivered."""
    world = await World().started()
    world.partner.replies.append(answer(2001))
    await world.enqueue("1", "2")
    await world.outbox.drained()
    (parked,) = await world.outbox.parked("gireve")
    assert await world.outbox.redrive(parked.seq)
    assert not await world.outbox.redrive(parked.seq)
    await world.outbox.drained()
    assert world.partner.got == ["1", "2", "1"]
    assert await world.outbox.parked("gireve") == []
    await world.outbox.stop()


async def test_discard(caplog: pytest.LogCaptureFixture) -> None:
    """A parked upload is deleted with a reason that the log keeps; what is queued cannot be discarded."""
    world = await World().started()
    world.partner.replies.append(answer(2001))
    await world.enqueue("1")
    await world.outbox.drained()
    (parked,) = await world.outbox.parked("gireve")
    assert await world.outbox.discard(parked.seq, "sent by hand")
    assert not await world.outbox.discard(parked.seq, "again")
    assert [record.message for record in caplog.records][
        -1
    ] == f"upload {parked.seq} discarded: 'sent by hand'"
    assert await world.outbox.status() == []
    await world.outbox.stop()


async def test_delivered_event_has_the_answer() -> None:
    """The event of a delivered CDR holds the answer's headers: its `Location` is told nowhere else."""
    world = await World().started()
    world.partner.replies.append(answer(Location="https://hub.example.com/cdrs/1"))
    await world.enqueue("1")
    await world.outbox.drained()
    (event,) = world.events
    assert event.response is not None
    assert event.response.headers["location"] == "https://hub.example.com/cdrs/1"
    await world.outbox.stop()


# --- suspensions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (answer(None, http=401), Outcome.AUTH),
        (answer(None, http=302), Outcome.CONFIG),
        (UrlRefused("request", "no address may be called"), Outcome.CONFIG),
        (NotRegistered("no token"), Outcome.UNREGISTERED),
    ],
)
async def test_connection_is_suspended_and_probed(reply: Reply, outcome: Outcome) -> None:
    """A whole connection waits with one event; one lane probes every five minutes; success lifts it."""
    world = await World().started()
    world.partner.reply_to = lambda upload: reply if upload.connection == "gireve" else answer()
    await world.enqueue("1")
    await settle()
    await world.enqueue("2", lane="a")
    await world.enqueue("3", lane="b")
    await world.outbox.enqueue(new_upload("elsewhere", connection="bilateral"))
    await world.time.advance(5 * MINUTES - 0.1)
    assert world.partner.got == ["1", "elsewhere"]
    assert {(status.state, status.queued) for status in await world.outbox.status()} == {
        (LaneState.SUSPENDED, 1)
    }
    await world.time.advance(0.1)
    assert len(world.partner.got) == 3
    await world.time.advance(10 * MINUTES)
    assert len(world.partner.got) == 5
    world.partner.reply_to = lambda _: answer()
    await world.time.advance(5 * MINUTES)
    assert sorted(world.delivered()) == ["1", "2", "3", "elsewhere"]
    assert world.happened() == [SUSPENDED, RECOVERED]
    assert [event.outcome for event in world.events if event.kind is SUSPENDED] == [outcome]
    assert [event.party for event in world.events if event.kind is SUSPENDED] == [None]
    await world.outbox.stop()


async def test_resume() -> None:
    """After a registration every lane of the connection goes on at once, those in a backoff too."""
    world = await World().started()
    world.partner.replies.extend([answer(http=500), answer(http=401)])
    await world.enqueue("1", "2", lane="a")
    await settle()
    await world.enqueue("3", "4", lane="b")
    await settle()
    assert (world.partner.got, world.happened()) == (["1", "3"], [SUSPENDED])
    world.outbox.resume("gireve")
    world.outbox.resume("unknown")
    await settle()
    assert sorted(world.delivered()) == ["1", "2", "3", "4"]
    assert world.happened() == [SUSPENDED, RECOVERED]
    assert world.time.seconds == 1000.0
    await world.outbox.stop()


async def test_resume_begins_the_backoff_anew() -> None:
    """A lane that had waited ever longer waits a second again after a registration."""
    world = await World().started()
    world.partner.reply_to = lambda _: answer(http=500)
    await world.enqueue("1")
    await world.time.advance(300.0)
    world.outbox.resume("gireve")
    await settle()
    attempts = len(world.partner.got)
    await world.time.advance(1.0)
    assert len(world.partner.got) == attempts + 1
    await world.outbox.stop()


async def test_resume_asks_a_failing_store_once() -> None:
    """A lane that waits for the store is woken by a registration once, and then waits as before."""
    world = await World().started()
    world.store.failing["head"] = 1000
    await world.enqueue("1")
    await settle()
    world.outbox.resume("gireve")
    await settle()
    assert Counter(world.store.calls)["head"] == 2
    await world.outbox.stop()


async def test_probe_that_a_registration_overtook() -> None:
    """A probe that ends after the suspension was lifted wakes nobody: waits stay as long as they were."""
    world = await World().started()
    world.partner.replies.append(answer(http=401))
    await world.enqueue("1", lane="a")
    await settle()
    await world.enqueue("2", lane="b")
    await world.enqueue("3", lane="c")
    await settle()
    gates = {subject: asyncio.Event() for subject in "123"}
    world.partner.gate = gates.get
    await world.time.advance(5 * MINUTES)
    assert world.partner.got == ["1", "1"]
    world.outbox.resume("gireve")
    await settle()
    world.partner.reply_to = lambda _: answer(http=500)
    for subject in "231":
        gates[subject].set()
        await settle()
    await world.time.advance(0.9)
    assert Counter(world.partner.got) == {"1": 3, "2": 1, "3": 1}
    await world.outbox.stop()


async def test_late_refusal_of_old_credentials() -> None:
    """A 401 to an attempt of before the new registration suspends nothing; it is sent again at once."""
    world = await World().started()
    world.partner.open.clear()
    world.partner.replies.append(answer(http=401))
    await world.enqueue("1")
    await settle()
    world.outbox.resume("gireve")
    world.partner.open.set()
    await settle()
    assert (world.partner.got, world.happened()) == (["1", "1"], [])
    await world.outbox.stop()


async def test_attempts_under_way_do_not_lift() -> None:
    """A good answer to an attempt that began before the suspension does not end it."""
    world = await World().started()
    world.partner.open.clear()
    world.partner.replies.extend([answer(http=401), answer()])
    await world.enqueue("1", lane="a")
    await world.enqueue("2", "3", lane="b")
    await settle()
    world.partner.open.set()
    await settle()
    assert (world.partner.got, world.delivered()) == (["1", "2"], ["2"])
    assert world.happened() == [SUSPENDED]
    assert (await world.lane("b")).state is LaneState.SUSPENDED
    await world.outbox.stop()


async def test_probes_take_turns() -> None:
    """Lanes probe in turn: one whose own upload never passes cannot keep the connection suspended."""
    world = await World().started()
    world.partner.replies.append(answer(http=401))
    world.partner.reply_to = lambda upload: answer(http=500) if upload.subject == "poison" else answer()
    await world.enqueue("poison", lane="a")
    await settle()
    await world.enqueue("good", lane="b")
    await world.time.advance(10 * MINUTES)
    assert world.partner.got[:3] == ["poison", "poison", "good"]
    assert world.delivered() == ["good"]
    assert world.happened() == [SUSPENDED, RECOVERED]
    assert (await world.lane("a")).state is LaneState.BACKOFF
    await world.outbox.stop()


async def test_probe_that_proves_nothing() -> None:
    """A probe that ends in a 503 leaves the suspension as it is, and the next waits as long as asked."""
    world = await World().started()
    world.partner.replies.extend([answer(http=401), answer(http=503, Retry_After="600")])
    await world.enqueue("1")
    await world.time.advance(15 * MINUTES - 0.1)
    assert world.partner.got == ["1", "1"]
    await world.time.advance(0.1)
    assert world.delivered() == ["1"]
    assert world.happened() == [SUSPENDED, RECOVERED]
    await world.outbox.stop()


async def test_party_is_suspended_alone() -> None:
    """A refused party waits, with its lanes, and the others go on; a probe finds that it is welcome again."""
    world = await World().started()
    world.partner.reply_to = lambda upload: answer(http=403) if upload.sender == OTHER else answer()
    await world.enqueue("1", lane="fr*oth/charging", sender=OTHER)
    await settle()
    await world.enqueue("2", lane="fr*oth/locations", sender=OTHER)
    await world.enqueue("3", "4")
    await world.time.advance(1.0)
    assert world.partner.got == ["1", "3", "4"]
    (event,) = [event for event in world.events if event.kind is SUSPENDED]
    assert (event.party, event.outcome) == (OTHER, Outcome.PARTY)
    await world.time.advance(5 * MINUTES)
    assert world.partner.got[3:] == ["1"]
    world.partner.reply_to = lambda _: answer()
    await world.time.advance(5 * MINUTES)
    assert sorted(world.delivered()) == ["1", "2", "3", "4"]
    assert world.happened() == [SUSPENDED, RECOVERED]
    await world.outbox.stop()


async def test_probe_that_finds_a_refused_party() -> None:
    """A probe that ends in a 403 shows that our token is accepted: only that party goes on waiting."""
    world = await World().started()
    world.partner.replies.append(answer(http=401))
    world.partner.reply_to = lambda upload: answer(http=403) if upload.sender == OTHER else answer()
    await world.enqueue("1", lane="fr*oth/charging", sender=OTHER)
    await settle()
    await world.enqueue("2")
    await world.time.advance(5 * MINUTES)
    assert (world.partner.got, world.delivered()) == (["1", "1", "2"], ["2"])
    assert [(event.kind, event.party) for event in world.events if event.kind is not EventKind.DELIVERED] == [
        (SUSPENDED, None),
        (RECOVERED, None),
        (SUSPENDED, OTHER),
    ]
    await world.outbox.stop()


async def test_no_turn_after_a_suspension() -> None:
    """Lanes that were waiting for one of the eight turns when the connection was suspended send nothing."""
    world = await World().started()
    world.partner.open.clear()
    world.partner.reply_to = lambda _: answer(http=401)
    for lane in range(12):
        await world.enqueue(str(lane), lane=f"lane{lane}")
    await settle()
    world.partner.open.set()
    await settle()
    assert len(world.partner.got) == 8
    assert world.happened() == [SUSPENDED]
    await world.outbox.stop()


async def test_many_parties_are_the_connection() -> None:
    """When three parties are refused at once, the connection waits; it recovers party by party."""
    world = await World().started()
    world.partner.reply_to = lambda _: answer(4001)
    for name in ("AAA", "BBB", "CCC", "DDD"):
        await world.enqueue(name, lane=f"fr*{name}", sender=PartyId("FR", name))
        await settle()
    assert world.partner.got == ["AAA", "BBB", "CCC"]
    kinds = [(event.party, event.outcome) for event in world.events]
    assert kinds == [(PartyId("FR", name), Outcome.PARTY) for name in ("AAA", "BBB", "CCC")] + [
        (None, Outcome.CONFIG)
    ]
    await world.time.advance(5 * MINUTES)
    assert len(world.partner.got) == 4
    assert len(world.events) == 4
    world.partner.reply_to = lambda _: answer()
    await world.time.advance(5 * MINUTES)
    assert sorted(world.delivered()) == ["AAA", "BBB", "CCC", "DDD"]
    assert world.happened()[4:] == [RECOVERED] * 4
    await world.outbox.stop()


async def test_refused_parties_do_not_hold_up_a_welcome_one() -> None:
    """When a probe shows that another party is welcome, the refused ones suspend nobody but themselves."""
    world = await World().started()
    world.partner.reply_to = lambda upload: answer(http=403) if upload.subject[0] < "D" else answer()
    for name in ("AAA", "BBB", "CCC", "DDD"):
        await world.enqueue(name, lane=f"fr*{name}", sender=PartyId("FR", name))
        await settle()
    await world.time.advance(20 * MINUTES)
    assert world.delivered() == ["DDD"]
    attempts = len(world.partner.got)
    await world.enqueue("DDD 2", lane="fr*DDD", sender=PartyId("FR", "DDD"))
    await settle()
    assert world.delivered() == ["DDD", "DDD 2"]
    await world.time.advance(5 * MINUTES)
    assert len(world.partner.got) == attempts + 4
    assert world.happened() == [SUSPENDED] * 4 + [RECOVERED]
    await world.outbox.stop()


# --- start and stop --------------------------------------------------------------------------------------


async def test_restart_with_a_backlog() -> None:
    """What the store holds at the start is sent, in order, lane by lane, and what is parked is left alone."""
    world = World()
    await world.store.open()
    await world.enqueue("1", "2")
    await world.enqueue("3", lane="tariffs")
    await world.store.park_upload(await world.outbox.enqueue(new_upload("parked")), "refused")
    await settle()
    assert world.partner.got == []
    assert {status.state for status in await world.outbox.status()} == {LaneState.IDLE}
    restarted = world.new_outbox()
    await restarted.start()
    await restarted.start()
    await restarted.drained()
    assert [subject for subject in world.partner.got if subject != "3"] == ["1", "2"]
    assert sorted(world.delivered()) == ["1", "2", "3"]
    await restarted.stop()


async def test_stop_lets_attempts_end() -> None:
    """Stopping waits for the answer to the attempt under way, keeps it, and begins no other."""
    world = await World().started()
    world.partner.open.clear()
    await world.enqueue("1", "2")
    await settle()
    stopping = asyncio.create_task(world.outbox.stop(grace=5.0))
    await world.time.advance(4.0)
    assert not stopping.done()
    world.partner.open.set()
    await stopping
    assert (world.partner.got, world.delivered()) == (["1"], ["1"])
    assert (await world.lane()).queued == 1


async def test_stop_cancels_after_the_grace() -> None:
    """An attempt that outlasts the grace period is cancelled and counts as not delivered."""
    world = await World().started()
    world.partner.open.clear()
    await world.enqueue("1", "2")
    await settle()
    stopping = asyncio.create_task(world.outbox.stop(grace=5.0))
    await world.time.advance(5.0)
    await stopping
    assert (await world.lane()).queued == 2
    world.partner.open.set()
    await world.outbox.start()
    await world.outbox.drained()
    assert world.partner.got == ["1", "1", "2"]
    await world.outbox.stop()


async def test_stop_ends_every_wait() -> None:
    """Lanes that back off, are suspended, or wait for their turn do not hold up the end."""
    world = await World().started()
    world.partner.replies.extend([answer(http=500), answer(http=401)])
    for lane in range(12):
        await world.enqueue(str(lane), lane=f"lane{lane}")
    world.partner.open.set()
    await settle()
    await world.outbox.stop(grace=5.0)
    await world.outbox.stop()
    assert world.time.seconds == 1000.0


async def test_stop_after_a_failure() -> None:
    """An attempt that fails while the outbox stops is not waited for to be repeated."""
    world = await World().started()
    world.partner.open.clear()
    world.partner.reply_to = lambda _: answer(http=500)
    await world.enqueue("1")
    await settle()
    stopping = asyncio.create_task(world.outbox.stop(grace=5.0))
    await settle()
    world.partner.open.set()
    await settle()
    assert stopping.done()
    assert (await world.lane()).queued == 1


async def test_stop_before_anything_ran() -> None:
    """Stopping right after the start loses nothing."""
    world = await World().started()
    await world.enqueue("1")
    await world.outbox.stop(grace=0.0)
    assert (await world.lane()).queued == 1


async def test_start_and_stop_at_the_same_time() -> None:
    """A start that is asked for while the outbox stops comes after it: never two attempts in a lane."""
    world = await World().started()
    world.partner.open.clear()
    await world.enqueue("1", "2")
    await settle()
    stopping = asyncio.create_task(world.outbox.stop(grace=5.0))
    await asyncio.sleep(0)
    starting = asyncio.create_task(world.outbox.start())
    await settle()
    assert not starting.done()
    world.partner.open.set()
    await asyncio.gather(stopping, starting)
    await world.outbox.drained()
    assert world.partner.most["gireve/fr*cpo/charging"] == 1
    assert world.partner.got == ["1", "2"]
    await world.outbox.stop()


async def test_start_fails_loudly() -> None:
    """If the store cannot be read, the start fails, and can be tried again."""
    world = World()
    with pytest.raises(StoreError):
        await world.outbox.start()
    await world.store.open()
    await world.enqueue("1")
    await settle()
    assert world.partner.got == []
    await world.outbox.start()
    await world.outbox.drained()
    assert world.partner.got == ["1"]
    await world.outbox.stop()


# --- the store fails -------------------------------------------------------------------------------------


async def test_enqueue_is_durable_or_loud() -> None:
    """If the store cannot keep an upload, the caller learns it and nothing is sent."""
    world = await World().started()
    world.store.failing["add_upload"] = 1
    with pytest.raises(StoreError, match="the disk is full"):
        await world.enqueue("1")
    await world.enqueue("2")
    await world.outbox.drained()
    assert world.partner.got == ["2"]
    await world.outbox.stop()


async def test_cancelled_enqueue() -> None:
    """An upload whose producer was cancelled is kept and sent, or not kept: never kept and forgotten."""
    world = await World().started()
    world.store.pace["add_upload"] = 3
    producer = asyncio.create_task(world.enqueue("1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    producer.cancel()
    await settle()
    assert producer.cancelled()
    assert world.partner.got == ["1"]
    await world.outbox.stop()


async def test_stop_waits_for_the_store() -> None:
    """Stopping waits for what the store was asked to keep, so that the store can be closed then."""
    world = await World().started()
    world.store.pace["add_upload"] = 3
    producer = asyncio.create_task(world.enqueue("1"))
    await asyncio.sleep(0)
    await world.outbox.stop()
    assert producer.done() or not world.outbox._unfinished
    await producer
    assert world.partner.got == []
    assert (await world.lane()).queued == 1


@pytest.mark.parametrize("error", [StoreError("the disk is full"), ValueError("SECRET")])
async def test_store_fails_at_the_ack(error: Exception) -> None:
    """Until the acknowledgement is durable nothing else is sent in the lane, nor the same upload again."""
    world = await World().started()
    world.store.failing["finish_upload"] = 10
    world.store.error = error
    await world.enqueue("1", "2")
    await world.enqueue("3", lane="tariffs")
    await world.time.advance(6.9)
    assert world.partner.got == ["1", "3"]
    waiting = [status for status in await world.outbox.status() if status.state is LaneState.BACKOFF]
    assert {status.reason for status in waiting} == {"delivered, but the store could not note it"}
    await world.time.advance(60.0)
    await world.outbox.drained()
    assert sorted(world.partner.got) == ["1", "2", "3"]
    assert sorted(world.delivered()) == ["1", "2", "3"]
    await world.outbox.stop()


async def test_ack_blocks_the_lane(caplog: pytest.LogCaptureFixture) -> None:
    """While the store fails to note a delivery, the lane's next upload is not sent, however long it takes."""
    world = await World().started()
    world.store.failing["finish_upload"] = 1000
    await world.enqueue("1", "2")
    await world.time.advance(3600.0)
    assert world.partner.got == ["1"]
    assert Counter(world.store.calls)["finish_upload"] > 300
    assert len(caplog.records) == 1
    world.store.failing.clear()
    await world.time.advance(10.0)
    assert world.partner.got == ["1", "2"]
    await world.outbox.stop()


async def test_stop_while_the_ack_fails() -> None:
    """Stopping does not wait for a store that fails; the upload is sent again, once, after the restart."""
    world = await World().started()
    world.store.failing["finish_upload"] = 2
    await world.enqueue("1")
    await settle()
    await world.outbox.stop()
    assert world.time.seconds == 1000.0
    await world.outbox.start()
    await world.outbox.drained()
    assert world.partner.got == ["1", "1"]
    await world.outbox.stop()


async def test_store_fails_at_parking() -> None:
    """A refused upload that cannot be parked is not sent again, and the lane waits until it is parked."""
    world = await World().started()
    world.store.failing["park_upload"] = 2
    world.partner.replies.append(answer(2001))
    await world.enqueue("1", "2")
    await settle()
    assert (world.partner.got, world.happened()) == (["1"], [])
    await world.time.advance(3.0)
    assert (world.partner.got, world.happened()) == (["1", "2"], [PARKED])
    await world.outbox.stop()


async def test_store_fails_at_counting() -> None:
    """An attempt that cannot be counted is a hint lost: the lane backs off as ever."""
    world = await World().started()
    world.store.failing["note_attempt"] = 1
    world.partner.replies.append(answer(http=500))
    await world.enqueue("1")
    await world.time.advance(1.0)
    assert world.partner.got == ["1", "1"]
    await world.outbox.stop()


async def test_store_fails_at_reading() -> None:
    """A lane whose head cannot be read asks again until it can."""
    world = await World().started()
    world.store.failing["head"] = 4
    await world.enqueue("1")
    await world.time.advance(14.9)
    assert world.partner.got == []
    await world.time.advance(0.1)
    assert world.delivered() == ["1"]
    await world.outbox.stop()


# --- draining --------------------------------------------------------------------------------------------


async def test_drained_waits_for_the_ack() -> None:
    """Drained means acknowledged: while an attempt is under way the wait goes on."""
    world = await World().started()
    world.partner.open.clear()
    await world.enqueue("1")
    waiting = asyncio.create_task(world.outbox.drained())
    await settle()
    assert not waiting.done()
    world.partner.open.set()
    await waiting
    assert world.delivered() == ["1"]
    await world.outbox.stop()


async def test_drained_gives_up() -> None:
    """A wait with a timeout ends in an error that says how much is left."""
    world = await World().started()
    world.partner.reply_to = lambda _: answer(http=500)
    await world.enqueue("1", "2")
    waiting = asyncio.create_task(world.outbox.drained(timeout=30.0))
    await world.time.advance(30.0)
    with pytest.raises(TimeoutError, match="2 uploads"):
        await waiting
    await world.outbox.stop()


async def test_drained_one_connection() -> None:
    """One connection is drained although another one is not."""
    world = await World().started()
    world.partner.reply_to = lambda upload: answer(http=500) if upload.connection == "bilateral" else answer()
    await world.outbox.enqueue(new_upload("elsewhere", connection="bilateral"))
    await world.enqueue("1")
    await world.outbox.drained("gireve")
    await world.outbox.drained("nobody")
    assert world.delivered() == ["1"]
    await world.outbox.stop()


# --- mistakes, ours and the host's -----------------------------------------------------------------------


async def test_bug_in_deliver(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged with the upload's number and its place, without its text."""
    world = await World().started()
    world.partner.replies.append(KeyError("SECRET-UID"))
    await world.enqueue("SECRET-SUBJECT")
    await settle()
    bug = caplog.records[0]
    assert bug.levelno == logging.ERROR
    assert bug.message.startswith("gireve, fr*cpo/charging: upload 1 failed with KeyError at doubles.py:")
    assert (await world.lane()).reason == "an internal error: KeyError"
    await world.time.advance(1.0)
    assert world.delivered() == ["SECRET-SUBJECT"]
    await world.outbox.stop()


async def test_deliver_without_an_answer() -> None:
    """A `deliver` that returns something else than a response is a bug like any other."""
    world = await World().started()
    world.partner.replies.append(cast("HttpResponse", None))
    await world.enqueue("1")
    await world.time.advance(1.0)
    assert world.delivered() == ["1"]
    await world.outbox.stop()


async def test_foreign_cancellation() -> None:
    """An attempt that something else cancels is tried again: the lane's task does not die of it."""
    world = await World().started()
    world.partner.replies.append(asyncio.CancelledError())
    await world.enqueue("1")
    await world.time.advance(1.0)
    assert world.delivered() == ["1"]
    await world.outbox.stop()


async def test_bug_in_the_event_hook(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that fails is logged, without the text of its error, and changes nothing."""
    store, partner = MemoryStore(), Partner()

    def fail(event: OutboxEvent) -> None:
        raise ValueError(f"SECRET {event.kind}")

    await store.open()
    outbox = Outbox(store, partner.deliver, on_event=fail)
    await outbox.start()
    await outbox.enqueue(new_upload("1"))
    await outbox.drained()
    assert caplog.records[0].message.startswith("on_event failed with ValueError at test_worker.py:")
    assert "SECRET" not in caplog.text
    await outbox.stop()


async def test_silent_logs(caplog: pytest.LogCaptureFixture) -> None:
    """No log record and no repr of an event or status holds a body, a path, a subject or a partner's text."""
    caplog.set_level(logging.DEBUG)
    world = await World().started()
    world.partner.replies.extend(
        [
            answer(None, http=500),
            answer(2001),
            answer(http=401),
            answer(),
            KeyError("SECRET-UID"),
            answer(None),
        ]
    )
    await world.enqueue(*(f"SECRET-{count}" for count in range(4)))
    await world.time.advance(10 * MINUTES)
    assert set(world.happened()) == {PARKED, SUSPENDED, RECOVERED}
    seen = [repr(record.__dict__) for record in caplog.records] + [repr(event) for event in world.events]
    seen += [repr(status) for status in await world.outbox.status()]
    assert len(seen) > 10
    assert [text for text in seen if "SECRET" in text] == []
    assert {record.name for record in caplog.records} == {"ocpi_gireve.outbox"}
    await world.outbox.stop()


async def test_lanes_do_not_inherit_a_request() -> None:
    """A lane runs in the context of the start, not in that of whatever request filled it."""
    request = ContextVar("request", default="none")
    seen: list[str] = []
    store = MemoryStore()

    async def deliver(_: Upload) -> HttpResponse:
        seen.append(request.get())
        return answer()

    await store.open()
    outbox = Outbox(store, deliver)
    await outbox.start()
    request.set("a request of a driver")
    await outbox.enqueue(new_upload("1"))
    await outbox.drained()
    assert seen == ["none"]
    await outbox.stop()


# --- everything together ---------------------------------------------------------------------------------

REPLIES: dict[str, Reply] = {
    "ok": answer(),
    "refused": answer(2001),
    "down": answer(http=503),
    "html": answer(None),
    "lost": NoAnswer("nothing came"),
    "bug": KeyError("x"),
    "token": answer(http=401),
    "party": answer(http=403),
}
FAULTS = ("add_upload", "head", "note_attempt", "finish_upload", "park_upload")


@settings(max_examples=150, deadline=None)
@given(
    lanes=st.lists(st.integers(0, 2), min_size=1, max_size=15),
    replies=st.lists(st.sampled_from(sorted(REPLIES)), max_size=15),
    faults=st.dictionaries(st.sampled_from(FAULTS), st.integers(1, 3)),
    stops=st.sets(st.integers(0, 14), max_size=3),
)
def test_invariants(lanes: list[int], replies: list[str], faults: dict[str, int], stops: set[int]) -> None:
    """Whatever fails, every upload taken in is delivered or parked, in order, one at a time, told once.

    Sent again after a stop is what was not durable by then, and nothing else.
    """

    async def run() -> None:
        world = await World().started()
        world.partner.replies.extend(REPLIES[name] for name in replies)
        world.store.failing.update(faults)
        taken: dict[int, list[str]] = {0: [], 1: [], 2: []}
        for count, lane in enumerate(lanes):
            subject = f"{lane}.{count}"
            sender = PartyId("FR", f"AA{lane}")
            try:
                await world.outbox.enqueue(new_upload(subject, lane=f"lane{lane}", sender=sender))
                taken[lane].append(subject)
            except StoreError:
                assert faults.get("add_upload")
            await asyncio.sleep(0)
            if count in stops:
                await world.outbox.stop(grace=0.0)
                await world.outbox.start()
        await world.time.advance(4000.0)
        parked = [upload.subject for upload in await world.outbox.parked("gireve")]
        assert not any(status.queued for status in await world.outbox.status())
        for lane, subjects in taken.items():
            got = [subject for subject in world.partner.got if subject.startswith(f"{lane}.")]
            assert list(dict.fromkeys(got)) == subjects
            assert [one for one, before in zip(got, ["", *got], strict=False) if one != before] == subjects
            assert world.partner.most[f"gireve/lane{lane}"] <= 1
        everything = [subject for subjects in taken.values() for subject in subjects]
        assert sorted(set(world.delivered()) | set(parked)) == sorted(everything)
        if not stops:
            assert sorted(world.delivered() + parked) == sorted(everything)
        await world.outbox.stop()

    asyncio.run(run())


async def test_with_sqlite(tmp_path: Path) -> None:
    """With uploads in a file, a new process goes on where the last one was interrupted."""
    partner = Partner()
    partner.replies.extend([answer(), answer(2001), answer(http=500)])
    rhythm = Rhythm(first_delay=0.001)
    first = SqliteStore(tmp_path / "ocpi.db")
    await first.open()
    outbox = Outbox(first, partner.deliver, rhythm=rhythm)
    await outbox.start()
    partner.open.clear()
    for count in range(20):
        await outbox.enqueue(new_upload(str(count)))
    await outbox.stop(grace=0.0)
    await first.close()

    second = SqliteStore(tmp_path / "ocpi.db")
    await second.open()
    outbox = Outbox(second, partner.deliver, rhythm=rhythm)
    partner.open.set()
    await outbox.start()
    await outbox.drained()
    assert partner.got == ["0", "0", "1", "2", *(str(count) for count in range(2, 20))]
    assert [upload.subject for upload in await outbox.parked("gireve")] == ["1"]
    await outbox.stop()
    await second.close()


async def test_status_of_a_quiet_lane() -> None:
    """The status tells what a lane last came to, with the moment, also after it went quiet."""
    world = await World().started()
    world.partner.replies.append(answer(2001))
    await world.enqueue("1")
    await world.outbox.drained()
    status = await world.lane()
    assert (status.connection, status.lane, status.age, status.retry_in) == (
        "gireve",
        "fr*cpo/charging",
        None,
        None,
    )
    assert status.last is not None
    assert (status.last.outcome, status.last_at) == (Outcome.REJECTED, MORNING)
    await world.outbox.stop()


def test_doubles() -> None:
    """The failing store is a store, and the sender of the tests is the CPO of the lane."""
    assert issubclass(FailingStore, MemoryStore)
    assert new_upload("1").lane.startswith(CPO.key)
