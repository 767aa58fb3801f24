"""What makes one callable of another: python_func, timeout, retry, condition."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    ExecutionResult,
    OrchestratorTimeoutError,
    StepError,
    TaskFailedError,
    condition,
    python_func,
    retry,
    shell,
    timeout,
)
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import lines_of, wait_gone

again = functools.partial(retry, initial_delay=0)
"""`retry` that loses no time."""


async def a_coroutine(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def failing_times(failures: int, log: list[int]) -> Callable[[], str]:
    """Return a function that raises the first so many times and counts its calls in a list."""

    def act() -> str:
        log.append(1)
        if len(log) <= failures:
            raise ConnectionError(f"attempt {len(log)}")
        return "fine"

    return act


# python_func


def test_a_function_gets_its_arguments_and_returns_its_value_from_another_process() -> None:
    def act(*args: Any, **kwargs: Any) -> Any:
        return os.getpid(), args, kwargs

    pid, args, kwargs = python_func(act)(1, 2, func=3, timeout=4, self=5)
    assert pid != os.getpid()
    assert (args, kwargs) == ((1, 2), {"func": 3, "timeout": 4, "self": 5})
    assert python_func(a_coroutine)("v") == "v"
    assert python_func(act).__name__ == "act"


def test_what_a_function_prints_is_printed_here(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> None:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        raise ValueError("and then")

    with pytest.raises(ValueError, match="and then"):
        python_func(act)()
    assert capsys.readouterr() == ("to stdout\n", "to stderr\n")


def test_a_function_that_fails_raises_what_it_raised_or_what_became_of_it() -> None:
    with pytest.raises(KeyError, match="x"):
        python_func(crimes.raise_it)(KeyError("x"))
    with pytest.raises(TaskFailedError, match="crashed"):
        python_func(os._exit)(3)


def test_a_function_is_stopped_by_its_limits_with_all_it_has_started(tmp_path: Path) -> None:
    family = str(tmp_path / "family")
    with pytest.raises(OrchestratorTimeoutError):
        python_func(crimes.start_a_family_and, timeout=2, grace=0.2)(family, crimes.swallow_interrupts)
    for pid in lines_of(Path(family))[0].split():
        wait_gone(int(pid), 5)
    with pytest.raises(MemoryError):
        python_func(crimes.grow_for_ever, memory_limit="300M")()


@pytest.mark.parametrize("make", [python_func, lambda thing: timeout(thing, 1), retry])
@pytest.mark.parametrize("thing", [None, 3, "print"])
def test_what_cannot_be_called_is_refused(make: Callable[[Any], Any], thing: Any) -> None:
    with pytest.raises(TypeError, match=r"needs (a callable|something to call)"):
        make(thing)


# timeout


def test_a_callable_that_ends_in_time_is_as_without_a_timeout() -> None:
    assert timeout(crimes.echo, 60)("v") == "v"
    assert asyncio.run(timeout(a_coroutine, 60)("v")) == "v"
    assert timeout(shell("echo $1"), 60)("v").output == "v\n"
    with pytest.raises(KeyError):
        timeout(crimes.raise_it, 60)(KeyError())
    assert timeout(crimes.echo, None) is crimes.echo
    assert timeout(crimes.echo, math.inf) is crimes.echo


@pytest.mark.parametrize("seconds", [0, -1, math.nan, True, "3"])
def test_a_timeout_that_makes_no_sense_is_refused_at_once(seconds: Any) -> None:
    """T9"""
    with pytest.raises((TypeError, ValueError), match="timeout"):
        timeout(print, seconds)


def test_a_plain_callable_past_its_timeout_is_really_stopped(tmp_path: Path) -> None:
    announcement = tmp_path / "pid"
    with Stopwatch() as watch, pytest.raises(OrchestratorTimeoutError):
        timeout(crimes.swallow_interrupts, 1.5)(str(announcement))
    assert watch.seconds < 1.5 + 1 + 1 + 2 * NOISE_SECONDS
    wait_gone(int(announcement.read_text()), 5)


def test_a_coroutine_past_its_timeout_is_cancelled_and_cleans_up() -> None:
    cleaned = []

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(1)

    with pytest.raises(OrchestratorTimeoutError, match=r"its time limit passed \(0.1 s\)"):
        asyncio.run(timeout(hang, 0.1)())
    assert cleaned == [1]


def test_a_coroutines_own_timeout_error_and_its_callers_cancelling_pass_as_they_are() -> None:
    async def own() -> None:
        raise TimeoutError("its own")

    async def main() -> None:
        task = asyncio.create_task(timeout(asyncio.sleep, 3600)(3600))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with pytest.raises(TimeoutError, match="its own") as caught:
        asyncio.run(timeout(own, 60)())
    assert type(caught.value) is TimeoutError
    asyncio.run(main())


@pytest.mark.parametrize(("inner", "outer"), [(0.5, 60), (60, 0.5), (None, 0.5)])
def test_of_two_limits_the_tighter_one_holds(inner: float | None, outer: float) -> None:
    sleeps = timeout(shell("sleep 600", timeout=inner, memory_limit="1G"), outer)
    assert "(0.5 s)" in sleeps().error
    with pytest.raises(OrchestratorTimeoutError, match=r"\(0.5 s\)"):
        timeout(python_func(time.sleep, timeout=inner), outer)(600)
    assert sleeps.limits.memory == 1 << 30


def test_a_timeout_leaves_the_callable_that_it_was_made_of_alone() -> None:
    original = shell("true")
    timeout(original, 1)
    assert original.limits.seconds is None


# retry


def test_a_callable_is_called_until_it_succeeds_and_no_more_often() -> None:
    log: list[int] = []
    assert again(failing_times(2, log), 5)() == "fine"
    assert len(log) == 3


def test_the_last_exception_is_raised_unchanged_after_the_last_attempt() -> None:
    log: list[int] = []
    with pytest.raises(ConnectionError, match="attempt 3") as caught:
        again(failing_times(9, log))()
    assert len(log) == 3
    assert caught.value.__notes__ == ["with_retry gave up after 3 attempts"]


def test_only_what_is_named_is_tried_again_and_ctrl_c_never() -> None:
    calls: list[int] = []
    with pytest.raises(ConnectionError, match="attempt 1"):
        again(failing_times(9, calls), retry_on=(KeyError,))()

    def interrupted() -> None:
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(interrupted)()
    assert len(calls) == 2


def test_a_command_that_fails_is_run_again_and_the_last_result_is_in_the_error(tmp_path: Path) -> None:
    counts = shell(f"echo run >> {tmp_path}/log; wc -l < {tmp_path}/log; exit 5")
    with pytest.raises(StepError, match=r"ended with code 5 \(raised\)") as caught:
        again(counts)()
    last = caught.value.result
    assert isinstance(last, ExecutionResult)
    assert (last.return_code, last.attempts, last.output) == (5, 3, "3\n")
    assert [earlier.output for earlier in last.history] == ["1\n", "2\n"]
    assert len(lines_of(tmp_path / "log")) == 3


def test_a_command_that_succeeds_at_last_tells_of_its_failures(tmp_path: Path) -> None:
    flaky = again(shell(f"echo run >> {tmp_path}/log; [ $(wc -l < {tmp_path}/log) -ge $1 ]"), 4)
    result = flaky(3)
    assert (result.success, result.attempts, [r.return_code for r in result.history]) == (True, 3, [1, 1])
    once = flaky(1)
    assert (once.attempts, once.history) == (1, ())


def test_a_coroutine_function_is_awaited_again() -> None:
    log: list[int] = []
    act = failing_times(1, log)

    async def flaky() -> str:
        return act()

    async def fails() -> ExecutionResult:
        log.append(1)
        return await asyncio.to_thread(shell("exit 5"))

    assert asyncio.run(again(flaky)()) == "fine"
    with pytest.raises(StepError) as caught:
        asyncio.run(again(fails, 2)())
    assert (len(log), caught.value.result.attempts) == (4, 2)


def test_between_attempts_there_are_rests_that_grow() -> None:
    with Stopwatch() as watch, pytest.raises(ConnectionError):
        retry(failing_times(9, []), initial_delay=0.1, exponential_base=3)()
    assert 0.4 <= watch.seconds < 0.4 + NOISE_SECONDS


@pytest.mark.parametrize("attempts", [0, -1, True, 2.5, "3", None])
def test_a_number_of_attempts_that_makes_no_sense_is_refused_at_once(attempts: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_attempts"):
        retry(print, attempts)


# condition


def test_the_arguments_go_to_the_predicate_and_if_it_says_yes_to_the_action() -> None:
    seen: list[Any] = []

    def predicate(*args: Any, **kwargs: Any) -> bool:
        seen.append((args, kwargs))
        return bool(args[0])

    act = condition(predicate, lambda *args, **kwargs: (args, kwargs))
    assert act(1, key=2) == ((1,), {"key": 2})
    assert act(0, key=2) is None
    assert seen == [((1,), {"key": 2}), ((0,), {"key": 2})]


def test_a_predicate_that_says_no_keeps_every_kind_of_action_from_running(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    async def touch() -> str:
        marker.touch()
        return "ran"

    actions: list[Callable[..., Any]] = [shell(["touch", str(marker)]), python_func(marker.touch), marker.touch, touch]
    for action in actions:
        never, always = condition(lambda: False, action), condition(lambda: True, action)
        assert (asyncio.run(never()) if action is touch else never()) is None
        assert not marker.exists()
        if action is touch:
            assert asyncio.run(always()) == "ran"
        else:
            always()
        marker.unlink()


def test_a_predicate_that_raises_raises() -> None:
    with pytest.raises(KeyError, match="x"):
        condition(functools.partial(crimes.raise_it, KeyError("x")), print)()


def test_what_a_condition_cannot_be_made_of_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a callable as its predicate"):
        condition(True, print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs a callable as its action"):
        condition(bool, "print")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a coroutine function"):
        condition(a_coroutine, print)  # type: ignore[arg-type]


def test_a_failed_result_is_tried_again_whatever_exceptions_count() -> None:
    with pytest.raises(StepError) as caught:
        retry(shell("exit 3"), 2, initial_delay=0, retry_on=(OSError,))()
    assert caught.value.result.attempts == 2


def test_a_keyword_of_any_name_reaches_a_coroutine_in_a_worker() -> None:
    """P14"""

    async def told(**keywords: int) -> dict[str, int]:
        return keywords

    names = {"action": 1, "self": 2, "args": 3, "func": 4, "timeout": 5}
    assert python_func(told)(**names) == names
