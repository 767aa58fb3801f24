"""`orchestrator run`: one script as if it had been started directly, but with limits; or a workflow by its name."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli import options
from orchestrator.cli.completion import complete_runnable
from orchestrator.cli.options import CommandWithArguments
from orchestrator.limits import GRACE_SECONDS

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
  141  the reader of the output left early, as in `| head`

Ctrl-C, SIGTERM and SIGHUP stop a script at once. Of a workflow the first Ctrl-C, and SIGHUP, start no more tasks and
wait for those that run; a second one, and SIGTERM, stop them. SIGUSR1 tells what is running.
"""


@click.command(cls=CommandWithArguments, epilog=_EPILOG)
@click.argument("name", metavar="NAME-OR-PATH", shell_complete=complete_runnable)
@options.jobs
@options.retries
@options.surroundings
@options.config
@options.dry_run
@options.limits("it", heading="Limits")
@options.showing
def run(
    name: str, arguments: tuple[str, ...], jobs: int | str | None, config: str | None, dry_run: bool, **given: Any
) -> int:
    """Run one script, or a workflow by its name.

    NAME-OR-PATH is a workflow (`orchestrator workflows` lists them), the path of a script, the name of a script that
    `orchestrator discover` finds, or FILE.py:NAME for a workflow in a Python file. A script reads our standard input
    and writes to our standard output and error as it goes; with an option under "What to show and keep" it is
    reported on as in a batch. Of a workflow the options --jobs and --timeout hold as a whole; the other limits are
    for scripts. ARGUMENTS, after --, go to the script.
    """
    # Late: the help page and a wrong usage need none of it.
    from orchestrator.cli.gather import given_of
    from orchestrator.cli.running import run_script, run_workflow, workflow_called
    from orchestrator.cli.view import view_of
    from orchestrator.config import read_config

    view = view_of(given)
    settings = read_config(config)
    workflow = workflow_called(name, settings)
    if workflow is None:
        if jobs is not None:
            raise click.UsageError("--jobs is for workflows: a script runs by itself")
        return run_script(name, given_of({**given, "arguments": arguments}), settings, view, dry_run=dry_run)
    for option in ("retries", "memory", "cwd", "env"):
        if given[option]:
            raise click.UsageError(f"--{option} is for scripts; the steps of a workflow say it themselves")
    if given["grace"] != GRACE_SECONDS:
        raise click.UsageError("--kill-after is for scripts")
    if arguments:
        raise click.UsageError(f"{name!r} is a workflow, which takes no arguments")
    return run_workflow(workflow, settings, jobs, given["timeout"], view, dry_run=dry_run)
