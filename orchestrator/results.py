"""The public result type of the runners: a view made from an Outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

from orchestrator.exceptions import (
    ConcurrencyError,
    OrchestratorTimeoutError,
    TaskFailedError,
    UnsendableError,
)
from orchestrator.outcome import Ending, Outcome, Sample


@dataclass
class ExecutionResult:
    """What one task ended with.

    `output` is captured stdout (also from C code and child processes), `error` captured stderr followed,
    on failure, by the traceback or the reason. `return_code` is 0, the process's own code, `SystemExit`'s
    code, 1 for an exception, 124 for a timeout, 128+n for signal n. `execution_time` and `cpu_time` are
    seconds, `peak_memory` bytes over the whole process tree. `history` holds the earlier, failed attempts.
    """

    success: bool
    output: str
    error: str
    return_code: int
    execution_time: float
    value: Any = None
    ending: Ending = Ending.OK
    name: str = ""
    attempts: int = 1
    cpu_time: float = 0.0
    peak_memory: int = 0
    pid: int | None = None
    exception: BaseException | None = None
    samples: tuple[Sample, ...] = field(default=(), repr=False)
    history: tuple[ExecutionResult, ...] = field(default=(), repr=False)
    reason: str = field(default="", repr=False)
    """Why it failed: the part of `error` that is not captured stderr."""
    raw: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """The streams as bytes, kept only where the texts cannot give them back."""
    stages: tuple[ExecutionResult, ...] = field(default=(), repr=False)
    """What each part ended with: the commands of a `pipe` or of a stage, the steps of a job."""
    tolerated: bool = field(default=False, repr=False)
    """Whether it was allowed to fail."""

    @property
    def streams(self) -> tuple[bytes, bytes]:
        """Captured stdout and stderr, exactly as written."""
        error = self.error.removesuffix(self.reason)
        return self.raw or (self.output.encode(errors="backslashreplace"), error.encode(errors="backslashreplace"))

    def unwrap(self) -> Any:
        """Return the value, or raise what the task failed with.

        Raises the task's own exception where it could be carried over; else OrchestratorTimeoutError,
        MemoryError, UnsendableError, ConcurrencyError (cancelled or never run), or TaskFailedError.
        """
        return value_or_raise(self)


class Ended(Protocol):
    """A result, as far as its value or its failure is concerned."""

    success: bool
    value: Any
    exception: BaseException | None
    ending: Ending
    error: Any

    @property
    def name(self) -> str:
        """What it is the result of."""


def value_or_raise(result: Ended) -> Any:
    """Return a result's value, or raise what it failed with; `unwrap` says what that is."""
    if result.success:
        return result.value
    if result.exception is not None and result.ending is Ending.RAISED:
        raise result.exception
    message = f"{result.name or 'the task'}: {result.ending.value}\n{result.error}".rstrip()
    match result.ending:
        case Ending.TIMED_OUT:
            raise OrchestratorTimeoutError(message)
        case Ending.OUT_OF_MEMORY:
            raise MemoryError(message)
        case Ending.UNSENDABLE:
            raise UnsendableError(message)
        case Ending.CANCELLED | Ending.SKIPPED:
            raise ConcurrencyError(message)
        case Ending.OK | Ending.RAISED | Ending.CRASHED:
            raise TaskFailedError(message, result=result)
        case _:
            assert_never(result.ending)


def result_of_outcome(
    outcome: Outcome, name: str = "", attempts: int = 1, history: tuple[ExecutionResult, ...] = ()
) -> ExecutionResult:
    """Make the public result from what the pool found."""
    ending, value, reason, exception, code, seconds, cpu, peak, pid, stdout, stderr, samples, _ = outcome
    if not (reason or stdout or stderr):
        return ExecutionResult(
            ending is Ending.OK, "", "", code, seconds, value, ending, name, attempts, cpu, peak, pid, exception,
            samples, history,
        )  # fmt: skip
    try:
        output, error, raw = stdout.decode(), stderr.decode(), None
    except UnicodeDecodeError:
        output, error, raw = stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), (stdout, stderr)
    if reason:
        if error and not error.endswith("\n"):
            error, raw = error + "\n", (stdout, stderr)
        error += reason
    return ExecutionResult(
        ending is Ending.OK, output, error, code, seconds, value, ending, name, attempts, cpu, peak, pid,
        exception, samples, history, reason, raw,
    )  # fmt: skip
