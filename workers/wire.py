"""The bytes between a driver and a worker: one message per chunk down, one frame per fact up.

Down (a pipe the worker reads): an 8-byte length, then a pickled `Message`. One byte per task goes
down a second pipe, the tokens: the worker takes one before it starts a task, and the driver takes back
those of tasks it wants to run elsewhere. A byte in a pipe is read by exactly one reader, so each task
is started by exactly one worker, and a dead worker's unread tokens say which tasks it never started.

Up (a pipe the driver reads): frames, each a fixed header and a body. A frame is complete or absent: a
worker that dies while it writes leaves a torn one, which the reader drops.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, NamedTuple

READY, STARTED, DONE, STOPPED = 1, 2, 3, 4
"""Kinds of frames: the worker has started; a chunk is rebuilt and its first task's clock starts;
the next task of the chunk has finished; the rest of the chunk was taken back."""

RETURNED, RAISED, INTERRUPTED = 0, 1, 2
"""How the task of a DONE frame ended: `body` is its pickled value, else a pickled `Failure`."""

LEAVING = 1
"""Flag of a DONE frame: the worker exits after it (interrupted, or the task left processes behind)."""
LEFT_PROCESSES = 2
"""Flag of a DONE frame: the task left child processes behind."""
LEFT_THREADS = 4
"""Flag of a DONE frame: there are threads in the worker that an earlier task left behind."""

TOKEN, STOP = b"T", b"S"
"""A token allows one task; STOP ends a chunk whose other tokens were taken back."""

LENGTH = struct.Struct("<Q")
HEADER = struct.Struct("<QBBHddQQQ")
"""Body length, kind, how, flags, seconds, CPU seconds, peak resident bytes, end of stdout, end of stderr."""
HEADER_SIZE = HEADER.size

_ROOM = 1 << 18

FUNCTIONS_KEPT = 16
"""How many shared functions and codes a worker keeps, the oldest going first; the driver counts along."""

TRACEBACK_LIMIT = 64 * 1024
"""Characters of an exception's text and traceback that travel: a 50 MB message is cut here."""


class Message(NamedTuple):
    """A chunk on its way down: tasks as pickles, and what they share.

    `preambles` are pickles of what several tasks share, with the key each is known by; a worker gets
    each once. A task is (-1, the pickle of function and arguments); or (a function's key, the pickle of
    the arguments); or (a code object's key, the pickle of function and arguments that refers to it).
    """

    tasks: list[tuple[int, bytes]]
    preambles: list[tuple[int, bytes]]
    seconds: float | None
    grace: float
    cwd: str | None
    env: dict[str, str] | None


class Failure(NamedTuple):
    """An exception on its way up: always its type, text and traceback; the object only where it travels."""

    type_name: str
    text: str
    traceback: str
    exception: bytes | None
    exit_code: int | None


Frame = tuple[int, int, int, int, float, float, int, int, int, bytes]
"""One fact from a worker: the fields of HEADER, then the body. A plain tuple, for there is one per task."""


def pack_message(message: Message) -> tuple[bytes, bytes]:
    """Return a message's length prefix and its bytes."""
    body = pickle.dumps(tuple(message), 5)
    return LENGTH.pack(len(body)), body


def unpack_message(body: bytes | bytearray | memoryview) -> Message:
    """Rebuild a message. Only plain values: the tasks in it stay pickled."""
    return Message(*pickle.loads(body))


class FrameReader:
    """Cut a stream of bytes into frames: read into `room`, say how much came, take what is complete."""

    __slots__ = ("_buffer", "_end", "_start")

    def __init__(self) -> None:
        self._buffer = bytearray(_ROOM)
        self._start = self._end = 0  # what is between them has come and has not been taken

    def room(self) -> memoryview:
        """Return free space to read into; a frame that has begun fits in whole. Release it before the next call."""
        have, size = self._end - self._start, HEADER_SIZE + self._body()
        if self._start:
            self._buffer[:have] = self._buffer[self._start : self._end]
            self._start, self._end = 0, have
        wanted = max(_ROOM, size)
        if len(self._buffer) < wanted:
            self._buffer.extend(bytes(wanted - len(self._buffer)))
        elif not have and len(self._buffer) > _ROOM:
            self._buffer = bytearray(_ROOM)
        return memoryview(self._buffer)[self._end :]

    def came(self, count: int) -> None:
        """Say that `count` bytes have been read into the room."""
        self._end += count

    @property
    def missing(self) -> int:
        """Bytes still to come of a frame whose header has arrived; 0 when no frame is half there."""
        if self._end - self._start < HEADER_SIZE:
            return 0
        return max(0, HEADER_SIZE + self._body() - (self._end - self._start))

    def _body(self) -> int:
        if self._end - self._start < HEADER_SIZE:
            return 0
        length: int = HEADER.unpack_from(self._buffer, self._start)[0]
        return length

    def take(self) -> list[Frame]:
        """Return the frames that are complete, each once."""
        frames: list[Frame] = []
        start, have = self._start, self._end
        with memoryview(self._buffer) as view:
            while have - start >= HEADER_SIZE:
                fields = HEADER.unpack_from(view, start)
                end = start + HEADER_SIZE + fields[0]
                if have < end:
                    break
                frames.append((*fields, view[start + HEADER_SIZE : end].tobytes()))
                start = end
        self._start = start
        return frames


def dump_failure(failure: Failure) -> bytes:
    """Pickle a failure: plain values only, so that it always loads."""
    return pickle.dumps(tuple(failure), 5)


def load_failure(body: bytes) -> Failure:
    """Rebuild a failure."""
    return Failure(*pickle.loads(body))


def cut(text: str, limit: int = TRACEBACK_LIMIT) -> str:
    """Bound a text, keeping its head and its tail, and saying how much is gone."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"


def describe(value: Any) -> str:
    """Name an object's type as a reader would write it: `module.Type`, or `Type` for builtins."""
    kind = type(value)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
