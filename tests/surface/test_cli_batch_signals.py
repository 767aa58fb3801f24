"""`orchestrator batch`: Ctrl-C once and twice, SIGTERM, SIGHUP, and the picture on a terminal."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.surface.shell import DEADLINE_SECONDS, WAITS, Shell, Terminal, end_of, read_until
from tests.waiting import eventually, is_alive

STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal of 80 columns and 24 lines."""
    terminal = Terminal(80, 24)
    yield terminal
    terminal.close()


def test_the_first_ctrl_c_starts_no_more_scripts_and_lets_the_running_ones_finish(gate: Shell) -> None:
    script = gate.script("waits.py", WAITS)
    process = gate.start("-j2", *[script] * 5)
    eventually(lambda: len(gate.waiting()) == 2, DEADLINE_SECONDS, "two scripts run")
    process.send_signal(signal.SIGINT)
    notice = read_until(process.stderr, "\n")
    # The script may say that it runs before its start has been reported: then it is not counted yet.
    assert re.fullmatch(r"stopping: waiting for \d running; press Ctrl-C again to kill them\n", notice)
    gate.release()
    done = end_of(process)
    assert done.returncode == 130
    assert "5 scripts: 2 ok, 3 skipped in " in done.stdout
    assert "stopped by SIGINT" in done.stdout
    assert len(gate.waiting()) == 2
    assert "Traceback" not in done.stderr


def test_the_second_ctrl_c_kills_the_running_scripts_and_shows_what_is_known(gate: Shell) -> None:
    script = gate.script("waits.py", STUBBORN)
    process = gate.start("-j2", *[script] * 3, "--grace", "0.1")
    eventually(lambda: len(gate.waiting()) == 2, DEADLINE_SECONDS, "two scripts run")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "stopping: waiting")
    process.send_signal(signal.SIGINT)
    done = end_of(process)
    assert done.returncode == 130
    assert "3 scripts: 2 cancelled, 1 skipped in " in done.stdout
    assert "begun" in done.stdout
    assert not any(map(is_alive, gate.waiting()))


def test_sigterm_kills_the_running_scripts_at_once(gate: Shell) -> None:
    script = gate.script("waits.py", WAITS)
    process = gate.start("-j2", "--json", *[script] * 3)
    eventually(lambda: len(gate.waiting()) == 2, DEADLINE_SECONDS, "two scripts run")
    process.send_signal(signal.SIGTERM)
    done = end_of(process)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 143
    assert document["stopped_by"] == "SIGTERM"
    assert document["counts"] == {"cancelled": 2, "skipped": 1}
    assert not any(map(is_alive, gate.waiting()))


def test_sighup_starts_no_more_scripts_and_lets_the_running_ones_finish(gate: Shell) -> None:
    script = gate.script("waits.py", WAITS)
    process = gate.start("-j2", "--json", *[script] * 3)
    eventually(lambda: len(gate.waiting()) == 2, DEADLINE_SECONDS, "two scripts run")
    process.send_signal(signal.SIGHUP)
    assert read_until(process.stderr, "\n").startswith("stopping: waiting for ")
    gate.release()
    done = end_of(process)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 129
    assert document["counts"] == {"ok": 2, "skipped": 1}


def test_sigusr1_tells_what_is_running_and_changes_nothing(gate: Shell) -> None:
    process = gate.start(gate.script("waits.py", WAITS))
    eventually(gate.waiting, DEADLINE_SECONDS, "the script runs")

    def is_listed() -> bool:
        process.send_signal(signal.SIGUSR1)
        # Its start may not have been reported yet: then there is one line only.
        return re.fullmatch(r"running: 1\n +\d+ +\d+ m?s  waits.py\n", read_until(process.stderr, "\n")) is not None

    eventually(is_listed, DEADLINE_SECONDS, "the script is listed")
    gate.release()
    assert end_of(process).returncode == 0


