"""The exit codes of the commands, in one place."""

from __future__ import annotations

import click

GOOD = 0
FAILED = 1
"""A script failed."""
USAGE = 2
"""As click has it."""
TROUBLE = 3
"""Could not start, or not write what was asked for, or a fault of our own."""
INTERRUPTED = 130
"""128 + SIGINT, as a shell reports Ctrl-C."""
READER_LEFT = 141
"""128 + SIGPIPE, as a shell reports a program whose reader left."""


class CannotStartError(click.ClickException):
    """Report, in one line, why nothing was run although the usage was right."""

    exit_code = TROUBLE
