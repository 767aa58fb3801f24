"""What a store holds: its tables, how older ones are brought up to date, and the changes that are written."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

APPLICATION_ID = 0x4F524368
"""Tells a store from the databases of other applications (sqlite.org/pragma.html#pragma_application_id)."""

_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

MIGRATIONS: tuple[str, ...] = (
    f"""
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT UNIQUE NOT NULL,
        name TEXT NOT NULL DEFAULT '',
        status TEXT NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed')),
        priority INTEGER NOT NULL DEFAULT 0,
        due REAL,
        series TEXT,
        rule TEXT,
        by_wall_clock INTEGER NOT NULL DEFAULT 0,
        call BLOB,
        terms BLOB,
        attempts INTEGER NOT NULL DEFAULT 0,
        submitted REAL NOT NULL DEFAULT 0,
        started REAL,
        finished REAL,
        result BLOB,
        error TEXT,
        ending TEXT,
        cancelled INTEGER NOT NULL DEFAULT 0,
        interrupted INTEGER NOT NULL DEFAULT 0,
        execution_time REAL NOT NULL DEFAULT 0,
        cpu_time REAL NOT NULL DEFAULT 0,
        peak_memory INTEGER NOT NULL DEFAULT 0,
        output TEXT NOT NULL DEFAULT '',
        stderr TEXT NOT NULL DEFAULT ''
    ) {_STRICT};
    CREATE INDEX jobs_status ON jobs (status);
    CREATE INDEX jobs_finished ON jobs (finished) WHERE status IN ('done', 'failed');
    CREATE TABLE lease (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        token TEXT NOT NULL,
        pid INTEGER NOT NULL,
        ticks INTEGER NOT NULL,
        boot TEXT NOT NULL,
        namespace TEXT NOT NULL,
        beat REAL NOT NULL
    ) {_STRICT};
    """,
)
"""The script at place N makes schema N + 1 of schema N. What has been released is never changed, only added to."""

Row = dict[str, Any]
"""A job as it is stored: the columns of `jobs` by name."""


class Waiting(NamedTuple):
    """What has to be known of a job that waits; `due` in seconds since the epoch."""

    job_id: str
    priority: int
    due: float | None
    series: str | None
    rule: str | None = None
    by_wall_clock: int = 0


class Insert(NamedTuple):
    """A new job; a column that the row lacks gets its default, and `seq` the next number."""

    row: Row


class Update(NamedTuple):
    """New values of some columns; a job that is not there stays so."""

    job_id: str
    values: Row


class Forget(NamedTuple):
    """Delete the jobs that finished first, DONE or FAILED, until at most `keep` of these are left."""

    keep: int


Change = Insert | Update | Forget


def statement(change: Change) -> str:
    """Return the SQL of a change; changes alike have the same."""
    match change:
        case Insert(row):
            return f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        case Update(_, values):
            return f"UPDATE jobs SET {', '.join(f'{column} = ?' for column in values)} WHERE job_id = ?"
        case Forget():
            return """DELETE FROM jobs WHERE seq IN (
                SELECT seq FROM jobs INDEXED BY jobs_finished WHERE status IN ('done', 'failed')
                ORDER BY finished DESC, seq DESC LIMIT -1 OFFSET ?)"""


def parameters(change: Change) -> list[Any]:
    """Return the values for a change's SQL."""
    match change:
        case Insert(row):
            return [*map(_storable, row.values())]
        case Update(job_id, values):
            return [*map(_storable, (*values.values(), job_id))]
        case Forget(keep):
            return [keep]


def _storable(value: Any) -> Any:
    """Return a text without what UTF-8 cannot have (surrogates, as of a file's undecodable name), the rest as it is."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode()
    return value
