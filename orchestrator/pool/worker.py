"""Worker(Child): a loky-started process that runs chunks of callables over the wire of workers/wire.py.

`run` sends a chunk and yields each task's outcome as its frame arrives. Who is to blame when the
process dies is known exactly: the frames say what finished, the tokens left in their pipe what never
started, and at most one task is between the two.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING

from orchestrator import settings
from orchestrator.outcome import Ending, Outcome, Sample
from orchestrator.pool import exits
from orchestrator.pool.child import Child, StartError, State
from orchestrator.pool.deaf import deafen
from orchestrator.pool.endings import failed, how_it_ended, load_value, stopped_outcome
from orchestrator.pool.job import Group, Job
from orchestrator.pool.lifeline import lifeline
from workers import interrupt, wire
from workers.tree import COOKIE

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

START_SECONDS = 60.0
"""How long a worker may take to say that it is ready."""
_REBUILD_SECONDS = 60.0
"""How long arguments may take to be sent and rebuilt, on top of the task's own limit."""
_CLOSE_SECONDS = 1.0
_STOP_SECONDS = 5.0
"""How long a worker whose tasks are done may take to answer that it has heard of the others' taking back."""
_TAKE_BACK_SECONDS = 0.05
"""A task of a chunk that takes longer than this loses its neighbours to other workers."""
_PIPE_BYTES = 1 << 20
_STRIKES = 3
_NAP_WORTHWHILE = 1e-3
_NAP_AT_MOST = 5e-3
_NONE = pickle.dumps(None, 5)
_WORTH_KEEPING = 1 << 16
"""A value whose pickle is smaller is as quickly pickled again as its bytes are kept."""

_starting = threading.Lock()  # process.start() of multiprocessing is not made for several threads at once

_THREAD_CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")  # fmt: skip


Ended = tuple[Job, Outcome]


class WorkerLost(Exception):
    """The worker was dead before it had the chunk: nobody's fault, so the chunk goes to another."""


def forget_inherited() -> None:
    """Replace the lock in a forked copy of the driver, for which whoever forked holds it."""
    global _starting
    _starting = threading.Lock()


def _wait_for_starts() -> None:
    """Have a fork wait until no worker is being started.

    Whoever starts one holds locks that a copy could never get: of modules that are imported on the way, and of
    multiprocessing's resource tracker. Starting one runs no hook of a fork itself.
    """
    _starting.acquire()


os.register_at_fork(before=_wait_for_starts, after_in_parent=lambda: _starting.release())


