"""`orchestrator pipe`: run commands, each reading what the one before has printed."""

from __future__ import annotations

import json
import sys

import click

from orchestrator.cli import codes, options
from orchestrator.cli.options import SectionedCommand, option_under
from orchestrator.cli.pump import Pump
from orchestrator.cli.readings import Share
from orchestrator.cli.record import reason
from orchestrator.cli.signals import StoppedAtOnce
from orchestrator.cli.streams import Outlet
from orchestrator.cli.wording import neutral, unicode
from orchestrator.pipes import pipe as run_pipe
from orchestrator.results import ExecutionResult

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
@options.surroundings
@options.limits
@option_under("What to show and keep")(
    "--json", "as_json", is_flag=True, help="Print one JSON document, with the output."
)
def pipe(
    commands: tuple[str, ...],
    stream: bool,
    cwd: str | None,
    env: dict[str, str],
    timeout: float | Share | None,
    memory: int | None,
    grace: float,
    as_json: bool,
) -> int:
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
    if isinstance(timeout, Share):
        raise click.UsageError("--timeout takes a duration here, such as 90s")
    stdin = None if sys.stdin is None or sys.stdin.isatty() else 0
    with StoppedAtOnce() as stopped, Pump(1) as out:
        result = run_pipe(
            commands,
            stream=stream,
            stdin=stdin,
            stdout=None if as_json else out.descriptor,
            timeout=timeout,
            memory_limit=memory,
            grace=grace,
            env=env,
            cwd=cwd,
        )
    code = codes.GOOD if result.success else codes.FAILED
    if stopped.received is not None:
        code = 128 + stopped.received
    elif out.reader_left:
        code = codes.READER_LEFT
    if as_json:
        Outlet(sys.stdout).write(json.dumps(_document(result, code), indent=2) + "\n")
    err = Outlet(sys.stderr)
    for stage in result.stages:
        text = stage.streams[1].decode("utf-8", "replace")
        err.write(neutral(text) if err.isatty() else text)
    if not result.success and code != codes.READER_LEFT:
        err.write(f"orchestrator: {result.reason}")
    return code


def _document(result: ExecutionResult, code: int) -> dict[str, object]:
    stdout, stderr = (stream.decode("utf-8", "replace") for stream in result.streams)
    return {
        "success": result.success,
        "exit_code": code,
        "seconds": round(result.execution_time, 6),
        "stdout": stdout,
        "stderr": stderr,
        "reason": result.reason.rstrip("\n"),
        "commands": [
            {
                "command": unicode(stage.name),
                "ending": stage.ending.value,
                "return_code": stage.return_code,
                "seconds": round(stage.execution_time, 6),
                "cpu_seconds": round(stage.cpu_time, 6),
                "peak_memory_bytes": stage.peak_memory,
                "stderr": stage.streams[1].decode("utf-8", "replace"),
                "reason": reason(stage),
            }
            for stage in result.stages
        ],
    }
