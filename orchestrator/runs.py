"""One call of a runner: feed tasks to a pool, settle what comes back, tell the listener.

A `Run` is the pool's Group for all jobs of the call. Slot threads only append to its inbox; everything
else (feeding, retries, fail-fast, events) happens in the thread that iterates over it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.events import Event, Finished, Listener, Retrying, Started
from orchestrator.exceptions import ConcurrencyError, UnsendableError
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.live import listener
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.job import Group, Job
from orchestrator.pool.payload import Packer
from orchestrator.pool.pool import Pool
from orchestrator.results import ExecutionResult, result_of_outcome
from orchestrator.retries import RetryPolicy
from orchestrator.stopping import stoppable

_log = logging.getLogger(__name__)

_WINDOW = 8192
_WINDOW_BYTES = 64 << 20
_FIRST_SLICE = 128  # small, so that the workers have something to do while the rest is pickled
_SLICE = 1024
_BATCH_SECONDS = 0.02
_LOOK_SECONDS = 0.5
"""How often a wait looks up: a signal that another thread has taken does not wake the main thread (`pool.deaf`)."""
_STOP_SECONDS = 30.0

Pack = Callable[["Run", int, Any], "Job | ExecutionResult"]
"""Make the job of one task, given its place and what the input held there; a result means that the task
has ended already. Raises UnsendableError for one that cannot be pickled."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the keyword options of the runners mean, checked."""

    limits: Limits = NO_LIMITS
    policy: RetryPolicy | None = None
    tolerated: float | None = None
    """How many failures are borne before the rest is given up (None: any number); under 1 it is a share."""
    on_event: Listener | None = None
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    live_output: bool = False
    """Whether what programs write is passed on to `live.listener`."""


class _Bell:
    """What wakes one waiting thread; a ring before the wait is kept, several count as one.

    May be rung in a signal handler. Waiting raises nothing of its own, so that a KeyboardInterrupt has no context.
    """

    __slots__ = ("_silent",)

    def __init__(self) -> None:
        self._silent = threading.Lock()
        self._silent.acquire()

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was rung already
            self._silent.release()

    def wait(self, seconds: float) -> None:
        self._silent.acquire(timeout=seconds)


