"""What steps, stages and their surroundings do to a run on purpose or by mistake; each costs only its own result."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import CICDBridge, Ending, OrchestratorBridge, PipelineConfig, PipelineError, StageConfig
from orchestrator.pipelines.actions import running
from orchestrator.pipelines.loading import load_pipeline
from tests.pipelines.acts import endings, ran, results_of, steps_of, write
from tests.waiting import eventually, lines_of

JOB = "a:\n  runs-on: x\n  steps:\n"


# What a step does to the files around it


@pytest.mark.parametrize(
    "harm", ['rm -rf "$RUNNER_TEMP"', 'rm -rf "$(dirname "$GITHUB_ENV")"', 'chmod 000 "$(dirname "$GITHUB_ENV")"']
)
def test_a_step_that_removes_our_files_costs_no_result_and_the_cleaning_up_is_tried(tmp_path: Path, harm: str) -> None:
    steps = f"    - run: echo one; {harm}\n    - run: echo two\n    - {{if: always(), run: echo three}}\n"
    result = ran(tmp_path, JOB + steps)["a"]
    assert result.output.startswith("one\n")
    assert len(result.stages) == 3
    assert all("Traceback" not in part.error for part in result.stages)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ('run: "echo ${{ fromJSON(\'\\"\\\\ud800\\"\') }}"', ""),
        ("{run: ls, shell: \"'' {0}\"}", "names no program"),
        ("run: \"printf 'A=1\\\\0' >> $GITHUB_ENV\"", "a NUL, which no variable can hold"),
        ("run: printf '<<E\\nx\\nE\\n' >> $GITHUB_ENV", "GITHUB_ENV, line 1: a value without a name"),
    ],
)
def test_odd_texts_fail_their_step_at_most(tmp_path: Path, step: str, words: str) -> None:
    result = ran(tmp_path, f"{JOB}    - {step}\n    - {{if: always(), run: echo on}}\n")["a"]
    assert result.output.endswith("on\n")
    assert words in result.error
    assert "Traceback" not in result.error


def test_a_summary_of_more_than_a_mebibyte_is_cut_and_costs_nothing_else(tmp_path: Path) -> None:
    steps = """
        - id: big
          run: |
            head -c 3000000 /dev/zero | tr '\\0' x >> $GITHUB_STEP_SUMMARY
            echo "a=1" >> $GITHUB_OUTPUT
        - run: echo "${{ steps.big.outputs.a }}"
    """
    result = ran(tmp_path, f"a:\n  runs-on: x\n  steps:{steps}")["a"]
    assert result.output == "1\n"
    assert result.value.summary.endswith("[cut: more than 1 MiB]\n")
    assert len(result.value.summary) < 1_100_000


def test_what_github_sets_no_step_can_change(tmp_path: Path) -> None:
    steps = """
        - run: echo "GITHUB_SHA=forged" >> $GITHUB_ENV; echo "CI=false" >> $GITHUB_ENV
        - {env: {GITHUB_JOB: forged}, run: 'echo "$GITHUB_SHA $GITHUB_JOB $CI"'}
    """
    result = ran(tmp_path, f"a:\n  runs-on: x\n  steps:{steps}")["a"]
    assert result.output.split() == ["a", "false"]


# Cancelling: what still holds when the run is cancelled goes on, and nothing else


def cancelled_while_it_runs(folder: Path, text: str) -> dict[str, Any]:
    """Run a pipeline, request its cancellation once the file `begun` is there, and return its results."""
    pipeline = load_pipeline(write(folder, text, "pipeline.yml"))
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(results_of(pipeline)))
    thread.start()
    eventually(lambda: (folder / "begun").exists())
    pipeline.cancellation.request()
    thread.join(30)
    assert not thread.is_alive()
    return found[0]


@pytest.mark.parametrize("condition", ["!cancelled()", "success() || failure()", "failure() || !cancelled()"])
def test_a_step_or_stage_that_only_names_a_status_is_stopped_as_any_other(tmp_path: Path, condition: str) -> None:
    (tmp_path / ".git").mkdir()
    step = f"on: push\njobs: {{a: {{runs-on: x, steps: [{{if: '{condition}', run: 'touch begun; sleep 60'}}]}}}}\n"
    results = cancelled_while_it_runs(tmp_path, step)
    assert endings(results) == {"a": "cancelled"}
    (tmp_path / "begun").unlink()
    stage = f"stages: [{{name: a, condition: '{condition}', commands: ['touch begun; sleep 60']}}]\n"
    assert endings(cancelled_while_it_runs(tmp_path, stage)) == {"a": "cancelled"}


def test_what_runs_in_any_case_has_so_long_after_the_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CLEANUP_SECONDS", 0.5)
    (tmp_path / ".git").mkdir()
    steps = "[{if: always(), run: 'touch begun; sleep 60'}, {if: always(), run: echo next}]"
    results = cancelled_while_it_runs(tmp_path, f"on: push\njobs: {{a: {{runs-on: x, steps: {steps}}}}}\n")
    assert [part.ending for part in results["a"].stages] == [Ending.TIMED_OUT, Ending.OK]


def test_after_a_jobs_time_cleaning_up_gets_a_time_of_its_own(tmp_path: Path) -> None:
    job = "a:\n  runs-on: x\n  timeout-minutes: 0.02\n  steps:\n"
    steps = """
    - run: sleep 60
    - {if: always(), run: sleep 1.5; echo clean}
    - {if: cancelled(), run: "echo ${{ job.status }}"}
    - {if: failure(), run: echo no}
