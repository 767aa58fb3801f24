"""The engine: order, failure, time and telling. Time is steered wherever it matters."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import functools
import gc
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import (
    CycleError,
    DependencyResolutionError,
    Ending,
    Event,
    ExecutionResult,
    Finished,
    OrchestratorTimeoutError,
    Retrying,
    RetryPolicy,
    Started,
    StateError,
    StepError,
    Task,
    TaskFailedError,
    TaskResult,
    TaskStatus,
    Workflow,
    WorkflowError,
    result_of,
)
from tests import crimes
from tests.workflow.steered import Log, run_steered, statuses, steered, values
from tests.workflow.test_plan import Graph, ancestors, graphs


def lasting(seconds: float, value: Any = None, error: BaseException | None = None) -> Callable[[], Any]:
    """Return a coroutine function that takes so long and then returns the value, or raises the error."""

    async def act() -> Any:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return value

    return act


def hanging(cleaned: list[int], seconds: float = 0.0) -> Callable[[], Any]:
    """Return a coroutine function that waits to be cancelled, and then takes so long to clean up."""

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            if seconds:
                await asyncio.sleep(seconds)
            cleaned.append(1)

    return hang


class Flaky:
    """Make coroutine functions that fail the first so many times."""

    def __init__(self, failures: int, seconds: float = 0.0) -> None:
        self.left = failures
        self.calls = 0
        self.seconds = seconds

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.left:
            self.left -= 1
            raise ConnectionError(f"attempt {self.calls}")
        return "fine"


# Order


def test_a_task_starts_the_moment_its_last_dependency_ends_not_with_a_wave() -> None:
    log = Log()
    flow = Workflow(
        tasks=[
            Task("quick", lasting(1)),
            Task("slow", lasting(10)),
            Task("after quick", lasting(1), dependencies={"quick"}),
            Task("then", lasting(1), dependencies={"after quick"}),
            Task("both", lasting(1), dependencies={"slow", "then"}),
        ]
    )
    results, seconds = run_steered(flow, log)
    assert seconds == 11
    assert log.times("after quick") == [1, 2]
    assert log.times("then") == [2, 3]
    assert log.times("both") == [10, 11]
    assert results["both"].started == 10
    assert results["slow"].execution_time == 10
    assert list(results) == ["quick", "slow", "after quick", "then", "both"]


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_any_graph_of_any_outcomes_ends_as_the_model_says(needs: Graph, data: st.DataObject) -> None:
    """What should run runs once, after its dependencies; failures and skips reach exactly what depends on them."""
    fate = {name: data.draw(st.sampled_from(["ok", "ok", "ok", "fail", "skip", "retry"]), label=name) for name in needs}
    seconds = {name: float(data.draw(st.integers(0, 3))) for name in needs}
    runs: Counter[str] = Counter()
    done: set[str] = set()

    def action(name: str) -> Callable[[], Any]:
        async def act() -> str:
            runs[name] += 1
            assert done.issuperset(needs[name])
            await asyncio.sleep(seconds[name])
            if fate[name] == "fail" or (fate[name] == "retry" and runs[name] == 1):
                raise ValueError(name)
            done.add(name)
            return name

        return act

    flow = Workflow(max_concurrency=data.draw(st.none() | st.integers(1, 3)))
    for name, dependencies in needs.items():
        policy = RetryPolicy(max_attempts=2, initial_delay=1) if fate[name] == "retry" else None
        condition = (lambda _: False) if fate[name] == "skip" else None
        flow.add_task(
            Task(name, action(name), dependencies=set(dependencies), retry_policy=policy, condition=condition)
        )
    log = Log()
    results, _ = run_steered(flow, log)
    for name in needs:
        doomed = any(fate[other] in ("fail", "skip") for other in ancestors(needs, name))
        expected = "skipped" if doomed or fate[name] == "skip" else "failed" if fate[name] == "fail" else "completed"
        assert results[name].status.value == expected, name
        assert runs[name] == {"skipped": 0, "failed": 1}.get(expected, 2 if fate[name] == "retry" else 1)
        assert log.of(name)[-1] == expected
        attempts = ["running", "retrying"] * (runs[name] - 1) + ["running"] if runs[name] else []
        assert log.of(name) == [*attempts, expected]


def test_max_concurrency_is_reached_and_never_exceeded() -> None:
    active = most = 0

    async def act() -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(1)
        active -= 1

    flow = Workflow(max_concurrency=3, tasks=[Task(f"t{n}", act) for n in range(10)])
    _, seconds = run_steered(flow)
    assert (most, seconds) == (3, 4)


def test_a_resting_task_gives_its_place_to_others() -> None:
    policy = RetryPolicy(max_attempts=2, initial_delay=5)
    flow = Workflow(
        max_concurrency=1, tasks=[Task("flaky", Flaky(1, 1), retry_policy=policy), Task("other", lasting(2))]
    )
    log = Log()
    _, seconds = run_steered(flow, log)
    assert log.times("other") == [1, 3]
    assert log.times("flaky") == [0, 1, 6, 7]
    assert seconds == 7


def test_an_empty_workflow_ends_at_once() -> None:
    assert Workflow().run() == {}
    assert Workflow().summary().startswith("task")


def test_the_loop_serves_others_while_thousands_of_tasks_start() -> None:
    async def main() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await Workflow(tasks=[Task(f"t{n}", lasting(0)) for n in range(5_000)]).execute()
        counting.cancel()
        return turns

    assert asyncio.run(main()) > 15


# Data


class Pair(NamedTuple):
    left: Any
    right: Any


def test_values_reach_their_places_however_deep_and_the_callers_containers_stay_as_they_are() -> None:
    args = [{"a": [result_of("one"), (result_of("two"), "x")]}, Pair(1, result_of("two")), [3, 4]]
    before = repr(args)
    untouched = args[2]
    task = Task("all", lambda *args, **kwargs: (args, kwargs), args=args, kwargs={"k": {"deep": result_of("one")}})
    results = Workflow(tasks=[Task("one", lambda: 1), Task("two", lasting(0, 2)), task]).run()
    got, kwargs = results["all"].value
    assert got == ({"a": [1, (2, "x")]}, Pair(1, 2), [3, 4])
    assert isinstance(got[1], Pair)
    assert got[2] is untouched
    assert kwargs == {"k": {"deep": 1}}
    assert repr(args) == before
    assert task.dependencies == set()


def test_a_reference_declares_the_dependency() -> None:
    flow = Workflow(tasks=[Task("b", str, args=[[result_of("a")]]), Task("a", int)])
    assert flow.parallel_groups() == [["a"], ["b"]]
    with pytest.raises(CycleError, match="a -> b -> a"):
        Workflow(tasks=[Task("a", str, args=[result_of("b")]), Task("b", str, args=[result_of("a")])]).validate()
    with pytest.raises(DependencyResolutionError, match="'a' depends on 'b'"):
        Workflow(tasks=[Task("a", str, args=[result_of("b")])]).validate()


def test_a_parameter_named_task_results_gets_all_results_so_far_in_a_dict_of_its_own() -> None:
    def spoil(prefix: str, _task_results: dict[str, TaskResult]) -> list[str]:
        seen = [f"{prefix}{name}" for name in _task_results]
        _task_results.clear()
        return seen

    async def look(*, _task_results: dict[str, TaskResult]) -> list[str]:
        return list(_task_results)

    @functools.wraps(look)
    async def wrapped(**kwargs: Any) -> Any:
        return await look(**kwargs)

    class Thing:
        def method(self, _task_results: dict[str, TaskResult]) -> int:
            return len(_task_results)

        def __call__(self, _task_results: dict[str, TaskResult]) -> int:
            return len(_task_results)

    actions: dict[str, Callable[..., Any]] = {
        "partial": functools.partial(spoil, "-"),
        "coroutine": look,
        "wrapped": wrapped,
        "method": Thing().method,
        "object": Thing(),
    }
    flow = Workflow(tasks=[Task("a", int), Task("b", int, dependencies={"a"})])
    last = "b"
    for name, action in actions.items():
        flow.add_task(Task(name, action, dependencies={last}))
        last = name
    flow.add_task(Task("given", spoil, args=[""], kwargs={"_task_results": {"mine": 1}}, dependencies={last}))
    assert values(flow.run()) == {
        "a": 0,
        "b": 0,
        "partial": ["-a", "-b"],
        "coroutine": ["a", "b", "partial"],
        "wrapped": ["a", "b", "partial", "coroutine"],
        "method": 5,
        "object": 6,
        "given": ["mine"],
    }


def test_arguments_that_cannot_be_put_together_fail_only_their_task() -> None:
    knot: list[Any] = [result_of("one")]
    knot.append(knot)
    results = Workflow(tasks=[Task("one", int), Task("knot", len, args=[knot]), Task("two", int)]).run()
    assert statuses(results) == {"one": "completed", "knot": "failed", "two": "completed"}
    assert "RecursionError" in (results["knot"].error or "")


class Weighty:
    """Something that a weak reference can watch."""


def test_results_are_freed_at_once_when_nobody_holds_them() -> None:
    """P15"""
    watched: list[weakref.ref[Weighty]] = []

    def make() -> Weighty:
        weighty = Weighty()
        watched.append(weakref.ref(weighty))
        return weighty

    async def make_too() -> Weighty:
        return make()

    gc.disable()
    try:
        flow = Workflow(tasks=[Task("a", make), Task("b", make_too), Task("c", id, args=[result_of("a")])])
        results = flow.run()
        assert all(watch() is not None for watch in watched)
        del results, flow
        assert [watch() for watch in watched] == [None, None]
    finally:
        gc.enable()


# Failure


def test_what_depends_on_a_failure_is_skipped_with_the_cause_and_the_rest_runs() -> None:
    """G2"""
    flow = Workflow(
        tasks=[
            Task("fails", lasting(1, error=ValueError("no"))),
            Task("child", int, dependencies={"fails"}),
            Task("grandchild", int, dependencies={"child"}),
            Task("other", lasting(5, "done")),
            Task("mixed", int, dependencies={"other", "grandchild"}),
        ]
    )
    results, seconds = run_steered(flow)
    assert seconds == 5
    assert statuses(results) == {
        "fails": "failed", "child": "skipped", "grandchild": "skipped", "other": "completed", "mixed": "skipped",
    }  # fmt: skip
    assert results["fails"].ending is Ending.RAISED
    assert "ValueError: no" in (results["fails"].error or "")
    assert isinstance(results["fails"].exception, ValueError)
    assert results["mixed"].error == "skipped because 'fails' failed"
    assert results["mixed"].attempts == 0
    assert flow.results == results


def test_the_traceback_begins_in_the_users_code() -> None:
    def inner() -> None:
        raise KeyError("here")

    async def coroutine() -> None:
        inner()

    results = Workflow(tasks=[Task("thread", inner), Task("coroutine", coroutine), Task("call", inner, args=[1])]).run()
    for name in ("thread", "coroutine"):
        error = results[name].error or ""
        assert 'raise KeyError("here")' in error
        assert "calls.py" not in error
    assert "takes 0 positional arguments" in (results["call"].error or "")


_ERRORS = [SystemExit(3), GeneratorExit(), crimes.Mute(), StopIteration(1), crimes.Custom()]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("thread", KeyboardInterrupt()), *((kind, error) for kind in ("thread", "coroutine") for error in _ERRORS)],
)
def test_whatever_a_task_raises_is_its_own_failure(kind: str, error: BaseException) -> None:
    """P8, P9. Ctrl-C in a coroutine is the exception: it may be the user's own."""

    def plain() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    flow = Workflow(tasks=[Task("bad", plain if kind == "thread" else coroutine), Task("good", lasting(0.01, 1))])
    results = flow.run()
    assert statuses(results) == {"bad": "failed", "good": "completed"}
    assert results["bad"].return_code == (3 if isinstance(error, SystemExit) else 1)
    assert results["bad"].error


