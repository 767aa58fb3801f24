"""Orders from outside (drain, cancel), and failures that end a run: at once, soon, after some number or share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    Ending,
    Event,
    Finished,
    RetryPolicy,
    Started,
    Task,
    TaskFailedError,
    TaskResult,
    Workflow,
    shell,
)
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import lines_of, wait_gone
from tests.workflow.acts import Flaky, hanging, lasting, results_are_final
from tests.workflow.steered import Log, run_steered, statuses, steered

RESTS = RetryPolicy(max_attempts=9, initial_delay=100)


def ordering(flow: Workflow, order: str, seconds: float) -> Callable[[], Any]:
    """Return a coroutine function that gives an order to a workflow after so many seconds."""

    async def act() -> None:
        await asyncio.sleep(seconds)
        getattr(flow, order)()

    return act


# Drain and cancel


def test_a_drained_workflow_starts_nothing_more_and_what_runs_goes_on() -> None:
    flow = Workflow(
        tasks=[
            Task("runs", lasting(5, "v")),
            Task("rests", Flaky(9), retry_policy=RESTS),
            Task("fails later", lasting(3, error=ValueError("no")), retry_policy=RESTS),
            Task("waits", int, dependencies={"runs"}),
        ]
    )
    flow.add_task(Task("order", ordering(flow, "drain", 2)))
    log = Log()
    results, seconds = run_steered(flow, log)
    assert seconds == 5
    assert results["runs"].value == "v"
    assert statuses(results) == {
        "runs": "completed", "rests": "failed", "fails later": "failed", "waits": "skipped", "order": "completed",
    }  # fmt: skip
    assert results["waits"].error == "skipped because the run was stopped"
    assert results["rests"].attempts == results["fails later"].attempts == 1
    assert "no further attempt was made, because the run was stopped" in results["rests"].notes[0]
    assert log.of("waits") == ["skipped"]
    assert results_are_final(flow)


def test_a_cancelled_workflow_stops_what_runs_and_returns_a_result_for_every_task() -> None:
    cleaned: list[int] = []
    flow = Workflow(
        tasks=[
            Task("done", lasting(1, "v")),
            Task("runs", hanging(cleaned, 0.5)),
            Task("rests", Flaky(9), retry_policy=RESTS),
            Task("waits", int, dependencies={"runs"}),
        ]
    )
    flow.add_task(Task("order", ordering(flow, "cancel", 2)))
    results, seconds = run_steered(flow)
    assert (seconds, cleaned) == (2.5, [1])
    assert results["done"].value == "v"
    assert results["runs"].ending is Ending.CANCELLED
    assert "the run was stopped" in (results["runs"].error or "")
    assert results["rests"].ending is Ending.RAISED
    assert results["waits"].ending is Ending.SKIPPED


def test_what_a_drained_workflow_still_runs_can_be_cancelled_and_orders_repeated_change_nothing() -> None:
    flow = Workflow(tasks=[Task("runs", hanging([])), Task("waits", int, dependencies={"runs"})])

    async def act() -> None:
        for order in ("drain", "drain", "cancel", "cancel", "drain"):
            await asyncio.sleep(1)
            getattr(flow, order)()

    async def main() -> dict[str, TaskResult]:
        orders = asyncio.create_task(act())
        results = await flow.execute(log)
        await orders
        return results

    log = Log()
    results, _ = steered(main)
    assert (results["runs"].ending, results["waits"].ending) == (Ending.CANCELLED, Ending.SKIPPED)
    assert (log.times("runs"), log.times("waits")) == ([0, 3], [1])


@pytest.mark.parametrize("order", ["drain", "cancel"])
def test_an_order_while_nothing_executes_is_for_nobody(order: str) -> None:
    flow = Workflow(tasks=[Task("a", lasting(1, "v"))])
    getattr(flow, order)()
    assert run_steered(flow)[0]["a"].value == "v"
    getattr(flow, order)()
    assert run_steered(flow)[0]["a"].value == "v"


def test_a_workflow_that_was_cancelled_can_be_executed_again() -> None:
    flow = Workflow(tasks=[Task("a", lasting(2, "v"))])
    task = Task("order", ordering(flow, "cancel", 1))
    flow.add_task(task)
    assert run_steered(flow)[0]["a"].ending is Ending.CANCELLED
    task.action = lasting(0)
    assert run_steered(flow)[0]["a"].value == "v"


@pytest.mark.parametrize("by", ["thread", "signal"])
def test_a_workflow_is_cancelled_from_a_thread_or_a_signal_handler(tmp_path: Path, by: str) -> None:
    """With everything that it runs: a program, a worker, and what a thread has started."""
    pids = tmp_path / "pids"
    hangs = shell(f"echo partial; echo $$ >> {pids}; sleep 600 & wait")
    flow = Workflow(
        tasks=[
            Task("program", hangs),
            Task("worker", lambda: hangs(), executor="process"),
            Task("thread", lambda: hangs()),
            Task("waits", int, dependencies={"program"}),
        ],
        max_workers=2,
    )
    over = threading.Event()

    def order() -> None:
        while len(lines_of(pids)) < 3 and not over.wait(0.01):
            pass
        if by == "thread":
            flow.cancel()
        else:
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: flow.cancel())
    thread = threading.Thread(target=order)
    thread.start()
    try:
        with Stopwatch() as watch:
            results = flow.run()
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert watch.seconds < 10 + 2 * NOISE_SECONDS
    assert [results[name].ending for name in ("program", "worker", "thread")] == [Ending.CANCELLED] * 3
    assert (results["program"].output, results["program"].return_code) == ("partial\n", 130)
    assert results["thread"].output == "partial\n"
    assert results["waits"].ending is Ending.SKIPPED
    for pid in map(int, lines_of(pids)):
        wait_gone(pid, 5)


def test_programs_that_have_not_started_are_not_started_once_the_workflow_is_cancelled(tmp_path: Path) -> None:
    program = shell(f"echo $$ >> {tmp_path}/pids; exec sleep 600")
    flow = Workflow(tasks=[Task(f"t{n}", program) for n in range(5)], max_workers=1)

    async def main() -> dict[str, TaskResult]:
        execution = asyncio.create_task(flow.execute())
        while not lines_of(tmp_path / "pids"):
            await asyncio.sleep(0.01)
        flow.cancel()
        return await execution

    results = asyncio.run(main())
    assert sorted(result.ending.value for result in results.values()) == ["cancelled", *["skipped"] * 4]
    assert len(lines_of(tmp_path / "pids")) == 1


# Failures that end a run


def failing_at(*seconds: float) -> Iterator[Task]:
    """Make tasks that fail so many seconds after the start."""
    for second in seconds:
        yield Task(f"fails at {second}", lasting(second, error=ValueError("no")))


def ended_by(flow: Workflow) -> tuple[TaskFailedError, float]:
    """Run a workflow that ends with TaskFailedError, and return that and the seconds it took."""

    async def main() -> TaskFailedError:
        with pytest.raises(TaskFailedError) as caught:
            await flow.execute()
        return caught.value

    return steered(main)


def test_halted_now_what_runs_is_stopped_and_halted_soon_it_comes_to_its_end() -> None:
    for halt, ending, duration in (("now", Ending.CANCELLED, 1), ("soon", Ending.OK, 5)):
        flow = Workflow(
            tasks=[
                *failing_at(1),
                Task("runs", lasting(5, "v")),
                Task("rests", Flaky(9), retry_policy=RESTS),
                Task("waits", int, dependencies={"runs"}),
            ],
            fail_fast=True,
            halt=halt,  # type: ignore[arg-type]
        )
        error, seconds = ended_by(flow)
        assert seconds == duration
        assert error.result is error.results["fails at 1"]
        assert error.results["runs"].ending is ending
        assert error.results["waits"].error == "skipped because 'fails at 1' failed, and fail_fast is set"
        assert "no further attempt" in error.results["rests"].notes[0]
        assert error.results.keys() == flow.tasks.keys()


def test_halted_soon_a_second_failure_while_the_rest_ends_changes_nothing() -> None:
    flow = Workflow(tasks=[*failing_at(1, 2), Task("runs", lasting(5, "v"))], fail_fast=True, halt="soon")
    error, seconds = ended_by(flow)
    assert seconds == 5
    assert error.result.name == "fails at 1"
    assert statuses(error.results) == {"fails at 1": "failed", "fails at 2": "failed", "runs": "completed"}


@pytest.mark.parametrize(
    ("fail_fast", "seconds"),
    [(True, 1), (1, 1), (2, 2), (4, 4), (False, 60), (5, 60), ("0%", 1), ("10%", 1), ("25%", 3), ("50%", 60)],
)
def test_a_number_or_share_of_failures_ends_the_run(fail_fast: bool | int | str, seconds: float) -> None:
    """Of eight tasks; so many failures end it, or more failures than that share."""
    flow = Workflow(
        tasks=[*failing_at(1, 2, 3, 4), *(Task(f"t{n}", lasting(60)) for n in range(4))],
        fail_fast=fail_fast,
    )
    if seconds == 60:
        results, took = run_steered(flow)
        assert sum(result.success for result in results.values()) == 4
    else:
        error, took = ended_by(flow)
        assert error.result.name == f"fails at {seconds}"
    assert took == seconds


def test_tasks_that_were_skipped_and_attempts_that_are_made_again_are_no_failures() -> None:
    flow = Workflow(
        tasks=[
            *failing_at(1),
            *(Task(f"t{n}", int, dependencies={"fails at 1"}) for n in range(5)),
            Task("flaky", Flaky(3), retry_policy=RetryPolicy(max_attempts=5, initial_delay=1)),
        ],
        fail_fast=2,
    )
    assert run_steered(flow)[0]["flaky"].success


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"fail_fast": 0}, ValueError), ({"fail_fast": -1}, ValueError), ({"fail_fast": "10"}, TypeError),
        ({"fail_fast": "x%"}, TypeError), ({"fail_fast": 0.5}, TypeError), ({"fail_fast": None}, TypeError),
        ({"halt": "later"}, ValueError), ({"halt": True}, ValueError),
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Workflow(**options)


@pytest.mark.parametrize("how", ["drain", "halt soon"])
def test_calls_that_wait_for_a_thread_do_not_start_once_the_run_is_drained(how: str) -> None:
    release = threading.Event()
    events: list[Event] = []

    def act(number: int) -> None:
        if number == 0 and how == "halt soon":
            raise ValueError("no")
        release.wait(60)

    tasks = [Task(f"t{n}", act, args=[n]) for n in range(100)]
    flow = Workflow(tasks=tasks, on_event=events.append, max_workers=1, fail_fast=how == "halt soon", halt="soon")

    async def main() -> None:
        execution = asyncio.create_task(flow.execute())
        while len([event for event in events if isinstance(event, Started)]) < 2:
            await asyncio.sleep(0.01)
        if how == "drain":
            flow.drain()
            await asyncio.sleep(0.1)
        release.set()
        with contextlib.suppress(TaskFailedError):
            await execution

    asyncio.run(main())
    begun = [event for event in events if isinstance(event, Started)]
    assert len(begun) < 50  # only those that have a thread are told of, and only those have run
    skipped = (
        [result for result in flow.results.values() if result.ending is Ending.SKIPPED] if how == "drain" else None
    )
    assert skipped is None or len(skipped) == 100 - len(begun)


def test_a_listener_that_raises_keeps_nothing_from_the_others() -> None:
    heard: list[Event] = []

    def fail(event: Event) -> None:
        raise ValueError("no")

    flow = Workflow(tasks=[Task("a", int)], on_event=fail)
    flow.add_listener(heard.append)
    flow.run()
    assert [type(event) for event in heard] == [Started, Finished]
