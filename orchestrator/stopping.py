"""How a thread that cannot be stopped still stops what it started: a Scope, held in a context variable.

The workflow engine gives each callable that it runs in a thread a scope, and so does `in_thread`. Runners, and rests
between attempts, hold their own way to stop in the scope they find themselves in; when the engine stops the task, all
of them stop.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

_T = TypeVar("_T")

_LOOK_SECONDS = 0.2
"""How often a thread that waits for another one's event loop looks whether its own task was cancelled."""


class Scope:
    """What is to be stopped together.

    `stop` and `holding` are called by different threads. Each does its own part first and then looks at the other's,
    so that one of them stops what was entered just then; both may, so what is held can be called twice.
    """

    __slots__ = ("_held", "interrupted", "stopped")

    def __init__(self) -> None:
        self.stopped = False
        self.interrupted = False
        """Whether there was anything to stop."""
        self._held: list[Callable[[], object]] = []

    @property
    def busy(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    def stop(self) -> None:
        """Stop all that is held, and from now on whatever enters."""
        self.stopped = True
        for stop in tuple(self._held):
            self.interrupted = True
            stop()

    @contextlib.contextmanager
    def holding(self, stop: Callable[[], object]) -> Iterator[None]:
        """Hold a way to stop what runs while the context lasts."""
        self._held.append(stop)
        try:
            if self.stopped:
                self.interrupted = True
                stop()
            yield
        finally:
            self._held.remove(stop)


_current: ContextVar[Scope | None] = ContextVar("orchestrator scope", default=None)


@contextlib.contextmanager
def entered(scope: Scope) -> Iterator[None]:
    """Make a scope the present one while the context lasts."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def stoppable(stop: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """Hold a way to stop what runs, in the present scope if there is one."""
    scope = _current.get()
    return contextlib.nullcontext() if scope is None else scope.holding(stop)


def rest(seconds: float) -> bool:
    """Let so many seconds pass; return early, and False, when the present scope is stopped."""
    over = threading.Event()
    with stoppable(over.set):
        return not over.wait(seconds)


async def in_thread(call: Callable[[], _T]) -> _T:
    """Call in a thread of its own and await it. Cancelled, it stops what runs there, and waits for that."""
    import asyncio  # late: it would double the time that importing the runners takes
    from concurrent.futures import ThreadPoolExecutor

    scope = Scope()

    def call_in_scope() -> _T:
        with entered(scope):
            return call()

    with stoppable(scope.stop), ThreadPoolExecutor(1, thread_name_prefix="orchestrator-run") as thread:
        context = contextvars.copy_context()
        done = asyncio.get_running_loop().run_in_executor(thread, context.run, call_in_scope)
        cancelled: asyncio.CancelledError | None = None
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError as error:  # again and again, if the caller insists: stopping is bounded
                cancelled = error
                scope.stop()
        if cancelled is not None:
            raise cancelled
        return done.result()


def outside_of_a_loop(call: Callable[[], _T]) -> _T:
    """Call what starts an event loop of its own: in another thread and waiting for it, where one runs in this one.

    Ctrl-C, or cancelling the asyncio task that called, stops what runs there first.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor, wait

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    scope = Scope()
    caller = asyncio.current_task()
    interrupt: KeyboardInterrupt | None = None

    def call_in_scope() -> _T:
        with entered(scope):
            return call()

    with contextlib.ExitStack() as stack:
        stack.enter_context(stoppable(scope.stop))
        thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="orchestrator-run"))
        stack.callback(scope.stop)  # Ctrl-C may come at any line: then its end is not only waited for
        done = thread.submit(contextvars.copy_context().run, call_in_scope)
        while not done.done():
            try:
                wait([done], _LOOK_SECONDS)
                # Ctrl-C too becomes this where the loop is asyncio.run's.
                if caller is not None and caller.cancelling() and not scope.stopped:
                    scope.stop()
            except KeyboardInterrupt as error:  # again and again, if the user insists: stopping is bounded
                interrupt = error
                scope.stop()
        if interrupt is not None:
            raise interrupt
        if scope.interrupted and caller is not None and caller.cancelling():
            raise asyncio.CancelledError
        return done.result()
