"""D: workers that die, by their task's hand, by another's, or before they are born."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ConcurrencyError, Ending, Pool, RetryPolicy, TaskFailedError, run_parallel
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch, Street
from tests.waiting import eventually, is_alive, lines_of, wait_gone


@pytest.mark.parametrize("among", [6, 400], ids=["alone", "in a chunk"])
@pytest.mark.parametrize(
    ("task", "name", "code"),
    [
        (partial(crimes.die_by, signal.SIGSEGV), "SIGSEGV", 139),
        (crimes.touch_nothing, "SIGSEGV", 139),
        (partial(crimes.die_by, signal.SIGBUS), "SIGBUS", 135),
        (crimes.abort, "SIGABRT", 134),
    ],
    ids=["SIGSEGV", "null pointer", "SIGBUS", "abort"],
)
def test_a_crash_names_the_signal_keeps_the_fatal_traceback_and_costs_only_its_task(
    street: Street, task: Callable[[], Any], name: str, code: int, among: int
) -> None:
    """D1 and D10: neighbours of the same chunk, before it and behind it, run exactly once."""
    with Stopwatch() as watch:
        (result,) = street.run(task, among=among)
    assert result.ending is Ending.CRASHED
    assert name in result.error
    assert "Fatal Python error" in result.error
    assert "tests/crimes.py" in result.error
    assert result.return_code == code
    assert watch.seconds < 10 + NOISE_SECONDS
    with pytest.raises(TaskFailedError):
        result.unwrap()


def test_output_before_a_crash_is_kept(street: Street) -> None:
    """D1: what was printed comes with the failure."""
    (result,) = street.run(partial(crimes.die_by, signal.SIGSEGV))
    assert result.output == "last words\n"


def test_a_worker_killed_from_outside_may_have_wanted_memory(street: Street) -> None:
    """D2: the message says what the kernel's own killer would have looked like; it is noticed within a second."""
    noticed: list[float] = []

    def kill() -> None:
        (pid,) = street.pids("victim")
        os.kill(pid, signal.SIGKILL)
        noticed.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    result = run_parallel([partial(crimes.wait_to_be_killed, street.path("victim"))], 2)[0]
    seconds = time.monotonic() - noticed[0]
    killer.join()
    assert result.ending is Ending.CRASHED
    assert "SIGKILL" in result.error
    assert "want of memory" in result.error
    assert result.return_code == 137
    assert seconds < 1 + NOISE_SECONDS
    street.serves_on()


@pytest.mark.parametrize(("code", "reported"), [(0, 1), (3, 3)])
@pytest.mark.parametrize("among", [6, 400], ids=["alone", "in a chunk"])
def test_a_task_that_exits_past_every_handler_has_not_succeeded(
    street: Street, code: int, reported: int, among: int
) -> None:
    """D3: os._exit is a crash, whatever the code, and nobody waits for a result that cannot come."""
    (result,) = street.run(partial(crimes.exit_at_once, code), among=among)
    assert result.ending is Ending.CRASHED
    assert f"exited with code {code}" in result.error
    assert result.return_code == reported
    assert result.output == "leaving\n"


def test_idle_workers_that_are_killed_are_replaced_and_nothing_fails() -> None:
    """D4: between tasks nobody is to blame. DESIGN 3.5: a send that fails is not a failed task."""
    with Pool(2) as pool:
        for _ in range(3):
            pids = {pool.submit(os.getpid).result() for _ in range(4)}
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            # At once, while the driver may not know it yet, and again when it must have happened.
            assert pool.submit(pow, 2, 3).result() == 8
            for pid in pids:
                wait_gone(pid)
            assert list(pool.map(pow, [2] * 8, range(8))) == [1, 2, 4, 8, 16, 32, 64, 128]


def test_a_large_task_sent_to_a_worker_that_has_died_is_sent_to_another() -> None:
    """D4: a death that shows only while the arguments are written."""
    with Pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        os.kill(pid, signal.SIGSTOP)  # it reads nothing, so that the pipe fills
        future = pool.submit(len, bytes(16 << 20))
        eventually(lambda: pool.snapshot().queued == 0, what="the task to be taken")
        os.kill(pid, signal.SIGKILL)
        assert future.result(30) == 16 << 20


