"""The time of day, for what is due at one and for telling when something was. Durations are not measured with it."""

from __future__ import annotations

import time


def wall() -> float:
    """Return the seconds since the epoch. It jumps when somebody sets the clock."""
    return time.time()
