"""`orchestrator chain`: run scripts one after another, up to the first failure."""

from __future__ import annotations

import itertools
from typing import Any

import click

from orchestrator.cli import options
from orchestrator.cli.completion import complete_file
from orchestrator.cli.options import CommandWithArguments

_EPILOG = """
\b
Examples:
  orchestrator chain fetch.py clean.py report.py
  orchestrator chain --timeout 10m --retries 1 migrate.py check.py -- -v

Exit codes and signals are those of `orchestrator batch`.
"""


@click.command(cls=CommandWithArguments, epilog=_EPILOG)
@click.argument("scripts", nargs=-1, metavar="SCRIPTS...", type=click.UNPROCESSED, shell_complete=complete_file)
@options.retries
@options.lists
@options.surroundings
@options.config
@options.dry_run
@options.limits()
@options.showing
def chain(
    scripts: tuple[str, ...], from_file: tuple[str, ...], null: bool, config: str | None, dry_run: bool, **given: Any
) -> int:
    """Run SCRIPTS one after another; after the first that fails the others are skipped, and say because of which.

    What SCRIPTS are, and where their limits come from, is as for `orchestrator batch`. ARGUMENTS, after --, go to every
    script.
    """
    # Late: the help page and a wrong usage need none of it.
    from orchestrator.cli.gather import given_of, tasks_of
    from orchestrator.cli.order import Order
    from orchestrator.cli.scripts import named_scripts
    from orchestrator.cli.view import carry_out, view_of
    from orchestrator.config import read_config

    if not (scripts or from_file):
        raise click.UsageError("no scripts given. For example: orchestrator chain fetch.py report.py")
    view = view_of(given)
    named = named_scripts(scripts, from_file, null=null)
    tasks = tasks_of(named, given_of(given), read_config(config), ignore_needs=True)
    for one, following in itertools.pairwise(tasks):
        following.dependencies = {one.name}
    return carry_out(Order(tasks=tuple(tasks), jobs=1), view, dry_run=dry_run)