def test_ctrl_c_in_a_coroutine_ends_the_run() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    flow = Workflow(tasks=[Task("a", interrupted), Task("b", lasting(60))])
    with pytest.raises(KeyboardInterrupt):
        flow.run()
    assert results_are_final(flow)


def results_are_final(flow: Workflow) -> bool:
    """Say whether every task of a workflow has a result."""
    return flow.results.keys() == flow.tasks.keys()


def test_an_action_that_returns_an_unsuccessful_execution_result_has_failed() -> None:
    """DESIGN 5.8"""
    bad = ExecutionResult(False, "out\n", "err\nreason", 7, 0.5, ending=Ending.TIMED_OUT, name="make", reason="reason")
    good = ExecutionResult(True, "fine\n", "warning\n", 0, 0.5, cpu_time=0.25, peak_memory=1 << 20, pid=4)
    policy = RetryPolicy(max_attempts=2, initial_delay=0, endings=frozenset({Ending.TIMED_OUT}))
    flow = Workflow(tasks=[Task("bad", lambda: bad, retry_policy=policy), Task("good", lambda: good)])
    results = flow.run()
    failed, fine = results["bad"], results["good"]
    assert (failed.ending, failed.return_code, failed.output, failed.stderr) == (Ending.TIMED_OUT, 7, "out\n", "err\n")
    assert failed.attempts == 2
    assert isinstance(failed.exception, StepError)
    assert failed.exception.result is bad
    assert "make ended with code 7 (timed out)" in (failed.error or "")
    assert fine.value is good
    assert (fine.output, fine.stderr, fine.cpu_time, fine.peak_memory, fine.pid) == (
        "fine\n",
        "warning\n",
        0.25,
        1 << 20,
        4,
    )


