"""What failures of the commands of a `pipe` mean, and that none of them leaves anything behind."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Ending, pipe
from tests.faults.driver import driving
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.surface.test_pipe import BOTH_WAYS, codes
from tests.waiting import lines_of, wait_gone


def test_a_command_that_fails_feeds_nothing_to_the_next(tmp_path: Path) -> None:
    """X4"""
    result = pipe(["echo whole", "cat; echo half; exit 3", f"touch {tmp_path}/ran; cat", "cat"])
    assert (result.success, result.return_code, result.ending) == (False, 3, Ending.RAISED)
    assert codes(result) == [0, 3, 1, 1]
    assert [stage.ending for stage in result.stages[2:]] == [Ending.SKIPPED] * 2
    assert "stage 2 of 4" in result.error and "exit 3" in result.error
    assert result.stages[1].output == "whole\nhalf\n"
    assert result.output == ""
    assert not (tmp_path / "ran").exists()


def test_what_a_failing_command_had_printed_is_kept_within_bounds() -> None:
    result = pipe(["head -c 5000000 /dev/zero; echo last; exit 3", "cat"], output_limit=1000)
    kept = result.stages[0].streams[0]
    assert kept.startswith(b"\0\0") and kept.endswith(b"\0last\n")
    assert b"bytes of output cut" in kept
    assert len(kept) < 1200


def test_at_once_a_middle_command_that_fails_makes_the_pipe_fail_and_all_codes_are_told(tmp_path: Path) -> None:
    """X4"""
    pids = tmp_path / "pids"
    first, last = f"echo $$ >> {pids}; exec sleep 600", f"echo $$ >> {pids}; exec sleep 600"
    middle = f"while [ $(cat {pids} 2>/dev/null | wc -l) -lt 2 ]; do sleep 0.02; done; exit 9"
    with Stopwatch() as watch:
        result = pipe([first, middle, last], stream=True, timeout=60)
    assert watch.seconds < 10 + NOISE_SECONDS
    assert (result.success, result.return_code) == (False, 9)
    assert codes(result) == [130, 9, 130]
    assert "stage 2 of 3" in result.error
    for pid in map(int, lines_of(pids)):
        wait_gone(pid, 5)


@pytest.mark.parametrize("missing", ["no-such-command --x", ["no-such-command", "--x"]], ids=["line", "list"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_command_that_is_not_found_stops_the_others_at_once(place: int, missing: str | list[str]) -> None:
    """X4"""
    commands: list[str | list[str]] = ["sleep 600", "sleep 600; cat", "sleep 600"]
    commands[place] = missing
    with Stopwatch() as watch:
        result = pipe(commands, stream=True)
    assert watch.seconds < 5 + 2 * NOISE_SECONDS
    assert (result.success, result.return_code) == (False, 127)
    assert result.stages[place].return_code == 127
    assert "no-such-command" in result.error
    assert all(code in (127, 130, 1) for code in codes(result))


def test_in_turn_a_command_that_is_not_found_is_a_failed_result() -> None:
    result = pipe(["echo x", ["no-such-command"], "cat"])
    assert codes(result) == [0, 127, 1]
    assert (result.return_code, result.ending) == (127, Ending.RAISED)


@BOTH_WAYS
def test_an_unterminated_quote_is_a_failed_result(stream: bool) -> None:
    result = pipe(["echo x", "echo 'never closed"], stream=stream)
    assert (result.success, result.return_code) == (False, 2)
    assert result.error


@pytest.mark.parametrize("commands", [["yes", "head -n 2"], [["yes"], "cat", ["head", "-n", "2"]]])
def test_a_reader_that_wants_no_more_is_no_failure(commands: list[Any]) -> None:
    """X5"""
    with Stopwatch() as watch:
        result = pipe(commands, stream=True)
    assert watch.seconds < 5 + NOISE_SECONDS
    assert (result.success, result.return_code, result.output) == (True, 0, "y\ny\n")
    assert codes(result)[0] == 141
    assert result.error == ""


def test_a_reader_that_fails_is_to_blame_and_not_the_writer_that_it_stopped() -> None:
    """X5"""
    result = pipe(["yes", "head -n 1; exit 4", "cat"], stream=True, timeout=30)
    assert (result.success, result.return_code) == (False, 4)
    assert "stage 2 of 3" in result.error


def test_a_last_command_that_dies_of_a_closed_pipe_has_failed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = pipe(["yes", "cat"], stream=True, stdout=writing, timeout=30)
    finally:
        os.close(writing)
    assert not result.success
    assert result.stages[1].return_code in (1, 141)


@BOTH_WAYS
def test_the_timeout_is_for_the_whole_pipe(tmp_path: Path, stream: bool) -> None:
    """Each command would be in time."""
    pids = tmp_path / "pids"
    command = f"echo $$ >> {pids}; cat; echo partial; exec sleep 1.2"
    with Stopwatch() as watch:
        result = pipe([command] * 3 if not stream else [command, "cat", "sleep 600"], stream=stream, timeout=2)
    assert watch.seconds < 2 + 1 + 1 + 2 * NOISE_SECONDS
    assert (result.success, result.ending, result.return_code) == (False, Ending.TIMED_OUT, 124)
    assert len(result.stages) == 3
    for pid in map(int, lines_of(pids)):
        wait_gone(pid, 5)


@BOTH_WAYS
def test_a_command_that_passes_its_memory_limit_ends_the_pipe(stream: bool) -> None:
    hungry = [sys.executable, "-c", "import time; held = bytearray(300 << 20); time.sleep(600)"]
    result = pipe(["echo x", hungry, "cat"], memory_limit="100M", stream=stream, timeout=60)
    assert (result.success, result.ending) == (False, Ending.OUT_OF_MEMORY)


# What must not be left


@BOTH_WAYS
def test_a_background_child_that_a_command_leaves_is_stopped(tmp_path: Path, stream: bool) -> None:
    """X3; it has the pipe open, for which the next command must not wait for ever."""
    pid = tmp_path / "pid"
    with Stopwatch() as watch:
        result = pipe([f"sleep 600 & echo $! > {pid}; echo done", "cat"], stream=stream)
    assert watch.seconds < 5 + NOISE_SECONDS
    assert (result.success, result.output) == (True, "done\n")
    assert "stopped what it left running" in result.error
    wait_gone(int(pid.read_text()), 5)


@BOTH_WAYS
def test_a_flood_from_the_last_command_is_kept_as_head_and_tail(stream: bool) -> None:
    """O3"""
    flood = "cat; head -c 50000000 /dev/zero | tr '\\0' x; echo; echo last"
    result = pipe(["echo first", flood], stream=stream, output_limit=2000)
    assert result.success
    assert result.output.startswith("first\nxxx") and result.output.endswith("xxx\nlast\n")
    assert "bytes of output cut" in result.output
    assert len(result.output) < 3000


def test_pipes_after_pipes_leave_no_descriptor() -> None:
    """M9"""

    def some() -> None:
        pipe(["echo x", "cat", "cat"])
        pipe(["echo x", "cat", "cat"], stream=True)
        pipe(["echo x", "exit 3", "cat"])
        pipe(["yes", ["no-such-command"]], stream=True)
        pipe(["cat"], stdin="x")

    some()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        some()
        assert len(os.listdir("/proc/self/fd")) == before


@BOTH_WAYS
def test_ctrl_c_in_a_program_that_runs_a_pipe_leaves_nothing(tmp_path: Path, stream: bool) -> None:
    """S1"""
    script = f"""
    import shlex
    hangs = "echo $$ > " + shlex.quote(path("pid.new")) + "; mv pid.new pid; sleep 600 & wait"
    try:
        pipe([hangs, "cat", "sleep 600"], stream={stream})
    except KeyboardInterrupt:
        say("interrupted", len(os.listdir("/proc/self/fd")))
    """
    with driving(tmp_path, script) as driver:
        [pid] = driver.announced("pid")
        with Stopwatch() as watch:
            driver.signal(2)
            driver.says("interrupted", 20)
            assert driver.ended() == 0
        assert watch.seconds < 5 + NOISE_SECONDS
        assert driver.error == ""
        wait_gone(pid, 5)
        driver.leaves_nothing()


def test_at_once_a_command_that_cannot_be_started_for_want_of_descriptors_leaves_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M5: the second slot cannot be had, and the first command would wait for its reader for ever."""
    make, made = os.eventfd, list[int]()

    def scarce(*args: int) -> int:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(make(*args))
        return made[0]

    monkeypatch.setattr(os, "eventfd", scarce)
    with Stopwatch() as watch:
        result = pipe(["yes", "head -1"], stream=True, timeout=60)
    assert watch.seconds < 10 + NOISE_SECONDS
    assert not result.success
    assert "Too many open files" in result.error


def test_in_turn_no_more_than_two_temporary_files_are_held_at_a_time(tmp_path: Path) -> None:
    """What five commands pass on would otherwise fill the disk five times."""
    count = f"cat; ls -l /proc/{os.getpid()}/fd | grep -c '{tempfile.gettempdir()}/.*deleted' >> {tmp_path}/held"
    assert pipe(["echo x", count, count, count, count]).success
    assert all(int(held) <= 3 for held in lines_of(tmp_path / "held"))  # one is open twice: to write, and to read
