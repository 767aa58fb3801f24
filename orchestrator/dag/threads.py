"""Threads of a workflow's own, as a `concurrent.futures.Executor` for `loop.run_in_executor`.

Unlike those of the standard library's executor (and of the loop's default one) they are daemons, and nobody
waits for one that is stuck: not `shutdown` when it is told not to wait, and not the interpreter's exit.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Threads(Executor):
    """At most `most` threads, started as there is work for them. Submitted to from one thread only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards the two counts
        self._waiting = 0  # calls that no thread has taken
        self._free = 0  # threads that will take one next
        self._threads: list[threading.Thread] = []

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have a thread call `fn(*args, **kwargs)`."""
        future: Future[_T] = Future()
        with self._lock:
            self._waiting += 1
        self._work.put((future, fn, args, kwargs))
        self._see_to_it(future)
        return future

    def replace_one(self) -> None:
        """Have another thread do what one would that is stuck, and which nobody waits for any more."""
        self._most += 1
        self._see_to_it(Future())

    def _see_to_it(self, future: Future[Any]) -> None:
        """Start another thread if one is needed and allowed.

        If none can be had, those there are do the work, and without any it is refused.
        """
        with self._lock:
            if self._waiting <= self._free or len(self._threads) >= self._most:
                return
            self._free += 1
        name = f"orchestrator-workflow-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._live, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._free -= 1
            if not self._threads:
                future.cancel()
                raise
        else:
            self._threads.append(thread)

    def _live(self) -> None:
        while (work := self._work.get()) is not None:
            with self._lock:
                self._waiting -= 1
                self._free -= 1
            future, fn, args, kwargs = work
            if future.set_running_or_notify_cancel():
                try:
                    value = fn(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(value)
                    del value
            del work, future, fn, args, kwargs  # an idle thread holds on to nothing
            with self._lock:
                self._free += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads go once their work is done; `wait` for that. Call it once."""
        if cancel_futures:
            while True:
                try:
                    work = self._work.get_nowait()
                except queue.Empty:
                    break
                if work is not None:
                    work[0].cancel()
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
