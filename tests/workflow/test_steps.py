"""Steps: what order they run in, how they are put together, and what their results tell."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import (
    Ending,
    ExecutionResult,
    RetryPolicy,
    StepError,
    StepResult,
    Steps,
    TaskFailedError,
    Workflow,
    WorkflowError,
    condition,
    pipe,
    python_func,
    result_of,
    retry,
    shell,
    step,
    timeout,
    workflow,
)
from tests import crimes
from tests.waiting import lines_of
from tests.workflow.acts import lasting
from tests.workflow.steered import run_steered, statuses


def needs(flow: Workflow) -> dict[str, set[str]]:
    """Return what each task waits for."""
    return {task.name: task.needs() for task in flow}


def some(names: str, **options: Any) -> list[Steps]:
    """Return a step for each letter."""
    return [step(name, int, **options) for name in names]


# Order


def test_steps_run_in_the_order_given_each_after_the_one_before() -> None:
    log: list[str] = []

    def noting(name: str, seconds: float) -> Callable[[], Any]:
        async def act() -> None:
            await asyncio.sleep(seconds)
            log.append(name)

        return act

    flow = workflow(*(step(name, noting(name, 3 - place)) for place, name in enumerate("zay")))
    _, seconds = run_steered(flow)
    assert (log, seconds) == (["z", "a", "y"], 6)
    assert flow.execution_order() == ["z", "a", "y"]


def test_a_step_that_names_what_it_waits_for_waits_for_nothing_else() -> None:
    a, b = some("ab")
    flow = workflow(a, b, step("c", int, dependencies={"a"}), step("d", int, dependencies=[]))
    assert needs(flow) == {"a": set(), "b": {"a"}, "c": {"a"}, "d": set()}


def test_a_step_waits_for_all_that_stand_before_it_also_for_those_that_named_what_they_wait_for() -> None:
    (load,), (x, y), (free,), (join, after) = (
        some("l"), some("xy", dependencies={"l"}), some("f", dependencies=[]), some("jk"),
    )  # fmt: skip
    assert needs(workflow(load, x, y, join, after)) == {"l": set(), "x": {"l"}, "y": {"l"}, "j": {"x", "y"}, "k": {"j"}}
    assert needs(workflow(load, free, join))["j"] == {"l", "f"}
    assert needs(workflow(load, step("r", int) | free, join))["j"] == {"r", "f"}
    uses = step("u", int, dependencies={"l"}, args=[result_of("x")])
    assert needs(workflow(load, x, uses, join))["j"] == {"u"}


Expression = st.recursive(
    st.just("leaf"), lambda inner: st.tuples(st.sampled_from([">>", "|"]), inner, inner), max_leaves=8
)


@given(Expression)
def test_then_puts_all_of_the_one_after_all_of_the_other_and_beside_adds_nothing(expression: Any) -> None:
    pairs: set[tuple[str, str]] = set()  # (earlier, later), as the expression says
    count = 0

    def build(node: Any) -> Steps:
        nonlocal count
        if node == "leaf":
            count += 1
            return step(f"s{count}", int)
        sign, left, right = node[0], build(node[1]), build(node[2])
        if sign == "|":
            return left | right
        pairs.update((a.name, b.name) for a in left.tasks for b in right.tasks)
        return left >> right

    direct = needs(build(expression).workflow())
    before: dict[str, set[str]] = {}

    def all_before(name: str) -> set[str]:
        if name not in before:
            before[name] = direct[name].union(*(all_before(other) for other in direct[name]))
        return before[name]

    assert {(earlier, later) for later in direct for earlier in all_before(later)} == pairs


def test_a_piece_can_be_used_in_several_workflows() -> None:
    log: list[str] = []
    build = step("build", lambda: log.append("build"))
    for name in ("test", "deploy"):
        assert list((build >> step(name, log.append, args=[name])).run()) == ["build", name]
    assert log == ["build", "test", "build", "deploy"]
    assert build.tasks[0].dependencies == set()
    assert all(result.success for result in workflow(build).run().values())


# Misuse


def test_two_steps_of_one_name_are_refused() -> None:
    a, b = some("aa")
    for put in (lambda: a >> b, lambda: a | b, lambda: workflow(a, b)):
        with pytest.raises(WorkflowError, match="two steps named 'a'"):
            put()


def test_what_is_no_step_is_refused() -> None:
    (a,) = some("a")
    with pytest.raises(TypeError, match="a workflow is made of steps"):
        workflow(a, print)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        a >> print  # type: ignore[operator]
    with pytest.raises(TypeError):
        a | None  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tiemout": 3}, TypeError, "did you mean 'timeout'"),
        ({"zzz": 3}, TypeError, "known are args, condition,"),
        ({"dependencies": "other"}, TypeError, "must be a set of names"),
        ({"retries": -1}, ValueError, "retries must be zero or more"),
        ({"retries": 1, "retry_policy": RetryPolicy()}, ValueError, "not both"),
        ({"timeout": 0}, ValueError, "timeout"),
        ({"args": "text"}, TypeError, "args must be a list"),
    ],
    ids=["typo", "unknown", "one text", "negative", "both", "zero", "text"],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        step("a", print, **options)


def test_a_name_or_an_action_that_is_none_is_refused() -> None:
    for name in ("", None, 3):
        with pytest.raises(TypeError, match="name must be text"):
            step(name, print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be callable"):
        step("a", "print")  # type: ignore[arg-type]


def test_a_dependency_that_is_no_step_is_told_of_before_anything_runs() -> None:
    log: list[int] = []
    with pytest.raises(Exception, match="'lod'"):
        workflow(step("load", lambda: log.append(1)), step("use", int, dependencies={"lod"})).run()
    assert log == []


def test_a_workflow_of_no_steps_has_no_results() -> None:
    assert workflow().run() == {}


# Results


def test_the_result_of_a_step_has_its_value_or_what_a_command_has_printed() -> None:
    async def coroutine() -> str:
        return "awaited"

    results = (
        step("value", lambda: 42)
        | step("command", shell("echo hello; echo aside >&2"))
        | step("coroutine", coroutine)
        | step("worker", python_func(os.getpid))
        | step("pipe", lambda: pipe(["echo x", "cat"]))
        | step("no", condition(lambda: False, print))
    ).run()
    assert list(results) == ["value", "command", "coroutine", "worker", "pipe", "no"]
    assert [results[name].output for name in ("value", "command", "coroutine", "pipe", "no")] == [
        42, "hello\n", "awaited", "x\n", None,
    ]  # fmt: skip
    assert results["worker"].output != os.getpid()
    assert all(result.success and result.error is None for result in results.values())
    assert all(isinstance(result, StepResult) and result.duration >= 0 for result in results.values())
    assert StepResult("a", True, 1, None, 0.5) == StepResult(name="a", success=True, output=1, error=None, duration=0.5)


def test_a_step_that_fails_tells_why_and_those_after_it_are_skipped() -> None:
    ran: list[int] = []
    results = (
        step("fine", int) >> step("fails", shell("echo partial; echo why >&2; exit 3")) >> step("never", ran.append)
    ).run()
    assert results["fine"].success
    failed, skipped = results["fails"], results["never"]
    assert (failed.success, failed.output) == (False, "partial\n")
    assert "code 3" in (failed.error or "") and "why" in (failed.error or "")
    assert (skipped.success, skipped.error) == (False, "skipped because 'fails' failed")
    assert ran == []


@pytest.mark.parametrize("kind", ["command", "call of a command", "retry", "script", "pipe"])
def test_a_result_that_is_no_success_fails_its_step_and_is_carried_by_the_error(tmp_path: Path, kind: str) -> None:
    actions: dict[str, Callable[[], Any]] = {
        "command": shell("echo out; exit 3"),
        "call of a command": lambda: shell("echo out; exit 3")(),
        "retry": retry(shell("echo out; exit 3"), 2, initial_delay=0),
        "script": condition(lambda: True, shell("echo out; exit 3")),
        "pipe": lambda: pipe(["true", "echo out; exit 3"]),
    }
    result = workflow(step("a", actions[kind])).run()["a"]
    assert (result.success, result.ending, result.return_code, result.output) == (False, Ending.RAISED, 3, "out\n")
    assert isinstance(result.exception, StepError)
    assert isinstance(result.exception.result, ExecutionResult)
    assert result.exception.result.return_code == 3
    with pytest.raises(StepError):
        result.unwrap()


def test_an_exception_of_a_step_is_its_error_and_what_it_printed_in_a_worker_its_output() -> None:
    def act() -> None:
        print("before")
        raise KeyError("x")

    results = (step("thread", crimes.raise_it, args=[ValueError("no")]) | step("process", act, timeout=60)).run()
    assert (results["thread"].error or "").endswith("ValueError: no")
    assert (results["process"].error or "").endswith("KeyError: 'x'")
    assert results["process"].output == "before\n"


def test_a_step_takes_what_another_has_printed_or_returned() -> None:
    flow = workflow(
        step("list", shell("printf 'b\\na\\n'")),
        step("sort", shell("sort"), kwargs={"stdin": result_of("list")}),
        step("number", lambda: 7),
        step("show", shell('echo "$1" "$2"'), args=[result_of("number"), "ü x"]),
    )
    results = flow.run()
    assert results["sort"].value.output == "a\nb\n"
    assert results["show"].value.output == "7 ü x\n"


def test_a_program_reads_a_large_value_that_a_worker_returned() -> None:
    flow = workflow(
        step("make", "x".__mul__, args=[1 << 20], executor="process"),
        step("count", shell("wc -c"), kwargs={"stdin": result_of("make")}),
    )
    results = flow.run()
    assert statuses(results) == {"make": "completed", "count": "completed"}
    assert results["count"].value.output.strip() == str(1 << 20)


def test_retries_are_further_attempts_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    flaky = shell(f"echo run >> {log}; [ $(wc -l < {log}) -eq 3 ]")
    result = workflow(step("a", flaky, retries=5)).run()["a"]
    assert (result.success, result.attempts, len(result.history)) == (True, 3, 2)
    assert len(lines_of(log)) == 3


def test_every_option_of_a_task_reaches_it() -> None:
    flow = workflow(
        step("a", lambda *args, **kwargs: (args, kwargs), args=[1], kwargs={"key": 2}),
        step("b", int, condition=lambda results: not results["a"].success),
        step("c", shell("sleep 600"), timeout=0.5, grace=0.1, dependencies={"a"}),
        step("d", timeout(lasting(3600), 0.1), dependencies={"a"}),
        step("e", os.getpid, executor="process", dependencies={"a"}),
    )
    results = flow.run()
    assert results["a"].value == ((1,), {"key": 2})
    assert results["b"].ending is Ending.SKIPPED
    assert results["c"].ending is Ending.TIMED_OUT
    assert "OrchestratorTimeoutError" in (results["d"].error or "")
    assert results["e"].value != os.getpid()


def test_the_options_of_a_workflow_reach_it_every_way() -> None:
    steps = step("a", crimes.raise_it, args=[ValueError("no")]) >> step("b", int)
    flow = workflow(steps, name="mine", fail_fast=True)
    assert flow.name == "mine"
    for run in (flow.run, lambda: steps.run(fail_fast=True), lambda: asyncio.run(steps.execute(fail_fast=True))):
        with pytest.raises(TaskFailedError, match="ValueError: no"):
            run()
    results = asyncio.run(steps.execute())
    assert [result.success for result in results.values()] == [False, False]


def test_a_function_for_a_worker_is_a_task_in_one_within_the_tighter_limits(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        print("at work")
        return os.getpid()

    whole = step("fine", python_func(work, timeout=60)) | step("late", python_func(time.sleep), args=[60], timeout=0.2)
    results = whole.workflow().run()
    assert results["fine"].value not in (None, os.getpid())
    assert results["fine"].output == "at work\n"
    assert capfd.readouterr().out == ""
    assert results["late"].ending is Ending.TIMED_OUT
