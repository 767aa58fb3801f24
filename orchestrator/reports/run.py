"""A run as every report sees it: what its tasks are called, what they ended with, and what is said of the whole.

The command line makes one from what it has carried out. Values, and the few judgements that all formats share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import assert_never

from orchestrator.outcome import Ending
from orchestrator.reports.tracebacks import exception_in
from orchestrator.results import ExecutionResult
from orchestrator.wording import duration, end_of, neutral

TAIL_LINES = 20
"""So much of each stream is shown of a task that failed."""


class Verdict(Enum):
    """What a reader of tests makes of an ending.

    It went well, the task said no, it came to say nothing, it was allowed to fail and did, it was not run to its end.
    """

    PASSED = "passed"
    FAILED = "failed"
    BROKEN = "broken"
    TOLERATED = "tolerated"
    SKIPPED = "skipped"

    @property
    def bad(self) -> bool:
        """Whether somebody has to look at it."""
        return self in (Verdict.FAILED, Verdict.BROKEN)


@dataclass(frozen=True, slots=True)
class Entry:
    """One task: its name on one line, and its result; None if the run ended before it had one."""

    name: str
    result: ExecutionResult | None

    @property
    def verdict(self) -> Verdict:
        """What is to be thought of it."""
        return Verdict.BROKEN if self.result is None else verdict_on(self.result)

    @property
    def flaky(self) -> bool:
        """Whether it went well, but not at once."""
        return self.verdict is Verdict.PASSED and self.result is not None and self.result.attempts > 1

    @property
    def headline(self) -> str:
        """Its name and how it ended."""
        return f"{self.name}: no result" if self.result is None else headline(self.name, self.result)

    @property
    def cause(self) -> str:
        """Why it is no success, in one line."""
        return "the run ended before it had a result" if self.result is None else cause(self.result)


@dataclass(frozen=True, slots=True)
class Run:
    """All entries in the order of the input. `totals` says in one line what came of them; `noun` is what one is called.

    `seconds` is the time the run took; `started` has a time zone; `trouble` says why the run as a whole is no success
    although its tasks may be.
    """

    entries: tuple[Entry, ...]
    totals: str
    seconds: float
    started: datetime
    noun: str = "task"
    trouble: str = ""

    def bad(self) -> Iterator[Entry]:
        """Yield the tasks somebody has to look at."""
        return (entry for entry in self.entries if entry.verdict.bad)


def verdict_on(result: ExecutionResult) -> Verdict:
    """Judge a result. A task that was stopped because others failed, or on request, counts as skipped."""
    if result.tolerated and result.ending not in (Ending.OK, Ending.CANCELLED, Ending.SKIPPED):
        return Verdict.TOLERATED
    match result.ending:
        case Ending.OK:
            return Verdict.PASSED
        case Ending.RAISED:
            return Verdict.FAILED
        case Ending.TIMED_OUT | Ending.OUT_OF_MEMORY | Ending.CRASHED | Ending.UNSENDABLE:
            return Verdict.BROKEN
        case Ending.CANCELLED | Ending.SKIPPED:
            return Verdict.SKIPPED
        case _:
            assert_never(result.ending)


def headline(name: str, result: ExecutionResult) -> str:
    """Say in one line how a task ended.

    >>> headline("sum.py", ExecutionResult(False, "", "", 1, 0.25, ending=Ending.RAISED, attempts=2))
    'sum.py: raised after 250 ms, attempt 2'
    """
    attempt = f", attempt {result.attempts}" if result.attempts > 1 else ""
    return f"{name}: {result.ending.value} after {duration(result.execution_time)}{attempt}"


def cause(result: ExecutionResult) -> str:
    """Return in one line why a result is no success: the exception, and the reason we gave if that says more.

    >>> said = "exited with code 3"
    >>> cause(ExecutionResult(False, "", said, 3, 0.1, ending=Ending.RAISED, reason=said))
    'exited with code 3'
    """
    if exception := exception_in(result.reason):
        return exception
    lines = (line.strip()[:500] for line in neutral(result.reason[:4000]).splitlines())
    reason = next(filter(None, lines), result.ending.value)
    exception = exception_in(result.error) if result.ending is Ending.RAISED else ""
    return f"{exception} ({reason})" if exception else reason


def streams(result: ExecutionResult) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of what a task printed; bytes that are no UTF-8 are U+FFFD."""
    for name, stream in zip(("stdout", "stderr"), result.streams, strict=True):
        yield name, stream.decode("utf-8", "replace")


def last_lines(text: str, lines: int = TAIL_LINES) -> str:
    """Return the end of a program's output, neutralised; "" if it has printed nothing."""
    return "\n".join(end_of(text, lines)[0]).strip("\n")
