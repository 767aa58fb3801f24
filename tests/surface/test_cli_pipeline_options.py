"""`orchestrator ci run`: its options, and how the parts of stages and jobs are shown."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.surface.shell import Shell, end_of
from tests.waiting import eventually, is_alive, lines_of

ALONE = "mkdir alone && sleep 0.2 && rmdir alone"


def endings(document: dict[str, Any], key: str = "stages") -> dict[str, str]:
    """Return how each stage or job ended."""
    return {row["name"]: row["ending"] for row in document[key]}


FAILING = """
stages:
  - {name: lint, commands: [exit 3], allow_failure: true}
  - {name: deploy, commands: [touch never], condition: "env.NOWHERE == 'set'"}
  - {name: bad, commands: ["until [ -e pid ]; do sleep 0.02; done; exit 1"]}
  - {name: slow, commands: ["echo $$ > pid; END"]}
  - {name: clean, commands: [echo cleaned], condition: always()}
parallel_stages: [[bad, slow]]
"""


def test_the_first_failure_cancels_the_rest_if_that_is_wanted_but_none_that_may_be(shell: Shell) -> None:
    shell.script("fast.yml", FAILING.replace("END", "sleep 60"))
    fast = shell.run("ci", "run", "fast.yml", "--fail-fast", "--json")
    assert endings(json.loads(fast.stdout)) == {
        "lint": "raised", "deploy": "skipped", "bad": "raised", "slow": "cancelled", "clean": "ok",
    }  # fmt: skip
    assert fast.returncode == 1
    (pid,) = lines_of(shell.folder / "pid")
    assert not is_alive(int(pid))


def test_without_that_what_runs_beside_a_failure_goes_on(shell: Shell) -> None:
    shell.script("slow.yml", FAILING.replace("END", "sleep 0.5"))
    assert endings(json.loads(shell.run("ci", "run", "slow.yml", "--json").stdout))["slow"] == "ok"


def test_so_many_stages_run_at_a_time_as_is_said_else_all_that_may(shell: Shell) -> None:
    meet = "echo > {0}; until [ -e {1} ]; do sleep 0.02; done"
    form = "stages:\n  - {{name: a, commands: ['{0}'], timeout: 20}}\n  - {{name: b, commands: ['{1}'], timeout: 20}}\n"
    groups = "parallel_stages: [[a, b]]\n"
    shell.script("alone.yml", form.format(ALONE, ALONE) + groups)
    shell.script("together.yml", form.format(meet.format("x", "y"), meet.format("y", "x")) + groups)
    assert shell.run("ci", "run", "alone.yml", "-j", "1").returncode == 0
    few = {"CODOMYRMEX_MAX_WORKERS": "1"}
    assert shell.run("ci", "run", "together.yml", env=few).returncode == 0


def test_so_many_jobs_run_at_a_time_as_is_configured(shell: Shell) -> None:
    jobs = "".join(f"  {name}: {{runs-on: x, steps: [{{run: '{ALONE}'}}]}}\n" for name in "abc")
    shell.script("jobs.yml", f"on: push\njobs:\n{jobs}")
    done = shell.run("ci", "run", "jobs.yml", env={"CODOMYRMEX_MAX_WORKERS": "1"})
    assert done.returncode == 0, done.stdout
    assert "3 jobs: 3 ok" in done.stdout


def test_the_whole_is_stopped_when_its_time_has_passed(shell: Shell) -> None:
    shell.script(
        "slow.yml", "timeout: 1h\nstages: [{name: a, commands: [sleep 60]}, {name: b, commands: [touch never]}]\n"
    )
    done = shell.run("ci", "run", "slow.yml", "--timeout", "0.5")
    assert done.returncode == 1
    assert "given up because the workflow's deadline passed (0.5 s)" in done.stdout
    assert not (shell.folder / "never").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_the_first_signal_lets_the_cleaning_up_run_unless_it_is_that_of_the_end(shell: Shell, number: int) -> None:
    steps = '[{run: "echo $$ > pid; sleep 60"}, {if: always(), run: touch cleaned}]'
    shell.script("c.yml", f"on: push\njobs:\n  a: {{runs-on: x, steps: {steps}}}\n")
    process = shell.command("ci", "run", "c.yml")
    (pid,) = eventually(lambda: lines_of(shell.folder / "pid"))
    process.send_signal(number)
    done = end_of(process)
    assert done.returncode == 128 + number
    assert (shell.folder / "cleaned").exists() is (number != signal.SIGTERM)
    assert not is_alive(int(pid))


def test_the_event_is_a_push_unless_another_is_named(shell: Shell) -> None:
    shell.script("e.yml", "on: push\njobs: {a: {runs-on: x, steps: [{run: 'echo by ${{ github.event_name }}'}]}}\n")
    assert "by push\n" in shell.run("ci", "run", "e.yml", "-v").stdout
    assert "by schedule\n" in shell.run("ci", "run", "e.yml", "-v", "--event-name", "schedule").stdout


PARTS = """
on: push
jobs:
  plan:
    runs-on: x
    outputs: {m: '["a", "b"]'}
    steps:
      - {name: soft, run: echo softly; exit 2, continue-on-error: true}
      - {name: grieve, if: failure(), run: "true"}
  work:
    needs: plan
    runs-on: x
    strategy: {fail-fast: false, matrix: {n: "${{ fromJSON(needs.plan.outputs.m) }}"}}
    steps: [{name: inner, run: "echo in ${{ matrix.n }}; test ${{ matrix.n }} = a"}]
