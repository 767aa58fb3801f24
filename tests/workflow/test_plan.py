"""Plan against a plain model of it: any graph, any mix of success, failure, skipping and retrying."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import CycleError, DependencyResolutionError, StateError, TaskStatus
from orchestrator.dag.plan import Plan

Graph = dict[str, list[str]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw a graph without circles, its tasks declared in any order."""
    size = draw(st.integers(0, 12))
    needs: Graph = {}
    for number in range(size):
        earlier = st.lists(st.sampled_from(range(number)), unique=True, max_size=4) if number else st.just([])
        needs[f"t{number}"] = [f"t{other}" for other in draw(earlier)]
    return {name: needs[name] for name in draw(st.permutations(list(needs)))}


def ancestors(needs: Mapping[str, list[str]], name: str) -> set[str]:
    """Return all that a task depends on, directly or not."""
    found: set[str] = set()
    todo = list(needs[name])
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo += needs[other]
    return found


@settings(max_examples=300)
@given(graphs(), st.data())
def test_every_task_ends_once_never_before_its_dependencies_and_skips_propagate_exactly(
    needs: Graph, data: st.DataObject
) -> None:
    patient = data.draw(st.sets(st.sampled_from(sorted(needs))) if needs else st.just(set()), label="patient")
    plan = Plan(needs, patient)
    ended: dict[str, str] = {}
    running: list[str] = []
    resting: list[str] = []
    taken: set[str] = set()
    while not plan.over:
        # What may start is exactly what has all its dependencies, and each comes once.
        due = {
            name
            for name in needs
            if name not in ended
            and name not in taken
            and all(other in ended if name in patient else ended.get(other) == "complete" for other in needs[name])
        }
        offered = []
        while (name := plan.take()) is not None:
            offered.append(name)
        assert sorted(offered) == sorted(due)
        taken |= due
        for name in offered:
            if data.draw(st.integers(0, 9), label=f"condition of {name}") == 0:
                _end(needs, patient, ended, name, "skip", plan.skip(name))
            else:
                plan.start(name)
                running.append(name)
        if data.draw(st.integers(0, 30), label="give up") == 0:
            given_up = plan.give_up()
            assert set(given_up) == {n for n in needs if n not in ended and n not in running and n not in resting}
            ended.update(dict.fromkeys(given_up, "skip"))
        while resting:
            name = resting.pop()
            if data.draw(st.booleans(), label=f"{name} again"):
                plan.start(name)
                running.append(name)
            else:
                _end(needs, patient, ended, name, "fail", plan.fail(name))
        if running:
            name = running.pop(data.draw(st.integers(0, len(running) - 1), label="who"))
            end = data.draw(st.sampled_from(("complete", "complete", "fail", "retry")), label=f"end of {name}")
            if end == "retry":
                plan.retry(name)
                resting.append(name)
            elif end == "fail":
                _end(needs, patient, ended, name, "fail", plan.fail(name))
            else:
                plan.complete(name)
                _end(needs, patient, ended, name, "complete", [])
    assert ended.keys() == needs.keys()
    assert running == resting == []
    assert plan.take() is None
    words = {"complete": TaskStatus.COMPLETED, "fail": TaskStatus.FAILED, "skip": TaskStatus.SKIPPED}
    assert {name: plan.status(name) for name in needs} == {name: words[end] for name, end in ended.items()}


def _end(needs: Graph, patient: set[str], ended: dict[str, str], name: str, end: str, skipped: list[str]) -> None:
    """Note an end in the model, and check what the plan says it has skipped."""
    assert name not in ended
    ended[name] = end
    lost: set[str] = set()
    hit = {name}
    while hit:  # the patient bear it that what they wait for does not come about
        hit = {n for n in needs if hit & set(needs[n]) and n not in ended and n not in lost and n not in patient}
        lost |= hit
    assert sorted(skipped) == (sorted(lost) if end != "complete" else [])
    ended.update(dict.fromkeys(skipped, "skip"))


@given(graphs())
def test_orders_and_groups_respect_every_dependency(needs: Graph) -> None:
    plan = Plan(needs)
    order = plan.execution_order()
    assert sorted(order) == sorted(needs)
    place = {name: index for index, name in enumerate(order)}
    assert all(place[other] < place[name] for name in needs for other in needs[name])
    groups = plan.parallel_groups()
    assert [name for group in groups for name in group] == order
    level = {name: index for index, group in enumerate(groups) for name in group}
    for name in needs:
        assert level[name] == max((level[other] + 1 for other in needs[name]), default=0)


