"""Plan: which task may start, and what a result means for the others.

    PENDING -> RUNNING -> COMPLETED           a task may start when all it depends on has COMPLETED
                  |  \\--> FAILED              what depends on it, directly or not, is SKIPPED
                  v          ^
              RETRYING ------'                -> RUNNING again; FAILED when it is given up meanwhile
    PENDING -> SKIPPED

A task that is `patient` may start when all it depends on has ended, whatever came of it.

Pure: no clock, no I/O, no threads. The engine tells it what happened and asks what may start.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from orchestrator.dag.model import TaskStatus
from orchestrator.exceptions import CycleError, DependencyResolutionError, StateError

PENDING: Final = TaskStatus.PENDING
RUNNING: Final = TaskStatus.RUNNING
RETRYING: Final = TaskStatus.RETRYING

_MOVES = {
    TaskStatus.PENDING: frozenset({TaskStatus.RUNNING, TaskStatus.SKIPPED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.RETRYING}),
    TaskStatus.RETRYING: frozenset({TaskStatus.RUNNING, TaskStatus.FAILED}),
    TaskStatus.COMPLETED: frozenset[TaskStatus](),
    TaskStatus.FAILED: frozenset[TaskStatus](),
    TaskStatus.SKIPPED: frozenset[TaskStatus](),
}


class _Node:
    __slots__ = ("dependents", "missing", "name", "patient", "status")

    def __init__(self, name: str, missing: int, patient: bool) -> None:
        self.name = name
        self.status = PENDING
        self.patient = patient
        """Whether it waits for an end only, not for success."""
        self.missing = missing
        """How many of its dependencies have not COMPLETED; of a patient one: have not ended."""
        self.dependents: list[_Node] = []


class Plan:
    """Keep the state of every task of a graph, given as the names that each name depends on.

    `patient` are the names of tasks for which it is enough that what they depend on has ended. Raises
    DependencyResolutionError for a name that is no task, CycleError for a circle, with its path.

    >>> plan = Plan({"build": [], "test": ["build"]})
    >>> plan.take(), plan.take()
    ('build', None)
    >>> plan.start("build"); plan.complete("build")
    >>> plan.take()
    'test'
    """

    def __init__(self, needs: Mapping[str, Collection[str]], patient: Collection[str] = ()) -> None:
        self._nodes = {name: _Node(name, len(known), name in patient) for name, known in needs.items()}
        for name, dependencies in needs.items():
            for dependency in dependencies:
                node = self._nodes.get(dependency)
                if node is None:
                    raise DependencyResolutionError(_unknown(name, dependency, needs))
                node.dependents.append(self._nodes[name])
        self._levels = _levels(self._nodes.values(), needs)
        self._open = len(self._nodes)
        self._ready = deque(node for node in self._nodes.values() if not node.missing)

    # What may start

    def take(self) -> str | None:
        """Return the next task that may start, each once; None when there is none now."""
        while self._ready:
            node = self._ready.popleft()
            if node.status is PENDING:
                return node.name
        return None

    @property
    def over(self) -> bool:
        """Whether every task has ended."""
        return not self._open

    def status(self, name: str) -> TaskStatus:
        """Return where a task is in its life."""
        return self._nodes[name].status

    # What happened

    def start(self, name: str) -> None:
        """Note that an attempt at a task has started."""
        self._move(self._nodes[name], RUNNING)

    def complete(self, name: str) -> None:
        """Note that a task has succeeded: what waited for it alone may start."""
        node = self._nodes[name]
        self._move(node, TaskStatus.COMPLETED)
        self._open -= 1
        for dependent in node.dependents:
            self._has_one_less(dependent)

    def retry(self, name: str) -> None:
        """Note that an attempt has failed and another will be made."""
        self._move(self._nodes[name], RETRYING)

    def fail(self, name: str) -> list[str]:
        """Note that a task has failed for good; return what is SKIPPED because of it."""
        return self._end(name, TaskStatus.FAILED)

    def skip(self, name: str) -> list[str]:
        """Note that a task will not be run; return what is SKIPPED because of it."""
        return self._end(name, TaskStatus.SKIPPED)

    def give_up(self) -> list[str]:
        """Skip every task that is PENDING; return their names."""
        pending = [node for node in self._nodes.values() if node.status is PENDING]
        for node in pending:
            self._move(node, TaskStatus.SKIPPED)
        self._open -= len(pending)
        return [node.name for node in pending]

    def _end(self, name: str, status: TaskStatus) -> list[str]:
        node = self._nodes[name]
        self._move(node, status)
        self._open -= 1
        skipped: list[str] = []
        todo = [node]
        while todo:
            for dependent in todo.pop().dependents:
                if dependent.patient:
                    self._has_one_less(dependent)
                elif dependent.status is PENDING:
                    self._move(dependent, TaskStatus.SKIPPED)
                    skipped.append(dependent.name)
                    todo.append(dependent)
        self._open -= len(skipped)
        return skipped

    def _has_one_less(self, node: _Node) -> None:
        """Note that something a task depends on need not be waited for any more."""
        node.missing -= 1
        if not node.missing:
            self._ready.append(node)

    def _move(self, node: _Node, status: TaskStatus) -> None:
        if status not in _MOVES[node.status]:
            raise StateError(f"task {node.name!r} cannot go from {node.status.value} to {status.value}")
        node.status = status

    # The shape

    def execution_order(self) -> list[str]:
        """Return the names so that each comes after all it depends on."""
        return [name for group in self.parallel_groups() for name in group]

    def parallel_groups(self) -> list[list[str]]:
        """Return the names in groups: nobody depends on one of its own group or of a later one.

        >>> Plan({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}).parallel_groups()
        [['a'], ['b', 'c'], ['d']]
        """
        groups: list[list[str]] = []
        for name in self._nodes:
            level = self._levels[name]
            while len(groups) <= level:
                groups.append([])
            groups[level].append(name)
        return groups

    def longest_path(self, weights: Mapping[str, float]) -> list[str]:
        """Return the chain of dependent tasks with the greatest sum of weights (0 for a name without one)."""
        best: dict[str, float] = dict.fromkeys(self._nodes, 0.0)
        before: dict[str, str] = {}
        for name in self.execution_order():
            best[name] += weights.get(name, 0.0)
            for dependent in self._nodes[name].dependents:
                if dependent.name not in before or best[name] > best[dependent.name]:
                    best[dependent.name], before[dependent.name] = best[name], name
        if not best:
            return []
        path = [max(best, key=best.__getitem__)]
        while path[-1] in before:
            path.append(before[path[-1]])
        return path[::-1]


def _levels(nodes: Collection[_Node], needs: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Return how many steps each task is from the start, by Kahn's algorithm. Raises CycleError."""
    missing = {node.name: node.missing for node in nodes}
    todo = deque(node for node in nodes if not node.missing)
    levels = dict.fromkeys((node.name for node in todo), 0)
    while todo:
        node = todo.popleft()
        for dependent in node.dependents:
            missing[dependent.name] -= 1
            if not missing[dependent.name]:  # the last to come is the furthest from the start
                levels[dependent.name] = levels[node.name] + 1
                todo.append(dependent)
    if len(levels) < len(missing):
        raise CycleError(_circle([name for name in missing if name not in levels], needs))
    return levels


def _circle(stuck: list[str], needs: Mapping[str, Collection[str]]) -> str:
    """Describe a circle among tasks of which each depends on another of them."""
    among = set(stuck)
    name = stuck[0]
    path: dict[str, None] = {}
    while name not in path:
        path[name] = None
        name = next(dependency for dependency in needs[name] if dependency in among)
    circle = list(path)[list(path).index(name) :]
    shown = [*circle, name] if len(circle) <= _SHOWN else [*circle[: _SHOWN - 1], f"... ({len(circle)} tasks)", name]
    return (
        f"tasks depend on each other in a circle: {' -> '.join(shown)} (each depends on the next); remove one of these"
    )


_SHOWN = 20
"""Tasks of a circle that its error names."""


def _unknown(name: str, dependency: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(dependency, names[:10_000], 1)
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else f"add it, or depend on one of these: {', '.join(map(repr, names[:10]))}"
    )
    return f"task {name!r} depends on {dependency!r}, which is no task of this workflow; {hint}"
