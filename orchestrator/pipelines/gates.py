"""Whether a stage or a job runs, by what came of those before it. Pure, but for what a condition of the user's does.

The status functions of GitHub's expressions: `success()` when nothing that it waits for, directly or not, has failed;
`failure()` when something has; `cancelled()` when the run was cancelled; `always()`. What was allowed to fail has not
failed, and what its own condition has skipped counts as neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from orchestrator.dag.model import TaskResult, carried
from orchestrator.outcome import Ending
from orchestrator.pipelines.actions.expressions import Value
from orchestrator.results import ExecutionResult

Function = Callable[[Sequence[Value]], Value]


class Status(Enum):
    """What came of a stage, a job or a step, in GitHub's words."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


def status_of(result: ExecutionResult | TaskResult) -> Status:
    """Return what came of it, whether it was allowed to fail or not."""
    if result.success:
        return Status.SUCCESS
    if result.ending is Ending.SKIPPED:
        return Status.SKIPPED
    return Status.CANCELLED if result.ending is Ending.CANCELLED else Status.FAILURE


def execution_of(result: TaskResult) -> ExecutionResult | None:
    """Return the result that the action of a task has returned, also where it made the task fail."""
    own = result.value if result.success else carried(result.exception)
    return own if isinstance(own, ExecutionResult) else None


def is_tolerated(result: TaskResult) -> bool:
    """Whether a task was allowed to fail as it did."""
    own = execution_of(result)
    return own is not None and own.tolerated


def status_functions(*, success: bool, failure: bool, cancelled: bool) -> dict[str, Function]:
    """Return the status functions, as the expressions of a condition call them."""
    answers: Mapping[str, bool] = {"success": success, "failure": failure, "cancelled": cancelled, "always": True}
    return {name: _constant(answer) for name, answer in answers.items()}


def _constant(answer: bool) -> Function:
    def call(_arguments: Sequence[Value]) -> Value:
        return answer

    return call
