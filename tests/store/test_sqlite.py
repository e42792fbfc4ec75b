"""What only a store in a file promises; the rest is in `test_contract`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

from ocpi_gireve.errors import StoreError
from ocpi_gireve.store import FernetCipher, KeyFile, PlaintextCipher, SqliteStore
from ocpi_gireve.store._schema import SCHEMA
from ocpi_gireve.store._writer import Writer, wal_is_safe
from ocpi_gireve.store.records import ConnectionState, Scope, TokenKind
from ocpi_gireve.types import Secret
from tests.store.samples import (
    ABC,
    MORNING,
    OUTBOUND,
    new_connection,
    new_upload,
    receipt,
    registered,
    stored,
    token,
    watermark,
)

LANE = "FR*CPO/locations"
NOT_OPEN = r"^the store is not open$"

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


class Rot13:
    """A cipher for tests."""

    def encrypt(self, plain: bytes) -> bytes:
        return b"\xff" + bytes((byte + 13) % 256 for byte in plain)

    def decrypt(self, stored: bytes) -> bytes:
        if not stored.startswith(b"\xff"):
            raise RuntimeError("not encrypted by this cipher")
        return bytes((byte - 13) % 256 for byte in stored[1:])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is, in a folder of its own."""
    return tmp_path / "ocpi.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """An empty store, open."""
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


def on_disk(path: Path) -> bytes:
    """All bytes of the database and of whatever lies beside it."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def names(path: Path) -> list[str]:
    """What lies in the folder of the database."""
    return sorted(file.name for file in path.parent.iterdir())


def read(path: Path) -> bytes:
    """The bytes of a file."""
    return path.read_bytes()


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make a file of these bytes."""
    path.write_bytes(data)
    path.chmod(mode)


def remove(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def move(path: Path, target: Path) -> None:
    """Give a file another name."""
    path.rename(target)


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Run one statement as another program would."""
    connection = sqlite3.connect(path)
    try:
        rows: list[tuple[object, ...]] = connection.execute(statement).fetchall()
        connection.commit()
    finally:
        connection.close()
    return rows


def writer_of(store: SqliteStore) -> Writer:
    """The writer of an open store."""
    assert store._writer is not None
    return store._writer


def failing(code: int) -> Callable[[sqlite3.Connection], None]:
    """An operation that adds a lane and then fails with this code of SQLite."""

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO lane (connection, name) VALUES ('gireve', 'phantom')")
        error = sqlite3.OperationalError("as if from SQLite")
        error.sqlite_errorcode = code
        raise error

    return work


