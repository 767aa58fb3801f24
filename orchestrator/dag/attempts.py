"""The attempts under way in one event loop: begun, held to their time, stopped, and told of when they have ended.

What a workflow's engine and the scheduler have in common. Everything happens in the event loop's thread. Whatever is
asked to stop ends in bounded time, whether it stops or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.dag.calls import failure
from orchestrator.dag.lanes import Attempt, Begun, ExecutorLane, Lane, LoopLane, News, Printed, Verdict
from orchestrator.dag.model import Task, carried, outcome_of_result
from orchestrator.dag.routes import Options, Routes
from orchestrator.outcome import Ending
from orchestrator.results import ExecutionResult

_log = logging.getLogger(__name__)


class Attempts:
    """Attempts on the lanes that `options` mean. `wake` is called when there is news, which `news` then has."""

    def __init__(
        self, options: Options, wake: Callable[[], None], begun: Begun | None = None, printed: Printed | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.routes = Routes(options, self._ended, begun, printed)
        self.running: set[Attempt] = set()
        self._wake = wake
        self._timers: dict[Attempt, asyncio.TimerHandle] = {}
        self._inbox: deque[News] = deque()

    # Beginning

    def create(self, name: str, task: Task, number: int) -> Attempt:
        """Make attempt `number` at a task and count it as running; `begin` or `fail` comes next."""
        attempt = Attempt(name, task, number, self.routes.lane_of(task), self._loop.time())
        self.running.add(attempt)
        return attempt

    def begin(self, attempt: Attempt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Hand an attempt over to its lane. `flush` follows, once several have been."""
        attempt.lane.begin(attempt, args, kwargs)
        task = attempt.task
        if isinstance(attempt.lane, LoopLane) and task.timeout is not None:
            seconds = task.limits.seconds
            if seconds is not None:
                self._timers[attempt] = self._loop.call_later(seconds, self._overdue, attempt, seconds)

    def fail(self, attempt: Attempt, error: BaseException) -> None:
        """End an attempt that could not begin."""
        self._ended([(attempt, failure(error))])

    def flush(self) -> None:
        """Have lanes that gather what was begun send it off."""
        self.routes.flush()

    # Ending

    def _ended(self, news: Sequence[News]) -> None:
        for attempt, _ in news:
            attempt.over = True
        self._inbox.extend(news)
        self._wake()

    @property
    def has_news(self) -> bool:
        """Whether `news` would yield, or at least do something."""
        return bool(self._inbox)

    def news(self) -> Iterator[News]:
        """Yield the attempts that have ended, each once, with what came of it."""
        while self._inbox:
            attempt, outcome = self._inbox.popleft()
            timer = self._timers.pop(attempt, None)
            if timer is not None:
                timer.cancel()
            value = outcome.value
            result = value if isinstance(value, ExecutionResult) else carried(outcome.exception)
            if result is not None:
                try:
                    outcome = outcome_of_result(result, outcome)
                except Exception as error:  # one of the user's own making, with what no result has in it
                    outcome = failure(error, outcome.seconds)
            elif isinstance(attempt.lane, ExecutorLane) and hasattr(type(value), "__await__"):
                self._go_on(attempt, value)
                continue
            self.running.discard(attempt)
            verdict = attempt.verdict
            told = outcome.ending is not Ending.OK and verdict is not None and outcome.ending is verdict.ending
            if told and verdict is not None and verdict.reason not in outcome.reason:
                outcome = outcome._replace(reason=f"{outcome.reason}{verdict.reason}\n")  # the pool does not know why
            yield attempt, outcome

    def _go_on(self, attempt: Attempt, awaitable: Any) -> None:
        """Await what a plain callable has returned."""
        attempt.over = False
        self.routes.loop.go_on(attempt, awaitable)
        if attempt.verdict is not None:
            self.routes.loop.stop_all([attempt])
            self._bound(attempt)

    # Stopping

    def take_back(self) -> list[Attempt]:
        """Return the attempts that wait in a queue of their lane's; they will not begin, and are over."""
        taken = [attempt for lane in self.routes.lanes for attempt in lane.take_back()]
        for attempt in taken:
            attempt.over = True
        self.running.difference_update(taken)
        return taken

    def stop(self, attempts: Sequence[Attempt], verdict: Verdict) -> None:
        """Ask attempts to stop; one that was asked before keeps its verdict."""
        for attempt in attempts:
            if not attempt.over:
                attempt.verdict = attempt.verdict or verdict
                self._bound(attempt)
        self._ask(attempts)

    def _ask(self, attempts: Iterable[Attempt]) -> None:
        lanes: dict[Lane, list[Attempt]] = {}
        for attempt in attempts:
            if attempt.under_way:
                lanes.setdefault(attempt.lane, []).append(attempt)
        for lane, theirs in lanes.items():
            lane.stop_all(theirs)

    def _overdue(self, attempt: Attempt, seconds: float) -> None:
        """Stop a coroutine whose time limit has passed; the pool sees to its own."""
        if attempt.verdict is None and not attempt.over:
            self.stop([attempt], Verdict(Ending.TIMED_OUT, f"its time limit passed ({seconds:g} s)"))

    def _bound(self, attempt: Attempt) -> None:
        """See to it that an attempt that was asked to stop ends in bounded time, whether it stops or not."""
        timer = self._timers.pop(attempt, None)
        if timer is not None:
            timer.cancel()
        patience = attempt.task.limits.grace + attempt.lane.leeway(attempt)
        self._timers[attempt] = self._loop.call_later(patience, self._give_up, attempt)

    def _give_up(self, attempt: Attempt) -> None:
        """End an attempt that did not stop; what it left running cannot be helped, so it is said."""
        if attempt.over:
            return
        verdict = attempt.verdict
        assert verdict is not None
        _log.warning("%s was given up: %s", attempt.task, attempt.lane.remains)
        attempt.notes += (attempt.lane.remains,)
        attempt.given_up = True
        attempt.lane.give_up(attempt)
        outcome = verdict.outcome(f"{attempt.lane.remains}; ", self._loop.time() - attempt.started)
        self._ended([(attempt, outcome)])

    def close(self, *, orderly: bool) -> None:
        """Let go of everything. Not `orderly`: the loop itself is ending, and nothing can be waited for."""
        for timer in self._timers.values():
            timer.cancel()
        if not orderly:
            with contextlib.suppress(RuntimeError):  # the loop was closed over us: its coroutines are dead already
                self._ask(self.running)
        self.routes.close(orderly=orderly)
