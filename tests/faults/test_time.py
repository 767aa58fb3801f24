"""T: limits of time, and everything that tries to outlive them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator import (
    BatchRunner,
    ConcurrencyError,
    Ending,
    Limits,
    OrchestratorTimeoutError,
    ParallelRunner,
    Pool,
    run_parallel,
    run_parallel_async,
)
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch, Street
from tests.waiting import is_alive, lines_of, wait_gone
from workers import tree

_ROOT = str(Path(orchestrator.__file__).parents[1])
_LIMIT = 0.4
_BOUND = 1.0 + NOISE_SECONDS
"""What a stop may take beyond limit and grace."""


def _assert_gone(pids: list[int]) -> None:
    assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.parametrize(
    ("crime", "line"),
    [
        (crimes.sleep_for_ever, "time.sleep(60)"),
        (crimes.wait_for_a_lock, "lock.acquire()"),
        (crimes.wait_for_a_socket, "ours.recv(1)"),
        (crimes.spin, "while True"),
    ],
)
def test_a_task_out_of_time_is_interrupted_at_its_line_and_its_finally_runs(
    street: Street, crime: Callable[[str], Any], line: str
) -> None:
    """T1: the traceback shows where it hung, and it could clean up."""
    (result,) = street.run(partial(crime, street.path("trace")), timeout=_LIMIT)
    assert result.ending is Ending.TIMED_OUT
    assert result.return_code == 124
    assert f"in {crime.__name__}" in result.error
    assert line in result.error or crime is crimes.spin  # where a busy loop is caught is chance
    assert lines_of(Path(street.path("trace"))) == ["finally"]
    assert _LIMIT <= result.execution_time < _LIMIT + _BOUND
    with pytest.raises(OrchestratorTimeoutError):
        result.unwrap()


@pytest.mark.parametrize(
    "crime", [crimes.swallow_interrupts, crimes.block_every_signal, crimes.hold_the_gil, crimes.stop_itself]
)
def test_a_task_that_does_not_hear_is_killed_and_shows_where_it_hung(street: Street, crime: Callable[[], Any]) -> None:
    """T2, T3 and DESIGN 3.14: after the grace period, with the stacks written by faulthandler's own thread."""
    with Stopwatch() as watch:
        (result,) = street.run(crime, timeout=_LIMIT, grace=0.4)
    assert result.ending is Ending.TIMED_OUT
    assert watch.seconds < 2 * 0.4 + 2 * _BOUND
    if crime is not crimes.stop_itself:  # a stopped process writes nothing
        assert "Timeout (" in result.error
        assert f"in {crime.__name__}" in result.error


def test_a_worker_stopped_from_outside_is_killed_when_the_time_is_up(street: Street) -> None:
    """T3: SIGSTOP is a hang like others."""
    with Pool(1, limits=Limits(seconds=1.0, grace=0.3)) as pool:
        future = pool.submit(crimes.sleep_announced, street.path("running"))
        (pid,) = street.pids("running")
        os.kill(pid, signal.SIGSTOP)
        with Stopwatch() as watch, pytest.raises(OrchestratorTimeoutError):
            future.result(30)
        assert watch.seconds < 1.3 + _BOUND
        assert pool.submit(pow, 2, 3).result(30) == 8


def test_without_a_grace_period_a_task_is_killed_at_once(street: Street) -> None:
    """T1: `grace=0` is allowed, and no `finally` runs."""
    with Stopwatch() as watch:
        (result,) = street.run(partial(crimes.sleep_for_ever, street.path("trace")), timeout=_LIMIT, grace=0)
    assert result.ending is Ending.TIMED_OUT
    assert watch.seconds < _LIMIT + 2 * _BOUND
    assert lines_of(Path(street.path("trace"))) == []


def test_a_task_that_swallows_the_interrupt_and_returns_has_still_timed_out(street: Street) -> None:
    """T2: what is returned after the deadline is not a result."""
    (result,) = street.run(crimes.swallow_one_interrupt, timeout=_LIMIT)
    assert result.ending is Ending.TIMED_OUT
    assert result.value is None


