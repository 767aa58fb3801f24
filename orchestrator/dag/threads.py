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
        self._idle = threading.Semaphore(0)  # released by each thread that looks for work
        self._threads: list[threading.Thread] = []

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have a thread call `fn(*args, **kwargs)`."""
        future: Future[_T] = Future()
        self._work.put((future, fn, args, kwargs))
        if len(self._threads) < self._most and not self._idle.acquire(blocking=False):
            self._start_one(future)
        return future

    def replace_one(self) -> None:
        """Have another thread do what one would that is stuck, and which nobody waits for any more."""
        self._most += 1
        if not self._work.empty():
            self._start_one(Future())

    def _start_one(self, future: Future[Any]) -> None:
        """Start another thread; if none can be had, those there are do the work, and without any it is refused."""
        name = f"orchestrator-workflow-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._live, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                future.cancel()
                raise
        else:
            self._threads.append(thread)

    def _live(self) -> None:
        while (work := self._work.get()) is not None:
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
            self._idle.release()

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
