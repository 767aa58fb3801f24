"""The store keeps what it was told, for one process at a time; the journal writes it for an event loop.

How the files are made, and what is refused of them, is in test_store_files.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.exceptions import ConcurrencyError, StateError, StoreError
from orchestrator.store import Change, Forget, Insert, Journal, Store, Update, Waiting, journal, lease, store
from tests.faults.driver import driving
from tests.faults.street import Stopwatch
from tests.waiting import eventually, is_alive
from workers.tree import start_ticks

PREAMBLE = """
import asyncio, functools, os, resource, signal, sys
from orchestrator.exceptions import *
from orchestrator.store import *
say = functools.partial(print, flush=True)
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jobs")
"""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(path)) as opened:
        yield opened


@contextlib.contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Connect to a store as a stranger does."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def jobs(*names: object, **columns: object) -> list[Insert]:
    return [Insert({"job_id": str(name), **columns}) for name in names]


def ids(opened: Store, status: str | None = None) -> list[str]:
    return [row["job_id"] for row in opened.find(status)]


def sql(opened: Store, statement: str) -> Any:
    """Run SQL on the connection of a store."""
    return opened._connection.execute(statement).fetchone()


# --- what it keeps


def test_what_is_written_is_read_back_by_the_next_process(tmp_path: Path) -> None:
    whole = {
        "job_id": "a", "name": "work", "status": "done", "priority": -3, "due": 1.5, "series": "s", "rule": "every 1 h",
        "by_wall_clock": 1,
        "call": b"\0call", "terms": b"terms", "attempts": 2, "submitted": 1.0, "started": 2.0, "finished": 3.0,
        "result": b"result", "error": "error", "ending": "OK", "cancelled": 1, "interrupted": 1,
        "execution_time": 0.5, "cpu_time": 0.25, "peak_memory": 1 << 40, "output": "öut\0put", "stderr": "err",
    }  # fmt: skip
    with opened(tmp_path / "jobs") as first:
        first.write([Insert(whole), Insert({"job_id": "b"})])
    with opened(tmp_path / "jobs") as second:
        assert second.read("a") == {"seq": 1, **whole}
        assert second.read("b") == {
            "seq": 2, "job_id": "b", "name": "", "status": "queued", "priority": 0, "due": None, "series": None,
            "rule": None, "by_wall_clock": 0, "call": None, "terms": None, "attempts": 0, "submitted": 0.0,
            "started": None,
            "finished": None, "result": None, "error": None, "ending": None, "cancelled": 0, "interrupted": 0,
            "execution_time": 0.0, "cpu_time": 0.0, "peak_memory": 0, "output": "", "stderr": "",
        }  # fmt: skip
        assert second.read("c") is None


def test_jobs_are_found_oldest_first(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs") as it:
        it.write(jobs("z", "y", "x", "w"))
        it.write([Update("y", {"status": "running", "due": 7.0}), Update("nobody", {"name": "n"})])
        it.write([Update("z", {"priority": 5, "due": 2.0, "series": "s"})])
        assert it.waiting() == [Waiting("z", 5, 2.0, "s"), Waiting("x", 0, None, None), Waiting("w", 0, None, None)]
        assert ids(it) == ["z", "y", "x", "w"]
        assert ids(it, "queued") == ["z", "x", "w"]
        assert [row["job_id"] for row in it.find("queued", 2)] == ["z", "x"]
        assert it.find(limit=0) == []
        assert it.counts() == {"queued": 3, "running": 1}


def test_the_jobs_that_finished_first_are_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs") as it:
        it.write(jobs("queued", "running"))
        it.write([Update("running", {"status": "running", "started": 1.0})])
        for name, finished in [("late", 9.0), ("early", 1.0), ("middle", 5.0), ("also middle", 5.0)]:
            it.write(jobs(name, status="failed" if finished == 1 else "done", finished=finished))
        it.write([Forget(4)])
        assert len(it.find()) == 6
        it.write([Forget(2)])
        assert ids(it) == ["queued", "running", "late", "also middle"]
        it.write([Forget(0)])
        assert ids(it) == ["queued", "running"]
        it.write(jobs("next"))
        assert it.find()[-1]["seq"] == 7  # a number is not given twice


def test_changes_take_effect_in_their_order(tmp_path: Path) -> None:
    changes: list[Change] = [
        *jobs("a"),
        Update("a", {"name": "1", "priority": 1}),
        *jobs("b", name="first"),
        Update("a", {"name": "2"}),
        Update("b", {"name": "3"}),
        Update("a", {"name": "4"}),
    ]
    with opened(tmp_path / "jobs") as it:
        it.write(changes)
        assert [(row["name"], row["priority"]) for row in it.find()] == [("4", 1), ("3", 0)]


@pytest.mark.parametrize(
    "broken",
    [
        *jobs("old"),
        *jobs("new", status="lost"),
        *jobs("new", priority=1 << 70),
        *jobs("new", nothing=1),
        Update("old", {"name": None}),
        Update("old", {"result": object()}),
    ],
    ids=["twice", "status", "huge", "column", "null", "object"],
)
def test_of_changes_that_cannot_be_written_none_is(tmp_path: Path, broken: Change) -> None:
    with opened(tmp_path / "jobs") as it:
        it.write(jobs("old"))
        with pytest.raises(StoreError, match=f"{tmp_path}/jobs cannot be written: "):
            it.write([*jobs("x", "y"), Update("old", {"name": "changed"}), broken, *jobs("z")])
        assert [(row["job_id"], row["name"]) for row in it.find()] == [("old", "")]
        it.write(jobs("next"))
        assert ids(it) == ["old", "next"]


def test_text_that_utf8_does_not_have_is_written_readably(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs") as it:
        it.write(jobs("a", error="no such file: \udcff.py", name="\ud800ü"))
        row = it.read("a")
        assert row and (row["error"], row["name"]) == ("no such file: \\udcff.py", "\\ud800ü")


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs") as it:
        it.write(jobs("old"))
        [pages] = sql(it, "PRAGMA page_count")
        sql(it, f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(StoreError, match=r"jobs cannot be written: .*full; make room"):
            it.write([*jobs("small"), *jobs("big", result=bytes(100_000))])
        assert ids(it) == ["old"]
        it.write(jobs("small"))
        assert ids(it) == ["old", "small"]


def test_a_write_that_the_system_refuses_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    script = """
    store = Store(path)
    store.write([Insert({"job_id": "old"})])
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        store.write([Insert({"job_id": str(n), "result": bytes(10_000)}) for n in range(100)])
    except StoreError as error:
        say("told:", error)
    say("left:", [row["job_id"] for row in store.find()])
    os._exit(0)
    """
    with driving(tmp_path, script, preamble=PREAMBLE) as driver:
        assert "jobs cannot be written: disk I/O error" in driver.says("told:")
        assert driver.says("left:") == "['old']"
        assert driver.ended() == 0
    with opened(tmp_path / "jobs") as it:
        assert ids(it) == ["old"]


def test_who_has_it_locked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
    import sqlite3
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    say("locked")
    signal.pause()
    """
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.05)
    with opened(tmp_path / "jobs") as it, driving(tmp_path, script, preamble=PREAMBLE) as driver:
        driver.says("locked")
        with pytest.raises(StoreError, match=f"process {driver.pid} has had it locked for more than 0.05 s"):
            it.write(jobs("a"))
        driver.signal(signal.SIGKILL)
        driver.ended()
        it.write(jobs("b"))
        assert ids(it) == ["b"]


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs") as it:
        assert sql(it, "PRAGMA synchronous") == (2,)
        assert sql(it, "PRAGMA journal_mode") == ("wal",)


