"""Command(Child): a script or another program, in a session of its own, its output captured.

Started and supervised by the slot thread itself, with the same deadline, memory and kill code as a
worker's tasks. Exit code 0 is OK, another is RAISED, death by a signal is CRASHED; what could not be
started ends RAISED with the shell's codes: 127 not found, 126 found but not runnable (POSIX, 2.8.2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Mapping

from orchestrator import settings
from orchestrator.limits import Limits
from orchestrator.outcome import KILLED_CODE, Ending, Outcome
from orchestrator.pool import exits
from orchestrator.pool.capture import unnamed_file
from orchestrator.pool.child import Child, StartError, State
from orchestrator.pool.deaf import hearing
from orchestrator.pool.endings import how_it_ended, stopped_outcome
from orchestrator.pool.job import CommandLine, Input, Job
from orchestrator.pool.lifeline import lifeline
from workers import tree
from workers.tree import COOKIE

_EARLY_SECONDS = 0.01
"""The first look at a program's memory: most are small and short."""
_SCARCE = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


class Command(Child):
    """One run of one program. Owned by one slot thread."""

    def __init__(self, output_limit: int, nudge: int) -> None:
        super().__init__(output_limit, nudge)
        self._process: subprocess.Popen[bytes] | None = None
        self._usage: resource.struct_rusage | None = None
        self._high_water = 0
        self._job: Job | None = None
        """What runs, if its group wants to hear what it writes."""

    def run(self, job: Job) -> Outcome:
        """Run the program to its end. Raises StartError when the machine is short of processes or descriptors."""
        group = job.group
        assert job.command is not None
        if group.wants_output:
            self._job = job
        known = frozenset(tree.pids())
        self.begin_task(job.name)
        try:
            self._start(job.command, group.cwd, group.env)
        except _InputError as error:
            self.bury(sweep=False)
            return Outcome(Ending.RAISED, reason=f"{job.name}: cannot be run: {error}\n", return_code=126)
        except OSError as error:
            if self._process is not None:  # it runs, but we cannot watch it: never again, and not unwatched
                return self._unwatched(job, error)
            self.bury(sweep=False)
            if error.errno in _SCARCE:
                raise StartError(f"{type(error).__name__}: {error}") from error
            return _not_started(job, error, group.cwd)
        except (ValueError, TypeError) as error:  # a NUL in an argument; a variable that is no text
            self.bury(sweep=False)
            return Outcome(Ending.RAISED, reason=f"{job.name}: cannot be run: {error}\n", return_code=126)
        if group.wants_start:
            group.begun(job, self.pid)
        self._supervise(job, job.command.seconds, group.limits)
        return self._conclude(known)

    def _unwatched(self, job: Job, error: OSError) -> Outcome:
        """End a program that was started and cannot be watched, for want of a descriptor."""
        assert self._process is not None
        self.pid = self._process.pid
        self._root = tree.Root(self.cookie, self.pid, tree.start_ticks(self.pid))
        self.kill()
        self.bury(sweep=False)
        reason = f"{job.name}: stopped at once, because it could not be watched: {error}\n"
        return Outcome(Ending.CRASHED, reason=reason, return_code=KILLED_CODE, pid=self.pid)

    def _start(self, line: CommandLine, cwd: str | None, extra: Mapping[str, str] | None) -> None:
        env = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            **(extra or {}),
        }  # a killed script keeps what it printed
        env |= {COOKIE: self.cookie, settings.DEPTH: str(settings.depth() + 1)}
        exits.arm()
        lifeline.announce(self.cookie)
        with _opened(line.stdin) as stdin, hearing():
            self._process = subprocess.Popen(
                list(line.argv),
                stdin=stdin,
                stdout=self.stdout.fd if line.stdout is None else line.stdout,
                stderr=self.stderr.fd if line.stderr is None else line.stderr,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        self.adopt(self._process.pid)
        self._high_water = _high_water(self.pid)  # however short its life is, this is its own
        self.move(State.BUSY)

    def _supervise(self, job: Job, allowed: Callable[[], float | None] | None, limits: Limits) -> None:
        """Wait for the program's end; condemn it when it has to go."""
        self._tick_at = self.started_at + _EARLY_SECONDS
        seconds = limits.seconds
        while True:
            now = self.now()
            if allowed is not None:
                seconds = min((s for s in (limits.seconds, allowed()) if s is not None), default=None)
            deadline = float("inf") if seconds is None else self.started_at + self.stalled + seconds
            if job.cancelled:
                self.condemn(Ending.CANCELLED, "cancelled while it ran", limits.grace)
            elif now >= deadline:
                self.condemn(Ending.TIMED_OUT, f"its time limit passed ({seconds:g} s)", limits.grace)
            if self.pause(deadline if self.verdict is None else float("inf"), limits.memory):
                return

    def _tick(self, now: float, memory_limit: int | None) -> None:
        self._high_water = max(self._high_water, _high_water(self.pid))
        self._tell_output()
        super()._tick(now, memory_limit)
        # A short program is looked at when it has run twice as long: what it used last is told by nobody else.
        self._tick_at = min(self._tick_at, now + max(now - self.started_at, _EARLY_SECONDS))

    def _tell_output(self) -> None:
        """Pass on what was written, where it is wanted before the end."""
        job = self._job
        if job is None:
            return
        for number, stream in ((1, self.stdout), (2, self.stderr)):
            data = stream.fresh()
            if data:
                job.group.wrote(job, number, data)

    def _conclude(self, known: frozenset[int]) -> Outcome:
        seconds = self.running_seconds()
        status = self.status()
        swept = self.sweep(known if self.verdict is None else frozenset())
        self._tell_output()
        if self.verdict is None and status >= 0:
            ending = Ending.RAISED if status else Ending.OK
            reason = f"{how_it_ended(status)}\n" if status else ""
            outcome = Outcome(ending, None, reason, None, status, stdout=self.stdout.read(), stderr=self.stderr.read())
        else:
            outcome = stopped_outcome(self, self.verdict, status)
        left = [name for name in swept if not name.startswith(f"{self.pid} ")]
        if left and self.verdict is None:
            note = f"[stopped what it left running: {', '.join(left)}]\n".encode()
            outcome = outcome._replace(stderr=outcome.stderr + note)
        samples, seen = tuple(self.samples), max(self.peak, self._high_water)
        self.bury(sweep=False)
        used = self._usage
        assert used is not None
        return outcome._replace(
            seconds=seconds,
            cpu_seconds=used.ru_utime + used.ru_stime,
            peak_memory=max(seen, _own_peak(used.ru_maxrss * 1024, seen)),
            pid=self.pid,
            samples=samples,
        )

    def _reap(self) -> None:
        process = self._process
        if process is None:
            return
        try:
            _, status, self._usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except ChildProcessError:  # the application ignores SIGCHLD, or waits for any child
            process.returncode = 0
            self._usage = resource.getrusage(resource.RUSAGE_THREAD)


def _own_peak(maxrss: int, seen: int) -> int:
    """Return the kernel's figure for a program's peak, unless it is really ours.

    Linux counts what was resident before exec(), and until then the child shares its parent's memory;
    so a figure up to our own peak says nothing, and what was seen while it ran is better.
    """
    return 0 if seen and maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 else maxrss


def _high_water(pid: int) -> int:
    """Return a process's VmHWM in bytes (proc(5)); 0 when it has gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class _InputError(Exception):
    """The standard input that was asked for cannot be had."""


@contextlib.contextmanager
def _opened(source: Input) -> Iterator[int]:
    """Open what a program is to read, until it has been started."""
    if source is None or isinstance(source, int):
        yield subprocess.DEVNULL if source is None else source
        return
    try:
        descriptor = _file_with(source) if isinstance(source, bytes) else _file_at(source)
    except OSError as error:
        if error.errno in _SCARCE:
            raise
        what = "its standard input" if isinstance(source, bytes) else f"its standard input {os.fspath(source)!r}"
        raise _InputError(f"{what} cannot be opened: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _file_with(data: bytes) -> int:
    """Return a descriptor from which the data can be read."""
    descriptor = unnamed_file()
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _file_at(path: os.PathLike[str]) -> int:
    """Return a descriptor of a file; a FIFO that nobody writes to is at its end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def _not_started(job: Job, error: OSError, cwd: str | None) -> Outcome:
    """Say why a program could not be started, with the exit code a shell would give."""
    line = job.command
    assert line is not None
    program = os.fsdecode(line.argv[0])
    if cwd is not None and not os.path.isdir(cwd):
        return Outcome(Ending.RAISED, reason=f"{job.name}: the working directory {cwd!r} is gone\n", return_code=126)
    code = 127 if isinstance(error, FileNotFoundError) else 126
    why = error.strerror or str(error)
    interpreter = _shebang(program)
    if isinstance(error, FileNotFoundError) and interpreter is not None:
        code, why = 126, f"its interpreter {interpreter!r} does not exist"
        if interpreter.endswith("\r"):
            why += " (the file has Windows line ends)"
    elif isinstance(error, PermissionError) and not os.access(program, os.X_OK):
        why = "it is not executable (chmod +x)"
    elif error.errno == errno.ENOEXEC:
        why = "it is no program of this machine, and has no #! line"
    elif error.errno == errno.E2BIG:
        why = "its argument list is too long"
    what = "" if program in job.name else f"{program}: "
    return Outcome(Ending.RAISED, reason=f"{job.name}: cannot be run: {what}{why}\n", return_code=code)


def _shebang(path: str) -> str | None:
    if not os.path.isfile(path):  # opening a FIFO would wait for ever
        return None
    try:
        with open(path, "rb") as script:
            first = script.readline(256)
    except OSError:
        return None
    return os.fsdecode(first[2:].rstrip(b"\n").strip(b" ").split(b" ")[0]) if first.startswith(b"#!") else None
