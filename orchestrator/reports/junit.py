"""JUnit XML, as Jenkins and GitLab read it: a testsuite for the run, a testcase for each task.

Follows the format of Maven's Surefire, which is where readers look for a definition: attempts before the last one are
`rerunFailure` or `flakyFailure` (and `…Error`). GitLab takes files below 30 MB, so what tasks printed is cut.
"""

from __future__ import annotations

import re
from typing import assert_never
from xml.etree import ElementTree as ET

from orchestrator.reports.run import Entry, Run, Verdict, cause, streams, verdict_on
from orchestrator.results import ExecutionResult
from orchestrator.wording import neutral

STREAM_CHARACTERS = 2**16
"""So much of a stream is kept: its beginning, and three times as much of its end."""

_ALL_CHARACTERS = 2**22
"""So much of all streams and reasons together, each character up to five bytes (`&amp;`); but some of each."""
_FEWEST_CHARACTERS = 2**9

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no Char of XML 1.0, and cannot be escaped either (https://www.w3.org/TR/xml/#charsets)."""


def junit(run: Run, name: str = "orchestrator") -> str:
    """Return the document. `name` is that of the suite, and the class name of each case."""
    verdicts = [entry.verdict for entry in run.entries]
    counts = {
        "tests": len(verdicts),
        "failures": verdicts.count(Verdict.FAILED),
        "errors": verdicts.count(Verdict.BROKEN),
        "skipped": verdicts.count(Verdict.SKIPPED) + verdicts.count(Verdict.TOLERATED),
    }
    figures = {"name": name, **{key: str(number) for key, number in counts.items()}, "time": _seconds(run.seconds)}
    root = ET.Element("testsuites", figures)
    started = run.started.isoformat(timespec="seconds")
    suite = ET.SubElement(root, "testsuite", {**figures, "timestamp": started})
    texts = 3 * sum(entry.result.attempts if entry.result else 0 for entry in run.entries)
    share = _ALL_CHARACTERS // max(1, texts)
    most = max(_FEWEST_CHARACTERS, min(STREAM_CHARACTERS, share))
    for entry in run.entries:
        _add_case(suite, name, entry, most)
    if run.trouble:
        _add_text(suite, "system-err", run.trouble)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def bounded(text: str, most: int) -> str:
    """Cut the middle out of a text of more than so many characters, and say so there.

    >>> bounded("0123456789abcdef", 8)
    '01\\n[... 8 characters cut ...]\\nabcdef'
    """
    if len(text) <= most:
        return text
    head = most // 4
    return f"{text[:head]}\n[... {len(text) - most} characters cut ...]\n{text[head - most :]}"


def _add_case(suite: ET.Element, class_name: str, entry: Entry, most: int) -> None:
    result = entry.result
    seconds = _seconds(result.execution_time if result else 0.0)
    case = ET.SubElement(suite, "testcase", classname=class_name, name=_allowed(entry.name), time=seconds)
    if result is None:
        ET.SubElement(case, "error", message=entry.cause, type="no result")
        return
    properties = ET.SubElement(case, "properties")
    for name, value in _properties(result):
        ET.SubElement(properties, "property", name=name, value=value)
    match entry.verdict:
        case Verdict.PASSED:
            pass
        case Verdict.SKIPPED:
            ET.SubElement(case, "skipped", message=_allowed(cause(result)))
        case Verdict.TOLERATED:
            ET.SubElement(case, "skipped", message=_allowed(f"it may fail, and did: {cause(result)}"))
        case Verdict.FAILED:
            _add_failure(case, "failure", result, most)
        case Verdict.BROKEN:
            _add_failure(case, "error", result, most)
        case _:
            assert_never(entry.verdict)
    for earlier in result.history:
        kind = "Failure" if verdict_on(earlier) is Verdict.FAILED else "Error"
        _add_attempt(case, f"{'rerun' if entry.verdict.bad else 'flaky'}{kind}", earlier, most)
    _add_streams(case, result, most)


def _properties(result: ExecutionResult) -> tuple[tuple[str, str], ...]:
    return (
        ("ending", result.ending.value),
        ("exit_code", str(result.return_code)),
        ("attempts", str(result.attempts)),
        ("cpu_seconds", _seconds(result.cpu_time)),
        ("peak_memory_bytes", str(result.peak_memory)),
    )


def _add_failure(parent: ET.Element, tag: str, result: ExecutionResult, most: int) -> ET.Element:
    failure = ET.SubElement(parent, tag, message=_allowed(cause(result)), type=result.ending.value)
    failure.text = _allowed(bounded(result.reason.strip("\n"), most))
    return failure


def _add_attempt(case: ET.Element, tag: str, result: ExecutionResult, most: int) -> None:
    attempt = _add_failure(case, tag, result, most)
    attempt.set("time", _seconds(result.execution_time))
    stack, attempt.text = attempt.text, None
    if stack:
        _add_text(attempt, "stackTrace", stack)
    _add_streams(attempt, result, most)


def _add_streams(parent: ET.Element, result: ExecutionResult, most: int) -> None:
    for tag, (_, text) in zip(("system-out", "system-err"), streams(result), strict=True):
        if text:
            _add_text(parent, tag, bounded(text, most))


def _add_text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _allowed(text)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _allowed(text: str) -> str:
    """Return a text without what steers a terminal, and with U+FFFD for what XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", neutral(text))
