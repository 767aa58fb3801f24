"""Programs: what runs as a process of its own. Scripts and shell lines, as callables that say how they are run.

Called, a program runs to its end and returns an ExecutionResult, whatever came of it. The workflow engine does not
call one but has the pool run it (`dag/in_pool.py`): with no thread and no worker in between, so that it can be stopped.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.capture import OUTPUT_LIMIT
from orchestrator.pool.job import CommandLine, Input, Job, ProgramAction
from orchestrator.pool.pool import Pool
from orchestrator.results import ExecutionResult, result_of_outcome
from orchestrator.runs import Options, Run, collect

Path = str | os.PathLike[str]
Text = str | bytes | os.PathLike[str]
"""One argument of a program."""
Readable = Text | int | IO[Any] | ExecutionResult | None
"""What a program can be given to read: text, bytes, a file by its path or open, or what another one has printed."""


class CannotRun(Exception):
    """A program that cannot be run at all; `outcome` says why, with the exit code of a shell."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program(ProgramAction):
    """A program and how it is run: its limits, variables on top of the present ones, directory, standard streams.

    `stdout` and `stderr` are captured (None), or go to an open descriptor.
    """

    name: str
    limits: Limits = NO_LIMITS
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    stdin: Readable = field(default=None, repr=False)
    """Kept as it was given: a file that nobody holds is closed, and its descriptor may soon be another's."""
    stdout: int | None = None
    stderr: int | None = None
    output_limit: int | None = None
    """Bytes kept of each stream; None: as many as whoever runs it keeps."""
    seconds: Callable[[], float | None] | None = None
    """Asked again and again while it runs for how long it may; None: the limits say it."""
    args: tuple[Text, ...] = ()
    """Arguments that come before those of a call."""

    def argv(self, args: Sequence[Text]) -> Sequence[Text]:
        """Return the whole command line, these arguments at its end. Raises CannotRun."""
        raise NotImplementedError

    def command_line(self, *args: object, stdin: Readable = None) -> CommandLine:
        """Return what the pool is to run: the arguments come after the program's own.

        Raises CannotRun for a program that cannot be run, TypeError for arguments that no program can get.
        """
        source = as_input(self.stdin if stdin is None else stdin)
        argv = [os.fsdecode(part) for part in self.argv([*self.args, *map(as_argument, args)])]
        return CommandLine(argv, source, self.stdout, self.stderr, self.seconds, self.output_limit)

    def __call__(self, *args: object, stdin: Readable = None) -> ExecutionResult:
        """Run it to its end; positional arguments and `stdin` are as for `command_line`."""
        options = Options(limits=self.limits, env=self.env, cwd=self.cwd)
        return run_programs([prepared(self, *args, stdin=stdin)], 1, options, self.output_limit or OUTPUT_LIMIT)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Script(Program):
    """A script: `.py` runs under this interpreter, anything else by its executable bit and `#!` line."""

    path: str

    def argv(self, args: Sequence[Text]) -> Sequence[Text]:
        """Return the command line of the script. Raises CannotRun where there is none."""
        return _script_argv(self.path, args)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shell(Program):
    """A line for `/bin/sh`, whose $1, $2, ... are the arguments; or a list of arguments, which no shell sees."""

    command: str | tuple[Text, ...]

    @property
    def text(self) -> str:
        """The command as it would be typed."""
        return self.command if isinstance(self.command, str) else shlex.join(map(os.fsdecode, self.command))

    def argv(self, args: Sequence[Text]) -> Sequence[Text]:
        """Return the command line."""
        if isinstance(self.command, str):
            return ["/bin/sh", "-c", self.command, "sh", *args]
        return [*self.command, *args]


Line = tuple[str, CommandLine] | ExecutionResult
"""A program's name and command line, or the result of one that cannot be run."""


def prepared(program: Program, *args: object, stdin: Readable = None) -> Line:
    """Return what a runner takes."""
    try:
        return program.name, program.command_line(*args, stdin=stdin)
    except CannotRun as error:
        return result_of_outcome(error.outcome, program.name)


def run_programs(lines: Sequence[Line], size: int, options: Options, output_limit: int) -> list[ExecutionResult]:
    """Run programs, at most `size` at a time, and return their results in order."""
    with Pool(min(size, len(lines)), output_limit=output_limit) as pool:
        return collect(Run(pool, lines, pack_line, options, len(lines)), len(lines))