"""
    result = ran(tmp_path, job + steps)["a"]
    assert result.ending is Ending.TIMED_OUT
    assert result.output == "clean\ncancelled\n"


# Jobs and their groups


def test_a_job_waits_for_all_before_it_as_on_github(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        a: {runs-on: x, steps: [{run: exit 1}]}
        b: {needs: a, if: always(), runs-on: x, steps: [{run: "true"}]}
        deploy: {needs: b, runs-on: x, steps: [{run: touch deployed}]}
        """,
    )
    assert endings(results) == {"a": "raised", "b": "ok", "deploy": "skipped"}
    assert results["deploy"].error == "skipped because 'a' ended with 'failure'\n"


def test_of_a_matrix_in_one_concurrency_group_the_last_runs_and_none_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "meet"))
    job = "a:\n  runs-on: x\n  concurrency: g\n  strategy: {matrix: {n: [1, 2, 3]}}\n  steps: [{run: sleep 0.5}]\n"
    ended = sorted(endings(ran(tmp_path, job)).values())
    assert ended == ["cancelled", "ok", "ok"]


def test_a_job_in_the_concurrency_group_of_its_workflow_is_refused_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "meet"))
    text = "on: push\nconcurrency: Same\njobs: {a: {runs-on: x, concurrency: same, steps: [{run: 'true'}]}}\n"
    pipeline = load_pipeline(write(tmp_path, text))
    with pipeline.turn():
        result = results_of(pipeline)["a"]
    assert result.ending is Ending.RAISED
    assert "a deadlock: the workflow itself has the concurrency group" in result.error


def test_one_at_a_time_holds_for_a_matrix_that_is_worked_out_late(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        plan: {runs-on: x, outputs: {l: "[1,2,3,4]"}, steps: [{run: "true"}]}
        work:
          needs: plan
          runs-on: x
          strategy: {matrix: {n: "${{ fromJSON(needs.plan.outputs.l) }}"}}
          steps: [{run: "mkdir lock && sleep 0.1 && rmdir lock"}]
        """,
        max_concurrency=1,
    )
    assert results["work"].success, results["work"].error


def test_one_bad_combination_of_a_late_matrix_costs_the_others_nothing(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        plan: {runs-on: x, outputs: {l: '["[]", "{"]'}, steps: [{run: "true"}]}
        work:
          needs: plan
          runs-on: x
          name: ${{ matrix.n }}
          strategy: {fail-fast: false, matrix: {n: "${{ fromJSON(needs.plan.outputs.l) }}"}}
          timeout-minutes: ${{ fromJSON(matrix.n) == 'x' || 5 }}
          steps: [{run: "echo ran"}]
        """,
    )
    assert results["work"].output == "ran\n"
    assert [part.ending for part in results["work"].stages] == [Ending.OK, Ending.RAISED]


@pytest.mark.parametrize(
    "job",
    [
        "{if: \"fromJSON('x')\", runs-on: x, steps: [{run: ls}]}",
        "{runs-on: \"${{ fromJSON('x') }}\", steps: [{run: ls}]}",
        "{runs-on: x, concurrency: \"${{ fromJSON('x') }}\", steps: [{run: ls}]}",
        "{runs-on: x, continue-on-error: \"${{ 'false' }}\", steps: [{run: exit 1}]}",
    ],
)
def test_an_expression_of_a_job_that_cannot_be_worked_out_is_told_with_its_place(tmp_path: Path, job: str) -> None:
    result = ran(tmp_path, f"a: {job}\n")["a"]
    assert (result.ending, result.tolerated) == (Ending.RAISED, False)
    assert "ci.yml, line" in result.error
    assert "jobs.a" in result.error
    assert "Traceback" not in result.error


# Files that are looked through


def test_links_in_a_circle_and_fifos_are_no_artifacts_and_a_folder_stands_for_what_is_in_it(tmp_path: Path) -> None:
    make = (
        "mkdir -p d/e dist; ln -s . d/a; ln -s . d/b; ln -s . d/c; mkfifo d/x.whl; echo 1 > dist/f; echo 2 > d/e/y.whl"
    )
    stage = StageConfig("a", [make], artifacts=["d/**/*.whl", "dist"], timeout=30)
    (result,) = OrchestratorBridge(cwd=tmp_path, artifacts=tmp_path / "kept").run_pipeline(PipelineConfig([stage]))
    assert result.success, result.error
    assert sorted(path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()) == ["f", "y.whl"]


