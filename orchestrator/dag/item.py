"""Item: a task on its way through one execution, and the values that stand in its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.dag.model import ALL_RESULTS, Task, TaskResult
from orchestrator.dag.references import filled, names_in


class Item:
    """A task, its place, and what is known of it so far. Owned by its execution."""

    __slots__ = ("_pickled", "_to_worker", "_wanted", "history", "index", "result", "task", "uses")

    def __init__(self, index: int, task: Task) -> None:
        self.index = index
        self.task = task
        self.uses = names_in(task.args, task.kwargs)
        self.history: tuple[TaskResult, ...] = ()
        self.result: TaskResult | None = None
        self._wanted = 0
        self._to_worker = False
        self._pickled: bytes | None = None

    # Its value, as others want it

    def wanted_by(self, *, to_worker: bool) -> None:
        """Note that another task takes the value: in a worker process, or here."""
        self._wanted += 1
        self._to_worker = self._to_worker or to_worker

    def keep(self, pickled: bytes | None) -> None:
        """Keep the bytes in which a worker sent the value, if others take it to a worker."""
        if self._to_worker:
            self._pickled = pickled

    def no_longer_wanted(self) -> None:
        """Note that a task that takes the value has ended; after the last one the bytes are let go."""
        self._wanted -= 1
        if not self._wanted:
            self._pickled = None

    def value_for(self, *, to_worker: bool) -> Any:
        """Return the value; for a worker, what stands for the bytes in which another worker sent it."""
        if to_worker and self._pickled is not None:
            from orchestrator.dag.in_pool import Sent  # late: whoever has these bytes has loaded the pool

            return Sent(self._pickled)
        assert self.result is not None
        return self.result.value

    # Its arguments

    def arguments(
        self, items: Mapping[str, Item], results: Mapping[str, TaskResult], *, to_worker: bool
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the task's arguments with the values of other tasks in their places."""

        def value_of(name: str) -> Any:
            return items[name].value_for(to_worker=to_worker)

        args = [filled(value, value_of) for value in self.task.args]
        kwargs = {key: filled(value, value_of) for key, value in self.task.kwargs.items()}
        if self.task.wants_all_results and ALL_RESULTS not in kwargs:
            kwargs[ALL_RESULTS] = dict(results)
        return args, kwargs
