"""What a row of the table is: contenders that each give a reading, made in a process of its own."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OURS = "orchestrator"


class WrongResult(Exception):
    """A contender did not return what its tasks should have returned."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much to do: everything, or about a tenth to see that it works."""

    quick: bool = False

    def of(self, count: int) -> int:
        """Return how many of `count` tasks to run."""
        return max(count // 10, 10) if self.quick else count


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement: a figure in the row's unit, and what was counted beside it."""

    figure: float
    facts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender in a row. `sample` runs in a fresh process; `module` or `program` is what it needs.

    `loose` marks a form that carries many tasks in one message and tells one result or one error for all.
    """

    name: str
    sample: Callable[[Scale], Reading]
    module: str | None = None
    program: str | None = None
    loose: bool = False

    @property
    def missing(self) -> bool:
        """Whether what it needs is not installed."""
        if self.program is not None:
            return shutil.which(self.program) is None
        return self.module is not None and importlib.util.find_spec(self.module) is None


@dataclass(frozen=True, slots=True)
class Row:
    """A question to all contenders: `to_reach` is our aim, `deadline_seconds` the most that one sample may take."""

    number: int
    title: str
    unit: str
    to_reach: str
    entries: Sequence[Entry]
    more_is_better: bool = False
    deadline_seconds: float = 180.0


def verify(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Raise WrongResult unless the results are the expected ones, each in its place."""
    if len(found) != len(expected):
        raise WrongResult(f"{len(found)} results for {len(expected)} tasks")
    for index, (value, right) in enumerate(zip(found, expected, strict=True)):
        if value != right:
            raise WrongResult(f"task {index} gave {value!r}, not {right!r}")
