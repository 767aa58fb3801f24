"""A line on standard error for each task that has finished: what is shown where there is no terminal."""

from __future__ import annotations

from rich.text import Text

from orchestrator.cli.display import Unseen
from orchestrator.cli.order import Order
from orchestrator.cli.record import was_run
from orchestrator.cli.report import style_of
from orchestrator.cli.streams import Outlet
from orchestrator.cli.voice import Piece, Voice
from orchestrator.cli.wording import neutral
from orchestrator.events import Event, Finished, Retrying
from orchestrator.results import ExecutionResult
from orchestrator.wording import duration


class LineDisplay(Unseen):
    """Print a line for each task that has finished, unless `quiet`, and what the voice says."""

    def __init__(self, order: Order, voice: Voice, out: Outlet, err: Outlet, *, quiet: bool) -> None:
        super().__init__(order)
        self._voice = voice
        self._out = out
        self._err = err
        self._quiet = quiet

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
            f"{place:>{max(5, 2 * len(str(total)) + 1)}}  ",
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
        if outlet.isatty():
            outlet.write(neutral(piece.text))
        else:
            outlet.write_bytes(piece.text.encode("utf-8", "surrogateescape"))
