"""`orchestrator pipe`: run commands, each reading what the one before has printed."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli import options as shared
from orchestrator.cli.options import SectionedCommand, option_under

_EPILOG = """
\b
Examples:
  orchestrator pipe "echo hello" "tr '[:lower:]' '[:upper:]'"
  orchestrator pipe "pg_dump shop" "gzip -9" > shop.sql.gz
  orchestrator pipe --stream "yes" "head -3"

\b
Exit codes:
  0    every command ended well
  1    a command failed: which one, and its own code, stands on standard error
  2    wrong usage; nothing was run
  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP
  141  the reader of the output left early, as in `| head`
"""


@click.command(cls=SectionedCommand, epilog=_EPILOG)
@click.argument("commands", nargs=-1, metavar="COMMANDS...", type=click.UNPROCESSED)
@option_under("How to run")("--stream", is_flag=True, help="Run all commands at once, as a shell does.")
@shared.surroundings
@shared.limits("the whole pipe", heading="Limits")
@option_under("What to show and keep")(
    "--json", "as_json", is_flag=True, help="Print one JSON document, with the output."
)
def pipe(commands: tuple[str, ...], as_json: bool, memory: int | None, **options: Any) -> int:
    """Run COMMANDS, each a line for the shell, feeding what one prints to the next; print what the last one does.

    A command starts when the one before has ended well, so that half a result is never passed on; with --stream all
    run at once. The first reads standard input, unless that is a terminal. --timeout is for the whole pipe, --memory
    for each command.
    """
    if not commands:
        raise click.UsageError('no commands given. For example: orchestrator pipe "echo hello" "tr a-z A-Z"')
    for place, command in enumerate(commands, 1):
        if not command.strip():
            raise click.UsageError(f"command {place} is empty")
    from orchestrator.cli.piping import run_pipe  # late: the help page and a wrong usage need none of it

    return run_pipe(commands, as_json=as_json, memory_limit=memory, **options)
