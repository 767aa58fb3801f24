"""What SQLite passes over in silence: changes that were promised, and that its files have no longer.

SQLite reads FILE-wal up to the first frame whose checksum is wrong, and takes the rest for what a crash has left unsaid
(sqlite.org/fileformat.html#the_write_ahead_log). Mostly it is; but a log that was cut or damaged looks the same, and
jobs would be gone. Two witnesses tell: FILE-shm, which counts the frames that were synced (walformat.html#walidxfmt),
as long as nobody has opened the database since; and the log itself, where a transaction is written only
when the one before it has reached the disk. For a store that nobody has open.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">2I8s2I")
_MAGIC = 0x377F0682
"""The last bit says that the checksums are of big-endian words."""


class _Log(NamedTuple):
    """What FILE-wal says: frames up to the last whole transaction, frames there must be, the database they make."""

    whole: int
    written: int
    pages: int
    present: frozenset[int]


def lost(path: str) -> str | None:
    """Say what is missing of a store, None when nothing is."""
    with open(path, "rb") as file:
        header, size = file.read(100), os.fstat(file.fileno()).st_size
    try:
        with open(f"{path}-wal", "rb") as file:
            wal = file.read()
    except FileNotFoundError:
        wal = b""
    salts, counted, copied = _counted(path)
    begun = _begin(wal)
    if begun is None:
        if counted > copied or len(wal) > _HEADER.size + _FRAME.size + 512:
            return f"{path}-wal, which had the latest changes, is missing or damaged at its beginning"
        log = _Log(0, 0, 0, frozenset())
    else:
        log = _read(wal, *begun)
        written = max(log.written, counted) if salts == wal[16:24] else log.written
        if log.whole < written:
            return f"{path}-wal, which has the latest changes, was cut or damaged: {log.whole} of {written} pages"
    page_size = int.from_bytes(header[16:18], "big") or 1
    page_size = 65536 if page_size == 1 else page_size
    pages = log.pages or int.from_bytes(header[28:32], "big")
    if any(page not in log.present for page in range(size // page_size + 1, pages + 1)):
        return f"{path} was cut to {size} bytes of {pages * page_size}"
    return None


def _counted(path: str) -> tuple[bytes, int, int]:
    """Return what FILE-shm knows: which log it is about, its synced frames, and how many are in FILE already."""
    try:
        with open(f"{path}-shm", "rb") as file:
            index = file.read(136)
    except FileNotFoundError:
        index = b""
    if len(index) < 136 or index[:48] != index[48:96] or not index[12]:  # never filled, or just being changed
        return b"", 0, 0
    return index[32:40], *struct.unpack("=I", index[16:20]), *struct.unpack("=I", index[96:100])


def _begin(wal: bytes) -> tuple[str, int, tuple[int, int]] | None:
    """Return a log's byte order, page size and first checksum; None when its header is none."""
    if len(wal) < _HEADER.size:
        return None
    magic, _, page_size, _, _, _, *checksum = _HEADER.unpack_from(wal)
    order = ">" if magic & 1 else "<"
    valid = magic & ~1 == _MAGIC and _checksum(order, wal[:24], (0, 0)) == (*checksum,)
    return (order, page_size, (checksum[0], checksum[1])) if valid else None


def _read(wal: bytes, order: str, page_size: int, checksum: tuple[int, int]) -> _Log:
    whole = pages = last = 0
    present, pending = set[int](), set[int]()
    commits = list[int]()
    intact = True
    step = _FRAME.size + page_size
    for number, place in enumerate(range(_HEADER.size, len(wal) - step + 1, step), start=1):
        page, database, salts, *expected = _FRAME.unpack_from(wal, place)
        if salts != wal[16:24]:  # left from before the log was begun again
            intact = False
            continue
        last = number
        if database:
            commits.append(number)
        if intact:
            body = wal[place : place + 8] + wal[place + _FRAME.size : place + step]
            checksum = _checksum(order, body, checksum)
            intact = checksum == (*expected,) and page > 0
        if intact:
            pending.add(page)
            if database:
                whole, pages = number, database
                present |= pending
                pending.clear()
    # What the last frame belongs to may have been interrupted by a crash; what comes before that has been synced.
    return _Log(whole, max((commit for commit in commits if commit < last), default=0), pages, frozenset(present))


def _checksum(order: str, data: bytes, start: tuple[int, int]) -> tuple[int, int]:
    """Return the sum that SQLite makes (fileformat.html#checksum_algorithm)."""
    first, second = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
