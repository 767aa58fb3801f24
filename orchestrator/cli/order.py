"""What a batch is asked to do: which scripts, how many at a time, with what limits. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.limits import Limits
from orchestrator.wording import count, duration, size, visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The scripts in the order given, each run with `arguments`, `jobs` at a time."""

    scripts: tuple[str, ...]
    arguments: tuple[str, ...]
    jobs: int
    limits: Limits
    retries: int
    fail_fast: bool
    cwd: str | None
    env: Mapping[str, str]

    def commands(self) -> list[list[str]]:
        """Return each script with its arguments, as the runner takes them."""
        return [[script, *self.arguments] for script in self.scripts]

    def label(self, index: int) -> str:
        """Return the name under which people see a script: its path as given, on one line."""
        return visible(self.scripts[index])

    def conditions(self) -> Iterator[str]:
        """Say how the scripts run, one phrase for each thing that is not as usual."""
        yield f"{self.jobs} at a time"
        if self.limits.seconds is not None:
            yield f"at most {duration(self.limits.seconds)} each"
        if self.limits.memory is not None:
            yield f"at most {size(self.limits.memory)} each"
        if self.retries:
            yield f"up to {count(self.retries, 'retry', 'retries')} each"
        if self.fail_fast:
            yield "stopping at the first failure"
        if self.cwd is not None:
            yield f"in {visible(self.cwd)}"
