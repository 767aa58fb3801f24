"""Waiting: which job is next.

    add ---------------> may start: by priority (higher first), then by order of coming -> take
                          ^
    add_later -> due later, by either of two clocks: ripen

A job may be discarded wherever it waits: its entry stays, dead, until it comes up or most entries there are dead.

Pure: no clock, no threads. The scheduler says what time it is.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import insort
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

_Entry: TypeAlias = tuple[str, int]
"""Name and priority. An entry is alive as long as its name is mapped to this very tuple."""

_TimedEntry: TypeAlias = tuple[float, int, str, int]
"""When it is due, the order of coming, name, priority."""


class Waiting:
    """Keep the names of jobs that wait: those that may start now, and those due later.

    >>> waiting = Waiting()
    >>> waiting.add("a"); waiting.add("b"); waiting.add("urgent", priority=5)
    >>> waiting.add_later("timed", 5, due=100.0, wall=False)
    >>> waiting.take(), waiting.take(), waiting.next_due(monotonic=40.0, wall=0.0)
    ('urgent', 'a', 60.0)
    >>> waiting.ripen(monotonic=100.0, wall=0.0)
    >>> waiting.take(), waiting.take(), waiting.take()
    ('timed', 'b', None)
    """

    def __init__(self) -> None:
        self._ready: dict[str, _Entry] = {}
        self._queues: dict[int, deque[_Entry]] = {}
        """By priority; none is empty, though all its entries may be dead."""
        self._priorities: list[int] = []
        """Those of the queues, ascending."""
        self._discarded = 0
        """How many were since the last sweep: no more are dead in the queues."""
        self._by_monotonic = _Timed()
        self._by_wall = _Timed()
        self._order = itertools.count()

    def add(self, name: str, priority: int = 0) -> None:
        """Add a job that may start now. Raises ValueError when it waits already."""
        if name in self._ready or name in self._by_monotonic.alive or name in self._by_wall.alive:
            raise ValueError(f"job {name} waits already")
        queue = self._queues.get(priority)
        if queue is None:
            queue = self._queues[priority] = deque()
            insort(self._priorities, priority)
        self._ready[name] = entry = (name, priority)
        queue.append(entry)

    def add_later(self, name: str, priority: int, due: float, *, wall: bool) -> None:
        """Add a job that may start at `due`, by time.monotonic() or, with `wall`, by time.time().

        Raises ValueError when it waits already.
        """
        if name in self:
            raise ValueError(f"job {name} waits already")
        timed = self._by_wall if wall else self._by_monotonic
        timed.add((due, next(self._order), name, priority))

    def take(self) -> str | None:
        """Remove and return the next one that may start; None when there is none now."""
        while self._priorities:
            priority = self._priorities[-1]
            queue = self._queues[priority]
            entry = queue.popleft()
            if not queue:
                del self._queues[priority]
                self._priorities.pop()
            name = entry[0]
            if self._ready.get(name) is entry:
                del self._ready[name]
                return name
        return None

    def discard(self, name: str) -> bool:
        """Remove a job; return whether it waited. It takes constant time, averaged over many."""
        if self._ready.pop(name, None) is None:
            return self._by_monotonic.discard(name) or self._by_wall.discard(name)
        self._discarded += 1
        if self._discarded > len(self._ready):
            self._sweep()
        return True

    def ripen(self, monotonic: float, wall: float) -> None:
        """Let those start that have become due, in order of their times.

        Of two clocks, the one that has been due for longer goes first. Each goes behind those of its priority that
        may start already.
        """
        ripe = [(entry[0] - monotonic, entry) for entry in self._by_monotonic.ripe(monotonic)]
        ripe += [(entry[0] - wall, entry) for entry in self._by_wall.ripe(wall)]
        for _, (_, _, name, priority) in sorted(ripe):
            self.add(name, priority)

    def next_due(self, monotonic: float, wall: float) -> float | None:
        """Return the seconds until `ripen` will find one, 0 when it would now; None when no job waits for a time."""
        dues = [self._by_monotonic.due_in(monotonic), self._by_wall.due_in(wall)]
        return min((seconds for seconds in dues if seconds is not None), default=None)

    @property
    def ready(self) -> int:
        """How many may start now."""
        return len(self._ready)

    def __len__(self) -> int:
        return len(self._ready) + len(self._by_monotonic.alive) + len(self._by_wall.alive)

    def __contains__(self, name: str) -> bool:
        return name in self._ready or name in self._by_monotonic.alive or name in self._by_wall.alive

    def _sweep(self) -> None:
        queues: dict[int, deque[_Entry]] = {}
        for priority, queue in self._queues.items():
            alive = deque(entry for entry in queue if self._ready.get(entry[0]) is entry)
            if alive:
                queues[priority] = alive
        self._queues, self._priorities, self._discarded = queues, sorted(queues), 0


class _Timed:
    """Jobs that wait for a time of one clock."""

    def __init__(self) -> None:
        self.alive: dict[str, _TimedEntry] = {}
        self._heap: list[_TimedEntry] = []

    def add(self, entry: _TimedEntry) -> None:
        self.alive[entry[2]] = entry
        heapq.heappush(self._heap, entry)

    def discard(self, name: str) -> bool:
        if self.alive.pop(name, None) is None:
            return False
        self._sweep()
        return True

    def ripe(self, now: float) -> Iterator[_TimedEntry]:
        """Remove and yield those that are due, the earliest first."""
        while (entry := self._first()) and entry[0] <= now:
            heapq.heappop(self._heap)
            del self.alive[entry[2]]
            yield entry
        self._sweep()

    def due_in(self, now: float) -> float | None:
        """Return the seconds until the first is due, 0 when it is; None when there is none."""
        entry = self._first()
        return max(0.0, entry[0] - now) if entry else None

    def _first(self) -> _TimedEntry | None:
        while self._heap and self.alive.get(self._heap[0][2]) is not self._heap[0]:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def _sweep(self) -> None:
        if len(self._heap) > 2 * len(self.alive):
            self._heap = list(self.alive.values())
            heapq.heapify(self._heap)
