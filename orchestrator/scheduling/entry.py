"""Entry: a job that has not ended, and where it stands."""

from __future__ import annotations

import asyncio

from orchestrator.dag.lanes import Attempt
from orchestrator.jobs.model import AsyncJob
from orchestrator.scheduling.records import Call, Row, call_of, job_of


class Entry:
    """What the engine knows of a job. One for each that waits, starts, runs, or is being written."""

    __slots__ = ("asleep", "attempt", "busy", "by_wall_clock", "call", "cancelled", "fire", "job", "last", "waiters")

    def __init__(self, job: AsyncJob, call: Call | None, *, by_wall_clock: bool = False) -> None:
        self.job = job
        self.call = call
        """None for one of the store's that has not been read yet; then `job` has only its place in the queue."""
        self.by_wall_clock = by_wall_clock if call is None else call.by_wall_clock
        """Whether it is due at a time of day, and not after a time."""
        self.busy = False
        """Whether it is no longer waiting: it starts, runs, or its next state is being written."""
        self.asleep = False
        """Whether it is an occurrence that waits, which nobody waits for."""
        self.attempt: Attempt | None = None
        self.cancelled = False
        """Whether somebody has asked for that."""
        self.last = False
        """Whether no other occurrence is to follow, of a recurring job."""
        self.fire = job.due
        """The time that this occurrence stands for."""
        self.waiters: list[asyncio.Future[AsyncJob]] = []

    def fill(self, row: Row) -> None:
        """Complete what is known of a job that came from the store."""
        if self.call is None:
            self.call = call_of(row)
            self.job = job_of(row, self.call)

    def told(self) -> None:
        """Give the job to those who wait for its end."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(self.job)
        self.waiters.clear()

    def fail(self, error: Exception) -> None:
        """Tell those who wait for its end that they wait in vain."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self.waiters.clear()
