"""Whether a job runs: its `if`, by what came of the jobs before it, and whether this machine is what it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.dag.model import Declined, TaskResult
from orchestrator.limits import Limits
from orchestrator.pipelines.actions.expressions import ExpressionError, Scope, Value, truthy
from orchestrator.pipelines.actions.host import Host
from orchestrator.pipelines.actions.model import JobDefinition, WorkflowFile
from orchestrator.pipelines.actions.running import JobEnd
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.gates import Status, execution_of, is_tolerated, status_functions, status_of

_FOREIGN = ("windows", "macos", "mac-")


@dataclass(frozen=True, slots=True)
class Plan:
    """What all jobs of a run share. `tasks` gives for each job's id the names of its tasks."""

    file: WorkflowFile
    host: Host
    limits: Limits
    cancellation: Cancellation
    at_once: int
    """How many combinations of one matrix, that is worked out late, run at a time."""
    tasks: Mapping[str, Sequence[str]]
    ancestors: Mapping[str, frozenset[str]]

    def needs(self, job: JobDefinition, results: Mapping[str, TaskResult]) -> dict[str, Value]:
        """Return the context `needs` of a job: what came of each job that it names, and its outputs."""
        return {other: self._need(other, results) for other in job.needs}

    def status(self, job: str, results: Mapping[str, TaskResult]) -> Status:
        """Return what came of a job, all its combinations together."""
        found = {
            Status.SUCCESS if is_tolerated(results[name]) else status_of(results[name])
            for name in self.tasks[job]
            if name in results
        }
        for status in (Status.FAILURE, Status.CANCELLED, Status.SUCCESS):
            if status in found:
                return status
        return Status.SKIPPED

    def _need(self, job: str, results: Mapping[str, TaskResult]) -> Value:
        outputs: dict[str, Value] = {}
        for name in self.tasks[job]:
            own = execution_of(results[name]) if name in results else None
            if own is not None and isinstance(own.value, JobEnd):
                outputs |= {key: value for key, value in own.value.outputs.items() if value or key not in outputs}
        return {"result": self.status(job, results).value, "outputs": outputs}


def base_contexts(host: Host, job: str) -> dict[str, Value]:
    """Return the contexts that are known before any job has run."""
    return {"github": {**host.github, "job": job}, "vars": {}, "inputs": {}}


class JobGate:
    """The condition of a job's task: its `if`, and whether this machine is what it runs on."""

    def __init__(self, plan: Plan, job: JobDefinition, matrix: Mapping[str, Value] | None) -> None:
        self._plan = plan
        self._job = job
        self._matrix = matrix

    def __call__(self, results: dict[str, TaskResult]) -> bool | Declined:
        """Say yes, or why not. What cannot be worked out is for the job to tell, with its place."""
        try:
            return self.verdict(results)
        except ExpressionError:
            return True

    def verdict(self, results: Mapping[str, TaskResult]) -> bool | Declined:
        """Say yes, or why not. Raises ExpressionError for what cannot be worked out."""
        plan, job = self._plan, self._job
        stopped = plan.cancellation.requested
        if not self.holds(results, stopped=stopped):
            if stopped:
                return Declined("the run was cancelled")
            bad = [(other, status) for other, status in self._before(results) if status is not Status.SUCCESS]
            if bad and not job.condition.functions & {"failure", "always", "cancelled"}:
                return Declined(f"{bad[0][0]!r} ended with {bad[0][1].value!r}")
            return Declined(f"its condition does not hold: {job.condition.text}")
        if self._matrix is None:
            return True
        contexts = {**base_contexts(plan.host, job.id), "needs": plan.needs(job, results)}
        foreign = foreign_system(job, {**contexts, "matrix": dict(self._matrix), "strategy": {}})
        return Declined(f"it runs on {foreign!r}, and this is Linux") if foreign else True

    def holds(self, results: Mapping[str, TaskResult], *, stopped: bool) -> bool:
        """Return whether the job's `if` holds, in a run that is, or is not, cancelled. Raises ExpressionError."""
        statuses = {status for _, status in self._before(results)}
        functions = status_functions(
            success=statuses <= {Status.SUCCESS} and not stopped,
            failure=Status.FAILURE in statuses and not stopped,
            cancelled=stopped,
        )
        contexts = {**base_contexts(self._plan.host, self._job.id), "needs": self._plan.needs(self._job, results)}
        return truthy(self._job.condition.evaluate(Scope(contexts, functions)))

    def _before(self, results: Mapping[str, TaskResult]) -> list[tuple[str, Status]]:
        """Return what came of the jobs that it needs, directly or not, the direct ones first; on GitHub all count."""
        others = [*self._job.needs, *sorted(self._plan.ancestors[self._job.id] - set(self._job.needs))]
        return [(other, self._plan.status(other, results)) for other in others]


def foreign_system(job: JobDefinition, contexts: Mapping[str, Value]) -> str | None:
    """Return the label of another operating system that a job asks for; None if it can run here."""
    return next((label for label in labels(job, contexts) if label.lower().startswith(_FOREIGN)), None)


def labels(job: JobDefinition, contexts: Mapping[str, Value]) -> list[str]:
    """Return what a job asks for in a machine. Raises ExpressionError."""
    found: list[str] = []
    for template in job.runs_on:
        value = template.value(Scope(contexts, {}))
        found += [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    return found
