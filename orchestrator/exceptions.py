"""Every exception the package raises on purpose.

A task's failure is a result, never an exception of the runner; these are for misuse, contention, and
for callers who ask for an exception (`ExecutionResult.unwrap`, `fail_fast` workflows). Each message says
what was being done, to which task, and what to do about it.
"""

from __future__ import annotations

from typing import Any

from workers.interrupt import OrchestratorTimeoutError

__all__ = [
    "ConcurrencyError",
    "ConfigError",
    "CycleError",
    "DependencyResolutionError",
    "OrchestratorTimeoutError",
    "PipelineError",
    "StateError",
    "StepError",
    "StoreError",
    "TaskFailedError",
    "UnsendableError",
    "WorkflowError",
]


class WorkflowError(Exception):
    """Base of the errors of a workflow's definition and run."""


class PipelineError(WorkflowError, ValueError):
    """Report a pipeline that makes no sense: unknown or repeated names, empty commands, a condition that is none."""


class CycleError(WorkflowError):
    """Report that tasks depend on each other in a circle; the message holds the path."""


class TaskFailedError(WorkflowError):
    """Report that a task failed for good: hard, or after its last attempt.

    `result` is what the failed task ended with; `results` holds everything known when it was raised.
    """

    def __init__(self, message: str, result: Any = None, results: Any = None) -> None:
        super().__init__(message)
        self.result = result
        self.results = results


class StepError(Exception):
    """Report that a step of a thin one-liner failed; `result` is its ExecutionResult."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class StateError(Exception):
    """Report a transition that a state machine does not have."""


class DependencyResolutionError(Exception):
    """Report a dependency on a task that was never declared."""


class ConcurrencyError(Exception):
    """Report contention for workers: a full queue, workers that cannot be started, too deep nesting."""


class StoreError(Exception):
    """Report a store that cannot be used or written: broken, foreign, of another's, read-only, on a full disk."""


class UnsendableError(TypeError):
    """Report a callable or argument that cannot be pickled, naming the member that cannot."""


class ConfigError(ValueError):
    """Report a mistake in a config file, a script's own table or a variable: where it is, and what is allowed."""
