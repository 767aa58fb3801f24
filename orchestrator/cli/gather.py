"""From scripts as named on the command line, and what the config and each script say, to tasks.

What is typed wins over what the script says of itself, that over the config's entry for it, that over the defaults.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import click

from orchestrator.cli.readings import Share, combinations
from orchestrator.config import Config, script_config
from orchestrator.dag.model import Task
from orchestrator.limits import GRACE_SECONDS
from orchestrator.programs import Script
from orchestrator.retries import RetryPolicy
from orchestrator.wording import visible

Axes = Sequence[tuple[str, Sequence[str]]]
_Values = tuple[str, ...]
_Place = tuple[str, _Values]
"""What a script is called, and the combination of values that it runs with."""


@dataclass(frozen=True, slots=True)
class Named:
    """A script as it was named: its path, and arguments of its own."""

    path: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was typed for all scripts; None where nothing was."""

    arguments: tuple[str, ...] = ()
    timeout: float | Share | None = None
    memory: int | None = None
    grace: float = GRACE_SECONDS
    retries: int | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    matrix: Axes = ()
    seconds: Callable[[], float | None] | None = None
    """Says how long a script may run, where `timeout` is a share."""


def given_of(options: Mapping[str, Any]) -> Given:
    """Return what was typed for all scripts, from among a command's options."""
    return Given(**{field.name: options[field.name] for field in fields(Given) if field.name in options})


def tasks_of(scripts: Iterable[Named], given: Given, config: Config, *, ignore_needs: bool = False) -> list[Task]:
    """Return a task for each script and combination, in this order, each with a name of its own.

    Raises click.UsageError for a dependency that is not among the scripts, ConfigError for a mistake in a script.
    """
    needs: dict[str, Sequence[str]] = {}
    places: dict[_Place, list[str]] = defaultdict(list)
    values: dict[str, _Values] = {}
    tasks = []
    names = Names()
    known: dict[str, Mapping[str, Any]] = {}
    for script in scripts:
        if script.path not in known:
            known[script.path] = script_config(script.path, config, described=False)
        terms = known[script.path]
        for combination in combinations(given.matrix):
            task = _task(script, combination, terms, given, names)
            tasks.append(task)
            needs[task.name] = () if ignore_needs else terms["depends_on"]
            values[task.name] = tuple(combination.values())
            for alias in _aliases(script.path):
                places[alias, values[task.name]].append(task.name)
    for task in tasks:
        for need in needs[task.name]:
            task.dependencies |= _named(need, task.name, values[task.name], places)
    return tasks


class Names:
    """Give every task a name of its own: what comes again is numbered."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def new(self, name: str) -> str:
        """Return the name, or with a number behind it."""
        self._seen[name] += 1
        while self._seen[name] > 1:
            numbered = f"{name} ({self._seen[name]})"
            if not self._seen[numbered]:
                self._seen[numbered] = 1
                return numbered
            self._seen[name] += 1
        return name


def _task(script: Named, combination: Mapping[str, str], terms: Mapping[str, Any], given: Given, names: Names) -> Task:
    values = [f"{name}={value}" for name, value in combination.items()]
    name = names.new(" ".join([script.path, *script.args, *values]))
    retries = terms["retries"] if given.retries is None else given.retries
    share = isinstance(given.timeout, Share)
    return Task(
        name,
        Script(
            name=name,
            path=script.path,
            args=(*terms["args"], *script.args, *_arguments(given.arguments, combination)),
            env={**terms["env"], **given.env, **combination},
            cwd=os.path.abspath(given.cwd) if given.cwd is not None else terms["cwd"],
            seconds=given.seconds if share else None,
        ),
        timeout=terms["timeout"] if given.timeout is None or isinstance(given.timeout, Share) else given.timeout,
        memory_limit=terms["memory"] if given.memory is None else given.memory,
        grace=given.grace,
        retry_policy=RetryPolicy(max_attempts=retries + 1, initial_delay=0.0) if retries else None,
    )


def _arguments(arguments: Sequence[str], combination: Mapping[str, str]) -> list[str]:
    """Put a combination's values where the arguments say `{name}`; those that none says come before them as options."""
    named = {name for name in combination if any(f"{{{name}}}" in argument for argument in arguments)}
    options = [part for name, value in combination.items() if name not in named for part in (f"--{name}", value)]
    filled = list(arguments)
    for name in named:
        filled = [argument.replace(f"{{{name}}}", combination[name]) for argument in filled]
    return [*options, *filled]


def _aliases(path: str) -> set[str]:
    base = os.path.basename(path)
    return {path, os.path.abspath(path), base, os.path.splitext(base)[0]}


def _named(need: str, name: str, values: _Values, places: Mapping[_Place, Sequence[str]]) -> set[str]:
    """Return the tasks that a dependency means: of a matrix those with the same combination."""
    found = places.get((need, values)) or places.get((os.path.abspath(need), values))
    if not found:
        shown = visible(os.path.relpath(need) if os.path.isabs(need) else need)
        raise click.UsageError(
            f"{visible(name)} depends on {shown}, which is not among the scripts: add it, or leave the order "
            "aside with --no-deps"
        )
    return set(found)
