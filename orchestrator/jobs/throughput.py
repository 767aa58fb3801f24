"""Throughput: how many events a second there were lately."""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 60


class Throughput:
    """Count events over a sliding window of a minute, second by second. Times are those of time.monotonic().

    One thread counts; any may ask.
    """

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
            while self._seconds[0][0] <= second - _WINDOW_SECONDS:
                self._seconds.popleft()

    def per_second(self, now: float) -> float:
        """Return the events per second of the window, or of the time since the beginning, if that is shorter."""
        since = int(now) - _WINDOW_SECONDS
        lately = sum(events for second, events in self._seconds.copy() if second > since)
        return lately / min(_WINDOW_SECONDS, max(1.0, now - self._began))
