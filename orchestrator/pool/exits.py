"""What happens to pools when the program ends, and in a forked copy of it.

At the interpreter's exit accepted work finishes, as the standard library's executors promise; Ctrl-C stops it
instead, and so does an exit because of Ctrl-C. A forked copy has no slots and no workers: its pools become
inert, and it makes its own on use.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Protocol

from orchestrator.pool.lifeline import lifeline


class Closable(Protocol):
    """A pool, as far as its end is concerned."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, kill: bool = False) -> None:
        """Take no more work, and end."""

    def disown(self) -> None:
        """Become inert."""


_open: weakref.WeakSet[Closable] = weakref.WeakSet()
_closing = False  # hooks run already: registering another now would be a race


def enrol(pool: Closable) -> None:
    """See to a pool's end, unless it has been shut down by then."""
    _open.add(pool)
    arm()


def discharge(pool: Closable) -> None:
    """Forget a pool that has been shut down."""
    _open.discard(pool)


def arm() -> None:
    """Have `close_all` run at exit before any hook registered so far.

    Called for each new pool and whenever a child is started: multiprocessing joins its children in a hook of
    its own, which is registered when it is first imported, and hooks run last-in first-out.
    """
    if not _closing:
        atexit.unregister(close_all)
        atexit.register(close_all)


def close_all() -> None:
    """Finish accepted work and end every pool. Interrupted, it stops the work instead."""
    global _closing
    _closing = True
    pools = list(_open)
    try:
        for pool in pools:
            pool.shutdown(wait=False, kill=_died_of_interrupt())
        for pool in pools:
            pool.shutdown(wait=True)
    except KeyboardInterrupt:
        for pool in pools:
            pool.shutdown(wait=False, kill=True)
        for pool in pools:
            pool.shutdown(wait=True)
    finally:
        lifeline.close()


def _died_of_interrupt() -> bool:
    """Whether Ctrl-C ended the program: then nobody waits for its work any more."""
    kind = getattr(sys, "last_type", None)  # what the interpreter has printed a traceback of
    return isinstance(kind, type) and issubclass(kind, KeyboardInterrupt)


def _forget_inherited() -> None:
    for pool in list(_open):
        pool.disown()
    _open.clear()


os.register_at_fork(after_in_child=_forget_inherited)
