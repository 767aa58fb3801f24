"""Run: one workflow that an agent has started, and what is kept of each of its tasks.

It belongs to the event loop in which it was begun: events, questions and orders all come in that thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never

from orchestrator.dag.workflow import Workflow
from orchestrator.events import Event, Finished, Printed, Retrying, Started
from orchestrator.exceptions import OrchestratorTimeoutError, TaskFailedError
from orchestrator.mcp_tools.kept import Kept
from orchestrator.mcp_tools.pages import as_text
from orchestrator.outcome import Ending
from orchestrator.results import ExecutionResult

RunState = Literal["running", "finished", "failed", "cancelled"]
"""`finished`: every task ended well; `failed`: one did not, or the run could not go on."""
RowState = Literal["waiting", "running", "resting", "ended"]
"""`resting`: an attempt failed, and another follows."""
Execute = Callable[[], Coroutine[Any, Any, object]]
Which = Literal["all", "failed", "running", "waiting", "ended"]

_REASON_CHARACTERS = 2000


@dataclass(slots=True)
class Row:
    """What is known of one task. Its run alone changes it."""

    index: int
    name: str
    state: RowState = "waiting"
    attempts: int = 0
    ending: Ending | None = None
    return_code: int | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    reason: str = ""
    """Why it did not end well, its end if it is long."""
    streams: list[bytes | Kept] = field(default_factory=lambda: [b"", b""])
    """Of the present or last attempt: as much as is kept."""
    started: float = 0.0
    """On the monotonic clock."""
    tolerated: bool = False
    """Whether it may fail: a stage of a pipeline can say so."""

    @property
    def failed(self) -> bool:
        """Whether it has ended, and neither well nor as it may; what was skipped has not failed, but maybe another."""
        return self.ending not in (None, Ending.OK, Ending.SKIPPED) and not self.tolerated

    def is_among(self, which: Which) -> bool:
        """Whether it is one of those that a question is about."""
        match which:
            case "all":
                return True
            case "failed":
                return self.failed
            case "waiting":
                return self.state in ("waiting", "resting")
            case "running" | "ended":
                return self.state == which
            case _:
                assert_never(which)


class Run:
    """One workflow under way, or ended. Made and begun at once; `on_end` is called when it has ended."""

    def __init__(
        self,
        run_id: str,
        flow: Workflow,
        output_limit: int,
        on_end: Callable[[], object],
        execute: Execute | None = None,
    ) -> None:
        self.id = run_id
        self.name = flow.name
        self.output_limit = output_limit
        """Bytes kept of each stream of a task."""
        self.rows = [Row(index, as_text(name)) for index, name in enumerate(flow.tasks)]
        self.state: RunState = "running"
        self.problem = ""
        """Why it ended before all tasks had: "" if it did not."""
        self._began = time.monotonic()
        self._seconds = 0.0
        self._on_end = on_end
        flow.add_listener(self._hear)
        self._task = asyncio.get_running_loop().create_task((execute or flow.execute)(), name=run_id)
        self._task.add_done_callback(self._ended)

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return time.monotonic() - self._began if self.state == "running" else self._seconds

    @property
    def kept_bytes(self) -> int:
        """How much output it keeps."""
        return sum(len(stream) for row in self.rows for stream in row.streams)

    def counts(self) -> dict[str, int]:
        """Return how many tasks ended in each way, and how many have not; nothing that is zero."""
        return dict(Counter(row.ending.value if row.ending else row.state for row in self.rows))

    def select(self, which: Which) -> Iterator[Row]:
        """Yield the tasks that a question is about, in their order."""
        return (row for row in self.rows if row.is_among(which))

    def seconds_of(self, row: Row) -> float:
        """Return how long a task's last attempt took, or the present one has taken."""
        return time.monotonic() - row.started if row.state == "running" else row.seconds

    def stop(self) -> None:
        """Have everything stopped that runs, and nothing more started. One that has ended stays as it is."""
        self._task.cancel()

    async def over(self, seconds: float | None = None) -> None:
        """Wait until it has ended, with no process left; at most so long."""
        await asyncio.wait([self._task], timeout=seconds)

    def _hear(self, event: Event) -> None:
        row = self.rows[event.index]
        match event:
            case Started():
                row.state, row.attempts, row.started = "running", event.attempt, time.monotonic()
                row.streams = [b"", b""]
            case Printed():
                self._append(row, event.stream - 1, event.data)
            case Retrying():
                self._note(row, event.result)
                row.state = "resting"
            case Finished():
                self._note(row, event.result)
                row.state, row.ending = "ended", event.result.ending
            case _:
                assert_never(event)

    def _append(self, row: Row, stream: int, data: bytes) -> None:
        """Keep what a task that runs has written; at its end the whole comes once more, or head and tail of it."""
        kept = row.streams[stream]
        if not isinstance(kept, Kept):
            kept = row.streams[stream] = Kept(self.output_limit)
        kept.add(data)

    def _note(self, row: Row, result: ExecutionResult) -> None:
        row.attempts = result.attempts if result.ending is not Ending.SKIPPED else row.attempts
        row.return_code, row.tolerated = result.return_code, result.tolerated
        row.seconds, row.cpu_seconds, row.peak_memory = result.execution_time, result.cpu_time, result.peak_memory
        row.reason = as_text(result.reason.strip()[-_REASON_CHARACTERS:])
        row.streams = [_shortened(stream, self.output_limit) for stream in result.streams]

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._seconds = time.monotonic() - self._began
        if task.cancelled():
            self.state, self.problem = "cancelled", "the run was cancelled"
        elif (error := task.exception()) is not None:
            self.state, self.problem = "failed", _said(error)
        else:
            self.state = "failed" if any(row.failed for row in self.rows) else "finished"
        for row in self.rows:
            if row.ending is None:  # the run ended before it had begun, or could not go on
                row.state, row.ending, row.reason = "ended", Ending.SKIPPED, f"skipped because {self.problem}"
        self._on_end()


def _shortened(data: bytes, limit: int) -> bytes:
    """Return head and tail of what is longer than the limit. Scripts come so already; a pipeline's stages may not."""
    if len(data) <= limit + 100:  # the line that says how much was cut is not counted
        return data
    kept = Kept(limit)
    kept.add(data)
    return bytes(kept)


def _said(error: BaseException) -> str:
    if isinstance(error, TaskFailedError):
        return as_text(f"stopped at the first failure: {error}"[:_REASON_CHARACTERS])
    if isinstance(error, OrchestratorTimeoutError):
        return str(error)
    return as_text(f"the run could not go on: {type(error).__name__}: {error}"[:_REASON_CHARACTERS])
