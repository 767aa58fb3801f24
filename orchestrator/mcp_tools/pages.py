"""Pages of text out of bytes. Pure functions; no character is ever split between two pages."""

from __future__ import annotations

from typing import NamedTuple

SMALLEST = 16
"""Bytes that a page has at least, so that the next one begins behind this one's first character."""


class Page(NamedTuple):
    """A part of what was written: it begins at byte `offset`, and the next one at `next_offset`, None at the end."""

    text: str
    offset: int
    next_offset: int | None


def page_of(data: bytes | bytearray, offset: int, limit: int) -> Page:
    """Return at most `limit` bytes from `offset` on as text, with U+FFFD for what is no UTF-8.

    An offset within a character means its beginning.

    >>> page_of("naïve".encode() * 4, 3, 16)
    Page(text='ïvenaïvenaïve', offset=2, next_offset=18)
    """
    start = _boundary(data, min(offset, len(data)))
    end = _boundary(data, min(start + max(limit, SMALLEST), len(data)))
    return Page(data[start:end].decode("utf-8", "replace"), start, end if end < len(data) else None)


def as_text(name: str) -> str:
    """Return text that can be sent: what Python carries of bytes that are no UTF-8 (PEP 383) as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _boundary(data: bytes | bytearray, position: int) -> int:
    """Return the position, or the beginning of the character (RFC 3629) that it would split."""
    for back in range(1, min(3, position) + 1):
        lead = data[position - back]
        if lead >= 0xC0:
            whole = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            begin = position - back
            return begin if whole > back and _is_character(data[begin : begin + whole]) else position
        if lead < 0x80:
            break
    return position


def _is_character(data: bytes | bytearray) -> bool:
    try:
        return len(data.decode()) == 1
    except UnicodeDecodeError:
        return False
