"""Misbehaving callables and values, each named for its crime; workers import them by name.

By theme: payload, exceptions, death, time, leavings, memory, signals, contention, output; the innocent come last.
Light imports only, for every worker of the tests pays for them. A new bug adds its crime here.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import dataclasses
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

# Payload: what hurts when it is pickled, sent or rebuilt


class RaisesWhenPickled:
    """Raise when asked how to be pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> NoReturn:
        raise self.error


class RaisesWhenLookedAt(RaisesWhenPickled):
    """Raise when pickled, and again for every attribute that somebody looks for to say why."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"do not look at {name}")


class Rebuilt:
    """Call a function when rebuilt, which is the crime."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def raise_it(error: BaseException) -> NoReturn:
    """Raise what is given: when rebuilt, or as a task."""
    raise error


def raise_outside(pid: int, error: BaseException) -> str:
    """Raise in every process but one: a result that can be made in the worker and not rebuilt elsewhere."""
    if os.getpid() != pid:
        raise error
    return "rebuilt where it was made"


def result_that_raises_when_rebuilt(error: BaseException) -> Rebuilt:
    """Return what raises in whoever loads it."""
    return Rebuilt(raise_outside, os.getpid(), error)


def unpicklable_result() -> threading.Lock:
    """Return what cannot be pickled."""
    return threading.Lock()


def echo(value: Any) -> Any:
    """Give back what came: a crime only by the size or the kind of it."""
    return value


def bulk(size: int) -> bytes:
    """Return that many bytes."""
    return bytes(size)


def deep_list(depth: int) -> list[Any]:
    """Return lists in lists in lists, deeper than anything recursive can follow."""
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def recurse_for_ever(depth: int = 0) -> int:
    """Call itself until the interpreter says no."""
    return recurse_for_ever(depth + 1) + 1


# Exceptions that do not travel well


class TwoArguments(Exception):
    """Pickle well and fail to be rebuilt: its `__init__` wants more than `args` holds."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} at {where}")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Refuse to have its attributes set, as those who chain or annotate exceptions do."""

    detail: str


class Unpicklable(Exception):
    """Hold what cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Mute(Exception):
    """Raise when asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("no comment")

    __repr__ = __str__


class Exits(BaseException):
    """Leave the interpreter when asked what it says."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Custom(BaseException):
    """Escape every `except Exception`."""


def raise_two_arguments() -> NoReturn:
    """Raise what pickles and cannot be rebuilt."""
    raise TwoArguments("a spill", "aisle 5")


def raise_frozen() -> NoReturn:
    """Raise a frozen dataclass."""
    raise Frozen("ice")


def raise_unpicklable() -> NoReturn:
    """Raise what cannot be pickled."""
    raise Unpicklable("with a lock")


def raise_local() -> NoReturn:
    """Raise an exception of a class that only this function knows."""

    class Local(Exception):
        pass

    raise Local("from inside")


def raise_mute() -> NoReturn:
    """Raise what cannot be printed."""
    raise Mute


def raise_exits() -> NoReturn:
    """Raise what exits when printed."""
    raise Exits


def raise_group() -> NoReturn:
    """Raise a group of groups."""
    raise ExceptionGroup("many", [ValueError("one"), ExceptionGroup("inner", [KeyError("two"), Mute()])])


def raise_causes_in_a_circle() -> NoReturn:
    """Raise two exceptions that are each other's cause."""
    first, second = ValueError("hen"), ValueError("egg")
    first.__cause__, second.__cause__ = second, first
    raise first


def raise_long_chain() -> NoReturn:
    """Raise an exception with a hundred thousand causes."""
    error = ValueError("the end of the chain")
    for _ in range(100_000):
        longer = ValueError("a link")
        longer.__cause__, error = error, longer
    raise error


def raise_text(size: int) -> NoReturn:
    """Raise an exception whose text has a head, a middle of that size, and a tail."""
    raise ValueError("head " + "x" * size + " tail")


def raise_notes_of_no_kind() -> NoReturn:
    """Raise an exception whose notes are not notes."""
    error = ValueError("odd notes")
    error.__notes__ = 42  # type: ignore[assignment]
    raise error


# Death


def die_by(number: int) -> NoReturn:
    """Send itself a signal that kills."""
    print("last words", flush=True)
    os.kill(os.getpid(), number)
    while True:
        signal.pause()


def touch_nothing() -> NoReturn:
    """Read address zero: a true segmentation fault."""
    ctypes.string_at(0)
    raise AssertionError("there was something at address zero")


def abort() -> NoReturn:
    """Abort, as a failed assertion in C does."""
    os.abort()


def exit_at_once(code: int) -> NoReturn:
    """Leave without a word, past every handler."""
    print("leaving", flush=True)
    os._exit(code)


