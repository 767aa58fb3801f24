"""Rows S: signals and shutdown. Most of it happens to a driver in a process of its own."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Ending, Limits, ParallelRunner, Pool, run_parallel, shell
from orchestrator.pool import payload
from orchestrator.pool.job import Group, Job
from orchestrator.pool.worker import _starting as starting
from tests import crimes
from tests.faults.driver import Driver, driving
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import eventually, is_alive, lines_of, wait_gone
from workers.interrupt import SIGNAL

CTRL_C_SECONDS = 5 + NOISE_SECONDS

WAYS_TO_WAIT = {
    "run_parallel": "run_parallel(tasks, 2)",
    "map": "list(ParallelRunner(2).map(crimes.swallow_interrupts, [path('busy'), path('other')]))",
    "stream": "list(ParallelRunner(2).stream(tasks))",
    "pool": """
    with Pool(2) as pool:
        [future.result() for future in [pool.submit(task) for task in tasks]]
    """,
    "pool map": """
    with Pool(2) as pool:
        list(pool.map(crimes.swallow_interrupts, [path('busy'), path('other')]))
    """,
    "loop": "asyncio.run(run_parallel_async(tasks, 2))",
    "wrapped": """
    async def main():
        with Pool(2) as pool:
            await asyncio.gather(*(asyncio.wrap_future(pool.submit(task)) for task in tasks))
    asyncio.run(main())
    """,
    "scripts": """
    with open(path("script.py"), "w") as file:
        file.write("from tests import crimes; crimes.swallow_interrupts('busy')")
    BatchRunner().run_batch([path("script.py")])
    """,
}


def waiting_driver(way: str) -> str:
    tasks = "tasks = [partial(crimes.swallow_interrupts, path('busy')), partial(crimes.sleep_for_ever)] * 3\n"
    return f"{tasks}{_dedented(WAYS_TO_WAIT[way])}"


def _call(function: Callable[..., Any], *args: Any) -> bytes:
    return payload.dump_call((function, args, {}))


def _dedented(code: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in code.splitlines())


def dies_of_ctrl_c(driver: Driver) -> None:
    """Assert that the driver ends as a program that does not catch KeyboardInterrupt does, with one traceback."""
    assert driver.ended() == -signal.SIGINT, driver
    assert driver.error.rstrip().endswith("KeyboardInterrupt"), driver


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_ctrl_c_ends_every_way_of_waiting_and_leaves_nothing(tmp_path: Path, way: str) -> None:
    """S1"""
    with driving(tmp_path, waiting_driver(way)) as driver:
        driver.announced("busy")
        with Stopwatch() as watch:
            driver.signal(signal.SIGINT)
            dies_of_ctrl_c(driver)
        assert watch.seconds < CTRL_C_SECONDS
        driver.leaves_nothing()


def test_ctrl_c_while_tasks_are_still_being_pickled_ends_the_run_at_once(tmp_path: Path) -> None:
    """S1"""
    script = (
        "run_parallel([partial(crimes.echo, crimes.PicklesSlowly(path('pickling'), 0.05)) for _ in range(1000)], 2)"
    )
    with driving(tmp_path, script) as driver:
        driver.announced("pickling")
        with Stopwatch() as watch:
            driver.signal(signal.SIGINT)
            dies_of_ctrl_c(driver)
        assert watch.seconds < CTRL_C_SECONDS
        driver.leaves_nothing()


def test_a_program_that_catches_ctrl_c_can_go_on_working(tmp_path: Path) -> None:
    """S1"""
    script = """
    try:
        run_parallel([partial(crimes.sleep_for_ever)] * 3 + [partial(crimes.swallow_interrupts, path("busy"))], 4)
    except KeyboardInterrupt:
        say("interrupted")
    say("value", run_parallel([partial(crimes.echo, 7)], 4)[0].value)
    """
    with driving(tmp_path, script) as driver:
        driver.announced("busy")
        driver.signal(signal.SIGINT)
        driver.says("interrupted", CTRL_C_SECONDS)
        assert driver.says("value") == "7"
        assert driver.ended() == 0
        assert driver.error == ""
        driver.leaves_nothing()


@pytest.mark.parametrize("way", ["run_parallel", "pool", "loop"])
def test_ctrl_c_again_and_again_is_no_worse_than_once(tmp_path: Path, way: str) -> None:
    """S2"""
    with driving(tmp_path, waiting_driver(way)) as driver:
        driver.announced("busy")

        def ended_by_another() -> bool:
            driver.signal(signal.SIGINT)
            return driver.process.poll() is not None

        with Stopwatch() as watch:
            eventually(ended_by_another, 30, f"the end of\n{driver}")
        assert watch.seconds < CTRL_C_SECONDS
        driver.leaves_nothing()


@pytest.mark.parametrize(
    "task",
    [
        "partial(crimes.hold_the_gil, path('busy'))",
        "partial(crimes.start_a_family_and, path('busy'), partial(time.sleep, 600))",
        "partial(crimes.start_a_family_and, path('busy'), crimes.hold_the_gil)",
        "partial(crimes.block_every_signal, path('busy'))",
    ],
    ids=["gil", "family", "both", "deaf"],
)
def test_when_a_driver_is_killed_the_trees_of_its_tasks_go_too(tmp_path: Path, task: str) -> None:
    """S4"""
    with driving(tmp_path, f"run_parallel([{task}, partial(time.sleep, 600)], 2)") as driver:
        pids = driver.announced("busy")
        driver.signal(signal.SIGKILL)
        with Stopwatch() as watch:
            for pid in pids:
                wait_gone(pid)
            driver.leaves_nothing()
        assert watch.seconds < 5 + NOISE_SECONDS


def test_when_a_driver_is_killed_the_trees_of_its_scripts_go_too(tmp_path: Path) -> None:
    """S4"""
    script = """
    with open(path("script.py"), "w") as file:
        file.write("from tests import crimes; crimes.start_a_family('busy'); import time; time.sleep(600)")
    BatchRunner().run_batch([path("script.py")])
    """
    with driving(tmp_path, script) as driver:
        pids = driver.announced("busy")
        driver.signal(signal.SIGKILL)
        for pid in pids:
            wait_gone(pid)
        driver.leaves_nothing()


def test_when_a_driver_is_killed_its_idle_workers_go_too(tmp_path: Path) -> None:
    """S4"""
    script = "run_parallel([int] * 4, 2)\nsay('idle')\ntime.sleep(600)"
    with driving(tmp_path, script) as driver:
        driver.says("idle")
        assert driver.survivors()
        driver.signal(signal.SIGKILL)
        driver.leaves_nothing()


def test_the_terminals_ctrl_c_starts_no_new_task_and_no_worker_complains(tmp_path: Path) -> None:
    """S5"""
    script = """
    def task(number):
        crimes.write_line(path("log"), str(number))
        time.sleep(0.4)
    run_parallel([partial(task, number) for number in range(40)], 2)
    """
    with driving(tmp_path, script) as driver:
        eventually(lambda: len(lines_of(tmp_path / "log")) >= 4, 30)
        driver.signal(signal.SIGINT, group=True)
        dies_of_ctrl_c(driver)
        assert len(lines_of(tmp_path / "log")) < 12
        assert driver.error.count("Traceback") == 1, driver
        driver.leaves_nothing()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_the_terminals_ctrl_c_while_workers_start_leaves_nothing(tmp_path: Path, number: int) -> None:
    """S5"""
    with driving(tmp_path, "say('go')\nrun_parallel([partial(time.sleep, 600)] * 4, 4)") as driver:
        driver.says("go")
        driver.signal(number, group=True)
        assert driver.ended(CTRL_C_SECONDS) == -number, driver
        assert driver.error.count("Traceback") <= 1, driver
        driver.leaves_nothing()


@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c_while_a_worker_is_asked_for_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    """S5. KeyboardInterrupt may come at any step of the main thread: here before or after the slot's thread is."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if begun:
            start(thread)
        raise KeyboardInterrupt

    pool = Pool(2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(crimes.echo, 1)
    assert pool.submit(crimes.echo, 2).result() == 2
    pool.shutdown()
    assert pool.snapshot().endings == {Ending.OK: 2}


def test_work_that_was_queued_when_ctrl_c_came_is_done_at_the_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5"""
    pool = Pool(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(crimes.echo, 1)
    pool.shutdown()
    assert pool.snapshot().endings == {Ending.OK: 1}


def _interrupt(_thread: threading.Thread) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_that_the_kernel_gives_to_another_thread_ends_the_run(tmp_path: Path) -> None:
    """S5. Python's handler runs in the main thread, but the kernel wakes whichever thread it likes."""
    script = """
    def poke():
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    def watch():
        while not os.path.exists(path("busy")):
            time.sleep(0.01)
        time.sleep(0.2)
        poke()
    threading.Thread(target=watch, daemon=True).start()
    run_parallel([partial(crimes.sleep_announced, path("busy"))], 1)
    """
    with driving(tmp_path, script) as driver:
        driver.announced("busy")
        with Stopwatch() as watch:
            dies_of_ctrl_c(driver)
        assert watch.seconds < CTRL_C_SECONDS
        driver.leaves_nothing()


def test_threads_of_the_pool_take_no_signal_from_the_main_thread() -> None:
    """S5. And what they start takes them all."""
    with Pool(2) as pool:
        wait([pool.submit(time.sleep, 0.2) for _ in range(2)])
        masks = [_blocked(t.native_id) for t in threading.enumerate() if t.name == "orchestrator-slot"]
    assert len(masks) >= 2
    assert all({signal.SIGINT, signal.SIGTERM, signal.SIGCHLD} <= mask for mask in masks)
    assert int(shell(["grep", "SigBlk", "/proc/self/status"])().output.split()[1], 16) == 0


def _blocked(thread: int | None) -> set[int]:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    mask = int(status.partition("SigBlk:")[2].split()[0], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_the_parents_signal_mask_and_handlers_stay_as_they_are() -> None:
    """S6"""

    def look() -> tuple[set[int], list[Any]]:
        mask = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}
        return mask, [signal.getsignal(number) for number in signal.valid_signals()]

    before = look()
    with Pool(2) as pool:
        wait([pool.submit(crimes.echo, number) for number in range(4)])
        assert look() == before
    assert look() == before


def test_workers_have_the_default_signal_handling_whatever_the_application_has(tmp_path: Path) -> None:
    """S6"""
    script = """
    import json
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: say("the application's handler"))
    for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP, signal.SIGALRM})
    blocked, odd = run_parallel([crimes.look_at_signals], 1)[0].unwrap()
    say("blocked", sorted(blocked))
    say("odd", sorted(set(odd) - {signal.SIGPIPE, signal.SIGXFSZ}))
    say("timeout", run_parallel([crimes.sleep_for_ever], 1, timeout=0.2, grace=0.2)[0].ending.name)
    """
    with driving(tmp_path, script) as driver:
        assert driver.ended() == 0, driver
        assert driver.says("blocked") == "[]"
        assert driver.says("odd") == str([int(signal.SIGINT), int(SIGNAL)])
        assert driver.says("timeout") == "TIMED_OUT"
        assert "handler" not in driver.output
        driver.leaves_nothing()


def test_an_interpreter_that_exits_finishes_the_work_it_has_accepted(tmp_path: Path) -> None:
    """S7"""
    script = """
    def task(number):
        time.sleep(0.3)
        crimes.write_line(path("log"), str(number))
    pool = Pool(2)
    for number in range(6):
        pool.submit(task, number)
    say("end of the script")
    """
    with driving(tmp_path, script) as driver:
        assert driver.ended() == 0, driver
        assert sorted(lines_of(tmp_path / "log")) == list("012345")
        assert driver.error == ""
        driver.leaves_nothing()


def test_idle_workers_do_not_hold_up_the_interpreters_exit(tmp_path: Path) -> None:
    """S7"""
    with driving(
        tmp_path, "run_parallel([int] * 8, 4)\npool = Pool(2)\npool.submit(int).result()\nsay('done')"
    ) as driver:
        driver.says("done")
        with Stopwatch() as watch:
            assert driver.ended() == 0, driver
        assert watch.seconds < 1 + NOISE_SECONDS
        assert driver.error == ""
        driver.leaves_nothing()


def test_ctrl_c_while_the_exit_waits_for_accepted_work_stops_it(tmp_path: Path) -> None:
    """S7, sharp corner 10"""
    with driving(tmp_path, "pool = Pool(1)\npool.submit(crimes.swallow_interrupts, path('busy'))") as driver:
        driver.announced("busy")
        eventually(lambda: driver.process.poll() is None, what="the driver at its exit")
        with Stopwatch() as watch:
            driver.signal(signal.SIGINT)
            driver.ended()
        assert watch.seconds < CTRL_C_SECONDS
        driver.leaves_nothing()


def test_work_submitted_in_an_exit_hook_is_refused_or_done_and_never_waits(tmp_path: Path) -> None:
    """S8"""
    preamble = """
import atexit
def late():
    try:
        pool.submit(int)
        say("submitted")
    except RuntimeError:
        say("refused")
    try:
        say("ran", run_parallel([int])[0].success)
    except RuntimeError:
        say("ran", True)
atexit.register(late)
import functools
from orchestrator import Pool, run_parallel
say = functools.partial(print, flush=True)
"""
    with driving(tmp_path, "pool = Pool(1)\npool.submit(int).result()", preamble=preamble) as driver:
        assert driver.ended() == 0, driver
        driver.says("refused")
        assert driver.says("ran") == "True"
        assert driver.error == ""
        driver.leaves_nothing()


def test_submitting_after_shutdown_raises_runtime_error() -> None:
    """S8"""
    pool = Pool(1)
    pool.submit(crimes.echo, 1).result()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(crimes.echo, 2)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(threading.Lock().acquire)


def test_shutdown_with_cancel_futures_drops_what_waits_and_finishes_what_runs(tmp_path: Path) -> None:
    """S9"""
    pool = Pool(1)
    running = pool.submit(crimes.announce_and_wait_for, str(tmp_path / "busy"), str(tmp_path / "go"))
    waiting = [pool.submit(crimes.echo, number) for number in range(20)]
    eventually((tmp_path / "busy").exists)
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    (tmp_path / "go").touch()
    assert running.result(10) == "went"
    pool.shutdown()
    pool.shutdown(cancel_futures=True, kill=True)


def test_shutdown_from_a_callback_while_others_submit_ends_for_everybody() -> None:
    """S9"""
    pool = Pool(2)
    futures: list[Future[Any]] = []
    refused = threading.Event()

    def submit_until_refused() -> None:
        try:
            while True:
                futures.append(pool.submit(crimes.echo, 1))
        except RuntimeError:
            refused.set()

    others = [threading.Thread(target=submit_until_refused) for _ in range(4)]
    for other in others:
        other.start()
    pool.submit(crimes.echo, 0).add_done_callback(lambda _: pool.shutdown(cancel_futures=True))
    for other in others:
        other.join(30)
    assert refused.is_set()
    pool.shutdown()
    assert not wait(futures, 30).not_done
    assert all(future.cancelled() or future.result() == 1 for future in futures)


class Collects(Group):
    """Run the collector where the pool holds its lock: in the real world any allocation there may do it."""

    def __init__(self) -> None:
        super().__init__()
        self.delivered = threading.Event()

    def claim(self, job: Job) -> bool:
        gc.collect()
        return True

    def deliver(self, job: Job, outcome: Any) -> None:
        self.delivered.set()


class Owner:
    """Shut its pool down when it is collected, which only the collector can do."""

    def __init__(self, pool: Pool, finalized: threading.Event) -> None:
        self.pool, self.finalized, self.myself = pool, finalized, self

    def __del__(self) -> None:
        self.pool.shutdown()
        self.finalized.set()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let the collector run only where a test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.mark.usefixtures("no_collector")
def test_a_pool_can_be_shut_down_by_a_finalizer_that_runs_inside_the_pool(tmp_path: Path) -> None:
    """S9"""
    pool, group, finalized = Pool(1), Collects(), threading.Event()
    first = pool.submit(crimes.announce_and_wait_for, "", str(tmp_path / "go"))
    pool.dispatch([Job(group, 0, "task", _call(crimes.echo, 1))])
    Owner(pool, finalized)
    (tmp_path / "go").touch()
    assert finalized.wait(10)
    assert group.delivered.wait(10)
    assert first.result(10) == "went"
    pool.shutdown()


def test_a_pool_nobody_refers_to_ends_its_workers() -> None:
    """S10"""
    pool = Pool(1)
    pid = pool.submit(os.getpid).result()
    pool.loop = pool  # type: ignore[attr-defined]
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    wait_gone(pid)


@pytest.mark.usefixtures("no_collector")
def test_a_pool_collected_inside_its_own_slot_still_delivers(tmp_path: Path) -> None:
    """S10"""
    pool, group = Pool(1), Collects()
    first = pool.submit(crimes.announce_and_wait_for, "", str(tmp_path / "go"))
    pool.dispatch([Job(group, 0, "task", _call(crimes.echo, 1))])
    pool.loop = pool  # type: ignore[attr-defined]
    gone = weakref.ref(pool)
    del pool
    assert gone() is not None
    (tmp_path / "go").touch()
    assert group.delivered.wait(10)
    assert gone() is None
    assert first.result(10) == "went"


def test_an_abandoned_stream_stops_its_tasks_and_the_pool_serves_on(tmp_path: Path) -> None:
    """S10"""

    def tasks() -> Iterator[Callable[[], Any]]:
        yield partial(crimes.echo, "first")
        while True:
            yield partial(crimes.swallow_interrupts, str(tmp_path / "busy"))

    stream = ParallelRunner(2, grace=0.1).stream(tasks())
    assert next(stream)[1].value == "first"
    eventually((tmp_path / "busy").exists)
    [pid] = map(int, (tmp_path / "busy").read_text(encoding="utf-8").split())
    del stream
    wait_gone(pid)
    assert run_parallel([partial(crimes.echo, 5)], 2)[0].value == 5


def test_a_forked_copy_of_the_application_makes_its_own_workers_and_ends_in_order(tmp_path: Path) -> None:
    """S11, sharp corner 9"""
    script = """
    pool = Pool(2)
    slow = pool.submit(crimes.announce_and_wait_for, path("busy"), path("go"))
    mine = run_parallel([os.getpid] * 2, 2)
    while not os.path.exists(path("busy")):
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        try:
            pool.submit(int)
            say("the copy accepts work")
        except RuntimeError:
            say("inert")
        results = run_parallel([os.getpid] * 2, 2)
        say("own", not {r.value for r in results} & {r.value for r in mine})
        sys.exit(0)
    say("copy", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    open(path("go"), "w").close()
    say("parent", slow.result(20), pool.submit(int).result(20))
    """
    with driving(tmp_path, script) as driver:
        assert driver.ended() == 0, driver
        driver.says("inert")
        assert driver.says("own") == "True"
        assert driver.says("copy") == "0", driver
        assert driver.says("parent") == "went 0"
        assert "orchestrator/" not in driver.error, driver  # multiprocessing's own exit hook may complain in the copy
        driver.leaves_nothing()


def test_a_worker_dies_with_its_driver_also_when_a_forked_copy_lives_on(tmp_path: Path) -> None:
    """S11, S4, sharp corner 9: the copy must not keep the guardian's pipe and the workers' open."""
    script = """
    pool = Pool(2)
    pool.submit(int).result()
    pool.submit(crimes.hold_the_gil, path("busy"))
    copy = os.fork()
    if copy == 0:
        crimes.announce(path("copy"))
        time.sleep(600)
    time.sleep(600)
    """
    with driving(tmp_path, script) as driver:
        [busy], [copy] = driver.announced("busy"), driver.announced("copy")
        driver.signal(signal.SIGKILL)
        wait_gone(busy, 5 + NOISE_SECONDS)
        # multiprocessing's resource trackers live as long as the copy has their pipes.
        eventually(
            lambda: [line.split()[0] for line in driver.survivors() if "resource_tracker" not in line] == [str(copy)],
            5 + NOISE_SECONDS,
        )
        assert is_alive(copy)
        os.kill(copy, signal.SIGKILL)
        driver.leaves_nothing()


def test_a_fork_in_the_moment_a_worker_starts_does_not_make_the_copy_hang() -> None:
    """S11"""
    with Pool(1) as pool:
        future = pool.submit(crimes.echo, 1)
        while not starting.locked() and not future.done():  # for milliseconds only: no pause between two looks
            pass
        copy = os.fork()
        if copy == 0:
            helper = threading.Thread(target=lambda: run_parallel([int], 1), daemon=True)
            helper.start()
            helper.join(20)
            os._exit(int(helper.is_alive()))
        assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 0
        assert future.result(20) == 1


def test_time_in_which_the_driver_is_stopped_is_not_counted(tmp_path: Path) -> None:
    """S12"""
    script = """
    tasks = [partial(crimes.announce_and_wait_for, path("busy"), path("go"))]
    tasks += [partial(crimes.announce_and_wait_for, path("other"), path("go"))]
    runner = ParallelRunner(2, timeout=3.0)
    runner.run([partial(time.sleep, 0.2)] * 2)  # both workers are up: neither task has waited for the other's
    results = runner.run(tasks)
    say("endings", *(result.ending.name for result in results))
    """
    with driving(tmp_path, script) as driver:
        driver.announced("busy")
        driver.announced("other")
        driver.signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            driver.process.wait(4)  # it is stopped for longer than the limit
        driver.signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            driver.process.wait(0.7)  # it has time to come to the wrong conclusion
        (tmp_path / "go").touch()
        assert driver.ended() == 0, driver
        assert driver.says("endings") == "OK OK", driver
        driver.leaves_nothing()


def test_after_a_stop_a_task_that_hangs_still_times_out(tmp_path: Path) -> None:
    """S12"""
    script = """
    [result] = run_parallel([partial(crimes.swallow_interrupts, path("busy"))], 1, timeout=1.5, grace=0.1)
    say("ending", result.ending.name)
    """
    with driving(tmp_path, script) as driver:
        driver.announced("busy")
        driver.signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            driver.process.wait(1.5)
        driver.signal(signal.SIGCONT)
        assert driver.says("ending", 1.6 + 1 + NOISE_SECONDS) == "TIMED_OUT"
        assert driver.ended() == 0
        driver.leaves_nothing()


def test_a_stop_between_two_waits_of_the_driver_is_not_counted_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """S12. The thread that watches is held up as SIGSTOP would, while it looks at the memory."""
    stops = [2.5]

    def look(pid: int) -> None:
        time.sleep(stops.pop() if stops else 0)

    with Pool(1) as pool:
        pool.submit(int).result()
        monkeypatch.setattr("orchestrator.pool.child.guard.look", look)
        future = pool.submit_limited(Limits(seconds=1.2), time.sleep, 2.9)
        wait([future])
    assert not stops
    assert future.exception() is None


@pytest.mark.parametrize("crime", [crimes.leave_a_thread, crimes.leave_an_exit_hook])
def test_nobody_waits_for_a_thread_or_an_exit_hook_left_in_a_worker(crime: Callable[[], str]) -> None:
    """S13, sharp corner 13"""
    pool = Pool(1)
    assert "left" in pool.submit(crime).result()
    assert pool.submit(crimes.echo, 1).result() == 1
    with Stopwatch() as watch:
        pool.shutdown()
    assert watch.seconds < 2 + NOISE_SECONDS


def test_a_thread_left_in_a_worker_does_not_hold_up_the_programs_exit(tmp_path: Path) -> None:
    """S13"""
    with driving(
        tmp_path, "run_parallel([crimes.leave_a_thread, crimes.leave_an_exit_hook], 2)\nsay('done')"
    ) as driver:
        driver.says("done")
        with Stopwatch() as watch:
            assert driver.ended() == 0
        assert watch.seconds < 3 + NOISE_SECONDS
        assert driver.error == ""
        driver.leaves_nothing()
