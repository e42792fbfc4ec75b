"""One thread that owns one SQLite connection and commits in groups; knows nothing of what is stored.

Whatever waits when the thread is free shares one transaction, so a hundred
producers pay for one fsync together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from attrs import frozen

from ..errors import StoreError
from ._lock import FileLock, open_private
from ._rules import not_open, other_loop

T = TypeVar("T")

BUSY_SECONDS = 5.0
"""How long another program, such as the sqlite3 shell, may hold the database before an operation fails."""

GROUP = 1000
"""Operations in one commit: bounds how long it keeps the others, and then the event loop, waiting."""

_MEANINGS = {
    sqlite3.SQLITE_BUSY: "another program holds the database",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_CONSTRAINT: "the database refuses such a record",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk could not be read or written",
    sqlite3.SQLITE_LOCKED: "another program holds the database",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
    sqlite3.SQLITE_PERM: "the database may not be opened",
    sqlite3.SQLITE_PROTOCOL: "the database could not be locked",
    sqlite3.SQLITE_READONLY: "the database cannot be written, or its file was moved away",
    sqlite3.SQLITE_TOOBIG: "the record is too large",
}

# After one of these nobody knows what of the last writes is on the disk. A second fsync would report success
# for pages that the kernel has already dropped, so the connection is given up and the file read anew.
_POISON = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)

# No fault of one operation: the others would fail the same way, each after its own wait.
_COMMON = _POISON | {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@frozen
class Schema:
    """What a database file has to be.

    Attributes:
        application_id: Marks the file as ours, in its header.
        first: The version to which the first migration leads; older ones were never released.
        migrations: The statements that lead from each version to the next.
    """

    application_id: int
    first: int
    migrations: tuple[tuple[str, ...], ...]

    @property
    def version(self) -> int:
        """The version to which the last migration leads."""
        return self.first + len(self.migrations) - 1


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Tell whether this SQLite is free of the WAL-reset bug, which can drop committed transactions.

    Source: https://sqlite.org/wal.html#walresetbug
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


def result_code(error: BaseException) -> int:
    """Return SQLite's primary result code, such as `sqlite3.SQLITE_FULL`; 0 where the error has none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def store_error(path: Path, error: BaseException) -> StoreError:
    """Put any failure into words that hold no value of any record."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, UnicodeError):
        return StoreError(f"{path}: a text is not valid Unicode")  # not chained: such an error holds the text
    if isinstance(error, sqlite3.Error):
        meaning = _MEANINGS.get(result_code(error), "the database could not do it")
    elif isinstance(error, OSError):
        meaning = error.strerror or type(error).__name__
    else:
        meaning = f"the operation failed with {type(error).__name__}"
    described = StoreError(f"{path}: {meaning}")
    described.__cause__ = error
    return described


class _Job(Generic[T]):
    """One operation, and who waits for it."""

    __slots__ = ("error", "future", "value", "work")

    value: T

    def __init__(self, work: Callable[[sqlite3.Connection], T], future: asyncio.Future[T]) -> None:
        self.work = work
        self.future = future
        self.error: StoreError | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        self.value = self.work(connection)

    def settle(self) -> None:
        if self.future.done():
            return  # its caller was cancelled
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


def _settle(jobs: list[_Job[Any]]) -> None:
    for job in jobs:
        job.settle()


def _uncancellable() -> Future[None]:
    future = Future[None]()
    future.set_running_or_notify_cancel()
    return future


class Writer:
    """Owns a database file from its creation until `close()`.

    Args:
        path: The file.
        schema: What it has to be.
        loop: The event loop whose tasks it works for.
        prepare: Runs in a transaction before anything else; what it raises makes the opening fail.

    Attributes:
        loop: The event loop whose tasks it works for.
        closing: Whether it accepts nothing more.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        loop: asyncio.AbstractEventLoop,
        prepare: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.loop = loop
        self.closing = False
        self._path = path
        self._schema = schema
        self._prepare = prepare
        self._connection: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._opened = _uncancellable()
        self._closed = _uncancellable()
        self._waiting: SimpleQueue[_Job[Any] | None] = SimpleQueue()  # None: the last
        # A daemon: a host that forgets close() must still be able to end.
        self._thread = Thread(target=self._run, name="ocpi-gireve-store", daemon=True)
        self._thread.start()

    async def opened(self) -> None:
        """Wait until the file is ready.

        Raises:
            StoreError: it is not, and will not be.
        """
        await asyncio.wrap_future(self._opened)

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction, shared with whatever else waits; return when that is committed.

        `work` may run twice: where a shared transaction fails, each operation gets its own.
        A caller that is cancelled does not take its operation back.
        """
        if self.closing:
            raise not_open()
        if asyncio.get_running_loop() is not self.loop:
            raise other_loop()
        future: asyncio.Future[T] = self.loop.create_future()
        self._waiting.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """Finish what was accepted, then let go of the file and end the thread."""
        if not self.closing:
            self.closing = True
            self._waiting.put(None)
        try:
            await asyncio.wrap_future(self._closed)
        finally:
            if self.ended:
                self._thread.join()  # it has nothing left to do

    @property
    def ended(self) -> bool:
        """Whether the file is free again."""
        return self._closed.done()

    def _run(self) -> None:
        """Be the thread."""
        try:
            # Resolved, so that all names of one file share one lock.
            self._path = Path(os.path.realpath(self._path))
            self._lock = self._locked()
            self._connection = self._connect(create=True)
            if self._prepare is not None:
                self._connection.execute("BEGIN")
                self._prepare(self._connection)
                self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whoever waits for open() has to learn of it
            with contextlib.suppress(sqlite3.Error, OSError):
                self._let_go()
            self._opened.set_exception(store_error(self._path, error))
        else:
            self._opened.set_result(None)
        more = True
        while more:
            jobs, more = self._take()
            self._commit(jobs)
            # RuntimeError: the event loop is closed, so nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(_settle, jobs)
            del jobs  # the bodies of the last group need not stay in memory until the next one
        try:
            self._let_go()
        except BaseException as error:  # noqa: BLE001 - whoever waits for close() has to learn of it
            self._closed.set_exception(store_error(self._path, error))
        else:
            self._closed.set_result(None)

    def _take(self) -> tuple[list[_Job[Any]], bool]:
        """Wait for work; return all that is there, and whether more may come."""
        jobs: list[_Job[Any]] = []
        job = self._waiting.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == GROUP:
                return jobs, True
            try:
                job = self._waiting.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        """Run the jobs in one transaction; where one of them fails, run each in its own.

        Savepoints would cost every group what only a failing one needs, and do not outlive a full disk, on
        which SQLite may roll the whole transaction back.
        """
        if not jobs:
            return
        try:
            connection = self._ready()
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.run(connection)
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - a thread that ended would leave its callers waiting
            self._back_out(error)
            if len(jobs) == 1 or self._connection is None or result_code(error) in _COMMON:
                for job in jobs:
                    job.error = store_error(self._path, error)
            else:
                for job in jobs:
                    self._commit([job])

    def _back_out(self, error: BaseException) -> None:
        connection = self._connection
        if connection is None:
            return
        poisoned = result_code(error) in _POISON
        if not poisoned and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                poisoned = True
        if poisoned:
            self._connection = None
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _ready(self) -> sqlite3.Connection:
        if self._lock is None:
            raise not_open()
        if self._connection is None:
            self._connection = self._connect(create=False)
        return self._connection

    def _locked(self) -> FileLock:
        try:
            return FileLock(self._path.with_name(f"{self._path.name}.lock"))
        except BlockingIOError as error:
            raise StoreError(f"{self._path}: open already, in another process or in this one") from error

    def _connect(self, *, create: bool) -> sqlite3.Connection:
        # By us, because SQLite would create the file with the permissions that the umask leaves; its journal
        # then gets those of the file.
        os.close(open_private(self._path, create=create))
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            version = self._checked_version(connection, create=create)
            self._configure(connection)
            self._migrate(connection, version)
        except BaseException:
            connection.close()
            raise
        return connection

    def _checked_version(self, connection: sqlite3.Connection, *, create: bool) -> int:
        """Return the schema's version, before anything is written to what may not be ours."""
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        known = self._schema.version
        if not create and version != known:
            raise StoreError(f"{self._path}: the database was replaced while it was open")
        if application_id != self._schema.application_id and (application_id or version or tables):
            raise StoreError(f"{self._path}: the database belongs to another program")
        if version > known:
            raise StoreError(
                f"{self._path}: the database has schema {version}, and this release knows {known}: "
                "a newer release wrote it"
            )
        if 0 < version < self._schema.first:
            raise StoreError(
                f"{self._path}: the database has schema {version}, which is older than any release can read: "
                "move the file away, and register again"
            )
        return int(version)

    @staticmethod
    def _configure(connection: sqlite3.Connection) -> None:
        if wal_is_safe(sqlite3.sqlite_version_info):
            journal, synchronous = "wal", "FULL"
        else:
            journal, synchronous = "delete", "EXTRA"
        (actual,) = connection.execute(f"PRAGMA journal_mode = {journal}").fetchone()
        if actual != journal:
            raise StoreError(f"the database cannot be used in journal mode {journal}")
        for setting in (
            f"synchronous = {synchronous}",
            # What is deleted is overwritten: bodies and old tokens do not stay where they were. What SQLite
            # moved to another page before may stay in the gap that it left, until the next VACUUM.
            "secure_delete = ON",
            "foreign_keys = ON",
            # What does not fit in its cache, SQLite would write to the system's folder for such files.
            "temp_store = MEMORY",
            # Only macOS knows these: there, fsync alone leaves the data in the drive's cache.
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
        ):
            connection.execute(f"PRAGMA {setting}")

    def _migrate(self, connection: sqlite3.Connection, version: int) -> None:
        missing = self._schema.migrations[max(version - self._schema.first + 1, 0) :]
        if not missing:
            return
        connection.execute("BEGIN IMMEDIATE")
        for migration in missing:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {self._schema.application_id}")
        connection.execute(f"PRAGMA user_version = {self._schema.version}")
        connection.execute("COMMIT")

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                connection.close()
        finally:
            if lock is not None:
                lock.release()
