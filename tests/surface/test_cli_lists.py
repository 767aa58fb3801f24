"""The commands that only tell: workflows, discover, config, info, the help pages, and the commands as data."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version

import pytest

from orchestrator.cli.program import COMMANDS
from orchestrator.cli.registry import cli_commands
from tests.surface.shell import Shell, end_of

SECRET = "sesame-8d1f"
CONFIG = f"""
[defaults]
retries = 2
env = {{ TOKEN = "{SECRET}" }}
[scripts."nightly/*.py"]
timeout = "90s"
env = {{ KEY = "{SECRET}" }}
[workflows.ci]
description = "What CI\\u001b[2J does"
[workflows.ci.steps]
lint = {{ run = "echo linted", env = {{ PASSWORD = "{SECRET}" }} }}
test = {{ script = "a.py", depends_on = ["lint"] }}
"""
FLOWS = '''
"""Workflows that are only read."""
import no_such_module
from orchestrator import Workflow, step

evening = step("a", print) >> step("b", print)

def nightly() -> Workflow:
    """Do the work of the night.

    In detail."""
'''
ODD = [
    b"new\nline.py",
    b"it's\n\\new.py",
    b"form\x0cfeed\xe2\x80\xa8.py",
    b"$x.py",
    b"caf\xe9.py",
    b"quote's.py",
    b" blank .py",
    b"#hash.py",
    b"back\\slash.py",
]


# workflows


def test_workflows_lists_name_origin_and_description_without_running_a_file(shell: Shell) -> None:
    shell.files(orchestrator_toml=CONFIG, flows_py=FLOWS)
    done = shell.run("workflows")
    assert (done.returncode, done.stderr) == (0, "")
    assert [re.split(r"  +", line) for line in done.stdout.splitlines()] == [
        ["ci", "orchestrator.toml", "What CI\\x1b[2J does"],
        ["evening", "flows.py:evening"],
        ["nightly", "flows.py:nightly", "Do the work of the night."],
    ]
    listed = json.loads(shell.run("workflows", "--json").stdout)
    assert [entry["name"] for entry in listed] == ["ci", "evening", "nightly"]
    assert listed[2] == {
        "name": "nightly",
        "origin": "flows.py:nightly",
        "description": "Do the work of the night.",
    }


def test_workflows_of_a_config_further_up_are_found_and_without_any_it_is_said_where_to_write_one(
    shell: Shell,
) -> None:
    none = shell.run("workflows")
    assert (none.returncode, none.stdout) == (0, "")
    assert "[workflows.NAME] in orchestrator.toml, or to flows.py" in none.stderr
    shell.files(orchestrator_toml=CONFIG, flows_py=FLOWS)
    (shell.folder / "deep").mkdir()
    done = shell.bash("cd deep && $ORCHESTRATOR workflows && $ORCHESTRATOR run ci -n")
    assert re.findall(r"^(\w+) +\.\./", done.stdout, re.MULTILINE) == ["ci", "evening", "nightly"]
    assert "would run 2 tasks" in done.stdout


# discover


def test_discover_lists_scripts_sorted_and_tells_what_each_says_of_itself(shell: Shell) -> None:
    shell.script("b.py", '"""Count\x1b[2J things.\n\nAt length."""\n')
    shell.script("a/deep.py")
    shell.script("package/__init__.py")
    shell.script("package/module.py", "x = 1\n")
    shell.script(".hidden.py")
    assert shell.run("discover").stdout == "a/deep.py\nb.py\n"
    assert shell.run("discover", "a").stdout == "a/deep.py\n"
    assert shell.run("discover", env={"CODOMYRMEX_SCRIPT_ROOT": "a"}).stdout.endswith("a/deep.py\n")
    assert shell.run("discover", "-v").stdout == "a/deep.py\nb.py       Count\\x1b[2J things.\n"
    gone = shell.run("discover", "nowhere")
    assert (gone.returncode, gone.stdout) == (2, "") and "'nowhere' does not exist" in gone.stderr
    (shell.folder / "empty").mkdir()
    empty = shell.run("discover", "empty")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "there are no scripts here\n")


def test_discover_tells_the_mistake_of_a_script_in_its_place_and_lists_the_others(shell: Shell) -> None:
    shell.files(a_py='"""Fine."""\n', b_py="# /// script\n# [tool.orchestrator]\n# timeout = -1\n# ///\n")
    done = shell.run("discover", "-v")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first == "a.py  Fine."
    assert second.startswith("b.py  b.py: tool.orchestrator.timeout: ")
    assert "timeout" in json.loads(shell.run("discover", "--json").stdout)[1]["problem"]


def test_discover_as_json_has_the_settings_of_each_but_no_value_of_a_variable(shell: Shell) -> None:
    """Z3"""
    shell.files(orchestrator_toml=CONFIG)
    shell.script(b"nightly/caf\xe9.py", '"""Night."""\n')
    done = shell.run("discover", "--json")
    assert done.stdout.isascii() and SECRET not in done.stdout
    (script,) = json.loads(done.stdout)
    assert (script["path"], script["description"]) == ("nightly/caf\ufffd.py", "Night.")
    assert (script["timeout"], script["retries"], script["env"]) == (90, 2, ["KEY", "TOKEN"])


@pytest.mark.parametrize("line", ["discover -0 | $BATCH -0 -", "discover -0 | $BATCH -", "discover | $BATCH -"])
def test_what_discover_lists_batch_reads_back_whatever_the_names(shell: Shell, line: str) -> None:
    """X6"""
    for name in ODD:
        shell.script(name, "import os\nopen(b'ran', 'ab').write(os.path.basename(os.fsencode(__file__)) + b'\\0')\n")
    done = shell.bash(f"$ORCHESTRATOR {line}")
    assert "9 scripts: 9 ok" in done.stdout, done
    assert set((shell.folder / "ran").read_bytes().split(b"\0")) == {*ODD, b""}


# config


@pytest.mark.parametrize("arguments", [[], ["--json"], ["nightly/a.py"], ["nightly/a.py", "--json"]])
def test_no_value_of_a_variable_is_ever_shown(shell: Shell, arguments: list[str]) -> None:
    """Z3"""
    shell.files(orchestrator_toml=CONFIG)
    shell.script("nightly/a.py", f"# /// script\n# [tool.orchestrator]\n# env = {{OWN = '{SECRET}'}}\n# ///\n")
    done = shell.run("config", *arguments)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "TOKEN" in done.stdout and ("OWN" in done.stdout) is ("nightly/a.py" in arguments)


def test_config_shows_every_setting_with_where_it_comes_from(shell: Shell) -> None:
    shell.files(orchestrator_toml=CONFIG)
    env = {"CODOMYRMEX_MAX_WORKERS": "7"}
    lines = shell.run("config", env=env).stdout.splitlines()
    assert lines[0] == f"# {shell.folder}/orchestrator.toml"
    rows = {row[0]: row[1:] for row in (re.split(r"  +", line) for line in lines[1:])}
    assert rows["defaults.jobs"] == ["7", "CODOMYRMEX_MAX_WORKERS"]
    assert rows["defaults.retries"] == ["2", "orchestrator.toml"]
    assert rows["defaults.timeout"] == ["null", "default"]
    assert rows["defaults.env.TOKEN"] == ["(set)", "orchestrator.toml"]
    assert rows['scripts."nightly/*.py".timeout'] == ["90.0", "orchestrator.toml"]
    document = json.loads(shell.run("config", "--json", env=env).stdout)
    assert document["values"]["defaults"]["env"] == ["TOKEN"]
    assert document["origins"]["defaults.jobs"] == "CODOMYRMEX_MAX_WORKERS"


def test_config_of_a_script_is_what_holds_for_it_and_a_name_of_none_shows_the_closest(shell: Shell) -> None:
    shell.files(orchestrator_toml=CONFIG)
    shell.script("nightly/report.py", '"""Report."""\n')
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in shell.run("config", "report").stdout.splitlines())
    assert (rows["path"], rows["description"]) == (f"{shell.folder}/nightly/report.py", "Report.")
    assert (rows["timeout"], rows["env"], rows["retries"]) == ("90.0", '["KEY", "TOKEN"]', "2")
    assert json.loads(shell.run("config", "--json", "report.py").stdout)["timeout"] == 90
    gone = shell.run("config", "reprot")
    assert (gone.returncode, gone.stdout) == (2, "")
    assert "there is no script 'reprot'; did you mean 'report'?" in gone.stderr


# info


def test_info_tells_versions_limits_and_config_also_when_that_cannot_be_read(shell: Shell) -> None:
    document = json.loads(shell.run("info", "--json").stdout)
    assert document["orchestrator"] == version("codomyrmex-orchestrator")
    assert document["Python"].endswith(f"({sys.executable})")
    assert document["config"] == "none"
    shell.files(orchestrator_toml="[defaults]\nx = 1\n")
    text = shell.run("info").stdout
    assert re.search(r"^CPUs +\d+ to use, ", text, re.MULTILINE)
    assert re.search(r"^config +unreadable: orchestrator.toml: defaults.x: unknown key", text, re.MULTILINE)


# The commands as data


def test_cli_commands_are_those_of_the_help_page_with_every_argument_and_option() -> None:
    commands = cli_commands()
    assert {name.partition(" ")[0] for name in commands} == set(COMMANDS)
    assert {name: commands[name]["help"] for name in COMMANDS if name in commands}.items() <= COMMANDS.items()
    assert {"ci run", "ci schema"} <= commands.keys()
    batch = {argument["name"]: argument for argument in commands["batch"]["args"]}
    assert batch["scripts"] == {
        "name": "scripts",
        "flags": [],
        "help": "",
        "required": False,
        "multiple": True,
        "is_flag": False,
    }
    assert (batch["jobs"]["flags"], batch["dry_run"]["is_flag"]) == (["-j", "--jobs"], True)
    assert batch["arguments"]["multiple"]
    assert [argument["name"] for argument in commands["run"]["args"] if argument["required"]] == ["name"]


def test_handlers_do_what_the_commands_do_and_return_their_exit_codes(shell: Shell) -> None:
    shell.files(orchestrator_toml=CONFIG, a_py="import sys\nprint(sys.argv[1:])\n")
    program = """
from orchestrator import cli_commands

commands = cli_commands()
print(commands["workflows"]["handler"]())
print(commands["run"]["handler"](name="ci", quiet=True))
print(commands["run"]["handler"](name="nothing"))
variables, axes = {"A": "1"}, {"n": [1, 2]}
print(commands["batch"]["handler"](scripts=["a.py", "a.py"], timeout=3, env=variables, matrix=axes, dry_run=True))
print(commands["batch"]["handler"](scripts=["a.py"], tag=True, fail_fast=False, jobs=None, arguments=["-x", 1]))
print(commands["pipe"]["handler"](commands=["echo --stream", "exit 4"], env=[("A", "1")]))
for wrong in ({"nam": "ci"}, {"zzz": 1}):
    try:
        commands["run"]["handler"](**wrong)
    except TypeError as error:
        print(error)
"""
    shell.script("program.py", program)
    done = shell.bash('"$PYTHON" -u program.py')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ci  orchestrator.toml  What CI") and lines[1] == "0"
    assert re.fullmatch(r"2 tasks: 2 ok in .*", lines[2]) and lines[3:5] == ["0", "2"]
    assert lines[5] == "would run 4 scripts, 2 at a time, at most 3.0 s each, up to 2 retries each:"
    assert lines[6:11] == [
        "  a.py n=1: --n 1",
        "  a.py n=2: --n 2",
        "  a.py n=1 (2): --n 1",
        "  a.py n=2 (2): --n 2",
        "0",
    ]
    assert lines[11:14] == ["a.py\t['-x', '1']", "0", "1"]
    assert lines[14] == "the command run has no argument 'nam'; did you mean 'name'?"
    assert lines[15].startswith("the command run has no argument 'zzz'; it takes name, ")
    assert "there is no workflow and no script nothing" in done.stderr


# Help


def test_the_help_page_lists_every_command_and_a_command_that_is_none_gets_a_hint(shell: Shell) -> None:
    done = shell.run("--help")
    listed = re.findall(r"^  (\w+) +(\S.*)$", done.stdout.partition("Commands:\n")[2], re.MULTILINE)
    assert dict(listed) == COMMANDS
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert shell.run("--version").stdout == f"orchestrator {version('codomyrmex-orchestrator')}\n"
    for word, hint in (("bacth", "did you mean 'batch'?"), ("x.py", "to run a script: orchestrator run x.py")):
        wrong = shell.run(word)
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert hint in wrong.stderr


def test_every_command_has_a_help_page_of_80_columns(shell: Shell) -> None:
    pages = {name: shell.command(name, "-h" if name == "run" else "--help") for name in COMMANDS}
    for name, process in pages.items():
        done = end_of(process)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: orchestrator {name} ")
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_help_page_of_a_command_needs_neither_its_config_nor_what_runs_things(shell: Shell) -> None:
    shell.files(orchestrator_toml="nonsense")
    done = shell.bash('"$PYTHON" -X importtime -m orchestrator batch --help')
    assert done.returncode == 0
    assert not {"rich", "loky", "psutil", "asyncio"} & set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))


def test_a_root_of_the_config_or_the_environment_that_is_not_there_is_told(shell: Shell) -> None:
    shell.script("orchestrator.toml", '[discovery]\nroot = "nodir"\n')
    done = shell.run("discover")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: orchestrator.toml: discovery.root: ")
