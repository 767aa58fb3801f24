"""ExecutionResult: what a caller sees of an Outcome."""

from __future__ import annotations

import pytest

from orchestrator import (
    ConcurrencyError,
    Ending,
    ExecutionResult,
    OrchestratorTimeoutError,
    TaskFailedError,
    UnsendableError,
)
from orchestrator.limits import tolerance
from orchestrator.outcome import Outcome
from orchestrator.results import result_of_outcome


def test_the_five_documented_fields_come_first_and_the_rest_has_defaults() -> None:
    result = ExecutionResult(True, "out", "err", 0, 1.5)
    assert (result.success, result.output, result.error, result.return_code, result.execution_time) == (
        True, "out", "err", 0, 1.5,
    )  # fmt: skip
    assert (result.value, result.ending, result.attempts, result.history) == (None, Ending.OK, 1, ())


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (Ending.TIMED_OUT, OrchestratorTimeoutError),
        (Ending.OUT_OF_MEMORY, MemoryError),
        (Ending.UNSENDABLE, UnsendableError),
        (Ending.CANCELLED, ConcurrencyError),
        (Ending.SKIPPED, ConcurrencyError),
        (Ending.CRASHED, TaskFailedError),
        (Ending.RAISED, TaskFailedError),
    ],
)
def test_unwrap_raises_what_fits_the_ending_with_name_and_reason(ending: Ending, error: type[Exception]) -> None:
    result = result_of_outcome(Outcome(ending, reason="because\n", return_code=1), "the job")
    assert not result.success
    with pytest.raises(error, match=r"the job: .*\nbecause"):
        result.unwrap()


def test_unwrap_raises_the_tasks_own_exception_or_returns_the_value() -> None:
    own = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        result_of_outcome(Outcome(Ending.RAISED, exception=own)).unwrap()
    assert caught.value is own
    assert result_of_outcome(Outcome(Ending.OK, 5)).unwrap() == 5


def test_the_reason_follows_what_was_written_to_stderr_on_a_line_of_its_own() -> None:
    open_line = result_of_outcome(Outcome(Ending.RAISED, reason="why\n", stdout=b"o\xff", stderr=b"half"))
    assert (open_line.output, open_line.error) == ("o�", "half\nwhy\n")
    assert open_line.streams == (b"o\xff", b"half")
    assert result_of_outcome(Outcome(Ending.RAISED, reason="why\n", stderr=b"whole\n")).error == "whole\nwhy\n"
    assert result_of_outcome(Outcome(Ending.OK)).error == ""


@pytest.mark.parametrize(
    ("fail_fast", "borne"), [(False, None), (True, 0), (1, 0), (5, 4), ("10%", 0.1), ("0%", 0)], ids=str
)
def test_fail_fast_says_how_many_failures_are_borne(fail_fast: bool | int | str, borne: float | None) -> None:
    assert tolerance(fail_fast) == borne


@pytest.mark.parametrize("fail_fast", [0, -1, "ten", "10", "-5%", "1.5%", None, 1.5], ids=repr)
def test_anything_else_is_refused(fail_fast: bool | int | str) -> None:
    with pytest.raises((TypeError, ValueError), match="fail_fast"):
        tolerance(fail_fast)


def test_all_failures_are_borne_when_all_may_fail() -> None:
    share = tolerance("100%")
    assert share is not None
    assert share * 10 > 9
