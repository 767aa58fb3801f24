"""What came of an order: every result, and why some lack. Values only."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.cli.order import Order
from orchestrator.outcome import Ending
from orchestrator.results import ExecutionResult


@dataclass(frozen=True, slots=True)
class Record:
    """What came of an order. `results` are by the task's place in it; `problem` says why some lack."""

    order: Order
    results: Mapping[int, ExecutionResult]
    seconds: float
    stopped_by: signal.Signals | None
    problem: str
    ended_early: str = ""
    """Why the run was given up: its own deadline."""

    @property
    def success(self) -> bool:
        """Say whether every task ended well, or as it may. One that was skipped was so by its own condition, else
        another one has failed.
        """
        well = not (self.problem or self.ended_early or self.stopped_by)
        return (
            well
            and len(self.results) == len(self.order.tasks)
            and all(r.ending in (Ending.OK, Ending.SKIPPED) or r.tolerated for r in self.results.values())
        )

    def counts(self) -> dict[Ending, int]:
        """Return how many tasks ended in each way, without the ways that did not occur."""
        counts = Counter(result.ending for result in self.results.values())
        return {ending: counts[ending] for ending in Ending if counts[ending]}


def was_run(result: ExecutionResult) -> bool:
    """Say whether the task was run at all, or tried: not when it was cancelled or skipped before."""
    return result.pid is not None or result.ending not in (Ending.CANCELLED, Ending.SKIPPED)


def reason(result: ExecutionResult) -> str:
    """Return why a result is no success: its error text without the captured stderr before it."""
    captured = result.streams[1].decode("utf-8", "replace")
    return result.error.removeprefix(captured).strip("\n")
