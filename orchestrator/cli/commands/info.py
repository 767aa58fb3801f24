"""`orchestrator info`: versions, limits of this machine, and how to get completion."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import sys
from importlib.metadata import version

import click

from orchestrator.cli.listing import columns
from orchestrator.cli.options import SectionedCommand, option_under
from orchestrator.cli.streams import Outlet
from orchestrator.config import read_config
from orchestrator.exceptions import ConfigError
from orchestrator.wording import size

_EPILOG = """
\b
Completion, one line for the file that your shell reads at its start:
  bash (~/.bashrc)   eval "$(_ORCHESTRATOR_COMPLETE=bash_source orchestrator)"
  zsh (~/.zshrc)     eval "$(_ORCHESTRATOR_COMPLETE=zsh_source orchestrator)"
  fish (~/.config/fish/completions/orchestrator.fish)
                     _ORCHESTRATOR_COMPLETE=fish_source orchestrator | source
"""


@click.command(cls=SectionedCommand, epilog=_EPILOG)
@option_under("What to show and keep")("--json", "as_json", is_flag=True, help="Print one JSON document.")
def info(as_json: bool) -> int:
    """Show versions, what this machine has, and which config is read: for a report of a fault."""
    import loky

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    temporary = os.environ.get("TMPDIR", "/tmp")
    try:
        config = read_config().path or "none"
    except ConfigError as error:
        config = f"unreadable: {error}"
    facts: dict[str, str] = {
        "orchestrator": version("codomyrmex-orchestrator"),
        "Python": f"{platform.python_version()} ({sys.executable})",
        **{name: version(name) for name in ("click", "cloudpickle", "loky", "psutil", "rich")},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPUs": f"{loky.cpu_count()} to use, {os.cpu_count()} in all",
        "memory": size(memory),
        "open files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        "processes": str(resource.getrlimit(resource.RLIMIT_NPROC)[0]),
        "temporary": f"{temporary}, {size(shutil.disk_usage(temporary).free)} free",
        "config": config,
    }
    out = Outlet(sys.stdout)
    out.write(json.dumps(facts, indent=2) + "\n" if as_json else columns(list(facts.items()), out.width()))
    return out.exit_code()
