"""An event loop whose clock is steered: it jumps to the next timer when there is nothing else to do.

A verified stand-in: other tests run the same engine against the real clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from orchestrator import TaskResult, TaskStatus, Workflow

_T = TypeVar("_T")


class _Selector(selectors.SelectSelector):
    """Let the time that would be waited for pass at once."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left to wait for: the run would hang for ever"
            self.passed += max(0.0, timeout)
        return ready


class SteeredLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at time 0 and never waits. For coroutines only: threads would be left behind."""

    def __init__(self) -> None:
        self._steered = _Selector()
        super().__init__(self._steered)

    def time(self) -> float:
        return self._steered.passed


def steered(main: Callable[[], Awaitable[_T]]) -> tuple[_T, float]:
    """Run a coroutine function in a steered loop; return what it returns and the seconds that have passed there."""

    async def timed() -> tuple[_T, float]:
        value = await main()
        return value, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=SteeredLoop) as runner:
        return runner.run(timed())


class Log:
    """A progress callback that remembers what it was told, with the loop's time."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str, str]] = []
        self.results: list[TaskResult | None] = []

    def __call__(self, name: str, status: TaskStatus, result: TaskResult | None) -> None:
        self.lines.append((round(asyncio.get_running_loop().time(), 6), name, status.value))
        self.results.append(result)

    def of(self, name: str) -> list[str]:
        """Return the statuses that a task went through."""
        return [status for _, other, status in self.lines if other == name]

    def times(self, name: str) -> list[float]:
        """Return when they changed."""
        return [time for time, other, _ in self.lines if other == name]


def statuses(results: Mapping[str, TaskResult]) -> dict[str, str]:
    """Return each task's status in a word."""
    return {name: result.status.value for name, result in results.items()}


def values(results: Mapping[str, TaskResult]) -> dict[str, Any]:
    """Return each task's value."""
    return {name: result.value for name, result in results.items()}


def run_steered(workflow: Workflow, log: Log | None = None) -> tuple[dict[str, TaskResult], float]:
    """Execute a workflow in a steered loop; return the results and the seconds that have passed there."""
    return steered(lambda: workflow.execute(log))
