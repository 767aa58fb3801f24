"""Every command where streams, terminal, locale, home or working directory are not as usual; and completion."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.cli.program import COMMANDS
from tests.surface.shell import Shell, end_of

CONFIG = "[workflows.ci.steps]\nlint = { run = 'echo linted' }\n[workflows.cd]\npython = 'flows.py:cd'\n"
LINES = {
    "batch": "batch a.py",
    "run": "run ./say",
    "run a workflow": "run ci",
    "pipe": "pipe 'echo hi' cat",
    "pipe as JSON": "pipe --json 'echo hi'",
    "chain": "chain --jsonl a.py",
    "workflows": "workflows",
    "discover": "discover -0",
    "config": "config",
    "ci": "ci run --list flow.yml",
    "ci schema": "ci schema",
    "mcp": "mcp --help",
    "info": "info",
    "help": "--help",
    "help of a command": "batch --help",
    "version": "--version",
}
"""A line for every command that prints something without a terminal."""


@pytest.fixture
def project(shell: Shell) -> Shell:
    """A shell in a folder, with spaces in its name, that has a script and two workflows."""
    shell.folder /= "a folder with  spaces"
    shell.folder.mkdir()
    shell.files(orchestrator_toml=CONFIG, a_py="print('fine')\n", flows_py="no python\n")
    shell.script("flow.yml", "stages: [{name: a, commands: [echo fine]}]\n")
    os.chmod(shell.folder / shell.script("say", "#!/bin/sh\necho fine\n"), 0o755)
    return shell


def all_of(shell: Shell, lines: dict[str, str], around: str = "{}") -> dict[str, tuple[int, str, str]]:
    """Run every line, put in the place of {}, and return exit code, standard output and standard error of each."""
    ended = {}
    for name, line in lines.items():
        done = shell.bash(around.format(f"$ORCHESTRATOR {line}"))
        assert "Traceback" not in done.stdout + done.stderr, (name, done)
        assert "fault of orchestrator" not in done.stderr, (name, done)
        ended[name] = done.returncode, done.stdout, done.stderr
    return ended


def test_there_is_a_line_for_every_command() -> None:
    assert set(COMMANDS) - {"menu"} <= LINES.keys()


# Standard streams


def test_every_command_does_its_work_with_standard_output_closed(project: Shell) -> None:
    """L4"""
    ended = all_of(project, LINES, "{} >&-")
    assert {name: code for name, (code, _, _) in ended.items()} == dict.fromkeys(LINES, 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_every_command_on_a_full_disk_exits_with_3_and_says_why(project: Shell) -> None:
    """L4"""
    for name, (code, _, said) in all_of(project, LINES, "{} >/dev/full").items():
        assert code == 3, name
        assert "orchestrator: could not write to standard output: [Errno 28] No space left on device\n" in said, name
    silent = all_of(
        project, {"menu": "menu", "usage": "run", "name": "run nothing", "fine": "run a.py"}, "{} 2>/dev/full"
    )
    assert [code for code, _, _ in silent.values()] == [3, 2, 2, 0]


def test_every_command_whose_reader_has_left_exits_with_141_without_a_word_about_it(project: Shell) -> None:
    """L4"""
    for name, line in LINES.items():
        reading, writing = os.pipe()
        os.close(reading)
        process = project.command(*shlex.split(line), stdout=writing)
        os.close(writing)
        done = end_of(process)
        assert done.returncode == 141, (name, done)
        assert "could not" not in done.stderr and "orchestrator" not in done.stderr, (name, done)


def test_every_command_works_without_home_locale_terminal_width_and_standard_input(project: Shell) -> None:
    """L4"""
    poor = "env -u HOME -u LANG LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 TERM=dumb COLUMNS=20 {} <&-"
    ended = all_of(project, LINES, poor)
    assert {name: code for name, (code, _, _) in ended.items()} == dict.fromkeys(LINES, 0)
    assert "1 script: 1 ok in" in ended["batch"][1]
    assert ended["run"][1] == "fine\n"
    assert all(text.isascii() for _, text, _ in ended.values())
    menu = all_of(project, {"menu": "menu"}, poor)["menu"]
    assert menu[0] == 3 and "needs a terminal" in menu[2]


def test_names_that_the_locale_cannot_print_are_escaped(project: Shell) -> None:
    project.script("caf\u00e9.py", "# \u2026\nprint('fine')\n")
    poor = "env LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 {}"
    ended = all_of(
        project, {"one": "discover -v", "two": "run caf*.py", "three": "batch caf*.py", "four": "run cafe"}, poor
    )
    assert [code for code, _, _ in ended.values()] == [0, 0, 0, 2]
    assert all(text.isascii() for _, *texts in ended.values() for text in texts)


# The working directory


def test_a_working_directory_that_is_gone_is_said_and_no_fault_of_ours(shell: Shell) -> None:
    """X7"""
    lines = {**LINES, "absolute": "batch /bin/true"}
    ended = all_of(shell, lines, "mkdir gone && cd gone && rmdir ../gone && {}")
    assert ended.pop("ci")[0] == 2  # there is no such file
    for name in ("pipe", "pipe as JSON", "config", "info", "help", "help of a command", "version", "ci schema", "mcp"):
        assert ended.pop(name)[0] == 0, name
    for name, (code, _, said) in ended.items():
        assert code == 3, name
        assert "the working directory does not exist any more: change to another one" in said, name


# Completion


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_the_shell_can_read(shell: Shell, kind: str) -> None:
    done = shell.run(env={"_ORCHESTRATOR_COMPLETE": f"{kind}_source"})
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_ORCHESTRATOR_COMPLETE={kind}_complete" in done.stdout
    if shutil.which(kind):
        read = end_of(shell.program(kind, "-n", shell.script("completion", done.stdout)))
        assert (read.returncode, read.stderr) == (0, "")


def completed(shell: Shell, words: str) -> list[str]:
    """Return what bash would be offered for the last of the words."""
    env = {"_ORCHESTRATOR_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done: subprocess.CompletedProcess[str] = shell.run(env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_completion_offers_commands_options_workflows_and_scripts_and_else_files(project: Shell) -> None:
    project.script("jobs/clean.py")
    project.script("create.py")
    assert completed(project, "orchestrator c") == ["plain,chain", "plain,ci", "plain,config"]
    assert completed(project, "orchestrator batch --fail") == ["plain,--fail-fast"]
    assert completed(project, "orchestrator run c") == ["plain,cd", "plain,ci", "plain,create.py"]
    assert completed(project, "orchestrator run zz") == ["file,zz"]
    assert completed(project, "orchestrator batch a") == ["file,a"]


def test_completion_is_silent_about_a_config_that_cannot_be_read(project: Shell) -> None:
    project.files(orchestrator_toml="nonsense")
    assert completed(project, "orchestrator run c") == ["file,c"]
