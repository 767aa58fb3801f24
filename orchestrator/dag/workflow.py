"""Workflow: tasks that depend on each other, and what can be asked of them as a whole.

It keeps the tasks; `plan.py` knows their order, `engine.py` runs them, `drawing.py` shows them.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from orchestrator import settings
from orchestrator.dag import drawing
from orchestrator.dag.engine import Execution
from orchestrator.dag.model import Task, TaskResult, Where, check_executor
from orchestrator.dag.plan import Plan
from orchestrator.dag.routes import Options
from orchestrator.dag.telling import ProgressCallback
from orchestrator.events import Listener
from orchestrator.exceptions import StateError, WorkflowError
from orchestrator.limits import check_seconds, tolerance
from orchestrator.stopping import stoppable


class Workflow:
    """A graph of tasks, each of which starts the moment the last task it depends on has completed.

    Parameters: `name`, for people; `timeout`, seconds for a whole execution (None: `CODOMYRMEX_WORKFLOW_TIMEOUT`,
    else no limit; infinity: no limit); `max_concurrency`, attempts under way at a time (None: any number of
    coroutines and process tasks, CPUs + 4 threads, at most 32); `executor`, where plain callables run that do not say
    otherwise: "thread" (the default), "process" or any `concurrent.futures.Executor`; `max_workers`, worker processes
    for the tasks in processes (None: `CODOMYRMEX_MAX_WORKERS`, else 4); `fail_fast`, True, a number of failures or a
    share such as "10%", at which the run ends: what runs is stopped (`halt="now"`) or comes to its end
    (`halt="soon"`); `on_event`, a listener (see `orchestrator.events`), called in the event loop, which with
    `live_output` also hears what programs write.

    Raises TypeError or ValueError at once for what makes no sense.

    >>> from orchestrator import Task, Workflow, result_of
    >>> flow = Workflow("greeting")
    >>> flow.add_task(Task("who", lambda: "world"))
    >>> flow.add_task(Task("greet", "hello {}".format, args=[result_of("who")]))
    >>> flow.run()["greet"].value
    'hello world'
    """

    def __init__(
        self,
        name: str = "workflow",
        *,
        tasks: Iterable[Task] = (),
        timeout: float | None = None,
        max_concurrency: int | None = None,
        executor: Where | None = None,
        max_workers: int | None = None,
        fail_fast: bool | int | str = False,
        halt: Literal["now", "soon"] = "now",
        on_event: Listener | None = None,
        live_output: bool = False,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a workflow's name must be text, not {name!r}; tasks are added by add_task or tasks=")
        if max_concurrency is not None:
            settings.check_workers(max_concurrency, "max_concurrency")
        if max_workers is not None:
            settings.check_workers(max_workers)
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be callable, not {on_event!r}")
        if halt not in ("now", "soon"):
            raise ValueError(f"halt must be 'now' (stop what runs too) or 'soon' (let it end), not {halt!r}")
        check_executor(executor, f"workflow {name!r}")
        self.name = name
        self._options = Options(
            timeout=check_seconds(timeout, "timeout"),
            max_concurrency=max_concurrency,
            executor=executor,
            max_workers=max_workers,
            tolerated=tolerance(fail_fast),
            halt=halt,
            listeners=() if on_event is None else (on_event,),
            live_output=live_output,
        )
        self._has_deadline = timeout is not None  # an infinite one too: then the environment is not asked
        self._tasks: dict[str, Task] = {}
        self._results: dict[str, TaskResult] = {}  # of the present or the last execution, which fills it
        self._executing = False
        self._execution: tuple[asyncio.AbstractEventLoop, Execution] | None = None
        for task in tasks:
            self.add_task(task)

    # The tasks

    def add_task(self, task: Task) -> None:
        """Add a task. What it depends on may be added later.

        Raises WorkflowError for a name that is taken or a task that belongs to a workflow already, StateError
        while the workflow is executing, TypeError for what is no Task.
        """
        if not isinstance(task, Task):
            raise TypeError(f"add_task needs a Task, not {task!r}")
        if self._executing:
            raise StateError(f"workflow {self.name!r} is executing: {task} cannot be added before it has ended")
        if task.name in self._tasks:
            raise WorkflowError(f"workflow {self.name!r} already has a task {task.name!r}: give this one another name")
        owner = task.owner() if task.owner is not None else None
        if owner is not None:
            raise WorkflowError(
                f"{task} already belongs to workflow {owner.name!r}: add a copy of it (dataclasses.replace(task))"
            )
        task.owner = weakref.ref(self)
        self._tasks[task.name] = task

    def add_listener(self, listener: Listener) -> None:
        """Have one more listener told of what happens, from the next execution on, after `on_event`."""
        self._options = replace(self._options, listeners=(*self._options.listeners, listener))

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by name, in the order in which they were added."""
        return dict(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(tuple(self._tasks.values()))

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}: {len(self._tasks)} tasks>"

    # Its shape

    def validate(self) -> None:
        """Check that the tasks can be run, which `execute` does first.

        Raises CycleError with the path of a circle, DependencyResolutionError for a dependency that is no task,
        with the closest name, TypeError for dependencies that are no names.
        """
        self._plan()

    def execution_order(self) -> list[str]:
        """Return the names so that each comes after all it depends on. Raises what `validate` does."""
        return self._plan().execution_order()

    def parallel_groups(self) -> list[list[str]]:
        """Return the names in groups that could run at once, the first ones first. Raises what `validate` does.

        Execution does not go group by group: a task waits for what it depends on, not for a group.
        """
        return self._plan().parallel_groups()

    def critical_path(self, results: Mapping[str, TaskResult] | None = None) -> list[str]:
        """Return the chain of dependent tasks that took the longest in all: to be faster, shorten one of these.

        `results` are those of an execution (None: the last one's); tasks without one count as 0 seconds.
        """
        results = self.results if results is None else results
        return self._plan().longest_path({name: result.execution_time for name, result in results.items()})

    def to_mermaid(self, results: Mapping[str, TaskResult] | None = None) -> str:
        """Return the graph as a Mermaid flowchart (mermaid.js.org); with `results` in colours, with durations."""
        self.validate()
        return drawing.mermaid(self._needs(), results or {})

    def to_dot(self, results: Mapping[str, TaskResult] | None = None) -> str:
        """Return the graph in the DOT language of Graphviz; with `results` in colours, with durations."""
        self.validate()
        return drawing.dot(self._needs(), results or {})

    def summary(self, results: Mapping[str, TaskResult] | None = None) -> str:
        """Return a table of what came of each task and a line of totals, as text for people.

        `results` are those of an execution (None: the last one's).
        """
        results = self.results if results is None else results
        return drawing.summary(self._tasks, results, self.critical_path(results))

    def _needs(self) -> dict[str, Collection[str]]:
        for task in self._tasks.values():
            task.check_dependencies()
        return {name: task.needs() for name, task in self._tasks.items()}

    def _plan(self) -> Plan:
        return Plan(self._needs())

    # Running it

    @property
    def results(self) -> dict[str, TaskResult]:
        """What has ended so far in the present or the last execution, in the order in which it did."""
        return dict(self._results)

    async def execute(self, progress_callback: ProgressCallback | None = None) -> dict[str, TaskResult]:
        """Run every task and return the results by name, in the order in which the tasks were added.

        A task that fails is a result, with `success=False`; what depends on it is SKIPPED, the rest still runs.
        `progress_callback(name, status, result)` is called in the event loop for each change of a task's status, with
        the result of the attempt or task that has ended (None when one starts); it may be a coroutine function. What
        it raises is logged and changes nothing.

        Raises what `validate` does before anything runs; StateError when the workflow is executing already;
        OrchestratorTimeoutError when its deadline has passed, TaskFailedError with `fail_fast`, both with all
        `results`. Cancelled, it first stops what runs: `results` of the workflow then tells of every task.
        """
        if progress_callback is not None and not callable(progress_callback):
            raise TypeError(f"progress_callback must be callable, not {progress_callback!r}")
        if self._executing:
            raise StateError(f"workflow {self.name!r} is executing already: wait for its end, or make another one")
        options = self._options
        if not self._has_deadline:
            options = options.with_timeout(settings.workflow_timeout())
        self._executing = True
        try:
            execution = Execution(dict(self._tasks), self._needs(), options, progress_callback)
            self._results = execution.results
            self._execution = asyncio.get_running_loop(), execution
            with stoppable(self.cancel):
                return await execution.run()
        finally:
            self._execution = None
            self._executing = False

    def drain(self) -> None:
        """Start no more tasks in the present execution; what runs goes on. Safe in any thread and signal handler."""
        self._order("drain")

    def cancel(self) -> None:
        """Also stop what runs; `execute` then returns, with a result for every task. Safe as `drain` is."""
        self._order("cancel")

    def _order(self, order: Literal["drain", "cancel"]) -> None:
        if self._execution is not None:
            loop, execution = self._execution
            with contextlib.suppress(RuntimeError):  # the loop has just been closed: all is over
                loop.call_soon_threadsafe(execution.obey, order)

    def run(self, progress_callback: ProgressCallback | None = None) -> dict[str, TaskResult]:
        """Do as `execute` does, in an event loop of its own. Raises RuntimeError where one runs already."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("Workflow.run() starts an event loop, and one runs here: use `await workflow.execute()`")
        return asyncio.run(self.execute(progress_callback))
