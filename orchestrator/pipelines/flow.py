"""A pipeline as a Workflow: a task for each stage, wired in their order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.dag.model import Task
from orchestrator.dag.workflow import Workflow
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.model import PipelineConfig
from orchestrator.pipelines.stage import Gate, Stage, Surroundings
from orchestrator.retries import policy_of

_MOST_AT_ONCE = 256


def create_pipeline_workflow(
    config: PipelineConfig,
    *,
    artifacts: str | os.PathLike[str] | None = None,
    limits: Limits = NO_LIMITS,
    cancellation: Cancellation | None = None,
    **options: Any,
) -> Workflow:
    """Return a workflow with a task for each stage, in order, that runs as the pipeline says.

    The value of a stage's task is an ExecutionResult; a failed one has it in its error. `artifacts` is a folder where
    the stages' artifacts are copied to, each stage's in a folder of its own; `limits` are the most that a stage may
    use, whatever it says itself. The keyword options are those of Workflow; without `max_concurrency` stages that may
    run at once do, up to 256. A request of the `cancellation` stops what runs and starts no more, but for stages whose
    condition holds in a cancelled run too (`always()`, `cancelled()`).

    Raises TypeError for what is no pipeline; and, if it was changed after it was made, what making it raises.
    """
    if not isinstance(config, PipelineConfig):
        raise TypeError(f"a pipeline must be a PipelineConfig, not {config!r:.200}")
    needs = config.needs()
    around = Surroundings(
        env=config.env,
        cwd=os.path.abspath(config.cwd or os.curdir),
        artifacts=None if artifacts is None else os.path.abspath(artifacts),
        limits=limits,
        cancellation=cancellation or Cancellation(),
    )
    ancestors = ancestors_of(needs)
    allowed = frozenset(stage.name for stage in config.stages if stage.allow_failure)
    tasks = []
    for stage in map(replace, config.stages):  # made anew: what was changed since then is checked
        gate = Gate(stage, ancestors[stage.name], allowed, around)
        retries = policy_of(stage.attempts - 1, None)
        tasks.append(
            Task(
                stage.name,
                Stage(stage, gate, around),
                dependencies=set(needs[stage.name]),
                retry_policy=retries,
                condition=gate,
                trigger_rule="all_done",
            )
        )
    defaults = {"timeout": config.timeout, "max_concurrency": at_once(len(tasks))}
    return Workflow(config.name, tasks=tasks, **{**defaults, **options})


def at_once(tasks: int) -> int:
    """Return how many of so many tasks run at a time if nobody says it: all, but no avalanche."""
    return max(1, min(tasks, _MOST_AT_ONCE))


def ancestors_of(needs: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Return for each name all that it waits for, directly or not; in a graph without circles.

    >>> sorted(ancestors_of({"c": ["b"], "b": ["a"], "a": []})["c"])
    ['a', 'b']
    """
    found: dict[str, frozenset[str]] = {}
    todo = list(needs)
    while todo:
        missing = [other for other in needs[todo[-1]] if other not in found]
        if missing:
            todo += missing
            continue
        name = todo.pop()
        if name not in found:
            found[name] = frozenset(needs[name]).union(*(found[other] for other in needs[name]))
    return found
