"""Workflows by name: those of the config, and those of Python files (`flows.py:nightly`).

They are listed without running anything; a Python file is executed only when one of its workflows is loaded.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from orchestrator.config import Config, script_config
from orchestrator.dag.model import Task
from orchestrator.dag.workflow import Workflow
from orchestrator.exceptions import ConfigError
from orchestrator.programs import Program, Script, shell_of
from orchestrator.python_files import execute
from orchestrator.retries import RetryPolicy
from orchestrator.settings import WORKFLOWS_FILE
from orchestrator.steps import Steps
from orchestrator.wording import visible

_MAKERS = {"workflow", "Workflow", "chain", "parallel", "fan_out_fan_in", "step"}
"""Functions of ours that make one: a variable that one of them is assigned to is listed."""


@dataclass(frozen=True, slots=True)
class NamedWorkflow:
    """A workflow that can be run by its name. `origin` says where it stands, for people."""

    name: str
    description: str
    origin: str
    python: str | None = None
    """`file:variable`, for one that stands in a Python file."""
    table: Mapping[str, Any] | None = None
    """What the config says of it."""

    def load(self, config: Config) -> Workflow:
        """Return the workflow. Raises ConfigError for one that cannot be made."""
        if self.python is not None:
            return load_python(self.python)
        assert self.table is not None
        tasks = [_task(name, step, config) for name, step in self.table["steps"].items()]
        return Workflow(self.name, tasks=tasks, timeout=self.table.get("timeout"))


def named_workflows(config: Config) -> dict[str, NamedWorkflow]:
    """Return the workflows of the config and of `flows.py`, by name; of two with the same name the config's.

    A `flows.py` that does not compile has none: see `mistake_in_files`.
    """
    found: dict[str, NamedWorkflow] = {}
    for path in _files(config):
        with contextlib.suppress(ConfigError):
            for name, description in _listed(path):
                origin = f"{os.path.relpath(path)}:{name}"
                found.setdefault(name, NamedWorkflow(name, description, origin, python=f"{path}:{name}"))
    for name, table in config.values["workflows"].items():
        assert config.path is not None
        origin = os.path.relpath(config.path)
        found[name] = NamedWorkflow(name, table.get("description", ""), origin, table.get("python"), table)
    return dict(sorted(found.items()))


def mistake_in_files(config: Config) -> str | None:
    """Return why a `flows.py` does not compile, with its line; None if all do."""
    for path in _files(config):
        try:
            list(_listed(path))
        except ConfigError as error:
            return str(error)
    return None


def _files(config: Config) -> list[str]:
    """Return the files that are looked through for workflows."""
    folders = dict.fromkeys([config.folder or os.getcwd(), os.getcwd()])
    paths = [os.path.join(folder, WORKFLOWS_FILE) for folder in folders]
    return [path for path in paths if os.path.isfile(path)]


def load_python(reference: str) -> Workflow:
    """Return the workflow that `file.py:variable` means: a Workflow, Steps, or a function that returns one of them.

    Raises ConfigError for a file that cannot be loaded, with the place of the mistake, and for a variable that is
    missing or no workflow.
    """
    path, _, variable = reference.rpartition(":")
    module = execute(path, "workflows")
    where = visible(os.path.relpath(path))
    if variable not in module:
        made = [name for name, value in module.items() if isinstance(value, (Workflow, Steps))]
        known = list(dict.fromkeys([*made, *(name for name, _ in _listed(path))]))
        near = difflib.get_close_matches(variable, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"its workflows are: {', '.join(known) or 'none'}"
        raise ConfigError(f"{where} has no {variable!r}; {hint}")
    value = module[variable]
    if isinstance(value, FunctionType):
        try:
            value = value()
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{where}: {variable}() raised {type(error).__name__}: {error}") from error
    if isinstance(value, Steps):
        value = value.workflow(name=variable)
    if not isinstance(value, Workflow):
        raise ConfigError(f"{where}: {variable} is no Workflow, but {type(value).__name__}")
    return value


def _listed(path: str) -> Iterator[tuple[str, str]]:
    """Yield the workflows that a Python file seems to define, with their descriptions; it is only read.

    A name with an underscore before it is not listed, and neither is a function that needs arguments. Raises
    ConfigError for a file that does not compile.
    """
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, ValueError):
        return
    except SyntaxError as error:
        raise ConfigError(f"{visible(os.path.relpath(path))}, line {error.lineno}: {error.msg}") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.returns is not None and not _needs_arguments(node):
            returned = ast.unparse(node.returns).strip("'\"").rpartition(".")[2]
            if returned in ("Workflow", "Steps") and not node.name.startswith("_"):
                yield node.name, (ast.get_docstring(node) or "").partition("\n")[0]
        elif isinstance(node, ast.Assign) and _makes_one(node.value):
            for target in node.targets:
                if isinstance(target, ast.Name) and not target.id.startswith("_"):
                    yield target.id, ""


def _needs_arguments(function: ast.FunctionDef) -> bool:
    given = function.args
    named = len(given.posonlyargs) + len(given.args) - len(given.defaults)
    return named > 0 or any(default is None for default in given.kw_defaults)


def _makes_one(value: ast.expr) -> bool:
    """Whether an expression is a call of one of our makers, or steps put together."""
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, (ast.RShift, ast.BitOr)) and (_makes_one(value.left) or _makes_one(value.right))
    return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in _MAKERS


def _task(name: str, step: Mapping[str, Any], config: Config) -> Task:
    """Make the task of a step: what the step says wins over what its script says, that over the defaults."""
    defaults = config.values["defaults"]
    terms = (
        script_config(step["script"], config, described=False)
        if "script" in step
        else {**defaults, "args": [], "cwd": None}
    )
    env = {**terms["env"], **step.get("env", {})}
    cwd = step.get("cwd", terms["cwd"])
    args = tuple(step.get("args", terms["args"]))
    action: Program
    if "script" in step:
        action = Script(name=name, path=step["script"], args=args, env=env, cwd=cwd)
    else:
        action = shell_of(step["run"], f"step {name!r}", env=env, cwd=cwd, args=args)
    retries = step.get("retries", terms["retries"])
    return Task(
        name,
        action,
        dependencies=set(step.get("depends_on", ())),
        timeout=step.get("timeout", terms["timeout"]),
        memory_limit=step.get("memory", terms["memory"]),
        retry_policy=RetryPolicy(max_attempts=retries + 1, initial_delay=0.0) if retries else None,
    )
