"""The driver's end of output capture: one unnamed file per stream, read by byte range, bounded.

A child writes to the files through inherited descriptors in append mode. They are anonymous memory
(memfd), so that nothing is left behind however we die; what a flooding task writes beyond the part
that is kept is given back to the system while it still writes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource

OUTPUT_LIMIT = 10_000_000
"""Bytes kept of each stream of a task unless told otherwise."""

_PUNCH = 0x01 | 0x02  # fallocate(2): FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_BLOCK = 1 << 20
_TRIM_ABOVE = 1 << 16


class Capture:
    """One stream of one child. Owned by the slot thread that supervises the child."""

    __slots__ = ("_base", "_limit", "_punched", "_told", "begin", "fd")

    def __init__(self, limit: int) -> None:
        self.fd = unnamed_file()
        # A random start tells our file from any other by its size alone (workers/output.py).
        unbounded = resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
        self._base = 1 + int.from_bytes(os.urandom(3)) if unbounded else 0
        os.ftruncate(self.fd, self._base)
        self._limit = limit
        self.begin = self._base
        """Where the running task found the file's end."""
        self._punched = 0
        self._told = self._base

    def end(self) -> int:
        """Return the offset at which the file ends now."""
        return os.fstat(self.fd).st_size

    def read(self, end: int | None = None) -> bytes:
        """Return what the task wrote, up to offset `end` (None: the file's), and begin the next task's part.

        More than the limit comes as head and tail with a line between that says how much was cut.
        """
        begin, stop = self.begin, self.end() if end is None else end
        size = stop - begin
        if size <= 0:
            self.begin = max(begin, stop)
            return b""
        self.begin, self._punched = stop, 0
        return _shortened(self.fd, begin, size, self._limit)

    def fresh(self) -> bytes:
        """Return what was written since the last call; of a flood the end, after a line that says how much was cut."""
        start, stop = max(self._told, self.begin), self.end()
        self._told = stop
        cut = stop - start - self._limit
        if cut <= 0:
            return _pread(self.fd, start, stop - start)
        return b"\n[... %d bytes of output cut ...]\n%s" % (cut, _pread(self.fd, start + cut, stop - start - cut))

    def relieve(self) -> None:
        """Give back the middle of a flood: call now and then while a task runs."""
        half = self._limit // 2
        first = self.begin + half + _BLOCK
        start, stop = max(first, self._punched), self.end() - half - _BLOCK
        if stop - start >= _BLOCK:
            _punch(self.fd, start, stop - start)
            self._punched = stop

    def trim(self) -> None:
        """Empty the file, between chunks, when what is in it has been read."""
        if self.begin - self._base > _TRIM_ABOVE and self.end() == self.begin:
            os.ftruncate(self.fd, self._base)
            self.begin = self._base

    def close(self) -> None:
        """Close our descriptor; the memory goes with the last one."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def shortened(fd: int, limit: int) -> bytes:
    """Return what a file holds; more than the limit as head and tail with a line between that says how much was cut."""
    return _shortened(fd, 0, os.fstat(fd).st_size, limit)


def _shortened(fd: int, begin: int, size: int, limit: int) -> bytes:
    if size <= limit:
        return _pread(fd, begin, size)
    half = limit // 2
    head, tail = _pread(fd, begin, half), _pread(fd, begin + size - half, half)
    return b"%s\n[... %d bytes of output cut ...]\n%s" % (head, size - 2 * half, tail)


def _pread(fd: int, offset: int, size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.pread(fd, min(size, 1 << 30), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def unnamed_file() -> int:
    """Return a descriptor of an empty file that no folder lists, in append mode: memory, where there is memfd."""
    try:
        fd = os.memfd_create("orchestrator-output", os.MFD_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        # No memfd in this sandbox: a file without a name will do.
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
    return fd


def _punch(fd: int, offset: int, length: int) -> None:
    """Deallocate a range (fallocate(2)); a file system that cannot is left as it is."""
    fallocate = ctypes.CDLL(None).fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    fallocate(fd, _PUNCH, offset, length)
