"""What git ignores: the patterns of a `.gitignore`, and those of the repository that a folder lies in (gitignore(5)).

pathspec translates the patterns; which of them decides, and that a folder is decided on before what lies in it, is told
here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from orchestrator.regular import read_regular

_EVERYTHING = re.compile(r"(?!/\*/?$)/?(?:\*\*/)*\*\*?/?")
_POSIX_CLASSES = {
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:space:]": " \t\n\r\f\v",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring patterns of a file that all exclude, or all take back; those without a slash match names."""

    excludes: bool
    names: re.Pattern[str] | None
    paths: re.Pattern[str] | None


class Rules:
    """The patterns of one `.gitignore`: the last one that matches an entry, and not only what it lies in, decides.

    pathspec translates the patterns one by one. Its GitIgnoreSpec is asked about files, by their whole paths:
    about a folder it is mistaken (`*` and `!*/` would leave it out), so no walk could be guided by it.
    `?` and `[...]` stand for one character; to git it is one byte.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        runs: list[tuple[bool, tuple[list[str], list[str]]]] = []
        for line in lines:
            excludes, body = not line.startswith("!"), line.removeprefix("!")
            if text := _translate(body):
                if not runs or runs[-1][0] != excludes:
                    runs.append((excludes, ([], [])))
                runs[-1][1]["/" in body[:-1]].append(text)
        self._runs = [_Run(excludes, _any(names), _any(paths)) for excludes, (names, paths) in reversed(runs)]

    def __bool__(self) -> bool:
        return bool(self._runs)

    def verdict(self, path: str, name: str, start: int = 0) -> bool | None:
        """Return whether it is excluded, None if no pattern matches. Both end with a slash for a folder.

        The path counts from the index `start` on.
        """
        for run in self._runs:
            if (run.names and run.names.fullmatch(name)) or (run.paths and run.paths.fullmatch(path[start:])):
                return run.excludes
        return None


def _any(texts: Sequence[str]) -> re.Pattern[str] | None:
    # The groups that pathspec names are of no use here, and the same name would be given twice.
    text = "|".join(f"(?:{re.sub(r'[(][?]P<[a-z_]+>', '(?:', text)})" for text in texts)
    return re.compile(text, re.DOTALL) if texts else None


def _translate(pattern: str) -> str | None:
    """Return the regular expression for all of a path that matches, None for a pattern that matches nothing."""
    pattern = re.sub(r"\*{3,}", "**", pattern)  # to git, as many mean the same
    if _EVERYTHING.fullmatch(pattern):
        return ".+/" if pattern.endswith("/") else ".+"
    for name, characters in _POSIX_CLASSES.items():
        pattern = pattern.replace(name, characters)
    if pattern.endswith(("/**", "/**/")):  # pathspec's expression for these ends early
        pattern = f"{pattern.removesuffix('/')}/*{'/' if pattern.endswith('/') else ''}"
    if pattern.startswith(("#", "!")):  # comments and the sign are gone, so it is neither
        pattern = f"\\{pattern}"
    try:
        text: str | None = GitIgnoreSpecPattern.pattern_to_regex(pattern.replace("[[]", "\\["))[0]
        if text and "[" in pattern:
            text = text.replace("[^", "[^/")
            re.compile(text)
    except (ValueError, re.error, FutureWarning):  # an end missing, `[z-a]`, a set that Python may read otherwise
        return None
    return text


@lru_cache(maxsize=256)
def parse(data: bytes) -> Rules:
    """Read a `.gitignore`: comments, the spaces that count, the byte order mark (gitignore(5), git's dir.c)."""
    lines = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).split("\n")
    return Rules(re.sub(r"(?<!\\) +$", "", line.removesuffix("\r")) for line in lines if not line.startswith("#"))


Ignores = tuple[tuple[int, Rules], ...]


def repository(folder: str) -> tuple[str, Ignores]:
    """Return the path of a folder from its repository's top ("a/b/"), and what is ignored from above it."""
    top = folder
    while not os.path.lexists(os.path.join(top, ".git")):
        if top == (top := os.path.dirname(top)):
            return "", ()
    below = os.path.join(os.path.relpath(folder, top), "").removeprefix("./")
    ignores: list[tuple[int, Rules]] = [(0, parse(read_if_there(os.path.join(_git_folder(top), "info", "exclude"))))]
    for match in re.finditer("[^/]+/", below):
        above = below[: match.start()]
        ignores.append((len(above), parse(read_if_there(os.path.join(top, above, ".gitignore"), os.O_NOFOLLOW))))
    return below, tuple(ignore for ignore in ignores if ignore[1])


def _git_folder(top: str) -> str:
    """Return the folder of git's that all work trees of the repository share (gitrepository-layout(5))."""
    folder = os.path.join(top, ".git")
    told = os.fsdecode(read_if_there(folder))  # a file in a submodule and in a work tree that was added
    if told.startswith("gitdir: "):
        folder = os.path.join(top, told.removeprefix("gitdir: ").rstrip("\n"))
    return os.path.join(folder, os.fsdecode(read_if_there(os.path.join(folder, "commondir"))).rstrip("\n"))


def read_if_there(path: str, flags: int = 0, most: int = 16 << 20) -> bytes:
    """Return the beginning of a regular file; nothing if it is none, or cannot be read."""
    try:
        return read_regular(path, most, flags) or b""
    except (OSError, ValueError):
        return b""
