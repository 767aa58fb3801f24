"""Programs as actions: run by the pool itself, within both limits, heard while they run; and what a thread starts."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    BatchRunner,
    Ending,
    Event,
    ExecutionResult,
    Finished,
    OrchestratorTimeoutError,
    Pool,
    Printed,
    Retrying,
    RetryPolicy,
    Started,
    StepError,
    Task,
    TaskFailedError,
    TaskResult,
    Workflow,
    pipe,
    python_func,
    retry,
    run_async,
    run_parallel,
    run_script,
    shell,
    timeout,
    with_retry,
)
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.faults.test_scripts import write
from tests.waiting import lines_of, wait_gone
from tests.workflow.steered import statuses


def test_a_program_is_a_process_with_no_worker_in_between_and_its_result_the_value() -> None:
    events: list[Event] = []
    flow = Workflow(
        tasks=[Task("a", shell('echo $$ $PPID "$1"; echo aside >&2'), args=["x y"])], on_event=events.append
    )
    result = flow.run()["a"]
    pid, parent, rest = result.output.split(" ", 2)
    assert (int(parent), rest, result.stderr) == (os.getpid(), "x y\n", "aside\n")
    assert result.pid == int(pid)
    assert isinstance(result.value, ExecutionResult)
    assert (result.value.output, result.value.success, result.return_code) == (result.output, True, 0)
    assert [type(event) for event in events] == [Started, Finished]
    assert isinstance(events[0], Started) and events[0].pid == int(pid)


def test_a_program_that_fails_fails_its_task_and_is_tried_again_as_its_policy_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    policy = RetryPolicy(max_attempts=3, initial_delay=0)
    flow = Workflow(
        tasks=[
            Task("flaky", shell(f"echo run >> {log}; [ $(wc -l < {log}) -eq 2 ]"), retry_policy=policy),
            Task("fails", shell("echo out; exit 7"), retry_policy=policy),
            Task("missing", shell(["no-such-command"])),
            Task("wrong", shell("true"), args=[object()]),
            Task("after", int, dependencies={"fails"}),
        ]
    )
    results = flow.run()
    assert (results["flaky"].success, results["flaky"].attempts) == (True, 2)
    fails = results["fails"]
    assert (fails.ending, fails.return_code, fails.attempts, fails.output) == (Ending.RAISED, 7, 3, "out\n")
    assert isinstance(fails.exception, StepError)
    assert results["missing"].return_code == 127
    assert "an argument of a program must be" in (results["wrong"].error or "")
    assert results["after"].ending is Ending.SKIPPED


def test_of_a_programs_limits_and_its_tasks_the_tighter_ones_hold(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    line = f"echo $$ >> {pids}; exec sleep 600"
    hungry = ["python3", "-c", "import time; held = bytearray(300 << 20); time.sleep(600)"]
    flow = Workflow(
        tasks=[
            Task("its own", shell(line, timeout=0.8), timeout=60),
            Task("the task's", shell(line, timeout=60), timeout=0.8),
            Task("put around", timeout(shell(line), 0.8)),
            Task("its memory", shell(hungry, memory_limit="100M"), memory_limit="10G", timeout=60),
            Task("the task's memory", shell(hungry), memory_limit="100M", timeout=60),
        ]
    )
    results = flow.run()
    assert all("(0.8 s)" in (results[name].error or "") for name in ("its own", "the task's", "put around"))
    assert {results[name].ending for name in ("its own", "the task's", "put around")} == {Ending.TIMED_OUT}
    assert {results[name].ending for name in ("its memory", "the task's memory")} == {Ending.OUT_OF_MEMORY}
    for pid in map(int, lines_of(pids)):
        wait_gone(pid, 5)


def test_each_program_has_its_own_environment_directory_and_input(tmp_path: Path) -> None:
    program = shell("pwd; echo $WORD; cat", env={"WORD": "word"}, cwd=tmp_path, stdin="own")
    other = shell("pwd; echo $WORD; cat", env={"WORD": "other"}, cwd="/")
    tasks = [Task("a", program), Task("b", other), Task("c", program, kwargs={"stdin": b"given"})]
    results = Workflow(tasks=tasks).run()
    assert [results[name].output for name in "abc"] == [
        f"{tmp_path}\nword\nown", "/\nother\n", f"{tmp_path}\nword\ngiven",
    ]  # fmt: skip


@pytest.mark.parametrize("whose", ["the workflow's", "each task's"])
def test_a_pool_that_is_given_runs_programs_and_functions_and_stays_open(whose: str) -> None:
    with Pool(2) as pool:
        own: dict[str, Any] = {"executor": pool} if whose == "each task's" else {}
        tasks = [
            Task("program", shell("echo $PPID"), **own),
            Task("function", os.getppid, **own),
            Task("limited", crimes.sleep_for_ever, timeout=0.5, grace=0.2, **own),
            Task("hangs", shell("exec sleep 600"), timeout=0.5, **own),
        ]
        results = Workflow(tasks=tasks, executor=None if own else pool).run()
        assert results["program"].output == f"{os.getpid()}\n"
        assert results["function"].value == os.getpid()
        assert results["limited"].ending is results["hangs"].ending is Ending.TIMED_OUT
        assert pool.submit(crimes.echo, "v").result(30) == "v"
    again = Workflow(tasks=[Task("program", shell("true"), executor=pool), Task("other", int)]).run()
    assert statuses(again) == {"program": "failed", "other": "completed"}


def test_an_executor_that_has_only_threads_leaves_programs_to_the_pool() -> None:
    with ThreadPoolExecutor(1) as threads:
        result = Workflow(tasks=[Task("a", shell("exec sleep 600", timeout=0.5))], executor=threads).run()["a"]
    assert result.ending is Ending.TIMED_OUT


# What it writes, while it runs


def test_what_a_program_writes_is_heard_while_it_runs(tmp_path: Path) -> None:
    """It waits for its listener to have heard."""
    heard = tmp_path / "heard"
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, Printed) and b"first" in event.data:
            heard.touch()

    line = f"echo first; while [ ! -e {heard} ]; do sleep 0.02; done; echo aside >&2; printf last"
    flow = Workflow(tasks=[Task("a", shell(line), timeout=60)], on_event=listen, live_output=True)
    result = flow.run()["a"]
    assert result.success
    kinds = [type(event) for event in events]
    assert (kinds[0], kinds[-1]) == (Started, Finished)
    assert set(kinds[1:-1]) == {Printed}
    printed = [event for event in events if isinstance(event, Printed)]
    assert b"".join(event.data for event in printed if event.stream == 1) == b"first\nlast" == result.output.encode()
    assert b"".join(event.data for event in printed if event.stream == 2) == b"aside\n"
    assert {(event.index, event.name) for event in printed} == {(0, "a")}


def test_only_a_workflow_with_live_output_tells_what_programs_write() -> None:
    events: list[Event] = []
    Workflow(tasks=[Task("a", shell("echo x"))], on_event=events.append).run()
    assert [type(event) for event in events] == [Started, Finished]
    assert Workflow(tasks=[Task("a", shell("echo x"))], live_output=True).run()["a"].output == "x\n"


def test_each_task_and_attempt_is_heard_for_itself_and_exactly(tmp_path: Path) -> None:
    events: list[Event] = []
    data = bytes(range(256)) * 40
    flow = Workflow(
        tasks=[
            Task("data", shell("cat"), kwargs={"stdin": data}),
            *(Task(f"t{n}", shell(f"for i in 1 2 3; do echo {n}; sleep 0.05; done")) for n in range(4)),
            Task("flaky", shell("echo out; exit 3"), retry_policy=RetryPolicy(max_attempts=2, initial_delay=0)),
        ],
        on_event=events.append,
        live_output=True,
        max_workers=4,
    )
    results = flow.run()
    printed = [event for event in events if isinstance(event, Printed)]
    heard = [b"".join(event.data for event in printed if event.name == name) for name in results]
    assert heard == [data, *(b"%d\n" % n * 3 for n in range(4)), b"out\n" * 2]
    flaky = [type(event) for event in events if event.name == "flaky"]
    assert flaky == [Started, Printed, Retrying, Started, Printed, Finished]


def test_a_flood_is_heard_within_bounds() -> None:
    sizes: list[int] = []
    flow = Workflow(
        tasks=[Task("a", shell("head -c 300000000 /dev/zero", output_limit=1000))],
        on_event=lambda event: sizes.append(len(event.data)) if isinstance(event, Printed) else None,
        live_output=True,
    )
    result = flow.run()["a"]
    assert result.success
    assert max(sizes) < 20_000_000


# What a thread has started


HANGS = "echo $$ >> {pids}; sleep 600 & wait"


def runners(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return calls that hang in something of ours and note their pid."""
    line = HANGS.format(pids=folder / "pids")
    script = write(folder / "hangs.sh", f"#!/bin/sh\n{line}\n")

    def hang() -> None:
        crimes.write_line(str(folder / "pids"), str(os.getpid()))
        crimes.swallow_interrupts()

    def fail() -> None:
        crimes.write_line(str(folder / "pids"), "0")
        raise ValueError("no")

    return {
        "shell": lambda: shell(line)(),
        "retry": retry(shell(line), initial_delay=0),
        "python_func": python_func(hang),
        "timeout": timeout(hang, 600),
        "run_parallel": lambda: run_parallel([hang, hang]),
        "run_script": lambda: run_script(script),
        "run_batch": lambda: BatchRunner(retries=3).run_batch([script] * 3, 1),
        "pipe": lambda: pipe([line, "cat"]),
        "pipe at once": lambda: pipe(["sleep 600", line], stream=True),
        "run_async": lambda: asyncio.run(run_async(script)),
        "a rest of with_retry": with_retry(initial_delay=600, max_delay=600)(fail),
        "a rest of retry": retry(fail, initial_delay=600, max_delay=600),
        "a workflow": lambda: Workflow(tasks=[Task("inner", shell(line))]).run(),
    }