def test_unwrap_gives_the_value_or_raises_what_happened() -> None:
    flow = Workflow(
        tasks=[Task("a", lambda: 1), Task("b", lambda: os.environ["NO SUCH NAME"]), Task("c", int, dependencies={"b"})]
    )
    results = flow.run()
    assert results["a"].unwrap() == 1
    with pytest.raises(KeyError):
        results["b"].unwrap()
    with pytest.raises(Exception, match="skipped because 'b' failed"):
        results["c"].unwrap()


# Conditions


def test_a_condition_sees_the_results_and_its_no_skips_the_branch() -> None:
    flow = Workflow(
        tasks=[
            Task("measure", lambda: 3),
            Task("large", int, dependencies={"measure"}, condition=lambda results: results["measure"].value > 5),
            Task(
                "small",
                lambda: "small",
                dependencies={"measure"},
                condition=lambda results: results["measure"].value < 5,
            ),
            Task("after large", int, dependencies={"large"}),
        ]
    )
    log = Log()
    results = flow.run(log)
    assert statuses(results) == {
        "measure": "completed", "large": "skipped", "small": "completed", "after large": "skipped",
    }  # fmt: skip
    assert results["large"].error == "skipped because its condition does not hold"
    assert results["after large"].error == "skipped because 'large' was skipped"
    assert log.of("large") == ["skipped"]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(2)])
