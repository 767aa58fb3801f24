"""The program `orchestrator`: a group of commands, each imported when it is used.

Commands return their exit code; here exceptions become exit codes too: 2 for wrong usage, 3 for a fault
of our own.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import IO, cast

import click

from orchestrator.cli import codes
from orchestrator.cli.pages import WithHelp, show_version
from orchestrator.cli.streams import Outlet
from orchestrator.exceptions import ConfigError, CycleError

COMMANDS = {
    "batch": "Run scripts several at a time.",
    "run": "Run one script, or a workflow by its name.",
    "pipe": "Run commands, each reading what the one before printed.",
    "chain": "Run scripts one after another, up to the first failure.",
    "ci": "Run pipelines, and workflow files of GitHub Actions.",
    "workflows": "List the workflows of this project.",
    "discover": "List the scripts of this project.",
    "config": "Show the settings in force, and where each comes from.",
    "info": "Show versions, limits of this machine, and how to get completion.",
    "menu": "Choose scripts and workflows from a menu.",
    "mcp": "Serve this project to an agent, over MCP.",
}
"""Name of each command, and what it does: so the help page needs to import none of them.

Each is in `orchestrator.cli.commands`, in a module and under a name like its own.
"""


class _LazyGroup(WithHelp, click.Group):
    """A group that imports a command when it is asked for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"to run a script: orchestrator run {name}"
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)


def load_command(name: str) -> click.Command:
    """Return a command by its name."""
    module = importlib.import_module(f"orchestrator.cli.commands.{name}")
    command = getattr(module, name)
    assert isinstance(command, click.Command)
    command.short_help = COMMANDS[name]
    return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=show_version,
    help="Show the version and exit.",
)
def program() -> None:
    """Run batches of Python work in worker processes, each task with limits and one clear outcome."""


def run_program() -> int:
    """Run the command that `sys.argv` asks for and return its exit code."""
    return guarded(lambda: program.main(prog_name="orchestrator", standalone_mode=False))


def guarded(call: Callable[[], object]) -> int:
    """Call, and return the exit code; exceptions become messages on standard error and their exit codes."""
    err = cast("IO[str]", Outlet(sys.stderr))  # which takes every message, also where nobody can read it
    try:
        code = call()
    except click.ClickException as error:
        error.show(err)
        return error.exit_code
    except (ConfigError, CycleError) as error:
        err.write(f"Error: {error}\n")
        return codes.USAGE
    except click.Abort:
        return codes.INTERRUPTED
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not _directory_exists():
            err.write("Error: the working directory does not exist any more: change to another one\n")
        else:
            traceback.print_exc(file=err)
            err.write("orchestrator: this is a fault of orchestrator itself, not of a script\n")
        return codes.TROUBLE
    return code if isinstance(code, int) else codes.GOOD


def _directory_exists() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
