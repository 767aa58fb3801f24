"""AsyncScheduler: calls that are queued, run a few at a time, and looked after until each has ended.

What people call; how it works is in `orchestrator.scheduling`.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import os
import secrets
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Literal

from orchestrator import settings
from orchestrator.dag.model import Task, Where, check_executor
from orchestrator.dag.routes import Options
from orchestrator.exceptions import ConcurrencyError, StateError
from orchestrator.jobs import moves
from orchestrator.jobs.model import FINAL, AsyncJob, AsyncJobStatus, SchedulerMetrics
from orchestrator.jobs.terms import Terms
from orchestrator.limits import GRACE_SECONDS, check_seconds
from orchestrator.pool.pool import name_of
from orchestrator.programs import Program
from orchestrator.retries import RetryPolicy
from orchestrator.scheduling import clock
from orchestrator.scheduling.engine import Engine
from orchestrator.scheduling.entry import Entry
from orchestrator.scheduling.ledger import Ledger
from orchestrator.scheduling.records import Call, Row, call_of, job_of, raw_of, row_of
from orchestrator.scheduling.revival import revive

_KEPT = 10_000
"""How many jobs that have ended a scheduler without a store remembers."""
_ROUND = 256
"""Submissions taken at a time without a store: then the loop goes round, so that jobs run."""

_Submit = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Coroutine[Any, Any, AsyncJob]]

_living = threading.Lock()  # guards the next, which the tools of other threads read
_live: weakref.WeakSet[AsyncScheduler] = weakref.WeakSet()


class AsyncScheduler:
    """A queue of calls in the running event loop, kept in a file if wanted.

    Parameters: `max_concurrency`, jobs that run at a time; `store`, the file of an SQLite store (None: nothing
    is kept); `executor`, where plain callables run: "thread" (None, the default), "process" or any
    `concurrent.futures.Executor`; `max_queued`, how many jobs may wait, occurrences of recurring ones apart (None: any
    number), and `when_full`, what `submit` does then: "wait", or "raise" a ConcurrencyError; `requeue_interrupted`,
    whether a job that ran when its scheduler died is queued again, or ends FAILED (`interrupted` tells in both cases);
    `keep`, about how many jobs that have ended are remembered, the newest (None: all in a store, 10,000 without one).

    A coroutine function runs in the event loop, a plain callable where `executor` says, and one with a `timeout`
    or `memory_limit` in a worker process, because only a process can be stopped.

    With a store every change is committed before it is told: after a crash, jobs that waited wait again, those that had
    ended are there with their results, and one that ran is told as interrupted. One scheduler at a time has a store.
    Functions and arguments are pickled, so whoever can write to the file could run code: it is created with mode
    0600 and refused where others may write.

    Use it as an async context manager, or `close` it: it then takes no more and waits for what runs, and without a
    store for what is queued, too. Raises TypeError or ValueError at once for what makes no sense.

    >>> async def main():
    ...     async with AsyncScheduler() as scheduler:
    ...         job = await scheduler.submit(pow, 2, 10)
    ...     return job.status, job.result
    >>> asyncio.run(main())
    (<AsyncJobStatus.DONE: 'done'>, 1024)
    """

    def __init__(
        self,
        max_concurrency: int = 4,
        store: str | os.PathLike[str] | None = None,
        executor: Where | None = None,
        *,
        max_queued: int | None = None,
        when_full: Literal["wait", "raise"] = "wait",
        requeue_interrupted: bool = False,
        keep: int | None = None,
    ) -> None:
        settings.check_workers(max_concurrency, "max_concurrency")
        check_executor(executor, "AsyncScheduler")
        for value, what in ((max_queued, "max_queued"), (keep, "keep")):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{what} must be a whole number above zero or None, not {value!r}")
        if when_full not in ("wait", "raise"):
            raise ValueError(f"when_full must be 'wait' or 'raise', not {when_full!r}")
        self._path = None if store is None else os.fspath(store)
        self._most = max_concurrency
        self._options = Options(max_concurrency=max_concurrency, executor=executor, max_workers=max_concurrency)
        self._max_queued = max_queued
        self._when_full = when_full
        self._requeue = requeue_interrupted
        self._keep = _KEPT if keep is None and store is None else keep
        self._prefix = secrets.token_hex(6)
        self._ids = 0
        self._ledger = Ledger(self._failed)
        self._engine: Engine | None = None
        self._opening: asyncio.Task[Engine] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished: dict[str, Entry] = {}  # without a store
        self._known: weakref.WeakValueDictionary[str, AsyncJob] = weakref.WeakValueDictionary()
        """The jobs of a store that have ended and that somebody still has: there is one object for each."""
        self._submitting = 0
        self._room: deque[asyncio.Future[None]] = deque()
        self._closing = False
        self._shutting: asyncio.Future[None] | None = None

    # Submitting

    async def submit(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncJob:
        """Queue `func(*args, **kwargs)` and return its job, once the store has it. `options` has terms to add.

        Raises TypeError or ValueError for what cannot be called, UnsendableError for what a store cannot keep,
        ConcurrencyError when the queue is full and `when_full` is "raise", or when another scheduler has taken over the
        store, StateError when the scheduler was closed, StoreError when the store cannot be written.
        """
        return await self._submit(_PLAIN, func, args, kwargs)

    def options(
        self,
        *,
        name: str | None = None,
        priority: int = 0,
        delay: float | None = None,
        at: float | datetime | None = None,
        every: float | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
        memory_limit: int | str | None = None,
        grace: float = GRACE_SECONDS,
        retry_policy: RetryPolicy | None = None,
        executor: Where | None = None,
        requeue: bool = False,
    ) -> Submitter:
        """Return something whose `submit` queues on these terms: `scheduler.options(priority=1).submit(f, x)`.

        Parameters: `name`, what readers know the job by (None: the function's name); `priority`, higher ones start
        first; `delay`, seconds before it may start; `at`, when it may: a datetime (without a time zone: local time) or
        seconds since the epoch; `every`, seconds between the starts of a recurring job, the first one at once or
        after `delay` or at `at`; `cron`, five fields as in crontab(5), in local time or in `timezone` (an IANA
        name); `timeout`, `memory_limit`, `grace`, `retry_policy` and `executor` as for a `Task`; `requeue`, whether
        it is queued again when the scheduler dies while it runs.

        A recurring job never overlaps itself, and what was missed meanwhile is made up for by one run. Raises
        TypeError or ValueError for what makes no sense.
        """
        terms = Terms(
            name=name, priority=priority, delay=delay, at=at, every=every, cron=cron, timezone=timezone,
            timeout=timeout, memory_limit=memory_limit, grace=grace, retry_policy=retry_policy,
            executor=executor, requeue=requeue,
        )  # fmt: skip
        return Submitter(functools.partial(self._submit, terms))

    async def _submit(
        self, terms: Terms, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncJob:
        engine = self._engine if self._engine is not None else await self._opened()
        self._check()
        task = Task(
            terms.name or _name_of(func), func, list(args), kwargs,
            timeout=terms.timeout, retry_policy=terms.retry_policy, executor=terms.executor,
            memory_limit=terms.memory_limit, grace=terms.grace,
        )  # fmt: skip
        now = engine.now(by_wall_clock=terms.by_wall_clock)
        call = Call(task, terms.rule(), terms.requeue, terms.by_wall_clock)
        job = AsyncJob(self._new_id(), func, name=task.name, priority=terms.priority)
        job.submitted, job.due = clock.wall(), terms.due(now)
        if call.rule is not None:
            job.series = job.job_id
        row = row_of(job, call) if self._ledger.kept else None
        if self._max_queued is not None:
            await self._room_for_one(engine, self._max_queued)
        if row is None:
            engine.welcome(Entry(job, call))
            if self._ids % _ROUND == 0:
                await asyncio.sleep(0)
            return job
        if call.rule is not None:
            call = call._replace(raw=raw_of(row))
        self._submitting += 1
        await self._ledger.insert(row, functools.partial(self._submitted, engine, Entry(job, call)))
        return job

    def _submitted(self, engine: Engine, entry: Entry) -> None:
        self._submitting -= 1
        if self._ledger.broken is None:
            engine.welcome(entry)

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._prefix}-{self._ids}"

    async def _room_for_one(self, engine: Engine, most: int) -> None:
        """Wait until another job may be queued."""
        while (queued := engine.queued + self._submitting) >= most:
            if self._when_full == "raise":
                raise ConcurrencyError(
                    f"the queue is full: {queued} of {most} wait (max_queued); wait until some have started, or "
                    "allow more"
                )
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(room)
            try:
                await room
            except asyncio.CancelledError:
                if room.done() and not room.cancelled():
                    self._make_room()  # it was given to us, who do not need it any more
                raise
            self._check()

    def _make_room(self) -> None:
        while self._room:
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)
                return

    def _check(self) -> None:
        """Raise what keeps us from taking more jobs."""
        if self._closing:
            raise StateError("the scheduler is closed and takes no more jobs")
        self._check_loop()
        self._ledger.check()

    def _check_loop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            raise StateError("a scheduler belongs to the event loop in which it was opened; make one for each")

    # What the engine tells

    def _ended(self, entry: Entry) -> None:
        if not self._ledger.kept:
            self._finished[entry.job.job_id] = entry
            if self._keep is not None and len(self._finished) > self._keep:
                del self._finished[next(iter(self._finished))]
            return
        self._known[entry.job.job_id] = entry.job
        if self._keep is not None and self._ledger.writes:
            self._ledger.forget(self._keep)

    def _failed(self) -> None:
        """Go on without the store: what runs ends and is told, nothing more is started, and everybody hears of it."""
        while self._room:
            self._make_room()
        if self._engine is not None:
            self._engine.forsake()

    # Opening and closing

    async def open(self) -> None:
        """Open the store and take up what is in it. The first `submit` does the same.

        Raises StoreError for a store that cannot be used, ConcurrencyError for one that another scheduler has,
        StateError when the scheduler was closed.
        """
        if self._closing:
            raise StateError("the scheduler is closed; make another")
        await self._opened()

    async def _opened(self) -> Engine:
        if self._engine is not None:
            self._check_loop()
            return self._engine
        if self._closing:
            raise StateError("the scheduler is closed")
        if self._opening is None or self._opening.done():
            self._loop = asyncio.get_running_loop()
            self._opening = self._loop.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Engine:
        revived = None
        if self._path is not None:
            await self._ledger.open(self._path)
            look = functools.partial(revive, requeue=self._requeue, new_id=self._new_id)
            async with AsyncExitStack() as undo:
                undo.push_async_callback(self._ledger.close)
                revived = await self._ledger.ask(look)
                undo.pop_all()
        engine = Engine(self._options, self._most, self._ledger, self._new_id, self._ended, self._make_room)
        if revived is not None:
            engine.counts.update(revived.counts)
            for entry in revived.entries:
                engine.admit(entry)
        with _living:
            _live.add(self)
        self._engine = engine
        engine.turn()
        return engine

    async def drain(self) -> None:
        """Wait until every job has ended, but for the occurrences of recurring jobs that are not running.

        More may be submitted meanwhile, and are waited for too. Raises StoreError when the store could not be written.
        """
        engine = await self._opened()
        _check_outside(engine, "drain")
        await engine.until_quiet()
        self._ledger.check()
        if self._closing and engine.queued:
            raise StateError("the scheduler was closed, and left jobs that wait in its store")

    async def close(self, *, cancel: bool = False) -> None:
        """Take no more jobs and wait for those that run; with `cancel` stop them.

        What waits stays in the store for the next time. Without a store there is none: then what waits runs first, or,
        with `cancel`, ends cancelled; recurring jobs recur no more. Raises StoreError when the store could not be
        written. May be called again.
        """
        if self._engine is not None:
            _check_outside(self._engine, "close")
        self._closing = True
        while self._room:
            self._make_room()
        if self._opening is not None:
            await asyncio.wait([self._opening])
        engine = self._engine
        if engine is None:
            return
        try:
            self._end_all(engine, cancel=cancel)
            await engine.until_quiet()
        except asyncio.CancelledError:
            self._end_all(engine, cancel=True)
            await _insist(engine.until_quiet())
            raise
        finally:
            if self._shutting is None:
                self._shutting = asyncio.ensure_future(self._shut(engine))
            await _insist(self._shutting)
        self._ledger.check()

    def _end_all(self, engine: Engine, *, cancel: bool) -> None:
        """Have what is left end, as far as it should."""
        kept = self._ledger.kept
        engine.halted = engine.halted or cancel or kept
        engine.recurs = kept
        for entry in list(engine.entries.values()):
            if (cancel and (entry.busy or not kept)) or (entry.asleep and not kept):
                engine.stop(entry, "cancelled because the scheduler was closed")

    async def _shut(self, engine: Engine) -> None:
        with _living:
            _live.discard(self)
        engine.close()
        await self._ledger.close()

    async def __aenter__(self) -> AsyncScheduler:
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.close, cancel=True)  # when we are cancelled the opening goes on
            await self.open()
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(cancel=kind is not None)

    # Looking

    async def get(self, job_id: AsyncJob | str) -> AsyncJob:
        """Return a job by its id. Raises LookupError for one that is no job's, or of one no longer remembered."""
        return (await self._find(_id_of(job_id))).job

    async def _find(self, job_id: str) -> Entry:
        engine = await self._opened()
        entry = engine.entries.get(job_id) or self._finished.get(job_id)
        if entry is not None:
            await engine.fill(entry)
            return entry
        while True:
            row = await self._ledger.read(job_id)
            entry = engine.entries.get(job_id)
            if row is None:
                raise LookupError(f"there is no job {job_id!r} (or it has ended and is no longer remembered: see keep)")
            if entry is not None:
                entry.fill(row)
                return entry
            if AsyncJobStatus(row["status"]) in FINAL:
                call = call_of(row)
                return Entry(self._known_of(row, call), call)
            # It has ended since it was read: look again.

    def _known_of(self, row: Row, call: Call) -> AsyncJob:
        """Return the one object of a job that has ended."""
        job = self._known.get(row["job_id"])
        if job is None:
            job = self._known[row["job_id"]] = job_of(row, call)
        return job

    async def jobs(self, status: AsyncJobStatus | str | None = None) -> list[AsyncJob]:
        """Return the jobs there are, those that have ended included, the oldest first; only those of a `status`.

        Raises ValueError for what is no status.
        """
        wanted = None if status is None else AsyncJobStatus(status)
        engine = await self._opened()
        if not self._ledger.kept:
            found = [entry.job for entry in (*self._finished.values(), *engine.entries.values())]
            found.sort(key=lambda job: int(job.job_id.rpartition("-")[2]))
        else:
            found = []
            for row in await self._ledger.ask(lambda store: store.find(None if wanted is None else wanted.value)):
                entry = engine.entries.get(row["job_id"])
                if entry is not None:
                    entry.fill(row)
                    found.append(entry.job)
                elif AsyncJobStatus(row["status"]) in FINAL:
                    found.append(self._known_of(row, call_of(row)))
                else:  # it has ended since it was read
                    found.append((await self._find(row["job_id"])).job)
        return [job for job in found if wanted is None or job.status is wanted]

    async def wait(self, job: AsyncJob | str, timeout: float | None = None) -> AsyncJob:
        """Wait until a job has ended, and return it; of a failure its fields tell, or `unwrap`.

        Raises TimeoutError after `timeout` seconds, LookupError as `get` does, StoreError when the store has failed and
        the job will not run, StateError when the scheduler is closed and has left the job in its store.
        """
        if isinstance(job, AsyncJob) and job.status in FINAL:
            return job
        job_id = _id_of(job)
        seconds = check_seconds(timeout, "timeout", zero=True)
        engine = await self._opened()
        entry = engine.entries.get(job_id)
        if entry is None:
            return await self.get(job_id)
        end = self._end_of(engine, entry)
        try:
            async with asyncio.timeout(seconds):
                return await end
        except TimeoutError:
            raise TimeoutError(
                f"{entry.job} has not ended after {seconds:g} s: it is {entry.job.status.value}"
            ) from None
        finally:
            if end in entry.waiters:  # we have been cancelled
                entry.waiters.remove(end)

    def _end_of(self, engine: Engine, entry: Entry) -> asyncio.Future[AsyncJob]:
        """Return a future that has the job once it has ended. Raises StoreError or StateError when it will not."""
        if not entry.busy and engine.over is not None:
            raise engine.over
        waiter: asyncio.Future[AsyncJob] = asyncio.get_running_loop().create_future()
        entry.waiters.append(waiter)
        return waiter

    async def get_metrics(self) -> SchedulerMetrics:
        """Return what the scheduler is doing; with a store, the jobs that have ended include those of earlier times.

        The throughput is that of the last minute, in jobs that ended per second.
        """
        await self._opened()
        return self.metrics()

    def metrics(self) -> SchedulerMetrics:
        """Return the same as `get_metrics`, from any thread; zeros before the scheduler is opened."""
        engine = self._engine
        if engine is None:
            return SchedulerMetrics(0, 0, 0, 0, 0.0)
        counts = engine.counts
        return SchedulerMetrics(
            counts[AsyncJobStatus.RUNNING],
            counts[AsyncJobStatus.QUEUED],
            counts[AsyncJobStatus.DONE],
            counts[AsyncJobStatus.FAILED],
            engine.per_second(),
        )

    # Cancelling and repeating

    async def cancel(self, job_id: AsyncJob | str) -> bool:
        """Stop a job, wait until it has ended, and tell whether that made a difference.

        One that waits never runs; a coroutine is cancelled; what runs in the pool is interrupted, and killed after its
        grace period; a thread cannot be stopped, so its job ends without it. Given the `series` of a recurring job, or
        its present occurrence, that one ends and no other follows. A job that has ended is left as it is: False.

        Raises LookupError as `get` does, StoreError when the store cannot be written.
        """
        name = _id_of(job_id)
        engine = await self._opened()
        entry = engine.entries.get(name) or engine.series.get(name)
        if entry is None:
            await self._find(name)
            return False
        end = self._end_of(engine, entry)
        series, ends_series = entry.job.series, entry.job.series is not None and not entry.last
        entry.last = True
        engine.stop(entry, "cancelled on request")
        cancelled = (await end).cancelled
        if ends_series and (following := engine.series.get(series or "")) is not None:  # it was being written
            await self._end_of(engine, following)
        return cancelled or ends_series

    async def requeue(self, job_id: AsyncJob | str) -> AsyncJob:
        """Queue a job that has FAILED once more, and return it; its attempts count on. It recurs no more.

        Raises StateError for a job that has not failed, LookupError as `get` does, StoreError when the store cannot be
        written.
        """
        engine = await self._opened()
        self._check()
        found = await self._find(_id_of(job_id))
        if found.job.job_id in engine.entries and found.job.status in FINAL:
            raise StateError(f"{found.job} is being queued again already")
        moves.requeue(copy.copy(found.job))  # raises what there is to raise
        assert found.call is not None
        self._finished.pop(found.job.job_id, None)
        await engine.requeue(Entry(found.job, found.call._replace(rule=None, raw=None)), _again)
        return found.job


class Submitter:
    """What `AsyncScheduler.options` returns: `submit`, on certain terms. May be used many times."""

    def __init__(self, submit: _Submit) -> None:
        self._submit = submit

    async def submit(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncJob:
        """Queue `func(*args, **kwargs)` and return its job, as `AsyncScheduler.submit` does."""
        return await self._submit(func, args, kwargs)


def live_metrics() -> SchedulerMetrics:
    """Return the metrics of this process's open schedulers, taken together; zeros when there is none."""
    with _living:
        schedulers = tuple(_live)
    return sum((scheduler.metrics() for scheduler in schedulers), SchedulerMetrics(0, 0, 0, 0, 0.0))


def _check_outside(engine: Engine, what: str) -> None:
    """Raise StateError in a job, which would wait for itself."""
    if engine.runs(asyncio.current_task()):
        raise StateError(f"a job cannot {what} the scheduler that runs it: it would wait for itself")


def _id_of(job: AsyncJob | str) -> str:
    if isinstance(job, AsyncJob):
        return job.job_id
    if not isinstance(job, str):
        raise TypeError(f"a job is known by its job_id, text, not {job!r}")
    return job


def _name_of(func: object) -> str:
    if isinstance(func, Program):
        return func.name
    return name_of(func) if callable(func) else "job"


def _again(job: AsyncJob) -> None:
    moves.requeue(job)
    job.series = None


async def _insist(what: Awaitable[None]) -> None:
    """Wait for what takes a bounded time, whoever cancels us meanwhile; that is raised afterwards."""
    waited = asyncio.ensure_future(what)
    cancelled: asyncio.CancelledError | None = None
    while not waited.done():
        try:
            await asyncio.wait([waited])
        except asyncio.CancelledError as error:
            cancelled = error
    waited.result()
    if cancelled is not None:
        raise cancelled


_PLAIN = Terms()
