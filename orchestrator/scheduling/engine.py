"""Engine: the turns in which jobs move.

All of it happens in the event loop's thread. A job's life:

    admit -> QUEUED -> _start -> RUNNING -> _settle -> _end -> DONE or FAILED
                ^                             |
                '------------ _rest ----------'

Each move is written first (`Ledger`) and made and told afterwards: by the job's fields, by who waits for it, by the
counts. So nothing that was told is lost, and nothing runs that the store does not know to be running. With the move
that ends an occurrence of a recurring job the next one is written, in one transaction.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
from collections.abc import Callable
from typing import Any

from orchestrator.dag.attempts import Attempts
from orchestrator.dag.calls import failure
from orchestrator.dag.lanes import Attempt, Verdict
from orchestrator.dag.routes import Options
from orchestrator.exceptions import StateError, UnsendableError
from orchestrator.jobs import moves
from orchestrator.jobs.model import AsyncJob, AsyncJobStatus
from orchestrator.jobs.recurrence import Cron
from orchestrator.jobs.throughput import Throughput
from orchestrator.jobs.waiting import Waiting
from orchestrator.limits import check_seconds
from orchestrator.outcome import CANCELLED_CODE, Ending, Outcome
from orchestrator.scheduling import clock
from orchestrator.scheduling.entry import Entry
from orchestrator.scheduling.ledger import Ledger
from orchestrator.scheduling.records import row_of, values_of

_log = logging.getLogger(__name__)

Move = Callable[[AsyncJob], None]
Hear = Callable[[Entry], None]

_LOOK_SECONDS = 30.0
"""How long a wait for a time of day goes without a look at the clock, which may have been set."""
_TURN = 256
"""Jobs started at a time: then the loop goes round, so that others are served."""
_CANCELLED = Outcome(Ending.CANCELLED, reason="cancelled on request\n", return_code=CANCELLED_CODE)


class Engine:
    """The jobs that have not ended, in the running event loop.

    `ended` hears of each job that has, `left` each time that one leaves the queue. `ledger` says what can be written.
    """

    def __init__(
        self,
        options: Options,
        most: int,
        ledger: Ledger,
        new_id: Callable[[], str],
        ended: Hear,
        left: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._attempts = Attempts(options, self.turn)
        self._most = most
        self._ledger = ledger
        self._new_id = new_id
        self._tell_ended = ended
        self._tell_left = left
        self.entries: dict[str, Entry] = {}
        self.series: dict[str, Entry] = {}
        """The occurrence there is of each recurring job, by the id of the first."""
        self.waiting = Waiting()
        self.counts = dict.fromkeys(AsyncJobStatus, 0)
        self._ahead = clock.wall() - self._loop.time()
        self._throughput = Throughput(self._loop.time())
        self.recurs = True
        """Whether occurrences are followed by others."""
        self.halted = False
        """Whether nothing more is started."""
        self._active = 0  # entries that take up room: they start or run
        self._busy = 0
        self._asleep = 0
        self._quiet: list[asyncio.Future[None]] = []
        self._reads: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._in_turn = self._turn_due = self._closed = False
        self._sentinel = self._loop.create_task(self._watch(), name="orchestrator-scheduler")

    async def _watch(self) -> None:
        """Notice that the loop ends though nobody has closed us: it cancels all tasks, and this one does nothing else.

        Then what waits must not be started, nor what ran be written as failed: it was interrupted.
        """
        try:
            await self._loop.create_future()
        finally:
            if not self._closed:
                self.halted = True
                self._ledger.abandon()

    def per_second(self) -> float:
        """Return how many jobs ended per second lately."""
        return self._throughput.per_second(self._loop.time())

    def now(self, *, by_wall_clock: bool) -> float:
        """Return the seconds since the epoch, by the clock on the wall or as if nobody had set that since we began.

        What is due after a time goes by the second, so that setting the clock makes neither a gap nor a burst.
        """
        return clock.wall() if by_wall_clock else self._loop.time() + self._ahead

    @property
    def queued(self) -> int:
        """How many jobs wait, but for the occurrences of recurring jobs."""
        return len(self.waiting) - self._asleep

    def runs(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether a task of the loop's is a job's coroutine."""
        entry = None if task is None else self.entries.get(task.get_name())
        return entry is not None and entry.attempt is not None and entry.attempt.handle is task

    # Waiting

    def welcome(self, entry: Entry) -> None:
        """Take in a new job that has been written."""
        self.counts[AsyncJobStatus.QUEUED] += 1
        self.admit(entry)
        if self._active < self._most:
            self.turn()

    def admit(self, entry: Entry, rested: float | None = None) -> None:
        """Have a job wait for its turn, for its time, or until it has `rested`."""
        job = entry.job
        if entry.busy:
            entry.busy = False
            self._busy -= 1
        self.entries[job.job_id] = entry
        if job.series is not None:
            self.series[job.series] = entry
            if rested is None:
                entry.asleep = True
                self._asleep += 1
        due = job.due if rested is None else rested
        by_wall_clock = entry.by_wall_clock and job.ending is None
        if entry.cancelled:
            self.drop(entry)
        elif due is None or due <= self.now(by_wall_clock=by_wall_clock):
            self.waiting.add(job.job_id, job.priority)
        else:
            moment = due if by_wall_clock else due - self._ahead
            self.waiting.add_later(job.job_id, job.priority, moment, wall=by_wall_clock)
            self._arm()

    def _arm(self) -> None:
        """Wake up when the next job is due."""
        seconds = self.waiting.next_due(self._loop.time(), clock.wall())
        if seconds is None:
            return
        when = self._loop.time() + min(seconds, _LOOK_SECONDS)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ripen)

    def _ripen(self) -> None:
        self._timer = None
        self.waiting.ripen(self._loop.time(), clock.wall())
        self._arm()
        self.turn()

    def _leave(self, entry: Entry) -> None:
        """Count a job as one that waits no longer."""
        entry.busy = True
        self._busy += 1
        if entry.asleep:
            entry.asleep = False
            self._asleep -= 1
        self._tell_left()

    # Turns

    def turn(self) -> None:
        """Settle what has ended and start what may start now, until there is neither."""
        if self._in_turn:
            return
        self._in_turn = True
        try:
            while True:
                for attempt, outcome in self._attempts.news():
                    self._settle(attempt, outcome)
                self._start_some()
                if not self._attempts.has_news:
                    break
        finally:
            self._in_turn = False

    def _next_turn(self) -> None:
        self._turn_due = False
        self.turn()

    def _soon(self) -> None:
        """Have a turn when the loop comes round, unless this is one."""
        if not (self._turn_due or self._in_turn):
            self._turn_due = True
            self._loop.call_soon(self._next_turn)

    def _start_some(self) -> None:
        if self._turn_due:
            return
        for _ in range(_TURN):
            if self._active >= self._most or self.halted or self._ledger.broken is not None:
                break
            name = self.waiting.take()
            if name is None:
                break
            entry = self.entries[name]
            self._leave(entry)
            self._active += 1
            if entry.call is None:
                self._read(entry, self._start)
            else:
                self._start(entry)
        else:
            self._turn_due = True
            self._loop.call_soon(self._next_turn)
        self._attempts.flush()

    # Moves

    def _start(self, entry: Entry) -> None:
        call = entry.call
        assert call is not None
        if self._ledger.broken is not None:
            self._strand(entry)
            return
        if call.rule is not None and entry.fire is not None:
            now = self.now(by_wall_clock=call.by_wall_clock)
            newest = call.rule.next(entry.fire, now)
            if newest <= now:  # it is late: this run makes up for all that were missed
                entry.fire = newest
        if call.lost is not None:
            self._active -= 1
            self._end(entry, call.lost)
            return
        self._change(entry, functools.partial(moves.start, now=clock.wall()), self._begin, self._strand)

    def _begin(self, entry: Entry) -> None:
        """Begin the attempt that has been told."""
        if entry.cancelled:
            self._active -= 1
            self._end(entry, _CANCELLED)
            return
        task = entry.call.task if entry.call is not None else None
        assert task is not None
        try:
            entry.attempt = self._attempts.create(entry.job.job_id, task, entry.job.attempts)
        except Exception as error:  # an executor of the user's that cannot be looked up
            self._active -= 1
            self._end(entry, failure(error))
            return
        self._attempts.begin(entry.attempt, task.args, task.kwargs)
        self._soon()  # to flush, once for all that the store has told us of

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take what came of an attempt."""
        entry = self.entries[attempt.name]
        entry.attempt = None
        self._active -= 1
        delay = self._delay(entry, attempt, outcome)
        if delay is None:
            self._end(entry, outcome)
        else:
            due = self.now(by_wall_clock=False) + delay
            move = functools.partial(moves.rest, outcome=outcome, due=due)
            rested = functools.partial(self._rested, due=due)
            self._change(entry, move, rested, functools.partial(self._end, outcome=outcome))

    def _delay(self, entry: Entry, attempt: Attempt, outcome: Outcome) -> float | None:
        """Return the seconds to rest before the next attempt, or None when this was the last."""
        policy = attempt.task.retry_policy
        if policy is None or entry.cancelled or attempt.given_up or self._ledger.broken is not None:
            return None
        try:
            return check_seconds(policy.decide(outcome, attempt.number), "the delay", zero=True)
        except Exception:  # a policy of the user's, or an exception type whose metaclass cannot answer
            _log.exception("the retry policy of %s failed", entry.job)
            return None

    def _rested(self, entry: Entry, due: float | None = None) -> None:
        self.admit(entry, due)
        self._check_quiet()
        self._soon()

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        """End a job for good, and see to the next occurrence."""
        cancelled = entry.cancelled and outcome.ending is Ending.CANCELLED
        move = functools.partial(moves.end, outcome=outcome, now=clock.wall(), cancelled=cancelled)
        following = self._following(entry)
        told = functools.partial(self._ended, following=following)
        try:
            self._change(entry, move, told, functools.partial(self._end_unwritten, move=move), following)
        except UnsendableError as error:
            reason = f"{entry.job}: its result cannot be stored: {error}\n"
            self._end(entry, outcome._replace(ending=Ending.RAISED, value=None, reason=reason, exception=error))

    def _following(self, entry: Entry) -> Entry | None:
        """Return the next occurrence of a recurring job, if there is to be one."""
        job, call = entry.job, entry.call
        if job.series is None or call is None or call.rule is None or entry.last:
            return None
        if not self.recurs or self._ledger.broken is not None:
            return None
        now = self.now(by_wall_clock=call.by_wall_clock)
        following = AsyncJob(self._new_id(), job.func, name=job.name, priority=job.priority, submitted=clock.wall())
        following.series = job.series
        following.due = call.rule.next(entry.fire if entry.fire is not None else now, now)
        return Entry(following, call._replace(by_wall_clock=isinstance(call.rule, Cron)))

    def _ended(self, entry: Entry, following: Entry | None = None) -> None:
        """Tell that a job has ended."""
        job = entry.job
        del self.entries[job.job_id]
        self._busy -= 1
        if job.series is not None and self.series.get(job.series) is entry:
            del self.series[job.series]
        self._throughput.note(self._loop.time())
        self._tell_ended(entry)
        entry.told()
        if following is not None:
            self.counts[AsyncJobStatus.QUEUED] += 1
            following.last = following.cancelled = entry.last  # somebody ended the series while this was written
            self.admit(following)
        self._check_quiet()
        self._soon()

    def _end_unwritten(self, entry: Entry, move: Move) -> None:
        """Tell how a job ended though the store does not know; one that never ran waits there, so it has not ended."""
        if entry.job.status is AsyncJobStatus.QUEUED:
            self._strand(entry, active=False)
            return
        self._make(entry.job, move)
        self._ended(entry)

    def requeue(self, entry: Entry, move: Move) -> asyncio.Future[None]:
        """Have a job that has ended wait again. The future may have StoreError."""
        done: asyncio.Future[None] = self._loop.create_future()
        name = entry.job.job_id
        self.entries[name] = entry
        entry.busy = True
        self._busy += 1

        def told(entry: Entry) -> None:
            self._rested(entry)
            if not done.done():
                done.set_result(None)

        def lost(entry: Entry) -> None:
            del self.entries[name]
            self._busy -= 1
            if self._ledger.broken is not None:
                entry.fail(self._ledger.broken)
            if not done.done() and self._ledger.broken is not None:
                done.set_exception(self._ledger.broken)

        self._change(entry, move, told, lost)
        return done

    # Writing before telling

    def _change(self, entry: Entry, move: Move, then: Hear, otherwise: Hear, following: Entry | None = None) -> None:
        """Write a move, then make it and call `then`; `otherwise` is called when it could not be written.

        Without a store, or with a broken one, there is nothing to write. Raises UnsendableError for a result that a
        store cannot keep.
        """
        if not self._ledger.writes:
            self._make(entry.job, move)
            then(entry)
            return
        from orchestrator.store import Change, Insert, Update

        after = copy.copy(entry.job)
        move(after)
        changes: list[Change] = [Update(after.job_id, values_of(after))]
        if following is not None and following.call is not None:
            changes.append(Insert(row_of(following.job, following.call)))

        def told() -> None:
            self._make(entry.job, move)
            then(entry)

        self._ledger.put(changes, told, functools.partial(otherwise, entry))

    def _make(self, job: AsyncJob, move: Move) -> None:
        self.counts[job.status] -= 1
        move(job)
        self.counts[job.status] += 1

    def _read(self, entry: Entry, then: Hear) -> None:
        """Read a job that came from the store, and go on with it."""
        read = self._loop.create_task(self.fill(entry))
        self._reads.add(read)

        def go_on(_: asyncio.Task[None]) -> None:
            self._reads.discard(read)
            error = None if read.cancelled() else read.exception()
            if isinstance(error, Exception):  # the store cannot be read, and has said so to nobody else
                self._ledger.fail(error)
            if read.cancelled() or error is not None:
                self._strand(entry, active=then == self._start)
            else:
                then(entry)
                self._soon()

        read.add_done_callback(go_on)

    async def fill(self, entry: Entry) -> None:
        """Read the rest of a job that came from the store."""
        if entry.call is None:
            row = await self._ledger.read(entry.job.job_id)
            assert row is not None, "the store has lost a job: this is a bug in orchestrator"
            entry.fill(row)

    def _strand(self, entry: Entry, *, active: bool = True) -> None:
        """Leave a job to the store, where it waits: that it starts could not be written, or it could not be read."""
        self._active -= active
        self._busy -= 1
        entry.busy = False
        if (why := self.over) is not None:
            entry.fail(why)
        self._check_quiet()

    @property
    def over(self) -> Exception | None:
        """Why no job that waits will run any more."""
        if self._ledger.broken is not None:
            return self._ledger.broken
        return StateError("the scheduler is closed, and the job waits in its store") if self._closed else None

    def forsake(self) -> None:
        """Tell those who wait for a job that waits that it will not run."""
        if (why := self.over) is not None:
            for entry in list(self.entries.values()):
                if not entry.busy:
                    entry.fail(why)
        self._check_quiet()

    # Stopping

    def drop(self, entry: Entry) -> None:
        """End a job that waits, as cancelled."""
        entry.cancelled = True
        self.waiting.discard(entry.job.job_id)
        self._leave(entry)
        end = functools.partial(self._end, outcome=_CANCELLED)
        if entry.call is None:
            self._read(entry, end)
        else:
            end(entry)

    def stop(self, entry: Entry, reason: str) -> None:
        """Have a job end, wherever it stands."""
        entry.cancelled = True
        if not entry.busy:
            self.drop(entry)
        elif entry.attempt is not None:
            self._attempts.stop([entry.attempt], Verdict(Ending.CANCELLED, reason))

    async def until_quiet(self) -> None:
        """Wait until nothing more will happen by itself, but for recurring jobs."""
        while not self._is_quiet():
            quiet = self._loop.create_future()
            self._quiet.append(quiet)
            await quiet

    def _is_quiet(self) -> bool:
        over = self.halted or self._ledger.broken is not None or len(self.entries) == self._asleep
        return self._busy == 0 and over

    def _check_quiet(self) -> None:
        if self._quiet and self._is_quiet():
            for quiet in self._quiet:
                if not quiet.done():
                    quiet.set_result(None)
            self._quiet.clear()

    def close(self) -> None:
        """Let go of what is held, once it is quiet."""
        self._closed = True
        self.forsake()
        self._sentinel.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._attempts.close(orderly=True)
