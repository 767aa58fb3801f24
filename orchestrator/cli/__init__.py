"""The command line: `orchestrator`, also `python -m orchestrator`. Only this package knows click and rich."""

from orchestrator.cli.program import main

__all__ = ["main"]