@pytest.mark.parametrize(
    ("then", "options", "ending"),
    [
        (crimes.sleep_for_ever, {"timeout": 1.5}, Ending.TIMED_OUT),
        (crimes.sleep_for_ever, {"timeout": 1.5, "grace": 0}, Ending.TIMED_OUT),
        (crimes.hold_the_gil, {"timeout": 1.5, "grace": 0.2}, Ending.TIMED_OUT),
        (partial(crimes.die_by, signal.SIGKILL), {}, Ending.CRASHED),
        (partial(crimes.exit_at_once, 0), {}, Ending.CRASHED),
        (int, {}, Ending.OK),
    ],
    ids=["interrupted", "killed", "deaf", "crashed", "exited", "returned"],
)
def test_no_descendant_outlives_its_task(
    street: Street, then: Callable[[], Any], options: dict[str, Any], ending: Ending
) -> None:
    """T4: children, grandchildren, those in their own session, daemons that forked twice."""
    (result,) = street.run(partial(crimes.start_a_family_and, street.path("family"), then), **options)
    assert result.ending is ending
    pids = street.pids("family")
    assert len(pids) == 4
    _assert_gone(pids)
    assert result.execution_time < 20


def test_descendants_of_a_script_go_with_it(street: Street) -> None:
    """T4: the same for a command, which no worker watches."""
    script = street.folder / "family.py"
    script.write_text(
        f"from tests import crimes\ncrimes.start_a_family_and({street.path('family')!r}, crimes.sleep_for_ever)\n",
        encoding="utf-8",
    )
    (result,) = BatchRunner(timeout=3, grace=0.2, env={"PYTHONPATH": _ROOT}).run_batch([script], 1)
    assert result.ending is Ending.TIMED_OUT
    _assert_gone(street.pids("family"))