class Run(Group):
    """Iterate over (index, result), in the order in which tasks end for good.

    `total` is the number of tasks where it is known; an unknown one is read lazily, only as far ahead as
    keeps the workers busy.
    """

    uniform = True

    def __init__(self, pool: Pool, tasks: Iterable[Any], pack: Pack, options: Options, total: int | None) -> None:
        super().__init__()
        self.limits = options.limits
        self.env = dict(options.env) if options.env is not None else None
        self.cwd = options.cwd
        self.wants_start = options.on_event is not None
        self._listener = listener() if options.live_output else None
        self.wants_output = self._listener is not None
        self.packer = Packer(self.share)
        self._pool = pool
        self._pack = pack
        self._options = options
        self._total = total
        # Written by slots, read by the iterating thread; neither needs a lock of ours, and both may be
        # written in a signal handler.
        self._inbox: deque[tuple[Job, Outcome | int]] = deque()
        self._bell = _Bell()
        self._held: deque[Job] = deque()
        self._ring_at = 1
        self._order = ""
        # Owned by the iterating thread.
        self._source = enumerate(tasks)
        self.held = 0
        """How many results the caller holds back, because one before them is not there yet: they count as out."""
        self._seen = 0
        self._exhausted = False
        self._flying: dict[int, Job] = {}
        self._bytes = 0
        self._failures = 0
        self._halted = ""
        self._again: list[tuple[float, int, Job]] = []
        self._history: dict[int, tuple[ExecutionResult, ...]] = {}
        self._settled: deque[tuple[int, ExecutionResult]] = deque()

    # Called by slots

    def begun(self, job: Job, pid: int) -> None:
        self._inbox.append((job, pid))
        self._bell.ring()

    def wrote(self, job: Job, stream: int, data: bytes) -> None:
        if self._listener is not None:
            self._listener(stream, data)

    def deliver(self, job: Job, outcome: Outcome) -> None:
        self._inbox.append((job, outcome))
        if len(self._inbox) >= self._ring_at:
            self._bell.ring()

    def deliver_all(self, ended: list[tuple[Job, Outcome]]) -> None:
        self._inbox.extend(ended)
        options = self._options
        judged = options.tolerated is not None or options.policy is not None
        failed = judged and any(outcome.ending is not Ending.OK for _, outcome in ended)
        if failed and options.tolerated is not None:
            # Nothing more may start before the iterating thread has judged this.
            self._held.extend(self._pool.withdraw(self))
        if failed or len(self._inbox) >= self._ring_at:
            self._bell.ring()

    # Called by anyone, signal handlers included

    def drain(self) -> None:
        """Hand out no more: what has not started ends SKIPPED, what runs goes on."""
        self._order = self._order or "drain"
        self._bell.ring()

    def cancel(self) -> None:
        """Stop: what has not started ends SKIPPED, what runs CANCELLED."""
        self._order = "cancel"
        self._bell.ring()

    # The iterating thread

    def __iter__(self) -> Iterator[tuple[int, ExecutionResult]]:
        with stoppable(self.cancel):
            yield from self._iterate()

    def _iterate(self) -> Iterator[tuple[int, ExecutionResult]]:
        settled = self._settled
        try:
            while True:
                if not self._order:
                    self._feed()
                while self._inbox:
                    self._receive(*self._inbox.popleft())
                if self._held and not self._order:
                    self._release()
                while settled:
                    index, result = settled.popleft()
                    if self.wants_start:
                        self._say(Finished(index, result.name, result))
                    yield index, result
                if self._order:
                    self._obey()
                elif self._flying or self._again:
                    if not self._inbox:
                        self._wait()
                elif self._exhausted and not settled:
                    return
        except BaseException:
            self._abort()
            raise

    def _feed(self) -> None:
        """Hand out tasks up to the window, the number that may be out at a time."""
        window = _WINDOW
        if self._total is None:
            pace, workers = self.pace, self._pool.max_workers
            window = min(window, max(4, 4 * pace.chunk) * workers)
            window = max(min(window, _WINDOW_BYTES // (pace.result_bytes + 1)), 2 * workers)
        size = _FIRST_SLICE
        while not self._exhausted and len(self._flying) + self.held <= window // 2 and self._bytes <= _WINDOW_BYTES:
            room = min(size, window - len(self._flying) - self.held)
            batch = []
            before = self._seen
            for index, task in itertools.islice(self._source, room):
                self._seen = index + 1
                job = self._job(index, task)
                if job is not None:
                    batch.append(job)
                    self._bytes += len(job.pickled)
                    if self._bytes > _WINDOW_BYTES:
                        break
            else:
                self._exhausted = self._seen - before < room
            self._dispatch(batch)
            size = _SLICE

    def _dispatch(self, jobs: list[Job]) -> None:
        """Queue jobs, and expect an outcome of exactly those that the pool has taken."""
        if jobs:
            self._flying.update((job.key, job) for job in jobs)
            try:
                self._pool.dispatch(jobs)
            except BaseException:
                for job in self._pool.withdraw(self):
                    del self._flying[job.key]
                for job in jobs:
                    if not job.claimed:
                        self._flying.pop(job.key, None)
                raise

    def _job(self, index: int, task: Any) -> Job | None:
        """Make a task's job, or settle it when it has ended already."""
        try:
            packed = self._pack(self, index, task)
        except UnsendableError as error:
            outcome = Outcome(Ending.UNSENDABLE, reason=f"{error}\n", exception=error, return_code=1)
            packed = result_of_outcome(outcome, f"task {index}")
        if isinstance(packed, Job):
            return packed
        self._settle(index, packed)
        return None

    def _wait(self) -> None:
        """Sleep until outcomes have come, a retry is due, or an order was given: whichever rings."""
        timeout = _LOOK_SECONDS
        self._ring_at = 1
        if self._total is not None and not self.wants_start:
            # Nobody wants single results: wake to hand out more, or when all is done.
            self._ring_at = max(1, len(self._flying) - (0 if self._exhausted else _WINDOW // 2))
        elif not self.wants_start and self.pace.chunk > 64:
            # Tasks of microseconds: waking for each would cost more than running it.
            self._ring_at = max(1, min(len(self._flying) // 2, self.pace.chunk // 4))
            timeout = _BATCH_SECONDS
        if self._again:
            timeout = min(timeout, max(0.0, self._again[0][0] - time.monotonic()))
        if len(self._inbox) < self._ring_at:
            self._bell.wait(timeout)
        while self._again and self._again[0][0] <= time.monotonic():
            self._dispatch([heapq.heappop(self._again)[2]])

    def _receive(self, job: Job, news: Outcome | int) -> None:
        """Take one message of a slot: a job has begun (its pid), or ended."""
        index = job.key
        history = self._history.get(index, ()) if self._history else ()
        if isinstance(news, int):
            self._say(Started(index, job.name, news, len(history) + 1))
            return
        del self._flying[index]
        self._bytes -= len(job.pickled)
        result = result_of_outcome(news, job.name, len(history) + 1, history)
        if news.ending is Ending.OK:
            self._settled.append((index, result))
            return
        policy = self._options.policy
        delay = None if policy is None or self._halted else policy.decide(news, len(history) + 1)
        if delay is None:
            self._settle(index, result)
            return
        self._history[index] = (*history, result)
        self._say(Retrying(index, job.name, result, len(history) + 1, delay))
        heapq.heappush(self._again, (time.monotonic() + delay, index, job.again()))

    def _settle(self, index: int, result: ExecutionResult) -> None:
        """Note a task's final end; give up the rest when too many have failed."""
        self._settled.append((index, result))
        if result.success or self._halted or self._options.tolerated is None:
            return
        self._failures += 1
        tolerated = self._options.tolerated
        if 0 < tolerated < 1:
            tolerated *= self._total or self._failures
        if self._failures > tolerated:
            self._halted = f"skipped because {result.name} failed ({result.ending.value})\n"
            self._order = "cancel"

    def _release(self) -> None:
        """Decide on the jobs that were held back when something failed: they go on, or are given up."""
        held = [self._held.popleft() for _ in range(len(self._held))]
        if not self._halted:
            self._pool.dispatch(held)
            return
        for job in held:
            self._inbox.append((job, Outcome(Ending.SKIPPED, reason=self._halted, return_code=1)))

    def _obey(self) -> None:
        """Carry out an order: settle what has not started, and stop what runs if so ordered."""
        order, self._order = self._order, ""
        reason = self._halted = self._halted or "skipped because the run was stopped\n"
        self.drained = True
        for job in self._pool.withdraw(self):
            self._inbox.append((job, Outcome(Ending.SKIPPED, reason=reason, return_code=1)))
        self._release()
        for _, index, _job in self._again:
            last = self._history[index][-1]
            self._settled.append((index, last))
        self._again.clear()
        if self._total is not None:
            for index, _task in self._source:
                outcome = Outcome(Ending.SKIPPED, reason=reason, return_code=1)
                self._settled.append((index, result_of_outcome(outcome, f"task {index}")))
        self._exhausted = True
        if order == "cancel":
            self._pool.cancel_jobs(self._flying.values())

    def _abort(self) -> None:
        """Stop everything, because the caller was interrupted or lost interest; bounded in time."""
        until = time.monotonic() + _STOP_SECONDS
        interrupted = True
        while interrupted:
            try:
                self._obey_abort(until)
                interrupted = False
            except KeyboardInterrupt:  # Ctrl-C again: we are at it
                continue

    def _obey_abort(self, until: float) -> None:
        self._order = "cancel"
        self._total = None  # nobody is there to be told about the rest
        self._obey()
        self._ring_at = 1
        while self._flying and time.monotonic() < until:
            while self._inbox:
                job, news = self._inbox.popleft()
                if not isinstance(news, int):
                    self._flying.pop(job.key, None)
            if self._flying:
                self._bell.wait(max(0.0, until - time.monotonic()))

    def _say(self, event: Event) -> None:
        listener = self._options.on_event
        if listener is None:
            return
        try:
            listener(event)
        except Exception:
            _log.exception("the listener failed on %s of %s", type(event).__name__, event.name)


def collect(ends: Iterable[tuple[int, ExecutionResult]], total: int) -> list[ExecutionResult]:
    """Return the results of a run by place. Raises ConcurrencyError when no task could be run, for want of workers."""
    results: list[ExecutionResult | None] = [None] * total
    for index, result in ends:
        results[index] = result
    settled = [result for result in results if result is not None]
    assert len(settled) == total, "a task ended without an outcome: this is a bug in orchestrator"
    if error := _contention(settled):
        raise error
    return settled


def _contention(results: Iterable[ExecutionResult]) -> ConcurrencyError | None:
    """Return the error of a run of which no task could be run at all, for want of workers."""
    errors = [r.exception for r in results]
    first = errors[0] if errors else None
    if isinstance(first, ConcurrencyError) and all(error is first for error in errors):
        return first
    return None
