"""What is shown on standard error while tasks run. Here: a line for each; in `live.py`, a picture.

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
from orchestrator.cli.report import style_of
from orchestrator.cli.streams import Outlet
from orchestrator.cli.voice import Piece, Voice
from orchestrator.cli.wording import neutral
from orchestrator.events import Event, Finished, Printed, Retrying, Started
from orchestrator.results import ExecutionResult
from orchestrator.wording import duration


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


class LineDisplay:
    """Print a line for each task that has finished, unless `quiet`, and what the voice says."""

    def __init__(self, order: Order, voice: Voice, out: Outlet, err: Outlet, *, quiet: bool) -> None:
        self._tally = Tally(order)
        self._voice = voice
        self._out = out
        self._err = err
        self._quiet = quiet

    def watching(self, snapshot: Callable[[], Any]) -> AbstractContextManager[object]:
        """Do nothing: there is nothing to draw between events."""
        return nullcontext()

    def running(self) -> list[Running]:
        """Return what runs now."""
        return list(self._tally.running.values())

    def notify(self, text: str) -> None:
        """Print a line, past all buffers: a signal may have come in the middle of a print."""
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode(errors="backslashreplace"))

    def show(self, event: Event) -> None:
        """Print what is worth a line, and what the voice says."""
        self._tally.note(event)
        for piece in self._voice.hear(event):
            say(piece, self._out, self._err)
        if not self._quiet and isinstance(event, (Finished, Retrying)) and was_run(event.result):
            self._err.print(self._line(event, event.result))

    def _line(self, event: Finished | Retrying, result: ExecutionResult) -> Text:
        total = len(self._tally.order.tasks)
        place = f"{self._tally.done}/{total}" if isinstance(event, Finished) else "retry"
        line = Text.assemble(
            f"{place:>{2 * len(str(total)) + 1}}  ",
            (f"{result.ending.value:<13}", style_of(result.ending)),
            f"  {duration(result.execution_time):>9}  {self._tally.order.label(event.index)}",
            no_wrap=True,
        )
        if isinstance(event, Retrying):
            line.append(f"  (attempt {event.attempt}; the next in {duration(event.delay)})")
        return line


def say(piece: Piece, out: Outlet, err: Outlet) -> None:
    """Print a piece to its stream. What a program wrote reaches a file as it is, a terminal neutralised."""
    outlet = out if piece.stream == 1 else err
    if isinstance(piece.text, Text):
        outlet.print(piece.text)
    else:
        outlet.write(neutral(piece.text) if outlet.isatty() else piece.text)
