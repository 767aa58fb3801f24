"""`orchestrator ci`: pipelines and workflow files from a shell."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.surface.shell import Shell, end_of, read_until
from tests.waiting import eventually, is_alive, lines_of

PIPELINE = """
name: shop
stages:
  - {name: build, commands: [echo built, "echo noise >&2"]}
  - {name: unit, commands: [echo tested]}
  - {name: lint, commands: ["echo untidy; exit 3"], allow_failure: true}
  - {name: ship, commands: [echo shipped]}
parallel_stages: [[unit, lint]]
"""
BROKEN = """
stages:
  - {name: build, commands: [echo one, "echo two; exit 5", echo three]}
  - {name: test, commands: [echo tested]}
  - {name: mourn, commands: [echo mourning], condition: failure()}
"""
WORKFLOW = """
name: CI
on: push
jobs:
  test:
    runs-on: ubuntu-latest
    strategy: {fail-fast: false, matrix: {n: [1, 2]}}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
      - {name: say, run: "echo number ${{ matrix.n }}; echo '# it is ${{ matrix.n }}' >> $GITHUB_STEP_SUMMARY"}
      - {name: check, run: "test ${{ matrix.n }} = 1"}
  after:
    needs: test
    if: always()
    runs-on: ubuntu-latest
    steps: [{run: "echo ${{ needs.test.result }} ${{ github.event.number }}"}]
"""


@pytest.fixture
def project(shell: Shell) -> Shell:
    """A shell in a project with a space in its name, with a pipeline and a workflow file."""
    shell.folder = shell.folder / "my project"
    shell.script(".github/workflows/ci.yml", WORKFLOW)
    shell.script("shop.yml", PIPELINE)
    shell.script("broken.yml", BROKEN)
    (shell.folder / ".git").mkdir()
    return shell


def test_a_pipeline_that_ends_well_says_so_also_where_a_stage_may_fail(project: Shell) -> None:
    done = project.run("ci", "run", "shop.yml")
    assert done.returncode == 0, done.stderr
    assert "4 stages: 3 ok, 1 raised in" in done.stdout
    assert "untidy" in done.stdout
    assert "shipped" not in done.stdout


def test_a_failed_stage_shows_its_commands_and_the_exit_code_is_one(project: Shell) -> None:
    done = project.run("ci", "run", "broken.yml")
    assert done.returncode == 1
    assert "command 2 of 3 (echo two; exit 5): exited with code 5" in done.stdout
    assert "· echo one: ok" in done.stdout
    assert "· echo two; exit 5: raised" in done.stdout
    assert "three" not in done.stdout
    assert "test: skipped because 'build' failed\n" in done.stdout
    assert "3 stages: 1 ok, 1 raised, 1 skipped" in done.stdout
    assert done.stdout.endswith(" (3 at a time)\n")


def test_verbose_shows_what_every_command_printed(project: Shell) -> None:
    done = project.run("ci", "run", "shop.yml", "-v")
    for text in ("built", "noise", "tested", "untidy", "shipped"):
        assert text in done.stdout


def test_lines_come_as_they_are_printed_with_the_stage_before_them(project: Shell) -> None:
    project.script("slow.yml", "stages:\n  - {name: wait, commands: [echo begun, 'cat go']}\n")
    os.mkfifo(project.folder / "go")
    process = project.command("ci", "run", "slow.yml", "--tag", "--line-buffer")
    assert "wait\tbegun\n" in read_until(process.stdout, "begun\n")
    project.release()
    process.kill()


def test_the_document_has_every_stage_and_its_commands(project: Shell) -> None:
    done = project.run("ci", "run", "broken.yml", "--json")
    document = json.loads(done.stdout)
    build, test, mourn = document["stages"]
    assert [stage["ending"] for stage in document["stages"]] == ["raised", "skipped", "ok"]
    assert [part["stdout"] for part in build["parts"]] == ["one\n", "two\n"]
    assert test["reason"] == "skipped because 'build' failed"
    assert mourn["stdout"] == "mourning\n"


def test_a_workflow_file_runs_with_a_row_for_each_job_and_names_what_is_not_run(project: Shell) -> None:
    project.script("event.json", '{"number": 7}')
    done = project.run("ci", "run", ".github/workflows/ci.yml", "--event", "event.json", "-v")
    assert done.returncode == 1
    warning = ".github/workflows/ci.yml, line 10: jobs.test.steps[1].uses: skipped: actions/setup-python@v5"
    assert warning in done.stderr
    assert done.stderr.rstrip().endswith("1 part of the file not run here, as said above")
    assert "3 jobs: 2 ok, 1 raised" in done.stdout
    assert "failure 7" in done.stdout
    assert "── summary of test (1)\n# it is 1\n" in done.stdout


def test_one_job_can_be_chosen_and_brings_what_it_needs(project: Shell) -> None:
    done = project.run("ci", "run", ".github/workflows/ci.yml", "--job", "test", "--json")
    assert [job["name"] for job in json.loads(done.stdout)["tasks"]] == ["test (1)", "test (2)"]
    wrong = project.run("ci", "run", ".github/workflows/ci.yml", "--job", "tset")
    assert (wrong.returncode, "did you mean 'test'" in wrong.stderr) == (2, True)


def test_the_list_and_the_plan_run_nothing(project: Shell) -> None:
    listed = project.run("ci", "run", "shop.yml", "--list")
    assert listed.stdout.splitlines()[3].split() == ["ship", "after", "unit,", "lint", "1", "command"]
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["build", "unit", "lint", "ship"]
    plan = project.run("ci", "run", ".github/workflows/ci.yml", "-n")
    assert plan.returncode == 0
    for text in ("would run CI, 3 jobs", "as test (2)", "after  [after test; if always()]", "[skipped: actions/setup"):
        assert text in plan.stdout
    document = json.loads(project.run("ci", "run", "shop.yml", "-n", "--json").stdout)
    assert [stage["name"] for stage in document["stages"]] == ["build", "unit", "lint", "ship"]
    assert document["stages"][0]["commands"] == ["echo built", "echo noise >&2"]


def test_strict_runs_nothing_of_a_file_that_would_not_run_wholly(project: Shell) -> None:
    done = project.run("ci", "run", ".github/workflows/ci.yml", "--strict")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--strict: 1 part of the file would not be run here" in done.stderr


def test_without_a_name_the_only_pipeline_is_meant(project: Shell) -> None:
    done = project.run("ci", "run", "--list")
    assert done.stdout.startswith("test")
    project.script("pipeline.yml", PIPELINE)
    several = project.run("ci", "run")
    assert several.returncode == 2
    assert "there are 2 pipelines here, name one: pipeline.yml, .github/workflows/ci.yml" in several.stderr
    (project.folder / ".github" / "workflows" / "ci.yml").unlink()
    (project.folder / "pipeline.yml").unlink()
    assert "there is no pipeline here" in project.run("ci", "run").stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: [{name: a, comands: [x]}]\n", "line 1: stages[0].comands: unknown key; did you mean 'commands'"),
        ("on: push\njobs:\n  a: {runs-on: x, steps: [{rnu: x}]}\n", "did you mean"),
        ("on: push\njobs:\n  a: {needs: b, runs-on: x, steps: [{run: x}]}\n", "line 3: jobs.a.needs"),
        ("stages:\n\t- x\n", "not with tabs"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_its_place_and_exit_code_two(
    project: Shell, text: str, words: str
) -> None:
    project.script("wrong.yml", text)
    done = project.run("ci", "run", "wrong.yml")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("Error: wrong.yml, line ")
    assert "Traceback" not in done.stderr


def test_a_missing_file_and_a_bad_event_are_named(project: Shell) -> None:
    assert "Error: none.yml: cannot be read: No such file" in project.run("ci", "run", "none.yml").stderr
    project.script("event.json", "[1]")
    wrong = project.run("ci", "run", ".github/workflows/ci.yml", "--event", "event.json")
    assert (wrong.returncode, "the payload of an event is an object" in wrong.stderr) == (2, True)


def test_the_schema_is_printed(project: Shell) -> None:
    assert json.loads(project.run("ci", "schema").stdout)["title"] == "A pipeline of orchestrator"


CANCELLED = """
on: push
jobs:
  a:
    runs-on: x
    steps:
      - run: "echo $$ > pid; echo begun; sleep 60"
      - {if: always(), run: "echo cleaned; CLEANUP"}
