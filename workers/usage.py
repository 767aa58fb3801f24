"""What a task used, measured in the worker: CPU seconds and peak resident memory.

A task of microseconds is charged by one clock; one of a millisecond or more also gets its children's
CPU and its own memory peak, for which the kernel's high-water mark is set back (proc(5), clear_refs).
"""

from __future__ import annotations

import os
import resource
import time

_SLACK = 1024 * 1024  # bytes the mark may stand above the present size before it is set back


class Meter:
    """Charge each task with what the process used since the last one ended."""

    __slots__ = ("_children", "_clear", "_cpu", "_status", "cpu_seconds", "peak")

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:  # read-only /proc: peaks are then those of the worker's life
            self._clear = -1
        self._cpu = time.process_time()
        self._children = _children_cpu()
        self.cpu_seconds = 0.0
        self.peak = 0
        self._read_peak()

    def skip(self) -> None:
        """Charge nobody with what was used since the last task, to rebuild the next ones."""
        self._cpu = time.process_time()

    def read(self, *, children: bool, peak: bool) -> None:
        """Set `cpu_seconds` and `peak` for the task that has just ended, looking at what it can have changed."""
        now = time.process_time()
        self.cpu_seconds = now - self._cpu
        self._cpu = now
        if children:
            theirs = _children_cpu()
            self.cpu_seconds += theirs - self._children
            self._children = theirs
        if peak:
            self._read_peak()

    def rebase(self) -> None:
        """Set the high-water mark back to the present size."""
        if self._clear >= 0:
            os.write(self._clear, b"5")

    def _read_peak(self) -> None:
        """Read VmHWM, and set it back to the present size when it has run ahead of it."""
        status = os.pread(self._status, 8192, 0)
        self.peak = _field(status, b"VmHWM:")
        if self.peak - _field(status, b"VmRSS:") > _SLACK:
            self.rebase()


def _field(status: bytes, name: bytes) -> int:
    """Return a field of proc(5)'s status, in bytes; 0 when it is not there."""
    start = status.find(name)
    return int(status[start + len(name) : status.find(b"kB", start)]) * 1024 if start >= 0 else 0


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
