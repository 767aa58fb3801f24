"""Jobs as tasks of a workflow: what a combination of a matrix is called, when it runs, what it hands on to others.

A matrix that is known beforehand makes a task for each combination. One that an earlier job's outputs say makes one
task, whose parts are the combinations.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from orchestrator.dag.model import TaskResult
from orchestrator.exceptions import ConcurrencyError, ConfigError
from orchestrator.outcome import Ending, Outcome
from orchestrator.pipelines.actions.concurrency import Superseded, turn_of
from orchestrator.pipelines.actions.expressions import ExpressionError, Scope, Template, Value, parse_template, truthy
from orchestrator.pipelines.actions.gate import JobGate, Plan, base_contexts, foreign_system
from orchestrator.pipelines.actions.group import Group
from orchestrator.pipelines.actions.host import Host
from orchestrator.pipelines.actions.matrix import combinations, label
from orchestrator.pipelines.actions.model import Concurrency, JobDefinition, Matrix
from orchestrator.pipelines.actions.running import JobEnd, Order, run_job
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.sequence import cancelled, joined
from orchestrator.results import ExecutionResult, result_of_outcome


@dataclass(frozen=True, slots=True, eq=False)
class JobAction:
    """A job to be called: one combination of its matrix; or, if `matrix` is None, all of them, worked out first."""

    plan: Plan
    job: JobDefinition
    name: str
    gate: JobGate
    matrix: Mapping[str, Value] | None
    group: Group
    place: tuple[int, int]
    """Its number, from 0, and how many there are, in the context `strategy`."""

    def __call__(self, _task_results: Mapping[str, TaskResult]) -> ExecutionResult:
        """Run it. The engine gives it the results so far, by the parameter's name."""
        if self.job.refusal is not None:
            return _failed(self.name, f"{self.job.refusal.place}: refused: {self.job.refusal.what}")
        try:
            self.gate.verdict(_task_results)  # which raises what is wrong with the condition
            orders = [] if self.gate.holds(_task_results, stopped=True) else [self.plan.cancellation]
            needs = self.plan.needs(self.job, _task_results)
            if self.matrix is None:
                return self._run_all(needs, orders)
            return self._run_one(self.name, self.matrix, self.group, self.place, needs, orders)
        except (ExpressionError, ConfigError) as error:
            return _failed(self.name, f"{self.job.place}: {error}")

    def _run_one(
        self,
        name: str,
        matrix: Mapping[str, Value],
        group: Group,
        place: tuple[int, int],
        needs: Mapping[str, Value],
        orders: Sequence[Cancellation],
    ) -> ExecutionResult:
        """Run one combination; `orders` are what cancels it, besides the failure of another one."""
        job, plan = self.job, self.plan
        told: dict[str, Value] = {
            "job-index": place[0],
            "job-total": place[1],
            "fail-fast": group.fail_fast,
            "max-parallel": group.max_parallel or place[1],
        }
        cancellation = Cancellation(group.cancellation, *orders)
        order = Order(job, plan.file, plan.host, plan.limits, name, matrix, needs, told, cancellation)

        def run() -> ExecutionResult:
            try:
                return run_job(order) if job.concurrency is None else in_turn(job.concurrency, order)
            except ExpressionError as error:
                return _failed(name, f"{job.place}: {error}")

        return group.run(name, run, cancellation)

    def _run_all(self, needs: Mapping[str, Value], orders: Sequence[Cancellation]) -> ExecutionResult:
        """Work the matrix out and run its combinations beside each other, each in a thread."""
        contexts = {**base_contexts(self.plan.host, self.job.id), "needs": dict(needs)}
        found = combinations_of(self.job, contexts)
        names = [f"{self.job.id} ({label(one)})" if one else self.job.id for one in found]
        group = group_of(self.job, contexts)

        def run(place: int) -> ExecutionResult:
            try:
                foreign = foreign_system(self.job, {**contexts, "matrix": dict(found[place]), "strategy": {}})
                if foreign:
                    reason = f"skipped: it runs on {foreign!r}, and this is Linux\n"
                    return result_of_outcome(Outcome(Ending.SKIPPED, reason=reason, return_code=1), names[place])
                return self._run_one(names[place], found[place], group, (place, len(found)), needs, orders)
            except (ExpressionError, ConfigError) as error:
                return _failed(names[place], f"{self.job.place}: {error}")

        start = time.monotonic()
        most = min(len(found), self.plan.at_once)
        with ThreadPoolExecutor(most, thread_name_prefix="orchestrator-job") as threads:
            # Each thread sees what this one does: who stops it, and who hears what is printed.
            futures = [threads.submit(contextvars.copy_context().run, run, place) for place in range(len(found))]
            parts = [future.result() for future in futures]
        bad = [part for part in parts if part.ending not in (Ending.OK, Ending.SKIPPED)]
        counted = [part for part in bad if not part.tolerated]
        decisive = next(iter([part for part in counted if part.ending is not Ending.CANCELLED] or counted or bad), None)
        ends = [part.value for part in parts if isinstance(part.value, JobEnd)]
        outputs = {key: value for end in ends for key, value in end.outputs.items() if value}
        whole = joined(self.name, parts, decisive, f"{decisive.name!r} failed: {decisive.reason}" if decisive else "")
        end = JobEnd(outputs, "".join(end.summary for end in ends))
        seconds = time.monotonic() - start  # they ran beside each other
        return replace(whole, value=end, tolerated=bool(bad) and not counted, execution_time=seconds)


