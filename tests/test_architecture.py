"""The layout holds: who may import whom, and what is done in one place only.

Reads the sources with ast and runs none of them. The tables here are those of docs/architecture.md: change
both together.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]

_LEVELS = {
    "orchestrator.__main__": 7,
    "orchestrator.cli": 7,
    "orchestrator.mcp_tools": 7,
    "orchestrator.thin": 6,
    "orchestrator.named": 6,
    "orchestrator.pipelines": 6,
    "orchestrator.agents": 6,
    "orchestrator.steps": 5,
    "orchestrator.in_worker": 5,
    "orchestrator.pipes": 5,
    "orchestrator.parallel_runner": 5,
    "orchestrator.async_runner": 5,
    "orchestrator.scheduler": 5,
    "orchestrator.scheduling": 5,
    "orchestrator.discovery": 5,
    "orchestrator.gitignore": 5,
    "orchestrator.config": 5,
    "orchestrator.python_files": 5,
    "orchestrator.runs": 4,
    "orchestrator.programs": 4,
    "orchestrator.reports": 4,
    "orchestrator.store": 4,
    "orchestrator.dag": 4,
    "orchestrator.dag.drawing": 3,
    "orchestrator.dag.plan": 3,
    "orchestrator.dag.model": 3,
    "orchestrator.dag.references": 3,
    "orchestrator.jobs": 3,
    "orchestrator.pool": 2,
    "orchestrator.outcome": 1,
    "orchestrator.results": 1,
    "orchestrator.retries": 1,
    "orchestrator.limits": 1,
    "orchestrator.events": 1,
    "orchestrator.settings": 1,
    "orchestrator.stopping": 1,
    "orchestrator.live": 1,
    "orchestrator.placeholders": 1,
    "orchestrator.regular": 1,
    "orchestrator.wording": 1,
    "orchestrator.exceptions": 1,
    "workers": 0,
}
"""The longest name that fits a module gives its level. A module imports from its own level and from lower ones."""

_HOMES = {
    "click": {"orchestrator.cli"},
    "rich": {"orchestrator.cli"},
    "mcp": {"orchestrator.mcp_tools"},
    "pydantic": {"orchestrator.mcp_tools"},
    "anyio": {"orchestrator.mcp_tools"},
    "psutil": {"orchestrator.pool", "workers.tree"},
    "loky": {"orchestrator.pool", "orchestrator.cli"},  # the command line asks it for the number of CPUs
    "subprocess": {"orchestrator.pool"},
    "multiprocessing": {"orchestrator.pool", "workers"},
    "cloudpickle": {"orchestrator.pool", "workers.main"},
    "pathspec": {"orchestrator.gitignore"},
    "yaml": {"orchestrator.config", "orchestrator.pipelines"},
    "sqlite3": {"orchestrator.store"},
    "cronsim": {"orchestrator.jobs.recurrence"},
    "distributed": {"orchestrator.pool"},
    "dask": {"orchestrator.pool"},
}
"""Libraries that have a home: only these import them. Any other one that is not the standard library's has none."""

_CATCHES_EVERYTHING = {
    "orchestrator.pool.endings": {"load_value", "_say"},  # rebuilding and printing what is the user's
    "orchestrator.pool.job": {"deliver_all"},  # callbacks of the user
    "orchestrator.pool.payload": {"_dump", "__exit__", "_culprit", "_say"},  # pickling what is the user's
    "orchestrator.pool.pool": {"deliver"},  # raised by unwrap, for a future to raise
    "orchestrator.scheduling.records": {"call_of", "job_of"},  # rebuilding what is the user's
    "orchestrator.store.journal": {"_answer", "_live"},  # the same, in the store's thread, which all wait for
    "orchestrator.pool.slots": {"live"},  # around a slot's loop
    "orchestrator.runs": {"_iterate", "_dispatch"},  # stops the run, raises again
    "orchestrator.dag.calls": {"call", "call_coroutine", "_watched"},  # around the user's function
    "orchestrator.dag.threads": {"_live"},  # passes it on to the future
    "workers.failures": {"text_of", "traceback_of"},  # printing what is the user's
    "workers.main": {"_run_task", "_pack", "_load", "_travelling"},  # around what is the user's
}
"""Functions that may catch BaseException; everybody else catches what it expects."""

