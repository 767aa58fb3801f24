"""The worker's loop: receive a chunk, run each task, send a frame for each.

`serve` is what a pool starts in a new process. Its promises: a frame for each task that finished,
nothing else on the frame pipe; no exception leaves the loop; a task is started only with a token.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import pickle
import select
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import CodeType, CoroutineType
from typing import Any

import cloudpickle

from workers import codes, failures, wire
from workers.guard import Desk, enter_session, has_children
from workers.interrupt import Interrupt
from workers.output import Output
from workers.usage import Meter

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_SPAWN_SECONDS = 50e-6
"""A shorter task can have started neither a process (fork: 150 µs) nor a thread (60 µs)."""
_LONG_SECONDS = 1e-3
"""From here on a task's own memory peak is read, for 10 µs."""
_SWEEP_SECONDS = 5e-3
"""From here on, and at the end of a chunk, signal handlers and resource limits are looked at, for 40 µs."""
_BIG_BYTES = 1 << 20
"""A pickled result of this size would be seen in the memory peak of the next task."""
_IDLE_SECONDS = 0.2
"""A worker without work for this long gives unused memory back."""
_LATE = 0.7
"""The hang trace is written when this part of the grace period has passed."""


def serve(messages: Connection, tokens: Connection, frames: Connection, out: Connection, err: Connection) -> None:
    """Run chunks until the message pipe closes. The entry point of a worker process."""
    interrupt = Interrupt()
    enter_session(interrupt, err.fileno())
    _close_stdin()
    output = Output(out.fileno(), err.fileno())
    _Loop(messages.fileno(), tokens.fileno(), frames.fileno(), output, interrupt, err.fileno()).run()
    _leave()


def _close_stdin() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _leave() -> None:
    """Let the interpreter exit in order, unless a task left a thread that would keep it from exiting."""
    if any(t is not threading.main_thread() and not t.daemon for t in threading.enumerate()):
        os._exit(0)


