"""How what runs in a thread tells, while it runs, what it prints: a listener, held in a context variable.

The workflow engine sets one around each callable that it runs in a thread, if anybody wants to hear; the runs of a
stage or job of a pipeline (`runs.Options.live_output`) pass on what their programs write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Hear = Callable[[int, bytes], None]
"""Takes a stream, 1 (standard output) or 2, and what was written to it. Called by any thread."""

_present: ContextVar[Hear | None] = ContextVar("orchestrator listener", default=None)


def listener() -> Hear | None:
    """Return who wants to hear what is printed here; None if nobody does."""
    return _present.get()


@contextlib.contextmanager
def heard_by(hear: Hear | None) -> Iterator[None]:
    """Have somebody hear what is printed while the context lasts."""
    token = _present.set(hear)
    try:
        yield
    finally:
        _present.reset(token)
