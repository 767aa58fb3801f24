"""The public result type of the runners: a view made from an Outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, assert_never

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
    streams: tuple[bytes, bytes] = field(default=(b"", b""), repr=False)
    """Captured stdout and stderr as the bytes they were."""

    def unwrap(self) -> Any:
        """Return the value, or raise what the task failed with.

        Raises the task's own exception where it could be carried over; else OrchestratorTimeoutError,
        MemoryError, UnsendableError, ConcurrencyError (cancelled or never run), or TaskFailedError.
        """
        if self.success:
            return self.value
        if self.exception is not None and self.ending is Ending.RAISED:
            raise self.exception
        message = f"{self.name or 'the task'}: {self.ending.value}\n{self.error}".rstrip()
        match self.ending:
            case Ending.TIMED_OUT:
                raise OrchestratorTimeoutError(message)
            case Ending.OUT_OF_MEMORY:
                raise MemoryError(message)
            case Ending.UNSENDABLE:
                raise UnsendableError(message)
            case Ending.CANCELLED | Ending.SKIPPED:
                raise ConcurrencyError(message)
            case Ending.OK | Ending.RAISED | Ending.CRASHED:
                raise TaskFailedError(message, result=self)
            case _:
                assert_never(self.ending)


def result_of_outcome(
    outcome: Outcome, name: str = "", attempts: int = 1, history: tuple[ExecutionResult, ...] = ()
) -> ExecutionResult:
    """Make the public result from what the pool found."""
    ending, value, reason, exception, code, seconds, cpu, peak, pid, stdout, stderr, samples = outcome
    if not (reason or stdout or stderr):
        return ExecutionResult(
            ending is Ending.OK, "", "", code, seconds, value, ending, name, attempts, cpu, peak, pid, exception,
            samples, history,
        )  # fmt: skip
    error = _text(stderr)
    if reason:
        error = f"{error}\n{reason}" if error and not error.endswith("\n") else error + reason
    return ExecutionResult(
        ending is Ending.OK, _text(stdout), error, code, seconds, value, ending, name, attempts, cpu, peak, pid,
        exception, samples, history, (stdout, stderr),
    )  # fmt: skip


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
