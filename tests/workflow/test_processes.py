"""Tasks in worker processes and in other executors: limits, output, values that travel, and the end of it all."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    ConcurrencyError,
    Ending,
    Event,
    Finished,
    Pool,
    Retrying,
    RetryPolicy,
    Started,
    Task,
    TaskFailedError,
    TaskResult,
    Workflow,
    result_of,
)
from orchestrator.dag.item import Item
from tests import crimes
from tests.faults.driver import driving
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import lines_of, wait_gone
from tests.workflow.steered import Log, statuses, values

MB = 1 << 20


async def a_coroutine(value: int) -> tuple[int, int]:
    await asyncio.sleep(0.01)
    return value, os.getpid()


def test_what_asks_for_it_or_has_a_limit_runs_in_a_process_and_the_rest_here() -> None:
    here = os.getpid()
    flow = Workflow(
        tasks=[
            Task("thread", os.getpid),
            Task("process", os.getpid, executor="process"),
            Task("timed", os.getpid, timeout=30),
            Task("bounded", os.getpid, memory_limit="1G"),
            Task("unbounded", os.getpid, timeout=float("inf")),
            Task("coroutine", a_coroutine, args=[1], timeout=30),
            Task("sent coroutine", a_coroutine, args=[2], executor="process"),
        ],
        max_workers=1,
    )
    found = values(flow.run())
    assert found["thread"] == found["unbounded"] == found["coroutine"][1] == here
    others = [found["process"], found["timed"], found["bounded"], found["sent coroutine"][1]]
    assert here not in others
    assert all(flow.results[name].pid == found[name] for name in ("thread", "process", "timed", "bounded"))


def test_the_workflows_executor_is_for_plain_callables_and_each_task_may_differ() -> None:
    tasks = [Task("a", os.getpid), Task("b", os.getpid, executor="thread"), Task("c", a_coroutine, args=[1])]
    found = values(Workflow(tasks=tasks, executor="process", max_workers=1).run())
    assert found["b"] == found["c"][1] == os.getpid() != found["a"]


def test_output_exit_code_and_figures_of_a_process_task_are_in_its_result() -> None:
    def act() -> str:
        print("to stdout")
        os.write(2, b"to stderr\n")
        crimes.spin_for(0.05)
        return "v"

    def leave() -> None:
        print("before")
        raise SystemExit(7)

    flow = Workflow(tasks=[Task("a", act), Task("b", leave)], executor="process", max_workers=1)
    results = flow.run()
    fine, left = results["a"], results["b"]
    assert (fine.value, fine.output, fine.stderr, fine.error) == ("v", "to stdout\n", "to stderr\n", None)
    assert fine.cpu_time > 0.03
    assert fine.peak_memory > MB
    assert (left.ending, left.return_code, left.output) == (Ending.RAISED, 7, "before\n")


@pytest.mark.parametrize(
    ("action", "ending", "options"),
    [
        (functools.partial(time.sleep, 60), Ending.TIMED_OUT, {"timeout": 0.3, "grace": 0.2}),
        (functools.partial(os._exit, 3), Ending.CRASHED, {"executor": "process"}),
        (functools.partial(crimes.echo, threading.Lock()), Ending.UNSENDABLE, {"executor": "process"}),
        (crimes.unpicklable_result, Ending.RAISED, {"executor": "process"}),
    ],
    ids=["hang", "crash", "unsendable", "unsendable result"],
)
def test_a_crime_costs_the_task_and_what_depends_on_it_and_nobody_else(
    tmp_path: Path, action: Callable[..., Any], ending: Ending, options: dict[str, Any]
) -> None:
    log = tmp_path / "log"
    flow = Workflow(executor="process", max_workers=2)
    flow.add_task(Task("crime", action, **options))
    flow.add_task(Task("dependent", int, dependencies={"crime"}))
    for number in range(8):
        flow.add_task(Task(f"n{number}", crimes.neighbour, args=[str(log), number]))
    results = flow.run()
    assert results["crime"].ending is ending
    assert results["dependent"].error == "skipped because 'crime' failed"
    assert [results[f"n{number}"].value for number in range(8)] == [number**2 for number in range(8)]
    assert sorted(map(int, lines_of(log))) == list(range(8))


def test_an_action_that_cannot_be_sent_is_told_of_with_the_member_and_the_cure() -> None:
    lock = threading.Lock()
    results = Workflow(
        tasks=[Task("a", lambda: lock, executor="process"), Task("b", lambda: lock, timeout=5), Task("c", lambda: lock)]
    ).run()
    assert statuses(results) == {"a": "failed", "b": "failed", "c": "completed"}
    assert "'lock'" in (results["a"].error or "")
    assert (results["a"].error or "").endswith('or run it with executor="thread"')
    assert (results["b"].error or "").endswith('executor="thread" and without limits')


def test_a_crash_is_tried_again_and_every_attempts_output_is_reachable(tmp_path: Path) -> None:
    """D11"""
    marker = str(tmp_path / "tried")

    def act() -> str:
        print("attempt")
        if not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(9)
        return "fine"

    events: list[Event] = []
    policy = RetryPolicy(max_attempts=3, initial_delay=0)
    task = Task("t", act, executor="process", retry_policy=policy)
    log = Log()
    result = Workflow(tasks=[task], on_event=events.append, max_workers=1).run(log)["t"]
    assert (result.value, result.attempts, result.output) == ("fine", 2, "attempt\n")
    assert (result.history[0].ending, result.history[0].return_code) == (Ending.CRASHED, 9)
    assert result.history[0].output == "attempt\n"
    assert log.of("t") == ["running", "retrying", "running", "completed"]
    assert [type(event) for event in events] == [Started, Retrying, Started, Finished]
    assert {event.pid for event in events if isinstance(event, Started)} == {result.history[0].pid, result.pid}


class CountsPickling:
    """Leave a line in a file for each time it is pickled and unpickled, with the process that did so."""

    def __init__(self, path: str, bulk: bytes) -> None:
        self.path = path
        self.bulk = bulk

    def __getstate__(self) -> tuple[str, bytes]:
        self._note("pickled")
        return self.path, self.bulk

    def __setstate__(self, state: tuple[str, bytes]) -> None:
        self.path, self.bulk = state
        self._note("unpickled")

    def _note(self, what: str) -> None:
        with open(self.path, "a") as file:
            file.write(f"{what} {os.getpid()}\n")


def test_a_large_value_goes_from_process_to_process_without_being_pickled_here_again(tmp_path: Path) -> None:
    path = str(tmp_path / "log")

    def produce() -> CountsPickling:
        return CountsPickling(path, bytes(4 * MB))

    def consume(values: list[CountsPickling]) -> int:
        return len(values[0].bulk)

    flow = Workflow(
        tasks=[
            Task("big", produce),
            Task("size", consume, args=[[result_of("big")]]),
            Task("again", consume, args=[[result_of("big")]]),
        ],
        executor="process",
        max_workers=2,
    )
    results = flow.run()
    assert results["size"].value == results["again"].value == 4 * MB
    assert len(results["big"].value.bulk) == 4 * MB
    here = str(os.getpid())
    done_here = [line.split()[0] for line in lines_of(Path(path)) if line.endswith(f" {here}")]
    assert done_here == ["unpickled"]


def test_small_values_between_processes_and_threads_arrive_too() -> None:
    flow = Workflow(max_workers=1)
    flow.add_task(Task("a", lambda: {"x": [1, 2]}, executor="process"))
    flow.add_task(Task("b", lambda value: {**value, "y": 3}, args=[result_of("a")]))
    flow.add_task(Task("c", lambda *, value: sorted(value), kwargs={"value": result_of("b")}, executor="process"))
    flow.add_task(Task("d", lambda _task_results: len(_task_results), executor="process", dependencies={"c"}))
    assert values(flow.run()) == {"a": {"x": [1, 2]}, "b": {"x": [1, 2], "y": 3}, "c": ["x", "y"], "d": 3}


def test_a_result_that_cannot_be_sent_on_fails_the_task_that_wants_it() -> None:
    """G6"""
    flow = Workflow(
        tasks=[
            Task("lock", threading.Lock),
            Task("wants", crimes.echo, args=[result_of("lock")], executor="process"),
            Task("after", int, dependencies={"wants"}),
            Task("other", crimes.echo, args=[result_of("lock")]),
        ]
    )
    assert statuses(flow.run()) == {"lock": "completed", "wants": "failed", "after": "skipped", "other": "completed"}
    assert flow.results["wants"].ending is Ending.UNSENDABLE


# Stopping


def test_a_cancelled_execute_kills_what_its_process_tasks_started(tmp_path: Path) -> None:
    """G4, T14"""
    busy = tmp_path / "busy"

    async def main() -> None:
        execution = asyncio.create_task(flow.execute())
        while not busy.exists():
            await asyncio.sleep(0.01)
        execution.cancel()
        with pytest.raises(asyncio.CancelledError):
            await execution

    flow = Workflow(executor="process", max_workers=1)
    flow.add_task(Task("stubborn", crimes.swallow_interrupts, args=[str(busy)], grace=0.2))
    for number in range(5):
        flow.add_task(Task(f"n{number}", time.sleep, args=[600], grace=0.2))
    flow.add_task(Task("after", int, dependencies={"stubborn"}))
    with Stopwatch() as watch:
        asyncio.run(main())
    assert watch.seconds < 5 + 2 * NOISE_SECONDS
    wait_gone(int(busy.read_text()), 5)
    assert flow.results.keys() == flow.tasks.keys()
    assert flow.results["stubborn"].ending is Ending.CANCELLED
    assert "the workflow was cancelled" in (flow.results["stubborn"].error or "")
    assert flow.results["n4"].ending is Ending.SKIPPED  # it waited in the pool's queue
    assert flow.results["after"].ending is Ending.SKIPPED


def test_fail_fast_and_the_deadline_stop_process_tasks(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    hangs = Task("hangs", crimes.swallow_interrupts, args=[str(busy)], executor="process", grace=0.2)
    fails = Task("fails", crimes.fail_when_there, args=[str(busy)])
    with Stopwatch() as watch, pytest.raises(TaskFailedError) as caught:
        Workflow(tasks=[hangs, fails], fail_fast=True, max_workers=1).run()
    assert watch.seconds < 5 + 2 * NOISE_SECONDS
    assert caught.value.results["hangs"].ending is Ending.CANCELLED
    assert "fail_fast" in caught.value.results["hangs"].error
    wait_gone(int(busy.read_text()), 5)


_FLOW = """
def hang(name):
    crimes.swallow_interrupts(path(name))