def test_a_condition_that_raises_fails_the_task_with_that_error(error: BaseException) -> None:
    """G5"""

    def condition(results: dict[str, TaskResult]) -> bool:
        raise error

    log = Log()
    flow = Workflow(tasks=[Task("a", int, condition=condition), Task("b", int, dependencies={"a"}), Task("c", int)])
    results = flow.run(log)
    assert statuses(results) == {"a": "failed", "b": "skipped", "c": "completed"}
    assert results["a"].exception is error
    assert "its condition raised" in (results["a"].error or "")
    assert log.of("a") == ["running", "failed"]


def test_a_condition_whose_answer_is_no_truth_fails_the_task() -> None:
    class Vague:
        def __bool__(self) -> bool:
            raise ValueError("ambiguous")

    results = Workflow(tasks=[Task("a", int, condition=lambda _: Vague())]).run()  # type: ignore[arg-type,return-value]
    assert "ambiguous" in (results["a"].error or "")


def test_a_condition_that_spoils_what_it_sees_spoils_no_result() -> None:
    def spoil(results: dict[str, TaskResult]) -> bool:
        results.clear()
        return True

    last = Task("b", lambda value: value, args=[result_of("a")], condition=spoil)
    assert values(Workflow(tasks=[Task("a", lambda: 1), last]).run()) == {"a": 1, "b": 1}


