"""The warm pools behind the module-level helpers, and what happens to pools at exit and at a fork.

The only module state of the package. One pool for each configuration, made on first use, its idle
workers retired after a while. At the interpreter's exit accepted work finishes, as the standard
library's executors promise; a second Ctrl-C stops it. A forked copy of the program has none of this.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing.util
import os
import threading
from collections.abc import Iterator

from orchestrator import settings
from orchestrator.pool import worker
from orchestrator.pool.capture import OUTPUT_LIMIT
from orchestrator.pool.lifeline import lifeline
from orchestrator.pool.memory import guard
from orchestrator.pool.pool import Pool, open_pools
from orchestrator.pool.slots import here

IDLE_SECONDS = 30.0
"""How long the workers of a shared pool outlive their last task."""

# multiprocessing joins all of its children at exit; hooks run last-in first-out, so ours, which ends
# them, has to be registered after its own: importing its util has done that.
assert multiprocessing.util is not None

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


def _shared(workers: int, output_limit: int) -> Pool:
    key = (workers, output_limit)
    with _lock:
        pool = _pools.get(key)
        if pool is None or pool.closed:
            pool = _pools[key] = Pool(workers, output_limit=output_limit, idle_seconds=IDLE_SECONDS)
        return pool


def close_all() -> None:
    """Finish accepted work and end every pool. Interrupted, it stops the work instead."""
    pools = open_pools()
    with _lock:
        _pools.clear()
    try:
        for pool in pools:
            pool.shutdown(wait=False)
        for pool in pools:
            pool.shutdown(wait=True)
    except KeyboardInterrupt:
        for pool in pools:
            pool.shutdown(wait=False, kill=True)
        for pool in pools:
            pool.shutdown(wait=True)
    finally:
        lifeline.close()


def _forget_inherited() -> None:
    global _lock
    _lock = threading.Lock()
    worker.forget_inherited()
    guard.forget_inherited()
    _pools.clear()
    for pool in open_pools():
        pool.disown()


atexit.register(close_all)
os.register_at_fork(after_in_child=_forget_inherited)
