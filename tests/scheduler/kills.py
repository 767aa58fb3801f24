"""A program that is killed at every step of its dealings with the store, one after another, and looked at afterwards.

Run as a script, in the folder that LIVES names. Each life is a fork of this process, which has no threads: one that
uses a scheduler and kills itself at step n, and one that opens the store anew and finishes what there is. It prints a
line for each n, and what was wrong, if anything. Steps are SQL statements, before they are carried out, and what the
store's thread tells the loop, before it does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from orchestrator import AsyncJobStatus, AsyncScheduler, RetryPolicy
from orchestrator.store import Journal

FOLDER = Path(os.environ.get("LIVES", "."))


def note(word: str, *facts: Any) -> None:
    """Write a line in one go to what survives."""
    descriptor = os.open(FOLDER / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{json.dumps([word, *facts])}\n".encode())
    os.close(descriptor)


def notes(word: str) -> list[list[Any]]:
    """Return the facts of what was written so far."""
    lines = (
        [json.loads(line) for line in (FOLDER / "log").read_text().splitlines()] if (FOLDER / "log").exists() else []
    )
    return [line[1:] for line in lines if line[0] == word]


async def work(name: str) -> str:
    """Take a moment, and leave a trace."""
    note("began", name)
    await asyncio.sleep(0)
    note("ran", name)
    if name.startswith("bad"):
        raise ValueError(name)
    return f"result of {name}"


def die_at(step: int) -> None:
    """Have this process kill itself at a step of its dealings with the store."""
    steps = itertools.count(1)

    def look(_statement: object = None) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    connect, tell = sqlite3.connect, Journal._tell

    def watched(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(look)
        return connection

    def told(journal: Journal, *args: Any) -> None:
        look()
        tell(journal, *args)

    sqlite3.connect = watched  # type: ignore[assignment]
    Journal._tell = told  # type: ignore[method-assign, assignment]


async def live() -> None:
    """Ask for jobs of every kind, and write down what one is told of them."""
    async with AsyncScheduler(2, FOLDER / "store.db") as scheduler:
        jobs = []
        for name in ("one", "bad two", "three", "four"):
            job = await scheduler.submit(work, name)
            note("submitted", job.job_id, name)
            jobs.append(job)
        patient = await scheduler.options(retry_policy=RetryPolicy(2, initial_delay=0.0)).submit(work, "bad five")
        note("submitted", patient.job_id, "bad five")
        late = await scheduler.options(delay=3600).submit(work, "late")
        note("submitted", late.job_id, "late")
        series = await scheduler.options(every=3600).submit(work, "series")
        note("submitted", series.job_id, "series")
        if await scheduler.cancel(late.job_id):
            note("cancelled", late.job_id)
        for job in (*jobs, patient):
            await scheduler.wait(job)
            note("ended", job.job_id, job.status.value, job.result)


async def revive(requeue: bool) -> None:
    """Open the store again, let it finish what there is, and say what is wrong."""
    async with AsyncScheduler(2, FOLDER / "store.db", requeue_interrupted=requeue) as scheduler:
        for job in await scheduler.jobs():
            if job.due is None or job.due <= time.time():
                await scheduler.wait(job, 30)
        jobs = {job.job_id: job for job in await scheduler.jobs()}
    names = dict(notes("submitted"))
    wrong = [f"lost {name}" for job_id, name in names.items() if job_id not in jobs]
    for job_id, status, result in notes("ended"):
        job = jobs[job_id]
        if (job.status.value, job.result) != (status, result) or job.interrupted:
            wrong.append(f"{names[job_id]} was told as {status} {result!r} and is {job!r}")
    for (job_id,) in notes("cancelled"):
        if not jobs[job_id].cancelled:
            wrong.append(f"{names[job_id]} was told as cancelled and is {jobs[job_id]!r}")
    runs = Counter(name for (name,) in notes("began"))
    series = {job_id for job_id, name in names.items() if name == "series"}
    for job in jobs.values():
        name = names.get(job.job_id, "")
        if job.status is AsyncJobStatus.RUNNING:
            wrong.append(f"nobody runs {job!r}")
        elif job.status is AsyncJobStatus.QUEUED and job.due is None:
            wrong.append(f"{job!r} still waits")
        allowed = 1 + (name == "bad five") + (job.interrupted and requeue)
        if name and name != "series" and runs[name] > allowed:
            wrong.append(f"{name} ran {runs[name]} times: {job!r}")
        if job.interrupted and not requeue and job.status is not AsyncJobStatus.FAILED:
            wrong.append(f"{job!r} was interrupted")
    waiting = Counter(job.series for job in jobs.values() if job.status is AsyncJobStatus.QUEUED and job.series)
    if any(waiting[name] != 1 for name in series):
        wrong.append(f"of the series these wait: {waiting}")
    note("wrong", *wrong)


def forked(life: Any, *args: Any) -> int:
    """Run something in a fork and return its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            life(*args)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def one_life(step: int) -> None:
    """Live until a step."""
    die_at(step)
    asyncio.run(live())


def main(requeue: bool) -> None:
    """Die at every step there is."""
    for step in itertools.count(1):
        code = forked(one_life, step)
        revived = forked(lambda: asyncio.run(revive(requeue)))
        [wrong] = notes("wrong") if revived == 0 else [[f"the store could not be opened again: {revived}"]]
        print(step, code, json.dumps(wrong), flush=True)
        for file in FOLDER.iterdir():
            file.unlink()
        if code == 0:
            return


if __name__ == "__main__":
    main(requeue=sys.argv[1] == "requeue")
