"""Group: the jobs of one matrix, in their threads: so many at a time, and the failure of one stops the others."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.sequence import cancelled
from orchestrator.results import ExecutionResult
from orchestrator.stopping import stoppable

_LOOK_SECONDS = 0.2
"""How often a job that waits for its turn looks whether the run was cancelled."""


class Group:
    """`max_parallel` jobs at a time (None: any number); with `fail_fast` one that fails, and may not, ends the rest."""

    def __init__(self, run: Cancellation | None, *, fail_fast: bool, max_parallel: int | None) -> None:
        self.cancellation = Cancellation(run)
        """What stops the group; the run's cancellation does too, if it is for the group."""
        self.fail_fast = fail_fast
        self.max_parallel = max_parallel
        self._places = None if max_parallel is None else threading.Semaphore(max_parallel)
        self._failed = False
        """Whether one has failed, with `fail_fast`. Set by any job's thread, and never taken back."""

    def run(self, name: str, job: Callable[[], ExecutionResult]) -> ExecutionResult:
        """Run a job when it is its turn; one whose turn has not come when the group is stopped is cancelled."""
        if not self._enter():
            return cancelled(name)
        try:
            if self._failed:
                return cancelled(name)
            result = job()
        finally:
            if self._places is not None:
                self._places.release()
        if self.fail_fast and not (result.success or result.tolerated):
            self._failed = True
            self.cancellation.request()
        return result

    def _enter(self) -> bool:
        if self._places is None:
            return True
        over = threading.Event()
        with stoppable(over.set):
            while not self._places.acquire(timeout=_LOOK_SECONDS):
                if over.is_set() or self.cancellation.requested:
                    return False
        return True
