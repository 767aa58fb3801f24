"""What a worker does to be a good child: its own session, clean signals, and a tidy desk for each task.

`enter_session` runs first thing in the child. `Desk` remembers the state a task should find (working
directory, environment, umask, signal handlers, alarms) and puts it back after one that changed it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import resource
import signal
from typing import Any

from workers.interrupt import SIGNAL, Interrupt

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_KEPT_IGNORED = {signal.SIGPIPE, signal.SIGXFSZ}  # CPython ignores these in every interpreter

_FROM_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)

_RLIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_HANDLED = (SIGNAL, signal.SIGINT)
"""Signals a worker handles itself: that a task has put another handler in place does not show in the masks."""
_CROWDED = 256
"""A lowest free descriptor from here on means that tasks have left hundreds open."""


def enter_session(interrupt: Interrupt, traces: int) -> None:
    """Leave the driver's session, forget its signal handling, and adopt whatever descendants orphan.

    The session lets one group kill reach every descendant and keeps the terminal's Ctrl-C away. As a
    subreaper (prctl(2)) this process stays the ancestor of daemons that fork twice, so that it can
    tell whether a task left anything behind. `traces` is the descriptor for fatal tracebacks.
    """
    os.setsid()
    # loky makes its start method this process's default, which a task's own spawned children do not know.
    multiprocessing.set_start_method(None, force=True)
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN and number not in _KEPT_IGNORED:
            signal.signal(number, signal.SIG_DFL)
    for number in _FROM_THE_TERMINAL:  # ignored for a moment: what has come so far was for the driver (POSIX 2.4.3)
        old = signal.signal(number, signal.SIG_IGN)
        signal.signal(number, old)
    signal.signal(SIGNAL, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    faulthandler.enable(traces)


def has_children() -> bool:
    """Tell whether this process has living children, adopted ones included; reap the dead ones."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return False
        if found is None:
            return True


class Desk:
    """The process-wide state every task finds, and its restoration."""

    __slots__ = ("_base", "_cwd", "_environ", "_handlers", "_laid", "_masks", "_rlimits", "_umask")

    def __init__(self) -> None:
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._handlers: dict[int, Any] = {
            number: signal.getsignal(number)
            for number in signal.valid_signals()
            if number not in (signal.SIGKILL, signal.SIGSTOP)
        }
        self._masks = _masks()
        self._rlimits = {what: resource.getrlimit(what) for what in _RLIMITS}
        self._cwd = _cwd()
        self._environ = _environ().copy()
        self._base = (self._cwd, self._environ)
        self._laid: tuple[str | None, dict[str, str] | None] = (None, None)

    def lay(self, cwd: str | None, env: dict[str, str] | None) -> None:
        """Set out the directory and the variables for a chunk; raises OSError for a bad directory."""
        if (cwd, env) == self._laid:
            return
        self._cwd, self._environ = self._base
        self.clear()
        if cwd is not None:
            os.chdir(cwd)
            self._cwd = _cwd()
        if env is not None:
            os.environ.update(env)
            self._environ = _environ().copy()
        self._laid = (cwd, env)

    def clear(self) -> None:
        """Undo what even the shortest task can have changed, at the price of three system calls."""
        signal.alarm(0)
        os.umask(self._umask)
        if _cwd() != self._cwd:
            try:
                os.chdir(self._cwd)
            except OSError:  # a task removed it; the next lay() tries again
                self._laid = (None, None)
        if _environ() != self._environ:
            os.environ.clear()
            os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in self._environ.items()})

    def sweep(self) -> bool:
        """Undo what is too slow to look at after a task of microseconds; tell whether all could be undone.

        Signal handlers, the signal mask, timers of CPU time and resource limits are put back. A hard limit
        cannot be raised again, and nobody knows which open descriptors are leaks: then a new worker is the
        only cure.
        """
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if any(signal.getsignal(number) != self._handlers[number] for number in _HANDLED) or _masks() != self._masks:
            self._reset_signals()
        try:
            for what, limits in self._rlimits.items():
                if resource.getrlimit(what) != limits:
                    resource.setrlimit(what, limits)
            lowest_free = os.dup(0)
        except (OSError, ValueError):
            return False
        os.close(lowest_free)
        return lowest_free < _CROWDED

    def _reset_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


def _masks() -> bytes:
    """Return which signals are blocked, ignored and caught, as proc(5) has them: one look instead of sixty."""
    with open("/proc/thread-self/status", "rb", buffering=0) as status:
        text = status.read(8192)
    start = text.find(b"SigBlk:")
    return text[start : text.find(b"\nCap", start)]


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _environ() -> dict[bytes, bytes]:
    """Return the live environment as bytes: comparing `os.environ` itself decodes it all, 60 times slower."""
    data: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return data
