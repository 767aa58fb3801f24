"""The contenders, each behind the same call: tasks in, values out, in order.

Each is a context that opens two workers, as its documentation would have it, and yields a function that
runs a list of callables without arguments, every one submitted by itself. A task that failed is
represented by its exception. The peers are imported where they are opened: not all need be installed.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from rows import OURS, verify

WORKERS = 2
TIMEOUT_SECONDS = 60.0

Task = Callable[[], Any]
RunTasks = Callable[[Sequence[Task]], list[Any]]


@contextlib.contextmanager
def ours(limit: float = TIMEOUT_SECONDS) -> Iterator[RunTasks]:
    """Open ours with all it does by default: capture, limits and accounting."""
    from orchestrator import run_parallel

    def run(tasks: Sequence[Task]) -> list[Any]:
        results = run_parallel(tasks, max_workers=WORKERS, timeout=limit)
        return [result.value if result.success else RuntimeError(result.error) for result in results]

    yield run  # its workers stay until the interpreter's exit


@contextlib.contextmanager
def process_pool_executor(start_method: str | None = None) -> Iterator[RunTasks]:
    """Open the standard library's executor."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context(start_method)) as executor:
        yield functools.partial(_by_futures, executor.submit)


spawning_executor = functools.partial(process_pool_executor, "spawn")


@contextlib.contextmanager
def multiprocessing_pool() -> Iterator[RunTasks]:
    """Open multiprocessing.Pool."""
    import multiprocessing

    with multiprocessing.Pool(WORKERS) as pool:

        def run(tasks: Sequence[Task]) -> list[Any]:
            waiting = [pool.apply_async(task) for task in tasks]
            return [_value(each.get) for each in waiting]

        yield run


@contextlib.contextmanager
def loky() -> Iterator[RunTasks]:
    """Open loky's reusable executor."""
    from loky import get_reusable_executor

    executor = get_reusable_executor(max_workers=WORKERS)
    yield functools.partial(_by_futures, executor.submit)
    executor.shutdown(wait=True)


@contextlib.contextmanager
def joblib() -> Iterator[RunTasks]:
    """Open joblib over its own loky, which batches tasks by their measured duration."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    with Parallel(n_jobs=WORKERS) as parallel:

        def run(tasks: Sequence[Task]) -> list[Any]:
            return list(parallel(delayed(task)() for task in tasks))

        yield run
    get_reusable_executor().shutdown(wait=True)


@contextlib.contextmanager
def pebble(limit: float | None = None) -> Iterator[RunTasks]:
    """Open pebble's pool, with a time limit for each task."""
    from pebble import ProcessPool

    with ProcessPool(max_workers=WORKERS) as pool:

        def submit(task: Task) -> Any:
            return pool.schedule(task, timeout=limit)

        yield functools.partial(_by_futures, submit)


@contextlib.contextmanager
def mpire(limit: float | None = None) -> Iterator[RunTasks]:
    """Open mpire's pool, with a time limit for each task."""
    from mpire import WorkerPool

    with WorkerPool(n_jobs=WORKERS) as pool:

        def run(tasks: Sequence[Task]) -> list[Any]:
            waiting = [pool.apply_async(task, task_timeout=limit) for task in tasks]
            return [_value(each.get) for each in waiting]

        yield run
        pool.stop_and_join()


@contextlib.contextmanager
def dask() -> Iterator[RunTasks]:
    """Open a local cluster of dask.distributed, without its dashboard."""
    import logging

    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):

        def run(tasks: Sequence[Task]) -> list[Any]:
            futures = [client.submit(task, pure=False) for task in tasks]
            try:
                return list(client.gather(futures))
            except Exception:  # one failed: then each for itself
                return [_value(future.result) for future in futures]

        yield run


Open = Callable[[], AbstractContextManager[RunTasks]]

CONTENDERS: Mapping[str, tuple[Open, str | None]] = {
    OURS: (ours, None),
    "ProcessPoolExecutor": (process_pool_executor, None),
    "multiprocessing.Pool": (multiprocessing_pool, None),
    "loky": (loky, "loky"),
    "joblib": (joblib, "joblib"),
    "pebble": (pebble, "pebble"),
    "mpire": (mpire, "mpire"),
    "dask": (dask, "distributed"),
}
"""How each is opened, and the module it needs."""

MODULES: Mapping[str, str | None] = {name: module for name, (_, module) in CONTENDERS.items()}


def warm(run: RunTasks) -> None:
    """Have both workers started, and everything imported that is imported on first use."""
    run([functools.partial(time.sleep, 0.05)] * (2 * WORKERS))
    verify(run([functools.partial(operator.add, i, 1) for i in range(64)]), range(1, 65))


def _by_futures(submit: Callable[[Task], Any], tasks: Sequence[Task]) -> list[Any]:
    """Submit one by one, then collect. An executor may break while it is being submitted to."""
    futures: list[Any] = []
    try:
        for task in tasks:
            futures.append(submit(task))
    except Exception as error:
        values = [_value(future.result) for future in futures]
        return values + [error] * (len(tasks) - len(values))
    return [_value(future.result) for future in futures]


def _value(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except Exception as error:
        return error
