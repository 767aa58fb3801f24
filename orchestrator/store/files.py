"""The files of a store: which are refused before they are believed, and how a new one comes to its place.

A store holds pickles: whoever can write to one can have code of theirs run by whoever reads it. So FILE and what SQLite
keeps beside it (FILE-wal, FILE-shm, FILE-journal) must be the user's own and nobody else's to write.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
import tempfile
from collections.abc import Callable

from orchestrator.exceptions import StoreError
from orchestrator.store import schema

SIDES = ("-wal", "-shm", "-journal")

CURE = "move it away, with what is beside it, to begin anew; or recover what is left with `sqlite3 FILE .recover`"

_LOCKED_FROM, _LOCKED_BYTES = 0x40000002, 510
"""Where whoever has a database open in WAL mode holds a lock (sqlite.org/fileformat.html#the_lock_byte_page)."""


def refuse_foreign(path: str) -> None:
    """Raise StoreError for a store that somebody else could have written, or that cannot be written by us.

    Opens none of the files: that could have effects, or wait.
    """
    folder = os.path.dirname(path)
    try:
        found = os.stat(folder)
    except OSError as error:
        raise StoreError(f"the store {path}: there is no folder {folder} ({error.strerror}): make it first") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StoreError(f"the store {path}: {folder} is no folder")
    # The group with the user's own number is theirs alone (user private groups, useradd(8)).
    others = stat.S_IWOTH if found.st_gid == os.geteuid() else stat.S_IWOTH | stat.S_IWGRP
    if found.st_mode & others and not found.st_mode & stat.S_ISVTX:
        raise _refusal(path, f"others can write to its folder (mode {stat.S_IMODE(found.st_mode):o}): chmod go-w it")
    # In this order: whoever makes a new store just now makes FILE first.
    sides = [side for side in SIDES if _is_ours(path, path + side)]
    if _is_ours(path, path):
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            raise StoreError(f"the store {path} cannot be written: it is read-only, or its file system is")
    elif sides:
        raise StoreError(
            f"the store {path} is missing, but not {path}{sides[0]}, which belongs to it: bring it back, or remove that"
        )
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise StoreError(f"the store {path} cannot be written: its folder is read-only, or its file system is")


def _is_ours(path: str, file: str) -> bool:
    """Say whether one file of a store is there. Raises StoreError when it is not the user's own."""
    try:
        found = os.lstat(file)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        kind = "a symbolic link: give the file itself" if stat.S_ISLNK(found.st_mode) else "no regular file"
        raise _refusal(path, f"{file} is {kind}")
    if found.st_uid != os.geteuid():
        raise _refusal(path, f"{file} belongs to user {found.st_uid}, and you are user {os.geteuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refusal(path, f"others can write to {file} (mode {stat.S_IMODE(found.st_mode):o}): chmod 600 it")
    return True


def _refusal(path: str, problem: str) -> StoreError:
    return StoreError(f"the store {path} is refused: {problem}. It holds pickles, which can run any code")


def refuse_others(path: str) -> None:
    """Raise StoreError for a file that is no store: empty, cut, garbage, another application's, a newer one's."""
    with open(path, "rb") as file:
        header = file.read(100)
    problem = None
    if not header:
        problem = "it is empty"
    elif not header.startswith(b"SQLite format 3\0"):
        problem = f"it is no database: it begins with {header[:16]!r}"
    elif len(header) < 100:
        problem = f"it has been cut to {len(header)} bytes"
    elif (application := int.from_bytes(header[68:72], "big")) != schema.APPLICATION_ID:
        problem = f"it is a database of another application (number {application:#x})"
    if problem:
        raise StoreError(f"{path} is no store of jobs: {problem}; {CURE}")
    refuse_newer(path, int.from_bytes(header[60:64], "big"))


def refuse_newer(path: str, version: int) -> None:
    """Raise StoreError for a schema that is not known yet."""
    if version > (known := len(schema.MIGRATIONS)):
        problem = f"made by a newer orchestrator (schema {version}, this one knows {known}): upgrade"
        raise StoreError(f"the store {path} was {problem}")


def create(path: str, build: Callable[[str], None]) -> None:
    """Have a new store built under another name, then give it its own, unless there is one by now.

    So a file that is empty or half is never one of ours.
    """
    folder = os.path.dirname(path)
    file, new = tempfile.mkstemp(prefix=".orchestrator-", dir=folder)
    try:
        os.fchmod(file, 0o600)  # the umask may have taken from that
        os.close(file)
        build(new)
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        os.unlink(new)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def who_has(path: str) -> int | None:
    """Return the pid of another process that has a database open; 0 when it cannot be seen from here.

    To be asked only while this process has it not open: closing a file gives up the locks on it (fcntl(2)).
    """
    with open(path, "rb") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_FROM, _LOCKED_BYTES, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, lock))
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def who_locks(path: str) -> str:
    """Name the processes that have a lock on a database, as far as they can be seen (proc(5), /proc/locks)."""
    pids = set()
    with contextlib.suppress(OSError, IndexError):
        inodes = {str(os.stat(path + side).st_ino) for side in ("", "-shm")}
        with open("/proc/locks", encoding="ascii") as locks:
            pids = {line.split()[4] for line in locks if line.split()[5].rpartition(":")[2] in inodes}
    others = sorted(pids - {str(os.getpid())})
    if others:
        return "process " + " or ".join(others)
    return "another connection of this process" if pids else "another process"
