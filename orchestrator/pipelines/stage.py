"""A stage at work: its commands one after another, in a thread of its pipeline's workflow; and whether it runs."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from orchestrator.dag.model import Declined, TaskResult
from orchestrator.limits import Limits, tighter
from orchestrator.outcome import Ending
from orchestrator.pipelines.actions.expressions import Scope, truthy
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.gates import Status, execution_of, is_tolerated, status_functions, status_of
from orchestrator.pipelines.model import StageConfig
from orchestrator.pipelines.sequence import Clock, cancelled, joined, run_within
from orchestrator.programs import shell_of
from orchestrator.results import ExecutionResult


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


class Stage:
    """One stage, to be called: runs its commands up to the first that fails, and returns what came of them all."""

    def __init__(self, config: StageConfig, around: Surroundings) -> None:
        self._config = config
        self._around = around
        self._cwd = os.path.join(around.cwd, config.cwd or "")
        self._limits = tighter(config.limits, around.limits)
        regardless = callable(config.condition) or config.expression.functions & {"always", "cancelled"}
        self._cancellation = None if regardless else around.cancellation

    def __call__(self) -> ExecutionResult:
        """Run it."""
        config = self._config
        clock = Clock(self._limits.seconds)
        results: list[ExecutionResult] = []
        reason = ""
        for number, command in enumerate(config.commands, 1):
            result = self._run(command, clock)
            results.append(result)
            if not result.success:
                place = f"command {number} of {len(config.commands)}" if len(config.commands) > 1 else "its command"
                reason = f"{place} ({result.name}): {result.reason}"
                break
        failed = None if results[-1].success else results[-1]
        whole = replace(joined(config.name, results, failed, reason), tolerated=config.allow_failure)
        return self._with_artifacts(whole)

    def _run(self, command: str, clock: Clock) -> ExecutionResult:
        config = self._config
        limits = replace(self._limits, seconds=None)  # the clock has them, for all commands together
        env = {**self._around.env, **config.env}
        program = shell_of(command, f"a command of {config}", limits=limits, env=env, cwd=self._cwd)
        if self._cancellation is not None and self._cancellation.requested:
            return cancelled(program.name)
        return run_within(program, clock, self._cancellation)

    def _with_artifacts(self, result: ExecutionResult) -> ExecutionResult:
        """Keep the stage's artifacts. One that is missing, or cannot be kept, fails a stage that went well."""
        problem = ""
        for pattern in self._config.artifacts:
            found = sorted(glob.glob(pattern, root_dir=self._cwd, recursive=True, include_hidden=True))
            if not found:
                problem = problem or f"its artifact {pattern!r} matches no file in {self._cwd!r}\n"
            elif self._around.artifacts is not None:
                problem = self._keep(found) or problem
        if not problem or not result.success:
            return result
        return replace(
            result, success=False, ending=Ending.RAISED, return_code=1, reason=problem, error=result.error + problem
        )

    def _keep(self, paths: list[str]) -> str:
        """Copy files to where artifacts are kept, in a folder of the stage's; return what went wrong."""
        assert self._around.artifacts is not None
        folder = os.path.join(self._around.artifacts, quote(self._config.name, safe=" ").replace(".", "%2E"))
        try:
            for path in paths:
                source, target = os.path.join(self._cwd, path), os.path.join(folder, path)
                if os.path.isfile(source):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copy2(source, target)
        except OSError as error:
            return f"its artifacts could not be kept: {error}\n"
        return ""


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
        """Say yes, or why not."""
        condition = self._config.condition
        failed = [name for name in results if name in self._ancestors and self._has_failed(name, results[name])]
        cancelled = self._around.cancellation.requested
        if callable(condition):
            ended = {name: own for name, result in results.items() if (own := execution_of(result)) is not None}
            return bool(condition(ended)) or Declined("its condition does not hold")
        functions = status_functions(success=not failed and not cancelled, failure=bool(failed), cancelled=cancelled)
        stages = {
            name: {"result": status_of(result).value, "return_code": result.return_code}
            for name, result in results.items()
        }
        env = {**os.environ, **self._around.env, **self._config.env}
        expression = self._config.expression
        if truthy(expression.evaluate(Scope({"env": env, "stages": stages}, functions))):
            return True
        if cancelled:
            return Declined("the run was cancelled")
        if failed and not expression.functions & {"failure", "always", "cancelled"}:
            return Declined(f"{failed[0]!r} failed")
        return Declined(f"its condition does not hold: {condition}")

    def _has_failed(self, name: str, result: TaskResult) -> bool:
        if status_of(result) not in (Status.FAILURE, Status.CANCELLED):
            return False
        return name not in self._allowed and not is_tolerated(result)
