"""What travels through the pool: jobs, the group each belongs to, and the pace at which they run.

A job is one attempt at one task. Its group knows what all jobs of one call share, and is told how each
ends: a run of `run_parallel` is a group, and so is a pool's own `submit`.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.outcome import Outcome

_log = logging.getLogger(__name__)

_CHUNK_SECONDS = 0.02
_CRUMB_SECONDS = 0.002
_FLOOR_SECONDS = 5e-6
_keys = itertools.count(1)


class Pace:
    """How long the tasks of a group take and how much they return, as far as that is known.

    Written by slots, racy and harmless.
    """

    __slots__ = ("_expected", "result_bytes")

    def __init__(self) -> None:
        self._expected: float | None = None
        self.result_bytes = 0

    def note(self, seconds: float, tasks: int = 1, result_bytes: int = 0) -> None:
        """Learn from finished tasks, given their means: up at once, down the faster the more they are."""
        weight = min(1.0, 0.125 * tasks)
        expected = self._expected
        if expected is None or seconds > expected:
            self._expected = seconds
        else:
            self._expected = expected + (seconds - expected) * weight
        if result_bytes >= self.result_bytes:
            self.result_bytes = result_bytes
        else:
            self.result_bytes += int((result_bytes - self.result_bytes) * weight)

    @property
    def chunk(self) -> int:
        """How many tasks make about 20 ms; 1 while that is unknown or one takes as long."""
        return self._tasks_in(_CHUNK_SECONDS)

    @property
    def crumb(self) -> int:
        """How many tasks make about 2 ms: fewer are not worth a message of their own."""
        return self._tasks_in(_CRUMB_SECONDS)

    def seconds_for(self, tasks: int) -> float:
        """Return how long so many tasks will about take; 0 while that is unknown."""
        return tasks * (self._expected or 0.0)

    def _tasks_in(self, seconds: float) -> int:
        expected = self._expected
        return 1 if expected is None else max(1, int(seconds / max(expected, _FLOOR_SECONDS)))


Input = int | bytes | os.PathLike[str] | None
"""What a program reads: a descriptor, data, a file by its path, or nothing."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program to run, and its standard streams.

    `stdout` and `stderr` are captured (None) or go to a descriptor, which stays its owner's. `seconds`, asked again
    and again while the program runs, says for how long it may (None: no limit); without it the group's limits do.
    """

    argv: Sequence[str | bytes]
    stdin: Input = None
    stdout: int | None = None
    stderr: int | None = None
    seconds: Callable[[], float | None] | None = None
    output_limit: int | None = None
    """Bytes kept of each stream; None: as many as the pool has it."""


class ProgramAction:
    """Base of the callables that are programs of their own, which the pool runs itself: see `orchestrator.programs`."""

    __slots__ = ()


class Group:
    """The jobs of one call: what they share, and who hears of their ends.

    The methods are called by slot threads, several at once.
    """

    limits: Limits = NO_LIMITS
    cwd: str | None = None
    env: dict[str, str] | None = None
    wants_start = False
    wants_output = False
    uniform = False
    """Whether the jobs are of one kind, so that many short ones may be claimed together."""
    drained = False
    """Whether what waits was withdrawn for good: then what comes back to the queue does not run either."""
    together = False
    """Whether the jobs wait for each other, as the stages of a pipe do: then none may wait for another's slot."""
    keeps_pickles = False
    """Whether the outcomes of large values hold their pickles too, so that they can be sent on as they are."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.functions: dict[int, bytes] = {}
        """Pickles of functions or code that many jobs share, by key."""

    def share(self, pickled: bytes) -> int:
        """Register the pickle of something many jobs refer to; return its key."""
        key = next(_keys)
        self.functions[key] = pickled
        return key

    def claim(self, job: Job) -> bool:
        """Tell whether the job should still run. Called once, before it is first handed out."""
        return True

    def begun(self, job: Job, pid: int) -> None:
        """Hear that a job has started. Called only where `wants_start` is set."""

    def wrote(self, job: Job, stream: int, data: bytes) -> None:
        """Hear what a command has written to stream 1 or 2, soon after. Called only where `wants_output` is set."""

    def deliver(self, job: Job, outcome: Outcome) -> None:
        """Hear how a job ended: exactly once for each."""
        raise NotImplementedError

    def deliver_all(self, ended: list[tuple[Job, Outcome]]) -> None:
        """Hear how several jobs ended. What a callback of the user's raises stops nobody's result."""
        for job, outcome in ended:
            try:
                self.deliver(job, outcome)
            except BaseException:  # it may exit or interrupt: not here
                _log.exception("a callback of %s failed", job.name)


class Job:
    """One attempt at one task. Owned by the queue, then by the slot that took it."""

    # Defaults of the class, set on the few that differ: a job is made for every task.
    claimed = False
    """Whether the group has let it run."""
    cancelled = False
    """Whether it should not run, or stop if it does. Set by anyone, read by its owner."""
    alone = False
    """Whether it may not travel with others: it is a command, or somebody died over it."""
    strikes = 0
    """How many workers have died over its arguments."""

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

    def again(self) -> Job:
        """Return a fresh job for another attempt."""
        return Job(self.group, self.key, self.name, self.pickled, self.function, self.command)
