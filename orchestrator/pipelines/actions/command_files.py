"""The files in which a step tells what is to hold for later ones: GITHUB_ENV, _OUTPUT, _PATH and _STEP_SUMMARY.

Their syntax is that of GitHub's "Workflow commands": `name=value` on one line, or `name<<WORD`, lines, `WORD`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from orchestrator.regular import read_regular

MOST_BYTES = 1 << 20
"""As much as is read of each file; GitHub takes as much of a summary."""

_NAMES = ("ENV", "OUTPUT", "PATH", "STEP_SUMMARY")


class CommandFileError(Exception):
    """A step has written something into one of the files that nobody can read."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a step has told."""

    env: dict[str, str]
    outputs: dict[str, str]
    path: tuple[str, ...]
    summary: str


class CommandFiles:
    """The files of one step, made empty in a folder of ours."""

    def __init__(self, folder: str, number: int) -> None:
        self._paths = {name: os.path.join(folder, f"{name.lower()}-{number}") for name in _NAMES}
        for path in self._paths.values():
            with open(path, "x", encoding="utf-8"):
                pass

    @property
    def variables(self) -> dict[str, str]:
        """The variables that name the files."""
        return {f"GITHUB_{name}": path for name, path in self._paths.items()}

    def read(self) -> Told:
        """Read what the step has written. Raises CommandFileError, which names the file and the line."""
        return Told(
            env=pairs_of(self._text("ENV"), "GITHUB_ENV"),
            outputs=pairs_of(self._text("OUTPUT"), "GITHUB_OUTPUT"),
            path=tuple(line for line in self._text("PATH").splitlines() if line),
            summary=self._text("STEP_SUMMARY", cut=True),
        )

    def _text(self, name: str, *, cut: bool = False) -> str:
        try:
            data = read_regular(self._paths[name], MOST_BYTES + 1, os.O_NOFOLLOW)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise CommandFileError(f"GITHUB_{name} cannot be read: {error.strerror}") from error
        if data is None:
            raise CommandFileError(f"GITHUB_{name} is no regular file any more: append to it, do not replace it")
        if len(data) > MOST_BYTES and cut:
            return data[:MOST_BYTES].decode("utf-8-sig", "replace") + "\n[cut: more than 1 MiB]\n"
        if len(data) > MOST_BYTES:
            raise CommandFileError(f"GITHUB_{name} has more than 1 MiB, the most that is read")
        return data.decode("utf-8-sig", "replace")


def pairs_of(text: str, what: str) -> dict[str, str]:
    r"""Return the names and values that stand in the text of a file. Raises CommandFileError with the line.

    >>> pairs_of("colour=red\nnote<<END\ntwo\nlines\nEND\n", "GITHUB_OUTPUT")
    {'colour': 'red', 'note': 'two\nlines'}
    """
    pairs: dict[str, str] = {}
    lines = text.replace("\r\n", "\n").split("\n")
    place = 0
    while place < len(lines):
        line = lines[place]
        begun = place = place + 1
        if not line:
            continue
        name, equals, value = line.partition("=")
        before, heredoc, word = line.partition("<<")
        if heredoc and (not equals or len(before) < len(name)):
            while place < len(lines) and lines[place] != word:
                place += 1
            if place == len(lines) or not word:
                raise CommandFileError(
                    f"{what}, line {begun}: the value of {before!r} does not end: no line is {word!r}"
                )
            name, value = before, "\n".join(lines[begun:place])
            place += 1
        elif not equals:
            raise CommandFileError(f"{what}, line {place}: {line[:80]!r} is neither name=value nor name<<WORD")
        if not name.strip():
            raise CommandFileError(f"{what}, line {begun}: a value without a name: {line[:80]!r}")
        if "\0" in name + value:
            raise CommandFileError(f"{what}, line {begun}: a NUL, which no variable can hold")
        pairs[name] = value
    return pairs