def test_a_worker_killed_before_it_is_ready_is_replaced_and_nothing_fails() -> None:
    """D4: a birth that fails is tried again. It may come before the session exists (DESIGN 3.2)."""
    with Pool(1) as pool:
        future = pool.submit(pow, 2, 3)
        child = eventually(lambda: pool.snapshot().workers)[0]
        os.kill(child.pid, signal.SIGKILL)
        assert future.result(30) == 8


def test_random_running_workers_killed_cost_only_what_they_ran(street: Street) -> None:
    """D5: several at once, while the others work."""
    names = [f"victim-{number}" for number in range(5)]
    pids: list[int] = []

    def kill() -> None:
        for name in names:
            pids.extend(street.pids(name))
            os.kill(pids[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    results = street.run(*[partial(crimes.wait_to_be_killed, street.path(name)) for name in names], among=60, workers=3)
    killer.join()
    assert [result.ending for result in results] == [Ending.CRASHED] * 5
    assert {result.pid for result in results} == set(pids)


@pytest.mark.parametrize("first", [False, True], ids=["behind others", "first of its chunk"])
def test_a_task_that_crashes_late_in_a_chunk_has_run_once(street: Street, first: bool) -> None:
    """D10: its neighbours have been taken back by then, and it alone is to blame, at once."""
    log = street.path("crashed")
    crash = partial(crimes.crash_after, log, 0.3)
    (result,) = street.run(crash, among=200) if not first else street.run(crash, crash, among=90)[:1]
    assert result.ending is Ending.CRASHED
    assert len(lines_of(Path(log))) == 1 + first


def test_fifty_crashes_in_a_row_are_fifty_failures_and_the_pool_serves_on(street: Street) -> None:
    """D6: no number of crashed tasks is a reason to give up."""
    results = street.run(*[partial(crimes.exit_at_once, 3)] * 50, among=100, workers=3)
    assert [result.ending for result in results] == [Ending.CRASHED] * 50
    assert len({result.pid for result in results}) == 50


@pytest.fixture
def stillbirth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make every worker say something and exit before it is one; return the file that counts them."""
    births = tmp_path / "births"
    (tmp_path / "sitecustomize.py").write_text(
        f"""import os, sys
if "ORCHESTRATOR_TREE" in os.environ:
    with open({str(births)!r}, "a") as file:
        file.write("born\\n")
    print("not in this weather", file=sys.stderr, flush=True)
    os._exit(9)
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return births


def test_workers_that_cannot_start_fail_the_whole_run_with_the_cause_and_without_a_loop(stillbirth: Path) -> None:
    """D7: three births in a row close a slot; DESIGN 3.4: no task waits for a slot that will never be."""
    with Stopwatch() as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConcurrencyError, match="exited with code 9"):
            run_parallel([int] * 20, 2)
    assert watch.seconds < 10 + NOISE_SECONDS
    assert len(lines_of(stillbirth)) <= 6


def test_workers_that_cannot_start_fail_every_waiting_future(stillbirth: Path) -> None:
    """D7: through the executor's interface, also where warnings are errors, as in these tests."""
    with Pool(2) as pool:
        futures = [pool.submit(int)]
        with contextlib.suppress(ConcurrencyError):  # the pool may find out while we still submit
            futures.extend(pool.submit(int) for _ in range(20))
        assert all(isinstance(future.exception(30), ConcurrencyError) for future in futures)
        with pytest.raises(ConcurrencyError):
            pool.submit(int)


def test_a_machine_that_recovers_gets_workers_again(stillbirth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D7: a shared pool that broke is not the last one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConcurrencyError):
            run_parallel([int], 1)
    monkeypatch.delenv("PYTHONPATH")
    assert run_parallel([int], 1)[0].value == 0


@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "not waiting"])
def test_a_worker_that_dies_while_the_pool_shuts_down_does_not_hold_it_up(street: Street, wait: bool) -> None:
    """D8: its task fails, what was accepted behind it still runs, and shutdown returns."""
    pool = Pool(1)
    doomed = pool.submit(crimes.wait_to_be_killed, street.path("victim"))
    queued = pool.submit(pow, 2, 3)
    (pid,) = street.pids("victim")
    killer = threading.Thread(target=os.kill, args=(pid, signal.SIGKILL))
    with Stopwatch() as watch:
        killer.start()
        pool.shutdown(wait=wait)
        assert queued.result(30) == 8
        assert isinstance(doomed.exception(30), TaskFailedError)
        pool.shutdown()
    killer.join()
    assert watch.seconds < 5 + NOISE_SECONDS


