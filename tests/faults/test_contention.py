"""Rows C: contention, nesting, and tasks that share a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ConcurrencyError, Ending, ParallelRunner, Pool, run_parallel, run_parallel_async
from tests import crimes
from tests.faults.driver import driving
from tests.faults.street import NOISE_SECONDS, Stopwatch, Street
from tests.waiting import eventually


@contextmanager
def full_pool(folder: Path, **options: Any) -> Iterator[tuple[Pool, list[Future[Any]]]]:
    """A pool of one busy worker and a full queue of two; the work goes on when the block ends."""
    with Pool(1, max_queue=2, **options) as pool:
        futures: list[Future[Any]] = [
            pool.submit(crimes.announce_and_wait_for, str(folder / "busy"), str(folder / "go"))
        ]
        eventually((folder / "busy").exists)
        futures += [pool.submit(crimes.echo, number) for number in range(2)]
        try:
            yield pool, futures
        finally:
            (folder / "go").touch()


def test_a_full_queue_refuses_with_its_depth_and_enqueues_nothing(tmp_path: Path) -> None:
    """C1"""
    with full_pool(tmp_path, acquire_timeout=0.2) as (pool, futures):
        before = pool.snapshot().queued
        with pytest.raises(ConcurrencyError, match=r"2 tasks wait for 1 workers \(bound 2\)"):
            pool.submit(crimes.echo, "refused")
        assert pool.snapshot().queued == before == 2
    assert [future.result() for future in futures] == ["went", 0, 1]
    assert sum(pool.snapshot().endings.values()) == 3


def test_a_submission_that_waits_gets_its_place_when_there_is_room(tmp_path: Path) -> None:
    """C1"""
    with full_pool(tmp_path, acquire_timeout=30) as (pool, _):
        late: list[Future[Any]] = []
        submitter = threading.Thread(target=lambda: late.append(pool.submit(crimes.echo, "late")))
        submitter.start()
        (tmp_path / "go").touch()
        submitter.join(20)
        assert late[0].result(20) == "late"


def test_of_a_hundred_submitting_threads_each_is_answered_or_refused() -> None:
    """C2"""
    accepted: list[Future[int]] = []
    refused: list[ConcurrencyError] = []

    def submit(thread: int) -> None:
        for number in range(20):
            try:
                accepted.append(pool.submit(crimes.echo, thread * 100 + number))
            except ConcurrencyError as error:
                refused.append(error)

    with Pool(2, max_queue=50, acquire_timeout=0) as pool:
        threads = [threading.Thread(target=submit, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        values = [future.result() for future in accepted]
    assert len(accepted) + len(refused) == 2000
    assert len(set(values)) == len(accepted) == pool.snapshot().endings[Ending.OK]


def test_several_event_loops_at_once_each_get_their_own_results() -> None:
    """C2"""
    found: dict[int, list[Any]] = {}

    async def one(number: int) -> None:
        both = await asyncio.gather(
            *(run_parallel_async([partial(crimes.echo, (number, half, i)) for i in range(5)], 2) for half in range(2))
        )
        found[number] = [[result.value for result in results] for results in both]

    threads = [threading.Thread(target=lambda number=number: asyncio.run(one(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [[(n, half, i) for i in range(5)] for half in range(2)] for n in range(4)}


def test_callers_in_several_threads_share_one_warm_pool() -> None:
    """C2, sharp corner 18"""
    pids: list[set[int]] = []

    def call() -> None:
        pids.append({result.value for result in run_parallel([os.getpid] * 6, 2)})

    for _ in range(3):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert len(set.union(*pids)) <= 2


def test_submitting_from_a_done_callback_to_a_full_queue_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    """C3"""
    caught: list[BaseException] = []
    called = threading.Event()

    def submit_more(_: Future[Any]) -> None:
        try:
            for number in range(10):
                pool.submit(crimes.echo, number)
        except ConcurrencyError as error:
            caught.append(error)
        called.set()

    with full_pool(tmp_path) as (pool, futures):
        futures[0].add_done_callback(submit_more)
        (tmp_path / "go").touch()
        assert called.wait(20)
    assert "queue is full" in str(caught[0])
    assert futures[2].result(20) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [ValueError("callback"), SystemExit(3), KeyboardInterrupt()], ids=lambda e: repr(e))
def test_a_callback_that_raises_or_exits_costs_nobody_a_result(error: BaseException) -> None:
    """C3"""
    with Pool(2) as pool:
        futures = [pool.submit(crimes.echo, number) for number in range(20)]
        for future in futures[:10]:
            future.add_done_callback(lambda _: crimes.raise_it(error))
        assert [future.result(20) for future in futures] == list(range(20))
        assert pool.submit(crimes.echo, "on").result(20) == "on"


def test_while_a_callback_is_slow_the_other_workers_go_on() -> None:
    """C3"""
    release = threading.Event()
    with Pool(2) as pool:
        slow = pool.submit(crimes.echo, 0)
        slow.add_done_callback(lambda _: release.wait(30))
        others = [pool.submit(crimes.echo, number) for number in range(50)]
        try:
            assert not wait(others, 20).not_done
        finally:
            release.set()


def test_waiting_for_ones_own_pool_in_a_callback_is_refused() -> None:
    """C6"""
    answers: list[Any] = []
    answered = threading.Event()

    def wait_inside(_: Future[Any]) -> None:
        try:
            answers.append(pool.submit(crimes.echo, 2).result())
        except BaseException as error:
            answers.append(error)
        answered.set()

    with Pool(1) as pool:
        pool.submit(crimes.echo, 1).add_done_callback(wait_inside)
        assert answered.wait(20)
        assert answers == [2] or isinstance(answers[0], ConcurrencyError)
        assert pool.submit(crimes.echo, 3).result(20) == 3


def nest(levels: int) -> Any:
    """Run itself in nested pools."""
    if levels == 0:
        return os.environ["ORCHESTRATOR_DEPTH"]
    return run_parallel([partial(nest, levels - 1)])[0].unwrap()


def test_nested_runs_finish_and_too_deep_ones_say_so() -> None:
    """C4, sharp corner 16"""
    fine, deep = run_parallel([partial(nest, 2), partial(nest, 3)], 2, timeout=40)
    assert fine.value == "3", fine
    assert deep.ending is Ending.RAISED
    assert "ConcurrencyError" in deep.error
    assert "levels" in deep.error


def test_a_nested_run_has_one_worker_unless_told_otherwise() -> None:
    """C4, sharp corner 16"""

    def inner() -> tuple[int, int]:
        alone = {result.value for result in run_parallel([os.getpid] * 4)}
        told = run_parallel([partial(time.sleep, 0.3)] * 2, 2)
        return len(alone), len({result.pid for result in told})

    assert run_parallel([inner], 2, timeout=40)[0].unwrap() == (1, 2)


def test_a_nested_run_ends_with_the_task_it_is_in(street: Street) -> None:
    """C4: within the outer budget."""
    announcement = street.path("busy")
    task = partial(run_parallel, [partial(crimes.swallow_interrupts, announcement)])
    [result] = street.run(task, timeout=3.0, grace=0.2)
    assert result.ending is Ending.TIMED_OUT
    eventually(lambda: not os.path.exists(f"/proc/{street.pids('busy')[0]}"), 5)


def use_multiprocessing() -> int:
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        return sum(pool.map(abs, range(10)))


def use_process_pool() -> int:
    import concurrent.futures
    import multiprocessing

    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(abs, range(10)))


def use_threads() -> int:
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return sum(pool.map(abs, range(10)))


def use_asyncio() -> int:
    async def main() -> int:
        process = await asyncio.create_subprocess_exec("true")
        await asyncio.sleep(0.01)
        return 45 + await process.wait()

    return asyncio.run(main())


@pytest.mark.parametrize("use", [use_multiprocessing, use_process_pool, use_threads, use_asyncio])
def test_what_the_standard_library_has_for_concurrency_works_inside_a_task(use: Callable[[], int]) -> None:
    """C5"""
    results = run_parallel([use, partial(crimes.echo, 1), use], 1, timeout=40)
    assert [result.value for result in results] == [45, 1, 45], results


def test_processes_that_a_task_forks_and_terminates_never_outlast_the_signal() -> None:
    """C5: a pool's terminate() reaches children that have just been forked; each must die of it, every time."""
    results = run_parallel([use_multiprocessing] * 80, 4, timeout=30)
    assert [result.value for result in results] == [45] * 80


