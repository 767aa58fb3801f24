"""P: callables, arguments, results and exceptions that cannot travel, or do harm when they do."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import orchestrator
from orchestrator import Ending, ParallelRunner, Pool, TaskFailedError, UnsendableError, run_function, run_parallel
from tests import crimes
from tests.faults.street import NOISE_SECONDS, Stopwatch, Street

_ROOT = str(Path(orchestrator.__file__).parents[1])


class Holder:
    """Hold a member that cannot be pickled."""

    def __init__(self) -> None:
        self.fine = 1
        self.padlock = threading.Lock()

    def method(self) -> None:
        """Do nothing."""


def _lambda_around_a_lock() -> Callable[[], Any]:
    padlock = threading.Lock()
    return lambda: padlock


def _closure_with_an_empty_cell() -> Callable[[], Any]:
    padlock = threading.Lock()

    def task() -> Any:
        return padlock, later

    if padlock.locked():
        later = 1  # never assigned: the cell stays empty
    return task


@pytest.mark.parametrize(
    ("task", "named"),
    [
        pytest.param(partial(crimes.echo, threading.Lock()), "lock", id="argument"),
        pytest.param(partial(crimes.echo, value=threading.Lock()), "'value'", id="keyword"),
        pytest.param(partial(crimes.echo, {"inner": [1, threading.Lock()]}), "inner", id="nested"),
        pytest.param(partial(crimes.echo, Holder()), "padlock", id="attribute"),
        pytest.param(Holder().method, "padlock", id="bound method"),
        pytest.param(_lambda_around_a_lock(), "padlock", id="closure"),
        pytest.param(_closure_with_an_empty_cell(), "padlock", id="empty cell"),
        pytest.param(partial(crimes.echo, (n for n in range(3))), "generator", id="generator"),
        pytest.param(partial(crimes.echo, crimes.deep_list(200_000)), "list", id="deep list"),
    ],
)
def test_what_cannot_be_pickled_is_named_and_costs_only_itself(
    street: Street, task: Callable[[], Any], named: str
) -> None:
    """P1: an unpicklable callable or argument ends UNSENDABLE at once, and the message names the member.

    P16: so does an argument nested too deeply to be pickled.
    """
    with Stopwatch() as watch:
        (result,) = street.run(task)
    assert result.ending is Ending.UNSENDABLE
    assert named in result.error
    assert watch.seconds < 1 + NOISE_SECONDS
    with pytest.raises(UnsendableError):
        result.unwrap()


def test_an_unsendable_submission_gives_a_future_that_has_failed_already() -> None:
    """P1: the same through a pool's own `submit`, with nothing started for it."""
    with Pool(1) as pool:
        future = pool.submit(crimes.echo, threading.Lock())
        assert future.done()
        assert isinstance(future.exception(), UnsendableError)
        assert pool.snapshot().workers == ()
        assert pool.submit(pow, 2, 5).result() == 32


def test_a_function_that_cannot_be_pickled_fails_every_item_of_a_map() -> None:
    """P1: in `map`, where the function travels by itself."""
    padlock = threading.Lock()
    results = list(ParallelRunner(1).map(lambda item: (item, padlock), range(3)))
    assert [result.ending for result in results] == [Ending.UNSENDABLE] * 3


@pytest.mark.parametrize(
    "culprit",
    [
        crimes.RaisesWhenPickled(ValueError("not me")),
        crimes.RaisesWhenPickled(SystemExit(3)),
        crimes.RaisesWhenPickled(crimes.Custom("escaping")),
        crimes.RaisesWhenPickled(crimes.Mute()),
        crimes.RaisesWhenPickled(crimes.Exits()),
        crimes.RaisesWhenLookedAt(ValueError("not me")),
    ],
    ids=["raises", "exits", "escapes", "mute", "exits when printed", "raises when looked at"],
)
def test_a_reduce_that_misbehaves_in_the_driver_fails_its_task_alone(street: Street, culprit: object) -> None:
    """P2: whatever an argument's `__reduce__` does while it is pickled, it ends UNSENDABLE."""
    results = street.run(partial(crimes.echo, culprit), partial(crimes.echo, [culprit]))
    assert [result.ending for result in results] == [Ending.UNSENDABLE] * 2


