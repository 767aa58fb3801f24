"""`orchestrator mcp`: serve this project to an agent, over MCP on standard input and output."""

from __future__ import annotations

import os

import click

from orchestrator.cli import codes
from orchestrator.cli.options import SectionedCommand, option_under
from orchestrator.cli.readings import JOBS, MEMORY, TIMEOUT
from orchestrator.cli.workers import jobs_of
from orchestrator.config import read_config
from orchestrator.wording import visible

_most = option_under("The most that a call gets")

_EPILOG = """
\b
Examples:
  orchestrator mcp
  orchestrator mcp --root ~/project --jobs 4 --timeout 10m --memory 2G

\b
Exit codes:
  0    the client has left
  2    wrong usage
  3    could not start: the extra is missing, or the folder cannot be read
  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP

Tools: discover_scripts, start_batch, run_pipeline, get_run, get_output, cancel_run, analyze_workflow_dependencies,
get_scheduler_metrics. Runs end with the server, with every process they have started.
"""


@click.command(cls=SectionedCommand, epilog=_EPILOG)
@option_under("What to serve")(
    "--root",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    metavar="DIR",
    help="The folder that no path may leave [the working directory].",
)
@_most("-j", "--jobs", type=JOBS, metavar="N|N%|auto", help="Tasks at a time, in all batches together [auto].")
@_most("--timeout", type=TIMEOUT, metavar="TIME", help="For each task: 90, 1.5s, 1h30m [none].")
@_most("--memory", type=MEMORY, metavar="SIZE", help="For each task, with all its processes: 512M, 2G [none].")
@_most("--max-runs", type=click.IntRange(min=1), default=4, show_default=True, metavar="N", help="Runs at a time.")
def mcp(root: str, jobs: int | str | None, timeout: float | None, memory: int | None, max_runs: int) -> int:
    """Serve this project to an agent, over the Model Context Protocol on standard input and output.

    Agents start it themselves; to try it by hand, use an MCP inspector.
    """
    try:
        from orchestrator.mcp_tools.serve import serve  # late: the help page needs none of it
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("orchestrator"):
            raise
        raise codes.CannotStartError("the MCP SDK is missing: pip install 'codomyrmex-orchestrator[mcp]'") from error
    from orchestrator.mcp_tools.ceilings import MOST_TASKS, Ceilings
    from orchestrator.mcp_tools.root import Root

    try:
        folder = Root(root)
        os.chdir(folder.path)  # the config is the one of the project that is served
    except OSError as error:
        raise codes.CannotStartError(f"cannot serve {visible(root)}: {error.strerror}") from error
    most = jobs_of(jobs, read_config(), MOST_TASKS)
    return serve(folder, Ceilings(jobs=most, seconds=timeout, memory=memory, runs=max_runs))
