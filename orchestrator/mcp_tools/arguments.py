"""What each tool takes, as its input schema says; nothing else is let through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.mcp_tools.ceilings import MOST_TASKS
from orchestrator.mcp_tools.pages import SMALLEST
from orchestrator.mcp_tools.runs import Which

_Words = Annotated[list[str], Field(min_length=1)]
_Offset = Annotated[int, Field(ge=0, description="How many to pass over; the `next_offset` of the page before.")]
_RunId = Annotated[str, Field(description="As start_batch or run_pipeline has returned it.")]
_Jobs = Annotated[int | None, Field(ge=1, description="How many run at a time; null: as many as the server allows.")]


class Arguments(BaseModel):
    """The arguments of a tool: those that are named, of the types that are named."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoArguments(Arguments):
    """None."""


class TaskNode(Arguments):
    """One task of a graph."""

    id: str = Field(min_length=1, description="Unique among the tasks.")
    depends_on: list[str] = Field(default=[], description="Ids of the tasks that must come before it.")


class AnalyzeArguments(Arguments):
    """A graph of tasks."""

    tasks: list[TaskNode] = Field(max_length=100_000, description="The tasks, in any order.")


class DiscoverArguments(Arguments):
    """Where to look for scripts."""

    folder: str = Field(default=".", description="The folder to look in, with all below it; relative to the root.")
    offset: _Offset = 0
    limit: int = Field(default=200, ge=1, le=1000, description="Scripts in the answer at most.")


class BatchArguments(Arguments):
    """Scripts, and how to run them."""

    scripts: list[str | _Words] = Field(
        min_length=1,
        max_length=MOST_TASKS,
        description="Paths, relative to the root, or lists of a path and the script's own arguments. A .py file runs "
        "under the server's Python, any other file by itself.",
    )
    args: list[str] = Field(default=[], description="Arguments that every script gets, after its own.")
    jobs: _Jobs = None
    timeout_seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Stop a script after so many seconds."
    )
    memory: str | int | None = Field(
        default=None, description="Stop a script that uses, with all its processes, more: bytes, or text such as '2G'."
    )
    retries: int | None = Field(default=None, ge=0, le=10, description="Run a script that failed so many times more.")
    fail_fast: bool = Field(default=False, description="At the first failure stop everything else.")
    cwd: str | None = Field(
        default=None, description="Run the scripts in this folder, relative to the root; null: in the root itself."
    )


class PipelineArguments(Arguments):
    """A pipeline's file."""

    path: str = Field(description="The file, relative to the root: ours (YAML or TOML), or a GitHub Actions workflow.")
    jobs: _Jobs = None


class RunArguments(Arguments):
    """A run, and which of its tasks to tell of."""

    run_id: _RunId
    which: Which = Field(default="all", description="Which tasks to list.")
    offset: _Offset = 0
    limit: int = Field(default=100, ge=1, le=1000, description="Tasks in the answer at most.")
    wait_seconds: float = Field(
        default=0, ge=0, le=60, allow_inf_nan=False, description="Answer when the run has ended, or after so long."
    )


class CancelArguments(Arguments):
    """A run."""

    run_id: _RunId


class OutputArguments(Arguments):
    """One stream of one task, and which part of it."""

    run_id: _RunId
    task: int = Field(ge=0, description="The task's index in get_run, which is its place in the batch.")
    stream: Literal["stdout", "stderr"] = Field(default="stdout", description="What to read.")
    offset: int = Field(
        default=0,
        ge=0,
        description="Bytes to pass over; the `next_offset` of the page before. The newest come last: begin at "
        "`stdout_bytes` or `stderr_bytes` of get_run, less as many as you want to see.",
    )
    limit: int = Field(default=16_000, ge=SMALLEST, le=100_000, description="Bytes in the answer at most.")
