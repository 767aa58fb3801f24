"""Foreign text, as it may be shown on a terminal. Pure functions; for durations see `orchestrator.wording`."""

from __future__ import annotations

import re

_ESCAPE_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor moves (CSI)
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles (OSC, DCS)
    r"|\x1b[ -/]*[0-~]"  # the rest: reset, character sets
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, direction marks, and halves of surrogate pairs."""


def unicode(name: str) -> str:
    """Return a name as Unicode text, with U+FFFD for bytes that are no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def neutral(output: str) -> str:
    r"""Return a program's output as text that cannot steer a terminal.

    Escape sequences, control and direction characters are removed; of a line that was overwritten
    after a carriage return, the last state is kept, as a terminal shows it.

    >>> neutral("\x1b[31mred\x1b[0m 10%\r20%\r\n")
    '20%\n'
    """
    lines = output.split("\n")
    shown = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines) if "\r" in output else output
    return _CONTROLS.sub("", _ESCAPE_SEQUENCES.sub("", shown))


def end_of(output: str, lines: int) -> tuple[list[str], bool]:
    """Return the last lines of a program's output, neutralised, and whether any came before them.

    A line of more than 1000 characters is cut.
    """
    reach = output[-lines * 2000 :]
    kept = neutral(reach).rstrip("\n").split("\n")
    cut = len(reach) < len(output) or len(kept) > lines
    return [line if len(line) <= 1000 else "…" + line[-999:] for line in kept[-lines:]], cut


def shorten(text: str, columns: int) -> str:
    """Cut a text at its front, where paths are alike, to fit so many columns of a terminal.

    >>> shorten("scripts/examples/primes.py", 12)
    '…s/primes.py'
    """
    from rich.cells import cell_len

    if cell_len(text) <= columns:
        return text
    end = text[-columns:]
    while end and cell_len(end) >= columns:
        end = end[1:]
    return "…" + end if columns > 0 else ""
