"""What is shown on standard error while tasks run. Here: nothing; `lines.py` has a line for each, `live.py` a picture.

The thread that runs the batch tells a display of every event. Signal handlers, which interrupt that
very thread, call `running` and `notify`: those take no lock and print through no buffer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

from orchestrator.cli.order import Order
from orchestrator.cli.record import was_run
from orchestrator.cli.streams import say_at_once
from orchestrator.events import Event, Finished, Printed, Retrying, Started


class Running(NamedTuple):
    """A task that runs; `start` is on the monotonic clock."""

    label: str
    pid: int
    start: float


class Display(Protocol):
    """What a run needs of its display."""

    def watching(self, snapshot: Callable[[], Any]) -> AbstractContextManager[object]:
        """Show the run while the context lasts; `snapshot` is the runner's."""

    def show(self, event: Event) -> None:
        """Take note of an event."""

    def running(self) -> list[Running]:
        """Return what runs now; safe in a signal handler."""

    def notify(self, text: str) -> None:
        """Show a line of text; safe in a signal handler."""


class Tally:
    """What has happened so far.

    Written by the thread that runs the batch, read by the one that draws and by signal handlers, each
    field in one step; so there is no lock, and a picture may be one event behind in part.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.running: dict[int, Running] = {}
        self.done = 0
        self.failed = 0
        self.skipped = 0

    def note(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case Started():
                self.running[event.index] = Running(self.order.label(event.index), event.pid, time.monotonic())
            case Printed():
                pass
            case Retrying():
                self.running.pop(event.index, None)
            case Finished():
                self.running.pop(event.index, None)
                if was_run(event.result):
                    self.done += 1
                    self.failed += not event.result.success
                else:
                    self.skipped += 1


class Unseen:
    """Show nothing, but say what signals have to: for a script that speaks for itself."""

    def __init__(self, order: Order) -> None:
        self._tally = Tally(order)

    def watching(self, snapshot: Callable[[], Any]) -> AbstractContextManager[object]:
        """Do nothing: there is nothing to draw between events."""
        return nullcontext()

    def running(self) -> list[Running]:
        """Return what runs now."""
        return list(self._tally.running.values())

    def notify(self, text: str) -> None:
        """Print lines."""
        say_at_once(text)

    def show(self, event: Event) -> None:
        """Take note."""
        self._tally.note(event)
