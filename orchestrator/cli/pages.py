"""The pages that click would print itself, help and version: like all we print, they may meet a full disk."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.streams import Outlet


class WithHelp(click.Command):
    """A command whose help page never raises for what becomes of it."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return click's option, which prints the page our way."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


def show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    """Print the version and end the program, if that is wanted: a callback for an option."""
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        _show(ctx, f"orchestrator {version('codomyrmex-orchestrator')}")


def _show_help(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        _show(ctx, ctx.get_help())


def _show(ctx: click.Context, page: str) -> None:
    out = Outlet(sys.stdout)
    out.write(f"{page}\n")
    ctx.exit(out.exit_code())