"""


def test_the_first_ctrl_c_cancels_and_lets_the_cleaning_up_run(project: Shell) -> None:
    project.script("c.yml", CANCELLED.replace("CLEANUP", "true"))
    process = project.command("ci", "run", "c.yml", "-v")
    eventually(lambda: lines_of(project.folder / "pid"))
    process.send_signal(signal.SIGINT)
    done = end_of(process)
    assert done.returncode == 130
    assert "cleaned" in done.stdout
    assert "stopping: cancelling 1 running; press Ctrl-C again to kill them" in done.stderr
    assert "1 job: 1 cancelled" in done.stdout


def test_the_second_ctrl_c_stops_that_too_and_leaves_nothing(project: Shell) -> None:
    project.script("c.yml", CANCELLED.replace("CLEANUP", "echo $$ > second; sleep 60"))
    process = project.command("ci", "run", "c.yml")
    first = eventually(lambda: lines_of(project.folder / "pid"))
    process.send_signal(signal.SIGINT)
    second = eventually(lambda: lines_of(project.folder / "second"))
    process.send_signal(signal.SIGINT)
    done = end_of(process)
    assert done.returncode == 130
    assert not any(is_alive(int(pid)) for pid in (*first, *second))


def test_a_second_run_of_a_concurrency_group_waits_for_the_first(project: Shell, tmp_path: Path) -> None:
    project.script(
        "g.yml",
        "on: push\nconcurrency: one\njobs:\n  a: {runs-on: x, steps: [{run: 'echo x >> log; head -c1 go'}]}\n",
    )
    os.mkfifo(project.folder / "go")
    meet = {"XDG_CACHE_HOME": str(tmp_path)}
    first = project.command("ci", "run", "g.yml", env=meet)
    eventually(lambda: lines_of(project.folder / "log"))
    second = project.command("ci", "run", "g.yml", env=meet)
    third = project.command("ci", "run", "g.yml", env=meet)
    eventually(lambda: second.poll() is not None or third.poll() is not None, 30)
    loser, winner = (second, third) if second.poll() is not None else (third, second)
    assert end_of(loser).returncode == 3
    assert lines_of(project.folder / "log") == ["x"]
    project.release()
    ends = [end_of(first), end_of(winner)]
    assert [done.returncode for done in ends] == [0, 0]
    said = "waiting: something else of the concurrency group 'local/my project/one' is under way\n"
    assert [said in done.stderr for done in ends] == [False, True]
    assert lines_of(project.folder / "log") == ["x", "x"]
