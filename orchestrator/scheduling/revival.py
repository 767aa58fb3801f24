"""What is done with a store when a scheduler opens it: tell what ran when the last one died, and see what waits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.jobs import moves
from orchestrator.jobs.model import AsyncJob, AsyncJobStatus
from orchestrator.jobs.recurrence import Every, parse_rule
from orchestrator.scheduling import clock
from orchestrator.scheduling.entry import Entry
from orchestrator.scheduling.records import call_of, job_of, row_of, values_of

if TYPE_CHECKING:
    from orchestrator.store import Change, Store


class Revived(NamedTuple):
    """The jobs that wait, the longest first, and how many there are of each status."""

    entries: list[Entry]
    counts: dict[AsyncJobStatus, int]


def revive(store: Store, *, requeue: bool, new_id: Callable[[], str]) -> Revived:
    """Move what ran on, to its end or with `requeue` into the queue, and return what waits. In the store's thread."""
    from orchestrator.store import Insert, Update

    now = clock.wall()
    changes: list[Change] = []
    for row in store.find(AsyncJobStatus.RUNNING.value):
        call = call_of(row)
        job = job_of(row, call)
        moves.interrupt(job, now)
        if requeue or call.requeue:
            moves.requeue(job, job.due)
        elif call.rule is not None:
            due = call.rule.next(job.due if job.due is not None else now, now)
            following = AsyncJob(new_id(), _not_read, name=job.name, submitted=now, due=due)
            changes.append(Insert(row_of(following, call)))
        changes.append(Update(job.job_id, values_of(job)))
    if changes:
        store.write(changes)
    entries = []
    for place in store.waiting():
        light = AsyncJob(place.job_id, _not_read, priority=place.priority, due=place.due, series=place.series)
        if place.due is not None and place.due > now and place.rule is not None and place.job_id != place.series:
            light.due = _mended(place.due, place.rule, now)
        entries.append(Entry(light, None, by_wall_clock=bool(place.by_wall_clock)))
    return Revived(entries, {AsyncJobStatus(status): count for status, count in store.counts().items()})


def _mended(due: float, rule: str, now: float) -> float:
    """Return when an occurrence is due: after no more than its interval, though the clock was set back meanwhile."""
    with contextlib.suppress(ValueError):  # a time zone that is no longer known: the job itself will fail of that
        every = parse_rule(rule)
        if isinstance(every, Every):
            return min(due, now + every.seconds)
    return due


def _not_read() -> None:
    """Stand for the function of a job whose row has not been read."""
