"""Standard output and standard error as the commands write to them.

Nothing here raises for a reader that left, a full disk or a terminal that is gone: an `Outlet`
remembers what went wrong, and the command turns that into its exit code when all else is done.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
from typing import IO, TYPE_CHECKING, TextIO, cast

from orchestrator.cli import codes

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

UNLIMITED_COLUMNS = 10_000
"""The width of a file or a pipe: names are not cut there."""

_ASCII = str.maketrans({"…": "~", "─": "-"})


def repair_standard_streams() -> None:
    """Make the three standard streams usable: open, able to print any text, and not of no width.

    A descriptor that was closed (`2>&-`) gets /dev/null, so that no file we open takes its number. A
    character the terminal's encoding lacks is printed as an escape instead of raising.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open until exit)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name, "").strip("0") == "":
            os.environ.pop(name, None)  # 0 means unknown; rich would take it at its word


def is_smart_terminal(stream: TextIO) -> bool:
    """Say whether the stream is a terminal on which the cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def is_colored(stream: TextIO, choice: bool | None) -> bool:
    """Decide on colour: the option, then NO_COLOR, then FORCE_COLOR, then what the stream is.

    Each variable counts when it is set and not empty (https://no-color.org, https://force-color.org).
    """
    if choice is not None:
        return choice
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_smart_terminal(stream)


def no_standard_output(problem: OSError) -> int:
    """Say that standard output could not be written to; return the exit code of that."""
    Outlet(sys.stderr).write(f"orchestrator: could not write to standard output: {problem}\n")
    return codes.TROUBLE


def say_at_once(text: str) -> None:
    """Write lines to standard error past all buffers: a signal may have come in the middle of a print."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))


class Outlet:
    """A standard stream that is written to at once and never raises; for rich, a file.

    After the first failure, kept in `problem`, everything written is dropped.
    """

    def __init__(self, stream: TextIO, color: bool | None = None) -> None:
        self._stream = stream
        self.colored = is_colored(stream, color)
        self.encoding = stream.encoding or "ascii"
        """Rich reads it, and draws with ASCII when it is not Unicode."""
        self.problem: OSError | None = None
        self._console: Console | None = None

    def isatty(self) -> bool:
        """Say whether a terminal is behind it."""
        return self._stream.isatty()

    def write(self, text: str) -> int:
        """Write and flush."""
        if self.problem is None:
            try:
                self._stream.write(text if self.encoding.lower().startswith("utf") else text.translate(_ASCII))
                self._stream.flush()
            except OSError as error:
                self.problem = error
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are: names need not be text."""
        if self.problem is None:
            try:
                self._stream.flush()
                self._stream.buffer.write(data)
                self._stream.flush()
            except OSError as error:
                self.problem = error

    def exit_code(self) -> int:
        """Return the exit code of a command that only had to write this; say on standard error what went wrong."""
        if self.problem is None:
            return codes.GOOD
        if self.reader_left:
            return codes.READER_LEFT
        return no_standard_output(self.problem)

    def flush(self) -> None:
        """Do nothing: what was written has been flushed."""

    @property
    def reader_left(self) -> bool:
        """Say whether writing failed because nobody reads any more, as in `| head`."""
        return self.problem is not None and self.problem.errno == errno.EPIPE

    def print(self, *renderables: RenderableType) -> None:
        """Print rich renderables, each from the start of a line; plain text, which may be long, without rich."""
        from rich.text import Text

        for renderable in renderables:
            if self.problem is not None:
                return
            if isinstance(renderable, Text) and renderable.no_wrap and not (renderable.style or renderable.spans):
                self.write(f"{renderable.plain}\n")
            else:
                print_to(self.console(), renderable)

    def width(self) -> int:
        """Return the columns there are: what COLUMNS says, else the terminal's; a file has no end of them."""
        return self.console().width

    def console(self) -> Console:
        """Return a rich console that writes here; on a smart terminal it follows the window's size."""
        if self._console is not None:
            return self._console
        from rich.console import Console

        smart = is_smart_terminal(self._stream)
        self._console = Console(
            file=cast("IO[str]", self),
            width=None if smart else self._fixed_width(),
            height=None if smart else 25,
            color_system="standard" if self.colored else None,
            no_color=False,
            force_terminal=smart,
            legacy_windows=False,
        )
        return self._console

    def _fixed_width(self) -> int:
        columns = os.environ.get("COLUMNS", "")
        if self.isatty() or columns.isdecimal():
            return shutil.get_terminal_size().columns
        return UNLIMITED_COLUMNS


def print_to(console: Console, *renderables: RenderableType) -> None:
    """Print rich renderables. Text marked `no_wrap` is left for the terminal to wrap, so it copies as it was."""
    from rich.text import Text

    for renderable in renderables:
        console.print(renderable, soft_wrap=isinstance(renderable, Text) and bool(renderable.no_wrap))
