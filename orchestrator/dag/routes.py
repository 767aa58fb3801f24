"""Routes: which lane a task takes. Lanes are opened when the first task takes them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from orchestrator.dag.lanes import Begun, Ended, ExecutorLane, Lane, LoopLane, Printed
from orchestrator.dag.model import Task, Where, runs_limits
from orchestrator.dag.threads import Threads
from orchestrator.events import Listener

if TYPE_CHECKING:
    from orchestrator.dag.in_pool import PoolLane
    from orchestrator.pool.pool import Pool

_LOOP, _THREADS, _POOL = "loop", "threads", "pool"
"""The lanes that a workflow has of its own; others are known by their executor."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the options of a Workflow mean, checked."""

    timeout: float | None = None
    max_concurrency: int | None = None
    executor: Where | None = None
    max_workers: int | None = None
    tolerated: float | None = None
    """As `orchestrator.limits.tolerance` has it."""
    halt: Literal["now", "soon"] = "now"
    listeners: tuple[Listener, ...] = ()
    live_output: bool = False

    def bears(self, failures: int, total: int) -> bool:
        """Whether the run goes on after so many failures, of so many tasks in all."""
        tolerated = self.tolerated
        return tolerated is None or failures <= (tolerated * total if 0 < tolerated < 1 else tolerated)

    def with_timeout(self, seconds: float | None) -> Options:
        """Return the same options with another deadline."""
        return replace(self, timeout=seconds)


class Routes:
    """The lanes of one execution. Used in its event loop's thread."""

    def __init__(self, options: Options, ended: Ended, begun: Begun | None, printed: Printed | None) -> None:
        self._options = options
        self._ended = ended
        self._begun = begun
        self._printed = printed
        self._lanes: dict[object, Lane] = {}
        self._gathering: list[PoolLane] = []

    def lane_of(self, task: Task) -> Lane:
        """Return the lane that a task takes."""
        return self._lane(self._key_of(task))

    @property
    def loop(self) -> LoopLane:
        """The lane of coroutines."""
        lane = self._lane(_LOOP)
        assert isinstance(lane, LoopLane)
        return lane

    @property
    def lanes(self) -> Iterable[Lane]:
        """The lanes that are open."""
        return self._lanes.values()

    def to_worker(self, task: Task) -> bool:
        """Whether a task's arguments travel to a worker process."""
        key = self._key_of(task)
        return (key is _POOL or runs_limits(key)) and not task.is_program

    def flush(self) -> None:
        """Have lanes that gather what was begun send it off."""
        for lane in self._gathering:
            lane.flush()

    def close(self, *, orderly: bool) -> None:
        """Close every lane."""
        for lane in self._lanes.values():
            lane.close(orderly=orderly)

    def _key_of(self, task: Task) -> object:
        """Return where a task runs: in the loop, in our threads, in the pool, or the executor that has it run."""
        where = task.executor
        if task.is_program:
            where = where or self._options.executor
            return where if runs_limits(where) else _POOL
        if task.is_coroutine:
            return _POOL if where == "process" else _LOOP
        if where is None:
            where = self._options.executor
            if task.has_limits and not runs_limits(where):
                where = "process"  # only a process can be stopped
        if where is None or where == "thread":
            return _THREADS
        return _POOL if where == "process" else where

    def _lane(self, key: object) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._open_lane(key)
        return lane

    def _open_lane(self, key: object) -> Lane:
        if key is _LOOP:
            return LoopLane(self._ended)
        if key is _THREADS:
            most = self._options.max_concurrency or min(32, (os.cpu_count() or 1) + 4)  # as ThreadPoolExecutor has it
            return ExecutorLane(self._ended, self._begun, self._printed, Threads(most), own=True)
        if key is not _POOL and not runs_limits(key):
            return ExecutorLane(self._ended, None, None, cast(Executor, key), own=False)
        from orchestrator.dag.in_pool import PoolLane  # late: what runs in this process needs no pool

        pool = None if key is _POOL else cast("Pool", key)
        self._gathering.append(PoolLane(self._ended, self._begun, self._printed, pool, self._options.max_workers))
        return self._gathering[-1]
