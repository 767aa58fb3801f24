"""Which threads hear signals: none of the pool's.

Python runs a signal's handler in the main thread, but the kernel may deliver the signal to any thread that does not
block it; and a thread that starts a process, which blocks and unblocks signals for that (vfork), is a likely one.
The main thread, asleep in a wait, is then not woken, and Ctrl-C does nothing. So a slot's thread blocks them all
(signal(7), pthread_sigmask(3)).
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
_ALL = signal.valid_signals() - _FAULTS


def deafen() -> None:
    """Have the present thread, and what it starts, hear no signal but that of its own fault."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _ALL)


@contextlib.contextmanager
def hearing() -> Iterator[None]:
    """Hear everything for the length of a block, which starts a program that shall."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        deafen()
