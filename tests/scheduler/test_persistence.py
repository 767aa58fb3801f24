"""AsyncScheduler with a store: what is found again, whatever the last one died of. Rows J, with real files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator import (
    AsyncJob,
    AsyncJobStatus,
    AsyncScheduler,
    ConcurrencyError,
    Ending,
    RetryPolicy,
    StateError,
    StoreError,
    UnsendableError,
    shell,
)
from orchestrator.scheduling.ledger import Ledger
from orchestrator.store import Change, Store
from tests import crimes
from tests.faults.driver import driving
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import eventually, lines_of

_ROOT = Path(__file__).parents[2]
_T = TypeVar("_T")
QUEUED, RUNNING, DONE, FAILED = AsyncJobStatus


def run(main: Callable[[], Awaitable[_T]]) -> _T:
    """Run a coroutine function in an event loop of its own, for a bounded time."""

    async def bounded() -> _T:
        async with asyncio.timeout(60):
            return await main()

    return asyncio.run(bounded())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the path of a store that is not there yet."""
    return tmp_path / "a folder" / "jobs.db"


@pytest.fixture(autouse=True)
def _folder(store: Path) -> None:
    store.parent.mkdir()


def rows(store: Path) -> list[dict[str, Any]]:
    """Return what the file says of its jobs."""
    connection = sqlite3.connect(store)
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute("SELECT * FROM jobs ORDER BY seq")]
    connection.close()
    return found


# What is kept


def test_jobs_that_ended_are_found_again_with_all_that_is_known_of_them(store: Path) -> None:
    async def first() -> list[AsyncJob]:
        async with AsyncScheduler(store=store) as scheduler:
            jobs = [
                await scheduler.options(priority=3, name="answer").submit(pow, 2, 5),
                await scheduler.submit(int, "seven"),
                await scheduler.submit(shell("echo out; echo err >&2; exit 3")),
                await scheduler.options(executor="process").submit(crimes.echo, {"a": [1, 2]}),
                await scheduler.options(delay=1000).submit(int),
            ]
            await scheduler.cancel(jobs[-1].job_id)
            await scheduler.drain()
        return jobs

    async def second() -> list[AsyncJob]:
        async with AsyncScheduler(store=store) as scheduler:
            found = await scheduler.jobs()
            for job in found:
                same = await scheduler.get(job.job_id)
                assert (same.job_id, same.status, same.result) == (job.job_id, job.status, job.result)
                assert (await scheduler.wait(job.job_id)).status is job.status
                assert not await scheduler.cancel(job.job_id)
            metrics = await scheduler.get_metrics()
            assert (metrics.completed_jobs, metrics.failed_jobs, metrics.throughput_per_second) == (2, 3, 0)
            return found

    before, after = run(first), run(second)
    assert len(before) == len(after) == 5
    for old, new in zip(before, after, strict=True):
        for field in AsyncJob.__dataclass_fields__:
            if field not in ("func", "exception"):
                assert getattr(old, field) == getattr(new, field), field
    assert after[0].func(2, 3) == 8
    assert after[2].output == "out\n"
    with pytest.raises(Exception, match="ValueError"):
        after[1].unwrap()


def test_nothing_is_told_that_is_not_in_the_file(store: Path) -> None:
    """Every state that a caller can see is on the disk by then."""

    async def main() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            job = await scheduler.options(delay=0.3).submit(look, str(store))
            assert [row["status"] for row in rows(store)] == ["queued"]
            await scheduler.wait(job)
            assert [(row["status"], row["attempts"]) for row in rows(store)] == [("done", 1)]
            assert job.result == [("running", 1)]
            failing = await scheduler.submit(int, "seven")
            await scheduler.wait(failing)
            assert "ValueError" in rows(store)[1]["error"]

    run(main)


def look(store: str) -> list[tuple[str, int]]:
    """Return what the file says while a job runs."""
    return [(row["status"], row["attempts"]) for row in rows(Path(store))]


