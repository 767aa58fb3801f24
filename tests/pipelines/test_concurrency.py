"""Concurrency groups: who waits for whom, who gives up, and the folder in which programs meet."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import ConcurrencyError, Ending, Event, ExecutionResult, Finished
from orchestrator.pipelines.actions.concurrency import Superseded, turn_of
from orchestrator.pipelines.loading import Pipeline, load_pipeline
from orchestrator.stopping import Scope, entered
from tests.pipelines.acts import endings, results_of, write
from tests.waiting import eventually, lines_of


@pytest.fixture(autouse=True)
def meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the programs of this test meet, once one has come."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "meet"))
    return tmp_path / "meet" / "orchestrator" / "concurrency"


def turn(
    group: str = "one", stop: Callable[[], None] = lambda: None, *, cancel_in_progress: bool = False
) -> contextlib.AbstractContextManager[None]:
    """Wait for the turn of a group, and give up only when everything is stopped."""
    return turn_of(group, cancel_in_progress=cancel_in_progress, cancelled=lambda: False, stop=stop)


def take_turn(group: str = "one") -> None:
    """Be under way for no time, without asking anyone to stop."""
    with turn(group):
        pass


class Waiter(threading.Thread):
    """Something in a thread; `ending` is what it raised, or "done"."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.ending = ""
        self._work = work
        self.start()

    def run(self) -> None:
        """Do it."""
        try:
            self._work()
            self.ending = "done"
        except Superseded as error:
            self.ending = str(error)


def turns_of(pipeline: Pipeline) -> Callable[[], None]:
    """Return what waits for the turn of a pipeline, and does no more."""

    def wait() -> None:
        with pipeline.turn():
            pass

    return wait


FILE = """
on: push
concurrency: one
jobs:
  a: {runs-on: x, steps: [{run: "true"}]}
"""


# Who waits for whom


def test_another_group_waits_for_nobody() -> None:
    with turn():
        take_turn("another")


def test_a_turn_that_was_given_back_can_be_taken_again_whatever_became_of_its_holder() -> None:
    with pytest.raises(ZeroDivisionError), turn(cancel_in_progress=True):
        raise ZeroDivisionError
    take_turn()


def test_the_same_group_of_two_repositories_is_two_groups(tmp_path: Path) -> None:
    first, second = (load_pipeline(write(tmp_path / name, FILE)) for name in ("here", "there"))
    with first.turn():
        waiter = Waiter(turns_of(second))
        waiter.join(10)
        assert waiter.ending == "done"
    waiter.join(10)


JOB = """
on: push
jobs:
  a: {{runs-on: x, concurrency: {0}, steps: [{{run: "{1}"}}]}}
  b: {{runs-on: x, steps: [{{run: "{2}"}}]}}
"""
HOLD = "echo > begun; until [ -e go ]; do sleep 0.02; done"


def test_the_same_group_of_jobs_in_two_repositories_is_two_groups(tmp_path: Path) -> None:
    first, second = (
        load_pipeline(write(tmp_path / name, JOB.format("one", line, "true")))
        for name, line in (("here", HOLD), ("there", "true"))
    )
    waiters = [Waiter(lambda: results_of(first))]
    eventually((tmp_path / "here" / "begun").exists)
    waiters.append(Waiter(lambda: results_of(second)))
    waiters[1].join(10)
    ending = waiters[1].ending
    (tmp_path / "here" / "go").touch()
    for waiter in waiters:
        waiter.join(20)
    assert ending == "done"


# Who gives up


