"""`orchestrator batch`: run scripts several at a time, each with limits, and tell what came of them."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli import options
from orchestrator.cli.completion import complete_file
from orchestrator.cli.options import CommandWithArguments, halt_of, option_under
from orchestrator.cli.readings import Halt, Share

_running = option_under("How to run")

_EPILOG = """
\b
Examples:
  orchestrator batch scripts/*.py
  orchestrator batch -j 4 --timeout 90s --memory 2G nightly/
  orchestrator batch --retries 2 --results out fetch.py sum.py -- --year 2026
  orchestrator batch --matrix seed=1,2,3 --matrix size=10,100 train.py
  orchestrator discover | orchestrator batch - --jsonl > events.jsonl

\b
Exit codes:
  0    every script ended well
  1    a script failed, or was not run because another one failed
  2    wrong usage; nothing was run
  3    could not start, or could not write the results or the report
  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP
  141  the reader of the report left early, as in `| head`

The first Ctrl-C, and SIGHUP, start no more scripts and wait for the running ones; a second signal, and SIGTERM, stop
those too. SIGUSR1 tells what is running.
"""


@click.command(cls=CommandWithArguments, epilog=_EPILOG)
@click.argument("scripts", nargs=-1, metavar="SCRIPTS...", type=click.UNPROCESSED, shell_complete=complete_file)
@options.jobs
@options.retries
@options.halting
@options.matrix
@options.lists
@options.surroundings
@_running("--no-deps", is_flag=True, help="Leave aside what scripts say they depend on.")
@options.config
@options.dry_run
@options.limits(share=True)
@options.showing
def batch(
    scripts: tuple[str, ...],
    jobs: int | str | None,
    halt: Halt | None,
    fail_fast: bool,
    from_file: tuple[str, ...],
    null: bool,
    no_deps: bool,
    config: str | None,
    dry_run: bool,
    **given: Any,
) -> int:
    """Run SCRIPTS several at a time, each in a process of its own, and tell what came of each.

    SCRIPTS are files, patterns such as 'jobs/*.py', and folders; a folder means the *.py files directly
    in it whose names do not start with _. A lone - reads the list from standard input. A .py file runs under this
    Python, any other file by itself. The same script given twice runs twice. ARGUMENTS, after --, go to every
    script. A script's own needs (limits, arguments, what it depends on) come from the config and from the
    [tool.orchestrator] table in its PEP 723 block.
    """
    # Late: the help page and a wrong usage need none of it.
    from orchestrator.cli.gather import given_of, tasks_of
    from orchestrator.cli.median import MedianLimit
    from orchestrator.cli.order import Order
    from orchestrator.cli.scripts import named_scripts
    from orchestrator.cli.view import carry_out, view_of
    from orchestrator.cli.workers import jobs_of
    from orchestrator.config import read_config

    if not (scripts or from_file):
        raise click.UsageError("no scripts given. For example: orchestrator batch scripts/*.py --timeout 90s")
    view = view_of(given)
    halt = halt_of(halt, fail_fast)
    named = named_scripts(scripts, from_file, null=null)
    settings = read_config(config)
    share = given["timeout"] if isinstance(given["timeout"], Share) else None
    median = None if share is None else MedianLimit(share.factor)
    tasks = tasks_of(named, given_of({**given, "seconds": median}), settings, ignore_needs=no_deps)
    order = Order(
        tasks=tuple(tasks),
        jobs=jobs_of(jobs, settings, len(tasks)),
        fail_fast=halt.fail if halt else False,
        halt=halt.when if halt else "now",
        limit=share.text if share else None,
    )
    return carry_out(order, view, dry_run=dry_run, heard=median.hear if median else None)