def test_idle_workers_that_are_dead_already_do_not_hold_up_a_shutdown() -> None:
    """D8: nor those that are stopped and hear nothing."""
    pool = Pool(2)
    pids = {pool.submit(os.getpid).result() for _ in range(8)}
    os.kill(pids.pop(), signal.SIGKILL)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    with Stopwatch() as watch:
        pool.shutdown()
    assert watch.seconds < 5 + NOISE_SECONDS


def test_a_death_after_the_result_was_sent_is_a_success_once() -> None:
    """D9: the frame counts. What dies is an idle worker, and the next task gets another."""
    with Pool(1) as pool:
        for number in range(4):
            future = pool.submit(crimes.die_after_its_result, number)
            assert future.result(30) == number
            wait_gone(future.execution_result().pid)  # type: ignore[attr-defined]
        assert pool.snapshot().endings == {Ending.OK: 4}


def test_a_task_behind_a_death_between_tasks_is_not_blamed() -> None:
    """D9 and D10: a queue of such tasks, where each next one is sent just when the worker dies."""
    with Pool(1) as pool:
        futures = [pool.submit(crimes.die_after_its_result, number) for number in range(6)]
        endings = [future.execution_result(30).ending for future in futures]  # type: ignore[attr-defined]
        assert pool.submit(pow, 2, 3).result(30) == 8
    # A task that has begun when the worker dies cannot be told from one that killed it.
    assert set(endings) <= {Ending.OK, Ending.CRASHED}
    assert endings[0] is Ending.OK


@pytest.mark.parametrize("policy", ["retries", "retry policy"])
def test_a_task_that_crashes_is_tried_again_and_every_attempt_is_told(street: Street, policy: str) -> None:
    """D11: n retries are n + 1 attempts; the last one is the result, the others are its history."""
    options: dict[str, Any] = {"retries": 2}
    if policy == "retry policy":
        options = {"retry_policy": RetryPolicy(max_attempts=3, initial_delay=0.05)}
    hopeless, late = street.run(
        partial(crimes.crash_until, street.path("hopeless"), 99),
        partial(crimes.crash_until, street.path("late"), 3),
        **options,
    )
    assert hopeless.ending is Ending.CRASHED
    assert hopeless.attempts == 3
    assert hopeless.output == "attempt 3\n"
    assert [attempt.output for attempt in hopeless.history] == ["attempt 1\n", "attempt 2\n"]
    assert len(lines_of(Path(street.path("hopeless")))) == 3
    assert late.ending is Ending.OK
    assert (late.value, late.attempts) == (3, 3)
    assert [attempt.ending for attempt in late.history] == [Ending.CRASHED] * 2


def test_a_death_is_noticed_though_a_fork_still_holds_every_descriptor(street: Street) -> None:
    """DESIGN 3.1: the exit itself is waited for, not the end of a pipe that descendants inherit."""
    with Stopwatch() as watch:
        (result,) = street.run(partial(crimes.die_with_a_fork_that_lives, street.path("fork")))
    assert result.ending is Ending.CRASHED
    assert watch.seconds < 3 + NOISE_SECONDS
    (fork,) = street.pids("fork")
    assert not is_alive(fork)


def test_a_crash_after_a_neighbour_left_a_thread_says_so(street: Street) -> None:
    """DESIGN 3.17: the task that was running is blamed, and the message names the other suspect."""
    trigger = Path(street.path("trigger"))
    culprit, victim = run_parallel(
        [
            partial(crimes.leave_a_thread_that_crashes, str(trigger)),
            partial(crimes.wait_to_be_killed, str(trigger)),
        ],
        1,
    )
    assert culprit.ending is Ending.OK
    assert victim.ending is Ending.CRASHED
    assert "an earlier task had left threads" in victim.error
    street.serves_on(1)
