"""The states of a job: which may follow which, and what is known in each."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator import AsyncJob, AsyncJobStatus, Ending, StateError
from orchestrator.jobs import moves
from orchestrator.outcome import Outcome

GOOD = Outcome(Ending.OK, 7, seconds=1.0)
BAD = Outcome(Ending.RAISED, reason="no\n", exception=ValueError("no"), return_code=1)

LEGAL = {
    ("queued", "start"): "running",
    ("queued", "end well"): None,
    ("queued", "end badly"): "failed",
    ("queued", "rest"): None,
    ("queued", "interrupt"): None,
    ("queued", "requeue"): None,
    ("running", "start"): None,
    ("running", "end well"): "done",
    ("running", "end badly"): "failed",
    ("running", "rest"): "queued",
    ("running", "interrupt"): "failed",
    ("running", "requeue"): None,
    ("done", "start"): None,
    ("done", "end well"): None,
    ("done", "end badly"): None,
    ("done", "rest"): None,
    ("done", "interrupt"): None,
    ("done", "requeue"): None,
    ("failed", "start"): None,
    ("failed", "end well"): None,
    ("failed", "end badly"): None,
    ("failed", "rest"): None,
    ("failed", "interrupt"): None,
    ("failed", "requeue"): "queued",
}
"""Every move from every state, and where it leads; None: it is refused, and nothing has changed."""


def make(job: AsyncJob, move: str, now: float) -> None:
    """Make a move."""
    if move == "start":
        moves.start(job, now)
    elif move == "end well":
        moves.end(job, GOOD, now, cancelled=False)
    elif move == "end badly":
        moves.end(job, BAD, now, cancelled=True)
    elif move == "rest":
        moves.rest(job, BAD, now + 5)
    elif move == "interrupt":
        moves.interrupt(job, now)
    else:
        moves.requeue(job)


class Life(RuleBasedStateMachine):
    """Any moves in any order."""

    @initialize()
    def begin(self) -> None:
        self.job = AsyncJob("a", int)
        self.now = 0.0
        self.starts = 0
        self.ever_interrupted = False

    @rule(move=st.sampled_from(sorted({move for _, move in LEGAL})))
    def move(self, move: str) -> None:
        self.now += 1
        before = self.job.status
        to = LEGAL[before.value, move]
        if to is None:
            kept = pickle.dumps(self.job)
            with pytest.raises(StateError, match=f"it is {before.value} and cannot become"):
                make(self.job, move, self.now)
            assert pickle.dumps(self.job) == kept
            return
        make(self.job, move, self.now)
        assert self.job.status.value == to
        self.starts += move == "start"
        self.ever_interrupted |= move == "interrupt"

    @invariant()
    def what_is_known_fits_the_state(self) -> None:
        job = self.job
        assert job.attempts == self.starts
        ended = job.status in (AsyncJobStatus.DONE, AsyncJobStatus.FAILED)
        assert (job.finished is not None) == ended
        assert job.result == (7 if job.status is AsyncJobStatus.DONE else None)
        assert job.success == (job.status is AsyncJobStatus.DONE)
        assert job.interrupted == self.ever_interrupted
        if ended:
            assert (job.ending is Ending.OK) == (job.error is None) == job.success
        else:
            assert not job.cancelled
        assert (job.started is not None) == (job.attempts > 0)


Life.TestCase.settings = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
test_life = Life.TestCase