def crash_after(log: str, seconds: float) -> NoReturn:
    """Note that it ran, take a while, and exit past every handler."""
    write_line(log, "ran")
    time.sleep(seconds)
    os._exit(3)


def wait_to_be_killed(announcement: str) -> NoReturn:
    """Write its pid to a file and wait for somebody to kill it."""
    announce(announcement)
    while True:
        time.sleep(60)


def crash_until(counter: str, succeed_at: int) -> int:
    """Crash until it has been tried this many times; each attempt prints its number."""
    attempt = write_line(counter, "tried")
    print(f"attempt {attempt}", flush=True)
    if attempt < succeed_at:
        os._exit(9)
    return attempt


def die_while_sending(size: int) -> bytes:
    """Return so much that the pipe fills, and be killed in the middle of writing it."""
    _when_main_thread_is_in((1, 20), lambda: os.kill(os.getpid(), signal.SIGKILL))
    return bytes(size)


def die_after_its_result(number: int) -> int:
    """Return a result, and be killed as soon as the worker waits for its next task."""
    _when_main_thread_is_in((0, 19), lambda: os.kill(os.getpid(), signal.SIGKILL))
    return number


def leave_a_thread_that_crashes(trigger: str) -> str:
    """Return, and crash during another task: the one that makes the file."""

    def wait() -> None:
        while not os.path.exists(trigger):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGSEGV)

    threading.Thread(target=wait, daemon=True).start()
    return "innocent, so far"


def _when_main_thread_is_in(calls: tuple[int, ...], act: Callable[[], object]) -> None:
    """Act when the main thread has returned from the task and blocks in one of these system calls (x86-64)."""
    own = Path("/proc/self/task", str(threading.main_thread().native_id), "syscall")

    def watch() -> None:
        while own.read_text().split()[0] not in {str(number) for number in calls}:
            time.sleep(0.0005)
        act()

    threading.Thread(target=watch, daemon=True).start()


# Time


def sleep_for_ever(trace: str = "") -> NoReturn:
    """Sleep; says in a file that its `finally` ran."""
    with _farewell(trace):
        while True:
            time.sleep(60)


def sleep_announced(announcement: str) -> NoReturn:
    """Say its pid, and sleep."""
    announce(announcement)
    sleep_for_ever()


def hang_after_noting(log: str) -> NoReturn:
    """Note that it ran, and sleep."""
    write_line(log, "ran")
    sleep_for_ever()


def wait_for_file(path: str, seconds: float) -> None:
    """Wait for what another task does; give up after `seconds`."""
    until = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > until:
            raise TimeoutError(f"nobody made {path}")
        time.sleep(0.005)


def jump_the_clock_and(days: int, then: Callable[[], Any]) -> Any:
    """Let the wall clock of its own process jump, then do something."""
    now = time.time
    time.time = lambda: now() + days * 86400
    try:
        return then()
    finally:
        time.time = now


def wait_for_a_lock(trace: str = "") -> NoReturn:
    """Take the same lock twice."""
    with _farewell(trace):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    raise AssertionError("unreachable")


def wait_for_a_socket(trace: str = "") -> NoReturn:
    """Read from a socket nobody writes to."""
    ours, theirs = socket.socketpair()
    with _farewell(trace), ours, theirs:
        ours.recv(1)
    raise AssertionError("unreachable")


def spin(trace: str = "") -> NoReturn:
    """Compute without end, in Python."""
    with _farewell(trace):
        while True:
            pass


def swallow_interrupts(announcement: str = "") -> NoReturn:
    """Catch whatever is raised at it, and go on."""
    announce(announcement)
    while True:
        with contextlib.suppress(BaseException):
            while True:
                time.sleep(60)


def swallow_one_interrupt() -> str:
    """Catch the interrupt and return as if nothing had been."""
    with contextlib.suppress(BaseException):
        time.sleep(60)
    return "nothing happened"


def block_every_signal(announcement: str = "") -> NoReturn:
    """Ignore every signal that can be ignored and block all that can be blocked."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    announce(announcement)
    while True:
        time.sleep(60)


def hold_the_gil(announcement: str = "") -> NoReturn:
    """Compute without end in C, where no other thread and no signal handler of Python runs."""
    announce(announcement)
    sum(itertools.repeat(0))
    raise AssertionError("unreachable")


def stop_itself(announcement: str = "") -> NoReturn:
    """Be stopped as by Ctrl-Z, and stop again when continued."""
    announce(announcement)
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)


def sleep_slowly_rebuilt(seconds: float) -> Rebuilt:
    """Make an argument that takes its time to be rebuilt."""
    return Rebuilt(_rebuild_slowly, seconds)


def _rebuild_slowly(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@contextlib.contextmanager
def _farewell(trace: str) -> Any:
    try:
        yield
    finally:
        if trace:
            write_line(trace, "finally")


# Leavings: processes and threads that stay


def start_a_family(announcement: str) -> list[int]:
    """Start a child, a grandchild, one in its own session and a daemon that forked twice; say their pids."""
    sleep = "import time; time.sleep(600)"
    script = f"""
