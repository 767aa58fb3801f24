"""Durations, sizes, numbers and names, as people read them. Pure functions."""

from __future__ import annotations


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
