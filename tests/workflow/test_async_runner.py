"""AsyncParallelRunner: what runs where, in which order it is told, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from orchestrator import AsyncExecutionResult, AsyncParallelRunner, AsyncTaskResult, Ending, Event, Finished, shell
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import lines_of, wait_gone
from tests.workflow.acts import hanging, lasting
from tests.workflow.steered import steered


def run(tasks: list[Any], **options: Any) -> AsyncExecutionResult:
    """Run tasks in an event loop of their own."""
    return asyncio.run(AsyncParallelRunner(**options).run(tasks))


def fail() -> None:
    """Raise."""
    raise KeyError("no")


def test_coroutine_functions_callables_and_makers_of_awaitables_run_beside_each_other_and_keep_their_places() -> None:
    async def answer() -> int:
        return 42

    made = lasting(0.1, "made")
    with Stopwatch() as watch:
        found = run([lasting(0.6, "slow"), lambda: "plain", answer, lambda: made(), ("named", lasting(0.5, "pair"))])
    assert [result.value for result in found.results] == ["slow", "plain", 42, "made", "pair"]
    assert [result.task_id for result in found.results] == ["task-0", "task-1", "task-2", "task-3", "named"]
    assert (found.success_count, found.failure_count) == (5, 0)
    assert 0.6 <= watch.seconds < 1.2 + NOISE_SECONDS


def test_a_failure_is_a_result_and_the_others_go_on() -> None:
    found = run([fail, lambda: 1])
    failed, good = found.results
    assert (failed.success, failed.ending, good.value) == (False, Ending.RAISED, 1)
    assert failed.error is not None and failed.error.endswith("KeyError: 'no'")
    with pytest.raises(KeyError):
        failed.unwrap()
    assert (found.success_count, found.failure_count) == (1, 1)
    assert found.total_time > 0


def test_the_fields_of_the_specification_come_first() -> None:
    result = AsyncTaskResult("a", True, 1, None, 0.5)
    assert (result.task_id, result.success, result.value, result.error, result.execution_time) == (
        "a",
        True,
        1,
        None,
        0.5,
    )
    whole = AsyncExecutionResult([result], 1.0, 1, 0)
    assert (whole.results, whole.total_time, whole.success_count, whole.failure_count) == ([result], 1.0, 1, 0)


def test_no_tasks_have_no_results() -> None:
    found = run([])
    assert (found.results, found.success_count, found.failure_count) == ([], 0, 0)


def test_callables_run_in_threads_in_processes_or_in_another_executor() -> None:
    assert run([os.getpid]).results[0].value == os.getpid()
    assert run([os.getpid], executor="process").results[0].value != os.getpid()
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        (result,) = run([lambda: threading.current_thread().name], executor=executor).results
    assert result.value.startswith("mine")


def test_no_more_than_max_concurrency_are_under_way() -> None:
    under_way, most = 0, 0

    async def count() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(1)
        under_way -= 1

    _, seconds = steered(lambda: AsyncParallelRunner(max_concurrency=3).run([count] * 9))
    assert (most, seconds) == (3, 3)


def test_a_timeout_cancels_a_coroutine_and_stops_a_callable_in_a_process(tmp_path: Path) -> None:
    cleaned: list[int] = []
    pid = tmp_path / "pid"

    def hang() -> None:
        crimes.write_line(str(pid), str(os.getpid()))
        crimes.swallow_interrupts()

    with Stopwatch() as watch:
        found = run([hanging(cleaned), hang, lasting(0, "fine")], timeout=1)
    assert [result.ending.value for result in found.results] == ["timed out", "timed out", "ok"]
    assert cleaned == [1]
    assert watch.seconds < 5 + NOISE_SECONDS
    wait_gone(int(lines_of(pid)[0]), 5)


def test_the_deadline_of_workflows_in_the_environment_is_not_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODOMYRMEX_WORKFLOW_TIMEOUT", "0.001")
    assert run([lasting(0.05, 1)]).results[0].value == 1


@pytest.mark.parametrize(("fail_fast", "endings"), [
    (True, ["raised", "cancelled", "skipped"]),
    (2, ["raised", "ok", "ok"]),
])  # fmt: skip
def test_with_fail_fast_the_rest_is_given_up_and_everything_has_a_result(
    fail_fast: bool | int, endings: list[str]
) -> None:
    tasks = [lasting(1, error=ValueError("no")), lasting(9), lasting(9)]
    runner = AsyncParallelRunner(max_concurrency=2, fail_fast=fail_fast)
    found, _ = steered(lambda: runner.run(tasks))
    assert [result.ending.value for result in found.results] == endings


def test_a_cancelled_run_leaves_nothing_running(tmp_path: Path) -> None:
    """T14"""
    cleaned: list[int] = []
    pids = tmp_path / "pids"

    async def main() -> None:
        command = shell(f"echo $$ >> {pids}; exec sleep 600")
        execution = asyncio.create_task(AsyncParallelRunner().run([hanging(cleaned), command]))
        while not lines_of(pids):
            await asyncio.sleep(0.01)
        execution.cancel()
        with pytest.raises(asyncio.CancelledError):
            await execution
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with Stopwatch() as watch:
        asyncio.run(main())
    assert cleaned == [1]
    assert watch.seconds < 5 + NOISE_SECONDS
    wait_gone(int(lines_of(pids)[0]), 5)


def test_a_stream_yields_results_as_tasks_end() -> None:
    async def main() -> list[Any]:
        tasks: list[Any] = [lasting(3, "c"), lasting(1, "a"), ("two", lasting(2, "b"))]
        return [(result.task_id, result.value) async for result in AsyncParallelRunner().stream(tasks)]

    found, seconds = steered(main)
    assert found == [("task-1", "a"), ("two", "b"), ("task-0", "c")]
    assert seconds == 3


def test_a_stream_that_is_closed_stops_the_rest_first() -> None:
    cleaned: list[int] = []

    async def main() -> int:
        async with aclosing(AsyncParallelRunner().stream([lasting(1), hanging(cleaned, 0.5)])) as results:
            async for _ in results:
                break
        return len(asyncio.all_tasks())

    left, seconds = steered(main)
    assert (left, cleaned, seconds) == (1, [1], 1.5)


def test_a_stream_with_fail_fast_yields_every_result_and_ends() -> None:
    async def main() -> list[str]:
        runner = AsyncParallelRunner(max_concurrency=1, fail_fast=True)
        return [result.ending.value async for result in runner.stream([fail, fail])]

    assert asyncio.run(main()) == ["raised", "skipped"]


def test_the_listener_hears_of_every_task() -> None:
    heard: list[Event] = []
    run([lambda: 1, fail], on_event=heard.append)
    assert sorted(event.name for event in heard if isinstance(event, Finished)) == ["task-0", "task-1"]


def test_many_tasks_cost_little() -> None:
    with Stopwatch() as watch:
        found = run([lasting(0, n) for n in range(5_000)])
    assert [result.value for result in found.results] == list(range(5_000))
    assert watch.seconds < 10


def test_it_does_not_keep_the_event_loop_from_others() -> None:
    async def main() -> int:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        await AsyncParallelRunner().run([lambda: time.sleep(0.5)] * 4)
        ticking.cancel()
        return turns

    assert asyncio.run(main()) > 10


@pytest.mark.parametrize(("tasks", "error", "message"), [
    ([3], TypeError, r"task 0 \(task-0\) must be callable, not 3"),
    ([("a", 3)], TypeError, r"task 0 \(a\) must be callable, not 3"),
    ([("a", int, 1)], TypeError, "task 0 must be a callable or a pair"),
    ([("", int)], TypeError, "task 0 must be a callable or a pair"),
    ([("a", int), ("a", int)], ValueError, "two tasks have the name 'a'"),
    ([int, ("task-0", int)], ValueError, "two tasks have the name 'task-0'"),
])  # fmt: skip
def test_misuse_is_refused_before_anything_runs(tasks: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run([*tasks])


def test_a_coroutine_instead_of_its_function_is_refused_with_the_cure() -> None:
    with pytest.raises(TypeError, match=r"is a coroutine: give the function"):
        run([lasting(0)()])


@pytest.mark.parametrize("options", [
    {"max_concurrency": 0}, {"max_concurrency": True}, {"executor": "proces"}, {"timeout": 0}, {"timeout": "1"},
    {"fail_fast": 0.5}, {"on_event": 3},
])  # fmt: skip
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        AsyncParallelRunner(**options)
