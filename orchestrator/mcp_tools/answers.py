"""What each tool returns, as its output schema says."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.mcp_tools.runs import RowState, RunState

_NEXT = "The offset of the next page; null if this was the last."
_COUNTS = (
    "How many tasks ended in each way (ok, raised, timed out, out of memory, crashed, cancelled, skipped) and how many "
    "are waiting, running or resting before another attempt; what is zero is left out."
)


class Answer(BaseModel):
    """The answer of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Metrics(Answer):
    """What this process's schedulers are doing."""

    active_jobs: int = Field(description="Jobs that run now.")
    queued_jobs: int = Field(description="Jobs that wait.")
    completed_jobs: int = Field(description="Jobs that ended well.")
    failed_jobs: int = Field(description="Jobs that did not.")
    throughput_per_second: float = Field(description="Jobs that ended per second in the last minute.")


class Analysis(Answer):
    """In which order tasks can run."""

    execution_order: list[str] = Field(description="The ids, each after all it depends on.")
    parallel_groups: list[list[str]] = Field(description="Ids that could run at the same time, the first ones first.")


class FoundScript(Answer):
    """A script, and what it or the config says of how it runs."""

    path: str = Field(description="Relative to the root.")
    description: str = Field(default="", description="What it says it does.")
    timeout_seconds: float | None = Field(default=None, description="When it is stopped; null: never.")
    memory_bytes: int | None = Field(default=None, description="At how much memory it is stopped; null: never.")
    retries: int = Field(default=0, description="How many times more it is run when it fails.")
    depends_on: list[str] = Field(default=[], description="Scripts that must come before it, and be in the same batch.")
    args: list[str] = Field(default=[], description="Arguments that it always gets.")
    variables: list[str] = Field(default=[], description="Names of the variables that are set for it.")
    problem: str = Field(default="", description="A mistake in its own settings, for which it cannot be started.")


class Scripts(Answer):
    """The scripts of a folder."""

    folder: str = Field(description="The folder, relative to the root.")
    total: int = Field(description="How many scripts there are.")
    scripts: list[FoundScript] = Field(description="Those of this page, sorted by path.")
    next_offset: int | None = Field(description=_NEXT)


class Begun(Answer):
    """A run that has been started."""

    run_id: str = Field(description="Give this to get_run, get_output and cancel_run.")
    tasks: int = Field(description="How many tasks it has.")
    output_limit: int = Field(description="Bytes kept of each stream of a task; of more, the beginning and the end.")
    warnings: list[str] = Field(default=[], description="What in a pipeline's file is passed over, and why.")


class TaskReport(Answer):
    """One task of a run."""

    task: int = Field(description="Its index, for get_output.")
    name: str = Field(description="What it is called.")
    state: RowState = Field(description="Where it is; resting: an attempt failed, and another follows.")
    attempts: int = Field(description="Attempts made, the present one included.")
    ending: str | None = Field(description="How it ended, such as ok, raised or timed out; null: it has not.")
    return_code: int | None = Field(description="Its exit code; 124: timed out, 128 + n: killed by signal n.")
    seconds: float = Field(description="How long the last attempt took, or the present one has taken.")
    cpu_seconds: float = Field(description="CPU time of the last attempt.")
    peak_memory_bytes: int = Field(description="Memory it used at most, with all its processes.")
    stdout_bytes: int = Field(description="Bytes of standard output that can be read with get_output.")
    stderr_bytes: int = Field(description="Bytes of standard error that can be read with get_output.")
    reason: str = Field(description="Why it did not end well.")


class RunReport(Answer):
    """A run, and a page of its tasks."""

    run_id: str = Field(description="Its id.")
    name: str = Field(description="What it is called.")
    state: RunState = Field(description="finished: every task ended well; failed: one did not.")
    problem: str = Field(description="Why it ended before all tasks had been run.")
    seconds: float = Field(description="How long it has run.")
    total: int = Field(description="How many tasks it has.")
    counts: dict[str, int] = Field(description=_COUNTS)
    tasks: list[TaskReport] = Field(description="Those of this page, in the order of the batch.")
    next_offset: int | None = Field(description=_NEXT)


class Cancelled(Answer):
    """A run that is over."""

    run_id: str = Field(description="Its id.")
    state: RunState = Field(description="cancelled; or how it had ended before it could be.")
    counts: dict[str, int] = Field(description=_COUNTS)


class Output(Answer):
    """A part of what a task has written."""

    run_id: str = Field(description="The run's id.")
    task: int = Field(description="The task's index.")
    stream: str = Field(description="stdout or stderr.")
    text: str = Field(description="The text, with U+FFFD for bytes that are no UTF-8.")
    offset: int = Field(description="The byte at which it begins: the beginning of the character that was asked for.")
    next_offset: int | None = Field(description=_NEXT + " While the task runs, null may become more.")
    total: int = Field(description="Bytes that are kept of this stream now.")
    complete: bool = Field(description="Whether the task has ended, so that nothing more comes.")
