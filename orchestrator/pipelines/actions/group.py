"""Group: the jobs of one matrix, in their threads: so many at a time, and the failure of one stops the others."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator.outcome import Ending
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.sequence import cancelled
from orchestrator.results import ExecutionResult
from orchestrator.stopping import stoppable

_LOOK_SECONDS = 0.2
"""How often a job that waits for its turn looks whether the run was cancelled."""


class Group:
    """`max_parallel` jobs at a time (None: any number); with `fail_fast` one that fails, and may not, ends the rest."""

    def __init__(self, *, fail_fast: bool, max_parallel: int | None) -> None:
        self.cancellation = Cancellation()
        """What a failure of one stops."""
        self.fail_fast = fail_fast
        self.max_parallel = max_parallel
        self._places = None if max_parallel is None else threading.Semaphore(max_parallel)

    def run(self, name: str, job: Callable[[], ExecutionResult], cancellation: Cancellation) -> ExecutionResult:
        """Run a job when it is its turn; one that is cancelled before, or because another failed, is not run.

        `cancellation` is the job's, of which the group's is a parent.
        """
        if not self._enter(cancellation):
            return cancelled(name)
        try:
            if cancellation.requested:
                return cancelled(name)
            result = job()
            # Cancelled is not failed. Before the place is given back: whoever gets it is to know.
            if self.fail_fast and not (result.success or result.tolerated or result.ending is Ending.CANCELLED):
                self.cancellation.request()
            return result
        finally:
            if self._places is not None:
                self._places.release()

    def _enter(self, cancellation: Cancellation) -> bool:
        if self._places is None:
            return True
        over = threading.Event()
        with stoppable(over.set):
            while not self._places.acquire(timeout=_LOOK_SECONDS):
                if over.is_set() or cancellation.requested:
                    return False
        return True
