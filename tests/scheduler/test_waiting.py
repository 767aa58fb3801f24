"""Which job is next: by priority, then by order of coming or of becoming due; checked against a list that is sorted."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.jobs.waiting import Waiting

_names = st.sampled_from("abcdefghij")
_priorities = st.sampled_from([0, 0, 0, -1, 7])
_dues = st.integers(0, 40).map(float)


class _Job(NamedTuple):
    name: str
    priority: int
    due: float = 0.0
    wall: bool = False


class WaitingAgainstAList(RuleBasedStateMachine):
    """`ready` and `later` are in order of coming."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.ready: list[_Job] = []
        self.later: list[_Job] = []
        self.monotonic = 0.0
        self.wall = 20.0

    @property
    def names(self) -> list[str]:
        return [job.name for job in self.ready + self.later]

    def due_in(self, job: _Job) -> float:
        return job.due - (self.wall if job.wall else self.monotonic)

    @rule(name=_names, priority=_priorities)
    def add(self, name: str, priority: int) -> None:
        if name in self.names:
            with pytest.raises(ValueError, match=f"job {name} waits already"):
                self.waiting.add(name, priority)
        else:
            self.waiting.add(name, priority)
            self.ready.append(_Job(name, priority))

    @rule(name=_names, priority=_priorities, due=_dues, wall=st.booleans())
    def add_later(self, name: str, priority: int, due: float, wall: bool) -> None:
        if name in self.names:
            with pytest.raises(ValueError, match=f"job {name} waits already"):
                self.waiting.add_later(name, priority, due, wall=wall)
        else:
            self.waiting.add_later(name, priority, due, wall=wall)
            self.later.append(_Job(name, priority, due, wall))

    @rule()
    def take(self) -> None:
        expected = max(self.ready, key=lambda job: job.priority, default=None)  # the first of equals
        assert self.waiting.take() == (expected and expected.name)
        if expected:
            self.ready.remove(expected)

    @rule(name=_names)
    def discard(self, name: str) -> None:
        assert self.waiting.discard(name) == (name in self.names)
        self.ready = [job for job in self.ready if job.name != name]
        self.later = [job for job in self.later if job.name != name]

    @precondition(lambda self: self.later)
    @rule(data=st.data())
    def discard_one_that_waits_for_its_time(self, data: st.DataObject) -> None:
        self.discard(data.draw(st.sampled_from(self.later)).name)

    @rule(seconds=st.integers(0, 15), jump=st.integers(-15, 15))
    def ripen(self, seconds: int, jump: int) -> None:
        self.monotonic += seconds
        self.wall += jump
        # Of those due for as long by either clock, nobody cares which is first: it is the one with the lower number.
        ripe = sorted(self.later, key=lambda job: (self.due_in(job), job.due))
        ripe = [job for job in ripe if self.due_in(job) <= 0]
        self.waiting.ripen(self.monotonic, self.wall)
        self.ready += ripe
        self.later = [job for job in self.later if job not in ripe]

    @invariant()
    def it_counts_the_same(self) -> None:
        assert len(self.waiting) == len(self.names)
        assert self.waiting.ready == len(self.ready)
        assert [name for name in "abcdefghij" if name in self.waiting] == sorted(self.names)

    @invariant()
    def it_knows_when_the_next_is_due(self) -> None:
        expected = min((max(0.0, self.due_in(job)) for job in self.later), default=None)
        assert self.waiting.next_due(self.monotonic, self.wall) == expected

    def teardown(self) -> None:
        while self.ready:
            self.take()
        assert self.waiting.take() is None


TestWaitingAgainstAList = WaitingAgainstAList.TestCase
TestWaitingAgainstAList.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)


def _taken(waiting: Waiting) -> list[str]:
    return [name for name in iter(waiting.take, None) if name]


def test_higher_priority_goes_first_and_equals_keep_their_order() -> None:
    waiting = Waiting()
    for name, priority in [("a", 0), ("b", -3), ("c", 5), ("d", 0), ("e", 5)]:
        waiting.add(name, priority)
    assert _taken(waiting) == ["c", "e", "a", "d", "b"]


def test_those_that_become_due_follow_in_order_of_their_times_behind_those_of_their_priority() -> None:
    waiting = Waiting()
    waiting.add_later("late", 0, 9.0, wall=False)
    waiting.add_later("early", 0, 3.0, wall=False)
    waiting.add_later("urgent", 1, 8.0, wall=False)
    waiting.add_later("never", 1, 11.0, wall=False)
    waiting.add("there")
    waiting.ripen(10.0, 0.0)
    assert waiting.ready == 4
    assert _taken(waiting) == ["urgent", "there", "early", "late"]
    assert "never" in waiting


