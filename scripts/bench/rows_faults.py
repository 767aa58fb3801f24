"""Rows 5 and 6: what is left when tasks hang or die. The workers are warm; opening and closing is not counted."""

from __future__ import annotations

import collections
import functools
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import psutil
from contenders import CONTENDERS, MODULES, Open, mpire, ours, pebble, warm
from rows import OURS, Entry, Reading, Row, Scale, WrongResult
from tasks import numbers, square_or_die, square_or_hang

LIMIT_SECONDS = 1.0
HANG_TASKS, HANGING = 40, (5, 18, 31)
DIE_TASKS, DEADLY = 200, (30, 100, 170)


def _hang(open_limited: Open, scale: Scale) -> Reading:
    with tempfile.TemporaryDirectory() as folder:
        pids = os.path.join(folder, "pids")
        try:
            with open_limited() as run:
                warm(run)
                start = time.perf_counter()
                values = run([functools.partial(square_or_hang, i, HANGING, pids) for i in range(HANG_TASKS)])
                seconds = time.perf_counter() - start
        finally:
            left = _end_those_left(numbers(pids))
    return Reading(seconds, {"good results": _kept(values, HANGING), "grandchildren left": left})


def _die(open_contender: Open, scale: Scale) -> Reading:
    with tempfile.TemporaryDirectory() as folder:
        started = os.path.join(folder, "started")
        with open_contender() as run:
            warm(run)
            start = time.perf_counter()
            values = run([functools.partial(square_or_die, i, DEADLY, started) for i in range(DIE_TASKS)])
            seconds = time.perf_counter() - start
        runs = collections.Counter(numbers(started))
    twice = sum(times > 1 for times in runs.values())
    return Reading(seconds, {"good results": _kept(values, DEADLY), "run twice": twice})


def _kept(values: Sequence[Any], bad: tuple[int, ...]) -> int:
    """Count the good results; raise WrongResult for one that is neither right nor a failure."""
    kept = 0
    for index, value in enumerate(values):
        if isinstance(value, Exception):
            continue
        if value != index * index or index in bad:
            raise WrongResult(f"task {index} gave {value!r}")
        kept += 1
    return kept


def _end_those_left(pids: Sequence[int]) -> int:
    """Kill those of the noted processes that still run, and return how many they were."""
    left = 0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or process.name() != "sleep":
                continue
            process.kill()
        except psutil.NoSuchProcess:
            continue
        left += 1
    return left


def _limited(name: str, open_limited: Any) -> Entry:
    return Entry(name, functools.partial(_hang, functools.partial(open_limited, LIMIT_SECONDS)), MODULES[name])


ROWS = (
    Row(
        5,
        "40 tasks of which 3 hang, each with a child of its own; limit 1 s",
        "s",
        "≤ 2.8 s, 37 good, none left",
        [_limited(OURS, ours), _limited("pebble", pebble), _limited("mpire", mpire)],
        deadline_seconds=60.0,
    ),
    Row(
        6,
        "200 tasks of which 3 die: SIGSEGV, os._exit, SIGKILL",
        "s",
        "≤ 0.7 s, 197 good, none twice",
        [
            Entry(name, functools.partial(_die, CONTENDERS[name][0]), MODULES[name])
            for name in (OURS, "loky", "ProcessPoolExecutor", "pebble", "dask")
        ],
        deadline_seconds=60.0,
    ),
)
