"""`orchestrator run`: a script as if it had been started directly, and workflows by their names."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.surface.shell import DEADLINE_SECONDS, WAITS, Shell, end_of, read_until
from tests.waiting import eventually, is_alive

BYTES = bytes(range(256)) * 1000
COPIES = "import shutil, sys\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\n"
CONFIG = """
[workflows.ci]
description = "What CI does"
[workflows.ci.steps]
lint = { run = "echo linted >> log" }
test = { run = "echo tested >> log", depends_on = ["lint"] }
"""
FLOWS = '''
import os
from orchestrator import Workflow, shell, step, workflow

FACTOR = 7

def times(n):
    print("in", os.getpid(), "of", os.getppid())
    return FACTOR * n

def refuse(n):
    assert n == 6 * FACTOR, n
    raise LookupError(f"nothing under {n}")

numbers = workflow(step("times", times, args=[6], timeout=30), step("after", shell("echo after")))
steps = step("one", shell("echo one")) >> step("two", shell("echo two"))
failing = (
    step("good", shell("echo good"))
    | (step("bad", refuse, args=[42], timeout=30) >> step("then", shell("echo then")) >> step("last", shell("true")))
)

def made() -> Workflow:
    """Make one when asked."""
    return workflow(step("x", shell("echo x")))

def broken() -> Workflow:
    raise RuntimeError("no such luck")

number = 5
'''


# Scripts


def test_a_script_reads_our_standard_input_and_its_bytes_come_out_as_they_are(shell: Shell) -> None:
    script = shell.script("copies.py", COPIES)
    (shell.folder / "in").write_bytes(BYTES)
    with open(shell.folder / "in", "rb") as stdin, open(shell.folder / "out", "wb") as stdout:
        done = shell.run("run", script, stdin=stdin, stdout=stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (shell.folder / "out").read_bytes() == BYTES


def test_standard_error_is_passed_through_too_and_apart(shell: Shell) -> None:
    text = "import os, sys\nos.write(2, b'\\xff\\x1b[31mraw')\nprint('out', *sys.argv[1:])\n"
    done = shell.run("run", shell.script("both.py", text), "--", "--jobs", "two words")
    assert (done.returncode, done.stdout) == (0, "out --jobs two words\n")
    assert done.stderr == os.fsdecode(b"\xff\x1b[31mraw")


def test_output_comes_while_the_script_still_runs(gate: Shell) -> None:
    process = gate.command("run", gate.script("waits.py", WAITS.replace('("begun")', '("begun", flush=True)')))
    read_until(process.stdout, "begun\n")
    assert process.poll() is None
    gate.release()
    assert end_of(process).returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit(5)", "fails.py: raised: exited with code 5\n"),
        ("import os; os.kill(os.getpid(), 9)", "fails.py: crashed: its process was killed by SIGKILL"),
    ],
)
def test_a_script_that_fails_exits_with_1_and_its_own_code_stands_on_standard_error(
    shell: Shell, text: str, said: str
) -> None:
    """X2"""
    done = shell.run("run", shell.script("fails.py", f"print('partial', flush=True)\n{text}\n"))
    assert (done.returncode, done.stdout) == (1, "partial\n")
    assert f"orchestrator: {said}" in done.stderr


def test_a_script_that_is_not_there_or_cannot_be_run_fails_and_says_why(shell: Shell) -> None:
    """X1"""
    shell.script("data.txt")
    for name, why in (("./gone\x1b[2J.py", "there is no such file"), ("./data.txt", "not executable")):
        done = shell.run("run", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert name.partition("\x1b")[0] in done.stderr and why in done.stderr
        assert "\x1b" not in done.stderr


def test_limits_stop_a_script_with_all_it_has_started_and_its_output_has_come(shell: Shell) -> None:
    text = "import subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\nprint(child.pid, flush=True)\n"
    hangs = shell.script("hangs.py", f"{text}time.sleep(600)\n")
    greedy = shell.script("greedy.py", f"{text}x = bytearray(300_000_000)\ntime.sleep(600)\n")
    for name, options, said in (
        (hangs, ["--timeout", "1s", "--kill-after", "0.1"], "timed out: its time limit passed (1 s)"),
        (greedy, ["--memory", "100M"], "out of memory: used "),
    ):
        done = shell.run("run", *options, name)
        assert done.returncode == 1
        assert f"orchestrator: {name}: {said}" in done.stderr
        assert not is_alive(int(done.stdout))


def test_retries_run_a_failed_script_again(shell: Shell) -> None:
    flaky = shell.script("flaky.py", "import os\nif not os.path.exists('x'): open('x', 'w'); raise SystemExit(1)\n")
    done = shell.run("run", "--retries", "1", flaky)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("command", ["run endless.py", "pipe --stream yes cat", "pipe yes"])
def test_a_reader_that_leaves_ends_what_is_endless_with_141(shell: Shell, command: str) -> None:
    """X5"""
    shell.script("endless.py", "import signal\nsignal.signal(13, signal.SIG_DFL)\nwhile True: print('y')\n")
    done = shell.bash(f"$ORCHESTRATOR {command} | head -1; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("y\n141\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_stops_the_script_at_once_and_the_exit_code_tells_which(
    gate: Shell, number: signal.Signals, code: int
) -> None:
    waits = gate.script("waits.py", f"print('early', flush=True)\n{WAITS}")
    process = gate.command("run", "--kill-after", "0.1", waits)
    eventually(gate.waiting, DEADLINE_SECONDS, "the script runs")
    process.send_signal(number)
    done = end_of(process)
    assert done.returncode == code
    assert done.stdout.startswith("early\n")
    assert "Traceback" not in done.stderr
    assert not any(map(is_alive, gate.waiting()))


def test_an_option_to_show_or_keep_makes_it_a_batch_of_one(shell: Shell) -> None:
    done = shell.run("run", "--json", "--results", "out", "--env", "A=1", shell.script("a.py"))
    (script,) = json.loads(done.stdout)["scripts"]
    assert (script["script"], script["stdout"]) == ("a.py", "fine\n")
    assert (shell.folder / "out/001-a.py/stdout").read_text() == "fine\n"
    dry = shell.run("run", "-n", "a.py", "--timeout", "90", "--", "x")
    assert dry.stdout == "would run 1 script, 1 at a time, at most 1 m 30 s each:\n  a.py: x\n"


# What a name means


def test_a_script_is_found_by_its_name_with_or_without_its_suffix(shell: Shell) -> None:
    shell.script("jobs/nightly.py", "print('night')\n")
    shell.script("jobs/twice.py")
    shell.script("old/twice.py")
    assert [shell.run("run", name).stdout for name in ("nightly", "nightly.py", "jobs/nightly.py")] == ["night\n"] * 3
    done = shell.run("run", "twice")
    assert (done.returncode, done.stdout) == (2, "")
    assert "twice is the name of 2 scripts, give a path: jobs/twice.py, old/twice.py" in done.stderr


def test_a_name_of_nothing_exits_with_2_and_shows_the_closest(shell: Shell) -> None:
    shell.files(orchestrator_toml=CONFIG)
    shell.script("jobs/report.py")
    for name, hint in (
        ("reprot.py", "did you mean report.py?"),
        ("cii", "did you mean ci?"),
        ("zzz\x1b[2J", "`orchestrator workflows` and `orchestrator discover` list all"),
        ("gone.py:ci", "there is no file gone.py"),
    ):
        done = shell.run("run", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert hint in done.stderr
        assert "\x1b" not in done.stderr


def test_a_workflow_with_the_name_of_a_file_is_refused_until_it_is_said_which(shell: Shell) -> None:
    shell.files(orchestrator_toml=CONFIG)
    os.chmod(shell.folder / shell.script("ci", "#!/bin/sh\necho script\n"), 0o755)
    done = shell.run("run", "ci")
    assert (done.returncode, done.stdout) == (2, "")
    assert "ci is a workflow (orchestrator.toml) and a file here: write ./ci for the file" in done.stderr
    assert shell.run("run", "./ci").stdout == "script\n"
    assert not (shell.folder / "log").exists()


# Workflows


def test_a_workflow_of_the_config_runs_its_steps_in_order_and_is_reported(shell: Shell) -> None:
    shell.files(orchestrator_toml=CONFIG)
    done = shell.run("run", "ci")
    assert done.returncode == 0, done.stderr
    assert (shell.folder / "log").read_text() == "linted\ntested\n"
    assert re.search(r"^task +ending +exit", done.stdout)
    assert "2 tasks: 2 ok in " in done.stdout
    dry = shell.run("run", "ci", "--dry-run")
    assert dry.stdout == (
        "would run 2 tasks, 2 at a time:\n  lint: echo linted >> log\n  test: echo tested >> log  [after lint]\n"
    )
    assert (shell.folder / "log").read_text() == "linted\ntested\n"


def test_a_workflow_of_flows_py_runs_by_name_and_its_functions_in_workers(shell: Shell) -> None:
    shell.files(flows_py=FLOWS)
    process = shell.command("run", "numbers", "--json")
    done = end_of(process)
    assert done.returncode == 0, done.stderr
    times, after = json.loads(done.stdout)["tasks"]
    pid = re.fullmatch(r"in (\d+) of \d+\n", times["stdout"])
    assert pid is not None and int(pid[1]) == times["pid"] != process.pid
    assert after["stdout"] == "after\n"


@pytest.mark.parametrize(("name", "tasks"), [("steps", "2 tasks: 2 ok"), ("made", "1 task: 1 ok")])
def test_steps_and_functions_that_make_a_workflow_are_workflows_by_file_and_name_too(
    shell: Shell, name: str, tasks: str
) -> None:
    shell.script("lib/others.py", FLOWS)
    assert tasks in shell.run("run", f"lib/others.py:{name}").stdout


def test_a_failed_task_is_shown_and_what_depends_on_it_is_skipped(shell: Shell) -> None:
    """G2"""
    shell.files(flows_py=FLOWS)
    done = shell.run("run", "failing", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 1
    assert document["counts"] == {"ok": 1, "raised": 1, "skipped": 2}
    tasks = {task["name"]: task for task in document["tasks"]}
    assert re.search(r"line 13, in refuse\nLookupError: nothing under 42$", tasks["bad"]["reason"])
    assert tasks["then"]["reason"] == "skipped because 'bad' failed"
    assert "4 tasks: 1 ok, 1 raised, 2 skipped" in done.stderr


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("flows.py:mad", "flows.py has no 'mad'; did you mean 'made'?"),
        ("flows.py:zzz", "flows.py has no 'zzz'; its workflows are: numbers, steps, failing, made, broken"),
        ("flows.py:number", "flows.py: number is no Workflow, but int"),
        ("flows.py:broken", "flows.py: broken() raised RuntimeError: no such luck"),
        ("syntax.py:x", "syntax.py, line 2: "),
        ("raises.py:x", "raises.py, line 3: ZeroDivisionError: division by zero"),
        ("imports.py:x", "imports.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_python_workflow_that_cannot_be_loaded_exits_with_2_and_names_file_and_line(
    shell: Shell, reference: str, said: str
) -> None:
    shell.files(
        flows_py=FLOWS,
        syntax_py="x = 1\ndef x(:\n",
        raises_py="def f():\n    # here\n    return 1 / 0\nf()\n",
        imports_py="import no_such_module\n",
    )
    done = shell.run("run", reference)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {said}")
    assert "Traceback" not in done.stderr


def test_a_workflow_that_stands_in_a_circle_is_refused_with_the_way_round(shell: Shell) -> None:
    """G1"""
    steps = "a = { run = 'touch ran', depends_on = ['b'] }\nb = { run = 'touch ran', depends_on = ['a'] }\n"
    shell.files(orchestrator_toml=f"[workflows.ring.steps]\n{steps}")
    done = shell.run("run", "ring")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a -> b -> a" in done.stderr
    assert not (shell.folder / "ran").exists()


def test_a_workflow_past_its_deadline_is_given_up_with_what_is_known(shell: Shell) -> None:
    steps = "quick = { run = 'echo quick' }\nslow = { run = 'echo $$ > pid; exec sleep 600', depends_on = ['quick'] }"
    shell.files(orchestrator_toml=f"[workflows.night]\ntimeout = '1h'\n[workflows.night.steps]\n{steps}\n")
    done = shell.run("run", "night", "--timeout", "1.5")
    assert done.returncode == 1
    assert "2 tasks: 1 ok, 1 " in done.stdout
    assert "given up because " in done.stdout
    assert not is_alive(int((shell.folder / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_workflow_of_python_ends_it_by_the_conventions(gate: Shell, number: signal.Signals) -> None:
    gate.files(
        flows_py="""
