"""Run scripts and callables over worker processes: every task ends in exactly one outcome.

The public names. Each is loaded on first use, so that `import orchestrator` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.dag.model import Task, TaskResult, TaskStatus
    from orchestrator.dag.patterns import chain, fan_out_fan_in, parallel
    from orchestrator.dag.references import result_of
    from orchestrator.dag.workflow import Workflow
    from orchestrator.events import Event, Finished, Listener, Retrying, Started
    from orchestrator.exceptions import (
        ConcurrencyError,
        CycleError,
        DependencyResolutionError,
        OrchestratorTimeoutError,
        StateError,
        StepError,
        TaskFailedError,
        UnsendableError,
        WorkflowError,
    )
    from orchestrator.limits import Limits
    from orchestrator.outcome import Ending
    from orchestrator.parallel_runner import (
        BatchRunner,
        ParallelRunner,
        run_function,
        run_parallel,
        run_parallel_async,
        run_script,
    )
    from orchestrator.pool.pool import Pool
    from orchestrator.results import ExecutionResult
    from orchestrator.retries import RetryPolicy, with_retry

__version__ = "0.1.7"

__all__ = [
    "BatchRunner",
    "ConcurrencyError",
    "CycleError",
    "DependencyResolutionError",
    "Ending",
    "Event",
    "ExecutionResult",
    "Finished",
    "Limits",
    "Listener",
    "OrchestratorTimeoutError",
    "ParallelRunner",
    "Pool",
    "RetryPolicy",
    "Retrying",
    "Started",
    "StateError",
    "StepError",
    "Task",
    "TaskFailedError",
    "TaskResult",
    "TaskStatus",
    "UnsendableError",
    "Workflow",
    "WorkflowError",
    "chain",
    "fan_out_fan_in",
    "parallel",
    "result_of",
    "run_function",
    "run_parallel",
    "run_parallel_async",
    "run_script",
    "with_retry",
]

_HOMES = {
    "events": ("Event", "Finished", "Listener", "Retrying", "Started"),
    "exceptions": (
        "ConcurrencyError",
        "CycleError",
        "DependencyResolutionError",
        "OrchestratorTimeoutError",
        "StateError",
        "StepError",
        "TaskFailedError",
        "UnsendableError",
        "WorkflowError",
    ),
    "limits": ("Limits",),
    "outcome": ("Ending",),
    "parallel_runner": (
        "BatchRunner",
        "ParallelRunner",
        "run_function",
        "run_parallel",
        "run_parallel_async",
        "run_script",
    ),
    "pool.pool": ("Pool",),
    "results": ("ExecutionResult",),
    "retries": ("RetryPolicy", "with_retry"),
    "dag.model": ("Task", "TaskResult", "TaskStatus"),
    "dag.patterns": ("chain", "fan_out_fan_in", "parallel"),
    "dag.references": ("result_of",),
    "dag.workflow": ("Workflow",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
