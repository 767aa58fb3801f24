"""What a script says it needs, in its own PEP 723 block and in the config, and which of them wins."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.surface.shell import Shell

TELLS = "import os, sys\nprint(*sys.argv[1:], os.environ.get('WHO'), os.environ.get('MORE'), os.getcwd())\n"


def needing(text: str = "print('fine')\n", **needs: Any) -> str:
    """Return the text of a script that says what it needs; the values are written as JSON, which is TOML here."""
    table = "".join(
        f"# {key} = {value if isinstance(value, Inline) else json.dumps(value)}\n" for key, value in needs.items()
    )
    return f"# /// script\n# dependencies = []\n# [tool.orchestrator]\n{table}# ///\n{text}"


class Inline(str):
    """A value as TOML has it."""


def dry(shell: Shell, *arguments: str) -> dict[str, dict[str, Any]]:
    """Return what would run, by name."""
    done = shell.batch("-n", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {script["name"]: script for script in json.loads(done.stdout)["scripts"]}


# Limits


def test_a_script_gets_the_limits_arguments_and_variables_that_it_says_it_needs(shell: Shell) -> None:
    hangs = shell.script("hangs.py", needing("import time\ntime.sleep(600)\n", timeout="500ms"))
    greedy = needing("import time\nx = bytearray(300_000_000)\ntime.sleep(600)\n", memory="100M")
    flaky = "import os\nif not os.path.exists('x'): open('x', 'w'); raise SystemExit(1)\n"
    tells = needing(TELLS, args=["--own", "two words"], env=Inline("{ WHO = 'me' }"), cwd="in here")
    (shell.folder / "in here").mkdir()
    names = [
        hangs,
        shell.script("greedy.py", greedy),
        shell.script("flaky.py", needing(flaky, retries=1)),
        shell.script("tells.py", tells),
    ]
    done = shell.batch("--json", "--kill-after", "0.1", *names, "--", "typed")
    scripts = {script["name"]: script for script in json.loads(done.stdout)["scripts"]}
    assert scripts["hangs.py"]["ending"] == "timed out"
    assert scripts["greedy.py"]["ending"] == "out of memory"
    assert (scripts["flaky.py"]["ending"], scripts["flaky.py"]["attempts"]) == ("ok", 2)
    assert scripts["tells.py"]["stdout"] == f"--own two words typed me None {shell.folder}/in here\n"


def test_run_honours_the_needs_of_one_script_but_for_what_it_depends_on(shell: Shell) -> None:
    shell.files(orchestrator_toml="[scripts.tells]\nenv = { WHO = 'config', MORE = 'more' }\n")
    shell.script("tells.py", needing(TELLS, args=["own"], depends_on=["absent.py"]))
    done = shell.run("run", "tells.py", "--env", "MORE=typed", "--", "-x")
    assert (done.returncode, done.stdout) == (0, f"own -x config typed {shell.folder}\n"), done.stderr


def test_typed_wins_over_the_script_that_over_its_entry_in_the_config_that_over_the_defaults(shell: Shell) -> None:
    shell.files(
        orchestrator_toml="""
