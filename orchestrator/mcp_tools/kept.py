"""Kept: what is kept of a stream while it is written. All of a little; of a flood its beginning and its end.

So has the pool it when a task has ended: what is read before and after looks the same.
"""

from __future__ import annotations


class Kept:
    """Bytes as they come, at most about `limit` of them.

    >>> kept = Kept(10)
    >>> for data in (b"in the beginning, ", b"and so on, until ", b"the end"):
    ...     kept.add(data)
    >>> bytes(kept)
    b'in th\\n[... 32 bytes of output cut ...]\\ne end'
    """

    __slots__ = ("_half", "_head", "_limit", "_tail", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._half = max(1, limit // 2)
        self._total = 0
        self._head = bytearray()
        self._tail = bytearray()
        """What follows the head; twice as much of it as is told, so that it need not be moved each time."""

    def add(self, data: bytes) -> None:
        """Take what was written next."""
        self._total += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._limit:
            del self._tail[: -self._limit]

    def __bytes__(self) -> bytes:
        if self._total <= self._limit:
            return bytes(self._head + self._tail)
        return b"%s%s%s" % (self._head, self._cut, self._tail[-self._half :])

    def __len__(self) -> int:
        return self._total if self._total <= self._limit else 2 * self._half + len(self._cut)

    @property
    def _cut(self) -> bytes:
        return b"\n[... %d bytes of output cut ...]\n" % (self._total - 2 * self._half)
