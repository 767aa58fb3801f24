"""`orchestrator ci`: run pipelines and workflow files of GitHub Actions on this machine."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from orchestrator.cli import options
from orchestrator.cli.completion import complete_file
from orchestrator.cli.options import SectionedCommand, option_under
from orchestrator.cli.pages import WithHelp
from orchestrator.cli.readings import TIMEOUT

_running = option_under("How to run")

_EPILOG = """
\b
Examples:
  orchestrator ci run --list
  orchestrator ci run .github/workflows/ci.yml --job test -v
  orchestrator ci run pipeline.yml -j 2 --junit report.xml

\b
Exit codes:
  0    every stage or job ended well, or was skipped, or may fail
  1    one failed or was refused, or the time was up
  2    a mistake in the file, or wrong usage; nothing was run
  3    could not start, or a newer run took its place; or could not write the results or the report
  130  cancelled by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP
  141  the reader of the report left early, as in `| head`

The first Ctrl-C, and SIGHUP, cancel as CI systems do: what runs is stopped, and what says always() still runs. A second
signal, and SIGTERM, stop that too. SIGUSR1 tells what is running.
"""


class _Group(WithHelp, click.Group):
    """A group whose help page never raises."""


@click.group(cls=_Group)
def ci() -> None:
    """Run pipelines, and workflow files of GitHub Actions, on this machine."""


@ci.command(cls=SectionedCommand, epilog=_EPILOG, short_help="Run a pipeline or workflow file, list or show it.")
@click.argument("file", required=False, type=click.Path(), shell_complete=complete_file)
@options.jobs
@_running(
    "--job",
    "only",
    multiple=True,
    metavar="NAME",
    help="Run this stage or job, and what it waits for; may be repeated.",
)
@_running("--timeout", type=TIMEOUT, metavar="TIME", help="Stop everything after TIME: 90, 1.5s, 1h30m.")
@_running(
    "--fail-fast/--keep-going",
    default=False,
    help="At the first failure cancel the rest, as Ctrl-C does, or go on [go on].",
)
@_running("--strict", is_flag=True, help="Run nothing if there is anything in the file that would not be run here.")
@_running(
    "--event", type=click.Path(), metavar="FILE", help="Read the payload of the event, github.event, from a JSON file."
)
@_running(
    "--event-name",
    default="push",
    show_default=True,
    metavar="NAME",
    help="The event that started it: github.event_name.",
)
@_running("-l", "--list", "as_list", is_flag=True, help="Only list the stages or jobs.")
@options.config
@_running("-n", "--dry-run", is_flag=True, help="Only show what would run: every command, every step.")
@options.showing
def run(
    file: str | None,
    jobs: int | str | None,
    only: tuple[str, ...],
    timeout: float | None,
    fail_fast: bool,
    strict: bool,
    event: str | None,
    event_name: str,
    as_list: bool,
    config: str | None,
    dry_run: bool,
    **given: Any,
) -> int:
    """Run the pipeline in FILE: stages of our own form (YAML, TOML), or a workflow file of GitHub Actions.

    Without FILE it is the only one of pipeline.yml, pipeline.toml and .github/workflows/*.yml, or .yaml, that there is
    here. Stages run in the folder of their file, jobs in the repository, on this machine and with its tools; what
    cannot be run here is named before anything starts. Of jobs as many run at a time as there are CPUs, of stages all
    that may.
    """
    # Late: the help page and a wrong usage need none of it.
    from orchestrator.cli.pipelines import file_named, run_pipeline, tell_list, tell_plan, tell_warnings, unrun_parts
    from orchestrator.cli.view import view_of
    from orchestrator.cli.workers import jobs_of
    from orchestrator.config import read_config
    from orchestrator.pipelines.actions.host import read_event
    from orchestrator.pipelines.loading import load_pipeline
    from orchestrator.wording import count

    view = view_of(given)
    payload = None if event is None else read_event(event)
    pipeline = load_pipeline(file_named(file), event_name=event_name, event=payload)
    out, _ = view.outlets()
    tell_warnings(pipeline)
    if as_list:
        return tell_list(pipeline, out, as_json=view.machine)
    if strict and (unrun := unrun_parts(pipeline)):
        raise click.UsageError(f"--strict: {count(len(unrun), 'part')} of the file would not be run here")
    if dry_run:
        return tell_plan(pipeline, pipeline.workflow(only=only), out, as_json=view.machine)
    most: int | None = None
    if jobs is not None or pipeline.noun == "job":
        most = jobs_of(jobs, read_config(config), sys.maxsize)
    return run_pipeline(pipeline, view, only=only, jobs=most, timeout=timeout, fail_fast=fail_fast)


@ci.command(cls=SectionedCommand, short_help="Print the JSON Schema of pipelines, for editors.")
def schema() -> int:
    """Print the JSON Schema of our own form of pipelines, for editors.

    In YAML, the first line `# yaml-language-server: $schema=pipeline.schema.json` names it to an editor.
    """
    from orchestrator.cli.streams import Outlet
    from orchestrator.pipelines.files import json_schema

    out = Outlet(sys.stdout)
    out.write(json.dumps(json_schema(), indent=2) + "\n")
    return out.exit_code()
