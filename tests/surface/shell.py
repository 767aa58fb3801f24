"""A folder in which tests write scripts and run `orchestrator`, as a person would in a shell."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orchestrator.cli

DEADLINE_SECONDS = 60
_ROOT = Path(orchestrator.cli.__file__).parents[2]
_UNSET = (
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
    "LC_ALL",
    "CODOMYRMEX_MAX_WORKERS",
    "CODOMYRMEX_SCRIPT_ROOT",
    "CODOMYRMEX_WORKFLOW_TIMEOUT",
    "ORCHESTRATOR_DEPTH",
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
    "GITLAB_CI",
    "JENKINS_URL",
    "JENKINS_HOME",
)

WAITS = """
import os
open(f"started-{os.getpid()}", "w").close()
print("begun")
open("go", "rb", buffering=0).read(1)
"""
"""A script that says that it has started, and ends when it can read a byte from the FIFO `go`."""


class Shell:
    """Run commands in `folder`. What was started and not waited for is killed when the test ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self._gate = -1

    def script(self, name: str | bytes, text: str = "print('fine')\n") -> str:
        """Write a script and return its name, which is a path from the folder."""
        path = os.path.join(os.fsencode(self.folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return os.fsdecode(name)

    def files(self, **texts: str) -> None:
        """Write text files; `flows_py` is the name of flows.py."""
        for name, text in texts.items():
            self.script(name.replace("_", "."), text)

    def command(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start `orchestrator` with the arguments."""
        return self.program(sys.executable, "-m", "orchestrator", *arguments, **options)

    def program(
        self,
        *words: str,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = subprocess.PIPE,
        stderr: int | IO[Any] | None = subprocess.PIPE,
        env: dict[str, str] | None = None,
        ignored: frozenset[signal.Signals] = frozenset(),
    ) -> subprocess.Popen[bytes]:
        """Start a program, in a session of its own."""
        with _dispositions(ignored):
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.environment(env),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run(self, *arguments: str, feed: bytes | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of `orchestrator` to its end; `feed` is what it reads."""
        if feed is not None:
            options["stdin"] = subprocess.PIPE
        return end_of(self.command(*arguments, **options), feed)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start `orchestrator batch`."""
        return self.command("batch", *arguments, **options)

    def batch(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `orchestrator batch` to its end."""
        return self.run("batch", *arguments, **options)

    def bash(self, line: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a line of bash. `$PYTHON` is the interpreter, `$ORCHESTRATOR` the program, `$BATCH` its command."""
        line = line.replace("$BATCH", "$ORCHESTRATOR batch").replace("$ORCHESTRATOR", '"$PYTHON" -m orchestrator')
        return end_of(self.program("bash", "-c", line, env={"PYTHON": sys.executable, **env}))

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a plain session, with this checkout importable."""
        plain = {name: value for name, value in os.environ.items() if name not in _UNSET}
        return {**plain, "TERM": "xterm", "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT), **(extra or {})}

    def waiting(self) -> list[int]:
        """Return the process ids of the scripts that have started and wait for `go`."""
        return [int(path.name.partition("-")[2]) for path in self.folder.glob("started-*")]

    def release(self) -> None:
        """Let the scripts go on that wait, or are about to."""
        self._gate = os.open(self.folder / "go", os.O_RDWR)  # kept open, for those that have not opened it yet
        os.write(self._gate, bytes(100))

    def close(self) -> None:
        """Kill what is left."""
        if self._gate >= 0:
            os.close(self._gate)
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def end_of(process: subprocess.Popen[bytes], feed: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Wait for a command, which may read `feed`, and return what it printed and its exit code."""
    stdout, stderr = process.communicate(feed, timeout=DEADLINE_SECONDS)
    texts = [(stream or b"").decode("utf-8", "surrogateescape") for stream in (stdout, stderr)]
    return subprocess.CompletedProcess(process.args, process.returncode, *texts)


def read_until(stream: IO[bytes] | None, text: str) -> str:
    """Read a pipe until the text has come; fail when it does not in time."""
    assert stream is not None
    return _read(stream.fileno(), text)


def _read(descriptor: int, text: str | None, seconds: float = DEADLINE_SECONDS) -> str:
    deadline = time.monotonic() + seconds
    seen = b""
    while text is None or text.encode() not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"waited in vain for {text!r}; so far: {seen!r}"
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # Linux says EIO when the last program has left a terminal
            data = b""
        seen += data
        if not data:
            assert text is None, f"the output ended without {text!r}: {seen!r}"
            break
    return seen.decode("utf-8", "surrogateescape")


class Terminal:
    """A terminal of a given size; `descriptor` is the programs' side of it."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen, self.descriptor = pty.openpty()
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._screen, text.encode("utf-8", "surrogateescape"))

    def read_until(self, text: str, seconds: float = DEADLINE_SECONDS) -> str:
        """Return what programs wrote, up to this text at least."""
        return _read(self._screen, text, seconds)

    def read_all(self) -> str:
        """Return what programs wrote until the last one left."""
        os.close(self.descriptor)
        self.descriptor = -1
        return _read(self._screen, None)

    def close(self) -> None:
        """Close both ends."""
        for descriptor in (self._screen, self.descriptor):
            if descriptor >= 0:
                os.close(descriptor)


@contextlib.contextmanager
def _dispositions(ignored: frozenset[signal.Signals]) -> Iterator[None]:
    """Let a child inherit just these as ignored, whatever the tests themselves were started with."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if number in ignored:
            signal.signal(number, signal.SIG_IGN)
        elif before[number] is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
