"""Row 10: many small scripts, against the tools of the shell."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from contenders import WORKERS
from rows import OURS, Entry, Reading, Row, Scale, WrongResult, verify

SCRIPTS = 200
PYTHON, SHELL = ".py", ".sh"

RunScripts = Callable[[Sequence[str]], list[str]]


def _ours(scripts: Sequence[str]) -> list[str]:
    from orchestrator import BatchRunner

    results = BatchRunner().run_batch(scripts, WORKERS)
    if failed := [result for result in results if not result.success]:
        raise WrongResult(f"{failed[0].name}: {failed[0].error}")
    return [result.output for result in results]


def _xargs(scripts: Sequence[str]) -> list[str]:
    return _told(["xargs", "-0", f"-P{WORKERS}", "-n1", *_interpreter(scripts)], scripts)


def _gnu_parallel(scripts: Sequence[str]) -> list[str]:
    return _told(["parallel", "--will-cite", "-0", f"-j{WORKERS}", *_interpreter(scripts)], scripts)


def _interpreter(scripts: Sequence[str]) -> list[str]:
    return [sys.executable if scripts[0].endswith(PYTHON) else "/bin/sh"]


def _told(command: Sequence[str], scripts: Sequence[str]) -> list[str]:
    """Name the scripts to the tool on its standard input, and return what they wrote, sorted by number."""
    done = subprocess.run(command, input="\0".join(scripts), capture_output=True, text=True, check=True)
    return sorted(done.stdout.splitlines(keepends=True), key=int)


def _milliseconds_each(run: RunScripts, ending: str, scale: Scale) -> Reading:
    count = scale.of(SCRIPTS)
    with tempfile.TemporaryDirectory() as folder:
        scripts = []
        for number in range(count):
            path = os.path.join(folder, f"{number}{ending}")
            with open(path, "w") as file:
                file.write(_python(number) if ending == PYTHON else f"#!/bin/sh\necho {number}\n")
            os.chmod(path, 0o755)
            scripts.append(path)
        run(scripts[:WORKERS])
        start = time.perf_counter()
        told = run(scripts)
        seconds = time.perf_counter() - start
    verify(told, [f"{number}\n" for number in range(count)])
    return Reading(seconds / count * 1000)


def _python(number: int) -> str:
    # One write, also where PYTHONUNBUFFERED is set: the scripts of xargs share a pipe.
    return f"import sys\nsys.stdout.write('{number}\\n')\n"


def _row(what: str, ending: str) -> Row:
    def sample(run: RunScripts) -> Callable[[Scale], Reading]:
        return functools.partial(_milliseconds_each, run, ending)

    return Row(
        10,
        f"200 trivial {what} scripts, 2 at a time",
        "ms a script",
        "≤ 1.1 x xargs",
        [
            Entry(OURS, sample(_ours)),
            Entry("xargs -P2", sample(_xargs), program="xargs"),
            Entry("GNU parallel -j2", sample(_gnu_parallel), program="parallel"),
        ],
    )


ROWS = (_row("Python", PYTHON), _row("shell", SHELL))
