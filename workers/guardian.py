"""The process that outlives a killed driver and stops what it was running.

A driver killed by SIGKILL can clean up nothing, and its workers cannot either while a task holds the
GIL. So each driver starts one guardian, which reads from a pipe whose other end only the driver holds:
a line `+COOKIE` before a child starts, `=COOKIE PID TICKS` when its pid is known, `-COOKIE` when it has
been reaped. At the end of the file the driver is gone, and the guardian kills the trees still listed.
Run as a script, so that it starts without importing anything else; its argument is the driver's
sys.path, from which it takes psutil if there is something to stop.
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Read lines until the driver is gone, then stop what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    live: dict[str, tuple[int, int]] = {}
    with open(0, encoding="ascii", newline="\n") as lines:
        for line in lines:
            mark, words = line[0], line[1:].split()
            if mark == "+":
                live[words[0]] = (0, 0)
            elif mark == "=":
                live[words[0]] = (int(words[1]), int(words[2]))
            elif mark == "-":
                live.pop(words[0], None)
    if live:
        sys.path[:0] = sys.argv[1:]
        from workers import tree

        tree.stop([tree.Root(cookie, pid, ticks) for cookie, (pid, ticks) in live.items()])


if __name__ == "__main__":
    main()
