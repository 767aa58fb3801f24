"""Steps: pieces of a workflow that are put together with `>>` (then) and `|` (beside).

`(step("a", f) >> (step("b", g) | step("c", h))).run()` runs f, then g and h beside each other.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from orchestrator.dag.model import Task, TaskResult, carried
from orchestrator.dag.workflow import Workflow
from orchestrator.exceptions import WorkflowError
from orchestrator.in_worker import InWorker
from orchestrator.results import ExecutionResult
from orchestrator.retries import policy_of

_OPTIONS = {field.name for field in fields(Task) if field.init} - {"name", "action"} | {"retries"}


@dataclass
class StepResult:
    """What a step ended with. `duration` is in seconds.

    `output` is what a callable returned; of a command, or of a failed step in a worker process, what it has printed.
    """

    name: str
    success: bool
    output: Any
    error: str | None
    duration: float


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps and their order. `a >> b` runs all of b after all of a, `a | b` both beside each other.

    Made by `step`. Values: composing makes new ones, so that a piece can be used in several workflows.

    >>> fetch, parse, count, mail = (step(name, print) for name in ("fetch", "parse", "count", "mail"))
    >>> (fetch >> (parse | count) >> mail).workflow().parallel_groups()
    [['fetch'], ['parse', 'count'], ['mail']]
    """

    tasks: tuple[Task, ...]
    first: frozenset[str]
    """The names of the steps that wait for none of these."""
    last: frozenset[str]
    """The names of the steps that none of these waits for."""
    tied: frozenset[str] = frozenset()
    """The names of the steps that have named their dependencies themselves: nothing is added to those."""

    def __rshift__(self, other: Steps) -> Steps:
        """Return these steps and then the others."""
        if not isinstance(other, Steps):
            return NotImplemented
        waiting = other.first - other.tied
        later = tuple(
            replace(task, dependencies=task.dependencies | self.last) if task.name in waiting else task
            for task in other.tasks
        )
        awaited = frozenset[str]().union(*(task.needs() for task in later))
        return self._with(other, later, self.first, other.last | (self.last - awaited))

    def __or__(self, other: Steps) -> Steps:
        """Return these steps and the others beside them."""
        if not isinstance(other, Steps):
            return NotImplemented
        return self._with(other, other.tasks, self.first | other.first, self.last | other.last)

    def _with(self, other: Steps, tasks: Iterable[Task], first: frozenset[str], last: frozenset[str]) -> Steps:
        names = {task.name for task in self.tasks}
        for task in other.tasks:
            if task.name in names:
                raise WorkflowError(f"there are two steps named {task.name!r}: give one of them another name")
        return Steps((*self.tasks, *tasks), first, last, self.tied | other.tied)

    def workflow(self, **options: Any) -> Workflow:
        """Return a workflow of these steps. The keyword options are those of Workflow."""
        return Workflow(tasks=[replace(task) for task in self.tasks], **options)

    async def execute(self, **options: Any) -> dict[str, StepResult]:
        """Run the steps and return their results by name. The keyword options are those of Workflow."""
        return _step_results(await self.workflow(**options).execute())

    def run(self, **options: Any) -> dict[str, StepResult]:
        """Do as `execute` does, in an event loop of its own."""
        return _step_results(self.workflow(**options).run())


def step(name: str, action: Callable[..., Any], **options: Any) -> Steps:
    """Make a step of a workflow: anything that can be called, such as what `shell`, `python_func` and `retry` make.

    The keyword options are those of Task (`args`, `kwargs`, `dependencies`, `timeout` in seconds, `memory_limit`,
    `retry_policy`, `condition`, `executor`, `grace`), and `retries`, further attempts at once. A step that names its
    `dependencies` has those only; any other one waits for those before it.

    Raises TypeError or ValueError at once for what makes no sense.
    """
    for option in options.keys() - _OPTIONS:
        close = difflib.get_close_matches(option, _OPTIONS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(_OPTIONS))}"
        raise TypeError(f"step {name!r} has no option {option!r}{hint}")
    if isinstance(action, InWorker):
        action, options = action.as_step(options)
    tied = frozenset({name}) if options.get("dependencies") is not None else frozenset[str]()
    policy = policy_of(options.pop("retries", 0), options.pop("retry_policy", None))
    task = Task(name, action, retry_policy=policy, **options)
    return Steps((task,), frozenset({name}), frozenset({name}), tied)


def workflow(*steps: Steps, **options: Any) -> Workflow:
    """Make a workflow that runs the steps in the order given, each after the one before.

    A step that names its `dependencies` waits for those instead. The keyword options are those of Workflow.

    >>> workflow(step("build", print), step("test", print)).execution_order()
    ['build', 'test']
    """
    for one in steps:
        if not isinstance(one, Steps):
            raise TypeError(f"a workflow is made of steps, not {one!r}: write step(name, action)")
    if not steps:
        return Workflow(**options)
    whole = steps[0]
    for one in steps[1:]:
        whole = whole >> one
    return whole.workflow(**options)


def _step_results(results: dict[str, TaskResult]) -> dict[str, StepResult]:
    return {name: _step_result(result) for name, result in results.items()}


def _step_result(result: TaskResult) -> StepResult:
    value = result.value if result.success else carried(result.exception)
    output = value.output if isinstance(value, ExecutionResult) else value
    if not result.success and output is None:
        output = result.output
    return StepResult(result.name, result.success, output, result.error, result.execution_time)
