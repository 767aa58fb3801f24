"""What tasks hand to each other."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from orchestrator import (
    CycleError,
    DependencyResolutionError,
    Task,
    TaskResult,
    Workflow,
    result_of,
)
from tests.workflow.acts import lasting
from tests.workflow.steered import statuses, values


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


class AnswersToEverything:
    """Have every attribute that is asked for, as the methods of an XML-RPC proxy do."""

    def __getattr__(self, name: str) -> AnswersToEverything:
        return AnswersToEverything()

    def __call__(self) -> AnswersToEverything:
        return self


def test_an_action_or_a_value_that_has_every_attribute_is_taken_for_what_it_is() -> None:
    action = AnswersToEverything()
    assert Workflow(tasks=[Task("a", action)]).run()["a"].value is action


def test_a_function_that_says_it_wraps_itself_is_looked_at_once() -> None:
    def act() -> int:
        return 1

    act.__wrapped__ = act  # type: ignore[attr-defined]
    assert values(Workflow(tasks=[Task("a", act)]).run()) == {"a": 1}


def test_a_cached_function_gets_all_results_too() -> None:
    class Cache:
        """Wrap a function in an object, as functools.cache does."""

        def __init__(self, function: Callable[..., Any]) -> None:
            functools.update_wrapper(self, function)
            self.function = function

        def __call__(self, **kwargs: Any) -> Any:
            return self.function(**kwargs)

    def count(_task_results: dict[str, TaskResult]) -> int:
        return len(_task_results)

    flow = Workflow(tasks=[Task("a", int), Task("b", Cache(count), dependencies={"a"})])
    assert values(flow.run()) == {"a": 0, "b": 1}
