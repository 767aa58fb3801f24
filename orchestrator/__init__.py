"""Run scripts and callables over worker processes: every task ends in exactly one outcome.

The public names. Each is loaded on first use, so that `import orchestrator` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.agents import AgentOrchestrator, run_agent_task
    from orchestrator.async_runner import AsyncExecutionResult, AsyncParallelRunner, AsyncTaskResult
    from orchestrator.cli.interactive import run_orchestrator
    from orchestrator.cli.registry import cli_commands
    from orchestrator.config import get_script_config, load_config
    from orchestrator.dag.model import Task, TaskResult, TaskStatus
    from orchestrator.dag.patterns import chain, fan_out_fan_in, parallel
    from orchestrator.dag.references import result_of
    from orchestrator.dag.workflow import Workflow
    from orchestrator.discovery import discover_scripts
    from orchestrator.events import Event, Finished, Listener, Printed, Retrying, Started
    from orchestrator.exceptions import (
        ConcurrencyError,
        ConfigError,
        CycleError,
        DependencyResolutionError,
        OrchestratorTimeoutError,
        PipelineError,
        StateError,
        StepError,
        StoreError,
        TaskFailedError,
        UnsendableError,
        WorkflowError,
    )
    from orchestrator.jobs.model import AsyncJob, AsyncJobStatus, SchedulerMetrics
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
    from orchestrator.pipelines.bridge import CICDBridge, OrchestratorBridge, run_ci_stage
    from orchestrator.pipelines.flow import create_pipeline_workflow
    from orchestrator.pipelines.model import PipelineConfig, StageConfig
    from orchestrator.pool.pool import Pool
    from orchestrator.results import ExecutionResult
    from orchestrator.retries import RetryPolicy, with_retry
    from orchestrator.scheduler import AsyncScheduler
    from orchestrator.steps import StepResult, Steps, step, workflow
    from orchestrator.thin import (
        batch,
        chain_scripts,
        condition,
        pipe,
        python_func,
        retry,
        run,
        run_async,
        shell,
        timeout,
    )

__version__ = "0.1.7"

__all__ = [
    "AgentOrchestrator",
    "AsyncExecutionResult",
    "AsyncJob",
    "AsyncJobStatus",
    "AsyncParallelRunner",
    "AsyncScheduler",
    "AsyncTaskResult",
    "BatchRunner",
    "CICDBridge",
    "ConcurrencyError",
    "ConfigError",
    "CycleError",
    "DependencyResolutionError",
    "Ending",
    "Event",
    "ExecutionResult",
    "Finished",
    "Limits",
    "Listener",
    "OrchestratorBridge",
    "OrchestratorTimeoutError",
    "ParallelRunner",
    "PipelineConfig",
    "PipelineError",
    "Pool",
    "Printed",
    "RetryPolicy",
    "Retrying",
    "SchedulerMetrics",
    "StageConfig",
    "Started",
    "StateError",
    "StepError",
    "StepResult",
    "Steps",
    "StoreError",
    "Task",
    "TaskFailedError",
    "TaskResult",
    "TaskStatus",
    "UnsendableError",
    "Workflow",
    "WorkflowError",
    "batch",
    "chain",
    "chain_scripts",
    "cli_commands",
    "condition",
    "create_pipeline_workflow",
    "discover_scripts",
    "fan_out_fan_in",
    "get_script_config",
    "load_config",
    "parallel",
    "pipe",
    "python_func",
    "result_of",
    "retry",
    "run",
    "run_agent_task",
    "run_async",
    "run_ci_stage",
    "run_function",
    "run_orchestrator",
    "run_parallel",
    "run_parallel_async",
    "run_script",
    "shell",
    "step",
    "timeout",
    "with_retry",
    "workflow",
]

_HOMES = {
    "agents": ("AgentOrchestrator", "run_agent_task"),
    "async_runner": ("AsyncExecutionResult", "AsyncParallelRunner", "AsyncTaskResult"),
    "cli.interactive": ("run_orchestrator",),
    "cli.registry": ("cli_commands",),
    "config": ("get_script_config", "load_config"),
    "discovery": ("discover_scripts",),
    "events": ("Event", "Finished", "Listener", "Printed", "Retrying", "Started"),
    "exceptions": (
        "ConfigError",
        "ConcurrencyError",
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
    ),
    "jobs.model": ("AsyncJob", "AsyncJobStatus", "SchedulerMetrics"),
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
    "pipelines.bridge": ("CICDBridge", "OrchestratorBridge", "run_ci_stage"),
    "pipelines.flow": ("create_pipeline_workflow",),
    "pipelines.model": ("PipelineConfig", "StageConfig"),
    "pool.pool": ("Pool",),
    "results": ("ExecutionResult",),
    "retries": ("RetryPolicy", "with_retry"),
    "scheduler": ("AsyncScheduler",),
    "steps": ("StepResult", "Steps", "step", "workflow"),
    "thin": (
        "batch",
        "chain_scripts",
        "condition",
        "pipe",
        "python_func",
        "retry",
        "run",
        "run_async",
        "shell",
        "timeout",
    ),
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
