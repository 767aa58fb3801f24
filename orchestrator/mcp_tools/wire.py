"""Wire: the client's end of the protocol on standard input and output, which nobody else may touch.

The descriptors are moved away first: what a library, a worker or a script prints to standard output goes to standard
error, and what reads standard input finds its end. Reading and writing wait in threads that `end` wakes, so that a
signal, or a client that stops reading, keeps nobody here; any kind of file will do, and none is made non-blocking,
which its other users would notice. What is no message is answered here, and goes no further.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from orchestrator.mcp_tools.lines import LONGEST, answer_to, answer_to_too_long

_CHUNK = 1 << 16
_AT_ONCE = 4096
"""Bytes that a pipe which is ready takes without making us wait: PIPE_BUF, by pipe(7) and poll(2)."""
_FAREWELL_MS = 1000
"""How long the last lines may take when nobody reads any more."""


@contextlib.contextmanager
def private_standard_streams() -> Iterator[tuple[int, int]]:
    """Move standard input and output to descriptors of our own, which no process inherits; close them in the end.

    The standard ones then lead to nothing and to standard error, and stay so. Raises OSError when one is closed.
    """
    source = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        sink = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:
        os.close(source)
        raise
    try:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        yield source, sink
    finally:
        os.close(source)
        os.close(sink)


class Wire:
    """Lines from one descriptor and to another, as `mcp.server.stdio.stdio_server` wants its two files."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._bell, self._rope = os.pipe()  # readable from the moment on in which `end` is called
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="orchestrator-mcp")
        self._is_read = True
        self._in_turn = asyncio.Lock()  # one line is written after the other: the server's, and our own answers

    def end(self) -> None:
        """Read nothing more: as if the client had closed its end. Any number of times, in the loop's thread."""
        os.write(self._rope, b"!")

    def close(self) -> None:
        """Wait for the threads, which is short, and let go of what is held."""
        self.end()
        self._threads.shutdown()
        os.close(self._bell)
        os.close(self._rope)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the lines that are messages, until the client is gone or `end` is called."""
        loop = asyncio.get_running_loop()
        held = bytearray()  # of a line whose end is still to come
        too_long = False
        while chunk := await loop.run_in_executor(self._threads, self._read):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line = (held + end).decode("utf-8", "replace")
                answer = answer_to_too_long() if too_long else answer_to(line)
                held, too_long = bytearray(), False
                if answer is None:
                    yield line
                else:
                    await self.write(f"{answer}\n")
            held += rest
            if len(held) > LONGEST:
                held, too_long = bytearray(), True
        self.end()  # one that has left may still read the last lines, or may never: then no write waits for it

    async def write(self, text: str) -> None:
        """Write it all. A client that does not read any more is one that is gone."""
        loop = asyncio.get_running_loop()
        async with self._in_turn:
            try:
                if self._is_read:
                    await loop.run_in_executor(self._threads, self._write, text.encode())
            except OSError:
                self._is_read = False
                self.end()

    async def flush(self) -> None:
        """Do nothing: `write` has written."""

    def _read(self) -> bytes:
        """Return what there is, as soon as there is something; nothing at the end."""
        ready = select.poll()
        ready.register(self._source, select.POLLIN)
        ready.register(self._bell, select.POLLIN)
        if self._bell in (descriptor for descriptor, _ in ready.poll()):
            return b""
        try:
            return os.read(self._source, _CHUNK)
        except OSError:
            return b""

    def _write(self, data: bytes) -> None:
        ready = select.poll()
        ready.register(self._sink, select.POLLOUT)
        ready.register(self._bell, select.POLLIN)
        ended = False
        while data:
            descriptors = [descriptor for descriptor, _ in ready.poll(_FAREWELL_MS if ended else None)]
            if self._bell in descriptors:
                ended = True
                ready.unregister(self._bell)
            elif not descriptors:
                raise BrokenPipeError("the client does not read any more")
            if self._sink in descriptors:
                data = data[os.write(self._sink, data[:_AT_ONCE]) :]