def test_everything_that_was_reported_survives_a_kill_and_each_batch_is_whole(tmp_path: Path) -> None:
    script = """
    store = Store(path)
    first = 1 + max([int(row["name"]) for row in store.find()], default=-1)
    for batch in range(first, first + 10_000):
        store.write([Insert({"job_id": f"{batch}-{n}", "name": str(batch), "result": bytes(n * 100)}) for n in range(9)]
                    + [Update(f"{batch - 1}-8", {"status": "done", "finished": 1.0})])
        say("wrote", batch)
    """
    for kill_after in (0, 1, 5, 20, 60):
        with driving(tmp_path, script, preamble=PREAMBLE) as driver:
            eventually(lambda: driver.output.count("wrote ") > kill_after, 30)  # noqa: B023
            driver.signal(signal.SIGKILL)
            driver.ended()
            reported = [int(line.split()[1]) for line in driver.output.splitlines() if line.startswith("wrote ")]
        with opened(tmp_path / "jobs") as it:
            rows = it.find()
        last = int(rows[-1]["name"])
        assert reported[-1] <= last <= reported[-1] + 1
        assert [row["job_id"] for row in rows] == [f"{batch}-{n}" for batch in range(last + 1) for n in range(9)]
        assert [row["status"] for row in rows[8::9]] == ["done"] * last + ["queued"]


