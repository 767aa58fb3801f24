"""Columns of text, for lists that people read and `awk` too."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from orchestrator.wording import visible


def said(text: str) -> str:
    """Return what a script says of itself on one line; nothing if it says nothing."""
    return visible(text) if text else ""


def columns(rows: Sequence[Sequence[str]], width: int) -> str:
    """Return the rows as lines, two spaces between columns; the last column is cut to fit the width.

    >>> print(columns([("a", "one"), ("bcd", "two")], 80), end="")
    a    one
    bcd  two
    """
    if not rows:
        return ""
    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        front = "".join(f"{set_cell_size(text, size)}  " for text, size in zip(row, widths, strict=False))
        room = width - cell_len(front)
        last = row[-1] if cell_len(row[-1]) <= room or room < 10 else f"{set_cell_size(row[-1], room - 1)}…"
        lines.append(f"{front}{last}".rstrip() + "\n")
    return "".join(lines)
