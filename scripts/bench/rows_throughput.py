"""Rows 1 to 4 and 7: what a task costs when all goes well, in workers that are warm."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from contenders import CONTENDERS, MODULES, TIMEOUT_SECONDS, WORKERS, Open, Task, warm
from rows import OURS, Entry, Reading, Row, Scale, WrongResult, verify
from tasks import BUSY_SECONDS, busy

TINY = 10_000
LAMBDAS = 2_000
BUSY = 2_000
CALLS = 100

Summand = functools.partial[int]
MapItems = Callable[[Summand, Iterable[int]], Sequence[int]]


# Tasks one by one


def _tiny(scale: Scale) -> tuple[list[Task], list[int]]:
    count = scale.of(TINY)
    return [functools.partial(operator.add, i, 1) for i in range(count)], list(range(1, count + 1))


def _lambdas(scale: Scale) -> tuple[list[Task], list[int]]:
    def task(index: int) -> Task:
        captured = {"index": index, "summand": 1}
        return lambda: captured["index"] + captured["summand"]

    count = scale.of(LAMBDAS)
    return [task(i) for i in range(count)], list(range(1, count + 1))


def _microseconds_each(
    open_contender: Open, make: Callable[[Scale], tuple[list[Task], list[int]]], scale: Scale
) -> Reading:
    tasks, expected = make(scale)
    with open_contender() as run:
        warm(run)
        start = time.perf_counter()
        values = run(tasks)
        seconds = time.perf_counter() - start
    verify(values, expected)
    return Reading(seconds / len(tasks) * 1e6)


# A function over items


@contextlib.contextmanager
def _our_map() -> Iterator[MapItems]:
    from orchestrator import ParallelRunner

    runner = ParallelRunner(WORKERS, timeout=TIMEOUT_SECONDS)
    yield lambda fn, items: [result.value for result in runner.map(fn, items)]


@contextlib.contextmanager
def _joblib_map() -> Iterator[MapItems]:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    with Parallel(n_jobs=WORKERS) as parallel:
        yield lambda fn, items: list(parallel(delayed(fn)(item) for item in items))
    get_reusable_executor().shutdown(wait=True)


@contextlib.contextmanager
def _pool_map() -> Iterator[MapItems]:
    import multiprocessing

    with multiprocessing.Pool(WORKERS) as pool:
        yield lambda fn, items: pool.map(fn, items)


@contextlib.contextmanager
def _loky_map() -> Iterator[MapItems]:
    from loky import get_reusable_executor

    executor = get_reusable_executor(max_workers=WORKERS)
    yield lambda fn, items: list(executor.map(fn, items, chunksize=100))
    executor.shutdown(wait=True)


def _map_microseconds_each(open_map: Callable[[], AbstractContextManager[MapItems]], scale: Scale) -> Reading:
    items = range(scale.of(TINY))
    add_one = functools.partial(operator.add, 1)
    with open_map() as map_items:
        map_items(functools.partial(_slow_add, 1), range(4 * WORKERS))
        map_items(add_one, range(64))
        start = time.perf_counter()
        values = map_items(add_one, items)
        seconds = time.perf_counter() - start
    verify(values, range(1, len(items) + 1))
    return Reading(seconds / len(items) * 1e6)


def _slow_add(summand: int, item: int) -> int:
    """Take long enough that both workers get something to do."""
    time.sleep(0.02)
    return summand + item


# A millisecond of work each


def _percent_of_ideal(run: Callable[[int], Any], count: int) -> Reading:
    start = time.perf_counter()
    values = run(count)
    seconds = time.perf_counter() - start
    verify(values, range(count))
    return Reading(count * BUSY_SECONDS / WORKERS / seconds * 100)


def _busy(open_contender: Open, scale: Scale) -> Reading:
    with open_contender() as run:
        warm(run)
        return _percent_of_ideal(lambda count: run([functools.partial(busy, i) for i in range(count)]), scale.of(BUSY))


def _busy_forks(scale: Scale) -> Reading:
    return _percent_of_ideal(_forked, scale.of(BUSY))


def _forked(count: int) -> list[int]:
    """Do each half in a forked process, which tells by its exit code that all was done."""
    halves = [range(count)[part::WORKERS] for part in range(WORKERS)]
    children = []
    for half in halves:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if [busy(i) for i in half] == list(half) else 1)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if any(codes):
        raise WrongResult(f"the forks ended with {codes}")
    return list(range(count))


# A small call


def _warm_call(open_contender: Open, scale: Scale) -> Reading:
    tasks = [functools.partial(operator.add, i, 1) for i in range(2)]
    times = []
    with open_contender() as run:
        warm(run)
        for _ in range(scale.of(CALLS)):
            start = time.perf_counter()
            values = run(tasks)
            times.append(time.perf_counter() - start)
            verify(values, [1, 2])
    return Reading(statistics.median(times) * 1000)


def _all(sample: Callable[..., Reading], *more: Any, only: Sequence[str] = tuple(CONTENDERS)) -> list[Entry]:
    return [Entry(name, functools.partial(sample, CONTENDERS[name][0], *more), MODULES[name]) for name in only]


_maps = [
    Entry(OURS, functools.partial(_map_microseconds_each, _our_map)),
    Entry("joblib", functools.partial(_map_microseconds_each, _joblib_map), "joblib"),
    Entry("multiprocessing.Pool.map", functools.partial(_map_microseconds_each, _pool_map), loose=True),
    Entry("loky map(chunksize=100)", functools.partial(_map_microseconds_each, _loky_map), "loky", loose=True),
]

ROWS = (
    Row(1, "10,000 tiny tasks, each submitted by itself", "µs a task", "10 µs", _all(_microseconds_each, _tiny)),
    Row(2, "a tiny function mapped over 10,000 items", "µs an item", "4 µs", _maps),
    Row(
        3,
        "2,000 lambdas that captured a dict",
        "µs a task",
        "40 µs",
        _all(_microseconds_each, _lambdas, only=[OURS, "loky", "joblib", "dask"]),
    ),
    Row(
        4,
        "2,000 tasks of 1 ms of CPU time",
        "% of ideal",
        "ahead of every peer, within 10 points of the forks",
        [*_all(_busy), Entry("two plain forks, half each", _busy_forks)],
        more_is_better=True,
    ),
    Row(7, "a call of 2 tiny tasks on warm workers", "ms", "≤ 0.3 ms", _all(_warm_call)),
)
