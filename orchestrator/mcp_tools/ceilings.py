"""Ceilings: what no call may exceed, as whoever started the server has said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from orchestrator.limits import Limits, parse_bytes
from orchestrator.mcp_tools.refusals import Refused
from orchestrator.wording import duration, size

_N = TypeVar("_N", int, float)

MOST_TASKS = 10_000
"""Scripts in one batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """The most that a call gets: `jobs` at a time, `seconds` and bytes of `memory` for each task, `runs` at a time.

    None is no ceiling. What a call asks for above one is refused; what a script's own settings say is lowered to it.
    """

    jobs: int = 4
    seconds: float | None = None
    memory: int | None = None
    runs: int = 4

    def jobs_for(self, asked: int | None) -> int:
        """Return how many tasks run at a time. Raises Refused for more than there may be."""
        if asked is not None and asked > self.jobs:
            raise Refused(f"jobs: {asked} is more than this server allows, which is {self.jobs} at a time")
        return asked or self.jobs

    def seconds_for(self, asked: float | None) -> float | None:
        """Return the seconds that were asked for. Raises Refused for more than there may be."""
        if asked is not None and self.seconds is not None and asked > self.seconds:
            most = f"{self.seconds:g} ({duration(self.seconds)})"
            raise Refused(f"timeout_seconds: {asked:g} is more than this server allows, which is {most}")
        return asked

    def memory_for(self, asked: int | str | None) -> int | None:
        """Return the bytes that were asked for. Raises Refused for more than there may be, and for no amount."""
        try:
            amount = Limits(memory=parse_bytes(asked) if isinstance(asked, str) else asked).memory
        except ValueError as error:
            raise Refused(f"memory: {error}") from error
        if amount is not None and self.memory is not None and amount > self.memory:
            raise Refused(f"memory: {size(amount)} is more than this server allows, which is {size(self.memory)}")
        return amount

    def lowered(self, seconds: float | None, memory: int | None) -> tuple[float | None, int | None]:
        """Return limits that keep below the ceilings.

        >>> Ceilings(seconds=60).lowered(None, 1000)
        (60, 1000)
        """
        return _lower(seconds, self.seconds), _lower(memory, self.memory)


def _lower(one: _N | None, other: _N | None) -> _N | None:
    return min((value for value in (one, other) if value is not None), default=None)
