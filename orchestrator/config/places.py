"""Where in a config something stands, and the words for what is wrong there. Pure functions and one value."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.exceptions import ConfigError
from orchestrator.wording import visible

Keys = tuple[str | int, ...]
"""The way to a value: keys of tables and, for an item of a list, its index."""

_SHOWN = 80
"""Characters of what was found that an error shows."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_KINDS: dict[type, str] = {
    bool: "boolean",
    int: "whole number",
    float: "number",
    str: "text",
    list: "list",
    dict: "table",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the file's name, the keys that lead to it, their lines where known.

    `folder` is the absolute path that relative paths in the file are relative to.
    """

    file: str
    folder: str
    keys: Keys = ()
    lines: Mapping[Keys, int] = field(default_factory=dict)

    def at(self, key: str | int) -> Place:
        """Return the place of what stands under a key of this table, or an index of this list."""
        return replace(self, keys=(*self.keys, key))

    def mistake(self, text: str) -> ConfigError:
        """Return the error that says what is wrong here."""
        known = (self.lines[self.keys[:n]] for n in range(len(self.keys), 0, -1) if self.keys[:n] in self.lines)
        key = f"{cut(dotted(self.keys), 200)}: " if self.keys else ""
        return mistake(self.file, f"{key}{text}", next(known, None))


def mistake(file: str, text: str, line: int | None = None, column: int | None = None) -> ConfigError:
    """Return the error for a place in a file.

    >>> print(mistake("a.toml", "no value", 3, 8))
    a.toml, line 3, column 8: no value
    """
    place = visible(file)
    place += f", line {line}" if line else ""
    place += f", column {column}" if column else ""
    return ConfigError(f"{place}: {text}")


def dotted(keys: Keys) -> str:
    """Write keys as TOML does, quoted where they are no bare ones; an index in brackets.

    >>> dotted(("scripts", "etl/*.py", "args", 0))
    'scripts."etl/*.py".args[0]'
    """
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            bare = _BARE_KEY.fullmatch(key)
            text += ("." if text else "") + (key if bare else visible(json.dumps(key, ensure_ascii=False)))
    return text


def leaves(table: Mapping[str, Any], keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield each value that is no table, and each empty table, with the keys that lead to it.

    >>> list(leaves({"defaults": {"jobs": 2, "env": {}}}))
    [(('defaults', 'jobs'), 2), (('defaults', 'env'), {})]
    """
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*keys, key))
        else:
            yield (*keys, key), value


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like this one, None when none does."""
    if len(name) > _SHOWN:  # difflib's time grows with the square of the length
        return None
    return next(iter(difflib.get_close_matches(name, list(known)[:10_000], 1)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the closest known one, and all of them.

    >>> hint("timeot", ["timeout", "jobs"])
    "; did you mean 'timeout'? Known here: jobs, timeout"
    """
    names = sorted(known)
    near = closest(name, names)
    listed = f"Known here: {cut(', '.join(map(visible, names)), 400)}"
    return f"; did you mean {near!r}? {listed}" if near else f". {listed}"


def found(value: Any) -> str:
    """Write what was found, cut short, and what kind of value it is.

    >>> found(["a"]), found(True)
    ("['a'] (list)", 'True (boolean)')
    """
    try:
        text = repr(value)
    except ValueError:  # int() and repr() refuse thousands of digits, hexadecimal ones may have been read
        text = "a number of thousands of digits"
    return f"{cut(text)} ({_KINDS.get(type(value), type(value).__name__)})"


def cut(text: str, most: int = _SHOWN) -> str:
    """Return the text, with dots for its end if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
