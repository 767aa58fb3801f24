"""PoolLane: attempts in processes, with limits, captured output and accounts.

Callables go to workers; programs (scripts, shell lines) are run by the pool themselves. One group of the pool for
each kind of terms, so that short tasks can travel together.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.dag.calls import failure
from orchestrator.dag.lanes import Attempt, Begun, Ended, News, Printed
from orchestrator.exceptions import ConcurrencyError, UnsendableError
from orchestrator.limits import Limits, tighter
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.job import Group, Job
from orchestrator.pool.payload import Packer
from orchestrator.pool.pool import Pool
from orchestrator.pool.shared import borrowed
from orchestrator.programs import CannotRun, Program
from orchestrator.results import result_of_outcome

Take = Callable[[list[tuple[Job, Outcome]]], None]


class Sent:
    """A value as a worker pickled it: sent on to another worker in the same bytes, and rebuilt there."""

    __slots__ = ("_pickled",)

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return pickle.loads, (self._pickled,)


class PoolLane:
    """Attempts in a pool: one that was given, or the shared one with this many workers (None: the default)."""

    remains = "its worker does not end"
    pickles = True

    def __init__(
        self,
        ended: Ended,
        begun: Begun | None,
        printed: Printed | None,
        pool: Pool | None,
        max_workers: int | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._begun = begun
        self._printed = printed
        self.tells_begun = begun is not None
        self._lent = contextlib.ExitStack()
        self._pool = pool or self._lent.enter_context(borrowed(max_workers))
        self._groups: dict[object, _Attempts] = {}
        self._alive: Counter[Group] = Counter()  # how many attempts each has under way
        self._batch: list[Job] = []

    def begin(self, attempt: Attempt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Make the job; `flush` queues it."""
        try:
            job = self._job(attempt, args, kwargs)
        except UnsendableError as error:
            advice = '; define it at the top level of a module, or run it with executor="thread"'
            if attempt.task.has_limits:
                advice += " and without limits"
            reason = f"it cannot be sent to a worker process: {error}{advice}\n"
            outcome = Outcome(Ending.UNSENDABLE, reason=reason, exception=error, return_code=1)
        except CannotRun as error:
            outcome = error.outcome
        except Exception as error:  # arguments that no program can get
            outcome = failure(error)
        else:
            attempt.handle = job
            self._batch.append(job)
            self._alive[job.group] += 1
            return
        self._ended([(attempt, outcome)])

    def _job(self, attempt: Attempt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Job:
        task = attempt.task
        action = task.action
        if isinstance(action, Program):
            group = self._group(tighter(task.limits, action.limits), action.cwd, action.env)
            return Job(group, attempt, task.name, command=action.command_line(*args, **kwargs))
        group = self._group(task.limits)
        function, pickled = group.packer.pack(functools.partial(action, *args, **kwargs))
        return Job(group, attempt, task.name, pickled, function)

    def _group(self, limits: Limits, cwd: str | None = None, env: Mapping[str, str] | None = None) -> _Attempts:
        terms = limits, cwd, None if env is None else tuple(env.items())
        group = self._groups.get(terms)
        if group is None:
            group = self._groups[terms] = _Attempts(self._loop, self._take, self._begun, self._printed)
            group.limits, group.cwd, group.env = limits, cwd, None if env is None else dict(env)
        return group

    def leeway(self, attempt: Attempt) -> float:
        """Return more than a worker or a program ever needs to be killed in."""
        return 10.0

    def flush(self) -> None:
        """Queue what was begun, in one go."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        try:
            self._pool.dispatch(batch)
        except (ConcurrencyError, RuntimeError) as error:  # no worker can be started, the pool is full or shut down
            for job in batch:
                self._release(job.group)
            self._ended([(job.key, failure(error)) for job in batch])

    def take_back(self) -> list[Attempt]:
        """Return those that wait in the pool's queue, or have not even come there."""
        waiting, self._batch = self._batch, []
        groups = self._groups.values()
        for group in groups:
            group.drained = True
        waiting += self._pool.withdraw(*groups)
        return [job.key for job in waiting]

    def stop_all(self, attempts: Sequence[Attempt]) -> None:
        """Have those that run interrupted, and killed after their grace period."""
        self._pool.cancel_jobs([attempt.handle for attempt in attempts])

    def _take(self, ended: list[tuple[Job, Outcome]]) -> None:
        news: list[News] = []
        for job, outcome in ended:
            self._release(job.group)
            if outcome.ending is Ending.SKIPPED and outcome.exception is not None:  # no worker can be started
                outcome = outcome._replace(ending=Ending.RAISED)
            attempt: Attempt = job.key
            if job.command is not None and outcome.ending is not Ending.SKIPPED:
                outcome = Outcome(Ending.OK, result_of_outcome(outcome, job.name), seconds=outcome.seconds)
            if not attempt.over:
                news.append((attempt, outcome))
        self._ended(news)

    def _release(self, group: Group) -> None:
        """Forget a group without attempts: a scheduler's lane lives long, and what was pickled for it grows old."""
        self._alive[group] -= 1
        if not self._alive[group]:
            del self._alive[group]
            self._groups = {terms: other for terms, other in self._groups.items() if other is not group}

    def give_up(self, attempt: Attempt) -> None:
        """Leave it to the pool."""

    def close(self, *, orderly: bool) -> None:
        """Return the pool."""
        self._lent.close()


class _Attempts(Group):
    """The attempts on the same terms. Slot threads tell it what happens; it tells the event loop."""

    keeps_pickles = True

    def __init__(
        self, loop: asyncio.AbstractEventLoop, take: Take, begun: Begun | None, printed: Printed | None
    ) -> None:
        super().__init__()
        self.packer = Packer(self.share)
        self._loop = loop
        self._take = take
        self._begun = begun
        self._printed = printed
        self.wants_start = begun is not None
        self.wants_output = printed is not None

    def begun(self, job: Job, pid: int) -> None:
        if self._begun is not None:
            attempt: Attempt = job.key
            self._tell(self._begun, attempt, pid)

    def wrote(self, job: Job, stream: int, data: bytes) -> None:
        if self._printed is not None:
            self._tell(self._printed, job.key, stream, data)

    def deliver_all(self, ended: list[tuple[Job, Outcome]]) -> None:
        self._tell(self._take, ended)

    def _tell(self, hear: Callable[..., None], *news: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed over the workflow: nobody listens
            self._loop.call_soon_threadsafe(hear, *news)