"""


def test_the_list_and_the_plan_are_documents_too_and_the_plan_keeps_to_what_was_chosen(shell: Shell) -> None:
    shell.script(".github/workflows/parts.yaml", PARTS)
    listed = json.loads(shell.run("ci", "run", "--list", "--json").stdout)
    assert [(job["name"], job["needs"]) for job in listed["jobs"]] == [("plan", []), ("work", ["plan"])]
    assert [[step.partition(":")[0] for step in job["steps"]] for job in listed["jobs"]] == [
        ["soft", "grieve"], ["inner"],
    ]  # fmt: skip
    planned = json.loads(shell.run("ci", "run", "-n", "--json", "--job", "plan").stdout)
    assert [job["name"] for job in planned["jobs"]] == ["plan"]


def test_the_parts_of_parts_are_shown_with_what_they_printed_and_why_they_were_skipped(shell: Shell) -> None:
    shell.script("parts.yml", PARTS)
    shown = [line.strip() for line in shell.run("ci", "run", "parts.yml").stdout.splitlines()]
    place = shown.index("'work (b)' failed: 'inner' failed: exited with code 1")
    parts = [line.partition(" after")[0] for line in shown[place + 1 :] if line]
    assert parts[:6] == ["· work (a): ok", "· inner: ok", "· work (b): raised", "· inner: raised", "stdout:", "in b"]
    verbose = shell.run("ci", "run", "parts.yml", "-v").stdout
    assert "· soft: raised after" in verbose
    assert "· grieve: skipped, its condition does not hold: failure()" in verbose
    assert "in a" in verbose


def test_the_document_tells_what_may_fail_and_the_parts_of_parts(shell: Shell) -> None:
    shell.script("parts.yml", PARTS)
    plan, work = json.loads(shell.run("ci", "run", "parts.yml", "--json").stdout)["tasks"]
    assert [(part["name"], part["tolerated"]) for part in plan["parts"]] == [("soft", True), ("grieve", False)]
    assert plan["parts"][0]["return_code"] == 2
    assert "tolerated" not in plan
    assert [[(part["name"], part["stdout"]) for part in one["parts"]] for one in work["parts"]] == [
        [("inner", "in a\n")], [("inner", "in b\n")],
    ]  # fmt: skip


@pytest.fixture
def untidy(shell: Shell) -> Shell:
    """A shell with a pipeline in which all that fails is a stage that may."""
    shell.script("untidy.toml", '[[stages]]\nname = "lint"\ncommands = ["exit 3"]\nallow_failure = true\n')
    return shell


def test_a_stage_that_failed_as_it_may_is_told_so_everywhere(untidy: Shell) -> None:
    done = untidy.run("ci", "run", "untidy.toml")
    assert done.returncode == 0
    (heading,) = [line for line in done.stdout.splitlines() if line.startswith("── lint: raised")]
    assert heading.endswith(", allowed to fail")
    document = json.loads(untidy.run("ci", "run", "untidy.toml", "--json").stdout)
    assert (document["success"], document["stages"][0]["success"], document["stages"][0]["tolerated"]) == (
        True, False, True,
    )  # fmt: skip


def test_a_summary_is_no_command_to_github_and_steers_no_terminal(shell: Shell) -> None:
    script = r"printf '\033[2J::error::forged\n' >> $GITHUB_STEP_SUMMARY"
    shell.script(
        "s.yml", f"on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - name: tell\n        run: {script}\n"
    )
    lines = shell.run("ci", "run", "s.yml", "--ci", "github").stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "forged" in line)
    assert "\x1b" not in lines[place]
    token = lines[place - 2].removeprefix("::stop-commands::")
    assert lines[place - 1 : place + 2 : 2] == ["── summary of a", f"::{token}::"]


def test_the_plan_shows_conditions_that_decide_and_nothing_that_steers_a_terminal(shell: Shell) -> None:
    shell.script(
        "p.yml",
        'stages:\n  - {name: a, commands: ["echo \\e[2J"], condition: success()}\n'
        "  - {name: b, commands: [ls], condition: always()}\n",
    )
    plan = shell.run("ci", "run", "p.yml", "-n").stdout
    assert "\x1b" not in plan
    assert "  a\n" in plan
    assert "  b  [after a; if always()]\n" in plan


def test_of_a_step_without_a_name_the_plan_shows_the_first_line(shell: Shell) -> None:
    shell.script(
        "p.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: |\n          one\n          two\n"
    )
    assert shell.run("ci", "run", "p.yml", "-n").stdout.endswith("  a\n    one\n")
