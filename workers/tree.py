"""Find and stop process trees: the one place that sends a killing signal to a tree.

Used by a driver for its own children and by the guardian for those of a driver that died. Importing
psutil is left until it is needed, so that the guardian stays small while it waits.

A tree's members are found in three ways, because each misses some: by parent (misses daemons whose
parent exited), by session (misses those who made their own), and by a cookie in the environment that
every descendant inherits (misses those who cleared it). Jenkins' process-tree killer uses the last.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import psutil

COOKIE = "ORCHESTRATOR_TREE"
"""The environment variable whose value ends in the cookie of the child that started the process."""

_ROUNDS = 50
_ROUND_SECONDS = 0.02


class Root(NamedTuple):
    """The process a tree grows from. `started` is its `start_ticks`: with the pid, it names one process."""

    cookie: str
    pid: int
    started: int


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot (proc(5), field 22); -1 when it is gone.

    Immune to changes of the wall clock, unlike psutil's create_time.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return -1


def pids() -> list[int]:
    """Return the ids of all processes, as psutil does."""
    import psutil

    return psutil.pids()


def members(root: Root, known: Collection[int] = ()) -> list[psutil.Process]:
    """Return the living processes of a tree, the root included while it lives.

    Processes whose pid is in `known` are passed over: those that were there before the root started.
    """
    import psutil

    mine: dict[int, psutil.Process] = {}
    others: dict[int, tuple[psutil.Process, int, int]] = {}
    leader = root.pid if root.pid and start_ticks(root.pid) == root.started else -1
    for pid in psutil.pids():
        if pid in known or pid <= 1 or pid == os.getpid():
            continue
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if pid == leader or _has_cookie(process, root.cookie):
                mine[pid] = process
            else:
                others[pid] = (process, process.ppid(), os.getsid(pid))
        except (psutil.Error, OSError):  # it has just ended
            continue
    # Only a session that a member leads is the tree's: a child that has not called setsid() yet is
    # still in its driver's.
    sessions = {pid for pid in mine if _leads_session(pid)} | {leader}
    grown = True
    while grown:
        grown = False
        for pid, (process, parent, session) in list(others.items()):
            if parent in mine or session in sessions:
                mine[pid] = process
                del others[pid]
                grown = True
    return list(mine.values())


def stop(roots: list[Root], known: Collection[int] = ()) -> list[str]:
    """Kill every member of these trees and wait until none is left; return what they were.

    Looks again after each round, for a member may have forked while it was killed. Bounded: gives up on
    what survives a second of SIGKILL (a process in uninterruptible sleep dies when it wakes).
    """
    import psutil

    stopped: dict[int, str] = {}
    for _ in range(_ROUNDS):
        exits = select.poll()
        try:
            alive = [process for root in roots for process in members(root, known)]
        except OSError:  # short of descriptors: others give some back soon
            exits.poll(_ROUND_SECONDS * 1000)
            continue
        if not alive:
            break
        descriptors = []
        for process in alive:
            try:
                pidfd = os.pidfd_open(process.pid)
            except OSError:
                continue
            descriptors.append(pidfd)
            try:
                # With the descriptor open, "still the process we looked at" cannot change before the signal.
                if process.is_running():
                    stopped.setdefault(process.pid, f"{process.pid} ({process.name()})")
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    exits.register(pidfd, select.POLLIN)
            except (psutil.Error, OSError):
                continue
        exits.poll(_ROUND_SECONDS * 1000)
        for pidfd in descriptors:
            os.close(pidfd)
    return list(stopped.values())


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except OSError:
        return False


def _has_cookie(process: psutil.Process, cookie: str) -> bool:
    import psutil

    try:
        return cookie in process.environ().get(COOKIE, "")
    except (psutil.Error, OSError):
        return False
