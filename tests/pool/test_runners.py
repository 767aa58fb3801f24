"""The runners: run_function, run_script, run_parallel(_async), ParallelRunner, BatchRunner."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    BatchRunner,
    Ending,
    Event,
    ExecutionResult,
    Finished,
    ParallelRunner,
    Retrying,
    RetryPolicy,
    Started,
    TaskFailedError,
    run_function,
    run_parallel,
    run_parallel_async,
    run_script,
)
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import eventually, lines_of, wait_gone


def failing(number: int) -> Callable[[], Any]:
    return partial(crimes.raise_it, ValueError(f"number {number}"))


def values(results: list[ExecutionResult]) -> list[Any]:
    return [result.value for result in results]


def test_results_come_in_input_order_whatever_the_order_of_their_ends() -> None:
    slow_first = [partial(crimes.sleep_and_return, 0.1 * (3 - number), number) for number in range(4)]
    assert values(run_parallel(slow_first, 4)) == [0, 1, 2, 3]
    assert values(ParallelRunner(3).run(partial(crimes.echo, number) for number in range(500))) == list(range(500))


def test_nothing_to_run_is_an_empty_list() -> None:
    assert run_parallel([]) == []
    assert ParallelRunner().run(iter(())) == []
    assert list(ParallelRunner().map(abs, [])) == []
    assert list(ParallelRunner().stream([])) == []
    assert BatchRunner().run_batch([]) == []
    assert asyncio.run(run_parallel_async([])) == []


def test_run_function_gives_every_argument_to_the_function() -> None:
    def takes(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    result = run_function(takes, 1, timeout=2, self=3, func=4, max_workers=5)
    assert result.value == ((1,), {"timeout": 2, "self": 3, "func": 4, "max_workers": 5})
    assert (result.success, result.return_code, result.attempts, result.name) == (True, 0, 1, takes.__qualname__)
    assert result.unwrap() == result.value
    failed = run_function(crimes.raise_it, KeyError("x"))
    assert (failed.success, failed.return_code) == (False, 1)
    with pytest.raises(KeyError):
        failed.unwrap()


def test_run_script_runs_one_script_with_its_arguments(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys; print(sys.argv[1:]); print('oops', file=sys.stderr); sys.exit(len(sys.argv))")
    result = run_script(script, ["a", "b"])
    assert (result.success, result.return_code, result.ending) == (False, 3, Ending.RAISED)
    assert result.output == "['a', 'b']\n"
    assert result.error.startswith("oops\n")
    assert result.name == str(script)
    with pytest.raises(TaskFailedError, match="exited with code 3"):
        result.unwrap()
    assert run_script(tmp_path / "none.py").return_code == 127


def test_map_is_lazy_ordered_and_sends_the_function_once() -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read = number
            yield number

    results = ParallelRunner(2).map(lambda number: number * 2, numbers())
    assert read == 0
    assert [result.value for result in itertools.islice(results, 300)] == [2 * number for number in range(300)]
    assert read < 20_000
    results.close()  # type: ignore[attr-defined]


def test_map_goes_on_after_a_failure() -> None:
    results = list(ParallelRunner(2).map(int, ["1", "two", "3"]))
    assert [result.success for result in results] == [True, False, True]
    assert isinstance(results[1].exception, ValueError)


def test_stream_yields_each_task_as_it_ends_with_its_place(tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    tasks = [partial(crimes.announce_and_wait_for, "", go), partial(crimes.echo, 1), partial(crimes.echo, 2)]
    stream = ParallelRunner(2).stream(tasks)
    early = {index: result.value for index, result in itertools.islice(stream, 2)}
    assert early == {1: 1, 2: 2}
    (tmp_path / "go").touch()
    assert [(index, result.value) for index, result in stream] == [(0, "went")]


def test_a_source_that_fails_ends_the_stream_at_once_with_its_error() -> None:
    def source() -> Iterator[Callable[[], int]]:
        for number in range(3):
            yield partial(crimes.echo, number)
        raise LookupError("the source broke")

    for consume in (list, lambda stream: [next(stream) for _ in range(9)]):
        with Stopwatch() as watch, pytest.raises(LookupError, match="broke"):
            consume(ParallelRunner(2).stream(source()))
        assert watch.seconds < 5 + NOISE_SECONDS
    assert values(run_parallel([partial(crimes.echo, 1)], 2)) == [1]


@pytest.mark.parametrize(
    ("crime", "ending", "limits"),
    [
        (partial(crimes.raise_it, ValueError("no")), Ending.RAISED, {}),
        (partial(crimes.exit_at_once, 9), Ending.CRASHED, {}),
        (crimes.sleep_for_ever, Ending.TIMED_OUT, {"timeout": 0.2, "grace": 0.1}),
        (partial(crimes.burst_of_memory, 200 << 20, 20.0), Ending.OUT_OF_MEMORY, {"memory_limit": "120M"}),
    ],
    ids=["raised", "crashed", "timed out", "memory"],
)
def test_a_retry_follows_every_cause_that_another_attempt_can_change(
    crime: Callable[[], Any], ending: Ending, limits: dict[str, Any]
) -> None:
    failed, fine = run_parallel([crime, partial(crimes.echo, 1)], 2, retries=2, **limits)
    assert (failed.ending, failed.attempts) == (ending, 3)
    assert [result.ending for result in failed.history] == [ending, ending]
    assert [result.attempts for result in failed.history] == [1, 2]
    assert (fine.value, fine.attempts, fine.history) == (1, 1, ())


def test_no_retry_follows_what_cannot_be_sent_or_was_not_asked_for() -> None:
    unsendable, exits, other = run_parallel(
        [
            partial(crimes.echo, threading.Lock()),
            partial(crimes.raise_it, SystemExit(3)),
            failing(1),
        ],
        2,
        retry_policy=RetryPolicy(max_attempts=3, initial_delay=0, retry_on=(KeyError,)),
    )
    assert (unsendable.ending, unsendable.attempts) == (Ending.UNSENDABLE, 1)
    assert (exits.ending, exits.attempts, exits.return_code) == (Ending.RAISED, 1, 3)
    assert (other.ending, other.attempts) == (Ending.RAISED, 1)


def test_a_task_that_succeeds_at_last_keeps_the_output_of_its_earlier_attempts(tmp_path: Path) -> None:
    task = partial(crimes.crash_until, str(tmp_path / "counter"), 3)
    [result] = run_parallel([task], 1, retries=5)
    assert (result.value, result.attempts, result.output) == (3, 3, "attempt 3\n")
    assert [(earlier.output, earlier.return_code) for earlier in result.history] == [
        ("attempt 1\n", 9),
        ("attempt 2\n", 9),
    ]


def test_a_retry_policy_sets_the_delays_between_attempts() -> None:
    events: list[Event] = []
    policy = RetryPolicy(max_attempts=3, initial_delay=0.1, exponential_base=2)
    with Stopwatch() as watch:
        run_parallel([failing(1)], 1, retry_policy=policy, on_event=events.append)
    assert [event.delay for event in events if isinstance(event, Retrying)] == [0.1, 0.2]
    assert 0.3 <= watch.seconds < 0.3 + 2 * NOISE_SECONDS


@pytest.mark.parametrize(("fail_fast", "borne"), [(True, 0), (3, 2), ("10%", 4), (False, 40)])
def test_after_too_many_failures_the_rest_is_skipped(fail_fast: bool | int | str, borne: int) -> None:
    tasks = [partial(crimes.fail_after, 0.03)] * 40  # long enough to travel one by one
    results = run_parallel(tasks, 1, fail_fast=fail_fast)
    counts = Counter(result.ending for result in results)
    assert set(counts) <= {Ending.RAISED, Ending.SKIPPED, Ending.CANCELLED}
    if borne == 40:
        assert counts[Ending.RAISED] == 40
        return
    assert borne + 1 <= counts[Ending.RAISED] <= borne + 4
    assert counts[Ending.SKIPPED] >= 30
    skipped = next(result for result in results if result.ending is Ending.SKIPPED)
    assert "failed (raised)" in skipped.error


def test_fail_fast_stops_what_runs(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    hanging = partial(crimes.swallow_interrupts, str(busy))
    fails = partial(crimes.fail_when_there, str(busy))
    with Stopwatch() as watch:
        results = run_parallel([hanging, fails], 2, fail_fast=True, grace=0.1)
    assert [result.ending for result in results] == [Ending.CANCELLED, Ending.RAISED]
    assert watch.seconds < 5 + NOISE_SECONDS


@pytest.mark.parametrize("options", [{}, {"timeout": 20.0}], ids=["plain", "with limits"])
def test_events_come_in_order_with_one_end_for_every_task(options: dict[str, Any]) -> None:
    events: list[Event] = []
    threads = set()

    def listener(event: Event) -> None:
        events.append(event)
        threads.add(threading.current_thread())

    tasks: list[Callable[[], Any]] = [partial(crimes.echo, number) for number in range(30)]
    tasks += [failing(30), partial(crimes.exit_at_once, 1), partial(crimes.echo, threading.Lock())]
    results = run_parallel(tasks, 2, retries=1, on_event=listener, **options)
    finished = [event for event in events if isinstance(event, Finished)]
    assert sorted(event.index for event in finished) == list(range(33))
    assert all(event.result is results[event.index] for event in finished)
    started = Counter((event.index, event.attempt) for event in events if isinstance(event, Started))
    expected = {(number, 1) for number in range(32)} | {(30, 2), (31, 2)}
    assert set(started) == expected
    assert set(started.values()) == {1}
    for index in range(33):
        kinds = [type(event) for event in events if event.index == index]
        want = [Started, Finished] if index < 30 else [Started, Retrying, Started, Finished]
        assert kinds == (want if index < 32 else [Finished])
    assert threads == {threading.current_thread()}


def test_a_listener_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def listener(event: Event) -> None:
        raise RuntimeError("listener")

    assert values(run_parallel([partial(crimes.echo, number) for number in range(3)], 2, on_event=listener)) == [
        0,
        1,
        2,
    ]
    assert "listener failed" in caplog.text


def test_environment_and_directory_are_those_asked_for_and_only_there(tmp_path: Path) -> None:
    def look() -> tuple[str | None, str, bool]:
        return os.environ.get("GREETING"), os.getcwd(), "PATH" in os.environ

    with_both = run_parallel([look] * 3, 2, env={"GREETING": "hello"}, cwd=tmp_path)
    assert values(with_both) == [("hello", str(tmp_path), True)] * 3
    assert values(run_parallel([look] * 3, 2)) == [(None, os.getcwd(), True)] * 3
    assert "GREETING" not in os.environ


@pytest.mark.parametrize("order", ["drain", "cancel"])
def test_a_run_can_be_told_to_stop_from_another_thread(tmp_path: Path, order: str) -> None:
    runner = ParallelRunner(1, grace=0.1)
    wait = partial(crimes.announce_and_wait_for, str(tmp_path / "busy"), str(tmp_path / "go"))

    def tell() -> None:
        eventually((tmp_path / "busy").exists)
        getattr(runner, order)()
        if order == "drain":
            eventually(lambda: runner.snapshot().queued == 0)
            (tmp_path / "go").touch()

    teller = threading.Thread(target=tell)
    teller.start()
    results = runner.run([wait, *(partial(crimes.echo, number) for number in range(20))])
    teller.join()
    first = Ending.OK if order == "drain" else Ending.CANCELLED
    assert [result.ending for result in results] == [first] + [Ending.SKIPPED] * 20
    assert "stopped" in results[1].error
    assert values(runner.run([partial(crimes.echo, 1)])) == [1]


def test_a_cancelled_coroutine_stops_its_tasks_first(tmp_path: Path) -> None:
    """T14"""

    async def main() -> None:
        tasks: list[Callable[[], Any]] = [
            partial(crimes.swallow_interrupts, str(tmp_path / "busy")),
            *[partial(time.sleep, 600)] * 20,
        ]
        task = asyncio.create_task(run_parallel_async(tasks, 2, grace=0.1))
        while not (tmp_path / "busy").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Stopwatch() as watch:
        asyncio.run(main())
    assert watch.seconds < 5 + 2 * NOISE_SECONDS
    wait_gone(int((tmp_path / "busy").read_text()), 5)


def test_a_coroutine_cancelled_before_its_tasks_have_started_stops_them_too() -> None:
    async def main() -> None:
        for turns in range(4):
            task = asyncio.create_task(run_parallel_async([partial(time.sleep, 60)] * 4, 2, grace=0.1))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with Stopwatch() as watch:
        asyncio.run(main())
    assert watch.seconds < 10


def test_the_loop_goes_on_while_tasks_run(tmp_path: Path) -> None:
    async def main() -> list[ExecutionResult]:
        run = asyncio.create_task(
            run_parallel_async([partial(crimes.announce_and_wait_for, "", str(tmp_path / "go"))], 1)
        )
        await asyncio.sleep(0.05)
        (tmp_path / "go").touch()
        return await run

    assert values(asyncio.run(main())) == ["went"]


def test_names_are_those_a_reader_knows() -> None:
    class Thing:
        def __call__(self) -> None: ...

    def local() -> None: ...

    tasks: list[Callable[[], Any]] = [local, partial(partial(crimes.echo, 1)), Thing(), partial(Thing())]
    names = [result.name for result in run_parallel(tasks, 1)]
    assert names[0].endswith("local")
    assert names[1:] == ["echo", Thing.__qualname__, Thing.__qualname__]


def test_two_threads_can_use_one_runner_at_once() -> None:
    runner = ParallelRunner(2)
    found: dict[int, list[Any]] = {}

    def use(number: int) -> None:
        found[number] = values(runner.run([partial(crimes.echo, (number, task)) for task in range(50)]))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [(number, task) for task in range(50)] for number in range(4)}


def test_an_exception_in_one_callers_loop_body_stops_only_its_own_tasks(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def loop() -> None:
        for _ in ParallelRunner(2).map(partial(crimes.neighbour, str(log)), range(100_000)):
            raise LookupError

    with pytest.raises(LookupError):
        loop()
    before = len(lines_of(log))
    assert values(run_parallel([partial(crimes.echo, 1)], 2)) == [1]
    assert len(lines_of(log)) <= before + 10_000


@pytest.mark.parametrize(
    ("misuse", "error", "words"),
    [
        (lambda: run_parallel([int, "no"]), TypeError, "task 1 must be callable"),  # type: ignore[list-item]
        (lambda: run_parallel([int], timeout=0), ValueError, "timeout"),
        (lambda: run_parallel([int], timeout="5"), TypeError, "timeout"),
        (lambda: run_parallel([int], memory_limit="lots"), ValueError, "lots"),
        (lambda: run_parallel([int], retries=-1), ValueError, "retries"),
        (lambda: run_parallel([int], retries=True), TypeError, "retries"),
        (lambda: run_parallel([int], retries=1, retry_policy=RetryPolicy()), ValueError, "either"),
        (lambda: run_parallel([int], fail_fast=0), ValueError, "fail_fast"),
        (lambda: run_parallel([int], fail_fast="ten"), TypeError, "fail_fast"),
        (lambda: run_parallel([int], on_event=3), TypeError, "on_event"),
        (lambda: run_parallel([int], grace=-1), ValueError, "grace"),
        (lambda: run_parallel([int], unknown=1), TypeError, "unknown"),
        (lambda: run_function(3), TypeError, "callable"),  # type: ignore[arg-type]
        (lambda: ParallelRunner().map(3, []), TypeError, "callable"),  # type: ignore[arg-type]
        (lambda: list(ParallelRunner().stream([3])), TypeError, "callable"),  # type: ignore[list-item]
        (lambda: BatchRunner().run_batch("one.py"), TypeError, "list of scripts"),
        (lambda: BatchRunner().run_batch([3]), TypeError, "script"),  # type: ignore[list-item]
        (lambda: BatchRunner().run_batch([[]]), TypeError, "script"),
        (lambda: BatchRunner().run_batch(["a.py"], batch_size=0), ValueError, "batch_size"),
    ],
)
def test_misuse_raises_at_once(misuse: Callable[[], Any], error: type[Exception], words: str) -> None:
    with Stopwatch() as watch, pytest.raises(error, match=words):
        misuse()
    assert watch.seconds < 5


def test_the_number_of_workers_comes_from_the_environment_and_else_is_four(monkeypatch: pytest.MonkeyPatch) -> None:
    def pids() -> int:
        return len({result.pid for result in run_parallel([partial(time.sleep, 0.3)] * 8)})

    monkeypatch.setenv("CODOMYRMEX_MAX_WORKERS", "2")
    assert pids() <= 2
    monkeypatch.delenv("CODOMYRMEX_MAX_WORKERS")
    assert pids() <= 4
    monkeypatch.setenv("CODOMYRMEX_MAX_WORKERS", "many")
    with pytest.raises(ValueError, match="CODOMYRMEX_MAX_WORKERS"):
        run_parallel([int])


def test_nothing_starts_after_a_failure_that_fail_fast_does_not_bear(tmp_path: Path) -> None:
    """One at a time, it is a strict chain: the next script has not even begun when the failure is known."""
    fails, follows = tmp_path / "fails.py", tmp_path / "follows.py"
    fails.write_text("raise SystemExit(1)\n")
    follows.write_text(f"open({str(tmp_path / 'began')!r}, 'w')\n")
    for _ in range(5):
        results = BatchRunner(fail_fast=True).run_batch([fails, follows, follows], 1)
        assert [result.ending for result in results] == [Ending.RAISED, Ending.SKIPPED, Ending.SKIPPED]
    assert not (tmp_path / "began").exists()


def test_a_coroutine_function_gets_an_event_loop_of_its_own_in_the_worker() -> None:
    async def work() -> int:
        await asyncio.sleep(0.01)
        return os.getpid()

    async def hang() -> None:
        await asyncio.sleep(600)

    fine, late, made = run_parallel([work, hang, lambda: work()], timeout=2)
    assert (fine.success, late.ending, made.success) == (True, Ending.TIMED_OUT, True)
    assert os.getpid() not in (fine.value, made.value)


def test_map_reads_no_further_while_the_first_result_is_missing(tmp_path: Path) -> None:
    """M8: what is early is held back, and counts as read ahead."""
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read = number
            yield number

    def act(number: int) -> int:
        if number == 0:
            time.sleep(3)
        return number

    results = ParallelRunner(2).map(act, numbers())
    assert next(results).value == 0
    assert read < 20_000
    assert [result.value for result in itertools.islice(results, 20_000)] == list(range(1, 20_001))
