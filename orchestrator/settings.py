"""The environment variables of the package, read in one place."""

from __future__ import annotations

import os

from orchestrator.limits import check_seconds, parse_seconds

DEFAULT_WORKERS = 4

WORKFLOWS_FILE = "flows.py"
"""Workflows stand in a file of this name: it is a script only if it can be run by itself."""

DEPTH = "ORCHESTRATOR_DEPTH"
"""Set in workers: how many pools this process is nested in."""
MAX_DEPTH = 3


def max_workers() -> int:
    """Return the default number of workers: `CODOMYRMEX_MAX_WORKERS`, else 4; 1 inside a worker.

    Raises ValueError when the variable is not a whole number above zero.
    """
    if depth():
        return 1
    text = os.environ.get("CODOMYRMEX_MAX_WORKERS", "").strip()
    if not text:
        return DEFAULT_WORKERS
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"CODOMYRMEX_MAX_WORKERS must be a whole number above zero, not {text!r}")
    return int(text)


def check_workers(value: object, what: str = "max_workers") -> int:
    """Return `value` as a number of workers; None means the default.

    Raises TypeError for what is not an int (booleans included), ValueError for less than one.
    """
    if value is None:
        return max_workers()
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be a whole number of workers, not {value!r}")
    if value < 1:
        raise ValueError(f"{what} must be at least 1, not {value}")
    return value


def workflow_timeout() -> float | None:
    """Return the deadline of a workflow that has none of its own: `CODOMYRMEX_WORKFLOW_TIMEOUT` in seconds, else None.

    Units are understood too ("90s", "1h30m"). Raises ValueError when it is no duration above zero.
    """
    text = os.environ.get("CODOMYRMEX_WORKFLOW_TIMEOUT", "").strip()
    try:
        return check_seconds(parse_seconds(text), "it") if text else None
    except ValueError as error:
        raise ValueError(f"CODOMYRMEX_WORKFLOW_TIMEOUT: {error}") from None


def script_root() -> str | None:
    """Return the folder where scripts are looked for: `CODOMYRMEX_SCRIPT_ROOT` as it stands, else None."""
    text = os.environ.get("CODOMYRMEX_SCRIPT_ROOT", "")
    return text if text.strip() else None


def depth() -> int:
    """Return how many workers this process is nested in; 0 in an ordinary program."""
    text = os.environ.get(DEPTH, "")
    return int(text) if text.isdecimal() else 0
