"""What every test is held to: it leaves no process, thread, descriptor or temporary file behind."""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psutil
import pytest

from orchestrator.pool import shared
from orchestrator.pool.lifeline import lifeline
from tests.waiting import eventually
from workers.tree import COOKIE

_MARK = f"{os.getpid()}-{secrets.token_hex(8)}"
"""Inherited by whatever these tests start, daemons included, so that leftovers can be told from strangers."""
os.environ["ORCHESTRATOR_TESTS"] = _MARK

# No test is timed: on a busy machine a tiny example takes long.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

_SETTLE_SECONDS = 5.0
"""What is to go may take this long: bounded by the slowest of the promises (orphans of a killed driver)."""


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the tests of this process, and what they start, a temporary folder of their own."""
    tmp_path_factory.getbasetemp()  # made now, it lies elsewhere
    folder = Path(tempfile.mkdtemp(prefix="tests-"))
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before[1]
    if before[0] is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before[0]
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def nothing_left(temporary_folder: Path) -> Iterator[None]:
    """Assert that the test left nothing behind. Set up first and torn down last of a test's fixtures."""
    before = _Belongings.now(temporary_folder)
    yield
    shared.close_shared()
    left = _settled(before, temporary_folder)
    for pid in left.processes:  # the next test should not suffer
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for name in left.files:
        path = temporary_folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if left:
        pytest.fail(f"the test left behind:\n{left}", pytrace=False)


@dataclass(frozen=True)
class _Belongings:
    """What this process has at one moment: each with the words to list it by."""

    processes: dict[int, str]
    threads: dict[threading.Thread, str]
    descriptors: dict[tuple[int, str], str]
    files: dict[str, str]

    @classmethod
    def now(cls, folder: Path) -> _Belongings:
        lasting = _lasting()
        return cls(
            {pid: _describe(pid) for pid in _relatives() - lasting},
            {thread: repr(thread) for thread in threading.enumerate()},
            {(number, name): f"descriptor {number}: {name}" for number, name in _descriptors(lasting)},
            # multiprocessing keeps one folder for its sockets until the interpreter's exit.
            {path.name: str(path) for path in folder.iterdir() if not path.name.startswith("pymp-")},
        )

    def since(self, before: _Belongings) -> _Belongings:
        """Return what has been added."""
        return _Belongings(
            {pid: words for pid, words in self.processes.items() if pid not in before.processes},
            {thread: words for thread, words in self.threads.items() if thread not in before.threads},
            {key: words for key, words in self.descriptors.items() if key not in before.descriptors},
            {name: words for name, words in self.files.items() if name not in before.files},
        )

    def __bool__(self) -> bool:
        return bool(self.processes or self.threads or self.descriptors or self.files)

    def __str__(self) -> str:
        kinds: list[dict[int, str] | dict[threading.Thread, str] | dict[tuple[int, str], str] | dict[str, str]]
        kinds = [self.processes, self.threads, self.descriptors, self.files]
        return "\n".join(f"  {words}" for kind in kinds for words in kind.values())


def _settled(before: _Belongings, folder: Path) -> _Belongings:
    """Return what is left once nothing is, or when the time for it to go is over. Reaps nothing."""
    left = _Belongings.now(folder).since(before)
    if not left:
        return left

    def gone() -> bool:
        nonlocal left
        gc.collect()  # a reference cycle may still hold a file or a connection
        left = _Belongings.now(folder).since(before)
        return not left

    with contextlib.suppress(AssertionError):
        eventually(gone, _SETTLE_SECONDS)
    return left


def _lasting() -> set[int]:
    """Return the processes that rightly live until the interpreter's exit: guardian and resource trackers."""
    lasting = {lifeline.pid} if lifeline.pid else set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("resource_tracker" in word for word in child.cmdline()):
                lasting.add(child.pid)
    return lasting


def _relatives() -> set[int]:
    """Return our descendants, zombies included, and every process that has inherited our mark."""
    found = {child.pid for child in psutil.Process().children(recursive=True)}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if pid != os.getpid() and _MARK.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return found


def _describe(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        words = f"process {pid} {process.name()!r} ({process.status()}, parent {process.ppid()})"
        words += f": {' '.join(process.cmdline())[:200]}"
        words += f" [{COOKIE}={process.environ().get(COOKIE)}]"
    except psutil.ZombieProcess:
        return f"process {pid}, a zombie"
    except (psutil.Error, OSError):
        return f"process {pid}, which has just ended"
    return words


def _descriptors(lasting: set[int]) -> list[tuple[int, str]]:
    """Return our open descriptors with their names, without the pipes to the lasting processes."""
    theirs = {name for pid in lasting for _, name in _open_of(pid)}
    return [(number, name) for number, name in _open_of(os.getpid()) if not (name[:5] == "pipe:" and name in theirs)]


def _open_of(pid: int) -> list[tuple[int, str]]:
    found = []
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # the one that listed them
                found.append((int(number), os.readlink(f"/proc/{pid}/fd/{number}")))
    return found