@pytest.mark.parametrize("among", [6, 400], ids=["alone", "in a chunk"])
@pytest.mark.parametrize(
    "error",
    [ValueError("bad seed"), SystemExit(3), KeyboardInterrupt(), crimes.Custom("escaping")],
    ids=lambda error: type(error).__name__,
)
def test_an_argument_that_raises_when_rebuilt_fails_its_task_with_the_remote_traceback(
    street: Street, error: BaseException, among: int
) -> None:
    """P3: the exception and the place in the worker where it was raised are told."""
    (result,) = street.run(partial(crimes.echo, crimes.Rebuilt(crimes.raise_it, error)), among=among)
    assert result.ending is Ending.RAISED
    assert type(error).__name__ in result.error
    assert "in raise_it" in result.error


@pytest.mark.parametrize("among", [6, 400], ids=["alone", "in a chunk"])
@pytest.mark.parametrize(
    ("culprit", "said"),
    [(crimes.Rebuilt(os._exit, 3), "code 3"), (crimes.Rebuilt(crimes.touch_nothing), "SIGSEGV")],
    ids=["exits", "crashes"],
)
def test_an_argument_that_kills_the_worker_when_rebuilt_crashes_its_task_alone(
    street: Street, culprit: crimes.Rebuilt, said: str, among: int
) -> None:
    """P4: a death before the task has started is laid at its own door, not at its neighbours'."""
    (result,) = street.run(partial(crimes.echo, culprit), among=among)
    assert result.ending is Ending.CRASHED
    assert said in result.error


def test_a_result_that_cannot_be_pickled_fails_its_task_and_names_the_type(street: Street) -> None:
    """P5: the task had run, so it has RAISED; the message says what could not come back."""
    (result,) = street.run(crimes.unpicklable_result)
    assert result.ending is Ending.RAISED
    assert "_thread.lock" in result.error


@pytest.mark.parametrize(
    "error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_a_result_that_misbehaves_when_rebuilt_here_is_contained(street: Street, error: BaseException) -> None:
    """P6: rebuilding a result runs the user's code in the driver; what that raises is the task's failure."""
    (result,) = street.run(partial(crimes.result_that_raises_when_rebuilt, error))
    assert result.ending is Ending.RAISED
    assert "rebuilt" in result.error
    assert type(error).__name__ in result.error


@pytest.mark.parametrize(
    ("task", "type_name", "text"),
    [
        (crimes.raise_two_arguments, "TwoArguments", "a spill at aisle 5"),
        (crimes.raise_frozen, "Frozen", "ice"),
        (crimes.raise_unpicklable, "Unpicklable", "with a lock"),
        (crimes.raise_local, "Local", "from inside"),
        (crimes.raise_mute, "Mute", ""),
        (crimes.raise_exits, "Exits", ""),
        (crimes.raise_group, "ExceptionGroup", "many"),
        (crimes.raise_causes_in_a_circle, "ValueError", "egg"),
        (crimes.raise_long_chain, "ValueError", ""),
        (crimes.raise_notes_of_no_kind, "ValueError", "odd notes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_exception_that_cannot_travel_is_still_told_by_type_and_text(
    street: Street, task: Callable[[], Any], type_name: str, text: str
) -> None:
    """P7 and P8: type, text and traceback travel apart from the object, which may be left behind."""
    (result,) = street.run(task)
    assert result.ending is Ending.RAISED
    assert type_name in result.error
    assert text in result.error
    assert result.exception is None or type(result.exception).__name__ == type_name
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever it was, it is raised again
        result.unwrap()


def test_the_traceback_of_an_exception_that_cannot_travel_shows_the_line(street: Street) -> None:
    """P7: the traceback text is that of the worker."""
    (result,) = street.run(crimes.raise_two_arguments)
    assert "in raise_two_arguments" in result.error
    assert 'raise TwoArguments("a spill", "aisle 5")' in result.error
    with pytest.raises(TaskFailedError):
        result.unwrap()


def test_an_enormous_exception_text_is_cut_to_its_head_and_tail(street: Street) -> None:
    """P8: 50 MB of text are bounded to 64 KiB."""
    (result,) = street.run(partial(crimes.raise_text, 50_000_000))
    assert result.ending is Ending.RAISED
    assert len(result.error) < 70_000
    assert " tail" in result.error
    assert "characters cut" in result.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 1),
        (SystemExit(0), 0),
        (SystemExit(None), 0),
        (SystemExit(1), 1),
        (SystemExit(77), 77),
        (SystemExit("some text"), 1),
        (GeneratorExit(), 1),
        (StopIteration(5), 1),
        (crimes.Custom("escaping"), 1),
    ],
    ids=repr,
)
def test_no_exception_of_a_task_interrupts_the_driver(street: Street, error: BaseException, code: int) -> None:
    """P9: KeyboardInterrupt, SystemExit and their like are results, with the exit code they ask for."""
    (result,) = street.run(partial(crimes.raise_it, error))
    assert result.ending is Ending.RAISED
    assert not result.success
    assert result.return_code == code
    assert type(result.exception) is type(error)