import os
from orchestrator import step, workflow

def waits():
    open(f"started-{os.getpid()}", "w").close()
    open("go", "rb", buffering=0).read(1)

flow = workflow(step("waits", waits, timeout=600), step("never", print))
"""
    )
    process = gate.command("run", "flow")
    eventually(gate.waiting, DEADLINE_SECONDS, "the function runs")
    process.send_signal(number)
    if number == signal.SIGINT:
        read_until(process.stderr, "press Ctrl-C again")
        gate.release()
    done = end_of(process)
    ending = "ok" if number == signal.SIGINT else "cancelled"
    assert done.returncode == 128 + number
    assert f"2 tasks: 1 {ending}, 1 skipped" in done.stdout
    eventually(lambda: not any(map(is_alive, gate.waiting())), DEADLINE_SECONDS, "the worker is gone")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ci", "--retries", "1"], "--retries is for scripts"),
        (["ci", "--memory", "1G"], "--memory is for scripts"),
        (["ci", "--env", "A=1"], "--env is for scripts"),
        (["ci", "--", "x"], "'ci' is a workflow, which takes no arguments"),
        (["made", "--jobs", "2"], "--jobs is for workflows of the config; made says it itself"),
        (["made", "--timeout", "2"], "--timeout is for workflows of the config"),
        (["a.py", "--timeout", "300%"], "'300%' is not a duration"),
        ([], "Missing argument"),
    ],
)
def test_options_that_do_not_go_with_what_is_run_are_refused(shell: Shell, arguments: list[str], said: str) -> None:
    shell.files(orchestrator_toml=CONFIG, flows_py=FLOWS, a_py="")
    done = shell.run("run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not Path(shell.folder / "log").exists()


def test_what_a_workflow_of_a_python_file_prints_does_not_get_into_the_document(shell: Shell) -> None:
    shell.script("flows.py", "from orchestrator import step\nprint('loading')\np = step('p', lambda: print('hello'))\n")
    done = shell.run("run", "p", "--json")
    assert json.loads(done.stdout)["success"]
    assert "loading" in done.stderr and "hello" in done.stderr


def test_a_python_file_is_executed_once_also_when_a_step_goes_to_a_worker(shell: Shell) -> None:
    flow = "from orchestrator import python_func, step\nopen('log', 'a').write('x')\ndef h(): return 1\n"
    shell.script("flows.py", f"{flow}b = step('h', python_func(h))\n")
    assert shell.run("run", "b").returncode == 0
    assert (shell.folder / "log").read_text() == "x"


def test_a_python_file_that_exits_or_does_not_compile_is_told(shell: Shell) -> None:
    shell.script("flows.py", "import sys\nsys.exit(0)\n")
    done = shell.run("run", "flows.py:x")
    assert (done.returncode, done.stderr) == (2, "Error: flows.py, line 2: SystemExit: 0\n")
    shell.script("flows.py", "x = step(\n")
    done = shell.run("workflows")
    assert done.stderr == "flows.py, line 1: '(' was never closed\n"
    assert "'(' was never closed" in shell.run("run", "x").stderr


def test_a_failed_workflow_whose_own_listener_raises_has_failed(shell: Shell) -> None:
    text = "from orchestrator import Task, Workflow\ndef hear(event): raise ValueError\n"
    shell.script("flows.py", f"{text}w = Workflow(on_event=hear, tasks=[Task('a', lambda: 1 / 0)])\n")
    assert shell.run("run", "w").returncode == 1


def test_what_a_script_leaves_running_is_stopped_and_named(shell: Shell) -> None:
    shell.script("leaves.py", "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n")
    done = shell.run("run", "leaves.py")
    assert done.returncode == 0
    assert "stopped what it left running" in done.stderr and "sleep" in done.stderr
