"""Throughput: how many events a second there were lately."""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 60


class Throughput:
    """Count events over a sliding window of a minute, second by second. Times are those of time.monotonic()."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._seconds: deque[list[int]] = deque()  # [second, events in it]

    def note(self, now: float) -> None:
        """Count one event."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += 1
        else:
            self._seconds.append([second, 1])
            self._forget(second)

    def per_second(self, now: float) -> float:
        """Return the events per second of the window, or of the time since the beginning, if that is shorter."""
        self._forget(int(now))
        return sum(events for _, events in self._seconds) / min(_WINDOW_SECONDS, max(1.0, now - self._began))

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - _WINDOW_SECONDS:
            self._seconds.popleft()
