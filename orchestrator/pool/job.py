"""What travels through the pool: jobs, the group each belongs to, and the pace at which they run.

A job is one attempt at one task. Its group knows what all jobs of one call share, and is told how each
ends: a run of `run_parallel` is a group, and so is a pool's own `submit`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.outcome import Outcome

_CHUNK_SECONDS = 0.02
_FLOOR_SECONDS = 5e-6
_keys = itertools.count(1)


class Pace:
    """How long the tasks of a group take, as far as that is known. Written by slots, racy and harmless."""

    __slots__ = ("_expected",)

    def __init__(self) -> None:
        self._expected: float | None = None

    def note(self, seconds: float) -> None:
        """Learn from one finished task: up at once, down slowly."""
        expected = self._expected
        if expected is None or seconds > expected:
            self._expected = seconds
        else:
            self._expected = expected + (seconds - expected) * 0.125

    @property
    def chunk(self) -> int:
        """How many tasks make about 20 ms; 1 while that is unknown or one takes as long."""
        expected = self._expected
        if expected is None:
            return 1
        return max(1, int(_CHUNK_SECONDS / max(expected, _FLOOR_SECONDS)))


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program to run: its arguments, the file for its standard input (None: empty), and the shown name."""

    argv: Sequence[str | bytes]
    stdin: int | None = None


class Group:
    """The jobs of one call: what they share, and who hears of their ends.

    The methods are called by slot threads, several at once.
    """

    limits: Limits = NO_LIMITS
    cwd: str | None = None
    env: dict[str, str] | None = None
    wants_start = False

    def __init__(self) -> None:
        self.pace = Pace()
        self.functions: dict[int, bytes] = {}
        """Pickles of functions that many jobs share, by key."""

    def share(self, pickled: bytes) -> int:
        """Register a function many jobs will call; return its key."""
        key = next(_keys)
        self.functions[key] = pickled
        return key

    def claim(self, job: Job) -> bool:
        """Tell whether the job should still run. Called once, before it is first handed out."""
        return True

    def begun(self, job: Job, pid: int) -> None:
        """Hear that a job has started. Called only where `wants_start` is set."""

    def deliver(self, job: Job, outcome: Outcome) -> None:
        """Hear how a job ended: exactly once for each."""
        raise NotImplementedError


class Job:
    """One attempt at one task. Owned by the queue, then by the slot that took it."""

    __slots__ = (
        "alone",
        "cancelled",
        "claimed",
        "command",
        "function",
        "group",
        "key",
        "name",
        "pickled",
        "strikes",
    )

    def __init__(
        self,
        group: Group,
        key: Any,
        name: str,
        pickled: bytes = b"",
        function: int = -1,
        command: CommandLine | None = None,
    ) -> None:
        self.group = group
        self.key = key
        self.name = name
        self.pickled = pickled
        self.function = function
        self.command = command
        self.cancelled = False
        self.claimed = False
        self.alone = command is not None
        self.strikes = 0

    def again(self) -> Job:
        """Return a fresh job for another attempt."""
        return Job(self.group, self.key, self.name, self.pickled, self.function, self.command)
