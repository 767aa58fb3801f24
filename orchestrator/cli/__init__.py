"""The command line: `orchestrator`, also `python -m orchestrator`. Only this package knows click and rich."""

from orchestrator.cli.entry import main

__all__ = ["main"]
