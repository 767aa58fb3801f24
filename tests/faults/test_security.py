"""Rows Z, as far as the pool is concerned: what it opens, signals and shows."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import psutil
import pytest

from orchestrator import BatchRunner, Pool, run_parallel
from tests import crimes
from tests.waiting import eventually, is_alive
from workers import tree


def test_nothing_is_put_where_another_user_could_write() -> None:
    """Z1: pipes, sockets and unnamed memory only."""

    def open_files() -> list[str]:
        found = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one that lists them
                found.append(os.readlink(f"/proc/self/fd/{name}"))
        return found

    shared = (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")
    with Pool(2) as pool:
        files = [*pool.submit(open_files).result(), *open_files()]
        created = [name for name in os.listdir(tempfile.gettempdir()) if not name.startswith("pymp-")]
    assert any("memfd:orchestrator" in name for name in files)
    mine = [name for name in files if name.startswith(shared) and "(deleted)" not in name]
    assert [name for name in mine if "orchestrator" in name] == []
    assert created == []


def test_values_of_the_environment_are_in_no_command_line_and_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Z3"""
    secret = "correct-horse-battery"
    monkeypatch.setenv("PASSWORD", secret)
    script = tmp_path / "fails.py"
    script.write_text("import time; time.sleep(0.3); 1 / 0")
    with Pool(1) as pool:
        future = pool.submit(crimes.announce_and_wait_for, str(tmp_path / "busy"), str(tmp_path / "go"))
        eventually((tmp_path / "busy").exists)
        lines = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
        (tmp_path / "go").touch()
        assert future.result(20) == "went"
    [result] = BatchRunner(env={"TOKEN": secret}).run_batch([script])
    [task] = run_parallel([partial(crimes.touch_nothing)], 1, env={"TOKEN": secret})
    assert lines
    assert not [text for text in (*lines, repr(result), repr(task)) if secret in text]


@pytest.mark.parametrize("whose", ["nobody", "the first", "ours"])
def test_a_tree_never_holds_ourselves_or_the_first_processes(whose: str) -> None:
    """Z5"""
    pid = {"nobody": 0, "the first": 1, "ours": os.getpid()}[whose]
    root = tree.Root("a-cookie-nobody-has", pid, tree.start_ticks(pid) if pid else 0)
    assert [process.pid for process in tree.members(root) if process.pid in (0, 1, os.getpid(), os.getppid())] == []


def test_a_process_that_got_a_dead_ones_number_is_not_touched() -> None:
    """Z5, T12"""
    stranger = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        wrong = tree.Root("a-cookie-nobody-has", stranger.pid, tree.start_ticks(stranger.pid) - 1)
        assert tree.members(wrong) == []
        assert tree.stop([wrong]) == []
        assert is_alive(stranger.pid)
        right = tree.Root("a-cookie-nobody-has", stranger.pid, tree.start_ticks(stranger.pid))
        assert [line.split()[0] for line in tree.stop([right])] == [str(stranger.pid)]
        assert stranger.wait(10) == -9
    finally:
        stranger.kill()
        stranger.wait()


def test_stopping_a_task_spares_its_siblings_and_our_own_group() -> None:
    """Z5"""
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    try:
        assert os.getpgid(bystander.pid) == os.getpgid(0)
        results = run_parallel([crimes.sleep_for_ever, crimes.hold_the_gil], 2, timeout=0.5, grace=0.1)
        assert not any(result.success for result in results)
        assert is_alive(bystander.pid)
    finally:
        bystander.kill()
        bystander.wait()
