"""Pipelines of stages: order, failure, limits, conditions, artifacts. Real commands."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    CICDBridge,
    CycleError,
    Ending,
    Event,
    ExecutionResult,
    OrchestratorBridge,
    PipelineConfig,
    PipelineError,
    Printed,
    StageConfig,
    TaskStatus,
    create_pipeline_workflow,
    run_ci_stage,
    run_script,
)
from tests.waiting import eventually, is_alive, lines_of, wait_gone


def stage(name: str, *commands: str, **options: Any) -> StageConfig:
    """Return a stage that runs the commands, or says its name."""
    return StageConfig(name, list(commands) or [f"echo {name}"], **options)


def ran(*stages: StageConfig, parallel: list[list[str]] | None = None, **options: Any) -> dict[str, ExecutionResult]:
    """Run a pipeline of the stages and return the results by name."""
    results = OrchestratorBridge(**options).run_pipeline(PipelineConfig(list(stages), parallel or []))
    assert [result.name for result in results] == [stage.name for stage in stages]
    return {result.name: result for result in results}


def endings(results: dict[str, ExecutionResult]) -> dict[str, str]:
    """Return how each stage ended."""
    return {name: result.ending.value for name, result in results.items()}


# Order and failure


def test_stages_run_in_order_and_the_output_of_each_is_its_own(tmp_path: Path) -> None:
    results = ran(
        stage("one", "echo 1 >> log", "echo from one"),
        stage("two", "cat log; echo 2 >> log"),
        stage("three", "cat log"),
        cwd=tmp_path,
    )
    assert endings(results) == {"one": "ok", "two": "ok", "three": "ok"}
    assert [result.output for result in results.values()] == ["from one\n", "1\n", "1\n2\n"]
    assert all(result.error == "" and result.return_code == 0 and result.success for result in results.values())


def test_a_failed_command_ends_its_stage_and_the_later_stages_are_skipped_and_say_why(tmp_path: Path) -> None:
    results = ran(
        stage("build", "echo before", "echo bad >&2; exit 7", "touch never"), stage("test"), stage("ship"), cwd=tmp_path
    )
    build = results["build"]
    assert endings(results) == {"build": "raised", "test": "skipped", "ship": "skipped"}
    assert (build.output, build.return_code) == ("before\n", 7)
    assert build.error.startswith("bad\n")
    assert "command 2 of 3 (echo bad >&2; exit 7): exited with code 7" in build.error
    assert [part.return_code for part in build.stages] == [0, 7]
    assert not (tmp_path / "never").exists()
    assert results["test"].error == results["ship"].error == "skipped because 'build' failed\n"


def test_stages_named_together_run_at_once_and_the_next_waits_for_them_all(tmp_path: Path) -> None:
    meet = "touch {0}; while [ ! -e {1} ]; do sleep 0.01; done"
    results = ran(
        stage("first", "echo > first"),
        stage("left", meet.format("l", "r"), "echo left >> log"),
        stage("right", "test -e first", meet.format("r", "l"), "echo right >> log"),
        stage("last", "wc -l < log"),
        parallel=[["left", "right"]],
        cwd=tmp_path,
    )
    assert set(endings(results).values()) == {"ok"}
    assert results["last"].output.strip() == "2"


def test_forty_stages_named_together_are_all_under_way_at_once(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(40)]
    meet = "touch here-{0}; while [ $(ls here-* | wc -l) -lt 40 ]; do sleep 0.05; done"
    stages = [stage(name, meet.format(name), timeout=60) for name in names]
    assert set(endings(ran(*stages, parallel=[names], cwd=tmp_path)).values()) == {"ok"}


def test_a_failure_beside_others_costs_them_nothing() -> None:
    results = ran(stage("bad", "exit 1"), stage("good", "sleep 0.2", "echo good"), parallel=[["bad", "good"]])
    assert endings(results) == {"bad": "raised", "good": "ok"}
    assert results["good"].output == "good\n"


def test_a_stage_that_names_what_it_depends_on_waits_for_that_alone() -> None:
    results = ran(
        stage("build"), stage("broken", "false"), stage("docs", depends_on=["build"]), stage("free", depends_on=[])
    )
    assert endings(results) == {"build": "ok", "broken": "raised", "docs": "ok", "free": "ok"}


def test_what_may_fail_stops_nothing_and_is_still_a_failure() -> None:
    results = ran(stage("lint", "exit 4", allow_failure=True), stage("test"))
    assert endings(results) == {"lint": "raised", "test": "ok"}
    assert results["lint"].return_code == 4
    assert results["lint"].tolerated
    assert not results["lint"].success


def test_no_stages_give_no_results() -> None:
    assert OrchestratorBridge().run_pipeline(PipelineConfig([])) == []


# Environment


def test_variables_of_bridge_pipeline_and_stage_and_the_directory_reach_the_commands(tmp_path: Path) -> None:
    (tmp_path / "sub dir").mkdir()
    config = PipelineConfig(
        [stage("show", 'echo "$A $B $C"; pwd', env={"C": "stage $HOME `x`"}, cwd="sub dir")], env={"B": "b", "C": "p"}
    )
    (result,) = OrchestratorBridge(env={"A": "a", "B": "bridge"}, cwd=tmp_path).run_pipeline(config)
    assert result.output == f"a b stage $HOME `x`\n{tmp_path / 'sub dir'}\n"


def test_each_command_is_a_process_of_its_own_which_reads_nothing() -> None:
    result = run_ci_stage(stage("x", "cd /; A=1", 'pwd; echo "[$A]"; cat'))
    assert result.output == f"{os.getcwd()}\n[]\n"


def test_a_command_of_several_lines_is_one_shell(tmp_path: Path) -> None:
    result = CICDBridge(cwd=tmp_path).run_ci_stage(stage("x", "A=1\nfor n in 1 2; do\n  echo $A$n\ndone"))
    assert result.output == "11\n12\n"


# Limits


def test_one_time_limit_holds_for_all_commands_and_the_whole_tree_is_stopped(tmp_path: Path) -> None:
    grandchild = "setsid sh -c 'echo $$ > pid; sleep 60' & sleep 60"
    result = CICDBridge(cwd=tmp_path).run_ci_stage(
        stage("x", "echo first; sleep 0.4", grandchild, "echo third", timeout=0.8)
    )
    assert (result.ending, result.return_code, result.output) == (Ending.TIMED_OUT, 124, "first\n")
    assert "command 2 of 3" in result.error
    assert "0.8 s for all together" in result.error
    assert len(result.stages) == 2
    for pid in lines_of(tmp_path / "pid"):
        wait_gone(int(pid))


def test_a_command_for_which_no_time_is_left_is_not_started(tmp_path: Path) -> None:
    keeps_on = "trap 'sleep 0.3; exit 0' TERM; sleep 5 & wait; exit 0"
    result = CICDBridge(cwd=tmp_path).run_ci_stage(stage("x", keeps_on, "touch never", timeout=0.3, grace=5))
    assert result.ending is Ending.TIMED_OUT
    assert not (tmp_path / "never").exists()


def test_memory_beyond_the_limit_stops_the_stage() -> None:
    hog = "python3 -c 'import time; held = bytearray(b\"x\") * (300 << 20); time.sleep(30)'"
    result = run_ci_stage(stage("x", hog, memory_limit="100M"))
    assert (result.ending, result.return_code) == (Ending.OUT_OF_MEMORY, 137)


def test_a_killed_command_is_a_crash_and_its_output_is_kept() -> None:
    result = run_ci_stage(stage("x", "echo before; kill -9 $$"))
    assert (result.ending, result.return_code, result.output) == (Ending.CRASHED, 137, "before\n")


def test_a_failed_stage_is_run_again_as_often_as_said_with_its_history(tmp_path: Path) -> None:
    flaky = "echo x >> tries; test $(wc -l < tries) -ge {}"
    again = CICDBridge(cwd=tmp_path).run_ci_stage(stage("x", flaky.format(2), retry_on_failure=True))
    assert (again.ending, again.attempts, len(again.history)) == (Ending.OK, 2, 1)
    (tmp_path / "tries").unlink()
    assert CICDBridge(cwd=tmp_path).run_ci_stage(stage("x", flaky.format(9), retry_on_failure=True)).attempts == 2
    (tmp_path / "tries").unlink()
    often = CICDBridge(cwd=tmp_path).run_ci_stage(stage("x", flaky.format(4), retries=3))
    assert (often.ending, often.attempts) == (Ending.OK, 4)
    (tmp_path / "tries").unlink()
    once = CICDBridge(cwd=tmp_path).run_ci_stage(stage("x", flaky.format(4), retries=0, retry_on_failure=True))
    assert (once.ending, once.attempts) == (Ending.RAISED, 1)


def test_the_pipelines_own_time_limit_ends_it_with_a_result_for_every_stage() -> None:
    config = PipelineConfig([stage("a"), stage("b", "sleep 60"), stage("c")], timeout=0.7)
    results = OrchestratorBridge().run_pipeline(config)
    assert [result.ending for result in results] == [Ending.OK, Ending.CANCELLED, Ending.SKIPPED]


def test_a_directory_that_is_gone_and_a_flood_are_the_stages_own_failure(tmp_path: Path) -> None:
    results = ran(
        stage("gone", cwd="nowhere", allow_failure=True), stage("flood", "head -c 50000000 /dev/zero | tr '\\0' x"),
        cwd=tmp_path,
    )  # fmt: skip
    assert (results["gone"].ending, results["gone"].return_code) == (Ending.RAISED, 126)
    assert "is gone" in results["gone"].error
    assert results["flood"].success
    assert len(results["flood"].output) < 40_000_000


# Conditions


@pytest.mark.parametrize("broken", [True, False])
def test_conditions_decide_by_what_came_of_the_stages_before(broken: bool) -> None:
    results = ran(
        stage("build", "exit 1" if broken else "exit 0"),
        stage("plain"),
        stage("mourn", condition="failure()"),
        stage("cheer", condition="success() && env.MOOD == 'good'", env={"MOOD": "good"}),
        stage("clean", condition="always()"),
        stage("look", condition="always() && stages.build.result == 'failure'"),
        stage("fussy", condition="always() && env.NOWHERE == 'x'"),
        stage("python", condition=lambda stages: stages["build"].return_code == 1),
    )
    assert endings(results) == {
        "build": "raised" if broken else "ok",
        "plain": "skipped" if broken else "ok",
        "mourn": "ok" if broken else "skipped",
        "cheer": "skipped" if broken else "ok",
        "clean": "ok",
        "look": "ok" if broken else "skipped",
        "fussy": "skipped",
        "python": "ok" if broken else "skipped",
    }
    assert results["fussy"].error.startswith("skipped because its condition does not hold")
    if broken:
        assert results["cheer"].error == "skipped because 'build' failed\n"
    else:
        assert results["mourn"].error == "skipped because its condition does not hold: failure()\n"


def test_a_stage_skipped_by_its_own_condition_stops_none_after_it() -> None:
    results = ran(stage("deploy", condition="env.NOWHERE == 'set'"), stage("report"))
    assert endings(results) == {"deploy": "skipped", "report": "ok"}


def test_a_condition_that_raises_fails_its_stage_alone() -> None:
    def broken(_stages: dict[str, ExecutionResult]) -> bool:
        raise RuntimeError("no idea")

    results = ran(stage("a"), stage("b", condition=broken), stage("c", condition="always()"))
    assert endings(results) == {"a": "ok", "b": "raised", "c": "ok"}
    assert "no idea" in results["b"].error


# Artifacts


def test_artifacts_are_kept_and_a_missing_one_fails_its_stage(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    make = "mkdir -p out/deep; echo 1 > out/a.txt; echo 2 > out/deep/b.txt"
    results = ran(
        stage("../make", make, artifacts=["out/**/*.txt"]), stage("miss", artifacts=["*.whl"]), stage("after"),
        cwd=tmp_path, artifacts=kept,
    )  # fmt: skip
    assert endings(results) == {"../make": "ok", "miss": "raised", "after": "skipped"}
    assert "its artifact '*.whl' matches no file" in results["miss"].error
    (folder,) = kept.iterdir()
    assert sorted(path.name for path in folder.rglob("*.txt")) == ["a.txt", "b.txt"]
    assert (folder / "out" / "deep" / "b.txt").read_text() == "2\n"


def test_what_a_failed_stage_has_made_is_kept_and_its_own_failure_stands(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    failed = ran(stage("x", "echo log > x.log; exit 3", artifacts=["*.log", "*.whl"]), cwd=tmp_path, artifacts=kept)[
        "x"
    ]
    assert (failed.return_code, failed.ending) == (3, Ending.RAISED)
    assert (kept / "x" / "x.log").read_text() == "log\n"


# What cannot be a pipeline


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: StageConfig("", ["x"]), TypeError, "name must be text that is not empty"),
        (lambda: StageConfig("a", []), PipelineError, "stage 'a' has no commands"),
        (lambda: StageConfig("a", ["ls", " "]), PipelineError, "stage 'a': command 2 of 2 is empty"),
        (lambda: StageConfig("a", "ls"), TypeError, r"such as \['ls'\]"),  # type: ignore[arg-type]
        (lambda: StageConfig("a", [b"ls"]), TypeError, "is no text"),  # type: ignore[list-item]
        (lambda: stage("a", timeout=-1), ValueError, "stage 'a': timeout must be more than zero"),
        (lambda: stage("a", timeout="5"), TypeError, "stage 'a': timeout must be a number"),
        (lambda: stage("a", env={"X": 1}), TypeError, "stage 'a': the variable 'X' must be text"),
        (lambda: stage("a", retries=-1), ValueError, "retries must be zero or more"),
        (lambda: stage("a", retries=True), TypeError, "retries must be a whole number"),
        (lambda: stage("a", allow_failure="no"), TypeError, "allow_failure must be True or False"),
        (lambda: stage("a", memory_limit="lots"), ValueError, "stage 'a': 'lots' is not an amount"),
        (lambda: stage("a", condition="success() &&"), PipelineError, "stage 'a': condition"),
        (lambda: stage("a", condition=3), TypeError, "must be an expression or a callable"),
        (lambda: stage("a", artifacts=["../x"]), PipelineError, "must be a path below"),
        (lambda: stage("a", artifacts=["/x"]), PipelineError, "must be a path below"),
        (lambda: stage("a", depends_on="b"), TypeError, r"such as \['b'\]"),
        (lambda: PipelineConfig([stage("a"), stage("a")]), PipelineError, "two stages named 'a'"),
        (lambda: PipelineConfig([stage("build")], [["biuld"]]), PipelineError, "did you mean 'build'"),
        (lambda: PipelineConfig([stage("a"), stage("b")], [["a"], ["b", "a"]]), PipelineError, r"\[1\].*\[0\] too"),
        (lambda: PipelineConfig([stage("a")], [["a", "a"]]), PipelineError, "'a' is twice in it"),
        (lambda: PipelineConfig([stage("a")], ["a"]), TypeError, r"such as \['a'\]"),  # type: ignore[list-item]
        (lambda: PipelineConfig([stage("a", depends_on=["z"])]), PipelineError, "'z', which is no stage"),
        (lambda: PipelineConfig([stage("a", depends_on=["b"]), stage("b")]), CycleError, "a -> b -> a"),
        (lambda: PipelineConfig(stage("a")), TypeError, "must be a list of StageConfig"),  # type: ignore[arg-type]
        (lambda: PipelineConfig(["a"]), TypeError, "must be a list of StageConfig"),  # type: ignore[list-item]
        (lambda: OrchestratorBridge().run_pipeline([stage("a")]), TypeError, "must be a PipelineConfig"),  # type: ignore[arg-type]
        (lambda: CICDBridge().run_ci_stage("a"), TypeError, "must be a StageConfig"),  # type: ignore[arg-type]
        (lambda: OrchestratorBridge(max_workers=0), ValueError, "at least 1"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_name(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_a_pipeline_that_was_spoiled_after_it_was_made_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = PipelineConfig([stage("a", f"touch {tmp_path}/ran")])
    config.parallel_stages.append(["b"])
    with pytest.raises(PipelineError, match="'b' is no stage"):
        OrchestratorBridge().run_pipeline(config)
    assert not (tmp_path / "ran").exists()


def test_the_callers_stages_and_pipeline_are_left_as_they_were() -> None:
    config = PipelineConfig([stage("a"), stage("b")], [["a", "b"]])
    before = repr(config)
    OrchestratorBridge(env={"X": "1"}).run_pipeline(config)
    assert repr(config) == before


# As a workflow, and from elsewhere


def test_the_workflow_has_a_task_for_each_stage_wired_in_order() -> None:
    config = PipelineConfig([stage("a"), stage("b", "exit 3"), stage("c"), stage("d")], [["b", "c"]])
    flow = create_pipeline_workflow(config)
    assert flow.parallel_groups() == [["a"], ["b", "c"], ["d"]]
    results = flow.run()
    assert [result.status for result in results.values()] == [
        TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.COMPLETED, TaskStatus.SKIPPED,
    ]  # fmt: skip
    assert results["a"].value.output == "a\n"
    assert results["b"].return_code == 3


def test_what_commands_write_is_heard_while_they_run() -> None:
    heard: list[Event] = []
    OrchestratorBridge(on_event=heard.append, live_output=True).run_pipeline(
        PipelineConfig([stage("a", "echo one", "echo two >&2")])
    )
    assert b"".join(event.data for event in heard if isinstance(event, Printed) and event.stream == 1) == b"one\n"
    assert b"".join(event.data for event in heard if isinstance(event, Printed) and event.stream == 2) == b"two\n"


def test_a_pipeline_runs_also_where_an_event_loop_does() -> None:
    async def main() -> list[ExecutionResult]:
        return OrchestratorBridge().run_pipeline(PipelineConfig([stage("a")]))

    assert asyncio.run(main())[0].output == "a\n"


def test_a_pipeline_can_be_cancelled_from_another_thread(tmp_path: Path) -> None:
    bridge = OrchestratorBridge(cwd=tmp_path)
    found: list[ExecutionResult] = []
    config = PipelineConfig([stage("a", "echo $$ > pid; sleep 60"), stage("b", condition="always()")])
    thread = threading.Thread(target=lambda: found.extend(bridge.run_pipeline(config)))
    thread.start()
    pid = eventually(lambda: lines_of(tmp_path / "pid"))[0]
    bridge.cancel()
    thread.join(20)
    assert [result.ending for result in found] == [Ending.CANCELLED, Ending.SKIPPED]
    assert not is_alive(int(pid))


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_ctrl_c_stops_the_pipeline_and_leaves_nothing(tmp_path: Path, in_a_loop: bool) -> None:
    script = tmp_path / "drive.py"
    script.write_text(
        f"""
