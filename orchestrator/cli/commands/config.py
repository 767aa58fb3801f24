"""`orchestrator config`: show the settings in force, and where each comes from."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from orchestrator.cli import options
from orchestrator.cli.listing import columns
from orchestrator.cli.options import SectionedCommand, option_under
from orchestrator.cli.streams import Outlet
from orchestrator.config import get_script_config, read_config
from orchestrator.config.places import dotted, leaves
from orchestrator.wording import visible

_EPILOG = """
\b
Examples:
  orchestrator config
  orchestrator config report.py        what holds for one script
  orchestrator config --json

The file is the nearest orchestrator.toml, .yaml or .json, or pyproject.toml with [tool.orchestrator], from the working
directory upward to the root of the repository. What is typed wins over the environment (CODOMYRMEX_MAX_WORKERS,
CODOMYRMEX_SCRIPT_ROOT, CODOMYRMEX_WORKFLOW_TIMEOUT), that over the file, that over the defaults.
"""


@click.command(cls=SectionedCommand, epilog=_EPILOG)
@click.argument("script", required=False)
@options.config
@option_under("What to show and keep")("--json", "as_json", is_flag=True, help="Print one JSON document.")
def config(script: str | None, config: str | None, as_json: bool) -> int:
    """Show the settings in force and where each comes from; of SCRIPT, what holds for it.

    Times are in seconds, memory is in bytes. Of variables for scripts only the names are shown.
    """
    found = read_config(config)
    out = Outlet(sys.stdout)
    if script is not None:
        try:
            terms = get_script_config(script, config=found)
        except FileNotFoundError as error:
            raise click.UsageError(str(error)) from error
        terms = _without_values(terms)
        if as_json:
            out.write(json.dumps(terms, indent=2) + "\n")
        else:
            out.write(columns([(key, _said(value)) for key, value in terms.items()], out.width()))
        return out.exit_code()
    values = _without_values(found.values)
    if as_json:
        out.write(json.dumps({"path": found.path, "values": values, "origins": dict(found.origins)}, indent=2) + "\n")
        return out.exit_code()
    out.write(f"# {visible(found.path) if found.path else 'no config file: built-in defaults and the environment'}\n")
    rows = [
        (dotted(keys), "(set)" if "env" in keys and value else _said(value), found.origins[dotted(keys)])
        for keys, value in leaves(found.values)
    ]
    out.write(columns(rows, out.width()))
    return out.exit_code()


def _without_values(table: Any) -> Any:
    """Return the same, with the names of variables in place of the variables: their values may be secret."""
    if not isinstance(table, dict):
        return table
    return {key: sorted(value) if key == "env" else _without_values(value) for key, value in table.items()}


def _said(value: Any) -> str:
    return visible(value) if isinstance(value, str) else json.dumps(value)
