"""Pipelines from files: our own form, and workflow files of GitHub Actions; for whoever lists, shows or runs them."""

from __future__ import annotations

import contextlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from orchestrator.config.places import hint
from orchestrator.config.syntax import read_text
from orchestrator.config.yaml_syntax import read_document
from orchestrator.dag.model import Task
from orchestrator.dag.workflow import Workflow
from orchestrator.exceptions import ConfigError
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.pipelines.actions.expressions import ExpressionError, Value
from orchestrator.pipelines.actions.flow import turn_of_file, workflow_of
from orchestrator.pipelines.actions.gate import foreign_system, labels
from orchestrator.pipelines.actions.host import Host, host_of
from orchestrator.pipelines.actions.jobs import JobAction, combinations_of
from orchestrator.pipelines.actions.matrix import label
from orchestrator.pipelines.actions.model import Note, StepDefinition, WorkflowFile
from orchestrator.pipelines.actions.reading import is_workflow, read_workflow
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.files import read_pipeline
from orchestrator.pipelines.flow import ancestors_of, create_pipeline_workflow
from orchestrator.pipelines.model import PipelineConfig

_USUAL = re.compile(r"ubuntu-(?:latest|slim|\d\d\.\d\d)|linux|self-hosted|x64", re.IGNORECASE)
"""Labels that mean a machine like this one."""


@dataclass(frozen=True, slots=True)
class Row:
    """What people are shown of a stage or job: what it waits for, its condition, its commands or steps."""

    name: str
    needs: tuple[str, ...]
    condition: str
    lines: tuple[str, ...]


class Pipeline(ABC):
    """A pipeline that was read from a file. Its workflow can be run once.

    `noun` is what one of its tasks is called; a request of the `cancellation` stops what runs, but for what is to
    run in a cancelled run too; `notes` tell what will not be as it is where the file comes from.
    """

    noun: str
    name: str
    notes: Sequence[Note] = ()

    def __init__(self) -> None:
        self.cancellation = Cancellation()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notes that people have to know of, each with its place."""
        return tuple(f"{note.place}: {note.kind}: {note.what}" for note in self.notes if note.kind != "no-op")

    @abstractmethod
    def rows(self) -> list[Row]:
        """Return its stages or jobs, in the order of the file."""

    @abstractmethod
    def workflow(self, *, only: Collection[str] = (), limits: Limits = NO_LIMITS, **options: Any) -> Workflow:
        """Return a workflow with a task for each; of `only`, if any are named, those and what they wait for.

        `limits` are the most that each may use, whatever it says itself. The keyword options are those of Workflow.
        Raises ConfigError for a name that it does not have.
        """

    def row_of(self, task: Task) -> str:
        """Return the name of the row that a task of its workflow belongs to."""
        return task.name

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """Wait until nothing else of its concurrency group is under way, and be it while the context lasts.

        Raises Superseded when something newer came while it waited.
        """
        return contextlib.nullcontext()


def load_pipeline(
    path: str | os.PathLike[str], *, event_name: str = "push", event: Mapping[str, Value] | None = None
) -> Pipeline:
    """Read a pipeline, whichever form the file has: `.toml` is our own; YAML with `jobs` is a workflow of GitHub's.

    `event_name` and `event`, its payload, are for the context `github` of a workflow file.

    Raises ConfigError for a file that cannot be read and for every mistake in it, with its place; CycleError for stages
    or jobs that wait for each other in a circle.
    """
    file = os.fspath(path)
    if not file.endswith(".toml") and is_workflow(read_document(read_text(file, file), file).value):
        return ActionsPipeline(read_workflow(file), event_name, event or {})
    return StagesPipeline(read_pipeline(file))


class StagesPipeline(Pipeline):
    """A pipeline in our own form."""

    noun = "stage"

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__()
        self.name = config.name
        self._config = config

    def rows(self) -> list[Row]:
        """Return its stages."""
        needs = self._config.needs()
        return [
            Row(
                stage.name,
                tuple(needs[stage.name]),
                stage.condition if isinstance(stage.condition, str) else "",
                tuple(stage.commands),
            )
            for stage in self._config.stages
        ]

    def workflow(self, *, only: Collection[str] = (), limits: Limits = NO_LIMITS, **options: Any) -> Workflow:
        """Return a workflow with a task for each stage."""
        needs = self._config.needs()
        names = _wanted(only, needs, "stage")
        stages = [replace(stage, depends_on=needs[stage.name]) for stage in self._config.stages if stage.name in names]
        part = replace(self._config, stages=stages, parallel_stages=[])
        return create_pipeline_workflow(part, limits=limits, cancellation=self.cancellation, **options)


class ActionsPipeline(Pipeline):
    """A workflow file of GitHub Actions."""

    noun = "job"

    def __init__(self, file: WorkflowFile, event_name: str, event: Mapping[str, Value]) -> None:
        super().__init__()
        self.name = file.name
        self.notes = (*file.notes, *_foreign(file))
        self._file = file
        self._event = event_name, event

    @cached_property
    def _host(self) -> Host:
        return host_of(self._file, *self._event)

    def rows(self) -> list[Row]:
        """Return its jobs."""
        return [
            Row(
                job.id,
                job.needs,
                job.condition.text,
                (f"refused: {job.refusal.what}",) if job.refusal else tuple(map(_line_of, job.steps)),
            )
            for job in self._file.jobs.values()
        ]

    def workflow(self, *, only: Collection[str] = (), limits: Limits = NO_LIMITS, **options: Any) -> Workflow:
        """Return a workflow with a task for each job, or for each combination of its matrix."""
        needs = {job.id: job.needs for job in self._file.jobs.values()}
        names = _wanted(only, needs, "job")
        jobs = {name: job for name, job in self._file.jobs.items() if name in names}
        return workflow_of(replace(self._file, jobs=jobs), self._host, self.cancellation, limits, **options)

    def row_of(self, task: Task) -> str:
        """Return the id of a task's job."""
        return task.action.job.id if isinstance(task.action, JobAction) else task.name

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """Wait for its turn, if the file has a concurrency group."""
        return turn_of_file(self._file, self._host, self.cancellation)


