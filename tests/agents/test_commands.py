"""Agents that are programs: what reaches them, exactly, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Ending, RetryPolicy
from orchestrator.agents import AgentOrchestrator
from tests.agents.acts import asked, command, told
from tests.waiting import eventually, lines_of, wait_gone

NASTY = [
    "--help",
    "-",
    "",
    " ",
    "a \"b\" 'c' \\ `id` $(id) ${HOME} ; rm -rf ~ && x | y > z & #",
    "two\nlines\r\n\ttab\x1b[31m",
    "{task} {result of x} {task.__class__} {0} {{}} %s %(task)s {task!r:>10}",
    "ünïcödé ☃ 日本語 🎉 \u202e",
    "\udcff bytes that are no UTF-8",
    "x" * 100_000,
]


@pytest.mark.parametrize("task", NASTY, ids=range(len(NASTY)))
def test_the_task_arrives_as_one_argument_and_on_standard_input_whatever_it_holds(task: str, tmp_path: Path) -> None:
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, "--prompt", "{task}", "<{task}>", "{other} {} {task.x}", "last"))
    heard = told(asked(agents, "tool", task))
    assert heard["args"] == ["--prompt", task, f"<{task}>", "{other} {} {task.x}", "last"]
    assert heard["stdin"] == task


@settings(max_examples=25, deadline=None)
@given(task=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200))
def test_any_text_arrives_unchanged(tmp_path_factory: pytest.TempPathFactory, task: str) -> None:
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path_factory.getbasetemp(), "{task}{task}"))
    heard = told(asked(agents, "tool", task))
    assert heard["args"] == [task + task]
    assert heard["stdin"] == task


def test_a_task_of_a_megabyte_is_refused_as_an_argument_and_read_from_standard_input(tmp_path: Path) -> None:
    task = "é" * (1 << 19)
    agents = AgentOrchestrator()
    agents.register("argument", command(tmp_path, "{task}"))
    agents.register("stdin", command(tmp_path))
    result = asked(agents, "argument", task)
    assert (result.success, result.ending, result.return_code) == (False, Ending.RAISED, 126)
    assert "an argument of 1,048,576 bytes is too long" in str(result.error)
    assert "the task is on standard input too: leave {task} out of the command" in str(result.error)
    assert told(asked(agents, "stdin", task))["stdin"] == task


def test_the_longest_argument_is_as_long_as_the_kernel_has_it(tmp_path: Path) -> None:
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, "{task}"))
    longest = (1 << 17) - 1  # with pages of 4 KiB
    assert told(asked(agents, "tool", "x" * longest))["args"] == ["x" * longest]
    assert "an argument of 131,072 bytes is too long" in str(asked(agents, "tool", "x" * (longest + 1)).error)


def test_many_arguments_that_are_too_long_together_fail_clearly(tmp_path: Path) -> None:
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, *["{task}"] * 100))
    result = asked(agents, "tool", "x" * 100_000)
    assert (result.ending, result.return_code) == (Ending.RAISED, 126)
    assert "argument list is too long" in str(result.error)


def test_a_task_with_nul_is_refused_as_an_argument_and_read_from_standard_input(tmp_path: Path) -> None:
    agents = AgentOrchestrator()
    agents.register("argument", command(tmp_path, "{task}"))
    agents.register("stdin", command(tmp_path))
    result = asked(agents, "argument", "a\0b")
    assert (result.ending, result.return_code) == (Ending.RAISED, 126)
    assert "cannot hold a NUL character" in str(result.error)
    assert told(asked(agents, "stdin", "a\0b"))["stdin"] == "a\0b"


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path))
    assert "half a character (U+D800)" in str(asked(agents, "tool", "a\ud800").error)


def test_environment_and_directory_reach_the_tool_and_no_result(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    words = {"WORD": "s3cret-word"}
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, "{task}"), env=words, cwd=folder)
    agents.register("missing", ["./no-such-tool", "{task}"], env=words)
    words["WORD"] = "changed later"
    heard = told(asked(agents, "tool", "x"))
    assert (heard["word"], heard["cwd"]) == ("s3cret-word", str(folder))
    failures: list[Any] = [asked(agents, "missing", "x"), asked(agents, "tool", "\0"), agents.as_task("tool", "x")]
    failures += [agents, agents.agents]
    assert not any("s3cret" in f"{failure!r} {failure}" for failure in failures)


def test_a_tool_that_is_not_there_or_whose_directory_is_gone_fails_with_a_shells_code(tmp_path: Path) -> None:
    agents = AgentOrchestrator()
    agents.register("missing", ["no-such-tool-anywhere", "{task}"])
    agents.register("moved", ["true"], cwd=tmp_path / "gone")
    agents.register("text", [str(tmp_path / "text"), "{task}"])
    (tmp_path / "text").write_text("no program")
    assert [asked(agents, name, "x").return_code for name in agents.agents] == [127, 126, 126]
    assert "no-such-tool-anywhere" in str(asked(agents, "missing", "x").error)


def test_a_tool_that_fails_keeps_its_code_and_both_streams(tmp_path: Path) -> None:
    agents = AgentOrchestrator()
    text = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    agents.register("tool", command(tmp_path, text=text), retries=1)
    result = asked(agents, "tool", "x")
    assert (result.ending, result.return_code, result.attempts) == (Ending.RAISED, 3, 2)
    assert (result.output, result.stderr) == ("out\n", "err\n")
    assert "tool ended with code 3" in str(result.error)


def test_a_tool_killed_from_outside_has_crashed_and_its_output_is_kept(tmp_path: Path) -> None:
    text = """