_SENDS_SIGNALS = {
    "workers.tree": {"stop"},
    "orchestrator.pool.child": {"_ask_to_stop"},
    "orchestrator.pool.worker": {"_ask_to_stop"},
    "orchestrator.pool.lifeline": {"_bury"},
    "orchestrator.cli.signals": {"_handle"},
}
"""Who signals a process: two ask (a group, a worker), one kills, the guardian has an owner, a command ends itself."""

_PRIVATE = {"os._exit", "_fields", "_make", "_replace", "os.environ._data"}
"""Names with an underscore that may be used though they are another's: all but the last are documented."""


class _Module:
    """One source file of ours, parsed."""

    def __init__(self, path: Path) -> None:
        parts = path.relative_to(_ROOT).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.tree = ast.parse(path.read_text(encoding="utf-8"), str(path))

    def __repr__(self) -> str:
        return self.name

    @property
    def level(self) -> int | None:
        """The module's place in the table; None for the packages that only give names to others."""
        known = [name for name in _LEVELS if self.name == name or self.name.startswith(f"{name}.")]
        return _LEVELS[max(known, key=len)] if known else None

    def imports(self) -> Iterator[tuple[str, bool]]:
        """Yield each module imported anywhere in the file, and whether importing the file imports it."""
        late = {node for function in _functions(self.tree) for node in ast.walk(function)}
        late |= {node for block in ast.walk(self.tree) if _is_for_types(block) for node in ast.walk(block)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node not in late
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self} imports relatively"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in _sources() else str(node.module), node not in late

    def places(self, matches: Callable[[ast.AST], bool]) -> set[str]:
        """Return the names of the innermost functions that hold a matching node ("" for the module itself)."""
        found = set()

        def visit(node: ast.AST, function: str) -> None:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                function = node.name
            if matches(node):
                found.add(function)
            for child in ast.iter_child_nodes(node):
                visit(child, function)

        visit(self.tree, "")
        return found


@cache
def _sources() -> dict[str, _Module]:
    paths = [path for package in ("orchestrator", "workers") for path in (_ROOT / package).rglob("*.py")]
    return {module.name: module for module in map(_Module, paths)}


def _functions(tree: ast.AST) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _all() -> list[_Module]:
    return list(_sources().values())


def _places(matches: Callable[[ast.AST], bool]) -> Mapping[str, set[str]]:
    """Return, for every module that has any, the functions that hold a matching node."""
    found = {module.name: module.places(matches) for module in _all()}
    return {name: places for name, places in found.items() if places}


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_at_home(module: str, homes: set[str]) -> bool:
    return any(module == home or module.startswith(f"{home}.") for home in homes)


def test_every_module_has_its_level() -> None:
    """Give a new one its place in the table. The package itself has none: it re-exports from all of them."""
    assert len(_all()) > 40
    assert [module for module in _all() if module.level is None] == [_sources()["orchestrator"]]


def test_imports_go_downward() -> None:
    """A module knows those of its own level and below, by their own names."""
    wrong = []
    for module in _all():
        for name, _ in module.imports():
            if _top(name) not in ("orchestrator", "workers") or module.level is None:
                continue
            level = _sources()[name].level if name in _sources() else None
            if level is None or level > module.level:
                wrong.append(f"{module} (level {module.level}) imports {name} (level {level})")
    assert wrong == []


def test_libraries_are_known_only_where_they_are_at_home() -> None:
    """One place for each, so that it can be exchanged there."""
    ours_or_standard = sys.stdlib_module_names | {"orchestrator", "workers"}
    wrong = []
    for module in _all():
        for name, _ in module.imports():
            homes = _HOMES.get(_top(name), {""} if _top(name) in ours_or_standard else set())
            if "" not in homes and not _is_at_home(module.name, homes):
                wrong.append(f"{module} imports {name}, at home in {sorted(homes)}")
    assert wrong == []


