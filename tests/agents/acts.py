"""Agents that behave, and the tool that most of the tests run. Workers import them by name."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from orchestrator import ExecutionResult, TaskResult
from orchestrator.agents import AgentOrchestrator

TOOL = """
import json, os, sys
print(json.dumps({"args": sys.argv[1:], "stdin": sys.stdin.buffer.read().decode("utf-8", "surrogateescape"),
                  "cwd": os.getcwd(), "word": os.environ.get("WORD")}))
"""
"""A program that tells what it was given."""


def tool(folder: Path, text: str = TOOL) -> str:
    """Write a program and return its path, which has a space in it."""
    folder = folder / "my tools"
    folder.mkdir(exist_ok=True)
    path = folder / "tool.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def command(folder: Path, *args: str, text: str = TOOL) -> list[str]:
    """Return a command of that program with these arguments."""
    return [sys.executable, tool(folder, text), *args]


def told(result: TaskResult) -> Any:
    """Return what the tool has told."""
    assert result.success, result.error
    assert isinstance(result.value, ExecutionResult)
    return json.loads(result.output)


def asked(agents: AgentOrchestrator, name: str, task: str) -> TaskResult:
    """Return what comes of a task, in an event loop of its own."""
    return asyncio.run(agents.run_agent_task(name, task))


def shout(task: str) -> str:
    """Say it louder, and also print it."""
    print(f"shouting {task}")
    return task.upper()


def where(task: str) -> tuple[str, int]:
    """Tell the process it runs in."""
    return task, os.getpid()


async def where_in_loop(task: str) -> tuple[str, int]:
    """Tell the process it runs in, after a turn of the loop."""
    await asyncio.sleep(0)
    return task, os.getpid()


class Writer:
    """An agent with a method `run`."""

    def __init__(self, style: str) -> None:
        self.style = style

    def run(self, task: str) -> str:
        """Write it."""
        return f"{self.style}: {task}"


class Editor(Writer):
    """An agent with a coroutine method `execute`."""

    run = None  # type: ignore[assignment]

    async def execute(self, task: str) -> str:
        """Edit it."""
        await asyncio.sleep(0)
        return f"edited {self.style}: {task}"


class Unsendable:
    """An agent that holds what cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def run(self, task: str) -> str:
        """Give it back."""
        return task


class Crowd:
    """Count how many are inside at a time, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = self.most = self.entered = 0

    def __enter__(self) -> Crowd:
        with self._lock:
            self.inside += 1
            self.entered += 1
            self.most = max(self.most, self.inside)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.inside -= 1