async def leave_behind(scheduler: AsyncScheduler, go: Path) -> None:
    """Close a scheduler whose one place is taken by a job that waits for this file: all others stay in the store."""
    closing = asyncio.create_task(scheduler.close())
    await asyncio.sleep(0)
    go.touch()
    await closing


def test_what_waits_stays_in_the_store_and_runs_the_next_time_in_order(store: Path, tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"

    async def first() -> None:
        scheduler = AsyncScheduler(1, store)
        await scheduler.submit(wait_for, str(go))
        for number in range(5):
            await scheduler.options(priority=number % 2).submit(crimes.write_line, str(log), str(number))
        await scheduler.options(delay=0.2).submit(crimes.write_line, str(log), "late")
        waiting = (await scheduler.jobs(QUEUED))[0]
        waiter = asyncio.create_task(scheduler.wait(waiting))
        await leave_behind(scheduler, go)
        for attempt in (waiter, scheduler.wait(waiting), scheduler.cancel(waiting), scheduler.drain()):
            with pytest.raises(StateError, match="closed"):
                await attempt

    async def second() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            await scheduler.drain()
            assert {job.status for job in await scheduler.jobs()} == {DONE}

    run(first)
    assert [row["status"] for row in rows(store)] == ["done"] + ["queued"] * 6
    run(second)
    assert [line for line in lines_of(log) if line != "late"] == ["1", "3", "0", "2", "4"]
    assert "late" in lines_of(log)


def test_closures_lambdas_and_the_main_modules_own_functions_are_kept(tmp_path: Path) -> None:
    script = """
    def own(number): return number * 2
    async def main():
        async with AsyncScheduler(1, path("store.db")) as scheduler:
            if "SECOND" in os.environ:
                await scheduler.drain()
                say("results", [job.result for job in await scheduler.jobs()])
            else:
                await scheduler.submit(asyncio.sleep, 0.1)
                factor = 3
                for job in (own, lambda number: number * factor):
                    await scheduler.submit(job, 7)
    asyncio.run(main())
    """
    with driving(tmp_path, script) as driver:
        assert driver.ended() == 0, driver
    with driving(tmp_path, script, env={"SECOND": "1"}) as driver:
        assert driver.says("results") == "[None, 14, 21]", driver
        assert driver.ended() == 0


# Death


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("interrupted", ["failed", "requeue"])
def test_whatever_the_step_at_which_it_is_killed_nothing_told_is_lost_and_nothing_is_done_twice(
    tmp_path: Path, interrupted: str
) -> None:
    """J1. See `kills.py`: a hundred lives, each killed at another step of its dealings with the store."""
    folder = tmp_path / "lives"
    folder.mkdir()
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kills.py")), interrupted],
        capture_output=True, text=True, timeout=200, env={**os.environ, "LIVES": str(folder), "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lives = [line.split(" ", 2) for line in ended.stdout.splitlines()]
    assert [(step, wrong) for step, _, wrong in lives if wrong != "[]"] == []
    assert [code for _, code, _ in lives] == [str(-signal.SIGKILL)] * (len(lives) - 1) + ["0"]
    assert len(lives) > 60


def test_what_ran_when_its_scheduler_was_killed_is_told_as_interrupted(tmp_path: Path) -> None:
    """J1"""
    log, store = tmp_path / "log", tmp_path / "store.db"
    script = """
    async def main():
        async with AsyncScheduler(3, path("store.db"), executor="process") as scheduler:
            await scheduler.submit(crimes.sleep_announced, path("busy"))
            await scheduler.options(requeue=True).submit(crimes.write_line, path("log"), "again")
            await scheduler.options(every=3600).submit(crimes.sleep_announced, path("series"))
            while not (os.path.exists(path("log")) and os.path.exists(path("series"))):
                await asyncio.sleep(0.01)
            say("up")
            await asyncio.sleep(600)
    asyncio.run(main())
    """
    with driving(tmp_path, script) as driver:
        driver.says("up")
        driver.announced("busy")
        driver.signal(signal.SIGKILL)
        driver.ended()
        driver.leaves_nothing()
    statuses = [row["status"] for row in rows(store)]

    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            lost, again, series, following = await scheduler.jobs()
            assert (lost.status, lost.interrupted, lost.ending) == (FAILED, True, Ending.CRASHED)
            assert lost.error == "interrupted: its scheduler ended while attempt 1 ran"
            if statuses[1] == "running":
                again = await scheduler.wait(again)
                assert (again.status, again.interrupted, again.attempts) == (DONE, True, 2)
            assert (series.status, series.interrupted) == (FAILED, True)
            assert (following.status, following.series) == (QUEUED, series.job_id)
            once_more = await scheduler.requeue(lost.job_id)
            assert (once_more.interrupted, once_more.error) == (True, None)
            assert await scheduler.cancel(once_more.job_id)

    run(main)
    assert len(lines_of(log)) <= 2


def test_a_second_scheduler_is_refused_and_a_dead_ones_store_is_taken_over(tmp_path: Path) -> None:
    """J4"""
    store = tmp_path / "store.db"
    script = """
    async def main():
        async with AsyncScheduler(1, path("store.db")) as scheduler:
            await scheduler.options(delay=3600).submit(int)
            say("up")
            await asyncio.sleep(600)
    asyncio.run(main())
    """

    async def take() -> int:
        async with AsyncScheduler(store=store) as scheduler:
            return len(await scheduler.jobs())

    with driving(tmp_path, script) as driver:
        driver.says("up")
        with pytest.raises(ConcurrencyError, match=str(driver.pid)):
            run(take)
        driver.signal(signal.SIGKILL)
        driver.ended()
    assert run(take) == 1


@contextlib.asynccontextmanager
async def failing(scheduler: AsyncScheduler, error: type[Exception], words: str) -> AsyncIterator[AsyncScheduler]:
    """Have a block use a scheduler whose store will fail, which `close` tells; what fails in the block comes first."""
    await scheduler.open()
    try:
        yield scheduler
    except BaseException:
        with contextlib.suppress(error):
            await scheduler.close(cancel=True)
        raise
    with pytest.raises(error, match=words):
        await scheduler.close()


def test_a_scheduler_whose_store_was_taken_over_starts_nothing_more_and_says_so(store: Path, tmp_path: Path) -> None:
    """J4: it was stopped for so long that another took it for dead."""
    log = tmp_path / "log"

    async def main() -> None:
        async with failing(AsyncScheduler(1, store), ConcurrencyError, "taken over") as scheduler:
            running = await scheduler.submit(wait_for, str(tmp_path / "go"))
            waiting = await scheduler.submit(crimes.write_line, str(log), "never")
            waiter = asyncio.create_task(scheduler.wait(waiting))
            await asyncio.sleep(0.1)
            take_over(store)
            (tmp_path / "go").touch()
            assert (await scheduler.wait(running)).result == "went"  # what ran is told
            with pytest.raises(ConcurrencyError, match="taken over"):
                await waiter
            with pytest.raises(ConcurrencyError, match="taken over"):
                await scheduler.submit(int)
            with pytest.raises(ConcurrencyError, match="taken over"):
                await scheduler.drain()

    run(main)
    assert not log.exists()
    assert [row["status"] for row in rows(store)] == ["running", "queued"]


async def wait_for(path: str) -> str:
    """Wait for a file."""
    while not os.path.exists(path):
        await asyncio.sleep(0.01)
    return "went"


def test_a_close_ends_though_the_last_one_goes_to_rest(store: Path) -> None:
    async def main() -> None:
        scheduler = AsyncScheduler(store=store)
        await scheduler.options(retry_policy=RetryPolicy(initial_delay=60.0)).submit(int, "seven")
        await scheduler.close()
        [row] = rows(store)
        assert (row["status"], row["attempts"]) == ("queued", 1)

    run(main)


def test_of_several_who_queue_a_job_again_one_does(store: Path) -> None:
    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            failed = await scheduler.submit(int, "seven")
            await scheduler.wait(failed)
            again = [scheduler.requeue(failed.job_id) for _ in range(3)]
            found = await asyncio.gather(*again, scheduler.submit(int, "8"), return_exceptions=True)
            assert sum(isinstance(answer, StateError) for answer in found) == 2
            await scheduler.drain()
            assert (await scheduler.get_metrics()).failed_jobs == 1
            assert failed.attempts == 2

    run(main)


def test_a_series_that_is_ended_while_its_end_is_written_does_not_go_on(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, log = Store.write, tmp_path / "log"

    def slowly(store: Store, changes: Sequence[Change]) -> None:
        time.sleep(0.05)
        write(store, changes)

    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            job = await scheduler.options(every=0.2).submit(crimes.write_line, str(log), "tick")
            while not log.exists():
                await asyncio.sleep(0.005)
            monkeypatch.setattr(Store, "write", slowly)
            while len(lines_of(log)) < 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)  # its end is being written
            assert await scheduler.cancel(job.job_id)
            assert not await scheduler.jobs(QUEUED)
            await asyncio.sleep(0.5)
        assert len(lines_of(log)) == 2

    run(main)


def test_a_cancelling_that_could_not_be_written_is_an_error_and_the_job_waits(store: Path) -> None:
    async def main() -> None:
        async with failing(AsyncScheduler(1, store), ConcurrencyError, "taken over") as scheduler:
            waiting = await scheduler.options(delay=3600).submit(int)
            take_over(store)
            with pytest.raises(ConcurrencyError, match="taken over"):
                await scheduler.cancel(waiting)
            assert (waiting.status, waiting.cancelled) == (QUEUED, False)

    run(main)
    assert [row["status"] for row in rows(store)] == ["queued"]


def take_over(store: Path) -> None:
    """Take a store away from whoever has it."""
    connection = sqlite3.connect(store)
    connection.execute("UPDATE lease SET token = 'another'")
    connection.commit()
    connection.close()


def test_a_scheduler_that_nobody_closes_leaves_its_jobs_as_they_are(store: Path) -> None:
    """And gives the store back: the next one may follow at once."""

    async def first() -> None:
        scheduler = AsyncScheduler(2, store)
        for _ in range(6):
            await scheduler.options(retry_policy=RetryPolicy(5, initial_delay=0.0)).submit(asyncio.sleep, 600)
        await asyncio.sleep(0.2)

    async def second() -> list[tuple[AsyncJobStatus, bool]]:
        scheduler = AsyncScheduler(2, store)
        with Stopwatch() as watch:
            while True:
                try:
                    await scheduler.open()
                    break
                except ConcurrencyError:
                    await asyncio.sleep(0.01)
        assert watch.seconds < 1 + NOISE_SECONDS  # a lease that is not given back would be there for five
        found = [(job.status, job.interrupted) for job in await scheduler.jobs()]
        await scheduler.close(cancel=True)
        return found

    run(first)
    found = run(second)
    assert found[:2] == [(FAILED, True)] * 2
    assert {interrupted for _, interrupted in found[2:]} == {False}


# Trouble


def test_on_a_full_disk_what_runs_is_told_and_then_the_error(store: Path, tmp_path: Path) -> None:
    """J3"""
    go = tmp_path / "go"

    async def main() -> None:
        async with failing(AsyncScheduler(2, store), StoreError, "full") as scheduler:
            jobs = [await scheduler.submit(wait_for, str(go)) for _ in range(3)]
            while [job.status for job in jobs] != [RUNNING, RUNNING, QUEUED]:
                await asyncio.sleep(0.01)
            waiter = asyncio.create_task(scheduler.wait(jobs[2]))
            await fill(scheduler)
            big = await asyncio.gather(
                *(scheduler.submit(len, os.urandom(1 << 16)) for _ in range(40)), return_exceptions=True
            )
            refused = [error for error in big if isinstance(error, StoreError)]
            assert refused
            assert "full" in str(refused[0])
            assert str(store) in str(refused[0])
            go.touch()
            for job in jobs[:2]:
                assert (await scheduler.wait(job)).result == "went"
            for waiting in (waiter, scheduler.wait(jobs[2])):
                with pytest.raises(StoreError, match="full"):
                    await waiting

    run(main)


async def fill(scheduler: AsyncScheduler) -> None:
    """Leave no room in the file of a scheduler's store."""
    await scheduler._ledger.ask(lambda store: store._connection.execute("PRAGMA max_page_count = 30"))


def test_a_broken_file_is_refused_and_left_as_it_is(store: Path) -> None:
    """J2"""
    store.write_bytes(b"no database at all" * 100)
    os.chmod(store, 0o600)

    async def main() -> None:
        async with AsyncScheduler(store=store):
            raise AssertionError("it was opened")

    with pytest.raises(StoreError, match=r"jobs\.db"):
        run(main)
    assert store.read_bytes() == b"no database at all" * 100


def test_a_function_that_is_no_longer_there_fails_its_job_alone_and_is_named(store: Path, tmp_path: Path) -> None:
    """J7"""
    module = tmp_path / "gone_for_good.py"
    module.write_text("def work(number):\n    return number\n")
    sys.path.insert(0, str(tmp_path))
    try:
        from gone_for_good import work  # type: ignore[import-not-found]

        async def first() -> None:
            async with AsyncScheduler(1, store) as scheduler:
                await scheduler.submit(asyncio.sleep, 0.1)
                await scheduler.submit(work, 7)
                await scheduler.submit(int, "8")
                await scheduler.options(every=3600, delay=3600).submit(work, 9)

        run(first)
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["gone_for_good"]
        module.unlink()

    async def second() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            await scheduler.drain()
            _, lost, good, series = await scheduler.jobs()
            assert (lost.status, lost.ending, lost.attempts) == (FAILED, Ending.RAISED, 0)
            assert lost.error is not None and "No module named 'gone_for_good'" in lost.error and "work" in lost.error
            assert (good.status, good.result) == (DONE, 8)
            assert series.status is QUEUED
            with pytest.raises(UnsendableError, match="gone_for_good"):
                lost.func(1)

    run(second)
    module.write_text("def work(number):\n    return number * 2\n")
    sys.path.insert(0, str(tmp_path))
    try:

        async def third() -> None:
            async with AsyncScheduler(1, store) as scheduler:
                [lost] = await scheduler.jobs(FAILED)
                assert (await scheduler.wait(await scheduler.requeue(lost.job_id))).result == 14

        run(third)
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["gone_for_good"]


@pytest.mark.parametrize("delay", [None, 3600])
def test_a_module_that_exits_when_it_is_imported_fails_its_job_alone(
    store: Path, tmp_path: Path, delay: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """J7"""
    module, go = tmp_path / "a_script.py", tmp_path / "go"
    module.write_text("def work():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from a_script import work  # type: ignore[import-not-found]

    async def first() -> None:
        scheduler = AsyncScheduler(1, store)
        await scheduler.submit(wait_for, str(go))
        await scheduler.options(delay=delay).submit(work)
        await leave_behind(scheduler, go)

    run(first)
    monkeypatch.delitem(sys.modules, "a_script")
    module.write_text("import sys\nsys.exit(3)\n")

    async def second() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            good = await scheduler.submit(int, "8")
            assert (await scheduler.wait(good)).result == 8
            job = (await scheduler.jobs())[1]
            assert job.status is (FAILED if delay is None else QUEUED)
            if delay is None:
                assert job.error is not None and "SystemExit: 3" in job.error

    run(second)


def test_a_series_in_a_time_zone_that_is_gone_ends_and_no_other_job_suffers(store: Path) -> None:
    async def first() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            await scheduler.options(cron="* * * * *", timezone="UTC").submit(int)

    async def second() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            assert (await scheduler.wait(await scheduler.submit(int, "8"))).result == 8
            job = (await scheduler.jobs())[0]
            assert (await scheduler.wait(job)).status is FAILED
            assert job.error is not None and "Atlantis" in job.error

    run(first)
    connection = sqlite3.connect(store)
    connection.execute("UPDATE jobs SET rule = replace(rule, 'UTC', 'Atlantis/Poseidonis'), due = 1")
    connection.commit()
    connection.close()
    run(second)


def test_a_result_that_cannot_be_kept_fails_its_job_and_says_of_what_kind_it_was(store: Path) -> None:
    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            job = await scheduler.submit(lambda: (number for number in range(3)))
            await scheduler.wait(job)
            assert (job.status, job.ending, job.result) == (FAILED, Ending.RAISED, None)
            assert job.error is not None and "cannot be stored" in job.error and "generator" in job.error
            assert [row["status"] for row in rows(store)] == ["failed"]

    run(main)


def test_a_result_that_is_too_big_fails_its_job_and_no_other(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.scheduling.records._MOST_BYTES", 1000)

    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            big, small = await scheduler.submit(bytes, 1000), await scheduler.submit(bytes, 10)
            await scheduler.drain()
            assert (big.status, small.status) == (FAILED, DONE)
            assert big.error is not None and "takes 1,0" in big.error and "put it into a file" in big.error
            with pytest.raises(UnsendableError, match="the call takes"):
                await scheduler.submit(len, bytes(1000))

    run(main)


def test_what_cannot_be_kept_is_refused_when_it_is_submitted(store: Path) -> None:
    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            with pytest.raises(UnsendableError):
                await scheduler.submit(len, (number for number in range(3)))
            with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="cannot keep an executor"):
                await scheduler.options(executor=executor).submit(int)
            assert await scheduler.jobs() == []

    run(main)


def test_a_submission_that_is_given_up_while_it_is_written_runs_all_the_same(store: Path, tmp_path: Path) -> None:
    """It is in the store, so it must not wait there until the next start."""
    log = tmp_path / "log"

    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            submitting = asyncio.create_task(scheduler.submit(crimes.write_line, str(log), "ran"))
            await asyncio.sleep(0)
            submitting.cancel()
            while not log.exists():
                await asyncio.sleep(0.01)
            await scheduler.drain()
            assert [job.status for job in await scheduler.jobs()] == [DONE]

    run(main)


def test_a_job_is_not_started_when_the_store_fails_just_after_it_was_read(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would run unrecorded, and once more the next time."""
    log, go, read = tmp_path / "log", tmp_path / "go", Ledger.read

    async def first() -> None:
        scheduler = AsyncScheduler(1, store)
        await scheduler.submit(wait_for, str(go))
        await scheduler.submit(crimes.write_line, str(log), "ran")
        await leave_behind(scheduler, go)

    async def read_and_fail(ledger: Ledger, job_id: str) -> dict[str, Any] | None:
        row = await read(ledger, job_id)
        ledger.fail(StoreError("the disk is gone"))
        return row

    async def second() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            await scheduler.drain()

    run(first)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "read", read_and_fail)
        with pytest.raises(StoreError, match="the disk is gone"):
            run(second)
    assert not log.exists()
    run(second)
    assert lines_of(log) == ["ran"]


def test_a_store_that_could_not_be_read_when_it_was_opened_may_be_opened_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        scheduler = AsyncScheduler(store=store)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "waiting", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await scheduler.open()
        assert (await scheduler.wait(await scheduler.submit(int, "7"))).result == 7
        assert len(await scheduler.jobs()) == 1
        await scheduler.close()

    run(main)


# Odds and ends


def test_there_is_one_object_for_each_job(store: Path) -> None:
    async def main() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            job = await scheduler.submit(int, "seven")
            await scheduler.wait(job.job_id)
            assert await scheduler.get(job) is job
            assert await scheduler.jobs() == [job]
            assert await scheduler.requeue(job) is job
            assert job.status is QUEUED
            await scheduler.wait(job)
            assert job.attempts == 2
        with pytest.raises(StateError, match="closed"):
            await scheduler.get("x")

    run(main)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_series_keeps_its_grid_over_a_restart(store: Path, tmp_path: Path, interrupted: bool) -> None:
    script = """
    async def main():
        async with AsyncScheduler(1, path("store.db"), executor="process") as scheduler:
            rest = RetryPolicy(9, initial_delay=3600.0)
            wanted = scheduler.options(every=1000, requeue=True, retry_policy=rest)
            if "INTERRUPTED" in os.environ:
                await wanted.submit(crimes.sleep_announced, path("busy"))
            else:
                job = await wanted.submit(int, "seven")
                while not job.attempts or job.status.value != "queued":
                    await asyncio.sleep(0.01)
                say("rests")
            await asyncio.sleep(600)
    asyncio.run(main())
    """
    with driving(tmp_path, script, env={"INTERRUPTED": "1"} if interrupted else {}) as driver:
        driver.announced("busy") if interrupted else driver.says("rests")
        driver.signal(signal.SIGKILL)
        driver.ended()
        driver.leaves_nothing()
    [row] = rows(tmp_path / "store.db")
    assert row["due"] == pytest.approx(row["submitted"], abs=0.5)

    async def main() -> None:
        async with AsyncScheduler(store=tmp_path / "store.db") as scheduler:
            [job] = await scheduler.jobs()
            assert job.due == row["due"]
            assert job.interrupted is interrupted
            await scheduler.cancel(job)

    run(main)


def test_a_series_goes_on_the_next_time_and_makes_up_for_what_was_missed_once(store: Path, tmp_path: Path) -> None:
    """J6"""
    log = tmp_path / "log"

    async def first() -> str:
        async with AsyncScheduler(store=store) as scheduler:
            job = await scheduler.options(every=0.5).submit(crimes.write_line, str(log), "tick")
            await scheduler.wait(job)
            return job.job_id

    series = run(first)
    connection = sqlite3.connect(store)
    connection.execute("UPDATE jobs SET due = due - 1000 WHERE status = 'queued'")
    connection.commit()
    connection.close()

    async def second() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            await asyncio.sleep(0.3)
            assert len(lines_of(log)) == 2
            assert await scheduler.cancel(series)
            found = await scheduler.jobs()
            assert [job.series for job in found] == [series] * len(found)
            assert not await scheduler.jobs(QUEUED)

    run(second)


def test_a_series_is_not_put_off_by_a_clock_that_was_set_back_meanwhile(store: Path, tmp_path: Path) -> None:
    """J6"""
    log = tmp_path / "log"

    async def first() -> None:
        async with AsyncScheduler(store=store) as scheduler:
            await scheduler.wait(await scheduler.options(every=1).submit(crimes.write_line, str(log), "tick"))

    async def second() -> None:
        async with AsyncScheduler(store=store):
            await asyncio.sleep(1.5)

    run(first)
    connection = sqlite3.connect(store)
    connection.execute("UPDATE jobs SET due = due + 1000000 WHERE status = 'queued'")
    connection.commit()
    connection.close()
    run(second)
    assert 2 <= len(lines_of(log)) <= 3


def test_only_the_newest_that_ended_are_kept_when_asked(store: Path) -> None:
    async def main() -> None:
        async with AsyncScheduler(4, store, keep=5) as scheduler:
            for number in range(200):
                await scheduler.submit(asyncio.sleep, 0, number)
            await scheduler.drain()
            assert (await scheduler.get_metrics()).completed_jobs == 200
        kept = [row["job_id"] for row in rows(store)]
        assert 5 <= len(kept) < 5 + 64 + 4

    run(main)


def test_a_stores_jobs_can_be_looked_at_and_cancelled_before_they_run(store: Path) -> None:
    async def first() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            await scheduler.submit(asyncio.sleep, 0.1)
            for number in range(3):
                await scheduler.options(name=f"job {number}", priority=number).submit(asyncio.sleep, 0.05, number)

    async def second() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            waiting = (await scheduler.jobs(QUEUED))[:2]
            assert [job.name for job in waiting] == ["job 0", "job 1"]  # job 2 starts
            assert waiting[0].func is asyncio.sleep
            assert await scheduler.cancel(waiting[0].job_id)
            assert waiting[0].cancelled
            assert (await scheduler.wait(waiting[1])) is waiting[1]
            assert waiting[1].result == 1

    run(first)
    run(second)
    assert [row["cancelled"] for row in rows(store)] == [0, 1, 0, 0]


@pytest.mark.parametrize("due", ["NULL", "due"])
def test_a_hundred_thousand_jobs_are_opened(store: Path, due: str) -> None:
    """J8; how long it takes `scripts/bench` measures."""

    async def main() -> None:
        async with AsyncScheduler(1, store) as scheduler:
            await scheduler.options(delay=3600).submit(int)
        connection = sqlite3.connect(store)
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(jobs)")]
        listed = ", ".join(name for name in columns if name not in ("seq", "job_id"))
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            f"INSERT INTO jobs (job_id, {listed}) SELECT 'x-' || i, {listed} FROM jobs, n WHERE seq = 1"
        )
        connection.execute(f"UPDATE jobs SET due = {due} WHERE seq > 1")
        connection.commit()
        connection.close()
        scheduler = AsyncScheduler(1, store)
        metrics = await scheduler.get_metrics()
        assert metrics.queued_jobs + metrics.active_jobs == 100_001
        await scheduler.close()

    run(main)


def test_a_scheduler_that_nobody_closes_keeps_the_program_from_nothing_and_loses_nothing(tmp_path: Path) -> None:
    script = """
    async def main():
        scheduler = AsyncScheduler(1, path("store.db"))
        job = await scheduler.submit(int, "7")
        await scheduler.wait(job)
        await scheduler.options(delay=3600).submit(int)
        say("told")
    asyncio.run(main())
    """
    with driving(tmp_path, script) as driver:
        assert driver.ended(20) == 0, driver
        assert driver.says("told") == ""
        driver.leaves_nothing()
    assert [row["status"] for row in rows(tmp_path / "store.db")] == ["done", "queued"]


def test_ctrl_c_stops_what_runs_and_leaves_the_rest_in_the_store(tmp_path: Path) -> None:
    script = """
    async def main():
        async with AsyncScheduler(1, path("store.db"), executor="process") as scheduler:
            await scheduler.submit(crimes.sleep_announced, path("busy"))
            await scheduler.submit(int, "7")
            await asyncio.sleep(600)
    asyncio.run(main())
    """
    with driving(tmp_path, script) as driver:
        driver.announced("busy")
        driver.signal(signal.SIGINT, group=True)
        assert driver.ended(20) == -signal.SIGINT, driver
        driver.leaves_nothing()
    assert [(row["status"], row["cancelled"]) for row in rows(tmp_path / "store.db")] == [("failed", 1), ("queued", 0)]


def test_a_closed_scheduler_refuses_and_gives_the_store_back(store: Path) -> None:
    async def main() -> None:
        scheduler = AsyncScheduler(store=store)
        await scheduler.submit(int)
        await scheduler.close()
        for attempt in (scheduler.submit(int), scheduler.requeue("x")):
            with pytest.raises((StateError, LookupError)):
                await attempt
        async with AsyncScheduler(store=store) as other:
            await other.drain()

    run(main)
    assert json.dumps([row["status"] for row in rows(store)]) == '["done"]'
    eventually(lambda: sorted(path.name for path in store.parent.iterdir()) == ["jobs.db"])
