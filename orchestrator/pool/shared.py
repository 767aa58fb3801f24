"""The warm pools behind the module-level helpers: one for each configuration, made on first use.

Idle workers are retired after a while. Safe from several threads and event loops.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from orchestrator import settings
from orchestrator.pool import worker
from orchestrator.pool.capture import OUTPUT_LIMIT
from orchestrator.pool.memory import guard
from orchestrator.pool.pool import Pool
from orchestrator.pool.slots import here

IDLE_SECONDS = 30.0
"""How long the workers of a shared pool outlive their last task."""

_lock = threading.Lock()  # guards _pools
_pools: dict[tuple[int, int], Pool] = {}


@contextlib.contextmanager
def borrowed(max_workers: int | None, output_limit: int = OUTPUT_LIMIT) -> Iterator[Pool]:
    """Lend a pool with this many workers (None: the default) for one call.

    Mostly it is a shared one and stays warm. Inside a task it is the caller's own and is closed afterwards,
    for a task leaves no process behind; and so it is in a callback that a pool's own thread runs.
    """
    workers = settings.check_workers(max_workers)
    if settings.depth() or here.backlog is not None:
        with Pool(workers, output_limit=output_limit) as pool:
            yield pool
        return
    yield _shared(workers, output_limit)


def close_shared() -> None:
    """Shut down the shared pools and wait for their end; the next call makes new ones."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.shutdown(wait=True)


def _shared(workers: int, output_limit: int) -> Pool:
    key = (workers, output_limit)
    with _lock:
        pool = _pools.get(key)
        if pool is None or pool.closed:
            pool = _pools[key] = Pool(workers, output_limit=output_limit, idle_seconds=IDLE_SECONDS)
        return pool


def _forget_inherited() -> None:
    global _lock
    _lock = threading.Lock()
    _pools.clear()
    worker.forget_inherited()
    guard.forget_inherited()


os.register_at_fork(after_in_child=_forget_inherited)
