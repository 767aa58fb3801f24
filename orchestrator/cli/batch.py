"""`orchestrator batch`: run scripts several at a time, each with limits, and tell what came of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator import settings
from orchestrator.cli.codes import CannotStartError
from orchestrator.cli.options import (
    CommandWithArguments,
    option_under,
    read_count,
    read_memory,
    read_seconds,
    read_seconds_or_zero,
    read_variables,
)
from orchestrator.cli.order import Order
from orchestrator.cli.scripts import expand
from orchestrator.cli.streams import Outlet, is_smart_terminal
from orchestrator.limits import GRACE_SECONDS, Limits

if TYPE_CHECKING:
    from orchestrator.cli.results_folder import ResultsFolder

_limit = option_under("Limits for each script")
_running = option_under("How to run")
_output = option_under("What to show and keep")

_EPILOG = """
\b
Examples:
  orchestrator batch scripts/*.py
  orchestrator batch -j 4 --timeout 90s --memory 2G nightly/
  orchestrator batch --retries 2 --results out fetch.py sum.py -- --year 2026
  orchestrator batch --json checks/*.sh > checks.json

\b
Exit codes:
  0    every script ended well
  1    a script failed, or was not run because another one failed
  2    wrong usage; nothing was run
  3    could not start, or could not write the results or the report
  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP
  141  the reader of the report left early, as in `| head`

The first Ctrl-C starts no more scripts and waits for the running ones; the second stops those too.
"""


@click.command(cls=CommandWithArguments, epilog=_EPILOG, short_help="Run scripts several at a time.")
@click.argument("scripts", nargs=-1, metavar="SCRIPTS...", type=click.UNPROCESSED)
@_running(
    "-j",
    "--jobs",
    type=int,
    callback=read_count(1),
    envvar="CODOMYRMEX_MAX_WORKERS",
    show_envvar=True,
    metavar="N",
    help="Run N scripts at a time; the number of CPUs if not given.",
)
@_running(
    "--retries",
    type=int,
    callback=read_count(0),
    default=0,
    metavar="N",
    help="Run a script that failed up to N times more.",
)
@_running("--fail-fast", is_flag=True, help="Once a script has failed, start no more and stop those that run.")
@_running(
    "--cwd",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Run the scripts in this folder.",
)
@_running(
    "--env",
    callback=read_variables,
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a variable for the scripts; may be repeated.",
)
@_running("--dry-run", is_flag=True, help="Only list what would run.")
@_limit("--timeout", callback=read_seconds, metavar="TIME", help="Stop a script after TIME: 90, 1.5s, 1h30m.")
@_limit(
    "--memory",
    callback=read_memory,
    metavar="SIZE",
    help="Stop a script whose processes together use more memory than SIZE: 512M, 2G.",
)
@_limit(
    "--grace",
    callback=read_seconds_or_zero,
    default=f"{GRACE_SECONDS:g}s",
    metavar="TIME",
    show_default=True,
    help="Leave a script TIME to end by itself between being asked to stop and killed.",
)
@_output(
    "--results",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write stdout, stderr and meta.json of each script to a folder NNN-name in the new or empty DIR.",
)
@_output(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document on standard output; what people read goes to standard error.",
)
@_output("-q", "--quiet", is_flag=True, help="Show only failures and the last line.")
@_output("-v", "--verbose", is_flag=True, help="Show the output of each script when it has finished.")
@_output(
    "--color/--no-color",
    default=None,
    help="Use colours or not; if not given, NO_COLOR, FORCE_COLOR and the terminal decide.",
)
def batch(
    scripts: tuple[str, ...],
    arguments: tuple[str, ...],
    jobs: int | None,
    retries: int,
    fail_fast: bool,
    cwd: str | None,
    env: dict[str, str],
    dry_run: bool,
    timeout: float | None,
    memory: int | None,
    grace: float,
    results: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    color: bool | None,
) -> int:
    """Run SCRIPTS several at a time, each in a process of its own, and tell what came of each.

    SCRIPTS are files, patterns such as 'jobs/*.py', and folders; a folder means the *.py files directly
    in it whose names do not start with _. A .py file runs under this Python, any other file by itself. The
    same script given twice runs twice. ARGUMENTS, after --, go to every script.
    """
    if not scripts:
        raise click.UsageError("no scripts given. For example: orchestrator batch scripts/*.py --timeout 90s")
    if quiet and verbose:
        raise click.UsageError("give either --quiet or --verbose, not both")
    found = expand(scripts)
    order = Order(
        scripts=tuple(found),
        arguments=arguments,
        jobs=min(jobs or _default_jobs(), len(found)),
        limits=Limits(timeout, memory, grace),
        retries=retries,
        fail_fast=fail_fast,
        cwd=cwd,
        env=env,
    )
    out, err = Outlet(sys.stdout, color), Outlet(sys.stderr, color)

    from orchestrator.cli.tell import tell_order, tell_record

    if dry_run:
        return tell_order(order, out, err, as_json=as_json)

    from orchestrator.cli.display import Display, LineDisplay
    from orchestrator.cli.live import LiveDisplay
    from orchestrator.cli.run import run

    folder = _open_results(results, order)
    printed = (err if as_json else out) if verbose else None
    display: Display
    if is_smart_terminal(sys.stderr) and not quiet:
        display = LiveDisplay(order, err, verbose=printed)
    else:
        display = LineDisplay(order, err, verbose=printed, quiet=quiet)
    record = run(order, display, folder)
    return tell_record(record, folder, out, err, as_json=as_json, quiet=quiet)


def _default_jobs() -> int:
    if settings.depth():
        return 1  # inside a worker the CPUs are already shared out
    import loky

    return int(loky.cpu_count())


def _open_results(path: str | None, order: Order) -> ResultsFolder | None:
    if path is None:
        return None
    from orchestrator.cli.results_folder import NotEmptyError, ResultsFolder

    try:
        return ResultsFolder(path, order)
    except NotEmptyError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise CannotStartError(f"cannot write to the results folder {path!r}: {error.strerror}") from error
