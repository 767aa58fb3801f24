"""A fold in the log of a CI system for each task that has finished: groups of GitHub, sections of GitLab.

What went well is folded, what failed lies open. GitHub cannot unfold a group by itself: there, failures stand in none.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.text import Text

from orchestrator.cli.order import Order
from orchestrator.cli.record import was_run
from orchestrator.cli.report import section
from orchestrator.cli.voice import Piece
from orchestrator.events import Event, Finished
from orchestrator.reports import github, gitlab
from orchestrator.reports.run import headline
from orchestrator.reports.system import Ci
from orchestrator.results import ExecutionResult


class Folds:
    """Say how a task ended and what it printed, as a system of CI folds it."""

    def __init__(self, order: Order, ci: Ci) -> None:
        self._order = order
        self._ci = ci

    def hear(self, event: Event) -> Iterator[Piece]:
        """Yield the fold of a task that has finished."""
        if not (isinstance(event, Finished) and was_run(event.result)):
            return
        label = self._order.label(event.index)
        if self._ci.system == "gitlab":
            yield from _on_gitlab(label, event.result)
        else:
            yield from _on_github(label, event.result, folded=event.result.success and "groups" in self._ci.features)


def _on_github(label: str, result: ExecutionResult, *, folded: bool) -> Iterator[Piece]:
    title, *lines, _ = section(label, result)
    if not folded:
        yield from _between(guard([title, *lines]), [title, *lines, Text()])
        return
    opening, closing = github.group(headline(label, result))
    yield Piece(1, opening)
    if lines:
        yield from _between(guard(lines), lines)
    yield Piece(1, closing)


def _on_gitlab(label: str, result: ExecutionResult) -> Iterator[Piece]:
    _, *lines, _ = section(label, result)
    name = gitlab.section_name(label, secrets.token_hex(4))  # the names of all runs in a job must differ
    ended = datetime.now(UTC).timestamp()
    marks = gitlab.section(
        name, headline(label, result), started=ended - result.execution_time, ended=ended, collapsed=result.success
    )
    yield from _between(marks, lines)


def guard(texts: Sequence[object]) -> tuple[str, str]:
    """Return the lines before and after texts in which GitHub is to see no command."""
    return github.guard("\n".join(map(str, texts)))


def _between(marks: tuple[str, str], texts: Sequence[Text]) -> Iterator[Piece]:
    yield Piece(1, marks[0])
    for text in texts:
        yield Piece(1, text)
    yield Piece(1, marks[1])