def test_of_two_clocks_the_one_due_for_longer_goes_first() -> None:
    waiting = Waiting()
    waiting.add_later("by wall, 2 s ago", 0, 1_700_000_008.0, wall=True)
    waiting.add_later("by monotonic, 5 s ago", 0, 95.0, wall=False)
    waiting.add_later("by wall, 7 s ago", 0, 1_700_000_003.0, wall=True)
    waiting.ripen(100.0, 1_700_000_010.0)
    assert _taken(waiting) == ["by wall, 7 s ago", "by monotonic, 5 s ago", "by wall, 2 s ago"]


def test_one_that_is_added_again_after_a_discard_goes_to_the_end() -> None:
    waiting = Waiting()
    for name in "abc":
        waiting.add(name)
    assert waiting.discard("a")
    waiting.add("a")
    assert _taken(waiting) == ["b", "c", "a"]


def test_one_that_is_added_again_for_another_time_forgets_the_first() -> None:
    waiting = Waiting()
    for name, due in [("a", 5.0), ("b", 70.0), ("c", 80.0)]:
        waiting.add_later(name, 0, due, wall=False)
    assert waiting.discard("a")
    waiting.add_later("a", 0, 50.0, wall=False)
    assert waiting.next_due(0.0, 0.0) == 50.0
    waiting.ripen(10.0, 0.0)
    assert waiting.take() is None


def test_those_left_after_most_were_discarded_keep_their_order() -> None:
    waiting = Waiting()
    for number in range(100):
        waiting.add_later(f"timed {number}", 0, 1000.0 - number, wall=False)
        waiting.add(f"ready {number}", number % 10)
    for number in set(range(100)) - {3, 28, 72, 95}:
        waiting.discard(f"timed {number}")
        waiting.discard(f"ready {number}")
    assert _taken(waiting) == ["ready 28", "ready 95", "ready 3", "ready 72"]
    assert waiting.next_due(0.0, 0.0) == 905.0
    waiting.ripen(950.0, 0.0)
    assert _taken(waiting) == ["timed 95", "timed 72"]
    waiting.ripen(1000.0, 0.0)
    assert _taken(waiting) == ["timed 28", "timed 3"]


class _Name(str):
    """Text that tells when it is gone."""

    def __hash__(self) -> int:
        _counted["looked up"] += 1
        return super().__hash__()


class _Due(float):
    def __lt__(self, other: float) -> bool:
        _counted["compared"] += 1
        return super().__lt__(other)


_counted: Counter[str] = Counter()


@pytest.mark.parametrize("timed", [False, True])
def test_a_discard_costs_the_same_however_many_wait(timed: bool) -> None:
    waiting = Waiting()

    def add(number: int) -> _Name:
        name = _Name(number)
        if timed:
            waiting.add_later(name, 0, _Due(number), wall=False)
        else:
            waiting.add(name)
        return name

    for number in range(1000):
        add(number)
    _counted.clear()
    for number in range(1000, 4000):
        waiting.discard(add(number))
    assert _counted.total() < 3000 * 40


@pytest.mark.parametrize("how", ["ready", "of many priorities", "by monotonic", "by wall"])
def test_of_those_discarded_no_more_are_kept_than_wait(how: str) -> None:
    waiting = Waiting()
    kept: weakref.WeakSet[_Name] = weakref.WeakSet()

    def add(number: int) -> _Name:
        name = _Name(number)
        kept.add(name)
        if how in ("ready", "of many priorities"):
            waiting.add(name, number % 50 if how == "of many priorities" else 0)
        else:
            waiting.add_later(name, 0, float(number), wall=how == "by wall")
        return name

    for number in range(10):
        add(number)
    for number in range(10, 1000):
        assert waiting.discard(add(number))
        assert len(kept) <= 2 * len(waiting) + 1
    for number in range(10):
        assert waiting.discard(str(number))
    assert not kept


def test_of_those_discarded_no_more_are_kept_once_the_others_have_become_due() -> None:
    waiting = Waiting()
    names = [_Name(number) for number in range(100)]
    kept = weakref.WeakSet(names)
    for number, name in enumerate(names):
        waiting.add_later(name, 0, float(number), wall=False)
    for name in names[60:]:
        waiting.discard(name)
    del name, names
    waiting.ripen(58.0, 0.0)
    assert len(_taken(waiting)) == 59
    assert set(kept) == {"59"}