class TestFile:
    async def test_reopen(self, path: Path) -> None:
        """Another store on the same file holds everything that the first one held."""
        first = SqliteStore(path)
        await first.open()
        await first.save_connection(registered(), [token("a")])
        seqs = [await first.add_upload(new_upload(f"{n}")) for n in range(3)]
        await first.note_attempt(seqs[0], "HTTP 503")
        await first.park_upload(seqs[1], "refused")
        before = (await first.head("gireve", LANE), await first.parked("gireve"), await first.lanes())
        await first.finish_upload(seqs[2])
        await first.put_object(stored())
        await first.save_watermark("gireve", "locations", watermark(full=MORNING))
        await first.save_receipt("gireve", "key", receipt())
        await first.close()

        second = SqliteStore(path)
        await second.open()
        assert await second.objects("gireve", "location") == [stored()]
        assert await second.watermark("gireve", "locations") == watermark(full=MORNING)
        assert await second.receipt("gireve", "key") == receipt()
        assert await second.connections() == [registered()]
        assert await second.tokens("gireve") == [token("a")]
        assert (await second.head("gireve", LANE), await second.parked("gireve")) == before[:2]
        assert await second.add_upload(new_upload()) > seqs[2]
        assert await second.lanes() == before[2]
        await second.close()

    @posix
    async def test_private(self, path: Path) -> None:
        """Nobody but the owner can open the database, its lock, key or journal, whatever they were before."""
        write(path, b"", mode=0o644)
        store = SqliteStore(path)
        await store.open()

        def modes(connection: sqlite3.Connection) -> dict[str, int]:
            connection.execute("INSERT INTO lane (connection, name) VALUES ('gireve', 'x')")
            return {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

        found = await writer_of(store).do(modes)
        assert {"ocpi.db", "ocpi.db.key", "ocpi.db.lock"} < set(found)
        assert set(found.values()) == {0o600}
        await store.close()

    async def test_nothing_left_beside(self, path: Path) -> None:
        """A closed store leaves its database, its key and its lock file, and no journal."""
        store = SqliteStore(path)
        await store.open()
        await store.add_upload(new_upload())
        await store.close()
        assert names(path) == ["ocpi.db", "ocpi.db.key", "ocpi.db.lock"]

    async def test_settings(self, store: SqliteStore) -> None:
        """What durability and secrecy rest on is switched on."""

        def settings(connection: sqlite3.Connection) -> dict[str, object]:
            names = (
                "journal_mode",
                "synchronous",
                "secure_delete",
                "foreign_keys",
                "temp_store",
                "fullfsync",
                "busy_timeout",
            )
            return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

        safe = wal_is_safe(sqlite3.sqlite_version_info)
        assert await writer_of(store).do(settings) == {
            "journal_mode": "wal" if safe else "delete",
            "synchronous": 2 if safe else 3,
            "secure_delete": 1,
            "foreign_keys": 1,
            "temp_store": 2,
            "fullfsync": 1,
            "busy_timeout": 5000,
        }

    async def test_from_wal(self, path: Path) -> None:
        """A file that another SQLite left in WAL mode is taken over."""
        first = SqliteStore(path)
        await first.open()
        await first.add_upload(new_upload())
        await first.close()
        assert sql(path, "PRAGMA journal_mode = wal") == [("wal",)]
        second = SqliteStore(path)
        await second.open()
        assert await second.head("gireve", LANE) is not None
        await second.close()

    @pytest.mark.parametrize("path", ["", ":memory:"])
    def test_no_file(self, path: str) -> None:
        """A store without a file is another class."""
        with pytest.raises(ValueError, match="MemoryStore"):
            SqliteStore(path)

    async def test_no_folder(self, tmp_path: Path) -> None:
        """A folder that does not exist is named, and not made."""
        store = SqliteStore(tmp_path / "none" / "ocpi.db")
        with pytest.raises(StoreError, match=r"none.ocpi\.db: No such file or directory"):
            await store.open()
        assert not (tmp_path / "none").exists()

    async def test_open_after_failure(self, tmp_path: Path) -> None:
        """A store that could not be opened can be, once the reason is gone."""
        store = SqliteStore(tmp_path / "late" / "ocpi.db")
        results = await asyncio.gather(store.open(), store.open(), return_exceptions=True)
        assert [type(result) for result in results] == [StoreError, StoreError]
        with pytest.raises(StoreError, match=NOT_OPEN):
            await store.lanes()
        (tmp_path / "late").mkdir()
        await store.open()
        assert await store.add_upload(new_upload()) == 1
        await store.close()


class TestSchema:
    async def test_version(self, path: Path, store: SqliteStore) -> None:
        """The file says what it is and which schema it has."""
        assert sql(path, "PRAGMA user_version") == [(SCHEMA.version,)]
        assert sql(path, "PRAGMA application_id") == [(int.from_bytes(b"OCPI", "big"),)]

    async def test_newer(self, path: Path) -> None:
        """A file that a newer release wrote is refused and not touched."""
        first = SqliteStore(path)
        await first.open()
        await first.close()
        sql(path, "PRAGMA user_version = 99")
        before = read(path)
        second = SqliteStore(path)
        with pytest.raises(
            StoreError, match=r"schema 99, and this release knows \d: a newer release wrote it"
        ):
            await second.open()
        assert read(path) == before

    async def test_older(self, path: Path) -> None:
        """A file from before the first release is refused, in words that say what to do, and not touched."""
        first = SqliteStore(path)
        await first.open()
        await first.close()
        sql(path, f"PRAGMA user_version = {SCHEMA.first - 1}")
        before = read(path)
        with pytest.raises(
            StoreError, match=r"schema 2, which is older .*: move the file away, and register again$"
        ):
            await SqliteStore(path).open()
        assert read(path) == before

    async def test_another_programs(self, path: Path) -> None:
        """A database of another program is refused and not touched."""
        sql(path, "CREATE TABLE upload (id)")
        before = read(path)
        with pytest.raises(StoreError, match="belongs to another program"):
            await SqliteStore(path).open()
        assert read(path) == before

    async def test_not_a_database(self, path: Path) -> None:
        """A file that is no database is refused and not touched."""
        write(path, b"no database " * 1000)
        with pytest.raises(StoreError, match="the file is not a database") as caught:
            await SqliteStore(path).open()
        assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
        assert read(path) == b"no database " * 1000

    async def test_migrations_are_one_transaction(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A migration that fails leaves the file as it was."""
        broken = evolve(SCHEMA, migrations=(*SCHEMA.migrations, ("CREATE TABLE a (id)", "BROKEN")))
        monkeypatch.setattr("ocpi_gireve.store.sqlite.SCHEMA", broken)
        with pytest.raises(StoreError):
            await SqliteStore(path).open()
        assert sql(path, "SELECT name FROM sqlite_master") == []
        monkeypatch.undo()
        store = SqliteStore(path)
        await store.open()
        await store.close()

    async def test_migrates(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file of an older release is brought to the present schema and keeps what it holds."""
        first = SqliteStore(path)
        await first.open()
        await first.add_upload(new_upload())
        await first.close()
        newer = evolve(SCHEMA, migrations=(*SCHEMA.migrations, ("CREATE TABLE later (id)",)))
        monkeypatch.setattr("ocpi_gireve.store.sqlite.SCHEMA", newer)
        second = SqliteStore(path)
        await second.open()
        assert await second.head("gireve", LANE) is not None
        await second.close()
        assert sql(path, "PRAGMA user_version") == [(SCHEMA.version + 1,)]
        assert sql(path, "SELECT count(*) FROM later") == [(0,)]

    async def test_plans(self, store: SqliteStore) -> None:
        """Whatever is looked up is found by index, never by reading every upload, token or object."""

        def plans(connection: sqlite3.Connection) -> list[str]:
            from ocpi_gireve.store import _kept, sqlite

            def explained(statement: str, *values: object) -> list[str]:
                return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

            every = _kept.wanted("a", "b", None, None, None)
            owned = _kept.wanted("a", "b", ABC, None, None)
            changed = _kept.wanted("a", "b", ABC, MORNING, MORNING)
            return [
                *explained(sqlite._UPLOADS + sqlite._HEAD, "a", "b"),
                *explained(sqlite._LANES),
                *explained(sqlite._TOKENS + " WHERE digest = ?", b""),
                *explained(_kept._OBJECTS + _kept._NAMED, "a", "b", "c", "d"),
                *explained(every.page, *every.values, 9, 9),
                *explained(owned.page, *owned.values, 9, 9),
                *explained(changed.count, *changed.values),
                *explained(_kept._FORGET_RECEIPTS, "x"),
            ]

        plan = await writer_of(store).do(plans)
        assert [line for line in plan if "TEMP B-TREE" in line] == []
        # The lanes are few, and all are asked for.
        assert [line for line in plan if "SCAN" in line and " lane " not in line] == []
        # Objects that a page skips are not read.
        chosen = [line.partition("COVERING INDEX ")[2].split()[0] for line in plan if "COVERING" in line]
        for index in ("object_by_number", "object_by_owner", "object_by_change"):
            assert index in chosen

    async def test_plan_of_a_name(self, store: SqliteStore) -> None:
        """A card whose owner nobody knows is found by index, among whatever number of cards."""

        def plan(connection: sqlite3.Connection) -> list[str]:
            from ocpi_gireve.store import _kept

            statement = f"EXPLAIN QUERY PLAN {_kept._OBJECTS}{_kept._OF_ANYBODY}"
            return [row[3] for row in connection.execute(statement, ("a", "b", "c"))]

        found, *_ = await writer_of(store).do(plan)
        assert found.endswith("object_by_id (connection=? AND kind=? AND key=?)")


class TestLock:
    async def test_second_store(self, path: Path, store: SqliteStore) -> None:
        """A second store on the file is refused, under whatever name, until the first one is closed."""
        alias = path.with_name("alias.db")
        if sys.platform != "win32":
            alias.symlink_to(path)
        for second in (SqliteStore(path), SqliteStore(alias if alias.exists() else path)):
            with pytest.raises(StoreError, match="open already, in another process or in this one"):
                await second.open()
        await store.add_upload(new_upload())
        await store.close()
        third = SqliteStore(path)
        await third.open()
        assert await third.head("gireve", LANE) is not None
        await third.close()

    async def test_second_process(self, path: Path, store: SqliteStore) -> None:
        """A second process is refused, and takes over as soon as the first one is dead."""
        code = """
import asyncio, sys
from ocpi_gireve.errors import StoreError
from ocpi_gireve.store import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    try:
        await store.open()
    except StoreError as error:
        print("refused:", error)
    else:
        print("open", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""
        command = [sys.executable, "-c", code, str(path)]
        refused = await asyncio.to_thread(
            subprocess.run, command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert refused.stdout.startswith("refused: ")
        assert "open already" in refused.stdout
        await store.close()

        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        with holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "open\n"
            with pytest.raises(StoreError, match="open already"):
                await store.open()
            holder.kill()
            holder.wait()
            await store.open()
            await store.add_upload(new_upload())

    @posix
    async def test_busy(self, path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another program that holds the database makes an operation fail, and nothing more."""
        await writer_of(store).do(lambda connection: connection.execute("PRAGMA busy_timeout = 10"))
        shell = sqlite3.connect(path, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program holds the database") as caught:
            await store.add_upload(new_upload())
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        shell.close()
        await store.add_upload(new_upload())


CHILD = """
import asyncio, os, sys
from ocpi_gireve.store import SqliteStore
from ocpi_gireve.store.records import NewUpload
from ocpi_gireve.types import PartyId

async def produce(store, lane):
    for n in range(1_000_000):
        seq = await store.add_upload(NewUpload(
            connection="gireve", lane=f"lane {lane}", operation="put", path="x", sender=PartyId("FR", "CPO"),
            receiver=None, correlation_id="c", subject=f"{os.getpid()} {n}", body=b"x" * 700 * (n % 12),
        ))
        os.write(1, b"%d\\n" % seq)
        if n % 3 == 0:
            await store.park_upload(seq, "refused")

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await asyncio.gather(*(produce(store, lane) for lane in range(8)))

asyncio.run(main())
"""


KEEPER = """
import asyncio, os, sys
from ocpi_gireve.store import SqliteStore
from ocpi_gireve.store.records import Scope, StoredObject
from ocpi_gireve.types import PartyId

SCOPE = Scope("gireve", PartyId("FR", "ABC"))

async def produce(store, owner):
    for n in range(1_000_000):
        if n % 7 == 6:
            await store.remove_object(SCOPE, f"kind {owner}", f"{n % 20}")
        else:
            await store.put_object(StoredObject(
                scope=SCOPE, kind=f"kind {owner}", id=f"{n % 20}", version="2.2.1", last_updated=None,
                body=b"%d" % n, digest=b"",
            ))
        os.write(1, b"%d %d\\n" % (owner, n))

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await asyncio.gather(*(produce(store, owner) for owner in range(8)))

asyncio.run(main())
"""


class TestDeath:
    async def test_kill(self, path: Path) -> None:
        """A process killed at any moment loses nothing that was acknowledged, and the file stays sound."""
        acknowledged: list[int] = []
        choose = random.Random(7)
        for _ in range(5):
            child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
            with child:
                assert child.stdout is not None
                first = [
                    await asyncio.to_thread(child.stdout.readline) for _ in range(choose.randrange(40, 200))
                ]
                child.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
                rest = await asyncio.to_thread(child.stdout.read)
                # The last line may be cut.
                lines = [*first, *rest.splitlines(keepends=True)]
                acknowledged += [int(line) for line in lines if line.endswith(b"\n")]
            store = SqliteStore(path)
            await store.open()
            depths = await store.lanes()
            await store.close()
            assert sql(path, "PRAGMA integrity_check") == [("ok",)]
            assert sql(path, "PRAGMA foreign_key_check") == []
            stored = {seq for (seq,) in sql(path, "SELECT seq FROM upload")}
            assert set(acknowledged) <= stored
            assert sum(depth.queued + depth.parked for depth in depths) == len(stored)
        assert len(acknowledged) == len(set(acknowledged))
        for lane in range(8):
            rows = sql(
                path,
                "SELECT subject FROM upload JOIN lane ON lane.id = upload.lane "
                f"WHERE name = 'lane {lane}' ORDER BY seq",
            )
            runs: dict[str, list[int]] = {}
            for (subject,) in rows:
                process, number = str(subject).split()
                runs.setdefault(process, []).append(int(number))
            assert len(runs) == 5
            assert all(numbers == list(range(len(numbers))) for numbers in runs.values())

    async def test_kill_among_objects(self, path: Path) -> None:
        """A killed process leaves each object as the last acknowledged message made it, or the next one."""
        choose = random.Random(11)
        for _ in range(4):
            child = subprocess.Popen([sys.executable, "-c", KEEPER, str(path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
            with child:
                assert child.stdout is not None
                first = [
                    await asyncio.to_thread(child.stdout.readline) for _ in range(choose.randrange(40, 200))
                ]
                child.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
                rest = await asyncio.to_thread(child.stdout.read)
            last = dict.fromkeys(range(8), -1)
            for line in [*first, *rest.splitlines(keepends=True)]:
                if line.endswith(b"\n"):  # the last one may be cut
                    fields = line.split()
                    last[int(fields[0])] = int(fields[1])
            assert sql(path, "PRAGMA integrity_check") == [("ok",)]
            store = SqliteStore(path)
            await store.open()
            for owner, number in last.items():
                kept = {obj.id: int(obj.body) for obj in await store.objects("gireve", f"kind {owner}", ABC)}
                states = [expected(number), expected(number + 1)]
                assert kept in states
                assert await store.count_objects("gireve", f"kind {owner}") == len(kept)
                for name in kept:
                    await store.remove_object(Scope("gireve", ABC), f"kind {owner}", name)
            await store.close()


def expected(last: int) -> dict[str, int]:
    """What a keeper that got as far as this number has kept."""
    kept: dict[str, int] = {}
    for number in range(last + 1):
        if number % 7 == 6:
            kept.pop(f"{number % 20}", None)
        else:
            kept[f"{number % 20}"] = number
    return kept


class TestSecrecy:
    async def test_inbound_tokens(self, path: Path, store: SqliteStore) -> None:
        """No inbound token is ever in the file or its journal: only its digest is."""
        planted = ["planted-token-aaaaaaaaaaaa", "planted-token-bbbbbbbbbbbb"]
        await store.save_connection(registered(), [token(planted[0])])
        await store.save_connection(registered(), [token(planted[0]), token(planted[1])])

        def during(connection: sqlite3.Connection) -> bytes:
            connection.execute("UPDATE token SET used = 1")
            return on_disk(path)

        seen = await writer_of(store).do(during)
        await store.close()
        for data in (seen, on_disk(path)):
            assert token(planted[0]).digest in data
            assert b"planted-token" not in data

    async def test_no_token(self, path: Path, store: SqliteStore) -> None:
        """By default no token of any kind is in the file or its journal at any moment."""
        planted = {kind: f"planted-token-{kind.name}" for kind in TokenKind}
        tokens = [token(text, kind=kind) for kind, text in planted.items()]
        # Before a registration it is the partner's token A that we present, then its C.
        await store.save_connection(
            evolve(new_connection(), outbound_token=Secret("planted-token-theirs-a")), tokens
        )
        registered_once = registered(outbound_token="planted-token-theirs-c")
        both = evolve(registered_once, previous_token=Secret("planted-token-theirs-b"))
        await store.save_connection(both, tokens)

        def during(connection: sqlite3.Connection) -> bytes:
            connection.execute("UPDATE connection SET outbound_token = outbound_token || x'00'")
            connection.execute("UPDATE token SET used = 1")
            seen = on_disk(path)
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")
            return seen

        seen = await writer_of(store).do(during)
        await store.save_connection(registered(outbound_token="planted-token-theirs-d"), tokens)
        await store.close()
        for data in (seen, on_disk(path)):
            assert token(planted[TokenKind.CURRENT]).digest in data
            assert b"planted-token" not in data

    async def test_key_comes_back(self, path: Path, store: SqliteStore) -> None:
        """Another process reads the token with the key beside the database, whatever name it opens it by."""
        await store.save_connection(registered(), [])
        await store.close()
        alias = path.with_name("alias.db")
        if sys.platform != "win32":
            alias.symlink_to(path)
        for second in (SqliteStore(path), SqliteStore(alias if alias.exists() else path)):
            await second.open()
            assert await second.connections() == [registered()]
            await second.close()
        assert "alias.db.key" not in names(path)

    @pytest.mark.parametrize("missing", [True, False], ids=["missing", "another"])
    async def test_lost_key(self, path: Path, store: SqliteStore, missing: bool) -> None:
        """Without its key, or with another, a store is not opened; the error says what to do."""
        await store.save_connection(registered(), [])
        await store.close()
        key = path.with_name("ocpi.db.key")
        saved = read(key)
        remove(key)
        if not missing:
            KeyFile(key).load()
        before = names(path)
        with pytest.raises(StoreError) as caught:
            await store.open()
        expected = (
            f"{key}: the key is missing with which outbound tokens are encrypted. "
            if missing
            else "gireve: its outbound token cannot be decrypted by this cipher. "
        )
        remedy = (
            "Restore its key from where you keep it. If it is lost, forget_outbound_tokens() keeps "
            "everything else, and the partners have to be registered again."
        )
        assert str(caught.value) == expected + remedy
        assert names(path) == before
        with pytest.raises(StoreError, match=NOT_OPEN):
            await store.save_connection(registered(), [])
        write(key, saved)
        await store.open()
        assert await store.connections() == [registered()]

    async def test_lost_for_good(self, path: Path, store: SqliteStore) -> None:
        """Where the key is lost, the tokens can be forgotten: all else stays, and a new key is made."""
        before_registration = evolve(new_connection("new"), outbound_token=Secret(OUTBOUND))
        await store.save_connection(registered(), [token("a")])
        await store.save_connection(before_registration, [])
        await store.save_connection(new_connection("bare"), [])
        seq = await store.add_upload(new_upload())
        await store.close()
        remove(path.with_name("ocpi.db.key"))
        assert await store.forget_outbound_tokens() == ["gireve", "new"]
        assert await store.forget_outbound_tokens() == []
        await store.open()
        assert await store.connections() == [
            evolve(registered(), state=ConnectionState.UNREGISTERED, outbound_token=None),
            evolve(before_registration, outbound_token=None),
            new_connection("bare"),
        ]
        assert await store.tokens("gireve") == [token("a")]
        head = await store.head("gireve", LANE)
        assert head is not None
        assert head.seq == seq
        await store.save_connection(registered(), [])
        assert await store.connection("gireve") == registered()
        with pytest.raises(StoreError, match="the store is open; close it first"):
            await store.forget_outbound_tokens()

    async def test_plaintext(self, path: Path) -> None:
        """Plain text is there for who names it: the token is in the file, and gone when it is replaced."""
        store = SqliteStore(path, cipher=PlaintextCipher())
        await store.open()
        await store.save_connection(registered(), [])
        await store.close()
        assert OUTBOUND.encode() in on_disk(path)
        await store.open()
        await store.save_connection(registered(outbound_token="another"), [])
        await store.close()
        assert OUTBOUND.encode() not in on_disk(path)
        assert "ocpi.db.key" not in names(path)

    @pytest.mark.parametrize("cipher", [None, Rot13()], ids=["default", "own"])
    async def test_cipher_later(self, path: Path, cipher: Rot13 | None) -> None:
        """What stands there in plain text is encrypted as soon as the store is opened with a cipher."""
        first = SqliteStore(path, cipher=PlaintextCipher())
        await first.open()
        await first.save_connection(registered(), [token("a")])
        await first.close()
        later = SqliteStore(path, cipher=cipher)
        await later.open()
        assert await later.connections() == [registered()]
        await later.close()
        assert OUTBOUND.encode() not in on_disk(path)

    async def test_own_cipher(self, path: Path) -> None:
        """With a cipher of the host neither token nor key is in the folder, and the token comes back."""
        store = SqliteStore(path, cipher=Rot13())
        await store.open()
        await store.save_connection(registered(), [])
        found = await store.connection("gireve")
        await store.close()
        assert found == registered()
        assert OUTBOUND.encode() not in on_disk(path)
        assert names(path) == ["ocpi.db", "ocpi.db.lock"]

    async def test_without_its_cipher(self, path: Path, store: SqliteStore) -> None:
        """An encrypted token is never taken for the token itself."""
        await store.save_connection(registered(), [])
        await store.close()
        second = SqliteStore(path, cipher=PlaintextCipher())
        with pytest.raises(StoreError, match=r"are encrypted: PlaintextCipher\(\) cannot read them"):
            await second.open()
        await store.open()
        assert await store.connections() == [registered()]

    async def test_another_cipher(self, path: Path) -> None:
        """A cipher that cannot decrypt a token is a StoreError that does not quote it."""

        class Other(Rot13):
            def encrypt(self, plain: bytes) -> bytes:
                return b"\x00" + plain

            def decrypt(self, stored: bytes) -> bytes:
                return stored[1:]

        first = SqliteStore(path, cipher=Other())
        await first.open()
        await first.save_connection(registered(), [])
        await first.close()
        second = SqliteStore(path, cipher=Rot13())
        with pytest.raises(StoreError, match="cannot be decrypted") as caught:
            await second.open()
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert OUTBOUND not in str(caught.value)

    async def test_rotation(self, path: Path, store: SqliteStore) -> None:
        """After a rotation the next opening encrypts anew: the old key is not needed any more."""
        await store.save_connection(registered(), [])
        key = KeyFile(path.with_name("ocpi.db.key"))
        key.rotate()
        await store.save_connection(registered("two"), [])
        await store.close()
        await store.open()
        await store.close()
        newest, oldest = read(key.path).split()
        write(key.path, oldest)
        with pytest.raises(StoreError, match="cannot be decrypted"):
            await store.open()
        write(key.path, newest)
        await store.open()
        assert await store.connections() == [registered(), registered("two")]

    async def test_rotation_of_own_keys(self, path: Path) -> None:
        """Keys that the host keeps itself are replaced the same way."""
        old, new = FernetCipher.new_key(), FernetCipher.new_key()
        for keys in ([old], [new, old], [new]):
            store = SqliteStore(path, cipher=FernetCipher(*keys))
            await store.open()
            if keys == [old]:
                await store.save_connection(registered(), [])
            assert await store.connections() == [registered()]
            await store.close()
        with pytest.raises(StoreError, match="cannot be decrypted"):
            await SqliteStore(path, cipher=FernetCipher(old)).open()

    async def test_opening_writes_nothing(self, path: Path, store: SqliteStore) -> None:
        """A store whose tokens are encrypted as they should be is opened without a change to its file."""
        await store.save_connection(registered(), [])
        await store.close()
        before = read(path)
        await store.open()
        await store.close()
        assert read(path) == before

    async def test_delivered_body(self, path: Path, store: SqliteStore) -> None:
        """As soon as a delivery is noted, nothing of the upload is in the file."""
        seq = await store.add_upload(new_upload("planted subject", body=b"planted body " * 500))
        other = await store.add_upload(new_upload("other", body=b"other body"))
        assert b"planted body" in on_disk(path)
        await store.finish_upload(seq)
        if wal_is_safe(sqlite3.sqlite_version_info):
            await store.close()  # until then, what is deleted may stay in the -wal file
        assert b"planted" not in on_disk(path)
        assert b"other body" in on_disk(path)
        assert other > seq

    async def test_finished_bodies(self, path: Path, store: SqliteStore) -> None:
        """Of a finished upload nothing stays in the file: neither the body nor whom it is about."""
        choose = random.Random(3)
        seqs: list[int] = []
        for n in range(60):
            mark = b"planted body %04d " % n
            upload = new_upload(f"planted subject {n:04}", body=mark * choose.randrange(1, 600))
            seqs.append(await store.add_upload(upload))
        for seq in choose.sample(seqs, 10):
            await store.park_upload(seq, "planted reason")
            if choose.random() < 0.5:
                await store.redrive_upload(seq)
        await store.close()
        assert b"planted body" in on_disk(path)
        await store.open()
        for upload in (await store.parked("gireve"))[::2]:
            await store.discard_upload(upload.seq)
        while (lanes := await store.lanes()) and lanes[0].queued:
            head = await store.head("gireve", LANE)
            assert head is not None
            await store.finish_upload(head.seq)
        for upload in await store.parked("gireve"):
            await store.finish_upload(upload.seq)
        await store.close()
        assert b"planted" not in on_disk(path)

    @pytest.mark.parametrize("size", [20, 3000, 60_000])
    async def test_replaced_and_removed_objects(self, path: Path, store: SqliteStore, size: int) -> None:
        """Of a body that was replaced or removed nothing stays in the file, while its neighbours do."""
        await store.put_object(stored("1", body=b"neighbour"))
        await store.put_object(stored("2", body=b"first".ljust(size, b".")))
        await store.put_object(stored("2", body=b"second".ljust(size, b".")))
        await store.close()
        assert b"first" not in on_disk(path)
        assert b"second" in on_disk(path)
        await store.open()
        assert await store.remove_object(Scope("gireve", ABC), "location", "2")
        await store.close()
        assert b"second" not in on_disk(path)
        assert b"neighbour" in on_disk(path)

    async def test_forgotten_receipts(self, path: Path, store: SqliteStore) -> None:
        """Of a receipt that was replaced or has ended nothing stays in the file."""
        await store.save_receipt("gireve", "planted key", receipt("planted answer"))
        await store.save_receipt("gireve", "planted key", receipt("another answer", until=MORNING))
        await store.close()
        assert b"planted answer" not in on_disk(path)
        await store.open()
        await store.save_receipt("gireve", "key", receipt("", at=MORNING + timedelta(days=1)))
        await store.close()
        assert b"planted key" not in on_disk(path)
        assert b"another answer" not in on_disk(path)

    async def test_secret_in_no_repr(self, store: SqliteStore) -> None:
        """A connection read back shows its token to nobody who prints it."""
        await store.save_connection(registered(), [])
        found = await store.connection("gireve")
        assert OUTBOUND not in repr(found)
        assert found is not None
        assert found.outbound_token == Secret(OUTBOUND)

    @pytest.mark.parametrize("token", ["x'ff'", "'text'", "7"])
    async def test_unreadable_token(self, path: Path, token: str) -> None:
        """A token in plain text that cannot be understood is a StoreError that does not quote it."""
        store = SqliteStore(path, cipher=PlaintextCipher())
        await store.open()
        await store.save_connection(registered(), [])
        await store.close()
        sql(path, f"UPDATE connection SET outbound_token = {token}")
        with pytest.raises(StoreError, match=r"^the database is damaged: it holds an outbound token that"):
            await store.open()

    async def test_words(self, path: Path, store: SqliteStore) -> None:
        """A text that cannot be stored is not quoted by the error, nor by what is chained to it."""
        await store.add_upload(new_upload())
        with pytest.raises(StoreError, match="a text is not valid Unicode") as caught:
            await store.note_attempt(1, "planted \ud800 reason")
        assert caught.value.__cause__ is None
        assert "planted" not in repr(caught.value.__context__)

    async def test_failing_cipher(self, store: SqliteStore) -> None:
        """A cipher that fails, fails the operation, and neither its neighbours nor the thread."""

        class Panic(BaseException):
            pass

        class Broken(Rot13):
            def encrypt(self, plain: bytes) -> bytes:
                raise Panic

        store.cipher = Broken()
        saved, seq = await asyncio.gather(
            store.save_connection(registered(), []), store.add_upload(new_upload()), return_exceptions=True
        )
        assert isinstance(saved, StoreError)
        assert "Panic" in str(saved)
        assert seq == 1
        assert await store.connections() == []


Call = Callable[[SqliteStore], Awaitable[object]]

UNREADABLE: list[tuple[str, Call]] = [
    ("UPDATE connection SET state = 'planted'", lambda store: store.connections()),
    ("UPDATE connection SET roles = 'planted'", lambda store: store.connection("gireve")),
    ("UPDATE connection SET endpoints = '[1]'", lambda store: store.connection("gireve")),
    ("UPDATE connection SET role = ''", lambda store: store.connection("gireve")),
    ("UPDATE token SET kind = 'planted'", lambda store: store.tokens("gireve")),
    ("UPDATE token SET expires = 'planted'", lambda store: store.find_token(token("a").digest)),
    ("UPDATE upload SET created = 'planted'", lambda store: store.head("gireve", LANE)),
    ("UPDATE upload SET created = 'planted'", lambda store: store.lanes()),
    ("UPDATE object SET last_updated = 'planted'", lambda store: store.objects("gireve", "location")),
    (
        "UPDATE object SET last_updated = 'planted'",
        lambda store: store.object(Scope("gireve", ABC), "location", "LOC1"),
    ),
    ("UPDATE watermark SET since = 'planted'", lambda store: store.watermark("gireve", "locations")),
    ("UPDATE receipt SET at = 'planted'", lambda store: store.receipt("gireve", "key")),
]


class TestFailure:
    async def test_full(self, path: Path, store: SqliteStore) -> None:
        """A full disk refuses what does not fit, keeps what is there, and still lets uploads go."""
        seqs = [await store.add_upload(new_upload(f"{n}", body=b"x" * 3000)) for n in range(5)]
        await writer_of(store).do(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
        results = await asyncio.gather(
            store.add_upload(new_upload(body=b"x" * 100_000)),
            store.note_attempt(seqs[0], "HTTP 503"),
            store.add_upload(new_upload(body=b"x" * 100_000)),
            store.finish_upload(seqs[4]),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [StoreError, type(None), StoreError, type(None)]
        assert str(results[0]).endswith("ocpi.db: the disk is full")
        head = await store.head("gireve", LANE)
        assert head is not None
        assert (head.seq, head.attempts) == (seqs[0], 1)
        await writer_of(store).do(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
        last = await store.add_upload(new_upload(body=b"x" * 100_000))
        await store.close()
        assert sql(path, "SELECT seq FROM upload ORDER BY seq") == [(seq,) for seq in (*seqs[:4], last)]
        assert sql(path, "PRAGMA integrity_check") == [("ok",)]

    @posix
    def test_disk_error(self, path: Path) -> None:
        """A write that the operating system refuses fails the operation; then the file is opened anew."""
        code = """
import asyncio, resource, sys
from ocpi_gireve.errors import StoreError
from ocpi_gireve.store import SqliteStore
from tests.store.samples import new_upload

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await store.add_upload(new_upload("1"))
    first = store._writer._connection
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        await store.add_upload(new_upload("2", body=b"x" * 5_000_000))
    except StoreError as error:
        print(str(error).partition(": ")[2], error.__cause__.sqlite_errorname)
    print((await store.head("gireve", "FR*CPO/locations")).subject, store._writer._connection is first)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.add_upload(new_upload("3", body=b"x" * 5_000_000))
    print((await store.lanes())[0].queued)
    await store.close()

asyncio.run(main())
"""
        root = Path(__file__).parents[2]
        child = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        )
        assert child.stdout.splitlines() == [
            "the disk could not be read or written SQLITE_IOERR_WRITE",
            "1 False",
            "2",
        ]
        assert sql(path, "PRAGMA integrity_check") == [("ok",)]

    async def test_failed_fsync(self, path: Path, store: SqliteStore) -> None:
        """After a failed fsync the whole group fails, nothing of it is kept, and the file is opened anew."""
        before = writer_of(store)._connection
        results = await asyncio.gather(
            store.add_upload(new_upload("1")),
            writer_of(store).do(failing(sqlite3.SQLITE_IOERR_FSYNC)),
            store.add_upload(new_upload("2")),
            return_exceptions=True,
        )
        # The first may have been committed alone, before the others were there.
        assert [type(result) for result in results[1:]] == [StoreError, StoreError]
        kept = 1 if isinstance(results[0], int) else 0
        await store.add_upload(new_upload("3"))
        assert writer_of(store)._connection is not before
        assert [(lane.lane, lane.queued) for lane in await store.lanes()] == [(LANE, kept + 1)]
        assert sql(path, "SELECT count(*) FROM lane WHERE name = 'phantom'") == [(0,)]

    async def test_failed_statement(self, store: SqliteStore) -> None:
        """Any other failure is the operation's own: what it had begun is undone, the connection stays."""
        before = writer_of(store)._connection
        with pytest.raises(StoreError, match="the database could not do it"):
            await writer_of(store).do(failing(sqlite3.SQLITE_ERROR))
        assert await store.lanes() == []
        assert writer_of(store)._connection is before

    @posix
    async def test_file_taken_away(self, path: Path, store: SqliteStore) -> None:
        """A database that is moved away is missed at once, not silently made anew."""
        await store.add_upload(new_upload())
        move(path, path.with_name("moved.db"))
        if wal_is_safe(sqlite3.sqlite_version_info):
            pytest.skip("in WAL mode SQLite does not look")
        with pytest.raises(StoreError, match="its file was moved away"):
            await store.add_upload(new_upload())
        with pytest.raises(StoreError, match="No such file"):
            await store.add_upload(new_upload())
        assert names(path) == ["moved.db", "ocpi.db.key", "ocpi.db.lock"]
        write(path, b"")
        with pytest.raises(StoreError, match="the database was replaced while it was open"):
            await store.add_upload(new_upload())
        move(path.with_name("moved.db"), path)
        assert await store.add_upload(new_upload()) == 2

    async def test_damaged(self, path: Path, store: SqliteStore) -> None:
        """A damaged file makes what touches it fail; the store can still be closed."""
        for n in range(200):
            await store.add_upload(new_upload(f"{n}", body=b"x" * 500))
        await store.close()
        size = len(read(path))
        write(path, read(path)[: size // 2].ljust(size, b"\xee"))
        await store.open()
        with pytest.raises(StoreError, match="the database is damaged") as caught:
            await store.add_upload(new_upload())
        assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
        await store.close()

    @pytest.mark.parametrize(("statement", "call"), UNREADABLE)
    async def test_unreadable_record(
        self,
        path: Path,
        store: SqliteStore,
        statement: str,
        call: Call,
    ) -> None:
        """A record that cannot be understood is a StoreError that does not quote it."""
        await store.save_connection(registered(), [token("a")])
        await store.add_upload(new_upload())
        await store.put_object(stored())
        await store.save_watermark("gireve", "locations", watermark())
        await store.save_receipt("gireve", "key", receipt())
        await store.close()
        sql(path, statement)
        await store.open()
        with pytest.raises(StoreError, match=r"^the database is damaged: it holds an? \w+ that") as caught:
            await call(store)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


class TestThread:
    async def test_ends(self, path: Path) -> None:
        """Opening starts one thread, and closing ends it; so does a failure to open."""
        before = threading.active_count()
        store = SqliteStore(path)
        await store.open()
        assert threading.active_count() == before + 1
        with pytest.raises(StoreError):
            await SqliteStore(path).open()
        assert threading.active_count() == before + 1
        await store.close()
        assert threading.active_count() == before

    async def test_groups(self, store: SqliteStore) -> None:
        """Whatever waits together is committed together."""
        commits: list[str] = []
        await writer_of(store).do(lambda connection: connection.set_trace_callback(commits.append))
        await asyncio.gather(*(store.add_upload(new_upload(f"{n}")) for n in range(500)))
        assert 1 <= commits.count("COMMIT") < 100

    async def test_cancelled_opening(self, path: Path) -> None:
        """A cancelled opening can be repeated, and closed."""
        store = SqliteStore(path)
        opening = asyncio.create_task(store.open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await store.open()
        assert await store.add_upload(new_upload()) == 1
        await store.close()

    async def test_cancelled_closing(self, path: Path) -> None:
        """A cancelled closing goes on, and the next opening waits for it."""
        store = SqliteStore(path)
        await store.open()
        adding = asyncio.create_task(store.add_upload(new_upload()))
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(StoreError, match=NOT_OPEN):
            await store.lanes()
        assert await adding == 1
        await store.open()
        assert len(await store.lanes()) == 1
        await store.close()

    def test_one_loop_after_another(self, path: Path) -> None:
        """A store may serve one event loop after another."""
        store = SqliteStore(path)

        async def use() -> int:
            await store.open()
            seq = await store.add_upload(new_upload())
            await store.close()
            return seq

        assert [asyncio.run(use()), asyncio.run(use())] == [1, 2]

    def test_forgotten(self, path: Path) -> None:
        """A store whose event loop ended without closing it can be opened again by the next one."""
        store = SqliteStore(path)

        async def forget() -> None:
            await store.open()
            await store.add_upload(new_upload())

        async def remember() -> int:
            with pytest.raises(StoreError, match="open in another event loop"):
                await store.lanes()
            await store.open()
            seq = await store.add_upload(new_upload())
            await store.close()
            return seq

        asyncio.run(forget())
        assert asyncio.run(remember()) == 2

    async def test_two_loops(self, store: SqliteStore) -> None:
        """A second event loop is refused while the first one uses the store."""

        def elsewhere(call: Callable[[], Awaitable[object]]) -> str:
            async def use() -> None:
                await call()

            with pytest.raises(StoreError) as caught:
                asyncio.run(use())
            return str(caught.value)

        assert await asyncio.to_thread(elsewhere, store.lanes) == "the store is open in another event loop"
        assert await asyncio.to_thread(elsewhere, store.open) == "the store is open in another event loop"

    def test_host_may_end(self, path: Path) -> None:
        """A host that ends without closing its store ends."""
        code = """
import asyncio, sys
from ocpi_gireve.store import SqliteStore
store = SqliteStore(sys.argv[1])
asyncio.run(store.open())
"""
        subprocess.run([sys.executable, "-W", "error", "-c", code, str(path)], check=True, timeout=20)
