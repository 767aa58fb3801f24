"""A stage at work: its commands one after another, in a thread of its pipeline's workflow; and whether it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.dag.model import Declined, TaskResult
from orchestrator.limits import Limits, tighter
from orchestrator.outcome import Ending, Outcome
from orchestrator.pipelines.actions.expressions import ExpressionError, Scope, truthy
from orchestrator.pipelines.artifacts import ArtifactError, folder_of, keep
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.gates import Status, execution_of, is_tolerated, status_functions, status_of
from orchestrator.pipelines.model import StageConfig
from orchestrator.pipelines.sequence import Clock, cancelled, joined, run_within
from orchestrator.programs import shell_of
from orchestrator.results import ExecutionResult, result_of_outcome

_MOURNING_SECONDS = 60.0
"""In which the artifacts of a stage that failed are kept, if it had a time limit."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all stages of one run share: variables, their directory, the most they may use, the order to stop.

    `artifacts` is where artifacts are kept, if they are.
    """

    env: Mapping[str, str]
    cwd: str
    artifacts: str | None
    limits: Limits
    cancellation: Cancellation


class Gate:
    """A stage's condition, for its task: whether it runs, by the results of the stages that have ended."""

    def __init__(
        self, config: StageConfig, ancestors: frozenset[str], allowed: frozenset[str], around: Surroundings
    ) -> None:
        self._config = config
        self._ancestors = ancestors
        self._allowed = allowed
        self._around = around

    def __call__(self, results: dict[str, TaskResult]) -> bool | Declined:
        """Say yes, or why not. An expression that cannot be worked out is for the stage to tell."""
        condition = self._config.condition
        if callable(condition):
            ended = {name: own for name, result in results.items() if (own := execution_of(result)) is not None}
            return bool(condition(ended)) or Declined("its condition does not hold")
        stopped = self._around.cancellation.requested
        try:
            if self.holds(results, stopped=stopped):
                return True
        except ExpressionError:
            return True
        if stopped:
            return Declined("the run was cancelled")
        failed = self._failed(results)
        if failed and not self._config.expression.functions & {"failure", "always", "cancelled"}:
            return Declined(f"{failed[0]!r} failed")
        return Declined(f"its condition does not hold: {condition}")

    def holds(self, results: Mapping[str, TaskResult], *, stopped: bool) -> bool:
        """Return whether the expression holds, in a run that is, or is not, cancelled; a function: where it is not.

        Raises ExpressionError for one that cannot be worked out.
        """
        if callable(self._config.condition):
            return not stopped
        failed = bool(self._failed(results))
        functions = status_functions(
            success=not failed and not stopped, failure=failed and not stopped, cancelled=stopped
        )
        stages = {
            name: {"result": status_of(result).value, "return_code": result.return_code}
            for name, result in results.items()
        }
        env = {**os.environ, **self._around.env, **self._config.env}
        return truthy(self._config.expression.evaluate(Scope({"env": env, "stages": stages}, functions)))

    def _failed(self, results: Mapping[str, TaskResult]) -> list[str]:
        """Return the stages that this one waits for, directly or not, and that have failed and may not."""
        return [name for name in results if name in self._ancestors and self._has_failed(name, results[name])]

    def _has_failed(self, name: str, result: TaskResult) -> bool:
        if status_of(result) not in (Status.FAILURE, Status.CANCELLED):
            return False
        return name not in self._allowed and not is_tolerated(result)


class Stage:
    """One stage, to be called: runs its commands up to the first that fails, and returns what came of them all."""

    def __init__(self, config: StageConfig, gate: Gate, around: Surroundings) -> None:
        self._config = config
        self._gate = gate
        self._around = around
        self._cwd = os.path.join(around.cwd, config.cwd or "")
        self._limits = tighter(config.limits, around.limits)

    def __call__(self, _task_results: Mapping[str, TaskResult]) -> ExecutionResult:
        """Run it. The engine gives it the results so far, by the parameter's name."""
        config = self._config
        try:
            order = None if self._gate.holds(_task_results, stopped=True) else self._around.cancellation
            self._gate.holds(_task_results, stopped=False)  # which raises what is wrong with it
        except ExpressionError as error:
            outcome = Outcome(Ending.RAISED, reason=f"its condition cannot be worked out: {error}\n", return_code=1)
            return result_of_outcome(outcome, config.name)
        clock = Clock(self._limits.seconds)
        results: list[ExecutionResult] = []
        reason = ""
        for number, command in enumerate(config.commands, 1):
            result = self._run(command, clock, order)
            results.append(result)
            if not result.success:
                place = f"command {number} of {len(config.commands)}" if len(config.commands) > 1 else "its command"
                reason = f"{place} ({result.name}): {result.reason}"
                break
        failed = None if results[-1].success else results[-1]
        whole = replace(joined(config.name, results, failed, reason), tolerated=config.allow_failure)
        return self._with_artifacts(whole, clock)

    def _run(self, command: str, clock: Clock, order: Cancellation | None) -> ExecutionResult:
        config = self._config
        limits = replace(self._limits, seconds=None)  # the clock has them, for all commands together
        env = {**self._around.env, **config.env}
        program = shell_of(command, f"a command of {config}", limits=limits, env=env, cwd=self._cwd)
        if order is not None and order.requested:
            return cancelled(program.name)
        return run_within(program, clock, order)

    def _with_artifacts(self, result: ExecutionResult, clock: Clock) -> ExecutionResult:
        """Keep the stage's artifacts. One that is missing, or cannot be kept, fails a stage that went well."""
        if not self._config.artifacts:
            return result
        kept = self._around.artifacts
        target = None if kept is None else folder_of(kept, self._config.name)
        # What a failed stage has made is kept too, which takes a time of its own.
        seconds = clock.left if result.success or clock.seconds is None else max(clock.left or 0.0, _MOURNING_SECONDS)
        try:
            keep(self._config.artifacts, self._cwd, target, seconds)
        except ArtifactError as error:
            if not result.success:
                return result
            problem = f"{error}\n"
            return replace(
                result, success=False, ending=Ending.RAISED, return_code=1, reason=problem, error=result.error + problem
            )
        return result
