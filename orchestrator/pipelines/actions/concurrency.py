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
import logging
import os
import stat
import threading
import uuid
from collections.abc import Callable, Iterator

from orchestrator.exceptions import ConcurrencyError
from orchestrator.regular import read_regular
from orchestrator.stopping import stoppable

_log = logging.getLogger(__name__)

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
    stop. The case of a group's name does not matter. Raises Superseded when a newer one came while this one waited, or
    it gave up; ConcurrencyError where the folder cannot be used.
    """
    ticket = str(uuid.uuid4())
    try:
        place = os.path.join(_folder(), hashlib.sha256(group.lower().encode("utf-8", "backslashreplace")).hexdigest())
        _announce(place, ticket, cancel=cancel_in_progress)
        lock = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConcurrencyError(f"the folder in which concurrency groups meet cannot be used: {error}") from error
    over = threading.Event()
    try:
        with stoppable(over.set):
            told = False
            while not _taken(lock):
                if not told:
                    told = True
                    _log.warning("waiting: something else of the concurrency group %r is under way", group)
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
    try:
        descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            json.dump([ticket, cancel], file)
        os.replace(mine, f"{place}.last")
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(mine)
        raise


def _last(place: str) -> tuple[str, bool]:
    """Return who came last, and whether they want the one under way to stop."""
    try:
        ticket, cancel = json.loads(read_regular(f"{place}.last", 1 << 12, os.O_NOFOLLOW) or b"")
    except (OSError, ValueError, TypeError):
        return "", False
    return str(ticket), bool(cancel)


def _folder() -> str:
    """Return the folder where programs meet, made for this user alone. Raises OSError for one that others can write.

    It is the same for all sessions of a user, of cron too, hence not in XDG_RUNTIME_DIR.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")  # as the XDG specification has it
    folder = os.path.join(base, "orchestrator", "concurrency")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(f"{folder}: is a link, belongs to somebody else, or others can write to it")
    return folder