class _Loop:
    """One worker's life. All of it happens in the main thread; nothing here is shared."""

    def __init__(
        self, messages: int, tokens: int, frames: int, output: Output, interrupt: Interrupt, traces: int
    ) -> None:
        self._messages, self._tokens, self._frames, self._traces = messages, tokens, frames, traces
        self._output = output
        self._interrupt = interrupt
        self._desk = Desk()
        self._meter = Meter()
        self._pid = os.getpid()
        self._threads = threading.active_count()
        self._shared: dict[int, Any] = {}
        self._trace_armed = self._trace_late = 0.0
        self._collected = False

    def run(self) -> None:
        """Serve chunks until the driver closes the pipe.

        A worker that must leave stays until it is killed: while it lives, what its last task left
        behind can be found among its children.
        """
        self._send(wire.READY, cpu=time.process_time(), peak=self._meter.peak)
        leaving = False
        while (body := self._receive()) is not None:
            if not leaving:
                message = wire.unpack_message(body)
                del body
                leaving = self._run_chunk(message)
        if leaving:
            os._exit(0)

    def _receive(self) -> bytearray | None:
        """Return the next message's bytes, or None when the driver has closed the pipe."""
        if not select.select([self._messages], [], [], _IDLE_SECONDS)[0]:
            self._slim()
        prefix = self._read(wire.LENGTH.size)
        return None if prefix is None else self._read(wire.LENGTH.unpack(prefix)[0])

    def _slim(self) -> None:
        """Give unused memory back to the system, because nothing came for a while, and disarm the trace."""
        self._disarm_trace()
        if not self._collected:  # what starting up has left; tasks leave their garbage to the collector
            self._collected = True
            gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    def _read(self, size: int) -> bytearray | None:
        data = bytearray(size)
        view, have = memoryview(data), 0
        while have < size:
            count = os.readv(self._messages, [view[have:]])
            if count == 0:
                return None
            have += count
        return data

    def _run_chunk(self, message: wire.Message) -> bool:
        """Run a chunk's tasks while there are tokens; tell whether the worker must leave after it."""
        problem: OSError | None = None
        try:
            self._desk.lay(message.cwd, message.env)
        except OSError as error:
            problem = error
        calls = self._rebuild(message)  # in any case: what is shared comes only once
        if problem is not None:
            calls = [problem] * len(calls)
        if message.seconds is not None:
            self._send(wire.STARTED)
        for position, call in enumerate(calls):
            if os.read(self._tokens, 1) != wire.TOKEN:  # the rest was taken back, or the driver is gone
                self._send(wire.STOPPED)
                break
            calls[position] = _DONE  # what the task holds should go when it ends
            self._arm_trace(message)
            leaving = self._run_task(call, position == len(calls) - 1)
            del call
            if leaving:
                return True
        if self._trace_late < 2 * _IDLE_SECONDS:
            self._disarm_trace()
        return False

    # Rebuilding

    def _rebuild(self, message: wire.Message) -> list[Call | BaseException]:
        """Unpickle every task of a chunk before the first one's clock starts."""
        for key, pickled in message.preambles:
            if len(self._shared) >= wire.FUNCTIONS_KEPT:
                oldest = next(iter(self._shared))
                del self._shared[oldest]
                codes.known.pop(oldest, None)
            value = self._shared[key] = _load(pickled)
            if isinstance(value, CodeType):
                codes.known[key] = value
        calls: list[Call | BaseException] = []
        for key, pickled in message.tasks:
            loaded = _load(pickled)
            if key >= 0 and not isinstance(loaded, BaseException):
                shared = self._shared[key]
                if isinstance(shared, BaseException):
                    loaded = shared
                elif not isinstance(shared, CodeType):
                    loaded = shared, *loaded
            calls.append(loaded)
        self._meter.skip()
        return calls

    # One task

    def _run_task(self, call: Call | BaseException, last: bool) -> bool:
        """Run one task and send its frame; tell whether the worker must leave."""
        interrupt, meter = self._interrupt, self._meter
        failure: BaseException | None = None
        value: Any = None
        start = time.monotonic()
        try:
            try:
                interrupt.armed = True
                if isinstance(call, BaseException):
                    raise call
                function, args, kwargs = call
                value = function(*args, **kwargs)
                if type(value) is CoroutineType:
                    value = _run_coroutine(value)
            finally:
                interrupt.armed = False
        except BaseException as error:  # whatever the user's function raises is its result
            failure = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        seconds = time.monotonic() - start
        long = seconds > _LONG_SECONDS
        if seconds > _SPAWN_SECONDS and os.getpid() != self._pid:
            os._exit(0)  # a forked child of the task walked back into our loop
        how, body = self._pack(value, failure)
        del value, failure, call
        self._output.mark()
        self._desk.clear()
        spawned = seconds > _SPAWN_SECONDS
        flags = self._look_behind() if last or spawned else 0
        meter.read(children=spawned, peak=long)
        if interrupt.fired:
            if how == wire.RETURNED:
                body = wire.dump_failure(_INTERRUPT_SWALLOWED)
            how, flags = wire.INTERRUPTED, flags | wire.LEAVING
        if flags & wire.LEAVING:
            self._disarm_trace()
        self._send(wire.DONE, how, flags, seconds, meter.cpu_seconds, meter.peak, body)
        if len(body) > _BIG_BYTES:
            del body
            meter.rebase()
        if (last or seconds > _SWEEP_SECONDS) and not flags & wire.LEAVING and not self._desk.sweep():
            os._exit(0)  # a worker that cannot be tidied dies between tasks, which costs nobody anything
        return bool(flags & wire.LEAVING)

    def _look_behind(self) -> int:
        """Return the flags that say what the task left running."""
        flags = 0
        if has_children():
            flags |= wire.LEFT_PROCESSES | wire.LEAVING
        if threading.active_count() > self._threads:
            flags |= wire.LEFT_THREADS
        return flags

    def _pack(self, value: Any, failure: BaseException | None) -> tuple[int, bytes]:
        """Pickle what a task ended with; a value that cannot be pickled is a failure."""
        if failure is None:
            try:
                return wire.RETURNED, _dump(value)
            except BaseException as error:  # the user's __reduce__
                error.add_note(f"while pickling the result, a {wire.describe(value)}")
                failure = error
        return wire.RAISED, wire.dump_failure(_failure_of(failure))

    # The driver's ear

    def _send(
        self,
        kind: int,
        how: int = 0,
        flags: int = 0,
        seconds: float = 0.0,
        cpu: float = 0.0,
        peak: int = 0,
        body: bytes = b"",
    ) -> None:
        output = self._output
        header = wire.HEADER.pack(len(body), kind, how, flags, seconds, cpu, peak, output.stdout_end, output.stderr_end)
        try:
            if len(body) <= 65536:
                frame = header + body
                written = os.write(self._frames, frame)
                if written == len(frame):
                    return
                rest = memoryview(frame)[written:]
            else:
                os.write(self._frames, header)  # the pipe may be full: a blocking write waits
                rest = memoryview(body)
            while rest:
                rest = rest[os.write(self._frames, rest) :]
        except OSError:  # the driver is gone, or the task closed our descriptors: nobody hears us
            os._exit(1)

    # The hang trace

    def _arm_trace(self, message: wire.Message) -> None:
        """Have the stacks written to stderr if the task outlives its limit and ignores the interrupt.

        faulthandler's own C thread does it, so it works while the task holds the GIL or blocks every
        signal. Arming and disarming wait for that thread, so short tasks share one, which may then be
        early by a quarter of the grace period, and it stays armed from one chunk to the next.
        """
        if message.seconds is None:
            self._disarm_trace()
            return
        now = time.monotonic()
        late = message.seconds + _LATE * message.grace
        if late == self._trace_late and now - self._trace_armed < 0.25 * message.grace:
            return
        self._trace_armed, self._trace_late = now, late
        faulthandler.dump_traceback_later(late, file=self._traces)

    def _disarm_trace(self) -> None:
        if self._trace_late:
            faulthandler.cancel_dump_traceback_later()
            self._trace_late = 0.0


_INTERRUPT_SWALLOWED = wire.Failure(
    "OrchestratorTimeoutError", "", "the task caught the interrupt and went on\n", None, None
)
_DONE = RuntimeError("this task has run")


def _run_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Run what an `async def` has returned, in an event loop of its own: a coroutine cannot be sent anywhere."""
    import asyncio  # late: few tasks need it

    return asyncio.run(coroutine)


def _load(pickled: bytes) -> Any:
    """Unpickle, or return what that raised: it is the task's ending, to be told in its turn."""
    try:
        return pickle.loads(pickled)
    except BaseException as error:  # the user's __setstate__
        error.add_note("while the task's function or arguments were rebuilt in the worker")
        return error


def _dump(value: Any) -> bytes:
    """Pickle a result: plainly where that works, by value (classes of `__main__`, closures) where not."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        return bytes(cloudpickle.dumps(value, 5))


def _failure_of(error: BaseException) -> wire.Failure:
    """Describe an exception in plain values, with the object itself only where it travels."""
    return wire.Failure(
        wire.describe(error),
        failures.text_of(error),
        failures.traceback_of(error),
        _travelling(error),
        failures.exit_code_of(error),
    )


def _travelling(error: BaseException) -> bytes | None:
    """Pickle an exception if it survives dumping and loading, here where that can hurt nobody."""
    try:
        pickled = _dump(error)
        return pickled if type(pickle.loads(pickled)) is type(error) else None
    except BaseException:
        return None
