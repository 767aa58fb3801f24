"""What is shown on standard error while scripts run. Here: a line for each; in `live.py`, a picture.

The thread that runs the batch tells a display of every event. Signal handlers, which interrupt that
very thread, call `running` and `notify`: those take no lock and print through no buffer.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

from rich.text import Text

from orchestrator.cli.order import Order
from orchestrator.cli.record import was_run
from orchestrator.cli.report import section, style_of
from orchestrator.cli.streams import Outlet
from orchestrator.events import Event, Finished, Retrying, Started
from orchestrator.wording import duration


class Display(Protocol):
    """What a run needs of its display."""

    def watching(self, snapshot: Callable[[], Any]) -> AbstractContextManager[object]:
        """Show the run while the context lasts; `snapshot` is the runner's."""

    def show(self, event: Event) -> None:
        """Take note of an event."""

    def running(self) -> int:
        """Return how many scripts run now; safe in a signal handler."""

    def notify(self, text: str) -> None:
        """Show a line of text; safe in a signal handler."""


class Running(NamedTuple):
    """A script that runs; `start` is on the monotonic clock."""

    label: str
    pid: int
    start: float


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

    def note(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case Started():
                self.running[event.index] = Running(self.order.label(event.index), event.pid, time.monotonic())
            case Retrying():
                self.running.pop(event.index, None)
            case Finished():
                self.running.pop(event.index, None)
                self.done += 1
                self.failed += not event.result.success and was_run(event.result)


class LineDisplay:
    """Print a line for each script that has finished; with `verbose`, its output there instead."""

    def __init__(self, order: Order, outlet: Outlet, *, verbose: Outlet | None, quiet: bool) -> None:
        self._tally = Tally(order)
        self._outlet = outlet
        self._verbose = verbose
        self._quiet = quiet

    def watching(self, snapshot: Callable[[], Any]) -> AbstractContextManager[object]:
        """Do nothing: there is nothing to draw between events."""
        return nullcontext()

    def running(self) -> int:
        """Return how many scripts run now."""
        return len(self._tally.running)

    def notify(self, text: str) -> None:
        """Print a line, past all buffers: a signal may have come in the middle of a print."""
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())

    def show(self, event: Event) -> None:
        """Print what is worth a line."""
        self._tally.note(event)
        if self._quiet or isinstance(event, Started) or not was_run(event.result):
            return
        label = self._tally.order.label(event.index)
        if self._verbose is not None and isinstance(event, Finished):
            self._verbose.print(*section(label, event.result))
            return
        total = len(self._tally.order.scripts)
        place = f"{self._tally.done}/{total}" if isinstance(event, Finished) else "retry"
        result = event.result
        line = Text.assemble(
            f"{place:>{2 * len(str(total)) + 1}}  ",
            (f"{result.ending.value:<13}", style_of(result.ending)),
            f"  {duration(result.execution_time):>9}  {label}",
            no_wrap=True,
        )
        if isinstance(event, Retrying):
            line.append(f"  (attempt {event.attempt}; the next in {duration(event.delay)})")
        self._outlet.print(line)
