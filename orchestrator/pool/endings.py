"""From what is known of a task's end to its ending: one function per way of ending.

`failed` for one that raised or was interrupted, `stopped_outcome` for one whose process died, `load_value`
for one that returned. Pure but for unpickling, which runs the user's code and is fenced here.
"""

from __future__ import annotations

import pickle
import signal
from typing import TYPE_CHECKING, Any

from orchestrator.outcome import CANCELLED_CODE, KILLED_CODE, TIMED_OUT_CODE, Ending, Outcome
from workers import wire

if TYPE_CHECKING:
    from orchestrator.pool.child import Child, Verdict

_CODES = {
    Ending.TIMED_OUT: TIMED_OUT_CODE,
    Ending.OUT_OF_MEMORY: KILLED_CODE,
    Ending.CANCELLED: CANCELLED_CODE,
}


class RemoteTraceback(Exception):
    """The traceback of a worker, as text: the cause of an exception that was raised there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def load_value(body: bytes) -> tuple[Any, str | None]:
    """Unpickle a result; a result that raises, exits or interrupts while it is rebuilt is a failure's text."""
    try:
        return pickle.loads(body), None
    except BaseException as error:  # the user's __setstate__, in the driver
        return None, f"the result could not be rebuilt here: {_say(error)}\n"


def failed(how: int, body: bytes, verdict: Verdict | None) -> tuple[Ending, str, BaseException | None, int]:
    """Return ending, reason, exception and exit code of a task that raised or was interrupted."""
    failure = wire.load_failure(body)
    exception: BaseException | None = None
    if failure.exception is not None:
        loaded, _ = load_value(failure.exception)
        if isinstance(loaded, BaseException):
            exception = loaded
            exception.__cause__ = RemoteTraceback(failure.traceback)
    if how == wire.INTERRUPTED and verdict is not None:
        return verdict.ending, f"{failure.traceback}{verdict.reason}\n", exception, _CODES[verdict.ending]
    code = 1 if failure.exit_code is None else failure.exit_code
    return Ending.RAISED, failure.traceback, exception, code


def stopped_outcome(child: Child, verdict: Verdict | None, status: int, *, neighbour_threads: bool = False) -> Outcome:
    """Make the outcome of a task that did not finish, from its child's verdict, status, output and samples."""
    if verdict is not None:
        ending, reason, code = verdict.ending, verdict.reason, _CODES[verdict.ending]
    else:
        ending, reason = Ending.CRASHED, f"its process {how_it_ended(status)} while it ran"
        code = 128 - status if status < 0 else status or 1
        if neighbour_threads:
            reason += "; an earlier task had left threads running in it, which may be the cause"
    cpu = child.samples[-1].cpu if child.samples else 0.0
    return Outcome(
        ending,
        reason=reason + "\n",
        return_code=code,
        seconds=child.running_seconds(),
        cpu_seconds=cpu,
        peak_memory=child.peak,
        pid=child.pid,
        stdout=child.stdout.read(),
        stderr=child.stderr.read(),
        samples=tuple(child.samples),
    )


def how_it_ended(status: int) -> str:
    """Say in words what a status (as subprocess's returncode) means."""
    if status >= 0:
        return f"exited with code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ", possibly by the kernel for want of memory" if -status == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def _say(error: BaseException) -> str:
    try:
        return wire.cut(f"{wire.describe(error)}: {error}")
    except BaseException:
        return wire.describe(error)
