"""What a workflow file says, as values: made by `reading`, used by what runs it. Nothing here is evaluated yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.pipelines.actions.expressions import Expression, Template, Value


@dataclass(frozen=True, slots=True)
class Note:
    """Something that will not happen as on GitHub.

    `no-op`: it is read and has no effect. `skipped`: the step is not run, its job goes on. `refused`: the step or job
    cannot be run here. `warning`: it is done, and may be no more what was meant. `place` is "ci.yml, line 12: name".
    """

    kind: Literal["no-op", "skipped", "refused", "warning"]
    place: str
    what: str


@dataclass(frozen=True, slots=True)
class Run:
    """How the `run` steps of a job are run that do not say it themselves."""

    shell: Template | None = None
    working_directory: Template | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """A group of which one runs at a time, and whether a new one stops the one that runs."""

    group: Template
    cancel_in_progress: Template | bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix as written: the texts in its values, on any level, may hold `${{ }}`."""

    axes: Mapping[str, list[Value] | Template]
    include: tuple[Mapping[str, Value], ...] | Template = ()
    exclude: tuple[Mapping[str, Value], ...] | Template = ()


@dataclass(frozen=True, slots=True)
class Strategy:
    """How one definition becomes many jobs; `max_parallel` None is no bound."""

    matrix: Matrix | Template | None = None
    fail_fast: Template | bool = True
    max_parallel: Template | int | None = None


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One step. It has `run`, or `uses` and then one of `skip` and `no_op`; or a `refusal`, whatever else it has."""

    place: str
    number: int
    """From 1."""
    id: str | None
    name: Template | None
    run: Template | None
    shell: Template | None
    working_directory: Template | None
    env: Mapping[str, Template]
    condition: Expression
    continue_on_error: Template | None
    timeout_minutes: Template | None
    uses: str | None
    skip: Note | None
    no_op: Note | None
    refusal: Note | None


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """One job, of which a matrix makes many. `defaults` has the workflow's where the job has none of its own."""

    id: str
    name: Template | None
    needs: tuple[str, ...]
    condition: Expression
    env: Mapping[str, Template]
    defaults: Run
    strategy: Strategy
    timeout_minutes: Template | None
    continue_on_error: Template | None
    outputs: Mapping[str, Template]
    concurrency: Concurrency | None
    steps: tuple[StepDefinition, ...]
    runs_on: tuple[Template, ...]
    refusal: Note | None
    """Why no step of it is run: a container, services, a reusable workflow, secrets."""
    place: str


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """A whole file. `notes` has every note, those of jobs and steps too, in the order of the file."""

    path: str
    name: str
    env: Mapping[str, Template]
    jobs: Mapping[str, JobDefinition]
    concurrency: Concurrency | None
    notes: tuple[Note, ...]
