"""`orchestrator menu`, as a person at a terminal has it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.surface.shell import DEADLINE_SECONDS, WAITS, Shell, Terminal, end_of
from tests.waiting import eventually, is_alive

PROMPT = "> "
CONFIG = """
[workflows.ci]
description = "What CI does"
[workflows.ci.steps]
lint = { run = "echo linted" }
fail = { run = "echo so far; exit 3", depends_on = ["lint"] }
then = { run = "echo never", depends_on = ["fail"] }
[scripts.a]
args = ["own"]
"""
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Session:
    """The menu at a terminal: type a line, get what it answers."""

    def __init__(self, shell: Shell, terminal: Terminal, *program: str) -> None:
        self._terminal = terminal
        self.process: subprocess.Popen[bytes] = shell.program(
            sys.executable,
            *(program or ("-m", "orchestrator", "menu")),
            stdin=terminal.descriptor,
            stdout=terminal.descriptor,
            stderr=terminal.descriptor,
            env={"TERM": "dumb"},  # no picture, no colours, no line editing: plain lines
        )
        self.greeting = self.answer()

    def type(self, line: str) -> str:
        """Type a line and return what is shown up to the next prompt."""
        self._terminal.type(f"{line}\n")
        return self.answer().removeprefix(f"{line}\n")

    def answer(self) -> str:
        """Return what is shown up to a prompt."""
        return ESCAPES.sub("", self._terminal.read_until(f"\n{PROMPT}").replace("\r\n", "\n")).removesuffix(PROMPT)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal of 100 columns and 30 lines."""
    terminal = Terminal(100, 30)
    yield terminal
    terminal.close()


@pytest.fixture
def menu(shell: Shell, terminal: Terminal) -> Session:
    """The menu in a folder with a workflow and a few scripts."""
    shell.files(orchestrator_toml=CONFIG)
    shell.script("a.py", '"""Tell the arguments."""\nimport sys\nprint("said", sys.argv[1:])\n')
    shell.script("jobs/a.py", "print('the other')\n")
    shell.script("jobs/fails.py", "print('partial')\nraise SystemExit(7)\n")
    return Session(shell, terminal)


def test_it_lists_and_searches_what_can_be_run(menu: Session) -> None:
    rows = [
        "  1  workflow  ci             What CI does",
        "  2  script    a.py           Tell the arguments.",
        "  3  script    jobs/a.py",
        "  4  script    jobs/fails.py",
    ]
    assert menu.greeting.splitlines() == ["orchestrator: 3 scripts, 1 workflow; h for help", "", *rows]
    assert menu.type("l").splitlines() == rows
    assert menu.type("l argum").splitlines() == ["  2  script  a.py  Tell the arguments."]
    assert [line.split()[0] for line in menu.type("s JOBS").splitlines()] == ["3", "4"]
    assert menu.type("l zzz") == "nothing here has 'zzz' in its name or description\n"
    assert "r WHICH [ARGS]" in menu.type("h")


def test_it_runs_a_script_by_number_or_name_with_arguments_and_shows_its_output(menu: Session) -> None:
    by_number, by_name, by_part = menu.type("r 2 'two words' -x"), menu.type("r a.py"), menu.type("run other")
    assert "said ['own', 'two words', '-x']" in by_number
    assert "1 script: 1 ok in " in by_number
    assert "said ['own']" in by_name
    assert by_part == "there is no 'other' here; l lists what there is\n"
    assert "exited with code 7" in menu.type("r fails")
    assert "the other" in menu.type("3")
    assert menu.type("r jobs") == "'jobs' is in the names of 2: jobs/a.py, jobs/fails.py\n"


def test_it_runs_a_workflow_and_several_scripts_and_shows_any_past_output_again(menu: Session) -> None:
    assert menu.type("o") == "nothing has been run yet\n"
    workflow = menu.type("r ci")
    assert "3 tasks: 1 ok, 1 raised, 1 skipped in " in workflow
    batch = menu.type("b 3 fails")
    assert "2 scripts: 1 ok, 1 raised in " in batch
    past = [line.split() for line in menu.type("o").splitlines()]
    assert past == [
        ["1", "ok", "lint"],
        ["2", "raised", "fail"],
        ["3", "skipped", "then"],
        ["4", "ok", "jobs/a.py"],
        ["5", "raised", "jobs/fails.py"],
    ]
    again = menu.type("o 5")
    assert "── jobs/fails.py: raised after " in again and "partial" in again
    assert "the other" in menu.type("output 4")
    assert "so far" in menu.type("o 2")
    assert menu.type("o 6") == "there is no '6' among the 5 that have been run\n"


