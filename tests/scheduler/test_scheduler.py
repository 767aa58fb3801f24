"""AsyncScheduler without a store: what runs when, what is told of it, and that nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator import (
    AsyncJob,
    AsyncJobStatus,
    AsyncScheduler,
    ConcurrencyError,
    Ending,
    ExecutionResult,
    OrchestratorTimeoutError,
    RetryPolicy,
    SchedulerMetrics,
    StateError,
    TaskFailedError,
    shell,
)
from orchestrator.mcp_tools import get_scheduler_metrics
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.scheduler.clocks import at_once, passed
from tests.waiting import wait_gone
from tests.workflow.acts import Flaky, hanging, lasting

_T = TypeVar("_T")
QUEUED, RUNNING, DONE, FAILED = AsyncJobStatus


def run(main: Callable[[], Awaitable[_T]]) -> _T:
    """Run a coroutine function in an event loop that waits for real."""

    async def bounded() -> _T:
        return await main()

    return asyncio.run(bounded())


def boom(*_args: object) -> None:
    """Raise."""
    raise ValueError("no luck")


class Trace:
    """Make coroutine functions that note in which order they began, and how many were at it."""

    def __init__(self) -> None:
        self.began: list[Any] = []
        self.times: list[float] = []
        self.now = self.most = 0

    async def __call__(self, name: Any, seconds: float = 1.0) -> Any:
        self.began.append(name)
        self.times.append(passed())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now -= 1
        return name


# What a job is


def test_the_fields_of_the_specification_come_first() -> None:
    job = AsyncJob("a", boom, AsyncJobStatus.DONE, 1)
    assert (job.job_id, job.func, job.status, job.result) == ("a", boom, AsyncJobStatus.DONE, 1)
    assert [status.value for status in AsyncJobStatus] == ["queued", "running", "done", "failed"]
    metrics = SchedulerMetrics(1, 2, 3, 4, 0.5)
    assert (metrics.active_jobs, metrics.queued_jobs, metrics.completed_jobs) == (1, 2, 3)
    assert (metrics.failed_jobs, metrics.throughput_per_second) == (4, 0.5)


def test_coroutines_callables_process_tasks_and_commands_end_with_what_they_returned() -> None:
    async def main() -> list[AsyncJob]:
        async with AsyncScheduler() as scheduler:
            jobs = [
                await scheduler.submit(lasting(0.01, "coroutine")),
                await scheduler.submit(lambda: lasting(0.01, "made")()),
                await scheduler.submit(threading.get_ident),
                await scheduler.options(executor="process").submit(os.getpid),
                await scheduler.options(timeout=60).submit(partial(os.getpid)),
                await scheduler.submit(shell("echo out; echo err >&2")),
            ]
            for job in jobs:
                assert await scheduler.wait(job) is job
        return jobs

    coroutine, made, thread, process, limited, command = jobs = run(main)
    assert all(job.status is DONE and job.success and job.error is None and job.ending is Ending.OK for job in jobs)
    assert (coroutine.result, made.unwrap()) == ("coroutine", "made")
    assert thread.result != threading.get_ident()
    assert os.getpid() not in (process.result, limited.result)
    assert (command.output, command.stderr) == ("out\n", "err\n")
    assert process.cpu_time >= 0 and process.peak_memory > 1 << 20


def test_an_executor_of_the_callers_own_runs_plain_callables() -> None:
    async def main() -> str:
        with ThreadPoolExecutor(1, "mine") as executor:
            async with AsyncScheduler(executor=executor) as scheduler:
                job = await scheduler.submit(lambda: threading.current_thread().name)
            return str(job.unwrap())

    assert run(main).startswith("mine")


def test_a_failure_is_told_with_its_traceback_and_the_scheduler_goes_on() -> None:
    async def main() -> tuple[AsyncJob, AsyncJob]:
        async with AsyncScheduler(1) as scheduler:
            return await scheduler.submit(boom), await scheduler.submit(int, "7")

    failed, good = run(main)
    assert (failed.status, failed.ending, failed.cancelled, failed.attempts) == (FAILED, Ending.RAISED, False, 1)
    assert failed.error is not None and "Traceback" in failed.error and failed.error.endswith("ValueError: no luck")
    with pytest.raises(ValueError, match="no luck"):
        failed.unwrap()
    assert good.unwrap() == 7


def test_the_arguments_keywords_of_the_options_names_included_reach_the_function() -> None:
    def take(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    async def main() -> AsyncJob:
        async with AsyncScheduler() as scheduler:
            return await scheduler.options(priority=1).submit(take, 1, self=2, func=3, priority=4, timeout=5, name=6)

    assert run(main).unwrap() == ((1,), {"self": 2, "func": 3, "priority": 4, "timeout": 5, "name": 6})


def test_times_are_those_of_the_wall_clock(wall: Callable[[], float]) -> None:
    async def main() -> None:
        async with AsyncScheduler(1) as scheduler:
            first, second = [await scheduler.submit(lasting(2.0)) for _ in range(2)]
            await scheduler.drain()
            now = wall()
            assert (first.submitted, first.started, first.finished) == (now - 4, now - 4, now - 2)
            assert (second.submitted, second.started, second.finished) == (now - 4, now - 2, now)
            assert second.execution_time == pytest.approx(2.0)
            assert second.attempts == 1

    at_once(main)


# Order


def test_no_more_run_at_a_time_than_allowed_and_higher_priorities_go_first(wall: object) -> None:
    async def main() -> Trace:
        trace = Trace()
        async with AsyncScheduler(2) as scheduler:
            for number in range(4):
                await scheduler.submit(trace, number)
            for priority in (1, 5, -1, 5):
                await scheduler.options(priority=priority).submit(trace, f"p{priority}")
        return trace

    trace = at_once(main)
    assert trace.began == [0, 1, "p5", "p5", "p1", 2, 3, "p-1"]
    assert trace.most == 2


def test_delays_and_moments_are_kept(wall: Callable[[], float]) -> None:
    async def main() -> Trace:
        trace = Trace()
        now = wall()
        async with AsyncScheduler() as scheduler:
            await scheduler.options(delay=30).submit(trace, "delay")
            await scheduler.options(at=now + 20).submit(trace, "seconds")
            await scheduler.options(at=datetime.fromtimestamp(now + 10, timezone(timedelta(hours=5)))).submit(
                trace, "zone"
            )
            await scheduler.options(at=datetime.fromtimestamp(now + 5)).submit(trace, "local")
            await scheduler.options(at=now - 1000).submit(trace, "past")
            assert (await scheduler.get_metrics()).queued_jobs == 4
        return trace

    trace = at_once(main)
    assert trace.began == ["past", "local", "zone", "seconds", "delay"]
    assert trace.times == [0, 5, 10, 20, 30]


def test_a_delay_that_is_over_waits_for_room_like_all_others(wall: object) -> None:
    async def main() -> Trace:
        trace = Trace()
        async with AsyncScheduler(1) as scheduler:
            await scheduler.options(delay=1, priority=1).submit(trace, "delayed")
            for number in range(2):
                await scheduler.submit(trace, number, 10.0)
        return trace

    assert at_once(main).began == [0, "delayed", 1]


@pytest.mark.parametrize("days", [-400, 400])
def test_setting_the_clock_moves_moments_but_no_delays(wall: Any, days: int) -> None:
    """J6"""

    async def main() -> Trace:
        trace = Trace()
        async with AsyncScheduler() as scheduler:
            await scheduler.options(delay=100).submit(trace, "delay")
            moment = await scheduler.options(at=wall() + 86_400).submit(trace, "moment")
            await asyncio.sleep(10)
            wall.set_by = days * 86_400.0
            await asyncio.sleep(120)
            if days < 0:
                assert moment.status is QUEUED
                assert await scheduler.cancel(moment.job_id)
        return trace

    trace = at_once(main)
    assert sorted(trace.began) == (["delay"] if days < 0 else ["delay", "moment"])
    assert dict(zip(trace.began, trace.times, strict=True))["delay"] == 100
    if days > 0:
        assert dict(zip(trace.began, trace.times, strict=True))["moment"] <= 10 + 30  # it is noticed soon


# Recurring


def test_a_recurring_job_runs_on_its_grid_until_its_series_is_cancelled(wall: object) -> None:
    async def main() -> None:
        trace = Trace()
        async with AsyncScheduler() as scheduler:
            first = await scheduler.options(every=10).submit(trace, "tick", 3.0)
            await asyncio.sleep(35)
            assert trace.times == [0, 10, 20, 30]
            found = await scheduler.jobs()
            assert [job.series for job in found] == [first.job_id] * 5
            assert [job.status for job in found] == [DONE] * 4 + [QUEUED]
            assert await scheduler.cancel(first.job_id)
            await asyncio.sleep(100)
            assert (len(trace.times), (await scheduler.jobs())[-1].cancelled) == (4, True)
            assert not await scheduler.cancel(first.job_id)

    at_once(main)


def test_what_a_slow_occurrence_missed_is_made_up_for_once(wall: object) -> None:
    """J6"""

    async def main() -> list[float]:
        trace = Trace()
        seconds = iter([35.0, 1.0, 1.0, 1.0])

        async def tick() -> None:
            await trace("tick", next(seconds))

        async with AsyncScheduler() as scheduler:
            await scheduler.options(every=10).submit(tick)
            await asyncio.sleep(55)
        return trace.times

    assert at_once(main) == [0, 35, 40, 50]


def test_an_occurrence_that_had_to_wait_for_room_counts_for_all_it_missed(wall: object) -> None:
    """J6"""

    async def main() -> list[float]:
        trace = Trace()
        async with AsyncScheduler(1) as scheduler:
            await scheduler.options(every=10).submit(trace, "tick")
            await scheduler.submit(lasting(34.0))
            await asyncio.sleep(55)
        return trace.times

    assert at_once(main) == [0, 35, 40, 50]


@pytest.mark.parametrize("days", [-400, 400])
def test_an_interval_is_kept_whatever_is_done_to_the_clock(wall: Any, days: int) -> None:
    """J6: no burst, no gap."""

    async def main() -> list[float]:
        trace = Trace()
        async with AsyncScheduler() as scheduler:
            await scheduler.options(every=10).submit(trace, "tick")
            await asyncio.sleep(25)
            wall.set_by = days * 86_400.0
            await asyncio.sleep(40)
        return trace.times

    assert at_once(main) == [0, 10, 20, 30, 40, 50, 60]


def test_a_cron_expression_runs_at_its_times(wall: Callable[[], float]) -> None:
    async def main() -> list[float]:
        trace = Trace()
        async with AsyncScheduler() as scheduler:
            job = await scheduler.options(cron="*/15 * * * *", timezone="UTC").submit(trace, "tick")
            assert job.due == wall() + 900
            await asyncio.sleep(3000)
        return trace.times

    assert at_once(main) == [900, 1800, 2700]


def test_a_failed_occurrence_is_followed_by_the_next(wall: object) -> None:
    async def main() -> list[AsyncJob]:
        async with AsyncScheduler() as scheduler:
            await scheduler.options(every=10).submit(lasting(1, error=ValueError("no")))
            await asyncio.sleep(25)
            return await scheduler.jobs(FAILED)

    assert len(at_once(main)) == 3


# Retries


def test_a_failed_attempt_is_made_again_and_its_rest_takes_no_room(wall: Callable[[], float]) -> None:
    async def main() -> None:
        flaky = Flaky(2)
        trace = Trace()
        async with AsyncScheduler(1) as scheduler:
            policy = RetryPolicy(max_attempts=5, initial_delay=10.0)
            job = await scheduler.options(retry_policy=policy).submit(flaky)
            await scheduler.submit(trace, "between")
            await asyncio.sleep(5)
            assert (job.status, job.attempts, trace.began) == (QUEUED, 1, ["between"])
            assert job.error is not None and "attempt 1" in job.error
            await scheduler.wait(job)
            assert (job.result, job.attempts, passed()) == ("fine", 3, 30)
            assert (await scheduler.get(job.job_id)).error is None

    at_once(main)


def test_a_retry_policy_gives_up(wall: object) -> None:
    async def main() -> AsyncJob:
        async with AsyncScheduler(1) as scheduler:
            return await scheduler.options(retry_policy=RetryPolicy(max_attempts=2)).submit(Flaky(5))

    job = at_once(main)
    assert (job.status, job.attempts) == (FAILED, 2)


def test_a_time_limit_stops_coroutines_and_processes(tmp_path: Path) -> None:
    async def main() -> list[AsyncJob]:
        cleaned: list[int] = []
        async with AsyncScheduler() as scheduler:
            limited = scheduler.options(timeout=0.3, grace=0.3)
            busy = str(tmp_path / "busy")
            jobs = [await limited.submit(hanging(cleaned)), await limited.submit(crimes.sleep_announced, busy)]
            await scheduler.drain()
            assert cleaned == [1]
        wait_gone(int(Path(busy).read_text()))
        return jobs

    for job in run(main):
        assert (job.status, job.ending, job.cancelled) == (FAILED, Ending.TIMED_OUT, False)
        with pytest.raises(OrchestratorTimeoutError):
            job.unwrap()


def test_a_worker_that_dies_fails_its_job_alone() -> None:
    async def main() -> tuple[AsyncJob, AsyncJob]:
        async with AsyncScheduler(executor="process") as scheduler:
            return await scheduler.submit(crimes.die_by, signal.SIGSEGV), await scheduler.submit(int, "7")

    crashed, good = run(main)
    assert (crashed.status, crashed.ending, good.result) == (FAILED, Ending.CRASHED, 7)
    with pytest.raises(TaskFailedError):
        crashed.unwrap()


# Cancelling


def test_a_job_that_waits_is_cancelled_and_never_runs(wall: object) -> None:
    async def main() -> None:
        trace = Trace()
        async with AsyncScheduler(1) as scheduler:
            await scheduler.submit(trace, "first")
            queued = await scheduler.submit(trace, "queued")
            later = await scheduler.options(delay=50).submit(trace, "later")
            waiter = asyncio.create_task(scheduler.wait(queued))
            await asyncio.sleep(0)
            assert [await scheduler.cancel(job.job_id) for job in (queued, later)] == [True, True]
            for job in (await waiter, later):
                assert (job.status, job.cancelled, job.attempts, job.ending) == (FAILED, True, 0, Ending.CANCELLED)
                assert job.error == "cancelled on request"
                with pytest.raises(ConcurrencyError):
                    job.unwrap()
            assert not await scheduler.cancel(queued.job_id)
        assert trace.began == ["first"]
        assert passed() == 1

    at_once(main)


def test_a_job_that_runs_is_stopped_wherever_it_runs(tmp_path: Path) -> None:
    async def main() -> None:
        cleaned: list[int] = []
        busy = [str(tmp_path / name) for name in "abc"]
        async with AsyncScheduler(4) as scheduler:
            jobs = [
                await scheduler.submit(hanging(cleaned)),
                await scheduler.options(executor="process", grace=0.2).submit(crimes.swallow_interrupts, busy[0]),
                await scheduler.submit(shell(f"touch {busy[1]}; exec sleep 600")),
                await scheduler.submit(lambda: run_in_thread(busy[2])),
            ]
            while not all(os.path.exists(path) for path in busy):
                await asyncio.sleep(0.01)
            with Stopwatch() as watch:
                assert [await scheduler.cancel(job.job_id) for job in jobs] == [True] * 4
            assert watch.seconds < 5 + NOISE_SECONDS
            assert all(job.cancelled and job.status is FAILED and job.ending is Ending.CANCELLED for job in jobs)
            assert cleaned == [1]
            wait_gone(int(Path(busy[0]).read_text().split()[0]))

    run(main)


def run_in_thread(announcement: str) -> None:
    """Run a command in a thread, as a plain callable may."""
    shell(f"touch {announcement}; exec sleep 600")()


def test_a_job_may_cancel_itself_and_others() -> None:
    async def main() -> None:
        async with AsyncScheduler() as scheduler:

            async def give_up() -> None:
                await scheduler.cancel(other.job_id)
                await scheduler.cancel(job.job_id)

            other = await scheduler.submit(hanging([]))
            job = await scheduler.submit(give_up)
            await scheduler.drain()
            assert job.cancelled and other.cancelled

    run(main)


def test_a_job_cancelled_while_it_rests_is_not_tried_again(wall: object) -> None:
    async def main() -> None:
        flaky = Flaky(9)
        async with AsyncScheduler() as scheduler:
            job = await scheduler.options(retry_policy=RetryPolicy(9, initial_delay=100.0)).submit(flaky)
            await asyncio.sleep(5)
            assert await scheduler.cancel(job.job_id)
            assert (job.cancelled, job.attempts, flaky.calls) == (True, 1, 1)

    at_once(main)


def test_a_coroutine_that_refuses_to_be_cancelled_is_given_up() -> None:
    async def stubborn() -> None:
        for _ in range(100):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)

    async def main() -> AsyncJob:
        scheduler = AsyncScheduler()
        job = await scheduler.options(grace=0.2).submit(stubborn)
        await asyncio.sleep(0)
        with Stopwatch() as watch:
            assert await scheduler.cancel(job.job_id)
        assert watch.seconds < 1 + NOISE_SECONDS
        await scheduler.close()
        return job

    assert "refuses to be cancelled" in (run(main).error or "")


def test_a_thread_that_is_stuck_keeps_no_other_job_waiting() -> None:
    async def main() -> None:
        go = threading.Event()
        async with AsyncScheduler(1) as scheduler:
            for _ in range(3):
                await scheduler.wait(await scheduler.submit(int))
            stuck = await scheduler.options(grace=0.1).submit(go.wait, 30)
            waiting = await scheduler.submit(int, "7")
            await asyncio.sleep(0.1)
            assert await scheduler.cancel(stuck)
            with Stopwatch() as watch:
                assert (await scheduler.wait(waiting)).result == 7
                assert (await scheduler.wait(await scheduler.submit(int, "8"))).result == 8
            assert watch.seconds < 1 + NOISE_SECONDS
            go.set()

    run(main)


# What users hand over


class Hours(RetryPolicy):
    """A policy whose delay is no number."""

    def get_delay(self, attempt: int) -> Any:
        return timedelta(hours=attempt)


class Unhashable(ThreadPoolExecutor):
    """An executor that cannot be looked up."""

    def __eq__(self, other: object) -> bool:
        return self is other


def odd_result(field: str, value: Any) -> ExecutionResult:
    """Return a result of one's own making."""
    return replace(ExecutionResult(True, "", "", 0, 0.0), **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("output", "\ud800"), ("error", "\udcff"), ("output", None), ("cpu_time", float("nan")), ("peak_memory", 1 << 70)],
)
@pytest.mark.parametrize("kept", [False, True])
def test_a_result_with_what_no_result_has_in_it_ends_its_job_and_no_other(
    tmp_path: Path, field: str, value: Any, kept: bool
) -> None:
    async def main() -> None:
        async with AsyncScheduler(1, tmp_path / "store.db" if kept else None) as scheduler:
            odd = await scheduler.submit(odd_result, field, value)
            good = await scheduler.submit(int, "7")
            await scheduler.drain()
            assert odd.status in (DONE, FAILED)
            assert good.result == 7
            assert (await scheduler.get_metrics()).active_jobs == 0

    run(main)


