"""What every store promises, tested on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from attrs import evolve, fields

from ocpi_gireve.errors import StoreError
from ocpi_gireve.store import MemoryStore, SqliteStore, Store
from ocpi_gireve.store.records import (
    ConnectionRecord,
    ConnectionState,
    InboundToken,
    LaneDepth,
    NewUpload,
    Receipt,
    Scope,
    StoredObject,
    TokenKind,
    Upload,
    UploadState,
    Watermark,
)
from ocpi_gireve.types import PartyId, Role, Secret
from tests.store.samples import (
    ABC,
    MORNING,
    XYZ,
    Clock,
    digest,
    new_connection,
    new_upload,
    receipt,
    registered,
    stored,
    token,
    watermark,
)

LANE = "FR*CPO/locations"
SECOND = timedelta(seconds=1)
PARIS = timezone(timedelta(hours=1))
NAIVE = MORNING.replace(tzinfo=None)
ZONE = "expected a moment with a time zone"
NOT_OPEN = r"^the store is not open$"


@pytest.fixture(params=["memory", "sqlite"])
def closed_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that nobody has opened."""
    if request.param == "memory":
        return MemoryStore(now=Clock())
    return SqliteStore(tmp_path / "ocpi.db", now=Clock())


@pytest.fixture
async def store(closed_store: Store) -> AsyncIterator[Store]:
    """An empty store, open."""
    await closed_store.open()
    yield closed_store
    await closed_store.close()


async def drain(store: Store, lane: str, connection: str = "gireve") -> list[Upload]:
    """Deliver everything in a lane; return it in the order in which it left."""
    left: list[Upload] = []
    while (upload := await store.head(connection, lane)) is not None:
        left.append(upload)
        await store.finish_upload(upload.seq)
    return left


class TestConnections:
    async def test_unknown(self, store: Store) -> None:
        """A connection that was never saved is None, and has no tokens."""
        assert await store.connection("gireve") is None
        assert await store.connections() == []
        assert await store.tokens("gireve") == []

    @pytest.mark.parametrize("record", [new_connection(), registered()], ids=["new", "registered"])
    async def test_round_trip(self, store: Store, record: ConnectionRecord) -> None:
        """A connection comes back with everything it was saved with, or without what it lacked."""
        await store.save_connection(record, [])
        assert await store.connection("gireve") == record

    async def test_spelling(self, store: Store) -> None:
        """Party ids come back in the spelling that the partner uses."""
        await store.save_connection(registered(), [])
        found = await store.connection("gireve")
        assert found is not None
        assert [str(role.party) for role in found.roles] == ["FR*107", "fr*Abc"]
        assert [role.role.is_known for role in found.roles] == [True, False]
        assert str(found.party) == "fr*Cpo"

    async def test_ours(self, store: Store) -> None:
        """Which party and role of ours a connection is for can be set, changed and taken away."""
        await store.save_connection(evolve(new_connection(), party=PartyId("FR", "EMP"), role=Role.EMSP), [])
        for party, role in ((PartyId("FR", "CPO"), Role.CPO), (PartyId("FR", "CPO"), None), (None, None)):
            await store.save_connection(evolve(new_connection(), party=party, role=role), [])
            found = await store.connection("gireve")
            assert found is not None
            assert (found.party, found.role) == (party, role)

    async def test_replace(self, store: Store) -> None:
        """Saving again replaces the whole record and keeps its place."""
        for name in ("one", "two", "three"):
            await store.save_connection(registered(name), [])
        unregistered = evolve(new_connection("one"), state=ConnectionState.UNREGISTERED)
        await store.save_connection(unregistered, [])
        assert await store.connections() == [unregistered, registered("two"), registered("three")]

    async def test_ids_keep_case(self, store: Store) -> None:
        """Our own names of connections are compared as they are written."""
        await store.save_connection(new_connection("gireve"), [])
        assert await store.connection("GIREVE") is None

    async def test_outbound_token(self, store: Store) -> None:
        """The token that we present comes back as a secret, and can be taken away."""
        await store.save_connection(registered(outbound_token="clé"), [])
        found = await store.connection("gireve")
        assert found is not None
        assert found.outbound_token == Secret("clé")
        await store.save_connection(evolve(registered(), outbound_token=None), [])
        found = await store.connection("gireve")
        assert found is not None
        assert found.outbound_token is None

    async def test_previous_token(self, store: Store) -> None:
        """The outbound token before comes back beside the present one."""
        for present, previous in (
            ("present", "before"),
            ("present\n", "before\n"),
            ("", ""),
            ("present", None),
        ):
            both = evolve(
                registered(outbound_token=present),
                previous_token=None if previous is None else Secret(previous),
            )
            await store.save_connection(both, [])
            assert await store.connection("gireve") == both


