"""MemoryGuard: what each running tree uses, from one pass over the process table per tick for all of them.

Reading the table costs milliseconds, so slots that look at about the same time share a pass.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import psutil

FIRST_SECONDS = 0.05
"""A task is first looked at after this long; shorter ones are measured by their worker alone."""
LIMITED_SECONDS = 0.1
"""How often a task with a memory limit is looked at."""
_RARE_SECONDS = 1.0
_SLOWING = 1.5
_FRESH_SECONDS = 0.02


class Usage(NamedTuple):
    """What a tree uses: resident bytes, CPU seconds so far, number of processes."""

    rss: int
    cpu: float
    processes: int


class MemoryGuard:
    """Answer what trees use. Safe from several threads; the lock is held for one pass."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both fields
        self._children: dict[int, list[psutil.Process]] = {}
        self._taken = 0.0

    def look(self, pid: int) -> Usage | None:
        """Return what the tree under `pid` uses; None when it has gone, or no descriptor is left to look with."""
        members = self._members(pid)
        rss, cpu, count = 0, 0.0, 0
        for process in members:
            try:
                with process.oneshot():
                    rss += process.memory_info().rss
                    times = process.cpu_times()
            except _gone():
                continue
            cpu += times.user + times.system + (times.children_user + times.children_system if count == 0 else 0)
            count += 1
        return Usage(rss, cpu, count) if count else None

    def confirm(self, pid: int) -> int:
        """Return a tree's memory with shared pages counted once (PSS): slow, so only to confirm an excess."""
        members = self._members(pid)
        if len(members) == 1:
            usage = self.look(pid)
            return usage.rss if usage else 0
        total = 0
        for process in members:
            try:
                total += process.memory_full_info().pss
            except _gone():
                continue
        return total

    def forget_inherited(self) -> None:
        """Replace the lock in a forked copy of the driver: a thread that is not here may have held it."""
        self._lock = threading.Lock()

    def _members(self, pid: int) -> list[psutil.Process]:
        import psutil

        with self._lock:
            now = time.monotonic()
            try:
                if now - self._taken > _FRESH_SECONDS or pid not in self._children:
                    self._children = _table()
                    self._taken = now
                found = [psutil.Process(pid)]
            except (psutil.Error, OSError):
                return []
            for process in found:  # grows while it is read: a walk, breadth first
                found.extend(self._children.get(process.pid, ()))
            return found


def next_interval(seconds: float, limited: bool) -> float:
    """Return how long to wait for the next look: steady under a memory limit, ever rarer without."""
    return LIMITED_SECONDS if limited else min(seconds * _SLOWING, _RARE_SECONDS)


def _table() -> dict[int, list[psutil.Process]]:
    import psutil

    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            children.setdefault(process.ppid(), []).append(process)
        except psutil.Error:
            continue
    return children


def _gone() -> tuple[type[BaseException], ...]:
    import psutil

    return (psutil.Error, OSError)


guard = MemoryGuard()
