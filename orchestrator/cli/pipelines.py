"""Pipelines at the command line: list one, show what would run, run it."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Collection, Sequence
from typing import Any

import click

from orchestrator.cli import codes
from orchestrator.cli.folds import guard
from orchestrator.cli.listing import columns
from orchestrator.cli.order import Order
from orchestrator.cli.streams import Outlet
from orchestrator.cli.view import View, carry_out
from orchestrator.cli.wording import neutral, unicode
from orchestrator.dag.workflow import Workflow
from orchestrator.events import Event, Finished
from orchestrator.exceptions import ConcurrencyError
from orchestrator.outcome import Ending
from orchestrator.pipelines.actions.concurrency import Superseded
from orchestrator.pipelines.actions.model import Note
from orchestrator.pipelines.actions.running import JobEnd
from orchestrator.pipelines.loading import Pipeline, Row
from orchestrator.wording import count, visible

_FILES = ("pipeline.yml", "pipeline.yaml", "pipeline.toml")
_FOLDER = os.path.join(".github", "workflows")


def pipeline_files() -> list[str]:
    """Return the pipelines of the working directory, by their usual names."""
    found = [name for name in _FILES if os.path.isfile(name)]
    if os.path.isdir(_FOLDER):
        names = sorted(name for name in os.listdir(_FOLDER) if name.endswith((".yml", ".yaml")))
        found += [os.path.join(_FOLDER, name) for name in names]
    return found


def file_named(file: str | None) -> str:
    """Return the file that was named; without one the only one there is. Raises click.UsageError."""
    if file is not None:
        return file
    found = pipeline_files()
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"there are {len(found)} pipelines here, name one: {', '.join(map(visible, found))}")
    raise click.UsageError(f"there is no pipeline here: name a file, or write {_FILES[0]}")


def tell_list(pipeline: Pipeline, out: Outlet, *, as_json: bool) -> int:
    """List the stages or jobs of a pipeline: name, what each waits for, how much it does."""
    if as_json:
        return _tell_document(pipeline, pipeline.rows(), out)
    lines = [
        (visible(row.name), f"after {', '.join(map(visible, row.needs))}" if row.needs else "", _size(pipeline, row))
        for row in pipeline.rows()
    ]
    out.write(columns(lines, out.width()))
    return out.exit_code()


def tell_plan(pipeline: Pipeline, flow: Workflow, out: Outlet, *, as_json: bool) -> int:
    """Show what would run: each stage or job with its commands or steps."""
    tasks: dict[str, list[str]] = {}
    for task in flow:
        tasks.setdefault(pipeline.row_of(task), []).append(task.name)
    rows = [row for row in pipeline.rows() if row.name in tasks]
    if as_json:
        return _tell_document(pipeline, rows, out)
    out.write(f"would run {visible(pipeline.name)}, {count(len(flow), pipeline.noun)}:\n")
    for row in rows:
        details = [f"after {', '.join(map(visible, row.needs))}"] if row.needs else []
        details += [f"if {visible(row.condition)}"] if row.condition not in ("", "success()") else []
        out.write(f"  {visible(row.name)}" + (f"  [{'; '.join(details)}]\n" if details else "\n"))
        for name in tasks[row.name]:
            if name != row.name:
                out.write(f"    as {visible(name)}\n")
        for line in row.lines:
            out.write("".join(f"    {part}\n" for part in neutral(line).splitlines()))
    return out.exit_code()


def run_pipeline(
    pipeline: Pipeline, view: View, *, only: Collection[str], jobs: int | None, timeout: float | None, fail_fast: bool
) -> int:
    """Run a pipeline, so many stages or jobs at a time (None: all that may), and return the exit code."""
    options: dict[str, Any] = {"live_output": view.line_buffer}
    if jobs is not None:
        options["max_concurrency"] = jobs
    if timeout is not None:
        options["timeout"] = timeout
    flow = pipeline.workflow(only=only, **options)
    order = Order(tasks=tuple(flow), noun=pipeline.noun, jobs=jobs or max(1, len(flow)), timeout=timeout or math.inf)
    summaries: dict[int, str] = {}

    def hear(event: Event) -> None:
        if not isinstance(event, Finished):
            return
        if isinstance(event.result.value, JobEnd) and event.result.value.summary:
            summaries[event.index] = event.result.value.summary
        if fail_fast and event.result.ending not in (Ending.OK, Ending.SKIPPED) and not event.result.tolerated:
            pipeline.cancellation.request()

    try:
        with pipeline.turn():
            code = carry_out(order, view, dry_run=False, heard=hear, own=flow, runner=_Stopped(pipeline, flow))
    except (Superseded, ConcurrencyError) as error:
        raise codes.CannotStartError(f"not run: {error}") from error
    _tell_summaries([(order.label(index), summaries[index]) for index in sorted(summaries)], view)
    if unrun := unrun_parts(pipeline):
        _, err = view.outlets()
        err.write(f"orchestrator: {count(len(unrun), 'part')} of the file not run here, as said above\n")
    return code


def unrun_parts(pipeline: Pipeline) -> list[Note]:
    """Return the notes on what is not run here."""
    return [note for note in pipeline.notes if note.kind in ("skipped", "refused")]


class _Stopped:
    """What signals stop: the first what is not to run in a cancelled run; the second everything."""

    def __init__(self, pipeline: Pipeline, flow: Workflow) -> None:
        self._pipeline = pipeline
        self._flow = flow

    def drain(self) -> None:
        """Cancel the pipeline, as CI systems do."""
        self._pipeline.cancellation.request()

    def cancel(self) -> None:
        """Stop everything."""
        self._flow.cancel()


def tell_warnings(pipeline: Pipeline) -> None:
    """Say on standard error what will not be as it is where the file comes from."""
    err = Outlet(sys.stderr)
    for warning in pipeline.warnings:
        err.write(f"orchestrator: {neutral(warning)}\n")


def _tell_summaries(summaries: Sequence[tuple[str, str]], view: View) -> None:
    """Show what jobs have written to GITHUB_STEP_SUMMARY; on standard error where the other one is for programs."""
    out, err = view.outlets()
    target = out if view.marks else err
    for name, text in summaries:
        shown = f"── summary of {name}\n{neutral(text).rstrip()}"
        before, after = guard([shown]) if view.ci.guards else ("", "")
        target.write(f"\n{before}{shown}\n{after}")


def _tell_document(pipeline: Pipeline, rows: Sequence[Row], out: Outlet) -> int:
    parts = "commands" if pipeline.noun == "stage" else "steps"
    document = {
        "dry_run": True,
        "name": unicode(pipeline.name),
        f"{pipeline.noun}s": [
            {"name": unicode(row.name), "needs": list(row.needs), "condition": row.condition, parts: list(row.lines)}
            for row in rows
        ],
        "notes": [{"kind": note.kind, "place": unicode(note.place), "what": note.what} for note in pipeline.notes],
    }
    out.write(json.dumps(document, indent=2) + "\n")
    return out.exit_code()


def _size(pipeline: Pipeline, row: Row) -> str:
    return count(len(row.lines), "command" if pipeline.noun == "stage" else "step")
