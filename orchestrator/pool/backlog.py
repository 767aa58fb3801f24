"""The queue between those who submit jobs and the slots that run them: one lock, all counts.

Jobs go in at the tail, and at the head when a slot could not run them. `take` hands out a chunk.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable

from orchestrator.exceptions import ConcurrencyError
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.job import Group, Job

_CHUNK_BYTES = 1 << 20
_CHUNK_TASKS = 4096  # as many tokens as fit a page of a pipe
_STARTING_AT_MOST = max(2, os.cpu_count() or 1)
_DRAINED = Outcome(Ending.SKIPPED, reason="skipped because the run was stopped\n", return_code=1)
_UNSTARTED = Outcome(Ending.CANCELLED, reason="cancelled before it started\n", return_code=130)


class Idle(Exception):
    """Tell a slot that nothing came in the time it was ready to wait."""


class Backlog:
    """Jobs that wait, and what is known of those that do not."""

    def __init__(self, slots: int, bound: int | None) -> None:
        # Guards every field below. Reentrant, for the garbage collector may run a finalizer that shuts the
        # pool down while its own thread holds it.
        self._lock = threading.RLock()
        self._came = threading.Condition(self._lock)  # jobs came, or the end did; waited for by idle slots
        self._went = threading.Condition(self._lock)  # a place is free, or all is done; waited for by submitters
        self._jobs: deque[Job] = deque()
        self._slots = slots
        self._bound = bound
        self._idle = 0
        self._running: set[Job] = set()
        self._live = 0
        self._coming = 0  # slots that will take a first chunk; of the live ones
        self._starting = 0  # slots whose first worker is not ready yet
        self._closed = False
        self._broken: ConcurrencyError | None = None
        self._endings: Counter[str] = Counter()

    # Submitting

    def put(self, jobs: Iterable[Job], acquire_timeout: float | None, from_slot: bool = False) -> None:
        """Queue jobs; wait for room for `acquire_timeout` seconds (None: for ever), but never in a slot's thread.

        Raises ConcurrencyError when there is no room or no worker can be started, RuntimeError when the
        pool is shut down; then none of the jobs is queued.
        """
        batch = list(jobs)
        with self._lock:
            self.check_open()
            if self._bound is not None:
                self._wait_for_room(len(batch), 0 if from_slot else acquire_timeout)
            self._jobs.extend(batch)
            wake = min(len(batch), self._idle)
            if wake:
                self._came.notify(wake)

    def check_open(self) -> None:
        """Raise what `put` raises once no more jobs are taken."""
        if self._broken is not None:
            raise ConcurrencyError(str(self._broken))
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _wait_for_room(self, count: int, acquire_timeout: float | None) -> None:
        assert self._bound is not None
        until = None if acquire_timeout is None else time.monotonic() + acquire_timeout
        while self._jobs and len(self._jobs) + count > self._bound:
            left = None if until is None else until - time.monotonic()
            if (left is not None and left <= 0) or not self._went.wait(left):
                raise ConcurrencyError(
                    f"the queue is full: {len(self._jobs)} tasks wait for {self._slots} workers (bound {self._bound}); "
                    "wait longer (acquire_timeout), allow more workers or a longer queue (max_queue)"
                )
            self.check_open()

    # Slots

    def vacant(self) -> bool:
        """Whether there are jobs that no idle slot will take, and room for another slot."""
        with self._lock:
            if self._live >= self._slots or self._starting >= _STARTING_AT_MOST or self._broken:
                return False
            return len(self._jobs) > self._idle + self._coming

    def enter(self) -> bool:
        """Count one more slot in, if there is a vacancy for it."""
        with self._lock:
            if not self.vacant():
                return False
            self._live += 1
            self._coming += 1
            self._starting += 1
            return True

    def arrived(self) -> None:
        """Count a slot as one that has taken its first chunk, or will take none."""
        with self._lock:
            self._coming -= 1

    def settled(self) -> None:
        """Count a slot as started: its first worker is ready, or was not needed."""
        with self._lock:
            self._starting -= 1

    def leave(self, why: ConcurrencyError | None = None) -> None:
        """Count a slot out. When one goes because no worker can be started, what can wait for no other fails.

        That is all that waits when the last one goes, and jobs that only make sense together.
        """
        with self._lock:
            self._live -= 1
            stranded: list[Job] = []
            if why is not None:
                if self._live == 0:
                    self._broken = why
                stranded = [job for job in self._jobs if self._live == 0 or job.group.together]
                self._jobs = deque(job for job in self._jobs if self._live != 0 and not job.group.together)
            self._went.notify_all()
        for job in stranded:
            self._tell([(job, Outcome(Ending.SKIPPED, reason=f"{why}\n", exception=why, return_code=1))])

    def take(self, idle_seconds: float | None) -> list[Job] | None:
        """Return the next chunk; None when there will be no more. Raises Idle when nothing came in time."""
        with self._lock:
            while True:
                chunk, dropped = self._cut_chunk()
                if chunk or dropped:
                    self._running.update(chunk)
                    self._went.notify_all()
                    break
                if self._closed or self._broken:
                    return None
                self._idle += 1
                try:
                    came = self._came.wait(idle_seconds)
                finally:
                    self._idle -= 1
                if not came and not self._jobs and not self._closed:
                    raise Idle
        for job in dropped:
            self._tell([(job, _UNSTARTED)])
        return chunk or self.take(idle_seconds)

    def _cut_chunk(self) -> tuple[list[Job], list[Job]]:
        """Cut the next chunk off the queue, and return with it the jobs that were cancelled while they waited."""
        chunk: list[Job] = []
        dropped: list[Job] = []
        jobs = self._jobs
        most, size = 1, 0
        while jobs and len(chunk) < most:
            job = jobs.popleft()
            group = job.group
            if chunk and (group is not chunk[0].group or not self._chunkable(job) or size > _CHUNK_BYTES):
                jobs.appendleft(job)
                break
            if job.cancelled:
                dropped.append(job)
                continue
            if not job.claimed:
                if not group.claim(job):
                    continue
                job.claimed = True
            chunk.append(job)
            size += len(job.pickled)
            if len(chunk) == 1 and self._chunkable(job):
                share = len(jobs) // (2 * self._slots) + 1  # which leaves work for every slot
                fewest = group.pace.crumb if group.uniform else 1
                most = min(group.pace.chunk, max(share, fewest), _CHUNK_TASKS)
        return chunk, dropped

    @staticmethod
    def _chunkable(job: Job) -> bool:
        """Whether a job may travel with others: what it uses must be told apart from its neighbours' use."""
        return not (job.alone or job.command or job.group.limits.memory)

    def give_back(self, jobs: list[Job]) -> None:
        """Return jobs that a slot took and did not run to the head of the queue; of a drained group they end here."""
        with self._lock:
            self._running.difference_update(jobs)
            wanted = [job for job in jobs if not job.group.drained]
            self._jobs.extendleft(reversed(wanted))
            self._came.notify(len(wanted))
        for job in jobs:
            if job.group.drained:
                self._tell([(job, _DRAINED)])

    def finish(self, ended: list[tuple[Job, Outcome]]) -> None:
        """Tell a group how jobs of one chunk ended, and count them."""
        self._tell(ended)
        with self._lock:
            for job, _ in ended:
                self._running.discard(job)

    def abandon(self, jobs: list[Job]) -> None:
        """Fail those of a slot's jobs that it has neither finished nor given back, because the slot failed."""
        with self._lock:
            lost = [job for job in jobs if job in self._running]
        why = "the pool lost track of it, through a fault of ours or a task that wrote into our pipes: see the log\n"
        if lost:
            self.finish([(job, Outcome(Ending.CRASHED, reason=why, return_code=1)) for job in lost])

    def _tell(self, ended: list[tuple[Job, Outcome]]) -> None:
        for _, outcome in ended:
            self._endings[outcome.ending.name] += 1  # the name: hashing an enum member costs four times as much
        ended[0][0].group.deliver_all(ended)

    def withdraw(self, groups: Iterable[Group]) -> list[Job]:
        """Take the waiting jobs of some groups off the queue and return them: they will not run."""
        theirs = {id(group) for group in groups}
        with self._lock:
            taken = [job for job in self._jobs if id(job.group) in theirs]
            if taken:
                self._jobs = deque(job for job in self._jobs if id(job.group) not in theirs)
                self._went.notify_all()
        return taken

    def cancel(self, jobs: Iterable[Job]) -> None:
        """Mark jobs as cancelled. Those that wait end here; the slots that have the others still have to be nudged."""
        marked = set(jobs)
        with self._lock:
            for job in marked:
                job.cancelled = True
            waiting = [job for job in self._jobs if job in marked]
            if waiting:
                self._jobs = deque(job for job in self._jobs if job not in marked)
                self._went.notify_all()
        for job in waiting:
            self._tell([(job, _UNSTARTED)])

    # The end

    def disown(self) -> None:
        """Become inert, in a forked copy of the driver: no lock may be waited for, no job will run here."""
        self._lock = threading.RLock()
        self._came = threading.Condition(self._lock)
        self._went = threading.Condition(self._lock)
        self._jobs.clear()
        self._live = 0
        self._closed = True

    def close(self, cancel: bool) -> None:
        """Take no more jobs; with `cancel`, give up those that wait."""
        with self._lock:
            self._closed = True
            given_up: list[Job] = []
            if cancel:
                given_up = list(self._jobs)
                self._jobs.clear()
            self._came.notify_all()
            self._went.notify_all()
        for job in given_up:
            self._tell([(job, _UNSTARTED)])

    def cancel_running(self) -> None:
        """Mark every job that a slot has as cancelled; the slots still have to be nudged."""
        with self._lock:
            for job in self._running:
                job.cancelled = True

    def wait_done(self, seconds: float | None = None) -> bool:
        """Wait until no jobs wait and every slot has gone; tell whether they have."""
        with self._lock:
            return self._went.wait_for(lambda: self._live == 0 and not self._jobs, seconds)

    @property
    def queued(self) -> int:
        """How many jobs wait."""
        return len(self._jobs)

    @property
    def closed(self) -> bool:
        """Whether no more jobs are taken."""
        return self._closed or self._broken is not None

    def endings(self) -> dict[Ending, int]:
        """Return how many jobs ended in each way so far."""
        return {Ending[name]: count for name, count in self._endings.items()}
