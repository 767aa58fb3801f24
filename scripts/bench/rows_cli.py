"""Rows 17 to 19: what the command line takes to begin, and a gigabyte through a pipe."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from rows import OURS, Entry, Reading, Row, Scale, WrongResult

_PROGRAM = [sys.executable, "-m", "orchestrator"]
_BYTES = 1_000_000_000
_STARTS = 5


def _milliseconds_to_run(command: Sequence[str], told: str, scale: Scale) -> Reading:
    """Start the command several times in an empty folder, and return the mean."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "trivial.sh"), "w") as script:
            script.write("#!/bin/sh\necho done\n")
        os.chmod(script.name, 0o755)
        seconds = 0.0
        for _ in range(_STARTS):
            start = time.perf_counter()
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            seconds += time.perf_counter() - start
            if told not in done.stdout:
                raise WrongResult(f"{command} told {done.stdout!r}")
    return Reading(seconds / _STARTS * 1000)


def _seconds_through(carry: Callable[[list[str]], str], scale: Scale) -> Reading:
    size = scale.of(_BYTES)
    start = time.perf_counter()
    told = carry([f"head -c {size} /dev/zero", "cat", "wc -c"])
    seconds = time.perf_counter() - start
    if int(told) != size:
        raise WrongResult(f"{told} bytes came through, not {size}")
    return Reading(seconds)


def _ours(commands: list[str], *, stream: bool) -> str:
    from orchestrator import pipe

    return str(pipe(commands, stream=stream).output)


def _shell(commands: list[str]) -> str:
    return subprocess.run(" | ".join(commands), shell=True, capture_output=True, text=True, check=True).stdout


def _starts(number: int, what: str, aim: str, commands: dict[str, tuple[Sequence[str], str, str | None]]) -> Row:
    entries = [
        Entry(name, functools.partial(_milliseconds_to_run, command, told), program=program)
        for name, (command, told, program) in commands.items()
    ]
    return Row(number, what, "ms", aim, entries)


ROWS = (
    _starts(
        17,
        "from the shell to the help page",
        "≤ 120 ms",
        {
            OURS: ([*_PROGRAM, "--help"], "batch", None),
            "python -c pass": ([sys.executable, "-c", "print('done')"], "done", None),
            "GNU parallel --help": (["parallel", "--help"], "jobs", "parallel"),
        },
    ),
    _starts(
        18,
        "from the shell to the end of one trivial script",
        "",
        {
            f"{OURS}, batch": ([*_PROGRAM, "batch", "trivial.sh"], "1 ok", None),
            f"{OURS}, run": ([*_PROGRAM, "run", "trivial.sh"], "done", None),
            "GNU parallel": (["parallel", "--will-cite", "./{}", ":::", "trivial.sh"], "done", "parallel"),
        },
    ),
    Row(
        19,
        "a gigabyte through three commands",
        "s",
        "",
        [
            Entry(f"{OURS}, in turn", functools.partial(_seconds_through, functools.partial(_ours, stream=False))),
            Entry(f"{OURS}, at once", functools.partial(_seconds_through, functools.partial(_ours, stream=True))),
            Entry("a shell's pipe", functools.partial(_seconds_through, _shell)),
        ],
    ),
)
