"""A store of jobs: an SQLite database that is looked at before it is believed, and held by one process.

What `write` has returned from is on the disk (WAL, synchronous=FULL). What is damaged is refused and left as it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote

from orchestrator.exceptions import ConcurrencyError, StateError, StoreError
from orchestrator.store import files, lease, schema
from orchestrator.store.loss import lost
from orchestrator.store.schema import Change, Row, Waiting, parameters, statement

BUSY_SECONDS = 5.0
"""How long to wait for somebody else, a person with `sqlite3` at worst, to end a transaction."""

_CURES = {
    sqlite3.SQLITE_CORRUPT: files.CURE,
    sqlite3.SQLITE_NOTADB: files.CURE,
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "look at the disk, and at the limit on the size of files (ulimit -f)",
}


class Store:
    """One file with the jobs of a scheduler. For one thread at a time, and for the process that opened it.

    Opening makes the file when there is none, checks it, brings it to the present schema and takes the lease. Raises
    StoreError, which names the file, what was found and what to do; ConcurrencyError while another process has it.
    Every method raises StoreError for what SQLite cannot do, and StateError in a process forked from the owner.
    `renewed` is when the lease was, as of `lease.now`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)
        self._pid = os.getpid()
        with _registry, self._telling("opened"):
            files.refuse_foreign(self.path)
            if not os.path.lexists(self.path):
                files.create(self.path, _build)
            self._place = _place(self.path)
            if self._place in _opened:
                raise ConcurrencyError(f"the store {self.path} is open in this process already: close that one first")
            files.refuse_others(self.path)
            self._look()
            self._connection = _connect(self.path, "mode=rw")
            try:
                self._take()
                files.refuse_foreign(self.path)  # what was put beside it meanwhile, too
                self._migrate()
            except (sqlite3.Error, OSError, UnicodeDecodeError, StoreError, ConcurrencyError):
                self._connection.close()
                raise
            _opened[self._place] = self

    def waiting(self) -> list[Waiting]:
        """Return the jobs that are QUEUED, oldest first."""
        columns = ", ".join(Waiting._fields)
        rows = self._ask(f"SELECT {columns} FROM jobs WHERE status = 'queued' ORDER BY seq")
        return [*map(Waiting._make, rows)]

    def counts(self) -> dict[str, int]:
        """Return how many jobs have each status that any has."""
        return dict(self._ask("SELECT status, count(*) FROM jobs GROUP BY status"))

    def read(self, job_id: str) -> Row | None:
        """Return a job, None when there is none of that name."""
        return next(iter(self._rows("SELECT * FROM jobs WHERE job_id = ?", job_id)), None)

    def find(self, status: str | None = None, limit: int | None = None) -> list[Row]:
        """Return jobs, oldest first: of one status or of all, and at most so many."""
        where, values = ("", []) if status is None else ("WHERE status = ?", [status])
        query = f"SELECT * FROM jobs {where} ORDER BY seq LIMIT ?"
        return self._rows(query, *values, -1 if limit is None else limit)

    def write(self, changes: Sequence[Change]) -> None:
        """Write changes in this order, all of them or none, and renew the lease with them.

        Raises StoreError, or ConcurrencyError when another process has taken over; then nothing is written.
        """
        with self._transaction():
            for sql, alike in groupby(changes, statement):
                self._connection.executemany(sql, map(parameters, alike))

    def beat(self) -> None:
        """Renew the lease. Raises as `write` does."""
        with self._transaction():
            pass

    def close(self) -> None:
        """Give the lease back and close the file, with all changes in it. Again, or in a forked child: do nothing."""
        if self._pid != os.getpid() or _opened.get(self._place) is not self:
            return
        try:
            # The lease of a process that has ended or closes is over; to have said so is only cleaner.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA busy_timeout = 0")
                self._connection.execute("DELETE FROM lease WHERE token = ?", [self._token])
        finally:
            self._connection.close()
            del _opened[self._place]

    def _rows(self, sql: str, *values: Any) -> list[Row]:
        with self._telling("read"):
            cursor = self._owned().execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _ask(self, sql: str) -> list[Any]:
        with self._telling("read"):
            return self._owned().execute(sql).fetchall()

    def _owned(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            raise StateError(f"the store {self.path} was opened by process {self._pid}, of which this one is a fork")
        return self._connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Have a block write, all or nothing, as long as the store is ours."""
        with self._telling("written"), _transaction(self._owned()) as connection:
            renewed = connection.execute("UPDATE lease SET beat = ? WHERE token = ?", [lease.now(), self._token])
            if not renewed.rowcount:
                raise ConcurrencyError(f"the store {self.path} is no longer ours: another process has taken over")
            if _place(self.path) != self._place:
                raise StoreError(f"the store {self.path} is another file than the one we have: leave it in its place")
            yield
        self.renewed = lease.now()

    @contextlib.contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        """Turn what SQLite and the system raise into StoreError."""
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError, UnicodeDecodeError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            cure = _CURES.get(code)
            if code == sqlite3.SQLITE_BUSY:
                cure = f"{files.who_locks(self.path)} has had it locked for more than {BUSY_SECONDS:g} s"
            message = f"the store {self.path} cannot be {done}: {error}"
            raise StoreError(f"{message}; {cure}" if cure else message) from error

    def _look(self) -> None:
        """Read the whole of the file, and change no byte of it, before it is opened for writing."""
        while True:
            before = _state(self.path)
            try:
                self._inspect(alone=before[0] is None)
                break
            except (StoreError, sqlite3.Error, UnicodeDecodeError):
                # Another may have opened or closed it meanwhile, and have been writing what we read.
                if _state(self.path) == before:
                    raise

    def _inspect(self, alone: bool) -> None:
        problem = lost(self.path) if alone else None
        if problem is None:
            # Where there is no log, SQLite need not make one.
            logged = os.path.exists(f"{self.path}-wal") and os.path.getsize(f"{self.path}-wal")
            with contextlib.closing(_connect(self.path, "mode=ro" if logged or not alone else "immutable=1")) as file:
                self._refuse_held(file)
                [version] = file.execute("PRAGMA user_version").fetchone()
                files.refuse_newer(self.path, version)
                problem = _problem(file, version)
        if problem is not None:
            raise StoreError(f"the store {self.path} is damaged: {problem}; {files.CURE}")

    def _refuse_held(self, connection: sqlite3.Connection) -> None:
        """Raise ConcurrencyError while another process has the store."""
        found = connection.execute("SELECT token, pid, ticks, boot, namespace, beat FROM lease").fetchone()
        if found is not None and not lease.is_over(holder := lease.Holder(*found)):
            heard = f"heard of {max(0, lease.now() - holder.beat):.1f} s ago"
            raise ConcurrencyError(f"the store {self.path} is in use by process {holder.pid}, {heard}")

    def _take(self) -> None:
        if (mode := self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]) != "wal":
            raise StoreError(
                f"the store {self.path}: its file system allows no WAL (but {mode}); keep it on a local one"
            )
        self._connection.execute("PRAGMA synchronous = FULL")
        me = lease.myself()
        with _transaction(self._connection) as connection:
            self._refuse_held(connection)
            connection.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?, ?, ?, ?)", me)
        self._token = me.token
        self.renewed = me.beat

    def _migrate(self) -> None:
        [version] = self._connection.execute("PRAGMA user_version").fetchone()
        files.refuse_newer(self.path, version)
        _migrate(self._connection, version)


_registry = threading.Lock()
"""Guards `_opened`, and lets one thread at a time open a store."""

_opened: weakref.WeakValueDictionary[tuple[int, int], Store] = weakref.WeakValueDictionary()
"""The stores of this process by their place. To open and close a file that SQLite has open would lose its locks."""


def _place(path: str) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=False)
    return found.st_dev, found.st_ino


def _state(path: str) -> tuple[object, ...]:
    """Return what changes when somebody opens, writes or closes a store."""
    marks = list[tuple[int, int, int] | None]()
    for side in ("", "-wal"):
        try:
            found = os.stat(path + side)
            marks.append((found.st_ino, found.st_size, found.st_mtime_ns))
        except FileNotFoundError:
            marks.append(None)
    return files.who_has(path), *marks


def _connect(path: str, how: str) -> sqlite3.Connection:
    uri = f"file://{quote(os.fsencode(path))}?{how}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _build(path: str) -> None:
    """Make an empty file a store without jobs."""
    with contextlib.closing(_connect(path, "mode=rw")) as connection:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        _migrate(connection, 0)
        connection.execute("PRAGMA journal_mode = WAL")


def _problem(connection: sqlite3.Connection, version: int) -> str | None:
    """Say what is wrong with a database as such."""
    # quick_check would not see a job that its index does not know.
    [(found,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != "ok":
        return str(found)
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        _migrate(fresh, 0, version)
        for table in ("jobs", "lease"):
            columns = f"PRAGMA table_info({table})"
            if connection.execute(columns).fetchall() != fresh.execute(columns).fetchall():
                return f"the columns of its table {table} are not those of schema {version}"
    return None


def _migrate(connection: sqlite3.Connection, old: int, new: int | None = None) -> None:
    """Bring a database from one schema to another, the present one, each step whole or not at all."""
    for number, script in enumerate(schema.MIGRATIONS[old:new], start=old + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