def test_it_says_what_is_wrong_and_goes_on(menu: Session) -> None:
    for line, said in (
        ("zzz", "'zzz' is no choice; h for help"),
        ("r", "run which? A number or a name, as l lists them"),
        ("b", "run which? Numbers or names, as l lists them"),
        ("r 99", "there is no '99' here; l lists what there is"),
        ("r a.py 'open", "No closing quotation: a.py 'open"),
        ("b a.py ci", "ci is a workflow: run it by itself with r"),
        ("o x", "there is no 'x' among the 0 that have been run"),
    ):
        assert menu.type(line) == f"{said}\n"
    assert menu.type("") == ""


def test_update_looks_again_at_scripts_and_config_and_tells_of_mistakes(shell: Shell, menu: Session) -> None:
    shell.script("new.py", "print('brand new')\n")
    assert menu.type("u") == "4 scripts, 1 workflow\n"
    assert "brand new" in menu.type("r new")
    shell.files(orchestrator_toml="[defaults]\ntimeot = 1\n")
    assert "defaults.timeot: unknown key; did you mean 'timeout'?" in menu.type("u")
    assert "brand new" in menu.type("r new")


def test_ctrl_c_drops_the_line_and_ctrl_d_leaves(menu: Session, terminal: Terminal) -> None:
    def dropped() -> bool:
        menu.process.send_signal(signal.SIGINT)
        try:
            terminal.read_until(f"\n{PROMPT}", 0.5)
        except AssertionError:  # readline misses a signal that comes just before it waits for keys
            return False
        return True

    terminal.type("half a li")
    terminal.read_until("half a li")
    eventually(dropped, DEADLINE_SECONDS, "the line is dropped")
    assert "said ['own']" in menu.type("r a.py")
    eventually(dropped, DEADLINE_SECONDS, "there is a new prompt")
    terminal.type("\x04")
    assert end_of(menu.process).returncode == 0


@pytest.mark.parametrize("word", ["q", "quit", "exit"])
def test_a_word_leaves_too(shell: Shell, terminal: Terminal, word: str) -> None:
    session = Session(shell, terminal)
    assert session.greeting.splitlines()[-1] == "nothing to run here"
    terminal.type(f"{word}\n")
    assert end_of(session.process).returncode == 0


def test_ctrl_c_while_something_runs_stops_that_and_comes_back_to_the_prompt(gate: Shell, terminal: Terminal) -> None:
    gate.script("waits.py", WAITS)
    session = Session(gate, terminal)
    terminal.type("r waits\n")
    eventually(gate.waiting, DEADLINE_SECONDS, "the script runs")
    session.process.send_signal(signal.SIGINT)
    terminal.read_until("press Ctrl-C again to kill")
    session.process.send_signal(signal.SIGINT)
    assert "1 script: 1 cancelled in " in session.answer()
    assert not any(map(is_alive, gate.waiting()))
    assert session.type("o").split() == ["1", "cancelled", "waits.py"]
    terminal.type("q\n")
    assert end_of(session.process).returncode == 0


def test_without_a_terminal_it_exits_with_3_and_says_what_to_use_instead(shell: Shell) -> None:
    done = shell.run("menu")
    assert (done.returncode, done.stdout) == (3, "")
    assert "the menu needs a terminal" in done.stderr and "orchestrator batch, run, discover" in done.stderr


def test_run_orchestrator_opens_the_menu_and_returns_none(shell: Shell, terminal: Terminal) -> None:
    program = shell.script(
        "program.py", "from orchestrator import run_orchestrator\nprint('got', run_orchestrator())\n"
    )
    without = shell.bash(f'"$PYTHON" {program}')
    assert (without.returncode, without.stdout) == (0, "got None\n")
    assert "the menu needs a terminal" in without.stderr
    session = Session(shell, terminal, program)
    assert "1 script, 0 workflows" in session.greeting
    terminal.type("q\n")
    assert "got None" in terminal.read_until("got None")
    assert end_of(session.process).returncode == 0
