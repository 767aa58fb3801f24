"""When a failed attempt is tried again, and after how long: the one place that decides a delay.

`RetryPolicy` answers; the runners, the workflow engine and `with_retry` act on the answer.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from orchestrator.limits import check_seconds
from orchestrator.outcome import Ending, Outcome
from orchestrator.stopping import rest

TRANSIENT = frozenset({Ending.RAISED, Ending.TIMED_OUT, Ending.CRASHED, Ending.OUT_OF_MEMORY})
"""The endings another attempt can change."""

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass
class RetryPolicy:
    """Say how often, how soon and after what a task is tried again.

    Parameters: `max_attempts` counts the first one; attempt 1 is followed by `initial_delay` seconds,
    each later one by `exponential_base` times the delay before, up to `max_delay` seconds; `retry_on`
    are the exception types that count, where the task raised; `endings` are the ways of failing that count;
    with `jitter` each delay is drawn evenly between 0 and what it would be, so that many who failed
    together do not come back together ("full jitter", from the AWS Architecture Blog's "Exponential
    Backoff And Jitter").

    Raises ValueError or TypeError at once for numbers that make no sense.

    >>> [RetryPolicy(initial_delay=0.5, max_delay=1.5).get_delay(n) for n in (1, 2, 3)]
    [0.5, 1.0, 1.5]
    """

    max_attempts: int = 3
    initial_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    endings: frozenset[Ending] = TRANSIENT
    jitter: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int):
            raise TypeError(f"max_attempts must be a whole number, not {self.max_attempts!r}")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {self.max_attempts}")
        for value, what in ((self.initial_delay, "initial_delay"), (self.max_delay, "max_delay")):
            if check_seconds(value, what, zero=True) is None:
                raise ValueError(f"{what} must be a finite number of seconds, not {value!r}")
        kinds = self.retry_on
        if not isinstance(kinds, tuple) or not all(isinstance(k, type) and issubclass(k, BaseException) for k in kinds):
            raise TypeError(f"retry_on must be a tuple of exception types, such as (OSError,), not {kinds!r}")
        if not self.exponential_base >= 1:
            raise ValueError(f"exponential_base must be at least 1, not {self.exponential_base!r}")

    def get_delay(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number `attempt` (the first is 1)."""
        if attempt < 1:
            raise ValueError(f"attempt counts from 1, not {attempt}")
        if self.initial_delay == 0:
            return 0.0
        try:
            delay = min(self.initial_delay * self.exponential_base ** (attempt - 1), self.max_delay)
        except OverflowError:
            delay = self.max_delay
        return random.uniform(0.0, delay) if self.jitter else delay

    def decide(self, outcome: Outcome, attempt: int) -> float | None:
        """Return the seconds to wait before the next attempt, or None when this outcome is final."""
        if outcome.ending not in self.endings:
            return None
        exception = outcome.exception if outcome.ending is Ending.RAISED else None
        return self.delay_after(attempt, exception)

    def delay_after(self, attempt: int, exception: BaseException | None) -> float | None:
        """Return the seconds to wait after an attempt that raised this; None when it was the last.

        An exception that is not at hand (None: it could not be carried over from a worker) counts.
        """
        if attempt >= self.max_attempts or not (exception is None or isinstance(exception, self.retry_on)):
            return None
        return self.get_delay(attempt)


def policy_of(retries: int, policy: RetryPolicy | None) -> RetryPolicy | None:
    """Return the policy that a runner's `retries=` and `retry_policy=` mean; `retries=n` waits not at all.

    Raises ValueError when both are given or `retries` is negative, TypeError when it is no int.
    """
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise TypeError(f"retries must be a whole number, not {retries!r}")
    if retries < 0:
        raise ValueError(f"retries must be zero or more, not {retries}")
    if policy is None:
        return RetryPolicy(max_attempts=retries + 1, initial_delay=0.0) if retries else None
    if retries:
        raise ValueError("give either retries or retry_policy, not both")
    return policy


def with_retry(
    max_attempts: int = 3,
    initial_delay: float = 1.0,
    max_delay: float = 60.0,
    exponential_base: float = 2.0,
    retry_on: tuple[type[BaseException], ...] = (Exception,),
    *,
    jitter: bool = False,
) -> Callable[[_F], _F]:
    """Decorate a function, method or coroutine function so that it is called again when it raises.

    The parameters are those of `RetryPolicy`. What the last attempt raised is raised unchanged, with a
    note (PEP 678) that tells the number of attempts. A plain function sleeps between attempts in the
    thread that called it, a coroutine function in its event loop. What is no Exception (Ctrl-C, an exit, a
    cancelled coroutine) is never retried, whatever `retry_on` says.

    Raises TypeError for a generator function: its body runs only while somebody iterates over it.

    >>> answers = iter([ConnectionError("busy"), "fine"])
    >>> @with_retry(max_attempts=5, initial_delay=0, retry_on=(ConnectionError,))
    ... def call():
    ...     answer = next(answers)
    ...     if isinstance(answer, Exception):
    ...         raise answer
    ...     return answer
    >>> call()
    'fine'
    """
    if callable(max_attempts):
        raise TypeError("with_retry needs parentheses: write @with_retry()")
    policy = RetryPolicy(max_attempts, initial_delay, max_delay, exponential_base, retry_on, jitter=jitter)

    def decorate(function: _F) -> _F:
        if not callable(function):
            raise TypeError(f"with_retry wraps a function, not {function!r}; put it below @classmethod or @property")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"with_retry cannot wrap the generator function {function.__qualname__}: its body runs only while "
                "somebody iterates over it. Wrap the function that does the iterating"
            )
        wrap = _retried_coroutine if inspect.iscoroutinefunction(function) else _retried
        return cast(_F, wrap(function, policy))

    return decorate


def _retried(function: Any, policy: RetryPolicy) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        attempt = 1
        while True:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                delay = _delay_or_note(policy, attempt, error)
                if delay is None or not rest(delay):
                    raise
            attempt += 1

    return call


def _retried_coroutine(function: Any, policy: RetryPolicy) -> Any:
    import asyncio  # late: most programs that retry have no event loop

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        attempt = 1
        while True:
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                delay = _delay_or_note(policy, attempt, error)
                if delay is None:
                    raise
            await asyncio.sleep(delay)
            attempt += 1

    return call


def _delay_or_note(policy: RetryPolicy, attempt: int, error: BaseException) -> float | None:
    """Return the seconds to wait, or None after noting on the error how many attempts there were."""
    delay = policy.delay_after(attempt, error)
    if delay is None:
        with contextlib.suppress(Exception):  # it may refuse, as a frozen dataclass does
            error.add_note(f"with_retry gave up after {attempt} attempt{'' if attempt == 1 else 's'}")
    return delay
