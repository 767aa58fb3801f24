"""Rows M: memory, disk, descriptors."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from orchestrator import BatchRunner, Ending, Limits, OrchestratorTimeoutError, ParallelRunner, Pool, run_parallel
from tests import crimes
from tests.faults.driver import driving
from tests.faults.street import NOISE_SECONDS, Street
from tests.waiting import eventually

MB = 1 << 20


@pytest.mark.parametrize(
    "crime",
    [
        partial(crimes.grow_for_ever, 16 * MB),
        partial(crimes.burst_of_memory, 300 * MB, 3.0),
        partial(crimes.memory_in_a_child, 300 * MB),
    ],
    ids=["growth", "burst", "child"],
)
def test_a_task_that_takes_too_much_memory_is_stopped_alone(street: Street, crime: Callable[[], Any]) -> None:
    """M1"""
    [result] = street.run(crime, memory_limit="150M", timeout=30)
    assert result.ending is Ending.OUT_OF_MEMORY
    assert result.return_code == 137
    assert f"{150 * MB:,}" in result.error
    assert 150 * MB < result.peak_memory < 2000 * MB
    assert result.execution_time < 2 + 1 + NOISE_SECONDS
    with pytest.raises(MemoryError, match="more than its limit"):
        result.unwrap()


def test_a_script_that_takes_too_much_memory_is_stopped_alone(tmp_path: Path) -> None:
    """M1"""
    greedy, modest = tmp_path / "greedy.py", tmp_path / "modest.py"
    greedy.write_text(f"print('begun', flush=True)\nheld = b'x' * {300 * MB}\nimport time\ntime.sleep(30)\n")
    modest.write_text("print('fine')\n")
    results = BatchRunner(memory_limit="150M").run_batch([greedy, modest, modest], 2)
    assert [result.ending for result in results] == [Ending.OUT_OF_MEMORY, Ending.OK, Ending.OK]
    assert results[0].output == "begun\n"
    assert results[0].return_code == 137
    assert results[0].execution_time < 3 + NOISE_SECONDS


def test_a_task_under_its_memory_limit_is_left_alone() -> None:
    """M1"""
    [result] = run_parallel([partial(crimes.burst_of_memory, 60 * MB, 0.5)], 1, memory_limit="400M")
    assert result.value == 60 * MB
    assert 60 * MB < result.peak_memory < 200 * MB


def test_a_memory_error_of_the_task_itself_is_an_exception_like_any_other(street: Street) -> None:
    """M2"""
    [result] = street.run(crimes.ask_for_too_much)
    assert result.ending is Ending.RAISED
    assert isinstance(result.exception, MemoryError)


def test_pages_that_processes_share_are_counted_once() -> None:
    """M3"""
    task = partial(crimes.share_memory_with_children, 120 * MB, 4, 1.5)
    [result] = run_parallel([task], 1, memory_limit="320M")
    assert result.ending is Ending.OK, result.error
    assert result.value == 120 * MB


def test_a_limit_below_what_an_idle_worker_takes_is_refused_with_both_figures() -> None:
    """M3"""
    results = run_parallel([partial(crimes.echo, 1), partial(crimes.echo, 2)], 1, memory_limit=1_000_000)
    for result in results:
        assert result.ending is Ending.OUT_OF_MEMORY
        assert "1,000,000" in result.error
        assert "idle worker" in result.error
    assert run_parallel([partial(crimes.echo, 3)], 1)[0].value == 3


@pytest.mark.parametrize(
    "crime",
    [
        crimes.exhaust_descriptors,
        partial(crimes.lower_limit, "RLIMIT_NOFILE", 20),
        partial(crimes.lower_limit, "RLIMIT_NOFILE", 20, 20),
        partial(crimes.lower_limit, "RLIMIT_AS", 1 << 30, 1 << 30),
        partial(crimes.lower_limit, "RLIMIT_FSIZE", 1, 1),
        partial(crimes.lower_limit, "RLIMIT_STACK", 1 << 20),
        partial(crimes.lower_limit, "RLIMIT_CPU", 1),
    ],
    ids=["descriptors", "soft", "hard", "address space", "file size", "stack", "cpu"],
)
def test_what_a_task_does_to_its_resource_limits_later_tasks_do_not_feel(crime: Callable[[], Any]) -> None:
    """M4"""
    names = ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_STACK", "RLIMIT_CPU")

    def look() -> tuple[int, list[tuple[int, int]]]:
        with open(os.devnull) as file:  # descriptors can be had
            print("x" * 10_000)
            return file.fileno(), [resource.getrlimit(getattr(resource, name)) for name in names]

    with Pool(1) as pool:
        _, before = pool.submit(look).result()
        pool.submit(crime).exception()
        descriptor, after = pool.submit(look).result()
        assert after == before
        assert descriptor < 100
        assert pool.submit(crimes.spin_for, 1.2).result() == 1.2


def test_with_descriptors_for_few_workers_there_are_few_and_a_warning(tmp_path: Path) -> None:
    """M5"""
    script = """
    resource.setrlimit(resource.RLIMIT_NOFILE, (45, 45))
    with Pool(8) as pool:
        futures = [pool.submit(time.sleep, 0.3) for _ in range(24)]
        results = [future.execution_result(30) for future in futures]
        pids = {result.pid for result in results}
    say("endings", {result.ending.name for result in results}, 1 <= len(pids) < 8)
    say("left", len(os.listdir("/proc/self/fd")) < 12, threading.active_count())
    """
    with driving(tmp_path, script, flags=()) as driver:
        assert driver.ended() == 0, driver
        assert driver.says("endings") == "{'OK'} True", driver
        assert driver.says("left") == "True 1"
        assert "one worker fewer" in driver.error
        assert "Traceback" not in driver.error
        driver.leaves_nothing()


def test_short_of_descriptors_for_a_look_at_the_memory_a_task_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """M5"""

    def none_left() -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("psutil.process_iter", none_left)
    with Pool(1) as pool:
        assert pool.submit_limited(Limits(memory="2G"), time.sleep, 0.3).result() is None
        assert pool.snapshot().endings == {Ending.OK: 1}


def test_short_of_descriptors_for_a_kill_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """M5"""
    pids, calls = psutil.pids, list[int]()

    def scarce() -> list[int]:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return pids()

    with Pool(1) as pool:
        future = pool.submit_limited(Limits(seconds=0.3, grace=0), crimes.sleep_for_ever)
        monkeypatch.setattr("psutil.pids", scarce)
        with pytest.raises(OrchestratorTimeoutError):
            future.result()
    assert len(calls) > 1


@pytest.mark.parametrize("free", [0, 1, 3, 6, 9, 12])
def test_without_descriptors_for_any_worker_the_error_says_so_and_nothing_leaks(tmp_path: Path, free: int) -> None:
    """M5"""
    script = f"""
    run_parallel([int])  # whatever is imported late is now imported
    time_zero = time.monotonic()
    before = set(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    filler = []
    try:
        while True:
            filler.append(os.dup(0))
    except OSError:
        pass
    for _ in range({free}):
        os.close(filler.pop())
    pool = Pool(2)
    said = []
    for _ in range(3):
        try:
            pool.submit(int).result(20)
            said.append("OK")
        except BaseException as error:
            said.append(type(error).__name__)
            text = str(error)
    for descriptor in filler:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pool.shutdown()
    seconds = time.monotonic() - time_zero
    say("ended", *sorted(set(said)), seconds < 12)
    say("afterwards", run_parallel([int], 3)[0].value)
    """
    with driving(tmp_path, script, flags=()) as driver:
        assert driver.ended() == 0, driver
        assert driver.says("ended") == "ConcurrencyError True", driver
        assert driver.says("afterwards") == "0"
        assert "bug in orchestrator" not in driver.error, driver
        driver.leaves_nothing()


def test_without_anonymous_memory_output_goes_to_unnamed_temporary_files(tmp_path: Path) -> None:
    """M6"""
    script = """
    def refuse(*_):
        raise OSError(38, "Function not implemented")
    os.memfd_create = refuse
    results = run_parallel([partial(crimes.talk_every_way, "hear") for _ in range(4)], 2)
    say("heard", *(result.output.count("hear") for result in results))
    say("files", os.listdir(os.environ["TMPDIR"]))
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with driving(tmp_path, script, env={"TMPDIR": str(temporary)}) as driver:
        assert driver.ended() == 0, driver
        assert driver.says("heard") == "5 5 5 5", driver
        assert driver.says("files") == "[]"
        driver.leaves_nothing()


def test_output_that_fits_nowhere_costs_one_task_and_no_later_one(tmp_path: Path) -> None:
    """M6, sharp corner 19: a full output file is an error of write(2), never a signal."""
    script = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    with Pool(1) as pool:
        first = pool.submit(print, "before").execution_result()
        full = pool.submit(crimes.flood, 4 << 20).execution_result()
        later = pool.submit(print, "after").execution_result()
    say("full", full.ending.name, "OSError" in full.error, "first line" in full.output)
    say("others", repr(first.output), repr(later.output), first.ending.name, later.ending.name)
    """
    with driving(tmp_path, script) as driver:
        assert driver.ended() == 0, driver
        assert driver.says("full") == "RAISED True True", driver
        assert driver.says("others") == r"'before\n' 'after\n' OK OK", driver
        driver.leaves_nothing()


def test_workers_share_the_processors_among_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """M7"""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    workers = 2
    with Pool(workers) as pool:
        found = pool.submit(os.getenv, "OMP_NUM_THREADS").result()
        users = pool.submit(os.getenv, "MKL_NUM_THREADS").result()
    assert found == str(max(1, len(os.sched_getaffinity(0)) // workers))
    assert users == "7"


@pytest.mark.slow
def test_a_hundred_thousand_queued_tasks_take_bounded_memory() -> None:
    """M8"""
    before = crimes.own_memory()
    with Pool(2) as pool:
        futures = [pool.submit(crimes.echo, number) for number in range(100_000)]
        grown = crimes.own_memory() - before
        assert sum(future.result() for future in futures) == sum(range(100_000))
    assert grown < 600 * MB


@pytest.mark.parametrize("take", ["runner", "pool"])
def test_an_endless_iterator_into_map_is_read_only_a_little_ahead(take: str) -> None:
    """M8"""
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        while True:
            yield read
            read += 1

    def check(results: Iterator[Any]) -> None:
        for taken, value in enumerate(itertools.islice(results, 2000)):
            assert value == taken
            assert read - taken <= 20_000
        results.close()  # type: ignore[attr-defined]

    if take == "pool":
        with Pool(2) as pool:
            check(pool.map(crimes.echo, numbers()))
    else:
        check(result.value for result in ParallelRunner(2).map(crimes.echo, numbers()))


def test_results_that_are_consumed_do_not_pile_up() -> None:
    """M8"""
    before = crimes.own_memory()
    for result in itertools.islice(ParallelRunner(2).map(crimes.bulk, itertools.repeat(MB)), 100):
        assert len(result.value) == MB
        assert crimes.own_memory() - before < 300 * MB


@pytest.mark.slow
def test_a_hundred_pools_opened_and_closed_leave_the_counts_as_they_were() -> None:
    """M9"""
    with Pool(1) as pool:
        pool.submit(crimes.echo, 0).result()  # starts guardian and resource tracker, which stay

    def counts() -> tuple[int, int, int]:
        children = psutil.Process().children(recursive=True)
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(children)

    before = counts()
    shared_memory = set(os.listdir("/dev/shm"))
    files = set(os.listdir(tempfile.gettempdir()))
    for number in range(100):
        with Pool(2) as pool:
            if number % 4 == 0:
                assert pool.submit(crimes.echo, number).result() == number
    eventually(lambda: counts() == before, what=f"{before}")
    assert {name for name in set(os.listdir("/dev/shm")) - shared_memory if str(os.getpid()) in name} == set()
    assert set(os.listdir(tempfile.gettempdir())) <= files
