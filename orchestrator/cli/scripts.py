"""From what stands on the command line to the list of scripts: folders and patterns become files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

import click


def expand(paths: Iterable[str]) -> list[str]:
    """Return the scripts that the paths mean, in the order of the paths; what a path means is sorted.

    A folder means the `*.py` files directly in it whose names do not start with `_` or a dot. A pattern
    (`*`, `?`, `[...]`, `**`) means the files it matches, unless a file has that very name. Any other
    path means itself, also when there is no such file: its result will say so.

    Raises click.UsageError for a folder or a pattern that means nothing, and for an unreadable folder.
    """
    return [script for path in paths for script in _expand(path)]


def _expand(path: str) -> list[str]:
    if os.path.isdir(path):
        return _scripts_in(path)
    if glob.has_magic(path) and not os.path.lexists(path):
        found = sorted(match for match in glob.iglob(path, recursive=True) if os.path.isfile(match))
        if not found:
            raise click.UsageError(f"no file matches {_quoted(path)}")
        return found
    return [path]


def _scripts_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.name.endswith(".py") and e.name[0] not in "_." and e.is_file()]
    except OSError as error:
        raise click.UsageError(f"cannot read the folder {_quoted(folder)}: {error.strerror}") from error
    if not names:
        raise click.UsageError(f"there is no script (*.py, not starting with _) in the folder {_quoted(folder)}")
    return [os.path.join(folder, name) for name in sorted(names)]


def _quoted(path: str) -> str:
    return repr(path)
