"""Compositions of retry, timeout, condition and the actions they are put around, in either order."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    Ending,
    ExecutionResult,
    OrchestratorTimeoutError,
    StepError,
    condition,
    python_func,
    retry,
    shell,
    timeout,
)
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.surface.test_thin_actions import again, failing_times
from tests.waiting import lines_of, wait_gone


def hangs_at_first(log: Path) -> dict[str, Callable[..., Any]]:
    """Return one of each kind that hangs the first time it is called, and then says that it is fine.

    Each writes its pid into the log first.
    """

    def act() -> str:
        if crimes.write_line(str(log), str(os.getpid())) == 1:
            time.sleep(600)
        return "fine"

    async def coroutine() -> str:
        if crimes.write_line(str(log), str(os.getpid())) == 1:
            await asyncio.sleep(600)
        return "fine"

    line = f"echo $$ >> {log}; [ $(wc -l < {log}) -gt 1 ] || exec sleep 600; echo fine"
    return {"function": act, "python_func": python_func(act), "coroutine": coroutine, "shell": shell(line)}


def called(action: Callable[..., Any]) -> Any:
    """Return what a callable or coroutine function returns; of a command, what it printed."""
    value = action()
    if asyncio.iscoroutine(value):
        value = asyncio.run(value)
    return value.output.strip() if isinstance(value, ExecutionResult) else value


KINDS = ["function", "python_func", "coroutine", "shell"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_hangs_is_stopped_and_tried_again(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    action = condition(lambda: True, again(timeout(hangs_at_first(log)[kind], 1.5), 5))
    assert called(action) == "fine"
    assert len(lines_of(log)) >= 2
    for pid in lines_of(log):
        if int(pid) != os.getpid() and kind == "shell":
            wait_gone(int(pid), 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_timeout_is_for_all_attempts_of_what_it_is_put_around(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    action = timeout(retry(condition(lambda: True, hangs_at_first(log)[kind])), 2.5)
    with Stopwatch() as watch, pytest.raises(OrchestratorTimeoutError):
        called(action)
    assert watch.seconds < 2.5 + 1 + 1 + 2 * NOISE_SECONDS
    for pid in map(int, lines_of(log)):
        if pid != os.getpid():
            wait_gone(pid, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rest_between_attempts_counts_for_the_timeout_around_it(kind: str) -> None:
    async def coroutine() -> None:
        crimes.raise_it(ValueError())

    fails: dict[str, Callable[..., Any]] = {
        "function": functools.partial(crimes.raise_it, ValueError()),
        "python_func": python_func(functools.partial(crimes.raise_it, ValueError())),
        "coroutine": coroutine,
        "shell": shell("exit 3"),
    }
    with pytest.raises(OrchestratorTimeoutError):
        called(timeout(retry(fails[kind], initial_delay=600, max_delay=600), 1.5))


def test_a_command_that_times_out_under_retry_carries_its_ending() -> None:
    with pytest.raises(StepError) as caught:
        again(timeout(shell("echo partial; exec sleep 600"), 1), 2)()
    result = caught.value.result
    assert (result.ending, result.return_code, result.output) == (Ending.TIMED_OUT, 124, "partial\n")
    assert len(result.history) == 1


def test_a_retry_in_a_retry_multiplies_the_attempts() -> None:
    log: list[int] = []
    with pytest.raises(ConnectionError):
        again(again(failing_times(99, log), 2), 3)()
    assert len(log) == 6
