"""What the shell offers after `orchestrator run`: workflows, scripts, and then files."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell, which knows files best."""
    return [CompletionItem(incomplete, type="file")]


def complete_runnable(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names that begin like this; whatever goes wrong, a shell must not hear of it."""
    from orchestrator.config import read_config
    from orchestrator.discovery import discover_scripts
    from orchestrator.named import named_workflows

    try:
        known = {name: workflow.description for name, workflow in named_workflows(read_config()).items()}
        known |= dict.fromkeys(discover_scripts(), "")
    except (ValueError, OSError):
        known = {}
    found = [CompletionItem(name, help=text) for name, text in known.items() if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]
