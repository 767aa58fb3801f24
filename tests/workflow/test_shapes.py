"""The patterns, the pictures, the table, and the analysis for agents."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator import (
    CycleError,
    DependencyResolutionError,
    RetryPolicy,
    Task,
    TaskResult,
    Workflow,
    WorkflowError,
    chain,
    fan_out_fan_in,
    mcp_tools,
    parallel,
)
from orchestrator.mcp_tools import analyze_workflow_dependencies


def test_patterns_depend_as_they_say_and_leave_the_callers_tasks_alone() -> None:
    first, second, third = tasks = [Task("a", int), Task("b", int, dependencies={"a"}), Task("c", int)]
    assert chain(*tasks).parallel_groups() == [["a"], ["b"], ["c"]]
    assert parallel(*tasks).parallel_groups() == [["a", "c"], ["b"]]
    assert fan_out_fan_in([first, third], Task("sum", int)).parallel_groups() == [["a", "c"], ["sum"]]
    assert [task.dependencies for task in tasks] == [set(), {"a"}, set()]
    assert all(task.owner is None for task in tasks)
    Workflow(tasks=[first, second])


def test_patterns_take_the_options_of_a_workflow_and_nothing_else() -> None:
    assert chain(Task("a", int), name="mine").name == "mine"
    assert chain().run() == {}
    with pytest.raises(TypeError, match="unexpected keyword argument 'fast'"):
        parallel(fast=True)
    with pytest.raises(TypeError, match="unpacked with"):
        chain([Task("a", int)])  # type: ignore[arg-type]
    with pytest.raises(WorkflowError, match="already has a task 'a'"):
        parallel(Task("a", int), Task("a", int))


def _results() -> tuple[Workflow, dict[str, TaskResult]]:
    policy = RetryPolicy(max_attempts=2, initial_delay=0)
    flow = Workflow(
        tasks=[
            Task("fetch", int),
            Task('parse\n"it"', [].pop, dependencies={"fetch"}, retry_policy=policy),
            Task("report", int, dependencies={'parse\n"it"'}),
        ]
    )
    return flow, flow.run()


def test_the_mermaid_chart_has_every_task_and_edge_and_no_name_can_break_it() -> None:
    flow, results = _results()
    chart = flow.to_mermaid()
    assert chart == (
        "flowchart LR\n"
        '    t0["fetch"]\n'
        '    t1["parse#92;n#34;it#34;"]\n'
        '    t2["report"]\n'
        "    t0 --> t1\n"
        "    t1 --> t2\n"
    )
    coloured = flow.to_mermaid(results)
    assert re.search(r't0\["fetch<br>\d+ ms"\]:::completed', coloured)
    assert re.search(r'ms, 2 attempts"\]:::failed', coloured)
    assert 't2["report"]:::skipped' in coloured
    assert coloured.count("classDef") == 3


def test_the_dot_graph_has_every_task_and_edge_and_no_name_can_break_it() -> None:
    flow, results = _results()
    graph = flow.to_dot(results)
    assert graph.startswith("digraph workflow {")
    assert graph.endswith("}\n")
    assert '"fetch" -> "parse\\n\\"it\\""' in graph
    assert graph.count("fillcolor=") == 4


def test_pictures_of_a_workflow_that_is_not_sound_are_refused() -> None:
    flow = Workflow(tasks=[Task("a", int, dependencies={"b"})])
    for draw in (flow.to_mermaid, flow.to_dot, flow.execution_order, flow.parallel_groups, flow.summary):
        with pytest.raises(DependencyResolutionError):
            draw()


def test_the_summary_has_a_line_for_every_task_and_the_totals() -> None:
    flow, results = _results()
    lines = flow.summary().splitlines()
    assert lines[0].split() == ["task", "status", "attempts", "start", "wall", "CPU", "peak"]
    assert "completed" in lines[1]
    assert "failed (raised)" in lines[2]
    assert "skipped" in lines[3]
    assert re.fullmatch(r"3 tasks: 1 completed, 1 failed, 1 skipped in \d+ ms", lines[5])
    assert lines[6].startswith("longest path: fetch")
    assert "2 not run" in flow.summary({"fetch": results["fetch"]})


def test_the_critical_path_is_the_chain_that_took_the_longest() -> None:
    tasks = [Task(name, int) for name in "abcd"]
    tasks[2].dependencies = {"a", "b"}
    tasks[3].dependencies = {"c"}
    flow = Workflow(tasks=tasks)
    seconds = {"a": 1.0, "b": 5.0, "c": 1.0, "d": 1.0}
    results = {name: TaskResult(True, execution_time=time) for name, time in seconds.items()}
    assert flow.critical_path(results) == ["b", "c", "d"]
    assert flow.critical_path() == ["a"]  # nothing has run: no time was spent anywhere


def test_the_analysis_gives_the_order_and_the_groups() -> None:
    tasks: list[dict[str, Any]] = [
        {"id": "deploy", "depends_on": ["test", "lint"]},
        {"id": "build", "depends_on": []},
        {"id": "test", "depends_on": ["build", "build"], "note": "other keys are the caller's"},
        {"id": "lint"},
    ]
    assert analyze_workflow_dependencies(tasks) == {
        "execution_order": ["build", "lint", "test", "deploy"],
        "parallel_groups": [["build", "lint"], ["test"], ["deploy"]],
    }
    assert analyze_workflow_dependencies([]) == {"execution_order": [], "parallel_groups": []}
    assert importlib.import_module("codomyrmex.orchestrator.mcp_tools") is mcp_tools


@pytest.mark.parametrize(
    ("tasks", "error", "words"),
    [
        ([{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}], CycleError, "a -> b -> a"),
        ([{"id": "a", "depends_on": ["a"]}], CycleError, "a -> a"),
        ([{"id": "build"}, {"id": "a", "depends_on": ["bild"]}], DependencyResolutionError, "did you mean 'build'"),
        ([{"id": "a"}, {"id": "a"}], WorkflowError, r"tasks\[1\]: there is a task 'a' already"),
        ([{"name": "a"}], ValueError, r"tasks\[0\] needs an 'id'"),
        ([{"id": 3}], ValueError, "it has 3"),
        ([{"id": "a", "depends_on": "build"}], TypeError, "list of ids, not 'build'"),
        ([{"id": "a", "depends_on": [3]}], TypeError, r"list of ids, not \[3\]"),
        ([{"id": "a", "dependencies": ["b"]}], ValueError, "called 'depends_on'"),
        (["a"], TypeError, r"tasks\[0\] must be an object"),
        ({"id": "a"}, TypeError, "must be a list"),
    ],
)
def test_the_analysis_names_what_is_wrong_and_where(tasks: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        analyze_workflow_dependencies(tasks)


@pytest.mark.parametrize("pattern", [chain, parallel, lambda *tasks: fan_out_fan_in(list(tasks), Task("end", int))])
def test_a_pattern_of_a_thousand_tasks_runs(pattern: Callable[..., Workflow]) -> None:
    results = pattern(*(Task(f"t{number}", int) for number in range(1000))).run()
    assert all(result.success for result in results.values())