def test_sixty_four_megabytes_travel_both_ways_many_at_once(street: Street) -> None:
    """P10: no pipe deadlock, however many are under way in both directions."""
    block = os.urandom(64 << 20)
    results = street.run(*[partial(crimes.echo, block)] * 4, workers=3)
    assert all(result.value == block for result in results)


@pytest.mark.slow
@pytest.mark.skipif(psutil.virtual_memory().available < 12 << 30, reason="needs 12 GiB of memory")
def test_more_than_two_gibibytes_arrive() -> None:
    """P10: sizes that no longer fit 31 bits, nor one write(2)."""
    size = (2 << 30) + (1 << 20)
    (result,) = run_parallel([partial(crimes.bulk, size)], 1)
    assert result.ending is Ending.OK
    assert len(result.value) == size


def test_a_worker_killed_in_the_middle_of_a_result_crashes_that_task(street: Street) -> None:
    """P11: half a frame is no frame; its end is noticed, not waited for."""
    with Stopwatch() as watch:
        (result,) = street.run(partial(crimes.die_while_sending, 256 << 20))
    assert result.ending is Ending.CRASHED
    assert "SIGKILL" in result.error
    assert watch.seconds < 5 + NOISE_SECONDS


def _raising_source() -> Iterator[Callable[[], Any]]:
    yield int
    raise LookupError("the source is dry")


def test_a_source_of_tasks_that_raises_ends_the_run_at_once() -> None:
    """P2: the caller's own iterator runs in the driver too; what it raises is the caller's, without delay."""
    with Stopwatch() as watch, pytest.raises(LookupError, match="the source is dry"):
        list(ParallelRunner(1).stream(_raising_source()))
    assert watch.seconds < 5 + NOISE_SECONDS
    assert run_function(int).value == 0


_MAIN_CODE = """
import sys
from orchestrator import Pool, run_parallel

class Point:
    def __init__(self, x): self.x = x
    def doubled(self): return Point(2 * self.x)

def make(x): return Point(x)

def main():
    factor = 3
    class Local(Point): pass
    tasks = [lambda: Point(factor), Point(4).doubled, lambda: make(5), lambda: Local(6)]
    results = [result.unwrap() for result in run_parallel(tasks, 2)]
    assert [type(value).__name__ for value in results] == ["Point", "Point", "Point", "Local"], results
    assert all(isinstance(value, Point) for value in results[:3]), results
    assert [value.x for value in results] == [3, 8, 5, 6]
    with Pool(1) as pool:
        assert pool.submit(make, 7).result().x == 7
        assert [point.x for point in pool.map(make, range(3))] == [0, 1, 2]
    print("fine")

main()
"""


