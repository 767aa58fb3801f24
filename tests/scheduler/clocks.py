"""A scheduler in an event loop whose clock is steered, with a wall clock that goes along and can be set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from orchestrator.scheduling import clock
from tests.workflow.steered import steered

_T = TypeVar("_T")

NOON = 1_800_000_000.0
"""What the wall clock shows when the loop's shows 0: 2027-01-15 08:00 UTC."""


class WallClock:
    """Shows NOON and what has passed in the loop, and by how much somebody has set it."""

    def __init__(self) -> None:
        self.set_by = 0.0

    def __call__(self) -> float:
        return NOON + asyncio.get_running_loop().time() + self.set_by


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Give the scheduler a wall clock that is steered, too."""
    shown = WallClock()
    monkeypatch.setattr(clock, "wall", shown)
    return shown


def at_once(main: Callable[[], Awaitable[_T]]) -> _T:
    """Run a coroutine function in a steered loop and return what it returns."""
    return steered(main)[0]


def passed() -> float:
    """Return the seconds that have passed in the loop."""
    return round(asyncio.get_running_loop().time(), 3)
