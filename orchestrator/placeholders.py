"""Places in an agent's command or task where the task's text, or what earlier tasks came to, will stand.

There are two, `{task}` and `{result of NAME}`; every other brace is text. What is put in is not looked through again.
Pure; also imported by workers, for an `Asked` travels to them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.results import ExecutionResult

RESULT_CHARACTERS = 1 << 16
"""How much of a result is put in: of a longer one the beginning and the end."""

_PLACE = re.compile(r"\{(?:task|result of ([^{}]+))\}")
_INTERPRETERS = (
    (re.compile(r"(?:ba|rba|da|k|mk|z|fi|a|c|tc)?sh"), re.compile(r"[-+][A-Za-z]*[oO]|--init-file|--rcfile")),
    (re.compile(r"(?:i?python|pypy)[\d.]*"), re.compile(r"-[WX]|--check-hash-based-pycs")),
    (re.compile(r"perl[\d.]*"), re.compile(r"-I")),
    (re.compile(r"ruby[\d.]*"), re.compile(r"-[Ir]")),
    (re.compile(r"node|nodejs|bun"), re.compile(r"-[rC]|--require|--import|--loader|--conditions")),
    (re.compile(r"php[\d.]*"), re.compile(r"-[dcz]")),
    (re.compile(r"[gmn]?awk"), re.compile(r"-[Fv]")),
    (re.compile(r"(?:lua|luajit|tclsh)[\d.]*|Rscript|pwsh|osascript"), re.compile(r"-l")),
)
"""Names of interpreters, and those of their options whose next word is not the program."""
_CODE = re.compile(r"-[A-Za-z]*[ceE]|--eval|-Command")
"""Options of theirs whose next word is the program itself."""
_WRAPPERS = {"busybox", "chrt", "doas", "env", "ionice", "nice", "nohup", "setsid", "stdbuf", "sudo", "time", "timeout"}
_WRAPPERS |= {"xargs"}


def names_in(*texts: str) -> tuple[str, ...]:
    """Return the names of the tasks whose results these texts want, each once.

    >>> names_in("Judge {result of draft} by {result of rules}; {other} {task} {result of draft}")
    ('draft', 'rules')
    """
    found = (match[1] for text in texts for match in _PLACE.finditer(text))
    return tuple(dict.fromkeys(name for name in found if name is not None))


def filled(text: str, results: Mapping[str, str], task: str | None = None) -> str:
    """Put the results, and the task if there is one, in their places; where there is none, the text stays.

    >>> filled("{result of a}, {task}, {b}", {"a": "{task}"}, "do")
    '{task}, do, {b}'
    """

    def value_of(match: re.Match[str]) -> str:
        if match[1] is not None:
            return results.get(match[1], match[0])
        return match[0] if task is None else task

    return _PLACE.sub(value_of, text)


def text_of(value: object) -> str:
    """Return a result as text: what a command printed without the line ends behind it, else `str` of the value.

    Of more than `RESULT_CHARACTERS` the middle is left out, and that is said in its place.
    """
    if isinstance(value, ExecutionResult):
        text = value.output.rstrip("\n")
    elif isinstance(value, (bytes, bytearray)):
        text = value.decode("utf-8", "replace")
    else:
        text = str(value)
    left_out = len(text) - RESULT_CHARACTERS
    if left_out <= 0:
        return text
    tail = RESULT_CHARACTERS // 4
    return f"{text[: RESULT_CHARACTERS - tail]}\n[{left_out:,} characters left out]\n{text[-tail:]}"


class Asked:
    """A function that is called with a text in which the results of other tasks have been put in their places."""

    def __init__(self, function: Callable[..., Any], text: str, names: Sequence[str]) -> None:
        self.function = function
        self.text = text
        self.names = names

    def __call__(self, *values: object) -> Any:
        """Call it; `values` are the results, in the order of the names."""
        results = dict(zip(self.names, map(text_of, values), strict=True))
        return self.function(filled(self.text, results))


class AskedInLoop(Asked):
    """The same for a coroutine function, as one that can be told to be one."""

    async def __call__(self, *values: object) -> Any:
        """Call it and await what it returns."""
        return await super().__call__(*values)


def check_command(words: Sequence[str]) -> None:
    """Raise ValueError for the command of an agent in which a task could choose or write what is run.

    >>> check_command(["mytool", "--prompt", "{task}"])
    >>> check_command(["sh", "-c", "mytool {task}"])
    Traceback (most recent call last):
    ValueError: lets sh run the task as a program: give it one of yours first, as in ['sh', 'tool', '{task}']
    """
    if not words or not words[0]:
        raise ValueError("must name a program first, as in ['mytool', '--prompt', '{task}']")
    for word in words:
        if "\0" in word:
            raise ValueError(f"an argument cannot hold a NUL character, as {word!r} does")
    index = 0
    while _name(words[index]) in _WRAPPERS:
        program = _program_behind(words, index)
        if program is None:
            raise ValueError(
                f"lets {_name(words[index])} run what the task says: name a program before it, and write -- before "
                "that if it comes after options"
            )
        index = program
    if _PLACE.search(words[index]):
        raise ValueError(f"lets the task choose the program, which must be a word of yours: {words[index]!r}")
    name = _name(words[index])
    values = _values_of(name)
    if values is not None and not _has_program(name, values, words[index + 1 :]):
        raise ValueError(
            f"lets {name} run the task as a program: give it one of yours first, as in [{name!r}, 'tool', '{{task}}']"
        )
    for place in range(index + 1, len(words)):  # behind a program that runs it elsewhere: `docker run`, `xargs`
        name = _name(words[place])
        if _is_given_code(name, words[place + 1 :]):
            raise ValueError(
                f"has the task in the program of {name}: give that a program of yours, and the task behind it, as in "
                f"[{name!r}, '-c', 'tool \"$1\"', {name!r}, '{{task}}']"
            )


def _values_of(name: str) -> re.Pattern[str] | None:
    """Return which options of an interpreter have a value; None for a program that is none."""
    return next((values for names, values in _INTERPRETERS if names.fullmatch(name)), None)


def _is_given_code(name: str, words: Sequence[str]) -> bool:
    """Whether these words give an interpreter a program in which a task has its place."""
    values = _values_of(name)
    if values is None:
        return False
    rest = iter(words)
    for word in rest:
        if _CODE.fullmatch(word):
            return bool(_PLACE.search(next(rest, "")))
        if values.fullmatch(word):
            next(rest, None)
        elif not word.startswith(("-", "+")):
            return False
    return False


def _name(word: str) -> str:
    return os.path.basename(word)


def _program_behind(words: Sequence[str], wrapper: int) -> int | None:
    """Return the place of the program that a wrapper such as `env` or `nice` runs; None if it may be the task's.

    What follows a short option is taken for its value, unless that is `--`.
    """
    may_be_value = False
    for index in range(wrapper + 1, len(words)):
        word = words[index]
        if word == "--":
            return index + 1 if index + 1 < len(words) else None
        if _PLACE.search(word):
            return None
        if word.startswith("-"):
            may_be_value = len(word) == 2
        elif may_be_value or "=" in word or word[:1].isdigit():
            may_be_value = False
        else:
            return index
    return None


def _has_program(name: str, values: re.Pattern[str], words: Sequence[str]) -> bool:
    """Whether an interpreter's own words name a program, and hold nothing of a task's.

    Without one it would read its program from standard input, where the task is.
    """
    rest = iter(words)
    for word in rest:
        if _PLACE.search(word) or word == "-" or (word == "-s" and name.endswith("sh")):
            return False
        if values.fullmatch(word):
            next(rest, None)
        elif not word.startswith(("-", "+")):
            return True
    return False
