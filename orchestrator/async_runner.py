"""AsyncParallelRunner: coroutine functions and callables beside each other, awaited from a running event loop.

A thin layer: the tasks are a workflow in which none depends on another, and its engine runs, stops and accounts for
them. Nothing of a run is left when `run` returns or raises, or when the iterator of `stream` is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator import settings
from orchestrator.dag.model import Task, TaskResult, TaskStatus, Where, check_executor
from orchestrator.dag.workflow import Workflow
from orchestrator.events import Listener
from orchestrator.exceptions import TaskFailedError
from orchestrator.limits import check_seconds, tolerance
from orchestrator.outcome import Ending
from orchestrator.results import value_or_raise

Action = Callable[[], Any]
Named = Action | tuple[str, Action]
"""A task: a callable, or its name and a callable."""

_FINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED})


@dataclass
class AsyncTaskResult:
    """What one task ended with. `execution_time` is in seconds.

    `error` is None, or why it failed: the traceback, or a sentence. `output` and `stderr` are what a task in a worker
    process, or a command, wrote.
    """

    task_id: str
    success: bool
    value: Any
    error: str | None
    execution_time: float
    ending: Ending = Ending.OK
    output: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)
    exception: BaseException | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The same as `task_id`."""
        return self.task_id

    def unwrap(self) -> Any:
        """Return the value, or raise what the task failed with, as `ExecutionResult.unwrap` does."""
        return value_or_raise(self)


@dataclass
class AsyncExecutionResult:
    """What came of a run: the results in the order of the tasks, and the seconds that it took."""

    results: list[AsyncTaskResult]
    total_time: float
    success_count: int
    failure_count: int


class AsyncParallelRunner:
    """Run tasks beside each other in the running event loop, threads or worker processes.

    Parameters: `max_concurrency`, tasks under way at a time (None: any number of coroutines and process tasks, CPUs + 4
    threads, at most 32); `executor`, where plain callables run: "thread" (None, the default), "process" or any
    `concurrent.futures.Executor`; `timeout`, seconds for each task from its start (None: no limit); `fail_fast`, True,
    a number of failures or a share such as "10%", at which the rest is given up; `on_event`, a listener (see
    `orchestrator.events`), called in the event loop.

    A coroutine function, also in a `functools.partial`, runs in the event loop and is cancelled at its timeout. A plain
    callable with a timeout runs in a worker process, because only a process can be stopped; so does one that returns an
    awaitable, `lambda: fetch(url)`, which with a timeout is better written `partial(fetch, url)`. Raises TypeError or
    ValueError at once for what makes no sense.

    >>> async def main():
    ...     return await AsyncParallelRunner().run([lambda: 1, ("two", lambda: 2)])
    >>> [(result.task_id, result.value) for result in asyncio.run(main()).results]
    [('task-0', 1), ('two', 2)]
    """

    def __init__(
        self,
        max_concurrency: int | None = None,
        executor: Where | None = None,
        timeout: float | None = None,
        fail_fast: bool | int | str = False,
        on_event: Listener | None = None,
    ) -> None:
        if max_concurrency is not None:
            settings.check_workers(max_concurrency, "max_concurrency")
        check_executor(executor, "AsyncParallelRunner")
        tolerance(fail_fast)
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be callable, not {on_event!r}")
        self._timeout = check_seconds(timeout, "timeout")
        self._options: dict[str, Any] = {
            "max_concurrency": max_concurrency,
            "executor": executor,
            "fail_fast": fail_fast,
            "on_event": on_event,
            "timeout": float("inf"),  # CODOMYRMEX_WORKFLOW_TIMEOUT is for workflows
        }

    async def run(self, tasks: Iterable[Named]) -> AsyncExecutionResult:
        """Run every task and return what came of them, in the order given.

        A task is a coroutine function, a callable, a callable that returns an awaitable, or a pair of a name and one of
        these; its `task_id` is the name, else "task-" and its place. A task's failure is a result. Cancelled, it first
        stops what runs.

        Raises TypeError for what cannot be called, ValueError for two tasks of one name.
        """
        flow = self._workflow(tasks)
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            found = await flow.execute()
        except TaskFailedError as error:  # fail_fast: the failure is a result, as everywhere
            found = error.results
        results = [_result(found[name]) for name in flow.tasks]
        good = sum(result.success for result in results)
        return AsyncExecutionResult(results, loop.time() - start, good, len(results) - good)

    async def stream(self, tasks: Iterable[Named]) -> AsyncGenerator[AsyncTaskResult, None]:
        """Yield the result of each task as it ends. Closing the iterator stops the rest, and waits for that.

        Leaving an `async for` early does not close it at once: `contextlib.aclosing` does. Tasks are as for `run`, and
        so is what is raised.
        """
        flow = self._workflow(tasks)
        ended: asyncio.Queue[AsyncTaskResult | None] = asyncio.Queue()

        def hear(_name: str, status: TaskStatus, result: TaskResult | None) -> None:
            if status in _FINAL and result is not None:
                ended.put_nowait(_result(result))

        run = asyncio.ensure_future(flow.execute(hear))
        run.add_done_callback(lambda _: ended.put_nowait(None))
        try:
            while (result := await ended.get()) is not None:
                yield result
            if not isinstance(run.exception(), TaskFailedError):  # fail_fast: the failure was yielded
                run.result()
        finally:
            run.cancel()
            await asyncio.wait([run])

    def _workflow(self, tasks: Iterable[Named]) -> Workflow:
        flow = Workflow("tasks", **self._options)
        for place, task in enumerate(tasks):
            name, action = _named(task, place)
            if name in flow.tasks:
                raise ValueError(f"two tasks have the name {name!r}: give one of them another")
            flow.add_task(Task(name, action, timeout=self._timeout))
        return flow


def _named(task: Any, place: int) -> tuple[str, Action]:
    """Return a task's name and what it calls. Raises TypeError for what is no task."""
    name, action = f"task-{place}", task
    if isinstance(task, tuple):
        if len(task) != 2 or not isinstance(task[0], str) or not task[0]:
            raise TypeError(f"task {place} must be a callable or a pair of a name and a callable, not {task!r}")
        name, action = task
    if asyncio.iscoroutine(action):
        action.close()  # or it would warn that it was never awaited
        raise TypeError(
            f"task {place} ({name}) is a coroutine: give the function that makes it, as in lambda: fetch(url)"
        )
    if not callable(action):
        raise TypeError(f"task {place} ({name}) must be callable, not {action!r}")
    return name, action


def _result(result: TaskResult) -> AsyncTaskResult:
    return AsyncTaskResult(
        result.name,
        result.success,
        result.value,
        result.error,
        result.execution_time,
        result.ending,
        result.output,
        result.stderr,
        result.exception,
    )