def test_a_run_that_is_cancelled_while_it_waits_gives_up(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    first, second = load_pipeline(path), load_pipeline(path)
    with first.turn():
        waiter = Waiter(turns_of(second))
        second.cancellation.request()
        waiter.join(10)
        assert waiter.ending == "the run was cancelled"
    waiter.join(10)


def test_what_waits_gives_up_when_everything_is_stopped() -> None:
    scope = Scope()

    def wait() -> None:
        with entered(scope):
            take_turn()

    with turn():
        waiter = Waiter(wait)
        eventually(lambda: scope.busy)
        scope.stop()
        waiter.join(10)
        assert waiter.ending == "the run was cancelled"
    waiter.join(10)


def test_a_job_that_waits_gives_up_when_its_run_is_cancelled(tmp_path: Path, meet: Path) -> None:
    text = JOB.format("one", "touch never", "echo > begun; sleep 60")
    pipeline = load_pipeline(write(tmp_path, text))
    found: list[dict[str, ExecutionResult]] = []
    with turn(f"local/{tmp_path.name}/one"):
        (last,) = meet.glob("*.last")
        before = last.read_text()
        waiter = Waiter(lambda: found.append(results_of(pipeline)))
        eventually(lambda: last.read_text() != before and lines_of(tmp_path / "begun"))
        pipeline.cancellation.request()
        waiter.join(20)
        alive = waiter.is_alive()
    waiter.join(20)
    assert not alive
    assert endings(found[0]) == {"a": "cancelled", "b": "cancelled"}
    assert found[0]["a"].error == "cancelled: the run was cancelled\n"
    assert not (tmp_path / "never").exists()


def test_of_jobs_that_wait_the_older_is_cancelled_and_says_why(tmp_path: Path) -> None:
    job = '  {0}: {{runs-on: x, concurrency: one, steps: [{{run: "until [ -e go ]; do sleep 0.02; done"}}]}}\n'
    pipeline = load_pipeline(write(tmp_path, "on: push\njobs:\n" + "".join(map(job.format, "abc"))))
    found: dict[str, ExecutionResult] = {}

    def hear(event: Event) -> None:
        if isinstance(event, Finished):
            found[event.name] = event.result
            (tmp_path / "go").touch()

    pipeline.workflow(on_event=hear, max_concurrency=3).run()
    assert sorted(endings(found).values()) == ["cancelled", "ok", "ok"]
    first = next(iter(found.values()))
    assert first.error.startswith("cancelled: ")
    assert f"newer waits in the concurrency group 'local/{tmp_path.name}/one'" in first.error


def test_a_newer_job_that_asks_for_it_stops_that_job_alone(tmp_path: Path) -> None:
    group = "{group: one, cancel-in-progress: true}"
    older = load_pipeline(write(tmp_path, JOB.format(group, "echo > begun; sleep 60", HOLD.replace("begun", "beside"))))
    newer = load_pipeline(write(tmp_path, JOB.format(group, "echo newer", "true"), ".github/workflows/newer.yml"))
    found: list[dict[str, ExecutionResult]] = []
    waiter = Waiter(lambda: found.append(results_of(older, max_concurrency=2)))
    eventually(lambda: (tmp_path / "begun").exists() and (tmp_path / "beside").exists())
    results = results_of(newer)
    (tmp_path / "go").touch()
    waiter.join(20)
    assert (results["a"].ending, results["a"].output) == (Ending.OK, "newer\n")
    assert endings(found[0]) == {"a": "cancelled", "b": "ok"}


def test_a_newer_job_stops_the_combination_of_its_group_and_no_other_of_the_matrix(tmp_path: Path) -> None:
    text = """
    on: push
    jobs:
      a:
        runs-on: x
        strategy: {fail-fast: false, matrix: {n: ITS}}
        concurrency: {group: "one-${{ matrix.n }}", cancel-in-progress: true}
        steps: [{run: "WORK"}]
    """
    hold = "echo > begun-${{ matrix.n }}; until [ -e go ]; do sleep 0.02; done"
    older = load_pipeline(write(tmp_path, text.replace("ITS", "[1, 2]").replace("WORK", hold)))
    newer = load_pipeline(
        write(tmp_path, text.replace("ITS", "[1]").replace("WORK", "echo newer"), ".github/workflows/newer.yml")
    )
    found: list[dict[str, ExecutionResult]] = []
    waiter = Waiter(lambda: found.append(results_of(older, max_concurrency=2)))
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    results = results_of(newer)
    (tmp_path / "go").touch()
    waiter.join(20)
    assert endings(results) == {"a (1)": "ok"}
    assert endings(found[0]) == {"a (1)": "cancelled", "a (2)": "ok"}


# Where they meet


def test_what_programs_meet_in_is_their_users_alone(meet: Path) -> None:
    take_turn("a/b/../c")
    assert stat.S_IMODE(meet.stat().st_mode) == 0o700
    names = [path.name for path in meet.iterdir()]
    assert sorted(name.partition(".")[2] for name in names) == ["last", "lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in meet.iterdir()} == {0o600}


def test_a_folder_that_others_can_write_to_is_not_used(meet: Path) -> None:
    meet.mkdir(parents=True)
    for mode in (0o770, 0o702):
        meet.chmod(mode)
        with pytest.raises(ConcurrencyError, match="others can write to it"):
            take_turn()
    assert list(meet.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(meet: Path, tmp_path: Path) -> None:
    take_turn()
    (lock,) = meet.glob("*.lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConcurrencyError, match=os.strerror(errno.ELOOP)):
        take_turn()
    assert not (tmp_path / "elsewhere").exists()


def test_programs_meet_among_the_users_caches_wherever_they_were_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
    for cache in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        take_turn()
    monkeypatch.delenv("XDG_CACHE_HOME")
    take_turn()
    assert len(list((tmp_path / "home" / ".cache" / "orchestrator" / "concurrency").glob("*.lock"))) == 1
    assert not (tmp_path / "session").exists()


@pytest.mark.parametrize("spoiled", ["", "[]", "[1", "[1, 2, 3]", "null"])
def test_a_note_of_who_came_last_that_nobody_can_read_stops_nothing_under_way(meet: Path, spoiled: str) -> None:
    stopped = threading.Event()
    with turn(stop=stopped.set):
        (last,) = meet.glob("*.last")
        last.write_text(spoiled)
        assert not stopped.wait(0.5)
    take_turn()
