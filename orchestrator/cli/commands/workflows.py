"""`orchestrator workflows`: list the workflows of this project."""

from __future__ import annotations

import json
import sys

import click

from orchestrator.cli import options
from orchestrator.cli.listing import columns, said
from orchestrator.cli.options import SectionedCommand, option_under
from orchestrator.cli.streams import Outlet
from orchestrator.cli.wording import unicode
from orchestrator.config import read_config
from orchestrator.named import mistake_in_files, named_workflows
from orchestrator.settings import WORKFLOWS_FILE
from orchestrator.wording import visible

_EPILOG = f"""
They come from the tables [workflows.NAME] of the config, and from {WORKFLOWS_FILE}, next to the config or in the
working directory, which is read but not run. `orchestrator run NAME` runs one.
"""


@click.command(cls=SectionedCommand, epilog=_EPILOG)
@options.config
@option_under("What to show and keep")("--json", "as_json", is_flag=True, help="Print one JSON document.")
def workflows(config: str | None, as_json: bool) -> int:
    """List the workflows of this project: name, where it stands, what it does."""
    settings = read_config(config)
    found = named_workflows(settings).values()
    mistake = mistake_in_files(settings)
    out, err = Outlet(sys.stdout), Outlet(sys.stderr)
    if as_json:
        listed = [{"name": w.name, "origin": unicode(w.origin), "description": unicode(w.description)} for w in found]
        out.write(json.dumps(listed, indent=2) + "\n")
    elif found:
        out.write(
            columns(
                [(visible(w.name), visible(w.origin), said(w.description)) for w in found],
                out.width(),
            )
        )
    elif mistake is None:
        err.write(
            f"there are no workflows: write one to [workflows.NAME] in orchestrator.toml, or to {WORKFLOWS_FILE}\n"
        )
    if mistake is not None:
        err.write(f"{mistake}\n")
    return out.exit_code()
