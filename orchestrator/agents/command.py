"""Agents that are programs: the command line of one run, made when the results it needs are there.

No shell sees it. The task is also on standard input, where it may be of any length.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.outcome import Ending, Outcome
from orchestrator.placeholders import check_command, filled, text_of
from orchestrator.pool.job import CommandLine
from orchestrator.programs import CannotRun, Program, Readable, Text, as_argument

_LONGEST = 32 * os.sysconf("SC_PAGE_SIZE") - 1
"""Bytes of one argument at most, as Linux has it (MAX_ARG_STRLEN, execve(2))."""
_CURE = "the task is on standard input too: leave {task} out of the command, and read it there"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AgentProgram(Program):
    """A program that gets a task. Its call, or the pool, gives it the results of the tasks named in `names`."""

    task: str = field(repr=False)
    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<agent {self.name!r}>"  # not its environment

    def texts(self, values: Sequence[object]) -> tuple[str, Mapping[str, str]]:
        """Return the task with the results in it, and the results. Raises CannotRun for what has no bytes."""
        results = dict(zip(self.names, map(text_of, values), strict=True))
        text = filled(self.task, results)
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            raise self.refused(f"its task has half a character (U+{code:04X}), which is no text to write") from None
        return text, results

    def refused(self, why: str) -> CannotRun:
        """Return what says that the program cannot be run, with a shell's exit code."""
        return CannotRun(Outcome(Ending.RAISED, reason=f"{self.name}: cannot be run: {why}\n", return_code=126))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AgentCommand(AgentProgram):
    """A command template, `{task}` and `{result of NAME}` in its arguments."""

    command: tuple[str, ...]

    def command_line(self, *args: object, stdin: Readable = None) -> CommandLine:
        """Return what the pool is to run; `args` are the results. Raises CannotRun for what no program can get."""
        text, results = self.texts(args)
        argv = [self._argument(filled(word, results, text)) for word in self.command]
        data = text.encode("utf-8", "surrogateescape")
        return CommandLine(argv, data, self.stdout, self.stderr, self.seconds, self.output_limit)

    def _argument(self, argument: str) -> str:
        if "\0" in argument:
            raise self.refused(f"an argument cannot hold a NUL character, and the task, or a result, has one; {_CURE}")
        try:
            size = len(os.fsencode(argument))
        except UnicodeEncodeError:
            encoding = sys.getfilesystemencoding()
            raise self.refused(f"the task, or a result, has what cannot be written in {encoding}; {_CURE}") from None
        if size > _LONGEST:
            raise self.refused(f"an argument of {size:,} bytes is too long, {_LONGEST:,} are the most; {_CURE}")
        return argument


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AskedProgram(AgentProgram):
    """A program such as `shell` makes: the task is its last argument."""

    program: Program

    def command_line(self, *args: object, stdin: Readable = None) -> CommandLine:
        """Return what the pool is to run; `args` are the results."""
        text, _ = self.texts(args)
        return self.program.command_line(text, stdin=text if self.program.stdin is None else None)


def command_of(name: str, words: Sequence[Text]) -> tuple[str, ...]:
    """Return the command of an agent. Raises TypeError or ValueError, which name it, for one that makes no sense."""
    try:
        command = tuple(os.fsdecode(as_argument(word)) for word in words)
        check_command(command)
    except (TypeError, ValueError) as error:
        raise type(error)(f"agent {name!r}: the command {error}") from None
    return command
