"""One job at work, in a thread: its steps one after another, each seeing what those before have told.

As on GitHub a step that fails does not end the job: the conditions of the later ones decide, and `success()` is the
default. When the job is cancelled, or its time has passed, which is the same to its steps, those run, or go on, whose
condition holds then: for five minutes, as GitHub has it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.limits import Limits, tighter
from orchestrator.outcome import Ending, Outcome
from orchestrator.pipelines.actions.command_files import CommandFileError, CommandFiles
from orchestrator.pipelines.actions.expressions import ExpressionError, Scope, Template, Value, text_of, truthy
from orchestrator.pipelines.actions.hashing import hash_files
from orchestrator.pipelines.actions.host import Host
from orchestrator.pipelines.actions.model import JobDefinition, StepDefinition, WorkflowFile
from orchestrator.pipelines.actions.shells import JobError, command_line
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.gates import Status, status_functions, status_of
from orchestrator.pipelines.sequence import Clock, cancelled, joined, run_within
from orchestrator.programs import Program, shell_of
from orchestrator.results import ExecutionResult, result_of_outcome

CLEANUP_SECONDS = 300.0
"""For what runs after a job's time has passed, or the run was cancelled."""
JOB_SECONDS = 6 * 3600.0
"""The time limit of a job that has none of its own, as on GitHub."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What a job leaves to others: the value of its result."""

    outputs: Mapping[str, str]
    summary: str


@dataclass(frozen=True, slots=True)
class Order:
    """What one job is to do, and where: one combination of its matrix."""

    job: JobDefinition
    file: WorkflowFile
    host: Host
    limits: Limits
    label: str
    matrix: Mapping[str, Value]
    needs: Mapping[str, Value]
    strategy: Mapping[str, Value]
    cancellation: Cancellation

    def contexts(self) -> dict[str, Value]:
        """Return the contexts that hold for the job as a whole."""
        return {
            "github": {**self.host.github, "job": self.job.id},
            "needs": dict(self.needs),
            "strategy": dict(self.strategy),
            "matrix": dict(self.matrix),
            "vars": {},
            "inputs": {},
        }


@dataclass(slots=True)
class _State:
    """What the steps so far have come to. Owned by the job's thread."""

    env: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    steps: dict[str, Value] = field(default_factory=dict)
    failed: ExecutionResult | None = None
    """The first step that failed and was not allowed to."""
    summary: list[str] = field(default_factory=list)


def run_job(order: Order) -> ExecutionResult:
    """Run the steps of a job and return what came of them; its value is a JobEnd, its `stages` are the steps."""
    # What a step does to its own temporary files is not to hurt ours.
    with _temporary("orchestrator-steps-") as ours, _temporary("orchestrator-job-") as temp:
        return _JobRun(order, ours, temp).run()


