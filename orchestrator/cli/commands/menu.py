"""`orchestrator menu`: the interactive menu."""

from __future__ import annotations

import click

from orchestrator.cli.pages import WithHelp


@click.command(cls=WithHelp)
def menu() -> int:
    """Choose scripts and workflows from a menu, run them, and look at what came of them.

    Needs a terminal.
    """
    from orchestrator.cli.interactive import Menu

    return Menu().run()
