"""A workflow file as a Workflow: a task for each job, or for each combination of its matrix, wired by `needs`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.dag.model import Task
from orchestrator.dag.workflow import Workflow
from orchestrator.exceptions import ConfigError
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.pipelines.actions.concurrency import turn_of
from orchestrator.pipelines.actions.expressions import ExpressionError, Scope, Value
from orchestrator.pipelines.actions.gate import JobGate, Plan, base_contexts
from orchestrator.pipelines.actions.group import Group
from orchestrator.pipelines.actions.host import Host
from orchestrator.pipelines.actions.jobs import (
    JobAction,
    combinations_of,
    contexts_of_matrix,
    flag,
    group_name,
    group_of,
)
from orchestrator.pipelines.actions.matrix import label
from orchestrator.pipelines.actions.model import JobDefinition, WorkflowFile
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.flow import ancestors_of, at_once


def workflow_of(
    file: WorkflowFile, host: Host, cancellation: Cancellation, limits: Limits = NO_LIMITS, **options: Any
) -> Workflow:
    """Return the workflow that runs the jobs of a file.

    The value of a task is an ExecutionResult, whose `stages` are the steps. `limits` are the most that a job may use in
    time, and each of its steps in memory, whatever they say themselves. The keyword options are those of Workflow.

    Raises ConfigError for a matrix that is none.
    """
    ancestors = ancestors_of({job.id: job.needs for job in file.jobs.values()})
    tasks: dict[str, tuple[str, ...]] = {}
    at_a_time = options.get("max_concurrency") or at_once(256)
    plan = Plan(file, host, limits, cancellation, at_a_time, tasks, ancestors)
    actions: list[tuple[JobDefinition, JobAction]] = []
    taken: set[str] = set()
    for job in file.jobs.values():
        made = list(_actions(plan, job, taken))
        tasks[job.id] = tuple(action.name for action in made)
        actions += [(job, action) for action in made]
    flow = Workflow(file.name, **{"max_concurrency": at_once(len(actions)), **options})
    for job, action in actions:
        needs = {name for other in job.needs for name in tasks[other]}
        flow.add_task(Task(action.name, action, dependencies=needs, condition=action.gate, trigger_rule="all_done"))
    return flow


def _actions(plan: Plan, job: JobDefinition, taken: set[str]) -> Iterator[JobAction]:
    """Yield what a job runs, each under a name that nobody has."""
    contexts = base_contexts(plan.host, job.id)
    if contexts_of_matrix(job) & {"needs"} or job.refusal is not None:
        alone = Group(fail_fast=False, max_parallel=None)
        yield JobAction(plan, job, _new(job.id, taken), JobGate(plan, job, None), None, alone, (0, 1))
        return
    try:
        found = combinations_of(job, contexts)
        group = group_of(job, contexts)
        titles = [_title(job, {**contexts, "matrix": dict(matrix)}, matrix) for matrix in found]
    except (ExpressionError, ConfigError) as error:
        raise ConfigError(f"{job.place}: {error}") from None
    for place, matrix in enumerate(found):
        gate = JobGate(plan, job, matrix)
        yield JobAction(plan, job, _new(titles[place], taken), gate, matrix, group, (place, len(found)))


def _title(job: JobDefinition, contexts: Mapping[str, Value], matrix: Mapping[str, Value]) -> str:
    """Return what a combination is called: as on GitHub by its values, unless the job's name tells them."""
    name = job.id
    if job.name is not None and job.name.contexts <= contexts.keys():
        name = " ".join(job.name.fill(Scope(contexts, {})).split()) or job.id
        if not job.name.is_plain:
            return name
    return f"{name} ({label(matrix)})" if matrix else name


def _new(name: str, taken: set[str]) -> str:
    """Return the name, numbered if it is taken."""
    number, new = 1, name
    while new in taken:
        number += 1
        new = f"{name} ({number})"
    taken.add(new)
    return new


@contextlib.contextmanager
def turn_of_file(file: WorkflowFile, host: Host, cancellation: Cancellation) -> Iterator[None]:
    """Wait until no other run of the file's concurrency group is under way, and be it while the context lasts.

    Raises Superseded when a newer run came while this one waited, ConcurrencyError where groups cannot meet,
    ConfigError for a group whose name cannot be worked out.
    """
    if file.concurrency is None:
        yield
        return
    contexts: Mapping[str, Value] = base_contexts(host, "")
    try:
        group = group_name(host, file.concurrency, contexts)
        cancel = flag(file.concurrency.cancel_in_progress, contexts)
    except ExpressionError as error:
        raise ConfigError(f"{file.path}: concurrency: {error}") from None
    stop, asked = cancellation.request, lambda: cancellation.requested
    with turn_of(group, cancel_in_progress=cancel, cancelled=asked, stop=stop):
        yield
