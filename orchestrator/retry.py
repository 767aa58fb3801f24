"""When a failed attempt is tried again, and after how long: the one place that decides a delay.

`RetryPolicy` answers; the runners act on the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.limits import check_seconds
from orchestrator.outcome import Ending, Outcome

TRANSIENT = frozenset({Ending.RAISED, Ending.TIMED_OUT, Ending.CRASHED, Ending.OUT_OF_MEMORY})
"""The endings another attempt can change."""


@dataclass
class RetryPolicy:
    """Say how often, how soon and after what a task is tried again.

    Parameters: `max_attempts` counts the first one; attempt 1 is followed by `initial_delay` seconds,
    each later one by `exponential_base` times the delay before, up to `max_delay` seconds; `retry_on`
    are the exception types that count, where the task raised; `endings` are the ways of failing that count.

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

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int):
            raise TypeError(f"max_attempts must be a whole number, not {self.max_attempts!r}")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {self.max_attempts}")
        check_seconds(self.initial_delay, "initial_delay", zero=True)
        if check_seconds(self.max_delay, "max_delay", zero=True) is None:
            raise ValueError(f"max_delay must be a finite number of seconds, not {self.max_delay!r}")
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in self.retry_on):
            raise TypeError(f"retry_on must be a tuple of exception types, not {self.retry_on!r}")
        if not self.exponential_base >= 1:
            raise ValueError(f"exponential_base must be at least 1, not {self.exponential_base!r}")

    def get_delay(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number `attempt` (the first is 1)."""
        if attempt < 1:
            raise ValueError(f"attempt counts from 1, not {attempt}")
        if self.initial_delay == 0:
            return 0.0
        try:
            delay = self.initial_delay * self.exponential_base ** (attempt - 1)
        except OverflowError:
            return self.max_delay
        return min(delay, self.max_delay)

    def decide(self, outcome: Outcome, attempt: int) -> float | None:
        """Return the seconds to wait before the next attempt, or None when this outcome is final."""
        if attempt >= self.max_attempts or outcome.ending not in self.endings:
            return None
        exception = outcome.exception if outcome.ending is Ending.RAISED else None
        if exception is not None and not isinstance(exception, self.retry_on):
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
