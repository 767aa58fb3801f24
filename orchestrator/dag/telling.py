"""Teller: tells the progress callback and the listener of a workflow what happens, in order.

Neither can change the run: what they raise is logged. A callback that is a coroutine function is awaited one call
after the other, beside the run; the end of `execute` waits for the last one.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.dag.model import TaskResult, TaskStatus, carried
from orchestrator.events import Event, Finished, Listener, Printed, Retrying, Started
from orchestrator.outcome import Outcome
from orchestrator.results import ExecutionResult, result_of_outcome

_log = logging.getLogger(__name__)

ProgressCallback = Callable[[str, TaskStatus, TaskResult | None], object]


class Teller:
    """Owned by one execution; used in its event loop's thread."""

    def __init__(self, callback: ProgressCallback | None, listeners: Sequence[Listener]) -> None:
        self._callback = callback
        self._listeners = listeners
        self._history: dict[int, tuple[ExecutionResult, ...]] = {}
        self._owed: deque[tuple[str, Awaitable[Any]]] = deque()
        self._payer: asyncio.Task[None] | None = None

    def running(self, index: int, name: str, attempt: int, pid: int | None) -> None:
        """Tell that an attempt was handed over; with a `pid`, also that it has begun in that process."""
        self._call(name, TaskStatus.RUNNING, None)
        if pid is not None:
            self.begun(index, name, attempt, pid)

    def begun(self, index: int, name: str, attempt: int, pid: int) -> None:
        """Tell that an attempt has begun in this process."""
        self._say(Started(index, name, pid, attempt))

    def printed(self, index: int, name: str, stream: int, data: bytes) -> None:
        """Tell what a program has written."""
        self._say(Printed(index, name, stream, data))

    def retrying(self, index: int, outcome: Outcome, result: TaskResult, delay: float) -> None:
        """Tell that an attempt failed and another comes in `delay` seconds."""
        self._call(result.name, TaskStatus.RETRYING, result)
        if self._listeners:
            told = self._as_execution(index, outcome, result)
            self._history[index] = (*told.history, told)
            self._say(Retrying(index, result.name, told, result.attempts, delay))

    def ended(self, index: int, outcome: Outcome, result: TaskResult) -> None:
        """Tell that a task has ended for good."""
        self._call(result.name, result.status, result)
        if self._listeners:
            self._say(Finished(index, result.name, self._as_execution(index, outcome, result)))

    async def finish(self) -> None:
        """Wait until every call of a coroutine callback has been awaited."""
        if self._payer is not None:
            await asyncio.wait([self._payer])

    def close(self) -> None:
        """Make no more calls."""
        self._callback, self._listeners = None, ()
        if self._payer is not None:
            self._payer.cancel()
        while self._owed:
            _, awaitable = self._owed.popleft()
            if inspect.iscoroutine(awaitable):
                awaitable.close()  # or it would warn that it was never awaited

    def _as_execution(self, index: int, outcome: Outcome, result: TaskResult) -> ExecutionResult:
        history = self._history.get(index, ())
        if history and result.attempts == len(history):  # no further attempt was made: the last one is the result
            return replace(history[-1], history=history[:-1])
        own = outcome.value if outcome.exception is None else carried(outcome.exception)
        if isinstance(own, ExecutionResult):
            return replace(own, name=result.name, attempts=result.attempts, history=history)
        return result_of_outcome(outcome, result.name, result.attempts, history)

    def _call(self, name: str, status: TaskStatus, result: TaskResult | None) -> None:
        if self._callback is None:
            return
        try:
            answer = self._callback(name, status, result)
        except Exception:
            _log.exception("the progress callback failed on %s, %s", name, status.value)
            return
        if inspect.isawaitable(answer):
            self._owed.append((f"{name}, {status.value}", answer))
            if self._payer is None or self._payer.done():
                self._payer = asyncio.get_running_loop().create_task(self._pay())

    async def _pay(self) -> None:
        while self._owed:
            what, awaitable = self._owed.popleft()
            try:
                await awaitable
            except Exception:
                _log.exception("the progress callback failed on %s", what)

    def _say(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("the listener failed on %s of %s", type(event).__name__, event.name)
