"""Find what a name means, a script or a workflow, and run it."""

from __future__ import annotations

import difflib
import math
import os
from contextlib import ExitStack
from dataclasses import replace

import click

from orchestrator.cli import codes
from orchestrator.cli.display import Unseen
from orchestrator.cli.execute import execute
from orchestrator.cli.gather import Given, Named, tasks_of
from orchestrator.cli.order import Order
from orchestrator.cli.pump import Pump
from orchestrator.cli.streams import no_standard_output
from orchestrator.cli.view import View, carry_out
from orchestrator.cli.wording import neutral
from orchestrator.cli.workers import jobs_of
from orchestrator.config import Config, script_path
from orchestrator.dag.workflow import Workflow
from orchestrator.named import NamedWorkflow, mistake_in_files, named_workflows
from orchestrator.programs import Script
from orchestrator.wording import visible


def run_script(name: str, given: Given, config: Config, view: View, *, dry_run: bool) -> int:
    """Run the script that a path or a name means: with our standard streams, or as the view has it."""
    (task,) = tasks_of([Named(script_called(name, config))], given, config, ignore_needs=True)
    order = Order(tasks=(task,), jobs=1)
    if dry_run or not view.passes_through:
        return carry_out(order, view, dry_run=dry_run, at_once=True)
    return _pass_through(order)


def workflow_called(name: str, config: Config) -> NamedWorkflow | None:
    """Return the workflow that a name means; None if it means a script."""
    file, colon, variable = name.rpartition(":")
    if colon and file.endswith(".py") and not os.path.lexists(name):
        if not os.path.isfile(file):
            raise click.UsageError(f"there is no file {visible(file)}")
        return NamedWorkflow(variable, "", name, python=name)
    workflow = named_workflows(config).get(name)
    if workflow is not None and os.path.isfile(name):
        raise click.UsageError(
            f"{visible(name)} is a workflow ({workflow.origin}) and a file here: write ./{visible(name)} for the file, "
            "or give one of them another name"
        )
    return workflow


def script_called(name: str, config: Config) -> str:
    """Return the path of the script that a path or a name means."""
    if os.path.lexists(name) or os.sep in name:
        return name
    path = script_path(name, config)
    if path is not None:
        return path
    from orchestrator.discovery import discover_scripts  # late: pathspec takes as long as a short script

    known = [*named_workflows(config), *map(os.path.basename, discover_scripts())]
    near = difflib.get_close_matches(name, known, 1)
    hint = (
        f"did you mean {visible(near[0])}?" if near else "`orchestrator workflows` and `orchestrator discover` list all"
    )
    if (mistake := mistake_in_files(config)) is not None:
        hint = f"{hint} ({mistake})"
    raise click.UsageError(f"there is no workflow and no script {visible(name)}; {hint}")


def run_workflow(
    named: NamedWorkflow, config: Config, jobs: int | str | None, timeout: float | None, view: View, *, dry_run: bool
) -> int:
    """Run a workflow: with these jobs and deadline, where it leaves them open, and as the view has it."""
    if named.python is not None:
        for option, value in (("--jobs", jobs), ("--timeout", timeout)):
            if value is not None:
                raise click.UsageError(f"{option} is for workflows of the config; {visible(named.name)} says it itself")
    order, own = order_of(named, config, jobs, timeout)
    return carry_out(order, view, dry_run=dry_run, own=own)


def order_of(
    named: NamedWorkflow, config: Config, jobs: int | str | None = None, timeout: float | None = None
) -> tuple[Order, Workflow | None]:
    """Return what a workflow is asked to do; and itself, if it comes from a Python file and has options of its own."""
    flow = named.load(config)
    table = named.table or {}
    order = Order(
        tasks=tuple(flow),
        noun="task",
        jobs=jobs_of(table.get("jobs") if jobs is None else jobs, config, len(flow)),
        timeout=timeout or table.get("timeout") or math.inf,
    )
    return order, flow if named.python is not None else None


def _pass_through(order: Order) -> int:
    """Run a script with our standard streams, and say on standard error why it failed."""
    _, err = View().outlets()
    (task,) = order.tasks
    assert isinstance(task.action, Script)
    with ExitStack() as pumps:
        stdout, stderr = (pumps.enter_context(Pump(number)) for number in (1, 2))
        script = replace(task.action, stdin=0, stdout=stdout.descriptor, stderr=stderr.descriptor)
        attached = replace(order, tasks=(replace(task, action=script),))
        record = execute(attached, Unseen(attached), None, at_once=True)
    (result,) = record.results.values() or (None,)
    if record.problem:
        err.write(f"orchestrator: the run could not go on: {record.problem}\n")
        return codes.TROUBLE
    if record.stopped_by is not None:
        return 128 + record.stopped_by
    if stdout.reader_left:
        return codes.READER_LEFT
    if stdout.problem is not None:
        return no_standard_output(stdout.problem)
    assert result is not None
    if note := result.streams[1].decode("utf-8", "replace"):  # its own went through the pump: this is ours
        err.write(f"orchestrator: {order.label(0)}: {neutral(note)}")
    if not result.success:
        why = neutral(result.reason)
        named = why if why.startswith(order.tasks[0].name) else f"{order.label(0)}: {result.ending.value}: {why}"
        err.write(f"orchestrator: {named}")
    return codes.GOOD if result.success else codes.FAILED