class Worker(Child):
    """A process that runs callables. Owned by one slot thread."""

    def __init__(self, output_limit: int, max_workers: int, nudge: int) -> None:
        super().__init__(output_limit, nudge)
        self._max_workers = max_workers
        self._reader = wire.FrameReader()
        self._functions: deque[int] = deque(maxlen=wire.FUNCTIONS_KEPT)
        self._process: BaseProcess | None = None
        self._ends: list[Connection] = []
        self._token_reader = -1
        self._waiting: deque[Job] = deque()
        self._group = Group()
        self._announced: Job | None = None
        self._granted = 0
        self._rebuilding = False
        self._stopping = False
        self._left_threads = False
        self.baseline = 0
        self.leaving = False
        self.tasks_run = 0

    @property
    def reusable(self) -> bool:
        """Whether the worker can take another chunk."""
        return self.state is State.READY and not self.leaving and self.verdict is None

    # Start

    def start(self) -> None:
        """Start the process and wait until it is ready. Raises StartError."""
        try:
            lifeline.announce(self.cookie)
            self._spawn()
            self._wait_ready()
        except (OSError, AssertionError, EOFError, UnboundLocalError, StartError) as error:
            # UnboundLocalError: loky 3.7.0's launch trips over its own clean-up when os.pipe() fails (EMFILE).
            with contextlib.suppress(OSError):  # short of descriptors, even /proc cannot be read
                self.kill()
            self.bury(sweep=False)
            raise (
                error if isinstance(error, StartError) else StartError(f"{type(error).__name__}: {error}")
            ) from error

    def _spawn(self) -> None:
        # Imported late: 100 ms that a program which only runs scripts never needs.
        from multiprocessing import resource_tracker
        from multiprocessing.connection import Connection

        from loky.backend.context import get_context

        from workers.main import serve

        exits.arm()
        context = get_context("loky")
        theirs: list[Connection] = []
        try:
            for we_write in (True, True, False):
                reader, writer = context.Pipe(duplex=False)
                self._ends.append(writer if we_write else reader)
                theirs.append(reader if we_write else writer)
            theirs += [Connection(os.dup(self.stdout.fd)), Connection(os.dup(self.stderr.fd))]
            process = context.Process(target=serve, args=tuple(theirs), name="orchestrator-worker", env=self._env())
            with _starting:
                # Until it has left our session, the terminal's Ctrl-C would reach it: it starts deaf, as we are.
                # multiprocessing's tracker gives us our hearing back when it starts.
                resource_tracker.ensure_running()
                deafen()
                process.start()
            self._process = process
            self.adopt(process.pid)
        finally:
            for connection in theirs:
                connection.close()
        self._messages, self._tokens, self._frames = (end.fileno() for end in self._ends)
        for end in self._ends:
            os.set_blocking(end.fileno(), False)
            with contextlib.suppress(OSError):  # the user's share of pipe memory is used up (pipe(7))
                fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._token_reader = os.open(f"/proc/self/fd/{self._tokens}", os.O_RDONLY | os.O_NONBLOCK)
        self._poll.register(self._frames, select.POLLIN)

    def _env(self) -> dict[str, str]:
        from loky.backend.context import cpu_count

        threads = str(max(1, cpu_count() // self._max_workers))
        caps = {name: threads for name in _THREAD_CAPS if name not in os.environ}
        return {COOKIE: self.cookie, settings.DEPTH: str(settings.depth() + 1), **caps}

    def _wait_ready(self) -> None:
        until = time.monotonic() + START_SECONDS
        news = select.poll()
        news.register(self._frames, select.POLLIN)
        news.register(self._pidfd, select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            news.poll(left * 1000 + 0.5)
            for frame in self._read():
                self.cpu_before, self.baseline = frame[5], frame[6]
                self.move(State.READY)
                return
            if self.exited():
                words = self.stderr.read()[-2000:].decode("utf-8", "replace")
                raise StartError(f"a worker {how_it_ended(self.status())} before it was ready. {words}".rstrip())
        raise StartError(f"a worker was not ready after {START_SECONDS:.0f} s")

    # Running a chunk

    def run(self, jobs: list[Job], give_back: Callable[[list[Job]], None]) -> Iterator[list[Ended]]:
        """Run a chunk and yield each job with its outcome, in order, as many at a time as have come.

        Jobs that this worker will not run (it died before them, or one before them takes long) go to
        `give_back`. Raises WorkerLost when the worker turned out dead before it had the chunk.
        """
        self._group = jobs[0].group
        limits = self._group.limits
        self._waiting = deque(jobs)
        self._granted = len(jobs)
        self._rebuilding = limits.seconds is not None
        self._send(jobs)
        self.move(State.BUSY)
        self._next_task()
        gone = False
        while True:
            yield from self._conclude(self._read())
            if not self._waiting and not self._stopping:
                break
            if gone or self.leaving:
                yield from self._autopsy(give_back)
                return
            now = self.now(inf)  # results have been delivered, to callbacks too
            deadline = self._deadline(limits.seconds)
            overdue = self.verdict is None and now >= deadline
            cancelled = self.nudged and self.verdict is None and any(job.cancelled for job in self._waiting)
            alone = len(self._waiting) <= 1
            crowded_until = inf if alone else self.started_at + _TAKE_BACK_SECONDS
            if not alone and not self._rebuilding and (overdue or cancelled or now >= crowded_until):
                # Whatever happens to the running task now must not reach the next: it may be done already.
                self._take_back(give_back)
                continue
            if overdue and not self._waiting:  # all is done, but it does not answer: it was stopped, or it is ill
                self.kill()
            elif cancelled:
                self.condemn(Ending.CANCELLED, "cancelled while it ran", limits.grace)
            elif overdue:
                phase = "its arguments took too long to rebuild" if self._rebuilding else "its time limit passed"
                self.condemn(Ending.TIMED_OUT, f"{phase} ({limits.seconds:g} s)", limits.grace)
            if not alone:
                self._let_gather()
            gone = self.pause(min(deadline, crowded_until), limits.memory)
        self.move(State.READY)
        self.stdout.trim()
        self.stderr.trim()

    def _let_gather(self) -> None:
        """Let frames gather for half the time that the rest of the chunk will about take, or until a death.

        Waking for each frame would take from the CPUs what the tasks need.
        """
        nap = self._group.pace.seconds_for(len(self._waiting)) / 2
        if nap > _NAP_WORTHWHILE and not self._group.wants_start:
            self.wait_exit(min(nap, _NAP_AT_MOST))

    def _ask_to_stop(self) -> None:
        """Interrupt the task: only the worker is told, its finally blocks may want the children it has."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, interrupt.SIGNAL)
            signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    def _deadline(self, seconds: float | None) -> float:
        """Return when the running task's time is up. A result already on its way gets time to arrive."""
        if not self._waiting:
            return self.started_at + _STOP_SECONDS
        if seconds is None:
            return inf
        extra = _REBUILD_SECONDS if self._rebuilding or self._reader.missing else 0.0
        return self.started_at + self.stalled + seconds + extra

    def _next_task(self) -> None:
        self.begin_task(self._waiting[0].name if self._waiting else "")
        if self._waiting and self._group.wants_start and self._waiting[0] is not self._announced:
            self._announced = self._waiting[0]
            self._group.begun(self._announced, self.pid)

    def _take_back(self, give_back: Callable[[list[Job]], None]) -> None:
        """Take back the tokens of all tasks but the running one; whoever reads a token owns its task.

        The worker answers STOP with a frame, and gets no new chunk before: so tokens of two chunks are never
        in the pipe together.
        """
        try:
            taken = len(os.read(self._token_reader, len(self._waiting) - 1))
        except BlockingIOError:
            return
        os.write(self._tokens, wire.STOP)
        self._stopping = True
        self._granted -= taken
        give_back([self._waiting.pop() for _ in range(taken)][::-1])

    def _conclude(self, frames: list[wire.Frame]) -> Iterator[list[Ended]]:
        """Yield the tasks whose frames have arrived, and start the clock of the next."""
        if not frames:
            return
        ended: list[Ended] = []
        group = self._group
        seconds, size = 0.0, 0
        for frame in frames:
            if frame[1] == wire.STARTED:
                self._rebuilding = False
                continue
            if frame[1] == wire.STOPPED:
                self._stopping = False
                continue
            ended.append((self._waiting.popleft(), self._outcome(frame)))
            seconds += frame[4]
            size += frame[0]
            self.tasks_run += 1
            if group.wants_start:  # the listener hears of each end before the next start
                yield [ended.pop()]
                self._next_task()
        if ended:
            group.pace.note(seconds / len(ended), len(ended), size // len(ended))
        self._next_task()
        if ended:
            yield ended

    def _outcome(self, frame: wire.Frame) -> Outcome:
        """Make the outcome that a frame tells."""
        _, _, how, flags, seconds, cpu, peak, stdout_end, stderr_end, body = frame
        self.cpu_before += cpu
        if self.peak > peak:
            peak = self.peak
        stdout = stderr = b""
        if stdout_end != self.stdout.begin:
            stdout = self.stdout.read(stdout_end)
        if flags:
            self._heed(flags)
        if stderr_end != self.stderr.begin:
            stderr = self.stderr.read(stderr_end)
        if self.stopped:
            stderr += b"[stopped what this task left running: %s]\n" % ", ".join(self.stopped).encode()
            self.stopped = []
        samples: tuple[Sample, ...] = ()
        if self.samples:
            samples, self.samples, self.peak = tuple(self.samples), [], 0
        if how == wire.RETURNED:
            if body == _NONE:
                return Outcome(Ending.OK, None, "", None, 0, seconds, cpu, peak, self.pid, stdout, stderr, samples)
            value, failure = load_value(body)
            if failure is None:
                kept = body if self._group.keeps_pickles and len(body) >= _WORTH_KEEPING else None
                return Outcome(
                    Ending.OK, value, "", None, 0, seconds, cpu, peak, self.pid, stdout, stderr, samples, kept
                )  # fmt: skip
            ending, reason, exception, code = Ending.RAISED, failure, None, 1
        else:
            ending, reason, exception, code = failed(how, body, self.verdict)
        return Outcome(ending, None, reason, exception, code, seconds, cpu, peak, self.pid, stdout, stderr, samples)

    def _heed(self, flags: int) -> None:
        """Act on what a task left behind, before its outcome is told."""
        if flags & wire.LEFT_THREADS:
            self._left_threads = True
        if flags & wire.LEAVING:
            self.leaving = True
            mine = f"{self.pid} "
            stopped = [name for name in self.kill() if not name.startswith(mine)]
            self.stopped = stopped if flags & wire.LEFT_PROCESSES else []

    def _autopsy(self, give_back: Callable[[list[Job]], None]) -> Iterator[list[Ended]]:
        """Say whose fault the worker's end was: of the one task that has its token and no frame, if any."""
        status = self.status()
        try:
            left = os.read(self._token_reader, self._granted + 1).count(wire.TOKEN)
        except BlockingIOError:
            left = 0
        claimed = self._granted - left
        waiting = list(self._waiting)
        finished = self._granted - len(waiting)
        victim = waiting[0] if claimed > finished else None
        if victim is None and finished == 0 and not self.leaving:
            victim = self._rebuild_death(waiting)
        outcome = None
        if victim is not None:
            waiting.remove(victim)
            outcome = stopped_outcome(self, self.verdict, status, neighbour_threads=self._left_threads)
        self.bury()
        if waiting:
            give_back(waiting)
        if victim is not None and outcome is not None:
            yield [(victim, outcome)]

    def _rebuild_death(self, waiting: list[Job]) -> Job | None:
        """Judge a death before any task had started: one of their arguments, or somebody's kill from outside.

        Several are tried one by one; one alone is to blame when it happens again and again, or at once
        when it was condemned for it.
        """
        for job in waiting:
            job.alone = True
        if len(waiting) > 1:
            return None
        waiting[0].strikes += 1
        return waiting[0] if self.verdict is not None or waiting[0].strikes >= _STRIKES else None

    # The pipes

    def _send(self, jobs: list[Job]) -> None:
        """Send a chunk. Raises WorkerLost when the worker is not there to read it."""
        group = jobs[0].group
        functions = {job.function for job in jobs if job.function >= 0}
        new = functions.difference(self._functions)
        self._functions.extend(new)
        message = wire.Message(
            [(job.function, job.pickled) for job in jobs],
            [(key, group.functions[key]) for key in new],
            group.limits.seconds,
            group.limits.grace,
            group.cwd,
            group.env,
        )
        prefix, body = wire.pack_message(message)
        try:
            os.write(self._tokens, wire.TOKEN * len(jobs))
            self._write([memoryview(prefix), memoryview(body)])
        except OSError as error:
            raise WorkerLost(f"worker {self.pid} was gone before it had the task") from error

    def _write(self, parts: list[memoryview]) -> None:
        """Write to the message pipe, however full it is. Raises OSError when the worker dies or stops reading."""
        ready = None
        while parts:
            try:
                written = os.writev(self._messages, parts)
            except BlockingIOError:
                if ready is None:
                    ready = select.poll()
                    ready.register(self._messages, select.POLLOUT)
                    ready.register(self._pidfd, select.POLLIN)
                if not ready.poll(_REBUILD_SECONDS * 1000) or self.exited():
                    raise BrokenPipeError from None
                continue
            while parts and written >= len(parts[0]):
                written -= len(parts.pop(0))
            if written:
                parts[0] = parts[0][written:]

    def _read(self) -> list[wire.Frame]:
        """Return the frames that have arrived, without waiting for more."""
        reader = self._reader
        while True:
            with reader.room() as room:
                size = len(room)
                try:
                    count = os.readv(self._frames, [room])
                except BlockingIOError:
                    break
            if not count:
                # The end without the process's end: the task closed our descriptors. No frame can come.
                if not self._killed and not self.exited():
                    self.kill()
                break
            reader.came(count)
            if count < size or not reader.missing:
                break
        return self._reader.take()

    # End

    def close(self) -> None:
        """Let the worker go: in order when it is idle and whole, else with its tree."""
        if self.state is State.DEAD:
            return
        in_order = self.reusable
        if in_order:
            self._ends[0].close()
            in_order = self.wait_exit(_CLOSE_SECONDS)
        if not in_order and not self._killed:
            self.kill()
        self.bury(sweep=not in_order)

    def _reap(self) -> None:
        self._close_pipes()  # first: a worker that could not be killed leaves when it sees their end
        if self._process is not None:
            self._process.join()
            self._process = None  # which closes its sentinel: loky's Popen has no close()

    def _reaped_status(self) -> int:
        # Starting a process, multiprocessing reaps all its dead children; it keeps their status.
        with _starting:
            code = self._process.exitcode if self._process is not None else None
        return super()._reaped_status() if code is None else code

    def disown(self) -> None:
        """Close our copies of its descriptors, in a forked copy of the driver."""
        super().disown()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for end in self._ends:
            end.close()
        if self._token_reader >= 0:
            os.close(self._token_reader)
            self._token_reader = -1
