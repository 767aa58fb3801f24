"""Say what would run, or what came of a run; the answer is the exit code."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from orchestrator.cli import codes
from orchestrator.cli.document import document_of_order, document_of_record, line_of_record
from orchestrator.cli.folds import guard
from orchestrator.cli.order import Order
from orchestrator.cli.record import Record
from orchestrator.cli.report import report, run_of
from orchestrator.cli.results_folder import ResultsFolder
from orchestrator.cli.streams import Outlet
from orchestrator.cli.view import View
from orchestrator.programs import Script, Shell
from orchestrator.reports.system import Ci
from orchestrator.reports.telling import remarks
from orchestrator.wording import count, visible

if TYPE_CHECKING:
    from rich.console import RenderableType


def tell_order(order: Order, out: Outlet, *, as_json: bool) -> int:
    """List what would run."""
    if as_json:
        out.write(document_of_order(order))
        return out.exit_code()
    out.write(f"would run {count(len(order.tasks), order.noun)}, {', '.join(order.conditions())}:\n")
    for index, task in enumerate(order.tasks):
        out.write(f"  {order.label(index)}")
        if isinstance(task.action, Script):
            if not task.name.startswith(task.action.path):
                out.write(f": {visible(os.path.relpath(task.action.path))}")
            if task.action.args:
                out.write(f": {visible(shlex.join(map(os.fsdecode, task.action.args)))}")
            if not os.path.lexists(task.action.path):
                out.write("  (there is no such file)")
        elif isinstance(task.action, Shell):
            out.write(f": {visible(task.action.text)}")
        if details := ", ".join(order.details(index)):
            out.write(f"  [{details}]")
        out.write("\n")
    return out.exit_code()


def tell_record(
    record: Record,
    folder: ResultsFolder | None,
    out: Outlet,
    err: Outlet,
    view: View,
    unwritten: Sequence[str] = (),
) -> int:
    """Report a run: for people on standard output; on standard error where that is for JSON or for what scripts print.

    When standard output takes nothing, people still find the report on standard error. `unwritten` says which files
    could not be written.
    """
    code = _code_of(record, folder, unwritten)
    if view.as_json:
        out.write(document_of_record(record, code))
    elif view.jsonl:
        out.write(line_of_record(record, code))
    elif not view.lines:
        shown = list(report(record, out.width(), quiet=view.quiet, told=view.verbose or view.folds))
        out.print(*(_guarded(shown, view.ci) if view.marks else shown))
    if view.machine or view.lines or (out.problem is not None and not out.reader_left):
        shown = list(report(record, err.width(), quiet=view.quiet, told=view.verbose and view.as_json))
        err.print(*_guarded(shown, view.ci))
    if record.problem:
        err.write(f"orchestrator: the run could not go on: {record.problem}\n")
    if folder is not None and folder.problem is not None:
        err.write(f"orchestrator: could not write all results: {folder.problem}\n")
    for complaint in unwritten:
        err.write(f"orchestrator: {complaint}\n")
    if marks := remarks(run_of(record), view.ci):
        (out if view.marks else err).write(marks)  # GitHub reads both
    trouble = out.exit_code()
    return code if record.stopped_by is not None else trouble or code


def _guarded(texts: list[RenderableType], ci: Ci) -> list[RenderableType]:
    """Put between two lines what GitHub must not take for commands: a report holds what tasks printed."""
    if not ci.guards:
        return texts
    opening, closing = guard(texts)
    return [Text(opening.rstrip(), no_wrap=True), *texts, Text(closing.rstrip(), no_wrap=True)]


def _code_of(record: Record, folder: ResultsFolder | None, unwritten: Sequence[str]) -> int:
    if record.stopped_by is not None:
        return 128 + record.stopped_by
    if record.problem or unwritten or (folder is not None and folder.problem is not None):
        return codes.TROUBLE
    return codes.GOOD if record.success else codes.FAILED
