"""How many runs of one agent may be under way: a Gate in this process, a Crew of slots where processes run.

Both hold for all threads and event loops of the process. Whoever waits is not running yet, so no time limit counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from orchestrator.exceptions import ConcurrencyError
from orchestrator.limits import Limits
from orchestrator.pool.job import Group, Job
from orchestrator.pool.pool import Pool
from orchestrator.pool.shared import IDLE_SECONDS

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]

_inside: ContextVar[tuple[Gate, ...]] = ContextVar("orchestrator agents", default=())
"""The gates that the present run has a place in, also those of the runs it is part of."""


class Gate:
    """Let `most` runs of an agent through at a time, in the order in which they came."""

    def __init__(self, agent: str, most: int) -> None:
        self._agent = agent
        self._most = most
        # Guards the two below. Reentrant, for the garbage collector may close a coroutine that waits or has a place.
        self._lock = threading.RLock()
        self._free = most
        self._waiting: deque[_Waiter] = deque()
        _gates.add(self)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and have it while the context lasts.

        Raises ConcurrencyError inside a run that has a place here already: all others may be waiting in the same way.
        """
        if self in _inside.get():
            raise ConcurrencyError(
                f"agent {self._agent!r} was run from inside a run of its own, and could wait for itself for ever: "
                "register it without a limit of concurrency, or once more under another name"
            )
        await self._enter()
        token = _inside.set((*_inside.get(), self))
        try:
            yield
        finally:
            self._leave()
            with contextlib.suppress(ValueError):  # the garbage collector closes it, in some other context
                _inside.reset(token)

    async def _enter(self) -> None:
        """Wait for a place. Woken by whoever leaves, who hands the place over."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            waiter = loop, loop.create_future()
            self._waiting.append(waiter)
        has_place = False
        try:
            await waiter[1]
            has_place = True
        finally:
            if not has_place:  # cancelled, or its loop is gone
                self._withdraw(waiter)

    def _withdraw(self, waiter: _Waiter) -> None:
        """Stop waiting; a place that was handed over just then goes to the next."""
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                return
        self._leave()

    def _leave(self) -> None:
        """Hand the place over to whoever has waited longest."""
        with self._lock:
            while self._waiting:
                loop, woken = self._waiting.popleft()
                with contextlib.suppress(RuntimeError):  # its loop was closed: it waits no more
                    loop.call_soon_threadsafe(_wake, woken)
                    return
            self._free += 1

    def forget_inherited(self) -> None:
        """Start afresh in a forked copy of the process: those who had places run elsewhere."""
        self._lock = threading.RLock()
        self._free = self._most
        self._waiting.clear()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


class Crew(Executor):
    """The pool of one agent, with as many slots as it may have runs: made when it is needed, and made again.

    To a workflow it is an executor that holds tasks to their limits, as a Pool is.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()  # guards the pool
        self._pool: Pool | None = None
        _crews.add(self)

    def _made(self) -> Pool:
        with self._lock:
            if self._pool is None or self._pool.closed:
                self._pool = Pool(self._most, idle_seconds=IDLE_SECONDS)
            return self._pool

    def dispatch(self, jobs: Iterable[Job]) -> None:
        """Queue jobs. Raises ConcurrencyError when no worker can be had."""
        self._made().dispatch(jobs)

    def withdraw(self, *groups: Group) -> list[Job]:
        """Take the waiting jobs of groups back; those that run go on."""
        return self._made().withdraw(*groups)

    def cancel_jobs(self, jobs: Iterable[Job]) -> None:
        """Stop these jobs."""
        self._made().cancel_jobs(jobs)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run a call in a worker, as `Pool.submit` does."""
        return self._made().submit(fn, *args, **kwargs)

    def submit_limited(self, limits: Limits, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Run a call within limits, as `Pool.submit_limited` does."""
        return self._made().submit_limited(limits, fn, *args, **kwargs)

    def close(self) -> None:
        """Let the pool's work end, and its workers go."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def forget_inherited(self) -> None:
        """Start afresh in a forked copy of the process."""
        self._lock = threading.Lock()
        self._pool = None


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()
_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


def _forget_inherited() -> None:
    for gate in _gates:
        gate.forget_inherited()
    for crew in _crews:
        crew.forget_inherited()


os.register_at_fork(after_in_child=_forget_inherited)
