"""Pool: worker processes behind the interface of `concurrent.futures.Executor`.

    submit / map / run_parallel          the caller's thread pickles and queues
            |
        Backlog  <-------------------.   one queue, one lock
            | take a chunk           |   give back what was not run
        ProcessSlot (a thread) ------'   one per worker
            | one message down, a frame per finished task up
        Worker (a process)               runs the tasks
            |
        Group.deliver                    sets the future, or hands the outcome to a run

The slots hold the backlog, never the pool: a pool nobody refers to is collected, and its workers end.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from orchestrator import settings
from orchestrator.exceptions import ConcurrencyError, UnsendableError
from orchestrator.limits import NO_LIMITS, Limits, check_seconds
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool import exits, payload
from orchestrator.pool.backlog import Backlog
from orchestrator.pool.capture import OUTPUT_LIMIT
from orchestrator.pool.deaf import deafen
from orchestrator.pool.job import Group, Job
from orchestrator.pool.slots import ProcessSlot, SlotOptions, here
from orchestrator.results import ExecutionResult, result_of_outcome

_P = ParamSpec("_P")
_T = TypeVar("_T")
_AHEAD = 4  # chunks of a lazy map() in flight per worker


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """One child of a pool: `since` is how long its task has run in seconds, `rss` its tree's bytes at the last look."""

    pid: int
    state: str
    task: str | None
    since: float
    rss: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pool at one moment: its children, how many jobs wait, how many ended in each way, workers recycled."""

    workers: tuple[WorkerSnapshot, ...]
    queued: int
    endings: dict[Ending, int]
    recycled: int


class PoolFuture(Future[Any]):
    """A future that also tells how its task ended: `execution_result()`."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.outcome: Outcome | None = None
        self.job: Job | None = None
        """The job, until it has ended: it refers to us, and a cycle would keep the result in memory."""
        self.backlog: Backlog | None = None

    def result(self, timeout: float | None = None) -> Any:
        """Wait and return the value, as any future does. Raises ConcurrencyError where waiting would be a deadlock."""
        self._check_wait()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait and return the exception, as any future does. Raises ConcurrencyError as `result` does."""
        self._check_wait()
        return super().exception(timeout)

    def _check_wait(self) -> None:
        if self.backlog is not None and here.backlog is self.backlog and not self.done():
            raise ConcurrencyError(
                "a done-callback may not wait for its own pool: it runs in the thread that would have to do the work"
            )

    def execution_result(self, timeout: float | None = None) -> ExecutionResult:
        """Wait for the end and return it as an ExecutionResult: it never raises because the task failed.

        Raises TimeoutError when the task has not ended within `timeout` seconds.
        """
        self._check_wait()
        wait([self], timeout)
        if not self.done():
            raise TimeoutError(f"the task has not ended within {timeout} s")
        outcome = self.outcome or Outcome(Ending.CANCELLED, reason="cancelled before it started\n", return_code=130)
        return result_of_outcome(outcome, self.name)


class _Submissions(Group):
    """The group of jobs that were submitted alone: each tells its future."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits

    def claim(self, job: Job) -> bool:
        future: PoolFuture = job.key
        return future.set_running_or_notify_cancel()

    def deliver(self, job: Job, outcome: Outcome) -> None:
        future: PoolFuture = job.key
        future.outcome, future.job, job.key = outcome, None, None
        if not job.claimed and outcome.ending is Ending.CANCELLED:
            future.cancel()
            future.set_running_or_notify_cancel()
        elif outcome.ending is Ending.OK:
            future.set_result(outcome.value)
        elif outcome.exception is not None and outcome.ending in (Ending.RAISED, Ending.SKIPPED):
            future.set_exception(outcome.exception)
        else:
            try:
                result_of_outcome(outcome, job.name).unwrap()
            except BaseException as error:
                future.set_exception(error)