# --- whose it is


HOLD = """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    store = Store(path)
    store.write([Insert({"job_id": "theirs"})])
    say("holds")
    signal.sigwait([signal.SIGUSR1])
    try:
        store.write([Insert({"job_id": "late"}), Update("theirs", {"name": "late"})])
    except ConcurrencyError as error:
        say("fenced:", error)
    store.close()
    say("closed")
    signal.sigwait([signal.SIGUSR1])
    """


def test_the_second_opener_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with driving(tmp_path, HOLD, preamble=PREAMBLE) as driver:
        driver.says("holds")
        words = rf"{tmp_path}/jobs is in use by process {driver.pid}, heard of \d+\.\d s ago"
        for _ in range(2):
            with pytest.raises(ConcurrencyError, match=words):
                Store(tmp_path / "jobs")
        driver.signal(signal.SIGUSR1)
        driver.says("closed")
        with opened(tmp_path / "jobs") as it:  # given back, though the process lives
            assert ids(it) == ["theirs", "late"]
    assert "fenced" not in driver.output


def test_a_holder_in_the_middle_of_a_transaction_is_named_like_any_other(tmp_path: Path) -> None:
    script = """
    store = Store(path)
    store._connection.execute("BEGIN IMMEDIATE")
    say("writes")
    signal.pause()
    """
    with driving(tmp_path, script, preamble=PREAMBLE) as driver:
        driver.says("writes")
        with pytest.raises(ConcurrencyError, match=f"in use by process {driver.pid}"):
            Store(tmp_path / "jobs")


def test_one_process_cannot_open_it_twice(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs") as it:
        for name in ("jobs", "../" + tmp_path.name + "/jobs"):
            with pytest.raises(ConcurrencyError, match="open in this process already"):
                Store(tmp_path / name)
        it.write(jobs("a"))  # and its locks are still there
        with looking(tmp_path / "jobs") as stranger:
            stranger.execute("SELECT count(*) FROM jobs").fetchall()
        assert (tmp_path / "jobs-wal").exists()
    with opened(tmp_path / "jobs") as it:
        assert ids(it) == ["a"]


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_holder_is_taken_over_from_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reaped: bool
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1e9)
    with driving(tmp_path, HOLD, preamble=PREAMBLE) as driver:
        driver.says("holds")
        driver.signal(signal.SIGKILL)
        if reaped:
            driver.ended()
        eventually(lambda: not is_alive(driver.pid))
        with opened(tmp_path / "jobs") as it:
            assert ids(it) == ["theirs"]


def test_a_stopped_holder_is_taken_over_from_in_time_and_cannot_write_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driving(tmp_path, HOLD, preamble=PREAMBLE) as driver:
        driver.says("holds")
        driver.signal(signal.SIGSTOP)
        with pytest.raises(ConcurrencyError):
            Store(tmp_path / "jobs")
        monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)

        def taken() -> Store | None:
            with contextlib.suppress(ConcurrencyError):
                return Store(tmp_path / "jobs")
            return None

        it = eventually(taken)
        assert it is not None
        it.write(jobs("ours"))
        driver.signal(signal.SIGCONT)
        driver.signal(signal.SIGUSR1)
        assert "another process has taken over" in driver.says("fenced:")
        driver.says("closed")
        assert [(row["job_id"], row["name"]) for row in it.find()] == [("theirs", ""), ("ours", "")]
        it.beat()  # its close has not given ours back
        it.close()


