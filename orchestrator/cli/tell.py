"""Say what would run, or what came of a run; the answer is the exit code."""

from __future__ import annotations

import os
import shlex

from orchestrator.cli import codes
from orchestrator.cli.document import document_of_order, document_of_record, line_of_record
from orchestrator.cli.order import Order
from orchestrator.cli.record import Record
from orchestrator.cli.report import report
from orchestrator.cli.results_folder import ResultsFolder
from orchestrator.cli.streams import Outlet
from orchestrator.cli.view import View
from orchestrator.programs import Script, Shell
from orchestrator.wording import count, visible


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


def tell_record(record: Record, folder: ResultsFolder | None, out: Outlet, err: Outlet, view: View) -> int:
    """Report a run: for people on standard output; on standard error where that is for JSON or for what scripts print.

    When standard output takes nothing, people still find the report on standard error.
    """
    code = _code_of(record, folder)
    if view.as_json:
        out.write(document_of_record(record, code))
    elif view.jsonl:
        out.write(line_of_record(record, code))
    elif not view.lines:
        out.print(*report(record, out.width(), quiet=view.quiet, told=view.verbose))
    if view.machine or view.lines or (out.problem is not None and not out.reader_left):
        err.print(*report(record, err.width(), quiet=view.quiet, told=view.verbose and view.as_json))
    if record.problem:
        err.write(f"orchestrator: the run could not go on: {record.problem}\n")
    if folder is not None and folder.problem is not None:
        err.write(f"orchestrator: could not write all results: {folder.problem}\n")
    trouble = out.exit_code()
    return code if record.stopped_by is not None else trouble or code


def _code_of(record: Record, folder: ResultsFolder | None) -> int:
    if record.stopped_by is not None:
        return 128 + record.stopped_by
    if record.problem or (folder is not None and folder.problem is not None):
        return codes.TROUBLE
    return codes.GOOD if record.success else codes.FAILED
