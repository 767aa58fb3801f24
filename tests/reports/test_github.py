"""Workflow commands: their escaping, the guard around what tasks print, and what becomes an annotation."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from orchestrator.outcome import Ending
from orchestrator.reports.github import annotate, command, group, guard
from tests.reports.made import failed, named, result, run

TRACEBACK = (
    b'Traceback (most recent call last):\n  File "/repo/jobs/a.py", line 3, in f\n    g()\nValueError: a, b: 5%\n'
)


@pytest.mark.parametrize(
    ("text", "data", "value"),
    [
        ("plain", "plain", "plain"),
        ("50% off", "50%25 off", "50%25 off"),
        ("%0A", "%250A", "%250A"),
        ("two\r\nlines", "two%0D%0Alines", "two%0D%0Alines"),
        ("a: b, c", "a: b, c", "a%3A b%2C c"),
        ("::error::x", "::error::x", "%3A%3Aerror%3A%3Ax"),
    ],
)
def test_data_and_properties_are_escaped_as_the_runner_reads_them(text: str, data: str, value: str) -> None:
    assert command("warning", text) == f"::warning::{data}\n"
    assert command("warning", "", title=text) == f"::warning title={value}::\n"


def test_a_title_cannot_end_its_group() -> None:
    assert group("a\n::endgroup::") == ("::group::a%0A::endgroup::\n", "::endgroup::\n")


def test_the_guard_is_a_token_that_nobody_can_know() -> None:
    opening, closing = guard("text")
    token = closing.strip().strip(":")
    assert opening == f"::stop-commands::{token}\n"
    assert closing == f"::{token}::\n"
    assert len(token) >= 32
    assert guard("text")[1] != closing


def test_the_guard_is_a_token_that_the_text_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = ["AB12".lower(), "cd34"]
    monkeypatch.setattr(secrets, "token_hex", lambda _bytes: tokens.pop(0))
    assert guard("x\n::AB12::\n")[1] == "::cd34::\n"


def test_an_error_names_the_line_that_failed() -> None:
    said = annotate(named("jobs/a.py", failed(TRACEBACK)), "/repo/jobs", "/repo")
    assert said == (
        "::error file=jobs/a.py,line=3,title=jobs/a.py%3A raised after 250 ms::"
        "ValueError: a, b: 5%25 (exited with code 1)\n"
    )


def test_an_error_of_a_callable_is_its_exception_alone() -> None:
    raised = result(Ending.RAISED, err=b"noise\n", reason=TRACEBACK.decode())
    assert annotate(named("f", raised), "/repo").endswith("::ValueError: a, b: 5%25\n")


def test_an_error_without_a_place_has_the_last_lines_instead() -> None:
    said = annotate(run(failed(b"".join(b"line %d\n" % n for n in range(9)))), "/repo")
    assert said == (
        "::error title=task0%3A raised after 250 ms::exited with code 1%0Aline 4%0Aline 5%0Aline 6%0Aline 7%0Aline 8\n"
    )


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending.OK, False),
        (Ending.RAISED, True),
        (Ending.TIMED_OUT, True),
        (Ending.OUT_OF_MEMORY, True),
        (Ending.CRASHED, True),
        (Ending.UNSENDABLE, True),
        (Ending.CANCELLED, False),
        (Ending.SKIPPED, False),
    ],
)
def test_only_what_somebody_has_to_look_at_becomes_an_error(ending: Ending, told: bool) -> None:
    assert annotate(run(result(ending, reason="why\n")), "/repo").startswith("::error ") is told


def test_a_task_without_a_result_is_an_error() -> None:
    assert "the run ended before it had a result" in annotate(run(None), "/repo")


def test_what_went_well_only_when_tried_again_is_a_warning_at_the_place_of_the_failure() -> None:
    flaky = result(history=(failed(TRACEBACK),))
    assert annotate(run(flaky), "/repo") == (
        "::warning file=jobs/a.py,line=3,title=task0%3A ok after 250 ms%2C but only at attempt 2::"
        "attempt 1: ValueError: a, b: 5%25 (exited with code 1)\n"
    )


@pytest.mark.parametrize(
    ("number", "lines", "left"), [(10, 10, ""), (11, 10, "2 more tasks failed"), (500, 10, "491 more")]
)
def test_no_more_is_annotated_than_github_shows_and_the_last_says_how_many_are_left(
    number: int, lines: int, left: str
) -> None:
    said = annotate(run(*[failed()] * number), "/repo").splitlines()
    assert len(said) == lines
    assert left in said[-1]
    flaky = annotate(run(*[failed()] * number, *[result(history=(failed(),))] * number), "/repo").splitlines()
    assert len([line for line in flaky if line.startswith("::warning")]) == lines


def test_what_was_allowed_to_fail_is_a_warning() -> None:
    said = annotate(run(replace(failed(TRACEBACK), tolerated=True), replace(result(), tolerated=True)), "/repo")
    assert said.startswith("::warning file=jobs/a.py,line=3,title=task0%3A raised")
    assert said.count("\n") == 1


def test_the_trouble_of_a_run_comes_first() -> None:
    first, second = annotate(run(failed(), trouble="no\x1b[31m more processes"), "/repo").splitlines()
    assert first == "::error title=orchestrator::no more processes"
    assert "task0" in second


def test_what_a_task_prints_cannot_become_a_command_or_an_escape_in_an_annotation() -> None:
    nasty = b"\x1b[31m::set-output name=x::y\r\n\xff::add-mask::z\n"
    said = annotate(run(failed(nasty)), "/repo")
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "\r" not in said
