"""The Markdown of a job's summary page on GitHub: totals, a table of the tasks, the last lines of those that failed.

Nothing that a task is called or has printed can become Markdown or HTML there.
"""

from __future__ import annotations

import re

from orchestrator.reports.run import Entry, Run, Verdict, last_lines, streams
from orchestrator.results import ExecutionResult
from orchestrator.wording import duration, neutral, size

MOST_BYTES = 2**20
"""GitHub takes 1 MiB for a step, and refuses all of what is larger."""

_SIGNS = {
    Verdict.PASSED: "✅",
    Verdict.FAILED: "❌",
    Verdict.BROKEN: "💥",
    Verdict.TOLERATED: "⚠️",
    Verdict.SKIPPED: "⏭️",
}
_ORDER = (True, Verdict.TOLERATED, Verdict.PASSED, Verdict.SKIPPED)
"""Which stand first in the table; True stands for all that somebody has to look at."""

_COLUMNS = "|{}|ending|exit|attempts|wall|CPU|peak|\n|:--|:--|--:|--:|--:|--:|--:|\n"


def summary(run: Run, room: int = MOST_BYTES) -> str:
    """Return the page, in at most `room` bytes of UTF-8: what has no place is left out, and a note says so.

    The failures come first. It is "" when there is no room for the totals either.
    """
    head = f"### {plain(run.totals)}\n\n" + (f"{fenced(last_lines(run.trouble))}\n" if run.trouble else "")
    note = f"_There was no room for all of it: the log has the rest, and GitHub takes {size(MOST_BYTES)} in all._\n\n"
    room -= len(head.encode()) + len(note.encode())
    if room < 0:
        return ""
    entries = sorted(run.entries, key=lambda entry: _ORDER.index(entry.verdict.bad or entry.verdict))
    rows = _fitting([_COLUMNS.format(plain(run.noun)), *map(_row, entries)], room // 2)
    details = _fitting([_details(entry) for entry in run.bad()], room - len("".join(rows).encode()))
    complete = len(rows) > len(entries) and len(details) == sum(entry.verdict.bad for entry in entries)
    table = "".join(rows) + "\n" if len(rows) > 1 else ""
    return head + ("" if complete else note) + table + "".join(details)


def plain(text: str) -> str:
    """Return a text on one line that Markdown, with HTML and GitHub's own marks in it, shows as it is.

    Punctuation becomes references to characters, which CommonMark never takes for structure, nor GitHub for a link.

    >>> plain("a|b <i>")
    'a&#124;b &#60;i&#62;'
    """
    return re.sub(r"[!-,:-@\[-`{-~]|(?<=www)\.", lambda match: f"&#{ord(match[0])};", " ".join(neutral(text).split()))


def fenced(text: str) -> str:
    """Return a text as a block of code, between fences longer than any in it.

    >>> fenced("``" + "`")
    '````text\\n```\\n````\\n'
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def _row(entry: Entry) -> str:
    result = entry.result
    sign = _SIGNS[entry.verdict]
    cells = [plain(entry.name), f"{sign} {result.ending.value if result else 'no result'}", *_figures(result)]
    return f"|{'|'.join(cells)}|\n"


def _figures(result: ExecutionResult | None) -> list[str]:
    if result is None or result.pid is None:
        return ["-"] * 5
    times = duration(result.execution_time), duration(result.cpu_time)
    return [str(result.return_code), str(result.attempts), *times, size(result.peak_memory)]


def _details(entry: Entry) -> str:
    """Return what a task that failed has to say, folded: no line begins with a blank, which would end the HTML."""
    blocks = [] if entry.result is None else [("", entry.result.reason), *streams(entry.result)]
    said = [(name, last_lines(text)) for name, text in blocks]
    shown = "".join(f"{name}:\n\n{fenced(text)}\n" if name else f"{fenced(text)}\n" for name, text in said if text)
    return f"<details><summary>{plain(entry.headline)}: {plain(entry.cause)}</summary>\n\n{shown}</details>\n\n"


def _fitting(pieces: list[str], room: int) -> list[str]:
    """Return as many pieces, from the first on, as there are bytes for."""
    for number, piece in enumerate(pieces):
        room -= len(piece.encode())
        if room < 0:
            return pieces[:number]
    return pieces