@pytest.mark.parametrize("crime", [crimes.return_twice, crimes.raise_in_a_fork])
def test_a_task_that_forks_and_comes_back_twice_has_one_result(street: Street, crime: Callable[[], str]) -> None:
    """C7, sharp corner 7"""
    for result in street.run(*[crime] * 3):
        assert result.ending is Ending.OK
        assert result.value == "parent"


@pytest.mark.parametrize(
    ("workers", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (2.5, TypeError), ("4", TypeError)]
)
def test_a_number_of_workers_that_makes_no_sense_is_an_error_at_once(workers: Any, error: type[Exception]) -> None:
    """C8"""
    for misuse in (Pool, ParallelRunner, partial(run_parallel, [])):
        with pytest.raises(error, match="max_workers"):
            misuse(max_workers=workers)


def test_a_million_workers_are_a_bound_and_not_an_avalanche() -> None:
    """C8"""
    with Pool(10**6) as pool:
        assert [f.result() for f in [pool.submit(crimes.echo, n) for n in range(3)]] == [0, 1, 2]
        assert len(pool.snapshot().workers) <= 3


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    """C9"""
    script = """
    crimes.write_line(path("log"), "imported")
    class Point:
        def __init__(self, x): self.x = x
        def double(self): return Point(self.x * 2)
    say("value", run_parallel([Point(21).double], 2)[0].value.x)
    """
    with driving(tmp_path, script) as driver:
        assert driver.ended() == 0, driver
        assert driver.says("value") == "42"
        assert (tmp_path / "log").read_text(encoding="utf-8") == "imported\n"