import os, subprocess, sys
plain = subprocess.Popen([sys.executable, "-c", {sleep!r}])
session = subprocess.Popen([sys.executable, "-c", {sleep!r}], start_new_session=True)
reader, writer = os.pipe()
between = os.fork()
if between == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writer, str(os.getpid()).encode())
        os.close(writer)
        os.execv(sys.executable, [sys.executable, "-c", {sleep!r}])
    os._exit(0)
os.close(writer)
daemon = int(os.read(reader, 20))
os.waitpid(between, 0)
print(plain.pid, session.pid, daemon, flush=True)
plain.wait()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pids = [child.pid, *map(int, child.stdout.readline().split())]
    announce(announcement, *pids)
    return pids


def start_a_family_and(announcement: str, then: Callable[[], Any]) -> Any:
    """Start a family of processes, then do something worse."""
    start_a_family(announcement)
    return then()


def leave_a_child_with_the_output(announcement: str) -> str:
    """Return while a child of ours lives on and holds stdout and stderr open."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    announce(announcement, child.pid)
    child.returncode = 0  # no warning about it: leaving it is the point
    return "left"


def die_with_a_fork_that_lives(announcement: str) -> NoReturn:
    """Fork a copy that inherits every descriptor and sleeps, then be killed."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    announce(announcement, child)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


# Memory


def own_memory() -> int:
    """Return how many bytes are resident in its process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def grow_for_ever(step: int = 8 << 20) -> NoReturn:
    """Take more memory, and more."""
    held = []
    while True:
        held.append(b"x" * step)
        time.sleep(0.02)


def burst_of_memory(size: int, seconds: float) -> int:
    """Take much at once and hold it for a while."""
    held = b"x" * size
    time.sleep(seconds)
    return len(held)


def memory_in_a_child(size: int) -> int:
    """Have a child process hold the memory."""
    script = f"held = b'x' * {size}\nimport time; time.sleep(60)"
    return subprocess.run([sys.executable, "-S", "-c", script], check=False).returncode


def memory_and_cpu_in_a_child(size: int, seconds: float) -> int:
    """Have a child process hold memory and use CPU time for a while."""
    script = f"held = b'x' * {size}\nimport time\nwhile time.process_time() < {seconds}: pass"
    return subprocess.run([sys.executable, "-S", "-c", script], check=True).returncode


def share_memory_with_children(size: int, children: int, seconds: float) -> int:
    """Fork children that see the same pages and add next to none: no crime, though it looks like one."""
    held = b"x" * size
    pids = []
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            time.sleep(seconds)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return len(held)


def ask_for_too_much() -> int:
    """Ask for more memory than there can be."""
    return len(bytearray(1 << 62))


def exhaust_descriptors(most: int = 300) -> int:
    """Open files until there are no more descriptors, and keep them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with contextlib.suppress(OSError):
        while True:
            _kept.append(os.open(os.devnull, os.O_RDONLY))
    return len(_kept)


def lower_limit(name: str, soft: int, hard: int | None = None) -> None:
    """Lower a resource limit of its process, the hard one too if given."""
    what = getattr(resource, name)
    resource.setrlimit(what, (soft, resource.getrlimit(what)[1] if hard is None else hard))


_kept: list[Any] = []
"""What tasks keep beyond their end."""


# Signals and shutdown


class PicklesSlowly:
    """Take long to be pickled; says in a file when it begins."""

    def __init__(self, announcement: str, seconds: float) -> None:
        self.announcement, self.seconds = announcement, seconds

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        announce(self.announcement)
        time.sleep(self.seconds)
        return (str, ())


def leave_a_thread(seconds: float = 600.0) -> str:
    """Return while a thread that is no daemon sleeps on."""
    threading.Thread(target=time.sleep, args=(seconds,)).start()
    return "left a thread"


def leave_an_exit_hook(seconds: float = 600.0) -> str:
    """Register something that keeps the interpreter from exiting."""
    atexit.register(time.sleep, seconds)
    return "left a hook"


def look_at_signals() -> tuple[set[int], dict[int, str]]:
    """Return which signals are blocked, and those with another handler than the default."""
    odd = {}
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if handler is not signal.SIG_DFL:
            odd[int(number)] = str(handler)
    return {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}, odd


# Contention: tasks that share a worker badly


def return_twice() -> str:
    """Fork, and return in both processes."""
    return "child" if os.fork() == 0 else "parent"


