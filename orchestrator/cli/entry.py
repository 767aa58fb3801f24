"""`main`, the console entry. It imports nothing heavy before Ctrl-C ends the program without a word."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that `sys.argv` asks for and exit with its code.

    Ctrl-C kills the program like any other, instead of raising KeyboardInterrupt somewhere in an import,
    until a command handles it itself.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from orchestrator.cli.program import run_program
    from orchestrator.cli.streams import repair_standard_streams

    repair_standard_streams()
    sys.exit(run_program())
