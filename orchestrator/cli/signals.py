"""Signals during a run. The first Ctrl-C, or SIGHUP, lets what runs finish; a second signal, or SIGTERM, kills it.

SIGUSR1 tells what is running.

Handlers run in the main thread, in the middle of whatever it does: they only set flags, through
calls that the runner and the display promise are safe there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from orchestrator.cli.display import Running
from orchestrator.stopping import Scope, enter
from orchestrator.wording import duration


class Stoppable(Protocol):
    """What the signals stop: a workflow."""

    def drain(self) -> None:
        """Start nothing more."""

    def cancel(self) -> None:
        """Also stop what runs."""


class Notified(Protocol):
    """Who tells the user about it: a display."""

    def running(self) -> Sequence[Running]:
        """Return what runs now."""

    def notify(self, text: str) -> None:
        """Show lines; safe in a signal handler."""


class StopSignals:
    """Handle SIGINT, SIGTERM, SIGHUP and SIGUSR1 while the context lasts; `received` is the last one that came.

    A signal that was ignored stays ignored: so `nohup` and a shell's `&` want it.
    """

    def __init__(self, runner: Stoppable, display: Notified) -> None:
        self.received: signal.Signals | None = None
        self._kill = False
        self._runner = runner
        self._display = display
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._tell)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def repeat(self) -> None:
        """Give the last order again: a runner forgets one that came before its run had begun."""
        if self._kill:
            self._runner.cancel()
        elif self.received is not None:
            self._runner.drain()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._kill = self.received is not None or number == signal.SIGTERM
        self.received = signal.Signals(number)
        self.repeat()
        tasks = f"{len(self._display.running())} running"
        if self._kill:
            self._display.notify(f"stopping: killing {tasks}")
        elif number == signal.SIGINT:
            self._display.notify(f"stopping: waiting for {tasks}; press Ctrl-C again to kill them")
        else:
            self._display.notify(f"stopping: waiting for {tasks}")

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        lines = [
            f"{script.pid:>8}  {duration(now - script.start):>9}  {script.label}" for script in self._display.running()
        ]
        self._display.notify("\n".join([f"running: {len(lines)}", *lines]))


class StoppedAtOnce:
    """Stop whatever our runners do in this thread when SIGINT, SIGTERM or SIGHUP comes; `received` is the one."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._scope = Scope()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        enter(self._scope)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._scope.stop()
