"""What one task may use: seconds, bytes, and the grace it gets between being asked to stop and killed.

`parse_seconds` and `parse_bytes` read what people type ("1h30m", "2G"); everything else takes numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

GRACE_SECONDS = 1.0

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+|\d+(?:\.\d+)?", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


def parse_seconds(text: str) -> float:
    """Read a duration: `90`, `1.5s`, `250ms`, `1h30m`.

    Raises ValueError with the allowed forms.

    >>> parse_seconds("1h30m")
    5400.0
    """
    stripped = text.strip().lower()
    if len(stripped) < 100 and _DURATION.fullmatch(stripped):
        return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(stripped))
    raise ValueError(f"{text!r} is not a duration: write seconds (90, 1.5) or units (250ms, 90s, 1h30m, 2d)")


def parse_bytes(text: str) -> int:
    """Read an amount of memory: `1048576`, `512M`, `2G`, `1.5GiB`; the units are powers of 1024.

    Raises ValueError with the allowed forms.

    >>> parse_bytes("2G") == 2 * 1024**3
    True
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory: write bytes (1048576) or units (512M, 2G)")
    size = float(match[1]) * 1024 ** _BYTES[match[2].upper()]
    if size > 1 << 62:
        raise ValueError(f"{text[:40]!r} is more memory than there can be")
    return int(size)


def check_seconds(value: object, what: str, *, zero: bool = False) -> float | None:
    """Return `value` as seconds, or None for no limit (None or infinity).

    Raises TypeError for what is not a number (booleans and text included), ValueError for NaN, a
    negative number, and zero unless `zero` allows it.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be a number of seconds or None, not {value!r}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if seconds == math.inf:
        return None
    if not (seconds > 0 or (zero and seconds == 0)):
        raise ValueError(f"{what} must be {'zero or more' if zero else 'more than zero'} seconds, not {value!r}")
    return seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may use.

    Parameters: `seconds` of wall-clock time from the task's start (None: no limit); `memory`, resident
    bytes of its whole process tree, as a number or text such as "2G" (None: no limit); `grace`, seconds
    between the interrupt and the kill, 0 allowed.

    Raises TypeError or ValueError at once for anything else: 0, negative, NaN, booleans.

    >>> Limits(seconds=90, memory="2G").memory
    2147483648
    """

    seconds: float | None = None
    memory: int | None = None
    grace: float = GRACE_SECONDS

    def __init__(
        self,
        seconds: float | None = None,
        memory: int | str | None = None,
        grace: float | None = GRACE_SECONDS,
    ) -> None:
        size = parse_bytes(memory) if isinstance(memory, str) else memory
        if size is not None:
            if isinstance(size, bool) or not isinstance(size, int):
                raise TypeError(f"memory must be a number of bytes, text such as '2G', or None, not {memory!r}")
            if size <= 0:
                raise ValueError(f"memory must be more than zero bytes, not {memory!r}")
        patience = check_seconds(grace, "grace", zero=True)
        object.__setattr__(self, "seconds", check_seconds(seconds, "timeout"))
        object.__setattr__(self, "memory", size)
        object.__setattr__(self, "grace", GRACE_SECONDS if patience is None else patience)


NO_LIMITS = Limits()


def tighter(one: Limits, other: Limits) -> Limits:
    """Return limits that keep to both: the smaller of each kind, and the grace period of whichever is not the default.

    >>> tighter(Limits(seconds=5), Limits(seconds=9, memory=1000, grace=3))
    Limits(seconds=5.0, memory=1000, grace=3.0)
    """
    if one is NO_LIMITS or other is NO_LIMITS:
        return other if one is NO_LIMITS else one
    seconds = [s for s in (one.seconds, other.seconds) if s is not None]
    memory = [m for m in (one.memory, other.memory) if m is not None]
    grace = one.grace if other.grace == GRACE_SECONDS else other.grace
    return Limits(min(seconds, default=None), min(memory, default=None), grace)


def tolerance(fail_fast: bool | int | str) -> float | None:
    """Return how many failures `fail_fast` bears: none (True), n - 1 (n), or a share ("10%").

    Raises ValueError or TypeError for anything else.
    """
    if isinstance(fail_fast, bool):
        return 0 if fail_fast else None
    if isinstance(fail_fast, int):
        if fail_fast < 1:
            raise ValueError(f"fail_fast must be at least 1 failure, not {fail_fast}")
        return fail_fast - 1
    if isinstance(fail_fast, str) and fail_fast.endswith("%") and fail_fast[:-1].isdecimal():
        return min(int(fail_fast[:-1]), 99) / 100
    raise TypeError(f"fail_fast must be True, a number of failures or a share like '10%', not {fail_fast!r}")


def check_env(env: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return variables for a program's environment. Raises TypeError for one that is no text, naming it."""
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"the variable {name!r} must be text, not {value!r}")
    return env


def check_output_limit(size: object) -> int:
    """Return a number of bytes to keep of each stream. Raises TypeError or ValueError for what makes no sense."""
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"output_limit must be a number of bytes, not {size!r}")
    if size < 1:
        raise ValueError(f"output_limit must be at least 1 byte, not {size}")
    return size
