"""The three shapes most workflows have, each made in one call. The tasks given are copied, never changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.dag.model import Task
from orchestrator.dag.workflow import Workflow


def chain(*tasks: Task, **options: Any) -> Workflow:
    """Make a workflow in which each task depends on the one before. The keyword options are those of Workflow.

    >>> chain(Task("a", int), Task("b", int), Task("c", int)).execution_order()
    ['a', 'b', 'c']
    """
    copies: list[Task] = []
    for task in _checked(tasks):
        copies.append(_depending(task, [copies[-1].name] if copies else []))
    return Workflow(tasks=copies, **options)


def parallel(*tasks: Task, **options: Any) -> Workflow:
    """Make a workflow of tasks that wait for nothing but what they declare. The options are those of Workflow.

    >>> parallel(Task("a", int), Task("b", int)).parallel_groups()
    [['a', 'b']]
    """
    return Workflow(tasks=[dataclasses.replace(task) for task in _checked(tasks)], **options)


def fan_out_fan_in(fan_out: Sequence[Task], fan_in: Task, **options: Any) -> Workflow:
    """Make a workflow in which one task depends on all the others. The keyword options are those of Workflow.

    >>> fan_out_fan_in([Task("a", int), Task("b", int)], Task("sum", int)).parallel_groups()
    [['a', 'b'], ['sum']]
    """
    spread = [dataclasses.replace(task) for task in _checked(fan_out)]
    (last,) = _checked([fan_in])
    return Workflow(tasks=[*spread, _depending(last, [task.name for task in spread])], **options)


def _depending(task: Task, names: Iterable[str]) -> Task:
    return dataclasses.replace(task, dependencies=task.dependencies.union(names))


def _checked(tasks: Iterable[Task]) -> list[Task]:
    listed = list(tasks)
    for task in listed:
        if not isinstance(task, Task):
            raise TypeError(f"a workflow is made of Task objects, not {task!r}; lists of them are unpacked with *")
    return listed
