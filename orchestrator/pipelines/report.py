"""What a bridge tells the CI system around it: a fold for each stage as it ends, and the reports at the end."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from orchestrator.reports import github, gitlab
from orchestrator.reports.run import Entry, Run, headline
from orchestrator.reports.system import Ci
from orchestrator.reports.telling import remarks, write_reports
from orchestrator.results import ExecutionResult
from orchestrator.wording import count, duration, neutral, visible


def fold(ci: Ci, result: ExecutionResult) -> str:
    """Return what the log of a system says of a stage that has ended; "" if it has no folds, or they are not wanted."""
    if "groups" not in ci.features:
        return ""
    title = headline(visible(result.name), result)
    text = neutral(f"{result.output}{result.error}")
    text = text if not text or text.endswith("\n") else f"{text}\n"
    if ci.system == "gitlab":
        ended = datetime.now(UTC).timestamp()
        started = ended - result.execution_time
        name = gitlab.section_name(result.name, secrets.token_hex(4))
        before, after = gitlab.section(name, title, started=started, ended=ended, collapsed=result.success)
        return f"{before}{text}{after}"
    if not result.success:  # GitHub cannot unfold a group by itself: a failure stands in none
        text = f"{title}\n{text}"
    opening, closing = github.guard(text)
    guarded = f"{opening}{text}{closing}" if text else ""
    before, after = github.group(title) if result.success else ("", "")
    return f"{before}{guarded}{after}"


def report(ci: Ci, junit: str | os.PathLike[str] | None, results: Sequence[ExecutionResult], seconds: float) -> str:
    """Write the reports of a run that is over, and return what its log still has to say."""
    counts = Counter(result.ending.value for result in results)
    ends = ", ".join(f"{number} {ending}" for ending, number in counts.items())
    run = Run(
        tuple(Entry(visible(result.name), result) for result in results),
        f"{count(len(results), 'stage')}: {ends} in {duration(seconds)}",
        seconds,
        datetime.now(UTC) - timedelta(seconds=seconds),
        "stage",
    )
    complaints = write_reports(run, ci, None if junit is None else os.fspath(junit))
    return remarks(run, ci) + "".join(f"{complaint}\n" for complaint in complaints)
