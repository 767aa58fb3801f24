"""The picture of a run on a terminal: a bar, the counts, and the scripts that run now.

It is drawn by a thread of rich's, because the main thread is busy with the run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.display import Running, Tally
from orchestrator.cli.lines import say
from orchestrator.cli.order import Order
from orchestrator.cli.streams import Outlet, print_to
from orchestrator.cli.voice import Piece, Voice
from orchestrator.cli.wording import neutral, shorten
from orchestrator.events import Event
from orchestrator.wording import duration, size

PICTURES_PER_SECOND = 5


class LiveDisplay:
    """Keep a picture of the run at the bottom of the terminal, and remove it at the end."""

    def __init__(self, order: Order, voice: Voice, out: Outlet, err: Outlet) -> None:
        self._tally = Tally(order)
        self._voice = voice
        self._console = err.console()
        self._out = out
        self._start = time.monotonic()
        self._notice = ""
        self._snapshot: Callable[[], Any] | None = None

    @contextlib.contextmanager
    def watching(self, snapshot: Callable[[], Any]) -> Iterator[None]:
        """Draw again and again, in a thread of rich's."""
        self._snapshot = snapshot
        self._start = time.monotonic()
        with Live(
            self,
            console=self._console,
            refresh_per_second=PICTURES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            vertical_overflow="crop",
        ):
            yield

    def running(self) -> list[Running]:
        """Return what runs now."""
        return list(self._tally.running.values())

    def notify(self, text: str) -> None:
        """Put lines into the next picture."""
        self._notice = text

    def show(self, event: Event) -> None:
        """Take note, and print what the voice says: on this terminal above the picture."""
        self._tally.note(event)
        for stream, text in self._voice.hear(event):
            if stream == 1 and not self._out.isatty():
                say(Piece(stream, text), self._out, self._out)
            elif isinstance(text, Text):
                print_to(self._console, text)
            else:
                print_to(self._console, Text(neutral(text).rstrip("\n"), no_wrap=True))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the bar and the counts, the notice, and as many running scripts as there is room for."""
        width = options.max_width
        yield self._progress(width)
        room = console.height - 3
        if self._notice:
            lines = Text(self._notice, "yellow").wrap(console, width)
            room -= len(lines)
            yield from lines
        running = list(self._tally.running.values())
        shown = running if len(running) <= room else running[: max(0, room - 1)]
        memory = self._memory()
        now = time.monotonic()
        for script in shown:
            figures = f"{_clock(now - script.start):>9}"
            if width >= 40:
                rss = memory.get(script.pid, 0)
                figures += f"  {size(rss) if rss else '':>7}"
            yield Text(f"{figures}  {shorten(script.label, width - len(figures) - 2)}", no_wrap=True, overflow="crop")
        if len(shown) < len(running) and room > 0:
            yield Text(f"... and {len(running) - len(shown)} more", "dim", no_wrap=True, overflow="crop")
        yield Text()  # the cursor rests here: an echoed ^C after a full line would shift the picture

    def _progress(self, width: int) -> Table | Text:
        tally, total = self._tally, len(self._tally.order.tasks)
        counts = Text(f"{tally.done}/{total}", no_wrap=True, overflow="crop")
        if tally.failed:
            counts.append(f"  {tally.failed} failed", "red")
        if tally.skipped:
            counts.append(f"  {tally.skipped} skipped", "yellow")
        if width >= 60:
            counts.append(f"  {len(tally.running)} running")
        counts.append(f"  {_clock(time.monotonic() - self._start)}")
        bar_width = min(40, width - counts.cell_len - 2)
        if bar_width < 5:
            return counts
        bar = ProgressBar(total, tally.done, bar_width, complete_style="green", finished_style="green", style="dim")
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(bar, counts)
        return line

    def _memory(self) -> dict[int, int]:
        assert self._snapshot is not None
        return {worker.pid: worker.rss for worker in self._snapshot().workers if worker.pid is not None}


def _clock(seconds: float) -> str:
    """Write a time that is still running: no milliseconds, which would only flicker."""
    return duration(seconds) if seconds >= 1 else f"{seconds:.1f} s"