def pack_line(run: Run, index: int, line: Line) -> Job | ExecutionResult:
    """Make the job of a program."""
    if isinstance(line, ExecutionResult):
        return line
    name, command = line
    return Job(run, index, name, command=command)


def script_of(script: Path | Sequence[Path]) -> Script:
    """Return the script that is meant by a path, a list of path and arguments, or one text as typed in a shell.

    A text is taken as a path if there is such a file. Raises TypeError for anything else.
    """
    if isinstance(script, (str, os.PathLike)):
        path, args = os.fspath(script), list[str]()
        if isinstance(script, str) and not os.path.lexists(path):
            path, *args = _split(path)
    elif isinstance(script, Sequence) and script and not isinstance(script, bytes):
        path, *args = (os.fspath(part) for part in script)
    else:
        raise TypeError(f"a script must be a path or a list of path and arguments, not {script!r}")
    return Script(name=path, path=path, args=tuple(args))


def shell_of(command: str | Sequence[Text], what: str, **terms: Any) -> Shell:
    """Return a shell line, or the program that a list of arguments means; `terms` are the fields of a Program.

    Raises ValueError for one that is empty, TypeError for anything else; `what` is it called in the message.
    """
    if isinstance(command, str):
        if not command.strip():
            raise ValueError(f"{what} is empty")
        return Shell(name=_short_name(command), command=command, **terms)
    if isinstance(command, (bytes, Mapping)) or not isinstance(command, Sequence):
        raise TypeError(f"{what} must be a shell line or a list of arguments, not {command!r}")
    argv = tuple(as_argument(part) for part in command)
    if not argv or not argv[0]:
        raise ValueError(f"{what} is empty")
    return Shell(name=_short_name(shlex.join(map(os.fsdecode, argv))), command=argv, **terms)


def _short_name(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def as_argument(value: object) -> Text:
    """Return a value as an argument of a program: text, bytes and paths as they are, numbers as text."""
    if isinstance(value, (str, bytes, os.PathLike)):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"an argument of a program must be text, bytes, a path or a number, not {value!r}")


def as_input(value: Readable) -> Input:
    """Return what a program is to read as the pool takes it. Raises TypeError or ValueError for what it cannot read."""
    if isinstance(value, ExecutionResult):
        return value.streams[0]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if value is None or isinstance(value, (bytes, os.PathLike)):
        return value
    return descriptor_of(value, "stdin must be text, bytes, a pathlib path, an open file or a result")


def descriptor_of(file: object, rule: str) -> int:
    """Return the descriptor of an open file, or the one that is given.

    Raises TypeError or ValueError, which state the rule, for anything else; what `subprocess` means by negative
    numbers (PIPE: a pipe that nobody here would serve) included.
    """
    if isinstance(file, int) and not isinstance(file, bool):
        if file < 0:
            raise ValueError(f"{rule}, and {file} is no descriptor")
        return file
    fileno = getattr(file, "fileno", None)
    if fileno is None:
        raise TypeError(f"{rule}, not {file!r}")
    try:
        return int(fileno())
    except OSError as error:  # io.UnsupportedOperation: it is in memory only
        raise TypeError(f"{rule}; {file!r} has no descriptor: give its contents, as text or bytes") from error


def _script_argv(path: str, args: Sequence[Text]) -> list[Text]:
    """Return a script's command line. Raises CannotRun, which says what there is instead."""
    problem = None
    if not os.path.lexists(path):
        problem = ("there is no such file", 127)
    elif os.path.isdir(path):
        problem = ("it is a directory", 126)
    elif os.path.exists(path) and not os.path.isfile(path):
        problem = ("it is no regular file", 126)
    elif path.endswith(".py") and not os.access(path, os.R_OK):
        problem = ("it cannot be read (permission denied)", 126)
    if problem is not None:
        reason, code = f"{path}: cannot be run: {problem[0]}\n", problem[1]
        raise CannotRun(Outcome(Ending.RAISED, reason=reason, return_code=code))
    absolute = os.path.abspath(path)
    return [sys.executable, absolute, *args] if path.endswith(".py") else [absolute, *args]


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text) or [text]
    except ValueError:  # an unterminated quote: then it is a strange name of a file
        return [text]
