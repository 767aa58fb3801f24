"""The artifacts of a stage: which files its patterns match, and their copies in a folder of the stage's own.

Links are not followed, and only regular files count. All of it is part of the stage: it ends with the stage's time, or
when the stage is stopped.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from orchestrator.pipelines.actions.errors import ExpressionError
from orchestrator.pipelines.actions.hashing import Check, matching_files
from orchestrator.stopping import stoppable


class ArtifactError(Exception):
    """An artifact is not there, or cannot be kept; the message says which and why."""


def keep(patterns: Iterable[str], folder: str, target: str | None, seconds: float | None) -> None:
    """See that every pattern matches a file in a folder, and copy those to the target, if there is one.

    `seconds` is the time for it (None: no limit). What does not match is told when the rest has been kept. Raises
    ArtifactError.
    """
    with _checking(seconds) as check:
        missing = [pattern for pattern in patterns if not _kept(pattern, folder, target, check)]
    if missing:
        raise ArtifactError(f"its artifact {missing[0]!r} matches no file in {folder!r}")


def folder_of(artifacts: str, stage: str) -> str:
    """Return the folder for the artifacts of a stage, whose name may be anything."""
    name = quote(stage.encode("utf-8", "backslashreplace"), safe=" ").replace(".", "%2E")
    return os.path.join(artifacts, name)


@contextlib.contextmanager
def _checking(seconds: float | None) -> Iterator[Check]:
    over = threading.Event()
    deadline = None if seconds is None else time.monotonic() + seconds

    def check() -> None:
        if over.is_set():
            raise ArtifactError("stopped while its artifacts were kept")
        if deadline is not None and time.monotonic() > deadline:
            raise ArtifactError("its time limit passed while its artifacts were kept")

    with stoppable(over.set):
        yield check


def _kept(pattern: str, folder: str, target: str | None, check: Check) -> bool:
    """Copy what a pattern matches; return whether there is anything."""
    found = False
    try:
        for path in matching_files(folder, [pattern], check):
            if stat.S_ISREG(os.lstat(path).st_mode):
                found = True
                if target is not None:
                    _copy(path, os.path.join(target, os.path.relpath(path, os.path.realpath(folder))), check)
    except ExpressionError as error:
        raise ArtifactError(f"its artifact {pattern!r} cannot be looked for: {error.problem}") from error
    except OSError as error:
        raise ArtifactError(f"its artifact {pattern!r} cannot be kept: {error}") from error
    return found


def _copy(source: str, target: str, check: Check) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    reading = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        with open(reading, "rb", buffering=0) as file, open(target, "wb", buffering=0) as copy:
            while chunk := file.read(1 << 20):
                check()
                copy.write(chunk)
            os.fchmod(copy.fileno(), os.fstat(reading).st_mode & 0o777)
    except (ArtifactError, OSError):
        with contextlib.suppress(OSError):
            os.unlink(target)
        raise
