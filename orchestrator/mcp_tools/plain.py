"""The tools that need no server: plain functions, whose arguments and answers are JSON, or a dataclass that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.dag.plan import Plan
from orchestrator.exceptions import WorkflowError
from orchestrator.jobs.model import SchedulerMetrics
from orchestrator.scheduler import live_metrics


def get_scheduler_metrics() -> SchedulerMetrics:
    """Return what this process's schedulers are doing, taken together: zeros when none is open.

    Its fields are `active_jobs`, which run now; `queued_jobs`, which wait; `completed_jobs` and `failed_jobs`, which
    have ended (with a store, also in earlier times); and `throughput_per_second`, how many ended per second in the last
    minute.

    >>> get_scheduler_metrics().active_jobs
    0
    """
    return live_metrics()


def analyze_workflow_dependencies(tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Check that tasks can be put in an order, and return it.

    `tasks` are objects with an `id` and, where they wait for others, `depends_on`, a list of ids. The answer has
    `execution_order`, the ids so that each comes after all it depends on, and `parallel_groups`, lists of ids that
    could run at the same time, the first ones first.

    Raises CycleError with the path of a circle, DependencyResolutionError for an id that is no task,
    WorkflowError for an id that is there twice, TypeError or ValueError for input of another form.

    >>> analyze_workflow_dependencies([{"id": "test", "depends_on": ["build"]}, {"id": "build"}])
    {'execution_order': ['build', 'test'], 'parallel_groups': [['build'], ['test']]}
    """
    if isinstance(tasks, (str, bytes, Mapping)) or not isinstance(tasks, Sequence):
        raise TypeError(f"tasks must be a list of objects with an id, not {tasks!r:.200}")
    needs: dict[str, list[str]] = {}
    for place, task in enumerate(tasks):
        name, dependencies = _read(place, task)
        if name in needs:
            raise WorkflowError(f"tasks[{place}]: there is a task {name!r} already; ids must be unique")
        needs[name] = dependencies
    plan = Plan(needs)
    return {"execution_order": plan.execution_order(), "parallel_groups": plan.parallel_groups()}


def _read(place: int, task: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return a task's id and what it depends on."""
    if not isinstance(task, Mapping):
        raise TypeError(f"tasks[{place}] must be an object with an id, not {task!r:.200}")
    name = task.get("id")
    if not isinstance(name, str) or not name:
        raise ValueError(f"tasks[{place}] needs an 'id', text that is not empty; it has {name!r:.200}")
    unknown = task.keys() - {"id", "depends_on"}
    if "dependencies" in unknown or "dependsOn" in unknown:
        raise ValueError(f"tasks[{place}] ({name!r}): the list of ids it waits for is called 'depends_on'")
    dependencies = task.get("depends_on")
    if dependencies is None:
        return name, []
    if not isinstance(dependencies, (list, tuple, set, frozenset)) or not all(isinstance(d, str) for d in dependencies):
        raise TypeError(f"tasks[{place}] ({name!r}): depends_on must be a list of ids, not {dependencies!r:.200}")
    return name, list(dict.fromkeys(dependencies))
