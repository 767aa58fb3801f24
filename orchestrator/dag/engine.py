"""Carry out a workflow: start what may start, wait for news, tell the plan.

One Execution is one call of `Workflow.execute`. All of it happens in the event loop's thread, in turns: a lane tells
that attempts have ended, or a timer that a rest is over, and the turn settles what that means and starts what may
start now. Whatever ends a run early (its deadline, a failure with `fail_fast`, a cancelled caller) goes through
`_halt`; every attempt then ends in bounded time, and `run` waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from orchestrator.dag.attempts import Attempts
from orchestrator.dag.calls import call
from orchestrator.dag.item import Item
from orchestrator.dag.lanes import Attempt, Verdict
from orchestrator.dag.model import Declined, Task, TaskResult, task_result
from orchestrator.dag.plan import Plan
from orchestrator.dag.routes import Options
from orchestrator.dag.telling import ProgressCallback, Teller
from orchestrator.exceptions import OrchestratorTimeoutError, TaskFailedError
from orchestrator.outcome import Ending, Outcome

_log = logging.getLogger(__name__)

_TURN = 256
"""Attempts begun at a time: then the loop goes round, so that it serves others and short tasks end meanwhile."""


class Execution:
    """One execution of a workflow's tasks, in the running event loop."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        needs: Mapping[str, Collection[str]],
        options: Options,
        callback: ProgressCallback | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._plan = Plan(needs, {name for name, task in tasks.items() if task.trigger_rule == "all_done"})
        self._options = options
        self._items = {name: Item(index, task) for index, (name, task) in enumerate(tasks.items())}
        told = bool(options.listeners)
        self._attempts = Attempts(
            options,
            self._heard,
            self._begun if told else None,
            self._printed if told and options.live_output else None,
        )
        for item in self._items.values():
            if item.uses:
                to_worker = self._attempts.routes.to_worker(item.task)
                for name in item.uses:
                    self._items[name].wanted_by(to_worker=to_worker)
        self.results: dict[str, TaskResult] = {}
        """What has ended so far, in the order in which it did; conditions see this dict itself."""
        self._teller = Teller(callback, options.listeners) if callback or told else None
        self._resting: dict[str, asyncio.TimerHandle] = {}  # tasks between two attempts
        self._due: deque[str] = deque()  # tasks whose rest is over
        self._bell: asyncio.Future[None] = self._loop.create_future()
        self._mistake: Exception | None = None
        self._in_turn = self._turn_due = False
        self._drained = ""
        """Why nothing more is started; then no failed attempt is made again either."""
        self._halted = ""
        """Why also what runs was stopped."""
        self._failures = 0
        self._error: OrchestratorTimeoutError | TaskFailedError | None = None
        self._began = self._loop.time()

    async def run(self) -> dict[str, TaskResult]:
        """Run every task to its end and return the results in the order of the tasks.

        Raises OrchestratorTimeoutError, TaskFailedError (fail_fast), or CancelledError, once everything has stopped.
        """
        seconds = self._options.timeout
        deadline = None if seconds is None else self._loop.call_later(seconds, self._expire, seconds)
        cancelled: asyncio.CancelledError | None = None
        orderly = False
        try:
            self._turn()
            while not self._plan.over and self._mistake is None:
                try:
                    await self._bell  # rung by the turn in which the last task ends, or which goes wrong
                except asyncio.CancelledError as error:  # again and again, if the caller insists: stopping is bounded
                    cancelled = error
                    self._bell = self._loop.create_future()
                    self._halt("the workflow was cancelled")
                    self._turn()
            if self._mistake is not None:
                raise self._mistake
            orderly = True
            if self._teller is not None:
                await self._teller.finish()
        finally:
            if deadline is not None:
                deadline.cancel()
            self._close(orderly=orderly)
        if cancelled is not None:
            raise cancelled
        results = {name: item.result for name, item in self._items.items() if item.result is not None}
        self._items, self.results = {}, {}  # we are in a circle of references, whose collection nobody should wait for
        if self._error is not None:
            self._error.results = results
            raise self._error
        return results

    # Turns: all that happens, happens in one of these

    def _heard(self) -> None:
        """Hear that attempts have ended."""
        if not self._in_turn:
            self._turn()

    def _turn(self) -> None:
        """Settle what has ended and start what may start now, until there is neither."""
        self._in_turn = True
        try:
            while True:
                for attempt, outcome in self._attempts.news():
                    self._settle(attempt, outcome)
                self._start_some()
                if not self._attempts.has_news:
                    break
        except Exception as error:  # a mistake of ours: `run` raises it, where the loop would only log it
            self._mistake = error
        finally:
            self._in_turn = False
        if (self._plan.over or self._mistake is not None) and not self._bell.done():
            self._bell.set_result(None)

    def _next_turn(self) -> None:
        self._turn_due = False
        self._turn()

    # Starting

    def _start_some(self) -> None:
        """Begin attempts until there is no more to begin, no room, or others should have a turn."""
        if self._turn_due:
            return
        most = self._options.max_concurrency
        for _ in range(_TURN):
            if most is not None and len(self._attempts.running) >= most:
                break
            name = self._due.popleft() if self._due else self._plan.take()
            if name is None:
                break
            self._start(self._items[name])
        else:
            self._turn_due = True
            self._loop.call_soon(self._next_turn)
        self._attempts.flush()

    def _start(self, item: Item) -> None:
        task = item.task
        name = task.name
        resting = self._resting.pop(name, None)
        if resting is None and task.condition is not None and not self._condition_holds(item):
            return
        self._plan.start(name)
        attempt = self._attempts.create(name, task, len(item.history) + 1)
        lane = attempt.lane
        if self._teller is not None:
            self._teller.running(item.index, name, attempt.number, None if lane.tells_begun else os.getpid())
        args: Sequence[Any] = task.args
        kwargs: Mapping[str, Any] = task.kwargs
        if item.uses or task.wants_all_results:
            try:
                args, kwargs = item.arguments(self._items, self.results, to_worker=lane.pickles and not task.is_program)
            except Exception as error:  # nested too deep, or a container of the user's that cannot be copied
                self._attempts.fail(attempt, error)
                return
        self._attempts.begin(attempt, args, kwargs)

    def _condition_holds(self, item: Item) -> bool:
        """Ask a task's condition; settle the task if it says no or raises."""
        name = item.task.name
        assert item.task.condition is not None
        outcome = call(item.task.condition, (self.results,), {})
        if outcome.ending is Ending.OK and not isinstance(outcome.value, Declined):
            outcome = call(bool, (outcome.value,), {})
        if outcome.ending is Ending.OK and outcome.value:
            return True
        if outcome.ending is Ending.OK:
            skipped = self._plan.skip(name)
            why = outcome.value.reason if isinstance(outcome.value, Declined) else "its condition does not hold"
            self._skip([name], f"skipped because {why}")
            self._skip(skipped, f"skipped because {name!r} was skipped")
            return False
        self._plan.start(name)
        if self._teller is not None:
            self._teller.running(item.index, name, 1, os.getpid())
        self._fail(item, outcome._replace(reason=f"its condition raised\n{outcome.reason}"))
        return False

    # Ends

    def _begun(self, attempt: Attempt, pid: int) -> None:
        if self._teller is not None and not attempt.over:
            self._teller.begun(self._items[attempt.name].index, attempt.name, attempt.number, pid)

    def _printed(self, attempt: Attempt, stream: int, data: bytes) -> None:
        if self._teller is not None and not attempt.over:
            self._teller.printed(self._items[attempt.name].index, attempt.name, stream, data)

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take what came of an attempt: the task has ended, or rests before the next one."""
        item = self._items[attempt.name]
        if outcome.ending is Ending.OK:
            item.keep(outcome.pickled)
            self._plan.complete(attempt.name)
            self._note(item, outcome, self._result(item, attempt, outcome))
            return
        failed = self._result(item, attempt, outcome)
        delay = self._delay(item.task, outcome, attempt)
        if delay is None:
            self._fail(item, outcome, failed)
            return
        self._plan.retry(attempt.name)
        item.history = (*item.history, failed)
        self._resting[attempt.name] = self._loop.call_later(delay, self._rested, attempt.name)
        if self._teller is not None:
            self._teller.retrying(item.index, outcome, failed, delay)

    def _delay(self, task: Task, outcome: Outcome, attempt: Attempt) -> float | None:
        """Return the seconds to rest before the next attempt, or None when this was the last."""
        if task.retry_policy is None or self._drained or attempt.given_up:
            return None
        try:
            return task.retry_policy.decide(outcome, attempt.number)
        except Exception:  # an exception type of the user's whose metaclass cannot answer
            _log.exception("the retry policy of %s failed", task)
            return None

    def _rested(self, name: str) -> None:
        self._due.append(name)
        if not self._in_turn:
            self._turn()

    def _result(self, item: Item, attempt: Attempt, outcome: Outcome) -> TaskResult:
        return task_result(
            outcome,
            attempt.name,
            attempts=attempt.number,
            started=max(attempt.started, self._loop.time() - outcome.seconds) - self._began,
            notes=attempt.notes,
            history=item.history,
        )

    def _fail(self, item: Item, outcome: Outcome, result: TaskResult | None = None) -> None:
        """Note that a task has failed for good, and what that means for the others."""
        name = item.task.name
        result = result or task_result(outcome, name, started=self._loop.time() - self._began)
        skipped = self._plan.fail(name)
        self._note(item, outcome, result)
        self._skip(skipped, f"skipped because {name!r} failed")
        self._failures += 1
        if self._options.bears(self._failures, len(self._items)) or self._drained:
            return
        last = (result.error or "").rstrip().rpartition("\n")[2]
        self._error = TaskFailedError(f"{item.task} failed ({result.ending.value}): {last}", result=result)
        end = self._drain if self._options.halt == "soon" else self._halt
        end(f"{name!r} failed, and fail_fast is set")

    def _skip(self, names: Collection[str], reason: str) -> None:
        outcome = Outcome(Ending.SKIPPED, reason=f"{reason}\n", return_code=1)
        for name in names:
            self._note(self._items[name], outcome, task_result(outcome, name, attempts=0))

    def _note(self, item: Item, outcome: Outcome, result: TaskResult) -> None:
        item.result = self.results[result.name] = result
        for name in item.uses:
            self._items[name].no_longer_wanted()
        if self._teller is not None:
            self._teller.ended(item.index, outcome, result)

    # Stopping

    def _expire(self, seconds: float) -> None:
        """Stop the workflow because its own time limit has passed."""
        if self._plan.over:
            if self._teller is not None:
                self._teller.close()  # all is done but the callback's own work
            return
        if not self._halted:
            reason = f"the workflow's deadline passed ({seconds:g} s)"
            self._error = OrchestratorTimeoutError(reason)
            self._halt(reason)
            self._turn()

    def obey(self, order: Literal["drain", "cancel"]) -> None:
        """Carry out an order from outside: start nothing more, or also stop what runs."""
        if not self._plan.over:
            (self._drain if order == "drain" else self._halt)("the run was stopped")
            self._turn()

    def _drain(self, reason: str) -> None:
        """Start nothing more; what runs goes on."""
        if self._drained:
            return
        self._drained = reason
        self._skip(self._plan.give_up(), f"skipped because {reason}")
        self._due.clear()
        for name, rest in list(self._resting.items()):
            rest.cancel()
            self._give_up_on(self._items[name], reason)
        self._resting.clear()
        for attempt in self._attempts.take_back():
            self._give_up_on(self._items[attempt.name], reason)

    def _give_up_on(self, item: Item, reason: str) -> None:
        """End a task of which no attempt is under way: with what came of the last one, or as skipped."""
        if not item.history:
            outcome = Outcome(Ending.SKIPPED, reason=f"skipped because {reason}\n", return_code=1)
            self._fail(item, outcome, task_result(outcome, item.task.name, attempts=0))
            return
        last = item.history[-1]
        item.history = item.history[:-1]
        last.notes += (f"no further attempt was made, because {reason}",)
        self._fail(item, Outcome(last.ending, reason=f"{last.error}\n", return_code=last.return_code), last)

    def _halt(self, reason: str) -> None:
        """Start nothing more and stop what runs. Every attempt under way ends in bounded time."""
        if self._halted:
            return
        self._halted = reason
        self._drain(reason)
        running = list(self._attempts.running)
        self._attempts.stop(running, Verdict(Ending.CANCELLED, f"stopped because {reason}"))

    def _close(self, *, orderly: bool) -> None:
        """Let go of everything, `orderly` or not: see `Attempts.close`."""
        for timer in self._resting.values():
            timer.cancel()
        if self._teller is not None:
            self._teller.close()
        self._attempts.close(orderly=orderly)
