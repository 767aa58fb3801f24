"""The worker's end of output capture: descriptors 1 and 2 are files of its slot, watched by their size.

The driver made the two files and reads them; each DONE frame says where in them its task's output
ends. Everything that writes to a descriptor is caught: prints, C code, child processes. Nothing is
buffered on the way, so a crash loses nothing that was printed.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys

_UNBUFFERED = 2  # _IONBF of C's setvbuf


class Output:
    """Point stdout and stderr at two files and keep them there, whatever a task does to them."""

    __slots__ = ("_errors", "_ino", "_out", "stderr_end", "stdout_end", "streams")

    def __init__(self, out: int, errors: int) -> None:
        self._out, self._errors = out, errors
        self._ino = (os.fstat(out).st_ino, os.fstat(errors).st_ino)
        os.dup2(out, 1)
        os.dup2(errors, 2)
        _unbuffer_c_streams()
        self.streams = (_text_stream(1), _text_stream(2))
        sys.stdout, sys.stderr = self.streams
        sys.__stdout__, sys.__stderr__ = self.streams  # type: ignore[misc]
        self.stdout_end = os.lseek(out, 0, os.SEEK_END)
        self.stderr_end = os.lseek(errors, 0, os.SEEK_END)

    def mark(self) -> None:
        """Note where the output of the task that has just ended ends."""
        out, errors = self.streams
        try:
            if sys.stdout is not out or sys.stderr is not errors or out.closed or errors.closed:
                self._restore_streams()
        except ValueError:  # detached
            self._restore_streams()
        try:
            stdout_end, stderr_end = os.lseek(1, 0, os.SEEK_END), os.lseek(2, 0, os.SEEK_END)
        except OSError:  # closed, or a pipe now
            self._restore_descriptors()
            return
        # The files start at a random offset, so another file put in their place shows by its size.
        if stdout_end != self.stdout_end or stderr_end != self.stderr_end:
            self.stdout_end, self.stderr_end = stdout_end, stderr_end
            if (os.fstat(1).st_ino, os.fstat(2).st_ino) != self._ino:
                self._restore_descriptors()

    def _restore_descriptors(self) -> None:
        os.dup2(self._out, 1)
        os.dup2(self._errors, 2)
        self.stdout_end = os.lseek(1, 0, os.SEEK_END)
        self.stderr_end = os.lseek(2, 0, os.SEEK_END)

    def _restore_streams(self) -> None:
        """Put back what a task replaced, keeping what it may have left in a buffer of its own."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # the task's own object: whatever it raises ends here
                continue
        if any(_unusable(stream) for stream in self.streams):
            self.streams = (_text_stream(1), _text_stream(2))
        sys.stdout, sys.stderr = self.streams


def _unusable(stream: io.TextIOWrapper) -> bool:
    try:
        return stream.closed
    except ValueError:  # detached
        return True


def _text_stream(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "wb", closefd=False)
    # TextIOWrapper over a raw file is what `python -u` does too; typeshed asks for a buffered one.
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def _unbuffer_c_streams() -> None:
    """Make C's stdout write at once, as its stderr does: a crash would lose what is in its buffer."""
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _UNBUFFERED, 0)
