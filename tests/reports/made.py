"""Results and runs for the tests of the reports, each made in one line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.outcome import Ending, Outcome
from orchestrator.reports.run import Entry, Run
from orchestrator.results import ExecutionResult, result_of_outcome

EXITED = "exited with code 1\n"


def result(
    ending: Ending = Ending.OK,
    *,
    out: bytes = b"",
    err: bytes = b"",
    reason: str = "",
    history: tuple[ExecutionResult, ...] = (),
    **figures: Any,
) -> ExecutionResult:
    """Return what a task ended with, as the pool would say it."""
    figures = {"seconds": 0.25, "pid": 7, **figures}
    outcome = Outcome(ending, reason=reason, stdout=out, stderr=err, **figures)
    return result_of_outcome(outcome, attempts=len(history) + 1, history=history)


def failed(err: bytes = b"", **more: Any) -> ExecutionResult:
    """Return the result of a script that exited with 1."""
    return result(Ending.RAISED, err=err, reason=EXITED, return_code=1, **more)


def run(*results: ExecutionResult | None, trouble: str = "") -> Run:
    """Return a run of these tasks, called task0, task1, ..."""
    entries = [Entry(f"task{place}", one) for place, one in enumerate(results)]
    started = datetime(2026, 2, 1, 12, tzinfo=UTC)
    return Run(tuple(entries), f"{len(entries)} tasks: as said", 1.5, started, "task", trouble)


def named(name: str, one: ExecutionResult | None) -> Run:
    """Return a run of one task of any name."""
    return Run((Entry(name, one),), "1 task", 1.5, datetime(2026, 2, 1, 12, tzinfo=UTC))
