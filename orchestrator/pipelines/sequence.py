"""Programs one after another in the present thread, as one task: what stages and jobs have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.outcome import CANCELLED_CODE, TIMED_OUT_CODE, Ending, Outcome
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pool.capture import OUTPUT_LIMIT
from orchestrator.programs import Program, prepared, run_programs
from orchestrator.results import ExecutionResult, result_of_outcome
from orchestrator.runs import Options


class Clock:
    """How much is left of a time limit that several programs share; the time between them is nobody's."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._spent = 0.0

    @property
    def left(self) -> float | None:
        """Seconds; None without a limit, zero or less when it has passed."""
        return None if self.seconds is None else self.seconds - self._spent

    @property
    def expired(self) -> bool:
        """Whether nothing is left."""
        return self.left is not None and self.left <= 0

    def count(self, result: ExecutionResult) -> None:
        """Take what a program has used."""
        self._spent += result.execution_time


def run_within(program: Program, clock: Clock, cancellation: Cancellation | None) -> ExecutionResult:
    """Run a program within its own limits and what is left on the clock; a cancellation stops it if one is given.

    What it writes is passed on to the present listener as it comes.
    """
    if clock.expired:
        return timed_out(program.name, clock.seconds)
    limits = replace(program.limits, seconds=_least(program.limits.seconds, clock.left))
    options = Options(limits=limits, env=program.env, cwd=program.cwd, live_output=True)
    with contextlib.nullcontext() if cancellation is None else cancellation.covering():
        (result,) = run_programs([prepared(program)], 1, options, program.output_limit or OUTPUT_LIMIT)
    clock.count(result)
    if result.ending is Ending.SKIPPED and result.exception is None:  # it was stopped before it had started
        return cancelled(program.name)
    if result.ending is Ending.TIMED_OUT and limits.seconds != program.limits.seconds:
        return timed_out(program.name, clock.seconds, result)
    return result


def timed_out(name: str, seconds: float | None, result: ExecutionResult | None = None) -> ExecutionResult:
    """Return the result of a program for which no time was left, or whose time was cut short by what was left."""
    reason = f"the time limit passed ({seconds:g} s for all together)\n"
    if result is None:
        outcome = Outcome(Ending.TIMED_OUT, reason=f"not started: {reason}", return_code=TIMED_OUT_CODE)
        return result_of_outcome(outcome, name)
    return replace(result, reason=reason, error=result.error.removesuffix(result.reason) + reason)


def cancelled(name: str) -> ExecutionResult:
    """Return the result of a program that was cancelled before it had started."""
    outcome = Outcome(Ending.CANCELLED, reason="cancelled before it had started\n", return_code=CANCELLED_CODE)
    return result_of_outcome(outcome, name)


def joined(
    name: str, parts: Sequence[ExecutionResult], decisive: ExecutionResult | None, reason: str = ""
) -> ExecutionResult:
    """Return what came of programs as a whole: the `decisive` failure's ending, or well; all output; all that was used.

    `reason` is why it failed, at the end of its error text.
    """
    output = b"".join(part.streams[0] for part in parts)
    errors = b"".join(_whole_lines(part.streams[1]) for part in parts)
    pids = [part.pid for part in (decisive, *reversed(parts)) if part is not None and part.pid is not None]
    return ExecutionResult(
        success=decisive is None,
        output=output.decode("utf-8", "replace"),
        error=errors.decode("utf-8", "replace") + reason,
        return_code=decisive.return_code if decisive else 0,
        execution_time=sum(part.execution_time for part in parts),
        ending=decisive.ending if decisive else Ending.OK,
        name=name,
        cpu_time=sum(part.cpu_time for part in parts),
        peak_memory=max((part.peak_memory for part in parts), default=0),
        pid=pids[0] if pids else None,
        exception=decisive.exception if decisive else None,
        reason=reason,
        raw=(output, errors),
        stages=tuple(parts),
    )


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _whole_lines(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"