@given(graphs(), st.data())
def test_the_longest_path_is_a_path_and_none_is_longer(needs: Graph, data: st.DataObject) -> None:
    weights = {name: float(data.draw(st.integers(0, 100))) for name in needs}
    path = Plan(needs).longest_path(weights)
    assert all(before in needs[name] for before, name in itertools.pairwise(path))
    best: dict[str, float] = {}
    for name in Plan(needs).execution_order():
        best[name] = weights[name] + max((best[other] for other in needs[name]), default=0)
    assert sum(weights[name] for name in path) == max(best.values(), default=0)


_VERBS = ("start", "complete", "retry", "fail", "skip")
_LEGAL: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("start", "skip"),
    ("start",): ("complete", "retry", "fail"),
    ("start", "retry"): ("start", "fail"),
    ("start", "retry", "start"): ("complete", "retry", "fail"),
    ("start", "complete"): (),
    ("start", "fail"): (),
    ("start", "retry", "fail"): (),
    ("skip",): (),
}


@pytest.mark.parametrize(("past", "verb"), [(past, verb) for past in _LEGAL for verb in _VERBS])
def test_every_other_move_is_a_state_error_that_changes_nothing(past: tuple[str, ...], verb: str) -> None:
    plan = Plan({"task": []})
    for step in past:
        getattr(plan, step)("task")
    before = plan.status("task"), plan.over
    if verb in _LEGAL[past]:
        getattr(plan, verb)("task")
        assert plan.status("task") is not before[0]
        return
    with pytest.raises(StateError, match="'task' cannot go from"):
        getattr(plan, verb)("task")
    assert (plan.status("task"), plan.over) == before


@dataclass
class Bad:
    needs: Graph
    error: type[Exception]
    words: str


@pytest.mark.parametrize(
    "bad",
    [
        Bad({"a": ["a"]}, CycleError, "circle: a -> a "),
        Bad({"x": [], "a": ["c", "x"], "b": ["a"], "c": ["b"]}, CycleError, "circle: a -> c -> b -> a "),
        Bad({"a": ["b"], "b": ["c"], "c": ["b"]}, CycleError, "circle: b -> c -> b "),
        Bad({f"t{n}": [f"t{(n + 1) % 5000}"] for n in range(5000)}, CycleError, "(5000 tasks) -> t0 "),
        Bad({"build": [], "test": ["biuld"]}, DependencyResolutionError, "'test' depends on 'biuld', which is no task"),
        Bad({"build": [], "test": ["biuld"]}, DependencyResolutionError, "did you mean 'build'?"),
        Bad({"build": [], "test": ["zzz"]}, DependencyResolutionError, "add it, or depend on one of these: 'build'"),
    ],
    ids=lambda bad: bad.words,
)
def test_a_graph_that_cannot_be_ordered_is_refused_with_the_place(bad: Bad) -> None:
    with pytest.raises(bad.error) as caught:
        Plan(bad.needs)
    assert bad.words in str(caught.value)


@pytest.mark.parametrize(
    "needs",
    [
        {f"t{n}": [f"t{n - 1}"] if n else [] for n in range(100_000)},
        {f"t{n}": ["t0"] if n else [] for n in range(100_000)},
        {f"t{n}": [] for n in range(100_000)} | {"last": [f"t{n}" for n in range(100_000)]},
    ],
    ids=["a chain", "all on one", "one on all"],
)
def test_a_hundred_thousand_tasks_need_no_recursion(needs: Graph) -> None:
    """G3"""
    plan = Plan(needs)
    assert len(plan.execution_order()) == len(needs)
    first = plan.take()
    assert first is not None
    plan.start(first)
    skipped = plan.fail(first)
    assert len(skipped) == sum(bool(dependencies) for dependencies in needs.values())
    assert len(plan.longest_path(dict.fromkeys(needs, 1.0))) == len(plan.parallel_groups())


def test_a_diamond_joins_once() -> None:
    plan = Plan({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})
    for name in ("a", "b", "c"):
        assert plan.take() == name or name == "c"
        if name == "b":
            assert plan.take() == "c"
        plan.start(name)
        plan.complete(name)
    assert [plan.take(), plan.take()] == ["d", None]


def test_statuses_travel() -> None:
    """The members' hash is by identity, which pickling must keep."""
    import pickle

    table: Any = {status: status.value for status in TaskStatus}
    assert pickle.loads(pickle.dumps(table)) == table
    assert all(pickle.loads(pickle.dumps(status)) is status for status in TaskStatus)