def test_artifacts_are_kept_within_the_stages_time(tmp_path: Path) -> None:
    stage = StageConfig("a", ["truncate -s 200G big"], artifacts=["big"], timeout=1)
    (result,) = OrchestratorBridge(cwd=tmp_path, artifacts=tmp_path / "kept").run_pipeline(PipelineConfig([stage]))
    assert result.ending is Ending.RAISED
    assert "its time limit passed while its artifacts were kept" in result.error
    assert not list((tmp_path / "kept").rglob("big"))


def test_hashing_ends_when_everything_is_stopped(tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(200 << 30)
    steps = "{run: touch one}, {run: touch begun}, {run: \"echo ${{ hashFiles('big') }}\"}"
    path = write(tmp_path, f"on: push\njobs: {{a: {{runs-on: x, steps: [{steps}]}}}}\n")
    flow = load_pipeline(path).workflow()
    thread = threading.Thread(target=flow.run)
    thread.start()
    eventually(lambda: (tmp_path / "begun").exists())
    flow.cancel()
    thread.join(20)
    assert not thread.is_alive()
    assert steps_of(flow.results["a"].exception.result)["Run touch one"] == "ok"  # type: ignore[union-attr]


# The bridge and its system


def test_a_stages_name_cannot_forge_a_command_of_github(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    CICDBridge(ci="github,-annotations").run_ci_stage(StageConfig("a\n::error::forged", ["exit 1"]))
    assert not any(line.startswith("::error::") for line in capfd.readouterr().out.splitlines())


@pytest.mark.parametrize("kind", ["closed", "full", "ascii"])
def test_a_standard_output_that_takes_nothing_costs_no_result(tmp_path: Path, kind: str) -> None:
    script = tmp_path / "drive.py"
    script.write_text(
        "from orchestrator import CICDBridge, StageConfig\n"
        "result = CICDBridge(ci='github,-summary').run_ci_stage(StageConfig('ü', ['echo ü']))\n"
        "open('result', 'w').write(result.output)\n"
    )
    redirect = {"closed": ">&-", "full": "> /dev/full", "ascii": "> out"}[kind]
    line = f"PYTHONIOENCODING={'ascii' if kind == 'ascii' else 'utf-8'} '{sys.executable}' drive.py {redirect} 2> err"
    stage = StageConfig("drive", [line], env={"PYTHONPATH": os.getcwd()}, cwd=tmp_path)
    (result,) = OrchestratorBridge().run_pipeline(PipelineConfig([stage]))
    assert lines_of(tmp_path / "result") == ["ü"], result.error + (tmp_path / "err").read_text()


@pytest.mark.parametrize("condition", ["github.ref == 'x'", "hashFiles('x') == ''", "steps.a.outcome == 'x'"])
def test_a_stages_condition_that_asks_for_what_it_has_not_is_refused_at_once(condition: str) -> None:
    with pytest.raises(PipelineError, match="condition"):
        StageConfig("a", ["ls"], condition=condition)


def test_a_stages_condition_that_cannot_be_worked_out_fails_it_in_one_line() -> None:
    stages = [StageConfig("a", ["ls"], condition="fromJSON('{')"), StageConfig("b", ["echo b"], condition="always()")]
    a, b = OrchestratorBridge().run_pipeline(PipelineConfig(stages))
    assert (a.ending, b.ending) == (Ending.RAISED, Ending.OK)
    assert a.error.startswith("its condition cannot be worked out: fromJSON")
    assert "Traceback" not in a.error


def test_a_stage_that_was_spoiled_after_it_was_made_is_refused_before_anything_runs() -> None:
    config = PipelineConfig([StageConfig("a", ["ls"])])
    config.stages[0].commands = []
    with pytest.raises(PipelineError, match="no commands"):
        OrchestratorBridge().run_pipeline(config)


def test_what_is_said_of_much_output_does_not_keep_the_run_from_its_signals(tmp_path: Path) -> None:
    """A line of output each would cost more than the run."""
    (tmp_path / ".git").mkdir()
    path = write(tmp_path, "on: push\njobs: {a: {runs-on: x, steps: [{run: yes | head -c 4M}]}}\n")
    line = f"'{sys.executable}' -m orchestrator ci run '{path}' -v > out"
    stage = StageConfig("drive", [line], env={"PYTHONPATH": os.getcwd()}, cwd=tmp_path, timeout=60)
    (result,) = OrchestratorBridge().run_pipeline(PipelineConfig([stage]))
    assert result.success, result.error
    assert (tmp_path / "out").stat().st_size > 4 << 20