def _leave(path: Path, **changes: Any) -> None:
    """Leave a store as if its holder had not closed it: this process's parent, but for the changes."""
    with opened(path) as it:
        it.write(jobs("a"))
    pid = os.getppid()
    holder = lease.myself()._replace(pid=pid, ticks=start_ticks(pid))._replace(**changes)
    with looking(path) as stranger:
        stranger.execute("INSERT INTO lease VALUES (1, ?, ?, ?, ?, ?, ?)", holder)


@pytest.mark.parametrize(
    "changes",
    [{"boot": "another"}, {"ticks": 1}, {"pid": 2**22 + 1}, {"beat": lease.now() - 31}],
    ids=["boot", "pid taken by another", "gone", "silent"],
)
def test_who_is_dead_or_silent_is_taken_over_from(tmp_path: Path, changes: dict[str, Any]) -> None:
    _leave(tmp_path / "jobs", **changes)
    with opened(tmp_path / "jobs") as it:
        it.write(jobs("b"))
        assert ids(it) == ["a", "b"]


@pytest.mark.parametrize("changes", [{}, {"namespace": "pid:[1]", "pid": 2**22 + 1}], ids=["lives", "cannot be seen"])
def test_who_may_live_is_not_taken_over_from(tmp_path: Path, changes: dict[str, Any]) -> None:
    _leave(tmp_path / "jobs", **changes)
    with pytest.raises(ConcurrencyError, match="is in use by process"):
        Store(tmp_path / "jobs")
    with looking(tmp_path / "jobs") as stranger:
        stranger.execute("UPDATE lease SET beat = beat - 31")
    with opened(tmp_path / "jobs") as it:
        assert ids(it) == ["a"]


def test_a_lease_that_was_not_given_back_does_not_lock_its_own_process_out(tmp_path: Path) -> None:
    it = Store(tmp_path / "jobs")
    it.write(jobs("a"))
    with looking(tmp_path / "jobs") as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        sql(it, "PRAGMA busy_timeout = 1")
        it.close()
    with opened(tmp_path / "jobs") as again:
        assert ids(again) == ["a"]


