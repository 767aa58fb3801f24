"""Find in what a program wrote to standard error where its own code failed.

Reads the tracebacks that CPython prints: chained ones, those of exception groups, and the two lines of a SyntaxError.
Whatever else stands there is passed over: logs, the boxes of pytest, the stacks of faulthandler.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.wording import neutral

_REACH = 2**18
"""So many characters from the end are looked at: what ended a program stands last."""

_MOST_CHARACTERS = 500
"""A line that is longer is no message but data."""

_HEADER = re.compile(r"(?P<margin>[ |+]*)(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME = re.compile(r' +File "(?P<file>.+)", line (?P<line>\d{1,9})(?P<function>, in .*)?')
_SYNTAX_ERRORS = ("SyntaxError", "IndentationError", "TabError")
_LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_INSTALLED = re.compile(r"/(?:site-packages|dist-packages|lib(?:64)?/python\d[^/]*)/")
"""Code of others: also in a virtual environment that lies in the working directory."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something failed; `line` counts from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Traceback:
    """Frames, the innermost last; what was raised, on one line; and whether it came of the traceback before."""

    frames: tuple[Place, ...]
    exception: str
    linked: bool


def tracebacks_in(text: str) -> Iterator[Traceback]:
    """Yield the complete tracebacks, in their order."""
    frames: list[Place] | None = None
    margin, bare, linked = 0, False, False
    for line in text[-_REACH:].splitlines():
        if header := _HEADER.fullmatch(line):
            frames, margin, bare = [], len(header["margin"]), False
            continue
        if frames is None:
            linked = linked or line.strip(" |") in _LINKS
            frame = _FRAME.fullmatch(line)
            if frame and not frame["function"]:  # a SyntaxError in the program's first file comes without a header
                frames, margin, bare = [Place(frame["file"], int(frame["line"]))], 0, True
            continue
        body = line[margin:]
        if frame := _FRAME.fullmatch(body):
            frames.append(Place(frame["file"], int(frame["line"])))
        elif not body.startswith(" "):
            if body and (not bare or body.startswith(_SYNTAX_ERRORS)):
                yield Traceback(tuple(frames), body, linked)
                linked = False
            frames = None


def exception_in(text: str) -> str:
    """Return what the last traceback ends with, neutralised; "" when there is none. A long line is cut.

    >>> exception_in('Traceback (most recent call last):\\n  File "a.py", line 1, in f\\nKeyError: 1\\n')
    'KeyError: 1'
    """
    last = ""
    for found in tracebacks_in(text):
        last = found.exception
    return neutral(last)[:_MOST_CHARACTERS]


def place_in(text: str, root: str, workspace: str = "") -> Place | None:
    """Return the innermost place of the last traceback that lies below the folder `root` and was not installed there.

    If it has none there, the exceptions that it came of are asked, from the last to the first. Both folders are
    absolute paths. The file is relative to `workspace` if it lies below, else absolute.
    """
    chain: list[Traceback] = []
    for found in tracebacks_in(text):
        if not found.linked:
            chain.clear()
        chain.append(found)
    for traceback in reversed(chain):
        for frame in reversed(traceback.frames):
            path = os.path.normpath(os.path.join(root, frame.file))
            inside = _below(root, path)
            if inside is not None and not frame.file.startswith("<") and not _INSTALLED.search(f"/{inside}"):
                return Place(neutral(_below(workspace or root, path) or path), frame.line)
    return None


def _below(folder: str, path: str) -> str | None:
    """Return the way from a folder to a path below it; None if it lies elsewhere."""
    start = os.path.join(os.path.normpath(folder), "")
    return path[len(start) :] if path.startswith(start) else None
