"""Signals during a run. The first Ctrl-C lets the running scripts finish; all else kills them.

Handlers run in the main thread, in the middle of whatever it does: they only set flags, through
calls that the runner and the display promise are safe there.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from orchestrator.wording import count


class Stoppable(Protocol):
    """What the signals stop: a runner."""

    def drain(self) -> None:
        """Start nothing more."""

    def cancel(self) -> None:
        """Also stop what runs."""


class Notified(Protocol):
    """Who tells the user about it: a display."""

    def running(self) -> int:
        """Return how many scripts run now."""

    def notify(self, text: str) -> None:
        """Show a line; safe in a signal handler."""


class StopSignals:
    """Handle SIGINT, SIGTERM and SIGHUP while the context lasts; `received` is the last one that came.

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
        self._kill = self.received is not None or number != signal.SIGINT
        self.received = signal.Signals(number)
        self.repeat()
        scripts = count(self._display.running(), "running script")
        if self._kill:
            self._display.notify(f"stopping: killing {scripts}")
        else:
            self._display.notify(f"stopping: waiting for {scripts}; press Ctrl-C again to kill them")
