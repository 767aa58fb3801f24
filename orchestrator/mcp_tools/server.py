"""The MCP server: which tools it offers, with schemas and annotations, and how a call is checked, made and answered.

Any transport of the SDK can carry it. Each connection has runs of its own, which end with it.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import ValidationError

from orchestrator.exceptions import ConcurrencyError, ConfigError, DependencyResolutionError, WorkflowError
from orchestrator.mcp_tools import answers, arguments
from orchestrator.mcp_tools.ceilings import Ceilings
from orchestrator.mcp_tools.pages import as_text
from orchestrator.mcp_tools.refusals import Refused
from orchestrator.mcp_tools.root import Root
from orchestrator.mcp_tools.tools import Tools

INSTRUCTIONS = (
    "Find scripts with discover_scripts, then run several at a time with start_batch, or a pipeline's file with "
    "run_pipeline: both return a run_id at once. "
    "Ask get_run (with wait_seconds, and which='failed' to see only failures) until its state is no longer 'running', "
    "and read what a task has written with get_output. "
    "All paths are relative to the root folder and may not leave it; runs end with this connection, and cancel_run "
    "stops one earlier, with every process it has started."
)

_EXPECTED = (Refused, ConfigError, WorkflowError, DependencyResolutionError, ConcurrencyError, OSError)
"""What a call can run into without a fault of ours: the agent reads the message."""

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_RUNS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
_STOPS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """One tool as it is offered: its arguments, its answer, and what is called."""

    title: str
    description: str
    takes: type[arguments.Arguments]
    gives: type[answers.Answer]
    call: Callable[[Tools, Any], Awaitable[answers.Answer]]
    annotations: ToolAnnotations


OFFERS = {
    "discover_scripts": Offer(
        "List scripts",
        "List the scripts below a folder, with what each says it does and how it wants to be run. Nothing is run.",
        arguments.DiscoverArguments,
        answers.Scripts,
        Tools.discover_scripts,
        _READS,
    ),
    "start_batch": Offer(
        "Run scripts",
        "Run scripts several at a time, each in a process of its own with limits, and return a run_id at once. Scripts "
        "that depend on others run after them, where these end well.",
        arguments.BatchArguments,
        answers.Begun,
        Tools.start_batch,
        _RUNS,
    ),
    "run_pipeline": Offer(
        "Run a pipeline",
        "Run the stages of a pipeline's file, or the jobs of a GitHub Actions workflow, on this machine, and return a "
        "run_id at once. The warnings say what in the file is passed over.",
        arguments.PipelineArguments,
        answers.Begun,
        Tools.run_pipeline,
        _RUNS,
    ),
    "get_run": Offer(
        "Look at a run",
        "Tell how a run stands: how many tasks ended in which way, and of each its ending, exit code, time and memory.",
        arguments.RunArguments,
        answers.RunReport,
        Tools.get_run,
        _READS,
    ),
    "get_output": Offer(
        "Read output",
        "Read a page of what a task has written so far, on standard output or standard error: all of it, or of a flood "
        "the beginning and the end.",
        arguments.OutputArguments,
        answers.Output,
        Tools.get_output,
        _READS,
    ),
    "cancel_run": Offer(
        "Stop a run",
        "Stop a run with every process it has started, and answer when they are gone. One that is over stays as it is.",
        arguments.CancelArguments,
        answers.Cancelled,
        Tools.cancel_run,
        _STOPS,
    ),
    "analyze_workflow_dependencies": Offer(
        "Put tasks in order",
        "Check that tasks which depend on each other can be put in an order, and return it. Nothing is run.",
        arguments.AnalyzeArguments,
        answers.Analysis,
        Tools.analyze_workflow_dependencies,
        _READS,
    ),
    "get_scheduler_metrics": Offer(
        "Look at the schedulers",
        "Tell what the schedulers of the server's process are doing: zeros when none is open.",
        arguments.NoArguments,
        answers.Metrics,
        Tools.get_scheduler_metrics,
        _READS,
    ),
}
"""The tools by their names."""


def make_server(root: Root, ceilings: Ceilings) -> Server[Tools]:
    """Return a server for the folder; what its clients start gets no more than the ceilings allow.

    Settings of the project come from the config nearest to the working directory, which should be that folder.
    """

    @asynccontextmanager
    async def connected(_server: Server[Tools]) -> AsyncIterator[Tools]:
        tools = Tools(root, ceilings)
        try:
            yield tools
        finally:
            with anyio.CancelScope(shield=True):  # also when the transport is cancelled: stopping is bounded
                await tools.close()

    return Server(
        "orchestrator",
        version=version("codomyrmex-orchestrator"),
        title="Batches of scripts, with limits",
        instructions=INSTRUCTIONS,
        lifespan=connected,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )


async def _list_tools(_context: ServerRequestContext[Tools], _params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=_tools())


@functools.cache
def _tools() -> list[Tool]:
    """Return the tools as clients are told of them. Making their schemas takes a tenth of a second."""
    return [
        Tool(
            name=name,
            title=offer.title,
            description=offer.description,
            input_schema=offer.takes.model_json_schema(),
            output_schema=offer.gives.model_json_schema(mode="serialization"),
            annotations=offer.annotations,
        )
        for name, offer in OFFERS.items()
    ]


async def _call_tool(context: ServerRequestContext[Tools], params: CallToolRequestParams) -> CallToolResult:
    """Check a call, make it, and return its answer, or as an error of the tool why there is none."""
    offer = OFFERS.get(params.name)
    if offer is None:
        raise MCPError(INVALID_PARAMS, f"there is no tool {params.name!r:.100}{_nearest(params.name, OFFERS)}")
    try:
        asked = offer.takes.model_validate(params.arguments or {})
    except ValidationError as error:
        return _refusal(_mistakes(error, params.name, offer.takes))
    try:
        answer = await offer.call(context.lifespan_context, asked)
    except _EXPECTED as error:
        return _refusal(str(error) or type(error).__name__)
    return CallToolResult(
        content=[TextContent(text=answer.model_dump_json())], structured_content=answer.model_dump(mode="json")
    )


def _refusal(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=as_text(message))], is_error=True)


def _mistakes(error: ValidationError, tool: str, takes: type[arguments.Arguments]) -> str:
    """Say in a line for each what is wrong with the arguments: which, and what it must be."""
    lines = []
    for mistake in error.errors(include_url=False, include_context=False)[:10]:
        # Where several types will do, the place names the one that was tried: the message does that better.
        place = ".".join(str(part) for part in mistake["loc"] if not re.match(r"(str|int|list\[.*\])$", str(part)))
        if mistake["type"] == "extra_forbidden":
            known = takes.model_fields if len(mistake["loc"]) == 1 else {}
            lines.append(f"{tool}: there is no argument {place!r:.100}{_nearest(place, known)}")
        elif mistake["type"] == "missing":
            lines.append(f"{tool}: the argument {place!r} is missing")
        else:
            lines.append(f"{tool}: {place}: {mistake['msg']}, not {mistake['input']!r:.100}")
    return "\n".join(dict.fromkeys(lines))


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name[:100], known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}" if known else ""