def raise_in_a_fork() -> str:
    """Fork, and raise in the child."""
    if os.fork() == 0:
        raise ValueError("in the fork")
    return "parent"


def move_away(folder: str) -> None:
    """Leave the worker in another directory, with other variables and another umask."""
    os.chdir(folder)
    os.environ["LEFT_BEHIND"] = "yes"
    os.environ.pop("HOME", None)
    os.umask(0o777)


def remove_own_directory(folder: str) -> None:
    """Change into a directory and remove it."""
    os.chdir(folder)
    os.rmdir(folder)


def leave_handlers() -> None:
    """Ignore and block signals, and stay so for a moment."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR2})
    time.sleep(0.01)


def leave_an_alarm(seconds: int = 1) -> None:
    """Have SIGALRM sent later."""
    signal.alarm(seconds)


def leave_a_timer(which: int, seconds: float = 0.1) -> None:
    """Have SIGPROF or SIGVTALRM sent when some more CPU time is used."""
    signal.setitimer(which, seconds)
    time.sleep(0.01)


def replace_stdout() -> None:
    """Put something else in the place of sys.stdout and sys.stderr."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def close_stdout() -> None:
    """Close sys.stdout and sys.stderr."""
    sys.stdout.close()
    sys.stderr.close()


def close_output_descriptors() -> None:
    """Close descriptors 1 and 2, and let other files take their numbers."""
    os.close(1)
    os.close(2)
    _kept.extend(os.open(os.devnull, os.O_RDWR) for _ in range(2))


def spin_for(seconds: float) -> float:
    """Use CPU time."""
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass
    return seconds


def leave_a_used_up_zombie(seconds: float) -> None:
    """Have a child use CPU time, and return without ever waiting for it."""
    script = f"import time\nwhile time.process_time() < {seconds}: pass"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", script], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


# Output


def talk_every_way(word: str) -> None:
    """Print, write to the descriptors, have a child and C write, and leave the last line open."""
    print(f"{word} printed")
    os.write(1, f"{word} raw\n".encode())
    subprocess.run(["/bin/sh", "-c", f"echo '{word} child'; echo '{word} complains' >&2"], check=True)
    libc = ctypes.CDLL(None)
    libc.printf(f"{word} from C\n".encode())
    print(f"{word} to stderr", file=sys.stderr)
    sys.stdout.write(f"{word} without an end")


def talk_and(word: str, then: Callable[[], Any]) -> Any:
    """Talk in every way, then do something worse."""
    talk_every_way(word)
    return then()


def flood(size: int, block: int = 1 << 20) -> int:
    """Write that many bytes to stdout, numbered at both ends."""
    os.write(1, b"first line\n")
    for _ in range(size // block):
        os.write(1, b"y" * (block - 1) + b"\n")
    os.write(1, b"last line\n")
    return size


def flood_for_ever() -> NoReturn:
    """Write without end."""
    while True:
        os.write(1, b"y" * 65535 + b"\n")


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout as they are."""
    os.write(1, data)


def leave_a_child_that_talks(announcement: str, word: str) -> str:
    """Return while a child goes on writing to our stdout."""
    script = f"while :; do echo {word}; sleep 0.01; done"
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)
    announce(announcement, pid)
    return "left a talker"


def read_stdin() -> str:
    """Read what there is on standard input."""
    return sys.stdin.read() + os.read(0, 10).decode()


# The innocent


def neighbour(log: str, number: int) -> int:
    """Note in a file that it ran, and return a value that only it returns."""
    write_line(log, str(number))
    return number * number


def sleep_and_return(seconds: float, value: Any) -> Any:
    """Take its time."""
    time.sleep(seconds)
    return value


def fail_after(seconds: float) -> NoReturn:
    """Raise, after a while."""
    time.sleep(seconds)
    raise ValueError(f"failed after {seconds} s")


def fail_when_there(path: str) -> NoReturn:
    """Raise as soon as a file exists."""
    while not os.path.exists(path):
        time.sleep(0.005)
    raise ValueError("it is there")


def announce_and_wait_for(announcement: str, path: str) -> str:
    """Say that it runs, and end when a file exists."""
    announce(announcement)
    while not os.path.exists(path):
        time.sleep(0.01)
    return "went"


def announce(path: str, *pids: int) -> None:
    """Write pids (none: its own) to a file, whole or not at all; nothing without a path."""
    if path:
        scratch = f"{path}.{os.getpid()}"
        Path(scratch).write_text(" ".join(map(str, pids or (os.getpid(),))))
        os.rename(scratch, path)


def write_line(path: str, text: str) -> int:
    """Append a line to a file in one write, and return how many it has now."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)
    return Path(path).read_bytes().count(b"\n")
