"""Foreign text, as it may be shown on a terminal. Pure functions; `orchestrator.wording` has those for any reader."""

from __future__ import annotations

from orchestrator.wording import end_of, neutral

__all__ = ["end_of", "neutral", "shorten", "unicode"]


def unicode(name: str) -> str:
    """Return a name as Unicode text, with U+FFFD for bytes that are no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


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
