"""How many tasks run at a time, when it was not, or not exactly, said."""

from __future__ import annotations

from orchestrator import settings
from orchestrator.config import Config


def jobs_of(given: int | str | None, config: Config, tasks: int) -> int:
    """Return the number of jobs: as typed, else the config's (or CODOMYRMEX_MAX_WORKERS), else the number of CPUs.

    A share ("50%") is of the CPUs, at least 1. Never more than there are tasks.
    """
    if given is None and settings.depth():
        return 1  # inside a worker the CPUs are already shared out
    wanted = given if given is not None else config.values["defaults"]["jobs"]
    if not isinstance(wanted, int):
        import loky

        share = 1.0 if wanted in (None, "auto") else float(str(wanted).rstrip("%")) / 100
        wanted = max(1, round(loky.cpu_count() * share))
    return max(1, min(wanted, tasks))
