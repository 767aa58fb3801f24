"""The engine: order, failure, conditions, retrying. Time is steered wherever it matters."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import (
    Ending,
    Event,
    ExecutionResult,
    Finished,
    Printed,
    RetryPolicy,
    StepError,
    Task,
    TaskResult,
    TaskStatus,
    Workflow,
    result_of,
)
from orchestrator.dag.model import Declined
from orchestrator.live import listener
from tests import crimes
from tests.workflow.acts import Flaky, lasting, results_are_final
from tests.workflow.steered import Log, run_steered, statuses, steered, values
from tests.workflow.test_plan import Graph, ancestors, graphs

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


def test_a_condition_that_declines_says_why() -> None:
    flow = Workflow(tasks=[Task("a", lasting(1), condition=lambda _: Declined("it is Sunday"))])
    assert steered(flow.execute)[0]["a"].error == "skipped because it is Sunday"


def test_a_task_of_the_rule_all_done_runs_after_failures_and_skips_and_decides_by_its_condition() -> None:
    def any_failed(results: dict[str, TaskResult]) -> bool:
        return any(result.ending is Ending.RAISED for result in results.values())

    def none_failed(results: dict[str, TaskResult]) -> bool:
        return not any_failed(results)

    flow = Workflow()
    flow.add_task(Task("build", lasting(1, error=ValueError("broken"))))
    flow.add_task(Task("test", lasting(1), dependencies={"build"}))
    flow.add_task(Task("clean", lasting(1, "cleaned"), dependencies={"test"}, trigger_rule="all_done"))
    for name, condition in (("mourn", any_failed), ("cheer", none_failed)):
        flow.add_task(Task(name, lasting(1), dependencies={"build"}, trigger_rule="all_done", condition=condition))
    flow.add_task(Task("after", lasting(1), dependencies={"clean"}))
    results = steered(flow.execute)[0]
    assert {name: result.status.value for name, result in results.items()} == {
        "build": "failed",
        "test": "skipped",
        "clean": "completed",
        "mourn": "completed",
        "cheer": "skipped",
        "after": "completed",
    }


def test_an_unknown_trigger_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="'all_success' or 'all_done', not 'one_failed'"):
        Task("a", lasting(1), trigger_rule="one_failed")  # type: ignore[arg-type]


def test_what_a_callable_in_a_thread_passes_on_is_heard_before_its_end() -> None:
    def act() -> None:
        hear = listener()
        assert hear is not None
        hear(1, b"first ")
        hear(2, b"second")

    heard: list[Event] = []
    Workflow(tasks=[Task("a", act)], on_event=heard.append, live_output=True).run()
    assert [(e.stream, e.data) for e in heard if isinstance(e, Printed)] == [(1, b"first "), (2, b"second")]
    assert isinstance(heard[-1], Finished)


def test_nobody_hears_a_thread_where_live_output_is_not_asked_for() -> None:
    assert Workflow(tasks=[Task("a", listener)], on_event=print).run()["a"].value is None


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