def _foreign(file: WorkflowFile) -> Iterator[Note]:
    """Yield a note for each job that runs on another system or machine, as far as that is known beforehand."""
    contexts: dict[str, Value] = {"github": {}, "vars": {}, "inputs": {}}
    for job in file.jobs.values():
        place = f"{job.place}.runs-on"
        strange: dict[str, None] = {}
        with contextlib.suppress(ExpressionError, ConfigError):  # what other jobs say is known later
            for matrix in combinations_of(job, contexts):
                own = {**contexts, "matrix": dict(matrix), "strategy": {}}
                if found := foreign_system(job, own):
                    named = f"{job.id} ({label(matrix)})" if matrix else job.id
                    yield Note("skipped", place, f"{named} runs on {found!r}, and this is Linux")
                else:
                    strange |= dict.fromkeys(name for name in labels(job, own) if not _USUAL.fullmatch(name))
        for name in strange:
            yield Note("warning", place, f"{name!r} is taken for this machine, whatever it stands for")


def _line_of(step: StepDefinition) -> str:
    """Return a step in one line, as people are shown it."""
    what = step.run.text if step.run is not None else step.uses or f"step {step.number}"
    first = next(iter(what.strip().splitlines()), "")
    line = first if step.name is None else f"{step.name.text}: {first}"
    note = step.refusal or step.skip or step.no_op
    return f"{line}  [{note.kind}: {note.what}]" if note is not None else line


def _wanted(only: Collection[str], needs: Mapping[str, Sequence[str]], noun: str) -> set[str]:
    """Return the names that are wanted and those that they wait for; all if none is named."""
    ancestors = ancestors_of(needs)
    for name in only:
        if name not in needs:
            raise ConfigError(f"there is no {noun} {name!r}{hint(name, needs)}")
    return {other for name in only or needs for other in (name, *ancestors[name])}
