"""What is said of one script in several places, and what of it holds. The only look at files: is a dependency one?

An entry is a table as `orchestrator.config.schema.check_script` returns it: only the keys that are set.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Entry = dict[str, Any]


def entries_for(names: tuple[str, ...], scripts: Mapping[str, Entry], folder: str) -> Iterator[Entry]:
    """Yield the entries whose pattern fits a script, in their order.

    `names` are what the script is called: its path below the config's `folder`, its file's name. A pattern fits as
    fnmatch says (`*` crosses folders), or when it is one of the names, or the file's name without its suffix.

    >>> list(entries_for(("etl/load.py", "load.py"), {"etl/*": {"retries": 1}, "load": {"retries": 2}}, "/"))
    [{'retries': 1}, {'retries': 2}]
    """
    exact = {*names, stem(names[0])}
    for pattern, entry in scripts.items():
        if pattern in exact or any(fnmatch.fnmatchcase(name, pattern) for name in names):
            yield beside(entry, folder)


def beside(entry: Entry, folder: str) -> Entry:
    """Return the entry with those dependencies as absolute paths that are files, seen from the folder."""
    if not entry.get("depends_on"):
        return entry
    paths = [(name, os.path.normpath(os.path.join(folder, name))) for name in entry["depends_on"]]
    return {**entry, "depends_on": [path if os.path.isfile(path) else name for name, path in paths]}


def merge(path: str | None, description: str, defaults: Entry, entries: Iterable[Entry]) -> Entry:
    """Return what holds: later entries win over earlier ones and over the defaults; `env` is merged.

    >>> merge("/a.py", "", {"timeout": 9.0, "memory": None, "retries": 0, "env": {}}, [{"retries": 2}])["retries"]
    2
    """
    merged: Entry = {
        "path": path,
        "description": description,
        **{key: defaults[key] for key in ("timeout", "memory", "retries", "env")},
        "depends_on": [],
        "args": [],
        "cwd": None,
    }
    for entry in entries:
        merged |= {**entry, "env": {**merged["env"], **entry.get("env", {})}}
    # Copies: whoever changes what they get changes nobody else's.
    return merged | {"env": dict(merged["env"]), "args": [*merged["args"]], "depends_on": [*merged["depends_on"]]}


def stem(path: str) -> str:
    """Return the file's name without its suffix."""
    return os.path.splitext(os.path.basename(path))[0]
