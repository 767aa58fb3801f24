"""What the workers of every contender run. Imports little: it is loaded into all of them."""

from __future__ import annotations

import os
import signal
import time

BUSY_SECONDS = 0.001


def busy(index: int) -> int:
    """Use one millisecond of CPU time, and return the index."""
    end = time.thread_time_ns() + int(BUSY_SECONDS * 1e9)
    while time.thread_time_ns() < end:
        pass
    return index


def worker_pid(seconds: float) -> int:
    """Hold a worker for so long, and tell which it was."""
    time.sleep(seconds)
    return os.getpid()


def square_or_hang(index: int, hanging: tuple[int, ...], pids: str) -> int:
    """Square a number; for those that hang, wait for a child that does not end, whose pid is noted first."""
    if index in hanging:
        import subprocess

        child = subprocess.Popen(["sleep", "3600"])
        append(pids, child.pid)
        child.wait()
    return index * index


def square_or_die(index: int, deadly: tuple[int, ...], started: str) -> int:
    """Note that this task has started, then square its number, or die of SIGSEGV, os._exit or SIGKILL in turn."""
    append(started, index)
    if index in deadly:
        way = deadly.index(index) % 3
        if way == 1:
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL if way else signal.SIGSEGV)
        time.sleep(60)
    return index * index


def append(path: str, number: int) -> None:
    """Add a number to a file, in one write: several processes do so at a time."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{number}\n".encode())
    finally:
        os.close(file)


def numbers(path: str) -> list[int]:
    """Return the numbers of such a file; none if nothing was added."""
    try:
        with open(path) as file:
            return [int(line) for line in file]
    except FileNotFoundError:
        return []