def test_beats_and_writes_renew_the_lease(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs") as it:
        for renew in (it.beat, lambda: it.write(jobs("a"))):
            [before] = sql(it, "SELECT beat FROM lease")
            begun = lease.now()
            renew()
            [after] = sql(it, "SELECT beat FROM lease")
            assert before < begun <= after <= it.renewed <= lease.now()


def test_of_many_that_open_at_once_one_has_it_and_the_others_are_told_so(tmp_path: Path) -> None:
    script = """
    path = os.path.join(os.path.dirname(path), "..", "jobs")
    had = 0
    for n in range(60):
        try:
            store = Store(path)
        except ConcurrencyError:
            continue
        had += 1
        store.write([Insert({"job_id": f"{os.getpid()}-{n}"})])
        store.close()
    say("had", had)
    """
    with contextlib.ExitStack() as stack:
        drivers = []
        for number in range(4):
            (tmp_path / str(number)).mkdir()
            drivers.append(stack.enter_context(driving(tmp_path / str(number), script, preamble=PREAMBLE)))
        for driver in drivers:
            assert driver.ended() == 0, str(driver)
        had = [int(driver.says("had")) for driver in drivers]
    with opened(tmp_path / "jobs") as it:
        assert len(it.find()) == sum(had) > 0


def test_a_forked_child_leaves_its_parents_store_alone(tmp_path: Path) -> None:
    script = """
    store = Store(path)
    store.write([Insert({"job_id": "a"})])
    if not (pid := os.fork()):
        for use in (store.waiting, store.counts, store.beat, store.find, lambda: store.read("a"),
                    lambda: store.write([Insert({"job_id": "child"})])):
            try:
                use()
            except StateError:
                continue
            say("it could")
        store.close()
        try:
            Store(path)
        except ConcurrencyError:
            sys.exit(7)  # with all that an interpreter does at its end
        sys.exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    store.write([Insert({"job_id": "b"})])
    store.beat()
    say("on")
    os._exit(0)
    """
    with driving(tmp_path, script, preamble=PREAMBLE) as driver:
        assert driver.ended() == 0, str(driver)
        assert driver.output == "on\n"
    with opened(tmp_path / "jobs") as it:
        assert ids(it) == ["a", "b"]


# --- the journal


class Failures(list[Exception]):
    """What `failed` has been called with; `first` can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.first: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def __call__(self, error: Exception) -> None:
        self.append(error)
        if not self.first.done():
            self.first.set_result(error)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in a loop in which no callback may raise."""
    raised = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
        await asyncio.wait_for(main(), 60)

    asyncio.run(watched())
    assert raised == []


def written(it: Journal, changes: Sequence[Change]) -> asyncio.Future[None]:
    """Put changes; the future is done with their `then`."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    it.put(changes, lambda: done.set_result(None))
    return done


@contextlib.asynccontextmanager
async def journaling(path: Path) -> AsyncIterator[Journal]:
    failures = Failures()
    it = await Journal.open(path, failures)
    try:
        yield it
    finally:
        await it.close()
    assert failures == []


def test_then_is_called_in_the_loop_when_it_is_on_the_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with journaling(tmp_path / "jobs") as it:
            seen: asyncio.Future[tuple[list[tuple[str]], threading.Thread]] = asyncio.get_running_loop().create_future()

            def then() -> None:
                with looking(tmp_path / "jobs") as stranger:
                    found = stranger.execute("SELECT job_id FROM jobs").fetchall()
                seen.set_result((found, threading.current_thread()))

            it.put(jobs("a"), then)
            assert await seen == ([("a",)], threading.current_thread())

    run(main)


def test_what_gathers_is_written_in_one_transaction_and_told_in_order_with_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with journaling(tmp_path / "jobs") as it:
            commits, told, calls = list[str](), list[int](), list[object]()
            busy, go = threading.Event(), threading.Event()

            def hold_up(it: Store) -> None:
                it._connection.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
                busy.set()
                assert go.wait(30)

            held = asyncio.create_task(it.ask(hold_up))
            await asyncio.sleep(0)
            assert busy.wait(30)
            loop = asyncio.get_running_loop()
            real = loop.call_soon_threadsafe

            def counted(*call: Any, **more: Any) -> asyncio.Handle:
                calls.append(call[0])
                return real(*call, **more)

            monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
            for number in range(50):
                it.put(jobs(number), functools.partial(told.append, number))
            asked = asyncio.create_task(it.ask(ids))
            await asyncio.sleep(0)
            assert (told, commits) == ([], [])
            go.set()
            assert await asked == [str(number) for number in range(50)]
            assert told == [*range(50)]
            assert commits == ["COMMIT"]
            assert len(calls) == 3  # of hold_up, of the fifty, and of the question
            await held

    run(main)


def test_the_loop_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with journaling(tmp_path / "jobs") as it:
            with looking(tmp_path / "jobs") as stranger:
                stranger.execute("BEGIN IMMEDIATE")
                done = [written(it, [change]) for change in jobs(*range(20))]
                for _ in range(50):
                    await asyncio.sleep(0.001)
                assert not any(future.done() for future in done)
                stranger.execute("ROLLBACK")
            await asyncio.gather(*done)

    run(main)


def test_close_writes_what_was_put(tmp_path: Path) -> None:
    told = list[int]()

    async def main() -> None:
        it = await Journal.open(tmp_path / "jobs", Failures())
        for number in range(100):
            it.put(jobs(number), functools.partial(told.append, number))
        await asyncio.gather(it.close(), it.close())
        assert told == [*range(100)]
        assert not [thread for thread in threading.enumerate() if thread.name == "orchestrator-store"]
        with pytest.raises(StateError, match="closed"):
            it.put([], lambda: None)
        with pytest.raises(StateError, match="closed"):
            await it.ask(ids)
        await it.close()

    run(main)
    with opened(tmp_path / "jobs") as it:
        assert len(it.find()) == 100


def test_a_question_that_raises_tells_whoever_asked_and_nobody_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with journaling(tmp_path / "jobs") as it:
            with pytest.raises(ZeroDivisionError):
                await it.ask(lambda store: 1 // 0)
            impatient = asyncio.create_task(it.ask(Store.counts))
            await asyncio.sleep(0)
            impatient.cancel()
            await written(it, jobs("a"))
            assert await it.ask(Store.counts) == {"queued": 1}

    run(main)


def test_after_a_failure_nothing_more_is_written_and_everybody_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        failures, told = Failures(), list[str]()
        it = await Journal.open(tmp_path / "jobs", failures)
        await written(it, jobs("old"))
        go = threading.Event()

        def fill(it: Store) -> None:
            [pages] = sql(it, "PRAGMA page_count")
            sql(it, f"PRAGMA max_page_count = {pages}")
            assert go.wait(30)

        held = asyncio.create_task(it.ask(fill))
        await asyncio.sleep(0)
        it.put(jobs("small"), lambda: told.append("small"))
        it.put(jobs("big", result=bytes(100_000)), lambda: told.append("big"))
        asked = asyncio.create_task(it.ask(ids))
        await asyncio.sleep(0)
        it.put(jobs("later"), lambda: told.append("later"))
        go.set()
        await held
        with pytest.raises(StoreError, match="full"):
            await asked
        error = await failures.first
        assert isinstance(error, StoreError)
        with pytest.raises(StoreError) as caught:
            it.put(jobs("last"), lambda: told.append("last"))
        assert caught.value is error
        with pytest.raises(StoreError, match="full"):
            await it.ask(ids)
        await it.close()
        assert failures == [error]
        assert told == []

    run(main)
    with opened(tmp_path / "jobs") as it:
        assert ids(it) == ["old"]


def test_a_failure_while_closing_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        failures, told = Failures(), list[str]()
        it = await Journal.open(tmp_path / "jobs", failures)
        it.put(jobs("a", "a"), lambda: told.append("a"))
        await it.close()
        assert [type(error) for error in failures] == [StoreError]
        assert told == []

    run(main)


def test_an_idle_journal_renews_its_lease_and_notices_that_it_has_lost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "HEARTBEAT_SECONDS", 0.02)

    async def main() -> None:
        failures = Failures()
        it = await Journal.open(tmp_path / "jobs", failures)
        with looking(tmp_path / "jobs") as stranger:
            beats = set[float]()

            def beaten() -> bool:
                beats.update(*stranger.execute("SELECT beat FROM lease"))
                return len(beats) > 3

            eventually(beaten)
            assert not failures
            stranger.execute("UPDATE lease SET token = 'another'")
        assert isinstance(await failures.first, ConcurrencyError)
        await it.close()
        assert len(failures) == 1

    run(main)
    with looking(tmp_path / "jobs") as stranger:
        assert stranger.execute("SELECT token FROM lease").fetchall() == [("another",)]


def test_questions_without_end_do_not_keep_it_from_renewing_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "HEARTBEAT_SECONDS", 0.05)

    async def main() -> None:
        async with journaling(tmp_path / "jobs") as it:

            def beat(store: Store) -> float:
                time.sleep(0.01)  # a slow question; the next one is waiting already
                [when] = sql(store, "SELECT beat FROM lease")
                return float(when)

            beats = await asyncio.gather(*(it.ask(beat) for _ in range(20)))
            assert beats[0] < beats[-1]

    run(main)


@pytest.mark.parametrize("problem", [StoreError, ConcurrencyError])
def test_opening_raises_what_the_store_raises(tmp_path: Path, problem: type[Exception]) -> None:
    async def main() -> None:
        failures = Failures()
        with contextlib.ExitStack() as stack:
            path = tmp_path / "jobs" if problem is ConcurrencyError else tmp_path / "nowhere" / "jobs"
            if problem is ConcurrencyError:
                stack.enter_context(opened(path))
            with pytest.raises(problem, match="jobs"):
                await Journal.open(path, failures)
        assert not [thread for thread in threading.enumerate() if thread.name == "orchestrator-store"]
        assert failures == []

    run(main)


def test_opening_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        opening = asyncio.create_task(Journal.open(tmp_path / "jobs", Failures()))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        for thread in threading.enumerate():
            if thread.name == "orchestrator-store":
                thread.join(30)

    run(main)
    with opened(tmp_path / "jobs") as it:
        assert it.find() == []


def test_the_thread_hears_no_signals(tmp_path: Path) -> None:
    async def main() -> None:
        async with journaling(tmp_path / "jobs"):
            [thread] = [thread for thread in threading.enumerate() if thread.name == "orchestrator-store"]
            assert thread.daemon
            status = Path(f"/proc/self/task/{thread.native_id}/status").read_text(encoding="ascii")
            [blocked] = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM):
                assert int(blocked, 16) >> number - 1 & 1

    run(main)


def test_when_the_loop_has_been_closed_what_was_put_is_written_and_the_thread_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "HEARTBEAT_SECONDS", 0.05)
    go = threading.Event()

    async def main() -> None:
        it = await Journal.open(tmp_path / "jobs", lambda error: None)
        held = asyncio.create_task(it.ask(lambda store: go.wait(30)))
        await asyncio.sleep(0)
        it.put(jobs("a"), lambda: None)
        held.cancel()

    run(main)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "orchestrator-store"]
    go.set()
    thread.join(30)
    assert not thread.is_alive()
    with looking(tmp_path / "jobs") as stranger:  # the lease has been given back
        assert stranger.execute("SELECT (SELECT count(*) FROM lease), job_id FROM jobs").fetchall() == [(0, "a")]


def test_a_program_that_forgets_to_close_ends_and_loses_nothing_that_it_was_told(tmp_path: Path) -> None:
    script = """
    async def main():
        global journal
        journal = await Journal.open(path, print)
        done = asyncio.get_running_loop().create_future()
        journal.put([Insert({"job_id": "a"})], lambda: done.set_result(None))
        await done
    asyncio.run(main())
    say("end")
    """
    with driving(tmp_path, script, preamble=PREAMBLE) as driver:
        driver.says("end")
        assert driver.ended(4.0) == 0  # before the next beat, at which the thread would end by itself
        assert (driver.output, driver.error) == ("end\n", "")
    with opened(tmp_path / "jobs") as it:
        assert ids(it) == ["a"]


def test_a_lock_of_this_process_is_told_as_that_and_closing_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUSY_SECONDS", 2.0)
    it = Store(tmp_path / "jobs")
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another connection of this process has had it locked"):
            it.write([Insert({"job_id": "a"})])
        with Stopwatch() as watch:
            it.close()
        assert watch.seconds < 1.5


def test_forks_of_a_program_with_a_journal_leave_it_alone(tmp_path: Path) -> None:
    script = """
    import threading, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, since Python 3.12
    begun, over = threading.Event(), threading.Event()
    async def main():
        global journal
        journal = await Journal.open(path, print)
        for n in range(300):
            done = asyncio.get_running_loop().create_future()
            journal.put([Insert({"job_id": f"{n}-{m}", "result": bytes(9000)}) for m in range(40)],
                        lambda: done.set_result(None))
            begun.set()
            await done
            if over.is_set():
                break
        await journal.close()
        say("wrote", n + 1)
    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    begun.wait()
    for _ in range(20):  # while it writes
        if not (pid := os.fork()):
            try:
                journal.put([], print)
            except StateError:
                sys.exit(7)  # with all that an interpreter does at its end
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    over.set()
    thread.join()
    """
    with driving(tmp_path, script, preamble=PREAMBLE, flags=()) as driver:
        assert driver.ended() == 0, str(driver)
        assert driver.error == ""
        batches = int(driver.says("wrote"))
    with opened(tmp_path / "jobs") as it:
        assert ids(it) == [f"{n}-{m}" for n in range(batches) for m in range(40)]
