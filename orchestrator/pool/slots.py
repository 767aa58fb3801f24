"""A slot: one thread that takes chunks, and one child at a time to run them in.

The thread's life is one straight function, `live`. Nothing else starts, feeds, kills or reaps a child.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable

from orchestrator.exceptions import ConcurrencyError
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.backlog import Backlog, Idle
from orchestrator.pool.child import Child, StartError
from orchestrator.pool.command import Command
from orchestrator.pool.job import Job
from orchestrator.pool.memory import guard
from orchestrator.pool.worker import Worker, WorkerLost

_log = logging.getLogger(__name__)

_FAILED_STARTS = 3


class _Here(threading.local):
    backlog: Backlog | None = None


here = _Here()
"""Which backlog the present thread works for, if it is a slot's: it must not wait for it."""


class SlotOptions:
    """What all slots of a pool share. Set once."""

    __slots__ = ("idle_seconds", "max_tasks", "max_worker_memory", "max_workers", "output_limit")

    def __init__(
        self,
        output_limit: int,
        max_workers: int,
        max_tasks: int | None,
        max_worker_memory: int | None,
        idle_seconds: float | None,
    ) -> None:
        self.output_limit = output_limit
        self.max_workers = max_workers
        self.max_tasks = max_tasks
        self.max_worker_memory = max_worker_memory
        self.idle_seconds = idle_seconds


class ProcessSlot:
    """The present thread as one of a pool's. It calls `recruit` when it has work, and when its first worker is up."""

    def __init__(self, backlog: Backlog, options: SlotOptions, recruit: Callable[[], None]) -> None:
        self._backlog = backlog
        self._options = options
        self._recruit = recruit
        self._settled = False
        self._nudge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._worker: Worker | None = None
        self.recycled = 0
        self.child: Child | None = None
        """What runs now, for snapshots and `nudge`; written by the slot's thread only."""
        self.thread = threading.current_thread()

    def nudge(self) -> None:
        """Make the slot look at its jobs again, because one was cancelled."""
        with contextlib.suppress(OSError):  # the slot has just ended
            os.eventfd_write(self._nudge, 1)

    def live(self) -> None:
        """Run chunks until there will be no more."""
        here.backlog = self._backlog
        why: ConcurrencyError | None = None
        jobs = self._next()
        self._backlog.arrived()
        self._recruit()  # one beside us, before our own worker is up
        while jobs is not None:
            try:
                why = self._run(jobs)
                if self._worker is not None and self._worn(self._worker):
                    self.recycled += 1
                    self._retire()
            except BaseException:  # our own mistake, or a task that wrote into our pipes: nobody may wait for ever
                _log.exception("a slot of the pool failed while it ran %s", jobs[0].name)
                self._backlog.abandon(jobs)
                self._retire()
            jobs = None if why is not None else self._next()
        self._settle(failed=why is not None)
        self._retire()
        self._backlog.leave(why)
        os.close(self._nudge)

    def _next(self) -> list[Job] | None:
        """Return the next chunk, or None at the end. A worker that has long been idle is let go meanwhile."""
        try:
            return self._backlog.take(self._options.idle_seconds if self._worker else None)
        except Idle:
            self._retire()
            return self._backlog.take(None)

    def _settle(self, *, failed: bool = False) -> None:
        """Say once that this slot has started, whatever became of it; unless it failed, another may start."""
        if self._settled:
            return
        self._settled = True
        self._backlog.settled()
        if not failed:
            self._recruit()

    # Running

    def _run(self, jobs: list[Job]) -> ConcurrencyError | None:
        """Run a chunk; return why the slot must close, if it must."""
        for attempt in range(1, _FAILED_STARTS + 1):
            try:
                if jobs[0].command is not None:
                    self._run_command(jobs[0])
                else:
                    self._run_chunk(jobs)
                return None
            except StartError as error:
                if attempt < _FAILED_STARTS:
                    continue
                self._backlog.give_back(jobs)
                text = (
                    f"no worker can be started ({error}); {self._backlog.queued} tasks were waiting. "
                    "look at the cause, or ask for fewer workers (max_workers)"
                )
                _log.warning("one worker fewer: %s", text)
                return ConcurrencyError(text)
        raise AssertionError("unreachable")

    def _run_command(self, job: Job) -> None:
        try:
            limit = job.command.output_limit if job.command else None
            command = Command(limit or self._options.output_limit, self._nudge)
        except OSError as error:
            raise StartError(f"{type(error).__name__}: {error}") from error
        self.child = command
        try:
            self._settle()
            outcome = command.run(job)
        finally:
            self.child = None
        self._backlog.finish([(job, outcome)])

    def _run_chunk(self, jobs: list[Job]) -> None:
        backlog = self._backlog
        while True:
            worker = self._ready_worker()
            limit = jobs[0].group.limits.memory
            if limit is not None and limit <= worker.baseline:
                self._refuse(jobs[0], limit, worker.baseline)
                return
            try:
                for ended in worker.run(jobs, backlog.give_back):
                    backlog.finish(ended)
                break
            except WorkerLost:
                self._retire()  # it died idle: nobody's fault, and the next one gets the chunk
        if not worker.reusable:
            self._retire()

    def _refuse(self, job: Job, limit: int, baseline: int) -> None:
        reason = f"the memory limit of {limit:,} bytes is below the {baseline:,} an idle worker takes: raise it\n"
        self._backlog.finish([(job, Outcome(Ending.OUT_OF_MEMORY, reason=reason, return_code=1))])

    # The worker

    def _ready_worker(self) -> Worker:
        if self._worker is None:
            try:
                worker = Worker(self._options.output_limit, self._options.max_workers, self._nudge)
            except OSError as error:
                raise StartError(f"{type(error).__name__}: {error}") from error
            self.child = worker
            try:
                worker.start()
            except StartError:
                self.child = None
                raise
            self._worker = worker
            self._settle()
        return self._worker

    def _worn(self, worker: Worker) -> bool:
        options = self._options
        if options.max_tasks is not None and worker.tasks_run >= options.max_tasks:
            return True
        if options.max_worker_memory is None:
            return False
        usage = guard.look(worker.pid)
        return usage is not None and usage.rss > options.max_worker_memory

    def _retire(self) -> None:
        worker, self._worker = self._worker, None
        self.child = None
        if worker is not None:
            try:
                worker.close()
            except Exception:
                _log.exception("worker %d could not be closed", worker.pid)
