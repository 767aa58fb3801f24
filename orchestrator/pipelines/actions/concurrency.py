"""Concurrency groups of GitHub, on one machine: of the runs and jobs that name the same group one is under way.

As on GitHub one more may wait: a newer one takes its place, and with `cancel-in-progress` also has the one under way
stop. The programs meet in two files of a folder that is its user's alone: the one that holds the lock (flock(2), which
the kernel gives back whatever becomes of its holder) is under way; the other says who came last.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import threading
import uuid
from collections.abc import Callable, Iterator

from orchestrator.regular import read_regular
from orchestrator.stopping import stoppable

_LOOK_SECONDS = 0.2
"""How often one that waits, or is under way, looks who came last: between programs nobody rings."""


class Superseded(Exception):
    """Somebody newer has taken the place, or everything was stopped, before it was one's turn."""


@contextlib.contextmanager
def turn_of(
    group: str, *, cancel_in_progress: bool, cancelled: Callable[[], bool], stop: Callable[[], None]
) -> Iterator[None]:
    """Wait until nobody else of the group is under way, and be it while the context lasts.

    `cancelled` tells whether to give up waiting; `stop` is called, in a thread, when a newer one wants this one to
    stop. Raises Superseded when a newer one came while this one waited, or it gave up; OSError where the folder cannot
    be used.
    """
    place = os.path.join(_folder(), hashlib.sha256(group.encode("utf-8", "surrogateescape")).hexdigest())
    ticket = str(uuid.uuid4())
    _announce(place, ticket, cancel=cancel_in_progress)
    lock = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    over = threading.Event()
    try:
        with stoppable(over.set):
            while not _taken(lock):
                if over.wait(_LOOK_SECONDS) or cancelled():
                    raise Superseded("the run was cancelled")
                if _last(place)[0] != ticket:
                    raise Superseded(f"something newer waits in the concurrency group {group!r}")
        watch = threading.Thread(target=_watch, args=(place, ticket, over, stop), daemon=True, name="orchestrator-turn")
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()
    finally:
        os.close(lock)


def _watch(place: str, ticket: str, over: threading.Event, stop: Callable[[], None]) -> None:
    """Stop what is under way once a newer one asks for that."""
    while not over.wait(_LOOK_SECONDS):
        last, cancel = _last(place)
        if last != ticket and cancel:
            stop()
            return


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _announce(place: str, ticket: str, *, cancel: bool) -> None:
    """Say who came last."""
    mine = f"{place}.{ticket}"
    with open(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
        json.dump([ticket, cancel], file)
    os.replace(mine, f"{place}.last")


def _last(place: str) -> tuple[str, bool]:
    """Return who came last, and whether they want the one under way to stop."""
    try:
        ticket, cancel = json.loads(read_regular(f"{place}.last", 1 << 12, os.O_NOFOLLOW) or b"")
    except (OSError, ValueError, TypeError):
        return "", False
    return str(ticket), bool(cancel)


def _folder() -> str:
    """Return the folder where programs meet, made for this user alone. Raises OSError for one that others can write."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(base, "orchestrator", "concurrency")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.stat(folder)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(f"{folder}: belongs to somebody else, or others can write to it")
    return folder
