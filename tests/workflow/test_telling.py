"""What callbacks and listeners hear of a run."""

from __future__ import annotations

import asyncio
import os

import pytest

from orchestrator import (
    Ending,
    Event,
    Finished,
    Retrying,
    RetryPolicy,
    Started,
    Task,
    TaskResult,
    TaskStatus,
    Workflow,
)
from tests.workflow.acts import Flaky, lasting
from tests.workflow.steered import run_steered, statuses, steered


def test_a_coroutine_callback_is_awaited_in_order_and_to_the_end() -> None:
    told: list[str] = []

    async def callback(name: str, status: TaskStatus, result: TaskResult | None) -> None:
        await asyncio.sleep(3 if status is TaskStatus.RUNNING else 1)
        told.append(f"{name} {status.value}")

    flow = Workflow(tasks=[Task("a", lasting(1)), Task("b", lasting(1), dependencies={"a"})])
    _, seconds = steered(lambda: flow.execute(callback))
    assert told == ["a running", "a completed", "b running", "b completed"]
    assert seconds == 8


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_a_callback_that_raises_is_logged_and_changes_nothing(
    is_coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """G5"""

    def plain(name: str, status: TaskStatus, result: TaskResult | None) -> None:
        raise RuntimeError("callback")

    async def coroutine(name: str, status: TaskStatus, result: TaskResult | None) -> None:
        raise RuntimeError("callback")

    results = Workflow(tasks=[Task("a", int), Task("b", int, dependencies={"a"})]).run(
        coroutine if is_coroutine else plain
    )
    assert statuses(results) == {"a": "completed", "b": "completed"}
    assert caplog.text.count("RuntimeError: callback") == 4


def test_a_callback_that_hangs_is_ended_by_the_deadline_and_costs_no_result() -> None:
    async def callback(name: str, status: TaskStatus, result: TaskResult | None) -> None:
        await asyncio.sleep(3600)

    flow = Workflow(tasks=[Task("a", lasting(1)), Task("b", lasting(1))], timeout=10)
    results, seconds = steered(lambda: flow.execute(callback))
    assert statuses(results) == {"a": "completed", "b": "completed"}
    assert seconds == 10


def test_a_listener_hears_of_every_attempt_and_end() -> None:
    events: list[Event] = []
    policy = RetryPolicy(max_attempts=2, initial_delay=1)
    flow = Workflow(
        tasks=[
            Task("a", Flaky(1), retry_policy=policy),
            Task("b", lasting(0, error=ValueError())),
            Task("c", int, dependencies={"b"}),
        ],
        on_event=events.append,
    )
    run_steered(flow)
    by_task = {index: [event for event in events if event.index == index] for index in range(3)}
    assert [type(event) for event in by_task[0]] == [Started, Retrying, Started, Finished]
    assert [type(event) for event in by_task[1]] == [Started, Finished]
    assert [type(event) for event in by_task[2]] == [Finished]
    again, last, skipped = by_task[0][1], by_task[0][3], by_task[2][0]
    assert isinstance(again, Retrying)
    assert (again.attempt, again.delay, again.result.success) == (1, 1, False)
    assert isinstance(last, Finished)
    assert (last.result.attempts, len(last.result.history), last.result.success) == (2, 1, True)
    assert isinstance(skipped, Finished)
    assert skipped.result.ending is Ending.SKIPPED
    assert all(event.pid == os.getpid() for event in events if isinstance(event, Started))


def test_a_listener_that_raises_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def listener(event: Event) -> None:
        raise RuntimeError("listener")

    assert Workflow(tasks=[Task("a", int)], on_event=listener).run()["a"].success
    assert "listener failed" in caplog.text