class Pool(Executor):
    """Run callables in worker processes, each with its own ending, output and limits.

    A `concurrent.futures.Executor`: it works with `wait`, `as_completed`, `asyncio.wrap_future` and
    `loop.run_in_executor`. A worker that dies, hangs or floods costs only the task it was running.

    Parameters: `max_workers` processes at most (None: `CODOMYRMEX_MAX_WORKERS`, else 4), started when
    there is work for them; `limits` for each task unless its submission has its own; `max_queue` tasks
    may wait (None: no bound), and `submit` then waits `acquire_timeout` seconds for room (None: for
    ever) before it raises ConcurrencyError; a worker is replaced after `max_tasks_per_worker` tasks, or
    between tasks when its resident memory exceeds `max_worker_memory` bytes; `output_limit` bytes are
    kept of each stream of a task; idle workers end after `idle_seconds` (None: never).

    Raises ValueError or TypeError for numbers that make no sense, ConcurrencyError when pools are
    nested more than three levels deep.

    >>> with Pool(max_workers=1) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        limits: Limits = NO_LIMITS,
        max_queue: int | None = None,
        acquire_timeout: float | None = None,
        max_tasks_per_worker: int | None = None,
        max_worker_memory: int | None = None,
        output_limit: int = OUTPUT_LIMIT,
        idle_seconds: float | None = None,
    ) -> None:
        if sys.platform != "linux":
            raise OSError("the pool needs Linux (pidfd_open(2), memfd_create(2)); this is " + sys.platform)
        self.max_workers = settings.check_workers(max_workers)
        if settings.depth() >= settings.MAX_DEPTH:
            raise ConcurrencyError(
                f"this is a task inside {settings.depth()} nested pools; {settings.MAX_DEPTH} levels are the most: "
                "run the inner work in this process"
            )
        for value, what in (
            (max_queue, "max_queue"),
            (max_tasks_per_worker, "max_tasks_per_worker"),
            (max_worker_memory, "max_worker_memory"),
            (output_limit, "output_limit"),
        ):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{what} must be a whole number above zero, not {value!r}")
        self._acquire_timeout = check_seconds(acquire_timeout, "acquire_timeout", zero=True)
        self._doomed = False
        self._submissions = _Submissions(limits)
        self._backlog = Backlog(self.max_workers, max_queue)
        self._crew = _Crew(
            self._backlog,
            SlotOptions(
                output_limit=output_limit,
                max_workers=self.max_workers,
                max_tasks=max_tasks_per_worker,
                max_worker_memory=max_worker_memory,
                idle_seconds=check_seconds(idle_seconds, "idle_seconds", zero=True),
            ),
        )
        self._finalizer = weakref.finalize(self, self._backlog.close, cancel=False)
        self._finalizer.atexit = False
        exits.enrol(self)

    # Submitting

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `fn(*args, **kwargs)` in a worker and return its future (a PoolFuture).

        A call that cannot be pickled gives a future that has failed with UnsendableError. Raises
        RuntimeError after `shutdown`, ConcurrencyError when the queue stays full.
        """
        return self._submit(self._submissions, fn, args, kwargs)

    def submit_limited(self, limits: Limits, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Do as `submit` does, with this submission's own limits."""
        return self._submit(_Submissions(limits), fn, args, kwargs)

    def _submit(
        self, group: _Submissions, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> PoolFuture:
        if not callable(fn):
            raise TypeError(f"a task must be callable, not {fn!r}")
        # Starting a worker imports it, which is refused once the interpreter is exiting; accepted work runs then too.
        import concurrent.futures.process  # noqa: F401

        future = PoolFuture()
        future.backlog = self._backlog
        future.name = name_of(fn)
        job = future.job = Job(group, future, future.name)
        try:
            job.pickled = payload.dump_call((fn, args, kwargs))
        except UnsendableError as error:
            self._backlog.check_open()
            future.outcome = Outcome(Ending.UNSENDABLE, reason=f"{error}\n", exception=error, return_code=1)
            future.job = None
            future.set_exception(error)
            return future
        self.dispatch([job])
        return future

    def dispatch(self, jobs: Iterable[Job]) -> None:
        """Queue jobs of any group. The way in for everything above the pool."""
        self._backlog.put(jobs, self._acquire_timeout, from_slot=here.backlog is self._backlog)
        self._crew.recruit()

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[_T]:
        """Yield `fn` of each item, in order; raise what the first failed one raised.

        Lazy: `iterables` are read as results are taken, a bounded number ahead, so they may be endless.
        `timeout` counts from this call, in seconds, for the whole iteration (TimeoutError). `chunksize`
        has only a lower bound of the number read ahead to say: chunks are made by measured duration.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be at least 1")
        until = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        ahead = max(chunksize, _AHEAD) * self.max_workers
        pending = deque(self.submit(fn, *arguments) for arguments in itertools.islice(calls, ahead))
        return self._in_order(pending, (self.submit(fn, *arguments) for arguments in calls), until)

    def _in_order(self, pending: deque[Future[_T]], more: Iterator[Future[_T]], until: float | None) -> Iterator[_T]:
        """Yield the results of `pending`, topping it up from `more` after each; cancel what is left at the end."""
        try:
            while pending:
                result = pending[0].result(None if until is None else until - time.monotonic())
                pending.popleft()
                pending.extend(itertools.islice(more, 1))
                yield result
                del result
        finally:
            for future in pending:
                future.cancel()

    # Cancelling and looking

    def cancel(self, future: Future[Any]) -> bool:
        """Cancel a future of this pool, also while it runs; tell whether that could still matter.

        A task that runs is interrupted, and killed with its tree after its grace period; its future then
        fails with ConcurrencyError and its ending is CANCELLED.
        """
        if future.cancel():
            return True
        job = future.job if isinstance(future, PoolFuture) else None
        if job is None or future.done():
            return False
        self.cancel_jobs([job])
        return True

    def cancel_jobs(self, jobs: Iterable[Job]) -> None:
        """Stop these jobs: those that wait will not run, and the slots that have the others are asked to stop them."""
        self._backlog.cancel(jobs)
        for slot in tuple(self._crew.slots):
            slot.nudge()

    def withdraw(self, *groups: Group) -> list[Job]:
        """Take the waiting jobs of groups back; those that run go on."""
        return self._backlog.withdraw(groups)

    def snapshot(self) -> Snapshot:
        """Return what the pool is doing now."""
        workers = []
        for slot in tuple(self._crew.slots):
            child = slot.child
            if child is not None and child.pid:
                task = child.task or None
                since = child.running_seconds() if task else 0.0
                workers.append(WorkerSnapshot(child.pid, child.state.value, task, since, child.rss))
        recycled = sum(slot.recycled for slot in tuple(self._crew.slots))
        return Snapshot(tuple(workers), self._backlog.queued, self._backlog.endings(), recycled)

    @property
    def closed(self) -> bool:
        """Whether the pool takes no more work: it was shut down, or no worker can be started."""
        return self._backlog.closed

    # The end

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, kill: bool = False) -> None:
        """Take no more work; with `cancel_futures` drop what waits, with `kill` stop what runs as well.

        Waits until every worker has ended, unless `wait` is false. May be called again, and from a
        done-callback (which then does not wait for itself).
        """
        # Remembered first: if Ctrl-C comes again in the midst of this, the next call goes on with it.
        self._doomed = kill = kill or self._doomed
        self._backlog.close(cancel=cancel_futures or kill)
        if kill:
            self._crew.cancel_all()
        if wait and here.backlog is not self._backlog:
            self._crew.recruit()  # Ctrl-C may have come between queueing work and starting somebody for it
            self._backlog.wait_done()
            self._crew.join()
        exits.discharge(self)

    def disown(self) -> None:
        """Become inert, in a forked copy of the driver: its workers are not ours."""
        self._backlog.disown()
        self._crew.disown()

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> bool | None:
        # Ctrl-C or a cancelled coroutine means now: waiting for what runs could take for ever.
        stop = exc_type is not None and not issubclass(exc_type, Exception)
        self.shutdown(wait=True, kill=stop)
        return None


class _Crew:
    """The slots of one pool, started as there is work for them. Refers to no pool."""

    def __init__(self, backlog: Backlog, options: SlotOptions) -> None:
        self._backlog = backlog
        self._options = options
        self.slots: list[ProcessSlot] = []

    def recruit(self) -> None:
        """Start a slot if jobs wait for one.

        Called in the main thread too, where KeyboardInterrupt may be raised between any two steps. So nothing
        is counted here: the new thread does that, in which nothing is raised.
        """
        if self._backlog.vacant():
            try:
                threading.Thread(target=self._serve, name="orchestrator-slot", daemon=True).start()
            except RuntimeError as error:  # no more threads to be had
                if self._backlog.enter():
                    self._give_up(error)

    def _serve(self) -> None:
        """Be a slot, if one is still wanted."""
        deafen()
        if not self._backlog.enter():
            return
        try:
            slot = ProcessSlot(self._backlog, self._options, self.recruit)
        except OSError as error:  # no more descriptors to be had
            self._give_up(error)
            return
        self.slots.append(slot)
        slot.live()

    def _give_up(self, error: Exception) -> None:
        self._backlog.arrived()
        self._backlog.settled()
        self._backlog.leave(ConcurrencyError(f"no worker can be started: {error}"))

    def disown(self) -> None:
        """Close our copies of the children's descriptors, in a forked copy of the driver."""
        for slot in self.slots:
            if slot.child is not None:
                slot.child.disown()
        self.slots.clear()

    def join(self) -> None:
        """Wait for the threads of slots that have left."""
        for slot in tuple(self.slots):
            slot.thread.join()

    def cancel_all(self) -> None:
        """Stop everything that runs."""
        self._backlog.cancel_running()
        for slot in tuple(self.slots):
            slot.nudge()


def name_of(task: Callable[..., Any]) -> str:
    """Return the name a reader knows a callable by."""
    name = getattr(task, "__qualname__", None)
    if isinstance(name, str):
        return name
    inner = getattr(task, "func", None)
    return name_of(inner) if inner is not None and callable(inner) else type(task).__qualname__
