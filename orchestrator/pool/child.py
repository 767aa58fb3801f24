"""One process tree from start to reaped, and the one way to kill it.

    STARTING -> READY <-> BUSY -> DEAD          a worker
    STARTING ----------> BUSY -> DEAD           a command

`condemn` writes why the tree must go, once, and asks it to stop (SIGTERM to a command's group, an exception
in a worker's task); when the grace period is over `pause` kills the whole tree. A death without a verdict is a
crash. `bury` reaps what is dead and stops whatever the tree has left. A child belongs to one slot thread;
nobody else touches it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

from orchestrator.exceptions import StateError
from orchestrator.outcome import Ending, Sample
from orchestrator.pool.capture import Capture
from orchestrator.pool.lifeline import lifeline
from orchestrator.pool.memory import FIRST_SECONDS, guard, next_interval
from workers import tree

_TICK_SECONDS = 0.1
"""How often a running task's output is looked at, so that a flood fills neither memory nor disk."""


class State(Enum):
    """Where a child is in its life."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    DEAD = "dead"


_SAMPLES_KEPT = 600
"""Beyond this, every other sample of a long task is dropped."""
_STALL_SECONDS = 1.0
"""Looking at the clock this much too late means that we were stopped, not that the machine is busy."""

_MOVES = {
    State.STARTING: {State.READY, State.BUSY, State.DEAD},
    State.READY: {State.BUSY, State.DEAD},
    State.BUSY: {State.READY, State.DEAD},
    State.DEAD: set[State](),
}


class Verdict(NamedTuple):
    """Why a child was condemned: how its task ends, and the sentence the caller reads."""

    ending: Ending
    reason: str


class StartError(Exception):
    """A child could not be started, or died before it was ready; the text holds its last words."""


class Child:
    """A process of ours and everything it started."""

    def __init__(self, output_limit: int, nudge: int) -> None:
        inherited = os.environ.get(tree.COOKIE)
        token = os.urandom(8).hex()
        # Nested children carry their ancestors' cookies too: stopping the outer tree finds them.
        self.cookie = f"{inherited}/{token}" if inherited else token
        self.stdout = Capture(output_limit)
        try:
            self.stderr = Capture(output_limit)
        except OSError:
            self.stdout.close()
            raise
        self.pid = 0
        self.state = State.STARTING
        self.verdict: Verdict | None = None
        self.samples: list[Sample] = []
        self.peak = 0
        self.rss = 0
        self.stopped: list[str] = []
        self._root = tree.Root(self.cookie, 0, 0)
        self._pidfd = -1
        self._kill_at: float | None = None
        self._killed = False
        self._tick_at = 0.0
        self._look_at = 0.0
        self._look_seconds = 0.0
        self.task = ""
        self.nudged = False
        """Whether some job of this child may have been cancelled."""
        self.started_at = self._looked_at = 0.0
        self.stalled = 0.0
        self.cpu_before = 0.0
        self._nudge = nudge
        self._poll = select.poll()
        self._poll.register(nudge, select.POLLIN)

    # Life

    def adopt(self, pid: int | None) -> None:
        """Take charge of the process just started."""
        assert pid is not None
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._root = tree.Root(self.cookie, pid, tree.start_ticks(pid))
        self._poll.register(self._pidfd, select.POLLIN)
        lifeline.enlist(self._root)

    def move(self, state: State) -> None:
        """Enter a state; raises StateError for a move the table does not have."""
        if state not in _MOVES[self.state]:
            raise StateError(f"child {self.pid} cannot go from {self.state.value} to {state.value}")
        self.state = state

    def exited(self) -> bool:
        """Tell whether the process itself has ended (its descendants may live on)."""
        return self.wait_exit(0)

    def wait_exit(self, seconds: float) -> bool:
        """Wait for the process itself to end, for `seconds` at most; tell whether it has."""
        exit_only = select.poll()
        exit_only.register(self._pidfd, select.POLLIN)
        return bool(exit_only.poll(seconds * 1000))

    def status(self) -> int:
        """Return how the process ended, as subprocess's returncode: -n for signal n. Waits for its end."""
        try:
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return self._reaped_status()
        assert found is not None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _reaped_status(self) -> int:
        """Return the status of a process that somebody else has reaped: a signal if nobody knows."""
        return -signal.SIGKILL

    # Killing

    def condemn(self, ending: Ending, reason: str, grace: float) -> None:
        """Sentence the tree: write the verdict, ask it to stop, and have it killed after the grace period.

        The first verdict stands. Returns at once; whoever supervises the child goes on with `pause`.
        """
        if self.verdict is not None or self.state is State.DEAD:
            return
        self.verdict = Verdict(ending, reason)
        self._kill_at = time.monotonic() + grace
        if grace > 0:
            self._ask_to_stop()

    def kill(self) -> list[str]:
        """Kill the whole tree now and return what was in it."""
        self._killed = True
        return tree.stop([self._root]) if self.pid else []

    def _ask_to_stop(self) -> None:
        """Send SIGTERM once, to the group as soon as there is one; what SIGSTOP has stopped is woken to hear it."""
        if self.exited():
            return
        try:
            if os.getpgid(self.pid) == self.pid:  # it has not been reaped, so the number is still its own
                os.killpg(self.pid, signal.SIGTERM)
                os.killpg(self.pid, signal.SIGCONT)
            else:
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        except ProcessLookupError:
            pass

    # Supervision

    def begin_task(self, name: str) -> None:
        """Start a task's clock and its sampling."""
        self.task = name
        self.started_at = self._looked_at = time.monotonic()
        self.stalled = 0.0
        self._look_seconds = FIRST_SECONDS
        self._tick_at = self._look_at = self.started_at + FIRST_SECONDS
        if self.samples:
            self.samples = []
        self.peak = 0

    def running_seconds(self) -> float:
        """Return for how long the present task has run."""
        return max(0.0, time.monotonic() - self.started_at - self.stalled)

    def now(self, expected: float = 0.0) -> float:
        """Return time.monotonic(). If we were stopped (Ctrl-Z) since the last look, the task's clock was, too.

        `expected` is when we wanted to look again, and are late from; inf after calling what may take its time.
        A deadline is compared with the time returned here, never with a newer one.
        """
        now = time.monotonic()
        late = now - max(expected, self._looked_at)
        if late > _STALL_SECONDS:
            self.stalled += late
        self._looked_at = now
        return now

    def pause(self, until: float, memory_limit: int | None) -> bool:
        """Wait until something happens or is due, and do what is due; tell whether the process has ended.

        Wakes for: the process's exit, its pipes, the slot's nudge, `until`, the next look at memory and
        output, the end of the grace period. The look is never more than a tick away, so a wake-up that
        is missed costs a tick.
        """
        wake = min(until, self._tick_at)
        if self._kill_at is not None and not self._killed:
            wake = min(wake, self._kill_at)
        ready = self._poll.poll(max(0.0, wake - time.monotonic()) * 1000 + 0.5)
        now = self.now(wake)
        gone = False
        for descriptor, _event in ready:
            if descriptor == self._pidfd:
                gone = True
            elif descriptor == self._nudge:
                os.eventfd_read(self._nudge)
                self.nudged = True
        if not gone:
            if self._kill_at is not None and not self._killed and now >= self._kill_at:
                self.kill()
            if now >= self._tick_at:
                self._tick(now, memory_limit)
                self.now()
        return gone

    def _tick(self, now: float, memory_limit: int | None) -> None:
        self._tick_at = now + _TICK_SECONDS
        self.stdout.relieve()
        self.stderr.relieve()
        if now < self._look_at:
            return
        self._look_seconds = next_interval(self._look_seconds, memory_limit is not None)
        self._look_at = now + self._look_seconds
        usage = guard.look(self.pid)
        if usage is None:
            return
        self.samples.append(Sample(now - self.started_at, usage.rss, max(0.0, usage.cpu - self.cpu_before)))
        if len(self.samples) > _SAMPLES_KEPT:
            del self.samples[::2]
        self.rss = usage.rss
        self.peak = max(self.peak, usage.rss)
        if memory_limit is not None and usage.rss > memory_limit:
            used = guard.confirm(self.pid)
            if used > memory_limit:
                reason = f"used {used:,} bytes of memory, more than its limit of {memory_limit:,} bytes"
                self.condemn(Ending.OUT_OF_MEMORY, reason, grace=0)

    # Death

    def bury(self, *, sweep: bool = True) -> None:
        """Stop what the dead process may have left, reap it, and give up its descriptors."""
        self.move(State.DEAD)
        if sweep:
            self.sweep()
        self._reap()
        lifeline.release(self.cookie)
        self.stdout.close()
        self.stderr.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def disown(self) -> None:
        """Close our copies of its descriptors, in a forked copy of the driver."""
        self.stdout.close()
        self.stderr.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def sweep(self, known: Collection[int] = ()) -> list[str]:
        """Stop what the dead process has left, and return what that was.

        `known` are pids that were there before it started: the fewer are left to look at, the quicker.
        """
        if self._killed or not self.pid:
            return []
        self._killed = True
        return tree.stop([self._root], known)

    def _reap(self) -> None:
        """Collect the exit status, so that no zombie is left, and close what only this kind of child has."""
        raise NotImplementedError
