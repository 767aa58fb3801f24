"""`orchestrator run`: one script as if it had been started directly, but with limits; or a workflow by its name."""

from __future__ import annotations

import difflib
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click

from orchestrator.cli import codes, options
from orchestrator.cli.completion import complete_runnable
from orchestrator.cli.gather import Given, Named, tasks_of
from orchestrator.cli.options import CommandWithArguments
from orchestrator.cli.order import Order
from orchestrator.cli.readings import Share
from orchestrator.cli.view import View, carry_out
from orchestrator.cli.workers import jobs_of
from orchestrator.config import Config, read_config
from orchestrator.discovery import discover_scripts
from orchestrator.named import NamedWorkflow, named_workflows
from orchestrator.programs import Script
from orchestrator.wording import visible

_EPILOG = """
\b
Examples:
  orchestrator run report.py -- --year 2026
  orchestrator run ci                        a workflow of the config
  orchestrator run flows.py:nightly -v       a workflow of a Python file

\b
Exit codes:
  0    it ended well
  1    it failed: its own code stands on standard error
  2    wrong usage, or there is no such name; nothing was run
  3    could not start
  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP
"""


@click.command(cls=CommandWithArguments, epilog=_EPILOG)
@click.argument("name", metavar="NAME-OR-PATH", shell_complete=complete_runnable)
@options.jobs
@options.retries
@options.surroundings
@options.config
@options.dry_run
@options.limits
@options.showing
def run(
    name: str,
    arguments: tuple[str, ...],
    jobs: int | str | None,
    retries: int | None,
    cwd: str | None,
    env: dict[str, str],
    config: str | None,
    dry_run: bool,
    timeout: float | Share | None,
    memory: int | None,
    grace: float,
    **shown: Any,
) -> int:
    """Run one script, or a workflow by its name.

    NAME-OR-PATH is a workflow (`orchestrator workflows` lists them), the path of a script, the name of a script that
    `orchestrator discover` finds, or FILE.py:NAME for a workflow in a Python file. A script reads our standard input
    and writes to our standard output and error as it goes; with an option under "What to show and keep" it is
    reported on as in a batch. Of a workflow the options --jobs and --timeout hold as a whole; the other limits are
    for scripts. ARGUMENTS, after --, go to the script.
    """
    view = View(**shown)
    settings = read_config(config)
    if isinstance(timeout, Share):
        raise click.UsageError("--timeout takes a duration here, such as 90s")
    workflow = _workflow_called(name, settings)
    if workflow is not None:
        for option, value in (("--retries", retries), ("--memory", memory), ("--cwd", cwd), ("--env", env)):
            if value:
                raise click.UsageError(f"{option} is for scripts; the steps of a workflow say it themselves")
        if arguments:
            raise click.UsageError(f"{visible(name)} is a workflow, which takes no arguments")
        return _run_workflow(workflow, settings, jobs, timeout, view, dry_run=dry_run)
    path = _script_called(name, settings)
    given = Given(arguments=arguments, timeout=timeout, memory=memory, grace=grace, retries=retries, cwd=cwd, env=env)
    (task,) = tasks_of([Named(path)], given, settings, ignore_needs=True)
    order = Order(tasks=(task,), jobs=1)
    if dry_run or view != View(color=view.color):
        return carry_out(order, view, dry_run=dry_run)
    return _pass_through(order)


def _workflow_called(name: str, config: Config) -> NamedWorkflow | None:
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


def _script_called(name: str, config: Config) -> str:
    """Return the path of the script that a path or a name means."""
    if os.path.lexists(name) or os.sep in name:
        return name
    scripts = discover_scripts()
    found = [path for path in scripts if name in (os.path.basename(path), os.path.splitext(os.path.basename(path))[0])]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(map(visible, found[:10]))
        raise click.UsageError(f"{visible(name)} is the name of {len(found)} scripts, give a path: {listed}")
    known = [*named_workflows(config), *map(os.path.basename, scripts)]
    near = difflib.get_close_matches(name, known, 1)
    hint = (
        f"did you mean {visible(near[0])}?" if near else "`orchestrator workflows` and `orchestrator discover` list all"
    )
    raise click.UsageError(f"there is no workflow and no script {visible(name)}; {hint}")


def _run_workflow(
    named: NamedWorkflow, config: Config, jobs: int | str | None, timeout: float | None, view: View, *, dry_run: bool
) -> int:
    flow = named.load(config)
    wanted = jobs if jobs is not None else (named.table or {}).get("jobs")
    order = Order(
        tasks=tuple(flow),
        noun="task",
        jobs=jobs_of(wanted, config, len(flow)),
        timeout=timeout or (named.table or {}).get("timeout"),
    )
    if named.python is None:
        return carry_out(order, view, dry_run=dry_run)
    for option, value in (("--jobs", jobs), ("--timeout", timeout)):
        if value is not None:
            raise click.UsageError(f"{option} is for workflows of the config; {visible(named.name)} says it itself")
    return carry_out(order, view, dry_run=dry_run, own=flow)


def _pass_through(order: Order) -> int:
    """Run a script with our standard streams, and say on standard error why it failed."""
    from orchestrator.cli.display import LineDisplay
    from orchestrator.cli.execute import execute
    from orchestrator.cli.pump import Pump

    out, err = View().outlets()
    (task,) = order.tasks
    assert isinstance(task.action, Script)
    with ExitStack() as pumps:
        stdout, stderr = (pumps.enter_context(Pump(number)) for number in (1, 2))
        script = replace(task.action, stdin=0, stdout=stdout.descriptor, stderr=stderr.descriptor)
        attached = replace(order, tasks=(replace(task, action=script),))
        display = LineDisplay(attached, View().voice(attached), out, err, quiet=True)
        record = execute(attached, display, None)
    sys.stdout.flush()
    (result,) = record.results.values() or (None,)
    if record.problem:
        err.write(f"orchestrator: the run could not go on: {record.problem}\n")
        return codes.TROUBLE
    if record.stopped_by is not None:
        return 128 + record.stopped_by
    if stdout.reader_left:
        return codes.READER_LEFT
    assert result is not None
    if not result.success:
        err.write(f"orchestrator: {order.label(0)}: {result.ending.value}: {result.reason}")
    return codes.GOOD if result.success else codes.FAILED