@pytest.mark.parametrize("kind", [
    "shell", "retry", "python_func", "timeout", "run_parallel", "run_script", "run_batch", "pipe", "pipe at once",
    "run_async", "a rest of with_retry", "a rest of retry", "a workflow",
])  # fmt: skip
def test_a_thread_is_stopped_by_stopping_what_it_waits_for(tmp_path: Path, kind: str) -> None:
    """G4"""
    flow = Workflow(tasks=[Task("a", runners(tmp_path)[kind]), Task("after", int, dependencies={"a"})])

    async def main() -> dict[str, TaskResult]:
        execution = asyncio.create_task(flow.execute())
        while not lines_of(tmp_path / "pids"):
            await asyncio.sleep(0.01)
        flow.cancel()
        with Stopwatch() as watch:
            results = await execution
        assert watch.seconds < 5 + 2 * NOISE_SECONDS
        return results

    results = asyncio.run(main())
    assert results["a"].notes == ()  # it was not given up
    assert results["after"].ending is Ending.SKIPPED
    for pid in map(int, lines_of(tmp_path / "pids")):
        if pid:
            wait_gone(pid, 5)
    attempts = 2 if kind == "run_parallel" else 1
    assert len(lines_of(tmp_path / "pids")) <= attempts


@pytest.mark.parametrize("by", ["deadline", "failure", "cancelled caller"])
def test_whatever_ends_the_run_stops_what_a_thread_waits_for(tmp_path: Path, by: str) -> None:
    line = HANGS.format(pids=tmp_path / "pids")
    release = threading.Event()

    def fail() -> None:
        release.wait(60)
        raise ValueError("no")

    tasks = [Task("a", lambda: shell(line)())]
    if by == "failure":
        tasks.append(Task("fails", fail))
    flow = Workflow(tasks=tasks, timeout=2 if by == "deadline" else None, fail_fast=True)
    errors = {
        "deadline": OrchestratorTimeoutError,
        "failure": TaskFailedError,
        "cancelled caller": asyncio.CancelledError,
    }

    async def main() -> None:
        execution = asyncio.create_task(flow.execute())
        while not lines_of(tmp_path / "pids"):
            await asyncio.sleep(0.01)
        release.set()
        if by == "cancelled caller":
            execution.cancel()
        with pytest.raises(errors[by]):
            await execution

    with Stopwatch() as watch:
        asyncio.run(main())
    assert watch.seconds < 10 + 2 * NOISE_SECONDS
    assert flow.results["a"].ending is Ending.CANCELLED
    wait_gone(int((tmp_path / "pids").read_text()), 5)
