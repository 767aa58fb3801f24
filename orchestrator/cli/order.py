"""What a run is asked to do: which tasks, how many at a time, when to give up. Values only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from orchestrator.dag.model import Task
from orchestrator.dag.workflow import Workflow
from orchestrator.programs import Script
from orchestrator.wording import count, duration, size, visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Tasks in the order given, run `jobs` at a time; `noun` is what people call one of them."""

    tasks: tuple[Task, ...]
    noun: str = "script"
    jobs: int
    fail_fast: bool | int | str = False
    halt: Literal["now", "soon"] = "now"
    timeout: float = math.inf
    """Seconds for the whole run."""
    limit: str | None = None
    """How long a script may run, where that is a share of what others took: "300%"."""

    def workflow(self, **options: Any) -> Workflow:
        """Return the tasks as a workflow. The keyword options are those of Workflow."""
        return Workflow(
            tasks=[replace(task) for task in self.tasks],
            fail_fast=self.fail_fast,
            halt=self.halt,
            timeout=self.timeout,
            # All wait in the pool's queue, so that no worker waits for us; unless a failure may keep them there.
            max_concurrency=self.jobs if self.fail_fast else None,
            **options,
        )

    def label(self, index: int) -> str:
        """Return the name under which people see a task, on one line."""
        return visible(self.tasks[index].name)

    def conditions(self) -> Iterator[str]:
        """Say how the tasks run, one phrase for each thing that is not as usual."""
        yield f"{self.jobs} at a time"
        if self.timeout != math.inf:
            yield f"all within {duration(self.timeout)}"
        if self.limit is not None:
            yield f"at most {self.limit} of the median time each"
        yield from _shared(
            "at most {} each", [limits.seconds and duration(limits.seconds) for limits in self._limits()]
        )
        yield from _shared("at most {} each", [limits.memory and size(limits.memory) for limits in self._limits()])
        retries = [task.retry_policy.max_attempts - 1 if task.retry_policy else 0 for task in self.tasks]
        yield from _shared("up to {} each", [n and count(n, "retry", "retries") for n in retries])
        if self.fail_fast:
            what = "the first failure" if self.fail_fast in (True, 1) else f"failures: {self.fail_fast}"
            yield f"stopping at {what}"
        directories = [script.cwd and visible(script.cwd) for script in self._scripts()]
        yield from _shared("in {}", directories)

    def details(self, index: int) -> Iterator[str]:
        """Say of one task what does not hold for all, and what it waits for."""
        task = self.tasks[index]
        limits = task.limits
        if limits.seconds is not None and self._differ("seconds"):
            yield f"at most {duration(limits.seconds)}"
        if limits.memory is not None and self._differ("memory"):
            yield f"at most {size(limits.memory)}"
        if task.dependencies:
            yield f"after {', '.join(sorted(map(visible, task.dependencies)))}"

    def _limits(self) -> list[Any]:
        return [task.limits for task in self.tasks]

    def _differ(self, kind: str) -> bool:
        return len({getattr(limits, kind) for limits in self._limits()}) > 1

    def _scripts(self) -> list[Script]:
        return [task.action for task in self.tasks if isinstance(task.action, Script)]


def _shared(phrase: str, values: list[Any]) -> Iterator[str]:
    """Say a phrase once where a value is the same everywhere."""
    first = values[0] if values else None
    if first and all(value == first for value in values):
        yield phrase.format(first)