class TestTokens:
    async def test_round_trip(self, store: Store) -> None:
        """Tokens come back in their order, each with everything, and are found by their digest."""
        tokens = [
            token("c", used=True),
            token("b", kind=TokenKind.PREVIOUS, expires=MORNING),
            token("a", kind=TokenKind.A, expires=MORNING + timedelta(microseconds=1)),
        ]
        await store.save_connection(new_connection(), tokens)
        assert await store.tokens("gireve") == tokens
        assert [await store.find_token(digest(text)) for text in "cba"] == tokens

    async def test_not_found(self, store: Store) -> None:
        """A digest that nobody was given is None."""
        await store.save_connection(new_connection(), [token("a")])
        assert await store.find_token(digest("b")) is None
        assert await store.find_token(b"") is None

    async def test_expiry_in_another_zone(self, store: Store) -> None:
        """An expiry is kept as the instant that it names."""
        paris = datetime(2026, 3, 1, 9, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
        await store.save_connection(new_connection(), [token("a", expires=paris)])
        found = await store.find_token(digest("a"))
        assert found is not None
        assert found.expires == MORNING

    async def test_complete_list(self, store: Store) -> None:
        """The list given is the whole list: what is not in it opens nothing any more."""
        await store.save_connection(new_connection(), [token("a", kind=TokenKind.A), token("b")])
        await store.save_connection(new_connection(), [token("b", used=True), token("c")])
        assert await store.tokens("gireve") == [token("b", used=True), token("c")]
        assert await store.find_token(digest("a")) is None

    async def test_another_connections_token(self, store: Store) -> None:
        """A token of another connection is refused, and nothing is changed."""
        await store.save_connection(new_connection("one"), [token("a", connection="one")])
        await store.save_connection(new_connection("two"), [token("b", connection="two")])
        with pytest.raises(StoreError, match=r"^one of these tokens already belongs to another connection$"):
            await store.save_connection(
                registered("two"), [token("c", connection="two"), token("a", connection="two")]
            )
        assert await store.connection("two") == new_connection("two")
        assert await store.tokens("two") == [token("b", connection="two")]
        assert await store.tokens("one") == [token("a", connection="one")]
        assert await store.find_token(digest("c")) is None

    @pytest.mark.parametrize(
        ("tokens", "message"),
        [
            ([token("a", connection="other")], "tokens of the connection"),
            ([evolve(token("a"), digest=b"short")], "32 bytes"),
            ([token("a"), token("a")], "each token once"),
            ([token("a", expires=MORNING.replace(tzinfo=None))], "time zone"),
        ],
        ids=["connection", "digest", "twice", "zone"],
    )
    async def test_impossible(self, store: Store, tokens: list[InboundToken], message: str) -> None:
        """A list that no connection can have is the caller's mistake, and nothing is changed."""
        with pytest.raises(ValueError, match=message):
            await store.save_connection(new_connection(), tokens)
        assert await store.connections() == []


class TestLane:
    async def test_round_trip(self, store: Store) -> None:
        """An upload comes back as it was given, with its number and the moment it was accepted."""
        new = new_upload(receiver=PartyId("FR", "107"), body=bytes(range(256)) * 64)
        seq = await store.add_upload(new)
        head = await store.head("gireve", LANE)
        assert head is not None
        given = [attribute.name for attribute in fields(NewUpload)]
        assert [getattr(head, name) for name in given] == [getattr(new, name) for name in given]
        assert (head.seq, head.created, head.state, head.attempts, head.reason) == (
            seq,
            MORNING,
            UploadState.QUEUED,
            0,
            "",
        )
        assert (str(head.sender), str(head.receiver)) == ("fr*Cpo", "FR*107")

    async def test_utc(self, store: Store) -> None:
        """The moment of acceptance is in UTC."""
        await store.add_upload(new_upload())
        head = await store.head("gireve", LANE)
        assert head is not None
        assert head.created.tzinfo is UTC

    async def test_no_receiver(self, store: Store) -> None:
        """An upload without a receiver comes back without one."""
        await store.add_upload(new_upload())
        head = await store.head("gireve", LANE)
        assert head is not None
        assert head.receiver is None

    async def test_an_upload_as_a_new_one(self, store: Store) -> None:
        """What a store gave out may be added again: it becomes an upload of its own."""
        await store.add_upload(new_upload())
        head = await store.head("gireve", LANE)
        assert head is not None
        assert await store.add_upload(head) > head.seq

    async def test_first_in_first_out(self, store: Store) -> None:
        """Uploads leave in the order in which they were added, and their numbers grow."""
        seqs = [await store.add_upload(new_upload(f"{n}")) for n in range(5)]
        left = await drain(store, LANE)
        assert [upload.subject for upload in left] == ["0", "1", "2", "3", "4"]
        assert [upload.seq for upload in left] == seqs == sorted(set(seqs))
        assert await store.head("gireve", LANE) is None

    async def test_head_stays(self, store: Store) -> None:
        """Reading the head does not take it."""
        await store.add_upload(new_upload("1"))
        await store.add_upload(new_upload("2"))
        assert await store.head("gireve", LANE) == await store.head("gireve", LANE)

    async def test_lanes_are_apart(self, store: Store) -> None:
        """A lane holds what was added to it, under its connection, and nothing else."""
        await store.add_upload(new_upload("1", lane="a"))
        await store.add_upload(new_upload("2", lane="b"))
        await store.add_upload(new_upload("3", lane="a", connection="other"))
        assert [upload.subject for upload in await drain(store, "a")] == ["1"]
        assert [upload.subject for upload in await drain(store, "b")] == ["2"]
        assert [upload.subject for upload in await drain(store, "a", "other")] == ["3"]
        assert await store.head("gireve", "c") is None

    async def test_attempts(self, store: Store) -> None:
        """An attempt that did not deliver is counted, its reason kept, and the head stays."""
        seq = await store.add_upload(new_upload())
        await store.note_attempt(seq, "HTTP 503")
        await store.note_attempt(seq, "no answer")
        head = await store.head("gireve", LANE)
        assert head is not None
        assert (head.seq, head.attempts, head.reason) == (seq, 2, "no answer")

    async def test_number_is_not_used_twice(self, store: Store) -> None:
        """A number that was given out is never given out again, not even the last one."""
        first = await store.add_upload(new_upload())
        await store.finish_upload(first)
        second = await store.add_upload(new_upload())
        await store.park_upload(second, "refused")
        await store.discard_upload(second)
        assert first < second < await store.add_upload(new_upload())

    async def test_finish_from_the_middle(self, store: Store) -> None:
        """Finishing an upload that is not the head leaves the others in order."""
        seqs = [await store.add_upload(new_upload()) for _ in range(3)]
        await store.finish_upload(seqs[1])
        assert [upload.seq for upload in await drain(store, LANE)] == [seqs[0], seqs[2]]

    async def test_gone(self, store: Store) -> None:
        """Whatever is said of an upload that is gone changes nothing."""
        seq = await store.add_upload(new_upload())
        await store.finish_upload(seq)
        await store.finish_upload(seq)
        await store.note_attempt(seq, "late")
        await store.park_upload(seq, "late")
        assert not await store.redrive_upload(seq)
        assert not await store.discard_upload(seq)
        assert await store.parked("gireve") == []
        assert await store.lanes() == []

    async def test_unregistering_keeps(self, store: Store) -> None:
        """Uploads do not depend on what becomes of their connection."""
        await store.save_connection(registered(), [token("a")])
        await store.add_upload(new_upload())
        await store.save_connection(evolve(new_connection(), state=ConnectionState.UNREGISTERED), [])
        assert len(await drain(store, LANE)) == 1


class TestParked:
    async def test_out_of_the_lane(self, store: Store) -> None:
        """A parked upload lets the next one pass, and is kept with its reason and its attempts."""
        first = await store.add_upload(new_upload("1", body=b"kept"))
        await store.add_upload(new_upload("2"))
        await store.note_attempt(first, "HTTP 503")
        await store.park_upload(first, "2001 Invalid parameters")
        head = await store.head("gireve", LANE)
        assert head is not None
        assert head.subject == "2"
        (parked,) = await store.parked("gireve")
        assert (parked.seq, parked.state, parked.attempts) == (first, UploadState.PARKED, 1)
        assert (parked.reason, parked.body) == ("2001 Invalid parameters", b"kept")

    async def test_parked_again(self, store: Store) -> None:
        """Parking what is parked replaces the reason."""
        seq = await store.add_upload(new_upload())
        await store.park_upload(seq, "one")
        await store.park_upload(seq, "two")
        assert [(upload.seq, upload.reason) for upload in await store.parked("gireve")] == [(seq, "two")]

    async def test_oldest_first(self, store: Store) -> None:
        """Parked uploads of all lanes of a connection are listed by age, whenever they were parked."""
        seqs = [await store.add_upload(new_upload(lane=lane)) for lane in ("a", "b", "a")]
        other = await store.add_upload(new_upload(connection="other"))
        for seq in (seqs[2], other, seqs[0], seqs[1]):
            await store.park_upload(seq, "refused")
        assert [upload.seq for upload in await store.parked("gireve")] == seqs

    async def test_redrive(self, store: Store) -> None:
        """A re-driven upload is the last of its lane, under a new number, and keeps everything else."""
        first = await store.add_upload(new_upload("1", receiver=PartyId("FR", "107"), body=b"kept"))
        second = await store.add_upload(new_upload("2"))
        await store.note_attempt(first, "HTTP 503")
        await store.park_upload(first, "refused")
        (parked,) = await store.parked("gireve")
        assert await store.redrive_upload(first)
        left = await drain(store, LANE)
        assert [upload.subject for upload in left] == ["2", "1"]
        assert left[1].seq > second
        assert left[1] == evolve(parked, seq=left[1].seq, state=UploadState.QUEUED)
        assert str(left[1].sender) == "fr*Cpo"
        assert await store.parked("gireve") == []

    async def test_redrive_once(self, store: Store) -> None:
        """The old number of a re-driven upload names nothing any more."""
        seq = await store.add_upload(new_upload())
        await store.park_upload(seq, "refused")
        assert await store.redrive_upload(seq)
        assert not await store.redrive_upload(seq)
        await store.finish_upload(seq)
        assert len(await drain(store, LANE)) == 1

    async def test_discard(self, store: Store) -> None:
        """A discarded upload is gone."""
        seq = await store.add_upload(new_upload())
        await store.park_upload(seq, "refused")
        assert await store.discard_upload(seq)
        assert not await store.discard_upload(seq)
        assert await store.parked("gireve") == []
        assert await store.lanes() == []

    async def test_queued_is_not_parked(self, store: Store) -> None:
        """What is queued can be neither re-driven nor discarded."""
        seq = await store.add_upload(new_upload())
        assert not await store.redrive_upload(seq)
        assert not await store.discard_upload(seq)
        assert [upload.seq for upload in await drain(store, LANE)] == [seq]

    async def test_finished(self, store: Store) -> None:
        """An upload that was parked while its delivery was under way can still be finished."""
        seq = await store.add_upload(new_upload())
        await store.park_upload(seq, "refused")
        await store.finish_upload(seq)
        assert await store.parked("gireve") == []


class TestLanes:
    async def test_empty(self, store: Store) -> None:
        """A store without uploads has no lanes."""
        assert await store.lanes() == []

    async def test_depth(self, store: Store) -> None:
        """Each lane tells how much is queued and parked, and since when its head waits."""
        for subject, lane, connection in (
            ("1", "b", "gireve"),
            ("2", "b", "gireve"),
            ("3", "a", "other"),
            ("4", "a", "gireve"),
            ("5", "b", "gireve"),
        ):
            seq = await store.add_upload(new_upload(subject, lane=lane, connection=connection))
            if subject in "14":
                await store.park_upload(seq, "refused")
        second = MORNING + timedelta(seconds=1)
        third = MORNING + timedelta(seconds=2)
        assert await store.lanes() == [
            LaneDepth(connection="gireve", lane="a", queued=0, parked=1, oldest=None),
            LaneDepth(connection="gireve", lane="b", queued=2, parked=1, oldest=second),
            LaneDepth(connection="other", lane="a", queued=1, parked=0, oldest=third),
        ]

    async def test_every_way_out(self, store: Store) -> None:
        """The counts follow every change, and a lane that is empty again is not listed."""
        seqs = [await store.add_upload(new_upload()) for _ in range(4)]
        await store.park_upload(seqs[0], "refused")
        await store.park_upload(seqs[0], "refused")
        await store.park_upload(seqs[1], "refused")
        await store.note_attempt(seqs[2], "HTTP 503")
        assert [(lane.queued, lane.parked) for lane in await store.lanes()] == [(2, 2)]
        await store.redrive_upload(seqs[0])
        assert [(lane.queued, lane.parked) for lane in await store.lanes()] == [(3, 1)]
        await store.discard_upload(seqs[1])
        assert [(lane.queued, lane.parked) for lane in await store.lanes()] == [(3, 0)]
        await drain(store, LANE)
        assert await store.lanes() == []


async def ids(store: Store, connection: str = "gireve", kind: str = "location") -> list[str]:
    """The ids of all objects of a kind, in their order."""
    return [obj.id for obj in await store.objects(connection, kind)]


class TestObjects:
    @pytest.mark.parametrize(
        "obj",
        [
            stored(body=bytes(range(256)) * 64),
            stored(version="2.1.1", last_updated=None, body=b"", owner=PartyId("fr", "Abc")),
        ],
        ids=["all", "bare"],
    )
    async def test_round_trip(self, store: Store, obj: StoredObject) -> None:
        """An object comes back with everything it was kept with, or without what it lacked."""
        await store.put_object(obj)
        assert await store.object(obj.scope, "location", "LOC1") == obj
        assert await store.objects("gireve", "location") == [obj]

    async def test_unknown(self, store: Store) -> None:
        """What was never kept is None, is not listed, and cannot be removed."""
        scope = Scope("gireve", ABC)
        assert await store.object(scope, "location", "LOC1") is None
        assert not await store.remove_object(scope, "location", "LOC1")
        assert await store.objects("gireve", "location") == []
        assert await store.count_objects("gireve", "location") == 0

    async def test_case(self, store: Store) -> None:
        """Parties and ids that differ in ASCII case alone are the same; the last spelling is kept."""
        await store.put_object(stored("LOC1"))
        await store.put_object(stored("loc1", owner=PartyId("fr", "aBc"), body=b"new"))
        found = await store.object(Scope("gireve", PartyId("Fr", "abC")), "location", "Loc1")
        assert found is not None
        assert (found.id, str(found.scope.owner), found.body) == ("loc1", "fr*aBc", b"new")
        assert await store.count_objects("gireve", "location", PartyId("FR", "abc")) == 1

    async def test_other_letters(self, store: Store) -> None:
        """Ids that differ in the case of other letters are two."""
        for name in ("\u00c9", "\u00e9", "\u212a", "k"):
            await store.put_object(stored(name))
        assert await ids(store) == ["\u00c9", "\u00e9", "\u212a", "k"]

    async def test_scopes_are_apart(self, store: Store) -> None:
        """One id under two connections, two owners or two kinds names three other objects."""
        first = stored(body=b"1")
        others = [
            stored(connection="other", body=b"2"),
            stored(owner=XYZ, body=b"3"),
            stored(kind="tariff", body=b"4"),
        ]
        for obj in (first, *others):
            await store.put_object(obj)
        for obj in (first, *others):
            assert await store.object(obj.scope, obj.kind, obj.id) == obj
        assert await store.objects("gireve", "location") == [first, others[1]]
        assert await store.objects("gireve", "location", ABC) == [first]
        assert await store.objects("other", "location") == [others[0]]
        assert await store.objects("GIREVE", "location") == []
        assert await store.remove_object(first.scope, "location", "LOC1")
        assert [await store.object(obj.scope, obj.kind, obj.id) for obj in others] == others

    async def test_named(self, store: Store) -> None:
        """The objects of one id are found whoever owns them, the first one first; no other connection's."""
        for obj in (
            stored("b", owner=XYZ),
            stored("a"),
            stored("B", last_updated=None),
            stored("b", kind="tariff"),
            stored("b", connection="other"),
        ):
            await store.put_object(obj)
        await store.put_object(stored("b", owner=XYZ, body=b"new"))
        found = await store.objects_named("gireve", "location", "B")
        assert found == [stored("b", owner=XYZ, body=b"new"), stored("B", last_updated=None)]
        assert await store.objects_named("gireve", "location", "c") == []
        assert await store.objects_named("GIREVE", "location", "b") == []

    async def test_without_a_connection(self, store: Store) -> None:
        """Objects do not depend on what becomes of their connection."""
        await store.save_connection(registered(), [])
        await store.put_object(stored())
        await store.save_connection(evolve(new_connection(), state=ConnectionState.UNREGISTERED), [])
        assert await ids(store) == ["LOC1"]

    async def test_order(self, store: Store) -> None:
        """Objects are listed in the order in which they came, which a replacement does not change."""
        for name in ("b", "a", "c"):
            await store.put_object(stored(name, body=b"old"))
        await store.put_object(stored("B", body=b"a much longer body" * 1000, last_updated=None))
        assert await ids(store) == ["B", "a", "c"]
        (first, *_) = await store.objects("gireve", "location")
        assert first.body.startswith(b"a much longer")

    async def test_removed(self, store: Store) -> None:
        """A removed object is gone; when it comes again, it is the newest."""
        for name in ("a", "b", "c"):
            await store.put_object(stored(name))
        assert await store.remove_object(Scope("gireve", PartyId("fr", "abc")), "location", "A")
        assert await ids(store) == ["b", "c"]
        assert await store.count_objects("gireve", "location") == 2
        await store.put_object(stored("a"))
        assert await ids(store) == ["b", "c", "a"]
        assert await store.remove_object(Scope("gireve", ABC), "location", "a")
        await store.put_object(stored("d"))
        assert await ids(store) == ["b", "c", "d"]

    async def test_pages(self, store: Store) -> None:
        """Pages of any size put together are the whole list, and a page behind the end is empty."""
        for n in range(25):
            await store.put_object(stored(f"{n}", owner=ABC if n % 3 else XYZ))
        for owner in (None, ABC, XYZ):
            total = await store.count_objects("gireve", "location", owner)
            wanted = [f"{n}" for n in range(25) if owner is None or owner == (ABC if n % 3 else XYZ)]
            assert total == len(wanted)
            for limit in (1, 4, 25):
                found: list[str] = []
                for offset in range(0, total, limit):
                    page = await store.objects("gireve", "location", owner, offset=offset, limit=limit)
                    found += [obj.id for obj in page]
                assert found == wanted
            assert await store.objects("gireve", "location", owner, offset=total) == []
            assert await store.objects("gireve", "location", owner, limit=0) == []

    async def test_default_limit(self, store: Store) -> None:
        """Nobody gets more than a hundred objects without asking for them."""
        for n in range(101):
            await store.put_object(stored(f"{n}"))
        assert await ids(store) == [f"{n}" for n in range(100)]
        assert len(await store.objects("gireve", "location", limit=1000)) == 101

    async def test_changes(self, store: Store) -> None:
        """A window begins with its first moment and ends before its last, in any time zone."""
        for n in (3, 0, 2, 1):
            await store.put_object(stored(f"{n}", last_updated=MORNING + n * SECOND))
        await store.put_object(stored("other", owner=XYZ, last_updated=MORNING + SECOND))
        await store.put_object(stored("never", last_updated=None))

        async def found(start: int | None, end: int | None, owner: PartyId | None = None) -> list[str]:
            first = None if start is None else (MORNING + start * SECOND).astimezone(PARIS)
            last = None if end is None else (MORNING + end * SECOND).astimezone(PARIS)
            page = await store.objects("gireve", "location", owner, changed_from=first, changed_to=last)
            assert len(page) == await store.count_objects(
                "gireve", "location", owner, changed_from=first, changed_to=last
            )
            return [obj.id for obj in page]

        assert await found(None, None) == ["3", "0", "2", "1", "other", "never"]
        assert await found(1, None) == ["3", "2", "1", "other"]
        assert await found(None, 1) == ["0"]
        assert await found(1, 3) == ["2", "1", "other"]
        assert await found(1, 3, ABC) == ["2", "1"]
        assert await found(2, 1) == []
        later = await store.objects("gireve", "location", changed_from=MORNING + SECOND, offset=1, limit=2)
        assert [obj.id for obj in later] == ["2", "1"]

    async def test_sub_second_changes(self, store: Store) -> None:
        """Moments are compared to the microsecond, with and without a fraction."""
        whole = MORNING.replace(microsecond=0)
        for name, microsecond in (("0", 0), ("1", 1), ("2", 200_000), ("3", 999_999)):
            await store.put_object(stored(name, last_updated=whole.replace(microsecond=microsecond)))
        await store.put_object(stored("4", last_updated=whole + SECOND))

        async def since(microsecond: int) -> list[str]:
            moment = whole.replace(microsecond=microsecond)
            return [obj.id for obj in await store.objects("gireve", "location", changed_from=moment)]

        assert await since(0) == ["0", "1", "2", "3", "4"]
        assert await since(1) == ["1", "2", "3", "4"]
        assert await since(200_000) == ["2", "3", "4"]
        assert await since(200_001) == ["3", "4"]
        found = await store.object(Scope("gireve", ABC), "location", "1")
        assert found is not None
        assert found.last_updated == whole.replace(microsecond=1)

    async def test_moved_in_time(self, store: Store) -> None:
        """A replaced object is found by its new last_updated, and no more by the old one."""
        await store.put_object(stored("1"))
        await store.put_object(stored("1", last_updated=MORNING + SECOND))
        assert await store.count_objects("gireve", "location", changed_to=MORNING + SECOND) == 0
        assert await store.count_objects("gireve", "location", changed_from=MORNING + SECOND) == 1

    async def test_impossible(self, store: Store) -> None:
        """A moment without a zone and a negative number are the caller's mistake, and change nothing."""
        with pytest.raises(ValueError, match=ZONE):
            await store.put_object(stored(last_updated=NAIVE))
        with pytest.raises(ValueError, match=ZONE):
            await store.objects("gireve", "location", changed_from=NAIVE)
        with pytest.raises(ValueError, match=ZONE):
            await store.count_objects("gireve", "location", changed_to=NAIVE)
        with pytest.raises(ValueError, match="not negative"):
            await store.objects("gireve", "location", offset=-1)
        with pytest.raises(ValueError, match="not negative"):
            await store.objects("gireve", "location", limit=-1)
        assert await store.objects("gireve", "location") == []

    async def test_repr(self, store: Store) -> None:
        """Neither the body of an object nor its id, which may be a token's, is in its repr."""
        await store.put_object(stored("04A1B2C3D4E5F6", kind="token", body=b"planted"))
        (found,) = await store.objects("gireve", "token")
        assert "04A1B2C3D4E5F6" not in repr(found)
        assert "planted" not in repr(found)


class TestWatermarks:
    async def test_round_trip(self, store: Store) -> None:
        """A watermark comes back as it was saved, and the next one replaces it."""
        assert await store.watermark("gireve", "locations") is None
        half_way = watermark(since=None, unfinished=b"page 3")
        for mark in (half_way, watermark(since=MORNING + SECOND, full=MORNING), half_way, watermark()):
            await store.save_watermark("gireve", "locations", mark)
            assert await store.watermark("gireve", "locations") == mark

    async def test_apart(self, store: Store) -> None:
        """Each stream of each connection has its own."""
        marks = {
            (connection, stream): watermark(since=MORNING + n * SECOND)
            for n, (connection, stream) in enumerate([("a", "x"), ("a", "y"), ("b", "x")])
        }
        for place, mark in marks.items():
            await store.save_watermark(*place, mark)
        assert {place: await store.watermark(*place) for place in marks} == marks
        assert await store.watermark("A", "x") is None
        assert await store.watermark("a", "X") is None

    @pytest.mark.parametrize("mark", [watermark(since=NAIVE), watermark(full=NAIVE)], ids=["since", "full"])
    async def test_impossible(self, store: Store, mark: Watermark) -> None:
        """A moment without a time zone is the caller's mistake, and nothing is saved."""
        with pytest.raises(ValueError, match=ZONE):
            await store.save_watermark("gireve", "locations", mark)
        assert await store.watermark("gireve", "locations") is None


class TestReceipts:
    async def test_round_trip(self, store: Store) -> None:
        """A receipt comes back as it was saved, and the next one for the message replaces it."""
        assert await store.receipt("gireve", "START 1") is None
        for one in (
            receipt(),
            receipt("rejected", at=MORNING + SECOND, until=MORNING + 9 * SECOND),
            receipt(""),
        ):
            await store.save_receipt("gireve", "START 1", one)
            assert await store.receipt("gireve", "START 1") == one

    async def test_apart(self, store: Store) -> None:
        """Another connection's message of the same key is another message, and so is another spelling."""
        await store.save_receipt("a", "key", receipt("1"))
        await store.save_receipt("b", "key", receipt("2"))
        assert await store.receipt("a", "key") == receipt("1")
        assert await store.receipt("b", "key") == receipt("2")
        assert await store.receipt("a", "KEY") is None

    async def test_end(self, store: Store) -> None:
        """A receipt that has ended is forgotten with the next answer to anybody; one without end never is."""
        for n in range(4):
            until = (MORNING + n * SECOND).astimezone(PARIS) if n else None
            await store.save_receipt(f"connection {n % 2}", f"{n}", receipt(until=until))
        await store.save_receipt("another", "key", receipt(at=MORNING + 2 * SECOND))
        left = [await store.receipt(f"connection {n % 2}", f"{n}") for n in range(4)]
        assert [one is None for one in left] == [False, True, False, False]

    @pytest.mark.parametrize("end", [2 * SECOND, None], ids=["later", "never"])
    async def test_answered_again(self, store: Store, end: timedelta | None) -> None:
        """A message that was answered again ends with its last answer."""
        await store.save_receipt("gireve", "key", receipt(until=MORNING + SECOND))
        again = receipt(at=MORNING + SECOND, until=None if end is None else MORNING + end)
        await store.save_receipt("gireve", "key", again)
        await store.save_receipt("gireve", "other", receipt(at=MORNING + 2 * SECOND))
        assert await store.receipt("gireve", "key") == again
        await store.save_receipt("gireve", "key", receipt(until=MORNING + SECOND))
        await store.save_receipt("gireve", "other", receipt(at=MORNING + 2 * SECOND))
        assert await store.receipt("gireve", "key") is None

    async def test_impossible(self, store: Store) -> None:
        """A moment without a time zone is the caller's mistake, and nothing is changed."""
        await store.save_receipt("gireve", "key", receipt())
        with pytest.raises(ValueError, match=ZONE):
            await store.save_receipt("gireve", "key", receipt("rejected", at=NAIVE))
        with pytest.raises(ValueError, match=ZONE):
            await store.save_receipt("gireve", "key", receipt("rejected", until=NAIVE))
        assert await store.receipt("gireve", "key") == receipt()

    async def test_repr(self) -> None:
        """What was answered is in no repr."""
        assert "planted" not in repr(Receipt(digest=b"planted", answer=b"planted", at=MORNING))


class TestTogether:
    async def test_fifo_under_concurrency(self, store: Store) -> None:
        """Fifty producers at once: each lane keeps the order of its producers, and no number comes twice."""

        async def produce(producer: int) -> list[int]:
            lane = f"lane {producer % 5}"
            return [await store.add_upload(new_upload(f"{producer} {n}", lane=lane)) for n in range(10)]

        seqs = await asyncio.gather(*(produce(producer) for producer in range(50)))
        assert len({seq for row in seqs for seq in row}) == 500
        for number in range(5):
            left = await drain(store, f"lane {number}")
            assert [upload.seq for upload in left] == sorted(upload.seq for upload in left)
            for producer in range(number, 50, 5):
                own = [upload for upload in left if upload.subject.split()[0] == f"{producer}"]
                assert [upload.subject for upload in own] == [f"{producer} {n}" for n in range(10)]
                assert [upload.seq for upload in own] == seqs[producer]

    async def test_order_of_calls(self, store: Store) -> None:
        """Calls of one task that are not awaited one by one still take effect in their order."""
        calls = [asyncio.ensure_future(store.add_upload(new_upload(f"{n}"))) for n in range(100)]
        seqs = await asyncio.gather(*calls)
        assert seqs == sorted(seqs)
        assert [upload.subject for upload in await drain(store, LANE)] == [f"{n}" for n in range(100)]

    async def test_one_failure_among_many(self, store: Store) -> None:
        """An operation that fails fails alone, whatever it was committed with."""
        await store.save_connection(new_connection("one"), [token("a", connection="one")])
        calls: list[Awaitable[object]] = [store.add_upload(new_upload(f"{n}")) for n in range(20)]
        calls.insert(10, store.save_connection(new_connection("two"), [token("a", connection="two")]))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [10]
        assert isinstance(results[10], StoreError)
        assert [upload.subject for upload in await drain(store, LANE)] == [f"{n}" for n in range(20)]

    async def test_objects_together(self, store: Store) -> None:
        """Fifty producers at once: each object is kept once, with the last body that its producer gave it."""

        async def produce(producer: int) -> None:
            for n in range(10):
                obj = stored(f"{n % 4}", owner=PartyId("FR", f"P{producer:02}"), body=f"{n}".encode())
                await store.put_object(obj)

        await asyncio.gather(*(produce(producer) for producer in range(50)))
        found = await store.objects("gireve", "location", limit=1000)
        assert len(found) == 200
        assert {(obj.id, obj.body) for obj in found} == {("0", b"8"), ("1", b"9"), ("2", b"6"), ("3", b"7")}

    async def test_cancelled(self, store: Store) -> None:
        """A cancelled caller leaves its upload stored once or not at all, and the store at work."""
        tasks = [asyncio.create_task(store.add_upload(new_upload(f"{n}"))) for n in range(60)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        acknowledged = {result: f"{n}" for n, result in enumerate(results) if isinstance(result, int)}
        last = await store.add_upload(new_upload("last"))
        (depth,) = await store.lanes()
        left = await drain(store, LANE)
        assert depth.queued == len(left)
        subjects = [upload.subject for upload in left]
        assert len(subjects) == len(set(subjects))
        found = {upload.seq: upload.subject for upload in left}
        assert acknowledged.items() <= found.items()
        assert len(acknowledged) >= 40
        assert left[-1].seq == last


async def any_call(store: Store, name: str) -> object:
    """Call a method of a store with arguments that it accepts."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "save_connection": lambda: store.save_connection(new_connection(), []),
        "connection": lambda: store.connection("gireve"),
        "connections": store.connections,
        "tokens": lambda: store.tokens("gireve"),
        "find_token": lambda: store.find_token(digest("a")),
        "add_upload": lambda: store.add_upload(new_upload()),
        "head": lambda: store.head("gireve", LANE),
        "note_attempt": lambda: store.note_attempt(1, "no answer"),
        "finish_upload": lambda: store.finish_upload(1),
        "park_upload": lambda: store.park_upload(1, "refused"),
        "redrive_upload": lambda: store.redrive_upload(1),
        "discard_upload": lambda: store.discard_upload(1),
        "parked": lambda: store.parked("gireve"),
        "lanes": store.lanes,
        "put_object": lambda: store.put_object(stored()),
        "object": lambda: store.object(Scope("gireve", ABC), "location", "LOC1"),
        "objects_named": lambda: store.objects_named("gireve", "location", "LOC1"),
        "remove_object": lambda: store.remove_object(Scope("gireve", ABC), "location", "LOC1"),
        "objects": lambda: store.objects("gireve", "location"),
        "count_objects": lambda: store.count_objects("gireve", "location"),
        "watermark": lambda: store.watermark("gireve", "locations"),
        "save_watermark": lambda: store.save_watermark("gireve", "locations", watermark()),
        "receipt": lambda: store.receipt("gireve", "key"),
        "save_receipt": lambda: store.save_receipt("gireve", "key", receipt()),
    }
    return await calls[name]()


# Taken from the contract: a method that joins it is tested, or fails here.
METHODS = sorted({name for name in vars(Store) if not name.startswith("_")} - {"open", "close"})


class TestLife:
    @pytest.mark.parametrize("name", METHODS)
    async def test_not_open(self, closed_store: Store, name: str) -> None:
        """Before it is opened, and after it was closed, a store refuses every call."""
        with pytest.raises(StoreError, match=NOT_OPEN):
            await any_call(closed_store, name)
        await closed_store.open()
        await any_call(closed_store, name)
        await closed_store.close()
        with pytest.raises(StoreError, match=NOT_OPEN):
            await any_call(closed_store, name)

    async def test_open_twice(self, store: Store) -> None:
        """Opening an open store does nothing."""
        await store.add_upload(new_upload())
        await store.open()
        assert len(await drain(store, LANE)) == 1

    async def test_open_together(self, closed_store: Store) -> None:
        """Several tasks may open and close one store at once."""
        await asyncio.gather(*(closed_store.open() for _ in range(5)))
        await closed_store.add_upload(new_upload())
        await asyncio.gather(*(closed_store.close() for _ in range(5)))

    async def test_close_twice(self, closed_store: Store) -> None:
        """Closing a closed store does nothing, and neither does closing one that was never open."""
        await closed_store.close()
        await closed_store.open()
        await closed_store.close()
        await closed_store.close()

    async def test_open_again(self, closed_store: Store) -> None:
        """The same store, opened again, holds what it held."""
        await closed_store.open()
        await closed_store.save_connection(registered(), [token("a")])
        seq = await closed_store.add_upload(new_upload())
        await closed_store.put_object(stored())
        await closed_store.save_watermark("gireve", "locations", watermark(full=MORNING))
        await closed_store.save_receipt("gireve", "key", receipt())
        await closed_store.close()
        await closed_store.open()
        assert await closed_store.connection("gireve") == registered()
        assert await closed_store.tokens("gireve") == [token("a")]
        assert [upload.seq for upload in await drain(closed_store, LANE)] == [seq]
        assert await closed_store.add_upload(new_upload()) > seq
        assert await closed_store.objects("gireve", "location") == [stored()]
        assert await closed_store.watermark("gireve", "locations") == watermark(full=MORNING)
        assert await closed_store.receipt("gireve", "key") == receipt()
        await closed_store.close()

    async def test_close_drains(self, closed_store: Store) -> None:
        """What was accepted before the closing is kept and acknowledged."""
        await closed_store.open()
        tasks = [asyncio.create_task(closed_store.add_upload(new_upload(f"{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        await closed_store.close()
        seqs = await asyncio.gather(*tasks)
        await closed_store.open()
        assert [upload.seq for upload in await drain(closed_store, LANE)] == seqs
        await closed_store.close()
