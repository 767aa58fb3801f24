"""Misuse of a workflow, and mistakes of our own."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from orchestrator import (
    CycleError,
    StateError,
    Task,
    TaskResult,
    TaskStatus,
    Workflow,
    WorkflowError,
    result_of,
)
from tests.workflow.acts import hanging, lasting
from tests.workflow.steered import steered, values


def test_a_workflow_that_is_executing_takes_no_tasks_and_no_second_execute_and_can_be_executed_again() -> None:
    async def main() -> None:
        first = asyncio.create_task(flow.execute())
        await asyncio.sleep(1)
        with pytest.raises(StateError, match="executing already"):
            await flow.execute()
        with pytest.raises(StateError, match="cannot be added"):
            flow.add_task(Task("new", int))
        assert values(await first) == {"a": 1}
        flow.add_task(Task("b", lasting(0, 2)))
        assert values(await flow.execute()) == {"a": 1, "b": 2}

    flow = Workflow(tasks=[Task("a", lasting(5, 1))])
    steered(main)


def test_run_inside_a_running_loop_says_what_to_do() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"await workflow\.execute"):
            Workflow().run()

    asyncio.run(main())


def test_nothing_runs_of_a_workflow_that_is_not_sound() -> None:
    """G1"""
    ran: list[int] = []
    flow = Workflow(tasks=[Task("a", lambda: ran.append(1)), Task("b", int, dependencies={"b"})])
    with pytest.raises(CycleError, match="b -> b"):
        flow.run()
    assert ran == []
    assert flow.results == {}


def test_a_task_belongs_to_one_workflow() -> None:
    task = Task("a", int)
    flow = Workflow("first", tasks=[task])
    with pytest.raises(WorkflowError, match="already belongs to workflow 'first'"):
        Workflow(tasks=[task])
    Workflow(tasks=[dataclasses.replace(task)])
    with pytest.raises(WorkflowError, match="already has a task 'a'"):
        flow.add_task(Task("a", str))
    del flow
    gc.collect()
    Workflow(tasks=[task])


def _numbers() -> Iterator[int]:
    yield 1


async def _async_numbers() -> AsyncIterator[int]:
    yield 1


async def _coroutine() -> None: ...


@pytest.mark.parametrize(
    ("misuse", "error", "words"),
    [
        (lambda: Task("", int), TypeError, "name"),
        (lambda: Task(3, int), TypeError, "name"),  # type: ignore[arg-type]
        (lambda: Task("a", 3), TypeError, "callable"),  # type: ignore[arg-type]
        (lambda: Task("a", _numbers), TypeError, "generator function"),
        (lambda: Task("a", functools.partial(_async_numbers)), TypeError, "generator function"),
        (lambda: Task("a", int, args="xy"), TypeError, "args must be a list"),  # type: ignore[arg-type]
        (lambda: Task("a", int, dependencies="build"), TypeError, "such as {'build'}"),  # type: ignore[arg-type]
        (lambda: Task("a", int, dependencies={3}), TypeError, "names of tasks, not 3"),  # type: ignore[arg-type]
        (lambda: Task("a", int, dependencies=3), TypeError, "set of names"),  # type: ignore[arg-type]
        (lambda: Task("a", int, timeout=0), ValueError, "timeout"),
        (lambda: Task("a", int, timeout=True), TypeError, "timeout"),
        (lambda: Task("a", int, memory_limit="lots"), ValueError, "lots"),
        (lambda: Task("a", int, grace=-1), ValueError, "grace"),
        (lambda: Task("a", int, retry_policy=3), TypeError, "RetryPolicy"),  # type: ignore[arg-type]
        (lambda: Task("a", int, condition=3), TypeError, "condition"),  # type: ignore[arg-type]
        (lambda: Task("a", int, condition=_coroutine), TypeError, "plain function"),  # type: ignore[arg-type]
        (lambda: Task("a", int, executor="cloud"), TypeError, "executor"),  # type: ignore[arg-type]
        (lambda: Task("a", int, executor="thread", timeout=3), ValueError, "cannot be stopped"),
        (lambda: Task("a", _coroutine, executor="thread"), ValueError, "event loop"),
        (lambda: Task("a", _coroutine, memory_limit="1G"), ValueError, "executor='process'"),
        (lambda: Workflow(3), TypeError, "name"),  # type: ignore[arg-type]
        (lambda: Workflow(max_concurrency=0), ValueError, "max_concurrency"),
        (lambda: Workflow(max_workers=True), TypeError, "max_workers"),
        (lambda: Workflow(timeout=-1), ValueError, "timeout"),
        (lambda: Workflow(executor="cloud"), TypeError, "executor"),  # type: ignore[arg-type]
        (lambda: Workflow(on_event=3), TypeError, "on_event"),  # type: ignore[arg-type]
        (lambda: Workflow().add_task("a"), TypeError, "needs a Task"),  # type: ignore[arg-type]
        (lambda: Workflow().run(3), TypeError, "progress_callback"),  # type: ignore[arg-type]
        (lambda: result_of(""), TypeError, "name of a task"),
    ],
)
def test_misuse_raises_at_once(misuse: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        misuse()


def test_dependencies_that_were_made_wrong_later_are_found_before_anything_runs() -> None:
    task = Task("a", int)
    task.dependencies = "xyz"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="not the one text 'xyz'"):
        Workflow(tasks=[task]).validate()


def test_logging_is_quiet_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="orchestrator"):
        Workflow(tasks=[Task("a", int), Task("b", lasting(0))]).run()
    assert [record for record in caplog.records if record.name.startswith("orchestrator")] == []


def test_a_mistake_of_ours_is_raised_and_never_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it in the first turn, or in one that a callback of the loop makes."""
    for flow in (
        Workflow(tasks=[Task("a", int, condition=lambda _: False)]),
        Workflow(tasks=[Task("a", lasting(0.01))]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr("orchestrator.dag.engine.task_result", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                flow.run()
        assert flow.run().keys() == {"a"}


def test_a_callback_that_exits_stops_what_runs() -> None:
    cleaned: list[int] = []
    hang = hanging(cleaned)

    def callback(name: str, status: TaskStatus, result: TaskResult | None) -> None:
        if name == "b" and status is TaskStatus.COMPLETED:
            raise SystemExit(3)

    flow = Workflow(tasks=[Task("a", hang), Task("b", lasting(0.01)), Task("c", hang)])
    with pytest.raises(SystemExit):
        flow.run(callback)
    assert cleaned == [1, 1]
