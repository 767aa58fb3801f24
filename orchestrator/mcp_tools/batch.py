"""From scripts as an agent names them to tasks, each within the root and below the ceilings.

What the call asks for wins over what a script says of itself, that over the config's entry for it, and that over the
config's defaults: as for `orchestrator batch`. Blocking, for it reads every script: called in a thread.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.config import read_config, script_config
from orchestrator.config.places import cut
from orchestrator.dag.model import Task
from orchestrator.mcp_tools.ceilings import Ceilings
from orchestrator.mcp_tools.refusals import Refused
from orchestrator.mcp_tools.root import Root
from orchestrator.programs import Script
from orchestrator.retries import RetryPolicy
from orchestrator.wording import visible

_NAME_CHARACTERS = 200
"""How long a task's name is at most: it is in every answer, and arguments may be as long as they like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a call asks for all of its scripts; None where it leaves that to them."""

    args: tuple[str, ...] = ()
    seconds: float | None = None
    memory: int | None = None
    retries: int | None = None
    cwd: str | None = None
    output_limit: int | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A script that was looked at: its path without links, its name for agents, and what holds for it."""

    path: str
    shown: str
    terms: Mapping[str, Any]

    def aliases(self) -> set[str]:
        """Return what others that depend on it may call it."""
        base = os.path.basename(self.path)
        return {self.path, self.shown, base, os.path.splitext(base)[0]}


def tasks_of(scripts: Sequence[Sequence[str]], asked: Asked, root: Root, ceilings: Ceilings) -> list[Task]:
    """Return a task for each script, which is a path and arguments of its own, in this order.

    Raises Refused for a path that leaves the root, a folder, and a dependency that is not among the scripts,
    ConfigError for a mistake in the config or in a script's own table.
    """
    config = read_config()
    known: dict[str, _Known] = {}
    tasks: dict[str, Task] = {}
    needs: dict[str, Sequence[str]] = {}
    called: dict[str, set[str]] = defaultdict(set)
    for place, (given, *own) in enumerate(scripts):
        if given not in known:  # one script may run thousands of times
            path = root.inside(given, f"scripts[{place}]")
            if os.path.isdir(path):
                raise Refused(f"scripts[{place}]: {visible(given)} is a folder: name the scripts, see discover_scripts")
            known[given] = _Known(path, root.shown(path), script_config(path, config, described=False))
        script = known[given]
        name = cut(" ".join([script.shown, *(visible(cut(word, _NAME_CHARACTERS)) for word in own)]), _NAME_CHARACTERS)
        while name in tasks:
            name += f" ({place})"
        tasks[name] = _task(name, script, own, asked, root, ceilings)
        needs[name] = script.terms["depends_on"]
        for alias in script.aliases():
            called[alias].add(name)
    for name, task in tasks.items():
        for need in needs[name]:
            if need not in called:
                raise Refused(f"{name} depends on {root.shown(need)}, which is not among the scripts: add it")
            task.dependencies |= called[need]
    return list(tasks.values())


def _task(name: str, script: _Known, own: Sequence[str], asked: Asked, root: Root, ceilings: Ceilings) -> Task:
    terms = script.terms
    seconds, memory = ceilings.lowered(
        terms["timeout"] if asked.seconds is None else asked.seconds,
        terms["memory"] if asked.memory is None else asked.memory,
    )
    cwd = terms["cwd"] if asked.cwd is None else asked.cwd
    retries = terms["retries"] if asked.retries is None else asked.retries
    return Task(
        name,
        Script(
            name=name,
            path=script.path,
            args=(*terms["args"], *own, *asked.args),
            env=terms["env"],
            cwd=root.path if cwd is None else root.inside(cwd, f"the working directory of {name}"),
            output_limit=asked.output_limit,
        ),
        timeout=seconds,
        memory_limit=memory,
        retry_policy=RetryPolicy(max_attempts=retries + 1, initial_delay=0.0) if retries else None,
    )
