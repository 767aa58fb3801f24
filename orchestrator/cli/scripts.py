"""From what stands on the command line, or in a list, to scripts: folders and patterns become files."""

from __future__ import annotations

import glob
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator

import click

from orchestrator.cli.gather import Named

_ESCAPED = re.compile(r"\$'((?:[^'\\]|\\['\\n])*)'")
"""A path with a line break in it, as `orchestrator discover` writes it and bash reads it."""


def named_scripts(paths: Iterable[str], lists: Iterable[str], *, null: bool) -> list[Named]:
    """Return the scripts that paths and list files name, in this order; `-` among the paths is standard input.

    Raises click.UsageError for a folder or a pattern that means nothing, and for a list that cannot be read.
    """
    found: list[Named] = []
    for path in paths:
        found += _listed(path, null) if path == "-" else map(Named, _expand(path))
    for path in lists:
        found += _listed(path, null)
    return found


def _expand(path: str) -> list[str]:
    """Return the scripts that a path means, sorted.

    A folder means the `*.py` files directly in it whose names do not start with `_` or a dot. A pattern
    (`*`, `?`, `[...]`, `**`) means the files it matches, unless a file has that very name. Any other
    path means itself, also when there is no such file: its result will say so.
    """
    if not path:
        raise click.UsageError("the path of a script is empty")
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


def _listed(path: str, null: bool) -> Iterator[Named]:
    """Yield the scripts of a list: paths that end in NUL, or lines, but for empty ones and comments (#)."""
    where = "standard input" if path == "-" else _quoted(path)
    try:
        if path == "-":
            if sys.stdin is None:
                raise click.UsageError("standard input is closed: there is no list of scripts to read")
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as error:
        raise click.UsageError(f"cannot read the list of scripts from {where}: {error.strerror}") from error
    text = os.fsdecode(data)
    if null or "\0" in text:
        yield from (Named(entry) for entry in text.split("\0") if entry)
        return
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if os.path.lexists(line):
            yield Named(line)
            continue
        if escaped := _ESCAPED.fullmatch(line):
            yield Named(re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], escaped[1]))
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise click.UsageError(f"{where}, line {number}: {error}: {_quoted(line)}") from error
        if words:
            yield Named(words[0], tuple(words[1:]))


def _quoted(path: str) -> str:
    return repr(path)
