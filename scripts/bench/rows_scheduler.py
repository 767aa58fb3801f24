"""Rows 21 to 23: jobs of a scheduler in memory and in a file, and opening a file with many."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable

from rows import OURS, Entry, Reading, Row, Scale, WrongResult

JOBS, KEPT_JOBS, MANY = 20_000, 2_000, 100_000
SUBMITTERS = 64

Run = Callable[[int], Awaitable[int]]


async def noop() -> None:
    """Do nothing: what is measured is all the rest."""


def _rate(run: Run, jobs: int, scale: Scale) -> Reading:
    """Measure how many jobs a second go from their submission to their end."""
    logging.disable(logging.WARNING)
    asyncio.run(_counted(run, 10))  # imports
    count = scale.of(jobs)
    start = time.perf_counter()
    done = asyncio.run(_counted(run, count))
    seconds = time.perf_counter() - start
    if done != count:
        raise WrongResult(f"{done} jobs of {count} have ended")
    return Reading(count / seconds)


async def _counted(run: Run, count: int) -> int:
    return await run(count)


# In memory


async def _ours(count: int) -> int:
    from orchestrator import AsyncScheduler

    async with AsyncScheduler(SUBMITTERS, keep=100) as scheduler:
        for _ in range(count):
            await scheduler.submit(noop)
        await scheduler.drain()
        return (await scheduler.get_metrics()).completed_jobs


async def _aiojobs(count: int) -> int:
    import aiojobs

    async with aiojobs.Scheduler(limit=SUBMITTERS, pending_limit=0) as scheduler:
        jobs = [await scheduler.spawn(noop()) for _ in range(count)]
        for job in jobs:
            await job.wait()
        return len(jobs)


async def _taskiq(count: int) -> int:
    from taskiq import InMemoryBroker

    broker = InMemoryBroker(max_stored_results=count, max_async_tasks=SUBMITTERS, await_inplace=False)
    task = broker.register_task(noop, "noop")
    await broker.startup()
    jobs = [await task.kiq() for _ in range(count)]
    await broker.wait_all()
    ended = sum([not (await job.get_result()).is_err for job in jobs])
    await broker.shutdown()
    return ended


async def _apscheduler(count: int) -> int:
    from apscheduler.events import EVENT_JOB_EXECUTED
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    scheduler = AsyncIOScheduler(job_defaults={"misfire_grace_time": None})
    return await _by_events(scheduler, EVENT_JOB_EXECUTED, count)


async def _by_events(scheduler, executed, count):  # type: ignore[no-untyped-def]
    ended, all_ended = 0, asyncio.Event()

    def hear(_: object) -> None:
        nonlocal ended
        ended += 1
        if ended == count:
            all_ended.set()

    scheduler.add_listener(hear, executed)
    scheduler.start()
    for number in range(count):
        scheduler.add_job(noop)
        if number % SUBMITTERS == 0:
            await asyncio.sleep(0)
    await all_ended.wait()
    scheduler.shutdown()
    return ended


# In a file


async def _ours_kept(count: int) -> int:
    from orchestrator import AsyncScheduler

    with tempfile.TemporaryDirectory() as folder:
        async with AsyncScheduler(SUBMITTERS, os.path.join(folder, "store.db")) as scheduler:

            async def submit(share: int) -> None:
                for _ in range(share):
                    await scheduler.submit(noop)

            shares = [count // SUBMITTERS + (number < count % SUBMITTERS) for number in range(SUBMITTERS)]
            await asyncio.gather(*map(submit, shares))
            await scheduler.drain()
            return (await scheduler.get_metrics()).completed_jobs


async def _huey(count: int, fsync: bool) -> int:
    from huey import SqliteHuey

    with tempfile.TemporaryDirectory() as folder:
        queue = SqliteHuey("bench", filename=os.path.join(folder, "huey.db"), fsync=fsync)
        task = queue.task()(_nothing)
        consumer = queue.create_consumer(workers=2, worker_type="thread", initial_delay=0.001, max_delay=0.001)
        consumer.start()
        jobs = [task() for _ in range(count)]
        ended = sum(job.get(blocking=True, timeout=120) == 1 for job in jobs)
        consumer.stop(graceful=True)
        return ended


def _nothing() -> int:
    return 1  # None would not be kept


async def _apscheduler_kept(count: int) -> int:
    from apscheduler.events import EVENT_JOB_EXECUTED
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    with tempfile.TemporaryDirectory() as folder:
        store = SQLAlchemyJobStore(f"sqlite:///{folder}/jobs.db")
        scheduler = AsyncIOScheduler(jobstores={"default": store}, job_defaults={"misfire_grace_time": None})
        return int(await _by_events(scheduler, EVENT_JOB_EXECUTED, count))


# Opening


def _open(scale: Scale) -> Reading:
    """Measure how long it takes until a scheduler with many waiting jobs is open, in milliseconds."""
    return Reading(asyncio.run(_opened(scale.of(MANY))))


async def _opened(count: int) -> float:
    from orchestrator import AsyncScheduler

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "store.db")
        async with AsyncScheduler(1, path) as scheduler:
            await scheduler.options(delay=3600).submit(noop)
        connection = sqlite3.connect(path)
        found = [name for _, name, *_ in connection.execute("PRAGMA table_info(jobs)")]
        columns = ", ".join(name for name in found if name not in ("seq", "job_id", "due"))
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            f"INSERT INTO jobs (job_id, {columns}) SELECT 'x-' || i, {columns} FROM jobs, n WHERE seq = 1",
            [count],
        )
        connection.commit()
        connection.close()
        scheduler = AsyncScheduler(1, path)
        start = time.perf_counter()
        await scheduler.open()
        milliseconds = (time.perf_counter() - start) * 1000
        await scheduler.close(cancel=True)
        return milliseconds


def _in_memory(run: Run) -> Callable[[Scale], Reading]:
    return functools.partial(_rate, run, JOBS)


def _in_a_file(run: Run) -> Callable[[Scale], Reading]:
    return functools.partial(_rate, run, KEPT_JOBS)


ROWS = (
    Row(
        21,
        "coroutine jobs that do nothing, from submit to done",
        "jobs/s",
        "≥ 20,000 jobs/s",
        [
            Entry(OURS, _in_memory(_ours)),
            Entry("aiojobs", _in_memory(_aiojobs), module="aiojobs"),
            Entry("taskiq, in memory", _in_memory(_taskiq), module="taskiq"),
            Entry("APScheduler 3, in memory", _in_memory(_apscheduler), module="apscheduler"),
        ],
        more_is_better=True,
    ),
    Row(
        22,
        "the same, every change on the disk before it is told",
        "jobs/s",
        "≥ 2,000 jobs/s",
        [
            Entry(OURS, _in_a_file(_ours_kept)),
            Entry("huey, SQLite with fsync", _in_a_file(functools.partial(_huey, fsync=True)), module="huey"),
            Entry("huey, SQLite as it comes", _in_a_file(functools.partial(_huey, fsync=False)), module="huey"),
            Entry("APScheduler 3, SQLAlchemy and SQLite", _in_a_file(_apscheduler_kept), module="sqlalchemy"),
        ],
        more_is_better=True,
    ),
    Row(23, "open a store with 100,000 waiting jobs", "ms", "≤ 2,000 ms", [Entry(OURS, _open)]),
)