[defaults]
timeout = 10
memory = "10M"
retries = 1
env = { WHO = "defaults", A = "", B = "" }
[scripts."*.py"]
timeout = "20s"
memory = "20M"
[scripts.script]
memory = "30M"
retries = 3
env = { WHO = "entry", C = "" }
"""
    )
    for name in ("other.txt", "entry.py"):
        shell.script(name)
    shell.script("script.py", needing(TELLS, retries=4, env=Inline("{ WHO = 'script' }")))
    keys = ("timeout_seconds", "memory_bytes", "retries")
    found = dry(shell, "other.txt", "entry.py", "script.py")
    assert [[script[key] for key in keys] for script in found.values()] == [
        [10, 10 << 20, 1],
        [20, 20 << 20, 1],
        [20, 30 << 20, 4],
    ]
    assert [script["variables"] for script in found.values()] == [["A", "B", "WHO"]] * 2 + [["A", "B", "C", "WHO"]]
    typed = dry(shell, "script.py", "--timeout", "1m", "--memory", "1G", "--retries", "0", "--env", "D=")
    assert [typed["script.py"][key] for key in keys] == [60, 1 << 30, 0]
    assert typed["script.py"]["variables"] == ["A", "B", "C", "D", "WHO"]
    assert shell.batch("-q", "--line-buffer", "script.py").stdout.split()[0] == "script"
    assert shell.batch("-q", "--line-buffer", "script.py", "--env", "WHO=typed").stdout.split()[0] == "typed"


def test_the_number_of_jobs_is_typed_or_the_environments_or_the_configs(shell: Shell) -> None:
    shell.files(orchestrator_toml="[defaults]\njobs = 5\n", a_py="")
    scripts = ["a.py"] * 9
    assert "9 scripts, 5 at a time" in shell.batch("-n", *scripts).stdout
    env = {"CODOMYRMEX_MAX_WORKERS": "4"}
    assert "9 scripts, 4 at a time" in shell.batch("-n", *scripts, env=env).stdout
    assert "9 scripts, 3 at a time" in shell.batch("-n", "-j3", *scripts, env=env).stdout


# Order


def test_scripts_run_after_those_that_they_depend_on_by_path_name_or_name_without_suffix(shell: Shell) -> None:
    logs = "print(__file__.rpartition('/')[2], file=open('log', 'a'))\n"
    shell.files(orchestrator_toml="[scripts.three]\ndepends_on = ['jobs/two.py']\n")
    shell.script("jobs/one.py", logs)
    shell.script("jobs/two.py", needing(logs, depends_on=["one"]))
    shell.script("three.py", logs)
    shell.script("four.py", needing(logs, depends_on=["three.py"]))
    done = shell.batch("-j4", "four.py", "three.py", "jobs")
    assert done.returncode == 0, done.stderr
    assert (shell.folder / "log").read_text().split() == ["one.py", "two.py", "three.py", "four.py"]
    lines = shell.batch("-n", "four.py", "three.py", "jobs").stdout.splitlines()
    assert lines[1:] == [
        "  four.py  [after three.py]",
        "  three.py  [after jobs/two.py]",
        "  jobs/one.py",
        "  jobs/two.py  [after jobs/one.py]",
    ]


def test_a_dependency_that_runs_several_times_is_waited_for_each_time(shell: Shell) -> None:
    shell.files(a_py="", b_py=needing(depends_on=["a"]))
    found = dry(shell, "b.py", "a.py", "a.py", "--matrix", "n=1,2")
    assert found["b.py n=1"]["depends_on"] == ["a.py n=1", "a.py n=1 (2)"]  # each time, with the same values


def test_what_depends_on_a_failed_script_is_skipped_and_says_so_and_the_rest_still_runs(shell: Shell) -> None:
    """G2"""
    fails, alone = shell.script("fails.py", "raise SystemExit(3)\n"), shell.script("alone.py")
    b, c = (
        shell.script("b.py", needing(depends_on=["fails"])),
        shell.script("c.py", needing(depends_on=["b", "alone"])),
    )
    done = shell.batch("--json", c, b, fails, alone)
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document["counts"] == {"ok": 1, "raised": 1, "skipped": 2}
    assert document["scripts"][1]["reason"] == "skipped because 'fails.py' failed"
    assert document["scripts"][0]["reason"].startswith("skipped because ")
    assert re.search(r"^b.py +skipped +- ", done.stderr, re.MULTILINE)


def test_a_dependency_that_is_not_among_the_scripts_is_refused_with_the_cure(shell: Shell) -> None:
    shell.files(a_py="open('ran', 'w')\n", b_py=needing(depends_on=["a.py"]), c_py=needing(depends_on=["gone"]))
    for script, need in (("b.py", "a.py"), ("c.py", "gone")):
        done = shell.batch(script)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{script} depends on {need}, which is not among the scripts: add it" in done.stderr
        assert "--no-deps" in done.stderr
    assert shell.batch("--no-deps", "b.py", "c.py").returncode == 0
    assert not (shell.folder / "ran").exists()


def test_scripts_that_depend_on_each_other_in_a_circle_are_refused_with_the_way_round(shell: Shell) -> None:
    """G1"""
    for name, need in (("a", "b"), ("b", "c"), ("c", "a"), ("self", "self")):
        shell.script(f"{name}.py", needing("open('ran', 'w')\n", depends_on=[need]))
    done = shell.batch("a.py", "b.py", "c.py", "--results", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "circle: a.py -> b.py -> c.py -> a.py" in done.stderr
    assert "self.py" in shell.batch("self.py", "-n").stderr
    assert sorted(path.name for path in shell.folder.iterdir()) == ["a.py", "b.py", "c.py", "self.py"]


# Mistakes


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"orchestrator.toml": "[defaults]\ntimeot = 3\n"},
            "orchestrator.toml: defaults.timeot: unknown key; did you mean 'timeout'?",
        ),
        (
            {"orchestrator.toml": "[defaults]\nretries = 'two'\n"},
            "defaults.retries: must be a whole number, 0 or more, not 'two' (text)",
        ),
        ({"orchestrator.toml": "[defaults\n"}, "orchestrator.toml, line 1"),
        ({"orchestrator.yaml": "defaults:\n  memory: lots\n"}, "orchestrator.yaml, line 2"),
        ({"orchestrator.json": '{"scripts": []}'}, "scripts: must be a table of keys and values"),
        (
            {"pyproject.toml": "[tool.orchestrator.defaults]\njobs = 0\n"},
            "pyproject.toml: tool.orchestrator.defaults.jobs: must be",
        ),
        (
            {"orchestrator.toml": "", "orchestrator.json": "{}"},
            "holds orchestrator.toml and orchestrator.json; keep one of them",
        ),
        ({"a.py": needing(timeout=-1)}, "a.py: tool.orchestrator.timeout: must be a number of seconds above zero"),
        ({"a.py": needing(depends_on="b.py")}, "a.py: tool.orchestrator.depends_on: must be a list of text"),
        ({"a.py": "# /// script\n# x = \n# ///\n"}, "a.py, line 2"),
    ],
)
def test_a_mistake_in_a_config_or_script_exits_with_2_and_names_file_and_key(
    shell: Shell, files: dict[str, str], said: str
) -> None:
    """L5"""
    for name, text in {"a.py": "open('ran', 'w')\n", **files}.items():
        shell.script(name, text)
    done = shell.batch("a.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shell.folder / "ran").exists()


def test_the_config_that_is_named_is_read_instead_of_the_nearest(shell: Shell) -> None:
    shell.files(orchestrator_toml="nonsense", other_toml="[defaults]\ntimeout = 7\n", a_py="")
    assert dry(shell, "a.py", "--config", "other.toml")["a.py"]["timeout_seconds"] == 7


def test_of_a_matrix_a_script_waits_for_the_same_combination_only(shell: Shell) -> None:
    shell.files(
        prep_py="import os, sys\nsys.exit(os.environ['seed'] == '2')\n", train_py=needing(depends_on=["prep.py"])
    )
    done = shell.batch("prep.py", "train.py", "--matrix", "seed=1,2", "--json")
    endings = {script["name"]: script["ending"] for script in json.loads(done.stdout)["scripts"]}
    assert endings == {
        "prep.py seed=1": "ok", "prep.py seed=2": "raised", "train.py seed=1": "ok", "train.py seed=2": "skipped",
    }  # fmt: skip
