"""`orchestrator discover`: list the scripts of this project."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from orchestrator.cli.listing import columns, said
from orchestrator.cli.options import SectionedCommand, option_under
from orchestrator.cli.streams import Outlet
from orchestrator.cli.wording import unicode
from orchestrator.config import Config, read_config, script_config
from orchestrator.discovery import discover_scripts
from orchestrator.exceptions import ConfigError
from orchestrator.wording import visible

_shown = option_under("What to show and keep")

_EPILOG = """
\b
Examples:
  orchestrator discover -v
  orchestrator discover nightly -0 | orchestrator batch -0 -

Scripts are *.py files that are not parts of a package (or can be run all the same: a main guard, a #! line, a PEP 723
block), and executable files with a #! line. What is hidden, generated, in a virtual environment or excluded by
.gitignore is left out; [discovery] of the config has `root`, `include` and `exclude`.
"""


@click.command(cls=SectionedCommand, epilog=_EPILOG)
@click.argument("root", required=False, type=click.Path(exists=True, file_okay=False))
@_shown("-v", "--verbose", is_flag=True, help="Also show what each script says it does.")
@_shown("-0", "--null", is_flag=True, help="End each path in NUL, not newline, for `batch -0 -` or `xargs -0`.")
@_shown("--json", "as_json", is_flag=True, help="Print one JSON document, with the settings of each script.")
def discover(root: str | None, verbose: bool, null: bool, as_json: bool) -> int:
    """List the scripts below ROOT (CODOMYRMEX_SCRIPT_ROOT, else the config's, else the working directory), sorted."""
    scripts = discover_scripts(root)
    out = Outlet(sys.stdout)
    if null:
        out.write_bytes(b"".join(script.encode("utf-8", "surrogateescape") + b"\0" for script in scripts))
    elif as_json or verbose:
        config = read_config()
        terms = [_terms(script, config) for script in scripts]
        if as_json:
            # Variables are named, their values kept out.
            listed = [
                {**one, "path": unicode(script), "env": sorted(one["env"])}
                for script, one in zip(scripts, terms, strict=True)
            ]
            out.write(json.dumps(listed, indent=2) + "\n")
        else:
            rows = [
                (visible(script), said(one.get("problem", one["description"])))
                for script, one in zip(scripts, terms, strict=True)
            ]
            out.write(columns(rows, out.width()))
    else:
        out.write_bytes(b"".join(_line(script) for script in scripts))
    if not scripts:
        Outlet(sys.stderr).write("there are no scripts here\n")
    return out.exit_code()


def _terms(script: str, config: Config) -> dict[str, Any]:
    """Return what holds for a script; of one whose own table is mistaken, the mistake as its `problem`."""
    try:
        return script_config(script, config)
    except ConfigError as error:
        return {"path": script, "description": "", "env": {}, "problem": str(error)}


def _line(script: str) -> bytes:
    """Return a path as a line that `batch -` reads back: one with quotes or a line break is quoted as for bash."""
    if "\n" in script:
        escaped = script.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        script = f"$'{escaped}'"
    elif script != script.strip() or set(script) & set("'\"\\#"):
        import shlex

        script = shlex.quote(script)
    return script.encode("utf-8", "surrogateescape") + b"\n"
