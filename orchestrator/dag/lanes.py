"""Lanes: where attempts are carried out. In the event loop, or in an executor; `in_pool.py` has the third.

A lane begins attempts, and asks one to stop. It tells the engine, in the event loop's thread, that an attempt
has ended, once: unless the engine has given it up (`Attempt.over`).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple, Protocol

from orchestrator.dag.calls import call, call_coroutine, failure
from orchestrator.dag.model import Task
from orchestrator.dag.threads import Threads
from orchestrator.live import Hear, heard_by
from orchestrator.outcome import CANCELLED_CODE, TIMED_OUT_CODE, Ending, Outcome
from orchestrator.results import ExecutionResult
from orchestrator.stopping import Scope, entered

RUNNERS_LEEWAY = 5.0
"""Seconds in which a runner that was told to stop has ended: grace period, kill and sweep."""

CODES = {Ending.TIMED_OUT: TIMED_OUT_CODE, Ending.CANCELLED: CANCELLED_CODE}


class Verdict(NamedTuple):
    """Why an attempt has to stop: how it ends, and the sentence the caller reads."""

    ending: Ending
    reason: str

    def outcome(self, detail: str = "", seconds: float = 0.0) -> Outcome:
        """Return the outcome of an attempt that was stopped and left nothing else to tell."""
        return Outcome(self.ending, reason=f"{detail}{self.reason}\n", return_code=CODES[self.ending], seconds=seconds)


class Attempt:
    """One attempt at a task, under way."""

    __slots__ = ("given_up", "handle", "lane", "name", "notes", "number", "over", "started", "task", "verdict")

    def __init__(self, name: str, task: Task, number: int, lane: Lane, started: float) -> None:
        self.name = name
        self.task = task
        self.number = number
        self.lane = lane
        self.started = started
        self.verdict: Verdict | None = None
        """Why it must stop. Written once, by the engine, before the lane is asked to stop it."""
        self.over = False
        """Whether it has ended for the engine, which then hears no more of it."""
        self.given_up = False
        """Whether it ended for the engine only: it would not stop."""
        self.notes: tuple[str, ...] = ()
        self.handle: Any = None
        """What the lane stops it by; None until it has begun."""

    @property
    def under_way(self) -> bool:
        """Whether its lane has it."""
        return not self.over and self.handle is not None


News = tuple[Attempt, Outcome]
Ended = Callable[[Sequence[News]], None]
Begun = Callable[[Attempt, int], None]
Printed = Callable[[Attempt, int, bytes], None]


class Lane(Protocol):
    """One way to carry out attempts."""

    remains: str
    """What may still be running when an attempt was given up, as its result says."""
    pickles: bool
    """Whether arguments go through the pool's pickles, so that a value may be sent on as it came."""
    tells_begun: bool
    """Whether it will tell when an attempt begins, which may be later than it is handed over."""

    def begin(self, attempt: Attempt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Begin an attempt. Raises nothing that is the user's: that is an outcome."""

    def leeway(self, attempt: Attempt) -> float:
        """Return the seconds, on top of the task's grace period, for which one that was asked to stop is waited for."""

    def take_back(self) -> list[Attempt]:
        """Return the attempts that wait in a queue of the lane's, which now will not begin."""

    def stop_all(self, attempts: Sequence[Attempt]) -> None:
        """Ask the attempts under way to stop, all of this lane's; each will end soon, or be given up."""

    def give_up(self, attempt: Attempt) -> None:
        """Forget an attempt that did not stop."""

    def close(self, *, orderly: bool) -> None:
        """Let go of what the lane holds. Not `orderly`, attempts may be under way, and are not waited for."""


class LoopLane:
    """Coroutines, as asyncio tasks of the running loop."""

    remains = "its coroutine refuses to be cancelled and may still run"
    pickles = tells_begun = False

    def __init__(self, ended: Ended) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended

    def leeway(self, attempt: Attempt) -> float:
        """Return 0: a coroutine hears of its cancellation at once."""
        return 0.0

    def begin(self, attempt: Attempt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Create the asyncio task."""
        self._follow(attempt, attempt.task.action, args, kwargs)

    def go_on(self, attempt: Attempt, awaitable: Awaitable[Any]) -> None:
        """Await what a plain callable has returned: `lambda: fetch(url)` is no coroutine function, but means one."""
        attempt.lane = self

        async def wait() -> Any:
            return await awaitable

        self._follow(attempt, wait, (), {})

    def _follow(
        self, attempt: Attempt, action: Callable[..., Awaitable[Any]], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        blocked = functools.partial(_note_block, attempt)
        task = self._loop.create_task(call_coroutine(action, args, kwargs, blocked, self._loop.time), name=attempt.name)
        attempt.handle = task
        task.add_done_callback(functools.partial(self._done, attempt))

    def _done(self, attempt: Attempt, task: asyncio.Task[Outcome]) -> None:
        if attempt.over:
            return
        verdict = attempt.verdict
        if task.cancelled():
            seconds = self._loop.time() - attempt.started
            outcome = verdict.outcome("", seconds) if verdict else _self_cancelled()._replace(seconds=seconds)
        elif (error := task.exception()) is not None:  # Ctrl-C, on its way through the loop
            outcome = failure(error)
        else:
            outcome = task.result()
            if verdict is not None:  # it was told, and did as it pleased
                outcome = verdict.outcome(f"{outcome.reason}it went on after it was cancelled; ", outcome.seconds)
        self._ended(((attempt, outcome),))

    def take_back(self) -> list[Attempt]:
        """Return nothing: a coroutine begins at once."""
        return []

    def stop_all(self, attempts: Sequence[Attempt]) -> None:
        """Cancel the coroutines."""
        for attempt in attempts:
            self.stop(attempt)

    def stop(self, attempt: Attempt) -> None:
        """Cancel one coroutine; one that is just done keeps its result."""
        if not attempt.handle.cancel():
            attempt.verdict = None

    def give_up(self, attempt: Attempt) -> None:
        """Leave the coroutine to the loop, which cancels it again when it closes."""

    def close(self, *, orderly: bool) -> None:
        """Do nothing: nothing is held."""


class ExecutorLane:
    """Plain callables, in an executor, through `loop.run_in_executor`.

    With `own`, the executor's threads are the workflow's: each attempt is measured where it runs, sees the
    context variables of whoever executes the workflow (as `asyncio.to_thread` has it), and raises nothing. A thread
    cannot be stopped, but what our own runners do in it can: see `orchestrator.stopping`.
    """

    pickles = False

    def __init__(
        self, ended: Ended, begun: Begun | None, printed: Printed | None, executor: Executor, *, own: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._begun = begun if own else None
        self._printed = printed
        self.tells_begun = self._begun is not None
        self._handed_over: dict[Attempt, None] = {}
        self._executor = _Recorder(executor)
        self._threads = executor if isinstance(executor, Threads) else None
        self._own = own
        self._given_up = False
        self.remains = "its thread cannot be stopped and may still run" if own else "its executor may still run it"

    def begin(self, attempt: Attempt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Submit the call."""
        action = attempt.task.action
        box: list[Outcome] = []
        scope = Scope()
        if self._own:
            context = contextvars.copy_context()
            tell, hear = self._told(self._begun, attempt), self._told(self._printed, attempt)
            work: Callable[[], Any] = functools.partial(
                context.run, _call_into, box, scope, tell, hear, action, args, kwargs
            )
        else:
            work = functools.partial(action, *args, **kwargs)
        try:
            waiting = self._loop.run_in_executor(self._executor, work)
        except Exception as error:  # it was shut down, it is broken, no thread can be started
            self._ended(((attempt, failure(error)),))
            return
        attempt.handle = waiting, self._executor.last, box, scope
        self._handed_over[attempt] = None
        waiting.add_done_callback(functools.partial(self._done, attempt))

    def _told(self, hear: Callable[..., None] | None, attempt: Attempt) -> Callable[..., None] | None:
        """Return what tells the loop's thread of an attempt, from any other; None where nobody wants to hear."""
        if hear is None:
            return None
        hear_of = functools.partial(hear, attempt)

        def tell(*news: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed over the workflow: nobody listens
                self._loop.call_soon_threadsafe(hear_of, *news)

        return tell

    def _done(self, attempt: Attempt, waiting: asyncio.Future[Any]) -> None:
        del self._handed_over[attempt]
        if attempt.over:
            return
        if waiting.cancelled():
            verdict = attempt.verdict or Verdict(Ending.CANCELLED, "its executor cancelled it")
            outcome = verdict.outcome("it had not started: ")
        elif (error := waiting.exception()) is not None:
            outcome = failure(error, self._loop.time() - attempt.started)
        elif self._own:
            outcome = attempt.handle[2].pop()
            interrupted = attempt.verdict is not None and attempt.handle[3].interrupted
            if interrupted and outcome.ending is Ending.OK and not isinstance(outcome.value, ExecutionResult):
                assert attempt.verdict is not None
                outcome = attempt.verdict.outcome("", outcome.seconds)  # what it returned is not what it would have
        else:
            outcome = Outcome(Ending.OK, waiting.result(), seconds=self._loop.time() - attempt.started)
        self._ended(((attempt, outcome),))

    def take_back(self) -> list[Attempt]:
        """Return those that wait for a thread, or whatever the executor has."""
        return [attempt for attempt in self._handed_over if attempt.handle[1].cancel()]

    def stop_all(self, attempts: Sequence[Attempt]) -> None:
        """Cancel the calls that have not started; in the others stop what can be stopped."""
        for attempt in attempts:
            _, future, _, scope = attempt.handle
            if not future.cancel():
                scope.stop()

    def leeway(self, attempt: Attempt) -> float:
        """Return more where something is being stopped, which has a grace period of its own."""
        return RUNNERS_LEEWAY if attempt.handle is not None and attempt.handle[3].busy else 0.0

    def give_up(self, attempt: Attempt) -> None:
        """Hear no more of a call."""
        attempt.handle[0].cancel()
        self._given_up = True
        if self._threads is not None:
            self._threads.replace_one()

    def close(self, *, orderly: bool) -> None:
        """Let our own threads go; another's executor is left alone."""
        if self._own:
            self._executor.shutdown(wait=orderly and not self._given_up, cancel_futures=True)


def _call_into(
    box: list[Outcome],
    scope: Scope,
    tell: Callable[[int], None] | None,
    hear: Hear | None,
    action: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> None:
    """Tell that it begins, call in a scope, and leave the outcome in a box.

    The two futures that `run_in_executor` chains refer to each other for ever, and would keep the value in memory.
    """
    if tell is not None:
        tell(os.getpid())
    with entered(scope), heard_by(hear):
        box.append(call(action, args, kwargs))


class _Recorder(Executor):
    """Pass submissions on, and remember the last one's future, which `run_in_executor` keeps to itself.

    That future says for certain whether a call has started: cancelling the loop's own does not.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.last: Future[Any] | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.last = self._executor.submit(fn, *args, **kwargs)
        return self.last

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _note_block(attempt: Attempt, seconds: float) -> None:
    attempt.notes += (
        f"it kept the event loop from everything else for {seconds:.1f} s: await, or give it executor='process'",
    )


def _self_cancelled() -> Outcome:
    return Outcome(Ending.RAISED, reason="the coroutine was cancelled, and not by whoever ran it\n", return_code=1)
