"""Pool as an executor, and what it has beyond one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ConcurrencyError, Ending, Limits, OrchestratorTimeoutError, Pool, UnsendableError
from orchestrator.pool.pool import PoolFuture
from orchestrator.results import ExecutionResult
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import eventually, wait_gone

MB = 1 << 20


def result_of(future: concurrent.futures.Future[Any], seconds: float = 30) -> ExecutionResult:
    assert isinstance(future, PoolFuture)
    return future.execution_result(seconds)


def test_submit_returns_a_future_of_the_call() -> None:
    with Pool(2) as pool:
        assert pool.submit(pow, 2, 10).result() == 1024
        assert pool.submit(dict, self=1, fn=2).result() == {"self": 1, "fn": 2}
        failed = pool.submit(crimes.raise_it, KeyError("gone"))
        assert isinstance(failed.exception(), KeyError)
        with pytest.raises(KeyError, match="gone"):
            failed.result()
        with pytest.raises(TypeError, match="callable"):
            pool.submit("not callable")  # type: ignore[arg-type]


def test_a_call_that_cannot_be_sent_is_a_failed_future_and_costs_no_worker() -> None:
    with Pool(1) as pool:
        future = pool.submit(crimes.echo, threading.Lock())
        assert isinstance(future.exception(0), UnsendableError)
        assert result_of(future).ending is Ending.UNSENDABLE
        assert pool.snapshot().workers == ()


def test_execution_result_tells_every_ending_without_raising() -> None:
    with Pool(2, limits=Limits(seconds=0.5, grace=0.2)) as pool:
        futures = [
            pool.submit(crimes.echo, 1),
            pool.submit(crimes.raise_it, ValueError("no")),
            pool.submit(crimes.sleep_for_ever),
            pool.submit(crimes.exit_at_once, 3),
        ]
        endings = [result_of(future).ending for future in futures]
        assert endings == [Ending.OK, Ending.RAISED, Ending.TIMED_OUT, Ending.CRASHED]
        assert result_of(futures[0]).value == 1
        assert result_of(futures[3]).return_code == 3
        with pytest.raises(OrchestratorTimeoutError):
            futures[2].result()


def test_execution_result_waits_only_as_long_as_it_is_told(tmp_path: Path) -> None:
    with Pool(1) as pool:
        future = pool.submit(crimes.announce_and_wait_for, "", str(tmp_path / "go"))
        with pytest.raises(TimeoutError):
            result_of(future, 0.05)
        (tmp_path / "go").touch()
        assert result_of(future).value == "went"


def test_map_yields_in_order_and_raises_what_the_first_failed_call_raised() -> None:
    with Pool(2) as pool:
        assert list(pool.map(pow, range(5), itertools.repeat(2))) == [0, 1, 4, 9, 16]
        assert list(pool.map(abs, [])) == []
        results = pool.map(int, ["1", "2", "three", "4"])
        assert (next(results), next(results)) == (1, 2)
        with pytest.raises(ValueError, match="three"):
            next(results)
        assert pool.submit(crimes.echo, 1).result() == 1


@pytest.mark.parametrize("chunksize", [1, 7, 100])
def test_map_is_lazy_with_any_chunksize(chunksize: int) -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    with Pool(2) as pool:
        results = pool.map(abs, numbers(), chunksize=chunksize)
        assert list(itertools.islice(results, 10)) == list(range(1, 11))
        assert read <= 10 + 2 * max(chunksize, 8)
        results.close()  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="chunksize"):
            pool.map(abs, [1], chunksize=0)


def test_map_with_a_timeout_raises_and_lets_the_rest_go(tmp_path: Path) -> None:
    with Pool(1) as pool:
        results = pool.map(crimes.announce_and_wait_for, [""] * 3, [str(tmp_path / "go")] * 3, timeout=0.2)
        with pytest.raises(TimeoutError):
            list(results)
        (tmp_path / "go").touch()
        assert pool.submit(crimes.echo, 1).result(20) == 1


def test_a_map_that_is_left_early_cancels_what_it_has_not_needed(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with Pool(1) as pool:
        for value in pool.map(crimes.neighbour, itertools.repeat(log), range(1000)):
            if value == 9:
                break
    assert len(Path(log).read_text(encoding="utf-8").split()) < 50


def test_wait_and_as_completed_work_on_its_futures(tmp_path: Path) -> None:
    with Pool(2) as pool:
        slow = pool.submit(crimes.announce_and_wait_for, "", str(tmp_path / "go"))
        quick = pool.submit(crimes.echo, 1)
        done, not_done = concurrent.futures.wait([slow, quick], 20, concurrent.futures.FIRST_COMPLETED)
        assert (done, not_done) == ({quick}, {slow})
        (tmp_path / "go").touch()
        assert set(concurrent.futures.as_completed([slow, quick], 20)) == {slow, quick}


def test_a_running_loop_can_wait_for_it_in_both_usual_ways() -> None:
    async def main() -> None:
        with Pool(2) as pool:
            assert await asyncio.wrap_future(pool.submit(pow, 2, 3)) == 8
            loop = asyncio.get_running_loop()
            both = [loop.run_in_executor(pool, pow, 2, exponent) for exponent in range(4)]
            assert await asyncio.gather(*both) == [1, 2, 4, 8]
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(pool, divmod, 1, 0)

    asyncio.run(main())


def test_submit_limited_has_limits_of_its_own() -> None:
    with Pool(2, limits=Limits(seconds=30)) as pool:
        short = pool.submit_limited(Limits(seconds=0.3, grace=0.1), crimes.sleep_for_ever)
        small = pool.submit_limited(Limits(memory="120M"), crimes.burst_of_memory, 200 * MB, 20.0)
        plain = pool.submit(crimes.echo, 1)
        assert result_of(short).ending is Ending.TIMED_OUT
        assert result_of(small).ending is Ending.OUT_OF_MEMORY
        assert plain.result() == 1


def test_cancel_stops_a_waiting_task_and_a_running_one_and_no_finished_one(tmp_path: Path) -> None:
    with Pool(1, limits=Limits(grace=0.2)) as pool:
        finished = pool.submit(crimes.echo, 1)
        finished.result()
        running = pool.submit(crimes.swallow_interrupts, str(tmp_path / "busy"))
        waiting = pool.submit(crimes.echo, 2)
        eventually((tmp_path / "busy").exists)
        pid = int((tmp_path / "busy").read_text())
        assert not pool.cancel(finished)
        assert pool.cancel(waiting)
        assert waiting.cancelled()
        with Stopwatch() as watch:
            assert pool.cancel(running)
            assert result_of(running).ending is Ending.CANCELLED
        assert watch.seconds < 0.2 + 1 + NOISE_SECONDS
        with pytest.raises(ConcurrencyError):
            running.result()
        wait_gone(pid, 5)
        assert result_of(waiting).ending is Ending.CANCELLED
        assert pool.submit(crimes.echo, 3).result() == 3


def test_a_future_of_another_executor_is_cancelled_as_its_own_executor_would() -> None:
    foreign: concurrent.futures.Future[int] = concurrent.futures.Future()
    with Pool(1) as pool:
        assert pool.cancel(foreign)
        assert foreign.cancelled()


def test_snapshot_shows_what_runs_what_waits_and_what_has_ended(tmp_path: Path) -> None:
    with Pool(2) as pool:
        assert pool.snapshot() == pool.snapshot()
        pool.submit(crimes.echo, 1).result()
        pool.submit(crimes.raise_it, ValueError()).exception()
        running = [
            pool.submit(crimes.announce_and_wait_for, str(tmp_path / f"busy{n}"), str(tmp_path / "go"))
            for n in range(2)
        ]
        for number in range(2):
            eventually((tmp_path / f"busy{number}").exists)
        # Not before: a worker that starts late may be given these first, while the other gives tasks back.
        waiting = [pool.submit(crimes.echo, number) for number in range(3)]
        eventually(lambda: all(worker.rss for worker in pool.snapshot().workers))
        seen = pool.snapshot()
        assert seen.queued == 3
        assert {worker.state for worker in seen.workers} == {"busy"}
        assert {worker.task for worker in seen.workers} == {"announce_and_wait_for"}
        assert all(0 < worker.since < 60 and worker.rss > MB for worker in seen.workers)
        assert {worker.pid for worker in seen.workers} == {
            int((tmp_path / f"busy{number}").read_text()) for number in range(2)
        }
        assert seen.endings == {Ending.OK: 1, Ending.RAISED: 1}
        (tmp_path / "go").touch()
        concurrent.futures.wait([*running, *waiting], 20)
        assert pool.snapshot().endings == {Ending.OK: 6, Ending.RAISED: 1}


def test_a_worker_is_replaced_after_its_number_of_tasks() -> None:
    with Pool(1, max_tasks_per_worker=3) as pool:
        pids = [pool.submit(os.getpid).result() for _ in range(7)]
        assert len(set(pids)) == 3
        eventually(lambda: pool.snapshot().recycled == 2)


def test_a_worker_grown_too_large_is_replaced_between_tasks() -> None:
    def hoard() -> int:
        crimes._kept.append(b"x" * (150 * MB))
        return os.getpid()

    with Pool(1, max_worker_memory=120 * MB) as pool:
        first = pool.submit(hoard).result()
        assert pool.submit(os.getpid).result() != first
        second = pool.submit(os.getpid).result()
        assert pool.submit(os.getpid).result() == second


def test_idle_workers_end_and_new_ones_come_when_there_is_work() -> None:
    with Pool(2, idle_seconds=0.2) as pool:
        pid = pool.submit(os.getpid).result()
        wait_gone(pid)
        eventually(lambda: pool.snapshot().workers == ())
        assert pool.submit(os.getpid).result() != pid


@pytest.mark.parametrize("size", [1000, 65_536, 262_144, 1 << 20, 5_000_000])
def test_a_worker_outlives_its_large_results_and_arguments(size: int) -> None:
    with Pool(1) as pool:
        results = [result_of(pool.submit(crimes.echo, bytes(size))) for _ in range(4)]
    assert [len(result.value) for result in results] == [size] * 4
    assert len({result.pid for result in results}) == 1


def test_workers_are_kept_when_nothing_says_otherwise() -> None:
    with Pool(1) as pool:
        assert len({pool.submit(os.getpid).result() for _ in range(5)}) == 1


def test_shutdown_waits_for_what_was_accepted_unless_told_not_to(tmp_path: Path) -> None:
    pool = Pool(1)
    futures = [pool.submit(crimes.echo, number) for number in range(5)]
    pool.shutdown()
    assert [future.result(0) for future in futures] == list(range(5))
    assert pool.closed
    pool = Pool(1)
    running = pool.submit(crimes.announce_and_wait_for, "", str(tmp_path / "go"))
    with Stopwatch() as watch:
        pool.shutdown(wait=False)
    assert watch.seconds < 1
    assert not running.done()
    (tmp_path / "go").touch()
    assert running.result(20) == "went"
    pool.shutdown()


def test_shutdown_with_kill_stops_what_runs_and_drops_what_waits(tmp_path: Path) -> None:
    pool = Pool(1, limits=Limits(grace=0.2))
    running = pool.submit(crimes.swallow_interrupts, str(tmp_path / "busy"))
    waiting = pool.submit(crimes.echo, 1)
    eventually((tmp_path / "busy").exists)
    with Stopwatch() as watch:
        pool.shutdown(kill=True)
    assert watch.seconds < 0.2 + 1 + NOISE_SECONDS
    assert result_of(running, 0).ending is Ending.CANCELLED
    assert waiting.cancelled()


def test_leaving_the_block_by_an_exception_finishes_the_work_and_by_ctrl_c_stops_it(tmp_path: Path) -> None:
    futures = []

    def finishes() -> None:
        with Pool(1) as pool:
            futures.append(pool.submit(time.sleep, 0.2))
            raise ValueError("mine")

    def stops() -> None:
        with Pool(1, limits=Limits(grace=0.1)) as pool:
            futures.append(pool.submit(crimes.swallow_interrupts, str(tmp_path / "busy")))
            eventually((tmp_path / "busy").exists)
            raise KeyboardInterrupt

    with pytest.raises(ValueError, match="mine"):
        finishes()
    assert futures[0].result(0) is None
    with pytest.raises(KeyboardInterrupt):
        stops()
    assert result_of(futures[1], 0).ending is Ending.CANCELLED


def test_a_cancelled_coroutine_stops_the_work_of_its_pool(tmp_path: Path) -> None:
    async def work() -> None:
        with Pool(1, limits=Limits(grace=0.1)) as pool:
            await asyncio.wrap_future(pool.submit(crimes.swallow_interrupts, str(tmp_path / "busy")))

    async def main() -> None:
        task = asyncio.create_task(work())
        while not (tmp_path / "busy").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Stopwatch() as watch:
        asyncio.run(main())
    assert watch.seconds < 5 + NOISE_SECONDS


@pytest.mark.parametrize(
    "options",
    [
        {"max_queue": 0},
        {"max_queue": True},
        {"max_tasks_per_worker": 0},
        {"max_tasks_per_worker": 1.5},
        {"max_worker_memory": -1},
        {"output_limit": 0},
        {"idle_seconds": -1},
        {"acquire_timeout": float("nan")},
        {"acquire_timeout": "1"},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_errors_at_once(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        Pool(1, **options)


def test_a_long_task_has_samples_of_its_tree() -> None:
    with Pool(1) as pool:
        [long, quick] = [result_of(pool.submit(crimes.spin_for, seconds)) for seconds in (0.8, 0.0)]
    assert len(quick.samples) <= 1  # on a busy machine even a task of no length may be looked at
    assert len(long.samples) >= 3
    times = [sample.seconds for sample in long.samples]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] <= long.execution_time + 0.1
    assert all(sample.rss > MB for sample in long.samples)
    used = [sample.cpu for sample in long.samples]
    assert used == sorted(used)
    assert 0.1 < used[-1] < 1.2


@pytest.mark.parametrize("in_a_child", [False, True])
def test_peak_memory_and_cpu_time_are_those_of_the_task_and_its_children(in_a_child: bool) -> None:
    def use() -> None:
        if in_a_child:
            crimes.memory_and_cpu_in_a_child(150 * MB, 0.6)
        else:
            held = b"x" * (150 * MB)
            crimes.spin_for(0.6)
            del held

    with Pool(1) as pool:
        before = result_of(pool.submit(crimes.spin_for, 0.05))
        result = result_of(pool.submit(use))
        after = result_of(pool.submit(crimes.spin_for, 0.05))
    assert 150 * MB < result.peak_memory < 300 * MB
    assert 0.55 < result.cpu_time < 1.5
    for neighbour in (before, after):
        assert neighbour.peak_memory < 100 * MB
        assert 0.04 < neighbour.cpu_time < 0.4


def test_cpu_time_of_a_child_nobody_waited_for_is_not_charged_to_the_next_task() -> None:
    with Pool(1) as pool:
        guilty = pool.submit(crimes.leave_a_used_up_zombie, 0.5)
        innocent = pool.submit(time.sleep, 0.01)
        assert result_of(innocent).cpu_time < 0.2
        assert guilty.exception() is None


def test_tasks_without_a_future_kept_release_their_results() -> None:
    with Pool(1) as pool:
        before = crimes.own_memory()
        for _ in range(60):
            assert len(pool.submit(crimes.bulk, 4 * MB).result()) == 4 * MB
        assert crimes.own_memory() - before < 100 * MB


def test_a_callable_of_any_kind_can_be_a_task() -> None:
    class Thing:
        def __init__(self, value: int) -> None:
            self.value = value

        def __call__(self) -> int:
            return self.value

        def method(self) -> int:
            return self.value + 1

        @classmethod
        def build(cls) -> Thing:
            return cls(5)

    kinds: list[Callable[[], Any]] = [Thing(1), Thing(1).method, partial(Thing, 3), Thing.build]
    with Pool(2) as pool:
        first, second, third, fourth = (pool.submit(kind).result() for kind in kinds)
    assert (first, second, third.value, fourth.value) == (1, 2, 3, 5)
