"""How a job changes: one function for each move from one state to another. Nothing else writes to a job.

    QUEUED  -> RUNNING          start
    RUNNING -> QUEUED           rest, before another attempt
    RUNNING -> DONE             end
    RUNNING -> FAILED           end, interrupt
    QUEUED  -> FAILED           end: cancelled, or nothing that could be attempted
    FAILED  -> QUEUED           requeue

A move from any other state raises StateError, and changes nothing.
"""

from __future__ import annotations

from orchestrator.exceptions import StateError
from orchestrator.jobs.model import AsyncJob, AsyncJobStatus
from orchestrator.outcome import Ending, Outcome


def start(job: AsyncJob, now: float) -> None:
    """Another attempt begins."""
    _move(job, AsyncJobStatus.RUNNING, AsyncJobStatus.QUEUED)
    job.attempts += 1
    job.started = now


def rest(job: AsyncJob, outcome: Outcome, due: float) -> None:
    """An attempt has failed, and another is due later."""
    _move(job, AsyncJobStatus.QUEUED, AsyncJobStatus.RUNNING)
    _note(job, outcome)
    if job.series is None:  # an occurrence stands for its time
        job.due = due


def end(job: AsyncJob, outcome: Outcome, now: float, cancelled: bool) -> None:
    """It has ended for good; also without an attempt, when it was cancelled or nothing can be attempted."""
    if outcome.ending is Ending.OK:
        _move(job, AsyncJobStatus.DONE, AsyncJobStatus.RUNNING)
    else:
        _move(job, AsyncJobStatus.FAILED, AsyncJobStatus.RUNNING, AsyncJobStatus.QUEUED)
    _note(job, outcome)
    job.result = outcome.value
    job.finished = now
    job.cancelled = cancelled


def interrupt(job: AsyncJob, now: float) -> None:
    """Its scheduler died while it ran: nobody knows what came of it."""
    _move(job, AsyncJobStatus.RUNNING, AsyncJobStatus.RUNNING)  # it was
    reason = f"interrupted: its scheduler ended while attempt {job.attempts} ran\n"
    end(job, Outcome(Ending.CRASHED, reason=reason, return_code=1), now, cancelled=False)
    job.interrupted = True


def requeue(job: AsyncJob, due: float | None = None) -> None:
    """It is to run once more, as if it had not ended; the attempts so far count on, and an interruption stays told."""
    _move(job, AsyncJobStatus.QUEUED, AsyncJobStatus.FAILED)
    job.due = due
    job.error = job.ending = job.exception = job.finished = job.result = None
    job.cancelled = False


def _move(job: AsyncJob, to: AsyncJobStatus, *states: AsyncJobStatus) -> None:
    if job.status not in states:
        raise StateError(f"{job}: it is {job.status.value} and cannot become {to.value}")
    job.status = to


def _note(job: AsyncJob, outcome: Outcome) -> None:
    """Take over an attempt's figures and output."""
    ok = outcome.ending is Ending.OK
    job.ending = outcome.ending
    job.error = None if ok else outcome.reason.rstrip("\n")
    job.exception = outcome.exception
    job.execution_time = outcome.seconds
    job.cpu_time = outcome.cpu_seconds
    job.peak_memory = outcome.peak_memory
    if outcome.stdout or outcome.stderr or job.output or job.stderr:
        job.output = outcome.stdout.decode("utf-8", "replace")
        job.stderr = outcome.stderr.decode("utf-8", "replace")
