"""The combinations of a matrix, as GitHub makes them. Pure; what is too many is told before it is built.

`reading` calls it for a matrix that is known at once, what runs a workflow for one that has to be evaluated first.
The rules are those of GitHub's documentation of `strategy.matrix` and, where it is silent, of GitHub's open source
parser: values are compared as `==` does in an expression, objects by the leaves that are asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.config.places import cut, found, hint
from orchestrator.exceptions import ConfigError
from orchestrator.pipelines.actions.values import Value, equal, text_of

MOST_JOBS = 256
"""Jobs that one matrix may make: GitHub's limit."""

_MOST_COMPARISONS = 200_000
"""Combinations times what is compared with each in `include` and `exclude`: a second or so."""


class Combination(dict[str, Value]):
    """The values of one job of a matrix; the first `naming` of them give it its label, the others came by `include`."""

    def __init__(self, values: Mapping[str, Value], naming: int) -> None:
        super().__init__(values)
        self.naming = naming


def combinations(matrix: Mapping[str, Value]) -> list[Combination]:
    """Return the combinations of the axes without those that `exclude` names, then what `include` adds, in order.

    An entry of `include` goes to each combination in which it overwrites no value of an axis; one that goes to none
    becomes a combination of its own. Raises ConfigError for what is no matrix, for an empty one and for more than
    `MOST_JOBS`.

    >>> combinations({"os": ["linux", "mac"], "exclude": [{"os": "MAC"}], "include": [{"arch": "arm"}]})
    [{'os': 'linux', 'arch': 'arm'}]
    """
    axes = {name: _axis(name, values) for name, values in matrix.items() if name not in ("include", "exclude")}
    names = {name.lower(): name for name in axes}
    includes = [dict(_split(entry, names)) for entry in _entries("include", matrix.get("include"))]
    excludes = [_excluded(entry, names) for entry in _entries("exclude", matrix.get("exclude"))]
    if not axes and not includes:
        raise ConfigError("a matrix needs at least one axis with values, or an entry in `include`")
    kept = [Combination(values, len(values)) for values in _kept(axes, excludes)]
    return _included(kept, includes, frozenset(axes))


def label(combination: Mapping[str, Value]) -> str:
    """Return the values as GitHub shows them behind a job's name; of lists and objects what is in them.

    A value that `include` has added to a combination of the axes is not shown.

    >>> label({"python": "3.12", "on": {"os": "ubuntu-latest", "fast": True}, "none": ""})
    '3.12, ubuntu-latest, true'
    """
    naming = combination.naming if isinstance(combination, Combination) else len(combination)
    shown = itertools.islice(combination.values(), naming)
    texts = (text_of(leaf) for value in shown for _, leaf in _leaves(value))
    return ", ".join(text for text in texts if text)


def _axis(name: str, values: Value) -> list[Value]:
    if not isinstance(values, list):
        raise ConfigError(f"the axis {cut(repr(name))} must be a list of values, not {found(values)}")
    if not values:
        raise ConfigError(f"the axis {cut(repr(name))} is empty: without a value there is no job")
    return values


def _entries(name: str, entries: Value) -> list[dict[str, Any]]:
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise ConfigError(f"`{name}` must be a list of tables, not {found(entries)}")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not entry:
            raise ConfigError(f"`{name}[{index}]` must be a table of keys and values, not {found(entry)}")
    return entries


def _split(entry: Mapping[str, Value], names: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    """Yield what names an axis, by the axis's own name (the case does not matter), then all else."""
    yield from ((names[key.lower()], value) for key, value in entry.items() if key.lower() in names)
    yield from ((key, value) for key, value in entry.items() if key.lower() not in names)


def _excluded(entry: Mapping[str, Value], names: Mapping[str, str]) -> dict[str, Value]:
    for key in entry:
        if key.lower() not in names:
            raise ConfigError(f"`exclude` names {cut(repr(key))}, which is no axis{hint(key, names.values())}")
    return dict(_split(entry, names))


def _kept(axes: Mapping[str, list[Value]], excludes: list[dict[str, Value]]) -> Iterator[dict[str, Value]]:
    """Yield the combinations of the axes that no entry of `exclude` fits."""
    if not axes:
        return
    product = math.prod(map(len, axes.values()))
    if not excludes:
        _check_count(product)
    if product * len(excludes) > _MOST_COMPARISONS:
        raise ConfigError(f"{product} combinations and {len(excludes)} entries of `exclude` are too many to compare")
    filters = [tuple(_leaves(entry)) for entry in excludes]
    kept = 0
    built = []
    for values in itertools.product(*axes.values()):
        combination = dict(zip(axes, values, strict=True))
        if any(_fits(combination, leaves) for leaves in filters):
            continue
        kept += 1
        if kept <= MOST_JOBS:
            built.append(combination)
    _check_count(kept)
    yield from built


def _included(kept: list[Combination], includes: list[dict[str, Value]], axes: frozenset[str]) -> list[Combination]:
    """Add each entry to the combinations that it fits, or as one more; the added ones are added to no more."""
    if len(kept) * len(includes) > _MOST_COMPARISONS:
        raise ConfigError(f"{len(kept)} combinations and {len(includes)} entries of `include` are too many to compare")
    added = []
    for entry in includes:
        leaves = tuple(_leaves({key: value for key, value in entry.items() if key in axes}))
        fitting = [combination for combination in kept if _fits(combination, leaves)]
        for combination in fitting:
            combination.update((key, value) for key, value in entry.items() if key not in axes)
        if not fitting:
            added.append(entry)
    _check_count(len(kept) + len(added))
    if not kept and not added:
        raise ConfigError("`exclude` leaves no combination of this matrix: without one there is no job")
    return [*kept, *(Combination(entry, len(entry)) for entry in added)]


def _check_count(count: int) -> None:
    if count > MOST_JOBS:
        raise ConfigError(f"this matrix makes {count} jobs; {MOST_JOBS} is the most, here and on GitHub")


def _leaves(value: Value) -> Iterator[tuple[tuple[str | int, ...], Value]]:
    """Yield what is in a value and neither list nor object, with the way to it. What is open waits in a list."""
    todo: list[tuple[tuple[str | int, ...], Value]] = [((), value)]
    while todo:
        way, inner = todo.pop()
        if isinstance(inner, dict):
            todo.extend(((*way, key), item) for key, item in reversed(inner.items()))
        elif isinstance(inner, list):
            todo.extend(((*way, index), inner[index]) for index in reversed(range(len(inner))))
        else:
            yield way, inner


def _fits(combination: Mapping[str, Value], leaves: tuple[tuple[tuple[str | int, ...], Value], ...]) -> bool:
    return all(equal(_at(combination, way), wanted) for way, wanted in leaves)


def _at(combination: Mapping[str, Value], way: tuple[str | int, ...]) -> Value:
    """Return what stands there; null where nothing does."""
    value: Value = dict(combination)
    for key in way:
        if isinstance(value, dict) and isinstance(key, str):
            lower = key.lower()
            value = value[key] if key in value else next((value[k] for k in value if k.lower() == lower), None)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value
