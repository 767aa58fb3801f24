"""Call what is the user's and tell as an Outcome what came of it: nothing but Ctrl-C gets past these.

For what runs in this process: actions in threads, coroutines in the event loop, conditions.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any

from orchestrator.outcome import Ending, Outcome
from workers.failures import exit_code_of, traceback_of

BLOCKED_SECONDS = 0.5
"""A coroutine that keeps the event loop for longer than this at a time is told of."""


def call(action: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Outcome:
    """Call a plain callable in the present thread."""
    start, cpu = time.monotonic(), time.thread_time()
    try:
        value = action(*args, **kwargs)
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        return failure(error, time.monotonic() - start, time.thread_time() - cpu)
    seconds, cpu_seconds = time.monotonic() - start, time.thread_time() - cpu
    return Outcome(Ending.OK, value, "", None, 0, seconds, cpu_seconds, 0, os.getpid())


async def call_coroutine(
    action: Callable[..., Awaitable[Any]],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    blocked: Callable[[float], None],
    clock: Callable[[], float],
) -> Outcome:
    """Call a coroutine function and await it; `blocked` hears how long it kept the event loop, if that was long.

    `clock` is the loop's, which tells the duration. CancelledError passes: whoever cancelled knows why.
    """
    start = clock()
    try:
        coroutine = action(*args, **kwargs)
        value = await (_watched(coroutine, blocked) if type(coroutine) is types.CoroutineType else coroutine)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        return failure(error, clock() - start)
    return Outcome(Ending.OK, value, "", None, 0, clock() - start, 0.0, 0, os.getpid())


def failure(error: BaseException, seconds: float = 0.0, cpu_seconds: float = 0.0) -> Outcome:
    """Return the outcome of a call that raised, the traceback beginning where the user's code does."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    error = error.with_traceback(trace)
    code = exit_code_of(error)
    reason = traceback_of(error)
    return Outcome(
        Ending.RAISED, None, reason, error, 1 if code is None else code, seconds, cpu_seconds, 0, os.getpid()
    )


def _is_ctrl_c(error: BaseException) -> bool:
    """Whether this may be the user's own Ctrl-C, which comes up wherever the main thread happens to be."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


@types.coroutine
def _watched(coroutine: Coroutine[Any, Any, Any], blocked: Callable[[float], None]) -> Generator[Any, None, Any]:
    """Await a coroutine, timing each of its steps: between two of them the event loop can do nothing else.

    What PEP 380 says of `yield from`, with a clock; an event loop only ever sends None.
    """
    thrown: BaseException | None = None
    while True:
        start = time.monotonic()
        try:
            wanted = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
        except StopIteration as stop:
            return stop.value
        finally:
            seconds = time.monotonic() - start
            if seconds > BLOCKED_SECONDS:
                blocked(seconds)
        try:
            thrown = None
            yield wanted
        except GeneratorExit:  # the loop is gone; the collector may have closed the coroutine before us
            coroutine.close()
            raise
        except BaseException as error:  # CancelledError: for the coroutine
            thrown = error
