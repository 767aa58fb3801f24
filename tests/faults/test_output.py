"""Rows O: what tasks and scripts write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import BatchRunner, Ending, ParallelRunner, Pool, run_parallel
from tests import crimes
from tests.faults.driver import driving
from tests.faults.street import NOISE_SECONDS, Stopwatch, Street
from tests.waiting import eventually, wait_gone

MB = 1 << 20
WAYS = ("printed", "raw", "child", "from C", "without an end")


@pytest.mark.parametrize(
    ("then", "ending"),
    [
        (crimes.sleep_for_ever, Ending.TIMED_OUT),
        (crimes.hold_the_gil, Ending.TIMED_OUT),
        (crimes.touch_nothing, Ending.CRASHED),
        (partial(crimes.exit_at_once, 0), Ending.CRASHED),
        (partial(crimes.raise_it, ValueError("told")), Ending.RAISED),
        (partial(crimes.raise_it, SystemExit(3)), Ending.RAISED),
    ],
    ids=["interrupted", "killed", "crashed", "exited", "raised", "exit"],
)
def test_whatever_ends_a_task_what_it_wrote_is_kept(street: Street, then: Callable[[], Any], ending: Ending) -> None:
    """O1"""
    [result] = street.run(partial(crimes.talk_and, "X", then), timeout=1.5, grace=0.3)
    assert result.ending is ending
    for way in WAYS:
        assert f"X {way}" in result.output
    assert "X complains" in result.error
    assert "X to stderr" in result.error


@pytest.mark.parametrize("workers", [1, 2])
def test_output_is_never_mixed_between_tasks(workers: int) -> None:
    """O2: also in chunks, and when the last line is not ended."""
    numbers = range(60)
    results = run_parallel([partial(crimes.talk_every_way, f"<{number}>") for number in numbers], workers)
    for number, result in zip(numbers, results, strict=True):
        assert result.ending is Ending.OK
        assert result.output.count(f"<{number}>") == result.output.count("<") == len(WAYS)
        assert result.error.count(f"<{number}>") == result.error.count("<") == 2


def test_output_of_tiny_tasks_is_never_mixed_in_large_chunks() -> None:
    """O2"""
    results = list(ParallelRunner(2).map(partial(print, end=""), range(5000)))
    assert [result.output for result in results] == [str(number) for number in range(5000)]


def test_a_flood_is_cut_to_head_and_tail_and_says_how_much_is_gone(street: Street) -> None:
    """O3"""
    size = 300 * MB
    before = crimes.own_memory()
    [result] = street.run(partial(crimes.flood, size), output_limit=100_000, timeout=100)
    assert result.ending is Ending.OK
    total = size + len("first line\nlast line\n")
    head, _, rest = result.output.partition("\n[... ")
    count, _, tail = rest.partition(" bytes of output cut ...]\n")
    assert head.startswith("first line\n")
    assert tail.endswith("last line\n")
    assert (len(head), len(tail)) == (50_000, 50_000)
    assert int(count) == total - 100_000
    assert crimes.own_memory() - before < 100 * MB


def test_a_flood_that_never_ends_is_stopped_in_time_and_takes_bounded_memory(tmp_path: Path) -> None:
    """O3"""
    script = tmp_path / "flood.py"
    script.write_text("from tests import crimes; crimes.flood_for_ever()", encoding="utf-8")
    before = crimes.own_memory()
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with Stopwatch() as watch:
        [task] = run_parallel([crimes.flood_for_ever], 1, timeout=1, grace=0.5, output_limit=10_000)
        [command] = BatchRunner(timeout=1, grace=0.5, output_limit=10_000, env=env).run_batch([script])
    for result in (task, command):
        assert result.ending is Ending.TIMED_OUT
        assert "bytes of output cut" in result.output
        assert 10_000 < len(result.output) < 10_100
    assert watch.seconds < 2 * (1.5 + 1 + NOISE_SECONDS)
    assert crimes.own_memory() - before < 100 * MB


def test_what_a_task_has_written_does_not_stay_in_memory(tmp_path: Path) -> None:
    """O3: the files behind the output are given back, by a worker that lives on."""

    def blocks() -> int:
        return sum(os.stat(f"/proc/self/fd/{number}").st_blocks * 512 for number in (1, 2))

    with Pool(1) as pool:
        for _ in range(20):
            pool.submit(crimes.flood, 8 * MB).result()
        assert pool.submit(blocks).result() <= 20 * MB


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"caf\xe9 \xff\xfe", "caf� ��"),
        (b"a\x00b", "a\x00b"),
        (b"one\r\ntwo\r\n", "one\r\ntwo\r\n"),
        (b"no end", "no end"),
        ("ünï → 🎉\n".encode(), "ünï → 🎉\n"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
    ],
    ids=["invalid", "nul", "crlf", "open", "unicode", "escapes"],
)
def test_any_bytes_become_text_and_stay_bytes_on_request(tmp_path: Path, data: bytes, text: str) -> None:
    """O4"""
    script = tmp_path / "writes.py"
    script.write_text(f"import os; os.write(1, {data!r}); os.write(2, {data!r})", encoding="utf-8")
    [task] = run_parallel([partial(crimes.write_bytes, data)], 1)
    [command] = BatchRunner().run_batch([script])
    for result in (task, command):
        assert result.output == text
        assert result.streams[0] == data
        assert json.loads(json.dumps(result.output)) == text
    assert command.error == text


def test_a_cut_in_the_middle_of_a_character_still_gives_text() -> None:
    """O4, O3"""
    [result] = run_parallel([partial(crimes.write_bytes, ("→" * 1000).encode())], 1, output_limit=100)
    assert result.ending is Ending.OK
    assert "2900 bytes of output cut" in result.output
    json.dumps(result.output).encode()


def test_a_child_that_talks_on_delays_nobody_and_is_credited_to_nobody(street: Street) -> None:
    """O5"""
    announcements = [street.path(f"talker-{number}") for number in range(2)]
    with Stopwatch() as watch:
        results = street.run(*(partial(crimes.leave_a_child_that_talks, path, "blah") for path in announcements))
        later = run_parallel([partial(print, number) for number in range(20)], 2)
    assert [result.value for result in results] == ["left a talker"] * 2
    assert all("stopped what this task left running" in result.error for result in results)
    assert [result.output for result in later] == [f"{number}\n" for number in range(20)]
    assert watch.seconds < 5 + NOISE_SECONDS
    for number in range(2):
        wait_gone(street.pids(f"talker-{number}")[0], 5)


def test_a_script_whose_child_talks_on_ends_when_the_script_does(tmp_path: Path) -> None:
    """O5"""
    script = tmp_path / "leaves.sh"
    script.write_text("#!/bin/sh\n(while :; do echo blah; sleep 0.01; done) &\necho $! > pid\necho said\n")
    script.chmod(0o755)
    with Stopwatch() as watch:
        [result] = BatchRunner(cwd=tmp_path).run_batch([script])
    assert result.ending is Ending.OK
    assert "said\n" in result.output
    assert "stopped what it left running" in result.error
    assert watch.seconds < 3 + NOISE_SECONDS
    wait_gone(int((tmp_path / "pid").read_text()), 5)


def test_standard_input_is_empty_for_tasks_and_scripts_and_untouched_for_the_parent(tmp_path: Path) -> None:
    """O6"""
    script = """
    with open(path("reads.py"), "w") as file:
        file.write("import sys; print(repr(sys.stdin.read()))")
    say("task", repr(run_parallel([crimes.read_stdin], 1)[0].value))
    say("script", BatchRunner().run_batch([path("reads.py")])[0].output.strip())
    say("nested", run_parallel([partial(BatchRunner().run_batch, [path("reads.py")])], 1)[0].value[0].output.strip())
    say("parent", repr(sys.stdin.read()))
    """
    with driving(tmp_path, script) as driver:
        driver.ended()
    again = subprocess.run(
        [sys.executable, str(tmp_path / "driver.py")],
        input="for the parent",
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        check=True,
        timeout=60,
    )
    assert again.stdout.splitlines() == ["task ''", "script ''", "nested ''", "parent 'for the parent'"]


@pytest.mark.slow
def test_a_hundred_thousand_tasks_that_print_leave_no_file(tmp_path: Path) -> None:
    """O7"""
    before = set(os.listdir(tempfile.gettempdir())), set(os.listdir("/dev/shm"))
    descriptors = len(os.listdir("/proc/self/fd"))
    lengths = [len(result.output) for result in ParallelRunner(2).map(print, range(100_000))]
    assert sum(lengths) == sum(len(str(number)) + 1 for number in range(100_000))
    assert set(os.listdir(tempfile.gettempdir())) <= before[0]
    assert not {name for name in set(os.listdir("/dev/shm")) - before[1] if str(os.getpid()) in name}
    eventually(lambda: len(os.listdir("/proc/self/fd")) < descriptors + 40)
