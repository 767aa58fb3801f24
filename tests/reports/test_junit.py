"""JUnit XML, read back as its readers do: with junitparser, and with a strict parser of XML."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import junitparser
import pytest
from junitparser import xunit2

from orchestrator.outcome import Ending
from orchestrator.reports.junit import STREAM_CHARACTERS, bounded, junit
from orchestrator.reports.run import Run
from tests.reports.made import failed, named, result, run


def cases(of: Run) -> list[junitparser.TestCase]:
    """Return the cases of a run's only suite, as junitparser reads them."""
    (suite,) = junitparser.JUnitXml.fromstring(junit(of).encode())
    return list(suite)


def element(of: Run) -> ET.Element:
    """Return the element of a run's first case."""
    found = ET.fromstring(junit(of).encode()).find(".//testcase")
    assert found is not None
    return found


def test_the_suite_counts_its_cases_by_what_became_of_them() -> None:
    text = junit(run(result(), failed(), result(Ending.TIMED_OUT), result(Ending.SKIPPED), None, trouble="given up"))
    (suite,) = junitparser.JUnitXml.fromstring(text.encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 1, 2, 1)
    assert (suite.name, suite.time, suite.timestamp) == ("orchestrator", 1.5, "2026-02-01T12:00:00+00:00")
    assert ET.fromstring(text).findtext("testsuite/system-err") == "given up"


@pytest.mark.parametrize(
    ("ending", "tag"),
    [
        (Ending.OK, None),
        (Ending.RAISED, "failure"),
        (Ending.TIMED_OUT, "error"),
        (Ending.OUT_OF_MEMORY, "error"),
        (Ending.CRASHED, "error"),
        (Ending.UNSENDABLE, "error"),
        (Ending.CANCELLED, "skipped"),
        (Ending.SKIPPED, "skipped"),
    ],
)
def test_every_ending_is_a_pass_a_failure_an_error_or_a_skip(ending: Ending, tag: str | None) -> None:
    (case,) = cases(run(result(ending, reason="" if ending is Ending.OK else "why it was\nand more\n")))
    if tag is None:
        assert case.is_passed
        return
    (found,) = case.result
    assert found.message == "why it was"
    assert isinstance(found, {"failure": junitparser.Failure, "error": junitparser.Error}.get(tag, junitparser.Skipped))
    if tag != "skipped":
        assert (found.type, found.text) == (ending.value, "why it was\nand more")


def test_what_was_allowed_to_fail_is_skipped_and_says_why() -> None:
    (case,) = cases(run(replace(failed(), tolerated=True)))
    assert case.is_skipped
    assert case.result[0].message == "it may fail, and did: exited with code 1"
    assert 'skipped="1"' in junit(run(replace(failed(), tolerated=True)))


def test_a_case_has_its_time_its_output_and_its_figures() -> None:
    done = result(out=b"hello\n", err=b"warning\n", cpu_seconds=0.125, peak_memory=2**20)
    (case,) = cases(named("jobs/a.py", done))
    assert (case.name, case.classname, case.time) == ("jobs/a.py", "orchestrator", 0.25)
    assert (case.system_out, case.system_err) == ("hello\n", "warning\n")
    properties = {found.get("name"): found.get("value") for found in element(run(done)).iter("property")}
    assert properties == {
        "ending": "ok",
        "exit_code": "0",
        "attempts": "1",
        "cpu_seconds": "0.125",
        "peak_memory_bytes": "1048576",
    }


def test_earlier_attempts_are_reruns_of_what_failed_in_the_end() -> None:
    late = result(Ending.TIMED_OUT, reason="too slow\n", out=b"first\n")
    case = element(run(failed(b"third\n", history=(late, failed(b"second\n")))))
    assert [child.tag for child in case][1:] == ["failure", "rerunError", "rerunFailure", "system-err"]
    assert case.findtext("rerunError/stackTrace") == "too slow"
    assert case.findtext("rerunError/system-out") == "first\n"
    assert case.findtext("rerunFailure/system-err") == "second\n"
    assert case.findtext("system-err") == "third\n"
    assert case.find("rerunError").attrib == {"message": "too slow", "type": "timed out", "time": "0.250"}  # type: ignore[union-attr]


def test_earlier_attempts_are_flaky_failures_of_what_went_well_in_the_end() -> None:
    flaky_run = run(result(history=(failed(b"once\n"),)))
    case = xunit2.TestCase.fromelem(element(flaky_run))  # type: ignore[no-untyped-call]
    (flaky,) = case.flaky_failures()
    assert case.is_passed
    assert (flaky.message, flaky.system_err) == ("exited with code 1", "once\n")


def test_the_exception_of_a_script_is_in_the_message() -> None:
    traceback = b'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: 1\n'
    (case,) = cases(run(failed(traceback)))
    assert case.result[0].message == "KeyError: 1 (exited with code 1)"


def test_a_task_without_a_result_is_an_error() -> None:
    (case,) = cases(run(None))
    assert case.result[0].message == "the run ended before it had a result"


@pytest.mark.parametrize(
    "character", [*map(chr, range(0x20)), "\x7f", "\ufffe", "\uffff", "\ud800", "]]>", "<&>", "🐍"]
)
def test_any_output_and_name_makes_a_document_that_can_be_read(character: str) -> None:
    text = f"a{character}\nb"
    data = text.encode("utf-8", "surrogatepass")
    (case,) = cases(named(f"m{character}\nn", result(Ending.RAISED, out=data, err=data, reason=f"{text}\n")))
    assert (case.name[0], case.name[-1]) == ("m", "n")
    assert (case.system_out[0], case.system_out[-1]) == ("a", "b")
    if character in ("\ufffe", "\uffff"):
        assert case.system_out == "a\ufffd\nb"
    if character in ("]]>", "<&>", "🐍"):
        assert case.system_out == case.system_err == case.result[0].text == text


def test_escapes_of_terminals_do_not_reach_the_document() -> None:
    (case,) = cases(run(result(out=b"\x1b[31mred\x1b[0m\x1b]0;title\x07\n")))
    assert case.system_out == "red\n"


def test_a_flood_is_cut_in_its_middle() -> None:
    (case,) = cases(run(result(out=b"begin" + b"x" * 10**6 + b"end")))
    assert len(case.system_out) < STREAM_CHARACTERS + 100
    assert case.system_out.startswith("begin")
    assert case.system_out.endswith("end")
    assert "characters cut" in case.system_out
    assert bounded("short", 5) == "short"


def test_a_run_of_many_floods_stays_below_what_gitlab_takes() -> None:
    flood = result(out=b"<" * 100_000, err=b"&" * 100_000)
    text = junit(run(*[flood] * 5000))
    assert len(text.encode()) < 30_000_000
    ET.fromstring(text)