async def wait():
    try:
        await asyncio.sleep(600)
    finally:
        say("cleaned")
flow = Workflow(tasks=[
    Task("process", crimes.swallow_interrupts, args=[path("busy")], executor="process", grace=0.3),
    Task("coroutine", wait),
    Task("thread", threading.Event().wait, args=[600], grace=0.3),
    Task("after", int, dependencies={"process"}),
], max_workers=1)
"""


@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_ends_a_run_within_its_time_and_leaves_nothing(tmp_path: Path, times: int) -> None:
    """S1, S2; a thread that hangs does not keep the interpreter either"""
    script = (
        _FLOW
        + """
try:
    flow.run()
except KeyboardInterrupt:
    say("interrupted", sorted(flow.results))
    raise
"""
    )
    with driving(tmp_path, script) as driver:
        driver.announced("busy")
        with Stopwatch() as watch:
            for _ in range(times):
                driver.signal(2)
            code = driver.ended(30)
        assert code == -2, driver
        assert watch.seconds < 5 + 2 * NOISE_SECONDS
        assert "cleaned" in driver.output
        if times == 1:
            assert "interrupted ['after', 'coroutine', 'process', 'thread']" in driver.output
        driver.leaves_nothing()


def test_a_driver_killed_while_it_runs_a_workflow_leaves_no_process(tmp_path: Path) -> None:
    """S4"""
    with driving(tmp_path, _FLOW + "flow.run()") as driver:
        driver.announced("busy")
        driver.signal(9)
        driver.ended()
        driver.leaves_nothing()


# Other executors


def test_any_executor_of_concurrent_futures_will_do() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as threads, ProcessPoolExecutor(1) as processes:
        flow = Workflow(
            tasks=[
                Task("a", lambda: threading.current_thread().name, executor=threads),
                Task("b", os.getpid, executor=processes),
                Task("c", divmod, args=[1, 0], executor=processes),
            ]
        )
        results = flow.run()
        assert results["a"].value == "mine_0"
        assert results["b"].value != os.getpid()
        assert isinstance(results["c"].exception, ZeroDivisionError)
        assert threads.submit(int).result() == 0  # it is the caller's: still open


def test_an_executor_that_breaks_or_is_shut_down_fails_its_tasks_alone() -> None:
    with ThreadPoolExecutor(1) as threads:
        pass
    with ProcessPoolExecutor(1) as processes:
        flow = Workflow(
            tasks=[
                Task("shut", int, executor=threads),
                Task("breaks", os._exit, args=[1], executor=processes),
                Task("fine", int),
            ]
        )
        results = flow.run()
    assert statuses(results) == {"shut": "failed", "breaks": "failed", "fine": "completed"}
    assert "after shutdown" in (results["shut"].error or "")
    assert isinstance(results["breaks"].exception, BrokenProcessPool)


def test_a_pool_of_ours_is_an_executor_that_keeps_limits_and_accounts() -> None:
    with Pool(1) as pool:
        flow = Workflow(
            tasks=[Task("a", os.getpid, timeout=30), Task("b", time.sleep, args=[60], timeout=0.3)], executor=pool
        )
        results = flow.run()
        assert results["a"].value == results["a"].pid != os.getpid()
        assert pool.snapshot().endings == {Ending.OK: 1, Ending.TIMED_OUT: 1}
        assert results["b"].ending is Ending.TIMED_OUT
        assert not pool.closed
    results = flow.run()
    assert statuses(results) == {"a": "failed", "b": "failed"}
    assert "after shutdown" in (results["a"].error or "")


def test_workers_that_cannot_be_started_fail_the_tasks_that_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """D7"""
    monkeypatch.setattr("orchestrator.pool.slots.Worker", _no_worker)
    results = Workflow(tasks=[Task("a", int, executor="process"), Task("b", int)], max_workers=3).run()
    assert statuses(results) == {"a": "failed", "b": "completed"}
    assert isinstance(results["a"].exception, ConcurrencyError)
    assert "no worker can be started" in (results["a"].error or "")


def _no_worker(*_: object) -> None:
    raise OSError("no more processes")


def test_a_workflow_inside_a_task_stays_within_the_outer_budget() -> None:
    """C4"""

    def inner() -> list[bool]:
        flow = Workflow(tasks=[Task(f"t{n}", os.getpid, executor="process") for n in range(4)])
        pids = set(values(flow.run()).values())
        return [len(pids) == 1, os.getpid() not in pids]

    assert Workflow(tasks=[Task("outer", inner, executor="process")], max_workers=1).run()["outer"].value == [
        True,
        True,
    ]


def test_thousands_of_small_process_tasks_share_messages_and_keep_their_places() -> None:
    flow = Workflow(tasks=[Task(f"t{n}", divmod, args=[n, 7]) for n in range(3_000)], executor="process", max_workers=2)
    with Stopwatch() as watch:
        found = values(flow.run())
    assert found == {f"t{n}": divmod(n, 7) for n in range(3_000)}
    assert watch.seconds < 30


def test_what_a_turn_has_begun_and_not_sent_does_not_start_when_that_turn_halts(tmp_path: Path) -> None:
    def condition(results: dict[str, TaskResult]) -> bool:
        raise ValueError("no")

    tasks = [Task("a", (tmp_path / "began").touch, executor="process"), Task("b", int, condition=condition)]
    flow = Workflow(tasks=tasks, fail_fast=True, max_workers=1)
    with pytest.raises(TaskFailedError, match="'b' failed"):
        flow.run()
    assert flow.results["a"].ending is Ending.SKIPPED
    assert not (tmp_path / "began").exists()


def test_the_bytes_of_a_large_value_are_let_go_when_nobody_wants_them_any_more() -> None:
    kept: list[int] = []

    async def look() -> None:
        gc.collect()
        kept.append(sum(type(thing) is bytes and len(thing) > 4 * MB for thing in _reachable()))

    flow = Workflow(max_workers=1)
    flow.add_task(Task("big", bytes, args=[5 * MB], executor="process"))
    flow.add_task(Task("size", len, args=[result_of("big")], executor="process"))
    flow.add_task(Task("look", look, dependencies={"size"}))
    assert flow.run()["size"].value == 5 * MB
    assert kept == [1]  # the value itself


def _reachable() -> list[object]:
    """Return what the items of executions refer to; bytes are no objects that the collector lists."""
    items = [thing for thing in gc.get_objects() if type(thing) is Item]
    return [value for item in items for value in (item.result and item.result.value, *gc.get_referents(item))]