def test_what_runs_in_a_worker_and_the_values_import_little() -> None:
    """Workers start fast and stay small; psutil comes late, where a tree has to be stopped."""
    wrong = []
    for module in _all():
        allowed = {"orchestrator", "workers"} if module.level == 1 else {"workers", "cloudpickle"}
        late = set() if module.level == 1 else {"psutil"}
        for name, at_once in module.imports():
            few = sys.stdlib_module_names | allowed | (set() if at_once else late)
            if module.level in (0, 1) and _top(name) not in few:
                wrong.append(f"{module} imports {name}")
    assert wrong == []


def test_the_plan_is_pure() -> None:
    """What decides in a workflow has no clock, threads, event loop or files: it can be tested without them."""
    effects = {"asyncio", "os", "pathlib", "queue", "signal", "socket", "threading", "time"}
    wrong = [f"{m} imports {name}" for m in _all() if m.level == 3 for name, _ in m.imports() if _top(name) in effects]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """What is imported at once forms no circle; within a level there is an order too."""
    edges = {
        module.name: {name for name, at_once in module.imports() if at_once and name in _sources()} for module in _all()
    }
    while edges:
        leaves = {name for name, imported in edges.items() if not imported & edges.keys()}
        assert leaves, f"among these somebody imports in a circle: {sorted(edges)}"
        edges = {name: imported for name, imported in edges.items() if name not in leaves}


def test_durations_come_from_the_monotonic_clock() -> None:
    """The wall clock jumps; `time.time` is for what is due at a time of day, and for telling when something was."""

    def is_wall_clock(node: ast.AST) -> bool:
        if isinstance(node, ast.ImportFrom):
            return node.module == "time" and any(alias.name in ("time", "time_ns") for alias in node.names)
        return isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "time.time_ns")

    assert _places(is_wall_clock) == {"orchestrator.scheduling.clock": {"wall"}}


def test_nobody_sleeps_to_notice_something() -> None:
    """Waits are waits for something, with a deadline; a rest between attempts waits to be stopped."""
    sleeps = _places(lambda node: isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep")
    assert sleeps == {}


def test_no_process_is_a_daemon() -> None:
    """A daemonic process may have no children, and a task may; threads may be daemons."""

    def makes_a_daemon(node: ast.AST) -> bool:
        if isinstance(node, ast.Call):
            daemon = any(keyword.arg == "daemon" for keyword in node.keywords)
            return daemon and ast.unparse(node.func) != "threading.Thread"
        return isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Attribute) and target.attr == "daemon" for target in node.targets
        )

    assert _places(makes_a_daemon) == {}


def test_everything_is_caught_only_where_it_must_be() -> None:
    """BaseException is caught around what is the user's, and around a slot's loop. A bare `except` nowhere."""

    def catches_everything(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("suppress", "contextlib.suppress"):
            return "BaseException" in ast.unparse(node)
        return isinstance(node, ast.ExceptHandler) and (node.type is None or "BaseException" in ast.unparse(node.type))

    assert _places(catches_everything) == _CATCHES_EVERYTHING


def test_signals_are_sent_from_one_place_each() -> None:
    """The line that kills a worker can be found within a minute."""
    calls = {"os.kill", "os.killpg", "signal.pidfd_send_signal", "signal.raise_signal", "signal.pthread_kill"}

    def sends(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        name = ast.unparse(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        return name in calls or (method in ("kill", "terminate", "send_signal") and name != "self.kill")

    assert _places(sends) == _SENDS_SIGNALS


def test_nobody_uses_what_is_private_to_another() -> None:
    """Least of all to loky or multiprocessing, whose next release may do without it."""
    used = [f"{module}: {name}" for module in _all() for name in _private_to_others(module)]
    assert used == []


def _private_to_others(module: _Module) -> Iterator[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    own = {node.name for node in ast.walk(module.tree) if isinstance(node, kinds)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name.startswith("_"))
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            mine = ast.unparse(node.value) in ("self", "cls", "super()") or node.attr in own
            if not mine and not {ast.unparse(node), node.attr} & _PRIVATE:
                yield f"{ast.unparse(node)} in line {node.lineno}"