def test_a_condition_is_asked_once_not_before_every_attempt() -> None:
    asked = []

    def condition(results: dict[str, TaskResult]) -> bool:
        asked.append(1)
        return True

    policy = RetryPolicy(max_attempts=3, initial_delay=0)
    task = Task("a", Flaky(2), retry_policy=policy, condition=condition)
    assert Workflow(tasks=[task]).run()["a"].attempts == 3
    assert len(asked) == 1


# Retrying


def test_attempts_are_spaced_by_the_policy_and_each_is_told_and_kept() -> None:
    log = Log()
    flaky = Flaky(2, seconds=1)
    policy = RetryPolicy(max_attempts=5, initial_delay=2, exponential_base=3, max_delay=100)
    results, seconds = run_steered(Workflow(tasks=[Task("t", flaky, retry_policy=policy)]), log)
    assert log.lines == [
        (0, "t", "running"), (1, "t", "retrying"), (3, "t", "running"), (4, "t", "retrying"), (10, "t", "running"),
        (11, "t", "completed"),
    ]  # fmt: skip
    assert seconds == 11
    result = results["t"]
    assert (result.value, result.attempts, result.started) == ("fine", 3, 10)
    assert [attempt.attempts for attempt in result.history] == [1, 2]
    assert ["attempt 1" in (result.history[0].error or ""), log.results[1] is result.history[0]] == [True, True]


def test_a_task_that_exhausts_its_attempts_fails_with_the_last_error() -> None:
    policy = RetryPolicy(max_attempts=3, initial_delay=0)
    result = Workflow(tasks=[Task("t", Flaky(9), retry_policy=policy)]).run()["t"]
    assert (result.status, result.attempts, len(result.history)) == (TaskStatus.FAILED, 3, 2)
    assert "attempt 3" in (result.error or "")


def test_only_the_exceptions_meant_are_tried_again() -> None:
    flaky = Flaky(1)
    policy = RetryPolicy(max_attempts=3, initial_delay=0, retry_on=(KeyError,))
    assert not Workflow(tasks=[Task("t", flaky, retry_policy=policy)]).run()["t"].success
    assert flaky.calls == 1


def test_a_retry_predicate_that_raises_fails_the_task_alone(caplog: pytest.LogCaptureFixture) -> None:
    """G5"""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            raise RuntimeError("will not say")

    class Kind(Exception, metaclass=Meta):
        pass

    flow = Workflow(tasks=[Task("t", Flaky(1), retry_policy=RetryPolicy(retry_on=(Kind,))), Task("u", int)])
    assert statuses(flow.run()) == {"t": "failed", "u": "completed"}
    assert "will not say" in caplog.text


# Telling


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
    assert "cancelled, and not by the workflow" in (results["a"].error or "")


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
    not_started = [result for result in flow.results.values() if "it had not started" in (result.error or "")]
    assert len(not_started) == 200 - len(started)


# Misuse


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
            patch.setattr("orchestrator.workflow.engine.task_result", lambda *_, **__: 1 / 0)
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
