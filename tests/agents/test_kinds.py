"""What an agent may be, where it runs, and what is known of each way to end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Ending, RetryPolicy, StepError, TaskResult, shell
from orchestrator.agents import AgentOrchestrator
from tests import crimes
from tests.agents.acts import Editor, Unsendable, Writer, asked, shout, where, where_in_loop
from tests.waiting import lines_of, wait_gone

CONCURRENCIES = pytest.mark.parametrize("concurrency", [None, 1])


@pytest.mark.parametrize(
    ("agent", "answer"),
    [
        (shout, "HELLO {TASK}"),
        (str.upper, "HELLO {TASK}"),
        (functools.partial(where), ("hello {task}", os.getpid())),
        (where_in_loop, ("hello {task}", os.getpid())),
        (lambda task: where_in_loop(task), ("hello {task}", os.getpid())),
        (Writer("prose"), "prose: hello {task}"),
        (Editor("verse"), "edited verse: hello {task}"),
        (Writer("prose").run, "prose: hello {task}"),
    ],
)
@CONCURRENCIES
def test_callables_coroutine_functions_and_objects_get_the_task_as_it_is(
    agent: Any, answer: Any, concurrency: int | None
) -> None:
    agents = AgentOrchestrator()
    agents.register("a", agent, concurrency=concurrency)
    result = asked(agents, "a", "hello {task}")
    assert (result.success, result.value, result.name, result.attempts) == (True, answer, "a", 1)


@pytest.mark.parametrize(
    ("agent", "terms"),
    [
        (where, {"timeout": 30}),
        (where, {"memory_limit": "1G"}),
        (where_in_loop, {"memory_limit": "1G"}),
    ],
)
@CONCURRENCIES
def test_an_agent_that_only_a_process_can_hold_to_its_limits_runs_in_one(
    agent: Any, terms: dict[str, Any], concurrency: int | None
) -> None:
    with AgentOrchestrator() as agents:
        agents.register("a", agent, concurrency=concurrency, **terms)
        task, pid = asked(agents, "a", "{result of x}").unwrap()
        assert task == "{result of x}"
        assert pid != os.getpid()


def test_a_coroutine_with_a_timeout_stays_in_the_loop() -> None:
    agents = AgentOrchestrator()
    agents.register("a", where_in_loop, timeout=30)
    assert asked(agents, "a", "x").value == ("x", os.getpid())


def test_what_an_agent_prints_in_a_worker_is_in_its_result() -> None:
    agents = AgentOrchestrator()
    agents.register("a", shout, timeout=30)
    result = asked(agents, "a", "ünï ☃")
    assert (result.value, result.output) == ("ÜNÏ ☃", "shouting ünï ☃\n")


def test_what_shell_makes_is_an_agent_that_reads_its_task_too() -> None:
    agents = AgentOrchestrator()
    agents.register("a", shell('printf "%s|" "$1"; cat'))
    assert asked(agents, "a", "-n $(id)").output == "-n $(id)|-n $(id)"


# Ends


@CONCURRENCIES
def test_what_an_agent_raises_is_a_failure_with_its_traceback_and_the_exception(concurrency: int | None) -> None:
    agents = AgentOrchestrator()
    agents.register("a", lambda task: crimes.raise_it(ValueError(task)), concurrency=concurrency)
    result = asked(agents, "a", "too hard")
    assert (result.success, result.ending, result.value) == (False, Ending.RAISED, None)
    assert isinstance(result.exception, ValueError)
    assert "in raise_it" in str(result.error)
    assert str(result.error).endswith("ValueError: too hard")
    with pytest.raises(ValueError, match="too hard"):
        result.unwrap()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()])
@CONCURRENCIES
def test_an_agent_that_raises_what_would_end_a_program_ends_only_its_task(
    error: BaseException, concurrency: int | None
) -> None:
    agents = AgentOrchestrator()
    agents.register("a", lambda _: crimes.raise_it(error), concurrency=concurrency)
    result = asked(agents, "a", "x")
    assert (result.success, result.ending) == (False, Ending.RAISED)


@CONCURRENCIES
def test_a_coroutine_is_cancelled_at_its_timeout(concurrency: int | None) -> None:
    heard: list[str] = []

    async def sleep(task: str) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            heard.append(task)

    agents = AgentOrchestrator()
    agents.register("a", sleep, timeout=0.1, concurrency=concurrency)
    result = asked(agents, "a", "x")
    assert (result.ending, result.return_code, heard) == (Ending.TIMED_OUT, 124, ["x"])
    assert "its time limit passed (0.1 s)" in str(result.error)
    assert 0.1 <= result.execution_time < 30


@CONCURRENCIES
def test_a_coroutine_that_refuses_to_be_cancelled_is_given_up(concurrency: int | None) -> None:
    async def main() -> tuple[Any, bool]:
        enough = asyncio.Event()

        async def stubborn(_: str) -> None:
            while not enough.is_set():
                try:
                    await enough.wait()
                except asyncio.CancelledError:
                    continue

        agents = AgentOrchestrator()
        agents.register("a", stubborn, timeout=0.1, grace=0.1, concurrency=concurrency)
        result = await agents.run_agent_task("a", "x")
        enough.set()
        await asyncio.sleep(0)
        return result, "may still run" in " ".join(result.notes)

    result, is_told = asyncio.run(main())
    assert (result.ending, is_told) == (Ending.TIMED_OUT, True)


@CONCURRENCIES
def test_a_coroutine_that_was_given_up_is_not_run_a_second_time_beside_itself(concurrency: int | None) -> None:
    async def main() -> tuple[TaskResult, TaskResult, list[str]]:
        enough, begun = asyncio.Event(), []

        async def stubborn(task: str) -> None:
            begun.append(task)
            while task == "stay" and not enough.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await enough.wait()
            await asyncio.sleep(600)

        agents = AgentOrchestrator()
        agents.register("a", stubborn, timeout=0.1, grace=0.1, retries=2, concurrency=concurrency)
        results = await agents.run_agent_task("a", "stay"), await agents.run_agent_task("a", "go")
        enough.set()
        return *results, begun

    stubborn, docile, begun = asyncio.run(main())
    assert begun == ["stay", "go", "go", "go"]
    assert (stubborn.ending, stubborn.attempts) == (Ending.TIMED_OUT, 1)
    assert (docile.ending, docile.attempts) == (Ending.TIMED_OUT, 3)


@pytest.mark.parametrize(
    ("crime", "ending"),
    [
        (lambda _: crimes.sleep_for_ever(), Ending.TIMED_OUT),
        (lambda _: crimes.grow_for_ever(), Ending.OUT_OF_MEMORY),
        (lambda _: crimes.die_by(signal.SIGKILL), Ending.CRASHED),
        (lambda _: crimes.exit_at_once(0), Ending.CRASHED),
        (lambda _: crimes.raise_frozen(), Ending.RAISED),
        (lambda _: crimes.unpicklable_result(), Ending.RAISED),
    ],
)
@CONCURRENCIES
def test_every_ending_of_an_agent_in_a_worker_is_told(
    crime: Callable[[str], Any], ending: Ending, concurrency: int | None
) -> None:
    with AgentOrchestrator() as agents:
        timeout = 1 if ending is Ending.TIMED_OUT else 60
        agents.register("a", crime, timeout=timeout, memory_limit="300M", concurrency=concurrency)
        agents.register("next", where, timeout=60)
        result = asked(agents, "a", "x")
        assert (result.success, result.ending) == (False, ending), result.error
        assert result.error
        assert asked(agents, "next", "x").success


def test_an_agent_that_cannot_be_sent_to_a_worker_fails_with_the_advice() -> None:
    agents = AgentOrchestrator()
    agents.register("a", Unsendable(), timeout=30)
    agents.register("here", Unsendable())
    result = asked(agents, "a", "x")
    assert result.ending is Ending.UNSENDABLE
    assert "lock" in str(result.error)
    assert "without limits" in str(result.error)
    assert asked(agents, "here", "x").value == "x"


def test_a_timeout_takes_the_agents_children_too(tmp_path: Path) -> None:
    announcement = str(tmp_path / "pids")
    agents = AgentOrchestrator()
    agents.register("a", lambda path: crimes.start_a_family_and(path, crimes.sleep_for_ever), timeout=3)
    assert asked(agents, "a", announcement).ending is Ending.TIMED_OUT
    pids = [int(pid) for line in lines_of(tmp_path / "pids") for pid in line.split()]
    assert pids
    for pid in pids:
        wait_gone(pid)


@CONCURRENCIES
def test_retries_are_further_attempts_whose_failures_are_kept(concurrency: int | None) -> None:
    calls: list[str] = []

    def third_time(task: str) -> int:
        calls.append(task)
        if len(calls) < 3:
            raise ConnectionError(f"busy {len(calls)}")
        return len(calls)

    agents = AgentOrchestrator()
    agents.register("a", third_time, retries=2, concurrency=concurrency)
    result = asked(agents, "a", "x")
    assert (result.value, result.attempts) == (3, 3)
    assert [str(earlier.exception) for earlier in result.history] == ["busy 1", "busy 2"]


@CONCURRENCIES
def test_a_retry_policy_looks_at_what_was_raised(concurrency: int | None) -> None:
    policy = RetryPolicy(max_attempts=3, initial_delay=0, retry_on=(ConnectionError,))
    agents = AgentOrchestrator()
    agents.register("a", lambda _: crimes.raise_it(ConnectionError()), retry_policy=policy, concurrency=concurrency)
    agents.register("b", lambda _: crimes.raise_it(KeyError()), retry_policy=policy, concurrency=concurrency)
    assert (asked(agents, "a", "x").attempts, asked(agents, "b", "x").attempts) == (3, 1)


@CONCURRENCIES
def test_an_agent_that_returns_a_failed_result_of_a_command_has_failed(concurrency: int | None) -> None:
    agents = AgentOrchestrator()
    agents.register("a", lambda task: shell(["sh", "-c", "echo no >&2; exit $1", "sh"])(task), concurrency=concurrency)
    result = asked(agents, "a", "7")
    assert (result.ending, result.return_code, result.stderr) == (Ending.RAISED, 7, "no\n")
    assert isinstance(result.exception, StepError)


# Cancelled


@CONCURRENCIES
def test_a_run_that_is_cancelled_stops_its_coroutine(concurrency: int | None) -> None:
    async def main() -> list[str]:
        begun = asyncio.Event()
        heard = []

        async def sleep(task: str) -> None:
            begun.set()
            try:
                await asyncio.sleep(600)
            finally:
                heard.append(task)

        agents = AgentOrchestrator()
        agents.register("a", sleep, concurrency=concurrency)
        run = asyncio.ensure_future(agents.run_agent_task("a", "x"))
        await begun.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return heard

    assert asyncio.run(main()) == ["x"]


@CONCURRENCIES
def test_a_run_that_is_cancelled_kills_what_its_thread_has_started(tmp_path: Path, concurrency: int | None) -> None:
    async def main() -> None:
        begun = threading.Event()
        ended = []

        def work(task: str) -> None:
            begun.set()
            ended.append(shell(["sleep", task])())

        agents = AgentOrchestrator()
        agents.register("a", work, concurrency=concurrency)
        run = asyncio.ensure_future(agents.run_agent_task("a", "600"))
        await asyncio.to_thread(begun.wait, 10)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert [result.ending for result in ended] in ([Ending.CANCELLED], [Ending.SKIPPED])

    asyncio.run(main())
