"""Code objects that many tasks of a run share: sent once, then referred to by key from each pickle.

The driver's pickler writes `code_of(key)` where a code object would stand (orchestrator/pool/payload.py).
"""

from __future__ import annotations

from types import CodeType

known: dict[int, CodeType] = {}
"""What this worker has been sent. Only the worker's loop adds and removes."""


def code_of(key: int) -> CodeType:
    """Return the code a pickle refers to."""
    return known[key]
