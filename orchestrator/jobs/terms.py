"""Terms: how a job is to be run, and when. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.dag.model import Where
from orchestrator.jobs.recurrence import Cron, Every, Rule
from orchestrator.limits import GRACE_SECONDS, check_seconds
from orchestrator.retries import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What `AsyncScheduler.options` takes; it says what each of these means.

    Raises TypeError or ValueError at once for what makes no sense; limits are checked with the function they are for.
    """

    name: str | None = None
    priority: int = 0
    delay: float | None = None
    at: float | datetime | None = None
    every: float | None = None
    cron: str | None = None
    timezone: str | None = None
    timeout: float | None = None
    memory_limit: int | str | None = None
    grace: float = GRACE_SECONDS
    retry_policy: RetryPolicy | None = None
    executor: Where | None = None
    requeue: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.priority, bool) or not isinstance(self.priority, int) or abs(self.priority) >= 1 << 31:
            raise TypeError(f"priority must be a whole number of less than 32 bits, not {self.priority!r}")
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise TypeError(f"name must be text that is not empty, not {self.name!r}")
        if self.delay is not None and check_seconds(self.delay, "delay", zero=True) is None:
            raise ValueError(f"delay must be a finite number of seconds, not {self.delay!r}")
        if self.at is not None:
            if isinstance(self.at, bool) or not isinstance(self.at, (int, float, datetime)):
                raise TypeError(f"at must be a datetime or seconds since the epoch, not {self.at!r}")
            if not abs(self._moment()) < 1e12:  # NaN too
                raise ValueError(f"at must be a moment in time, not {self.at!r}")
        given = [what for what in ("delay", "at", "cron") if getattr(self, what) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}: each says when the job starts")
        if self.cron is not None and self.every is not None:
            raise ValueError("give either every or cron, not both")
        if self.timezone is not None and self.cron is None:
            raise ValueError("timezone is for cron; an `at` with another time zone is a datetime that has one")
        self.rule()

    def rule(self) -> Rule | None:
        """Return how it recurs, if it does. Raises ValueError for an expression or interval that makes no sense."""
        if self.cron is not None:
            return Cron(self.cron, self.timezone)
        return None if self.every is None else Every(self.every)

    def due(self, now: float) -> float | None:
        """Return when it is first due, in seconds since the epoch, asked at `now`; None for at once."""
        if self.at is not None:
            return self._moment()
        if self.delay is not None:
            return now + self.delay
        rule = self.rule()
        return None if rule is None else rule.first(now)

    @property
    def by_wall_clock(self) -> bool:
        """Whether it is due at a time of day, which moves when the clock is set; else after a time."""
        return self.at is not None or self.cron is not None

    def _moment(self) -> float:
        assert self.at is not None
        return self.at.timestamp() if isinstance(self.at, datetime) else float(self.at)
