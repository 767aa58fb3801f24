"""Timeouts, deadlines, fail_fast, cancelling, and threads that do not end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time

import pytest

from orchestrator import (
    Ending,
    OrchestratorTimeoutError,
    RetryPolicy,
    Task,
    TaskFailedError,
    TaskResult,
    Workflow,
)
from orchestrator.dag import calls
from tests import crimes
from tests.workflow.acts import Flaky, hanging, lasting, results_are_final
from tests.workflow.steered import Log, run_steered, statuses, steered, values

# Time


def test_a_coroutine_past_its_timeout_is_cancelled_and_may_be_tried_again() -> None:
    cleaned: list[int] = []
    hang = hanging(cleaned, 0.5)
    policy = RetryPolicy(max_attempts=2, initial_delay=1)
    results, seconds = run_steered(Workflow(tasks=[Task("t", hang, timeout=3, retry_policy=policy)]))
    assert results["t"].ending is Ending.TIMED_OUT
    assert results["t"].return_code == 124
    assert results["t"].error == "its time limit passed (3 s)"
    assert (len(cleaned), seconds) == (2, 8)


def test_a_coroutine_that_ends_at_the_very_limit_has_one_outcome() -> None:
    """T7"""
    results, _ = run_steered(
        Workflow(tasks=[Task("t", lasting(3, "v"), timeout=3), Task("u", lasting(2.999, "v"), timeout=3)])
    )
    assert results["t"].ending in (Ending.OK, Ending.TIMED_OUT)
    assert results["u"].value == "v"


def test_a_coroutine_that_goes_on_after_its_timeout_has_timed_out_all_the_same() -> None:
    async def stubborn() -> str:
        with_patience = 0.5
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(with_patience)
        return "late"

    results, seconds = run_steered(Workflow(tasks=[Task("t", stubborn, timeout=3)]))
    assert (results["t"].ending, results["t"].value, seconds) == (Ending.TIMED_OUT, None, 3.5)
    assert "it went on" in (results["t"].error or "")


def test_a_coroutine_that_will_not_be_cancelled_is_given_up_after_its_grace_and_not_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    released = asyncio.Event()
    calls = []

    async def never() -> None:
        calls.append(1)
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async def main() -> dict[str, TaskResult]:
        policy = RetryPolicy(max_attempts=3, initial_delay=0)
        flow = Workflow(tasks=[Task("t", never, timeout=3, grace=2, retry_policy=policy), Task("u", lasting(60, 1))])
        results = await flow.execute()
        released.set()
        await asyncio.sleep(0)
        return results

    results, seconds = steered(main)
    assert (results["t"].ending, results["u"].value, seconds, calls) == (Ending.TIMED_OUT, 1, 60, [1])
    assert "may still run" in results["t"].notes[0]
    assert "given up" in caplog.text


def test_the_workflows_own_deadline_stops_everything_and_all_results_are_in_the_error() -> None:
    cleaned: list[int] = []
    hang = hanging(cleaned)
    policy = RetryPolicy(max_attempts=9, initial_delay=100)
    flow = Workflow(
        tasks=[
            Task("done", lasting(1, "v")),
            Task("hangs", hang),
            Task("rests", Flaky(9), retry_policy=policy),
            Task("waits", int, dependencies={"hangs"}),
        ],
        timeout=5,
    )
    log = Log()

    async def main() -> OrchestratorTimeoutError:
        with pytest.raises(OrchestratorTimeoutError, match=r"deadline passed \(5 s\)") as caught:
            await flow.execute(log)
        return caught.value

    error, seconds = steered(main)
    assert seconds == 5
    assert cleaned == [1]
    assert statuses(error.results) == {"done": "completed", "hangs": "failed", "rests": "failed", "waits": "skipped"}
    assert error.results["hangs"].ending is Ending.CANCELLED
    assert "deadline" in error.results["hangs"].error
    assert "attempt 1" in error.results["rests"].error
    assert "no further attempt" in error.results["rests"].notes[0]
    assert "deadline" in error.results["waits"].error
    assert log.of("rests") == ["running", "retrying", "failed"]
    assert flow.results == error.results


@pytest.mark.parametrize("most", [None, 1])
def test_a_task_whose_rest_ends_while_the_workflow_is_being_stopped_is_not_started_again(most: int | None) -> None:
    """Whether its rest ends during the stop, or had ended before, and it waited for a place."""
    flaky = Flaky(9)
    rests = Task("rests", flaky, retry_policy=RetryPolicy(max_attempts=9, initial_delay=5.5 if most is None else 1))
    flow = Workflow(tasks=[rests, Task("slow", hanging([], 0.9))], timeout=5, max_concurrency=most)

    async def main() -> OrchestratorTimeoutError:
        with pytest.raises(OrchestratorTimeoutError) as caught:
            await flow.execute()
        return caught.value

    error, seconds = steered(main)
    assert (flaky.calls, seconds) == (1, 5.9)
    assert error.results["rests"].attempts == 1


def test_the_deadline_comes_from_the_environment_unless_the_workflow_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CODOMYRMEX_WORKFLOW_TIMEOUT", "2m")
    with pytest.raises(OrchestratorTimeoutError, match=r"\(120 s\)"):
        run_steered(Workflow(tasks=[Task("t", lasting(600))]))
    _, seconds = run_steered(Workflow(tasks=[Task("t", lasting(600))], timeout=1000))
    assert seconds == 600
    for text in ("soon", "0", "-3"):
        monkeypatch.setenv("CODOMYRMEX_WORKFLOW_TIMEOUT", text)
        with pytest.raises(ValueError, match="CODOMYRMEX_WORKFLOW_TIMEOUT"):
            Workflow().run()


def test_fail_fast_cancels_the_rest_and_raises_with_all_results() -> None:
    flow = Workflow(
        tasks=[
            Task("fails", lasting(1, error=ValueError("no"))),
            Task("runs", lasting(3600)),
            Task("rests", Flaky(9), retry_policy=RetryPolicy(initial_delay=100)),
            Task("waits", int, dependencies={"runs"}),
            Task("done", lasting(0.5)),
        ],
        fail_fast=True,
    )

    async def main() -> TaskFailedError:
        with pytest.raises(TaskFailedError, match=r"task 'fails' failed \(raised\): ValueError: no") as caught:
            await flow.execute()
        return caught.value

    error, seconds = steered(main)
    assert seconds == 1
    assert error.result is error.results["fails"]
    assert statuses(error.results) == {
        "fails": "failed", "runs": "failed", "rests": "failed", "waits": "skipped", "done": "completed",
    }  # fmt: skip
    assert error.results["runs"].ending is Ending.CANCELLED


# Cancelling


def test_a_cancelled_execute_cancels_its_coroutines_first_and_every_task_is_final() -> None:
    """G4"""
    cleaned: list[int] = []
    hang = hanging(cleaned, 0.5)
    flow = Workflow(
        tasks=[
            Task("hangs", hang),
            Task("rests", Flaky(9), retry_policy=RetryPolicy(initial_delay=100)),
            Task("waits", int, dependencies={"hangs"}),
        ]
    )

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await flow.execute()

    _, seconds = steered(main)
    assert (cleaned, seconds) == ([1], 5.5)
    assert statuses(flow.results) == {"hangs": "failed", "rests": "failed", "waits": "skipped"}
    assert flow.results["hangs"].ending is Ending.CANCELLED
    assert "the workflow was cancelled" in (flow.results["hangs"].error or "")


def test_cancelling_again_and_again_only_hurries() -> None:
    """S2"""
    cleaned: list[int] = []
    hang = hanging(cleaned, 0.5)
    flow = Workflow(tasks=[Task("hangs", hang)])

    async def main() -> None:
        execution = asyncio.create_task(flow.execute())
        await asyncio.sleep(1)
        for _ in range(3):
            execution.cancel()
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await execution

    steered(main)
    assert cleaned == [1]
    assert results_are_final(flow)


def test_a_coroutine_that_is_cancelled_by_somebody_else_has_failed_and_the_others_go_on() -> None:
    """G7"""

    async def suicide() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    results, _ = run_steered(Workflow(tasks=[Task("a", suicide), Task("b", lasting(2, 1))]))
    assert statuses(results) == {"a": "failed", "b": "completed"}
    assert "cancelled, and not by whoever ran it" in (results["a"].error or "")


def test_a_coroutine_that_keeps_the_loop_is_told_of() -> None:
    """G7"""

    async def block() -> None:
        await asyncio.sleep(0)
        crimes.spin_for(0.7)

    results = Workflow(tasks=[Task("blocks", block), Task("innocent", lasting(0.01))]).run()
    assert "it kept the event loop from everything else for" in results["blocks"].notes[0]
    assert results["innocent"].notes == ()
    assert results["innocent"].success


def test_a_loop_that_is_closed_over_a_workflow_leaves_nothing() -> None:
    """Neither a warning nor a thread: pytest turns the first into an error, a fixture sees the second."""
    loop = asyncio.new_event_loop()
    flow = Workflow(tasks=[Task("a", lasting(3600)), Task("b", int), Task("c", int, dependencies={"a"})])
    task = loop.create_task(flow.execute())
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.set_exception_handler(lambda *_: None)  # that pending tasks are destroyed is the caller's doing
    loop.close()
    del task
    gc.collect()
    assert flow.results["b"].success


def test_a_coroutine_that_the_collector_closed_first_is_no_error_when_its_watch_is_closed() -> None:
    """In what order it closes what a dead loop leaves, nobody knows."""

    async def hang() -> None:
        await asyncio.sleep(0)

    inner = hang()
    watch = calls._watched(inner, lambda _: None)
    watch.send(None)
    inner.close()
    watch.close()


# Threads


def test_plain_callables_run_in_threads_of_the_workflows_own_and_see_this_program() -> None:
    seen: list[str] = []
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    def look() -> str:
        seen.append(threading.current_thread().name)
        return variable.get()

    results = Workflow(tasks=[Task(f"t{n}", look) for n in range(4)]).run()
    assert set(values(results).values()) == {"set"}
    assert all(name.startswith("orchestrator-workflow-") for name in seen)


def test_threads_overlap_and_tell_their_own_cpu_time() -> None:
    barrier = threading.Barrier(4, timeout=10)

    def meet() -> None:
        barrier.wait()

    flow = Workflow(tasks=[*(Task(f"t{n}", meet) for n in range(4)), Task("spin", crimes.spin_for, args=[0.2])])
    results = flow.run()
    assert all(result.success for result in results.values())
    assert results["spin"].cpu_time > 0.1
    assert results["t0"].cpu_time < 0.1


def test_a_plain_callable_that_returns_a_coroutine_means_a_coroutine() -> None:
    results = Workflow(
        tasks=[Task("a", lambda: lasting(0.01, "v")()), Task("b", lambda: lasting(0, error=KeyError())())]
    ).run()
    assert results["a"].value == "v"
    assert isinstance(results["b"].exception, KeyError)


def test_a_thread_that_does_not_end_is_given_up_and_said_to_be_running(caplog: pytest.LogCaptureFixture) -> None:
    """G4"""
    release = threading.Event()

    def stuck() -> None:
        release.wait(60)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await flow.execute()

    flow = Workflow(
        tasks=[Task("stuck", stuck, grace=0.3), Task("queued", int), Task("later", int, dependencies={"stuck"})],
        max_concurrency=None,
    )
    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 5
    release.set()
    assert flow.results["stuck"].ending is Ending.CANCELLED
    assert "its thread cannot be stopped" in flow.results["stuck"].notes[0]
    assert flow.results["queued"].success
    assert "given up" in caplog.text


def test_a_thread_that_ends_within_its_grace_keeps_its_own_end() -> None:
    started = threading.Barrier(3, timeout=20)

    def act(error: Exception | None) -> str:
        started.wait()
        crimes.spin_for(0.2)
        if error is not None:
            raise error
        return "v"

    async def main() -> None:
        execution = asyncio.create_task(flow.execute())
        await asyncio.to_thread(started.wait)
        execution.cancel()
        with pytest.raises(asyncio.CancelledError):
            await execution

    tasks = [Task("a", act, args=[None], grace=20), Task("b", act, args=[ValueError("its own")], grace=20)]
    flow = Workflow(tasks=tasks)
    asyncio.run(main())
    assert flow.results["a"].value == "v"
    assert flow.results["b"].ending is Ending.RAISED
    assert (flow.results["b"].error or "").endswith("ValueError: its own")


def test_calls_that_wait_for_a_thread_are_not_started_once_the_workflow_is_cancelled() -> None:
    release = threading.Event()
    started: list[int] = []

    def act(number: int) -> None:
        started.append(number)
        release.wait(60)

    async def main() -> None:
        execution = asyncio.create_task(flow.execute())
        while not started:
            await asyncio.sleep(0.01)
        execution.cancel()
        with pytest.raises(asyncio.CancelledError):
            await execution
        release.set()

    flow = Workflow(tasks=[Task(f"t{n}", act, args=[n], grace=0.1) for n in range(200)])
    asyncio.run(main())
    assert len(started) < 50
    not_started = [result for result in flow.results.values() if result.ending is Ending.SKIPPED]
    assert len(not_started) == 200 - len(started)


def test_a_coroutine_that_is_stopped_tells_for_how_long_it_ran() -> None:
    flow = Workflow(tasks=[Task("first", lasting(1)), Task("late", lasting(9), dependencies={"first"}, timeout=2)])
    results, _ = run_steered(flow)
    result = results["late"]
    assert (result.ending, result.started, result.execution_time) == (Ending.TIMED_OUT, 1, 2)
