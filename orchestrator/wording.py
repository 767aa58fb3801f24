"""Durations, sizes, numbers, names and the output of programs, as people read them. Pure functions."""

from __future__ import annotations

import re

_ESCAPE_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor moves (CSI)
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles (OSC, DCS)
    r"|\x1b[ -/]*[0-~]"  # the rest: reset, character sets
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, direction marks, and halves of surrogate pairs."""


def duration(seconds: float) -> str:
    """Write a duration with two significant units at most.

    >>> [duration(s) for s in (0.0123, 3.21, 90, 3725, 200_000)]
    ['12 ms', '3.2 s', '1 m 30 s', '1 h 02 m', '2 d 07 h']
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {whole:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} m"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02} h"


def size(amount: int) -> str:
    """Write an amount of memory in powers of 1024, as `--memory` reads it.

    >>> [size(n) for n in (700, 200_000, 48 * 2**20, 5 * 2**29)]
    ['700 B', '195 KB', '48 MB', '2.5 GB']
    """
    number = float(amount)
    for unit in ("B", "KB", "MB"):
        if number < 999.5:
            return f"{number:.0f} {unit}"
        number /= 1024
    if number < 999.5:
        return f"{number:.1f} GB"
    return f"{number / 1024:.1f} TB"


def count(number: int, one: str, many: str = "") -> str:
    """Write a number of things.

    >>> count(1, "script"), count(2, "script"), count(2, "retry", "retries")
    ('1 script', '2 scripts', '2 retries')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def visible(name: str) -> str:
    r"""Write a name on one line, with escapes for all that does not print; bytes that are no UTF-8 too.

    >>> print(visible("a\n\x1b[1m\udcff b"))
    a\n\x1b[1m\xff b
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in name) or "''"


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python carries a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


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
