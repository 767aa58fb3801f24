"""The program `orchestrator`: a group of commands, each imported when it is used.

Commands return their exit code; here exceptions become exit codes too: 2 for wrong usage, 3 for a fault
of our own.
"""

from __future__ import annotations

import importlib
import traceback

import click

from orchestrator.cli import codes

_COMMANDS = {"batch": "orchestrator.cli.batch"}
"""Name of each command, and the module that holds it under the same name."""


class _LazyGroup(click.Group):
    """A group that imports a command when it is asked for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def program() -> None:
    """Run batches of Python work in worker processes, each task with limits and one clear outcome."""


def run_program() -> int:
    """Run the command that `sys.argv` asks for and return its exit code."""
    try:
        code = program.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return codes.INTERRUPTED
    except Exception:
        traceback.print_exc()
        click.echo("orchestrator: this is a fault of orchestrator itself, not of a script", err=True)
        return codes.TROUBLE
    return code if isinstance(code, int) else codes.GOOD
