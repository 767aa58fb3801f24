"""An agent as the tests need it: a folder to work in, and a client of the SDK that calls tools in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult, TextContent

from orchestrator.mcp_tools.ceilings import Ceilings
from orchestrator.mcp_tools.root import Root
from orchestrator.mcp_tools.server import make_server
from tests.waiting import lines_of

_T = TypeVar("_T")

SECONDS = 60
"""A test's work is over by then, or hangs."""

FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
own = subprocess.Popen(sleep, start_new_session=True)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()}\\n{own.pid}\\n")
os.rename(sys.argv[1] + ".new", sys.argv[1])
print("begun", flush=True)
time.sleep(600)
"""
"""A script that starts a process in a session of its own, writes both pids to a file, and stays."""


class Agent:
    """Calls tools by name and looks at what comes back."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that answers."""
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert not result.is_error, text_of(result)
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """Call a tool that refuses, and return what it says."""
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert result.is_error, f"it answered: {result.structured_content}"
        return text_of(result)

    async def batch(self, *scripts: str | list[str], **options: Any) -> str:
        """Start a batch and return its id."""
        run_id = (await self.call("start_batch", scripts=list(scripts), **options))["run_id"]
        assert isinstance(run_id, str)
        return run_id

    async def ended(self, run_id: str, **options: Any) -> dict[str, Any]:
        """Return how a run stands when it has ended."""
        report = await self.call("get_run", run_id=run_id, wait_seconds=SECONDS, **options)
        assert report["state"] != "running"
        return report

    async def run(self, *scripts: str | list[str], **options: Any) -> dict[str, Any]:
        """Start a batch, and return how it stands when it has ended."""
        return await self.ended(await self.batch(*scripts, **options))

    async def output(self, run_id: str, task: int = 0, stream: str = "stdout", **options: Any) -> str:
        """Return the whole of what a task has written, page by page."""
        pages: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await self.call("get_output", run_id=run_id, task=task, stream=stream, offset=offset, **options)
            pages.append(page["text"])
            offset = page["next_offset"]
        return "".join(pages)


def text_of(result: CallToolResult) -> str:
    """Return the text of a result."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def with_agent(
    root: Path,
    work: Callable[[Agent], Awaitable[_T]],
    ceilings: Ceilings | None = None,
    mode: Literal["auto", "legacy"] = "auto",
) -> _T:
    """Serve the folder in this process, and have an agent work there."""

    async def main() -> _T:
        server = make_server(Root(root), ceilings or Ceilings(jobs=2))
        async with asyncio.timeout(SECONDS), Client(server, mode=mode) as client:
            return await work(Agent(client))

    with contextlib.chdir(root):  # as the command does: the config is that of the folder
        return asyncio.run(main())


@asynccontextmanager
async def child_agent(root: Path, *options: str) -> AsyncIterator[Agent]:
    """Serve the folder in a child, as an agent's program would start it; its standard error goes to `stderr.txt`."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "orchestrator", "mcp", "--root", str(root), *options], env=dict(os.environ)
    )
    with open(root / "stderr.txt", "w", encoding="utf-8") as log:
        async with asyncio.timeout(SECONDS), Client(stdio_client(server, log)) as client:
            yield Agent(client)


def write_scripts(folder: Path, **texts: str) -> None:
    """Write scripts: each under its name and `.py`."""
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def settings(lines: str) -> str:
    """Return the block with which a script says how it wants to be run (PEP 723)."""
    return "".join(f"# {line}\n" for line in ["/// script", "[tool.orchestrator]", *lines.splitlines(), "///"])


async def pids_in(path: Path, seconds: float = SECONDS) -> list[int]:
    """Wait for a file with pids that a script writes; the event loop goes on meanwhile."""
    async with asyncio.timeout(seconds):
        while not (lines := lines_of(path)):
            await asyncio.sleep(0.01)
    return [int(line) for line in lines]
