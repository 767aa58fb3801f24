"""The driver's end of the guardian: which trees to stop if this process is killed.

One guardian per driver, started with its first child and told about each one. A process that itself
runs inside a task needs none: its own driver's guardian finds its descendants by their cookie.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import workers
from workers.tree import COOKIE, Root

_EXIT_SECONDS = 2.0


class Lifeline:
    """Tell the guardian of children. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._guardian: subprocess.Popen[bytes] | None = None
        self._live: dict[str, Root] = {}

    @property
    def pid(self) -> int | None:
        """The guardian's pid, if one runs."""
        guardian = self._guardian
        return guardian.pid if guardian else None

    def announce(self, cookie: str) -> None:
        """Name a child that is about to be started."""
        self._tell(cookie, Root(cookie, 0, 0), f"+{cookie}\n")

    def enlist(self, root: Root) -> None:
        """Say which process the announced child is."""
        self._tell(root.cookie, root, f"={root.cookie} {root.pid} {root.started}\n")

    def release(self, cookie: str) -> None:
        """Forget a child that has been reaped with all of its tree."""
        self._tell(cookie, None, f"-{cookie}\n")

    def close(self) -> None:
        """Let the guardian go, at the end of the program; what is still listed it stops."""
        with self._lock:
            if not self._live:
                self._bury()  # it may still be starting, which would take longer than many a program
                return
            guardian, self._guardian = self._guardian, None
            if guardian is None or guardian.stdin is None:
                return
            try:
                guardian.stdin.close()
                guardian.wait(_EXIT_SECONDS)
            except (OSError, subprocess.TimeoutExpired):
                pass

    def forget_inherited(self) -> None:
        """In a forked copy of the driver: drop the pipe, so that the guardian sees the driver's own end."""
        self._lock = threading.Lock()
        guardian, self._guardian = self._guardian, None
        self._live.clear()
        if guardian is not None and guardian.stdin is not None:
            guardian.stdin.close()
            guardian.returncode = 0  # not our child: nothing to wait for

    def _tell(self, cookie: str, root: Root | None, line: str) -> None:
        if COOKIE in os.environ:
            return
        with self._lock:
            if root is None:
                self._live.pop(cookie, None)
            else:
                self._live[cookie] = root
            try:
                if self._guardian is not None:
                    self._write(line)
                elif root is not None:
                    self._start()
            except OSError:  # somebody killed the guardian: the next one hears of all that live
                self._bury()
                self._start()

    def _start(self) -> None:
        """Start a guardian and name every live child to it. Raises OSError when none can be started."""
        package = str(Path(workers.__file__).parent.parent)
        script = str(Path(workers.__file__).with_name("guardian.py"))
        self._guardian = subprocess.Popen(
            [sys.executable, "-S", "-E", "-s", "-B", script, package, *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        for root in self._live.values():
            self._write(f"+{root.cookie}\n")
            if root.pid:
                self._write(f"={root.cookie} {root.pid} {root.started}\n")

    def _write(self, line: str) -> None:
        guardian = self._guardian
        assert guardian is not None and guardian.stdin is not None
        guardian.stdin.write(line.encode("ascii"))

    def _bury(self) -> None:
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            guardian.kill()
            guardian.wait()
            if guardian.stdin is not None:
                guardian.stdin.close()


lifeline = Lifeline()
os.register_at_fork(after_in_child=lifeline.forget_inherited)
