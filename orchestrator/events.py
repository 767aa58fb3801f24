"""What a run tells its listener: frozen events, in the order things happened.

A listener is any callable that takes one event. It is called in the thread that waits for the run,
never in two threads at once. One that raises is logged and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.results import ExecutionResult


@dataclass(frozen=True, slots=True)
class Started:
    """A task has started. `index` is its place in the input; `attempt` counts from 1."""

    index: int
    name: str
    pid: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Printed:
    """A program has written this to stream 1 (standard output) or 2. Told only by a workflow with `live_output`.

    Everything it writes comes, soon after, before its Finished; of a flood, what is kept of it.
    """

    index: int
    name: str
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Retrying:
    """An attempt failed and another will start in `delay` seconds."""

    index: int
    name: str
    result: ExecutionResult
    attempt: int
    delay: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A task has ended for good. Exactly one comes for every task of a run."""

    index: int
    name: str
    result: ExecutionResult


Event = Started | Printed | Retrying | Finished
Listener = Callable[[Event], object]
