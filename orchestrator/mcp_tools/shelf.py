"""Shelf: the runs of one client, those under way and the last ones that have ended.

All in the event loop's thread. What has ended is kept up to a number of runs and of bytes; then the oldest go.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Sequence

from orchestrator.dag.workflow import Workflow
from orchestrator.mcp_tools.refusals import Refused
from orchestrator.mcp_tools.runs import Execute, Run
from orchestrator.wording import count, size

MOST_RUNS = 50
MOST_BYTES = 256 << 20
RUN_BYTES = 128 << 20
"""Output that one run keeps at most."""
STREAM_BYTES = 1_000_000
"""Output that is kept of one stream of a task at most; less where many tasks share what a run keeps."""


class Shelf:
    """Begins runs, at most `at_a_time`, and finds them again by their ids."""

    def __init__(self, at_a_time: int, *, most_runs: int = MOST_RUNS, most_bytes: int = MOST_BYTES) -> None:
        self._at_a_time = at_a_time
        self._most_runs = most_runs
        self._most_bytes = most_bytes
        self._runs: dict[str, Run] = {}
        self._forgotten: set[str] = set()
        self._numbers = itertools.count(1)
        self._closed = False

    def begin(self, kind: str, flow: Workflow, execute: Execute | None = None) -> Run:
        """Begin a run of a workflow; `execute` does it, if there is more to it than `flow.execute`.

        Raises Refused when there are as many under way as there may be.
        """
        under_way = self._under_way()
        if len(under_way) >= self._at_a_time or self._closed:
            raise Refused(
                f"{count(len(under_way), 'run is', 'runs are')} under way ({_names(under_way)}), and this server "
                f"allows {self._at_a_time} at a time: wait for one with get_run, or stop one with cancel_run"
            )
        # The number for people; the rest, so that an id of an earlier server means nothing here.
        run_id = f"{kind}-{next(self._numbers)}-{secrets.token_hex(3)}"
        run = self._runs[run_id] = Run(run_id, flow, output_limit(len(flow)), self._tidy, execute)
        return run

    def find(self, run_id: str) -> Run:
        """Return a run. Raises Refused for one that is forgotten, or never was."""
        run = self._runs.get(run_id)
        if run is not None:
            return run
        if run_id in self._forgotten:
            raise Refused(
                f"run {run_id!r} is forgotten: the last {self._most_runs} runs are kept, and {size(self._most_bytes)} "
                "of their output; start it again, and ask for its results sooner"
            )
        raise Refused(f"there is no run {run_id!r:.100}; known here: {_names(list(self._runs.values()))}")

    async def close(self) -> None:
        """Stop every run, begin no more, and wait until all have ended."""
        self._closed = True
        under_way = self._under_way()
        for run in under_way:
            run.stop()
        await asyncio.gather(*(run.over() for run in under_way))

    def _under_way(self) -> list[Run]:
        return [run for run in self._runs.values() if run.state == "running"]

    def _tidy(self) -> None:
        """Forget the oldest runs that have ended, while there are too many or they keep too much."""
        ended = {run_id: run.kept_bytes for run_id, run in self._runs.items() if run.state != "running"}
        kept = sum(ended.values())
        for run_id, its in list(ended.items())[:-1]:  # the one that has just ended may be the newest: it stays
            if len(ended) <= self._most_runs and kept <= self._most_bytes:
                return
            kept -= its
            del ended[run_id], self._runs[run_id]
            self._forgotten.add(run_id)


def output_limit(tasks: int) -> int:
    """Return how many bytes are kept of each stream in a run of so many tasks.

    >>> output_limit(10), output_limit(10_000)
    (1000000, 6710)
    """
    return max(1, min(STREAM_BYTES, RUN_BYTES // (2 * max(1, tasks))))


def _names(runs: Sequence[Run]) -> str:
    return ", ".join(run.id for run in runs[-10:]) or "none"
