"""Recurrence: when a job that recurs is due next.

A rule is a grid of moments, in seconds since the epoch. Of the moments that were missed (the machine slept, the run
took longer, the clock was set forward) only the newest is made up for: no burst, no gap. A clock set back repeats none.

Pure: no clock. The scheduler says what time it is, and keeps a rule as text in its store.
"""

from __future__ import annotations

import difflib
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeAlias

from cronsim import CronSim, CronSimError

from orchestrator.limits import check_seconds

SHORTEST_SECONDS = 0.001
"""What `Every` may be at least."""

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Those of crontab(5); @reboot is no time."""


@dataclass(frozen=True, slots=True)
class Every:
    """Be due at once, and then every so many seconds, however long each run takes.

    Raises TypeError or ValueError for what is no number of seconds, is not finite or less than 0.001.

    >>> rule = Every(60)
    >>> rule.first(now=1000.0), rule.next(1000.0, now=1010.0), rule.next(1000.0, now=1190.0)
    (1000.0, 1060.0, 1180.0)
    """

    seconds: float

    def __post_init__(self) -> None:
        seconds = check_seconds(self.seconds, "every")
        if seconds is None:
            raise ValueError(f"every must be a finite number of seconds, not {self.seconds!r}")
        if seconds < SHORTEST_SECONDS:
            raise ValueError(f"every must be at least {SHORTEST_SECONDS} seconds, not {self.seconds!r}")
        object.__setattr__(self, "seconds", seconds)

    def first(self, now: float) -> float:
        """Return when the first occurrence is due: at once."""
        return now

    def next(self, due: float, now: float) -> float:
        """Return when the one after `due` is due, seen at `now`: the newest of those missed, or else the next."""
        return due + max(1.0, (now - due) // self.seconds) * self.seconds

    @property
    def text(self) -> str:
        """The rule as `parse_rule` reads it."""
        return f"every {self.seconds!r}"


@dataclass(frozen=True, slots=True)
class Cron:
    """Be due when the clock on the wall fits an expression of five fields, or a nickname such as @daily.

    The fields are those of crontab(5): minute, hour, day of month, month, day of week. `timezone` is an IANA name such
    as "Europe/Berlin"; None is the machine's own. Where summer time begins or ends it is as with Debian's cron(8):

    - An expression whose minute and hour both start otherwise than with `*` names times of day. One that the clock
      skips is due when the skipped hour is over (at 03:00 for 02:30), and one that comes twice is due the first time.
    - Any other one goes by the clock as it is: nothing is due in an hour that is skipped, and one that comes twice
      counts twice, so that `*/10 * * * *` is due every ten minutes throughout.

    Raises TypeError for what is not text, and ValueError for an expression that is none or never fits, and for an
    unknown time zone.

    >>> Cron("30 2 * * *", "Europe/Berlin").first(now=0.0)
    5400.0
    """

    expression: str
    timezone: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str):
            raise TypeError(f"a cron expression must be text, not {self.expression!r}")
        object.__setattr__(self, "expression", " ".join(self.expression.split()))
        _check_expression(self.expression)
        if self.timezone is not None:
            _check_timezone(self.timezone)

    def first(self, now: float) -> float:
        """Return when the first occurrence is due: the first one later than `now`."""
        return self._after(now)

    def next(self, due: float, now: float) -> float:
        """Return when the one after `due` is due, seen at `now`: the newest of those missed, or else the next.

        It takes some thirty looks at the calendar after years of `* * * * *`.
        """
        newest = self._after(due)
        # Bisected, not looked for backwards: cronsim's reverse iterator passes over what was due in an hour that comes
        # twice when it starts in the second one. No two moments are less than a minute apart.
        late = now
        while late - newest >= 60:
            middle = newest + (late - newest) / 2
            found = self._after(middle)
            if found <= now:
                newest = found
            else:
                late = middle
        return newest

    @property
    def text(self) -> str:
        """The rule as `parse_rule` reads it."""
        return f"cron {self.expression}" + (f" in {self.timezone}" if self.timezone is not None else "")

    def _after(self, moment: float) -> float:
        zone = _LOCAL if self.timezone is None else zoneinfo.ZoneInfo(self.timezone)
        fields = _NICKNAMES.get(self.expression, self.expression)
        start = datetime.fromtimestamp(moment // 1, zone)  # a fraction of a second would be rounded, up as well
        dues = (due.timestamp() for due in CronSim(fields, start))
        # In the second of two equal hours, what was due in the first comes up again.
        return next(due for due in dues if due > moment)


Rule: TypeAlias = Every | Cron


def parse_rule(text: str) -> Rule:
    """Return the rule that has this `text`.

    Raises ValueError for any other text.

    >>> parse_rule("cron 0 3 * * MON-FRI in Europe/Berlin")
    Cron(expression='0 3 * * MON-FRI', timezone='Europe/Berlin')
    >>> parse_rule(Every(0.5).text)
    Every(seconds=0.5)
    """
    kind, _, rest = text.partition(" ")
    if kind == "every":
        return Every(float(rest))
    if kind == "cron":
        expression, _, timezone = rest.partition(" in ")
        return Cron(expression, timezone or None)
    raise ValueError(f"{text!r} is no rule: it would start with 'every' or 'cron'")


class _Local(tzinfo):
    """The machine's own time zone, which has no name that zoneinfo could be asked for: whatever TZ says just now."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return when.replace(tzinfo=None).astimezone().utcoffset() if when else None

    def dst(self, when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, when: datetime | None) -> str | None:
        return None

    def fromutc(self, when: datetime) -> datetime:
        return datetime.fromtimestamp(when.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


_LOCAL = _Local()


def _check_expression(expression: str) -> None:
    example = "write five fields (minute, hour, day of month, month, day of week), as in '30 2 * * MON-FRI'"
    fields = _NICKNAMES.get(expression, expression)
    if fields.startswith("@"):
        raise ValueError(f"cron expression {expression!r}: the nicknames are {', '.join(_NICKNAMES)}; or {example}")
    if (count := len(fields.split())) != 5:  # cronsim would take six, the first for seconds
        raise ValueError(f"cron expression {expression!r} has {count} field{'s' * (count != 1)}; {example}")
    try:
        calendar = CronSim(fields, datetime(2000, 1, 1))
    except (CronSimError, ValueError) as error:  # ValueError: a number of thousands of digits
        wrong = str(error).lower().replace("day-of-month", "day-of-month, or none of its months has such a day")
        raise ValueError(f"cron expression {expression!r}: {wrong}; {example}") from error
    if next(calendar, None) is None:  # it looks 50 years ahead, and a 29 February on a Monday takes 40 at most
        raise ValueError(f"cron expression {expression!r} never fits: no day is like that; {example}")


def _check_timezone(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a time zone must be a name such as 'Europe/Berlin', not {name!r}")
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # not found; no path of a zone; a folder such as "Europe"
        close = difflib.get_close_matches(name, sorted(zoneinfo.available_timezones()))
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "write one such as 'Europe/Berlin'"
        raise ValueError(f"{name!r} is no time zone that this machine knows; {hint}") from error