def test_a_hangup_is_ignored_under_nohup(gate: Shell) -> None:
    process = gate.start(gate.script("waits.py", WAITS), ignored=frozenset({signal.SIGHUP}))
    eventually(gate.waiting, DEADLINE_SECONDS, "the script runs")
    process.send_signal(signal.SIGHUP)
    gate.release()
    done = end_of(process)
    assert done.returncode == 0, done.stderr


def test_a_terminal_shows_the_running_scripts_and_then_the_report_alone(gate: Shell, terminal: Terminal) -> None:
    process = gate.start(
        gate.script("waits.py", WAITS),
        gate.script("a.py"),
        "-j2",
        stdout=terminal.descriptor,
        stderr=terminal.descriptor,
        env={"COLUMNS": "0"},  # unknown, as some programs set it: not a terminal of no width
    )
    picture = terminal.read_until("1/2  1 running")
    assert "waits.py" in picture
    eventually(gate.waiting, DEADLINE_SECONDS, "the script runs")
    gate.release()
    assert end_of(process).returncode == 0
    text = terminal.read_all()
    report = text[text.rindex("\x1b[?25h") :]
    assert re.search(r"^waits.py.*ok", report, re.MULTILINE)
    assert "2 scripts: " in report


@pytest.mark.parametrize(("columns", "lines"), [(20, 10), (40, 6), (200, 50)])
def test_the_picture_fits_the_terminal(gate: Shell, columns: int, lines: int) -> None:
    terminal = Terminal(columns, lines)
    scripts = [gate.script(f"a/rather/long/path/to/script_number_{n}.py", WAITS) for n in range(12)]
    process = gate.start("-j12", *scripts, stdout=terminal.descriptor, stderr=terminal.descriptor)
    eventually(lambda: len(gate.waiting()) == 12, DEADLINE_SECONDS, "all scripts run")
    hidden = "... and " if lines < 14 else "script_number_11.py"
    seen = terminal.read_until("0/12")
    while hidden not in seen:
        seen += terminal.read_until("0/12")
    process.send_signal(signal.SIGTERM)
    seen += terminal.read_all()
    assert process.wait() == 143
    terminal.close()
    pictures = [picture for picture in seen.split("\x1b[?25h")[0].split("\r\x1b[2K") if picture]
    for picture in pictures:
        drawn = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", picture).replace("\r", "").split("\n")
        assert len(drawn) < lines
        assert max(map(len, drawn)) <= columns


def test_ctrl_c_on_a_terminal_shows_the_notice_in_the_picture(gate: Shell, terminal: Terminal) -> None:
    process = gate.start(gate.script("waits.py", WAITS), stderr=terminal.descriptor)
    eventually(gate.waiting, DEADLINE_SECONDS, "the script runs")
    process.send_signal(signal.SIGINT)
    terminal.read_until("press Ctrl-C again to kill")
    gate.release()
    done = end_of(process)
    assert done.returncode == 130
    assert "1 script: 1 ok in " in done.stdout


@pytest.mark.parametrize("words", [["batch", "-v", "big.py", "big.py"], ["run", "big.py"], ["pipe", "cat /dev/zero"]])
def test_a_command_whose_output_nobody_reads_still_ends_by_signals_and_leaves_nothing(
    gate: Shell, words: list[str]
) -> None:
    text = "import os\nopen(f'started-{os.getpid()}', 'w').close()\nprint('x' * 2_000_000)\n"
    gate.script("big.py", text)
    process = gate.command(*words)
    assert process.stdout is not None
    process.stdout.read(1)  # it writes; nothing more is read of it

    def has_ended() -> bool:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        return process.returncode is not None

    eventually(has_ended, DEADLINE_SECONDS, "the command ends")
    assert process.returncode in (143, -signal.SIGTERM)
    eventually(lambda: not any(map(is_alive, gate.waiting())), DEADLINE_SECONDS, "its scripts have ended")
