"""What happened to one attempt at one task: a closed set of endings, and the figures.

Made by the pool (one per attempt), turned into the public result types by `results.py`. Values only.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

TIMED_OUT_CODE = 124
"""Exit code of a task stopped by its deadline: the convention of coreutils' `timeout`."""
CANCELLED_CODE = 130
"""Exit code of a cancelled task: 128 + SIGINT, as a shell reports Ctrl-C."""
KILLED_CODE = 137
"""Exit code of a task killed for its memory: 128 + SIGKILL, as the kernel's own killer leaves it."""


class Ending(Enum):
    """Every way a task can end. Exactly one holds for each task.

    OK: it returned, or exited with 0. RAISED: it raised, or exited with another code. TIMED_OUT,
    OUT_OF_MEMORY: stopped by that limit. CRASHED: its process died. CANCELLED: stopped on request.
    SKIPPED: never started, because an earlier task failed. UNSENDABLE: it could not be pickled.
    """

    OK = "ok"
    RAISED = "raised"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    UNSENDABLE = "unsendable"


class Sample(NamedTuple):
    """One look at a running task's process tree.

    `seconds` since the task's start, `rss` resident memory in bytes, `cpu` CPU seconds used so far.
    """

    seconds: float
    rss: int
    cpu: float


class Outcome(NamedTuple):
    """One attempt's ending, output and use of the machine.

    A NamedTuple, not a frozen dataclass: one is made for every task, and it is made four times as fast.
    """

    ending: Ending
    value: Any = None
    reason: str = ""
    """Why it is not OK: the traceback, or one sentence."""
    exception: BaseException | None = None
    return_code: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    """Bytes resident at most, over the task's whole process tree."""
    pid: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    samples: tuple[Sample, ...] = ()
    pickled: bytes | None = None
    """The value as the worker sent it, where its group keeps that to send it on to another worker."""
