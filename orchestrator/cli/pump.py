"""Pump: what a program prints, carried to a stream of ours byte by byte as it comes.

The program never gets our own stream: what it leaves behind cannot write there.
"""

from __future__ import annotations

import errno
import os
import threading
from types import TracebackType
from typing import Self


class Pump:
    """A pipe whose other end is written to one of our descriptors, by a thread. `descriptor` is for the program.

    Leaving the context waits until all has been written. When our reader leaves, so does the program's: it gets
    SIGPIPE, as it would without us.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._source, self.descriptor = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"orchestrator-pump-{target}", daemon=True)
        self.problem: OSError | None = None

    @property
    def reader_left(self) -> bool:
        """Say whether nobody reads what we write any more."""
        return self.problem is not None and self.problem.errno == errno.EPIPE

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)
        self._thread.join()

    def _run(self) -> None:
        try:
            while data := os.read(self._source, 1 << 16):
                view = memoryview(data)
                while view:
                    view = view[os.write(self._target, view) :]
        except OSError as error:
            self.problem = error
        finally:
            os.close(self._source)
