"""`pipe`: commands, each of which reads what the one before it has printed. One after another, or all at once.

One after another, a stage starts when the one before has succeeded, so that half a result is never passed on; what lies
between two stages is an unnamed temporary file. At once (`stream=True`), it is a pipe, as in a shell.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from orchestrator.events import Event, Finished
from orchestrator.limits import GRACE_SECONDS, Limits, check_env, check_output_limit
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.capture import OUTPUT_LIMIT, shortened
from orchestrator.pool.job import CommandLine, Input
from orchestrator.pool.pool import Pool
from orchestrator.programs import Readable, Shell, Text, as_input, descriptor_of, pack_line, run_programs, shell_of
from orchestrator.results import ExecutionResult, result_of_outcome
from orchestrator.runs import Options, Run, collect

_SIGPIPE_CODE = 141
"""128 + SIGPIPE: a stage whose reader wanted no more. As in a shell, that is no failure of the pipe."""


@dataclass(frozen=True, slots=True)
class _Pipe:
    """What all stages share; `seconds` are for the whole pipe."""

    stages: Sequence[Shell]
    source: Input
    stdout: int | None
    seconds: float | None
    options: Options
    output_limit: int

    def options_after(self, seconds: float) -> Options:
        """Return the options of a stage that starts so many seconds after the first."""
        if self.seconds is None:
            return self.options
        left = max(0.001, self.seconds - seconds)
        return replace(self.options, limits=replace(self.options.limits, seconds=left))


def pipe(
    commands: Sequence[str | Sequence[Text]],
    *,
    stream: bool = False,
    stdin: Readable = None,
    stdout: int | IO[bytes] | None = None,
    timeout: float | None = None,
    memory_limit: int | str | None = None,
    grace: float = GRACE_SECONDS,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    output_limit: int = OUTPUT_LIMIT,
) -> ExecutionResult:
    r"""Run commands, feeding the standard output of each to the next, and return what came of the last.

    A command is a line for `/bin/sh`, or a list of arguments, which no shell sees. A stage starts when the one before
    has succeeded; with `stream` all run at once, as in a shell pipeline. What passes between them is bytes and is never
    held in memory. `output` is what the last one printed (at most `output_limit` bytes, head and tail), or goes to
    the open file `stdout`; `stages` has the result of each, with its exit code and its standard error.

    The first command reads `stdin`: text, bytes, a pathlib path, an open file or another result; nothing by default.
    `timeout` is seconds for the whole pipe, `memory_limit` bytes (or text such as "2G") for each stage, `grace` seconds
    between being asked to stop and killed; `env` are variables on top of the present ones, `cwd` is the directory.

    A failed stage makes the result a failure with its exit code: 127 for a command that is not found. Except that, as
    in a shell, a stage that writes on when its reader has ended well (`yes | head`, SIGPIPE) has not failed.

    Raises ValueError or TypeError at once for no commands, an empty one, or options that make no sense.

    >>> pipe(["echo hello", "tr '[:lower:]' '[:upper:]'"]).output
    'HELLO\n'
    """
    if isinstance(commands, (str, bytes)):
        raise TypeError(f"pipe needs a list of commands, such as [{commands!r}], not one text")
    stages = [shell_of(command, f"command {place}") for place, command in enumerate(commands, 1)]
    if not stages:
        raise ValueError("pipe needs at least one command")
    limits = Limits(timeout, memory_limit, grace)
    directory = None if cwd is None else os.path.abspath(cwd)
    target = None if stdout is None else descriptor_of(stdout, "stdout must be an open file or its descriptor")
    options = Options(limits, env=check_env(env), cwd=directory)
    whole = _Pipe(stages, as_input(stdin), target, limits.seconds, options, check_output_limit(output_limit))
    began = time.monotonic()
    results, to_blame = (_at_once if stream else _in_turn)(whole)
    return _summed_up(results, to_blame, time.monotonic() - began)


_Ends = tuple[list[ExecutionResult], int | None]
"""The result of each stage, and which one is to blame if the pipe has failed."""


def _in_turn(pipe: _Pipe) -> _Ends:
    results: list[ExecutionResult] = []
    began = time.monotonic()
    source = pipe.source
    with contextlib.ExitStack() as passing:
        for place, stage in enumerate(pipe.stages):
            # Two files at a time: what this stage reads is let go with the stack before, which ends here.
            with passing.pop_all(), contextlib.ExitStack() as made:
                try:
                    last = place == len(pipe.stages) - 1
                    between = None if last else made.enter_context(tempfile.TemporaryFile(buffering=0))
                except OSError as error:
                    results.append(_without_file(stage, error))
                    return results + _skipped(pipe.stages[place + 1 :], results[-1]), place
                target = pipe.stdout if between is None else between.fileno()
                line = CommandLine(stage.command_line().argv, source, target)
                options = pipe.options_after(time.monotonic() - began)
                (result,) = run_programs([(stage.name, line)], 1, options, pipe.output_limit)
                if result.ending is Ending.TIMED_OUT:
                    result = _with_reason(result, f"the pipe's time limit passed ({pipe.seconds:g} s)\n")
                if between is not None and not result.success:
                    result = replace(result, **_as_output(shortened(between.fileno(), pipe.output_limit), result))
                results.append(result)
                if not result.success:
                    return results + _skipped(pipe.stages[place + 1 :], result), place
                if between is not None:
                    # Opened anew it has a position of its own.
                    reading = open(f"/proc/self/fd/{between.fileno()}", "rb", buffering=0)  # noqa: SIM115
                    source = passing.enter_context(reading).fileno()
    return results, None


def _without_file(stage: Shell, error: OSError) -> ExecutionResult:
    why = f"no temporary file for what it prints: {error.strerror}; TMPDIR names another folder"
    outcome = Outcome(Ending.RAISED, reason=f"{stage.name}: cannot be run: {why}\n", return_code=1)
    return result_of_outcome(outcome, stage.name)


def _with_reason(result: ExecutionResult, reason: str) -> ExecutionResult:
    return replace(result, reason=reason, error=result.error.removesuffix(result.reason) + reason)


def _skipped(stages: Sequence[Shell], failed: ExecutionResult) -> list[ExecutionResult]:
    reason = f"skipped because {failed.name} failed ({failed.ending.value})\n"
    outcome = Outcome(Ending.SKIPPED, reason=reason, return_code=1)
    return [result_of_outcome(outcome, stage.name) for stage in stages]


def _as_output(printed: bytes, result: ExecutionResult) -> dict[str, Any]:
    """Return the fields that tell of what a stage had printed into a file."""
    return {"output": printed.decode("utf-8", "replace"), "raw": (printed, result.streams[1])}


def _at_once(pipe: _Pipe) -> _Ends:
    """Run all stages together. Each end of a pipe is ours until the program that uses it has started, or cannot."""
    to_blame: int | None = None
    total = len(pipe.stages)
    with contextlib.ExitStack() as pipes, Pool(total, output_limit=pipe.output_limit) as pool:
        sources: list[IO[bytes] | None] = [None]
        targets: list[IO[bytes] | None] = []
        for _ in pipe.stages[1:]:
            reading, writing = os.pipe()
            sources.append(pipes.enter_context(open(reading, "rb", buffering=0)))
            targets.append(pipes.enter_context(open(writing, "wb", buffering=0)))
        targets.append(None)

        def hear(event: Event) -> None:
            nonlocal to_blame
            for end in (sources[event.index], targets[event.index]):
                if end is not None:
                    end.close()
            if not isinstance(event, Finished) or event.result.success or to_blame is not None:
                return
            if event.result.return_code != _SIGPIPE_CODE or event.index == total - 1:
                to_blame = event.index
                run.cancel()

        lines = []
        for stage, source, target in zip(pipe.stages, sources, targets, strict=True):
            stdin = pipe.source if source is None else source.fileno()
            stdout = pipe.stdout if target is None else target.fileno()
            lines.append((stage.name, CommandLine(stage.command_line().argv, stdin, stdout)))
        run = Run(pool, lines, pack_line, replace(pipe.options, on_event=hear), total)
        run.together = True
        return collect(run, total), to_blame


def _summed_up(stages: list[ExecutionResult], to_blame: int | None, seconds: float) -> ExecutionResult:
    """Return what came of the whole: the last stage's output, everybody's standard error, all that was used."""
    decisive = stages[-1] if to_blame is None else stages[to_blame]
    reason = ""
    if to_blame is not None:
        place = f"stage {to_blame + 1} of {len(stages)}"
        reason = f"{place} ({decisive.name}) ended with code {decisive.return_code}: {decisive.reason}"
    output = stages[-1].streams[0]
    errors = b"".join(_whole_lines(stage.streams[1]) for stage in stages)
    return replace(
        decisive,
        success=to_blame is None,
        output=output.decode("utf-8", "replace"),
        error=errors.decode("utf-8", "replace") + reason,
        raw=(output, errors),
        reason=reason,
        name=" | ".join(stage.name for stage in stages),
        execution_time=seconds,
        cpu_time=sum(stage.cpu_time for stage in stages),
        peak_memory=max(stage.peak_memory for stage in stages),
        stages=tuple(stages),
    )


def _whole_lines(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"