def _failed(name: str, reason: str) -> ExecutionResult:
    return result_of_outcome(Outcome(Ending.RAISED, reason=f"{reason}\n", return_code=1), name)


def in_turn(concurrency: Concurrency, order: Order) -> ExecutionResult:
    """Run a job when nobody else of its concurrency group is under way. Raises ExpressionError."""
    contexts = order.contexts()
    group = group_name(order.host, concurrency, contexts)
    whole = order.file.concurrency
    if whole is not None and group == group_name(order.host, whole, base_contexts(order.host, "")):
        return _failed(
            order.label, f"{order.job.place}: a deadlock: the workflow itself has the concurrency group {group}"
        )
    mine = Cancellation(order.cancellation)
    try:
        with turn_of(
            group,
            cancel_in_progress=flag(concurrency.cancel_in_progress, contexts),
            cancelled=lambda: mine.requested,
            stop=mine.request,
        ):
            return run_job(replace(order, cancellation=mine))
    except ConcurrencyError as error:
        return _failed(order.label, f"{order.job.place}: {error}")
    except Superseded as error:
        reason = f"cancelled: {error}\n"
        return replace(cancelled(order.label), error=reason, reason=reason)


def group_name(host: Host, concurrency: Concurrency, contexts: Mapping[str, Value]) -> str:
    """Return the name of a concurrency group, which belongs to its repository. Raises ExpressionError."""
    return f"{host.github['repository']}/{concurrency.group.fill(Scope(contexts, {}))}".lower()


def combinations_of(job: JobDefinition, contexts: Mapping[str, Value]) -> list[Mapping[str, Value]]:
    """Return the combinations of a job's matrix; a single empty one without a matrix. Raises ConfigError."""
    matrix = job.strategy.matrix
    if matrix is None:
        return [{}]
    scope = Scope(contexts, {})
    if isinstance(matrix, Template):
        value = matrix.value(scope)
        if not isinstance(value, dict):
            raise ConfigError(f"its matrix is no object: {matrix.text}")
        return [*combinations(value)]
    whole: dict[str, Value] = {name: _evaluated(axis, scope) for name, axis in matrix.axes.items()}
    for key, entries in (("include", matrix.include), ("exclude", matrix.exclude)):
        if entries:
            whole[key] = _evaluated(entries if isinstance(entries, Template) else list(entries), scope)
    return [*combinations(whole)]


def contexts_of_matrix(job: JobDefinition) -> frozenset[str]:
    """Return the contexts that a job's matrix, and how it is run, ask for."""
    strategy = job.strategy
    found: set[str] = set()
    todo: list[object] = [strategy.matrix, strategy.fail_fast, strategy.max_parallel]
    while todo:
        value = todo.pop()
        if isinstance(value, Matrix):
            todo += [*value.axes.values(), value.include, value.exclude]
        elif isinstance(value, Template):
            found |= value.contexts
        elif isinstance(value, str):
            found |= parse_template(value).contexts
        elif isinstance(value, Mapping):
            todo += value.values()
        elif isinstance(value, (list, tuple)):
            todo += value
    return frozenset(found)


def group_of(job: JobDefinition, contexts: Mapping[str, Value]) -> Group:
    """Return the group of a job's combinations. Raises ConfigError for a number of jobs that is none."""
    most = job.strategy.max_parallel
    if isinstance(most, Template):
        value = most.value(Scope(contexts, {}))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 1 or value != int(value):
            raise ConfigError(f"max-parallel must be a whole number above zero, not {value!r}")
        most = int(value)
    return Group(fail_fast=flag(job.strategy.fail_fast, contexts), max_parallel=most)


def flag(value: Template | bool, contexts: Mapping[str, Value]) -> bool:
    """Return whether something holds that may stand as an expression."""
    return value if isinstance(value, bool) else truthy(value.value(Scope(contexts, {})))


def _evaluated(value: Value | Template, scope: Scope) -> Value:
    """Return a value with the expressions in its texts worked out."""
    if isinstance(value, Template):
        return value.value(scope)
    if isinstance(value, str):
        return parse_template(value).value(scope)
    if isinstance(value, list):
        return [_evaluated(item, scope) for item in value]
    if isinstance(value, dict):
        return {key: _evaluated(item, scope) for key, item in value.items()}
    return value