import asyncio, os, signal, threading
from orchestrator import OrchestratorBridge, PipelineConfig, StageConfig

def interrupt():
    while not os.path.exists("pid"):
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGINT)

def run():
    OrchestratorBridge().run_pipeline(PipelineConfig([StageConfig("a", ["echo $$ > pid; exec sleep 60"])]))

async def main():
    run()

threading.Thread(target=interrupt).start()
try:
    asyncio.run(main()) if {in_a_loop} else run()
except KeyboardInterrupt:
    print("interrupted")
""",
        encoding="utf-8",
    )
    result = run_script(script, cwd=tmp_path, timeout=60, env={"PYTHONPATH": os.getcwd()})
    assert result.output == "interrupted\n", result.error
    (pid,) = lines_of(tmp_path / "pid")
    assert not is_alive(int(pid))


def test_a_driver_killed_in_the_middle_leaves_no_command(tmp_path: Path) -> None:
    script = tmp_path / "drive.py"
    script.write_text(
        "from orchestrator import *\n"
        "OrchestratorBridge().run_pipeline(PipelineConfig([StageConfig('a', ['echo $PPID $$ > pid; sleep 60'])]))\n",
        encoding="utf-8",
    )
    found: list[ExecutionResult] = []
    thread = threading.Thread(
        target=lambda: found.append(run_script(script, cwd=tmp_path, timeout=60, env={"PYTHONPATH": os.getcwd()}))
    )
    thread.start()
    driver, command = eventually(lambda: (lines_of(tmp_path / "pid") or [""])[0].split())
    os.kill(int(driver), signal.SIGKILL)
    wait_gone(int(command))
    thread.join(20)
    assert found[0].ending is Ending.CRASHED


# Inside of a CI system


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory outside of any CI system."""
    github = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
    for name in (*github, "GITLAB_CI", "JENKINS_URL", "JENKINS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FAILING = [stage("good", "echo ::error::forged"), stage("bad", "python3 bad.py"), stage("late")]


def test_outside_of_any_system_a_bridge_prints_and_writes_nothing(
    outside: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    CICDBridge().run_pipeline(PipelineConfig(list(FAILING)))
    assert capfd.readouterr() == ("", "")
    assert list(outside.iterdir()) == []


def test_github_gets_folds_with_a_guard_an_annotation_and_the_summary(
    outside: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(outside / "summary.md"))
    (outside / "bad.py").write_text("\n\nraise ValueError('no good')\n")
    CICDBridge().run_pipeline(PipelineConfig(list(FAILING)))
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("::group::good: ok after")
    assert lines[1].startswith("::stop-commands::")
    token = lines[1].rpartition("::")[2]
    assert lines[2:5] == ["::error::forged", f"::{token}::", "::endgroup::"]
    (error,) = [line for line in lines if line.startswith("::error ")]
    assert error.startswith("::error file=bad.py,line=3,title=bad%3A raised after")
    assert "ValueError: no good" in error
    assert "1 raised" in (outside / "summary.md").read_text()


def test_gitlab_gets_sections_and_a_junit_report_and_each_can_be_switched_off(
    outside: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    CICDBridge().run_ci_stage(stage("a b"))
    out = capfd.readouterr().out
    assert "section_start:" in out
    assert ":a_b-" in out
    assert out.count("section_end:") == 1
    assert 'name="a b"' in (outside / "orchestrator-junit.xml").read_text()
    (outside / "orchestrator-junit.xml").unlink()
    CICDBridge(ci="auto,-groups,-junit").run_ci_stage(stage("a"))
    assert capfd.readouterr().out == ""
    CICDBridge(ci="off", junit=outside / "mine.xml").run_ci_stage(stage("a"))
    assert capfd.readouterr().out == ""
    assert [path.name for path in outside.iterdir()] == ["mine.xml"]


def test_a_system_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="write auto, github, gitlab, jenkins or off"):
        CICDBridge(ci="travis")
