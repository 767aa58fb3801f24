"""Records: a job as the store keeps it, and back.

What was pickled is rebuilt only when it is needed, and what cannot be (its module is gone) fails that job alone.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from orchestrator.dag.model import Task
from orchestrator.exceptions import UnsendableError
from orchestrator.jobs.model import AsyncJob, AsyncJobStatus
from orchestrator.jobs.recurrence import Rule, parse_rule
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.payload import dump_call, dump_value

Row = dict[str, Any]

_MOST_BYTES = 500_000_000
"""A row of SQLite's may have twice as many (sqlite.org/limits.html)."""
_RAW = ("name", "priority", "series", "rule", "call", "terms")


class Call(NamedTuple):
    """What is called, on which terms, and how it recurs."""

    task: Task | None
    """None when it can no longer be rebuilt."""
    rule: Rule | None = None
    requeue: bool = False
    by_wall_clock: bool = False
    lost: Outcome | None = None
    """How the job ends without its task."""
    raw: Row | None = None
    """The columns that the occurrences of a recurring job have in common."""


def row_of(job: AsyncJob, call: Call) -> Row:
    """Return a new job's row. Raises UnsendableError for what cannot be pickled, ValueError for an Executor object."""
    row = call.raw
    if row is None:
        task = call.task
        assert task is not None
        if not (task.executor is None or isinstance(task.executor, str)):
            raise ValueError(f"{job}: a store cannot keep an executor, {task.executor!r}: give it to the scheduler")
        limits = (task.timeout, task.memory_limit, task.grace, task.retry_policy, task.executor)
        row = {
            "name": job.name,
            "priority": job.priority,
            "series": job.series,
            "rule": None if call.rule is None else call.rule.text,
            "call": _small_enough(dump_call((task.action, tuple(task.args), task.kwargs)), "the call"),
            "terms": dump_value((*limits, call.requeue)),
        }
    place = {"job_id": job.job_id, "status": job.status.value, "due": job.due, "submitted": job.submitted}
    return {**row, **place, "by_wall_clock": int(call.by_wall_clock)}


def values_of(job: AsyncJob) -> Row:
    """Return what changes in a job's row in its life. Raises UnsendableError for a result that cannot be pickled."""
    return {
        "status": job.status.value,
        "due": job.due,
        "series": job.series,
        "attempts": job.attempts,
        "started": job.started,
        "finished": job.finished,
        "result": None if job.result is None else _small_enough(dump_value(job.result), "the result"),
        "error": job.error,
        "ending": None if job.ending is None else job.ending.value,
        "cancelled": int(job.cancelled),
        "interrupted": int(job.interrupted),
        "execution_time": _figure(job.execution_time),
        "cpu_time": _figure(job.cpu_time),
        "peak_memory": int(_figure(job.peak_memory)),
        "output": job.output,
        "stderr": job.stderr,
    }


def _figure(value: float) -> float:
    """Return a figure as SQLite can keep it; an ExecutionResult of the user's may have any."""
    return value if 0 <= value < 1e18 else 0.0


def _small_enough(pickled: bytes, what: str) -> bytes:
    if len(pickled) > _MOST_BYTES:
        raise UnsendableError(
            f"{what} takes {len(pickled):,} bytes, more than the {_MOST_BYTES:,} that a store keeps: put it into a "
            "file, and keep the name of that"
        )
    return pickled


def call_of(row: Row) -> Call:
    """Rebuild what a row calls, as far as that can be done."""
    rule, raw = None, None
    try:
        if row["series"] is not None and row["rule"] is not None:
            rule, raw = parse_rule(row["rule"]), raw_of(row)
        function, args, kwargs = pickle.loads(row["call"])
        timeout, memory_limit, grace, policy, executor, requeue = pickle.loads(row["terms"])
        task = Task(
            row["name"], function, list(args), kwargs, timeout=timeout, retry_policy=policy, executor=executor,
            memory_limit=memory_limit, grace=grace,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # importing a module of the user's may even exit
        reason = f"{row['name']}: the function or its arguments can no longer be rebuilt: {_words_of(error)}\n"
        lost = Outcome(Ending.RAISED, reason=reason, exception=error, return_code=1)
        return Call(None, rule, lost=lost, raw=raw)
    return Call(task, rule, requeue, bool(row["by_wall_clock"]), raw=raw)


def raw_of(row: Row) -> Row:
    """Return the columns that the occurrences of a recurring job have in common."""
    return {name: row[name] for name in _RAW}


def job_of(row: Row, call: Call) -> AsyncJob:
    """Make a job from its row and what that calls."""
    function: Callable[..., Any] = _Lost(call.lost) if call.task is None else call.task.action
    result, error = row["result"], row["error"]
    if result is not None:
        try:
            result = pickle.loads(result)
        except KeyboardInterrupt:
            raise
        except BaseException as failure:
            result, error = None, f"{row['name']}: its result can no longer be rebuilt: {_words_of(failure)}"
    return AsyncJob(
        row["job_id"], function, AsyncJobStatus(row["status"]), result, error, row["name"], row["priority"],
        row["attempts"], row["submitted"], row["due"], row["started"], row["finished"], bool(row["cancelled"]),
        bool(row["interrupted"]), row["series"], None if row["ending"] is None else Ending(row["ending"]),
        row["execution_time"], row["cpu_time"], row["peak_memory"], row["output"], row["stderr"],
    )  # fmt: skip


def _words_of(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


class _Lost:
    """What stands in for a function that is no longer there: it raises when it is called."""

    def __init__(self, outcome: Outcome | None) -> None:
        self._reason = outcome.reason if outcome is not None else ""

    def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise UnsendableError(self._reason)