import os, sys, time
print("so far", flush=True)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(600)
"""
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, "{task}", text=text))

    def kill() -> None:
        (pid,) = eventually(lambda: lines_of(tmp_path / "pid"))
        os.kill(int(pid), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = asked(agents, "tool", str(tmp_path / "pid"))
    killer.join()
    assert (result.ending, result.return_code, result.output) == (Ending.CRASHED, 137, "so far\n")


def test_a_tool_that_ignores_its_timeout_is_killed_with_its_children(tmp_path: Path) -> None:
    text = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("begun", flush=True)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()}\\n{child.pid}\\n")
time.sleep(600)
"""
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, "{task}", text=text), timeout=3, grace=0.2)
    result = asked(agents, "tool", str(tmp_path / "pids"))
    assert (result.ending, result.return_code, result.output) == (Ending.TIMED_OUT, 124, "begun\n")
    pids = lines_of(tmp_path / "pids")
    assert len(pids) == 2
    for pid in pids:
        wait_gone(int(pid))


def test_a_tool_that_takes_too_much_memory_is_killed(tmp_path: Path) -> None:
    text = "import time\nheld = []\nwhile True: held.append(b'x' * (8 << 20)); time.sleep(0.01)"
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, text=text), memory_limit="200M")
    assert asked(agents, "tool", "x").ending is Ending.OUT_OF_MEMORY


def test_a_tool_that_floods_is_cut_to_head_and_tail(tmp_path: Path) -> None:
    text = "import sys\nprint('head')\nfor _ in range(64): sys.stdout.write('x' * (1 << 20))\nprint('tail')"
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, text=text), timeout=120)
    result = asked(agents, "tool", "x")
    assert result.success
    assert result.output.startswith("head\n")
    assert result.output.endswith("tail\n")
    assert len(result.output) < 32 << 20


def test_a_tool_that_does_not_read_its_task_is_no_failure() -> None:
    agents = AgentOrchestrator()
    agents.register("tool", ["true"])
    assert asked(agents, "tool", "x" * (1 << 20)).success


