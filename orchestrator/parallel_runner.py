"""The runners: callables over worker processes, scripts over commands. What most people come for.

A task's failure is a result, never an exception; misuse raises at once. Results are in input order.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator import settings
from orchestrator.events import Listener
from orchestrator.limits import GRACE_SECONDS, Limits, check_env, check_output_limit, tolerance
from orchestrator.pool.capture import OUTPUT_LIMIT
from orchestrator.pool.job import Job
from orchestrator.pool.pool import Pool, Snapshot, name_of
from orchestrator.pool.shared import borrowed
from orchestrator.results import ExecutionResult
from orchestrator.retries import RetryPolicy, policy_of
from orchestrator.runs import Options, Run, collect
from orchestrator.stopping import in_thread

__all__ = [
    "BatchRunner",
    "ExecutionResult",
    "ParallelRunner",
    "run_function",
    "run_parallel",
    "run_parallel_async",
    "run_script",
]

Task = Callable[[], Any]
Path = str | os.PathLike[str]
Script = Path | Sequence[Path]


class _Runner:
    """The keyword options all runners take, and the orders they obey while they run.

    Options: `timeout` seconds for each attempt, counted from its start; `memory_limit` bytes (or text
    such as "2G") for its whole process tree; `grace` seconds between interrupt and kill; `retries` more
    attempts at once, or a `retry_policy`; `fail_fast`, True, a number of failures or a share such as
    "10%", after which the rest is given up; `on_event`, a listener (see `orchestrator.events`), called
    in the calling thread; `env`, variables on top of the present ones; `cwd`, the directory to run in;
    `output_limit` bytes kept of each stream of a task.

    Raises TypeError or ValueError at once for an option that makes no sense.
    """

    def __init__(
        self,
        *,
        timeout: float | None = None,
        memory_limit: int | str | None = None,
        grace: float = GRACE_SECONDS,
        retries: int = 0,
        retry_policy: RetryPolicy | None = None,
        fail_fast: bool | int | str = False,
        on_event: Listener | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be callable, not {on_event!r}")
        self._options = Options(
            limits=Limits(timeout, memory_limit, grace),
            policy=policy_of(retries, retry_policy),
            tolerated=tolerance(fail_fast),
            on_event=on_event,
            env=check_env(env),
            cwd=None if cwd is None else os.path.abspath(cwd),
        )
        self._output_limit = check_output_limit(output_limit)
        self._runs: list[tuple[Run, Pool]] = []

    def drain(self) -> None:
        """Hand out no more: tasks not started end SKIPPED, running ones go on. Safe in a signal handler."""
        for run, _ in tuple(self._runs):
            run.drain()

    def cancel(self) -> None:
        """Stop: tasks not started end SKIPPED, running ones CANCELLED. Safe in a signal handler."""
        for run, _ in tuple(self._runs):
            run.cancel()

    def snapshot(self) -> Snapshot:
        """Return what the pool of the present call is doing; an empty snapshot between calls."""
        for _, pool in tuple(self._runs):
            return pool.snapshot()
        return Snapshot((), 0, {}, 0)

    def _iterate(self, run: Run, pool: Pool) -> Iterator[tuple[int, ExecutionResult]]:
        self._runs.append((run, pool))
        try:
            yield from run
        finally:
            self._runs.remove((run, pool))

    def _collect(self, run: Run, pool: Pool, total: int) -> list[ExecutionResult]:
        return collect(self._iterate(run, pool), total)


class ParallelRunner(_Runner):
    """Run callables in worker processes, several at a time.

    `max_workers` processes (None: `CODOMYRMEX_MAX_WORKERS`, else 4), which stay warm between calls.
    The keyword options are those of every runner: `timeout`, `memory_limit`, `grace`, `retries`,
    `retry_policy`, `fail_fast`, `on_event`, `env`, `cwd`, `output_limit`.

    >>> runner = ParallelRunner(max_workers=2, timeout=10)
    >>> [result.value for result in runner.run([lambda: 1, lambda: 2])]
    [1, 2]
    """

    def __init__(self, max_workers: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._max_workers = settings.check_workers(max_workers)

    def run(self, tasks: Iterable[Task]) -> list[ExecutionResult]:
        """Run every task and return their results in input order. Raises TypeError for one not callable."""
        listed = _callables(tasks)
        if not listed:
            return []
        with borrowed(self._max_workers, self._output_limit) as pool:
            return self._collect(Run(pool, listed, _pack_task, self._options, len(listed)), pool, len(listed))

    def stream(self, tasks: Iterable[Task]) -> Iterator[tuple[int, ExecutionResult]]:
        """Yield (index, result) as tasks end. Lazy: `tasks` may be endless. Closing the iterator stops the rest."""
        with borrowed(self._max_workers, self._output_limit) as pool:
            yield from self._iterate(Run(pool, tasks, _pack_task, self._options, None), pool)

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[ExecutionResult]:
        """Yield the result of `fn(item)` for each item, in input order.

        Lazy: `items` may be endless; a bounded number is read ahead. `fn` is pickled once, so that each
        worker has one copy of it and of what it captured.
        """
        if not callable(fn):
            raise TypeError(f"map needs a callable, not {fn!r}")
        return self._map(fn, items)

    def _map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[ExecutionResult]:
        with borrowed(self._max_workers, self._output_limit) as pool:
            run = Run(pool, items, _item_packer(fn), self._options, None)
            early: dict[int, ExecutionResult] = {}
            due = 0
            for index, result in self._iterate(run, pool):
                if index != due:
                    early[index] = result
                    run.held = len(early)
                    continue
                yield result
                due += 1
                while due in early:
                    yield early.pop(due)
                    due += 1
                run.held = len(early)


class BatchRunner(_Runner):
    """Run scripts as processes of their own, several at a time. The keyword options are those of every runner.

    A script is a path, or a list of path and arguments, or one string with arguments quoted as for a
    shell (taken as a path if there is such a file). `.py` runs under this interpreter, anything else by
    its executable bit and `#!` line. Standard input is empty.
    """

    def run_batch(self, scripts: Sequence[Script], batch_size: int = 4) -> list[ExecutionResult]:
        """Run the scripts, at most `batch_size` at a time, and return their results in input order.

        A new one starts as soon as one ends: batches are not waited for. A script that does not exist is
        a failed result with return code 127; the others still run.
        """
        from orchestrator.programs import pack_line, prepared, script_of  # late: callables need none of it

        size = settings.check_workers(batch_size, "batch_size")
        if isinstance(scripts, (str, bytes)):
            raise TypeError(f"scripts must be a list of scripts, not the one text {scripts!r}")
        lines = [prepared(script_of(script)) for script in scripts]
        if not lines:
            return []
        with Pool(min(size, len(lines)), output_limit=self._output_limit) as pool:
            return self._collect(Run(pool, lines, pack_line, self._options, len(lines)), pool, len(lines))


def run_parallel(tasks: Iterable[Task], max_workers: int | None = None, **options: Any) -> list[ExecutionResult]:
    """Run callables in worker processes and return their results in input order.

    `max_workers` and the keyword options are those of `ParallelRunner`.

    >>> [result.value for result in run_parallel([lambda: 6 * 7], max_workers=1)]
    [42]
    """
    return ParallelRunner(max_workers, **options).run(tasks)


async def run_parallel_async(
    tasks: Iterable[Task], max_workers: int | None = None, **options: Any
) -> list[ExecutionResult]:
    """Do as `run_parallel` does without blocking the event loop. Cancelled, it stops its tasks first."""
    runner = ParallelRunner(max_workers, **options)
    listed = _callables(tasks)
    return await in_thread(functools.partial(runner.run, listed))


def run_function(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ExecutionResult:
    """Run `func(*args, **kwargs)` in a worker process and return what it ended with.

    Every argument goes to the function; for limits use `run_parallel([partial(...)], timeout=...)`.
    """
    if not callable(func):
        raise TypeError(f"run_function needs a callable, not {func!r}")
    return run_parallel([functools.partial(func, *args, **kwargs)])[0]


def run_script(
    script_path: str | os.PathLike[str], args: Sequence[str] | None = None, **options: Any
) -> ExecutionResult:
    """Run one script with its arguments as a process of its own, and return what it ended with.

    The keyword options are those of `BatchRunner`.
    """
    return BatchRunner(**options).run_batch([[os.fspath(script_path), *(args or ())]], 1)[0]


# Tasks into jobs


def _callables(tasks: Iterable[Task]) -> list[Task]:
    listed = list(tasks)
    for index, task in enumerate(listed):
        if not callable(task):
            raise TypeError(f"task {index} must be callable, not {task!r}")
    return listed


def _pack_task(run: Run, index: int, task: Task) -> Job:
    if not callable(task):
        raise TypeError(f"task {index} must be callable, not {task!r}")
    function, pickled = run.packer.pack(task)
    return Job(run, index, name_of(task), pickled, function)


def _item_packer(fn: Callable[[Any], Any]) -> Callable[[Run, int, Any], Job]:
    """Return a packer for map(): the function travels once, an item is the only argument."""
    name = name_of(fn)
    key = -1

    def pack(run: Run, index: int, item: Any) -> Job:
        nonlocal key
        if key < 0:
            key = run.packer.pack_function(fn)
        return Job(run, index, name, run.packer.pack_item(item), key)

    return pack
