"""`result_of("name")`: a place in a task's arguments where another task's value will stand.

Found and filled anywhere in lists, tuples and dicts, however deep; whatever else holds one is not looked into.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ResultOf:
    """Stand for the value that the task of this name returns."""

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"result_of needs the name of a task, not {self.name!r}")


def result_of(name: str) -> Any:
    """Return a placeholder for a task's value, to be used in the `args` or `kwargs` of another task.

    It may stand inside lists, tuples and dicts (as a value). It also declares the dependency. Raises TypeError
    for what is no name.

    >>> from orchestrator import Task, Workflow
    >>> flow = Workflow()
    >>> flow.add_task(Task("two", lambda: 2))
    >>> flow.add_task(Task("power", pow, args=[result_of("two"), 10]))
    >>> flow.run()["power"].value
    1024
    """
    return ResultOf(name)


def names_in(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tasks whose values these arguments want, each once."""
    if not args and not kwargs:
        return ()
    names: dict[str, None] = {}
    seen: set[int] = set()  # a list may hold itself
    todo: list[Any] = [args, kwargs]
    while todo:
        value = todo.pop()
        if isinstance(value, ResultOf):
            names[value.name] = None
        elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
            seen.add(id(value))
            todo.extend(value.values() if isinstance(value, dict) else value)
    return tuple(sorted(names))


def filled(value: Any, value_of: Callable[[str], Any]) -> Any:
    """Return a copy with every placeholder replaced; what holds none is returned as it is, not copied."""
    if isinstance(value, ResultOf):
        return value_of(value.name)
    if isinstance(value, dict):
        entries = {key: filled(entry, value_of) for key, entry in value.items()}
        if all(entries[key] is entry for key, entry in value.items()):
            return value
        if type(value) is dict:
            return entries
        other = copy.copy(value)  # an OrderedDict, a defaultdict
        other.update(entries)
        return other
    if isinstance(value, (list, tuple)):
        items = [filled(item, value_of) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        if isinstance(value, list):
            return items
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)  # a namedtuple
    return value
