"""A driver: a program that uses orchestrator, run as a process of its own so that it can be killed or stopped."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

import orchestrator
from tests.waiting import eventually

_ROOT = Path(orchestrator.__file__).parents[1]

_PREAMBLE = """
import asyncio, functools, gc, itertools, os, resource, signal, sys, threading, time
from functools import partial
from orchestrator import *
from orchestrator import BatchRunner, ConcurrencyError, Ending, Limits, ParallelRunner, Pool, run_parallel
from tests import crimes
say = functools.partial(print, flush=True)
folder = os.path.dirname(os.path.abspath(__file__))
def path(name): return os.path.join(folder, name)
"""


class Driver:
    """A script of ours in `folder`. Its output goes to files, which no orphan can keep us waiting for."""

    def __init__(
        self,
        folder: Path,
        script: str,
        *,
        env: Mapping[str, str] | None = None,
        preamble: str = _PREAMBLE,
        flags: tuple[str, ...] = ("-W", "error"),
    ) -> None:
        self.folder = folder
        self._mark = secrets.token_hex(8)
        source = folder / "driver.py"
        source.write_text(preamble + textwrap.dedent(script), encoding="utf-8")
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *flags, str(source)],
                env={**os.environ, "PYTHONPATH": str(_ROOT), "DRIVER_MARK": self._mark, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """What it has written to stdout so far."""
        return (self.folder / "stdout").read_text(encoding="utf-8", errors="replace")

    @property
    def error(self) -> str:
        """What it has written to stderr so far."""
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def says(self, word: str, seconds: float = 30.0) -> str:
        """Wait until it prints a line that begins with `word`, and return the rest of the line."""

        def found() -> str | None:
            for line in self.output.splitlines(keepends=True):
                if line.startswith(word) and line.endswith("\n"):
                    return line[len(word) :].strip() or " "
            assert self.process.poll() is None or word in self.output, f"it ended without {word!r}:\n{self}"
            return None

        return (eventually(found, seconds, f"{word!r} from the driver") or "").strip()

    def announced(self, name: str, seconds: float = 30.0) -> list[int]:
        """Wait until a task has announced its pids in a file of the folder."""
        file = self.folder / name

        def there() -> bool:
            assert file.exists() or self.process.poll() is None, f"it ended without announcing {name}:\n{self}"
            return file.exists()

        eventually(there, seconds, f"an announcement in {name}")
        return [int(word) for word in file.read_text(encoding="utf-8").split()]

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send it a signal; with `group` to its process group, as a terminal does."""
        if group:
            os.killpg(self.pid, number)
        else:
            self.process.send_signal(number)

    def ended(self, seconds: float = 60.0) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(seconds)

    def survivors(self) -> list[str]:
        """Return what it has started and what still lives, daemons included."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                if (
                    pid != self.pid
                    and f"DRIVER_MARK={self._mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
                ):
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(f"{pid} {' '.join(process.cmdline())[:200]}")
        return found

    def leaves_nothing(self, seconds: float = 7.0) -> None:
        """Assert that soon nothing lives of what it started."""
        try:
            eventually(lambda: not self.survivors(), seconds)
        except AssertionError:
            raise AssertionError(f"the driver left behind: {self.survivors()}\n{self}") from None

    def __str__(self) -> str:
        return f"--- driver's stdout\n{self.output}--- driver's stderr\n{self.error}"


@contextlib.contextmanager
def driving(
    folder: Path,
    script: str,
    *,
    env: Mapping[str, str] | None = None,
    preamble: str = _PREAMBLE,
    flags: tuple[str, ...] = ("-W", "error"),
) -> Iterator[Driver]:
    """Run a driver for the length of a block; whatever it is then, it is killed and reaped."""
    driver = Driver(folder, script, env=env, preamble=preamble, flags=flags)
    try:
        yield driver
    finally:
        if driver.process.poll() is None:
            driver.process.send_signal(signal.SIGKILL)
        driver.process.wait()