def test_changing_directory_after_the_pool_has_started_does_no_harm(tmp_path: Path) -> None:
    """C9"""
    here = os.getcwd()
    with Pool(2) as pool:
        first = pool.submit(os.getcwd).result()
        os.chdir(tmp_path)
        try:
            barrier = [pool.submit(time.sleep, 0.2) for _ in range(2)]
            wait(barrier)
            assert pool.submit(crimes.echo, 1).result() == 1
            assert run_parallel([partial(crimes.echo, 2)], 2, cwd=".")[0].value == 2
            assert run_parallel([os.getcwd], 2, cwd=tmp_path)[0].value == str(tmp_path)
        finally:
            os.chdir(here)
    assert first == here


def look_around() -> tuple[str, str | None, bool, int, set[int], list[str]]:
    """Return what a task finds: directory, variables, umask, signal mask and handlers."""
    umask = os.umask(0)
    os.umask(umask)
    print("heard")
    os.write(1, b"raw\n")
    print("complaint", file=sys.stderr)
    handlers = [str(signal.getsignal(number)) for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGINT)]
    blocked = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}
    return os.getcwd(), os.environ.get("LEFT_BEHIND"), "HOME" in os.environ, umask, blocked, handlers


@pytest.mark.parametrize(
    "crime",
    [
        crimes.move_away,
        crimes.remove_own_directory,
        crimes.leave_handlers,
        crimes.leave_an_alarm,
        partial(crimes.leave_a_timer, signal.ITIMER_PROF),
        partial(crimes.leave_a_timer, signal.ITIMER_VIRTUAL),
        crimes.replace_stdout,
        crimes.close_stdout,
        crimes.close_output_descriptors,
    ],
    ids=lambda crime: getattr(crime, "__name__", f"timer {getattr(crime, 'args', '')}"),
)
def test_what_a_task_leaves_behind_later_tasks_do_not_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crime: Callable[..., Any]
) -> None:
    """C10"""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    in_folder = crime in (crimes.move_away, crimes.remove_own_directory)
    task = partial(crime, str(tmp_path / "elsewhere")) if in_folder else crime
    with Pool(1) as pool:
        before = pool.submit(look_around).execution_result(20)  # type: ignore[attr-defined]
        assert pool.submit(task).exception(20) is None
        after = pool.submit(look_around).execution_result(20)  # type: ignore[attr-defined]
        assert after.value == before.value, after
        assert (after.output, after.error) == ("heard\nraw\n", "complaint\n")
        assert pool.submit(crimes.spin_for, 1.3).result(20) == 1.3  # no alarm goes off


@pytest.mark.parametrize("crime", [crimes.leave_handlers, crimes.close_stdout])
def test_after_such_a_task_the_next_one_can_still_be_stopped(crime: Callable[[], Any]) -> None:
    """C10"""
    with Stopwatch() as watch:
        results = run_parallel([crime, crimes.spin, crimes.sleep_for_ever], 1, timeout=1.0, grace=5.0)
    assert [result.ending for result in results] == [Ending.OK, Ending.TIMED_OUT, Ending.TIMED_OUT]
    assert "OrchestratorTimeoutError" in results[2].error  # the interrupt worked: nobody had to be killed
    assert watch.seconds < 5 + 2 * NOISE_SECONDS
