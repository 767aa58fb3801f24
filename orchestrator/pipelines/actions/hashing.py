"""What `hashFiles(...)` gives: one SHA-256 for all files of a workspace that match some patterns.

Patterns and order are those of GitHub's @actions/glob, so that the same files have the same hash here and there: the
SHA-256 digests of the files, one after the other, hashed again. Reads regular files in the workspace, and nothing else.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.pipelines.actions.errors import ExpressionError
from orchestrator.stopping import stoppable

Check = Callable[[], None]

MOST_FILES = 100_000
"""Files that may match."""

MOST_ENTRIES = 1_000_000
"""Files and folders that may be looked at."""

_SECONDS = 120.0
"""As long as GitHub's own may take."""

_FOLLOW = "--follow-symbolic-links"
_WILD = re.compile(r"\\.|[*?]|\[[^\]]{2,}\]", re.DOTALL)

_States = frozenset[int]
"""How many segments of a pattern may have been met by a path."""


def hash_files(workspace: str, patterns: Sequence[str]) -> str:
    """Return the hash, in hexadecimal digits, of the files that match; '' if none does.

    A pattern is relative to the workspace, or absolute. `**` stands for any folders, `*`, `?` and `[...]` for
    characters of a name, dots at its beginning included; a folder stands for all in it. `!` takes away what patterns
    before it have matched. A pattern may have several lines; those that begin with `#` are comments. The first one may
    be `--follow-symbolic-links`: else no linked folder is looked into.

    Left out are files outside of the workspace, also those that a link leads to, and what is no regular file. Raises
    ExpressionError for a pattern with `..`, for more than MOST_FILES files, for what cannot be read, and when it takes
    longer than GitHub allows or its thread is to stop.
    """
    over = threading.Event()
    deadline = time.monotonic() + _SECONDS

    def check() -> None:
        if over.is_set() or time.monotonic() > deadline:
            raise ExpressionError(f"not done within {_SECONDS:g} s, or stopped")

    try:
        with stoppable(over.set):
            return _hash_of(workspace, patterns, check)
    except ExpressionError as error:
        raise ExpressionError(f"hashFiles: {error.problem}") from None


def _hash_of(workspace: str, patterns: Sequence[str], check: Check) -> str:
    follow = bool(patterns) and patterns[0].lower() == _FOLLOW
    if patterns and patterns[0].startswith("--") and not follow:
        raise ExpressionError(f"unknown option {patterns[0]!r}; there is {_FOLLOW!r}")
    digests, number = hashlib.sha256(), 0
    for path in matching_files(workspace, patterns[follow:], check, follow=follow):
        digest = _digest(path, check)
        if digest is None:
            continue
        number += 1
        if number > MOST_FILES:
            raise ExpressionError(f"more than {MOST_FILES:,} files match; name fewer, or exclude some with '!'")
        digests.update(digest)
    return digests.hexdigest() if number else ""


def matching_files(workspace: str, patterns: Sequence[str], check: Check, *, follow: bool = False) -> Iterator[str]:
    """Yield the real paths of what matches and is no folder, as `hash_files` says, in its order.

    `check` is called again and again, and may raise to end it. Raises ExpressionError as `hash_files` does.
    """
    lines = [line.strip() for text in patterns for line in text.split("\n")]
    patterns_of_lines = [_pattern(line, os.path.abspath(workspace)) for line in lines if line and line[0] != "#"]
    return _Search(os.path.realpath(workspace), patterns_of_lines, follow, check).files()


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern by its segments, from the root of the file system; None stands for `**`.

    The last one always is: what lies in a folder that matches, matches.
    """

    excludes: bool
    root: str
    segments: tuple[re.Pattern[str] | None, ...]

    def begin(self) -> _States:
        return self._skipping({0})

    def step(self, states: _States, name: str) -> _States:
        """Return the states after one more name of the path."""
        after = set()
        for state in states - {len(self.segments)}:
            segment = self.segments[state]
            if segment is None:
                after.add(state)
            elif segment.fullmatch(name):
                after.add(state + 1)
        return self._skipping(after)

    def matches(self, states: _States) -> bool:
        return len(self.segments) in states

    def _skipping(self, states: set[int]) -> _States:
        for state in sorted(states):
            while state < len(self.segments) and self.segments[state] is None:
                state += 1
                states.add(state)
        return frozenset(states)


def _pattern(line: str, workspace: str) -> _Pattern:
    if "\0" in line or not _is_path(line):
        raise ExpressionError(f"the pattern {line!r} has characters that no path has")
    body = line.lstrip("!")
    excludes = (len(line) - len(body)) % 2 == 1
    body = body.strip()
    if body == "~" or body.startswith("~/"):
        body = os.path.expanduser("~") + body[1:]
    if _is_in(body, workspace):  # by the name that it has been given here, which may be a link's
        body = "." + body[len(workspace) :]
    segments = [segment for segment in body.split("/") if segment]
    if segments and segments[0] == "." and body[0] == ".":
        del segments[0]
    if not body or ".." in segments or "." in segments:
        raise ExpressionError(f"the pattern {line!r} has to name what is in the workspace, without '.' and '..'")
    literal = [_literal(segment) for segment in segments]
    above = [] if body[0] == "/" else [part for part in os.path.realpath(workspace).split("/") if part]
    first_wild = literal.index(None) if None in literal else len(literal)
    root = "/" + "/".join([*above, *(name for name in literal[:first_wild] if name is not None)])
    compiled = [re.compile(re.escape(part)) for part in above] + [_compiled(segment) for segment in segments]
    if body.endswith("/"):  # what is meant is a folder, so what matches lies in it
        compiled.append(re.compile(".+", re.DOTALL))
    if not compiled or compiled[-1] is not None:
        compiled.append(None)
    return _Pattern(excludes, root, tuple(compiled))


def _is_path(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _literal(segment: str) -> str | None:
    """Return the one name that a segment matches; None if there may be others."""
    literal = re.sub(r"\\(.)|\[([^\]])\]", r"\1\2", segment, flags=re.DOTALL)
    wild = any(match[0][0] != "\\" for match in _WILD.finditer(segment))
    return None if wild else literal


def _compiled(segment: str) -> re.Pattern[str] | None:
    """Translate a segment, by way of fnmatch: its expressions never backtrack far."""
    if segment == "**":
        return None
    plain = re.sub(r"\\(.)", lambda match: f"[{match[1]}]" if match[1] in "*?[" else match[1], segment, flags=re.DOTALL)
    return re.compile(fnmatch.translate(plain.replace("[^", "[!")))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A path that is to be looked at, the states of all patterns there, and the real folders that it lies in."""

    path: str
    states: tuple[_States, ...]
    above: tuple[str, ...]