@pytest.mark.parametrize("days", [1, -1])
def test_a_jump_of_the_wall_clock_times_nothing_out_and_saves_nothing(
    street: Street, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """T5: here and in the workers; the machine's own clock is not ours to set, so `time.time` jumps."""
    now = time.time
    started = time.monotonic()

    def jumped() -> float:
        return now() + (days * 86400 if time.monotonic() - started > 0.2 else 0)

    monkeypatch.setattr(time, "time", jumped)
    hung, slow = street.run(
        partial(crimes.jump_the_clock_and, days, crimes.sleep_for_ever),
        partial(crimes.jump_the_clock_and, days, partial(time.sleep, 0.3)),
        timeout=1.0,
    )
    assert hung.ending is Ending.TIMED_OUT
    assert 1.0 <= hung.execution_time < 1.0 + _BOUND
    assert slow.ending is Ending.OK
    assert 0.2 < slow.execution_time < 0.3 + _BOUND


def test_time_in_the_queue_is_not_counted() -> None:
    """T6: tasks that together take three times the limit each have their own."""
    results = run_parallel([partial(time.sleep, 0.3)] * 8, 1, timeout=0.9)
    assert [result.ending for result in results] == [Ending.OK] * 8


def test_time_to_rebuild_arguments_is_not_counted(street: Street) -> None:
    """T6: the clock starts when the function does, also for the second task of a chunk."""
    slow = crimes.sleep_slowly_rebuilt(1.2)
    results = street.run(partial(crimes.echo, slow), partial(crimes.echo, slow), timeout=0.5, grace=0.2)
    assert [result.value for result in results] == [1.2, 1.2]


def test_the_start_of_a_worker_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T6 and DESIGN 3.4: the first deadline starts when the worker is ready, however slow it was."""
    (tmp_path / "sitecustomize.py").write_text(
        'import os, time\nif "ORCHESTRATOR_TREE" in os.environ:\n    time.sleep(1)\n', encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Pool(1, limits=Limits(seconds=0.5)) as pool, Stopwatch() as watch:
        assert pool.submit(pow, 2, 3).result(30) == 8
    assert watch.seconds > 1


def test_a_result_at_the_very_limit_is_one_outcome_and_the_next_task_is_unhurt(street: Street) -> None:
    """T7: whichever side wins, there is one outcome, and the interrupt never lands in another task."""
    limit = 0.1
    tasks = [partial(time.sleep, limit + step * 0.0004) for step in range(-6, 6)]
    results = street.run(*tasks, among=36, workers=2, timeout=limit, grace=0.5)
    for result in results:
        assert result.ending in {Ending.OK, Ending.TIMED_OUT}
        assert result.success == (result.ending is Ending.OK)


def test_a_quick_task_behind_one_that_times_out_in_the_same_chunk_gets_its_own_time(street: Street) -> None:
    """T7: and several that hang in one call each time out, once, whatever chunk they were in."""
    log = street.path("hung")
    results = street.run(*[partial(crimes.hang_after_noting, log)] * 4, among=200, timeout=_LIMIT, grace=0.3)
    assert [result.ending for result in results] == [Ending.TIMED_OUT] * 4
    assert len(lines_of(Path(log))) == 4


def test_tasks_behind_a_long_one_in_the_same_chunk_are_run_by_others(street: Street) -> None:
    """DESIGN 3: a chunk whose task takes long gives the others back; here the long one waits for the next."""
    sign = street.path("sign")
    waits, signs = street.run(
        *[partial(crimes.wait_for_file, sign, 20.0), partial(crimes.announce, sign)], among=1, workers=2
    )
    assert (waits.ending, signs.ending) == (Ending.OK, Ending.OK)
    (street.folder / "sign").unlink()
    quick = [partial(crimes.echo, number) for number in range(200)]
    results = run_parallel(
        [*quick, partial(crimes.wait_for_file, sign, 20.0), partial(crimes.announce, sign), *quick], 2
    )
    assert [result.ending for result in results] == [Ending.OK] * 402


def test_after_a_batch_in_which_every_task_timed_out_the_next_one_works(street: Street) -> None:
    """T8: no slot is lost to them."""
    results = run_parallel([crimes.sleep_for_ever] * 4, 2, timeout=0.2, grace=0.3)
    assert [result.ending for result in results] == [Ending.TIMED_OUT] * 4
    street.serves_on()


@pytest.mark.parametrize("bad", [0, -1, 0.0, -0.5, math.nan, -math.inf])
def test_a_timeout_that_is_no_duration_is_refused_at_once(bad: float) -> None:
    """T9: nothing runs; the message shows the value."""
    for use in (partial(run_parallel, [int]), ParallelRunner, BatchRunner):
        with pytest.raises(ValueError, match="timeout"):
            use(timeout=bad)
    with pytest.raises(ValueError, match="timeout"):
        Limits(seconds=bad)


@pytest.mark.parametrize("bad", [True, False, "5", [1], 1j])
def test_a_timeout_of_another_type_is_refused_at_once(bad: Any) -> None:
    """T9: booleans and text are no numbers of seconds."""
    for use in (partial(run_parallel, [int]), ParallelRunner, BatchRunner):
        with pytest.raises(TypeError, match="timeout"):
            use(timeout=bad)


@pytest.mark.parametrize("unlimited", [None, math.inf, 1e9])
def test_none_and_infinity_mean_no_limit(unlimited: float | None) -> None:
    """T9: and a limit of decades is no overflow."""
    assert run_parallel([partial(crimes.echo, 5)], 1, timeout=unlimited)[0].value == 5


@pytest.mark.parametrize(
    "crime", [crimes.swallow_interrupts, crimes.block_every_signal, crimes.hold_the_gil, crimes.stop_itself]
)
def test_a_shutdown_that_kills_does_not_wait_for_hung_workers(street: Street, crime: Callable[[str], Any]) -> None:
    """T10: five seconds, whatever they do; what waits is cancelled."""
    pool = Pool(2)
    hung = [pool.submit(crime, street.path(f"hung-{number}")) for number in range(2)]
    waiting = pool.submit(int)
    pids = [street.pids(f"hung-{number}")[0] for number in range(2)]
    with Stopwatch() as watch:
        pool.shutdown(kill=True)
    assert watch.seconds < 5 + NOISE_SECONDS
    assert waiting.cancelled()
    for future in hung:
        with pytest.raises(ConcurrencyError):
            future.result(0)
    _assert_gone(pids)


def test_a_descendant_that_keeps_the_output_open_delays_nothing(street: Street) -> None:
    """T11: the task's end is its end; the descendant is stopped and named."""
    with Stopwatch() as watch:
        (result,) = street.run(partial(crimes.leave_a_child_with_the_output, street.path("child")))
    assert result.ending is Ending.OK
    assert result.value == "left"
    assert watch.seconds < 5 + NOISE_SECONDS
    (pid,) = street.pids("child")
    assert f"{pid} (" in result.error
    _assert_gone([pid])


def test_a_process_id_that_was_reused_is_never_signalled() -> None:
    """T12: a pid names a process only together with when it started."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        started = tree.start_ticks(stranger.pid)
        reused = tree.Root("a-cookie-nobody-has", stranger.pid, started - 1)
        assert tree.members(reused) == []
        assert tree.stop([reused]) == []
        same = tree.Root("a-cookie-nobody-has", stranger.pid, started)
        assert [process.pid for process in tree.members(same)] == [stranger.pid]
        assert stranger.poll() is None
        stranger.communicate(b"\n", timeout=30)
        assert stranger.returncode == 0


def test_a_nested_pool_dies_with_the_task_that_made_it(street: Street) -> None:
    """T13: and with everything in it, though its workers have sessions of their own."""
    inner = partial(crimes.swallow_interrupts, street.path("inner"))
    (result,) = street.run(partial(run_parallel, [inner]), timeout=3.0, grace=0.3)
    assert result.ending is Ending.TIMED_OUT
    _assert_gone(street.pids("inner"))


def test_cancelling_the_coroutine_that_waits_stops_the_tasks_tree(street: Street) -> None:
    """T14: five seconds after `cancel`, nothing of it lives, and the loop goes on."""

    async def main() -> float:
        task = partial(crimes.start_a_family_and, street.path("family"), crimes.sleep_for_ever)
        run = asyncio.create_task(run_parallel_async([task, crimes.sleep_for_ever, int], 2))
        await asyncio.to_thread(street.pids, "family")
        with Stopwatch() as watch:
            run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await run
        assert run.cancelled()
        assert (await run_parallel_async([partial(pow, 2, 3)], 2))[0].value == 8
        return watch.seconds

    seconds = asyncio.run(main())
    assert seconds < 5 + NOISE_SECONDS
    _assert_gone(street.pids("family"))


def test_a_timeout_of_asyncio_around_a_run_stops_it(street: Street) -> None:
    """T14: `asyncio.timeout` cancels; the task hears of it as of a limit of its own."""

    async def main() -> None:
        await run_parallel_async([int], 1)  # so that the next task finds a worker that has started
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await run_parallel_async([partial(crimes.sleep_for_ever, street.path("trace"))], 1)

    with Stopwatch() as watch:
        asyncio.run(main())
    assert watch.seconds < 1 + 5 + NOISE_SECONDS
    assert lines_of(Path(street.path("trace"))) == ["finally"]


_DRIVER = """
import sys
from functools import partial
from orchestrator import run_parallel
from tests import crimes
folder = sys.argv[1]
run_parallel([
    partial(crimes.hold_the_gil, folder + "/deaf"),
    partial(crimes.start_a_family_and, folder + "/family", crimes.sleep_for_ever),
    partial(crimes.block_every_signal, folder + "/blocked"),
], 3)
"""


def test_nothing_outlives_a_driver_that_was_killed(street: Street) -> None:
    """DESIGN 3.8: its guardian stops the trees, also of tasks that hold the GIL, within five seconds."""
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(street.folder)], env={**os.environ, "PYTHONPATH": _ROOT}
    )
    pids = [pid for name in ("deaf", "family", "blocked") for pid in street.pids(name)]
    assert len(pids) == 6
    with Stopwatch() as watch:
        driver.kill()
        driver.wait()
        for pid in pids:
            wait_gone(pid)
    assert watch.seconds < 5 + NOISE_SECONDS


_EXITING = """
import sys, time
from orchestrator import Pool, run_parallel
from tests import crimes
pool = Pool(2)
for number in range(6):
    pool.submit(crimes.neighbour, sys.argv[1] + "/log", number)
pool.submit({crime}, sys.argv[1] + "/slow")
print("done", flush=True)
"""


def _exiting(street: Street, crime: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _EXITING.format(crime=crime), str(street.folder)],
        env={**os.environ, "PYTHONPATH": _ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_accepted_work_finishes_when_the_interpreter_exits(street: Street) -> None:
    """DESIGN 3.10: as the standard library's executors promise, and without a word."""
    out, err = (program := _exiting(street, "crimes.announce")).communicate(timeout=60)
    assert (program.returncode, out, err) == (0, "done\n", "")
    assert sorted(lines_of(street.folder / "log")) == [str(number) for number in range(6)]


@pytest.mark.parametrize("crime", ["crimes.sleep_announced", "crimes.hold_the_gil"])
def test_ctrl_c_while_accepted_work_finishes_at_exit_stops_it(street: Street, crime: str) -> None:
    """DESIGN 3.10: within five seconds, and nothing is left."""
    program = _exiting(street, crime)
    (pid,) = street.pids("slow")
    assert program.stdout is not None
    assert program.stdout.readline() == "done\n"
    with Stopwatch() as watch:
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=60)
    assert watch.seconds < 5 + NOISE_SECONDS
    _assert_gone([pid])
