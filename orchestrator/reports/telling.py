"""What the outside is told when a run is over: annotations, the page of GitHub's summary, the JUnit report.

Files are written beside their place and moved there, or appended to; what cannot be written is a complaint, no error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator

from orchestrator.reports.github import annotate
from orchestrator.reports.junit import junit
from orchestrator.reports.run import Run
from orchestrator.reports.summary import MOST_BYTES, summary
from orchestrator.reports.system import JUNIT_FILE, Ci
from orchestrator.wording import visible


def remarks(run: Run, ci: Ci) -> str:
    """Return the lines with which GitHub marks the places where tasks failed; "" for any other system."""
    if "annotations" not in ci.features:
        return ""
    workspace = os.environ.get("GITHUB_WORKSPACE", "")
    return annotate(run, os.path.realpath("."), os.path.realpath(workspace) if workspace else "")


def write_reports(run: Run, ci: Ci, junit_file: str | None) -> Iterator[str]:
    """Write the files that were asked for; yield for each that could not be written what was in the way."""
    if junit_file is None and "junit" in ci.features:
        junit_file = JUNIT_FILE
    if junit_file is not None:
        try:
            _write(junit_file, junit(run).encode())
        except OSError as error:
            yield f"could not write the JUnit report {visible(junit_file)}: {error.strerror}"
    page = os.environ.get("GITHUB_STEP_SUMMARY") if "summary" in ci.features else None
    if page:
        try:
            _append_summary(page, run)
        except (OSError, ValueError) as error:
            yield f"could not write to GITHUB_STEP_SUMMARY: {getattr(error, 'strerror', None) or error}"


def _write(path: str, data: bytes) -> None:
    """Put a file in its place in one step, with the folders above it. Raises OSError, also for what is no file."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    if os.path.lexists(path):
        _check_regular(os.lstat(path))
    partial = os.path.join(folder, f".orchestrator-{secrets.token_hex(8)}.partial")
    # Readable as far as the umask allows: the system that reads it is often another user.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def _append_summary(path: str, run: Run) -> None:
    """Add a page to the summary that earlier commands of the step have begun. Raises OSError."""
    if os.path.exists(path):
        _check_regular(os.stat(path))  # opening a device can have effects
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(os.open(path, flags, 0o666), "ab", buffering=0) as file:  # O_NONBLOCK: by now it may be a FIFO
        found = os.fstat(file.fileno())
        _check_regular(found)
        page = summary(run, MOST_BYTES - found.st_size - 1).encode()
        if not page:
            raise OSError(0, "there is no room left in it")
        page = b"\n" + page if found.st_size else page  # what stands there may end within a line
        while page:
            page = page[file.write(page) :]


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is no regular file")
