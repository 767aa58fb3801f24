"""`orchestrator pipe`: commands that feed each other, with our standard streams at both ends."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.surface.shell import DEADLINE_SECONDS, Shell, end_of
from tests.waiting import eventually, is_alive, lines_of

BYTES = bytes(range(256)) * 1000


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_bytes_go_from_our_standard_input_through_every_command_to_our_standard_output(
    shell: Shell, stream: list[str]
) -> None:
    (shell.folder / "in").write_bytes(BYTES)
    with open(shell.folder / "in", "rb") as stdin, open(shell.folder / "out", "wb") as stdout:
        done = shell.run("pipe", *stream, "cat", "tee seen | cat", "cat", stdin=stdin, stdout=stdout)
    assert done.returncode == 0, done.stderr
    assert (shell.folder / "out").read_bytes() == BYTES


def test_commands_are_lines_for_the_shell_run_where_and_with_what_is_asked_for(shell: Shell) -> None:
    (shell.folder / "in here").mkdir()
    done = shell.run("pipe", "--cwd", "in here", "--env", "A=x  y", 'pwd; echo "$A" | tr x z')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{shell.folder}/in here\nz  y\n"


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_command_that_fails_in_the_middle_is_named_with_its_code(shell: Shell, stream: list[str]) -> None:
    """X4"""
    done = shell.run("pipe", *stream, "echo one", "cat > seen; echo why >&2; exit 4", "cat > reached")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "why\norchestrator: stage 2 of 3 (cat > seen; echo why >&2; exit 4) ended with code 4"
    )
    assert (shell.folder / "seen").read_text() == "one\n"
    assert stream or not (shell.folder / "reached").exists()


def test_a_command_that_is_not_found_fails_with_127(shell: Shell) -> None:
    done = shell.run("pipe", "echo x", "no-such-command")
    assert done.returncode == 1
    assert "stage 2 of 2 (no-such-command) ended with code 127" in done.stderr


def test_a_stream_that_ends_early_is_no_failure(shell: Shell) -> None:
    """X5"""
    done = shell.run("pipe", "--stream", "yes", "head -2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\ny\n", "")


def test_limits_stop_a_command_with_all_it_has_started(shell: Shell) -> None:
    hangs = shell.run("pipe", "--timeout", "1s", "--kill-after", "0.1", "sleep 600 & echo $! > pid; wait")
    greedy = 'exec python3 -c "import time; x = bytearray(300_000_000); time.sleep(600)"'
    hungry = shell.run("pipe", "--memory", "100M", greedy)
    assert (hangs.returncode, hungry.returncode) == (1, 1)
    assert "ended with code 124: the pipe's time limit passed (1 s)" in hangs.stderr
    assert "ended with code 137: used " in hungry.stderr
    assert not is_alive(int((shell.folder / "pid").read_text()))


def test_json_is_one_document_with_every_command(shell: Shell) -> None:
    """O4"""
    done = shell.run("pipe", "--json", "printf 'a\\377'", "cat; echo why >&2; exit 3", "cat")
    document = json.loads(done.stdout)
    assert done.stdout.isascii()
    assert done.returncode == document["exit_code"] == 1
    assert document["success"] is False
    assert document["reason"].startswith("stage 2 of 3")
    assert [(c["ending"], c["return_code"]) for c in document["commands"]] == [("ok", 0), ("raised", 3), ("skipped", 1)]
    assert document["commands"][1]["stderr"] == "why\n"
    fine = json.loads(shell.run("pipe", "--json", "printf 'a\\377'").stdout)
    assert (fine["success"], fine["stdout"], fine["reason"]) == (True, "a\ufffd", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_whole_pipe_at_once(shell: Shell, number: signal.Signals) -> None:
    process = shell.command("pipe", "--stream", "echo $$ >> pids; exec sleep 600", "echo $$ >> pids; exec cat")
    eventually(lambda: len(lines_of(shell.folder / "pids")) == 2, DEADLINE_SECONDS, "both run")
    process.send_signal(number)
    done = end_of(process)
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    assert not any(is_alive(int(pid)) for pid in lines_of(shell.folder / "pids"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], 'no commands given. For example: orchestrator pipe "echo hello"'),
        (["true", " \n"], "command 2 is empty"),
        (["--timeout", "300%", "true"], "'300%' is not a duration"),
        (["--cwd", "nowhere", "true"], "'nowhere' does not exist"),
    ],
)
def test_wrong_usage_runs_nothing(shell: Shell, arguments: list[str], said: str) -> None:
    done = shell.run("pipe", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_names_of_commands_cannot_steer_the_terminal(shell: Shell) -> None:
    """Z4"""
    done = shell.run("pipe", os.fsdecode(b"exit 3 # \x1b[2J \xff\n"))
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
