"""What the tasks of these tests do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from orchestrator import (
    Workflow,
)


def lasting(seconds: float, value: Any = None, error: BaseException | None = None) -> Callable[[], Any]:
    """Return a coroutine function that takes so long and then returns the value, or raises the error."""

    async def act() -> Any:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return value

    return act


def hanging(cleaned: list[int], seconds: float = 0.0) -> Callable[[], Any]:
    """Return a coroutine function that waits to be cancelled, and then takes so long to clean up."""

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            if seconds:
                await asyncio.sleep(seconds)
            cleaned.append(1)

    return hang


class Flaky:
    """Make coroutine functions that fail the first so many times."""

    def __init__(self, failures: int, seconds: float = 0.0) -> None:
        self.left = failures
        self.calls = 0
        self.seconds = seconds

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.left:
            self.left -= 1
            raise ConnectionError(f"attempt {self.calls}")
        return "fine"


def results_are_final(flow: Workflow) -> bool:
    """Say whether every task of a workflow has a result."""
    return flow.results.keys() == flow.tasks.keys()