class _Search:
    """A walk through a workspace, in the order of @actions/glob: folder by folder, the names by their bytes."""

    def __init__(self, workspace: str, patterns: Sequence[_Pattern], follow: bool, check: Check) -> None:
        self._workspace = workspace
        self._patterns = patterns
        self._follow = follow
        self._check = check
        self._seen = 0

    def files(self) -> Iterator[str]:
        """Yield the real paths of what matches and is no folder."""
        for root in self._roots():
            waiting = [self._start(root)] if self._is_inside(os.path.realpath(root)) else []
            while waiting:
                entry = waiting.pop()
                self._check()
                self._seen += 1
                if self._seen > MOST_ENTRIES:
                    raise ExpressionError(f"more than {MOST_ENTRIES:,} files and folders to look at")
                if os.path.isdir(entry.path):
                    waiting += reversed(self._entries(entry))
                elif self._matches(entry.states) and self._is_inside(real := os.path.realpath(entry.path)):
                    yield real

    def _roots(self) -> list[str]:
        """Return where to begin: the part of each pattern before its first wildcard, but for what lies in another."""
        wanted = [pattern.root for pattern in self._patterns if not pattern.excludes]
        clamped = [self._workspace if _is_in(self._workspace, root) else root for root in wanted]
        inside = list(dict.fromkeys(root for root in clamped if _is_in(root, self._workspace)))
        return [root for root in inside if not any(root != other and _is_in(root, other) for other in inside)]

    def _start(self, root: str) -> _Entry:
        states = tuple(pattern.begin() for pattern in self._patterns)
        for name in filter(None, root.split("/")):
            states = self._step(states, name)
        return _Entry(root, states, ())

    def _step(self, states: tuple[_States, ...], name: str) -> tuple[_States, ...]:
        return tuple(
            pattern.step(before, name) if before else before
            for pattern, before in zip(self._patterns, states, strict=True)
        )

    def _matches(self, states: tuple[_States, ...]) -> bool:
        matches = False
        for pattern, reached in zip(self._patterns, states, strict=True):
            if pattern.matches(reached):
                matches = not pattern.excludes
        return matches

    def _entries(self, folder: _Entry) -> list[_Entry]:
        """Return what is to be looked at in a folder, in order."""
        above = folder.above
        if self._follow:
            real = os.path.realpath(folder.path)
            if real in above or not self._is_inside(real):
                return []
            above = (*above, real)
        elif os.path.islink(folder.path):
            return []
        try:
            names = sorted(os.listdir(folder.path), key=os.fsencode)
        except OSError as error:
            raise _unreadable(folder.path, error) from error
        entries = [_Entry(os.path.join(folder.path, name), self._step(folder.states, name), above) for name in names]
        return [entry for entry in entries if self._may_match(entry.states)]

    def _may_match(self, states: tuple[_States, ...]) -> bool:
        """Say whether a path with these states, or anything below it, may match."""
        for pattern, reached in zip(reversed(self._patterns), reversed(states), strict=True):
            # What is taken away after the last pattern that includes stays so, with all below it.
            if pattern.excludes and pattern.matches(reached):
                return False
            if not pattern.excludes:
                break
        return any(reached and not p.excludes for p, reached in zip(self._patterns, states, strict=True))

    def _is_inside(self, real: str) -> bool:
        return _is_in(real, self._workspace)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _digest(path: str, check: Check) -> bytes | None:
    """Return the digest of a regular file; None for what is none, which is not opened, and for a link to nothing."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        # By now a FIFO may have taken its place, which must not make us wait: O_NONBLOCK, and a second look.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                check()
                digest.update(chunk)
            return digest.digest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> ExpressionError:
    return ExpressionError(f"{path!r} cannot be read: {error.strerror}")
