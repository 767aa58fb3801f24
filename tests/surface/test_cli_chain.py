"""`orchestrator chain`: scripts one after another, up to the first failure."""

from __future__ import annotations

import json
import signal

import pytest

from tests.surface.shell import DEADLINE_SECONDS, WAITS, Shell, end_of
from tests.waiting import eventually, is_alive

LOGS = "import os, sys\nprint(os.path.basename(__file__), *sys.argv[1:], file=open('log', 'a'))\n"


def test_scripts_run_one_after_another_in_the_order_given_with_the_arguments(shell: Shell) -> None:
    names = [shell.script(name, LOGS) for name in ("c.py", "a.py", "b.py")]
    done = shell.run("chain", *names, names[0], "--", "-x")
    assert done.returncode == 0, done.stderr
    assert (shell.folder / "log").read_text() == "c.py -x\na.py -x\nb.py -x\nc.py -x\n"
    assert "4 scripts: 4 ok" in done.stdout


def test_after_a_failure_the_others_are_skipped_and_say_because_of_which(shell: Shell) -> None:
    first, fails = shell.script("first.py", LOGS), shell.script("fails.py", "raise SystemExit(3)\n")
    later, last = shell.script("later.py", LOGS), shell.script("last.py", LOGS)
    done = shell.run("chain", "--json", "--retries", "1", first, fails, later, last)
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert [script["ending"] for script in document["scripts"]] == ["ok", "raised", "skipped", "skipped"]
    assert document["scripts"][1]["attempts"] == 2
    assert [script["reason"] for script in document["scripts"][2:]] == ["skipped because 'fails.py' failed"] * 2
    assert len((shell.folder / "log").read_text().splitlines()) == 1


def test_the_order_typed_counts_and_not_what_scripts_depend_on(shell: Shell) -> None:
    block = "# /// script\n# [tool.orchestrator]\n# depends_on = ['b.py', 'absent.py']\n# args = ['own']\n# ///\n"
    done = shell.run("chain", shell.script("a.py", block + LOGS), shell.script("b.py", LOGS))
    assert done.returncode == 0, done.stderr
    assert (shell.folder / "log").read_text() == "a.py own\nb.py\n"


def test_a_dry_run_shows_the_order_and_a_list_gives_the_scripts(shell: Shell) -> None:
    shell.files(a_py="", b_py="", list="b.py one\na.py\n")
    done = shell.run("chain", "-n", "-a", "list", "--timeout", "3")
    assert done.stdout.splitlines() == [
        "would run 2 scripts, 1 at a time, at most 3.0 s each:",
        "  b.py one: one",
        "  a.py  [after b.py one]",
    ]


def test_sigterm_stops_the_script_that_runs_and_starts_no_other(gate: Shell) -> None:
    script = gate.script("waits.py", WAITS)
    process = gate.command("chain", script, script, "--kill-after", "0.1")
    eventually(gate.waiting, DEADLINE_SECONDS, "the first runs")
    process.send_signal(signal.SIGTERM)
    done = end_of(process)
    assert done.returncode == 143
    assert "2 scripts: 1 cancelled, 1 skipped" in done.stdout
    (pid,) = gate.waiting()
    assert not is_alive(pid)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no scripts given. For example: orchestrator chain fetch.py report.py"),
        (["a.py", "--timeout", "300%"], "'300%' is not a duration"),
        (["a.py", "-j", "2"], "No such option"),
        (["none-*.py"], "no file matches 'none-*.py'"),
    ],
)
def test_wrong_usage_runs_nothing(shell: Shell, arguments: list[str], said: str) -> None:
    shell.script("a.py", LOGS)
    done = shell.run("chain", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (shell.folder / "log").exists()