def _temporary(prefix: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


class _JobRun:
    def __init__(self, order: Order, ours: str, temp: str) -> None:
        self._order = order
        self._ours = ours
        self._contexts = order.contexts()
        self._runner = order.host.runner(temp)
        self._contexts["runner"] = self._runner
        self._state = _State()
        self._clock = Clock(None)
        self._variables: dict[str, str] = {}

    def run(self) -> ExecutionResult:
        job, state = self._order.job, self._state
        parts: list[ExecutionResult] = []
        reason = ""
        try:
            self._prepare()
            for step in job.steps:
                parts.append(self._step(step))
            end = JobEnd(self._outputs(), "".join(state.summary))
            tolerated = job.continue_on_error is not None and self._holds(job.continue_on_error, self._scope())
        except (JobError, ExpressionError, OSError) as error:
            problem = _failed("the job", f"{job.place}: {error}")
            parts.append(problem)
            reason = problem.reason
            state.failed = state.failed or problem
            end, tolerated = JobEnd({}, "".join(state.summary)), False
        if state.failed is None and self._order.cancellation.requested:
            state.failed = cancelled("the job")
        if state.failed is not None:
            first = f"{state.failed.name!r} failed: {state.failed.reason}"
            reason = first if reason in first else first + reason
        return replace(joined(self._order.label, parts, state.failed, reason), value=end, tolerated=tolerated)

    def _prepare(self) -> None:
        """Work out what holds for all steps: variables, the time limit."""
        order, job = self._order, self._order.job
        own = Limits(self._seconds(job.timeout_minutes, self._scope()) or JOB_SECONDS)
        self._clock = Clock(tighter(own, order.limits).seconds)
        self._variables = order.host.variables(job.id, self._runner)
        event = os.path.join(self._ours, "event.json")
        with open(event, "w", encoding="utf-8") as payload:
            json.dump(order.host.github.get("event"), payload)
        self._variables["GITHUB_EVENT_PATH"] = event
        for env in (order.file.env, job.env):
            self._state.env |= self._filled(env, self._state.env)

    def _outputs(self) -> dict[str, str]:
        return {name: output.fill(self._scope()) for name, output in self._order.job.outputs.items()}

    # One step

    def _step(self, step: StepDefinition) -> ExecutionResult:
        """Run a step, or say why not; note what it means for the job."""
        name = step.uses or f"step {step.number}"
        allowed = False
        try:
            env = self._state.env if step.refusal is not None else self._filled(step.env, self._state.env)
            name = self._name_of(step, env)
            result = self._decided(step, name, env)
            if status_of(result) is Status.FAILURE and step.continue_on_error is not None:
                allowed = self._holds(step.continue_on_error, self._scope(env))
        except (JobError, ExpressionError, OSError) as error:
            result = _failed(name, f"{step.place}: {error}")
        self._note(step, result, allowed=allowed)
        return replace(result, tolerated=allowed)

    def _decided(self, step: StepDefinition, name: str, env: Mapping[str, str]) -> ExecutionResult:
        """Return what came of a step whose variables are known: run, or not."""
        if not truthy(step.condition.evaluate(self._scope(env))):
            return _skipped(name, self._why_not(step))
        if step.refusal is not None:
            return _failed(name, f"{step.refusal.place}: refused: {step.refusal.what}")
        if step.skip is not None:
            return _skipped(name, step.skip.what)
        if step.no_op is not None:
            return result_of_outcome(Outcome(Ending.OK, stderr=f"[{step.no_op.what}]\n".encode()), name)
        return self._run(step, name, env)

    def _why_not(self, step: StepDefinition) -> str:
        if self._stopped:
            return "the job's time has passed" if self._clock.expired else "the run was cancelled"
        if self._state.failed is not None and not step.condition.functions & {"failure", "always"}:
            return f"{self._state.failed.name!r} failed"
        return f"its condition does not hold: {step.condition.text}"

    def _run(self, step: StepDefinition, name: str, env: Mapping[str, str]) -> ExecutionResult:
        assert step.run is not None
        job, scope = self._order.job, self._scope(env)
        files = CommandFiles(self._ours, step.number)
        template = step.shell or job.defaults.shell
        shell = template.fill(scope) if template is not None else ""
        argv = command_line(shell, step.run.fill(scope), os.path.join(self._ours, f"step-{step.number}"))
        folder = step.working_directory or job.defaults.working_directory
        cwd = os.path.join(self._order.host.workspace, folder.fill(scope) if folder is not None else "")
        limits = tighter(Limits(self._seconds(step.timeout_minutes, scope)), self._order.limits)
        fixed = {name: value for name, value in self._variables.items() if name.startswith(("GITHUB_", "RUNNER_"))}
        variables = {**self._variables, **env, **fixed, **files.variables}  # which nobody may set, as on GitHub
        if self._state.path:
            variables["PATH"] = os.pathsep.join([*self._state.path, env.get("PATH") or os.environ.get("PATH", "")])
        program = replace(shell_of(argv, name, limits=limits, env=variables, cwd=cwd), name=name)
        result = self._within_limits(program, step, env)
        return self._heard(step, result, files)

    def _within_limits(self, program: Program, step: StepDefinition, env: Mapping[str, str]) -> ExecutionResult:
        """Run a step's program within the job's time; if it is to run when the job is cancelled, for longer."""
        order = self._order.cancellation
        if not truthy(step.condition.evaluate(self._scope(env, stopped=True))):
            return cancelled(program.name) if order.requested else run_within(program, self._clock, order)
        left = self._clock.left or 0.0
        longer = Clock(CLEANUP_SECONDS if order.requested else left + CLEANUP_SECONDS)
        result = run_within(replace(program, seconds=self._patience()), longer, None)
        self._clock.count(result)
        return result

    def _patience(self) -> Callable[[], float | None]:
        """Return what says how long a program may run that a cancellation leaves alone: for so long after it."""
        start, order = time.monotonic(), self._order.cancellation
        noticed: float | None = None

        def allowed() -> float | None:
            nonlocal noticed
            if noticed is None and order.requested:
                noticed = time.monotonic() - start
            return None if noticed is None else noticed + CLEANUP_SECONDS

        return allowed

    def _heard(self, step: StepDefinition, result: ExecutionResult, files: CommandFiles) -> ExecutionResult:
        """Take what a step has told in its files: a step that failed may have told as well."""
        try:
            told = files.read()
        except CommandFileError as error:
            return result if not result.success else _failed(result.name, f"{step.place}: {error}", result)
        self._state.env |= told.env
        self._state.path[:0] = reversed(told.path)
        self._state.summary.append(told.summary)
        return replace(result, value=told.outputs)

    def _note(self, step: StepDefinition, result: ExecutionResult, *, allowed: bool) -> None:
        outcome = status_of(result)
        conclusion = Status.SUCCESS if allowed and outcome is Status.FAILURE else outcome
        if step.id is not None:
            outputs = result.value if isinstance(result.value, dict) else {}
            self._state.steps[step.id] = {
                "outputs": dict(outputs),
                "outcome": outcome.value,
                "conclusion": conclusion.value,
            }
        if conclusion in (Status.FAILURE, Status.CANCELLED) and self._state.failed is None:
            self._state.failed = result

    # What is written, worked out

    @property
    def _stopped(self) -> bool:
        """Whether the job was cancelled, by somebody or by its own time limit."""
        return self._order.cancellation.requested or self._clock.expired

    def _scope(self, env: Mapping[str, str] | None = None, *, stopped: bool | None = None) -> Scope:
        """Return what expressions see; `stopped` asks what they would see in a job that is, or is not, cancelled."""
        state = self._state
        stopped = self._stopped if stopped is None else stopped
        status = "cancelled" if stopped else "failure" if state.failed is not None else "success"
        contexts = {
            **self._contexts,
            "env": {**state.env, **(env or {})},
            "steps": dict(state.steps),
            "job": {"status": status},
        }
        workspace = self._order.host.workspace
        functions = status_functions(
            success=status == "success", failure=status == "failure", cancelled=status == "cancelled"
        )
        return Scope(
            contexts, {**functions, "hashfiles": lambda patterns: hash_files(workspace, [text_of(p) for p in patterns])}
        )

    def _filled(self, env: Mapping[str, Template], above: Mapping[str, str]) -> dict[str, str]:
        """Return variables on top of others, which their values may mention."""
        scope = self._scope(above)
        return {**above, **{name: value.fill(scope) for name, value in env.items()}}

    def _holds(self, template: Template, scope: Scope) -> bool:
        """Return whether something holds. Raises JobError for what is neither true nor false, as GitHub does."""
        if template.is_plain:  # which reading has checked
            return template.text == "true"
        value = template.value(scope)
        if not isinstance(value, bool):
            raise JobError(f"continue-on-error must be true or false, not {text_of(value)[:80]!r}")
        return value

    def _seconds(self, template: Template | None, scope: Scope) -> float | None:
        """Return a time limit that is given in minutes."""
        if template is None:
            return None
        value = template.value(scope)
        try:
            minutes = float(text_of(value))
        except ValueError:
            minutes = 0.0
        if not 0 < minutes < float("inf"):
            raise JobError(f"timeout-minutes must be a number above zero, not {text_of(value)[:80]!r}")
        return 60 * minutes

    def _name_of(self, step: StepDefinition, env: Mapping[str, str]) -> str:
        if step.name is not None:
            return " ".join(step.name.fill(self._scope(env)).split()) or f"step {step.number}"
        if step.run is None and step.uses is None:
            return f"step {step.number}"
        script = str(step.uses)
        if step.run is not None:
            try:
                script = step.run.fill(self._scope(env))
            except ExpressionError:  # told when it is run, if it is
                script = step.run.text
        first = next(iter(script.strip().splitlines()), "")
        return f"Run {first}" if len(first) <= 60 else f"Run {first[:57]}..."


def _failed(name: str, reason: str, result: ExecutionResult | None = None) -> ExecutionResult:
    """Return the result of a step that cannot be run, or whose run came to nothing because of something else."""
    if result is None:
        return result_of_outcome(Outcome(Ending.RAISED, reason=f"{reason}\n", return_code=1), name)
    text = f"{reason}\n"
    return replace(
        result, success=False, ending=Ending.RAISED, return_code=1, reason=text, error=result.error + text, value=None
    )


def _skipped(name: str, reason: str) -> ExecutionResult:
    return result_of_outcome(Outcome(Ending.SKIPPED, reason=f"skipped: {reason}\n", return_code=1), name)
