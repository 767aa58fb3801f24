"""Signals during a run. The first Ctrl-C, or SIGHUP, lets what runs finish; a second signal, or SIGTERM, kills it.

SIGUSR1 tells what is running.

Handlers run in the main thread, in the middle of whatever it does: they only set flags, through
calls that the runner and the display promise are safe there.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Protocol

from orchestrator.cli.display import Running
from orchestrator.cli.streams import say_at_once
from orchestrator.stopping import Scope, entered
from orchestrator.wording import duration

Handler = Callable[[int, FrameType | None], None]


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
    """Handle SIGINT, SIGTERM, SIGHUP and SIGUSR1; `received` is the last one that came of the first three."""

    def __init__(
        self, runner: Stoppable, display: Notified, *, at_once: bool = False, draining: str = "waiting for"
    ) -> None:
        """`at_once`: the first signal stops what runs, whichever it is. `draining` says what else it does with that."""
        self.received: signal.Signals | None = None
        self._at_once = at_once
        self._draining = draining
        self._kill = False
        self._runner = runner
        self._display = display

    def listening(self) -> AbstractContextManager[None]:
        """Handle the signals while the context lasts."""
        stops = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._handle)
        return _handled({**stops, signal.SIGUSR1: self._tell})

    def repeat(self) -> None:
        """Give the last order again: a runner forgets one that came before its run had begun."""
        if self._kill:
            self._runner.cancel()
        elif self.received is not None:
            self._runner.drain()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._kill:
            # It was told to kill, and still runs: nobody reads what it writes. The guardian stops what it leaves.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._kill = self._at_once or self.received is not None or number == signal.SIGTERM
        self.received = signal.Signals(number)
        self.repeat()
        tasks = f"{len(self._display.running())} running"
        if self._kill:
            self._display.notify(f"stopping: killing {tasks}")
        elif number == signal.SIGINT:
            self._display.notify(f"stopping: {self._draining} {tasks}; press Ctrl-C again to kill them")
        else:
            self._display.notify(f"stopping: {self._draining} {tasks}")

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        lines = [
            f"{script.pid:>8}  {duration(now - script.start):>9}  {script.label}" for script in self._display.running()
        ]
        self._display.notify("\n".join([f"running: {len(lines)}", *lines]))


class StoppedAtOnce:
    """Stop whatever our runners do in this thread when SIGINT, SIGTERM or SIGHUP comes; `received` is the one.

    `what` is said to be running when SIGUSR1 asks.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._start = time.monotonic()
        self.received: signal.Signals | None = None
        self._scope = Scope()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the context lasts."""
        stops = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._handle)
        with entered(self._scope), _handled({**stops, signal.SIGUSR1: self._tell}):
            yield

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:  # it was stopped, and still runs: nobody reads what it writes
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received = signal.Signals(number)
        self._scope.stop()

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        say_at_once(f"running: {self._what}, for {duration(time.monotonic() - self._start)}")


@contextlib.contextmanager
def _handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Have signals handled while the context lasts; one that was ignored stays so, as `nohup` and `&` want it."""
    before = {}
    try:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
