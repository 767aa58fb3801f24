"""The exception that reaches a task when its time is up, and the signal handler that raises it.

It is defined here, not in `orchestrator`, because a worker raises it and a worker imports nothing
of `orchestrator`; `orchestrator.OrchestratorTimeoutError` is this very class.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

SIGNAL = signal.SIGRTMIN + 13
"""What interrupts a task. Not SIGTERM: CPython forgets a signal that reaches a forked child before it has
come to itself, if the parent handles it, and then multiprocessing's pools wait for ever for a child they
have terminated. So a worker leaves SIGTERM alone."""


class OrchestratorTimeoutError(Exception):
    """Report that a deadline has passed.

    Raised in three places: in a worker's main thread, at the line where a task hangs, when the task
    is stopped (its time limit passed or it was cancelled); by `ExecutionResult.unwrap()` for a task
    that timed out; and by a workflow whose own deadline has passed: then `results` holds the TaskResult of
    every task.
    """

    results: Any = None


class Interrupt:
    """Turn SIGNAL into an exception, but only while a task is running.

    The loop sets `armed` around the user's function. A signal that arrives between tasks is too
    late to matter: the finished task's frame wins, and whoever sent the signal kills the worker next.
    """

    __slots__ = ("armed", "fired")

    def __init__(self) -> None:
        self.armed = False
        self.fired = False

    def __call__(self, _signum: int, _frame: FrameType | None) -> None:
        if self.armed and not self.fired:  # once: a second one would cut the task's own clean-up short
            self.fired = True
            raise OrchestratorTimeoutError("stopped here: the task's time limit passed or it was cancelled")
