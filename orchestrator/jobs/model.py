"""A job of the scheduler: its state, and what came of it. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from orchestrator.exceptions import StateError
from orchestrator.outcome import Ending
from orchestrator.results import Ended, value_or_raise


class AsyncJobStatus(Enum):
    """Where a job is in its life; `orchestrator.jobs.moves` has the moves."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    # There is one object of each, and Enum's own hash is a slow function in Python.
    __hash__ = object.__hash__


FINAL = frozenset({AsyncJobStatus.DONE, AsyncJobStatus.FAILED})


@dataclass(slots=True, eq=False, weakref_slot=True)
class AsyncJob:
    """One call that a scheduler was asked for, and what came of it.

    `submitted`, `due`, `started` and `finished` are seconds since the epoch (time.time()); `due` is None for a job that
    may start at once, and `started` is the last attempt's. `error` is None, or why it failed: the traceback, or a
    sentence. `cancelled` tells that it was stopped on request, `interrupted` that the scheduler died while it ran. Of
    a recurring job each occurrence is a job; `series` is the first one's `job_id`. `execution_time` and `cpu_time` are
    the last attempt's seconds, `peak_memory` is in bytes; `output` and `stderr` are what a worker process or a command
    wrote. `exception` is what the function raised, in the process that ran it.
    """

    job_id: str
    func: Callable[..., Any] = field(repr=False)
    status: AsyncJobStatus = AsyncJobStatus.QUEUED
    result: Any | None = field(default=None, repr=False)
    error: str | None = None
    name: str = ""
    priority: int = 0
    attempts: int = 0
    submitted: float = 0.0
    due: float | None = None
    started: float | None = None
    finished: float | None = None
    cancelled: bool = False
    interrupted: bool = False
    series: str | None = None
    ending: Ending | None = None
    execution_time: float = 0.0
    cpu_time: float = 0.0
    peak_memory: int = 0
    output: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)
    exception: BaseException | None = field(default=None, repr=False)

    @property
    def success(self) -> bool:
        """Whether it is DONE."""
        return self.status is AsyncJobStatus.DONE

    @property
    def value(self) -> Any:
        """The same as `result`."""
        return self.result

    def unwrap(self) -> Any:
        """Return the result, or raise what the job failed with, as `ExecutionResult.unwrap` does.

        Raises StateError while the job has not ended.
        """
        if self.status not in FINAL:
            raise StateError(f"{self}: it is {self.status.value} and has no result yet; wait for it first")
        return value_or_raise(cast(Ended, self))

    def __str__(self) -> str:
        return f"job {self.job_id} ({self.name})"


@dataclass(slots=True)
class SchedulerMetrics:
    """A scheduler at one moment: jobs that run, that wait, that ended well and not; jobs ended per second lately."""

    active_jobs: int
    queued_jobs: int
    completed_jobs: int
    failed_jobs: int
    throughput_per_second: float

    def __add__(self, other: SchedulerMetrics) -> SchedulerMetrics:
        """Return the metrics of two schedulers taken together."""
        return SchedulerMetrics(
            self.active_jobs + other.active_jobs,
            self.queued_jobs + other.queued_jobs,
            self.completed_jobs + other.completed_jobs,
            self.failed_jobs + other.failed_jobs,
            self.throughput_per_second + other.throughput_per_second,
        )