@pytest.mark.parametrize("how", ["script", "-c", "standard input"])
def test_code_of_main_works_without_a_guard_however_it_was_started(tmp_path: Path, how: str) -> None:
    """P12: lambdas, closures, local classes and classes of `__main__`, and results made of them."""
    script = tmp_path / "program.py"
    script.write_text(_MAIN_CODE, encoding="utf-8")
    arguments = {"script": [str(script)], "-c": ["-c", _MAIN_CODE], "standard input": ["-"]}[how]
    done = subprocess.run(
        [sys.executable, *arguments],
        input=_MAIN_CODE if how == "standard input" else "",
        env={**os.environ, "PYTHONPATH": _ROOT},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_lambdas_closures_and_local_classes_travel_both_ways(street: Street) -> None:
    """P12: what plain pickle cannot do, in a test module."""
    captured = {"depth": 3}

    class Local:
        def __init__(self, depth: int) -> None:
            self.depth = depth

    def closure() -> Local:
        return Local(captured["depth"])

    results = street.run(lambda: captured["depth"], closure, lambda: lambda: "called")
    assert results[0].value == 3
    assert results[1].value.depth == 3
    assert results[2].value() == "called"


def test_a_module_that_only_the_driver_has_is_named(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """P13: a function of a module made at run time is pickled by reference and missing in the worker."""
    module = types.ModuleType("only_here")
    exec("def task():\n    return 1", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    (result,) = street.run(module.task)
    assert result.ending is Ending.RAISED
    assert "only_here" in result.error
    assert "ModuleNotFoundError" in result.error


def _keywords(**given: Any) -> dict[str, Any]:
    return given


def test_keywords_with_the_names_of_our_own_parameters_reach_the_function() -> None:
    """P14: `run_function`, `submit` and `submit_limited` have no keywords of their own."""
    given: dict[str, Any] = dict.fromkeys(("self", "fn", "func", "timeout", "name", "args", "kwargs", "limits", "task"))
    assert run_function(_keywords, **given).value == given
    with Pool(1) as pool:
        assert pool.submit(_keywords, **given).result() == given
        assert pool.submit_limited(orchestrator.Limits(), _keywords, **given).result() == given


def test_results_that_nobody_keeps_give_their_memory_back() -> None:
    """P15: in the driver, for consumed results and dropped futures; in the worker, for returned values."""
    size, count = 8 << 20, 30
    run_parallel([crimes.own_memory], 1)
    before = crimes.own_memory()
    most = 0
    for result in ParallelRunner(1).map(crimes.bulk, [size] * count):
        assert len(result.value) == size
        most = max(most, crimes.own_memory() - before)
    del result
    with Pool(1) as pool:
        for _ in range(count):
            pool.submit(crimes.bulk, size)
        left_in_worker = pool.submit(crimes.own_memory).result()
        left_here = crimes.own_memory() - before
    assert most < 15 * size
    assert left_here < 15 * size
    assert left_in_worker < 15 * size


@pytest.mark.parametrize(
    ("task", "allowed"),
    [
        (crimes.recurse_for_ever, {Ending.RAISED}),
        (partial(crimes.deep_list, 200_000), {Ending.RAISED, Ending.CRASHED}),
    ],
    ids=["recursion", "deep list"],
)
def test_what_is_too_deep_to_compute_or_to_return_fails_alone(
    street: Street, task: Callable[[], Any], allowed: set[Ending]
) -> None:
    """P16: the interpreter's limit is a failure like others; where it cannot tell, the worker's death is."""
    (result,) = street.run(task)
    assert result.ending in allowed
    assert "RecursionError" in result.error or result.ending is Ending.CRASHED


def test_each_task_gets_arguments_of_its_own() -> None:
    """P12: what one task does to a shared argument is not seen by the next, whichever worker runs them."""
    shared: list[int] = []
    task = functools.partial(_append_and_count, shared)
    assert [result.value for result in run_parallel([task] * 50, 1)] == [1] * 50
    assert shared == []


def _append_and_count(values: list[int]) -> int:
    values.append(1)
    return len(values)
