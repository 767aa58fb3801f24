"""MedianLimit: a time limit that is learnt from the scripts that have ended well."""

from __future__ import annotations

import bisect
import statistics

from orchestrator.events import Event, Finished

ENOUGH = 3
"""So many have to end well before there is a limit, as for `--timeout` of GNU parallel."""


class MedianLimit:
    """So many times the median time of those that ended well.

    Written by the thread that hears events; asked by those that supervise scripts, which read one field.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._good: list[float] = []
        self._limit: float | None = None

    def __call__(self) -> float | None:
        """Return the limit in seconds; None while there is none."""
        return self._limit

    def hear(self, event: Event) -> None:
        """Learn from a script that has ended well."""
        if isinstance(event, Finished) and event.result.success:
            bisect.insort(self._good, event.result.execution_time)
            if len(self._good) >= ENOUGH:
                self._limit = round(self._factor * statistics.median(self._good), 3)