def test_a_policy_or_an_executor_that_makes_no_sense_ends_its_job_and_no_other() -> None:
    async def main() -> None:
        with Unhashable(1) as executor:
            async with AsyncScheduler(1) as scheduler:
                odd = [
                    await scheduler.options(retry_policy=Hours()).submit(boom),
                    await scheduler.options(executor=executor).submit(int),
                ]
                good = await scheduler.submit(int, "7")
                await scheduler.drain()
                assert [job.status for job in odd] == [FAILED, FAILED]
                assert good.result == 7

    run(main)


def test_no_grace_means_the_usual_one() -> None:
    async def main() -> None:
        async with AsyncScheduler(1) as scheduler:
            job = await scheduler.options(grace=None).submit(hanging([]))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            assert await scheduler.cancel(job)

    run(main)


# Requeueing


def test_a_series_that_is_ended_while_its_occurrence_ends_does_not_go_on(wall: object) -> None:
    async def main() -> None:
        trace = Trace()
        async with AsyncScheduler() as scheduler:
            job = await scheduler.options(every=5).submit(trace, "tick")
            await scheduler.wait(job)
            assert await scheduler.cancel(job.job_id)
            await asyncio.sleep(50)
        assert trace.began == ["tick"]

    at_once(main)


def test_a_job_that_failed_runs_once_more_when_asked(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler() as scheduler:
            job = await scheduler.submit(Flaky(1))
            await scheduler.wait(job)
            assert job.status is FAILED
            assert await scheduler.requeue(job.job_id) is job
            with pytest.raises(StateError):
                await scheduler.requeue(job)
            assert (await scheduler.wait(job)).result == "fine"
            assert (job.attempts, job.error, job.exception) == (2, None, None)
            with pytest.raises(StateError, match="done and cannot become queued"):
                await scheduler.requeue(job.job_id)
            assert (await scheduler.get_metrics()).failed_jobs == 0
            waiting = await scheduler.options(delay=5).submit(int)
            with pytest.raises(StateError, match="queued and cannot become queued"):
                await scheduler.requeue(waiting.job_id)

    at_once(main)


# Looking


def test_jobs_are_found_by_id_and_by_status_and_the_newest_are_remembered(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler(1, keep=3) as scheduler:
            jobs = [await scheduler.submit(lasting(1)) for _ in range(3)]
            jobs.append(await scheduler.submit(lasting(1, error=ValueError("no"))))
            assert await scheduler.jobs("queued") == jobs[1:]
            assert await scheduler.jobs(AsyncJobStatus.RUNNING) == jobs[:1]
            await scheduler.drain()
            assert await scheduler.jobs() == jobs[1:]
            assert await scheduler.jobs("failed") == jobs[3:]
            assert await scheduler.get(jobs[1].job_id) is jobs[1]
            assert await scheduler.wait(jobs[1].job_id) is jobs[1]
            for method in (scheduler.get, scheduler.cancel, scheduler.requeue, scheduler.wait):
                with pytest.raises(LookupError, match="no job"):
                    await method(jobs[0].job_id)
            with pytest.raises(ValueError, match="pending"):
                await scheduler.jobs("pending")
            assert (await scheduler.get_metrics()).completed_jobs == 3

    at_once(main)


def test_waiting_has_an_end_and_leaves_the_job_alone(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler() as scheduler:
            job = await scheduler.submit(lasting(10, "late"))
            with pytest.raises(TimeoutError, match="has not ended after 3 s: it is running"):
                await scheduler.wait(job, timeout=3)
            with pytest.raises(TypeError, match="job_id"):
                await scheduler.cancel(7)  # type: ignore[arg-type]
            with pytest.raises(StateError, match="running and has no result yet"):
                job.unwrap()
            first, second = await asyncio.gather(scheduler.wait(job), scheduler.wait(job.job_id))
            assert first is second is job
            assert job.unwrap() == "late"

    at_once(main)


def test_the_metrics_tell_what_is_going_on(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler(2) as scheduler:
            assert await scheduler.get_metrics() == SchedulerMetrics(0, 0, 0, 0, 0.0)
            for number in range(6):
                await scheduler.submit(lasting(10, error=ValueError("no") if number == 3 else None))
            assert await scheduler.get_metrics() == SchedulerMetrics(2, 4, 0, 0, 0.0)
            await asyncio.sleep(25)
            assert await scheduler.get_metrics() == SchedulerMetrics(2, 0, 3, 1, 4 / 25)
            await asyncio.sleep(50)
            assert await scheduler.get_metrics() == SchedulerMetrics(0, 0, 5, 1, 4 / 60)  # the first two are past
            await asyncio.sleep(100)
            assert (await scheduler.get_metrics()).throughput_per_second == 0

    at_once(main)


def test_the_tool_sums_what_the_open_schedulers_of_the_process_do() -> None:
    async def main() -> None:
        assert get_scheduler_metrics() == SchedulerMetrics(0, 0, 0, 0, 0.0)
        async with AsyncScheduler(1) as one, AsyncScheduler(1) as other:
            done = [await scheduler.submit(int) for scheduler in (one, other)]
            for scheduler, job in zip((one, other), done, strict=True):
                await scheduler.wait(job)
            jobs = [await scheduler.submit(hanging([])) for scheduler in (one, other, other)]
            found = await asyncio.to_thread(get_scheduler_metrics)
            assert (found.active_jobs, found.queued_jobs, found.completed_jobs) == (2, 1, 2)
            assert found.throughput_per_second > 0
            for scheduler, job in zip((other, other, one), (jobs[2], jobs[1], jobs[0]), strict=True):
                await scheduler.cancel(job.job_id)
        assert get_scheduler_metrics() == SchedulerMetrics(0, 0, 0, 0, 0.0)

    run(main)


# A full queue


def test_a_full_queue_makes_submitters_wait_in_turn(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler(1, max_queued=2) as scheduler:
            times = []
            for _ in range(6):
                await scheduler.submit(lasting(10))
                times.append(passed())
            assert times == [0, 0, 0, 10, 20, 30]

    at_once(main)


def test_a_full_queue_refuses_when_asked_to_and_says_what_to_do(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler(1, max_queued=2, when_full="raise") as scheduler:
            for _ in range(3):
                await scheduler.submit(lasting(10))
            with pytest.raises(ConcurrencyError, match=r"2 of 2 wait"):
                await scheduler.submit(lasting(10))
            await asyncio.sleep(10.5)
            await scheduler.submit(lasting(10))
            assert (await scheduler.get_metrics()).completed_jobs == 1

    at_once(main)


def test_a_submitter_that_gives_up_gives_its_place_to_the_next(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler(1, max_queued=1) as scheduler:
            for _ in range(2):
                await scheduler.submit(lasting(10))
            impatient, patient = [asyncio.create_task(scheduler.submit(lasting(1))) for _ in range(2)]
            await asyncio.sleep(5)
            impatient.cancel()
            await asyncio.sleep(5.5)
            assert patient.done() and impatient.cancelled()

    at_once(main)


def test_who_waits_for_room_hears_that_the_scheduler_is_closed() -> None:
    async def main() -> None:
        scheduler = AsyncScheduler(1, max_queued=1)
        for _ in range(2):
            await scheduler.submit(hanging([]))
        late = asyncio.create_task(scheduler.submit(int))
        await asyncio.sleep(0)
        await scheduler.close(cancel=True)
        with pytest.raises(StateError, match="closed"):
            await late

    run(main)


def test_occurrences_that_are_not_due_take_no_place_in_the_queue(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler(1, max_queued=1) as scheduler:
            for _ in range(3):
                await scheduler.options(every=1000, delay=1000).submit(int)
            await scheduler.options(delay=10).submit(lasting(1))
            assert passed() == 0

    at_once(main)


# The end


def test_closing_waits_for_an_occurrence_that_rests_between_two_attempts(wall: object) -> None:
    async def main() -> None:
        scheduler = AsyncScheduler()
        job = await scheduler.options(every=50, retry_policy=RetryPolicy(3, initial_delay=10.0)).submit(
            lasting(1, error=ValueError("no"))
        )
        await scheduler.submit(lasting(5))
        await asyncio.sleep(3)
        await scheduler.close()
        assert (job.status, job.attempts, passed()) == (FAILED, 3, 33)

    at_once(main)


def test_leaving_the_block_waits_for_all_that_was_asked_for(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler(1) as scheduler:
            jobs = [await scheduler.submit(lasting(1)) for _ in range(5)]
            jobs.append(await scheduler.options(delay=50).submit(lasting(1)))
            recurring = await scheduler.options(every=7).submit(lasting(1))
        assert [job.status for job in jobs] == [DONE] * 6
        assert recurring.status is FAILED  # it waited when the block was left, and recurs no more
        assert passed() == 51
        for attempt in (scheduler.submit(int), scheduler.open()):
            with pytest.raises(StateError, match="closed"):
                await attempt
        await scheduler.close()
        assert await scheduler.get(jobs[0]) is jobs[0]

    at_once(main)


def test_an_exception_in_the_block_stops_everything() -> None:
    async def main() -> None:
        cleaned: list[int] = []
        jobs: list[AsyncJob] = []

        async def fail() -> None:
            async with AsyncScheduler(1) as scheduler:
                jobs.extend([await scheduler.submit(hanging(cleaned)) for _ in range(3)])
                await asyncio.sleep(0)
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        assert cleaned == [1]
        assert [(job.status, job.cancelled) for job in jobs] == [(FAILED, True)] * 3

    run(main)


def test_a_cancelled_close_stops_everything_and_leaves_nothing_running(tmp_path: Path) -> None:
    async def main() -> None:
        scheduler = AsyncScheduler()
        busy = tmp_path / "busy"
        jobs = [
            await scheduler.options(executor="process").submit(crimes.sleep_announced, str(busy)),
            await scheduler.submit(hanging([])),
            await scheduler.options(delay=1000).submit(int),
        ]
        while not busy.exists():
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(scheduler.close())
        await asyncio.sleep(0.1)
        closing.cancel()
        await asyncio.sleep(0)
        closing.cancel()  # whoever is impatient: it is bounded
        with pytest.raises(asyncio.CancelledError), Stopwatch() as watch:
            await closing
        assert watch.seconds < 5 + NOISE_SECONDS
        assert all(job.cancelled for job in jobs)
        wait_gone(int(busy.read_text()))

    run(main)


def test_a_drain_waits_for_what_comes_meanwhile_but_not_for_what_recurs(wall: object) -> None:
    async def main() -> None:
        async with AsyncScheduler() as scheduler:
            await scheduler.drain()
            await scheduler.options(every=1000).submit(lasting(1))

            async def more() -> None:
                await asyncio.sleep(3)
                await scheduler.submit(lasting(4))

            await scheduler.submit(more)
            await scheduler.drain()
            assert passed() == 7

    at_once(main)


def test_a_scheduler_that_was_never_used_is_closed_at_once() -> None:
    async def main() -> None:
        scheduler = AsyncScheduler()
        await scheduler.close()
        with pytest.raises(StateError):
            await scheduler.open()

    run(main)


def test_a_scheduler_belongs_to_its_loop() -> None:
    scheduler = AsyncScheduler()

    async def use() -> None:
        await scheduler.submit(lasting(0))
        await scheduler.drain()

    asyncio.run(use())
    with pytest.raises(StateError, match="event loop"):
        asyncio.run(use())


def test_a_job_that_would_wait_for_itself_is_told_so() -> None:
    async def main() -> None:
        async with AsyncScheduler() as scheduler:
            jobs = [await scheduler.submit(scheduler.drain), await scheduler.submit(scheduler.close)]
            await scheduler.drain()
            for job, what in zip(jobs, ("drain", "close"), strict=True):
                with pytest.raises(StateError, match=f"a job cannot {what} the scheduler"):
                    job.unwrap()
            assert (await scheduler.submit(int)).status is not FAILED

    run(main)


def test_a_scheduler_that_nobody_closes_starts_nothing_when_its_loop_ends() -> None:
    began: list[int] = []

    async def job(number: int) -> None:
        began.append(number)
        await asyncio.sleep(600)

    async def main() -> None:
        scheduler = AsyncScheduler(2)
        for number in range(6):
            await scheduler.options(retry_policy=RetryPolicy(5, initial_delay=0.0)).submit(job, number)
        await asyncio.sleep(0.05)

    run(main)
    assert began == [0, 1]


def test_the_metrics_may_be_asked_for_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        stop = threading.Event()

        def ask() -> int:
            asked = 0
            while not stop.is_set():
                get_scheduler_metrics()
                asked += 1
            return asked

        async with AsyncScheduler(keep=1) as scheduler:
            asking = asyncio.create_task(asyncio.to_thread(ask))
            for _ in range(3000):
                await scheduler.submit(lasting(0))
            await scheduler.drain()
            stop.set()
            assert await asking > 10

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        run(main)
    finally:
        sys.setswitchinterval(before)


# Many


def test_ten_thousand_jobs_all_end_and_few_are_kept() -> None:
    async def main() -> None:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        async with AsyncScheduler(8, keep=10) as scheduler:
            for number in range(10_000):
                await scheduler.submit(note, number)
            await scheduler.drain()
            assert sorted(seen) == list(range(10_000))
            assert len(await scheduler.jobs()) == 10
            assert (await scheduler.get_metrics()).completed_jobs == 10_000

    run(main)


def test_submitting_in_a_row_leaves_room_for_jobs_and_others() -> None:
    async def main() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with AsyncScheduler() as scheduler:
            watcher = asyncio.create_task(others())
            for _ in range(2000):
                await scheduler.submit(lasting(0))
            assert turns > 5
            watcher.cancel()

    run(main)


def test_results_are_not_kept_once_nobody_can_ask_for_them() -> None:
    class Big:
        """Something one can watch go."""

    async def main() -> None:
        async with AsyncScheduler(keep=1) as scheduler:
            job = await scheduler.submit(Big)
            await scheduler.wait(job)
            watched = weakref.ref(job.result)
            del job
            await scheduler.wait(await scheduler.submit(int))
            gc.collect()
            assert watched() is None

    run(main)


# Mistakes


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_concurrency": 0}, ValueError, "max_concurrency"),
        ({"max_concurrency": "4"}, TypeError, "max_concurrency"),
        ({"executor": "gpu"}, TypeError, "executor"),
        ({"max_queued": 0}, ValueError, "max_queued"),
        ({"max_queued": True}, ValueError, "max_queued"),
        ({"keep": -1}, ValueError, "keep"),
        ({"when_full": "drop"}, ValueError, "when_full"),
        ({"store": 7}, TypeError, "7|int"),
    ],
)
def test_a_scheduler_that_makes_no_sense_is_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        AsyncScheduler(**options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"priority": 1.5}, TypeError, "priority"),
        ({"priority": 1 << 40}, TypeError, "priority"),
        ({"name": ""}, TypeError, "name"),
        ({"delay": -1}, ValueError, "delay"),
        ({"delay": float("inf")}, ValueError, "delay"),
        ({"at": "tomorrow"}, TypeError, "at must be"),
        ({"at": float("nan")}, ValueError, "at must be"),
        ({"at": 1, "delay": 1}, ValueError, "delay and at"),
        ({"every": 0}, ValueError, "every|seconds"),
        ({"every": 1, "cron": "* * * * *"}, ValueError, "either every or cron"),
        ({"cron": "61 * * * *"}, ValueError, "61"),
        ({"cron": "* * * * *", "timezone": "Europe/Berlinn"}, ValueError, "Europe/Berlin"),
        ({"timezone": "UTC"}, ValueError, "timezone is for cron"),
    ],
)
def test_terms_that_make_no_sense_are_refused_at_once(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        AsyncScheduler().options(**options)


def test_what_cannot_be_called_or_limited_is_refused_when_it_is_submitted() -> None:
    async def main() -> None:
        async with AsyncScheduler() as scheduler:
            coroutine = lasting(1)()
            with pytest.raises(TypeError, match="callable"):
                await scheduler.submit(coroutine)
            coroutine.close()
            with pytest.raises(TypeError, match="callable"):
                await scheduler.submit(7)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="thread cannot be stopped"):
                await scheduler.options(timeout=1, executor="thread").submit(int)
            with pytest.raises(ValueError, match="timeout"):
                await scheduler.options(timeout=-1).submit(int)
            assert await scheduler.jobs() == []

    run(main)


def test_it_works_under_the_loops_own_checks() -> None:
    async def main() -> None:
        async with AsyncScheduler() as scheduler:
            jobs = [await scheduler.submit(time.sleep, 0.01) for _ in range(5)]
            jobs.append(await scheduler.submit(lasting(0.01)))
        assert all(job.success for job in jobs)

    asyncio.run(main(), debug=True)