def test_a_retry_policy_holds_for_commands(tmp_path: Path) -> None:
    text = "import sys; open(sys.argv[1], 'a').write('x\\n'); sys.exit(open(sys.argv[1]).read().count('x') < 3)"
    agents = AgentOrchestrator()
    agents.register("tool", command(tmp_path, "{task}", text=text), retry_policy=RetryPolicy(5, initial_delay=0.01))
    assert asked(agents, "tool", str(tmp_path / "log")).attempts == 3


# What no task may do


@pytest.mark.parametrize(
    "words",
    [
        ["{task}"],
        ["/usr/bin/{task}"],
        ["sh", "-c", "{task}"],
        ["/bin/bash", "-o", "pipefail", "-ec", "mytool {task}"],
        ["env", "A=1", "sh", "-c", "mytool {result of x}"],
        ["env", "{task}"],
        ["nice", "-n", "5", "{task}"],
        ["timeout", "-s", "KILL", "5", "{task}"],
        ["sudo", "-u", "bob", "sh", "-c", "{task}"],
        ["env", "-i", "--", "{task}"],
        ["nohup"],
        ["python3", "-c{task}"],
        ["perl", "-e", "{task}"],
        [sys.executable, "{task}"],
        ["bash", "{task}"],
        ["bash"],
        ["bash", "-s"],
        ["sh", "-s", "x"],
        ["python3", "-"],
        ["node", "--eval={task}"],
        ["bash", "-eo", "pipefail", "-c", "{task}"],
        ["bash", "-euo", "pipefail", "-c", "echo {task}"],
        ["bash", "+o", "x", "-O", "extglob", "{task}"],
        ["node", "-r", "./setup.js", "{task}"],
        ["perl", "-I", "lib", "{task}"],
        ["awk", "{task}"],
        ["awk", "-F", ",", "{task}"],
        ["lua", "{task}"],
        ["xargs", "{task}"],
        ["xargs", "-n", "1", "sh", "-c", "{task}"],
    ],
)
def test_a_command_in_which_the_task_would_be_the_program_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"agent 'a': the command lets .* program"):
        AgentOrchestrator().register("a", words)


@pytest.mark.parametrize(
    "words",
    [
        ["docker", "run", "image", "sh", "-c", "{task}"],
        ["nice", "mytool", "bash", "-eo", "pipefail", "-c", "mytool {task}"],
        ["flock", "lock", "python3", "-c", "{result of a}"],
        ["mytool", "node", "--eval", "{task}"],
    ],
)
def test_a_command_in_which_the_task_is_in_a_program_that_another_one_runs_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"agent 'a': the command has the task in the program of (sh|bash|py|node)"):
        AgentOrchestrator().register("a", words)


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", 'mytool "$1"', "sh", "{task}"],
        ["bash", "-eo", "pipefail", "tool.sh", "-c", "{task}"],
        ["bash", "-euo", "pipefail", "-c", 'mytool "$1"', "bash", "{task}"],
        ["docker", "run", "image", "sh", "-c", 'mytool "$1"', "sh", "{task}"],
        ["mytool", "--language", "python", "{task}"],
        ["grep", "-e", "{task}", "sh"],
        ["env", "A=1", "mytool", "{task}"],
        ["env", "-i", "--", "mytool", "{task}"],
        ["nice", "-n", "5", "timeout", "9s", "mytool", "{task}"],
        ["python3", "-m", "mytool", "{task}"],
        ["python3", "-X", "dev", "tool.py", "-c", "{task}"],
        ["awk", "-F", ",", "{print}", "{task}"],
        ["php", "-r", "echo $argv[1];", "{task}"],
    ],
)
def test_a_command_in_which_the_task_is_an_argument_is_not_refused(words: list[str]) -> None:
    AgentOrchestrator().register("a", words)


def test_a_script_in_a_command_gets_the_task_as_its_own_argument() -> None:
    agents = AgentOrchestrator()
    agents.register("a", ["sh", "-c", 'printf "<%s>" "$1"', "sh", "{task}"])
    assert asked(agents, "a", '"; echo $(id)').output == '<"; echo $(id)>'
