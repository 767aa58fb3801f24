"""The one way in which tests wait for something that cannot tell them that it has happened."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_POLL_SECONDS = 0.01


def eventually(predicate: Callable[[], _T], seconds: float = 10.0, what: str = "") -> _T:
    """Wait until `predicate` answers something true, and return that; fail after `seconds`.

    For what another process does: its files, its place in the process table. Wait for one of our own
    threads or futures on itself instead, and for the end of a process with `wait_gone`.
    """
    until = time.monotonic() + seconds
    while True:
        answer = predicate()
        if answer:
            return answer
        assert time.monotonic() < until, f"waited {seconds:g} s in vain for {what or predicate!r}"
        time.sleep(_POLL_SECONDS)


def wait_gone(pid: int, seconds: float = 10.0) -> None:
    """Wait until a process has ended, whosever child it is; a zombie has ended. Fails after `seconds`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        exits = select.poll()
        exits.register(descriptor, select.POLLIN)
        assert exits.poll(seconds * 1000), f"process {pid} still lives after {seconds:g} s"
    finally:
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    """Say whether a process exists and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in (b"Z", b"X")


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file that other processes append to; none while it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8").splitlines()
    return []
