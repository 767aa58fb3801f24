"""What GitHub Actions reads in the log of a step: groups, annotations, and the guard around what others wrote.

A line that begins with `::`, after blanks, is a command, and so is one with `##[` anywhere in it. What a task printed
must not be one: it goes between `stop-commands` and a token that nobody can know. See "Workflow commands for GitHub
Actions" in GitHub's documentation.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from orchestrator.reports.run import Entry, Run, Verdict, last_lines, streams
from orchestrator.reports.tracebacks import Place, place_in
from orchestrator.wording import count, duration, neutral

MOST_ANNOTATIONS = 10
"""GitHub shows so many errors, and so many warnings, of a step; it drops the others without a word."""

_MESSAGE_LINES = 5
_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = _DATA | str.maketrans({":": "%3A", ",": "%2C"})


def command(name: str, data: str = "", **properties: str | int) -> str:
    """Return the line of a workflow command; empty properties are left out.

    >>> command("error", "50% off", file="a,b.py", line=3)
    '::error file=a%2Cb.py,line=3::50%25 off\\n'
    """
    said = ",".join(f"{key}={str(value).translate(_PROPERTY)}" for key, value in properties.items() if value)
    return f"::{name}{' ' if said else ''}{said}::{data.translate(_DATA)}\n"


def guard(text: str) -> tuple[str, str]:
    """Return the lines before and after a text in which GitHub is to see no command.

    The token is made when all of the text is there, and is not in it.
    """
    lowered = text.lower()  # the runner compares without regard to case
    token = secrets.token_hex(16)
    while token in lowered:
        token = secrets.token_hex(16)
    return command("stop-commands", token), command(token)


def group(title: str) -> tuple[str, str]:
    """Return the lines before and after what is folded under a title."""
    return command("group", title), command("endgroup")


def annotate(run: Run, root: str, workspace: str = "") -> str:
    """Return an error for each task that failed, and a warning for each that did not go quite well.

    That is one that had to be tried again, or was allowed to fail and did. `root` is the folder in which a place is
    looked for, `workspace` the one that holds the repository. Of more than GitHub shows the last line says how many
    there are.
    """
    tolerated = [entry for entry in run.entries if entry.verdict is Verdict.TOLERATED]
    errors = [command("error", neutral(run.trouble), title="orchestrator")] if run.trouble else []
    errors += [_of_failed(entry, "error", root, workspace) for entry in run.bad()]
    warnings = [_of_flaky(entry, root, workspace) for entry in run.entries if entry.flaky]
    warnings += [_of_failed(entry, "warning", root, workspace) for entry in tolerated]
    more = f"more {run.noun}"
    return "".join((*_at_most(errors, "error", more, "failed"), *_at_most(warnings, "warning", more, "with a warning")))


def _at_most(lines: list[str], kind: str, more: str, what: str) -> Iterator[str]:
    if len(lines) <= MOST_ANNOTATIONS:
        yield from lines
        return
    yield from lines[: MOST_ANNOTATIONS - 1]
    left = count(len(lines) - MOST_ANNOTATIONS + 1, more)
    yield command(kind, f"{left} {what}: the log has them all", title="orchestrator")


def _of_failed(entry: Entry, kind: str, root: str, workspace: str) -> str:
    result = entry.result
    if result is None:
        return command(kind, entry.cause, title=entry.headline)
    place = place_in(result.error, root, workspace)
    said = last_lines(dict(streams(result))["stderr"], _MESSAGE_LINES) if place is None else ""
    return _at(place, kind, f"{entry.cause}\n{said}".rstrip(), entry.headline)


def _of_flaky(entry: Entry, root: str, workspace: str) -> str:
    assert entry.result is not None
    failed = entry.result.history[-1:]
    place = place_in(failed[0].error, root, workspace) if failed else None
    why = f"attempt {entry.result.attempts - 1}: {Entry(entry.name, failed[0]).cause}" if failed else ""
    took = duration(entry.result.execution_time)
    return _at(place, "warning", why, f"{entry.name}: ok after {took}, but only at attempt {entry.result.attempts}")


def _at(place: Place | None, kind: str, message: str, title: str) -> str:
    if place is None:
        return command(kind, message, title=title)
    return command(kind, message, file=place.file, line=place.line, title=title)
