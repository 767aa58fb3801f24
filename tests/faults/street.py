"""A street: crimes committed among innocent neighbours, of whom none may lose a result or run twice."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator import Ending, ExecutionResult, run_parallel
from tests import crimes
from tests.waiting import eventually, lines_of

NOISE_SECONDS = 2.0
"""What a loaded machine may add to any bound."""


class Street:
    """Run crimes in one call with well-behaved tasks, and vouch for those."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = 0

    def run(self, *acts: Callable[[], Any], among: int = 6, workers: int = 2, **options: Any) -> list[ExecutionResult]:
        """Run `acts` spread over `among` neighbours and return the results of the acts, in order.

        Asserts that each neighbour ran exactly once and got its own result in its own place, and that the
        same pool then serves on.
        """
        self._runs += 1
        log = self.folder / f"neighbours-{self._runs}"
        share = -(-among // (len(acts) + 1))
        tasks: list[Callable[[], Any]] = []
        places: list[int] = []
        neighbours: dict[int, int] = {}
        for act in (*acts, None):
            for _ in range(min(share, among - len(neighbours))):
                number = len(neighbours)
                neighbours[len(tasks)] = number
                tasks.append(functools.partial(crimes.neighbour, str(log), number))
            if act is not None:
                places.append(len(tasks))
                tasks.append(act)
        results = run_parallel(tasks, workers, **options)
        assert len(results) == len(tasks)
        for place, number in neighbours.items():
            assert results[place].ending is Ending.OK, results[place]
            assert results[place].value == number * number
        assert sorted(map(int, lines_of(log))) == list(range(among))
        self.serves_on(workers)
        return [results[place] for place in places]

    def serves_on(self, workers: int = 2) -> None:
        """Assert that the shared pool still does what it is for."""
        results = run_parallel([functools.partial(pow, 2, exponent) for exponent in range(8)], workers)
        assert [result.value for result in results] == [1, 2, 4, 8, 16, 32, 64, 128]

    def path(self, name: str) -> str:
        """Return a path in the test's own folder, as tasks want it."""
        return str(self.folder / name)

    def pids(self, name: str, seconds: float = 20.0) -> list[int]:
        """Wait for the pids that a task announces in a file, and return them."""
        eventually((self.folder / name).exists, seconds, f"an announcement in {name}")
        return [int(word) for word in (self.folder / name).read_text(encoding="utf-8").split()]


class Stopwatch:
    """Measure how long a block takes, to compare it with a promise."""

    def __enter__(self) -> Stopwatch:
        self._start = time.monotonic()
        self.seconds = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._start
