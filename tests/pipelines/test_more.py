"""Pipelines of stages, the finer points: time that is shared, what a cancellation spares, conditions, artifacts."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    CICDBridge,
    Ending,
    ExecutionResult,
    Limits,
    OrchestratorBridge,
    PipelineConfig,
    PipelineError,
    Workflow,
    create_pipeline_workflow,
)
from orchestrator.live import heard_by, listener
from orchestrator.pipelines.cancellation import Cancellation
from orchestrator.pipelines.loading import load_pipeline
from orchestrator.pipelines.sequence import Clock, run_within
from orchestrator.programs import shell_of
from tests.pipelines.acts import endings, results_of, write
from tests.pipelines.test_stages import ran, stage
from tests.waiting import eventually, lines_of, wait_gone

# What a stage is


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: stage("a", "ls", "echo \0"), PipelineError, "stage 'a': command 2 of 2 holds a NUL"),
        (lambda: stage("a", artifacts=["x", ""]), PipelineError, "the artifact '' must be a path below"),
        (lambda: PipelineConfig([stage("a")], env={"X": 1}), TypeError, "the variable 'X' must be text"),  # type: ignore[dict-item]
        (lambda: PipelineConfig([stage("a")], timeout=0), ValueError, "timeout must be more than zero"),
        (lambda: PipelineConfig([stage("a")], name=None), TypeError, "a pipeline's name must be text"),  # type: ignore[arg-type]
        (lambda: OrchestratorBridge(env={"X": None}), TypeError, "the variable 'X' must be text"),  # type: ignore[dict-item]
        (lambda: OrchestratorBridge(on_event="x"), TypeError, "on_event must be callable"),  # type: ignore[arg-type]
        (lambda: create_pipeline_workflow([stage("a")]), TypeError, "must be a PipelineConfig"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_runs(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_each_attempt_may_use_what_the_stage_says() -> None:
    assert stage("a", timeout=3, memory_limit="1G", grace=0.5).limits == Limits(3, "1G", 0.5)


def test_a_stage_that_is_named_twice_is_waited_for_once() -> None:
    config = PipelineConfig([stage("a"), stage("b", depends_on=["a", "a"])])
    assert config.needs() == {"a": [], "b": ["a"]}


# Its commands together


def test_what_one_command_has_used_of_the_time_limit_the_next_has_no_more(tmp_path: Path) -> None:
    (result,) = ran(stage("x", "sleep 0.8", "sleep 0.8; touch never", timeout=1.2), cwd=tmp_path).values()
    assert (result.ending, result.return_code) == (Ending.TIMED_OUT, 124)
    assert not (tmp_path / "never").exists()


def test_a_stage_has_used_what_its_commands_have_used() -> None:
    hog = "python3 -c 'held = bytearray(b\"x\") * (300 << 20); sum(range(10**6))'"
    (result,) = ran(stage("x", hog, "true")).values()
    first, second = result.stages
    assert result.peak_memory == max(first.peak_memory, second.peak_memory) > 300 << 20
    assert result.cpu_time == first.cpu_time + second.cpu_time > 0
    assert result.execution_time == first.execution_time + second.execution_time
    assert result.pid == second.pid


def test_the_errors_of_one_command_end_where_those_of_the_next_begin() -> None:
    (result,) = ran(stage("x", "printf one >&2", "printf two >&2; exit 1")).values()
    assert result.error.startswith("one\ntwo\ncommand 2 of 2")


def test_a_program_whose_turn_comes_after_the_cancellation_is_cancelled_and_never_started(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.request()
    result = run_within(shell_of("touch never", "x", cwd=str(tmp_path)), Clock(None), cancellation)
    assert (result.ending, result.reason) == (Ending.CANCELLED, "cancelled before it had started\n")
    assert not (tmp_path / "never").exists()


def test_stages_keep_to_the_limits_that_whoever_runs_them_sets(tmp_path: Path) -> None:
    path = write(tmp_path, "stages: [{name: a, commands: [sleep 60], timeout: 1h}]\n", "pipeline.yml")
    assert results_of(load_pipeline(path), limits=Limits(0.4))["a"].ending is Ending.TIMED_OUT


# Cancelled


def test_a_cancellation_stops_what_runs_and_spares_what_says_always_or_cancelled(tmp_path: Path) -> None:
    text = """
    stages:
      - {name: spared, commands: ["echo > up; until [ -e go ]; do sleep 0.02; done"], condition: always()}
      - {name: work, commands: ["echo $$ > pid; sleep 60", touch never]}
      - {name: next, commands: [touch never]}
      - {name: told, commands: [echo told], condition: cancelled()}
      - {name: clean, commands: [echo clean], condition: always()}
    parallel_stages: [[spared, work]]
    """
    pipeline = load_pipeline(write(tmp_path, text, "pipeline.yml"))
    found: list[dict[str, ExecutionResult]] = []
    thread = threading.Thread(target=lambda: found.append(results_of(pipeline)))
    thread.start()
    eventually(lambda: lines_of(tmp_path / "up"))
    pid = int(eventually(lambda: lines_of(tmp_path / "pid"))[0])
    pipeline.cancellation.request()
    wait_gone(pid)
    (tmp_path / "go").touch()
    thread.join(30)
    (results,) = found
    assert endings(results) == {"spared": "ok", "work": "cancelled", "next": "skipped", "told": "ok", "clean": "ok"}
    assert results["next"].error == "skipped because the run was cancelled\n"
    assert not (tmp_path / "never").exists()


def test_after_a_cancellation_nothing_is_started_that_only_a_callable_lets_run(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.request()
    config = PipelineConfig([stage("plain"), stage("mine", "touch never", condition=lambda _: True)], cwd=tmp_path)
    results = create_pipeline_workflow(config, cancellation=cancellation).run()
    assert not {result.ending for result in results.values()} & {Ending.OK, Ending.RAISED}
    assert not (tmp_path / "never").exists()


# Conditions


def test_a_failure_elsewhere_is_nothing_to_a_stage_that_does_not_wait_for_it(tmp_path: Path) -> None:
    results = ran(
        stage("bad", "exit 1"),
        stage("mourn", "touch mourned", depends_on=["bad"], condition="failure()"),
        stage("slow", "until [ -e mourned ]; do sleep 0.02; done", depends_on=[]),
        stage("docs", depends_on=["slow"]),
        cwd=tmp_path,
    )
    assert endings(results) == {"bad": "raised", "mourn": "ok", "slow": "ok", "docs": "ok"}


def test_a_condition_sees_the_variables_that_its_commands_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "yes")
    stages = [
        stage("outside", condition="env.FROM_OUTSIDE == 'yes'"),
        stage("own", condition="env.WHO == 'stage'", env={"WHO": "stage"}),
        stage("whole", condition="env.WHO == 'pipeline'"),
    ]
    results = OrchestratorBridge().run_pipeline(PipelineConfig(stages, env={"WHO": "pipeline"}))
    assert [result.ending for result in results] == [Ending.OK] * 3


def test_a_condition_can_ask_for_the_exit_code_of_a_stage() -> None:
    conditions = ("stages.lint.return_code == 4", "stages.lint.return_code == 5")
    results = ran(
        stage("lint", "exit 4", allow_failure=True),
        *(stage(condition, depends_on=["lint"], condition=condition) for condition in conditions),
    )
    assert [result.ending for result in results.values()] == [Ending.RAISED, Ending.OK, Ending.SKIPPED]


def test_a_stage_that_may_fail_may_do_so_by_its_condition_too() -> None:
    def broken(_stages: dict[str, ExecutionResult]) -> bool:
        raise RuntimeError("no idea")

    assert endings(ran(stage("a", condition=broken, allow_failure=True), stage("b"))) == {"a": "raised", "b": "ok"}


# Artifacts


def test_hidden_files_are_artifacts_like_others_and_folders_are_made_not_copied(tmp_path: Path) -> None:
    make = "mkdir -p out/.cache; echo 1 > out/.coverage; echo 2 > out/.cache/deep; echo 3 > out/plain"
    results = ran(stage("x", make, artifacts=["out/**"]), cwd=tmp_path, artifacts=tmp_path / "kept")
    assert results["x"].success, results["x"].error
    kept = tmp_path / "kept" / "x" / "out"
    assert {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()} == {
        ".coverage", ".cache/deep", "plain",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["..", ".", "a/../../b"])
def test_no_name_of_a_stage_leads_out_of_the_folder_of_artifacts(tmp_path: Path, name: str) -> None:
    work, kept = tmp_path / "work", tmp_path / "outer" / "kept"
    work.mkdir()
    ran(stage(name, "echo > made", artifacts=["made"]), cwd=work, artifacts=kept)
    (folder,) = kept.iterdir()
    assert [path.name for path in folder.iterdir()] == ["made"]
    assert [path.name for path in kept.parent.iterdir()] == ["kept"]


def test_artifacts_that_cannot_be_kept_fail_a_stage_that_went_well(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    results = ran(stage("x", "echo > made", artifacts=["made"]), cwd=tmp_path, artifacts=tmp_path / "taken")
    assert results["x"].ending is Ending.RAISED
    assert "be kept: " in results["x"].error


def test_one_missing_artifact_fails_its_stage_where_the_others_are_kept(tmp_path: Path) -> None:
    wanted = ["*.whl", "*.txt"]
    results = ran(stage("x", "echo > a.txt", artifacts=wanted), cwd=tmp_path, artifacts=tmp_path / "kept")
    assert "its artifact '*.whl' matches no file" in results["x"].error
    assert (tmp_path / "kept" / "x" / "a.txt").exists()


# Bridges, and parts of a pipeline


def test_so_many_stages_run_at_a_time_as_the_bridge_says(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    alone = [stage(name, "mkdir alone && sleep 0.1 && rmdir alone") for name in names]
    results = ran(*alone, parallel=[names], cwd=tmp_path, max_workers=1)
    assert set(endings(results).values()) == {"ok"}, [result.error for result in results.values()]


def test_the_directory_of_a_pipeline_goes_before_that_of_its_bridge(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    config = PipelineConfig([stage("where", "pwd")], cwd=tmp_path / "inner")
    assert OrchestratorBridge(cwd=tmp_path).run_pipeline(config)[0].output == f"{tmp_path}/inner\n"


def test_a_stage_that_is_run_by_itself_waits_for_nobody() -> None:
    assert CICDBridge(ci="off").run_ci_stage(stage("x", depends_on=["elsewhere"])).output == "x\n"


def test_a_bridge_keeps_no_pipeline_that_is_over() -> None:
    bridge = OrchestratorBridge()
    bridge.run_pipeline(PipelineConfig([stage("a")], name="kept no longer"))
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Workflow) and one.name == "kept no longer"]
    bridge.cancel()


def test_a_part_of_a_pipeline_runs_as_it_would_in_the_whole(tmp_path: Path) -> None:
    meet = "echo > {0}; until [ -e {1} ]; do sleep 0.02; done"
    text = f"""
    stages:
      - {{name: left, commands: ["{meet.format("l", "r")}", exit 1], allow_failure: true, timeout: 20}}
      - {{name: right, commands: ["{meet.format("r", "l")}"], timeout: 20}}
      - {{name: ship, commands: [echo shipped]}}
      - {{name: after, commands: [touch never]}}
    parallel_stages: [[left, right]]
    """
    pipeline = load_pipeline(write(tmp_path, text, "pipeline.yml"))
    assert list(pipeline.workflow(only=["left"]).tasks) == ["left"]
    assert endings(results_of(pipeline, only=["ship"])) == {"left": "raised", "right": "ok", "ship": "ok"}
    assert not (tmp_path / "never").exists()


def test_a_stage_that_depends_on_nothing_starts_at_once_and_hears_of_no_failure() -> None:
    config = PipelineConfig([stage("bad", "exit 1"), stage("free", depends_on=[])])
    assert config.needs() == {"bad": [], "free": []}
    assert [result.ending for result in OrchestratorBridge().run_pipeline(config)] == [Ending.RAISED, Ending.OK]


def test_who_hears_what_is_printed_does_so_as_long_as_the_context_lasts() -> None:
    def outer(_stream: int, _data: bytes) -> None: ...

    with heard_by(outer):
        with heard_by(None):
            assert listener() is None
        assert listener() is outer
    assert listener() is None
